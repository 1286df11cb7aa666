-- The bootstrap, paired comparisons and permutation tests: definitions, coverage, enumeration.
local ml = require "moonlab"
local check = require "check"
local golden = ml.json.read("tests/golden/stats/golden.json")
local stats = ml.stats
local T = {}

local function mean_of(x) return x:mean():item() end
local sample = { 2.5, 3.1, 0.4, 7.9, 4.4, 4.0, 1.2, 3.3 }

function T.test_the_same_seed_gives_the_same_bits() -- property
  local threads = ml.threads()
  local x = ml.rng(4):normal { 3000 }
  local low, high, info = stats.bootstrap(x, { resamples = 1500 })
  ml.threads(1)
  local low1, high1, info1 = stats.bootstrap(x, { resamples = 1500, seed = 1 })
  ml.threads(threads)
  check.equal({ low1, high1 }, { low, high })
  check.equal(info1.distribution, info.distribution)
  check.is_true(stats.bootstrap(x, { resamples = 1500, seed = 2 }) ~= low)
  -- an rng is advanced: the next call draws others
  local g = ml.rng(1)
  check.equal(stats.bootstrap(x, { resamples = 1500, rng = g }), low)
  check.is_true(stats.bootstrap(x, { resamples = 1500, rng = g }) ~= low)
end

function T.test_resamples_are_draws_of_the_generator() -- brute force
  local ids = ml.rng(7):integers(1, 8, { 500, 8 }):totable()
  local _, _, info = stats.bootstrap(sample, { resamples = 500, seed = 7 })
  local sum = 0
  for r = 1, 500 do
    local mean = 0
    for _, i in ipairs(ids[r]) do mean = mean + sample[i] / 8 end
    check.close(info.distribution[r], mean, { rtol = 1e-14 })
    sum = sum + info.distribution[r]
  end
  check.close(info.bias, sum / 500 - info.estimate, { rtol = 1e-9 })
  check.close(info.stderr, info.distribution:std({ ddof = 1 }):item(), { rtol = 1e-12 })
end

function T.test_named_statistics_are_the_functions() -- property
  local of = {
    mean = mean_of,
    sum = function(x) return x:sum():item() end,
    median = function(x) return stats.quantile(x, 0.5) end,
    var = function(x) return x:var({ ddof = 1 }):item() end,
    std = function(x) return x:std({ ddof = 1 }) end, -- a 0-d tensor will do
  }
  for _, list in ipairs { sample, { 1, 5, 2 } } do -- even and odd
    for name, f in pairs(of) do
      local a, b, named = stats.bootstrap(list, { statistic = name, resamples = 200 })
      local c, d, called = stats.bootstrap(list, { statistic = f, resamples = 200 })
      check.close({ a, b, named.estimate }, { c, d, called.estimate }, { rtol = 1e-13,
        atol = 1e-15 })
      check.close(named.distribution, called.distribution, { rtol = 1e-13, atol = 1e-15 })
    end
  end
end

-- 3^3 resamples of three entries, each as likely: the exact distribution of the mean against the
-- drawn one.
function T.test_the_distribution_is_that_of_all_resamples() -- brute force
  local x, want = { 1, 2, 4 }, {}
  for i = 1, 3 do for j = 1, 3 do for k = 1, 3 do
    local s = x[i] + x[j] + x[k]
    want[s] = (want[s] or 0) + 1 / 27
  end end end
  local _, _, info = stats.bootstrap(x, { resamples = 40000, statistic = "sum" })
  local found = {}
  for _, v in ipairs(info.distribution:totable()) do
    found[math.tointeger(v)] = (found[math.tointeger(v)] or 0) + 1 / 40000
  end
  for s, p in pairs(want) do -- five standard deviations
    check.close(found[s], p, { rtol = 0, atol = 5 * math.sqrt(p * (1 - p) / 40000) })
  end
end

