--- Activations as kernels see them: a dual in closed form, by Hermite series, by quadrature, or
--- given by the user.
local closed = require "moonlab.kernel.closed"
local core = require "moonlab.core"
local options = require "moonlab.options"
local quadrature = require "moonlab.kernel.quadrature"
local sorted = require "moonlab.sorted"

local activation = {}
local Act = {}
activation.Act = Act
Act.__index = Act
Act.__name = "ml.kernel.activation"

-- How far a named activation without a closed form goes in its series, and what may be missing,
-- relative to the value, before an entry is integrated instead.
local SERIES_DEGREE, SERIES_TOLERANCE = 96, 1e-10

function Act:__tostring()
  local words = {}
  for name, value in sorted(self.options) do
    if type(value) == "table" then
      local list = {}
      for i, c in ipairs(value) do list[i] = ("%.6g"):format(c) end
      value = "{ " .. table.concat(list, ", ") .. " }"
    elseif type(value) == "number" then
      value = ("%.6g"):format(value)
    end
    words[#words + 1] = name .. " = " .. tostring(value)
  end
  if #words == 0 then return "act " .. self.name end
  return ("act %s { %s }"):format(self.name, table.concat(words, ", "))
end

-- ---- making one ---------------------------------------------------------------------------------

local function read_coefficients(where, value)
  if type(value) ~= "table" or #value < 1 or #value > 21 then
    options.bad(where, 2, "option 'coefficients' is %s, wanted a list of 1 to 21 numbers, from x^0",
      options.describe(value))
  end
  for i, c in ipairs(value) do
    if type(c) ~= "number" or c ~= c or math.abs(c) == math.huge then
      options.bad(where, 2, "coefficient %d is %s, wanted a finite number", i, options.describe(c))
    end
  end
  return { table.unpack(value) }
end

local function read_option(where, name, value, default)
  if value == nil then value = default end
  if name == "coefficients" then
    if value == false then
      options.bad(where, 2, "option 'coefficients' is missing, wanted a list from x^0 on")
    end
    return read_coefficients(where, value)
  end
  if value == false then options.bad(where, 2, "option '%s' is missing, wanted a number", name) end
  if type(value) ~= "number" or value ~= value or math.abs(value) == math.huge then
    options.bad(where, 2, "option '%s' is %s, wanted a finite number", name,
      options.describe(value))
  end
  if name == "degree" then return options.integer(where, 2, value, 0, 20) end
  return value
end

local function named(where, name, opts)
  local entry = closed.table[name]
  if not entry then
    local names = {}
    for key in sorted(closed.table) do names[#names + 1] = key end
    local near = type(name) == "string" and options.nearest(name, names)
    options.bad(where, 1, "%s, wanted a function or one of %s%s", options.describe(name),
      table.concat(names, " "), near and ("; did you mean '" .. near .. "'?") or "")
  end
  local known, values = {}, {}
  for key in pairs(entry.options or {}) do known[#known + 1] = key end
  options.check(where, opts, known)
  for key, default in sorted(entry.options or {}) do
    values[key] = read_option(where, key, (opts or {})[key], default)
  end
  if entry.nonnegative and values[entry.nonnegative] < 0 then
    options.bad(where, 2, "option '%s' is %.14g, wanted >= 0", entry.nonnegative,
      values[entry.nonnegative])
  end
  return setmetatable({
    name = name, options = values, method = entry.dual and "closed" or "exact",
    f = entry.f and function(x) return entry.f(x, values) end,
    spec = entry.dual and entry.dual(values), degree = SERIES_DEGREE,
  }, Act)
end

local function own(where, f, opts)
  opts = opts or {}
  options.check(where, opts, { "degree", "breaks", "method", "dual", "name" })
  local breaks = options.optional(where, opts, "breaks", "table")
  for i, b in ipairs(breaks or {}) do
    if type(b) ~= "number" or b ~= b then
      options.bad(where, 2, "break %d is %s, wanted a number", i, options.describe(b))
    end
  end
  local degree = options.field(where, opts, "degree", "integer", 64)
  options.range(where, "degree", degree, 0, 200)
  local dual = opts.dual
  if dual ~= nil and type(dual) ~= "function" then
    options.bad(where, 2, "option 'dual' is %s, wanted function(c, a, b) -> kappa, kappa_dot",
      options.describe(dual))
  end
  local method = options.choice(where, opts, "method", { "hermite", "quadrature" }, "hermite")
  if method == "quadrature" and breaks and #breaks > 0 then
    options.bad(where, 2, "quadrature splits at 0 only; breaks elsewhere want method = \"hermite\"")
  end
  return setmetatable({
    name = options.optional(where, opts, "name", "string") or "function", options = {},
    method = dual and "user" or method, f = f, user = dual, degree = degree, breaks = breaks,
  }, Act)
end

--- The activation of a name, or of a function tensor -> tensor (nil with opts.dual).
function activation.new(where, given, opts)
  if getmetatable(given) == Act then
    if opts ~= nil then options.bad(where, 2, "the activation has its options already") end
    return given
  end
  if type(given) == "function" or (given == nil and type(opts) == "table" and opts.dual) then
    return own(where, given, opts)
  end
  return named(where, given, opts)
end

--- The same activation by a truncated Hermite series.
function activation.truncated(act, degree, breaks)
  return setmetatable({ name = ("%s to degree %d"):format(act.name, degree), options = {},
    method = "hermite", f = act.f, degree = degree, breaks = breaks or act.breaks }, Act)
end

-- ---- values -------------------------------------------------------------------------------------

function activation.value(self, x)
  if not self.f then
    options.raise("activation '%s' is known by its dual only, not as a function", self.name)
  end
  local y = self.f(x)
  if not core.is_tensor(y) or table.concat(y:shape(), "x") ~= table.concat(x:shape(), "x") then
    options.raise("activation '%s' returned %s for %s, wanted a tensor like it", self.name,
      options.describe(y), options.describe(x))
  end
  return y
end

--- f'(x), 0 where f is not on the tape (a step).
function activation.slope(self, x)
  local p = core.param(x:clone())
  local y = activation.value(self, p)
  if not y:on_tape() then return core.zeros_like(x) end
  y:sum():backward()
  return p:grad() or core.zeros_like(x)
end

--- Coefficients of f and of f' [n, degree + 1] at standard deviations s [n], and what their mean
--- squares have beyond them [n].
function activation.coefficients(self, s)
  local function f(x) return activation.value(self, x) end
  local function g(x) return activation.slope(self, x) end
  local alpha, square = quadrature.coefficients(f, s, self.degree, self.breaks)
  local beta, square_dot = quadrature.coefficients(g, s, self.degree, self.breaks)
  local function tail(total, a) return (total - (a * a):sum(2)):maximum(core.zeros_like(total)) end
  return alpha, beta, tail(square, alpha), tail(square_dot, beta)
end

local function correlation(c, a, b)
  local norm = (a * b):sqrt()
  local safe = core.where(norm:gt(0), norm, core.ones_like(norm))
  return (c / safe):clamp(-1, 1)
end

local function integrate(self, c, a, b)
  return quadrature.pairs(self.f and function(x) return activation.value(self, x) end,
    self.f and function(x) return activation.slope(self, x) end, c, a, b)
end

-- ---- duals --------------------------------------------------------------------------------------

local function user_dual(self, c, a, b)
  local kappa, dot = self.user(c, a, b)
  for i, result in ipairs { kappa or false, dot or false } do
    if not core.is_tensor(result)
      or table.concat(result:shape(), "x") ~= table.concat(c:shape(), "x") then
      options.raise("the dual of '%s' returned %s as %s for c %s, wanted a tensor like c",
        self.name, options.describe(result), i == 1 and "kappa" or "kappa_dot",
        options.describe(c))
    end
  end
  return kappa, dot
end

--- kappa and kappa_dot of variances v [n] f64 with themselves: integrals over one variable.
function activation.equal(self, v)
  if self.method == "closed" or self.method == "user" then
    return activation.entries(self, v, v, v)
  end
  local function f(x) return activation.value(self, x) end
  local function g(x) return activation.slope(self, x) end
  local s, degree = v:sqrt(), self.method == "hermite" and self.degree or 0
  local alpha, square = quadrature.coefficients(f, s, degree, self.breaks)
  local beta, square_dot = quadrature.coefficients(g, s, degree, self.breaks)
  if self.method == "hermite" then return (alpha * alpha):sum(2), (beta * beta):sum(2) end
  return square, square_dot
end

--- kappa and kappa_dot of c [n], a [n], b [n] f64, entry by entry.
function activation.entries(self, c, a, b)
  if self.method == "closed" then return core.kernel.dual(self.spec, c, a, b) end
  if self.method == "user" then return user_dual(self, c, a, b) end
  if self.method ~= "hermite" then return integrate(self, c, a, b) end
  local A, A_dot = activation.coefficients(self, a:sqrt())
  local B, B_dot = activation.coefficients(self, b:sqrt())
  local rho = correlation(c, a, b)
  local function sum(x, y)
    local terms, total = x * y, core.zeros_like(rho)
    for k = self.degree + 1, 1, -1 do total = total * rho + terms[{ {}, k }] end
    return total
  end
  return sum(A, B), sum(A_dot, B_dot)
end

-- Positions (row, column) where the series may miss more than the tolerance.
local function doubtful(rho, value, tail_a, tail_b, degree, symmetric)
  local n, m = rho:size(1), rho:size(2)
  local bound = (tail_a:reshape { n, 1 } * tail_b:reshape { 1, m }):sqrt()
    * ((rho:abs() + 1e-300):log() * (degree + 1)):exp()
  local mask = bound:gt(value:abs() * SERIES_TOLERANCE):to("f64")
  if symmetric then mask = mask * (core.eye(n, { dtype = "f64" }) * -1 + 1) end
  local count = math.tointeger(mask:sum():item())
  if count == 0 then return {}, {} end
  local rows, columns = {}, {}
  local row_counts = mask:sum(2):totable()
  for i = 1, n do
    if row_counts[i] > 0 then
      local row = mask[i]:totable()
      for j = 1, m do
        if row[j] > 0 then rows[#rows + 1], columns[#columns + 1] = i, j end
      end
    end
  end
  return rows, columns
end

local function replace(matrix, rows, columns, values)
  local m, ids = matrix:size(2), {}
  for k = 1, #rows do ids[k] = (rows[k] - 1) * m + columns[k] end
  local flat = matrix:reshape { matrix:numel() }
  return flat:scatter(core.index(ids), values, 1):reshape { matrix:size(1), m }
end

--- The same of all pairs: c [n,m], a [n], b [m]. symmetric: the diagonal is not looked at.
function activation.matrix(self, c, a, b, symmetric)
  local n, m = c:size(1), c:size(2)
  local function spread()
    return a:reshape { n, 1 }:broadcast_to { n, m }, b:reshape { 1, m }:broadcast_to { n, m }
  end
  if self.method == "closed" then return core.kernel.dual(self.spec, c, spread()) end
  if self.method == "user" then return user_dual(self, c, spread()) end
  if self.method == "quadrature" then
    local left, right = spread()
    local function flat(x) return x:reshape { n * m } end
    local kappa, dot = integrate(self, flat(c), flat(left), flat(right))
    return kappa:reshape { n, m }, dot:reshape { n, m }
  end
  local A, A_dot, tail_a, tail_a_dot = activation.coefficients(self, a:sqrt())
  local B, B_dot, tail_b, tail_b_dot = A, A_dot, tail_a, tail_a_dot
  if not symmetric then B, B_dot, tail_b, tail_b_dot = activation.coefficients(self, b:sqrt()) end
  local rho = correlation(c, a:reshape { n, 1 }, b:reshape { 1, m })
  local kappa = core.kernel.series(rho, A, B)
  local dot = core.kernel.series(rho, A_dot, B_dot)
  if self.method == "exact" then
    for i = 1, 2 do
      local rows, columns = doubtful(rho, i == 1 and kappa or dot, i == 1 and tail_a or tail_a_dot,
        i == 1 and tail_b or tail_b_dot, self.degree, symmetric)
      if #rows > 0 then
        local function pick(x) return x:index_select(core.index(rows), 1) end
        local entries = {}
        for k = 1, #rows do entries[k] = (rows[k] - 1) * m + columns[k] end
        local k, d = integrate(self, c:reshape { n * m }:index_select(core.index(entries), 1),
          pick(a), b:index_select(core.index(columns), 1))
        kappa, dot = replace(kappa, rows, columns, k), replace(dot, rows, columns, d)
      end
    end
  end
  return kappa, dot
end

--- activation:dual{ c =, a =, b = }
--- kappa = E s(u) s(v) and kappa_dot = E s'(u) s'(v) for Gaussian u, v of variances a, b and
--- covariance c.
--- @param opts.c number or tensor of f64, |c| <= sqrt(a b); shapes broadcast
--- @param opts.a number or tensor of f64, >= 0
--- @param opts.b number or tensor of f64, >= 0
--- @return number or tensor kappa [...], like what was given
--- @return number or tensor kappa_dot [...]
--- @source Cho & Saul 2009; Williams 1997; Han et al. 2022 (arXiv 2209.04121), Table 1
function Act:dual(opts)
  local where = "dual"
  options.required(where, opts, { "c", "a", "b" })
  local numbers, parts = true, {}
  for i, name in ipairs { "c", "a", "b" } do
    local value = opts[name]
    if core.is_tensor(value) then
      numbers = false
      if value:dtype() ~= "f64" then
        options.bad(where, 0, "option '%s' is %s, wanted f64", name, options.describe(value))
      end
    elseif type(value) == "number" then
      value = core.full({ 1, dtype = "f64" }, value)
    else
      options.bad(where, 0, "option '%s' is %s, wanted a number or a tensor", name,
        options.describe(value))
    end
    parts[i] = value:detach()
  end
  local kappa, dot = core.scope(function()
    local zero = parts[1] * 0 + parts[2] * 0 + parts[3] * 0
    local c, a, b = parts[1] + zero, parts[2] + zero, parts[3] + zero
    local fits = a:ge(0):logical_and(b:ge(0)):logical_and((c * c):le(a * b * (1 + 1e-12)))
    if fits:all():item() == 0 then
      options.bad(where, 0, "a, b and c are no covariance: wanted a, b >= 0 and c^2 <= a b")
    end
    local shape, n = c:shape(), c:numel()
    local k, d = activation.entries(self, c:reshape { n }, a:reshape { n }, b:reshape { n })
    return k:reshape(shape), d:reshape(shape)
  end)
  if numbers then return kappa:item(), dot:item() end
  return kappa, dot
end

--- activation:coefficients(s)
--- Coefficients of f(s z) in the orthonormal Hermite polynomials of a standard normal z: alpha_k =
--- E f(s z) h_k(z), up to the activation's degree.
--- @param s number or tensor [n] f64, standard deviations, >= 0
--- @return tensor [degree+1], or [n,degree+1]
--- @source Daniely et al. 2016; Han et al. 2022 (arXiv 2209.04121)
function Act:coefficients(s)
  local where = "coefficients"
  local one = type(s) == "number"
  if one then s = core.full({ 1, dtype = "f64" }, s) end
  if not core.is_tensor(s) or s:dtype() ~= "f64" or #s:shape() ~= 1 or s:size(1) < 1
    or s:ge(0):all():item() == 0 then
    options.bad(where, 1, "%s, wanted a number >= 0 or f64 [n] of them", options.describe(s))
  end
  local alpha = core.scope(function()
    return (quadrature.coefficients(function(x) return activation.value(self, x) end, s:detach(),
      self.degree, self.breaks))
  end)
  return one and alpha:reshape { self.degree + 1 } or alpha
end

--- activation:value(x)
--- The activation itself.
--- @param x tensor [...] f64 or f32; on a tape it is differentiable
--- @return tensor [...] like x; raises when the activation is known by its dual only
--- @source -
function Act:value(x)
  if not core.is_tensor(x) then
    options.bad("value", 1, "tensor expected, got %s", options.describe(x))
  end
  return activation.value(self, x)
end

--- activation:polynomial(s)
--- The series at one standard deviation as a polynomial in x: exact duals for every norm, of a
--- function that is the activation's only near this one.
--- @param s number =1 standard deviation, > 0
--- @return activation polynomial of degree 20 at most
--- @source Han et al. 2022 (arXiv 2209.04121), Section 3
function Act:polynomial(s)
  s = s == nil and 1 or options.argument("polynomial", 1, s, "number")
  if not (s > 0 and s < math.huge) then
    options.bad("polynomial", 1, "%.14g, wanted a finite number > 0", s)
  end
  if self.degree > 20 then
    options.bad("polynomial", 0, "the series goes to degree %d, wanted 20 at most: make it by "
      .. "ml.kernel.hermite", self.degree)
  end
  local alpha, powers = self:coefficients(s):totable(), {}
  for j = 0, self.degree do
    powers[j + 1] = 0
    for i, c in ipairs(closed.hermite(j)) do
      powers[i] = powers[i] + alpha[j + 1] * c / s ^ (i - 1)
    end
  end
  return activation.new("polynomial", "polynomial", { coefficients = powers })
end

return activation
