--- Defences: training against attacks by policy gradient, by the right answers, or on what the
--- model itself got right; and asking it to check its answer.
local core = require "moonlab.core"
local corpus = require "moonlab.attack.corpus"
local dice = require "moonlab.kg.dice"
local measures = require "moonlab.attack.measures"
local options = require "moonlab.options"
local target = require "moonlab.target.local"

local defence = {}

--- A decoder with the values of another.
local function twin(lm)
  local copy, values = core.transformer(lm:config()), lm:named_parameters()
  core.no_grad(function()
    for name, p in pairs(copy:named_parameters()) do p:copy_(values[name]) end
  end)
  return copy
end
defence.twin = twin

--- ml.attack.mix(survivors, seeds, { n, seed, strong, corpus })
--- Attacks of all strengths to train on: the survivors, and weak candidates joined with a survivor
--- and cut to a random length. Against attacks that always work every sample is wrong, and a policy
--- gradient learns nothing.
--- @param survivors list of candidates or strings
--- @param seeds list of candidates or strings: weak ones
--- @param opts.strong integer =6 how often a survivor counts against one of the joined
--- @param opts.seed integer =1 of what is drawn
--- @return list of strings
--- @source -
function defence.mix(survivors, seeds, opts)
  local where = "ml.attack.mix"
  options.check(where, opts, { "strong", "seed" })
  if #survivors == 0 then options.bad(where, 1, "no attacks, wanted at least one") end
  local o = opts or {}
  local roll, list = dice(core.rng(o.seed or 1):fold "attack.mix"), {}
  local function text(c) return type(c) == "table" and c.text or c end
  for _, c in ipairs(survivors) do
    for _ = 1, o.strong or 6 do list[#list + 1] = text(c) end
  end
  for _, c in ipairs(seeds) do
    local words, most = {}, 5 + roll(35)
    for word in (text(c) .. " " .. text(survivors[roll(#survivors)])):gmatch "%S+" do
      if #words < most then words[#words + 1] = word end
    end
    list[#list + 1] = table.concat(words, " ")
  end
  return list
end

-- ---- training -----------------------------------------------------------------------------------

-- Half of a batch: attacked sums, the right answer of each.
local function attacked(o, roll, n)
  local prompts, right = {}, {}
  for i = 1, n do
    local p = o.problems[roll(#o.problems)]
    local z
    repeat z = roll(corpus.LARGEST + 1) - 1 until z ~= p.t
    prompts[i] = o.corpus:encode((measures.prompt(o.attacks[roll(#o.attacks)], { x = p.x, y = p.y,
      z = z, t = p.t })))
    right[i] = o.corpus.id_of[measures.answers[p.t + 1]]
  end
  return prompts, right
end

-- The other half: documents of the corpus up to their answer.
local function benign(o, roll, n)
  local prompts, right = {}, {}
  for i = 1, n do
    local doc = o.corpus:draw(roll)
    prompts[i] = o.corpus:encode((("<bos> Bob : %s %s Alice :"):format(
      table.concat(doc.context, " "), doc.question):gsub("%s+", " ")))
    right[i] = o.corpus.id_of[measures.answers[doc.answer + 1]]
  end
  return prompts, right
end

-- Log-probabilities [n, V] of the token after each prompt, differentiable.
local function last_logprobs(lm, prompts)
  local longest, rows, last = 0, {}, {}
  for _, p in ipairs(prompts) do longest = math.max(longest, #p) end
  for i, p in ipairs(prompts) do
    rows[i] = {}
    for t = 1, longest do rows[i][t] = p[t] or 1 end
    last[i] = (i - 1) * longest + #p
  end
  local logits = lm:logits(core.index(rows))
  return logits:reshape { #prompts * longest, logits:size(3) }
    :index_select(core.index(last), 1):log_softmax(2)
end

-- Entries [i, ids[i]] of a matrix.
local function chosen(matrix, ids)
  local rows = {}
  for i, id in ipairs(ids) do rows[i] = { id } end
  return matrix:gather(core.index(rows), 2):reshape { #ids }
end

local losses = {}

-- Cross-entropy of the right answers.
function losses.supervised(_, lm, prompts, right)
  return chosen(last_logprobs(lm, prompts), right):mean():neg(), {}
end

-- REINFORCE: samples of the answer, rewards less their mean, over the prompt's samples or over the
-- batch; KL to the first model on the benign half. `exact` takes the expectation over answers
-- instead of samples.
function losses.policy(o, lm, prompts, right, half, roll)
  local logp = last_logprobs(lm, prompts)
  local loss, info
  if o.exact then
    loss, info = chosen(logp, right):exp():mean():neg(), {}
  else
    local p, weights, flat = logp:detach():exp():totable(), {}, 0
    local draws_of, rewards_of, means, whole = {}, {}, {}, 0
    for i, row in ipairs(p) do
      local draws, rewards, mean = {}, {}, 0
      for s = 1, o.samples do
        local u, id = roll(), 1
        while id < #row and u >= row[id] do
          u = u - row[id]
          id = id + 1
        end
        draws[s], rewards[s] = id, id == right[i] and 1 or 0
        mean = mean + rewards[s] / o.samples
      end
      draws_of[i], rewards_of[i], means[i], whole = draws, rewards, mean, whole + mean / #p
      if mean == 0 or mean == 1 then flat = flat + 1 end
    end
    for i, row in ipairs(p) do
      local w, less = {}, o.baseline == "group" and means[i] or whole
      for id = 1, #row do w[id] = 0 end
      for s, id in ipairs(draws_of[i]) do
        w[id] = w[id] + (rewards_of[i][s] - less) / o.samples
      end
      weights[i] = w
    end
    info = { zero_variance = flat / #p }
    loss = (logp * core.tensor(weights, { dtype = "f32" })):sum():div(#prompts):neg()
  end
  if o.kl > 0 then
    local some = { table.unpack(prompts, half + 1) }
    local first = core.no_grad(function() return last_logprobs(o.first, some) end)
    local mine = logp[{ { half + 1, #prompts } }]
    loss = loss + (mine:exp() * (mine - first)):sum():div(#some) * o.kl
  end
  return loss, info
end

-- Cross-entropy of the model's own samples that were right.
function losses.filtered(o, lm, prompts, right, _, roll)
  local logp = last_logprobs(lm, prompts)
  local p, mask, kept = logp:detach():exp():totable(), {}, 0
  for i, row in ipairs(p) do
    mask[i] = 0
    for _ = 1, o.samples do
      if roll() < row[right[i]] then mask[i] = mask[i] + 1 / o.samples end
    end
    if mask[i] > 0 then kept = kept + 1 end
  end
  local w = core.tensor(mask, { dtype = "f32" })
  return (chosen(logp, right) * w):sum():div(#prompts):neg(), { kept = kept / #p }
end

--- ml.attack.harden(lm, { corpus, attacks, problems, method, steps, batch, lr, samples, kl, seed })
--- Trains a copy of a decoder on attacked sums and as many benign documents.
--- @param lm decoder: stays as it is
--- @param opts.corpus corpus
--- @param opts.attacks list of strings, see ml.attack.mix
--- @param opts.problems list of { x, y, t }: sums to train on
--- @param opts.method string ="policy" REINFORCE; "supervised"
--- cross-entropy; "filtered" cross-entropy on the model's own right answers
--- @param opts.steps integer =300 updates
--- @param opts.batch integer =64 prompts, half of them attacked
--- @param opts.lr number =5e-4 learning rate
--- @param opts.samples integer =8 of each prompt
--- @param opts.baseline string ="group" what is taken off a reward: the mean of its prompt's
--- samples, or of the "batch"
--- @param opts.exact boolean =false the expectation over answers in place of samples (policy)
--- @param opts.kl number =0.1 weight of the divergence from the first model on the benign half
--- (policy)
--- @param opts.seed integer =1 of what is drawn
--- @return decoder
--- @return table { loss (mean of the last tenth), zero_variance (share of prompts whose samples
--- were all right or all wrong, at the start and the end; policy), kept (filtered) }
--- @source Williams 1992 (REINFORCE); set-up after Freeman et al. 2023 (arXiv 2311.07587)
function defence.harden(lm, opts)
  local where = "ml.attack.harden"
  options.argument(where, 2, opts, "table")
  options.check(where, opts, { "corpus", "attacks", "problems", "method", "steps", "batch", "lr",
    "samples", "exact", "kl", "baseline", "seed" })
  local o = {}
  for name, value in pairs(opts) do o[name] = value end
  if type(o.attacks) ~= "table" or #o.attacks == 0 then
    options.bad(where, 2, "no attacks, wanted at least one")
  end
  for i, text in ipairs(o.attacks) do measures.check_template(where, text, i) end
  if type(o.problems) ~= "table" or #o.problems == 0 then
    options.bad(where, 2, "no problems, wanted at least one")
  end
  local method = options.choice(where, o, "method", { "policy", "supervised", "filtered" },
    "policy")
  local steps = options.range(where, "steps", options.field(where, o, "steps", "integer", 300), 1)
  local batch = options.range(where, "batch", options.field(where, o, "batch", "integer", 64), 2)
  o.samples = options.range(where, "samples", options.field(where, o, "samples", "integer", 8), 1)
  o.kl = options.range(where, "kl", options.field(where, o, "kl", "number", 0.1), 0)
  o.baseline = options.choice(where, o, "baseline", { "group", "batch" }, "group")
  o.exact = options.field(where, o, "exact", "boolean", false)
  o.first = lm
  local copy = twin(lm)
  local opt = core.optim.adamw(copy:parameters(),
    { lr = options.field(where, o, "lr", "number", 5e-4) })
  local key = core.rng(options.field(where, o, "seed", "integer", 1)):fold "attack.harden"
  local out, tail, flat = { loss = 0 }, math.max(1, steps // 10), {}
  local half = batch // 2
  for step = 1, steps do
    core.scope(function()
      local roll = dice(key:fold("step", step))
      local prompts, right = attacked(o, roll, half)
      local more, answers = benign(o, roll, batch - half)
      table.move(more, 1, #more, half + 1, prompts)
      table.move(answers, 1, #answers, half + 1, right)
      opt:zero_grad()
      local loss, info = losses[method](o, copy, prompts, right, half, roll)
      loss:backward()
      core.optim.clip_grad_norm(copy:parameters(), 1)
      opt:step()
      if step > steps - tail then out.loss = out.loss + loss:item() / tail end
      flat[step], out.kept = info.zero_variance, info.kept or out.kept
    end)
  end
  if flat[1] then out.zero_variance = { flat[1], flat[steps] } end
  return copy, out
end

-- ---- revision -----------------------------------------------------------------------------------

--- ml.attack.revise(lm, corpus, attacks, problems, { rounds, sees, seed })
--- Lets the model check its own answer: "... Alice : 9 . Bob : check 3 plus 4 . Alice :". The
--- corpus must have had such episodes (revise > 0), else the model never saw the request.
--- @param lm decoder
--- @param corpus corpus
--- @param attacks list of strings
--- @param problems list of { x, y, z, t }
--- @param opts.rounds integer =3 of checking
--- @param opts.sees string ="attack" the reviser reads the whole talk; or "question": only the
--- question and the answer
--- @param opts.seed integer =1 of what is drawn
--- @return table { error (list: first answers, then after each round; sampled at temperature 1),
--- mended, broken (lists: share of wrong answers that became right in a round, and of right ones
--- that became wrong), n }
--- @source loop after Freeman et al. 2023 (arXiv 2311.07587)
function defence.revise(lm, text, attacks, problems, opts)
  local where = "ml.attack.revise"
  options.check(where, opts, { "rounds", "sees", "seed" })
  if #attacks == 0 then options.bad(where, 3, "no attacks, wanted at least one") end
  local o = opts or {}
  local rounds = options.range(where, "rounds",
    options.field(where, o, "rounds", "integer", 3), 0, 10)
  local sees = options.choice(where, o, "sees", { "attack", "question" }, "attack")
  local asked = target.new(lm, { codec = text, stop = { ".", "<eos>" } })
  local prompts, of = {}, {}
  for _, attack in ipairs(attacks) do
    for _, p in ipairs(problems) do
      prompts[#prompts + 1] = measures.prompt(type(attack) == "table" and attack.text or attack, p)
      of[#of + 1] = p
    end
  end
  local function answer(list, round)
    local found = asked:complete(list, { max_tokens = 4, seed = (o.seed or 1) * 100 + round })
    local said = {}
    for i, samples in ipairs(found) do said[i] = samples[1].text:match "^%s*(%d+)%s*$" end
    return said
  end
  local function wrong(said)
    local list, n = {}, 0
    for i, p in ipairs(of) do
      list[i] = tonumber(said[i]) ~= p.t
      n = n + (list[i] and 1 or 0)
    end
    return list, n / #of
  end
  local said = answer(prompts, 0)
  local bad, share = wrong(said)
  local out = { error = { share }, mended = {}, broken = {}, n = #of }
  for round = 1, rounds do
    local next_ = {}
    for i, p in ipairs(of) do
      local first = sees == "attack" and prompts[i] or measures.prompt("", p)
      next_[i] = ("%s %s . Bob : check %d plus %d . Alice :"):format(first, said[i] or "0", p.x,
        p.y)
    end
    local before = bad
    said = answer(next_, round)
    bad, share = wrong(said)
    local mended, broken, n = 0, 0, 0
    for i in ipairs(of) do
      if before[i] then
        n = n + 1
        mended = mended + (bad[i] and 0 or 1)
      elseif bad[i] then
        broken = broken + 1
      end
    end
    out.error[round + 1] = share
    out.mended[round] = n > 0 and mended / n or 0
    out.broken[round] = n < #of and broken / (#of - n) or 0
  end
  return out
end

return defence
