--- Benchmarks of kernels, sketches, solvers and theory.
local common = require "moonlab.bench.common"
local ml = require "moonlab"

local seconds, python = common.seconds, common.python

local jobs = {}

function jobs.plrf()
  local d, v, updates = 400, 1600, 12288
  local problem = ml.plrf.problem { alpha = 1.0, beta = 1.0, v = v, d = d, seed = 1 }
  local gamma = problem:rate { norm = 0.25 }
  local peer_rows = {}
  local function variant(name, dtype)
    return function(threads, round)
      local key = threads .. "/" .. round
      if not peer_rows[key] then
        local r, why = python("plrf.py", ("--d %d --v %d --iters 3000"):format(d, v), threads)
        if not r then return nil, why end
        peer_rows[key] = {}
        for _, q in ipairs(r) do
          peer_rows[key][q.variant .. " " .. q.dtype] = threads == 1 and q.iters_per_cpu_s
            or q.iters_per_s
        end
      end
      return peer_rows[key][name .. " " .. dtype], nil, name
    end
  end
  local function rate_of(o)
    return function(threads)
      o.gamma, o.steps = gamma, { updates }
      return updates / seconds(threads, 3, function()
        ml.scope(function() problem:sgd(o) end)
      end)
    end
  end
  local list = {}
  for _, case in ipairs {
    { "direct / step", { mode = "direct" }, "numpy step", "f64" },
    { "direct / block", { mode = "direct" }, "numpy block", "f64" },
    { "direct / block", { mode = "direct", dtype = "f32" }, "numpy block", "f32" },
    { "fast / reduced", { mode = "fast" }, "numpy reduced", "f64" } } do
    list[#list + 1] = {
      row = { job = "plrf", preset = case[1], batch = 1, dtype = case[4], unit = "updates/s" },
      ours = rate_of(case[2]),
      peer = variant(case[3], case[4] == "f64" and "f8" or "f4"),
    }
  end
  local function alone(preset, fn)
    list[#list + 1] = {
      row = { job = "plrf", preset = preset, batch = 1, dtype = "f64", unit = "s" },
      ours = fn, peer = function() return nil, "one thread only" end,
    }
  end
  alone("60 steps, v 6400", function(threads)
    local det = ml.plrf.deterministic { alpha = 0.7, beta = 0.7, v = 6400, d = 1600 }
    local steps = {}
    for i = 1, 60 do steps[i] = math.floor(10 ^ (1 + 8 * i / 60)) end
    return seconds(threads, 3, function()
      ml.scope(function() det:risk { gamma = det:rate(), steps = steps } end)
    end)
  end)
  alone("secular, d 2000", function(threads)
    local big = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 4000, d = 2000, seed = 1 }
    local steps = {}
    for i = 1, 200 do steps[i] = math.floor(10 ^ (12 * i / 200)) + i end
    return seconds(threads, 1, function()
      ml.scope(function() big:expected { gamma = 0.05, steps = steps } end)
    end)
  end)
  return list
end

-- Kernel regression in f64, n = 4000: the factorization, a fit with a Gaussian kernel,
-- and a path of 25 ridges with leave-one-out errors beside 25 fits (which have none).
function jobs.krr()
  local n, dim, outputs, ridges = 4000, 784, 10, {}
  for i = 1, 25 do ridges[i] = 10 ^ (i / 5 - 4) end
  local rows = {}
  local function peer(job, figure)
    return function(threads, round)
      local key = ("%s %d %d"):format(job, threads, round)
      if not rows[key] then
        local r, why = python("krr.py", ("--job %s --n %d --reps 1"):format(job, n), threads)
        if not r then return nil, why .. " (apt-get install python3-sklearn)" end
        for _, q in ipairs(r) do
          if q.dtype == "f8" and (job == "chol" or q.kernel == "rbf") then rows[key] = q end
        end
      end
      return figure(rows[key], threads == 1 and "cpu_s" or "s"), nil,
        job == "chol" and "scipy" or "sklearn"
    end
  end
  local function rbf(A, B)
    local distance = A:matmul(B:transpose()):mul_(-2):add_(A:square():sum { 2, keepdims = true })
      :add_(B:square():sum(2))
    return distance:mul_(-0.5):exp()
  end
  local X = ml.keep(ml.rng(1):normal { n, dim } / math.sqrt(dim))
  local y = ml.keep(ml.rng(2):normal { n, outputs })
  local function ours(fn)
    return function(threads)
      return ml.scope(function()
        local K = rbf(X, X)
        return seconds(threads, 1, function() ml.scope(fn, K) end)
      end)
    end
  end
  local function row(preset, ours_of, peer_of)
    return { row = { job = "krr", preset = preset, batch = n, dtype = "f64", unit = "s" },
      ours = ours_of, peer = peer_of }
  end
  return {
    row("cholesky", ours(function(K) ml.solve.cholesky(K, { ridge = 1 }) end),
      peer("chol", function(q, time) return q[time] end)),
    row("fit", ours(function() ml.solve.krr(rbf(X, X), y, { ridge = 1e-2 }) end),
      peer("krr", function(q, time) return q[time] end)),
    row("path of 25 ridges", ours(function()
      ml.solve.krr_path(rbf(X, X), y, { ridges = ridges })
    end), peer("krr", function(q, time) return 25 * q[time] end)),
  }
