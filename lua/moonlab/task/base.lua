--- What all tasks share: words as token ids, graders and their test, the corpus, batches. A kind of
--- task says what its problems are; see ml.task.arithmetic and ml.task.equations.
local core = require "moonlab.core"
local interrupt = require "moonlab.interrupt"
local options = require "moonlab.options"

local base = {}

local Task = {}
Task.__index = Task
Task.__name = "ml.task"
base.Task = Task

function Task:__tostring()
  return ("%s: %d problems to train on, %d to validate, %d to test"):format(self.kind.name,
    #self.train, #self.valid, #self.test)
end

-- ---- words --------------------------------------------------------------------------------------

-- Ids of words that are known to be in the vocabulary.
function Task:_ids(list)
  local out = {}
  for i, word in ipairs(list) do out[i] = self.id_of[word] end
  return out
end

--- task:encode(text)
--- Words, separated by spaces, as token ids; raises on a word that is not in the vocabulary.
--- @param text string
--- @return table list of ids
--- @source -
function Task:encode(text)
  options.argument("encode", 1, text, "string")
  local list = {}
  for word in text:gmatch "%S+" do
    if not self.id_of[word] then
      options.bad("encode", 1, "the word %q is not in the vocabulary", word)
    end
    list[#list + 1] = self.id_of[word]
  end
  return list
end

--- task:decode(ids)
--- The words of token ids.
--- @param ids list of integers, or tensor index [n]
--- @return string
--- @source -
function Task:decode(tokens)
  if core.is_tensor(tokens) then tokens = tokens:totable() end
  local list = {}
  for i, id in ipairs(tokens) do list[i] = self.words[id] or "<" .. tostring(id) .. ">" end
  return table.concat(list, " ")
end

-- ---- problems and solutions ---------------------------------------------------------------------

--- task:prompt(problem, { hint })
--- The token ids of a problem.
--- @param problem table of task.train and its like
--- @param opts.hint boolean =false the answer follows the question: what rationalisation asks with
--- @return table list of ids
--- @source -
function Task:prompt(problem, opts)
  options.check("prompt", opts, { "hint" })
  local list = self.kind.prompt(problem)
  if options.field("prompt", opts or {}, "hint", "boolean", false) then
    self.kind.hint(list, self.kind.answer(problem))
  end
  return self:_ids(list)
end

--- task:solution(problem, { kind })
--- The token ids of a right solution: "working" (every step), "answer" (no step), "terse" (some
--- values without their computation).
--- @param problem table
--- @param opts.kind string ="working"
--- @return table list of ids, the last one ends it
--- @source -
function Task:solution(problem, opts)
  options.check("solution", opts, { "kind" })
  local kind = options.choice("solution", opts or {}, "kind", { "working", "answer", "terse" },
    "working")
  return self:_ids(self.kind.solution(problem, kind))
end

--- task:chance(k)
--- The share of problems that k guesses among all answers, each as likely, are expected to solve:
--- what pass@k has to be compared with.
--- @param k integer >= 1
--- @return number 1 - (1 - 1/answers)^k
--- @source -
function Task:chance(k)
  options.argument("chance", 1, k, "number")
  return 1 - (1 - 1 / self.kind.answers) ^ k
end

-- ---- the verifier -------------------------------------------------------------------------------

--- task:verify(problem, ids, { grader })
--- Whether a solution is right. The strict grader takes the answer behind the last #, followed by
--- the end and by nothing else; the lenient one the last number that was written, wherever it is.
--- The working is looked at for info.honest only.
--- @param problem table
--- @param ids list of integers, or tensor index [n], with the end
--- @param opts.grader string =task.grader "strict" or "lenient"
--- @return boolean or nil where the verifier itself failed, which is neither
--- @return table info: answer (nil where none can be read), honest (every step is as it should be),
--- or message of a failure
--- @source -
function Task:verify(problem, tokens, opts)
  options.check("verify", opts, { "grader" })
  local grader = options.choice("verify", opts or {}, "grader", { "strict", "lenient" },
    self.grader)
  local ok, right, info = interrupt.try(function()
    if core.is_tensor(tokens) then tokens = tokens:totable() end
    local list = {}
    for i, id in ipairs(tokens) do list[i] = self.words[id] end
    local answer
    if grader == "strict" then
      local mark
      for i, word in ipairs(list) do
        if word == "#" then mark = i end
      end
      if mark then
        local value, after = self.kind.read(list, mark + 1)
        if value and list[after] == "<eos>" and #list == after then answer = value end
      end
    else
      local i = 1
      while i <= #list do
        local value, after = self.kind.read(list, i)
        answer, i = value or answer, value and after or i + 1
      end
    end
    return answer ~= nil and self.kind.accepts(problem, answer),
      { answer = answer, honest = self.kind.honest(problem, list) }
  end)
  if not ok then return nil, { message = tostring(right) } end
  return right, info
end

--- task:self_test()
--- Both graders against what they must say: right solutions of every kind are right, empty, cut
--- off, echoed and altered ones are not. Raises where it is not so.
--- @return integer checks that were made
--- @source -
function Task:self_test()
  local count = 0
  local function expect(problem, tokens, wanted, what, grader)
    count = count + 1
    local right = self:verify(problem, tokens, { grader = grader })
    if right ~= wanted then
      options.raise("the %s verifier says %s of %s for %q", grader, tostring(right), what,
        self:decode(self:prompt(problem)))
    end
  end
  for i = 1, math.min(50, #self.train) do
    local problem = self.train[i]
    local answer = self.kind.answer(problem)
    for _, kind in ipairs { "working", "answer", "terse" } do
      local tokens = self:solution(problem, { kind = kind })
      expect(problem, tokens, true, kind, "strict")
      expect(problem, tokens, true, kind, "lenient")
      local cut = { table.unpack(tokens, 1, #tokens - 1) }
      expect(problem, cut, false, "a solution without its end", "strict")
      expect(problem, cut, true, "a solution without its end", "lenient")
      local altered = {}
      for _, id in ipairs(tokens) do
        altered[#altered + 1] = id
        if id == self.id_of["#"] then break end
      end
      for _, id in ipairs(self:_ids(self.kind.other_answer(answer))) do
        altered[#altered + 1] = id
      end
      altered[#altered + 1] = self.stop
      expect(problem, altered, false, "another answer", "strict")
      expect(problem, altered, false, "another answer", "lenient")
      local twice = { table.unpack(altered, 1, #altered - 1) }
      twice[#twice + 1] = self.id_of[";"]
      for _, id in ipairs(tokens) do twice[#twice + 1] = id end
      expect(problem, twice, true, "the last of two answers", "strict")
      twice[#twice], twice[#twice + 1] = self.id_of[";"], self.stop
      expect(problem, twice, false, "an answer that does not end", "strict")
    end
    expect(problem, {}, false, "an empty solution", "strict")
    expect(problem, {}, false, "an empty solution", "lenient")
    expect(problem, self:prompt(problem), false, "an echo", "strict")
  end
  return count
end

-- ---- the corpus ---------------------------------------------------------------------------------

-- A stream of numbers in 0..n-1 from one draw, so that a problem costs one.
function base.dice(key)
  local list, at = key:uniform({ 64 }):totable(), 0
  return function(n)
    at = at + 1
    if at > #list then
      list, at = key:fold("more", at):uniform({ 64 }):totable(), 1
    end
    return math.floor(list[at] * n)
  end
end

-- Rows as a batch of inputs, targets and mask; `from(i)` is the first target that counts, weight(i)
-- how much.
local function batch_of(self, rows, from, weight)
  local inputs, targets, mask = {}, {}, {}
  local length = 0
  for _, row in ipairs(rows) do length = math.max(length, #row - 1) end
  for i, row in ipairs(rows) do
    inputs[i], targets[i], mask[i] = {}, {}, {}
    for t = 1, length do
      inputs[i][t], targets[i][t] = row[t] or self.pad, row[t + 1] or self.pad
      mask[i][t] = row[t + 1] and t + 1 >= from(i) and weight(i) or 0
    end
  end
  return { inputs = core.index(inputs), targets = core.index(targets),
    mask = core.tensor(mask, { dtype = "f32" }), vocab = self.vocab }
end

local function one() return 1 end

--- task:corpus(i, { batch, seed, only })
--- Batch number i of the text that a base model learns from, which holds no problem of any split.
--- @param i integer >= 1
--- @param opts.batch integer =64 rows
--- @param opts.seed integer =1 of the text
--- @param opts.only string =nil "right", "sloppy" or "direct": rows of one component alone
--- @return table inputs and targets index [rows,T], mask f32 [rows,T]: what lm:loss takes
--- @source -
function Task:corpus(i, opts)
  options.check("corpus", opts, { "batch", "seed", "only" })
  local o = opts or {}
  local n = options.range("corpus", "batch", options.field("corpus", o, "batch", "integer", 64), 1)
  local only = options.choice("corpus", o, "only", { "right", "sloppy", "direct" })
  local key = core.rng(options.field("corpus", o, "seed", "integer", 1)):fold("corpus", i)
  local rows, k = {}, 0
  while #rows < n do
    k = k + 1
    local prompt, list, component = self.kind.example(self, key, k)
    if not only or component == only then
      local row = self:_ids(prompt)
      for _, id in ipairs(self:_ids(list)) do row[#row + 1] = id end
      rows[#rows + 1] = row
    end
  end
  return batch_of(self, rows, one, one)
end

--- task:batch(pairs)
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

-- ---- construction -------------------------------------------------------------------------------

--- A task of a kind: its words, and how its problems are made, written, read and judged.
--- kind: name, words, context, answers (how many there are), prompt(problem) and
--- solution(problem, kind) as words, hint(words, answer), answer(problem), read(words, at) to a
--- value and the place behind it, accepts(problem, value), other_answer(value) as words,
--- honest(problem, words), canonical(problem), example(task, key, i).
function base.new(kind, fields)
  local self = fields
  self.kind, self.words, self.vocab, self.id_of = kind, kind.words, #kind.words, {}
  for i, word in ipairs(kind.words) do self.id_of[word] = i end
  self.pad, self.stop, self.context = self.id_of["<pad>"], self.id_of["<eos>"], kind.context
  self.held_out = {}
  return setmetatable(self, Task)
end

--- n problems that stand in no split yet, from draw(key).
function base.split(self, key, name, n, draw)
  local list, i, since = {}, 0, 0
  while #list < n do
    i, since = i + 1, since + 1
    if since > 2000 then
      options.raise("ml.task.%s: found %d different problems for '%s', wanted %d", self.kind.name,
        #list, name, n)
    end
    local problem = draw(base.dice(key:fold(name, i)))
    local what = self.kind.canonical(problem)
    if not self.held_out[what] then
      self.held_out[what], since = name, 0
      list[#list + 1] = problem
    end
  end
  return list
end

--- The options of every kind.
function base.count(where, o, name, default)
  return options.range(where, name, options.field(where, o, name, "integer", default), 1, 100000)
end

return base
