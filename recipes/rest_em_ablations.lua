--- Which part of self-training does what? One base model, and the loop with one thing changed.
local ml, recipe = require "moonlab", require "moonlab.recipe"
local st = ml.selftrain

local function some(list, n) return { table.unpack(list, 1, math.min(n, #list)) } end

local function judge(lm, task, problems, p)
  local function greedy(list) return st.evaluate(lm, task, list).greedy end
  local e = st.evaluate(lm, task, some(task.test, p.judged), { samples = p.judge_samples,
    rng = ml.rng(p.seed):fold("judge") })
  return { train = greedy(some(problems, p.judged)), test = e.greedy,
    styled = greedy(some(task.styled, 200)), long = greedy(task.long),
    loss = st.text_loss(lm, task, { seed = p.seed }), pass1 = e.pass[1],
    pass_all = e.pass[p.judge_samples], majority = e.majority,
    false_positives = e.false_positives, solve = e.solve }
end

local function twin(lm)
  local other, values = ml.transformer(lm:config()), lm:named_parameters()
  ml.no_grad(function()
    for name, w in pairs(other:named_parameters()) do w:copy_(values[name]) end
  end)
  return other
end

-- Training on written solutions of a kind.
local function supervised(base, task, problems, p, kind)
  local lm, list = twin(base), {}
  for i, problem in ipairs(problems) do
    list[i] = { prompt = task:prompt(problem), solution = task:solution(problem, { kind = kind }) }
  end
  st.improve(lm, task, list, { lr = p.lr, epochs = p.epochs, seed = p.seed })
  return lm
end

-- What is changed, in the order of the table. Total samples are those of the loop but with fewer
-- problems and greedy sampling.
local variants = {
  { "loop", {} },
  { "one iteration", function(p)
    return { iterations = 1, samples = p.samples * p.iterations }
  end },
  { "continue", { mode = "continual" } },
  { "batch by batch", { mode = "iml" } },
  { "greedy", { mode = "star", rationalize = false } },
  { "one solution", { cap = 1 } },
  { "distinct solutions", { dedupe = true } },
  { "a quarter of the problems", function(p, task)
    return { problems = some(task.train, p.train // 4) }
  end },
  { "four times the problems", function(p, task)
    return { problems = task.train, samples = math.max(1, p.samples // 4) }
  end },
}

local function say(name, row)
  print(("%-26s %6.3f %6.3f %6.3f %6.3f %6.3f  %6.3f %6.3f %6.3f %6.3f"):format(name, row.train,
    row.test, row.styled, row.long, row.loss, row.pass1, row.pass_all, row.majority,
    row.false_positives))
end

-- Mean gain in the share of right samples where the base had that share.
local levels = { { "very hard", 0, 0.25 }, { "hard", 0.25, 0.5 }, { "medium", 0.5, 0.75 },
  { "easy", 0.75, 1.01 } }
local function by_difficulty(before, after)
  local out = {}
  for i, level in ipairs(levels) do
    local sum, n = 0, 0
    for k, x in ipairs(before) do
      if x >= level[2] and x < level[3] then sum, n = sum + after[k] - x, n + 1 end
    end
    out[i] = { name = level[1], gain = n > 0 and sum / n or 0, problems = n }
  end
  return out
end

local function full(p) return p.steps >= 2000 and p.samples >= 32 and p.train >= 600 end

return recipe.define {
  name = "rest_em_ablations",
  source = "Singh et al. 2023 (arXiv 2312.06585), at the scale of a laptop",
  params = {
    train = { 600, "problems to train on", min = 8 },
    depth = { 3, "blocks", min = 1 },
    width = { 64, "of the model", min = 8 },
    heads = { 4, "of attention", min = 1 },
    steps = { 2000, "updates of the base model", min = 1 },
    batch = { 64, "rows of its text", min = 1 },
    base_lr = { 3e-3, "peak learning rate of the base", above = 0 },
    iterations = { 2, "of sampling and training", min = 1 },
    samples = { 32, "of each problem", min = 2 },
    cap = { 10, "solutions of a problem that are kept", min = 1 },
    lr = { 5e-4, "learning rate of an improvement", above = 0 },
    epochs = { 8, "of an improvement, at most", min = 1 },
    judged = { 150, "problems to judge with", min = 1 },
    judge_samples = { 16, "of each of them", min = 2 },
    seed = { 1, "of problems, text, model and samples" },
  },
  smoke = { train = 24, depth = 1, width = 16, heads = 2, steps = 20, batch = 8, iterations = 1,
    samples = 2, epochs = 1, judged = 8, judge_samples = 2 },
  full = { seeds = { 1, 2, 3 }, iterations = 3, judge_samples = 32 },
  run = function(p, ctx)
    local task = ml.task.arithmetic { train = 4 * p.train, seed = p.seed }
    local problems = some(task.train, p.train)
    task:self_test()
    local base = st.pretrain(task, { depth = p.depth, width = p.width, heads = p.heads,
      steps = p.steps, batch = p.batch, lr = p.base_lr, seed = p.seed, dir = ctx.dir .. "/base" })
    print(("%-26s %6s %6s %6s %6s %6s  %6s %6s %6s %6s"):format("", "train", "test", "words",
      "longer", "text", "pass@1", "@" .. p.judge_samples, "vote", "luck"))
    local rows, order = {}, { "base" }
    rows.base = ctx:once("base", function() return judge(base, task, problems, p) end)
    say("base", rows.base)
    for i, variant in ipairs(variants) do
      local name, change = variant[1], variant[2]
      if type(change) == "function" then change = change(p, task) end
      rows[name] = ctx:once("variant-" .. i, function()
        local o = { model = base, task = task, problems = problems, iterations = p.iterations,
          samples = p.samples, cap = p.cap, lr = p.lr, epochs = p.epochs, seed = p.seed,
          dir = ("%s/samples-%d"):format(ctx.dir, i) }
        for key, value in pairs(change) do o[key] = value end
        local lm, history = st.rest_em(o)
        local row = judge(lm, task, o.problems, p)
        row.history = history
        return row
      end)
      order[#order + 1] = name
      say(name, rows[name])
    end
    for _, kind in ipairs { "working", "terse" } do
      local name = kind .. " solutions"
      rows[name] = ctx:once(kind, function()
        return judge(supervised(base, task, problems, p, kind), task, problems, p)
      end)
      order[#order + 1] = name
      say(name, rows[name])
    end
    local first, unique = rows.loop.history[1], rows["distinct solutions"].history[1]
    print(("right by luck of what is kept at first: %.3f, of distinct solutions %.3f"):format(
      first.false_positives, unique.false_positives))
    local gains = by_difficulty(rows.base.solve, rows.loop.solve)
    for _, g in ipairs(gains) do
      print(("%-26s %+.3f on %d problems"):format(g.name .. " for the base", g.gain, g.problems))
    end
    local c = st.compare(rows.loop, rows["working solutions"])
    print(("loop less working solutions: %+.3f in [%.3f, %.3f]"):format(c.difference, c.low,
      c.high))
    local y, pass1, greedy = {}, {}, {}
    for i, name in ipairs(order) do
      y[i], pass1[i], greedy[i] = i, rows[name].pass1, rows[name].test
    end
    ctx:figure("variants", ml.plot.scatter { series = {
      { x = pass1, y = y, label = "samples (pass@1)" }, { x = greedy, y = y, label = "greedy" } },
      title = "what each part of the loop is worth", ynames = order, size = 4,
      xlabel = "share of test problems" })
    return { rows = rows, order = order, gains = gains, compare = c,
      luck = { first.false_positives, unique.false_positives } }
  end,
  claims = {
    { name = "right by luck of what is kept: distinct solutions over all", kind = "calibrated",
      seeds = 3, at_least = 2, when = full, source = "an independent run of this design",
      measure = function(r) return r.luck[2] / math.max(r.luck[1], 1e-9) end },
    { name = "pass@1 of the loop less that with a quarter of the problems", kind = "calibrated",
      seeds = 3, at_least = -0.05, when = full, source = "Singh et al. 2023, Figure 7",
      measure = function(r)
        return r.rows.loop.pass1 - r.rows["a quarter of the problems"].pass1
      end },
    { name = "greedy train minus test of the loop less that with four times the problems",
      kind = "calibrated", seeds = 3, at_least = 0, when = full,
      source = "an independent run of this design",
      measure = function(r)
        local a, b = r.rows.loop, r.rows["four times the problems"]
        return a.train - a.test - (b.train - b.test)
      end },
    { name = "of other words, longer chains and text loss: how many are worse going on than "
      .. "restarting", kind = "exploratory", seeds = 3, at_least = 2, when = full,
      source = "Singh et al. 2023, Section 5.3",
      measure = function(r)
        local a, b = r.rows.loop, r.rows.continue
        return (b.styled < a.styled and 1 or 0) + (b.long < a.long and 1 or 0)
          + (b.loss > a.loss and 1 or 0)
      end },
    { name = "pass@1 of several iterations less that of one with as many samples",
      kind = "exploratory", seeds = 3, at_least = 0, when = full,
      source = "Singh et al. 2023, Section 5.1",
      measure = function(r) return r.rows.loop.pass1 - r.rows["one iteration"].pass1 end },
    { name = "pass@1 of many solutions a problem less that of one", kind = "exploratory",
      seeds = 3, at_least = 0, when = full, source = "Singh et al. 2023, Figure 8",
      measure = function(r) return r.rows.loop.pass1 - r.rows["one solution"].pass1 end },
    { name = "pass@1 of the loop less that of terse written solutions", kind = "exploratory",
      seeds = 3, at_least = 0, when = full, source = "Singh et al. 2023, Figure 5",
      measure = function(r) return r.rows.loop.pass1 - r.rows["terse solutions"].pass1 end },
    { name = "least gain over the base's levels of difficulty", kind = "exploratory", seeds = 3,
      at_least = 0, when = full, source = "Singh et al. 2023, Figure 9",
      measure = function(r)
        local least = math.huge
        for _, g in ipairs(r.gains) do
          if g.problems > 0 then least = math.min(least, g.gain) end
        end
        return least
      end },
  },
}
