--- What users hand to figures: lists and tensors checked, long series thinned, words cleaned.
local core = require "moonlab.core"
local options = require "moonlab.options"
local colour = require "moonlab.plot.colour"
local text = require "moonlab.plot.text"

local input = {}

local longest = 8192            -- more points than this are thinned
local columns = 2000            -- of a curve, four points each at most
local cells = { 240, 180 }      -- of a cloud

local function is_tensor(v) return core.is_tensor(v) and not v:is_released() end

--- A list of numbers, or a tensor [n] as it is. what: "y of series 2".
function input.vector(where, what, value)
  if is_tensor(value) then
    if value:rank() ~= 1 then
      options.bad(where, 0, "%s is %s, wanted a list of numbers or a tensor [n]", what,
        options.describe(value))
    end
    return value:detach(), value:size(1)
  end
  if type(value) ~= "table" then
    options.bad(where, 0, "%s is %s, wanted a list of numbers or a tensor [n]", what,
      options.describe(value))
  end
  for i = 1, #value do
    if type(value[i]) ~= "number" then
      options.bad(where, 0, "entry %d of %s is %s, wanted a number", i, what,
        options.describe(value[i]))
    end
  end
  return value, #value
end

--- The same as a list, however long.
function input.list(where, what, value)
  local v, n = input.vector(where, what, value)
  local list = {}
  if is_tensor(v) then v = v:totable() end
  for i = 1, n do list[i] = v[i] + 0.0 end
  return list, n
end

local function as_tensor(v) return is_tensor(v) and v:to("f64") or core.f64(v) end

--- Rows of numbers: lists of lists, or a tensor [rows, columns]. Returns the rows and both sizes.
function input.matrix(where, what, value)
  local rows = value
  if is_tensor(value) then
    if value:rank() ~= 2 then
      options.bad(where, 0, "%s is %s, wanted rows of numbers or a tensor [rows, columns]", what,
        options.describe(value))
    end
    rows = value:detach():totable()
  elseif type(value) ~= "table" then
    options.bad(where, 0, "%s is %s, wanted rows of numbers or a tensor [rows, columns]", what,
      options.describe(value))
  end
  local width = type(rows[1]) == "table" and #rows[1] or 0
  for i, row in ipairs(rows) do
    if type(row) ~= "table" then
      options.bad(where, 0, "row %d of %s is %s, wanted a list of numbers", i, what,
        options.describe(row))
    elseif #row ~= width then
      options.bad(where, 0, "row %d of %s has %d entries, row 1 has %d", i, what, #row, width)
    end
  end
  return rows, #rows, width
end

-- ---- series -------------------------------------------------------------------------------------

local function take(v, positions)
  if not v then return nil end
  if is_tensor(v) then return v:index_select(positions, 1):totable() end
  local list = {}
  for i, k in ipairs(positions:totable()) do list[i] = v[k] end
  return list
end

local function shown(v, logarithmic) return v - v == 0 and (not logarithmic or v > 0) end

--- The points of a series as lists, thinned when there are many. o: { x =, y =, low =, high = (all
--- vectors of one length or nil), n =, log_x =, log_y =, cloud = bool }. Returns { x, y, low, high,
--- n, not_finite, not_positive, kept = { how = text } when thinned }.
function input.series(o)
  local s = { n = o.n, not_finite = 0, not_positive = 0 }
  if o.n <= longest then
    for _, key in ipairs { "x", "y", "low", "high" } do
      local v = o[key]
      if v and is_tensor(v) then v = v:totable() end
      s[key] = v and table.move(v, 1, o.n, 1, {})
    end
    if not s.x then
      s.x = {}
      for i = 1, o.n do s.x[i] = i end
    end
    for i = 1, o.n do
      local x, y = s.x[i], s.y[i]
      if x - x ~= 0 or y - y ~= 0 then
        s.not_finite = s.not_finite + 1
      elseif not (shown(x, o.log_x) and shown(y, o.log_y)) then
        s.not_positive = s.not_positive + 1
      end
    end
    return s
  end
  local y = as_tensor(o.y)
  local x = o.x and as_tensor(o.x) or core.arange(1, o.n, { dtype = "f64" })
  local how = { columns = columns, log_x = o.log_x, log_y = o.log_y }
  local kept
  if not o.cloud then
    kept, s.not_finite, s.not_positive = core.plot.thin(x, y, how)
    if kept:size(1) > 8 * columns then o.cloud = true end -- back and forth: no curve to follow
    s.how = ("first, least, greatest and last of each of %d columns"):format(columns)
  end
  if o.cloud then
    how.columns, how.rows = cells[1], cells[2]
    kept, s.not_finite, s.not_positive = core.plot.thin(x, y, how)
    s.how = ("one in each of %d x %d cells"):format(cells[1], cells[2])
    s.cloud = true
  end
  s.x, s.y = take(x, kept), take(y, kept)
  s.low, s.high = take(o.low, kept), take(o.high, kept)
  s.kept = #s.x
  return s
end

-- ---- words --------------------------------------------------------------------------------------

--- A string option, fit for drawing, or nil.
function input.text(where, o, name)
  local s = options.optional(where, o, name, "string")
  if s == "" then return nil end
  return s and text.clean(s)
end

--- A list of names; n: nil, or how many.
function input.names(where, what, value, n)
  if not n then n = type(value) == "table" and math.max(1, #value) or 1 end
  if type(value) ~= "table" or #value ~= n then
    options.bad(where, 0, "%s: %s, wanted a list of %d names", what, type(value) == "table"
      and ("%d entries"):format(#value) or options.describe(value), n)
  end
  local names = {}
  for i, v in ipairs(value) do
    if type(v) ~= "string" and type(v) ~= "number" then
      options.bad(where, 0, "entry %d of %s is %s, wanted a name", i, what, options.describe(v))
    end
    names[i] = text.clean(type(v) == "number" and ("%.6g"):format(v) or v)
  end
  return names
end

--- A colour option "#rrggbb", or nil.
function input.colour(where, o, name)
  local word = o[name]
  if word == nil then return nil end
  local found = colour.read(word)
  if not found then
    options.bad(where, 0, "option '%s' is %s, wanted a colour like \"#0072B2\"", name,
      options.describe(word))
  end
  return found
end

--- Ends of an axis: { low, high } with low < high, either may be absent (false or nil).
function input.limits(where, o, name, logarithmic)
  local value = options.optional(where, o, name, "table")
  if not value then return nil, nil end
  for i = 1, 2 do
    local v = value[i]
    if v and (type(v) ~= "number" or v - v ~= 0 or (logarithmic and v <= 0)) then
      options.bad(where, 0, "option '%s' has the end %s, wanted a finite number%s", name,
        options.describe(v), logarithmic and " > 0" or "")
    end
  end
  local low, high = value[1] or nil, value[2] or nil
  if low and high and not (low < high) then
    options.bad(where, 0, "option '%s' is { %.14g, %.14g }, wanted the lesser end first", name, low,
      high)
  end
  return low, high
end

return input
