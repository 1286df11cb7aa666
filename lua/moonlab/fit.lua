--- Fits that scaling studies report: power laws, optima, extrapolations and slopes, each with its
--- error.
local options = require "moonlab.options"
local samples = require "moonlab.samples"
local least_squares = require "moonlab.fit.least_squares"
local regression = require "moonlab.fit.regression"

local fit = {}
local fail, variance = samples.fail, least_squares.variance
local at, quantile = regression.at, regression.quantile

local function line_basis(t) return { 1.0, t } end
local function parabola_basis(t) return { 1.0, t, t * t } end

-- ---- power law ----------------------------------------------------------------------------------

--- ml.fit.power_law(x, y, { range, sigma, weights, level })
--- Fits y = coefficient x^exponent by least squares of log y on log x. Points stay out of the fit
--- when range excludes them or their weight is 0. The standard error comes from the residuals, or
--- from sigma alone when sigma is given. With two points and no sigma it is nan: nothing is left to
--- estimate it from. Raises for x or y in range that is not > 0 or not finite (naming the entry),
--- and for lengths that disagree.
--- @param x list or tensor [n], > 0, at least two different values
--- @param y list or tensor [n], > 0, finite
--- @param opts.range table ={ -inf, inf } { low, high }, ends included, in the unit of x: only
--- these points are fitted
--- @param opts.sigma list or tensor [n] =nil known standard errors of y; errors are then not
--- rescaled by the residuals
--- @param opts.weights list or tensor [n] =nil relative weights of log y, >= 0; not beside sigma
--- @param opts.level number =0.95 of the intervals and bands
--- @return number exponent
--- @return number its standard error
--- @return table info: coefficient (y at x = 1) and coefficient_stderr, low and high (the interval
--- of the exponent), residual_std (of log y, natural), r2, n, dof, chi2 (with sigma), x_min, x_max,
--- predict(x), band(x, level) -> low, high (of the fitted curve, Student t), prediction_band(x,
--- level) (of one new point; absent with sigma); x of the three a number, a list or a tensor [m]
--- @source ordinary least squares, Draper & Smith 1998, chapters 1 and 3
function fit.power_law(x, y, opts)
  local where = "ml.fit.power_law"
  options.check(where, opts, regression.options())
  opts = opts or {}
  local level = samples.level(where, opts.level)
  local points, _, known = regression.points(where, x, y, opts, true, true)
  regression.need(where, points, 2)
  local f = regression.fit(points, line_basis, known)
  local exponent = f.beta[2] / f.scale
  local stderr = math.sqrt(f.unit * f.covariance[2][2]) / f.scale
  local info = regression.describe(where, f, points, true, true, level)
  local q = quantile(f, level)
  info.low, info.high = exponent - q * stderr, exponent + q * stderr
  local v, s = at(f, 0.0)
  info.coefficient, info.coefficient_stderr = math.exp(v), math.exp(v) * s
  return exponent, stderr, info
end

-- ---- parabola -----------------------------------------------------------------------------------

