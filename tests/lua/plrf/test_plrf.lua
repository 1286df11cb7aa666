-- ml.plrf against closed examples, published check values, and itself.
local ml = require "moonlab"
local check = require "check"
local T = {}

-- golden: a problem of two features worked out by hand
function T.test_two_features()
  local p = ml.plrf.problem { alpha = 0.5, beta = 0.5, W = ml.f64 { { 1, 0 }, { 0, 1 },
    { 0.5, -0.5 } } }
  check.close(p.lambda, { 0.56981019, 1.09685647 }, { rtol = 1e-8 })
  check.close(p.rho, { 0.32389265, 0.98770433 }, { atol = 5e-9 })
  check.close(p.null, 0.0495141237, { rtol = 1e-9 })
  check.close(p:kernel_norm { gamma = 0.2 }, 0.2048192771, { rtol = 1e-9 })
  for _, method in ipairs { "secular", "recursion", "volterra" } do
    check.close(p:expected { gamma = 0.2, steps = { 0, 1, 2, 10, 100 }, method = method },
      { 1.3611111111, 1.0405963470, 0.8035606680, 0.1604193621, 0.0622677626 }, { rtol = 1e-9 })
  end
  check.close(p:expected { gamma = 0.2, steps = { 1e12 } }, { 0.06226776167 }, { rtol = 1e-9 })
end

-- golden: Paquette et al.'s fixed point, computed independently
function T.test_deterministic_values()
  local det = ml.plrf.deterministic { alpha = 0.7, beta = 0.6, d = 200, v = 800 }
  check.close({ det:m(-1) }, { 0.988908923730, 0 }, { rtol = 1e-11, atol = 1e-12 })
  check.close({ det:m(-0.01) }, { 0.752956992936, 0 }, { rtol = 1e-11, atol = 1e-12 })
  check.close({ det:m(0.1, 0.05) }, { 1.016143833428, -0.062506082912 }, { rtol = 1e-10 })
  check.close({ det:m(0.01, 0.001) }, { 1.067478359603, -0.348529699694 }, { rtol = 1e-10 })
  check.close({ det:m(3) }, { 1.005916884761, 0 }, { rtol = 1e-11, atol = 1e-12 })
  check.close({ det.kappa, det.F0, det:kernel_norm { gamma = 0.2 } },
    { 0.001292847854, 0.004630398125, 0.3247227824 }, { rtol = 1e-9 })
  local P, F, K = det:risk { gamma = 0.2, steps = { 0, 1, 10, 100, 1000, 10000, 100000 } }
  check.close(P, { 1.3054637, 1.0233433, 0.23180712, 0.030056139, 0.009838659, 0.0069671146,
    0.006857033 }, { rtol = 3e-8 })
  check.close(F, { 1.3054637, 0.95597905, 0.15134291, 0.018784241, 0.0065501088, 0.0047034796,
    0.0046303982 }, { rtol = 3e-8 })
  check.close(K[{ { 1, 5 } }], { 0.051601768, 0.037128363, 0.004666927, 0.00024675614,
    1.0529234e-5 }, { rtol = 3e-8 })
  local other = ml.plrf.deterministic { alpha = 0.45, beta = 0.9, d = 150, v = 300 }
  check.close(other:risk { gamma = 0.03, batch = 4, steps = { 0, 1, 10, 100, 1000, 10000 } },
    { 1.2742286, 1.0371445, 0.24968653, 0.050684004, 0.029957589, 0.027704295 }, { rtol = 3e-8 })
end

-- golden: the same sums in arithmetic of 40 digits, at a size where 1 - m is 1e-9
function T.test_digits_at_large_sizes()
  local det = ml.plrf.deterministic { alpha = 1.0, beta = 1.5, d = 100000000, v = 400000000 }
  local gamma = 1.2 / math.pi ^ 2
  local P, F = det:risk { gamma = gamma, steps = { 0.8e5 / gamma } }
  check.close(P, { 7.65073560098e-10 }, { rtol = 1e-8 }) -- 24 nodes: 1e-10 of what they sum
  check.close(F, { 4.61669054621e-11 }, { rtol = 1e-7 })
