--- Kernel regression on many points without the whole kernel matrix, and models that are kept.
local core = require "moonlab.core"
local options = require "moonlab.options"
local check = require "moonlab.solve.check"
local kernel = require "moonlab.solve.kernel"
local direct = require "moonlab.solve.direct"
local iterative = require "moonlab.solve.iterative"

local large = {}

local Model = {}
Model.__index = Model
Model.__name = "ml.kernel_model"

function Model:__tostring()
  return ("kernel model: %d centres, %d output%s"):format(self.centres:size(1),
    self.vector and 1 or self.coefficients:size(2),
    (self.vector or self.coefficients:size(2) == 1) and "" or "s")
end

--- model:predict(X, { block })
--- The model at other points, sum of coefficients times K(X, centres).
--- @param X tensor [n,...], as the kernel takes them
--- @param opts.block integer =1024 rows at a time
--- @return tensor [n] or [n,c] f64
--- @source -
function Model:predict(X, opts)
  local where = "predict"
  options.check(where, opts, { "block" })
  local rows = options.range(where, "block",
    options.field(where, opts or {}, "block", "integer", 1024), 1)
  check.real(where, 1, X, 2, 8)
  local parts = {}
  for from = 1, X:size(1), rows do
    parts[#parts + 1] = core.scope(function()
      return self.evaluate(X[{ { from, math.min(X:size(1), from + rows - 1) } }], self.centres)
        :matmul(self.coefficients)
    end)
  end
  local out = core.concat(parts, 1)
  return self.vector and out:reshape { out:size(1) } or out
end

--- model:save(path)
--- Writes centres and coefficients as safetensors; the kernel is given again when loading.
--- @param path string
--- @source -
function Model:save(path)
  options.path("save", 1, path)
  core.save(path, { centres = self.centres, coefficients = self.coefficients },
    { metadata = { format = "moonlab kernel model", of = self.of,
      vector = tostring(self.vector) } })
end

local function model(where, centres, coefficients, vector, opts)
  local of = options.choice(where, opts, "of", { "nngp", "ntk" }, "nngp")
  return setmetatable({ centres = centres, coefficients = coefficients, vector = vector, of = of,
    evaluate = kernel.of(where, opts.kernel, of) }, Model)
end

--- ml.solve.model{ centres =, alpha =, kernel =, of = }
--- A kernel regression to predict with and to save: what krr and its like gave, with their points.
--- @param opts.centres tensor [n,...], the points whose coefficients they are
--- @param opts.alpha tensor [n] or [n,c]
--- @param opts.kernel function (X, X2) -> K, or a kernel of ml.kernel
--- @param opts.of string ="nngp" or "ntk", of a kernel of ml.kernel
--- @return model with predict(X, opts) and save(path)
--- @source -
function large.model(opts)
  local where = "solve.model"
  options.required(where, opts, { "centres", "alpha", "kernel", "of" })
  check.real(where, 0, opts.centres, 2, 8)
  check.real(where, 0, opts.alpha, 1, 2)
  if opts.alpha:size(1) ~= opts.centres:size(1) then
    options.bad(where, 0, "centres are %s and alpha %s, wanted as many rows",
      options.describe(opts.centres), options.describe(opts.alpha))
  end
  local vector = #opts.alpha:shape() == 1
  local alpha = opts.alpha:detach():to("f64")
  return model(where, opts.centres:detach(), vector and alpha:reshape { alpha:size(1), 1 } or alpha,
    vector, opts)
end

--- ml.solve.load_model(path, { kernel, of })
--- A model that was saved.
--- @param path string
--- @param opts.kernel function or kernel the one it was fitted with
--- @param opts.of string =what was saved; "nngp" or "ntk"
--- @return model as of ml.solve.model; or nil and a message when there is no such file
--- @source -
function large.load_model(path, opts)
  local where = "solve.load_model"
  options.path(where, 1, path)
  options.check(where, opts, { "kernel", "of" })
  local tensors, meta = core.load(path)
  if not tensors then return nil, meta end
  if type(tensors) ~= "table" or (meta or {}).format ~= "moonlab kernel model"
    or not tensors.centres or not tensors.coefficients then
    options.bad(where, 1, "%s holds no kernel model", path)
  end
  if tensors.coefficients:dtype() ~= "f64" or #tensors.coefficients:shape() ~= 2
    or tensors.coefficients:size(1) ~= tensors.centres:size(1) then
    options.bad(where, 1, "%s: centres are %s and coefficients %s", path,
      options.describe(tensors.centres), options.describe(tensors.coefficients))
  end
  opts = opts or {}
  return model(where, tensors.centres, tensors.coefficients, meta.vector == "true",
    { kernel = opts.kernel, of = opts.of or meta.of })
end

