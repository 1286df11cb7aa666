-- Parameters, backward, value_and_grad and no_grad from Lua.
local ml = require "moonlab"
local check = require "check"
local T = {}

function T.test_gradient_of_a_polynomial() -- analytic
  local w = ml.param(ml.f64 { 1, 2, 3 })
  check.is_nil(w:grad())
  local loss = (w * w * 2 + w):sum()
  loss:backward()
  check.close(w:grad(), { 5, 9, 13 }, { rtol = 1e-15 })
end

function T.test_gradients_accumulate()
  local w = ml.param(ml.f64 { 1, 2 })
  for _ = 1, 3 do (w * 2):sum():backward() end
  check.equal(w:grad():totable(), { 6, 6 })
  w:zero_grad()
  check.equal(w:grad():totable(), { 0, 0 })
  w:set_grad(ml.f64 { 1, 1 })
  check.equal(w:grad():totable(), { 1, 1 })
  w:set_grad(nil)
  check.is_nil(w:grad())
end

function T.test_a_parameter_shares_storage()
  local t = ml.f64 { 1, 2 }
  local w = ml.param(t)
  t[1] = 5
  check.equal(w:totable(), { 5, 2 })
  check.is_true(w:is_param())
  check.is_false(t:is_param())
  check.is_true((w + 1):on_tape())
  check.is_false(w:detach():on_tape())
end

function T.test_seed_and_retain()
  local w = ml.param(ml.f64 { 1, 2 })
  local y = w ^ 2
  check.raises("one element", function() y:backward() end)
  y:backward(ml.f64 { 1, 10 }, { retain = true })
  check.close(w:grad(), { 2, 40 })
  y:backward(ml.f64 { 1, 10 })
  check.close(w:grad(), { 4, 80 })
  check.raises("second backward", function() y:backward(ml.f64 { 1, 10 }) end)
  local loss = (w ^ 2):sum()
  loss:backward { retain = true }
  loss:backward()
  check.raises("unknown option 'retian'; did you mean 'retain'?",
    function() loss:backward(nil, { retian = true }) end)
  check.raises("the seed is f64 [3], y f64 [2]", function() (w * 1):backward(ml.zeros { 3 }) end)
end

function T.test_nothing_to_go_back_through()
  check.raises("depends on no parameter", function() ml.f64({ 1 }):sum():backward() end)
  check.raises("wanted a parameter (ml.param), got a plain f64 [1]",
    function() ml.f64({ 1 }):grad() end)
  check.raises("f32 or f64 tensor expected", ml.param, ml.index { 1 })
end

function T.test_change_in_place_of_a_saved_tensor_raises()
  local w, x = ml.param(ml.f64 { 1, 2 }), ml.f64 { 3, 4 }
  local loss = (w * x):sum()
  x[1] = 0
  check.raises("in place", function() loss:backward() end)
end

function T.test_what_may_change_in_place()
  local w = ml.param(ml.f64 { 1, 2 })
  check.raises("no_grad", function() w:add_(1) end)
  check.raises("no_grad", function() w[1] = 2 end)
  ml.no_grad(function() w:copy_ { 5, 6 } end)
  check.equal(w:totable(), { 5, 6 })
  local y = w * 2
  check.raises("on the tape", function() y:zero_() end)
  local plain = ml.zeros { 2 }
  check.raises("gradient would be lost", function() plain:copy_(y) end)
  check.raises("gradient would be lost", function() plain[1] = y[{ 1 }] end)
  plain:copy_(y:detach())
  check.equal(plain:totable(), { 10, 12 })
end

function T.test_selections_are_differentiable()
  local w = ml.param(ml.f64 { { 1, 2, 3 }, { 4, 5, 6 } })
  local loss = (w[{ {}, { 1, 3, 2 } }] * w[1][{ 1 }]):sum()
  loss:backward()
  check.close(w:grad(), { { 1 + 14, 0, 1 }, { 1, 0, 1 } })
  local v = ml.param(ml.f64 { 1, 2 })
  check.raises("would lose its gradient", function() return v[1] end)
  check.equal(v:detach()[1], 1.0)
  v[{ 2 }]:backward()
  check.equal(v:grad():totable(), { 0, 1 })
end

