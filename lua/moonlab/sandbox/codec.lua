--- What goes to the worker of the sandbox and comes back, as bytes. What comes back is hostile.
local options = require "moonlab.options"

local codec = {}
local pack, unpack = string.pack, string.unpack
local DEEPEST = 16

local Foreign = { __name = "ml.sandbox.foreign" }
function Foreign.__tostring(self) return "(a " .. self.type .. ")" end

--- Whether a value stands for one that does not travel, a function or a table that is too deep.
function codec.foreign(value) return getmetatable(value) == Foreign end

local function put(out, value, where, depth)
  local kind = math.type(value) or type(value)
  if value == nil then
    out[#out + 1] = "n"
  elseif kind == "boolean" then
    out[#out + 1] = value and "t" or "f"
  elseif kind == "integer" then
    out[#out + 1] = pack("<c1i8", "i", value)
  elseif kind == "float" then
    out[#out + 1] = pack("<c1d", "d", value)
  elseif kind == "string" then
    out[#out + 1] = pack("<c1s4", "s", value)
  elseif kind == "table" and depth < DEEPEST then
    local count, at = 0, #out + 1
    out[at] = ""
    for key, entry in pairs(value) do
      put(out, key, where, depth + 1)
      put(out, entry, where, depth + 1)
      count = count + 1
    end
    out[at] = pack("<c1I4", "T", count)
  else
    options.bad(where, 0, "a %s cannot be given to a program",
      kind == "table" and "table of more than 15 levels" or kind)
  end
end

--- A job as a frame: a source, and the lists of arguments that it is called with.
function codec.job(where, source, calls, limits)
  local out = { pack("<c1I4I8I8I4I4s4I4", "J", math.ceil(1000 * limits.seconds), limits.memory,
    limits.instructions, limits.output, limits.results, source, #calls) }
  for _, arguments in ipairs(calls) do
    local n = arguments.n or #arguments
    out[#out + 1] = pack("<I4", n)
    for i = 1, n do put(out, arguments[i], where, 0) end
  end
  return pack("<s4", table.concat(out))
end

codec.probe = pack("<s4", "P")

-- The value at a place, and the place behind it.
local function get(text, at, depth)
  local kind = text:sub(at, at)
  at = at + 1
  if kind == "n" then return nil, at end
  if kind == "t" then return true, at end
  if kind == "f" then return false, at end
  if kind == "i" then return unpack("<i8", text, at) end
  if kind == "d" then return unpack("<d", text, at) end
  if kind == "s" then return unpack("<s4", text, at) end
  if kind == "o" then
    local name
    name, at = unpack("<s4", text, at)
    return setmetatable({ type = name }, Foreign), at
  end
  if kind ~= "T" or depth > DEEPEST then error "no value" end
  local out = {}
  local count, behind = unpack("<I4", text, at)
  at = behind
  for _ = 1, count do -- ends with the text at the latest
    local key, value
    key, at = get(text, at, depth + 1)
    value, at = get(text, at, depth + 1)
    out[key] = value
  end
  return out, at
end

local reasons = { e = "error", s = "syntax", i = "instructions", m = "memory", p = "output",
  r = "results" }

local function verdict(code)
  if code ~= "o" and not reasons[code] then error "no verdict" end
  return code == "o", reasons[code]
end

--- An answer taken apart; raises on one that no worker of ours would give.
function codec.answer(text)
  local code, spent, peak, message, output, count, at = unpack("<c1I8I8s4s4I4", text)
  local ok, reason = verdict(code)
  local result = { ok = ok, reason = reason, message = not ok and message or nil, output = output,
    instructions = spent, memory = peak, calls = {} }
  for i = 1, count do
    local call = {}
    code, at = unpack("<c1", text, at)
    call.ok, call.reason = verdict(code)
    if call.ok then
      local values = {}
      values.n, at = unpack("<I4", text, at)
      for k = 1, values.n do values[k], at = get(text, at, 0) end
      call.values = values
    else
      call.message, at = unpack("<s4", text, at)
    end
    result.calls[i] = call
  end
  if at ~= #text + 1 then error "more than an answer" end
  return result
end

--- The words of a frame, one a line.
function codec.words(text)
  local list, words = {}, (unpack("<s4", text))
  for line in words:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

return codec
