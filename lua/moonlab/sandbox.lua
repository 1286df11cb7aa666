--- Programs that nobody has read: they run in a process of their own, which holds no file, no
--- network and no way back, each in a fresh Lua state with counted memory, instructions and time.
local checks = require "moonlab.sandbox.checks"
local codec = require "moonlab.sandbox.codec"
local core = require "moonlab.core"
local interrupt = require "moonlab.interrupt"
local options = require "moonlab.options"

local sandbox = {}

local LARGEST = 64 << 20 -- bytes of an answer
local LIFE = 5000 -- jobs of a worker: then a new one starts from a clean heap
local START = 20 -- seconds that a worker may take to come up on a busy machine

local limit_names = { "memory", "instructions", "seconds", "output", "results" }
local defaults = { memory = 16 << 20, instructions = 10000000, seconds = 2, output = 65536,
  results = 1 << 20 }
local ranges = { memory = { 65536, 1 << 32 }, instructions = { 1, 1 << 53 },
  seconds = { 0.001, 86400 }, output = { 0, 1 << 24 }, results = { 0, 1 << 24 } }

local Box = {}
Box.__index = Box
Box.__name = "ml.sandbox.box"

-- ---- a worker -----------------------------------------------------------------------------------

local function stop(worker)
  worker.child:kill "kill"
  worker.child:wait(10)
  worker.child:close()
end