end

-- analytic: a feature that is 0, or that another one is, has nothing to learn; the curves are those
-- of the problem without it
function T.test_features_that_depend_on_each_other()
  local W = ml.rng(3):normal({ 12, 4 })
  local base = ml.plrf.problem { alpha = 0.8, beta = 0.6, W = W }
  local with_0 = ml.plrf.problem { alpha = 0.8, beta = 0.6,
    W = ml.concat({ W, ml.zeros { 12, 1 } }, 2) }
  check.close(with_0.lambda[1], 0)
  check.close(with_0.lambda[{ { 2, 5 } }], base.lambda, { rtol = 1e-12 })
  check.close({ with_0.null, with_0.loss0 }, { base.null, base.loss0 }, { rtol = 1e-12 })
  local steps = { 0, 3, 50, 1e6, 1e12 }
  local gamma = base:rate { norm = 0.3 }
  check.close(with_0:rate { norm = 0.3 }, gamma, { rtol = 1e-12 })
  check.close(with_0:expected { gamma = gamma, steps = steps },
    base:expected { gamma = gamma, steps = steps }, { rtol = 1e-11 })
  local theta = with_0:minimiser()
  check.close(theta[{ { 1, 4 } }], base:minimiser(), { rtol = 1e-10 })
  check.close(theta[5], 0, { atol = 1e-12 })
  local runs = with_0:sgd { gamma = gamma, steps = 50, runs = 400 }
  local mean = runs.risk:mean(1)[#runs.steps]
  local se = math.sqrt(runs.risk:var(1)[#runs.steps] / 400)
  check.is_true(math.abs(mean - base:expected { gamma = gamma, steps = { 50 } }[1]) < 4.5 * se)
  local twice = ml.plrf.problem { alpha = 0.8, beta = 0.6,
    W = ml.concat({ W, W[{ {}, { 1, 1 } }] }, 2) }
  check.close(twice.null, base.null, { rtol = 1e-12 })
  local t = twice:minimiser()
  check.close(t[5], t[1], { rtol = 1e-10 })
  local nothing = ml.plrf.problem { alpha = 0.8, beta = 0.6, W = ml.zeros { 6, 2 } }
  check.close(nothing:expected { gamma = 0.1, steps = { 0, 10, 1e9 } },
    { nothing.loss0, nothing.loss0, nothing.loss0 }, { rtol = 1e-14 })
end

-- property: the spectrum in cells gives the contour's curve, to second order in their width
function T.test_cells()
  local det = ml.plrf.deterministic { alpha = 0.7, beta = 0.6, d = 100, v = 400 }
  local gamma = det:rate()
  local steps = { 0, 1, 10, 100, 1000, 1e5, 1e9 }
  local want = det:risk { gamma = gamma, steps = steps }
  for n, error in pairs { [160] = 1e-3, [600] = 3e-5 } do
    local cells = det:cells { n = n }
    check.close(cells.counts:sum():item(), 100, { rtol = 1e-7 })
    check.close(cells.rho:sum():item() + cells.null, det.loss0, { rtol = 1e-6 })
    check.close(cells:expected { gamma = gamma, steps = steps }, want, { rtol = error })
  end
  local square = ml.plrf.deterministic { alpha = 0.7, beta = 0.7, d = 50, v = 50 }
  local late = { 1e10, 1e12, 1e14 } -- the edge at 0: the loss falls as r^-1/2
  local P = square:risk { gamma = square:rate(), steps = late }
  check.close({ P[2] / P[1], P[3] / P[2] }, { 0.1, 0.1 }, { rtol = 1e-3 })
  check.raises("'n' is 3", det.cells, det, { n = 3 })
end

-- property: over many steps at once the curves are the recursion's and the secular form's
function T.test_steps_in_log_time()
  local p = ml.plrf.problem { alpha = 0.7, beta = 0.6, v = 120, d = 30 }
  local gamma = p:rate { norm = 0.3 }
  local function falling(r) return gamma * (1 + r / 100) ^ -0.3 end
  local steps = { 0, 500, 1000, 1500, 20000, 100000 }
  check.close(p:expected { gamma = falling, steps = steps, method = "ode" },
    p:expected { gamma = falling, steps = steps }, { rtol = 2e-3 })
  check.close(p:expected { gamma = gamma, steps = { 0, 2000, 1e6, 9e15 }, method = "ode" },
    p:expected { gamma = gamma, steps = { 0, 2000, 1e6, 9e15 } }, { rtol = 2e-3 })
  local det = ml.plrf.deterministic { alpha = 0.7, beta = 0.6, d = 100, v = 400 }
  local late = det:cells { n = 200 }:expected { gamma = falling, steps = { 1e12, 1e13 },
    method = "ode" }
  check.is_true(late[2] > det.F0 and late[2] < late[1])
  check.close(late[2], det.F0, { rtol = 0.01 }) -- a rate that falls takes its noise with it
  local function refused(what, rate, more)
    local o = { gamma = rate, steps = { 1e6 }, method = "ode" }
    for key, value in pairs(more or {}) do o[key] = value end
    check.raises(what, p.expected, p, o)
  end
  refused("expected: SGD diverges", p:rate { norm = 1.2 })
  refused("expected: SGD diverges", function() return 50 end)
  refused("'gamma' is -1", function(r) return r < 2000 and 0.1 or -1 end)
  refused("'step' is 0", 0.1, { step = 0 })
  refused("momentum", 0.1, { momentum = 0.5 })
end

-- property: the largest part changes where two of them are equal, at every size of step
function T.test_crossovers()
  local o = { alpha = 0.7, beta = 1.2, v = 400000000, d = 100000000, gamma = 0.01, steps = { 1 } }
  local names = {}
  for i, x in ipairs(ml.plrf.components(o).crossover) do
    names[i] = x.from .. " " .. x.to
    o.steps = { x.step * 0.99, x.step, x.step * 1.01 }
    local there = ml.plrf.components(o)
    check.close(there[x.from][2], there[x.to][2], { rtol = 1e-9 })
    check.equal({ there.dominant[1], there.dominant[3] }, { x.from, x.to })
  end
  check.equal(names, { "Fpp Kpp", "Kpp Fac", "Fac F0" })
end

-- property: the refined estimate near the loss where it is said to be
function T.test_refined()
  for _, q in ipairs { { 0.7, 1.2, 0.02 }, { 1.0, 0.8, 0.02 }, { 0.7, 0.3, 0.02 } } do
    local det = ml.plrf.deterministic { alpha = q[1], beta = q[2], d = 10000, v = 40000 }
    local steps = q[2] > 0.5 and { 30, 1000, 1e5, 1e7 } or { 1e8, 1e10 }
    local o = { gamma = 0.1, steps = steps }
    check.close(det:refined(o), det:risk(o), { rtol = q[3] })
  end
end

-- property: sum rules, and the limit of late times
function T.test_sum_rules()
  local det = ml.plrf.deterministic { alpha = 0.7, beta = 0.6, d = 200, v = 800 }
  local mass, count = det:mass(det.kappa / 1000)
  check.close({ mass, count }, { det.loss0 - det.F0, 200 }, { rtol = 1e-9 })
  local limit = det.F0 / (1 - det:kernel_norm { gamma = 0.2 })
  check.close(det:risk { gamma = 0.2, steps = { 1e9, 1e12, 1e15 } }, { limit, limit, limit },
    { rtol = 1e-9 })
end

-- property: 1.4e-5 is the error of the midpoint integrals
function T.test_bins_change_little()
  local o = { alpha = 0.7, beta = 0.6, d = 2000, v = 8000 }
  local exact = ml.plrf.deterministic(o)
  o.bins = true
  local steps = { 1, 100, 10000, 1000000 }
  check.close(ml.plrf.deterministic(o):risk { gamma = 0.1, steps = steps },
    exact:risk { gamma = 0.1, steps = steps }, { rtol = 3e-5 })
  local huge = ml.plrf.deterministic { alpha = 0.7, beta = 0.6, d = 200000000, v = 1000000000 }
  check.is_true(huge:risk { gamma = 0.1, steps = { 1e15 } }[1] > 0)
end

-- property: the mean of runs, in standard errors (seeds are fixed)
function T.test_modes_have_the_exact_mean()
  local p = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 80, d = 20, seed = 3 }
  for _, batch in ipairs { 1, 3 } do
    local gamma = p:rate { norm = 0.25, batch = batch }
    local steps = { 0, 5, 50, 300 }
    local exact = p:expected { gamma = gamma, batch = batch, steps = steps, method = "recursion" }
    for _, o in ipairs { { mode = "fast" }, { mode = "direct" }, { dtype = "f32" } } do
      o.gamma, o.batch, o.steps, o.runs = gamma, batch, steps, 400
      local risk = p:sgd(o).risk
      local z = (risk:mean(1) - exact) / (risk:var(1):sqrt() / 20 + 1e-6)
      check.is_true(z:abs():max():item() < 4.5)
    end
  end
end

-- property
function T.test_given_samples_are_the_updates_written_out()
  local p = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 12, d = 5, seed = 3 }
  local x = ml.rng(8):normal { 30, 2, 12 } * p.sigma
  local got = p:sgd { gamma = 0.1, batch = 2, steps = 30, data = x, momentum = 0.5 }
  local theta, u = ml.zeros { 5 }, ml.zeros { 5 }
  for i = 1, 30 do
    local f = x[i]:matmul(p.W)
    local e = f:matmul(theta) - x[i]:matmul(p.b)
    u = u * 0.5 + f:transpose():matmul(e)
    theta = theta - u * 0.1
  end
  check.close(got.theta[1], theta, { rtol = 1e-11, atol = 1e-13 })
  local last = ((p.A:matmul(theta) - p.u) ^ 2):sum():item()
  check.close(got.risk[{ 1, -1 }]:item(), last, { rtol = 1e-11 })
end

-- property: neither threads nor where the loss is recorded changes a bit
function T.test_determinism()
  local p = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 80, d = 20, seed = 3 }
  local before = ml.threads()
  local found = {}
  for threads = 1, 2 do
    ml.threads(threads)
    found[threads] = p:sgd { gamma = 0.1, steps = { 700 }, runs = 5, mode = "direct" }.risk
  end
  ml.threads(before)
  check.is_true(found[1]:equal(found[2]))
  local more = p:sgd { gamma = 0.1, steps = { 3, 256, 301, 700 }, runs = 5, mode = "direct" }.risk
  check.is_true(more[{ {}, { 4, 4 } }]:equal(found[1]))
