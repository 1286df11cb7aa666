-- The loop of self-training: samples by place, logs that go on, caps, and the base left as it is.
local ml = require "moonlab"
local check = require "check"
local lfs = require "lfs"
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

-- property: whatever the mode, the base stays and what is counted adds up
function T.test_modes()
  local before = weights(lm)
  local hinted = ml.task.arithmetic { train = 70, valid = 8, test = 20, seed = 2, hints = 0.2 }
  for _, mode in ipairs { "rft", "star", "iml", "continual" } do
    local asked = mode == "star" and hinted or task
    local policy, history = st.rest_em { model = lm, task = asked, mode = mode, samples = 6,
      temperature = 1, iterations = mode ~= "rft" and 2 or nil, epochs = 1, lr = 1e-3, seed = 3 }
    check.equal(#history, mode == "rft" and 1 or 2)
    local h = history[1]
    check.is_true(h.samples == (mode == "star" and 70 + h.hinted or 420) and h.tokens > h.samples)
    check.is_true(h.flops > 0 and h.seconds > 0 and h.kept <= h.samples)
    check.close(h.kept_share, h.kept / h.samples, { rtol = 1e-12 })
    check.close(h.solve_rate, h.right / h.samples, { rtol = 1e-12 })
    if h.kept > 0 then
      local moved = 0
      for name, w in pairs(weights(policy)) do
        moved = moved + (w - before[name]):abs():max():item()
      end
      check.is_true(moved > 0)
    end
    for name, w in pairs(weights(lm)) do check.equal(w, before[name]) end
  end
end

-- analytic: samples written out, and which of them each filter takes
function T.test_filters()
  local want = { binary = 2, top_1 = 1, best_of_n = 2, threshold = 3 }
  for name, count in pairs(want) do
    check.in_folder(function(dir)
      local function sample(problem, tokens, right, score, logprob)
        return { problem = problem, tokens = tokens, right = right, score = score,
          logprob = logprob, honest = true }
      end
      ml.write_file(dir .. "/iteration-1.jsonl", ml.json.encode {
        { sample(1, { 9 }, true, 0.9, -3), sample(1, { 8 }, true, 0.9, -2),
          sample(1, { 7 }, false, 0.6, -1) },
        { sample(2, { 5 }, false, 0.2, -1), sample(2, { 4 }, false, 0.1, 0) } } .. "\n")
      local _, history = st.rest_em { model = lm, task = task, iterations = 1, epochs = 1,
        problems = { task.train[1], task.train[2] }, filter = name, dir = dir }
      check.equal(history[1].kept, count)
      check.equal(history[1].coverage, name == "best_of_n" and 1.0 or 0.5)
    end)
  end
end

-- property: weights make each problem count as much
function T.test_weights()
  local b = task:batch { { prompt = { 1, 2 }, solution = { 3, 2 }, weight = 0.25 },
    { prompt = { 1 }, solution = { 3, 2 } } }
  check.equal(b.mask, ml.f32 { { 0, 0.25, 0.25 }, { 1, 1, 0 } })
end

-- analytic: softmax table of one problem with five answers, two of them right; learning the right
-- samples of many leads to p given that it is right
function T.test_one_step_of_expectation_and_maximization()
  local p = { 0.4, 0.3, 0.2, 0.05, 0.05 }
  local logits = ml.param(ml.f64(p):log())
  local right = ml.f64 { 0, 0, 1, 1, 0 }
  local q = ml.f64(p) * right
  local opt = ml.optim.sgd({ logits }, { lr = 5 })
  for _ = 1, 4000 do
    opt:zero_grad()
    ml.scope(function()
      ((logits:log_softmax(1) * q):sum() * (-1 / q:sum():item())):backward()
    end)
    opt:step()
  end
  check.close(logits:detach():softmax(1), { 0, 0, 0.8, 0.2, 0 }, { atol = 1e-3 })
end

-- property: only solutions are learned: other targets in a prompt change no gradient
function T.test_prompts_are_not_learned()
  local pair = { prompt = task:prompt(task.train[1]), solution = task:solution(task.train[1]) }
  local function gradient(b)
    for _, w in ipairs(lm:parameters()) do w:zero_grad() end
    ml.scope(function()
      lm:loss({ inputs = b.inputs, targets = b.targets }, { mask = b.mask }):backward()
    end)
    return lm:parameters()[1]:grad():clone()
  end
  local b = task:batch { pair }
  local before = gradient(b)
  b.targets[{ 1, 2 }] = 7
  check.equal(gradient(b), before)
  b.targets[{ 1, #pair.prompt + 2 }] = 7
  check.is_true((gradient(b) - before):abs():max():item() > 0)
end

-- limit: one token to choose from is greedy, a low temperature nearly so, all tokens change nothing
function T.test_sampling_limits()
  local some = { table.unpack(task.train, 1, 20) }
  local function tokens(o)
    local list = {}
    for i, found in ipairs(st.sample(lm, task, some, o)) do
      list[i] = table.concat(found[1].tokens, " ")
    end
    return list
  end
  local greedy = tokens { greedy = true }
  check.equal(tokens { samples = 1, top_k = 1 }, greedy)
  check.equal(tokens { samples = 1, temperature = 1e-6 }, greedy)
  check.equal(tokens { samples = 1, top_k = task.vocab }, tokens { samples = 1 })
  check.equal(tokens { samples = 1, top_p = 1 }, tokens { samples = 1 })
end

function T.test_comparison() -- property
  local e = st.evaluate(lm, task, task.train, { samples = 4 })
  local none = st.compare(e, e)
  check.equal({ none.difference, none.low, none.high }, { 0.0, 0.0, 0.0 })
  local better = { solve = {}, right = {} }
  for i, x in ipairs(e.solve) do better.solve[i] = x + 0.5 + 0.1 * (i % 2) end
  local c = st.compare(better, e)
  check.close(c.difference, 0.55, { rtol = 1e-9 })
  check.is_true(c.low > 0.5 and c.high < 0.6 and c.p < 0.01)
  check.raises("no evaluation with 'votes'", st.compare, better, e, { what = "votes" })
  local total = 0
  for _, n in ipairs(e.histogram) do total = total + n end
  check.equal(total, 70)
  check.close(e.chance[4], 1 - 0.99 ^ 4, { rtol = 1e-12 })
end

-- property: killed at any moment and started again, the loop ends as if nothing had been, and what
-- was sampled before a kill is not sampled again
function T.test_killed_it_goes_on()
  check.in_folder(function(dir)
    lm:save(dir .. "/base.safetensors")
    program.write(dir .. "/loop.lua", [[
      local ml = require "moonlab"
      local dir, mode = ...
      local task = ml.task.arithmetic { train = 300, valid = 20, test = 20, seed = 2 }
      local _, history = ml.selftrain.rest_em { model = ml.transformer.load "base.safetensors",
        task = task, mode = mode, iterations = 2, samples = 8, temperature = 1, epochs = 2,
        lr = 1e-3, dir = dir }
      for _, h in ipairs(history) do h.seconds = nil end
      ml.write_file(dir .. "/result.json", ml.json.encode(history))
    ]])
    for _, mode in ipairs { "rest_em", "iml" } do
      local whole, cut = dir .. "/whole-" .. mode, dir .. "/cut-" .. mode
      lfs.mkdir(whole)
      lfs.mkdir(cut)
      local began = ml.now()
      check.equal(select(2, program.run(dir, ("loop.lua %s %s"):format(whole, mode))), 0)
      local span = ml.now() - began
      local g, before = ml.rng(7), nil
      for _ = 1, 4 do
        local child = ml.system.spawn { program.path, "loop.lua", cut, mode, dir = dir,
          stdout = "null", stderr = "null" }
        ml.system.sleep(span * (0.2 + 0.6 * g:uniform({ 1 }):item()))
        child:kill "kill"
        child:wait()
        local now = program.read(cut .. "/iteration-1.jsonl") or ""
        if before then check.equal(now:sub(1, #before), before) end
        before = now:match "^.*\n"
      end
      check.equal(select(2, program.run(dir, ("loop.lua %s %s"):format(cut, mode))), 0)
      for _, name in ipairs { "iteration-1.jsonl", "iteration-2.jsonl", "result.json" } do
        check.is_true(program.read(cut .. "/" .. name) == program.read(whole .. "/" .. name))
      end
    end
  end)
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
