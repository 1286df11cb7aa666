-- ml.scope and ml.keep: what is released, what survives, and what is said about it.
local ml = require "moonlab"
local check = require "check"
local T = {}

function T.test_temporaries_are_released_at_once()
  collectgarbage()
  collectgarbage "stop"
  local base = ml.live_bytes()
  local leaked
  local sum = ml.scope(function(x)
    leaked = ml.ones { 1000 } + x
    return (leaked * 2):sum()
  end, 1)
  check.equal(sum:item(), 4000.0)
  check.is_true(leaked:is_released())
  check.is_true(ml.live_bytes() - base <= 256)
  collectgarbage "restart"
end

function T.test_a_released_tensor_names_its_scope()
  local leaked
  ml.scope(function() leaked = ml.ones { 2 } end)
  local text = check.raises("return it or ml.keep it", function() return leaked + 1 end)
  check.is_true(text:find("scope at .*test_scope.lua:%d+ ended") ~= nil)
  check.raises("return it or ml.keep it", function() return ml.concat { ml.ones { 2 }, leaked } end)
end

function T.test_results_survive_through_tables_and_cycles()
  local inner = { list = {} }
  inner.self = inner
  local a, t = ml.scope(function()
    for i = 1, 3 do inner.list[i] = ml.full({ 2 }, i) end
    inner[ml.ones { 1 }] = true
    return ml.ones { 2 }, setmetatable({ deep = { { inner } } }, { __index = error })
  end)
  check.equal(a:totable(), { 1, 1 })
  check.equal(t.deep[1][1].list[3]:totable(), { 3, 3 })
  for key in pairs(inner) do
    if type(key) == "userdata" then check.equal(key:totable(), { 1 }) end
  end
end

function T.test_a_long_list_is_walked_without_recursion()
  local head = ml.scope(function()
    local node = { value = ml.tensor(0) }
    for _ = 1, 200000 do node = { next = node } end
    return node
  end)
  while head.next do head = head.next end
  check.equal(head.value:item(), 0.0)
end

function T.test_survivors_pass_to_the_outer_scope()
  local kept, inner_result
  ml.scope(function()
    inner_result = ml.scope(function() return ml.ones { 2 } end)
    kept = ml.scope(function() return ml.keep(ml.ones { 3 }) end)
    check.equal(inner_result:totable(), { 1, 1 })
  end)
  check.is_true(inner_result:is_released())
  check.equal(kept:totable(), { 1, 1, 1 })
end

function T.test_keep_takes_tables()
  local held = {}
  ml.scope(function()
    held.a = ml.ones { 1 }
    held.b = { ml.zeros { 1 } }
    check.is_true(rawequal(ml.keep(held), held))
    held.c = ml.zeros { 1 }
  end)
  check.equal(held.a:item(), 1.0)
  check.equal(held.b[1]:item(), 0.0)
  check.is_true(held.c:is_released())
  check.raises("tensor or table of tensors expected, got number 3", ml.keep, 3)
end

function T.test_parameters_and_gradients_survive()
  local w, g
  ml.scope(function()
    w = ml.param(ml.ones { 2 })
    local loss = (w * 3):sum()
    loss:backward()
    g = w:grad()
  end)
  check.equal(w:totable(), { 1, 1 })
  check.equal(g:totable(), { 3, 3 })
  check.equal(w:grad():totable(), { 3, 3 })
end

function T.test_an_error_releases_and_goes_on()
  local leaked
  local marker = {}
  local ok, message = pcall(ml.scope, function()
    leaked = ml.ones { 2 }
    ml.keep(leaked)
    leaked = { leaked, ml.ones { 2 } }
    error(marker)
  end)
  check.is_false(ok)
  check.is_true(rawequal(message, marker))
  check.equal(leaked[1]:totable(), { 1, 1 })
  check.is_true(leaked[2]:is_released())
  -- the scope that failed is no longer open
  check.equal(ml.scope(function() return ml.ones { 1 } end):item(), 1.0)
end

function T.test_the_traceback_of_the_first_error_is_kept()
  local testing = require("moonlab.core").testing
  local function where_it_went_wrong() error "boom" end
  local ok, message = pcall(ml.scope, function() ml.scope(function() where_it_went_wrong() end) end)
  check.is_false(ok)
  check.is_true(testing.traceback(message):find("where_it_went_wrong", 1, true) ~= nil)
  check.is_nil(testing.traceback "another error")
end

function T.test_yielding_out_raises()
  local co = coroutine.wrap(function() ml.scope(function() coroutine.yield() end) end)
  check.raises("yield", co)
end

function T.test_a_coroutine_has_its_own_scopes()
  local outside
  ml.scope(function()
    local co = coroutine.wrap(function()
      outside = ml.ones { 2 } -- no scope of this coroutine is open
      local inner
      ml.scope(function() inner = ml.ones { 2 } end)
      check.is_true(inner:is_released())
      coroutine.yield()
      outside = outside + 1
    end)
    co()
    local here = ml.ones { 1 }
    co()
    check.equal(here:item(), 1.0)
  end)
  check.equal(outside:totable(), { 2, 2 })
end

function T.test_collection_inside_a_scope()
  ml.scope(function()
    for _ = 1, 100 do local _ = ml.ones { 10 } + 1 end
    collectgarbage()
    local a = ml.ones { 10 }
    collectgarbage()
    check.equal(a:sum():item(), 10.0)
  end)
end

function T.test_wrong_arguments()
  check.raises("function expected", ml.scope)
  check.raises("bad argument #1 to 'scope' (function expected, got number 3)", ml.scope, 3)
  check.raises("bad argument #1 to 'no_grad' (function expected, got table)", ml.no_grad, {})
  check.raises("bad argument #1 to 'value_and_grad' (function expected, got string",
    ml.value_and_grad, "f")
  check.equal(ml.scope(setmetatable({}, { __call = function(_, x) return x end }), 3), 3)
end

function T.test_many_scopes_hold_no_memory()
  collectgarbage()
  local base = ml.live_bytes()
  local last = {}
  for i = 1, 1000 do last[1] = ml.scope(function() return ml.full({ 100 }, i):sum() end) end
  check.equal(last[1]:item(), 100000.0)
  last[1] = nil
  collectgarbage()
  check.equal(ml.live_bytes(), base)
end

function T.test_no_leak()
  check.no_leak(function()
    local t = ml.scope(function()
      local a = ml.ones { 3 }
      return { a + 1, { a * 2 } }
    end)
    ml.keep(t)
  end)
end

function T.test_lua_allocation_failures_leave_no_scope_open()
  local testing = require("moonlab.core").testing
  local function work() return ml.scope(function() return { ml.ones { 3 } + 1 } end) end
  work()
  collectgarbage()
  local base = ml.live_bytes()
  for n = 1, 60 do
    testing.inject_lua_failure(n)
    pcall(work)
    testing.inject_lua_failure(0)
    collectgarbage()
    check.equal(ml.live_bytes(), base)
  end
  local leaked
  ml.scope(function() leaked = ml.ones { 1 } end)
  check.is_true(leaked:is_released())
end

return T
