-- The recipes of small-scale proxies at their smallest size: they end, say what they claim, and
-- exact and theory claims hold.
local ml = require "moonlab"
local check = require "check"
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

for _, name in ipairs { "proxy", "lr_sensitivity", "logit_growth", "grad_norm", "output_logits",
  "warmup", "epsilon", "depth_vs_width", "coord_check", "lr_transfer", "equivalence" } do
  T["test_smoke_run_of_" .. name] = function()
    check.in_folder(function(dir)
      local pipe = io.popen(("'%s' run %s --smoke --out '%s/run' 2>&1"):format(host, name, dir))
      local text = pipe:read("a")
      pipe:close()
      local run = ml.runs.open(dir .. "/run")
      if run:state() ~= "done" then check.fail(text) end
      local claims = run:results().claims
      check.is_true(#claims > 0)
      for _, claim in ipairs(claims) do
        if (claim.kind == "exact" or claim.kind == "theory") and claim.verdict ~= "shown" then
          check.fail(("%s: %s"):format(claim.name, claim.verdict))
        end
      end
    end)
  end
end

return T
