-- Optima by a parabola, and the extrapolation of a log-log quadratic.
local ml = require "moonlab"
local check = require "check"
local golden = ml.json.read("tests/golden/stats/golden.json")
local T = {}

function T.test_an_exact_parabola_gives_its_vertex() -- analytic
  local x, y = { -1, 0, 2, 3, 7 }, {}
  for i, v in ipairs(x) do y[i] = 4 + 0.5 * (v - 2.25) ^ 2 end
  local best, s, info = ml.fit.parabola(x, y)
  check.close({ best, info.value, info.curvature }, { 2.25, 4, 1 }, { rtol = 1e-13 })
  check.close(s, 0, { atol = 1e-12 })
  x, y = { 1, 2, 4, 5 }, {}
  for i, v in ipairs(x) do y[i] = 4 - 0.5 * (v - 2.25) ^ 2 end
  best, s, info = ml.fit.parabola(x, y, { maximum = true })
  check.close(s, 0, { atol = 1e-12 })
  check.close({ best, info.value, info.curvature }, { 2.25, 4, -1 }, { rtol = 1e-12 })
end

function T.test_logarithmic_axes_agree_with_polyfit() -- golden
  local g = golden.parabola
  local best, s, info = ml.fit.parabola(g.x, g.y, { log = "x" })
  local close = { rtol = 1e-9 } -- polyfit's covariance of uncentred powers loses digits
  check.close({ math.log(best), info.log_stderr, s }, { g.log_best, g.log_stderr,
    math.exp(g.log_best) * g.log_stderr }, close)
  check.close({ info.value, info.curvature, info.curvature_stderr }, { g.value, g.curvature,
    g.curvature_stderr }, close)
  local q = ml.stats.t_quantile(0.975, 3)
  check.close({ info.low, info.high }, { best * math.exp(-q * info.log_stderr),
    best * math.exp(q * info.log_stderr) })
end

function T.test_both_axes_logarithmic_is_the_parabola_of_the_logarithms() -- property
  local g = golden.parabola
  local u, v = {}, {}
  for i = 1, #g.x do u[i], v[i] = math.log(g.x[i]), math.log(g.y[i]) end
  local best, s, info = ml.fit.parabola(g.x, g.y, { log = "xy" })
  local b, t, plain = ml.fit.parabola(u, v)
  check.close({ math.log(best), s / best, math.log(info.value), info.value_stderr / info.value,
    info.curvature },
    { b, t, plain.value, plain.value_stderr, plain.curvature }, { rtol = 1e-12 })
end

-- The standard error against the spread of the vertex over 4000 noisy sweeps: the spread of a
-- spread is 1/sqrt(2 * 4000) = 1.1 %, and the delta method neglects terms of second order, about 1
-- % here.
function T.test_the_standard_error_is_the_spread_of_the_optimum() -- property
  local g, x, sum, square, errors = ml.rng(5), { 1, 2, 3, 4, 5, 6, 7 }, 0, 0, 0
  for _ = 1, 4000 do
    local noise, y = g:normal({ 7 }, { std = 0.05 }), {}
    for i, v in ipairs(x) do y[i] = 0.2 * (v - 4.6) ^ 2 + noise[i] end
    local best, s = ml.fit.parabola(x, y)
    sum, square, errors = sum + best, square + best * best, errors + s * s
  end
  local spread = math.sqrt(square / 4000 - (sum / 4000) ^ 2)
  check.close(math.sqrt(errors / 4000), spread, { rtol = 0.05 })
  check.close(sum / 4000, 4.6, { atol = 4 * spread / math.sqrt(4000) })
end

function T.test_three_points_around_the_best_are_used() -- analytic
  -- Lagrange's vertex of the three points around the least
  local x, y = { 1e-4, 1e-3, 1e-2, 1e-1, 1 }, { 9, 4, 3.5, 4.2, 50 }
  local best, s, info = ml.fit.parabola(x, y, { log = "x", points = 3 })
  local want = -2 + 0.5 * (4 - 4.2) / (4 - 2 * 3.5 + 4.2)
  check.close(math.log(best, 10), want, { rtol = 1e-12 })
  check.is_true(s ~= s) -- three points leave no residual
  check.equal({ info.n, info.x_min, info.x_max }, { 3, 1e-3, 1e-1 })
  -- neighbours are counted in different x, several seeds at one x come along
  best, s, info = ml.fit.parabola({ 1, 2, 3, 4, 5, 3, 2 }, { 9, 4, 3.4, 4, 9, 3.6, 4.1 },
    { points = 3 })
  check.equal(info.n, 5)
  check.is_true(best > 2 and best < 4 and s > 0)
end

function T.test_not_bracketed_is_said_instead_of_a_number()
  local function reason(...)
    local best, why, info = ml.fit.parabola(...)
    check.is_nil(best)
    check.equal(why, "not bracketed")
    return info.reason
  end
  check.equal(reason({ 1, 2, 3, 4 }, { 16, 9, 4, 1 }), "the vertex lies outside the data")
  check.equal(reason({ 1, 2, 3, 4 }, { 1, 3, 3, 1 }), "the parabola opens the wrong way")
  check.equal(reason({ 1, 2, 3, 4 }, { 3, 1, 1, 3 }, { maximum = true }),
    "the parabola opens the wrong way")
  check.equal(reason({ 1, 2, 3, 4 }, { 9, 4, 3, 2.9 }, { points = 3 }), "the least y is at an end")
  check.equal(reason({ 1, 2, 3, 4 }, { 9, 4, 3, 2.9 }, { points = 3, maximum = true }),
    "the largest y is at an end")
  -- the vertex exactly on the last x is not between
  check.equal(reason({ 1, 2, 3 }, { 4, 1, 0 }), "the vertex lies outside the data")
