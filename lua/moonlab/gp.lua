--- Gaussian processes: mean, covariance and marginal likelihood, and ensembles of wide networks.
local core = require "moonlab.core"
local options = require "moonlab.options"
local check = require "moonlab.solve.check"
local kernel = require "moonlab.solve.kernel"
local direct = require "moonlab.solve.direct"

local Gp = {}
Gp.__index = Gp
Gp.__name = "ml.gp"

function Gp:__tostring()
  return ("gaussian process (%s), noise %.4g%s"):format(self.mode, self.noise,
    self.X and (", fitted to %d points"):format(self.X:size(1)) or ", not fitted")
end

local function fitted(self, where)
  if not self.X then options.bad(where, 0, "the process is not fitted: call fit(X, y) first") end
end

--- gp:fit(X, y)
--- Conditions the process on data.
--- @param X tensor [n,...], a point each
--- @param y tensor [n] or [n,c] of f32 or f64; the columns are independent processes
--- @return gp itself, with jitter: what the factorization needed beyond the noise
--- @source Rasmussen & Williams 2006, Algorithm 2.1
function Gp:fit(X, y)
  local where = "fit"
  check.points(where, 1, X, 2, y)
  local jitter
  local out = core.scope(function()
    local K = self.evaluate(X:detach())
    check.finite(where, 1, K, "the kernel of X")
    local L
    L, jitter = direct.factor(where, K, self.noise, true)
    local right = y:detach():to("f64")
    if #y:shape() == 1 then right = right:reshape { y:size(1), 1 } end
    return { L = L, alpha = direct.solve_factored(L, right), y = right:clone() }
  end)
  self.L, self.alpha, self.y, self.jitter = out.L, out.alpha, out.y, jitter
  self.X, self.vector = X:detach():clone(), #y:shape() == 1
  return self
end

--- gp:predict(X2, { variance })
--- Mean and covariance of the function (without the noise) at other points.
--- @param X2 tensor [m,...], a point each
--- @param opts.variance boolean =false only the diagonal of the covariance
--- @return tensor mean [n2] or [n2,c] f64
--- @return tensor covariance [n2,n2], or variances [n2]; the same for every column of y
--- @source Rasmussen & Williams 2006, Equations 2.23 and 2.24
--- @source Lee et al. 2019, Equation 15 (ensemble)
function Gp:predict(X2, opts)
  local where = "predict"
  options.check(where, opts, { "variance" })
  fitted(self, where)
  check.real(where, 1, X2, 2, 8)
  check.finite(where, 1, X2, "X2")
  local only = options.field(where, opts or {}, "variance", "boolean", false)
  local out = core.scope(function()
    local points = X2:detach()
    local cross = self.evaluate(points, self.X) -- [n2,n]
    local mean = cross:matmul(self.alpha)
    if self.vector then mean = mean:reshape { mean:size(1) } end
    local covariance
    if self.mode == "ensemble" then
      -- S = Theta_*n Theta_nn^-1: K_** + S K_nn S^T - S K_n* - K_*n S^T
      local S = direct.solve_factored(self.L, cross:transpose():contiguous()):transpose()
      local prior = self.prior(points)
      local mixed = S:matmul(self.prior(self.X, points))
      covariance = prior + S:matmul(self.prior(self.X)):matmul(S:transpose()) - mixed
        - mixed:transpose()
    else
      local half = core.solve.triangular(self.L, cross:transpose():contiguous()) -- [n,n2]
      if only then
        return { mean, (self.diagonal(points) - half:square():sum(1)):maximum(0) }
      end
      covariance = self.evaluate(points) - half:transpose():matmul(half)
    end
    return { mean, only and covariance:diagonal():maximum(0) or covariance }
  end)
  return out[1], out[2]
end

--- gp:log_marginal_likelihood()
--- log p(y | X), summed over the columns of y, with the noise (and the jitter) in the kernel.
--- @return number
--- @return number the same per entry of y
--- @source Rasmussen & Williams 2006, Equation 2.30
function Gp:log_marginal_likelihood()
  local where = "log_marginal_likelihood"
  fitted(self, where)
  if self.mode == "ensemble" then
    options.bad(where, 0, "an ensemble of trained networks has no marginal likelihood")
  end
  return core.scope(function()
    local n, c = self.y:size(1), self.y:size(2)
    local value = -0.5 * (self.y * self.alpha):sum():item()
      - c * self.L:diagonal():log():sum():item() - 0.5 * n * c * math.log(2 * math.pi)
    return value, value / (n * c)
  end)
end

