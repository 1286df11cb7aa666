--- How does the share of hallucinations about facts that a model was told depend on its size, on
--- how often it was told, and on how many facts there are?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local study = require "moonlab.kg.study"

local columns = "%-9s %-4s %6s %8s %7s %9s %7s %7s %7s %7s %7s %7s %7s"

local function header()
  print(columns:format("graph", "size", "N", "triplets", "epochs", "flops", "seen", "greedy",
    "exact", "partial", "invis.", "guess", "loss"))
end

local function line(r)
  local p, x = r.params, r.results
  print(columns:format(p.graph, p.width > 0 and "w" .. p.width or p.size, x.N, x.triplets,
    ("%.4g"):format(x.epochs), ("%.2g"):format(x.compute), ("%.3f"):format(x.t1.seen.rate),
    ("%.3f"):format(x.greedy.seen.rate), ("%.3f"):format(x.exact.seen),
    ("%.3f"):format(x.t1.partial.rate), ("%.3f"):format(x.t1.invisible.rate),
    ("%.3f"):format(x.controls.mode.seen), ("%.3f"):format(x.held_out)))
end

local function merged(a, b)
  local out = {}
  for name, value in pairs(a) do out[name] = value end
  for name, value in pairs(b) do out[name] = value end
  return out
end

-- What is kept of a run.
local function brief(r)
  local x, p = r.results, r.params
  local out = { graph = p.graph, size = p.width > 0 and "w" .. p.width or p.size, N = x.N,
    epochs = x.epochs, asked_epochs = p.epochs, fraction = p.fraction, steps = x.steps,
    triplets = x.triplets, tokens = x.tokens, compute = x.compute, held_out = x.held_out,
    loss = x.loss, floor = x.controls.floor, kinds = x.t1.seen.kinds, guess = x.controls.mode,
    seconds = x.seconds }
  for _, name in ipairs { "seen", "partial", "invisible" } do
    out[name] = { t1 = x.t1[name].rate, stderr = x.t1[name].stderr,
      greedy = x.greedy[name].rate, exact = x.exact[name] }
  end
  return out
end