end

-- NNGP and NTK together of a relu network with three hidden layers on 4000 vectors.
function jobs.kernel_mlp()
  local n, dim = 4000, 784
  local k, w = ml.kernel, math.sqrt(2)
  local relu, wide = k.act "relu", k.dense { w_std = w }
  local net = k.serial { k.dense(), relu, wide, relu, wide, relu, k.dense() }
  local rows = {}
  local function peer(variant)
    return function(threads, round)
      local key = threads .. "/" .. round
      if not rows[key] then
        local r, why = python("kernel_mlp.py", ("--n %d --dim %d --reps 3"):format(n, dim), threads)
        if not r then return nil, why end
        rows[key] = {}
        for _, q in ipairs(r) do rows[key][q.variant] = threads == 1 and q.cpu_s or q.total_s end
      end
      return rows[key][variant], nil, variant
    end
  end
  local list = {}
  for _, variant in ipairs { "numpy f64", "torch f64", "numpy f32", "torch f32" } do
    local dtype = variant:match "f%d+"
    list[#list + 1] = {
      row = { job = "kernel_mlp", preset = "of " .. variant, batch = n, dtype = dtype, unit = "s" },
      ours = function(threads)
        return ml.scope(function()
          local X = ml.rng(1):normal { n, dim, dtype = dtype }
          return seconds(threads, 3, function() ml.scope(function() net:both(X) end) end)
        end)
      end,
      peer = peer(variant),
    }
  end
  return list
end

-- A pair of 8x8 or 32x32 images through a convolutional network of five weight layers.
function jobs.kernel_cntk()
  local k = ml.kernel
  local conv, relu = k.conv { kernel = 3, w_std = math.sqrt(2) }, k.act "relu"
  local pool = k.avg_pool(2)
  local net = k.serial { conv, relu, conv, relu, pool, conv, relu, pool, conv, relu, k.gap(),
    k.dense() }
  local list = {}
  for _, case in ipairs { { 8, 64, "f32" }, { 8, 64, "f64" }, { 32, 16, "f32" } } do
    local side, n, dtype = table.unpack(case)
    list[#list + 1] = {
      row = { job = "kernel_cntk", preset = ("%dx%d, a pair"):format(side, side), batch = n,
        dtype = dtype, unit = "ms" },
      ours = function(threads)
        return ml.scope(function()
          local X = ml.rng(1):normal { n, side, side, 3, dtype = dtype }
          local Y = ml.rng(2):normal { n, side, side, 3, dtype = dtype }
          local time = seconds(threads, 3, function() ml.scope(function() net:both(X, Y) end) end)
          return time / (n * n) * 1e3
        end)
      end,
      peer = function(threads)
        local size = side == 8 and "--pairs 64 --block 16" or "--pairs 4 --block 2"
        local r, why = python("kernel_cntk.py", ("--size %d %s --dtype %s"):format(side, size,
          dtype), threads)
        return r and (threads == 1 and r.cpu_ms_per_pair or r.ms_per_pair), why, r and r.peer
      end,
    }
  end
  return list
end

function jobs.sketch()
  return require "moonlab.bench.sketch" { seconds = seconds, python = python }
end

return jobs
