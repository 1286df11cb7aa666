--- Works off a sweep: spawns workers, sees what they have finished, replaces those that die, and
--- shows how far it is.
local core = require "moonlab.core"
local adaptive = require "moonlab.sweep.adaptive"
local definition = require "moonlab.sweep.definition"
local execution = require "moonlab.recipe.execution"
local interrupt = require "moonlab.interrupt"
local lfs = require "lfs"
local progress = require "moonlab.progress"
local queue = require "moonlab.sweep.queue"
local runs = require "moonlab.runs"

local manager = {}

local finished = { done = true, diverged = true, failed = true }
local look_most = 256    -- points that one round looks at

-- ---- the program ------------------------------------------------------------------------------

--- The path of the host program, which workers are processes of; or nil and a message.
function manager.program()
  local own = lfs.symlinkattributes("/proc/self/exe", "target")
  if own and package.loaded["moonlab.host"] then return own end
  local root = debug.getinfo(1, "S").source:match "^@(.-)/?lua/moonlab/sweep/[^/]*$"
  if root and root:sub(1, 1) ~= "/" then root = lfs.currentdir() .. "/" .. root end
  local built = root and root .. "/build/bin/moonlab"
  if built and lfs.attributes(built, "mode") == "file" then return built end
  local installed = (os.getenv "PATH" or ""):gmatch "[^:]+"
  for dir in installed do
    if lfs.attributes(dir .. "/moonlab", "mode") == "file" then return dir .. "/moonlab" end
  end
  return nil, "the program moonlab is not there: neither built nor installed"
end

-- ---- points -----------------------------------------------------------------------------------

local function folder_of(self, point) return self.d.store .. "/" .. point.id end

-- Looks at a point's folder; a finished one is never looked at again.
local function look(self, point)
  if finished[point.state] then return end
  local dir = folder_of(self, point)
  if lfs.attributes(dir .. "/config.json", "mode") ~= "file" then
    point.state = "new"
    return
  end
  local run = runs.open(dir)
  local state, message, status = run:state()
  point.state, point.message = state, message
  if finished[state] then
    local kept = run:results() or {}
    point.results = type(kept.results) == "table" and kept.results[1] or {}
    point.seconds = status and status.seconds
    self.done = self.done + 1
    self.counts[state] = (self.counts[state] or 0) + 1
    self.news = true
  end
end

