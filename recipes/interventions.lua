--- Which changes of the training recipe move the learning rate at which training breaks?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local grid = require "moonlab.proxies.grid"

-- What each arm changes of the baseline: qk-layernorm, z-loss 1e-4, independent decay 1e-4, warm-up
-- of 5 %, gradients clipped to norm 1. `lr` is a factor of the grid, `steps` of the updates.
local arms = {
  { name = "baseline", group = "all" },
  { name = "no qk-layernorm", group = "attention", qk_norm = false },
  { name = "1/d_head", group = "attention", qk_norm = false, scale = "1/d_head" },
  { name = "1/d_head, qk-layernorm", group = "attention", scale = "1/d_head" },
  { name = "no z-loss", group = "decay", z_loss = 0.0 },
  { name = "no decay", group = "decay", decay = 0.0 },
  { name = "decay 1e-3", group = "decay", decay = 1e-3 },
  { name = "decoupled decay 0.1", group = "decay", decay_form = "decoupled", decay = 0.1 },
  { name = "no clipping", group = "updates", clip = 0.0 },
  { name = "update clipping", group = "updates", clip = 0.0, update_clip = true },
  { name = "atan2 unit", group = "updates", optimizer = "adam_atan2", atan2 = "unit" },
  { name = "atan2 pi", group = "updates", optimizer = "adam_atan2", atan2 = "pi" },
  { name = "atan2 wide", group = "updates", optimizer = "adam_atan2", atan2 = "wide" },
  { name = "parameter RMS", group = "updates", optimizer = "adam_ps", lr = 4 },
  { name = "half the steps", group = "horizon", steps = 0.5 },
  { name = "twice the batch", group = "horizon", steps = 0.5, batch = 16 },
}
local names, groups = {}, { "attention", "decay", "updates", "horizon" }
for i, arm in ipairs(arms) do names[i] = arm.name end

