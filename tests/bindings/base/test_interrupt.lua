-- Ctrl-C during what has no loop in core: draws, JSON, files (property: one press, one error, and
-- nothing has changed).
local ml = require "moonlab"
local core = require "moonlab.core"
local check = require "check"
local T = {}

local N = 3 << 20 -- more than two pieces of any of them

-- f is cut short when the flag is up; the press is taken by the error
local function interrupted(f)
  check.raises("interrupted", function()
    core.testing.cancel()
    f()
  end)
  check.is_false(core.testing.cancelled())
end

-- What a long draw gives does not depend on the pieces it is made of.
local draws = {
  normal = function(g, n) return g:normal { n } end,
  normal_f32 = function(g, n) return g:normal({ n }, { dtype = "f32" }) end,
  truncated_normal = function(g, n) return g:truncated_normal { n } end,
  uniform = function(g, n) return g:uniform({ n }, { dtype = "f32" }) end,
  integers = function(g, n) return g:integers(1, 1000, { n }) end,
  permutation = function(g, n) return g:permutation(n) end,
}

for name, draw in pairs(draws) do
  T["test_" .. name .. "_leaves_the_generator"] = function()
    local g = ml.rng(7)
    interrupted(function() draw(g, N) end)
    check.equal(g:state(), ml.rng(7):state())
    check.equal(draw(g, 5), draw(ml.rng(7), 5))
  end
end

function T.test_pieces_are_one_draw()
  for _, dtype in ipairs { "f32", "f64" } do
    local g, h = ml.rng(3), ml.rng(3)
    local whole = g:normal({ N + 5 }, { dtype = dtype })
    local first = h:normal({ 1 << 21 }, { dtype = dtype })
    local rest = h:normal({ N + 5 - (1 << 21) }, { dtype = dtype })
    check.equal(whole, ml.concat({ first, rest }, 1))
    check.equal(g:state(), h:state())
  end
end

function T.test_the_message_blames_no_argument()
  core.testing.cancel()
  check.is_true(check.raises("interrupted", ml.ones, { N }):find(":%d+: ones: interrupted$") ~= nil)
end

function T.test_json()
  local list = {}
  for i = 1, 50000 do list[i] = i end
  interrupted(function() ml.json.encode(list) end)
  local text = ml.json.encode(list)
  interrupted(function() ml.json.decode(text) end)
  check.equal(#ml.json.decode(text), #list)
end

function T.test_files_stay_as_they_were()
  check.in_folder(function(folder)
    local small, large = ml.f64 { 1, 2, 3 }, ml.zeros { 5 << 20 }
    for _, name in ipairs { "t.npy", "t.npz", "t.safetensors" } do
      local path = folder .. "/" .. name
      local one = name:find "npy" and function(t) return t end
        or function(t) return { weight = t } end
      ml.save(path, one(small))
      interrupted(function() ml.save(path, one(large)) end)
      local found = ml.load(path)
      check.equal(name:find "npy" and found or found.weight, small)
    end
    local names = 0
    for _ in require("lfs").dir(folder) do names = names + 1 end
    check.equal(names, 3 + 2) -- nothing is left over; "." and ".."
  end)
end

return T
