--- The kernel recursions as plain tensor operations, in f64 and on whole matrices: for activations
--- whose duals core does not have, and what the fast path is tested against.
---
--- A state holds K and T [n,m,P,P'] over pairs of points and of pixels (vectors have one pixel); a
--- self pass holds [n,1,P,P'] of each point with itself and leaves its variances [n,P] behind.
local activation = require "moonlab.kernel.activation"
local core = require "moonlab.core"
local options = require "moonlab.options"

local general = {}

local function bad(op, message, ...)
  options.raise("layer %d (%s): %s", op.layer, op.kind, message:format(...))
end

-- ---- pixels -------------------------------------------------------------------------------------

-- Sizes after a window, and for each place of it the pixel that each output reads (0: none).
local function windows(op, sides)
  local out, lead = {}, {}
  for a = 1, 2 do
    local n, f, s = sides[a], op.window[a], op.stride[a]
    if op.padding == "valid" then
      out[a], lead[a] = (n - f) // s + 1, 0
      if f > n then bad(op, "a window of %d over %d pixels", f, n) end
    else
      out[a] = (n + s - 1) // s
      lead[a] = math.max((out[a] - 1) * s + f - n, 0) // 2
    end
  end
  local reads = {}
  for i = 0, op.window[1] - 1 do
    for j = 0, op.window[2] - 1 do
      local ids = {}
      for y = 0, out[1] - 1 do
        for x = 0, out[2] - 1 do
          local p, q = y * op.stride[1] + i - lead[1], x * op.stride[2] + j - lead[2]
          if op.padding == "circular" then p, q = p % sides[1], q % sides[2] end
          local inside = p >= 0 and p < sides[1] and q >= 0 and q < sides[2]
          ids[#ids + 1] = inside and p * sides[2] + q + 1 or 0
        end
      end
      reads[#reads + 1] = ids
    end
  end
  return out, reads
end

local function padded(K) -- one more pixel of zeros on both sides
  local n, m, P, Q = table.unpack(K:shape())
  K = core.concat({ K, core.zeros { n, m, 1, Q } }, 3)
  return core.concat({ K, core.zeros { n, m, P + 1, 1 } }, 4)
end

local function conv(op, state)
  local out, reads = windows(op, state.sides)
  local none = state.sides[1] * state.sides[2] + 1
  local function filter(K)
    local from, sum = padded(K), nil
    for _, ids in ipairs(reads) do
      local places = {}
      for i, id in ipairs(ids) do places[i] = id == 0 and none or id end
      local part = from:index_select(core.index(places), 3):index_select(core.index(places), 4)
      sum = sum and sum + part or part
    end
    return sum / (op.window[1] * op.window[2])
  end
  state.K = filter(state.K) * op.w2 + op.b2
  state.T = filter(state.T) * op.w2 + state.K
  state.sides = out
end

local function pool(op, state)
  local out, reads = windows(op, state.sides)
  local P = state.sides[1] * state.sides[2]
  local rows = {}
  for t = 1, out[1] * out[2] do
    rows[t] = {}
    for p = 1, P do rows[t][p] = 0 end
    for _, ids in ipairs(reads) do
      if ids[t] > 0 then rows[t][ids[t]] = 1 / (op.window[1] * op.window[2]) end
    end
  end
  local M = core.tensor(rows, { dtype = "f64" })
  local function average(K)
    local n, m = K:size(1), K:size(2)
    local right = K:reshape { n * m * P, P }:matmul(M:transpose()):reshape { n, m, P, #rows }
    local turned = right:permute { 1, 2, 4, 3 }:reshape { n * m * #rows, P }
    return turned:matmul(M:transpose()):reshape { n, m, #rows, #rows }:permute { 1, 2, 4, 3 }
  end
  state.K, state.T = average(state.K), average(state.T)
  state.sides = out
end

local function flatten(state)
  local P = state.sides[1] * state.sides[2]
  local eye = core.eye(P, { dtype = "f64" }):reshape { 1, 1, P, P }
  local function mean(K) return (K * eye):sum { 3, 4, keepdims = true } / P end
  state.K, state.T, state.sides = mean(state.K), mean(state.T), { 1, 1 }
end

local function gap(state)
  state.K, state.T = state.K:mean { 3, 4, keepdims = true }, state.T:mean { 3, 4, keepdims = true }
  state.sides = { 1, 1 }
end

-- ---- activations --------------------------------------------------------------------------------

local function variances(state)
  local n, P = state.K:size(1), state.K:size(3)
  local eye = core.eye(P, { dtype = "f64" }):reshape { 1, 1, P, P }
  return (state.K * eye):sum(4):reshape { n, P }
end

-- a and b spread to the shape of K.
local function sides(state, a, b)
  local n, m, P, Q = table.unpack(state.K:shape())
  local left = a:reshape { n, 1, P, 1 }
  local right = state.self and b:reshape { n, 1, 1, Q } or b:reshape { 1, m, 1, Q }
  return left:broadcast_to { n, m, P, Q }, right:broadcast_to { n, m, P, Q }
end

local function activate(op, state, a, b)
  local n, m, P, Q = table.unpack(state.K:shape())
  local kappa, dot
  if state.self and P == 1 then
    kappa, dot = activation.equal(op.act, a:reshape { n })
    kappa, dot = kappa:reshape { n, m, P, Q }, dot:reshape { n, m, P, Q }
  elseif state.self then
    local left, right = sides(state, a, b)
    local function flat(x) return x:reshape { n * P * Q } end
    kappa, dot = activation.entries(op.act, flat(state.K), flat(left), flat(right))
    kappa, dot = kappa:reshape { n, m, P, Q }, dot:reshape { n, m, P, Q }
  else
    local c = state.K:permute { 1, 3, 2, 4 }:reshape { n * P, m * Q }
    kappa, dot = activation.matrix(op.act, c, a:reshape { n * P }, b:reshape { m * Q },
      state.symmetric and P == 1)
    local function back(x) return x:reshape { n, P, m, Q }:permute { 1, 3, 2, 4 } end
    kappa, dot = back(kappa), back(dot)
  end
  state.T, state.K = state.T * dot, kappa
end

local function normalize(state, a, b)
  local left, right = sides(state, a, b)
  local scale = (left * right):sqrt()
  scale = core.where(scale:gt(0), scale, core.ones_like(scale) * math.huge)
  state.K, state.T = state.K / scale, state.T / scale
end

-- ---- the recursion ------------------------------------------------------------------------------

local function run(ops, state, left, right)
  local stack, slot = {}, 0
  for _, op in ipairs(ops) do
    local kind = op.kind
    if kind == "dense" then
      state.K = state.K * op.w2 + op.b2
      state.T = state.T * op.w2 + state.K
    elseif kind == "conv" then
      conv(op, state)
    elseif kind == "avg_pool" then
      pool(op, state)
    elseif kind == "gap" then
      gap(state)
    elseif kind == "flatten" then
      flatten(state)
    elseif (kind == "act" and op.act.name ~= "identity") or kind == "layer_norm" then
      slot = slot + 1
      if state.self then
        left[slot] = variances(state)
        right = left
      end
      if kind == "act" then
        activate(op, state, left[slot], right[slot])
      else
        normalize(state, left[slot], right[slot])
      end
    elseif kind == "push" then
      stack[#stack + 1] = { K = state.K, T = state.T, sides = state.sides }
    elseif kind == "swap" then
      local saved = stack[#stack]
      stack[#stack] = { K = state.K, T = state.T, sides = state.sides }
      state.K, state.T, state.sides = saved.K, saved.T, saved.sides
    elseif kind == "add" then
      local saved = table.remove(stack)
      state.K, state.T = state.K + saved.K, state.T + saved.T
    end
  end
  return state
end

-- [n,P,C] f64 and the sides
local function pixels(X)
  local shape = X:shape()
  X = X:detach():to("f64")
  if #shape == 2 then return X:reshape { shape[1], 1, shape[2] }, { 1, 1 } end
  return X:reshape { shape[1], shape[2] * shape[3], shape[4] }, { shape[2], shape[3] }
end

--- Each point with itself: K and T [n], and the variances that `rows` wants.
function general.self(ops, X)
  local x, s = pixels(X)
  local n, P, C = table.unpack(x:shape())
  local K = (x:reshape { n, P, 1, C } * x:reshape { n, 1, P, C }):sum(4) / C
  local found = {}
  local state = run(ops, { K = K:reshape { n, 1, P, P }, T = core.zeros { n, 1, P, P }, sides = s,
    self = true }, found)
  return state.K:reshape { n }, state.T:reshape { n }, found
end

--- K and T [n,m] of all pairs of X and X2 (nil: of X with itself), with the results of `self`.
function general.pairs(ops, X, left, X2, right)
  local x, s = pixels(X)
  local y = X2 and pixels(X2) or x
  local n, P, C = table.unpack(x:shape())
  local m = y:size(1)
  local K = x:reshape { n * P, C }:matmul(y:reshape { m * P, C }:transpose()) / C
  K = K:reshape { n, P, m, P }:permute { 1, 3, 2, 4 }
  local state = run(ops, { K = K, T = core.zeros { n, m, P, P }, sides = s,
    symmetric = X2 == nil }, left, right)
  return state.K:reshape { n, m }, state.T:reshape { n, m }
end

return general