function T.test_no_grad()
  local w = ml.param(ml.f64 { 1 })
  local a, b = ml.no_grad(function(x, y) return w * x, y end, 2, "y")
  check.is_false(a:on_tape())
  check.equal(b, "y")
  check.is_true(ml.grad_enabled())
  check.raises("boom", ml.no_grad, function() error "boom" end)
  check.is_true(ml.grad_enabled())
  check.raises("function expected", ml.no_grad)
  local co = coroutine.wrap(function() ml.no_grad(coroutine.yield) end)
  check.raises("yield", co)
  check.is_true(ml.grad_enabled())
end

function T.test_value_and_grad_of_a_table()
  local params = { a = ml.f64 { 1, 2 }, b = { c = ml.f64(3) }, n = 4 }
  local f = ml.value_and_grad(function(p, x, extra)
    check.equal(p.n, 4)
    local y = (p.a * x):sum() * p.b.c
    return y, p.a * 2, { kept = p.b.c + 1, text = extra }
  end)
  local value, grads, aux, more = f(params, 10, "more")
  check.equal(value:item(), 90.0)
  check.is_false(value:on_tape())
  check.equal(grads.a:totable(), { 30, 30 })
  check.equal(grads.b.c:item(), 30.0)
  check.is_nil(grads.n)
  check.equal(aux:totable(), { 2, 4 })
  check.is_false(aux:on_tape())
  check.equal(more.kept:item(), 4.0)
  check.equal(more.text, "more")
  check.is_false(params.a:is_param())
end

function T.test_value_and_grad_of_parameters_accumulates_nothing()
  local w, v = ml.param(ml.f64 { 1, 2 }), ml.param(ml.f64 { 5 })
  local value, grads = ml.value_and_grad(function() return (w * w):sum() + v:sum() end) { w = w }
  check.equal(value:item(), 10.0)
  check.equal(grads.w:totable(), { 2, 4 })
  check.is_nil(w:grad())
  check.is_nil(v:grad())
end

function T.test_value_and_grad_of_one_tensor()
  local g = ml.value_and_grad(function(x) return (x ^ 3):sum() end)
  local value, grad = g(ml.f32 { 1, 2 })
  check.equal(value:item(), 9.0)
  check.equal(grad:totable(), { 3, 12 })
  check.equal(grad:dtype(), "f32")
  local _, zero = ml.value_and_grad(function() return ml.tensor(1) end)(ml.f64 { 1, 2 })
  check.equal(zero:totable(), { 0, 0 })
  local _, inside = ml.no_grad(function() return g(ml.f64 { 2 }) end)
  check.equal(inside:totable(), { 12 })
end

function T.test_value_and_grad_errors()
  local w = ml.f64 { 1, 2 }
  check.raises("returned f64 [2], wanted a tensor of one element first",
    ml.value_and_grad(function(x) return x end), w)
  check.raises("returned nil, wanted", ml.value_and_grad(function() end), w)
  check.raises("boom", ml.value_and_grad(function() error "boom" end), w)
  check.raises("tensor or table of tensors expected", ml.value_and_grad(function() end), 3)
  check.raises("hold no f32 or f64 tensor", ml.value_and_grad(function() end), {})
  local cyclic = {}
  cyclic.self = cyclic
  check.raises("nest deeper", ml.value_and_grad(function() end), cyclic)
  check.is_true(ml.grad_enabled())
end

function T.test_a_long_graph_is_dropped_without_recursion()
  local w = ml.param(ml.f64 { 1 })
  local y = w
  for _ = 1, 100000 do y = y + 1 end
  y:sum():backward()
  check.equal(w:grad():totable(), { 1 })
  y = nil -- luacheck: ignore 311
  collectgarbage()
end

function T.test_cancel_stops_backward()
  local core = require "moonlab.core"
  local w = ml.param(ml.ones { 4 })
  local y = (w * 2):sum()
  core.testing.cancel()
  check.raises("interrupted", function() y:backward() end)
  check.is_false(core.testing.cancelled()) -- one press, one error
end

function T.test_no_leak()
  local data = ml.ones { 4, 3 }
  check.no_leak(function()
    local w = ml.param(ml.ones { 3, 2 })
    local loss = data:matmul(w):tanh():sum()
    loss:backward()
    w:grad()
    ml.value_and_grad(function(p)
      return data:matmul(p.w):exp():mean(), { p.w * 2 }
    end) { w = ml.ones { 3, 2 } }
  end)
end

return T
