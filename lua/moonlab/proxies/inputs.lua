--- What flows into every matrix of a decoder: the forward pass once more, in Lua.
local core = require "moonlab.core"

local nn = core.nn

-- Normalises as the decoder does: the last axis, with the gain of that name.
local function normed(lm, name, x)
  local config, gain = lm:config(), name .. ".gain"
  local norm = config.norm == "rms" and nn.rms_norm or nn.layer_norm
  return norm(x, { gain = lm:named_parameters()[gain] * lm:multiplier(gain),
    eps = config.norm_eps })
end

-- Queries or keys [B,T,H,D] as they meet in attention.
local function shaped(lm, name, x)
  local config = lm:config()
  local function rotate()
    if config.positions == "rotary" then
      x = nn.rotary(x, { base = config.rotary_base, pairing = config.rotary })
    end
  end
  if config.qk_norm_order == "after_rotary" then rotate() end
  if config.qk_norm then x = normed(lm, name .. "_norm", x) end
  if config.qk_norm_order ~= "after_rotary" then rotate() end
  return x
end

local function scale_of(config)
  local scale, d = config.attention_scale, config.width // config.heads
  if type(scale) == "number" then return scale end
  return scale == "1/d_head" and 1 / d or 1 / math.sqrt(d)
end

--- Name, weight and input of every matrix of the blocks and of the head, for token ids [B,T], and
--- the outputs of the blocks as they follow from them. For decoders without biases.
return function(lm, tokens)
  local config, weights, hidden = lm:config(), lm:named_parameters(), lm:hidden(tokens)
  if config.bias then error("the decoder has biases", 2) end
  local found, outputs = {}, {}
  local function apply(name, z)
    found[#found + 1] = { name = name, W = weights[name], z = z }
    return z:matmul(weights[name]) * lm:multiplier(name)
  end
  for l = 1, config.depth do
    local block, x = ("blocks.%d."):format(l), hidden[l - 1]
    local shape = x:shape()
    local heads = { shape[1], shape[2], config.heads, config.width // config.heads }
    local z = normed(lm, block .. "norm1", x)
    local q = apply(block .. "attn.wq", z):reshape(heads)
    local k = apply(block .. "attn.wk", z):reshape(heads)
    local v = apply(block .. "attn.wv", z):reshape(heads)
    local y = nn.attention(shaped(lm, block .. "attn.q", q),
      shaped(lm, block .. "attn.k", k), v, { scale = scale_of(config) })
    x = x + apply(block .. "attn.wo", y:reshape(shape))
    local h = apply(block .. "mlp.w1", normed(lm, block .. "norm2", x))
    outputs[l] = x + apply(block .. "mlp.w2", nn.activation(h, config.activation))
  end
  if weights.head then found[#found + 1] = { name = "head", W = weights.head, z = hidden.final } end
  return found, outputs
end
