--- What our Lua functions share with the bindings: errors that name the function and the user's
--- line, checks of options and values, and functions that refuse more arguments than they take.
local core = require "moonlab.core"

local options = {}

-- bindings/calls.c reads both: functions and their names in messages, and where our Lua files are.
local registry = debug.getregistry()
local names_of = registry["moonlab.names"]
local library = debug.getinfo(1, "S").source:match("^(.*/)options%.lua$")
registry["moonlab.library"] = library

--- Raises a message with the first line of the stack that is not in our own files in front, if any.
function options.raise(message, ...)
  if select("#", ...) > 0 then message = message:format(...) end
  local level = 2
  local info = debug.getinfo(level, "S")
  while info and (info.what == "C" or info.source:sub(1, #library) == library) do
    level = level + 1
    info = debug.getinfo(level, "S")
  end
  error(message, info and level or 0)
end

local originals = setmetatable({}, { __mode = "k" })

--- The function behind one that options.public made, or f itself.
function options.original(f) return originals[f] or f end

local function belongs_to(object, class)
  while true do
    local meta = getmetatable(object)
    object = type(meta) == "table" and rawget(meta, "__index")
    if object == class then return true end
    if type(object) ~= "table" then return false end
  end
end

-- f as users see it. The first `own` parameters are no argument of the user's.
local function public(name, f, own, class)
  local info = debug.getinfo(f, "Su")
  if info.what ~= "Lua" then return f end
  names_of[f] = name
  local most = info.isvararg and math.huge or info.nparams
  local function counted(...)
    local n = select("#", ...)
    if class and not belongs_to((...), class) then
      options.raise("calling '%s' on a bad self (got %s; methods are called with a colon)", name,
        options.describe((...)))
    end
    while n > most and select(n, ...) == nil do n = n - 1 end
    if n > most then
      options.raise("too many arguments to '%s' (%d, wanted at most %d)", name, n - own, most - own)
    end
    return f(...)
  end
  originals[counted] = f
  return counted
end

--- f as users see it: errors call it `name`, and arguments beyond its parameters raise, unless they
--- are nil. With a class f is its method, and raises on a self of another class.
function options.public(name, f, class) return public(name, f, class and 1 or 0, class) end

--- Makes the methods of a class public; errors put `prefix` before their names.
function options.methods(class, prefix)
  for key, value in pairs(class) do
    if type(value) == "function" and not key:find("^__") then
      class[key] = options.public((prefix or "") .. key, value, class)
    end
  end
end

--- Makes the functions of a module public, its call when it has one, and the methods of its
--- classes, which are in its field `methods`: one class, or a table of them.
function options.expose(name, module)
  if type(module) == "function" then return options.public(name, module) end
  for key, value in pairs(module) do
    if type(value) == "function" then module[key] = options.public(name .. "." .. key, value) end
  end
  local meta = getmetatable(module)
  if meta and meta.__call then meta.__call = public(name, meta.__call, 1) end
  local methods = module.methods
  if methods and methods.__index then
    options.methods(methods)
  elseif methods then
    for _, class in pairs(methods) do options.methods(class) end
  end
  return module
end

--- The nearest of `names` to `word`, or nil when none is near.
function options.nearest(word, names) return core.text.nearest(word, names) end

--- A value in a message: a string in quotes, a number, a tensor's dtype and shape, else the type.
function options.describe(value)
  if type(value) == "string" then
    return ("%q"):format(#value > 60 and value:sub(1, 57) .. "..." or value)
  end
  if type(value) == "number" then return ("%.14g"):format(value) end
  local meta = getmetatable(value)
  local kind = type(meta) == "table" and rawget(meta, "__name")
  if kind == "ml.tensor" and not value:is_released() then
    return ("%s [%s]"):format(value:dtype(), table.concat(value:shape(), "x"))
  end
  return type(kind) == "string" and kind or type(value)
end
local describe = options.describe

--- Raises "bad argument #2 to 'where' (...)"; argument 0 for one that has no number.
function options.bad(where, argument, message, ...)
  local number = argument > 0 and ("#%d "):format(argument) or ""
  options.raise("%s", ("bad argument %sto '%s' (%s)"):format(number, where, message:format(...)))
end

--- Argument number `i` of function `where` is of a type, or raises.
function options.argument(where, i, value, wanted)
  if type(value) ~= wanted then
    options.bad(where, i, "%s expected, got %s", wanted, describe(value))
  end
  return value
end

--- The same for an integer within [low, high].
function options.integer(where, i, value, low, high)
  local n = math.type(value) and math.tointeger(value)
  if not n or n < low or n > (high or math.maxinteger) then
    options.bad(where, i, "%s, wanted an integer %s", describe(value),
      high and ("in %d..%d"):format(low, high) or (">= %d"):format(low))
  end
  return n
end

--- Argument number i is a path: a string that is not empty and holds no zero byte.
function options.path(where, i, value)
  options.argument(where, i, value, "string")
  if value == "" then options.bad(where, i, "the path is empty") end
  if value:find("\0", 1, true) then options.bad(where, i, "the path holds a zero byte") end
  return value
end

--- Raises on string keys of t that are not in names; where: "ml.train". Without `array` the other
--- keys raise as well.
function options.check(where, t, names, array)
  if t == nil then return end
  if type(t) ~= "table" then
    options.bad(where, 0, "a table of options expected, got %s", describe(t))
  end
  local known = {}
  for _, name in ipairs(names) do known[name] = true end
  for key in require("moonlab.sorted")(t) do
    if type(key) == "string" and not known[key] then
      local near = options.nearest(key, names)
      options.bad(where, 0, "unknown option '%s'%s", key,
        near and ("; did you mean '" .. near .. "'?") or "")
    elseif type(key) ~= "string" and not (array and math.type(key) == "integer") then
      options.bad(where, 0, "the options have the key %s, wanted names", describe(key))
    end
  end
end

--- The same for a table that must be there and may hold up to `most` (0) values by position.
function options.required(where, t, names, most)
  options.argument(where, 1, t, "table")
  options.check(where, t, names, true)
  most = most or 0
  for key in pairs(t) do
    if type(key) ~= "string" and not (key >= 1 and key <= most) then
      options.bad(where, 1, "value number %d, wanted at most %d", key, most)
    end
  end
end

--- A field of the wanted type ("integer", "number", "function", "string", "boolean", "table"), or
--- its default.
function options.field(where, t, name, wanted, default)
  local value = t[name]
  local article = wanted:find "^[aeiou]" and "an" or "a"
  if value == nil then
    if default == nil then
      options.bad(where, 0, "option '%s' is missing, wanted %s %s", name, article, wanted)
    end
    return default
  end
  local ok = type(value) == wanted
  if wanted == "integer" then
    ok = math.type(value) ~= nil and math.tointeger(value) ~= nil
    value = ok and math.tointeger(value) or value
  end
  if not ok then
    options.bad(where, 0, "option '%s' is %s, wanted %s %s", name, describe(value), article, wanted)
  end
  return value
end

--- A field that may be absent.
function options.optional(where, t, name, wanted)
  if t[name] ~= nil then return options.field(where, t, name, wanted) end
end

--- A field that is one of the words in the list.
function options.choice(where, t, name, words, default)
  local value = t[name]
  if value == nil then return default end
  for _, word in ipairs(words) do
    if value == word then return value end
  end
  local near = type(value) == "string" and options.nearest(value, words)
  options.bad(where, 0, "option '%s' is %s, wanted \"%s\"%s", name, describe(value),
    table.concat(words, "\", \""), near and ("; did you mean '" .. near .. "'?") or "")
end

--- An integer or number within [low, high].
function options.range(where, name, value, low, high)
  if not (value >= low and value <= (high or math.huge)) then
    options.bad(where, 0, "option '%s' is %.14g, wanted %s", name, value,
      high and ("%.14g to %.14g"):format(low, high) or (">= %.14g"):format(low))
  end
  return value
end

return options
