-- Making tensors: values, dtypes, shapes, and what wrong input gets.
local ml = require "moonlab"
local check = require "check"
local T = {}

function T.test_nested_tables()
  local t = ml.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
  check.equal(t:shape(), { 2, 3 })
  check.equal(t:dtype(), "f64")
  check.equal(t:totable(), { { 1, 2, 3 }, { 4, 5, 6 } })
  check.equal(#t, 2)
  check.equal(t:size(-1), 3)
  check.equal(t:rank(), 2)
  check.equal(t:numel(), 6)
  check.equal(ml.tensor(3):rank(), 0)
  check.equal(ml.tensor(3):item(), 3.0)
  check.equal(ml.tensor({}):shape(), { 0 })
  check.equal(ml.tensor({ { 1 }, { 2 } }, { dtype = "f32" }):dtype(), "f32")
end

function T.test_dtypes()
  check.equal(ml.f32 { 0.1 }:item() == 0.1, false)
  check.equal(ml.f64 { 0.1 }:item(), 0.1)
  check.equal(math.type(ml.index { 4 }:item()), "integer")
  check.equal(ml.index { 4, 1 }:totable(), { 4, 1 })
  check.equal(ml.u8 { 0, 255 }:totable(), { 0, 255 })
  check.equal(ml.tensor { true, false }:dtype(), "u8")
  check.equal(ml.tensor { true, false }:totable(), { 1, 0 })
  check.equal(ml.tensor(ml.f32 { 2 }):dtype(), "f32")
end

function T.test_a_copy_is_its_own()
  local a = ml.f64 { 1, 2 }
  local b = ml.tensor(a)
  b[1] = 7
  check.equal(a:totable(), { 1.0, 2.0 })
end

function T.test_filled()
  check.equal(ml.zeros { 2, 2 }:totable(), { { 0, 0 }, { 0, 0 } })
  check.equal(ml.zeros { 2, dtype = "f32" }:dtype(), "f32")
  check.equal(ml.zeros({ 2 }, { dtype = "f32" }):dtype(), "f32")
  check.equal(ml.ones(3):totable(), { 1, 1, 1 })
  check.equal(ml.ones(2, 1):totable(), { { 1 }, { 1 } })
  check.equal(ml.full({ 2 }, 7):totable(), { 7, 7 })
  check.equal(ml.full({ 2, value = 7, dtype = "u8" }):totable(), { 7, 7 })
  check.equal(ml.full({ 2 }, 7, { dtype = "index" }):totable(), { 7, 7 })
  check.equal(ml.zeros {}:rank(), 0)
  check.equal(ml.zeros { 0, 3 }:numel(), 0)
  check.equal(ml.eye(2):totable(), { { 1, 0 }, { 0, 1 } })
  check.equal(ml.eye(2, 3):shape(), { 2, 3 })
  check.equal(ml.zeros_like(ml.f32 { 1, 2 }):totable(), { 0, 0 })
  check.equal(ml.ones_like(ml.u8 { 3 }):dtype(), "u8")
  check.equal(ml.full_like(ml.f64 { 3 }, 5):totable(), { 5 })
end

function T.test_ranges_include_both_ends()
  check.equal(ml.arange(3):totable(), { 1, 2, 3 })
  check.equal(ml.arange(2, 5):totable(), { 2, 3, 4, 5 })
  check.equal(ml.arange(0, 1, { step = 0.25 }):totable(), { 0, 0.25, 0.5, 0.75, 1 })
  check.equal(ml.arange(0, 1, { step = 0.1 }):numel(), 11)
  check.equal(ml.arange(3, 1, { step = -1 }):totable(), { 3, 2, 1 })
  check.equal(ml.arange(3, 1):numel(), 0)
  check.equal(ml.arange(2, 4, { dtype = "index" }):totable(), { 2, 3, 4 })
  check.equal(ml.linspace(0, 1, { n = 3 }):totable(), { 0, 0.5, 1 })
  check.equal(ml.linspace(0, 1, { n = 3, dtype = "f32" }):dtype(), "f32")
end

function T.test_wrong_values_name_the_entry()
  check.raises("row [2] has 1 entries, its neighbours have 2", ml.tensor, { { 1, 2 }, { 3 } })
  check.raises("entry [2][1] is string \"a\", wanted a number", ml.tensor, { { 1 }, { "a" } })
  check.raises("entry [2] is number 3, wanted a table", ml.tensor, { { 1 }, 3 })
  check.raises("entry [1] is number 0, wanted an integer >= 1", ml.index, { 0 })
  check.raises("entry [1] is number 1.5, wanted an integer >= 1", ml.index, { 1.5 })
  check.raises("entry [2] is number 256", ml.u8, { 1, 256 })
  check.raises("ml.stack joins a list of tensors", ml.tensor, { ml.f64 { 1 } })
  check.raises("bad argument #1 to 'f64'", ml.f64, "x")
  local cyclic = {}
  cyclic[1] = cyclic
  check.raises("tables nest deeper than 8", ml.tensor, cyclic)
end

function T.test_wrong_options_suggest()
  check.raises("unknown option 'dtpye'; did you mean 'dtype'?", ml.zeros, { 2, dtpye = "f32" })
  check.raises("unknown option 'zzzzzz'; options are dtype", ml.ones, 2, { zzzzzz = 1 })
  check.raises("option 'dtype': unknown choice \"f33\"; did you mean \"f32\"?", ml.zeros,
    { 2, dtype = "f33" })
  check.raises("size 2 is -1, wanted >= 0", ml.zeros, { 2, -1 })
  check.raises("size 1 is number 2.5, wanted an integer", ml.zeros, { 2.5 })
  check.raises("at most 8 axes", ml.zeros, { 1, 1, 1, 1, 1, 1, 1, 1, 1 })
  check.raises("too many elements", ml.zeros, { 1 << 40, 1 << 40 })
  check.raises("three or more sizes go in a table", ml.zeros, 2, 3, 4)
  check.raises("step is 0", ml.arange, 1, 2, { step = 0 })
  check.raises("wanted a finite number", ml.arange, 1, 2, { step = 0 / 0 })
  check.raises("n is -1", ml.linspace, 0, 1, -1)
end

function T.test_too_much_memory_is_an_error()
  check.raises("out of memory", ml.zeros, { 1 << 40 })
  check.equal(ml.zeros { 2 }:totable(), { 0, 0 })
end

function T.test_no_leak()
  check.no_leak(function()
    local t = ml.tensor { { 1, 2 }, { 3, 4 } }
    ml.zeros { 3 }
    ml.eye(3)
    ml.arange(4)
    ml.linspace(0, 1, 3)
    ml.f32(t)
  end)
end

function T.test_options_in_a_table_of_values()
  check.equal(ml.tensor({ 1, 2, dtype = "f32" }):dtype(), "f32")
  check.raises("key 'foo' in a table of values", ml.f64, { 1, 2, foo = 3 })
  check.raises("key 'x'", ml.tensor, { x = 1 })
  check.raises("counts from 1", ml.zeros, { 2, dtype = "index" })
end

return T
