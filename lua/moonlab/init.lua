--- moonlab: a laboratory for the science of deep learning at small scale. Assembles `ml` from the
--- core and the Lua modules.
local core = require "moonlab.core"
local options = require "moonlab.options"

local ml = {}
for name, value in pairs(core) do
  if name ~= "testing" then ml[name] = value end
end

-- Modules are loaded at their first use: ml.plot costs nothing to a script that draws nothing.
local modules = {
  nn = "moonlab.nn",
  train = "moonlab.train",
  schedule = "moonlab.schedule",
  progress = "moonlab.progress",
  tokenizer = "moonlab.tokenizer",
  data = "moonlab.data",
  plot = "moonlab.plot",
  recipe = "moonlab.recipe",
  runs = "moonlab.runs",
  sorted = "moonlab.sorted",
  fit = "moonlab.fit",
  stats = "moonlab.stats",
  sweep = "moonlab.sweep",
  parameterization = "moonlab.parameterization",
  proxies = "moonlab.proxies",
  alignment = "moonlab.alignment",
  coord_check = "moonlab.coord_check",
  plrf = "moonlab.plrf",
  solve = "moonlab.solve",
  complete = "moonlab.repl.complete",
  gp = "moonlab.gp",
  kernel = "moonlab.kernel",
  theory = "moonlab.theory",
  sketch = "moonlab.sketch",
  task = "moonlab.task",
  sandbox = "moonlab.sandbox",
  selftrain = "moonlab.selftrain",
  kg = "moonlab.kg",
  detect = "moonlab.detect",
  target = "moonlab.target",
  attack = "moonlab.attack",
}
ml.modules = modules

-- ml.nn holds the functions of core.nn as well as the modules.
ml.nn = nil
-- So do ml.solve and, over core.plrf, ml.plrf. ml.plot, ml.kernel and ml.sketch hide those of core.
ml.solve, ml.plrf, ml.plot, ml.kernel, ml.sketch = nil, nil, nil, nil, nil

return setmetatable(ml, {
  __index = function(self, name)
    local module = modules[name]
    if not module then return nil end
    local value = options.expose("ml." .. name, require(module))
    rawset(self, name, value)
    return value
  end,
  __name = "moonlab",
})
