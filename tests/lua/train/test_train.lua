-- The training loop: what it records, NaN, accumulation, resume after kill -9 bit for bit.
local ml = require "moonlab"
local check = require "check"
local lfs = require "lfs"
local program = require "program"
local T = {}

local function problem(seed)
  local net = ml.nn.Sequential { ml.nn.Linear { 4, 8, seed = seed }, ml.nn.Tanh(),
    ml.nn.Dropout { 0.2, seed = seed }, ml.nn.Linear { 8, 1, seed = seed + 1 } }
  local key = ml.rng(seed)
  local data = { batch = function(_, i)
    local x = key:fold("x", i):normal { 16, 4, dtype = "f32" }
    return { x = x, y = x:sum(2):reshape { 16, 1 } }
  end }
  return net, data
end

local function loss(model, batch)
  local e = model(batch.x) - batch.y
  return (e * e):mean()
end

local function options(dir, extra)
  local net, data = problem(3)
  local o = { model = net, data = data, opt = ml.optim.adamw(net:named_parameters(), { lr = 0.01 }),
    steps = 40, loss = loss, dir = dir, clip = 1, checkpoint = dir and { every = 7 },
    eval_every = 10,
    schedule = function(t) return ml.schedule.warmup_cosine(t, { warmup = 5, total = 40 }) end,
    eval = function(model) return { error = loss(model, data:batch(1000)):item() } end }
  for key, value in pairs(extra or {}) do o[key] = value end
  return o
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

