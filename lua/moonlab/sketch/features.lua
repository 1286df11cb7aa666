--- Feature maps of the kernels of infinitely wide networks.
local activation = require "moonlab.kernel.activation"
local core = require "moonlab.core"
local fit = require "moonlab.sketch.fit"
local layers = require "moonlab.sketch.layers"
local options = require "moonlab.options"
local primitives = require "moonlab.sketch.primitives"
local progress = require "moonlab.progress"

local features = {}

local Map = { __name = "ml.sketch.features" }
Map.__index = Map
features.Map = Map

function Map:__tostring()
  return ("features of the %s, %d columns by %s, seed %d"):format(self.of, self.dim, self.method,
    self.seed)
end

-- ---- the direct polynomial ----------------------------------------------------------------------

-- kappa and Theta of unit vectors as functions of their correlation, for a network that has no
-- others in between: dense layers without bias and activations of degree 1.
local function along(where, ops)
  local list = fit.grid()
  local t = core.tensor(list, { dtype = "f64" })
  local K, T, v, depth = t, core.zeros_like(t), 1, 0
  for _, op in ipairs(ops) do
    if op.kind == "dense" and op.b2 == 0 then
      K, v = K * op.w2, v * op.w2
      T = T * op.w2 + K
    elseif op.kind == "act" and fit.homogeneity(op.act) == 1 then
      local full = core.full({ #list, dtype = "f64" }, v)
      local c = K:clamp(-v, v)
      local k, d = activation.entries(op.act, c, full, full)
      K, T = k, T * d
      v = op.act:dual { c = v, a = v, b = v }
      depth = depth + 1
    elseif op.kind ~= "flatten" then
      options.bad(where, 0, "method \"direct\" takes dense layers without bias and activations of "
        .. "degree 1 like relu; layer %d is %s", op.number, op.kind == "act" and op.act.name
        or op.kind)
    end
  end
  return K, T, depth
end

local function direct_coefficients(run)
  if not run.coefficients then
    run.coefficients = core.scope(function()
      local K, T = along(run.where, run.ops)
      local c = fit.polynomial(run.of == "ntk" and T or K, run.degree)
      return { list = c }
    end).list
  end
  return run.coefficients
end

-- |x| times the sketched polynomial of x / |x|, with its constant in a column of its own.
local function run_direct(run, X)
  local c = direct_coefficients(run)
  local n, d, dtype = X:size(1), X:size(2), X:dtype()
  local weights, degrees = {}, {}
  for k = 1, #c do
    weights[k] = k > 1 and math.sqrt(c[k]) or 0
    if k > 1 and c[k] > 0 then degrees[#degrees + 1] = k - 1 end
  end
  if #degrees == 0 then
    options.raise("%s: the kernel is constant in the angle", run.where)
  end
  local m = run.dim - (c[1] > 0 and 1 or 0)
  local columns = layers.columns(degrees, d, run.tree, m)
  local key = ("direct %d %s"):format(d, dtype)
  if not run.made[key] then
    run.made[key] = core.scope(function()
      local g = run.g:fold "direct"
      local out = primitives.draw_tree(g:fold "tree", primitives.leaves_of(degrees[#degrees]), d,
        run.tree, dtype)
      out[5] = core.tensor({ weights }, { dtype = dtype })
      out[6], out[7] = table.unpack(primitives.draw_leg(g:fold "down", columns, m, dtype))
      return out
    end)
    for _, t in ipairs(run.made[key]) do core.keep(t) end
  end
  local scaled = X * (1 / math.sqrt(d))
  local Z = core.sketch.activation(scaled, nil, run.made[key],
    { value = degrees, homogeneous = true })
  if c[1] == 0 then return Z end
  local norm = scaled:square():sum { 2, keepdims = true }:sqrt()
  return core.concat({ Z, norm * math.sqrt(c[1]) }, 2):reshape { n, run.dim }
end

-- ---- blocks of points ---------------------------------------------------------------------------

local function run_block(self, X)
  if self.method == "direct" then return run_direct(self, X) end
  local phi, psi = layers.run(self, X)
  local Z = phi
  if self.of == "ntk" then Z = psi end
  if not Z then
    options.raise("%s: no layer has weights: the NTK is zero", self.where)
  end
  if Z:size(2) <= self.dim then return Z end
  return layers.narrow(self, { number = #self.ops + 1 }, "out", Z, self.dim)
end

local function check_points(where, i, X)
  if not core.is_tensor(X) or X:is_released() then
    options.bad(where, i, "%s, wanted points [n,d] or images [n,H,W,C]", options.describe(X))
  end
  local dtype, shape = X:dtype(), X:shape()
  if (dtype ~= "f64" and dtype ~= "f32") or (#shape ~= 2 and #shape ~= 4) or X:numel() == 0 then
    options.bad(where, i, "%s, wanted points [n,d] or images [n,H,W,C] of f32 or f64",
      options.describe(X))
  end
  return X:detach():contiguous()
end

-- Bytes that a point takes while it goes through the layers, roughly: the widest place of all.
local function bytes_of_point(self, X)
  local shape, item = X:shape(), X:dtype() == "f64" and 8 or 4
  local pixels = #shape == 4 and shape[2] * shape[3] or 1
  local wide = math.max(shape[#shape], self.inner)
  if self.method == "direct" then return item * (3 * shape[#shape] + 2 * self.dim) end
  return item * pixels * 8 * wide
end

local BUDGET = 96 * 2 ^ 20 -- of a block on its way through the layers

local function rows_of_block(self, X)
  local rows = math.max(1, BUDGET // bytes_of_point(self, X))
  return math.tointeger(math.max(32, rows // 32 * 32))
end

local function refuse(self, where, X, n, columns)
  local item = X:dtype() == "f64" and 8 or 4
  local bytes = n * columns * item + math.min(n, rows_of_block(self, X)) * bytes_of_point(self, X)
  local memory = core.memory()
  local left = memory.limit - memory.live
  if bytes > left then
    options.raise("%s: out of memory: features of %d points need %.3g GB and %.3g GB are left; "
      .. "take blocks as they come, map:blocks(X, y), or a smaller dim", where, n, bytes / 1e9,
      left / 1e9)
  end
  return bytes
end

function Map:__call(X)
  local where = "features"
  X = check_points(where, 1, X)
  if self.method == "direct" and #X:shape() ~= 2 then
    options.bad(where, 1, "%s, wanted points [n,d] for method \"direct\"", options.describe(X))
  end
  local n, rows = X:size(1), rows_of_block(self, X)
  refuse(self, where, X, n, self.dim)
  if n <= rows then return core.scope(run_block, self, X) end
  local out
  local function block(from)
    local to = math.min(n, from + rows - 1)
    core.scope(function()
      local Z = run_block(self, X[{ { from, to } }]:contiguous())
      out = out or core.keep(core.zeros { n, Z:size(2), dtype = Z:dtype() })
      out[{ { from, to } }] = Z
    end)
    return to
  end
  local start = core.now()
  block(1)
  local seconds = (core.now() - start) * n / rows
  local bar <close> = progress.bar(n, "features", { quiet = seconds < 3, skipped = rows })
  for from = rows + 1, n, rows do bar:update(block(from)) end
  return out
end

--- map:blocks(X, y, { block })
--- Features a block of points at a time, for ml.solve.ridge or one's own loop: what is never whole
--- in memory. X and y may be functions (i, j) -> rows i to j, with the option n.
--- @param X tensor [n,d] or [n,H,W,C], or function(i, j) -> tensor
--- @param y tensor [n] or [n,c], or function(i, j) -> tensor, or nil
--- @param opts.block integer =as many as fit into 96 MB, points at a time
--- @param opts.n integer points in all, where X is a function
--- @return function (i) -> Z, targets of block i; nil after the last
--- @source -
function Map:blocks(X, y, opts)
  local where = "blocks"
  options.check(where, opts, { "block", "n" })
  opts = opts or {}
  local function rows_from(source, name)
    if type(source) == "function" or source == nil then return source end
    if not core.is_tensor(source) then
      options.bad(where, name == "X" and 1 or 2, "%s, wanted a tensor or a function",
        options.describe(source))
    end
    return function(i, j) return source[{ { i, j } }] end
  end
  local n = opts.n
  if core.is_tensor(X) then n = X:size(1) end
  if math.type(n) ~= "integer" or n < 1 then
    options.bad(where, 0, "option 'n' is %s, wanted how many points there are",
      options.describe(n))
  end
  local points, targets = rows_from(X, "X"), rows_from(y, "y")
  local first = check_points(where, 1, points(1, 1))
  local block = options.range(where, "block",
    options.field(where, opts, "block", "integer", rows_of_block(self, first)), 1)
  return function(i)
    local from = (i - 1) * block + 1
    if from > n then return nil end
    local to = math.min(n, from + block - 1)
    local Z = self(points(from, to))
    return Z, targets and targets(from, to)
  end
end

--- map:estimate(X, { n })
--- What features of points like these cost, from 32 of them that are run.
--- @param X tensor [n,d] or [n,H,W,C]
--- @param opts.n integer =the rows of X, points in all
--- @return table bytes (of all features and a block on its way), seconds (of the clock), columns,
--- block (points at a time)
--- @source -
function Map:estimate(X, opts)
  local where = "estimate"
  options.check(where, opts, { "n" })
  X = check_points(where, 1, X)
  local n = options.field(where, opts or {}, "n", "integer", X:size(1))
  local few = math.min(32, X:size(1))
  return core.scope(function()
    local part = X[{ { 1, few } }]:contiguous()
    local columns = run_block(self, part):size(2) -- draws what is random, too
    local best = math.huge
    for _ = 1, 3 do
      local start = core.now()
      core.scope(function() run_block(self, part) end)
      best = math.min(best, core.now() - start)
    end
    local item = X:dtype() == "f64" and 8 or 4
    local block = math.min(n, rows_of_block(self, X))
    return { bytes = n * columns * item + block * bytes_of_point(self, X), columns = columns,
      block = block, seconds = best / few * n }
  end)
end

--- ml.sketch.features(kernel, { of, dim, method, degree, fit, inner, tree, directions, seed })
--- Features of the NNGP or NTK kernel of an infinitely wide network. The inner products of what
--- the map returns approximate the kernel, for train and test data alike by the seed, at a cost
--- that grows with the points, not with their pairs. "polysketch" goes through the layers with
--- sketched polynomials: of homogeneous duals (relu and its like, exp_normalized) fitted ones with
--- coefficients >= 0, of other activations the Hermite coefficients that belong to each point's
--- norm. "random" draws a network of width inner at every layer; the only one that needs no
--- polynomial. "direct" is one polynomial for a whole relu network of dense layers.
--- @param kernel kernel of ml.kernel.serial
--- @param opts.of string ="ntk" or "nngp"
--- @param opts.dim integer =4096 columns at most
--- @param opts.method string ="polysketch", "random" or "direct"
--- @param opts.degree integer =8 of polynomials, 1 to 64
--- @param opts.fit string ="nnls" or "taylor", of homogeneous duals
--- @param opts.inner integer =dim of features between layers; what ends up wider is brought down
--- @param opts.tree integer =inner/4 of the sketches of a single power; the first stays whole
--- where it is no longer than inner
--- @param opts.directions string ="gaussian", or "sphere": random weights of one length, which for
--- relu are those of its leverage scores
--- @param opts.seed integer =1 of every draw
--- @return map to be called with tensor [n,d] or [n,H,W,C]; gives [n,columns] of its dtype. Methods
--- blocks and estimate; raises at a layer that does not fit and when memory does not suffice
--- @source Zandieh et al. 2021 (arXiv 2106.07880); Han et al. 2022 (arXiv 2209.04121)
function features.new(kernel, opts)
  local where = "ml.sketch.features"
  options.check(where, opts, { "of", "dim", "method", "degree", "fit", "inner", "tree",
    "directions", "seed" })
  opts = opts or {}
  local function integer(name, default, low, high)
    return options.range(where, name, options.field(where, opts, name, "integer", default), low,
      high or 2 ^ 31)
  end
  local self = { where = where, made = {},
    ops = layers.operations(where, kernel),
    of = options.choice(where, opts, "of", { "ntk", "nngp" }, "ntk"),
    dim = integer("dim", 4096, 2),
    method = options.choice(where, opts, "method", { "polysketch", "random", "direct" },
      "polysketch"),
    degree = integer("degree", 8, 1, 64),
    fit = options.choice(where, opts, "fit", { "nnls", "taylor" }, "nnls"),
    directions = options.choice(where, opts, "directions", { "gaussian", "sphere" }, "gaussian"),
    seed = options.field(where, opts, "seed", "integer", 1),
  }
  if self.method == "direct" and self.fit == "taylor" then
    options.bad(where, 0, "method \"direct\" fits its polynomial: take fit = \"nnls\"")
  end
  self.inner = integer("inner", self.dim, 1)
  self.tree = integer("tree", math.max(1, (self.method == "direct" and self.dim or self.inner)
    // 4), 1)
  self.g = core.rng(self.seed):fold "features"
  if self.method == "direct" then direct_coefficients(self) end
  return setmetatable(self, Map)
end

return features
