--- What does one short training of a small decoder show at one learning rate? (What sweeps are made
--- of.)
local ml, recipe = require "moonlab", require "moonlab.recipe"
local run = require "moonlab.proxies.run"

return recipe.define {
  name = "proxy",
  source = "Wortsman et al. 2023, section 2",
  params = run.params,
  minimize = "final",
  smoke = { size = "S0", steps = 20, every = 10 },
  full = { size = "S3", steps = 2000 },
  estimate = run.estimate,
  run = function(p, ctx)
    local r = ml.proxies.train(p, { dir = ctx.dir .. "/training", print = not ctx.quiet })
    for i, step in ipairs(r.series.step) do
      ctx:log { step = step, loss = r.series.loss[i], max_logit = r.series.max_logit[i],
        grad_rms = r.series.grad_rms[i] }
    end
    if not ctx.quiet then -- a sweep of thousands has figures of its own
      local x = r.series.step
      ctx:figure("training", ml.plot.grid { columns = 3, width = 1080, height = 320,
        ml.plot.lines { x = x, y = r.series.loss, title = "loss", xlabel = "update" },
        ml.plot.lines { x = x, y = r.series.max_logit, title = "largest attention logit",
          xlabel = "update" },
        ml.plot.lines { x = x, y = r.series.grad_rms, title = "RMS of a gradient", log = "y",
          xlabel = "update" } })
    end
    return r
  end,
  claims = {
    { name = "the initial loss is ln V + 1/2", kind = "calibrated", seeds = 1, tolerance = 0.1,
      source = "Wortsman et al. 2023, section 2: logits of variance 1",
      expected = function(p) return math.log(p.text == "synthetic" and 64 or 256) + 0.5 end,
      measure = function(r) return r.initial end },
  },
}
