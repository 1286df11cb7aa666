--- Benchmarks of tensors and layers.
local common = require "moonlab.bench.common"
local ml = require "moonlab"
local quote = require("moonlab.recipe.words").quote

local seconds, ask, python = common.seconds, common.ask, common.python

local jobs = {}

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
  local binary = common.root .. "/build/gemm_peers"
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
      share = function(threads, rate) return common.share(threads, "gflops", rate, 1) end,
      peer = function(threads)
        if not built then
          local ok = os.execute(("gcc -O2 -w %s -o %s -ldl"):format(
            quote(common.peers .. "gemm_peers.c"), quote(binary)))
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

return jobs
