--- Which kernels of wide multilayer networks read digits, and do NNGP and NTK differ?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

-- Accuracies of NNGP and NTK in percent from an independent calculation on one split.
local networks = {
  { name = "linear", depth = 0, w = 1, b = 0, nngp = 92.6, ntk = 92.6 },
  { name = "relu, 1 layer", act = "relu", depth = 1, w = math.sqrt(2), b = 0.1, nngp = 99.4,
    ntk = 99.1 },
  { name = "relu, 3 layers", act = "relu", depth = 3, w = math.sqrt(2), b = 0.1, nngp = 99.3,
    ntk = 99.0 },
  { name = "erf, 1 layer", act = "erf", depth = 1, w = 1.5, b = 0.1, nngp = 99.1, ntk = 99.1 },
  { name = "gelu, 2 layers", act = "gelu", depth = 2, w = math.sqrt(2), b = 0.1, nngp = 99.3,
    ntk = 99.1 },
  { name = "sin, 1 layer", act = "sin", depth = 1, w = 1, b = 0.1, nngp = 99.4, ntk = 99.4 },
  { name = "rbf, 1 layer", act = "rbf", o = { gamma = 0.5 }, depth = 1, w = 1, b = 0, nngp = 99.3,
    ntk = 99.4 },
  { name = "exp_normalized, 2 layers", act = "exp_normalized", depth = 2, w = 1, b = 0,
    nngp = 99.1, ntk = 99.1 },
}

local function network(c)
  local layers = {}
  for _ = 1, c.depth do
    layers[#layers + 1] = k.dense { w_std = c.w, b_std = c.b }
    layers[#layers + 1] = k.act(c.act, c.o)
  end
  layers[#layers + 1] = k.dense { w_std = c.w, b_std = c.b }
  return k.serial(layers)
end

local function accuracy(K, K2, y, labels, ridge)
  local alpha, info = ml.solve.krr(K, y, { ridge = ridge, relative = true, condition = true })
  local right = K2:matmul(alpha):argmax(2):eq(labels):to("f64"):mean():item()
  return 100 * right, info.condition
end

local function whole(p) return p.train == 1000 and p.test == 797 end

local claims = {
  { name = "points by which the linear kernel is last", kind = "calibrated",
    source = "Han et al. 2022", at_least = 5, seeds = 3, when = whole,
    measure = function(r) return r.margin end },
}
for i, c in ipairs(networks) do
  for _, kind in ipairs { "nngp", "ntk" } do
    claims[#claims + 1] = { name = ("%s, %s: %% right"):format(c.name, kind:upper()),
      kind = "calibrated", source = "an independent calculation on another split",
      expected = c[kind], tolerance = 0.5, seeds = 3, when = whole,
      measure = function(r) return r[kind][i] end }
  end
end

return recipe.define {
  name = "mlp_kernels_digits",
  source = "Lee et al. 2020 (arXiv 2007.15801); Han et al. 2022 (arXiv 2209.04121)",
  params = {
    train = { 1000, "digits to train on", min = 20, max = 1600 },
    test = { 797, "digits to test on", min = 20, max = 1777 },
    ridge = { 1e-4, "times trace(K)/n", above = 0 },
    seed = { 1, "of the split" },
  },
  smoke = { train = 100, test = 100 },
  full = { seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local set, why = ml.data.images("digits", { train = p.train, test = p.test, seed = p.seed,
      standardize = "global" })
    if not set then error(why, 0) end
    local function flat(part)
      return part.images:to("f64"):reshape { part.images:size(1), -1 }
    end
    local X, X2, labels = flat(set.train), flat(set.test), set.test.labels
    local y = set.train.labels:one_hot(10) - 0.1
    local result = { nngp = {}, ntk = {} }
    local names = {}
    print(("%-26s %8s %8s %12s"):format("network", "NNGP", "NTK", "condition"))
    for i, c in ipairs(networks) do
      ml.scope(function()
        local net = network(c)
        local K, T = net:both(X)
        local K2, T2 = net:both(X2, X)
        local condition
        result.nngp[i] = accuracy(K, K2, y, labels, p.ridge)
        result.ntk[i], condition = accuracy(T, T2, y, labels, p.ridge)
        print(("%-26s %8.2f %8.2f %12.1e"):format(c.name, result.nngp[i], result.ntk[i],
          condition))
        ctx:log { network = c.name, nngp = result.nngp[i], ntk = result.ntk[i],
          condition = condition }
      end)
      names[i] = c.name
    end
    local rest = math.huge
    for i = 2, #networks do rest = math.min(rest, result.nngp[i], result.ntk[i]) end
    result.margin = rest - math.max(result.nngp[1], result.ntk[1])
    ctx:figure("accuracy", ml.plot.heatmap { z = { result.nngp, result.ntk }, xnames = names,
      ynames = { "NNGP", "NTK" }, values = true, origin = "upper", width = 900, height = 300,
      zlabel = "% right", title = ("%d digits to train on, %d to test"):format(p.train, p.test) })
    return result
  end,
  claims = claims,
}
