--- Training on the triplets of a split: one a row, or packed with attention that stays inside each.
local codec = require "moonlab.kg.codec"
local core = require "moonlab.core"
local options = require "moonlab.options"
local schedule = require "moonlab.schedule"
local train = require "moonlab.train"

local training = {}

--- Depth, width and peak learning rate of the sizes.
training.sizes = {
  XS = { depth = 2, width = 32, lr = 3e-3 }, S = { depth = 2, width = 64, lr = 2e-3 },
  M = { depth = 3, width = 128, lr = 1e-3 }, L = { depth = 4, width = 256, lr = 6e-4 },
}

-- ---- rows ---------------------------------------------------------------------------------------

-- All triplets once, one a row: ids [n, longest], weights of the targets [n, longest - 1].
local function table_of(triplets, code, loss)
  local rows, masks = {}, {}
  for i, t in ipairs(triplets) do
    local ids, before = code:row(t)
    local mask = {}
    for k = 1, code.longest do
      if k > 1 then
        mask[k - 1] = (k <= #ids and (loss == "all" or k > before)) and 1 or 0
      end
      ids[k] = ids[k] or codec.PAD
    end
    rows[i], masks[i] = ids, mask
  end
  return rows, masks
end

-- Rows of `context` ids in which whole triplets stand side by side, in the order given.
local function packed_batch(rows, masks, order, context)
  local inputs, targets, weights, segments, at = {}, {}, {}, {}, {}
  for _, i in ipairs(order) do
    local ids, mask = rows[i], masks[i]
    local n = #ids
    while ids[n] == codec.PAD do n = n - 1 end
    local row = #inputs
    if row == 0 or at[row] + n - 1 > context then
      row = row + 1
      inputs[row], targets[row], weights[row], segments[row], at[row] = {}, {}, {}, {}, 0
    end
    local segment = (segments[row][at[row]] or 0) + 1
    for k = 1, n - 1 do
      at[row] = at[row] + 1
      inputs[row][at[row]], targets[row][at[row]] = ids[k], ids[k + 1]
      weights[row][at[row]], segments[row][at[row]] = mask[k], segment
    end
  end
  local longest = math.max(table.unpack(at))
  for row in ipairs(inputs) do
    for k = at[row] + 1, longest do
      inputs[row][k], targets[row][k], weights[row][k] = codec.PAD, codec.PAD, 0
      segments[row][k] = segments[row][at[row]] + (k > at[row] and 1 or 0)
    end
  end
  return { inputs = core.index(inputs), targets = core.index(targets),
    mask = core.tensor(weights, { dtype = "f32" }), segments = core.index(segments) }
end

--- ml.kg.batches(split, codec, { batch, packed, context, loss, seed })
--- Batches of training triplets; each epoch is a new order of all of them.
--- @param split split
--- @param codec codec
--- @param opts.batch integer =64 triplets of a batch, whether packed or not
--- @param opts.packed boolean =false several triplets to a row; attention and positions restart
--- with each
--- @param opts.context integer =2 x codec.longest ids of a packed row
--- @param opts.loss string ="all" tokens, or those of the "object"
--- @param opts.seed integer =1 of the order
--- @return table { per_epoch (batches), tokens (targets of an epoch that count), triplets,
--- batch(self, i) -> { inputs, targets, mask, segments (packed) }, a pure function of i }
--- @source -
function training.batches(split, code, opts)
  local where = "ml.kg.batches"
  options.argument(where, 1, split, "table")
  options.argument(where, 2, code, "table")
  options.check(where, opts, { "batch", "packed", "context", "loss", "seed" })
  opts = opts or {}
  local size = options.range(where, "batch",
    options.field(where, opts, "batch", "integer", 64), 1)
  local packed = options.field(where, opts, "packed", "boolean", false)
  local loss = options.choice(where, opts, "loss", { "all", "object" }, "all")
  local seed = options.field(where, opts, "seed", "integer", 1)
  local context = options.range(where, "context",
    options.field(where, opts, "context", "integer", 2 * code.longest), code.longest - 1)
  local triplets = split:triplets()
  local rows, masks = table_of(triplets, code, loss)
  local n = #rows
  local key, epoch_at, order = core.rng(seed):fold("kg.order"), nil, nil
  local out = { per_epoch = (n + size - 1) // size, triplets = n, tokens = 0 }
  for _, mask in ipairs(masks) do
    for _, w in ipairs(mask) do out.tokens = out.tokens + w end
  end
  local ids, mask
  if not packed then
    ids, mask = core.index(rows), core.tensor(masks, { dtype = "f32" })
    rows, masks = nil, nil
  end
  local longest = code.longest
  function out.batch(_, i)
    options.integer("batch", 1, i, 1)
    local epoch = (i - 1) // out.per_epoch + 1
    local first = (i - 1) % out.per_epoch * size + 1
    if epoch_at ~= epoch then
      epoch_at, order = epoch, key:fold("epoch", epoch):permutation(n):totable()
    end
    local some = { table.unpack(order, first, math.min(n, first + size - 1)) }
    if packed then return packed_batch(rows, masks, some, context) end
    local which = core.index(some)
    local chosen = ids:index_select(which, 1)
    return { inputs = chosen[{ {}, { 1, longest - 1 } }], targets = chosen[{ {}, { 2, longest } }],
      mask = mask:index_select(which, 1) }
  end
  return out
end

-- ---- training -----------------------------------------------------------------------------------

local names = { "size", "width", "depth", "heads", "epochs", "steps", "batch", "lr", "packed",
  "context", "loss", "weight_decay", "seed", "dir", "log" }

local function model_of(where, code, opts, seed)
  local size = opts.size or "S"
  local preset = training.sizes[size]
  if not preset then
    options.bad(where, 0, "option 'size' is %s, wanted XS, S, M or L", options.describe(size))
  end
  local width = options.range(where, "width",
    options.field(where, opts, "width", "integer", preset.width), 1)
  local depth = options.range(where, "depth",
    options.field(where, opts, "depth", "integer", preset.depth), 1)
  local heads = options.range(where, "heads",
    options.field(where, opts, "heads", "integer", 4), 1)
  local lr = options.range(where, "lr", options.field(where, opts, "lr", "number", preset.lr), 0)
  return { vocab = code.vocab, depth = depth, width = width, heads = heads, seed = seed }, lr
end

-- Parameters without embedding, positions and head.
function training.count(lm)
  local n = 0
  for name, w in pairs(lm:named_parameters()) do
    if name ~= "tokens" and name ~= "head" and name ~= "positions" then n = n + w:numel() end
  end
  return n
end

--- ml.kg.train(split, codec, { size, epochs, batch, lr, packed, loss, seed, dir, ... })
--- Trains a decoder on the seen triplets with AdamW (0.9, 0.98), 2 % of warm-up and a cosine to a
--- tenth over all epochs, so that each number of epochs is a training of its own.
--- @param split split
--- @param codec codec
--- @param opts.size string ="S"; XS 2 x 32, S 2 x 64, M 3 x 128, L 4 x 256 (depth x width)
--- @param opts.width integer in place of the size's; and depth, heads (=4), lr (=3e-3, 2e-3, 1e-3,
--- 6e-4 by size)
--- @param opts.epochs integer =100 passes over the triplets, >= 1
--- @param opts.steps integer in place of epochs
--- @param opts.batch integer =64 triplets
--- @param opts.packed boolean =false several triplets to a row of opts.context ids
--- @param opts.loss string ="all" tokens, or those of the "object"
--- @param opts.weight_decay number =0.01 decoupled
--- @param opts.seed integer =1 of initial values and order
--- @param opts.dir string folder from which a second call goes on
--- @param opts.log function(record) of each update
--- @return decoder
--- @return table { state, steps, epochs, N (parameters without embedding and head), parameters
--- (all), tokens (D, of an epoch), compute = 6 N D epochs, loss (mean of the last twentieth),
--- seconds }
--- @source set-up: Hron et al. 2024 (arXiv 2408.07852); compute: Kaplan et al. 2020
function training.train(split, code, opts)
  local where = "ml.kg.train"
  options.argument(where, 1, split, "table")
  options.argument(where, 2, code, "table")
  options.check(where, opts, names)
  opts = opts or {}
  local seed = options.field(where, opts, "seed", "integer", 1)
  local config, lr = model_of(where, code, opts, seed)
  local data = training.batches(split, code, { batch = opts.batch, packed = opts.packed,
    context = opts.context, loss = opts.loss, seed = seed })
  local epochs = options.range(where, "epochs",
    options.field(where, opts, "epochs", "integer", 100), 1)
  local steps = options.range(where, "steps",
    options.field(where, opts, "steps", "integer", epochs * data.per_epoch), 1)
  config.context = math.max(code.longest, opts.packed
    and (opts.context or 2 * code.longest) or 0)
  local lm = core.transformer(config)
  local opt = core.optim.adamw(lm:parameters(), { lr = lr, betas = { 0.9, 0.98 },
    weight_decay = options.range(where, "weight_decay",
      options.field(where, opts, "weight_decay", "number", 0.01), 0), decay = "decoupled" })
  local tail, sum, count = steps - math.max(1, steps // 20), 0, 0
  local log = options.optional(where, opts, "log", "function")
  local start = core.now()
  local run = train { model = lm, opt = opt, steps = steps, clip = 1, data = data,
    dir = options.optional(where, opts, "dir", "string"),
    config = { kg = tostring(split), codec = tostring(code), lr = lr, seed = seed,
      packed = opts.packed or false, loss_on = opts.loss or "all" },
    schedule = function(t)
      return schedule.warmup_cosine(t, { warmup = math.max(1, steps // 50), total = steps,
        floor = 0.1 })
    end,
    loss = function(model, b)
      return model:loss({ inputs = b.inputs, targets = b.targets },
        { mask = b.mask, segments = b.segments })
    end, log = log }
  for _, record in ipairs(run.history) do
    if record.loss and record.step > tail then sum, count = sum + record.loss, count + 1 end
  end
  local n, all = training.count(lm), 0
  for _, w in ipairs(lm:parameters()) do all = all + w:numel() end
  local passes = steps / data.per_epoch
  return lm, { state = run.state, steps = steps, epochs = passes, N = n, parameters = all,
    tokens = data.tokens, triplets = data.triplets, compute = 6.0 * n * data.tokens * passes,
    loss = count > 0 and sum / count or 0 / 0, seconds = core.now() - start }
end

return training
