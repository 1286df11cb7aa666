-- The recipes on kernels at their smallest size: their exact and theory claims hold.
local check = require "check"
local T = {}

local host = arg and arg[-1] or "build/bin/moonlab"

local function run(name)
  return function()
    check.in_folder(function(dir)
      local pipe = io.popen(("'%s' run %s --smoke --out '%s/run' 2>&1; echo status=$?"):format(host,
        name, dir))
      local text = pipe:read "a"
      pipe:close()
      if not text:find "status=0" then check.fail(text) end
      check.is_true(text:find "\nclaims" ~= nil)
      for line in text:gmatch "[^\n]+" do
        if line:find "^  not shown" and (line:find "%(exact" or line:find "%(theory") then
          check.fail(line)
        end
      end
    end)
  end
end

T.test_ridge_path = run "ridge_path"

return T