function T.test_it_learns_and_records()
  local r = ml.train(options(nil))
  check.equal(r.state, "done")
  local evals = {}
  for _, record in ipairs(r.history) do
    if record.kind == "eval" then evals[#evals + 1] = record end
  end
  check.equal(#evals, 5)
  check.equal(#r.history, 45)
  check.is_true(evals[5].error < evals[1].error)
  check.close(r.history[2].lr_scale, 1 / 5)
end

function T.test_accumulation_averages_gradients() -- property: four batches of 4 are one of 16
  local function run(accumulate)
    local net = ml.nn.Linear { 4, 1, seed = 1, dtype = "f64" }
    local key = ml.rng(2)
    local size = 16 // accumulate
    local data = { batch = function(_, i)
      local first = (i - 1) * size
      local x = key:fold("x", 0):normal { 64, 4 }[{ { first % 64 + 1, first % 64 + size } }]
      return { x = x, y = x:sum(2):reshape { size, 1 } }
    end }
    ml.train { model = net, data = data, opt = ml.optim.sgd(net:parameters(), { lr = 0.1 }),
      steps = 4, loss = loss, accumulate = accumulate }
    return net.weight:detach()
  end
  check.close(run(4), run(1), { rtol = 1e-13 })
end

function T.test_nan_stops_or_is_skipped()
  local function run(on_nan)
    local net, data = problem(1)
    local calls = 0
    return net, ml.train { model = net, data = data,
      opt = ml.optim.sgd(net:parameters(), { lr = 0.01 }), steps = 6, on_nan = on_nan,
      loss = function(model, batch)
        calls = calls + 1
        local l = loss(model, batch)
        return calls == 3 and l * (0 / 0) or l
      end }
  end
  local net, r = run("stop")
  check.equal(r.state, "diverged")
  check.equal(r.step, 3)
  check.is_true(r.reason:find("step 3", 1, true) ~= nil)
  for _, p in ipairs(net:parameters()) do check.is_false(p:isnan():any():item() ~= 0) end
  net, r = run("skip")
  check.equal(r.state, "done")
  check.equal(r.skipped, 1)
  for _, p in ipairs(net:parameters()) do check.is_false(p:isnan():any():item() ~= 0) end
end

function T.test_a_finished_run_is_returned_and_another_configuration_raises()
  check.in_folder(function(dir)
    local first = ml.train(options(dir))
    local o = options(dir)
    local again = ml.train(o)
    check.equal(again.resumed_at, 40)
    check.equal(again.history[45].error, first.history[45].error)
    check.raises("another configuration (steps was 40, is 41)", ml.train,
      options(dir, { steps = 41 }))
  end)
end

-- error: a checkpoint that lacks something changes neither the model nor the optimizer
function T.test_a_damaged_checkpoint_changes_nothing()
  check.in_folder(function(dir)
    local o = options(dir, { steps = 14 })
    local data = o.data
    o.data = { batch = function(_, i)
      if i == 10 then error("stop here", 0) end
      return data:batch(i)
    end }
    check.raises("stop here", ml.train, o)
    local path = dir .. "/checkpoint.safetensors"
    local whole, metadata = ml.load(path)
    local function damaged(name, value, said)
      local parts = {}
      for key, t in pairs(whole) do parts[key] = t end
      parts[name] = value
      ml.save(path, parts, { metadata = metadata })
      local again = options(dir, { steps = 14 })
      local before = {}
      for key, p in pairs(again.model:named_parameters()) do before[key] = p:detach():clone() end
      check.raises(said, ml.train, again)
      for key, p in pairs(again.model:named_parameters()) do
        check.is_true(p:detach():equal(before[key]))
      end
    end
    damaged("model.1.weight", nil, "has no tensor 'model.1.weight'")
    damaged("model.1.weight", ml.zeros { 3, 3, dtype = "f32" }, "'model.1.weight' is f32 [3x3]")
    damaged("optimizer.4.bias.v", nil, "4.bias.v")
  end)
end

function T.test_interrupt_saves_and_resume_is_bit_for_bit()
  check.in_folder(function(dir)
    local testing = require("moonlab.core").testing
    ml.train(options(dir .. "/whole"))
    for _, at in ipairs { 1, 9, 20, 33 } do
      local cut = dir .. "/cut" .. at
      local n = 0
      check.raises("interrupted", ml.train, options(cut,
        { log = function() n = n + 1 if n == at then testing.cancel() end end }))
      ml.train(options(cut))
      check.equal(read(cut .. "/metrics.jsonl"), read(dir .. "/whole/metrics.jsonl"))
      check.equal(read(cut .. "/checkpoint.safetensors"),
        read(dir .. "/whole/checkpoint.safetensors"))
    end
  end)
end

-- An interrupt between the update of the weights and the count of the step: nothing may be saved
-- that the step has been through already.
function T.test_interrupt_in_the_middle_of_an_update_is_bit_for_bit()
  check.in_folder(function(dir)
    ml.train(options(dir .. "/whole"))
    for _, at in ipairs { 3, 9, 20 } do
      local cut = dir .. "/cut" .. at
      local o = options(cut)
      local opt, n = o.opt, 0
      local function forward(name) return function(_, ...) return opt[name](opt, ...) end end
      o.opt = { zero_grad = forward "zero_grad", state = forward "state",
        load_state = forward "load_state", options = forward "options",
        step = function(_, s)
          opt:step(s)
          n = n + 1
          if n == at then error "interrupted" end
        end }
      check.raises("interrupted", ml.train, o)
      ml.train(options(cut))
      for _, file in ipairs { "/metrics.jsonl", "/checkpoint.safetensors" } do
        check.equal(read(cut .. file), read(dir .. "/whole" .. file))
      end
    end
  end)
end

-- kill -9 at random moments, start again, until it is done; every file is that of the run that was
-- never killed.
function T.test_kill_9_and_resume_is_bit_for_bit()
  check.in_folder(function(dir)
    local script = dir .. "/run.lua"
    local file = assert(io.open(script, "w"))
    file:write(([[
      local ml = require "moonlab"
      ml.threads(1)
      local T = dofile("tests/lua/train/test_train.lua")
      local o = T.options_for_kill(arg[1])
      ml.train(o)
    ]]))
    file:close()
    local function command(target)
      return ("env LUA_PATH='tests/support/?.lua;;' %s '%s' '%s'"):format(program.word, script,
        target)
    end
    local watch = ml.now()
    check.is_true(os.execute(command(dir .. "/whole")))
    local longest = ml.now() - watch
    local g = ml.rng(os.time())
    local kills = 0
    for _ = 1, 200 do
      local delay = ml.scope(function() return g:uniform({ 1 })[1] end) * longest
      local ok, _, code = os.execute(("{ timeout -s KILL %.4f %s; } 2>/dev/null"):format(delay,
        command(dir .. "/cut")))
      if not ok then
        check.equal(code, 137) -- killed, not failed
        kills = kills + 1
      elseif kills > 0 then
        break
      else -- quicker than the first run was: not one kill yet
        longest = longest / 2
        check.is_true(os.execute(("rm -r '%s'"):format(dir .. "/cut")))
      end
    end
    check.is_true(os.execute(command(dir .. "/cut")))
    check.is_true(kills > 0)
    check.equal(read(dir .. "/cut/metrics.jsonl"), read(dir .. "/whole/metrics.jsonl"))
    check.equal(read(dir .. "/cut/checkpoint.safetensors"),
      read(dir .. "/whole/checkpoint.safetensors"))
    for entry in lfs.dir(dir .. "/cut") do
      check.is_true(entry == "." or entry == ".." or entry == "config.json"
        or entry == "metrics.jsonl" or entry == "checkpoint.safetensors"
        or entry:find("^%.") ~= nil or entry:find("tmp") ~= nil)
    end
  end)
end

function T.options_for_kill(dir)
  return options(dir, { steps = 3000, checkpoint = { every = 50 }, eval_every = 500,
    schedule = function(t)
      return ml.schedule.warmup_cosine(t, { warmup = 5, total = 3000 })
    end })
end

function T.test_a_steady_step_allocates_nothing() -- property
  local net, data = problem(2)
  local opt = ml.optim.adamw(net:parameters(), { lr = 0.01 })
  local before
  ml.train { model = net, data = data, opt = opt, steps = 30, loss = loss, log = function(r)
    if r.step == 10 then before = ml.memory().system_allocations end
  end }
  check.equal(ml.memory().system_allocations, before)
end

-- a NaN gradient behind a finite loss is a NaN: no update, with and without clipping
function T.test_nan_gradients_are_not_applied()
  for _, clip in ipairs { false, 1 } do
    local o = options(nil, { steps = 12, on_nan = "skip", clip = clip or nil, eval_every = 12 })
    if not clip then o.clip = nil end
    local plain, data = o.loss, o.data
    o.data = { batch = function(_, i) return { inner = data:batch(i), bad = i == 7 } end }
    o.loss = function(model, batch)
      local l = plain(model, batch.inner)
      if not batch.bad then return l end
      return ml.where(l:gt(-1), l, (l - l):sqrt() * (0 / 0))
    end
    o.eval = nil
    local r = ml.train(o)
    check.equal(r.skipped, 1)
    check.equal(r.history[7].skipped, 1)
    for _, p in ipairs(o.model:parameters()) do check.equal(p:isnan():any():item(), 0) end
    o = options(nil, { steps = 12, clip = clip or nil })
    o.loss = function(model, batch)
      local l = plain(model, batch)
      return ml.where(l:gt(-1), l, (l - l):sqrt() * (0 / 0))
    end
    r = ml.train(o)
    check.equal(r.state, "diverged")
    check.equal(r.step, 1)
  end
end

-- error: groups are part of what a run is
function T.test_other_group_scales_are_another_configuration()
  check.in_folder(function(dir)
    local function with_scale(scale)
      local o = options(dir, { steps = 10 })
      o.opt = ml.optim.sgd({ { params = o.model:parameters(), lr_scale = scale } }, { lr = 0.01 })
      return o
    end
    local o = with_scale(1)
    local data = o.data
    o.data = { batch = function(_, i)
      if i == 9 then error("stop here", 0) end
      return data:batch(i)
    end }
    check.raises("stop here", ml.train, o)
    check.raises("optimizer.parameters.1.lr_scale was 1.0, is 5.0", ml.train, with_scale(5))
    check.equal(ml.train(with_scale(1)).resumed_at, 7)
  end)
end

function T.test_errors()
  local o = options(nil)
  local function with(key, value)
    local copy = {}
    for k, v in pairs(o) do copy[k] = v end
    copy[key] = value
    return copy
  end
  check.raises("did you mean 'steps'", ml.train, with("stesp", 3))
  check.raises("option 'steps' is 0", ml.train, with("steps", 0))
  check.raises("on_nan", ml.train, with("on_nan", "ignore"))
  check.raises("clip", ml.train, with("clip", -1))
  check.raises("wanted a 0-d tensor", ml.train, with("loss", function() return 3 end))
  check.raises("batch(self, i)", ml.train, with("data", {}))
  check.raises("option 'opt'", ml.train, with("opt", {}))
  check.raises("schedule returned nil at step 1", ml.train, with("schedule", function() end))
  check.raises("eval gave", ml.train, with("eval", function() return { note = "text" } end))
  check.raises("there is no folder for it", ml.train, with("checkpoint", { every = 5 }))
  check.raises("option 'rngs': 'a' is 3, wanted a generator", ml.train, with("rngs", { a = 3 }))
  check.raises("option 'config' is 3, wanted a table", ml.train, with("config", 3))
  check.raises("/dev/null is not a folder", ml.train, with("dir", "/dev/null/a"))
  check.raises("eval gave ml.rng as 'eval', wanted a number", ml.train,
    with("eval", function() return ml.rng(1) end))
  check.raises("a tensor of shape [16x1]", ml.train,
    with("loss", function(model, batch) return model(batch.x) end))
end

return T