-- X and y of the options, y as f64 [n,c].
local function points(where, opts)
  local X, y = opts.X, opts.y
  check.points(where, 0, X, 0, y)
  local vector = #y:shape() == 1
  local right = y:detach():to("f64")
  return X:detach(), vector and right:reshape { y:size(1), 1 } or right, vector
end

--- ml.solve.falkon{ kernel =, X =, y =, centres =, ridge =, ... }
--- Kernel regression on some of the points as centres: beta minimizes |K_nM beta - y|^2 + ridge
--- beta^T K_MM beta, by preconditioned conjugate gradients; a step is one pass over blocks of K_nM.
--- @param opts.kernel function (X, X2) -> K, or a kernel of ml.kernel
--- @param opts.of string ="nngp" or "ntk", of a kernel of ml.kernel
--- @param opts.X tensor [n,...], a point each
--- @param opts.y tensor [n] or [n,c]
--- @param opts.centres integer or tensor how many, drawn from X without replacement; or the centres
--- @param opts.ridge number in the unit of K, > 0 (n times the lambda of the paper)
--- @param opts.tol number =1e-7 of cg
--- @param opts.max_steps integer =100 of cg
--- @param opts.block integer =1024 rows of K_nM at a time
--- @param opts.store boolean =true where it fits a quarter of the memory that is left keeps K_nM
--- @param opts.seed integer =1 of the draw
--- @return model as of ml.solve.model
--- @return table info of cg, with jitter (what was added to the kernel of the centres)
--- @source Rudi, Carratino & Rosasco 2017, Equations 8 to 13
function large.falkon(opts)
  local where = "solve.falkon"
  options.required(where, opts, { "kernel", "of", "X", "y", "centres", "ridge", "tol", "max_steps",
    "block", "store", "seed" })
  local X, y, vector = points(where, opts)
  local n = X:size(1)
  local of = options.choice(where, opts, "of", { "nngp", "ntk" }, "nngp")
  local evaluate = kernel.of(where, opts.kernel, of)
  local ridge = options.field(where, opts, "ridge", "number")
  if not (ridge > 0 and ridge < math.huge) then
    options.bad(where, 0, "option 'ridge' is %g, wanted > 0 and finite", ridge)
  end
  local rows = options.range(where, "block", options.field(where, opts, "block", "integer", 1024),
    1)
  local seed = options.field(where, opts, "seed", "integer", 1)
  local centres = opts.centres
  if core.is_tensor(centres) then
    check.real(where, 0, centres, 2, 8)
  else
    local count = options.range(where, "centres",
      options.field(where, opts, "centres", "integer"), 1, n)
    centres = X:index_select(core.rng(seed):fold("centres", 0):permutation(n)[{ { 1, count } }], 1)
  end
  local M = centres:size(1)
  local memory = core.memory()
  local store = options.field(where, opts, "store", "boolean",
    8 * n * M < (memory.limit - memory.live) / 4)
  local kept, info = {}, nil
  local function each(action) -- over blocks (first row, K_bM)
    for from = 1, n, rows do
      if not kept[from] and store then
        kept[from] = core.scope(function()
          return evaluate(X[{ { from, math.min(n, from + rows - 1) } }], centres)
        end)
      end
      core.scope(function()
        action(from, kept[from] or evaluate(X[{ { from, math.min(n, from + rows - 1) } }], centres))
      end)
    end
  end
  local beta = core.scope(function()
    -- T^T T = K_MM, A^T A = T T^T n / M + ridge I; beta = T^-1 A^-1 gamma makes the system in gamma
    -- nearly the identity
    local K_MM = evaluate(centres)
    local lower, jitter = direct.factor(where, K_MM, 0, true) -- T = lower^T
    K_MM:add_(core.eye(M) * jitter)
    local A = core.solve.cholesky(lower:transpose():matmul(lower) * (n / M), { ridge = ridge })
    local function solve_left(x) -- T^-1 A^-1 x
      return core.solve.triangular(lower,
        core.solve.triangular(A, x, { transposed = true }), { transposed = true })
    end
    local function solve_right(x) -- A^-T T^-T x
      return core.solve.triangular(A, core.solve.triangular(lower, x))
    end
    local right = core.zeros { M, y:size(2) }
    each(function(from, K)
      right:add_(K:transpose():matmul(y[{ { from, from + K:size(1) - 1 } }]))
    end)
    local function product(gamma)
      local v = solve_left(gamma)
      local sum = K_MM:matmul(v) * ridge
      each(function(_, K) sum:add_(K:transpose():matmul(K:matmul(v))) end)
      return solve_right(sum)
    end
    local gamma
    gamma, info = iterative.cg(product, solve_right(right),
      { tol = opts.tol or 1e-7, max_steps = opts.max_steps or 100 })
    info.jitter = jitter
    return solve_left(gamma)
  end)
  return model(where, centres:clone(), beta, vector, opts), info
end

