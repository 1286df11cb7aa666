-- The recipes on random features at their smallest size: their exact and theory claims hold.
local check = require "check"
local shapes = require "shapes"
local T = {}

local host = "build/bin/moonlab"
do -- the program that runs this test
  local file = io.open("/proc/self/cmdline", "rb")
  if file then
    local first = file:read("a"):match("^[^%z]+")
    file:close()
    if first and first:find("moonlab", 1, true) then host = first end
  end
end

for _, name in ipairs { "curves", "front", "phases", "spectrum", "slopes", "exponent_sweep" } do
  T["test_" .. name] = function()
    check.in_folder(function(dir)
      local pipe = io.popen(("'%s' run plrf_%s --smoke --out '%s/run' 2>&1; echo status=$?"):format(
        host, name, dir))
      local text = pipe:read "a"
      pipe:close()
      if not text:find "status=0" then check.fail(text) end
      check.is_true(text:find "\nclaims" ~= nil)
      for line in text:gmatch "[^\n]+" do
        if line:find "^  not shown" and (line:find "%(exact" or line:find "%(theory") then
          check.fail(line)
        end
      end
      shapes.check_folder(dir .. "/run")
    end)
  end
end

return T
