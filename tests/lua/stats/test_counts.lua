-- Intervals of proportions, pass@k and votes against tables, enumeration and SciPy.
local ml = require "moonlab"
local check = require "check"
local golden = ml.json.read("tests/golden/stats/golden.json")
local stats = ml.stats
local T = {}

-- Newcombe 1998 (Statistics in Medicine 17), table I: the score method without continuity
-- correction, 95 %.
function T.test_wilson_is_that_of_the_published_table() -- table
  for _, row in ipairs {
    { 81, 263, 0.2553, 0.3662 }, { 15, 148, 0.0624, 0.1605 }, { 0, 20, 0, 0.1611 }, { 1, 29,
      0.0061, 0.1718 },
  } do
    -- four decimals
    check.close({ stats.wilson(row[1], row[2]) }, { row[3], row[4] }, { rtol = 0, atol = 5e-5 })
  end
end

-- The same table, the exact method of Clopper & Pearson.
function T.test_clopper_pearson_is_that_of_the_published_table() -- table
  for _, row in ipairs {
    { 81, 263, 0.2527, 0.3676 }, { 15, 148, 0.0578, 0.1617 }, { 0, 20, 0, 0.1684 }, { 1, 29,
      0.0009, 0.1776 },
  } do
    check.close({ stats.clopper_pearson(row[1], row[2]) }, { row[3], row[4] }, { rtol = 0,
      atol = 5e-5 })
  end
end

function T.test_intervals_agree_with_scipy() -- golden
  for _, g in ipairs(golden.wilson) do
    -- ends at 0 and 1 are exact here, and within rounding there
    check.close({ stats.wilson(g[1], g[2], { level = g[3] }) }, { g[4], g[5] }, { rtol = 1e-12,
      atol = 1e-15 })
  end
  for _, g in ipairs(golden.exact) do
    check.close({ stats.clopper_pearson(g[1], g[2], { level = g[3] }) }, { g[4], g[5] },
      { rtol = 1e-10 })
  end
end

function T.test_wilson_solves_the_score_equation() -- analytic
  for _, c in ipairs { { 3, 17 }, { 1, 2 }, { 99, 100 } } do
    for _, p in ipairs { stats.wilson(c[1], c[2]) } do
      check.close(math.abs(c[1] / c[2] - p) / math.sqrt(p * (1 - p) / c[2]), 1.959963984540054,
        { rtol = 1e-10 })
    end
  end
  check.equal(select("#", stats.wilson(3, 10)), 2)
  local low, high = stats.wilson(3, 10)
  local other_low, other_high = stats.wilson(7, 10)
  check.close({ other_low, other_high }, { 1 - high, 1 - low }, { rtol = 1e-14 })
  check.equal({ stats.wilson(0, 5), (select(2, stats.wilson(5, 5))) }, { 0.0, 1.0 })
end

function T.test_bad_counts_raise() -- error
  check.raises("#1 to 'ml.stats.wilson' (k is 11, wanted at most n, 10)", stats.wilson, 11, 10)
  check.raises("#2 to 'ml.stats.wilson' (n is 0, wanted an integer >= 1)", stats.wilson, 0, 0)
  check.raises("k is 2.5, wanted an integer >= 0", stats.wilson, 2.5, 10)
  check.raises("k is -1, wanted an integer >= 0", stats.clopper_pearson, -1, 10)
  check.raises("the level is 95", stats.wilson, 1, 10, { level = 95 })
  check.raises("unknown option 'levle'; did you mean 'level'", stats.wilson, 1, 10, { levle = 0.9 })
end

-- ---- pass@k -------------------------------------------------------------------------------------

-- The share of k-subsets of n samples, the first c of which are right, that hold a right one.
local function share_of_subsets(n, c, k)
  local hits, all = 0, 0
  local function go(from, left, right)
    if left == 0 then
      all = all + 1
      if right then hits = hits + 1 end
      return
    end
    for i = from, n - left + 1 do go(i + 1, left - 1, right or i <= c) end
  end
  go(1, k, false)
  return hits / all
end

function T.test_pass_at_k_is_the_share_of_subsets() -- brute force
  for n = 1, 9 do
    for c = 0, n do
      for k = 1, n do
        check.close(stats.pass_at_k(n, c, { k = k }), share_of_subsets(n, c, k), { rtol = 1e-14,
          atol = 1e-16 * n })
      end
    end
  end
end

