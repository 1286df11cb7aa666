-- A recipe at its smallest size: it ends, says what it claims, its exact and theory claims hold,
-- and every figure that it leaves shows something.
local check = require "check"
local ml = require "moonlab"
local program = require "program"
local shapes = require "shapes"

--- A test that runs a recipe, by its name and further words of the command line.
return function(words)
  return function()
    check.in_folder(function(dir)
      local text, status = program.run(dir, "run " .. words .. " --smoke --out run")
      local run = ml.runs.open(dir .. "/run")
      if status ~= 0 or run:state() ~= "done" then check.fail(text) end
      program.has(text, "\nclaims\n")
      for _, claim in ipairs(run:results().claims) do
        if (claim.kind == "exact" or claim.kind == "theory") and claim.verdict ~= "shown" then
          check.fail(("%s: %s"):format(claim.name, claim.verdict))
        end
      end
      shapes.check_folder(dir .. "/run")
    end)
  end
end
