-- The recipes on learning curves at their smallest size.
local smoke = require "smoke"
local T = {}

for _, name in ipairs { "multiple_descent", "kernel_without_peaks", "local_kernel",
  "gram_spectrum" } do
  T["test_" .. name] = smoke(name)
end

return T
