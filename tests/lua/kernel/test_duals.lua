-- Dual activations: closed forms against printed values, quadrature and each other; coincident
-- inputs; Hermite series; functions and duals of the user's.
local ml = require "moonlab"
local check = require "check"
local k = ml.kernel
local T = {}

local function dual(act, c, a, b) return act:dual { c = c, a = a, b = b } end

-- Every name with the options it needs, and kappa, kappa_dot at (c, a, b) = (0.3, 1.2, 0.8) and at
-- c = a = b = 1.2, from sector-split quadrature by an independent program.
local cases = {
  { "relu", nil, 0.23830780, 0.29952651, 0.6, 0.5 },
  { "abs", nil, 0.65323121, 0.19810604, 1.2, 1.0 },
  { "leaky_relu", { slope = 0.2 }, 0.21251699, 0.39169697, 0.624, 0.52 },
  { "abrelu", { a = -0.3, b = 1.4 }, 0.56270955, 0.44563162, 1.23, 1.025 },
  { "step", nil, 0.29952651, 0, 0.5, 0 },
  { "sign", nil, 0.19810604, 0, 1, 0 },
  { "rectified_monomial", { degree = 2 }, 0.47506509, 0.95323121, 2.16, 2.4 },
  { "rectified_monomial", { degree = 3 }, 1.54190878, 4.27558577, 12.96, 19.44 },
  { "erf", nil, 0.12935939, 0.43723225, 0.49889858, 0.52868394 },
  { "phi", nil, 0.27408534, 0.08090300, 0.34182148, 0.08631389 },
  { "sigmoid_like", nil, 0.26231877, 0.04114477, 0.29745368, 0.04075980 },
  { "gelu", nil, 0.15996603, 0.30487295, 0.52317849, 0.46644580 },
  { "sin", nil, 0.11202676, 0.38455855, 0.45464102, 0.54535898 },
  { "cos", nil, 0.38455855, 0.11202676, 0.54535898, 0.45464102 },
  { "sin", { a = 1.3, b = 0.7, c = 0.4 }, 0.28828551, 0.44639150, 0.66337468, 0.50304641 },
  { "rbf", { gamma = 0.5 }, 0.49658530, 0.49658530, 1, 1 },
  { "exp", { b = 0.5 }, 1.38403065, 0.34600766, 1.82211880, 0.45552970 },
  { "gaussian", { b = 0.5 }, 0.50832857, 0.03940532, 0.54232614, 0.19140923 },
  { "gabor", nil, 0.00879613, 0.03350827, 0.07035245, 0.26991672 },
  { "monomial", { degree = 2 }, 1.14, 1.2, 4.32, 4.8 },
  { "monomial", { degree = 3 }, 2.754, 10.26, 25.92, 38.88 },
  { "polynomial", { coefficients = { 0.2, 0.5, -0.3, 0.1 } }, 0.21514, 0.7606, 1.276, 1.4308 },
  { "elu", nil, 0.20260717, 0.60350529, 0.75883378, 0.65685835 },
  { "exp_normalized", nil, 0.48957149, 0.49966681, 1.2, 1.0 },
  { "tanh", nil, 0.11154456, 0.37602420, 0.42756130, 0.43241342 },
  { "sigmoid", nil, 0.26285380, 0.04296501, 0.29931585, 0.04286697 },
  { "softplus", nil, 0.72572709, 0.26285380, 1.01225562, 0.29931585 },
  { "silu", nil, 0.12165266, 0.28726159, 0.44056447, 0.39212877 },
}

-- golden: the values above have eight places
function T.test_printed_values()
  for _, case in ipairs(cases) do
    local act = k.act(case[1], case[2])
    local kappa, dot = dual(act, 0.3, 1.2, 0.8)
    local top, top_dot = dual(act, 1.2, 1.2, 1.2)
    check.close({ kappa, dot, top, top_dot }, { case[3], case[4], case[5], case[6] },
      { rtol = 0, atol = 6e-9 })
  end
end

-- golden: mpmath, nested integration (tests/golden/kernel/make.py)
function T.test_values_of_mpmath()
  for _, row in ipairs(ml.json.read("tests/golden/kernel/golden.json")) do
    local kappa, dot = dual(k.act(row.name), row.c, row.a, row.b)
    check.close({ kappa, dot }, { row.kappa, row.kappa_dot }, { rtol = 1e-10, atol = 1e-12 })
  end
end

