--- Asking a model that is not a decoder of this process for the objects of a graph.
local evaluation = require "moonlab.kg.evaluation"
local options = require "moonlab.options"
local tokenizer = require "moonlab.tokenizer"

local asking = {}

-- A name as it is compared: one line, no quotes or full stop around it, any case.
local function bare(text)
  return (text:match "^%s*([^\n]*)":gsub("%s+", " "):gsub("^[\"'`]+", "")
    :gsub("[%s.\"'`]+$", ""):lower())
end

--- ml.kg.ask(target, prompts, { frame, graph, samples, temperature, greedy, max_tokens, stop,
---   seed })
--- The answers of a target to the prompts of a split, with their verdicts. Names are compared
--- without case, surrounding quotes and a full stop.
--- @param target target of ml.target
--- @param prompts list of prompts, as in split.seen
--- @param opts.frame string what is asked, with slots {subject} and {predicate}
--- @param opts.graph graph by which errors are told apart
--- @param opts.samples integer =4 of each prompt
--- @param opts.temperature number =1 >= 0
--- @param opts.greedy boolean =false
--- @param opts.max_tokens integer =16 of an answer
--- @param opts.stop list of strings ={ "\n" }
--- @param opts.seed integer =1 of what is drawn
--- @return table as of ml.kg.sample, { object, kind, text } for each sample; ml.kg.judge takes it
--- @source definitions after Hron et al. 2024 (arXiv 2408.07852)
function asking.ask(target, prompts, opts)
  local where = "ml.kg.ask"
  options.argument(where, 1, target, "table")
  options.argument(where, 2, prompts, "table")
  options.argument(where, 3, opts, "table")
  options.check(where, opts, { "frame", "graph", "samples", "temperature", "greedy", "max_tokens",
    "stop", "seed" })
  if #prompts == 0 then options.bad(where, 2, "no prompts") end
  local frame = options.field(where, opts, "frame", "string")
  for _, slot in ipairs { "{subject}", "{predicate}" } do
    if not frame:find(slot, 1, true) then
      options.bad(where, 3, "option 'frame' has no slot %s", slot)
    end
  end
  local texts, names = {}, {}
  for i, prompt in ipairs(prompts) do
    texts[i] = frame:gsub("{(%a+)}", { subject = prompt.subject, predicate = prompt.predicate })
  end
  for name in pairs(opts.graph and opts.graph.entities or {}) do names[bare(name)] = name end
  local found = target:complete(texts, { n = opts.greedy and 1 or opts.samples or 4,
    temperature = opts.temperature, greedy = opts.greedy, max_tokens = opts.max_tokens or 16,
    stop = opts.stop or { "\n" }, seed = opts.seed or 1 })
  local out = {}
  for i, prompt in ipairs(prompts) do
    local own = {}
    for name in pairs(prompt.is) do own[bare(name)] = name end
    for name in pairs(prompt.told) do own[bare(name)] = own[bare(name)] or name end
    out[i] = {}
    for j, sample in ipairs(found[i]) do
      local key = bare(sample.text)
      local object = own[key] or names[key] or (key ~= "" and key or nil)
      out[i][j] = { object = object, text = sample.text,
        kind = evaluation.kind_of(prompt, object, "invented", opts.graph) }
    end
  end
  return out
end

--- ml.kg.tokenizer(codec)
--- The ids of a codec as words, so that a model of a graph can be served to other programs: a
--- prompt is "<S> subject <P> predicate <O>", its answer ends with "<E>".
--- @param codec codec of words
--- @return tokenizer
--- @source -
function asking.tokenizer(code)
  local where = "ml.kg.tokenizer"
  options.argument(where, 1, code, "table")
  if code.kind ~= "words" then
    options.bad(where, 1, "the codec is of %s, wanted one of words", tostring(code.kind))
  end
  local list = { "<pad>", "<S>", "<P>", "<O>", "<E>" }
  for id = #list + 1, code.vocab do
    list[id] = code.predicate_at[id] or code.pieces.decode { id - code.first }
  end
  return tokenizer.words(list)
end

return asking
