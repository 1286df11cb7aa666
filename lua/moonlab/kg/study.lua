--- One training on a graph with all that is measured on it, as the recipe kg_model runs it, and the
--- grids of such runs that the recipes on hallucinations are made of.
local core = require "moonlab.core"
local kg = require "moonlab.kg"
local evaluation = require "moonlab.kg.evaluation"
local options = require "moonlab.options"
local sweep = require "moonlab.sweep"
local training = require "moonlab.kg.training"

local study = {}

--- Parameters of a graph, in the form recipes have them.
study.graph_params = {
  graph = { "synthetic", "synthetic, wordnet (its upward relations), or the path of a .tsv or .nt "
    .. "file" },
  subjects = { 800, "of the synthetic graph", min = 10 },
  pool = { 200, "objects of a predicate of the synthetic graph", min = 4 },
  zipf = { 0.8, "exponent of how frequent its objects are", min = 0 },
  fanout = { { 0.80, 0.12, 0.05, 0.03 }, "weights of 1, 2, ... answers of its prompts", min = 0 },
  collide = { 0.0, "share of its subjects that have the name of another", min = 0, max = 0.5 },
  noise = { 0.0, "share of its triplets that the text has wrong", min = 0, max = 1 },
  triplets = { 4000, "of wordnet or a file, of subjects chosen at random; 0: all", min = 0 },
  pieces = { 512, "of byte-pair encoding, for wordnet and files", min = 1 },
}

--- The parameters of one training.
study.params = {
  fraction = { 0.25, "of the seen subjects that are trained on", above = 0, max = 1 },
  size = { "S", "XS 2x32, S 2x64, M 3x128, L 4x256 (depth x width)",
    choices = { "XS", "S", "M", "L" } },
  width = { 0, "in place of the size's; 0: the size's", min = 0 },
  epochs = { 100, "passes over the training triplets", min = 1 },
  steps = { 0, "updates in place of epochs; 0: epochs", min = 0 },
  batch = { 64, "triplets of an update", min = 1 },
  packed = { false, "several triplets to a row" },
  loss = { "all", "tokens that count", choices = { "all", "object" } },
  lr = { 0.0, "peak learning rate; 0: the size's", min = 0 },
  samples = { 4, "of each prompt", min = 1 },
  most = { 2000, "prompts of a set that are asked", min = 1 },
  seed = { 1, "of graph, split, model and samples" },
}
for name, spec in pairs(study.graph_params) do study.params[name] = spec end

--- Graph, split and codec of the parameters.
function study.graph(p)
  if p.graph == "synthetic" then
    local graph = kg.synthetic { subjects = p.subjects, pool = p.pool, zipf = p.zipf,
      fanout = p.fanout, collide = p.collide, noise = p.noise, seed = p.seed }
    return graph:split { seed = p.seed }, kg.codec(graph)
  end
  local graph, why
  if p.graph == "wordnet" then graph, why = kg.wordnet()
  elseif p.graph:find "%.nt$" then graph, why = kg.ntriples(p.graph)
  elseif p.graph:find "%.tsv$" then graph, why = kg.tsv(p.graph)
  else options.raise("graph is %q, wanted synthetic, wordnet, or a .tsv or .nt file", p.graph) end
  if not graph then options.raise("%s", why) end
  if p.triplets > 0 then graph = graph:subset { triplets = p.triplets, seed = p.seed } end
  return graph:split { seed = p.seed, withhold = true },
    kg.codec(graph, { kind = "bpe", size = p.pieces })
end

local function mean(list)
  local sum = 0
  for _, x in ipairs(list) do sum = sum + x / #list end
  return sum
end