end

function T.test_a_rate_that_changes()
  local p = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 80, d = 20, seed = 3 }
  local steps = { 1, 10, 100 }
  check.close(p:expected { gamma = function() return 0.1 end, steps = steps },
    p:expected { gamma = 0.1, steps = steps }, { rtol = 1e-12 })
end

-- property
function T.test_minimiser_and_conventions()
  local p = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 80, d = 20, seed = 3 }
  local least = ((p.A:matmul(p:minimiser()) - p.u) ^ 2):sum():item()
  check.close(least, p.null, { rtol = 1e-10 })
  check.close({ p:kernel_norm { gamma = p:rate { norm = 0.4, batch = 2 }, batch = 2 } }, { 0.4,
    3 * p:rate { norm = 0.4, batch = 2 } * p.lambda[20] }, { rtol = 1e-12 })
  check.equal(ml.plrf.convert { rate = 0.1, batch = 4, reduction = "mean", loss = "square" }, 0.05)
end

-- golden: the table of phases
function T.test_phases()
  local wanted = { { 1.0, 0.3, "Ia", 0.533, 0.333 }, { 1.0, 0.7, "II", 0.706, 0.412 },
    { 0.7, 1.2, "III", 0.643, 0.5 }, { 0.4, 0.3, "Ib", 0.2, 0.5 }, { 0.4, 0.8, "IVa", 0.4, 0.5 },
    { 0.27, 0.8, "IVb", 0.292, 0.590 }, { 0.2, 0.7, "Ic", 0.222, 0.556 } }
  for _, w in ipairs(wanted) do
    local p = ml.plrf.phase(w[1], w[2])
    check.equal(p.name, w[3])
    check.close({ p.eta, p.xi }, { w[4], w[5] }, { atol = 6e-4 })
  end
  check.equal(ml.plrf.phase(0.2, 0.2).name, "none")
  check.is_true(ml.plrf.problem { alpha = 0.2, beta = 0.2, v = 20, d = 5 }.loss0 > 0)
