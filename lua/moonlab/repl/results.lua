--- The last results of the prompt, as the globals _, _1 and _2; and what is said of a global that
--- is not there.
local options = require "moonlab.options"

-- A session may lose any of these globals; the prompt goes on without them.
local next, rawget, type =
  next, rawget, type

local results = {}

local small = 1 << 20 -- bytes of a tensor that is kept; a larger one stays while others hold it
local kept, weak = {}, setmetatable({}, { __mode = "v" })
local places = { _ = 1, _1 = 2, _2 = 3 }
local known_nil = { arg = true, _PROMPT = true, _PROMPT2 = true }

local function is_large(value)
  local meta = debug.getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  if name ~= "ml.tensor" then return type(value) == "userdata" and name ~= "ml.rng" end
  return not value:is_released() and value:numel() * 8 > small
end

--- Takes up a result: _ becomes _1, _1 becomes _2.
function results.push(value)
  for i = 3, 2, -1 do kept[i], weak[i] = kept[i - 1], weak[i - 1] end
  if is_large(value) then
    kept[1], weak[1] = nil, value
  else
    kept[1], weak[1] = value, nil
  end
end

--- The result of so many expressions before, 1 for the last; nil when it has gone.
function results.get(i)
  if kept[i] ~= nil then return kept[i] end
  return weak[i]
end

local function names_of(t)
  local names = {}
  for name in next, t do
    if type(name) == "string" and name:sub(1, 1) ~= "_" then names[#names + 1] = name end
  end
  return names
end

--- Has reads of _, _1, _2 give the results, and warn(text) called at the first read of a global
--- that is not there, where the prompt's own input reads it. A metatable that _G has stays.
function results.install(warn)
  if debug.getmetatable(_G) ~= nil then return end
  local said = {}
  setmetatable(_G, { __index = function(_, name)
    local place = places[name]
    if place then return results.get(place) end
    local info = debug.getinfo(2, "S")
    if not info or info.source ~= "=stdin" or type(name) ~= "string" or said[name]
      or known_nil[name] then
      return nil
    end
    said[name] = true
    if name == "exit" or name == "quit" then
      warn "Ctrl-D leaves"
      return nil
    end
    local near = options.nearest(name, names_of(_G))
    warn(("no global is called '%s'%s"):format(name,
      near and ("; did you mean '" .. near .. "'?") or ""))
    return nil
  end })
end

return results
