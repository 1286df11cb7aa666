--- Modules: networks as tables of parameters with a forward pass.
local core = require "moonlab.core"
local initial = require "moonlab.nn.initial"
local module = require "moonlab.nn.module"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local adopt, effective, is_module = module.adopt, module.effective, module.is_module
local new_class, draw, generator = module.new_class, initial.draw, initial.generator

local nn = {}
for name, value in pairs(core.nn) do nn[name] = value end
nn.seed = initial.seed

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

-- ---- what constructors ask for ------------------------------------------------------------------

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
--- Whether x is a module, of ml.nn or made by ml.nn.Module.
--- @param x any
--- @return boolean
--- @source -
function nn.is_module(x) return is_module(x) end

nn.methods = module.methods
return nn
