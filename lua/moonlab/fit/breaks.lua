--- The breaks of a continuous line of several pieces: enumeration of places, then refinement.
local least_squares = require "moonlab.fit.least_squares"

local breaks_of = {}

-- Places that are tried for each break, so that about 3000 combinations are: all interior x of
-- small samples.
local places = { 1000, 76, 28, 18 }

-- ---- the residual sum of squares of given breaks ------------------------------------------------

--- Sums over the points from each on, so that the normal equations of any breaks cost nothing that
--- grows with n.
function breaks_of.suffix_sums(t, v, w)
  local s = { [#t + 1] = { 0.0, 0.0, 0.0, 0.0, 0.0 } }
  for i = #t, 1, -1 do
    local after = s[i + 1]
    s[i] = { after[1] + w[i], after[2] + w[i] * t[i], after[3] + w[i] * t[i] * t[i],
      after[4] + w[i] * v[i], after[5] + w[i] * t[i] * v[i] }
  end
  return s
end

-- The first point beyond a.
local function first_beyond(t, a)
  local low, high = 1, #t + 1
  while low < high do
    local middle = (low + high) // 2
    if t[middle] > a then high = middle else low = middle + 1 end
  end
  return low
end

-- sum w (v - best line with these breaks)^2 by Cholesky on the normal equations; inf when they are
-- singular.
local function quick_rss(data, breaks)
  local sums, k = data.sums, #breaks
  local all, G, c = sums[1], { {}, {} }, {}
  G[1][1], G[2][1], G[2][2] = all[1], all[2], all[3]
  c[1], c[2] = all[4], all[5]
  for j = 1, k do
    local b = breaks[j]
    local s = sums[first_beyond(data.t, b)]
    local row = { s[2] - b * s[1], s[3] - b * s[2] }
    for i = 1, j do
      local a = breaks[i]
      row[2 + i] = s[3] - (a + b) * s[2] + a * b * s[1]
    end
    G[2 + j], c[2 + j] = row, s[5] - b * s[4]
  end
  local rss = data.square
  for i = 1, k + 2 do
    local row = G[i]
    local pivot = row[i]
    for j = 1, i - 1 do
      local x = row[j]
      for l = 1, j - 1 do x = x - row[l] * G[j][l] end
      row[j] = x / G[j][j]
      pivot = pivot - row[j] * row[j]
    end
    if not (pivot > 1e-13 * G[i][i]) then return math.huge end
    row[i] = math.sqrt(pivot)
    local x = c[i]
    for l = 1, i - 1 do x = x - row[l] * c[l] end
    c[i] = x / row[i]
    rss = rss - c[i] * c[i]
  end
  return rss
end

-- ---- where the breaks may lie -------------------------------------------------------------------

-- Each piece holds two different x at least, its ends included.
local function allowed(data, breaks)
  local x = data.distinct
  if breaks[1] < x[2] or breaks[#breaks] > x[#x - 1] then return false end
  for j = 1, #breaks - 1 do
    local after = first_beyond(x, breaks[j])
    if after > 1 and x[after - 1] == breaks[j] then after = after - 1 end
    if not (x[after + 1] and x[after + 1] <= breaks[j + 1]) then return false end
  end
  return true
end

-- The best few combinations of places among the interior x.
local function starts(data, k)
  local interior, candidates = #data.distinct - 2, {}
  local count = math.min(interior, places[k])
  for i = 1, count do
    local position = count == interior and i or 1 + (i - 1) * (interior - 1) // (count - 1)
    candidates[i] = data.distinct[1 + position]
  end
  local best, breaks = {}, {}
  local function keep(rss)
    local at = #best + 1
    while at > 1 and rss < best[at - 1].rss do at = at - 1 end
    if at > 3 then return end
    table.insert(best, at, { rss = rss, breaks = table.move(breaks, 1, k, 1, {}) })
    best[4] = nil
  end
  local function choose(j, from)
    if j > k then return keep(quick_rss(data, breaks)) end
    for i = from, count - (k - j) do
      breaks[j] = candidates[i]
      choose(j + 1, i + 1)
    end
  end
  choose(1, 1)
  return best
end

-- ---- refinement ---------------------------------------------------------------------------------

--- The row of the design at t: line, hinges at the breaks, and derivatives with respect to breaks.
function breaks_of.basis_of(breaks, steps)
  return function(t)
    local row = { 1.0, t }
    for j, b in ipairs(breaks) do row[2 + j] = t > b and t - b or 0.0 end
    for j, step in ipairs(steps or {}) do -- derivatives with respect to the breaks
      row[2 + #breaks + j] = t > breaks[j] and -step or 0.0
    end
    return row
  end
end

--- Least squares over a basis; nil when it is singular.
function breaks_of.solve(data, basis)
  local rows = {}
  for i, t in ipairs(data.t) do rows[i] = basis(t) end
  return least_squares.solve(rows, data.v, data.w)
end

--- The residual sum of squares of given breaks, inf when they are singular; and the solution.
function breaks_of.exact_rss(data, breaks)
  local solved = breaks_of.solve(data, breaks_of.basis_of(breaks))
  return solved and solved.rss or math.huge, solved
end

-- Gauss-Newton on the breaks, with halved steps (Muggeo 2003).
local function gauss_newton(data, breaks)
  local k = #breaks
  local rss, solved = breaks_of.exact_rss(data, breaks)
  for _ = 1, 50 do
    if not solved then break end
    local steps = table.move(solved.beta, 3, 2 + k, 1, {})
    local full = breaks_of.solve(data, breaks_of.basis_of(breaks, steps))
    if not full then break end
    local moved, size = nil, 1.0
    for _ = 1, 25 do
      local trial = {}
      for j = 1, k do trial[j] = breaks[j] + size * full.beta[2 + k + j] end
      if allowed(data, trial) then
        local r, s = breaks_of.exact_rss(data, trial)
        if r < rss then
          moved, rss, solved = trial, r, s
          break
        end
      end
      size = size / 2
    end
    if not moved then break end
    breaks = moved
  end
  return breaks, rss
end

-- The least of f between low and high by golden section.
local function golden(f, low, high)
  local g = (math.sqrt(5) - 1) / 2
  local a, b = high - g * (high - low), low + g * (high - low)
  local fa, fb = f(a), f(b)
  for _ = 1, 30 do
    if fa <= fb then
      high, b, fb = b, a, fa
      a = high - g * (high - low)
      fa = f(a)
    else
      low, a, fa = a, b, fb
      b = low + g * (high - low)
      fb = f(b)
    end
  end
  if fa <= fb then return a, fa end
  return b, fb
end

-- One break after the other over the gaps between points near it: crosses the kinks that stop
-- Gauss-Newton.
local function sweep(data, breaks, rss)
  breaks = table.move(breaks, 1, #breaks, 1, {})
  local x = data.distinct
  for j = 1, #breaks do
    local here, old = first_beyond(x, breaks[j]), breaks[j]
    local best, best_rss = old, rss
    local function try(b)
      breaks[j] = b
      return allowed(data, breaks) and quick_rss(data, breaks) or math.huge
    end
    for i = math.max(2, here - 3), math.min(#x - 2, here + 2) do
      local b, r = golden(try, x[i], x[i + 1])
      for _, point in ipairs { { b, r }, { x[i], try(x[i]) }, { x[i + 1], try(x[i + 1]) } } do
        if point[2] < best_rss then best, best_rss = point[1], point[2] end
      end
    end
    breaks[j], rss = best, best_rss
  end
  return breaks, rss
end

local function refine(data, breaks)
  local rss
  breaks, rss = gauss_newton(data, breaks)
  for _ = 1, 20 do
    local moved, quick = sweep(data, breaks, quick_rss(data, breaks))
    if not (quick < math.huge) then break end
    local polished, better = gauss_newton(data, moved)
    if not (better < rss * (1 - 1e-12)) then break end
    breaks, rss = polished, better
  end
  return breaks, rss
end

--- The k breaks of least squares.
function breaks_of.best(data, k)
  local best, least = nil, math.huge
  for _, start in ipairs(starts(data, k)) do
    if allowed(data, start.breaks) then
      local breaks, rss = refine(data, start.breaks)
      if rss < least then best, least = breaks, rss end
    end
  end
  return best
end

return breaks_of
