-- Random streams: same numbers for same seeds, independence of folds, moments, state.
local ml = require "moonlab"
local check = require "check"
local T = {}

function T.test_same_seed_same_numbers()
  check.equal(ml.rng(3):normal { 5 }, ml.rng(3):normal { 5 })
  check.is_false(ml.rng(3):normal({ 5 }):equal(ml.rng(4):normal { 5 }))
end

function T.test_drawing_advances_and_folding_does_not()
  local g = ml.rng(1)
  local a, b = g:uniform { 4 }, g:uniform { 4 }
  check.is_false(a:equal(b))
  local h = ml.rng(1)
  local folded = h:fold("x", 2):normal { 3 }
  check.equal(h:uniform { 4 }, a)
  check.equal(h:fold("x", 2):normal { 3 }, folded) -- never the counter
  check.is_false(h:fold("x", 3):normal({ 3 }):equal(folded))
  check.is_false(h:fold("y", 2):normal({ 3 }):equal(folded))
  check.equal(h:fold("x"):normal { 3 }, h:fold("x", 0):normal { 3 })
end

function T.test_state_round_trips_through_json()
  local g = ml.rng(-5)
  g:normal { 7 }
  local state = ml.json.decode(ml.json.encode(g:state()))
  local wanted = g:normal { 5 }
  check.equal(ml.rng(0):load_state(state):normal { 5 }, wanted)
  check.raises("lacks key or counter", function() g:load_state {} end)
  check.raises("unknown option 'kye'; did you mean 'key'?", function() g:load_state { kye = 1 } end)
  check.equal(g:clone():normal { 2 }, g:normal { 2 })
end

function T.test_shapes_and_dtypes()
  local g = ml.rng(1)
  check.equal(g:normal({ 2, 3 }):shape(), { 2, 3 })
  check.equal(g:normal { 2, dtype = "f32" }:dtype(), "f32")
  check.equal(g:normal({ 2 }, { dtype = "f32" }):dtype(), "f32")
  check.equal(math.type(g:normal()), "float")
  check.equal(math.type(g:integers(1, 6)), "integer")
  check.equal(g:integers(1, 6, { 3 }):dtype(), "index")
  check.equal(g:integers(0, 6, { 3 }):dtype(), "f64")
  check.equal(g:integers(0, 1, { 3, dtype = "u8" }):dtype(), "u8")
  check.raises("dtype is index, wanted f64 or f32", function() g:normal { 2, dtype = "index" } end)
  check.raises("std is -1", function() g:normal({ 2 }, { std = -1 }) end)
  check.raises("nan, wanted >= 0", function() g:normal({ 2 }, { std = 0 / 0 }) end)
  check.raises("lo <= hi", function() g:uniform({ 2 }, { lo = 1, hi = 0 }) end)
  check.raises("the range is 3..2", function() g:integers(3, 2, { 1 }) end)
  check.raises("dtype index counts from 1", function() g:integers(0, 2, { 1, dtype = "index" }) end)
  check.raises("integer expected, got number 1.5", ml.rng, 1.5)
  check.raises("ml.rng expected, got table", g.normal, {})
end

function T.test_moments() -- property; bounds are five standard errors
  local n = 40000
  local z = ml.rng(11):normal({ n }, { mean = 1, std = 2 })
  check.close(z:mean():item(), 1, { atol = 5 * 2 / 200 })
  check.close(z:std():item(), 2, { atol = 5 * 2 / 280 })
  local u = ml.rng(12):uniform({ n }, { lo = -1, hi = 3 })
  check.close(u:mean():item(), 1, { atol = 5 * 1.1547 / 200 })
  check.is_true(u:min():item() >= -1 and u:max():item() < 3)
  local t = ml.rng(13):truncated_normal({ n }, { std = 3 })
  check.close(t:std():item(), 3, { atol = 5 * 3 / 280 })
  check.is_true(t:abs():max():item() <= 2 * 3 / 0.87962566103423978)
  local k = ml.rng(14):integers(1, 3, { n })
  check.equal({ k:min():item(), k:max():item() }, { 1, 3 })
  for i = 1, 3 do check.close(k:eq(i):mean():item(), 1 / 3, { atol = 5 * 0.4714 / 200 }) end
end

function T.test_permutation()
  local p = ml.rng(5):permutation(100)
  check.equal(p:dtype(), "index")
  check.equal(p:sort():totable(), ml.arange(100):to("index"):totable())
  check.equal(ml.rng(1):permutation(0):numel(), 0)
  check.raises("n is -1", function() ml.rng(1):permutation(-1) end)
end

function T.test_threads_do_not_matter()
  local before = ml.threads()
  ml.threads(1)
  local a = ml.rng(2):normal { 100000, dtype = "f32" }
  ml.threads(2)
  local b = ml.rng(2):normal { 100000, dtype = "f32" }
  ml.threads(before)
  check.equal(a, b)
end

function T.test_no_leak()
  check.no_leak(function()
    local g = ml.rng(1)
    g:normal { 10 }
    g:integers(0, 3, { 5 })
    g:permutation(5)
  end)
end

return T
