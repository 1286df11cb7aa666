--- How do series of dual kernels fare on points whose norms are not one?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

-- Relative errors at rho = 1/2 and degree 16, for variances 0.1, 0.5, 1, 2, 4: a polynomial fitted
-- at unit scale, and coefficients that belong to each norm. From an independent calculation.
local known = {
  gelu = { unit = { 2e-4, 4e-6, 1e-12, 7e-4, 3e3 } },
  relu = { unit = { 5e-2, 2e-4, 2e-9, 8e-1, 1e6 } },
  erf = { unit = { 1e-2, 1e-4, 3e-10, 1e-1, 2e5 } },
}

return recipe.define {
  name = "norm_robustness",
  source = "Han et al. 2022 (arXiv 2209.04121), Section 3",
  params = {
    variances = { { 0.1, 0.5, 1.0, 2.0, 4.0 }, "of both variables", above = 0 },
    rho = { 0.5, "their correlation", min = -1, max = 1 },
    degree = { 16, "of both series", min = 1, max = 20 },
    seed = { 1, "nothing is random here" },
  },
  smoke = { variances = { 0.1, 4.0 } },
  full = { seeds = { 1 } },
  run = function(p, ctx)
    local result = { own = 0, far = math.huge, apart = 0 }
    local series = {}
    for name in ml.sorted(known) do
      local act = k.act(name)
      local own = k.hermite(act, { degree = p.degree })
      local polynomial = own:polynomial()
      local errors, own_errors = {}, {}
      for i, v in ipairs(p.variances) do
        local triple = { c = p.rho * v, a = v, b = v }
        local exact = act:dual(triple)
        errors[i] = math.abs(polynomial:dual(triple) - exact) / math.abs(exact)
        own_errors[i] = math.abs(own:dual(triple) - exact) / math.abs(exact)
        result.own = math.max(result.own, own_errors[i])
        print(("%-5s variance %-4g unit scale %.1e, of each norm %.1e"):format(name, v, errors[i],
          own_errors[i]))
        ctx:log { activation = name, variance = v, unit = errors[i], own = own_errors[i] }
        if known[name].unit[i] > 1e-11 then -- above rounding
          result.apart = math.max(result.apart, math.abs(math.log(errors[i] / known[name].unit[i])))
        end
      end
      result.far = math.min(result.far, errors[#errors])
      series[#series + 1] = { x = p.variances, y = errors, label = name .. ", unit scale" }
      series[#series + 1] = { x = p.variances, y = own_errors, label = name .. ", each norm",
        dash = true }
    end
    result.factor = math.exp(result.apart)
    ctx:figure("errors", ml.plot.lines { series = series, log = "xy", xlabel = "variance",
      ylabel = "relative error of kappa",
      title = ("Hermite series to degree %d"):format(p.degree) })
    return result
  end,
  claims = {
    { name = "coefficients of each norm: largest relative error", kind = "theory",
      source = "Han et al. 2022, Theorem 2", at_most = 1e-7,
      when = function(p) return p.degree == 16 and math.abs(p.rho) <= 0.5 end,
      measure = function(r) return r.own end },
    { name = "unit scale: relative error at variance 4, least of the three", kind = "theory",
      source = "Han et al. 2022, Section 3", at_least = 100,
      when = function(p) return p.degree == 16 and p.variances[#p.variances] == 4 end,
      measure = function(r) return r.far end },
    { name = "unit scale: largest factor between these errors and an independent calculation",
      kind = "calibrated", source = "Han et al. 2022, Section 3", at_most = 1.7, seeds = 1,
      when = function(p) return p.degree == 16 and p.rho == 0.5 and #p.variances == 5 end,
      measure = function(r) return r.factor end },
  },
}
