--- Compute-optimal fronts of a family of loss curves.
local core = require "moonlab.core"
local options = require "moonlab.options"

local theory = require "moonlab.plrf.theory"

local front = {}

-- The sizes, ascending, and the values of compute.
local function grid(where, opts)
  local sizes = theory.numbers(where, 0, "option 'sizes'", opts.sizes, true)
  local flops = theory.numbers(where, 0, "option 'flops'", opts.flops, true)
  for k = 2, #sizes do
    if not (sizes[k] > sizes[k - 1]) then
      options.bad(where, 0, "option 'sizes' goes from %g to %g, wanted ascending sizes",
        sizes[k - 1], sizes[k])
    end
  end
  return sizes, flops
end

-- Slope of y on x by least squares, and its standard error.
local function line(x, y)
  local n, mx, my = #x, 0, 0
  for i = 1, n do mx, my = mx + x[i] / n, my + y[i] / n end
  local sxx, sxy = 0, 0
  for i = 1, n do
    sxx, sxy = sxx + (x[i] - mx) ^ 2, sxy + (x[i] - mx) * (y[i] - my)
  end
  local slope, rest = sxy / sxx, 0
  for i = 1, n do rest = rest + (y[i] - my - slope * (x[i] - mx)) ^ 2 end
  return slope, n > 2 and math.sqrt(rest / (n - 2) / sxx) or 0 / 0
end

-- Least-squares parabola through (x, y): its vertex and value there; nil where it opens downwards.
local function vertex(x, y)
  local n = #x
  local mean = 0
  for i = 1, n do mean = mean + x[i] / n end
  local m = { 0, 0, 0, 0, [0] = n }
  local t = { 0, 0, [0] = 0 }
  for i = 1, n do
    local u = x[i] - mean
    for k = 1, 4 do m[k] = m[k] + u ^ k end
    for k = 0, 2 do t[k] = t[k] + y[i] * u ^ k end
  end
  local function det(a, b, c, p, q, r, u, v, w)
    return a * (q * w - r * v) - b * (p * w - r * u) + c * (p * v - q * u)
  end
  local D = det(m[0], m[1], m[2], m[1], m[2], m[3], m[2], m[3], m[4])
  local c0 = det(t[0], m[1], m[2], t[1], m[2], m[3], t[2], m[3], m[4]) / D
  local c1 = det(m[0], t[0], m[2], m[1], t[1], m[3], m[2], t[2], m[4]) / D
  local c2 = det(m[0], m[1], t[0], m[1], m[2], t[1], m[2], m[3], t[2]) / D
  if not (c2 > 0) then return nil end
  return mean - c1 / (2 * c2), c0 - c1 * c1 / (4 * c2)
end