end

function T.test_diverged_runs_are_dropped_and_listed()
  local x, y = { 10, 1, 2, 3, 4, 5 }, { 0 / 0, 9, 4, 3, 4.4, 1 / 0 }
  local best, s, info = ml.fit.parabola(x, y)
  local same, same_s = ml.fit.parabola({ 1, 2, 3, 4 }, { 9, 4, 3, 4.4 })
  check.equal({ best, s }, { same, same_s })
  check.equal(info.dropped, { 5.0, 10.0 })
  local _, why, left = ml.fit.parabola({ 1, 2, 3, 4 }, { 9, 4, 3, 1 / 0 }, { points = 3 })
  check.equal({ why, left.dropped }, { "not bracketed", { 4.0 } })
end

function T.test_shift_scale_and_order_carry_over() -- property
  local g = golden.parabola
  local best, s, info = ml.fit.parabola(g.x, g.y, { log = "x" })
  local x, y = {}, {}
  for i = 1, #g.x do x[#g.x + 1 - i], y[#g.x + 1 - i] = 8 * g.x[i], 3 + 2 * g.y[i] end
  local b2, s2, i2 = ml.fit.parabola(ml.f64(x), y, { log = "x" })
  check.close({ b2, s2, i2.value, i2.curvature }, { 8 * best, 8 * s, 3 + 2 * info.value,
    2 * info.curvature }, { rtol = 1e-12 })
end

function T.test_bad_input_raises() -- error
  local f = ml.fit.parabola
  check.raises("2 different x in use, wanted at least 3", f, { 1, 2, 2 }, { 1, 2, 3 })
  check.raises("2 different x in use, wanted at least 3", f, { 1, 2, 3 }, { 1, 2, 1 / 0 })
  check.raises("x[1] is 0, wanted > 0 for its logarithm", f, { 0, 2, 3 }, { 1, 2, 3 },
    { log = "x" })
  check.raises("y[2] is -2, wanted > 0 for its logarithm", f, { 1, 2, 3 }, { 1, -2, 3 },
    { log = "y" })
  check.raises("option 'points' is 4, wanted an odd number >= 3", f, { 1, 2, 3 }, { 1, 2, 3 },
    { points = 4 })
  check.raises("option 'log' is \"z\"", f, { 1, 2, 3 }, { 1, 2, 3 }, { log = "z" })
  check.raises("x and y disagree", f, { 1, 2, 3 }, { 1, 2 })
  check.raises("x[2] is inf", f, { 1, 1 / 0, 3 }, { 1, 2, 3 })
end

-- ---- log-log quadratic --------------------------------------------------------------------------

function T.test_an_exact_quadratic_foretells_the_point_kept_out() -- analytic
  local x, y = { 1e7, 1e3, 1e4, 1e5, 1e6 }, {}
  local function law(v)
    local u = math.log(v)
    return math.exp(0.3 - 0.2 * u + 0.03 * u * u)
  end
  for i, v in ipairs(x) do y[i] = law(v) end
  local ahead, err, info = ml.fit.quadratic_loglog(x, y)
  check.close(ahead, law(1e7), { rtol = 1e-11 }) -- extrapolation magnifies rounding
  check.close({ err, info.factor }, { 0, 1 }, { atol = 1e-11 })
  check.close(info.coefficients, { 0.3, -0.2, 0.03 }, { rtol = 1e-10 })
  check.equal({ info.n, info.x_max, info.holdout[1].x }, { 4, 1e6, 1e7 })
  -- crossings: both roots, one below and one above the minimum
  local roots = info.crossings(law(1e5))
  check.close(roots, { math.exp(0.2 / 0.03 - math.log(1e5)), 1e5 }, { rtol = 1e-9 })
  check.equal(info.crossings(1e-3), {})
  ahead = { ml.fit.quadratic_loglog(x, y, { holdout = 0 }) }
  check.is_nil(ahead[1])
  check.equal(ahead[3].n, 5)
end

function T.test_the_quadratic_agrees_with_polyfit() -- golden
  local g = golden.quadratic
  local ahead, err, info = ml.fit.quadratic_loglog(g.x, g.y)
  local close = { rtol = 1e-8 } -- polyfit's uncentred powers of logarithms near 14 lose digits
  check.close({ ahead, err }, { g.prediction, g.prediction / g.y[5] - 1 }, close)
  check.close(info.coefficients, g.coefficients, close)
  check.close(info.coefficient_stderrs, g.stderrs, close)
  check.close(info.factor, math.max(ahead / g.y[5], g.y[5] / ahead))
end

function T.test_several_points_may_be_kept_out()
  local x, y = { 1, 2, 4, 8, 16 }, { 1, 2.2, 3.9, 8.5, 15 }
  local ahead, err, info = ml.fit.quadratic_loglog(x, y, { holdout = 2 })
  check.equal(#info.holdout, 2)
  check.equal({ info.holdout[2].predicted, info.holdout[2].error }, { ahead, err })
  check.equal(info.holdout[1].observed, 8.5)
  check.raises("2 different x in use, wanted at least 3", ml.fit.quadratic_loglog, x, y,
    { holdout = 3 })
  check.raises("option 'holdout' is -1, wanted >= 0", ml.fit.quadratic_loglog, x, y,
    { holdout = -1 })
  check.raises("y[2] is nan", ml.fit.quadratic_loglog, x, { 1, 0 / 0, 3, 4, 5 })
  check.raises("x[1] is 0, wanted > 0", ml.fit.quadratic_loglog, { 0, 1, 2, 3 }, { 1, 1, 1, 1 })
  check.raises("y is -1, wanted a finite number > 0", info.crossings, -1)
end

return T
