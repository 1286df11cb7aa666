--- Typed parameters of recipes: declared by example, checked against range and choices.
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local params = {}

local fields = { "unit", "min", "max", "above", "below", "choices", "integer", "of" }

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

--- One number, text or boolean in the parameter's own type, or nil: an entry where it is a list.
function params.check_scalar(spec, value)
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
    local checked = params.check_scalar(spec, value)
    if checked == nil then return nil, params.wanted(spec) end
    return checked
  end
  if type(value) ~= "table" or getmetatable(value) ~= nil then return nil, params.wanted(spec) end
  local list = {}
  for i = 1, #value do
    list[i] = params.check_scalar(spec, value[i])
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
