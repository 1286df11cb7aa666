--- Opening runs for writing: a folder has one writer, who holds its lease.
local core = require "moonlab.core"
local files = require "moonlab.runs.files"
local finding = require "moonlab.runs.finding"
local folder = require "moonlab.runs.folder"
local index = require "moonlab.runs.index"
local lfs = require "lfs"
local options = require "moonlab.options"

local opening = {}

local finished = { done = true, diverged = true }

local function fail(where, text, ...) options.raise("%s: " .. text, where, ...) end

local fields = { "id", "dir", "store", "recipe", "size", "params", "seed", "seeds", "tags",
  "config", "retry", "code" }

-- What tells this run from others, as it is read back.
local function identity_of(where, o)
  for _, key in ipairs { "recipe", "size", "store", "dir", "code" } do
    if o[key] ~= nil then options.field(where, o, key, "string") end
  end
  for _, key in ipairs { "params", "seeds", "config", "tags" } do
    if o[key] ~= nil then options.field(where, o, key, "table") end
  end
  if o.seed ~= nil then options.field(where, o, "seed", "integer") end
  local identity = {}
  for _, key in ipairs(files.identity) do identity[key] = o[key] end
  identity.params = o.params or {}
  local ok, result = pcall(files.as_read, identity)
  if not ok then
    local why = result:match "%(value%.(.*)%)$" or result
    options.bad(where, 0, "%s", why)
  end
  return result
end

local function check_same(where, dir, wanted)
  local before = files.read(dir, "config.json") or {}
  for _, key in ipairs(files.identity) do
    if not files.same(before[key], wanted[key]) then
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
  self.fresh, self.code = not files.is_run(dir), o.code
  local status = {}
  if self.fresh then
    if not wanted then fail(where, "%s holds no run (it has no config.json)", dir) end
    local config = { id = self.id, started = files.now(), code = o.code }
    for _, part in ipairs { wanted, files.code_version(), files.machine() } do
      for key, value in pairs(part) do config[key] = value end
    end
    for _, tag in ipairs(o.tags or {}) do
      if type(tag) ~= "string" or tag == "" or tag:find("[%c,%s]") then
        fail(where, "the tag %s is no word without spaces and commas", options.describe(tag))
      end
    end
    if o.tags and #o.tags > 0 then files.write(self.dir, "labels.json", { tags = o.tags }) end
    files.write(self.dir, "config.json", config)
  else
    if wanted then check_same(where, dir, wanted) end
    status = files.read(dir, "state.json") or {}
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

-- The folder and id that the options name; nothing when they leave it to us.
local function place_of(where, o)
  if o.id ~= nil and not index.valid_id(o.id) then
    options.bad(where, 0, "option 'id' is %s, wanted letters, digits, '.', '-' and '_'",
      options.describe(o.id))
  end
  if o.dir ~= nil then
    options.path(where, 1, o.dir)
    local base = files.base_name(o.dir)
    return o.dir, o.id or (index.valid_id(base) and base) or "run"
  end
  if o.id then return (o.store or finding.public.store()) .. "/" .. o.id, o.id end
end

--- ml.runs.create{ recipe =, params =, seed =, id = or dir =, ... }
--- Makes a new run and opens it for writing. Without id and dir the id is the recipe's name with
--- date and time.
--- @param recipe string what runs
--- @param params table name -> value: number, string, boolean or nested tables of these
--- @param seed integer of 64 bits
--- @param seeds table list of integers, where one run has several
--- @param size string "smoke", "default", "full"
--- @param id string name of the folder in the store: letters, digits, '.', '-', '_'
--- @param dir string a folder anywhere, instead of id
--- @param store string =ml.runs.store()
--- @param tags table list of words
--- @param config table whatever else tells this run from others
--- @param code string a hash of the code that computes it; noted, and no part of what the run is
--- @return run open for writing: run.id, run.dir
--- Raises when the folder holds a run already.
--- @source -
function opening.create(o)
  local where = "ml.runs.create"
  options.required(where, o, fields)
  local wanted = identity_of(where, o)
  local dir, id = place_of(where, o)
  if dir then
    if files.is_run(dir) then fail(where, "%s holds a run already", dir) end
    local self, _, why = take(where, dir, id, wanted, o)
    if not self then fail(where, "%s", why) end
    return self
  end
  local store = o.store or finding.public.store()
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
function opening.claim(o)
  local where = "ml.runs.claim"
  options.required(where, o, fields)
  local wanted = identity_of(where, o)
  local dir, id = place_of(where, o)
  if not dir then
    options.bad(where, 0, "option 'id' or 'dir' is missing")
  end
  if files.is_run(dir) then -- what has ended needs no lease
    local word, message = ended(files.read(dir, "state.json") or {}, o.retry)
    if word then
      check_same(where, dir, wanted)
      return nil, word, message
    end
  end
  return take(where, dir, id, wanted, o)
end

--- ml.runs.resume(run, { store = })
--- Opens an unfinished run (interrupted, failed, or its process has died) for writing.
--- @param run string folder, id, or the beginning of an id
--- @param opts.store string =ml.runs.store()
--- @return run open for writing; cut its metrics with run:cut(step)
--- Raises when it is finished, or "is being written by pid N on HOST".
--- @source -
function opening.resume(word, o)
  local where = "ml.runs.resume"
  local dir, id = finding.locate(where, word, o)
  local self, state, message = take(where, dir, id, nil, { retry = true })
  if self then return self end
  if state == "busy" then fail(where, "%s", message) end
  fail(where, "%s is finished (%s)", id, state)
end

return opening