local function study(ctx, p, arm)
  local values = { size = { p.size }, text = { p.text }, qk_norm = { true }, lr = {},
    steps = { math.max(1, math.floor(p.steps * (arm.steps or 1))) } }
  for i, lr in ipairs(p.lr) do values.lr[i] = lr * (arm.lr or 1) end
  for name, value in pairs(arm) do
    if name ~= "name" and name ~= "group" and name ~= "lr" and name ~= "steps" then
      values[name] = { value }
    end
  end
  local runs = grid.run(ctx, values)
  local lr, loss = runs:curve {}
  local initial = runs:column({}, "initial")[1]
  if initial ~= initial then error("no run of '" .. arm.name .. "' has begun", 0) end
  -- decoupled decay may have its optimum half a decade lower
  local windows = arm.decay_form == "decoupled"
    and { { lr[1], lr[#lr] }, { lr[1], lr[math.max(1, #lr - 1)] } } or nil
  local s, info = ml.proxies.lr_sensitivity(lr, loss, { initial = initial, windows = windows })
  local capped = {}
  for i, l in ipairs(loss) do capped[i] = l == l and math.min(l, initial) or initial end
  return { name = arm.name, group = arm.group, lr = lr, loss = loss, capped = capped,
    initial = initial, sensitivity = s, best_lr = info.best_lr or 0 / 0,
    best_loss = info.best_loss, diverged = info.diverged, max_logit = runs:column({}, function(r)
      return r.max_logit and r.max_logit[1] or 0 / 0
    end) }
end

-- ---- claims -------------------------------------------------------------------------------------

local function arm_of(r, name)
  for _, a in ipairs(r.arms) do
    if a.name == name then return a end
  end
  error("arm '" .. name .. "' was not run", 0)
end

local function at(r, name, field, lr)
  local a = arm_of(r, name)
  for i, x in ipairs(a.lr) do
    if math.abs(x / lr - 1) < 0.01 then return a[field][i] end
  end
  error(("no run at learning rate %g"):format(lr), 0)
end

-- Largest distance of an arm's loss from the baseline's up to a learning rate.
local function apart(name, below)
  return function(r)
    local most
    for _, lr in ipairs(arm_of(r, "baseline").lr) do
      if lr <= below * 1.01 then
        most = math.max(most or 0, math.abs(at(r, name, "capped", lr)
          - at(r, "baseline", "capped", lr)))
      end
    end
    return most or error(("no run up to learning rate %g"):format(below), 0)
  end
end

local function sensitivities(one, other)
  return function(r) return arm_of(r, one).sensitivity - arm_of(r, other).sensitivity end
end

local function best_losses(one)
  return function(r) return arm_of(r, one).best_loss - arm_of(r, "baseline").best_loss end
end

local source = "Wortsman et al. 2023"

local claims = {
  { name = "up to 3e-3 the z-loss changes little", kind = "paper", source = source .. ", Figure 3",
    at_most = 0.05, measure = apart("no z-loss", 3e-3) },
  { name = "1/d_head without qk-layernorm: largest logit at 1e-1 over that with qk-layernorm",
    kind = "paper", source = source .. ", section 3.2.4", at_least = 10, measure = function(r)
      return at(r, "1/d_head", "max_logit", 0.1) / at(r, "baseline", "max_logit", 0.1)
    end },
  { name = "1/d_head without qk-layernorm: loss at 1e-1 minus the baseline's", kind = "paper",
    source = source .. ", section 3.2.4", at_least = 0.1, measure = function(r)
      return at(r, "1/d_head", "capped", 0.1) - at(r, "baseline", "capped", 0.1)
    end },
  { name = "sensitivity with independent decay minus that with decoupled decay",
    kind = "exploratory", source = source .. ", Figure 6", at_most = 0,
    measure = sensitivities("baseline", "decoupled decay 0.1") },
}
for _, name in ipairs { "update clipping", "atan2 unit", "atan2 pi", "atan2 wide" } do
  claims[#claims + 1] = { name = "sensitivity of " .. name .. " minus the baseline's",
    kind = "exploratory", measure = sensitivities(name, "baseline") }
end
for _, name in ipairs { "update clipping", "atan2 pi", "parameter RMS", "decay 1e-3" } do
  claims[#claims + 1] = { name = "best loss of " .. name .. " minus the baseline's",
    kind = "exploratory", measure = best_losses(name) }
end

return recipe.define {
  name = "interventions",
  source = source .. ", sections 3.1 to 3.4; Everett et al. 2024 (Adam-atan2)",
  params = {
    arms = { names, "what is changed", choices = names },
    size = { "S1", "of the ladder" },
    lr = { { 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1 }, "peak learning rates, ascending",
      above = 0 },
    steps = { 400, "updates", min = 2 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { size = "S0", lr = { 1e-2, 1e-1 }, steps = 10, arms = { "baseline", "1/d_head",
    "update clipping", "atan2 wide", "twice the batch" } },
  full = { size = "S2", seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local wanted, found, losses, initial = {}, {}, {}, 0
    for _, name in ipairs(p.arms) do wanted[name] = true end
    print(("%-24s %9s %9s %11s %8s"):format("arm", "best lr", "best loss", "sensitivity",
      "diverged"))
    for _, arm in ipairs(arms) do
      if wanted[arm.name] then
        local a = study(ctx, p, arm)
        found[#found + 1], losses[a.name] = a, a.loss
        initial = math.max(initial, a.initial)
        ctx:log { arm = a.name, best_lr = a.best_lr, best_loss = a.best_loss,
          sensitivity = a.sensitivity, diverged = a.diverged }
        print(("%-24s %9.3g %9.3f %11.3f %8d"):format(a.name, a.best_lr, a.best_loss,
          a.sensitivity, a.diverged))
      end
    end
    print "the rates of 'parameter RMS' are 4 times the grid's: its sensitivity is of another kind"
    for _, group in ipairs(groups) do
      local series = {}
      for _, a in ipairs(found) do
        if a.group == group or a.group == "all" then
          series[#series + 1] = { x = a.lr, y = a.loss, label = a.name, diverged = true,
            optimum = "min" }
        end
      end
      if #series > 1 then
        ctx:figure(group, ml.plot.lines { series = series, log = "x", xlabel = "learning rate",
          ylabel = "validation loss", title = "final loss: " .. group })
      end
    end
    return { arms = found, right_branch = ml.proxies.right_branch(p.lr, losses,
      { initial = initial }) }
  end,
  claims = claims,
}
