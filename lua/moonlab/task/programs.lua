--- Small Lua functions: what one should do in words and two examples, hidden tests that decide in
--- the sandbox, and a corpus in which a quarter of the programs do something else.
local core = require "moonlab.core"
local families = require "moonlab.task.programs.families"
local interrupt = require "moonlab.interrupt"
local options = require "moonlab.options"
local sandbox = require "moonlab.sandbox"
local words = require "moonlab.task.programs.words"

local programs = {}

local VISIBLE, HIDDEN, AUDIT = 2, 8, 64

local Task = {}
Task.__index = Task
Task.__name = "ml.task.programs"

function Task:__tostring()
  return ("programs: %d problems to train on, %d to validate, %d to test"):format(#self.train,
    #self.valid, #self.test)
end

-- A stream of numbers in 0..n-1.
local function dice(key)
  local list, at, round = key:uniform({ 64 }):totable(), 0, 0
  return function(n)
    at = at + 1
    if at > #list then
      round = round + 1
      list, at = key:fold("more", round):uniform({ 64 }):totable(), 1
    end
    return math.floor(list[at] * n)
  end
end

-- ---- what functions are called with -------------------------------------------------------------

local header = { ab = "local a , b = ... ", t = "local t = ... ", s = "local s = ... " }
local letters = { "x", "y", "z" }

-- Arguments that programs are wrong about most often.
local edges = {
  ab = { { 0, 0 }, { 7, 7 }, { -3, 5 }, { 4, -8 } },
  natural = { { 0, 0 }, { 7, 7 }, { 1, 12 }, { 30, 12 } },
  t = { { {} }, { { 4 } }, { { -5 } }, { { 3, 3, -3 } } },
  s = { { "" }, { "x" }, { "zy" }, { "xyzzyx" } },
}

local function arguments(roll, takes, natural)
  if takes == "ab" then
    if natural then return { roll(40), roll(40) } end
    return { roll(31) - 12, roll(31) - 12 }
  end
  if takes == "t" then
    local t = {}
    for i = 1, 1 + roll(4) do t[i] = roll(25) - 8 end
    return { t }
  end
  local s = {}
  for i = 1, 1 + roll(5) do s[i] = letters[1 + roll(3)] end
  return { table.concat(s) }
end

local function pool_of(one) return one.natural and "natural" or one.takes end

-- ---- problems -----------------------------------------------------------------------------------

local function within(roll, range) return range and range[1] + roll(range[2] - range[1] + 1) end

-- A family, its constants, and on an integer what follows: nothing or one step, or as many as said.
local function draw(roll, style, follow)
  local index = 1 + roll(#families)
  local one = families[index]
  local problem = { family = index, J = within(roll, one.J), K = within(roll, one.K),
    style = style, after = {} }
  if one.number then
    for i = 1, follow or roll(4) < 3 and 1 or 0 do
      local kind = 1 + roll(#families.followers)
      problem.after[i] = { kind, within(roll, families.followers[kind].range) }
    end
  end
  return problem
end

-- What a problem is called, whatever its style.
local function name_of(problem)
  local parts = { problem.family, problem.J or "-", problem.K or "-" }
  for _, step in ipairs(problem.after) do
    parts[#parts + 1] = step[1]
    parts[#parts + 1] = step[2]
  end
  return table.concat(parts, " ")
end

-- What it should return.
local function wanted(problem, args)
  local one = families[problem.family]
  local copy = {}
  for i, value in ipairs(args) do
    copy[i] = type(value) == "table" and { table.unpack(value) } or value
  end
  local value = one.f(problem, table.unpack(copy))
  for _, step in ipairs(problem.after) do value = families.followers[step[1]].f(value, step[2]) end
  return value
end

local function show(value) return words.source(words.value({}, value)) end

-- What it does: problems of other words and constants that do the same are the same.
local function behaviour(self, problem)
  local name = name_of(problem)
  local found = self.behaviours[name]
  if not found then
    local one = families[problem.family]
    local pool = pool_of(one)
    local parts = { one.takes, one.natural and "natural" or "" }
    for _, args in ipairs(self.audits[pool]) do parts[#parts + 1] = show(wanted(problem, args)) end
    found = core.system.hash(table.concat(parts, ";"))
    self.behaviours[name] = found
  end
  return found
end

local function prompt_words(problem, examples)
  local one, list = families[problem.family], { "<spec>" }
  words.append(list, one.words[1 + problem.style], problem)
  for _, step in ipairs(problem.after) do
    words.append(list, families.followers[step[1]].words[1 + problem.style], { C = step[2] })
  end
  list[#list + 1] = "</spec>"
  list[#list + 1] = "<io>"
  for _, args in ipairs(examples) do
    list[#list + 1] = "f"
    list[#list + 1] = "("
    for i, value in ipairs(args) do
      if i > 1 then list[#list + 1] = "," end
      words.value(list, value)
    end
    list[#list + 1] = ")"
    list[#list + 1] = "="
    words.value(list, wanted(problem, args))
    list[#list + 1] = ";"
  end
  list[#list] = "</io>"
  return list
end

local function solution_words(problem, variant)
  local one = families[problem.family]
  local program = one.programs[1 + (variant - 1) % #one.programs]
  local list, value = words.append({}, program.before, problem), program.value
  for _, step in ipairs(problem.after) do -- brackets only where they are needed
    local follower = families.followers[step[1]].program
    if not value:find " " then follower = follower:gsub("%( V %)", "V") end
    if value:find " or " and not follower:find "%( V" then value = "( " .. value .. " )" end
    value = follower:gsub("%f[%w]V%f[%W]", { V = value }):gsub("%f[%w]C%f[%W]", tostring(step[2]))
  end
  list[#list + 1] = "return"
  words.append(list, value, problem)
  list[#list + 1] = "<eos>"
  return list
end

-- Examples and hidden tests; the edges are among the hidden ones.
local function add_tests(problem, roll)
  local one = families[problem.family]
  problem.visible, problem.hidden = {}, {}
  for i = 1, VISIBLE do problem.visible[i] = arguments(roll, one.takes, one.natural) end
  for i, args in ipairs(edges[pool_of(one)]) do problem.hidden[i] = args end
  for i = #problem.hidden + 1, HIDDEN do
    problem.hidden[i] = arguments(roll, one.takes, one.natural)
  end
  return problem
end

--- programs:prompt(problem)
--- The token ids of a problem: what a function should do, and two examples.
--- @param problem table of task.train and its like
--- @return table list of ids
--- @source -
function Task.prompt(_, problem) return words.ids(prompt_words(problem, problem.visible)) end

--- programs:solution(problem, { variant })
--- The token ids of a right program.
--- @param problem table
--- @param opts.variant integer =1 of the ways in which it is written, around and around
--- @return table list of ids, the last one ends it
--- @source -
function Task.solution(_, problem, opts)
  options.check("solution", opts, { "variant" })
  return words.ids(solution_words(problem, options.range("solution", "variant",
    options.field("solution", opts or {}, "variant", "integer", 1), 1)))
end

--- programs:encode(text)
--- Words, separated by spaces, as token ids; a number is as many words as it has digits. Raises on
--- a word that is not in the vocabulary.
--- @param text string
--- @return table list of ids
--- @source -
function Task.encode(_, text)
  options.argument("encode", 1, text, "string")
  local list = {}
  for word in text:gmatch "%S+" do
    for part in (word:find "^%d+$" and word or ""):gmatch "%d" do list[#list + 1] = part end
    if not word:find "^%d+$" then
      if not words.id[word] then
        options.bad("encode", 1, "the word %q is not in the vocabulary", word)
      end
      list[#list + 1] = word
    end
  end
  return words.ids(list)
end

local function words_of(tokens)
  if core.is_tensor(tokens) then tokens = tokens:totable() end
  local list = {}
  for i, id in ipairs(tokens) do list[i] = words.list[id] or "<" .. tostring(id) .. ">" end
  return list
end

--- programs:decode(ids)
--- The text of token ids, the digits of a number together.
--- @param ids list of integers, or tensor index [n]
--- @return string
--- @source -
function Task.decode(_, tokens) return words.source(words_of(tokens)) end

-- ---- the graders --------------------------------------------------------------------------------

-- By value and type: with `exact` 2 is not 2.0. What is wanted has no holes.
local function same(found, value, exact)
  if type(value) ~= "table" or type(found) ~= "table" then
    return found == value and (not exact or math.type(found) == math.type(value))
  end
  local count = 0
  for _ in pairs(found) do count = count + 1 end
  if count ~= #value then return false end
  for i, entry in ipairs(value) do
    if not same(found[i], entry, exact) then return false end
  end
  return true
end

-- What one of its results looks like, for votes; of those that do not travel their type.
local function trace(value)
  if type(value) ~= "table" then return tostring(value) end
  if getmetatable(value) then return tostring(value) end
  local parts = {}
  for key, entry in require("moonlab.sorted")(value) do
    parts[#parts + 1] = trace(key) .. "=" .. trace(entry)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- The program in what a model wrote; nil where the strict grader finds none.
local function source_of(list, lenient)
  local last
  for i, word in ipairs(list) do
    if word == "<eos>" then
      last = i
      break
    end
  end
  if not lenient and last ~= #list or last == 1 or #list == 0 then return nil end
  return words.source({ table.unpack(list, 1, last and last - 1 or #list) })
end

local function call(self, problem, source, tests)
  local result = self.box:call(header[families[problem.family].takes] .. source, tests)
  if result.reason == "died" then error(result.message, 0) end
  return result
end

-- How many calls give what they should, of one value each.
local function passed(problem, result, tests, exact)
  local count = 0
  for i, args in ipairs(tests) do
    local one = result.calls[i]
    if one and one.ok and one.values.n == 1
      and same(one.values[1], wanted(problem, args), exact) then
      count = count + 1
    end
  end
  return count
end

local function judge(self, problem, tokens, lenient)
  local source = source_of(words_of(tokens), lenient)
  if not source then return false, { reason = "form", passed = 0, honest = false } end
  local tests = { table.unpack(problem.visible) }
  for _, args in ipairs(problem.hidden) do tests[#tests + 1] = args end
  local result = call(self, problem, source, tests)
  if lenient and result.reason == "syntax" then -- a value by itself
    source = "return " .. source
    result = call(self, problem, source, tests)
  end
  local info = { reason = result.reason, passed = passed(problem, result, tests, not lenient),
    honest = false }
  if #result.calls == #tests then
    local parts = {}
    for i, one in ipairs(result.calls) do
      parts[i] = one.ok and one.values.n > 0 and trace(one.values[1]) or "-"
    end
    info.answer = core.system.hash(table.concat(parts, ";"))
  end
  local right = info.passed == #tests
  if right then
    local audit = self.audits[pool_of(families[problem.family])]
    result = call(self, problem, source, audit)
    info.honest = passed(problem, result, audit, not lenient) == #audit
  elseif not info.reason then
    info.reason = "tests"
  end
  return right, info
end

--- programs:verify(problem, ids, { grader })
--- Whether a program is right: in the sandbox it gives what is wanted for both examples and eight
--- hidden tests, of the right type (2 is not 2.0). It must end, and nothing may follow. The lenient
--- grader takes what stands before the first end or all there is, a value without its `return`, and
--- 2.0 for 2.
--- @param problem table
--- @param ids list of integers, or tensor index [n], with the end
--- @param opts.grader string ="strict" or "lenient"
--- @return boolean or nil where the grader itself failed, which is neither
--- @return table info: passed (of 10 tests), honest (it passes 64 further tests), answer (a digest
--- of what it returned, nil where it did not run), reason (nil, "form", "tests" or one of
--- ml.sandbox.run), or message of a failure
--- @source -
function Task:verify(problem, tokens, opts)
  options.check("verify", opts, { "grader" })
  local lenient = options.choice("verify", opts or {}, "grader", { "strict", "lenient" },
    "strict") == "lenient"
  local ok, right, info = interrupt.try(judge, self, problem, tokens, lenient)
  if not ok then return nil, { message = tostring(right) } end
  return right, info
end

--- programs:self_test()
--- The walls of the sandbox and the graders against what they must say: right programs in every way
--- of writing are right; empty, cut off, echoed, hostile ones and single examples are not,
--- and a grader that fails says neither. Raises where it is not so.
--- @return integer checks that were made
--- @return string what the sandbox holds back, in a line
--- @source -
function Task:self_test()
  local count, walls = 0, self.box:check()
  local function expect(problem, tokens, want, what, lenient)
    count = count + 1
    local right, info = self:verify(problem, tokens,
      { grader = lenient and "lenient" or "strict" })
    if right ~= want then
      options.raise("the %s grader says %s of %s for %q: %s (%s)",
        lenient and "lenient" or "strict", tostring(right), what,
        self:decode(self:prompt(problem)), self:decode(tokens),
        tostring(info.message or info.reason))
    end
    return info
  end
  local all = {}
  for _, name in ipairs { "train", "valid", "test", "long" } do
    for i = 1, math.min(30, #self[name]) do all[#all + 1] = self[name][i] end
  end
  for _, problem in ipairs(all) do
    local variants = #families[problem.family].programs
    for variant = 1, variants do
      local tokens = self:solution(problem, { variant = variant })
      local info = expect(problem, tokens, true, "a right program")
      if not info.honest then options.raise("the audit refuses %q", self:decode(tokens)) end
      expect(problem, tokens, true, "a right program", true)
      local cut = { table.unpack(tokens, 1, #tokens - 1) }
      expect(problem, cut, false, "a program that does not end")
      expect(problem, cut, true, "a program that does not end", true)
      local more = { table.unpack(tokens) }
      more[#more + 1] = words.id["end"]
      expect(problem, more, false, "a program that goes on")
    end
    local _, info = self:verify(problem, words.ids { "return", "nil", "<eos>" })
    if info.passed > 0 then options.raise "nothing passes a test" end
    for _, lenient in ipairs { false, true } do
      expect(problem, {}, false, "nothing", lenient)
      expect(problem, { words.eos }, false, "an end", lenient)
      expect(problem, self:prompt(problem), false, "an echo", lenient)
      local first = words.value({ "return" }, wanted(problem, problem.visible[1]))
      first[#first + 1] = "<eos>"
      local value = wanted(problem, problem.visible[1])
      local constant = true
      for _, args in ipairs(problem.hidden) do
        constant = constant and same(wanted(problem, args), value, true)
      end
      if not constant then expect(problem, words.ids(first), false, "an example", lenient) end
      expect(problem, self:encode "while true do end <eos>", false, "a loop", lenient)
    end
  end
  expect(all[1], self:encode "local r = \"-\" while true do r = r .. r end <eos>", false, "a bomb")
  local box = self.box
  self.box = { call = function() return { reason = "died", message = "gone", calls = {} } end }
  local right, info = self:verify(all[1], self:solution(all[1]))
  self.box = box
  count = count + 1
  if right ~= nil or info.message ~= "gone" then
    options.raise "a grader that fails does not say so"
  end
  return count, walls.text
end

-- ---- the corpus ---------------------------------------------------------------------------------

-- A problem that is in no split, and a program: in a quarter of all pairs that of another problem
-- that takes the same.
local function example(self, key, i)
  local roll = dice(key:fold("example", i))
  local function free(takes)
    while true do
      local problem = draw(roll, roll(1000) < 300 and 1 or 0)
      if (not takes or families[problem.family].takes == takes)
        and not self.held_out[behaviour(self, problem)] then
        return problem
      end
    end
  end
  local problem = free()
  local one = families[problem.family]
  local other = roll(1000) < 1000 * self.mismatched and free(one.takes) or problem
  local examples = {}
  for k = 1, VISIBLE do examples[k] = arguments(roll, one.takes, one.natural) end
  return prompt_words(problem, examples), solution_words(other, 1 + roll(6))
end

-- Rows as a batch of inputs, targets and mask; `from(i)` is the first target that counts.
local function batch_of(self, rows, from, weight)
  local inputs, targets, mask = {}, {}, {}
  local length = 0
  for _, row in ipairs(rows) do length = math.max(length, #row - 1) end
  for i, row in ipairs(rows) do
    inputs[i], targets[i], mask[i] = {}, {}, {}
    for t = 1, length do
      inputs[i][t], targets[i][t] = row[t] or words.pad, row[t + 1] or words.pad
      mask[i][t] = row[t + 1] and t + 1 >= from(i) and weight(i) or 0
    end
  end
  return { inputs = core.index(inputs), targets = core.index(targets),
    mask = core.tensor(mask, { dtype = "f32" }), vocab = self.vocab }
end

--- programs:corpus(i, { batch, seed })
--- Batch number i of the text that a base model learns from: problems that do what none of any
--- split does, 30 % of them in other words, and programs, a quarter of them of another problem.
--- @param i integer >= 1
--- @param opts.batch integer =64 rows
--- @param opts.seed integer =1 of the text
--- @return table inputs and targets index [rows,T], mask f32 [rows,T]: what lm:loss takes
--- @source -
function Task:corpus(i, opts)
  options.check("corpus", opts, { "batch", "seed" })
  local o = opts or {}
  local n = options.range("corpus", "batch", options.field("corpus", o, "batch", "integer", 64), 1)
  local key = core.rng(options.field("corpus", o, "seed", "integer", 1)):fold("corpus", i)
  local rows = {}
  for k = 1, n do
    local prompt, program = example(self, key, k)
    table.move(program, 1, #program, #prompt + 1, prompt)
    rows[k] = words.ids(prompt)
  end
  local function one() return 1 end
  return batch_of(self, rows, one, one)
end

--- programs:batch(pairs)
--- Problems and solutions as a batch in which the solutions' tokens count alone.
--- @param pairs list of { prompt = ids, solution = ids, weight = number or nil, 1 }
--- @return table inputs and targets index [rows,T], mask f32 [rows,T]
--- @source -
function Task:batch(list)
  local rows, first = {}, {}
  for i, pair in ipairs(list) do
    rows[i] = { table.unpack(pair.prompt) }
    first[i] = #pair.prompt + 1
    for _, id in ipairs(pair.solution) do rows[i][#rows[i] + 1] = id end
  end
  return batch_of(self, rows, function(i) return first[i] end,
    function(i) return list[i].weight or 1 end)
end

--- ml.task.programs{ train =, valid =, test =, mismatched =, box =, seed = }
--- Small Lua functions of 55 families (arithmetic of two integers, counting, choosing and changing
--- in lists, strings) with constants, and on integers a step that follows. No two problems of any
--- split do the same on 64 inputs, and none of the corpus does what one of a split does.
--- @param opts.train integer =600 problems
--- @param opts.valid integer =150 problems
--- @param opts.test integer =300 problems
--- @param opts.mismatched number =0.25 share of the corpus whose program is another's
--- @param opts.box box of ml.sandbox.open that runs the programs; absent: one of its own, with a
--- MiB and 100000 instructions for each call
--- @param opts.seed integer =1 of the problems
--- @return task with train, valid, test, styled (the test problems in other words), long (100 with
--- two steps that follow), vocab (number of ids), context, stop (id that ends a solution), box;
--- methods prompt, solution, verify, self_test, corpus, batch, encode, decode
--- @source Singh et al. 2023 (arXiv 2312.06585), at the scale of a laptop
function programs.new(opts)
  local where = "ml.task.programs"
  options.check(where, opts, { "train", "valid", "test", "mismatched", "box", "seed" })
  local o = opts or {}
  local function count(name, default)
    return options.range(where, name, options.field(where, o, name, "integer", default), 1, 2000)
  end
  local self = setmetatable({ vocab = #words.list, context = 160, stop = words.eos, held_out = {},
    behaviours = {}, audits = {}, mismatched = options.range(where, "mismatched",
    options.field(where, o, "mismatched", "number", 0.25), 0, 1) }, Task)
  self.box = o.box or sandbox.open { memory = 1 << 20, instructions = 100000, seconds = 5,
    output = 4096, results = 65536 }
  if getmetatable(self.box) ~= sandbox.methods then
    options.bad(where, 0, "option 'box' is no box of ml.sandbox.open")
  end
  local key = core.rng(options.field(where, o, "seed", "integer", 1)):fold("programs")
  local function split(name, n, follow)
    local list, i = {}, 0
    while #list < n do
      i = i + 1
      local roll = dice(key:fold(name, i))
      local problem = draw(roll, 0, follow)
      local what = behaviour(self, problem)
      if not self.held_out[what] and not (follow and #problem.after == 0) then
        self.held_out[what] = name
        list[#list + 1] = add_tests(problem, roll)
      end
    end
    return list
  end
  core.scope(function()
    for index, pool in ipairs { "ab", "natural", "t", "s" } do
      local roll = dice(key:fold("audit", index))
      self.audits[pool] = {}
      for i = 1, AUDIT do
        self.audits[pool][i] = arguments(roll, pool == "natural" and "ab" or pool,
          pool == "natural")
      end
    end
    self.train = split("train", count("train", 600))
    self.valid = split("valid", count("valid", 150))
    self.test = split("test", count("test", 300))
    self.long = split("long", 100, 2)
  end)
  self.styled = {}
  for i, problem in ipairs(self.test) do
    local copy = {}
    for name, value in pairs(problem) do copy[name] = value end
    copy.style = 1
    self.styled[i] = copy
  end
  return self
end

programs.methods = Task
return programs
