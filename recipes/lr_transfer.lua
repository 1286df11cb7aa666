--- Does the best learning rate of a narrow network serve a wide one, and under which
--- parameterization?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local contexts = require "moonlab.proxies.contexts"
local exponents = require "moonlab.parameterization.exponents"
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

local function names_of(list)
  local names = {}
  for _, text in ipairs(list) do
    for _, name in ipairs(text == "every" and every_arm() or { text }) do
      names[#names + 1] = name
    end
  end
  return names
end

-- Learning rates 2^low to 2^high; those of sgd and of parameter scaling are larger.
local function rates_of(p, optimizer)
  local shift = optimizer == "sgd" and p.sgd_shift or optimizer == "adam_ps" and p.ps_shift or 0
  local list = {}
  for k = p.low, p.high do list[#list + 1] = 2.0 ^ (k + shift) end
  return list
end

-- The loss of an arm at a width, one for each learning rate.
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
    eps = { 1e-15 }, decay = { 0.0 }, clip = { 0.0 }, z_loss = { 0.0 }, warmup = { 0.05 },
    text = { p.text } })
  local _, loss = runs:curve {}
  return loss
end

local function finite(x) return x == x and math.abs(x) < math.huge end

-- The grid of one arm at one width, ascending, grown until the least loss has a larger one on both
-- sides: by octaves at its ends, at most p.extend; where the next learning rate diverges, by halves
-- and quarters of an octave towards it.
local function measure_width(p, ctx, arm, width, rates)
  local points, left = {}, p.extend
  local function add(list)
    for i, loss in ipairs(scores(p, ctx, arm, width, list)) do
      points[#points + 1] = { lr = list[i], loss = loss }
    end
    table.sort(points, function(a, b) return a.lr < b.lr end)
  end
  local function best()
    local at
    for i, point in ipairs(points) do
      if finite(point.loss) and not (at and points[at].loss <= point.loss) then at = i end
    end
    return at
  end
  add(rates)
  local at = best()
  while left > 0 do
    local next_one = at and points[at + 1]
    if not at or at == 1 then add { points[1].lr / 2 }
    elseif not next_one then add { points[at].lr * 2 }
    elseif not finite(next_one.loss) and next_one.lr / points[at].lr > 1.2 then
      add { math.sqrt(points[at].lr * next_one.lr) }
    else break end
    left, at = left - 1, best()
  end
  local row = { width = width, lr = {}, loss = {}, best = 0 / 0, value = 0 / 0, edge = false }
  for i, point in ipairs(points) do row.lr[i], row.loss[i] = point.lr, point.loss end
  local found, value = ml.proxies.optimal_lr(row.lr, row.loss)
  if found then
    row.best, row.value = found, value
  elseif at and at > 1 and points[at + 1] and points[at + 1].lr / points[at].lr < 1.2 then
    row.best, row.value, row.edge = points[at].lr, points[at].loss, true
  end
  return row
end

-- Where a transfer from the first width would look at this one: the grid points around its optimum.
local function with_neighbours(rates, best)
  local list, known = { table.unpack(rates) }, {}
  for _, lr in ipairs(rates) do known[lr] = true end
  if best == best then
    for _, k in ipairs { math.floor(math.log(best, 2)), math.ceil(math.log(best, 2)) } do
      if not known[2.0 ^ k] then list[#list + 1], known[2.0 ^ k] = 2.0 ^ k, true end
    end
  end
  table.sort(list)
  return list
end

-- The exponent of the best learning rate if updates are fully aligned: it falls as the type of
-- layer asks for whose learning rate is the farthest above the largest stable one.
local function expected_exponent(arm)
  local family = exponents.family(arm.optimizer)
  local s = exponents.scales(arm.parameterization == "global" and "standard"
    or arm.parameterization)
  local g = exponents.gradients(s.a, s.b)
  local function rates(align)
    return exponents.learning_rates(s.a, s.b, g, exponents.alignment("lr_transfer", align), family)
  end
  local stable, most = rates "full", -math.huge
  local used = arm.parameterization == "global" and zero or rates(arm.align)
  for kind, c in pairs(stable) do most = math.max(most, c - used[kind]) end
  return 0 - most
end

-- ---- claims -------------------------------------------------------------------------------------

local function arm_of(r, name)
  for _, a in ipairs(r.arms) do
    if a.name == name then return a end
  end
  error("no arm " .. name)
end

-- Claims are about one of the two models, and about arms.
local function about(model, ...)
  local names = { ... }
  return function(p)
    local there = {}
    for _, name in ipairs(names_of(p.arms)) do there[name] = true end
    for _, name in ipairs(names) do
      if not there[name] then return false end
    end
    return p.model == (model or p.model)
  end
end

local function exponent(name)
  return function(r) return arm_of(r, name).exponent, arm_of(r, name).stderr end
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
  for i, lr in ipairs(last.lr) do
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

local function larger_cost(r) return math.max(transfer_cost(r, full), transfer_cost(r, mup)) end

-- One line an arm: log2 of the best learning rate and the loss there for each width, and exponents.
local function show(p, arms)
  local words, edges = {}, false
  for k, width in ipairs(p.widths) do words[k] = ("%14s"):format("width " .. width) end
  print(("%-26s%s %9s %6s %9s"):format("log2 of the best lr, loss", table.concat(words),
    "exponent", "+-", "aligned"))
  for _, a in ipairs(arms) do
    for k, w in ipairs(a.widths) do
      words[k] = w.best ~= w.best and " not bracketed" or ("%6.2f%s %6.3f"):format(
        math.log(w.best, 2), w.edge and "*" or " ", w.value)
      edges = edges or w.edge
    end
    print(("%-26s%s %9.2f %6.2f %9.2f"):format(a.name, table.concat(words), a.exponent, a.stderr,
      a.expected))
  end
  print "aligned: the exponent if updates are fully aligned with what flows through the layers"
  if edges then print "*: a quarter of an octave above it training diverges" end
end

-- Best learning rates over width, a figure for each optimizer.
local function draw(p, ctx, arms)
  local by_rule = {}
  for _, a in ipairs(arms) do
    local rule, best = a.name:match "%S+$", {}
    for k, w in ipairs(a.widths) do best[k] = w.best end
    by_rule[rule] = by_rule[rule] or {}
    table.insert(by_rule[rule], { x = p.widths, y = best, label = a.name })
  end
  for rule, series in ml.sorted(by_rule) do
    ctx:figure("optimum-" .. rule, ml.plot.scatter { series = series, log = "xy", base = 2,
      fit = true, xlabel = "width", ylabel = "best learning rate",
      title = "best learning rate over width, " .. rule })
  end
end

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
    extend = { 4, "learning rates that may be added to bracket an optimum", min = 0 },
    steps = { 120, "updates", min = 2 },
    text = grid.text,
    seed = { 1, "every stream derives from it" },
  },
  smoke = { widths = { 16, 32 }, low = -9, high = -3, steps = 10 },
  full = { model = "transformer", arms = { global, "every" }, low = -12, high = -3, steps = 400,
    seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local arms = {}
    for i, name in ipairs(names_of(p.arms)) do
      local arm = read_arm(name)
      local rates = rates_of(p, arm.optimizer)
      local row = { name = name, widths = {}, expected = expected_exponent(arm) }
      local x, y = {}, {}
      for k, width in ipairs(p.widths) do
        local w = measure_width(p, ctx, arm, width, k == #p.widths
          and k > 1 and with_neighbours(rates, row.widths[1].best) or rates)
        row.widths[k] = w
        if w.best == w.best then x[#x + 1], y[#y + 1] = width, w.best end
        ctx:log { arm = name, width = width, best = w.best, loss = w.value, edge = w.edge }
      end
      row.exponent, row.stderr = 0 / 0, 0 / 0
      if #x >= 2 then row.exponent, row.stderr = ml.fit.power_law(x, y) end
      arms[i] = row
    end
    show(p, arms)
    draw(p, ctx, arms)
    return { arms = arms, model = p.model }
  end,
  claims = {
    { name = "exponent with one learning rate", kind = "calibrated", seeds = 1, source = source,
      expected = -1.25, tolerance = 0.45, when = about("mlp", global), measure = exponent(global) },
    { name = "exponent of standard, full alignment", kind = "calibrated", seeds = 1,
      source = source, expected = -0.175, tolerance = 0.475, when = about("mlp", full),
      measure = exponent(full) },
    { name = "exponent of muP, full alignment", kind = "calibrated", seeds = 1, source = source,
      expected = -0.175, tolerance = 0.475, when = about("mlp", mup), measure = exponent(mup) },
    { name = "gap between one learning rate and the nearer of both", kind = "calibrated",
      seeds = 1, source = source, at_least = 0.5, when = about("mlp", global, full, mup),
      measure = function(r)
        return math.min(arm_of(r, full).exponent, arm_of(r, mup).exponent)
          - arm_of(r, global).exponent
      end },
    { name = "optima that are not bracketed", kind = "calibrated", seeds = 1, at_most = 0,
      when = about "mlp", measure = bracketed },
    { name = "loss by transfer to the last width, larger of standard and muP", kind = "calibrated",
      seeds = 1, source = source, at_most = 0.05, when = about("mlp", full, mup),
      measure = larger_cost },
    { name = "loss by transfer with one learning rate", kind = "calibrated", seeds = 1,
      source = source, at_least = 0.05, when = about("mlp", global),
      measure = function(r) return transfer_cost(r, global) end },
    { name = "the same over the larger of standard and muP", kind = "calibrated", seeds = 1,
      source = source, at_least = 3, when = about("mlp", global, full, mup),
      measure = function(r) return transfer_cost(r, global) / larger_cost(r) end },
    { name = "transformer: exponent with one learning rate", kind = "exploratory", source = source,
      expected = -0.85, tolerance = 0.35, when = about("transformer", global),
      measure = exponent(global) },
    { name = "transformer: exponent of standard, full alignment", kind = "exploratory",
      source = source, expected = -0.1, tolerance = 0.3, when = about("transformer", full),
      measure = exponent(full) },
    { name = "transformer: exponent of muP, full alignment", kind = "exploratory",
      source = source, expected = -0.1, tolerance = 0.3, when = about("transformer", mup),
      measure = exponent(mup) },
    -- Without bounds: nothing was stated beforehand of what a transfer costs on the transformer.
    { name = "transformer: loss by transfer with one learning rate", kind = "exploratory",
      source = source, when = about("transformer", global),
      measure = function(r) return transfer_cost(r, global) end },
    { name = "transformer: loss by transfer to the last width, larger of standard and muP",
      kind = "exploratory", source = source, when = about("transformer", full, mup),
      measure = larger_cost },
    { name = "best loss of standard minus that of muP at the last width", kind = "exploratory",
      source = "Everett et al. 2024, abstract: standard with rates per layer is better",
      when = about(nil, full, mup), measure = function(r)
        local a, b = arm_of(r, full).widths, arm_of(r, mup).widths
        return a[#a].value - b[#b].value
      end },
  },
}
