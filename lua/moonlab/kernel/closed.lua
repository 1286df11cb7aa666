--- Activations by name: their function of a tensor, their options, and core's dual for them.
local core = require "moonlab.core"

local closed = {}

-- Each: options with defaults (nil: must be given), f(x, o), and dual(o) -> what core.kernel.dual
-- takes. Those without a dual are smooth but for a kink at 0, and go through quadrature.
local function relu(x, below, above)
  return x:minimum(core.zeros_like(x)) * below + x:maximum(core.zeros_like(x)) * above
end
local function abrelu(a, b) return { kind = "abrelu", p = { a, b } } end
local function step(x) return x:gt(0):to(x:dtype()) end
local function power(x, n) -- x^n by products, so that negative x are fine
  local y = x * 0 + 1
  for _ = 1, n do y = y * x end
  return y
end

--- Coefficients from x^0 on of the orthonormal Hermite polynomial h_n.
function closed.hermite(n)
  local before, here = {}, { 1 }
  for k = 0, n - 1 do -- sqrt(k+1) h_(k+1) = x h_k - sqrt(k) h_(k-1)
    local after = {}
    for i = 1, k + 2 do
      after[i] = ((here[i - 1] or 0) - math.sqrt(k) * (before[i] or 0)) / math.sqrt(k + 1)
    end
    before, here = here, after
  end
  return here
end

local function polynomial(x, c)
  local y = x * 0 + c[#c]
  for i = #c - 1, 1, -1 do y = y * x + c[i] end
  return y
end
local function polynomial_dual(c)
  return { kind = "polynomial", degree = #c - 1, coefficients = c }
end
local function monomial(n)
  local c = {}
  for i = 1, n do c[i] = 0 end
  c[n + 1] = 1
  return c
end

local root_half = math.sqrt(0.5)
local steep = 1 / 2.4020563531719796 -- of sigmoid_like: the erf nearest to a sigmoid

closed.table = {
  identity = { f = function(x) return x * 1 end,
    dual = function() return { kind = "identity" } end },
  relu = { f = function(x) return x:relu() end, dual = function() return abrelu(0, 1) end },
  leaky_relu = { options = { slope = 0.01 }, f = function(x, o) return relu(x, o.slope, 1) end,
    dual = function(o) return abrelu(o.slope, 1) end },
  abs = { f = function(x) return x:abs() end, dual = function() return abrelu(-1, 1) end },
  abrelu = { options = { a = false, b = false }, f = function(x, o) return relu(x, o.a, o.b) end,
    dual = function(o) return abrelu(o.a, o.b) end },
  step = { f = step, dual = function() return { kind = "step" } end },
  sign = { f = function(x) return x:sign() end, dual = function() return { kind = "sign" } end },
  rectified_monomial = { options = { degree = false },
    f = function(x, o) return o.degree == 0 and step(x) or power(x:relu(), o.degree) end,
    dual = function(o) return { kind = "rectified", degree = o.degree } end },
  monomial = { options = { degree = false }, f = function(x, o) return power(x, o.degree) end,
    dual = function(o) return polynomial_dual(monomial(o.degree)) end },
  polynomial = { options = { coefficients = false },
    f = function(x, o) return polynomial(x, o.coefficients) end,
    dual = function(o) return polynomial_dual(o.coefficients) end },
  hermite = { options = { degree = false },
    f = function(x, o) return polynomial(x, closed.hermite(o.degree)) end,
    dual = function(o) return polynomial_dual(closed.hermite(o.degree)) end },
  erf = { options = { a = 1, b = 1, c = 0 },
    f = function(x, o) return (x * o.b):erf() * o.a + o.c end,
    dual = function(o) return { kind = "erf", p = { o.a, o.b, o.c } } end },
  phi = { f = function(x) return (x * root_half):erf() * 0.5 + 0.5 end,
    dual = function() return { kind = "erf", p = { 0.5, root_half, 0.5 } } end },
  sigmoid_like = { f = function(x) return (x * steep):erf() * 0.5 + 0.5 end,
    dual = function() return { kind = "erf", p = { 0.5, steep, 0.5 } } end },
  gelu = { f = function(x) return x:gelu_erf() end,
    dual = function() return { kind = "gelu" } end },
  sin = { options = { a = 1, b = 1, c = 0 },
    f = function(x, o) return (x * o.b + o.c):sin() * o.a end,
    dual = function(o) return { kind = "sin", p = { o.a, o.b, o.c } } end },
  cos = { options = { a = 1, b = 1, c = 0 },
    f = function(x, o) return (x * o.b + o.c):cos() * o.a end,
    dual = function(o) return { kind = "sin", p = { o.a, o.b, o.c + math.pi / 2 } } end },
  rbf = { options = { gamma = 1 },
    f = function(x, o) return (x * math.sqrt(2 * o.gamma) + math.pi / 4):sin() * math.sqrt(2) end,
    dual = function(o)
      return { kind = "sin", p = { math.sqrt(2), math.sqrt(2 * o.gamma), math.pi / 4 } }
    end, nonnegative = "gamma" },
  exp = { options = { a = 1, b = 1, c = 0 },
    f = function(x, o) return (x * o.b):exp() * o.a + o.c end,
    dual = function(o) return { kind = "exp", p = { o.a, o.b, o.c } } end },
  gaussian = { options = { a = 1, b = 0.5, c = 0 },
    f = function(x, o) return (x * x * -o.b):exp() * o.a + o.c end,
    dual = function(o) return { kind = "gaussian", p = { o.a, o.b, o.c } } end,
    nonnegative = "b" },
  gabor = { f = function(x) return (x * x * -1):exp() * x:sin() end,
    dual = function() return { kind = "gabor" } end },
  exp_normalized = { options = { gamma = 1 },
    dual = function(o) return { kind = "normalized", p = { o.gamma } } end,
    nonnegative = "gamma" },
  sigmoid = { f = function(x) return x:sigmoid() end },
  tanh = { f = function(x) return x:tanh() end },
  softplus = { f = function(x) return x:softplus() end },
  silu = { f = function(x) return x * x:sigmoid() end },
  elu = { options = { a = 1 },
    f = function(x, o) return x:relu() + (x:minimum(core.zeros_like(x))):expm1() * o.a end },
}

return closed
