-- Runs of proxies, the coordinate check and alignment ratios.
local ml = require "moonlab"
local check = require "check"
local T = {}

function T.test_the_source_has_the_stated_statistics() -- property
  local s = ml.proxies.source { train = 4000, seed = 5 }
  local rows, follows, copies, n = s.train:totable(), 0, 0, 0
  for _, row in ipairs(rows) do
    for t = 9, 16 do -- where what stands 8 places back is uniform
      n = n + 1
      if row[t] == (5 * (row[t - 1] - 1) + 3) % 64 + 1 then follows = follows + 1 end
      if row[t] == row[t - 8] then copies = copies + 1 end
    end
  end
  -- 11p + 7 is 5p + 3 for two ids in 64; tolerance: five standard deviations
  check.close(copies / n, 0.4 + 0.6 / 64, { atol = 0.014 })
  check.close(follows / n, 0.6 * (0.5 + 0.25 * 2 / 64 + 0.25 / 64) + 0.4 / 64, { atol = 0.014 })
  check.equal(s:batch(300), s:batch(300))
  local seen = {} -- an epoch visits every row once
  for i = 1, 500 do
    for _, row in ipairs(s:batch(i):totable()) do seen[table.concat(row, " ")] = true end
  end
  local count = 0
  for _ in pairs(seen) do count = count + 1 end
  check.equal(count, 4000)
end

function T.test_a_run_is_measured_and_repeats_itself() -- property
  local p = { size = "S0", steps = 30, every = 10, lr = 1e-2, qk_norm = true }
  local a, b = ml.proxies.train(p), ml.proxies.train(p)
  check.equal(a, b)
  check.equal(a.state, "done")
  check.equal(a.series.step, { 10, 20, 30 })
  check.close(a.initial, math.log(64) + 0.5, { atol = 0.1 })
  check.is_true(a.final < a.initial and a.grad_rms > 0 and a.update_rms > 0)
  check.is_true(a.below_eps >= 0 and a.below_eps < 0.5)
  check.equal(a.tensors["blocks.1.mlp.w1"].update_rms, a.update_rms)
  for _, name in ipairs { "head", "tokens", "norm.gain", "blocks.1.attn.q_norm.gain" } do
    local t = a.tensors[name]
    check.is_true(t.grad_rms > 0 and t.update_rms > 0 and t.param_rms >= math.abs(t.mean))
  end
  check.equal({ a.N, a.N_all }, { 3072 + 32 + 32 + 16, 3152 + 2048 })
end

-- With gains 1, |q| and |k| are sqrt(d_head), so no logit exceeds sqrt(d_head) = 4.
function T.test_normalised_queries_bound_the_first_logits() -- analytic
  for _, size in ipairs { "S0", "S1", "S2" } do
    local config = require("moonlab.proxies.run").config({ size = size, head_width = 16,
      qk_norm = true, kappa = 0, scale = "1/sqrt(d_head)", seed = 1 }, 64, 32)
    local lm = ml.transformer(config)
    local _, info = lm:loss(ml.proxies.source { train = 64 }.train, { probes = true })
    for _, z in ipairs(info.max_abs_logit) do check.is_true(z <= 4 * (1 + 1e-5)) end
  end
end

-- Constants of atan2: the same network parts with each of them.
function T.test_presets_of_atan2_differ() -- property
  local finals = {}
  for i, name in ipairs { "unit", "pi", "wide" } do
    finals[i] = ml.proxies.train({ size = "S0", steps = 10, optimizer = "adam_atan2",
      atan2 = name }).final
  end
  check.is_true(finals[1] ~= finals[2] and finals[2] ~= finals[3] and finals[1] ~= finals[3])
end

function T.test_a_diverged_run_is_a_result() -- property
  local r = ml.proxies.train { size = "S0", steps = 40, lr = 1e30, optimizer = "sgd", clip = 0 }
  check.equal(r.state, "diverged")
  check.is_true(r.final ~= r.final)
end

-- The sum of the gradient over the vocabulary vanishes for the cross-entropy and is 2 c log Z with
-- the z term: a common shift of all logits is seen by the z term only.
function T.test_only_the_z_term_sees_a_common_shift() -- analytic
  local g = ml.rng(2)
  local logits = ml.param(g:normal { 6, 9 } * 3)
  local targets = g:integers(1, 9, { 6 })
  ml.nn.cross_entropy(logits, targets):backward()
  check.close(logits:grad():sum(2), ml.zeros { 6 }, { atol = 1e-15 })
  logits:zero_grad()
  ml.nn.cross_entropy(logits, targets, { z_loss = 0.01 }):backward()
  check.close(logits:grad():sum(2), logits:detach():logsumexp(-1) * (2 * 0.01 / 6),
    { rtol = 1e-12 })
