--- Works off a sweep: sees what is finished, has workers for what is not, and shows how far it is.
local core = require "moonlab.core"
local adaptive = require "moonlab.sweep.adaptive"
local crew = require "moonlab.sweep.crew"
local definition = require "moonlab.sweep.definition"
local lfs = require "lfs"
local points = require "moonlab.sweep.points"
local progress = require "moonlab.progress"
local queue = require "moonlab.sweep.queue"

local manager = {}

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
    local new, ended = adaptive.propose(self.d, self.points, points.outcome_of(self))
    if ended then return true end
    if points.add(self, new) == 0 then return false end
    points.look_around(self) -- some may be finished already
    if self.done < #self.points then return false end
  end
end

local function round(self, seconds)
  crew.collect(self, seconds)
  points.look_around(self)
  if not self.complete and extend(self) then
    self.complete = true
    self.queue:finish()
  end
  if self.barren >= self.tries and self.claimable > 0 then
    error(("ml.sweep: %d points cannot be worked on; see %s/worker-*.log"):format(self.claimable,
      self.d.dir), 0)
  end
  local wanted = math.min(self.count, self.claimable + self.running)
  while self.claimable > 0 and self.alive < wanted do crew.start(self) end
  show(self)
end

local function loop(self)
  points.add(self, self.d.points)
  if self.rerun_changed then points.set_changed_aside(self) end
  if self.retry then points.reopen_failed(self) end
  points.look_around(self, true)
  self.bar = progress.bar(#self.points, "sweep " .. self.d.recipe.name,
    { quiet = self.quiet, skipped = self.done })
  round(self, 0)
  while self.done < #self.points or not self.complete do round(self, 0.2) end
  while self.alive > 0 do crew.collect(self, 0.2) end -- they leave by themselves
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
  local program, why = crew.program()
  if not program then error("ml.sweep: " .. why, 0) end
  d.command = o.command
  definition.save(d, o.command)
  sweep_queues(d.dir)
  local path = ("%s/queue-%d.jsonl"):format(d.dir, core.system.process().pid)
  local self = { d = d, program = program, points = {}, open = {}, by_id = {}, done = 0,
    counts = {}, workers = {}, alive = 0, running = 0, claimable = 0, crashes = 0,
    barren = 0, -- workers in a row that ended without having done anything
    count = o.workers, threads = o.threads, memory = core.memory().limit // o.workers,
    tries = o.tries, retry = o.retry,
    rerun_changed = o.rerun_changed, quiet = o.quiet, queue = queue.create(path, d) }
  local ok, message = pcall(loop, self)
  if not ok then crew.stop(self) end
  if self.bar then self.bar:finish() end
  self.queue:close()
  if not ok then error(message, 0) end
  return self, points.outcome_of(self)
end

return manager
