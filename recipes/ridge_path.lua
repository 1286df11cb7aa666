--- Does leaving one out choose a good ridge, and is stopping gradient flow early a ridge as well?
local ml, recipe = require "moonlab", require "moonlab.recipe"

-- NTK of one hidden layer of ReLU, weights of variance 2, no bias: with rho the cosine of two
-- points, 2 |x||x'|/d (k1 + rho k0).
local function relu_ntk(A, B)
  B = B or A
  local a, b = A:square():sum { 2, keepdims = true }:sqrt(), B:square():sum(2):sqrt()
  local norms = a * b
  local rho = (A:matmul(B:transpose()) / norms):minimum(1):maximum(-1)
  local angle = math.pi - rho:acos()
  local k0 = angle / math.pi
  local k1 = ((1 - rho:square()):maximum(0):sqrt() + rho * angle) / math.pi
  return norms * (k1 + rho * k0) * (2 / A:size(2))
end

local function mse(a, b) return (a - b):square():mean():item() end

-- The largest relative difference between the residuals of the path at the i-th ridge and those of
-- refits without each of the first `count` points.
local function left_out_by_hand(K, y, path, i, count)
  local worst, n = 0, K:size(1)
  local alpha = path:alpha(i)
  local inverse = ml.solve.krr(K, ml.eye(n), { ridge = path.ridges[i] })
  for k = 1, count do
    worst = math.max(worst, ml.scope(function()
      local ids = {}
      for j = 1, n do if j ~= k then ids[#ids + 1] = j end end
      ids = ml.index(ids)
      local rest = K:index_select(ids, 1)
      local a = ml.solve.krr(rest:index_select(ids, 2), y:index_select(ids, 1),
        { ridge = path.ridges[i] })
      local direct = y[k] - rest[{ {}, k }]:matmul(a):item()
      return math.abs(direct - alpha[k] / inverse[{ k, k }]:item()) / math.abs(direct)
    end))
  end
  return worst
end

return recipe.define {
  name = "ridge_path",
  source = "Rifkin & Lippert 2007; Ali, Kolter & Tibshirani 2019",
  params = {
    n = { 1000, "points to train on", min = 20 },
    test = { 2000, "points to test on", min = 10 },
    dim = { 20, "dimensions; the covariance of x has eigenvalues 1/j", min = 1 },
    noise = { 0.3, "standard deviation of the noise in y", min = 0 },
    ridges = { 25, "ridges, spaced evenly in the logarithm", min = 3 },
    low = { 1e-5, "least ridge, times trace(K)/n", above = 0 },
    high = { 10, "largest ridge, times trace(K)/n", above = 0 },
    refits = { 10, "points that are left out by refitting, as a check", min = 1 },
    seed = { 1, "integer; every stream derives from it", min = 0 },
  },
  smoke = { n = 120, test = 200, ridges = 9, refits = 3 },
  full = { n = 4000, test = 4000, ridges = 41, seeds = { 1, 2, 3 } },
  estimate = function(p)
    return { bytes = 20e6 + 8 * (6 * p.n ^ 2 + p.n * p.test * 3 + p.n * p.ridges * 3),
      seconds = 1 + (18 * p.n ^ 3 + p.refits * p.n ^ 3 / 3) / 4e9 }
  end,
  run = function(p, ctx)
    local shape = { train = p.n, test = p.test, dim = p.dim, seed = p.seed }
    shape.noise = p.noise
    local d = ml.data.teacher(shape)
    shape.noise = 0
    local clean = ml.data.teacher(shape) -- the same points without noise
    local K, K2 = relu_ntk(d.X), relu_ntk(d.X_test, d.X)
    local relative = {}
    for i = 1, p.ridges do
      relative[i] = p.low * (p.high / p.low) ^ ((i - 1) / (p.ridges - 1))
    end
    local path = ml.solve.krr_path(K, d.y, { ridges = relative, relative = true })
    local times = {}
    for i, ridge in ipairs(path.ridges) do times[i] = p.n / ridge end
    local flow = ml.solve.gradient_flow(K, d.y, { t = times })
    local test, excess, stopped = {}, {}, {}
    for i = 1, p.ridges do
      local found = K2:matmul(path:alpha(i))
      test[i], excess[i] = mse(found, d.y_test), mse(found, clean.y_test)
      stopped[i] = mse(K2:matmul(flow[i]), clean.y_test)
      ctx:log { step = i, ridge = path.ridges[i], loo = path.loo[i], gcv = path.gcv[i],
        test = test[i], excess = excess[i], flow = stopped[i] }
    end
    ctx:figure("choice", ml.plot.lines { log = "xy", title = "leave-one-out and test error",
      xlabel = "ridge / (trace K / n)", ylabel = "mean squared error", legend = "inside", series = {
        { x = relative, y = path.loo, label = "leave one out" },
        { x = relative, y = path.gcv, label = "GCV", dash = true },
        { x = relative, y = test, label = "test" } } })
    ctx:figure("flow", ml.plot.lines { log = "xy",
      title = "ridge, and gradient flow stopped at t = n / ridge",
      xlabel = "ridge / (trace K / n)", ylabel = "error without the noise", legend = "inside",
      series = { { x = relative, y = excess, label = "ridge" },
        { x = relative, y = stopped, label = "gradient flow" } } })
    local worst, apart, best, best_flow = 0, 0, math.huge, math.huge
    for i = 1, p.ridges do
      worst = math.max(worst, stopped[i] / excess[i])
      apart = math.max(apart, math.abs(math.log(path.loo[i] / test[i])))
      best, best_flow = math.min(best, excess[i]), math.min(best_flow, stopped[i])
    end
    local least = math.min(table.unpack(test))
    print(("chosen by leaving one out: ridge %.3g trace(K)/n, test error %.4g; least on path %.4g")
      :format(relative[path.best], test[path.best], least))
    print(("best without the noise: ridge %.4g, gradient flow %.4g"):format(best, best_flow))
    return { ridge = path.ridges, loo = path.loo, gcv = path.gcv, test = test, excess = excess,
      flow = stopped, chosen = relative[path.best], cost = test[path.best] / least,
      apart = math.exp(apart) - 1, best_ratio = best_flow / best, worst_ratio = worst,
      condition = path.condition[path.best],
      refit = left_out_by_hand(K, d.y, path, path.best, math.min(p.refits, p.n)) }
  end,
  claims = {
    { name = "leave-one-out residuals are those of refits (largest relative difference)",
      kind = "exact", source = "Rifkin & Lippert 2007, Section 3", at_most = 1e-6,
      measure = function(r) return r.refit end },
    { name = "test error at the chosen ridge over the least on the path", kind = "exploratory",
      source = "Rifkin & Lippert 2007", at_most = 1.05, measure = function(r) return r.cost end },
    { name = "leave-one-out error is the test error (largest relative difference)",
      kind = "exploratory", source = "Golub, Heath & Wahba 1979", at_most = 0.15,
      measure = function(r) return r.apart end },
    { name = "best error of early stopping over best error of ridge, without the noise",
      kind = "exploratory", source = "Ali, Kolter & Tibshirani 2019", expected = 1,
      tolerance = 0.1, measure = function(r) return r.best_ratio end },
    { name = "error of flow at t = n / ridge over that of the ridge, largest on the path",
      kind = "paper", source = "Ali, Kolter & Tibshirani 2019", at_most = 1.6862,
      measure = function(r) return r.worst_ratio end },
  },
}
