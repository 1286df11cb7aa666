--- Does the deterministic equivalent tell where the target's energy lies in the spectrum of the
--- features?
local ml, recipe = require "moonlab", require "moonlab.recipe"

return recipe.define {
  name = "plrf_spectrum",
  source = "Paquette, Paquette, Xiao & Pennington 2024, Figure 3 and Appendix",
  params = {
    alpha = { 0.7, "decay of the data", above = 0 },
    beta = { 0.7, "decay of the target" },
    d = { 100, "parameters; v = 4 d", min = 2 },
    draws = { 100, "draws of W", min = 2 },
    seed = { 1, "every stream derives from it", min = 0 },
  },
  smoke = { d = 30, draws = 20 },
  full = { draws = 400, seeds = { 1, 2, 3 } },
  estimate = function(p) -- draws of W [4d,d] and H; products and reductions of 14 d^3 flops
    return { bytes = 20e6 + 8 * 20 * p.d ^ 2,
      seconds = 0.2 + p.draws * (1e-3 + 14 * p.d ^ 3 / 5e10) }
  end,
  run = function(p, ctx)
    local det = ml.plrf.deterministic { alpha = p.alpha, beta = p.beta, v = 4 * p.d, d = p.d }
    local places = { 0.5, 0.1, 0.03 }
    local grid = {}
    for i = 0, 40 do grid[i + 1] = 3 * (1e-4 / 3) ^ (i / 40) end
    local sums, squares, above = { 0, 0, 0 }, { 0, 0, 0 }, {}
    for i = 1, #grid do above[i] = 0 end
    for draw = 1, p.draws do
      local lambda, rho = ml.scope(function()
        local q = ml.plrf.problem { alpha = p.alpha, beta = p.beta, v = 4 * p.d, d = p.d,
          seed = p.seed * 1000003 + draw }
        return q.lambda, q.rho
      end)
      lambda, rho = lambda:totable(), rho:totable()
      local function mass(x)
        local sum = 0
        for k = 1, #lambda do if lambda[k] > x then sum = sum + rho[k] end end
        return sum
      end
      for i, x in ipairs(places) do
        local m = mass(x)
        sums[i], squares[i] = sums[i] + m, squares[i] + m * m
      end
      for i, x in ipairs(grid) do above[i] = above[i] + mass(x) / p.draws end
    end
    local worst = 0
    local theory = det:mass(places)
    for i = 1, 3 do
      local mean = sums[i] / p.draws
      local se = math.sqrt((squares[i] / p.draws - mean ^ 2) / (p.draws - 1))
      worst = math.max(worst, math.abs(mean - theory[i]) / se)
      ctx:log { above = places[i], mass = mean, stderr = se, deterministic = theory[i] }
    end
    local total, count = det:mass(det.kappa / 1000)
    ctx:figure("mass", ml.plot.lines { title = "energy in eigenvalues above x", xlabel = "x",
      ylabel = "energy", log = "xy", ylim = { 1e-4, 3 }, series = {
        { x = grid, y = above, label = ("mean of %d draws"):format(p.draws), points = true },
        { x = grid, y = det:mass(grid), label = "deterministic" } } })
    -- energy per unit of log x, in cells of the grid, which ends where the spectrum does
    local at, drawn, predicted, theirs = {}, {}, {}, det:mass(grid):totable()
    for i = 2, #grid do
      local width = math.log(grid[i - 1] / grid[i])
      at[i - 1] = math.sqrt(grid[i - 1] * grid[i])
      drawn[i - 1] = (above[i] - above[i - 1]) / width
      predicted[i - 1] = (theirs[i] - theirs[i - 1]) / width
    end
    ctx:figure("density", ml.plot.lines { title = "where the energy lies in the spectrum",
      xlabel = "eigenvalue", ylabel = "energy per unit of log", log = "xy", ylim = { 1e-5, 10 },
      series = {
        { x = at, y = drawn, label = ("mean of %d draws"):format(p.draws), points = true },
        { x = at, y = predicted, label = "deterministic" } } })
    return { z = worst, total = math.abs(total / (det.loss0 - det.F0) - 1),
      count = math.abs(count / p.d - 1) }
  end,
  claims = {
    { name = "energy above 0.5, 0.1, 0.03: standard errors from the mean over W",
      kind = "calibrated", seeds = 3, at_most = 4.5, measure = function(r) return r.z end },
    { name = "total energy is P(0) - F_0 (relative error)", kind = "exact", at_most = 1e-9,
      source = "Paquette et al. 2024, Section 3", measure = function(r) return r.total end },
    { name = "number of eigenvalues is d (relative error)", kind = "exact", at_most = 1e-9,
      source = "Paquette et al. 2024, Section 3", measure = function(r) return r.count end },
  },
}
