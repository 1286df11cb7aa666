-- Runs one test file (a table of test_ functions) through LuaUnit; the exit status is the number of failures.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = here .. "/support/?.lua;" .. package.path
local lu = require "luaunit"
local file = assert(arg[1], "usage: run.lua FILE [pattern]")
local T = assert(loadfile(file))(file)
assert(type(T) == "table", file .. " returns its table of tests")
local count = 0
for name, test in pairs(T) do
  if type(name) == "string" and name:find("^[tT]est") and type(test) == "function" then count = count + 1 end
end
assert(count > 0, file .. " has no test")
local runner = lu.LuaUnit.new()
runner:setOutputType("text")
local arguments = { "-v" }
if arg[2] then arguments[#arguments + 1] = "-p"; arguments[#arguments + 1] = arg[2] end
local cases = {}
for name, test in pairs(T) do
  if type(name) == "string" and name:find("^[tT]est") then cases[#cases + 1] = { name, test } end
end
table.sort(cases, function(a, b) return a[1] < b[1] end)
os.exit(runner:runSuiteByInstances(cases, arguments) == 0 and 0 or 1, true)
