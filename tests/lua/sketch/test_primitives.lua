-- ml.sketch: explicit randomness against sums written out, seeds, means and variances, errors.
local ml = require "moonlab"
local check = require "check"
local T = {}

local sketch = ml.sketch
local g = ml.rng(7)

local function sylvester(i, j) -- positions from 0
  local both, sign = i & j, 1
  while both > 0 do
    if both & 1 == 1 then sign = -sign end
    both = both >> 1
  end
  return sign
end

-- (H D x)[indices], indices from 1
local function transformed(x, signs, indices)
  local out = {}
  for i, at in ipairs(indices) do
    out[i] = 0
    for j, v in ipairs(x) do out[i] = out[i] + sylvester(at - 1, j - 1) * signs[j] * v end
  end
  return out
end

local X = ml.f64 { { 0.3, -1.2, 2.5 }, { 1.1, 0.7, -0.4 }, { 0, 0, 1 } }
local Z = ml.f64 { { 2, 1 }, { -1, 0.5 }, { 0.25, 3 } }
local signs, indices = { 1, -1, -1 }, { 4, 1, 2, 2, 3 }
local signs2, indices2 = { -1, 1 }, { 2, 2, 1, 1, 2 }

function T.test_srht_with_given_signs_and_indices() -- analytic
  local Y = sketch.srht { signs = signs, indices = indices } (X)
  for i, row in ipairs(X:totable()) do
    local want = transformed(row, signs, indices)
    for j = 1, 5 do
      check.close(Y[{ i, j }], want[j] / math.sqrt(5), { rtol = 1e-14, atol = 1e-15 })
    end
  end
  -- tensors, the dim said twice, signs of the padding: all the same
  local padded = ml.f64 { 1, -1, -1, 1 }
  check.equal(sketch.srht { dim = 5, signs = padded, indices = ml.index(indices) } (X), Y)
  check.close(sketch.srht { signs = signs, indices = indices } (X:to "f32"), Y,
    { rtol = 1e-6, atol = 1e-6 })
end

function T.test_count_sketch_and_osnap_with_given_hashes() -- analytic
  local Y = sketch.count_sketch { dim = 4, hashes = { 2, 4, 2 }, signs = signs } (X)
  check.close(Y, { { 0, 0.3 - 2.5, 0, 1.2 }, { 0, 1.1 + 0.4, 0, -0.7 }, { 0, -1, 0, 0 } },
    { atol = 1e-15 })
  local O = sketch.osnap { dim = 4, hashes = { { 1, 2, 1 }, { 3, 3, 4 } },
    signs = { { 1, 1, -1 }, { -1, 1, 1 } } } (X)
  local r = 1 / math.sqrt(2)
  check.close(O[1], { r * (0.3 - 2.5), r * -1.2, r * (-0.3 - 1.2), r * 2.5 }, { rtol = 1e-14 })
end

function T.test_tensor_srht_with_given_pairs() -- analytic
  local S = sketch.tensor_srht { signs = { signs, signs2 }, indices = { indices, indices2 } }
  local Y = S(X, Z)
  for i = 1, 3 do
    local a, b = transformed(X[i]:totable(), signs, indices),
      transformed(Z[i]:totable(), signs2, indices2)
    for j = 1, 5 do
      check.close(Y[{ i, j }], a[j] * b[j] / math.sqrt(5), { rtol = 1e-13, atol = 1e-14 })
    end
  end
  check.equal(S { X, Z }, Y)
end

function T.test_a_tree_with_given_signs_and_indices() -- analytic: degree 4, two levels
  local function legs(count, d, side)
    local s, r = {}, {}
    for i = 1, count do
      s[i] = (g:integers(1, 2, { d }):to "f64" * 2 - 3):totable()
      r[i] = g:integers(1, side, { 6 }):totable()
    end
    return s, r
  end
  local s1, r1 = legs(4, 3, 4)
  local s2, r2 = legs(2, 6, 8)
  local P = sketch.poly_sketch { degree = 4, signs = { s1, s2 }, indices = { r1, r2 } }
  check.equal(P.dim, 6)
  local Y, U = P(X), P:powers(X)
  local function node(a, b, sa, ra, sb, rb)
    local u, v = transformed(a, sa, ra), transformed(b, sb, rb)
    for i = 1, 6 do u[i] = u[i] * v[i] / math.sqrt(6) end
    return u
  end
  for i = 1, 3 do
    local x = X[i]:totable()
    local left = node(x, x, s1[1], r1[1], s1[2], r1[2])
    local right = node(x, x, s1[3], r1[3], s1[4], r1[4])
    local root = node(left, right, s2[1], r2[1], s2[2], r2[2])
    check.close(Y[i], root, { rtol = 1e-12, atol = 1e-13 })
    check.close(U[4][i], root, { rtol = 1e-12, atol = 1e-13 })
    -- the first leaf constant: its node is the plain transform of the second
    local plain = transformed(x, s1[2], r1[2])
    for j = 1, 6 do plain[j] = plain[j] / math.sqrt(6) end
    check.close(U[3][i], node(plain, right, s2[1], r2[1], s2[2], r2[2]),
      { rtol = 1e-12, atol = 1e-13 })
    check.close(U[2][i], right, { rtol = 1e-12, atol = 1e-13 }) -- half the tree constant
  end
