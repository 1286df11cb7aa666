-- Normal, Student t and beta distributions against mpmath and published tables; means and
-- quantiles.
local ml = require "moonlab"
local check = require "check"
local golden = ml.json.read("tests/golden/stats/golden.json")
local stats = ml.stats
local T = {}

function T.test_the_normal_distribution_agrees_with_mpmath() -- golden
  for _, g in ipairs(golden.normal_cdf) do check.close(stats.normal_cdf(g[1]), g[2],
    { rtol = 1e-13 }) end
  for _, g in ipairs(golden.normal_quantile) do
    check.close(stats.normal_quantile(g[1]), g[2], { rtol = 2e-15, atol = 1e-300 })
  end
  check.equal({ stats.normal_quantile(0), stats.normal_quantile(1) }, { -math.huge, math.huge })
end

function T.test_student_s_t_agrees_with_mpmath() -- golden
  for _, g in ipairs(golden.t_cdf) do
    -- with 1e6 degrees of freedom the continued fraction takes some thousand steps
    check.close(stats.t_cdf(g[1], g[2]), g[3], { rtol = g[2] < 1e5 and 1e-12 or 5e-11 })
  end
  for _, g in ipairs(golden.t_quantile) do
    -- near the median t is a small difference; for 1e6 degrees of freedom as above
    local rtol = g[2] < 1e5 and 1e-12 or 1e-11
    check.close(stats.t_quantile(g[1], g[2]), g[3], { rtol = rtol, atol = 1e-13 })
  end
end

-- Abramowitz & Stegun 1964, table 26.10: t with P(|T| < t) = 0.5, 0.9, 0.95, 0.99, 0.999.
function T.test_student_s_t_is_that_of_the_published_table() -- table
  local rows = {
    [1] = { 1.000, 6.314, 12.706, 63.657, 636.619 },
    [2] = { 0.816, 2.920, 4.303, 9.925, 31.598 },
    [5] = { 0.727, 2.015, 2.571, 4.032, 6.869 },
    [10] = { 0.700, 1.812, 2.228, 3.169, 4.587 },
    [30] = { 0.683, 1.697, 2.042, 2.750, 3.646 },
    [120] = { 0.677, 1.658, 1.980, 2.617, 3.373 },
    [math.huge] = { 0.674, 1.645, 1.960, 2.576, 3.291 },
  }
  for dof, row in pairs(rows) do
    for j, level in ipairs { 0.5, 0.9, 0.95, 0.99, 0.999 } do
      -- three decimals, and the table has 31.598 where the value is 31.5991
      check.close(stats.t_quantile(0.5 + level / 2, dof), row[j], { rtol = 0, atol = 0.0012 })
    end
  end
  check.close(stats.t_quantile(0.975, 1), math.tan(0.475 * math.pi), { rtol = 1e-14 }) -- Cauchy
  local z = stats.t_quantile(0.975, 3) / math.sqrt(3) -- closed form of three degrees of freedom
  check.close((z / (1 + z * z) + math.atan(z)) / math.pi, 0.475, { rtol = 1e-14 })
end

function T.test_the_beta_distribution_agrees_with_mpmath() -- golden
  for _, g in ipairs(golden.beta_cdf) do
    check.close(stats.beta_cdf(g[1], { g[2], g[3] }), g[4], { rtol = 1e-11 }) -- shapes up to 3e5
  end
  for _, g in ipairs(golden.beta_quantile) do
    check.close(stats.beta_quantile(g[1], { g[2], g[3] }), g[4], { rtol = 1e-11 })
  end
end

