--- Values of parameters from words: one value, or the values that a sweep goes through.
local options = require "moonlab.options"
local params = require "moonlab.recipe.params"

local values = {}

local most_values = 100000

local function number_of(text)
  if text:find "^%s*$" or text:find "[xX]" then return nil end
  return tonumber(text)
end

local function scalar(spec, text)
  local value
  if spec.kind == "boolean" then
    if text == "true" then value = true elseif text == "false" then value = false end
  elseif spec.kind == "string" then
    value = text
  else
    value = number_of(text)
  end
  if value ~= nil then value = params.check_scalar(spec, value) end
  return value
end

-- Rounded to 12 digits, so that 1e-4:1e-1:x10 meets the points of 1e-4,1e-3,1e-2,1e-1.
local function count_up(spec, from, to, following)
  local list = {}
  local value, k = from, 0
  while value <= to + 1e-9 * math.abs(to) do
    list[#list + 1] = params.check_scalar(spec, tonumber(("%.12g"):format(value)))
    if #list ~= k + 1 or #list > most_values then return nil end
    k = k + 1
    value = following(k)
  end
  return #list > 0 and list or nil
end

-- 1..3, 32:256:x2 and 0:1:+0.25 (the + may be left out), for numbers.
local function range(spec, text)
  local low, high = text:match "^(.-)%.%.(.+)$"
  if low then
    local from, to = number_of(low), number_of(high)
    from, to = from and math.tointeger(from), to and math.tointeger(to)
    if not from or not to then return nil end
    return count_up(spec, from, to, function(k) return from + k end)
  end
  local from_text, to_text, step_text = text:match "^([^:]+):([^:]+):([^:]+)$"
  if not from_text then return nil end
  local from, to = number_of(from_text), number_of(to_text)
  local factor = step_text:match "^x(.+)$"
  local step = number_of(factor or step_text:match "^%+(.+)$" or step_text)
  if not (from and to and step) then return nil end
  if factor then
    if not (from > 0 and step > 1) then return nil end
    return count_up(spec, from, to, function(k) return from * step ^ k end)
  end
  if not (step > 0) then return nil end
  return count_up(spec, from, to, function(k) return from + k * step end)
end

local function is_range(spec, text)
  return (spec.kind == "integer" or spec.kind == "number") and (text:find("..", 1, true)
    or text:find(":", 1, true)) ~= nil
end

-- Parts between commas that stand outside of brackets.
local function split(text)
  local parts, depth, start = {}, 0, 1
  for i = 1, #text + 1 do
    local c = text:sub(i, i)
    if c == "[" then depth = depth + 1 elseif c == "]" then depth = depth - 1 end
    if (c == "," and depth == 0) or i == #text + 1 then
      parts[#parts + 1] = text:sub(start, i - 1)
      start = i + 1
    end
  end
  return parts
end

-- The values in a,b,c with ranges spread out, or nil and the part that is wrong.
local function values_of(spec, text)
  local list = {}
  for _, part in ipairs(split(text)) do
    if is_range(spec, part) then
      local spread = range(spec, part)
      if not spread then return nil, part end
      for _, v in ipairs(spread) do list[#list + 1] = v end
    else
      local value = scalar(spec, part)
      if value == nil then return nil, part end
      list[#list + 1] = value
    end
    if #list > most_values then return nil, part end
  end
  return list
end

local range_help = " (ranges: 1..3, 32:256:x2, 0:1:+0.25)"

local function wanted_of(spec, text)
  local wanted = params.wanted(spec)
  if spec.choices and spec.kind == "string" and not spec.list then
    local near = options.nearest(text, spec.choices)
    if near then wanted = wanted .. "; did you mean '" .. near .. "'?" end
  end
  return wanted
end

local function parse_list(spec, text)
  text = text:match "^%[(.*)%]$" or text
  if text == "" then return {} end
  local list, wrong = values_of(spec, text)
  if not list then
    return nil, params.wanted(spec) .. (is_range(spec, wrong) and range_help or "")
  end
  return list
end

--- The value that a word key=text gives, or nil and what was wanted.
function values.parse(spec, text)
  if spec.list then return parse_list(spec, text) end
  local value = scalar(spec, text)
  if value == nil then return nil, wanted_of(spec, text) end
  return value
end

--- The values that a sweep's word key=text gives: a list, or { low =, high = } for low~high; or nil
--- and what was wanted. The value of a list-valued parameter is bracketed.
function values.points(spec, text)
  if spec.list then
    local list = {}
    for _, part in ipairs(split(text)) do
      if not part:find "^%[.*%]$" then
        return nil, ("lists in brackets, like [%s],[...]"):format(params.show(spec.default))
      end
      local value, wanted = parse_list(spec, part)
      if value == nil then return nil, wanted end
      list[#list + 1] = value
    end
    return list
  end
  local low, high = text:match "^([^~]+)~([^~]+)$"
  if low and (spec.kind == "integer" or spec.kind == "number") then
    local from, to = scalar(spec, low), scalar(spec, high)
    if not from or not to or not (from < to) then
      return nil, "low~high with low < high, each " .. params.wanted(spec)
    end
    return { low = from, high = to }
  end
  local list, wrong = values_of(spec, text)
  if list then return list end
  return nil, "values a,b,c, each " .. wanted_of(spec, wrong)
    .. (is_range(spec, wrong) and range_help or "")
end

return values
