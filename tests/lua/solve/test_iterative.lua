-- Conjugate gradients, Nystrom, Falkon and EigenPro against direct solutions; models that are kept.
local ml = require "moonlab"
local check = require "check"
local T = {}

local X, X2 = ml.rng(1):normal { 300, 4 }, ml.rng(2):normal { 20, 4 }
local y = ml.stack({ X[{ {}, 1 }]:sin(), X[{ {}, 2 }] * X[{ {}, 3 }] }, 2)
  + ml.rng(3):normal { 300, 2 } * 0.1

local function rbf(A, B)
  B = B or A
  local squares = A:square():sum { 2, keepdims = true } + B:square():sum(2)
    - A:matmul(B:transpose()) * 2
  return (squares:maximum(0) * -0.2):exp()
end
local K = rbf(X)
local exact = ml.solve.krr(K, y, { ridge = 0.1 })

-- analytic: n steps solve a system with n distinct eigenvalues
function T.test_cg_ends_after_as_many_steps_as_eigenvalues()
  local x, info = ml.solve.cg(ml.f64 { { 2, 0, 0 }, { 0, 3, 0 }, { 0, 0, 5 } }, ml.f64 { 1, 1, 1 },
    { tol = 1e-14 })
  check.close(x, { 1 / 2, 1 / 3, 1 / 5 }, { rtol = 1e-13 })
  check.equal(info.steps, 3)
  check.is_true(info.converged)
  check.equal(#info.residuals, 4)
end

function T.test_cg_agrees_with_cholesky_on_all_columns()
  local x, info = ml.solve.cg(K, y, { ridge = 0.1, tol = 1e-11 })
  check.is_true(info.converged)
  check.close(x, exact, { atol = 1e-8 })
  local by_function = ml.solve.cg(function(v) return K:matmul(v) + v * 0.1 end, y, { tol = 1e-11 })
  check.close(by_function, exact, { atol = 1e-8 })
  local from, warm = ml.solve.cg(K, y, { ridge = 0.1, tol = 1e-9, start = exact })
  check.equal(warm.steps, 0)
  check.close(from, exact)
  -- a column of zeros has arrived at once and disturbs no other
  local with_zero = ml.concat({ y, ml.zeros { 300, 1 } }, 2)
  check.close(ml.solve.cg(K, with_zero, { ridge = 0.1, tol = 1e-11 })[{ {}, { 1, 2 } }], exact,
    { atol = 1e-8 })
  local _, cut = ml.solve.cg(K, y, { max_steps = 2 })
  check.equal(cut.steps, 2)
  check.is_false(cut.converged)
end

function T.test_nystrom_preconditions() -- the paper's bound: a rank of the effective dimension
  local _, plain = ml.solve.cg(K, y, { ridge = 1e-3 })
  local p = ml.solve.nystrom(K, { rank = 150, ridge = 1e-3 })
  local x, info = ml.solve.cg(K, y, { ridge = 1e-3, preconditioner = p, tol = 1e-11 })
  check.close(x, ml.solve.krr(K, y, { ridge = 1e-3 }), { atol = 1e-6 })
  if info.steps > plain.steps / 4 then
    check.fail(("%d steps against %d"):format(info.steps, plain.steps))
  end
  local same = ml.solve.nystrom(function(v) return K:matmul(v) end,
    { rank = 150, ridge = 1e-3, n = 300 })
  check.close(same.values, p.values, { rtol = 1e-9, atol = 1e-12 })
end

function T.test_nystrom_of_full_rank_is_the_inverse() -- analytic
  local p = ml.solve.nystrom(K, { rank = 300, ridge = 0.1 })
  check.close(p(K:matmul(y) + y * 0.1), y * (p.values[300] + 0.1), { atol = 1e-8 })
end

function T.test_falkon_on_all_points_is_krr()
  local model, info = ml.solve.falkon { kernel = rbf, X = X, y = y, centres = X, ridge = 0.1,
    tol = 1e-12 }
  check.is_true(info.converged)
  check.close(model:predict(X2), rbf(X2, X):matmul(exact), { atol = 1e-7 })
end

-- by its definition: (K_nM^T K_nM + ridge K_MM) beta = K_nM^T y
function T.test_falkon_on_some_points_solves_the_normal_equations()
  local centres = X[{ { 1, 60 } }]:clone()
  local k, m = rbf(X, centres), rbf(centres)
  local beta = ml.solve.krr(k:transpose():matmul(k) + m * 0.1, k:transpose():matmul(y))
  for _, store in ipairs { true, false } do
    local model = ml.solve.falkon { kernel = rbf, X = X, y = y, centres = centres, ridge = 0.1,
      tol = 1e-13, block = 77, store = store }
    check.close(model:predict(X2), rbf(X2, centres):matmul(beta), { atol = 1e-7 })
  end
end

function T.test_eigenpro_goes_to_the_interpolant()
  local model, info = ml.solve.eigenpro { kernel = rbf, X = X, y = y, epochs = 60, batch = 50,
    sample = 300, directions = 60 }
  if info.train[60] > 0.02 * info.train[1] then check.fail(tostring(info.train[60])) end
  local _, plain = ml.solve.eigenpro { kernel = rbf, X = X, y = y, epochs = 60, batch = 50,
    sample = 300, directions = 1 }
  if not (plain.train[5] > 2 * info.train[5]) then -- what the damping is for
    check.fail(("%g against %g"):format(plain.train[5], info.train[5]))
  end
  check.is_true(info.speedup > 20)
  check.equal(model:predict(X2):shape(), { 20, 2 })
end

-- property: one epoch, one batch of all points, no damping to speak of, is one gradient step
function T.test_one_step_of_eigenpro_is_its_formula()
  local k = 5
  local values, vectors = ml.solve.eigh(K)
  local V = vectors[{ {}, { 296, 300 } }]
  local sigma, bound = values[{ { 296, 300 } }], values[295]
  local gain = (1 - sigma:reciprocal() * bound) / sigma
  local seen = K:matmul(V):square():matmul(gain:reshape { k, 1 }):reshape { 300 }
  local eta = 1 / ((K:diagonal() - seen):max():item() + 299 * bound / 300)
  local back = V:matmul(V:transpose():matmul(K:matmul(y)) * gain:reshape { k, 1 })
  local model = ml.solve.eigenpro { kernel = rbf, X = X, y = y, epochs = 1, batch = 300,
    sample = 300, directions = k }
  check.close(model:predict(X2), rbf(X2, X):matmul(y - back) * eta, { atol = 1e-10 })
end

function T.test_models_are_saved_and_loaded()
  local model = ml.solve.model { centres = X, alpha = exact[{ {}, 1 }]:clone(), kernel = rbf }
  local wanted = rbf(X2, X):matmul(exact)[{ {}, 1 }]
  check.close(model:predict(X2, { block = 3 }), wanted, { atol = 1e-12 })
  check.in_folder(function(dir)
    model:save(dir .. "/m.safetensors")
    local again = ml.solve.load_model(dir .. "/m.safetensors", { kernel = rbf })
    check.equal(again:predict(X2), model:predict(X2))
    check.raises("wanted a function (X, X2) -> K", ml.solve.load_model, dir .. "/m.safetensors")
    ml.save(dir .. "/x.safetensors", { X = X })
    check.raises("holds no kernel model", ml.solve.load_model, dir .. "/x.safetensors",
      { kernel = rbf })
    check.is_nil((ml.solve.load_model(dir .. "/none.safetensors", { kernel = rbf })))
  end)
end

function T.test_errors()
  local b = ml.f64 { 1, 2 }
  check.raises("not positive definite", ml.solve.cg, -ml.eye(2), b)
  check.raises("preconditioner is not positive definite", ml.solve.cg, ml.eye(2), b,
    { preconditioner = function(r) return -r end })
  check.raises("the product returned f64 [1x1], wanted f64 [2x1]", ml.solve.cg,
    function() return ml.ones { 1, 1 } end, b)
  check.raises("A is f64 [3x3], wanted a square matrix of 2 rows", ml.solve.cg, ml.eye(3), b)
  check.raises("wanted the shape of b", ml.solve.cg, ml.eye(2), b, { start = ml.ones { 3 } })
  check.raises("option 'ridge' is 0, wanted > 0", ml.solve.nystrom, K, { rank = 3, ridge = 0 })
  check.raises("option 'rank' is 301", ml.solve.nystrom, K, { rank = 301, ridge = 1 })
  check.raises("X is f64 [300x4] and y f64 [2]", ml.solve.falkon,
    { kernel = rbf, X = X, y = b, centres = 3, ridge = 1 })
  check.raises("option 'centres' is 301", ml.solve.falkon,
    { kernel = rbf, X = X, y = y, centres = 301, ridge = 1 })
  check.raises("wanted 0 < step < 2", ml.solve.eigenpro, { kernel = rbf, X = X, y = y, step = 3 })
  check.raises("centres are f64 [20x4] and alpha f64 [300x2]", ml.solve.model,
    { centres = X2, alpha = exact, kernel = rbf })
end

function T.test_nothing_leaks_when_memory_runs_out()
  local A, b = K[{ { 1, 40 }, { 1, 40 } }]:clone(), y[{ { 1, 40 } }]:clone()
  check.no_leak(function()
    return ml.solve.cg(A, b, { ridge = 1, max_steps = 3,
      preconditioner = ml.solve.nystrom(A, { rank = 5, ridge = 1 }) })
  end, { limit = 40 })
  check.no_leak(function()
    return ml.solve.falkon { kernel = rbf, X = X[{ { 1, 40 } }], y = b, centres = 9, ridge = 1 }
  end, { limit = 40 })
  check.no_leak(function()
    return ml.solve.eigenpro { kernel = rbf, X = X[{ { 1, 40 } }], y = b, epochs = 1 }
  end, { limit = 40 })
end

return T
