--- Do output logits drift away without weight decay, and does the z-loss hold them?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local grid = require "moonlab.proxies.grid"

return recipe.define {
  name = "output_logits",
  source = "Wortsman et al. 2023, Figures 3 and 4",
  params = {
    size = { "S0", "of the ladder" },
    lr = { 0.1, "peak learning rate", above = 0 },
    decay = { 0.0, "weight decay", min = 0 },
    steps = { 20000, "updates", min = 1 },
    z_loss = { { 0.0, 1e-4 }, "weights of (log Z)^2", min = 0 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { steps = 40 },
  full = { size = "S1", steps = 40000, seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local runs = grid.run(ctx, { size = { p.size }, lr = { p.lr }, decay = { p.decay },
      steps = { p.steps }, z_loss = p.z_loss, text = { p.text }, qk_norm = { true },
      every = { math.max(1, p.steps // 100) } })
    local found, log_z, mean = {}, {}, {}
    for i, r in ipairs(runs) do
      local s = r.results.series
      log_z[i] = { x = s.step, y = s.mean_logz, label = ("z-loss %g"):format(r.params.z_loss) }
      mean[i] = { x = s.step, y = s.logit_mean, label = log_z[i].label }
      found[i] = { z_loss = r.params.z_loss, final = r.results.final,
        mean_logz = r.results.mean_logz, logit_mean = r.results.logit_mean }
      ctx:log(found[i])
      print(("z-loss %-8g loss %.3f, mean log Z %.4g, mean logit %.4g"):format(r.params.z_loss,
        r.results.final, r.results.mean_logz, r.results.logit_mean))
    end
    ctx:figure("log_z", ml.plot.lines { series = log_z, xlabel = "update", ylabel = "mean log Z",
      title = "normaliser" })
    ctx:figure("logits", ml.plot.lines { series = mean, xlabel = "update", ylabel = "mean logit",
      title = "output logits" })
    return { arms = found }
  end,
  claims = {
    { name = "|mean log Z| with the largest z-loss minus that with the least",
      kind = "exploratory", source = "Wortsman et al. 2023, section 3.1.2", at_most = 0,
      measure = function(r)
        return math.abs(r.arms[#r.arms].mean_logz) - math.abs(r.arms[1].mean_logz)
      end },
  },
}
