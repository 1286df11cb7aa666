--- What a sweep is: recipe, size, axes, how points are chosen; kept in
--- <store>/sweeps/<id>/sweep.json, so that the same definition continues the same sweep.
local core = require "moonlab.core"
local catalogue = require "moonlab.recipe.catalogue"
local grid = require "moonlab.sweep.grid"
local lfs = require "lfs"
local params = require "moonlab.recipe.params"

local definition = {}

-- The axis that adaptive search extends: its values must be numbers above 0.
local function check_adapt(r, d)
  local spec = r.params[d.adapt]
  if not spec then return nil, params.unknown(r.params, d.adapt, r.name) end
  if spec.list or (spec.kind ~= "number" and spec.kind ~= "integer") or d.adapt == "seed" then
    return nil, ("%s cannot be searched, wanted a parameter that is a number"):format(d.adapt)
  end
  local found = false
  for _, axis in ipairs(d.axes) do
    if axis.name == d.adapt then
      found = true
      for _, value in ipairs(axis) do
        if not (value > 0) then
          return nil, ("%s=%s cannot be searched, wanted values > 0"):format(d.adapt,
            params.show(value))
        end
      end
    end
  end
  if not found then
    local axis = { name = d.adapt, spec.default }
    if not (spec.default > 0) then
      return nil, ("say where the search of %s starts (%s=value)"):format(d.adapt, d.adapt)
    end
    table.insert(d.axes, 1, axis)
  end
  if d.random then return nil, "random draws and an adaptive search exclude each other" end
  if not (d.objective) then
    return nil, ("%s does not say what to minimize; name a result (--minimize NAME)"):format(r.name)
  end
  return true
end

local function has_axis(axes, name)
  for _, axis in ipairs(axes) do
    if axis.name == name then return true end
  end
  return false
end

--- A definition from { recipe = name or path, size =, grid = { name = values }, random =,
--- random_seed =, adapt =, extend =, minimize =, maximize =, store = }; or nil and a message.
function definition.new(o)
  local r, why = catalogue.load(o.recipe)
  if not r then return nil, why end
  if not r.path then return nil, "a recipe on standard input cannot be swept" end
  local size = o.size or "default"
  if size ~= "default" and not r[size] then
    return nil, ("%s has no --%s size"):format(r.name, size)
  end
  local axes, wrong = grid.axes(r, o.grid or {})
  if not axes then return nil, wrong end
  if not has_axis(axes, "seed") then
    local seeds = r:seeds_of(size)
    seeds.name = "seed"
    axes[#axes + 1] = seeds
  end
  local d = { recipe = r, size = size, axes = axes, random = o.random,
    random_seed = o.random and (o.random_seed or 1) or nil, adapt = o.adapt,
    extend = o.adapt and (o.extend or 8) or nil }
  if o.minimize and o.maximize then return nil, "minimize and maximize exclude each other" end
  d.objective = o.minimize or o.maximize or r.minimize or r.maximize
  d.maximize = o.maximize ~= nil or (o.minimize == nil and r.maximize ~= nil)
  if d.adapt then
    local ok, no = check_adapt(r, d)
    if not ok then return nil, no end
  end
  d.points, wrong = grid.points(r, size, d)
  if not d.points then return nil, wrong end
  d.store = o.store or require("moonlab.runs").store()
  definition.name(d)
  return d
end

--- Gives a definition its id and folder.
function definition.name(d)
  local what = { recipe = d.recipe.name, size = d.size, axes = {}, random = d.random,
    random_seed = d.random_seed, adapt = d.adapt, extend = d.extend,
    objective = d.adapt and d.objective, maximize = d.adapt and d.maximize }
  for i, axis in ipairs(d.axes) do
    what.axes[i] = { name = axis.name, low = axis.low, high = axis.high,
      values = table.move(axis, 1, #axis, 1, {}) }
  end
  d.what = what
  local hash = core.system.hash(core.json.encode(what)):sub(1, 12)
  d.id = ("%s-%s"):format(d.recipe.name, hash)
  d.dir = ("%s/sweeps/%s"):format(d.store, d.id)
end

--- Makes the sweep's folder, with its definition in it.
function definition.save(d, command)
  core.system.make_dirs(d.dir)
  local path = d.dir .. "/sweep.json"
  if lfs.attributes(path, "mode") == "file" then return end
  core.json.write(path, { id = d.id, definition = d.what, path = d.recipe.path, command = command,
    version = core.version().moonlab, started = os.date "!%Y-%m-%dT%H:%M:%SZ" })
end

return definition
