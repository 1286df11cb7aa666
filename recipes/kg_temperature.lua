--- What does a lower temperature, or a cut of unlikely tokens, gain in right answers, and what does
--- it leave out where several answers are right?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local study = require "moonlab.kg.study"

local function mean(list)
  local sum = 0
  for _, x in ipairs(list) do sum = sum + x / #list end
  return sum
end

local function several(prompts)
  local list = {}
  for _, prompt in ipairs(prompts) do
    if #prompt.objects > 1 then list[#list + 1] = prompt end
  end
  return list
end

local function say_groups(title, groups)
  local parts = {}
  for key, g in ml.sorted(groups) do
    parts[#parts + 1] = ("%s: %.3f (%d)"):format(key, g.rate, g.prompts)
  end
  print(("  hallucinations by %s (prompts): %s"):format(title, table.concat(parts, ", ")))
end

-- The curve of one model over prompts with several answers, and its rates over all by group.
local function measure(lm, code, split, p)
  local key = ml.rng(p.seed):fold("kg_temperature")
  local prompts, graph = several(split.seen), split.graph
  if #prompts == 0 then error("no seen prompt has several answers", 0) end
  local curve = ml.kg.curve(lm, code, prompts, { temperatures = p.temperatures, top_k = p.top_k,
    top_p = p.top_p, samples = p.samples, rng = key, graph = graph })
  for _, way in ipairs(curve) do
    if not way.top_k and not way.top_p then
      way.exact = mean(ml.kg.probability(lm, code, prompts, { temperature = way.temperature }))
    end
    way.several = nil
  end
  local all = ml.kg.judge(split.seen, ml.kg.sample(lm, code, split.seen, { samples = 4,
    rng = key:fold("all"), graph = graph }), { graph = graph })
  return { prompts = #prompts, curve = curve, rate = all.rate, kinds = all.kinds,
    by_predicate = all.by_predicate, by_fanout = all.by_fanout, by_frequency = all.by_frequency }
end

local function say(size, m)
  print(("%s: %d seen prompts with several answers"):format(size, m.prompts))
  print(("  %-12s %9s %9s %9s"):format("sampling", "precision", "exact", "recall"))
  for _, way in ipairs(m.curve) do
    local name = way.top_k and "top " .. way.top_k or way.top_p and "top_p " .. way.top_p
      or "T = " .. way.temperature
    print(("  %-12s %9.4f %9s %9.4f"):format(name, way.precision,
      way.exact and ("%.4f"):format(way.exact) or "", way.recall))
  end
  say_groups("relation", m.by_predicate)
  say_groups("number of answers", m.by_fanout)
  say_groups("frequency of the most frequent answer", m.by_frequency)
  local kinds = {}
  for kind, share in ml.sorted(m.kinds) do kinds[#kinds + 1] = ("%s %.4f"):format(kind, share) end
  print("  errors of all samples at T = 1: " .. table.concat(kinds, ", "))
end

-- Precision or recall at a temperature.
local function at(r, size, field, temperature)
  for _, way in ipairs(r.models[size].curve) do
    if way.temperature == temperature and not way.top_k and not way.top_p then return way[field] end
  end
  return 0 / 0
end

local function about(size)
  return function(p)
    local found = 0
    for _, s in ipairs(p.sizes) do if s == size then found = found + 1 end end
    for _, t in ipairs(p.temperatures) do if t == 0.25 or t == 0.5 then found = found + 1 end end
    return found == 3 and p.graph == "synthetic" and p.fraction * p.subjects == 200
      and p.epochs == 100
  end
end

local params = { sizes = { { "XS", "S" }, "models", choices = { "XS", "S", "M", "L" } },
  temperatures = { { 0.25, 0.5, 0.75, 1.0, 1.25, 1.5 }, "of sampling, ascending", above = 0 },
  top_k = { { 1, 2, 3, 5, 10, 20 }, "numbers of most likely tokens, at temperature 1", min = 1 },
  top_p = { { 0.5, 0.8, 0.9, 0.95, 0.99 }, "shares of most likely tokens, at temperature 1",
    above = 0, max = 1 },
  fraction = { 0.25, "of the seen subjects that are trained on", above = 0, max = 1 },
  epochs = { 100, "passes over the training triplets", min = 1 },
  samples = { 16, "of each prompt", min = 1 },
  seed = { 1, "of graph, split, models and samples" } }
for name, spec in pairs(study.graph_params) do params[name] = spec end

local claims = {}
for _, size in ipairs { "XS", "S" } do
  for _, field in ipairs { "precision", "recall" } do
    claims[#claims + 1] = { kind = "calibrated", seeds = 3, when = about(size), tolerance = 0.02,
      name = ("%s: %s of %s from temperature 0.25 to 0.5"):format(size,
        field == "precision" and "fall" or "rise", field), at_least = 0,
      source = "Hron et al. 2024 (arXiv 2408.07852): the trade-off of precision and recall",
      measure = function(r)
        local change = at(r, size, field, 0.5) - at(r, size, field, 0.25)
        return field == "precision" and -change or change
      end }
  end
end

return recipe.define {
  name = "kg_temperature",
  source = "Hron et al. 2024 (arXiv 2408.07852), precision and recall over temperature",
  params = params,
  smoke = { subjects = 40, pool = 20, sizes = { "XS" }, temperatures = { 0.25, 0.5, 1.0 },
    top_k = { 2 }, top_p = { 0.9 }, epochs = 30, fraction = 1.0, samples = 4 },
  full = { subjects = 3200, triplets = 16000, fraction = 0.0625,
    sizes = { "XS", "S", "M" }, seeds = { 1, 2, 3 } },
  estimate = function(p) return study.estimates(p, { p.epochs }) end,
  run = function(p, ctx)
    local whole, code = study.graph(p)
    local split = whole:fraction(p.fraction)
    local result, series = { models = {} }, {}
    for _, size in ipairs(p.sizes) do
      local m = ctx:once(size, function()
        local lm = ml.kg.train(split, code, { size = size, epochs = p.epochs, seed = p.seed,
          packed = p.graph ~= "synthetic", dir = ctx.dir .. "/" .. size })
        return measure(lm, code, split, p)
      end)
      say(size, m)
      result.models[size] = m
      local lines = { temperature = { x = {}, y = {} }, ["top k"] = { x = {}, y = {} },
        ["top p"] = { x = {}, y = {} } }
      for _, way in ipairs(m.curve) do
        ctx:log { size = size, temperature = way.temperature, top_k = way.top_k, top_p = way.top_p,
          precision = way.precision, recall = way.recall }
        local line = lines[way.top_k and "top k" or way.top_p and "top p" or "temperature"]
        line.x[#line.x + 1], line.y[#line.y + 1] = way.recall, way.precision
      end
      for name, line in ml.sorted(lines) do
        line.label = size .. ", " .. name
        if #line.x > 0 then series[#series + 1] = line end
      end
    end
    ctx:figure("trade_off", ml.plot.lines { series = series, xlabel = "recall",
      ylabel = "precision", title = "right answers and answers left out" })
    return result
  end,
  claims = claims,
}
