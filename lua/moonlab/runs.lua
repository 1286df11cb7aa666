--- The run store: a folder per run with one writer is the truth; the index in runs.db follows it.
local core = require "moonlab.core"
local lfs = require "lfs"
local options = require "moonlab.options"
local folder = require "moonlab.runs.folder"
local index = require "moonlab.runs.index"

local runs = {}

local finished = { done = true, diverged = true }
local valid_id = index.valid_id

local function fail(where, text, ...) error(where .. ": " .. text:format(...), 0) end

local function check_string(where, value, what, level)
  if type(value) ~= "string" or value == "" then
    local got = value == "" and "an empty string" or value == nil and "nothing"
      or options.describe(value)
    error(("bad argument #1 to '%s' (%s expected, got %s)"):format(where, what, got), level or 3)
  end
  return value
end

--- ml.runs.store()
--- The folder where runs are kept: MOONLAB_RUNS, or ./runs.
--- @return string path
--- @source -
function runs.store()
  local path = os.getenv "MOONLAB_RUNS"
  return path and path ~= "" and path or "runs"
end

local function store_of(where, o, level)
  options.check(where, o, { "store" })
  local store = o and o.store
  if store ~= nil and (type(store) ~= "string" or store == "") then
    error(("bad argument to '%s' (option 'store' is %s, wanted a path)"):format(where,
      options.describe(store)), level or 3)
  end
  return store or runs.store()
end

-- ---- opening for writing ------------------------------------------------------------------------

local fields = { "id", "dir", "store", "recipe", "size", "params", "seed", "seeds", "tags",
  "config", "retry" }

-- What tells this run from others, as it is read back.
local function identity_of(where, o)
  for _, key in ipairs { "recipe", "size", "store", "dir" } do
    if o[key] ~= nil then options.field(where, o, key, "string") end
  end
  for _, key in ipairs { "params", "seeds", "config", "tags" } do
    if o[key] ~= nil then options.field(where, o, key, "table") end
  end
  if o.seed ~= nil then options.field(where, o, "seed", "integer") end
  local identity = {}
  for _, key in ipairs(folder.identity) do identity[key] = o[key] end
  identity.params = o.params or {}
  local ok, result = pcall(folder.as_read, identity)
  if not ok then
    local why = result:match "%(value%.(.*)%)$" or result
    error(("bad argument to '%s' (%s)"):format(where, why), 3)
  end
  return result
end

local function check_same(where, dir, wanted)
  local before = folder.read(dir, "config.json") or {}
  for _, key in ipairs(folder.identity) do
    if not folder.same(before[key], wanted[key]) then
      fail(where, "%s holds a run with another %s; choose another folder", dir, key)
    end
  end
end

-- The state that ends the matter for a claim, and its message.
local function ended(status, retry)
  if finished[status.state] or (status.state == "failed" and not retry) then
    return status.state, status.message
  end
end

-- With the lease in hand: goes on with the run that is there, or begins the one wanted.
local function settle(where, self, wanted, o)
  local dir = self.dir
  self.fresh = not folder.is_run(dir)
  local status = {}
  if self.fresh then
    if not wanted then fail(where, "%s holds no run (it has no config.json)", dir) end
    local config = { id = self.id, started = folder.now() }
    for _, part in ipairs { wanted, folder.code_version(), folder.machine() } do
      for key, value in pairs(part) do config[key] = value end
    end
    for _, tag in ipairs(o.tags or {}) do
      if type(tag) ~= "string" or tag == "" or tag:find("[%c,%s]") then
        fail(where, "the tag %s is no word without spaces and commas", options.describe(tag))
      end
    end
    if o.tags and #o.tags > 0 then folder.write(self, "labels.json", { tags = o.tags }) end
    folder.write(self, "config.json", config)
  else
    if wanted then check_same(where, dir, wanted) end
    status = folder.read(dir, "state.json") or {}
    local word, message = ended(status, o.retry)
    if word then return word, message end
  end
  folder.begin_session(self, status)