-- The x with the least mean v, as a range first..last of points, and the ranges of its neighbours
-- `reach` away.
local function around_best(points, reach, sign)
  local groups = {}
  for i, p in ipairs(points) do
    local g = groups[#groups]
    if not g or points[g.first].u ~= p.u then
      g = { first = i, sum = 0.0, weight = 0.0 }
      groups[#groups + 1] = g
    end
    g.last, g.sum, g.weight = i, g.sum + sign * p.w * p.v, g.weight + p.w
  end
  local best = 1
  for k, g in ipairs(groups) do
    if g.sum / g.weight < groups[best].sum / groups[best].weight then best = k end
  end
  local inside = best > 1 and best < #groups
  local from, to = math.max(1, best - reach), math.min(#groups, best + reach)
  return inside, groups[from].first, groups[to].last
end

local function optimum(f, log_x)
  local b, c = f.beta[2], f.beta[3]
  local t = -b / (2 * c)
  local s = math.sqrt(f.unit * variance(f.covariance, { 0.0, -1 / (2 * c), b / (2 * c * c) }))
  local u = f.centre + f.scale * t
  local x = log_x and math.exp(u) or u
  return u, x, s * f.scale
end

--- ml.fit.parabola(x, y, { log, points, maximum, range, sigma, weights, level })
--- The x at which y is least, by a parabola through the points, as for the best learning rate:
--- ml.fit.parabola(lr, loss, { log = "x", points = 3 }). Points whose y is not finite (diverged
--- runs) are dropped and listed in info.dropped. When the parabola opens the wrong way or its
--- vertex is not strictly between the least and largest x fitted, or with points when the least y
--- is at an end, the result is nil, "not bracketed", info.
--- @param x list or tensor [n], any order, several y at one x are allowed; > 0 with log x
--- @param y list or tensor [n]; nan and infinities are dropped; > 0 with log y
--- @param opts.log string ="" axes that are logarithmic: "x", "y", "xy" or ""
--- @param opts.points integer =nil (all) odd, >= 3: fit only the x of the least y and (points -
--- 1)/2 neighbours on each side
--- @param opts.maximum boolean =false look for the largest y instead
--- @param opts.range table ={ -inf, inf } { low, high }, ends included, in the unit of x
--- @param opts.sigma list or tensor [n] =nil known standard errors of y; errors are then not
--- rescaled by the residuals
--- @param opts.weights list or tensor [n] =nil relative weights, >= 0; not beside sigma
--- @param opts.level number =0.95 of the interval, in (0, 1)
--- @return number x of the optimum, in the unit of x, or nil with "not bracketed"
--- @return number its standard error by the delta method, in the unit of x; nan with three points
--- and no sigma
--- @return table info: value (fitted y there) and value_stderr, curvature (second derivative in the
--- fitted axes, natural logarithms) and curvature_stderr, log_stderr (of log x, with log x), low
--- and high (interval of the optimum), reason (when not bracketed), dropped (list of x), and
--- residual_std, r2, n, dof, x_min, x_max, predict, band, prediction_band as ml.fit.power_law has
--- them
--- @source vertex of least squares, delta method: Casella & Berger 2002, section 5.5.4
function fit.parabola(x, y, opts)
  local where = "ml.fit.parabola"
  options.check(where, opts, regression.options("log", "points", "maximum"))
  opts = opts or {}
  local level = samples.level(where, opts.level)
  local log_x, log_y = regression.axes(where, opts.log, "")
  local sign = options.field(where, opts, "maximum", "boolean", false) and -1 or 1
  local count = options.field(where, opts, "points", "integer", 0)
  if opts.points ~= nil and not (count >= 3 and count % 2 == 1) then
    fail(where, 0, "option 'points' is %d, wanted an odd number >= 3", count)
  end
  local points, dropped, known = regression.points(where, x, y, opts, log_x, log_y, true)
  regression.need(where, points, 3)
  if count > 0 then
    local inside, first, last = around_best(points, (count - 1) // 2, sign)
    if not inside then
      return nil, "not bracketed", { dropped = dropped, n = #points, reason = sign > 0
        and "the least y is at an end" or "the largest y is at an end" }
    end
    points = table.move(points, first, last, 1, {})
  end
  local f = regression.fit(points, parabola_basis, known)
  local info = regression.describe(where, f, points, log_x, log_y, level)
  info.dropped = dropped
  local c = f.beta[3]
  info.curvature = 2 * c / f.scale ^ 2
  info.curvature_stderr = 2 * math.sqrt(f.unit * f.covariance[3][3]) / f.scale ^ 2
  if not (sign * c > 0) then
    info.reason = "the parabola opens the wrong way"
    return nil, "not bracketed", info
  end
  local u, best, s = optimum(f, log_x)
  if not (u > points[1].u and u < points[#points].u) then
    info.reason = "the vertex lies outside the data"
    return nil, "not bracketed", info
  end
  local v, sv = at(f, u)
  info.value = log_y and math.exp(v) or v
  info.value_stderr = log_y and info.value * sv or sv
  local q = quantile(f, level)
  local function back(z) return log_x and math.exp(z) or z end
  info.low, info.high = back(u - q * s), back(u + q * s)
  if log_x then info.log_stderr = s end
  return best, log_x and best * s or s, info
end

-- ---- log-log quadratic --------------------------------------------------------------------------

-- The x > 0 at which the fitted log y equals log y0, ascending.
local function crossings(where, f, y0)
  if type(y0) ~= "number" or not (y0 > 0 and y0 < math.huge) then
    fail(where, 1, "y is %s, wanted a finite number > 0", samples.shown(y0))
  end
  local a, b, c = f.beta[1] - math.log(y0), f.beta[2], f.beta[3]
  local roots = {}
  if c == 0 then
    if b ~= 0 then roots[1] = -a / b end
  else
    local d = b * b - 4 * a * c
    if d >= 0 then
      local q = -0.5 * (b + (b < 0 and -1 or 1) * math.sqrt(d))
      if q ~= 0 then roots = { q / c, a / q } else roots = { 0.0 } end
      table.sort(roots)
      if roots[1] == roots[2] then roots[2] = nil end
    end
  end
  for i, t in ipairs(roots) do roots[i] = math.exp(f.centre + f.scale * t) end
  return roots
end

--- ml.fit.quadratic_loglog(x, y, { holdout, range, sigma, weights, level })
--- Fits log y = a + b log x + c (log x)^2 without the `holdout` points of largest x and predicts
--- the last one: does what small models show foretell the large one? With holdout = 0 every point
--- is fitted, and the first two results are nil.
--- @param x list or tensor [n], > 0, any order
--- @param y list or tensor [n], > 0, finite
--- @param opts.holdout integer =1 how many points of largest x are kept out, >= 0; at least three
--- different x remain
--- @param opts.range table ={ -inf, inf } { low, high }, ends included, in the unit of x
--- @param opts.sigma list or tensor [n] =nil known standard errors of y; errors are then not
--- rescaled by the residuals
--- @param opts.weights list or tensor [n] =nil relative weights of log y, >= 0; not beside sigma
--- @param opts.level number =0.95 of the interval, in (0, 1)
--- @return number prediction: y foretold at the largest x
--- @return number its relative error: prediction / observed - 1
--- @return table info: factor (the larger of prediction/observed and its inverse), holdout (list of
--- { x, observed, predicted, error, factor }, ascending x), coefficients { a, b, c } (natural
--- logarithms), coefficient_stderrs, crossings(y) (list of the x where the fit reaches y,
--- ascending; may be empty), and residual_std, r2, n, dof, x_min, x_max, predict, band,
--- prediction_band as ml.fit.power_law has them
--- @source log-log quadratic of Wortsman et al. 2023 (extrapolated instabilities); least squares
function fit.quadratic_loglog(x, y, opts)
  local where = "ml.fit.quadratic_loglog"
  options.check(where, opts, regression.options("holdout"))
  opts = opts or {}
  local level = samples.level(where, opts.level)
  local out = options.field(where, opts, "holdout", "integer", 1)
  if out < 0 then fail(where, 0, "option 'holdout' is %d, wanted >= 0", out) end
  local points, _, known = regression.points(where, x, y, opts, true, true)
  local kept = math.max(0, #points - out)
  local last = table.move(points, kept + 1, #points, 1, {})
  points = table.move(points, 1, kept, 1, {})
  regression.need(where, points, 3)
  local f = regression.fit(points, parabola_basis, known)
  local info = regression.describe(where, f, points, true, true, level)
  -- from powers of t = (u - m)/s to powers of u
  local m, s = f.centre, f.scale
  local ss = s * s
  local rows = { { 1.0, -m / s, m * m / ss }, { 0.0, 1 / s, -2 * m / ss }, { 0.0, 0.0, 1 / ss } }
  info.coefficients, info.coefficient_stderrs = {}, {}
  for i, row in ipairs(rows) do
    info.coefficients[i] = row[1] * f.beta[1] + row[2] * f.beta[2] + row[3] * f.beta[3]
    info.coefficient_stderrs[i] = math.sqrt(f.unit * variance(f.covariance, row))
  end
  info.crossings = function(y0) return crossings(where .. " (crossings)", f, y0) end
  info.holdout = {}
  for i, p in ipairs(last) do
    local ahead = info.predict(p.x)
    info.holdout[i] = { x = p.x, observed = p.y, predicted = ahead, error = ahead / p.y - 1,
      factor = math.max(ahead / p.y, p.y / ahead) }
  end
  local final = info.holdout[#info.holdout]
  if not final then return nil, nil, info end
  info.factor = final.factor
  return final.predicted, final.error, info
end

-- ---- slopes -------------------------------------------------------------------------------------

--- ml.fit.local_slopes(x, y, { window, log, range, sigma, weights })
--- The slope of the line through each run of `window` consecutive points: local exponents, d log y
--- / d log x. Raises when a window has one x only.
--- @param x list or tensor [n], any order; > 0 with log x
--- @param y list or tensor [n], finite; > 0 with log y
--- @param opts.window integer =3 points per slope, 2 to n
--- @param opts.log string ="xy" axes that are logarithmic: "x", "y", "xy" or ""
--- @param opts.range table ={ -inf, inf } { low, high }, ends included, in the unit of x
--- @param opts.sigma list or tensor [n] =nil known standard errors of y; errors are then not
--- rescaled by the residuals
--- @param opts.weights list or tensor [n] =nil relative weights, >= 0; not beside sigma
--- @return list slopes, n - window + 1 of them, ascending x
--- @return list their standard errors; nan for windows of two without sigma; neighbours share
--- points
--- @return table info: x (list of centres: the mean of the window on the fitted axis), n
--- @source moving least squares lines
function fit.local_slopes(x, y, opts)
  local where = "ml.fit.local_slopes"
  options.check(where, opts, { "window", "log", "range", "sigma", "weights" })
  opts = opts or {}
  local window = options.field(where, opts, "window", "integer", 3)
  if window < 2 then fail(where, 0, "option 'window' is %d, wanted >= 2", window) end
  local log_x, log_y = regression.axes(where, opts.log, "xy")
  local points, _, known = regression.points(where, x, y, opts, log_x, log_y)
  if #points < window then
    fail(where, 1, "%d points in use, wanted at least the window, %d", #points, window)
  end
  local slopes, stderrs, centres = {}, {}, {}
  for i = 1, #points - window + 1 do
    local part = table.move(points, i, i + window - 1, 1, {})
    if part[1].u == part[window].u then
      fail(where, 1, "the window of %d points at x = %.14g has one x only", window, part[1].x)
    end
    local f, sum = regression.fit(part, line_basis, known), 0.0
    for _, p in ipairs(part) do sum = sum + p.u end
    slopes[i] = f.beta[2] / f.scale
    stderrs[i] = math.sqrt(f.unit * f.covariance[2][2]) / f.scale
    centres[i] = log_x and math.exp(sum / window) or sum / window
  end
  return slopes, stderrs, { x = centres, n = #points }
end

fit.segmented = require "moonlab.fit.segmented"

return fit
