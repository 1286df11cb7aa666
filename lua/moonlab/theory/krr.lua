--- Learning curves of kernel ridge regression from the spectrum of its kernel: Gegenbauer
--- coefficients of dot-product kernels, predicted test errors, and simulations beside them.
local core = require "moonlab.core"
local options = require "moonlab.options"

local krr = {}

-- ---- spherical harmonics ------------------------------------------------------------------------

--- ml.theory.krr.multiplicity(dim, k)
--- The number of independent spherical harmonics of degree k on the unit sphere of dim dimensions.
--- @param dim integer dimensions, >= 3
--- @param k integer degree, >= 0
--- @return number N(dim, k)
--- @source Mueller 1966, Spherical Harmonics
function krr.multiplicity(dim, k)
  options.integer("ml.theory.krr.multiplicity", 1, dim, 3)
  options.integer("ml.theory.krr.multiplicity", 2, k, 0)
  if k == 0 then return 1.0 end
  local binomial = 1.0 -- of k + dim - 3 over k - 1
  for i = 1, k - 1 do binomial = binomial * (dim - 2 + i) / i end
  return (2 * k + dim - 2) / k * binomial
end

-- P_0 .. P_degree at the entries of t, normalised to P_k(1) = 1.
local function polynomials(t, dim, degree)
  local list = { [0] = core.ones_like(t), t }
  for k = 1, degree - 1 do
    list[k + 1] = (t * list[k] * (2 * k + dim - 2) - list[k - 1] * k) / (k + dim - 2)
  end
  return list
end

--- ml.theory.krr.polynomial(t, dim, k)
--- The Gegenbauer polynomial of degree k of a dimension, 1 at t = 1.
--- @param t tensor [...] f64, in [-1, 1]
--- @param dim integer dimensions of the sphere, >= 3
--- @param k integer degree, >= 0
--- @return tensor [...] like t
--- @source Mueller 1966, Spherical Harmonics
function krr.polynomial(t, dim, k)
  local where = "ml.theory.krr.polynomial"
  if not core.is_tensor(t) then
    options.bad(where, 1, "%s, wanted a tensor", options.describe(t))
  end
  options.integer(where, 2, dim, 3)
  options.integer(where, 3, k, 0)
  return polynomials(t, dim, math.max(1, k))[k]
end

-- Cosines and weights of the distribution of <x, w> for x on the sphere: trapezoid in the angle.
local function nodes_of(dim, n)
  local theta = (core.arange(1, n) - 0.5) * (math.pi / n)
  local log_weight = theta:sin():log() * (dim - 2)
  local weight = (log_weight - log_weight:max()):exp()
  return theta:cos(), weight / weight:sum()
end

