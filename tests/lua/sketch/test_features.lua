-- ml.sketch.features: fits of duals, exact layers, the NTK recursion of relu networks, quality.
local ml = require "moonlab"
local check = require "check"
local fit = require "moonlab.sketch.fit"
local T = {}

local k = ml.kernel
local root2 = math.sqrt(2)

-- ---- polynomials --------------------------------------------------------------------------------

function T.test_nonnegative_least_squares() -- analytic and property
  local A = ml.f64 { { 1, 0 }, { 0, 1 }, { 1, 1 } }
  check.close(fit.nonnegative(A, ml.f64 { 2, -1, 0 }), { 1, 0 }, { rtol = 1e-12 })
  check.close(fit.nonnegative(A, ml.f64 { 1, 2, 3 }), { 1, 2 }, { rtol = 1e-12 })
  check.equal(fit.nonnegative(A, ml.f64 { -1, -2, -3 }), { 0, 0 })
  for seed = 1, 20 do -- the conditions of Karush, Kuhn and Tucker
    local B, b = ml.rng(seed):normal { 30, 8 }, ml.rng(seed):fold("b"):normal { 30 }
    local x = ml.f64(fit.nonnegative(B, b))
    local gradient = B:transpose():matmul(b - B:matmul(x))
    check.is_true(x:min():item() >= 0)
    check.is_true(gradient:max():item() < 1e-9)
    check.is_true((gradient * x):abs():max():item() < 1e-9)
  end
end

local function worst_of(list, f)
  local worst = 0
  for i = 0, 4000 do
    local t = -1 + i / 2000
    local sum = 0
    for j = #list, 1, -1 do sum = sum * t + list[j] end
    worst = math.max(worst, math.abs(sum - f(t)))
  end
  return worst
end

local function angle(t) return math.acos(math.max(-1, math.min(1, t))) end
local function kappa1(t)
  return (math.sqrt(math.max(0, 1 - t * t)) + t * (math.pi - angle(t))) / math.pi / 2
end
local function kappa0(t) return (math.pi - angle(t)) / math.pi / 2 end

-- analytic: Taylor coefficients of the arc-cosine kernels (Cho & Saul 2009), and their errors at 1
function T.test_relu_polynomials_taylor_and_fitted()
  local relu = k.act "relu"
  local value, slope = fit.dual("test", relu, 9, "taylor")
  local want, dot = { 1 / (2 * math.pi), 1 / 4 }, { 1 / 4 }
  local c = 1 / (2 * math.pi) -- (2i)! / (4^i i!^2) / 2 pi
  for i = 0, 4 do
    want[2 * i + 3] = c / ((2 * i + 1) * (2 * i + 2))
    want[2 * i + 4] = 0
    dot[2 * i + 2] = c / (2 * i + 1)
    dot[2 * i + 3] = 0
    c = c * (2 * i + 1) / (2 * i + 2)
  end
  for i = 1, 10 do
    check.close(value[i], want[i], { rtol = 1e-9, atol = 1e-14 })
    check.close(slope[i], dot[i], { rtol = 1e-9, atol = 1e-14 })
  end
  for _, case in ipairs { { 2, 0.0034, 0.087 }, { 4, 0.0008, 0.034 }, { 8, 0.00022, 0.0185 } } do
    local degree, first, second = table.unpack(case)
    value, slope = fit.dual("test", relu, degree, "nnls")
    check.is_true(worst_of(value, kappa1) < first)
    check.is_true(worst_of(slope, kappa0) < second)
    local taylor, taylor_slope = fit.dual("test", relu, degree, "taylor")
    check.is_true(worst_of(value, kappa1) < worst_of(taylor, kappa1) / 3)
    check.is_true(worst_of(slope, kappa0) < worst_of(taylor_slope, kappa0))
    for i = 1, degree + 1 do check.is_true(value[i] >= 0 and slope[i] >= 0) end
  end
end

function T.test_homogeneity() -- property
  for name, degree in pairs { relu = 1, abs = 1, leaky_relu = 1, identity = 1, exp_normalized = 1,
    step = 0, sign = 0 } do
    check.equal(fit.homogeneity(k.act(name)), degree)
  end
  check.equal(fit.homogeneity(k.act("rectified_monomial", { degree = 2 })), 2)
  for _, name in ipairs { "gelu", "erf", "sin", "tanh" } do
    check.is_nil(fit.homogeneity(k.act(name)))
  end
