--- The run store: a folder per run with one writer is the truth; the index in runs.db follows it.
local core = require "moonlab.core"
local lfs = require "lfs"
local options = require "moonlab.options"

local runs = {}

-- ---- what is in a folder ------------------------------------------------------------------------
-- config.json     what the run is: parameters, seeds, recipe, code version, machine; written once
-- state.json      running, done, diverged, interrupted or failed, with times and sessions
-- metrics.jsonl   one JSON object a line, appended
-- log.txt         text, appended
-- results.json    results and claims
-- labels.json     tags and note; anybody may write it
-- checkpoints/ artifacts/   files of the recipe
-- lease.N         who writes here, see core/system/system.h
--
-- JSON has no NaN and no infinity: { nan = "exact" } writes them as "nan", "inf", "-inf" and a text
-- that
-- reads like one of these with an apostrophe in front, and gives all of them back.

local exact = { nan = "exact" }
local exact_file = { nan = "exact", invalid = "replace", indent = 2 }
local exact_line = { nan = "exact", invalid = "replace" }

local finished = { done = true, diverged = true }
local states = { "running", "done", "diverged", "interrupted", "failed" }
runs.states = states

local function now() return os.date("!%Y-%m-%dT%H:%M:%SZ") end

local function exists(path) return lfs.attributes(path, "mode") ~= nil end

local function fail(where, text, ...) error(where .. ": " .. text:format(...), 0) end

-- Raises for a bad argument of the function that calls us.
local function bad_argument(where, text, ...)
  error(("bad argument #1 to '%s' (%s)"):format(where, text:format(...)), 3)
end

local function check_string(where, value, what)
  if type(value) ~= "string" or value == "" then
    local got = value == "" and "an empty string" or value == nil and "nothing"
      or options.describe(value)
    error(("bad argument #1 to '%s' (%s expected, got %s)"):format(where, what, got), 3)
  end
  return value
end

--- ml.runs.valid_id(id)
--- Whether a text can be the id of a run: letters, digits, dot, dash and underscore, at most 120 of
--- them,
--- the first a letter or digit.
--- @param id string
--- @return boolean
--- @source -
function runs.valid_id(id)
  return type(id) == "string" and #id <= 120 and id:match("^[%w][%w._-]*$") ~= nil
end

--- ml.runs.store()
--- The folder where runs are kept: MOONLAB_RUNS, or ./runs.
--- @return string path
--- @source -
function runs.store()
  local path = os.getenv("MOONLAB_RUNS")
  return path and path ~= "" and path or "runs"
end

-- ---- what a run records about code and machine --------------------------------------------------

local code

-- Revision of the source tree that runs, and whether files differ from it; empty when it is
-- installed.
local function code_version()
  if code then return code end
  code = { version = core.version().moonlab }
  local root = debug.getinfo(1, "S").source:match("^@(.*)/lua/moonlab/[^/]*$")
  if root and exists(root .. "/.git") then
    local function git(words)
      local pipe = io.popen(("git -C '%s' %s 2>/dev/null"):format(root, words))
      local line = pipe:read("l")
      pipe:close()
      return line
    end
    code.revision = git "rev-parse HEAD"
    code.dirty = code.revision and git "status --porcelain --untracked-files=no" ~= nil
  end
  return code
end

local function machine()
  local v, process = core.version(), core.system.process()
  return { host = process.host, pid = process.pid, threads = v.threads, cpu = v.cpu,
    cpu_features = v.cpu_features, simd = v.simd, blas = v.blas }
end

-- ---- a run --------------------------------------------------------------------------------------

local Run = {}
Run.__index = Run
Run.__name = "ml.run"
debug.getregistry()["ml.run"] = Run -- where help finds it

function Run:__tostring() return ("ml.run %s (%s)"):format(self.id, self:state()) end

local function path_of(self, name) return self.dir .. "/" .. name end

local function write_json(self, name, value)
  core.json.write(path_of(self, name), value, exact_file)
