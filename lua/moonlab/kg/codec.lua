--- Triplets as token ids: <S> subject <P> predicate <O> object <E>, and back.
local core = require "moonlab.core"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"
local tokenizer = require "moonlab.tokenizer"

local codec = {}

local Codec = {}
Codec.__index = Codec
Codec.__name = "ml.kg.codec"

local SPECIAL = { "<pad>", "<S>", "<P>", "<O>", "<E>" }
local PAD, S, P, O, E = 1, 2, 3, 4, 5
codec.PAD = PAD

function Codec:__tostring()
  return ("codec of %s: %d ids, rows of at most %d"):format(self.kind, self.vocab, self.longest)
end

-- ---- pieces of names ----------------------------------------------------------------------------

local function words_of(names)
  local ids, list = {}, {}
  local found = {}
  for name in pairs(names) do
    for word in name:gmatch "[^ ]+" do found[word] = true end
  end
  for word in sorted(found) do
    list[#list + 1] = word
    ids[word] = #list
  end
  return { size = #list, decode = function(some)
    local parts = {}
    for i, id in ipairs(some) do parts[i] = list[id] end
    return table.concat(parts, " ")
  end, encode = function(name)
    local out = {}
    for word in name:gmatch "[^ ]+" do
      out[#out + 1] = ids[word] or options.raise("encode: no word of the codec is %q", word)
    end
    return out
  end }
end

local function from_tokenizer(tok)
  return { size = tok:size(), decode = function(some) return tok:decode(some) end,
    encode = function(name) return tok:encode(name):totable() end }
end

local function text_of(names)
  local list = {}
  for name in sorted(names) do list[#list + 1] = name end
  return table.concat(list, "\n")
end

-- The ids of a name; the list is the codec's own.
local function ids_of(self, name)
  local ids = self.encoded[name]
  if not ids then
    ids = self.pieces.encode(name)
    for i, id in ipairs(ids) do ids[i] = id + self.first end
    self.encoded[name] = ids
  end
  return ids
end

--- ml.kg.codec(graph, { kind, size })
--- How the names of a graph become tokens. A predicate is one token; a name is its words (split at
--- spaces), its characters, or the pieces of byte-pair encoding learnt on the graph's names. All
--- names of the graph are in it, also those that a split holds out: one codec serves all fractions.
--- @param graph graph
--- @param opts.kind string ="words", "chars" or "bpe"
--- @param opts.size integer =512 pieces of byte-pair encoding
--- @return codec { kind, vocab (number of ids), longest (ids of the longest triplet), start,
--- predicate_at = { id -> predicate } }
--- @source format: Hron et al. 2024 (arXiv 2408.07852); byte-pair encoding: Sennrich et al. 2016
function codec.new(graph, opts)
  local where = "ml.kg.codec"
  options.argument(where, 1, graph, "table")
  options.check(where, opts, { "kind", "size" })
  opts = opts or {}
  local kind = options.choice(where, opts, "kind", { "words", "chars", "bpe" }, "words")
  local size = options.range(where, "size",
    options.field(where, opts, "size", "integer", 512), 1)
  local pieces
  if kind == "words" then pieces = words_of(graph.entities)
  elseif kind == "chars" then pieces = from_tokenizer(tokenizer.chars(text_of(graph.entities)))
  else pieces = from_tokenizer(tokenizer.bpe(text_of(graph.entities), size)) end
  local self = setmetatable({ kind = kind, pieces = pieces, predicate_id = {}, predicate_at = {},
    encoded = {}, decoded = {} }, Codec)
  for i, name in ipairs(graph.predicates) do
    self.predicate_id[name], self.predicate_at[#SPECIAL + i] = #SPECIAL + i, name
  end
  self.first = #SPECIAL + #graph.predicates -- pieces follow
  self.vocab = self.first + pieces.size
  self.longest = 0
  for _, t in ipairs(graph.triplets) do
    local object = math.max(#ids_of(self, t[3]), t[4] and #ids_of(self, t[4]) or 0)
    local n = #ids_of(self, t[1]) + 5 + object
    self.longest = math.max(self.longest, n)
  end
  return self
end

--- codec:prompt(prompt)
--- The ids after which the object follows.
--- @param prompt table { subject =, predicate = }
--- @return table list of ids: <S> subject <P> predicate <O>
--- @source -
function Codec:prompt(prompt)
  options.argument("prompt", 1, prompt, "table")
  local predicate = self.predicate_id[prompt.predicate]
  if not predicate then
    options.bad("prompt", 1, "no predicate of the codec is %s", options.describe(prompt.predicate))
  end
  local ids = { S, table.unpack(ids_of(self, prompt.subject)) }
  ids[#ids + 1], ids[#ids + 2], ids[#ids + 3] = P, predicate, O
  return ids
end

--- codec:answer(object)
--- The ids of an object and of its end.
--- @param object string
--- @return table list of ids: object <E>
--- @source -
function Codec:answer(object)
  options.argument("answer", 1, object, "string")
  local ids = { table.unpack(ids_of(self, object)) }
  ids[#ids + 1] = E
  return ids
end

--- codec:decode(ids)
--- The object that a model wrote.
--- @param ids list of new tokens, or index tensor
--- @return string, or nil and "unfinished" (no <E> at the end) or "malformed" (a token that belongs
--- to no name)
--- @source -
function Codec:decode(ids)
  if core.is_tensor(ids) then ids = ids:totable() end
  options.argument("decode", 1, ids, "table")
  local n = #ids
  if ids[n] ~= E then return nil, "unfinished" end
  local key = table.concat(ids, " ")
  local name = self.decoded[key]
  if name == nil then
    local pieces = {}
    name = n > 1
    for i = 1, n - 1 do
      pieces[i] = ids[i] - self.first
      if pieces[i] < 1 then name = false end
    end
    name = name and self.pieces.decode(pieces)
    self.decoded[key] = name
  end
  if not name then return nil, "malformed" end
  return name
end

--- codec:row(triplet)
--- The ids of a whole triplet.
--- @param triplet table { subject, predicate, object }
--- @return table list of ids
--- @return integer ids before the object
--- @source -
function Codec:row(triplet)
  options.argument("row", 1, triplet, "table")
  local ids = self:prompt { subject = triplet[1], predicate = triplet[2] }
  local before = #ids
  for _, id in ipairs(self:answer(triplet[3])) do ids[#ids + 1] = id end
  return ids, before
end

codec.methods, codec.stop = Codec, E
return codec
