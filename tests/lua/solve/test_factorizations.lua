-- ml.solve: factorizations multiply back to what was factored, and say what is wrong.
local ml = require "moonlab"
local check = require "check"
local T = {}

local A = ml.rng(1):normal { 50, 30 }
local S = ml.rng(2):normal { 150, 150 }
S = S:matmul(S:transpose()) + ml.eye(150)

-- property: rounding of n terms of the size of the matrix
function T.test_products_give_the_matrix_back()
  local lambda, V = ml.solve.eigh(S)
  check.close((V * lambda):matmul(V:transpose()), S, { atol = 1e-10 })
  check.close(V:transpose():matmul(V), ml.eye(150), { atol = 1e-12 })
  local U, s, Vt = ml.solve.svd(A)
  check.close((U * s):matmul(Vt), A, { atol = 1e-13 })
  local Ut, st, Vtt = ml.solve.svd(A:transpose())
  check.close((Ut * st):matmul(Vtt), A:transpose(), { atol = 1e-13 })
  local Q, R = ml.solve.qr(A)
  check.close(Q:matmul(R), A, { atol = 1e-13 })
  check.equal(R[{ 3, 2 }]:item(), 0.0)
  local L = ml.solve.cholesky(S)
  check.close(L:matmul(L:transpose()), S, { atol = 1e-11 })
end

-- property: sizes on both sides of blocks and panels; the minor that fails is named in all of them
function T.test_cholesky_at_every_seam()
  for _, n in ipairs { 1, 63, 64, 65, 128, 255, 256, 257, 600 } do
    local X = ml.rng(n):normal { n, n + 3 }
    local K = X:matmul(X:transpose())
    local L = ml.solve.cholesky(K, { ridge = 0.5 })
    check.close(L:matmul(L:transpose()), K + ml.eye(n) * 0.5, { atol = 4e-15 * n * n })
    check.equal(L:triu { diagonal = 1 }:abs():sum():item(), 0.0)
    K[{ n, n }] = -1e6
    check.raises(("leading minor of order %d is"):format(n), ml.solve.cholesky, K)
  end
  check.raises("option 'ridge': -1", ml.solve.cholesky, S, { ridge = -1 })
end

-- property
function T.test_triangular_solves_invert_the_product()
  local b = ml.rng(3):normal { 150, 4 }
  local L = ml.solve.cholesky(S)
  local x = ml.solve.triangular(L, ml.solve.triangular(L, b), { transposed = true })
  check.close(S:matmul(x), b, { atol = 1e-10 })
end

-- property: the residual is orthogonal to the columns; of many solutions the least
function T.test_least_squares()
  local b = ml.rng(4):normal { 50 }
  local x, info = ml.solve.lstsq(A, b)
  check.equal(info.rank, 30)
  check.close(A:transpose():matmul(A:matmul(x) - b), ml.zeros { 30 }, { atol = 1e-12 })
  local y, twice = ml.solve.lstsq(ml.concat({ A, A }, 2), b)
  check.equal(twice.rank, 30)
  check.close(y, ml.concat({ x / 2, x / 2 }, 1), { atol = 1e-12 })
end

function T.test_errors_name_the_argument()
  check.raises("leading minor of order 1", ml.solve.cholesky, -S)
  check.raises("square matrix", ml.solve.eigh, A)
  check.raises("as many rows as columns", ml.solve.qr, A:transpose())
  check.raises("not finite", ml.solve.svd, A * (0 / 0))
  check.raises("as many rows", ml.solve.lstsq, A, ml.zeros { 3 })
end

function T.test_nothing_leaks_when_memory_runs_out()
  check.no_leak(function() return ml.solve.eigh(S) end)
  check.no_leak(function() return ml.solve.qr(A) end)
end

return T