end

-- Takes the folder at dir for the run `wanted`, new or unfinished. nil, a word and a message where
-- it cannot be had.
local function take(where, dir, id, wanted, o)
  core.system.make_dirs(dir)
  local self = folder.run(dir, id)
  local lease, busy = core.system.lease(dir)
  if not lease then return nil, "busy", busy end
  self.lease = lease
  local ok, word, message = pcall(settle, where, self, wanted, o)
  if ok and not word then return self end
  self:close()
  if not ok then error(word, 0) end
  return nil, word, message
end

local function base_name(dir) return (dir:gsub("/+$", ""):match "[^/]+$") end

-- The folder and id that the options name; nothing when they leave it to us.
local function place_of(where, o)
  if o.id ~= nil and not valid_id(o.id) then
    error(("bad argument to '%s' (option 'id' is %s, wanted letters, digits, '.', '-' and '_')")
      :format(where, options.describe(o.id)), 3)
  end
  if o.dir ~= nil then
    check_string(where, o.dir, "dir")
    local base = base_name(o.dir)
    return o.dir, o.id or (valid_id(base) and base) or "run"
  end
  if o.id then return (o.store or runs.store()) .. "/" .. o.id, o.id end
end

--- ml.runs.create{ recipe =, params =, seed =, id = or dir =, ... }
--- Makes a new run and opens it for writing. Without id and dir the id is the recipe's name with
--- date and time.
--- @param recipe string what runs
--- @param params table name -> value: number, string, boolean or nested tables of these
--- @param seed integer
--- @param seeds table list of integers, where one run has several
--- @param size string "smoke", "default", "full"
--- @param id string name of the folder in the store: letters, digits, '.', '-', '_'
--- @param dir string a folder anywhere, instead of id
--- @param store string =ml.runs.store()
--- @param tags table list of words
--- @param config table whatever else tells this run from others
--- @return run open for writing: run.id, run.dir
--- Raises when the folder holds a run already.
--- @source -
function runs.create(o)
  local where = "ml.runs.create"
  options.required(where, o, fields)
  local wanted = identity_of(where, o)
  local dir, id = place_of(where, o)
  if dir then
    if folder.is_run(dir) then fail(where, "%s holds a run already", dir) end
    local self, _, why = take(where, dir, id, wanted, o)
    if not self then fail(where, "%s", why) end
    return self
  end
  local store = o.store or runs.store()
  core.system.make_dirs(store)
  local name = (o.recipe or "run"):gsub("[^%w._-]", "-"):gsub("^%W+", ""):sub(1, 80)
  local stamp = (name == "" and "run" or name) .. "-" .. os.date("%Y%m%d-%H%M%S")
  for k = 1, 1000 do
    id = k > 1 and ("%s-%d"):format(stamp, k) or stamp
    dir = store .. "/" .. id
    local made, why = lfs.mkdir(dir)
    if made then return assert(take(where, dir, id, wanted, o)) end
    if lfs.attributes(dir, "mode") == nil then fail(where, "cannot make %s (%s)", dir, why) end
  end
  fail(where, "no free name in %s", store)
end

--- ml.runs.claim{ id = or dir =, recipe =, params =, ..., retry = false }
--- Opens the run of this id for writing if it is new or unfinished and nobody else writes it; of
--- several processes that try, one gets it. Takes what create takes; the parameters of a run that
--- is there must agree.
--- @param retry boolean =false a failed run counts as unfinished
--- @return run open for writing, run.fresh is true for a new one; or nil, a word and a message:
--- "busy" (another process writes it), "done", "diverged", "failed"
--- @source -
function runs.claim(o)
  local where = "ml.runs.claim"
  options.required(where, o, fields)
  local wanted = identity_of(where, o)
  local dir, id = place_of(where, o)
  if not dir then
    error(("bad argument to '%s' (option 'id' or 'dir' is missing)"):format(where), 2)
  end
  if folder.is_run(dir) then -- what has ended needs no lease
    local word, message = ended(folder.read(dir, "state.json") or {}, o.retry)
    if word then
      check_same(where, dir, wanted)
      return nil, word, message
    end
  end
  return take(where, dir, id, wanted, o)
