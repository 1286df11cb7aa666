--- Conjugate gradients on all right sides at once, and the Nystrom preconditioner.
local core = require "moonlab.core"
local options = require "moonlab.options"
local check = require "moonlab.solve.check"

local iterative = {}

--- The product of A with a matrix: A is a tensor [n,n], or already a function.
local function operator(where, i, A, n)
  if type(A) == "function" then return A end
  check.real(where, i, A, 2, 2)
  if A:size(1) ~= A:size(2) or (n and A:size(1) ~= n) then
    options.bad(where, i, "A is %s, wanted a square matrix%s", options.describe(A),
      n and (" of %d rows"):format(n) or "")
  end
  check.finite(where, i, A, "A")
  local matrix = A:detach():to("f64")
  return function(x) return matrix:matmul(x) end
end

local function applied(where, f, x, what)
  local out = f(x)
  if not core.is_tensor(out) or out:dtype() ~= "f64" or out:numel() ~= x:numel()
    or #out:shape() ~= 2 or out:size(1) ~= x:size(1) then
    options.bad(where, 0, "the %s returned %s, wanted f64 [%dx%d]", what, options.describe(out),
      x:size(1), x:size(2))
  end
  return out
end

-- x / y over columns, 0 where y is 0: such a column has arrived.
local function ratio(x, y)
  local zero = y:eq(0)
  return core.where(zero, core.zeros_like(x), x / core.where(zero, core.ones_like(y), y))
end

--- ml.solve.cg(A, b, { tol, max_steps, ridge, preconditioner, start })
--- Conjugate gradients for (A + ridge I) x = b with A symmetric positive definite, on all columns
--- of b together, so that a step is one matrix product; each column has step sizes of its own and
--- stands still once it has arrived.
--- @param A tensor [n,n] f32 or f64, or a function (x [n,c] f64) -> A x
--- @param b tensor [n] or [n,c] f32 or f64
--- @param opts.tol number =1e-8 of |b - A x| / |b|, the largest over the columns
--- @param opts.max_steps integer =10n iterations at most
--- @param opts.ridge number =0 >= 0
--- @param opts.preconditioner function (r [n,c]) -> P^-1 r, or what nystrom returns
--- @param opts.start tensor =zeros like b
--- @return tensor x like b
--- @return table info: converged, steps, residuals (list, relative, from the start on); raises
--- where A or the preconditioner is not positive definite
--- @source Hestenes & Stiefel 1952
function iterative.cg(A, b, opts)
  local where = "solve.cg"
  options.check(where, opts,
    { "tol", "max_steps", "ridge", "preconditioner", "start" })
  opts = opts or {}
  check.real(where, 2, b, 1, 2)
  check.finite(where, 2, b, "b")
  local n, vector, dtype = b:size(1), #b:shape() == 1, b:dtype()
  local tol = options.field(where, opts, "tol", "number", 1e-8)
  if not (tol >= 0) then options.bad(where, 0, "option 'tol' is %g, wanted >= 0", tol) end
  local most = options.range(where, "max_steps",
    options.field(where, opts, "max_steps", "integer", 10 * n), 0)
  local ridge = check.ridges(where, {}, { options.field(where, opts, "ridge", "number", 0) }, 1)[1]
  local multiply = operator(where, 1, A, n)
  local precondition = opts.preconditioner
  if precondition ~= nil and type(precondition) ~= "function"
    and not (getmetatable(precondition) or {}).__call then
    options.bad(where, 0, "option 'preconditioner' is %s, wanted a function",
      options.describe(precondition))
  end
  local start = opts.start
  if start ~= nil then
    check.real(where, 0, start, 1, 2)
    if start:numel() ~= b:numel() or start:size(1) ~= n then
      options.bad(where, 0, "option 'start' is %s, wanted the shape of b, %s",
        options.describe(start), options.describe(b))
    end
  end
  local info = { residuals = {}, steps = 0, converged = false }
  local state = core.scope(function()
    local right = b:detach():to("f64"):reshape { n, vector and 1 or b:size(2) }
    local x = start and start:detach():to("f64"):reshape(right:shape()):clone()
      or core.zeros_like(right)
    local size = right:square():sum(1):sqrt()
    local r = start and right - applied(where, multiply, x, "product") - x * ridge or right:clone()
    local z = precondition and applied(where, precondition, r, "preconditioner") or r
    return { x = x, r = r, z = z, p = z, rz = (r * z):sum(1), size = size }
  end)
  while true do
    state = core.scope(function()
      local s = state
      local left = ratio(s.r:square():sum(1):sqrt(), s.size):max():item()
      info.residuals[info.steps + 1] = left
      if left <= tol then
        info.converged = true
      end
      if info.converged or info.steps == most or left ~= left then return s end
      local q = applied(where, multiply, s.p, "product")
      if ridge > 0 then q = q + s.p * ridge end
      local curvature = (s.p * q):sum(1)
      local least = curvature:min():item()
      if least < 0 then
        options.bad(where, 1, "A is not positive definite: p.A p = %.3g at step %d", least,
          info.steps + 1)
      end
      if s.rz:min():item() < 0 then
        options.bad(where, 0, "the preconditioner is not positive definite at step %d",
          info.steps + 1)
      end
      local step = ratio(s.rz, curvature)
      local x, r = s.x + s.p * step, s.r - q * step
      local z = precondition and applied(where, precondition, r, "preconditioner") or r
      local rz = (r * z):sum(1)
      local p = z + s.p * ratio(rz, s.rz)
      return { x = x, r = r, z = z, p = p, rz = rz, size = s.size, moved = true }
    end)
    if not state.moved then break end
    state.moved = nil
    info.steps = info.steps + 1
  end
  local x = vector and state.x:reshape { n } or state.x
  return dtype == "f64" and x or x:to(dtype), info
