-- Update rules against their definitions written out in Lua, and against PyTorch.
local ml = require "moonlab"
local check = require "check"
local T = {}

local n, steps = 11, 6
local function start(i) return math.sin(1.3 * i + 0.2) end
local function gradient(t, i) return math.cos(0.7 * i * t + t) * (0.05 + 0.3 * (t % 3)) end

local function tensor_of(f)
  local list = {}
  for i = 1, n do list[i] = f(i) end
  return ml.f64(list)
end

-- Runs the optimizer in f64 and in f32; returns its weights.
local function run(rule, options, schedule, shape, dtype)
  local t = tensor_of(start):to(dtype or "f64")
  if shape then t = t:reshape(shape) end
  local w = ml.param(t)
  local opt = ml.optim[rule]({ w }, options)
  for step = 1, steps do
    local g = tensor_of(function(i) return gradient(step, i) end):to(dtype or "f64")
    if shape then g = g:reshape(shape) end
    opt:step(schedule and schedule(step) or 1, { g })
  end
  return w:detach():to("f64"):reshape { n }
end

-- The same by definition: update(w, g, state, t, s) changes the list w.
local function by_definition(update, schedule)
  local w, state = {}, {}
  for i = 1, n do w[i] = start(i) end
  for t = 1, steps do
    local g = {}
    for i = 1, n do g[i] = gradient(t, i) end
    update(w, g, state, t, schedule and schedule(t) or 1)
  end
  return w
end

