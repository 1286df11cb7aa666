-- Hostile programs: each ends as it must, the parent lives, and what comes after is judged rightly.
local ml = require "moonlab"
local check = require "check"
local T = {}

local forever = "while true do end"

-- { what it tries, source, how it must end }; several words: any of them; "nil": it returns, and
-- found nothing but nil.
local programs = {
  -- time and instructions
  { "an endless loop", forever, "instructions" },
  { "an endless repeat", "repeat until false", "instructions" },
  { "goto", "::a:: goto a", "instructions" },
  { "a long count", "for i = 1, math.huge do end", "instructions" },
  { "a step that never arrives", "for i = 1, 2, 1e-300 do end", "instructions" },
  { "tail calls", "local function f() return f() end f()", "instructions" },
  { "mutual tail calls",
    "local g local function f() return g() end function g() return f() end f()",
    "instructions" },
  { "a loop behind pcall", "pcall(function() " .. forever .. " end) return 1", "instructions" },
  { "pcall around and around", "while true do pcall(function() " .. forever .. " end) end",
    "instructions" },
  { "pcall that starts itself again", "local function f() while true do pcall(f) end end f()",
    "instructions" },
  { "pcall of pcall of pcall", "while true do pcall(pcall, pcall, pcall, error) end",
    "instructions" },
  { "errors without end", "while true do pcall(error, {}) end", "instructions" },
  { "a loop in a comparator", "table.sort({ 3, 2, 1 }, function() " .. forever .. " end)",
    "instructions" },
  { "a loop in a gsub callback", "('x'):gsub('x', function() " .. forever .. " end)",
    "instructions" },
  { "gsub callbacks behind pcall", "while true do pcall(string.gsub, 'x', 'x', function() "
    .. forever .. " end) end", "instructions" },
  { "a loop in an iterator", "for x in function() " .. forever .. " end do end", "instructions" },
  { "an iterator that never ends", "for x in function() return 1 end do end", "instructions" },
  { "a loop in a load function", "return load(function() " .. forever .. " end)", "error" },
  { "next without end", "local t = { 1 } while true do next(t) end", "instructions" },
  -- one C function that takes for ever
  { "a pattern bomb", "return ('a'):rep(40):find(('a-'):rep(40) .. 'b')", "time" },
  { "a pattern bomb of stars", "return ('a'):rep(50):find(('a*'):rep(50) .. 'b')", "time" },
  { "a pattern bomb behind pcall", "pcall(string.find, ('a'):rep(40), ('a-'):rep(40) .. 'b')",
    "time" },
  { "a pattern bomb of gmatch", "for x in ('a'):rep(40):gmatch(('a-'):rep(40) .. 'b') do end",
    "time" },
  { "a pattern bomb of gsub", "return ('a'):rep(40):gsub(('a?'):rep(40) .. ('a'):rep(40), '')",
    "time ok" },
  { "a pattern bomb of frontiers", "return ('a'):rep(3e5):match('(.-)(.-)(.-)%f[%d]')", "time" },
  { "balanced brackets", "return ('('):rep(2e6):gsub('%b()', '')", "time memory" },
  { "repeating nothing", "return (''):rep(1 << 60)", "time" },
  { "moving nothing", "return table.move({}, 1, 1 << 60, 2)", "time" },
  { "unpacking everything", "return table.unpack({}, 1, 1 << 60)", "error" },
  { "unpacking a lot", "return table.unpack({}, 1, 1e6)", "error memory results" },
  { "concatenating nothing", "return table.concat({}, '', 1, 1 << 60)", "error" },
  { "a sort with a mad comparator",
    "local t = {} for i = 1, 1000 do t[i] = i end table.sort(t, function() return true end)",
    "error" },
  { "a sort that grows its table",
    "local t = { 3, 2, 1 } table.sort(t, function(a, b) t[#t + 1] = 1 return a < b end)",
    "ok error memory instructions" },
  -- memory
  { "a string that doubles", "local s = 'x' while true do s = s .. s end", "memory" },
  { "a rep bomb", "return ('x'):rep(1 << 28)", "memory" },
  { "a rep bomb with a separator",
    "return ('x'):rep(1 << 20, ('y'):rep(1 << 10))", "memory error" },
  { "a rep bomb beyond size_t", "return ('x'):rep(math.maxinteger)", "error" },
  { "reps of reps", "return ('x'):rep(1e5):rep(1e5)", "memory error" },
  { "a table without end", "local t = {} while true do t[#t + 1] = {} end", "memory instructions" },
  { "a wide table", "local t = {} for i = 1, 1e9 do t[i] = i end", "memory" },
  { "a table of strings", "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
    "memory" },
  { "memory behind pcall", "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1e5) "
    .. ".. #t end) end", "memory" },
  { "closures", "local t = {} while true do local x = {} t[#t + 1] = function() return x end end",
    "memory instructions" },
  { "concat bomb", "local t = {} for i = 1, 1000 do t[i] = ('x'):rep(1000) end "
    .. "local s = table.concat(t) return table.concat({ s, s, s, s, s, s, s, s })", "memory" },
  { "gsub that grows", "local s = 'x' while true do s = s:gsub('.', '%0%0') end", "memory" },
  { "a wide format", "return ('%99.99f'):rep(5000):format(1)", "error" },
  { "a format too wide", "return ('%1000000d'):format(1)", "error" },
  { "pack bomb", "return string.pack('!16' .. ('i16'):rep(1e6), 1)", "memory error" },
  { "pack of padding", "return string.pack('c1000000000', 'x')", "memory" },
  { "characters", "return utf8.char(table.unpack({}, 1, 1e7))", "error memory" },
  { "many names", "local s = 'x' for i = 1, 20 do s = s .. s end return rawset({}, s, s)",
    "ok memory results" },
  -- recursion
  { "deep recursion", "local function f() return 1 + f() end return f()", "error memory" },
  { "deep recursion behind pcall", "local function f() return pcall(f) end return f()",
    "ok error memory instructions" },
  { "recursion through sort", "local function f() table.sort({ 2, 1 }, f) end f()",
    "error memory" },
  { "recursion through gsub", "local function f() return (('x'):gsub('x', f)) end return f()",
    "error memory" },
  { "recursion that eats its error", "local function f() pcall(f) pcall(f) end f()",
    "instructions memory" },
  { "a deep pattern", "return ('x'):find(('('):rep(1000))", "error" },
  { "captures without end", "return ('x'):find(('()'):rep(1000))", "error" },
  -- what is not there
  { "os", "return os", "nil" },
  { "io", "return io", "nil" },
  { "debug", "return debug", "nil" },
  { "require", "return require, package", "nil" },
  { "load", "return load, loadstring, loadfile, dofile", "nil" },
  { "string.dump", "return string.dump, ('').dump", "nil" },
  { "metatables", "return getmetatable, setmetatable", "nil" },
  { "coroutines", "return coroutine", "nil" },
  { "the rest", "return collectgarbage, xpcall, warn, _G, math.randomseed, newproxy", "nil" },
  { "a command", "os.execute 'true'", "error" },
  { "a file", "io.open('/etc/passwd')", "error" },
  { "the end of the process", "os.exit(0)", "error" },
  { "a hook", "debug.sethook()", "error" },
  { "the registry", "return debug.getregistry()", "error" },
  { "a library", "return require 'ffi'", "error" },
  { "a coroutine around a loop", "coroutine.wrap(function() " .. forever .. " end)()", "error" },
  { "the globals by way of _ENV", "return _ENV.os, _ENV._G, _ENV.debug", "nil" },
  { "another environment", "local _ENV = {} return os, print", "nil" },
  { "the metatable of strings", "getmetatable('').__index = function() " .. forever .. " end",
    "error" },
  { "methods of strings replaced",
    "string.rep = function() " .. forever .. " end return ('x'):rep(2)", "instructions" },
  { "a finalizer", "setmetatable({}, { __gc = function() " .. forever .. " end })", "error" },
  { "a variable to be closed", "local x <close> = {} return 1", "error" },
  { "a table that closes", "local x <close> = setmetatable({}, { __close = print })", "error" },
  { "an error that speaks", "error(setmetatable({}, { __tostring = function() " .. forever
    .. " end }))", "error" },
  -- errors that are no strings
  { "an error that is a table", "error({ 1, 2 })", "error" },
  { "an error that is nil", "error(nil)", "error" },
  { "an error that is a function", "error(print)", "error" },
  { "a long error", "error(('x'):rep(1e5))", "error" },
  { "an error with zero bytes", "error('a\\0b\\0')", "error" },
  -- sources
  { "bytecode", string.dump(function() return 1 end), "syntax" },
  { "the head of bytecode", "\27Lua\x54\0\x19\x93\r\n\x1a\n", "syntax" },
  { "no end", "return (", "syntax" },
  { "brackets", ("("):rep(100000), "syntax" },
  { "braces", "return " .. ("{"):rep(100000), "syntax" },
  { "minuses", "return " .. ("- "):rep(100000) .. "1", "syntax" },
  { "functions in functions", ("return function() "):rep(1000), "syntax" },
  { "too many locals", ("local a "):rep(300), "syntax" },
  { "zero bytes", "return 1\0return 2", "syntax" },
  { "a source of nothing but noise", "\xff\xfe\x00\x01", "syntax" },
  { "many constants", "return {" .. ("1.5, "):rep(50000) .. "}", "ok memory results" },
  -- output and results
  { "an output flood", "while true do print(('x'):rep(1000)) end", "output" },
  { "an output flood in one line", "print(('x'):rep(1e5))", "output" },
  { "an output flood behind pcall", "while true do pcall(print, ('x'):rep(1000)) end", "output" },
  { "an answer of its own", "print('\\1\\0\\0\\0o') return 1", "ok" },
  { "a result that holds itself", "local t = {} t[1] = t return t", "ok" },
  { "a result that is everything at once",
    "local t = {} for i = 1, 30 do t = { t, t } end return t",
    "ok results" },
  { "a result that branches", "local t = { 1 } for i = 1, 12 do t = { t, t, t, t, t } end return t",
    "results" },
  { "a long result", "return ('x'):rep(1e5)", "results" },
  { "a result that does not travel", "return print, {}, { print }", "ok" },
  { "keys that are not numbers", "return { [print] = 1, [{}] = 2, [0/0 ~= 1] = 3 }", "ok" },
  -- numbers
  { "a division by zero", "return 1 // 0", "error" },
  { "the smallest integer", "return math.mininteger // -1, math.mininteger % -1", "ok" },
  { "not a number as a key", "local t = {} t[0 / 0] = 1", "error" },
}

