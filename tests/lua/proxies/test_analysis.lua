-- Analysis of sweeps on curves that are known, and what it refuses.
local ml = require "moonlab"
local check = require "check"
local T = {}

local nan = 0 / 0

function T.test_sensitivity_by_hand() -- analytic
  local s, info = ml.proxies.lr_sensitivity({ 1, 2, 3, 4 }, { 3, 1, 2, nan }, { initial = 4 })
  check.close(s, (2 + 0 + 1 + 3) / 4)
  check.close({ info.best_lr, info.best_loss, info.diverged, info.worst_ratio }, { 2, 1, 1, 4 })
  -- worse than at the start counts as the start; the smaller of two windows is reported
  check.close(ml.proxies.lr_sensitivity({ 1, 2 }, { 9, 1 }, { initial = 4 }), 1.5)
  s, info = ml.proxies.lr_sensitivity({ 1, 2, 3, 4 }, { 3, 1, 2, math.huge },
    { initial = 4, windows = { { 1, 3 }, { 2, 4 } } })
  check.close(s, 1)
  check.equal(info.window, { 1, 3 })
end

function T.test_a_sweep_that_diverges_everywhere_is_reported() -- property
  local s, info = ml.proxies.lr_sensitivity({ 1, 2 }, { nan, math.huge }, { initial = 4 })
  check.close(s, 0)
  check.equal({ info.diverged, info.best_lr == nil, info.best_loss }, { 2, true, 4 })
  check.is_nil((ml.proxies.optimal_lr({ 1, 2, 3 }, { nan, nan, nan })))
end

function T.test_right_branch_by_hand() -- analytic
  local found, best = ml.proxies.right_branch({ 1, 2, 3 }, { a = { 2, 1, 5 }, b = { 3, 2, 0.5 } },
    { initial = 4 })
  check.close(best, 0.5)
  check.close(found.a.excess, { 3.5 })
  check.close(found.a.lr, { 3 })
  check.equal(#found.b.excess, 0)
end

function T.test_optimum_of_a_parabola() -- analytic
  local lr, loss = {}, {}
  for i = 1, 6 do
    lr[i] = 2 ^ -i
    loss[i] = 1 + (math.log(lr[i]) - math.log(0.1)) ^ 2
  end
  local up, down = {}, {}
  for i = 1, 6 do up[i], down[i] = lr[7 - i], loss[7 - i] end
  local best, value = ml.proxies.optimal_lr(up, down)
  check.close({ best, value }, { 0.1, 1 }, { rtol = 1e-9 })
  check.is_nil((ml.proxies.optimal_lr({ 1, 2, 3 }, { 1, 2, 3 })))
end

function T.test_extrapolations_of_exact_laws() -- analytic
  local size, logit = { 1e3, 1e4, 1e5, 1e6 }, {}
  for i, n in ipairs(size) do
    local x = math.log(n, 10)
    logit[i] = 10 ^ (0.1 + 0.2 * x + 0.05 * x * x)
  end
  local foretold, info = ml.proxies.predict_logit(size, logit)
  check.close({ foretold, info.factor }, { logit[4], 1 }, { rtol = 1e-9 })
  local n, lr, rms = {}, {}, {}
  for i = 0, 8 do
    n[i + 1], lr[i + 1] = 10 ^ (3 + i % 3), 10 ^ (-3 + i // 3)
    rms[i + 1] = 2 * n[i + 1] ^ -0.5 * lr[i + 1] ^ -0.25
  end
  local law = ml.proxies.gradient_rms(n, lr, rms, { eps = 1e-6 })
  check.close({ law.size_exponent, law.lr_exponent }, { -0.5, -0.25 }, { rtol = 1e-9 })
  check.close(law.meets(1), 4e12, { rtol = 1e-6 })
  check.close(law.predict(100, 1), 0.2, { rtol = 1e-9 })
end

function T.test_bad_grids_raise() -- error
  local p = ml.proxies
  check.raises("is empty", p.lr_sensitivity, {}, {}, { initial = 1 })
  check.raises("wanted ascending", p.lr_sensitivity, { 2, 1 }, { 1, 1 }, { initial = 1 })
  check.raises("lr[1] is 0", p.lr_sensitivity, { 0, 1 }, { 1, 1 }, { initial = 1 })
  check.raises("option 'initial' is missing", p.lr_sensitivity, { 1 }, { 1 }, {})
  check.raises("wanted a finite number", p.lr_sensitivity, { 1 }, { 1 }, { initial = nan })
  check.raises("no learning rate", p.lr_sensitivity, { 1 }, { 1 },
    { initial = 1, windows = { { 5, 6 } } })
  check.raises("do not determine", p.gradient_rms, { 1, 2, 3 }, { 1, 1, 1 }, { 1, 1, 1 })
end

function T.test_configurations_and_their_difference() -- property
  local a, b = ml.proxies.preset "paper", ml.proxies.preset "nanodo-default"
  local found = {}
  for _, d in ipairs(ml.proxies.diff(a, b)) do found[d.name] = { d.left, d.right } end
  check.equal(found["optimizer.eps"], { 1e-8, 1e-9 })
  check.equal(found["optimizer.betas"], { { 0.9, 0.95 }, { 0.9, 0.98 } })
  check.equal(tostring(ml.proxies.diff(a, ml.proxies.preset "paper")), "no difference")
  check.raises("did you mean", ml.proxies.preset, "papers")
  -- they are options of ml.transformer
  b.model.vocab, b.model.depth, b.model.width, b.model.mlp_width = 16, 1, 16, 32
  check.is_true(ml.transformer(b.model):config().tied)
end

return T
