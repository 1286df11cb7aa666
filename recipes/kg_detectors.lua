--- Can what a model makes up be told from what it remembers, and is that harder for a better model?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local study = require "moonlab.kg.study"

-- Two tasks, two kinds, layers and sizes. "other": weights of the generator of another size.
local arms = {
  { name = "sentence/head" },
  { name = "sentence/head, layer 1", layer = 1 },
  { name = "sentence/head, all layers", layer = "all" },
  { name = "sentence/head, 256 units", width = 256 },
  { name = "sentence/pair", features = "pair" },
  { name = "sentence/full", kind = "full" },
  { name = "sentence/full, other size", kind = "full", other = true },
  { name = "sentence/full, scratch", kind = "full", init = "scratch" },
  { name = "token/head", task = "token" },
  { name = "token/head, all layers", task = "token", layer = "all" },
  { name = "token/pair", task = "token", features = "pair" },
  { name = "token/full", task = "token", kind = "full" },
}
local names = {}
for i, arm in ipairs(arms) do names[i] = arm.name end

local function subjects_of(list, owners)
  local groups = {}
  for k, i in ipairs(owners) do groups[k] = list[i].prompt.subject end
  return groups
end

local function number(x) return x and ("%.3f"):format(x) or "-" end

local function say(name, j)
  local low = j.interval and j.interval.roc
  print(("  %-28s %6s %6s %7s %6s %6s %15s %6s %6s %6s"):format(name, number(j.base_rate),
    number(j.ap), number(j.matched), number(j.lift), number(j.roc),
    low and ("%.3f - %.3f"):format(low[1], low[2]) or "-", number(j.accuracy),
    number(j.calibration), number(j.risk)))
end

