--- Does the best learning rate of a narrow network serve a wide one, and under which
--- parameterization?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local contexts = require "moonlab.proxies.contexts"
local grid = require "moonlab.proxies.grid"

-- ---- arms ---------------------------------------------------------------------------------------

local zero = { embedding = 0, hidden = 0, readout = 0 }
local half = { embedding = 0, hidden = 1 / 2, readout = 1 / 2 }

-- "mup full adam"; "global" is the standard parameterization with one learning rate.
local function read_arm(text)
  local name, align, optimizer = text:match "^(%S+) (%S+) (%S+)$"
  if not name then error("arm '" .. text .. "', wanted words like 'mup full adam'", 0) end
  local arm = { name = text, parameterization = name, align = align, optimizer = optimizer,
    table = name }
  if name == "global" then arm.table, arm.align = { a = zero, b = half, c = zero }, nil end
  return arm
end

local function every_arm()
  local list = {}
  for _, optimizer in ipairs { "sgd", "adam", "adam_ps" } do
    for _, name in ipairs { "standard", "ntk", "mup", "mean_field" } do
      for _, align in ipairs { "full", "none" } do
        list[#list + 1] = ("%s %s %s"):format(name, align, optimizer)
      end
    end
  end
  return list
end

-- Learning rates 2^low to 2^high; those of sgd and of parameter scaling are larger.
local function rates_of(p, optimizer)
  local shift = optimizer == "sgd" and p.sgd_shift or optimizer == "adam_ps" and p.ps_shift or 0
  local list = {}
  for k = p.low, p.high do list[#list + 1] = 2.0 ^ (k + shift) end
  return list
end

local function scores(p, ctx, arm, width, rates)
  if p.model == "mlp" then
    local list = {}
    for i, lr in ipairs(rates) do
      list[i] = ctx:once(("%s %d %.17g"):format(arm.name, width, lr),
        function()
          return contexts.train { width = width, lr = lr, steps = p.steps, seed = p.seed,
            parameterization = { name = arm.table, align = arm.align, optimizer = arm.optimizer,
              base_width = p.widths[1] } }
        end)
    end
    return list
  end
  local global = arm.parameterization == "global"
  local rule = arm.optimizer == "adam" and "adamw" or arm.optimizer
  local runs = grid.run(ctx, { size = { ("2x%d"):format(width) }, lr = rates, steps = { p.steps },
    optimizer = { rule }, parameterization = { global and "none" or arm.parameterization },
    align = { arm.align or "full" }, base_width = { p.widths[1] }, epsilon = { "per_layer" },
    eps = { 1e-15 }, decay = { 0.0 }, clip = { 0.0 }, z_loss = { 0.0 }, warmup = { 0.05 } })
  local _, loss = runs:curve {}
  return loss
end

-- ---- claims -------------------------------------------------------------------------------------

local function arm_of(r, name)
  for _, a in ipairs(r.arms) do
    if a.name == name then return a end
  end
  error("no arm " .. name)
end

-- Claims are about one of the two models; on the other they measure nothing.
local function about(model, measure)
  return function(r)
    if r.model ~= model then error("this claim is about the " .. model, 0) end
    return measure(r)
  end
end

local function exponent(name, model)
  return about(model or "mlp", function(r)
    return arm_of(r, name).exponent, arm_of(r, name).stderr
  end)
end

-- What is lost at the last width by the grid points around the first width's optimum: the larger
-- excess over the last width's best. Infinite when one of them diverged; without an optimum at
-- both widths there is nothing to transfer.
local function transfer_cost(r, name)
  local a = arm_of(r, name)
  local first, last = a.widths[1], a.widths[#a.widths]
  if first.best ~= first.best or last.best ~= last.best then
    error(("the optimum of %s is not bracketed"):format(name), 0)
  end
  local worst = -math.huge
  for i, lr in ipairs(a.lr) do
    if math.abs(math.log(lr / first.best, 2)) < 1 then
      local excess = last.loss[i] - last.value
      worst = excess == excess and math.max(worst, excess) or math.huge
    end
  end
  return worst
end

local function bracketed(r)
  local missing = 0
  for _, a in ipairs(r.arms) do
    for _, w in ipairs(a.widths) do
      if w.best ~= w.best then missing = missing + 1 end
    end
  end
  return missing
end

local source = "Everett et al. 2024, sections 3 and 4"
local global, full, mup = "global full adam", "standard full adam", "mup full adam"

return recipe.define {
  name = "lr_transfer",
  source = source,
  params = {
    model = { "mlp", "mlp: embedding, two hidden layers, readout; transformer: two blocks",
      choices = { "mlp", "transformer" } },
    arms = { { global, full, mup }, "parameterization, alignment and optimizer; \"every\": all of "
      .. "them" },
    widths = { { 32, 64, 128, 256 }, "the first is the base width", min = 16 },
    low = { -13, "log2 of the least learning rate" },
    high = { -3, "log2 of the largest" },
    sgd_shift = { 8, "added to both for sgd" },
    ps_shift = { 3, "added to both for adam_ps" },
    steps = { 120, "updates", min = 2 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { widths = { 16, 32 }, low = -9, high = -3, steps = 10 },
  full = { model = "transformer", arms = { global, "every" }, low = -12, high = -3, steps = 400,
    seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local arms, names = {}, {}
    for _, text in ipairs(p.arms) do
      for _, name in ipairs(text == "every" and every_arm() or { text }) do
        names[#names + 1] = name
      end
    end
    for i, name in ipairs(names) do
      local arm = read_arm(name)
      local rates = rates_of(p, arm.optimizer)
      local row = { name = name, lr = rates, widths = {} }
      local x, y = {}, {}
      for k, width in ipairs(p.widths) do
        local loss = scores(p, ctx, arm, width, rates)
        local best, value = ml.proxies.optimal_lr(rates, loss)
        row.widths[k] = { width = width, loss = loss, best = best or 0 / 0,
          value = best and value or 0 / 0 }
        if best then x[#x + 1], y[#y + 1] = width, best end
        ctx:log { arm = name, width = width, best = best or 0 / 0, loss = best and value or 0 / 0 }
      end
      row.exponent, row.stderr = 0 / 0, 0 / 0
      if #x >= 2 then row.exponent, row.stderr = ml.fit.power_law(x, y) end
      arms[i] = row
    end
    print(("%-26s %s   exponent   +-"):format("log2 of the best lr (loss)",
      table.concat(p.widths, "            ")))
    for _, a in ipairs(arms) do
      local words = {}
      for k, w in ipairs(a.widths) do
        words[k] = w.best ~= w.best and "not bracketed" or ("%6.2f %6.3f"):format(
          math.log(w.best, 2), w.value)
      end
      print(("%-26s %s  %8.2f %6.2f"):format(a.name, table.concat(words, "  "), a.exponent,
        a.stderr))
    end
    local series = {}
    for _, a in ipairs(arms) do
      local best = {}
      for k, w in ipairs(a.widths) do best[k] = w.best end
      series[#series + 1] = { x = p.widths, y = best, label = a.name }
    end
    ctx:figure("optimum", ml.plot.scatter { series = series, log = "xy", base = 2, fit = true,
      xlabel = "width", ylabel = "best learning rate", title = "best learning rate over width" })
    return { arms = arms, model = p.model }
  end,
  claims = {
    { name = "exponent with one learning rate", kind = "calibrated", seeds = 1, source = source,
      expected = -1.25, tolerance = 0.45, measure = exponent(global) },
    { name = "exponent of standard, full alignment", kind = "calibrated", seeds = 1,
      source = source, expected = -0.175, tolerance = 0.475, measure = exponent(full) },
    { name = "exponent of muP, full alignment", kind = "calibrated", seeds = 1, source = source,
      expected = -0.175, tolerance = 0.475, measure = exponent(mup) },
    { name = "gap between one learning rate and the nearer of both", kind = "calibrated",
      seeds = 1, source = source, at_least = 0.5, measure = about("mlp", function(r)
        return math.min(arm_of(r, full).exponent, arm_of(r, mup).exponent)
          - arm_of(r, global).exponent
      end) },
    { name = "optima that are not bracketed", kind = "calibrated", seeds = 1, at_most = 0,
      measure = about("mlp", bracketed) },
    { name = "loss by transfer to the last width, larger of standard and muP", kind = "calibrated",
      seeds = 1, source = source, at_most = 0.05, measure = about("mlp", function(r)
        return math.max(transfer_cost(r, full), transfer_cost(r, mup))
      end) },
    { name = "loss by transfer with one learning rate", kind = "calibrated", seeds = 1,
      source = source, at_least = 0.05,
      measure = about("mlp", function(r) return transfer_cost(r, global) end) },
    { name = "the same over the larger of standard and muP", kind = "calibrated", seeds = 1,
      source = source, at_least = 3, measure = about("mlp", function(r)
        return transfer_cost(r, global) / math.max(transfer_cost(r, full), transfer_cost(r, mup))
      end) },
    { name = "transformer: exponent with one learning rate", kind = "exploratory", source = source,
      expected = -0.85, tolerance = 0.35, measure = exponent(global, "transformer") },
    { name = "transformer: exponent of standard, full alignment", kind = "exploratory",
      source = source, expected = -0.1, tolerance = 0.3, measure = exponent(full, "transformer") },
    { name = "transformer: exponent of muP, full alignment", kind = "exploratory",
      source = source, expected = -0.1, tolerance = 0.3, measure = exponent(mup, "transformer") },
    -- Without bounds: nothing was stated beforehand of what a transfer costs on the transformer.
    { name = "transformer: loss by transfer with one learning rate", kind = "exploratory",
      source = source, measure = about("transformer", function(r)
        return transfer_cost(r, global)
      end) },
    { name = "transformer: loss by transfer to the last width, larger of standard and muP",
      kind = "exploratory", source = source, measure = about("transformer", function(r)
        return math.max(transfer_cost(r, full), transfer_cost(r, mup))
      end) },
    { name = "best loss of standard minus that of muP at the last width", kind = "exploratory",
      source = "Everett et al. 2024, abstract: standard with rates per layer is better",
      measure = function(r)
        local a, b = arm_of(r, full).widths, arm_of(r, mup).widths
        return a[#a].value - b[#b].value
      end },
  },
}
