--- Does a larger model gain more from its own verified solutions?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local st = ml.selftrain

local function some(list, n) return { table.unpack(list, 1, math.min(n, #list)) } end

local function full(p) return p.steps >= 2000 and p.samples >= 32 and p.train >= 600 end

return recipe.define {
  name = "rest_em_sizes",
  source = "Singh et al. 2023 (arXiv 2312.06585), Figures 2 and 3, at the scale of a laptop",
  params = {
    widths = { { 32, 64, 96 }, "of the models", min = 8 },
    depth = { 3, "blocks", min = 1 },
    train = { 600, "problems to train on", min = 1 },
    steps = { 2000, "updates of each base model", min = 1 },
    batch = { 64, "rows of its text", min = 1 },
    base_lr = { 3e-3, "peak learning rate of the bases", above = 0 },
    iterations = { 2, "of sampling and training", min = 1 },
    samples = { 32, "of each problem", min = 2 },
    lr = { 5e-4, "learning rate of an improvement", above = 0 },
    epochs = { 8, "of an improvement, at most", min = 1 },
    judged = { 150, "problems to judge with", min = 1 },
    judge_samples = { 16, "of each of them", min = 2 },
    seed = { 1, "of problems, text, models and samples" },
  },
  smoke = { widths = { 16, 24 }, depth = 1, train = 16, steps = 15, batch = 8, iterations = 1,
    samples = 2, epochs = 1, judged = 8, judge_samples = 2 },
  full = { seeds = { 1, 2, 3 }, iterations = 3, judge_samples = 32 },
  run = function(p, ctx)
    local task = ml.task.arithmetic { train = p.train, seed = p.seed }
    local rows = {}
    for i, width in ipairs(p.widths) do
      rows[i] = ctx:once("width-" .. width, function()
        local dir = ("%s/width-%d"):format(ctx.dir, width)
        local base = st.pretrain(task, { depth = p.depth, width = width,
          heads = math.max(1, width // 16), steps = p.steps, batch = p.batch, lr = p.base_lr,
          seed = p.seed, dir = dir .. "-base" })
        local function judge(lm)
          local e = st.evaluate(lm, task, some(task.test, p.judged),
            { samples = p.judge_samples, rng = ml.rng(p.seed):fold("judge") })
          return { greedy = e.greedy, pass1 = e.pass[1], majority = e.majority,
            pass_all = e.pass[p.judge_samples], false_positives = e.false_positives,
            solve = e.solve }
        end
        local before = judge(base)
        local lm, history = st.rest_em { model = base, task = task, iterations = p.iterations,
          samples = p.samples, lr = p.lr, epochs = p.epochs, seed = p.seed,
          dir = dir .. "-samples" }
        local after = judge(lm)
        return { width = width, before = before, after = after, history = history,
          gain = st.compare(after, before) }
      end)
      local r = rows[i]
      print(("width %4d: pass@1 %.3f to %.3f, gain %+.3f in [%.3f, %.3f]; greedy %.3f to %.3f; "
        .. "vote %.3f to %.3f"):format(width, r.before.pass1, r.after.pass1, r.gain.difference,
        r.gain.low, r.gain.high, r.before.greedy, r.after.greedy, r.before.majority,
        r.after.majority))
    end
    local x, before, after = {}, {}, {}
    for i, r in ipairs(rows) do
      x[i], before[i], after[i] = r.width, r.before.pass1, r.after.pass1
    end
    ctx:figure("sizes", ml.plot.lines { log = "x", series = { { x = x, y = before, label = "base" },
      { x = x, y = after, label = "self-trained" } }, xlabel = "width",
      ylabel = "pass@1 at temperature 1", title = "self-training at several sizes" })
    return { rows = rows }
  end,
  claims = {
    { name = "least gain in pass@1 over the sizes", kind = "paper", seeds = 3, at_least = 0,
      when = full, source = "Singh et al. 2023, Figures 2 and 3",
      measure = function(r)
        local least = math.huge
        for _, row in ipairs(r.rows) do least = math.min(least, row.gain.difference) end
        return least
      end },
    { name = "gain in pass@1 of the largest model less that of the smallest", kind = "paper",
      seeds = 3, at_least = 0, when = full,
      source = "Singh et al. 2023, Section 5.1: larger models gain more",
      measure = function(r)
        return r.rows[#r.rows].gain.difference - r.rows[1].gain.difference
      end },
  },
}
