-- Learning curves of kernel regression: closed forms, known numbers, limits, simulation, bad input.
local ml = require "moonlab"
local check = require "check"
local krr = ml.theory.krr
local T = {}

-- golden: tables of spherical harmonics
function T.test_multiplicities()
  local list = {}
  for k = 0, 5 do list[k + 1] = krr.multiplicity(24, k) end
  check.equal(list, { 1.0, 24.0, 299.0, 2576.0, 17250.0, 95680.0 })
  for k = 0, 6 do check.close(krr.multiplicity(3, k), 2 * k + 1, { rtol = 1e-14 }) end
end

-- property: E P_j P_k = delta_jk / N over the sphere; P_2 in closed form
function T.test_polynomials()
  local d = 7
  local t = ml.linspace(-1, 1, { n = 9 })
  check.close(krr.polynomial(t, d, 2), (t * t * d - 1) / (d - 1), { rtol = 1e-13, atol = 1e-15 })
  local function energy(f)
    return krr.gegenbauer { kernel = f, dim = d, degrees = 5 }
  end
  for j = 0, 5 do
    local list = energy(function(x) return krr.polynomial(x, d, j) end)
    for k = 0, 5 do
      check.close(list[k + 1].energy, j == k and 1 or 0, { rtol = 1e-10, atol = 1e-12 })
    end
  end
end

-- golden: energies of an independent calculation, and the series of exp
function T.test_spectra_of_kernels()
  local list = krr.gegenbauer { kernel = function(t) return (t - 1):exp() end, dim = 24,
    degrees = 6 }
  for k, wanted in ipairs { 0.375618, 0.375018, 0.179450, 0.0551497, 0.0122974, 0.00212959,
    0.000299230 } do
    check.close(list[k].energy, wanted, { rtol = 3e-6 })
  end
  check.close(list.total, 1, { rtol = 1e-15 })
  local wide, relu = ml.kernel.dense { w_std = math.sqrt(2) }, ml.kernel.act "relu"
  local one = ml.kernel.serial { ml.kernel.dense(), relu, wide }
  local three = ml.kernel.serial { ml.kernel.dense(), relu, wide, relu, wide, relu, wide }
  for _, case in ipairs { { one, "nngp", 1, { 0.325009, 0.5, 0.155484, 0, 0.0123049, 0,
    0.00349218 } }, { one, "ntk", 2, { 0.169275, 0.5, 0.236466, 0, 0.0330693, 0, 0.0140415 } },
    { three, "ntk", 4, { 0.272274, 0.237471, 0.170391, 0.0762121, 0.0478554, 0.0265887,
      0.0214126 } } } do
    local found = krr.gegenbauer { kernel = krr.profile(case[1], { of = case[2] }), dim = 24,
      degrees = 6 }
    for k, wanted in ipairs(case[4]) do
      check.close(found[k].energy / case[3], wanted, { rtol = 3e-6, atol = 1e-9 })
    end
  end
end

-- golden: B and V of direct integration
function T.test_scaling_functions()
  for _, row in ipairs { { 0.2, 10, 0.01399597, 0.18899862 }, { 1, 31, 0.08944272, 2.31744565 },
    { 2.4, 2, 0.61359442, 0.32329065 } } do
    check.close({ krr.scaling(row[1], row[2]) }, { row[3], row[4] }, { rtol = 0, atol = 6e-9 })
  end
  local B, V = krr.scaling(1e9, 1e-9)
  check.close({ B, V }, { 1, 0 }, { rtol = 1e-6, atol = 1e-6 })
end

local function falling()
  local spectrum, target = {}, {}
  for k = 1, 7 do
    local n = krr.multiplicity(24, k)
    spectrum[k], target[k] = { 32 ^ -(k - 1) / n, n }, 1 / k ^ 2
  end
  return spectrum, target
end

-- golden: an independent calculation, to its digits
function T.test_predictions()
  local spectrum, target = falling()
  local ms = { 8, 24, 48, 110, 220, 323, 500, 1000, 1296, 2000, 2917, 4000 }
  local o = { spectrum = spectrum, target = target, samples = ms }
  check.close(krr.predict(o).test, { 1.4022, 1.7864, 0.9715, 0.6796, 0.7648, 0.9637, 0.6493,
    0.4101, 0.3952, 0.4511, 0.5750, 0.4360 }, { rtol = 2e-4 })
  check.close(krr.asymptotic(o).test, { 1.4030, 1.7886, 0.9730, 0.6858, 0.7666, 0.9372, 0.6632,
    0.4259, 0.4091, 0.4555, 0.5514, 0.4427 }, { rtol = 2e-4 })
  for ridge, values in pairs { [0.001] = { 1.766, 0.651, 0.743, 0.324, 0.253 },
    [0.01] = { 1.618, 0.588, 0.485, 0.325, 0.274 } } do
    o.ridge, o.samples = ridge, { 24, 134, 325, 1296, 2917 }
    check.close(krr.predict(o).test, values, { rtol = 2e-3 })
  end
  local peaks, troughs = krr.extrema { spectrum = spectrum, target = target, high = 4000 }
  check.close({ peaks[1].samples, peaks[2].samples, peaks[3].samples }, { 24, 325, 2917 },
    { rtol = 0.004 })
  check.close({ troughs[2].samples, troughs[3].samples }, { 134, 1296 }, { rtol = 0.01 })