end

-- golden: exponents of an independent pipeline
function T.test_front()
  local sizes, flops = {}, {}
  for k = 0, 16 do sizes[k + 1] = math.floor(25 * 2 ^ (k / 2) + 0.5) end
  for i = 0, 20 do flops[i + 1] = 10 ^ (5 + i / 10) end
  local f = ml.plrf.front { alpha = 0.9, beta = 0.6, sizes = sizes, flops = flops }
  check.close({ f.eta, f.xi }, { 0.6460, 0.4166 }, { atol = 1e-4 })
end

-- property: leading blocks of one matrix, and runs of SGD in place of exact curves: near the
-- deterministic front within their own errors
function T.test_front_of_draws()
  local sizes, flops = { 16, 32, 64, 128 }, {}
  for i = 0, 8 do flops[i + 1] = 10 ^ (3.6 + i / 8) end
  local o = { alpha = 0.9, beta = 0.6, sizes = sizes, flops = flops, window = 2.1 }
  local exact = ml.plrf.front(o)
  o.draws, o.resamples = 6, 50
  local plain = ml.plrf.front(o)
  o.nested = true
  local nested = ml.plrf.front(o)
  o.nested, o.draws, o.runs = false, 2, 8
  local sampled = ml.plrf.front(o)
  for _, f in ipairs { plain, nested, sampled } do
    check.is_true(f.eta_stderr > 0 and f.xi_stderr > 0)
    check.is_true(math.abs(f.eta - exact.eta) < 0.15)
    check.is_true(math.abs(f.xi - exact.xi) < 0.5)
  end
  check.is_true(plain.eta ~= nested.eta)
  -- the W of a size is the block of the largest one's
  local whole = ml.rng(1):fold("front nested", 1):normal { 512, 128 }
  local one = { alpha = 0.9, beta = 0.6, sizes = sizes, flops = flops, draws = 1, nested = true }
  local W = whole[{ { 1, 64 }, { 1, 16 } }] / 4
  local p = ml.plrf.problem { alpha = 0.9, beta = 0.6, W = W }
  local f = ml.plrf.front(one)
  local r = flops[9] / 16
  local low = math.floor(r)
  local P = p:expected { gamma = ml.plrf.deterministic { alpha = 0.9, beta = 0.6, v = 64, d = 16 }
    :rate(), steps = { low, low + 1 } }
  check.is_true((f.curves[1][9] - P[1]) * (f.curves[1][9] - P[2]) <= 0)
  check.raises("wants draws of W", ml.plrf.front, { alpha = 1, beta = 1, sizes = sizes,
    flops = flops, runs = 3 })
