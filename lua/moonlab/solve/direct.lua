--- Ridge regression by factorization: kernels, features, many ridges at once, gradient flow.
local core = require "moonlab.core"
local options = require "moonlab.options"
local check = require "moonlab.solve.check"

local direct = {}

-- Of L the pivot that is lost in rounding, or nil: below n eps of the diagonal of K that it came
-- from.
local function lost_pivot(L, K, ridge)
  return core.scope(function()
    local ratio = L:diagonal():square() / (K:diagonal() + ridge)
    local at = ratio:argmin(1):item()
    return ratio[at] < K:size(1) * 2 ^ -52 and at or nil
  end)
end

-- The factor of K + ridge I, or nil with the message.
local function try(K, ridge)
  local ok, L = pcall(core.solve.cholesky, K, { ridge = ridge })
  if not ok then
    local minor = tostring(L):match "leading minor of order (%d+)"
    if not minor then error(L, 0) end -- out of memory or interrupted
    return nil, ("the leading minor of order %s is not positive"):format(minor)
  end
  local minor = lost_pivot(L, K, ridge)
  if minor then
    L:release()
    return nil, ("the leading minor of order %d is lost in rounding"):format(minor)
  end
  return L
end

-- The least jitter of the ladder 1e-12 mean(diag K) 10^k that makes K + ridge I positive definite.
local function climb(K, ridge)
  local scale = check.mean_diagonal(K)
  if not (scale > 0) then return nil end
  local jitter = 1e-12 * scale
  while jitter <= scale do
    local L = try(K, ridge + jitter)
    if L then return L, jitter end
    jitter = 10 * jitter
  end
end

--- L with K + (ridge + jitter) I = L L^T and the jitter, 0 unless it was asked for and needed;
--- raises with the failing minor and a ridge that would do.
function direct.factor(where, K, ridge, jitter)
  local L, why = try(K, ridge)
  if L then return L, 0 end
  local second, step = climb(K, ridge)
  if second and jitter then return second, step end
  options.bad(where, 1, "K %sis not positive definite: %s%s",
    ridge > 0 and ("+ %.3g I "):format(ridge) or "", why, second and (
      "; a ridge of %.3g is enough, and jitter = true adds what is needed"):format(ridge + step)
      or "; no ridge up to the mean of its diagonal mends it")
end

local function solve(L, right)
  return core.solve.triangular(L, core.solve.triangular(L, right), { transposed = true })
end

-- The 2-norm condition number of L L^T, by 20 power steps on it and on its inverse.
local function condition(K, ridge, L)
  local n = K:size(1)
  return core.scope(function()
    local top, bottom
    local x = core.rng(1):normal { n, 1 }
    local y = x
    for _ = 1, 20 do
      x = x / x:norm():item()
      local z = K:matmul(x) + x * ridge
      top = z:norm():item()
      x = z
      y = y / y:norm():item()
      local w = solve(L, y)
      bottom = w:norm():item()
      y = w
    end
    return top * bottom
  end)
end

local function back(x, vector, dtype)
  x = vector and x:reshape { x:size(1) } or x
  return dtype == "f64" and x or x:to(dtype)
end

--- ml.solve.krr(K, y, { ridge, relative, jitter, condition })
--- Kernel ridge regression: alpha with (K + ridge I) alpha = y, by Cholesky in f64. Predictions at
--- other points are K(those, these) alpha.
--- @param K tensor [n,n] f32 or f64, symmetric positive semidefinite; the lower triangle counts
--- @param y tensor [n] or [n,c] of the same dtype, a column for each output
--- @param opts.ridge number =0 in the unit of K, >= 0; 0 needs K positive definite
--- @param opts.relative boolean =false ridge is multiplied by trace(K)/n
--- @param opts.jitter boolean =false where the factorization fails, adds the least of 1e-12
--- trace(K)/n times 1, 10, 100 ... that it takes
--- @param opts.condition boolean =false estimates the condition number of what was factored
--- @return tensor alpha, shape and dtype of y
--- @return table info: ridge (in the unit of K), jitter (what was added beyond it), condition;
--- raises with the failing minor and a ridge that would do
--- @source Saunders, Gammerman & Vovk 1998
function direct.krr(K, y, opts)
  local where = "solve.krr"
  options.check(where, opts, { "ridge", "relative", "jitter", "condition" })
  opts = opts or {}
  local matrix, right, vector = check.system(where, K, y)
  local ridge = check.ridges(where, opts, { options.field(where, opts, "ridge", "number", 0) },
    check.mean_diagonal(matrix))[1]
  local wanted = options.field(where, opts, "condition", "boolean", false)
  local may = options.field(where, opts, "jitter", "boolean", false)
  local info = { ridge = ridge }
  local alpha = core.scope(function()
    local L, jitter = direct.factor(where, matrix, ridge, may)
    info.jitter = jitter
    if wanted then info.condition = condition(matrix, ridge + jitter, L) end
    return back(solve(L, right), vector, K:dtype())
  end)
  return alpha, info
