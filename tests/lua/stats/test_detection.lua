-- Average precision, ROC, abstention and calibration against their definitions by enumeration.
local ml = require "moonlab"
local check = require "check"
local stats = ml.stats
local T = {}

-- Small random data with many ties.
local function random_case(g, n, levels)
  local s, l = g:integers(1, levels, { n }):totable(), g:integers(0, 1, { n }):totable()
  l[1], l[n] = 1, 0 -- both classes
  return s, l
end

-- Average precision of a strict order of labels.
local function ap_of_order(labels)
  local hits, sum = 0, 0
  for i, l in ipairs(labels) do
    if l == 1 then
      hits = hits + 1
      sum = sum + hits / i
    end
  end
  return sum / hits
end

-- Its mean over all orders of the entries that keep scores descending.
local function ap_over_orders(s, l)
  local n, used, order, sum, count = #s, {}, {}, 0, 0
  local function go(k)
    if k > n then
      sum, count = sum + ap_of_order(order), count + 1
      return
    end
    local best = -math.huge
    for i = 1, n do
      if not used[i] then best = math.max(best, s[i]) end
    end
    for i = 1, n do
      if not used[i] and s[i] == best then
        used[i], order[k] = true, l[i]
        go(k + 1)
        used[i] = false
      end
    end
  end
  go(1)
  return sum / count
end

