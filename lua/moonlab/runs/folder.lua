--- The folder of one run: its files, who may write them, and what they say.
local core = require "moonlab.core"
local lfs = require "lfs"
local options = require "moonlab.options"

local folder = {}

-- config.json     what the run is: parameters, seeds, recipe, code version, machine; written once
-- state.json      running, done, diverged, interrupted or failed, with times and sessions
-- metrics.jsonl   one JSON object a line, appended
-- log.txt         text, appended
-- results.json    results and claims
-- labels.json     tags and note; anybody may write it
-- checkpoints/ artifacts/   files of the recipe
-- lease.N         who writes here, see core/system/system.h
--
-- JSON has no NaN and no infinity: { nan = "exact" } writes them as "nan", "inf", "-inf", and a
-- text that reads like one of these with an apostrophe in front, and gives all of them back.

local exact = { nan = "exact" }
local exact_file = { nan = "exact", invalid = "replace", indent = 2 }
local exact_line = { nan = "exact", invalid = "replace" }

folder.states = { "running", "done", "diverged", "interrupted", "failed" }
local known_state = {}
for _, word in ipairs(folder.states) do known_state[word] = true end

-- What makes two runs the same.
folder.identity = { "recipe", "size", "params", "seed", "seeds", "config" }

function folder.now() return os.date("!%Y-%m-%dT%H:%M:%SZ") end

local function mode(path) return lfs.attributes(path, "mode") end

--- A table kept as JSON in the folder, or nil: what others may have damaged stops no listing.
function folder.read(dir, name)
  local path = dir .. "/" .. name
  if mode(path) ~= "file" then return nil end -- nor does a pipe that nobody writes
  local ok, value = pcall(core.json.read, path, exact)
  return ok and type(value) == "table" and value or nil
end

--- Whether there is a run in it.
function folder.is_run(dir) return mode(dir .. "/config.json") == "file" end

--- The value as it comes back from a file.
function folder.as_read(value)
  return core.json.decode(core.json.encode(value, exact_line), exact)
end

--- Equality of what JSON can hold; NaN equals NaN.
function folder.same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b or (a ~= a and b ~= b) end
  for key, value in pairs(a) do
    if not folder.same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- ---- code and machine ---------------------------------------------------------------------------

local code