local function rms(x)
  local sum = 0
  for _, v in ipairs(x) do sum = sum + v * v end
  return math.sqrt(sum / #x)
end

local function moments(g, state, b1, b2, t)
  state.m, state.v = state.m or {}, state.v or {}
  local mh, vh = {}, {}
  for i, x in ipairs(g) do
    state.m[i] = b1 * (state.m[i] or 0) + (1 - b1) * x
    state.v[i] = b2 * (state.v[i] or 0) + (1 - b2) * x * x
    mh[i], vh[i] = state.m[i] / (1 - b1 ^ t), state.v[i] / (1 - b2 ^ t)
  end
  return mh, vh
end

local function falling(t) return 1 / t end

function T.test_adamw_with_each_decay_under_a_schedule() -- analytic
  local lr, lambda, b1, b2, eps = 0.02, 0.3, 0.9, 0.95, 1e-3
  for decay, shrink in pairs {
    independent = function(s) return s * lambda end,
    decoupled = function(s) return s * lr * lambda end,
  } do
    local wanted = by_definition(function(w, g, state, t, s)
      local mh, vh = moments(g, state, b1, b2, t)
      for i = 1, n do w[i] = w[i] - s * lr * mh[i] / (math.sqrt(vh[i]) + eps) - shrink(s) * w[i] end
    end, falling)
    local found = run("adamw", { lr = lr, betas = { b1, b2 }, eps = eps, weight_decay = lambda,
      decay = decay }, falling)
    check.close(found, wanted, { rtol = 1e-12 })
  end
  local wanted = by_definition(function(w, g, state, t, s)
    local coupled = {}
    for i = 1, n do coupled[i] = g[i] + lambda * w[i] end
    local mh, vh = moments(coupled, state, b1, b2, t)
    for i = 1, n do w[i] = w[i] - s * lr * mh[i] / (math.sqrt(vh[i]) + eps) end
  end, falling)
  check.close(run("adamw", { lr = lr, betas = { b1, b2 }, eps = eps, weight_decay = lambda,
    decay = "coupled" }, falling), wanted, { rtol = 1e-12 })
end

function T.test_independent_equals_decoupled_without_a_schedule() -- property, Wortsman et al. 2023
  local lr, lambda = 0.05, 0.2
  check.close(run("adamw", { lr = lr, weight_decay = lr * lambda, decay = "independent" }),
    run("adamw", { lr = lr, weight_decay = lambda, decay = "decoupled" }), { rtol = 1e-13 })
end

function T.test_adam_atan2() -- analytic
  local lr, a, b = 0.03, 1.27, 0.8
  local wanted = by_definition(function(w, g, state, t, s)
    local mh, vh = moments(g, state, 0.9, 0.95, t)
    for i = 1, n do w[i] = w[i] - s * lr * a * math.atan(mh[i], b * math.sqrt(vh[i])) end
  end)
  check.close(run("adam_atan2", { lr = lr, a = a, b = b }), wanted, { rtol = 1e-12 })
  check.close(run("adam_atan2", { lr = lr, a = a, b = b }, nil, nil, "f32"), wanted,
    { rtol = 3e-5, atol = 3e-6 })
end

function T.test_adam_atan2_of_nothing_moves_nothing() -- analytic: atan2(0, 0) = 0
  for _, dtype in ipairs { "f64", "f32" } do
    local w = ml.param(ml.ones { 3, dtype = dtype })
    ml.optim.adam_atan2({ w }, { lr = 1, weight_decay = 0 }):step(1,
      { ml.zeros { 3, dtype = dtype } })
    check.equal(w:detach(), ml.ones { 3, dtype = dtype })
  end
end

function T.test_adam_with_parameter_scaling() -- analytic
  local lr, eps = 0.1, 1e-6
  local wanted = by_definition(function(w, g, state, t, s)
    local scale = math.max(rms(w), 1e-3)
    local mh, vh = moments(g, state, 0.9, 0.95, t)
    for i = 1, n do w[i] = w[i] - s * lr * scale * mh[i] / (math.sqrt(vh[i]) + eps) end
  end)
  check.close(run("adam_ps", { lr = lr, eps = eps }), wanted, { rtol = 1e-12 })
end

function T.test_update_clip() -- analytic
  local lr, eps = 0.1, 1e-2
  local wanted = by_definition(function(w, g, state, t, s)
    local mh, vh = moments(g, state, 0.9, 0.95, t)
    local ratio = {}
    for i = 1, n do ratio[i] = g[i] / math.sqrt(math.max(vh[i], eps * eps)) end
    local clip = math.max(1, rms(ratio))
    for i = 1, n do w[i] = w[i] - s * lr / clip * mh[i] / (math.sqrt(vh[i]) + eps) end
  end)
  check.close(run("adamw", { lr = lr, eps = eps, weight_decay = 0, update_clip = true }), wanted,
    { rtol = 1e-12 })
end

function T.test_lion() -- analytic
  local lr, lambda, b1, b2 = 0.01, 0.3, 0.9, 0.99
  local wanted = by_definition(function(w, g, state, _, s)
    state.m = state.m or {}
    for i = 1, n do
      local m = state.m[i] or 0
      local c = b1 * m + (1 - b1) * g[i]
      w[i] = w[i] - s * lr * ((c > 0 and 1 or c < 0 and -1 or 0) + lambda * w[i])
      state.m[i] = b2 * m + (1 - b2) * g[i]
    end
  end, falling)
  check.close(run("lion", { lr = lr, betas = { b1, b2 }, weight_decay = lambda }, falling), wanted,
    { rtol = 1e-12 })
end

local function adafactor(shape_rows)
  local lr, eps1, eps2 = 0.2, 1e-30, 1e-3
  return by_definition(function(w, g, state, t, s)
    local b2 = 1 - t ^ -0.8
    local u = {}
    if shape_rows then
      local rows, cols = shape_rows, n // shape_rows
      state.R, state.C = state.R or {}, state.C or {}
      local mean = 0
      for r = 1, rows do
        local sum = 0
        for c = 1, cols do sum = sum + g[(r - 1) * cols + c] ^ 2 + eps1 end
        state.R[r] = b2 * (state.R[r] or 0) + (1 - b2) * sum / cols
        mean = mean + state.R[r] / rows
      end
      for c = 1, cols do
        local sum = 0
        for r = 1, rows do sum = sum + g[(r - 1) * cols + c] ^ 2 + eps1 end
        state.C[c] = b2 * (state.C[c] or 0) + (1 - b2) * sum / rows
      end
      for i = 1, n do
        local r, c = (i - 1) // cols + 1, (i - 1) % cols + 1
        u[i] = g[i] / math.sqrt(state.R[r] * state.C[c] / mean)
      end
    else
      state.V = state.V or {}
      for i = 1, n do
        state.V[i] = b2 * (state.V[i] or 0) + (1 - b2) * (g[i] ^ 2 + eps1)
        u[i] = g[i] / math.sqrt(state.V[i])
      end
    end
    local step = s * lr * math.max(rms(w), eps2) / math.max(1, rms(u))
    for i = 1, n do w[i] = w[i] - step * u[i] end
  end)
end

function T.test_adafactor_of_a_vector() -- analytic
  check.close(run("adafactor", { lr = 0.2 }), adafactor(nil), { rtol = 1e-12 })
end

function T.test_adafactor_of_a_matrix() -- analytic
  local was = n
  n = 12
  local ok, why = pcall(function()
    check.close(run("adafactor", { lr = 0.2, min_dim = 2 }, nil, { 3, 4 }), adafactor(3),
      { rtol = 1e-12 })
    -- below min_dim nothing is factored
    check.close(run("adafactor", { lr = 0.2, min_dim = 4 }, nil, { 3, 4 }), adafactor(nil),
      { rtol = 1e-12 })
  end)
  n = was
  if not ok then error(why, 0) end
end

function T.test_pytorch() -- golden
  local golden = ml.json.read("tests/golden/optim/golden.json")
  local cases = {
    sgd = { "sgd", { lr = 0.1 } },
    sgd_momentum = { "sgd", { lr = 0.1, momentum = 0.9, weight_decay = 0.01 } },
    sgd_nesterov = { "sgd", { lr = 0.1, momentum = 0.9, nesterov = true } },
    adam = { "adam", { lr = 0.05, betas = { 0.9, 0.95 }, eps = 1e-6, weight_decay = 0.1 } },
    adamw = { "adamw", { lr = 0.05, betas = { 0.9, 0.95 }, eps = 1e-6, weight_decay = 0.1,
      decay = "decoupled" } },
  }
  for name, case in pairs(cases) do
    local w = ml.param(ml.f64(golden.weights))
    local opt = ml.optim[case[1]]({ w }, case[2])
    for _, g in ipairs(golden.grads) do opt:step(1, { ml.f64(g) }) end
    check.close(w:detach(), golden.results[name], { rtol = 1e-12 })
  end
end

function T.test_groups_scale_rates_and_decay() -- analytic
  local a, b = ml.param(ml.ones { 2 }), ml.param(ml.ones { 2 })
  local opt = ml.optim.sgd({ { params = { a }, name = "slow", lr_scale = 0.5, decay_scale = 0 },
    { params = { b }, name = "fast" } }, { lr = 0.1, weight_decay = 0.2, decay = "decoupled" })
  opt:step(1, { ml.ones { 2 }, ml.ones { 2 } })
  check.close(a:detach(), { 0.95, 0.95 }, { rtol = 1e-15 })
  check.close(b:detach(), { 0.9 - 0.02, 0.9 - 0.02 }, { rtol = 1e-15 })
end

function T.test_tensors_without_a_gradient_are_left_alone() -- property
  local a, b = ml.param(ml.ones { 2 }), ml.param(ml.ones { 2 })
  local opt = ml.optim.adamw({ a, b }, { lr = 0.1 })
  ;(a * a):sum():backward()
  opt:step()
  check.is_true(a:detach()[1] < 1)
  check.equal(b:detach(), ml.ones { 2 })
end

function T.test_state_survives_a_file() -- property
  check.in_folder(function(dir)
    local function fresh() return ml.param(tensor_of(start)) end
    local w1, w2 = fresh(), fresh()
    local o1, o2 = ml.optim.adamw({ w1 }, { lr = 0.1 }), ml.optim.adamw({ w2 }, { lr = 0.1 })
    local g = tensor_of(function(i) return gradient(1, i) end)
    o1:step(1, { g })
    o1:step(1, { g })
    ml.save(dir .. "/o.safetensors", o1:state())
    ml.no_grad(function() w2:copy_(w1:detach()) end)
    o2:load_state(ml.load(dir .. "/o.safetensors"))
    o1:step(0.5, { g })
    o2:step(0.5, { g })
    check.equal(w2:detach(), w1:detach())
  end)
end

-- analytic: squares beyond the range of double; 3e-16 are a few roundings
function T.test_clip_grad_norm_of_huge_and_tiny_gradients()
  for _, scale in ipairs { 1e-320, 1e-300, 1e-200, 1e-140, 1e100, 1e153, 1e154, 1e200, 1e307 } do
    local w = ml.param(ml.zeros { 2 })
    w:set_grad(ml.f64 { 3, -4 } * scale)
    local rtol = scale < 1e-307 and 1e-3 or 3e-16 -- few bits are left of 1e-320
    check.close(ml.optim.clip_grad_norm({ w }, scale) / scale, 5, { rtol = rtol })
    if scale >= 1e-300 then
      check.close(w:grad() / scale, ml.f64 { 0.6, -0.8 }, { rtol = 6e-16 })
    end
  end
  local w, v = ml.param(ml.zeros { 40000 }), ml.param(ml.zeros { 2, dtype = "f32" })
  w:set_grad(ml.full({ 40000 }, 1.5e308)) -- the norm itself is beyond double: 200 * 1.5e308
  v:set_grad(ml.f32 { 1, 2 })
  check.equal(ml.optim.clip_grad_norm({ w, v }, 2), math.huge)
  check.close(w:grad(), ml.full({ 40000 }, 0.01), { rtol = 1e-12 })
  for _, bad in ipairs { 0 / 0, math.huge } do
    w:set_grad(ml.full({ 40000 }, bad))
    ml.optim.clip_grad_norm({ w, v }, 2)
    check.equal(w:grad(), ml.full({ 40000 }, bad))
  end
  check.equal(ml.optim.clip_grad_norm({ ml.param(ml.zeros { 2 }) }, 2), 0)
end

-- golden: the norms before squares were guarded, to the last bit
function T.test_clip_grad_norm_of_ordinary_gradients_is_the_root_of_the_sum_of_squares()
  for seed = 1, 3 do
    local w = ml.param(ml.zeros { 17 })
    local g = ml.rng(seed):normal { 17 }
    w:set_grad(g)
    local lanes = {}
    for k = 1, 16 do lanes[k] = g[k] * g[k] end
    lanes[1] = lanes[1] + g[17] * g[17]
    for _, width in ipairs { 8, 4, 2, 1 } do
      for k = 1, width do lanes[k] = lanes[k] + lanes[k + width] end
    end
    check.close(ml.optim.clip_grad_norm({ w }, 1e9), math.sqrt(lanes[1]), { rtol = 2.3e-16 })
  end
end

function T.test_clip_grad_norm() -- analytic
  local a, b = ml.param(ml.f64 { 1, 2 }), ml.param(ml.f64 { 2 })
  local function backward()
    a:zero_grad()
    b:zero_grad()
    ml.value_and_grad(function() return a:sum() end)({ a })
    ;((a * ml.f64 { 3, 0 }):sum() + (b * 4):sum()):backward()
  end
  backward()
  check.close(ml.optim.clip_grad_norm({ a, b }, 10), 5, { rtol = 1e-15 })
  check.close(a:grad(), { 3, 0 }, { rtol = 1e-15 })
  check.close(ml.optim.clip_grad_norm({ a, b }, 1), 5, { rtol = 1e-15 })
  check.close(a:grad(), { 0.6, 0 }, { rtol = 1e-15 })
  check.close(b:grad(), { 0.8 }, { rtol = 1e-15 })
end

function T.test_bytes_do_not_depend_on_threads() -- property
  local before = ml.threads()
  local results = {}
  for _, threads in ipairs { 1, 2, 3, 8 } do
    ml.threads(threads)
    local w = ml.param(ml.rng(1):normal { 300, 701, dtype = "f32" })
    local g = ml.rng(2):normal { 300, 701, dtype = "f32" }
    for _, rule in ipairs { "adamw", "adam_ps", "adafactor", "lion" } do
      ml.optim[rule]({ w }, { lr = 0.01 }):step(1, { g })
    end
    ml.optim.adamw({ w }, { lr = 0.01, update_clip = true }):step(1, { g })
    results[#results + 1] = w:detach()
  end
  ml.threads(before)
  for i = 2, #results do check.equal(results[i], results[1]) end
end

function T.test_errors()
  local w = ml.param(ml.ones { 2 })
  check.raises("lr is nan", ml.optim.adamw, { w }, { lr = 0 / 0 })
  check.raises("did you mean 'weight_decay'", ml.optim.adamw, { w }, { weigth_decay = 1 })
  check.raises("betas[1] is 1", ml.optim.adamw, { w }, { betas = { 1, 0.9 } })
  check.raises("not a parameter", ml.optim.adamw, { ml.ones { 2 } })
  check.raises("given twice", ml.optim.adamw, { w, w })
  check.raises("no parameters", ml.optim.adamw, {})
  check.raises("lion's decay is decoupled", ml.optim.lion, { w }, { decay = "independent" })
  check.raises("f64 [3]", function() ml.optim.sgd({ w }):step(1, { ml.ones { 3 } }) end)
  check.raises("multiplier is nan", function() ml.optim.sgd({ w }):step(0 / 0) end)
  check.raises("state 1.m is missing", function() ml.optim.adamw({ w }):load_state {} end)
end

function T.test_gradients_under_other_keys_raise() -- they would train nothing
  local net = ml.nn.Linear { 2, 1 }
  local opt = ml.optim.sgd(net:parameters(), { lr = 1 })
  check.raises("gradient 'weight' belongs to none", opt.step, opt, 1,
    { weight = ml.zeros { 2, 1, dtype = "f32" } })
  check.raises("belongs to none", opt.step, opt, 1, { [3] = ml.zeros { 1 } })
  check.raises("group 1 has an unknown option 'lrscale'; did you mean 'lr_scale'", ml.optim.sgd,
    { { params = net:parameters(), lrscale = 1 } })
end

function T.test_a_failed_allocation_leaks_nothing()
  check.no_leak(function()
    ml.scope(function()
      local w = ml.param(ml.ones { 40, 40 })
      local opt = ml.optim.adafactor({ w }, { min_dim = 8 })
      opt:step(1, { ml.ones { 40, 40 } })
      local o2 = ml.optim.adamw({ a = w }, { update_clip = true })
      o2:step(1, { a = ml.ones { 40, 40 } })
      ml.optim.clip_grad_norm({ w }, 1)
    end)
  end)
end

function T.test_a_state_with_an_impossible_step_is_refused() -- error
  local opt = ml.optim.adam({ ml.param(ml.ones { 2 }) }, { lr = 0.1 })
  for _, step in ipairs { 0 / 0, -1, 1.5, 1e300 } do
    check.raises("state 1.step", opt.load_state, opt,
      { ["1.m"] = ml.zeros { 2 }, ["1.v"] = ml.zeros { 2 }, ["1.step"] = ml.f64(step) })
  end
end

return T
