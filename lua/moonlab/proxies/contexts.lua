--- The smallest study of learning rates: a network of an embedding, two hidden layers and a readout
--- that learns 64 contexts, whose next id is known in distribution.
local core = require "moonlab.core"
local nn = require "moonlab.nn"
local parameterization = require "moonlab.parameterization"

local contexts = {}

--- Types of the network's layers.
contexts.types = { ["1."] = "embedding", ["3."] = "hidden", ["5."] = "hidden", ["7."] = "readout" }

local function chances()
  local rows = {}
  for x = 0, 63 do
    local row = {}
    for y = 1, 64 do row[y] = 0.25 / 64 end
    local often, seldom = (5 * x + 3) % 64 + 1, (11 * x + 7) % 64 + 1
    row[often], row[seldom] = row[often] + 0.5, row[seldom] + 0.25
    rows[x + 1] = row
  end
  return core.tensor(rows, { dtype = "f64" })
end

local function draw_batch(key, step)
  local g = key:fold("batch", step)
  local x = g:integers(1, 64, { 64 }):totable()
  local u, any, y = g:uniform { 64 }, g:integers(1, 64, { 64 }), {}
  for i = 1, 64 do
    local p, v = x[i] - 1, u[i]
    y[i] = v < 0.5 and (5 * p + 3) % 64 + 1 or v < 0.75 and (11 * p + 7) % 64 + 1 or any[i]
  end
  return core.index(x), core.index(y)
end

local function activation(x) return core.nn.activation(x, "relu") * math.sqrt(2) end

--- The network before training.
function contexts.network(width, rng)
  local function linear(fan_in, fan_out)
    return nn.Linear { fan_in, fan_out, bias = false, rng = rng }
  end
  return nn.Sequential { nn.Embedding { 64, width, init = 1, rng = rng }, activation,
    linear(width, width), activation, linear(width, width), activation, linear(width, 64) }
end

-- Exact cross-entropy over all contexts, less its floor.
local function excess(net)
  local all = {}
  for i = 1, 64 do all[i] = i end
  return core.scope(function()
    local logits = net(core.index(all)):detach():to "f64"
    local q = chances()
    local log_p = logits - logits:logsumexp(-1):reshape { 64, 1 }
    return (q * (q:log() - log_p)):sum(2):mean():item()
  end)
end

--- Exact excess cross-entropy after one training with fresh batches and a learning rate that falls
--- to 0. o: { width, lr, steps, seed, parameterization = options of ml.parameterization }.
function contexts.train(o)
  local key, table_of = core.rng(o.seed), { width = o.width, types = contexts.types }
  local net = contexts.network(o.width, key:fold("initial values", o.width))
  for name, value in pairs(o.parameterization) do table_of[name] = value end
  local groups, rule = parameterization(net, table_of):groups(), table_of.optimizer
  local opt = rule == "sgd" and core.optim.sgd(groups, { lr = o.lr, momentum = 0.9 })
    or core.optim[rule](groups, { lr = o.lr, betas = { 0.9, 0.95 }, eps = 1e-15 })
  for step = 1, o.steps do
    opt:zero_grad()
    core.scope(function()
      local x, y = draw_batch(key, step)
      core.nn.cross_entropy(net(x), y):backward()
    end)
    opt:step(1 - (step - 1) / o.steps)
  end
  return excess(net)
end

return contexts
