--- Networks of finite width with the layers of a kernel, and tangent kernels of any network.
local activation = require "moonlab.kernel.activation"
local core = require "moonlab.core"
local options = require "moonlab.options"

local finite = {}

local function nn() return require "moonlab.nn" end

local function draw(net, key, name, shape)
  local p = core.param(key:fold(name, #net.weights + #net.biases):normal(shape))
  local list = net[name]
  list[#list + 1] = p
  return p
end

-- One layer as a function of the signal, and the signal's size after it.
local makers = {}

function makers.dense(op, net, key, at, o, last)
  local out = last and o.outputs or o.dense_width
  local W = draw(net, key, "weights", { at.features, out, dtype = o.dtype })
  local scale = math.sqrt(op.w2 / at.features)
  local b = op.b2 > 0 and draw(net, key, "biases", { out, dtype = o.dtype })
  local b_std = math.sqrt(op.b2)
  at.features = out
  return function(x)
    local y = x:matmul(W) * scale
    return b and y + b * b_std or y
  end
end

function makers.conv(op, net, key, at, o)
  local where = "finite"
  if op.padding == "circular" then
    options.bad(where, 0, "layer %d (conv): ml.nn has no circular padding", op.layer)
  end
  local area = op.window[1] * op.window[2]
  local W = draw(net, key, "weights",
    { op.window[1], op.window[2], at.features, o.width, dtype = o.dtype })
  local scale = math.sqrt(op.w2 / (area * at.features))
  local b = op.b2 > 0 and draw(net, key, "biases", { o.width, dtype = o.dtype })
  local b_std = math.sqrt(op.b2)
  local same = op.padding == "same"
  for a = 1, 2 do
    at.sides[a] = same and (at.sides[a] + op.stride[a] - 1) // op.stride[a]
      or (at.sides[a] - op.window[a]) // op.stride[a] + 1
  end
  at.features = o.width
  return function(x)
    local y = core.nn.conv2d(x, W, { stride = op.stride, padding = op.padding }) * scale
    return b and y + b * b_std or y
  end
end

function makers.act(op) return function(x) return activation.value(op.act, x) end end

function makers.avg_pool(op, _, _, at)
  if op.padding ~= "valid" then
    options.bad("finite", 0, "layer %d (avg_pool): the means of ml.nn at padded edges are others",
      op.layer)
  end
  for a = 1, 2 do at.sides[a] = (at.sides[a] - op.window[a]) // op.stride[a] + 1 end
  return function(x) return core.nn.avg_pool2d(x, { kernel = op.window, stride = op.stride }) end
end

function makers.gap(_, _, _, at)
  at.sides = { 1, 1 }
  return function(x) return core.nn.global_avg_pool(x) end
end

function makers.flatten(_, _, _, at)
  at.features = at.features * at.sides[1] * at.sides[2]
  at.sides = { 1, 1 }
  return function(x) return x:reshape { x:size(1), -1 } end
end

function makers.layer_norm()
  return function(x)
    local centred = x - x:mean { -1, keepdims = true }
    return centred / (centred * centred):mean { -1, keepdims = true }:sqrt()
  end
end

local function read(opts)
  local where = "finite"
  options.required(where, opts, { "inputs", "width", "dense_width", "outputs", "seed", "dtype" })
  local o = {
    width = options.field(where, opts, "width", "integer", 512),
    outputs = options.field(where, opts, "outputs", "integer", 1),
    seed = options.field(where, opts, "seed", "integer", 1),
    dtype = options.choice(where, opts, "dtype", { "f64", "f32" }, "f64"),
  }
  options.range(where, "width", o.width, 1)
  o.dense_width = options.range(where, "dense_width",
    options.field(where, opts, "dense_width", "integer", o.width), 1)
  options.range(where, "outputs", o.outputs, 1)
  local inputs = opts.inputs
  local ok = math.type(inputs) == "integer" and inputs >= 1
  if type(inputs) == "table" then
    ok = #inputs == 3
    for i = 1, 3 do ok = ok and math.type(inputs[i]) == "integer" and inputs[i] >= 1 end
  end
  if not ok then
    options.bad(where, 0, "option 'inputs' is %s, wanted an integer >= 1 or {H, W, C}",
      inputs == nil and "missing" or options.describe(inputs))
  end
  return o, inputs
end

function finite.network(kernel, ops, opts)
  local o, inputs = read(opts)
  local image = type(inputs) == "table"
  -- the layers fit, or the kernel's own message says which does not
  local size = image and { 1, inputs[1], inputs[2], inputs[3] } or { 1, inputs }
  kernel:nngp(core.ones(size), { diagonal = true })
  local at = { features = image and inputs[3] or inputs,
    sides = image and { inputs[1], inputs[2] } or { 1, 1 } }
  local last
  for i, op in ipairs(ops) do
    if op.kind == "dense" then last = i end
  end
  local net = { weights = {}, biases = {}, description_of = tostring(kernel) }
  local key, steps = core.rng(o.seed), {}
  local saved = {}
  for i, op in ipairs(ops) do
    if op.kind == "push" then
      saved[#saved + 1] = { features = at.features, sides = { at.sides[1], at.sides[2] } }
    elseif op.kind == "swap" then
      at, saved[#saved] = saved[#saved], at
    elseif op.kind == "add" then
      saved[#saved] = nil
    end
    local maker = makers[op.kind]
    steps[i] = { kind = op.kind, run = maker and maker(op, net, key, at, o, i == last) }
  end
  function net.forward(_, x)
    local stack = {}
    for _, step in ipairs(steps) do
      if step.kind == "push" then
        stack[#stack + 1] = x
      elseif step.kind == "swap" then
        x, stack[#stack] = stack[#stack], x
      elseif step.kind == "add" then
        x = x + table.remove(stack)
      else
        x = step.run(x)
      end
    end
    return x
  end
  return nn().Module(net)
end

-- ---- empirical tangent kernels ------------------------------------------------------------------

local function parameters_of(where, net)
  local ok, list = pcall(function() return net:parameters() end)
  if not ok or type(list) ~= "table" or #list == 0 then
    options.bad(where, 1, "%s, wanted a network with parameters", options.describe(net))
  end
  return list
end

-- [n * c, parameters]: the gradient of every output of every point.
local function jacobian(where, net, parameters, X)
  local y = net(X)
  if not core.is_tensor(y) or #y:shape() > 2 or y:size(1) ~= X:size(1) or not y:on_tape() then
    options.bad(where, 1, "the network returned %s for %s, wanted [n] or [n,c] that depends on its "
      .. "parameters", options.describe(y), options.describe(X))
  end
  local n = y:size(1)
  local c = #y:shape() == 2 and y:size(2) or 1
  local count, size = 0, y:dtype() == "f64" and 8 or 4
  for _, p in ipairs(parameters) do count = count + p:numel() end
  local memory = core.memory()
  if n * c * count * size > memory.limit - memory.live then
    options.raise("%s: the gradients of %d outputs over %d parameters need %.3g GB and %.3g GB are "
      .. "left; take fewer points at a time", where, n * c, count, n * c * count * size / 1e9,
      (memory.limit - memory.live) / 1e9)
  end
  local flat = y:reshape { n * c }
  local rows = {}
  for i = 1, n * c do
    for _, p in ipairs(parameters) do
      if p:grad() then p:zero_grad() end
    end
    flat[{ i }]:backward(nil, { retain = true })
    rows[i] = core.scope(function()
      local parts = {}
      for k, p in ipairs(parameters) do
        parts[k] = (p:grad() or core.zeros_like(p)):reshape { p:numel() }
      end
      return core.concat(parts, 1)
    end)
  end
  return core.stack(rows, 1), c
end

function finite.empirical(net, X, X2)
  local where = "ml.kernel.empirical"
  local parameters = parameters_of(where, net)
  for i, points in ipairs { X or false, X2 } do
    if not core.is_tensor(points) or points:size(1) < 1 then
      options.bad(where, i + 1, "%s, wanted a tensor of points", options.describe(points))
    end
  end
  local kept = {}
  for i, p in ipairs(parameters) do kept[i] = p:grad() and p:grad():clone() or false end
  local T = core.scope(function()
    local J, c = jacobian(where, net, parameters, X)
    local J2 = X2 and jacobian(where, net, parameters, X2) or J
    local n, m = X:size(1), (X2 or X):size(1)
    local all = J:matmul(J2:transpose()):reshape { n, c, m, c }
    local sum
    for k = 1, c do
      local part = all[{ {}, k, {}, k }]
      sum = sum and sum + part or part
    end
    return sum / c
  end)
  for i, p in ipairs(parameters) do
    if kept[i] then
      p:set_grad(kept[i])
    elseif p:grad() then
      p:set_grad(nil)
    end
  end
  return T
end

return finite
