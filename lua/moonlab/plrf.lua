--- Power-law random features: a model of neural scaling laws whose one-pass SGD is solved exactly.
local core = require "moonlab.core"
local options = require "moonlab.options"
local theory = require "moonlab.plrf.theory"
local front = require "moonlab.plrf.front"

local plrf = { phase = theory.phase, convert = theory.convert, components = theory.components,
  phase_map = theory.phase_map, front = front.front, envelope = front.envelope,
  local_slopes = front.local_slopes }

local Problem = { __name = "moonlab.plrf.problem" }
Problem.__index = Problem
local Deterministic = { __name = "moonlab.plrf.deterministic" }
Deterministic.__index = Deterministic
plrf.methods = { Problem, Deterministic }

local function f64(list) return core.tensor(list, { dtype = "f64" }) end

-- j^-power for j = 1..v
local function powers(v, power) return core.arange(1, v) ^ -power end

local function exponents(where, o)
  for _, name in ipairs { "alpha", "beta" } do
    local value = options.field(where, o, name, "number")
    if value ~= value or math.abs(value) == math.huge then
      options.bad(where, 0, "option '%s' is %g, wanted a finite number", name, value)
    end
  end
  options.range(where, "alpha", o.alpha, 0)
end

local function sizes(where, v, d)
  options.range(where, "d", d, 1)
  if v < d then
    options.bad(where, 0, "option 'v' is %d and d %d, wanted v >= d", v, d)
  end
end

--- ml.plrf.problem{ alpha =, beta =, v =, d =, seed = | W = }
--- One draw of the model: data x_j = j^-alpha z_j, target sum_j j^-beta x_j, features W^T x; the
--- loss E (features.theta - target)^2 without a factor 1/2. Takes d^2 + 2 v d doubles and v d^2 +
--- (4/3) d^3 flops.
--- @param opts.alpha number >= 0
--- @param opts.beta number may be negative
--- @param opts.v integer data dimension, >= d
--- @param opts.d integer parameters
--- @param opts.seed integer =1 of W, independent normals of variance 1/d
--- @param opts.W tensor [v,d] f64 instead of v, d and seed
--- @return problem with lambda [d] ascending, rho [d] initial energies, null (the least loss),
--- loss0 (at theta = 0), W; methods sgd, expected, kernel_norm, rate, stability, minimiser
--- @source Paquette et al. 2024
function plrf.problem(opts)
  local where = "plrf.problem"
  options.required(where, opts, { "alpha", "beta", "v", "d", "seed", "W" })
  exponents(where, opts)
  local self = { alpha = opts.alpha, beta = opts.beta }
  local W = opts.W
  if W ~= nil then
    if core.is_tensor and not core.is_tensor(W) or type(W) ~= "userdata" or #W:shape() ~= 2
      or W:dtype() ~= "f64" then
      options.bad(where, 0, "option 'W' is %s, wanted a matrix of f64", options.describe(W))
    end
    self.v, self.d = W:size(1), W:size(2)
    sizes(where, self.v, self.d)
    local finite = W:isfinite():all():item()
    if finite == 0 or finite == false then
      options.bad(where, 0, "option 'W' has entries that are not finite")
    end
    W = W:detach():clone()
  else
    self.v = options.field(where, opts, "v", "integer")
    self.d = options.field(where, opts, "d", "integer")
    self.seed = options.field(where, opts, "seed", "integer", 1)
    sizes(where, self.v, self.d)
    W = core.rng(self.seed):fold("plrf W"):normal({ self.v, self.d }) / math.sqrt(self.d)
  end
  self.W = core.keep(W)
  self.sigma = core.keep(powers(self.v, self.alpha))
  self.b = core.keep(powers(self.v, self.beta))
  self.A = core.keep(W * self.sigma:reshape { self.v, 1 })
  self.u = core.keep(self.sigma * self.b)
  local lambda, t, loss0 = core.plrf.spectrum(self.A, self.u)
  self.lambda, self.t, self.loss0 = core.keep(lambda), core.keep(t), loss0
  self.rho = core.keep(t * t / lambda)
  self.null = math.max(0, loss0 - self.rho:sum():item())
  return setmetatable(self, Problem)
end

