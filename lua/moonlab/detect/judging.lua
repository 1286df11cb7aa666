--- How good scores of suspicion are, so that generators of different rates can be compared.
local core = require "moonlab.core"
local options = require "moonlab.options"
local stats = require "moonlab.stats"

local judging = {}

-- Average precision, at the base rate asked for, lift and area under the ROC curve.
local function measure(scores, labels, base_rate)
  local ap, info = stats.average_precision(scores, labels)
  local roc = stats.roc(scores, labels)
  if not ap or not roc then return nil end
  return { ap = ap, lift = info.lift, roc = roc,
    matched = stats.average_precision(scores, labels, { base_rate = base_rate }) }
end

-- Resamples of groups with replacement, as weights of their members.
local function intervals(scores, labels, groups, o)
  local of, order = {}, {}
  for i, g in ipairs(groups) do
    if not of[g] then
      of[g], order[#order + 1] = {}, g
    end
    table.insert(of[g], i)
  end
  local draws = { ap = {}, lift = {}, roc = {}, matched = {} }
  local key = core.rng(o.seed):fold("detect.bootstrap")
  for r = 1, o.resamples do
    local s, l = {}, {}
    for _, k in ipairs(key:fold("draw", r):integers(1, #order, { #order }):totable()) do
      for _, i in ipairs(of[order[k]]) do s[#s + 1], l[#l + 1] = scores[i], labels[i] end
    end
    local m = measure(s, l, o.base_rate)
    for name, list in pairs(m and draws or {}) do list[#list + 1] = m[name] end
  end
  local out = {}
  for name, list in pairs(draws) do
    if #list > 1 then
      out[name] = { stats.quantile(list, 0.025), stats.quantile(list, 0.975) }
    end
  end
  return out
end

-- Probabilities of logits, and the threshold of best accuracy on validation scores.
local function sigmoid(z) return 1 / (1 + math.exp(-z)) end

local function best_threshold(scores, labels)
  local order, right = {}, 0
  for i = 1, #scores do
    order[i] = i
    right = right + (labels[i] and 0 or 1) -- above every score: nothing is called hallucinated
  end
  table.sort(order, function(a, b)
    if scores[a] ~= scores[b] then return scores[a] > scores[b] end
    return a < b
  end)
  local best, threshold = right, math.huge
  for k, i in ipairs(order) do
    right = right + (labels[i] and 1 or -1)
    if right > best and scores[order[k + 1]] ~= scores[i] then
      best, threshold = right, scores[i]
    end
  end
  return threshold
end

--- ml.detect.judge(scores, labels, { base_rate, groups, resamples, seed, valid, logits })
--- What scores of suspicion are worth. Average precision of a useless score is the base rate, so
--- that it says nothing across generators without the other columns.
--- @param scores list of numbers, larger: more likely hallucinated
--- @param labels list of booleans, true for hallucinated
--- @param opts.base_rate number =0.1 at which average precision is given as well, in (0, 1)
--- @param opts.groups list =each score alone; those of a group (a subject) are resampled together
--- @param opts.resamples integer =200 for the intervals of 95 %; 0: none
--- @param opts.seed integer =1 of the resamples
--- @param opts.valid table { scores, labels } that the threshold of accuracy is chosen on
--- @param opts.logits boolean =false the scores are logits: calibration is given
--- @return table { n, base_rate, ap, matched (average precision at opts.base_rate), lift ((ap -
--- base rate)/(1 - base rate)), roc, interval = { ap, matched, lift, roc = { low, high } },
--- accuracy, risk (mean share of hallucinations when answers are given from the least suspicious
--- on), curve (coverage and risk of it), calibration (expected error) and reliability }; ap and
--- what follows from it are nil where one class is empty
--- @source Hron et al. 2024 (arXiv 2408.07852), area under the precision-recall curve; risk and
--- coverage: Geifman & El-Yaniv 2017
function judging.judge(scores, labels, opts)
  local where = "ml.detect.judge"
  options.argument(where, 1, scores, "table")
  options.argument(where, 2, labels, "table")
  options.check(where, opts, { "base_rate", "groups", "resamples", "seed", "valid", "logits" })
  opts = opts or {}
  local o = { base_rate = options.field(where, opts, "base_rate", "number", 0.1),
    resamples = options.range(where, "resamples",
      options.field(where, opts, "resamples", "integer", 200), 0),
    seed = options.field(where, opts, "seed", "integer", 1) }
  local out, positives = { n = #scores }, 0
  for _, l in ipairs(labels) do positives = positives + (l and 1 or 0) end
  out.base_rate = positives / #labels
  local m = measure(scores, labels, o.base_rate)
  for name, value in pairs(m or {}) do out[name] = value end
  if m and o.resamples > 0 then
    local groups = opts.groups
    if not groups then
      groups = {}
      for i in ipairs(scores) do groups[i] = i end
    end
    if #groups ~= #scores then
      options.bad(where, 0, "option 'groups' has %d entries, scores has %d", #groups, #scores)
    end
    out.interval = intervals(scores, labels, groups, o)
  end
  local trust, good = {}, {}
  for i, s in ipairs(scores) do trust[i], good[i] = -s, not labels[i] end
  local risk, curve = stats.risk_coverage(trust, good)
  out.risk, out.curve = risk, { coverage = curve.coverage, risk = curve.risk }
  local valid = opts.valid
  if valid then
    local threshold, right = best_threshold(valid[1], valid[2]), 0
    for i, s in ipairs(scores) do
      right = right + ((s >= threshold) == labels[i] and 1 or 0)
    end
    out.accuracy, out.threshold = right / #scores, threshold
  end
  if opts.logits then
    local p = {}
    for i, s in ipairs(scores) do p[i] = sigmoid(s) end
    local ece, info = stats.calibration(p, labels)
    out.calibration, out.reliability = ece, info.reliability
  end
  return out
end

return judging