end

-- At constant s the two forms of decay coincide when lambda_independent = lr lambda_decoupled.
function T.test_forms_of_decay_coincide_at_a_constant_rate() -- property
  local function train(form, lambda)
    local w = ml.param(ml.rng(1):normal { 5 })
    local opt = ml.optim.adamw({ w }, { lr = 0.03, weight_decay = lambda, decay = form })
    for i = 1, 20 do opt:step(1, { ml.rng(2):fold("g", i):normal { 5 } }) end
    return w:detach()
  end
  check.close(train("independent", 0.03 * 0.2), train("decoupled", 0.2), { rtol = 1e-12 })
end

-- Multiplying the loss by 2^-20 changes nothing for atan2 or with epsilon scaled; else it does.
function T.test_epsilon_is_part_of_the_scale() -- property
  local function train(rule, scale, eps)
    local w = ml.param(ml.rng(1):normal { 50 })
    local o = { lr = 0.01, betas = { 0.9, 0.95 } }
    if rule == "adam" then o.eps = eps end
    local opt = ml.optim[rule]({ w }, o)
    for i = 1, 100 do opt:step(1, { ml.rng(2):fold("g", i):normal { 50 } * (1e-3 * scale) }) end
    return w:detach()
  end
  local s = 2.0 ^ -20
  check.equal(train("adam_atan2", s), train("adam_atan2", 1))
  check.equal(train("adam", s, 1e-8 * s), train("adam", 1, 1e-8))
  check.is_true((train("adam", s, 1e-8) - train("adam", 1, 1e-8)):abs():max():item() > 0.1)
end

function T.test_alignment_of_known_pairs() -- analytic
  local g = ml.rng(4)
  local v, z = g:normal { 1, 300 }, g:normal { 256, 1 }
  check.close(ml.alignment { W = z:matmul(v), z = z:reshape { 1, 256 } }.A, 1, { rtol = 1e-12 })
  check.close(ml.alignment { W = g:normal { 256, 256 }, z = g:normal { 64, 256 } }.A, 0.5,
    { atol = 0.03 })
  local W0, z0 = g:normal { 256, 256 }, g:normal { 64, 256 }
  local a = ml.alignment { W0 = W0, z0 = z0, W = W0 + z:matmul(g:normal { 1, 256 }),
    z = z0 + z:reshape { 1, 256 } }
  check.close(a.u, 1, { rtol = 1e-9 }) -- both changes along z
  check.close({ a.alpha, a.omega }, { 0.5, 0.5 }, { atol = 0.1 })
  check.is_true(ml.alignment { W = W0 * 0, z = z0 }.A ~= ml.alignment { W = W0 * 0, z = z0 }.A)
  check.raises("go together", ml.alignment, { W = W0, z = z0, W0 = W0 })
  check.raises("columns", ml.alignment, { W = W0, z = z })
end

-- The forward pass in Lua, from which the inputs of the matrices are taken, is the decoder's own.
function T.test_the_inputs_of_the_matrices_give_the_outputs_of_the_blocks() -- property
  local inputs, ids = require "moonlab.proxies.inputs", ml.rng(3):integers(1, 64, { 2, 32 })
  for _, o in ipairs { {}, { qk_norm = true, qk_norm_order = "after_rotary", norm = "rms" },
    { attention_scale = "1/d_head", positions = "learned", parameterization = "mup" } } do
    local config = { vocab = 64, context = 32, depth = 2, width = 32, heads = 2, dtype = "f64" }
    for key, value in pairs(o) do config[key] = key ~= "parameterization" and value or nil end
    local lm = ml.transformer(config)
    if o.parameterization then
      ml.parameterization(lm, { name = o.parameterization, base_width = 8 })
    end
    local found, outputs = inputs(lm, ids)
    local hidden = lm:hidden(ids)
    check.equal(#found, 13)
    -- the first block's input is the same; what differs is the order of the sums
    for l = 1, 2 do check.close(outputs[l], hidden[l], { rtol = 1e-12, atol = 1e-12 }) end
  end
end

function T.test_coordinate_check_finds_the_gradient_slopes() -- property
  local c = ml.coord_check { name = "mup", widths = { 64, 128, 256 }, steps = 2 }
  check.close({ c.slope["gradient hidden 1"], c.slope["initial logits"] }, { -1, -0.5 },
    { atol = 0.15 }) -- two octaves, two seeds
  check.is_true(tostring(c):find("expected", 1, true) ~= nil)
  check.raises("ascending multiples", ml.coord_check, { widths = { 64, 100 } })
  check.raises("wanted at least 2", ml.coord_check, { widths = { 64 } })
end

return T
