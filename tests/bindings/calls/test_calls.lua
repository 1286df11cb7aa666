-- Errors name what the user called and the user's line; arguments beyond a signature raise.
local ml = require "moonlab"
local check = require "check"
local help = require "moonlab.help"
local T = {}

local function message_of(f, ...)
  local ok, message = pcall(f, ...)
  check.is_true(not ok)
  return message
end

function T.test_too_many_arguments_name_the_function_and_count_without_self()
  local t, g = ml.ones { 2, 2 }, ml.rng(1)
  local w = ml.param(ml.ones { 2 })
  local opt = ml.optim.sgd({ w }, { lr = 0.1 })
  local lm = ml.transformer { vocab = 4, context = 4, depth = 1, width = 4, heads = 1 }
  local cases = {
    { "'add' (3, wanted at most 2)", ml.add, t, t, t },
    { "'now' (1, wanted at most 0)", ml.now, 1 },
    { "'eye' (4, wanted at most 3)", ml.eye, 2, 2, {}, 1 },
    { "'linear' (4, wanted at most 3)", ml.nn.linear, t, t, {}, 1 },
    { "'encode' (3, wanted at most 2)", ml.json.encode, 1, {}, 2 },
    { "'sum' (3, wanted at most 2)", function() return t:sum(1, {}, 3) end },
    { "'item' (1, wanted at most 0)", function() return t:item(1) end },
    { "'fold' (3, wanted at most 2)", function() return g:fold("a", 1, 2) end },
    { "'zero_grad' (1, wanted at most 0)", function() return opt:zero_grad(true) end },
    { "'parameters' (1, wanted at most 0)", function() return lm:parameters(1) end },
    { "'transformer' (2, wanted at most 1)", ml.transformer, {}, {} },
    { "'ml.nn.Linear' (2, wanted at most 1)", ml.nn.Linear, { 2, 2 }, {} },
    { "'ml.nn.GELU' (1, wanted at most 0)", ml.nn.GELU, {} },
    { "'parameters' (1, wanted at most 0)", function()
      return ml.nn.Linear { 2, 2 }:parameters(1)
    end },
    { "'ml.train' (2, wanted at most 1)", ml.train, {}, {} },
    { "'decode' (2, wanted at most 1)", function() return ml.tokenizer.bytes():decode({}, 1) end },
    { "'ml.schedule.warmup_cosine' (3, wanted at most 2)", ml.schedule.warmup_cosine, 1, {}, 2 },
  }
  for _, case in ipairs(cases) do
    check.raises("too many arguments to " .. case[1], table.unpack(case, 2))
  end
end

function T.test_nil_at_the_end_is_no_argument_and_lists_of_sizes_stay()
  local t = ml.ones { 2, 3 }
  check.equal(ml.sum(t, nil, nil, nil, nil):item(), 6)
  check.equal(ml.tokenizer.bytes():decode({ 98 }, nil, nil), "a")
  check.equal(t:reshape(3, 1, 2):shape(), { 3, 1, 2 })
  check.equal(t:permute(2, 1):shape(), { 3, 2 })
  check.equal(ml.zeros(2, 3, { dtype = "f32" }):shape(), { 2, 3 })
  check.raises("nothing may follow the table", t.reshape, t, { 6 }, 1)
  check.raises("nothing may follow the table", t.permute, t, { 2, 1 }, 1)
  check.raises("nothing may follow the table", t.broadcast_to, t, { 2, 3 }, 1)
end

