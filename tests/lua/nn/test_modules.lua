-- Modules: shapes, names, files, training mode, errors.
local ml = require "moonlab"
local check = require "check"
local T = {}

local function keys(t)
  local list = {}
  for k in ml.sorted(t) do list[#list + 1] = k end
  return list
end

function T.test_linear_is_x_W_plus_b() -- analytic
  local layer = ml.nn.Linear { 3, 2, dtype = "f64" }
  local x = ml.f64 { { 1, 2, 3 }, { -1, 0, 1 } }
  ml.no_grad(function() layer.bias:copy_(ml.f64 { 0.5, -0.5 }) end)
  check.close(layer(x), x:matmul(layer.weight:detach()) + ml.f64 { 0.5, -0.5 }, { rtol = 1e-14 })
  check.is_nil(ml.nn.Linear { 3, 2, bias = false }.bias)
end

-- property: 5 standard errors of a variance over 60,000 entries
function T.test_initial_values_have_the_stated_spread()
  local wanted = { lecun_normal = 1 / 300, truncated_normal = 1 / 300, he_normal = 2 / 300,
    xavier_uniform = 2 / 500, torch = 1 / 900 }
  for init, variance in pairs(wanted) do
    local w = ml.nn.Linear { 300, 200, init = init, seed = 3, dtype = "f64" }.weight:detach()
    check.close((w * w):mean():item() / variance, 1, { rtol = 0.03 })
    check.close(w:mean():item(), 0, { atol = 5 * math.sqrt(variance / 60000) })
  end
  local a, b = ml.nn.Linear { 4, 4, seed = 7 }, ml.nn.Linear { 4, 4, seed = 7 }
  check.equal(a.weight:detach(), b.weight:detach())
end

function T.test_names_and_order()
  local net = ml.nn.Sequential { ml.nn.Conv2d { 1, 2, kernel = 3, padding = "same" }, ml.nn.ReLU(),
    ml.nn.GlobalAvgPool(), ml.nn.Linear { 2, 5 } }
  check.equal(keys(net:named_parameters()), { "1.bias", "1.weight", "4.bias", "4.weight" })
  check.equal(#net:parameters(), 4)
  check.equal(net(ml.zeros { 3, 6, 6, 1, dtype = "f32" }):shape(), { 3, 5 })
end

function T.test_module_of_ones_own_shares_parameters()
  local shared = ml.nn.Linear { 2, 2, dtype = "f64" }
  local net = ml.nn.Module {
    a = shared, b = shared, scale = ml.param(ml.ones { 1 }),
    table_of = { inner = ml.nn.Linear { 2, 1, dtype = "f64" } },
    forward = function(self, x) return self.table_of.inner(self.b(self.a(x)) * self.scale) end,
  }
  check.equal(keys(net:named_parameters()),
    { "a.bias", "a.weight", "scale", "table_of.inner.bias", "table_of.inner.weight" })
  net(ml.ones { 4, 2 }):sum():backward()
  for name, p in pairs(net:named_parameters()) do check.is_true(p:grad() ~= nil, name) end
end

function T.test_gradients_of_a_convolutional_net_by_differences() -- gradient
  local net = ml.nn.Sequential {
    ml.nn.Conv2d { 2, 3, kernel = 3, padding = "same", dtype = "f64", seed = 1 }, ml.nn.Tanh(),
    ml.nn.AvgPool2d { kernel = 2 },
    ml.nn.LocallyConnected2d { 3, 2, input = 2, kernel = 2, padding = "same", dtype = "f64",
      seed = 2 },
    ml.nn.Flatten(),
    ml.nn.LayerNorm { 8, dtype = "f64" }, ml.nn.Linear { 8, 3, dtype = "f64", seed = 3 },
  }
  local x = ml.rng(5):normal { 2, 4, 4, 2 }
  local function loss() return (net(x) ^ 2):sum() end
  loss():backward()
  for name, p in ml.sorted(net:named_parameters()) do
    local flat, g = p:detach():reshape { -1 }, p:grad():reshape { -1 }
    for _, i in ipairs { 1, p:numel() } do
      local v, h = flat[i], 1e-5
      local function at(value)
        ml.no_grad(function() p:detach():reshape { -1 }[i] = value end)
        return ml.no_grad(function() return loss():item() end)
      end
      local slope = (at(v - 2 * h) - 8 * at(v - h) + 8 * at(v + h) - at(v + 2 * h)) / (12 * h)
      at(v)
      if math.abs(slope - g[i]) > 1e-7 * math.max(1, math.abs(slope)) then
        check.fail(("%s[%d]: gradient %.12g, differences give %.12g"):format(name, i, g[i], slope))
      end
    end
  end
end

function T.test_dropout_only_in_training() -- property
  local drop = ml.nn.Dropout { 0.5, seed = 4 }
  local x = ml.ones { 1000 }
  local y = drop(x)
  check.close(y:mean():item(), 1, { atol = 5 * math.sqrt(1 / 1000) })
  check.equal(y:eq(0):any():item() ~= 0, true)
  local net = ml.nn.Sequential { drop }
  net:training(false)
  check.is_false(drop:training())
  check.equal(drop(x), x)
end

function T.test_files()
  check.in_folder(function(dir)
    local function make(seed)
      return ml.nn.Sequential { ml.nn.Linear { 3, 4, seed = seed }, ml.nn.RMSNorm { 4 },
        ml.nn.Embedding { 5, 4, seed = seed } }
    end
    local a, b = make(1), make(2)
    a:save(dir .. "/net.safetensors")
    b:load(dir .. "/net.safetensors")
    for name, p in pairs(a:named_parameters()) do
      check.equal(b:named_parameters()[name]:detach(), p:detach())
    end
    check.raises("'1.bias' is f32 [4], wanted f32 [5]", function()
      ml.nn.Sequential { ml.nn.Linear { 3, 5 } }:load(dir .. "/net.safetensors")
    end)
    check.raises("that the module lacks",
      function() ml.nn.Sequential { ml.nn.Linear { 3, 4 } }:load(dir .. "/net.safetensors") end)
  end)
end

function T.test_modules_outlive_the_scope_they_were_made_in()
  local net
  ml.scope(function()
    net = ml.nn.Module { table = ml.rng(1):normal { 2, 2 },
      forward = function(self, x) return x:matmul(self.table) end }
  end)
  check.equal(net(ml.ones { 1, 2 }):shape(), { 1, 2 })
end

function T.test_errors()
  check.raises("fan_in is 0", ml.nn.Linear, { 0, 2 })
  check.raises("did you mean 'bias'", ml.nn.Linear, { 2, 2, bais = false })
  check.raises("option 'kernel'", ml.nn.Conv2d, { 1, 2 })
  check.raises("did you mean 'he_normal'", ml.nn.Linear, { 2, 2, init = "he_norml" })
  check.raises("entry 1 is 3", ml.nn.Sequential, { 3 })
  check.raises("p is 1", ml.nn.Dropout, { 1 })
  check.raises("field 'forward' is missing", ml.nn.Module, {})
  check.raises("f32 [2x3]", ml.nn.Linear { 4, 2 }, ml.zeros { 2, 3, dtype = "f32" })
  check.raises("option 'bias' is 1, wanted a boolean", ml.nn.Linear, { 2, 2, bias = 1 })
  check.raises("option 'rng' is 3, wanted a generator", ml.nn.Linear, { 2, 2, rng = 3 })
  check.raises("option 'seed' is \"a\", wanted an integer", ml.nn.Dropout, { 0.5, seed = "a" })
  check.raises("option 'init' is nan, wanted", ml.nn.Linear, { 2, 2, init = -(0 / 0) })
  check.raises("option 'init' returned f64 [2], wanted f32 [2x3]", ml.nn.Linear,
    { 2, 3, init = function() return ml.ones { 2 } end })
  check.raises("value number 3, wanted at most 2", ml.nn.Linear, { 2, 2, 2 })
  check.raises("by position or by name", ml.nn.Dropout, { 0.5, p = 0.5 })
  check.raises("entry 3 stands alone", ml.nn.Sequential, { ml.nn.ReLU(), [3] = ml.nn.ReLU() })
  check.in_folder(function(dir)
    ml.save(dir .. "/one.npy", ml.ones { 2 })
    check.raises("one tensor without a name", ml.nn.ReLU().load, ml.nn.ReLU(), dir .. "/one.npy")
  end)
end

function T.test_flatten_takes_no_rows_as_well()
  check.equal(ml.nn.Flatten()(ml.zeros { 0, 2, 3 }):shape(), { 0, 6 })
  check.equal(ml.nn.Flatten()(ml.zeros { 4 }):shape(), { 4, 1 })
end

function T.test_a_module_that_holds_itself_prints()
  local net = ml.nn.Module { forward = function(_, x) return x end, inner = ml.nn.ReLU() }
  net.again = net
  net.list = ml.nn.Sequential { net }
  check.equal(tostring(net),
    "Module{\n  (again): Module{ itself }\n  (inner): ReLU\n  (list): Sequential{\n"
    .. "    (1): Module{ itself }\n  }\n}")
  check.equal(tostring(net.list[1].inner), "ReLU")
  check.equal(#net:parameters(), 0)
end

function T.test_a_decoder_inside_a_module_is_part_of_it() -- property
  local function build(seed)
    return ml.nn.Module {
      lm = ml.transformer { vocab = 11, context = 8, depth = 1, width = 8, heads = 1, seed = seed },
      scale = ml.nn.Linear { 2, 2, seed = seed },
      forward = function(self, tokens) return (self.lm:loss(tokens)) end,
    }
  end
  local net = build(1)
  local named, own = net:named_parameters(), net.lm:named_parameters()
  for name in pairs(own) do check.is_true(named["lm." .. name] ~= nil) end
  check.is_true(named["scale.weight"] ~= nil)
  check.in_folder(function(dir)
    net:save(dir .. "/net.safetensors")
    local other = build(2)
    other:load(dir .. "/net.safetensors")
    check.is_true(other.lm:named_parameters().tokens:equal(own.tokens))
  end)
end

return T
