--- Do the instabilities of large transformers show in small ones at a high learning rate, and does
--- qk-layernorm remove them?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local grid = require "moonlab.proxies.grid"

local rates = { 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1 }

-- The arms: both of the paper's Figure 1, and everything it recommends against nothing of it.
local arms = {
  { name = "off", qk_norm = false },
  { name = "on", qk_norm = true },
  { name = "bare", qk_norm = false, z_loss = 0.0, warmup = 0.01, decay = 0.1,
    decay_form = "decoupled" },
  { name = "combined", qk_norm = true, z_loss = 1e-4, warmup = 0.25, decay = 1e-4,
    decay_form = "independent" },
}

local function mean(list)
  local sum = 0
  for _, x in ipairs(list) do sum = sum + x / #list end
  return sum
end

-- Curve and sensitivity of one arm at one size.
local function study(ctx, p, arm, size)
  local values = { size = { size }, lr = p.lr, steps = { p.steps }, text = { p.text } }
  for name, value in pairs(arm) do
    if name ~= "name" then values[name] = { value } end
  end
  local runs = grid.run(ctx, values)
  local lr, loss = runs:curve {}
  local initial = mean(runs:column({}, "initial"))
  -- with conventional decay the window may lie half a decade lower
  local windows = arm.decay_form == "decoupled" and { { lr[1], lr[#lr] },
    { lr[1], lr[math.max(1, #lr - 1)] } } or nil
  local s, info = ml.proxies.lr_sensitivity(lr, loss, { initial = initial, windows = windows })
  return { size = size, arm = arm.name, N = runs[1].results.N, N_all = runs[1].results.N_all,
    lr = lr, loss = loss, initial = initial, sensitivity = s, best_lr = info.best_lr or 0 / 0,
    best_loss = info.best_loss, diverged = info.diverged, worst_ratio = info.worst_ratio,
    max_logit = runs:column({}, function(r) return r.max_logit and r.max_logit[1] or 0 / 0 end),
    block_rms = runs:column({}, function(r)
      return r.block_rms and r.block_rms[#r.block_rms] or 0 / 0
    end),
    grad_rms = runs:column({}, "grad_rms"),
    max_at_100 = runs:column({}, function(r)
      for i, step in ipairs(r.series and r.series.step or {}) do
        if step == 100 then return r.series.max_logit[i] end
      end
      return 0 / 0
    end) }
end

-- The number of a curve at a learning rate of the grid.
local function at(curve, field, lr)
  for i, x in ipairs(curve.lr) do
    if math.abs(x / lr - 1) < 0.01 then return curve[field][i] end
  end
  return 0 / 0
end

-- The curve of an arm at the size that the claims are about.
local function curve(r, arm, size)
  for _, c in ipairs(r.curves) do
    if c.arm == arm and c.size == (size or "S1") then return c end
  end
  error("no curve of " .. arm .. " at " .. (size or "S1"))
end

local function capped(c, lr)
  local l = at(c, "loss", lr)
  return l == l and math.min(l, c.initial) or c.initial
end

-- Whether the claims about some arms at S1 speak about a run; those with numbers, calibrated on the
-- synthetic source, only there.
local function about(names)
  return function(p)
    local there = {}
    for _, name in ipairs(p.sizes) do there[name] = true end
    for _, name in ipairs(p.arms) do there[name] = true end
    for _, name in ipairs(names) do
      if not there[name] then return false end
    end
    return there.S1
  end
end
local function about_both(p) return grid.synthetic(p) and about { "off", "on" } (p) end

-- What claims are measured on: differences off - on in the final loss.
local function gain(lr)
  return function(r) return capped(curve(r, "off"), lr) - capped(curve(r, "on"), lr) end
end

local function largest(list)
  local most = -math.huge
  for _, x in ipairs(list) do most = x ~= x and math.huge or math.max(most, x) end
  return most
end

-- How many grid points above 1e-3 do not rise (sign 1) or fall (sign -1).
local function breaks(c, field, sign)
  local count = 0
  for i = 2, #c.lr do
    local rise = sign * (c[field][i] - c[field][i - 1])
    if c.lr[i] > 2e-3 and not (rise > 0) then count = count + 1 end
  end
  return count
end

return recipe.define {
  name = "lr_sensitivity",
  source = "Wortsman et al. 2023, Figures 1 and 2",
  params = {
    sizes = { { "S0", "S1", "S2", "S3" }, "of the ladder" },
    arms = { { "off", "on", "bare", "combined" }, "off, on: qk-layernorm; bare: nothing the paper "
      .. "recommends, combined: warm-up, independent decay, qk-layernorm and z-loss",
      choices = { "off", "on", "bare", "combined" } },
    lr = { rates, "peak learning rates, ascending", above = 0 },
    steps = { 400, "updates", min = 1 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { sizes = { "S0" }, arms = { "off", "on" }, lr = { 1e-3, 1e-2, 1e-1 }, steps = 20 },
  full = { sizes = { "S0", "S1", "S2", "S3", "S4" }, seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local curves, series, chart = {}, {}, {}
    for _, arm in ipairs(arms) do
      local wanted = false
      for _, name in ipairs(p.arms) do wanted = wanted or name == arm.name end
      local summary = { x = {}, y = {}, label = arm.name }
      for _, size in ipairs(wanted and p.sizes or {}) do
        local c = study(ctx, p, arm, size)
        curves[#curves + 1] = c
        ctx:log { arm = c.arm, size = size, N = c.N, sensitivity = c.sensitivity,
          best_lr = c.best_lr, best_loss = c.best_loss, diverged = c.diverged }
        local drawn, diverged = {}, {}
        for i, l in ipairs(c.loss) do
          drawn[i] = l == l and math.min(l, c.initial) or c.initial
          if not (l < math.huge) then diverged[#diverged + 1] = c.lr[i] end
        end
        series[#series + 1] = { x = c.lr, y = drawn, label = arm.name .. " " .. size,
          diverged = diverged, optimum = "min" }
        summary.x[#summary.x + 1], summary.y[#summary.y + 1] = c.N, c.sensitivity
      end
      if wanted then chart[#chart + 1] = summary end
    end
    ctx:figure("loss", ml.plot.lines { series = series, log = "x", xlabel = "learning rate",
      ylabel = "validation loss", title = "final loss" })
    if #p.sizes > 1 then
      ctx:figure("sensitivity", ml.plot.lines { series = chart, log = "x", xlabel = "parameters",
        ylabel = "LR sensitivity", title = "learning rate sensitivity" })
    end
    print(("%-9s %-5s %9s %10s %9s %9s %9s %9s %s"):format("arm", "size", "N", "N with V",
      "best lr", "best loss", "sensitiv.", "worst/b.", "diverged"))
    for _, c in ipairs(curves) do
      print(("%-9s %-5s %9d %10d %9.3g %9.3f %9.3f %9.3f %d"):format(c.arm, c.size, c.N, c.N_all,
        c.best_lr, c.best_loss, c.sensitivity, c.worst_ratio, c.diverged))
    end
    local branch
    if #p.sizes > 0 then
      local losses, initial = {}, 0
      for _, c in ipairs(curves) do
        if c.size == p.sizes[math.min(2, #p.sizes)] then
          losses[c.arm], initial = c.loss, math.max(initial, c.initial)
        end
      end
      branch = ml.proxies.right_branch(p.lr, losses, { initial = initial })
      for arm, b in ml.sorted(branch) do
        print(("right-branch excess of %s at %s: mean %.3f"):format(arm,
          p.sizes[math.min(2, #p.sizes)], b.mean))
      end
    end
    return { curves = curves, right_branch = branch }
  end,
  claims = {
    { name = "the initial loss is ln V + 1/2", kind = "calibrated", when = grid.synthetic,
      seeds = 2, expected = math.log(64) + 0.5, tolerance = 0.1,
      measure = function(r) return r.curves[1].initial end },
    { name = "S1: up to 3e-3 qk-layernorm changes little",
      kind = "calibrated", when = about_both, seeds = 2,
      source = "Wortsman et al. 2023, Figure 1", at_most = 0.05,
      measure = function(r)
        local most = 0
        for _, lr in ipairs { 3e-4, 1e-3, 3e-3 } do most = math.max(most, math.abs(gain(lr)(r))) end
        return most
      end },
    { name = "S1: at 3e-2 qk-layernorm is better",
      kind = "calibrated", when = about_both, seeds = 2,
      source = "Wortsman et al. 2023, Figure 1", at_least = 0.1, measure = gain(3e-2) },
    { name = "S1: at 1e-1 qk-layernorm is better",
      kind = "calibrated", when = about_both, seeds = 2,
      source = "Wortsman et al. 2023, Figure 1", at_least = 0.2, measure = gain(1e-1) },
    { name = "S1: best learning rate without, log10",
      kind = "calibrated", when = about_both, seeds = 2,
      source = "Wortsman et al. 2023, Figure 1", expected = -2, tolerance = 0.53,
      measure = function(r) return math.log(curve(r, "off").best_lr, 10) end },
    { name = "S1: best learning rate with, log10",
      kind = "calibrated", when = about_both, seeds = 2,
      source = "Wortsman et al. 2023, Figure 1", expected = math.log(3e-2, 10), tolerance = 0.53,
      measure = function(r) return math.log(curve(r, "on").best_lr, 10) end },
    { name = "S1: best learning rate with over without",
      kind = "calibrated", when = about_both, seeds = 2,
      at_least = 1, measure = function(r)
        return curve(r, "on").best_lr / curve(r, "off").best_lr
      end },
    { name = "S1: largest logit without at 1e-1 by step 100",
      kind = "calibrated", when = about_both, seeds = 2,
      source = "Wortsman et al. 2023, section 3.1.1", at_least = 500,
      measure = function(r) return at(curve(r, "off"), "max_at_100", 1e-1) end },
    { name = "S1: largest logit without at 3e-1",
      kind = "calibrated", when = about_both, seeds = 2,
      source = "Wortsman et al. 2023, section 3.1.1", at_least = 1e4,
      measure = function(r) return at(curve(r, "off"), "max_logit", 3e-1) end },
    { name = "S1: largest logit with qk-layernorm anywhere",
      kind = "calibrated", when = about_both, seeds = 2,
      at_most = 200, measure = function(r) return largest(curve(r, "on").max_logit) end },
    { name = "S1: breaks in the rise of the block output with the learning rate",
      kind = "calibrated", when = about_both, seeds = 2,
      source = "Wortsman et al. 2023, section 3.4", at_most = 0,
      measure = function(r) return breaks(curve(r, "off"), "block_rms", 1) end },
    { name = "S1: breaks in the fall of the gradient with the learning rate",
      kind = "calibrated", when = about_both, seeds = 2,
      source = "Wortsman et al. 2023, section 3.4", at_most = 0,
      measure = function(r) return breaks(curve(r, "off"), "grad_rms", -1) end },
    { name = "S1: gradient at 1e-3 over that at 3e-1",
      kind = "calibrated", when = about_both, seeds = 2,
      source = "Wortsman et al. 2023, section 3.4", at_least = 10,
      measure = function(r)
        return at(curve(r, "off"), "grad_rms", 1e-3) / at(curve(r, "off"), "grad_rms", 3e-1)
      end },
    { name = "S1: sensitivity with qk-layernorm minus without", kind = "exploratory",
      when = about { "off", "on" },
      source = "Wortsman et al. 2023, Figure 1", measure = function(r)
        return curve(r, "on").sensitivity - curve(r, "off").sensitivity
      end },
    { name = "S1: right-branch excess with qk-layernorm minus without", kind = "exploratory",
      when = about { "off", "on" },
      measure = function(r) return r.right_branch.on.mean - r.right_branch.off.mean end },
    { name = "S1: worst over best loss in three decades, combined", kind = "exploratory",
      when = about { "combined" },
      source = "Wortsman et al. 2023, section 3.1",
      measure = function(r) return curve(r, "combined").worst_ratio end },
    { name = "S1: sensitivity of combined minus bare", kind = "exploratory", at_most = 0,
      when = about { "bare", "combined" },
      source = "Wortsman et al. 2023, section 3.1", measure = function(r)
        return curve(r, "combined").sensitivity - curve(r, "bare").sensitivity
      end },
  },
}
