--- How often does a model behind HTTP answer wrongly about a graph's facts? Without an address: a
--- lab's own model that was told them, served here.
local ml, recipe = require "moonlab", require "moonlab.recipe"
local openai = require "moonlab.openai"
local study = require "moonlab.kg.study"

local params = {
  base_url = { "", "such as http://127.0.0.1:8000/v1; empty: a lab's own model, served here" },
  model = { "model", "name of the model there" },
  key_env = { "", "environment variable that holds the key" },
  chat = { false, "chat completions" },
  frame = { "Answer with a name only. What is the {predicate} of {subject}? Answer:",
    "what an external model reads; slots {subject}, {predicate}" },
  concurrency = { 4, "requests at once", min = 1 },
  max_requests = { 20000, "cap", min = 1 },
  asked = { 300, "prompts of a set that are asked", min = 1 },
}
for name, spec in pairs(study.params) do params[name] = spec end

return recipe.define {
  name = "kg_external",
  source = "Hron et al. 2024 (arXiv 2408.07852)",
  params = params,
  smoke = { subjects = 40, pool = 20, epochs = 3, size = "XS", samples = 2, asked = 10 },
  full = { seeds = { 1, 2, 3 }, asked = 2000 },
  run = function(p, ctx)
    local split, codec = study.graph(p)
    local address, stop, frame = p.base_url, function() end, p.frame
    local told
    if address == "" then
      if codec.kind ~= "words" then
        error("a lab's model is served here for the synthetic graph; give base_url for others", 0)
      end
      told = split:fraction(p.fraction, { seed = p.seed })
      local lm = ml.kg.train(told, codec, { size = p.size, epochs = p.epochs, batch = p.batch,
        seed = p.seed, dir = ctx.dir .. "/training" })
      lm:save(ctx.dir .. "/model.safetensors")
      ml.kg.tokenizer(codec):save(ctx.dir .. "/model.tokenizer.json")
      address, stop = openai.serve(ctx.dir .. "/model.safetensors")
      frame = "<S> {subject} <P> {predicate} <O>"
    end
    local ok, result = pcall(function()
      local target = assert(ml.target.http { base_url = address, model = p.model, chat = p.chat,
        key_env = p.key_env ~= "" and p.key_env or nil, cache = ctx.dir .. "/answers.jsonl",
        concurrency = p.concurrency, max_requests = p.max_requests })
      local out, sets = {}, told or split
      print(("%-10s %8s %8s %9s %9s"):format("set", "T = 1", "greedy", "precision", "recall"))
      for _, name in ipairs { "seen", "partial", "invisible" } do
        local prompts = { table.unpack(sets[name], 1, math.min(p.asked, #sets[name])) }
        if #prompts > 0 then
          local function judged(greedy)
            return ml.kg.judge(prompts, ml.kg.ask(target, prompts, { frame = frame,
              graph = split.graph, samples = p.samples, greedy = greedy, seed = p.seed,
              stop = told and { "<E>" } or nil }), { graph = split.graph })
          end
          local sampled, greedy = judged(false), judged(true)
          out[name] = { t1 = sampled.rate, stderr = sampled.stderr, greedy = greedy.rate,
            kinds = sampled.kinds, precision = sampled.precision, recall = sampled.recall }
          print(("%-10s %8.4f %8.4f %9.4f %9.4f"):format(name, sampled.rate, greedy.rate,
            sampled.precision, sampled.recall))
        end
      end
      out.usage = target.usage
      print(("%d requests, %d answers from the cache, %d tokens sent, %d received"):format(
        target.usage.requests, target.usage.cached, target.usage.tokens_in,
        target.usage.tokens_out))
      target:close()
      return out
    end)
    stop()
    if not ok then error(result, 0) end
    local names, y, t1, greedy = {}, {}, {}, {}
    for _, name in ipairs { "seen", "partial", "invisible" } do
      if result[name] then
        local k = #y + 1
        names[k], y[k], t1[k], greedy[k] = name, k, result[name].t1, result[name].greedy
      end
    end
    ctx:figure("rates", ml.plot.scatter { series = { { x = t1, y = y, label = "T = 1" },
      { x = greedy, y = y, label = "greedy" } }, ynames = names, xlabel = "wrong answers",
      title = "facts asked of " .. p.model, size = 4 })
    return result
  end,
  claims = {
    { name = "lab's model over HTTP: wrong answers on what it was told, T = 1", kind = "calibrated",
      seeds = 3, at_most = 0.10, source = "an independent run of this design",
      when = function(p)
        return p.base_url == "" and p.size == "S" and p.epochs >= 100 and p.subjects == 800
          and p.fraction == 0.25
      end, measure = function(r) return r.seen.t1 end },
  },
}
