--- Features of all images of a large set, or the exact kernel on a part of them: which reads
--- clothes better, and what does it take?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

local function multilayer(depth)
  local layers, w = {}, math.sqrt(2)
  for _ = 1, depth do
    layers[#layers + 1] = k.dense { w_std = w }
    layers[#layers + 1] = k.act "relu"
  end
  layers[#layers + 1] = k.dense { w_std = w }
  return k.serial(layers)
end

-- Myrtle-5 (Shankar et al. 2020), its last poolings as a mean over all pixels.
local function convolutional()
  local conv, relu = k.conv { kernel = 3, w_std = math.sqrt(2) }, k.act "relu"
  local pool = k.avg_pool(2)
  return k.serial { conv, relu, conv, relu, pool, conv, relu, pool, conv, relu, k.gap(),
    k.dense { w_std = math.sqrt(2) } }
end

local networks = {
  ["relu, 1"] = function() return multilayer(1) end,
  ["relu, 3"] = function() return multilayer(3) end,
  conv = convolutional,
}

local function percent(out, labels)
  return 100 * out:argmax(2):eq(labels):to("f64"):mean():item()
end

local function timed(fn)
  local start, cpu = ml.now(), ml.cpu_time()
  local out = { fn() }
  return ml.now() - start, ml.cpu_time() - cpu, table.unpack(out)
end

-- What fn() needs at its peak beyond what is there, and its results.
local function peak_of(fn)
  ml.memory { reset_peak = true }
  local before = ml.live_bytes()
  local wall, cpu, result = timed(fn)
  return { wall = wall, cpu = cpu, bytes = ml.memory().peak - before }, result
end

local function gigabytes(bytes) return bytes / 1e9 end

return recipe.define {
  name = "fashion_sketch",
  source = "Zandieh et al. 2021 (arXiv 2106.07880); Han et al. 2022; Xiao, Rasul & Vollgraf 2017",
  params = {
    data = { "fashion", "the images", choices = { "fashion", "procedural", "digits" } },
    train = { 60000, "images for the features", min = 100 },
    exact = { 10000, "images for the exact kernel", min = 50 },
    test = { 10000, "images to test on", min = 50 },
    net = { "relu, 1", "the network", choices = { "relu, 1", "relu, 3", "conv" } },
    method = { "polysketch", "of the features", choices = { "polysketch", "direct", "random" } },
    columns = { 4096, "of the features", min = 32 },
    ridges = { { 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1 }, "times trace(K)/n", above = 0 },
    block = { 4000, "images on their way at a time", min = 16 },
    seed = { 1, "of the choice of images and of the features" },
  },
  smoke = { data = "procedural", train = 300, exact = 100, test = 100, columns = 128,
    ridges = { 1e-4, 1e-2 }, block = 128 },
  full = { columns = 8192, exact = 20000, seeds = { 1, 2, 3 } },
  estimate = function(p)
    local n, m, e = p.train, p.columns, p.exact
    return { bytes = 500e6 + 8 * (4 * m ^ 2 + 3.2 * e ^ 2) + 8 * p.block * m * 3,
      seconds = 5 + (2 * n * m ^ 2 + 60 * m ^ 3) / 6e10 + (2 * e ^ 3) / 5e10
        + (p.net == "conv" and 5e-3 * (n + p.test) + 3e-4 * e * (e / 2 + p.test) or 0) }
  end,
  run = function(p, ctx)
    local set, why = ml.data.images(p.data, { train = p.train, test = p.test, seed = p.seed,
      standardize = "global" })
    if not set then error(why, 0) end
    local function points(part)
      if p.net == "conv" then return part.images end
      return part.images:reshape { part.images:size(1), -1 }
    end
    local X, X2 = points(set.train), points(set.test)
    local classes = #set.classes
    local y, labels = set.train.labels:one_hot(classes) - 1 / classes, set.test.labels
    local net = networks[p.net]()
    local map = ml.sketch.features(net, { of = "ntk", dim = p.columns, method = p.method,
      seed = p.seed })
    local cost = map:estimate(X[{ { 1, 64 } }], { n = p.train + p.test })
    print(("%s; features of %d images: about %s, %d at a time"):format(tostring(map),
      p.train + p.test, ml.progress.duration(cost.seconds), p.block))

    -- all images: the features are made, used and dropped a block at a time
    local sketched, right = peak_of(function()
      return ml.scope(function()
        local bar <close> = ml.progress.bar(p.train, "features of all")
        local blocks = map:blocks(X, y, { block = p.block })
        local path = ml.solve.ridge(function(i)
          local Z, target = blocks(i)
          if Z then
            bar:update(math.min(p.train, i * p.block))
            return Z:to "f64", target
          end
        end, nil, { ridges = p.ridges, relative = true })
        local w = path:alpha(path.best)
        local hits = 0
        local test = map:blocks(X2, labels, { block = p.block })
        local i = 1
        while true do
          local Z, target = test(i)
          if not Z then break end
          hits = hits + ml.scope(function()
            return percent(Z:to("f64"):matmul(w), target) / 100 * Z:size(1)
          end)
          i = i + 1
        end
        return { accuracy = 100 * hits / p.test, ridge = p.ridges[path.best] }
      end)
    end)

    local exact, kernel = peak_of(function()
      return ml.scope(function()
        local inside = { { 1, p.exact } }
        local part, target = X[inside]:contiguous(), y[inside]
        local K = net:ntk(part:to "f64")
        -- the ridge by a fifth that is set aside, as the full path would take an eigendecomposition
        local kept = p.exact - p.exact // 5
        local a, b = { 1, kept }, { kept + 1, p.exact }
        local best, chosen = -1, p.ridges[1]
        for _, ridge in ipairs(p.ridges) do
          local found = ml.scope(function()
            local alpha = ml.solve.krr(K[{ a, a }]:contiguous(), target[{ a }],
              { ridge = ridge, relative = true, jitter = true })
            return percent(K[{ b, a }]:matmul(alpha), set.train.labels[{ b }])
          end)
          if found > best then best, chosen = found, ridge end
        end
        local alpha = ml.solve.krr(K, target, { ridge = chosen, relative = true, jitter = true })
        local hits = 0
        for from = 1, p.test, p.block do
          local rows = { from, math.min(p.test, from + p.block - 1) }
          hits = hits + ml.scope(function()
            local K2 = net:ntk(X2[{ rows }]:contiguous():to "f64", part:to "f64")
            return percent(K2:matmul(alpha), labels[{ rows }]) / 100 * K2:size(1)
          end)
        end
        return { accuracy = 100 * hits / p.test, ridge = chosen }
      end)
    end)

    local function say(name, n, out, used)
      print(("%-9s %6d images  %.2f %% right  %8s  %8.1f CPU s  %6.2f GB  ridge %.0e"):format(name,
        n, out.accuracy, ml.progress.duration(used.wall), used.cpu, gigabytes(used.bytes),
        out.ridge))
      ctx:log { method = name, n = n, accuracy = out.accuracy, seconds = used.wall,
        cpu = used.cpu, bytes = used.bytes, ridge = out.ridge }
    end
    say("features", p.train, right, sketched)
    say("exact", p.exact, kernel, exact)
    -- what the exact kernel would take on all images, by its operations
    local grown = p.train / p.exact
    print(("EXTRAPOLATED: the exact kernel of all %d takes %.0f GB"):format(p.train,
      gigabytes(8 * p.train ^ 2)))
    ctx:figure("accuracy", ml.plot.scatter { series = {
      { x = { sketched.cpu }, y = { right.accuracy }, label = ("features, %d"):format(p.train) },
      { x = { exact.cpu }, y = { kernel.accuracy }, label = ("exact, %d"):format(p.exact) } },
      xlabel = "CPU seconds", ylabel = "% right", title = p.net .. " on " .. p.data })
    return { features = right.accuracy, exact = kernel.accuracy, gain = right.accuracy
      - kernel.accuracy, cpu = { sketched.cpu, exact.cpu }, bytes = { sketched.bytes,
      exact.bytes }, memory_ratio = exact.bytes / sketched.bytes, grown = grown }
  end,
  claims = {
    { name = "points by which features of all beat the exact kernel of a part",
      kind = "exploratory", source = "Zandieh et al. 2021, Table 1", at_least = 0,
      when = function(p) return p.data == "fashion" and p.train >= 5 * p.exact end,
      measure = function(r) return r.gain end },
    { name = "memory of the exact kernel of a part over that of features of all",
      kind = "exploratory", source = "Zandieh et al. 2021, Table 1", at_least = 1,
      when = function(p) return p.data == "fashion" and p.train >= 5 * p.exact end,
      measure = function(r) return r.memory_ratio end },
  },
}
