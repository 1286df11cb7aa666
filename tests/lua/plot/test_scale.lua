-- Ticks: round, ascending, inside, as many as asked for; labels say the value.
local check = require "check"
local scale = require "moonlab.plot.scale"
local text = require "moonlab.plot.text"
local ml = require "moonlab"
local T = {}

-- The number that a label says.
local function value_of(label)
  local s = text.plain(label):gsub("−", "-")
  local powers = { ["⁻"] = "-" }
  for i, digit in ipairs { "⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹" } do
    powers[digit] = ("%d"):format(i - 1)
  end
  local function plain(word) return (word:gsub(utf8.charpattern, powers)) end
  local m, base, e = s:match "^(.-)×(10)(.+)$"
  if not m then
    base, e = s:match "^(10)([⁻⁰¹²³⁴-⁹]+)$"
    if not base then base, e = s:match "^(2)([⁻⁰¹²³⁴-⁹]+)$" end
    m = base and "1"
  end
  if m then
    local exponent = tonumber(plain(e))
    return base == "10" and tonumber(m .. "e" .. exponent) or tonumber(m) * 2.0 ^ exponent
  end
  local number, suffix = s:match "^(.-)([kMGT]?)$"
  local units = { [""] = 1, k = 1e3, M = 1e6, G = 1e9, T = 1e12 }
  return tonumber(number) * units[suffix]
end

local function check_ticks(axis, count)
  local ticks, minors = axis:ticks(count)
  local last = -math.huge
  for _, t in ipairs(ticks) do
    check.is_true(t.value > last)
    check.is_true(t.at >= -1e-6 and t.at <= 1 + 1e-6)
    check.close(t.at, axis:at(t.value), { atol = 1e-6 })
    -- a label rounds at the step's last digit at most: closer to its tick than to the next
    local said = value_of(t.label)
    check.is_true(said ~= nil)
    if math.abs(said - t.value) > 1e-6 * math.abs(t.value) + 1e-9 * (axis.high / 2 - axis.low / 2)
    then
      check.fail(("tick %.17g is labelled %s"):format(t.value, text.plain(t.label)))
    end
    last = t.value
  end
  for _, t in ipairs(minors) do check.is_true(t.at >= -1e-6 and t.at <= 1 + 1e-6) end
  return ticks, minors
end

function T.test_steps_are_one_two_five() -- property
  local g = ml.rng(5)
  for _ = 1, 400 do
    local u = g:uniform { 3 }
    local low = (u[1] - 0.5) * 10 ^ (20 * u[2] - 8)
    local span = math.abs(low) * 10 ^ (3 * u[3] - 2) + 1e-30
    for _, count in ipairs { 2, 5, 9 } do
      local axis = scale.new(low, low + span)
      local ticks = check_ticks(axis, count)
      check.is_true(#ticks <= count + 1)
      if count >= 5 then check.is_true(#ticks >= 2) end
      if #ticks > 2 then
        local step = (ticks[#ticks].value - ticks[1].value) / (#ticks - 1)
        local mantissa = step / 10 ^ math.floor(math.log(step, 10) + 1e-9)
        local near = math.min(math.abs(mantissa - 1), math.abs(mantissa - 2),
          math.abs(mantissa - 5), math.abs(mantissa - 10))
        check.is_true(near < 1e-5)
      end
    end
  end
end

function T.test_logarithmic_ticks() -- property
  local g = ml.rng(6)
  for _ = 1, 400 do
    local u = g:uniform { 2 }
    local low = 10 ^ (16 * u[1] - 8)
    local high = low * 10 ^ (10 * u[2] ^ 3 + 0.01)
    for _, base in ipairs { 2, 10 } do
      for _, count in ipairs { 2, 4, 8 } do
        local ticks = check_ticks(scale.new(low, high, base), count)
        check.is_true(#ticks <= math.max(count + 1, 4))
        if count == 8 then check.is_true(#ticks >= 2) end
      end
    end
  end
end

local function labels(axis, count)
  local list = {}
  for i, t in ipairs((axis:ticks(count))) do list[i] = text.plain(t.label) end
  return table.concat(list, " ")
end

function T.test_labels_as_one_would_write_them() -- golden, by eye
  check.equal(labels(scale.new(0, 1), 5), "0 0.2 0.4 0.6 0.8 1.0")
  check.equal(labels(scale.new(-1, 1), 4), "−1.0 −0.5 0 0.5 1.0")
  check.equal(labels(scale.new(0, 200000), 4), "0 50k 100k 150k 200k")
  check.equal(labels(scale.new(0, 3e9), 3), "0 1G 2G 3G")
  check.equal(labels(scale.new(0, 1e-4), 5),
    "0 2×10⁻⁵ 4×10⁻⁵ 6×10⁻⁵ 8×10⁻⁵ 10×10⁻⁵")
  check.equal(labels(scale.new(1, 1000, 10), 5), "1 10 100 1000")
  check.equal(labels(scale.new(1e-8, 1, 10), 5), "10⁻⁸ 10⁻⁶ 10⁻⁴ 10⁻² 10⁰")
  check.equal(labels(scale.new(16, 256, 2), 5), "16 32 64 128 256")
  check.equal(labels(scale.new(2 ^ -12, 2 ^ -4, 2), 5),
    "2⁻¹² 2⁻¹⁰ 2⁻⁸ 2⁻⁶ 2⁻⁴")
  check.equal(labels(scale.new(2, 40, 10), 5), "2 5 10 20")
  check.equal(labels(scale.new(3, 8, 10), 6), "3 4 5 6 7 8")
end

function T.test_minor_ticks_of_a_decade() -- analytic
  local _, minors = scale.new(1, 100, 10):ticks(5)
  check.equal(#minors, 16)
  check.close(minors[1].at, math.log(2, 10) / 2, { rtol = 1e-12 })
end

function T.test_extreme_ranges()
  for _, r in ipairs { { -1.7e308, 1.7e308 }, { 0, 1.7e308 }, { 1e-300, 2e-300 }, { 5, 5 },
    { 0, 0 }, { -3, -3 }, { 1e300, 1e300 }, { 5e-324, 1e-323 }, { 1e16, 1e16 + 2 },
    { -1e-320, 1e-320 } } do
    local axis = scale.new(r[1], r[2])
    check.is_true(axis.low < axis.high)
    check.is_true(#check_ticks(axis, 5) >= 1)
    check.is_true(axis:at(r[1]) >= 0 and axis:at(r[2]) <= 1)
  end
  for _, r in ipairs { { 1e-300, 1e300 }, { 5e-324, 1.7e308 }, { 7, 7 }, { 1, 1 + 1e-15 } } do
    for _, base in ipairs { 2, 10 } do
      local axis = scale.new(r[1], r[2], base)
      check.is_true(#(axis:ticks(5)) >= 1)
      check.is_true(axis:at(r[1]) >= -1e-9 and axis:at(r[2]) <= 1 + 1e-9)
    end
  end
end

function T.test_value_undoes_at() -- property
  for _, axis in ipairs { scale.new(-3, 8), scale.new(2, 5000, 10), scale.new(2, 5000, 2) } do
    for _, t in ipairs { 0, 0.25, 0.7, 1 } do
      check.close(axis:at(axis:value(t)), t, { atol = 1e-12 })
    end
    axis.reversed = true
    check.close(axis:at(axis:value(0.3)), 0.3, { atol = 1e-12 })
  end
end

return T