end

-- A table kept in the folder, or nil: what others may have damaged is no reason to stop a listing.
local function read_json(dir, name)
  local ok, value = pcall(core.json.read, dir .. "/" .. name, exact)
  return ok and type(value) == "table" and value or nil
end

local function new_run(dir, id)
  return setmetatable({ dir = dir, id = id }, Run)
end

local function writable(self, where)
  if not self.lease then
    error(("%s: %s is open for reading only; ml.runs.create, claim and resume open for writing")
      :format(where, self.id), 3)
  end
  if not self.lease:held() then
    local holder = core.system.lease_holder(self.dir)
    error(("%s: %s was taken over by pid %s on %s, which thought this process dead"):format(where,
      self.dir, holder and holder.pid or "?", holder and holder.host or "?"), 3)
  end
end

-- ---- opening for writing ------------------------------------------------------------------------

local create_fields = { "id", "dir", "store", "recipe", "size", "params", "seed", "seeds", "tags",
  "config", "retry" }

-- What makes two runs the same.
local identity = { "recipe", "size", "params", "seed", "seeds", "config" }

local function describe_run(where, o)
  local config = {}
  for _, key in ipairs(identity) do config[key] = o[key] end
  config.params = o.params or {}
  for _, key in ipairs { "recipe", "size" } do
    if o[key] ~= nil then options.field(where, o, key, "string") end
  end
  for _, key in ipairs { "params", "seeds", "config", "tags" } do
    if o[key] ~= nil then options.field(where, o, key, "table") end
  end
  return core.json.decode(core.json.encode(config, exact_line), exact) -- as it is read back
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b or (a ~= a and b ~= b) end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function base_name(dir)
  return (dir:gsub("/+$", ""):match("[^/]+$"))
end

local function begin_session(self, state)
  local session = machine()
  session.started = now()
  state.sessions = type(state.sessions) == "table" and state.sessions or {}
  table.insert(state.sessions, session)
  state.started = state.started or session.started
  state.state, state.message, state.ended = "running", nil, nil
  self.status = state
  self.clock = core.now()
  write_json(self, "state.json", state)
end

local function take_lease(dir)
  local lease, message, holder = core.system.lease(dir)
  return lease, message, holder
end

-- Takes the folder at dir for the run `wanted`, new or unfinished. nil, word, message where it
-- cannot be had.
local function take(where, dir, id, wanted, o)
  core.system.make_dirs(dir)
  local lease, message = take_lease(dir)
  if not lease then return nil, "busy", message end
  local self = new_run(dir, id)
  self.lease = lease
  local ok, word, why = pcall(function()
    local before = core.json.read(path_of(self, "config.json"), exact)
    local state = before and read_json(dir, "state.json") or {}
    self.fresh = before == nil
    if before then
      for _, key in ipairs(wanted and identity or {}) do
        if not same(before[key], wanted[key]) then
          fail(where, "%s holds a run with another %s; choose another folder", dir, key)
        end
      end
      if finished[state.state] or (state.state == "failed" and not o.retry) then
        return state.state, state.message
      end
      self.settings = before
    else
      if not wanted then fail(where, "%s holds no run (it has no config.json)", dir) end
      local config = { id = id, started = now() }
      for key, value in pairs(wanted) do config[key] = value end
      for key, value in pairs(code_version()) do config[key] = value end
      for key, value in pairs(machine()) do config[key] = value end
      self.settings = config
      if o.tags and #o.tags > 0 then write_json(self, "labels.json", { tags = o.tags }) end
      write_json(self, "config.json", config)
    end
    begin_session(self, state)
    self.metrics_file = core.system.log(path_of(self, "metrics.jsonl"), { lines = true })
  end)
  if ok and not word then
    return self
  end
  lease:release()
  if not ok then error(word, 0) end
  return nil, word, why
end

