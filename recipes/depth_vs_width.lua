--- Does learning rate sensitivity grow faster with depth than with width?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local grid = require "moonlab.proxies.grid"

local function ladder(ctx, p, sizes)
  local runs = grid.run(ctx, { size = sizes, lr = p.lr, steps = { p.steps },
      text = { p.text }, qk_norm = { true } })
  local found = { N = {}, sensitivity = {}, best = {} }
  for i, size in ipairs(sizes) do
    local lr, loss = runs:curve { size = size }
    local s, info = ml.proxies.lr_sensitivity(lr, loss,
      { initial = runs:column({ size = size }, "initial")[1] })
    found.N[i], found.sensitivity[i] = runs:column({ size = size }, "N")[1], s
    found.best[i] = info.best_loss
    print(("%-8s N %9d  sensitivity %.3f  best loss %.3f"):format(size, found.N[i], s,
      info.best_loss))
    ctx:log { size = size, N = found.N[i], sensitivity = s, best_loss = info.best_loss }
  end
  return found
end

-- Exponent of the sensitivity in N and its error; nan where a size never trains.
local function slope_of(name, f)
  for i, s in ipairs(f.sensitivity) do
    if not (s > 0) then
      print(("%s: no exponent, the sensitivity at N = %d is %g"):format(name, f.N[i], s))
      return 0 / 0, 0 / 0
    end
  end
  return ml.fit.power_law(f.N, f.sensitivity)
end

return recipe.define {
  name = "depth_vs_width",
  source = "Wortsman et al. 2023, Figure 7",
  params = {
    depth = { { "1x48", "2x48", "4x48", "8x48", "16x48" }, "the ladder of depths" },
    width = { { "2x32", "2x64", "2x128", "2x256" }, "the ladder of widths" },
    joint = { { "S0", "S1", "S2", "S3" }, "the joint ladder" },
    lr = { { 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1 }, "peak learning rates", above = 0 },
    steps = { 400, "updates", min = 1 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { depth = { "1x16", "2x16" }, width = { "1x16", "1x32" }, joint = { "1x16", "2x32" },
    lr = { 1e-2, 1e-1 }, steps = 20 },
  full = { seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local result, series, losses = {}, {}, {}
    for _, name in ipairs { "depth", "width", "joint" } do
      print(name)
      local f = ladder(ctx, p, p[name])
      result[name] = f
      result[name .. "_slope"], result[name .. "_stderr"] = slope_of(name, f)
      series[#series + 1] = { x = f.N, y = f.sensitivity, label = name }
      losses[#losses + 1] = { x = f.N, y = f.best, label = name }
    end
    ctx:figure("sensitivity", ml.plot.lines { series = series, log = "xy", fit = true,
      xlabel = "parameters", ylabel = "LR sensitivity", title = "depth, width or both" })
    ctx:figure("loss", ml.plot.lines { series = losses, log = "x", xlabel = "parameters",
      ylabel = "best loss", title = "depth, width or both" })
    return result
  end,
  claims = {
    { name = "exponent of sensitivity in N, depth minus width", kind = "exploratory",
      source = "Wortsman et al. 2023, Figure 7", at_least = 0,
      measure = function(r) return r.depth_slope - r.width_slope end },
  },
}
