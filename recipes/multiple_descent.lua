--- How often does the test error of kernel regression rise and fall as the data grow?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local krr = ml.theory.krr

-- h(t) with h(1) = 1: levels of given energies, or the tangent kernel of a network with one hidden
-- layer.
local function kernel_of(p)
  if p.kernel == "levels" then
    local function h(t)
      local sum
      for k = 1, p.degrees do
        local part = krr.polynomial(t, p.dim, k) * p.ratio ^ -(k - 1)
        sum = sum and sum + part or part
      end
      return sum
    end
    return h
  end
  local act = p.kernel == "polynomial"
    and ml.kernel.act("polynomial", { coefficients = { 0.3, 1, 0.5, 0.3, 0.1 } })
    or ml.kernel.act(p.kernel)
  local wide = ml.kernel.dense { w_std = math.sqrt(2) }
  local h = krr.profile(ml.kernel.serial { wide, act, wide })
  local top = h(ml.ones { 1 })[1]
  return function(t) return h(t) / top end
end

-- The spectrum without its constant, and the ridge that what is left out adds.
local function spectrum_of(p, h)
  local all = krr.gegenbauer { kernel = h, dim = p.dim, degrees = math.max(p.degrees, 30) }
  local levels = {}
  for k = 2, #all do
    levels[k - 1] = { all[k].value, all[k].multiplicity, energy = all[k].energy }
  end
  return levels, math.max(0, all.rest)
end


local function near(peaks, wanted)
  local best = math.huge
  for _, q in ipairs(peaks) do best = math.min(best, math.abs(q.samples / wanted - 1)) end
  return best
end

-- The place of the largest value of a list over m within [low, high].
local function top_within(ms, list, low, high)
  local at
  for i, m in ipairs(ms) do
    if m >= low and m <= high and (not at or list[i] > list[at]) then at = i end
  end
  return at and ms[at]
end

-- Numbers of an independent calculation: d = 24, energies 32^-(k-1), powers k^-2, seven levels.
local known = { [0.0] = { { 8, 1.4022 }, { 24, 1.7864 }, { 48, 0.9715 }, { 110, 0.6796 },
  { 220, 0.7648 }, { 323, 0.9637 }, { 500, 0.6493 }, { 1000, 0.4101 }, { 1296, 0.3952 },
  { 2000, 0.4511 }, { 2917, 0.5750 }, { 4000, 0.4360 } },
  [0.001] = { { 24, 1.766 }, { 134, 0.651 }, { 325, 0.743 }, { 1296, 0.324 }, { 2917, 0.253 } },
  [0.01] = { { 24, 1.618 }, { 134, 0.588 }, { 325, 0.485 }, { 1296, 0.325 }, { 2917, 0.274 } } }

local function standard(p)
  return p.kernel == "levels" and p.dim == 24 and p.ratio == 32 and p.degrees == 7
    and p.noise == 0
