--- Do gradients shrink with size and learning rate, and where would they meet Adam's epsilon?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local grid = require "moonlab.proxies.grid"

return recipe.define {
  name = "grad_norm",
  source = "Wortsman et al. 2023, Figure 11",
  params = {
    sizes = { { "S0", "S1", "S2", "S3" }, "of the ladder" },
    lr = { { 3e-3, 1e-2, 3e-2, 1e-1, 3e-1 }, "peak learning rates, ascending", above = 0 },
    eps = { 1e-8, "of Adam", above = 0 },
    steps = { 400, "updates", min = 1 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { sizes = { "S0", "1x32" }, lr = { 1e-2, 1e-1 }, steps = 20 },
  full = { sizes = { "S0", "S1", "S2", "S3", "S4" }, seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local runs = grid.run(ctx, { size = p.sizes, lr = p.lr, eps = { p.eps }, steps = { p.steps },
      text = { p.text }, qk_norm = { true } })
    local n, lr, rms, series = {}, {}, {}, {}
    for _, size in ipairs(p.sizes) do
      local line = { x = p.lr, y = runs:column({ size = size }, "grad_rms"), label = size }
      series[#series + 1] = line
      for i, r in ipairs(runs:where { size = size }) do
        if line.y[i] > 0 then
          n[#n + 1], lr[#lr + 1], rms[#rms + 1] = r.results.N, r.params.lr, line.y[i]
        end
        ctx:log { size = size, lr = r.params.lr, grad_rms = line.y[i] }
      end
    end
    ctx:figure("gradient", ml.plot.lines { series = series, log = "xy", xlabel = "learning rate",
      ylabel = "RMS", title = "gradient of blocks.1.mlp.w1" })
    if #n < 3 then
      print(("%d of %d runs have a gradient: nothing to extrapolate"):format(#n, #runs))
      local nan = 0 / 0
      return { size_exponent = nan, size_stderr = nan, lr_exponent = nan, lr_stderr = nan,
        meets = nan }
    end
    local law = ml.proxies.gradient_rms(n, lr, rms, { eps = p.eps })
    local meets = law.meets(p.lr[#p.lr]) or math.huge
    print(("RMS ~ N^%.2f(%.2f) lr^%.2f(%.2f); meets epsilon %.0e at learning rate %g with %.2g "
      .. "parameters"):format(law.size_exponent, law.size_stderr, law.lr_exponent, law.lr_stderr,
      p.eps, p.lr[#p.lr], meets))
    return { size_exponent = law.size_exponent, size_stderr = law.size_stderr,
      lr_exponent = law.lr_exponent, lr_stderr = law.lr_stderr, meets = meets }
  end,
  claims = {
    { name = "exponent of the gradient in the size", kind = "exploratory", at_most = 0,
      source = "Wortsman et al. 2023, Figure 11",
      measure = function(r) return r.size_exponent, r.size_stderr end },
    { name = "exponent of the gradient in the learning rate", kind = "exploratory", at_most = 0,
      source = "Wortsman et al. 2023, Figure 11",
      measure = function(r) return r.lr_exponent, r.lr_stderr end },
    { name = "parameters at which it meets epsilon, log10", kind = "exploratory",
      measure = function(r) return math.log(r.meets, 10) end },
  },
}
