-- Rank correlations by counting pairs, and SciPy's numbers.
local ml = require "moonlab"
local check = require "check"
local golden = ml.json.read("tests/golden/stats/golden.json").correlation
local stats = ml.stats
local T = {}

function T.test_coefficients_and_p_agree_with_scipy() -- golden
  for _, name in ipairs { "pearson", "spearman", "kendall" } do
    local r, info = stats[name](golden.a, golden.b)
    check.close({ r, info.p }, golden[name], { rtol = 1e-12 })
  end
  check.equal(stats.ranks(golden.a), golden.ranks)
end

function T.test_kendall_counts_pairs() -- brute force
  local g = ml.rng(1)
  for n = 2, 60 do
    local x, y = g:integers(1, 1 + n // 2, { n }):totable(), g:integers(1, 1 + n // 3,
      { n }):totable()
    x[1], x[2], y[1], y[2] = 1, 2, 1, 2 -- not constant
    local c, d, tx, ty = 0, 0, 0, 0
    for i = 1, n do
      for j = 1, i - 1 do
        local s = (x[i] - x[j]) * (y[i] - y[j])
        if s > 0 then c = c + 1 elseif s < 0 then d = d + 1 end
        if x[i] == x[j] then tx = tx + 1 end
        if y[i] == y[j] then ty = ty + 1 end
      end
    end
    local tau, info = stats.kendall(x, y)
    check.equal({ info.concordant, info.discordant, info.ties_x, info.ties_y }, { c, d, tx, ty })
    local all = n * (n - 1) / 2
    check.close(tau, (c - d) / math.sqrt((all - tx) * (all - ty)), { rtol = 1e-13 })
  end
end

function T.test_spearman_has_the_textbook_form_without_ties() -- analytic
  local y = ml.rng(2):permutation(15):totable()
  local x, sum = {}, 0
  for i = 1, 15 do
    x[i] = i * i
    sum = sum + (i - y[i]) ^ 2
  end
  check.close(stats.spearman(x, y), 1 - 6 * sum / (15 * (15 ^ 2 - 1)), { rtol = 1e-13 })
end

function T.test_rank_correlations_know_order_only() -- property
  local g = ml.rng(3)
  local x, y = g:normal { 40 }, g:normal { 40 }
  y = y + x
  for _, name in ipairs { "spearman", "kendall" } do
    local r = stats[name](x, y)
    check.equal(stats[name](x:exp(), y * 3 + 1), r)
    check.close(stats[name](y, x), r, { rtol = 1e-14 })
    check.close(stats[name](-x, y), -r, { rtol = 1e-13 })
    check.equal({ (stats[name](x, x)), (stats[name](x, -x)) }, { 1.0, -1.0 })
  end
  check.close(stats.pearson(x * 1e200, y * 1e-200), stats.pearson(x, y), { rtol = 1e-13 })
  check.equal(stats.kendall({ 1, 2, math.huge }, { -math.huge, 0, 1 }), 1.0)
end

function T.test_ends() -- analytic
  local r, info = stats.pearson({ 1, 2 }, { 5, 3 })
  check.equal(r, -1.0)
  check.is_true(info.p ~= info.p)
  r, info = stats.kendall({ 1, 2 }, { 5, 3 })
  check.equal(r, -1.0)
  -- excess 1 over standard deviation 1
  check.close(info.p, 2 * stats.normal_cdf(-1), { rtol = 1e-13 })
  for _, f in ipairs { stats.pearson, stats.spearman, stats.kendall } do
    local value, why = f({ 1, 1, 1 }, { 1, 2, 3 })
    check.is_nil(value)
    check.equal(why, "x is constant")
    check.equal(select(2, f({ 1, 2, 3 }, { 4, 4, 4 })), "y is constant")
    check.raises("x and y disagree: 3 entries and 2", f, { 1, 2, 3 }, { 1, 2 })
    check.raises("1 points, wanted at least 2", f, { 1 }, { 1 })
    check.raises("y[2] is nan", f, { 1, 2 }, { 1, 0 / 0 })
  end
  check.raises("x[1] is inf, wanted a finite number", stats.pearson, { math.huge, 1 }, { 1, 2 })
end

return T
