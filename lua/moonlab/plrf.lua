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
local Cells = { __name = "moonlab.plrf.cells" }
Cells.__index = Cells
plrf.methods = { Problem, Deterministic, Cells }

local function f64(list) return core.tensor(list, { dtype = "f64" }) end

-- j^-power for j = 1..v
local function powers(v, power) return core.arange(1, v) ^ -power end

-- A field that is a finite number above 0, or its default.
local function positive(where, o, name, default)
  local value = options.field(where, o, name, "number", default)
  if not (value > 0 and value < math.huge) then
    options.bad(where, 0, "option '%s' is %g, wanted a number > 0", name, value)
  end
  return value
end

local function momentum_of(where, o)
  local value = options.field(where, o, "momentum", "number", 0)
  if not (value >= 0 and value < 1) then
    options.bad(where, 0, "option 'momentum' is %g, wanted 0 <= momentum < 1", value)
  end
  return value
end

local function batch_of(where, o)
  return options.range(where, "batch", options.field(where, o, "batch", "integer", 1), 1)
end

local function is_tensor(x)
  local meta = getmetatable(x)
  return type(meta) == "table" and rawget(meta, "__name") == "ml.tensor"
end

local function all_finite(x)
  local answer = x:isfinite():all():item()
  return answer ~= 0 and answer ~= false
end

-- Raises where what is to be done takes more memory than there is.
local function room(where, bytes, what, ...)
  local limit = core.memory().limit - core.memory().live
  if bytes > limit then
    options.raise("%s: out of memory: %s take %.1f GiB, and there are %.1f", where,
      what:format(...), bytes / 2 ^ 30, limit / 2 ^ 30)
  end
end

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

local largest = 46340 -- rows that LAPACK's integers can count
local function problem_sizes(where, v, d)
  sizes(where, v, d)
  if d > largest then
    options.bad(where, 0, "option 'd' is %d, wanted at most %d: H alone takes %.1f GiB", d, largest,
      8 * d * (d + 0.0) / 2 ^ 30)
  end
  room(where, 8 * (2.0 * v * d + 1.0 * d * d), "W, A and H for v = %d, d = %d", v, d)
end

--- ml.plrf.problem{ alpha =, beta =, v =, d =, seed = | W = }
--- One draw of the model: data x_j = j^-alpha z_j, target sum_j j^-beta x_j, features W^T x; the
--- loss E (features.theta - target)^2 without a factor 1/2. Takes d^2 + 2 v d doubles and v d^2 +
--- (4/3) d^3 flops. Where the least eigenvalue is below 1e-10 of the largest or the least loss
--- below 1e-8 of loss0 they come from factors of the features, for about ten times as many.
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
    if not is_tensor(W) or W:is_released() or #W:shape() ~= 2 or W:dtype() ~= "f64" then
      options.bad(where, 0, "option 'W' is %s, wanted a matrix of f64", options.describe(W))
    end
    self.v, self.d = W:size(1), W:size(2)
    for _, name in ipairs { "v", "d", "seed" } do
      if opts[name] ~= nil and opts[name] ~= self[name] then
        options.bad(where, 0, "option '%s' is %s beside W of %s; wanted one or the other", name,
          options.describe(opts[name]), options.describe(W))
      end
    end
    problem_sizes(where, self.v, self.d)
    if not all_finite(W) then
      options.bad(where, 0, "option 'W' has entries that are not finite")
    end
    W = W:detach():clone()
  else
    self.v = options.field(where, opts, "v", "integer")
    self.d = options.field(where, opts, "d", "integer")
    self.seed = options.field(where, opts, "seed", "integer", 1)
    problem_sizes(where, self.v, self.d)
    W = core.rng(self.seed):fold("plrf W"):normal({ self.v, self.d }):div_(math.sqrt(self.d))
  end
  self.W = core.keep(W)
  self.sigma = core.keep(powers(self.v, self.alpha))
  self.b = core.keep(powers(self.v, self.beta))
  self.A = core.keep(W * self.sigma:reshape { self.v, 1 })
  self.u = core.keep(self.sigma * self.b)
  local lambda, t, rho
  lambda, t, rho, self.null, self.loss0 = core.plrf.spectrum(self.A, self.u)
  self.lambda, self.t, self.rho = core.keep(lambda), core.keep(t), core.keep(rho)
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
    room(where, 24.0 * n, "%d records", n + 1)
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

