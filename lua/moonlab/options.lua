--- Checking of options tables and values in Lua code, with the words that the bindings use.
local core = require "moonlab.core"

local options = {}

--- The nearest of `names` to `word`, or nil when none is near.
function options.nearest(word, names) return core.text.nearest(word, names) end

--- The same for a table that must be there.
function options.required(where, t, names)
  if type(t) ~= "table" then
    error(("bad argument #1 to '%s' (table expected, got %s)"):format(where,
      t == nil and "nothing" or type(t)), 3)
  end
  options.check(where, t, names, 3)
end

--- Raises on string keys of t that are not in names; where: "ml.train".
function options.check(where, t, names, level)
  if t == nil then return end
  level = (level or 2) + 1
  if type(t) ~= "table" then
    error(("bad argument to '%s' (a table of options expected, got %s)"):format(where, type(t)),
      level)
  end
  local known = {}
  for _, name in ipairs(names) do known[name] = true end
  for key in require("moonlab.sorted")(t) do
    if type(key) == "string" and not known[key] then
      local near = options.nearest(key, names)
      error(("bad argument to '%s' (unknown option '%s'%s)"):format(where, key,
        near and ("; did you mean '" .. near .. "'?") or ""), level)
    end
  end
end

local function describe(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) == "number" then return ("%.14g"):format(value) end
  return type(value)
end
options.describe = describe

--- A field of the wanted type ("integer", "number", "function", "string", "boolean", "table"), or
--- its default.
function options.field(where, t, name, wanted, default)
  local value = t[name]
  local article = wanted:find "^[aeiou]" and "an" or "a"
  if value == nil then
    if default == nil then
      error(("bad argument to '%s' (option '%s' is missing, wanted %s %s)"):format(where, name,
        article, wanted), 3)
    end
    return default
  end
  local ok
  if wanted == "integer" then
    ok = math.type(value) ~= nil and math.tointeger(value) ~= nil
    value = ok and math.tointeger(value) or value
  else
    ok = type(value) == wanted
  end
  if not ok then
    error(("bad argument to '%s' (option '%s' is %s, wanted %s %s)"):format(where, name,
      describe(value), article, wanted), 3)
  end
  return value
end

--- An integer or number within [low, high].
function options.range(where, name, value, low, high)
  if not (value >= low and value <= (high or math.huge)) then
    error(("bad argument to '%s' (option '%s' is %.14g, wanted %s)"):format(where, name, value,
      high and ("%.14g to %.14g"):format(low, high) or (">= %.14g"):format(low)), 3)
  end
  return value
end

return options