local function triples()
  local c, a, b = {}, {}, {}
  for _, v in ipairs { 0.05, 0.7, 1, 4, 40 } do
    for _, w in ipairs { 0.3, 1, 6 } do
      for _, rho in ipairs { -1, -0.9, -0.2, 0, 0.5, 0.99, 1 } do
        a[#a + 1], b[#b + 1], c[#c + 1] = v, w, rho * math.sqrt(v * w) * (1 - 1e-16)
      end
    end
  end
  return ml.f64(c), ml.f64(a), ml.f64(b)
end

local function by_quadrature(name, options)
  local act = k.act(name, options)
  local closed = require("moonlab.kernel.closed").table[name]
  return k.act(function(x) return closed.f(x, act.options) end, { method = "quadrature" })
end

-- analytic: the same integral twice, relative to the size of kappa at equal inputs. Jumps have a
-- derivative that is 0 by convention on both sides. At rho = +-1 a covariance is known to an ulp,
-- its angle to 1e-8
function T.test_closed_forms_are_the_integrals()
  local c, a, b = triples()
  for _, case in ipairs(cases) do
    local name, options = case[1], case[2]
    if k.act(name, options).method == "closed" and name ~= "exp_normalized" and name ~= "exp" then
      local act = k.act(name, options)
      local kappa, dot = dual(act, c, a, b)
      local wanted, wanted_dot = dual(by_quadrature(name, options), c, a, b)
      local top_a, top_a_dot = dual(act, a, a, a)
      local top_b, top_b_dot = dual(act, b, b, b)
      local scale, scale_dot = (top_a * top_b):sqrt(), (top_a_dot * top_b_dot):sqrt()
      local function worst(x, y, s) return ((x - y):abs() / (s + 1e-300)):max():item() end
      local jump = name == "step" or name == "sign" -- linear in the angle
      check.is_true(worst(kappa, wanted, scale) < (jump and 1e-7 or 1e-9), name)
      if scale_dot:max():item() > 0 then
        check.is_true(worst(dot, wanted_dot, scale_dot) < 2e-8, name .. "'")
      else
        check.close(dot, wanted_dot, { atol = 0 })
      end
    end
  end
end

-- property: Price's theorem, kappa_dot = d kappa / d c; error of a central difference of step h
function T.test_kappa_dot_is_the_derivative()
  local h = 1e-5
  for _, case in ipairs(cases) do
    if case[1] ~= "step" and case[1] ~= "sign" then
      local act = k.act(case[1], case[2])
      for _, c in ipairs { -0.6, 0.1, 0.55 } do
        local up, down = dual(act, c + h, 1.1, 0.7), dual(act, c - h, 1.1, 0.7)
        local _, dot = dual(act, c, 1.1, 0.7)
        check.close((up - down) / (2 * h), dot, { rtol = 1e-6, atol = 1e-7 })
      end
    end
  end
end

-- property: coincident and opposite inputs, zero variance: finite, and exactly the diagonal's
function T.test_coincident_inputs()
  for _, case in ipairs(cases) do
    local act = k.act(case[1], case[2])
    for _, v in ipairs { 1e-12, 0.1, 1 / 3, 7 } do
      local kappa, dot = dual(act, v, v, v)
      local near = dual(act, v * (1 - 1e-15), v, v)
      local other, other_dot = dual(act, -v, v, v)
      check.close(near, kappa, { rtol = 1e-9 })
      check.is_true(dot == dot and other == other and other_dot == other_dot, case[1])
      check.is_true(math.abs(other) <= kappa * (1 + 1e-12) + 1e-15, case[1])
    end
    local zero, zero_dot = dual(act, 0, 0, 1)
    check.is_true(zero == zero and zero_dot == zero_dot, case[1])
  end
  check.close({ dual(k.act "relu", 0.25, 0.25, 0.25) }, { 0.125, 0.5 }, { rtol = 1e-15 })
end

-- analytic: h_n has the dual c^n at unit variance, and rectified powers of degree 0 and 1 are step
-- and relu
function T.test_relations()
  for n = 0, 8 do
    local kappa, dot = dual(k.act("hermite", { degree = n }), 0.37, 1, 1)
    check.close({ kappa, dot }, { 0.37 ^ n, n == 0 and 0 or n * 0.37 ^ (n - 1) },
      { rtol = 1e-11, atol = 1e-14 })
  end
  local c, a, b = triples()
  check.close({ dual(k.act("rectified_monomial", { degree = 1 }), c, a, b) },
    { dual(k.act "relu", c, a, b) }, { rtol = 1e-12, atol = 1e-14 })
  check.close({ dual(k.act("rectified_monomial", { degree = 0 }), c, a, b) },
    { dual(k.act "step", c, a, b) }, { rtol = 1e-12, atol = 1e-14 })
  -- x+^5 + (-x)+^5 = |x|^5 = sqrt(x^10): the even part, of which (x^2)^2 is the degree 4
  local rho, high = 0.4, k.act("rectified_monomial", { degree = 4 })
  local same, opposite = dual(high, rho, 1, 1), dual(high, -rho, 1, 1)
  check.close(2 * same + 2 * opposite, (dual(k.act("monomial", { degree = 4 }), rho, 1, 1)),
    { rtol = 1e-12 })
end

-- golden: at variance 1 the coefficients of relu are 1/sqrt(2 pi), 1/2, 1/(2 sqrt pi), 0, ... and
-- those of sin s^k e^(-s^2/2) / sqrt(k!) with alternating signs
function T.test_hermite_coefficients()
  local relu = k.hermite(k.act "relu", { degree = 6 }):coefficients(2)
  local w = math.sqrt(2 * math.pi)
  check.close(relu, { 2 / w, 1, 2 / (w * math.sqrt(2)), 0, -2 / (w * math.sqrt(24)), 0,
    2 * 3 / (w * math.sqrt(720)) }, { rtol = 1e-12, atol = 1e-14 })
  local s = 1.3
  local sine = k.hermite("sin", { degree = 5 }):coefficients(ml.f64 { s })
  local e = math.exp(-s * s / 2)
  check.close(sine[1], { 0, s * e, 0, -s ^ 3 * e / math.sqrt(6), 0, s ^ 5 * e / math.sqrt(120) },
    { rtol = 1e-12, atol = 1e-14 })
end

-- property: the series closes in on the dual at every norm, from below on the diagonal
function T.test_series_converge()
  local gelu = k.act "gelu"
  for _, v in ipairs { 0.1, 1, 4 } do
    local exact, exact_dot = dual(gelu, 0.5 * v, v, v)
    local last = math.huge
    for _, q in ipairs { 2, 4, 8, 16, 48 } do
      local kappa, dot = dual(k.hermite(gelu, { degree = q }), 0.5 * v, v, v)
      local miss = math.abs(kappa - exact)
      check.is_true(miss <= last * 1.0001 + 1e-14)
      last = miss
      if q == 48 then check.close({ kappa, dot }, { exact, exact_dot }, { rtol = 1e-11 }) end
      check.is_true(dual(k.hermite(gelu, { degree = q }), v, v, v) <= dual(gelu, v, v, v) + 1e-12)
    end
  end
  -- degree q means that the term of degree q is there
  check.close((dual(k.hermite(k.act("monomial", { degree = 3 }), { degree = 3 }), 0.3, 1, 1)),
    (dual(k.act("monomial", { degree = 3 }), 0.3, 1, 1)), { rtol = 1e-12 })
end

-- property: functions of the user's, smooth, with a kink at 0 and with kinks elsewhere
function T.test_functions()
  local function bump(x) return (x * x * -0.5):exp() end
  for _, method in ipairs { "hermite", "quadrature" } do
    check.close({ dual(k.act(bump, { method = method }), 0.2, 1, 0.5) },
      { dual(k.act("gaussian", { b = 0.5 }), 0.2, 1, 0.5) }, { rtol = 1e-10 })
  end
  local function hard_tanh(x) return x:clamp(-1, 1) end
  -- clamp(x) is the mean over t in (-1, 1) of sign(x - t): E clamp(u)^2 in closed form
  local function square(v) -- v - 2 E (u^2 - 1) [u > 1]
    local s = math.sqrt(v)
    local tail = 0.5 * (1 - ml.f64 { 1 / s / math.sqrt(2) }:erf()[1])
    local density = math.exp(-0.5 / v) / math.sqrt(2 * math.pi)
    return v - 2 * ((v - 1) * tail + s * density)
  end
  local act = k.act(hard_tanh, { breaks = { -1, 1 }, degree = 200 })
  check.close((dual(act, 1.7, 1.7, 1.7)), square(1.7), { rtol = 1e-4 }) -- tail of degree 200
  check.close((dual(act, 0.3, 1.7, 1.7)), dual(k.act(hard_tanh, { degree = 200,
    breaks = { -1, 0.5, 1 } }), 0.3, 1.7, 1.7), { rtol = 1e-9 })
  local own = k.act(nil, { dual = function(c, a, b) return c * 2 + a * 0, b * 0 + 2 end })
  check.close({ dual(own, 0.3, 1, 2) }, { 0.6, 2 }, { rtol = 0 })
end

function T.test_bad_input()
  check.raises("did you mean 'relu'", k.act, "rellu")
  check.raises("unknown option 'slop'; did you mean 'slope'", k.act, "leaky_relu", { slop = 1 })
  check.raises("option 'degree' is missing", k.act, "monomial")
  check.raises("21, wanted an integer in 0..20", k.act, "monomial", { degree = 21 })
  check.raises("wanted a finite number", k.act, "erf", { a = 0 / 0 })
  check.raises("option 'b' is -1, wanted >= 0", k.act, "gaussian", { b = -1 })
  check.raises("a list of 1 to 21 numbers", k.act, "polynomial", { coefficients = {} })
  check.raises("no covariance", dual, k.act "relu", 2, 1, 1)
  check.raises("no covariance", dual, k.act "relu", 0, -1, 1)
  check.raises("no covariance", dual, k.act "relu", 0 / 0, 1, 1)
  check.raises("option 'c' is \"x\"", dual, k.act "relu", "x", 1, 1)
  check.raises("f32", dual, k.act "relu", ml.tensor({ 0.1 }, { dtype = "f32" }), 1, 1)
  check.raises("known by its dual only", k.hermite, "exp_normalized")
  check.raises("breaks elsewhere want", k.act, function(x) return x end,
    { method = "quadrature", breaks = { 1 } })
  check.raises("returned 3", dual, k.act(function() return 3 end), 0, 1, 1)
  check.raises("kappa_dot", dual, k.act(nil, { dual = function(c) return c end }), 0, 1, 1)
end

return T
