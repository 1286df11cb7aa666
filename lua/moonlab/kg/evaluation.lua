--- How often a model answers wrongly, in which way, and what it leaves out.
local core = require "moonlab.core"
local codec = require "moonlab.kg.codec"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local evaluation = {}

local CHUNK = 512 -- prompts that are sampled at a time

-- ---- sampling -----------------------------------------------------------------------------------

local function read(where, opts, more)
  local names = { "samples", "temperature", "top_k", "top_p", "greedy", "max_new", "rng", "graph" }
  for _, name in ipairs(more or {}) do names[#names + 1] = name end
  options.check(where, opts, names)
  opts = opts or {}
  local o = { greedy = options.field(where, opts, "greedy", "boolean", false),
    temperature = options.field(where, opts, "temperature", "number", 1),
    top_k = options.optional(where, opts, "top_k", "integer"),
    top_p = options.optional(where, opts, "top_p", "number"),
    max_new = options.optional(where, opts, "max_new", "integer"), rng = opts.rng or core.rng(1),
    graph = options.optional(where, opts, "graph", "table") }
  if not (o.temperature > 0) then
    options.bad(where, 0, "option 'temperature' is %.14g, wanted > 0", o.temperature)
  end
  o.samples = o.greedy and 1 or options.range(where, "samples",
    options.field(where, opts, "samples", "integer", 4), 1)
  return o
end

-- What a sample is: the kind of its error, or nil.
local function kind_of(prompt, object, why, graph)
  if not object then return why == "unfinished" and "unfinished" or "invented" end
  if prompt.is[object] then return nil end
  if prompt.told[object] then return "told" end
  if not graph then return "wrong" end
  local pool = graph.pools[prompt.predicate]
  if pool and pool[object] then return "right_type" end
  return graph.entities[object] and "other_type" or "invented"
end
evaluation.kind_of = kind_of

--- ml.kg.sample(lm, codec, prompts, { samples, temperature, top_k, top_p, greedy, max_new, rng,
---   graph })
--- Answers that a model gives, with their verdicts. A prompt's samples depend on its place and the
--- generator's key only.
--- @param lm decoder
--- @param codec codec
--- @param prompts list of prompts, as in split.seen
--- @param opts.samples integer =4 of each prompt
--- @param opts.temperature number =1 > 0
--- @param opts.top_k integer only the k most likely tokens
--- @param opts.top_p number only the most likely tokens that hold this share
--- @param opts.greedy boolean =false one answer, the most likely token at each place
--- @param opts.max_new integer =longest answer that fits into a row
--- @param opts.rng ml.rng whose key makes the samples
--- @param opts.graph graph by which errors are told apart
--- @return table list over prompts of lists of { object (nil where it is none), ids, kind (nil: a
--- right answer; "told": what the text wrongly says; "right_type": another object of the predicate;
--- "other_type": another entity; "invented": no entity; "unfinished"; "wrong" without a graph),
--- logprobs (of its tokens, at temperature 1) }
--- @source definitions after Hron et al. 2024 (arXiv 2408.07852)
function evaluation.sample(lm, code, prompts, opts)
  local where = "ml.kg.sample"
  options.argument(where, 3, prompts, "table")
  local o = read(where, opts)
  local context, out = lm:config().context, {}
  if #prompts == 0 then options.bad(where, 3, "no prompts") end
  for first = 1, #prompts, CHUNK do
    local ids, keys = {}, {}
    local last = math.min(#prompts, first + CHUNK - 1)
    for i = first, last do
      local list = code:prompt(prompts[i])
      if #list > context then
        options.bad(where, 3, "prompt %d ('%s', '%s') has %d tokens, the model's context is %d", i,
          prompts[i].subject, prompts[i].predicate, #list, context)
      end
      ids[#ids + 1], keys[#keys + 1] = list, o.rng:fold("kg.sample", i)
    end
    local max_new = o.max_new or code.longest
    local found, info = lm:generate(ids, { n = o.samples, max_new = max_new, greedy = o.greedy,
      temperature = not o.greedy and o.temperature or nil, top_k = o.top_k, top_p = o.top_p,
      stop = { codec.stop }, keys = keys })
    for i = first, last do
      local list = {}
      for j, one in ipairs(found[i - first + 1]) do
        local tokens = one:totable()
        local object, why = code:decode(tokens)
        list[j] = { object = object, ids = tokens, kind = kind_of(prompts[i], object, why, o.graph),
          logprobs = info.logprobs[i - first + 1][j]:totable() }
      end
      out[i] = list
    end
  end
  return out
end

-- ---- rates --------------------------------------------------------------------------------------

local function group(groups, key, wrong, n)
  local g = groups[key] or { prompts = 0, wrong = 0, samples = 0 }
  groups[key] = g
  g.prompts, g.wrong, g.samples = g.prompts + 1, g.wrong + wrong, g.samples + n
end

local function finish(groups)
  for _, g in pairs(groups) do g.rate = g.wrong / g.samples end
  return groups
end

-- How often the prompt's most frequent answer stands in the graph, as a power of two.
local function frequency(prompt, graph)
  local most = 0
  for _, object in ipairs(prompt.objects) do
    most = math.max(most, graph.pools[prompt.predicate][object] or 0)
  end
  return 2 ^ math.floor(math.log(math.max(1, most), 2) + 1e-9) // 1
end

--- ml.kg.judge(prompts, samples, { graph })
--- Rates of what ml.kg.sample returned.
--- @param prompts list
--- @param samples list over prompts of lists
--- @param opts.graph graph for the rates by frequency
--- @return table { rate (hallucinations), stderr (over prompts), precision = 1 - rate, recall
--- (share of right answers that were given at least once), kinds (kind -> share of all samples),
--- several = { prompts, precision, recall } of prompts with more than one answer, by_predicate,
--- by_fanout and by_frequency (of the most frequent answer, powers of two) = key -> { prompts,
--- samples, wrong, rate }, samples, prompts }
--- @source Hron et al. 2024 (arXiv 2408.07852), precision and recall
function evaluation.judge(prompts, samples, opts)
  local where = "ml.kg.judge"
  options.argument(where, 1, prompts, "table")
  options.argument(where, 2, samples, "table")
  options.check(where, opts, { "graph" })
  local graph = opts and opts.graph
  if #prompts == 0 then options.bad(where, 1, "no prompts") end
  local out = { kinds = {}, by_predicate = {}, by_fanout = {}, by_frequency = {}, samples = 0,
    prompts = #prompts, several = { prompts = 0, precision = 0, recall = 0 } }
  local sum, squares, wrong_all, given_all, answers_all = 0, 0, 0, 0, 0
  local many = { wrong = 0, samples = 0, given = 0, answers = 0 }
  for i, prompt in ipairs(prompts) do
    local wrong, given, count = 0, {}, 0
    for _, one in ipairs(samples[i]) do
      if one.kind then
        wrong = wrong + 1
        out.kinds[one.kind] = (out.kinds[one.kind] or 0) + 1
      elseif not given[one.object] then
        given[one.object], count = true, count + 1
      end
    end
    local n = #samples[i]
    out.samples, wrong_all = out.samples + n, wrong_all + wrong
    given_all, answers_all = given_all + count, answers_all + #prompt.objects
    sum, squares = sum + wrong / n, squares + (wrong / n) ^ 2
    group(out.by_predicate, prompt.predicate, wrong, n)
    group(out.by_fanout, #prompt.objects, wrong, n)
    if graph then group(out.by_frequency, math.tointeger(frequency(prompt, graph)), wrong, n) end
    if #prompt.objects > 1 then
      out.several.prompts = out.several.prompts + 1
      many.wrong, many.samples = many.wrong + wrong, many.samples + n
      many.given, many.answers = many.given + count, many.answers + #prompt.objects
    end
  end
  for kind, count in pairs(out.kinds) do out.kinds[kind] = count / out.samples end
  finish(out.by_predicate)
  finish(out.by_fanout)
  finish(out.by_frequency)
  local n = #prompts
  out.rate = wrong_all / out.samples
  out.stderr = n > 1 and math.sqrt(math.max(0, squares - sum ^ 2 / n) / (n - 1) / n) or 0 / 0
  out.precision, out.recall = 1 - out.rate, given_all / answers_all
  out.several.precision = 1 - many.wrong / many.samples
  out.several.recall = many.given / many.answers
  return out
end

--- ml.kg.evaluate(lm, codec, split, { samples, temperature, top_k, top_p, greedy, most, rng })
--- The hallucination rates of the three sets of a split.
--- @param lm decoder
--- @param codec codec
--- @param split split
--- @param opts.samples integer =4 of each prompt
--- @param opts.temperature number =1 > 0
--- @param opts.top_k integer only the k most likely tokens
--- @param opts.top_p number only the most likely tokens that hold this share
--- @param opts.greedy boolean =false one answer, the most likely token at each place
--- @param opts.most integer =all prompts of a set, the first so many of an order from the seed
--- @param opts.rng ml.rng whose key makes the samples
--- @return table { seen, partial, invisible } of what ml.kg.judge returns; a set without prompts is
--- absent
--- @source Hron et al. 2024 (arXiv 2408.07852)
function evaluation.evaluate(lm, code, split, opts)
  local where = "ml.kg.evaluate"
  options.argument(where, 3, split, "table")
  local o = read(where, opts, { "most" })
  local most = options.optional(where, opts or {}, "most", "integer")
  local out = {}
  for _, name in ipairs { "seen", "partial", "invisible" } do
    local prompts = evaluation.some(split[name], most, split.seed)
    if #prompts > 0 then
      local samples = evaluation.sample(lm, code, prompts, { samples = o.samples,
        temperature = o.temperature, top_k = o.top_k, top_p = o.top_p, greedy = o.greedy,
        rng = o.rng:fold(name), graph = split.graph })
      out[name] = evaluation.judge(prompts, samples, { graph = split.graph })
    end
  end
  return out
end

--- At most so many of a list, chosen by a seed.
function evaluation.some(list, most, seed)
  if not most or #list <= most then return list end
  local chosen = {}
  for i, k in ipairs(core.rng(seed):fold("kg.some"):permutation(#list):totable()) do
    if i > most then break end
    chosen[i] = list[k]
  end
  return chosen
end

--- ml.kg.curve(lm, codec, prompts, { temperatures, top_k, top_p, samples, rng, graph })
--- Precision and recall over temperatures, and at temperature 1 over top-k and top-p.
--- @param lm decoder
--- @param codec codec
--- @param prompts list of prompts
--- @param opts.temperatures list ={ 0.25, 0.5, 1, 1.5 }
--- @param opts.top_k list ={} of integers
--- @param opts.top_p list ={} of numbers
--- @param opts.samples integer =16 of each prompt
--- @param opts.rng ml.rng whose key makes the samples
--- @param opts.graph graph by which errors are told apart
--- @return table list of { temperature, top_k, top_p, precision, recall, rate, several, kinds }, as
--- ml.kg.judge has them
--- @source Hron et al. 2024 (arXiv 2408.07852), precision and recall over temperature
function evaluation.curve(lm, code, prompts, opts)
  local where = "ml.kg.curve"
  options.argument(where, 3, prompts, "table")
  options.check(where, opts, { "temperatures", "top_k", "top_p", "samples", "rng", "graph" })
  opts = opts or {}
  local ways = {}
  for _, t in ipairs(options.field(where, opts, "temperatures", "table", { 0.25, 0.5, 1, 1.5 })) do
    ways[#ways + 1] = { temperature = t }
  end
  for _, name in ipairs { "top_k", "top_p" } do
    for _, value in ipairs(options.field(where, opts, name, "table", {})) do
      ways[#ways + 1] = { temperature = 1, [name] = value }
    end
  end
  for _, way in ipairs(ways) do
    local samples = evaluation.sample(lm, code, prompts, { temperature = way.temperature,
      top_k = way.top_k, top_p = way.top_p, samples = opts.samples or 16, rng = opts.rng,
      graph = opts.graph })
    local e = evaluation.judge(prompts, samples, { graph = opts.graph })
    for _, name in ipairs { "precision", "recall", "rate", "several", "kinds", "stderr" } do
      way[name] = e[name]
    end
  end
  return ways
end

--- ml.kg.loss(lm, codec, prompts, { on })
--- The cross-entropy of a prompt's triplets, averaged over tokens.
--- @param lm decoder
--- @param codec codec
--- @param prompts list of prompts, all objects of each
--- @param opts.on string ="all" tokens after the first, or those of the "object"
--- @return number nats a token
--- @source -
function evaluation.loss(lm, code, prompts, opts)
  local where = "ml.kg.loss"
  options.argument(where, 3, prompts, "table")
  options.check(where, opts, { "on" })
  local on = options.choice(where, opts or {}, "on", { "all", "object" }, "all")
  local rows, from, sum, count = {}, {}, 0.0, 0
  for _, prompt in ipairs(prompts) do
    for _, object in ipairs(prompt.objects) do
      local ids, before = code:row { prompt.subject, prompt.predicate, object }
      rows[#rows + 1], from[#from + 1] = ids, on == "all" and 2 or before + 1
    end
  end
  if #rows == 0 then options.bad(where, 3, "no prompts") end
  for _, logp in ipairs(lm:logprob(rows, { from = from })) do
    sum, count = sum - logp:sum():item(), count + logp:numel()
  end
  return sum / count
end

-- ---- controls -----------------------------------------------------------------------------------

-- log2 of n choose k.
local function log2_choose(n, k)
  local sum = 0.0
  for i = 1, k do sum = sum + math.log((n - k + i) / i, 2) end
  return sum
end

--- ml.kg.controls(split)
--- What a model without memory of subjects could do: the most frequent object of the predicate in
--- the training text, and a draw from its objects as frequent as they are there.
--- @param split split
--- @return table { mode = { seen, partial, invisible }, draw = the same (rates of hallucination),
--- objects (predicate -> its most frequent object), entropy (bits of the pools, mean over training
--- triplets), floor (nats a triplet that the choice among right answers must cost), bits (of the
--- graph: log2 of the ways to choose each prompt's answers from its pool) }
--- @source -
function evaluation.controls(split)
  options.argument("ml.kg.controls", 1, split, "table")
  local counts, totals = {}, {}
  for _, t in ipairs(split:triplets()) do
    local pool = counts[t[2]] or {}
    counts[t[2]] = pool
    pool[t[3]] = (pool[t[3]] or 0) + 1
    totals[t[2]] = (totals[t[2]] or 0) + 1
  end
  local out = { mode = {}, draw = {}, objects = {}, entropy = 0.0, floor = 0.0, bits = 0.0 }
  local all = 0
  for p, pool in sorted(counts) do
    local best, h = nil, 0.0
    for o, n in sorted(pool) do
      if not best or n > pool[best] then best = o end
      h = h - n / totals[p] * math.log(n / totals[p], 2)
    end
    out.objects[p], all = best, all + totals[p]
    out.entropy = out.entropy + totals[p] * h
  end
  out.entropy = out.entropy / math.max(1, all)
  local triplets = 0
  for _, prompt in ipairs(split.seen) do
    local n, pool = #prompt.objects, 0
    for _ in pairs(split.graph.pools[prompt.predicate]) do pool = pool + 1 end
    triplets = triplets + n
    out.floor = out.floor + n * math.log(n)
    out.bits = out.bits + log2_choose(pool, n)
  end
  out.floor = out.floor / math.max(1, triplets)
  for _, name in ipairs { "seen", "partial", "invisible" } do
    local mode, draw = 0, 0.0
    for _, prompt in ipairs(split[name]) do
      if not prompt.is[out.objects[prompt.predicate]] then mode = mode + 1 end
      local right = 0
      for _, o in ipairs(prompt.objects) do
        right = right + ((counts[prompt.predicate] or {})[o] or 0)
      end
      draw = draw + 1 - right / (totals[prompt.predicate] or 1)
    end
    if #split[name] > 0 then
      out.mode[name], out.draw[name] = mode / #split[name], draw / #split[name]
    end
  end
  return out
end

return evaluation
