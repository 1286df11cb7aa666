--- How large may attention logits be before a transformer learns less than one without attention?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local grid = require "moonlab.proxies.grid"

local function loss_at(r, kappa)
  for _, row in ipairs(r.rows) do
    if row.kappa == kappa then return row.loss end
  end
  error(("no run with kappa %g"):format(kappa), 0)
end

return recipe.define {
  name = "kappa",
  source = "Wortsman et al. 2023, Figure 10",
  params = {
    size = { "S1", "of the ladder" },
    kappa = { { 1.0, 10.0, 100.0, 1e3, 1e4 }, "queries and keys have RMS sqrt(kappa), ascending",
      above = 0 },
    lr = { 1e-2, "peak learning rate", above = 0 },
    steps = { 400, "updates", min = 1 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { size = "S0", kappa = { 1.0, 1e4 }, steps = 20 },
  full = { size = "S2", steps = 2000, seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local depth, width = require("moonlab.proxies.presets").size(p.size)
    if not depth then error(width, 0) end
    local values = { size = { p.size }, kappa = p.kappa, lr = { p.lr }, steps = { p.steps },
      text = { p.text } }
    local runs = grid.run(ctx, values)
    values.size, values.kappa = { ("0x%d"):format(width) }, { p.kappa[1] }
    local without = grid.run(ctx, values)[1].results.final or 0 / 0
    local rows, x, y = {}, {}, {}
    print(("%10s %10s %14s %9s"):format("kappa", "loss", "largest logit", "entropy"))
    for i, r in ipairs(runs) do
      local first = function(list) return list and list[1] or 0 / 0 end
      rows[i] = { kappa = r.params.kappa, loss = r.results.final or 0 / 0,
        max_logit = first(r.results.max_logit), entropy = first(r.results.entropy) }
      x[i], y[i] = rows[i].kappa, rows[i].loss
      ctx:log(rows[i])
      print(("%10g %10.3f %14.4g %9.3f"):format(x[i], y[i], rows[i].max_logit, rows[i].entropy))
    end
    print(("%10s %10.3f"):format("no blocks", without))
    ctx:figure("loss", ml.plot.lines { x = x, y = y, log = "x", markers = true, diverged = true,
      xlabel = "kappa", ylabel = "validation loss", title = "scale of queries and keys",
      references = without == without and { { y = without, label = "no blocks" } } or nil })
    return { rows = rows, without = without }
  end,
  claims = {
    { name = "loss up to kappa 10: largest minus that at 1", kind = "exploratory",
      source = "Wortsman et al. 2023, Figure 10", at_most = 0.1,
      measure = function(r) return loss_at(r, 10) - loss_at(r, 1) end },
    { name = "loss at kappa 1e4 minus that of the model without blocks", kind = "exploratory",
      source = "Wortsman et al. 2023, Figure 10", at_least = 0.1,
      measure = function(r) return loss_at(r, 1e4) - r.without end },
  },
}
