--- The columns of a sweep's table: parameters that vary, results.
local params = require "moonlab.recipe.params"
local results = require "moonlab.recipe.results"
local sorted = require "moonlab.sorted"

local columns = {}

--- Names of the parameters that differ between points, the seed last.
function columns.varying(points)
  local seen, names = {}, {}
  for _, point in ipairs(points) do
    for name, value in pairs(point.params) do
      local text = params.show(value)
      if seen[name] == nil then seen[name] = text end
      if seen[name] ~= text then seen[name] = false end
    end
  end
  for name, text in sorted(seen) do
    if text == false and name ~= "seed" then names[#names + 1] = name end
  end
  if seen.seed == false then names[#names + 1] = "seed" end
  return names
end

--- Names of what is a scalar among the results, sorted.
function columns.result_names(runs)
  local seen, names = {}, {}
  for _, run in ipairs(runs) do
    for name in pairs(results.scalars(run.results or {})) do seen[name] = true end
  end
  for name in sorted(seen) do
    if name ~= "state" then names[#names + 1] = name end
  end
  return names
end

--- The value of a column in one row.
function columns.cell(run, name)
  if name == "id" or name == "state" or name == "seconds" then return run[name] end
  local value = run.params[name]
  if value == nil then value = (run.results or {})[name] end
  return value
end

return columns
