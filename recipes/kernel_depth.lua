--- What does depth do to the kernel of a wide network: order, chaos, or the edge between them?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

-- Correlations after 1..depth layers for pairs that start at rho, at the variance where the
-- network settles; nil when the variance does not settle.
local function settle(act, w2, b2)
  local v = 1.0
  for _ = 1, 2000 do
    local next_v = w2 * act:dual { c = v, a = v, b = v } + b2
    if not (next_v < 1e6) then return nil end
    if math.abs(next_v - v) <= 1e-13 * v then return next_v end
    v = next_v
  end
  return v
end

local function correlations(act, w2, b2, v, rhos, depth)
  local rho = ml.f64(rhos)
  local variance = ml.full({ #rhos }, v)
  local map = { rho:totable() }
  for layer = 1, depth do
    local kappa = act:dual { c = rho * v, a = variance, b = variance }
    rho = ((kappa * w2 + b2) / v):clamp(-1, 1)
    map[layer + 1] = rho:totable()
  end
  return map
end

-- The slope of the correlation map at rho = 1: below 1 order, above it chaos.
local function slope_at_one(act, w2, v)
  local _, dot = act:dual { c = v, a = v, b = v }
  return w2 * dot
end

local function column(map, i)
  local list = {}
  for l, row in ipairs(map) do list[l] = row[i] end
  return list
end

-- Share of digits told right, and the condition number, of NNGP regression at some depths.
local function digits(p, act, w2, b2, depths, data)
  local accuracy, condition = {}, {}
  for i, depth in ipairs(depths) do
    ml.scope(function()
      local layers = {}
      for _ = 1, depth do
        layers[#layers + 1] = k.dense { w_std = math.sqrt(w2), b_std = math.sqrt(b2) }
        layers[#layers + 1] = act
      end
      local net = k.serial(layers)
      local K = net:nngp(data.X)
      local alpha, info = ml.solve.krr(K, data.y, { ridge = p.ridge, relative = true,
        condition = true })
      local found = net:nngp(data.X_test, data.X):matmul(alpha):argmax(2)
      accuracy[i] = found:eq(data.labels):to("f64"):mean():item()
      condition[i] = info.condition
    end)
  end
  return accuracy, condition
end

local function load_digits(p)
  local set, why = ml.data.images("digits", { train = p.train, test = p.test, seed = p.seed,
    standardize = "global" })
  if not set then error(why, 0) end
  local function flat(part)
    return part.images:to("f64"):reshape { part.images:size(1), -1 }
  end
  return { X = flat(set.train), y = set.train.labels:one_hot(10) - 0.1, X_test = flat(set.test),
    labels = set.test.labels }
end

return recipe.define {
  name = "kernel_depth",
  source = "Poole et al. 2016; Schoenholz et al. 2017; Lee et al. 2018",
  params = {
    depth = { 50, "layers of the maps that are drawn", min = 4 },
    far = { 4000, "layers of the map whose exponent is fitted, over the upper three quarters",
      min = 100 },
    rhos = { { -0.9, -0.5, 0.0, 0.5, 0.9 }, "correlations to start from", min = -1, max = 1 },
    grid = { 13, "weight variances of the phase diagram", min = 3 },
    depths = { { 1, 2, 4, 8, 16, 32, 50 }, "layers of the networks that read digits", min = 1 },
    train = { 500, "digits to train on", min = 20, max = 1500 },
    test = { 297, "digits to test on", min = 20 },
    ridge = { 1e-6, "times trace(K)/n", above = 0 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { depth = 12, grid = 4, depths = { 1, 4 }, train = 60, test = 60 },
  full = { grid = 41, train = 1400, test = 397, seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local relu, erf, gelu = k.act "relu", k.act "erf", k.act "gelu"
    local result, curves = {}, {}
    -- relu at its edge (w^2 = 2): 1 - rho falls as a power of the depth
    local map = correlations(relu, 2, 0, 1, p.rhos, p.depth)
    for i, rho in ipairs(p.rhos) do
      curves[i] = { x = ml.arange(0, p.depth):totable(), y = column(map, i), value = rho }
    end
    ctx:figure("relu", ml.plot.lines { series = curves, sequential = true, zlabel = "at the start",
      xlabel = "layers", ylabel = "correlation", title = "relu, w_std^2 = 2" })
    local layers, rest, far = {}, {}, correlations(relu, 2, 0, 1, { 0 }, p.far)
    for l = p.far // 4, p.far, p.far // 50 do
      layers[#layers + 1], rest[#rest + 1] = l, 1 - far[l + 1][1]
    end
    result.power, result.power_stderr = ml.fit.power_law(layers, rest)
    -- erf on both sides of its edge: rates towards rho = 1, where it is the slope there
    local w2, z = {}, {}
    for i = 1, p.grid do w2[i] = 0.25 + 3.75 * (i - 1) / (p.grid - 1) end
    local b2 = { 0.0025, 0.01, 0.04, 0.09, 0.16, 0.25, 0.36 }
    result.wrong = 0
    for row, b in ipairs(b2) do
      z[row] = {}
      for i, w in ipairs(w2) do
        local v = settle(erf, w, b)
        z[row][i] = slope_at_one(erf, w, v)
        local last = correlations(erf, w, b, v, { 0.3 }, 600)[601][1]
        if math.abs(z[row][i] - 1) > 0.05 and (z[row][i] < 1) ~= (1 - last < 1e-6) then
          result.wrong = result.wrong + 1
        end
      end
    end
    ctx:figure("erf", ml.plot.heatmap { z = z, x = w2, y = b2, cmap = "diverging", center = 1,
      xlabel = "w_std^2", ylabel = "b_std^2", zlabel = "slope at 1",
      title = "erf: ordered (< 1) and chaotic (> 1)" })
    local v = settle(erf, 1, 0.04)
    local path, late = column(correlations(erf, 1, 0.04, v, { 0.3 }, 400), 1), 1
    while 1 - path[late] > 1e-6 do late = late + 1 end
    result.rate = (1 - path[late + 1]) / (1 - path[late])
    result.slope = slope_at_one(erf, 1, v)
    -- digits through deep networks, on both sides and at the edge
    local data, lines, conditions = load_digits(p), {}, {}
    for name, set in ml.sorted { ["relu, edge"] = { relu, 2, 0 }, ["erf, order"] = { erf, 1, 0.04 },
      ["erf, chaos"] = { erf, 3, 0.04 }, ["gelu"] = { gelu, 1.5, 0.1 } } do
      local accuracy, condition = digits(p, set[1], set[2], set[3], p.depths, data)
      lines[#lines + 1] = { x = p.depths, y = accuracy, label = name }
      conditions[#conditions + 1] = { x = p.depths, y = condition, label = name }
      for i, depth in ipairs(p.depths) do
        ctx:log { net = name, depth = depth, accuracy = accuracy[i], condition = condition[i] }
      end
      print(("%-11s accuracy %.3f at depth %d, %.3f at %d; condition %.1e, %.1e"):format(name,
        accuracy[1], p.depths[1], accuracy[#accuracy], p.depths[#p.depths], condition[1],
        condition[#condition]))
      result[name] = { accuracy = accuracy, condition = condition }
    end
    ctx:figure("digits", ml.plot.grid {
      ml.plot.lines { series = lines, log = "x", xlabel = "layers", title = "accuracy on digits" },
      ml.plot.lines { series = conditions, log = "xy", xlabel = "layers",
        title = "condition number with the ridge" } })
    local chaos = result["erf, chaos"].accuracy
    result.lost = chaos[1] - chaos[#chaos]
    return result
  end,
  claims = {
    { name = "relu at w_std^2 = 2: exponent of 1 - correlation in the depth", kind = "theory",
      source = "Hayou et al. 2019, Proposition 1", expected = -2, tolerance = 0.25,
      measure = function(r) return r.power, r.power_stderr end },
    { name = "erf, ordered: factor a layer of 1 - correlation over the slope at 1",
      kind = "theory", source = "Schoenholz et al. 2017, Equation 9", expected = 1,
      tolerance = 1e-3, measure = function(r) return r.rate / r.slope end },
    { name = "erf: places of the phase diagram where the slope at 1 foretells the wrong phase",
      kind = "theory", source = "Poole et al. 2016", at_most = 0,
      measure = function(r) return r.wrong end },
    { name = "erf, chaotic: accuracy that depth costs", kind = "exploratory",
      source = "Schoenholz et al. 2017", at_least = 0.3, measure = function(r) return r.lost end },
  },
}
