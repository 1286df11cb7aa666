--- What do exact kernels make of ten thousand images of clothes?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

local function multilayer(act, depth)
  local layers = {}
  for _ = 1, depth do
    layers[#layers + 1] = k.dense { w_std = math.sqrt(2), b_std = 0.1 }
    layers[#layers + 1] = act
  end
  layers[#layers + 1] = k.dense { w_std = math.sqrt(2), b_std = 0.1 }
  return k.serial(layers)
end

local networks = {
  linear = function() return multilayer(nil, 0) end,
  ["relu, 1"] = function() return multilayer(k.act "relu", 1) end,
  ["relu, 3"] = function() return multilayer(k.act "relu", 3) end,
  ["erf, 3"] = function() return multilayer(k.act "erf", 3) end,
}

-- The ridge is chosen on a fifth of the training points that is set aside, then all are used.
local function fit(T, T2, y, y_labels, labels, ridges)
  local n = T:size(1)
  local kept = n - n // 5
  local inside, outside = { 1, kept }, { kept + 1, n }
  local best, chosen = -1, ridges[1]
  local validation = {}
  for i, ridge in ipairs(ridges) do
    ml.scope(function()
      local alpha = ml.solve.krr(T[{ inside, inside }]:contiguous(), y[{ inside }], { ridge = ridge,
        relative = true, jitter = true })
      local right = T[{ outside, inside }]:matmul(alpha):argmax(2):eq(y_labels[{ outside }])
      validation[i] = 100 * right:to("f64"):mean():item()
    end)
    if validation[i] > best then best, chosen = validation[i], ridge end
  end
  return ml.scope(function()
    local alpha, info = ml.solve.krr(T, y, { ridge = chosen, relative = true, jitter = true,
      condition = true })
    local right = T2:matmul(alpha):argmax(2):eq(labels):to("f64"):mean():item()
    return 100 * right, chosen, info.condition, validation
  end)
end

return recipe.define {
  name = "fashion_kernels",
  source = "Lee et al. 2020 (arXiv 2007.15801); Xiao, Rasul & Vollgraf 2017",
  params = {
    data = { "fashion", "the images", choices = { "fashion", "procedural", "digits" } },
    train = { 10000, "images to train on", min = 50 },
    test = { 2000, "images to test on", min = 50 },
    nets = { { "linear", "relu, 1", "relu, 3", "erf, 3" }, "networks",
      choices = { "linear", "relu, 1", "relu, 3", "erf, 3" } },
    ridges = { { 1e-6, 1e-5, 1e-4, 1e-3, 1e-2 }, "times trace(K)/n", above = 0 },
    seed = { 1, "of the choice of images" },
  },
  smoke = { data = "procedural", train = 200, test = 100, nets = { "linear", "relu, 1" },
    ridges = { 1e-4, 1e-2 } },
  full = { train = 20000, test = 10000, seeds = { 1, 2, 3 } },
  estimate = function(p)
    local n = p.train
    return { bytes = 200e6 + 8 * (3.7 * n ^ 2 + n * p.test) + 784 * 8 * (n + p.test),
      seconds = 5 + #p.nets * ((#p.ridges * 0.512 + 1) * n ^ 3 / 3 / 5e10 + 1600 * n ^ 2 / 5e10) }
  end,
  run = function(p, ctx)
    local set, why = ml.data.images(p.data, { train = p.train, test = p.test, seed = p.seed,
      standardize = "global" })
    if not set then error(why, 0) end
    local function flat(part)
      return part.images:to("f64"):reshape { part.images:size(1), -1 }
    end
    local X, X2 = flat(set.train), flat(set.test)
    local classes = #set.classes
    local y = set.train.labels:one_hot(classes) - 1 / classes
    local result, series = { accuracy = {}, seconds = {} }, {}
    for i, name in ipairs(p.nets) do
      ml.scope(function()
        local net = networks[name]()
        local start = ml.now()
        local T, T2 = net:ntk(X), net:ntk(X2, X)
        local made = ml.now() - start
        local right, ridge, condition, validation = fit(T, T2, y, set.train.labels,
          set.test.labels, p.ridges)
        result.accuracy[i], result.seconds[i] = right, made
        series[i] = { x = p.ridges, y = validation, label = name }
        print(("%-8s %.2f %% right with ridge %.0e trace(K)/n (condition %.1e); kernels in %s")
          :format(name, right, ridge, condition, ml.progress.duration(made)))
        ctx:log { net = name, accuracy = right, ridge = ridge, condition = condition,
          seconds = made }
      end)
    end
    ctx:figure("ridges", ml.plot.lines { series = series, log = "x",
      xlabel = "ridge / (trace K / n)", ylabel = "% right on images set aside",
      title = ("NTK, %d images of %s"):format(p.train, p.data) })
    for i, name in ipairs(p.nets) do
      if name == "linear" then result.linear = result.accuracy[i] end
    end
    result.best = math.max(table.unpack(result.accuracy))
    return result
  end,
  claims = {
    { name = "points by which the best kernel beats the linear one", kind = "exploratory",
      source = "Lee et al. 2020", at_least = 2,
      when = function(p) return p.data == "fashion" and p.nets[1] == "linear" end,
      measure = function(r) return r.best - r.linear end },
    { name = "% right of the best kernel", kind = "exploratory", source = "Lee et al. 2020",
      at_least = 86, when = function(p) return p.data == "fashion" and p.train >= 10000 end,
      measure = function(r) return r.best end },
  },
}
