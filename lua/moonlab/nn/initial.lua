--- Initial values of modules, and the stream they are drawn from.
local core = require "moonlab.core"
local module = require "moonlab.nn.module"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local initial = {}

local default_rng

--- ml.nn.seed(seed)
--- Starts anew the stream from which modules draw initial values when neither seed nor rng is given
--- (it starts at seed 1).
--- @param seed integer of 64 bits
--- @source torch.manual_seed
function initial.seed(seed) default_rng = core.rng(seed) end

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

--- The generator of the options rng or seed, or nil.
function initial.generator(where, o)
  if o.rng == nil then
    return o.seed ~= nil and core.rng(options.field(where, o, "seed", "integer")) or nil
  end
  if not module.is_userdata(o.rng, "ml.rng") then
    options.bad(where, 0, "option 'rng' is %s, wanted a generator (ml.rng)",
      options.describe(o.rng))
  end
  return o.rng
end

--- A tensor of the options init and rng or seed.
function initial.draw(where, o, shape, fan_in, fan_out)
  local g = initial.generator(where, o)
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

return initial
