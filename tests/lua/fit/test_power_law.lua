-- Power laws: closed forms, SciPy's numbers, invariances, and what bad input says.
local ml = require "moonlab"
local check = require "check"
local golden = ml.json.read("tests/golden/stats/golden.json").power_law
local T = {}

local function law(x, c, e)
  local y = {}
  for i, v in ipairs(x) do y[i] = c * v ^ e end
  return y
end

function T.test_an_exact_law_is_found() -- analytic
  local x = { 3, 10, 45, 200, 1234 }
  local e, s, info = ml.fit.power_law(x, law(x, 2.5, -0.7))
  -- rounding of five logarithms
  check.close({ e, info.coefficient, info.r2 }, { -0.7, 2.5, 1 }, { rtol = 1e-13 })
  check.close({ s, info.residual_std }, { 0, 0 }, { atol = 1e-14 })
  check.close(info.predict(7), 2.5 * 7 ^ -0.7, { rtol = 1e-13 })
  check.equal({ info.n, info.dof, info.x_min, info.x_max }, { 5, 3, 3.0, 1234.0 })
end

function T.test_least_squares_agree_with_scipy() -- golden
  local g = golden
  local e, s, info = ml.fit.power_law(g.x, g.y, { level = g.level })
  local close = { rtol = 1e-12 }
  check.close({ e, s, info.r2, info.residual_std }, { g.exponent, g.stderr, g.r2, g.residual_std },
    close)
  check.close({ info.coefficient, info.coefficient_stderr }, { g.coefficient,
    g.coefficient_stderr }, close)
  check.close({ info.low, info.high }, g.interval, close)
  for _, row in ipairs(g.band) do check.close({ info.band(row[1]) }, { row[2], row[3] }, close) end
  for _, row in ipairs(g.prediction) do
    check.close({ info.prediction_band(row[1]) }, { row[2], row[3] }, close)
  end
end

function T.test_known_errors_are_taken_as_they_are_and_weights_are_rescaled() -- golden
  local g = golden
  local e, s, info = ml.fit.power_law(g.x, g.y, { sigma = g.sigma })
  check.close({ e, s }, g.known, { rtol = 1e-7 }) -- curve_fit iterates on a numerical Jacobian
  check.is_nil(info.prediction_band)
  local w = {}
  for i, y in ipairs(g.y) do w[i] = 5 * (y / g.sigma[i]) ^ 2 end -- any common factor
  local relative_e, relative_s = ml.fit.power_law(g.x, g.y, { weights = w })
  check.close({ relative_e, relative_s }, g.relative, { rtol = 1e-7 })
  local sum = 0
  for i, x in ipairs(g.x) do
    sum = sum + (math.log(g.y[i] / info.predict(x)) * g.y[i] / g.sigma[i]) ^ 2
  end
  check.close(info.chi2, sum, { rtol = 1e-10 })
end

function T.test_tensors_lists_and_any_order_give_the_same_bits() -- property
  local g = golden
  local e, s = ml.fit.power_law(g.x, g.y)
  local order, x, y = { 4, 1, 6, 3, 2, 5 }, {}, {}
  for k, i in ipairs(order) do x[k], y[k] = g.x[i], g.y[i] end
  check.equal(ml.fit.power_law(x, y), e)
  x, y = { 2, 2, 2, 4, 4, 8 }, { 1, 1.1, 0.7, 0.33, 0.31, 0.2 } -- several at one x
  check.equal(ml.fit.power_law(x, y), (ml.fit.power_law({ 4, 2, 8, 2, 4, 2 }, { 0.31, 0.7, 0.2,
    1.1, 0.33, 1 })))
  local e2, s2, info = ml.fit.power_law(ml.f64(g.x), ml.f64(g.y))
  check.equal({ e2, s2 }, { e, s })
  local t = info.predict(ml.f64 { 20, 30 })
  check.equal(t, ml.f64 { info.predict(20), info.predict(30) })
  local low, high = info.band { 20, 30 }
  check.equal({ low[2], high[2] }, { info.band(30) })
  check.close(ml.fit.power_law(ml.index { 2, 4, 8 }, { 4.0, 16.0, 64.0 }), 2, { rtol = 1e-14 })
end

function T.test_scales_change_the_coefficient_only() -- property
  local g = golden
  local e, s, info = ml.fit.power_law(g.x, g.y)
  local x, y = {}, {}
  for i = 1, #g.x do x[i], y[i] = 1e6 * g.x[i], 1e-30 * g.y[i] end
  local e2, s2, scaled = ml.fit.power_law(x, y)
  check.close({ e2, s2, scaled.r2 }, { e, s, info.r2 }, { rtol = 1e-11 }) -- logarithms of size 70
  check.close(scaled.predict(3e6), 1e-30 * info.predict(3), { rtol = 1e-11 })
end

