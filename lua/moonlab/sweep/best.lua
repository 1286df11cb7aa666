--- The best point of a sweep by the mean of its objective over seeds.
local columns = require "moonlab.sweep.columns"
local params = require "moonlab.recipe.params"
local sorted = require "moonlab.sorted"

local best_point = {}

-- Mean and standard error of the objective over seeds, for each combination of the rest.
local function combinations(self)
  local groups, order = {}, {}
  for _, run in ipairs(self.runs) do
    local parts = {}
    for name, value in sorted(run.params) do
      if name ~= "seed" then parts[#parts + 1] = name .. "=" .. params.show(value) end
    end
    local key = table.concat(parts, " ")
    if not groups[key] then
      groups[key] = { params = run.params, values = {}, runs = {}, whole = true }
      order[#order + 1] = groups[key]
    end
    local value = run.state == "done" and (run.results or {})[self.objective]
    if type(value) ~= "number" or value ~= value then groups[key].whole = false end
    table.insert(groups[key].values, value)
    table.insert(groups[key].runs, run)
  end
  return order
end

local function average(values)
  local n, mean, square = #values, 0, 0
  for _, v in ipairs(values) do mean = mean + v / n end
  for _, v in ipairs(values) do square = square + (v - mean) ^ 2 end
  return mean, n > 1 and math.sqrt(square / (n - 1) / n) or nil
end

--- Sets the objective: what was named, else "loss", else the only number among the results.
function best_point.objective_of(self)
  if self.objective then return end
  local numbers = {}
  for _, name in ipairs(columns.result_names(self.runs)) do
    for _, run in ipairs(self.runs) do
      if type((run.results or {})[name]) == "number" then
        numbers[#numbers + 1] = name
        if name == "loss" then self.objective = name end
        break
      end
    end
  end
  if #numbers == 1 then self.objective = numbers[1] end
end

--- The combination with the best mean, of those all of whose seeds are done; or nil.
function best_point.find(self)
  if not self.objective then return nil end
  local best
  for _, group in ipairs(combinations(self)) do
    if group.whole then
      local mean, stderr = average(group.values)
      local better = not best or (self.maximize and mean > best.value)
        or (not self.maximize and mean < best.value)
      if better then
        local p = params.resolve({}, group.params)
        if #group.runs > 1 then p.seed = nil end
        best = { params = p, value = mean, stderr = stderr, runs = group.runs }
      end
    end
  end
  return best
end

return best_point