local limits = { memory = 1 << 20, instructions = 100000, seconds = 30, output = 4096,
  results = 65536 }

-- Only what must end by the clock gets little of it: a busy machine changes no other end.
local function seconds_of(wanted) return wanted:find "time" and 0.2 or 30 end

local function ends_as(result, wanted)
  local found = result.ok and "ok" or result.reason
  if wanted == "nil" then
    if found ~= "ok" then return false end
    for i = 1, result.values.n do
      if result.values[i] ~= nil then return false end
    end
    return true
  end
  return (" " .. wanted .. " "):find(" " .. found .. " ", 1, true) ~= nil
end

-- property: each ends as it must, and an honest program after it is judged as before it
function T.test_each_by_itself()
  check.is_true(#programs >= 60)
  local box = ml.sandbox.open(limits)
  for _, one in ipairs(programs) do
    local result = box:run(one[2], { seconds = seconds_of(one[3]) })
    if not ends_as(result, one[3]) then
      check.fail(("%s ends with %s (%s), wanted %s"):format(one[1],
        result.ok and "ok" or result.reason, tostring(result.message), one[3]))
    end
    check.is_true(#result.output <= limits.output)
    local honest = box:call("local a, b = ... return a * b, math.type(a)", { { 6, 7 }, { 2.0, 3 } })
    check.equal(honest.calls[1].values, { 42, "integer", n = 2 })
    check.equal(honest.calls[2].values, { 6.0, "float", n = 2 })
  end
  local status = box:status()
  check.equal(status.jobs, 2 * #programs)
  check.is_nil(status.counts.died)
  -- only the clock costs a worker its life
  check.equal(status.started, 1 + status.counts.time)
  box:close()
end

-- property: the same in batches over two processes, in order
function T.test_batches()
  local box = ml.sandbox.open { memory = limits.memory, instructions = limits.instructions,
    output = limits.output, results = limits.results, workers = 2 }
  for _, seconds in ipairs { 0.2, 30 } do
    local some, jobs = {}, {}
    for i, one in ipairs(programs) do
      if seconds_of(one[3]) == seconds then
        some[#some + 1] = one
        jobs[#jobs + 1] = { source = one[2] }
        jobs[#jobs + 1] = { source = "return ...", calls = { { i } } }
      end
    end
    local results = box:batch(jobs, { seconds = seconds })
    for i, one in ipairs(some) do
      local result, honest = results[2 * i - 1], results[2 * i]
      result.values = result.calls[1] and result.calls[1].values
      if not ends_as(result, one[3]) then
        check.fail(("%s ends with %s, wanted %s"):format(one[1], result.reason, one[3]))
      end
      if seconds == 30 or honest.reason ~= "time" then
        check.equal(honest.calls[1].values[1], jobs[2 * i].calls[1][1])
      end
    end
  end
  box:close()
end

return T