end

function T.test_hermite_coefficients_from_a_table() -- property: cubics of 48 steps an octave
  local s = ml.rng(1):uniform { 300 } * 3
  s[1], s[2], s[3] = 0, 1e-4, 300
  for _, name in ipairs { "gelu", "erf", "tanh" } do
    local act = k.act(name)
    local alpha, beta = fit.hermite(act, s, 6)
    local near, near_beta = fit.hermite_near(act, s, 6)
    check.close(near, alpha, { atol = 1e-7, rtol = 1e-7 })
    check.close(near_beta, beta, { atol = 1e-7, rtol = 1e-7 })
  end
end

-- ---- exact layers -------------------------------------------------------------------------------

local function gram(Z) return Z:matmul(Z:transpose()) end

-- property: short linear layers are no approximation; all sketches are wider than what they hold
function T.test_linear_networks_are_exact()
  local images = ml.rng(1):normal { 5, 5, 6, 2 }
  local conv = k.conv { kernel = 3, w_std = 1.3, b_std = 0.2 }
  local networks = {
    k.serial { k.dense { w_std = 1.2, b_std = 0.3 }, k.dense { w_std = 0.7 } },
    k.serial { conv, k.flatten(), k.dense { b_std = 0.1 } },
    k.serial { conv, k.gap(), k.dense() },
    k.serial { k.conv { kernel = { 2, 3 }, stride = { 2, 1 } }, k.avg_pool { window = 2 }, conv,
      k.flatten(), k.dense() },
    k.serial { k.conv { kernel = 2, stride = 2, padding = "valid" }, k.gap() },
    k.serial { k.conv { kernel = 3, padding = "circular" }, k.gap(), k.dense() },
    k.serial { conv, k.avg_pool { window = 3, stride = 2, padding = "same" }, k.flatten() },
    k.serial { conv, k.residual { conv }, k.gap(), k.layer_norm(), k.dense() },
  }
  for i, net in ipairs(networks) do
    local X = i == 1 and ml.rng(2):normal { 6, 7 } or images
    local K, Theta = net:both(X)
    for of, want in pairs { nngp = K, ntk = Theta } do
      local map = ml.sketch.features(net, { of = of, dim = 8192, inner = 4096 })
      check.close(gram(map(X)), want, { rtol = 1e-11, atol = 1e-11 })
    end
  end
end

-- property: kappa of the identity is t, and u itself goes into the power 1
function T.test_identity_activations_are_exact()
  local X = ml.rng(2):normal { 6, 7 }
  local net = k.serial { k.dense { w_std = 1.3, b_std = 0.4 }, k.act "identity",
    k.dense { w_std = 0.8 } }
  local K = net:nngp(X)
  local map = ml.sketch.features(net, { of = "nngp", dim = 16, inner = 16, tree = 16, degree = 2 })
  check.close(gram(map(X)), K, { rtol = 1e-9, atol = 1e-9 })
end

-- ---- the recursion of relu networks -------------------------------------------------------------

-- analytic: NNGP and NTK of `depth` relu layers with w_std = sqrt 2, readout included (Jacot et al.
-- 2018; Arora et al. 2019)
local function recursion(X, depth)
  local n, d = X:size(1), X:size(2)
  local norm = X:square():sum { 2, keepdims = true }:sqrt()
  local scale = norm:matmul(norm:transpose()) * (2 / d)
  local t = X:matmul(X:transpose()) / norm:matmul(norm:transpose())
  local theta = t
  for _ = 1, depth do
    local list, dot = {}, {}
    for i, row in ipairs(t:totable()) do
      list[i], dot[i] = {}, {}
      for j, c in ipairs(row) do list[i][j], dot[i][j] = 2 * kappa1(c), 2 * kappa0(c) end
    end
    t = ml.f64(list)
    theta = theta * ml.f64(dot) + t
  end
  check.equal(t:shape(), { n, n })
  return t * scale, theta * scale
end

