--- Does one-pass SGD on power-law random features follow the exact curve, and that curve the
--- deterministic one?
local ml, recipe = require "moonlab", require "moonlab.recipe"

-- Mean over runs and its standard error at each record; the first column is theta = 0, no noise.
local function summary(risk)
  local n = risk:size(1)
  return risk:mean(1):totable(), (risk:var(1):sqrt() / math.sqrt(n)):totable()
end

-- A list of records without that of update 0, which logarithmic axes cannot show.
local function from_first(list) return table.move(list, 2, #list, 1, {}) end

-- Largest |mean - exact| in standard errors, records without noise left out.
local function worst_z(mean, se, exact)
  local worst = 0
  for i = 1, #mean do
    if se[i] > 1e-12 * mean[i] then
      worst = math.max(worst, math.abs(mean[i] - exact[i]) / se[i])
    end
  end
  return worst
end

-- The same with a standard deviation pooled over the records within a factor of sqrt(10), relative
-- to the exact curve. Losses of SGD are skewed with a heavy tail: few runs often miss the rare high
-- losses at one record, and their own deviation there is then far too small.
local function pooled_z(steps, mean, se, exact)
  local worst = 0
  for i = 1, #mean do
    local sum, n = 0, 0
    for k = 1, #mean do
      if steps[i] > 0 and steps[k] > 0 and math.abs(math.log(steps[k] / steps[i], 10)) <= 0.5 then
        sum, n = sum + (se[k] / exact[k]) ^ 2, n + 1
      end
    end
    if n > 0 then
      worst = math.max(worst, math.abs(mean[i] / exact[i] - 1) / math.sqrt(sum / n))
    end
  end
  return worst
end

local function curves_of(p, alpha, beta, d, seed, runs, last, many)
  local problem = ml.plrf.problem { alpha = alpha, beta = beta, v = 4 * d, d = d, seed = seed }
  local det = ml.plrf.deterministic { alpha = alpha, beta = beta, v = 4 * d, d = d }
  local gamma = det:rate { norm = p.norm }
  local out = { problem = problem, gamma = gamma }
  local sgd = problem:sgd { gamma = gamma, steps = last, runs = math.max(runs, many or 0),
    seed = seed }
  out.steps = sgd.steps
  out.mean, out.se = summary(sgd.risk[{ { 1, runs } }])
  out.exact = problem:expected { gamma = gamma, steps = out.steps }:totable()
  out.recursion = problem:expected { gamma = gamma, steps = out.steps, method = "recursion" }
    :totable()
  out.det = det:risk { gamma = gamma, steps = out.steps }:totable()
  out.z = worst_z(out.mean, out.se, out.exact)
  out.pooled_z = pooled_z(out.steps, out.mean, out.se, out.exact)
  local mean, se = summary(sgd.risk)
  out.many_z = worst_z(mean, se, out.exact)
  out.secular, out.scatter = 0, 0
  for i = 1, #out.steps do
    out.secular = math.max(out.secular, math.abs(out.exact[i] / out.recursion[i] - 1))
    out.scatter = math.max(out.scatter,
      math.abs(out.exact[i] / out.det[i] - 1) * math.sqrt(d) / 1.75)
  end
  return out
end

-- Bias and spread of the exact curve over draws of W, against the deterministic curve.
local function over_draws(p, d, seed)
  local steps = { 10, 100, 1000, 10000, 100000 }
  local det = ml.plrf.deterministic { alpha = 0.7, beta = 0.7, v = 4 * d, d = d }
  local gamma = det:rate { norm = p.norm }
  local P = det:risk { gamma = gamma, steps = steps }:totable()
  local rows = {}
  for draw = 1, p.draws do
    rows[draw] = ml.scope(function()
      return ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 4 * d, d = d,
        seed = seed * 1000003 + draw }:expected { gamma = gamma, steps = steps }
    end):totable()
  end
  local excess, low, high = -math.huge, math.huge, 0
  for i = 1, #steps do
    local sum, sum2 = 0, 0
    for _, row in ipairs(rows) do
      local x = row[i] / P[i] - 1
      sum, sum2 = sum + x, sum2 + x * x
    end
    local mean = sum / #rows
    local sd = math.sqrt((sum2 / #rows - mean ^ 2) * #rows / (#rows - 1))
    excess = math.max(excess, math.abs(mean) - 1.5 / d - 4 * sd / math.sqrt(#rows))
    if steps[i] >= 1000 then
      low, high = math.min(low, sd * math.sqrt(d)), math.max(high, sd * math.sqrt(d))
    end
  end
  return excess, low, high
end

return recipe.define {
  name = "plrf_curves",
  source = "Paquette, Paquette, Xiao & Pennington 2024, Figures 2 and 5",
  params = {
    sizes = { { 100, 200, 400 }, "parameters d; v = 4 d", min = 2 },
    runs = { 50, "runs of SGD for each curve", min = 2 },
    many_runs = { 400, "runs at (0.7, 0.7) whose deviation is less of a guess", min = 2 },
    steps = { 100000, "updates at (0.7, 0.7); a tenth of it elsewhere", min = 20 },
    tail_runs = { 200, "runs at (1.0, 0.3), whose losses are heavy-tailed", min = 2 },
    direct_runs = { 400, "runs of the direct mode", min = 2 },
    direct_steps = { 400, "updates of the direct mode", min = 1 },
    draws = { 400, "draws of W", min = 2 },
    draw_sizes = { { 32, 64, 128 }, "d of the draws", min = 2 },
    betas = { { -0.1, 0.0, 0.1, 0.2 }, "beta <= 0.2 at alpha = 0.7" },
    norm = { 0.25, "kernel norm that sets gamma", above = 0, below = 1 },
    seed = { 1, "every stream derives from it", min = 0 },
  },
  smoke = { sizes = { 30 }, runs = 20, many_runs = 40, steps = 300, tail_runs = 50,
    direct_runs = 40, draws = 100, direct_steps = 40, draw_sizes = { 16 }, betas = { 0.1 } },
  full = { runs = 100, tail_runs = 1000, seeds = { 1, 2, 3 } },
  estimate = function(p) -- in sample times parameter
    local work = 0
    for _, d in ipairs(p.sizes) do
      work = work + d * (p.steps * math.max(p.runs, p.many_runs)
        + p.steps / 10 * (p.tail_runs + #p.betas * p.runs))
    end
    return { bytes = 200e6, seconds = 10 + work / 1.2e8 }
  end,
  run = function(p, ctx)
    local result = { z = 0, tail_z = 0, negative_z = 0, secular = 0, scatter = 0, direct_z = 0,
      fast_z = 0, pooled_z = 0, many_z = 0 }
    local series = {}
    for _, d in ipairs(p.sizes) do
      local c = curves_of(p, 0.7, 0.7, d, p.seed, p.runs, p.steps, p.many_runs)
      result.pooled_z = math.max(result.pooled_z, c.pooled_z)
      result.many_z = math.max(result.many_z, c.many_z)
      result.z, result.secular = math.max(result.z, c.z), math.max(result.secular, c.secular)
      result.scatter = math.max(result.scatter, c.scatter)
      local colour = ({ "#0072B2", "#D55E00", "#009E73", "#CC79A7" })[#series // 3 % 4 + 1]
      local steps = from_first(c.steps)
      series[#series + 1] = { x = steps, y = from_first(c.mean), faint = true, colour = colour }
      series[#series + 1] = { x = steps, y = from_first(c.exact), label = "d = " .. d,
        colour = colour }
      series[#series + 1] = { x = steps, y = from_first(c.det), dash = true, colour = colour }
      local t = curves_of(p, 1.0, 0.3, d, p.seed, p.tail_runs, math.max(10, p.steps // 10))
      result.tail_z = math.max(result.tail_z, t.z)
      result.scatter = math.max(result.scatter, t.scatter)
      result.secular = math.max(result.secular, t.secular)
      for _, beta in ipairs(p.betas) do
        local b = curves_of(p, 0.7, beta, d, p.seed, p.runs, math.max(10, p.steps // 10))
        result.negative_z = math.max(result.negative_z, b.z)
        result.scatter = math.max(result.scatter, b.scatter)
      end
      ctx:log { d = d, z = c.z, pooled_z = c.pooled_z, many_z = c.many_z, tail_z = t.z,
        scatter = result.scatter }
    end
    ctx:figure("curves", ml.plot.lines {
      title = "one-pass SGD at 0.7, 0.7: runs (faint), exact (solid), deterministic (dashed)",
      xlabel = "update", ylabel = "loss", log = "xy", series = series })

    local small = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 120, d = 30, seed = p.seed }
    for _, batch in ipairs { 1, 2, 4 } do
      local gamma = small:rate { norm = p.norm, batch = batch }
      for _, mode in ipairs { "direct", "fast" } do
        local s = small:sgd { gamma = gamma, batch = batch, steps = p.direct_steps,
          runs = p.direct_runs, mode = mode, seed = p.seed }
        local exact = small:expected { gamma = gamma, batch = batch, steps = s.steps,
          method = "recursion" }:totable()
        local mean, se = summary(s.risk)
        local name = mode .. "_z"
        result[name] = math.max(result[name], worst_z(mean, se, exact))
      end
    end

    result.bias_excess, result.spread_low, result.spread_high = -math.huge, math.huge, 0
    for _, d in ipairs(p.draw_sizes) do
      local excess, low, high = over_draws(p, d, p.seed)
      result.bias_excess = math.max(result.bias_excess, excess)
      result.spread_low = math.min(result.spread_low, low)
      result.spread_high = math.max(result.spread_high, high)
      ctx:log { draws_of_d = d, bias_excess = excess, spread_low = low, spread_high = high }
    end

    -- stability: one W, a rate on either side of kernel norm 1
    local edge = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 400, d = 100, seed = p.seed }
    local inside = edge:expected { gamma = edge:rate { norm = 0.9 }, steps = { 0, 20000, 1e12 } }
    result.bounded = math.max(inside[2], inside[3]) / inside[1]
    local beyond = edge:rate { norm = 1.1 }
    local growing = edge:expected { gamma = beyond, steps = { 0, 20000 }, diverging = true }
    local refused, why = pcall(edge.expected, edge, { gamma = beyond, steps = { 0, 20000 } })
    result.growth = math.log(growing[2] / growing[1], 10)
    result.diverges = (not refused and why:find "diverges") and 1 or 0
    return result
  end,
  claims = {
    { name = "mean of SGD runs at (0.7, 0.7) within 4.5 standard errors of the exact curve",
      kind = "theory", source = "Paquette et al. 2024, Theorem 1", at_most = 4.5,
      measure = function(r) return r.z end },
    { name = "the same at (1.0, 0.3)", kind = "theory", source = "Paquette et al. 2024, Theorem 1",
      at_most = 4.5, measure = function(r) return r.tail_z end },
    { name = "the same at beta <= 0.2", kind = "theory", source = "Paquette et al. 2024, Theorem 1",
      at_most = 4.5, measure = function(r) return r.negative_z end },
    { name = "mean at (0.7, 0.7): the deviation pooled over a decade of records",
      kind = "exploratory", at_most = 4.5, measure = function(r) return r.pooled_z end },
    { name = "mean at (0.7, 0.7): more runs", kind = "exploratory", at_most = 4.5,
      measure = function(r) return r.many_z end },
    { name = "secular form equals the recursion", kind = "exact", at_most = 1e-10,
      measure = function(r) return r.secular end },
    { name = "one draw within 4 * 1.75 / sqrt(d) of the deterministic curve (in 1.75 / sqrt(d))",
      kind = "calibrated", seeds = 3, at_most = 4, measure = function(r) return r.scatter end },
    { name = "direct mode within 4.5 standard errors of the recursion", kind = "theory",
      source = "Paquette et al. 2024, Theorem 1", at_most = 4.5,
      measure = function(r) return r.direct_z end },
    { name = "eigenbasis mode within 4.5 standard errors of the recursion", kind = "theory",
      source = "Paquette et al. 2024, Theorem 1", at_most = 4.5,
      measure = function(r) return r.fast_z end },
    { name = "mean over W: relative bias less 1.5/d and 4 standard errors", kind = "calibrated",
      seeds = 3, at_most = 0, measure = function(r) return r.bias_excess end },
    { name = "spread over W times sqrt(d), least", kind = "calibrated", seeds = 3, at_least = 1.3,
      measure = function(r) return r.spread_low end },
    { name = "spread over W times sqrt(d), largest", kind = "calibrated", seeds = 3, at_most = 2.3,
      measure = function(r) return r.spread_high end },
    { name = "kernel norm 0.9: the loss never exceeds its start", kind = "theory",
      source = "Paquette et al. 2024, Section 2", at_most = 1,
      measure = function(r) return r.bounded end },
    { name = "kernel norm 1.1: decades of growth over 20000 updates", kind = "theory",
      source = "Paquette et al. 2024, Section 2", at_least = 10,
      measure = function(r) return r.growth end },
    { name = "kernel norm 1.1 is refused as divergent", kind = "exact", expected = 1, tolerance = 0,
      measure = function(r) return r.diverges end },
  },
}
