-- Asking a model behind an interface for facts: verdicts, and the lab's own model as a target.
local ml = require "moonlab"
local check = require "check"
local T = {}

function T.test_verdicts() -- analytic
  local graph = ml.kg.synthetic { subjects = 30, pool = 10, seed = 2 }
  local split = graph:split { seed = 1 }
  local prompt = split.seen[1]
  local other -- of the right type, but wrong
  for name in pairs(graph.pools[prompt.predicate]) do
    if not prompt.is[name] then other = name end
  end
  local said = { " " .. prompt.objects[1]:upper() .. ".", other, "'nobody'", "\nmore" }
  local target = { complete = function(_, texts, o)
    check.equal(texts[1], "of " .. prompt.subject .. " the " .. prompt.predicate)
    check.equal(o.n, 4)
    local list = {}
    for j, text in ipairs(said) do list[j] = { text = text } end
    return { list }
  end }
  local found = ml.kg.ask(target, { prompt }, { frame = "of {subject} the {predicate}",
    graph = graph })
  check.equal(found[1][1].object, prompt.objects[1])
  check.is_true(found[1][1].kind == nil)
  check.equal(found[1][2].kind, "right_type")
  check.equal(found[1][3].kind, "invented")
  check.equal(found[1][4].kind, "invented")
  check.close(ml.kg.judge({ prompt }, found, { graph = graph }).rate, 0.75, { rtol = 1e-12 })
  check.raises("no slot {predicate}", ml.kg.ask, target, { prompt }, { frame = "{subject}" })
  check.raises("no prompts", ml.kg.ask, target, {}, { frame = "{subject} {predicate}" })
end

function T.test_a_served_model_answers_as_here() -- golden: ml.kg.sample's greedy answers
  local graph = ml.kg.synthetic { subjects = 40, pool = 10, seed = 3 }
  local split = graph:split { seed = 1 }
  local codec = ml.kg.codec(graph)
  local lm = ml.kg.train(split, codec, { size = "XS", steps = 150, seed = 1 })
  local tok = ml.kg.tokenizer(codec)
  check.equal(tok:size(), codec.vocab)
  local prompts = { table.unpack(split.seen, 1, 40) }
  local text = "<S> " .. prompts[1].subject .. " <P> " .. prompts[1].predicate .. " <O>"
  check.equal(tok:encode(text):totable(), codec:prompt(prompts[1]))
  local target = ml.target.local_lm(lm, { codec = tok })
  local a = ml.kg.ask(target, prompts, { frame = "<S> {subject} <P> {predicate} <O>",
    graph = graph, greedy = true, stop = { "<E>" } })
  local b = ml.kg.sample(lm, codec, prompts, { greedy = true, graph = graph })
  for i in ipairs(prompts) do
    if b[i][1].kind ~= "unfinished" then
      check.equal(a[i][1].kind == nil, b[i][1].kind == nil)
      if b[i][1].object then check.equal(a[i][1].object, b[i][1].object:lower()) end
    end
  end
  check.raises("wanted one of words", ml.kg.tokenizer, ml.kg.codec(graph, { kind = "chars" }))
end

return T