-- 1000 studies of 40 normal numbers, nominal 0.9. The percentile interval of the mean covers like a
-- normal one with the biased variance, 0.884 at n = 40; four standard deviations of a share of 1000
-- are 0.038.
function T.test_intervals_cover_the_mean() -- property
  local g, covered = ml.rng(21), { percentile = 0, basic = 0, bca = 0 }
  for _ = 1, 1000 do
    local x = g:normal({ 40 }, { mean = 2 })
    for method in pairs(covered) do
      local low, high = stats.bootstrap(x, { resamples = 300, level = 0.9, method = method })
      if low <= 2 and high >= 2 then covered[method] = covered[method] + 1 end
    end
  end
  for _, count in pairs(covered) do check.close(count / 1000, 0.884, { rtol = 0, atol = 0.038 }) end
end

function T.test_the_standard_error_of_the_mean_is_known() -- analytic
  local mean, stderr = stats.mean(sample)
  local _, _, info = stats.bootstrap(sample)
  check.close(info.estimate, mean, { rtol = 1e-14 })
  -- std/sqrt(n) with divisor n; a standard deviation of 10000 draws is known to 0.7 %
  check.close(info.stderr, stderr * math.sqrt(7 / 8), { rtol = 0.028 })
end

function T.test_methods_follow_from_the_distribution() -- brute force
  local opts = { resamples = 999, level = 0.9, statistic = "var" }
  local low, high, info = stats.bootstrap(sample, opts)
  local q = stats.quantile(info.distribution, { 0.05, 0.95 })
  check.close({ low, high }, q, { rtol = 1e-13 })
  opts.method = "basic"
  low, high = stats.bootstrap(sample, opts)
  check.close({ low, high }, { 2 * info.estimate - q[2], 2 * info.estimate - q[1] },
    { rtol = 1e-14 })
  opts.method = "bca"
  low, high = stats.bootstrap(sample, opts)
  local below, left = 0, {}
  for _, v in ipairs(info.distribution:totable()) do
    below = below + (v < info.estimate and 1 or v == info.estimate and 0.5 or 0)
  end
  for i = 1, 8 do
    local rest = table.move(sample, 1, 8, 1, {})
    table.remove(rest, i)
    left[i] = ml.f64(rest):var({ ddof = 1 }):item()
  end
  local mean, cube, square = stats.mean(left), 0, 0
  for _, v in ipairs(left) do cube, square = cube + (mean - v) ^ 3, square + (mean - v) ^ 2 end
  local z0, a = stats.normal_quantile(below / 999), cube / (6 * square ^ 1.5)
  local levels = {}
  for k, p in ipairs { 0.05, 0.95 } do
    local z = z0 + stats.normal_quantile(p)
    levels[k] = stats.normal_cdf(z0 + z / (1 - a * z))
  end
  check.close({ low, high }, stats.quantile(info.distribution, levels), { rtol = 1e-12 })
end

function T.test_samples_that_belong_together_are_resampled_together()
  local s, l = { 3, 2, 2, 1, 5, 4 }, { 1, 0, 1, 0, 0, 1 }
  local low, high, info = stats.bootstrap({ s, l }, { statistic = stats.average_precision,
    resamples = 300 })
  check.equal(info.estimate, (stats.average_precision(s, l)))
  check.is_true(low < info.estimate and high >= info.estimate)
  -- resamples without a positive have no value: about 300 / 2^6
  check.is_true(info.invalid > 0 and info.invalid < 25)
  local rows = ml.f64 { { 1, 2 }, { 3, 5 }, { 4, 4 } }
  info = select(3, stats.bootstrap(rows,
    { statistic = function(x) return (x:mean(1)):max():item() end,
    resamples = 20 }))
  check.close(info.estimate, 11 / 3, { rtol = 1e-14 })
  check.equal(info.distribution:shape(), { 20 })
end

