--- From how many images on are features of a convolutional NTK made sooner than its exact matrix,
--- by how much, and at what accuracy?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

-- Myrtle-5 (Shankar et al. 2020): poolings at the end until one pixel is left.
local function myrtle5(side)
  local conv, relu = k.conv { kernel = 3, w_std = math.sqrt(2) }, k.act "relu"
  local pool = k.avg_pool(2)
  local layers = { conv, relu, conv, relu, pool, conv, relu, pool, conv, relu }
  side = side // 4
  while side > 1 do
    layers[#layers + 1] = pool
    side = side // 2
  end
  layers[#layers + 1] = k.flatten()
  layers[#layers + 1] = k.dense { w_std = math.sqrt(2) }
  return k.serial(layers)
end

local ridges = { 1e-6, 1e-5, 1e-4, 1e-3, 1e-2 } -- times trace(K)/n

-- Percent right of the exact kernel and of features on the same split, each at the ridge that
-- leaving one out chooses.
local function accuracies(T, Z, labels, train, classes)
  local inside, outside = { 1, train }, { train + 1, #labels }
  local y, rest = labels[{ inside }]:one_hot(classes) - 1 / classes, labels[{ outside }]
  local function right(out) return 100 * out:argmax(2):eq(rest):to("f64"):mean():item() end
  local exact = ml.scope(function()
    local wide = T:to "f64"
    local path = ml.solve.krr_path(wide[{ inside, inside }]:contiguous(), y,
      { ridges = ridges, relative = true })
    return right(wide[{ outside, inside }]:matmul(path:alpha(path.best)))
  end)
  local sketched = ml.scope(function()
    local wide = Z:to "f64"
    local path = ml.solve.ridge(wide[{ inside }]:contiguous(), y, { ridges = ridges,
      relative = true })
    return right(wide[{ outside }]:matmul(path:alpha(path.best)))
  end)
  return exact, sketched
end

-- CPU seconds of all threads: what others do on the machine does not count.
local function seconds(fn)
  local start = ml.cpu_time()
  local out = fn()
  return ml.cpu_time() - start, out
end

local function sizes_of(p, name) return name == "digits" and p.digits or p.procedural end

return recipe.define {
  name = "cntk_speedup",
  source = "Han et al. 2022 (arXiv 2209.04121), Section 5; Zandieh et al. 2021, Section 5.1",
  params = {
    data = { { "digits", "procedural" }, "8x8 digits, 16x16x3 gratings",
      choices = { "digits", "procedural" } },
    digits = { { 200, 500, 1000, 1797 }, "digits", min = 20, max = 1797 },
    procedural = { { 100, 300, 1000 }, "gratings", min = 20 },
    widths = { { 1024, 2048 }, "of the features, between layers and in the end; the claims are "
      .. "about the last", min = 16 },
    large = { 60000, "images to which the times are extrapolated", min = 100 },
    seed = { 1, "of split and features" },
  },
  smoke = { data = { "digits" }, digits = { 40, 80 }, widths = { 32, 64 } },
  full = { seeds = { 1, 2, 3 } },
  estimate = function(p)
    local time, most = 2, 0
    for _, name in ipairs(p.data) do
      local pair = name == "digits" and 2e-5 or 4e-4
      for _, n in ipairs(sizes_of(p, name)) do
        for _, m in ipairs(p.widths) do time = time + 1e-5 * n * m end
        time, most = time + pair * n * n / 2, math.max(most, n)
      end
    end
    local wide = math.max(table.unpack(p.widths))
    return { bytes = 300e6 + 56 * most ^ 2 + 16 * most * wide + 24 * wide ^ 2, seconds = time }
  end,
  run = function(p, ctx)
    local result, series = { ratio = {}, exact = {}, sketch = {}, crossing = {}, projected = {},
      accuracy = {}, slope_exact = {}, slope_sketch = {} }, {}
    for _, name in ipairs(p.data) do
      local sizes = sizes_of(p, name)
      local most = sizes[#sizes]
      local side = name == "digits" and 8 or 16
      local set, why
      if name == "digits" then
        set, why = ml.data.images("digits", { train = most - most // 5, test = most // 5,
          seed = p.seed, standardize = "global" })
      else
        set, why = ml.data.images("procedural", { train = most - most // 5, test = most // 5,
          seed = p.seed, standardize = "global", size = side })
      end
      if not set then error(why, 0) end
      local X = ml.concat({ set.train.images, set.test.images }, 1)
      local labels = ml.concat({ set.train.labels, set.test.labels }, 1)
      local net = myrtle5(side)
      local maps = {}
      local few = X[{ { 1, sizes[1] } }]:contiguous()
      for j, m in ipairs(p.widths) do -- all once before the clock starts
        maps[j] = ml.sketch.features(net, { of = "ntk", dim = m, seed = p.seed })
        ml.scope(function() maps[j](few) end)
      end
      ml.scope(function() net:ntk(few) end)
      local exact, sketch = {}, {} -- of the last width
      for i, n in ipairs(sizes) do
        ml.scope(function()
          local part = X[{ { 1, n } }]:contiguous()
          local K
          exact[i], K = seconds(function() return net:ntk(part) end)
          for j, m in ipairs(p.widths) do
            local Z
            sketch[i], Z = seconds(function()
              local features = maps[j](part)
              local wide = features:to "f64" -- and what ridge regression wants of them
              wide:transpose():matmul(wide)
              return features
            end)
            local speedup = exact[i] / sketch[i]
            print(("%-10s n %5d  exact %7.2f CPU s  width %5d: %7.3f CPU s  ratio %.1f"):format(
              name, n, exact[i], m, sketch[i], speedup))
            ctx:log { data = name, n = n, width = m, exact = exact[i], sketch = sketch[i] }
            if i == #sizes then
              result.ratio[name] = speedup
              local train = n - n // 5
              local a, b = accuracies(K, Z, labels, train, #set.classes)
              local q = ml.sketch.quality(Z, K, { ridge = 1e-3 })
              result.accuracy[name] = { exact = a, sketch = b, error = q.frobenius,
                centred = q.centred }
              print(("%-10s %d to train on, %d to test: exact %.2f %% right, width %d %.2f %%; "
                .. "relative error %.3f, centred %.3f"):format(name, train, n - train, a, m, b,
                q.frobenius, q.centred))
            end
          end
        end)
      end
      result.exact[name], result.sketch[name] = exact, sketch
      if #sizes > 1 then
        local a, b = ml.fit.power_law(sizes, exact), ml.fit.power_law(sizes, sketch)
        result.slope_exact[name], result.slope_sketch[name] = a, b
        -- with the exponents that the operations have: pairs and points
        local pair, point = exact[#exact] / (most * most), sketch[#sketch] / most
        result.crossing[name] = point / pair
        result.projected[name] = pair * p.large / point
        print(("%-10s times grow as n^%.2f and n^%.2f; the last width: equal at about %d images; "
          .. "EXTRAPOLATED to %d: ratio %.0f (the paper: 106 at 32x32 on a GPU)"):format(name, a, b,
          math.ceil(point / pair), p.large, result.projected[name]))
      end
      series[#series + 1] = { x = sizes, y = exact, label = name .. ", exact" }
      series[#series + 1] = { x = sizes, y = sketch, label = name .. ", sketch", dash = true }
    end
    ctx:figure("times", ml.plot.lines { series = series, log = "xy", xlabel = "images",
      ylabel = "CPU seconds", legend = "inside",
      title = ("Myrtle-5, features of width %d"):format(p.widths[#p.widths]) })
    return result
  end,
  claims = (function()
    local list = {}
    for _, case in ipairs { { "digits", "8x8, 1797 digits", 3, 1797 },
      { "procedural", "16x16, 1000 gratings", 5, 1000 } } do
      local name, what, least, n = table.unpack(case)
      local function full(p)
        local has = false
        for _, d in ipairs(p.data) do has = has or d == name end
        local sizes = sizes_of(p, name)
        return has and sizes[#sizes] == n and #sizes > 1
      end
      local function add(text, kind, limits, measure)
        local claim = { name = what .. ": " .. text, kind = kind, source = "Han et al. 2022",
          when = full, measure = measure }
        for key, value in pairs(limits) do claim[key] = value end
        list[#list + 1] = claim
      end
      add("time of the exact kernel over that of features", "calibrated", { at_least = least,
        seeds = 1 }, function(r) return r.ratio[name] end)
      add("points of accuracy lost by features", "calibrated", { at_most = 2, seeds = 1 },
        function(r) return r.accuracy[name].exact - r.accuracy[name].sketch end)
      add("exponent of the exact kernel's time", "theory", { expected = 2, tolerance = 0.15 },
        function(r) return r.slope_exact[name] end)
      add("exponent of the features' time", "theory", { expected = 1, tolerance = 0.1 },
        function(r) return r.slope_sketch[name] end)
    end
    return list
  end)(),
}
