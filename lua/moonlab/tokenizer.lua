--- Tokenizers: text to ids and back. All have encode(s), decode(ids), size(), id(s) and save(path).
local core = require "moonlab.core"

local tokenizer = {}

local Tokenizer = {}
Tokenizer.__index = Tokenizer
Tokenizer.__name = "ml.tokenizer"

function Tokenizer:__tostring() return ("%s tokenizer, %d ids"):format(self.kind, self:size()) end

--- tok:encode(s)
--- @param s string
--- @return tensor index [n]
--- @source -
function Tokenizer:encode(s)
  if type(s) ~= "string" then
    error(("bad argument #1 to 'encode' (string expected, got %s)"):format(type(s)), 2)
  end
  if self.kind == "bytes" then return core.text.bytes(s) end
  return core.text.lookup(s, self.ids)
end

--- tok:decode(ids)
--- @param ids tensor index [n], or a table of positions from 1
--- @return string
--- @source -
function Tokenizer:decode(ids)
  if self.kind == "bytes" then return core.text.from_bytes(ids) end
  local list = type(ids) == "table" and ids or ids:totable()
  local parts = {}
  for i, id in ipairs(list) do
    parts[i] = self.characters[id]
    if not parts[i] then
      error(("bad argument #1 to 'decode' (id %s is outside 1..%d)"):format(tostring(id),
        self:size()), 2)
    end
  end
  return table.concat(parts)
end

--- tok:size()
--- @return integer number of ids
--- @source -
function Tokenizer:size() return self.kind == "bytes" and 256 or #self.characters end

--- tok:id(s)
--- The id of one token, or nil.
--- @param s string
--- @return integer from 1
--- @source -
function Tokenizer:id(s)
  if self.kind == "bytes" then return #s == 1 and s:byte() + 1 or nil end
  return self.ids[s]
end

--- tok:save(path)
--- Writes what ml.tokenizer.load reads.
--- @param path string
--- @source -
function Tokenizer:save(path)
  core.json.write(path, { kind = self.kind, characters = self.characters })
end

--- ml.tokenizer.bytes()
--- Every byte is a token: id = byte + 1.
--- @return tokenizer of 256 ids
--- @source -
function tokenizer.bytes() return setmetatable({ kind = "bytes" }, Tokenizer) end

local function from_characters(characters)
  local ids = {}
  for i, c in ipairs(characters) do ids[c] = i end
  return setmetatable({ kind = "chars", characters = characters, ids = ids }, Tokenizer)
end

--- ml.tokenizer.chars(text)
--- Every UTF-8 character of the text is a token, in bytewise order; encode raises on others.
--- @param text string
--- @return tokenizer
--- @source -
function tokenizer.chars(text)
  if type(text) ~= "string" or text == "" then
    error(("bad argument #1 to 'chars' (%s, wanted a text)"):format(
      text == "" and "an empty string" or type(text)), 2)
  end
  return from_characters(core.text.characters(text))
end

--- ml.tokenizer.load(path)
--- A tokenizer that tok:save(path) wrote.
--- @param path string
--- @return tokenizer
--- @source -
function tokenizer.load(path)
  local t, why = core.json.read(path)
  if t == nil then error(("ml.tokenizer.load: %s"):format(tostring(why)), 2) end
  if type(t) == "table" and t.kind == "bytes" then return tokenizer.bytes() end
  local ok = type(t) == "table" and t.kind == "chars" and type(t.characters) == "table"
    and #t.characters > 0
  for _, c in ipairs(ok and t.characters or {}) do ok = ok and type(c) == "string" end
  if not ok then error(("ml.tokenizer.load: %s does not hold a tokenizer"):format(path), 2) end
  return from_characters(t.characters)
end

tokenizer.methods = Tokenizer
return tokenizer
