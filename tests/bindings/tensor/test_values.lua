-- Properties of tensors as values: dtype rules, NaN, in-place operations, comparison, printing,
-- errors.
local ml = require "moonlab"
local check = require "check"
local T = {}
local nan, inf = 0 / 0, math.huge

function T.test_dtypes_never_mix()
  check.raises("f64 [2] and f32 [2]", function() return ml.f64 { 1, 2 } + ml.f32 { 1, 2 } end)
  check.raises("'matmul'", function() return ml.f64({ 1 }):matmul(ml.f32 { 1 }) end)
  check.raises("f32", function() return ml.where(ml.u8 { 1 }, ml.f32 { 1 }, ml.f64 { 2 }) end)
  check.equal((ml.f32 { 1 } + 1):dtype(), "f32")
  check.equal((ml.f64 { 1 } + 1):dtype(), "f64")
end

function T.test_shapes_that_disagree_name_both()
  check.raises("f64 [2x3] and f64 [2]", function() return ml.zeros { 2, 3 } + ml.zeros { 2 } end)
  check.raises("bad argument", function() return ml.zeros({ 2, 3 }):matmul(ml.zeros { 2, 3 }) end)
  check.raises("tensor or number expected, got string", function() return ml.zeros { 2 } + "x" end)
  check.raises("to 'matmul'", function() return ml.zeros({ 2, 3 }):matmul(3) end)
end

function T.test_nan_and_infinity()
  local t = ml.f64 { nan, 1, inf, -inf }
  check.equal(t:isnan():totable(), { 1, 0, 0, 0 })
  check.equal(t:isinf():totable(), { 0, 0, 1, 1 })
  check.equal(t:isfinite():totable(), { 0, 1, 0, 0 })
  check.is_true(t:max():item() ~= t:max():item())
  check.is_true(t:sum():item() ~= t:sum():item())
  check.equal(t:argmax():item(), 1)
  check.equal(ml.f64({ 1000, 1000 }):logsumexp():item(), 1000 + math.log(2))
  check.equal(ml.f64({ -1000, 0 }):softmax():totable(), { 0, 1 })
  check.equal(t:eq(t):totable(), { 0, 1, 1, 1 })
  check.is_true(t:equal(t:clone()))
  check.is_false(t:allclose(t))
  check.is_true(t:allclose(t, { equal_nan = true }))
end

function T.test_nan_is_the_largest_in_every_order()
  local t = ml.f64 { 3, nan, 1 }
  check.equal(t:argsort():totable(), { 3, 1, 2 })
  check.equal(t:argsort(1, { descending = true }):totable(), { 2, 1, 3 })
  local _, at = t:topk(2)
  check.equal(at:totable(), { 2, 1 })
  check.equal(at[1], t:argmax():item())
  local _, first = ml.f32({ 3, nan, 1 }):topk(1)
  check.equal(first:totable(), { 2 })
end

function T.test_norms_whose_squares_leave_the_range() -- analytic: a 3-4-5 triangle
  for _, unit in ipairs { 1e200, 1e-200, 2 ^ -1060, 2 ^ 1020 } do
    local x = ml.f64 { { 3 * unit, 4 * unit }, { 3, 4 }, { 0, 0 }, { inf, 1 }, { nan, 1 } }
    check.close(x:norm(2), { 5 * unit, 5, 0, inf, nan }, { rtol = 4e-16 })
    check.close(x[{ 1 }]:norm():item(), 5 * unit, { rtol = 4e-16 })
  end
  local p = ml.param(ml.f64 { 3e200, 4e200 })
  p:norm():backward()
  check.close(p:grad(), { 0.6, 0.8 }, { rtol = 1e-15 })
end

function T.test_a_broadcast_is_reduced_without_being_written_out()
  local before = ml.memory().peak
  local n = 2 ^ 40
  local x = ml.f64({ 0.5, 2 }):reshape({ 2, 1 }):broadcast_to { 2, n }
  check.equal(x:sum():item(), 2.5 * n)
  check.equal(x:sum(2):totable(), { 0.5 * n, 2 * n })
  check.equal(x:mean():item(), 1.25)
  check.equal(x:max():item(), 2)
  check.equal(x:min(2):totable(), { 0.5, 2 })
  check.equal(x:prod(2):totable(), { 0, inf })
  check.close(x:norm(2), { 0.5 * 2 ^ 20, 2 ^ 21 })
  check.close(x:logsumexp(2), { 0.5 + 40 * math.log(2), 2 + 40 * math.log(2) })
  check.close(x:var({ ddof = 0 }):item(), 0.5625)
  check.equal(ml.tensor({ true, false }):reshape({ 2, 1 }):broadcast_to({ 2, n }):sum():item(), n)
  check.is_true(ml.memory().peak - before < 2 ^ 20)