end

-- ---- Nystrom ------------------------------------------------------------------------------------

local Nystrom = {}
Nystrom.__index = Nystrom
Nystrom.__name = "ml.nystrom"

function Nystrom:__tostring()
  return ("Nystrom approximation of rank %d, eigenvalues %.4g to %.4g, ridge %.4g"):format(
    self.values:numel(), self.values[1], self.values[self.values:numel()], self.ridge)
end

-- P^-1 r = (l_k + ridge) U (L + ridge)^-1 U^T r + (r - U U^T r)
function Nystrom:__call(r)
  local k = self.values:numel()
  local gain = ((self.values + self.ridge):reciprocal() * (self.values[k] + self.ridge) - 1)
    :reshape { k, 1 }
  return r + self.vectors:matmul(self.vectors:transpose():matmul(r) * gain)
end

--- ml.solve.nystrom(A, { rank, ridge, seed, n })
--- A randomized Nystrom approximation of a symmetric positive semidefinite A, A ~ U diag(l) U^T, to
--- be called as a preconditioner of A + ridge I.
--- @param A tensor [n,n] f32 or f64, or a function (x [n,k] f64) -> A x
--- @param opts.rank integer columns of the sketch, at most n
--- @param opts.ridge number of the system to be preconditioned, > 0
--- @param opts.seed integer =1 of every draw
--- @param opts.n integer rows, where A is a function
--- @return nystrom with vectors U [n,rank], values [rank] (descending) and ridge; called with r
--- [n,c] it returns P^-1 r
--- @source Frangella, Tropp & Udell 2023, Algorithm 2.1 and Equation 1.3
function iterative.nystrom(A, opts)
  local where = "solve.nystrom"
  options.check(where, opts, { "rank", "ridge", "seed", "n" })
  opts = opts or {}
  local n = type(A) == "function" and options.field(where, opts, "n", "integer")
    or check.real(where, 1, A, 2, 2):size(1)
  options.range(where, "n", n, 1)
  local rank = options.range(where, "rank", options.field(where, opts, "rank", "integer"), 1, n)
  local ridge = options.field(where, opts, "ridge", "number")
  if not (ridge > 0 and ridge < math.huge) then
    options.bad(where, 0, "option 'ridge' is %g, wanted > 0 and finite", ridge)
  end
  local seed = options.field(where, opts, "seed", "integer", 1)
  local multiply = operator(where, 1, A)
  local out = core.scope(function()
    local omega = core.solve.qr(core.rng(seed):normal { n, rank })
    local Y = applied(where, multiply, omega, "product")
    local shift = 2 ^ -52 * math.max(Y:norm():item(), 2.3e-308)
    local C
    repeat -- the shift keeps a rounded semidefinite matrix definite
      local shifted = Y + omega * shift
      local gram = omega:transpose():matmul(shifted)
      local ok, factor = pcall(core.solve.cholesky, (gram + gram:transpose()) / 2)
      if ok then
        C, Y = factor, shifted
      elseif not tostring(factor):find "leading minor" then
        error(factor, 0)
      else
        shift = 10 * shift
        if not (shift < Y:norm():item() + 1) then
          options.bad(where, 1, "A is not positive semidefinite")
        end
      end
    until C
    local B = core.solve.triangular(C, Y:transpose()):transpose() -- Y C^-T
    local U, s = core.solve.svd(B:contiguous())
    return { vectors = U, values = (s:square() - shift):maximum(0), ridge = ridge }
  end)
  return setmetatable(out, Nystrom)
end

iterative.operator = operator
return iterative
