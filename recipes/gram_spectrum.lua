--- Does the Gram matrix of one polynomial degree have the spectrum of Marchenko and Pastur?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local krr = ml.theory.krr

return recipe.define {
  name = "gram_spectrum",
  source = "Xiao et al. 2022 (arXiv 2205.14846), Section 3",
  params = {
    dim = { { 40, 14 }, "of the sphere, one panel each", min = 3 },
    degree = { { 2, 4 }, "of the polynomial, as many", min = 1, max = 10 },
    alpha = { { 0.5, 1.0 }, "samples over modes, as many", above = 0, max = 1 },
    bins = { 40, "of the histograms", min = 5 },
    seed = { 1, "of the points" },
  },
  smoke = { dim = { 40 }, degree = { 2 }, alpha = { 0.25 }, bins = 15 },
  full = { dim = { 150, 30, 14 }, degree = { 2, 3, 4 }, alpha = { 0.2, 0.5, 1.0 },
    seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local result = { low = {}, high = {}, square = {}, edge_low = {}, edge_high = {} }
    local panels = {}
    for i, d in ipairs(p.dim) do
      local alpha = p.alpha[i]
      local n = math.floor(alpha * krr.multiplicity(d, p.degree[i]) + 0.5)
      local x = ml.rng(p.seed):fold("points", i):normal { n, d }
      x = x / (x * x):sum { 2, keepdims = true }:sqrt()
      local G = krr.polynomial(x:matmul(x:transpose()):clamp(-1, 1), d, p.degree[i])
      local lambda = ml.solve.eigh(G)
      local low, high = (1 - math.sqrt(alpha)) ^ 2, (1 + math.sqrt(alpha)) ^ 2
      result.low[i], result.high[i] = lambda[1], lambda[n]
      result.edge_low[i], result.edge_high[i] = low, high
      result.square[i] = (lambda * lambda):mean():item()
      print(("degree %d, d = %d, n = %d: eigenvalues %.3f to %.3f (law: %.3f to %.3f), mean "
        .. "square %.3f (law: %.3f)"):format(p.degree[i], d, n, lambda[1], lambda[n], low, high,
        result.square[i], 1 + alpha))
      ctx:log { dim = d, degree = p.degree[i], alpha = alpha, low = lambda[1], high = lambda[n],
        square = result.square[i] }
      local grid, density = {}, {}
      for k = 0, 200 do
        local t = low + (high - low) * k / 200
        grid[k + 1] = t
        density[k + 1] = t > 0
          and math.sqrt(math.max(0, (high - t) * (t - low))) / (2 * math.pi * alpha * t) or 0 / 0
      end
      local edges, counts = {}, {}
      local width = 1.1 * high / p.bins
      for k = 1, p.bins do edges[k], counts[k] = (k - 0.5) * width, 0 end
      for _, value in ipairs(lambda:totable()) do
        local k = math.min(p.bins, math.max(1, math.floor(value / width) + 1))
        counts[k] = counts[k] + 1 / (n * width)
      end
      panels[i] = ml.plot.lines { title = ("degree %d, d = %d"):format(p.degree[i], d),
        xlabel = "eigenvalue", ylabel = "density", legend = "inside",
        ylim = { 0, 1.6 * math.max(table.unpack(counts)) }, series = {
          { x = grid, y = density, label = "Marchenko and Pastur" },
          { x = edges, y = counts, points = true, label = "Gram matrix" } } }
    end
    ctx:figure("spectra", ml.plot.grid(panels))
    return result
  end,
  claims = {
    { name = "largest eigenvalue over the upper edge, first panel", kind = "calibrated",
      source = "Xiao et al. 2022, Section 3", expected = 1, tolerance = 0.08, seeds = 1,
      measure = function(r) return r.high[1] / r.edge_high[1] end },
    { name = "mean square over 1 + alpha, first panel", kind = "calibrated",
      source = "Xiao et al. 2022, Section 3", expected = 1, tolerance = 0.04, seeds = 1,
      measure = function(r, p) return r.square[1] / (1 + p.alpha[1]) end },
  },
}