end
local function bare(p) return standard(p) and p.ridge == 0 end
local function large(p) return bare(p) and p.more[#p.more] >= 4000 end

return recipe.define {
  name = "multiple_descent",
  source = "Xiao, Hu, Misiakiewicz, Lu & Pennington 2022 (arXiv 2205.14846)",
  params = {
    kernel = { "levels", "energies that fall by a factor a level, or the tangent kernel of a "
      .. "network with one hidden layer", choices = { "levels", "relu", "gelu", "erf",
      "polynomial" } },
    dim = { 24, "of the sphere that inputs are uniform on", min = 3 },
    degrees = { 7, "levels of the kernel, and of the target", min = 1, max = 60 },
    ratio = { 32.0, "of the energies of neighbouring levels", above = 1 },
    noise = { 0.0, "variance of the labels' noise", min = 0 },
    ridge = { 0.0, "in the unit of the kernel, which is about 1 at equal points", min = 0 },
    samples = { { 8, 16, 24, 30, 48, 75, 110, 134, 160, 220, 270, 325, 390, 500, 700, 1000 },
      "numbers of samples, ascending", min = 1 },
    draws = { 20, "training sets for these", min = 2 },
    more = { { 1296, 1700, 2000, 2400, 2917, 3400, 4000 }, "further numbers of samples",
      of = 1 },
    more_draws = { 3, "training sets for those", min = 2 },
    test = { 2000, "points to test on", min = 10 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { samples = { 8, 24, 48 }, draws = 6, more = { 60, 90 }, more_draws = 2, test = 200 },
  full = { draws = 50, more_draws = 10, seeds = { 1, 2, 3 } },
  estimate = function(p)
    local a, b = p.samples[#p.samples], p.more[#p.more] or 0
    local function draw(m) return m ^ 3 / 3 / 2e10 + m * m * 3e-7 + m * (p.test + 1000) * 1e-7 end
    return { bytes = 100e6 + 8 * 6 * math.max(a, b) ^ 2,
      seconds = 3 + p.draws * draw(a) + p.more_draws * draw(b) }
  end,
  run = function(p, ctx)
    local h = kernel_of(p)
    local spectrum, rest = spectrum_of(p, h)
    local powers = {}
    for k = 1, p.degrees do powers[k] = 1 / k ^ 2 end
    local theory = { spectrum = spectrum, target = powers, noise = p.noise,
      ridge = p.ridge + rest }
    local function simulate(samples, draws)
      return krr.simulate { kernel = h, dim = p.dim, target = powers, noise = p.noise,
        ridge = p.ridge, samples = samples, draws = draws, test = p.test, seed = p.seed }
    end
    local few = ctx:once("few", function() return simulate(p.samples, p.draws) end)
    local many = #p.more > 0 and ctx:once("many", function()
      return simulate(p.more, p.more_draws)
    end) or { test = {}, stderr = {}, bias = {}, variance = {} }
    local ms, found = {}, { test = {}, stderr = {}, bias = {}, variance = {} }
    for _, set in ipairs { { p.samples, few }, { p.more, many } } do
      for i, m in ipairs(set[1]) do
        ms[#ms + 1] = m
        for name, list in pairs(found) do list[#ms] = set[2][name][i] end
      end
    end
    theory.samples = ms
    local at = krr.predict(theory)
    local worst_few, worst_many = 0, 0
    print("       m   theory    limit  simulated            bias  variance")
    local limit = krr.asymptotic(theory)
    for i, m in ipairs(ms) do
      local off = math.abs(found.test[i] / at.test[i] - 1)
      if m < 100 then worst_few = math.max(worst_few, off)
      else worst_many = math.max(worst_many, off) end
      print(("%8d %8.4f %8.4f %10.4f +- %-6.4f %8.4f %9.4f"):format(m, at.test[i], limit.test[i],
        found.test[i], found.stderr[i], found.bias[i], found.variance[i]))
      ctx:log { step = m, theory = at.test[i], limit = limit.test[i], test = found.test[i],
        stderr = found.stderr[i], bias = found.bias[i], variance = found.variance[i] }
    end
    theory.low, theory.high, theory.samples = 2, math.max(2 * ms[#ms], 100), nil
    local peaks, troughs = krr.extrema(theory)
    for _, q in ipairs(peaks) do print(("peak   at m = %d: %.4f"):format(q.samples, q.test)) end
    for _, q in ipairs(troughs) do print(("trough at m = %d: %.4f"):format(q.samples, q.test)) end
    -- the picture: lines of theory, points of simulation, a dashed line where each level is learned
    local grid = {}
    for i = 0, 160 do
      grid[i + 1] = 10 ^ (math.log(ms[1] / 1.5, 10) + i / 160 * math.log(2.2 * ms[#ms] / ms[1], 10))
    end
    theory.samples, theory.low, theory.high = grid, nil, nil
    local line, far = krr.predict(theory), krr.asymptotic(theory)
    local references, count = {}, 0
    for k, level in ipairs(spectrum) do
      count = count + level[2]
      if count < 2 * ms[#ms] and level.energy > 1e-9 then
        references[#references + 1] = { x = count, label = ("degree %d"):format(k) }
      end
    end
    ctx:figure("descents", ml.plot.lines { log = "x", xlabel = "samples",
      ylabel = "mean squared error", title = ("%s, d = %d, noise %g, ridge %g"):format(p.kernel,
      p.dim, p.noise, p.ridge), references = references, legend = "inside", series = {
        { x = grid, y = line.test, label = "theory" },
        { x = grid, y = far.test, label = "limit of separate levels", dash = true },
        { x = grid, y = line.bias, label = "theory: bias" },
        { x = ms, y = found.bias, points = true, label = "simulated: bias" },
        { x = ms, y = found.test, yerr = found.stderr, points = true, label = "simulated" } } })
    local result = { samples = ms, test = found.test, stderr = found.stderr, bias = found.bias,
      variance = found.variance, theory = at.test, limit = limit.test, worst_few = worst_few,
      worst_many = worst_many, peaks = peaks, troughs = troughs }
    -- against known numbers
    local numbers = standard(p) and known[p.ridge]
    if numbers then
      result.known = 0
      for _, pair in ipairs(numbers) do
        theory.samples = pair[1]
        result.known = math.max(result.known, math.abs(krr.predict(theory).test / pair[2] - 1))
      end
    end
    if bare(p) then
      result.peak1 = top_within(ms, found.test, 8, 100)
      result.peak2 = top_within(ms, found.test, 134, 1000)
      result.peak3 = top_within(ms, found.test, 1296, 4000)
      result.theory_peaks = math.max(near(peaks, 24) / 0.05, near(peaks, 325), near(peaks, 2917))
    end
    local function value(m)
      for i, n in ipairs(ms) do if n == m then return found.test[i] end end
    end
    local rise = math.huge
    for _, pair in ipairs { { 134, 325 }, { 1296, 2917 } } do
      local low, high = value(pair[1]), value(pair[2])
      if low and high then rise = math.min(rise, 1 - low / high) end
    end
    result.rise = rise < math.huge and rise or 0 / 0
    return result
  end,
  claims = {
    { name = "theory against an independent calculation, largest relative difference",
      kind = "exact", source = "Canatar, Bordelon & Pehlevan 2021", at_most = 1e-3,
      when = function(p) return standard(p) and known[p.ridge] ~= nil end,
      measure = function(r) return r.known end },
    { name = "simulated error over theory, largest difference below 100 samples",
      kind = "calibrated", source = "Xiao et al. 2022, Figure 1", at_most = 0.15, seeds = 3,
      when = bare, measure = function(r) return r.worst_few end },
    { name = "the same from 100 samples on", kind = "calibrated",
      source = "Xiao et al. 2022, Figure 1", at_most = 0.07, seeds = 3, when = large,
      measure = function(r) return r.worst_many end },
    { name = "first peak of the simulation", kind = "calibrated",
      source = "Xiao et al. 2022, Theorem 1", expected = 24, tolerance = 6, seeds = 3,
      when = bare, measure = function(r) return r.peak1 or 0 / 0 end },
    { name = "second peak of the simulation, near d^2/2", kind = "calibrated",
      source = "Xiao et al. 2022, Theorem 1", expected = 325, tolerance = 39, seeds = 3,
      when = large, measure = function(r) return r.peak2 or 0 / 0 end },
    { name = "third peak of the simulation, near d^3/6", kind = "calibrated",
      source = "Xiao et al. 2022, Theorem 1", expected = 2917, tolerance = 350, seeds = 3,
      when = large, measure = function(r) return r.peak3 or 0 / 0 end },
    { name = "troughs below the peaks that follow them, least share", kind = "calibrated",
      source = "Xiao et al. 2022, Figure 1", at_least = 0.25, seeds = 3, when = large,
      measure = function(r) return r.rise end },
  },
}