local function collect(ctx, rows, runs)
  for _, r in ipairs(runs) do
    line(r)
    rows[#rows + 1] = brief(r)
    ctx:log(rows[#rows])
  end
end

local function find(rows, wanted)
  for _, row in ipairs(rows) do
    local same = true
    for name, value in pairs(wanted) do same = same and row[name] == value end
    if same then return row end
  end
end

-- The smallest width of a ladder with at most 5 % of hallucinations, beside two sizes that its
-- compute would have been optimal for.
local function compute_optimal(p, ctx, values)
  local ladder = study.grid(ctx, merged(values, { width = p.widths, epochs = p.epochs[#p.epochs],
    fraction = p.fractions[1], size = "S" }))
  local out = { ladder = {}, iso = {} }
  print("\nwidths at equal epochs")
  header()
  collect(ctx, out.ladder, ladder)
  for _, row in ipairs(out.ladder) do
    if row.seen.t1 <= 0.05 and (not out.smallest or row.N < out.smallest) then
      out.smallest, out.compute = row.N, row.compute
    end
  end
  if not out.smallest then
    print("no width of the ladder is under 5 %")
    return out
  end
  print(("\nwidths at equal compute, %.3g flops"):format(out.compute))
  header()
  local per_epoch = math.ceil(out.ladder[1].triplets / p.batch)
  for _, row in ipairs(out.ladder) do
    local epochs = math.max(1, math.floor(out.compute / (6 * row.N * row.tokens) + 0.5))
    local width = math.tointeger(tonumber(row.size:sub(2)))
    if epochs * per_epoch <= p.longest then
      collect(ctx, out.iso, study.grid(ctx, merged(values, { width = width, epochs = epochs,
        fraction = p.fractions[1], size = "S" })))
    end
  end
  for _, row in ipairs(out.iso) do
    if not out.best_loss or row.held_out < out.best_loss then
      out.best_loss, out.by_loss = row.held_out, row.N
    end
  end
  out.by_tokens = math.sqrt(out.compute / 120) -- 6 N D = compute with D = 20 N
  print(("smallest under 5 %%: %d parameters; with that compute held-out loss is least at %d, "
    .. "and N = tokens / 20 is %.0f: %.2g and %.2g times as large"):format(out.smallest,
    out.by_loss, out.by_tokens, out.smallest / out.by_loss, out.smallest / out.by_tokens))
  return out
end

-- Rate and held-out loss over the size, at equal epochs and at equal compute.
local function draw_optimal(ctx, o)
  local function curve(rows, label, field)
    local s = { x = {}, y = {}, label = label }
    for i, row in ipairs(rows) do s.x[i], s.y[i] = row.N, field(row) end
    return #s.x > 0 and s or nil
  end
  local function rate(row) return row.seen.t1 end
  local function loss(row) return row.held_out end
  local rates = { curve(o.ladder, "equal epochs", rate), curve(o.iso, "equal compute", rate) }
  local losses = { curve(o.ladder, "equal epochs", loss), curve(o.iso, "equal compute", loss) }
  ctx:figure("sizes", ml.plot.grid {
    ml.plot.lines { series = rates, log = "x", xlabel = "parameters",
      ylabel = "hallucinations, T = 1", title = "facts that were told" },
    ml.plot.lines { series = losses, log = "x", xlabel = "parameters",
      ylabel = "nats a token", title = "loss on held-out facts" } })
end

local function draw(ctx, p, rows, graph)
  local series = {}
  for _, fraction in ipairs(p.fractions) do
    for _, size in ipairs(p.sizes) do
      local s = { x = {}, y = {}, label = ("%s, %g of the data"):format(size, fraction) }
      for _, row in ipairs(rows) do
        if row.graph == graph and row.size == size and row.fraction == fraction
          and row.asked_epochs > 0 then
          s.x[#s.x + 1], s.y[#s.y + 1] = row.compute, row.seen.t1
        end
      end
      if #s.x > 0 then series[#series + 1] = s end
    end
  end
  ctx:figure("rates_" .. graph, ml.plot.lines { series = series, log = "x",
    xlabel = "compute 6 N D E (flops)", ylabel = "hallucinations, T = 1",
    title = "facts that were told: " .. graph })
end

local function has(list, wanted)
  for _, x in ipairs(list) do
    if x == wanted then return true end
  end
end
local function all_epochs(p)
  return has(p.epochs, 20) and has(p.epochs, 60) and p.epochs[#p.epochs] == 100
end

-- The graph of which the claims speak: 1057 triplets, give or take, in the first fraction.
local function synthetic(p)
  return has(p.graphs, "synthetic") and p.fractions[1] * p.subjects == 200 and p.pool == 200
end
local function standard(p)
  return synthetic(p) and all_epochs(p) and has(p.sizes, "XS") and has(p.sizes, "S")
end
local function wordnet(p)
  return has(p.graphs, "wordnet") and p.fractions[1] * p.triplets == 1000 and all_epochs(p)
    and has(p.wordnet_sizes, "S") and has(p.wordnet_sizes, "M")
end
local function four_times(p) return p.fractions[2] == 4 * p.fractions[1] end

local function cell(r, size, epochs, graph)
  return find(r.rows, { graph = graph or "synthetic", size = size, asked_epochs = epochs })
    or error(("no run of %s at %d epochs"):format(size, epochs))
end

local function least(r, fn, graph)
  local low = math.huge
  for _, row in ipairs(r.rows) do
    if row.graph == (graph or "synthetic") then low = math.min(low, fn(row)) end
  end
  return low
end

-- The least fall of the rate with epochs, and with size.
local function by_epochs(r, sizes, graph)
  local low = math.huge
  for _, size in ipairs(sizes) do
    local function t1(epochs) return cell(r, size, epochs, graph).seen.t1 end
    low = math.min(low, t1(20) - t1(60), t1(60) - t1(100))
  end
  return low
end
local function by_size(r, small, large, graph)
  local low = math.huge
  for _, epochs in ipairs { 20, 60, 100 } do
    low = math.min(low, cell(r, small, epochs, graph).seen.t1
      - cell(r, large, epochs, graph).seen.t1)
  end
  return low
end

-- The rise of the rate with four times the data at equal updates.
local function more_data(size, graph)
  return function(r, p)
    return find(r.rows, { graph = graph, size = size, fraction = p.fractions[2] }).seen.t1
      - cell(r, size, 100, graph).seen.t1
  end
end

-- All runs, two at a time on two threads; those at equal compute cost what the ladder's fifth does.
local function estimate(p)
  local bytes, seconds = 0, 0
  local function add(graph, values, times)
    local all = merged({ graph = graph, subjects = p.subjects, triplets = p.triplets, width = 0,
      steps = 0, epochs = 1, batch = p.batch, size = "S", fraction = p.fractions[1] }, values)
    local e = study.estimate(all)
    bytes, seconds = math.max(bytes, e.bytes), seconds + e.seconds * (times or 1)
  end
  for _, graph in ipairs(p.graphs) do
    for _, size in ipairs(graph == "synthetic" and p.sizes or p.wordnet_sizes) do
      for _, epochs in ipairs(p.epochs) do add(graph, { size = size, epochs = epochs }) end
      add(graph, { size = size, epochs = p.epochs[#p.epochs] }, #p.fractions - 1)
    end
    for _, width in ipairs(graph == "synthetic" and p.widths or {}) do
      add(graph, { width = width, epochs = p.epochs[#p.epochs] })
      add(graph, { width = 64, epochs = p.epochs[#p.epochs] }, 2)
    end
  end
  local workers = ml.threads()
  return { bytes = bytes * workers, seconds = seconds / workers }
end

local calibrated = "an independent run of this design"
local pilot = "a pilot of this recipe with seed 101"

return recipe.define {
  name = "kg_hallucination",
  source = "Hron et al. 2024 (arXiv 2408.07852), at the scale of a laptop",
  params = {
    graphs = { { "synthetic", "wordnet" }, "synthetic, wordnet" },
    subjects = { 800, "of the synthetic graph", min = 10 },
    pool = { 200, "objects of its predicates", min = 4 },
    triplets = { 4000, "of wordnet", min = 100 },
    sizes = { { "XS", "S" }, "models", choices = { "XS", "S", "M", "L" } },
    wordnet_sizes = { { "S", "M" }, "models on wordnet", choices = { "XS", "S", "M", "L" } },
    epochs = { { 20, 60, 100 }, "passes over the data", min = 1 },
    fractions = { { 0.25, 1.0 }, "of the seen subjects, ascending; the first one is trained at all "
      .. "epochs, the others for as many updates as the first at most epochs", above = 0, max = 1 },
    widths = { { 16, 24, 32, 48, 64, 96 }, "of depth 2, to find the smallest under 5 %", min = 4 },
    longest = { 30000, "updates of a width at equal compute, others are left out", min = 1 },
    batch = { 64, "triplets of an update", min = 1 },
    samples = { 4, "of each prompt", min = 1 },
    seed = { 1, "of graph, split, models and samples" },
  },
  smoke = { graphs = { "synthetic" }, subjects = 40, pool = 20, sizes = { "XS" },
    epochs = { 2, 4 }, widths = { 8, 16 }, longest = 50, samples = 2 },
  full = { subjects = 3200, triplets = 16000, sizes = { "XS", "S", "M", "L" },
    fractions = { 0.0625, 0.25, 1.0 }, wordnet_sizes = { "S", "M", "L" }, seeds = { 1, 2, 3 } },
  estimate = estimate,
  run = function(p, ctx)
    local result = { rows = {} }
    for _, graph in ipairs(p.graphs) do
      local values = { graph = graph, subjects = p.subjects, pool = p.pool, triplets = p.triplets,
        batch = p.batch, samples = p.samples, packed = graph == "wordnet" }
      local sizes = graph == "synthetic" and p.sizes or p.wordnet_sizes
      header()
      collect(ctx, result.rows, study.grid(ctx, merged(values, { size = sizes, epochs = p.epochs,
        fraction = p.fractions[1] })))
      local steps = result.rows[#result.rows].steps
      for i = 2, #p.fractions do
        collect(ctx, result.rows, study.grid(ctx, merged(values, { size = sizes, steps = steps,
          fraction = p.fractions[i] })))
      end
      if graph == "synthetic" then
        result.optimal = compute_optimal(p, ctx, values)
        draw_optimal(ctx, result.optimal)
      end
      draw(ctx, p, result.rows, graph)
    end
    return result
  end,
  claims = {
    { name = "seen: S at 100 epochs, T = 1", kind = "calibrated", source = calibrated, seeds = 3,
      when = standard, at_most = 0.10, measure = function(r) return cell(r, "S", 100).seen.t1 end },
    { name = "seen: S at 100 epochs, greedy", kind = "calibrated", source = calibrated, seeds = 3,
      when = standard, at_most = 0.01,
      measure = function(r) return cell(r, "S", 100).seen.greedy end },
    { name = "seen: XS at 100 epochs, T = 1", kind = "calibrated", source = calibrated, seeds = 3,
      when = standard, expected = 0.575, tolerance = 0.175,
      measure = function(r) return cell(r, "XS", 100).seen.t1 end },
    { name = "seen: least fall of the rate from 20 to 60 to 100 epochs, of XS and S",
      kind = "calibrated", seeds = 3, source = "Hron et al. 2024: longer training, fewer",
      when = standard, at_least = 0,
      measure = function(r) return by_epochs(r, { "XS", "S" }) end },
    { name = "seen: least fall of the rate from XS to S, at 20, 60 and 100 epochs",
      kind = "calibrated", source = "Hron et al. 2024: larger models hallucinate less", seeds = 3,
      when = standard, at_least = 0, measure = function(r) return by_size(r, "XS", "S") end },
    { name = "least rate of partly visible and invisible facts, T = 1", kind = "calibrated",
      source = calibrated, seeds = 3, when = standard, at_least = 0.90, measure = function(r)
        return least(r, function(x) return math.min(x.partial.t1, x.invisible.t1) end)
      end },
    { name = "least excess over the most frequent object, partly visible and invisible, T = 1",
      kind = "calibrated", source = calibrated, seeds = 3, when = standard, at_least = -0.1,
      measure = function(r)
        return least(r, function(x)
          return math.min(x.partial.t1 - x.guess.partial, x.invisible.t1 - x.guess.invisible)
        end)
      end },
    { name = "S: rise of the rate with four times the data at equal updates", kind = "calibrated",
      source = "Hron et al. 2024: more data, more hallucinations", seeds = 3,
      when = function(p) return standard(p) and four_times(p) end,
      at_least = 0.3, measure = more_data("S", "synthetic") },
    { name = "least rate at T = 1 minus greedy, seen", kind = "calibrated", seeds = 3,
      source = calibrated, when = standard, at_least = 0, measure = function(r)
        return least(r, function(x) return x.seen.t1 - x.seen.greedy end)
      end },
    { name = "log10 of the smallest size under 5 % over the size of least held-out loss",
      kind = "paper", source = "Hron et al. 2024: about an order of magnitude", expected = 1,
      tolerance = 0.5, when = synthetic, measure = function(r)
        return r.optimal.smallest and math.log(r.optimal.smallest / r.optimal.by_loss, 10) or 0 / 0
      end },
    { name = "log10 of the smallest size under 5 % over tokens / 20", kind = "paper", expected = 1,
      tolerance = 0.5, source = "Hron et al. 2024; Hoffmann et al. 2022", when = synthetic,
      measure = function(r)
        return r.optimal.smallest and math.log(r.optimal.smallest / r.optimal.by_tokens, 10)
          or 0 / 0
      end },
    { name = "wordnet, seen: S at 100 epochs, T = 1", kind = "calibrated", source = pilot,
      seeds = 3, when = wordnet, at_most = 0.10,
      measure = function(r) return cell(r, "S", 100, "wordnet").seen.t1 end },
    { name = "wordnet, seen: M at 100 epochs, T = 1", kind = "calibrated", source = pilot,
      seeds = 3, when = wordnet, at_most = 0.05,
      measure = function(r) return cell(r, "M", 100, "wordnet").seen.t1 end },
    { name = "wordnet, seen: S at 100 epochs, greedy", kind = "calibrated", source = pilot,
      seeds = 3, when = wordnet, at_most = 0.01,
      measure = function(r) return cell(r, "S", 100, "wordnet").seen.greedy end },
    { name = "wordnet: least fall of the rate from 20 to 60 to 100 epochs, of S and M",
      kind = "calibrated", source = pilot, seeds = 3, when = wordnet, at_least = 0,
      measure = function(r) return by_epochs(r, { "S", "M" }, "wordnet") end },
    { name = "wordnet: least fall of the rate from S to M, at 20, 60 and 100 epochs",
      kind = "calibrated", source = pilot, seeds = 3, when = wordnet, at_least = 0,
      measure = function(r) return by_size(r, "S", "M", "wordnet") end },
    { name = "wordnet: least rate of partly visible and invisible facts, T = 1",
      kind = "calibrated", source = pilot, seeds = 3, when = wordnet, at_least = 0.95,
      measure = function(r)
        return least(r, function(x) return math.min(x.partial.t1, x.invisible.t1) end, "wordnet")
      end },
    { name = "wordnet, S: rise of the rate with four times the data at equal updates",
      kind = "calibrated", source = pilot, seeds = 3, at_least = 0.3,
      when = function(p) return wordnet(p) and four_times(p) end,
      measure = more_data("S", "wordnet") },
    { name = "wordnet, M: rise of the rate with four times the data at equal updates",
      kind = "calibrated", source = pilot, seeds = 3, at_least = 0.2,
      when = function(p) return wordnet(p) and four_times(p) end,
      measure = more_data("M", "wordnet") },
  },
}