end

-- property: a factor of two of the deterministic curve over the whole run, exact at the start's
-- order and in the floor
function T.test_crude_spectrum()
  for _, c in ipairs { { 1.0, 0.3 }, { 0.7, 1.2 }, { 0.7, 0.7 } } do
    local det = ml.plrf.deterministic { alpha = c[1], beta = c[2], v = 4000, d = 1000 }
    local crude = det:crude()
    check.equal(crude.lambda:shape(), { 1000 })
    check.equal(crude.null, det.F0)
    local o = { gamma = det:rate(), steps = { 30, 1000, 100000, 10000000 } }
    local ratio = (crude:expected(o) / det:risk(o)):totable()
    for _, q in ipairs(ratio) do check.is_true(q > 0.5 and q < 2) end
  end
  local plain = ml.plrf.deterministic { alpha = 0.4, beta = 0.8, v = 400, d = 100 }:crude()
  check.close(plain.rho[100], 1, { rtol = 1e-15 }) -- no second term below alpha = 1/2
end

-- property: the mean of runs, and the late loss null / (1 - kernel norm)
function T.test_momentum()
  local p = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 80, d = 20, seed = 3 }
  local gamma = p:rate { norm = 0.3, batch = 2, momentum = 0.8 }
  check.close(p:kernel_norm { gamma = gamma, batch = 2, momentum = 0.8 }, 0.3, { rtol = 1e-12 })
  local o = { gamma = gamma, batch = 2, momentum = 0.8, steps = { 0, 5, 50, 300 } }
  local exact = p:expected(o)
  o.runs = 400
  for _, mode in ipairs { "fast", "direct" } do
    o.mode = mode
    local risk = p:sgd(o).risk
    local z = (risk:mean(1) - exact) / (risk:var(1):sqrt() / 20 + 1e-6)
    check.is_true(z:abs():max():item() < 4.5)
  end
  local late = p:expected { gamma = gamma, batch = 2, momentum = 0.8, steps = { 2000000 } }
  check.close(late, { p.null / 0.7 }, { rtol = 1e-8 })
