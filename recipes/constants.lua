--- Do constants of the learning rate per type of layer, tuned at one width, help at every width?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local contexts = require "moonlab.proxies.contexts"

local types = { "embedding", "hidden", "readout" }

-- Mean loss over seeds; training that diverged has none.
local function loss_of(p, width, lr, gamma, seeds)
  local sum = 0
  for _, seed in ipairs(seeds) do
    sum = sum + contexts.train { width = width, lr = lr, steps = p.steps, seed = seed,
      parameterization = { name = p.parameterization, align = p.align, optimizer = "adam",
        base_width = p.widths[1], gamma = gamma } }
  end
  return sum / #seeds
end

local function key_of(width, lr, gamma, seeds)
  return ("%d %.17g %.17g %.17g %.17g %s"):format(width, lr, gamma.embedding, gamma.hidden,
    gamma.readout, table.concat(seeds, " "))
end

-- Best learning rate and its loss over the grid, nan where it is not bracketed.
local function sweep(p, ctx, width, gamma, seeds)
  local rates, loss = {}, {}
  for k = p.low, p.high do
    local lr = 2.0 ^ k
    rates[#rates + 1] = lr
    loss[#loss + 1] = ctx:once(key_of(width, lr, gamma, seeds), function()
      return loss_of(p, width, lr, gamma, seeds)
    end)
  end
  local best, value = ml.proxies.optimal_lr(rates, loss)
  return best or 0 / 0, best and value or 0 / 0
end

-- Random search around the learning rate `lr`. What the constants have in common is a learning
-- rate, so that it is taken out: their geometric mean is 1.
local function search(p, ctx, lr, seeds)
  local g, best, found = ml.rng(p.seed):fold "constants", math.huge, nil
  for trial = 1, p.trials do
    local u, drawn, mean = g:uniform { 3 }:totable(), {}, 1
    for i, kind in ipairs(types) do
      drawn[kind] = p.span ^ (2 * u[i] - 1)
      mean = mean * drawn[kind] ^ (1 / 3)
    end
    local loss = ctx:once(key_of(p.search_width, lr, drawn, seeds), function()
      return loss_of(p, p.search_width, lr, drawn, seeds)
    end)
    ctx:log { trial = trial, loss = loss, embedding = drawn.embedding, hidden = drawn.hidden,
      readout = drawn.readout }
    if loss < best then
      best, found = loss, {}
      for kind, x in pairs(drawn) do found[kind] = x / mean end
    end
  end
  if not found then error("every trial of the search diverged", 0) end
  return found
end

local function exponent(p, best)
  local x, y = {}, {}
  for i, lr in ipairs(best) do
    if lr == lr then x[#x + 1], y[#y + 1] = p.widths[i], lr end
  end
  if #x < 2 then return 0 / 0, 0 / 0 end
  return ml.fit.power_law(x, y)
end

local source = "Everett et al. 2024, section 4"

local function exponent_of(arm)
  return function(r) return r[arm].exponent, r[arm].stderr end
end

return recipe.define {
  name = "constants",
  source = source,
  params = {
    widths = { { 32, 64, 128, 256 }, "the first is the base width", min = 16 },
    search_width = { 64, "width at which the constants are tuned", min = 16 },
    trials = { 60, "constants drawn", min = 1 },
    span = { 10.0, "constants are drawn between 1/span and span, uniformly in the logarithm",
      above = 1 },
    repeats = { 2, "seeds that are averaged, others than those of the search", min = 1 },
    parameterization = { "standard", "", choices = { "standard", "ntk", "mup", "mean_field" } },
    align = { "full", "", choices = { "full", "none" } },
    low = { -13, "log2 of the least learning rate" },
    high = { -3, "log2 of the largest" },
    steps = { 120, "updates", min = 2 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { widths = { 16, 32 }, search_width = 16, trials = 3, repeats = 1, low = -9, high = -1,
    steps = 10 },
  full = { seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local tuning, seeds = { 1000 * p.seed }, {}
    for i = 1, p.repeats do seeds[i] = 1000 * p.seed + i end
    local one = { embedding = 1, hidden = 1, readout = 1 }
    local lr = sweep(p, ctx, p.search_width, one, tuning)
    if lr ~= lr then
      error("the best learning rate of the search's width is not bracketed", 0)
    end
    local gamma = search(p, ctx, lr, tuning)
    print(("constants embedding %.3f, hidden %.3f, readout %.3f, tuned at width %d"):format(
      gamma.embedding, gamma.hidden, gamma.readout, p.search_width))
    local result, series = { gamma = gamma }, {}
    print(("%-6s %5s %12s %8s"):format("", "width", "log2 best lr", "loss"))
    for _, arm in ipairs { { "ones", one }, { "tuned", gamma } } do
      local best, loss = {}, {}
      for i, width in ipairs(p.widths) do
        best[i], loss[i] = sweep(p, ctx, width, arm[2], seeds)
        print(("%-6s %5d %12.2f %8.4f"):format(arm[1], width, math.log(best[i], 2), loss[i]))
        ctx:log { arm = arm[1], width = width, best = best[i], loss = loss[i] }
      end
      local slope, stderr = exponent(p, best)
      result[arm[1]] = { best = best, loss = loss, exponent = slope, stderr = stderr }
      series[#series + 1] = { x = p.widths, y = loss, label = arm[1] }
    end
    ctx:figure("loss", ml.plot.lines { series = series, log = "xy", xlabel = "width",
      ylabel = "best excess loss", title = "constants per type of layer" })
    return result
  end,
  claims = {
    { name = "best loss with tuned constants over that with ones, worst width",
      kind = "exploratory", source = source, at_most = 1, measure = function(r)
        local worst = -math.huge
        for i, loss in ipairs(r.tuned.loss) do
          local ratio = loss / r.ones.loss[i]
          if ratio ~= ratio then return ratio end
          worst = math.max(worst, ratio)
        end
        return worst
      end },
    { name = "exponent of the best learning rate, constants 1", kind = "exploratory",
      source = source, expected = -0.175, tolerance = 0.475, measure = exponent_of "ones" },
    { name = "exponent of the best learning rate, tuned constants", kind = "exploratory",
      source = source, expected = -0.175, tolerance = 0.475, measure = exponent_of "tuned" },
  },
}
