-- Graphs from files, and what is said of files that are none.
local ml = require "moonlab"
local check = require "check"
local T = {}

local function with(text, fn)
  check.in_folder(function(dir)
    ml.write_file(dir .. "/g", text)
    fn(dir .. "/g")
  end)
end

function T.test_tsv()
  with("\xEF\xBB\xBFann\tlikes\tbob\r\n\nbob\tlikes\tcy dy\n", function(path)
    local g = ml.kg.tsv(path)
    check.equal(g.triplets, { { "ann", "likes", "bob" }, { "bob", "likes", "cy dy" } })
  end)
  check.is_nil((ml.kg.tsv "/nowhere/g.tsv"))
  for text, message in pairs { ["a\tb\tc\na\tb\n"] = "line 2 is not subject, predicate and object "
    .. "between tabs: \"a\\9b\"", ["a\tb\tc\td\n"] = "line 1", ["a\t\tc\n"] = "line 1",
    ["a\tb\1\tc\n"] = "line 1", ["\n\n"] = "holds no triplets" } do
    with(text, function(path) check.raises(message, ml.kg.tsv, path) end)
  end
end

function T.test_ntriples()
  with([[
# a comment
<http://e.org/x#Ann> <http://e.org/p/likes> <http://e.org/x#Bob%20B> .
_:b1 <http://e.org/p/age> "4\u0032\t\"\U0001F600"^^<http://e.org/int> . # another
<http://e.org/x#Ann> <http://e.org/p/name> "Anna"@en-GB .
<http://e.org/x#Ann> <http://www.w3.org/2000/01/rdf-schema#label> "Ann A." .
]], function(path)
    local g = ml.kg.ntriples(path)
    check.equal(g.triplets[1], { "Ann", "likes", "Bob B" })
    check.equal(g.triplets[2], { "_:b1", "age", "42 \"\u{1F600}" })
    check.equal(g.triplets[3], { "Ann", "name", "Anna" })
    check.equal(#g.triplets, 4)
    local named = ml.kg.ntriples(path, { labels = true })
    check.equal(named.triplets[1], { "Ann A.", "likes", "Bob B" })
    check.equal(#named.triplets, 3)
    check.equal(ml.kg.ntriples(path, { names = "iri" }).triplets[1][1], "http://e.org/x#Ann")
  end)
  for _, line in ipairs { "<a> <b> <c>", "<a> <b> .", "<a> <b> \"open .", "\"l\" <b> <c> .",
    "<a> _:b <c> .", "<a> <b> \"x\\q\" .", "<a> <b> \"\\uD800\" .", "<a> <b> <c> . x",
    "<a b> <b> <c> .", "a b c ." } do
    with("<a> <b> <c> .\n" .. line .. "\n", function(path)
      check.raises("line 2 is not a triple of N-Triples", ml.kg.ntriples, path)
    end)
  end
  with("<h/a/x> <h/p> <h/b/x> .\n", function(path)
    check.raises("are both called \"x\"", ml.kg.ntriples, path)
    check.equal(ml.kg.ntriples(path, { collide = "merge" }).triplets[1], { "x", "p", "x" })
  end)
end

-- Counts by an independent reader of the same files.
function T.test_wordnet()
  local g = ml.kg.wordnet { relations = "up" }
  if not g then return end -- not installed
  local s = g:statistics()
  check.equal({ s.triplets, s.prompts, s.subjects, s.predicates, s.objects, s.most },
    { 130714, 126129, 97507, 11, 29456, 28 })
  check.equal(g:prompt("dog.n.1", "hypernym").objects, { "canine.n.1", "domestic_animal.n.1" })
  local leaks = g:leaks()
  check.equal({ #leaks, leaks[1].predicate, leaks[1].share }, { 1, "attribute", 1.0 })
  check.raises("withhold = true", g.split, g)
  local some = g:subset { triplets = 1000 }
  local split = some:split { withhold = true, seed = 1 }
  check.is_true(#split.seen > 600 and #split.invisible > 50)
  local code = ml.kg.codec(some, { kind = "bpe", size = 512 })
  for _, t in ipairs(some.triplets) do
    local ids, before = code:row(t)
    check.equal(code:decode { table.unpack(ids, before + 1) }, t[3])
  end
end

function T.test_wordnet_words_and_damage()
  check.is_nil((ml.kg.wordnet { dir = "/nowhere" }))
  check.in_folder(function(dir)
    local function put(part, text) ml.write_file(dir .. "/data." .. part, text) end
    local noun = "  1 licence\n00000010 03 n 02 Dog 0 hound 1 002 @ 00000020 n 0000 ~ 00000020 n "
      .. "0101 | a dog\n00000020 03 n 01 dog 0 001 ~ 00000010 n 0000 | another\n"
    put("noun", noun)
    put("verb", "  1\n")
    put("adj", "00000030 00 s 01 good(p) 0 002 & 00000030 a 0000 = 00000010 n 0000 | fine\n")
    put("adv", "  1\n")
    check.equal(ml.kg.wordnet({ dir = dir }).triplets, { { "Dog.n.1", "hypernym", "dog.n.1" },
      { "good.a.1", "attribute", "Dog.n.1" } })
    check.equal(ml.kg.wordnet({ dir = dir, names = "lemma", relations = "all" }).triplets,
      { { "dog", "hypernym", "dog" }, { "dog", "hyponym", "dog" }, { "good", "similar_to", "good" },
        { "good", "attribute", "dog" } })
    put("verb", "00000040 03 v 01\n")
    check.raises("data.verb, line 1 is not a record of WordNet", ml.kg.wordnet, { dir = dir })
    put("verb", "00000040 03 v 01 go 0 001 @ 00000099 v 0000 | x\n")
    check.raises("points by '@' to v00000099, which is not there", ml.kg.wordnet, { dir = dir })
  end)
end

return T
