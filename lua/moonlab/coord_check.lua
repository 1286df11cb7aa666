--- The coordinate check: how activations, their changes and gradients depend on the width, beside
--- what a parameterization promises.
local core = require "moonlab.core"
local exponents = require "moonlab.parameterization.exponents"
local fit = require "moonlab.fit"
local options = require "moonlab.options"
local parameterization = require "moonlab.parameterization"

local where = "ml.coord_check"

local function rms(t)
  t = t:detach():to "f64"
  return math.sqrt((t * t):mean():item())
end

-- ---- the two models -----------------------------------------------------------------------------

-- Embedding, two hidden layers and a readout of 64 classes; z_l = W_l phi(z_(l-1)), phi = sqrt(2)
-- relu. Every id once as input, (5x + 3) mod 64 as target.
local mlp = { layers = { "embedding", "hidden 1", "hidden 2", "logits" },
  watched = { embedding = "1.weight", ["hidden 1"] = "2.weight", ["hidden 2"] = "3.weight",
    logits = "4.weight" },
  types = { ["1."] = "embedding", ["2."] = "hidden", ["3."] = "hidden", ["4."] = "readout" } }

function mlp.make(width, seed, dtype)
  local nn = require "moonlab.nn"
  local g = core.rng(seed):fold("coord_check", width)
  local function linear(fan_in, fan_out)
    return nn.Linear { fan_in, fan_out, bias = false, rng = g, dtype = dtype }
  end
  return nn.Sequential { nn.Embedding { 64, width, init = 1, rng = g, dtype = dtype },
    linear(width, width), linear(width, width), linear(width, 64) }
end

function mlp.batch()
  local x, y = {}, {}
  for i = 0, 63 do x[i + 1], y[i + 1] = i + 1, (5 * i + 3) % 64 + 1 end
  return { x = core.index(x), y = core.index(y) }
end

function mlp.activations(net, batch)
  local z = net[1](batch.x)
  local found = { embedding = z }
  for l = 2, 4 do
    z = net[l](core.nn.activation(z, "relu") * math.sqrt(2))
    found[mlp.layers[l]] = z
  end
  return found
end

function mlp.loss(net, batch)
  return (core.nn.cross_entropy(mlp.activations(net, batch).logits, batch.y))
end

local decoder = { layers = { "embedding", "block 1", "block 2", "final", "logits" },
  watched = { embedding = "tokens", ["block 1"] = "blocks.1.mlp.w1",
    ["block 2"] = "blocks.2.mlp.w2", logits = "head" } }

