--- The points of a sweep: every combination of the axes' values, or random draws from them.
local core = require "moonlab.core"
local options = require "moonlab.options"
local params = require "moonlab.recipe.params"
local sorted = require "moonlab.sorted"
local values = require "moonlab.recipe.values"

local grid = {}

local most_points = 1000000

-- ---- axes -------------------------------------------------------------------------------------

-- { low =, high = } of numbers, which random search draws from.
local function interval(spec, entry)
  local low, high = params.check(spec, entry.low), params.check(spec, entry.high)
  if spec.list or low == nil or high == nil or type(low) ~= "number" or not (low < high) then
    return nil, "{ low =, high = } with low < high, each " .. params.wanted(spec)
  end
  for key in pairs(entry) do
    if key ~= "low" and key ~= "high" then return nil, "{ low =, high = }" end
  end
  return { low = low, high = high }
end

-- The values of one axis: a list, an interval, or the words of the command line.
local function axis_values(spec, entry)
  if type(entry) == "string" then return values.points(spec, entry) end
  if type(entry) == "table" and (entry.low ~= nil or entry.high ~= nil) then
    return interval(spec, entry)
  end
  if type(entry) ~= "table" or (spec.list and type(entry[1]) ~= "table") then
    entry = { entry } -- one value
  end
  local list = {}
  for i, value in ipairs(entry) do
    local typed, wanted = params.check(spec, value)
    if typed == nil then return nil, wanted end
    list[i] = typed
  end
  if #list == 0 then return nil, "at least one value" end
  return list
end

--- The axes of a sweep from { name = values }, sorted by name, the seed last; or nil and a message.
--- Values are a list, { low =, high = }, or words as on the command line ("32:256:x2").
function grid.axes(r, entries)
  local axes = {}
  for name, entry in sorted(entries) do
    local spec = r.params[name]
    if not spec then return nil, params.unknown(r.params, name, r.name) end
    local axis, wanted = axis_values(spec, entry)
    if not axis then
      local shown = type(entry) == "string" and entry or type(entry) == "table" and "a table"
        or options.describe(entry)
      return nil, ("%s=%s: wanted %s"):format(name, shown, wanted)
    end
    axis.name = name
    if name == "seed" then axes.seed = axis else axes[#axes + 1] = axis end
  end
  axes[#axes + 1], axes.seed = axes.seed, nil
  return axes
end

-- ---- every combination ------------------------------------------------------------------------

-- Calls visit(overrides) for every combination, the last axis fastest.
local function each(axes, visit)
  local at, chosen = {}, {}
  for i = 1, #axes do at[i] = 1 end
  while true do
    for i, axis in ipairs(axes) do chosen[axis.name] = axis[at[i]] end
    visit(chosen)
    local i = #axes
    while i >= 1 and at[i] == #axes[i] do
      at[i] = 1
      i = i - 1
    end
    if i < 1 then return end
    at[i] = at[i] + 1
  end
end

local function copy(t)
  local c = {}
  for key, value in pairs(t) do c[key] = value end
  return c
end

-- ---- random draws -----------------------------------------------------------------------------

-- Uniform in the logarithm when the interval spans a factor of ten.
local function draw(axis, spec, key)
  local u = key:uniform({ 1 }):item()
  if not axis.low then return axis[1 + math.min(#axis - 1, math.floor(u * #axis))] end
  local low, high = axis.low, axis.high
  local logarithmic = low > 0 and high / low >= 10
  if spec.kind == "integer" then
    local value = logarithmic and (low - 0.5) * ((high + 0.5) / (low - 0.5)) ^ u
      or low - 0.5 + u * (high - low + 1)
    return math.max(low, math.min(high, math.floor(value + 0.5)))
  end
  local value = logarithmic and low * (high / low) ^ u or low + u * (high - low)
  return math.max(low, math.min(high, tonumber(("%.6g"):format(value)) + 0.0))
end

-- Draw i does not depend on how many there are. Seeds are not drawn: each point has all of them.
local function random_points(r, axes, count, seed, visit)
  local seeds = { { name = "seed", r.params.seed.default } }
  local drawn = {}
  for _, axis in ipairs(axes) do
    if axis.name == "seed" and not axis.low then seeds = { axis } else drawn[#drawn + 1] = axis end
  end
  local crossed = #axes > #drawn
  for i = 1, count do
    local point = {}
    for _, axis in ipairs(drawn) do
      local key = core.rng(seed):fold("sweep", i):fold(axis.name, 1)
      point[axis.name] = draw(axis, r.params[axis.name], key)
    end
    if crossed then
      each(seeds, function(chosen)
        point.seed = chosen.seed
        visit(point)
      end)
    else
      visit(point)
    end
  end
end

-- ---- points -----------------------------------------------------------------------------------

--- What a point is, and the id that names it: the hash of all that is in it.
function grid.point(r, size, overrides)
  local p = params.resolve(r.params, r[size], overrides)
  local config = { recipe = r.name, size = size, params = p, seeds = { p.seed } }
  local id = ("%s-%s"):format(r.name, core.system.hash(core.json.encode(config)):sub(1, 16))
  return { id = id, config = config, params = p }
end

--- The points of a definition { axes =, random =, random_seed = } in a fixed order, each once; or
--- nil and a message.
function grid.points(r, size, definition)
  local points, seen = {}, {}
  local count = definition.random or 1
  for _, axis in ipairs(definition.axes) do
    if axis.low and not definition.random then
      return nil, ("%s=%s~%s is drawn from: say how many points (--random N)"):format(axis.name,
        params.show(axis.low), params.show(axis.high))
    end
    if not definition.random then count = count * #axis end
  end
  if count > most_points then
    return nil, ("the sweep has %d points, more than %d"):format(count, most_points)
  end
  local function visit(overrides)
    local point = grid.point(r, size, copy(overrides))
    if not seen[point.id] then
      seen[point.id] = true
      points[#points + 1] = point
    end
  end
  if definition.random then
    random_points(r, definition.axes, definition.random, definition.random_seed, visit)
  else
    each(definition.axes, visit)
  end
  return points
end

return grid
