--- Chains of arithmetic modulo 100 with checkable working, and a corpus from which a model learns
--- the operations but not to be careful.
local core = require "moonlab.core"
local base = require "moonlab.task.base"
local options = require "moonlab.options"

local kind = { name = "arithmetic", context = 96, answers = 100,
  words = { "<pad>", "<eos>", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "start", "add",
    "sub", "mul", "?", "ann", "has", "gets", "more", "times", "loses", "now", "+", "-", "*", "=",
    ";", "#" } }

-- ---- problems -----------------------------------------------------------------------------------

local function apply(value, op)
  if op[1] == "add" then return (value + op[2]) % 100 end
  if op[1] == "sub" then return (value - op[2]) % 100 end
  return value * op[2] % 100
end

-- Operands are of one digit, or with `two_digits` up to 99 (those of products stay 2 and 3).
local function draw(roll, low, high, style, two_digits)
  local problem = { start = roll(100), ops = {}, style = style }
  for i = 1, low + roll(high - low + 1) do
    local which = roll(5)
    local op = which < 2 and "add" or which < 4 and "sub" or "mul"
    problem.ops[i] = { op, op == "mul" and 2 + roll(2) or 1 + roll(two_digits and 99 or 9) }
  end
  return problem
end

-- What a problem is, whatever its style.
function kind.canonical(problem)
  local parts = { tostring(problem.start) }
  for _, op in ipairs(problem.ops) do parts[#parts + 1] = op[1] .. op[2] end
  return table.concat(parts, " ")
end

local function digits(list, value)
  list[#list + 1] = tostring(value // 10)
  list[#list + 1] = tostring(value % 10)
end

local function operand(list, value)
  if value >= 10 then digits(list, value) else list[#list + 1] = tostring(value) end
end

local sentences = { add = { "gets", "more" }, sub = { "loses" }, mul = { "times" } }

function kind.prompt(problem)
  local list = problem.style == 1 and { "ann", "has" } or { "start" }
  digits(list, problem.start)
  for _, op in ipairs(problem.ops) do
    local sentence = problem.style == 1 and sentences[op[1]] or { op[1] }
    list[#list + 1] = sentence[1]
    operand(list, op[2])
    list[#list + 1] = sentence[2]
  end
  if problem.style == 1 then list[#list + 1] = "now" end
  list[#list + 1] = "?"
  return list
end

-- The answer between the question mark and a second one.
function kind.hint(list, answer)
  digits(list, answer)
  list[#list + 1] = "?"
end

local signs = { add = "+", sub = "-", mul = "*" }

-- The working step by step and the answer; `wrong(i)` gives another value for step i, or nil.
local function working(problem, wrong)
  local list, value = {}, problem.start
  for i, op in ipairs(problem.ops) do
    digits(list, value)
    list[#list + 1] = signs[op[1]]
    operand(list, op[2])
    list[#list + 1] = "="
    value = wrong and wrong(i) or apply(value, op)
    digits(list, value)
    list[#list + 1] = ";"
  end
  list[#list + 1] = "#"
  digits(list, value)
  list[#list + 1] = "<eos>"
  return list, value
end

function kind.answer(problem)
  local value = problem.start
  for _, op in ipairs(problem.ops) do value = apply(value, op) end
  return value
end

function kind.solution(problem, what)
  if what == "working" then return (working(problem)) end
  local list, value = {}, problem.start
  if what == "terse" then -- every second value, and the last
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
  digits(list, kind.answer(problem))
  list[#list + 1] = "<eos>"
  return list
end

-- ---- judging ------------------------------------------------------------------------------------

function kind.read(list, i)
  local a, b = list[i] and list[i]:match "^%d$", list[i + 1] and list[i + 1]:match "^%d$"
  if a and b then return tonumber(a) * 10 + tonumber(b), i + 2 end
end

function kind.accepts(problem, value) return value == kind.answer(problem) end

function kind.other_answer(value)
  local list = {}
  digits(list, (value + 1) % 100)
  return list
end

-- Whether every step is computed as it should be.
function kind.honest(problem, list)
  local value, at = problem.start, 1
  for _, op in ipairs(problem.ops) do
    local shown = {}
    digits(shown, value)
    shown[3] = signs[op[1]]
    operand(shown, op[2])
    shown[#shown + 1] = "="
    value = apply(value, op)
    digits(shown, value)
    shown[#shown + 1] = ";"
    for _, word in ipairs(shown) do
      if list[at] ~= word then return false end
      at = at + 1
    end
  end
  return list[at] == "#"
end

-- ---- the corpus ---------------------------------------------------------------------------------

-- A prompt and an imperfect solution: 45 % short and right, 30 % with steps that are wrong with
-- probability 0.3, 25 % the answer alone, wrong with probability 0.2. A hinted prompt holds the
-- answer that its solution comes to.
function kind.example(self, key, i)
  local roll = base.dice(key:fold("example", i))
  local u = roll(1000) / 1000
  for attempt = 1, 100 do
    local style = roll(1000) < 300 and 1 or 0
    local problem = draw(roll, 1, u < 0.45 and 2 or 5, style, self.two_digits)
    if not self.held_out[kind.canonical(problem)] or attempt == 100 then
      local prompt = kind.prompt(problem)
      local list, value, component
      if u < 0.45 then
        component, list, value = "right", working(problem)
      elseif u < 0.75 then
        component, list, value = "sloppy", working(problem, function()
          return roll(1000) < 300 and roll(100) or nil
        end)
      else
        component, value = "direct", roll(1000) < 200 and roll(100) or kind.answer(problem)
        list = { "#" }
        digits(list, value)
        list[4] = "<eos>"
      end
      if self.hints > 0 and roll(1000) < 1000 * self.hints then kind.hint(prompt, value) end
      return prompt, list, component
    end
  end
end

--- ml.task.arithmetic{ train =, valid =, test =, longest =, two_digits =, hints =, grader =,
---   seed = }
--- Chains of additions, subtractions and multiplications modulo 100, of two operations up to
--- `longest`, each value as two digits. No problem is in two splits, in whatever style.
--- @param opts.train integer =600 problems
--- @param opts.valid integer =150 problems
--- @param opts.test integer =400 problems
--- @param opts.longest integer =5 operations, 2 to 6
--- @param opts.two_digits boolean =false operands up to 99, which is much harder
--- @param opts.hints number =0 share of the corpus whose prompts hold the answer, for
--- rationalisation
--- @param opts.grader string ="strict" or "lenient", of verify
--- @param opts.seed integer =1 of the problems
--- @return task with train, valid, test, styled (the test problems in other words), long (200 of
--- one operation more), vocab (number of ids), context, stop (id that ends a solution), grader;
--- methods prompt, solution, verify, self_test, corpus, batch, encode, decode, chance
--- @source Singh et al. 2023 (arXiv 2312.06585), at the scale of a laptop
return function(opts)
  local where = "ml.task.arithmetic"
  options.check(where, opts, { "train", "valid", "test", "longest", "two_digits", "hints",
    "grader", "seed" })
  local o = opts or {}
  local longest = options.range(where, "longest",
    options.field(where, o, "longest", "integer", 5), 2, 6)
  local self = base.new(kind, {
    grader = options.choice(where, o, "grader", { "strict", "lenient" }, "strict"),
    two_digits = options.field(where, o, "two_digits", "boolean", false),
    hints = options.range(where, "hints", options.field(where, o, "hints", "number", 0), 0, 1) })
  local key = core.rng(options.field(where, o, "seed", "integer", 1)):fold("arithmetic")
  local function split(name, n, low, high)
    return base.split(self, key, name, n, function(roll)
      return draw(roll, low, high, 0, self.two_digits)
    end)
  end
  core.scope(function()
    self.train = split("train", base.count(where, o, "train", 600), 2, longest)
    self.valid = split("valid", base.count(where, o, "valid", 150), 2, longest)
    self.test = split("test", base.count(where, o, "test", 400), 2, longest)
    self.long = split("long", 200, longest + 1, longest + 1)
  end)
  self.styled = {}
  for i, problem in ipairs(self.test) do
    self.styled[i] = { start = problem.start, ops = problem.ops, style = 1 }
  end
  return self
end
