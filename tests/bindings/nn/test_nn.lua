-- The network operations from Lua agree with PyTorch (golden: numbers by
-- tests/golden/bindings/torch_cases.py).
local ml = require "moonlab"
local nn = require("moonlab.core").nn
local check = require "check"
local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
local G = dofile(here .. "/../../golden/bindings/torch_cases.lua")
local T = {}
local close = { rtol = 1e-12, atol = 1e-13 } -- f64 sums of a few tens of terms
local function f64(name) return ml.f64(G[name]) end

function T.test_linear_and_mlp()
  local x, W, b = f64 "x", f64 "W", f64 "b"
  check.close(nn.linear(x, W, { bias = b }), G.linear, close)
  check.close(nn.linear(x, W, { bias = b, activation = "gelu_tanh" }), G.linear_gelu, close)
  local Wt = W:transpose():contiguous()
  check.close(nn.linear(x, Wt, { activation = "silu", transposed = true }), G.linear_silu_t, close)
  check.close(nn.mlp(x, { w1 = W, b1 = b, w2 = f64 "W2", b2 = f64 "b2", activation = "relu" }),
    G.mlp, close)
  check.close(nn.activation(nn.linear(x, W, { bias = b }), "gelu_tanh"), G.linear_gelu, close)
end

function T.test_norms()
  check.close(nn.layer_norm(f64 "x", { gain = f64 "gain", shift = f64 "shift", eps = 1e-3 }),
    G.layer_norm, close)
  check.close(nn.rms_norm(f64 "x", { gain = f64 "gain", eps = 1e-3 }), G.rms_norm, close)
end

function T.test_rotary()
  local q = f64 "q"
  check.close(nn.rotary(q), G.rotary_half, close)
  check.close(nn.rotary(q, { base = 100, pairing = "interleaved" }), G.rotary_interleaved, close)
  check.close(nn.rotary(q, { positions = G.positions }), G.rotary_moved, close)
  check.close(nn.rotary(q, { positions = ml.index(G.positions) }), G.rotary_moved, close)
end

function T.test_attention()
  local q, k, v = f64 "q", f64 "k", f64 "v"
  local y, probe = nn.attention(q, k, v, { probe = true })
  check.close(y, G.attention_causal, close)
  check.close({ probe.max_logit, probe.max_abs_logit, probe.entropy }, G.attention_probe, close)
  check.close(nn.attention(q, k, v, { causal = false, scale = 0.3 }), G.attention_full, close)
  check.close(nn.attention(q, k, v, { segments = G.segments }), G.attention_segments, close)
end

function T.test_cross_entropy()
  local loss, info = nn.cross_entropy(f64 "logits", G.targets)
  check.close(loss, G.ce, close)
  check.close(info.ce, G.ce, close)
  check.close(info.mean_logz, G.mean_logz, close)
  check.close(info.mean_logz2, G.mean_logz2, close)
  check.equal(info.count, 6)
  loss, info = nn.cross_entropy(f64 "logits", ml.index(G.targets),
    { mask = f64 "weights", z_loss = 0.1 })
  check.close(loss, G.ce_weighted, close)
  check.equal(info.count, 4)
  check.close(nn.linear_cross_entropy(f64 "xs", f64 "head", G.targets, { multiplier = 0.5 }), G.lce,
    close)
  check.close(nn.linear_cross_entropy(f64 "xs", f64("head"):transpose():contiguous(), G.targets,
    { multiplier = 0.5, transposed = true }), G.lce, close)
end

function T.test_embedding()
  check.close(nn.embedding(f64 "table", G.ids), G.embedding, close)
  check.close(nn.embedding(f64 "table", ml.index(G.ids),
    { positions_table = f64 "more", positions = G.at }), G.embedding_positions, close)
end

function T.test_images()
  local image, kernel, b = f64 "image", f64 "kernel", f64 "cb"
  check.close(nn.conv2d(image, kernel, { bias = b, stride = { 2, 1 } }), G.conv_valid, close)
  check.close(nn.conv2d(image, kernel, { bias = b, padding = "same" }), G.conv_same, close)
  check.close(nn.avg_pool2d(image, { kernel = 2 }), G.pool, close)
  check.close(nn.global_avg_pool(image), G.global_pool, close)
  check.close(nn.locally_connected2d(image, f64 "local_w", { kernel = { 3, 2 } }), G.local_out,
    close)
end

function T.test_dropout()
  local x = ml.ones { 10000 }
  local y = nn.dropout(x, 0.25, { rng = ml.rng(1) })
  check.equal(y, nn.dropout(x, 0.25, { rng = ml.rng(1) }))
  local zeros = y:eq(0):mean():item()
  check.close(zeros, 0.25, { atol = 5 * 0.433 / 100 }) -- five standard errors
  check.close(y:max(), 1 / 0.75, { rtol = 1e-15 })
  local g = ml.rng(1)
  check.is_false(nn.dropout(x, 0.5, { rng = g }):equal(nn.dropout(x, 0.5, { rng = g })))
end

function T.test_gradients_reach_parameters()
  local w = ml.param(f64 "W")
  nn.linear(f64 "x", w):sum():backward()
  local sums = f64("x"):sum(1)
  check.close(w:grad(), sums:unsqueeze(2):broadcast_to { 4, 5 }, close)
end

function T.test_errors()
  local x, W = f64 "x", f64 "W"
  check.raises("'linear'", nn.linear, x, ml.zeros { 3, 5 })
  check.raises("f32", nn.linear, x, W:to "f32")
  check.raises("unknown option 'bais'; did you mean 'bias'?", nn.linear, x, W, { bais = W })
  check.raises("option 'bias': tensor expected, got number 3", nn.linear, x, W, { bias = 3 })
  check.raises("unknown choice \"gelu\"; did you mean \"relu\"", nn.linear, x, W,
    { activation = "gelu" })
  check.raises("unknown activation \"swish\"", nn.activation, x, "swish")
  check.raises("option 'w2': is missing", nn.mlp, x, { w1 = W })
  check.raises("nan, wanted >= 0", nn.layer_norm, x, { eps = 0 / 0 })
  check.raises("p is 1, wanted 0 <= p < 1", nn.dropout, x, 1, { rng = ml.rng(1) })
  check.raises("nan, wanted 0 <= p < 1", nn.dropout, x, 0 / 0, { rng = ml.rng(1) })
  check.raises("option 'rng': is missing", nn.dropout, x, 0.5)
  check.raises("option 'kernel': is missing", nn.avg_pool2d, f64 "image")
  check.raises("option 'stride': is 0, wanted >= 1", nn.conv2d, f64 "image", f64 "kernel",
    { stride = 0 })
  check.raises("positions_table and positions come together", nn.embedding, f64 "table", G.ids,
    { positions = G.at })
  check.raises("'cross_entropy'", nn.cross_entropy, f64 "logits", { 1, 2, 3, 4, 5, 8 })
  check.raises("'embedding'", nn.embedding, f64 "table", { 6 })
end

function T.test_no_leak()
  local x, W, q, image, kernel = f64 "x", f64 "W", f64 "q", f64 "image", f64 "kernel"
  check.no_leak(function()
    local w = ml.param(W)
    local y = nn.linear(x, w, { activation = "relu" })
    nn.cross_entropy(y, { 1, 2, 3 }):backward()
    nn.linear_cross_entropy(x, w, { 1, 2, 3 }):backward()
    nn.layer_norm(ml.param(x)):sum():backward()
    nn.attention(ml.param(q), q, q):sum():backward()
    nn.conv2d(image, ml.param(kernel)):sum():backward()
  end, { limit = 60 })
end

return T
