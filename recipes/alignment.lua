--- How aligned are weights and their changes with what flows through them, over width and time?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local contexts = require "moonlab.proxies.contexts"
local inputs = require "moonlab.proxies.inputs"

-- ---- the two models: layers() lists name, weight and input of the watched layers ----------------

-- 64 contexts at once, each with one right answer.
local function mlp(p, width)
  local x, y = {}, {}
  for i = 0, 63 do x[i + 1], y[i + 1] = i + 1, (5 * i + 3) % 64 + 1 end
  x, y = ml.index(x), ml.index(y)
  local net = contexts.network(width, ml.rng(p.seed):fold("initial values", width))
  local function layers()
    local found, z = {}, x
    for i, part in ipairs(net) do
      if i > 1 and ml.nn.is_module(part) then
        local name = i == 7 and "readout" or ("hidden %d"):format(i // 2)
        found[#found + 1] = { name = name, W = part.weight, z = z }
      end
      z = part(z)
    end
    return found
  end
  return { net = net, types = contexts.types, layers = layers,
    loss = function() return (ml.nn.cross_entropy(net(x), y)) end }
end

-- Two blocks: every matrix of them, and the head.
local function decoder(p, width)
  local source = ml.proxies.source { batch = 8, valid = 16, seed = p.seed }
  local lm = ml.transformer { vocab = source.vocab, context = source.length, depth = 2,
    width = width, heads = math.max(1, width // 16), seed = p.seed }
  local probe = source.valid[{ {}, { 1, -2 } }]
  return { net = lm, layers = function() return (inputs(lm, probe)) end,
    loss = function(step) return (lm:loss(source:batch(step))) end }
end

local models = { mlp = mlp, decoder = decoder }

-- ---- one width ----------------------------------------------------------------------------------

local function snapshot(model)
  local found = ml.no_grad(model.layers)
  for _, layer in ipairs(found) do
    layer.W, layer.z = ml.keep(layer.W:detach():to "f64"), ml.keep(layer.z:detach():to "f64")
  end
  return found
end

local function measure(p, width, log)
  local model = models[p.model](p, width)
  local par = ml.parameterization(model.net, { name = p.parameterization, align = p.align,
    optimizer = "adam", base_width = p.widths[1], types = model.types,
    width = model.types and width or nil })
  local opt = ml.optim.adam(par:groups(), { lr = p.lr, betas = { 0.9, 0.95 }, eps = 1e-30 })
  local first, due = snapshot(model), {}
  for _, layer in ipairs(first) do
    log { width = width, step = 0, layer = layer.name, A = ml.alignment(
      { W = layer.W, z = layer.z }).A }
  end
  for _, step in ipairs(p.steps) do due[step] = true end
  for step = 1, p.steps[#p.steps] do
    opt:zero_grad()
    ml.scope(function() model.loss(step):backward() end)
    opt:step()
    if due[step] then
      ml.scope(function()
        for i, layer in ipairs(ml.no_grad(model.layers)) do
          local row = ml.alignment { W = layer.W, z = layer.z, W0 = first[i].W:to(layer.W:dtype()),
            z0 = first[i].z:to(layer.z:dtype()) }
          row.width, row.step, row.layer = width, step, layer.name
          log(row)
        end
      end)
    end
  end
end

-- ---- claims -------------------------------------------------------------------------------------

-- The least and the largest of a ratio over layers and widths, and their mean.
local function range_of(r, step, field)
  local least, most, sum, n = math.huge, -math.huge, 0, 0
  for _, row in ipairs(r.rows) do
    if row.step == step then
      local x = row[field]
      if x ~= x then return x, x, x end
      least, most, sum, n = math.min(least, x), math.max(most, x), sum + x, n + 1
    end
  end
  if n == 0 then error(("nothing was measured after %d steps"):format(step), 0) end
  return least, most, sum / n
end

local function least(field)
  return function(r) return (range_of(r, 4, field)) end
end
local function most(field)
  return function(r) return (select(2, range_of(r, 4, field))) end
end
local function at_the_end(field)
  return function(r, p) return (select(3, range_of(r, p.steps[#p.steps], field))) end
end
local function is(model)
  return function(p) return p.model == model end
end

local source = "Everett et al. 2024, section 3.3"

local claims = {
  { name = "A before training, farthest from 1/2", kind = "calibrated", seeds = 1, source = source,
    at_most = 0.05, measure = function(r)
      local a, b = range_of(r, 0, "A")
      return math.max(math.abs(a - 0.5), math.abs(b - 0.5))
    end },
  { name = "alpha after 4 steps, least", kind = "calibrated", seeds = 1, source = source,
    at_least = 0.55, measure = least "alpha" },
  { name = "alpha after 4 steps, largest", kind = "calibrated", seeds = 1, source = source,
    at_most = 0.95, measure = most "alpha" },
  { name = "omega after 4 steps, least", kind = "calibrated", seeds = 1, source = source,
    at_least = 0.45, measure = least "omega" },
  { name = "omega after 4 steps, largest", kind = "calibrated", seeds = 1, source = source,
    at_most = 0.7, measure = most "omega" },
}
for _, claim in ipairs(claims) do claim.when = is "mlp" end
for _, model in ipairs { "mlp", "decoder" } do
  for _, field in ipairs { "alpha", "omega", "u" } do
    claims[#claims + 1] = { name = ("%s: mean %s at the end"):format(model, field),
      kind = "exploratory", source = source, when = is(model), measure = at_the_end(field) }
  end
end

local function show(row)
  local function word(x) return x and ("%6.3f"):format(x) or "     -" end
  print(("%5d %5d  %-16s %s %s %s %s"):format(row.width, row.step, row.layer, word(row.A),
    word(row.alpha), word(row.omega), word(row.u)))
end

return recipe.define {
  name = "alignment",
  source = source,
  params = {
    model = { "mlp", "mlp: embedding, two hidden layers, readout; decoder: two blocks",
      choices = { "mlp", "decoder" } },
    widths = { { 64, 128, 256, 512, 1024 }, "the first is the base width", min = 16 },
    steps = { { 1, 4, 16, 64 }, "updates after which it is measured, ascending", min = 1 },
    parameterization = { "standard", "", choices = { "standard", "ntk", "mup", "mean_field" } },
    align = { "full", "what the learning rates assume", choices = { "full", "none" } },
    lr = { 0.002, "learning rate at the first width", above = 0 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { widths = { 16, 32 }, steps = { 1, 4 } },
  full = { seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    for i = 2, #p.steps do
      if p.steps[i] <= p.steps[i - 1] then error("steps do not ascend", 0) end
    end
    local rows = {}
    print "width  step  layer                 A  alpha  omega      u"
    for _, width in ipairs(p.widths) do
      ml.scope(measure, p, width, function(row)
        rows[#rows + 1] = row
        show(row)
        ctx:log(row)
      end)
    end
    local series = {}
    for _, width in ipairs(p.widths) do
      local y = {}
      for i, step in ipairs(p.steps) do
        local sum, n = 0, 0
        for _, row in ipairs(rows) do
          if row.width == width and row.step == step then sum, n = sum + row.alpha, n + 1 end
        end
        y[i] = sum / n
      end
      series[#series + 1] = { x = p.steps, y = y, label = ("width %d"):format(width) }
    end
    ctx:figure("alpha", ml.plot.lines { series = series, log = "x", xlabel = "step",
      ylabel = "alpha, mean over layers", title = "alignment of updates with inputs" })
    return { model = p.model, rows = rows }
  end,
  claims = claims,
}
