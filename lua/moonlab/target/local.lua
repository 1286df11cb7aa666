--- A decoder of this process as a target: what it answers, exactly or by samples.
local core = require "moonlab.core"
local options = require "moonlab.options"

local lab = {}

local Local = {}
Local.__index = Local
Local.__name = "ml.target"
lab.methods = Local

local ROWS = 128 -- prompts in one forward pass

local function ids_of(self, prompt, where, i)
  if type(prompt) == "table" then return prompt end
  if type(prompt) ~= "string" then
    options.bad(where, 1, "prompt %d is %s, wanted a string or a list of ids", i,
      options.describe(prompt))
  end
  local ids = self.codec:encode(prompt)
  return core.is_tensor(ids) and ids:totable() or ids
end

local function prompts_of(self, prompts, where)
  options.argument(where, 1, prompts, "table")
  local list = {}
  for i, prompt in ipairs(prompts) do
    list[i] = ids_of(self, prompt, where, i)
    if #list[i] == 0 then options.bad(where, 1, "prompt %d is empty", i) end
    if #list[i] > self.lm:config().context then
      options.bad(where, 1, "prompt %d has %d tokens, the context of the model %d", i, #list[i],
        self.lm:config().context)
    end
  end
  return list
end

-- Logarithms of the next token's probabilities: rows of the ids that are asked for. Prompts of like
-- lengths go together; short ones are followed by anything, which a causal model does not see.
local function next_logprobs(self, prompts, ids)
  local order, out = {}, {}
  for i = 1, #prompts do order[i] = i end
  table.sort(order, function(a, b)
    return #prompts[a] < #prompts[b] or #prompts[a] == #prompts[b] and a < b
  end)
  for first = 1, #order, ROWS do
    core.scope(function()
      local rows, last, longest = {}, {}, 0
      for k = first, math.min(#order, first + ROWS - 1) do
        longest = math.max(longest, #prompts[order[k]])
      end
      for k = first, math.min(#order, first + ROWS - 1) do
        local prompt, row = prompts[order[k]], {}
        for t = 1, longest do row[t] = prompt[t] or 1 end
        rows[#rows + 1] = row
        last[#last + 1] = (#rows - 1) * longest + #prompt
      end
      local logits = core.no_grad(function() return self.lm:logits(core.index(rows)) end)
      local V = logits:size(3)
      local all = logits:reshape { #rows * longest, V }:index_select(core.index(last), 1)
        :log_softmax(2):index_select(core.index(ids), 2):totable()
      for k, row in ipairs(all) do out[order[first + k - 1]] = row end
    end)
  end
  return out
end

--- target:answer_dist(prompts, answers, { samples })
--- How likely each answer is after each prompt: the probability of all its tokens.
--- @param prompts list of strings, or of lists of ids
--- @param answers list of strings
--- @param opts.samples integer =nil for targets that have no probabilities; not used here
--- @return table list, one for each prompt, of { p = { [answer] = probability }, other = the rest,
--- exact = boolean, n = samples or nil, low, high = { [answer] = bound } or nil }
--- @source -
function Local:answer_dist(prompts, answers, opts)
  local where = "answer_dist"
  options.check(where, opts, { "samples", "seed", "max_tokens" })
  local list = prompts_of(self, prompts, where)
  options.argument(where, 2, answers, "table")
  local single, ids, coded = true, {}, {}
  for i, answer in ipairs(answers) do
    coded[i] = ids_of(self, answer, where, i)
    single = single and #coded[i] == 1
    ids[i] = coded[i][1]
  end
  if #answers == 0 then options.bad(where, 2, "no answers, wanted at least one") end
  self.usage.requests = self.usage.requests + 1
  self.usage.prompts = self.usage.prompts + #list
  for _, prompt in ipairs(list) do self.usage.tokens_in = self.usage.tokens_in + #prompt end
  local rows = single and next_logprobs(self, list, ids)
  local out = {}
  for i, prompt in ipairs(list) do
    local p, sum = {}, 0
    if not rows then
      local sequences = {}
      for k, answer in ipairs(coded) do
        sequences[k] = table.move(answer, 1, #answer, #prompt + 1, { table.unpack(prompt) })
      end
      core.scope(function()
        for k, one in ipairs(self.lm:logprob(sequences, { from = #prompt + 1 })) do
          p[answers[k]] = math.exp(one:sum():item())
        end
      end)
    end
    for k, answer in ipairs(answers) do
      if rows then p[answer] = math.exp(rows[i][k]) end
      sum = sum + p[answer]
    end
    out[i] = { p = p, other = math.max(0, 1 - sum), exact = true }
  end
  return out
end

--- target:complete(prompts, { n, temperature, top_p, greedy, max_tokens, stop, seed })
--- Continuations. Neither the batch nor the number of threads changes one.
--- @param prompts list of strings, or of lists of ids
--- @param opts.n integer =1 of each prompt
--- @param opts.temperature number =1 > 0
--- @param opts.top_p number =1 in (0, 1]
--- @param opts.greedy boolean =false
--- @param opts.max_tokens integer =16 new ones
--- @param opts.stop list of words that end one and are cut off =the target's own
--- @param opts.seed integer =1 of what is drawn
--- @return table list, one for each prompt, of lists of { text, tokens (their number), logprob,
--- finish = "stop" or "length" }
--- @source -
function Local:complete(prompts, opts)
  local where = "complete"
  options.check(where, opts, { "n", "temperature", "top_p", "greedy", "max_tokens", "stop",
    "seed" })
  local o = opts or {}
  local list = prompts_of(self, prompts, where)
  local stop = {}
  for i, word in ipairs(o.stop or self.stop or {}) do stop[i] = ids_of(self, word, where, i)[1] end
  local ends = {}
  for _, id in ipairs(stop) do ends[id] = true end
  self.usage.requests = self.usage.requests + 1
  self.usage.prompts = self.usage.prompts + #list
  return core.scope(function()
    local key, keys = core.rng(o.seed or 1):fold "complete", {}
    for i = 1, #list do keys[i] = key:fold("prompt", i) end
    local found, info = self.lm:generate(list, { n = o.n, max_new = o.max_tokens or 16,
      temperature = o.temperature, top_p = o.top_p, greedy = o.greedy, stop = stop,
      keys = not o.greedy and keys or nil })
    local out = {}
    for i, samples in ipairs(found) do
      out[i] = {}
      self.usage.tokens_in = self.usage.tokens_in + #list[i]
      for j, sample in ipairs(samples) do
        local ids, sum = sample:totable(), 0
        for _, x in ipairs(info.logprobs[i][j]:totable()) do sum = sum + x end
        self.usage.tokens_out = self.usage.tokens_out + #ids
        local n, finish = #ids, info.finished[i][j] and "stop" or "length"
        if ends[ids[n]] then ids[n] = nil end
        out[i][j] = { text = self.codec:decode(ids), tokens = n, logprob = sum, finish = finish }
      end
    end
    return out
  end)
end

function Local:__tostring() return ("target %s: a decoder of this process"):format(self.name) end

--- ml.target.local_lm(lm, { codec, name, stop })
--- A decoder as a target of questions.
--- @param lm decoder
--- @param opts.codec tokenizer with encode(text) and decode(ids) =bytes
--- @param opts.name string ="local"
--- @param opts.stop list of words that end an answer =none
--- @return target with answer_dist and complete; usage { requests, prompts, tokens_in, tokens_out,
--- cached }; capabilities { exact, logprobs, chat }
--- @source -
function lab.new(lm, opts)
  local where = "ml.target.local_lm"
  options.check(where, opts, { "codec", "name", "stop" })
  local o = opts or {}
  return setmetatable({ lm = lm, codec = o.codec or require("moonlab.tokenizer").bytes(),
    name = options.field(where, o, "name", "string", "local"), stop = o.stop,
    capabilities = { exact = true, logprobs = true, chat = false },
    usage = { requests = 0, prompts = 0, tokens_in = 0, tokens_out = 0, cached = 0 } }, Local)
end

return lab
