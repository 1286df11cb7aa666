--- The workers of a sweep: processes that are started, watched, and replaced when they die.
local core = require "moonlab.core"
local files = require "moonlab.runs.files"
local folder = require "moonlab.runs.folder"
local interrupt = require "moonlab.interrupt"
local lfs = require "lfs"
local points = require "moonlab.sweep.points"
local queue = require "moonlab.sweep.queue"
local reading = require "moonlab.runs.reading"

local crew = {}

--- The path of the host program, which workers are processes of; or nil and a message.
function crew.program()
  local own = lfs.symlinkattributes("/proc/self/exe", "target")
  if own and package.loaded["moonlab.host"] then return own end
  local root = debug.getinfo(1, "S").source:match "^@(.-)/?lua/moonlab/sweep/[^/]*$"
  if root and root:sub(1, 1) ~= "/" then root = lfs.currentdir() .. "/" .. root end
  local built = root and root .. "/build/bin/moonlab"
  if built and lfs.attributes(built, "mode") == "file" then return built end
  for dir in (os.getenv "PATH" or ""):gmatch "[^:]+" do
    if lfs.attributes(dir .. "/moonlab", "mode") == "file" then return dir .. "/moonlab" end
  end
  return nil, "the program moonlab is not there: neither built nor installed"
end

local function tail_of(path)
  local file = io.open(path, "r")
  if not file then return "" end
  local size = file:seek "end"
  file:seek("set", math.max(0, size - 1000))
  local text = file:read "a"
  file:close()
  return text ~= "" and text or "nothing; is the disk full?"
end

--- Starts one worker.
function crew.start(self)
  local slot = 1
  while self.workers[slot] do slot = slot + 1 end
  local log = ("%s/worker-%d.log"):format(self.d.dir, slot)
  local child, why = core.system.spawn {
    self.program, "sweep", "--work", self.queue.path, "--parent",
    tostring(core.system.process().pid), "--memory", tostring(self.memory),
    stdout = ">>" .. log, stderr = "stdout", group = true,
    env = { MOONLAB_THREADS = tostring(self.threads) },
  }
  if not child then error("ml.sweep: " .. why, 0) end
  self.workers[slot] = { child = child, pid = child:pid(), log = log, done = self.done,
    started = files.now() }
  self.alive = self.alive + 1
end

-- Whether a worker was at work on a point and did not end it. Its folder says so also when a fellow
-- has claimed the point since.
local function held_by(self, point, worker)
  local dir, pid = points.folder_of(self, point), worker.pid
  local run = folder.at(dir, point.id)
  for _, session in ipairs(run and reading.open_sessions(run) or {}) do
    if session.pid == pid and session.host == core.system.process().host
      and tostring(session.started) >= worker.started then -- else one of that number long ago
      return true
    end
  end
  if run then return false end -- the lease comes first
  local ok, holder = interrupt.try(core.system.lease_holder, dir)
  return ok and holder ~= nil and holder.pid == pid and not holder.released
end

-- Records a point that has taken enough workers with it as failed. A fellow who has claimed it in
-- between gives it back at once, since the dead worker's mark still stands.
local function give_up(self, point, how)
  local message = ("its worker died (%s), %d times"):format(how, point.crashes)
  while true do
    local run, word = points.claim(self, point)
    if run then return run:finish("failed", message) end
    if word ~= "busy" then return end
    local ok, holder = interrupt.try(core.system.lease_holder, points.folder_of(self, point))
    local mark = ok and holder and holder.live and queue.mark(self.queue.path, holder.pid)
    if mark and not files.mode(mark) then
      return -- another sweep's, which tries it for itself
    end
    core.system.wait_any({}, 0.01)
  end
end

-- What a worker that died held is tried again, at most self.tries times in the life of this sweep.
local function after_crash(self, worker, how)
  for _, point in ipairs(self.open) do
    if held_by(self, point, worker) then
      point.crashes = (point.crashes or 0) + 1
      self.crashes = self.crashes + 1
      if point.crashes >= self.tries then give_up(self, point, how) end
      return true
    end
  end
  return false
end

-- Takes up a worker that has ended.
local function end_worker(self, slot)
  local worker = self.workers[slot]
  local kind, code = worker.child:wait(0)
  self.workers[slot] = nil
  self.alive = self.alive - 1
  worker.child:close()
  points.look_around(self)
  local how = kind == "signal" and ("signal %d"):format(code) or ("exit status %d"):format(code)
  local moved = after_crash(self, worker, how) or self.done > worker.done or self.running > 0
  os.remove(queue.mark(self.queue.path, worker.pid))
  self.barren = moved and 0 or self.barren + 1
  if self.barren >= self.tries and not (kind == "exit" and code == 0) then
    error(("ml.sweep: the workers die (%s); %s ends with\n%s"):format(how, worker.log,
      tail_of(worker.log)), 0)
  end
end

--- Waits up to so many seconds for a worker to end, and takes up all that have.
function crew.collect(self, seconds)
  local list, slots = {}, {}
  for slot, worker in pairs(self.workers) do
    list[#list + 1] = worker.child
    slots[#slots + 1] = slot
  end
  if #list == 0 then
    core.system.wait_any({}, seconds)
    return
  end
  local which = core.system.wait_any(list, seconds)
  while which do
    end_worker(self, slots[which])
    table.remove(list, which)
    table.remove(slots, which)
    which = #list > 0 and core.system.wait_any(list, 0) or nil
  end
end

--- Ctrl-C: every worker gets one, keeps its checkpoint and ends.
function crew.stop(self)
  for _, worker in pairs(self.workers) do pcall(worker.child.kill, worker.child, "int") end
  local until_when = core.now() + 60
  for _, worker in pairs(self.workers) do
    local ok = pcall(worker.child.wait, worker.child, math.max(0, until_when - core.now()))
    if not ok or not worker.child:wait(0) then
      worker.child:kill "kill"
      worker.child:wait()
    end
    os.remove(queue.mark(self.queue.path, worker.pid))
    worker.child:close()
  end
  self.workers = {}
end

return crew
