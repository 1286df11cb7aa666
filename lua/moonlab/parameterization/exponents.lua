--- How scale depends on width: the tables of the known parameterizations, and the largest learning
--- rates that are stable under an alignment.
--- For a layer of width n: multiplier n^-a, initial std n^-b, learning rate n^-c, gradient n^-g.
local options = require "moonlab.options"

local exponents = {}

exponents.types = { "embedding", "hidden", "readout" }

-- Everett et al. 2024, Table 1.
local tables = {
  standard = { a = { 0, 0, 0 }, b = { 0, 1 / 2, 1 / 2 } },
  ntk = { a = { 0, 1 / 2, 1 / 2 }, b = { 0, 0, 0 } },
  mup = { a = { -1 / 2, 0, 1 / 2 }, b = { 1 / 2, 1 / 2, 1 / 2 } },
  mean_field = { a = { 0, 1 / 2, 1 }, b = { 0, 0, 0 } },
}
exponents.names = { "standard", "ntk", "mup", "mean_field" }

-- What the update of a layer scales with: sgd with the gradient, adam with nothing, adafactor with
-- the parameter.
local families = {
  sgd = "sgd", adam = "adam", adamw = "adam", adam_atan2 = "adam", lion = "adam",
  adam_ps = "adafactor", adafactor = "adafactor",
}
exponents.optimizers = { "sgd", "adam", "adamw", "adam_atan2", "lion", "adam_ps", "adafactor" }
function exponents.family(optimizer) return families[optimizer] end

local alignments = {
  full = { alpha = 1, omega = 1 / 2, u = 1 },
  none = { alpha = 1 / 2, omega = 1 / 2, u = 1 / 2 },
}

local function by_type(list)
  local t = {}
  for i, kind in ipairs(exponents.types) do t[kind] = list[i] end
  return t
end

--- A row per type with a and b, of a known parameterization.
function exponents.scales(name)
  local known = tables[name]
  return { a = by_type(known.a), b = by_type(known.b) }
end

--- Gradients at initialisation: g_out = a_out, g_l = a_l + a_out + b_out for the others.
function exponents.gradients(a, b)
  local g = { readout = a.readout }
  for _, kind in ipairs { "embedding", "hidden" } do g[kind] = a[kind] + a.readout + b.readout end
  return g
end

-- alpha, omega and u of hidden and readout from "full", "none" or a table: numbers for both types,
-- or { hidden =, readout = }.
function exponents.alignment(where, align)
  if type(align) == "string" or align == nil then
    options.choice(where, { align = align }, "align", { "full", "none" })
    align = alignments[align or "full"]
  elseif type(align) ~= "table" then
    options.bad(where, 0, "option 'align' is %s, wanted \"full\", \"none\" or a table { alpha =, "
      .. "omega =, u = }", options.describe(align))
  end
  options.check(where, align, { "alpha", "omega", "u" })
  local found = {}
  for _, name in ipairs { "alpha", "omega", "u" } do
    local value = align[name]
    local both = type(value) == "table" and value or { hidden = value, readout = value }
    found[name] = {}
    for _, kind in ipairs { "hidden", "readout" } do
      local x = both[kind]
      if type(x) ~= "number" or not (x >= 0 and x <= 1.5) then
        options.bad(where, 0, "option 'align' has %s = %s for %s, wanted a number in 0..1.5", name,
          options.describe(x), kind)
      end
      found[name][kind] = x
    end
  end
  return found
end

--- The least learning rate exponents c for which no activation moves by more than O(1) and the
--- logits do move: d is the exponent of the update, RMS(Delta W) ~ n^-d, and r that of the change
--- of a layer's output,
---   r_1   = a_1 + d_1
---   r_h   = min(a_h + d_h - alpha_h, 1/2 + r_1 - omega_h, a_h + d_h + r_1 - u_h)
---   r_out = min(a_o + d_o - alpha_o, a_o + b_o + r_h - omega_o, a_o + d_o + r_h - u_o) = 0
--- The hidden layers are one stage between embedding and readout, as they are where each of them
--- reads a residual stream. For optimizers whose update depends on the parameter's or gradient's
--- scale the readout may not outgrow its initial value: d_o >= b_o.
--- @source Everett et al. 2024, section 3
function exponents.learning_rates(a, b, g, align, family)
  local alpha, omega, u = align.alpha, align.omega, align.u
  local r_h = math.max(0, omega.readout - a.readout - b.readout)
  local r_1 = math.max(0, r_h + omega.hidden - 1 / 2)
  local d = {
    embedding = r_1 - a.embedding,
    hidden = math.max(alpha.hidden + r_h, u.hidden + r_h - r_1) - a.hidden,
    readout = math.max(alpha.readout, u.readout - r_h) - a.readout,
  }
  if family ~= "adam" then d.readout = math.max(d.readout, b.readout) end
  local c = {}
  for _, kind in ipairs(exponents.types) do
    c[kind] = d[kind] - (family == "sgd" and g[kind] or family == "adafactor" and b[kind] or 0)
  end
  return c
end

return exponents