function T.test_the_incomplete_beta_has_closed_forms() -- analytic
  for _, x in ipairs { 1e-9, 0.2, 0.5, 0.9 } do
    check.close(stats.beta_cdf(x, { 3, 1 }), x ^ 3, { rtol = 1e-13 })
    check.close(stats.beta_cdf(x, { 2, 2 }), x * x * (3 - 2 * x), { rtol = 1e-13 })
    check.close(stats.beta_cdf(x, { 0.5, 0.5 }), 2 / math.pi * math.asin(math.sqrt(x)),
      { rtol = 1e-13 })
  end
  check.equal({ stats.beta_cdf(-1, { 2, 3 }), stats.beta_cdf(2, { 2, 3 }) }, { 0.0, 1.0 })
  check.equal({ stats.beta_quantile(0, { 2, 3 }), stats.beta_quantile(1, { 2, 3 }) }, { 0.0, 1.0 })
end

function T.test_quantiles_invert_probabilities() -- property
  for _, p in ipairs { 1e-9, 0.03, 0.5, 0.77, 0.999 } do
    check.close(stats.normal_cdf(stats.normal_quantile(p)), p, { rtol = 1e-13 })
    for _, a in ipairs { 0.2, 1, 8.5, 400 } do
      check.close(stats.t_cdf(stats.t_quantile(p, a), a), p, { rtol = 1e-12 })
      -- with a < 1 most of the mass may lie nearer to 1 than doubles resolve: p to 1e-16^a
      for _, b in ipairs { 1, 3, 90 } do
        check.close(stats.beta_cdf(stats.beta_quantile(p, { a, b }), { a, b }), p, { rtol = 1e-11 })
      end
    end
  end
end

function T.test_bad_arguments_raise() -- error
  check.raises("#1 to 'ml.stats.normal_quantile' (p is 1.5, wanted a probability, 0 to 1)",
    stats.normal_quantile, 1.5)
  check.raises("p is nan, wanted a number", stats.t_quantile, 0 / 0, 3)
  check.raises("dof is 0, wanted > 0", stats.t_quantile, 0.5, 0)
  check.raises("t is \"a\", wanted a number", stats.t_cdf, "a", 1)
  check.raises("a is -1, wanted > 0", stats.beta_cdf, 0.5, { -1, 1 })
  check.raises("b is nothing, wanted a number", stats.beta_cdf, 0.5, { 1 })
  check.raises("3, wanted the shape { a, b }", stats.beta_quantile, 0.5, 3)
  check.raises("a is inf, wanted a finite number > 0", stats.beta_quantile, 0.5, { 1 / 0, 1 })
end

-- ---- means and quantiles ------------------------------------------------------------------------

function T.test_the_mean_has_its_standard_error() -- analytic
  local mean, stderr, info = stats.mean { 1, 2, 3, 6 }
  check.close({ mean, info.std, stderr }, { 3, math.sqrt(14 / 3), math.sqrt(14 / 12) },
    { rtol = 1e-14 })
  local reach = stats.t_quantile(0.975, 3) * stderr
  check.close({ info.low, info.high }, { 3 - reach, 3 + reach }, { rtol = 1e-12 })
  mean, stderr, info = stats.mean(ml.f64 { 7 })
  check.is_true(mean == 7 and stderr ~= stderr and info.low ~= info.low)
  check.raises("x is empty", stats.mean, {})
  check.raises("x[2] is nan", stats.mean, { 1, 0 / 0 })
end

function T.test_quantiles_are_numpy_s() -- golden
  local a = golden.correlation.a
  for _, g in ipairs(golden.quantile) do check.close(stats.quantile(a, g[1]), g[2],
    { rtol = 1e-14 }) end
  check.equal(stats.quantile({ 4, 1, 3, 2 }, { 0, 0.5, 1 }), { 1.0, 2.5, 4.0 })
  check.equal(stats.quantile({ 5 }, 0.3), 5.0)
  check.equal(stats.quantile({ 1, math.huge, math.huge }, 0.75), math.huge)
  check.raises("q[1] is 50, wanted a probability, 0 to 1", stats.quantile, { 1 }, 50)
  check.raises("x[1] is nan", stats.quantile, { 0 / 0 }, 0.5)
  check.raises("x is empty", stats.quantile, {}, 0.5)
end

return T