function T.test_range_and_zero_weights_leave_points_out()
  local x, y = { 0, 1, 2, 4, 8, 16 }, { -1, 9, 1, 2, 4, 8 }
  local e, _, info = ml.fit.power_law(x, y, { range = { 2, 16 } })
  check.close(e, 1, { rtol = 1e-14 })
  check.equal(info.n, 4)
  check.close(ml.fit.power_law(x, y, { weights = { 0, 0, 1, 1, 1, 1 } }), 1, { rtol = 1e-14 })
end

function T.test_two_points_give_an_exponent_without_an_error()
  local e, s, info = ml.fit.power_law({ 16, 32 }, { 1, 0.5 })
  check.close(e, -1, { rtol = 1e-14 })
  check.is_true(s ~= s and info.low ~= info.low and info.dof == 0)
  check.is_true(info.band(20) ~= info.band(20))
  -- with sigma there is one: sqrt(2 (0.1)^2) / log 2
  s = select(2, ml.fit.power_law({ 16, 32 }, { 1, 0.5 }, { sigma = { 0.1, 0.05 } }))
  check.close(s, math.sqrt(0.02) / math.log(2), { rtol = 1e-13 })
end

-- Coverage of the interval over 2000 simulated studies of 6 points: the share is binomial with
-- standard deviation sqrt(0.9 * 0.1 / 2000) = 0.0067, so that four of them are 0.027.
function T.test_the_interval_covers_as_often_as_it_says() -- property
  local g, x, covered, inside = ml.rng(11), { 1, 2, 4, 8, 16, 32 }, 0, 0
  for _ = 1, 2000 do
    local noise, y = g:normal({ 6 }, { std = 0.2 }), {}
    for i, v in ipairs(x) do y[i] = 3 * v ^ -0.5 * math.exp(noise[i]) end
    local _, _, info = ml.fit.power_law(x, y, { level = 0.9 })
    if info.low <= -0.5 and info.high >= -0.5 then covered = covered + 1 end
    local low, high = info.band(64)
    if low <= 3 * 64 ^ -0.5 and high >= 3 * 64 ^ -0.5 then inside = inside + 1 end
  end
  check.close({ covered / 2000, inside / 2000 }, { 0.9, 0.9 }, { rtol = 0, atol = 0.027 })
end

function T.test_bad_input_raises() -- error
  local f = ml.fit.power_law
  check.raises("#1 to 'ml.fit.power_law' (x[2] is -2, wanted > 0 for its logarithm)", f, { 1, -2 },
    { 1, 1 })
  check.raises("#2 to 'ml.fit.power_law' (y[2] is 0, wanted > 0 for its logarithm)", f, { 1, 2 },
    { 1, 0 })
  check.raises("y[3] is inf, wanted a finite number", f, { 1, 2, 3 }, { 1, 2, 1 / 0 })
  check.raises("y[1] is nan, wanted a finite number", f, { 1, 2, 3 }, { 0 / 0, 2, 1 })
  check.raises("x[1] is nan, wanted a finite number", f, { 0 / 0, 2, 3 }, { 1, 2, 1 })
  check.raises("x and y disagree: 3 entries and 2", f, { 1, 2, 3 }, { 1, 2 })
  check.raises("1 different x in use, wanted at least 2", f, { 2, 2 }, { 1, 3 })
  check.raises("0 different x in use", f, {}, {})
  check.raises("unknown option 'rnage'; did you mean 'range'", f, { 1, 2 }, { 1, 3 },
    { rnage = { 1, 2 } })
  check.raises("option 'range' wants { low, high }", f, { 1, 2 }, { 1, 3 }, { range = { 2, 1 } })
  check.raises("weights[2] is -1, wanted >= 0", f, { 1, 2 }, { 1, 3 }, { weights = { 1, -1 } })
  check.raises("3 weights for 2 points", f, { 1, 2 }, { 1, 3 }, { weights = { 1, 1, 1 } })
  check.raises("every weight is 0", f, { 1, 2 }, { 1, 3 }, { weights = { 0, 0 } })
  check.raises("sigma[1] is 0, wanted > 0", f, { 1, 2 }, { 1, 3 }, { sigma = { 0, 1 } })
  check.raises("give sigma or weights, not both", f, { 1, 2 }, { 1, 3 }, { sigma = { 1, 1 },
    weights = { 1, 1 } })
  check.raises("the level is 95, wanted a number between 0 and 1", f, { 1, 2 }, { 1, 3 },
    { level = 95 })
  check.raises("x is nothing, wanted a list of numbers or a tensor [n]", f)
  check.raises("x is a tensor of 2 axes", f, ml.ones { 2, 2 }, { 1, 2 })
  check.raises("y[2] is \"b\", wanted a number", f, { 1, 2 }, { 1, "b" })
  local _, _, info = f({ 1, 2 }, { 1, 3 })
  check.raises("x is -1, wanted > 0", info.predict, -1)
end

function T.test_errors_point_at_the_line_of_the_caller() -- error
  local text = check.raises("x[1]", function()
    local e = ml.fit.power_law({ -1, 2 }, { 1, 2 })
    return e
  end)
  check.is_true(text:find("test_power_law.lua:%d+: bad argument") ~= nil)
end

return T
