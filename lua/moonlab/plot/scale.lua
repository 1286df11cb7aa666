--- Axes: where a value lies between the ends, and ticks at round numbers: 1-2-5 steps, powers of
--- the base on logarithmic axes.
local scale = {}

local Scale = {}
Scale.__index = Scale

local minus = "−"

local function signed(label) return (label:gsub("^%-", minus)) end

-- The least of 1, 2, 5, 10 times a power of ten that is not below raw > 0.
local function nice(raw)
  local power = 10.0 ^ math.floor(math.log(raw, 10))
  for _, m in ipairs { 1, 2, 5, 10 } do
    if m * power >= raw * (1 - 1e-9) then return m * power end
  end
  return 10 * power
end

-- Decimals that show multiples of a step.
local function decimals_of(step)
  for d = 0, 15 do
    local scaled = step * 10.0 ^ d
    if math.abs(scaled - math.floor(scaled + 0.5)) < 1e-6 * scaled and scaled > 0.5 then
      return d
    end
  end
  return 15
end

local function power_label(mantissa, base, e)
  local exponent = { raised = signed(("%d"):format(e)) }
  if mantissa == "1" then return { ("%d"):format(base), exponent } end
  return { mantissa .. "×" .. ("%d"):format(base), exponent }
end

local suffixes = { { 1e12, "T" }, { 1e9, "G" }, { 1e6, "M" }, { 1e3, "k" } }

--- A function that labels multiples of step up to `most` in size: plain, with an SI suffix from ten
--- thousand on, or as m×10^e where both would be long.
function scale.labeller(step, most)
  local function fixed(v, unit, decimals, suffix)
    local label = ("%." .. decimals .. "f"):format(v / unit)
    if tonumber(label) == 0 then return "0" end
    return signed(label) .. suffix
  end
  if most >= 1e15 or (most > 0 and most < 9.99e-4) then
    local e = math.floor(math.log(most, 10) + 1e-9)
    if most < 1 and most < 10.5 * step then e = math.floor(math.log(step, 10) + 1e-9) end
    local unit = 10.0 ^ e
    local decimals = decimals_of(step / unit)
    return function(v)
      local mantissa = ("%." .. decimals .. "f"):format(v / unit)
      if tonumber(mantissa) == 0 then return "0" end
      return { signed(mantissa) .. "×10", { raised = signed(("%d"):format(e)) } }
    end
  end
  if most >= 1e4 then
    for _, s in ipairs(suffixes) do
      if most >= s[1] then
        local decimals = decimals_of(step / s[1])
        if decimals <= 2 then
          return function(v) return fixed(v, s[1], decimals, s[2]) end
        end
        break
      end
    end
  end
  local decimals = decimals_of(step)
  return function(v) return fixed(v, 1, decimals, "") end
end

local greatest = 1.7e308

-- ---- linear -------------------------------------------------------------------------------------

local function linear(low, high)
  local size = math.max(math.abs(low), math.abs(high))
  local half = high / 2 - low / 2
  if half <= math.max(size * 5e-13, 1e-305) then -- as good as constant
    local middle = low / 2 + high / 2
    local pad = size <= 1e-300 and 1 or math.max(size * 0.1, 1.1 * half)
    low, high = middle - pad, middle + pad
  end
  return setmetatable({ kind = "linear", low = math.max(low, -greatest),
    high = math.min(high, greatest) }, Scale)
end

