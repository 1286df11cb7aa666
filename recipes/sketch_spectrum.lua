--- Does ridge regression see the same kernel through a sketch: how far are the eigenvalues of
--- (K + ridge)^-1/2 (Z Z^T + ridge) (K + ridge)^-1/2 from 1, and how many columns does that take?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

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

return recipe.define {
  name = "sketch_spectrum",
  source = "Han et al. 2022 (arXiv 2209.04121), Theorem 3; Zandieh et al. 2021",
  params = {
    data = { "digits", "the images", choices = { "digits", "procedural" } },
    n = { 1000, "images", min = 20, max = 1600 },
    activation = { "exp", "of the network: exp has a polynomial exact to 1e-6 at degree 8",
      choices = { "exp", "relu" } },
    depth = { 1, "hidden layers", min = 1 },
    of = { "nngp", "the kernel", choices = { "nngp", "ntk" } },
    method = { "polysketch", "of the features", choices = { "polysketch", "random" } },
    columns = { { 512, 1024, 2048, 4096, 8192 }, "of the features", min = 16 },
    ridges = { { 1e-1, 1e-2, 1e-3 }, "times trace(K)/n", above = 0 },
    draws = { 2, "sketches to average over", min = 1 },
    seed = { 1, "of images and sketches" },
  },
  smoke = { data = "procedural", n = 60, columns = { 64, 256, 1024 }, ridges = { 1e-1 } },
  full = { n = 1600, columns = { 512, 1024, 2048, 4096, 8192, 16384 }, seeds = { 1, 2, 3 } },
  estimate = function(p)
    local m, sum = math.max(table.unpack(p.columns)), 0
    for _, c in ipairs(p.columns) do sum = sum + c end
    local each = 4e-7 * sum * p.n / 16 + #p.columns * (#p.ridges * 4 + 20) * p.n ^ 3 / 2e10
    return { bytes = 100e6 + 8 * (8 * p.n ^ 2 + 3 * p.n * m), seconds = 2 + p.draws * each }
  end,
  run = function(p, ctx)
    local set, why = ml.data.images(p.data, { train = p.n, seed = p.seed,
      standardize = "global" })
    if not set then error(why, 0) end
    local X = set.train.images:to("f64"):reshape { p.n, -1 }
    local net = network(p.activation, p.depth)
    local K = p.of == "ntk" and net:ntk(X) or net:nngp(X)
    local low, high, epsilon, dimension = {}, {}, {}, {}
    for r in ipairs(p.ridges) do low[r], high[r], epsilon[r] = {}, {}, {} end
    for i, m in ipairs(p.columns) do
      for r in ipairs(p.ridges) do low[r][i], high[r][i], epsilon[r][i] = 0, 0, 0 end
      for draw = 1, p.draws do
        ml.scope(function()
          local map = ml.sketch.features(net, { of = p.of, dim = m, method = p.method,
            seed = 1000 * p.seed + draw })
          local q = ml.sketch.quality(map(X), K, { ridges = p.ridges })
          for r in ipairs(p.ridges) do
            low[r][i] = low[r][i] + q.low[r] / p.draws
            high[r][i] = high[r][i] + q.high[r] / p.draws
            epsilon[r][i] = epsilon[r][i] + q.epsilon[r] / p.draws
            dimension[r] = q.dimension[r]
          end
        end)
      end
      for r, ridge in ipairs(p.ridges) do
        print(("%6d columns, ridge %.0e, dimension %6.1f: eigenvalues %.3f to %.3f, epsilon %.3f")
          :format(m, ridge, dimension[r], low[r][i], high[r][i], epsilon[r][i]))
        ctx:log { columns = m, ridge = ridge, dimension = dimension[r], low = low[r][i],
          high = high[r][i], epsilon = epsilon[r][i] }
      end
    end
    local series, slopes, constants = {}, {}, {}
    local range, last = {}, #p.columns
    for r, ridge in ipairs(p.ridges) do
      series[r] = { x = p.columns, y = epsilon[r], label = ("ridge %.0e"):format(ridge) }
      range[2 * r - 1] = { x = p.columns, y = low[r], label = ("least, %.0e"):format(ridge) }
      range[2 * r] = { x = p.columns, y = high[r], label = ("largest, %.0e"):format(ridge),
        dash = true }
      if last > 2 then slopes[r] = (ml.fit.power_law(p.columns, epsilon[r])) end
      constants[r] = epsilon[r][last] * math.sqrt(p.columns[last] / dimension[r])
    end
    ctx:figure("epsilon", ml.plot.lines { series = series, log = "xy", xlabel = "columns",
      ylabel = "largest distance of an eigenvalue from 1", legend = "inside",
      title = ("%s of %d %s"):format(p.of:upper(), p.n, p.data) })
    ctx:figure("range", ml.plot.lines { series = range, log = "xy", xlabel = "columns",
      ylabel = "eigenvalue", legend = "inside", title = "least and largest eigenvalue" })
    table.sort(slopes)
    local biggest, smallest = math.max(table.unpack(constants)),
      math.min(table.unpack(constants))
    print(("epsilon sqrt(columns / dimension) with %d columns: %.2f to %.2f"):format(
      p.columns[last], smallest, biggest))
    return { low = low, high = high, epsilon = epsilon, dimension = dimension, slopes = slopes,
      steepest = slopes[1], flattest = slopes[#slopes], constants = constants,
      constant = biggest, least = low[1][last] }
  end,
  claims = {
    { name = "exponent of epsilon in the columns, flattest of the ridges", kind = "paper",
      source = "Han et al. 2022, Theorem 3: columns grow as 1/epsilon^2", at_most = -0.35,
      when = function(p) return #p.columns > 2 end,
      measure = function(r) return r.flattest end },
    { name = "epsilon sqrt(columns / statistical dimension), largest of the ridges",
      kind = "exploratory", source = "Han et al. 2022, Theorem 3", at_most = 4,
      measure = function(r) return r.constant end },
    { name = "least eigenvalue at the largest ridge and the most columns", kind = "exploratory",
      source = "Han et al. 2022, Theorem 3", at_least = 0.5,
      measure = function(r) return r.least end },
  },
}
