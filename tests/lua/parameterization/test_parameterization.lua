-- ml.parameterization on the decoder: nothing changes at the base width, equivalent
-- parameterizations train alike, and what it refuses.
local ml = require "moonlab"
local check = require "check"
local T = {}

local function decoder(o)
  local config = { vocab = 11, context = 12, depth = 2, width = 16, heads = 2, dtype = "f64",
    seed = 3 }
  for key, value in pairs(o or {}) do config[key] = value end
  return ml.transformer(config)
end

local optimizers = {
  sgd = function(p) return ml.optim.sgd(p, { lr = 0.05, momentum = 0.9 }) end,
  adamw = function(p)
    return ml.optim.adamw(p, { lr = 0.01, eps = 1e-6, weight_decay = 1e-3 })
  end,
  adam_atan2 = function(p) return ml.optim.adam_atan2(p, { lr = 0.01 }) end,
  adam_ps = function(p) return ml.optim.adam_ps(p, { lr = 0.05, eps = 1e-6, floor = 1e-9 }) end,
}

-- Losses of so many steps on batches that depend on the step only.
local function losses(lm, opt, steps)
  local found = {}
  for i = 1, steps do
    local tokens = ml.rng(7):fold("batch", i):integers(1, 11, { 4, 13 })
    opt:zero_grad()
    ml.scope(function()
      local loss = lm:loss(tokens)
      loss:backward()
      found[i] = loss:item()
    end)
    opt:step()
  end
  return found
end

function T.test_nothing_changes_at_the_base_width() -- property
  for rule, make in ml.sorted(optimizers) do
    local reference = decoder()
    local plain = losses(reference, make(reference:named_parameters()), 6)
    for _, name in ipairs { "standard", "ntk", "mup", "mean_field", "muparam_simple",
      "muparam_intermediate",
      { a = { embedding = 1, hidden = 2, readout = 3 },
        b = { embedding = -1, hidden = 1 / 3, readout = 0 } } } do
      for _, align in ipairs { "full", "none" } do
        local preset = type(name) == "string" and name:find "^muparam"
        if not (preset and align == "none") then
          local lm = decoder()
          local par = ml.parameterization(lm, { name = name, base_width = 16, optimizer = rule,
            align = not preset and align or nil })
          local found = losses(lm, make(par:groups()), 6)
          for i = 1, 6 do check.equal(found[i], plain[i]) end -- to the last bit
          for key, w in pairs(lm:named_parameters()) do
            check.is_true(w:equal(reference:named_parameters()[key]))
          end
        end
      end
    end
  end
end

-- Multiplier x rho and initial values / rho of one layer; learning rate / rho^2 (sgd), / rho and
-- epsilon x rho (adam), unchanged with parameter scaling. Everett et al. 2024, section 3.
local function shifted(rule, patterns, rho)
  local lm = decoder()
  local lr = ({ sgd = rho ^ -2, adam_ps = 1 })[rule] or 1 / rho
  local overrides = {}
  for _, pattern in ipairs(patterns) do
    overrides[pattern] = { multiplier = rho, std = 1 / rho, lr = lr, eps = rho }
  end
  local par = ml.parameterization(lm, { base_width = 16, optimizer = rule, overrides = overrides })
  return losses(lm, optimizers[rule](par:groups()), 50)
end

function T.test_a_shift_between_scale_and_multiplier_changes_nothing() -- property
  local layers = { { "tokens" }, { "attn.wq" }, { "attn.wv" }, { "attn.wo" }, { "mlp.w1" },
    { "mlp.w2" }, { "norm" }, { "head" }, { "tokens", "attn", "mlp", "norm", "head" } }
  for rule in ml.sorted(optimizers) do
    local plain = shifted(rule, {}, 1)
    check.is_true(plain[50] < plain[1])
    for _, patterns in ipairs(layers) do
      for _, rho in ipairs { 0.25, 3 } do
        -- rounding, which 50 steps of training amplify
        check.close(shifted(rule, patterns, rho), plain, { rtol = 1e-9 })
      end
    end
  end
end

local function run(name, rule, epsilon)
  local lm = decoder { width = 64, heads = 8 }
  local par = ml.parameterization(lm, { name = name, base_width = 16, optimizer = rule,
    epsilon = epsilon })
  return losses(lm, optimizers[rule](par:groups()), 50)
end

