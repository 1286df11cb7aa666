-- The decoder agrees with PyTorch: loss, logits and every gradient.
-- Golden numbers by tests/golden/transformer/make.py.
local ml = require "moonlab"
local check = require "check"
local T = {}

local golden = ml.json.read("tests/golden/transformer/decoder.json")

-- Element k of parameter i is scale * sin(1.7 k + i + 1), plus 1 for gains.
local function decoder()
  local options = {
    dtype = "f64", positions = "learned", tied = true, bias = true, norm_eps = 1e-5,
    activation = "gelu_tanh",
  }
  for key, value in pairs(golden.config) do options[key] = value end
  local lm = ml.transformer(options)
  local named = lm:named_parameters()
  ml.no_grad(function()
    for i, name in ipairs(golden.names) do
      local p, values = named[name], {}
      local scale, mean = #p:shape() == 2 and 0.5 or 0.1, name:find("gain$") and 1 or 0
      local n = 1
      for _, size in ipairs(p:shape()) do n = n * size end
      for k = 0, n - 1 do values[k + 1] = mean + scale * math.sin(1.7 * k + i) end
      p:copy_(ml.f64(values):reshape(p:shape()))
    end
  end)
  return lm, named
end

function T.test_names_are_those_of_the_table()
  local _, named = decoder()
  local count = 0
  for _ in pairs(named) do count = count + 1 end
  check.equal(count, #golden.names)
end

function T.test_loss_logits_and_gradients() -- golden
  local lm, named = decoder()
  local tokens, mask = ml.index(golden.tokens), ml.f64(golden.mask)
  local loss = lm:loss(tokens, { mask = mask, z_loss = golden.z_loss })
  check.close(loss:item(), golden.loss, { rtol = 1e-13 })
  local logits = lm:logits(tokens[{ {}, { 1, -2 } }]):detach()
  check.close(logits, golden.logits, { rtol = 1e-12, atol = 1e-13 })
  loss:backward()
  -- both sides round in another order, a few hundred times: 1e-12 of the largest entries
  for name, p in pairs(named) do
    check.close(p:grad(), golden.gradients[name], { rtol = 1e-11, atol = 1e-13 })
  end
end

return T