-- The rates of steps 1..last as a tensor [1] or [last], and the rate where it is the same for all.
local function rates(where, o, last)
  local gamma = o.gamma
  if type(gamma) == "number" then return f64 { positive(where, o, "gamma") }, gamma end
  local function check(r, rate)
    if type(rate) ~= "number" or not (rate >= 0 and rate < math.huge) then
      options.bad(where, 0, "option 'gamma' is %s at step %d, wanted a number >= 0",
        options.describe(rate), r)
    end
    return rate
  end
  local list = {}
  if type(gamma) == "function" then
    room(where, 32.0 * last, "the rates of %d steps", last)
    for r = 1, math.max(1, last) do list[r] = check(r, gamma(r)) end
  elseif is_tensor(gamma) and not gamma:is_released() and gamma:dtype() == "f64"
    and #gamma:shape() == 1 and gamma:size(1) >= math.max(1, last) then
    room(where, 32.0 * last, "the rates of %d steps", last)
    list = gamma:totable()
    for r, rate in ipairs(list) do check(r, rate) end
  else
    options.bad(where, 0, "option 'gamma' is %s, wanted a number, a function of the step, or a "
      .. "tensor f64 [%d]", options.describe(gamma), last)
  end
  for r = 2, #list do
    if list[r] ~= list[1] then return f64(list) end
  end
  return f64(list), list[1] > 0 and list[1] or nil
end

-- Steps one by one, at `work` updates of a parameter each.
local function in_reach(where, last, work)
  local seconds = 1.0 * last * work / 2e9
  if seconds > 3e6 then
    options.bad(where, 0, "option 'steps' goes to %.3g, which takes about %.0f days step by step; "
      .. "problem:expected by the secular form has no steps", last, seconds / 86400)
  end
end

