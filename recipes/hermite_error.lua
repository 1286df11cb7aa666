--- How fast do Hermite series of dual kernels converge, and how does a random wide layer compare?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

local activations = {
  relu = { "relu" }, abs = { "abs" }, sin = { "sin" }, gaussian = { "gaussian", { b = 0.5 } },
  erf = { "erf" }, gelu = { "gelu" },
}

local function relative(found, exact) return ((found - exact):norm() / exact:norm()):item() end

-- One layer before the activation, whose covariance is the plain inner product.
local function kernel_of(act, X)
  return k.serial { k.dense { w_std = math.sqrt(X:size(2)) }, act }:nngp(X)
end

local function timed(fn)
  local start = ml.now()
  local value = fn()
  return value, ml.now() - start
end

local function study(name, p, ctx, X)
  local act = k.act(table.unpack(activations[name], 1, 2))
  local exact = kernel_of(act, X)
  local r = { own = {}, unit = {}, own_seconds = {}, sampled = {}, sampled_seconds = {} }
  for i, q in ipairs(p.degrees) do
    local series = k.hermite(act, { degree = q })
    local K, seconds = timed(function() return kernel_of(series, X) end)
    r.own[i], r.own_seconds[i] = relative(K, exact), seconds
    r.unit[i] = relative(kernel_of(series:polynomial(), X), exact)
    ctx:log { activation = name, degree = q, error = r.own[i], unit = r.unit[i], seconds = seconds }
  end
  for i, m in ipairs(p.widths) do
    local total, seconds = 0, 0
    for draw = 1, p.draws do
      local K, time = timed(function()
        return ml.scope(function()
          local W = ml.rng(p.seed):fold(name, m):fold("draw", draw):normal { X:size(2), m }
          local Z = act:value(X:matmul(W)) / math.sqrt(m)
          return Z:matmul(Z:transpose())
        end)
      end)
      total, seconds = total + relative(K, exact) ^ 2, seconds + time
    end
    r.sampled[i], r.sampled_seconds[i] = math.sqrt(total / p.draws), seconds / p.draws
    ctx:log { activation = name, width = m, error = r.sampled[i], seconds = r.sampled_seconds[i] }
  end
  r.slope, r.slope_stderr = ml.fit.power_law(p.widths, r.sampled)
  return r
end

local function at(list, where, value)
  for i, x in ipairs(where) do if x == value then return list[i] end end
  return 0 / 0
end

local function has(list, value)
  for _, x in ipairs(list) do if x == value then return true end end
  return false
end

