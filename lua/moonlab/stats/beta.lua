--- The incomplete beta function and its inverse in double precision.
local beta = {}

-- ---- the gamma function -------------------------------------------------------------------------

local lanczos = {
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
  -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6,
  1.5056327351493116e-7,
}
local half_log_2pi = 0.5 * math.log(2 * math.pi)

-- log Gamma(z), z > 0: Lanczos 1964 with the coefficients of Godfrey (g = 7, n = 9).
local function log_gamma(z)
  local sum = lanczos[1]
  for i = 2, 9 do sum = sum + lanczos[i] / (z + i - 2) end
  local t = z + 6.5
  return half_log_2pi + (z - 0.5) * math.log(t) - t + math.log(sum)
end

-- The remainder of Stirling's formula: log Gamma(z) - ((z - 1/2) log z - z + log(2 pi)/2).
local function stirling_rest(z)
  if z < 10 then return log_gamma(z) - ((z - 0.5) * math.log(z) - z + half_log_2pi) end
  local r = 1 / (z * z)
  return (1 / 12 - r * (1 / 360 - r * (1 / 1260 - r * (1 / 1680 - r * (1 / 1188
    - r * (691 / 360360 - r / 156)))))) / z
end

local function log1p(x)
  local u = 1 + x
  if u == 1 then return x end
  return math.log(u) * (x / (u - 1)) -- Kahan
end

-- log(x / m) where d = x - m is known to full precision.
local function log_ratio(x, m, d)
  if math.abs(d) < 0.5 * m then return log1p(d / m) end
  return math.log(x / m)
end

-- ---- the incomplete beta function ---------------------------------------------------------------

-- log of x^a y^b / B(a, b), x + y = 1, without the cancellation of large log-gammas (as in Loader
-- 2000).
local function log_beta_front(x, y, a, b)
  local c = a + b
  local d = x * b - y * a -- c (x - a/c)
  local power = a * log_ratio(x, a / c, d / c) + b * log_ratio(y, b / c, -d / c)
  return power + 0.5 * math.log(a * (b / c) / (2 * math.pi))
    + stirling_rest(c) - stirling_rest(a) - stirling_rest(b)
end

-- The continued fraction of I_x(a, b) by Lentz's method (Press et al. 2007, section 6.4).
local function beta_fraction(x, a, b)
  local tiny = 1e-300
  local c, d = 1.0, 1 - (a + b) * x / (a + 1)
  if math.abs(d) < tiny then d = tiny end
  d = 1 / d
  local h = d
  for m = 1, 100000 do
    local even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
    d, c = 1 + even * d, 1 + even / c
    if math.abs(d) < tiny then d = tiny end
    if math.abs(c) < tiny then c = tiny end
    d = 1 / d
    h = h * d * c
    local odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    d, c = 1 + odd * d, 1 + odd / c
    if math.abs(d) < tiny then d = tiny end
    if math.abs(c) < tiny then c = tiny end
    d = 1 / d
    local step = d * c
    h = h * step
    if math.abs(step - 1) < 1e-16 then break end
  end
  return h
end

--- I_x(a, b) and 1 - I_x(a, b), each to full relative precision where it is the smaller one;
--- x + y = 1.
function beta.both(x, y, a, b)
  if not (x > 0) then return 0.0, 1.0 end
  if not (y > 0) then return 1.0, 0.0 end
  local front = math.exp(log_beta_front(x, y, a, b))
  if x < (a + 1) / (a + b + 2) then
    local p = math.min(1, front * beta_fraction(x, a, b) / a)
    return p, 1 - p
  end
  local q = math.min(1, front * beta_fraction(y, b, a) / b)
  return 1 - q, q
end

--- The x <= 1/2 with I_x(a, b) = p, q = 1 - p: Newton in log x, kept inside a shrinking bracket.
--- The smaller of p and q decides, so that it may be tiny.
function beta.root(p, q, a, b)
  local low, high = -745.0, math.log(0.5)
  local log_beta = (a + b) * math.log(0.5) - log_beta_front(0.5, 0.5, a, b)
  local guess = (math.log(p) + math.log(a) + log_beta) / a -- I ~ x^a / (a B) for small x
  local z = (guess > low and guess < high) and guess or 0.5 * (low + high)
  for _ = 1, 400 do
    local x = math.exp(z)
    local below, above = beta.both(x, 1 - x, a, b)
    local f = p <= q and below - p or q - above
    if f == 0 then break end
    if f > 0 then high = z else low = z end
    -- dI/dlog x = x^a (1-x)^(b-1) / B
    local slope = math.exp(log_beta_front(x, 1 - x, a, b)) / (1 - x)
    local next_z = z - f / slope
    if not (next_z > low and next_z < high) then next_z = 0.5 * (low + high) end
    local done = math.abs(next_z - z) <= 4e-16 * math.max(1, math.abs(z))
    z = next_z
    if done then break end
  end
  return math.exp(z)
end

--- The x with I_x(a, b) = p.
function beta.quantile(p, a, b)
  if p == 0 then return 0.0 end
  if p == 1 then return 1.0 end
  if p <= beta.both(0.5, 0.5, a, b) then return beta.root(p, 1 - p, a, b) end
  return 1 - beta.root(1 - p, p, b, a)
end

return beta
