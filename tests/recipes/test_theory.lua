-- The recipes on learning curves and eigenspaces at their smallest size.
local smoke = require "smoke"
local T = {}

for _, name in ipairs { "multiple_descent", "kernel_without_peaks", "local_kernel",
  "gram_spectrum", "space_frequency", "hierarchy", "synergy" } do
  T["test_" .. name] = smoke(name)
end

return T
