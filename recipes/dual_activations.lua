--- Are the closed forms of dual activations the Gaussian integrals that they stand for?
local ml, recipe = require "moonlab", require "moonlab.recipe"

-- Name, options, and errors of the series to degree 60 (kappa and kappa_dot) that an independent
-- calculation found for variances from 0.3 to 2.5, where there was one.
local smooth = { 2e-12, 2e-10 }
local activations = {
  { "relu", nil, { 2e-4, 3e-2 } }, { "leaky_relu", { slope = 0.2 } }, { "abs" },
  { "abrelu", { a = -0.3, b = 1.4 } }, { "step" }, { "sign" },
  { "rectified_monomial", { degree = 2 } }, { "rectified_monomial", { degree = 3 } },
  { "monomial", { degree = 3 } }, { "polynomial", { coefficients = { 0.2, 0.5, -0.3, 0.1 } } },
  { "hermite", { degree = 4 } }, { "erf", nil, { 6e-9, 3e-7 } }, { "phi" }, { "sigmoid_like" },
  { "gelu", nil, smooth }, { "sin", nil, smooth }, { "cos", nil, smooth },
  { "rbf", { gamma = 0.5 } },
  { "exp", { b = 0.5 }, smooth }, { "gaussian", { b = 0.5 }, smooth },
  { "gabor", nil, { 3e-5, 3e-4 } }, { "tanh", nil, { 1e-7, 6e-6 } }, { "sigmoid", nil, smooth },
  { "softplus", nil, smooth }, { "silu", nil, smooth }, { "elu", nil, { 3e-6, 3e-4 } },
}