end

local points = ml.rng(3):normal { 4, 20 }
points = points / points:square():sum { 2, keepdims = true }:sqrt()
local G = points:matmul(points:transpose())

-- Mean and variance over seeds of S S^T, entry by entry.
local function moments(make, call, seeds)
  local sum, squares = ml.zeros { 4, 4 }, ml.zeros { 4, 4 }
  for seed = 1, seeds do
    ml.scope(function()
      local Y = call(make(seed))
      local inner = Y:matmul(Y:transpose())
      sum:add_(inner)
      squares:add_(inner:square())
    end)
  end
  local mean = sum / seeds
  return mean, squares / seeds - mean:square()
end

local kinds = {
  { "count_sketch", function(m, seed) return sketch.count_sketch { dim = m, seed = seed } end, 1 },
  { "osnap", function(m, seed) return sketch.osnap { dim = m, seed = seed } end, 1 },
  { "srht", function(m, seed) return sketch.srht { dim = m, seed = seed } end, 1 },
  { "tensor_srht", function(m, seed) return sketch.tensor_srht { dim = m, seed = seed } end, 2 },
  { "poly_sketch 3",
    function(m, seed) return sketch.poly_sketch { degree = 3, dim = m, seed = seed } end, 3 },
  { "poly_sketch 8",
    function(m, seed) return sketch.poly_sketch { degree = 8, dim = m, seed = seed } end, 8 },
}

function T.test_inner_products_are_right_in_the_mean_and_spread_as_one_over_dim() -- property
  for _, kind in ipairs(kinds) do
    local name, make, power = table.unpack(kind)
    local seeds = 400
    local spread = {}
    for i, m in ipairs { 16, 64 } do
      local mean, variance = moments(function(seed) return make(m, seed) end,
        function(S) return S(points) end, seeds)
      local z = ((mean - G ^ power) / ((variance + 1e-12) / seeds):sqrt()):abs():max():item()
      -- 16 entries: beyond 4.5 standard errors by chance about once in ten thousand
      if not (z < 4.5) then
        check.fail(("%s, dim %d: %.2f standard errors off"):format(name, m, z))
      end
      spread[i] = variance:mean():item()
    end
    -- four times the places: a quarter of the variance (an SRHT of all 32 twice: none)
    local ratio = spread[1] / math.max(spread[2], 1e-12)
    local low, high = 2.6, name == "srht" and math.huge or 6
    if name == "poly_sketch 8" then high = 12 end -- higher orders of 1/dim at dim 16
    if not (ratio > low and ratio < high) then
      check.fail(("%s: the variance falls by %.2f"):format(name, ratio))
    end
  end
end

function T.test_variance_of_count_sketch_is_its_formula() -- analytic
  -- Var <S x, S y> = (|x|^2 |y|^2 + <x, y>^2 - 2 sum x_i^2 y_i^2) / m
  local m, seeds = 32, 2000
  local function make(seed) return sketch.count_sketch { dim = m, seed = seed } end
  local _, variance = moments(make, function(S) return S(points) end, seeds)
  local squares = points:square()
  local want = (G:square() + 1 - squares:matmul(squares:transpose()) * 2) / m
  check.close(variance, want, { rtol = 0.2 }) -- 2000 draws: 3 % each, heavy tails
end

