-- Examples of hallucinations, scores without training, detectors, and what they are worth.
local ml = require "moonlab"
local check = require "check"
local T = {}

local graph = ml.kg.synthetic { subjects = 60, pool = 20, seed = 1 }
local split = graph:split { seed = 1 }
local code = ml.kg.codec(graph)
local generator, examples

-- Made at the first use: a model that knows some of the facts, and its answers.
local function made()
  if not examples then
    generator = ml.kg.train(split, code, { size = "XS", epochs = 60, seed = 1 })
    examples = ml.detect.examples(generator, code, split, { samples = 4, seed = 2 })
  end
  return generator, examples
end

-- property: labels are those of a look-up by hand, and no subject is in two parts
function T.test_examples()
  local _, data = made()
  local part, wrong, count = {}, 0, 0
  for _, name in ipairs { "train", "valid", "test" } do
    check.is_true(#data[name] > 0)
    for _, e in ipairs(data[name]) do
      local s = e.prompt.subject
      check.is_true(part[s] == nil or part[s] == name)
      part[s] = name
      wrong, count = wrong + (e.label and 1 or 0), count + 1
      check.equal({ #e.labels, #e.logprobs }, { #e.ids - e.before, #e.ids - e.before })
      local answer = { table.unpack(e.ids, e.before + 1) }
      local object = code:decode(answer)
      check.equal(e.label, not (object and e.prompt.is[object] or false))
      for k = 1, #answer do
        local good = false
        for _, o in ipairs(e.prompt.objects) do
          local ids, same = code:answer(o), true
          for i = 1, k do same = same and ids[i] == answer[i] end
          good = good or same
        end
        check.equal(e.labels[k], not good)
      end
    end
  end
  check.close(data.rate, wrong / count)
  check.is_true(data.rate > 0.05 and data.rate < 0.95)
  check.equal(count, 4 * #split.seen)
end

-- analytic: surprisals, entropy of the model's own distribution, agreement
function T.test_baselines()
  local lm, data = made()
  local b = ml.detect.baselines(data.test)
  for i = 1, 5 do
    local e = data.test[i]
    local logp = lm:logprob({ e.ids }, { from = e.before + 1 })[1]
    check.close(b.logprob[i], -logp:sum():item(), { rtol = 1e-3, atol = 1e-4 })
    check.close(b.mean_surprisal[i], -logp:mean():item(), { rtol = 1e-3, atol = 1e-4 })
    check.close(b.max_surprisal[i], -logp:min():item(), { rtol = 1e-3, atol = 1e-4 })
    local p = lm:logits({ table.unpack(e.ids, 1, e.before) })[{ -1 }]:to("f64"):softmax(-1)
    check.close(b.entropy[i], -(p * p:log()):sum():item(), { rtol = 1e-3, atol = 1e-4 })
    local same = 0
    for _, other in ipairs(data.test) do
      if other.prompt == e.prompt and table.concat(other.ids, " ") == table.concat(e.ids, " ") then
        same = same + 1
      end
    end
    check.close(b.disagreement[i], 1 - same / 4)
  end
end

-- property: a detector that sees what was predicted finds it; none changes the generator
function T.test_detectors()
  local lm, data = made()
  local before = {}
  for name, w in pairs(lm:named_parameters()) do before[name] = w:detach():clone() end
  local pair = ml.detect.train(lm, data, { features = "pair", seed = 1 })
  local scores, labels, owners = pair:score(data.test)
  check.equal({ #scores, #labels, #owners }, { #data.test, #data.test, #data.test })
  check.is_true(ml.stats.roc(scores, labels) > 0.8)
  check.is_true(pair:quality(data.test) > data.rates.test)
  local tokens, marks, of = pair:score(data.test, { of = "token" })
  local count, k = 0, 0
  for i, e in ipairs(data.test) do
    count = count + #e.labels
    local most = -math.huge
    for j = 1, #e.labels do
      k = k + 1
      check.equal({ marks[k], of[k] }, { e.labels[j], i })
      most = math.max(most, tokens[k])
    end
    check.close(scores[i], most)
  end
  check.equal(#tokens, count)
  local full = ml.detect.train(lm, data, { kind = "full", task = "token", epochs = 2, seed = 1 })
  check.is_true(full.parameters > pair.parameters)
  for name, w in pairs(lm:named_parameters()) do check.equal(w:detach(), before[name]) end
  -- the same seed gives the same detector
  local again = ml.detect.train(lm, data, { features = "pair", seed = 1 })
  check.equal(again:score(data.test), scores)
end

-- A detector that can see the label learns it.
function T.test_what_can_be_learnt_is_learnt()
  local lm, data = made()
  local easy = { train = {}, valid = {}, test = {}, codec = code }
  for _, name in ipairs { "train", "valid", "test" } do
    for i, e in ipairs(data[name]) do -- answers to predicates of even number, tokens of even id
      local copy = {}
      for key, value in pairs(e) do copy[key] = value end
      copy.label, copy.labels = tonumber(e.prompt.predicate:sub(2)) % 2 == 0, {}
      for k in ipairs(e.labels) do copy.labels[k] = e.ids[e.before + k] % 2 == 0 end
      easy[name][i] = copy
    end
  end
  for _, o in ipairs { { task = "token", layer = 0 },
    { task = "token", layer = "all" }, { kind = "full", epochs = 4, lr = 1e-3 },
    { kind = "full", init = "scratch", epochs = 30, lr = 3e-3, patience = 20 } } do
    local d = ml.detect.train(lm, easy, o)
    local scores, labels = d:score(easy.test)
    check.is_true(ml.stats.roc(scores, labels) > 0.9)
  end
  -- another size to start from
  local other = ml.transformer { vocab = code.vocab, context = code.longest, depth = 1, width = 24,
    heads = 2 }
  local d = ml.detect.train(lm, easy, { kind = "full", model = other, epochs = 1 })
  check.is_true(d.parameters < 24 * 24 * 12 + 24 * code.vocab + 24 * 3 + 24 * 64 + 64 * 2 + 2)
end

-- analytic: a useless score, a perfect one, matched base rates and abstaining
function T.test_judging()
  local labels, perfect, useless = {}, {}, {}
  for i = 1, 100 do
    labels[i], perfect[i], useless[i] = i <= 40, i <= 40 and 3.0 or -3.0, 0.0
  end
  local j = ml.detect.judge(perfect, labels, { logits = true, valid = { perfect, labels } })
  check.close({ j.ap, j.matched, j.lift, j.roc, j.accuracy, j.base_rate },
    { 1, 1, 1, 1, 1, 0.4 })
  check.close(j.interval.ap, { 1, 1 })
  local p = 1 / (1 + math.exp(-3)) -- confidence of both classes
  check.close(j.calibration, 1 - p, { rtol = 1e-9 })
  local k = ml.detect.judge(useless, labels, { valid = { useless, labels }, resamples = 0 })
  check.close({ k.ap, k.matched, k.lift, k.roc, k.accuracy, k.risk },
    { 0.4, 0.1, 0, 0.5, 0.6, 0.4 }, { atol = 1e-12 })
  check.is_nil(k.interval)
  local one = ml.detect.judge({ 1, 2 }, { true, true })
  check.is_nil(one.ap)
  check.close(one.base_rate, 1)
  -- two groups: half of the resamples hold one of them alone
  local groups = {}
  for i = 1, 100 do groups[i] = i % 2 == 0 and "a" or "b" end
  local g = ml.detect.judge(useless, labels, { groups = groups, resamples = 50 })
  check.close(g.interval.roc, { 0.5, 0.5 })
  check.raises("'groups' has 1 entries, scores has 100", ml.detect.judge, useless, labels,
    { groups = { "a" } })
end

function T.test_refusals()
  local lm, data = made()
  check.raises("features and layer are for kind", ml.detect.train, lm, data,
    { kind = "full", features = "pair" })
  check.raises("wanted 0..2, \"final\" or \"all\"", ml.detect.train, lm, data, { layer = 3 })
  check.raises("init = \"scratch\" is for kind", ml.detect.train, lm, data, { init = "scratch" })
  check.raises("the model has 7 ids", ml.detect.train, lm, data,
    { model = ml.transformer { vocab = 7, context = 8, depth = 1, width = 8, heads = 1 } })
  check.raises("has no scores of tokens", function()
    local d = ml.detect.train(lm, data, { epochs = 1 })
    d:score(data.test, { of = "token" })
  end)
  check.raises("wanted a share between 0 and 0.5", ml.detect.examples, lm, code, split,
    { test = 0.6 })
end

return T
