--- Gaussian integrals of activations that have no closed form: coefficients in Hermite polynomials
--- and expectations over correlated pairs, as tensor operations on many points at once.
local core = require "moonlab.core"

local quadrature = {}

local legendre = {}
--- Nodes and weights of Gauss and Legendre on [0, 1], lists of n.
local function gauss(n)
  if legendre[n] then return legendre[n].nodes, legendre[n].weights end
  local nodes, weights = {}, {}
  for i = 1, n do
    local x = math.cos(math.pi * (i - 0.25) / (n + 0.5))
    local slope
    for _ = 1, 100 do -- Newton's method
      local p, before = 1.0, 0.0
      for k = 1, n do p, before = ((2 * k - 1) * x * p - (k - 1) * before) / k, p end
      slope = n * (x * p - before) / (x * x - 1)
      local change = p / slope
      x = x - change
      if math.abs(change) < 1e-16 then break end
    end
    nodes[n + 1 - i] = (1 + x) / 2
    weights[n + 1 - i] = 1 / ((1 - x * x) * slope * slope)
  end
  legendre[n] = { nodes = nodes, weights = weights }
  return nodes, weights
end

-- Appends the rule on [a, b].
local function panel(nodes, weights, n, a, b)
  local x, w = gauss(n)
  for i = 1, n do
    nodes[#nodes + 1] = a + (b - a) * x[i]
    weights[#weights + 1] = (b - a) * w[i]
  end
end

-- ---- one variable -------------------------------------------------------------------------------

-- Finer towards 0, where steep functions change.
local edges = { 0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 7.5, 10, 15 }

-- z and weight phi(z) dz, over the whole line, with the breaks as edges.
local function line(breaks)
  local cuts = {}
  for _, e in ipairs(edges) do
    cuts[#cuts + 1] = e
    if e > 0 then cuts[#cuts + 1] = -e end
  end
  for _, b in ipairs(breaks or {}) do
    if math.abs(b) < 15 then cuts[#cuts + 1] = b end
  end
  table.sort(cuts)
  local z, w = {}, {}
  for i = 2, #cuts do
    if cuts[i] > cuts[i - 1] then panel(z, w, 32, cuts[i - 1], cuts[i]) end
  end
  for i = 1, #z do w[i] = w[i] * math.exp(-z[i] * z[i] / 2) / math.sqrt(2 * math.pi) end
  return core.tensor(z, { dtype = "f64" }), core.tensor(w, { dtype = "f64" })
end

-- [nodes, degree + 1]: w h_k(z), orthonormal.
local function weighted(z, w, degree)
  local columns = {}
  local before, here = z * 0, z * 0 + 1
  for k = 0, degree do
    columns[k + 1] = here * w
    before, here = here, (z * here - before * math.sqrt(k)) / math.sqrt(k + 1)
  end
  return core.stack(columns, 2)
end

local plain = {} -- by degree: z, weight and weighted polynomials of the line without breaks

--- alpha [n, degree + 1] and the mean square [n] of f(s z), for standard deviations s [n].
function quadrature.coefficients(f, s, degree, breaks)
  if breaks and #breaks > 0 then
    local alphas, squares = {}, {}
    for i = 1, s:size(1) do -- each point has nodes of its own
      local si = s[i]
      local cuts = {}
      for k, b in ipairs(breaks) do cuts[k] = si > 0 and b / si or 0 end
      local z, w = line(cuts)
      local y = f(z * si)
      alphas[i] = y:reshape { 1, #z }:matmul(weighted(z, w, degree)):reshape { degree + 1 }
      squares[i] = (y * y * w):sum()
    end
    return core.stack(alphas, 1), core.stack(squares, 1)
  end
  if not plain[degree] then
    local z, w = line()
    plain[degree] = { core.keep(z), core.keep(w), core.keep(weighted(z, w, degree)) }
  end
  local z, w, H = table.unpack(plain[degree])
  local y = f(s:reshape { s:size(1), 1 } * z:reshape { 1, #z })
  return y:matmul(H), (y * y):matmul(w:reshape { #w, 1 }):reshape { s:size(1) }
end

-- ---- two variables ------------------------------------------------------------------------------

local CHUNK = 48

-- Radii with weight r exp(-r^2/2) dr / (2 pi), and angles in units of a sector by the rule of
-- Takahasi and Mori, which does not mind what happens at the ends of a sector.
local radii, radius_weights, turns, turn_weights
local function rules()
  if radii then return end
  local r, w = {}, {}
  local cuts = { 0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6, 10, 15 }
  for i = 2, #cuts do panel(r, w, 16, cuts[i - 1], cuts[i]) end
  for i = 1, #r do w[i] = w[i] * r[i] * math.exp(-r[i] * r[i] / 2) / (2 * math.pi) end
  local x, v = {}, {}
  local h = 0.08
  for k = -39, 39 do
    local t = k * h
    local e = math.pi / 4 * (math.exp(t) - math.exp(-t))
    local c = (math.exp(e) + math.exp(-e)) / 2
    -- 1/(1 + exp(-2 e)): exact near 0; nodes near 1 lose nothing that matters
    x[#x + 1] = 1 / (1 + math.exp(-2 * e))
    v[#v + 1] = h * math.pi / 8 * (math.exp(t) + math.exp(-t)) / (c * c)
  end
  local function keep(list) return core.keep(core.tensor(list, { dtype = "f64" })) end
  radii, radius_weights, turns, turn_weights = keep(r), keep(w), keep(x), keep(v)
end

local function sectors(f, g, c, a, b)
  local n = c:size(1)
  local root = (a * b - c * c):maximum(core.zeros_like(c)):sqrt()
  local angle = root:atan2(c) -- between the lines u = 0 and v = 0
  local function column(x) return x:reshape { n, 1, 1 } end
  local sa, sb = column(a:sqrt()), column(b:sqrt())
  local r = radii:reshape { 1, 1, #radii }
  local total, total_dot = core.zeros { n }, core.zeros { n }
  for sector = 1, 4 do
    local width = sector % 2 == 1 and angle or angle * -1 + math.pi
    -- measured from where each sector begins, so that u or v is exactly small there
    local t = width:reshape { n, 1 } * turns:reshape { 1, #turns }
    local theta = angle:reshape { n, 1 }
    local cu, cv -- cosines of the angles to u and v
    if sector == 1 then
      cu, cv = t:sin(), (t - theta):sin() -- from -pi/2
    elseif sector == 2 then
      cu, cv = (t + theta):sin(), t:sin() -- from angle - pi/2
    elseif sector == 3 then
      cu, cv = t:sin() * -1, (t - theta):sin() * -1
    else
      cu, cv = (t + theta):sin() * -1, t:sin() * -1
    end
    local u = sa * cu:reshape { n, #turns, 1 } * r
    local v = sb * cv:reshape { n, #turns, 1 } * r
    local function add(h, sum)
      local inner = (h(u) * h(v)):matmul(radius_weights:reshape { #radii, 1 })
        :reshape { n, #turns }
      return sum + inner:matmul(turn_weights:reshape { #turns, 1 }):reshape { n } * width
    end
    if f then total = add(f, total) end
    if g then total_dot = add(g, total_dot) end
  end
  return total, total_dot
end

--- E f(u) f(v) and E g(u) g(v) for n triples c, a, b [n] f64, split where u or v change sign: exact
--- to about 1e-12 for functions that are smooth but for what they do at 0. f or g may be nil.
function quadrature.pairs(f, g, c, a, b)
  rules()
  local n = c:size(1)
  local kappa, dot = {}, {}
  for first = 1, n, CHUNK do
    local rows = { { first, math.min(first + CHUNK - 1, n) } }
    local k, d = core.scope(sectors, f, g, c[rows], a[rows], b[rows])
    kappa[#kappa + 1], dot[#dot + 1] = k, d
  end
  return core.concat(kappa, 1), core.concat(dot, 1)
end

return quadrature
