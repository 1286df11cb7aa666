-- Ridge regression, its paths, gradient flow and Gaussian processes against scikit-learn, NumPy and
-- definitions; errors; memory.
local ml = require "moonlab"
local check = require "check"
local T = {}

local golden = ml.json.read "tests/golden/solve/golden.json"
local X, X2, Y = ml.f64(golden.X), ml.f64(golden.X2), ml.f64(golden.Y)
local n = X:size(1)

local function rbf(A, B)
  B = B or A
  local squares = A:square():sum { 2, keepdims = true } + B:square():sum(2)
    - A:matmul(B:transpose()) * 2
  return (squares:maximum(0) * -golden.gamma):exp()
end
local K, K2 = rbf(X), rbf(X2, X)

-- golden: condition numbers up to 1e4 times eps
function T.test_krr_is_scikit_learns()
  for i, ridge in ipairs(golden.ridges) do
    local alpha, info = ml.solve.krr(K, Y, { ridge = ridge, condition = true })
    check.close(alpha, golden.krr[i].alpha, { rtol = 1e-9, atol = 1e-9 })
    check.close(K2:matmul(alpha), golden.krr[i].predicted, { rtol = 1e-10, atol = 1e-11 })
    check.equal(info.jitter, 0)
    check.equal(info.ridge, ridge)
    local values = ml.solve.eigh(K)
    check.close(info.condition, (values[n] + ridge) / (values[1] + ridge), { rtol = 0.1 })
  end
end

function T.test_forms_of_y_dtypes_and_relative_ridges() -- property
  local whole = ml.solve.krr(K, Y, { ridge = 0.05 })
  local first = ml.solve.krr(K, Y[{ {}, 1 }]:clone(), { ridge = 0.05 })
  check.equal(first:shape(), { n })
  check.close(first, whole[{ {}, 1 }], { rtol = 1e-12, atol = 1e-12 })
  local scaled, info = ml.solve.krr(K * 4, Y, { ridge = 0.05, relative = true })
  check.close(scaled, whole / 4, { rtol = 1e-9, atol = 1e-11 })
  check.close(info.ridge, 0.2)
  local single = ml.solve.krr(K:to "f32", Y:to "f32", { ridge = 0.05 })
  check.equal(single:dtype(), "f32")
  check.close(single:to "f64", whole, { rtol = 1e-3, atol = 1e-4 }) -- K rounded to f32
end

function T.test_path_has_exact_leave_one_out() -- golden: by leaving out
  local path = ml.solve.krr_path(K, Y, { ridges = golden.ridges })
  check.close(path.loo, golden.loo, { rtol = 1e-8 })
  check.close(path.gcv, golden.gcv, { rtol = 1e-8 })
  check.close(path.dof, golden.dof, { rtol = 1e-10 })
  for i in ipairs(golden.ridges) do
    check.close(path:alpha(i), golden.krr[i].alpha, { rtol = 1e-8, atol = 1e-9 })
    check.close(path.train[i], (K:matmul(path:alpha(i)) - Y):square():mean():item(),
      { rtol = 1e-7 })
    if path.loo[i] < path.loo[path.best] then check.fail "best is not the least" end
  end
  check.raises("integer in 1..3", path.alpha, path, 4)
end