end

-- ---- finding ------------------------------------------------------------------------------------

--- ml.runs.valid_id(id)
--- Whether a text can be the id of a run: letters, digits, dot, dash and underscore, at most 120 of
--- them, the first a letter or digit.
--- @param id string
--- @return boolean
--- @source -
function runs.valid_id(id) return valid_id(id) end

--- ml.runs.ids(store)
--- Ids of the runs in a store, sorted.
--- @param store string =ml.runs.store()
--- @return table list of strings
--- @source -
function runs.ids(store)
  if store ~= nil then check_string("ml.runs.ids", store, "path") end
  store = store or runs.store()
  local ids = {}
  if lfs.attributes(store, "mode") ~= "directory" then return ids end
  for entry in lfs.dir(store) do
    if valid_id(entry) and folder.is_run(store .. "/" .. entry) then ids[#ids + 1] = entry end
  end
  table.sort(ids)
  return ids
end

--- ml.runs.find(run, { store = })
--- The folder of a run: a path, an id, or the beginning of an id that only one run has.
--- @param run string
--- @param opts.store string =ml.runs.store()
--- @return string, string the folder and the id; or nil and a message that names what is near
--- @source -
function runs.find(word, o)
  check_string("ml.runs.find", word, "folder or id")
  local store = store_of("ml.runs.find", o)
  local dir = store .. "/" .. word
  if valid_id(word) and folder.is_run(dir) then return dir, word end
  if folder.is_run(word) then
    local config = folder.read(word, "config.json") or {}
    return word, valid_id(config.id) and config.id or base_name(word) or word
  end
  local ids, found = runs.ids(store), {}
  for _, id in ipairs(ids) do
    if id:sub(1, #word) == word then found[#found + 1] = id end
  end
  if #found == 1 then return store .. "/" .. found[1], found[1] end
  if #found > 1 then
    local shown = table.concat(found, ", ", 1, math.min(5, #found))
    if #found > 5 then shown = shown .. ", ..." end
    return nil, ("%d runs begin with '%s': %s"):format(#found, word, shown)
  end
  local near = options.nearest(word, ids)
  return nil, ("no run is called '%s' in %s%s"):format(word, store,
    near and ("; did you mean '" .. near .. "'?") or "")
end

local function find(where, word, o)
  check_string(where, word, "folder or id", 4)
  local dir, id = runs.find(word, { store = store_of(where, o, 4) })
  if not dir then fail(where, "%s", id) end
  return dir, id
end

--- ml.runs.resume(run, { store = })
--- Opens an unfinished run (interrupted, failed, or its process has died) for writing.
--- @param run string folder, id, or the beginning of an id
--- @param opts.store string =ml.runs.store()
--- @return run open for writing; cut its metrics with run:cut(step)
--- Raises when it is finished, or "is being written by pid N on HOST".
--- @source -
function runs.resume(word, o)
  local where = "ml.runs.resume"
  local dir, id = find(where, word, o)
  local self, state, message = take(where, dir, id, nil, { retry = true })
  if self then return self end
  if state == "busy" then fail(where, "%s", message) end
  fail(where, "%s is finished (%s)", id, state)
end

--- ml.runs.open(run, { store = })
--- Opens a run for reading.
--- @param run string folder, id, or the beginning of an id
--- @param opts.store string =ml.runs.store()
--- @return run
--- @source -
function runs.open(word, o)
  local dir, id = find("ml.runs.open", word, o)
  return folder.run(dir, id)
end

-- ---- listing ------------------------------------------------------------------------------------

local filters = { "store", "recipe", "size", "state", "tag", "seed", "params" }

local function equal_or_text(found, wanted)
  if type(found) == "table" then
    return type(wanted) == "table" and folder.same(found, wanted)
  end
  return found == wanted or (found ~= found and wanted ~= wanted and found ~= nil)
end

local function passes(row, o)
  for _, key in ipairs { "recipe", "size", "state", "seed" } do
    if o[key] ~= nil and row[key] ~= o[key] then return false end
  end
  if o.tag ~= nil then
    local found = false
    for _, tag in ipairs(row.tags) do found = found or tag == o.tag end
    if not found then return false end
  end
  for name, wanted in pairs(o.params or {}) do
    if not equal_or_text(row.params[name], wanted) then return false end
  end
  return true
end

--- ml.runs.list{ recipe =, state =, tag =, size =, seed =, params =, store = }
--- The runs of a store, oldest first; from the index, which follows the folders.
--- @param opts.recipe string only runs of this recipe
--- @param opts.state string only "running", "done", "diverged", "interrupted" or "failed"
--- @param opts.tag string only runs with this tag
--- @param opts.size string
--- @param opts.seed integer
--- @param opts.params table only runs with these values: { lr = 1e-3 }
--- @param opts.store string =ml.runs.store()
--- @return table list of { id, dir, recipe, size, state, message, seed, params, tags, note,
--- started, ended, seconds, host, revision }
--- @source -
function runs.list(o)
  local where = "ml.runs.list"
  options.check(where, o, filters)
  o = o or {}
  for _, key in ipairs { "recipe", "size", "state", "tag", "store" } do
    if o[key] ~= nil then options.field(where, o, key, "string") end
  end
  if o.params ~= nil then options.field(where, o, "params", "table") end
  if o.state then
    local known = false
    for _, word in ipairs(folder.states) do known = known or word == o.state end
    if not known then
      local near = options.nearest(o.state, folder.states)
      error(("bad argument to '%s' (option 'state' is %q, wanted %s%s)"):format(where, o.state,
        table.concat(folder.states, ", "), near and ("; did you mean '" .. near .. "'?") or ""), 2)
    end
  end
  local store, list = o.store or runs.store(), {}
  for _, row in ipairs(index.rows(store)) do
    row.dir, row.stamp = store .. "/" .. row.id, nil
    row.state, row.message = folder.state_of(row.dir, row)
    local ok, params = pcall(core.json.decode, row.params, { nan = "exact" })
    row.params = ok and type(params) == "table" and params or {}
    local tags = {}
    for tag in (row.tags or ""):gmatch "[^,]+" do tags[#tags + 1] = tag end
    row.tags = tags
    if passes(row, o) then list[#list + 1] = row end
  end
  table.sort(list, function(a, b)
    local sa, sb = a.started or "", b.started or ""
    if sa ~= sb then return sa < sb end
    return a.id < b.id
  end)
  return list
end

--- ml.runs.reindex({ store = })
--- Makes the index runs.db anew from the folders.
--- @param opts.store string =ml.runs.store()
--- @return integer runs found
--- @source -
function runs.reindex(o)
  return index.rebuild(store_of("ml.runs.reindex", o))
end

-- ---- comparing ----------------------------------------------------------------------------------

local function flatten(t, prefix, out)
  for key, value in pairs(t) do
    local name = prefix .. tostring(key)
    if type(value) == "table" and next(value) ~= nil and #value == 0 then
      flatten(value, name .. ".", out)
    else
      out[name] = value
    end
  end
  return out
end

local function check_runs(where, list)
  for i, run in ipairs(list) do
    if options.describe(run) ~= "ml.run" then
      options.bad(where, 1, "entry %d is %s, wanted a run of ml.runs.open", i,
        options.describe(run))
    end
  end
end

--- ml.runs.difference(list)
--- The parameters in which runs differ; recipe, size and seeds count as well.
--- @param list table two or more runs of ml.runs.open
--- @return table list of { name =, values = { one for each run, nil where it has none } }, by name
--- @source -
function runs.difference(list)
  if type(list) ~= "table" then
    error(("bad argument #1 to 'ml.runs.difference' (table expected, got %s)"):format(
      options.describe(list)), 2)
  end
  check_runs("ml.runs.difference", list)
  local all, names = {}, {}
  for i, run in ipairs(list) do
    local config = run:config()
    all[i] = flatten(run:params(), "", {})
    for _, key in ipairs { "recipe", "size", "seed", "seeds", "revision", "dirty" } do
      all[i]["(" .. key .. ")"] = config[key]
    end
    for name in pairs(all[i]) do names[name] = true end
  end
  local out = {}
  for name in require("moonlab.sorted")(names) do
    local values, differ = {}, false
    for i = 1, #all do
      values[i] = all[i][name]
      differ = differ or not folder.same(values[i], values[1])
    end
    if differ then out[#out + 1] = { name = name, values = values } end
  end
  return out
end

--- ml.runs.align(list, name, where)
--- One metric of several runs on common steps.
--- @param list table runs of ml.runs.open
--- @param name string the metric
--- @param where table =nil only records with these values
--- @return tensor, tensor the steps [n] f64, rising; the values [runs, n], NaN where a run has none
--- @source -
function runs.align(list, name, where)
  if type(list) ~= "table" or #list == 0 then
    error("bad argument #1 to 'ml.runs.align' (wanted a list of at least one run)", 2)
  end
  if type(name) ~= "string" then
    error(("bad argument #2 to 'ml.runs.align' (string expected, got %s)"):format(
      options.describe(name)), 2)
  end
  check_runs("ml.runs.align", list)
  local steps, seen, values = {}, {}, {}
  for i, run in ipairs(list) do
    values[i] = {}
    for _, record in ipairs((run:records(where))) do
      local step, value = record.step, record[name]
      if type(step) == "number" and step == step and type(value) == "number" then
        values[i][step] = value
        if not seen[step] then
          seen[step] = true
          steps[#steps + 1] = step
        end
      end
    end
  end
  table.sort(steps)
  if #steps == 0 then return core.zeros { 0 }, core.zeros { #list, 0 } end
  local rows, nan = {}, -(0 / 0)
  for i = 1, #list do
    rows[i] = {}
    for k, step in ipairs(steps) do rows[i][k] = values[i][step] or nan end
  end
  return core.f64(steps), core.f64(rows)
end

-- ---- deleting -----------------------------------------------------------------------------------

-- Removes a folder with all that is in it; links are removed, not followed.
local function remove_tree(path)
  if lfs.symlinkattributes(path, "mode") == "directory" then
    for entry in lfs.dir(path) do
      if entry ~= "." and entry ~= ".." then
        local ok, why = remove_tree(path .. "/" .. entry)
        if not ok then return nil, why end
      end
    end
    return lfs.rmdir(path)
  end
  return os.remove(path)
end

--- ml.runs.delete(run, { store = })
--- Deletes a run with all its files.
--- @param run string folder, id, or the beginning of an id
--- @param opts.store string =ml.runs.store()
--- @return string the id
--- Raises when the run is being written.
--- @source -
function runs.delete(word, o)
  local where = "ml.runs.delete"
  local dir, id = find(where, word, o)
  if lfs.symlinkattributes(dir, "mode") == "link" then
    fail(where, "%s is a link to a folder elsewhere; delete that one", dir)
  end
  local config = folder.read(dir, "config.json")
  local in_store = dir == store_of(where, o) .. "/" .. id
  if not in_store and not (config and config.id and config.started) then
    fail(where, "%s holds no run of ml.runs", dir)
  end
  local lease, message = core.system.lease(dir)
  if not lease then fail(where, "%s", message) end
  -- it goes out of sight at once, and then bit by bit
  local parent = dir:gsub("/+$", ""):match "^(.*)/[^/]+$"
  local hidden = ("%s/.deleted-%s-%d"):format(parent or ".", id, core.system.process().pid)
  local ok, why = os.rename(dir, hidden)
  if ok then ok, why = remove_tree(hidden) end
  lease:release()
  if not ok then fail(where, "cannot delete %s (%s)", dir, why) end
  return id
end

return runs