--- problem:sgd{ gamma =, batch =, steps =, runs =, mode =, record =, seed =, momentum =, dtype =,
---   data =, diverging = }
--- Simulates one-pass SGD from theta = 0: theta -= gamma * sum over the batch of features * error.
--- All modes have the same law. Instability raises with the word "diverges": before the run by the
--- exact expected loss, with momentum and a changing rate too; after it where a loss ran away.
--- @param opts.gamma number > 0; or a function of the step (from 1), or a tensor [steps] f64, >= 0
--- @param opts.batch integer =1 samples an update, >= 1
--- @param opts.steps integer or list of them: where the loss is recorded
--- @param opts.runs integer =1 independent runs, one random stream each
--- @param opts.mode string =fast in the eigenbasis, O(d) a sample | direct: samples x and W^T x
--- @param opts.record string =log 12 records a decade | all
--- @param opts.seed integer =1 of every draw
--- @param opts.momentum number =0 u = momentum u + gradient, theta -= gamma u
--- @param opts.dtype string =f64 | f32, in direct mode
--- @param opts.data tensor [steps,batch,v] f64 the samples x; one run
--- @param opts.diverging boolean =false a loss that runs away is a result, up to inf
--- @return table { steps, risk [runs, records], theta [runs, d] (not in fast mode) }
--- @source Paquette et al. 2024
function Problem:sgd(opts)
  local where = "sgd"
  options.required(where, opts, { "gamma", "batch", "steps", "runs", "mode", "record", "seed",
    "momentum", "dtype", "data", "diverging" })
  local mode = options.choice(where, opts, "mode", { "fast", "direct" },
    (opts.data or opts.dtype) and "direct" or "fast")
  local record = options.choice(where, opts, "record", { "log", "all" }, "log")
  local batch, momentum = batch_of(where, opts), momentum_of(where, opts)
  local runs = options.range(where, "runs", options.field(where, opts, "runs", "integer", 1), 1)
  local diverging = options.field(where, opts, "diverging", "boolean", false)
  local steps = records(where, opts.steps, record)
  local last = steps[#steps]
  in_reach(where, last, 1.0 * batch * runs * self.d)
  local gamma, constant = rates(where, opts, last)
  local data = opts.data
  if mode == "fast" and (data or (opts.dtype or "f64") ~= "f64") then
    options.bad(where, 0, "the fast mode draws its own samples in f64; wanted mode = \"direct\"")
  end
  if data ~= nil then
    if not is_tensor(data) or data:is_released() or data:dtype() ~= "f64"
      or #data:shape() ~= 3 or data:size(1) < last or data:size(2) ~= batch
      or data:size(3) ~= self.v then
      options.bad(where, 0, "option 'data' is %s, wanted f64 [%dx%dx%d]", options.describe(data),
        last, batch, self.v)
    end
    if runs ~= 1 then options.bad(where, 0, "option 'runs' is %d, wanted 1 with data", runs) end
    if not all_finite(data) then
      options.bad(where, 0, "option 'data' has entries that are not finite")
    end
  end
  if not diverging then -- raises where it diverges
    core.plrf.expected(self.lambda, self.rho, { gamma = constant, rates = not constant and gamma
      or nil, batch = batch, steps = f64 { constant and 0 or last }, momentum = momentum,
      method = "recursion", null = self.null })
  end
  local o = { gamma = gamma, batch = batch, steps = f64(steps), runs = runs,
    rng = core.rng(options.field(where, opts, "seed", "integer", 1)):fold("plrf sgd"),
    momentum = momentum, diverging = diverging }
  if mode == "fast" then
    o.null = self.null
    return { steps = steps, risk = core.plrf.sgd_fast(self.lambda, self.t, o) }
  end
  o.dtype = opts.dtype
  if data then o.x, o.W, o.b = data:detach():clone(), self.W, self.b end
  local risk, theta = core.plrf.sgd(self.A, self.u, o)
  return { steps = steps, risk = risk, theta = theta }
end

-- Times and rates of steps up to the last record: single updates up to 1000, then equal ratios
-- `step` in log time. Returns lengths (0 for one update), rates, and the place of each record.
local function times(where, gamma, steps, step)
  local lengths, rates_, places = {}, {}, {}
  local function add(length, r)
    local rate = type(gamma) == "number" and gamma or gamma(math.tointeger(r) or r)
    if type(rate) ~= "number" or not (rate >= 0 and rate < math.huge) then
      options.bad(where, 0, "option 'gamma' is %s at step %.0f, wanted a number >= 0",
        options.describe(rate), r)
    end
    lengths[#lengths + 1], rates_[#rates_ + 1] = length, rate
  end
  local now = 0
  for i, r in ipairs(steps) do
    while now < math.min(r, 1000) do
      now = now + 1
      add(0, now)
    end
    if r > now then
      local n = math.ceil(math.log(r / now) / step)
      local first = now
      for k = 1, n do
        local next_ = k == n and r or first * (r / first) ^ (k / n)
        add(next_ - now, math.ceil(0.5 * (now + next_)))
        now = next_
      end
    end
    places[i] = #lengths
  end
  return lengths, rates_, places
end

-- The expected loss of whatever has modes: lambda, rho and, for cells, counts.
local function expected(where, self, opts)
  options.required(where, opts, { "gamma", "batch", "steps", "method", "momentum", "diverging",
    "step" })
  local momentum = momentum_of(where, opts)
  local diverging = options.field(where, opts, "diverging", "boolean", false)
  local method = options.choice(where, opts, "method",
    { "secular", "recursion", "volterra", "ode" }, type(opts.gamma) == "number" and momentum == 0
      and not diverging and "secular" or "recursion")
  if method ~= "recursion" and (momentum ~= 0 or diverging
    or method ~= "ode" and type(opts.gamma) ~= "number") then
    options.bad(where, 0, "momentum, a rate that changes and divergence need method = "
      .. "\"recursion\", got \"%s\"", method)
  end
  local step = options.field(where, opts, "step", "number", 0.01)
  if not (step >= 1e-5 and step <= 1) then
    options.bad(where, 0, "option 'step' is %g, wanted a number in 1e-5..1", step)
  end
  local steps = records(where, opts.steps)
  local last = steps[#steps]
  local batch = batch_of(where, opts)
  if method == "ode" then
    local gamma = type(opts.gamma) == "function" and opts.gamma or positive(where, opts, "gamma")
    if type(gamma) == "number" then -- raises where it diverges
      core.plrf.expected(self.lambda, self.rho, { gamma = gamma, batch = batch, steps = f64 { 0 },
        counts = self.counts, null = self.null })
    end
    for i, r in ipairs(steps) do
      if not (r <= 9e15) or r ~= math.floor(r) then
        options.bad(where, 0, "option 'steps': value %d is %g, wanted whole numbers up to 9e15", i,
          r)
      end
    end
    local lengths, rates_, places = times(where, gamma, steps, step)
    local P = #lengths == 0 and {} or core.plrf.expected(self.lambda, self.rho, {
      method = "ode", rates = f64(rates_), h = f64(lengths), batch = batch, counts = self.counts,
      null = self.null }):totable()
    local list, start = {}, self.null + self.rho:sum():item()
    for i in ipairs(steps) do list[i] = places[i] == 0 and start or P[places[i]] end
    if not (list[#list] <= 1e3 * start) then
      options.raise("%s: SGD diverges: the expected loss is %g after %.0f steps (%g at the start)",
        where, list[#list], last, start)
    end
    return f64(list), steps
  end
  local o = { batch = batch, steps = f64(steps), method = method, null = self.null,
    counts = self.counts, momentum = momentum, diverging = diverging }
  if method == "recursion" then in_reach(where, last, self.lambda:size(1)) end
  local gamma, constant = rates(where, opts, last)
  if constant then o.gamma = constant else o.rates = gamma end
  local P = core.plrf.expected(self.lambda, self.rho, o)
  if method ~= "volterra" then return P, steps end
  local list = {}
  for i, r in ipairs(steps) do list[i] = P[math.tointeger(r) + 1] end
  return f64(list), steps
end

--- problem:expected{ gamma =, batch =, steps =, method =, momentum =, diverging =, step = }
--- The exact expectation of the loss over the data, given W. Instability raises with the word
--- "diverges". The method ode is for rates that change over more steps than can be taken: the first
--- 1000 updates by the recursion, then implicit Euler in log time, whose error is of the order of
--- its step (under 1 % at 0.01).
--- @param opts.gamma number > 0; a function of the step with the recursion and ode, or a tensor
--- [steps] with the recursion
--- @param opts.batch integer =1 samples an update, >= 1
--- @param opts.steps integer or list, whole numbers up to 9e15
--- @param opts.method string =secular any step at O(d) | recursion O(d) a step, for momentum, rates
--- that change and divergence | volterra | ode
--- @param opts.momentum number =0 share of the last step that is kept, in [0, 1)
--- @param opts.diverging boolean =false an expectation that runs away is a result, up to inf
--- @param opts.step number =0.01 of ode, in log time
--- @return tensor P [records]
--- @return table the steps
--- @source Paquette et al. 2024
function Problem:expected(opts) return expected("expected", self, opts) end

local function kernel_norm(where, self, opts)
  options.required(where, opts, { "gamma", "batch", "momentum" })
  return core.plrf.kernel_norm(self.lambda, { gamma = positive(where, opts, "gamma"),
    batch = batch_of(where, opts), momentum = momentum_of(where, opts) })
end

--- problem:kernel_norm{ gamma =, batch =, momentum = }
--- @param opts.gamma number > 0
--- @param opts.batch integer =1 samples an update, >= 1
--- @param opts.momentum number =0 share of the last step that is kept, in [0, 1)
--- @return number the sum of the noise kernel; the loss stays bounded when it is below 1; inf where
--- a mode does not contract
--- @return number gamma (B+1) lambda_max, which must be below 2; with momentum m gamma (B+1 +
--- m (1-B)) lambda_max / (1-m^2)
--- @source Paquette et al. 2024
function Problem:kernel_norm(opts) return kernel_norm("kernel_norm", self, opts) end

--- problem:stability{ gamma =, batch =, momentum = }
--- @param opts.gamma number > 0
--- @param opts.batch integer =1 samples an update, >= 1
--- @param opts.momentum number =0 share of the last step that is kept, in [0, 1)
--- @return table { stable, kernel_norm, modes }: the two values of kernel_norm, and whether they
--- are below 1 and 2
--- @source Paquette et al. 2024
function Problem:stability(opts)
  local norm, modes = kernel_norm("stability", self, opts)
  return { stable = modes < 2 and norm < 1, kernel_norm = norm, modes = modes }
end

--- problem:rate{ norm =, batch =, momentum = }
--- The learning rate at which the kernel norm has a value; at 1 the largest stable one.
--- @param opts.norm number =1 above 0; above 1 the loss diverges
--- @param opts.batch integer =1 samples an update, >= 1
--- @param opts.momentum number =0 share of the last step that is kept, in [0, 1)
--- @return number gamma
--- @source Paquette et al. 2024
function Problem:rate(opts)
  local where = "rate"
  opts = opts or {}
  options.required(where, opts, { "norm", "batch", "momentum" })
  local wanted = positive(where, opts, "norm", 1)
  local batch, momentum = batch_of(where, opts), momentum_of(where, opts)
  local top = self.lambda[self.d]
  if not (top > 0) then
    options.bad(where, 0, "the features of this problem are 0: every rate is stable")
  end
  local low, high = 0, 2 * (1 + momentum) / ((batch * (1 - momentum) + 1 + momentum) * top)
  for _ = 1, 200 do
    local middle = 0.5 * (low + high)
    if middle == low or middle == high then break end
    local norm = core.plrf.kernel_norm(self.lambda, { gamma = middle, batch = batch,
      momentum = momentum })
    if norm < wanted then low = middle else high = middle end
  end
  return low
end

--- problem:minimiser()
--- @return tensor theta [d] of least loss; the shortest where features depend on each other
--- @source Paquette et al. 2024
function Problem:minimiser()
  if self.lambda[1] == 0 then return (require "moonlab.solve".lstsq(self.A, self.u)) end
  local Q, R = core.solve.qr(self.A)
  local y = Q:transpose():matmul(self.u)
  local lower = R:transpose():clone()
  return core.solve.triangular(lower, y, { transposed = true })
end

--- problem:release()
--- Gives the memory of its matrices back now, for loops over many draws; spectrum and curves stay.
--- Afterwards the direct mode of sgd and minimiser raise.
--- @return nothing
--- @source -
function Problem:release()
  self.W:release()
  self.A:release()
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
--- @param opts.v integer data dimension, >= d, up to 1e12
--- @param opts.d integer parameters
--- @param opts.bins boolean =v > 20000 the modes beyond 300 in 60 cells per e-fold, relative error
--- 1.4e-5
--- @return deterministic with kappa, F0, loss0; methods risk, refined,
--- kernel_norm, rate, mass, m, cells
--- @source Paquette et al. 2024
function plrf.deterministic(opts)
  local where = "plrf.deterministic"
  options.required(where, opts, { "alpha", "beta", "v", "d", "bins" })
  exponents(where, opts)
  local self = { alpha = opts.alpha, beta = opts.beta,
    v = options.field(where, opts, "v", "integer"), d = options.field(where, opts, "d", "integer") }
  sizes(where, self.v, self.d)
  options.range(where, "v", self.v, 1, 1000000000000)
  local bins = options.optional(where, opts, "bins", "boolean")
  if bins == nil then bins = self.v > 20000 end
  if not bins then room(where, 96.0 * self.v, "%d modes without bins", self.v) end
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
--- @param opts.batch integer =1 samples an update, >= 1
--- @param opts.steps integer or list; whole numbers, from 12 on fractions too, up to 1e15
--- @param opts.nodes integer =24 of the contour, relative error 1e-10; 16 gives 2e-9
--- @return tensor P [records]
--- @return tensor F
--- @return tensor K
--- @source Paquette et al. 2024
function Deterministic:risk(opts)
  options.required("risk", opts, { "gamma", "batch", "steps", "nodes" })
  local steps = records("risk", opts.steps)
  return core.plrf.curve(self.population, self.d, { gamma = positive("risk", opts, "gamma"),
    batch = batch_of("risk", opts), steps = f64(steps), nodes = opts.nodes })
end

--- deterministic:refined{ gamma =, batch =, steps = }
--- The loss from F and K alone, without their convolution: F/(1-k) + c_beta K/(2 gamma B (1-k)^2)
--- with the kernel norm k and c_beta = sum j^(-2 beta), the last term for beta > 1/2 only. Within
--- 2 % from step 30 on at (0.7, 1.2) and (1, 0.8) with d = 1e4; 19 % too high at beta = 0.6.
--- @param opts.gamma number > 0
--- @param opts.batch integer =1 samples an update, >= 1
--- @param opts.steps integer or list
--- @return tensor [records]
--- @source Paquette et al. 2024, Section 3
function Deterministic:refined(opts)
  options.required("refined", opts, { "gamma", "batch", "steps" })
  local gamma, batch = positive("refined", opts, "gamma"), batch_of("refined", opts)
  local steps = records("refined", opts.steps)
  local _, F, K = core.plrf.curve(self.population, self.d, { gamma = gamma, batch = batch,
    steps = f64(steps) })
  local rest = 1 - core.plrf.norm(self.population, self.d, { gamma = gamma, batch = batch })
  if not (self.beta > 0.5) then return F / rest end
  return F / rest + K * (theory.power_sum(2 * self.beta, self.v) / (2 * gamma * batch * rest ^ 2))
end

--- deterministic:kernel_norm{ gamma =, batch = }
--- @param opts.gamma number > 0
--- @param opts.batch integer =1 samples an update, >= 1
--- @return number the sum of the noise kernel
--- @source Paquette et al. 2024
function Deterministic:kernel_norm(opts)
  options.required("kernel_norm", opts, { "gamma", "batch" })
  return core.plrf.norm(self.population, self.d, { gamma = positive("kernel_norm", opts, "gamma"),
    batch = batch_of("kernel_norm", opts) })
end

--- deterministic:rate{ norm = }
--- gamma = 2 norm / sum j^(-2 alpha): the kernel norm is about norm.
--- @param opts.norm number =0.25
--- @return number gamma
--- @source Paquette et al. 2024
function Deterministic:rate(opts)
  options.check("rate", opts, { "norm" })
  return 2 * positive("rate", opts or {}, "norm", 0.25) / self.trace
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
  if im ~= nil then options.argument("m", 2, im, "number") end
  return core.plrf.m(self.population, self.d, { re = re, im = im or 0.0 })
end

--- deterministic:mass(x)
--- Energy and number of eigenvalues above x.
--- @param x number, list or tensor, above 0 and below top, which is 8 or more
--- @return tensor mass [n]; a number for a number
--- @return tensor count [n]
--- @source Paquette et al. 2024
function Deterministic:mass(x)
  local list = type(x) == "number" and { x } or is_tensor(x) and x:totable() or x
  options.argument("mass", 1, list, "table")
  for i = 1, #list do
    if type(list[i]) ~= "number" then
      options.bad("mass", 1, "value %d is %s, wanted a number", i, options.describe(list[i]))
    end
  end
  -- the largest eigenvalue is at most about (1 + sqrt(trace/d))^2
  local top = math.max(8, 2 * (1 + math.sqrt(self.trace / self.d)) ^ 2)
  local mass, count = core.plrf.mass(self.population, self.d, { x = f64(list), top = top })
  if type(x) == "number" then return mass[1], count[1] end
  return mass, count
end

--- deterministic:cells{ n = }
--- The spectrum of the deterministic equivalent as atoms: energy and number of eigenvalues of each
--- of n cells in log x. With them curves are those of a problem: rates that change, momentum. Where
--- v = d the spectrum reaches 0, and the cells end at 1e-4 of v^(-2 alpha).
--- @param opts.n integer =600 relative error of curves about 3e-5 at 600, 3e-4 at 160
--- @return cells with lambda [m] ascending, rho [m] energies, counts [m] eigenvalues in each, null
--- (F0), loss0; method expected
--- @source Paquette et al. 2024
function Deterministic:cells(opts)
  local where = "cells"
  opts = opts or {}
  options.required(where, opts, { "n" })
  local n = options.range(where, "n", options.field(where, opts, "n", "integer", 600), 8, 100000)
  -- the spectrum lies above a few percent of kappa where v > d; else it reaches 0
  local top = 1.1 * (1 + math.sqrt(self.trace / self.d)) ^ 2
  local low = self.kappa > 0 and self.kappa / 50 or 1e-4 * self.v ^ (-2 * self.alpha)
  local edges = {}
  for i = 0, n do edges[i + 1] = top * (low / top) ^ (i / n) end
  local mass, count = self:mass(edges)
  mass, count = mass:totable(), count:totable()
  -- what is left below belongs to the last cell
  mass[n + 1], count[n + 1] = self.loss0 - self.F0, math.min(self.d, self.v)
  local lambda, rho, counts = {}, {}, {}
  for i = n + 1, 2, -1 do
    local m, c = mass[i] - mass[i - 1], count[i] - count[i - 1]
    if c > 1e-9 then
      local k = #lambda + 1
      lambda[k], rho[k], counts[k] = math.sqrt(edges[i] * edges[i - 1]), math.max(0, m), c
    end
  end
  return setmetatable({ lambda = core.keep(f64(lambda)), rho = core.keep(f64(rho)),
    counts = core.keep(f64(counts)), null = self.F0, loss0 = self.loss0 }, Cells)
end

--- deterministic:crude()
--- A spectrum of the right order of magnitude without a fixed point: eigenvalues j^(-2 alpha) for j
--- up to d, energies j^(-2 alpha - 2 beta), and c_beta/d j^(-2 alpha) more where alpha and beta are
--- above 1/2 (c_beta = sum of j^(-2 beta)); F0 is the exact one.
--- @return cells with lambda [d] ascending, rho [d], counts [d] of ones, null (F0), loss0; method
--- expected
--- @source Paquette et al. 2024, Section 2
function Deterministic:crude()
  room("crude", 64.0 * self.d, "%d eigenvalues", self.d)
  local j = core.arange(self.d, 1, { step = -1 })
  local lambda, rho = j ^ (-2 * self.alpha), j ^ (-2 * self.alpha - 2 * self.beta)
  if self.alpha > 0.5 and self.beta > 0.5 then
    rho = rho + lambda * (theory.power_sum(2 * self.beta, self.v) / self.d)
  end
  return setmetatable({ lambda = core.keep(lambda), rho = core.keep(rho),
    counts = core.keep(core.ones { self.d }), null = self.F0,
    loss0 = self.F0 + rho:sum():item() }, Cells)
end

--- cells:expected{ gamma =, batch =, steps =, method =, momentum =, diverging =, step = }
--- The loss of the deterministic equivalent at rates that change; see problem:expected.
--- @param opts.gamma number > 0; a function of the step; a tensor [steps]
--- @param opts.batch integer =1 samples an update, >= 1
--- @param opts.steps integer or list
--- @param opts.method string =secular | recursion | volterra | ode
--- @param opts.momentum number =0 share of the last step that is kept, in [0, 1)
--- @param opts.diverging boolean =false
--- @param opts.step number =0.01 of ode, in log time
--- @return tensor P [records]
--- @return table the steps
--- @source Paquette et al. 2024
function Cells:expected(opts) return expected("expected", self, opts) end

return plrf
