-- The loop of self-training: samples by place, logs that go on, caps, and the base left as it is.
local ml = require "moonlab"
local check = require "check"
local program = require "program"
local st = ml.selftrain
local T = {}

local task = ml.task.arithmetic { train = 70, valid = 8, test = 20, seed = 2 }

-- A model that has seen a little, so that some samples are right.
local function model()
  local lm = ml.transformer { vocab = task.vocab, context = task.context, depth = 1, width = 32,
    heads = 2, seed = 5 }
  local opt = ml.optim.adamw(lm:parameters(), { lr = 1e-2 })
  local easy = {}
  for i, problem in ipairs(task.train) do
    easy[i] = { prompt = task:prompt(problem), solution = task:solution(problem,
      { kind = "answer" }) }
  end
  ml.train { model = lm, opt = opt, steps = 60, clip = 1,
    data = { batch = function() return task:batch(easy) end },
    loss = function(m, b)
      return m:loss({ inputs = b.inputs, targets = b.targets }, { mask = b.mask })
    end }
  return lm
end
local lm = model()

local function weights(m)
  local out = {}
  for name, w in pairs(m:named_parameters()) do out[name] = w:detach():clone() end
  return out
end

-- property: a sample depends on its problem's place, not on its company
function T.test_samples_by_place()
  local whole = st.sample(lm, task, task.train, { samples = 3, rng = ml.rng(9) })
  check.equal(#whole, 70)
  local part = st.sample(lm, task, { table.unpack(task.train, 1, 5) },
    { samples = 3, rng = ml.rng(9) })
  for i = 1, 5 do
    for j = 1, 3 do check.equal(part[i][j].tokens, whole[i][j].tokens) end
  end
  local other = st.sample(lm, task, task.train, { samples = 3, rng = ml.rng(10) })
  local same = 0
  for i = 1, 70 do
    for j = 1, 3 do
      local a, b = other[i][j].tokens, whole[i][j].tokens
      if table.concat(a, " ") == table.concat(b, " ") then same = same + 1 end
    end
  end
  check.is_true(same < 210)
end

-- property: a log that is cut anywhere leads to the same samples
function T.test_a_log_that_goes_on()
  check.in_folder(function(dir)
    local path = dir .. "/samples.jsonl"
    local o = { samples = 2, rng = ml.rng(4), file = path }
    local whole = st.sample(lm, task, task.train, o)
    local text = program.read(path)
    local _, lines = text:gsub("\n", "")
    check.equal(lines, 2)
    for _, bytes in ipairs { 0, 10, #text // 3, #text - 1, #text } do
      program.write(path, text:sub(1, bytes))
      local again = st.sample(lm, task, task.train, o)
      check.equal(again[70][2].tokens, whole[70][2].tokens)
      check.is_true(program.read(path) == text)
    end
    -- what is there is not sampled again: another model would say something else
    local blank = ml.transformer(lm:config())
    check.equal(st.sample(blank, task, task.train, o)[1][1].tokens, whole[1][1].tokens)
  end)
end

function T.test_evaluation()
  local e = st.evaluate(lm, task, task.train, { samples = 8, k = { 1, 4, 8 } })
  local mean = 0
  for _, share in ipairs(e.solve) do mean = mean + share / 70 end
  check.close(e.pass[1], mean, { rtol = 1e-12 })
  check.is_true(e.pass[1] <= e.pass[4] and e.pass[4] <= e.pass[8])
  local right = 0
  for _, one in ipairs(e.right) do right = right + (one and 1 or 0) end
  check.close(e.greedy, right / 70, { rtol = 1e-12 })
  check.equal(e.failed, 0)
  -- answers without working are never honest: all that are right are so by luck
  if e.pass[8] > 0 then check.equal(e.false_positives, 1.0) end
end

-- property: the base stays, the cap holds, a start from the base differs from going on
function T.test_the_loop()
  local before = weights(lm)
  local seen = {}
  local policy, history = st.rest_em { model = lm, task = task, iterations = 2, samples = 12,
    temperature = 1, cap = 2, epochs = 2, seed = 3,
    after = function(i, m, info) seen[i] = { m, info } end }
  for name, w in pairs(weights(lm)) do check.equal(w, before[name]) end
  check.equal(#history, 2)
  check.equal(#seen, 2)
  check.is_true(rawequal(seen[2][1], policy))
  check.is_true(history[1].kept <= 2 * 70 and history[1].samples == 12 * 70)
  check.is_true(history[1].kept > 0 and history[1].coverage > 0)
  local _, unique = st.rest_em { model = lm, task = task, iterations = 1, samples = 12,
    temperature = 1, cap = 12, dedupe = true, epochs = 1, seed = 3 }
  check.is_true(unique[1].kept <= unique[1].distinct)
  local _, again = st.rest_em { model = lm, task = task, iterations = 1, samples = 12,
    temperature = 1, cap = 2, epochs = 2, seed = 3 }
  check.equal(again[1].kept, history[1].kept)
  check.equal(again[1].valid, history[1].valid)
end

-- property: training on solutions brings their loss down, and the best weights are put back
function T.test_improvement()
  local twin = ml.transformer(lm:config())
  local pairs_ = {}
  for i, problem in ipairs(task.train) do
    pairs_[i] = { prompt = task:prompt(problem), solution = task:solution(problem) }
  end
  local function loss()
    local b = task:batch(pairs_)
    return twin:loss({ inputs = b.inputs, targets = b.targets }, { mask = b.mask }):item()
  end
  local before = loss()
  local out = st.improve(twin, task, pairs_, { lr = 3e-3, epochs = 4, patience = 4 })
  check.is_true(loss() < before)
  check.equal(#out.valid, out.epochs + 1)
  check.equal(st.evaluate(twin, task, task.valid).greedy, out.best)
  local untouched = weights(twin)
  st.improve(twin, task, {}, {})
  for name, w in pairs(weights(twin)) do check.equal(w, untouched[name]) end
end

function T.test_bad_input()
  check.raises("is no decoder", st.rest_em, { model = 3, task = task })
  check.raises("option 'task' is missing", st.rest_em, { model = lm })
  check.raises("did you mean 'restart'", st.rest_em, { model = lm, task = task, restrt = "base" })
  check.raises("wanted \"base\", \"continue\"", st.rest_em,
    { model = lm, task = task, restart = "bas" })
  check.raises("option 'cap' is 0", st.rest_em, { model = lm, task = task, cap = 0 })
end

return T
