-- The recipes on sketches at their smallest size.
local smoke = require "smoke"
local T = {}

for _, name in ipairs { "sketch_error", "sketch_spectrum", "cntk_speedup", "uci_regression",
  "fashion_sketch" } do
  T["test_" .. name] = smoke(name)
end

return T
