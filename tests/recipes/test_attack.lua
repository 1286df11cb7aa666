-- The recipes on attacks at their smallest size.
local smoke = require "smoke"
local T = {}

for _, name in ipairs { "pirs_attack", "harden", "constitution", "attack_transfer",
  "pirs_http" } do
  T["test_" .. name] = smoke(name)
end

return T
