--- Values as the prompt prints them: tables sorted, three levels deep, with what is too much left
--- out.
local sorted = require "moonlab.sorted"

-- A session may lose any of these globals; the prompt goes on without them.
local ipairs, math, next, pcall, rawget, rawlen, table, tostring, type =
  ipairs, math, next, pcall, rawget, rawlen, table, tostring, type

local show = {}

local depth_limit, entry_limit, width = 3, 40, 96

-- tostring that survives a __tostring that raises.
local function safe(value)
  local ok, text = pcall(tostring, value)
  if ok then return text end
  return ("(%s whose __tostring failed: %s)"):format(type(value), tostring(text))
end

local function key_text(key)
  if type(key) == "string" then
    return key:find "^[%a_][%w_]*$" and key or ("[%q]"):format(key)
  end
  return ("[%s]"):format(safe(key))
end

local function quoted(text)
  if #text > 200 then text = text:sub(1, 200) .. "..." end
  return (("%q"):format(text):gsub("\\\n", "\\n"))
end

-- Whether a table prints itself.
local function has_text(value)
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__tostring") ~= nil
end

local inner

-- The entries of a table as texts, the list first.
local function entries(t, level, above)
  local parts, n, left = {}, rawlen(t), 0
  for i = 1, n do
    if i > entry_limit then
      left = n - entry_limit
      break
    end
    parts[#parts + 1] = inner(rawget(t, i), level, above)
  end
  local named = {}
  for key, value in next, t do
    if not (math.type(key) == "integer" and key >= 1 and key <= n) then named[key] = value end
  end
  for key, value in sorted(named) do
    if #parts >= entry_limit then
      left = left + 1
    else
      parts[#parts + 1] = key_text(key) .. " = " .. inner(value, level, above)
    end
  end
  if left > 0 then parts[#parts + 1] = ("... %d more"):format(left) end
  return parts
end

local function table_text(t, level, above)
  if next(t) == nil then return "{}" end
  if above[t] then return "{ itself }" end
  if level > depth_limit then return "{ ... }" end
  above[t] = true
  local parts = entries(t, level + 1, above)
  above[t] = nil
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if #line + 2 * level <= width and not line:find "\n" then return line end
  local indent = ("  "):rep(level)
  local lines = { "{" }
  local short = {} -- several short ones share a line
  local function flush()
    if #short > 0 then lines[#lines + 1] = indent .. table.concat(short, ", ") .. "," end
    short = {}
  end
  local used = 0
  for _, part in ipairs(parts) do
    if part:find "\n" or #part > 20 then
      flush()
      used = 0
      lines[#lines + 1] = indent .. part .. ","
    else
      if used + #part > width - 2 * level then
        flush()
        used = 0
      end
      short[#short + 1] = part
      used = used + #part + 2
    end
  end
  flush()
  lines[#lines + 1] = ("  "):rep(level - 1) .. "}"
  return table.concat(lines, "\n")
end

-- A value inside a table: strings quoted, tensors by dtype and shape, one line where possible.
function inner(value, level, above)
  if type(value) == "string" then return quoted(value) end
  if type(value) == "table" and not has_text(value) then return table_text(value, level, above) end
  local text = safe(value)
  if text:find "\n" then text = text:match "^[^\n]*" .. " ..." end
  return #text > 120 and text:sub(1, 117) .. "..." or text
end

-- A function with help by its first lines: what an address would not tell.
local function function_text(f)
  local ok, text = pcall(function() return require("moonlab.help").of(f) end)
  if not ok or type(text) ~= "string" then return safe(f) end
  local signature, sentence = text:match "^([^\n]*)\n?([^\n@]*)"
  return sentence ~= "" and signature .. "\n" .. sentence or signature
end

--- A value as the prompt prints it, over as many lines as it needs.
function show.text(value)
  if type(value) == "function" then return function_text(value) end
  if type(value) == "table" and not has_text(value) then return table_text(value, 1, {}) end
  return safe(value)
end

return show
