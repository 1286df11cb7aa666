--- How many samples does a kernel save that looks at patches of its input one by one?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local krr = ml.theory.krr

-- Of an independent calculation: d = 10, four patches, energies 32^-(k-1), powers k^-2, k = 1..5.
local known = { { 20, 1.333 }, { 40, 1.621 }, { 80, 0.876 }, { 130, 0.697 }, { 200, 0.769 },
  { 256, 0.862 }, { 350, 0.631 }, { 600, 0.389 } }

return recipe.define {
  name = "local_kernel",
  source = "Xiao et al. 2022 (arXiv 2205.14846), convolutional kernels",
  params = {
    dim = { 10, "of the sphere of each patch", min = 3 },
    patches = { 4, "of an input", min = 1 },
    degrees = { 5, "levels of the kernel, and of the target", min = 1, max = 20 },
    ratio = { 32.0, "of the energies of neighbouring levels", above = 1 },
    samples = { { 20, 30, 40, 52, 80, 130, 200, 256, 310, 350, 600 },
      "numbers of samples, ascending", min = 1 },
    draws = { 10, "training sets", min = 2 },
    test = { 2000, "points to test on", min = 10 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { samples = { 20, 40, 80 }, draws = 4, test = 200 },
  full = { draws = 40, seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local function h(t)
      local sum
      for k = 1, p.degrees do
        local part = krr.polynomial(t, p.dim, k) * p.ratio ^ -(k - 1)
        sum = sum and sum + part or part
      end
      return sum
    end
    local spectrum, powers, counts, count = {}, {}, {}, 0
    for k = 1, p.degrees do
      local n = krr.multiplicity(p.dim, k)
      spectrum[k] = { p.ratio ^ -(k - 1) / n / p.patches, p.patches * n }
      powers[k] = 1 / k ^ 2
      count = count + p.patches * n
      counts[k] = count
    end
    local theory = { spectrum = spectrum, target = powers, samples = p.samples }
    local at = krr.predict(theory)
    local found = ctx:once("simulation", function()
      return krr.simulate { kernel = h, dim = p.dim, patches = p.patches, target = powers,
        samples = p.samples, draws = p.draws, test = p.test, seed = p.seed }
    end)
    local worst = 0
    for i, m in ipairs(p.samples) do
      worst = math.max(worst, math.abs(found.test[i] / at.test[i] - 1))
      print(("%6d  theory %.4f  simulated %.4f +- %.4f"):format(m, at.test[i], found.test[i],
        found.stderr[i]))
      ctx:log { step = m, theory = at.test[i], test = found.test[i], stderr = found.stderr[i] }
    end
    local peaks = krr.extrema { spectrum = spectrum, target = powers, low = 2,
      high = 2 * p.samples[#p.samples] }
    local off = 0
    for k = 1, math.min(2, #peaks) do
      off = math.max(off, math.abs(peaks[k].samples / counts[k] - 1))
    end
    local grid, references = {}, {}
    for i = 0, 120 do
      grid[i + 1] = p.samples[1] / 2 * (4 * p.samples[#p.samples] / p.samples[1]) ^ (i / 120)
    end
    for k = 1, 2 do references[k] = { x = counts[k], label = ("degree %d"):format(k) } end
    theory.samples = grid
    local line = krr.predict(theory)
    -- one kernel on the whole input, whose levels are those of p d dimensions
    local whole, dim = {}, p.dim * p.patches
    for k = 1, p.degrees do
      local n = krr.multiplicity(dim, k)
      whole[k] = { p.ratio ^ -(k - 1) / n, n }
    end
    local global = krr.predict { spectrum = whole, target = powers, samples = grid }
    ctx:figure("curve", ml.plot.lines { log = "x", xlabel = "samples", legend = "inside",
      ylabel = "mean squared error", references = references,
      title = ("%d patches of %d dimensions"):format(p.patches, p.dim), series = {
        { x = grid, y = line.test, label = "theory, patches" },
        { x = grid, y = global.test, label = "theory, whole input", dash = true },
        { x = p.samples, y = found.test, yerr = found.stderr, points = true,
          label = "simulated, patches" } } })
    local result = { test = found.test, stderr = found.stderr, theory = at.test, worst = worst,
      peaks = peaks, off = off, known = 0, two_peaks = #peaks >= 2 }
    for _, pair in ipairs(known) do
      theory.samples = pair[1]
      result.known = math.max(result.known, math.abs(krr.predict(theory).test / pair[2] - 1))
    end
    return result
  end,
  claims = {
    { name = "theory against an independent calculation, largest relative difference",
      kind = "exact", source = "Xiao et al. 2022", at_most = 1e-3,
      when = function(p) return p.dim == 10 and p.patches == 4 and p.degrees == 5 end,
      measure = function(r) return r.known end },
    { name = "peaks of the theory at p N(d, <= r), largest relative difference of the first two",
      kind = "theory", source = "Xiao et al. 2022", at_most = 0.15,
      when = function(p) return p.samples[#p.samples] >= 256 end,
      measure = function(r) return r.two_peaks and r.off or 0 / 0 end },
    { name = "simulated error over theory, largest difference", kind = "calibrated",
      source = "Xiao et al. 2022", at_most = 0.1, seeds = 3,
      when = function(p) return p.draws >= 10 end, measure = function(r) return r.worst end },
  },
}