local function where_to(where, o)
  options.check(where, o, create_fields, 3)
  if o.id ~= nil and not runs.valid_id(o.id) then
    error(("bad argument to '%s' (option 'id' is %s, wanted letters, digits, '.', '-' and '_')")
      :format(where, options.describe(o.id)), 3)
  end
  local dir = o.dir
  if dir ~= nil then
    check_string(where, dir, "dir")
    local base = base_name(dir)
    return dir, o.id or (base and runs.valid_id(base) and base) or "run"
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
--- @param tags table list of strings
--- @param config table whatever else tells this run from others
--- @return run open for writing: run.id, run.dir
--- Raises when the folder holds a run already.
--- @source -
function runs.create(o)
  local where = "ml.runs.create"
  options.required(where, o, create_fields)
  local wanted = describe_run(where, o)
  local dir, id = where_to(where, o)
  if dir then
    if exists(dir .. "/config.json") then fail(where, "%s holds a run already", dir) end
    local self, _, why = take(where, dir, id, wanted, o)
    if not self then fail(where, "%s", why) end
    return self
  end
  local store = o.store or runs.store()
  core.system.make_dirs(store)
  local name = (o.recipe or "run"):gsub("[^%w._-]", "-"):gsub("^[^%w]+", ""):sub(1, 80)
  local stamp = (name == "" and "run" or name) .. "-" .. os.date("%Y%m%d-%H%M%S")
  for k = 1, 1000 do
    id = k > 1 and ("%s-%d"):format(stamp, k) or stamp
    dir = store .. "/" .. id
    local made, why = lfs.mkdir(dir)
    if made then return assert(take(where, dir, id, wanted, o)) end
    if not exists(dir) then fail(where, "cannot make %s (%s)", dir, why) end
  end
  fail(where, "no free name in %s", store)
end

--- ml.runs.claim{ id = or dir =, recipe =, params =, ..., retry = false }
--- Opens the run of this id for writing if it is new or unfinished and nobody else writes it; of
--- several
--- processes that try, one gets it. Takes what create takes; the parameters of a run that is there
--- must agree.
--- @param retry boolean =false a failed run counts as unfinished
--- @return run open for writing, run.fresh is true for a new one; or nil, a word and a message:
--- "busy" (another
--- process writes it), "done", "diverged", "failed"
--- @source -
function runs.claim(o)
  local where = "ml.runs.claim"
  options.required(where, o, create_fields)
  local wanted = describe_run(where, o)
  local dir, id = where_to(where, o)
  if not dir then bad_argument(where, "option 'id' or 'dir' is missing") end
  local state = exists(dir .. "/config.json") and read_json(dir, "state.json")
  if state and (finished[state.state] or (state.state == "failed" and not o.retry)) then
    local before = read_json(dir, "config.json") or {}
    for _, key in ipairs(identity) do
      if not same(before[key], wanted[key]) then
        fail(where, "%s holds a run with another %s; choose another folder", dir, key)
      end
    end
    return nil, state.state, state.message
  end
  return take(where, dir, id, wanted, o)
end

-- ---- finding ------------------------------------------------------------------------------------

local function is_run(dir) return exists(dir .. "/config.json") end

