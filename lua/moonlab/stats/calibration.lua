--- How well probabilities say what happens.
local options = require "moonlab.options"
local samples = require "moonlab.samples"

local calibration = {}
local fail = samples.fail

local function read_probabilities(where, p, outcomes)
  p = samples.list(where, 1, "p", p)
  outcomes = samples.labels(where, 2, "outcomes", outcomes)
  samples.same_length(where, "p", p, "outcomes", outcomes)
  if #p == 0 then fail(where, 1, "p is empty, wanted at least one") end
  for i, v in ipairs(p) do
    if not (v >= 0 and v <= 1) then
      fail(where, 1, "p[%d] is %.14g, wanted a probability, 0 to 1", i, v)
    end
  end
  return p, outcomes
end

local function brier(p, outcomes)
  local sum = 0.0
  for i, v in ipairs(p) do sum = sum + (v - (outcomes[i] and 1 or 0)) ^ 2 end
  return sum / #p
end

--- ml.stats.brier(p, outcomes)
--- The mean squared difference between the probability of an event and whether it happened.
--- @param p list or tensor [n], 0 to 1
--- @param outcomes list or tensor [n] of true and false, or 1 and 0
--- @return number 0 (best) to 1
--- @source Brier 1950, in the form for one event
function calibration.brier(p, outcomes)
  return brier(read_probabilities("ml.stats.brier", p, outcomes))
end

-- The bin 1..bins of each probability, ]low, high]; 0 belongs to the first.
local function equal_width(p, bins)
  local bin = {}
  for i, v in ipairs(p) do
    local b = math.max(1, math.ceil(v * bins))
    if b > 1 and v <= (b - 1) / bins then b = b - 1 end -- v * bins may round across an edge
    if v > b / bins then b = b + 1 end
    bin[i] = math.min(b, bins)
  end
  return bin
end

-- Bins of nearly n / bins entries in ascending order; equal probabilities share the bin of the
-- first of them.
local function equal_mass(p, bins)
  local order, bin = {}, {}
  for i = 1, #p do order[i] = i end
  table.sort(order, function(a, b)
    if p[a] ~= p[b] then return p[a] < p[b] end
    return a < b
  end)
  for k, i in ipairs(order) do
    local before = order[k - 1]
    bin[i] = before and p[before] == p[i] and bin[before] or (k - 1) * bins // #p + 1
  end
  return bin
end

--- ml.stats.calibration(p, outcomes, { bins, strategy })
--- Do events of probability p happen in a share p of cases? The expected calibration error:
--- |outcome rate - mean p| per bin, averaged with the bins' shares. For many classes give the
--- confidence and whether the answer was right.
--- @param p list or tensor [n], 0 to 1
--- @param outcomes list or tensor [n] of true and false, or 1 and 0
--- @param opts.bins integer =10 of equal width, >= 1
--- @param opts.strategy string ="width" (bins ](i-1)/bins, i/bins], 0 in the first) or "mass"
--- (nearly equal counts, equal p together)
--- @return number expected calibration error, 0 to 1
--- @return table info: mce (the largest gap of a bin), brier, n, and reliability: a list of { low,
--- high, n, confidence (mean p), rate (share of outcomes), gap (rate - confidence) } of the bins
--- that are not empty, low and high the bin's ends (of "mass": its least and largest p)
--- @source Guo et al. 2017
function calibration.calibration(p, outcomes, opts)
  local where = "ml.stats.calibration"
  options.check(where, opts, { "bins", "strategy" })
  opts = opts or {}
  local bins = options.field(where, opts, "bins", "integer", 10)
  if bins < 1 then fail(where, 0, "option 'bins' is %d, wanted >= 1", bins) end
  local strategy = opts.strategy or "width"
  if strategy ~= "width" and strategy ~= "mass" then
    fail(where, 0, "option 'strategy' is %s, wanted \"width\" or \"mass\"",
      samples.shown(strategy))
  end
  p, outcomes = read_probabilities(where, p, outcomes)
  local bin = (strategy == "width" and equal_width or equal_mass)(p, bins)
  local cells = {}
  for i, v in ipairs(p) do
    local c = cells[bin[i]] or { n = 0, sum = 0.0, hits = 0, low = v, high = v }
    cells[bin[i]] = c
    c.n, c.sum, c.hits = c.n + 1, c.sum + v, c.hits + (outcomes[i] and 1 or 0)
    c.low, c.high = math.min(c.low, v), math.max(c.high, v)
  end
  local reliability, ece, mce = {}, 0.0, 0.0
  for b = 1, bins do
    local c = cells[b]
    if c then
      local confidence, rate = c.sum / c.n, c.hits / c.n
      local width = strategy == "width"
      reliability[#reliability + 1] = { low = width and (b - 1) / bins or c.low,
        high = width and b / bins or c.high, n = c.n, confidence = confidence, rate = rate,
        gap = rate - confidence }
      ece = ece + c.n / #p * math.abs(rate - confidence)
      mce = math.max(mce, math.abs(rate - confidence))
    end
  end
  return ece, { mce = mce, brier = brier(p, outcomes), n = #p, reliability = reliability }
end

return calibration
