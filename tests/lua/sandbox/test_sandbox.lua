-- The sandbox: what programs get and give, limits, workers that die, and walls that hold.
local ml = require "moonlab"
local check = require "check"
local codec = require "moonlab.sandbox.codec"
local T = {}

function T.test_what_comes_back()
  local r = ml.sandbox.run [[
    print("one", 2, 3.0, nil, true, {}, print)
    print()
    return 1, -2.5, "a\0b", true, nil, { 1, { 2 }, x = { y = false } }]]
  check.equal({ r.ok, r.reason, r.message }, { true })
  check.equal(r.output, "one\t2\t3.0\tnil\ttrue\ttable\tfunction\n\n")
  check.equal(r.values, { 1, -2.5, "a\0b", true, nil, { 1, { 2 }, x = { y = false } }, n = 6 })
  check.equal(math.type(r.values[1]), "integer")
  check.is_true(r.memory > 5000 and r.memory < 100000)
  r = ml.sandbox.run "error 'no'"
  check.equal({ r.ok, r.reason, r.message }, { false, "error", "program:1: no" })
  r = ml.sandbox.run "x ="
  check.equal({ r.ok, r.reason }, { false, "syntax" })
  r = ml.sandbox.run "print 'before' while true do end"
  check.equal({ r.ok, r.reason, r.output }, { false, "instructions", "before\n" })
  check.is_true(codec.foreign(ml.sandbox.run("return print").values[1]))
  check.equal(tostring(ml.sandbox.run("return print").values[1]), "(a function)")
end

-- property: a program leaves nothing behind for the next
function T.test_states_are_fresh()
  local box = ml.sandbox.open {}
  local spoil = "x = 1 string.rep = nil math.pi = 3 table = nil print = nil return x"
  check.equal(box:run(spoil).values[1], 1)
  check.equal(box:run("return x, math.pi, string.rep ~= nil, table ~= nil, print ~= nil").values,
    { nil, math.pi, true, true, true, n = 5 })
  -- and the same numbers each time
  local draw = "return math.random(1000000), math.random()"
  check.equal(box:run(draw).values, box:run(draw).values)
  box:close()
end