end

-- analytic: linear regression of white inputs without ridge: noise n/(m - n) above n samples, and
-- all but the learned part below
function T.test_ordinary_least_squares()
  local o = { spectrum = { { 1, 50 } }, target = { 1 }, noise = 0.3 }
  for _, m in ipairs { 60, 100, 1000 } do
    o.samples = m
    local p = krr.predict(o)
    check.close({ p.test, p.bias, p.kappa }, { 0.3 * 50 / (m - 50), 0, 0 },
      { rtol = 1e-12, atol = 1e-15 })
  end
  o.noise = 0
  for _, m in ipairs { 5, 25, 45 } do
    o.samples = m
    check.close(krr.predict(o).test, 1 - m / 50, { rtol = 1e-9 })
  end
  o.samples, o.noise = 50, 0.1
  check.equal(krr.predict(o).test, math.huge)
  -- a ridge so large that nothing is learned
  o.samples, o.ridge = 10, 1e9
  check.close(krr.predict(o).test, 1, { rtol = 1e-6 })
end

-- property: theory within five standard errors, patches too
function T.test_simulation()
  local spectrum, target = falling()
  local function h(t)
    local sum = krr.polynomial(t, 24, 1)
    for k = 2, 7 do sum = sum + krr.polynomial(t, 24, k) * 32 ^ -(k - 1) end
    return sum
  end
  local ms = { 10, 48, 90 }
  local found = krr.simulate { kernel = h, dim = 24, target = target, samples = ms, draws = 30,
    test = 3000, noise = 0.1, ridge = 0.01 }
  local wanted = krr.predict { spectrum = spectrum, target = target, samples = ms, noise = 0.1,
    ridge = 0.01 }
  for i in ipairs(ms) do
    check.is_true(math.abs(found.test[i] - wanted.test[i])
      < 5 * found.stderr[i] + 0.05 * wanted.test[i])
    check.close(found.bias[i] + found.variance[i], found.test[i], { rtol = 1e-9 })
    check.is_true(math.abs(found.learned[i][1] - wanted.learnability[i][1]) < 0.15)
  end
  local again = krr.simulate { kernel = h, dim = 24, target = target, samples = { 10, 48 },
    draws = 30, test = 3000, noise = 0.1, ridge = 0.01 }
  -- a size does not depend on which others are asked for
  check.close({ again.test[1], again.test[2] }, { found.test[1], found.test[2] }, { rtol = 1e-9 })
  -- two patches: twice the modes, at half the eigenvalue
  local patches = {}
  for k, level in ipairs(spectrum) do patches[k] = { level[1] / 2, 2 * level[2] } end
  local two = krr.simulate { kernel = h, dim = 24, target = target, patches = 2,
    samples = { 100 }, draws = 12, test = 2000 }
  local promised = krr.predict { spectrum = patches, target = target, samples = 100 }.test
  check.is_true(math.abs(two.test[1] - promised) < 5 * two.stderr[1] + 0.06 * promised)
end

function T.test_bad_input()
  local o = { spectrum = { { 1, 3 } }, target = { 1 }, samples = 5 }
  local function with(name, value)
    local all = {}
    for key, old in pairs(o) do all[key] = old end
    all[name] = value
    return all
  end
  check.raises("level 1 of the spectrum is table", krr.predict, with("spectrum", { {} }))
  check.raises("the target has 2 levels and the spectrum 1", krr.predict, with("target", { 1, 2 }))
  check.raises("value 1 is 0, wanted a number > 0", krr.predict, with("samples", 0))
  check.raises("option 'noise' is -1", krr.predict, with("noise", -1))
  check.raises("did you mean 'ridge'", krr.predict, with("rigde", 1))
  check.raises("wanted function(t)", krr.gegenbauer, { kernel = 3, dim = 5 })
  check.raises("finite values", krr.gegenbauer,
    { kernel = function(t) return t / 0 end, dim = 5 })
  check.raises("option 'dim' is 2", krr.gegenbauer, { kernel = function(t) return t end, dim = 2 })
  check.raises("wanted a kernel of ml.kernel.serial", krr.profile, 3)
  check.raises("ascending integers", krr.simulate, { kernel = function(t) return t end, dim = 5,
    target = { 1 }, samples = { 10, 5 } })
  check.raises("200000 samples need", krr.simulate, { kernel = function(t) return t end, dim = 5,
    target = { 1 }, samples = { 200000 } })
end

return T
