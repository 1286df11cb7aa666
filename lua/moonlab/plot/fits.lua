--- What is computed from series for a figure: fitted power laws, optima, envelopes, reference
--- slopes.
local options = require "moonlab.options"
local fit = require "moonlab.fit"
local panel = require "moonlab.plot.panel"

local fits = {}

-- A number with its standard error, both to the error's second digit: "−0.498 ± 0.012".
local function with_error(v, stderr)
  local function minus(s) return (s:gsub("^%-", "−")) end
  if not (stderr > 0 and stderr < math.huge) then return minus(("%.4g"):format(v)) end
  if stderr < 1e-6 then return minus(("%.6g ± %.0e"):format(v, stderr)) end
  local decimals = math.max(0, math.min(7, 1 - math.floor(math.log(stderr, 10))))
  return minus(("%." .. decimals .. "f"):format(v)) .. (" ± %." .. decimals .. "f"):format(stderr)
end
fits.with_error = with_error

local function usable(m, positive_x, positive_y, range)
  local x, y = {}, {}
  for i = 1, #m.x do
    local a, b = m.x[i], m.y[i]
    if a - a == 0 and b - b == 0 and (not positive_x or a > 0) and (not positive_y or b > 0)
      and (not range or (a >= (range[1] or -math.huge) and a <= (range[2] or math.huge))) then
      x[#x + 1], y[#y + 1] = a, b
    end
  end
  return x, y
end

--- A power law through series m: a dashed line, and the exponent in the label.
function fits.power_law(where, s, i, m, p)
  local how = s.fit
  if how == nil or how == false then return end
  if how ~= true and type(how) ~= "table" then
    options.bad(where, 0, "option 'fit' is %s, wanted true or options of ml.fit.power_law",
      options.describe(how))
  end
  local range
  if how ~= true then
    options.check(where, how, { "range", "level" })
    range = options.optional(where, how, "range", "table")
  end
  if m.kept then
    options.bad(where, 0, "series %d has too many points (%d are drawn) to be fitted here; fit it "
      .. "with ml.fit.power_law", i, m.kept)
  end
  local x, y = usable(m, true, true, range)
  local different = false
  for k = 2, #x do different = different or x[k] ~= x[1] end
  if not different then -- as may happen to what was measured: a remark, no error
    panel.remark(p, m.label or ("series %d"):format(i),
      "not fitted, fewer than two different x > 0%s", range and " in the range" or "")
    return
  end
  local exponent, stderr, info = fit.power_law(x, y)
  local low, high = math.min(table.unpack(x)), math.max(table.unpack(x))
  local line = { kind = "series", x = {}, y = {}, line = true, dash = { 6, 3 }, markers = false,
    colour = m.line and "ink" or m.colour, thin = m.line, shape = m.shape,
    of = not m.line and m or nil }
  for k = 0, 60 do
    local v = math.exp(math.log(low) + (math.log(high) - math.log(low)) * k / 60)
    v = k == 0 and low or k == 60 and high or v
    line.x[k + 1], line.y[k + 1] = v, info.predict(v)
  end
  local words = ("exponent %s"):format(with_error(exponent, stderr))
  m.label, m.fitted = m.label and m.label .. ", " .. words or words, not m.line
  table.insert(p.marks, line)
end

--- Lines that belong to a series take its colour.
function fits.recolour(p)
  for _, m in ipairs(p.marks) do
    if m.of then m.colour = m.of.colour end
  end
end

local function extreme(x, y, sign)
  local best
  for k = 1, #y do
    if not best or sign * y[k] < sign * y[best] then best = k end
  end
  return best and { x = x[best], y = y[best] }
end

--- The optimum of series m, m.optimum = { x, y, text }.
function fits.optimum(where, s, i, m, p)
  local how = s.optimum
  if how == nil then return end
  if type(how) == "table" then
    options.check(where, how, { "x", "y", "text" })
    for _, key in ipairs { "x", "y" } do options.field(where, how, key, "number") end
    local word = options.optional(where, how, "text", "string")
    m.optimum = { x = how.x, y = how.y, text = word and require("moonlab.plot.text").clean(word) }
    return
  end
  if how ~= "min" and how ~= "max" and how ~= "parabola" then
    options.bad(where, 0, "option 'optimum' is %s, wanted \"min\", \"max\", \"parabola\" or "
      .. "{ x =, y = }", options.describe(how))
  end
  local x, y = usable(m, p.x.base ~= nil, p.y.base ~= nil)
  if how ~= "parabola" then
    m.optimum = extreme(x, y, how == "min" and 1 or -1)
    return
  end
  local best, _, info
  if #x >= 3 then
    local log = (p.x.base and "x" or "") .. (p.y.base and "y" or "")
    local ok, a, b, c = pcall(fit.parabola, x, y, { log = log, points = #x >= 5 and 5 or 3 })
    if ok then best, _, info = a, b, c end
  end
  if best then
    m.optimum = { x = best, y = info.value }
  else
    panel.remark(p, m.label or ("series %d"):format(i), "optimum not bracketed")
  end
end

-- The y of a curve at x, between its points, as the axes draw it; nil outside.
local function between(points, x, log_x, log_y)
  if x < points[1][1] or x > points[#points][1] then return nil end
  local low, high = 1, #points
  while high - low > 1 do
    local middle = (low + high) // 2
    if points[middle][1] <= x then low = middle else high = middle end
  end
  local a, b = points[low], points[high]
  if a[1] == b[1] then return math.min(a[2], b[2]) end
  local t
  if log_x then
    t = (math.log(x) - math.log(a[1])) / (math.log(b[1]) - math.log(a[1]))
  else
    t = (x - a[1]) / (b[1] - a[1])
  end
  if log_y then return math.exp(math.log(a[2]) + t * (math.log(b[2]) - math.log(a[2]))) end
  return a[2] + t * (b[2] - a[2])
end

--- The least (or greatest) of all curves at every x, as a mark of its own.
function fits.envelope(where, o, p, list)
  local how = options.choice(where, o, "envelope", { "min", "max" })
  if not how then return end
  local log_x, log_y = p.x.base ~= nil, p.y.base ~= nil
  local sorted, xs = {}, {}
  for _, m in ipairs(list) do
    local x, y = usable(m, log_x, log_y)
    local points = {}
    for k = 1, #x do
      points[k] = { x[k], y[k], k }
      xs[#xs + 1] = x[k]
    end
    table.sort(points, function(a, b)
      if a[1] ~= b[1] then return a[1] < b[1] end
      return a[3] < b[3]
    end)
    if #points > 0 then sorted[#sorted + 1] = points end
  end
  if #xs == 0 then return end
  local low, high = math.huge, -math.huge
  for _, x in ipairs(xs) do low, high = math.min(low, x), math.max(high, x) end
  if #xs > 4000 then xs = {} end -- the even ones below are close enough then
  local even = #xs == 0 and 2000 or 400
  for k = 0, even do -- and between the points, where curves cross
    local x = log_x and math.exp(math.log(low) + (math.log(high) - math.log(low)) * k / even)
      or low + (high - low) * k / even
    xs[#xs + 1] = math.max(low, math.min(high, x))
  end
  table.sort(xs)
  local mark = { kind = "series", x = {}, y = {}, line = true, colour = "ink", markers = false,
    shape = "circle", label = "envelope" }
  for k, x in ipairs(xs) do
    local best
    for _, points in ipairs(x ~= xs[k - 1] and sorted or {}) do
      local y = between(points, x, log_x, log_y)
      if y and (not best or (how == "min" and y < best) or (how == "max" and y > best)) then
        best = y
      end
    end
    if best then mark.x[#mark.x + 1], mark.y[#mark.y + 1] = x, best end
  end
  p.marks[#p.marks + 1] = mark
end

--- Reference lines value ~ rank^slope through series m, near a third of its ranks (logarithmic).
function fits.slopes(p, m, slopes)
  if not m then return end
  local x, y = usable(m, true, true)
  if #x == 0 then return end
  local anchor = math.max(1, math.floor((#x) ^ (1 / 3) + 0.5))
  for k, slope in ipairs(slopes) do
    local line = { kind = "series", x = {}, y = {}, line = true, thin = true, dash = { 2, 3 },
      colour = "soft", markers = false, shape = "circle",
      label = ("slope %s"):format((("%.4g"):format(slope):gsub("^%-", "−"))) }
    for _, v in ipairs { x[1] + 0.0, x[#x] + 0.0 } do
      line.x[#line.x + 1] = v
      line.y[#line.y + 1] = math.exp(math.log(y[anchor]) + slope * (math.log(v)
        - math.log(x[anchor])))
    end
    if line.y[1] < math.huge and line.y[2] > 0 then p.marks[#p.marks + 1] = line end
    if k > 1 then line.dash = { 2, 3, 6, 3 } end
  end
end

return fits
