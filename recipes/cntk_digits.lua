--- How well does the exact kernel of a wide convolutional network read digits?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

-- Myrtle-5 (Shankar et al. 2020) for 8x8 images: one pooling at the end instead of three.
local function myrtle5()
  local conv, relu = k.conv { kernel = 3, w_std = math.sqrt(2) }, k.act "relu"
  local pool = k.avg_pool(2)
  return k.serial { conv, relu, conv, relu, pool, conv, relu, pool, conv, relu, pool, k.flatten(),
    k.dense { w_std = math.sqrt(2) } }
end

local function spread(low, high, count)
  local list = {}
  for i = 1, count do list[i] = low * (high / low) ^ ((i - 1) / math.max(1, count - 1)) end
  return list
end

-- Accuracy in percent at each ridge, and at the one that leaving one out chooses.
local function read(K, K2, y, labels, ridges)
  local path = ml.solve.krr_path(K, y, { ridges = ridges, relative = true })
  local list = {}
  for i = 1, #ridges do
    list[i] = 100 * K2:matmul(path:alpha(i)):argmax(2):eq(labels):to("f64"):mean():item()
  end
  return list, list[path.best], path.condition[path.best]
end

local function range(list)
  return math.min(table.unpack(list)), math.max(table.unpack(list))
end

return recipe.define {
  name = "cntk_digits",
  source = "Arora et al. 2019; Shankar et al. 2020; Han et al. 2022 (arXiv 2209.04121)",
  params = {
    train = { 150, "digits to train on", min = 20, max = 1600 },
    test = { 150, "digits to test on", min = 20, max = 1777 },
    ridges = { spread(1e-6, 1e-2, 5), "times trace(K)/n", above = 0 },
    dtype = { "f64", "of the kernels", choices = { "f64", "f32" } },
    seed = { 1, "of the split" },
  },
  smoke = { train = 24, test = 24 },
  full = { train = 1437, test = 360, seeds = { 1, 2, 3 } },
  estimate = function(p)
    local n = p.train + p.test
    return { bytes = 60e6 + 8 * (8 * p.train ^ 2 + 2 * p.train * p.test),
      seconds = 1 + 2e-5 * (p.train ^ 2 / 2 + p.train * p.test) + n * 1e-4
        + 20 * p.train ^ 3 / 5e9 }
  end,
  run = function(p, ctx)
    local set, why = ml.data.images("digits", { train = p.train, test = p.test, seed = p.seed,
      standardize = "global" })
    if not set then error(why, 0) end
    local X, X2 = set.train.images:to(p.dtype), set.test.images:to(p.dtype)
    local y = set.train.labels:one_hot(10) - 0.1
    local net = myrtle5()
    local start = ml.now()
    local K, T = net:both(X)
    local K2, T2 = net:both(X2, X)
    local seconds = ml.now() - start
    local pairs_computed = p.train * (p.train + 1) / 2 + p.train * p.test
    local result = { seconds = seconds, us_per_pair = seconds / pairs_computed * 1e6 }
    local series = {}
    for name, M in ml.sorted { nngp = { K, K2 }, ntk = { T, T2 } } do
      local list, chosen, condition = read(M[1]:to "f64", M[2]:to "f64", y, set.test.labels,
        p.ridges)
      result[name], result[name .. "_chosen"] = list, chosen
      result[name .. "_low"], result[name .. "_high"] = range(list)
      series[#series + 1] = { x = p.ridges, y = list, label = name:upper() }
      print(("%-5s %.2f to %.2f %% right over the ridges, %.2f %% at the one chosen by leaving one "
        .. "out (condition %.1e)"):format(name:upper(), result[name .. "_low"],
        result[name .. "_high"], chosen, condition))
      ctx:log { kernel = name, chosen = chosen, condition = condition }
    end
    print(("%d pairs in %s, %.1f us a pair"):format(pairs_computed,
      ml.progress.duration(seconds), result.us_per_pair))
    ctx:figure("accuracy", ml.plot.lines { series = series, log = "x",
      xlabel = "ridge / (trace K / n)", ylabel = "% right",
      title = ("Myrtle-5, %d digits to train on"):format(p.train) })
    return result
  end,
  claims = {
    { name = "NTK, 150 to train on: % right (mean of the ridges)", kind = "calibrated",
      source = "Arora et al. 2019", expected = 98, tolerance = 1.5, seeds = 3,
      when = function(p) return p.train == 150 and p.test == 150 end,
      measure = function(r) return (ml.stats.mean(r.ntk)) end },
    { name = "NNGP, 150 to train on: % right (mean of the ridges)", kind = "calibrated",
      source = "Novak et al. 2019", expected = 99, tolerance = 1.5, seeds = 3,
      when = function(p) return p.train == 150 and p.test == 150 end,
      measure = function(r) return (ml.stats.mean(r.nngp)) end },
    { name = "80 % of all digits to train on: % right of the NTK", kind = "calibrated",
      source = "Arora et al. 2019", at_least = 98, seeds = 3,
      when = function(p) return p.train == 1437 end,
      measure = function(r) return r.ntk_chosen end },
  },
}
