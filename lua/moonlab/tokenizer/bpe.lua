--- Byte-pair encoding over characters: which pairs to join, and how to join them in a text.
local core = require "moonlab.core"

local bpe = {}

-- A word goes with the space or underscore before it.
local PIECE = "[ _\n]?[^ _\n]*"

local function each_piece(text, fn)
  local at = 1
  while at <= #text do
    local _, last = text:find(PIECE, at)
    if last < at then last = at end
    fn(text:sub(at, last))
    at = last + 1
  end
end

-- Distinct words as lists of ids with how often they stand in the text, in their first order.
local function words_of(text, ids)
  local count, list = {}, {}
  each_piece(text, function(piece)
    if not count[piece] then list[#list + 1] = piece end
    count[piece] = (count[piece] or 0) + 1
  end)
  local words = {}
  for i, piece in ipairs(list) do
    words[i] = { n = count[piece], table.unpack(core.text.lookup(piece, ids):totable()) }
  end
  return words
end

local WIDE = 1 << 24

-- Counts a word's pairs, times sign; `where` remembers in which words a pair has been.
local function count_pairs(word, i, counts, where, sign)
  for k = 1, #word - 1 do
    local pair = word[k] * WIDE + word[k + 1]
    counts[pair] = (counts[pair] or 0) + sign * word.n
    if sign > 0 then
      where[pair] = where[pair] or {}
      where[pair][i] = true
    end
  end
end

local function join(word, a, b, new)
  local out, k = { n = word.n }, 1
  while k <= #word do
    if word[k] == a and word[k + 1] == b then
      out[#out + 1], k = new, k + 2
    else
      out[#out + 1], k = word[k], k + 1
    end
  end
  return out
end

-- The most frequent pair, of equally frequent ones the one that sorts first.
local function best_of(counts)
  local best, most = nil, 1
  for pair, n in pairs(counts) do
    if n > most or (n == most and best and pair < best) then best, most = pair, n end
  end
  return best
end

--- Tokens (characters first, then what was joined) and merges { first, second } until there are n
--- tokens or no pair stands twice.
function bpe.learn(text, n)
  local tokens = core.text.characters(text)
  local ids, merges, known = {}, {}, {}
  for i, c in ipairs(tokens) do ids[c], known[c] = i, true end
  local words, counts, where = words_of(text, ids), {}, {}
  for i, word in ipairs(words) do count_pairs(word, i, counts, where, 1) end
  while #tokens < n do
    local pair = best_of(counts)
    if not pair then break end
    local a, b = pair // WIDE, pair % WIDE
    local name = tokens[a] .. tokens[b]
    if known[name] then
      counts[pair] = nil -- the same letters joined in another way: one token is enough
      where[pair] = nil
    else
      known[name] = true
      tokens[#tokens + 1], merges[#merges + 1] = name, { a, b }
      for i in pairs(where[pair]) do
        count_pairs(words[i], i, counts, where, -1)
        words[i] = join(words[i], a, b, #tokens)
        count_pairs(words[i], i, counts, where, 1)
      end
      counts[pair] = nil
    end
  end
  return tokens, merges
end

--- The ids of a text: in each word the earliest learnt merge first.
function bpe.encode(text, ids, ranks, size, cache)
  local out = {}
  each_piece(text, function(piece)
    local word = cache[piece]
    if not word then
      word = core.text.lookup(piece, ids):totable()
      while true do
        local best, at = math.huge, nil
        for k = 1, #word - 1 do
          local rank = ranks[word[k] * WIDE + word[k + 1]]
          if rank and rank < best then best, at = rank, k end
        end
        if not at then break end
        word = join(word, word[at], word[at + 1], size + best)
      end
      cache[piece] = word
    end
    for _, id in ipairs(word) do out[#out + 1] = id end
  end)
  return out
end

--- Pair -> rank of the merges.
function bpe.ranks(merges)
  local ranks = {}
  for i, m in ipairs(merges) do ranks[m[1] * WIDE + m[2]] = i end
  return ranks
end

return bpe
