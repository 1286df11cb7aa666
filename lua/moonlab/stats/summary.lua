--- Means with standard errors, and quantiles.
local options = require "moonlab.options"
local samples = require "moonlab.samples"
local distributions = require "moonlab.stats.distributions"

local summary = {}
local fail = samples.fail

--- ml.stats.mean(x, { level })
--- The mean and its standard error, std / sqrt(n), as seeds or problems are summed up.
--- @param x list or tensor [n], finite, n >= 1
--- @param opts.level number =0.95 of the interval
--- @return number mean
--- @return number standard error; nan when n is 1
--- @return table info: std (divisor n - 1), low and high (Student's t interval), n
--- @source Student 1908
function summary.mean(x, opts)
  local where = "ml.stats.mean"
  options.check(where, opts, { "level" })
  local level = samples.level(where, (opts or {}).level)
  x = samples.list(where, 1, "x", x)
  local n = #x
  if n == 0 then fail(where, 1, "x is empty, wanted at least one number") end
  local sum, square = 0.0, 0.0
  for _, v in ipairs(x) do sum = sum + v end
  local mean = sum / n
  for _, v in ipairs(x) do square = square + (v - mean) ^ 2 end
  local std = n > 1 and math.sqrt(square / (n - 1)) or samples.nan
  local stderr = std / math.sqrt(n)
  local reach = samples.nan
  if n > 1 then reach = distributions.raw_t_quantile(0.5 + level / 2, n - 1) * stderr end
  return mean, stderr, { std = std, low = mean - reach, high = mean + reach, n = n }
end

-- Of an ascending list: linear between order statistics.
local function of_sorted(sorted, q)
  local h = (#sorted - 1) * q + 1
  local i = math.min(math.floor(h), #sorted - 1)
  if #sorted == 1 then return sorted[1] end
  local low, high = sorted[i], sorted[i + 1]
  if low == high then return low end -- also when both are infinite
  return low + (h - i) * (high - low)
end
summary.raw_of_sorted = of_sorted

--- ml.stats.quantile(x, q)
--- Quantiles, linear between order statistics; ml.stats.quantile(x, 0.5) is the median.
--- @param x list or tensor [n], n >= 1; infinities are allowed, nan is not
--- @param q number, or list of numbers, 0 to 1
--- @return number, or list of numbers as q is
--- @source Hyndman & Fan 1996, definition 7 (NumPy's default)
function summary.quantile(x, q)
  local where = "ml.stats.quantile"
  x = samples.list(where, 1, "x", x, "infinite")
  if #x == 0 then fail(where, 1, "x is empty, wanted at least one number") end
  local list = samples.list(where, 2, "q", type(q) == "number" and { q } or q)
  table.sort(x)
  local out = {}
  for i, p in ipairs(list) do
    if not (p >= 0 and p <= 1) then
      fail(where, 2, "q[%d] is %.14g, wanted a probability, 0 to 1", i, p)
    end
    out[i] = of_sorted(x, p)
  end
  return type(q) == "number" and out[1] or out
end

return summary