end

function T.test_means_of_equal_numbers_are_that_number() -- 49 times 1 / 49 is not 1
  for _, dtype in ipairs { "f64", "f32", "u8" } do
    check.equal(ml.ones({ 49 }, { dtype = dtype }):mean():item(), 1)
    check.equal(ml.ones({ 49, 3 }, { dtype = dtype }):mean(1):totable(), { 1, 1, 1 })
  end
end

function T.test_counting_a_mask()
  local mask = ml.f64({ { 1, -1, 2 }, { -3, 4, 5 } }):gt(0)
  check.equal(mask:sum():item(), 4)
  check.equal(mask:sum(2):totable(), { 2, 2 })
  check.close(mask:mean():item(), 4 / 6, { rtol = 1e-15 })
  check.equal(mask:logical_not():totable(), { { 0, 1, 0 }, { 1, 0, 0 } })
  check.equal(mask:logical_and(ml.u8 { 1, 0, 0 }):totable(), { { 1, 0, 0 }, { 0, 0, 0 } })
end

function T.test_in_place()
  local t = ml.f64 { 1, 2 }
  local same = t:add_(1):mul_(ml.f64 { 2, 3 }):sub_(1):div_(2)
  check.is_true(rawequal(same, t))
  check.equal(t:totable(), { 1.5, 4 })
  t:add_(ml.f64 { 1, 1 }, { alpha = -0.5 })
  check.equal(t:totable(), { 1, 3.5 })
  check.equal(t:fill_(2):totable(), { 2, 2 })
  check.equal(t:zero_():totable(), { 0, 0 })
  check.equal(ml.zeros({ 2, 2 }):copy_(ml.f64 { 1, 2 }):totable(), { { 1, 2 }, { 1, 2 } })
  check.equal(t:copy_({ 3, 4 }):totable(), { 3, 4 })
  check.raises("dtypes", function() t:copy_(ml.f32 { 1, 2 }) end)
  check.raises("f64 [2] cannot take f64 [3]", function() t:copy_(ml.f64 { 1, 2, 3 }) end)
  check.raises("option 'alpha'", function() t:mul_(2, { alpha = 1 }) end)
  check.raises("broadcast view", function() ml.f64({ 1 }):broadcast_to({ 3 }):fill_(1) end)
end

function T.test_equality_is_identity()
  local a = ml.f64 { 1 }
  check.is_true(a == a)
  check.is_false(a == ml.f64 { 1 })
  check.is_true(a:equal(ml.f64 { 1 }))
  check.is_false(a:equal(ml.f32 { 1 }))
  check.is_false(a:equal(ml.f64 { 1, 1 }))
  check.is_true(a:allclose(ml.f64 { 1 + 1e-9 }))
  check.is_false(a:allclose(ml.f64 { 1 + 1e-9 }, { rtol = 0, atol = 0 }))
  check.raises("rtol", function() a:allclose(a, { rtol = nan }) end)
end