--- ml.solve.eigenpro{ kernel =, X =, y =, epochs =, ... }
--- Kernel regression by stochastic gradient steps whose largest directions, estimated from a sample
--- of the points, are damped, so that the rest may take large steps. It has no ridge: epochs
--- regularize.
--- @param opts.kernel function (X, X2) -> K, or a kernel of ml.kernel
--- @param opts.of string ="nngp" or "ntk", of a kernel of ml.kernel
--- @param opts.X tensor [n,...], a point each
--- @param opts.y tensor [n] or [n,c]
--- @param opts.epochs integer =10 passes over the points
--- @param opts.batch integer =256 at most n
--- @param opts.sample integer =2000 points that the directions come from, at most n
--- @param opts.directions integer =100 how many are damped, below sample
--- @param opts.step number =1 multiple of the step size of the theory, in (0, 2)
--- @param opts.seed integer =1 of every draw
--- @return model as of ml.solve.model
--- @return table info: train (mean squared error of each epoch, before each batch's step), rate,
--- speedup (largest over first undamped eigenvalue); raises when it diverges
--- @source Ma & Belkin 2019, Algorithm 1
function large.eigenpro(opts)
  local where = "solve.eigenpro"
  options.required(where, opts, { "kernel", "of", "X", "y", "epochs", "batch", "sample",
    "directions", "step", "seed" })
  local X, y, vector = points(where, opts)
  local n = X:size(1)
  local of = options.choice(where, opts, "of", { "nngp", "ntk" }, "nngp")
  local evaluate = kernel.of(where, opts.kernel, of)
  local function integer(name, default, low, high)
    return options.range(where, name, options.field(where, opts, name, "integer", default), low,
      high)
  end
  local epochs, batch = integer("epochs", 10, 0), integer("batch", math.min(256, n), 1, n)
  local s = integer("sample", math.min(2000, n), 2, n)
  local k = integer("directions", math.min(100, s // 2), 1, s - 1)
  local multiple = options.field(where, opts, "step", "number", 1)
  if not (multiple > 0 and multiple < 2) then
    options.bad(where, 0, "option 'step' is %g, wanted 0 < step < 2", multiple)
  end
  local rng = core.rng(options.field(where, opts, "seed", "integer", 1))
  local chosen = rng:fold("sample", 0):permutation(n)[{ { 1, s } }]:clone()
  local sample = X:index_select(chosen, 1)
  -- the k largest eigenpairs of the covariance operator, and what damps them to the next one
  local top = core.scope(function()
    local K = evaluate(sample)
    local values, vectors = core.solve.eigh(K)
    local bound = values[s - k]
    if not (bound > 0) then
      options.bad(where, 0, "option 'directions' is %d, but eigenvalue %d of the sample is %.3g: "
        .. "wanted fewer", k, k + 1, bound)
    end
    local first = { s - k + 1, s }
    local V, sigma = vectors[{ {}, first }]:clone(), values[{ first }]
    local gain = (1 - sigma:reciprocal() * bound) / sigma
    -- the largest k(x, x) that is left
    local seen = K:matmul(V):square():matmul(gain:reshape { k, 1 }):reshape { s }
    return { V = V, gain = gain:reshape { k, 1 }, beta = (K:diagonal() - seen):max():item(),
      bound = bound / s, largest = values[s] / s }
  end)
  local eta = multiple / (top.beta + (batch - 1) * top.bound) -- per point of a batch
  local info = { train = {}, rate = eta * batch, speedup = top.largest / top.bound }
  local alpha = core.zeros { n, y:size(2) }
  for epoch = 1, epochs do
    local order, total = rng:fold("epoch", epoch):permutation(n), 0
    for from = 1, n, batch do
      total = total + core.scope(function()
        local ids = order[{ { from, math.min(n, from + batch - 1) } }]:clone()
        local points_of = X:index_select(ids, 1)
        local m = ids:numel()
        local g = evaluate(points_of, X):matmul(alpha) - y:index_select(ids, 1)
        local function add(rows, change)
          local wide = rows:reshape { rows:numel(), 1 }:broadcast_to { rows:numel(), y:size(2) }
          alpha:copy_(alpha:scatter_add(wide:contiguous(), change, 1))
        end
        local back = top.V:matmul(top.V:transpose():matmul(
          evaluate(sample, points_of):matmul(g)) * top.gain)
        local rate = m == batch and eta or multiple / (top.beta + (m - 1) * top.bound)
        add(ids, g * -rate)
        add(chosen, back * rate)
        return g:square():sum():item()
      end)
    end
    info.train[epoch] = total / y:numel()
    if not (info.train[epoch] < 1e6 * (info.train[1] + 1e-300)) then
      options.bad(where, 0, "diverges in epoch %d (error %.3g): wanted a smaller step or fewer "
        .. "directions", epoch, info.train[epoch])
    end
  end
  return model(where, X, alpha, vector, opts), info
end

large.methods = Model
return large
