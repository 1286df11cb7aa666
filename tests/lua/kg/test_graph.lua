-- Graphs, their leaks and splits.
local ml = require "moonlab"
local check = require "check"
local T = {}

-- analytic: counted by hand
local small = { { "a", "likes", "x" }, { "a", "likes", "y" }, { "a", "eats", "x" },
  { "b", "likes", "x" }, { "b", "likes", "x" } }

function T.test_answers()
  local g = ml.kg.graph(small)
  check.equal({ #g.triplets, #g.prompts, g.subjects, #g.predicates, g.objects, g.duplicates },
    { 4, 3, 2, 2, 2, 1 })
  check.equal(g:prompt("a", "likes").objects, { "x", "y" })
  check.is_nil(g:prompt("b", "eats"))
  local s = g:statistics()
  check.close({ s.mean_answers, s.single, s.most }, { 4 / 3, 2 / 3, 2 })
  check.equal(s.fanout, { 2, 1 })
  check.close(s.by_predicate[2].entropy, -(2 / 3 * math.log(2 / 3, 2) + 1 / 3 * math.log(1 / 3, 2)))
  check.equal(s.by_predicate[1].name, "eats")
end

function T.test_bad_triplets()
  check.raises("no triplets", ml.kg.graph, {})
  check.raises("the object of triplet 1 is nil", ml.kg.graph, { { "a", "b" } })
  check.raises("the subject of triplet 2 is \"\"", ml.kg.graph, { small[1], { "", "b", "c" } })
  check.raises("holds a control character", ml.kg.graph, { { "a\tb", "b", "c" } })
end

function T.test_colliding_names()
  local triplets = { { "q1", "p", "q3" }, { "q2", "p", "q4" } }
  local names = { q1 = "smith", q2 = "smith" }
  check.raises("\"q1\" and \"q2\" are both called \"smith\"", ml.kg.graph, triplets,
    { names = names })
  local g = ml.kg.graph(triplets, { names = names, collide = "merge" })
  check.equal(g:prompt("smith", "p").objects, { "q3", "q4" })
  -- an id without a name that is the name of another
  check.raises("are both called", ml.kg.graph, { { "a", "p", "b" } }, { names = { a = "b" } })
end

-- property: what the dials say
function T.test_synthetic()
  local g = ml.kg.synthetic { subjects = 300, seed = 5 }
  check.equal({ #g.prompts, g.subjects, #g.predicates }, { 1500, 300, 10 })
  local s = g:statistics()
  -- 1500 draws of mean 1.31 and standard deviation 0.70: five standard errors
  check.close(s.mean_answers, 1.31, { rtol = 0, atol = 5 * 0.70 / math.sqrt(1500) })
  check.equal(s.most, 4)
  check.equal(#g:leaks { share = 0 }, 0)
  for name in pairs(g.entities) do
    local _, spaces = name:gsub(" ", "")
    check.is_true(spaces == 1 or spaces == 2)
  end
  local again = ml.kg.synthetic { subjects = 300, seed = 5 }
  check.equal(again.triplets, g.triplets)
  check.is_true(ml.kg.synthetic { subjects = 300, seed = 6 }.triplets[1][1] ~= g.triplets[1][1])
  -- Zipf: the most frequent of 200 at exponent 0.8 has share 1 / sum r^-0.8
  local total, top, h = 0, 0, 0
  for _, pool in pairs(g.pools) do
    local most = 0
    for _, n in pairs(pool) do total, most = total + n, math.max(most, n) end
    top = top + most
  end
  for r = 1, 200 do h = h + r ^ -0.8 end
  check.close(top / total, 1 / h, { rtol = 0.15 })
end

function T.test_dials()
  local g = ml.kg.synthetic { subjects = 100, collide = 0.2, fanout = { 0, 0, 1 }, per_subject = 4,
    seed = 2 }
  check.equal(g.subjects, 80)
  local two = 0
  for _, prompt in ipairs(g.prompts) do
    check.is_true(#prompt.objects >= 3)
    if #prompt.objects > 3 then two = two + 1 end
  end
  check.is_true(two > 0)
  local noisy = ml.kg.synthetic { subjects = 200, noise = 0.3, seed = 3 }
  local wrong = 0
  for _, t in ipairs(noisy.triplets) do
    if t[4] then
      wrong = wrong + 1
      check.is_true(noisy:prompt(t[1], t[2]).told[t[4]])
    end
  end
  check.close(wrong / #noisy.triplets, 0.3, { rtol = 0, atol = 5 * math.sqrt(0.21 / 1300) })
  check.raises("goes to 4 answers", ml.kg.synthetic, { pool = 3 })
  check.raises("did you mean 'noise'", ml.kg.synthetic, { noize = 1 })
  check.raises("no weight above 0", ml.kg.synthetic, { fanout = { 0 } })
end

-- ---- splits -------------------------------------------------------------------------------------

function T.test_split()
  local g = ml.kg.synthetic { subjects = 300, seed = 1 }
  local s = g:split { seed = 4 }
  local seen, known = {}, {}
  for _, prompt in ipairs(s.seen) do seen[prompt], known[prompt.subject] = true, true end
  for _, prompt in ipairs(s.partial) do
    check.is_true(known[prompt.subject] and not seen[prompt])
  end
  local hidden = {}
  for _, prompt in ipairs(s.invisible) do
    check.is_nil(known[prompt.subject])
    hidden[prompt.subject] = true
  end
  local count = 0
  for _ in pairs(hidden) do count = count + 1 end
  check.equal(count, 30)
  check.equal(#s.seen + #s.partial + #s.invisible, #g.prompts)
  -- no training triplet belongs to a held-out prompt
  for _, t in ipairs(s:triplets()) do check.is_true(seen[g:prompt(t[1], t[2])]) end
  local total = 0
  for _, prompt in ipairs(s.seen) do total = total + #prompt.objects end
  check.equal(#s:triplets(), total)
end

function T.test_fractions_are_nested()
  local s = ml.kg.synthetic { subjects = 200, seed = 1 }:split { seed = 1 }
  local half, tenth = s:fraction(0.5), s:fraction(0.1)
  local within = {}
  for _, prompt in ipairs(half.seen) do within[prompt] = true end
  for _, prompt in ipairs(tenth.seen) do check.is_true(within[prompt]) end
  check.is_true(#tenth.seen > 0 and #tenth.seen < 0.2 * #half.seen + 20)
  check.equal(#half.invisible, #s.invisible)
  check.equal(#s:fraction(1).seen, #s.seen)
  check.raises("wanted a share in (0, 1]", s.fraction, s, 0)
end

function T.test_saved()
  local g = ml.kg.synthetic { subjects = 60, seed = 1 }
  local s = g:split { seed = 9 }
  check.in_folder(function(dir)
    local path = dir .. "/split.json"
    s:save(path)
    local back = ml.kg.load_split(g, path)
    for _, name in ipairs { "seen", "partial", "invisible", "withheld" } do
      check.equal(#back[name], #s[name])
      for i, prompt in ipairs(s[name]) do check.is_true(back[name][i] == prompt) end
    end
    check.equal(back:triplets(), s:triplets())
    check.raises("this one has", ml.kg.load_split, ml.kg.synthetic { subjects = 61 }, path)
    local text = ml.json.read(path)
    text.seen[1][2] = "nowhere"
    ml.json.write(path, text)
    check.raises("is no prompt of the graph", ml.kg.load_split, g, path)
    ml.write_file(path, "[1]")
    check.raises("does not hold a split", ml.kg.load_split, g, path)
    check.is_nil((ml.kg.load_split(g, dir .. "/none.json")))
  end)
end

function T.test_empty_sets()
  local one = {}
  for i = 1, 20 do one[i] = { "s" .. i, "of", "o" .. i } end
  check.raises("the graph has one relation, 'of'", function() ml.kg.graph(one):split() end)
  check.equal(#ml.kg.graph(one):split { partial = 0 }.partial, 0)
  local tiny = ml.kg.graph { { "a", "p", "x" }, { "b", "p", "y" }, { "a", "q", "z" } }
  check.raises("the partial set is empty", tiny.split, tiny)
end

-- Twenty hypernyms with all their inverses.
local function leaky()
  local list = {}
  for i = 1, 40 do
    list[#list + 1] = { "s" .. i, "is a", "o" .. i % 7 }
    list[#list + 1] = { "o" .. i % 7, "has", "s" .. i }
    list[#list + 1] = { "s" .. i, "colour", "c" .. i % 3 }
    if i % 2 == 0 then list[#list + 1] = { "s" .. i, "hue", "c" .. i % 3 } end
  end
  return ml.kg.graph(list)
end

function T.test_leaks()
  local g = leaky()
  local list, info = g:leaks()
  check.equal(info.triplets, 40 + 40 + 20 + 20)
  check.equal(#list, 4)
  local found = {}
  for _, l in ipairs(list) do found[l.predicate .. "/" .. l.other .. "/" .. l.kind] = l.share end
  check.equal(found, { ["is a/has/inverse"] = 1.0, ["has/is a/inverse"] = 1.0,
    ["hue/colour/duplicate"] = 1.0, ["colour/hue/duplicate"] = 0.5 })
  check.raises("would train on the answers of held-out prompts", g.split, g)
  local symmetric = ml.kg.graph { { "a", "near", "b" }, { "b", "near", "a" }, { "a", "p", "c" } }
  check.equal(symmetric:leaks()[1].other, "near")
end

-- property: with withhold no held-out answer stands in the training text, either way round
function T.test_withhold()
  local g = leaky()
  local s = g:split { withhold = true, seed = 2 }
  check.is_true(#s.withheld > 0 and #s.seen > 0)
  local told = {}
  for _, t in ipairs(s:triplets()) do
    told[t[1] .. "/" .. t[3]], told[t[3] .. "/" .. t[1]] = true, true
  end
  for _, name in ipairs { "partial", "invisible" } do
    for _, prompt in ipairs(s[name]) do
      for _, o in ipairs(prompt.objects) do check.is_nil(told[prompt.subject .. "/" .. o]) end
    end
  end
end

function T.test_subset()
  local g = ml.kg.synthetic { subjects = 100, seed = 1 }
  local some = g:subset { triplets = 100, seed = 3 }
  check.is_true(#some.triplets >= 100 and #some.triplets < 120)
  for _, prompt in ipairs(some.prompts) do
    check.equal(#prompt.objects, #g:prompt(prompt.subject, prompt.predicate).objects)
  end
end

return T
