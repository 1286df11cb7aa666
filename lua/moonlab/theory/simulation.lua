--- Kernel ridge regression on random points of spheres, for every number of samples at once.
local core = require "moonlab.core"
local options = require "moonlab.options"
local solve = require "moonlab.solve"

local simulation = {}

local DIRECTIONS = 1000 -- of the random target of each degree

-- n inputs of p points each, [p][n,dim] on the unit sphere.
local function inputs(key, n, dim, p)
  local list = {}
  for u = 1, p do
    local x = key:fold("patch", u):normal { n, dim }
    list[u] = x / (x * x):sum { 2, keepdims = true }:sqrt()
  end
  return list
end

-- Values of the target's degrees at inputs: [degree] -> [n].
local function degrees_at(target, x)
  local parts = {}
  for k in ipairs(target.power) do parts[k] = core.zeros { x[1]:size(1) } end
  for _, points in ipairs(x) do
    local n = points:size(1)
    for first = 1, n, 2000 do -- the polynomials of a block at a time
      local rows = { { first, math.min(first + 1999, n) } }
      local values = core.scope(function()
        local t = points[rows]:matmul(target.directions)
        local P = target.polynomials(t, target.dim, #target.power)
        local list = {}
        for k, power in ipairs(target.power) do
          list[k] = power > 0 and P[k]:matmul(target.weights[k]) or core.zeros { t:size(1) }
        end
        return core.stack(list, 1)
      end)
      for k in ipairs(target.power) do
        local at = parts[k][rows]
        at:add_(values[k])
      end
    end
  end
  return parts
end

-- A target whose degrees have the wanted powers on average over fresh points.
local function make_target(key, o, polynomials)
  local directions = key:fold("directions", 0):normal { DIRECTIONS, o.dim }
  directions = directions / (directions * directions):sum { 2, keepdims = true }:sqrt()
  local target = { power = o.target, dim = o.dim, polynomials = polynomials,
    directions = directions:transpose():contiguous(), weights = {} }
  for k in ipairs(o.target) do
    target.weights[k] = key:fold("weights", k):normal { DIRECTIONS }
  end
  local parts = degrees_at(target, inputs(key:fold("scale", 0), 10000, o.dim, 1))
  for k, power in ipairs(o.target) do
    if power > 0 then
      local square = (parts[k] * parts[k]):mean():item()
      target.weights[k] = target.weights[k] * math.sqrt(power / square / o.patches)
    end
  end
  return target
end

local function kernel_matrix(o, x, y)
  local K
  for u = 1, o.patches do
    local t = x[u]:matmul(y[u]:transpose()):clamp(-1, 1)
    local part = o.kernel(t)
    if not core.is_tensor(part) or part:numel() ~= t:numel() then
      options.bad(o.where, 0, "the kernel returned %s for %s, wanted a tensor like it",
        options.describe(part), options.describe(t))
    end
    K = K and K + part or part
  end
  return K / o.patches
end

local function sum_of(parts)
  local y
  for _, part in ipairs(parts) do y = y and y + part or part end
  return y
end

-- Predictions at the test points for every number of samples, by one factorization: the leading
-- block of a Cholesky factor is the factor of the leading block.
local function predictions(o, key, target, test)
  local most = o.samples[#o.samples]
  local x = inputs(key:fold("train", 0), most, o.dim, o.patches)
  local y = sum_of(degrees_at(target, x))
  if o.noise > 0 then y = y + key:fold("noise", 0):normal { most } * math.sqrt(o.noise) end
  local K = kernel_matrix(o, x, x)
  local one = o.kernel(core.ones { 1 })[1]
  local eye = core.eye(most, { dtype = "f64" })
  K = K * (eye * -1 + 1) + eye * one
  local L = solve.cholesky(K, { ridge = o.ridge })
  local K2 = kernel_matrix(o, test, x)
  local rows = {}
  for i, m in ipairs(o.samples) do
    rows[i] = core.scope(function()
      local block = { { 1, m }, { 1, m } }
      local factor = L[block]:contiguous()
      local alpha = solve.triangular(factor, solve.triangular(factor, y[{ { 1, m } }]),
        { transposed = true })
      return K2[{ {}, { 1, m } }]:matmul(alpha)
    end)
  end
  return core.stack(rows, 1)
end

local function read(where, opts)
  options.required(where, opts, { "kernel", "dim", "target", "noise", "ridge", "samples", "draws",
    "test", "patches", "seed" })
  local o = { where = where, kernel = opts.kernel,
    dim = options.range(where, "dim", options.field(where, opts, "dim", "integer"), 3),
    target = options.field(where, opts, "target", "table"),
    noise = options.range(where, "noise", options.field(where, opts, "noise", "number", 0), 0),
    ridge = options.range(where, "ridge", options.field(where, opts, "ridge", "number", 0), 0),
    samples = options.field(where, opts, "samples", "table"),
    draws = options.range(where, "draws", options.field(where, opts, "draws", "integer", 10), 1),
    test = options.range(where, "test", options.field(where, opts, "test", "integer", 2000), 2),
    patches = options.range(where, "patches", options.field(where, opts, "patches", "integer", 1),
      1),
    seed = options.field(where, opts, "seed", "integer", 1) }
  if type(o.kernel) ~= "function" then
    options.bad(where, 0, "option 'kernel' is %s, wanted function(t)", options.describe(o.kernel))
  end
  if #o.target == 0 then options.bad(where, 0, "option 'target' is empty") end
  for k, power in ipairs(o.target) do
    if type(power) ~= "number" or not (power >= 0 and power < math.huge) then
      options.bad(where, 0, "the target's power at degree %d is %s, wanted a number >= 0", k,
        options.describe(power))
    end
  end
  for i, m in ipairs(o.samples) do
    if not (math.type(m) and math.tointeger(m) and m >= 1 and m > (o.samples[i - 1] or 0)) then
      options.bad(where, 0, "option 'samples': value %d is %s, wanted ascending integers >= 1", i,
        options.describe(m))
    end
  end
  if #o.samples == 0 then options.bad(where, 0, "option 'samples' is empty") end
  local most = o.samples[#o.samples]
  local bytes = 8 * (6.0 * most * most + 3.0 * most * o.test + 2000 * DIRECTIONS * (#o.target + 3))
  local memory = core.memory()
  if bytes > memory.limit - memory.live then
    options.raise("%s: %d samples need %.3g GB, and %.3g GB are left", where, most, bytes / 1e9,
      (memory.limit - memory.live) / 1e9)
  end
  return o
end

function simulation.run(where, opts, polynomials)
  local o = read(where, opts)
  local key = core.rng(o.seed)
  return core.scope(function()
    local target = make_target(key:fold("target", 0), o, polynomials)
    local test = inputs(key:fold("test", 0), o.test, o.dim, o.patches)
    local parts = degrees_at(target, test)
    local clean = sum_of(parts)
    local n = #o.samples
    local sum, square = core.zeros { n, o.test }, core.zeros { n, o.test }
    local errors, errors2 = core.zeros { n }, core.zeros { n }
    for draw = 1, o.draws do
      core.scope(function()
        local f = predictions(o, key:fold("draw", draw), target, test)
        local e = ((f - clean) ^ 2):mean(2)
        sum:add_(f)
        square:add_(f * f)
        errors:add_(e)
        errors2:add_(e * e)
      end)
    end
    local mean, out = sum / o.draws, { stderr = {}, bias = {}, variance = {}, learned = {} }
    out.test = (errors / o.draws):totable()
    local spread = (errors2 / o.draws - (errors / o.draws) ^ 2):maximum(0)
    local scatter = (square / o.draws - mean * mean):maximum(0):mean(2)
    local off = ((mean - clean) ^ 2):mean(2)
    for i = 1, n do
      if o.draws > 1 then
        out.stderr[i] = math.sqrt(spread[i] / (o.draws - 1))
        out.variance[i] = scatter[i] * o.draws / (o.draws - 1)
        out.bias[i] = off[i] - out.variance[i] / o.draws -- the mean of few draws scatters itself
      else
        out.stderr[i], out.variance[i], out.bias[i] = 0 / 0, 0 / 0, 0 / 0
      end
      out.learned[i] = {}
      for k, part in ipairs(parts) do
        local power = (part * part):sum():item()
        out.learned[i][k] = power > 0 and (mean[i] * part):sum():item() / power or 0 / 0
      end
    end
    return out
  end)
end

return simulation
