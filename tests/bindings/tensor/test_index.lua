-- Selection, assignment, and dtype index at every crossing to Lua.
local ml = require "moonlab"
local check = require "check"
local T = {}

local function matrix() return ml.f64 { { 1, 2, 3 }, { 4, 5, 6 } } end

function T.test_numbers_pick()
  local v = ml.f64 { 10, 20, 30 }
  check.equal(v[1], 10.0)
  check.equal(v[-1], 30.0)
  check.equal(v[2.0], 20.0)
  check.equal(matrix()[2]:totable(), { 4, 5, 6 })
  check.equal(matrix()[-1][1], 4.0)
  check.equal(math.type(ml.index { 3 }[1]), "integer")
  check.equal(ml.index { 3 }[1], 3)
  check.equal(ml.u8 { 3 }[1], 3)
end

function T.test_one_past_the_end_is_nil_so_that_ipairs_ends()
  local sum = 0
  for _, value in ipairs(ml.f64 { 1, 2, 3 }) do sum = sum + value end
  check.equal(sum, 6.0)
  local rows = 0
  for _, r in ipairs(matrix()) do rows = rows + #r end
  check.equal(rows, 6)
  check.is_nil(ml.f64 { 1 }[2])
  check.raises("position is 3 on axis 1, wanted 1..1 or -1..-1",
    function() return ml.f64 { 1 }[3] end)
  check.raises("position is 0", function() return ml.f64 { 1 }[0] end)
  check.raises("position is -2", function() return ml.f64 { 1 }[-2] end)
  check.raises("position is 1.5, wanted an integer", function() return ml.f64 { 1 }[1.5] end)
end

function T.test_tables_select()
  local m = matrix()
  check.equal(m[{ {}, 2 }]:totable(), { 2, 5 })
  check.equal(m[{ {}, { 2, 3 } }]:totable(), { { 2, 3 }, { 5, 6 } })
  check.equal(m[{ {}, { -1, 1, -2 } }]:totable(), { { 3, 1 }, { 6, 4 } })
  check.equal(m[{ 2 }]:totable(), { 4, 5, 6 })
  check.equal(m[{ 2, 3 }]:rank(), 0)
  check.equal(m[{ 2, 3 }]:item(), 6.0)
  check.equal(m[{}]:shape(), { 2, 3 })
  check.equal(m[{ { 2, 1 } }]:shape(), { 0, 3 })
  check.equal(m[{ { 1, 2, 5 } }]:shape(), { 1, 3 })
  check.equal(ml.f64 { 1, 2 }[{ 2 }]:rank(), 0)
end

function T.test_selections_share_storage()
  local m = matrix()
  m[2][1] = 40
  m[{ {}, { 2, 3 } }]:fill_(0)
  check.equal(m:totable(), { { 1, 0, 0 }, { 40, 0, 0 } })
end

function T.test_assignment()
  local m = matrix()
  m[1] = 9
  check.equal(m:totable(), { { 9, 9, 9 }, { 4, 5, 6 } })
  m[{ {}, 1 }] = ml.f64 { -1, -2 }
  check.equal(m:totable(), { { -1, 9, 9 }, { -2, 5, 6 } })
  m[2] = { 7, 8, 9 }
  check.equal(m[2]:totable(), { 7, 8, 9 })
  m[{ {}, { 3, 1, -2 } }] = { { 1, 2 }, { 3, 4 } }
  check.equal(m:totable(), { { 2, 9, 1 }, { 4, 8, 3 } })
  local ids = ml.index { 1, 2 }
  ids[1] = 5
  check.equal(ids:totable(), { 5, 2 })
  local mask = ml.u8 { 0, 0 }
  mask[2] = true
  check.equal(mask:totable(), { 0, 1 })
end

function T.test_overlapping_assignment_reads_before_it_writes()
  local v = ml.f64 { 1, 2, 3, 4 }
  v[{ { 2, 4 } }] = v[{ { 1, 3 } }]
  check.equal(v:totable(), { 1, 1, 2, 3 })
end

function T.test_wrong_selections()
  local m = matrix()
  check.raises("the selection has 3 entries, the tensor f64 [2x3] has 2 axes",
    function() return m[{ 1, 1, 1 }] end)
  check.raises("position is 4 on axis 2, wanted 1..3 or -3..-1",
    function() return m[{ {}, { 1, 4 } }] end)
  check.raises("has step 0", function() return m[{ { 1, 2, 0 } }] end)
  check.raises("has 1 entries, wanted {first, last}", function() return m[{ { 1 } }] end)
  check.raises("the entry of axis 1 is string", function() return m[{ "a" }] end)
  check.raises("index_select", function() return m[ml.index { 1 }] end)
  check.raises("0-d tensor has no axis", function() return ml.tensor(1)[1] end)
  check.raises("the first axis has 2 entries", function() m[3] = 1 end)
  check.raises("has no field 'foo'", function() m.foo = 1 end)
  check.raises("f64 [3] cannot take f64 [2]", function() m[1] = ml.f64 { 1, 2 } end)
  check.raises("dtypes disagree", function() m[1] = ml.f32 { 1, 2, 3 } end)
  check.raises("number expected, got string", function() m[1] = "a" end)
  check.raises("wanted a whole number >= 1", function() ml.index { 1 }[1] = 0 end)
  check.is_nil(m.foo)
end

function T.test_dtype_index_counts_from_one_at_every_crossing()
  local ids = ml.index { 3, 1, 2 }
  check.equal(ids:eq(3):totable(), { 1, 0, 0 })
  check.equal(ids:lt(2):totable(), { 0, 1, 0 })
  check.equal(ids:to("f64"):totable(), { 3, 1, 2 })
  check.equal(ml.f32({ 3, 1 }):to("index"):totable(), { 3, 1 })
  check.equal(ml.full({ 1 }, 4, { dtype = "index" }):item(), 4)
  check.equal(ml.index({ 1 }):fill_(6):item(), 6)
  check.equal(ids:max():item(), 3)
  check.equal(ids:sort():totable(), { 1, 2, 3 })
  check.equal(ml.where(ids:eq(1), ids, 9):totable(), { 9, 1, 9 })
  check.is_true(tostring(ids):find("3  1  2", 1, true) ~= nil)
  check.raises("1.5", function() return ml.f64({ 1.5 }):to "index" end)
  check.raises("0 is no index", function() return ml.f64({ 0 }):to "index" end)
  check.raises("index", function() return ids + 1 end)
  check.raises("index", function() return ids * ids end)
end

function T.test_no_leak()
  check.no_leak(function()
    local m = matrix()
    m[{ {}, 2 }] = 1
    m[1] = { 1, 2, 3 }
    local v = m[{ {}, { 1, 2 } }]
    v[{ { 1, 2 } }] = v[{ { 2, 1, -1 } }]
  end)
end

return T
