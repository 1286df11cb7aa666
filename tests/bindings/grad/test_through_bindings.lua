-- Every differentiable function keeps the tape when called from Lua, with the right axes (gradient:
-- central differences).
local ml = require "moonlab"
local nn = require("moonlab.core").nn
local check = require "check"
local T = {}

local other = ml.f64 { { 0.3, -1.2, 0.8 }, { 1.5, 0.4, -0.6 } }
local ids = ml.index { { 2, 1, 2 }, { 1, 1, 2 } }

local cases = {
  add = function(w) return w + other end,
  rsub = function(w) return 2 - w end,
  mul_broadcast = function(w) return w * other[1] end,
  div = function(w) return other / w end,
  pow = function(w) return w ^ 3 end,
  rpow = function(w) return 2 ^ w end,
  neg = function(w) return -w end,
  maximum = function(w) return ml.maximum(w, other) end,
  minimum_number = function(w) return w:minimum(0.9) end,
  atan2 = function(w) return w:atan2(other) end,
  where = function(w) return ml.where(other:gt(0), w, w * 3) end,
  clamp = function(w) return w:clamp(0.5, 1.5) end,
  sum_axis = function(w) return w:sum(2) end,
  mean = function(w) return w:mean { 1, keepdims = true } * other end,
  prod = function(w) return w:prod(1) end,
  max = function(w) return w:max(2) end,
  min = function(w) return w:min() end,
  logsumexp = function(w) return w:logsumexp(1) end,
  norm = function(w) return w:norm(2) end,
  var = function(w) return w:var(2, { ddof = 1 }) end,
  std = function(w) return w:std(1) end,
  cumsum = function(w) return w:cumsum(2) * other end,
  softmax = function(w) return w:softmax() * other end,
  log_softmax = function(w) return w:log_softmax(1) * other end,
  sort = function(w) return (w:sort(2, { descending = true })) * other end,
  topk = function(w) return (w:topk(2)) end,
  gather = function(w) return w:gather(ids, 1) * other end,
  index_select = function(w) return w:index_select({ 3, 1, 3 }, 2) end,
  scatter = function(w) return (other * 1):scatter(ids, w, 1) * other end,
  scatter_add = function(w) return w:scatter_add(ids, w * 2, 1) * other end,
  concat = function(w) return ml.concat({ w, other, w * 2 }, 1):square() end,
  stack = function(w) return ml.stack({ w, w * w }, -1) end,
  split = function(w) return w:split({ 1, 2 }, 2)[2]:square() end,
  matmul = function(w) return w:matmul(other:transpose()) end,
  reshape = function(w) return w:reshape(3, 2):square() end,
  permute = function(w) return w:permute { 2, 1 } * other:transpose() end,
  unsqueeze = function(w) return w:unsqueeze(2):squeeze(2) * other end,
  broadcast = function(w) return w:broadcast_to { 2, 2, 3 } * other end,
  narrow = function(w) return w:narrow(2, { 2, -1 }):square() end,
  select = function(w) return w[{ {}, { 3, 1, -2 } }]:square() end,
  row = function(w) return w[2]:square() end,
  tril = function(w) return w:tril():square() end,
  diagonal = function(w) return w[{ {}, { 1, 2 } }]:diagonal():square() end,
  clone = function(w) return w:clone():contiguous():flatten():square() end,
  cast = function(w) return w:to("f32"):to "f64" end,
  linear = function(w) return nn.linear(other, w:transpose(), { activation = "gelu_tanh" }) end,
  layer_norm = function(w) return nn.layer_norm(w, { gain = w[1] }) * other end,
  rms_norm = function(w) return nn.rms_norm(w) * other end,
  cross_entropy = function(w) return (nn.cross_entropy(w, { 3, 1 }, { z_loss = 0.1 })) end,
  embedding = function(w) return nn.embedding(w, { 2, 2, 1 }):square() end,
}
for _, name in ipairs { "abs", "square", "sqrt", "rsqrt", "reciprocal", "exp", "expm1", "log",
  "log1p", "log2", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "erf", "erfc", "sigmoid",
  "softplus", "relu", "relu2", "silu", "gelu_tanh", "gelu_erf" } do
  cases[name] = function(w) return w[name](w) end
end
for _, name in ipairs { "asin", "acos" } do
  cases[name] = function(w) return (w / 3)[name](w / 3) end
end

-- positive, distinct, away from kinks
local point = { { 0.7, 1.3, 2.1 }, { 1.1, 0.6, 1.8 } }

for name, f in pairs(cases) do
  T["test_" .. name] = function() -- gradient
    local w = ml.param(ml.f64(point))
    local y = f(w)
    check.is_true(y:on_tape())
    y:sum():backward()
    local h, wanted = name == "cast" and 1e-2 or 1e-5, {}
    for i = 1, 2 do
      wanted[i] = {}
      for j = 1, 3 do
        local plus, minus = ml.f64(point), ml.f64(point)
        plus[i][j] = point[i][j] + h
        minus[i][j] = point[i][j] - h
        wanted[i][j] = (f(plus):sum():item() - f(minus):sum():item()) / (2 * h)
      end
    end
    -- h^2 third derivatives and 1e-16 / h of rounding; 1e-7 / h through f32
    local tolerance = name == "cast" and 1e-4 or 1e-7
    check.close(w:grad(), wanted, { rtol = tolerance, atol = tolerance })
    check.is_false(ml.no_grad(f, w):on_tape())
  end
end

return T
