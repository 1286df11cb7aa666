-- Runs one test file (a table of test_ functions) through LuaUnit: run.lua FILE [pattern].
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = here .. "/support/?.lua;" .. package.path
local file, pattern = arg[1], arg[2]
assert(file, "usage: run.lua FILE [pattern]")
-- LuaUnit reads its options from arg
for i = #arg, 1, -1 do arg[i] = nil end
arg[1] = "-v"
if pattern then arg[2], arg[3] = "-p", pattern end
local lu = require "luaunit"
local T = assert(loadfile(file))(file)
assert(type(T) == "table", file .. " returns its table of tests")
local cases = {}
for name, test in pairs(T) do
  if type(name) == "string" and name:find("^[tT]est") and type(test) == "function" then
    cases[#cases + 1] = { name, test }
  end
end
assert(#cases > 0, file .. " has no test")
table.sort(cases, function(a, b) return a[1] < b[1] end)
os.exit(lu.LuaUnit.new():runSuiteByInstances(cases) == 0, true)
