-- The recipes on the solvable scaling model at their smallest size.
local smoke = require "smoke"
local T = {}

for _, name in ipairs { "curves", "front", "phases", "spectrum", "slopes", "exponent_sweep" } do
  T["test_" .. name] = smoke("plrf_" .. name)
end

return T
