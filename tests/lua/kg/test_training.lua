-- Tokens, batches, training and its evaluation.
local ml = require "moonlab"
local check = require "check"
local T = {}

local graph = ml.kg.synthetic { subjects = 40, pool = 20, seed = 1 }
local split = graph:split { seed = 1 }
local code = ml.kg.codec(graph)

function T.test_codec()
  local t = graph.triplets[1]
  local ids, before = code:row(t)
  check.equal({ ids[1], ids[before], ids[#ids] }, { 2, 4, 5 })
  check.equal(code:decode { table.unpack(ids, before + 1) }, t[3])
  check.equal(code.predicate_at[ids[before - 1]], t[2])
  check.equal({ code:decode { ids[before + 1] } }, { nil, "unfinished" })
  check.equal({ code:decode { 5 } }, { nil, "malformed" })
  check.equal({ code:decode { 2, 5 } }, { nil, "malformed" })
  check.equal({ code:decode {} }, { nil, "unfinished" })
  check.equal(code:decode(ml.index { table.unpack(ids, before + 1) }), t[3])
  check.raises("no predicate of the codec is \"r99\"", code.prompt, code,
    { subject = t[1], predicate = "r99" })
  check.raises("no word of the codec is \"zz\"", code.answer, code, "zz")
  -- another tokenizer, the same names
  local chars = ml.kg.codec(graph, { kind = "chars" })
  for _, u in ipairs(graph.triplets) do
    local row, at = chars:row(u)
    check.equal(chars:decode { table.unpack(row, at + 1) }, u[3])
    check.is_true(#row <= chars.longest)
  end
end

-- property: each epoch holds every triplet once
function T.test_batches()
  local data = ml.kg.batches(split, code, { batch = 16, seed = 3 })
  local wanted, found = {}, {}
  for _, t in ipairs(split:triplets()) do
    local row = code:row(t)
    wanted[#wanted + 1] = table.concat(row, " ")
  end
  table.sort(wanted)
  for epoch = 1, 2 do
    found[epoch] = {}
    for i = 1, data.per_epoch do
      local b = data:batch((epoch - 1) * data.per_epoch + i)
      local inputs, targets, mask = b.inputs:totable(), b.targets:totable(), b.mask:totable()
      for r, row in ipairs(inputs) do
        local ids = { row[1] }
        for k, w in ipairs(mask[r]) do
          if w ~= 0 then ids[#ids + 1] = targets[r][k] end
        end
        table.insert(found[epoch], table.concat(ids, " "))
      end
    end
  end
  check.is_true(table.concat(found[1], "/") ~= table.concat(found[2], "/"))
  table.sort(found[1])
  table.sort(found[2])
  check.equal(found[1], wanted)
  check.equal(found[2], wanted)
  check.equal(data:batch(2).inputs:totable(), data:batch(2).inputs:totable())
  local again = ml.kg.batches(split, code, { batch = 16, seed = 3 })
  check.equal(again:batch(5).inputs, data:batch(5).inputs)
end

-- property: attention stays inside a triplet, so that packing changes neither loss nor gradient
function T.test_packing()
  for _, loss in ipairs { "all", "object" } do
    local rows = ml.kg.batches(split, code, { batch = 12, seed = 3, loss = loss })
    local packed = ml.kg.batches(split, code, { batch = 12, seed = 3, loss = loss, packed = true,
      context = 37 })
    local lm = ml.transformer { vocab = code.vocab, context = 40, depth = 2, width = 16, heads = 2 }
    local values, norms = {}, {}
    for k, data in ipairs { rows, packed } do
      local b = data:batch(2)
      lm:zero_grad()
      local value = lm:loss({ inputs = b.inputs, targets = b.targets },
        { mask = b.mask, segments = b.segments })
      value:backward()
      values[k] = value:item()
      norms[k] = ml.optim.clip_grad_norm(lm:parameters(), math.huge)
    end
    check.equal(rows.tokens, packed.tokens)
    check.close(values[2], values[1], { rtol = 1e-5 }) -- f32 sums in another order
    check.close(norms[2], norms[1], { rtol = 1e-4 })
    check.is_true(#packed:batch(2).inputs < 6)
  end
end

local function trained(opts)
  opts = opts or {}
  opts.size, opts.seed = "XS", 1
  return ml.kg.train(split, code, opts)
end

-- The sampled rate is the exact one within its noise, and the trie's sum is that of its answers.
function T.test_exact_probability()
  local lm = trained { epochs = 40 }
  local p = ml.kg.probability(lm, code, split.seen)
  local rows, from, of = {}, {}, {}
  for i, prompt in ipairs(split.seen) do
    for _, o in ipairs(prompt.objects) do
      local ids, before = code:row { prompt.subject, prompt.predicate, o }
      rows[#rows + 1], from[#from + 1], of[#of + 1] = ids, before + 1, i
    end
  end
  local sums = {}
  for k, logp in ipairs(lm:logprob(rows, { from = from })) do
    sums[of[k]] = (sums[of[k]] or 0) + math.exp(logp:sum():item())
  end
  check.close(p, sums, { rtol = 1e-4, atol = 1e-7 })
  local exact = 0
  for _, v in ipairs(p) do exact = exact + v / #p end
  local e = ml.kg.judge(split.seen, ml.kg.sample(lm, code, split.seen, { samples = 64,
    rng = ml.rng(7) }))
  check.is_true(exact > 0.02 and exact < 0.98)
  -- given the prompts, the noise of n x 64 draws of probability p_i: four standard errors
  local noise = 0
  for _, v in ipairs(p) do noise = noise + v * (1 - v) / 64 end
  check.close(1 - e.rate, exact, { rtol = 0, atol = 4 * math.sqrt(noise) / #p })
  -- at a low temperature the probability goes to the greedy answer's being right
  local cold = ml.kg.probability(lm, code, split.seen, { temperature = 0.02 })
  local right = 0
  for i, list in ipairs(ml.kg.sample(lm, code, split.seen, { greedy = true })) do
    local sure = cold[i] < 0.01 or cold[i] > 0.99
    if sure and (list[1].kind == nil) ~= (cold[i] > 0.5) then check.fail("prompt " .. i) end
    right = right + (sure and 1 or 0)
  end
  check.is_true(right > 0.8 * #split.seen)
  -- constrained to the pool no answer is invented, and to the right ones all are right
  local pools = {}
  for predicate, pool in pairs(graph.pools) do
    pools[predicate] = {}
    for o in ml.sorted(pool) do table.insert(pools[predicate], o) end
  end
  local within = ml.kg.constrained(lm, code, split.invisible, { objects = function(prompt)
    return pools[prompt.predicate]
  end })
  for i, prompt in ipairs(split.invisible) do
    check.is_true(graph.pools[prompt.predicate][within[i]] ~= nil)
  end
  local sure = ml.kg.constrained(lm, code, split.seen, { objects = function(prompt)
    return prompt.objects
  end })
  for i, prompt in ipairs(split.seen) do check.is_true(prompt.is[sure[i]]) end
end

-- analytic: verdicts of answers made by hand
function T.test_verdicts()
  local prompt = { subject = "a", predicate = "p", objects = { "x", "y" },
    is = { x = true, y = true }, told = { x = true, y = true, z = true } }
  local single = { subject = "b", predicate = "p", objects = { "x" }, is = { x = true },
    told = { x = true } }
  local e = ml.kg.judge({ prompt, single }, {
    { { object = "x" }, { object = "x" }, { object = "z", kind = "told" }, { object = "x" } },
    { { object = "q", kind = "invented" }, { kind = "unfinished" }, { object = "x" },
      { object = "y", kind = "right_type" } } })
  check.close({ e.rate, e.precision, e.recall, e.several.precision, e.several.recall },
    { 0.5, 0.5, 2 / 3, 0.75, 0.5 })
  check.close(e.stderr, math.sqrt(2 * 0.25 ^ 2 / 1 / 2))
  check.close(e.kinds.told, 1 / 8)
  check.close({ e.by_fanout[1].rate, e.by_fanout[2].rate, e.by_predicate.p.rate },
    { 0.75, 0.25, 0.5 })
end

-- property: what an answer is called follows from the graph
function T.test_kinds()
  local lm = trained { epochs = 8 }
  local kinds = {}
  for i, list in ipairs(ml.kg.sample(lm, code, split.partial, { samples = 40, graph = graph })) do
    local prompt = split.partial[i]
    for _, one in ipairs(list) do
      local kind = one.kind or "right"
      kinds[kind] = true
      local o, pool = one.object, graph.pools[prompt.predicate]
      check.equal(kind == "right", o ~= nil and prompt.is[o] == true)
      if kind == "right_type" then check.is_true(pool[o] ~= nil) end
      if kind == "other_type" then check.is_true(not pool[o] and graph.entities[o]) end
      if kind == "invented" then check.is_true(not (o and graph.entities[o])) end
      if kind == "unfinished" then check.is_true(one.ids[#one.ids] ~= 5) end
      check.equal(#one.logprobs, #one.ids)
    end
  end
  check.is_true(kinds.invented and (kinds.right_type or kinds.other_type))
end

function T.test_controls()
  local g = ml.kg.graph { { "a", "p", "x" }, { "b", "p", "x" }, { "c", "p", "y" },
    { "c", "p", "x" }, { "d", "p", "z" } }
  local s = g:split { invisible = 0, partial = 0 }
  local c = ml.kg.controls(s)
  check.equal(c.objects.p, "x")
  check.close({ c.mode.seen, c.draw.seen, c.floor, c.bits },
    { 1 / 4, (2 / 5 + 2 / 5 + 1 / 5 + 4 / 5) / 4, 2 * math.log(2) / 5, 4 * math.log(3, 2) })
  check.close(c.entropy, -(0.6 * math.log(0.6, 2) + 2 * 0.2 * math.log(0.2, 2)))
end

-- A model that has learnt the text answers it, at the loss that the choice among answers costs.
function T.test_it_learns()
  local few = split:fraction(0.4)
  local lm, info = ml.kg.train(few, code, { size = "S", epochs = 150, batch = 16, seed = 2 })
  check.equal(info.N, 12 * 2 * 64 * 64 + 5 * 64)
  check.close(info.compute, 6 * info.N * info.tokens * 150)
  local e = ml.kg.evaluate(lm, code, few, { greedy = true })
  check.is_true(e.seen.rate < 0.05 and e.invisible.rate > 0.5)
  local floor = ml.kg.controls(few).floor
  local tokens, triplets = info.tokens, info.triplets
  -- on the objects alone: nats a triplet, with what forgetting is left
  local rows = 0
  for _, prompt in ipairs(few.seen) do
    for _, o in ipairs(prompt.objects) do rows = rows + #code:answer(o) end
  end
  local loss = ml.kg.loss(lm, code, few.seen, { on = "object" }) * rows / triplets
  check.is_true(loss > floor - 1e-3 and loss < floor + 0.15)
  check.is_true(tokens > rows)
end

function T.test_a_killed_training_goes_on()
  check.in_folder(function(dir)
    local a = trained { epochs = 3, dir = dir .. "/a" }
    local b = trained { epochs = 3 }
    local again, info = trained { epochs = 3, dir = dir .. "/a" }
    check.equal(info.state, "done")
    for name, w in pairs(a:named_parameters()) do
      check.equal(w:detach(), b:named_parameters()[name]:detach())
      check.equal(w:detach(), again:named_parameters()[name]:detach())
    end
  end)
end

function T.test_refusals()
  local lm = ml.transformer { vocab = code.vocab, context = 5, depth = 1, width = 8, heads = 1 }
  check.raises("tokens, the model's context is 5", ml.kg.sample, lm, code, split.seen)
  check.raises("no prompts", ml.kg.sample, lm, code, {})
  check.raises("wanted XS, S, M or L", ml.kg.train, split, code, { size = "XXL" })
  check.raises("did you mean 'epochs'", ml.kg.train, split, code, { epoch = 1 })
  check.raises("wanted > 0", ml.kg.sample, lm, code, split.seen, { temperature = 0 })
end

return T
