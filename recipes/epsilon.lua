--- When does Adam's epsilon stop the updates?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local grid = require "moonlab.proxies.grid"

local function cell(r, eps, lr)
  for _, c in ipairs(r.cells) do
    if math.abs(c.eps / eps - 1) < 0.01 and math.abs(c.lr / lr - 1) < 0.01 then return c end
  end
  error(("no run at epsilon %g, learning rate %g"):format(eps, lr))
end

-- A heat map in digits: rows are learning rates, columns epsilons.
local function show(title, p, cells, field, digits)
  print("\n" .. title)
  local head = {}
  for i, eps in ipairs(p.eps) do head[i] = ("%9.0e"):format(eps) end
  print(("%10s%s"):format("lr \\ eps", table.concat(head)))
  for _, lr in ipairs(p.lr) do
    local words = {}
    for i, eps in ipairs(p.eps) do
      words[i] = ("%9." .. digits .. "g"):format(cell({ cells = cells }, eps, lr)[field])
    end
    print(("%10.3g%s"):format(lr, table.concat(words)))
  end
end

return recipe.define {
  name = "epsilon",
  source = "Wortsman et al. 2023, Figures 11 to 13; Everett et al. 2024, section 4",
  params = {
    size = { "S1", "of the ladder" },
    eps = { { 1e-12, 1e-8, 1e-6, 1e-4, 1e-2 }, "epsilons, ascending", above = 0 },
    lr = { { 1e-3, 3e-3, 1e-2, 3e-2, 1e-1 }, "peak learning rates, ascending", above = 0 },
    steps = { 400, "updates", min = 1 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { size = "S0", eps = { 1e-8, 1e-2 }, lr = { 1e-2 }, steps = 20 },
  full = { size = "S2", seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local runs = grid.run(ctx, { size = { p.size }, eps = p.eps, lr = p.lr, steps = { p.steps },
      text = { p.text }, qk_norm = { true } })
    local cells, series = {}, {}
    for i, r in ipairs(runs) do
      cells[i] = { eps = r.params.eps, lr = r.params.lr, final = r.results.final or 0 / 0,
        update_rms = r.results.update_rms or 0 / 0, grad_rms = r.results.grad_rms or 0 / 0,
        below_eps = r.results.below_eps or 0 / 0 }
      ctx:log(cells[i])
    end
    show("final loss", p, cells, "final", 4)
    show("unscaled update of blocks.1.mlp.w1, RMS", p, cells, "update_rms", 3)
    show("gradient of blocks.1.mlp.w1, RMS", p, cells, "grad_rms", 3)
    show("share of its entries with sqrt(v) < 10 epsilon", p, cells, "below_eps", 3)
    for i, lr in ipairs(p.lr) do
      series[i] = { x = p.eps, y = {}, label = ("lr %g"):format(lr) }
      for k, eps in ipairs(p.eps) do series[i].y[k] = cell({ cells = cells }, eps, lr).final end
    end
    ctx:figure("loss", ml.plot.lines { series = series, log = "x", diverged = true,
      xlabel = "epsilon", ylabel = "validation loss", title = "epsilon and learning rate" })
    local rows = {}
    for i, s in ipairs(series) do rows[i] = s.y end
    ctx:figure("map", ml.plot.heatmap { z = rows, x = p.eps, y = p.lr, log = "xy",
      xlabel = "epsilon", ylabel = "learning rate", zlabel = "validation loss",
      title = "epsilon and learning rate" })
    return { cells = cells }
  end,
  claims = {
    { name = "update at epsilon 1e-2 over that at 1e-12, learning rate 1e-2",
      kind = "calibrated", when = grid.synthetic,
      seeds = 2, source = "Wortsman et al. 2023, section 3.4", expected = 0.25, tolerance = 0.1,
      measure = function(r)
        return cell(r, 1e-2, 1e-2).update_rms / cell(r, 1e-12, 1e-2).update_rms
      end },
    { name = "loss at epsilon 1e-2 minus that at 1e-12, learning rate 1e-2",
      kind = "calibrated", when = grid.synthetic,
      seeds = 2, source = "Wortsman et al. 2023, section 3.4", at_least = 0.15,
      measure = function(r) return cell(r, 1e-2, 1e-2).final - cell(r, 1e-12, 1e-2).final end },
    { name = "loss at epsilon 1e-8 minus that at 1e-12, learning rate 1e-2",
      kind = "calibrated", when = grid.synthetic,
      seeds = 2, expected = 0, tolerance = 0.02,
      measure = function(r) return cell(r, 1e-8, 1e-2).final - cell(r, 1e-12, 1e-2).final end },
  },
}
