-- What the prompt offers beside the language, called as functions.
local check = require "check"
local commands = require "moonlab.repl.commands"
local ml = require "moonlab"
local program = require "program"
local show = require "moonlab.repl.show"
local T = {}

-- What fn prints.
local function printed(fn, ...)
  local lines, before = {}, print
  rawset(_G, "print", function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    lines[#lines + 1] = table.concat(parts, "\t")
  end)
  local ok, message = pcall(fn, ...)
  rawset(_G, "print", before)
  if not ok then error(message, 0) end
  return table.concat(lines, "\n")
end

function T.test_apropos_finds_names_before_texts()
  local text = printed(commands.apropos, "softmax")
  program.has(text, "log_softmax")
  program.has(text, "nn.attention")
  check.is_true(text:find("log_softmax", 1, true) < text:find("nn.attention", 1, true))
  check.equal(printed(commands.apropos, "SOFTMAX"), text)
  program.has(printed(commands.apropos, "zz%s"), "nothing has 'zz%s'") -- no pattern
  check.raises("string expected, got 3", commands.apropos, 3)
end

function T.test_reload_fills_the_table_that_others_hold()
  check.in_folder(function(dir)
    local path = package.path
    package.path = dir .. "/?.lua;" .. path
    program.write(dir .. "/mine.lua", "return { answer = function() return 1 end, old = true }")
    local mine = require "mine"
    program.write(dir .. "/mine.lua", "return { answer = function() return 2 end }")
    local again = commands.reload "mine"
    check.is_true(rawequal(again, mine) and rawequal(require "mine", mine))
    check.equal(mine.answer(), 2)
    check.is_nil(mine.old)
    -- a file that does not load leaves what was there
    program.write(dir .. "/mine.lua", "return {")
    check.raises("mine.lua:1:", commands.reload, "mine")
    check.equal(require("mine").answer(), 2)
    program.write(dir .. "/mine.lua", "error 'on purpose'")
    check.raises("on purpose", commands.reload, "mine")
    check.equal(require("mine").answer(), 2)
    check.raises("no such module", commands.reload, "no such module")
    -- what is no table is returned
    program.write(dir .. "/mine.lua", "return 7")
    check.equal(commands.reload "mine", 7)
    package.loaded.mine, package.path = nil, path
  end)
end

function T.test_describe_counts_what_is_not_finite()
  local x = ml.f64 { 1, 2, 3, 0 / 0, 1 / 0, 0 }
  local text = printed(commands.describe, x)
  for _, part in ipairs { "f64 [6], 48 B", "mean 1.5, std 1.11803, min 0, max 3",
    "NaN 1, infinite 1, zero 1" } do
    program.has(text, part)
  end
  program.has(printed(commands.describe, { a = x, b = 3 }), "a: f64 [6]")
  check.equal(printed(commands.describe, { 3 }), "no tensors in it")
  check.raises("table expected, got 5", commands.describe, 5)
end

function T.test_timeit_and_who()
  local t = commands.timeit(function() end)
  check.is_true(t.low <= t.median and t.median <= t.high and t.rounds >= 3)
  program.has(tostring(t), "a call (median of")
  check.raises("function expected", commands.timeit, 3)
  commands.install()
  rawset(_G, "of_mine", ml.zeros { 3, 4 })
  program.has(printed(commands.who), "of_mine          ml.tensor        f64 [3x4]")
  rawset(_G, "of_mine", nil)
end

function T.test_functions_show_their_signature()
  check.equal(show.text(ml.eye):match "^[^\n]*", "eye(n, opts) eye(rows, columns, opts)")
  program.has(show.text(commands.timeit), "timeit(f)\nHow long a call takes")
  program.has(show.text(print), "function: ")
end

return T
