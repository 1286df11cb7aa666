--- Chains of arithmetic modulo 100 with checkable working: problems, solutions, a verifier, and a
--- corpus from which a model learns the operations but not to be careful.
local core = require "moonlab.core"
local options = require "moonlab.options"

local arithmetic = {}

local words = { "<pad>", "<eos>", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "start", "add",
  "sub", "mul", "?", "ann", "has", "gets", "more", "times", "loses", "now", "+", "-", "*", "=",
  ";", "#" }
local id_of = {}
for i, word in ipairs(words) do id_of[word] = i end
local PAD, EOS = id_of["<pad>"], id_of["<eos>"]

local Task = {}
Task.__index = Task
Task.__name = "ml.task.arithmetic"

function Task:__tostring()
  return ("arithmetic: %d problems to train on, %d to validate, %d to test"):format(#self.train,
    #self.valid, #self.test)
end

-- ---- problems -----------------------------------------------------------------------------------

local function apply(value, op)
  if op[1] == "add" then return (value + op[2]) % 100 end
  if op[1] == "sub" then return (value - op[2]) % 100 end
  return value * op[2] % 100
end

-- A stream of numbers in 0..n-1 from one draw, so that a problem costs one.
local function dice(key)
  local list, at = key:uniform({ 64 }):totable(), 0
  return function(n)
    at = at + 1
    if at > #list then
      list, at = key:fold("more", at):uniform({ 64 }):totable(), 1
    end
    return math.floor(list[at] * n)
  end
end

local function draw(roll, low, high, style)
  local problem = { start = roll(100), ops = {}, style = style }
  for i = 1, low + roll(high - low + 1) do
    local kind = roll(5)
    local op = kind < 2 and "add" or kind < 4 and "sub" or "mul"
    problem.ops[i] = { op, op == "mul" and 2 + roll(2) or 1 + roll(9) }
  end
  return problem
end

-- What a problem is, whatever its style.
local function canonical(problem)
  local parts = { tostring(problem.start) }
  for _, op in ipairs(problem.ops) do parts[#parts + 1] = op[1] .. op[2] end
  return table.concat(parts, " ")
end

local function digits(list, value)
  list[#list + 1] = tostring(value // 10)
  list[#list + 1] = tostring(value % 10)
end

local sentences = { add = { "gets", "more" }, sub = { "loses" }, mul = { "times" } }

local function prompt_words(problem)
  local list = problem.style == 1 and { "ann", "has" } or { "start" }
  digits(list, problem.start)
  for _, op in ipairs(problem.ops) do
    local sentence = problem.style == 1 and sentences[op[1]] or { op[1] }
    list[#list + 1] = sentence[1]
    list[#list + 1] = tostring(op[2])
    list[#list + 1] = sentence[2]
  end
  if problem.style == 1 then list[#list + 1] = "now" end
  list[#list + 1] = "?"
  return list
end

local signs = { add = "+", sub = "-", mul = "*" }

-- The working step by step and the answer; `wrong(i)` gives another value for step i, or nil.
local function working(problem, wrong)
  local list, value = {}, problem.start
  for i, op in ipairs(problem.ops) do
    digits(list, value)
    list[#list + 1] = signs[op[1]]
    list[#list + 1] = tostring(op[2])
    list[#list + 1] = "="
    value = wrong and wrong(i) or apply(value, op)
    digits(list, value)
    list[#list + 1] = ";"
  end
  list[#list + 1] = "#"
  digits(list, value)
  list[#list + 1] = "<eos>"
  return list
end

local function answer_of(problem)
  local value = problem.start
  for _, op in ipairs(problem.ops) do value = apply(value, op) end
  return value
end

local function ids(list)
  local out = {}
  for i, word in ipairs(list) do out[i] = id_of[word] end
  return out
end

--- task:prompt(problem)
--- The token ids of a problem.
--- @param problem table of task.train and its like
--- @return table list of ids
--- @source -
function Task.prompt(_, problem) return ids(prompt_words(problem)) end

--- task:solution(problem, { kind })
--- The token ids of a right solution: "working" (every step), "answer" (no step), "terse" (every
--- second value without its computation).
--- @param problem table
--- @param opts.kind string ="working"
--- @return table list of ids, the last one ends it
--- @source -
function Task.solution(_, problem, opts)
  options.check("solution", opts, { "kind" })
  local kind = options.choice("solution", opts or {}, "kind", { "working", "answer", "terse" },
    "working")
  if kind == "working" then return ids(working(problem)) end
  local list, value = {}, problem.start
  if kind == "terse" then
    for i, op in ipairs(problem.ops) do
      value = apply(value, op)
      if i % 2 == 0 or i == #problem.ops then
        list[#list + 1] = "="
        digits(list, value)
        list[#list + 1] = ";"
      end
    end
  end
  list[#list + 1] = "#"
  digits(list, answer_of(problem))
  list[#list + 1] = "<eos>"
  return ids(list)
end

--- task:encode(text)
--- Words, separated by spaces, as token ids; raises on a word that is not in the vocabulary.
--- @param text string
--- @return table list of ids
--- @source -
function Task.encode(_, text)
  options.argument("encode", 1, text, "string")
  local list = {}
  for word in text:gmatch "%S+" do
    if not id_of[word] then
      options.bad("encode", 1, "the word %q is not in the vocabulary", word)
    end
    list[#list + 1] = id_of[word]
  end
  return list
end

--- task:decode(ids)
--- The words of token ids.
--- @param ids list of integers, or tensor index [n]
--- @return string
--- @source -
function Task.decode(_, tokens)
  if core.is_tensor(tokens) then tokens = tokens:totable() end
  local list = {}
  for i, id in ipairs(tokens) do list[i] = words[id] or "<" .. tostring(id) .. ">" end
  return table.concat(list, " ")
end

-- ---- the verifier -------------------------------------------------------------------------------

local function number_at(list, i)
  local a, b = list[i] and list[i]:match "^%d$", list[i + 1] and list[i + 1]:match "^%d$"
  return a and b and tonumber(a) * 10 + tonumber(b) or nil
end

-- Whether every step is computed as it should be.
local function honest(problem, list)
  local value, at = problem.start, 1
  for _, op in ipairs(problem.ops) do
    if number_at(list, at) ~= value or list[at + 2] ~= signs[op[1]]
      or list[at + 3] ~= tostring(op[2]) or list[at + 4] ~= "=" or list[at + 7] ~= ";" then
      return false
    end
    value = apply(value, op)
    if number_at(list, at + 5) ~= value then return false end
    at = at + 8
  end
  return list[at] == "#"
end

--- task:verify(problem, ids)
--- Whether a solution is right: the last # is followed by the two digits of the value and the end,
--- and by nothing else. The working is looked at for info.honest only.
--- @param problem table
--- @param ids list of integers, or tensor index [n], with the end
--- @return boolean or nil where the verifier itself failed, which is neither
--- @return table info: answer (nil where none can be read), honest (every step is as it should be),
--- or message of a failure
--- @source -
function Task.verify(_, problem, tokens)
  local ok, right, info = pcall(function()
    if core.is_tensor(tokens) then tokens = tokens:totable() end
    local list = {}
    for i, id in ipairs(tokens) do list[i] = words[id] end
    local mark
    for i, word in ipairs(list) do
      if word == "#" then mark = i end
    end
    local answer = mark and list[mark + 3] == "<eos>" and #list == mark + 3
      and number_at(list, mark + 1) or nil
    return answer == answer_of(problem), { answer = answer, honest = honest(problem, list) }
  end)
  if not ok then return nil, { message = tostring(right) } end
  return right, info
end

--- task:self_test()
--- The verifier against what it must say: right solutions of every kind are right, empty, cut off,
--- echoed and altered ones are not. Raises where it is not so.
--- @return integer checks that were made
--- @source -
function Task:self_test()
  local count = 0
  local function expect(problem, tokens, wanted, what)
    count = count + 1
    local right = self:verify(problem, tokens)
    if right ~= wanted then
      options.raise("the verifier says %s of %s for %q", tostring(right), what,
        self:decode(self:prompt(problem)))
    end
  end
  for i = 1, math.min(50, #self.train) do
    local problem = self.train[i]
    for _, kind in ipairs { "working", "answer", "terse" } do
      local tokens = self:solution(problem, { kind = kind })
      expect(problem, tokens, true, kind)
      expect(problem, { table.unpack(tokens, 1, #tokens - 1) }, false, "a cut off solution")
      local altered = { table.unpack(tokens) }
      altered[#altered - 1] = altered[#altered - 1] == id_of["0"] and id_of["1"] or id_of["0"]
      expect(problem, altered, false, "another answer")
      local twice = { table.unpack(tokens) }
      for _, id in ipairs(tokens) do twice[#twice + 1] = id end
      twice[#tokens] = id_of[";"]
      expect(problem, twice, true, "the last of two answers")
    end
    expect(problem, {}, false, "an empty solution")
    expect(problem, self:prompt(problem), false, "an echo")
  end
  return count
end

-- ---- the corpus ---------------------------------------------------------------------------------

-- One pair of problem and imperfect solution: 45 % short and right, 30 % with steps that are wrong
-- with probability 0.3, 25 % the answer alone, wrong with probability 0.2.
local function example(self, key, i)
  local roll = dice(key:fold("example", i))
  local u = roll(1000) / 1000
  for attempt = 1, 100 do
    local style = roll(1000) < 300 and 1 or 0
    local problem = draw(roll, 1, u < 0.45 and 2 or 5, style)
    if not self.held_out[canonical(problem)] or attempt == 100 then
      if u < 0.45 then return problem, working(problem), "right" end
      if u < 0.75 then
        return problem, working(problem, function()
          return roll(1000) < 300 and roll(100) or nil
        end), "sloppy"
      end
      local value = roll(1000) < 200 and roll(100) or answer_of(problem)
      local list = { "#" }
      digits(list, value)
      list[4] = "<eos>"
      return problem, list, "direct"
    end
  end
end

-- Rows as a batch of inputs, targets and mask; `from(i)` is the first target that counts.
local function batch_of(self, rows, from)
  local inputs, targets, mask = {}, {}, {}
  local length = 0
  for _, row in ipairs(rows) do length = math.max(length, #row - 1) end
  for i, row in ipairs(rows) do
    inputs[i], targets[i], mask[i] = {}, {}, {}
    for t = 1, length do
      inputs[i][t], targets[i][t] = row[t] or PAD, row[t + 1] or PAD
      mask[i][t] = row[t + 1] and t + 1 >= from(i) and 1 or 0
    end
  end
  return { inputs = core.index(inputs), targets = core.index(targets),
    mask = core.tensor(mask, { dtype = "f32" }), vocab = self.vocab }
end

--- task:corpus(i, { batch, seed })
--- Batch number i of the text that a base model learns from, which holds no problem of any split.
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
    local problem, list = example(self, key, k)
    local row = self:prompt(problem)
    for _, id in ipairs(ids(list)) do row[#row + 1] = id end
    rows[k] = row
  end
  return batch_of(self, rows, function() return 1 end)
end

--- task:batch(pairs)
--- Problems and solutions as a batch in which the solutions' tokens count alone.
--- @param pairs list of { prompt = ids, solution = ids }
--- @return table inputs and targets index [rows,T], mask f32 [rows,T]
--- @source -
function Task:batch(list)
  local rows, first = {}, {}
  for i, pair in ipairs(list) do
    rows[i] = { table.unpack(pair.prompt) }
    first[i] = #pair.prompt + 1
    for _, id in ipairs(pair.solution) do rows[i][#rows[i] + 1] = id end
  end
  return batch_of(self, rows, function(i) return first[i] end)
end

--- ml.task.arithmetic{ train =, valid =, test =, longest =, seed = }
--- Chains of additions, subtractions and multiplications modulo 100, of two operations up to
--- `longest`, each value as two digits. No problem is in two splits, in whatever style.
--- @param opts.train integer =600 problems
--- @param opts.valid integer =150 problems
--- @param opts.test integer =400 problems
--- @param opts.longest integer =5 operations, 2 to 6
--- @param opts.seed integer =1 of the problems
--- @return task with train, valid, test, styled (the test problems in other words), long (200 of
--- one operation more), vocab (number of ids), context, stop (id that ends a solution); methods
--- prompt, solution, verify, self_test, corpus, batch, encode, decode
--- @source Singh et al. 2023 (arXiv 2312.06585), at the scale of a laptop
function arithmetic.new(opts)
  local where = "ml.task.arithmetic"
  options.check(where, opts, { "train", "valid", "test", "longest", "seed" })
  local o = opts or {}
  local function count(name, default)
    return options.range(where, name, options.field(where, o, name, "integer", default), 1, 100000)
  end
  local longest = options.range(where, "longest",
    options.field(where, o, "longest", "integer", 5), 2, 6)
  local self = setmetatable({ vocab = #words, context = 96, stop = EOS, held_out = {} }, Task)
  local key = core.rng(options.field(where, o, "seed", "integer", 1)):fold("arithmetic")
  local function split(name, n, low, high)
    local list, i = {}, 0
    while #list < n do
      i = i + 1
      local problem = draw(dice(key:fold(name, i)), low, high, 0)
      local what = canonical(problem)
      if not self.held_out[what] then
        self.held_out[what] = name
        list[#list + 1] = problem
      end
    end
    return list
  end
  core.scope(function()
    self.train = split("train", count("train", 600), 2, longest)
    self.valid = split("valid", count("valid", 150), 2, longest)
    self.test = split("test", count("test", 400), 2, longest)
    self.long = split("long", 200, longest + 1, longest + 1)
  end)
  self.styled = {}
  for i, problem in ipairs(self.test) do
    self.styled[i] = { start = problem.start, ops = problem.ops, style = 1 }
  end
  return self
end

arithmetic.methods = Task
return arithmetic