function T.test_pass_at_k_of_large_counts() -- analytic
  check.close(stats.pass_at_k(10, 3, { k = 2 }), 1 - 21 / 45, { rtol = 1e-15 })
  check.close(stats.pass_at_k(100000, 40000), 0.4, { rtol = 1e-14 })
  check.close(stats.pass_at_k(100000, 1, { k = 25000 }), 0.25, { rtol = 1e-14 })
  check.equal(stats.pass_at_k(10, 3, { k = 8 }), 1.0)
  check.equal(stats.pass_at_k(10, 0, { k = 8 }), 0.0)
end

function T.test_problems_are_averaged_with_a_standard_error() -- analytic
  local mean, stderr, info = stats.pass_at_k(10, { 0, 3, 10, 5 }, { k = 2 })
  local values = { 0, 1 - 21 / 45, 1, 1 - 10 / 45 }
  local want, want_stderr = stats.mean(values)
  check.close({ mean, stderr }, { want, want_stderr }, { rtol = 1e-14 })
  check.close(info.values, values, { rtol = 1e-14 })
  check.equal(info.problems, 4)
  local means, stderrs, each = stats.pass_at_k(ml.index { 10, 8 }, ml.f64 { 3, 8 }, { k = { 1,
    2 } })
  check.close(means, { 0.65, (1 - 21 / 45 + 1) / 2 }, { rtol = 1e-14 })
  check.equal({ #stderrs, #each.values[2] }, { 2, 2 })
  check.equal(stats.pass_at_k(4, 2, { k = { 1, 3 } }), { 0.5, 1.0 })
end

-- The mean over samples of the estimate is the truth 1 - (1 - p)^k for every p: the sum over the
-- binomial distribution.
function T.test_pass_at_k_is_unbiased() -- property
  for _, p in ipairs { 0.05, 0.3, 0.9 } do
    local n, k, sum, weight = 12, 5, 0, (1 - p) ^ 12
    for c = 0, n do
      sum = sum + weight * stats.pass_at_k(n, c, { k = k })
      weight = weight * (n - c) / (c + 1) * p / (1 - p)
    end
    check.close(sum, 1 - (1 - p) ^ k, { rtol = 1e-13 })
  end
end

function T.test_pass_at_k_refuses_what_it_cannot_know() -- error
  check.raises("k is 11 with n = 10 samples (problem 1), wanted k <= n", stats.pass_at_k, 10, 3,
    { k = 11 })
  check.raises("c is 4 of n = 3 samples (problem 2)", stats.pass_at_k, { 9, 3 }, { 1, 4 })
  check.raises("n and c disagree: 2 entries and 3", stats.pass_at_k, { 9, 3 }, { 1, 2, 3 })
  check.raises("c[1] is 0.5, wanted an integer >= 0", stats.pass_at_k, 10, { 0.5 })
  check.raises("k is 0, wanted an integer >= 1", stats.pass_at_k, 10, 1, { k = 0 })
  check.raises("c is empty", stats.pass_at_k, 10, {})
  check.raises("n is nothing", stats.pass_at_k)
end

-- ---- votes --------------------------------------------------------------------------------------

function T.test_the_most_frequent_answer_wins_and_the_first_of_equals()
  local winner, info = stats.majority_vote { "7", "9", false, "9", "7", "4" }
  check.equal(winner, "7")
  check.equal({ info.count, info.voters, info.n, info.tied }, { 2, 5, 6, true })
  check.close(info.share, 1 / 3)
  check.equal(info.votes, { ["7"] = 2, ["9"] = 2, ["4"] = 1 })
  winner, info = stats.majority_vote { "7", "9", "9" }
  check.equal({ winner, info.tied }, { "9", false })
  check.equal((stats.majority_vote(ml.f64 { 3, 3, 5 })), 3.0)
  check.equal((stats.majority_vote({ nil, "a", nil, "a", "b" }, { n = 5 })), "a")
end

function T.test_answers_are_normalized_before_they_are_counted()
  local winner, info = stats.majority_vote({ " 7", "7 ", "9", "x" }, {
    normalize = function(a) return tonumber(a) end,
  })
  check.equal({ winner, info.voters, info.n }, { 7, 3, 4 })
end

function T.test_no_vote_is_said_and_nonsense_raises()
  local winner, why = stats.majority_vote { false, false }
  check.is_nil(winner)
  check.equal(why, "no votes")
  check.equal({ stats.majority_vote {} }, { nil, "no votes" })
  check.raises("answers[2] is nan", stats.majority_vote, { 1, 0 / 0 })
  check.raises("answers is 3, wanted a list", stats.majority_vote, 3)
  check.raises("option 'normalize' is \"x\", wanted a function", stats.majority_vote, { 1 },
    { normalize = "x" })
end

return T