-- Steps as the user gives them: a number n (0..n at log-spaced places, or all) or a list.
local function records(where, steps, record)
  if type(steps) == "table" then
    for i, r in ipairs(steps) do
      if type(r) ~= "number" or not (r >= 0) or (i > 1 and r <= steps[i - 1]) then
        options.bad(where, 0, "option 'steps' has %s, wanted numbers >= 0, ascending",
          options.describe(r))
      end
    end
    if #steps == 0 then options.bad(where, 0, "option 'steps' is empty") end
    return steps
  end
  if type(steps) == "userdata" then return records(where, steps:totable()) end
  local n = type(steps) == "number" and math.tointeger(steps)
  if not n or n < 0 then
    options.bad(where, 0, "option 'steps' is %s, wanted an integer >= 0 or a list of them",
      options.describe(steps))
  end
  local list = {}
  if record == "all" then
    for r = 0, n do list[#list + 1] = r end
    return list
  end
  list[1] = 0
  local last, k = 0, 0
  while last < n do -- 12 a decade
    local r = math.min(n, math.floor(10 ^ (k / 12) + 0.5))
    k = k + 1
    if r > last then
      list[#list + 1] = r
      last = r
    end
  end
  return list
end

local function rates(where, gamma, last)
  if type(gamma) == "number" then
    if not (gamma > 0 and gamma < math.huge) then
      options.bad(where, 0, "option 'gamma' is %g, wanted a number > 0", gamma)
    end
    return f64 { gamma }, true
  end
  if type(gamma) == "function" then
    local list = {}
    for r = 1, math.max(1, last) do list[r] = gamma(r) end
    return f64(list)
  end
  if type(gamma) == "userdata" then return gamma end
  options.bad(where, 0,
    "option 'gamma' is %s, wanted a number, a function of the step, or a tensor",
    options.describe(gamma))
end

--- problem:sgd{ gamma =, batch =, steps =, runs =, mode =, record =, seed =, momentum =, dtype =,
---   data = }
--- Simulates one-pass SGD from theta = 0: theta -= gamma * sum over the batch of features * error.
--- All modes have the same law. Instability raises with the word "diverges".
--- @param opts.gamma number > 0; or a function of the step (from 1), or a tensor [steps] f64
--- @param opts.batch integer =1
--- @param opts.steps integer or list of them: where the loss is recorded
--- @param opts.runs integer =1 independent runs, one random stream each
--- @param opts.mode string =fast in the eigenbasis, O(d) a sample | direct: samples x and W^T x
--- @param opts.record string =log 12 records a decade | all
--- @param opts.seed integer =1
--- @param opts.momentum number =0 u = momentum u + gradient, theta -= gamma u
--- @param opts.dtype string =f64 | f32, in direct mode
--- @param opts.data tensor [steps,batch,v] f64 the samples x; one run
--- @return table { steps, risk [runs, records], theta [runs, d] (not in fast mode) }
--- @source Paquette et al. 2024
function Problem:sgd(opts)
  local where = "sgd"
  options.required(where, opts, { "gamma", "batch", "steps", "runs", "mode", "record", "seed",
    "momentum", "dtype", "data" })
  local mode = options.choice(where, opts, "mode", { "fast", "direct" },
    (opts.data or opts.dtype) and "direct" or "fast")
  local record = options.choice(where, opts, "record", { "log", "all" }, "log")
  local batch = options.field(where, opts, "batch", "integer", 1)
  local steps = records(where, opts.steps, record)
  local gamma, constant = rates(where, opts.gamma, steps[#steps])
  if constant and (opts.momentum or 0) == 0 then
    core.plrf.expected(self.lambda, self.rho, { gamma = opts.gamma, batch = batch,
      steps = f64 { 0 }, method = "recursion" }) -- raises where it diverges
  end
  local o = { gamma = gamma, batch = batch, steps = f64(steps),
    runs = options.field(where, opts, "runs", "integer", 1),
    rng = core.rng(options.field(where, opts, "seed", "integer", 1)):fold("plrf sgd"),
    momentum = options.field(where, opts, "momentum", "number", 0) }
  if mode == "fast" then
    if opts.data or (opts.dtype or "f64") ~= "f64" then
      options.bad(where, 0, "the fast mode draws its own samples in f64; wanted mode = \"direct\"")
    end
    o.null = self.null
    return { steps = steps, risk = core.plrf.sgd_fast(self.lambda, self.t, o) }
  end
  o.dtype = opts.dtype
  if opts.data then o.x, o.W, o.b = opts.data:clone(), self.W, self.b end
  local risk, theta = core.plrf.sgd(self.A, self.u, o)
  return { steps = steps, risk = risk, theta = theta }
end

--- problem:expected{ gamma =, batch =, steps =, method = }
--- The exact expectation of the loss over the data, given W. Instability raises with the word
--- "diverges".
--- @param opts.gamma number > 0; a function of the step or a tensor [steps] with the recursion
--- @param opts.batch integer =1
--- @param opts.steps integer or list, whole numbers up to 9e15
--- @param opts.method string =secular any step at O(d) | recursion O(d) a step | volterra
--- @return tensor P [records]
--- @return table the steps
--- @source Paquette et al. 2024
function Problem:expected(opts)
  local where = "expected"
  options.required(where, opts, { "gamma", "batch", "steps", "method" })
  local method = options.choice(where, opts, "method", { "secular", "recursion", "volterra" },
    type(opts.gamma) == "number" and "secular" or "recursion")
  local steps = records(where, opts.steps)
  local o = { batch = opts.batch, steps = f64(steps), method = method, null = self.null }
  if type(opts.gamma) == "number" then
    o.gamma = opts.gamma
  else
    o.rates = rates(where, opts.gamma, steps[#steps])
  end
  local P = core.plrf.expected(self.lambda, self.rho, o)
  if method ~= "volterra" then return P, steps end
  local list = {}
  for i, r in ipairs(steps) do list[i] = P[math.tointeger(r) + 1] end
  return f64(list), steps
end

--- problem:kernel_norm{ gamma =, batch = }
--- @param opts.gamma number > 0
--- @param opts.batch integer =1
--- @return number the sum of the noise kernel; the loss stays bounded when it is below 1
--- @return number gamma (B+1) lambda_max, which must be below 2
--- @source Paquette et al. 2024
function Problem:kernel_norm(opts)
  options.required("kernel_norm", opts, { "gamma", "batch" })
  return core.plrf.kernel_norm(self.lambda, { gamma = opts.gamma, batch = opts.batch })
end

--- problem:stability{ gamma =, batch = }
--- @param opts.gamma number > 0
--- @param opts.batch integer =1
--- @return table { stable, kernel_norm, modes = gamma (B+1) lambda_max }
--- @source Paquette et al. 2024
function Problem:stability(opts)
  local norm, modes = self:kernel_norm(opts)
  return { stable = modes < 2 and norm < 1, kernel_norm = norm, modes = modes }
end

--- problem:rate{ norm =, batch = }
--- The learning rate at which the kernel norm has a value; at 1 the largest stable one.
--- @param opts.norm number =1 in (0, 1]
--- @param opts.batch integer =1
--- @return number gamma
--- @source Paquette et al. 2024
function Problem:rate(opts)
  opts = opts or {}
  options.required("rate", opts, { "norm", "batch" })
  local wanted = options.field("rate", opts, "norm", "number", 1)
  if not (wanted > 0 and wanted <= 1) then
    options.bad("rate", 0, "option 'norm' is %g, wanted a number in (0, 1]", wanted)
  end
  local batch = opts.batch or 1
  local low, high = 0, 2 / ((batch + 1) * self.lambda[self.d])
  for _ = 1, 200 do
    local middle = 0.5 * (low + high)
    if middle == low or middle == high then break end
    local norm, modes = self:kernel_norm { gamma = middle, batch = batch }
    if norm < wanted and modes < 2 then low = middle else high = middle end
  end
  return low
end

--- problem:minimiser()
--- @return tensor theta [d] of least loss
--- @source Paquette et al. 2024
function Problem:minimiser()
  local Q, R = core.solve.qr(self.A)
  local y = Q:transpose():matmul(self.u)
  local lower = R:transpose():clone()
  return core.solve.triangular(lower, y, { transposed = true })
end

-- ---- deterministic equivalent -------------------------------------------------------------------

-- integral of x^-s
local function integral(s, low, high)
  if math.abs(s - 1) < 1e-12 then return math.log(high / low) end
  return (high ^ (1 - s) - low ^ (1 - s)) / (1 - s)
end

-- The modes j = 1..v as atoms: those up to `first` one by one, the rest in geometric cells.
local function population(alpha, beta, v, first, cells)
  local a, na, e, count = {}, {}, {}, {}
  for j = 1, math.min(v, first) do
    a[j], e[j], count[j] = j ^ (-2 * alpha), j ^ (-2 * alpha - 2 * beta), 1
    na[j] = a[j]
  end
  local x = first + 0.5
  while x < v do
    local next_x = math.min(v + 0.5, math.max(x + 1, math.floor(x * math.exp(1 / cells)) + 0.5))
    local n, k = next_x - x, #a + 1
    na[k] = integral(2 * alpha, x, next_x)
    a[k], e[k], count[k] = na[k] / n, integral(2 * alpha + 2 * beta, x, next_x), n
    x = next_x
  end
  return f64 { a, na, e, count }
end

--- ml.plrf.deterministic{ alpha =, beta =, v =, d =, bins = }
--- The deterministic equivalent: the loss curve without a draw of W, at any step up to 1e15.
--- @param opts.alpha number >= 0
--- @param opts.beta number may be negative
--- @param opts.v integer data dimension, > d, up to 1e9
--- @param opts.d integer parameters
--- @param opts.bins boolean =v > 20000 the modes beyond 300 in 60 cells per e-fold, relative error
--- 1.4e-5
--- @return deterministic with kappa, F0, loss0; methods risk, kernel_norm, mass, m
--- @source Paquette et al. 2024
function plrf.deterministic(opts)
  local where = "plrf.deterministic"
  options.required(where, opts, { "alpha", "beta", "v", "d", "bins" })
  exponents(where, opts)
  local self = { alpha = opts.alpha, beta = opts.beta,
    v = options.field(where, opts, "v", "integer"), d = options.field(where, opts, "d", "integer") }
  sizes(where, self.v, self.d)
  options.range(where, "v", self.v, 1, 1000000000)
  local bins = options.optional(where, opts, "bins", "boolean")
  if bins == nil then bins = self.v > 20000 end
  self.population = core.keep(population(self.alpha, self.beta, self.v, bins and 300 or self.v, 60))
  self.kappa, self.F0 = core.plrf.floor(self.population, self.d)
  self.loss0 = self.population[3]:sum():item()
  self.trace = self.population[2]:sum():item()
  return setmetatable(self, Deterministic)
end

--- deterministic:risk{ gamma =, batch =, steps =, nodes = }
--- The loss P, what gradient descent alone gives F, and the noise kernel K. Instability raises with
--- the word "diverges".
--- @param opts.gamma number > 0
--- @param opts.batch integer =1
--- @param opts.steps integer or list; whole numbers, from 12 on fractions too, up to 1e15
--- @param opts.nodes integer =24 of the contour, relative error 1e-10; 16 gives 2e-9
--- @return tensor P [records]
--- @return tensor F
--- @return tensor K
--- @source Paquette et al. 2024
function Deterministic:risk(opts)
  options.required("risk", opts, { "gamma", "batch", "steps", "nodes" })
  local steps = records("risk", opts.steps)
  return core.plrf.curve(self.population, self.d, { gamma = opts.gamma, batch = opts.batch,
    steps = f64(steps), nodes = opts.nodes })
end

--- deterministic:kernel_norm{ gamma =, batch = }
--- @param opts.gamma number > 0
--- @param opts.batch integer =1
--- @return number the sum of the noise kernel
--- @source Paquette et al. 2024
function Deterministic:kernel_norm(opts)
  options.required("kernel_norm", opts, { "gamma", "batch" })
  return core.plrf.norm(self.population, self.d, { gamma = opts.gamma, batch = opts.batch })
end

--- deterministic:rate{ norm = }
--- gamma = 2 norm / sum j^(-2 alpha): the kernel norm is about norm.
--- @param opts.norm number =0.25
--- @return number gamma
--- @source Paquette et al. 2024
function Deterministic:rate(opts)
  options.check("rate", opts, { "norm" })
  return 2 * (opts and opts.norm or 0.25) / self.trace
end

--- deterministic:m(re, im)
--- The fixed point m(z) of the resolvent.
--- @param re number
--- @param im number =0
--- @return number real part
--- @return number imaginary part
--- @source Paquette et al. 2024
function Deterministic:m(re, im)
  options.argument("m", 1, re, "number")
  return core.plrf.m(self.population, self.d, { re = re, im = im or 0.0 })
end

--- deterministic:mass(x)
--- Energy and number of eigenvalues above x.
--- @param x number, list or tensor, inside (0, 8)
--- @return tensor mass [n]; a number for a number
--- @return tensor count [n]
--- @source Paquette et al. 2024
function Deterministic:mass(x)
  local list = type(x) == "number" and { x } or type(x) == "userdata" and x:totable() or x
  options.argument("mass", 1, list, "table")
  local mass, count = core.plrf.mass(self.population, self.d, { x = f64(list) })
  if type(x) == "number" then return mass[1], count[1] end
  return mass, count
end

return plrf