function T.test_hadamard_is_orthogonal_and_srht_of_all_places_is_an_isometry() -- property
  for _, d in ipairs { 1, 2, 7, 16, 100 } do
    local Y = ml.rng(d):normal { 5, d }
    local H = sketch.hadamard(Y)
    check.close(H:matmul(H:transpose()) / H:size(2), Y:matmul(Y:transpose()),
      { rtol = 1e-12, atol = 1e-12 })
    check.close(sketch.hadamard(H)[{ {}, { 1, d } }] / H:size(2), Y, { rtol = 1e-12, atol = 1e-13 })
    local S = sketch.srht { dim = H:size(2), seed = 2 } (Y)
    check.close(S:matmul(S:transpose()), Y:matmul(Y:transpose()), { rtol = 1e-12, atol = 1e-12 })
  end
end

function T.test_a_seed_is_a_map() -- property: the same for any data, in any order and number
  local Y = ml.rng(5):normal { 50, 20 }
  for _, kind in ipairs(kinds) do
    local S, again, other = kind[2](24, 3), kind[2](24, 3), kind[2](24, 4)
    local all = S(Y)
    check.equal(again(Y[{ { 11, 20 } }]), all[{ { 11, 20 } }]:clone())
    check.is_false(other(Y):equal(all))
    check.equal(all:shape(), { 50, 24 })
    check.equal(S(Y:to "f32"):dtype(), "f32")
    check.close(S(Y:to "f32"), all, { rtol = 1e-4, atol = 2e-3 })
    local before = ml.threads()
    ml.threads(1)
    check.equal(S(Y), all)
    ml.threads(before)
  end
  check.equal(tostring(kinds[6][2](24, 3)), "poly_sketch, dim 24, degree 8, seed 3")
end

function T.test_sparse_rows_are_dense_rows() -- property
  local Y = ml.rng(6):normal { 37, 40 }
  Y = Y * Y:gt(0.8):to "f64"
  Y[5] = ml.zeros { 40 } -- an empty row
  local rows = sketch.sparse(Y)
  for _, S in ipairs { sketch.count_sketch { dim = 10 }, sketch.osnap { dim = 11, seed = 4 },
    sketch.poly_sketch { degree = 3, dim = 30, base = sketch.osnap { dim = 16 } },
    sketch.srht { dim = 20 }, sketch.tensor_srht { dim = 9 },
    sketch.poly_sketch { degree = 3, dim = 30 } } do
    check.close(S(rows), S(Y), { rtol = 1e-13, atol = 1e-14 })
  end
  check.equal(rows:dense(), Y + 0) -- without the signs of zeros
  check.equal(rows:dense(5, 6), Y[{ { 5, 6 } }] + 0)
  check.equal(rows:dense(5, 5), ml.zeros { 1, 40 })
  check.equal(sketch.osnap { dim = 11 } (sketch.sparse(ml.zeros { 2, 5 })), ml.zeros { 2, 11 })
  check.equal(sketch.hadamard(rows), sketch.hadamard(Y))
  local pair = sketch.tensor_srht { dim = 9, seed = 2 }
  check.equal(pair(rows, Y:square()), pair(Y, Y:square()))
  local powers = sketch.poly_sketch { degree = 3, dim = 30, seed = 5 }
  check.equal(powers:powers(rows)[2], powers:powers(Y)[2])
  check.raises("rows 3 to 2 of 37", rows.dense, rows, 3, 2)
  local given = sketch.sparse { offsets = { 1, 3, 4 }, columns = { 1, 3, 2 },
    values = ml.f32 { 1, 2, 3 }, dim = 3 }
  check.equal(tostring(given), "sparse rows, f32 [2x3], 3 values")
  check.close(sketch.count_sketch { dim = 3, hashes = { 1, 2, 3 }, signs = { 1, 1, 1 } } (given),
    { { 1, 0, 2 }, { 0, 3, 0 } })
end