--- ml.theory.krr.gegenbauer{ kernel =, dim =, degrees =, nodes = }
--- The spectrum of a kernel h(<x, x'>) for points that are uniform on the unit sphere.
--- @param opts.kernel function h(t) of a tensor [n] of f64 in [-1, 1] -> tensor [n]
--- @param opts.dim integer dimensions, >= 3
--- @param opts.degrees integer =12 the highest degree, >= 0
--- @param opts.nodes integer =4000 of the quadrature in the angle
--- @return table list over degrees 0, 1, ... of { value (eigenvalue), multiplicity, energy (their
--- product), degree }; with total = h(1) and rest = what the energies leave of it
--- @source Mueller 1966; Xiao et al. 2022 (arXiv 2205.14846), Section 2
function krr.gegenbauer(opts)
  local where = "ml.theory.krr.gegenbauer"
  options.required(where, opts, { "kernel", "dim", "degrees", "nodes" })
  local h = opts.kernel
  if type(h) ~= "function" then
    options.bad(where, 0, "option 'kernel' is %s, wanted function(t)", options.describe(h))
  end
  local dim = options.range(where, "dim", options.field(where, opts, "dim", "integer"), 3)
  local degrees = options.range(where, "degrees",
    options.field(where, opts, "degrees", "integer", 12), 0, 400)
  local nodes = options.range(where, "nodes", options.field(where, opts, "nodes", "integer", 4000),
    50)
  local t, weight = nodes_of(dim, nodes)
  local function of(x)
    local y = h(x)
    if not core.is_tensor(y) or y:numel() ~= x:numel() or y:isfinite():all():item() == 0 then
      options.bad(where, 0, "the kernel returned %s for %s, wanted finite values, one for each",
        options.describe(y), options.describe(x))
    end
    return y:reshape { x:numel() }:to "f64"
  end
  local values = of(t) * weight
  local list = { total = of(core.ones { 1 })[1] }
  local P = polynomials(t, dim, math.max(1, degrees))
  local sum = 0
  for k = 0, degrees do
    local value = (values * P[k]):sum():item()
    -- rounding of the quadrature is no eigenvalue
    if math.abs(value) < 1e-15 * math.abs(list.total) then value = 0.0 end
    local count = krr.multiplicity(dim, k)
    list[k + 1] = { value = value, multiplicity = count, energy = value * count, degree = k }
    sum = sum + value * count
  end
  list.rest = list.total - sum
  return list
end

--- ml.theory.krr.profile(kernel, { of })
--- A kernel of ml.kernel as a function of the cosine of two points on the sphere of radius sqrt(d).
--- @param kernel kernel of ml.kernel.serial, for vectors
--- @param opts.of string ="ntk" or "nngp"
--- @return function h(t) of a tensor [n] of f64 -> tensor [n]
--- @source Xiao et al. 2022 (arXiv 2205.14846), Section 2
function krr.profile(kernel, opts)
  local where = "ml.theory.krr.profile"
  options.check(where, opts, { "of" })
  local of = options.choice(where, opts or {}, "of", { "ntk", "nngp" }, "ntk")
  local ok, method = pcall(function() return kernel[of] end)
  if not ok or type(method) ~= "function" then
    options.bad(where, 1, "%s, wanted a kernel of ml.kernel.serial", options.describe(kernel))
  end
  local root = math.sqrt(2)
  local pole = core.tensor({ { root, 0 } }, { dtype = "f64" })
  return function(t)
    return core.scope(function()
      local shape, n = t:shape(), t:numel()
      local c = t:detach():reshape { n }:clamp(-1, 1)
      local s = (c * c * -1 + 1):maximum(0):sqrt()
      return method(kernel, pole, core.stack({ c * root, s * root }, 2)):reshape(shape)
    end)
  end
end

-- ---- prediction ---------------------------------------------------------------------------------

local function finite(x) return type(x) == "number" and x == x and math.abs(x) < math.huge end

-- Levels { value, multiplicity } and powers, checked; negative rounding of values becomes 0.
local function read(where, opts)
  local spectrum = options.field(where, opts, "spectrum", "table")
  local target = options.field(where, opts, "target", "table")
  if #spectrum == 0 then options.bad(where, 0, "option 'spectrum' is empty") end
  local levels = {}
  for k, level in ipairs(spectrum) do
    local value = type(level) == "table" and (level.value or level[1])
    local count = type(level) == "table" and (level.multiplicity or level[2])
    if not finite(value) or not finite(count) or count < 0 then
      options.bad(where, 0, "level %d of the spectrum is %s, wanted { value, multiplicity }", k,
        options.describe(level))
    end
    levels[k] = { value = math.max(0, value), count = count }
  end
  if #target > #levels then
    options.bad(where, 0, "the target has %d levels and the spectrum %d", #target, #levels)
  end
  for k = 1, #levels do
    local power = target[k] or 0
    if not finite(power) or power < 0 then
      options.bad(where, 0, "the target's power at level %d is %s, wanted a number >= 0", k,
        options.describe(power))
    end
    levels[k].power = power
  end
  local noise = options.range(where, "noise", options.field(where, opts, "noise", "number", 0), 0)
  local ridge = options.range(where, "ridge", options.field(where, opts, "ridge", "number", 0), 0)
  local samples = opts.samples
  local single = type(samples) == "number"
  if single then samples = { samples } end
  if core.is_tensor(samples) then samples = samples:totable() end
  options.argument(where, 1, samples, "table")
  for i, m in ipairs(samples) do
    if not finite(m) or not (m > 0) then
      options.bad(where, 0, "option 'samples': value %d is %s, wanted a number > 0", i,
        options.describe(m))
    end
  end
  if #samples == 0 then options.bad(where, 0, "option 'samples' is empty") end
  return levels, noise, ridge, samples, single
end

-- The self-consistent ridge: m = sum of N L(kappa) + ridge / kappa; 0 where more samples than modes
-- leave nothing to be shrunk.
local function kappa_of(levels, ridge, m)
  local modes, top = 0, 0
  for _, l in ipairs(levels) do
    if l.value > 0 then modes = modes + l.count end
    top = top + l.value * l.count
  end
  if ridge == 0 and m >= modes then return 0 end
  local low, high = math.log(1e-300), math.log((top + ridge) / m * (1 + 1e-12) + 1e-300)
  for _ = 1, 200 do
    local middle = 0.5 * (low + high)
    local kappa = math.exp(middle)
    local sum = ridge / kappa
    for _, l in ipairs(levels) do sum = sum + l.count * l.value / (l.value + kappa) end
    if sum > m then low = middle else high = middle end
  end
  return math.exp(0.5 * (low + high))
end

local function one(levels, noise, ridge, m)
  local kappa = kappa_of(levels, ridge, m)
  local learned, used, bias = {}, 0, 0
  for k, l in ipairs(levels) do
    local L = l.value > 0 and l.value / (l.value + kappa) or 0
    learned[k] = L
    used = used + l.count * L * L
    bias = bias + (1 - L) ^ 2 * l.power
  end
  local room = 1 - used / m
  local factor = room > 0 and 1 / room or math.huge
  local test = factor == math.huge and ((bias + noise > 0) and math.huge or 0)
    or factor * (bias + noise) - noise
  return { test = test, bias = bias, variance = test - bias, kappa = kappa, learnability = learned }
end

--- ml.theory.krr.predict{ spectrum =, target =, noise =, ridge =, samples = }
--- The expected error of kernel ridge regression on a clean target, at any number of samples: a
--- self-consistent ridge kappa with sum of L_k + ridge/kappa = samples, where L_k = lambda_k /
--- (lambda_k + kappa). What a truncated spectrum leaves of the kernel's trace belongs to the ridge.
--- @param opts.spectrum table list of { value, multiplicity } for each level: eigenvalues of the
--- kernel's integral operator
--- @param opts.target table list of powers, one a level, summed over its modes; missing ones are 0
--- @param opts.noise number =0 variance of the labels' noise, >= 0
--- @param opts.ridge number =0 in the unit of the kernel matrix, >= 0
--- @param opts.samples number or list of them, > 0
--- @return table { test (mean squared error against the clean target), bias (of the mean
--- predictor), variance (their difference), kappa, learnability (list over levels) }: numbers for a
--- number of samples, lists for a list
--- @source Bordelon, Canatar & Pehlevan 2020; Canatar et al. 2021; Simon et al. 2023
function krr.predict(opts)
  local where = "ml.theory.krr.predict"
  options.required(where, opts, { "spectrum", "target", "noise", "ridge", "samples" })
  local levels, noise, ridge, samples, single = read(where, opts)
  local out = { test = {}, bias = {}, variance = {}, kappa = {}, learnability = {} }
  for i, m in ipairs(samples) do
    for name, value in pairs(one(levels, noise, ridge, m)) do out[name][i] = value end
  end
  if single then
    for name, list in pairs(out) do out[name] = list[1] end
  end
  return out
end

--- ml.theory.krr.scaling(alpha, gamma)
--- Bias factor B and noise gain V of the level that is being learned: over the law of Marchenko
--- and Pastur with ratio alpha, B is the mean of 1/(1 + gamma t)^2 and V that of gamma t/(1 + gamma
--- t)^2 times alpha gamma.
--- @param alpha number modes over samples, > 0
--- @param gamma number signal over the effective ridge, over alpha, >= 0
--- @return number B
--- @return number V
--- @source Xiao et al. 2022 (arXiv 2205.14846), Theorem 1
function krr.scaling(alpha, gamma)
  local where = "ml.theory.krr.scaling"
  options.argument(where, 1, alpha, "number")
  options.argument(where, 2, gamma, "number")
  if not (alpha > 0) then options.bad(where, 1, "%.14g, wanted > 0", alpha) end
  if not (gamma >= 0) then options.bad(where, 2, "%.14g, wanted >= 0", gamma) end
  local b = 1 + gamma * (1 - alpha)
  local s = 2 / (b + math.sqrt(b * b + 4 * alpha * gamma))
  local D = 1 - alpha * (1 - s) ^ 2
  return s * s / D, 1 / D - 1
end

--- ml.theory.krr.asymptotic{ spectrum =, target =, noise =, ridge =, samples = }
--- The limit of well separated levels: near m = d^r/r! one level is being learned, those above it
--- act as noise and ridge, and the whole curve is the sum over levels.
--- @param opts.spectrum table as for predict
--- @param opts.target table list of powers, one a level
--- @param opts.noise number =0 variance of the labels' noise, >= 0
--- @param opts.ridge number =0 in the unit of the kernel matrix, >= 0
--- @param opts.samples number or list of them, > 0
--- @return table { test, bias, variance }: numbers for a number of samples, lists for a list
--- @source Xiao et al. 2022 (arXiv 2205.14846), Equation 20
function krr.asymptotic(opts)
  local where = "ml.theory.krr.asymptotic"
  options.required(where, opts, { "spectrum", "target", "noise", "ridge", "samples" })
  local levels, noise, ridge, samples, single = read(where, opts)
  local out = { test = {}, bias = {}, variance = {} }
  for i, m in ipairs(samples) do
    local bias, variance, count = 0, 0, 0
    for r, level in ipairs(levels) do
      count = count + level.count
      local energy, tail, above = level.value * level.count, ridge, 0
      for k = r + 1, #levels do
        tail = tail + levels[k].value * levels[k].count
        above = above + levels[k].power
      end
      if energy > 0 and tail > 0 then
        local alpha = count / m
        local B, V = krr.scaling(alpha, energy / tail / alpha)
        bias, variance = bias + level.power * B, variance + (above + noise) * V
      else
        bias = bias + level.power
      end
    end
    out.test[i], out.bias[i], out.variance[i] = bias + variance, bias, variance
  end
  if single then
    for name, list in pairs(out) do out[name] = list[1] end
  end
  return out
end

--- ml.theory.krr.extrema{ spectrum =, target =, noise =, ridge =, low =, high = }
--- Where the predicted test error has its peaks and troughs.
--- @param opts.spectrum table as for predict
--- @param opts.target table as for predict
--- @param opts.noise number =0 variance of the labels' noise, >= 0
--- @param opts.ridge number =0 in the unit of the kernel matrix, >= 0
--- @param opts.low number =2 least number of samples
--- @param opts.high number =1e4 largest number of samples
--- @return table peaks, list of { samples, test } of whole numbers, ascending
--- @return table troughs, the same
--- @source Xiao et al. 2022 (arXiv 2205.14846), Section 4
function krr.extrema(opts)
  local where = "ml.theory.krr.extrema"
  options.required(where, opts, { "spectrum", "target", "noise", "ridge", "low", "high" })
  local low = options.range(where, "low", options.field(where, opts, "low", "number", 2), 1)
  local high = options.range(where, "high", options.field(where, opts, "high", "number", 1e4), low)
  local levels, noise, ridge = read(where, { spectrum = opts.spectrum, target = opts.target,
    noise = opts.noise, ridge = opts.ridge, samples = 1 })
  local seen = {}
  local function test(m)
    seen[m] = seen[m] or one(levels, noise, ridge, m).test
    return seen[m]
  end
  local grid, m = {}, math.ceil(low)
  while m <= high do
    grid[#grid + 1] = m
    m = math.max(m + 1, math.floor(m * 1.02))
  end
  local peaks, troughs = {}, {}
  for i = 2, #grid - 1 do
    for sign = -1, 1, 2 do
      local function better(a, b) return sign * test(a) > sign * test(b) end
      if not better(grid[i - 1], grid[i]) and better(grid[i], grid[i + 1]) then
        local best = grid[i]
        for k = grid[i - 1], grid[i + 1] do
          if better(k, best) then best = k end
        end
        local list = sign > 0 and peaks or troughs
        list[#list + 1] = { samples = best, test = test(best) }
      end
    end
  end
  return peaks, troughs
end

-- ---- simulation ---------------------------------------------------------------------------------

local simulation = require "moonlab.theory.simulation"

--- ml.theory.krr.simulate{ kernel =, dim =, target =, noise =, ridge =, samples =, draws =, test =,
---   patches =, seed = }
--- Kernel ridge regression on random points of the sphere and an isotropic random target: the
--- training sets of all sizes are the first points of one, and every draw has its own.
--- @param opts.kernel function h(t) of a tensor of f64 in [-1, 1] -> tensor like it
--- @param opts.dim integer dimensions of the sphere, >= 3
--- @param opts.target table list of powers of degrees 1, 2, ...
--- @param opts.noise number =0 variance of the labels' noise, >= 0
--- @param opts.ridge number =0 in the unit of the kernel matrix, >= 0
--- @param opts.samples table list of numbers of samples, ascending
--- @param opts.draws integer =10 training sets
--- @param opts.test integer =2000 points to test on
--- @param opts.patches integer =1 p points on spheres of their own make one input; the kernel is
--- the mean of h over them, the target the sum over them over sqrt(p)
--- @param opts.seed integer =1 of every draw
--- @return table { test, stderr (over draws), bias, variance (measured over draws), learned (for
--- each degree the part of the target that the prediction holds), all lists over samples; jitter }
--- @source Xiao et al. 2022 (arXiv 2205.14846), Section 5
function krr.simulate(opts)
  return simulation.run("ml.theory.krr.simulate", opts, polynomials)
end

return krr
