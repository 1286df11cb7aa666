-- Gradients where the derivative does not exist (analytic: the conventions at the head of each file
-- of core/grad; those of PyTorch, but for logsumexp of nothing but -inf, where it has NaN).
local ml = require "moonlab"
local check = require "check"
local T = {}

local inf = math.huge

-- x, what is summed and differentiated, the gradient
local cases = {
  std = { { 2, 2 }, function(x) return x:std() end, { 0, 0 } },
  std_unbiased = { { 3, 3, 3 }, function(x) return x:std(1, { ddof = 1 }) end, { 0, 0, 0 } },
  std_of_rows = { { { 1, 1 }, { 1, 3 } }, function(x) return x:std(2) end,
    { { 0, 0 }, { -0.5, 0.5 } } },
  std_kept = { { { 1, 5 }, { 1, 5 } }, function(x) return x:std { 1, keepdims = true } end,
    { { 0, 0 }, { 0, 0 } } },
  standardized = { { { 1, 1 }, { 1, 3 } },
    function(x) return (x - x:mean { 1, keepdims = true }) / (x:std { 1, keepdims = true } + 1) end,
    { { 0, 0 }, { 0, 0 } } },
  var = { { 2, 2 }, function(x) return x:var() end, { 0, 0 } },
  norm = { { 0, 0 }, function(x) return x:norm() end, { 0, 0 } },
  norm_of_rows = { { { 0, 0 }, { 3, 4 } }, function(x) return x:norm(2) end,
    { { 0, 0 }, { 0.6, 0.8 } } },
  max = { { 4, 1, 4 }, function(x) return x:max() end, { 0.5, 0, 0.5 } },
  min = { { 1, 1, 4 }, function(x) return x:min() end, { 0.5, 0.5, 0 } },
  prod = { { 0, 3, 0 }, function(x) return x:prod() end, { 0, 0, 0 } },
  logsumexp = { { -inf, -inf }, function(x) return x:logsumexp() end, { 0, 0 } },
  abs = { { 0, -2 }, function(x) return x:abs() end, { 0, -1 } },
  relu = { { 0, 2 }, function(x) return x:relu() end, { 0, 1 } },
  maximum = { { 1, 2 }, function(x) return ml.maximum(x, ml.f64 { 1, 3 }) end, { 0.5, 0 } },
  clamp = { { 0, 0.5, 1, 2 }, function(x) return x:clamp(0, 1) end, { 1, 1, 1, 0 } },
  power = { { 0, 2 }, function(x) return x ^ 0 end, { 0, 0 } },
  sqrt = { { 0, 4 }, function(x) return x:sqrt() end, { inf, 0.25 } },
}

for name, case in pairs(cases) do
  T["test_" .. name] = function()
    local x = ml.param(ml.f64(case[1]))
    case[2](x):sum():backward()
    check.close(x:grad(), case[3], { rtol = 1e-15 }) -- a quotient and a product
  end
end

return T