-- What is kept of a verdict.
local function brief(j)
  j.reliability, j.threshold = nil, nil
  local curve, thin = j.curve, { coverage = {}, risk = {} }
  local step = math.max(1, #curve.risk // 50)
  for k = 1, #curve.risk do
    if k % step == 0 or k == #curve.risk then
      table.insert(thin.coverage, curve.coverage[k])
      table.insert(thin.risk, curve.risk[k])
    end
  end
  j.curve = thin
  return j
end

local function judge_baselines(data, p)
  local out, labels, owners = {}, {}, {}
  for i, e in ipairs(data.test) do labels[i], owners[i] = e.label, i end
  local valid, known = ml.detect.baselines(data.valid), {}
  for i, e in ipairs(data.valid) do known[i] = e.label end
  for name, scores in ml.sorted(ml.detect.baselines(data.test)) do
    out[name] = brief(ml.detect.judge(scores, labels, { base_rate = p.base_rate,
      groups = subjects_of(data.test, owners), resamples = p.resamples, seed = p.seed,
      valid = { valid[name], known } }))
  end
  return out
end

local function judge_arm(lm, data, arm, model, p)
  local detector = ml.detect.train(lm, data, { task = arm.task, kind = arm.kind,
    features = arm.features, layer = arm.layer, width = arm.width, init = arm.init, model = model,
    seed = p.seed })
  local scores, labels, owners = detector:score(data.test)
  local j = brief(ml.detect.judge(scores, labels, { base_rate = p.base_rate, logits = true,
    groups = subjects_of(data.test, owners), resamples = p.resamples, seed = p.seed,
    valid = { detector:score(data.valid) } }))
  j.parameters, j.epochs = detector.parameters, detector.epochs
  return j
end

local function about(p, size, epochs)
  local found = 0
  for _, s in ipairs(p.sizes) do if s == size then found = found + 1 end end
  for _, e in ipairs(p.epochs) do if e == epochs then found = found + 1 end end
  return found == 2 and p.graph == "synthetic" and p.fraction * p.subjects == 200
    and p.temperature == 1
end
local function both(arm)
  return function(p)
    local there = false
    for _, name in ipairs(p.detectors) do there = there or name == arm end
    return there and about(p, "XS", 100) and about(p, "S", 100)
  end
end

local function of(r, size, epochs)
  for _, g in ipairs(r.generators) do
    if g.size == size and g.epochs == epochs then return g end
  end
end

-- The least, over generators, of a number of a detector.
local function least(r, field)
  local low = math.huge
  for _, g in ipairs(r.generators) do low = math.min(low, field(g) or 0 / 0) end
  return low
end

local function fall(arm, field)
  return function(r)
    return of(r, "XS", 100).detectors[arm][field] - of(r, "S", 100).detectors[arm][field]
  end
end

-- Whether the inverse relation is more than the base rate, in a sentence for each detector.
local function relation(result, p)
  local by_rate = {}
  for _, g in ipairs(result.generators) do by_rate[#by_rate + 1] = g end
  table.sort(by_rate, function(a, b) return a.rate > b.rate end)
  local worst, best = by_rate[1], by_rate[#by_rate]
  if worst == best then return end
  print(("\nfrom %s (rate %.3f) to %s (%.3f):"):format(worst.name, worst.rate, best.name,
    best.rate))
  for _, name in ipairs(p.detectors) do
    local a, b = worst.detectors[name], best.detectors[name]
    if a and b and a.ap and b.ap then
      local from, to = a.interval.matched, b.interval.matched
      local gone = from and to and to[2] < from[1]
      print(("  %s: AP %s from %.3f to %.3f; at a base rate of %g it goes from %.3f to %.3f, and "
        .. "ROC from %.3f to %.3f: %s"):format(name, b.ap < a.ap and "falls" or "rises", a.ap, b.ap,
        p.base_rate, a.matched, b.matched, a.roc, b.roc, b.ap >= a.ap
        and "no inverse relation here" or gone and "the inverse relation survives the matching"
        or "the inverse relation does not survive the matching"))
    end
  end
end

local params = {
  sizes = { { "XS", "S" }, "generators", choices = { "XS", "S", "M", "L" } },
  epochs = { { 60, 100 }, "passes of the generators over their triplets", min = 1 },
  fraction = { 0.25, "of the seen subjects that are trained on", above = 0, max = 1 },
  temperature = { 1.0, "of the samples", above = 0 },
  samples = { 4, "of each prompt", min = 1 },
  detectors = { names, "to train", choices = names },
  base_rate = { 0.1, "at which average precision is given as well", above = 0, below = 1 },
  resamples = { 200, "for the intervals, of subjects", min = 2 },
  seed = { 1, "of graph, split, models, samples and detectors" },
}
for name, spec in pairs(study.graph_params) do params[name] = spec end

return recipe.define {
  name = "kg_detectors",
  source = "Hron et al. 2024 (arXiv 2408.07852), detectability of hallucinations",
  params = params,
  smoke = { subjects = 60, pool = 20, sizes = { "XS" }, epochs = { 20 }, fraction = 1.0,
    samples = 2, detectors = { "sentence/head", "sentence/pair", "token/full" }, resamples = 10 },
  full = { subjects = 3200, triplets = 16000, fraction = 0.0625,
    sizes = { "XS", "S", "M" }, seeds = { 1, 2, 3 } },
  estimate = function(p)
    local e = study.estimates(p, p.epochs)
    e.seconds = e.seconds + 3 * #p.detectors * #p.sizes * #p.epochs
    return e
  end,
  run = function(p, ctx)
    local whole, code = study.graph(p)
    local split = whole:fraction(p.fraction)
    local result, wanted, models = { generators = {} }, {}, {}
    for _, name in ipairs(p.detectors) do wanted[name] = true end
    for _, epochs in ipairs(p.epochs) do
      for _, size in ipairs(p.sizes) do
        models[size .. epochs] = ml.kg.train(split, code, { size = size, epochs = epochs,
          seed = p.seed, packed = p.graph ~= "synthetic", dir = ("%s/%s-%d"):format(ctx.dir, size,
            epochs) })
      end
    end
    for _, epochs in ipairs(p.epochs) do
      for _, size in ipairs(p.sizes) do
        local lm, other = models[size .. epochs], nil
        for _, s in ipairs(p.sizes) do if s ~= size then other = models[s .. epochs] end end
        local data = ml.detect.examples(lm, code, split, { samples = p.samples, seed = p.seed,
          temperature = p.temperature })
        local g = { name = ("%s at %d epochs"):format(size, epochs), size = size, epochs = epochs,
          rate = data.rate, rates = data.rates, test = #data.test, detectors = {} }
        print(("\n%s: %.4f of %d samples hallucinated"):format(g.name, g.rate,
          #data.train + #data.valid + #data.test))
        print(("  %-28s %6s %6s %7s %6s %6s %15s %6s %6s %6s"):format("score", "base", "AP",
          ("AP@%g"):format(p.base_rate), "lift", "ROC", "95 %", "acc.", "calib.", "risk"))
        local key = size .. "-" .. epochs
        g.baselines = ctx:once(key .. " baselines", function() return judge_baselines(data, p) end)
        for name, j in ml.sorted(g.baselines) do say(name, j) end
        for _, arm in ipairs(arms) do
          if wanted[arm.name] and (not arm.other or other) then
            g.detectors[arm.name] = ctx:once(key .. " " .. arm.name, function()
              return judge_arm(lm, data, arm, arm.other and other or nil, p)
            end)
            say(arm.name, g.detectors[arm.name])
            local j = g.detectors[arm.name]
            ctx:log { generator = g.name, detector = arm.name, rate = g.rate, ap = j.ap,
              matched = j.matched, roc = j.roc }
          end
        end
        result.generators[#result.generators + 1] = g
      end
    end
    relation(result, p)
    local last, series = result.generators[1], {}
    local function add(name, j)
      if j then series[#series + 1] = { x = j.curve.coverage, y = j.curve.risk, label = name } end
    end
    add("log probability", last.baselines.logprob)
    for _, name in ipairs { "sentence/head", "sentence/pair" } do
      add(name, last.detectors[name])
    end
    ctx:figure("risk_coverage", ml.plot.lines { series = series, xlabel = "coverage",
      ylabel = "hallucinations among the answers given", title = "abstaining: " .. last.name })
    return result
  end,
  claims = {
    { name = "least ROC of minus the log probability", kind = "calibrated", seeds = 3,
      source = "an independent run of this design", at_least = 0.95,
      when = both "sentence/head", measure = function(r)
        return least(r, function(g) return g.baselines.logprob.roc end)
      end },
    { name = "least ROC of sentence/pair", kind = "calibrated", seeds = 3,
      source = "an independent run of this design", at_least = 0.9, when = both "sentence/pair",
      measure = function(r)
        return least(r, function(g) return g.detectors["sentence/pair"].roc end)
      end },
    { name = "ROC of sentence/head, mean over generators", kind = "calibrated", seeds = 3,
      source = "an independent run of this design", expected = 0.6, tolerance = 0.15,
      when = both "sentence/head", measure = function(r)
        local sum = 0
        for _, g in ipairs(r.generators) do
          sum = sum + (g.detectors["sentence/head"].roc or 0 / 0) / #r.generators
        end
        return sum
      end },
    { name = "sentence/head: fall of AP from XS to S at 100 epochs", kind = "calibrated",
      seeds = 3, source = "Hron et al. 2024: the better the model, the harder", at_least = 0,
      when = both "sentence/head", measure = fall("sentence/head", "ap") },
    { name = "sentence/pair: fall of AP from XS to S at 100 epochs", kind = "exploratory",
      source = "Hron et al. 2024: the better the model, the harder", when = both "sentence/pair",
      measure = fall("sentence/pair", "ap") },
    { name = "sentence/head: the same at a matched base rate", kind = "exploratory",
      when = both "sentence/head", measure = fall("sentence/head", "matched") },
    { name = "sentence/head: the same of ROC", kind = "exploratory", when = both "sentence/head",
      measure = fall("sentence/head", "roc") },
    { name = "sentence/pair: the same at a matched base rate", kind = "exploratory",
      when = both "sentence/pair", measure = fall("sentence/pair", "matched") },
  },
}
