--- Can a small model teach itself arithmetic from its own verified solutions?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local st = ml.selftrain

local function some(list, n) return { table.unpack(list, 1, math.min(n, #list)) } end

local function judge(lm, task, p, sampled)
  local function greedy(problems) return st.evaluate(lm, task, some(problems, p.greedy)).greedy end
  local row = { train = greedy(task.train), test = greedy(task.test),
    styled = greedy(some(task.styled, 200)), long = greedy(task.long),
    loss = st.text_loss(lm, task, { seed = p.seed }) }
  if sampled then
    local e = st.evaluate(lm, task, some(task.test, p.sampled), { samples = p.samples,
      k = { 1, math.min(8, p.samples), p.samples }, rng = ml.rng(p.seed):fold("judge") })
    row.pass1, row.pass8, row.pass_all = e.pass[1], e.pass[math.min(8, p.samples)],
      e.pass[p.samples]
    row.majority, row.false_positives, row.solve = e.majority, e.false_positives, e.solve
  end
  return row
end

local function say(title, row)
  print(("%-24s greedy train %.3f test %.3f, other words %.3f, longer %.3f; text %.3f"):format(
    title, row.train, row.test, row.styled, row.long, row.loss))
  if row.pass1 then
    print(("%-24s at temperature 1: pass@1 %.3f pass@8 %.3f pass@all %.3f majority %.3f, right by "
      .. "luck %.3f"):format("", row.pass1, row.pass8, row.pass_all, row.majority,
      row.false_positives))
  end
end

local function full(p) return p.steps >= 2000 and p.samples >= 32 and p.train >= 600 end

return recipe.define {
  name = "rest_em_arithmetic",
  source = "Singh et al. 2023 (arXiv 2312.06585), at the scale of a laptop",
  params = {
    train = { 600, "problems to train on, of 2 to 5 operations", min = 1 },
    depth = { 3, "blocks", min = 1 },
    width = { 64, "of the model", min = 8 },
    heads = { 4, "of attention", min = 1 },
    steps = { 2000, "updates of the base model", min = 1 },
    batch = { 64, "rows of its text", min = 1 },
    lr = { 3e-3, "peak learning rate of the base", above = 0 },
    iterations = { 3, "of sampling and training", min = 1 },
    samples = { 32, "of each problem", min = 2 },
    temperature = { 0.7, "of sampling", above = 0 },
    top_k = { 40, "tokens that sampling chooses from", min = 1 },
    cap = { 10, "solutions of a problem that are kept", min = 1 },
    restart = { "base", "where an improvement starts", choices = { "base", "continue" } },
    dedupe = { false, "equal solutions count once" },
    improve_lr = { 5e-4, "learning rate of the improvement", above = 0 },
    epochs = { 8, "of an improvement, at most", min = 1 },
    gold = { true, "train on right working as well, for comparison" },
    greedy = { 400, "problems that are solved greedily to judge", min = 1 },
    sampled = { 150, "problems that are sampled to judge", min = 1 },
    seed = { 1, "of problems, text, model and samples" },
  },
  smoke = { train = 24, depth = 1, width = 16, heads = 2, steps = 20, batch = 8, iterations = 1,
    samples = 4, epochs = 1, greedy = 16, sampled = 8 },
  full = { seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local task = ml.task.arithmetic { train = p.train, seed = p.seed }
    print(("the verifier passes %d checks"):format(task:self_test()))
    local base = st.pretrain(task, { depth = p.depth, width = p.width, heads = p.heads,
      steps = p.steps, batch = p.batch, lr = p.lr, seed = p.seed, dir = ctx.dir .. "/base" })
    local rows = { ctx:once("base", function() return judge(base, task, p, true) end) }
    say("base", rows[1])
    local last
    local _, history = st.rest_em { model = base, task = task, iterations = p.iterations,
      samples = p.samples, temperature = p.temperature, top_k = p.top_k, cap = p.cap,
      restart = p.restart, dedupe = p.dedupe, lr = p.improve_lr, epochs = p.epochs, seed = p.seed,
      dir = ctx.dir .. "/samples", after = function(i, model, info)
        last = model
        rows[i + 1] = ctx:once("iteration-" .. i, function()
          return judge(model, task, p, i == p.iterations)
        end)
        print(("iteration %d: %.3f of samples right, %.2f of problems solved, %d kept (%d "
          .. "distinct, %.3f right by luck)"):format(i, info.solve_rate, info.coverage, info.kept,
          info.distinct, info.false_positives))
        say(("after iteration %d"):format(i), rows[i + 1])
        ctx:log { step = i, solve_rate = info.solve_rate, coverage = info.coverage,
          kept = info.kept, false_positives = info.false_positives, test = rows[i + 1].test,
          train = rows[i + 1].train, loss = rows[i + 1].loss }
      end }
    local result = { rows = rows, history = history }
    -- how often the last model solves what the base solves that often
    result.solve_rate_after = ctx:once("solve", function()
      local right, all = 0, 0
      for _, list in ipairs(st.sample(last, task, task.train, { samples = 8,
        temperature = p.temperature, top_k = p.top_k, rng = ml.rng(p.seed):fold("after") })) do
        for _, one in ipairs(list) do
          all, right = all + 1, right + (one.right and 1 or 0)
        end
      end
      return right / all
    end)
    if p.gold then
      result.gold = ctx:once("gold", function()
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
      say("trained on right working", result.gold)
    end
    local x, series = {}, { train = {}, test = {}, ["other words"] = {}, longer = {} }
    for i, row in ipairs(rows) do
      x[i] = i - 1
      series.train[i], series.test[i] = row.train, row.test
      series["other words"][i], series.longer[i] = row.styled, row.long
    end
    local lines = {}
    for name, y in ml.sorted(series) do lines[#lines + 1] = { x = x, y = y, label = name } end
    ctx:figure("iterations", ml.plot.lines { series = lines, xlabel = "iterations",
      ylabel = "greedy share right", title = "self-training with a verifier" })
    ctx:figure("solve_rates", ml.plot.grid {
      ml.plot.histogram { x = rows[1].solve, bins = 10, title = "base",
        xlabel = "share of samples that are right" },
      ml.plot.histogram { x = rows[#rows].solve, bins = 10, title = "last iteration",
        xlabel = "share of samples that are right" } })
    return result
  end,
  claims = {
    { name = "base: pass@1 at temperature 1", kind = "calibrated", seeds = 3, when = full,
      source = "an independent run of this design", expected = 0.19, tolerance = 0.11,
      measure = function(r) return r.rows[1].pass1 end },
    { name = "base: greedy share right", kind = "calibrated", seeds = 3, when = full,
      source = "an independent run of this design", expected = 0.45, tolerance = 0.15,
      measure = function(r) return r.rows[1].test end },
    { name = "training problems: share of right samples after one iteration over the base's",
      kind = "calibrated", seeds = 3, source = "Singh et al. 2023", at_least = 1.5,
      when = function(p) return full(p) and p.iterations >= 2 end,
      measure = function(r) return r.history[2].solve_rate / r.history[1].solve_rate end },
    { name = "pass@1 at temperature 1, last iteration over base", kind = "calibrated", seeds = 3,
      source = "Singh et al. 2023", at_least = 2,
      when = function(p) return full(p) and p.iterations >= 3 end,
      measure = function(r) return r.rows[#r.rows].pass1 / r.rows[1].pass1 end },
    { name = "majority vote, last iteration minus base", kind = "calibrated", seeds = 3,
      source = "Singh et al. 2023, Table 2", at_least = 0.1,
      when = function(p) return full(p) and p.iterations >= 3 end,
      measure = function(r) return r.rows[#r.rows].majority - r.rows[1].majority end },
    { name = "pass@32, last iteration minus base", kind = "calibrated", seeds = 3,
      source = "Singh et al. 2023, Figure 4", at_least = 0.05,
      when = function(p) return full(p) and p.iterations >= 3 end,
      measure = function(r) return r.rows[#r.rows].pass_all - r.rows[1].pass_all end },
    { name = "pass@1 of the last iteration minus that of training on right working",
      kind = "calibrated", seeds = 3, source = "Singh et al. 2023, Figure 5", at_least = -0.05,
      when = function(p) return full(p) and p.iterations >= 3 and p.gold end,
      measure = function(r) return r.rows[#r.rows].pass1 - r.gold.pass1 end },
    { name = "greedy train minus test, last iteration less that of the base", kind = "calibrated",
      seeds = 3, source = "Singh et al. 2023, Figure 6", at_least = 0.05,
      when = function(p) return full(p) and p.iterations >= 3 end,
      measure = function(r)
        local a, b = r.rows[1], r.rows[#r.rows]
        return b.train - b.test - (a.train - a.test)
      end },
  },
}
