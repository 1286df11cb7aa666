--- Do features of the NTK predict numbers as well as the kernel does, and better than random
--- Fourier features?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

local function spread(low, high, count)
  local list = {}
  for i = 1, count do list[i] = low * (high / low) ^ ((i - 1) / math.max(1, count - 1)) end
  return list
end

-- Columns standardized by their mean and deviation over the points to train on.
local function standardized(X, X2)
  local mean, deviation = X:mean { 1, keepdims = true }, X:var { 1, keepdims = true }:sqrt()
  deviation = ml.where(deviation:gt(1e-12), deviation, ml.ones_like(deviation))
  return (X - mean) / deviation, (X2 - mean) / deviation
end

-- X, y, X_test, y_test, all standardized.
local function data(p)
  local X, y, X2, y2
  if p.data == "teacher" then
    local d = ml.data.teacher { train = p.train, test = p.test, dim = p.dim, seed = p.seed }
    X, y, X2, y2 = d.X, d.y, d.X_test, d.y_test
  else
    local frame, why = ml.data.table(p.data)
    if not frame then error(why, 0) end
    if frame.rows < p.train + p.test then
      error(("%s has %d rows, wanted train + test, %d"):format(p.data, frame.rows,
        p.train + p.test), 0)
    end
    local all, target = frame:matrix { target = p.target }, frame:matrix { p.target }
    local ids = ml.rng(p.seed):permutation(frame.rows)
    local inside, outside = { { 1, p.train } }, { { p.train + 1, p.train + p.test } }
    all, target = all:index_select(ids, 1), target:index_select(ids, 1)
    X, X2 = all[inside], all[outside]
    y, y2 = target[inside], target[outside]
  end
  local function column(t) return t:reshape { t:size(1), 1 } end
  X, X2 = standardized(X, X2)
  y, y2 = standardized(column(y), column(y2))
  return X, y, X2, y2
end

local function mse(a, b) return (a - b):square():mean():item() end

-- Ridge regression on Z with the ridge that leaving one out chooses; its test error.
local function regress(Z, Z2, y, y2, ridges)
  return ml.scope(function()
    local path = ml.solve.ridge(Z, y, { ridges = ridges, relative = true })
    return mse(Z2:to("f64"):matmul(path:alpha(path.best):to "f64"), y2), path.best
  end)
end