function T.test_standard_is_ntk_and_mup_is_mean_field() -- property
  for rule in ml.sorted(optimizers) do
    local standard, mup = run("standard", rule), run("mup", rule)
    check.close(run("ntk", rule), standard, { rtol = 1e-9 })
    check.close(run("mean_field", rule), mup, { rtol = 1e-9 })
    check.is_true(math.abs(standard[50] - mup[50]) > 1e-4) -- and the two classes differ
  end
end

-- The same epsilon is larger beside the smaller gradients of mean field.
function T.test_a_constant_epsilon_parts_equivalent_parameterizations() -- property
  local mup, mean_field = run("mup", "adamw", "constant"), run("mean_field", "adamw", "constant")
  check.is_true(math.abs(mup[50] / mean_field[50] - 1) > 1e-8)
end

function T.test_rows_hold_the_powers_of_the_ratio() -- analytic
  local lm = decoder { width = 64, heads = 8, qk_norm = true }
  local par = ml.parameterization(lm, { name = "mup", base_width = 16, optimizer = "adamw",
    gamma = { embedding = 3, readout = 5 }, overrides = { ["blocks.2.mlp.w1"] = { lr = 7 } } })
  local function row(name)
    local r = par:row(name)
    return { r.multiplier, r.std, r.lr, r.eps }
  end
  check.close(row "tokens", { 2, 1 / 4 / 2, 3 / 2, 1 / 2 })
  check.close(row "blocks.1.attn.q_norm.gain", { 2, 1 / 2, 3 / 2, 1 / 2 })
  check.close(row "blocks.1.mlp.w1", { 1, 1 / 4 / 2, 1 / 4, 1 / 4 })
  check.close(row "blocks.1.mlp.w2", { 1, 1 / 8 / 2, 1 / 4, 1 / 4 })
  check.close(row "blocks.2.mlp.w1", { 1, 1 / 4 / 2, 7 / 4, 1 / 4 })
  check.close(row "head", { 1 / 2, 1 / 4 / 2, 5 / 2, 1 / 2 })
  for name, w in pairs(lm:named_parameters()) do
    check.close(w:detach():pow(2):mean():item() ^ 0.5, par:row(name).std, { rtol = 0.1 })
    check.close(lm:multiplier(name), par:row(name).multiplier)
  end
  local text = tostring(par)
  for _, part in ipairs { "mup for adamw", "base width 16", "blocks.*.mlp.w2", "readout" } do
    check.is_true(text:find(part, 1, true) ~= nil)
  end
end

function T.test_presets_of_muparam() -- analytic
  local lm = decoder { width = 64, heads = 8, attention_scale = "1/d_head" }
  local par = ml.parameterization(lm, { name = "muparam_full", base_width = 16 })
  check.close(par:row("head").std, math.sqrt(16) / 64)
  check.close({ par:row("head").lr, par:row("blocks.2.attn.wk").lr, par:row("tokens").lr,
    par:row("norm.gain").lr }, { 1 / 4, 1 / 4, 1, 1 })
  check.close(lm:named_parameters()["blocks.1.attn.wq"]:detach():abs():max():item(), 0)
  check.raises("attention_scale", ml.parameterization, decoder { width = 64 },
    { name = "muparam_full", base_width = 16 })
end

function T.test_save_keeps_multipliers() -- property
  check.in_folder(function(dir)
    local lm = decoder { width = 32 }
    ml.parameterization(lm, { name = "mean_field", base_width = 16 })
    lm:save(dir .. "/a.safetensors")
    local other = ml.transformer.load(dir .. "/a.safetensors")
    check.close(other:multiplier("head"), 1 / 2)
    check.equal(other:logits({ { 1, 2, 3 } }):detach(), lm:logits({ { 1, 2, 3 } }):detach())
  end)
end

function T.test_a_tied_head_wants_a_type() -- error
  check.raises("types = { tokens =", ml.parameterization, decoder { tied = true },
    { base_width = 8 })
  local lm = decoder { tied = true, width = 64, heads = 8 }
  ml.parameterization(lm, { base_width = 16, types = { tokens = "embedding" } })
  check.close(lm:multiplier("head"), 4 ^ -0.5) -- logits as with a readout of std n^-1/2
end

