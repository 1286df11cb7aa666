-- The recipes on kernels at their smallest size.
local smoke = require "smoke"
local T = {}

for _, name in ipairs { "ridge_path", "dual_activations", "hermite_error", "norm_robustness",
  "width_convergence", "kernel_depth", "mlp_kernels_digits", "cntk_digits", "fashion_kernels" } do
  T["test_" .. name] = smoke(name)
end

return T
