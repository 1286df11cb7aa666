--- Do measured compute-optimal exponents follow the table of phases, through the phases and at
--- reference points?
local ml, recipe = require "moonlab", require "moonlab.recipe"

-- alpha, beta, eta and xi measured at d = 25 * 2^(k/2), k = 0..16, f = 1e5..1e7 (21 points)
local references = {
  { 0.8, 0.2, 0.3792, 0.3911 }, { 0.9, 0.4, 0.5497, 0.3811 }, { 0.9, 0.6, 0.6460, 0.4166 },
  { 0.8, 0.8, 0.6778, 0.4944 }, { 0.6, 1.0, 0.5977, 0.5679 }, { 0.8, 1.4, 0.6963, 0.5190 },
  { 0.45, 0.3, 0.2233, 0.5004 }, { 0.45, 0.7, 0.4385, 0.5842 }, { 0.28, 0.7, 0.2518, 0.5564 },
  { 0.15, 0.8, 0.1171, 0.5211 },
}

-- alpha, beta, compute in decades, eta and xi measured there: a point of each phase, far out
local far = {
  { 1.0, 0.3, 12, 15, 0.532, 0.334 }, { 1.0, 0.7, 12, 15, 0.706, 0.410 },
  { 0.7, 0.6, 12, 15, 0.610, 0.470 }, { 0.7, 0.7, 12, 15, 0.639, 0.504 },
  { 0.7, 1.2, 12, 15, 0.641, 0.502 }, { 0.4, 0.3, 12, 15, 0.199, 0.499 },
  { 0.4, 0.8, 15, 18, 0.401, 0.506 }, { 0.27, 0.8, 12, 15, 0.300, 0.592 },
  { 0.2, 0.7, 17, 19, 0.217, 0.563 },
}

local function grid(first, octaves, low, high, points)
  local sizes, flops = {}, {}
  for k = 0, octaves - 1 do sizes[k + 1] = math.floor(first * 2 ^ (k / 2) + 0.5) end
  for i = 1, points do flops[i] = low * (high / low) ^ ((i - 1) / (points - 1)) end
  return sizes, flops
end