end

function T.test_release_keeps_what_curves_need()
  local p = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 80, d = 20 }
  local o = { gamma = 0.1, steps = 300 }
  local P, risk = p:expected(o), p:sgd(o).risk
  local live = ml.memory().live
  p:release()
  check.equal(live - ml.memory().live >= 2 * 8 * 80 * 20, true)
  check.is_true(p:expected(o):equal(P))
  check.is_true(p:sgd(o).risk:equal(risk))
  o.mode = "direct"
  check.raises("released", p.sgd, p, o)
  check.raises("released", p.minimiser, p)
end

function T.test_what_diverges_is_refused()
  local p = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 80, d = 20 }
  local function refused(o)
    for _, method in ipairs { "expected", "sgd" } do check.raises("diverges", p[method], p, o) end
  end
  for _, batch in ipairs { 1, 4 } do
    local gamma = 1.02 * p:rate { batch = batch }
    refused { gamma = gamma, batch = batch, steps = 10 }
    refused { gamma = function() return gamma end, batch = batch, steps = 10 }
    refused { gamma = ml.full({ 10 }, gamma), batch = batch, steps = 10 }
    refused { gamma = 1e300, batch = batch, steps = 10 }
    gamma = 1.02 * p:rate { batch = batch, momentum = 0.9 }
    refused { gamma = gamma, batch = batch, momentum = 0.9, steps = 10 }
    check.equal(p:stability { gamma = gamma, batch = batch, momentum = 0.9 }.stable, false)
    check.equal(p:stability { gamma = 0.9 * gamma, batch = batch, momentum = 0.9 }.stable, true)
  end
  -- rates that change: by what the loss is expected to become
  refused { gamma = function(r) return 1 + 0.1 * (r % 2) end, steps = 3000 }
  refused { gamma = function(r) return 1 + 0.1 * (r % 2) end, momentum = 0.5, steps = 3000 }
  check.raises("diverges", p.sgd, p, { gamma = function(r) return 1 + r / 1000 end, steps = 1000,
    mode = "direct", dtype = "f32" })
  local warm = { gamma = function(r) return r < 4 and 1.0 or 0.1 end, steps = 2000 } -- recovers
  check.is_true(p:expected(warm)[-1] < p.loss0)
  -- asked for, it is a result
  local o = { gamma = 1.5 * p:rate(), steps = { 0, 20000 }, diverging = true }
  check.is_true(p:expected(o)[2] > 1e3 * p.loss0)
  check.equal(p:sgd(o).risk:shape()[2], 2)
  check.equal(p:kernel_norm { gamma = 10 }, math.huge)
  -- given samples that the theory does not know of
  check.raises("diverges: the loss of run 1", p.sgd, p, { gamma = 0.1, steps = 200,
    data = ml.full({ 200, 1, 80 }, 100.0) })
  local q = ml.plrf.deterministic { alpha = 0.7, beta = 0.7, v = 80, d = 20 }
  for _, gamma in ipairs { 0.9, 2.0, 100.0, 1e300 } do
    check.raises("diverges", q.risk, q, { gamma = gamma, steps = 10 })
  end
