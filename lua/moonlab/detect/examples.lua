--- What a model answered, with labels by look-up, for detectors to learn from; and scores of
--- suspicion that need no training.
local codec = require "moonlab.kg.codec"
local core = require "moonlab.core"
local evaluation = require "moonlab.kg.evaluation"
local options = require "moonlab.options"
local trie = require "moonlab.kg.trie"

local examples = {}

-- Token i is hallucinated from the first beginning on that no right answer has; the end has the
-- label of the whole.
local function token_labels(answers, ids, wrong)
  local node, labels, lost = answers.root, {}, false
  for i, id in ipairs(ids) do
    node = node and node[id]
    lost = lost or not node
    labels[i] = lost
  end
  if ids[#ids] == codec.stop then labels[#ids] = wrong end
  return labels
end

-- Mean entropy in nats of the next token after each prompt.
local function entropies(lm, code, prompts)
  local out = {}
  for first = 1, #prompts, 256 do
    local rows, at, longest = {}, {}, 0
    for i = first, math.min(#prompts, first + 255) do
      rows[#rows + 1] = { table.unpack(code:prompt(prompts[i])) }
      at[#rows] = #rows[#rows]
      longest = math.max(longest, at[#rows])
    end
    core.scope(function()
      core.no_grad(function()
        for _, row in ipairs(rows) do
          for k = #row + 1, longest do row[k] = codec.PAD end
        end
        local logp = lm:logits(core.index(rows)):log_softmax(-1)
        local h = (logp:exp() * logp):sum(-1):totable()
        for k in ipairs(rows) do out[#out + 1] = -h[k][at[k]] end
      end)
    end)
  end
  return out
end

-- Which subjects are for training, validation and test.
local function parts_of(prompts, shares, key)
  local listed, subjects, part = {}, {}, {}
  for _, prompt in ipairs(prompts) do
    if not listed[prompt.subject] then
      listed[prompt.subject], subjects[#subjects + 1] = true, prompt.subject
    end
  end
  local order = key:permutation(#subjects):totable()
  local train = math.floor(shares.train * #subjects + 0.5)
  local valid = math.floor(shares.valid * #subjects + 0.5)
  for k, i in ipairs(order) do
    part[subjects[i]] = k <= train and "train" or k <= train + valid and "valid" or "test"
  end
  return part
end

--- ml.detect.examples(lm, codec, split, { samples, temperature, top_k, greedy, most, valid, test,
---   seed })
--- Samples answers to the seen prompts of a split and labels them by look-up: an answer is
--- hallucinated when it is none of the right ones, a token of it from the first beginning on that
--- no right answer has. Training, validation and test examples have different subjects.
--- @param lm decoder the generator
--- @param codec codec
--- @param split split of a graph
--- @param opts.samples integer =4 of each prompt
--- @param opts.temperature number =1 > 0
--- @param opts.top_k integer only the k most likely tokens
--- @param opts.greedy boolean =false one answer, the most likely token at each place
--- @param opts.most integer =all prompts, the first so many of an order from the seed
--- @param opts.valid number =0.1 share of the subjects; and test =0.1
--- @param opts.seed integer =1 of samples and parts
--- @return table { train, valid, test = lists of { prompt, ids (whole row), before (ids before the
--- object), label (true: hallucinated), labels (of the object's tokens and the end), logprobs (of
--- those), entropy (nats, of the first token), agreement (share of the prompt's samples with the
--- same object), kind }, rate (of hallucinations), rates = { train, valid, test }, split, codec }
--- @source Hron et al. 2024 (arXiv 2408.07852), both detection tasks; definition of hallucinated
--- tokens: this design
function examples.new(lm, code, split, opts)
  local where = "ml.detect.examples"
  options.argument(where, 2, code, "table")
  options.argument(where, 3, split, "table")
  options.check(where, opts, { "samples", "temperature", "top_k", "greedy", "most", "valid", "test",
    "seed" })
  opts = opts or {}
  local seed = options.field(where, opts, "seed", "integer", 1)
  local function share(name)
    local value = options.field(where, opts, name, "number", 0.1)
    if not (value > 0 and value < 0.5) then
      options.bad(where, 0, "option '%s' is %.14g, wanted a share between 0 and 0.5", name, value)
    end
    return value
  end
  local valid, test = share "valid", share "test"
  local key = core.rng(seed):fold("detect")
  local prompts = evaluation.some(split.seen, options.optional(where, opts, "most", "integer"),
    seed)
  local part = parts_of(prompts, { valid = valid, train = 1 - valid - test }, key:fold("parts"))
  local found = evaluation.sample(lm, code, prompts, { samples = opts.samples,
    temperature = opts.temperature, top_k = opts.top_k, greedy = opts.greedy,
    rng = key:fold("samples"), graph = split.graph })
  local h = entropies(lm, code, prompts)
  local out = { train = {}, valid = {}, test = {}, rates = {}, split = split, codec = code }
  local wrong, count, context = 0, 0, lm:config().context
  for i, prompt in ipairs(prompts) do
    local answers, before, votes = trie.new(code, prompt.objects), code:prompt(prompt), {}
    for _, one in ipairs(found[i]) do
      local text = one.object or table.concat(one.ids, " ")
      votes[text] = (votes[text] or 0) + 1 / #found[i]
      one.text = text
    end
    for _, one in ipairs(found[i]) do
      -- what runs into the end of the context is one token longer than the model can read
      if #before + #one.ids > context then
        one.ids[#one.ids], one.logprobs[#one.logprobs] = nil, nil
      end
      local ids = { table.unpack(before) }
      for _, id in ipairs(one.ids) do ids[#ids + 1] = id end
      local list = out[part[prompt.subject]]
      list[#list + 1] = { prompt = prompt, ids = ids, before = #before, kind = one.kind,
        label = one.kind ~= nil, labels = token_labels(answers, one.ids, one.kind ~= nil),
        logprobs = one.logprobs, entropy = h[i],
        agreement = votes[one.text] }
      wrong, count = wrong + (one.kind and 1 or 0), count + 1
    end
  end
  out.rate = wrong / count
  for _, name in ipairs { "train", "valid", "test" } do
    if #out[name] == 0 then
      options.raise("%s: no %s examples: %d prompts are too few subjects", where, name, #prompts)
    end
    local bad = 0
    for _, e in ipairs(out[name]) do bad = bad + (e.label and 1 or 0) end
    out.rates[name] = bad / #out[name]
  end
  return out
end

--- ml.detect.baselines(list)
--- Scores of suspicion that need no training.
--- @param list list of examples, as those of ml.detect.examples
--- @return table name -> list of numbers, larger: more likely hallucinated; logprob (minus the log
--- probability of the object), mean_surprisal and max_surprisal (of its tokens, nats), entropy (of
--- its first token), disagreement (1 minus the share of the prompt's samples that are the same)
--- @source Hron et al. 2024 (arXiv 2408.07852); self-consistency: Manakul et al. 2023
function examples.baselines(list)
  options.argument("ml.detect.baselines", 1, list, "table")
  local out = { logprob = {}, mean_surprisal = {}, max_surprisal = {}, entropy = {},
    disagreement = {} }
  for i, e in ipairs(list) do
    local sum, most = 0.0, 0.0
    for _, logp in ipairs(e.logprobs) do sum, most = sum - logp, math.max(most, -logp) end
    out.logprob[i], out.mean_surprisal[i] = sum, sum / math.max(1, #e.logprobs)
    out.max_surprisal[i], out.entropy[i] = most, e.entropy
    out.disagreement[i] = 1 - e.agreement
  end
  return out
end

return examples
