--- Continuous lines of several pieces: broken power laws, with the breaks as parameters.
local breaks_of = require "moonlab.fit.breaks"
local options = require "moonlab.options"
local samples = require "moonlab.samples"
local least_squares = require "moonlab.fit.least_squares"
local regression = require "moonlab.fit.regression"

local fail = samples.fail
local most_breaks = 4
local function prepare(points)
  local low, high = points[1].u, points[#points].u
  local data = { t = {}, v = {}, w = {}, distinct = {} }
  data.centre, data.scale = 0.5 * (low + high), 0.5 * (high - low)
  local total, mean = 0.0, 0.0
  for _, p in ipairs(points) do total, mean = total + p.w, mean + p.w * p.v end
  mean = mean / total
  local square = 0.0
  for i, p in ipairs(points) do
    data.t[i], data.v[i], data.w[i] = (p.u - data.centre) / data.scale, p.v - mean, p.w
    square = square + p.w * (p.v - mean) ^ 2
    if data.t[i] ~= data.t[i - 1] then data.distinct[#data.distinct + 1] = data.t[i] end
  end
  data.mean, data.square = mean, square
  data.sums = breaks_of.suffix_sums(data.t, data.v, data.w)
  return data
end

local function fixed_breaks(where, at, data, log_x)
  local list = samples.list(where, 0, "at", at)
  local x = data.distinct
  table.sort(list)
  for i, b in ipairs(list) do
    if log_x and not (b > 0) then fail(where, 0, "at[%d] is %.14g, wanted > 0", i, b) end
    list[i] = ((log_x and math.log(b) or b) - data.centre) / data.scale
    if not (list[i] > x[1] and list[i] < x[#x]) then
      fail(where, 0, "the break at %.14g lies outside the data", b)
    end
  end
  return list
end

--- ml.fit.segmented(x, y, { breaks, at, log, range, sigma, weights, level })
--- A continuous line of breaks + 1 pieces through the points, in log-log axes a broken power law:
--- the slopes of the pieces and where they meet, by least squares over both. Breaks are sought
--- among the interior points and then between them; every piece holds two different x at least.
--- Standard errors include the breaks' uncertainty.
--- @param x list or tensor [n], any order; > 0 with log x; at least 2 breaks + 2 different values
--- @param y list or tensor [n], finite; > 0 with log y
--- @param opts.breaks integer =1 0 to 4
--- @param opts.at list =nil known breaks, in the unit of x, instead of sought ones
--- @param opts.log string ="xy" axes that are logarithmic: "x", "y", "xy" or ""
--- @param opts.range table ={ -inf, inf } { low, high }, ends included, in the unit of x
--- @param opts.sigma list or tensor [n] =nil known standard errors of y; errors are then not
--- rescaled by the residuals
--- @param opts.weights list or tensor [n] =nil relative weights, >= 0; not beside sigma
--- @param opts.level number =0.95 of the interval, in (0, 1)
--- @return list slopes, ascending x
--- @return list their standard errors; nan when no degree of freedom is left or a break cannot be
--- told from the data
--- @return table info: breaks (list, in the unit of x) and break_stderrs (0 for known ones), rss,
--- bic (n log(rss/n) + p log n with p free parameters: compare numbers of breaks), and
--- residual_std, r2, n, dof, x_min, x_max, predict, band, prediction_band as ml.fit.power_law has
--- them
--- @source Muggeo 2003; start by enumeration
local function segmented(x, y, opts)
  local where = "ml.fit.segmented"
  options.check(where, opts, regression.options("breaks", "at", "log"))
  opts = opts or {}
  local level = samples.level(where, opts.level)
  local log_x, log_y = regression.axes(where, opts.log, "xy")
  if opts.at ~= nil and opts.breaks ~= nil then fail(where, 0, "give breaks or at, not both") end
  local k = options.field(where, opts, "breaks", "integer", 1)
  if not (k >= 0 and k <= most_breaks) then
    fail(where, 0, "option 'breaks' is %d, wanted 0 to %d", k, most_breaks)
  end
  local points, _, known = regression.points(where, x, y, opts, log_x, log_y)
  regression.need(where, points, opts.at == nil and 2 * k + 2 or 2)
  local data = prepare(points)
  local breaks = opts.at ~= nil and fixed_breaks(where, opts.at, data, log_x)
    or k > 0 and breaks_of.best(data, k) or {}
  k = #breaks
  local _, linear = breaks_of.exact_rss(data, breaks)
  if not linear then fail(where, 0, "the breaks leave a piece without two different x") end
  local free = opts.at == nil and table.move(linear.beta, 3, 2 + k, 1, {}) or {}
  local basis = breaks_of.basis_of(breaks, free)
  local full = #free > 0 and breaks_of.solve(data, basis) or nil
  local sure = #free == 0 or full ~= nil
  local parameters = 2 + k + #free
  local f = { beta = table.move(linear.beta, 1, 2 + k, 1, {}), rss = linear.rss, known = known,
    centre = data.centre, scale = data.scale, n = #points, dof = #points - parameters }
  f.covariance = full and full.covariance or linear.covariance
  f.basis = sure and basis or breaks_of.basis_of(breaks)
  f.beta[1] = f.beta[1] + data.mean
  for j = 1, sure and #free or 0 do f.beta[2 + k + j] = 0.0 end -- the derivatives carry errors only
  f.unit = not sure and samples.nan or known and 1.0 or f.dof > 0 and f.rss / f.dof or samples.nan
  local info = regression.describe(where, f, points, log_x, log_y, level)
  info.rss, info.bic = f.rss, #points * math.log(f.rss / #points) + parameters * math.log(#points)
  info.breaks, info.break_stderrs = {}, {}
  for j, b in ipairs(breaks) do
    local u = data.centre + data.scale * b
    info.breaks[j] = log_x and math.exp(u) or u
    local s = #free == 0 and 0.0 or samples.nan
    if full then s = math.sqrt(f.unit * full.covariance[2 + k + j][2 + k + j]) * data.scale end
    info.break_stderrs[j] = log_x and info.breaks[j] * s or s
  end
  local slopes, stderrs, slope, gradient = {}, {}, 0.0, {}
  for j = 1, #f.beta do gradient[j] = 0.0 end
  for j = 0, k do
    slope, gradient[2 + j] = slope + f.beta[2 + j], 1.0
    slopes[j + 1] = slope / data.scale
    stderrs[j + 1] = math.sqrt(f.unit * least_squares.variance(f.covariance, gradient)) / data.scale
  end
  return slopes, stderrs, info
end

return segmented
