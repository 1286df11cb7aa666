--- Resampling: bootstrap intervals and paired comparison. The same seed gives the same bits.
local core = require "moonlab.core"
local options = require "moonlab.options"
local samples = require "moonlab.samples"
local distributions = require "moonlab.stats.distributions"
local draws = require "moonlab.stats.draws"
local summary = require "moonlab.stats.summary"

local resampling = {}
local fail = samples.fail

-- ---- statistics ---------------------------------------------------------------------------------

-- Of the rows of [rows, n], as [rows].
local named = {
  mean = function(x) return x:mean(2) end,
  sum = function(x) return x:sum(2) end,
  median = function(x)
    local n, sorted = x:size(2), x:sort(2)
    local low, high = sorted[{ {}, (n + 1) // 2 }], sorted[{ {}, n // 2 + 1 }]
    return (low + high) * 0.5
  end,
  var = function(x) return x:var(2, { ddof = 1 }) end,
  std = function(x) return x:std(2, { ddof = 1 }) end,
}
local names = { "mean", "sum", "median", "var", "std" }

local function read_statistic(where, value, data)
  if value == nil then value = "mean" end
  if type(value) == "function" then return value end
  if type(value) ~= "string" or not named[value] then
    local near = type(value) == "string" and options.nearest(value, names)
    near = near and ("; did you mean '%s'?"):format(near) or ""
    fail(where, 0, "option 'statistic' is %s, wanted a function or one of %s%s",
      samples.shown(value), table.concat(names, ", "), near)
  end
  if #data > 1 or data[1]:rank() > 1 then
    fail(where, 0, "several samples or axes want a function as option 'statistic'")
  end
  return value
end

-- What a function gave: a number, or nan when it has no value there.
local function value_of(where, value)
  if core.is_tensor(value) and value:numel() == 1 then value = value:item() end
  if value == nil then return samples.nan end
  if type(value) ~= "number" then
    fail(where, 0, "the statistic gave %s, wanted a number, or nil where it has none",
      samples.shown(value))
  end
  return value + 0.0
end

-- The statistic of the entries ids [rows, n] of data, a list of numbers per row.
local function of_rows(where, statistic, data, ids)
  if type(statistic) == "string" then
    return named[statistic](data[1]:index_select(ids, 1)):totable()
  end
  local out = {}
  for r = 1, ids:size(1) do
    out[r] = core.scope(function()
      local picked, row = {}, ids[r]
      for j, x in ipairs(data) do picked[j] = x:index_select(row, 1) end
      return value_of(where, (statistic(table.unpack(picked))))
    end)
  end
  return out
end

local function of_all(where, statistic, data)
  return core.scope(function()
    local n = data[1]:size(1)
    local ids = core.arange(1, n, { dtype = "index" })
    return of_rows(where, statistic, data, ids:reshape { 1, n })[1]
  end)
end

-- `count` values of the statistic on resamples with replacement, nan where it has none.
local function draw(where, statistic, data, count, rng)
  local n, values = data[1]:size(1), {}
  local rows = math.max(1, draws.block // n)
  while #values < count do
    core.scope(function()
      local here = math.min(rows, count - #values)
      local drawn = of_rows(where, statistic, data, rng:integers(1, n, { here, n }))
      table.move(drawn, 1, #drawn, #values + 1, values)
    end)
  end
  return values
end

-- ---- intervals ----------------------------------------------------------------------------------

local function finite_sorted(values)
  local kept, sum = {}, 0.0
  for _, v in ipairs(values) do
    if v == v then
      kept[#kept + 1] = v
      sum = sum + v
    end
  end
  table.sort(kept)
  local mean, square = sum / #kept, 0.0
  for _, v in ipairs(kept) do square = square + (v - mean) ^ 2 end
  return kept, mean, #kept > 1 and math.sqrt(square / (#kept - 1)) or samples.nan
end

-- The statistic without each entry in turn.
local function jackknife(where, statistic, data)
  local n, out = data[1]:size(1), {}
  for i = 1, n do
    out[i] = core.scope(function()
      local before = core.arange(1, i - 1, { dtype = "index" })
      local ids = core.concat({ before, core.arange(i + 1, n, { dtype = "index" }) }, 1)
      return of_rows(where, statistic, data, ids:reshape { 1, n - 1 })[1]
    end)
  end
  return out
end

-- Efron 1987: shifts the quantiles by the bias z0 and the acceleration a of the statistic.
local function bca_levels(where, statistic, data, sorted, estimate, tail)
  local below = 0.0
  for _, v in ipairs(sorted) do
    if v < estimate then below = below + 1 elseif v == estimate then below = below + 0.5 end
  end
  local share = math.max(0.5, math.min(#sorted - 0.5, below)) / #sorted
  local z0 = distributions.raw_normal_quantile(share)
  local left, mean = jackknife(where, statistic, data), 0.0
  for _, v in ipairs(left) do mean = mean + v / #left end
  local cube, square = 0.0, 0.0
  for _, v in ipairs(left) do cube, square = cube + (mean - v) ^ 3, square + (mean - v) ^ 2 end
  local a = square > 0 and cube / (6 * square ^ 1.5) or 0.0
  if a ~= a then fail(where, 0, "the statistic has no value when one entry is left out: no bca") end
  local function level(p)
    local z = z0 + distributions.raw_normal_quantile(p)
    return 1 - distributions.raw_normal_tail(z0 + z / (1 - a * z))
  end
  return level(tail), level(1 - tail)
end

-- low, high, info of the values drawn.
local function interval(where, method, level, values, estimate, bca)
  local sorted, mean, stderr = finite_sorted(values)
  if #sorted == 0 then fail(where, 0, "the statistic has no value on any resample") end
  local tail = (1 - level) / 2
  local low_at, high_at = tail, 1 - tail
  if method == "bca" then low_at, high_at = bca(sorted, tail) end
  local low = summary.raw_of_sorted(sorted, low_at)
  local high = summary.raw_of_sorted(sorted, high_at)
  if method == "basic" then low, high = 2 * estimate - high, 2 * estimate - low end
  return low, high, { estimate = estimate, stderr = stderr, bias = mean - estimate,
    invalid = #values - #sorted, resamples = #values, level = level, method = method,
    distribution = core.tensor(values, { dtype = "f64" }) }
end

local function read_method(where, opts)
  local method = opts.method or "percentile"
  if method ~= "percentile" and method ~= "basic" and method ~= "bca" then
    fail(where, 0, "option 'method' is %s, wanted \"percentile\", \"basic\" or \"bca\"",
      samples.shown(method))
  end
  return method
end

-- One sample, or a list of samples that belong together entry by entry.
local function read_data(where, x)
  local first = type(x) == "table" and x[1]
  local several = type(first) == "table" or core.is_tensor(first) and first:rank() > 0
  local data = {}
  for j = 1, several and #x or 1 do
    local name = several and ("x[%d]"):format(j) or "x"
    data[j] = samples.tensor(where, 1, name, several and x[j] or x)
    local n, wanted = data[j]:size(1), data[1]:size(1)
    if n ~= wanted then
      fail(where, 1, "x[1] and x[%d] disagree: %d entries and %d", j, wanted, n)
    end
  end
  local n = data[1]:size(1)
  if n < 2 then fail(where, 1, "x has %d entries, wanted at least 2", n) end
  return data
end

--- ml.stats.bootstrap(x, { statistic, resamples, level, method, seed | rng })
--- An interval for a statistic of a sample, from resamples of its entries with replacement. Samples
--- that belong together (scores and labels) go in as a list and are resampled by the same
--- positions: ml.stats.bootstrap({ s, l }, { statistic = ml.stats.average_precision }).
--- @param x list or tensor [n] or [n,...] (rows are entries), or a list of several of them; n >= 2,
--- finite
--- @param opts.statistic string|function ="mean" also sum, median, var, std (divisor n - 1); or a
--- function of one f64 tensor per sample that returns a number first, or nil or nan where it has no
--- value (left out and counted in info.invalid)
--- @param opts.resamples integer =10000 draws
--- @param opts.level number =0.95 of the interval, in (0, 1)
--- @param opts.method string ="percentile", "basic", or "bca" (n further evaluations)
--- @param opts.seed integer =1 of every draw
--- @param opts.rng ml.rng =nil advanced by the draws; instead of seed
--- @return number low
--- @return number high
--- @return table info: estimate (on x itself), stderr (standard deviation over resamples), bias
--- (mean over resamples - estimate), distribution (tensor f64 [resamples]), invalid, resamples,
--- level, method
--- @source Efron 1979; bca: Efron 1987
function resampling.bootstrap(x, opts)
  local where = "ml.stats.bootstrap"
  options.check(where, opts, { "statistic", "resamples", "level", "method", "seed", "rng" })
  opts = opts or {}
  local level, method = samples.level(where, opts.level), read_method(where, opts)
  local count, rng = draws.resample_count(where, opts, 10000), samples.rng(where, opts)
  local data = read_data(where, x)
  local statistic = read_statistic(where, opts.statistic, data)
  local estimate = of_all(where, statistic, data)
  local values = draw(where, statistic, data, count, rng)
  return interval(where, method, level, values, estimate, function(sorted, tail)
    return bca_levels(where, statistic, data, sorted, estimate, tail)
  end)
end

-- ---- pairs --------------------------------------------------------------------------------------

--- ml.stats.paired(a, b, { statistic, resamples, level, method, seed | rng })
--- Does a beat b on the same problems? The paired bootstrap of the difference: problems are
--- resampled, a and b keep together, so that the difficulty they share cancels.
--- @param a list or tensor [n], finite, n >= 2: results of one model
--- @param b list or tensor [n] of another on the same problems, in the same order
--- @param opts.statistic string|function ="mean" of a - b; also sum, median, var, std; or a
--- function of the resampled a and b, f64 tensors [n], that returns a number
--- @param opts.resamples integer =10000 draws
--- @param opts.level number =0.95 of the interval, in (0, 1)
--- @param opts.method string ="percentile", "basic" or "bca"
--- @param opts.seed integer =1 of every draw
--- @param opts.rng ml.rng =nil advanced by the draws; instead of seed
--- @return number low, of the interval of the difference
--- @return number high
--- @return table info as ml.stats.bootstrap has it, and: p (two-sided: how often the difference,
--- centred on 0, is as large as that found, counting the one found) and wins (share of resamples
--- where it is positive, ties one half)
--- @source Efron & Tibshirani 1993; p as in Berg-Kirkpatrick, Burkett & Klein 2012
function resampling.paired(a, b, opts)
  local where = "ml.stats.paired"
  options.check(where, opts, { "statistic", "resamples", "level", "method", "seed", "rng" })
  opts = opts or {}
  local level, method = samples.level(where, opts.level), read_method(where, opts)
  local count, rng = draws.resample_count(where, opts, 10000), samples.rng(where, opts)
  a, b = draws.read_pair(where, a, b, 2)
  draws.same_size(where, a, b)
  local data = type(opts.statistic) == "function" and { a, b } or { a - b }
  local statistic = read_statistic(where, opts.statistic, data)
  local estimate = of_all(where, statistic, data)
  local values = draw(where, statistic, data, count, rng)
  local low, high, info = interval(where, method, level, values, estimate, function(sorted, tail)
    return bca_levels(where, statistic, data, sorted, estimate, tail)
  end)
  local beyond, wins, valid = 0, 0.0, 0
  local size = math.abs(estimate)
  local near = size - 1e-12 * math.max(size, info.stderr) -- equal but for rounding counts as equal
  for _, v in ipairs(values) do
    if v == v then
      valid = valid + 1
      if math.abs(v - estimate) >= near then beyond = beyond + 1 end
      if v > 0 then wins = wins + 1 elseif v == 0 then wins = wins + 0.5 end
    end
  end
  info.p, info.wins = (1 + beyond) / (1 + valid), wins / valid
  return low, high, info
end

return resampling
