-- Kernels of networks: printed values, the fast path against plain tensor recursions, symmetry,
-- dtypes, threads, finite networks, and input that does not fit.
local ml = require "moonlab"
local check = require "check"
local k = ml.kernel
local T = {}

local root2 = math.sqrt(2)

local function mlp(act, depth, w, b)
  local layers = {}
  for _ = 1, depth do
    layers[#layers + 1] = k.dense { w_std = w, b_std = b }
    layers[#layers + 1] = act
  end
  layers[#layers + 1] = k.dense { w_std = w, b_std = b }
  return k.serial(layers)
end

local function worst(x, y) return ((x - y):abs():max() / y:abs():max()):item() end

-- golden: (x,x), (x,x'), (x',x') of x = (1, 2, -1), x' = (1/2, -1/4, 3/4), with 10 digits
function T.test_printed_values_of_multilayer_kernels()
  local X = ml.f64 { { 1, 2, -1 }, { 0.5, -0.25, 0.75 } }
  for _, case in ipairs {
    { mlp(k.act "relu", 2, root2, 0), { 4, 0.6246817762, 0.5833333333 },
      { 12, 0.6610818781, 1.75 } },
    { mlp(k.act "erf", 1, 1.5, 0.2), { 1.6465646495, -0.2671539391, 0.9298312382 },
      { 4.6178936192, -0.5791039510, 1.9550697298 } },
    { mlp(k.act "gelu", 3, 1.2, 0.1), { 0.8526771433, 0.0604368765, 0.0632446587 },
      { 3.6980211055, 0.0769190632, 0.2295892238 } },
    { mlp(k.act "exp_normalized", 2, 1, 0), { 2, 0.3662961748, 0.2916666667 },
      { 6, 0.4316371731, 0.875 } } } do
    for which, method in ipairs { "nngp", "ntk" } do
      local K, wanted = case[1][method](case[1], X), case[1 + which]
      check.close({ K[{ 1, 1 }]:item(), K[{ 1, 2 }]:item(), K[{ 2, 2 }]:item() }, wanted,
        { rtol = 0, atol = 6e-11 * math.max(1, wanted[1]) })
    end
  end
end

-- golden: two 3x3 images, two convolutions
function T.test_printed_values_of_convolutional_kernels()
  local A = { { 0.1, 0.9, -0.4 }, { 0.3, -0.2, 0.5 }, { 0.8, 0, -0.6 } }
  local B = { { -0.5, 0.2, 0.7 }, { 0.4, 0.6, -0.1 }, { 0, 0.3, 0.9 } }
  local X = ml.f64 { A, B }:reshape { 2, 3, 3, 1 }
  local function net(top)
    local conv, relu = k.conv { kernel = 3, w_std = root2 }, k.act "relu"
    return k.serial { conv, relu, conv, relu, top, k.dense { w_std = root2 } }
  end
  for _, case in ipairs {
    { k.gap(), { 0.0933565321, 0.0856692109, 0.0935697684 },
      { 0.1558017082, 0.1229573214, 0.1654726528 } },
    { k.flatten(), { 0.1960493827, 0.0805320777, 0.1835116598 },
      { 0.5881481481, 0.0920622222, 0.5505349794 } } } do
    local K, N = net(case[1]):both(X)
    for i, M in ipairs { K, N } do
      check.close({ M[{ 1, 1 }]:item(), M[{ 1, 2 }]:item(), M[{ 2, 2 }]:item() }, case[1 + i],
        { rtol = 0, atol = 6e-11 })
    end
  end
end

-- ---- the fast path is the recursion -------------------------------------------------------------

local function dense(w, b) return k.dense { w_std = w or 1.3, b_std = b or 0.2 } end
local function conv(o)
  o.w_std, o.b_std = 1.4, 0.1
  return k.conv(o)
end

-- Each is built with an `act` that makes activations: by name, or as duals of the user's, which go
-- through plain tensor operations.
local vectors = {
  plain = function(a) return { dense(), a "relu", dense(), a "erf", dense(1, 0) } end,
  norm = function(a) return { dense(), k.layer_norm(), a "gelu", dense(), k.layer_norm() } end,
  residual = function(a)
    return { dense(), a "abs", dense(),
      k.residual { k.serial { a "gelu", dense(), k.residual { k.serial { a "sin", dense() } } },
        k.serial { dense(0.5, 0.1), a "sin", dense() } }, a "relu", dense() }
  end,
  linear = function() return { dense(), k.identity(), dense() } end,
}
local images = {
  same = function(a)
    return { conv { kernel = 3 }, a "relu", conv { kernel = 2 }, a "gelu", k.gap(), dense() }
  end,
  flat = function(a)
    return { conv { kernel = 3 }, a "relu", conv { kernel = { 3, 2 } }, a "erf", k.flatten(),
      dense(), a "relu", dense() }
  end,
  stride = function(a)
    return { conv { kernel = 3, stride = 2 }, a "relu", conv { kernel = 2, stride = { 2, 1 } },
      a "relu", k.gap(), dense() }
  end,
  valid = function(a)
    return { conv { kernel = { 3, 2 }, padding = "valid" }, a "relu",
      conv { kernel = 2, stride = 2, padding = "valid" }, a "abs", k.gap(), dense(), a "relu",
      dense() }
  end,
  circular = function(a)
    return { conv { kernel = 3, padding = "circular" }, a "relu",
      conv { kernel = { 4, 2 }, padding = "circular", stride = { 3, 1 } }, a "relu", k.gap(),
      dense() }
  end,
  changing = function(a)
    return { conv { kernel = 3, padding = "circular" }, a "relu", conv { kernel = 3 }, a "gelu",
      k.layer_norm(), conv { kernel = 3, padding = "circular", stride = { 2, 1 } }, a "relu",
      k.avg_pool { window = { 3, 2 }, stride = 1 }, k.gap(), dense() }
  end,
  pool = function(a)
    return { conv { kernel = 3 }, a "relu", k.avg_pool(2), conv { kernel = 3 }, a "relu",
      k.avg_pool { window = 2, stride = 1 }, conv { kernel = 2 }, a "erf", k.flatten(), dense() }
  end,
  pool_same = function(a)
    return { k.avg_pool { window = 3, stride = 2, padding = "same" }, conv { kernel = 3 },
      a "relu", k.layer_norm(), k.avg_pool { window = { 2, 1 } }, k.gap(), dense() }
  end,
  residual = function(a)
    return { conv { kernel = 3 }, k.residual { k.serial { a "relu", conv { kernel = 3 } } },
      a "relu", k.residual { k.serial { conv { kernel = 3, stride = 2 }, a "gelu",
        conv { kernel = 3 } }, k.serial { conv { kernel = 1, stride = 2 } } }, a "relu", k.gap(),
      dense() }
  end,
  dense_only = function(a) return { k.flatten(), dense(), a "relu", dense() } end,
}

local function by_tensors(name)
  local act = k.act(name)
  return k.act(nil, { dual = function(c, a, b) return act:dual { c = c, a = a, b = b } end })
end

-- property: rounding of a few dozen operations in f64; in f32 those of sums over windows
local function agree(build, X, Y)
  local fast, slow = k.serial(build(k.act)), k.serial(build(by_tensors))
  for _, other in ipairs { false, Y } do
    local K, N = fast:both(X, other or nil)
    local wanted, wanted_n = slow:both(X, other or nil)
    check.is_true(worst(K, wanted) < 1e-13 and worst(N, wanted_n) < 1e-13)
    local K32, N32 = fast:both(X:to "f32", other and other:to "f32" or nil)
    check.equal(K32:dtype(), "f32")
    check.is_true(worst(K32:to "f64", K) < 5e-6 and worst(N32:to "f64", N) < 5e-6)
  end
  local K, N = fast:both(X)
  check.equal(K, K:transpose():contiguous())
  check.equal(N, N:transpose():contiguous())
  local d, e = fast:both(X, { diagonal = true })
  check.equal(d, K:diagonal():contiguous())
  check.equal(e, N:diagonal():contiguous())
  check.equal((fast:nngp(X, Y)), (fast:both(X, Y)))
  check.equal(fast:ntk(X), N)
end

function T.test_vectors_as_by_tensors()
  local X, Y = ml.rng(3):normal { 531, 7 }, ml.rng(4):normal { 260, 7 } -- three tiles and a rest
  for name, build in ml.sorted(vectors) do
    if name == "linear" then -- nothing to take from the user: X X^T in closed form
      local K = k.serial(build()):nngp(X, Y)
      local inner = (X:matmul(Y:transpose()) / 7 * 1.69 + 0.04) * 1.69 + 0.04
      check.is_true(worst(K, inner) < 1e-14)
    else
      agree(build, X, Y)
    end
  end
end

function T.test_images_as_by_tensors()
  local X, Y = ml.rng(5):normal { 19, 6, 5, 2 }, ml.rng(6):normal { 5, 6, 5, 2 }
  for _, build in ml.sorted(images) do agree(build, X, Y) end
end

-- property: one pixel and 1x1 windows are the multilayer kernel
function T.test_a_pixel_is_a_vector()
  local X = ml.rng(7):normal { 20, 6 }
  local net = mlp(k.act "gelu", 2, 1.2, 0.3)
  local window = k.conv { kernel = 1, w_std = 1.2, b_std = 0.3 }
  local pixels = k.serial { window, k.act "gelu", window, k.act "gelu", k.flatten(),
    dense(1.2, 0.3) }
  local K, N = net:both(X)
  local K2, N2 = pixels:both(X:reshape { 20, 1, 1, 6 })
  check.is_true(worst(K2, K) < 1e-14 and worst(N2, N) < 1e-14)
end

-- property: bytes do not depend on threads; views are taken as they are
function T.test_threads_and_views()
  local X = ml.rng(8):normal { 300, 9 }
  local I = ml.rng(9):normal { 21, 5, 5, 2 }
  local net, cnn = k.serial(vectors.residual(k.act)), k.serial(images.pool(k.act))
  local before = ml.threads()
  local K, C = net:ntk(X), cnn:ntk(I)
  ml.threads(1)
  check.equal(net:ntk(X), K)
  check.equal(cnn:ntk(I), C)
  ml.threads(before)
  check.equal(net:ntk(X:transpose():contiguous():transpose()), K)
  check.equal(cnn:ntk(I, I:clone())[{ 3, 4 }]:dtype(), "f64")
end

-- property: activations without a closed form: the series agrees with quadrature, entry by entry,
-- duplicates and opposite points included
function T.test_series_as_by_quadrature()
  local X = ml.rng(10):normal { 12, 5 }
  X[2] = X[1] * 1
  X[3] = X[1] * -2
  X[4] = X[1] * 6
  for _, name in ipairs { "tanh", "silu", "elu", "softplus", "sigmoid" } do
    local closed = require("moonlab.kernel.closed").table[name]
    local function f(x) return closed.f(x, { a = 1 }) end
    local K, N = mlp(k.act(name), 2, 1.4, 0.1):both(X)
    local wanted, wanted_n = mlp(k.act(f, { method = "quadrature" }), 2, 1.4, 0.1):both(X)
    check.close(K, wanted, { rtol = 1e-9, atol = 1e-10 })
    check.close(N, wanted_n, { rtol = 1e-8, atol = 1e-9 })
    local usual = X[{ { 5, 12 } }]
    check.is_true(worst(mlp(k.hermite(name, { degree = 60 }), 2, 1, 0.1):nngp(usual),
      mlp(k.act(name), 2, 1, 0.1):nngp(usual)) < 1e-3)
  end
  local I = ml.rng(11):normal { 3, 4, 4, 1 }
  local function net(act)
    return k.serial { conv { kernel = 3 }, act, k.avg_pool(2), conv { kernel = 2 }, act, k.gap(),
      dense() }
  end
  local erf = k.act(function(x) return x:erf() end, { degree = 150 })
  check.is_true(worst(net(erf):ntk(I), net(k.act "erf"):ntk(I)) < 1e-6)
end

-- property: symmetric and positive semidefinite, duplicates included
function T.test_positive_semidefinite()
  local X = ml.rng(12):normal { 40, 3 }
  X[{ { 21, 40 } }] = X[{ { 1, 20 } }]
  for _, name in ipairs { "relu", "gelu", "sin", "tanh" } do
    local K, N = mlp(k.act(name), 3, 1.5, 0.1):both(X)
    for _, M in ipairs { K, N } do
      local lambda = ml.solve.eigh(M)
      check.is_true(lambda[1] > -1e-11 * lambda[40], name)
    end
  end
end

-- ---- finite networks ----------------------------------------------------------------------------

-- property: the mean of kernels of finite networks. Of 24 draws at width 256 the mean is off by
-- less than 10 % of the largest entry (the deviation of one is about 10 )
function T.test_finite_networks()
  local X = ml.rng(13):normal { 4, 3 }
  local I = ml.rng(14):normal { 3, 4, 4, 1 }
  local nets = {
    { mlp(k.act "relu", 2, root2, 0.1), X, 3 },
    { k.serial { conv { kernel = 3 }, k.act "relu", k.avg_pool(2), conv { kernel = 2 },
      k.act "gelu", k.flatten(), dense() }, I, { 4, 4, 1 } },
    { k.serial { dense(), k.residual { k.serial { k.act "gelu", dense() } }, k.layer_norm(),
      k.act "relu", dense() }, X, 3 },
  }
  for i, case in ipairs(nets) do
    local exact, sum = case[1]:ntk(case[2]), nil
    for seed = 1, 24 do
      local net = case[1]:finite { inputs = case[3], width = i == 2 and 48 or 256, seed = seed }
      local part = k.empirical(net, case[2])
      check.close(part, part:transpose(), { rtol = 1e-9, atol = 1e-12 })
      sum = sum and sum + part or part
    end
    check.is_true(worst(sum / 24, exact) < 0.1)
  end
end

-- analytic: a linear network y = x W has the tangent kernel X X^T, whatever its outputs
function T.test_empirical_kernel_of_a_linear_network()
  local net = ml.nn.Linear { 3, 2, bias = false, dtype = "f64" }
  local X, Y = ml.rng(15):normal { 5, 3 }, ml.rng(16):normal { 4, 3 }
  check.close(k.empirical(net, X, Y), X:matmul(Y:transpose()), { rtol = 1e-13, atol = 1e-14 })
  check.is_nil(net.weight:grad())
  net(X):sum():backward()
  local before = net.weight:grad():clone()
  k.empirical(net, X)
  check.equal(net.weight:grad(), before)
end

-- ---- bad input ----------------------------------------------------------------------------------

function T.test_layers_that_do_not_fit()
  local X, I = ml.ones { 2, 3 }, ml.ones { 2, 4, 4, 1 }
  local relu = k.act "relu"
  local function raises(pattern, layers, points)
    local net = k.serial(layers)
    check.raises(pattern, net.nngp, net, points)
  end
  raises("layer 3 (act): its input is not Gaussian", { dense(), relu, relu, dense() }, X)
  raises("layer 1 (act): its input is not Gaussian", { relu, dense() }, X)
  raises("layer 2 (conv): there are no pixels", { dense(), conv { kernel = 3 } }, X)
  raises("layer 2 (gap): there are no pixels", { k.flatten(), k.gap() }, I)
  raises("layer 1 (dense): its input has pixels; put flatten or gap", { dense() }, I)
  raises("the last layer leaves 4 x 4 pixels", { conv { kernel = 3 } }, I)
  raises("layer 1 (conv): a window of 5 over 4 pixels",
    { conv { kernel = 5, padding = "valid" }, k.gap() }, I)
  raises("layer 1 (conv): circular with stride 3 over 4 pixels",
    { conv { kernel = 3, padding = "circular", stride = 3 }, k.gap() }, I)
  raises("layer 2 (residual): its branches end with different sizes",
    { conv { kernel = 3 }, k.residual { conv { kernel = 3, stride = 2 } }, k.gap() }, I)
  raises("layer 2 (avg_pool): not within a residual", { conv { kernel = 3 },
    k.residual { k.avg_pool(2) }, k.gap() }, I)
  raises("layer 1 (act): its input is not Gaussian", { k.act "tanh", dense() }, X)
end

function T.test_bad_points()
  local net = mlp(k.act "relu", 1, 1, 0)
  local X = ml.ones { 2, 3 }
  check.raises("wanted f64 or f32 points", net.nngp, net, ml.ones { 3 })
  check.raises("wanted points", net.nngp, net, nil)
  check.raises("wanted f64 or f32", net.nngp, net, ml.index { { 1 } })
  check.raises("one dtype and points of one shape", net.nngp, net, X, ml.ones { 2, 4 })
  check.raises("one dtype and points of one shape", net.nngp, net, X, X:to "f32")
  check.raises("did you mean 'diagonal'", net.nngp, net, X, { diagnal = true })
  check.raises("leave X2 out", net.nngp, net, X, X, { diagonal = true })
  local bad = ml.ones { 3, 2 }
  bad[{ 2, 1 }] = 0 / 0
  check.raises("point 2 holds", net.nngp, net, bad)
  local many = ml.zeros { 1, 1 }:broadcast_to { 60000000, 1 }
  check.raises("kernels of 60000000 x 60000000 points need", net.nngp, net, many)
  check.raises("ml.sketch.features", net.nngp, net, many)
  local steep = k.serial { dense(), k.act("exp", { b = 30 }), dense(), k.act("exp", { b = 30 }),
    dense() }
  check.raises("variances grow beyond", steep.nngp, steep, X * 3)
  check.raises("layer 2 is \"relu\"", k.serial, { dense(), "relu" })
  check.raises("a function that was not called", k.serial, { k.gap })
  check.raises("did you mean 'w_std'", k.dense, { w_sd = 1 })
  check.raises("wanted a finite number >= 0", k.dense, { w_std = -1 })
  check.raises("option 'kernel' is missing", k.conv, {})
  check.raises("3 branches", k.residual, { dense(), dense(), dense() })
  check.raises("option 'inputs' is missing", net.finite, net, {})
  check.raises("no circular padding", function()
    k.serial { conv { kernel = 3, padding = "circular" }, k.gap() }:finite { inputs = { 4, 4, 1 } }
  end)
  check.raises("a network with parameters", k.empirical, print, X)
end

-- analytic: two f64 matrices and little more; a view of one number stands for points without memory
function T.test_estimate()
  local net = mlp(k.act "relu", 1, 1, 0)
  local many = ml.zeros { 1, 1 }:broadcast_to { 1000000, 1 }
  local need = net:estimate(many)
  check.close(need.bytes, 16e12, { rtol = 1e-3 })
  check.is_true(need.seconds > 10)
  check.is_true(net:estimate(many, { diagonal = true }).bytes < 1e8)
  check.is_true(net:estimate(many, many[{ { 1, 1000 } }]).bytes < 17e9)
  check.raises("layer 1 (dense): its input has pixels", net.estimate, net, ml.ones { 2, 3, 3, 1 })
end

function T.test_nothing_is_lost()
  local net, X = mlp(k.act "relu", 1, 1, 0), ml.rng(1):normal { 30, 3 }
  check.no_leak(function() net:both(X) end)
  local cnn, I = k.serial(images.pool(k.act)), ml.rng(2):normal { 3, 6, 5, 1 }
  check.no_leak(function() cnn:both(I) end)
end

return T
