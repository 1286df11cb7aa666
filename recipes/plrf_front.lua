--- How do the best loss and the best size of a random-features model grow with compute?
local ml, recipe = require "moonlab", require "moonlab.recipe"

local function geometric(low, high, n)
  local list = {}
  for i = 1, n do list[i] = low * (high / low) ^ ((i - 1) / (n - 1)) end
  return list
end

local function half_octaves(first, count)
  local list = {}
  for k = 0, count - 1 do list[k + 1] = math.floor(first * 2 ^ (k / 2) + 0.5) end
  return list
end

return recipe.define {
  name = "plrf_front",
  source = "Paquette, Paquette, Xiao & Pennington 2024, Figures 1 and 4",
  params = {
    alpha = { 0.7, "decay of the data", above = 0 },
    beta = { 0.7, "decay of the target" },
    octaves = { 21, "sizes d = 50 * 2^(k/2), k = 0 .. octaves - 1", min = 5 },
    points = { 21, "values of compute", min = 3 },
    low = { 1e6, "least compute f = r B d", above = 0 },
    high = { 1e8, "largest compute", above = 0 },
    far_low = { 1e12, "least compute of the far window", above = 0 },
    far_high = { 1e15, "largest compute of the far window", above = 0 },
    far_octaves = { 41, "sizes of the far window", min = 5 },
    draws = { 10, "draws of W for each size of the finite front", min = 2 },
    finite_octaves = { 10, "sizes of the finite front", min = 5 },
    finite_low = { 5e4, "least compute of the finite front", above = 0 },
    finite_high = { 2e6, "largest compute of the finite front", above = 0 },
    seed = { 1, "every stream derives from it", min = 0 },
  },
  smoke = { points = 7, draws = 2 },
  full = { points = 41, draws = 12, seeds = { 1, 2, 3 } },
  estimate = function(p)
    local draws, largest = 0, 50 * 2 ^ ((p.finite_octaves - 1) / 2)
    for k = 0, p.finite_octaves - 1 do
      local d = 50 * 2 ^ (k / 2)
      draws = draws + p.draws * (14 * d ^ 3 / 5e10 + 1e-6 * d * p.points)
    end
    return { bytes = 20e6 + 8 * 24 * largest ^ 2,
      seconds = 0.5 + draws + 1e-4 * (p.octaves + p.far_octaves) * p.points }
  end,
  run = function(p, ctx)
    local function front(sizes, flops, draws)
      return ml.plrf.front { alpha = p.alpha, beta = p.beta, sizes = sizes, flops = flops,
        draws = draws, seed = p.seed }
    end
    local sizes, flops = half_octaves(50, p.octaves), geometric(p.low, p.high, p.points)
    local near = front(sizes, flops)
    local far = front(half_octaves(50, p.far_octaves),
      geometric(p.far_low, p.far_high, p.points))
    local few = half_octaves(50, p.finite_octaves)
    local budget = geometric(p.finite_low, p.finite_high, p.points)
    local finite, same = front(few, budget, p.draws), front(few, budget)

    local isoflop, curves = {}, {}
    for i = 1, p.points, math.max(1, p.points // 6) do
      local x, y = {}, {}
      for k, d in ipairs(sizes) do
        if near.curves[k][i] == near.curves[k][i] then
          x[#x + 1], y[#y + 1] = d, near.curves[k][i]
        end
      end
      isoflop[#isoflop + 1] = { x = x, y = y, value = flops[i], markers = false,
        optimum = { x = near.size[i], y = near.loss[i] } }
    end
    ctx:figure("isoflop", ml.plot.lines { title = "loss at fixed compute", xlabel = "parameters d",
      ylabel = "loss", log = "xy", sequential = true, zlabel = "compute r B d",
      series = isoflop })
    for k = 1, #sizes, 3 do
      curves[#curves + 1] = { x = flops, y = near.curves[k], value = sizes[k], markers = false }
    end
    curves[#curves + 1] = { x = near.flops, y = near.loss, colour = "#000000", dash = false,
      markers = false, label = ("front, slope %.3f (predicted %.3f)"):format(-near.eta,
        -near.predicted.eta) }
    ctx:figure("front", ml.plot.lines { title = "compute-optimal front", xlabel = "compute r B d",
      ylabel = "loss", log = "xy", sequential = true, zlabel = "parameters d",
      series = curves })
    ctx:figure("size", ml.plot.lines { title = "best size", xlabel = "compute r B d",
      ylabel = "parameters d", log = "xy", series = {
        { x = near.flops, y = near.size, label = ("slope %.3f (predicted %.3f)"):format(near.xi,
          near.predicted.xi) } } })
    print(("phase %s, predicted eta %.4f, xi %.4f; eta, xi measured: %.4f, %.4f near; %.4f, %.4f "
      .. "far; %.3f +- %.3f, %.3f +- %.3f from %d draws of W each (%.3f, %.3f deterministic)")
      :format(near.predicted.name, near.predicted.eta, near.predicted.xi, near.eta, near.xi,
      far.eta, far.xi, finite.eta, finite.eta_stderr, finite.xi, finite.xi_stderr, p.draws,
      same.eta, same.xi))
    return { eta = near.eta, xi = near.xi, far_eta = far.eta, far_xi = far.xi,
      finite_eta = finite.eta - same.eta, finite_eta_stderr = finite.eta_stderr,
      finite_xi = finite.xi - same.xi, finite_xi_stderr = finite.xi_stderr }
  end,
  claims = {
    { name = "eta at f = 1e6..1e8", kind = "calibrated", seeds = 1, expected = 0.62,
      tolerance = 0.01, measure = function(r) return r.eta end },
    { name = "xi at f = 1e6..1e8", kind = "calibrated", seeds = 1, expected = 0.50,
      tolerance = 0.02, measure = function(r) return r.xi end },
    { name = "eta at f = 1e12..1e15", kind = "calibrated", seeds = 1, expected = 0.639,
      tolerance = 0.005, measure = function(r) return r.far_eta end },
    { name = "xi at f = 1e12..1e15", kind = "calibrated", seeds = 1, expected = 0.504,
      tolerance = 0.01, measure = function(r) return r.far_xi end },
    { name = "eta from draws of W less the deterministic one", kind = "calibrated", seeds = 3,
      expected = 0, tolerance = 0.06,
      measure = function(r) return r.finite_eta, r.finite_eta_stderr end },
    { name = "xi from draws of W less the deterministic one", kind = "calibrated", seeds = 3,
      expected = 0, tolerance = 0.12,
      measure = function(r) return r.finite_xi, r.finite_xi_stderr end },
  },
}
