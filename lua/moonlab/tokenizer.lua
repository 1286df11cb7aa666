--- Tokenizers: text to ids and back. All have encode(s), decode(ids), size(), id(s) and save(path).
local bpe = require "moonlab.tokenizer.bpe"
local core = require "moonlab.core"
local options = require "moonlab.options"

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
  options.argument("encode", 1, s, "string")
  if self.kind == "bytes" then return core.text.bytes(s) end
  if self.kind == "bpe" then
    return core.index(bpe.encode(s, self.letters, self.ranks, #self.characters - #self.merges,
      self.cache))
  end
  if self.kind == "words" then
    local list = {}
    for word in s:gmatch "%S+" do
      list[#list + 1] = self.ids[word]
        or options.bad("encode", 1, "the word %q is not in the vocabulary", word)
    end
    return core.index(list)
  end
  return core.text.lookup(s, self.ids)
end

--- tok:decode(ids)
--- @param ids tensor index [n], or a table of positions from 1
--- @return string
--- @source -
function Tokenizer:decode(ids)
  if self.kind == "bytes" then return core.text.from_bytes(ids) end
  local list = core.scope(function()
    local t = type(ids) == "table" and core.index(ids) or ids
    if not core.is_tensor(t) or t:dtype() ~= "index" then
      options.bad("decode", 1, "index tensor or table of positions expected, got %s",
        options.describe(t))
    end
    return t:reshape { t:numel() }:totable()
  end)
  local parts = {}
  for i, id in ipairs(list) do
    parts[i] = self.characters[id]
    if not parts[i] then
      options.bad("decode", 1, "id %s is outside 1..%d", tostring(id), self:size())
    end
  end
  return table.concat(parts, self.kind == "words" and " " or "")
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
  options.argument("id", 1, s, "string")
  if self.kind == "bytes" then return #s == 1 and s:byte() + 1 or nil end
  return self.ids[s]
end

--- tok:save(path)
--- Writes what ml.tokenizer.load reads.
--- @param path string
--- @source -
function Tokenizer:save(path)
  local characters
  for i, c in ipairs(self.characters or {}) do
    if i > #self.characters - #(self.merges or {}) then break end -- made by the merges
    characters = characters or {}
    characters[i] = utf8.len(c) and c or c:byte() -- a byte that is no UTF-8 is its number
  end
  core.json.write(path, { kind = self.kind, characters = characters, merges = self.merges })
end

--- ml.tokenizer.bytes()
--- Every byte is a token: id = byte + 1.
--- @return tokenizer of 256 ids
--- @source -
function tokenizer.bytes() return setmetatable({ kind = "bytes" }, Tokenizer) end

--- ml.tokenizer.words(list)
--- Words between spaces; encode raises on one that is not in the list, decode joins with a space.
--- @param list list of different strings without spaces
--- @return tokenizer
--- @source -
function tokenizer.words(list)
  local where = "ml.tokenizer.words"
  options.argument(where, 1, list, "table")
  local words, ids = {}, {}
  for i, word in ipairs(list) do
    if type(word) ~= "string" or not word:find "^%S+$" or ids[word] then
      options.bad(where, 1, "entry %d is %s, wanted a new word without spaces", i,
        options.describe(word))
    end
    words[i], ids[word] = word, i
  end
  if #words == 0 then options.bad(where, 1, "no words, wanted at least one") end
  return setmetatable({ kind = "words", characters = words, ids = ids }, Tokenizer)
end

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
  options.argument("ml.tokenizer.chars", 1, text, "string")
  if text == "" then
    options.bad("ml.tokenizer.chars", 1, "an empty string, wanted a text")
  end
  return from_characters(core.text.characters(text))
end

-- Characters come first among the tokens of byte-pair encoding.
local function from_merges(tokens, merges)
  local self = from_characters(tokens)
  self.kind, self.merges, self.ranks, self.cache = "bpe", merges, bpe.ranks(merges), {}
  self.letters = {}
  for i = 1, #tokens - #merges do self.letters[tokens[i]] = i end
  return self
end

--- ml.tokenizer.bpe(text, n)
--- Byte-pair encoding learnt on a text: its UTF-8 characters, and the pairs of tokens that stand
--- together most often, joined one after the other within words (a word goes with the space or
--- underscore before it). encode raises on characters that the text does not have.
--- @param text string
--- @param n integer number of ids, at least that of the characters; fewer when no pair stands twice
--- @return tokenizer
--- @source Sennrich et al. 2016
function tokenizer.bpe(text, n)
  local where = "ml.tokenizer.bpe"
  options.argument(where, 1, text, "string")
  if text == "" then options.bad(where, 1, "an empty string, wanted a text") end
  n = options.integer(where, 2, n, 1, 1 << 20)
  local characters = #core.text.characters(text)
  if n < characters then
    options.bad(where, 2, "%d ids, the text has %d characters", n, characters)
  end
  return from_merges(bpe.learn(text, n))
end

-- The tokens that the merges of a file make of its characters.
local function joined(where, path, characters, merges)
  local tokens, seen = {}, {}
  for i, c in ipairs(characters) do tokens[i], seen[c] = c, true end
  for i, m in ipairs(merges) do
    local a, b = type(m) == "table" and m[1], type(m) == "table" and m[2]
    local ok = math.type(a) == "integer" and math.type(b) == "integer" and tokens[a] and tokens[b]
    local token = ok and tokens[a] .. tokens[b]
    if not ok or seen[token] or #token > 4096 then
      options.bad(where, 1, "%s: merge %d makes no new token of two before it", path, i)
    end
    tokens[#tokens + 1], seen[token] = token, true
  end
  return tokens
end

--- ml.tokenizer.load(path)
--- A tokenizer that tok:save(path) wrote.
--- @param path string
--- @return tokenizer, or nil and a message when there is no such file
--- @source -
function tokenizer.load(path)
  local where = "ml.tokenizer.load"
  local t, why = core.json.read(path)
  if t == nil then return nil, why end
  if type(t) == "table" and t.kind == "bytes" then return tokenizer.bytes() end
  if type(t) == "table" and t.kind == "words" and type(t.characters) == "table" then
    return tokenizer.words(t.characters)
  end
  local of_pairs = type(t) == "table" and t.kind == "bpe" and type(t.merges) == "table"
  local characters = type(t) == "table" and (t.kind == "chars" or of_pairs) and t.characters
  if type(characters) ~= "table" or #characters == 0 then
    options.bad(where, 1, "%s does not hold a tokenizer", path)
  end
  local seen = {}
  for i, c in ipairs(characters) do
    if math.type(c) == "integer" and c >= 128 and c <= 255 then
      c = string.char(c)
      characters[i] = c
    end
    if type(c) ~= "string" or core.text.characters(c)[1] ~= c then
      options.bad(where, 1, "%s: token %d is %s, wanted one character", path, i,
        options.describe(c))
    elseif seen[c] then
      options.bad(where, 1, "%s: tokens %d and %d are both %q", path, seen[c], i, c)
    end
    seen[c] = i
  end
  if of_pairs then
    return from_merges(joined(where, path, characters, t.merges), t.merges)
  end
  return from_characters(characters)
end

tokenizer.methods = Tokenizer
return tokenizer