-- One round over the points that are not finished, the earliest first, at most look_most of them;
-- the next round goes on behind them.
local function look_around(self, all)
  local still, running, claimable = {}, 0, 0
  local open = self.open
  local n = math.min(#open, all and #open or look_most)
  for i = 1, n do
    local point = open[i]
    look(self, point)
    if not finished[point.state] then still[#still + 1] = point end
  end
  local turned = table.move(open, n + 1, #open, 1, {})
  table.move(still, 1, #still, #turned + 1, turned)
  self.open = turned
  for _, point in ipairs(turned) do
    if point.state == "running" then running = running + 1 else claimable = claimable + 1 end
  end
  self.running, self.claimable = running, claimable
end

local function add_points(self, points)
  local new = {}
  for _, point in ipairs(points) do
    if not self.by_id[point.id] then
      self.by_id[point.id] = point
      self.points[#self.points + 1] = point
      self.open[#self.open + 1] = point
      new[#new + 1] = point
    end
  end
  self.queue:add(new)
  return #new
end

-- The state and the objective of a finished point.
local function outcome_of(self)
  local name = self.d.objective
  return function(point)
    if not finished[point.state] then return nil end
    return point.state, name and point.results and point.results[name]
  end
end

-- Failed points of an earlier time that are to be tried again.
local function reopen_failed(self)
  for _, point in ipairs(self.points) do
    local dir = folder_of(self, point)
    if lfs.attributes(dir .. "/config.json", "mode") == "file"
      and runs.open(dir):state() == "failed" then
      local run = runs.claim { id = point.id, store = self.d.store, retry = true,
        recipe = self.d.recipe.name,
        size = self.d.size, params = point.params, seeds = { point.params.seed },
        seed = point.params.seed }
      if run then run:finish("interrupted", "to be tried again") end
    end
  end
end

-- ---- workers ----------------------------------------------------------------------------------

local function tail_of(path)
  local file = io.open(path, "r")
  if not file then return "" end
  local size = file:seek "end"
  file:seek("set", math.max(0, size - 1000))
  local text = file:read "a"
  file:close()
  return text ~= "" and text or "nothing; is the disk full?"
end

local function start_worker(self)
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
  local dir = folder_of(self, point)
  local ok, holder = interrupt.try(core.system.lease_holder, dir)
  if not ok or not holder or holder.pid ~= pid then return false end
  if lfs.attributes(dir .. "/config.json", "mode") ~= "file" then return true end
  local _, _, status = runs.open(dir):state()
  return status ~= nil and status.state == "running"
end

-- What a worker that died held is tried again, at most self.tries times in the life of this sweep.
local function after_crash(self, pid, how)
  for _, point in ipairs(self.open) do
    if held_by(self, point, pid) then
      point.crashes = (point.crashes or 0) + 1
      self.crashes = self.crashes + 1
      if point.crashes >= self.tries then
        local claim = execution.identity(self.d.recipe, self.d.size, point.params,
          { point.params.seed })
        claim.id, claim.store = point.id, self.d.store
        local run = runs.claim(claim)
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
  look_around(self)
  local how = kind == "signal" and ("signal %d"):format(code) or ("exit status %d"):format(code)
  local moved = after_crash(self, pid, how) or self.done > worker.done or self.running > 0
  os.remove(queue.mark(self.queue.path, pid))
  self.barren = moved and 0 or self.barren + 1
  if self.barren >= self.tries and not (kind == "exit" and code == 0) then
    error(("ml.sweep: the workers die (%s); %s ends with\n%s"):format(how, worker.log,
      tail_of(worker.log)), 0)
  end
end

local function end_workers(self, seconds)
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

-- Ctrl-C: every worker gets one, keeps its checkpoint and ends.
local function stop_workers(self)
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

-- ---- the loop ---------------------------------------------------------------------------------

local function best_so_far(self)
  local name, best = self.d.objective, nil
  if not name then return nil end
  for _, point in ipairs(self.points) do
    local value = point.state == "done" and point.results and point.results[name]
    if type(value) == "number" and value == value then
      if not best or (self.d.maximize and value > best)
        or (not self.d.maximize and value < best) then
        best = value
      end
    end
  end
  return best and ("best %s %.4g"):format(name, best)
end

local function show(self)
  local parts = {}
  if self.running > 0 then parts[#parts + 1] = self.running .. " running" end
  for _, state in ipairs { "diverged", "failed" } do
    if self.counts[state] then parts[#parts + 1] = ("%d %s"):format(self.counts[state], state) end
  end
  if self.crashes > 0 then parts[#parts + 1] = ("%d crashes"):format(self.crashes) end
  if self.news then self.best_text, self.news = best_so_far(self), false end
  parts[#parts + 1] = self.best_text
  self.bar.total = #self.points
  self.bar:update(self.done, table.concat(parts, ", "))
end

-- Lets the search ask for more; whether none will come any more.
local function extend(self)
  if not self.d.adapt then return true end
  while true do
    local new, ended = adaptive.propose(self.d, self.points, outcome_of(self))
    if ended then return true end
    if add_points(self, new) == 0 then return false end
    look_around(self) -- some may be finished already
    if self.done < #self.points then return false end
  end
end

local function round(self, seconds)
  end_workers(self, seconds)
  look_around(self)
  if not self.complete and extend(self) then
    self.complete = true
    self.queue:finish()
  end
  if self.barren >= self.tries and self.claimable > 0 then
    error(("ml.sweep: %d points cannot be worked on; see %s/worker-*.log"):format(self.claimable,
      self.d.dir), 0)
  end
  local wanted = math.min(self.count, self.claimable + self.running)
  while self.claimable > 0 and self.alive < wanted do start_worker(self) end
  show(self)
end

local function loop(self)
  add_points(self, self.d.points)
  if self.retry then reopen_failed(self) end
  look_around(self, true)
  self.bar.samples[1][2], self.bar.done = self.done, self.done
  round(self, 0)
  while self.done < #self.points or not self.complete do round(self, 0.2) end
  while self.alive > 0 do end_workers(self, 0.2) end -- they leave by themselves
end

-- Queue files of sweeps whose process is gone.
local function sweep_queues(dir)
  for file in lfs.dir(dir) do
    local pid = file:match "^queue%-(%d+)%.jsonl"
    if pid and lfs.attributes("/proc/" .. pid, "mode") == nil then os.remove(dir .. "/" .. file) end
  end
end

--- Works a definition off. o: { workers =, threads =, tries =, retry =, quiet =, command = }.
--- Returns { points, counts } with every point's state, message, results and seconds.
function manager.run(d, o)
  local program, why = manager.program()
  if not program then error("ml.sweep: " .. why, 0) end
  d.command = o.command
  definition.save(d, o.command)
  sweep_queues(d.dir)
  local path = ("%s/queue-%d.jsonl"):format(d.dir, core.system.process().pid)
  local self = { d = d, program = program, points = {}, open = {}, by_id = {}, done = 0,
    counts = {}, workers = {}, alive = 0, running = 0, claimable = 0, crashes = 0,
    barren = 0, -- workers in a row that ended without having done anything
    count = o.workers, threads = o.threads, memory = core.memory().limit // o.workers,
    tries = o.tries, retry = o.retry, queue = queue.create(path, d) }
  self.bar = progress.bar(0, "sweep " .. d.recipe.name, { quiet = o.quiet })
  local ok, message = pcall(loop, self)
  if not ok then stop_workers(self) end
  self.bar:finish()
  self.queue:close()
  if not ok then error(message, 0) end
  return self, outcome_of(self)
end

return manager
