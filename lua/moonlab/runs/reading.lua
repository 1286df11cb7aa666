--- What a run says: its configuration, its state, its metrics.
local core = require "moonlab.core"
local files = require "moonlab.runs.files"
local interrupt = require "moonlab.interrupt"
local options = require "moonlab.options"

local reading = { methods = {} }
local Run = reading.methods

--- Raises on a where that is no table.
function reading.check_where(method, where)
  if where ~= nil and type(where) ~= "table" then
    options.bad(method, 0, "where is %s, wanted a table of names and values",
      options.describe(where))
  end
end

--- Whether a record has the values in where.
function reading.matches(record, where)
  for key, value in pairs(where or {}) do
    if record[key] ~= value then return false end
  end
  return true
end

local function read_records(dir, where)
  local records, damaged, path = {}, 0, dir .. "/metrics.jsonl"
  local file = files.mode(path) == "file" and io.open(path, "r")
  if not file then return records, damaged end
  for line in file:lines("L") do
    local whole = line:sub(-1) == "\n" -- else it was torn while it was written
    local ok, record = interrupt.try(files.decode, line)
    if ok and whole and type(record) == "table" and #record == 0 then
      if reading.matches(record, where) then records[#records + 1] = record end
    elseif whole then
      damaged = damaged + 1
    end
  end
  file:close()
  return records, damaged
end

--- run:config()
--- What the run is: id, recipe, size, params, seed, seeds, config, started, version, revision,
--- dirty, code (a hash of the recipe), host, threads, cpu, cpu_features, simd, blas,
--- matmul_precision.
--- @return table
--- @source -
function Run:config()
  self.settings = self.settings or files.read(self.dir, "config.json") or {}
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
function reading.state_of(dir, status)
  local word = status.state
  if files.known_state[word] and word ~= "running" then
    return word, type(status.message) == "string" and status.message or nil
  end
  local ok, holder = interrupt.try(core.system.lease_holder, dir)
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
  local status = files.read(self.dir, "state.json") or {}
  local word, message = reading.state_of(self.dir, status)
  return word, message, status
end

--- The sessions of a run that nothing ended: of a process that is at work, or was killed.
function reading.open_sessions(run)
  local sessions, open = select(3, run:state()).sessions, {}
  for _, session in ipairs(type(sessions) == "table" and sessions or {}) do
    if type(session) == "table" and session.ended == nil then open[#open + 1] = session end
  end
  return open
end

--- Whether a run, of which state.json says status, was computed or begun with code of another hash.
function reading.has_other_code(status, code)
  for _, session in ipairs(type(status.sessions) == "table" and status.sessions or {}) do
    local its = type(session) == "table" and session.code
    if type(its) == "string" and its ~= code then return true end
  end
  return false
end

--- run:records(where)
--- The metrics as they were logged. A torn last line is left out.
--- @param where table =nil only records with these values, e.g. { kind = "eval" }
--- @return table, integer list of records; and the number of lines that are damaged
--- @source -
function Run:records(where)
  reading.check_where("run:records", where)
  return read_records(self.dir, where)
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
  reading.check_where("run:metrics", where)
  if type(names) == "string" then names = { names } end
  if names ~= nil then options.argument("run:metrics", 1, names, "table") end
  local wanted
  if names then
    wanted = {}
    for _, name in ipairs(names) do wanted[name] = true end
  end
  local rows, at_step, found = {}, {}, {}
  for _, record in ipairs((read_records(self.dir, where))) do
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

return reading
