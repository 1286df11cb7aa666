--- At which rate do kernels of finite networks approach those of infinite width?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

local function multilayer(p)
  local layers = {}
  for _ = 1, p.depth do
    layers[#layers + 1] = k.dense { w_std = math.sqrt(2), b_std = 0.1 }
    layers[#layers + 1] = k.act(p.activation)
  end
  layers[#layers + 1] = k.dense { w_std = math.sqrt(2), b_std = 0.1 }
  return k.serial(layers)
end

local function convolutional()
  local conv = k.conv { kernel = 3, w_std = math.sqrt(2) }
  return k.serial { conv, k.act "relu", conv, k.act "relu", k.gap(), k.dense() }
end

-- Tangent kernels of `draws` networks: their mean, its standard error, and the root mean square of
-- the deviation of one, both relative to the largest exact entry.
local function sample(net, X, inputs, width, draws, seed)
  local exact = net:ntk(X)
  local top = exact:abs():max():item()
  local sum, square, deviation = ml.zeros_like(exact), ml.zeros_like(exact), 0
  for draw = 1, draws do
    ml.scope(function()
      local finite = net:finite { inputs = inputs, width = width, seed = seed * 1000 + draw }
      local T = k.empirical(finite, X)
      sum:add_(T)
      square:add_(T * T)
      deviation = deviation + ((T - exact) ^ 2):mean():item()
    end)
  end
  local mean = sum / draws
  local variance = (square / draws - mean * mean):maximum(0) * (draws / (draws - 1))
  local stderr = (variance / draws):sqrt():maximum(1e-12 * top)
  local miss = (mean - exact):abs()
  return math.sqrt(deviation / draws) / top, (miss / top):max():item(),
    (miss / stderr):max():item()
end

return recipe.define {
  name = "width_convergence",
  source = "Jacot et al. 2018; Arora et al. 2019",
  params = {
    widths = { { 64, 128, 256, 512, 1024, 2048 }, "of both hidden layers", min = 2 },
    draws = { 20, "networks of each width", min = 3 },
    depth = { 2, "hidden layers", min = 1 },
    activation = { "relu", "a name of ml.kernel.act" },
    points = { 4, "vectors on the sphere of radius sqrt(dim)", min = 2 },
    dim = { 10, "their dimensions", min = 1 },
    channels = { 128, "of the convolutional network", min = 2 },
    side = { 4, "pixels of its images", min = 3 },
    conv_draws = { 30, "convolutional networks", min = 3 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { widths = { 32, 64, 128 }, draws = 6, channels = 24, conv_draws = 4 },
  full = { draws = 80, conv_draws = 60, seeds = { 1, 2, 3 } },
  estimate = function(p)
    local most, total = math.max(table.unpack(p.widths)), 0
    for _, w in ipairs(p.widths) do total = total + w * w end
    return { bytes = 30e6 + 8 * 3 * p.points * p.depth * most * most,
      seconds = 2 + p.draws * total * p.depth * p.points * 40 / 4e9 + p.conv_draws * 0.2 }
  end,
  run = function(p, ctx)
    local net = multilayer(p)
    local X = ml.rng(p.seed):fold("points", 0):normal { p.points, p.dim }
    X = X / (X * X):sum { 2, keepdims = true }:sqrt() * math.sqrt(p.dim)
    local result = { deviation = {}, miss = {}, z = {} }
    for i, width in ipairs(p.widths) do
      result.deviation[i], result.miss[i], result.z[i] = sample(net, X, p.dim, width, p.draws,
        p.seed)
      print(("width %5d: one network off by %.2f %%, the mean of %d by %.2f %% (|z| < %.1f)")
        :format(width, 100 * result.deviation[i], p.draws, 100 * result.miss[i], result.z[i]))
      ctx:log { width = width, deviation = result.deviation[i], miss = result.miss[i],
        z = result.z[i] }
      if width == 512 then result.miss512, result.z512 = result.miss[i], result.z[i] end
    end
    result.slope, result.slope_stderr = ml.fit.power_law(p.widths, result.deviation)
    local images = ml.rng(p.seed):fold("images", 0):normal { 3, p.side, p.side, 1 }
    local off
    off, result.conv_miss = sample(convolutional(), images, { p.side, p.side, 1 }, p.channels,
      p.conv_draws, p.seed)
    print(("%d channels: one network off by %.2f %%, the mean of %d by %.2f %%"):format(p.channels,
      100 * off, p.conv_draws, 100 * result.conv_miss))
    ctx:figure("widths", ml.plot.lines { log = "xy", xlabel = "width", legend = "inside",
      ylabel = "relative to the largest entry", title = "tangent kernels of finite networks",
      series = {
        { x = p.widths, y = result.deviation, label = "of one network", fit = true },
        { x = p.widths, y = result.miss, label = ("mean of %d, worst entry"):format(p.draws) } } })
    return result
  end,
  claims = {
    { name = "exponent of the deviation of one network in its width", kind = "theory",
      source = "Jacot et al. 2018; Dyer & Gur-Ari 2020", expected = -0.5, tolerance = 0.15,
      measure = function(r) return r.slope, r.slope_stderr end },
    { name = "mean of the networks of width 512, worst entry over the largest",
      kind = "calibrated", source = "Jacot et al. 2018", at_most = 0.05, seeds = 3,
      when = function(p) return p.draws >= 20 end,
      measure = function(r) return r.miss512 or 0 / 0 end },
    { name = "the same in standard errors of the mean", kind = "calibrated",
      source = "Jacot et al. 2018", at_most = 4, seeds = 3,
      when = function(p) return p.draws >= 20 end,
      measure = function(r) return r.z512 or 0 / 0 end },
    { name = "mean of convolutional networks of 128 channels, worst entry over the largest",
      kind = "calibrated", source = "Arora et al. 2019", at_most = 0.07, seeds = 3,
      when = function(p) return p.channels == 128 and p.conv_draws >= 30 end,
      measure = function(r) return r.conv_miss end },
  },
}
