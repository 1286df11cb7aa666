--- The laboratory's models: one that answers, and one that tells what was said before an answer.
local core = require "moonlab.core"
local options = require "moonlab.options"
local schedule = require "moonlab.schedule"
local target = require "moonlab.target.local"
local train = require "moonlab.train"

local models = {}

--- Depth and width of the sizes.
models.sizes = { S = { 2, 64 }, M = { 3, 128 } }

--- ml.attack.train(corpus, { size, steps, batch, lr, seed, inverted, dir })
--- Trains a decoder on the corpus with AdamW, a warm-up of a twentieth and a cosine to a tenth.
--- @param corpus corpus of ml.attack.corpus
--- @param opts.size string ="S" 2 x 64, or "M" 3 x 128 (depth x width)
--- @param opts.depth integer in place of the size's; and width, heads (=4)
--- @param opts.steps integer =3000 updates
--- @param opts.batch integer =64 documents
--- @param opts.lr number =3e-3 peak learning rate
--- @param opts.seed integer =1 of initial values and text
--- @param opts.inverted boolean =false learns the attacker's order: question, answer, context
--- @param opts.dir string =nil folder of a checkpoint, from which a second call goes on
--- @return decoder
--- @source set-up after Freeman et al. 2023 (arXiv 2311.07587)
function models.train(corpus, opts)
  local where = "ml.attack.train"
  options.argument(where, 1, corpus, "table")
  options.check(where, opts, { "size", "depth", "width", "heads", "steps", "batch", "lr", "seed",
    "inverted", "dir" })
  local o = opts or {}
  local size = models.sizes[options.choice(where, o, "size", { "S", "M" }, "S")]
  local function whole(name, default)
    return options.range(where, name, options.field(where, o, name, "integer", default), 1)
  end
  local steps, batch, seed = whole("steps", 3000), whole("batch", 64),
    options.field(where, o, "seed", "integer", 1)
  local inverted = options.field(where, o, "inverted", "boolean", false)
  local lm = core.transformer { vocab = corpus.vocab, context = corpus.context,
    depth = whole("depth", size[1]), width = whole("width", size[2]), heads = whole("heads", 4),
    seed = inverted and seed + 1000 or seed }
  train { model = lm, steps = steps, clip = 1, dir = options.optional(where, o, "dir", "string"),
    opt = core.optim.adamw(lm:parameters(),
      { lr = options.range(where, "lr", options.field(where, o, "lr", "number", 3e-3), 0) }),
    config = { seed = seed, corpus = tostring(corpus), inverted = inverted },
    schedule = function(t)
      return schedule.warmup_cosine(t, { warmup = steps // 20, total = steps, floor = 0.1 })
    end,
    data = { batch = function(_, i)
      return corpus:batch(i, { batch = batch, seed = seed, inverted = inverted })
    end },
    loss = function(model, b)
      return model:loss({ inputs = b.inputs, targets = b.targets }, { mask = b.mask })
    end }
  return lm
end

--- ml.attack.target(lm, corpus, { name })
--- A decoder of the corpus as a target: prompts are what Bob says.
--- @param lm decoder
--- @param corpus corpus
--- @param opts.name string ="lab"
--- @return target as of ml.target.local_lm
--- @source -
function models.target(lm, corpus, opts)
  options.check("ml.attack.target", opts, { "name" })
  return target.new(lm, { codec = corpus, name = opts and opts.name or "lab",
    stop = { ".", "<eos>" } })
end

return models