return recipe.define {
  name = "hermite_error",
  source = "Han et al. 2022 (arXiv 2209.04121), Figure 1",
  params = {
    n = { 1000, "points", min = 2 },
    dim = { 256, "dimensions; entries are N(0, 1/dim)", min = 1 },
    degrees = { { 1, 2, 4, 6, 8, 10, 12, 16, 19 }, "of the series", min = 1, max = 20 },
    widths = { { 32, 128, 512, 2048, 8192 }, "of random layers", min = 1 },
    draws = { 3, "random layers of each width", min = 1 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { n = 60, dim = 32, degrees = { 2, 4, 8, 10 }, widths = { 32, 128, 512 }, draws = 2 },
  full = { widths = { 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536 },
    draws = 10, seeds = { 1, 2, 3 } },
  estimate = function(p)
    local widest = math.max(table.unpack(p.widths))
    local flops = 0
    for _, m in ipairs(p.widths) do
      flops = flops + 6 * p.draws * m * (2 * p.n * p.dim + 2 * p.n ^ 2)
    end
    return { bytes = 100e6 + 8 * (12 * p.n ^ 2 + 3 * p.n * widest), seconds = 5 + flops / 2e10 }
  end,
  run = function(p, ctx)
    local X = ml.rng(p.seed):fold("points", 0):normal { p.n, p.dim } / math.sqrt(p.dim)
    local by_degree, by_width, result = {}, {}, { slope = 0, monotone = 1 }
    local panels = {}
    for name in ml.sorted(activations) do
      local r = ml.scope(study, name, p, ctx, X)
      result[name] = r
      for i = 2, #p.degrees do
        if r.own[i] > r.own[i - 1] * (1 + 1e-9) + 1e-13 then result.monotone = 0 end
      end
      by_degree[#by_degree + 1] = { x = p.degrees, y = r.own, label = name }
      by_width[#by_width + 1] = { x = p.widths, y = r.sampled, label = name }
      panels[#panels + 1] = ml.plot.lines { log = "y", title = name, xlabel = "degree",
        ylabel = "relative error", legend = "inside", series = {
          { x = p.degrees, y = r.own, label = "norms of their own" },
          { x = p.degrees, y = r.unit, label = "at unit scale", dash = true } } }
      print(("%-9s degree 8: %.1e (unit scale %.1e); width %d: %.1e, exponent %.3f"):format(name,
        at(r.own, p.degrees, 8), at(r.unit, p.degrees, 8), p.widths[#p.widths],
        r.sampled[#p.widths], r.slope))
    end
    ctx:figure("degrees", ml.plot.lines { series = by_degree, log = "y", xlabel = "degree",
      ylabel = "relative Frobenius error", title = "Hermite series, coefficients of each norm" })
    ctx:figure("widths", ml.plot.lines { series = by_width, log = "xy", xlabel = "width",
      ylabel = "relative Frobenius error", title = "random layers" })
    ctx:figure("scales", ml.plot.grid(panels))
    -- the fastest way to an error as small as that of the widest layer
    local r = result.gelu
    local goal, fastest = r.sampled[#p.widths], math.huge
    for i, error in ipairs(r.own) do
      if error <= goal then fastest = math.min(fastest, r.own_seconds[i]) end
    end
    result.speedup = r.sampled_seconds[#p.widths] / fastest
    local slopes = {}
    for name in ml.sorted(activations) do slopes[#slopes + 1] = result[name].slope end
    result.slope, result.slope_stderr = ml.stats.mean(slopes)
    result.gelu8, result.relu8 = at(r.own, p.degrees, 8), at(result.relu.own, p.degrees, 8)
    result.sin10 = at(result.sin.own, p.degrees, 10)
    result.ratio = at(r.sampled, p.widths, 8192) / result.gelu8
    return result
  end,
  claims = {
    { name = "the error falls with every degree (1 yes)", kind = "theory",
      source = "Han et al. 2022, Theorem 2", expected = 1, tolerance = 0,
      measure = function(r) return r.monotone end },
    { name = "GELU to degree 8", kind = "calibrated", source = "Han et al. 2022, Figure 1",
      at_most = 3e-5, seeds = 3, when = function(p) return p.n >= 1000 and has(p.degrees, 8) end,
      measure = function(r) return r.gelu8 end },
    { name = "ReLU to degree 8", kind = "calibrated", source = "Han et al. 2022, Figure 1",
      at_most = 4e-4, seeds = 3, when = function(p) return p.n >= 1000 and has(p.degrees, 8) end,
      measure = function(r) return r.relu8 end },
    { name = "sin to degree 10", kind = "calibrated", source = "Han et al. 2022, Figure 1",
      at_most = 1e-7, seeds = 3, when = function(p) return p.n >= 1000 and has(p.degrees, 10) end,
      measure = function(r) return r.sin10 end },
    { name = "exponent of the error of random layers in their width", kind = "theory",
      source = "central limit theorem", expected = -0.5, tolerance = 0.1,
      measure = function(r) return r.slope, r.slope_stderr end },
    { name = "GELU: error of a random layer of width 8192 over that of degree 8",
      kind = "calibrated", source = "Han et al. 2022, Figure 1", at_least = 100, seeds = 3,
      when = function(p) return has(p.widths, 8192) and has(p.degrees, 8) end,
      measure = function(r) return r.ratio end },
    { name = "GELU: seconds of the widest random layer over those of a series as exact",
      kind = "exploratory", source = "Han et al. 2022, Figure 1", at_least = 1,
      measure = function(r) return r.speedup end },
  },
}