local function linear_values(low, high, count, least)
  local step = math.max(nice((high / 2 - low / 2) / (count / 2)), least or 0)
  local values = {}
  for k = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) do
    values[#values + 1] = k * step
  end
  return values, step
end

local function linear_ticks(self, count)
  local values, step = linear_values(self.low, self.high, count, self.whole and 1)
  local most = 0
  for _, v in ipairs(values) do most = math.max(most, math.abs(v)) end
  local label = scale.labeller(step, most)
  local ticks = {}
  for i, v in ipairs(values) do ticks[i] = { value = v, at = self:at(v), label = label(v) } end
  return ticks, {}
end

-- ---- logarithmic --------------------------------------------------------------------------------

local function logarithmic(low, high, base)
  local a, b = math.log(low), math.log(high)
  if b - a < 1e-12 then a, b = a - 0.5 * math.log(base), b + 0.5 * math.log(base) end
  return setmetatable({ kind = "log", base = base, low = low, high = high, a = a, b = b }, Scale)
end

-- Values at multiples of the powers between the ends.
local function multiples(self, marks)
  local unit = math.log(self.base)
  local values = {}
  for e = math.floor(self.a / unit + 1e-9), math.ceil(self.b / unit - 1e-9) do
    for _, m in ipairs(marks) do
      local at = (math.log(m) + e * unit - self.a) / (self.b - self.a)
      if at >= -1e-9 and at <= 1 + 1e-9 then
        values[#values + 1] = { value = m * (self.base + 0.0) ^ e, m = m, e = e, at = at }
      end
    end
  end
  return values
end

local function log_label(ticks, base)
  local least, most = math.huge, 0
  for _, t in ipairs(ticks) do
    least, most = math.min(least, t.value), math.max(most, t.value)
  end
  local plain = base == 2 and least >= 0.0624 and most <= 65536.5
    or base == 10 and least >= 0.99e-3 and most <= 1.01e4
  for _, t in ipairs(ticks) do
    t.label = plain and ("%.6g"):format(t.value) or power_label(("%d"):format(t.m), base, t.e)
  end
  return ticks
end

local function log_ticks(self, count)
  local unit = math.log(self.base)
  local first, last = math.ceil(self.a / unit - 1e-9), math.floor(self.b / unit + 1e-9)
  local powers = last - first + 1
  local inner = self.base == 10 and multiples(self, { 2, 3, 4, 5, 6, 7, 8, 9 }) or {}
  if powers >= 3 or (powers == 2 and (self.base == 2 or count < 3)) then
    local strides = self.base == 2 and { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024 }
      or { 1, 2, 5, 10, 20, 50, 100, 200, 500 }
    local stride = strides[#strides]
    for k = #strides, 1, -1 do
      if (powers - 1) // strides[k] + 1 <= count then stride = strides[k] end
    end
    local ticks, minors = {}, {}
    for _, t in ipairs(multiples(self, { 1 })) do
      table.insert(t.e % stride == 0 and ticks or minors, t)
    end
    if stride == 1 then minors = inner end
    return log_label(ticks, self.base), minors
  end
  local decades = (self.b - self.a) / math.log(10)
  for _, marks in ipairs(self.base == 10 and { { 1, 2, 5 }, { 1, 3 } } or {}) do
    local ticks = multiples(self, marks)
    if #ticks >= (decades < 1 and 3 or 2) and #ticks <= math.max(count, 3) then
      return log_label(ticks, 10), inner
    end
  end
  -- less than a power or so: round numbers, unevenly spaced
  local low, high = math.exp(self.a), math.exp(self.b)
  local values, step = linear_values(low, high, count)
  local ticks = {}
  local label = scale.labeller(step, values[#values] or high)
  for _, v in ipairs(values) do
    if v > 0 then ticks[#ticks + 1] = { value = v, at = self:at(v), label = label(v) } end
  end
  return ticks, {}
end

-- ---- categories ---------------------------------------------------------------------------------

--- An axis of names, evenly spaced.
function scale.category(names)
  return setmetatable({ kind = "category", names = names, low = 0.5, high = #names + 0.5 }, Scale)
end

local function category_ticks(self)
  local ticks = {}
  for i, name in ipairs(self.names) do
    ticks[i] = { value = i, at = self:at(i), label = name }
  end
  return ticks, {}
end

-- ---- all ----------------------------------------------------------------------------------------

--- An axis from low to high; base: nil, 2 or 10 for a logarithmic one.
function scale.new(low, high, base)
  return base and logarithmic(low, high, base) or linear(low, high)
end

--- The same axis a share longer at each end, as far as numbers go.
function scale.padded(low, high, base, below, above)
  if base then
    local a, b = math.log(low), math.log(high)
    local span = b - a < 1e-12 and 0 or b - a
    return math.max(math.exp(math.max(a - below * span, -744)), 5e-324),
      math.min(math.exp(math.min(b + above * span, 709.7)), greatest)
  end
  local span = high / 2 - low / 2
  return math.max(low - below * 2 * span, -greatest), math.min(high + above * 2 * span, greatest)
end

--- Where v lies: 0 at the low end, 1 at the high one; beyond outside.
function Scale:at(v)
  local at
  if self.kind == "log" then
    at = (math.log(v) - self.a) / (self.b - self.a)
  else
    at = (v / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
  end
  return self.reversed and 1 - at or at
end

--- The value that lies at t.
function Scale:value(t)
  if self.reversed then t = 1 - t end
  if self.kind == "log" then return math.exp(self.a + t * (self.b - self.a)) end
  return 2 * (self.low / 2 + t * (self.high / 2 - self.low / 2))
end

--- Whether an axis of this kind can show v.
function Scale:shows(v)
  return v - v == 0 and (self.kind ~= "log" or v > 0)
end

--- Ticks { value, at, label } and minor ticks { value, at }; about `count` labels.
function Scale:ticks(count)
  count = math.max(2, count)
  if self.kind == "category" then return category_ticks(self) end
  if self.kind == "log" then return log_ticks(self, count) end
  return linear_ticks(self, count)
end

return scale
