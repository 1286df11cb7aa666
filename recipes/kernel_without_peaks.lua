--- Does theory foretell the learning curve of an ordinary kernel with noisy labels?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local krr = ml.theory.krr

-- Of an independent calculation: tangent kernel of one hidden ReLU layer, h(1) = 1, d = 24, powers
-- 1, .5, .25, .1, noise 0.1, ridge 1e-4.
local known = { { 16, 1.642 }, { 40, 1.334 }, { 90, 1.053 }, { 200, 0.848 }, { 350, 0.728 },
  { 700, 0.574 }, { 1200, 0.481 } }

return recipe.define {
  name = "kernel_without_peaks",
  source = "Xiao et al. 2022 (arXiv 2205.14846); Bordelon, Canatar & Pehlevan 2020",
  params = {
    dim = { 24, "of the sphere that inputs are uniform on", min = 3 },
    hidden = { 1, "ReLU layers of the network behind the tangent kernel", min = 1 },
    powers = { { 1.0, 0.5, 0.25, 0.1 }, "of the target's degrees 1, 2, ...", min = 0 },
    noise = { 0.1, "variance of the labels' noise", min = 0 },
    ridge = { 1e-4, "in the unit of the kernel, which is 1 at equal points", min = 0 },
    samples = { { 16, 40, 90, 200, 350, 700, 1200 }, "numbers of samples, ascending", min = 1 },
    draws = { 8, "training sets", min = 2 },
    test = { 2000, "points to test on", min = 10 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { samples = { 16, 40 }, draws = 4, test = 200 },
  full = { draws = 30, seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local wide, layers = ml.kernel.dense { w_std = math.sqrt(2) }, {}
    for _ = 1, p.hidden do
      layers[#layers + 1] = wide
      layers[#layers + 1] = ml.kernel.act "relu"
    end
    layers[#layers + 1] = wide
    local profile = krr.profile(ml.kernel.serial(layers))
    local top = profile(ml.ones { 1 })[1]
    local function h(t) return profile(t) / top end
    local spectrum = krr.gegenbauer { kernel = h, dim = p.dim, degrees = 60 }
    local target = { 0, table.unpack(p.powers) }
    local theory = { spectrum = spectrum, target = target, noise = p.noise,
      ridge = p.ridge + math.max(0, spectrum.rest), samples = p.samples }
    local at = krr.predict(theory)
    local found = ctx:once("simulation", function()
      return krr.simulate { kernel = h, dim = p.dim, target = p.powers, noise = p.noise,
        ridge = p.ridge, samples = p.samples, draws = p.draws, test = p.test, seed = p.seed }
    end)
    local worst, falling = 0, 1
    for i, m in ipairs(p.samples) do
      worst = math.max(worst, math.abs(found.test[i] / at.test[i] - 1))
      if i > 1 and found.test[i] > found.test[i - 1] then falling = 0 end
      print(("%6d  theory %.4f  simulated %.4f +- %.4f"):format(m, at.test[i], found.test[i],
        found.stderr[i]))
      ctx:log { step = m, theory = at.test[i], test = found.test[i], stderr = found.stderr[i] }
    end
    local grid = {}
    for i = 0, 100 do
      grid[i + 1] = p.samples[1] / 2 * (4 * p.samples[#p.samples] / p.samples[1]) ^ (i / 100)
    end
    theory.samples = grid
    local line = krr.predict(theory)
    local learned = {}
    for k = 2, math.min(6, #target) do
      local y = {}
      for i, L in ipairs(line.learnability) do y[i] = L[k] end
      learned[#learned + 1] = { x = grid, y = y, label = ("degree %d"):format(k - 1) }
    end
    ctx:figure("curve", ml.plot.lines { log = "xy", xlabel = "samples",
      ylabel = "mean squared error", legend = "inside", title = "an ordinary kernel", series = {
        { x = grid, y = line.test, label = "theory" },
        { x = p.samples, y = found.test, yerr = found.stderr, points = true,
          label = "simulated" } } })
    ctx:figure("learned", ml.plot.lines { log = "x", xlabel = "samples", ylabel = "learnability",
      title = "what is learned when", series = learned })
    local result = { test = found.test, stderr = found.stderr, theory = at.test, worst = worst,
      falling = falling, known = 0 }
    for _, pair in ipairs(known) do
      theory.samples = pair[1]
      result.known = math.max(result.known, math.abs(krr.predict(theory).test / pair[2] - 1))
    end
    return result
  end,
  claims = {
    { name = "theory against an independent calculation, largest relative difference",
      kind = "exact", source = "Bordelon, Canatar & Pehlevan 2020", at_most = 1e-3,
      when = function(p)
        return p.dim == 24 and p.hidden == 1 and p.noise == 0.1 and p.ridge == 1e-4
      end, measure = function(r) return r.known end },
    { name = "simulated error over theory, largest difference", kind = "calibrated",
      source = "Bordelon, Canatar & Pehlevan 2020", at_most = 0.08, seeds = 3,
      when = function(p) return p.draws >= 8 end, measure = function(r) return r.worst end },
    { name = "the error falls all the way (1 yes)", kind = "calibrated",
      source = "Xiao et al. 2022, Section 4", expected = 1, tolerance = 0, seeds = 3,
      when = function(p) return p.draws >= 8 end, measure = function(r) return r.falling end },
  },
}
