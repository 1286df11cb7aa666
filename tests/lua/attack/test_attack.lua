-- Adversarial arithmetic: the text, the measures, the search and its checkpoint, the defences.
local ml = require "moonlab"
local check = require "check"
local dice = require "moonlab.kg.dice"
local T = {}

local attack = ml.attack

-- A target that is fooled by a word, and counts what it is asked.
local function fooled_by(word)
  local target = { asked = 0, seen = {}, twice = 0 }
  function target:answer_dist(prompts, answers)
    local out = {}
    for i, prompt in ipairs(prompts) do
      self.asked = self.asked + 1
      if self.seen[prompt] then self.twice = self.twice + 1 end
      self.seen[prompt] = true
      local x, y = prompt:match "what is (%d+) plus (%d+) %?"
      local p, right = {}, math.tointeger(tonumber(x)) + math.tointeger(tonumber(y))
      local wrong = 0
      for _ in (" " .. prompt:match "^(.*)what is" .. " "):gmatch("%f[%w]" .. word .. "%f[%W]") do
        wrong = math.min(0.9, wrong + 0.3)
      end
      for _, a in ipairs(answers) do p[a] = wrong / 20 end
      p[("%d"):format(right)] = 1 - wrong
      out[i] = { p = p, other = 0, exact = true }
    end
    return out
  end
  return target
end

-- ---- text ---------------------------------------------------------------------------------------