function T.test_bad_input_raises() -- error
  local function refused(pattern, o, lm)
    check.raises(pattern, ml.parameterization, lm or decoder(), o)
  end
  refused("base_width' is missing", {})
  refused("neither divides", { base_width = 12 })
  refused("base_width' is 0", { base_width = 0 })
  refused("did you mean 'mup'", { base_width = 16, name = "mub" })
  refused("hidden is nil", { base_width = 16, name = { a = { embedding = 0, readout = 0 },
    b = { embedding = 0, hidden = 0, readout = 0 } } })
  refused("field 'b' is nil", { base_width = 16,
    name = { a = { embedding = 0, hidden = 0, readout = 0 } } })
  refused("option 'optimizer'", { base_width = 16, optimizer = "adamx" })
  refused("unknown option 'heads'", { base_width = 16, gamma = { heads = 2 } })
  refused("option 'hidden' is -1", { base_width = 16, gamma = { hidden = -1 } })
  refused("no parameter's name", { base_width = 16, types = { haed = "readout" } })
  refused("no parameter's name", { base_width = 16, overrides = { haed = { lr = 2 } } })
  refused("wanted a factor", { base_width = 16, overrides = { head = { lr = -2 } } })
  refused("unknown option 'bas_width'", { bas_width = 16 })
  refused("learning rates are fixed", { base_width = 16, name = "muparam_simple",
    align = "full" })
  local trained = decoder()
  losses(trained, optimizers.sgd(trained:named_parameters()), 1)
  refused("trained", { base_width = 16 }, trained)
  local twice = decoder()
  ml.parameterization(twice, { name = "mup", base_width = 8 })
  refused("already", { base_width = 8 }, twice)
  check.raises("wanted a decoder", ml.parameterization, 3, { base_width = 8 })
end

-- ---- networks -----------------------------------------------------------------------------------

local function network(width)
  local function activation(x) return ml.nn.activation(x, "relu") * math.sqrt(2) end
  local function linear(i, fan_in, fan_out)
    return ml.nn.Linear { fan_in, fan_out, bias = false, dtype = "f64", seed = i }
  end
  return ml.nn.Sequential { ml.nn.Embedding { 11, width, init = 1, dtype = "f64", seed = 9 },
    linear(1, width, width), activation, linear(2, width, width), activation,
    linear(3, width, 11) }
end

local function network_losses(name, rule, width, rho)
  local net = network(width)
  local par = ml.parameterization(net, { name = name, optimizer = rule, base_width = 8,
    width = width, overrides = rho and { ["4"] = { multiplier = rho, std = 1 / rho,
      lr = rule == "sgd" and rho ^ -2 or rule == "adam_ps" and 1 or 1 / rho, eps = rho } } })
  local opt, found = optimizers[rule](par:groups()), {}
  for i = 1, 50 do
    local x = ml.rng(5):fold("x", i):integers(1, 11, { 20 })
    opt:zero_grad()
    ml.scope(function()
      local loss = ml.nn.cross_entropy(net(x), x)
      loss:backward()
      found[i] = loss:item()
    end)
    opt:step()
  end
  return found, par, net
end

function T.test_networks_have_parameterizations_too() -- property
  for rule in ml.sorted(optimizers) do
    local standard, par, net = network_losses("standard", rule, 32)
    check.equal({ par:row("1.weight").type, par:row("2.weight").type, par:row("6.weight").type },
      { "embedding", "hidden", "readout" })
    check.equal(net:multiplier "6.weight", 1)
    check.close(network_losses("ntk", rule, 32), standard, { rtol = 1e-9 })
    check.close(network_losses("standard", rule, 32, 3), standard, { rtol = 1e-9 })
    check.close(network_losses("mean_field", rule, 32), network_losses("mup", rule, 32),
      { rtol = 1e-9 })
    check.equal(network_losses("mean_field", rule, 8), network_losses("standard", rule, 8))
  end
end

function T.test_networks_keep_multipliers_in_their_files() -- property
  check.in_folder(function(dir)
    local net, other = network(16), network(16)
    ml.parameterization(net, { name = "ntk", base_width = 8, width = 16 })
    net:save(dir .. "/net.safetensors")
    other:load(dir .. "/net.safetensors")
    check.close(other:multiplier "6.weight", 2 ^ -0.5)
    check.equal(other(ml.index { 1, 2 }):detach(), net(ml.index { 1, 2 }):detach())
    network(16):save(dir .. "/plain.safetensors")
    other:load(dir .. "/plain.safetensors")
    check.equal(other:multiplier "6.weight", 1)
  end)
end

function T.test_networks_refuse_what_they_cannot_tell() -- error
  check.raises("option 'width' is missing", ml.parameterization, network(16), { base_width = 8 })
  check.raises("types = {", ml.parameterization,
    ml.nn.Linear { 5, 7 }, { base_width = 8, width = 16 })
  check.raises("no multiplier", function()
    ml.nn.Conv2d { 1, 2, kernel = 3 }:multiplier("weight", 2)
  end)
  check.raises("no parameter", function() network(16):multiplier("7.weight") end)
end

return T
