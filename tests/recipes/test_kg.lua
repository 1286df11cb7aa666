-- The recipes on knowledge graphs at their smallest size.
local smoke = require "smoke"
local T = {}

for _, name in ipairs { "kg_model", "kg_hallucination", "kg_temperature", "kg_detectors",
  "kg_external" } do
  T["test_" .. name] = smoke(name)
end

return T
