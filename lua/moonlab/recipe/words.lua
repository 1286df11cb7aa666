--- The words after ./moonlab run NAME and ./moonlab sweep NAME.
local options = require "moonlab.options"
local values = require "moonlab.recipe.values"

local words = {}

local function number_after(flag, text, wanted, accept)
  local value = accept(tonumber(text))
  if value == nil then return nil, ("%s %s: wanted %s"):format(flag, text, wanted) end
  return value
end

local kinds = {
  text = function(_, text) return text end,
  integer = function(flag, text) return number_after(flag, text, "an integer", math.tointeger) end,
  count = function(flag, text)
    return number_after(flag, text, "an integer >= 1", function(n)
      n = n and math.tointeger(n)
      return n and n >= 1 and n or nil
    end)
  end,
}

-- Splits --flag=value; the value, the rest of the words being looked at.
local function flag_of(word)
  local flag, value = word:match "^(%-%-[%w-]+)=(.*)$"
  return flag or word, value
end

local function unknown(word, flags)
  local names = {}
  for name in pairs(flags) do names[#names + 1] = name end
  table.sort(names)
  local near = options.nearest(word, names)
  if near then return ("unknown word '%s'; did you mean '%s'?"):format(word, near) end
  return ("unknown word '%s'; wanted key=value, %s"):format(word, table.concat(names, ", "))
end

--- Reads words: key=value pairs by `take(key, text)`, and flags by the table flag -> true, "text",
--- "integer" or "count". Returns the table of flags without their dashes, or nil and a message.
function words.read(list, flags, take)
  local given = {}
  local i = 1
  while list[i] do
    local word = list[i]
    local key, text = word:match "^([%a_][%w_]*)=(.*)$"
    local flag, value = flag_of(word)
    local kind = flags[flag]
    local ok, why = true, nil
    if key then
      ok, why = take(key, text)
    elseif kind == true and not value then
      given[flag:sub(3):gsub("-", "_")] = true
    elseif kind and kind ~= true then
      if not value then
        i = i + 1
        value = list[i]
      end
      if not value or value == "" then return nil, flag .. " needs a value" end
      value, why = kinds[kind](flag, value)
      ok = value ~= nil
      given[flag:sub(3):gsub("-", "_")] = value
    else
      return nil, unknown(word, flags)
    end
    if not ok then return nil, why end
    i = i + 1
  end
  return given
end

--- The seeds in "1..3" or "1,2,3", or nil and a message.
function words.seeds(r, text)
  local list, wanted = values.points(r.params.seed, text)
  if not list or list.low then
    return nil, ("seeds=%s: wanted %s"):format(text, wanted or "a list like 1,2,3 or 1..3")
  end
  local seen, distinct = {}, {}
  for _, seed in ipairs(list) do
    if not seen[seed] then distinct[#distinct + 1] = seed end
    seen[seed] = true
  end
  return distinct
end

--- The size that --smoke and --full name, or nil and a message.
function words.size(r, given)
  if given.smoke and given.full then return nil, "--smoke and --full exclude each other" end
  local size = given.smoke and "smoke" or given.full and "full" or "default"
  if size ~= "default" and not r[size] then
    return nil, ("%s has no --%s size"):format(r.name, size)
  end
  return size
end

--- Prints a usage text: to standard output where the word asks for it, else as an error. The result
--- is the exit status.
function words.usage(word, text)
  local asked = word == "--help" or word == "-h"
  local out = asked and io.stdout or io.stderr
  out:write(text, "\n")
  return asked and 0 or 2
end

--- A word as the shell takes it.
function words.quote(word)
  if word:find "^[%w_./:,=+@%%-]+$" then return word end
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

return words
