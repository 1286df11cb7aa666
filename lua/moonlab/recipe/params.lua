--- Typed parameters of recipes: declared by example, read from words, checked against range and
--- choices.
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local params = {}

local fields = { "unit", "min", "max", "above", "below", "choices", "integer", "of" }
local most_values = 100000

-- ---- printing ---------------------------------------------------------------------------------

--- A value as it is typed on a command line: numbers with as many digits as they need, lists a,b,c.
function params.show(value)
  if type(value) == "table" then
    local parts = {}
    for i, v in ipairs(value) do parts[i] = params.show(v) end
    return table.concat(parts, ",")
  end
  if math.type(value) == "float" then
    for digits = 6, 17 do
      local text = ("%%.%dg"):format(digits):format(value)
      if tonumber(text) == value or value ~= value then return text end
    end
  end
  return tostring(value)
end
local show = params.show

local function limits(spec)
  if spec.choices then
    local names = {}
    for i, choice in ipairs(spec.choices) do names[i] = show(choice) end
    return ", one of " .. table.concat(names, ", ")
  end
  if spec.min and spec.max then return (" of %s to %s"):format(show(spec.min), show(spec.max)) end
  local parts = {}
  if spec.min then parts[#parts + 1] = ">= " .. show(spec.min) end
  if spec.above then parts[#parts + 1] = "> " .. show(spec.above) end
  if spec.max then parts[#parts + 1] = "<= " .. show(spec.max) end
  if spec.below then parts[#parts + 1] = "< " .. show(spec.below) end
  return #parts > 0 and " " .. table.concat(parts, " and ") or ""
end

local nouns = {
  integer = { "an integer", "integers" }, number = { "a number", "numbers" },
  string = { "a text", "texts" }, boolean = { "true or false", "true or false" },
}

--- What a parameter takes, in words: "an integer of 1 to 64 (blocks)".
function params.wanted(spec)
  local noun = nouns[spec.kind]
  local unit = spec.unit and (" (" .. spec.unit .. ")") or ""
  if not spec.list then return noun[1] .. limits(spec) .. unit end
  local like = #spec.default > 0 and ", like " .. show(spec.default) or ""
  return "a list of " .. noun[2] .. limits(spec) .. unit .. like
end

-- ---- checking ---------------------------------------------------------------------------------

local function in_range(spec, value)
  if spec.choices then
    for _, choice in ipairs(spec.choices) do
      if choice == value then return true end
    end
    return false
  end
  return not (spec.min and not (value >= spec.min)) and not (spec.max and not (value <= spec.max))
    and not (spec.above and not (value > spec.above))
    and not (spec.below and not (value < spec.below))
end

local function check_scalar(spec, value)
  if spec.kind == "integer" then
    value = math.type(value) and math.tointeger(value)
  elseif spec.kind == "number" then
    if math.type(value) == "integer" then value = value + 0.0 end
    if type(value) ~= "number" or value ~= value then value = nil end
  elseif type(value) ~= spec.kind then
    value = nil
  end
  if value == nil or not in_range(spec, value) then return nil end
  return value
end

--- The value in the parameter's own type, or nil and what was wanted.
function params.check(spec, value)
  if not spec.list then
    local checked = check_scalar(spec, value)
    if checked == nil then return nil, params.wanted(spec) end
    return checked
  end
  if type(value) ~= "table" or getmetatable(value) ~= nil then return nil, params.wanted(spec) end
  local list = {}
  for i = 1, #value do
    list[i] = check_scalar(spec, value[i])
    if list[i] == nil then return nil, params.wanted(spec) end
  end
  for key in pairs(value) do
    if not math.tointeger(key) then return nil, params.wanted(spec) end
  end
  return list
end

-- ---- declaring --------------------------------------------------------------------------------

local function kind_of(example)
  if math.type(example) == "integer" then return "integer" end
  local kind = type(example)
  return nouns[kind] and kind or nil
end

local function bad(where, name, text, ...)
  options.bad(where, 0, "parameter '%s': %s", name, text:format(...))
end

local function declare(where, name, entry)
  if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" then
    bad(where, tostring(name), "wanted a name of letters, digits and _")
  end
  if name == "seeds" then bad(where, name, "is the frame's own word; full = { seeds = {...} }") end
  if type(entry) ~= "table" or entry[1] == nil or type(entry[2]) ~= "string" then
    bad(where, name, "wanted { default, \"meaning\" }")
  end
  options.check(where, entry, fields, true)
  local default = entry[1]
  local list = type(default) == "table"
  local example = entry.of
  if example == nil then example = list and default[1] or default end
  local kind = kind_of(example)
  if not kind then
    bad(where, name, list and "an empty list needs of = an example of its values"
      or "the default is a %s, wanted a number, a text, a boolean or a list", type(example))
  end
  if list and entry.of == nil then -- { 1, 2.5 } holds numbers
    for _, v in ipairs(default) do
      if kind == "integer" and math.type(v) == "float" then kind = "number" end
    end
  end
  if entry.integer == true and kind == "number" then kind = "integer" end
  if entry.integer == false and kind == "integer" then kind = "number" end
  local spec = { name = name, kind = kind, list = list, meaning = entry[2], default = default }
  for _, field in ipairs(fields) do spec[field] = entry[field] end
  for _, field in ipairs { "min", "max", "above", "below" } do
    if spec[field] ~= nil and (type(spec[field]) ~= "number"
      or (kind ~= "number" and kind ~= "integer")) then
      bad(where, name, "%s is %s, wanted a number, for a parameter that is one", field,
        options.describe(spec[field]))
    end
  end
  if spec.choices ~= nil and (type(spec.choices) ~= "table" or #spec.choices == 0) then
    bad(where, name, "choices is %s, wanted a list", options.describe(spec.choices))
  end
  local checked, wanted = params.check(spec, default)
  if checked == nil then bad(where, name, "the default is %s, wanted %s", show(default), wanted) end
  spec.default = checked
  return spec
end

--- The table { name = { default, "meaning", unit =, min =, max =, ... } } as a table of checked
--- declarations. Every recipe has a seed; one that declares none gets 1.
function params.define(where, entries)
  local specs = {}
  for name, entry in sorted(entries) do specs[name] = declare(where, name, entry) end
  specs.seed = specs.seed or declare(where, "seed", { 1, "every stream derives from it", min = 0 })
  if specs.seed.kind ~= "integer" or specs.seed.list then
    bad(where, "seed", "the default is %s, wanted an integer", show(specs.seed.default))
  end
  return specs
end

--- Checks a table of values (a size of a recipe, the overrides of a sweep) against declarations.
--- Returns the table with every value in its type, or nil and a message.
function params.check_all(specs, values, owner)
  local checked = {}
  for name, value in sorted(values) do
    local spec = specs[name]
    if not spec then return nil, params.unknown(specs, name, owner) end
    local typed, wanted = params.check(spec, value)
    if typed == nil then
      local shown = type(value) == "table" and show(value) or options.describe(value)
      return nil, ("%s is %s, wanted %s"):format(name, shown, wanted)
    end
    checked[name] = typed
  end
  return checked
end

--- The message for a parameter that is not there.
function params.unknown(specs, name, owner)
  local names = {}
  for known in pairs(specs) do names[#names + 1] = known end
  table.sort(names)
  local near = options.nearest(tostring(name), names)
  return ("%s has no parameter '%s'%s"):format(owner, tostring(name),
    near and ("; did you mean '" .. near .. "'?") or ("; it has " .. table.concat(names, ", ")))
end

-- ---- reading words ----------------------------------------------------------------------------

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
  if value ~= nil then value = check_scalar(spec, value) end
  return value
end

-- Rounded to 12 digits, so that 1e-4:1e-1:x10 meets the points of 1e-4,1e-3,1e-2,1e-1.
local function count_up(spec, from, to, following)
  local list = {}
  local value, k = from, 0
  while value <= to + 1e-9 * math.abs(to) do
    list[#list + 1] = check_scalar(spec, tonumber(("%.12g"):format(value)))
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
local function values(spec, text)
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
  local list, wrong = values(spec, text)
  if not list then
    return nil, params.wanted(spec) .. (is_range(spec, wrong) and range_help or "")
  end
  return list
end

--- The value that a word key=text gives, or nil and what was wanted.
function params.parse(spec, text)
  if spec.list then return parse_list(spec, text) end
  local value = scalar(spec, text)
  if value == nil then return nil, wanted_of(spec, text) end
  return value
end

--- The values that a sweep's word key=text gives: a list, or { low =, high = } for low~high; or nil
--- and what was wanted. The value of a list-valued parameter is bracketed.
function params.points(spec, text)
  if spec.list then
    local list = {}
    for _, part in ipairs(split(text)) do
      if not part:find "^%[.*%]$" then
        return nil, ("lists in brackets, like [%s],[...]"):format(show(spec.default))
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
  local list, wrong = values(spec, text)
  if list then return list end
  return nil, "values a,b,c, each " .. wanted_of(spec, wrong)
    .. (is_range(spec, wrong) and range_help or "")
end

-- ---- resolving --------------------------------------------------------------------------------

--- Defaults, then the values of the size, then what the user said; a fresh table.
function params.resolve(specs, size, overrides)
  local p = {}
  for name, spec in pairs(specs) do p[name] = spec.default end
  for name, value in pairs(size or {}) do p[name] = value end
  for name, value in pairs(overrides or {}) do p[name] = value end
  for name, value in pairs(p) do
    if type(value) == "table" then p[name] = table.move(value, 1, #value, 1, {}) end
  end
  return p
end

return params