function T.test_calls()
  local box = ml.sandbox.open {}
  local r = box:call("local a, b = ... if a == 3 then error 'three' end return a + b", { { 1, 2 },
    { 3, 4 }, { 5.0, 6 }, { 1, nil, n = 2 } })
  check.is_false(r.ok)
  check.equal(r.reason, "error") -- the first
  check.equal(#r.calls, 4)
  check.equal(r.calls[1], { ok = true, values = { 3, n = 1 } })
  check.equal(r.calls[2], { ok = false, reason = "error", message = "program:1: three" })
  check.equal(r.calls[3].values, { 11.0, n = 1 })
  check.equal(r.calls[4].reason, "error")
  -- a call cannot change the arguments of another, nor ours
  local list = { 1, 2, 3 }
  r = box:call("local t = ... t[1] = 9 return t", { { list }, { list } })
  check.equal({ r.calls[1].values[1], r.calls[2].values[1], list },
    { { 9, 2, 3 }, { 9, 2, 3 }, { 1, 2, 3 } })
  -- instructions are counted for each call; what goes beyond ends it all
  r = box:call("for i = 1, ... do end return 'done'", { { 40000 }, { 40000 }, { 1 << 40 }, { 1 } },
    { instructions = 100000 })
  check.equal({ r.ok, r.reason, #r.calls }, { false, "instructions", 2 })
  check.is_true(r.instructions > 170000 and r.instructions <= 300000)
  box:close()
end

function T.test_limits_that_are_given()
  local loop = "local n = ... for i = 1, n do end return 1"
  local box = ml.sandbox.open { instructions = 100000 }
  check.equal(box:call(loop, { { 1000000 } }).reason, "instructions")
  check.is_true(box:call(loop, { { 1000000 } }, { instructions = 5000000 }).ok)
  local eat = "local s = ('x'):rep(20 << 20) return #s"
  check.equal(box:run(eat).reason, "memory")
  check.equal(box:run(eat, { memory = 64 << 20 }).values[1], 20 << 20) -- more than it began with
  check.equal(box:run("print(('x'):rep(99))", { output = 100 }).output, ("x"):rep(99) .. "\n")
  check.equal(box:run("print(('x'):rep(100))", { output = 100 }).reason, "output")
  check.equal(box:run("return ('x'):rep(100)", { results = 100 }).reason, "results")
  check.equal(box:run("return (''):rep(1 << 60)", { seconds = 0.1 }).reason, "time")
  box:close()
end

-- property: a worker that dies is replaced, its job tried once more
function T.test_workers_that_die()
  local box = ml.sandbox.open { workers = 2 }
  check.is_true(box:run("return 1").ok)
  check.equal(box:status().started, 1)
  box.workers[1].child:kill "kill"
  box.workers[1].child:wait(5)
  check.equal(box:run("return 7").values[1], 7)
  check.equal(box:status().started, 2)
  -- one that hangs before it reads, as a worker that was taken over might
  box.workers[1].child:kill "stop"
  check.equal(box:run("return 7", { seconds = 0.2 }).reason, "time")
  check.equal(box:run("return 8").values[1], 8)
  -- one that answers nonsense: what it sends is not believed
  box.workers[1].rest = "\1\0\0\0x"
  local r = box:run "return 9"
  check.equal(r.values and r.values[1] or r.reason, 9)
  box.workers[1].rest = "\255\255\255\255"
  check.equal(box:run("return 10").values[1], 10)
  -- a worker ends when its parent closes the pipe
  local child = box.workers[1].child
  child:close_stdin()
  check.equal({ child:wait(5) }, { "exit", 0 })
  box:close()
  check.raises("the sandbox was closed", box.run, box, "return 1")
end

-- property: answers that no worker gives are refused, at whatever place they are cut or changed
function T.test_hostile_answers()
  local answer = string.pack("<c1I8I8s4s4I4", "o", 1, 2, "", "", 1) .. "o"
    .. string.pack("<I4", 2) .. "T" .. string.pack("<I4", 1) .. "t" .. string.pack("<c1i8", "i", 5)
    .. string.pack("<c1s4", "s", "abc")
  check.equal(codec.answer(answer).calls[1].values, { { [true] = 5 }, "abc", n = 2 })
  for n = 0, #answer - 1 do check.is_false((pcall(codec.answer, answer:sub(1, n)))) end
  check.is_false((pcall(codec.answer, answer .. "x")))
  for i = 1, #answer do
    for _, byte in ipairs { 0, 255, ("T"):byte(), ("s"):byte() } do
      pcall(codec.answer, answer:sub(1, i - 1) .. string.char(byte) .. answer:sub(i + 1))
    end
  end
  local deep = string.pack("<c1I8I8s4s4I4", "o", 1, 2, "", "", 1) .. "o" .. string.pack("<I4", 1)
    .. ("T\1\0\0\0t"):rep(100000)
  check.is_false((pcall(codec.answer, deep)))
end

-- property: with the filter the kernel refuses all that is tried; without one this is said
function T.test_the_walls()
  local box = ml.sandbox.open {}
  local r = box:check()
  check.is_true(r.programs >= 10)
  if r.seccomp then
    check.equal(r.open, {})
    check.is_true(r.text:find("system calls filtered", 1, true) ~= nil)
  else
    check.is_true(r.text:find("NOT filtered", 1, true) ~= nil)
  end
  for _, name in ipairs { "no_new_privileges", "open_files", "file_size", "processes" } do
    check.equal(r.confined[name], "on")
  end
  box:close()
  local off = ml.sandbox.open { seccomp = "off" }
  r = off:check()
  check.equal({ r.seccomp, r.confined.seccomp }, { false, "not asked for" })
  check.is_true(#r.open > 0)
  check.is_true(r.text:find("NOT filtered (not asked for)", 1, true) ~= nil)
  for _, word in ipairs(r.open) do -- limits alone keep these shut
    check.is_true(word ~= "reading a file" and word ~= "writing a file"
      and word ~= "a socket of the network")
  end
  off:close()
  -- a check that must fail does: a box whose programs get too little
  local poor = ml.sandbox.open { seconds = 2 }
  poor.run = function() return { ok = false, reason = "died" } end
  check.raises("the walls do not hold", ml.sandbox.methods.check, poor)
  poor.run = nil
  poor:close()
end

function T.test_bad_input()
  check.raises("string expected, got nil", ml.sandbox.run)
  check.raises("did you mean 'seconds'", ml.sandbox.run, "return 1", { second = 1 })
  check.raises("option 'memory' is 10", ml.sandbox.run, "return 1", { memory = 10 })
  check.raises("wanted \"wanted\", \"required\", \"off\"", ml.sandbox.open, { seccomp = "no" })
  check.raises("option 'workers' is 0", ml.sandbox.open, { workers = 0 })
  check.raises("wanted at most 1048576", ml.sandbox.run, (" "):rep(1048577))
  local box = ml.sandbox.open {}
  check.raises("a function cannot be given to a program", box.call, box, "", { { print } })
  local deep = {}
  for _ = 1, 20 do deep = { deep } end
  check.raises("table of more than 15 levels", box.call, box, "", { { deep } })
  check.raises("entry 1 is no table", box.batch, box, { "return 1" })
  box:close()
end

return T
