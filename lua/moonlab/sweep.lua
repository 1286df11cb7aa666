--- Sweeps: a grid or a search over a recipe, worked off by several processes, resumable at any
--- moment.
local core = require "moonlab.core"
local definition = require "moonlab.sweep.definition"
local manager = require "moonlab.sweep.manager"
local options = require "moonlab.options"
local recipe_command = require "moonlab.recipe.command"
local table_of = require "moonlab.sweep.table"

local names = { "recipe", "grid", "workers", "threads", "size", "random", "random_seed", "adapt",
  "extend", "minimize", "maximize", "tries", "retry", "rerun_changed", "store", "quiet", "command" }

local function integer(o, name, default, least)
  local value = options.field("ml.sweep", o, name, "integer", default)
  return options.range("ml.sweep", name, value, least)
end

-- As many workers as fit into memory, by the recipe's own estimate of each point.
local function fitting(d, workers)
  local limit, most = core.memory().limit, 0
  for i = 1, math.min(#d.points, 1000) do
    local estimate = recipe_command.estimate(d.recipe, d.points[i].params)
    if estimate and estimate.bytes then most = math.max(most, estimate.bytes) end
  end
  if most > limit then
    error(("ml.sweep: %s"):format(recipe_command.too_large(d.recipe, d.points[1].params)
      or d.recipe.name .. " needs more memory than is available"), 0)
  end
  return most > 0 and math.max(1, math.min(workers, math.floor(limit / most))) or workers
end

--- ml.sweep{ recipe =, grid = { name = values }, workers =, ... }
--- Runs a recipe at every combination of values. Each point is a run of the store whose id is the
--- hash of its whole configuration, so that none is run twice, also by two sweeps at once. Workers
--- are processes of their own; kill anything and call again: finished points are skipped,
--- unfinished ones continue from their checkpoint. A point that fails, diverges or kills its worker
--- is recorded and the sweep goes on. Ctrl-C stops cleanly.
--- @param recipe string a name, or the path of a .lua file
--- @param grid table name -> list of values, one value, { low =, high = } to draw from, or words as
--- on the command line ("32:256:x2", "1..3"); a list of lists for a parameter that is a list
--- @param workers integer =the number of threads; fewer where the recipe's estimate says that
--- memory would not do
--- @param threads integer =threads / workers of each worker
--- @param size string ="default" or "smoke", "full"
--- @param random integer so many draws instead of all combinations: from lists evenly, from low to
--- high evenly, or evenly in the logarithm when that spans a factor of ten; seeds are not drawn,
--- every draw is run with each
--- @param random_seed integer =1 of the draws
--- @param adapt string a parameter whose grid values are the start of a search: extended to the
--- right until the run diverges, to the left until the optimum is bracketed
--- @param extend integer =8 values beyond the first ones in each direction
--- @param minimize string the result that points are compared by; or maximize; else the recipe's
--- own
--- @param tries integer =3 times that a point may take its worker with it before it counts as
--- failed
--- @param retry boolean =false failed points of before are run again
--- @param rerun_changed boolean =false runs that other code of the recipe has computed or begun are
--- set aside under another id and run anew; else they count as they are, and the table says so
--- @param store string =ml.runs.store() folder of the runs
--- @param quiet boolean =false
--- @return sweep { id, dir, runs = list of { id, dir, params, state, message, results, seconds,
--- changed },
--- counts, best = { params, value, stderr, runs }, search } with sweep:column(name), a tensor, and
--- sweep:text(); printing it shows the table
--- @source -
local function sweep(_, o)
  options.required("ml.sweep", o, names)
  options.field("ml.sweep", o, "recipe", "string")
  options.field("ml.sweep", o, "grid", "table", {})
  for _, name in ipairs { "size", "adapt", "minimize", "maximize", "store", "command" } do
    if o[name] ~= nil then options.field("ml.sweep", o, name, "string") end
  end
  for _, name in ipairs { "retry", "rerun_changed", "quiet" } do
    if o[name] ~= nil then options.field("ml.sweep", o, name, "boolean") end
  end
  if o.random ~= nil then integer(o, "random", nil, 1) end
  if o.random_seed ~= nil then integer(o, "random_seed", nil, 0) end
  if o.extend ~= nil then integer(o, "extend", nil, 0) end
  local cores = core.threads()
  local workers = integer(o, "workers", cores, 1)
  local tries = integer(o, "tries", 3, 1)
  local d, why = definition.new(o)
  if not d then options.raise("ml.sweep: %s", why) end
  workers = fitting(d, workers)
  local threads = integer(o, "threads", math.max(1, cores // workers), 1)
  local state, outcome = manager.run(d, { workers = workers, threads = threads, tries = tries,
    retry = o.retry, rerun_changed = o.rerun_changed, quiet = o.quiet, command = o.command })
  return table_of.new(d, state.points, outcome)
end

return setmetatable({}, { __call = sweep })
