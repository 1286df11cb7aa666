-- Small Lua functions: words, splits that share no behaviour, and graders that say what is right.
local ml = require "moonlab"
local check = require "check"
local families = require "moonlab.task.programs.families"
local words = require "moonlab.task.programs.words"
local T = {}

local task = ml.task.programs { train = 60, valid = 20, test = 40, seed = 3 }

-- A problem made by hand: the family by its words.
local function problem_of(text, more)
  local problem = { style = 0, after = {}, visible = { { 3, 5 }, { 2, 2 } },
    hidden = { { 0, 0 }, { -3, 5 } } }
  for i, one in ipairs(families) do
    if one.words[1] == text then problem.family = i end
  end
  for name, value in pairs(more or {}) do problem[name] = value end
  return problem
end

local sum = problem_of("sum of a and b", { after = { { 1, 3 } } })
local list = problem_of("list of elements above K", { K = 4, visible = { { { 5, 1 } }, { { 2 } } },
  hidden = { { {} }, { { 9, 8, 4 } } } })

function T.test_words()
  check.is_true(#families >= 40)
  check.equal(task:decode(task:prompt(sum)),
    "<spec> sum of a and b then plus 3 </spec> <io> f ( 3 , 5 ) = 11 ; f ( 2 , 2 ) = 7 </io>")
  check.equal(task:decode(task:solution(sum)), "return a + b + 3 <eos>")
  check.equal(task:decode(task:solution(sum, { variant = 2 })),
    "local n = a return n + b + 3 <eos>")
  check.equal(task:solution(sum, { variant = 4 }), task:solution(sum))
  local styled = problem_of("sum of a and b", { after = { { 1, 3 } }, style = 1 })
  check.equal(task:decode(task:prompt(styled)),
    "<spec> add a to b and add 3 </spec> <io> f ( 3 , 5 ) = 11 ; f ( 2 , 2 ) = 7 </io>")
  check.equal(task:decode(task:prompt(list)), "<spec> list of elements above 4 </spec> <io> "
    .. "f ( { 5 , 1 } ) = { 5 } ; f ( { 2 } ) = { } </io>")
  check.equal(task:decode(task:encode "return 120 + a"), "return 120 + a")
  check.equal(#task:encode "return 120 + a", 6)
  check.equal(task:decode(ml.index(task:encode "return a")), "return a")
  check.raises('the word "os"', task.encode, task, "return os")
  check.raises("option 'variant' is 0", task.solution, task, sum, { variant = 0 })
end

-- property: what families say in Lua and what their programs do is the same, on other inputs too
function T.test_families_and_programs_agree()
  local count, walls = task:self_test()
  check.is_true(count > 500)
  check.is_true(walls:find "programs held" ~= nil)
  for index, one in ipairs(families) do
    for variant = 1, #one.programs do
      for step = 0, one.number and #families.followers or 0 do
        local p = { family = index, J = one.J and one.J[2], K = one.K and one.K[1], style = 0,
          after = step > 0 and { { step, 5 } } or {}, visible = {}, hidden = {} }
        local pool = one.natural and "natural" or one.takes
        for i = 1, 10 do p.hidden[i] = task.audits[pool][i] end
        local tokens = task:solution(p, { variant = variant })
        local right, info = task:verify(p, tokens)
        if not (right and info.honest) then check.fail(task:decode(tokens)) end
      end
    end
  end
end

function T.test_the_strict_grader()
  local function judged(text, p) return task:verify(p or sum, task:encode(text)) end
  local right, info = judged "return a + b + 3 <eos>"
  check.equal({ right, info.honest, info.passed, info.reason }, { true, true, 4 })
  check.equal({ judged "return 3 + b + a <eos>" }, { true, info }) -- by what it does
  for text, reason in pairs {
    [""] = "form", ["<eos>"] = "form", ["return a + b + 3"] = "form",
    ["return a + b + 3 <eos> end"] = "form", ["return a + b + 3 <eos> <eos>"] = "form",
    ["return a + b <eos>"] = "tests", ["return a + b + 3 , 1 <eos>"] = "tests",
    ["return ( a + b + 3 ) / 1 <eos>"] = "tests", ["local n = a <eos>"] = "tests",
    ["return a + <eos>"] = "syntax", ["return a + t <eos>"] = "error",
    ["while true do end <eos>"] = "instructions",
    ["local r = \"-\" while true do r = r .. r end <eos>"] = "memory",
    ["if a == 3 then return 11 end return 7 <eos>"] = "tests" } do
    right, info = judged(text)
    check.equal({ text, right, info.reason }, { text, false, reason })
  end
  check.equal((judged("local r = { } for i , v in ipairs ( t ) do if v > 4 then r [ # r + 1 ] = v "
    .. "end end return r <eos>", list)), true)
  for _, text in ipairs { "return t <eos>", "return { 5 } <eos>", "return # t <eos>",
    "return { } <eos>", "t [ 1 ] = t return t <eos>" } do
    check.equal((judged(text, list)), false)
  end
  -- luck: right on its few tests, wrong on the audit
  right, info = judged("if # t == 3 then return { 9 , 8 } end if # t == 2 then return { 5 } end "
    .. "return { } <eos>", list)
  check.equal({ right, info.honest }, { true, false })
end

function T.test_the_lenient_grader()
  local function judged(text)
    return (task:verify(sum, task:encode(text), { grader = "lenient" }))
  end
  for _, text in ipairs { "return a + b + 3", "return a + b + 3 <eos> end <eos>",
    "return ( a + b + 3 ) / 1 <eos>", "a + b + 3 <eos>", "3 + a + b" } do
    check.equal({ text, judged(text) }, { text, true })
  end
  for _, text in ipairs { "", "<eos> return a + b + 3", "return a + b", "a + b", "return",
    "while true do end", "a +" } do
    check.equal({ text, judged(text) }, { text, false })
  end
  check.raises("did you mean 'lenient'", task.verify, task, sum, {}, { grader = "lenent" })
end

-- property: a grader that fails says neither right nor wrong, and the loop counts it
function T.test_a_grader_that_fails()
  local broken = ml.task.programs { train = 4, valid = 2, test = 2, seed = 3 }
  broken.box:close()
  local right, info = broken:verify(broken.train[1], broken:solution(broken.train[1]))
  check.is_nil(right)
  check.is_true(info.message:find "closed" ~= nil)
  local lm = ml.transformer { vocab = task.vocab, context = task.context, depth = 1, width = 16,
    heads = 2, seed = 5 }
  local mute = setmetatable({ verify = function() return nil, { message = "gone" } end },
    { __index = task })
  local few = { table.unpack(task.test, 1, 3) }
  local e = ml.selftrain.evaluate(lm, mute, few, { samples = 4 })
  check.equal(e.failed, 3 + 3 * 4)
end

-- property: no two problems of the splits do the same, and no problem of the text what one does
function T.test_splits_do_not_share()
  check.equal({ #task.train, #task.valid, #task.test, #task.styled, #task.long },
    { 60, 20, 40, 40, 100 })
  local prompts, seen = {}, {}
  local function key(p) -- what it answers on inputs that the splits were not made with
    local other = ml.task.programs { train = 1, valid = 1, test = 1, seed = 77 }
    key = function(q)
      local one, parts = families[q.family], {}
      for i, args in ipairs(other.audits[one.natural and "natural" or one.takes]) do
        local value = one.f(q, table.unpack(args))
        for _, step in ipairs(q.after) do
          value = families.followers[step[1]].f(value, step[2])
        end
        parts[i] = words.source(words.value({}, value))
      end
      return one.takes .. (one.natural and "n" or "") .. table.concat(parts, ";")
    end
    return key(p)
  end
  for _, name in ipairs { "train", "valid", "test", "long" } do
    for _, p in ipairs(task[name]) do
      local what = key(p)
      check.is_nil(seen[what])
      seen[what] = name
      for style = 0, 1 do
        local other = setmetatable({ style = style }, { __index = p })
        prompts[task:decode(task:prompt(other)):match "^.-</spec>"] = true
      end
      check.equal({ #p.visible, #p.hidden }, { 2, 8 })
      check.is_true(name ~= "long" or #p.after == 2)
    end
  end
  for i, p in ipairs(task.styled) do
    check.equal(key(p), key(task.test[i]))
    check.is_true(p.style == 1)
  end
  local again = ml.task.programs { train = 60, valid = 20, test = 40, seed = 3 }
  for i, p in ipairs(again.train) do check.equal(again:prompt(p), task:prompt(task.train[i])) end
  -- the text
  local matched, rows = 0, 0
  for i = 1, 5 do
    local b = task:corpus(i, { batch = 40 })
    local inputs, targets, mask = b.inputs:totable(), b.targets:totable(), b.mask:totable()
    for r = 1, 40 do
      local row = { inputs[r][1] }
      for t, m in ipairs(mask[r]) do
        if m > 0 then row[#row + 1] = targets[r][t] end
      end
      check.equal(row[#row], task.stop)
      check.is_true(#row <= task.context)
      local text = task:decode(row)
      local head, program = text:match "^(.* </io>) (.*)$"
      check.is_nil(prompts[head:match "^.-</spec>"])
      rows = rows + 1
      -- whether the program does what its examples say
      local all = true
      for args, value in head:gmatch "f (%b()) = (.-) [;<]" do
        local function read(words_) return load("return " .. words_:gsub('"(.-)"', function(s)
          return '"' .. s:gsub(" ", "") .. '"' end))() end
        local list_ = { load("return " .. args:sub(2, -2):gsub('"(.-)"', function(s)
          return '"' .. s:gsub(" ", "") .. '"' end))() }
        local header = #list_ == 2 and "local a, b = ... "
          or type(list_[1]) == "table" and "local t = ... " or "local s = ... "
        local result = task.box:call(header .. program:gsub(" <eos>", ""), { list_ })
        local found = result.calls[1] and result.calls[1].values
        if not found or words.source(words.value({}, found[1]))
          ~= words.source(words.value({}, read(value))) then
          all = false
        end
      end
      matched = matched + (all and 1 or 0)
    end
  end
  check.is_true(matched / rows > 0.65 and matched / rows < 0.9) -- a quarter is of another problem
  check.equal(task:corpus(3, { batch = 5 }).inputs, again:corpus(3, { batch = 5 }).inputs)
end

function T.test_only_solutions_count()
  local b = task:batch { { prompt = task:prompt(sum), solution = task:solution(sum) } }
  local n = #task:prompt(sum)
  for t, m in ipairs(b.mask[1]:totable()) do check.equal(m, t >= n and 1.0 or 0.0) end
  check.equal(b.targets[{ 1, n }]:item(), task:encode("return")[1])
end

-- property: the loop of self-training takes the task as it is
function T.test_in_the_loop()
  local lm = ml.transformer { vocab = task.vocab, context = task.context, depth = 1, width = 16,
    heads = 2, seed = 5 }
  local easy = {}
  for i, p in ipairs(task.train) do
    easy[i] = { prompt = task:prompt(sum), solution = task:encode(i % 2 == 0
      and "return a + b + 3 <eos>" or "return a + b <eos>") }
    check.is_true(p.family >= 1)
  end
  ml.train { model = lm, opt = ml.optim.adamw(lm:parameters(), { lr = 1e-2 }), steps = 40,
    data = { batch = function() return task:batch(easy) end },
    loss = function(m, b)
      return m:loss({ inputs = b.inputs, targets = b.targets }, { mask = b.mask })
    end }
  local _, history = ml.selftrain.rest_em { model = lm, task = task, problems = { sum, sum },
    iterations = 1, samples = 8, temperature = 1, cap = 2, epochs = 1 }
  check.equal({ history[1].samples, history[1].failed }, { 16, 0 })
  check.is_true(history[1].right > 0 and history[1].right < 16 and history[1].kept <= 4)
  check.equal(history[1].false_positives, 0.0)
end

function T.test_bad_input()
  check.raises("option 'train' is 0", ml.task.programs, { train = 0 })
  check.raises("is no box of ml.sandbox.open", ml.task.programs, { box = {} })
  check.raises("did you mean 'mismatched'", ml.task.programs, { mismatchd = 0 })
  check.raises("option 'mismatched' is 2", ml.task.programs, { mismatched = 2 })
end

return T
