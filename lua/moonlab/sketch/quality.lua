--- How good features are: the error of their kernel, and what ridge regression sees of it.
local core = require "moonlab.core"
local options = require "moonlab.options"
local check = require "moonlab.solve.check"

local quality = {}

-- K - 1 mean rows - mean columns 1 + mean
local function centred(K)
  local rows = K:mean { 2, keepdims = true }
  return K - rows - rows:transpose() + K:mean()
end

local function relative(error, K)
  local norm = K:norm():item()
  return norm > 0 and error:norm():item() / norm or 0 / 0
end

--- ml.sketch.quality(Z, K, { ridge, ridges, relative })
--- How close Z Z^T is to a kernel matrix, in three ways. The relative Frobenius error; the same
--- after both are centred on both sides (a large constant part of K flatters the first); and, what
--- a guarantee for ridge regression speaks of, the least and largest eigenvalue of (K + ridge)^-1/2
--- (Z Z^T + ridge) (K + ridge)^-1/2, with epsilon how far they are from 1.
--- @param Z tensor [n,m] f32 or f64, features
--- @param K tensor [n,n] f32 or f64, the kernel they stand for
--- @param opts.ridge number =1e-3 times trace(K)/n with relative, > 0
--- @param opts.ridges list instead of ridge: lists of low, high, epsilon, dimension
--- @param opts.relative boolean =true ridges are multiplied by trace(K)/n
--- @return table frobenius, centred, low, high, epsilon, dimension (the statistical dimension,
--- trace K (K + ridge)^-1), ridge (absolute)
--- @source Han et al. 2022 (arXiv 2209.04121), Theorem 3 and its proof
function quality.measure(Z, K, opts)
  local where = "ml.sketch.quality"
  options.check(where, opts, { "ridge", "ridges", "relative" })
  opts = opts or {}
  check.real(where, 1, Z, 2, 2)
  check.real(where, 2, K, 2, 2)
  local n = K:size(1)
  if K:size(2) ~= n or Z:size(1) ~= n then
    options.bad(where, 2, "Z is %s and K %s, wanted a square matrix with as many rows",
      options.describe(Z), options.describe(K))
  end
  check.finite(where, 1, Z, "Z")
  check.finite(where, 2, K, "K")
  local many = opts.ridges ~= nil
  local list = many and check.list(where, opts, "ridges")
    or { options.field(where, opts, "ridge", "number", 1e-3) }
  return core.scope(function()
    K, Z = K:detach():to("f64"), Z:detach():to("f64")
    local scale = options.field(where, opts, "relative", "boolean", true)
      and check.mean_diagonal(K) or 1
    local S = Z:matmul(Z:transpose())
    local out = { frobenius = relative(S - K, K), centred = relative(centred(S - K), centred(K)),
      ridge = {}, low = {}, high = {}, epsilon = {}, dimension = {} }
    local values, V = core.solve.eigh(K)
    values = values:maximum(0)
    local turned = V:transpose():matmul(S):matmul(V)
    for i, ridge in ipairs(list) do
      if math.type(ridge) == nil or not (ridge > 0 and ridge < math.huge) then
        options.bad(where, 0, "ridge %s, wanted a finite number > 0", options.describe(ridge))
      end
      core.scope(function()
        ridge = ridge * scale
        local root = (values + ridge):rsqrt()
        local W = (turned + core.eye(n) * ridge) * root:reshape { n, 1 } * root
        local spectrum = core.solve.eigh((W + W:transpose()) * 0.5)
        out.ridge[i], out.low[i], out.high[i] = ridge, spectrum[1], spectrum[n]
        out.epsilon[i] = math.max(1 - spectrum[1], spectrum[n] - 1)
        out.dimension[i] = (values / (values + ridge)):sum():item()
      end)
    end
    if not many then
      for _, name in ipairs { "ridge", "low", "high", "epsilon", "dimension" } do
        out[name] = out[name][1]
      end
    end
    return out
  end)
end

return quality
