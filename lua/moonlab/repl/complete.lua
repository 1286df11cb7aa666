--- What a line at the prompt can go on with. Reads raw fields and lists of names only, so that
--- completing runs no code of the user's.
local catalogue = require "moonlab.recipe.catalogue"
local interrupt = require "moonlab.interrupt"
local lfs = require "lfs"
local options = require "moonlab.options"

local keywords = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function",
  "goto", "if", "in", "local", "nil", "not", "or", "repeat", "return", "then", "true", "until",
  "while" }
local most = 1000 -- candidates

-- ---- what a value has --------------------------------------------------------------------------

local function metatable_of(value)
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and meta or nil
end

-- A function of all names of a value with what they name, as far as that can be known without
-- calling anything; `each(name, value)`, where value is nil for what is only listed.
local function each_field(value, each, depth)
  if depth > 10 then return end
  if type(value) == "table" then
    for key, field in next, value do each(key, field) end
  end
  local meta = metatable_of(value)
  if not meta then return end
  local methods, list = rawget(meta, "__methods"), rawget(meta, "__dir")
  for _, name in ipairs(type(list) == "table" and list or {}) do
    each(name, type(methods) == "table" and rawget(methods, name) or nil)
  end
  local index = rawget(meta, "__index")
  if type(index) == "table" then each_field(index, each, depth + 1) end
end

-- Names that ml loads when they are first used.
local function is_lazy(value)
  return rawequal(value, package.loaded["moonlab"]) and type(rawget(value, "modules")) == "table"
end

-- The field of a value, or nil. Modules of ml are loaded: they are ours.
local function field_of(value, key)
  if is_lazy(value) and rawget(value, "modules")[key] then
    local ok, module = interrupt.try(function() return value[key] end)
    return ok and module or nil
  end
  local found
  each_field(value, function(name, field)
    if found == nil and name == key then found = field end
  end, 0)
  return found
end

-- ---- words of the line -------------------------------------------------------------------------

-- The string that is open at the end of the line: where its text begins, and its quote; nil when
-- none is. "comment" when a comment is.
local function open_string(line)
  local at, n = 1, #line
  while at <= n do
    local c = line:sub(at, at)
    if c == "-" and line:sub(at, at + 1) == "--" then return nil, "comment" end
    if c == '"' or c == "'" then
      local from = at + 1
      at = from
      while at <= n and line:sub(at, at) ~= c do
        at = at + (line:sub(at, at) == "\\" and 2 or 1)
      end
      if at > n then return from, c end
    end
    at = at + 1
  end
end

-- Where the chain of names at the end of text begins: a.b["c"][1]:d
local function chain_start(text)
  local at = #text
  while at > 0 do
    local c = text:sub(at, at)
    if c:find "[%w_.:]" then
      at = at - 1
    elseif c == "]" then
      local before = text:sub(1, at):match "^(.*)%[%s*[%w_]+%s*%]$"
        or text:sub(1, at):match '^(.*)%[%s*"[^"]*"%s*%]$'
        or text:sub(1, at):match "^(.*)%[%s*'[^']*'%s*%]$"
      if not before then break end
      at = #before
    else
      break
    end
  end
  return at + 1
end

-- The value that a chain of names means ("a.b[1]"), or nil.
local function value_of(chain)
  local name, rest = chain:match "^([%a_][%w_]*)(.*)$"
  if not name then return nil end
  local value = rawget(_G, name)
  while rest ~= "" do
    if value == nil then return nil end
    local key, after = rest:match "^[.:]([%a_][%w_]*)(.*)$"
    if not key then
      key, after = rest:match '^%[%s*"([^"]*)"%s*%](.*)$'
      if not key then key, after = rest:match "^%[%s*'([^']*)'%s*%](.*)$" end
      if not key then
        key, after = rest:match "^%[%s*(%d+)%s*%](.*)$"
        key = math.tointeger(key)
      end
    end
    if key == nil then return nil end
    value, rest = field_of(value, key), after
  end
  return value
end