-- Rahimi & Recht's features of a Gaussian kernel whose width is the median distance of 1000 points.
local function fourier(X, m, g)
  local few = X[{ { 1, math.min(1000, X:size(1)) } }]
  local square = few:square():sum { 2, keepdims = true }
  local distance = square + square:transpose() - few:matmul(few:transpose()) * 2
  local n = few:size(1)
  local sorted = distance:reshape { n * n }:maximum(0):sort(1)
  local median = math.sqrt(sorted[n + (n * n - n) // 2])
  local W, b = g:normal { X:size(2), m } / median, g:uniform { 1, m } * (2 * math.pi)
  W, b = W:to(X:dtype()), b:to(X:dtype())
  return function(A) return (A:matmul(W) + b):cos() * math.sqrt(2 / m) end
end

local function relu_network(depth)
  local layers, w = {}, math.sqrt(2)
  for _ = 1, depth do
    layers[#layers + 1] = k.dense { w_std = w }
    layers[#layers + 1] = k.act "relu"
  end
  layers[#layers + 1] = k.dense { w_std = w }
  return k.serial(layers)
end

-- name -> maker of a feature map of m columns
local function makers(p, X)
  local net = relu_network(p.depth)
  local function features(method)
    return function(m)
      return ml.sketch.features(net, { of = "ntk", dim = m, method = method, seed = p.seed })
    end
  end
  return {
    { "Fourier", function(m) return fourier(X, m, ml.rng(p.seed):fold "fourier") end },
    { "NTK random", features "random" },
    { "NTK layers", features "polysketch" },
    { "NTK direct", features "direct" },
  }
end

return recipe.define {
  name = "uci_regression",
  source = "Zandieh et al. 2021 (arXiv 2106.07880), Section 5.2",
  params = {
    data = { "teacher", "teacher, or a table of ml.data.table: diamonds, or the path of a file" },
    target = { "price", "the column to predict, of a table" },
    train = { 20000, "points to train on", min = 50 },
    test = { 5000, "points to test on", min = 50 },
    dim = { 30, "dimensions of the teacher's points", min = 1 },
    features = { { 512, 1024, 2048 }, "columns of the feature maps", min = 8 },
    exact = { 4000, "points of the exact kernel", min = 20 },
    depth = { 1, "relu layers of the network", min = 1 },
    ridges = { spread(1e-8, 1, 17), "times trace(K)/n", above = 0 },
    seed = { 1, "of data and features" },
  },
  smoke = { train = 400, test = 200, features = { 32, 64 }, exact = 100 },
  full = { train = 20000, test = 5000, features = { 512, 1024, 2048, 4096 }, exact = 8000,
    seeds = { 1, 2, 3 } },
  estimate = function(p)
    local m = math.max(table.unpack(p.features))
    local sum = 0
    for _, f in ipairs(p.features) do sum = sum + p.train * f ^ 2 * 8 + 20 * f ^ 3 end
    return { bytes = 100e6 + 4 * p.train * m * 3 + 8 * (4 * m ^ 2 + 5 * p.exact ^ 2),
      seconds = 5 + (4 * sum + 12 * p.exact ^ 3) / 2e10 }
  end,
  run = function(p, ctx)
    local X, y, X2, y2 = data(p)
    local result = { error = {}, seconds = {}, solve = {} }
    local function say(name, m, e, made, solved)
      print(("%-11s %5d  error %.4f  features %6.2f s, solve %6.2f s"):format(name, m, e, made,
        solved))
      ctx:log { method = name, features = m, error = e, seconds = made, solve = solved }
    end
    local single, single2 = X:to "f32", X2:to "f32"
    local target = y:to "f32"
    local start = ml.now()
    local one = ml.ones { X:size(1), 1 }
    result.linear = regress(ml.concat({ X, one }, 2), ml.concat({ X2, one[{ { 1, X2:size(1) } }] },
      2), y, y2, p.ridges)
    say("linear", X:size(2) + 1, result.linear, 0, ml.now() - start)
    local series = {}
    for i, maker in ipairs(makers(p, single)) do
      local name, make = table.unpack(maker)
      local errors = {}
      for j, m in ipairs(p.features) do
        local made, solved
        errors[j], made, solved = ml.scope(function()
          local map = make(m)
          start = ml.now()
          local Z, Z2 = map(single), map(single2)
          local after = ml.now()
          local e = regress(Z, Z2, target, y2, p.ridges)
          return e, after - start, ml.now() - after
        end)
        say(name, m, errors[j], made, solved)
      end
      result.error[name] = errors
      series[i] = { x = p.features, y = errors, label = name }
    end
    local few = math.min(p.exact, p.train)
    result.exact = ml.scope(function()
      local net = relu_network(p.depth)
      start = ml.now()
      local part = X[{ { 1, few } }]:contiguous()
      local T, T2 = net:ntk(part), net:ntk(X2, part)
      local made = ml.now() - start
      local path = ml.solve.krr_path(T, y[{ { 1, few } }], { ridges = p.ridges, relative = true })
      local e = mse(T2:matmul(path:alpha(path.best)), y2)
      say("NTK exact", few, e, made, ml.now() - start - made)
      return e
    end)
    series[#series + 1] = { x = p.features, y = {}, label = ("exact, %d points"):format(few),
      dash = true }
    for j = 1, #p.features do series[#series].y[j] = result.exact end
    ctx:figure("error", ml.plot.lines { series = series, log = "xy", xlabel = "columns",
      ylabel = "mean squared error on test points", legend = "inside",
      title = ("%s, %d points to train on"):format(p.data, p.train) })
    local last = #p.features
    local best = math.huge
    for _, name in ipairs { "NTK random", "NTK layers", "NTK direct" } do
      best = math.min(best, result.error[name][last])
    end
    result.ratio = best / result.error.Fourier[last]
    result.falls = 0
    for _, name in ipairs { "NTK random", "NTK layers", "NTK direct" } do
      result.falls = math.max(result.falls, result.error[name][last] / result.error[name][1])
    end
    result.against_exact = best / result.exact
    result.against_linear = best / result.linear
    return result
  end,
  claims = {
    { name = "error of the best NTK features over that of Fourier features", kind = "paper",
      source = "Zandieh et al. 2021, Table 2", at_most = 1,
      measure = function(r) return r.ratio end },
    { name = "error with the most columns over the one with the fewest, worst method",
      kind = "exploratory", source = "Zandieh et al. 2021, Theorem 4", at_most = 1,
      measure = function(r) return r.falls end },
    { name = "error of features on all points over that of the kernel on a part",
      kind = "exploratory", source = "Zandieh et al. 2021, Table 2", at_most = 1,
      measure = function(r) return r.against_exact end },
    { name = "error of features over that of a linear fit", kind = "exploratory",
      source = "Zandieh et al. 2021, Table 2", at_most = 0.9,
      measure = function(r) return r.against_linear end },
  },
}