function T.test_features_are_ridge() -- golden; the dual and streams agree
  local g = golden.ridge
  local Z, t = ml.f64(g.Z), ml.f64(g.Y)
  local w, info = ml.solve.ridge(Z, t, { ridge = g.alpha })
  check.close(w, g.w, { rtol = 1e-11, atol = 1e-12 })
  check.is_false(info.dual)
  local path = ml.solve.ridge(Z, t, { ridges = { g.alpha, 3 }, block = 7 })
  check.close(path.loo[1], g.loo, { rtol = 1e-10 })
  check.close(path:alpha(1), g.w, { rtol = 1e-11, atol = 1e-12 })
  local kernel_path = ml.solve.krr_path(Z:matmul(Z:transpose()), t, { ridges = { g.alpha, 3 } })
  check.close(path.loo, kernel_path.loo, { rtol = 1e-9 })
  check.close(path.gcv, kernel_path.gcv, { rtol = 1e-9 })
  local function stream(i)
    if i <= 3 then return Z[{ { 10 * i - 9, 10 * i } }], t[{ { 10 * i - 9, 10 * i } }] end
  end
  check.close(ml.solve.ridge(stream, nil, { ridge = g.alpha }), g.w, { rtol = 1e-11, atol = 1e-12 })
  check.close(ml.solve.ridge(stream, nil, { ridges = { g.alpha } }).gcv[1], path.gcv[1],
    { rtol = 1e-9 })
  local wide = Z:transpose():contiguous() -- 6 points, 30 features
  local u, dual = ml.solve.ridge(wide, t[{ { 1, 6 } }], { ridge = 0.5 })
  check.is_true(dual.dual)
  local normal = wide:transpose():matmul(wide) + ml.eye(30) * 0.5
  check.close(normal:matmul(u), wide:transpose():matmul(t[{ { 1, 6 } }]), { atol = 1e-11 })
  local low = ml.solve.ridge(Z:to "f32", t:to "f32", { ridge = g.alpha })
  check.close(low, g.w, { rtol = 1e-5, atol = 1e-6 })
end

function T.test_gradient_flow_is_the_matrix_exponential() -- golden
  for _, g in ipairs(golden.flow) do
    local alpha, info = ml.solve.gradient_flow(K, Y, { t = g.t })
    check.close(info.fitted, g.fitted, { rtol = 1e-9, atol = 1e-10 })
    check.close(K:matmul(alpha), g.fitted, { rtol = 1e-9, atol = 1e-10 })
  end
  local list, info = ml.solve.gradient_flow(K, Y, { t = { 0, 20, math.huge } })
  check.close(list[1], ml.zeros_like(Y))
  check.close(info.fitted[3], Y, { atol = 1e-9 })
  check.close(info.max_rate, 2 * n / ml.solve.eigh(K)[n], { rtol = 1e-10 })
end

function T.test_flow_of_a_singular_kernel_keeps_its_null_space_still() -- analytic
  local alpha = ml.solve.gradient_flow(ml.f64 { { 1, 1 }, { 1, 1 } }, ml.f64 { 1, 3 }, { t = 2 })
  -- eigenvalues 2 and 0: gains (1 - e^-2)/2 and t/n = 1
  local even, odd = 2 * (1 - math.exp(-2)) / 2, 1
  check.close(alpha, { even - odd, even + odd }, { rtol = 1e-12 })
end

function T.test_gaussian_process_is_scikit_learns() -- golden
  local g = golden.gp
  local gp = ml.gp { kernel = rbf, noise = g.noise }:fit(X, Y[{ {}, 1 }]:clone())
  local mean, covariance = gp:predict(X2)
  check.close(mean, g.mean, { rtol = 1e-9, atol = 1e-11 })
  check.close(covariance, g.cov, { rtol = 1e-8, atol = 1e-11 })
  local value, each = gp:log_marginal_likelihood()
  check.close(value, g.lml, { rtol = 1e-10 })
  check.close(each, g.lml / n, { rtol = 1e-10 })
  local _, variance = gp:predict(X2, { variance = true })
  check.close(variance, covariance:diagonal(), { rtol = 1e-9, atol = 1e-12 })
  check.in_folder(function(dir)
    gp:save(dir .. "/gp.safetensors")
    local again = ml.gp.load(dir .. "/gp.safetensors", { kernel = rbf })
    check.equal((again:predict(X2)), mean)
    check.equal((again:log_marginal_likelihood()), value)
    ml.save(dir .. "/other.safetensors", { X = X })
    check.raises("holds no gaussian process", ml.gp.load, dir .. "/other.safetensors",
      { kernel = rbf })
  end)
  local two = ml.gp { kernel = rbf, noise = g.noise }:fit(X, Y)
  check.close(two:predict(X2)[{ {}, 1 }], g.mean, { rtol = 1e-9, atol = 1e-11 })
end

