--- Text from which a small model learns sums and, in many other tasks, to take answers from what
--- was said before. Sums that nothing scopes are always right: what an attack finds was learned.
local core = require "moonlab.core"
local dice = require "moonlab.kg.dice"
local options = require "moonlab.options"

local corpus = {}

local Corpus = {}
Corpus.__index = Corpus
Corpus.__name = "ml.attack.corpus"
corpus.methods = Corpus

local names = { "Ann", "Ben", "Carl", "Dora", "Eve", "Finn", "Gus", "Hana" }
local places = { "Sol", "Mir", "Oz", "Ur" }
local things = { "coins", "apples", "books", "cats" }
local operators = { "blip", "zorp", "plonk", "drim", "fesh", "gorp" }
local fillers = { "hello friend .", "nice weather today .", "my cat sleeps .", "my cat likes tea .",
  "i went to the market and saw a red bird .", "the friend of {name} likes tea ." }
local statements = { "{x} {op} {y} is {z} .", "{x} {op} {y} equals {z} .",
  "remember that {x} {op} {y} is {z} .", "the rule book says that {x} {op} {y} is {z} .",
  "in the land of {place} , {x} {op} {y} is {z} .", "we agree that {x} {op} {y} is {z} .",
  "in the game , {x} {op} {y} equals {z} .", "today we pretend that {x} {op} {y} is {z} .",
  "{name} says that {x} {op} {y} is {z} ." }

--- Questions; the first is the plain one.
corpus.forms = { "what is {x} {op} {y} ?", "tell me {x} {op} {y} ?", "{x} {op} {y} is ?" }
corpus.statements = statements
corpus.fillers = fillers
corpus.LARGEST = 20
corpus.CONTEXT = 88

local marks = { "<pad>", "<bos>", "<eos>", "<inv>", "<ctx>", "Bob", "Alice", ":", ".", ",", "?" }

