--- Normal, Student t and beta distributions: probabilities and quantiles in double precision.
local beta = require "moonlab.stats.beta"
local core = require "moonlab.core"
local samples = require "moonlab.samples"

local distributions = {}
local fail = samples.fail
distributions.raw_beta_quantile = beta.quantile

-- ---- Student's t --------------------------------------------------------------------------------

local function erfc(x) return core.erfc(core.tensor(x)):item() end

local function normal_tail(z) return 0.5 * erfc(z / math.sqrt(2)) end -- P(Z > z)

-- P(T > t) for t >= 0.
local function t_tail(t, dof)
  if dof == math.huge then return normal_tail(t) end
  local square = t * t
  if square == math.huge then return 0.0 end
  local tail = beta.both(dof / (dof + square), square / (dof + square), dof / 2, 0.5)
  return 0.5 * tail
end

local function t_cdf(t, dof)
  if t >= 0 then return 1 - t_tail(t, dof) end
  return t_tail(-t, dof)
end

-- Algorithm AS 241 (Wichura 1988), PPND16: about 16 digits.
local function ratio(r, top, bottom)
  local a, b = 0.0, 0.0
  for i = #top, 1, -1 do a = a * r + top[i] end
  for i = #bottom, 1, -1 do b = b * r + bottom[i] end
  return a / b
end

local central = {
  { 3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
    1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
    3.3430575583588128105e4, 2.5090809287301226727e3 },
  { 1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
    2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
    5.2264952788528545610e3 },
}
local middle = {
  { 1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
    3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
    2.27238449892691845833e-2, 7.74545014278341407640e-4 },
  { 1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
    1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
    1.05075007164441684324e-9 },
}
local far = {
  { 6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
    2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
    2.71155556874348757815e-5, 2.01033439929228813265e-7 },
  { 1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
    7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
    2.04426310338993978564e-15 },
}

local function normal_quantile(p)
  local q = p - 0.5
  if math.abs(q) <= 0.425 then return q * ratio(0.180625 - q * q, central[1], central[2]) end
  local tail = q < 0 and p or 1 - p
  if not (tail > 0) then return q < 0 and -math.huge or math.huge end
  local r = math.sqrt(-math.log(tail))
  local z = r <= 5 and ratio(r - 1.6, middle[1], middle[2]) or ratio(r - 5, far[1], far[2])
  return q < 0 and -z or z
end
distributions.raw_normal_quantile = normal_quantile
distributions.raw_normal_tail = normal_tail
distributions.raw_t_tail = t_tail

-- P(T > t) = tail, 0 < tail < 1/2: T^2 / (dof + T^2) is beta(1/2, dof/2).
local function t_upper(tail, dof)
  if dof == math.huge then return -normal_quantile(tail) end
  -- y = dof / (dof + t^2) is beta(dof/2, 1/2) and has probability 2 tail below
  local below = beta.both(0.5, 0.5, dof / 2, 0.5)
  if 2 * tail <= below then
    local y = beta.root(2 * tail, 1 - 2 * tail, dof / 2, 0.5)
    return math.sqrt(dof * (1 - y) / y)
  end
  local x = beta.root(1 - 2 * tail, 2 * tail, 0.5, dof / 2)
  return math.sqrt(dof * x / (1 - x))
end

local function t_quantile(p, dof)
  if p == 0.5 then return 0.0 end
  if p == 0 then return -math.huge end
  if p == 1 then return math.huge end
  if p < 0.5 then return -t_upper(p, dof) end
  return t_upper(1 - p, dof)
end
distributions.raw_t_quantile = t_quantile

-- ---- public functions ---------------------------------------------------------------------------

local function number(where, position, name, x)
  if type(x) ~= "number" or x ~= x then
    fail(where, position, "%s is %s, wanted a number", name, samples.shown(x))
  end
  return x
end

local function probability(where, position, p)
  if not (number(where, position, "p", p) >= 0 and p <= 1) then
    fail(where, position, "p is %.14g, wanted a probability, 0 to 1", p)
  end
  return p
end

local function positive(where, position, name, x)
  if not (number(where, position, name, x) > 0) then
    fail(where, position, "%s is %.14g, wanted > 0", name, x)
  end
  return x
end

local function shape(where, position, name, x)
  if positive(where, position, name, x) == math.huge then
    fail(where, position, "%s is inf, wanted a finite number > 0", name)
  end
  return x
end

--- ml.stats.normal_cdf(z)
--- The probability that a standard normal variable is at most z.
--- @param z number any
--- @return number
--- @source erfc of the C library
function distributions.normal_cdf(z)
  return normal_tail(-number("ml.stats.normal_cdf", 1, "z", z))
end

--- ml.stats.normal_quantile(p)
--- The z below which a standard normal variable falls with probability p; -inf at 0 and inf at 1.
--- @param p number 0 to 1
--- @return number about 16 digits
--- @source Wichura 1988 (algorithm AS 241, PPND16)
function distributions.normal_quantile(p)
  return normal_quantile(probability("ml.stats.normal_quantile", 1, p))
end

--- ml.stats.t_cdf(t, dof)
--- The probability that Student's t with dof degrees of freedom is at most t.
--- @param t number any
--- @param dof number > 0, need not be whole; math.huge is the normal distribution
--- @return number
--- @source Abramowitz & Stegun 1964, 26.7.1 through the incomplete beta function
function distributions.t_cdf(t, dof)
  local where = "ml.stats.t_cdf"
  return t_cdf(number(where, 1, "t", t), positive(where, 2, "dof", dof))
end

--- ml.stats.t_quantile(p, dof)
--- The t below which Student's t with dof degrees of freedom falls with probability p; -inf at 0
--- and inf at 1.
--- @param p number 0 to 1
--- @param dof number > 0, need not be whole; math.huge is the normal distribution
--- @return number
--- @source Abramowitz & Stegun 1964, 26.7.1; the root by Newton's method inside a bracket
function distributions.t_quantile(p, dof)
  local where = "ml.stats.t_quantile"
  return t_quantile(probability(where, 1, p), positive(where, 2, "dof", dof))
end

--- ml.stats.beta_cdf(x, { a, b })
--- The probability that a beta variable is at most x: the regularized incomplete beta function
--- I_x(a, b).
--- @param x number below 0 counts as 0, above 1 as 1
--- @param shape table { a, b }, both > 0
--- @return number
--- @source Press et al. 2007, section 6.4 (Lentz's continued fraction); front factor as in Loader
--- 2000
function distributions.beta_cdf(x, ab)
  local where = "ml.stats.beta_cdf"
  number(where, 1, "x", x)
  if type(ab) ~= "table" then
    fail(where, 2, "%s, wanted the shape { a, b }", samples.shown(ab))
  end
  local p = beta.both(x, 1 - x, shape(where, 2, "a", ab[1]), shape(where, 2, "b", ab[2]))
  return p
end

--- ml.stats.beta_quantile(p, { a, b })
--- The x below which a beta variable falls with probability p.
--- @param p number 0 to 1
--- @param shape table { a, b }, both > 0
--- @return number 0 to 1
--- @source the root of beta_cdf by Newton's method inside a bracket
function distributions.beta_quantile(p, ab)
  local where = "ml.stats.beta_quantile"
  probability(where, 1, p)
  if type(ab) ~= "table" then
    fail(where, 2, "%s, wanted the shape { a, b }", samples.shown(ab))
  end
  return beta.quantile(p, shape(where, 2, "a", ab[1]), shape(where, 2, "b", ab[2]))
end

return distributions