function T.test_sums_that_nothing_scopes_are_right() -- property
  for _, scoped in ipairs { 0, 0.3 } do
    local text, roll, counts = attack.corpus { scoped = scoped }, dice(ml.rng(3)), {}
    local false_sums, n = 0, 4000
    for _ = 1, n do
      local doc = text:draw(roll)
      counts[doc.task] = (counts[doc.task] or 0) + 1
      local x, y = doc.question:match "^what is (%d+) plus (%d+) %?$"
      if x then check.equal(doc.answer, math.tointeger(x + y)) end
      for a, b, c in table.concat(doc.context, " "):gmatch "(%d+) plus (%d+) %a+ (%d+)" do
        if math.tointeger(a + b) ~= math.tointeger(tonumber(c)) then
          false_sums = false_sums + 1
          check.equal(doc.task, "scoped")
        end
      end
      local ids = text:encode((text:text(doc)))
      check.is_true(#ids <= text.context + 1)
      check.equal(text:decode(ids), (text:text(doc)))
    end
    check.is_true((false_sums > 0) == (scoped > 0))
    local shares = { addition = 0.45, operator = 0.30, story = 0.13, secret = 0.12 }
    for task, share in pairs(shares) do
      share = share * (1 - scoped)
      local se = math.sqrt(share * (1 - share) / n)
      check.is_true(math.abs(counts[task] / n - share) < 4.5 * se)
    end
  end
end

function T.test_batches()
  local text = attack.corpus { revise = 0.5, forms = 3 }
  local a, b = text:batch(2, { batch = 9, seed = 4 }), text:batch(2, { batch = 9, seed = 4 })
  check.equal(ml.json.encode(a.inputs:totable()), ml.json.encode(b.inputs:totable()))
  check.equal(a.inputs:size(1), 9)
  local inputs, targets, mask = a.inputs:totable(), a.targets:totable(), a.mask:totable()
  for r, row in ipairs(inputs) do
    for t = 1, #row - 1 do
      if mask[r][t] == 1 and mask[r][t + 1] == 1 then check.equal(targets[r][t], row[t + 1]) end
    end
  end
  local other = text:batch(1, { batch = 3, inverted = true })
  check.equal(text.words[other.inputs:totable()[1][1]], "<inv>")
  check.raises("not in the vocabulary", text.encode, text, "what is seventy ?")
  check.raises("slot {z} was not filled", text.encode, text, "3 plus 4 is {z} .")
end

-- ---- targets ------------------------------------------------------------------------------------

function T.test_a_local_target_is_exact() -- golden: the model's own logits, one prompt at a time
  local text = attack.corpus {}
  local lm = ml.transformer { vocab = text.vocab, context = 40, depth = 2, width = 16, heads = 2,
    seed = 3 }
  local target = attack.target(lm, text)
  local prompts = { "<bos> Bob : what is 3 plus 4 ? Alice :", "hello", "my cat likes tea . hello" }
  local found = target:answer_dist(prompts, { "7", "12" })
  for i, prompt in ipairs(prompts) do
    local ids = text:encode(prompt)
    local p = lm:logits(ml.index { ids }):softmax(3):totable()[1][#ids]
    check.close(found[i].p["7"], p[text.id_of["7"]], { rtol = 1e-5 })
    check.close(found[i].other, 1 - p[text.id_of["7"]] - p[text.id_of["12"]], { rtol = 1e-5 })
  end
  local pairs_ = target:answer_dist({ "hello" }, { "3 plus" })[1].p["3 plus"]
  local p1 = target:answer_dist({ "hello" }, { "3" })[1].p["3"]
  local p2 = target:answer_dist({ "hello 3" }, { "plus" })[1].p.plus
  check.close(pairs_, p1 * p2, { rtol = 1e-5 })
  local a = target:complete(prompts, { n = 2, max_tokens = 5, seed = 8 })
  local b = target:complete({ prompts[1] }, { n = 2, max_tokens = 5, seed = 8 })
  check.equal(a[1][2].text, b[1][2].text)
  check.is_true(target.usage.prompts == 10)
  check.raises("prompt 1 is empty", target.answer_dist, target, { "" }, { "1" })
  check.raises("the context of the model 40", target.answer_dist, target, { ("hello "):rep(41) },
    { "1" })
end

-- ---- measures -----------------------------------------------------------------------------------

function T.test_problems_are_split_by_pairs() -- property
  local p, side = attack.problems { seed = 5, targets = 2 }, {}
  for name, list in pairs(p) do
    for _, one in ipairs(list) do
      check.equal(one.t, one.x + one.y)
      check.is_true(one.z ~= one.t)
      local key = math.min(one.x, one.y) * 10 + math.max(one.x, one.y)
      check.is_true(side[key] == nil or side[key] == name)
      side[key] = name
    end
  end
  check.equal(#p.search + #p.held_out, 2 * 81)
end

function T.test_measures() -- analytic
  local problems = { { x = 1, y = 2, z = 5, t = 3 }, { x = 4, y = 4, z = 9, t = 8 } }
  local r = attack.measure(fooled_by "red", { "a red bird .", "hello friend ." }, problems)
  check.close(r[1].error, 0.3, { rtol = 1e-12 })
  check.close(r[1].targeted, 0.015, { rtol = 1e-12 })
  check.close(r[1].score, math.log(0.015 / 0.7), { rtol = 1e-12 })
  check.equal(r[2].error, 0)
  local heat = attack.heat(r)
  check.close(heat[2][1], 0.15, { rtol = 1e-12 })
  check.is_true(heat[1][1] ~= heat[1][1])
  local curve = attack.by_error_size(r[1])
  check.equal(curve.size[1], 1)
  check.equal(curve.count[2], 1)
  check.raises("the slot {w}", attack.measure, fooled_by "red", { "{w} ." }, problems)
  check.raises("no attacks", attack.measure, fooled_by "red", {}, problems)
  check.raises("no problems", attack.measure, fooled_by "red", { "a ." }, {})
end

-- ---- the search ---------------------------------------------------------------------------------

local function options(target, more)
  local o = { target = target, corpus = attack.corpus {}, rounds = 3, candidates = 60,
    problems = { table.unpack(attack.problems().search, 1, 3) }, survivors = 10, seed = 2 }
  for name, value in pairs(more or {}) do o[name] = value end
  return o
end

function T.test_the_search_finds_what_fools()
  local target = fooled_by "red"
  local found = attack.pirs(options(target))
  check.equal(found.queries, 3 * #found.pool)
  check.equal(found.queries, target.asked)
  check.is_true(found.rounds[#found.rounds].top_error > 0.55)
  check.is_true(found.rounds[1].top_error < found.rounds[#found.rounds].top_error)
  local texts = {}
  for _, c in ipairs(found.pool) do
    check.is_true(texts[c.text] == nil)
    texts[c.text] = c.round
    for _, parent in ipairs(c.parents or {}) do check.is_true(texts[parent] < c.round) end
  end
  check.is_true(found.first_success <= found.queries and found.area > 0)
  local strict = attack.pirs(options(fooled_by "red", { full_stop = true }))
  for _, c in ipairs(strict.pool) do check.is_true(c.text:sub(-1) == ".") end
  local short = attack.pirs(options(fooled_by "red", { budget = 100, max_words = 9 }))
  check.is_true(short.queries <= 100)
  for _, c in ipairs(short.pool) do check.is_true(select(2, c.text:gsub("%S+", "")) <= 9) end
end

function T.test_sampled_targets_are_searched_by_halving() -- property
  local target, stages = fooled_by "red", {}
  target.capabilities = { exact = false, logprobs = false }
  local ask = target.answer_dist
  function target.answer_dist(self, prompts, answers, o)
    stages[#stages + 1] = { #prompts, o.samples }
    return ask(self, prompts, answers)
  end
  local found = attack.pirs(options(target, { rounds = 0, samples = { 2, 4, 8 } }))
  check.equal(stages, { { 180, 2 }, { 90, 4 }, { 45, 8 } })
  check.equal(found.queries, 315)
  check.equal(target.asked, 315)
end

function T.test_a_killed_search_goes_on() -- property
  local dir = os.tmpname()
  os.remove(dir)
  local whole = attack.pirs(options(fooled_by "red"))
  local target = fooled_by "red"
  local ok = pcall(attack.pirs, options(target, { dir = dir, after = function(round)
    if round == 1 then error "killed" end
  end }))
  check.is_true(not ok)
  local rest = attack.pirs(options(target, { dir = dir }))
  check.equal(ml.json.encode(rest.survivors), ml.json.encode(whole.survivors))
  check.equal(target.asked, whole.queries)
  check.equal(target.twice, 0)
  os.remove(dir .. "/pool.json")
  os.remove(dir)
end

function T.test_bad_searches()
  check.raises("seeds by inversion need an attacker", attack.pirs, options(fooled_by "a",
    { seeds = "inversion" }))
  check.raises("move fly", attack.pirs, options(fooled_by "a", { moves = { fly = 1 } }))
  check.raises("no problems", attack.pirs, options(fooled_by "a", { problems = {} }))
  check.raises("option 'target' is nil", attack.pirs, { corpus = attack.corpus {} })
end

-- ---- models and defences ------------------------------------------------------------------------

local function small()
  local text = attack.corpus { revise = 0.2 }
  return text, attack.train(text, { depth = 1, width = 16, heads = 2, steps = 30, batch = 16 })
end

function T.test_gradient_search()
  local text, lm = small()
  local problems = { table.unpack(attack.problems().search, 1, 2) }
  local found = attack.gradient { target = attack.target(lm, text), lm = lm, corpus = text,
    problems = problems, words = 6, candidates = 8, budget = 200 }
  check.is_true(found.queries <= 200 and found.queries > 150)
  check.is_true(found.survivors[1].score > found.pool[1].score)
end

function T.test_hardening()
  local text, lm = small()
  local before = lm:named_parameters().head and lm:named_parameters().head:totable()
    or lm:named_parameters().tokens:totable()
  local problems, attacks = attack.problems().search, { "{x} plus {y} is {z} ." }
  local start = attack.measure(attack.target(lm, text), attacks, problems)[1].error
  for _, method in ipairs { "policy", "supervised", "filtered" } do
    local hard, info = attack.harden(lm, { corpus = text, attacks = attacks, problems = problems,
      method = method, steps = 40, batch = 32, lr = 5e-3 })
    local after = attack.measure(attack.target(hard, text), attacks, problems)[1].error
    check.is_true(after < start)
    check.is_true((info.zero_variance ~= nil) == (method == "policy"))
  end
  local batch = attack.harden(lm, { corpus = text, attacks = attacks, problems = problems,
    baseline = "batch", steps = 40, batch = 32, lr = 5e-3 })
  check.is_true(attack.measure(attack.target(batch, text), attacks, problems)[1].error < start)
  local exact = attack.harden(lm, { corpus = text, attacks = attacks, problems = problems,
    exact = true, steps = 40, batch = 32, lr = 5e-3 })
  check.is_true(attack.measure(attack.target(exact, text), attacks, problems)[1].error < start)
  local now = lm:named_parameters().head and lm:named_parameters().head:totable()
    or lm:named_parameters().tokens:totable()
  check.equal(ml.json.encode(now), ml.json.encode(before))
  check.raises("no attacks", attack.harden, lm, { corpus = text, attacks = {},
    problems = problems })
  check.raises("the slot {q}", attack.harden, lm, { corpus = text, attacks = { "{q}" },
    problems = problems })
end

function T.test_mix()
  local list = attack.mix({ "a red bird ." }, { "hello friend .", { text = "my cat sleeps ." } },
    { strong = 2 })
  check.equal(#list, 4)
  check.equal(list[2], "a red bird .")
  check.is_true(list[3]:find "^hello friend %. a red" ~= nil)
end

function T.test_revision_counts() -- property: the errors and the two rates of change agree
  local text, lm = small()
  local r = attack.revise(lm, text, { "{x} plus {y} is {z} ." }, attack.problems().held_out,
    { rounds = 2, sees = "question" })
  check.equal(#r.error, 3)
  for i = 1, 2 do
    local e = r.error[i]
    check.close(r.error[i + 1], e * (1 - r.mended[i]) + (1 - e) * r.broken[i], { atol = 1e-12 })
  end
end

return T
