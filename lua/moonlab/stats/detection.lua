--- How well scores tell two classes apart.
local options = require "moonlab.options"
local samples = require "moonlab.samples"
local core = require "moonlab.core"

local detection = {}
local fail = samples.fail

-- ---- reading ------------------------------------------------------------------------------------

-- Scores and labels in order of descending score, with the weights (or nil).
local function read_scores(where, scores, labels, weights)
  scores = samples.list(where, 1, "scores", scores, "infinite")
  labels = samples.labels(where, 2, "labels", labels)
  samples.same_length(where, "scores", scores, "labels", labels)
  weights = samples.weights(where, weights, #scores)
  if #scores == 0 then fail(where, 1, "scores is empty, wanted at least one") end
  local order = core.tensor(scores, { dtype = "f64" }):argsort(1, { descending = true }):totable()
  local s, l, w = {}, {}, weights and {} or nil
  for k, i in ipairs(order) do
    s[k], l[k] = scores[i], labels[i]
    if weights then w[k] = weights[i] end
  end
  return s, l, w
end

-- Runs of equal scores: a list of { score, positives, negatives } in weight, and the totals.
local function groups_of(s, l, w)
  local groups, positives, negatives, i = {}, 0.0, 0.0, 1
  while i <= #s do
    local g = { s[i], 0.0, 0.0 }
    while i <= #s and s[i] == g[1] do
      local at = l[i] and 2 or 3
      g[at] = g[at] + (w and w[i] or 1.0)
      i = i + 1
    end
    positives, negatives = positives + g[2], negatives + g[3]
    groups[#groups + 1] = g
  end
  return groups, positives, negatives
end

-- ---- average precision --------------------------------------------------------------------------

-- Positives count `factor` times, so that their share becomes the rate asked for.
local function matched_factor(where, rate, positives, negatives)
  if rate == nil then return 1.0 end
  if type(rate) ~= "number" or not (rate > 0 and rate < 1) then
    fail(where, 0, "option 'base_rate' is %s, wanted a number between 0 and 1",
      samples.shown(rate))
  end
  if negatives == 0 then fail(where, 0, "a base rate of %.14g needs negatives", rate) end
  return rate * negatives / ((1 - rate) * positives)
end

-- The expectation over all orders of the tied ones: of a group of n with r positives after N with
-- R, the positive at
-- place i of the group is preceded within it by (i - 1)(r - 1)/(n - 1) positives on average.
local function expected_precision(groups, positives)
  local sum, N, R = 0.0, 0, 0
  for _, g in ipairs(groups) do
    local r, n = g[2], g[2] + g[3]
    if r > 0 then
      local rate = n > 1 and (r - 1) / (n - 1) or 0.0
      for i = 1, n do sum = sum + r / n * (R + 1 + (i - 1) * rate) / (N + i) end
    end
    N, R = N + n, R + r
  end
  return sum / positives
end

--- ml.stats.average_precision(scores, labels, { ties, base_rate, weights })
--- The area under the precision-recall curve as the sum of precision x step of recall, scores
--- descending. Equal scores are one step (ties = "grouped"), or averaged over all their orders
--- (ties = "expected"). A useless detector scores the base rate: compare data of different base
--- rates by base_rate, or by info.lift.
--- @param scores list or tensor [n], higher means more likely positive; infinities are allowed, nan
--- is not
--- @param labels list or tensor [n] of true and false, or 1 and 0
--- @param opts.ties string ="grouped" or "expected" (without weights and base_rate)
--- @param opts.base_rate number =nil reweights the positives so that this is their share, between 0
--- and 1
--- @param opts.weights list or tensor [n] =nil weights >= 0 of the entries
--- @return number average precision in (0, 1], or nil with "no positive labels"
--- @return table info: base_rate (share of positives, in weight), lift ((ap - base_rate)/(1 -
--- base_rate); nan without negatives), positives and negatives (their weight as given), thresholds
--- (descending) with precision and recall of the rule score >= threshold
--- @source grouped: Zhu 2004; expected: McSherry & Najork 2008
function detection.average_precision(scores, labels, opts)
  local where = "ml.stats.average_precision"
  options.check(where, opts, { "ties", "base_rate", "weights" })
  opts = opts or {}
  local ties = opts.ties or "grouped"
  if ties ~= "grouped" and ties ~= "expected" then
    fail(where, 0, "option 'ties' is %s, wanted \"grouped\" or \"expected\"", samples.shown(ties))
  end
  if ties == "expected" and (opts.weights ~= nil or opts.base_rate ~= nil) then
    fail(where, 0, "ties = \"expected\" goes without weights and base_rate")
  end
  local groups, positives, negatives =
    groups_of(read_scores(where, scores, labels, opts.weights))
  if positives == 0 then return nil, "no positive labels" end
  local factor = matched_factor(where, opts.base_rate, positives, negatives)
  local total, ap = factor * positives, 0.0
  local tp, fp, thresholds, precision, recall = 0.0, 0.0, {}, {}, {}
  for _, g in ipairs(groups) do
    if g[2] + g[3] > 0 then
      tp, fp = tp + factor * g[2], fp + g[3]
      local k = #thresholds + 1
      thresholds[k], precision[k], recall[k] = g[1], tp / (tp + fp), tp / total
      ap = ap + precision[k] * (factor * g[2] / total)
    end
  end
  if ties == "expected" then ap = expected_precision(groups, positives) end
  local base = total / (total + negatives)
  return ap, { base_rate = base,
    lift = negatives > 0 and (ap - base) / (1 - base) or samples.nan,
    positives = positives, negatives = negatives,
    thresholds = thresholds, precision = precision, recall = recall }
end

-- ---- ROC ----------------------------------------------------------------------------------------

-- The variance of the area: of the share of negatives that each positive beats, and the other way
-- round.
local function delong_stderr(groups, m, n, auc)
  if m < 2 or n < 2 then return samples.nan end
  local above_p, above_n, vp, vn = 0.0, 0.0, 0.0, 0.0 -- positives and negatives of higher score
  for _, g in ipairs(groups) do
    local beaten = (n - above_n - g[3] / 2) / n -- by a positive of this score
    local beats = (above_p + g[2] / 2) / m -- positives that beat a negative of this score
    vp, vn = vp + g[2] * (beaten - auc) ^ 2, vn + g[3] * (beats - auc) ^ 2
    above_p, above_n = above_p + g[2], above_n + g[3]
  end
  return math.sqrt(vp / (m - 1) / m + vn / (n - 1) / n)
end

--- ml.stats.roc(scores, labels, { weights })
--- The area under the ROC curve: the probability that a positive scores above a negative, ties
--- counting one half; and the curve.
--- @param scores list or tensor [n], higher means more likely positive; infinities are allowed, nan
--- is not
--- @param labels list or tensor [n] of true and false, or 1 and 0
--- @param opts.weights list or tensor [n] =nil weights >= 0 of the entries
--- @return number area in [0, 1], or nil with "no positive labels" or "no negative labels"
--- @return table info: stderr (DeLong; nan with weights or fewer than two of a class), positives
--- and negatives (their weight), and the lists fpr, tpr, thresholds from (0, 0, inf) to (1, 1,
--- least score) of the rule score >= threshold
--- @source Fawcett 2006; standard error: DeLong, DeLong & Clarke-Pearson 1988
function detection.roc(scores, labels, opts)
  local where = "ml.stats.roc"
  options.check(where, opts, { "weights" })
  local weights = (opts or {}).weights
  local groups, positives, negatives = groups_of(read_scores(where, scores, labels, weights))
  if positives == 0 then return nil, "no positive labels" end
  if negatives == 0 then return nil, "no negative labels" end
  local tp, fp, area = 0.0, 0.0, 0.0
  local fpr, tpr, thresholds = { 0.0 }, { 0.0 }, { math.huge }
  for _, g in ipairs(groups) do
    if g[2] + g[3] > 0 then
      area = area + g[3] * (tp + g[2] / 2)
      tp, fp = tp + g[2], fp + g[3]
      local k = #fpr + 1
      fpr[k], tpr[k], thresholds[k] = fp / negatives, tp / positives, g[1]
    end
  end
  local auc = area / (positives * negatives)
  return auc, {
    stderr = weights == nil and delong_stderr(groups, positives, negatives, auc) or samples.nan,
    positives = positives, negatives = negatives, fpr = fpr, tpr = tpr, thresholds = thresholds,
  }
end

--- ml.stats.risk_coverage(confidence, correct)
--- What is gained by abstaining: the error rate among the answers of highest confidence, for every
--- coverage. Equal confidences are taken or left together.
--- @param confidence list or tensor [n]; infinities are allowed, nan is not
--- @param correct list or tensor [n] of true and false, or 1 and 0
--- @return number area under the curve: risk averaged over the answers taken, from the most
--- confident on
--- @return table info: the lists coverage (ascending to 1), risk, thresholds (answers of confidence
--- >= threshold are given)
--- @source Geifman & El-Yaniv 2017
function detection.risk_coverage(confidence, correct)
  local where = "ml.stats.risk_coverage"
  local s, l = read_scores(where, confidence, correct)
  local coverage, risk, thresholds, taken, wrong, area = {}, {}, {}, 0, 0, 0.0
  for k, g in ipairs((groups_of(s, l))) do
    local size = g[2] + g[3]
    taken, wrong = taken + size, wrong + g[3]
    coverage[k], risk[k], thresholds[k] = taken / #s, wrong / taken, g[1]
    area = area + risk[k] * size / #s
  end
  return area, { coverage = coverage, risk = risk, thresholds = thresholds }
end

return detection
