--- Where do the seven phases of compute-optimal scaling lie, and do their exponents join?
local ml, recipe = require "moonlab", require "moonlab.recipe"

-- Jump of eta and xi across a line at points of it, approached from both sides.
local function jump(points, dx, dy)
  local eta, xi, h = 0, 0, 1e-9
  for _, q in ipairs(points) do
    local a = ml.plrf.phase(q[1] + h * dx, q[2] + h * dy)
    local b = ml.plrf.phase(q[1] - h * dx, q[2] - h * dy)
    eta = math.max(eta, math.abs(a.eta - b.eta))
    xi = math.max(xi, math.abs(a.xi - b.xi))
  end
  return eta, xi
end

return recipe.define {
  name = "plrf_phases",
  source = "Paquette, Paquette, Xiao & Pennington 2024, Figure 2 and Table 2",
  params = {
    points = { 200, "points of the grid on each axis", min = 10 },
    alpha_max = { 1.5, "largest alpha", above = 0 },
    beta_max = { 1.5, "largest beta", above = 0 },
    seed = { 1, "unused: nothing is random", min = 0 },
  },
  smoke = { points = 40 },
  full = { points = 400, seeds = { 1 } },
  estimate = function(p)
    return { bytes = 10e6 + 500 * p.points ^ 2, seconds = 0.1 + 1e-5 * p.points ^ 2 }
  end,
  run = function(p, ctx)
    local alphas, betas = {}, {}
    for i = 1, p.points do
      alphas[i] = p.alpha_max * (i - 0.5) / p.points
      betas[i] = p.beta_max * (i - 0.5) / p.points
    end
    local map = ml.plrf.phase_map { alphas = alphas, betas = betas }
    local wrong, lines = 0, { "alpha,beta,phase,eta,xi" }
    local universal = { Ib = true, III = true, IVa = true }
    for i, alpha in ipairs(alphas) do
      for k, beta in ipairs(betas) do
        local name = map.name[i][k]
        lines[#lines + 1] = ("%.17g,%.17g,%s,%.17g,%.17g"):format(alpha, beta, name, map.eta[i][k],
          map.xi[i][k])
        local half = math.abs(map.xi[i][k] - 0.5) < 1e-12
        -- the region of xi = 1/2, written out anew
        local inside = 2 * (alpha + beta) > 1 and ((alpha < 0.5 and beta < 0.5)
          or (alpha > 0.5 and beta >= alpha)
          or (alpha > 1 - math.sqrt(0.5) and alpha < 0.5 and beta > 0.5))
        if inside ~= (universal[name] or false) or (inside and not half) then wrong = wrong + 1 end
      end
    end
    ml.write_file(ctx.dir .. "/phases.csv", table.concat(lines, "\n") .. "\n")
    ctx:figure("phases", ml.plot.phase { title = "phases", xlabel = "alpha", ylabel = "beta",
      xlim = { 0, p.alpha_max }, ylim = { 0, p.beta_max }, region = function(alpha, beta)
        return alpha > 0 and beta > 0 and ml.plrf.phase(alpha, beta).name or nil
      end }) -- the axes themselves belong to no phase
    for _, name in ipairs { "eta", "xi" } do
      local rows = {}
      for k = 1, #betas do
        rows[k] = {}
        for i = 1, #alphas do rows[k][i] = map[name][i][k] end
      end
      ctx:figure(name, ml.plot.heatmap { z = rows, x = alphas, y = betas, xlabel = "alpha",
        ylabel = "beta", zlabel = name, title = name == "eta"
          and "exponent of the best loss, P ~ f^-eta" or "exponent of the best size, d ~ f^xi" })
    end
    local above, below, diagonal = {}, {}, {}
    for i = 1, 40 do
      above[i], below[i], diagonal[i] = 0.5 + 0.05 * i, 0.0125 * i - 0.005, 0.5 + 0.025 * i
    end
    local function vertical(alpha, list)
      local points = {}
      for i, beta in ipairs(list) do points[i] = { alpha, beta } end
      return points
    end
    local function horizontal(from, to)
      local points = {}
      for i = 1, 40 do points[i] = { from + (to - from) * i / 41, 0.5 } end
      return points
    end
    local diagonals = {}
    for i, x in ipairs(diagonal) do diagonals[i] = { x, x } end
    local edge = 1 - math.sqrt(0.5)
    local eta, xi = 0, 0
    for _, line in ipairs {
      { vertical(0.5, below), 1, 0 }, { vertical(0.5, above), 1, 0 }, { diagonals, 1, -1 },
      { horizontal(0, 0.25), 0, 1 }, { horizontal(0.25, edge), 0, 1 },
      { horizontal(edge, 0.5), 0, 1 }, { horizontal(0.5, 1.5), 0, 1 },
      { vertical(0.25, above), 1, 0 } } do
      local e, x = jump(line[1], line[2], line[3])
      eta, xi = math.max(eta, e), math.max(xi, x)
    end
    local edge_eta, edge_xi = jump(vertical(edge, above), 1, 0)
    return { eta_jump = math.max(eta, edge_eta), xi_jump = xi, edge_xi_jump = edge_xi,
      wrong = wrong }
  end,
  claims = {
    { name = "eta is continuous across all lines (largest jump)", kind = "exact",
      source = "Paquette et al. 2024, Table 2", at_most = 1e-6,
      measure = function(r) return r.eta_jump end },
    { name = "xi is continuous across all lines but IVa|IVb (largest jump)", kind = "exact",
      source = "Paquette et al. 2024, Table 2", at_most = 1e-6,
      measure = function(r) return r.xi_jump end },
    { name = "xi jumps across IVa|IVb", kind = "exact", source = "Paquette et al. 2024, Table 2",
      at_least = 0.01, measure = function(r) return r.edge_xi_jump end },
    { name = "points of the grid where the region of xi = 1/2 is wrong", kind = "exact",
      source = "Paquette et al. 2024, Table 2", expected = 0, tolerance = 0,
      measure = function(r) return r.wrong end },
  },
}