-- Every public function that is not variadic raises on 13 arguments before it looks at them.
function T.test_every_public_function_counts()
  local variadic = {
    scope = true, keep = true, no_grad = true, reshape = true, permute = true, broadcast_to = true,
    ["tensor:reshape"] = true, ["tensor:permute"] = true, ["tensor:broadcast_to"] = true,
  }
  local silent = {}
  for _, entry in ipairs(help.all()) do
    local name = entry.name
    if not variadic[name] and name ~= "transformer" then
      local message = message_of(entry.value, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
      if not message:find("too many arguments", 1, true)
        and not message:find("on a bad self", 1, true) then
        silent[#silent + 1] = name .. ": " .. message
      end
    end
  end
  check.equal(silent, {})
end

-- The line of this file in front, and nothing of the library's own.
local function blames(pattern, f, ...)
  local message = message_of(f, ...)
  if not message:find("^[^\n]*test_calls%.lua:%d+: ") or not message:find(pattern, 1, true)
    or message:find("lua/moonlab/", 1, true) then
    check.fail("wanted this file's line and: " .. pattern .. "\ngot: " .. message)
  end
end

function T.test_a_module_call_names_the_module()
  local x = ml.ones { 2, 5, dtype = "f32" }
  local linear = ml.nn.Linear { 4, 3 }
  blames("bad argument to 'ml.nn.Linear' (", function() return linear(x) end)
  local net = ml.nn.Sequential { ml.nn.Sequential { ml.nn.Tanh(), linear }, ml.nn.ReLU() }
  blames("bad argument to 'ml.nn.Sequential' (ml.nn.Linear: ", function() return net(x) end)
  blames("bad argument to 'ml.nn.GELU' (tensor expected", function() return ml.nn.GELU()(3) end)
  blames("'ml.nn.Flatten' (tensor expected", function() return ml.nn.Flatten()() end)
  -- a forward function of the user's is the user's code: the inner call is what failed
  local own = ml.nn.Module { forward = function(_, t) return t:matmul(3) end }
  blames("'matmul' (", function() return own(x) end)
end

function T.test_functions_of_lua_modules_name_themselves()
  blames("bad argument to 'ml.nn.Linear' (option 'dtype'", ml.nn.Linear, { 2, 2, dtype = "f33" })
  blames("bad argument to 'ml.nn.seed' (", ml.nn.seed, "one")
  blames("bad argument to 'decode' (", function() return ml.tokenizer.bytes():decode() end)
  blames("bad argument to 'save' (cannot write '/nonexistent/", function()
    return ml.nn.Linear { 2, 2 }:save("/nonexistent/w.safetensors")
  end)
  blames("bad argument #1 to 'decode' (index tensor or table", function()
    return ml.tokenizer.chars("ab"):decode()
  end)
  blames("calling 'decode' on a bad self (got nil; methods are called with a colon)",
    ml.tokenizer.methods.decode)
  blames("bad argument #1 to 'ml.runs.align' (entry 1 is 3, wanted a run", ml.runs.align, { 3 },
    "x")
  blames("bad argument #1 to 'ml.runs.difference' (entry 1 is table, wanted a run",
    ml.runs.difference, { {} })
  blames("bad argument #1 to 'ml.runs.create' (value number 1, wanted at most 0)", ml.runs.create,
    { 1 })
  blames("bad argument #1 to 'ml.stats.bootstrap' (x is nothing", ml.stats.bootstrap, nil)
  blames("calling 'parameters' on a bad self (got table", ml.nn.methods.parameters, {})
end

function T.test_a_function_of_the_library_called_back_blames_the_callback()
  local key = ml.rng(1)
  local net = ml.nn.Linear { 2, 1 }
  local message = message_of(ml.train, { model = net, steps = 1,
    opt = ml.optim.sgd(net:parameters(), { lr = 0.1 }),
    data = { batch = function() return key:normal { 3, 2, dtype = "f32" } end },
    loss = function(model, x) return model(x):matmul("x") end })
  check.is_true(message:find("test_calls%.lua:%d+: bad argument #1 to 'matmul'") ~= nil)
end

function T.test_a_missing_file_is_an_outcome()
  local path = "/nonexistent/a.safetensors"
  local wanted = { nil, path .. ": no such file" }
  local net = ml.nn.Linear { 2, 2 }
  for _, f in ipairs { ml.load, ml.json.read, ml.tokenizer.load, ml.transformer.load, ml.data.text,
    function(p) return net:load(p) end } do
    check.equal({ f(path) }, wanted)
    check.raises("", f, 3)
    check.raises("the path is empty", f, "")
    check.raises("zero byte", f, "a\0b")
    check.raises("cannot read", f, "/")
  end
end

return T
