--- Permutation tests: all exchanges, or draws of them; the same seed gives the same bits.
local core = require "moonlab.core"
local draws = require "moonlab.stats.draws"
local options = require "moonlab.options"
local samples = require "moonlab.samples"

local permutation = {}
local fail = samples.fail

local function extreme(alternative, value, found, slack)
  if alternative == "greater" then return value >= found - slack end
  if alternative == "less" then return value <= found + slack end
  return math.abs(value) >= math.abs(found) - slack
end

-- C(n, k), or inf once it exceeds 1e15.
local function choose(n, k)
  local c = 1.0
  for i = 1, math.min(k, n - k) do
    c = c * (n - i + 1) / i
    if c > 1e15 then return math.huge end
  end
  return math.floor(c + 0.5)
end

-- Every sum of +-d.
local function each_sign(d, visit)
  local n = #d
  local function go(i, sum)
    if i > n then return visit(sum / n) end
    go(i + 1, sum + d[i])
    return go(i + 1, sum - d[i])
  end
  go(1, 0.0)
end

-- Every choice of k of all: the mean of the chosen less that of the rest.
local function each_split(all, k, visit)
  local n, total = #all, 0.0
  for _, v in ipairs(all) do total = total + v end
  local function go(i, left, sum)
    if left == 0 then return visit(sum / k - (total - sum) / (n - k)) end
    if n - i + 1 > left then go(i + 1, left, sum) end
    return go(i + 1, left - 1, sum + all[i])
  end
  go(1, k, 0.0)
end

-- `count` random differences: signs of d, or which k of all come first.
local function random_differences(d, all, k, count, rng, visit)
  local x = d or all
  local n = x:size(1)
  local rows, done = math.max(1, draws.block // n), 0
  while done < count do
    core.scope(function()
      local here = math.min(rows, count - done)
      local values
      if d then
        local signs = rng:integers(0, 1, { here, n }, { dtype = "f64" }) * 2 - 1
        values = (signs * d):mean(2)
      else
        local order = rng:uniform { here, n }:argsort(2)
        local mixed = all:index_select(order, 1)
        values = mixed[{ {}, { 1, k } }]:mean(2) - mixed[{ {}, { k + 1, n } }]:mean(2)
      end
      for _, v in ipairs(values:totable()) do visit(v) end
      done = done + here
    end)
  end
end

--- ml.stats.permutation_test(a, b, { paired, alternative, resamples, seed | rng })
--- Is the difference of means more than chance? Exchanges the labels a and b: within each pair
--- (paired), or among all entries. All exchanges are counted when there are at most `resamples` of
--- them, else that many are drawn.
--- @param a list or tensor [n], finite
--- @param b list or tensor [m], finite; [n] when paired
--- @param opts.paired boolean =false
--- @param opts.alternative string ="two-sided", "greater" (a above b) or "less"
--- @param opts.resamples integer =10000 draws
--- @param opts.seed integer =1 of every draw
--- @param opts.rng ml.rng =nil advanced by the draws; instead of seed
--- @return number p: the share of exchanges whose difference is as extreme as that found; when
--- drawn, (1 + count)/(1 + resamples)
--- @return table info: estimate (mean of a - mean of b), exact (boolean), resamples (exchanges
--- looked at)
--- @source Fisher 1935; drawn ones: Phipson & Smyth 2010
function permutation.permutation_test(a, b, opts)
  local where = "ml.stats.permutation_test"
  options.check(where, opts, { "paired", "alternative", "resamples", "seed", "rng" })
  opts = opts or {}
  local paired = options.field(where, opts, "paired", "boolean", false)
  local alternative = opts.alternative or "two-sided"
  if alternative ~= "two-sided" and alternative ~= "greater" and alternative ~= "less" then
    fail(where, 0, "option 'alternative' is %s, wanted \"two-sided\", \"greater\" or \"less\"",
      samples.shown(alternative))
  end
  local count, rng = draws.resample_count(where, opts, 10000), samples.rng(where, opts)
  a, b = draws.read_pair(where, a, b, 1)
  if paired then draws.same_size(where, a, b) end
  local n, m = a:size(1), b:size(1)
  local estimate = paired and (a - b):mean():item() or a:mean():item() - b:mean():item()
  local d, all = paired and a - b or nil, not paired and core.concat({ a, b }, 1) or nil
  -- differences that are equal but for rounding count as equal
  local slack = 1e-12 * (d or all):abs():mean():item()
  local extremes, looked = 0, 0
  local function visit(value)
    looked = looked + 1
    if extreme(alternative, value, estimate, slack) then extremes = extremes + 1 end
  end
  local total = paired and (n < 50 and 2.0 ^ n or math.huge) or choose(n + m, n)
  local exact = total <= count
  if not exact then
    random_differences(d, all, n, count, rng, visit)
    return (1 + extremes) / (1 + looked), { estimate = estimate, exact = false, resamples = looked }
  end
  if paired then each_sign(d:totable(), visit) else each_split(all:totable(), n, visit) end
  return extremes / looked, { estimate = estimate, exact = true, resamples = looked }
end

return permutation