end

function T.test_rates_must_be_numbers()
  local p = ml.plrf.problem { alpha = 0.7, beta = 0.7, v = 80, d = 20 }
  local q = ml.plrf.deterministic { alpha = 0.7, beta = 0.7, v = 80, d = 20 }
  for _, gamma in ipairs { 0 / 0, -0.1, 0.0, math.huge } do
    for _, method in ipairs { "sgd", "expected" } do
      check.raises("wanted a number > 0", p[method], p, { gamma = gamma, steps = 10 })
    end
    check.raises("'gamma' is", p.kernel_norm, p, { gamma = gamma })
    check.raises("bad argument to 'stability'", p.stability, p, { gamma = gamma })
    check.raises("'gamma' is", q.risk, q, { gamma = gamma, steps = 10 })
    check.raises("'gamma' is", q.kernel_norm, q, { gamma = gamma })
    check.raises("'norm' is", q.rate, q, { norm = gamma })
    check.raises("'norm' is", p.rate, p, { norm = gamma })
    check.raises("'gamma' is", ml.plrf.components, { alpha = 1, beta = 1, v = 80, d = 20,
      steps = { 10 }, gamma = gamma })
    check.raises("'rate' is", ml.plrf.convert, { rate = gamma })
  end
  for _, rate in ipairs { 0 / 0, -0.1, math.huge, "x" } do
    check.raises("at step 3, wanted a number >= 0", p.sgd, p, { steps = 10,
      gamma = function(r) return r == 3 and rate or 0.1 end })
  end
  check.raises("at step 2", p.expected, p, { steps = 2, gamma = ml.f64 { 0.1, 0 / 0 } })
  check.raises("tensor f64 [3]", p.sgd, p, { steps = 3, gamma = ml.f64 { 0.1, 0.1 } })
  check.raises("wanted 0 <= momentum < 1", p.sgd, p, { gamma = 0.1, steps = 3, momentum = 1 })
  check.raises("need method", p.expected, p, { gamma = 0.1, steps = 3, momentum = 0.5,
    method = "secular" })
end

function T.test_out_of_reach()
  local problem, det = ml.plrf.problem, ml.plrf.deterministic
  -- memory, said in GiB before anything is drawn
  check.raises("GiB", problem, { alpha = 1, beta = 1, v = 10000000000, d = 10000000000 })
  check.raises("take 14901.2 GiB", problem, { alpha = 1, beta = 1, v = 1000000000, d = 1000 })
  check.raises("at most 46340", problem, { alpha = 1, beta = 1, v = 50000, d = 50000 })
  check.raises("to 1000000000000", det, { alpha = 1, beta = 1, v = 10000000000000, d = 10 })
  check.raises("GiB", det, { alpha = 1, beta = 1, v = 1000000000, d = 10, bins = false })
  local p = problem { alpha = 0.7, beta = 0.7, v = 80, d = 20 }
  local q = det { alpha = 0.7, beta = 0.7, v = 80, d = 20 }
  check.raises("GiB", p.sgd, p, { gamma = function() return 0.1 end, steps = 10000000000 })
  check.raises("GiB", p.sgd, p, { gamma = 0.1, steps = 10000000000, record = "all" })
  check.raises("days step by step", p.sgd, p, { gamma = 0.1, steps = 1000000000000000 })
  check.raises("days step by step", p.expected, p, { gamma = 0.1, steps = 1000000000000000,
    method = "recursion" })
  check.raises("0..9e15", p.expected, p, { gamma = 0.1, steps = { 1e16 } })
  check.raises("1e15", q.risk, q, { gamma = 0.1, steps = { 1e16 } })
  check.raises("at most 200000", p.expected, p, { gamma = 0.1, steps = { 1e6 },
    method = "volterra" })
