-- Chains of arithmetic: what a problem is, what is right, and what the text never shows.
local ml = require "moonlab"
local check = require "check"
local T = {}

local function small() return ml.task.arithmetic { train = 60, valid = 20, test = 40, seed = 3 } end

-- analytic: 42 + 7 = 49, * 3 = 147 = 47 modulo 100, - 8 = 39
local problem = { start = 42, style = 0, ops = { { "add", 7 }, { "mul", 3 }, { "sub", 8 } } }

function T.test_words()
  local task = small()
  check.equal(task:decode(task:prompt(problem)), "start 4 2 add 7 mul 3 sub 8 ?")
  check.equal(task:decode(task:solution(problem)),
    "4 2 + 7 = 4 9 ; 4 9 * 3 = 4 7 ; 4 7 - 8 = 3 9 ; # 3 9 <eos>")
  check.equal(task:decode(task:solution(problem, { kind = "answer" })), "# 3 9 <eos>")
  check.equal(task:decode(task:solution(problem, { kind = "terse" })),
    "= 4 7 ; = 3 9 ; # 3 9 <eos>")
  local other = { start = 42, style = 1, ops = problem.ops }
  check.equal(task:decode(task:prompt(other)), "ann has 4 2 gets 7 more times 3 loses 8 now ?")
  local text = "start 0 5 sub 9 ?"
  check.equal(task:decode(task:encode(text)), text)
  check.equal(task:decode(ml.index(task:encode(text))), text)
  check.raises('the word "five"', task.encode, task, "start five")
  check.raises("wanted \"working\"", task.solution, task, problem, { kind = "workin" })
end

function T.test_the_verifier()
  local task = small()
  check.is_true(task:self_test() > 300)
  local function judged(text) return task:verify(problem, task:encode(text)) end
  local right, info = judged "4 2 + 7 = 4 9 ; 4 9 * 3 = 4 7 ; 4 7 - 8 = 3 9 ; # 3 9 <eos>"
  check.equal({ right, info.answer, info.honest }, { true, 39, true })
  -- lucky: a wrong step, and the right answer
  right, info = judged "4 2 + 7 = 5 0 ; 5 0 * 3 = 4 7 ; 4 7 - 8 = 3 9 ; # 3 9 <eos>"
  check.equal({ right, info.honest }, { true, false })
  for _, text in ipairs { "# 3 8 <eos>", "# 3 9", "# 3 9 ; <eos>", "3 9 <eos>", "# 3 <eos>",
    "# 3 9 # 3 8 <eos>", "# # 3 9", "", "<eos>", "# 3 9 <eos> <eos>" } do
    check.equal((judged(text)), false)
  end
  check.equal((judged "# 1 1 ; # 3 9 <eos>"), true) -- the last one counts
  check.equal((task:verify(problem, ml.index(task:encode "# 3 9 <eos>"))), true)
  -- a failure of the verifier is neither
  right, info = task:verify({ start = 1 }, { 1 })
  check.is_nil(right)
  check.is_true(type(info.message) == "string")
end

-- property: no problem stands twice, in whatever split
function T.test_splits_do_not_share()
  local task = small()
  check.equal({ #task.train, #task.valid, #task.test, #task.styled, #task.long },
    { 60, 20, 40, 40, 200 })
  local seen, count = {}, 0
  for _, name in ipairs { "train", "valid", "test", "long" } do
    for _, p in ipairs(task[name]) do
      local key = tostring(p.start)
      for _, op in ipairs(p.ops) do key = key .. op[1] .. op[2] end
      check.is_nil(seen[key])
      seen[key], count = name, count + 1
      check.is_true(name == "long" and #p.ops == 6 or #p.ops >= 2 and #p.ops <= 5)
    end
  end
  check.equal(count, 320)
  for i, p in ipairs(small().train) do
    check.equal(task:prompt(p), task:prompt(task.train[i]))
  end
  check.is_true(ml.task.arithmetic { train = 5, seed = 4 }.train[1].start
    ~= ml.task.arithmetic { train = 5, seed = 5 }.train[1].start
    or #ml.task.arithmetic { train = 5, seed = 4 }.train[2].ops > 0)
end

-- property: the text ends every row, masks what is beyond it, and holds no problem of a split
function T.test_corpus()
  local task = small()
  local prompts = {}
  for _, name in ipairs { "train", "valid", "test", "styled" } do
    for _, p in ipairs(task[name]) do prompts[table.concat(task:prompt(p), " ")] = true end
  end
  local right, answers = 0, 0
  for i = 1, 6 do
    local b = task:corpus(i, { batch = 40 })
    check.equal(b.inputs:shape(), b.targets:shape())
    local inputs, targets, mask = b.inputs:totable(), b.targets:totable(), b.mask:totable()
    for r = 1, 40 do
      local row, last = { inputs[r][1] }, 0
      for t, m in ipairs(mask[r]) do
        if m > 0 then
          row[#row + 1] = targets[r][t]
          last = t
        end
      end
      check.equal(row[#row], task.stop)
      for t = last + 1, #mask[r] do check.equal(mask[r][t], 0.0) end
      local text = task:decode(row)
      local head, tail = text:match "^(.- %?) (.*)$"
      check.is_nil(prompts[table.concat(task:encode(head), " ")])
      answers = answers + 1
      if tail:find "=" then right = right + 1 end
    end
  end
  check.is_true(right / answers > 0.6 and right / answers < 0.9) -- 75 % show their working
  local a, b = task:corpus(3, { batch = 5 }), task:corpus(3, { batch = 5 })
  check.equal(a.inputs, b.inputs)
end

function T.test_only_solutions_count()
  local task = small()
  local b = task:batch { { prompt = task:prompt(problem), solution = task:solution(problem,
    { kind = "answer" }) } }
  local n = #task:prompt(problem)
  for t, m in ipairs(b.mask[1]:totable()) do check.equal(m, t >= n and 1.0 or 0.0) end
  check.equal(b.targets[{ 1, n }]:item(), task:encode("#")[1])
end

return T
