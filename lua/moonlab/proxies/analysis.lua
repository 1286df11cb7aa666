--- What sweeps of small models say about large ones: learning rate sensitivity, attention logits
--- and gradients extrapolated in size.
local fit = require "moonlab.fit"
local least_squares = require "moonlab.fit.least_squares"
local options = require "moonlab.options"
local samples = require "moonlab.samples"

local analysis = {}
local fail = samples.fail

local function finite(x) return x == x and math.abs(x) < math.huge end

-- The grid: ascending learning rates, one loss each; losses that are not finite stay.
local function grid_of(where, lr, loss)
  lr = samples.list(where, 1, "lr", lr)
  loss = samples.list(where, 2, "loss", loss, "any")
  samples.same_length(where, "lr", lr, "loss", loss)
  if #lr == 0 then fail(where, 1, "the grid of learning rates is empty") end
  for i, x in ipairs(lr) do
    if not (x > 0) then fail(where, 1, "lr[%d] is %.14g, wanted > 0", i, x) end
    if i > 1 and not (x > lr[i - 1]) then
      fail(where, 1, "lr[%d] is %.14g after %.14g, wanted ascending learning rates", i, x,
        lr[i - 1])
    end
  end
  return lr, loss
end

local function windows_of(where, opts, lr)
  local windows = options.field(where, opts, "windows", "table", { { lr[1], lr[#lr] } })
  if #windows == 0 then fail(where, 0, "option 'windows' is empty") end
  for i, w in ipairs(windows) do
    if type(w) ~= "table" or type(w[1]) ~= "number" or type(w[2]) ~= "number"
      or not (w[1] <= w[2]) then
      fail(where, 0, "option 'windows': entry %d is not { low, high }", i)
    end
  end
  return windows
end

--- ml.proxies.lr_sensitivity(lr, loss, { initial, windows })
--- Mean over the grid of min(loss, initial) - best: how much is lost by a wrong learning rate. A
--- run that ended in NaN or infinity counts as the initial loss. With several windows, each of
--- which has its own best, the result is the smallest: the rule for an intervention that moves the
--- optimum.
--- @param lr list or tensor [n], ascending, > 0
--- @param loss list or tensor [n]: final validation losses; nan and infinities are diverged runs
--- @param opts.initial number the loss before training
--- @param opts.windows list ={ the whole grid } of { low, high }, ends included
--- @return number sensitivity
--- @return table { best_lr, best_loss, window, diverged = how many runs of the window, worst_ratio
--- = largest min(loss, initial) over best }; when every run diverged the sensitivity is 0 and
--- best_lr is nil
--- @source Wortsman et al. 2023, equation 1
function analysis.lr_sensitivity(lr, loss, opts)
  local where = "ml.proxies.lr_sensitivity"
  options.check(where, opts, { "initial", "windows" })
  opts = opts or {}
  local initial = options.field(where, opts, "initial", "number")
  if not finite(initial) then
    fail(where, 0, "option 'initial' is %s, wanted a finite number", samples.shown(initial))
  end
  lr, loss = grid_of(where, lr, loss)
  local least, found
  for _, window in ipairs(windows_of(where, opts, lr)) do
    local info = { window = window, diverged = 0, n = 0, best_loss = initial }
    local capped, worst = {}, -math.huge
    for i, x in ipairs(lr) do
      -- half a percent: 3e-4 typed twice is the same learning rate
      if x >= window[1] * 0.995 and x <= window[2] * 1.005 then
        local l = finite(loss[i]) and math.min(loss[i], initial) or initial
        if not finite(loss[i]) then info.diverged = info.diverged + 1 end
        capped[#capped + 1] = l
        worst = math.max(worst, l)
        if l < info.best_loss then info.best_loss, info.best_lr = l, x end
      end
    end
    if #capped == 0 then
      fail(where, 0, "no learning rate lies in the window %g..%g", window[1], window[2])
    end
    local sum = 0
    for _, l in ipairs(capped) do sum = sum + (l - info.best_loss) / #capped end
    info.n, info.worst_ratio = #capped, worst / info.best_loss
    if not least or sum < least then least, found = sum, info end
  end
  return least, found
end

--- ml.proxies.right_branch(lr, losses, { initial })
--- The excess min(loss, initial) - best of every curve at learning rates above its optimum, where
--- best is the least loss of all curves: what short runs at small learning rates cannot hide.
--- @param lr list or tensor [n], ascending
--- @param losses table name -> list of losses [n]
--- @param opts.initial number the loss before training
--- @return table name -> { lr = list, excess = list, mean = number, nan when the optimum is at the
--- right end }
--- @return number the best loss of all
--- @source after Wortsman et al. 2023, section 2
function analysis.right_branch(lr, losses, opts)
  local where = "ml.proxies.right_branch"
  options.argument(where, 2, losses, "table")
  options.check(where, opts, { "initial" })
  local initial = options.field(where, opts or {}, "initial", "number")
  local best, curves = math.huge, {}
  for name, loss in require("moonlab.sorted")(losses) do
    local x, y = grid_of(where, lr, loss)
    local curve, lowest = { lr = {}, excess = {}, at = 1 }, math.huge
    for i = 1, #x do
      y[i] = finite(y[i]) and math.min(y[i], initial) or initial
      if y[i] < lowest then lowest, curve.at = y[i], i end
    end
    curve.x, curve.y = x, y
    curves[name], best = curve, math.min(best, lowest)
  end
  local found = {}
  for name, c in pairs(curves) do
    local out = { lr = {}, excess = {}, mean = 0 }
    for i = c.at + 1, #c.x do
      out.lr[#out.lr + 1], out.excess[#out.excess + 1] = c.x[i], c.y[i] - best
    end
    for _, e in ipairs(out.excess) do out.mean = out.mean + e / #out.excess end
    if #out.excess == 0 then out.mean = samples.nan end
    found[name] = out
  end
  return found, best
end

--- ml.proxies.optimal_lr(lr, loss)
--- The best learning rate: vertex of the parabola through the three points around the least loss in
--- log lr. Diverged runs (nan, infinities) are left out.
--- @param lr list or tensor [n], ascending
--- @param loss list or tensor [n]
--- @return number learning rate, or nil with "not bracketed" when the least loss is at an end
--- @return number loss there
--- @source -
function analysis.optimal_lr(lr, loss)
  local where = "ml.proxies.optimal_lr"
  lr, loss = grid_of(where, lr, loss)
  local x, y = {}, {}
  for i = 1, #lr do
    if finite(loss[i]) then x[#x + 1], y[#y + 1] = lr[i], loss[i] end
  end
  if #x < 3 then return nil, "not bracketed" end
  local best, stderr, info = fit.parabola(x, y, { log = "x", points = 3 })
  if not best then return nil, stderr end
  return best, info.value
end

--- ml.proxies.predict_logit(size, logit, { holdout })
--- Foretells the largest attention logit of a model from smaller ones: log10 logit = a + b log10 N
--- + c (log10 N)^2.
--- @param size list or tensor [n] of parameter counts, ascending
--- @param logit list or tensor [n], > 0: largest attention logits at the same step and learning
--- rate
--- @param opts.holdout integer =1 how many of the largest are kept out
--- @return number foretold logit of the largest size
--- @return table of ml.fit.quadratic_loglog: factor, predict(N), crossings(1e4) and more
--- @source Wortsman et al. 2023, section 3.3
function analysis.predict_logit(size, logit, opts)
  options.check("ml.proxies.predict_logit", opts, { "holdout" })
  local prediction, _, info = fit.quadratic_loglog(size, logit,
    { holdout = opts and opts.holdout or 1 })
  return prediction, info
end

--- ml.proxies.gradient_rms(size, lr, rms, { eps })
--- Fits log rms = a + b log N + c log lr and says where it meets the optimizer's epsilon: a second
--- instability that small runs foretell.
--- @param size list or tensor [n] of parameter counts
--- @param lr list or tensor [n]
--- @param rms list or tensor [n], > 0: root mean square of the gradient of one matrix
--- @param opts.eps number =1e-8 of the optimizer, in the unit of a gradient, >= 0
--- @return table { size_exponent, size_stderr, lr_exponent, lr_stderr, predict(N, lr), meets(lr) =
--- the N at which the fit falls to eps, nil when it does not fall with N }
--- @source Wortsman et al. 2023, section 3.4
function analysis.gradient_rms(size, lr, rms, opts)
  local where = "ml.proxies.gradient_rms"
  options.check(where, opts, { "eps" })
  local eps = options.field(where, opts or {}, "eps", "number", 1e-8)
  if not (eps > 0) then fail(where, 0, "option 'eps' is %g, wanted > 0", eps) end
  local columns = { samples.list(where, 1, "size", size), samples.list(where, 2, "lr", lr),
    samples.list(where, 3, "rms", rms) }
  samples.same_length(where, "size", columns[1], "lr", columns[2])
  samples.same_length(where, "size", columns[1], "rms", columns[3])
  local rows, y = {}, {}
  for i = 1, #columns[1] do
    for k, name in ipairs { "size", "lr", "rms" } do
      if not (columns[k][i] > 0) then
        fail(where, k, "%s[%d] is %.14g, wanted > 0", name, i, columns[k][i])
      end
    end
    rows[i] = { 1.0, math.log(columns[1][i]), math.log(columns[2][i]) }
    y[i] = math.log(columns[3][i])
  end
  local solved = #rows >= 3 and least_squares.solve(rows, y)
  if not solved then
    fail(where, 1, "%d points of one size or one learning rate do not determine both exponents",
      #rows)
  end
  local a, b, c = table.unpack(solved.beta)
  local unit = #rows > 3 and solved.rss / (#rows - 3) or samples.nan
  local function predict(n, rate) return math.exp(a + b * math.log(n) + c * math.log(rate)) end
  local function meets(rate)
    if b < 0 then return math.exp((math.log(eps) - a - c * math.log(rate)) / b) end
  end
  return { size_exponent = b, size_stderr = math.sqrt(unit * solved.covariance[2][2]),
    lr_exponent = c, lr_stderr = math.sqrt(unit * solved.covariance[3][3]), predict = predict,
    meets = meets }
end

return analysis