function T.test_scale_shift_and_no_leak() -- property
  local x, y = ml.f64(sample), ml.f64(sample) * 4 - 3
  local low, high = stats.bootstrap(x)
  local y_low, y_high = stats.bootstrap(y)
  check.close({ y_low, y_high }, { 4 * low - 3, 4 * high - 3 }, { rtol = 1e-12 })
  local one, two, info = stats.bootstrap({ 2, 2, 2 }, { method = "bca" })
  check.equal({ one, two, info.stderr }, { 2.0, 2.0, 0.0 })
  check.no_leak(function() stats.bootstrap(sample, { resamples = 20 }) end, { limit = 40 })
  check.no_leak(function() stats.bootstrap(sample, { resamples = 5, statistic = mean_of }) end,
    { limit = 40 })
end

function T.test_bad_input_raises() -- error
  local f = stats.bootstrap
  check.raises("#1 to 'ml.stats.bootstrap' (x[2] is inf, wanted a finite number)", f, { 1, 1 / 0 })
  check.raises("x[3] is nan", f, ml.f64 { 1, 2, 0 / 0 })
  check.raises("x has entries that are not finite", f, ml.f64 { { 1, 2 }, { 0 / 0, 1 } },
    { statistic = mean_of })
  check.raises("x has 1 entries, wanted at least 2", f, { 1 })
  check.raises("x[1] and x[2] disagree: 2 entries and 3", f, { { 1, 2 }, { 1, 2, 3 } },
    { statistic = mean_of })
  check.raises("several samples or axes want a function", f, { { 1, 2 }, { 1, 2 } })
  check.raises("did you mean 'median'?", f, { 1, 2 }, { statistic = "mediann" })
  check.raises("the statistic gave a table, wanted a number", f, { 1, 2 },
    { statistic = function(x) return { x } end })
  check.raises("the statistic has no value on any resample", f, { 1, 2 },
    { statistic = function() end, resamples = 3 })
  check.raises("option 'resamples' is 0", f, { 1, 2 }, { resamples = 0 })
  check.raises("option 'method' is \"bac\"", f, { 1, 2 }, { method = "bac" })
  check.raises("give seed or rng, not both", f, { 1, 2 }, { seed = 1, rng = ml.rng(1) })
  check.raises("option 'seed' is 1.5, wanted an integer", f, { 1, 2 }, { seed = 1.5 })
  check.raises("option 'rng' is 3, wanted an ml.rng", f, { 1, 2 }, { rng = 3 })
  check.raises("unknown option 'resample'; did you mean 'resamples'", f, { 1, 2 },
    { resample = 10 })
  check.raises("inner", f, { 1, 2 }, { statistic = function() error("inner") end })
end

-- ---- pairs --------------------------------------------------------------------------------------

local a, b = { 3.1, 2.2, 5.9, 4.4, 1.0, 3.7 }, { 2.5, 2.4, 5.0, 4.1, 0.2, 3.9 }

function T.test_paired_is_the_bootstrap_of_the_difference() -- property
  local d = {}
  for i = 1, 6 do d[i] = a[i] - b[i] end
  local low, high, info = stats.paired(a, b, { resamples = 2000 })
  local want_low, want_high, want = stats.bootstrap(d, { resamples = 2000 })
  check.equal({ low, high, info.estimate }, { want_low, want_high, want.estimate })
  local beyond, wins = 1, 0
  for _, v in ipairs(want.distribution:totable()) do
    if math.abs(v - info.estimate) >= math.abs(info.estimate) - 1e-12 then beyond = beyond + 1 end
    wins = wins + (v > 0 and 1 or v == 0 and 0.5 or 0)
  end
  check.close({ info.p, info.wins }, { beyond / 2001, wins / 2000 }, { rtol = 1e-14 })
  local l2, h2, swapped = stats.paired(b, a, { resamples = 2000 })
  check.close({ l2, h2, swapped.p, swapped.wins }, { -high, -low, info.p, 1 - info.wins },
    { rtol = 1e-12 })
  local l3, h3 = stats.paired(a, ml.f64(b), { resamples = 2000, statistic = function(x,
    y) return mean_of(x) - mean_of(y) end })
  check.close({ l3, h3 }, { low, high }, { rtol = 1e-12 })
