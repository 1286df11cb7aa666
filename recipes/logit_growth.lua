--- Can the largest attention logit of a model be foretold from smaller ones?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local grid = require "moonlab.proxies.grid"

-- The series' value at a step.
local function at_step(r, field, step)
  for i, s in ipairs(r.series and r.series.step or {}) do
    if s == step then return r.series[field][i] end
  end
  return 0 / 0
end

-- Two lists in the order of the first.
local function ascending(x, y)
  local order = ml.f64(x):argsort(1)
  return ml.f64(x):index_select(order, 1):totable(), ml.f64(y):index_select(order, 1):totable()
end

local function rises(list)
  local count = 0
  for i = 2, #list do
    if not (list[i] > list[i - 1]) then count = count + 1 end
  end
  return count
end

return recipe.define {
  name = "logit_growth",
  source = "Wortsman et al. 2023, Figure 9",
  params = {
    sizes = { { "S0", "S1", "S2", "S3", "S4" }, "ascending; the last is foretold from the others" },
    lr = { { 1e-2, 3e-2, 1e-1 }, "peak learning rates, ascending", above = 0 },
    steps = { 100, "updates of a run", min = 2 },
    look = { 50, "the step whose largest logit is taken (block 1, training batch)", min = 1 },
    warmup = { 20, "updates", min = 0 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { sizes = { "S0", "S1", "1x32", "2x16" }, lr = { 1e-2 }, steps = 10, look = 5,
    warmup = 2 },
  full = { seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local runs = grid.run(ctx, { size = p.sizes, lr = p.lr, steps = { p.steps },
      text = { p.text }, qk_norm = { false }, warmup = { p.warmup / p.steps }, every = { p.look } })
    local sizes, by_lr, series = {}, {}, {}
    for i, size in ipairs(p.sizes) do sizes[i] = runs:column({ size = size }, "N")[1] end
    print(("%-10s %s  foretold at the last"):format("lr", table.concat(p.sizes, "        ")))
    for i, lr in ipairs(p.lr) do
      local logits = {}
      for k, size in ipairs(p.sizes) do
        logits[k] = runs:column({ size = size, lr = lr },
          function(r) return at_step(r, "max_logit", p.look) end)[1]
        ctx:log { lr = lr, size = size, N = sizes[k], max_logit = logits[k] }
      end
      local row = { lr = lr, logits = logits, prediction = 0 / 0, factor = 0 / 0 }
      if #sizes >= 4 then
        local ok, prediction, info = pcall(ml.proxies.predict_logit, sizes, logits)
        if ok then
          row.prediction, row.factor = prediction, info.factor
          row.crossings = info.crossings(1e4)
        else
          print(prediction)
        end
      end
      by_lr[i] = row
      local words = {}
      for k, z in ipairs(logits) do words[k] = ("%9.3g"):format(z) end
      print(("%-10g%s  %9.3g, factor %.2f"):format(lr, table.concat(words, " "), row.prediction,
        row.factor))
      local x, y = ascending(sizes, logits)
      series[#series + 1] = { x = x, y = y, label = ("lr %g"):format(lr) }
      if row.prediction == row.prediction then
        series[#series + 1] = { x = { sizes[#sizes] }, y = { row.prediction }, points = true,
          label = ("foretold, %g"):format(lr) }
      end
    end
    ctx:figure("logits", ml.plot.lines { series = series, log = "xy", xlabel = "parameters",
      ylabel = "largest logit", title = "largest attention logit" })
    return { sizes = sizes, rows = by_lr }
  end,
  claims = {
    { name = "breaks in the rise with size, S0 to S2, all learning rates",
      kind = "calibrated", when = grid.synthetic,
      seeds = 2, source = "Wortsman et al. 2023, Figure 9", at_most = 0,
      measure = function(r)
        local count = 0
        for _, row in ipairs(r.rows) do
          count = count + rises { table.unpack(row.logits, 1, math.min(3, #row.logits)) }
        end
        return count
      end },
    { name = "breaks in the rise with the learning rate at S1 and S2",
      kind = "calibrated", when = grid.synthetic,
      seeds = 2, source = "Wortsman et al. 2023, Figure 9", at_most = 0,
      measure = function(r)
        local count = 0
        for k = 2, 3 do
          local list = {}
          for i, row in ipairs(r.rows) do list[i] = row.logits[k] end
          count = count + rises(list)
        end
        return count
      end },
    { name = "factor by which the foretold logit of the last size misses, worst learning rate",
      kind = "exploratory", source = "Wortsman et al. 2023, section 3.3", at_most = 3,
      measure = function(r)
        local worst = 1
        for _, row in ipairs(r.rows) do
          worst = row.factor == row.factor and math.max(worst, row.factor) or math.huge
        end
        return worst
      end },
  },
}
