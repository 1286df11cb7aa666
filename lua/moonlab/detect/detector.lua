--- Detectors of hallucinations: a head on a frozen model, or a model that is trained as well.
local codec = require "moonlab.kg.codec"
local core = require "moonlab.core"
local nn = require "moonlab.nn"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"
local stats = require "moonlab.stats"

local detector = {}

local Detector = {}
Detector.__index = Detector
Detector.__name = "ml.detect.detector"

function Detector:__tostring()
  local text = "detector of hallucinated %s: %s on %s, %d parameters trained, validation AP %.4f"
  return text:format(self.task == "sentence" and "answers" or "tokens", self.kind, self.on,
    self.parameters, self.valid)
end

-- ---- rows of states -----------------------------------------------------------------------------

-- Rows of ids, all of one length, and the flat places (row x length + position, from 1) that are
-- scored: with `all` each token of the object and the end, else the last one of each row.
local function places(list, all)
  local rows, at, before, tokens, labels, owner, longest = {}, {}, {}, {}, {}, {}, 0
  for _, e in ipairs(list) do longest = math.max(longest, #e.ids) end
  for i, e in ipairs(list) do
    local row = { table.unpack(e.ids) }
    for k = #row + 1, longest do row[k] = codec.PAD end
    rows[i] = row
    for k = all and e.before + 1 or #e.ids, #e.ids do
      at[#at + 1] = (i - 1) * longest + k
      before[#before + 1] = (i - 1) * longest + k - 1
      tokens[#tokens + 1], owner[#owner + 1] = e.ids[k], i
      local wrong = e.label
      if all then wrong = e.labels[k - e.before] end
      labels[#labels + 1] = wrong and 1 or 0
    end
  end
  return { rows = rows, at = at, before = before, tokens = tokens, labels = labels, owner = owner }
end

local function layers_of(lm, layer)
  if layer ~= "all" then return { layer } end
  local list = {}
  for l = 1, lm:config().depth do list[l] = l end
  list[#list + 1] = "final"
  return list
end

-- States of the given layers side by side, [B T, width].
local function states(lm, rows, layers)
  local hidden, parts = lm:hidden(core.index(rows), { layers = layers }), {}
  for i, layer in ipairs(layers) do
    local h = hidden[layer]
    local shape = h:shape()
    parts[i] = h:reshape { shape[1] * shape[2], shape[3] }
  end
  return #parts == 1 and parts[1] or core.concat(parts, 2)
end

-- The output embeddings of tokens, [n, width].
local function output_rows(lm, tokens)
  local parameters = lm:named_parameters()
  local w = parameters.head and parameters.head:detach():transpose():contiguous()
    or parameters.tokens:detach()
  return w:index_select(core.index(tokens), 1)
end

-- What a head sees of each place, without gradients: [n, features].
local function features(lm, p, o)
  return core.scope(function()
    return core.no_grad(function()
      local parts, layers = {}, layers_of(lm, o.layer)
      local per = 256 -- rows at a time
      local length = #p.rows[1]
      local which = o.features == "pair" and p.before or p.at
      local first = 1
      for start = 1, #p.rows, per do
        local some = { table.unpack(p.rows, start, math.min(#p.rows, start + per - 1)) }
        local picked, offset = {}, (start - 1) * length
        while which[first] and which[first] <= offset + #some * length do
          picked[#picked + 1], first = which[first] - offset, first + 1
        end
        if #picked > 0 then
          parts[#parts + 1] = states(lm, some, layers):index_select(core.index(picked), 1)
        end
      end
      local h = #parts == 1 and parts[1] or core.concat(parts, 1)
      if o.features ~= "pair" then return h end
      local w = output_rows(lm, p.tokens)
      return core.concat({ h, w, h * w }, 2)
    end)
  end)
end

-- ---- training -----------------------------------------------------------------------------------

local function mlp(inputs, width, seed)
  local key = core.rng(seed):fold("detector")
  return nn.Sequential { nn.Linear { inputs, width, rng = key:fold("in") }, nn.GELU(),
    nn.Linear { width, 1, rng = key:fold("out") } }
end

-- Binary cross-entropy of logits [n, 1] with labels [n, 1].
local function bce(z, y) return (z:softplus() - z * y):mean() end

local function numbers(t)
  local list = t:reshape { t:numel() }:totable()
  return list
end

-- The largest logit of the places of each example.
local function by_example(scores, owner, count)
  local out = {}
  for k, s in ipairs(scores) do
    local i = owner[k]
    out[i] = math.max(out[i] or -math.huge, s)
  end
  for i = 1, count do out[i] = out[i] or 0 end
  return out
end

local function copy_of(parameters)
  local copy = {}
  core.no_grad(function()
    for i, w in ipairs(parameters) do copy[i] = core.keep(w:detach():clone()) end
  end)
  return copy
end

local function put_back(parameters, copy)
  core.no_grad(function()
    for i, w in ipairs(parameters) do w:copy_(copy[i]) end
  end)
end

-- Epochs of minibatches until validation has not risen for a while; the best weights stay.
local function fit(self, o, count, step_of)
  local opt = core.optim.adamw(self.trained, { lr = o.lr, weight_decay = 0.01,
    decay = "decoupled" })
  local best, kept, since = -1, nil, 0
  self.curve = {}
  for epoch = 1, o.epochs do
    local order = core.rng(o.seed):fold("epoch", epoch):permutation(count):totable()
    for first = 1, count, o.batch do
      local some = { table.unpack(order, first, math.min(count, first + o.batch - 1)) }
      opt:zero_grad()
      core.scope(function() step_of(some):backward() end)
      core.optim.clip_grad_norm(self.trained, 1)
      opt:step()
    end
    local now = self:quality(o.valid)
    self.curve[epoch] = now
    if now > best then
      best, kept, since = now, copy_of(self.trained), 0
    else
      since = since + 1
      if since >= o.patience then break end
    end
  end
  put_back(self.trained, kept)
  self.valid, self.epochs = best, #self.curve
end

local function rows_of(t, some) return t:index_select(core.index(some), 1) end

local function train_head(self, list, o)
  local p = places(list, self.all)
  local x = core.keep(features(self.lm, p, o))
  local mean, std
  core.no_grad(function()
    mean = core.keep(x:mean(1))
    std = core.keep(x:var(1):sqrt() + 1e-6)
  end)
  self.mean, self.std = mean, std
  local y = core.keep(core.tensor(p.labels, { dtype = "f32" }):reshape { #p.labels, 1 })
  self.head = mlp(x:size(2), o.width, o.seed)
  self.trained = self.head:parameters()
  fit(self, o, #p.labels, function(some)
    return bce(self.head((rows_of(x, some) - mean) / std), rows_of(y, some))
  end)
end

-- Logits of the places of some examples, by a model of which all weights are trained.
local function full_logits(self, p)
  local h = states(self.lm, p.rows, { "final" }):index_select(core.index(p.at), 1)
  return self.head(h)
end

local function train_full(self, list, o)
  local config = self.lm:config()
  if o.init == "scratch" then config.seed = o.seed + 7919 end
  local twin, values = core.transformer(config), self.lm:named_parameters()
  if o.init ~= "scratch" then
    core.no_grad(function()
      for name, w in pairs(twin:named_parameters()) do w:copy_(values[name]) end
    end)
  end
  self.lm = twin
  self.head = mlp(config.width, o.width, o.seed)
  self.trained = {}
  for name, w in sorted(twin:named_parameters()) do
    if name ~= "head" then self.trained[#self.trained + 1] = w end
  end
  for _, w in ipairs(self.head:parameters()) do self.trained[#self.trained + 1] = w end
  fit(self, o, #list, function(some)
    local chosen = {}
    for k, i in ipairs(some) do chosen[k] = list[i] end
    local p = places(chosen, self.all)
    local y = core.tensor(p.labels, { dtype = "f32" }):reshape { #p.labels, 1 }
    return bce(full_logits(self, p), y)
  end)
end

-- Logits of all places.
function Detector:_logits(list, p)
  if self.kind == "head" then
    return core.scope(function()
      return core.no_grad(function()
        local x = features(self.lm, p, self.options)
        return numbers(self.head((x - self.mean) / self.std))
      end)
    end)
  end
  local out = {}
  for first = 1, #list, 256 do
    local some = places({ table.unpack(list, first, math.min(#list, first + 255)) }, self.all)
    core.scope(function()
      core.no_grad(function()
        for _, z in ipairs(numbers(full_logits(self, some))) do out[#out + 1] = z end
      end)
    end)
  end
  return out
end

--- detector:score(list, { of })
--- Logits of being hallucinated. A detector of tokens, and one that looks at pairs, says of an
--- answer what it says of its most suspicious token.
--- @param list list of examples, as those of ml.detect.examples
--- @param opts.of string =its task; "sentence" or, of a detector that scores tokens, "token"
--- @return table list of numbers, one for each example, or each token (object and end, example by
--- example)
--- @return table list of what they should be: true for hallucinated
--- @return table list of the examples' numbers, one for each score
--- @source -
function Detector:score(list, opts)
  options.argument("score", 1, list, "table")
  options.check("score", opts, { "of" })
  local of = options.choice("score", opts or {}, "of", { "sentence", "token" }, self.task)
  if of == "token" and not self.all then
    options.bad("score", 0, "a detector of answers has no scores of tokens")
  end
  local p = places(list, self.all)
  local z = self:_logits(list, p)
  local labels, owners = {}, {}
  if of == "token" then
    for k, y in ipairs(p.labels) do labels[k] = y == 1 end
    return z, labels, p.owner
  end
  for i, e in ipairs(list) do labels[i], owners[i] = e.label, i end
  return by_example(z, p.owner, #list), labels, owners
end

--- detector:quality(list)
--- Average precision of its task.
--- @param list list of examples
--- @return number average precision; 0 where nothing is hallucinated
--- @source -
function Detector:quality(list)
  local scores, labels = self:score(list)
  return (stats.average_precision(scores, labels)) or 0
end

local names = { "task", "kind", "features", "layer", "width", "model", "init", "lr", "epochs",
  "batch", "patience", "seed" }

--- ml.detect.train(lm, examples, { task, kind, features, layer, width, model, init, lr, epochs,
---   batch, patience, seed })
--- Trains a detector of a model's hallucinations by binary cross-entropy on the examples' labels,
--- until average precision on their validation part no longer rises; the best weights are kept.
--- @param lm decoder the generator, left as it is
--- @param examples table of ml.detect.examples
--- @param opts.task string ="sentence": is the answer hallucinated (read at its end), or "token":
--- is this token
--- @param opts.kind string ="head": a network of two layers on states of the frozen model; "full":
--- the same, and a copy of the model is trained with it
--- @param opts.features string ="state" of a token; "pair": the state before it, its output
--- embedding and their product, trained on tokens whatever the task (a head only)
--- @param opts.layer string|integer ="final", the output of a block, or "all" side by side (a head
--- only; pairs take the final one)
--- @param opts.width integer =64 hidden units of the head, >= 1
--- @param opts.model decoder =lm another one to start from, of the same codec and any size
--- @param opts.init string ="model": its weights, or "scratch": its sizes with new ones (full only)
--- @param opts.lr number =1e-3, or 3e-4 for full; of AdamW, >= 0
--- @param opts.epochs integer =60, or 20 for full; at most, >= 1
--- @param opts.batch integer =256 places of a head, or 64 answers for full
--- @param opts.patience integer =8, or 4 for full; epochs without a better validation, >= 1
--- @param opts.seed integer =1 of initial values and orders
--- @return detector { task, kind, valid (average precision), epochs, curve, parameters }
--- @source Hron et al. 2024 (arXiv 2408.07852); layers side by side: Azaria & Mitchell 2023
function detector.train(lm, data, opts)
  local where = "ml.detect.train"
  options.argument(where, 2, data, "table")
  options.check(where, opts, names)
  opts = opts or {}
  local full = options.choice(where, opts, "kind", { "head", "full" }, "head") == "full"
  local pair = options.choice(where, opts, "features", { "state", "pair" }, "state") == "pair"
  local task = options.choice(where, opts, "task", { "sentence", "token" }, "sentence")
  local init = options.choice(where, opts, "init", { "model", "scratch" }, "model")
  local model, layer = opts.model or lm, opts.layer or "final"
  if full and (pair or layer ~= "final") then
    options.bad(where, 0, "features and layer are for kind = \"head\"")
  end
  if pair and layer ~= "final" then options.bad(where, 0, "pairs take the layer \"final\"") end
  if init == "scratch" and not full then
    options.bad(where, 0, "init = \"scratch\" is for kind = \"full\"")
  end
  local depth = model:config().depth
  if layer ~= "final" and layer ~= "all" and not (math.type(layer) == "integer" and layer >= 0
    and layer <= depth) then
    options.bad(where, 0, "option 'layer' is %s, wanted 0..%d, \"final\" or \"all\"",
      options.describe(layer), depth)
  end
  if model:config().vocab ~= data.codec.vocab then
    options.bad(where, 0, "the model has %d ids, the codec %d", model:config().vocab,
      data.codec.vocab)
  end
  local function integer(name, default)
    return options.range(where, name, options.field(where, opts, name, "integer", default), 1)
  end
  local o = { features = pair and "pair" or "state", layer = layer, width = integer("width", 64),
    lr = options.range(where, "lr",
      options.field(where, opts, "lr", "number", full and 3e-4 or 1e-3), 0),
    epochs = integer("epochs", full and 20 or 60), batch = integer("batch", full and 64 or 256),
    patience = integer("patience", full and 4 or 8), init = init,
    seed = options.field(where, opts, "seed", "integer", 1), valid = data.valid }
  local self = setmetatable({ task = task, kind = full and "full" or "head", lm = model,
    all = task == "token" or pair, options = o }, Detector)
  self.on = full and init or pair and "pairs" or "layer " .. tostring(layer)
  if full then train_full(self, data.train, o) else train_head(self, data.train, o) end
  self.parameters = 0
  for _, w in ipairs(self.trained) do self.parameters = self.parameters + w:numel() end
  return self
end

detector.methods = Detector
return detector
