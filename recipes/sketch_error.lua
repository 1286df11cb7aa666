--- How far are sketched kernels of relu networks from the exact ones, and how does that fall with
--- the width of the features?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

-- Ten clusters of Gaussian points, with norms spread by a log-normal factor.
local function clusters(n, d, key)
  local g = key:fold "points"
  local X = g:normal({ 10, d }):index_select(g:integers(1, 10, { n }), 1) + g:normal { n, d } * 0.7
  return X * (g:normal { n, 1 } * 0.3):exp()
end

local function network(name, depth)
  local act = name == "exp" and k.act("exp_normalized", { gamma = 1 }) or k.act "relu"
  local w = name == "exp" and 1 or math.sqrt(2)
  local layers = {}
  for _ = 1, depth do
    layers[#layers + 1] = k.dense { w_std = w }
    layers[#layers + 1] = act
  end
  layers[#layers + 1] = k.dense { w_std = w }
  return k.serial(layers)
end

-- What was measured with prototypes in NumPy at these settings (relative Frobenius error), by
-- method, kernel, depth and width.
local reference = {
  random = { nngp = { [1] = { 0.26, 0.12, 0.053 }, [2] = { 0.33, 0.13, 0.073 },
    [3] = { 0.44, 0.19, 0.14 } },
    ntk = { [1] = { 0.28, 0.14, 0.067 }, [2] = { 0.35, 0.18, 0.084 },
      [3] = { 0.43, 0.24, 0.12 } } },
  polysketch = { nngp = { [1] = { 0.12, 0.10, 0.053 }, [2] = { 0.16, 0.10, 0.041 },
    [3] = { 0.18, 0.11 } },
    ntk = { [1] = { 0.23, 0.13, 0.067 }, [2] = { 0.26, 0.14, 0.070 }, [3] = { 0.32, 0.16 } } },
  direct = { ntk = { [1] = { 0.23, 0.16, 0.082 }, [2] = { 0.19, 0.13, 0.060 },
    [3] = { 0.20, 0.11, 0.059 } } },
}
local column_of = { [256] = 1, [1024] = 2, [4096] = 3 }

local function mean_error(p, net, kernel, of, method, m, X)
  local sum, centred = 0, 0
  for seed = 1, p.draws do
    ml.scope(function()
      local wide = of == "ntk" and method ~= "direct"
      local map = ml.sketch.features(net, { of = of, method = method, degree = p.degree,
        fit = method ~= "direct" and p.fit or nil, dim = wide and 2 * m or m,
        inner = method ~= "direct" and m or nil, seed = 1000 * p.seed + seed })
      local q = ml.sketch.quality(map(X), kernel, { ridge = 1e-2 })
      sum, centred = sum + q.frobenius, centred + q.centred
    end)
  end
  return sum / p.draws, centred / p.draws
end

return recipe.define {
  name = "sketch_error",
  source = "Zandieh et al. 2021 (arXiv 2106.07880); Han et al. 2022 (arXiv 2209.04121)",
  params = {
    n = { 300, "points", min = 10 },
    dim = { 64, "dimensions of the points", min = 2 },
    widths = { { 256, 1024, 4096 }, "of the features between layers", min = 8 },
    depths = { { 1, 2, 3 }, "relu layers", min = 1 },
    activation = { "relu", "of the network", choices = { "relu", "exp" } },
    degree = { 8, "of the polynomials", min = 1, max = 64 },
    fit = { "nnls", "of the polynomials", choices = { "nnls", "taylor" } },
    draws = { 3, "sketches to average the error over", min = 1 },
    seed = { 1, "of points and sketches" },
  },
  smoke = { n = 60, widths = { 32, 128 }, depths = { 1 }, draws = 2 },
  full = { seeds = { 1, 2, 3 }, draws = 5 },
  estimate = function(p)
    local m, sum = math.max(table.unpack(p.widths)), 0
    for _, w in ipairs(p.widths) do sum = sum + w * w end
    local layers = 0
    for _, depth in ipairs(p.depths) do layers = layers + depth end
    return { bytes = 100e6 + 8 * (12 * p.n * m + 6 * m * m),
      seconds = 2 + p.draws * layers * (sum * p.n * 8 / 1e10 + sum * 2e-8) }
  end,
  run = function(p, ctx)
    local X = clusters(p.n, p.dim, ml.rng(p.seed))
    local methods = p.activation == "relu" and { "random", "polysketch", "direct" }
      or { "polysketch", "direct" }
    local worst, slopes, rows = 0, {}, {}
    for _, depth in ipairs(p.depths) do
      local net = network(p.activation, depth)
      local kernels = {}
      kernels.nngp, kernels.ntk = net:both(X)
      local series = {}
      for _, method in ipairs(methods) do
        for _, of in ipairs(method == "direct" and { "ntk" } or { "nngp", "ntk" }) do
          local errors = {}
          for i, m in ipairs(p.widths) do
            local e, centred = mean_error(p, net, kernels[of], of, method, m, X)
            errors[i] = e
            local known = p.activation == "relu" and (reference[method][of][depth] or {})
            local want = known and known[column_of[m]]
            if want then worst = math.max(worst, e / want) end
            print(("depth %d  %-10s %-4s width %5d  error %.4f  centred %.4f%s"):format(depth,
              method, of, m, e, centred, want and ("  (prototype %.3f)"):format(want) or ""))
            ctx:log { depth = depth, method = method, of = of, width = m, error = e,
              centred = centred }
          end
          rows[#rows + 1] = { depth = depth, method = method, of = of, errors = errors }
          series[#series + 1] = { x = p.widths, y = errors, label = method .. " " .. of,
            dash = of == "nngp" }
          if #p.widths > 1 then slopes[#slopes + 1] = (ml.fit.power_law(p.widths, errors)) end
        end
      end
      ctx:figure(("depth_%d"):format(depth), ml.plot.lines { series = series, log = "xy",
        xlabel = "width of the features", ylabel = "relative Frobenius error", legend = "inside",
        title = ("%d %s layers, %d points"):format(depth, p.activation, p.n) })
    end
    table.sort(slopes)
    return { rows = rows, worst = worst > 0 and worst or 0 / 0, slopes = slopes,
      steepest = slopes[1], flattest = slopes[#slopes] }
  end,
  claims = {
    { name = "error over that of the prototypes, largest", kind = "calibrated",
      source = "Zandieh et al. 2021; Han et al. 2022", at_most = 1.5, seeds = 1,
      when = function(p) return p.activation == "relu" and p.n == 300 and p.dim == 64 end,
      measure = function(r) return r.worst end },
    { name = "exponent of the error in the width, flattest", kind = "theory",
      source = "Zandieh et al. 2021, Theorem 3: 1/sqrt(width)", at_most = -0.35,
      when = function(p) return #p.widths > 2 end,
      measure = function(r) return r.flattest end },
    { name = "exponent of the error in the width, steepest", kind = "theory",
      source = "Zandieh et al. 2021, Theorem 3: 1/sqrt(width)", at_least = -0.65,
      when = function(p) return #p.widths > 2 end,
      measure = function(r) return r.steepest end },
  },
}
