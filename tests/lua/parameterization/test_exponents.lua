-- The tables of the parameterizations, and the learning rates that the stability constraints give.
local exponents = require "moonlab.parameterization.exponents"
local check = require "check"
local T = {}

local half = 1 / 2

local function row(t) return { t.embedding, t.hidden, t.readout } end

-- Everett et al. 2024, Table 1: gradient RMS ~ n^-g.
function T.test_gradients_at_initialisation() -- analytic
  local wanted = { standard = { half, half, 0 }, ntk = { half, 1, half }, mup = { half, 1, half },
    mean_field = { 1, 3 / 2, 1 } }
  for name, g in pairs(wanted) do
    local s = exponents.scales(name)
    check.equal(row(exponents.gradients(s.a, s.b)), g)
  end
end

-- Everett et al. 2024: stable at initialisation means a_1 + b_1 = 0, a_l + b_l = 1/2 and
-- a_out + b_out >= 1/2.
function T.test_every_parameterization_is_stable_at_initialisation() -- analytic
  for _, name in ipairs(exponents.names) do
    local s = exponents.scales(name)
    check.equal(s.a.embedding + s.b.embedding, 0.0)
    check.equal(s.a.hidden + s.b.hidden, half)
    check.is_true(s.a.readout + s.b.readout >= half)
  end
end

-- Columns: sgd, adam, adafactor with full alignment, then without; Everett et al. 2024, Table 1.
local learning_rates = {
  standard = {
    { -half, half, 1 }, { 0, 1, 1 }, { 0, half, half },
    { -half, 0, half }, { 0, half, half }, { 0, 0, 0 } },
  ntk = {
    { -half, -half, 0 }, { 0, half, half }, { 0, half, half },
    { -half, -1, -half }, { 0, 0, 0 }, { 0, 0, 0 } },
  mup = {
    { 0, 0, 0 }, { half, 1, half }, { 0, half, 0 },
    { 0, -half, 0 }, { half, half, 0 }, { 0, 0, 0 } },
  mean_field = {
    { -1, -1, -1 }, { 0, half, 0 }, { 0, half, 0 },
    { -1, -3 / 2, -1 }, { 0, 0, -half }, { 0, 0, 0 } },
}

function T.test_largest_stable_learning_rates() -- analytic
  for name, columns in pairs(learning_rates) do
    local s = exponents.scales(name)
    local g = exponents.gradients(s.a, s.b)
    for i, family in ipairs { "sgd", "adam", "adafactor", "sgd", "adam", "adafactor" } do
      local align = exponents.alignment("test", i <= 3 and "full" or "none")
      local c = row(exponents.learning_rates(s.a, s.b, g, align, family))
      for k = 1, 3 do
        if c[k] ~= columns[i][k] then
          check.fail(("%s, column %d, type %d: %g, wanted %g"):format(name, i, k, c[k],
            columns[i][k]))
        end
      end
    end
  end
end

-- Shifting a layer by theta, a + theta and b - theta, changes c by -2 theta (sgd), -theta (adam) or
-- not at all (parameter scaling).
function T.test_learning_rates_follow_a_shift() -- property
  local change = { sgd = 2, adam = 1, adafactor = 0 }
  local align = exponents.alignment("test", { alpha = 0.8, omega = 0.55, u = 0.9 })
  for _, name in ipairs(exponents.names) do
    for family, times in pairs(change) do
      for _, kind in ipairs(exponents.types) do
        local s = exponents.scales(name)
        local before = exponents.learning_rates(s.a, s.b, exponents.gradients(s.a, s.b), align,
          family)
        s.a[kind], s.b[kind] = s.a[kind] + 0.375, s.b[kind] - 0.375
        local after = exponents.learning_rates(s.a, s.b, exponents.gradients(s.a, s.b), align,
          family)
        for _, other in ipairs(exponents.types) do
          check.close(after[other], before[other] - (other == kind and times * 0.375 or 0),
            { atol = 1e-14 })
        end
      end
    end
  end
end

-- The least c: at the solution every r is >= 0 and r_out is 0; with any c lowered, one is not.
local function changes(s, d, align)
  local alpha, omega, u = align.alpha, align.omega, align.u
  local r1 = s.a.embedding + d.embedding
  local rh = math.min(s.a.hidden + d.hidden - alpha.hidden, half + r1 - omega.hidden,
    s.a.hidden + d.hidden + r1 - u.hidden)
  local ro = math.min(s.a.readout + d.readout - alpha.readout,
    s.a.readout + s.b.readout + rh - omega.readout, s.a.readout + d.readout + rh - u.readout)
  return r1, rh, ro
end

function T.test_solutions_meet_the_constraints_and_are_least() -- property
  for _, name in ipairs(exponents.names) do
    local s = exponents.scales(name)
    local g = exponents.gradients(s.a, s.b)
    for _, a in ipairs { "full", "none", { alpha = 0.8, omega = 0.55, u = 0.9 },
      { alpha = 1, omega = 1, u = 1 } } do
      local align = exponents.alignment("test", a)
      local c = exponents.learning_rates(s.a, s.b, g, align, "adam")
      local r1, rh, ro = changes(s, c, align)
      check.is_true(r1 >= -1e-12 and rh >= -1e-12 and math.abs(ro) < 1e-12)
      for _, kind in ipairs(exponents.types) do
        local d = { embedding = c.embedding, hidden = c.hidden, readout = c.readout }
        d[kind] = d[kind] - 0.01
        check.is_true(math.min(changes(s, d, align)) < -1e-6)
      end
    end
  end
end

-- With a readout aligned to the change of the features (omega = 1), standard and NTK learn no
-- features: r_h = 1/2; muP and mean field do.
function T.test_an_aligned_readout_leaves_features_to_two_of_the_four() -- analytic
  local align = exponents.alignment("test",
    { alpha = 1, u = 1, omega = { hidden = half, readout = 1 } })
  local wanted = { standard = half, ntk = half, mup = 0, mean_field = 0 }
  for name, r in pairs(wanted) do
    local s = exponents.scales(name)
    local c = exponents.learning_rates(s.a, s.b, exponents.gradients(s.a, s.b), align, "adam")
    local _, rh = changes(s, c, align)
    check.close(rh, r, { atol = 1e-12 })
  end
end

function T.test_bad_alignments_raise() -- error
  for _, bad in ipairs { "fall", 3, { alpha = 1 }, { alpha = 1, omega = 2, u = 1 },
    { alpha = 1, omega = 1 / 2, u = 1, beta = 1 } } do
    check.raises("ml.x", exponents.alignment, "ml.x", bad)
  end
end

return T