--- ml.runs.ids(store)
--- Ids of the runs in a store, sorted.
--- @param store string =ml.runs.store()
--- @return table list of strings
--- @source -
function runs.ids(store)
  store = store or runs.store()
  local ids = {}
  if lfs.attributes(store, "mode") ~= "directory" then return ids end
  for entry in lfs.dir(store) do
    if runs.valid_id(entry) and is_run(store .. "/" .. entry) then ids[#ids + 1] = entry end
  end
  table.sort(ids)
  return ids
end

--- ml.runs.find(word, { store = })
--- The folder of a run: a path, an id, or the beginning of an id that only one run has.
--- @param word string
--- @param opts.store string =ml.runs.store()
--- @return string, string the folder and the id; or nil and a message that names what is near
--- @source -
function runs.find(word, o)
  check_string("ml.runs.find", word, "folder or id")
  options.check("ml.runs.find", o, { "store" })
  local store = o and o.store or runs.store()
  if runs.valid_id(word) and is_run(store .. "/" .. word) then return store .. "/" .. word, word end
  if is_run(word) then
    local base = base_name(word)
    local config = read_json(word, "config.json") or {}
    return word, runs.valid_id(config.id) and config.id or base or word
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
  check_string(where, word, "folder or id")
  options.check(where, o, { "store" }, 3)
  local dir, id = runs.find(word, o)
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
  return new_run(dir, id)
end

-- ---- writing ------------------------------------------------------------------------------------

--- run:log(record)
--- Appends one record to the metrics: names with numbers, strings or booleans; NaN and infinity are
--- kept. It has
--- reached the system on return, so that killing the process loses nothing.
--- @param record table { step = 10, loss = 2.3 }
--- @source -
function Run:log(record)
  local file = self.metrics_file
  if not file or not self.lease:held() then writable(self, "run:log") end
  if type(record) ~= "table" then
    bad_argument("run:log", "table expected, got %s", options.describe(record))
  end
  local ok, line = pcall(core.json.encode, record, exact_line)
  if not ok then bad_argument("run:log", "%s", line:match("%((.*)%)$") or line) end
  file:write(line .. "\n")
end

--- run:write(text)
--- Appends text to the run's log.
--- @param text string
--- @source -
function Run:write(text)
  writable(self, "run:write")
  check_string("run:write", text, "string")
  self.log_file = self.log_file or core.system.log(path_of(self, "log.txt"))
  self.log_file:write(text)
end

local function read_records(path, where)
  local records, bad = {}, 0
  local file = io.open(path, "r")
  if not file then return records, bad end
  for line in file:lines("L") do
    local whole = line:sub(-1) == "\n"
    local ok, record = pcall(core.json.decode, line, exact)
    if ok and whole and type(record) == "table" and #record == 0 then
      local wanted = true
      for key, value in pairs(where or {}) do wanted = wanted and record[key] == value end
      if wanted then records[#records + 1] = record end
    elseif whole then
      bad = bad + 1
    end
  end
  file:close()
  return records, bad
end

--- run:cut(step, where)
--- Takes back the metrics after a step, as a resumed run does before it repeats them: records whose
--- step is larger
--- go, and records without a step stay. run:cut(-1) drops them all.
--- @param step number
--- @param where table =nil only records with these values, e.g. { seed = 2 }
--- @return integer records that went
--- @source -
function Run:cut(step, where)
  writable(self, "run:cut")
  if type(step) ~= "number" then
    bad_argument("run:cut", "number expected, got %s", options.describe(step))
  end
  local path = path_of(self, "metrics.jsonl")
  local kept, gone = {}, 0
  for _, record in ipairs(read_records(path)) do
    local past = type(record.step) == "number" and record.step > step
    for key, value in pairs(where or {}) do past = past and record[key] == value end
    if past then
      gone = gone + 1
    else
      kept[#kept + 1] = core.json.encode(record, exact_line) .. "\n"
    end
  end
  if gone > 0 then
    self.metrics_file:close()
    core.write_file(path, table.concat(kept))
    self.metrics_file = core.system.log(path, { lines = true })
  end
  return gone
end

--- run:results(t)
--- Keeps what the run found (tables of numbers, strings, booleans), or reads it back.
--- @param t table =nil { results =, claims =, ... }; absent: only reads
--- @return table what is kept, or nil
--- @source -
function Run:results(t)
  if t ~= nil then
    writable(self, "run:results")
    if type(t) ~= "table" then
      bad_argument("run:results", "table expected, got %s", options.describe(t))
    end
    write_json(self, "results.json", t)
  end
  return read_json(self.dir, "results.json")
end

local function folder_in(self, folder, name, method)
  if type(name) ~= "string" or name == "" or name:find("[/%z]") or name:sub(1, 1) == "." then
    error(("bad argument #1 to 'run:%s' (%s, wanted the name of a file)"):format(method,
      options.describe(name)), 3)
  end
  if self.lease then core.system.make_dirs(path_of(self, folder)) end
  return path_of(self, folder .. "/" .. name)
end

--- run:artifact(name)
--- The path of a file the run leaves behind (figures, tables), in its folder artifacts.
--- @param name string
--- @return string
--- @source -
function Run:artifact(name) return folder_in(self, "artifacts", name, "artifact") end

--- run:checkpoint(name)
--- The path of a checkpoint, in the run's folder checkpoints.
--- @param name string
--- @return string
--- @source -
function Run:checkpoint(name) return folder_in(self, "checkpoints", name, "checkpoint") end

--- run:close()
--- Gives the run back unfinished: another process may resume it. A run that is finished is closed
--- already.
--- @source -
function Run:close()
  if self.metrics_file then self.metrics_file:close() end
  if self.log_file then self.log_file:close() end
  self.metrics_file, self.log_file = nil, nil
  if self.lease then self.lease:release() end
  self.lease = nil
end

--- run:finish(state, message)
--- Ends the run and gives it back.
--- @param state string "done", "diverged", "interrupted" or "failed"
--- @param message string =nil why
--- @source -
function Run:finish(state, message)
  writable(self, "run:finish")
  local known = false
  for _, word in ipairs(states) do known = known or (word == state and word ~= "running") end
  if not known then
    bad_argument("run:finish", "%s, wanted \"done\", \"diverged\", \"interrupted\" or \"failed\"",
      options.describe(state))
  end
  local status = self.status
  local session = status.sessions[#status.sessions]
  session.ended = now()
  session.seconds = core.now() - self.clock
  status.state, status.ended = state, session.ended
  status.message = message and tostring(message) or nil
  status.seconds = (tonumber(status.seconds) or 0) + session.seconds
  write_json(self, "state.json", status)
  self:close()
end

-- ---- reading ------------------------------------------------------------------------------------

--- run:config()
--- What the run is: id, recipe, size, params, seed, seeds, config, started, version, revision,
--- dirty, host, threads,
--- cpu, cpu_features, simd, blas.
--- @return table
--- @source -
function Run:config()
  self.settings = self.settings or read_json(self.dir, "config.json") or {}
  return self.settings
end

--- run:params()
--- The run's parameters.
--- @return table name -> value
--- @source -
function Run:params()
  local params = self:config().params
  return type(params) == "table" and params or {}
end

-- The state as it is: a run that says it runs, though nobody holds its lease, was interrupted.
local function state_of(dir)
  local status = read_json(dir, "state.json") or {}
  local word = status.state
  local known = false
  for _, state in ipairs(states) do known = known or word == state end
  if known and word ~= "running" then return word, status.message, status end
  local ok, holder = pcall(core.system.lease_holder, dir)
  holder = ok and holder or nil
  if holder and holder.live then return "running", nil, status end
  return "interrupted", holder and not holder.released
    and ("its process ended without a word (pid %d on %s)"):format(holder.pid, holder.host)
    or "given back unfinished", status
end

--- run:state()
--- How the run stands. A run whose process was killed is "interrupted".
--- @return string, string, table "running", "done", "diverged", "interrupted" or "failed"; a
--- message or nil; and the
--- whole of it: { state, message, started, ended, seconds, sessions }
--- @source -
function Run:state()
  local word, message, status = state_of(self.dir)
  return word, message, status
end

--- run:records(where)
--- The metrics as they were logged. A torn last line is left out.
--- @param where table =nil only records with these values, e.g. { kind = "eval" }
--- @return table, integer list of records; and the number of lines that are damaged
--- @source -
function Run:records(where)
  return read_records(path_of(self, "metrics.jsonl"), where)
end

Run.__dir = {}
for name, value in pairs(Run) do
  if type(value) == "function" and name:sub(1, 2) ~= "__" then table.insert(Run.__dir, name) end
end
table.sort(Run.__dir)

return runs