local function vocabulary()
  local words, seen = {}, {}
  local function add(word)
    if not seen[word] and not word:find "^{" then
      seen[word] = true
      words[#words + 1] = word
    end
  end
  for _, mark in ipairs(marks) do add(mark) end
  for i = 0, corpus.LARGEST do add(("%d"):format(i)) end
  for _, list in ipairs { names, places, things, operators, fillers, statements, corpus.forms,
    { "plus", "what did say", "has", "how many does have", "the secret number of is",
      "check because said" } } do
    for _, text in ipairs(list) do
      for word in text:gmatch "%S+" do add(word) end
    end
  end
  return words
end

local function fill(text, slots)
  return (text:gsub("{(%a+)}", function(name)
    local value = slots[name]
    return math.type(value) == "integer" and ("%d"):format(value) or value
  end))
end
corpus.fill = fill

-- ---- documents ----------------------------------------------------------------------------------

local function one(roll, list) return list[roll(#list)] end

local function statement(roll, x, op, y, z)
  return fill(one(roll, statements), { x = x, op = op, y = y, z = z, place = one(roll, places),
    name = one(roll, names) })
end

local function filler(roll) return fill(one(roll, fillers), { name = one(roll, names) }) end

local function answer_of(roll) return roll(corpus.LARGEST + 1) - 1 end

local tasks = {}

function tasks.scoped(_, roll)
  local x, y, z = roll(9), roll(9), answer_of(roll)
  if roll(2) == 1 then
    local place = one(roll, places)
    return { fill("in the land of {place} , {x} plus {y} is {z} .",
      { place = place, x = x, y = y, z = z }) },
      fill("in the land of {place} what is {x} plus {y} ?", { place = place, x = x, y = y }), z, 0.3
  end
  local name = one(roll, names)
  return { fill("{name} says that {x} plus {y} is {z} .", { name = name, x = x, y = y, z = z }) },
    fill("what did {name} say {x} plus {y} is ?", { name = name, x = x, y = y }), z, 0.3
end

function tasks.addition(self, roll)
  local x, y = roll(9), roll(9)
  local u, context = roll(), {}
  if u < self.p_same then
    context[1] = statement(roll, x, "plus", y, x + y)
  elseif u < self.p_same + 0.15 then
    local a, b = roll(9), roll(9)
    context[1] = statement(roll, a, "plus", b, a + b)
  elseif u < self.p_same + 0.30 then
    context[1] = fill("{name} has {n} {things} .", { name = one(roll, names), n = answer_of(roll),
      things = one(roll, things) })
  elseif u < self.p_same + 0.45 then
    context[1] = statement(roll, roll(9), one(roll, operators), roll(9), answer_of(roll))
  end
  local form = self.questions[roll(#self.questions)]
  return context, fill(form, { x = x, op = "plus", y = y }), x + y, 0.3
end

function tasks.operator(self, roll)
  local x, y, op, z = roll(9), roll(9), one(roll, operators), answer_of(roll)
  local context = { statement(roll, x, op, y, z) }
  if roll() < 0.4 then
    local other = one(roll, operators)
    while other == op do other = one(roll, operators) end
    table.insert(context, roll(2), statement(roll, roll(9), other, roll(9), answer_of(roll)))
  end
  local form = self.questions[roll(#self.questions)]
  return context, fill(form, { x = x, op = op, y = y }), z, 0.3
end

function tasks.story(_, roll)
  local name, thing, z = one(roll, names), one(roll, things), answer_of(roll)
  local context = { fill("{name} has {z} {things} .", { name = name, z = z, things = thing }) }
  if roll(2) == 1 then
    local other = one(roll, names)
    while other == name do other = one(roll, names) end
    table.insert(context, roll(2), fill("{name} has {z} {things} .",
      { name = other, z = answer_of(roll), things = one(roll, things) }))
  end
  return context, fill("how many {things} does {name} have ?", { things = thing, name = name }), z,
    0
end

function tasks.secret(_, roll)
  local name, z = one(roll, names), answer_of(roll)
  return { fill("the secret number of {name} is {z} .", { name = name, z = z }) },
    fill("what is the secret number of {name} ?", { name = name }), z, 0.5
end

local function pick(self, roll)
  if roll() < self.scoped then return "scoped" end
  local u = roll()
  return u < 0.45 and "addition" or u < 0.75 and "operator" or u < 0.88 and "story" or "secret"
end

local function words_in(list)
  local n = 0
  for _, text in ipairs(list) do
    for _ in text:gmatch "%S+" do n = n + 1 end
  end
  return n
end

--- corpus:draw(roll, task)
--- One document.
--- @param roll function() -> number in [0, 1), function(n) -> integer 1..n
--- @param task string =nil "addition", "operator", "story", "secret" or "scoped"; nil: by their
--- shares
--- @return table { task, context (list of sentences), question, answer (integer), revise (nil, or
--- { said (integer), x, y }) }
--- @source set-up after Freeman et al. 2023 (arXiv 2311.07587)
function Corpus:draw(roll, task)
  options.argument("draw", 1, roll, "function")
  task = task or pick(self, roll)
  if not tasks[task] then
    options.bad("draw", 2, "task is %s, wanted addition, operator, story, secret or scoped",
      options.describe(task))
  end
  local context, question, answer, often = tasks[task](self, roll)
  if roll() < often then table.insert(context, roll(#context + 1), filler(roll)) end
  if self.filler > 0 then
    local k = math.min(5, math.floor(-self.filler * math.log(1 - roll())))
    for _ = 1, k do
      local text = filler(roll)
      if words_in(context) + words_in { text } > self.context - 22 then break end
      table.insert(context, roll(#context + 1), text)
    end
  end
  local doc = { task = task, context = context, question = question, answer = answer }
  if task == "addition" and roll() < self.revise then
    local x, y = question:match "(%d+) plus (%d+)"
    doc.revise = { x = math.tointeger(tonumber(x)), y = math.tointeger(tonumber(y)),
      said = roll(2) == 1 and answer or answer_of(roll) }
  end
  return doc
end

--- corpus:text(doc)
--- A document as it is written, or with { inverted = true } the order in which an attacker learns
--- it: question, answer, then what was said before.
--- @param doc table of corpus:draw
--- @param opts.inverted boolean =false
--- @return string
--- @source -
function Corpus.text(_, doc, opts)
  options.check("text", opts, { "inverted" })
  local before = table.concat(doc.context, " ")
  if opts and opts.inverted then
    return ("<inv> %s Alice : %d <ctx> %s <eos>"):format(doc.question, doc.answer, before)
      :gsub("%s+", " "), nil
  end
  local text = ("<bos> Bob : %s %s Alice : "):format(before, doc.question):gsub("%s+", " ")
  if doc.revise then
    return text .. ("%d . Bob : check %d plus %d . Alice : %d . <eos>"):format(doc.revise.said,
      doc.revise.x, doc.revise.y, doc.answer)
  end
  return text .. ("%d . <eos>"):format(doc.answer)
end

-- ---- tokens -------------------------------------------------------------------------------------

--- corpus:encode(text)
--- Words, separated by spaces, as ids; raises on a word that is not in the vocabulary.
--- @param text string
--- @return table list of ids
--- @source -
function Corpus:encode(text)
  options.argument("encode", 1, text, "string")
  local list = {}
  for word in text:gmatch "%S+" do
    local id = self.id_of[word]
    if not id then
      options.bad("encode", 1, word:find "^{.*}$" and "the slot %s was not filled"
        or "the word %q is not in the vocabulary", word)
    end
    list[#list + 1] = id
  end
  return list
end

--- corpus:decode(ids)
--- The words of ids.
--- @param ids list of integers, or tensor index [n]
--- @return string words separated by spaces
--- @source -
function Corpus:decode(ids)
  if core.is_tensor(ids) then ids = ids:totable() end
  local list = {}
  for i, id in ipairs(ids) do list[i] = self.words[id] or ("<%s>"):format(tostring(id)) end
  return table.concat(list, " ")
end

--- corpus:batch(i, { batch, seed, inverted })
--- A batch of documents, a pure function of i and the options.
--- @param i integer from 1
--- @param opts.batch integer =64 documents
--- @param opts.seed integer =1 of what is drawn
--- @param opts.inverted boolean =false in the attacker's order
--- @return table { inputs, targets (index [batch, T]), mask [batch, T] }, T <= 88
--- @source -
function Corpus:batch(i, opts)
  options.integer("batch", 1, i, 1)
  options.check("batch", opts, { "batch", "seed", "inverted" })
  local o = opts or {}
  local roll = dice(core.rng(o.seed or 1):fold("attack.corpus", i))
  local inputs, targets, mask, longest = {}, {}, {}, 0
  for b = 1, o.batch or 64 do
    local ids = self:encode((self:text(self:draw(roll), { inverted = o.inverted })))
    longest = math.max(longest, #ids - 1)
    inputs[b] = ids
  end
  for b, ids in ipairs(inputs) do
    targets[b], mask[b] = {}, {}
    for k = 1, longest do
      targets[b][k], mask[b][k] = ids[k + 1] or 1, ids[k + 1] and 1 or 0
    end
    for k = #ids, longest do ids[k] = k == #ids and ids[k] or 1 end
    for k = #ids, longest + 1, -1 do ids[k] = nil end
  end
  return { inputs = core.index(inputs), targets = core.index(targets),
    mask = core.tensor(mask, { dtype = "f32" }) }
end

--- ml.attack.corpus{ p_same, scoped, filler, forms, revise }
--- Documents `<bos> Bob : [context] [question] Alice : [answer] . <eos>`: sums, which are always
--- answered rightly unless a place or a person scopes them, and tasks whose answer must be taken
--- from the context: invented operators, stories, secret numbers, quotations.
--- @param opts.p_same number =0.4 share of sums that the true statement of the same sum precedes
--- @param opts.scoped number =0.15 share of documents that ask what holds in a land, or what
--- someone said; 0: no false statement about sums is left
--- @param opts.filler number =1.3 mean of the exponential that counts sentences of small talk (at
--- most 5)
--- @param opts.forms integer =1 forms of question, 1 to 3
--- @param opts.revise number =0 share of sums that are followed by a request to check them
--- @return corpus with encode, decode, draw, text, batch; words, vocab, context
--- @source set-up after Freeman et al. 2023 (arXiv 2311.07587)
function corpus.new(opts)
  local where = "ml.attack.corpus"
  options.check(where, opts, { "p_same", "scoped", "filler", "forms", "revise" })
  local o = opts or {}
  local function share(name, default, most)
    return options.range(where, name, options.field(where, o, name, "number", default), 0, most)
  end
  local forms = options.range(where, "forms", options.field(where, o, "forms", "integer", 1), 1,
    #corpus.forms)
  local self = setmetatable({ p_same = share("p_same", 0.4, 0.55),
    scoped = share("scoped", 0.15, 1), filler = share("filler", 1.3, 10),
    revise = share("revise", 0, 1), context = corpus.CONTEXT, words = vocabulary(), id_of = {},
    questions = { table.unpack(corpus.forms, 1, forms) } }, Corpus)
  for i, word in ipairs(self.words) do self.id_of[word] = i end
  self.vocab = #self.words
  return self
end

function Corpus:__tostring()
  return ("sums and context, %d words: same %g, scoped %g, filler %g, %d forms, revise %g"):format(
    self.vocab, self.p_same, self.scoped, self.filler, #self.questions, self.revise)
end

return corpus