end

-- What problems share cancels: the interval is that of the small difference, not of the large
-- spread.
function T.test_pairing_removes_what_problems_share() -- property
  local g = ml.rng(2)
  local difficulty = g:normal({ 200 }, { std = 10 })
  local x, y = difficulty + g:normal { 200 } * 0.1 + 0.05, difficulty + g:normal { 200 } * 0.1
  local low, high, info = stats.paired(x, y)
  check.is_true(low > 0 and high < 0.1 and info.p < 0.01 and info.wins > 0.99)
  local _, _, same = stats.paired(x, x)
  check.equal({ same.estimate, same.p, same.wins }, { 0.0, 1.0, 0.5 })
  check.raises("a and b disagree: 6 entries and 5", stats.paired, a, { 1, 2, 3, 4, 5 })
  check.raises("#2 to 'ml.stats.paired' (1 entries, wanted at least 2)", stats.paired, { 1, 2 },
    { 1 })
  check.raises("b[2] is nan", stats.paired, { 1, 2 }, { 1, 0 / 0 })
end

-- ---- permutation tests --------------------------------------------------------------------------

function T.test_exact_permutation_tests_agree_with_scipy() -- golden
  local x = table.move(golden.correlation.a, 1, 6, 1, {})
  local y = table.move(golden.correlation.b, 1, 6, 1, {})
  for _, alternative in ipairs { "two-sided", "greater", "less" } do
    local p, info = stats.permutation_test(x, y, { alternative = alternative })
    check.close(p, golden.permutation["independent " .. alternative], { rtol = 1e-13 })
    check.equal({ info.exact, info.resamples }, { true, 924 })
    p, info = stats.permutation_test(x, y, { alternative = alternative, paired = true })
    check.close(p, golden.permutation["samples " .. alternative], { rtol = 1e-13 })
    check.equal({ info.exact, info.resamples }, { true, 64 })
  end
end

function T.test_drawn_exchanges_come_near_all_of_them() -- property
  local g = ml.rng(3)
  local x, y = g:normal { 9 } + 0.8, g:normal { 9 }
  for _, paired in ipairs { false, true } do
    for _, alternative in ipairs { "two-sided", "greater", "less" } do
      local opts = { paired = paired, alternative = alternative, resamples = 100000 }
      local exact, info = stats.permutation_test(x, y, opts)
      check.is_true(info.exact)
      opts.resamples = paired and 511 or 40000
      local drawn, other = stats.permutation_test(x, y, opts)
      check.is_false(other.exact)
      check.equal(other.resamples, opts.resamples)
      -- five standard deviations, and the one that is counted in
      check.close(drawn, exact, { rtol = 0,
        atol = 5 * math.sqrt(exact * (1 - exact) / opts.resamples) + 1 / opts.resamples })
      check.equal(stats.permutation_test(x, y, opts), drawn)
    end
  end
end

function T.test_equal_samples_are_no_evidence_and_bad_input_raises()
  check.equal((stats.permutation_test({ 0.1, 0.2, 0.3 }, { 0.3, 0.1, 0.2 })), 1.0)
  -- the two most extreme of C(7, 3)
  local p, info = stats.permutation_test({ 5, 6, 7 }, { 1, 2, 3, 4 })
  check.close({ p, info.estimate }, { 2 / 35, 3.5 }, { rtol = 1e-14 })
  check.close(stats.permutation_test({ 5, 6, 7 }, { 1, 2, 3, 4 }, { alternative = "less" }), 1)
  check.raises("a and b disagree", stats.permutation_test, { 1, 2 }, { 1 }, { paired = true })
  check.raises("0 entries, wanted at least 1", stats.permutation_test, {}, { 1 })
  check.raises("option 'alternative' is \"more\"", stats.permutation_test, { 1 }, { 2 },
    { alternative = "more" })
  check.raises("a[1] is inf", stats.permutation_test, { 1 / 0 }, { 2 })
end

return T