-- sum (R_k - R_(k-1)) P_k over the thresholds, each counted from the start.
local function ap_over_thresholds(s, l, w)
  local thresholds, seen = {}, {}
  for _, v in ipairs(s) do
    if not seen[v] then thresholds[#thresholds + 1] = v end
    seen[v] = true
  end
  table.sort(thresholds, function(a, b) return a > b end)
  local ap, before, total = 0, 0, 0
  for i = 1, #l do total = total + l[i] * w[i] end
  for _, t in ipairs(thresholds) do
    local tp, taken = 0, 0
    for i = 1, #s do
      if s[i] >= t then
        taken = taken + w[i]
        tp = tp + l[i] * w[i]
      end
    end
    ap = ap + (tp / total - before) * (taken > 0 and tp / taken or 0)
    before = tp / total
  end
  return ap
end

local function ones(n)
  local w = {}
  for i = 1, n do w[i] = 1 end
  return w
end

function T.test_average_precision_is_the_sum_over_thresholds() -- brute force
  local g = ml.rng(3)
  for n = 2, 40 do
    local s, l = random_case(g, n, 1 + n // 3)
    check.close(stats.average_precision(s, l), ap_over_thresholds(s, l, ones(n)), { rtol = 1e-13 })
    local w = g:uniform({ n }):totable()
    check.close(stats.average_precision(s, l, { weights = w }), ap_over_thresholds(s, l, w),
      { rtol = 1e-12 })
  end
end

function T.test_expected_ties_are_the_mean_over_all_orders() -- brute force
  local g = ml.rng(4)
  for n = 2, 8 do
    for levels = 1, 3 do
      local s, l = random_case(g, n, levels)
      check.close(stats.average_precision(s, l, { ties = "expected" }), ap_over_orders(s, l),
        { rtol = 1e-13 })
    end
  end
  local s, l = { 4, 3, 2, 1 }, { 1, 0, 1, 0 }
  check.close(stats.average_precision(s, l), ap_of_order(l), { rtol = 1e-15 })
  check.close(stats.average_precision(s, l, { ties = "expected" }), (1 + 2 / 3) / 2,
    { rtol = 1e-15 })
end

function T.test_equal_scores_give_the_base_rate_and_labels_come_in_many_forms() -- analytic
  local ap, info = stats.average_precision({ 1, 1, 1, 1, 1 }, { true, false, false, true, false })
  check.close({ ap, info.base_rate, info.lift }, { 0.4, 0.4, 0 }, { rtol = 1e-15, atol = 1e-16 })
  check.equal({ info.thresholds, info.recall }, { { 1.0 }, { 1.0 } })
  local s = ml.f32 { 3, 2, 1 }
  local want = (1 + 2 / 3) / 2
  check.close(stats.average_precision(s, s:ne(2)), want, { rtol = 1e-15 })
  check.close(stats.average_precision({ math.huge, 2, -math.huge }, ml.f64 { 1, 0, 1 }), want,
    { rtol = 1e-15 })
end

-- Copying every negative m times changes the base rate as base_rate does.
function T.test_a_matched_base_rate_is_resampling_without_noise() -- property
  local s, l = random_case(ml.rng(8), 20, 6)
  local s5, l5, positives = {}, {}, 0
  for i = 1, 20 do
    positives = positives + l[i]
    for _ = 1, l[i] == 1 and 1 or 5 do
      s5[#s5 + 1], l5[#l5 + 1] = s[i], l[i]
    end
  end
  local rate = positives / (positives + 5 * (20 - positives))
  local ap, info = stats.average_precision(s, l, { base_rate = rate })
  local copied, other = stats.average_precision(s5, l5)
  check.close({ ap, info.base_rate, info.lift }, { copied, other.base_rate, other.lift },
    { rtol = 1e-12 })
end

function T.test_the_area_under_roc_counts_pairs() -- brute force
  local g = ml.rng(5)
  for n = 2, 40 do
    local s, l = random_case(g, n, 1 + n // 3)
    local w = g:uniform({ n }):totable()
    local pairs_, wins, wpairs, wwins = 0, 0, 0, 0
    for i = 1, n do
      for j = 1, n do
        if l[i] == 1 and l[j] == 0 then
          local win = s[i] > s[j] and 1 or s[i] == s[j] and 0.5 or 0
          pairs_, wins = pairs_ + 1, wins + win
          wpairs, wwins = wpairs + w[i] * w[j], wwins + w[i] * w[j] * win
        end
      end
    end
    local auc, info = stats.roc(s, l)
    check.close(auc, wins / pairs_, { rtol = 1e-14 })
    check.close(stats.roc(s, l, { weights = w }), wwins / wpairs, { rtol = 1e-12 })
    local area = 0 -- trapezoids under the curve
    for k = 2, #info.fpr do
      area = area + (info.fpr[k] - info.fpr[k - 1]) * (info.tpr[k] + info.tpr[k - 1]) / 2
    end
    check.close(area, auc, { rtol = 1e-13 })
    check.equal({ info.fpr[1], info.tpr[1], info.fpr[#info.fpr], info.tpr[#info.tpr] }, { 0.0, 0.0,
      1.0, 1.0 })
  end
end

function T.test_the_standard_error_of_the_area_is_delong_s() -- brute force
  local s, l = random_case(ml.rng(6), 25, 8)
  local p, n = {}, {}
  for i = 1, 25 do table.insert(l[i] == 1 and p or n, s[i]) end
  local function psi(a, b) return a > b and 1 or a == b and 0.5 or 0 end
  local vp, vn = {}, {}
  for i, a in ipairs(p) do
    vp[i] = 0
    for _, b in ipairs(n) do vp[i] = vp[i] + psi(a, b) / #n end
  end
  for j, b in ipairs(n) do
    vn[j] = 0
    for _, a in ipairs(p) do vn[j] = vn[j] + psi(a, b) / #p end
  end
  local _, sp = stats.mean(vp)
  local _, sn = stats.mean(vn)
  local _, info = stats.roc(s, l)
  check.close(info.stderr, math.sqrt(sp ^ 2 + sn ^ 2), { rtol = 1e-12 })
end

function T.test_monotone_maps_and_order_change_nothing() -- property
  local s, l = random_case(ml.rng(7), 30, 10)
  local order = ml.rng(1):permutation(30):totable()
  local s2, l2 = {}, {}
  for k, i in ipairs(order) do s2[k], l2[k] = math.exp(3 * s[i]) - 5, l[i] end
  check.equal(stats.average_precision(s2, l2), stats.average_precision(s, l))
  check.equal(stats.roc(s2, l2), (stats.roc(s, l)))
  local flipped, opposite = {}, {}
  for i = 1, 30 do flipped[i], opposite[i] = -s[i], 1 - l[i] end
  check.close(stats.roc(flipped, opposite), stats.roc(s, l), { rtol = 1e-14 })
end

function T.test_one_class_is_said_and_nonsense_raises() -- error
  local function said(...)
    local value, why = ...
    check.is_nil(value)
    return why
  end
  check.equal(said(stats.average_precision({ 1, 2 }, { 0, 0 })), "no positive labels")
  check.equal(said(stats.roc({ 1, 2 }, { 0, 0 })), "no positive labels")
  check.equal(said(stats.roc({ 1, 2 }, { 1, 1 })), "no negative labels")
  local f = stats.average_precision
  check.raises("#1 to 'ml.stats.average_precision' (scores[2] is nan, wanted a number or an inf",
    f, { 1, 0 / 0 }, { 1, 0 })
  check.raises("labels[2] is 2, wanted true, false, 0 or 1", f, { 1, 2 }, { 1, 2 })
  check.raises("scores and labels disagree: 3 entries and 2", f, { 1, 2, 3 }, { 1, 0 })
  check.raises("scores is empty", f, {}, {})
  check.raises("option 'ties' is \"mean\"", f, { 1 }, { 1 }, { ties = "mean" })
  check.raises("goes without weights and base_rate", f, { 1, 2 }, { 1, 0 }, { ties = "expected",
    base_rate = 0.1 })
  check.raises("option 'base_rate' is 10, wanted a number between 0 and 1", f, { 1, 2 }, { 1, 0 },
    { base_rate = 10 })
  check.raises("a base rate of 0.1 needs negatives", f, { 1, 2 }, { 1, 1 }, { base_rate = 0.1 })
  check.raises("unknown option 'weight'; did you mean 'weights'", stats.roc, { 1, 2 }, { 1, 0 },
    { weight = { 1, 1 } })
end

function T.test_risk_and_coverage_of_abstaining() -- brute force
  local s, l = random_case(ml.rng(9), 30, 7)
  local area, info = stats.risk_coverage(s, l)
  local sum, before = 0, 0
  for k, t in ipairs(info.thresholds) do
    local taken, wrong = 0, 0
    for i = 1, 30 do
      if s[i] >= t then taken, wrong = taken + 1, wrong + 1 - l[i] end
    end
    check.close({ info.coverage[k], info.risk[k] }, { taken / 30, wrong / taken }, { rtol = 1e-14 })
    sum, before = sum + (taken / 30 - before) * wrong / taken, taken / 30
  end
  check.close(area, sum, { rtol = 1e-13 })
  check.equal(info.coverage[#info.coverage], 1.0)
end

-- ---- calibration --------------------------------------------------------------------------------

function T.test_calibration_is_that_of_its_definition() -- brute force
  local g = ml.rng(10)
  local p, y = g:uniform({ 200 }):totable(), g:integers(0, 1, { 200 }):totable()
  p[1], p[2], p[3], p[4] = 0, 1, 0.3, 0.7 -- the ends, and edges that 10 p rounds across
  local ece, info = stats.calibration(p, y)
  local want, worst, square = 0, 0, 0
  for b = 1, 10 do
    local n, sum, hits = 0, 0, 0
    for i, v in ipairs(p) do
      if (v > (b - 1) / 10 or (b == 1 and v == 0)) and v <= b / 10 then
        n, sum, hits = n + 1, sum + v, hits + y[i]
      end
    end
    want, worst = want + math.abs(hits - sum) / 200, math.max(worst, math.abs(hits - sum) / n)
    local r = info.reliability[b]
    check.close({ r.n, r.confidence, r.rate, r.low, r.high }, { n, sum / n, hits / n, (b - 1) / 10,
      b / 10 }, { rtol = 1e-13 })
  end
  for i, v in ipairs(p) do square = square + (v - y[i]) ^ 2 / 200 end
  check.close({ ece, info.mce, info.brier, stats.brier(p, y) }, { want, worst, square, square },
    { rtol = 1e-12 })
end

-- In doubles 100 p may round across an edge k/100 that p itself does not cross.
function T.test_edges_of_bins_are_exact() -- brute force
  for k = 1, 99 do
    local p = { k / 100, k / 100 * (1 + 2.0 ^ -52) } -- the last of bin k, the first of bin k + 1
    local _, info = stats.calibration(p, { 0, 1 }, { bins = 100 })
    check.equal({ info.reliability[1].high, info.reliability[2].low }, { k / 100, k / 100 })
  end
end

function T.test_bins_of_equal_mass_keep_equal_probabilities_together()
  local _, info = stats.calibration({ 0.1, 0.2, 0.2, 0.2, 0.9, 1 }, { 0, 0, 1, 0, 1, 1 },
    { bins = 3, strategy = "mass" })
  local counts = {}
  for k, r in ipairs(info.reliability) do counts[k] = r.n end
  check.equal(counts, { 4, 2 })
  check.equal({ info.reliability[2].low, info.reliability[2].high }, { 0.9, 1.0 })
  local g = ml.rng(1):uniform { 100 }
  _, info = stats.calibration(g, g:gt(0.5), { bins = 7, strategy = "mass" })
  local total = 0
  for _, r in ipairs(info.reliability) do
    check.is_true(r.n == 14 or r.n == 15)
    total = total + r.n
  end
  check.equal(total, 100)
end

-- Outcomes drawn with the probabilities said: the error is noise of the bins, sqrt(2/pi)
-- sqrt(p(1-p)/n) on average.
function T.test_honest_probabilities_are_calibrated() -- property
  local g = ml.rng(12)
  local p = g:uniform { 20000 }
  local ece = stats.calibration(p, g:uniform { 20000 }:lt(p))
  check.is_true(ece > 0.001 and ece < 0.02) -- about 0.8 sqrt(0.17 / 2000) = 0.007
  local wrong = stats.calibration(p, g:uniform { 20000 }:lt(p * p)) -- E |p - p^2| = 1/6
  check.close(wrong, 1 / 6, { atol = 0.02 })
end

function T.test_calibration_refuses_what_is_no_probability() -- error
  check.raises("p[2] is 1.5, wanted a probability, 0 to 1", stats.calibration, { 0, 1.5 }, { 0, 1 })
  check.raises("p[1] is nan", stats.brier, { 0 / 0 }, { 1 })
  check.raises("p and outcomes disagree", stats.brier, { 0.1 }, { 1, 0 })
  check.raises("p is empty", stats.brier, {}, {})
  check.raises("option 'bins' is 0", stats.calibration, { 0 }, { 0 }, { bins = 0 })
  check.raises("option 'strategy' is \"quantile\"", stats.calibration, { 0 }, { 0 },
    { strategy = "quantile" })
end

return T
