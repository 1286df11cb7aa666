--- Modules: networks as tables of parameters with a forward pass.
local core = require "moonlab.core"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local nn = {}
for name, value in pairs(core.nn) do nn[name] = value end

-- ---- modules ------------------------------------------------------------------------------------

local Module = {}
Module.__index = Module
Module.__name = "ml.nn.Module"

local function is_module(x)
  local meta = getmetatable(x)
  return type(x) == "table" and type(meta) == "table" and meta.is_module == true
end

local function is_userdata(x, name)
  if type(x) ~= "userdata" then return false end
  local meta = getmetatable(x)
  return type(meta) == "table" and meta.__name == name
end
local function is_tensor(x) return is_userdata(x, "ml.tensor") end
-- A decoder has the methods of a module but no fields.
local function is_decoder(x) return is_userdata(x, "ml.transformer") end

-- Calls visit(kind, name, value, owner, key) for every parameter, buffer, generator and module
-- below `self`, in a fixed order.
local function walk(self, prefix, visit, seen)
  if seen[self] then return end
  seen[self] = true
  for key, value in sorted(self) do
    local name = prefix .. tostring(key)
    if is_tensor(value) then
      visit(value:is_param() and "parameter" or "buffer", name, value, self, key)
    elseif is_module(value) then
      visit("module", name, value, self, key)
      walk(value, name .. ".", visit, seen)
    elseif is_userdata(value, "ml.rng") then
      visit("rng", name, value, self, key)
    elseif is_decoder(value) then
      for inner, p in sorted(value:named_parameters()) do
        visit("parameter", name .. "." .. inner, p, value, inner)
      end
    elseif type(value) == "table" and key ~= "options" and getmetatable(value) == nil then
      walk(value, name .. ".", visit, seen)
    end
  end
end

local function collect(self, kind)
  local found, seen = {}, {}
  walk(self, "", function(what, name, value)
    if what == kind and not seen[value] then
      seen[value] = true
      found[name] = value
    end
  end, {})
  return found
end

--- net:named_parameters()
--- All parameters of a module and of the modules inside it; a shared one stands once, under its
--- first name.
--- @return table name ("1.weight") -> parameter
--- @source PyTorch's name
function Module:named_parameters() return collect(self, "parameter") end

--- net:named_buffers()
--- All tensors of a module that are not parameters.
--- @return table name -> tensor
--- @source PyTorch's name
function Module:named_buffers() return collect(self, "buffer") end