end

function T.test_errors()
  local problem, det = ml.plrf.problem, ml.plrf.deterministic
  check.raises("wanted v >= d", problem, { alpha = 1, beta = 1, v = 3, d = 5 })
  check.raises("wanted v >= d", det, { alpha = 1, beta = 1, v = 3, d = 5 })
  check.raises("wanted v >= d", problem, { alpha = 1, beta = 1, W = ml.ones { 2, 4 } })
  for _, bad in ipairs { 0 / 0, math.huge, -math.huge } do
    local W = ml.ones { 4, 2 }
    W[{ 3, 2 }] = bad
    check.raises("'W' has entries that are not finite", problem, { alpha = 1, beta = 1, W = W })
    check.raises("a finite number", problem, { alpha = bad, beta = 1, v = 3, d = 2 })
    check.raises("a finite number", problem, { alpha = 1, beta = bad, v = 3, d = 2 })
  end
  check.raises("a matrix of f64", problem, { alpha = 1, beta = 1, W = ml.rng(1) })
  check.raises("a matrix of f64", problem, { alpha = 1, beta = 1, W = ml.ones { 4 } })
  check.raises("wanted one or the other", problem, { alpha = 1, beta = 1, W = ml.ones { 4, 2 },
    d = 3 })
  check.raises("did you mean 'alpha'", problem, { alhpa = 1, beta = 1, v = 3, d = 2 })
  local p = problem { alpha = 0.7, beta = 0.7, v = 80, d = 20 }
  local q = det { alpha = 0.7, beta = 0.7, v = 80, d = 20 }
  check.raises("ascending", p.sgd, p, { gamma = 0.1, steps = { 3, 2 } })
  check.raises("whole numbers", p.sgd, p, { gamma = 0.1, steps = { 1.5 } })
  check.raises("'batch' is 0", p.sgd, p, { gamma = 0.1, steps = 3, batch = 0 })
  check.raises("'runs' is 0", p.sgd, p, { gamma = 0.1, steps = 3, runs = 0 })
  local data = ml.ones { 3, 1, 80 }
  check.raises("f64 [4x1x80]", p.sgd, p, { gamma = 0.1, steps = 4, data = data })
  check.raises("f64 [3x1x80]", p.sgd, p, { gamma = 0.1, steps = 3, data = { 1 } })
  check.raises("wanted 1 with data", p.sgd, p, { gamma = 0.1, steps = 3, data = data, runs = 2 })
  data[{ 2, 1, 5 }] = 0 / 0
  check.raises("not finite", p.sgd, p, { gamma = 0.1, steps = 3, data = data })
  check.raises("in the spectrum", q.m, q, 0.5)
  check.raises("wanted above 0", q.mass, q, 0.0)
  check.raises("value 1 is \"x\"", q.mass, q, { "x" })
  check.raises("wanted a finite number", ml.plrf.phase, 0 / 0, 1)
  local o = { alpha = 1, beta = 1, v = 80, d = 20, gamma = 0.1, steps = { -1 } }
  check.raises("value 1 is -1", ml.plrf.components, o)
  check.raises("1 values for 2", ml.plrf.local_slopes, { 1, 2 }, { 1 })
  check.raises("no number at [2][1]", ml.plrf.envelope, { flops = { 1, 2 }, sizes = { 1, 2 },
    loss = { { 1, 2 } } })
  check.raises("ascending sizes", ml.plrf.front, { alpha = 1, beta = 1, sizes = { 20, 10 },
    flops = { 1e5 } })
  check.raises("ascending values", ml.plrf.front, { alpha = 1, beta = 1, sizes = { 10, 20 },
    flops = { 1e5, 1e4 } })
  check.raises("'norm' is 2", ml.plrf.front, { alpha = 1, beta = 1, sizes = { 10, 20 },
    flops = { 1e5 }, norm = 2 })
end

return T