function T.test_shapes_change()
  local t = ml.arange(6)
  check.equal(t:reshape { 2, 3 }:shape(), { 2, 3 })
  check.equal(t:reshape(3, -1):shape(), { 3, 2 })
  check.equal(t:reshape { 2, 3 }:flatten():shape(), { 6 })
  check.equal(ml.zeros({ 2, 3, 4 }):flatten(2):shape(), { 2, 12 })
  check.equal(t:unsqueeze(1):shape(), { 1, 6 })
  check.equal(t:unsqueeze(-1):shape(), { 6, 1 })
  check.equal(t:unsqueeze(-1):squeeze():shape(), { 6 })
  check.equal(ml.zeros({ 1, 2, 1 }):squeeze(3):shape(), { 1, 2 })
  check.equal(t:broadcast_to({ 2, 6 }):shape(), { 2, 6 })
  check.equal(t:narrow(1, { 2, -2 }):totable(), { 2, 3, 4, 5 })
  check.is_false(ml.zeros({ 2, 3 }):transpose():is_contiguous())
  check.is_true(ml.zeros({ 2, 3 }):transpose():contiguous():is_contiguous())
  check.raises("reshape", function() t:reshape { 4 } end)
  check.raises("only one size may be -1", function() t:reshape { -1, -1 } end)
  check.raises("axis 1 is named twice", function() ml.zeros({ 2, 2 }):permute { 1, 1 } end)
  check.raises("axis is 3, wanted 1..2 or -2..-1", function() ml.zeros({ 2, 2 }):sum(3) end)
  check.raises("axis is 0", function() ml.zeros({ 2, 2 }):sum(0) end)
  check.raises("an axis is named twice", function() ml.zeros({ 2, 2 }):sum { 1, -2 } end)
  check.raises("axis 1 has size 6, wanted 1", function() t:squeeze(1) end)
  check.raises("4 equal parts of axis 1, which has size 6", function() t:split(4) end)
  check.raises("equal parts of axis 1, which has size 0", ml.split, ml.zeros { 0 }, 1 << 40)
  check.raises("the sizes sum to 5, axis 1 has size 6", function() t:split { 2, 3 } end)
  check.raises("k is 7, wanted 1..6", function() t:topk(7) end)
  check.raises("position is 7, wanted 1..6", function() t:index_select({ 7 }, 1) end)
  check.raises("position is 5, wanted 1..3", function() ml.one_hot({ 1, 5 }, 3) end)
  check.raises("list of tensors is empty", function() ml.concat {} end)
  check.raises("entry 2 is number 3, wanted a tensor", function() ml.stack { t, 3 } end)
end

function T.test_printing()
  check.equal(tostring(ml.f64 { { 1, 2 }, { 3, 4.5 } }), "f64 [2x2]\n    1    2\n    3  4.5")
  check.equal(tostring(ml.tensor(2)), "f64 []\n  2")
  check.equal(tostring(ml.f64 { nan, inf, -inf }), "f64 [3]\n   nan   inf  -inf")
  check.equal(tostring(ml.index { 1, 20 }), "index [2]\n   1  20")
  check.equal(tostring(ml.zeros { 0 }), "f64 [0]")
  local wide = tostring(ml.arange(600):reshape { 20, 30 })
  check.is_true(wide:find("...", 1, true) ~= nil)
  for rank = 1, 8 do
    local sizes = {}
    for k = 1, rank do sizes[k] = 4 end
    local text = tostring(ml.rng(rank):normal(sizes) * 1e-8)
    check.is_true(#text < 2000)
  end
  check.equal(ml.f64({ 1 / 3 }):format { digits = 12 }, "f64 [1]\n  0.333333333333\n")
  local t = ml.f64 { 1 }
  t:release()
  check.equal(tostring(t), "ml.tensor (released)")
end

function T.test_released_tensors_are_refused()
  local t = ml.f64 { 1, 2 }
  t:release()
  t:release()
  check.is_true(t:is_released())
  check.raises("this tensor was released", function() return t + 1 end)
  check.raises("this tensor was released", function() return ml.f64 { 1 } + t end)
  check.raises("this tensor was released", function() return t[1] end)
  check.raises("this tensor was released", function() return #t end)
  check.raises("this tensor was released", function() return t:sum() end)
  check.raises("this tensor was released", function() return ml.concat { t } end)
  local kept
  do
    local closing <close> = ml.f64 { 1 }
    kept = closing
  end
  check.is_true(kept:is_released())
end

function T.test_methods_take_tensors_only()
  check.raises("tensor expected, got table", ml.exp, {})
  check.raises("tensor expected, got nil", ml.sum, nil)
  check.raises("tensor expected, got FILE*", ml.sum, io.stdout)
  check.raises("tensor expected, got ml.rng", ml.sum, ml.rng(1))
  check.raises("bad argument #1 to 'transpose'", ml.transpose, ml.zeros { 2 })
end

function T.test_no_leak()
  check.no_leak(function()
    local a, b = ml.ones { 3, 4 }, ml.ones { 4 }
    local _ = (a + b):exp():sum(1):softmax()
    _ = a:matmul(b)
    _ = a:std(1)
    _ = a:argmax()
    a:sort(1)
    a:topk(2, 1)
    _ = ml.concat({ a, a }, 1)
    _ = ml.stack { a, a, a }
    a:split(2, 2)
    a:add_(b)
    _ = a:to("f32"):to "index"
    _ = a:index_select({ 1, 3 }, 1)
    _ = a:scatter_add(ml.index { { 1, 1, 1, 1 } }, 2, 1)
    _ = ml.where(a:gt(1), a, 0)
    _ = a:totable()
    _ = a:permute({ 2, 1 }):reshape { 12 }
    _ = tostring(a)
  end)
end

return T
