-- Broken power laws and local slopes against searches on a fine grid.
local ml = require "moonlab"
local check = require "check"
local T = {}

-- The residual sum of squares of the best continuous line with these breaks, by normal equations
-- and elimination.
local function rss_of(u, v, breaks)
  local p = 2 + #breaks
  local A, b = {}, {}
  for i = 1, p do A[i], b[i] = {}, 0.0 for j = 1, p do A[i][j] = 0.0 end end
  local rows = {}
  for i = 1, #u do
    local row = { 1.0, u[i] }
    for j, t in ipairs(breaks) do row[2 + j] = math.max(0, u[i] - t) end
    rows[i] = row
    for r = 1, p do
      b[r] = b[r] + row[r] * v[i]
      for c = 1, p do A[r][c] = A[r][c] + row[r] * row[c] end
    end
  end
  for k = 1, p do
    for r = k + 1, p do
      local f = A[r][k] / A[k][k]
      for c = k, p do A[r][c] = A[r][c] - f * A[k][c] end
      b[r] = b[r] - f * b[k]
    end
  end
  for k = p, 1, -1 do
    for c = k + 1, p do b[k] = b[k] - A[k][c] * b[c] end
    b[k] = b[k] / A[k][k]
  end
  local sum = 0.0
  for i = 1, #u do
    local r = v[i]
    for j = 1, p do r = r - b[j] * rows[i][j] end
    sum = sum + r * r
  end
  return sum
end

local function noisy(n, breaks, slopes, std, seed)
  local noise, x, y = ml.rng(seed):normal({ n }), {}, {}
  for i = 1, n do
    local u = 6 * (i - 1) / (n - 1)
    local v = 1 + slopes[1] * u
    for j, b in ipairs(breaks) do v = v + (slopes[j + 1] - slopes[j]) * math.max(0, u - b) end
    x[i], y[i] = math.exp(u), math.exp(v + std * noise[i])
  end
  return x, y
end

local function logs(x)
  local u = {}
  for i, v in ipairs(x) do u[i] = math.log(v) end
  return u
end

function T.test_an_exact_broken_law_is_found() -- analytic
  for breaks = 1, 3 do
    local at, slopes = {}, { -0.5, -1.3, 0.4, -2 }
    for j = 1, breaks do at[j] = 6 * j / (breaks + 1) + 0.037 end
    local x, y = noisy(40, at, slopes, 0, 1)
    local found, stderrs, info = ml.fit.segmented(x, y, { breaks = breaks })
    check.close(found, table.move(slopes, 1, breaks + 1, 1, {}), { rtol = 1e-8 })
    -- the residual is flat in the breaks to sqrt(epsilon)
    check.close(logs(info.breaks), at, { rtol = 1e-8 })
    check.close(stderrs, table.move({ 0, 0, 0, 0 }, 1, breaks + 1, 1, {}), { atol = 1e-7 })
  end
end

function T.test_one_break_is_the_best_of_a_fine_grid() -- brute force
  for seed = 1, 8 do
    local x, y = noisy(14, { 2.3 }, { -0.2, -1 }, 0.3 * (1 + seed % 3), seed)
    local _, _, info = ml.fit.segmented(x, y)
    local u, v, least = logs(x), logs(y), math.huge
    for i = 0, 6000 do
      least = math.min(least, rss_of(u, v, { u[2] + (u[13] - u[2]) * i / 6000 }))
    end
    check.close(rss_of(u, v, logs(info.breaks)), info.rss, { rtol = 1e-9 })
    check.equal({ info.dof, info.n }, { 10, 14 })
    check.close(info.bic, 14 * math.log(info.rss / 14) + 4 * math.log(14), { rtol = 1e-13 })
    -- each piece holds two points at least
    check.is_true(info.breaks[1] >= x[2] * (1 - 1e-13) and info.breaks[1] <= x[13] * (1 + 1e-13))
    check.is_true(info.rss <= least * (1 + 1e-9))
    check.close(info.rss, least, { rtol = 4e-4 }) -- a step of the grid from a kink is worth that
  end
end

function T.test_two_breaks_are_as_good_as_a_grid() -- brute force
  for seed = 1, 5 do
    local x, y = noisy(16, { 1.7, 4.1 }, { -1, 0.5, -0.8 }, 0.25 * seed, seed)
    local _, _, info = ml.fit.segmented(x, y, { breaks = 2 })
    local u, v, least = logs(x), logs(y), math.huge
    local step = u[2] - u[1]
    for i = 0, 130 do
      for j = i + 10, 130 do -- one gap between points apart at least, as the function wants it
        least = math.min(least, rss_of(u, v, { u[2] + i * step / 10, u[2] + j * step / 10 }))
      end
    end
    check.is_true(info.rss <= least * (1 + 1e-9))
  end
end

-- Over 100 noisy samples the spread of slopes and break agrees with the mean standard error: a
-- spread of 100 is known to 1/sqrt(200) = 7.1 %, and three of these are 21 %.
function T.test_standard_errors_are_the_spread() -- property
  local sums, squares, errors, n = { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 }, 100
  for seed = 1, n do
    local x, y = noisy(50, { 3.05 }, { -0.5, -1.5 }, 0.1, seed)
    local slopes, stderrs, info = ml.fit.segmented(x, y)
    local values = { slopes[1], slopes[2], math.log(info.breaks[1]) }
    local found = { stderrs[1], stderrs[2], info.break_stderrs[1] / info.breaks[1] }
    for k = 1, 3 do
      sums[k], squares[k] = sums[k] + values[k], squares[k] + values[k] ^ 2
      errors[k] = errors[k] + found[k] ^ 2
    end
  end
  for k, truth in ipairs { -0.5, -1.5, 3.05 } do
    local mean = sums[k] / n
    local spread = math.sqrt(squares[k] / n - mean * mean)
    check.close(math.sqrt(errors[k] / n), spread, { rtol = 0.21 })
    check.close(mean, truth, { atol = 5 * spread / math.sqrt(n) })
  end