function decoder.make(width, seed, dtype)
  return core.transformer { vocab = 64, context = 32, depth = 2, width = width,
    heads = math.max(1, width // 16), seed = seed, dtype = dtype }
end

function decoder.batch()
  return { tokens = require("moonlab.proxies.source").synthetic { train = 8, valid = 1 }.train }
end

function decoder.activations(lm, batch)
  local inputs = batch.tokens[{ {}, { 1, -2 } }]
  local h = lm:hidden(inputs)
  return { embedding = h[0], ["block 1"] = h[1], ["block 2"] = h[2], final = h.final,
    logits = lm:logits(inputs) }
end

function decoder.loss(lm, batch) return (lm:loss(batch.tokens)) end

local models = { mlp = mlp, decoder = decoder }

-- ---- one width ----------------------------------------------------------------------------------

local function groups_of(o, kind, net, width)
  if o.name == "global" then return { { params = net:named_parameters() } } end
  -- the bare powers of the width, n^-a and n^-b; the learning rate is lr at the first width
  local gamma = {}
  for name, c in pairs(o.c) do gamma[name] = o.widths[1] ^ c end
  return parameterization(net, { name = o.name, align = o.align, optimizer = o.optimizer,
    base_width = 1, width = width, types = kind.types, gamma = gamma }):groups()
end

local function optimizer(o, groups)
  if o.optimizer == "sgd" then return core.optim.sgd(groups, { lr = o.lr }) end
  local settings = { lr = o.lr, betas = { 0.9, 0.95 } }
  if o.optimizer ~= "adam_atan2" then settings.eps = 1e-30 end
  return core.optim[o.optimizer](groups, settings)
end

-- Everything that a width is asked for: initial activations, gradients, changes.
local function look(o, kind, width, seed)
  local net = kind.make(width, seed, "f32")
  local opt = optimizer(o, groups_of(o, kind, net, width))
  local batch, found = kind.batch(), {}
  local parameters = net:named_parameters()
  local function now()
    local a = core.no_grad(function() return kind.activations(net, batch) end)
    for _, t in pairs(a) do core.keep(t) end
    return a
  end
  local before = now()
  for name, t in pairs(before) do found["initial " .. name] = rms(t) end
  for step = 1, o.steps do
    opt:zero_grad()
    core.scope(function() kind.loss(net, batch):backward() end)
    if step == 1 then
      for layer, name in pairs(kind.watched) do
        found["gradient " .. layer] = rms(parameters[name]:grad())
      end
    end
    opt:step()
  end
  for name, t in pairs(now()) do found["change " .. name] = rms(t - before[name]) end
  return found
end

-- ---- what is expected ---------------------------------------------------------------------------

-- Learning rate exponents by type.
local function rates_of(o)
  if o.name == "global" then return { embedding = 0, hidden = 0, readout = 0 } end
  local s = exponents.scales(o.name)
  return exponents.learning_rates(s.a, s.b, exponents.gradients(s.a, s.b),
    exponents.alignment(where, o.align), exponents.family(o.optimizer))
end

-- Slopes of gradients and logits at the start, and of changes: 0 where the learning rates are the
-- largest stable ones for aligned updates; where they are larger, a bound, by how much.
local function expected_of(o, kind)
  local s = exponents.scales(o.name == "global" and "standard" or o.name)
  local a, b, family = s.a, s.b, exponents.family(o.optimizer)
  local g = exponents.gradients(a, b)
  local function excess(t, alpha)
    local d = o.c[t] + (family == "sgd" and g[t] or family == "adafactor" and b[t] or 0)
    return alpha - a[t] - d
  end
  local stable = o.name ~= "global" and o.align == "full"
  local found, bounds = { ["change embedding"] = 0 }, {}
  for _, layer in ipairs(kind.layers) do
    if layer:find "^hidden" or layer:find "^block" then
      found["change " .. layer] = stable and 0 or excess("hidden", 1)
      bounds["change " .. layer] = not stable
    end
  end
  found["initial logits"] = 1 / 2 - a.readout - b.readout
  local types = { embedding = "embedding", logits = "readout" }
  for layer in pairs(kind.watched) do
    found["gradient " .. layer] = -g[types[layer] or "hidden"]
  end
  return found, bounds
end

-- ---- the call -----------------------------------------------------------------------------------

local Check = {}
Check.__index = Check

function Check:__tostring()
  local lines = { ("coordinate check of %s, %s, alignment %s, %s, %d steps, widths %s"):format(
    self.model, self.name, self.align, self.optimizer, self.steps, table.concat(self.widths, " ")),
    ("  %-22s %8s %8s %9s  %s"):format("RMS of", "slope", "+-", "expected", "") }
  for _, row in ipairs(self.rows) do
    lines[#lines + 1] = ("  %-22s %8.3f %8.3f %9s  %s"):format(row.what, row.slope, row.stderr,
      row.expected and ("%s%.2f"):format(row.bound and "<= " or "", row.expected) or "-",
      row.verdict)
  end
  return table.concat(lines, "\n")
end

local names = { "model", "name", "align", "optimizer", "widths", "steps", "seeds", "lr",
  "tolerance" }

--- ml.coord_check{ name =, align =, optimizer =, model =, widths =, steps =, seeds =, lr =,
---   tolerance = }
--- Trains a small network at several widths for a few steps and fits the slopes of log RMS over log
--- width: of activations at the start, gradients at the first step, and changes of activations.
--- Beside them stands what the parameterization promises; where its learning rates are larger than
--- aligned updates allow, a bound. The change of the logits is informative only. Multipliers and
--- initial values are the bare powers n^-a and n^-b of the width.
--- @param opts.name string ="standard" standard|ntk|mup|mean_field, or global: standard with one
--- learning rate for all
--- @param opts.align string ="full" full|none
--- @param opts.optimizer string ="adam" adam|adamw|adam_atan2|adam_ps|sgd
--- @param opts.model string ="mlp" mlp: embedding of 64 ids, two hidden layers, 64 classes|decoder:
--- two blocks
--- @param opts.widths list ={ 64, 128, 256, 512, 1024 } ascending, multiples of the first
--- @param opts.steps integer =4 updates
--- @param opts.seeds list ={ 1, 2 } slopes are those of the mean of log RMS
--- @param opts.lr number =0.002 at the first width
--- @param opts.tolerance number =0.15 largest difference of the slopes
--- @return table rows = list of { what, values = one for each width, slope, stderr, expected, bound
--- = bool, verdict = "as expected"|"differs"|"-" }, slope[what]; prints itself
--- @source Yang et al. 2021, appendix D.1; Everett et al. 2024, section 3
local function coord_check(_, opts)
  options.required(where, opts, names)
  local o = {}
  for key, value in pairs(opts) do o[key] = value end
  o.model = options.choice(where, o, "model", { "mlp", "decoder" }, "mlp")
  o.name = options.choice(where, o, "name", { "standard", "ntk", "mup", "mean_field", "global" },
    "standard")
  o.align = options.choice(where, o, "align", { "full", "none" }, "full")
  o.optimizer = options.choice(where, o, "optimizer",
    { "adam", "adamw", "adam_atan2", "adam_ps", "sgd" }, "adam")
  o.widths = options.field(where, o, "widths", "table", { 64, 128, 256, 512, 1024 })
  o.steps = options.range(where, "steps", options.field(where, o, "steps", "integer", 4), 1)
  o.lr = options.field(where, o, "lr", "number", 0.002)
  o.tolerance = options.field(where, o, "tolerance", "number", 0.15)
  local seeds = options.field(where, o, "seeds", "table", { 1, 2 })
  if #o.widths < 2 or #seeds < 1 then
    options.bad(where, 0, "%d widths and %d seeds, wanted at least 2 and 1", #o.widths, #seeds)
  end
  for i, width in ipairs(o.widths) do
    if math.type(width) ~= "integer" or width < 16 or width % o.widths[1] ~= 0
      or (i > 1 and width <= o.widths[i - 1]) then
      options.bad(where, 0, "widths[%d] is %s, wanted ascending multiples of the first, at least "
        .. "16", i, options.describe(width))
    end
  end
  local kind, logs = models[o.model], {}
  o.c = rates_of(o)
  for i, width in ipairs(o.widths) do
    for _, seed in ipairs(seeds) do
      local found = core.scope(look, o, kind, width, seed)
      for what, value in pairs(found) do
        logs[what] = logs[what] or {}
        logs[what][i] = (logs[what][i] or 0) + math.log(value) / #seeds
      end
    end
  end
  local expected, bounds = expected_of(o, kind)
  local rows, slopes = {}, {}
  for what, values in require("moonlab.sorted")(logs) do
    local y, finite = {}, true
    for i, v in ipairs(values) do
      y[i] = math.exp(v)
      finite = finite and y[i] > 0 and y[i] < math.huge
    end
    local slope, stderr = 0 / 0, 0 / 0
    if finite then slope, stderr = fit.power_law(o.widths, y) end
    local wanted = expected[what]
    local off = wanted and (bounds[what] and slope - wanted or math.abs(slope - wanted))
    rows[#rows + 1] = { what = what, values = y, slope = slope, stderr = stderr, expected = wanted,
      bound = bounds[what] or nil,
      verdict = not off and "-" or off <= o.tolerance and "as expected" or "differs" }
    slopes[what] = slope
  end
  return setmetatable({ rows = rows, slope = slopes, model = o.model, name = o.name,
    align = o.align, optimizer = o.optimizer, steps = o.steps, widths = o.widths }, Check)
end

return setmetatable({}, { __call = coord_check })