-- The first line that git prints, "" when it prints none, nil when it fails.
local function git(root, ...)
  local words = { "git", "-C", root, ... }
  words.stdout, words.stderr = "pipe", "null"
  local child = core.system.spawn(words)
  if not child then return nil end
  local text = {}
  while true do
    local part = child:read(10)
    if not part then break end
    text[#text + 1] = part
  end
  local how, status = child:wait(10)
  child:close()
  return how == "exit" and status == 0 and (table.concat(text):match("^[^\n]*")) or nil
end

--- Version of moonlab; from a source tree also its revision, and whether files differ from it.
function folder.code_version()
  if code then return code end
  code = { version = core.version().moonlab }
  local root = debug.getinfo(1, "S").source:match("^@(.*)/lua/moonlab/runs/[^/]*$")
  if root and mode(root .. "/.git") then
    code.revision = git(root, "rev-parse", "HEAD")
    local changed = code.revision and git(root, "status", "--porcelain", "--untracked-files=no")
    if changed then code.dirty = changed ~= "" end
  end
  return code
end

function folder.machine()
  local v, process = core.version(), core.system.process()
  return { host = process.host, pid = process.pid, threads = v.threads, cpu = v.cpu,
    cpu_features = v.cpu_features, simd = v.simd, blas = v.blas }
end

-- ---- a run --------------------------------------------------------------------------------------

local Run = {}
Run.__index = Run
Run.__name = "ml.run"
debug.getregistry()["ml.run"] = Run -- where help finds it

function Run:__tostring() return ("ml.run %s (%s)"):format(self.id, (self:state())) end

--- A run at dir, open for reading.
function folder.run(dir, id) return setmetatable({ dir = dir, id = id }, Run) end

local function path_of(self, name) return self.dir .. "/" .. name end

local function write_json(self, name, value)
  local kind = mode(path_of(self, name))
  if kind and kind ~= "file" then -- a pipe would wait for a reader
    error(("cannot write %s (a %s stands there)"):format(path_of(self, name), kind), 0)
  end
  core.json.write(path_of(self, name), value, exact_file)
end
folder.write = write_json

-- Raises for argument 1 of the method that calls us.
local function bad_argument(where, text, ...)
  error(("bad argument #1 to '%s' (%s)"):format(where, text:format(...)), 3)
end

local function check_table(where, t)
  if type(t) ~= "table" then
    error(("bad argument #1 to '%s' (table expected, got %s)"):format(where,
      options.describe(t)), 3)
  end
end

local function check_where(method, where)
  if where ~= nil and type(where) ~= "table" then
    error(("bad argument to '%s' (where is %s, wanted a table of names and values)"):format(method,
      options.describe(where)), 3)
  end
end

local function check_writable(self, where)
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

--- Notes that this process works on the run from now on; state is what state.json held.
function folder.begin_session(self, state)
  local session = folder.machine()
  session.started = folder.now()
  state.sessions = type(state.sessions) == "table" and state.sessions or {}
  table.insert(state.sessions, session)
  state.started = state.started or session.started
  state.state, state.message, state.ended = "running", nil, nil
  self.status = state
  self.clock = core.now()
  write_json(self, "state.json", state)
  self.metrics_file = core.system.log(path_of(self, "metrics.jsonl"), { lines = true })
end

-- ---- writing ------------------------------------------------------------------------------------

--- run:log(record)
--- Appends one record to the metrics: names with numbers, strings or booleans; NaN and infinity are
--- kept. It has reached the system on return, so that killing the process loses nothing.
--- @param record table { step = 10, loss = 2.3 }
--- @source -
function Run:log(record)
  local file = self.metrics_file
  if not file or not self.lease:held() then check_writable(self, "run:log") end
  check_table("run:log", record)
  local ok, line = pcall(core.json.encode, record, exact_line)
  if not ok then bad_argument("run:log", "%s", line:match("%((.*)%)$") or line) end
  if line:byte() ~= 123 then
    bad_argument("run:log", "a list, wanted names with values: { step = 10, loss = 2.3 }")
  end
  file:write(line .. "\n")
end

--- run:write(text)
--- Appends text to the run's log.
--- @param text string
--- @source -
function Run:write(text)
  check_writable(self, "run:write")
  if type(text) ~= "string" then
    bad_argument("run:write", "string expected, got %s", options.describe(text))
  end
  self.log_file = self.log_file or core.system.log(path_of(self, "log.txt"))
  self.log_file:write(text)
end

local function matches(record, where)
  for key, value in pairs(where or {}) do
    if record[key] ~= value then return false end
  end
  return true
end

local function read_records(path, where)
  local records, damaged = {}, 0
  local file = mode(path) == "file" and io.open(path, "r")
  if not file then return records, damaged end
  for line in file:lines("L") do
    local whole = line:sub(-1) == "\n" -- else it was torn while it was written
    local ok, record = pcall(core.json.decode, line, exact)
    if ok and whole and type(record) == "table" and #record == 0 then
      if matches(record, where) then records[#records + 1] = record end
    elseif whole then
      damaged = damaged + 1
    end
  end
  file:close()
  return records, damaged
end

--- Writes the metrics anew without records[i] where dropped[i]; records are all there are.
function folder.drop_records(self, records, dropped)
  local kept, path = {}, path_of(self, "metrics.jsonl")
  for i, record in ipairs(records) do
    if not dropped[i] then kept[#kept + 1] = core.json.encode(record, exact_line) .. "\n" end
  end
  core.write_file(path, table.concat(kept))
  self.metrics_file:close() -- the file it has open is no longer the one of that name
  self.metrics_file = core.system.log(path, { lines = true })
end

--- run:cut(step, where)
--- Takes back the metrics after a step, as a resumed run does before it repeats them: records whose
--- step is larger go, records without a step stay. run:cut(-1) drops all that have a step.
--- @param step number
--- @param where table =nil only records with these values, e.g. { seed = 2 }
--- @return integer records that went
--- @source -
function Run:cut(step, where)
  check_writable(self, "run:cut")
  check_where("run:cut", where)
  if type(step) ~= "number" or step ~= step then
    bad_argument("run:cut", "number expected, got %s", options.describe(step))
  end
  local records, dropped, gone = self:records(), {}, 0
  for i, record in ipairs(records) do
    if type(record.step) == "number" and record.step > step and matches(record, where) then
      dropped[i], gone = true, gone + 1
    end
  end
  if gone > 0 then folder.drop_records(self, records, dropped) end
  return gone
end

--- run:results(t)
--- Keeps what the run found (tables of numbers, strings, booleans), or reads it back.
--- @param t table =nil { results =, claims =, ... }; absent: only reads
--- @return table what is kept, or nil
--- @source -
function Run:results(t)
  if t ~= nil then
    check_writable(self, "run:results")
    check_table("run:results", t)
    write_json(self, "results.json", t)
  end
  return folder.read(self.dir, "results.json")
end

local function file_in(self, place, name, method)
  if type(name) ~= "string" or name == "" or name:find("[/%z]") or name:sub(1, 1) == "." then
    error(("bad argument #1 to 'run:%s' (%s, wanted the name of a file)"):format(method,
      options.describe(name)), 3)
  end
  if self.lease then core.system.make_dirs(path_of(self, place)) end
  return path_of(self, place .. "/" .. name)
end

--- run:artifact(name)
--- The path of a file the run leaves behind (figures, tables), in its folder artifacts.
--- @param name string
--- @return string
--- @source -
function Run:artifact(name) return file_in(self, "artifacts", name, "artifact") end

--- run:checkpoint(name)
--- The path of a checkpoint, in the run's folder checkpoints.
--- @param name string
--- @return string
--- @source -
function Run:checkpoint(name) return file_in(self, "checkpoints", name, "checkpoint") end

--- run:close()
--- Gives the run back unfinished: another process may resume it. Closing again does nothing.
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
  check_writable(self, "run:finish")
  if not known_state[state] or state == "running" then
    bad_argument("run:finish", "%s, wanted \"done\", \"diverged\", \"interrupted\" or \"failed\"",
      options.describe(state))
  end
  local status = self.status
  local session = status.sessions[#status.sessions]
  session.ended = folder.now()
  session.seconds = core.now() - self.clock
  status.state, status.ended = state, session.ended
  status.message = message ~= nil and tostring(message) or nil
  status.seconds = (tonumber(status.seconds) or 0) + session.seconds
  write_json(self, "state.json", status)
  self:close()
end

-- ---- reading ------------------------------------------------------------------------------------

--- run:config()
--- What the run is: id, recipe, size, params, seed, seeds, config, started, version, revision,
--- dirty, host, threads, cpu, cpu_features, simd, blas.
--- @return table
--- @source -
function Run:config()
  self.settings = self.settings or folder.read(self.dir, "config.json") or {}
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

--- The state as it is, given what state.json says: a run that says it runs, though nobody holds its
--- lease, was interrupted.
function folder.state_of(dir, status)
  local word = status.state
  if known_state[word] and word ~= "running" then
    return word, type(status.message) == "string" and status.message or nil
  end
  local ok, holder = pcall(core.system.lease_holder, dir)
  holder = ok and holder or nil
  if holder and holder.live then return "running" end
  if not holder or holder.released then return "interrupted", "given back unfinished" end
  return "interrupted", ("its process ended without a word (pid %d on %s)"):format(holder.pid,
    holder.host)
end

--- run:state()
--- How the run stands. A run whose process was killed is "interrupted".
--- @return string, string, table "running", "done", "diverged", "interrupted" or "failed"; a
--- message or nil; and the whole of it: { state, message, started, ended, seconds, sessions }
--- @source -
function Run:state()
  local status = folder.read(self.dir, "state.json") or {}
  local word, message = folder.state_of(self.dir, status)
  return word, message, status
end

--- run:records(where)
--- The metrics as they were logged. A torn last line is left out.
--- @param where table =nil only records with these values, e.g. { kind = "eval" }
--- @return table, integer list of records; and the number of lines that are damaged
--- @source -
function Run:records(where)
  check_where("run:records", where)
  return read_records(path_of(self, "metrics.jsonl"), where)
end

--- run:metrics(names, where)
--- The metrics as columns: one row for each step (records without a step have rows of their own),
--- NaN where a record lacks a value.
--- @param names table =nil list of columns; absent: all that hold numbers. Rows with none of them
--- go.
--- @param where table =nil only records with these values, e.g. { kind = "eval" }
--- @return table, integer name -> tensor [rows] f64, "step" among them where steps were logged;
--- rows
--- @source -
function Run:metrics(names, where)
  check_where("run:metrics", where)
  if type(names) == "string" then names = { names } end
  if names ~= nil then check_table("run:metrics", names) end
  local wanted
  if names then
    wanted = {}
    for _, name in ipairs(names) do wanted[name] = true end
  end
  local rows, at_step, found = {}, {}, {}
  for _, record in ipairs((read_records(path_of(self, "metrics.jsonl"), where))) do
    local step = type(record.step) == "number" and record.step == record.step and record.step or nil
    local values, some = {}, false
    for key, value in pairs(record) do
      if key ~= "step" and type(value) == "number" and (not wanted or wanted[key]) then
        values[key], found[key], some = value, true, true
      end
    end
    if some then
      local row = step and at_step[step]
      for key in pairs(values) do
        if row and row[key] ~= nil then row = nil end -- logged twice: a row of its own
      end
      if not row then
        row = { step = step }
        rows[#rows + 1] = row
        if step then at_step[step], found.step = row, true end
      end
      for key, value in pairs(values) do row[key] = value end
    end
  end
  local columns, nan = {}, -(0 / 0)
  for key in pairs(found) do
    local column = {}
    for i, row in ipairs(rows) do column[i] = row[key] or nan end
    columns[key] = core.f64(column)
  end
  return columns, #rows
end

-- ---- labels -------------------------------------------------------------------------------------

--- run:tags()
--- @return table list of tags, sorted
--- @source -
function Run:tags()
  local labels = folder.read(self.dir, "labels.json") or {}
  local tags = {}
  for _, tag in ipairs(type(labels.tags) == "table" and labels.tags or {}) do
    if type(tag) == "string" then tags[#tags + 1] = tag end
  end
  table.sort(tags)
  return tags
end

-- Changes labels.json by change(labels); of two processes at once each sees the other's.
local function edit_labels(self, change)
  local guard, why
  for _ = 1, 500 do
    guard, why = io.open(path_of(self, "config.json"), "r+")
    if not guard then error(("cannot change the labels of %s (%s)"):format(self.id, why), 0) end
    if lfs.lock(guard, "w") then break end
    guard:close()
    guard = nil
    core.system.sleep(0.01)
  end
  if not guard then error(("the labels of %s stay locked"):format(self.id), 0) end
  local ok, message = pcall(function()
    local labels = folder.read(self.dir, "labels.json") or {}
    labels.tags = self:tags()
    change(labels)
    if #labels.tags == 0 then labels.tags = nil end
    write_json(self, "labels.json", labels)
  end)
  guard:close() -- the lock goes with it
  if not ok then error(message, 0) end
end

local function check_tag(method, tag)
  if type(tag) ~= "string" or tag == "" or #tag > 80 or tag:find("[%c,%s]") then
    error(("bad argument #1 to 'run:%s' (%s, wanted a word without spaces and commas)"):format(
      method, options.describe(tag)), 3)
  end
end

--- run:tag(tag)
--- Adds a tag. Any process may, while the run is being written as well.
--- @param tag string a word
--- @source -
function Run:tag(tag)
  check_tag("tag", tag)
  edit_labels(self, function(labels)
    for _, known in ipairs(labels.tags) do
      if known == tag then return end
    end
    table.insert(labels.tags, tag)
    table.sort(labels.tags)
  end)
end

--- run:untag(tag)
--- Takes a tag away.
--- @param tag string
--- @return boolean whether it was there
--- @source -
function Run:untag(tag)
  check_tag("untag", tag)
  local found = false
  edit_labels(self, function(labels)
    for i = #labels.tags, 1, -1 do
      if labels.tags[i] == tag then
        table.remove(labels.tags, i)
        found = true
      end
    end
  end)
  return found
end

--- run:note(text)
--- Writes a note about the run, or reads it.
--- @param text string =nil absent: only reads; "" takes the note away
--- @return string the note, or nil
--- @source -
function Run:note(text)
  if text ~= nil then
    if type(text) ~= "string" then
      bad_argument("run:note", "string expected, got %s", options.describe(text))
    end
    edit_labels(self, function(labels) labels.note = text ~= "" and text or nil end)
  end
  local note = (folder.read(self.dir, "labels.json") or {}).note
  return type(note) == "string" and note or nil
end

options.methods(Run, "run:")
Run.__dir = {}
for name, value in pairs(Run) do
  if type(value) == "function" and name:sub(1, 2) ~= "__" then table.insert(Run.__dir, name) end
end
table.sort(Run.__dir)

return folder
