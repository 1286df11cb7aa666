-- Tensors agree with NumPy (golden: numbers by tests/golden/bindings/numpy_cases.py).
local ml = require "moonlab"
local check = require "check"
local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
local G = dofile(here .. "/../../golden/bindings/numpy_cases.lua")
local T = {}

-- 1e-14: a few roundings of f64; sums and elementary functions stay within 4 ulp of the largest
-- term
local close = { rtol = 1e-13, atol = 1e-14 }
local x, y, row, column = ml.f64(G.x), ml.f64(G.y), ml.f64(G.row), ml.f64(G.column)
local cube, positive, ties = ml.f64(G.cube), ml.f64(G.positive), ml.f64(G.ties)
local ids, picks = ml.index(G.ids), ml.index(G.picks)

function T.test_arithmetic_broadcasts()
  check.close(x + row, G.add_row, close)
  check.close(x - column, G.sub_column, close)
  check.close(row * column, G.mul_row_column, close)
  check.close(x / y, G.div, close)
  check.close(positive ^ y, G.pow, close)
  check.close(2 - x, G.rsub, close)
  check.close(2 / x, G.rdiv, close)
  check.close(2 ^ x, G.rpow, close)
  check.close(ml.maximum(x, y), G.maximum, close)
  check.close(x:minimum(0.25), G.minimum, close)
  check.close(x:atan2(y), G.atan2, close)
end

function T.test_comparisons_give_u8()
  check.equal(x:lt(y):dtype(), "u8")
  check.equal(x:lt(y):totable(), G.lt)
  check.equal(x:ge(0):totable(), G.ge)
  check.close(ml.where(x:gt(y), x, y), G.where, close)
  check.close(x:clamp(-0.5, 0.5), G.clamp, close)
  check.close(x:clamp { min = -0.5, max = 0.5 }, G.clamp, close)
end

function T.test_functions_of_one_operand()
  for name, wanted in pairs(G.unary) do
    check.close(x[name](x), wanted, { rtol = 1e-13, atol = 1e-15 })
    check.close(ml[name](x), wanted, { rtol = 1e-13, atol = 1e-15 })
  end
  for name, wanted in pairs(G.unary_positive) do
    check.close(positive[name](positive), wanted, close)
  end
  check.close((x / 4):asin(), G.asin, close)
  check.close((x / 4):acos(), G.acos, close)
  check.close(-x, G.unary.neg, close)
end

function T.test_functions_of_one_operand_in_f32()
  local x32 = x:to "f32"
  for name, wanted in pairs(G.unary) do
    check.close(x32[name](x32), wanted, { rtol = 2e-6, atol = 1e-6 }) -- inputs are rounded to f32
  end
end

function T.test_reductions()
  check.close(cube:sum(), G.sum, close)
  check.equal(cube:sum():rank(), 0)
  check.close(cube:sum(1), G.sum_1, close)
  check.close(cube:sum(-2), G.sum_2, close)
  check.close(cube:sum { 1, 3 }, G.sum_13, close)
  check.close(cube:sum { 1, 3, keepdims = true }, G.sum_keep, close)
  check.equal(cube:sum { 1, 3, keepdims = true }:shape(), { 1, 3, 1 })
  check.equal(cube:sum({ 1, 3 }, { keepdims = true }):shape(), { 1, 3, 1 })
  check.equal(cube:sum { keepdims = true }:shape(), { 1, 1, 1 })
  check.close(cube:mean { 1, 2 }, G.mean_12, close)
  check.close(cube:prod(3), G.prod_3, close)
  check.close(cube:max(2), G.max_2, close)
  check.close(cube:min(3), G.min_3, close)
  check.close(cube:logsumexp(3), G.logsumexp_3, close)
  check.close(cube:norm(), G.norm, close)
  check.close(cube:norm(1), G.norm_1, close)
  check.close(cube:var(), G.var, close)
  check.close(cube:var(2, { ddof = 1 }), G.var_2_ddof, close)
  check.close(cube:std(3), G.std_3, close)
  check.close(cube:cumsum(2), G.cumsum_2, close)
  check.close(cube:softmax(2), G.softmax_2, close)
  check.close(cube:log_softmax(2), G.log_softmax_2, close)
  check.equal(x:gt(1):any(1):totable(), G.any_1)
  check.equal(x:gt(-1):all(2):totable(), G.all_2)
end

function T.test_positions_of_extremes_count_from_one()
  check.equal(cube:argmax():item(), G.argmax)
  check.equal(cube:argmax(2):totable(), G.argmax_2)
  check.equal(cube:argmin(3):totable(), G.argmin_3)
  check.equal(cube:argmin(3):dtype(), "index")
  check.equal(cube:argmax(2, { keepdims = true }):shape(), { 2, 1, 4 })
  check.equal(ties:argmax():item(), G.argmax_ties)
end

function T.test_order()
  local values, indices = cube:sort(2)
  check.close(values, G.sort_2, close)
  check.equal(indices:totable(), G.argsort_2)
  check.equal(cube:argsort(2):totable(), G.argsort_2)
  check.equal(ties:argsort():totable(), G.sort_ties)
  check.equal(ties:argsort(1, { descending = true }):totable(), G.sort_ties_descending)
  local top, at = ties:topk(2)
  check.equal(top:totable(), { 3, 3 })
  check.equal(at:totable(), { 1, 3 })
end

function T.test_gather_and_scatter()
  check.close(x:gather(ids, 1), G.gather_1, close)
  check.close(x:gather(G.ids, 1), G.gather_1, close)
  check.close(x:index_select(picks, 1), G.take_1, close)
  check.close(x:index_select(G.picks, 1), G.take_1, close)
  check.close(x:index_select(ids, 2), G.take_2, close)
  check.close(x:scatter(ids[{ { 1, 1 } }], 9, 1), G.scatter_1, close)
  check.close(x:scatter_add(ids, y[{ { 1, 2 } }], { axis = 1 }), G.scatter_add_1, close)
  check.close(ml.one_hot(picks, 4), G.one_hot, close)
end

function T.test_joining_and_triangles()
  check.close(ml.concat({ x, y, column }, 2), G.concat_2, close)
  check.close(ml.concat({ x, y, column }, { axis = -1 }), G.concat_2, close)
  check.close(ml.stack({ x, y }, 2), G.stack_2, close)
  check.close(x:tril { diagonal = 1 }, G.tril, close)
  check.close(x:triu(-1), G.triu, close)
  check.close(x[{ {}, { 1, 3 } }]:diagonal(), G.diagonal, close)
  local parts = ml.split(x, 2, 2)
  check.equal(#parts, 2)
  check.equal(ml.concat(parts, 2), x)
  check.equal(ml.concat(x:split({ 1, 3 }, { axis = 2 }), 2), x)
end

function T.test_products()
  check.close(x:matmul(y:transpose()), G.matmul, close)
  check.close(cube:matmul(cube:transpose(2, 3)), G.matmul_batched, close)
  check.close(cube:matmul(row), G.matmul_broadcast, close)
  check.close(row:matmul(row), G.matmul_vector, close)
end

function T.test_views()
  check.close(cube:permute { 3, 1, 2 }, G.permute, close)
  check.close(cube[{ 2, { 3, 1, -1 }, { 2, 4, 2 } }], G.slice, close)
  local z = x:clone()
  z[{ { 2, 3 }, 1 }] = -1
  z[1] = row
  check.close(z, G.slice_assign, close)
  check.close(ml.linspace(-1, 2, 7), G.linspace, close)
end

return T