--- ml.plrf.envelope{ flops =, sizes =, loss =, approach =, window = }
--- The compute-optimal front of a family of curves: for each f the best size, then the two log-log
--- fits. Values of f whose best size is the first or the last are skipped.
--- @param opts.flops table of numbers
--- @param opts.sizes table of sizes d, ascending
--- @param opts.loss table loss[k][i] of size k at flops i, NaN where there is none
--- @param opts.approach integer =2 IsoFLOP parabolas in log d; 1 the lower envelope on the grid
--- @param opts.window number =0 of the parabola: the sizes within this factor of the best, at least
--- its neighbours
--- @return table { eta, xi, eta_stderr, xi_stderr, flops, loss, size (of the points used) }
--- @source Hoffmann et al. 2022, approaches 1 and 2
function front.envelope(opts)
  local where = "plrf.envelope"
  options.required(where, opts, { "flops", "sizes", "loss", "approach", "window" })
  local sizes, flops = grid(where, opts)
  local loss = options.field(where, opts, "loss", "table")
  for k = 1, #sizes do
    for i = 1, #flops do
      if type(loss[k]) ~= "table" or type(loss[k][i]) ~= "number" then
        options.bad(where, 0, "option 'loss' has no number at [%d][%d], wanted %d lists of %d", k,
          i, #sizes, #flops)
      end
    end
  end
  local approach = options.choice(where, opts, "approach", { 1, 2 }, 2)
  local window = options.field(where, opts, "window", "number", 0)
  local used = { flops = {}, loss = {}, size = {} }
  local lf, lp, ld = {}, {}, {}
  for i, f in ipairs(flops) do
    local best
    for k = 1, #sizes do
      local p = loss[k][i]
      if p == p and p > 0 and (not best or p < loss[best][i]) then best = k end
    end
    local function there(k) return loss[k] and loss[k][i] == loss[k][i] and loss[k][i] > 0 end
    if best and there(best - 1) and there(best + 1) then
      local d, p = math.log(sizes[best]), math.log(loss[best][i])
      if approach == 2 then
        local x, y = {}, {}
        for k = 1, #sizes do
          if there(k) and (math.abs(k - best) <= 1 or (window > 1
            and math.abs(math.log(sizes[k] / sizes[best])) <= math.log(window) + 1e-9)) then
            x[#x + 1], y[#y + 1] = math.log(sizes[k]), math.log(loss[k][i])
          end
        end
        d, p = vertex(x, y)
      end
      if d then
        local n = #lf + 1
        lf[n], lp[n], ld[n] = math.log(f), p, d
        used.flops[n], used.loss[n], used.size[n] = f, math.exp(p), math.exp(d)
      end
    end
  end
  if #lf < 3 then
    options.bad(where, 0,
      "only %d of %d values of f have their best size inside the grid, wanted 3", #lf, #flops)
  end
  local eta, eta_stderr = line(lf, lp)
  local xi, xi_stderr = line(lf, ld)
  used.eta, used.eta_stderr, used.xi, used.xi_stderr = -eta, eta_stderr, xi, xi_stderr
  return used
end

-- Losses of one draw of W at r >= 12, a list for each of `runs` runs of SGD; the exact expected
-- loss, once, without runs. Between whole steps it is interpolated in log r.
local function of_one_draw(draw, norm, batch, steps, runs, seed)
  local sum, v = 0, draw.v or draw.W:size(1)
  for j = 1, v do sum = sum + j ^ (-2 * draw.alpha) end
  local problem = require "moonlab.plrf".problem(draw)
  problem:release()
  local list, index = {}, {}
  for _, r in ipairs(steps) do
    for whole = math.floor(r), math.floor(r) + 1 do
      if not index[whole] then
        list[#list + 1] = whole
        index[whole] = #list
      end
    end
  end
  local o = { gamma = 2 * norm / sum, batch = batch, steps = list }
  local curves
  if runs > 0 then
    table.sort(list)
    for k, r in ipairs(list) do index[r] = k end
    o.runs, o.seed = runs, seed
    curves = problem:sgd(o).risk:totable()
  else
    curves = { problem:expected(o):totable() }
  end
  local rows = {}
  for k, P in ipairs(curves) do
    rows[k] = {}
    for n, r in ipairs(steps) do
      local low = math.floor(r)
      local t = math.log(r / low) / math.log((low + 1) / low)
      rows[k][n] = math.exp((1 - t) * math.log(P[index[low]]) + t * math.log(P[index[low + 1]]))
    end
  end
  return rows
end

--- ml.plrf.front{ alpha =, beta =, sizes =, flops =, ratio =, v =, norm =, batch =, approach =,
---   window =, draws =, nested =, runs =, seed =, resamples = }
--- The compute-optimal front with compute f = r B d: of the deterministic equivalent, or averaged
--- over draws of W, of their exact curves or of runs of SGD, with a bootstrap over draws and runs.
--- @param opts.alpha number decay of the spectrum, >= 0
--- @param opts.beta number decay of the target, may be negative
--- @param opts.sizes table of sizes d, ascending
--- @param opts.flops table of numbers
--- @param opts.ratio number =4 (2 below alpha = 1/2): v = ratio d
--- @param opts.v integer the same v for all sizes instead
--- @param opts.norm number =0.25 gamma = 2 norm / sum j^(-2 alpha)
--- @param opts.batch integer =1 samples an update, >= 1
--- @param opts.approach integer =2 see ml.plrf.envelope
--- @param opts.window number =0 see ml.plrf.envelope
--- @param opts.draws integer =0 draws of W for each size
--- @param opts.nested boolean =false the W of all sizes are leading blocks of one matrix, scaled to
--- variance 1/d: xi scatters less between draws, eta more
--- @param opts.runs integer =0 runs of SGD for each draw in place of its exact curve
--- @param opts.seed integer =1 of every draw
--- @param opts.resamples integer =200 of the bootstrap
--- @return table as ml.plrf.envelope, with curves [k][i], predicted (ml.plrf.phase), and with draws
--- or runs the bootstrap's eta_stderr, xi_stderr
--- @source Paquette et al. 2024
function front.front(opts)
  local where = "plrf.front"
  options.required(where, opts, { "alpha", "beta", "sizes", "flops", "ratio", "v", "norm", "batch",
    "approach", "window", "draws", "nested", "runs", "seed", "resamples" })
  local plrf = require "moonlab.plrf"
  local alpha, beta = options.field(where, opts, "alpha", "number"),
    options.field(where, opts, "beta", "number")
  local sizes, flops = grid(where, opts)
  for i = 2, #flops do
    if not (flops[i] > flops[i - 1]) then
      options.bad(where, 0, "option 'flops' goes from %g to %g, wanted ascending values",
        flops[i - 1], flops[i])
    end
  end
  for k, d in ipairs(sizes) do
    if not math.tointeger(d) then
      options.bad(where, 0, "option 'sizes': value %d is %g, wanted an integer", k, d)
    end
  end
  local ratio = options.field(where, opts, "ratio", "number", alpha < 0.5 and 2 or 4)
  local norm = options.field(where, opts, "norm", "number", 0.25)
  if not (norm > 0 and norm < 1) then
    options.bad(where, 0, "option 'norm' is %g, wanted a number in (0, 1)", norm)
  end
  if not (ratio >= 1 and ratio < math.huge) then
    options.bad(where, 0, "option 'ratio' is %g, wanted a number >= 1", ratio)
  end
  if opts.v ~= nil then options.field(where, opts, "v", "integer") end
  local batch = options.range(where, "batch", options.field(where, opts, "batch", "integer", 1), 1)
  local draws = options.range(where, "draws", options.field(where, opts, "draws", "integer", 0), 0)
  local seed = options.field(where, opts, "seed", "integer", 1)
  local nested = options.field(where, opts, "nested", "boolean", false)
  local runs = options.range(where, "runs", options.field(where, opts, "runs", "integer", 0), 0)
  if draws == 0 and (nested or runs > 0) then
    options.bad(where, 0, "option '%s' wants draws of W: draws >= 1",
      nested and "nested" or "runs")
  end
  local function rows_of(d) return opts.v or math.floor(ratio * d + 0.5) end
  -- The draw of W for size number k: a seed of its own, or a block of the matrix of all sizes.
  local function problem_of(k, draw)
    local d, o = sizes[k], { alpha = alpha, beta = beta }
    if not nested then
      o.v, o.d = rows_of(d), d
      o.seed = core.rng(seed):fold("front", k * 10007 + draw):integers(1, 2 ^ 31, { 1 })[1]
      return o
    end
    local most = sizes[#sizes]
    local whole = core.rng(seed):fold("front nested", draw):normal { rows_of(most), most }
    o.W = whole[{ { 1, rows_of(d) }, { 1, d } }] / math.sqrt(d)
    return o
  end
  local samples = {} -- [k][draw][run][i]
  for k, d in ipairs(sizes) do
    local v = rows_of(d)
    local steps, at = {}, {}
    for i, f in ipairs(flops) do
      local r = f / (d * batch)
      if r >= 12 and r <= 1e15 then steps[#steps + 1], at[#at + 1] = r, i end
    end
    samples[k] = {}
    for draw = 1, math.max(1, draws) do
      local found
      if #steps > 0 and draws == 0 then
        local det = plrf.deterministic { alpha = alpha, beta = beta, v = v, d = d,
          bins = v > 2000 }
        found = { det:risk { gamma = det:rate { norm = norm }, batch = batch, steps = steps } }
      elseif #steps > 0 then
        found = core.scope(function()
          return of_one_draw(problem_of(k, draw), norm, batch, steps, runs, seed + draw)
        end)
      end
      local rows = {}
      for run = 1, math.max(1, runs) do
        rows[run] = {}
        for i = 1, #flops do rows[run][i] = 0 / 0 end
        for n, i in ipairs(found and at or {}) do rows[run][i] = found[run][n] end
      end
      samples[k][draw] = rows
    end
  end
  local function average(pick)
    local curves = {}
    for k in ipairs(sizes) do
      curves[k] = {}
      for i = 1, #flops do
        local sum, count = 0, 0
        for draw = 1, #samples[k] do
          local rows = samples[k][pick(k, draw)]
          for run = 1, #rows do
            sum, count = sum + rows[pick(k, draw, run)][i], count + 1
          end
        end
        curves[k][i] = sum / count
      end
    end
    return curves
  end
  local function fit(curves)
    return front.envelope { flops = flops, sizes = sizes, loss = curves, approach = opts.approach,
      window = opts.window }
  end
  local curves = average(function(_, draw, run) return run or draw end)
  local result = fit(curves)
  result.curves, result.predicted = curves, plrf.phase(alpha, beta)
  if draws > 1 or runs > 1 then
    local g = core.rng(seed):fold("front bootstrap")
    local n, sum, sum2 = 0, { 0, 0 }, { 0, 0 }
    for _ = 1, opts.resamples or 200 do
      -- draws that span all sizes are drawn for all of them at once
      local picks = g:integers(1, draws, { nested and 1 or #sizes, draws }):totable()
      local inner = runs > 1 and g:integers(1, runs, { #sizes, draws, runs }):totable()
      local ok, again = pcall(fit, average(function(k, draw, run)
        if run then return inner and inner[k][draw][run] or 1 end
        return picks[nested and 1 or k][draw]
      end))
      if ok then
        n = n + 1
        for j, value in ipairs { again.eta, again.xi } do
          sum[j], sum2[j] = sum[j] + value, sum2[j] + value * value
        end
      end
    end
    local function deviation(j)
      return math.sqrt(math.max(0, (sum2[j] - sum[j] ^ 2 / n) / (n - 1)))
    end
    result.eta_stderr, result.xi_stderr, result.resamples = deviation(1), deviation(2), n
  end
  return result
end

--- ml.plrf.local_slopes(x, y)
--- -d log y / d log x between neighbours, at the geometric means of x.
--- @param x table of numbers > 0
--- @param y table of numbers > 0
--- @return table x
--- @return table slopes
--- @source -
function front.local_slopes(x, y)
  theory.numbers("plrf.local_slopes", 1, "x", x, true)
  theory.numbers("plrf.local_slopes", 2, "y", y, true)
  if #x ~= #y then
    options.bad("plrf.local_slopes", 2, "%d values for %d places", #y, #x)
  end
  local at, slopes = {}, {}
  for i = 2, #x do
    at[i - 1] = math.sqrt(x[i] * x[i - 1])
    slopes[i - 1] = -math.log(y[i] / y[i - 1]) / math.log(x[i] / x[i - 1])
  end
  return at, slopes
end

return front
