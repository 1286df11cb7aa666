--- Benchmarks of sketches: time a point, errors at the same number of columns, features of images.
local ml = require "moonlab"

-- Unit points in ten clusters, as the peer draws them.
local function clusters(n, d, dtype)
  local g = ml.rng(1)
  local X = g:normal({ 10, d }):index_select(g:integers(1, 10, { n }), 1) + g:normal { n, d } * 0.7
  return (X / X:square():sum { 2, keepdims = true }:sqrt()):to(dtype)
end

--- Jobs of "sketch"; tools: seconds(threads, reps, fn), python(script, arguments, threads).
return function(tools)
  local seconds, python = tools.seconds, tools.python
  local list = {}
  local answers = {}
  local function ask(arguments, threads, round)
    local key = ("%s %d %d"):format(arguments, threads, round)
    if not answers[key] then
      local r, why = python("sketch.py", arguments, threads)
      if not r then return nil, why .. " (apt-get install python3-sklearn)" end
      answers[key] = r
    end
    return answers[key]
  end
  local function peer(arguments, figure)
    return function(threads, round)
      local r, why = ask(arguments, threads, round)
      if not r then return nil, why end
      return figure == "us" and (threads == 1 and r.cpu_us or r.us) or r[figure], nil, r.peer
    end
  end
  local function row(preset, n, dtype, unit, ours, theirs, measure)
    list[#list + 1] = { row = { job = "sketch", preset = preset, batch = n, dtype = dtype,
      unit = unit, measure = measure }, ours = ours, peer = theirs }
  end
  -- microseconds a point of fn(X)
  local function per_point(n, make)
    return function(threads)
      return ml.scope(function()
        local fn = make()
        return seconds(threads, 7, function() ml.scope(fn) end) / n * 1e6
      end)
    end
  end

  for _, case in ipairs { { 3, "f32" }, { 4, "f32" }, { 4, "f64" }, { 8, "f32" } } do
    local degree, dtype = table.unpack(case)
    local n, d, m = 2000, 784, 2048
    local arguments = ("--job poly --n %d --dim %d --components %d --degree %d --dtype %s")
      :format(n, d, m, degree, dtype == "f32" and "f4" or "f8")
    local name = ("power %d, %d to %d"):format(degree, d, m)
    row(name, n, dtype, "us", per_point(n, function()
      local X = clusters(n, d, dtype)
      local S = ml.sketch.poly_sketch { degree = degree, dim = m, seed = 1 }
      return function() S(X) end
    end), peer(arguments, "us"))
    row(("power %d, error"):format(degree), n, dtype, "", function()
      return ml.scope(function()
        local X, sum = clusters(500, d, "f64"), 0
        local K = X:matmul(X:transpose()) ^ degree
        for seed = 1, 5 do
          local Z = ml.sketch.poly_sketch { degree = degree, dim = m, seed = seed } (X)
          sum = sum + (Z:matmul(Z:transpose()) - K):norm():item() / K:norm():item()
        end
        return sum / 5
      end)
    end, peer(arguments, "error"), "error")
  end

  for _, density in ipairs { 0.001, 0.01, 0.1 } do
    local n, d, m = 512, 32768, 512
    local rows
    row(("osnap, %g %% of %d"):format(100 * density, d), n, "f32", "us", function(threads)
      if not rows then
        rows = ml.scope(function()
          local X = ml.rng(2):normal { n, d, dtype = "f32" }
          local kept = ml.sketch.sparse(X * ml.rng(3):uniform { n, d, dtype = "f32" }:lt(density)
            :to "f32")
          for _, t in ipairs { kept.offsets, kept.columns, kept.values } do ml.keep(t) end
          return kept
        end)
      end
      local S = ml.sketch.osnap { dim = m }
      return seconds(threads, 7, function() ml.scope(function() S(rows) end) end) / n * 1e6
    end, peer(("--job sparse --n %d --dim %d --components %d --density %g")
      :format(n, d, m, density), "us"))
  end

  for _, case in ipairs { { 512, "f32" }, { 512, "f64" }, { 4096, "f32" } } do
    local d, dtype = table.unpack(case)
    local n = 2 ^ 21 // d | 0
    row(("hadamard of %d"):format(d), n, dtype, "us", per_point(n, function()
      local X = ml.rng(1):normal { n, d, dtype = dtype }
      return function() ml.sketch.hadamard(X) end
    end), peer(("--job hadamard --n %d --dim %d --dtype %s"):format(n, d,
      dtype == "f32" and "f4" or "f8"), "us"))
  end

  local k, w = ml.kernel, math.sqrt(2)
  local conv, relu, pool = k.conv { kernel = 3, w_std = w }, k.act "relu", k.avg_pool(2)
  local net = k.serial { conv, relu, conv, relu, pool, conv, relu, pool, conv, relu, pool,
    k.flatten(), k.dense { w_std = w } }
  for _, case in ipairs { { 8, 512 }, { 16, 512 }, { 8, 1024 } } do
    local side, inner = table.unpack(case)
    row(("%dx%d, inner %d"):format(side, side, inner), 32, "f32", "ms", function(threads)
      return ml.scope(function()
        local X = ml.rng(1):normal { 32, side, side, 1, dtype = "f32" }
        local map = ml.sketch.features(net, { dim = 2 * inner, inner = inner })
        return seconds(threads, 5, function() ml.scope(function() map(X) end) end) / 32 * 1e3
      end)
    end, function() return nil, "one thread only" end)
  end
  return list
end