--- gp:save(path)
--- Writes what was fitted as safetensors; the kernel is given again when loading.
--- @param path string
--- @source -
function Gp:save(path)
  fitted(self, "save")
  options.path("save", 1, path)
  core.save(path, { X = self.X, y = self.y, L = self.L, alpha = self.alpha }, { metadata = {
    format = "moonlab gp", mode = self.mode, vector = tostring(self.vector),
    noise = ("%.17g"):format(self.noise), jitter = ("%.17g"):format(self.jitter) } })
end

local gp = {}
local modes = { "nngp", "ntk", "ensemble" }

local function make(where, opts, mode, noise)
  local function of(name) return kernel.of(where, opts.kernel, name) end
  local evaluate = of(mode == "nngp" and "nngp" or "ntk")
  if mode == "ensemble" and type(opts.kernel) == "function" then
    options.bad(where, 0, "option 'kernel' is a function, but an ensemble needs a kernel of "
      .. "ml.kernel, with its NNGP and its NTK")
  end
  local function diagonal(points) -- block by block
    local parts = {}
    for from = 1, points:size(1), 128 do
      parts[#parts + 1] = core.scope(function()
        return evaluate(points[{ { from, math.min(points:size(1), from + 127) } }]):diagonal()
          :clone()
      end)
    end
    return core.concat(parts, 1)
  end
  return setmetatable({ evaluate = evaluate, prior = mode == "ensemble" and of("nngp") or evaluate,
    diagonal = diagonal, noise = noise, mode = mode }, Gp)
end

--- ml.gp{ kernel =, noise =, mode = }
--- A Gaussian process with the kernel as its covariance; or the ensemble of wide networks that were
--- trained to the end by gradient flow from random starts.
--- @param opts.kernel function (X, X2) -> K (X2 is nil for K of X itself), or a kernel of ml.kernel
--- @param opts.noise number =0 variance of the noise in y, >= 0
--- @param opts.mode string ="nngp" "nngp" or "ntk", which kernel of ml.kernel is the covariance; or
--- "ensemble", the mean and covariance of trained networks, for which noise is a ridge
--- @return gp with fit(X, y), predict(X2, opts), log_marginal_likelihood(), save(path)
--- @source Rasmussen & Williams 2006, Chapter 2; Lee et al. 2018; Lee et al. 2019
local function new(_, opts)
  local where = "ml.gp"
  options.required(where, opts, { "kernel", "noise", "mode" })
  local noise = options.field(where, opts, "noise", "number", 0)
  if not (noise >= 0 and noise < math.huge) then
    options.bad(where, 0, "option 'noise' is %g, wanted a finite variance >= 0", noise)
  end
  return make(where, opts, options.choice(where, opts, "mode", modes, "nngp"), noise)
end

--- ml.gp.load(path, { kernel })
--- A fitted process that was saved.
--- @param path string
--- @param opts.kernel function or kernel the one it was fitted with
--- @return gp; or nil and a message when there is no such file
--- @source -
function gp.load(path, opts)
  local where = "gp.load"
  options.path(where, 1, path)
  options.check(where, opts, { "kernel" })
  local tensors, meta = core.load(path)
  if not tensors then return nil, meta end
  meta = meta or {}
  local noise, jitter = tonumber(meta.noise), tonumber(meta.jitter)
  if type(tensors) ~= "table" or meta.format ~= "moonlab gp" or not noise or not jitter
    or not (tensors.X and tensors.y and tensors.L and tensors.alpha)
    or not (meta.mode == "nngp" or meta.mode == "ntk" or meta.mode == "ensemble") then
    options.bad(where, 1, "%s holds no gaussian process", path)
  end
  local n = tensors.X:size(1)
  local function fits(t, columns)
    return t:dtype() == "f64" and #t:shape() == 2 and t:size(1) == n
      and (not columns or t:size(2) == columns)
  end
  if not (fits(tensors.L, n) and fits(tensors.y) and fits(tensors.alpha, tensors.y:size(2))) then
    options.bad(where, 1, "%s: X is %s, y %s, L %s, alpha %s", path, options.describe(tensors.X),
      options.describe(tensors.y), options.describe(tensors.L), options.describe(tensors.alpha))
  end
  local out = make(where, opts or {}, meta.mode, noise)
  out.X, out.y, out.L, out.alpha = tensors.X, tensors.y, tensors.L, tensors.alpha
  out.vector, out.jitter = meta.vector == "true", jitter
  return out
end

gp.methods = Gp
require "moonlab.methods"("ml.gp", Gp)
return setmetatable(gp, { __call = new })
