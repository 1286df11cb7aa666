-- The recipes on kernels at their smallest size.
local smoke = require "smoke"

return { test_ridge_path = smoke "ridge_path" }
