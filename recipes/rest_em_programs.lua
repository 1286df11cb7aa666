--- Can a small model teach itself to write Lua functions from those of its own that pass the tests?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local st = ml.selftrain

local function pretrain(p, task, path)
  local lm = ml.transformer { vocab = task.vocab, context = task.context, depth = p.depth,
    width = p.width, heads = p.heads, seed = p.seed }
  local opt = ml.optim.adamw(lm:parameters(), { lr = p.lr })
  ml.train { model = lm, opt = opt, steps = p.steps, clip = 1, dir = path,
    config = { recipe = "rest_em_programs", seed = p.seed, mismatched = p.mismatched },
    schedule = function(t)
      return ml.schedule.warmup_cosine(t, { warmup = p.steps // 20, total = p.steps, floor = 0.1 })
    end,
    data = { batch = function(_, i) return task:corpus(i, { batch = p.batch, seed = p.seed }) end },
    loss = function(model, b)
      return model:loss({ inputs = b.inputs, targets = b.targets }, { mask = b.mask })
    end }
  return lm
end

-- Loss on pretraining text that the model has not seen.
local function drift(lm, task, p)
  return ml.scope(function()
    local total = 0
    for i = 1, 4 do
      local b = task:corpus(i, { batch = 64, seed = p.seed + 10000 })
      local _, info = lm:loss({ inputs = b.inputs, targets = b.targets }, { mask = b.mask })
      total = total + info.ce / 4
    end
    return total
  end)
end

local function some(list, n) return { table.unpack(list, 1, math.min(n, #list)) } end

-- The greedy programs for the test problems, as the lenient grader sees them.
local function leniently(lm, task, problems)
  local right, all = 0, 0
  for i, list in ipairs(st.sample(lm, task, problems, { greedy = true })) do
    local ok = task:verify(problems[i], list[1].tokens, { grader = "lenient" })
    if ok ~= nil then all, right = all + 1, right + (ok and 1 or 0) end
  end
  return right / math.max(1, all)
end

local function judge(lm, task, p, sampled)
  local row = { failed = 0, loss = drift(lm, task, p) }
  local function greedy(problems)
    local e = st.evaluate(lm, task, some(problems, p.greedy))
    row.failed = row.failed + e.failed
    return e.greedy, e.right
  end
  row.train, row.test, row.styled, row.long = greedy(task.train), 0, (greedy(task.styled)),
    (greedy(task.long))
  row.test, row.right = greedy(task.test)
  row.lenient = leniently(lm, task, some(task.test, p.greedy))
  if sampled then
    local e = st.evaluate(lm, task, some(task.test, p.sampled), { samples = p.samples,
      k = { 1, math.min(8, p.samples), p.samples }, rng = ml.rng(p.seed):fold("judge") })
    row.pass1, row.pass8, row.pass_all = e.pass[1], e.pass[math.min(8, p.samples)],
      e.pass[p.samples]
    row.pass1_stderr, row.failed = e.pass_stderr[1], row.failed + e.failed
    row.majority, row.false_positives, row.solve = e.majority, e.false_positives, e.solve
  end
  return row
end

local function say(title, row)
  print(("%-24s greedy train %.3f test %.3f (lenient %.3f), other words %.3f, two steps %.3f; text "
    .. "%.3f"):format(title, row.train, row.test, row.lenient, row.styled, row.long, row.loss))
  if row.pass1 then
    print(("%-24s at temperature 1: pass@1 %.3f pass@8 %.3f pass@all %.3f majority %.3f, right by "
      .. "luck %.3f"):format("", row.pass1, row.pass8, row.pass_all, row.majority,
      row.false_positives))
  end
end

-- A difference of shares on the same problems, with its standard error.
local function paired(after, before)
  local n, mean, square = #after, 0, 0
  for i = 1, n do
    local d = (after[i] and 1 or 0) - (before[i] and 1 or 0)
    mean, square = mean + d / n, square + d * d / n
  end
  return mean, math.sqrt(math.max(0, square - mean * mean) / n)
end

local function full(p) return p.steps >= 800 and p.samples >= 16 and p.train >= 400 end

return recipe.define {
  name = "rest_em_programs",
  source = "Singh et al. 2023 (arXiv 2312.06585), at the scale of a laptop",
  params = {
    train = { 600, "problems to train on", min = 1, max = 2000 },
    depth = { 3, "blocks", min = 1 },
    width = { 64, "of the model", min = 8 },
    heads = { 4, "of attention", min = 1 },
    steps = { 800, "updates of the base model", min = 1 },
    batch = { 64, "rows of its text", min = 1 },
    mismatched = { 0.25, "share of its programs that are another problem's", min = 0, max = 1 },
    lr = { 3e-3, "peak learning rate of the base", above = 0 },
    iterations = { 2, "of sampling and training", min = 1 },
    samples = { 32, "of each problem", min = 2 },
    temperature = { 0.7, "of sampling", above = 0 },
    top_k = { 40, "tokens that sampling chooses from", min = 1 },
    cap = { 10, "solutions of a problem that are kept", min = 1 },
    restart = { "base", "where an improvement starts", choices = { "base", "continue" } },
    dedupe = { false, "equal solutions count once" },
    improve_lr = { 5e-4, "learning rate of the improvement", above = 0 },
    epochs = { 8, "of an improvement, at most", min = 1 },
    given = { true, "train on one given program for each problem as well, for comparison" },
    greedy = { 300, "problems that are solved greedily to judge", min = 1 },
    sampled = { 150, "problems that are sampled to judge", min = 1 },
    seed = { 1, "of problems, text, model and samples" },
  },
  smoke = { train = 24, depth = 1, width = 16, heads = 2, steps = 20, batch = 8, iterations = 1,
    samples = 4, epochs = 1, greedy = 16, sampled = 8 },
  full = { seeds = { 1, 2, 3 }, train = 2000, iterations = 3 },
  run = function(p, ctx)
    local task = ml.task.programs { train = p.train, mismatched = p.mismatched, seed = p.seed }
    local checks, walls = task:self_test() -- before anything is sampled
    print(("%s\nthe graders pass %d checks"):format(walls, checks))
    local base = pretrain(p, task, ctx.dir .. "/base")
    local rows = { ctx:once("base", function() return judge(base, task, p, true) end) }
    say("base", rows[1])
    local _, history = st.rest_em { model = base, task = task, iterations = p.iterations,
      samples = p.samples, temperature = p.temperature, top_k = p.top_k, cap = p.cap,
      restart = p.restart, dedupe = p.dedupe, lr = p.improve_lr, epochs = p.epochs, seed = p.seed,
      dir = ctx.dir .. "/samples", after = function(i, model, info)
        rows[i + 1] = judge(model, task, p, i == p.iterations)
        print(("iteration %d: %.3f of samples right, %.2f of problems solved, %d kept (%d "
          .. "distinct, %.3f right by luck), %d not judged"):format(i, info.solve_rate,
          info.coverage, info.kept, info.distinct, info.false_positives, info.failed))
        say(("after iteration %d"):format(i), rows[i + 1])
        ctx:log { step = i, solve_rate = info.solve_rate, coverage = info.coverage,
          kept = info.kept, false_positives = info.false_positives, failed = info.failed,
          test = rows[i + 1].test, train = rows[i + 1].train, loss = rows[i + 1].loss }
      end }
    local result = { rows = rows, history = history, counts = task.box:status().counts }
    if p.given then
      result.given = ctx:once("given", function()
        local pairs_, twin = {}, ml.transformer(base:config())
        for i, problem in ipairs(task.train) do
          pairs_[i] = { prompt = task:prompt(problem), solution = task:solution(problem) }
        end
        local values = base:named_parameters()
        ml.no_grad(function()
          for name, w in pairs(twin:named_parameters()) do w:copy_(values[name]) end
        end)
        st.improve(twin, task, pairs_, { lr = p.improve_lr, epochs = p.epochs, seed = p.seed })
        return judge(twin, task, p, true)
      end)
      say("trained on given programs", result.given)
    end
    result.failed = 0
    for _, row in ipairs(rows) do result.failed = result.failed + row.failed end
    for _, info in ipairs(history) do result.failed = result.failed + info.failed end
    print(("sandbox: %d workers; programs by their end:"):format(task.box:status().started))
    for name, count in ml.sorted(result.counts) do print(("  %-14s %d"):format(name, count)) end
    task.box:close()
    local x, series = {}, { train = {}, test = {}, ["other words"] = {}, ["two steps"] = {} }
    for i, row in ipairs(rows) do
      x[i] = i - 1
      series.train[i], series.test[i] = row.train, row.test
      series["other words"][i], series["two steps"][i] = row.styled, row.long
    end
    local lines = {}
    for name, y in ml.sorted(series) do lines[#lines + 1] = { x = x, y = y, label = name } end
    ctx:figure("iterations", ml.plot.lines { series = lines, xlabel = "iterations",
      ylabel = "greedy share right", title = "programs that pass hidden tests" })
    ctx:figure("solve_rates", ml.plot.grid {
      ml.plot.histogram { x = rows[1].solve, bins = 10, title = "base",
        xlabel = "share of samples that are right" },
      ml.plot.histogram { x = rows[#rows].solve, bins = 10, title = "last iteration",
        xlabel = "share of samples that are right" } })
    return result
  end,
  claims = {
    { name = "samples that the grader could not judge", kind = "exact", expected = 0,
      source = "a failure is no label", measure = function(r) return r.failed end },
    { name = "base: pass@1 at temperature 1", kind = "calibrated", seeds = 3, when = full,
      source = "the range in which there is something to learn from", expected = 0.25,
      tolerance = 0.15, measure = function(r) return r.rows[1].pass1 end },
    { name = "pass@1 at temperature 1, last iteration minus base", kind = "calibrated", seeds = 3,
      source = "Singh et al. 2023", at_least = 0.08,
      when = function(p) return full(p) and p.iterations >= 2 end,
      measure = function(r) return r.rows[#r.rows].pass1 - r.rows[1].pass1 end },
    { name = "greedy pass@1 on hidden tests, last iteration minus base", kind = "paper",
      source = "Singh et al. 2023, Figure 3: 5.6 points on APPS", at_least = 0.056,
      when = function(p) return full(p) and p.iterations >= 2 end,
      measure = function(r) return paired(r.rows[#r.rows].right, r.rows[1].right) end },
    { name = "share of the greedy gain that the first iteration brings", kind = "paper",
      source = "Singh et al. 2023, Section 5.1: most of it on APPS", at_least = 0.5,
      when = function(p) return full(p) and p.iterations >= 2 end,
      measure = function(r)
        return (r.rows[2].test - r.rows[1].test) / (r.rows[#r.rows].test - r.rows[1].test)
      end },
    { name = "gain of pass@1 minus gain of pass@all, at temperature 1", kind = "paper",
      source = "Singh et al. 2023, Figure 4: the gap is largest at K = 1", at_least = 0,
      when = function(p) return full(p) and p.iterations >= 2 end,
      measure = function(r)
        local a, b = r.rows[1], r.rows[#r.rows]
        return b.pass1 - a.pass1 - (b.pass_all - a.pass_all)
      end },
    { name = "greedy train minus test, last iteration less that of the base", kind = "paper",
      source = "Singh et al. 2023, Figure 6: it grows", at_least = 0,
      when = function(p) return full(p) and p.iterations >= 2 end,
      measure = function(r)
        local a, b = r.rows[1], r.rows[#r.rows]
        return b.train - b.test - (a.train - a.test)
      end },
    { name = "greedy share of the last iteration minus that of training on given programs",
      kind = "paper", source = "Singh et al. 2023, Figure 5: model solutions are no worse",
      at_least = -0.03, when = function(p) return full(p) and p.iterations >= 2 and p.given end,
      measure = function(r) return paired(r.rows[#r.rows].right, r.given.right) end },
    { name = "right samples that fail the audit, last iteration minus base", kind = "exploratory",
      source = "64 further tests", when = full, measure = function(r)
        return r.rows[#r.rows].false_positives - r.rows[1].false_positives
      end },
  },
}