local function joined(a, b)
  local list = { table.unpack(a) }
  for _, x in ipairs(b) do list[#list + 1] = x end
  return list
end

-- What the sets of a split are asked and how it went.
function study.measure(lm, code, split, p)
  local key, out = core.rng(p.seed):fold("kg.study"), { exact = {}, held_out = 0 / 0 }
  out.t1 = kg.evaluate(lm, code, split, { samples = p.samples, most = p.most, rng = key })
  out.greedy = kg.evaluate(lm, code, split, { greedy = true, most = p.most, rng = key })
  for _, name in ipairs { "seen", "partial", "invisible" } do
    local prompts = evaluation.some(split[name], p.most, split.seed)
    if #prompts > 0 then out.exact[name] = 1 - mean(kg.probability(lm, code, prompts)) end
  end
  local others = joined(split.partial, split.invisible)
  if #others > 0 then
    others = evaluation.some(others, p.most, split.seed)
    out.held_out = kg.loss(lm, code, others)
    out.held_out_object = kg.loss(lm, code, others, { on = "object" })
  end
  return out
end

--- One training with all its measurements.
function study.run(p, ctx)
  local whole, code = study.graph(p)
  local split = whole:fraction(p.fraction)
  split:save(ctx.dir .. "/split.json")
  local series = { step = {}, loss = {} }
  local lm, info = kg.train(split, code, { size = p.size, epochs = p.epochs,
    width = p.width > 0 and p.width or nil, steps = p.steps > 0 and p.steps or nil,
    batch = p.batch, packed = p.packed, loss = p.loss, lr = p.lr > 0 and p.lr or nil,
    seed = p.seed, dir = ctx.dir .. "/training", log = function(record)
      if record.loss and (record.step % 50 == 0 or record.step < 5) then
        ctx:log { step = record.step, loss = record.loss }
        series.step[#series.step + 1], series.loss[#series.loss + 1] = record.step, record.loss
      end
    end })
  local out = study.measure(lm, code, split, p)
  for name, value in pairs(info) do out[name] = value end
  out.series = series
  out.controls = kg.controls(split)
  out.controls.objects = nil
  return out, lm, code, split
end

--- Memory and time of a run: rows of about 11 ids, twelve thousand flops a parameter and update.
function study.estimate(p)
  local preset = training.sizes[p.size]
  local width = p.width > 0 and p.width or preset.width
  local n = 12 * preset.depth * width ^ 2
  local triplets = p.graph == "synthetic" and p.subjects * 5.4 * p.fraction
    or p.triplets * 0.81 * p.fraction
  local steps = p.steps > 0 and p.steps or p.epochs * math.ceil(triplets / p.batch)
  return { bytes = 80e6 + 24 * n + p.batch * 12 * width * 200 * preset.depth,
    seconds = 2 + steps * (1e-3 + 6 * n * p.batch * 11 / 60e9) }
end

--- The same of one model after the other, of p.sizes and the given epochs.
function study.estimates(p, epochs)
  local out = { bytes = 0, seconds = 0 }
  for _, size in ipairs(p.sizes) do
    for _, e in ipairs(epochs) do
      local one = { size = size, epochs = e, width = 0, steps = 0, batch = 64 }
      for _, name in ipairs { "graph", "subjects", "triplets", "fraction" } do
        one[name] = p[name]
      end
      one = study.estimate(one)
      out.bytes, out.seconds = math.max(out.bytes, one.bytes), out.seconds + one.seconds
    end
  end
  return out
end

-- ---- grids --------------------------------------------------------------------------------------

local Runs = {}
Runs.__index = Runs

local function matches(params, wanted)
  for name, value in pairs(wanted) do
    if params[name] ~= value then return false end
  end
  return true
end

--- The first run with these parameters, or nil.
function Runs:find(wanted)
  for _, r in ipairs(self) do
    if matches(r.params, wanted) then return r end
  end
end

--- Runs the recipe kg_model at every combination of values, one thread each; the runs are kept in
--- the folder of ctx, so that a resumed study repeats none.
function study.grid(ctx, values)
  local all = { seed = { ctx.seed } }
  for name, value in pairs(values) do
    all[name] = type(value) == "table" and value or { value }
  end
  if all.fanout then all.fanout = { all.fanout } end
  local done = sweep { recipe = "kg_model", grid = all, store = ctx.dir .. "/runs", threads = 1,
    workers = core.threads(), quiet = ctx.quiet }
  local runs = setmetatable({}, Runs)
  for i, r in ipairs(done.runs) do
    if r.state == "failed" then
      options.raise("the run %s failed: %s", r.id, tostring(r.message))
    end
    runs[i] = { params = r.params, results = r.results[1] or r.results, state = r.state }
  end
  return runs
end

--- The parameters of the graph in p, as a grid.
function study.graph_values(p)
  local values = {}
  for name in pairs(study.graph_params) do values[name] = p[name] end
  return values
end

return study
