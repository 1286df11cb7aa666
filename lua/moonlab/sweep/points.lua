--- The points of a sweep that is worked off: what their folders say about them.
local aside = require "moonlab.runs.aside"
local execution = require "moonlab.recipe.execution"
local folder = require "moonlab.runs.folder"
local reading = require "moonlab.runs.reading"
local runs = require "moonlab.runs"

local points = {}

--- States that end a point.
points.finished = { done = true, diverged = true, failed = true }
local look_most = 256 -- points that one round looks at

--- The folder of a point's run.
function points.folder_of(self, point) return self.d.store .. "/" .. point.id end

-- Looks at a point's folder; a finished one is never looked at again.
local function look(self, point)
  if points.finished[point.state] then return end
  local run = folder.at(points.folder_of(self, point), point.id)
  if not run then
    point.state = "new"
    return
  end
  local state, message, status = run:state()
  point.state, point.message = state, message
  point.changed = reading.has_other_code(status, self.d.recipe.code)
  if points.finished[state] then
    local kept = run:results() or {}
    point.results = type(kept.results) == "table" and kept.results[1] or {}
    point.seconds = status.seconds
    self.done = self.done + 1
    self.counts[state] = (self.counts[state] or 0) + 1
    self.news = true
  end
end

--- One round over the points that are not finished, the earliest first, at most look_most of them;
--- the next round goes on behind them.
function points.look_around(self, all)
  local still, running, claimable = {}, 0, 0
  local open = self.open
  local n = math.min(#open, all and #open or look_most)
  for i = 1, n do
    local point = open[i]
    look(self, point)
    if not points.finished[point.state] then still[#still + 1] = point end
  end
  local turned = table.move(open, n + 1, #open, 1, {})
  table.move(still, 1, #still, #turned + 1, turned)
  self.open = turned
  for _, point in ipairs(turned) do
    if point.state == "running" then running = running + 1 else claimable = claimable + 1 end
  end
  self.running, self.claimable = running, claimable
end

--- Adds points that are not there yet, to the queue as well; the result is how many.
function points.add(self, list)
  local new = {}
  for _, point in ipairs(list) do
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

--- A function of a point: the state and the objective of a finished one.
function points.outcome_of(self)
  local name = self.d.objective
  return function(point)
    if not points.finished[point.state] then return nil end
    return point.state, name and point.results and point.results[name]
  end
end

--- Opens failed points of an earlier time to be tried again.
function points.reopen_failed(self)
  for _, point in ipairs(self.points) do
    local run = folder.at(points.folder_of(self, point), point.id)
    if run and run:state() == "failed" then
      run = points.claim(self, point, true)
      if run then run:finish("interrupted", "to be tried again") end
    end
  end
end

--- Sets runs aside that other code of the recipe has computed or begun, so that they run anew.
function points.set_changed_aside(self)
  for _, point in ipairs(self.points) do
    local dir = points.folder_of(self, point)
    if folder.at(dir, point.id) then
      aside.move(self.d.store, point.id, function(status)
        return reading.has_other_code(status, self.d.recipe.code)
      end)
    end
  end
end

--- Claims the run of a point.
function points.claim(self, point, retry)
  local claim = execution.identity(self.d.recipe, self.d.size, point.params, { point.params.seed })
  claim.id, claim.store, claim.retry = point.id, self.d.store, retry
  return runs.claim(claim)
end

return points
