--- Log alignment ratios: how much more than random a weight and its input add up.
local core = require "moonlab.core"
local options = require "moonlab.options"

local where = "ml.alignment"

local function rms(t) return math.sqrt((t * t):mean():item()) end

-- log_n(RMS(z W) / (RMS(W) RMS(z))), n = fan_in; nan when a factor is zero.
local function ratio(W, z)
  local scale = rms(W) * rms(z)
  if not (scale > 0) then return 0 / 0 end
  return math.log(rms(z:matmul(W)) / scale) / math.log(W:size(1))
end

local function tensor(o, name, optional)
  local t = o[name]
  if t == nil and optional then return nil end
  if not core.is_tensor(t) or t:is_released() or t:rank() < 2 then
    options.bad(where, 0, "option '%s' is %s, wanted a tensor of rank 2 or more", name,
      options.describe(t))
  end
  t = t:detach():to "f64"
  return t:reshape { t:numel() // t:size(-1), t:size(-1) }
end

local function same(a, b, name)
  if a:size(1) ~= b:size(1) or a:size(2) ~= b:size(2) then
    options.bad(where, 0, "'%s' and '%s0' differ in shape", name, name)
  end
end

--- ml.alignment{ W =, z =, W0 =, z0 = }
--- Log alignment ratios of a layer y = z W: log_n of RMS(z W) / (RMS(W) RMS(z)) with n the fan-in;
--- 1/2 for unrelated factors, 1 for perfectly aligned ones. With the layer's initial weight and
--- input the three parts of the change of its output are measured too: alpha (change of W, z0),
--- omega (W0, change of z), u (both changes). A fixed multiplier of the layer drops out. Sums are
--- in f64.
--- @param opts.W tensor [fan_in, fan_out]
--- @param opts.z tensor [..., fan_in] inputs of the layer on a probe batch
--- @param opts.W0 tensor like W, before training
--- @param opts.z0 tensor like z, before training
--- @return table { A =, alpha =, omega =, u = }; nan where a factor is zero
--- @source Everett et al. 2024, section 3.3
local function alignment(_, o)
  options.required(where, o, { "W", "z", "W0", "z0" })
  local W, z = tensor(o, "W"), tensor(o, "z")
  local W0, z0 = tensor(o, "W0", true), tensor(o, "z0", true)
  if W:size(1) ~= z:size(2) or W:size(1) < 2 then
    options.bad(where, 0, "W is [%dx%d] and z has %d columns, wanted as many as W has rows, at "
      .. "least 2", W:size(1), W:size(2), z:size(2))
  end
  if (W0 == nil) ~= (z0 == nil) then
    options.bad(where, 0, "W0 and z0 go together")
  end
  local found = { A = ratio(W, z) }
  if W0 then
    same(W, W0, "W")
    same(z, z0, "z")
    local dW, dz = W - W0, z - z0
    found.alpha, found.omega, found.u = ratio(dW, z0), ratio(W0, dz), ratio(dW, dz)
  end
  return found
end

return setmetatable({}, { __call = alignment })
