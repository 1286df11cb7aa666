--- Benchmarks: what moonlab does per second, and with --peers what others do with the same work,
--- measured in turn in one run.
local ml = require "moonlab"
local options = require "moonlab.options"
local quote = require("moonlab.recipe.words").quote

local bench = {}

local root = debug.getinfo(1, "S").source:match("^@(.*)/lua/moonlab/[^/]*$") or "."
local peers = root .. "/tests/bench/peers/"
local presets = { -- depth, width, heads, context, batch, vocabulary
  a = { 3, 64, 4, 128, 16, 256 }, b = { 6, 192, 6, 256, 8, 512 }, c = { 6, 384, 6, 256, 8, 4096 },
}

local function median(list)
  local sorted = { table.unpack(list) }
  table.sort(sorted)
  return sorted[#sorted // 2 + 1]
end

-- Seconds of fn(), median of `reps` after two unmeasured runs: CPU time with one thread, wall clock
-- with more.
local function seconds(threads, reps, fn)
  local clock = threads == 1 and ml.cpu_time or ml.now
  fn()
  fn()
  local times = {}
  for i = 1, reps do
    local start = clock()
    fn()
    times[i] = clock() - start
  end
  return median(times)
end

-- Runs a peer and returns the JSON it prints; nil with the reason where it cannot run.
local function ask(command, threads)
  local line = ("OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=%d OPENBLAS_NUM_THREADS=%d %s 2>/dev/null")
    :format(threads, threads, command)
  local pipe = io.popen(line)
  local text = pipe:read("a")
  pipe:close()
  local ok, value = pcall(ml.json.decode, text)
  if not ok or type(value) ~= "table" then return nil, "the peer did not run: " .. command end
  return value
end

local function python(script, arguments, threads)
  return ask(("/usr/bin/python3 %s %s --threads %d --json"):format(quote(peers .. script),
    arguments, threads), threads)
end

-- ---- jobs ---------------------------------------------------------------------------------------
-- A job is { row = fields, ours = function(threads) -> figure,
-- peer = function(threads) -> figure | nil, why }; larger is better when unit ends in "/s", else
-- smaller.

local jobs = {}

local gpt = {}

local function decoder(name)
  local depth, width, heads, context, _, vocab = table.unpack(presets[name])
  return ml.transformer { vocab = vocab, context = context, depth = depth, width = width,
    heads = heads, mlp_width = 4 * width,
    bias = true, positions = "learned", tied = true, norm_eps = 1e-5, seed = 1 }
end

function gpt.train(name, threads, steps)
  local _, _, _, context, batch, vocab = table.unpack(presets[name])
  local lm = decoder(name)
  local tokens = ml.keep(ml.rng(1):integers(1, vocab, { batch, context + 1 }))
  local opt = ml.optim.adamw(lm:parameters(),
    { lr = 1e-3, betas = { 0.9, 0.999 }, weight_decay = 0.01, decay = "decoupled" })
  local function step()
    opt:zero_grad()
    ml.scope(function() lm:loss(tokens):backward() end)
    opt:step()
  end
  return batch * context / seconds(threads, steps, step)
end

function jobs.train_gpt(o)
  local list = {}
  for _, name in ipairs(o.presets) do
    local steps = name == "a" and 21 or name == "b" and 9 or 5
    list[#list + 1] = {
      row = { job = "train_gpt", preset = name, batch = presets[name][5], dtype = "f32",
        unit = "tokens/s" },
      ours = function(threads) return gpt.train(name, threads, steps) end,
      peer = function(threads)
        local r, why = python("train_gpt.py", ("--preset %s --steps %d"):format(name, steps),
          threads)
        return r and (threads == 1 and r.tokens_per_cpu_s or r.tokens_per_s), why, r and r.peer
      end,
    }
  end
  for _, name in ipairs(o.presets) do
    list[#list + 1] = {
      row = { job = "train_gpt", preset = name, batch = presets[name][5], dtype = "f32",
        unit = "bytes", measure = "memory" },
      ours = function(threads)
        local script = ([[local ml = require 'moonlab'; ml.threads(%d)
          local q = ml.param(ml.ones{8, 8}); q:matmul(q):sum():backward()
          local idle = ml.peak_rss(); require 'moonlab.bench'.gpt.train('%s', %d, 1)
          print(ml.peak_rss() - idle)]]):format(threads, name, threads):gsub("\n", " ")
        local pipe = io.popen(("%s -e \"%s\""):format(quote(root .. "/build/bin/moonlab"), script))
        local bytes = tonumber(pipe:read("a"))
        pipe:close()
        return bytes or 0 / 0
      end,
      peer = function(threads)
        local r, why = python("train_memory.py", "--preset " .. name, threads)
        return r and r.bytes, why, r and r.peer
      end,
    }
  end
  return list
end
bench.gpt = gpt

-- One training of a proxy with all that is measured on it, a step of 8 rows of 32 tokens.
function jobs.sweep_proxies(o)
  local list = {}
  for _, size in ipairs(o.sizes or { "S1", "S2" }) do
    list[#list + 1] = {
      row = { job = "sweep_proxies", preset = size, batch = 8, dtype = "f32", unit = "steps/s" },
      ours = function(threads)
        local source = ml.proxies.source {}
        local clock = threads == 1 and ml.cpu_time or ml.now
        -- like the peer: the median step, from the draw of its rows to the update, without the
        -- making of the model and the two validations
        local times, last = {}, nil
        ml.proxies.train({ size = size, lr = 1e-2, steps = 300 }, { source = source,
          log = function()
            local now = clock()
            if last then times[#times + 1] = now - last end
            last = now
          end })
        return 1 / median(times)
      end,
      peer = function(threads)
        local r, why = python("sweep_proxies.py", "--size " .. size, threads)
        return r and (threads == 1 and r.steps_per_cpu_s or r.steps_per_s), why, r and r.peer
      end,
    }
  end
  return list
end

function jobs.sample_gpt(o)
  local list = {}
  local new, prompt = 64, 16
  for _, name in ipairs(o.presets) do
    for _, batch in ipairs(o.batches or { 1, 64, 256 }) do
      list[#list + 1] = {
        row = { job = "sample_gpt", preset = name, batch = batch, dtype = "f32",
          unit = "tokens/s" },
        ours = function(threads)
          local lm = decoder(name)
          local prompts = ml.scope(function()
            return ml.rng(2):integers(1, presets[name][6], { batch, prompt }):totable()
          end)
          local g = ml.rng(3)
          local rates = {}
          local clock = threads == 1 and ml.cpu_time or ml.now
          local function both(count) -- prompt and count tokens
            local start = clock()
            lm:generate(prompts, { max_new = count, rng = g })
            return clock() - start
          end
          for i = 1, batch == 1 and 9 or 4 do
            -- the time of the prompt and the first token is taken off, as the peer does not count
            -- its prefill
            local whole, first = both(new + 1), both(1)
            if i > 1 then rates[#rates + 1] = batch * new / (whole - first) end
          end
          return median(rates)
        end,
        peer = function(threads)
          local r, why = python("sample_gpt.py",
            ("--preset %s --batch %d --new %d --prompt %d --reps %d"):format(name, batch, new,
            prompt, batch == 1 and 8 or 3), threads)
          return r and (threads == 1 and r.tokens_per_cpu_s or r.tokens_per_s), why, r and r.peer
        end,
      }
    end
  end
  return list
end

function jobs.elementwise()
  local rows, cols = 2048, 1024
  local n = rows * cols
  local g = ml.rng(1)
  local function normal() return ml.keep(g:normal { rows, cols, dtype = "f32" }) end
  local x, y, out = normal(), normal(), normal()
  local gain, shift = ml.ones { cols, dtype = "f32" }, ml.zeros { cols, dtype = "f32" }
  -- nothing is returned from the scope, so that the result's storage is there for the next call
  local function scoped(fn) return function() ml.scope(function() fn() end) end end
  local function backward(fn)
    return function()
      local leaf = ml.param(x)
      local result = fn(leaf)
      return function()
        result:backward(y, { retain = true })
        -- else the next one is added to it; its handle-free storage is there for the next call
        leaf:set_grad(nil)
      end
    end
  end
  local ops = {
    { "copy", 8, function() out:copy_(x) end },
    { "add (allocating)", 12, scoped(function() return x + y end) },
    { "softmax", 8, scoped(function() return x:softmax(-1) end) },
    { "softmax bwd", 12, backward(function(t) return t:softmax(-1) end), late = true },
    { "layernorm", 8, scoped(function()
      return ml.nn.layer_norm(x, { gain = gain, shift = shift, eps = 1e-5 })
    end) },
    { "layernorm bwd", 12, backward(function(t)
      return ml.nn.layer_norm(t, { gain = gain, shift = shift, eps = 1e-5 })
    end), late = true },
    { "gelu tanh", 8, scoped(function() return ml.nn.activation(x, "gelu_tanh") end) },
    { "gelu tanh bwd", 12, backward(function(t) return ml.nn.activation(t, "gelu_tanh") end),
      late = true },
    { "exp", 8, scoped(function() return x:exp() end) },
    { "tanh", 8, scoped(function() return x:tanh() end) },
    { "randn", 4, scoped(function() return g:normal { rows, cols, dtype = "f32" } end) },
    { "adamw single", 28, function()
      local p = ml.param(x:clone())
      local opt = ml.optim.adamw({ p }, { lr = 1e-3, weight_decay = 0.01, decay = "decoupled" })
      local grads = { y }
      return function() opt:step(1, grads) end
    end, late = true },
  }
  local peer_rows = {}
  local list = {}
  for _, op in ipairs(ops) do
    list[#list + 1] = {
      row = { job = "elementwise", preset = op[1], batch = n, dtype = "f32", unit = "GB/s" },
      ours = function(threads)
        local fn = op.late and op[3]() or op[3]
        return op[2] * n / seconds(threads, 15, fn) * 1e-9
      end,
      peer = function(threads, round)
        local key = threads .. "/" .. round
        if not peer_rows[key] then
          local r, why = python("elementwise.py", ("--rows %d --cols %d"):format(rows, cols),
            threads)
          if not r then return nil, why end
          local found = {}
          for _, q in ipairs(r) do found[q.op] = threads == 1 and q.GBps_cpu or q.GBps end
          found["adamw single"] = math.max(found["adamw single"], found["adamw foreach"])
          peer_rows[key] = found
        end
        return peer_rows[key][op[1]]
      end,
    }
  end
  list[#list + 1] = {
    row = { job = "elementwise", preset = "2x2 add from Lua", batch = 4, dtype = "f64",
      unit = "us" },
    ours = function()
      local a, b = ml.ones { 2, 2 }, ml.ones { 2, 2 }
      local start = ml.cpu_time()
      for _ = 1, 1000000 do local _ = a + b end
      return ml.cpu_time() - start
    end,
    peer = function(threads)
      if threads ~= 1 then return nil, "one thread only" end
      local r, why = ask([[/usr/bin/python3 -c "
import json, time, torch
torch.set_num_threads(1)
a, b = torch.ones(2, 2, dtype=torch.float64), torch.ones(2, 2, dtype=torch.float64)
t = time.process_time()
for _ in range(1000000): a + b
print(json.dumps(dict(us=time.process_time() - t)))"]], threads)
      return r and r.us, why
    end,
  }
  return list
end

function jobs.matmul()
  local shapes = {}
  for _, d in ipairs { 64, 192, 384 } do
    for _, s in ipairs { { 2048, 3 * d, d }, { 2048, 4 * d, d }, { 2048, d, 4 * d } } do
      shapes[#shapes + 1] = s
    end
  end
  for _, s in ipairs { { 2048, 4096, 384 }, { 512, 512, 512 }, { 1024, 1024, 1024 },
    { 128, 128, 16 }, { 256, 32, 256 } } do
    shapes[#shapes + 1] = s
  end
  local binary = root .. "/build/gemm_peers"
  local library = "/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblas.so.0"
  local list = {}
  local built
  for _, s in ipairs(shapes) do
    local M, N, K = table.unpack(s)
    list[#list + 1] = {
      row = { job = "matmul", preset = ("%dx%dx%d"):format(M, N, K), batch = 1, dtype = "f32",
        unit = "GFLOP/s" },
      ours = function(threads)
        local a, b = ml.rng(1):normal { M, K, dtype = "f32" },
          ml.rng(2):normal { K, N, dtype = "f32" }
        local inner = math.max(1, math.floor(2e8 / (2 * M * N * K)))
        local fn = function()
          for _ = 1, inner do ml.scope(function() a:matmul(b) end) end
        end
        return 2 * M * N * K * inner / seconds(threads, 7, fn) * 1e-9
      end,
      peer = function(threads)
        if not built then
          local ok = os.execute(("gcc -O2 -w %s -o %s -ldl"):format(
            quote(peers .. "gemm_peers.c"), quote(binary)))
          if not ok then return nil, "gemm_peers.c does not build" end
          built = true
        end
        local r, why = ask(("%s cblas %s --json %s --size %d %d %d"):format(quote(binary), library,
          threads == 1 and "--cpu" or "", M, N, K), threads)
        return r and r[1] and r[1].gflops, why, "OpenBLAS"
      end,
    }
  end
  return list
end

-- One-pass SGD on random features, updates per second, batch 1; and the two closed forms, alone.
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

function jobs.kg_train()
  return require "moonlab.bench.kg" { median = median, python = python }
end

-- A step of training of three layers of 64 channels on 28x28 images, batch 64.
function jobs.cnn_train()
  local nn, batch, side, c, list = ml.nn, 64, 28, 64, {}
  local function layers(net)
    local all = {}
    for i = 1, 3 do
      local o = { i == 1 and 1 or c, c, kernel = 3 }
      if net == "cnn" then o.padding = "same" else o.input = side - 2 * (i - 1) end
      all[#all + 1] = net == "cnn" and nn.Conv2d(o) or nn.LocallyConnected2d(o)
      all[#all + 1] = nn.ReLU()
    end
    all[#all + 1] = net == "cnn" and nn.GlobalAvgPool() or nn.Flatten()
    all[#all + 1] = nn.Linear { net == "cnn" and c or c * (side - 6) * (side - 6), 10 }
    return nn.Sequential(all)
  end
  for _, net in ipairs { "cnn", "lcn" } do
    list[#list + 1] = {
      row = { job = "cnn_train", preset = net == "cnn" and "convolutions" or "locally connected",
        batch = batch, dtype = "f32", unit = "images/s" },
      ours = function(threads)
        local model = layers(net)
        local opt = ml.optim.sgd(model:parameters(), { lr = 1e-3, momentum = 0.9 })
        local x = ml.keep(ml.rng(1):normal { batch, side, side, 1, dtype = "f32" })
        local y = ml.keep(ml.rng(2):integers(1, 10, { batch }))
        local function step()
          opt:zero_grad()
          ml.scope(function() nn.cross_entropy(model(x), y):backward() end)
          opt:step()
        end
        return batch / seconds(threads, 7, step)
      end,
      peer = function(threads)
        local r, why = python("cnn_train.py", ("--net %s --batch %d"):format(net, batch), threads)
        return r and (threads == 1 and r.images_per_cpu_s or r.images_per_s), why, r and r.peer
      end,
    }
  end
  return list
end

-- ---- the command --------------------------------------------------------------------------------

local order = { "matmul", "elementwise", "train_gpt", "sample_gpt", "sweep_proxies", "plrf",
  "krr", "kernel_mlp", "kernel_cntk", "sketch", "cnn_train", "kg_train" }

local function format_figure(x, unit)
  if not x then return "-" end
  if unit == "bytes" then return ("%.1f MiB"):format(x / 2 ^ 20) end
  if unit == "tokens/s" then return ml.progress.quantity(x) .. " tok/s" end
  return ("%.3g %s"):format(x, unit)
end

--- ./moonlab bench [NAME ...] [--peers] [--json] [--preset a,b] [--batch 1,64] [--threads 1,2]
---   [--rounds N]
function bench.command(...)
  local o = { presets = { "a", "b", "c" }, threads = { 1, 2 }, rounds = 3 }
  local names = {}
  local words = { ... }
  local function bad(...)
    io.stderr:write("moonlab: ", table.concat { ... }, "\n")
    return 2
  end
  local i = 1
  while words[i] do
    local w = words[i]
    if w == "--peers" then o.peers = true
    elseif w == "--json" then o.json = true
    elseif w == "--preset" or w == "--batch" or w == "--threads" or w == "--rounds" then
      i = i + 1
      if not words[i] then return bad(w, " needs a value") end
      local list = {}
      for part in words[i]:gmatch("[^,]+") do
        local value = part
        if w ~= "--preset" then value = math.tointeger(tonumber(part)) end
        if not value or (w == "--preset" and not presets[value])
          or (w ~= "--preset" and value < 1) then
          return bad(w, " ", words[i], w == "--preset" and ": wanted a, b or c"
            or ": wanted integers >= 1")
        end
        list[#list + 1] = value
      end
      if #list == 0 then return bad(w, " needs a value") end
      if w == "--preset" then o.presets = list
      elseif w == "--batch" then o.batches = list
      elseif w == "--threads" then o.threads = list
      else o.rounds = list[1] end
    elseif w == "all" then
      for _, name in ipairs(order) do names[#names + 1] = name end
    elseif jobs[w] then names[#names + 1] = w
    else
      local near = options.nearest(w, { "matmul", "elementwise", "train_gpt", "sample_gpt",
        "sweep_proxies", "plrf", "krr", "kernel_mlp", "kernel_cntk", "sketch",
        "cnn_train", "kg_train", "all",
        "--peers", "--json", "--preset", "--batch", "--threads", "--rounds" })
      return bad(("no benchmark is called '%s'%s; there are %s, all"):format(w,
        near and ("; did you mean '" .. near .. "'?") or "", table.concat(order, ", ")))
    end
    i = i + 1
  end
  if #names == 0 then names = order end
  if not o.json then
    local v = ml.version()
    print(("%s, %s, %s; medians of %d rounds%s"):format(v.cpu, v.simd, v.blas, o.rounds,
      o.peers and "; a ratio above 1 means that moonlab is better" or ""))
    print(("%-12s %-18s %6s %7s %-7s %14s %14s %7s"):format("job", "preset", "batch", "threads",
      "measure", "ours", "peer", "ratio"))
  end
  local before = ml.threads()
  local status = 0
  for _, name in ipairs(names) do
    for _, job in ipairs(jobs[name](o)) do
      for _, threads in ipairs(o.threads) do
        ml.threads(threads)
        local ours, theirs, ratios = {}, {}, {}
        local against, reason
        local larger = job.row.unit:find("/s$") ~= nil
        for round = 1, o.rounds do
          ours[round] = job.ours(threads)
          if o.peers then
            local figure, why, who = job.peer(threads, round)
            reason, against = why, who or against or "torch"
            theirs[#theirs + 1] = figure
            if figure then
              ratios[#ratios + 1] = larger and ours[round] / figure or figure / ours[round]
            end
          end
        end
        local row = {
          job = job.row.job, preset = job.row.preset, batch = job.row.batch, dtype = job.row.dtype,
          precision = "highest",
          threads = threads, measure = job.row.measure or (threads == 1 and "cpu" or "wall"),
          unit = job.row.unit, ours = median(ours),
        }
        if #ratios > 0 then
          row.against, row.peer, row.ratio = against, median(theirs), median(ratios)
        end
        if o.json then
          print(ml.json.encode(row))
        else
          print(("%-12s %-18s %6d %7d %-7s %14s %14s %7s"):format(row.job, row.preset, row.batch,
            threads, row.measure, format_figure(row.ours, row.unit),
            format_figure(row.peer, row.unit), row.ratio and ("%.2fx"):format(row.ratio) or "-"))
        end
        if o.peers and #ratios == 0 and reason and reason ~= "one thread only" then
          io.stderr:write("moonlab: ", reason, reason:find("apt%-get", 1) and "\n"
            or " (apt-get install python3-torch)\n")
          status = 1
        end
        io.stdout:flush()
      end
    end
  end
  ml.threads(before)
  return status
end

return bench
