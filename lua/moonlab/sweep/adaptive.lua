--- Adaptive search over one parameter: to the right until it diverges, to the left until the
--- optimum is bracketed. Every combination of the other parameters is searched by itself; a value
--- counts when all its seeds have ended.
local grid = require "moonlab.sweep.grid"
local params = require "moonlab.recipe.params"
local sorted = require "moonlab.sorted"

local adaptive = {}

local function key_of(point, without)
  local parts = {}
  for name, value in sorted(point.params) do
    if not without[name] then parts[#parts + 1] = name .. "=" .. params.show(value) end
  end
  return table.concat(parts, " ")
end

-- { key -> { points of one combination, sorted by the searched value } }
local function groups_of(d, points)
  local groups = {}
  for _, point in ipairs(points) do
    local key = key_of(point, { [d.adapt] = true, seed = true })
    local group = groups[key] or { values = {}, by_value = {}, any = point }
    groups[key] = group
    local value = point.params[d.adapt]
    if not group.by_value[value] then
      group.by_value[value] = {}
      group.values[#group.values + 1] = value
    end
    table.insert(group.by_value[value], point)
  end
  for _, group in pairs(groups) do table.sort(group.values) end
  return groups
end

-- The mean of the objective over the seeds of one value: infinite when one has diverged or failed,
-- nil while one is not finished.
local function height(d, points, outcome)
  local sum = 0
  for _, point in ipairs(points) do
    local state, value = outcome(point)
    if not state then return nil end
    if state ~= "done" or type(value) ~= "number" or value ~= value then value = math.huge
    elseif d.maximize then value = -value end
    sum = sum + value / #points
  end
  return sum < math.huge and sum or math.huge
end

-- Heights of all values, or nil while some are missing; and the position of the least.
local function profile(d, group, outcome)
  local heights, best = {}, nil
  for i, value in ipairs(group.values) do
    heights[i] = height(d, group.by_value[value], outcome)
    if not heights[i] then return nil end
    if heights[i] < math.huge and (not best or heights[i] < heights[best]) then best = i end
  end
  return heights, best
end

local function step_of(values, from, to)
  if #values < 2 then return 2 end
  return math.max(values[from] / values[to], 1.01)
end

-- The value beyond an end of those tried, or nil where the parameter's range or patience ends.
local function beyond(d, group, side)
  local values, spec = group.values, d.recipe.params[d.adapt]
  local steps = d.steps[group.key] or { left = 0, right = 0 }
  d.steps[group.key] = steps
  if steps[side] >= d.extend then return nil end
  local value = side == "right" and values[#values] * step_of(values, #values, #values - 1)
    or values[1] / step_of(values, 2, 1)
  if spec.kind == "integer" then
    value = side == "right" and math.ceil(value) or math.floor(value)
  else
    value = tonumber(("%.6g"):format(value)) + 0.0
  end
  value = params.check(spec, value)
  if not value or group.by_value[value] or not (value > 0) then return nil end
  steps[side] = steps[side] + 1
  return value
end

-- What a group asks for next: a list of values, empty when it is settled; nil while points run.
local function wanted(d, group, outcome)
  local heights, best = profile(d, group, outcome)
  if not heights then return nil end
  local list = {}
  if heights[#heights] < math.huge then list[#list + 1] = beyond(d, group, "right") end
  if not best or best == 1 then list[#list + 1] = beyond(d, group, "left") end
  return list
end

--- New points that the search asks for, and whether it has ended. outcome(point) gives a finished
--- point's state and objective, nil for one that is not finished.
function adaptive.propose(d, points, outcome)
  d.steps = d.steps or {}
  local new, ended = {}, true
  for key, group in sorted(groups_of(d, points)) do
    group.key = key
    local values = wanted(d, group, outcome)
    ended = ended and values ~= nil and #values == 0
    for _, value in ipairs(values or {}) do
      for _, like in ipairs(group.by_value[group.values[1]]) do
        local p = params.resolve(d.recipe.params, like.params)
        p[d.adapt] = value
        new[#new + 1] = grid.point(d.recipe, d.size, p)
      end
    end
  end
  return new, ended
end

--- For each combination: { params, best = value, bracketed = bool, why }.
function adaptive.summary(d, points, outcome)
  local list = {}
  for _, group in sorted(groups_of(d, points)) do
    local heights, best = profile(d, group, outcome)
    local found = { params = group.any.params, bracketed = false }
    if not heights then
      found.why = "not finished"
    elseif not best then
      found.why = "no value gave a finite " .. d.objective
    else
      found.best = group.values[best]
      found.value = d.maximize and -heights[best] or heights[best]
      found.bracketed = best > 1 and best < #heights
      if best == 1 then found.why = "the least value is the best" end
      if best == #heights then found.why = "the largest value is the best" end
    end
    list[#list + 1] = found
  end
  return list
end

return adaptive
