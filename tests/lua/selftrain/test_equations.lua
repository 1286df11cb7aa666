-- Linear equations: words, judging by substitution, splits without leaks, and the corpus.
local ml = require "moonlab"
local check = require "check"
local T = {}

local function small() return ml.task.equations { train = 60, valid = 20, test = 40, seed = 3 } end

-- analytic: 3 x + 4 = 5 x - 10 has x = 7
local problem = { a = 3, b = 4, c = 5, d = -10, x = 7, style = 0 }

function T.test_words()
  local task = small()
  check.equal(task:decode(task:prompt(problem)), "solve 3 x + 4 = 5 x - 1 0 ?")
  check.equal(task:decode(task:solution(problem)),
    "3 x - 5 x = - 1 0 - 4 ; - 2 x = - 1 4 ; x = 7 ; # 7 <eos>")
  check.equal(task:decode(task:solution(problem, { kind = "answer" })), "# 7 <eos>")
  check.equal(task:decode(task:solution(problem, { kind = "terse" })), "- 2 x = - 1 4 ; # 7 <eos>")
  check.equal(task:decode(task:prompt(problem, { hint = true })), "solve 3 x + 4 = 5 x - 1 0 ? 7 ?")
  local other = { a = 3, b = 4, c = 5, d = -10, x = 7, style = 1 }
  check.equal(task:decode(task:prompt(other)), "find x with 3 x + 4 equal to 5 x - 1 0 ?")
end

function T.test_graders()
  local task = small()
  check.is_true(task:self_test() > 600)
  local function judged(text, grader)
    return task:verify(problem, task:encode(text), { grader = grader })
  end
  local right, info = judged "3 x - 5 x = - 1 0 - 4 ; - 2 x = - 1 4 ; x = 7 ; # 7 <eos>"
  check.equal({ right, info.answer, info.honest }, { true, 7, true })
  right, info = judged "3 x - 5 x = - 1 0 - 4 ; - 2 x = - 1 6 ; x = 8 ; # 7 <eos>"
  check.equal({ right, info.answer, info.honest }, { true, 7, false })
  for _, text in ipairs { "# - 7 <eos>", "# 7", "# 7 ; <eos>", "x = 7 <eos>", "# <eos>", "" } do
    check.equal((judged(text)), false)
  end
  for _, text in ipairs { "# 7", "# 7 ; <eos>", "x = 7 <eos>", "1 2 ; 7" } do
    check.equal((judged(text, "lenient")), true)
  end
  check.equal((judged("7 ; 1 2", "lenient")), false)
  check.equal((judged("# 7 7 7 7 <eos>", "lenient")), false)
  check.is_nil((task:verify({ a = 1 }, task:encode "# 7 <eos>")))
  local lenient = ml.task.equations { train = 5, valid = 1, test = 1, grader = "lenient" }
  check.equal((lenient:verify(problem, lenient:encode "x = 7")), true)
  check.raises("wanted \"strict\", \"lenient\"", task.verify, task, problem, {}, { grader = "x" })
end

-- property: solutions solve, and no equation stands twice, in whatever form
function T.test_splits_do_not_share()
  local task = small()
  local seen, count = {}, 0
  local function ratio(p) -- the four numbers up to a factor
    local r = {}
    for _, name in ipairs { "a", "b", "c", "d" } do r[#r + 1] = ("%.9f"):format(p[name] / p.a) end
    return table.concat(r, " ")
  end
  for _, name in ipairs { "train", "valid", "test", "long" } do
    for _, p in ipairs(task[name]) do
      check.equal(p.a * p.x + p.b, p.c * p.x + p.d)
      check.is_true(p.a ~= p.c and math.abs(p.x) <= (name == "long" and 40 or 20))
      local swapped = { a = p.c, b = p.d, c = p.a, d = p.b }
      check.is_nil(seen[ratio(p)])
      check.is_nil(seen[ratio(swapped)])
      seen[ratio(p)], count = name, count + 1
    end
  end
  check.equal(count, 320)
  check.raises("different problems for 'train', wanted 100000", ml.task.equations,
    { train = 100000 })
end

function T.test_corpus()
  local task = small()
  local prompts = {}
  for _, name in ipairs { "train", "valid", "test", "styled" } do
    for _, p in ipairs(task[name]) do prompts[task:decode(task:prompt(p))] = true end
  end
  local shares = {}
  for _, only in ipairs { "right", "sloppy", "direct" } do
    local b = task:corpus(2, { batch = 40, only = only })
    local worked, good = 0, 0
    for r = 1, 40 do
      local text = task:decode(b.inputs[r])
      local head, tail = text:match "^(.- %?) (.*)$"
      check.is_nil(prompts[head])
      if tail:find "=" then worked = worked + 1 end
      local slope, x = tail:match "; (.-) x = .- ; x = (.-) ;"
      if slope then good = good + 1 end
      check.is_true(x ~= "" or slope == nil)
    end
    shares[only] = { worked / 40, good / 40 }
  end
  check.equal(shares, { right = { 1.0, 1.0 }, sloppy = { 1.0, 1.0 }, direct = { 0.0, 0.0 } })
  local hinted = ml.task.equations { train = 5, valid = 1, test = 1, hints = 1 }
  for r = 1, 10 do
    local _, marks = hinted:decode(hinted:corpus(1, { batch = 10 }).inputs[r]):gsub("%?", "")
    check.equal(marks, 2)
  end
end

function T.test_chance() -- analytic
  check.close(small():chance(1), 1 / 41, { rtol = 1e-12 })
  check.close(ml.task.arithmetic { train = 1, valid = 1, test = 1 }:chance(32), 1 - 0.99 ^ 32,
    { rtol = 1e-12 })
end

return T
