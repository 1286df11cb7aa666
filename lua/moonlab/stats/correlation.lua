--- Correlation: Pearson's, and the rank correlations of Spearman and Kendall.
local samples = require "moonlab.samples"
local distributions = require "moonlab.stats.distributions"

local correlation = {}
local fail = samples.fail

-- Positions in ascending order of x; equal values in order of position.
local function order_of(x)
  local order = {}
  for i = 1, #x do order[i] = i end
  table.sort(order, function(a, b)
    if x[a] ~= x[b] then return x[a] < x[b] end
    return a < b
  end)
  return order
end

local function midranks(x)
  local order, ranks, i = order_of(x), {}, 1
  while i <= #x do
    local j = i
    while j < #x and x[order[j + 1]] == x[order[i]] do j = j + 1 end
    for k = i, j do ranks[order[k]] = (i + j) / 2 end
    i = j + 1
  end
  return ranks
end

--- ml.stats.ranks(x)
--- Ranks from 1 in ascending order; equal values share the mean of their ranks.
--- @param x list or tensor [n]; infinities are allowed, nan is not
--- @return list of n numbers
--- @source Kendall 1945
function correlation.ranks(x)
  return midranks(samples.list("ml.stats.ranks", 1, "x", x, "infinite"))
end

local function read_pair(where, x, y, allow)
  x = samples.list(where, 1, "x", x, allow)
  y = samples.list(where, 2, "y", y, allow)
  samples.same_length(where, "x", x, "y", y)
  if #x < 2 then fail(where, 1, "%d points, wanted at least 2", #x) end
  return x, y
end

local function constant(x)
  for i = 2, #x do
    if x[i] ~= x[1] then return false end
  end
  return true
end

local function pearson(x, y)
  local n, mx, my = #x, 0.0, 0.0
  for i = 1, n do mx, my = mx + x[i], my + y[i] end
  mx, my = mx / n, my / n
  local sx, sy = 0.0, 0.0 -- in units of the largest deviations: no square vanishes or overflows
  for i = 1, n do sx, sy = math.max(sx, math.abs(x[i] - mx)), math.max(sy, math.abs(y[i] - my)) end
  local sxx, syy, sxy = 0.0, 0.0, 0.0
  for i = 1, n do
    local a, b = (x[i] - mx) / sx, (y[i] - my) / sy
    sxx, syy, sxy = sxx + a * a, syy + b * b, sxy + a * b
  end
  return math.max(-1, math.min(1, sxy / math.sqrt(sxx * syy)))
end

-- Two-sided, from t = r sqrt((n - 2) / (1 - r^2)).
local function t_test(r, n)
  if n < 3 then return samples.nan end
  if math.abs(r) == 1 then return 0.0 end
  local t = math.abs(r) * math.sqrt((n - 2) / ((1 - r) * (1 + r)))
  return 2 * distributions.raw_t_tail(t, n - 2)
end

local function which_constant(x, y)
  return constant(x) and "x is constant" or constant(y) and "y is constant" or nil
end