-- Covariance triples; where |rho| = 1 both variances are equal, so that c is exact.
local function triples(p)
  local c, a, b = {}, {}, {}
  for i, v in ipairs(p.variances) do
    for k, rho in ipairs(p.correlations) do
      local w = math.abs(rho) == 1 and v or p.variances[(i + k) % #p.variances + 1]
      a[#a + 1], b[#b + 1], c[#c + 1] = v, w, rho * math.sqrt(v) * math.sqrt(w)
      if math.abs(rho) == 1 then c[#c] = rho * v end
    end
  end
  return ml.f64(c), ml.f64(a), ml.f64(b)
end

-- How far the series misses beyond what its coefficients leave of the mean squares.
local function beyond_tails(series, found, exact, a, b, a_top, b_top)
  local function tail(v, top)
    local alpha = series:coefficients(v:sqrt())
    return (top - (alpha * alpha):sum(2)):maximum(0)
  end
  local bound = (tail(a, a_top) * tail(b, b_top)):sqrt()
  return (((found - exact):abs() - bound) / (a_top * b_top):sqrt()):max():item()
end

-- The largest difference in units of what equal inputs give.
local function worst(found, wanted, a_top, b_top)
  local scale = (a_top * b_top):sqrt()
  return ((found - wanted):abs() / scale:maximum(1e-12)):max():item()
end

return recipe.define {
  name = "dual_activations",
  source = "Han et al. 2022 (arXiv 2209.04121), Table 1; Cho & Saul 2009; Williams 1997",
  params = {
    variances = { { 0.3, 0.8, 1.2, 2.5 }, "of the two variables", above = 0 },
    correlations = { { -1.0, -0.7, -0.2, 0.1, 0.5, 0.9, 1.0 }, "of the two variables", min = -1,
      max = 1 },
    degree = { 60, "of the Hermite series", min = 1, max = 200 },
    step = { 1e-5, "of the central difference", above = 0 },
    seed = { 1, "nothing is random here" },
  },
  smoke = { variances = { 0.3, 1.2 }, correlations = { -1.0, 0.5, 1.0 } },
  full = { variances = { 0.1, 0.3, 0.5, 0.8, 1.2, 1.8, 2.5 }, seeds = { 1 } },
  run = function(p, ctx)
    local c, a, b = triples(p)
    local result = { closed = 0, closed_dot = 0, difference = 0, beyond = 0, tails = 0 }
    local names, closed_errors, series_errors = {}, {}, {}
    print(("%-20s %10s %10s %12s %12s %12s"):format("activation", "kappa", "kappa_dot",
      "series", "its slope", "difference"))
    for _, entry in ipairs(activations) do
      local name, options, allowed = table.unpack(entry, 1, 3)
      local act = ml.kernel.act(name, options)
      local kappa, dot = act:dual { c = c, a = a, b = b }
      local top_a, dot_a = act:dual { c = a, a = a, b = a }
      local top_b, dot_b = act:dual { c = b, a = b, b = b }
      local by_quadrature = ml.kernel.act(function(x) return act:value(x) end,
        { method = "quadrature" })
      local q, q_dot = by_quadrature:dual { c = c, a = a, b = b }
      local error, error_dot = worst(kappa, q, top_a, top_b), worst(dot, q_dot, dot_a, dot_b)
      local hermite = ml.kernel.hermite(act, { degree = p.degree })
      local s, s_dot = hermite:dual { c = c, a = a, b = b }
      result.tails = math.max(result.tails, beyond_tails(hermite, s, kappa, a, b, top_a, top_b))
      local series, slope = worst(s, kappa, top_a, top_b), worst(s_dot, dot, dot_a, dot_b)
      local difference = 0
      if name ~= "step" and name ~= "sign" then -- inside, where c may change both ways
        local h, inner = p.step, c * 0.9
        local up = act:dual { c = inner + h, a = a, b = b }
        local down = act:dual { c = inner - h, a = a, b = b }
        local _, at = act:dual { c = inner, a = a, b = b }
        difference = worst((up - down) / (2 * h), at, dot_a, dot_b)
      end
      if allowed then
        result.beyond = math.max(result.beyond, series / allowed[1], slope / allowed[2])
      end
      result.closed = math.max(result.closed, error)
      result.closed_dot = math.max(result.closed_dot, error_dot)
      result.difference = math.max(result.difference, difference)
      local label = name .. (options and options.degree and " " .. options.degree or "")
      names[#names + 1] = label
      closed_errors[#names], series_errors[#names] = error, series
      print(("%-20s %10.1e %10.1e %12.1e %12.1e %12.1e"):format(label, error, error_dot, series,
        slope, difference))
      ctx:log { activation = label, closed = error, closed_dot = error_dot, series = series,
        series_dot = slope, difference = difference }
    end
    ctx:figure("errors", ml.plot.heatmap { z = { closed_errors, series_errors }, xnames = names,
      ynames = { "closed form", "series" }, zlog = true, origin = "upper", vmin = 1e-16, vmax = 1,
      title = "largest error of kappa against quadrature", width = 900, height = 260,
      zlabel = "relative; 0 is grey" })
    return result
  end,
  claims = {
    { name = "closed forms against quadrature, largest relative error of kappa", kind = "exact",
      source = "Han et al. 2022, Table 1", at_most = 1e-10,
      measure = function(r) return r.closed end },
    { name = "the same of kappa_dot", kind = "exact", source = "Han et al. 2022, Table 1",
      at_most = 1e-10, measure = function(r) return r.closed_dot end },
    { name = "kappa_dot against the central difference of kappa", kind = "exact",
      source = "Price 1958", at_most = 1e-6, measure = function(r) return r.difference end },
    { name = "series miss kappa by more than their tails, relative", kind = "theory",
      source = "Han et al. 2022, Theorem 2", at_most = 1e-12,
      measure = function(r) return r.tails end },
    { name = "errors of the series to degree 60 over those of earlier measurements, largest",
      kind = "calibrated", source = "Han et al. 2022, Theorem 2", at_most = 1.5, seeds = 1,
      when = function(p) return p.degree == 60 end, measure = function(r) return r.beyond end },
  },
}