-- One frame, or nil and why: "time", "died", "garbled".
local function read_frame(worker, deadline)
  local parts, have, wanted = { worker.rest }, #worker.rest, nil
  worker.rest = ""
  while true do
    if not wanted and have >= 4 then
      parts = { table.concat(parts) }
      wanted = 4 + string.unpack("<I4", parts[1])
      if wanted > LARGEST then return nil, "garbled" end
    end
    if wanted and have >= wanted then
      local text = table.concat(parts)
      worker.rest = text:sub(wanted + 1)
      return text:sub(5, wanted)
    end
    local data, stream = worker.child:read(math.max(0, deadline - core.now()))
    if data == nil then return nil, "died" end
    if stream == "timeout" then return nil, "time" end
    parts[#parts + 1] = data
    have = have + #data
  end
end

-- The host that runs this, also where its file has been replaced since; else the one to be found.
local function program_path()
  if package.loaded["moonlab.host"] then return "/proc/self/exe" end
  return require("moonlab.sweep.crew").program()
end

local function start(self)
  local program, why = program_path()
  if not program then options.raise("ml.sandbox: %s", why) end
  local child
  child, why = core.system.spawn { program, "--sandbox", tostring(self.most),
    self.seccomp == "off" and "0" or "1", stdin = "pipe", stdout = "pipe", stderr = "null",
    group = true, dir = "/" }
  if not child then options.raise("ml.sandbox: %s", why) end
  local worker = { child = child, rest = "", jobs = 0 }
  local hello
  hello, why = read_frame(worker, core.now() + START)
  local ok, words = pcall(codec.words, hello)
  if not ok then
    stop(worker)
    options.raise("ml.sandbox: the worker does not start (%s)", why or "garbled")
  end
  local confined = {}
  for _, line in ipairs(words) do
    local name, value = line:match "^(%S+) (.*)$"
    if name then confined[name] = value end
  end
  self.confined = confined
  if confined.seccomp ~= "on" and self.seccomp ~= "off" then
    local text = ("this system does not filter system calls (%s); files, processes and the "
      .. "network are refused by limits alone"):format(confined.seccomp or "no word of it")
    if self.seccomp == "required" then
      stop(worker)
      options.raise("ml.sandbox: %s", text)
    elseif not sandbox.warned then
      sandbox.warned = true
      io.stderr:write("ml.sandbox: ", text, "\n")
    end
  end
  self.started = self.started + 1
  return worker
end

-- The worker number `slot`, fresh where the last one is used up, was left in the middle of a job
-- (Ctrl-C), or has less room than this job.
local function worker_at(self, slot, memory)
  if memory > self.most then
    self.most = memory
    for i, worker in pairs(self.workers) do
      stop(worker)
      self.workers[i] = nil
    end
  end
  local worker = self.workers[slot]
  if worker and (worker.busy or worker.jobs >= LIFE) then
    stop(worker)
    worker = nil
  end
  worker = worker or start(self)
  self.workers[slot] = worker
  return worker
end

local function drop(self, slot)
  local worker = self.workers[slot]
  self.workers[slot] = nil
  stop(worker)
end

-- ---- jobs ---------------------------------------------------------------------------------------

local function limits_of(where, given, base)
  options.check(where, given, limit_names)
  local out = {}
  for _, name in ipairs(limit_names) do
    out[name] = options.range(where, name, options.field(where, given or {}, name,
      name == "seconds" and "number" or "integer", base[name]), ranges[name][1], ranges[name][2])
  end
  return out
end

-- What cannot be sent is no program: it says so before a worker is asked.
local function job_of(where, source, calls, limits)
  options.argument(where, 1, source, "string")
  if #source > 1 << 20 then
    options.bad(where, 1, "the source has %d bytes, wanted at most 1048576", #source)
  end
  return { frame = codec.job(where, source, calls, limits), limits = limits }
end

local function failed(reason, message)
  return { ok = false, reason = reason, message = message, output = "", calls = {} }
end

local function send(self, slot, job)
  local worker = worker_at(self, slot, job.limits.memory)
  worker.busy = true
  worker.jobs = worker.jobs + 1
  job.deadline = core.now() + job.limits.seconds
  -- a pipe that is full and stays so is one that nobody reads any more; an error says the same
  local ok, whole = interrupt.try(worker.child.write, worker.child, job.frame, START)
  job.lost = not (ok and whole)
end

-- The result of the job that was sent there; a worker that did not survive it is replaced.
local function receive(self, slot, job)
  local worker = self.workers[slot]
  local text, why
  if job.lost then why = "died" else text, why = read_frame(worker, job.deadline) end
  if text then
    local ok, result = interrupt.try(codec.answer, text)
    if ok and worker.rest == "" then
      worker.busy = false
      return result
    end
    why = "garbled"
  end
  drop(self, slot)
  if why == "time" then
    return failed("time", ("it ran for more than %g seconds"):format(job.limits.seconds))
  end
  if not job.again then -- perhaps it was not the program's doing
    job.again = true
    send(self, slot, job)
    return receive(self, slot, job)
  end
  return failed("died", why == "garbled" and "its process gave no answer that can be read"
    or "its process ended")
end

local function run_all(self, jobs)
  local results, n = {}, #self.lanes
  for first = 1, #jobs, n do
    local last = math.min(#jobs, first + n - 1)
    for i = first, last do send(self, i - first + 1, jobs[i]) end
    for i = first, last do results[i] = receive(self, i - first + 1, jobs[i]) end
  end
  self.jobs = self.jobs + #jobs
  for _, result in ipairs(results) do
    local key = result.ok and "ok" or result.reason
    self.counts[key] = (self.counts[key] or 0) + 1
  end
  return results
end

local function with_values(result)
  local call = result.calls[1]
  result.values = call and call.values
  result.calls = nil
  return result
end

local function awake(self)
  if self.closed then options.raise("the sandbox was closed") end
end

--- box:run(source, limits)
--- Runs a program and says how it ended.
--- @param source string Lua 5.4 as text
--- @param limits table over those of the box, see ml.sandbox.run
--- @return table as ml.sandbox.run
--- @source -
function Box:run(source, limits)
  awake(self)
  local job = job_of("run", source, { {} }, limits_of("run", limits, self.limits))
  return with_values(run_all(self, { job })[1])
end

--- box:call(source, arguments, limits)
--- Calls a program, which finds its arguments in `...`, once for each list of arguments. All calls
--- share one fresh state; the instructions of each are counted by themselves. The call that goes
--- beyond a limit is the last.
--- @param source string Lua 5.4 as text
--- @param arguments list of lists of nil, booleans, numbers, strings, tables of them; a list with
--- holes says its length as n
--- @param limits table over those of the box, see ml.sandbox.run
--- @return table as ml.sandbox.run, with calls, a list of { ok, reason, message, values }, in place
--- of values; ok says that all of them returned
--- @source -
function Box:call(source, arguments, limits)
  awake(self)
  options.argument("call", 2, arguments, "table")
  return run_all(self, { job_of("call", source, arguments,
    limits_of("call", limits, self.limits)) })[1]
end

--- box:batch(jobs, limits)
--- Many programs, on all workers of the box. The results are those of one after the other.
--- @param jobs list of { source =, calls = } as of box:call
--- @param limits table over those of the box, see ml.sandbox.run
--- @return table list of results as of box:call
--- @source -
function Box:batch(list, limits)
  awake(self)
  options.argument("batch", 1, list, "table")
  local most, jobs = limits_of("batch", limits, self.limits), {}
  for i, one in ipairs(list) do
    if type(one) ~= "table" then options.bad("batch", 1, "entry %d is no table", i) end
    options.check("batch", one, { "source", "calls" })
    jobs[i] = job_of("batch", one.source, one.calls or { {} }, most)
  end
  return run_all(self, jobs)
end

--- box:check()
--- Tries whether the walls hold, before anything unknown runs: what the system lets the worker do,
--- and programs that want too much of everything. Raises where one gets it.
--- @return table { programs (that were tried), seccomp (whether system calls are filtered), open
--- (list of what the system did not refuse: empty with seccomp), confined (what was given up, by
--- name: "on" or why not), text (all that in one line) }
--- @source -
function Box:check()
  awake(self)
  local worker = worker_at(self, 1, self.limits.memory)
  worker.busy = true
  worker.child:write(codec.probe, START)
  local text, why = read_frame(worker, core.now() + START)
  local ok, open = pcall(codec.words, text)
  if not ok then
    drop(self, 1)
    options.raise("ml.sandbox: the probe fails (%s)", why or "garbled")
  end
  worker.busy = false
  local seccomp = self.confined.seccomp == "on"
  if seccomp and #open > 0 then
    options.raise("ml.sandbox: the walls do not hold: the system allows %s",
      table.concat(open, ", "))
  end
  local programs = checks.run(self)
  return { programs = programs, seccomp = seccomp, open = open, confined = self.confined,
    text = seccomp and ("sandbox: %d programs held, system calls filtered"):format(programs)
      or ("sandbox: %d programs held; system calls NOT filtered (%s), the system allows %s"):format(
        programs, self.confined.seccomp, table.concat(open, ", ")) }
end

--- box:status()
--- What has run so far.
--- @return table { jobs, started (workers), counts (of results by "ok" or reason), confined }
--- @source -
function Box:status()
  return { jobs = self.jobs, started = self.started, counts = self.counts,
    confined = self.confined }
end

--- box:close()
--- Ends its workers. Those of a box that is forgotten end by themselves.
--- @source -
function Box:close()
  for slot in pairs(self.workers) do drop(self, slot) end
  self.closed = true
end

function Box:__tostring()
  return ("sandbox: %d jobs, %d workers started%s"):format(self.jobs, self.started,
    self.closed and ", closed" or "")
end

--- ml.sandbox.open{ memory =, instructions =, seconds =, output =, results =, workers =,
---   seccomp = }
--- A sandbox with limits and workers of its own. Where the kernel filters no system calls it says
--- so on the error stream.
--- @param opts.memory integer =16777216 bytes of the program's Lua state
--- @param opts.instructions integer =10000000 of Lua, counted by hundreds
--- @param opts.seconds number =2 of the clock on the wall, all calls together
--- @param opts.output integer =65536 bytes that it may print
--- @param opts.results integer =1048576 bytes that it may return
--- @param opts.workers integer =1 processes, 1 to 64
--- @param opts.seccomp string ="wanted", "required" (raises where there is none) or "off"
--- @return box with the methods run, call, batch, check, status, close
--- @source -
function sandbox.open(opts)
  local where = "ml.sandbox.open"
  options.check(where, opts, { "memory", "instructions", "seconds", "output", "results",
    "workers", "seccomp" })
  local given = {}
  for key, value in pairs(opts or {}) do given[key] = value end
  local workers = options.range(where, "workers",
    options.field(where, given, "workers", "integer", 1), 1, 64)
  local seccomp = options.choice(where, given, "seccomp", { "wanted", "required", "off" }, "wanted")
  given.workers, given.seccomp = nil, nil
  local self = setmetatable({ limits = limits_of(where, given, defaults), seccomp = seccomp,
    workers = {}, lanes = {}, jobs = 0, started = 0, counts = {} }, Box)
  self.most = self.limits.memory
  for i = 1, workers do self.lanes[i] = i end
  return self
end

local shared -- by the calls of ml.sandbox.run

--- ml.sandbox.run(source, limits)
--- Runs a program in a process without files, network or a way back, in a fresh Lua state with what
--- computes and nothing else: assert, error, ipairs, next, pairs, pcall, print, rawequal, rawget,
--- rawlen, rawset, select, tonumber, tostring, type, math, string, table, utf8. No metatables, no
--- coroutines, no code from text; math.random gives the same numbers each time.
--- @param source string Lua 5.4 as text, at most a MiB
--- @param limits.memory integer =16777216 bytes of its Lua state
--- @param limits.instructions integer =10000000 of Lua, counted by hundreds
--- @param limits.seconds number =2 of the clock on the wall
--- @param limits.output integer =65536 bytes that it may print
--- @param limits.results integer =1048576 bytes that it may return
--- @return table { ok (it returned), reason (nil, or "syntax", "error", "instructions", "memory",
--- "time", "output", "results", or "died": its process ended twice, which says nothing about the
--- program), message, output (what it printed), values (what it returned, n of them), instructions,
--- memory (its peak) }
--- @source -
function sandbox.run(source, limits)
  shared = shared or sandbox.open {}
  local job = job_of("ml.sandbox.run", source, { {} },
    limits_of("ml.sandbox.run", limits, defaults))
  return with_values(run_all(shared, { job })[1])
end

sandbox.methods = Box
require "moonlab.methods"("ml.sandbox.box", Box)
return sandbox
