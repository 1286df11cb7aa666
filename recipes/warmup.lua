--- Does a longer warm-up make training less sensitive to the learning rate?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local grid = require "moonlab.proxies.grid"

return recipe.define {
  name = "warmup",
  source = "Wortsman et al. 2023, Figure 5",
  params = {
    sizes = { { "S0", "S1", "S2" }, "of the ladder" },
    warmup = { { 0.01, 0.05, 0.25 }, "parts of the steps, ascending", min = 0, max = 1 },
    lr = { { 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1 }, "peak learning rates", above = 0 },
    steps = { 400, "updates", min = 1 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { sizes = { "S0" }, warmup = { 0.05, 0.25 }, lr = { 1e-2, 1e-1 }, steps = 20 },
  full = { sizes = { "S0", "S1", "S2", "S3" }, seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local runs = grid.run(ctx, { size = p.sizes, warmup = p.warmup, lr = p.lr, steps = { p.steps },
      text = { p.text }, qk_norm = { true } })
    local curves, series = {}, {}
    for _, size in ipairs(p.sizes) do
      for _, warmup in ipairs(p.warmup) do
        local wanted = { size = size, warmup = warmup }
        local lr, loss = runs:curve(wanted)
        local initial = runs:column(wanted, "initial")[1]
        local s, info = ml.proxies.lr_sensitivity(lr, loss, { initial = initial })
        curves[#curves + 1] = { size = size, warmup = warmup, lr = lr, loss = loss,
          initial = initial, sensitivity = s, best_lr = info.best_lr or 0 / 0,
          best_loss = info.best_loss }
        ctx:log { size = size, warmup = warmup, sensitivity = s, best_loss = info.best_loss }
        series[#series + 1] = { x = lr, y = loss, label = ("%s, %g"):format(size, warmup),
          diverged = true, optimum = "min" }
        print(("%-5s warm-up %-5g sensitivity %.3f, best loss %.3f at %.3g"):format(size, warmup, s,
          info.best_loss, info.best_lr or 0 / 0))
      end
    end
    ctx:figure("loss", ml.plot.lines { series = series, log = "x", xlabel = "learning rate",
      ylabel = "validation loss", title = "length of the warm-up" })
    return { curves = curves }
  end,
  claims = {
    { name = "S1, 1e-1: loss with 1 % of warm-up minus that with 25 %",
      kind = "calibrated", when = grid.synthetic,
      seeds = 2, source = "Wortsman et al. 2023, Figure 5", at_least = 0.2,
      measure = function(r)
        local function loss(warmup)
          for _, c in ipairs(r.curves) do
            if c.size == "S1" and c.warmup == warmup then
              for i, lr in ipairs(c.lr) do
                if math.abs(lr / 0.1 - 1) < 0.01 then
                  return c.loss[i] == c.loss[i] and c.loss[i] or c.initial
                end
              end
            end
          end
          error "no such run"
        end
        return loss(0.01) - loss(0.25)
      end },
  },
}
