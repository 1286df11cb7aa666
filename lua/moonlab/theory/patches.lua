--- Points on products of spheres, targets of one learning index each, and the networks that tell
--- them apart: what the recipes on space and frequency share.
---
--- An input is p^4 numbers x_k, k = (k1, k2, k3, k4), each 0..p-1: p^3 patches of p numbers, each
--- on a sphere of radius sqrt(p). Neighbours in k3 are siblings in a hierarchical network, those in
--- k1 are furthest. Source: Xiao 2022 (arXiv 2112.05611), Section 4.
local core = require "moonlab.core"
local kernel = require "moonlab.kernel"

local patches = {}

--- n points, [n, p^4] f64.
function patches.points(key, n, p)
  local x = key:normal { n, p * p * p, p }
  return (x / (x * x):sum { 3, keepdims = true }:sqrt() * math.sqrt(p)):reshape { n, p * p * p * p }
end

-- z moved by (e1, e2, e3, e4): the value at k is that at k + e.
local function moved(z, p, e)
  for axis = 1, 4 do
    if e[axis] ~= 0 then
      local ids = {}
      for i = 1, p do ids[i] = (i - 1 + e[axis]) % p + 1 end
      z = z:index_select(core.index(ids), axis + 1)
    end
  end
  return z
end

patches.names = { "Y1", "Y2", "Y3", "Y4", "Y5*", "Y5", "Y6", "Y7" }

--- The eight targets at X [n, p^4] with coefficients of the key: a list of [n], not scaled.
function patches.targets(key, X, p, equal)
  local z = X:reshape { X:size(1), p, p, p, p }
  local function at(a, b, c, d) return moved(z, p, { a, b, c, d }) end
  local here = at(0, 0, 0, 0)
  local terms = {
    here,
    here * at(0, 0, 0, 1),
    at(0, 0, 1, 0) * at(0, 0, 0, 1),
    at(0, 0, 1, 1) * at(0, 0, 0, 1) * here,
    here * at(0, 0, 0, 1) * at(0, 0, 0, 2) * (here * here - at(0, 0, 0, 1) * at(0, 0, 0, 1)),
    here * at(1, 0, 0, 0),
    here * at(0, 0, 1, 0) * (at(0, 0, -1, 0) * at(0, 0, -1, 0) - 1),
    at(0, 0, -1, 1) * at(0, 1, 0, 0) * (here * here - 1),
  }
  local list = {}
  for i, term in ipairs(terms) do
    if not equal then term = term * key:fold("target", i):normal { 1, p, p, p, p } end
    list[i] = term:sum { 2, 3, 4, 5 }
  end
  return list
end

--- One mode of each target: leaf -> degree.
function patches.modes(p)
  local function leaf(a, b, c) return (a * p + b) * p + c + 1 end
  local o, sibling, last = leaf(0, 0, 0), leaf(0, 0, 1), leaf(0, 0, p - 1)
  return { { [o] = 1 }, { [o] = 2 }, { [o] = 1, [sibling] = 1 }, { [o] = 2, [sibling] = 1 },
    { [o] = 5 }, { [o] = 1, [leaf(1, 0, 0)] = 1 }, { [o] = 1, [sibling] = 1, [last] = 2 },
    { [last] = 1, [leaf(0, 1, 0)] = 1, [o] = 2 } }
end

--- Fan-ins from the input to the root, and the same network as a kernel of ml.kernel.
patches.branching = {
  MLP = function(p) return { p * p * p, 1, 1, 1 } end,
  ["D-CNN"] = function(p) return { p, p * p, 1 } end,
  ["HR-CNN"] = function(p) return { 1, p, p, p, 1 } end,
}

local act = kernel.act("rbf", { gamma = 1 }) -- sqrt(2) sin(sqrt(2) x + pi/4)
local function dense() return kernel.dense { w_std = 0.5 } end
local function conv(window)
  return kernel.conv { kernel = { 1, window }, stride = { 1, window }, padding = "valid",
    w_std = 0.5 }
end

--- For inputs [n, 1, p^4, 1]; "MLP n" has n hidden layers.
function patches.network(name, p)
  local layers = {}
  local function add(...)
    for _, layer in ipairs { ... } do layers[#layers + 1] = layer end
  end
  local depth = math.tointeger(tonumber(name:match "^MLP ?(%d*)$"))
  if name:find "^MLP" then
    add(kernel.flatten())
    for _ = 1, depth or 4 do add(dense(), act) end
  else
    local windows = name == "D-CNN" and { p * p, p * p } or { p, p, p, p }
    for _, window in ipairs(windows) do add(conv(window), act) end
    add(kernel.flatten(), dense(), act)
  end
  add(kernel.dense())
  return kernel.serial(layers)
end

--- Three convolutions over p^3 patches and a readout of the p positions that are left.
function patches.readout(p, how)
  local layers = {}
  for _ = 1, 3 do
    layers[#layers + 1] = conv(p)
    layers[#layers + 1] = act
  end
  layers[#layers + 1] = how == "GAP" and kernel.gap() or kernel.flatten()
  layers[#layers + 1] = kernel.dense()
  return kernel.serial(layers)
end

--- Inputs as the networks take them.
function patches.image(X) return X:reshape { X:size(1), 1, X:size(2), 1 } end

return patches
