--- Polynomials with coefficients >= 0 in place of dual activations, and Hermite coefficients of a
--- point's own norm: what the feature map of a layer is weighted with.
local activation = require "moonlab.kernel.activation"
local core = require "moonlab.core"
local options = require "moonlab.options"

local fit = {}

local function f64(list) return core.tensor(list, { dtype = "f64" }) end

--- x >= 0 that minimizes |A x - b|, by active sets: a list of columns many numbers.
--- A tensor [n,k], b tensor [n]. Source: Lawson & Hanson 1974, Chapter 23.
function fit.nonnegative(A, b)
  local k = A:size(2)
  local x, passive = {}, {}
  for j = 1, k do x[j], passive[j] = 0, false end
  local At = A:transpose():contiguous()
  local scale = At:abs():max():item() * b:abs():max():item() * A:size(1)
  -- least squares over the passive columns
  local function solve()
    local columns = {}
    for j = 1, k do if passive[j] then columns[#columns + 1] = j end end
    local z = require("moonlab.solve").lstsq(A:index_select(core.index(columns), 2):contiguous(),
      b, { rcond = 1e-14 }):totable()
    local out = {}
    for j = 1, k do out[j] = 0 end
    for i, j in ipairs(columns) do out[j] = z[i] end
    return out
  end
  for _ = 1, 10 * k do
    local gradient = At:matmul(b - A:matmul(f64(x))):totable()
    local best, at = 1e-13 * scale, nil
    for j = 1, k do
      if not passive[j] and gradient[j] > best then best, at = gradient[j], j end
    end
    if not at then break end
    passive[at] = true
    for round = 1, 3 * k do
      local s = solve()
      local step, first = 1, nil
      for j = 1, k do
        if passive[j] and s[j] <= 0 then
          -- a column that comes in and turns down at once goes out again
          local t = x[j] > 0 and x[j] / (x[j] - s[j]) or 0
          if t < step then step, first = t, j end
        end
      end
      for j = 1, k do x[j] = x[j] + step * (s[j] - x[j]) end
      if not first then break end
      x[first], passive[first] = 0, false
      if round == 3 * k then break end
    end
    if not passive[at] then break end -- rounding: no step left
  end
  for j = 1, k do if not passive[j] then x[j] = 0 end end
  return x
end

--- Correlations to fit at: even over [-1, 1], and dense towards 1, where duals have a kink.
function fit.grid()
  local t = {}
  for i = 0, 200 do t[#t + 1] = -1 + i / 100 end
  for i = 0, 49 do t[#t + 1] = math.cos(math.pi / 2 * i / 50 * 0.5) end
  return t
end

--- Coefficients c[1..degree+1] >= 0 of sum c[k+1] t^k close to the values at the grid, where the
--- diagonal, t = 1, counts for `weight` points: norms would else shrink with depth.
function fit.polynomial(values, degree, weight)
  local t = fit.grid()
  return core.scope(function()
    local n = #t
    local x, w = f64(t), core.ones { n }
    w = core.where(x:eq(1), core.full({ n }, weight or 30), w)
    local columns, power = {}, core.ones { n }
    for k = 0, degree do
      columns[k + 1] = power * w
      power = power * x
    end
    return fit.nonnegative(core.stack(columns, 2), values * w)
  end)
end

--- The degree of homogeneity of a dual, kappa(c; a, b) = (a b)^(p/2) kappa(rho; 1, 1), or nil.
function fit.homogeneity(act)
  local function kappa(c, a, b) return (act:dual { c = c, a = a, b = b }) end
  local one, four = kappa(1, 1, 1), kappa(4, 4, 4)
  if not (one > 0 and four > 0) then return nil end
  local p = math.floor(math.log(four / one) / math.log(4) + 0.5)
  for _, case in ipairs { { 0.3, 0.5, 1.7 }, { -0.6, 3.1, 0.4 }, { 1.1, 1.3, 1.9 },
    { 0.05, 0.09, 0.07 }, { 6, 9, 11 } } do
    local c, a, b = table.unpack(case)
    local want = (a * b) ^ (p / 2) * kappa(c / math.sqrt(a * b), 1, 1)
    local size = math.abs(want) + one * (a * b) ^ (p / 2)
    if not (math.abs(kappa(c, a, b) - want) <= 1e-8 * size) then return nil end
  end
  return p
end

-- Coefficients of the Taylor series of a dual at unit variance: squares of Hermite coefficients.
local function taylor(where, act, degree)
  if act.name == "exp_normalized" then
    local gamma, value, slope = act.options.gamma, {}, {}
    local c = math.exp(-gamma)
    for k = 0, degree do
      value[k + 1], slope[k + 1] = c, gamma * c
      c = c * gamma / (k + 1)
    end
    return value, slope
  end
  if not act.f then
    options.bad(where, 0, "fit \"taylor\" wants an activation known as a function, '%s' is known "
      .. "by its dual only; take \"nnls\"", act.name)
  end
  local alpha, beta = fit.hermite(act, core.ones { 1 }, degree)
  local function squares(t)
    local list = t[1]:totable()
    for i, c in ipairs(list) do list[i] = c * c end
    return list
  end
  return squares(alpha), squares(beta)
end

--- Coefficients of polynomials for kappa and kappa_dot of a homogeneous activation at unit
--- variances: lists value, slope of degree + 1 numbers >= 0. Source: Zandieh et al. 2021 (arXiv
--- 2106.07880), Section 3 (taylor) and their fits (nnls).
function fit.dual(where, act, degree, method)
  if method == "taylor" then return taylor(where, act, degree) end
  local t = fit.grid()
  local kappa, dot = core.scope(function()
    local one = core.ones { #t }
    local k, d = act:dual { c = f64(t), a = one, b = one }
    return k:clone(), d:clone()
  end)
  return fit.polynomial(kappa, degree), fit.polynomial(dot, degree)
end

local ROWS = 1024 -- whose quadrature is in memory at a time

--- Hermite coefficients of the activation and its derivative at standard deviations s [n] f64:
--- tensors [n,degree+1].
function fit.hermite(act, s, degree)
  local short = activation.truncated(act, degree, act.breaks)
  local values, slopes = {}, {}
  for from = 1, s:size(1), ROWS do
    local alpha, beta = core.scope(function()
      local a, b = activation.coefficients(short,
        s[{ { from, math.min(s:size(1), from + ROWS - 1) } }])
      return a, b
    end)
    values[#values + 1], slopes[#slopes + 1] = alpha, beta
  end
  return core.concat(values, 1), core.concat(slopes, 1)
end

-- The same at standard deviations of a fixed geometric grid, for cubics between them: pixels of
-- many images would else be integrated one by one.
local OCTAVES, STEPS = 8, 48 -- 2^-8 to 2^8; what is missed stays below 1e-6 of the largest

local function table_of(act, degree)
  act.tables = act.tables or {}
  if not act.tables[degree] then
    local list = {}
    for i = -OCTAVES * STEPS - 1, OCTAVES * STEPS + 2 do list[#list + 1] = 2 ^ (i / STEPS) end
    local alpha, beta = core.scope(function() return fit.hermite(act, f64(list), degree) end)
    act.tables[degree] = { core.keep(alpha), core.keep(beta) }
  end
  return act.tables[degree]
end

--- fit.hermite by interpolation in log s; integrates only what lies outside of the table.
function fit.hermite_near(act, s, degree)
  local tables = table_of(act, degree)
  local n = s:size(1)
  return core.scope(function()
    local inside = s:ge(2 ^ -OCTAVES):logical_and(s:le(2 ^ OCTAVES))
    local safe = core.where(inside, s, core.ones { n })
    local at = safe:log() * (STEPS / math.log(2)) + OCTAVES * STEPS
    local cell = at:floor()
    local t = (at - cell):reshape { n, 1 }
    -- Lagrange's cubic through the points -1, 0, 1, 2
    local weight = { t * (t - 1) * (t - 2) * (-1 / 6), (t + 1) * (t - 1) * (t - 2) * 0.5,
      (t + 1) * t * (t - 2) * -0.5, (t + 1) * t * (t - 1) * (1 / 6) }
    local out = {}
    for which = 1, 2 do
      local sum
      for k = 1, 4 do
        local part = tables[which]:index_select((cell + k):to "index", 1) * weight[k]
        sum = sum and sum + part or part
      end
      out[which] = sum
    end
    local missed = n - math.tointeger(inside:to("f64"):sum():item())
    if missed > 0 then
      local list = {}
      for i, flag in ipairs(inside:totable()) do
        if flag == 0 or flag == false then list[#list + 1] = i end
      end
      local ids = core.index(list)
      local exact = { fit.hermite(act, s:index_select(ids, 1), degree) }
      local where = ids:reshape { missed, 1 }
      for which = 1, 2 do
        out[which] = out[which]:scatter(where:broadcast_to { missed, degree + 1 }:contiguous(),
          exact[which], 1)
      end
    end
    return out[1], out[2]
  end)
end

return fit