function T.test_long_sparse_rows_go_by_blocks() -- property: 2^22 numbers hold 3 of these rows
  local d, n = (1 << 20) + 1, 8
  local offsets, columns, values = { 1 }, {}, {}
  for i = 1, n do
    columns[#columns + 1], columns[#columns + 2] = i, d - 5 * i
    values[#values + 1], values[#values + 2] = i, -0.5
    offsets[i + 1] = #values + 1
  end
  local S = sketch.srht { dim = 16, seed = 3 }
  local all = S(sketch.sparse { offsets = offsets, columns = columns, values = ml.f32(values),
    dim = d })
  check.equal(all:shape(), { n, 16 })
  for i = 1, n, 3 do
    local row = ml.zeros { 1, d, dtype = "f32" }
    row[{ 1, i }] = i
    row[{ 1, d - 5 * i }] = -0.5
    check.equal(all[{ { i, i } }], S(row))
  end
end

function T.test_a_product_of_different_factors() -- property
  local Y = { ml.rng(1):normal { 3, 6 }, ml.rng(2):normal { 3, 6 }, ml.rng(3):normal { 3, 6 } }
  local want = ml.ones { 3, 3 }
  for _, y in ipairs(Y) do want = want * y:matmul(y:transpose()) end
  local sum, squares, seeds = ml.zeros { 3, 3 }, ml.zeros { 3, 3 }, 400
  for seed = 1, seeds do
    ml.scope(function()
      local S = sketch.poly_sketch { degree = 3, dim = 64, seed = seed } (Y)
      local inner = S:matmul(S:transpose())
      sum:add_(inner)
      squares:add_(inner:square())
    end)
  end
  local mean = sum / seeds
  local error = ((squares / seeds - mean:square()) / seeds):sqrt()
  check.is_true(((mean - want) / error):abs():max():item() < 4.5)
end

function T.test_errors_say_what_came_and_what_was_wanted()
  local e = check.raises
  e("unknown option 'dims'; did you mean 'dim'?", sketch.srht, { dims = 4 })
  e("option 'dim' is missing", sketch.srht, {})
  e("option 'dim' is 0, wanted 1 to", sketch.osnap, { dim = 0 })
  e("option 'dim' is 9.2233720368548e+18, wanted 1 to", sketch.poly_sketch,
    { degree = 2, dim = math.maxinteger })
  e("option 'dim' is 3 and there are 5 indices", sketch.srht,
    { dim = 3, signs = signs, indices = indices })
  e("signs hold a number that is neither +1 nor -1", sketch.srht,
    { signs = { 1, 0.5, 1 }, indices = indices })
  e("indices are nil", sketch.srht, { signs = signs })
  e("both a seed and explicit randomness", sketch.srht,
    { signs = signs, indices = indices, seed = 3 })
  e("an index is 9, wanted 1 to 4", sketch.srht { signs = signs, indices = { 9 } }, X)
  e("4 coordinates and 2 signs", sketch.srht { signs = signs2, indices = { 1 } }, ml.ones { 2, 4 })
  e("wanted points [n,d] of f32 or f64", sketch.srht { dim = 2 }, ml.ones { 3 })
  e("bad argument #2 to 'ml.sketch.srht' (f64 [3x2], wanted one argument)", sketch.srht { dim = 2 },
    X, Z)
  e("a hash is 9, wanted 1 to dim, 4", sketch.count_sketch,
    { dim = 4, hashes = { 9 }, signs = { 1 } })
  e("hashes and signs go together", sketch.count_sketch, { dim = 4, hashes = { 1 } })
  e("option 'nonzeros' is 8, wanted at most dim, 4", sketch.osnap, { dim = 4, nonzeros = 8 })
  e("wanted one dtype and as many points", sketch.tensor_srht { dim = 4 }, X, Z:to "f32")
  e("signs are 1 entries, wanted a list of 2", sketch.tensor_srht,
    { signs = { signs }, indices = { indices } })
  e("2 factors, wanted one point or as many as the degree, 3",
    sketch.poly_sketch { degree = 3, dim = 4 }, { X, X })
  e("srht has no powers", sketch.srht { dim = 2 }.powers, sketch.srht { dim = 2 }, X)
  e("offset 1 is 2, wanted an ascent", sketch.count_sketch { dim = 3 },
    sketch.sparse { offsets = { 2, 1 }, columns = { 1 }, values = ml.f64 { 1 }, dim = 3 })
  e("columns: place 1 is 7, wanted 1 to 3", sketch.count_sketch { dim = 3 },
    sketch.sparse { offsets = { 1, 2 }, columns = { 7 }, values = ml.f64 { 1 }, dim = 3 })
end

function T.test_nothing_leaks_when_memory_runs_out()
  local Y = ml.rng(5):normal { 40, 20 }
  local S, P = sketch.srht { dim = 8 }, sketch.poly_sketch { degree = 4, dim = 8 }
  check.no_leak(function() return S(Y) end)
  check.no_leak(function() return P(Y) end)
  check.no_leak(function() return sketch.tensor_srht { dim = 8 } (Y) end, { limit = 30 })
end

return T
