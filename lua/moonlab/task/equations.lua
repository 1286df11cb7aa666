--- Linear equations with checkable working: a x + b = c x + d with a whole solution.
local core = require "moonlab.core"
local base = require "moonlab.task.base"
local options = require "moonlab.options"

local kind = { name = "equations", context = 96, answers = 41,
  words = { "<pad>", "<eos>", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "solve", "x", "+",
    "-", "=", "?", "find", "with", "equal", "to", ";", "#" } }

-- ---- problems -----------------------------------------------------------------------------------

local function gcd(a, b)
  a, b = math.abs(a), math.abs(b)
  while b ~= 0 do a, b = b, a % b end
  return a
end

-- Coefficients of 1 to 9 and a solution of least to most in size.
local function draw(roll, least, most, style)
  local a, b, c = 1 + roll(9), 1 + roll(9), 1 + roll(8)
  c = c < a and c or c + 1
  local x = (least + roll(most - least + 1)) * (roll(2) == 0 and 1 or -1)
  return { a = a, b = b, c = c, d = (a - c) * x + b, x = x, style = style }
end

-- What an equation is, whichever side comes first and whatever multiplies both.
function kind.canonical(p)
  local g = gcd(gcd(p.a, p.b), gcd(p.c, p.d))
  local left, right = ("%d %d"):format(p.a // g, p.b // g), ("%d %d"):format(p.c // g, p.d // g)
  if right < left then left, right = right, left end
  return left .. " = " .. right
end

local function number(list, value)
  if value < 0 then list[#list + 1] = "-" end
  for digit in tostring(math.abs(value)):gmatch "%d" do list[#list + 1] = digit end
end

-- a x, as "x" alone where a is 1, then a sign and the size of b.
local function side(list, a, b)
  number(list, a)
  list[#list + 1] = "x"
  list[#list + 1] = b < 0 and "-" or "+"
  number(list, math.abs(b))
end

function kind.prompt(p)
  local list = p.style == 1 and { "find", "x", "with" } or { "solve" }
  side(list, p.a, p.b)
  if p.style == 1 then
    list[#list + 1] = "equal"
    list[#list + 1] = "to"
  else
    list[#list + 1] = "="
  end
  side(list, p.c, p.d)
  list[#list + 1] = "?"
  return list
end

function kind.hint(list, answer)
  number(list, answer)
  list[#list + 1] = "?"
end

function kind.answer(p) return p.x end

-- Terms are moved, put together, divided: a x - c x = d - b ; (a - c) x = (d - b) ; x = ...
-- `wrong(i)` gives what is added to the value of step i, or nil.
local function working(p, wrong)
  local function slip(i) return wrong and wrong(i) or 0 end
  local list = {}
  number(list, p.a)
  list[#list + 1] = "x"
  list[#list + 1] = "-"
  number(list, p.c)
  list[#list + 1] = "x"
  list[#list + 1] = "="
  number(list, p.d)
  list[#list + 1] = "-"
  number(list, p.b)
  list[#list + 1] = ";"
  local slope, rest = p.a - p.c, p.d - p.b + slip(1)
  number(list, slope)
  list[#list + 1] = "x"
  list[#list + 1] = "="
  number(list, rest)
  list[#list + 1] = ";"
  local x = (rest - rest % slope) // slope + slip(2)
  list[#list + 1] = "x"
  list[#list + 1] = "="
  number(list, x)
  list[#list + 1] = ";"
  list[#list + 1] = "#"
  number(list, x)
  list[#list + 1] = "<eos>"
  return list, x
end

function kind.solution(p, what)
  if what == "working" then return (working(p)) end
  local list = {}
  if what == "terse" then -- the second step alone
    number(list, p.a - p.c)
    list[#list + 1] = "x"
    list[#list + 1] = "="
    number(list, p.d - p.b)
    list[#list + 1] = ";"
  end
  list[#list + 1] = "#"
  number(list, p.x)
  list[#list + 1] = "<eos>"
  return list
end

-- ---- judging ------------------------------------------------------------------------------------

-- A number of at most three digits, with or without a minus, and no digit behind it.
function kind.read(list, i)
  local sign = 1
  if list[i] == "-" then sign, i = -1, i + 1 end
  local text = ""
  while list[i] and list[i]:match "^%d$" do text, i = text .. list[i], i + 1 end
  if text == "" or #text > 3 then return nil end
  return sign * math.tointeger(tonumber(text)), i
end

-- By substitution into the equation as it was given.
function kind.accepts(p, x) return p.a * x + p.b == p.c * x + p.d end

function kind.other_answer(value)
  local list = {}
  number(list, value + 1)
  return list
end

function kind.honest(p, list)
  local wanted = working(p)
  for i, word in ipairs(wanted) do
    if word == "#" then return list[i] == "#" end
    if list[i] ~= word then return false end
  end
  return false
end

-- ---- the corpus ---------------------------------------------------------------------------------

-- A prompt and an imperfect solution: 45 % with a small solution and right, 30 % with steps that
-- are wrong with probability 0.3, 25 % the answer alone, wrong with probability 0.2.
function kind.example(self, key, i)
  local roll = base.dice(key:fold("example", i))
  local u = roll(1000) / 1000
  for attempt = 1, 100 do
    local style = roll(1000) < 300 and 1 or 0
    local p = draw(roll, 0, u < 0.45 and 8 or 20, style)
    if not self.held_out[kind.canonical(p)] or attempt == 100 then
      local prompt = kind.prompt(p)
      local list, value, component
      if u < 0.45 then
        component, list, value = "right", working(p)
      elseif u < 0.75 then
        component, list, value = "sloppy", working(p, function()
          return roll(1000) < 300 and roll(19) - 9 or nil
        end)
      else
        component, value = "direct", roll(1000) < 200 and roll(41) - 20 or p.x
        list = { "#" }
        number(list, value)
        list[#list + 1] = "<eos>"
      end
      if self.hints > 0 and roll(1000) < 1000 * self.hints then kind.hint(prompt, value) end
      return prompt, list, component
    end
  end
end

--- ml.task.equations{ train =, valid =, test =, hints =, grader =, seed = }
--- Equations a x + b = c x + d with a, b, c of 1 to 9 and a whole solution of -20 to 20. The
--- verifier puts the answer into the equation. No equation is in two splits, whichever side comes
--- first, whatever multiplies both, in whatever style.
--- @param opts.train integer =600 problems
--- @param opts.valid integer =150 problems
--- @param opts.test integer =400 problems
--- @param opts.hints number =0 share of the corpus whose prompts hold the answer, for
--- rationalisation
--- @param opts.grader string ="strict" or "lenient", of verify
--- @param opts.seed integer =1 of the problems
--- @return task with train, valid, test, styled (the test problems in other words), long (200 with
--- solutions of 21 to 40 in size), vocab (number of ids), context, stop (id that ends a solution),
--- grader; methods prompt, solution, verify, self_test, corpus, batch, encode, decode, chance
--- @source Singh et al. 2023 (arXiv 2312.06585), at the scale of a laptop
return function(opts)
  local where = "ml.task.equations"
  options.check(where, opts, { "train", "valid", "test", "hints", "grader", "seed" })
  local o = opts or {}
  local self = base.new(kind, {
    grader = options.choice(where, o, "grader", { "strict", "lenient" }, "strict"),
    hints = options.range(where, "hints", options.field(where, o, "hints", "number", 0), 0, 1) })
  local key = core.rng(options.field(where, o, "seed", "integer", 1)):fold("equations")
  local function split(name, n, least, most)
    return base.split(self, key, name, n, function(roll) return draw(roll, least, most, 0) end)
  end
  core.scope(function()
    self.train = split("train", base.count(where, o, "train", 600), 0, 20)
    self.valid = split("valid", base.count(where, o, "valid", 150), 0, 20)
    self.test = split("test", base.count(where, o, "test", 400), 0, 20)
    self.long = split("long", 200, 21, 40)
  end)
  self.styled = {}
  for i, p in ipairs(self.test) do
    self.styled[i] = { a = p.a, b = p.b, c = p.c, d = p.d, x = p.x, style = 1 }
  end
  return self
end
