--- Parameterizations: how initial scale, multiplier, learning rate and epsilon of each tensor
--- depend on the width of the model, as a table.
local core = require "moonlab.core"
local exponents = require "moonlab.parameterization.exponents"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"
local types = require "moonlab.parameterization.types"

local where = "ml.parameterization"

-- ---- the table ----------------------------------------------------------------------------------

local Table = {}
Table.__index = Table
Table.__name = "ml.parameterization"

local function short(x) return ("%.4g"):format(x) end

--- parameterization:groups()
--- The parameters as groups for an optimizer: one group for each set of equal scales.
--- @return list of { params = { name -> parameter }, lr_scale =, eps_scale =, decay_scale = }
--- @source -
function Table:groups()
  local groups, known = {}, {}
  for _, row in ipairs(self.rows) do
    local key = ("%.17g %.17g %.17g"):format(row.lr, row.eps, row.decay)
    local group = known[key]
    if not group then
      group = { params = {}, lr_scale = row.lr, eps_scale = row.eps, decay_scale = row.decay }
      groups[#groups + 1], known[key] = group, group
    end
    group.params[row.name] = self.parameters[row.name]
  end
  return groups
end

--- parameterization:row(name)
--- The row of one parameter.
--- @param name string
--- @return table { name, type, shape, multiplier, std, lr, eps, decay }: lr, eps and decay are
--- factors of the optimizer's own; nil where there is no such parameter
--- @source -
function Table:row(name) return self.by_name[name] end

-- Blocks whose rows are equal print as one: "blocks.*.attn.wq".
local function printed_rows(rows)
  local out, known = {}, {}
  for _, row in ipairs(rows) do
    local name = row.name:gsub("^blocks%.%d+%.", "blocks.*.")
    local line = { name, row.type, table.concat(row.shape, "x"), short(row.multiplier),
      row.std and short(row.std) or "as it is", short(row.lr), short(row.eps), short(row.decay) }
    local text = table.concat(line, " ")
    if not known[text] then
      known[text] = true
      out[#out + 1] = line
    end
  end
  return out
end

function Table:__tostring()
  local lines = { { "tensor", "type", "shape", "multiplier", "init std", "lr x", "eps x",
    "decay x" } }
  for _, line in ipairs(printed_rows(self.rows)) do lines[#lines + 1] = line end
  local widths = {}
  for _, line in ipairs(lines) do
    for i, word in ipairs(line) do widths[i] = math.max(widths[i] or 0, #word) end
  end
  local text = { ("%s for %s, alignment %s, width %d, base width %d (ratio %s), epsilon %s"):format(
    self.name, self.optimizer, self.align, self.width, self.base_width, short(self.ratio),
    self.epsilon) }
  for _, line in ipairs(lines) do
    local words = {}
    for i, word in ipairs(line) do
      words[i] = i <= 2 and word .. (" "):rep(widths[i] - #word)
        or (" "):rep(widths[i] - #word) .. word
    end
    text[#text + 1] = "  " .. table.concat(words, "  ")
  end
  for _, note in ipairs(self.notes) do text[#text + 1] = "  " .. note end
  return table.concat(text, "\n")
end

options.methods(Table, "parameterization:")
require "moonlab.methods"("ml.parameterization", Table)

-- ---- what is asked for --------------------------------------------------------------------------

-- The three forms of Wortsman et al. 2023, section 3.2.4: the initial values of the paper, vectors
-- left alone.
local function muparam(level)
  local none = { a = 0, b = 0, c = 0, g = 0 }
  return {
    a = { embedding = 0, hidden = 0, readout = 0 },
    b = { embedding = 1 / 2, hidden = 1 / 2, readout = level >= 2 and 1 or 1 / 2 },
    c = { embedding = 0, hidden = 1, readout = 1 },
    vector = none, epsilon = "constant", align = "full", zero_query = level == 3,
    inverse_scale = level == 3,
  }
end

local names = { "standard", "ntk", "mup", "mean_field", "muparam_simple", "muparam_intermediate",
  "muparam_full" }

local function custom_exponents(given, field, needed)
  local value = given[field]
  if value == nil and not needed then return nil end
  if type(value) ~= "table" then
    options.bad(where, 0, "option 'name': field '%s' is %s, wanted { embedding =, hidden =, "
      .. "readout = }", field, options.describe(value))
  end
  options.check(where, value, exponents.types)
  for _, kind in ipairs(exponents.types) do
    local x = value[kind]
    if type(x) ~= "number" or not (x > -math.huge and x < math.huge) then
      options.bad(where, 0, "option 'name': %s.%s is %s, wanted a number", field, kind,
        options.describe(x))
    end
  end
  return value
end

-- a, b, c, g by type, and what else the named one brings.
local function plan_of(o)
  local plan
  if type(o.name) == "table" then
    options.check(where, o.name, { "a", "b", "c", "g" })
    plan = { title = "custom", a = custom_exponents(o.name, "a", true),
      b = custom_exponents(o.name, "b", true), c = custom_exponents(o.name, "c"),
      g = custom_exponents(o.name, "g") }
  else
    local name = options.choice(where, o, "name", names, "standard")
    local level = ({ muparam_simple = 1, muparam_intermediate = 2, muparam_full = 3 })[name]
    if level then
      plan = muparam(level)
      if o.align ~= nil then
        options.bad(where, 0, "option 'align' with %s, whose learning rates are fixed", name)
      end
    else
      plan = exponents.scales(name)
    end
    plan.title = name
  end
  plan.g = plan.g or exponents.gradients(plan.a, plan.b)
  plan.family = exponents.family(o.optimizer)
  if plan.c then
    if o.align ~= nil then
      options.bad(where, 0, "option 'align' beside c: the learning rates are given already")
    end
    plan.align_title = plan.align or "given"
  else
    plan.align_title = type(o.align) == "table" and "custom" or o.align or "full"
    plan.c = exponents.learning_rates(plan.a, plan.b, plan.g,
      exponents.alignment(where, o.align), plan.family)
  end
  return plan
end

local function positive(o, name)
  local value = o[name]
  if value ~= nil and not (type(value) == "number" and value > 0 and value < math.huge) then
    options.bad(where, 0, "option '%s' is %s, wanted a number > 0", name, options.describe(value))
  end
  return value
end

local function gammas_of(o)
  local gamma = options.field(where, o, "gamma", "table", {})
  options.check(where, gamma, exponents.types)
  local found = {}
  for _, kind in ipairs(exponents.types) do found[kind] = positive(gamma, kind) or 1 end
  return found
end

local override_names = { "multiplier", "std", "lr", "eps", "decay" }

local function overrides_of(o, parameters)
  local given = options.field(where, o, "overrides", "table", {})
  for pattern, values in sorted(given) do
    if type(pattern) ~= "string" then
      options.bad(where, 0, "option 'overrides' has the key %s, wanted a part of a name",
        options.describe(pattern))
    end
    options.argument(where .. ": overrides", 0, values, "table")
    options.check(where, values, override_names)
    local known = false
    for name in pairs(parameters) do known = known or name:find(pattern, 1, true) ~= nil end
    if not known then
      options.bad(where, 0, "option 'overrides': no parameter's name has %q in it", pattern)
    end
    for name, value in sorted(values) do
      if type(value) ~= "number" or not (value >= 0 and value < math.huge) then
        options.bad(where, 0, "option 'overrides': %s of %q is %s, wanted a factor >= 0", name,
          pattern, options.describe(value))
      end
    end
  end
  return given
end

-- ---- the model ----------------------------------------------------------------------------------

local function has_method(x, name)
  if type(x) ~= "table" and type(x) ~= "userdata" then return false end
  local ok, f = pcall(function() return x[name] end)
  return ok and type(f) == "function"
end

local function is_decoder(model)
  return type(model) == "userdata" and getmetatable(model).__name == "ml.transformer"
end

-- A decoder must stand as its seed drew it.
local function check_untrained(model, config, parameters)
  if config then
    local fresh = core.transformer(config):named_parameters()
    for name, p in sorted(parameters) do
      if not p:equal(fresh[name]) then
        options.bad(where, 1, "'%s' is not what the decoder's seed draws: the decoder has been "
          .. "trained or loaded, or has a parameterization already", name)
      end
      if model:multiplier(name) ~= 1 then
        options.bad(where, 1, "'%s' has the multiplier %.4g already", name, model:multiplier(name))
      end
    end
  end
  for name, p in sorted(parameters) do
    if p:grad() then
      options.bad(where, 1, "'%s' has a gradient: a parameterization is set before training", name)
    end
  end
end

local function width_of(o, config)
  if config then
    if o.width ~= nil and o.width ~= config.width then
      options.bad(where, 0, "option 'width' is %s, the decoder's is %d", options.describe(o.width),
        config.width)
    end
    return config.width
  end
  return options.range(where, "width", options.field(where, o, "width", "integer"), 1)
end

-- The std that stands is proportional to n^-power: that of a decoder as its init says, that of a
-- network as ml.nn draws it, 1/sqrt(fan_in).
local function standing_power(config, kind, shape)
  if #shape < 2 or (config and config.init == "normal") then return 0 end
  return (config or kind ~= "embedding") and 1 / 2 or 0
end

local function std_of(config, name, shape)
  if not config then return nil end
  if #shape < 2 then return name:find "gain$" and 1 or 0 end
  if config.init == "normal" then
    local out = name:find "%.wo$" or name:find "%.w2$"
    return 0.02 / (out and math.sqrt(2 * config.depth) or 1)
  end
  if config.init == "zeros_out" and (name:find "%.wo$" or name:find "%.w2$") then return 0 end
  return 1 / math.sqrt((name == "tokens" or name == "positions") and config.width or shape[1])
end

local function rows_of(plan, o, model)
  local rows = {}
  local r, per_layer = model.ratio, o.epsilon ~= "constant"
  for name, p in sorted(model.parameters) do
    local kind, shape = model.types[name], p:shape()
    local vector = #shape < 2 and plan.vector
    local function of(letter) return vector and vector[letter] or plan[letter][kind] end
    local override = types.override(model.overrides, name) or {}
    local gamma = vector and 1 or model.gamma[kind]
    local scale = r ^ (standing_power(model.config, kind, shape) - of "b")
    if plan.zero_query and name:find "%.wq$" then scale = 0 end
    scale = scale * (override.std or 1)
    local std = std_of(model.config, name, shape)
    rows[#rows + 1] = { name = name, type = kind, shape = shape,
      multiplier = r ^ -of "a" * (override.multiplier or 1), scale = scale,
      std = std and std * scale,
      lr = gamma * r ^ -of "c" * (override.lr or 1),
      eps = (per_layer and r ^ -of "g" or 1) * (override.eps or 1),
      decay = override.decay or 1 }
  end
  return rows
end

local function notes_of(plan, o, model)
  local notes = {}
  if model.config and model.config.tied then
    notes[1] = ("the tied head's logits x %s"):format(short(model.tied_multiplier))
  end
  if o.optimizer == "adam" or o.optimizer == "adamw" then
    notes[#notes + 1] = "lr x, eps x, decay x: factors of the optimizer's own; independent decay "
      .. "does not follow lr x, decoupled decay does"
  end
  if plan.zero_query then notes[#notes + 1] = "queries start at zero" end
  return notes
end

local function apply(model, rows)
  for _, row in ipairs(rows) do
    if row.multiplier ~= 1 and not model.set_multiplier then
      options.bad(where, 1, "'%s' wants the multiplier %.4g, and the model has no method "
        .. "multiplier(name, value)", row.name, row.multiplier)
    end
  end
  core.no_grad(function()
    for _, row in ipairs(rows) do
      local p = model.parameters[row.name]
      if row.scale ~= 1 then p:copy_(p:detach() * row.scale) end
      if row.multiplier ~= 1 then model.set_multiplier(row.name, row.multiplier) end
    end
  end)
  if model.tied_multiplier then model.set_multiplier("head", model.tied_multiplier) end
end

local function base_width_of(o, width)
  local base = options.range(where, "base_width",
    options.field(where, o, "base_width", "integer"), 1)
  if width % base ~= 0 and base % width ~= 0 then
    options.bad(where, 0, "option 'base_width' is %d, the width is %d: neither divides the other",
      base, width)
  end
  return base
end

local option_names = { "name", "align", "optimizer", "base_width", "width", "gamma", "types",
  "overrides", "epsilon" }

--- ml.parameterization(model, { name =, align =, optimizer =, base_width =, gamma =, types =,
---   overrides =, epsilon =, width = })
--- Sets how initial scale, multiplier, learning rate and epsilon of each tensor depend on the width
--- n, before training: with r = n / base_width a tensor of a type gets the multiplier r^-a, the
--- initial std of the base width times r^-b, the learning rate gamma r^-c and epsilon r^-g. Nothing
--- changes at the base width, to the last bit. Redraws from the model's seed and sets multipliers,
--- which save keeps; learning rates and epsilons go to the optimizer: ml.optim.adamw(par:groups(),
--- { lr = 1e-2 }). Types: embedding (tokens, positions, gains, biases), hidden (the matrices of the
--- blocks), readout (head). Raises on a model that has been trained.
--- @param model ml.transformer or a network of ml.nn, whose hidden and readout matrices fall as
--- 1/sqrt(fan_in) by themselves (the default) and whose embeddings do not depend on the width (init
--- = 1); its values are scaled in place
--- @param opts.name string|table ="standard" standard|ntk|mup|mean_field, or muparam_simple|
--- muparam_intermediate|muparam_full, or { a =, b =, c =, g = } of { embedding =, hidden =, readout
--- = } each; c and g are solved for when absent
--- @param opts.align string|table ="full" full|none, or measured { alpha =, omega =, u = }, each a
--- number or { hidden =, readout = }: the largest stable learning rates follow
--- @param opts.optimizer string ="adamw" sgd|adam|adamw|adam_atan2|lion|adam_ps|adafactor
--- @param opts.base_width integer divides the width, or is divided by it
--- @param opts.gamma table ={ embedding = 1, hidden = 1, readout = 1 } factors of the learning rate
--- @param opts.types table part of a name -> type, where the automatic type is not wanted; needed
--- for a tied head
--- @param opts.overrides table part of a name -> { multiplier =, std =, lr =, eps =, decay = },
--- further factors
--- @param opts.epsilon string ="per_layer" per_layer: epsilon follows the gradient|constant
--- (muparam's default)
--- @param opts.width integer the width, of a network that is no decoder
--- @return parameterization prints as a table; rows, row(name), groups()
--- @source Everett et al. 2024, section 3; Yang et al. 2021; Wortsman et al. 2023, section 3.2.4
local function parameterization(_, target, opts)
  if not (has_method(target, "named_parameters")) then
    options.bad(where, 1, "%s, wanted a decoder or a network", options.describe(target))
  end
  options.argument(where, 2, opts, "table")
  options.check(where, opts, option_names)
  local o = {}
  for key, value in pairs(opts) do o[key] = value end
  o.optimizer = options.choice(where, o, "optimizer", exponents.optimizers, "adamw")
  local config = is_decoder(target) and target:config() or nil
  local parameters = target:named_parameters()
  local width = width_of(o, config)
  local base = base_width_of(o, width)
  local plan = plan_of(o)
  o.epsilon = options.choice(where, o, "epsilon", { "per_layer", "constant" },
    plan.epsilon or "per_layer")
  local model = { parameters = parameters, config = config, width = width,
    ratio = width / base, gamma = gammas_of(o), overrides = overrides_of(o, parameters),
    types = types.of(where, parameters, width, config,
      options.field(where, o, "types", "table", {})),
    set_multiplier = has_method(target, "multiplier")
      and function(name, value) target:multiplier(name, value) end or nil }
  check_untrained(target, config, parameters)
  if plan.inverse_scale and config and config.attention_scale ~= "1/d_head" then
    options.bad(where, 0, "%s has the attention scale 1/d_head: make the decoder with "
      .. "attention_scale = \"1/d_head\"", plan.title)
  end
  if config and config.tied then -- the logits as an untied readout would have them
    local kind = model.types.tokens
    model.tied_multiplier = model.ratio ^ (plan.b[kind] - plan.a.readout - plan.b.readout)
  end
  local rows = rows_of(plan, o, model)
  apply(model, rows)
  local self = setmetatable({ rows = rows, by_name = {}, parameters = parameters,
    name = plan.title, align = plan.align_title, optimizer = o.optimizer, width = width,
    base_width = base, ratio = model.ratio, epsilon = o.epsilon, notes = notes_of(plan, o, model),
    exponents = { a = plan.a, b = plan.b, c = plan.c, g = plan.g } }, Table)
  for _, row in ipairs(rows) do self.by_name[row.name] = row end
  return self
end

return setmetatable({}, { __call = parameterization })
