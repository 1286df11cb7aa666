--- What a sandbox is tried with before it is trusted: programs that do what they should, and
--- programs that want too much.
local options = require "moonlab.options"

local checks = {}

local loop = "while true do end"

-- { source, what must come of it }: a reason, or "ok".
local programs = {
  { "return 1", "ok" },
  { "local t = {} for i = 1, 100 do t[i] = i * i end return t[100]", "ok" },
  { "return (", "syntax" },
  { "\27Lua", "syntax" },
  { "error 'no'", "error" },
  { loop, "instructions" },
  { "while true do pcall(function() " .. loop .. " end) end", "instructions" },
  { "local function f() while true do pcall(f) end end f()", "instructions" },
  { "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end", "memory" },
  { "return ('x'):rep(1 << 28)", "memory" },
  { "while true do print(('x'):rep(1000)) end", "output" },
  { "return ('a'):rep(40):find(('a-'):rep(40) .. 'b')", "time" },
  { "local function f() return 1 + f() end return f()", nil }, -- stack or memory, as it comes
  { "return os, io, debug, require, package, load, loadstring, dofile, loadfile, collectgarbage, "
    .. "coroutine, setmetatable, getmetatable, string.dump, xpcall, warn, _G", "nothing" },
}

--- Runs them; raises where one does not end as it must. The result is their number.
function checks.run(box)
  local limits = { memory = math.min(box.limits.memory, 4 << 20), instructions = 200000,
    output = 10000 }
  for _, one in ipairs(programs) do
    limits.seconds = one[2] == "time" and 0.3 or 30 -- a busy machine is no reason to distrust it
    local result = box:run(one[1], limits)
    local found = result.ok and "ok" or result.reason
    local right = found == one[2]
    if one[2] == nil then right = found == "error" or found == "memory" end
    if one[2] == "nothing" then
      right = found == "ok"
      for i = 1, right and result.values.n or 0 do right = right and result.values[i] == nil end
    end
    if not right then
      options.raise("ml.sandbox: the walls do not hold: %q ends with %s (%s)", one[1], found,
        tostring(result.message))
    end
  end
  return #programs
end

return checks