end

-- ---- many ridges --------------------------------------------------------------------------------

local Path = {}
Path.__index = Path
Path.__name = "ml.ridge_path"

function Path:__tostring()
  local lines = { "         ridge   loo           gcv           degrees of freedom" }
  for i, ridge in ipairs(self.ridges) do
    lines[#lines + 1] = ("%14.6g   %-12.6g  %-12.6g  %.6g%s"):format(ridge, self.loo[i],
      self.gcv[i], self.dof[i], i == self.best and "   least loo" or "")
  end
  return table.concat(lines, "\n")
end

--- path:alpha(i)
--- The solution at one ridge.
--- @param i integer =best position in path.ridges
--- @return tensor alpha like y, of (K + ridge I) alpha = y; of features, weights w [m] or [m,c]
--- @source -
function Path:alpha(i)
  i = i == nil and self.best or options.integer("alpha", 1, i, 1, #self.ridges)
  local shift = (self.values + self.ridges[i]):reciprocal():reshape { self.values:numel(), 1 }
  return back(self.vectors:matmul(self.projected * shift), self.vector, self.dtype)
end

-- The place of the least of a list; NaN never is.
local function least(list)
  local best
  for i, x in ipairs(list) do
    if x == x and (not best or x < list[best]) then best = i end
  end
  return best or 1
end

-- Eigenvalues at 0 or above of a semidefinite matrix, and its eigenvectors; raises when an
-- eigenvalue is below what rounding does.
local function spectrum(where, K, what)
  local values, vectors = core.solve.eigh(K)
  local n = K:size(1)
  local floor = n * 2 ^ -52 * math.max(values[n], -values[1])
  if values[1] < -1e4 * floor then
    options.bad(where, 1, "%s is not positive semidefinite: its least eigenvalue is %.3g, "
      .. "its largest %.3g", what, values[1], values[n])
  end
  return values:maximum(0), vectors, floor
end

local function refuse_singular(where, values, ridges, floor)
  for _, ridge in ipairs(ridges) do
    if not (values[1] + ridge > floor) then
      options.bad(where, 0, "ridge %.3g on a singular kernel: its least eigenvalue %.3g is lost in "
        .. "rounding; a ridge of %.3g is enough", ridge, values[1], 10 * floor)
    end
  end
end

-- reciprocals [n, R] of values + ridge
local function shifted(values, ridges)
  local n = values:numel()
  return (values:reshape { n, 1 } + core.tensor(ridges, { dtype = "f64" }):reshape { 1, #ridges })
    :reciprocal()
end

--- ml.solve.krr_path(K, y, { ridges, relative })
--- Kernel ridge regression at many ridges from one eigendecomposition, with the exact leave-one-out
--- error and generalized cross-validation of each.
--- @param K tensor [n,n] f32 or f64, symmetric positive semidefinite; eigenvalues that rounding
--- made negative count as 0
--- @param y tensor [n] or [n,c] of the same dtype
--- @param opts.ridges list in the unit of K, >= 0; 0 needs K positive definite
--- @param opts.relative boolean =false ridges are multiplied by trace(K)/n
--- @return path with lists over the ridges: ridges (in the unit of K), loo (mean squared error of
--- the points left out, over rows and columns), gcv (the same by generalized cross-validation), dof
--- (degrees of freedom), train (mean squared error); best and best_gcv, the places of the least;
--- condition; alpha(i)
--- @source Golub, Heath & Wahba 1979; Rifkin & Lippert 2007
function direct.krr_path(K, y, opts)
  local where = "solve.krr_path"
  options.check(where, opts, { "ridges", "relative" })
  opts = opts or {}
  local list = check.list(where, opts, "ridges")
  local matrix, right, vector = check.system(where, K, y)
  local ridges = check.ridges(where, opts, list, check.mean_diagonal(matrix))
  local path = core.scope(function()
    local values, vectors, floor = spectrum(where, matrix, "K")
    refuse_singular(where, values, ridges, floor)
    local n, c = right:size(1), right:size(2)
    local inverse = shifted(values, ridges)
    local projected = vectors:transpose():matmul(right)
    local diagonal = vectors:square():matmul(inverse) -- of (K + ridge I)^-1, [n, R]
    local out = { ridges = ridges, loo = {}, gcv = {}, dof = {}, train = {}, condition = {},
      values = values, vectors = vectors, projected = projected, vector = vector,
      dtype = K:dtype() }
    for i, ridge in ipairs(ridges) do
      local column = inverse[{ {}, { i, i } }]
      local alpha = vectors:matmul(projected * column)
      local square = alpha:square()
      out.loo[i] = (alpha / diagonal[{ {}, { i, i } }]):square():mean():item()
      local trace = column:sum():item() -- of (K + ridge I)^-1
      out.gcv[i] = square:sum():item() / (n * c) / (trace / n) ^ 2
      out.dof[i] = (values * column:reshape { n }):sum():item()
      out.train[i] = ridge ^ 2 * square:mean():item()
      out.condition[i] = (values[n] + ridge) / (values[1] + ridge)
    end
    out.best, out.best_gcv = least(out.loo), least(out.gcv)
    return out
  end)
  return setmetatable(path, Path)
end

-- ---- features -----------------------------------------------------------------------------------

-- Calls each(Zb, yb) with f64 blocks of rows; Z is a tensor, or a function (i) -> Zb, yb that
-- returns nil after the last.
local function each_block(where, Z, y, rows, each)
  if type(Z) == "function" then
    local i = 1
    while true do
      local done = core.scope(function()
        local block, right = Z(i)
        if block == nil then return true end
        check.real(where, 1, block, 2, 2)
        check.real(where, 2, right, 1, 2)
        if right:size(1) ~= block:size(1) then
          options.bad(where, 1, "block %d is %s and its targets %s, wanted as many rows", i,
            options.describe(block), options.describe(right))
        end
        check.finite(where, 1, block, "Z")
        check.finite(where, 2, right, "y")
        each(block:to("f64"), (#right:shape() == 1 and right:reshape { right:size(1), 1 } or right)
          :to("f64"))
        return false
      end)
      if done then return end
      i = i + 1
    end
  end
  local n = Z:size(1)
  for from = 1, n, rows do
    core.scope(function()
      local to = math.min(n, from + rows - 1)
      each(Z[{ { from, to } }]:to("f64"), y[{ { from, to } }]:to("f64"))
    end)
  end
end

-- Sums over the blocks: A = Z^T Z, B = Z^T y, n, sum of y^2.
local function normal_equations(where, Z, y, rows)
  local A, B, n, power = nil, nil, 0, 0
  each_block(where, Z, y, rows, function(block, right)
    if not A then
      A = core.keep(core.zeros { block:size(2), block:size(2) })
      B = core.keep(core.zeros { block:size(2), right:size(2) })
    end
    if block:size(2) ~= A:size(1) or right:size(2) ~= B:size(2) then
      options.bad(where, 1, "blocks disagree: %s and %s after %d features and %d outputs",
        options.describe(block), options.describe(right), A:size(1), B:size(2))
    end
    local t = block:transpose()
    A:add_(t:matmul(block))
    B:add_(t:matmul(right))
    n = n + block:size(1)
    power = power + right:square():sum():item()
  end)
  if not A then options.bad(where, 1, "no rows") end
  return A, B, n, power
end

--- ml.solve.ridge(Z, y, { ridge, ridges, relative, block, jitter })
--- Ridge regression on features: w with (Z^T Z + ridge I) w = Z^T y, the minimizer of |Z w - y|^2 +
--- ridge |w|^2. Products are summed in f64 over blocks of rows, whatever the dtype of Z, so that
--- features need not be stored: Z may be a function that makes them. With fewer points than
--- features the dual is solved.
--- @param Z tensor [n,m] f32 or f64; or a function (i) -> block, targets, nil after the last
--- @param y tensor [n] or [n,c] of the same dtype; nil where Z is a function
--- @param opts.ridge number =0 in the unit of Z Z^T, >= 0
--- @param opts.ridges list instead of ridge: returns a path
--- @param opts.relative boolean =false ridges are multiplied by trace(Z Z^T)/n
--- @param opts.block integer =1024 rows at a time
--- @param opts.jitter boolean =false as in krr
--- @return tensor w [m] or [m,c]; or a path as of krr_path, whose alpha(i) are weights; loo is
--- NaN where Z is a function
--- @return table info: ridge, jitter, dual
--- @source Hoerl & Kennard 1970
function direct.ridge(Z, y, opts)
  local where = "solve.ridge"
  options.check(where, opts, { "ridge", "ridges", "relative", "block", "jitter" })
  opts = opts or {}
  local rows = options.range(where, "block", options.field(where, opts, "block", "integer", 1024),
    1)
  local may = options.field(where, opts, "jitter", "boolean", false)
  local list = opts.ridges ~= nil and check.list(where, opts, "ridges")
    or { options.field(where, opts, "ridge", "number", 0) }
  local streamed = type(Z) == "function"
  local right, vector, dtype = nil, false, "f64"
  if not streamed then
    check.real(where, 1, Z, 2, 2)
    check.real(where, 2, y, 1, 2)
    if y:size(1) ~= Z:size(1) or y:dtype() ~= Z:dtype() or Z:numel() == 0 then
      options.bad(where, 2, "Z is %s and y %s, wanted the same dtype and as many rows",
        options.describe(Z), options.describe(y))
    end
    check.finite(where, 1, Z, "Z")
    check.finite(where, 2, y, "y")
    vector, dtype = #y:shape() == 1, Z:dtype()
    Z, y = Z:detach(), y:detach()
    right = vector and y:reshape { y:size(1), 1 } or y
  elseif y ~= nil then
    options.bad(where, 2, "%s, wanted nil: the function gives the targets", options.describe(y))
  end
  local info = { dual = not streamed and Z:size(1) < Z:size(2) }
  if info.dual and not opts.ridges then
    local w = core.scope(function()
      local wide = Z:to("f64")
      local K = wide:matmul(wide:transpose())
      local alpha
      alpha, info.ridge = direct.krr(K, right:to("f64"),
        { ridge = list[1], relative = opts.relative, jitter = may })
      info.ridge, info.jitter = info.ridge.ridge, info.ridge.jitter
      return back(wide:transpose():matmul(alpha), vector, dtype)
    end)
    return w, info
  end
  info.dual = false
  local result = core.scope(function()
    local A, B, n, power = normal_equations(where, Z, right, rows)
    local m, c = A:size(1), B:size(2)
    local ridges = check.ridges(where, opts, list, A:diagonal():sum():item() / n)
    if not opts.ridges then
      info.ridge = ridges[1]
      local L
      L, info.jitter = direct.factor(where, A, ridges[1], may)
      return back(solve(L, B), vector, dtype)
    end
    local values, vectors, floor = spectrum(where, A, "Z^T Z")
    refuse_singular(where, values, ridges, floor)
    local inverse = shifted(values, ridges)
    local projected = vectors:transpose():matmul(B)
    local out = { ridges = ridges, loo = {}, gcv = {}, dof = {}, train = {}, condition = {},
      values = values, vectors = vectors, projected = projected, vector = vector, dtype = dtype }
    local left_out = {}
    if not streamed then -- a second pass: e / (1 - h), h the diagonal of Z (A + ridge I)^-1 Z^T
      for i = 1, #ridges do left_out[i] = 0 end
      each_block(where, Z, right, rows, function(block, target)
        local turned = block:matmul(vectors)
        local h = turned:square():matmul(inverse)
        for i = 1, #ridges do
          local column = { {}, { i, i } }
          local fitted = turned:matmul(projected * inverse[column])
          left_out[i] = left_out[i]
            + ((target - fitted) / (1 - h[column])):square():sum():item()
        end
      end)
    end
    for i, ridge in ipairs(ridges) do
      local column = inverse[{ {}, { i, i } }]
      local shrunk = projected * column -- w in the eigenbasis
      -- |y - Z w|^2 = |y|^2 - 2 w.B + w.A w
      local rest = power - 2 * (shrunk * projected):sum():item()
        + (shrunk:square() * values:reshape { m, 1 }):sum():item()
      out.dof[i] = (values * column:reshape { m }):sum():item()
      out.train[i] = math.max(0, rest) / (n * c)
      out.gcv[i] = out.train[i] / (1 - out.dof[i] / n) ^ 2
      out.loo[i] = streamed and 0 / 0 or left_out[i] / (n * c)
      out.condition[i] = (values[m] + ridge) / (values[1] + ridge)
    end
    out.best_gcv = least(out.gcv)
    out.best = streamed and out.best_gcv or least(out.loo)
    return out
  end)
  return opts.ridges and setmetatable(result, Path) or result, info
end

--- ml.solve.gradient_flow(K, y, { t })
--- Gradient flow from 0 on the loss 1/(2n) sum of squares, in function space: at time t the
--- coefficients alpha = K^-1 (I - exp(-K t / n)) y, so that predictions at other points are
--- K(those, these) alpha.
--- @param K tensor [n,n] f32 or f64, symmetric positive semidefinite; eigenvalues that rounding
--- made negative count as 0
--- @param y tensor [n] or [n,c] of the same dtype
--- @param opts.t number or list times, >= 0; infinity is allowed where K is positive definite
--- @return tensor alpha like y; a list of them where t is a list
--- @return table info: fitted (K alpha, in the same form), max_rate (2 n over the largest
--- eigenvalue: the learning rate above which gradient descent on this loss diverges)
--- @source Jacot, Gabriel & Hongler 2018; Lee et al. 2019, Equation 8
function direct.gradient_flow(K, y, opts)
  local where = "solve.gradient_flow"
  options.check(where, opts, { "t" }, true)
  opts = opts or {}
  local given = opts.t
  if given == nil then given = opts[1] end
  local single = math.type(given) ~= nil
  local times = single and { given } or check.list(where, { t = given }, "t")
  for _, t in ipairs(times) do
    if math.type(t) == nil or not (t >= 0) then
      options.bad(where, 0, "option 't' holds %s, wanted a time >= 0", options.describe(t))
    end
  end
  local matrix, right, vector = check.system(where, K, y)
  local alphas, fitted, rate = {}, {}, nil
  local out = core.scope(function()
    local values, vectors, floor = spectrum(where, matrix, "K")
    local n = matrix:size(1)
    rate = 2 * n / values[n]
    local projected = vectors:transpose():matmul(right)
    local safe = values:maximum(floor * 1e-300 + 2.3e-308)
    for i, t in ipairs(times) do
      if t == math.huge and not (values[1] > floor) then
        options.bad(where, 0, "t is infinite on a singular kernel (least eigenvalue %.3g)",
          values[1])
      end
      -- 1 - exp(-l t / n), divided by l; t / n where l = 0
      local grown = t == math.huge and core.ones { n } or -(values * (-t / n)):expm1()
      local gain = t == math.huge and grown / safe
        or core.where(values:gt(0), grown / safe, core.full({ n }, t / n))
      alphas[i] = back(vectors:matmul(projected * gain:reshape { n, 1 }), vector, K:dtype())
      fitted[i] = back(vectors:matmul(projected * grown:reshape { n, 1 }), vector, K:dtype())
    end
    return { alphas, fitted }
  end)
  alphas, fitted = out[1], out[2]
  if single then return alphas[1], { fitted = fitted[1], max_rate = rate } end
  return alphas, { fitted = fitted, max_rate = rate }
end

direct.path = Path
direct.solve_factored = solve
return direct
