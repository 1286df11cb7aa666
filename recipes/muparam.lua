--- Does muParam keep the best learning rate where it is while the width grows, and in which form?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local grid = require "moonlab.proxies.grid"

local arms = { "none", "muparam_simple", "muparam_intermediate", "muparam_full" }

local function fit(runs, arm, width)
  local lr, loss = runs:curve { parameterization = arm, size = ("2x%d"):format(width) }
  local best, value = ml.proxies.optimal_lr(lr, loss)
  local least, at = math.huge, nil
  for i, l in ipairs(loss) do
    if l < least then least, at = l, lr[i] end
  end
  local bracketed = best ~= nil
  local s = ml.proxies.lr_sensitivity(lr, loss, { initial = runs:column({
    parameterization = arm, size = ("2x%d"):format(width) }, "initial")[1] })
  return { best = bracketed and best or at or 0 / 0, bracketed = bracketed,
    value = bracketed and value or least, sensitivity = s, lr = lr, loss = loss }
end

return recipe.define {
  name = "muparam",
  source = "Wortsman et al. 2023, section 3.2.4; Yang et al. 2022",
  params = {
    widths = { { 32, 64, 128, 256 }, "of two blocks; the first is the base width", min = 16 },
    lr = { { 3.16e-4, 1e-3, 3.16e-3, 1e-2, 3.16e-2, 1e-1, 3.16e-1 }, "peak learning rates",
      above = 0 },
    arms = { arms, "of muParam", choices = arms },
    qk_norm = { true, "norm of queries and keys" },
    steps = { 400, "updates", min = 1 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { widths = { 16, 32 }, lr = { 3.16e-3, 1e-2, 3.16e-2 }, steps = 20 },
  full = { seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local sizes = {}
    for i, width in ipairs(p.widths) do sizes[i] = ("2x%d"):format(width) end
    local result, series, panels = { grid_step = p.lr[2] / p.lr[1] }, {}, {}
    for _, arm in ipairs(p.arms) do
      local runs = grid.run(ctx, { size = sizes, lr = p.lr, steps = { p.steps }, text = { p.text },
        parameterization = { arm }, base_width = { p.widths[1] }, qk_norm = { p.qk_norm },
        scale = { arm == "muparam_full" and "1/d_head" or "1/sqrt(d_head)" } })
      local found = { best = {}, value = {}, sensitivity = {} }
      local curves = {}
      for i, width in ipairs(p.widths) do
        local one = fit(runs, arm, width)
        found.best[i], found.value[i] = one.best, one.value
        found.sensitivity[i] = one.sensitivity
        curves[i] = { x = one.lr, y = one.loss, value = width }
        print(("%-21s width %4d: best rate %.2e%s, loss %.3f, sensitivity %.3f"):format(arm, width,
          one.best, one.bracketed and "" or " (not bracketed)", one.value, one.sensitivity))
        ctx:log { arm = arm, width = width, best = one.best, value = one.value,
          sensitivity = one.sensitivity }
      end
      found.moved = found.best[#p.widths] / found.best[1]
      result[arm] = found
      series[#series + 1] = { x = p.widths, y = found.best, label = arm }
      panels[#panels + 1] = ml.plot.lines { series = curves, sequential = true, log = "x",
        zlabel = "width", xlabel = "learning rate", ylabel = "loss", title = arm, diverged = true }
    end
    ctx:figure("best", ml.plot.lines { series = series, log = "xy", xlabel = "width",
      ylabel = "best learning rate", title = "where the best learning rate goes" })
    ctx:figure("curves", ml.plot.grid(panels))
    return result
  end,
  claims = {
    { name = "muParam simple: best rate of the widest over that of the narrowest, or its inverse",
      kind = "calibrated", source = "Wortsman et al. 2023, section 3.2.4", at_most = 3.2, seeds = 2,
      when = function(p) return grid.synthetic(p) and p.widths[#p.widths] >= 256 end,
      measure = function(r)
        return math.max(r.muparam_simple.moved, 1 / r.muparam_simple.moved)
      end },
    { name = "without it: best rate of the widest over that of the narrowest", kind = "calibrated",
      source = "Wortsman et al. 2023, section 3.2.4", at_most = 1, seeds = 2,
      when = function(p) return grid.synthetic(p) and p.widths[#p.widths] >= 256 end,
      measure = function(r) return r.none.moved end },
    { name = "least loss of the widest, full minus simple", kind = "exploratory",
      source = "Wortsman et al. 2023, section 3.2.4", expected = 0, tolerance = 0.02,
      when = function(p) return #p.arms == 4 end,
      measure = function(r)
        local n = #r.none.value
        return r.muparam_full.value[n] - r.muparam_simple.value[n]
      end },
    { name = "sensitivity of the widest, simple minus none", kind = "exploratory",
      source = "Wortsman et al. 2023, section 3.2.4", expected = 0, tolerance = 0.05,
      measure = function(r)
        local n = #r.none.value
        return r.muparam_simple.sensitivity[n] - r.none.sensitivity[n]
      end },
  },
}
