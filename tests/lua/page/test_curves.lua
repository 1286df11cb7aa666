-- Curves as a page follows them: thinning keeps what matters, and bad files stop nothing.
local ml = require "moonlab"
local check = require "check"
local curves = require "moonlab.page.curves"
local T = {}

local function append(dir, text)
  local file = assert(io.open(dir .. "/metrics.jsonl", "a"))
  file:write(text)
  file:close()
end

local function line(step, loss) return ('{"loss":%s,"step":%d}\n'):format(loss, step) end

function T.test_what_is_new_is_told_once() -- property
  check.in_folder(function(dir)
    local f = curves.follow(dir)
    f:more()
    local a = f:since(0, 0)
    check.equal(#a.curves, 0)
    append(dir, line(1, 5) .. line(2, 4))
    f:more()
    a = f:since(0, 0)
    check.equal(a.curves[1].buckets, { { 1, 5 }, { 2, 4 } })
    check.equal(#f:since(a.generation, a.line).curves, 0)
    append(dir, line(3, 3))
    f:more()
    local b = f:since(a.generation, a.line)
    check.equal(b.curves[1].from, 2)
    check.equal(b.curves[1].buckets, { { 3, 3 } })
  end)
end

function T.test_a_torn_line_waits_for_its_end() -- property
  check.in_folder(function(dir)
    append(dir, line(1, 5) .. '{"loss":4,"st')
    local f = curves.follow(dir)
    f:more()
    check.equal(f.line, 1)
    append(dir, 'ep":2}\n')
    f:more()
    check.equal(f:since(0, 0).curves[1].buckets, { { 1, 5 }, { 2, 4 } })
    check.equal(f.damaged, 0)
  end)
end

function T.test_thinning_keeps_a_spike() -- property
  check.in_folder(function(dir)
    local lines = {}
    for i = 1, 50000 do lines[i] = line(i, i == 31234 and "99" or "1") end
    append(dir, table.concat(lines))
    local f = curves.follow(dir)
    f:more()
    local c = f:since(0, 0).curves[1]
    check.is_true(#c.buckets <= 600)
    check.equal(c.count, 50000)
    local found = false
    for _, bucket in ipairs(c.buckets) do
      for i = 1, #bucket, 2 do found = found or (bucket[i] == 31234 and bucket[i + 1] == 99) end
    end
    check.is_true(found)
    -- read on bit by bit, a reader that asks for what is new has the same
    local g, have, generation, at = curves.follow(dir), {}, 0, 0
    repeat
      g:more(0)
      local a = g:since(generation, at)
      if a.generation ~= generation then have = {} end
      generation, at = a.generation, a.line
      for _, new in ipairs(a.curves) do
        for k = #have, new.from + 1, -1 do have[k] = nil end
        for _, bucket in ipairs(new.buckets) do have[#have + 1] = bucket end
      end
    until g.offset >= g.size
    check.equal(have, c.buckets)
  end)
end

function T.test_what_is_not_finite_is_marked() -- property
  check.in_folder(function(dir)
    append(dir, line(1, 2) .. line(2, '"nan"') .. line(3, '"inf"') .. line(4, '"-inf"'))
    local f = curves.follow(dir)
    f:more()
    local c = f:since(0, 0).curves[1]
    check.equal(c.bad, 3)
    check.equal(c.marks, { 2, 3, 4 })
    check.equal(c.buckets[1], { 1, 2 })
    check.equal(c.buckets[2][2], ml.json.null)
  end)
end

function T.test_damaged_lines_are_counted() -- property
  check.in_folder(function(dir)
    append(dir, 'nonsense\n[1,2]\n{"loss":1}\n' .. ("x"):rep(600000) .. "\n" .. '{"loss":2}\n')
    local f = curves.follow(dir)
    f:more()
    local a = f:since(0, 0)
    check.equal(a.damaged, 3)
    check.equal(a.curves[1].buckets, { { 1, 1 }, { 2, 2 } })
  end)
end

function T.test_a_file_that_was_replaced_is_read_anew() -- property
  check.in_folder(function(dir)
    append(dir, line(1, 5) .. line(2, 4))
    local f = curves.follow(dir)
    f:more()
    local before = f:since(0, 0).generation
    ml.write_file(dir .. "/metrics.jsonl", line(1, 7))
    f:more()
    local a = f:since(before, 2)
    check.is_true(a.generation ~= before)
    check.equal(a.curves[1].buckets, { { 1, 7 } })
    os.remove(dir .. "/metrics.jsonl")
    f:more() -- a run that is deleted while it is shown
  end)
end

function T.test_kinds_and_seeds_are_curves_of_their_own() -- property
  check.in_folder(function(dir)
    append(dir, '{"kind":"train","loss":1,"step":1}\n{"kind":"eval","loss":2,"step":1}\n'
      .. '{"loss":3,"seed":2,"step":1}\n')
    local f = curves.follow(dir)
    f:more()
    local parts = {}
    for i, c in ipairs(f:since(0, 0).curves) do parts[i] = c.part end
    check.equal(parts, { "train", "eval", "seed 2" })
  end)
end

function T.test_the_tail_needs_no_more_than_the_end() -- property
  check.in_folder(function(dir)
    check.equal(curves.tail(dir), {})
    append(dir, line(1, 5) .. ("y"):rep(9000) .. "\n" .. line(2, 4) .. '{"torn')
    local values, step = curves.tail(dir)
    check.equal(values, { loss = 4 })
    check.equal(step, 2)
  end)
end

return T