local function relu_network(depth)
  local list = {}
  for _ = 1, depth do
    list[#list + 1] = k.dense { w_std = root2 }
    list[#list + 1] = k.act "relu"
  end
  list[#list + 1] = k.dense { w_std = root2 }
  return k.serial(list)
end

-- Points in ten clusters, norms spread by a log-normal factor.
local function clusters(n, d)
  local g = ml.rng(5)
  local centres = g:normal { 10, d }
  local X = centres:index_select(g:integers(1, 10, { n }), 1) + g:normal { n, d } * 0.7
  return X * (g:normal { n, 1 } * 0.3):exp()
end
local points = clusters(200, 64)

local function error_of(Z, K) return ((gram(Z) - K):norm() / K:norm()):item() end

-- property: the mean of two seeds at most 1.5 times the error of prototypes of these sizes
-- (relative Frobenius; 200 points, dim is inner for the NNGP and twice that for the NTK)
function T.test_errors_of_relu_networks_and_their_fall_with_the_width()
  local limit = { -- depth, of, method: at inner 256 and 1024
    { 1, "nngp", "polysketch", 0.12, 0.10 }, { 1, "ntk", "polysketch", 0.23, 0.13 },
    { 2, "nngp", "polysketch", 0.16, 0.10 }, { 2, "ntk", "polysketch", 0.26, 0.14 },
    { 2, "nngp", "random", 0.33, 0.13 }, { 2, "ntk", "random", 0.35, 0.18 },
    { 3, "ntk", "random", 0.43, 0.24 },
    { 1, "ntk", "direct", 0.23, 0.16 }, { 3, "ntk", "direct", 0.20, 0.11 },
  }
  for _, case in ipairs(limit) do
    local depth, of, method, small, large = table.unpack(case)
    local K, Theta = recursion(points, depth)
    local want = of == "ntk" and Theta or K
    local found = {}
    for i, inner in ipairs { 256, 1024 } do
      local sum = 0
      for seed = 1, 2 do
        local map = ml.sketch.features(relu_network(depth), { of = of, method = method,
          seed = seed, inner = method ~= "direct" and inner or nil,
          dim = method ~= "direct" and of == "ntk" and 2 * inner or inner })
        sum = sum + error_of(map(points), want)
      end
      found[i] = sum / 2
      local most = 1.5 * (i == 1 and small or large)
      if not (found[i] < most) then
        check.fail(("depth %d, %s by %s, inner %d: %.3f, wanted < %.3f"):format(depth, of, method,
          inner, found[i], most))
      end
    end
    if not (found[2] < 0.8 * found[1]) then
      check.fail(("depth %d, %s by %s: %.3f at 256 and %.3f at 1024"):format(depth, of, method,
        found[1], found[2]))
    end
  end
end

-- property: over seeds the mean is the kernel, but for what the polynomials miss: for random
-- features nothing
function T.test_features_are_unbiased()
  local X = clusters(200, 64)[{ { 1, 8 } }]
  local K, Theta = recursion(X, 1)
  for _, case in ipairs { { "random", 0 }, { "random", 0, "sphere" }, { "polysketch", 0.02 },
    { "direct", 0.02 } } do
    local method, missed, directions = table.unpack(case)
    for _, of in ipairs { "nngp", "ntk" } do
      local want, seeds = of == "ntk" and Theta or K, 200
      local sum, squares = ml.zeros { 8, 8 }, ml.zeros { 8, 8 }
      for seed = 1, seeds do
        ml.scope(function()
          local map = ml.sketch.features(relu_network(1), { of = of, dim = 256, method = method,
            seed = seed, directions = directions })
          local G = gram(map(X))
          sum:add_(G)
          squares:add_(G:square())
        end)
      end
      local mean = sum / seeds
      local deviation = ((squares / seeds - mean:square()) / seeds):sqrt()
      local excess = ((mean - want):abs() - want:abs() * missed) / deviation
      -- 36 different entries in 8 cases: 4.5 standard errors by chance once in 500 runs
      if not (excess:max():item() < 4.5) then
        check.fail(("%s by %s: %.1f standard errors"):format(of, method, excess:max():item()))
      end
    end
  end
end

-- property: errors of single seeds, of the size that 1/sqrt(inner) lets expect
function T.test_other_activations_and_images()
  for _, name in ipairs { "gelu", "erf", "exp_normalized", "step", "tanh", "square" } do
    local act = name == "square" and k.act("rectified_monomial", { degree = 2 }) or k.act(name)
    local net = k.serial { k.dense { w_std = 1.2, b_std = 0.3 }, act,
      k.dense { w_std = 1.2, b_std = 0.1 } }
    local K, Theta = net:both(points)
    for of, want in pairs { nngp = K, ntk = Theta } do
      local map = ml.sketch.features(net, { of = of, dim = 4096 })
      local e = error_of(map(points), want)
      if not (e < 0.1) then check.fail(("%s of %s: %.3f"):format(of, name, e)) end
    end
  end
  local images = ml.rng(4):normal { 30, 8, 8, 3, dtype = "f32" } + 0.5
  for _, name in ipairs { "relu", "gelu" } do
    local conv = k.conv { kernel = 3, w_std = root2, b_std = 0.1 }
    local net = k.serial { conv, k.act(name), k.avg_pool(2), conv, k.act(name), k.gap(),
      k.dense { w_std = root2 } }
    local K, Theta = net:both(images)
    for of, want in pairs { nngp = K, ntk = Theta } do
      for _, method in ipairs { "polysketch", "random" } do
        local Z = ml.sketch.features(net, { of = of, dim = 2048, method = method })(images)
        check.equal(Z:dtype(), "f32")
        check.is_true(Z:size(2) <= 2048)
        local e = error_of(Z, want)
        if not (e < 0.12) then check.fail(("%s of %s by %s: %.3f"):format(of, name, method, e)) end
      end
    end
  end
end

-- ---- maps ---------------------------------------------------------------------------------------

function T.test_a_map_is_the_same_for_any_points() -- property
  local net = relu_network(2)
  local map = ml.sketch.features(net, { dim = 128, seed = 4 })
  local Z = map(points)
  check.equal(Z:shape(), { 200, 128 })
  check.equal(ml.sketch.features(net, { dim = 128, seed = 4 })(points[{ { 51, 90 } }]),
    Z[{ { 51, 90 } }]:clone())
  check.is_false(ml.sketch.features(net, { dim = 128, seed = 5 })(points):equal(Z))
  -- in blocks, and from functions
  local next_block = map:blocks(points, points[{ {}, 1 }], { block = 64 })
  local parts, i = {}, 1
  while true do
    local block, target = next_block(i)
    if not block then break end
    parts[i], i = block, i + 1
    check.equal(block:size(1), target:size(1))
  end
  check.equal(#parts, 4)
  check.equal(ml.concat(parts, 1), Z)
  local lazy = map:blocks(function(from, to) return points[{ { from, to } }] end, nil,
    { n = 200, block = 150 })
  check.equal(lazy(2), Z[{ { 151, 200 } }]:clone())
  check.is_nil(lazy(3))
  local before = ml.threads()
  ml.threads(1)
  check.equal(map(points), Z)
  ml.threads(before)
end

function T.test_ridge_on_streamed_features() -- property: as on stored ones
  local map = ml.sketch.features(relu_network(1), { dim = 64 })
  local y = points[{ {}, { 1, 2 } }]
  local w = ml.solve.ridge(map(points), y, { ridge = 0.1 })
  local streamed = ml.solve.ridge(map:blocks(points, y, { block = 70 }), nil, { ridge = 0.1 })
  check.close(streamed, w, { rtol = 1e-6, atol = 1e-8 })
end

function T.test_costs_are_told_and_refused()
  local map = ml.sketch.features(relu_network(2), { dim = 512 })
  local cost = map:estimate(points, { n = 1000000 })
  check.equal(cost.columns, 512)
  check.is_true(cost.bytes >= 1e6 * 512 * 8)
  check.is_true(cost.seconds > 0 and cost.seconds < 3600)
  check.is_true(cost.block >= 32)
  local many = ml.zeros { 1, 64 }:broadcast_to { 1 << 20, 64 }
  local wide = ml.sketch.features(relu_network(1), { dim = 1 << 20, inner = 64 })
  check.raises("out of memory: features of 1048576 points need", function() wide(many) end)
end

function T.test_nothing_leaks_when_memory_runs_out()
  local few = points[{ { 1, 20 } }]
  local net = relu_network(1)
  local map = ml.sketch.features(net, { dim = 32 })
  check.no_leak(function() return map(few) end, { limit = 100 })
  check.no_leak(function() return ml.sketch.features(net, { dim = 16 })(few) end, { limit = 40 })
end

-- ---- quality ------------------------------------------------------------------------------------

function T.test_quality_of_scaled_and_exact_features() -- analytic
  local Z = ml.rng(1):normal { 20, 30 }
  local K = gram(Z)
  local q = ml.sketch.quality(Z, K)
  check.close({ q.frobenius, q.centred }, { 0, 0 }, { atol = 1e-12 })
  check.close({ q.low, q.high, q.epsilon }, { 1, 1, 0 }, { atol = 1e-9 })
  -- Z Z^T = 1.5 K: eigenvalues (1.5 l + r) / (l + r)
  local scaled = ml.sketch.quality(Z * math.sqrt(1.5), K, { ridges = { 2, 20 }, relative = false })
  check.close({ scaled.frobenius, scaled.centred }, { 0.5, 0.5 }, { rtol = 1e-10 })
  local values = ml.solve.eigh(K):totable()
  for i, r in ipairs { 2, 20 } do
    local dimension = 0
    for _, l in ipairs(values) do dimension = dimension + l / (l + r) end
    check.close(scaled.dimension[i], dimension, { rtol = 1e-10 })
    check.close(scaled.low[i], (1.5 * values[1] + r) / (values[1] + r), { rtol = 1e-9 })
    check.close(scaled.high[i], (1.5 * values[20] + r) / (values[20] + r), { rtol = 1e-9 })
    check.close(scaled.epsilon[i], scaled.high[i] - 1, { rtol = 1e-9 })
    check.equal(scaled.ridge[i], r * 1.0)
  end
  -- a constant: nothing is left after centring
  local flat = ml.sketch.quality(ml.concat({ Z, ml.full({ 20, 1 }, 5) }, 2), K)
  check.close(flat.centred, 0, { atol = 1e-12 })
  check.is_true(flat.frobenius > 1)
end

-- ---- errors -------------------------------------------------------------------------------------

function T.test_errors_name_the_layer_or_the_option()
  local e, features = check.raises, ml.sketch.features
  local net = relu_network(1)
  e("wanted a network of ml.kernel.serial", features, "net")
  e("unknown option 'dims'; did you mean 'dim'?", features, net, { dims = 3 })
  e("option 'method' is \"polyscetch\"", features, net, { method = "polyscetch" })
  e("option 'degree' is 65, wanted 1 to 64", features, net, { degree = 65 })
  e("layer 2 is gelu", features, k.serial { k.dense(), k.act "gelu", k.dense() },
    { method = "direct" })
  e("layer 1 is dense", features, k.serial { k.dense { b_std = 1 }, k.act "relu", k.dense() },
    { method = "direct" })
  local image = ml.ones { 2, 4, 4, 1 }
  local conv = k.conv { kernel = 3 }
  local function run(list, X, opts)
    return function() features(k.serial(list), opts or { dim = 32 })(X) end
  end
  e("layer 1, conv, wants images", run({ conv, k.gap() }, ml.ones { 2, 4 }))
  e("ends with images: a gap or flatten is missing", run({ conv }, image))
  e("layer 1 is an activation without a dense or conv layer before it",
    run({ k.act "relu", k.dense() }, ml.ones { 2, 4 }))
  e("a window of 5x5 is larger than 4x4 pixels",
    run({ k.conv { kernel = 5, padding = "valid" }, k.gap() }, image))
  e("known by its dual only", run({ k.dense(), k.act "exp_normalized", k.dense() },
    ml.ones { 2, 4 }, { dim = 32, method = "random" }))
  e("directions \"sphere\" want", run({ k.dense(), k.act "gelu", k.dense() }, ml.ones { 2, 4 },
    { dim = 32, method = "random", directions = "sphere" }))
  e("no layer has weights", run({ k.gap() }, image))
  e("wanted points [n,d] or images", run({ k.dense() }, ml.ones { 4 }))
  e("wanted a square matrix with as many rows", ml.sketch.quality, ml.ones { 3, 2 }, ml.eye(4))
  e("ridge 0, wanted", ml.sketch.quality, ml.ones { 3, 2 }, ml.eye(3), { ridge = 0 })
end

return T