end

function T.test_known_breaks_and_none_are_linear_fits() -- property
  local x, y = noisy(30, { 2 }, { -0.5, -1 }, 0.1, 3)
  local e, s, line = ml.fit.power_law(x, y)
  local slopes, stderrs, info = ml.fit.segmented(x, y, { breaks = 0 })
  check.close({ slopes[1], stderrs[1], info.residual_std, info.r2 }, { e, s, line.residual_std,
    line.r2 }, { rtol = 1e-11 })
  check.close({ info.band(7) }, { line.band(7) }, { rtol = 1e-11 })
  slopes, stderrs, info = ml.fit.segmented(x, y, { at = { math.exp(2) } })
  check.equal({ #slopes, info.dof, info.break_stderrs[1] }, { 2, 27, 0.0 })
  check.close(info.rss, rss_of(logs(x), logs(y), { 2 }), { rtol = 1e-9 })
  local _, wider = ml.fit.segmented(x, y)
  check.is_true(wider[1] > stderrs[1]) -- an unknown break adds uncertainty
end

function T.test_the_number_of_breaks_shows_in_bic()
  local x, y = noisy(60, { 2, 4 }, { -0.2, -1.5, 0.3 }, 0.05, 9)
  local bic = {}
  for k = 0, 3 do bic[k + 1] = select(3, ml.fit.segmented(x, y, { breaks = k })).bic end
  check.is_true(bic[3] < bic[1] and bic[3] < bic[2] and bic[3] < bic[4])
end

function T.test_order_does_not_matter_and_axes_may_be_linear() -- property
  local x, y = noisy(20, { 3 }, { 1, -1 }, 0.1, 4)
  local order = ml.rng(2):permutation(20):totable()
  local px, py = {}, {}
  for k, i in ipairs(order) do px[k], py[k] = x[i], y[i] end
  local a, b = ml.fit.segmented(x, y), ml.fit.segmented(px, py)
  check.equal(b, a)
  check.close(ml.fit.segmented(logs(x), logs(y), { log = "" }), a, { rtol = 1e-9 })
end

function T.test_bad_input_raises() -- error
  local f, x, y = ml.fit.segmented, { 1, 2, 3, 4 }, { 1, 2, 3, 4 }
  check.raises("3 different x in use, wanted at least 4", f, { 1, 2, 3 }, { 1, 2, 3 })
  check.raises("4 different x in use, wanted at least 6", f, x, y, { breaks = 2 })
  check.raises("option 'breaks' is 5, wanted 0 to 4", f, x, y, { breaks = 5 })
  check.raises("give breaks or at, not both", f, x, y, { breaks = 1, at = { 2 } })
  check.raises("the break at 9 lies outside the data", f, x, y, { at = { 9 } })
  check.raises("the breaks leave a piece without two different x", f, x, y, { at = { 2.2, 2.4,
    2.6 } })
  check.raises("y[1] is inf", f, x, { 1 / 0, 2, 3, 4 })
end

-- ---- local slopes -------------------------------------------------------------------------------

function T.test_local_slopes_are_fits_of_each_window() -- brute force
  local x, y = noisy(12, { 3 }, { -0.5, -1.5 }, 0.05, 8)
  local slopes, stderrs, info = ml.fit.local_slopes(x, y, { window = 5 })
  check.equal({ #slopes, #stderrs, #info.x }, { 8, 8, 8 })
  for i = 1, 8 do
    local e, s = ml.fit.power_law(table.move(x, i, i + 4, 1, {}), table.move(y, i, i + 4, 1, {}))
    check.close({ slopes[i], stderrs[i], info.x[i] }, { e, s, x[i + 2] }, { rtol = 1e-12 })
  end
end

function T.test_windows_of_two_are_differences() -- analytic
  local slopes, stderrs, info = ml.fit.local_slopes({ 1, 2, 4 }, { 3, 6, 48 }, { window = 2 })
  check.close(slopes, { 1, 3 }, { rtol = 1e-14 })
  check.close(info.x, { math.sqrt(2), math.sqrt(8) }, { rtol = 1e-14 })
  check.is_true(stderrs[1] ~= stderrs[1])
  slopes, stderrs = ml.fit.local_slopes({ 1, 2, 4 }, { 3, 5, 9 }, { window = 2, log = "",
    sigma = { 3,
    4, 12 } })
  check.close(slopes, { 2, 2 }, { rtol = 1e-14 })
  check.close(stderrs, { 5, math.sqrt(160) / 2 }, { rtol = 1e-14 })
  check.raises("the window of 2 points at x = 2 has one x only", ml.fit.local_slopes, { 1, 2, 2 },
    { 1, 2, 3 }, { window = 2 })
  check.raises("2 points in use, wanted at least the window, 3", ml.fit.local_slopes, { 1, 2 },
    { 1, 2 })
  check.raises("option 'window' is 1, wanted >= 2", ml.fit.local_slopes, { 1, 2 }, { 1, 2 },
    { window = 1 })
end

return T