--- ml.stats.pearson(x, y)
--- The linear correlation coefficient.
--- @param x list or tensor [n], finite, n >= 2
--- @param y list or tensor [n], finite
--- @return number r in [-1, 1], or nil with "x is constant" or "y is constant"
--- @return table info: p (two-sided, Student's t with n - 2 degrees of freedom; nan for n = 2), n
--- @source Pearson 1895
function correlation.pearson(x, y)
  x, y = read_pair("ml.stats.pearson", x, y)
  local flat = which_constant(x, y)
  if flat then return nil, flat end
  local r = pearson(x, y)
  return r, { p = t_test(r, #x), n = #x }
end

--- ml.stats.spearman(x, y)
--- Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank.
--- @param x list or tensor [n], n >= 2; infinities are allowed, nan is not
--- @param y list or tensor [n]
--- @return number rho in [-1, 1], or nil with "x is constant" or "y is constant"
--- @return table info: p (two-sided, Student's t with n - 2 degrees of freedom; nan for n = 2), n
--- @source Spearman 1904
function correlation.spearman(x, y)
  x, y = read_pair("ml.stats.spearman", x, y, "infinite")
  local flat = which_constant(x, y)
  if flat then return nil, flat end
  local rho = pearson(midranks(x), midranks(y))
  return rho, { p = t_test(rho, #x), n = #x }
end

-- Pairs i < j with list[i] > list[j], counted by merge sort, which overwrites the list.
local function inversions(list)
  local n, count, from, to, width = #list, 0, list, {}, 1
  while width < n do
    for start = 1, n, 2 * width do
      local i, middle = start, math.min(start + width, n + 1)
      local j, stop = middle, math.min(start + 2 * width, n + 1)
      for k = start, stop - 1 do
        if i < middle and (j >= stop or from[i] <= from[j]) then
          to[k], i = from[i], i + 1
        else
          to[k], j = from[j], j + 1
          count = count + middle - i
        end
      end
    end
    from, to, width = to, from, 2 * width
  end
  return count
end

-- Sums over groups of t equal entries of an ordered list: t(t-1)/2, t(t-1)(t-2), t(t-1)(2t+5).
local function tie_sums(n, same)
  local pairs_, cubes, spread, i = 0, 0.0, 0.0, 1
  while i <= n do
    local j = i
    while j < n and same(j, j + 1) do j = j + 1 end
    local t = j - i + 1
    pairs_ = pairs_ + t * (t - 1) // 2
    cubes, spread = cubes + t * (t - 1.0) * (t - 2), spread + t * (t - 1.0) * (2 * t + 5)
    i = j + 1
  end
  return pairs_, cubes, spread
end

--- ml.stats.kendall(x, y)
--- Kendall's tau-b: concordant less discordant pairs, over the geometric mean of the pairs that x
--- and y tell apart.
--- @param x list or tensor [n], n >= 2; infinities are allowed, nan is not
--- @param y list or tensor [n]
--- @return number tau in [-1, 1], or nil with "x is constant" or "y is constant"
--- @return table info: p (two-sided, normal approximation with ties), concordant, discordant,
--- ties_x, ties_y (pairs; a pair equal in both counts in both), n
--- @source Kendall 1945; counted as in Knight 1966
function correlation.kendall(x, y)
  x, y = read_pair("ml.stats.kendall", x, y, "infinite")
  local flat = which_constant(x, y)
  if flat then return nil, flat end
  local n, order = #x, {}
  for i = 1, n do order[i] = i end
  table.sort(order, function(a, b)
    if x[a] ~= x[b] then return x[a] < x[b] end
    if y[a] ~= y[b] then return y[a] < y[b] end
    return a < b
  end)
  local along = {}
  for k, i in ipairs(order) do along[k] = y[i] end
  local ties_x, x0, x1 = tie_sums(n, function(a, b) return x[order[a]] == x[order[b]] end)
  local both = tie_sums(n, function(a, b)
    return x[order[a]] == x[order[b]] and y[order[a]] == y[order[b]]
  end)
  local discordant = inversions(along)
  local sorted = order_of(y)
  local ties_y, y0, y1 = tie_sums(n, function(a, b) return y[sorted[a]] == y[sorted[b]] end)
  local total = n * (n - 1) // 2
  local concordant = total - ties_x - ties_y + both - discordant
  local excess = concordant - discordant
  local tau = excess / math.sqrt(total - ties_x) / math.sqrt(total - ties_y)
  local m = n * (n - 1.0)
  local variance = (m * (2 * n + 5) - x1 - y1) / 18 + 2.0 * ties_x * ties_y / m
    + (n > 2 and x0 * y0 / (9 * m * (n - 2)) or 0)
  return math.max(-1, math.min(1, tau)), {
    p = 2 * distributions.raw_normal_tail(math.abs(excess) / math.sqrt(variance)),
    concordant = concordant, discordant = discordant, ties_x = ties_x, ties_y = ties_y, n = n,
  }
end

return correlation
