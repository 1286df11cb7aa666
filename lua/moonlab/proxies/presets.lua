--- Sizes of the proxies' ladder, named configurations, and what two configurations differ in.
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local presets = {}

local ladder = { S0 = { 1, 16 }, S1 = { 2, 32 }, S2 = { 3, 64 }, S3 = { 4, 128 }, S4 = { 6, 192 } }

--- Depth and width of "S0" to "S4", or of "2x64"; nil and why it is neither.
function presets.size(name)
  if ladder[name] then return ladder[name][1], ladder[name][2] end
  local depth, width = tostring(name):match "^(%d+)x(%d+)$"
  if not depth or #depth > 4 or #width > 6 or tonumber(width) < 1 then
    return nil, ("size is %s, wanted S0 to S4, or depth x width like 2x64"):format(
      options.describe(name))
  end
  return math.tointeger(depth), math.tointeger(width)
end

--- Weights of the blocks and gains, and all of them.
function presets.count(config)
  local d, dh = config.width, config.width // config.heads
  local gains = config.depth * (2 * d + (config.qk_norm and 2 * dh or 0)) + d
  local n = config.depth * 12 * d * d + gains
  return n, n + (config.tied and 1 or 2) * config.vocab * d
    + (config.positions == "learned" and config.context * d or 0)
end

local named = {
  paper = {
    model = { vocab = 32101, context = 512, norm = "layer", norm_eps = 1e-6, bias = false,
      activation = "gelu_tanh", positions = "rotary", rotary = "half", rotary_base = 1e4,
      qk_norm = true, qk_norm_order = "before_rotary", attention_scale = "1/sqrt(d_head)",
      tied = false, init = "paper" },
    optimizer = { rule = "adamw", lr = 1e-2, betas = { 0.9, 0.95 }, eps = 1e-8,
      weight_decay = 1e-4, decay = "independent" },
    training = { steps = 100000, warmup = 5000, schedule = "cosine", floor_lr = 1e-5, clip = 1.0,
      batch = 256, z_loss = 1e-4 },
  },
  ["nanodo-default"] = {
    model = { vocab = 32000, context = 512, depth = 6, width = 512, heads = 8, mlp_width = 2048,
      norm = "layer", norm_eps = 1e-6, bias = false, activation = "gelu_tanh",
      positions = "learned", qk_norm = false, attention_scale = "1/sqrt(d_head)", tied = true,
      init = "paper" },
    optimizer = { rule = "adamw", lr = 1.6e-3, betas = { 0.9, 0.98 }, eps = 1e-9,
      weight_decay = 0.1, decay = "decoupled" },
    training = { steps = 100000, warmup = 1000, schedule = "cosine", floor_lr = 1.6e-4,
      batch = 256, z_loss = 0.0 },
  },
}
presets.names = { "paper", "nanodo-default" }

local function copy(t)
  if type(t) ~= "table" then return t end
  local new = {}
  for key, value in pairs(t) do new[key] = copy(value) end
  return new
end

--- ml.proxies.preset(name)
--- A named configuration: paper, the baseline of Wortsman et al. 2023 (depth, width and heads are
--- the ladder's), or nanodo-default, that of the public NanoDO code, whose kernels are
--- Xavier-uniform there and truncated normal here.
--- @param name string paper|nanodo-default
--- @return table { model =, optimizer =, training = }: options of ml.transformer, of ml.optim and
--- of the training loop
--- @source Wortsman et al. 2023, section 2; NanoDO (google-deepmind/nanodo)
function presets.preset(name)
  options.argument("ml.proxies.preset", 1, name, "string")
  local words = presets.names
  return copy(named[options.choice("ml.proxies.preset", { name = name }, "name", words)])
end

local function show(value)
  if value == nil then return "-" end
  if type(value) == "table" then
    local parts = {}
    for key, v in sorted(value) do
      parts[#parts + 1] = (type(key) == "number" and "" or key .. " = ") .. show(v)
    end
    return "{ " .. table.concat(parts, ", ") .. " }"
  end
  return type(value) == "number" and ("%.14g"):format(value) or tostring(value)
end

local function is_list(t) return type(t) == "table" and (#t > 0 or next(t) == nil) end

local function compare(a, b, prefix, found)
  local keys = {}
  for key in pairs(a) do keys[key] = true end
  for key in pairs(b) do keys[key] = true end
  for key in sorted(keys) do
    local x, y, name = a[key], b[key], prefix .. tostring(key)
    if type(x) == "table" and type(y) == "table" and not (is_list(x) and is_list(y)) then
      compare(x, y, name .. ".", found)
    elseif show(x) ~= show(y) then
      found[#found + 1] = { name = name, left = x, right = y }
    end
  end
  return found
end

local Difference = {}
Difference.__index = Difference
function Difference:__tostring()
  local lines = {}
  for i, d in ipairs(self) do
    lines[i] = ("%s: %s | %s"):format(d.name, show(d.left), show(d.right))
  end
  return #lines > 0 and table.concat(lines, "\n") or "no difference"
end

--- ml.proxies.diff(a, b)
--- What two configurations differ in.
--- @param a table
--- @param b table
--- @return list of { name = "optimizer.eps", left =, right = }, in the order of the names; prints
--- itself
--- @source -
function presets.diff(a, b)
  options.argument("ml.proxies.diff", 1, a, "table")
  options.argument("ml.proxies.diff", 2, b, "table")
  return setmetatable(compare(a, b, "", {}), Difference)
end

return presets
