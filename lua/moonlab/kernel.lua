--- Kernels of infinitely wide networks: layers that are put together, and the covariance (NNGP) and
--- tangent (NTK) kernels of what they make.
---
--- Weights and biases are standard normal and scaled in the forward pass: z = w_std / sqrt(fan_in)
--- W x + b_std b, where the fan-in of a convolution counts its whole window.
local activation = require "moonlab.kernel.activation"
local core = require "moonlab.core"
local finite = require "moonlab.kernel.finite"
local general = require "moonlab.kernel.general"
local options = require "moonlab.options"
local progress = require "moonlab.progress"

local Act = activation.Act
local kernel = {}

-- ---- layers -------------------------------------------------------------------------------------

local Layer = { __name = "ml.kernel.layer" }
Layer.__index = Layer
local Kernel = { __name = "ml.kernel" }
Kernel.__index = Kernel

local function layer(fields) return setmetatable(fields, Layer) end
local function is_layer(x)
  local meta = getmetatable(x)
  return meta == Layer or meta == Act or meta == Kernel
end

local function pair_text(p) return p[1] == p[2] and tostring(p[1]) or p[1] .. "x" .. p[2] end

function Layer:__tostring()
  local words = { self.kind }
  if self.kind == "conv" then
    words[#words + 1] = pair_text(self.window)
    if self.stride[1] * self.stride[2] > 1 then
      words[#words + 1] = "stride " .. pair_text(self.stride)
    end
    words[#words + 1] = self.padding
  elseif self.kind == "avg_pool" then
    words[#words + 1] = pair_text(self.window)
    if self.stride[1] ~= self.window[1] or self.stride[2] ~= self.window[2] then
      words[#words + 1] = "stride " .. pair_text(self.stride)
    end
  elseif self.kind == "residual" then
    local branches = {}
    for i, branch in ipairs(self.branches) do branches[i] = tostring(branch) end
    words[#words + 1] = "{ " .. table.concat(branches, " + ") .. " }"
  end
  if self.w2 then
    words[#words + 1] = ("w_std %.4g b_std %.4g"):format(math.sqrt(self.w2), math.sqrt(self.b2))
  end
  return table.concat(words, " ")
end

function Kernel:__tostring()
  local words = {}
  for i, part in ipairs(self.layers) do words[i] = tostring(part) end
  return #words > 0 and table.concat(words, ", ") or "identity"
end

local function deviation(where, o, name, default)
  local value = options.field(where, o, name, "number", default)
  if not (value >= 0 and value < math.huge) then
    options.bad(where, 0, "option '%s' is %.14g, wanted a finite number >= 0", name, value)
  end
  return value * value
end

-- A number or a pair of integers >= 1.
local function pair(where, o, name, default)
  local value = o[name]
  if value == nil then value = default end
  if math.type(value) == "integer" then value = { value, value } end
  local ok = type(value) == "table" and #value == 2
  for i = 1, 2 do ok = ok and math.type(value[i]) == "integer" and value[i] >= 1 end
  if not ok then
    options.bad(where, 0, "option '%s' is %s, wanted an integer >= 1 or a pair", name,
      value == nil and "missing" or options.describe(value))
  end
  return { value[1], value[2] }
end

--- ml.kernel.dense{ w_std, b_std }
--- A fully connected layer of infinite width.
--- @param opts.w_std number =1 standard deviation of weights, times 1/sqrt(fan_in)
--- @param opts.b_std number =0 standard deviation of biases
--- @return layer for serial
--- @source Lee et al. 2018; Jacot et al. 2018
function kernel.dense(opts)
  local where = "ml.kernel.dense"
  options.check(where, opts, { "w_std", "b_std" })
  local o = opts or {}
  return layer { kind = "dense", w2 = deviation(where, o, "w_std", 1),
    b2 = deviation(where, o, "b_std", 0) }
end

--- ml.kernel.conv{ kernel, stride, padding, w_std, b_std }
--- A convolution with infinitely many channels, over images [N,H,W,C].
--- @param opts.kernel integer or {height, width}, pixels
--- @param opts.stride integer =1 or a pair, pixels
--- @param opts.padding string ="same" (zeros; an odd pixel goes behind), "valid" or "circular"
--- @param opts.w_std number =1 standard deviation of weights, times 1/sqrt(fan_in)
--- @param opts.b_std number =0 standard deviation of biases, one a channel
--- @return layer for serial
--- @source Novak et al. 2019; Arora et al. 2019
function kernel.conv(opts)
  local where = "ml.kernel.conv"
  options.required(where, opts, { "kernel", "stride", "padding", "w_std", "b_std" })
  return layer { kind = "conv", window = pair(where, opts, "kernel"),
    stride = pair(where, opts, "stride", 1),
    padding = options.choice(where, opts, "padding", { "same", "valid", "circular" }, "same"),
    w2 = deviation(where, opts, "w_std", 1), b2 = deviation(where, opts, "b_std", 0) }
end

--- ml.kernel.avg_pool{ window, stride, padding }
--- Means over windows of pixels; with "same" padding the divisor stays the whole window.
--- @param opts.window integer or {height, width}, pixels
--- @param opts.stride integer =window or a pair, pixels
--- @param opts.padding string ="valid" or "same"
--- @return layer for serial
--- @source Novak et al. 2019
function kernel.avg_pool(opts)
  local where = "ml.kernel.avg_pool"
  if math.type(opts) == "integer" then opts = { window = opts } end
  options.required(where, opts, { "window", "stride", "padding" }, 1)
  local o = { window = opts.window or opts[1], stride = opts.stride, padding = opts.padding }
  local window = pair(where, o, "window")
  return layer { kind = "avg_pool", window = window, stride = pair(where, o, "stride", window),
    padding = options.choice(where, o, "padding", { "same", "valid" }, "valid") }
end

local function plain(kind)
  return function(opts)
    options.check("ml.kernel." .. kind, opts, {})
    return layer { kind = kind }
  end
end

--- ml.kernel.gap()
--- The mean over all pixels: global average pooling.
--- @return layer for serial
--- @source Novak et al. 2019
function kernel.gap(opts) return plain("gap")(opts) end

--- ml.kernel.flatten()
--- All pixels become features. Without pooling before it only pairs of equal pixels are computed.
--- @return layer for serial
--- @source Novak et al. 2019
function kernel.flatten(opts) return plain("flatten")(opts) end

--- ml.kernel.layer_norm()
--- Layer norm over channels: both kernels are divided by sqrt(v v').
--- @return layer for serial
--- @source Novak et al. 2020 (arXiv 1912.02803)
function kernel.layer_norm(opts) return plain("layer_norm")(opts) end

--- ml.kernel.identity()
--- What comes in goes out.
--- @return layer for serial
--- @source -
function kernel.identity(opts) return plain("identity")(opts) end

--- ml.kernel.act(name, opts)
--- An activation. By name: identity relu leaky_relu{slope} abs abrelu{a,b} step sign
--- rectified_monomial{degree} monomial{degree} polynomial{coefficients} hermite{degree} erf{a,b,c}
--- phi gelu sigmoid_like sigmoid tanh softplus silu elu{a} sin{a,b,c} cos{a,b,c} rbf{gamma}
--- exp{a,b,c} gaussian{a,b,c} gabor exp_normalized{gamma}; a multiplies the function, b its
--- argument, c is the phase of sin and cos and is added to the others. tanh, sigmoid, softplus,
--- silu and elu have no closed form and go through series and quadrature, to 1e-9. Or a function
--- tensor -> tensor made of ml's operations.
--- @param name string or function(x), or nil with opts.dual
--- @param opts.degree integer =64 of the Hermite series of a function, 0 to 200
--- @param opts.breaks table where a function has kinks or jumps besides 0
--- @param opts.method string ="hermite" (a truncated series for every norm) or "quadrature"
--- @param opts.dual function(c, a, b) -> kappa, kappa_dot of f64 tensors of one shape
--- @param opts.name string for messages
--- @return layer for serial, with the method dual
--- @source Cho & Saul 2009; Daniely et al. 2016; Han et al. 2022 (arXiv 2209.04121), Table 1
function kernel.act(name, opts) return activation.new("ml.kernel.act", name, opts) end

--- ml.kernel.hermite(act, { degree, breaks })
--- The same activation by its Hermite series up to a degree, whose coefficients belong to each
--- point's own norm: kappa = sum of alpha_k(sqrt a) alpha_k(sqrt b) rho^k.
--- @param act layer of ml.kernel.act, a name, or a function(x)
--- @param opts.degree integer =16 0 to 200
--- @param opts.breaks table where it has kinks or jumps besides 0
--- @return layer for serial, with the methods dual and coefficients
--- @source Han et al. 2022 (arXiv 2209.04121), Theorem 2
function kernel.hermite(act, opts)
  local where = "ml.kernel.hermite"
  options.check(where, opts, { "degree", "breaks" })
  local degree = options.field(where, opts or {}, "degree", "integer", 16)
  options.range(where, "degree", degree, 0, 200)
  local made = activation.new(where, act)
  if not made.f then
    options.bad(where, 1, "activation '%s' is known by its dual only, not as a function", made.name)
  end
  return activation.truncated(made, degree, opts and opts.breaks)
end

local function check_layers(where, list)
  options.argument(where, 1, list, "table")
  for key, part in pairs(list) do
    if math.type(key) ~= "integer" then
      options.bad(where, 1, "the key %s in a list of layers", options.describe(key))
    end
    if not is_layer(part) then
      local what = type(part) == "function" and "a function that was not called"
        or options.describe(part)
      options.bad(where, 1, "layer %d is %s, wanted what ml.kernel.dense{...} and its like return",
        key, what)
    end
  end
  return list
end

--- ml.kernel.residual{ branch, other }
--- The sum of two independent branches; without the other one, of the branch and its input.
--- @param branches table one or two layers (serial makes one of several)
--- @return layer for serial
--- @source Novak et al. 2020 (arXiv 1912.02803)
function kernel.residual(branches)
  local where = "ml.kernel.residual"
  check_layers(where, branches)
  if #branches < 1 or #branches > 2 then
    options.bad(where, 1, "%d branches, wanted one or two; ml.kernel.serial makes one of several "
      .. "layers", #branches)
  end
  return layer { kind = "residual", branches = { branches[1], branches[2] } }
end

--- ml.kernel.serial{ layer, layer, ... }
--- Layers one after the other: a kernel, and a layer for another serial.
--- @param layers table of what the functions of ml.kernel return
--- @return kernel with the methods nngp, ntk, both, finite
--- @source Novak et al. 2020 (arXiv 1912.02803)
function kernel.serial(layers)
  check_layers("ml.kernel.serial", layers)
  return setmetatable({ layers = { table.unpack(layers) } }, Kernel)
end

-- The operations that core and the general recursion run, numbered as the user counts layers.
local function flatten_into(ops, part, number)
  if getmetatable(part) == Kernel then
    for i, inner in ipairs(part.layers) do flatten_into(ops, inner, number or i) end
  elseif getmetatable(part) == Act then
    ops[#ops + 1] = { kind = "act", act = part, layer = number,
      dual = part.spec or { kind = "gelu" } }
    ops.general = ops.general or part.method ~= "closed"
  elseif part.kind == "residual" then
    ops[#ops + 1] = { kind = "push", layer = number }
    flatten_into(ops, part.branches[1], number)
    ops[#ops + 1] = { kind = "swap", layer = number }
    if part.branches[2] then flatten_into(ops, part.branches[2], number) end
    ops[#ops + 1] = { kind = "add", layer = number }
  elseif part.kind ~= "identity" then
    local op = { layer = number }
    for name, value in pairs(part) do op[name] = value end
    ops[#ops + 1] = op
  end
  return ops
end

-- What core takes: the same without what it does not know.
local function for_core(ops)
  local list = {}
  for i, op in ipairs(ops) do
    list[i] = { kind = op.kind, layer = op.layer, w2 = op.w2, b2 = op.b2, window = op.window,
      stride = op.stride, padding = op.padding, dual = op.dual }
  end
  return list
end

-- ---- evaluation ---------------------------------------------------------------------------------

local function check_points(where, i, X, like)
  if not core.is_tensor(X) or X:is_released() then
    options.bad(where, i, "%s, wanted points [n,d] or images [n,H,W,C]", options.describe(X))
  end
  local dtype, shape = X:dtype(), X:shape()
  if (dtype ~= "f64" and dtype ~= "f32") or (#shape ~= 2 and #shape ~= 4) or shape[1] < 1 then
    options.bad(where, i, "%s, wanted f64 or f32 points [n,d] or images [n,H,W,C]",
      options.describe(X))
  end
  if like then
    local same = dtype == like:dtype() and #shape == #like:shape()
    for a = 2, #shape do same = same and shape[a] == like:size(a) end
    if not same then
      options.bad(where, i, "X is %s and X2 %s, wanted one dtype and points of one shape",
        options.describe(like), options.describe(X))
    end
  end
  return X:detach()
end

local function gigabytes(bytes)
  return bytes >= 1e9 and ("%.3g GB"):format(bytes / 1e9) or ("%.3g MB"):format(bytes / 1e6)
end

local function refuse_what_cannot_fit(where, bytes, n, m)
  local memory = core.memory()
  local left = memory.limit - memory.live
  if bytes > left then
    options.raise("%s: kernels of %d x %d points need %s and %s are left; take fewer points at a "
      .. "time (X2), { diagonal = true }, f32, or features in their place: ml.sketch.features",
      where, n, m, gigabytes(bytes), gigabytes(left))
  end
end


-- Rows of the fast path, with progress for what takes long.
local function fused(r)
  local x <close> = core.kernel.points(r.X, r.core_ops)
  if r.diagonal then return core.kernel.diagonal(x) end
  local y <close> = r.X2 and core.kernel.points(r.X2, r.core_ops) or x
  local n, m = r.X:size(1), (r.X2 or r.X):size(1)
  local function matrix() return core.kernel.matrix(n, m, r.X:dtype()) end
  local K, T = r.nngp and matrix() or nil, r.ntk and matrix() or nil
  local seconds = r.seconds
  local images = #r.X:shape() == 4
  local step = math.max(1, math.floor(n * 0.5 / math.max(seconds, 0.5)))
  if not images then step = (step + 255) // 256 * 256 end
  local bar <close> = progress.bar(n, ("kernel, %d x %d, %s"):format(n, m, gigabytes(r.bytes)),
    { quiet = seconds < 3 })
  for first = 1, n, step do
    local count = math.min(step, n - first + 1)
    core.kernel.rows(x, y, { K = K, T = T, first = first, count = count })
    bar:update(first + count - 1)
  end
  return K, T
end

local BLOCK_ENTRIES = 1 << 21 -- of a matrix of the general recursion

local function by_tensors(r)
  local ops, dtype = r.ops, r.X:dtype()
  local function checked(v, what)
    if v:isfinite():all():item() == 0 then
      options.raise("%s: the kernel of a point with itself (%s) is not finite", r.where, what)
    end
  end
  local k, t, left = general.self(ops, r.X)
  checked(k, "X")
  if r.diagonal then return k:to(dtype), t:to(dtype) end
  local n, m = r.X:size(1), (r.X2 or r.X):size(1)
  local right = left
  if r.X2 then
    local k2, _, found = general.self(ops, r.X2)
    checked(k2, "X2")
    right = found
  end
  local shape = r.X:shape()
  local places = #shape == 4 and shape[2] * shape[3] or 1
  local step = math.max(1, BLOCK_ENTRIES // (m * places * places))
  local symmetric = not r.X2 and step >= n
  local Ks, Ts = {}, {}
  for first = 1, n, step do
    local rows = { { first, math.min(first + step - 1, n) } }
    local some = {}
    for i, v in ipairs(left) do some[i] = v[rows] end
    Ks[#Ks + 1], Ts[#Ts + 1] = core.scope(general.pairs, ops, r.X[rows], some,
      not symmetric and (r.X2 or r.X) or nil, right)
  end
  local K, T = core.concat(Ks, 1), core.concat(Ts, 1)
  if not r.X2 then -- the diagonal exactly, and both triangles alike
    local eye = core.eye(n, { dtype = "f64" })
    local function mend(M, d)
      M = M:tril()
      return M + M:transpose() - M * eye * 2 + eye * d:reshape { n, 1 }
    end
    K, T = mend(K, k), mend(T, t)
  end
  return K:to(dtype), T:to(dtype)
end

local function request(self, where, X, X2, opts, nngp, ntk)
  if type(X2) == "table" and opts == nil then X2, opts = nil, X2 end
  options.check(where, opts, { "diagonal" })
  local r = { where = where, nngp = nngp, ntk = ntk,
    diagonal = options.field(where, opts or {}, "diagonal", "boolean", false) }
  r.X = check_points(where, 1, X)
  if X2 ~= nil and not rawequal(X, X2) then r.X2 = check_points(where, 2, X2, r.X) end
  if r.diagonal and X2 ~= nil then
    options.bad(where, 2, "diagonal is of X with itself: leave X2 out")
  end
  r.ops = flatten_into({}, self)
  r.core_ops = for_core(r.ops)
  local table_bytes, thread_bytes
  table_bytes, thread_bytes, r.flops = core.kernel.estimate(r.X, r.core_ops)
  local n, m = r.X:size(1), (r.X2 or r.X):size(1)
  local size = r.X:dtype() == "f64" and 8 or 4
  local matrices = r.diagonal and 0
    or (r.ops.general and 8 * 8 or size * ((nngp and 1 or 0) + (ntk and 1 or 0)))
  local bytes = table_bytes * (1 + (r.X2 and m / n or 0)) + thread_bytes * core.threads()
    + n * m * matrices
  if r.ops.general and not r.diagonal then bytes = bytes + math.min(n * m, BLOCK_ENTRIES) * 128 end
  r.bytes = bytes
  local entries = r.diagonal and n or (X2 == nil or rawequal(X, X2)) and n * (n + 1) / 2 or n * m
  -- measured: 2e10 rough operations a second and core; series and plain tensors are far slower
  r.seconds = entries * r.flops / ((r.ops.general and 3e8 or 2e10) * core.threads())
  return r
end

local function evaluate(r)
  refuse_what_cannot_fit(r.where, r.bytes, r.X:size(1), (r.X2 or r.X):size(1))
  return core.scope(r.ops.general and by_tensors or fused, r)
end

--- kernel:nngp(X, X2, { diagonal })
--- The covariance of the network's outputs over its random weights.
--- @param X tensor [n,d] or [n,H,W,C], f64 or f32
--- @param X2 tensor [m,...] like X; absent: of X with itself, at half the cost
--- @param opts.diagonal boolean =false of each point with itself only
--- @return tensor [n,m], or [n] with diagonal, of X's dtype; raises when it cannot fit into memory,
--- when a layer does not fit to its input, and when variances leave the range of numbers
--- @source Lee et al. 2018; Novak et al. 2019
function Kernel:nngp(X, X2, opts)
  return (evaluate(request(self, "nngp", X, X2, opts, true, false)))
end

--- kernel:ntk(X, X2, { diagonal })
--- The neural tangent kernel: the inner product of the gradients of one output over all weights
--- and biases. For a network of several outputs it is this matrix times the identity.
--- @param X tensor [n,d] or [n,H,W,C], f64 or f32
--- @param X2 tensor [m,...] like X; absent: of X with itself, at half the cost
--- @param opts.diagonal boolean =false of each point with itself only
--- @return tensor [n,m], or [n] with diagonal, of X's dtype; raises as nngp
--- @source Jacot et al. 2018; Arora et al. 2019
function Kernel:ntk(X, X2, opts)
  local _, T = evaluate(request(self, "ntk", X, X2, opts, false, true))
  return T
end

--- kernel:both(X, X2, { diagonal })
--- NNGP and NTK at the cost of the second.
--- @param X tensor [n,d] or [n,H,W,C], f64 or f32
--- @param X2 tensor [m,...] like X; absent: of X with itself, at half the cost
--- @param opts.diagonal boolean =false of each point with itself only
--- @return tensor nngp [n,m], or [n] with diagonal
--- @return tensor ntk [n,m], or [n] with diagonal; raises as nngp
--- @source Jacot et al. 2018; Arora et al. 2019
function Kernel:both(X, X2, opts)
  return evaluate(request(self, "both", X, X2, opts, true, true))
end

--- kernel:estimate(X, X2, { diagonal })
--- What `both` would need, from the shapes alone; the layers are checked against X.
--- @param X tensor [n,d] or [n,H,W,C], f64 or f32
--- @param X2 tensor [m,...] like X; absent: of X with itself
--- @param opts.diagonal boolean =false of each point with itself only
--- @return table bytes (results, tables and scratch) and seconds (rough, of a machine like that of
--- the benchmarks in the README)
--- @source -
function Kernel:estimate(X, X2, opts)
  local r = request(self, "estimate", X, X2, opts, true, true)
  return { bytes = math.ceil(r.bytes), seconds = r.seconds }
end

--- kernel:finite{ inputs, width, dense_width, outputs, seed, dtype }
--- A network of finite width with the same layers and parameterization, its weights and biases
--- standard normal.
--- @param opts.inputs integer features of a vector, or {H, W, C} of an image
--- @param opts.width integer =512 of every dense layer but the last, and channels of every conv
--- @param opts.dense_width integer =width of dense layers but the last, where it differs
--- @param opts.outputs integer =1 of the last dense layer
--- @param opts.seed integer =1 of every draw
--- @param opts.dtype string ="f64"
--- @return module of ml.nn
--- @source Jacot et al. 2018, Section 2
function Kernel:finite(opts) return finite.network(self, flatten_into({}, self), opts) end

--- ml.kernel.empirical(net, X, X2)
--- The tangent kernel of a network as it is: inner products of the gradients of its outputs over
--- all parameters, averaged over the outputs.
--- @param net module or function with parameters X -> [n] or [n,c]
--- @param X tensor [n,...]
--- @param X2 tensor [m,...] like X; absent: of X with itself
--- @return tensor [n,m] of the network's dtype; raises when the gradients cannot fit into memory
--- @source Jacot et al. 2018, Equation 4
function kernel.empirical(net, X, X2) return finite.empirical(net, X, X2) end

kernel.methods = { kernel = Kernel, activation = Act }
require "moonlab.methods"("ml.kernel", Kernel)
require "moonlab.methods"("ml.kernel.activation", Act)
return kernel