local function begins(name, prefix) return name:sub(1, #prefix) == prefix end

-- Sorted words, without those that stand twice.
local function sorted_words(words)
  table.sort(words)
  local list = {}
  for _, word in ipairs(words) do
    if list[#list] ~= word and #list < most then list[#list + 1] = word end
  end
  return list
end

-- ---- kinds of completion -----------------------------------------------------------------------

local function is_identifier(name)
  return type(name) == "string" and name:find "^[%a_][%w_]*$" ~= nil
end

local function is_function(value)
  if type(value) == "function" or value == nil then return true end
  local meta = metatable_of(value)
  return meta ~= nil and rawget(meta, "__call") ~= nil
end

-- Names after the last . or : of a chain, or globals and keywords.
local function names(chain)
  local owner, mark, prefix = chain:match "^(.*)([.:])([%w_]*)$"
  local words = {}
  if not owner then
    for name in next, _G do
      if is_identifier(name) and begins(name, chain) then words[#words + 1] = name end
    end
    for _, name in ipairs(keywords) do
      if chain ~= "" and begins(name, chain) then words[#words + 1] = name end
    end
    return words
  end
  local value = value_of(owner)
  if value == nil then return words end
  local function add(name, field)
    if is_identifier(name) and begins(name, prefix) and (mark == "." or is_function(field))
      and (prefix ~= "" or name:sub(1, 2) ~= "__") then
      words[#words + 1] = owner .. mark .. name
    end
  end
  each_field(value, add, 0)
  if is_lazy(value) then
    for name in next, rawget(value, "modules") do add(name) end
  end
  return words
end

-- Keys of a table that are strings: t["wo
local function keys(owner, quote, prefix)
  local words = {}
  local value = value_of(owner)
  if value ~= nil then
    each_field(value, function(name)
      if type(name) == "string" and begins(name, prefix) and not name:find "[%c\"'\\]" then
        words[#words + 1] = name .. quote .. "]"
      end
    end, 0)
  end
  return words
end

-- Names of files that begin so; a folder's ends with a slash, unless there are too many to ask for
-- each whether it is one.
local function files(prefix)
  local dir, base = prefix:match "^(.*/)([^/]*)$"
  if not dir then dir, base = "", prefix end
  local place = dir == "" and "." or dir:gsub("^~/", (os.getenv "HOME" or "~") .. "/")
  local words = {}
  if lfs.attributes(place, "mode") ~= "directory" then return words end
  local ok, entries, state = pcall(lfs.dir, place)
  if not ok then return words end
  for name in entries, state do
    if name ~= "." and name ~= ".." and begins(name, base)
      and (base ~= "" or name:sub(1, 1) ~= ".") and #words < most then
      words[#words + 1] = name
    end
  end
  for i, name in ipairs(words) do
    local folder = #words <= 200 and lfs.attributes(place .. "/" .. name, "mode") == "directory"
    words[i] = dir .. name .. (folder and "/" or "")
  end
  return words
end

-- Modules that require would find, by name and folder.
local function modules(prefix)
  local words = {}
  for _, known in ipairs { package.loaded, package.preload } do
    for name in next, known do
      if type(name) == "string" and begins(name, prefix) then words[#words + 1] = name end
    end
  end
  local above = prefix:match "^(.*%.)[^.]*$" or ""
  for template in package.path:gmatch "[^;]+" do
    local root = template:match "^(.-)/?%?%.lua$"
    local dir = root and (root == "" and "." or root) .. "/" .. above:gsub("%.", "/")
    if dir and lfs.attributes(dir, "mode") == "directory" then
      local ok, entries, state = pcall(lfs.dir, dir)
      if ok then
        for entry in entries, state do
          local name = above .. (entry:match "^([%w_-]+)%.lua$" or "\0")
          if begins(name, prefix) and name:sub(-5) ~= ".init" then words[#words + 1] = name end
        end
      end
    end
  end
  return words
end

-- The text of the table that a recipe's file gives as params. The recipe is not run.
local function text_of_params(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text:match "[%s{,]params%s*=%s*(%b{})"
end

-- Names of a recipe's parameters, seed among them. One that comes with moonlab is loaded; a user's
-- file is read as text.
local function parameters_of(name)
  local path = catalogue.find(name)
  if not path then return {} end
  local list = {}
  if path:sub(1, #catalogue.folder() + 1) == catalogue.folder() .. "/" then
    local ok, r = interrupt.try(catalogue.load, name)
    for key in pairs(ok and r and r.params or {}) do list[#list + 1] = key end
    return list
  end
  -- what stands in inner braces, strings and comments is no parameter
  local body = (text_of_params(path) or "{}"):sub(2, -2):gsub("%-%-[^\n]*", "")
    :gsub("%b\"\"", ""):gsub("%b{}", "")
  for key in (body .. " seed ="):gmatch "([%a_][%w_]*)%s*=" do list[#list + 1] = key end
  return list
end

-- Parameters of the recipe that the line speaks of, inside braces that are still open: `x` of
-- ml.sweep{ recipe = "krr", grid = { x
local function parameters(line, prefix)
  local words = {}
  local name = line:match "recipe%s*=%s*[\"']([^\"']+)[\"']"
    or line:match "recipe%.[%a_]+%s*%(?%s*[\"']([^\"']+)[\"']"
  if not name or not line:find("{", 1, true) then return words end
  for _, key in ipairs(parameters_of(name)) do
    if begins(key, prefix) then words[#words + 1] = key end
  end
  return words
end

-- ---- the function ------------------------------------------------------------------------------

local function append(words, more)
  for _, word in ipairs(more) do words[#words + 1] = word end
  return words
end

local function in_string(line, from, quote)
  local before, text = line:sub(1, from - 2), line:sub(from)
  if before:find "require%s*%(?%s*$" then return modules(text), from end
  local owner = before:match "^(.*)%[%s*$"
  if owner then
    owner = owner:sub(chain_start(owner))
    if owner ~= "" then return keys(owner, quote, text), from end
  end
  return files(text), from
end

local function find(line)
  local shell = line:match "^%s*%$.*()$"
  if shell then
    local from = #line - #line:match "[^%s'\"]*$" + 1
    return files(line:sub(from)), from
  end
  local from, quote = open_string(line)
  if from then return in_string(line, from, quote) end
  if quote == "comment" then return {}, #line + 1 end
  from = chain_start(line)
  local chain = line:sub(from)
  if chain:find "^%d" then return {}, from end
  local words = names(chain)
  if not chain:find "[.:]" then append(words, parameters(line, chain)) end
  return words, from
end

--- ml.complete(line)
--- What the word at the end of a line can become: globals and keywords, fields after a dot, methods
--- after a colon, keys after [", names of files in strings and after $, modules after require,
--- parameters of a recipe that the line names. Reads raw fields and the lists of names that classes
--- keep; runs no code of the user's. At most 1000.
--- @param line string up to the cursor
--- @return list of strings, sorted, each the whole word as it would stand there ("ml.ze" gives
--- "ml.zeros")
--- @return integer the byte of the line where that word begins
--- @source -
local function complete(line)
  options.argument("ml.complete", 1, line, "string")
  local words, from = find(line)
  return sorted_words(words), from
end

return complete
