--- The plane of phases and the asymptotics of the loss's components.
local options = require "moonlab.options"

local theory = {}

-- A number that is finite, by name or by position.
local function finite(where, argument, name, value)
  if type(value) ~= "number" or value ~= value or math.abs(value) == math.huge then
    options.bad(where, argument, "%s%s, wanted a finite number", name and name .. " is " or "",
      options.describe(value))
  end
  return value
end

-- A list of finite numbers, above 0 where said.
local function numbers(where, argument, name, list, above_0)
  if type(list) ~= "table" or #list == 0 then
    options.bad(where, argument, "%s is %s, wanted a list of numbers", name,
      options.describe(list))
  end
  for i, value in ipairs(list) do
    finite(where, argument, ("%s: value %d"):format(name, i), value)
    if above_0 and not (value > 0) then
      options.bad(where, argument, "%s: value %d is %s, wanted a number > 0", name, i,
        options.describe(value))
    end
  end
  return list
end
theory.numbers = numbers

local function positive(where, o, name)
  local value = options.field(where, o, name, "number")
  if not (value > 0 and value < math.huge) then
    options.bad(where, 0, "option '%s' is %g, wanted a number > 0", name, value)
  end
  return value
end

--- ml.plrf.phase(alpha, beta)
--- Phase of compute-optimal scaling: P* ~ f^-eta, d* ~ f^xi. Points on a line belong to the side of
--- larger alpha and smaller beta.
--- @param alpha number >= 0
--- @param beta number decay of the target, may be negative
--- @return table { name = "Ia" ... "IVb" or "none", eta, xi, balance, terms, line (nearest),
--- distance }
--- @source Paquette et al. 2024, Table 2
function theory.phase(alpha, beta)
  finite("plrf.phase", 1, nil, options.argument("plrf.phase", 1, alpha, "number"))
  finite("plrf.phase", 2, nil, options.argument("plrf.phase", 2, beta, "number"))
  local s = 2 * alpha + 2 * beta - 1
  local edge = 1 - math.sqrt(0.5)
  local p
  if not (s > 0) or alpha <= 0 then
    p = { name = "none" }
  elseif beta <= 0.5 then
    if alpha >= 0.5 then
      p = { name = "Ia", eta = s / (2 * alpha + 1), xi = 1 / (2 * alpha + 1) }
    else
      p = { name = "Ib", eta = s / 2, xi = 0.5 }
    end
    p.balance, p.terms = "Fpp=F0", { "Fpp", "F0" }
  elseif alpha >= 0.5 and beta < alpha then
    p = { name = "II", eta = s / (2 * (alpha + beta)), xi = beta / (alpha + beta),
      balance = "Fpp=Fac", terms = { "Fpp", "Fac", "F0" } }
  elseif alpha >= 0.5 then
    p = { name = "III", eta = 1 - 1 / (4 * alpha), xi = 0.5, balance = "Kpp=Fac",
      terms = { "Fac", "F0", "Kpp" } }
  elseif alpha > edge then
    p = { name = "IVa", eta = alpha, xi = 0.5, balance = "Kpp=F0", terms = { "Fpp", "F0", "Kpp" } }
  elseif alpha > 0.25 then
    local D = 2 * beta - alpha - 2 * alpha * beta
    p = { name = "IVb", eta = (1 - 2 * alpha) * s / (2 * D), xi = (beta - alpha) / D,
      balance = "Fpp=Kpp", terms = { "Fpp", "F0", "Kpp" } }
  else
    local D = 3 * alpha + 2 * beta - 1 - 2 * alpha * beta
    p = { name = "Ic", eta = alpha * s / D, xi = s / (2 * D), balance = "Fpp=F0",
      terms = { "Fpp", "F0" } }
  end
  -- distances to the segments of the plane where each line is one
  local lines = { { "2(alpha+beta)=1", math.abs(s) / math.sqrt(8) } }
  local function segment(name, ax, ay, bx, by)
    local dx, dy = bx - ax, by - ay
    local t = ((alpha - ax) * dx + (beta - ay) * dy) / (dx * dx + dy * dy)
    t = math.max(0, math.min(1, t))
    lines[#lines + 1] = { name, math.sqrt((alpha - ax - t * dx) ^ 2 + (beta - ay - t * dy) ^ 2) }
  end
  local far = 1e6
  segment("alpha=1/2", 0.5, 0, 0.5, far)
  segment("beta=1/2", 0, 0.5, far, 0.5)
  segment("alpha=beta", 0.5, 0.5, far, far)
  segment("alpha=1/4", 0.25, 0.5, 0.25, far)
  segment("alpha=1-1/sqrt(2)", edge, 0.5, edge, far)
  p.distance = math.huge
  for _, line in ipairs(lines) do
    if line[2] < p.distance then p.line, p.distance = line[1], line[2] end
  end
  return p
end

--- ml.plrf.phase_map{ alphas =, betas = }
--- The phase at each point of a grid.
--- @param opts.alphas table numbers
--- @param opts.betas table numbers
--- @return table { name, eta, xi }: each a list over alphas of lists over betas; NaN where none
--- @source Paquette et al. 2024
function theory.phase_map(opts)
  options.required("plrf.phase_map", opts, { "alphas", "betas" })
  local alphas = numbers("plrf.phase_map", 0, "option 'alphas'", opts.alphas)
  local betas = numbers("plrf.phase_map", 0, "option 'betas'", opts.betas)
  local map = { name = {}, eta = {}, xi = {} }
  for i, alpha in ipairs(alphas) do
    map.name[i], map.eta[i], map.xi[i] = {}, {}, {}
    for k, beta in ipairs(betas) do
      local p = theory.phase(alpha, beta)
      map.name[i][k], map.eta[i][k], map.xi[i][k] = p.name, p.eta or 0 / 0, p.xi or 0 / 0
    end
  end
  return map
end

--- ml.plrf.convert{ rate =, batch =, reduction =, loss = }
--- The gamma of ml.plrf (gradient without a factor 2, summed over the batch) that another
--- convention means by its rate.
--- @param opts.rate number > 0 the other's learning rate
--- @param opts.batch integer =1 samples an update, >= 1
--- @param opts.reduction string =sum | mean over the batch
--- @param opts.loss string =none the gradient has no factor: "none" | "square": the true gradient
--- of the square, factor 2 | "half": of half the square, no factor, its loss half of ours
--- @return number gamma
--- @return number what the other's loss is to be multiplied by to be ours
--- @source Paquette et al. 2024
function theory.convert(opts)
  local where = "plrf.convert"
  options.required(where, opts, { "rate", "batch", "reduction", "loss" })
  local rate = positive(where, opts, "rate")
  local batch = options.field(where, opts, "batch", "integer", 1)
  options.range(where, "batch", batch, 1)
  local reduction = options.choice(where, opts, "reduction", { "sum", "mean" }, "sum")
  local loss = options.choice(where, opts, "loss", { "none", "square", "half" }, "none")
  local gamma = rate * (loss == "square" and 2 or 1) / (reduction == "mean" and batch or 1)
  return gamma, loss == "half" and 2 or 1
end

-- log Gamma(x), x > 0, and Gamma by reflection (Lanczos, g = 7)
local lanczos = { 0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
  -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6,
  1.5056327351493116e-7 }
local function gamma_function(x)
  if x < 0.5 then return math.pi / (math.sin(math.pi * x) * gamma_function(1 - x)) end
  x = x - 1
  local sum, t = lanczos[1], x + 7.5
  for i = 1, 8 do sum = sum + lanczos[i + 1] / (x + i) end
  return math.sqrt(2 * math.pi) * t ^ (x + 0.5) * math.exp(-t) * sum
end

-- integral over (0, top) of x^-power / (1 + c x^(2 alpha)), power < 1, by Simpson's rule in log x
local function capacity_integral(alpha, c, top, power)
  local high = top < math.huge and math.log(top) or 45 / (2 * alpha - 1 + power)
  local low = math.min(-5, (math.log(1e-9) - math.log(c)) / (2 * alpha), high - 5)
  local n = 4000
  local h, sum = (high - low) / n, 0
  for i = 0, n do
    local s = low + i * h
    local weight = (i == 0 or i == n) and 1 or i % 2 == 1 and 4 or 2
    sum = sum + weight * math.exp(s * (1 - power)) / (1 + c * math.exp(2 * alpha * s))
  end
  return sum * h / 3 + math.exp(low * (1 - power)) / (1 - power)
end

local function capacity_constant(alpha, ratio)
  if ratio == math.huge then
    local x = math.pi / (2 * alpha)
    return (x / math.sin(x)) ^ (2 * alpha)
  end
  local low, high = math.log(1e-8), math.log(1e8)
  for _ = 1, 80 do
    local middle = 0.5 * (low + high)
    if capacity_integral(alpha, math.exp(middle), ratio, 0) > 1 then low = middle
    else high = middle end
  end
  return math.exp(0.5 * (low + high))
end

-- sum of j^-s, j <= v, by Euler and Maclaurin beyond 200
local function power_sum(s, v)
  local sum, first = 0, math.min(v, 200)
  for j = 1, first do sum = sum + j ^ -s end
  if v > first then
    local x, y = first + 0.5, v + 0.5
    sum = sum + (math.abs(s - 1) < 1e-12 and math.log(y / x)
      or (y ^ (1 - s) - x ^ (1 - s)) / (1 - s))
  end
  return sum
end

local names = { "F0", "Fpp", "Fac", "Kpp" }

theory.power_sum = power_sum

--- ml.plrf.components{ alpha =, beta =, v =, d =, gamma =, batch =, steps = }
--- Asymptotics of the parts of the loss at large d, their sum (right up to constants), and which is
--- largest at each step. Fac is 0 unless 2 alpha > 1 and 2 beta > 1; Kpp is the noise part K_pp /
--- (gamma B), 0 for alpha <= 1/4.
--- @param opts.alpha number decay of the spectrum, >= 0
--- @param opts.beta number decay of the target, may be negative
--- @param opts.v integer data dimension, >= d
--- @param opts.d integer parameters
--- @param opts.gamma number > 0
--- @param opts.batch integer =1 samples an update, >= 1
--- @param opts.steps table of numbers > 0
--- @return table { F0, Fpp, Fac, Kpp, estimate, dominant (lists over steps), c, c_beta, crossover =
--- { from, to, step } list: where the largest part changes, at whatever step from 1 on }
--- @source Paquette et al. 2024
function theory.components(opts)
  local where = "plrf.components"
  options.required(where, opts, { "alpha", "beta", "v", "d", "gamma", "batch", "steps" })
  local alpha, beta = options.field(where, opts, "alpha", "number"),
    options.field(where, opts, "beta", "number")
  finite(where, 0, "option 'alpha'", alpha)
  finite(where, 0, "option 'beta'", beta)
  local v, d = options.field(where, opts, "v", "integer"), options.field(where, opts, "d",
    "integer")
  options.range(where, "d", d, 1)
  local gamma = positive(where, opts, "gamma")
  local batch = options.range(where, "batch", options.field(where, opts, "batch", "integer", 1), 1)
  local steps = numbers(where, 0, "option 'steps'", opts.steps, true)
  if not (2 * (alpha + beta) > 1) or not (alpha > 0) then
    options.bad(where, 0,
      "alpha %g and beta %g, wanted 2 (alpha + beta) > 1: there is no power law", alpha, beta)
  end
  if v <= d then options.bad(where, 0, "option 'v' is %d and d %d, wanted v > d", v, d) end
  local c, c_beta = capacity_constant(alpha, v / d), power_sum(2 * beta, v)
  local F0
  if beta > 0.5 then
    F0 = c * c_beta * d ^ (-2 * alpha)
  else
    local power = math.min(2 * beta, 1 - 1e-9)
    F0 = c * capacity_integral(alpha, c, v / d, power) * d ^ (1 - 2 * alpha - 2 * beta)
  end
  local out = { F0 = {}, Fpp = {}, Fac = {}, Kpp = {}, estimate = {}, dominant = {}, c = c,
    c_beta = c_beta, crossover = {} }
  local e = (2 * alpha + 2 * beta - 1) / (2 * alpha)
  local half = 1 / (2 * alpha)
  -- each part is coefficient * T^-power with T = 2 gamma B r
  local parts = { F0 = { F0, 0 }, Fpp = { half * gamma_function(e), e } }
  if alpha > 0.5 and beta > 0.5 then
    parts.Fac = { c_beta / d * half * gamma_function(1 - half), 1 - half }
  end
  if alpha > 0.25 then parts.Kpp = { gamma * half * gamma_function(2 - half), 2 - half } end
  local function largest_at(T)
    local largest, most, sum = "F0", 0, 0
    for _, name in ipairs(names) do
      local value = parts[name] and parts[name][1] * T ^ -parts[name][2] or 0
      sum = sum + value
      if value > most then largest, most = name, value end
    end
    return largest, sum
  end
  for i, r in ipairs(steps) do
    local T = 2 * gamma * batch * r
    for _, name in ipairs(names) do
      out[name][i] = parts[name] and parts[name][1] * T ^ -parts[name][2] or 0
    end
    out.dominant[i], out.estimate[i] = largest_at(T)
  end
  -- In log T the parts are lines, and the largest is a convex chain of them: from the steepest on,
  -- the next one is the one met first.
  local now
  for _, name in ipairs(names) do
    if parts[name] and (not now or parts[name][2] > parts[now][2]) then now = name end
  end
  while true do
    local first, at = nil, math.huge
    for _, name in ipairs(names) do
      local p, q = parts[now], parts[name]
      if q and q[2] < p[2] then
        local T = (p[1] / q[1]) ^ (1 / (p[2] - q[2]))
        if T < at then first, at = name, T end
      end
    end
    if not first then break end
    local step = at / (2 * gamma * batch)
    if step >= 1 then
      out.crossover[#out.crossover + 1] = { from = now, to = first, step = step }
    end
    now = first
  end
  return out
end

return theory