return recipe.define {
  name = "plrf_exponent_sweep",
  source = "Paquette, Paquette, Xiao & Pennington 2024, Figure 5",
  params = {
    alpha = { 0.7, "decay of the data", above = 0.5 },
    betas = { { 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2 },
      "decays of the target" },
    low_betas = { { -0.1, 0.0, 0.1, 0.2 }, "decays of hard targets, where eta = s/(2 alpha + 1)" },
    octaves = { 21, "sizes d = 50 * 2^(k/2)", min = 5 },
    far_octaves = { 63, "sizes of the points far out", min = 5 },
    low = { 1e6, "least compute", above = 0 },
    high = { 1e8, "largest compute", above = 0 },
    points = { 21, "values of compute", min = 3 },
    seed = { 1, "unused: nothing is random", min = 0 },
  },
  smoke = { betas = { 0.3, 0.9 }, low_betas = { 0.0, 0.2 }, points = 7 },
  full = { points = 81, seeds = { 1 } },
  estimate = function(p) -- a loss at one size and compute takes about 0.2 ms
    return { bytes = 20e6, seconds = 1 + 2e-4 * p.points
      * ((#p.betas + #p.low_betas) * p.octaves + #far * p.far_octaves) }
  end,
  run = function(p, ctx)
    local result = { eta = 0, xi = 0, monotone = 0, reference_eta = 0, reference_xi = 0 }
    local eta, xi, eta0, xi0 = {}, {}, {}, {}
    local sizes, flops = grid(50, p.octaves, p.low, p.high, p.points)
    for i, beta in ipairs(p.betas) do
      local f = ml.plrf.front { alpha = p.alpha, beta = beta, sizes = sizes, flops = flops }
      eta[i], xi[i], eta0[i], xi0[i] = f.eta, f.xi, f.predicted.eta, f.predicted.xi
      result.eta = math.max(result.eta, math.abs(eta[i] - eta0[i]))
      result.xi = math.max(result.xi, math.abs(xi[i] - xi0[i]))
      for k = 2, #f.size do
        if f.size[k] <= f.size[k - 1] then result.monotone = result.monotone + 1 end
      end
      ctx:log { beta = beta, phase = f.predicted.name, eta = eta[i], eta_table = eta0[i],
        xi = xi[i], xi_table = xi0[i] }
    end
    ctx:figure("exponents", ml.plot.lines { title = "compute-optimal exponents", xlabel = "beta",
      ylabel = "exponent", series = {
        { x = p.betas, y = eta, label = "eta measured", points = true, colour = "#0072B2" },
        { x = p.betas, y = eta0, label = "eta predicted", markers = false, colour = "#0072B2" },
        { x = p.betas, y = xi, label = "xi measured", points = true, colour = "#D55E00" },
        { x = p.betas, y = xi0, label = "xi predicted", markers = false, colour = "#D55E00" } } })
    result.low_eta, result.falls = 0, 0
    local before = -math.huge
    for _, beta in ipairs(p.low_betas) do
      local f = ml.plrf.front { alpha = p.alpha, beta = beta, sizes = sizes, flops = flops }
      local wanted = (2 * p.alpha + 2 * beta - 1) / (2 * p.alpha + 1)
      result.low_eta = math.max(result.low_eta, math.abs(f.eta - wanted))
      if f.eta <= before then result.falls = result.falls + 1 end
      before = f.eta
      ctx:log { beta = beta, phase = f.predicted.name, eta = f.eta, eta_table = wanted }
    end
    local small, budget = grid(25, 17, 1e5, 1e7, 21)
    for _, q in ipairs(references) do
      local f = ml.plrf.front { alpha = q[1], beta = q[2], sizes = small, flops = budget }
      local e, x = math.abs(f.eta - q[3]), math.abs(f.xi - q[4])
      result.reference_eta = math.max(result.reference_eta, e)
      result.reference_xi = math.max(result.reference_xi, x)
      ctx:log { alpha = q[1], beta = q[2], phase = f.predicted.name, eta = f.eta,
        eta_reference = q[3], xi = f.xi, xi_reference = q[4], used = #f.flops }
      print(("(%.2f, %.1f) %-4s eta %.4f (%.4f)  xi %.4f (%.4f)  %d points"):format(q[1], q[2],
        f.predicted.name, f.eta, q[3], f.xi, q[4], #f.flops))
    end
    result.far_eta, result.far_xi = 0, 0
    local measured, predicted = { {}, {} }, { {}, {} }
    for i, q in ipairs(far) do
      local all, compute = grid(50, p.far_octaves, 10 ^ q[3], 10 ^ q[4], p.points)
      local f = ml.plrf.front { alpha = q[1], beta = q[2], sizes = all, flops = compute }
      measured[1][i], measured[2][i] = f.eta, f.xi
      predicted[1][i], predicted[2][i] = f.predicted.eta, f.predicted.xi
      result.far_eta = math.max(result.far_eta, math.abs(f.eta - q[5]))
      result.far_xi = math.max(result.far_xi, math.abs(f.xi - q[6]))
      ctx:log { alpha = q[1], beta = q[2], phase = f.predicted.name, eta = f.eta,
        eta_table = f.predicted.eta, xi = f.xi, xi_table = f.predicted.xi, used = #f.flops }
      print(("(%.2f, %.1f) %-4s f = 1e%d..1e%d: eta %.4f (table %.4f)  xi %.4f (table %.4f)")
        :format(q[1], q[2], f.predicted.name, q[3], q[4], f.eta, f.predicted.eta, f.xi,
        f.predicted.xi))
    end
    ctx:figure("far", ml.plot.lines { title = "all phases at large compute",
      xlabel = "exponent predicted", ylabel = "exponent measured",
      series = { { x = predicted[1], y = measured[1], label = "eta", points = true },
        { x = predicted[2], y = measured[2], label = "xi", points = true },
        { x = { 0.18, 0.72 }, y = { 0.18, 0.72 }, label = "equal", dash = true } } })
    return result
  end,
  claims = {
    { name = "eta follows the table (largest difference)", kind = "calibrated", seeds = 1,
      at_most = 0.045, measure = function(r) return r.eta end },
    { name = "xi follows the table (largest difference)", kind = "calibrated", seeds = 1,
      at_most = 0.045, measure = function(r) return r.xi end },
    { name = "best size grows with compute (steps where it does not)", kind = "calibrated",
      seeds = 1, expected = 0, tolerance = 0, measure = function(r) return r.monotone end },
    { name = "eta at beta <= 0.2 follows (2 alpha + 2 beta - 1)/(2 alpha + 1) (largest difference)",
      kind = "paper", source = "Paquette et al. 2024, Table 2", at_most = 0.045,
      measure = function(r) return r.low_eta end },
    { name = "eta rises with beta <= 0.2 (steps where it does not)", kind = "paper",
      source = "Paquette et al. 2024, Table 2", expected = 0, tolerance = 0,
      measure = function(r) return r.falls end },
    { name = "eta at ten reference points (largest difference)", kind = "calibrated", seeds = 1,
      at_most = 0.003, measure = function(r) return r.reference_eta end },
    { name = "xi at ten reference points (largest difference)", kind = "calibrated", seeds = 1,
      at_most = 0.01, measure = function(r) return r.reference_xi end },
    { name = "eta at nine points of all phases, f up to 1e19 (largest difference)",
      kind = "exploratory", at_most = 0.003, measure = function(r) return r.far_eta end },
    { name = "xi at nine points of all phases, f up to 1e19 (largest difference)",
      kind = "exploratory", at_most = 0.01, measure = function(r) return r.far_xi end },
  },
}
