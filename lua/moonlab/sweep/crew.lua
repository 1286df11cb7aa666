--- The workers of a sweep: processes that are started, watched, and replaced when they die.
local core = require "moonlab.core"
local folder = require "moonlab.runs.folder"
local interrupt = require "moonlab.interrupt"
local lfs = require "lfs"
local points = require "moonlab.sweep.points"
local queue = require "moonlab.sweep.queue"

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
  self.workers[slot] = { child = child, log = log, done = self.done }
  self.alive = self.alive + 1
end

-- Whether a process was at work on a point and did not end it.
local function held_by(self, point, pid)
  local dir = points.folder_of(self, point)
  local ok, holder = interrupt.try(core.system.lease_holder, dir)
  if not ok or not holder or holder.pid ~= pid then return false end
  local run = folder.at(dir, point.id)
  return run == nil or select(3, run:state()).state == "running"
end

-- What a worker that died held is tried again, at most self.tries times in the life of this sweep.
local function after_crash(self, pid, how)
  for _, point in ipairs(self.open) do
    if held_by(self, point, pid) then
      point.crashes = (point.crashes or 0) + 1
      self.crashes = self.crashes + 1
      if point.crashes >= self.tries then
        local run = points.claim(self, point)
        if run then
          run:finish("failed", ("its worker died (%s), %d times"):format(how, point.crashes))
        end
      end
      return true
    end
  end
  return false
end

-- Takes up a worker that has ended.
local function end_worker(self, slot)
  local worker = self.workers[slot]
  local kind, code = worker.child:wait(0)
  local pid = worker.child:pid()
  self.workers[slot] = nil
  self.alive = self.alive - 1
  worker.child:close()
  points.look_around(self)
  local how = kind == "signal" and ("signal %d"):format(code) or ("exit status %d"):format(code)
  local moved = after_crash(self, pid, how) or self.done > worker.done or self.running > 0
  os.remove(queue.mark(self.queue.path, pid))
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
    os.remove(queue.mark(self.queue.path, worker.child:pid()))
    worker.child:close()
  end
  self.workers = {}
end

return crew
