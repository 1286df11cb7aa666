--- Graphs from files: tab-separated triplets, N-Triples, and WordNet's relations between synsets.
local graph = require "moonlab.kg.graph"
local options = require "moonlab.options"
local wordnet = require "moonlab.data.wordnet"

local reading = {}

local function shown(line)
  return #line > 100 and line:sub(1, 97) .. "..." or line
end

local function malformed(where, path, number, line, wanted)
  options.raise("%s: %s, line %d is not %s: %q", where, path, number, wanted, shown(line))
end

-- Calls fn(line, number) for lines that are not blank; nil and a message for a missing file.
local function each_line(path, fn)
  local file, why = io.open(path, "r")
  if not file then return nil, why end
  local number = 0
  local ok, message = pcall(function()
    for line in file:lines() do
      number = number + 1
      line = line:gsub("\r$", "")
      if number == 1 then line = line:gsub("^\xEF\xBB\xBF", "") end
      if line:find "%S" then fn(line, number) end
    end
  end)
  file:close()
  if not ok then error(message, 0) end
  return true
end

local function made(where, path, triplets, opts)
  if #triplets == 0 then options.raise("%s: %s holds no triplets", where, path) end
  return graph.new(triplets, opts)
end

--- ml.kg.tsv(path)
--- A graph from lines of subject, predicate and object between tabs; blank lines are passed over.
--- @param path string
--- @return graph, or nil and a message when there is no such file; a malformed line raises with its
--- number and text
--- @source -
function reading.tsv(path)
  local where = "ml.kg.tsv"
  options.path(where, 1, path)
  local triplets = {}
  local ok, why = each_line(path, function(line, number)
    local s, p, o = line:match "^([^\t]+)\t([^\t]+)\t([^\t]+)$"
    if not s or line:find "[%z\1-\8\11-\31\127]" then
      malformed(where, path, number, line, "subject, predicate and object between tabs")
    end
    triplets[#triplets + 1] = { s, p, o }
  end)
  if not ok then return nil, why end
  return made(where, path, triplets)
end

-- ---- N-Triples ----------------------------------------------------------------------------------

local escapes = { t = "\t", b = "\b", n = "\n", r = "\r", f = "\f", ['"'] = '"', ["'"] = "'",
  ["\\"] = "\\" }

local function code_point(hex)
  local n = tonumber(hex, 16)
  if n > 0x10FFFF or (n >= 0xD800 and n <= 0xDFFF) then return nil end
  return utf8.char(n)
end

-- The text of a literal or IRI without its escapes, nil where one is none.
local function unescaped(text)
  local bad = false
  text = text:gsub("\\(.)(%x?%x?%x?%x?%x?%x?%x?%x?)", function(c, hex)
    local wanted = c == "u" and 4 or c == "U" and 8 or 0
    if wanted > 0 then
      local char = #hex >= wanted and code_point(hex:sub(1, wanted))
      bad = bad or not char
      return (char or "") .. hex:sub(wanted + 1)
    end
    bad = bad or not escapes[c]
    return (escapes[c] or "") .. hex
  end)
  if bad then return nil end
  return text
end

-- A term at a place of a line: its kind, its text, and where the next one begins.
local function term(line, at)
  local text, after = line:match('^<([^<>"{}|^`%s]*)>%s*()', at)
  if text then return "iri", unescaped(text), after end
  text, after = line:match("^(_:[%w_][%w_%.%-]*)%s*()", at)
  if text then return "blank", text, after end
  local close = line:match('^"()', at)
  while close do
    local c, place = line:match('([\\"])()', close)
    if not c then return nil end
    if c == '"' then
      text, close = line:sub(at + 1, place - 2), place
      break
    end
    close = place + 1
  end
  if not text then return nil end
  after = line:match("^@%a+[%w%-]*%s*()", close) or line:match("^%^%^<[^<>]*>%s*()", close)
    or line:match("^%s*()", close)
  return "literal", unescaped(text), after
end

local function percent(text)
  local plain = text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  return utf8.len(plain) and not plain:find "%c" and plain or text
end

-- "http://host/path#name" -> "name", "http://host/path/name" -> "name".
local function local_name(iri)
  local name = iri:gsub("[/#]+$", ""):match "[^/#]*$"
  return name ~= "" and percent(name) or iri
end

local LABEL = "http://www.w3.org/2000/01/rdf-schema#label"

--- ml.kg.ntriples(path, { names, labels, collide })
--- A graph from N-Triples. An IRI goes by its last part (names = "local"), in full ("iri"), or by
--- its rdfs:label; literals by their text, without language and type.
--- @param path string
--- @param opts.names string ="local" or "iri"
--- @param opts.labels boolean =false rdfs:label names its subject, and is no triplet of the graph
--- @param opts.collide string ="error" when two IRIs have one name, or "merge"
--- @return graph, or nil and a message when there is no such file; a malformed line raises with its
--- number and text
--- @source W3C Recommendation RDF 1.1 N-Triples, 2014
function reading.ntriples(path, opts)
  local where = "ml.kg.ntriples"
  options.path(where, 1, path)
  options.check(where, opts, { "names", "labels", "collide" })
  opts = opts or {}
  local short = options.choice(where, opts, "names", { "local", "iri" }, "local") == "local"
  local labels = options.field(where, opts, "labels", "boolean", false)
  local triplets, names = {}, {}
  local ok, why = each_line(path, function(line, number)
    if line:find "^%s*#" then return end
    local function bad() malformed(where, path, number, line, "a triple of N-Triples") end
    local found, at = {}, line:match "^%s*()"
    for k = 1, 3 do
      local kind, text, after = term(line, at)
      if not kind or not text or text == "" or (k < 3 and kind == "literal")
        or (k == 2 and kind ~= "iri") then
        bad()
      end
      text = text:gsub("%c+", " ")
      local id = kind == "literal" and text or "<" .. text .. ">"
      if kind ~= "literal" then
        names[id] = names[id] or (kind == "iri" and short and local_name(text) or text)
      end
      found[k], at = id, after
    end
    if not line:find("^%.%s*$", at) and not line:find("^%.%s*#", at) then bad() end
    if labels and found[2] == "<" .. LABEL .. ">" then
      names[found[1]] = found[3]
    else
      triplets[#triplets + 1] = found
    end
  end)
  if not ok then return nil, why end
  return made(where, path, triplets, { names = names, collide = opts.collide })
end

-- ---- WordNet ------------------------------------------------------------------------------------

local symbols = {
  ["@"] = "hypernym", ["~"] = "hyponym", ["@i"] = "instance_hypernym", ["~i"] = "instance_hyponym",
  ["#m"] = "member_holonym", ["#s"] = "substance_holonym", ["#p"] = "part_holonym",
  ["%m"] = "member_meronym", ["%s"] = "substance_meronym", ["%p"] = "part_meronym",
  ["="] = "attribute", ["*"] = "entailment", [">"] = "cause", ["^"] = "also_see",
  ["$"] = "verb_group", ["&"] = "similar_to", [";c"] = "domain_topic", [";r"] = "domain_region",
  [";u"] = "domain_usage", ["-c"] = "topic_member", ["-r"] = "region_member",
  ["-u"] = "usage_member",
}
local upward = {}
for symbol in ("@ @i #m #s #p ;c ;r ;u = * >"):gmatch "%S+" do upward[symbols[symbol]] = true end

-- Synsets of one file by offset: { name of the first word, pointers = { symbol, part, offset } }.
local function read_part(where, path, part, lemmas, synsets)
  local numbers = {}
  local ok, why = each_line(path, function(line, number)
    if line:find "^  " then return end
    local offset, count, rest = line:match "^(%d+) %d+ [nvasr] (%x%x) (.*)$"
    if not offset then malformed(where, path, number, line, "a record of WordNet") end
    local first
    local at = 1
    for _ = 1, tonumber(count, 16) do
      local word
      word, at = rest:match("^(%S+) %x+ ()", at)
      if not word then malformed(where, path, number, line, "a record of WordNet") end
      first = first or word:gsub("%(%a+%)$", "")
    end
    local pointers
    pointers, at = rest:match("^(%d%d%d) ()", at)
    if not pointers or not first then
      malformed(where, path, number, line, "a record of WordNet")
    end
    local of = { part .. offset }
    for _ = 1, tonumber(pointers) do
      local symbol, to, pos, ends, after = rest:match("^(%S+) (%d+) ([nvasr]) (%x%x%x%x) ()", at)
      if not symbol then malformed(where, path, number, line, "a record of WordNet") end
      at = after
      if ends == "0000" then
        of[#of + 1] = { symbol, (pos == "s" and "a" or pos) .. to }
      end
    end
    numbers[first] = (numbers[first] or 0) + 1
    lemmas[of[1]] = lemmas.short and first:lower()
      or ("%s.%s.%d"):format(first, part, numbers[first])
    synsets[#synsets + 1] = of
  end)
  if not ok then options.raise("%s: %s", where, why) end
end

--- ml.kg.wordnet{ names =, relations =, dir = }
--- WordNet 3.0's relations between synsets (Debian's wordnet-base). A synset goes by its first
--- word, part of speech and a running number ("dog.n.1"), or by the word alone, in small letters:
--- then senses merge.
--- @param opts.names string ="synset" or "lemma"
--- @param opts.relations string ="up": hypernyms, holonyms, domains, attributes, entailments and
--- causes, of which only attributes have their inverses in the graph; "all": every relation and its
--- inverse
--- @param opts.dir string folder of data.noun, data.verb, data.adj and data.adv
--- @return graph, or nil and a message when WordNet is not installed
--- @source Fellbaum 1998; file format: wndb(5WN)
function reading.wordnet(opts)
  local where = "ml.kg.wordnet"
  options.check(where, opts, { "names", "relations", "dir" })
  opts = opts or {}
  local short = options.choice(where, opts, "names", { "synset", "lemma" }, "synset") == "lemma"
  local all = options.choice(where, opts, "relations", { "up", "all" }, "up") == "all"
  local folder, why = wordnet.folder(options.optional(where, opts, "dir", "string"))
  if not folder then return nil, why end
  local lemmas, synsets, triplets = { short = short }, {}, {}
  for _, part in ipairs(wordnet.parts) do
    local letter = part == "adv" and "r" or part:sub(1, 1)
    read_part(where, folder .. "/data." .. part, letter, lemmas, synsets)
  end
  for _, of in ipairs(synsets) do
    for k = 2, #of do
      local relation, object = symbols[of[k][1]], lemmas[of[k][2]]
      if not relation or not object then
        options.raise("%s: the synset %s points by '%s' to %s, which is not there", where, of[1],
          of[k][1], of[k][2])
      end
      if all or upward[relation] then
        triplets[#triplets + 1] = { lemmas[of[1]], relation, object }
      end
    end
  end
  return graph.new(triplets)
end

return reading
