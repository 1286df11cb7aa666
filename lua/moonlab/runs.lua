--- The run store: a folder per run with one writer is the truth; the index in runs.db follows it.
local core = require "moonlab.core"
local comparing = require "moonlab.runs.comparing"
local files = require "moonlab.runs.files"
local finding = require "moonlab.runs.finding"
local folder = require "moonlab.runs.folder"
local index = require "moonlab.runs.index"
local interrupt = require "moonlab.interrupt"
local lfs = require "lfs"
local opening = require "moonlab.runs.opening"
local options = require "moonlab.options"
local reading = require "moonlab.runs.reading"

local runs = {}

for _, part in ipairs { finding.public, opening, comparing } do
  for name, f in pairs(part) do runs[name] = f end
end

local function fail(where, text, ...) options.raise("%s: " .. text, where, ...) end

--- ml.runs.open(run, { store = })
--- Opens a run for reading.
--- @param run string folder, id, or the beginning of an id
--- @param opts.store string =ml.runs.store()
--- @return run
--- @source -
function runs.open(word, o)
  local dir, id = finding.locate("ml.runs.open", word, o)
  return folder.run(dir, id)
end

-- ---- listing ------------------------------------------------------------------------------------

local filters = { "store", "recipe", "size", "state", "tag", "seed", "params" }

local function equal_or_text(found, wanted)
  if type(found) == "table" then
    return type(wanted) == "table" and files.same(found, wanted)
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
--- @param opts.seed integer only runs of this seed
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
    for _, word in ipairs(files.states) do known = known or word == o.state end
    if not known then
      local near = options.nearest(o.state, files.states)
      options.bad(where, 0, "option 'state' is %q, wanted %s%s", o.state,
        table.concat(files.states, ", "), near and ("; did you mean '" .. near .. "'?") or "")
    end
  end
  local store, list = o.store or runs.store(), {}
  for _, row in ipairs(index.rows(store)) do
    row.dir, row.stamp = store .. "/" .. row.id, nil
    row.state, row.message = reading.state_of(row.dir, row)
    local ok, params = interrupt.try(files.decode, row.params)
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
  return index.rebuild(finding.store_of("ml.runs.reindex", o))
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
  local dir, id = finding.locate(where, word, o)
  if lfs.symlinkattributes(dir, "mode") == "link" then
    fail(where, "%s is a link to a folder elsewhere; delete that one", dir)
  end
  local config = files.read(dir, "config.json")
  local in_store = dir == finding.store_of(where, o) .. "/" .. id
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