-- property: without the NTK's training, where both kernels are one, an ensemble is the process
function T.test_an_ensemble_of_equal_kernels_is_the_process()
  local kernel = setmetatable({}, { __index = { nngp = function(_, A, B) return rbf(A, B) end,
    ntk = function(_, A, B) return rbf(A, B) end } })
  local a = ml.gp { kernel = kernel, noise = 0, mode = "ensemble" }:fit(X, Y)
  local b = ml.gp { kernel = kernel, noise = 0 }:fit(X, Y)
  local mean, covariance = a:predict(X2)
  local mean_b, covariance_b = b:predict(X2)
  check.close(mean, mean_b, { atol = 1e-8 })
  check.close(covariance, covariance_b, { atol = 1e-8 })
  check.raises("no marginal likelihood", a.log_marginal_likelihood, a)
end

function T.test_what_is_not_positive_definite_is_said()
  local ones, y = ml.ones { 2, 2 }, ml.f64 { 1, 2 }
  check.raises("leading minor of order 2 is not positive; a ridge of 1e-12 is enough",
    ml.solve.krr, ones, y)
  local alpha, info = ml.solve.krr(ones, ml.f64 { 1, 1 }, { jitter = true })
  check.close(info.jitter, 1e-12)
  check.close(alpha, { 0.5, 0.5 }, { rtol = 1e-3 })
  local doubled = ml.concat({ X, X }, 1) -- each point twice: singular up to rounding
  check.raises("not positive definite: the leading minor of order", ml.solve.krr, rbf(doubled),
    ml.concat({ Y, Y }, 1))
  check.raises("no ridge up to the mean of its diagonal", ml.solve.krr, -ml.eye(2), y)
  check.raises("ridge 0 on a singular kernel", ml.solve.krr_path, ones, y, { ridges = { 0 } })
  check.raises("not positive semidefinite: its least eigenvalue is -1", ml.solve.krr_path,
    ml.f64 { { 0, 1 }, { 1, 0 } }, y, { ridges = { 1 } })
  check.raises("t is infinite on a singular kernel", ml.solve.gradient_flow, ones, y,
    { t = math.huge })
end

function T.test_errors_name_what_came()
  local y = ml.f64 { 1, 2 }
  check.raises("wanted a square matrix", ml.solve.krr, ml.ones { 2, 3 }, y)
  check.raises("K is f64 [2x2] and y f64 [3]", ml.solve.krr, ml.eye(2), ml.ones { 3 })
  check.raises("did you mean 'ridge'", ml.solve.krr, ml.eye(2), y, { rigde = 1 })
  check.raises("ridge -1, wanted a finite number >= 0", ml.solve.krr, ml.eye(2), y, { ridge = -1 })
  check.raises("K is not finite at [1, 2]", ml.solve.krr, ml.f64 { { 1, 0 / 0 }, { 0, 1 } }, y)
  check.raises("y is not finite at [2]", ml.solve.krr, ml.eye(2), ml.f64 { 1, math.huge })
  check.raises("option 'ridges' is nil, wanted a list", ml.solve.krr_path, ml.eye(2), y, {})
  check.raises("Z is f64 [2x2] and y f64 [3]", ml.solve.ridge, ml.eye(2), ml.ones { 3 })
  check.raises("the function gives the targets", ml.solve.ridge, function() end, y)
  check.raises("no rows", ml.solve.ridge, function() end)
  check.raises("wanted a time >= 0", ml.solve.gradient_flow, ml.eye(2), y, { t = -1 })
  check.raises("wanted a function (X, X2) -> K", ml.gp, { kernel = 3 })
  check.raises("wanted a finite variance >= 0", ml.gp, { kernel = rbf, noise = -1 })
  check.raises("call fit(X, y) first", function() ml.gp { kernel = rbf }:predict(X2) end)
  check.raises("the kernel returned f64 [24x24] for f64 [5x3] and f64 [24x3]", function()
    ml.gp { kernel = function(_, B) return rbf(B or X) end, noise = 1 }:fit(X, Y):predict(X2)
  end)
  check.is_nil((ml.gp.load("/nonexistent/gp.safetensors", { kernel = rbf })))
end

function T.test_nothing_leaks_when_memory_runs_out()
  check.no_leak(function() return ml.solve.krr(K, Y, { ridge = 0.1 }) end, { limit = 40 })
  check.no_leak(function() return ml.solve.krr_path(K, Y, { ridges = { 0.1, 1 } }) end,
    { limit = 40 })
  check.no_leak(function() return ml.gp { kernel = rbf, noise = 1 }:fit(X, Y):predict(X2) end,
    { limit = 40 })
end

return T
