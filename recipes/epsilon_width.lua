--- From which epsilon on does Adam suffer as the width grows, under which parameterization?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local grid = require "moonlab.proxies.grid"

-- Gradients of hidden layers fall as n^-1/2 in the standard parameterization and as n^-3/2 in mean
-- field; an epsilon of each layer's own follows them.
local arms = {
  standard = { parameterization = "standard", epsilon = "constant" },
  ["mean field"] = { parameterization = "mean_field", epsilon = "constant" },
  ["mean field, per layer"] = { parameterization = "mean_field", epsilon = "per_layer" },
}

-- The epsilon at which the loss has risen by `rise` over that at the least epsilon, between grid
-- points in log epsilon; nan where it never does.
local function threshold(eps, loss, rise)
  local base = loss[1]
  for i = 2, #eps do
    local over = loss[i] ~= loss[i] and math.huge or loss[i] - base
    if over >= rise then
      local before = loss[i - 1] - base
      if over == math.huge then return math.sqrt(eps[i] * eps[i - 1]) end
      local t = (rise - before) / (over - before)
      return eps[i - 1] * (eps[i] / eps[i - 1]) ^ t
    end
  end
  return 0 / 0
end

return recipe.define {
  name = "epsilon_width",
  source = "Everett et al. 2024, section 4",
  params = {
    widths = { { 32, 64, 128, 256 }, "of two blocks; the first is the base width", min = 16 },
    lr = { { 1e-3, 3e-3, 1e-2, 3e-2 }, "peak learning rates to choose from at each width",
      above = 0 },
    eps = { { 1e-12, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1 }, "epsilons, ascending",
      above = 0 },
    rise = { 0.1, "of the loss over that at the least epsilon", above = 0 },
    steps = { 400, "updates", min = 1 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { widths = { 16, 32, 64 }, lr = { 1e-2 }, eps = { 1e-12, 1e-2, 1 }, rise = 0.01,
    steps = 30 },
  full = { steps = 1000, seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local result, series, panels = {}, {}, {}
    for name, arm in ml.sorted(arms) do
      local found = { threshold = {}, best = {}, loss = {} }
      local rows = {}
      for i, width in ipairs(p.widths) do
        local common = { size = { ("2x%d"):format(width) }, steps = { p.steps }, text = { p.text },
          parameterization = { arm.parameterization }, epsilon = { arm.epsilon },
          base_width = { p.widths[1] } }
        local function run(lr, eps)
          local values = { lr = lr, eps = eps }
          for key, value in pairs(common) do values[key] = value end
          return grid.run(ctx, values)
        end
        local lr, loss = run(p.lr, { p.eps[1] }):curve {}
        local best = 1
        for k = 2, #lr do
          if loss[k] < loss[best] or loss[best] ~= loss[best] then best = k end
        end
        found.best[i] = lr[best]
        found.loss[i] = run({ lr[best] }, p.eps):column({}, "final")
        found.threshold[i] = threshold(p.eps, found.loss[i], p.rise)
        rows[i] = found.loss[i]
        print(("%-21s width %4d: best rate %.0e, loss rises by %g at epsilon %.2e"):format(name,
          width, lr[best], p.rise, found.threshold[i]))
        ctx:log { arm = name, width = width, lr = lr[best], threshold = found.threshold[i] }
      end
      local complete = true
      for _, t in ipairs(found.threshold) do complete = complete and t == t end
      found.slope, found.stderr = 0 / 0, 0 / 0
      if complete then found.slope, found.stderr = ml.fit.power_law(p.widths, found.threshold) end
      print(("%-21s threshold ~ width^%.2f +- %.2f"):format(name, found.slope, found.stderr))
      result[name] = found
      series[#series + 1] = { x = p.widths, y = found.threshold, label = name }
      panels[#panels + 1] = ml.plot.heatmap { z = rows, x = p.eps, y = p.widths, log = "xy",
        xlabel = "epsilon", ylabel = "width", zlabel = "loss", title = name }
    end
    ctx:figure("threshold", ml.plot.lines { series = series, log = "xy", fit = true,
      xlabel = "width", ylabel = "epsilon", title = ("the loss rises by %g"):format(p.rise) })
    ctx:figure("maps", ml.plot.grid(panels))
    local standard, field = result.standard, result["mean field"]
    result.difference = standard.slope - field.slope
    result.difference_stderr = math.sqrt(standard.stderr ^ 2 + field.stderr ^ 2)
    return result
  end,
  claims = {
    { name = "exponent of the threshold in the width, standard minus mean field",
      kind = "exploratory", source = "Everett et al. 2024, section 4", expected = 1,
      tolerance = 0.4, measure = function(r) return r.difference, r.difference_stderr end },
    { name = "mean field with an epsilon of each layer's own: exponent of the threshold",
      kind = "exploratory", source = "Everett et al. 2024, section 4", expected = 0,
      tolerance = 0.3, measure = function(r)
        return r["mean field, per layer"].slope, r["mean field, per layer"].stderr
      end },
  },
}
