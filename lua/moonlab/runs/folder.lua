--- A run: its folder, and what the one process that writes it does.
local core = require "moonlab.core"
local files = require "moonlab.runs.files"
local interrupt = require "moonlab.interrupt"
local labels = require "moonlab.runs.labels"
local options = require "moonlab.options"
local reading = require "moonlab.runs.reading"

local folder = {}

local Run = {}
Run.__index = Run
Run.__name = "ml.run"

function Run:__tostring() return ("ml.run %s (%s)"):format(self.id, (self:state())) end

--- A run at dir, open for reading.
function folder.run(dir, id) return setmetatable({ dir = dir, id = id }, Run) end

--- The run that stands at dir, or nil.
function folder.at(dir, id) return files.is_run(dir) and folder.run(dir, id) or nil end

local function path_of(self, name) return self.dir .. "/" .. name end

local function check_writable(self, where)
  if not self.lease then
    options.raise("%s: %s is open for reading only; ml.runs.create, claim and resume open for "
      .. "writing", where, self.id)
  end
  if not self.lease:held() then
    local holder = core.system.lease_holder(self.dir)
    options.raise("%s: %s was taken over by pid %s on %s, which thought this process dead", where,
      self.dir, holder and holder.pid or "?", holder and holder.host or "?")
  end
end

--- Notes that this process works on the run from now on; state is what state.json held.
function folder.begin_session(self, state)
  local session = files.machine()
  session.started, session.code = files.now(), self.code
  state.sessions = type(state.sessions) == "table" and state.sessions or {}
  table.insert(state.sessions, session)
  state.started = state.started or session.started
  state.state, state.message, state.ended = "running", nil, nil
  self.status = state
  self.clock = core.now()
  files.write(self.dir, "state.json", state)
  self.metrics_file = core.system.log(path_of(self, "metrics.jsonl"), { lines = true })
end

--- run:log(record)
--- Appends one record to the metrics: names with numbers, strings or booleans; NaN and infinity are
--- kept. It has reached the system on return, so that killing the process loses nothing.
--- @param record table { step = 10, loss = 2.3 }
--- @source -
function Run:log(record)
  local file = self.metrics_file
  if not file or not self.lease:held() then check_writable(self, "run:log") end
  options.argument("run:log", 1, record, "table")
  local ok, line = interrupt.try(files.encode, record)
  if not ok then options.bad("run:log", 1, "%s", line:match("%((.*)%)$") or line) end
  if line:byte() ~= 123 then
    options.bad("run:log", 1, "a list, wanted names with values: { step = 10, loss = 2.3 }")
  end
  file:write(line .. "\n")
end

--- run:write(text)
--- Appends text to the run's log.
--- @param text string
--- @source -
function Run:write(text)
  check_writable(self, "run:write")
  options.argument("run:write", 1, text, "string")
  self.log_file = self.log_file or core.system.log(path_of(self, "log.txt"))
  self.log_file:write(text)
end

--- Writes the metrics anew without records[i] where dropped[i]; records are all there are.
function folder.drop_records(self, records, dropped)
  local kept, path = {}, path_of(self, "metrics.jsonl")
  for i, record in ipairs(records) do
    if not dropped[i] then kept[#kept + 1] = files.encode(record) .. "\n" end
  end
  core.write_file(path, table.concat(kept))
  self.metrics_file:close() -- the file it has open is no longer the one of that name
  self.metrics_file = core.system.log(path, { lines = true })
end

--- run:cut(step, where)
--- Takes back the metrics after a step, as a resumed run does before it repeats them: records whose
--- step is larger go, records without a step stay. run:cut(-1) drops all that have a step.
--- @param step number first that goes
--- @param where table =nil only records with these values, e.g. { seed = 2 }
--- @return integer records that went
--- @source -
function Run:cut(step, where)
  check_writable(self, "run:cut")
  reading.check_where("run:cut", where)
  if type(step) ~= "number" or step ~= step then
    options.bad("run:cut", 1, "number expected, got %s", options.describe(step))
  end
  local records, dropped, gone = self:records(), {}, 0
  for i, record in ipairs(records) do
    if type(record.step) == "number" and record.step > step and reading.matches(record, where) then
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
    options.argument("run:results", 1, t, "table")
    files.write(self.dir, "results.json", t)
  end
  return files.read(self.dir, "results.json")
end

local function file_in(self, place, name, method)
  if type(name) ~= "string" or name == "" or name:find("[/%z]") or name:sub(1, 1) == "." then
    options.bad("run:" .. method, 1, "%s, wanted the name of a file", options.describe(name))
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
  if not files.known_state[state] or state == "running" then
    options.bad("run:finish", 1, "%s, wanted \"done\", \"diverged\", \"interrupted\" or \"failed\"",
      options.describe(state))
  end
  local status = self.status
  local session = status.sessions[#status.sessions]
  session.ended = files.now()
  session.seconds = core.now() - self.clock
  status.state, status.ended = state, session.ended
  status.message = message ~= nil and tostring(message) or nil
  status.seconds = (tonumber(status.seconds) or 0) + session.seconds
  files.write(self.dir, "state.json", status)
  self:close()
end

for _, part in ipairs { reading.methods, labels.methods } do
  for name, method in pairs(part) do Run[name] = method end
end
options.methods(Run, "run:")
require "moonlab.methods"("ml.run", Run)

return folder
