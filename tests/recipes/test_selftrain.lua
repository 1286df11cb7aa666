-- The recipes on self-training at their smallest size.
local smoke = require "smoke"
local T = {}

for _, name in ipairs { "rest_em_ablations", "rest_em_arithmetic", "rest_em_programs",
  "rest_em_sizes" } do
  T["test_" .. name] = smoke(name)
end

return T