--- net:named_rngs()
--- The random generators inside a module (dropout's).
--- @return table name -> rng
--- @source -
function Module:named_rngs() return collect(self, "rng") end

--- net:parameters()
--- The parameters in the order of their names.
--- @return table list of parameters
--- @source PyTorch's name
function Module:parameters()
  local list = {}
  for _, p in sorted(self:named_parameters()) do list[#list + 1] = p end
  return list
end

--- net:training(on)
--- Switches a module and those inside it between training and evaluation (dropout is off in
--- evaluation).
--- @param on boolean absent: only asks
--- @return boolean whether it is in training
--- @source PyTorch's train() and eval()
function Module:training(on)
  if on ~= nil then
    if type(on) ~= "boolean" then
      options.bad("training", 1, "boolean expected, got %s", options.describe(on))
    end
    rawset(self, "is_training", on)
    walk(self, "", function(kind, _, module)
      if kind == "module" then rawset(module, "is_training", on) end
    end, {})
  end
  return self.is_training
end

--- net:zero_grad()
--- Fills the gradients of all parameters with zeros.
--- @source PyTorch's name
function Module:zero_grad()
  for _, p in ipairs(self:parameters()) do p:zero_grad() end
end

-- A parameter as the forward pass uses it.
local function effective(self, key)
  local multiplier = self.multipliers and self.multipliers[key]
  return multiplier and self[key] * multiplier or self[key]
end

--- net:multiplier(name, value)
--- The constant by which the forward pass multiplies a parameter of Linear, Embedding, LayerNorm or
--- RMSNorm, or of a decoder inside; kept by save.
--- @param name string as named_parameters() has it
--- @param value number absent: only asks
--- @return number
--- @source -
function Module:multiplier(name, value)
  local owner, key
  walk(self, "", function(kind, found, _, at, field)
    if kind == "parameter" and found == name then owner, key = at, field end
  end, {})
  if not owner then
    options.bad("multiplier", 1, "no parameter is called %s", options.describe(name))
  end
  if is_decoder(owner) then return owner:multiplier(key, value) end
  if value ~= nil then
    if type(value) ~= "number" or not (math.abs(value) < math.huge) then
      options.bad("multiplier", 2, "%s, wanted a finite number", options.describe(value))
    end
    if value ~= 1 and not owner.has_multipliers then
      options.bad("multiplier", 1, "'%s' belongs to %s, which has no multiplier", name,
        owner.kind or "a module of one's own")
    end
    owner.multipliers = owner.multipliers or {}
    owner.multipliers[key] = value ~= 1 and value or nil
  end
  return owner.multipliers and owner.multipliers[key] or 1
end

-- name -> multiplier of the parameters that have one.
local function multipliers_of(self)
  local found = {}
  walk(self, "", function(kind, name, _, owner, key)
    if kind ~= "parameter" then return end
    local value = is_decoder(owner) and owner:multiplier(key)
      or not is_decoder(owner) and owner.multipliers and owner.multipliers[key] or 1
    if value ~= 1 then found[name] = value end
  end, {})
  return found
end

local function read_multipliers(path, all, metadata)
  local text = metadata and metadata.multipliers
  if not text then return {} end
  local ok, found = pcall(core.json.decode, text)
  if not ok or type(found) ~= "table" then
    options.bad("load", 1, "%s: its multipliers cannot be read", path)
  end
  for name, value in sorted(found) do
    if not all[name] or type(value) ~= "number" then
      options.bad("load", 1, "%s: its multiplier of '%s' is of no use here", path, tostring(name))
    end
  end
  return found
end

--- net:save(path)
--- Writes parameters, multipliers and buffers to a safetensors file, whole or not at all.
--- @param path string
--- @source -
function Module:save(path)
  local all = self:named_parameters()
  for name, t in pairs(self:named_buffers()) do all[name] = t end
  local multipliers = multipliers_of(self)
  core.save(path, all, next(multipliers) and { metadata = {
    multipliers = core.json.encode(multipliers) } } or nil)
end

--- net:load(path)
--- Takes over parameters, multipliers and buffers from a file that save wrote; nothing changes
--- unless all of them fit.
--- @param path string
--- @return module itself, or nil and a message when there is no such file
--- @source -
function Module:load(path)
  local found, why = core.load(path) -- or the metadata
  if found == nil then return nil, why end
  if type(found) ~= "table" then
    options.bad("load", 1, "%s holds one tensor without a name", path)
  end
  local all = self:named_parameters()
  for name, t in pairs(self:named_buffers()) do all[name] = t end
  for name, t in sorted(all) do
    local f = found[name]
    if not f then
      options.bad("load", 1, "%s has no tensor '%s'", path, name)
    end
    if f:dtype() ~= t:dtype() or table.concat(f:shape(), "x") ~= table.concat(t:shape(), "x") then
      options.bad("load", 1, "%s: '%s' is %s, wanted %s", path, name, options.describe(f),
        options.describe(t))
    end
  end
  for name in sorted(found) do
    if not all[name] then
      local names = {}
      for n in pairs(all) do names[#names + 1] = n end
      local near = options.nearest(name, names)
      options.bad("load", 1, "%s has a tensor '%s' that the module lacks%s",
        path, name, near and ("; did you mean '" .. near .. "'?") or "")
    end
  end
  local multipliers = read_multipliers(path, all, why)
  for name in sorted(multipliers_of(self)) do
    if not multipliers[name] then self:multiplier(name, 1) end
  end
  for name, value in sorted(multipliers) do self:multiplier(name, value) end
  core.no_grad(function()
    for name, t in pairs(all) do t:copy_(found[name]) end
  end)
  return self
end

local function call(self, ...)
  local forward = self.forward
  if not forward then options.raise("this module has no forward function") end
  return forward(self, ...)
end

local being_described = {}

local function describe_parts(self)
  local inner = {}
  for key, value in sorted(self) do
    if is_module(value) then
      inner[#inner + 1] = ("  (%s): %s"):format(key, tostring(value):gsub("\n", "\n  "))
    end
  end
  local head = self.description and self:description() or self.kind or "Module"
  if #inner == 0 then return head end
  return head .. "{\n" .. table.concat(inner, "\n") .. "\n}"
end

-- A module that holds itself is named where it comes again.
local function describe(self)
  local kind = self.kind or "Module"
  if being_described[self] then return kind .. "{ itself }" end
  being_described[self] = true
  local ok, text = pcall(describe_parts, self)
  being_described[self] = nil
  return ok and text or kind
end

local function new_class(kind)
  local class = setmetatable({}, { __index = Module })
  local meta = { __index = class, __call = call, __tostring = describe, __name = "ml.nn." .. kind,
    is_module = true }
  class.kind = kind
  class.is_training = true
  return class, meta
end

-- Tensors in a module outlive the scope they were made in.
local function adopt(self)
  walk(self, "", function(kind, _, t) if kind == "buffer" then core.keep(t) end end, {})
  return self
end

local _, generic_meta = new_class("Module")

--- ml.nn.Module{ name = parameter | module | value, ..., forward = function(self, x) ... end }
--- A module of one's own: its parameters are the ml.param tensors and modules among its fields
--- (tables are searched too).
--- @param fields table the fields and the forward function
--- @return module called like a function
--- @source PyTorch's Module
function nn.Module(fields)
  local where = "ml.nn.Module"
  options.argument(where, 1, fields, "table")
  if type(fields.forward) ~= "function" then
    options.bad(where, 1, "field 'forward' is %s, wanted function(self, x)",
      fields.forward == nil and "missing" or options.describe(fields.forward))
  end
  local self = setmetatable({}, generic_meta)
  for key, value in pairs(fields) do self[key] = value end
  return adopt(self)
end

-- ---- initial values -----------------------------------------------------------------------------

local default_rng

--- ml.nn.seed(seed)
--- Starts anew the stream from which modules draw initial values when neither seed nor rng is given
--- (it starts at seed 1).
--- @param seed integer
--- @source torch.manual_seed
function nn.seed(seed) default_rng = core.rng(seed) end

local initializers = {}

-- Each: (rng, shape with dtype, fan_in, fan_out) -> tensor.
function initializers.lecun_normal(g, shape, fan_in)
  return g:normal(shape) * (1 / math.sqrt(fan_in))
end
function initializers.truncated_normal(g, shape, fan_in)
  return g:truncated_normal(shape) * (1 / math.sqrt(fan_in))
end
function initializers.he_normal(g, shape, fan_in) return g:normal(shape) * math.sqrt(2 / fan_in) end
function initializers.xavier_uniform(g, shape, fan_in, fan_out)
  return (g:uniform(shape) * 2 - 1) * math.sqrt(6 / (fan_in + fan_out))
end
function initializers.torch(g, shape, fan_in)
  return (g:uniform(shape) * 2 - 1) * (1 / math.sqrt(fan_in))
end
function initializers.zeros(_, shape) return core.zeros(shape) end

-- The generator of the options rng or seed, or nil.
local function generator(where, o)
  if o.rng == nil then
    return o.seed ~= nil and core.rng(options.field(where, o, "seed", "integer")) or nil
  end
  if not is_userdata(o.rng, "ml.rng") then
    options.bad(where, 0, "option 'rng' is %s, wanted a generator (ml.rng)",
      options.describe(o.rng))
  end
  return o.rng
end

local function draw(where, o, shape, fan_in, fan_out)
  local g = generator(where, o)
  if not g then
    default_rng = default_rng or core.rng(1)
    g = default_rng
  end
  local init = o.init == nil and "lecun_normal" or o.init
  if type(init) == "number" then
    return g:normal(shape) * options.range(where, "init", init, 0, math.maxinteger)
  end
  if type(init) == "function" then
    local t = init(g, shape, fan_in, fan_out)
    local wanted = ("%s [%s]"):format(shape.dtype, table.concat(shape, "x"))
    if not core.is_tensor(t) or options.describe(t) ~= wanted then
      options.bad(where, 0, "option 'init' returned %s, wanted %s", options.describe(t), wanted)
    end
    return t
  end
  local initializer = initializers[init]
  if not initializer then
    local names = {}
    for name in sorted(initializers) do names[#names + 1] = name end
    options.choice(where, { init = init }, "init", names)
  end
  return initializer(g, shape, fan_in, fan_out)
end

local function with_dtype(o, ...)
  return { dtype = o.dtype == nil and "f32" or o.dtype, ... }
end

local function size(where, o, i, what)
  local n = o[i]
  if math.type(n) ~= "integer" or n < 1 or n >= 1 << 48 then
    options.bad(where, 0, "%s is %s, wanted an integer >= 1", what, options.describe(n))
  end
  return n
end

-- The value at position 1 or of the option `name`.
local function once(where, o, name)
  if o[1] ~= nil and o[name] ~= nil then
    options.bad(where, 0, "give %s by position or by name, not both", name)
  end
  if o[1] ~= nil then return o[1] end
  return o[name]
end

local function pair(where, o, name, default)
  local value = o[name]
  if value == nil then value = default end
  if math.type(value) == "integer" then value = { value, value } end
  local ok = type(value) == "table" and #value == 2
  for i = 1, 2 do
    ok = ok and math.type(value[i]) == "integer" and value[i] >= 1 and value[i] < 1 << 31
  end
  if not ok then
    options.bad(where, 0, "option '%s' is %s, wanted an integer >= 1 or a table of two", name,
      options.describe(value))
  end
  return value
end

local function padding_of(where, o)
  return options.choice(where, o, "padding", { "same", "valid" }, "valid")
end

local init_names = { "bias", "dtype", "seed", "rng", "init" }
local function names_with(...)
  local names = { ... }
  for _, name in ipairs(init_names) do names[#names + 1] = name end
  return names
end

-- ---- layers -------------------------------------------------------------------------------------

local Linear, linear_meta = new_class("Linear")
Linear.has_multipliers = true
function Linear:forward(x)
  return core.nn.linear(x, effective(self, "weight"), { bias = effective(self, "bias") })
end
function Linear:description()
  return ("Linear{ %d, %d%s }"):format(self.weight:size(1), self.weight:size(2),
    self.bias and "" or ", bias = false")
end

--- ml.nn.Linear{ fan_in, fan_out, bias =, init =, dtype =, seed | rng = }
--- y = x W + b over the last axis.
--- @param opts[1] integer fan_in
--- @param opts[2] integer fan_out
--- @param opts.bias boolean =true b [fan_out], zeros at first
--- @param opts.init string ="lecun_normal" (std 1/sqrt(fan_in)), truncated_normal, he_normal,
--- xavier_uniform, torch, zeros; or a std; or function(rng, shape, fan_in, fan_out)
--- @param opts.dtype string ="f32"
--- @return module with weight [fan_in, fan_out]
--- @source -
function nn.Linear(o)
  local where = "ml.nn.Linear"
  options.required(where, o, names_with(), 2)
  local fan_in, fan_out = size(where, o, 1, "fan_in"), size(where, o, 2, "fan_out")
  local self = setmetatable({}, linear_meta)
  self.weight = core.param(draw(where, o, with_dtype(o, fan_in, fan_out), fan_in, fan_out))
  if options.field(where, o, "bias", "boolean", true) then
    self.bias = core.param(core.zeros(with_dtype(o, fan_out)))
  end
  return self
end

local Conv2d, conv_meta = new_class("Conv2d")
function Conv2d:forward(x)
  return core.nn.conv2d(x, self.weight, { bias = self.bias, stride = self.options.stride,
    padding = self.options.padding })
end
function Conv2d:description()
  local w = self.weight:shape()
  return ("Conv2d{ %d, %d, kernel = %dx%d, padding = %q }"):format(w[3], w[4], w[1], w[2],
    self.options.padding)
end

--- ml.nn.Conv2d{ in_channels, out_channels, kernel =, stride =, padding =, bias =, init =, dtype =,
---   seed | rng = }
--- Convolution of images [N, H, W, C].
--- @param opts[1] integer input channels
--- @param opts[2] integer output channels
--- @param opts.kernel integer or {height, width}
--- @param opts.stride integer =1 or a pair
--- @param opts.padding string ="valid" or "same"
--- @return module with weight [kh, kw, in, out]; fan_in is kh kw in
--- @source LeCun et al. 1989
function nn.Conv2d(o)
  local where = "ml.nn.Conv2d"
  options.required(where, o, names_with("kernel", "stride", "padding"), 2)
  local c_in = size(where, o, 1, "the number of input channels")
  local c_out = size(where, o, 2, "the number of output channels")
  local kernel, stride = pair(where, o, "kernel"), pair(where, o, "stride", 1)
  local padding = padding_of(where, o)
  local self = setmetatable({ options = { stride = stride, padding = padding } }, conv_meta)
  local area = kernel[1] * kernel[2]
  self.weight = core.param(draw(where, o, with_dtype(o, kernel[1], kernel[2], c_in, c_out),
    area * c_in, area * c_out))
  if options.field(where, o, "bias", "boolean", true) then
    self.bias = core.param(core.zeros(with_dtype(o, c_out)))
  end
  return self
end

local Local2d, local_meta = new_class("LocallyConnected2d")
function Local2d:forward(x)
  return core.nn.locally_connected2d(x, self.weight,
    { bias = self.bias, kernel = self.options.kernel, stride = self.options.stride,
      padding = self.options.padding })
end
function Local2d:description()
  local w, k = self.weight:shape(), self.options.kernel
  return ("LocallyConnected2d{ %dx%d positions, %d inputs, %d outputs, kernel = %dx%d }"):format(
    w[1], w[2], w[3] // (k[1] * k[2]), w[4], k[1], k[2])
end

--- ml.nn.LocallyConnected2d{ in_channels, out_channels, input = {H, W}, kernel =, stride =,
---   padding =, bias =, init =, dtype =, seed | rng = }
--- A convolution whose weights are not shared over positions.
--- @param opts.input table {height, width} of the images it will see
--- @param opts.kernel integer or {height, width}
--- @return module with weight [H', W', kh kw in, out]
--- @source LeCun 1989
function nn.LocallyConnected2d(o)
  local where = "ml.nn.LocallyConnected2d"
  options.required(where, o, names_with("input", "kernel", "stride", "padding"), 2)
  local c_in = size(where, o, 1, "the number of input channels")
  local c_out = size(where, o, 2, "the number of output channels")
  local input, kernel = pair(where, o, "input"), pair(where, o, "kernel")
  local stride, padding = pair(where, o, "stride", 1), padding_of(where, o)
  local out = {}
  for i = 1, 2 do
    out[i] = padding == "same" and (input[i] + stride[i] - 1) // stride[i]
      or (input[i] - kernel[i]) // stride[i] + 1
    if out[i] < 1 then
      options.bad(where, 0, "kernel %d does not fit into %d pixels", kernel[i], input[i])
    end
  end
  local fan_in = kernel[1] * kernel[2] * c_in
  local self = setmetatable({ options = { kernel = kernel, stride = stride, padding = padding } },
    local_meta)
  self.weight = core.param(draw(where, o, with_dtype(o, out[1], out[2], fan_in, c_out), fan_in,
    c_out))
  if options.field(where, o, "bias", "boolean", true) then
    self.bias = core.param(core.zeros(with_dtype(o, out[1], out[2], c_out)))
  end
  return self
end

local Pool, pool_meta = new_class("AvgPool2d")
function Pool:forward(x) return core.nn.avg_pool2d(x, self.options) end

--- ml.nn.AvgPool2d{ kernel =, stride =, padding = }
--- Means over windows of images [N, H, W, C].
--- @param opts.kernel integer or {height, width}
--- @param opts.stride integer =kernel or a pair
--- @param opts.padding string ="valid" or "same" (means over the pixels that exist)
--- @return module
--- @source -
function nn.AvgPool2d(o)
  local where = "ml.nn.AvgPool2d"
  options.required(where, o, { "kernel", "stride", "padding" }, 1)
  local kernel = pair(where, { kernel = once(where, o, "kernel") }, "kernel")
  return setmetatable({ options = { kernel = kernel, stride = pair(where, o, "stride", kernel),
    padding = padding_of(where, o) } }, pool_meta)
end

local Global, global_meta = new_class("GlobalAvgPool")
function Global.forward(_, x) return core.nn.global_avg_pool(x) end

--- ml.nn.GlobalAvgPool()
--- Means over all positions: [N, H, W, C] -> [N, C].
--- @return module
--- @source Lin et al. 2014
function nn.GlobalAvgPool() return setmetatable({}, global_meta) end

local Flatten, flatten_meta = new_class("Flatten")
function Flatten.forward(_, x)
  if not core.is_tensor(x) then
    options.bad("ml.nn.Flatten", 1, "tensor expected, got %s", options.describe(x))
  end
  local n, width = x:size(1), 1
  for i = 2, x:rank() do width = width * x:size(i) end
  return x:reshape { n, width }
end

--- ml.nn.Flatten()
--- [N, ...] -> [N, product].
--- @return module
--- @source -
function nn.Flatten() return setmetatable({}, flatten_meta) end

local LayerNorm, layer_norm_meta = new_class("LayerNorm")
LayerNorm.has_multipliers = true
function LayerNorm:forward(x)
  return core.nn.layer_norm(x, { gain = effective(self, "gain"), shift = effective(self, "shift"),
    eps = self.options.eps })
end

--- ml.nn.LayerNorm{ width, shift =, eps =, dtype = }
--- Layer normalisation over the last axis.
--- @param opts[1] integer width
--- @param opts.shift boolean =true
--- @param opts.eps number =1e-6 inside the root
--- @return module with gain [width], shift [width]
--- @source Ba et al. 2016
function nn.LayerNorm(o)
  local where = "ml.nn.LayerNorm"
  options.required(where, o, { "shift", "eps", "dtype" }, 1)
  local width = size(where, o, 1, "the width")
  local eps = options.range(where, "eps", options.field(where, o, "eps", "number", 1e-6), 0)
  local self = setmetatable({ options = { eps = eps } }, layer_norm_meta)
  self.gain = core.param(core.ones(with_dtype(o, width)))
  if options.field(where, o, "shift", "boolean", true) then
    self.shift = core.param(core.zeros(with_dtype(o, width)))
  end
  return self
end

local RMSNorm, rms_norm_meta = new_class("RMSNorm")
RMSNorm.has_multipliers = true
function RMSNorm:forward(x)
  return core.nn.rms_norm(x, { gain = effective(self, "gain"), eps = self.options.eps })
end

--- ml.nn.RMSNorm{ width, eps =, dtype = }
--- Division by the root mean square over the last axis.
--- @param opts[1] integer width
--- @param opts.eps number =1e-6 inside the root
--- @return module with gain [width]
--- @source Zhang & Sennrich 2019
function nn.RMSNorm(o)
  local where = "ml.nn.RMSNorm"
  options.required(where, o, { "eps", "dtype" }, 1)
  local width = size(where, o, 1, "the width")
  local eps = options.range(where, "eps", options.field(where, o, "eps", "number", 1e-6), 0)
  local self = setmetatable({ options = { eps = eps } }, rms_norm_meta)
  self.gain = core.param(core.ones(with_dtype(o, width)))
  return self
end

local Embedding, embedding_meta = new_class("Embedding")
Embedding.has_multipliers = true
function Embedding:forward(ids) return core.nn.embedding(effective(self, "weight"), ids) end

--- ml.nn.Embedding{ vocab, width, init =, dtype =, seed | rng = }
--- Rows of a table by id.
--- @param opts[1] integer vocab
--- @param opts[2] integer width
--- @param opts.init string =std 1/sqrt(width), or as in ml.nn.Linear
--- @return module with weight [vocab, width]; ids index [...] -> [..., width]
--- @source -
function nn.Embedding(o)
  local where = "ml.nn.Embedding"
  options.required(where, o, { "dtype", "seed", "rng", "init" }, 2)
  local vocab, width = size(where, o, 1, "the vocabulary"), size(where, o, 2, "the width")
  local self = setmetatable({}, embedding_meta)
  self.weight = core.param(draw(where, o, with_dtype(o, vocab, width), width, vocab))
  return self
end

local Dropout, dropout_meta = new_class("Dropout")
function Dropout:forward(x)
  if not self.is_training or self.options.p == 0 then return x end
  return core.nn.dropout(x, self.options.p, { rng = self.rng })
end
function Dropout:description() return ("Dropout{ p = %g }"):format(self.options.p) end

--- ml.nn.Dropout{ p, seed | rng = }
--- In training each element is zero with probability p, else divided by 1 - p.
--- @param opts[1] number p in [0, 1)
--- @param opts.seed integer =1 of its own stream
--- @return module
--- @source Srivastava et al. 2014
function nn.Dropout(o)
  local where = "ml.nn.Dropout"
  options.required(where, o, { "p", "seed", "rng" }, 1)
  local p = once(where, o, "p")
  if type(p) ~= "number" or not (p >= 0 and p < 1) then
    options.bad(where, 0, "p is %s, wanted 0 <= p < 1", options.describe(p))
  end
  return setmetatable({ options = { p = p }, rng = generator(where, o) or core.rng(1) },
    dropout_meta)
end

local Sequential, sequential_meta = new_class("Sequential")
function Sequential:forward(x)
  for i = 1, #self do x = self[i](x) end
  return x
end

--- ml.nn.Sequential{ module | function, ... }
--- Modules (or plain functions) one after another.
--- @param modules table list
--- @return module; net[i] is the i-th
--- @source -
function nn.Sequential(list)
  local where = "ml.nn.Sequential"
  options.argument(where, 1, list, "table")
  for key in sorted(list) do
    if math.type(key) ~= "integer" then
      options.bad(where, 1, "unknown option '%s'", tostring(key))
    elseif key < 1 or key > #list then
      options.bad(where, 1, "entry %d stands alone, wanted a list without gaps", key)
    end
  end
  local self = setmetatable({}, sequential_meta)
  for i = 1, #list do
    local item = list[i]
    if not is_module(item) and type(item) ~= "function" then
      options.bad(where, 1, "entry %d is %s, wanted a module or a function", i,
        options.describe(item))
    end
    self[i] = item
  end
  return self
end

-- Activations as modules: nn.GELU() and so on.
local activations = {
  GELU = "gelu_tanh", GELUErf = "gelu_erf", SiLU = "silu", ReLU = "relu", ReLU2 = "relu2",
  Softplus = "softplus", Tanh = "tanh", Sigmoid = "sigmoid", Sin = "sin", Erf = "erf",
}
for kind, name in pairs(activations) do
  local class, meta = new_class(kind)
  function class.forward(_, x) return core.nn.activation(x, name) end
  --- ml.nn.GELU() GELUErf() SiLU() ReLU() ReLU2() Softplus() Tanh() Sigmoid() Sin() Erf()
  --- An activation as a module: element by element, without parameters (GELU is the tanh form).
  --- @return module
  --- @source Hendrycks & Gimpel 2016 (GELU, SiLU); So et al. 2021 (squared ReLU)
  nn[kind] = function() return setmetatable({}, meta) end
end
nn.activations = activations

--- ml.nn.is_module(x)
--- @return boolean whether x is a module
--- @source -
function nn.is_module(x) return is_module(x) end

nn.methods = Module
return nn
