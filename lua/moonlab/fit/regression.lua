--- The common part of the fits: reading points, weighted least squares on a basis, standard errors
--- and bands.
local samples = require "moonlab.samples"
local distributions = require "moonlab.stats.distributions"
local least_squares = require "moonlab.fit.least_squares"

local regression = {}
local fail, variance = samples.fail, least_squares.variance

-- ---- points -------------------------------------------------------------------------------------

local function read_range(where, range)
  if range == nil then return -math.huge, math.huge end
  local low, high = nil, nil
  if type(range) == "table" then low, high = range[1], range[2] end
  if type(low) ~= "number" or type(high) ~= "number" or not (low < high) then
    fail(where, 0, "option 'range' wants { low, high } in the unit of x, low < high")
  end
  return low, high
end

local function read_sigma(where, sigma, n)
  local list = samples.list(where, 0, "sigma", sigma)
  if #list ~= n then fail(where, 0, "%d entries of sigma for %d points", #list, n) end
  for i, s in ipairs(list) do
    if not (s > 0) then fail(where, 0, "sigma[%d] is %.14g, wanted > 0", i, s) end
  end
  return list
end

-- The points of a fit in order of x: { x, y, u, v, w }, u and v the logarithms where the axis is
-- logarithmic and w the
-- weight of v. The order makes results independent of the order given, bit for bit. Also the x of
-- points dropped for
-- y that is not finite (when drop), and whether w is the inverse of a known variance.
function regression.points(where, x, y, opts, log_x, log_y, drop)
  x = samples.list(where, 1, "x", x)
  y = samples.list(where, 2, "y", y, "any")
  samples.same_length(where, "x", x, "y", y)
  local low, high = read_range(where, opts.range)
  if opts.sigma ~= nil and opts.weights ~= nil then
    fail(where, 0, "give sigma or weights, not both")
  end
  local weights = samples.weights(where, opts.weights, #x)
  local sigma = opts.sigma ~= nil and read_sigma(where, opts.sigma, #x) or nil
  local points, dropped = {}, {}
  for i = 1, #x do
    local X, Y = x[i], y[i]
    if X >= low and X <= high and not (weights and weights[i] == 0) then
      if log_x and not (X > 0) then
        fail(where, 1, "x[%d] is %.14g, wanted > 0 for its logarithm", i, X)
      end
      if not samples.is_finite(Y) then
        if not drop then
          fail(where, 2, "y[%d] is %s, wanted a finite number", i, samples.shown(Y))
        end
        dropped[#dropped + 1] = X
      else
        if log_y and not (Y > 0) then
          fail(where, 2, "y[%d] is %.14g, wanted > 0 for its logarithm", i, Y)
        end
        local s = sigma and (log_y and sigma[i] / Y or sigma[i])
        points[#points + 1] = {
          x = X, y = Y, u = log_x and math.log(X) or X, v = log_y and math.log(Y) or Y,
          w = sigma and 1 / (s * s) or weights and weights[i] or 1.0,
        }
      end
    end
  end
  table.sort(points, function(a, b)
    if a.u ~= b.u then return a.u < b.u end
    if a.v ~= b.v then return a.v < b.v end
    return a.w < b.w
  end)
  table.sort(dropped)
  return points, dropped, sigma ~= nil
end

local function count_distinct(points)
  local n = 0
  for i, p in ipairs(points) do
    if i == 1 or p.u ~= points[i - 1].u then n = n + 1 end
  end
  return n
end

function regression.need(where, points, wanted)
  local n = count_distinct(points)
  if n < wanted then
    fail(where, 1, "%d different x in use, wanted at least %d", n, wanted)
  end
end

-- ---- the common fit -----------------------------------------------------------------------------

-- t = (u - centre) / scale in [-1, 1]: polynomials in t are well conditioned.
local function scaling(points)
  local low, high = points[1].u, points[#points].u
  local centre, scale = 0.5 * (low + high), 0.5 * (high - low)
  return centre, scale > 0 and scale or 1.0
end

-- Least squares of v on basis(t); known: the weights are inverse variances, else the residuals give
-- the scale.
function regression.fit(points, basis, known)
  local centre, scale = scaling(points)
  local rows, v, w = {}, {}, {}
  for i, p in ipairs(points) do
    rows[i], v[i], w[i] = basis((p.u - centre) / scale), p.v, p.w
  end
  local solved = least_squares.solve(rows, v, w)
  if not solved then return nil end
  local f = { beta = solved.beta, covariance = solved.covariance, rss = solved.rss,
    centre = centre, scale = scale, basis = basis, known = known, n = #points,
    dof = #points - #solved.beta }
  f.unit = known and 1.0 or f.dof > 0 and f.rss / f.dof or samples.nan -- variance per unit of 1/w
  return f
end

-- The fitted v and its standard error at u.
local function at(f, u)
  local row, v = f.basis((u - f.centre) / f.scale), 0.0
  for j, b in ipairs(f.beta) do v = v + b * row[j] end
  return v, math.sqrt(f.unit * variance(f.covariance, row))
end

regression.at = at

-- Student's t, or the normal distribution when the errors are known; nan where nothing is left to
-- estimate them from.
local function quantile_of(f, level)
  if f.known then return distributions.raw_t_quantile(0.5 + level / 2, math.huge) end
  if f.dof < 1 then return samples.nan end
  return distributions.raw_t_quantile(0.5 + level / 2, f.dof)
end

regression.quantile = quantile_of

-- What every fit tells: quality, predict(x), band(x, level) and prediction_band(x, level).
function regression.describe(where, f, points, log_x, log_y, level)
  local total, mean, residual = 0.0, 0.0, 0.0
  for _, p in ipairs(points) do total, mean = total + p.w, mean + p.w * p.v end
  mean = mean / total
  local spread = 0.0
  for _, p in ipairs(points) do
    spread = spread + p.w * (p.v - mean) ^ 2
    residual = residual + p.w * (p.v - at(f, p.u)) ^ 2
  end
  local mean_weight = total / #points
  local function u_of(x)
    if log_x and not (x > 0) then fail(where, 1, "x is %.14g, wanted > 0", x) end
    return log_x and math.log(x) or x
  end
  local function back(v) return log_y and math.exp(v) or v end
  local function bands(extra)
    return function(x, other)
      local q = quantile_of(f, other == nil and level or samples.level(where, other))
      return samples.map(where .. " (band)", x, 2, function(X)
        local v, s = at(f, u_of(X))
        s = math.sqrt(s * s + extra)
        return back(v - q * s), back(v + q * s)
      end)
    end
  end
  return {
    n = #points, dof = f.dof, level = level,
    x_min = points[1].x, x_max = points[#points].x,
    r2 = 1 - residual / spread,
    residual_std = f.dof > 0 and math.sqrt(residual / mean_weight / f.dof) or samples.nan,
    chi2 = f.known and residual or nil,
    predict = function(x)
      return samples.map(where .. " (predict)", x, 1, function(X) return back((at(f, u_of(X)))) end)
    end,
    band = bands(0.0),
    prediction_band = not f.known and bands(f.unit / mean_weight) or nil,
  }
end

-- Option names that every fit has, and the given ones.
function regression.options(...)
  return { "range", "sigma", "weights", "level", ... }
end

-- ---- axes ---------------------------------------------------------------------------------------

function regression.axes(where, log, default)
  if log == nil then log = default end
  if log ~= "" and log ~= "x" and log ~= "y" and log ~= "xy" then
    fail(where, 0, "option 'log' is %s, wanted \"x\", \"y\", \"xy\" or \"\"", samples.shown(log))
  end
  return log:find("x", 1, true) ~= nil, log:find("y", 1, true) ~= nil
end

return regression
