--- Iteration in a fixed order.
local options = require "moonlab.options"

--- ml.sorted(t)
--- Iterates over a table's pairs in the order of their keys: numbers first, then strings bytewise,
--- then the rest by type.
--- @param t table
--- @return function an iterator for `for key, value in ml.sorted(t) do`
--- @source Lua reseeds string hashing per process: pairs(t) has no order that a file could keep
local function sorted(t)
  options.argument("ml.sorted", 1, t, "table")
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    local ta, tb = type(a), type(b)
    if ta ~= tb then return ta < tb end
    if ta == "number" or ta == "string" then return a < b end
    return tostring(a) < tostring(b)
  end)
  local i = 0
  return function()
    i = i + 1
    if keys[i] ~= nil then return keys[i], t[keys[i]] end
  end
end

return sorted
