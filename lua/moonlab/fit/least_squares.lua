--- Small weighted least squares in plain Lua: Householder QR of a handful of columns.
local least_squares = {}

--- Minimises sum w (y - row . beta)^2 over beta.
--- rows: n lists of p numbers, n >= p; y: n numbers; weights: n numbers >= 0, or nil for ones.
--- Returns { beta, covariance (p x p, for unit variance of sqrt(w) y), rss }, or nil when the
--- columns are dependent.
--- Source: Golub & Van Loan 2013, section 5.3.
function least_squares.solve(rows, y, weights)
  local n, p = #rows, #rows[1]
  local A, b = {}, {}
  for i = 1, n do
    local root = weights and math.sqrt(weights[i]) or 1.0
    local row = {}
    for j = 1, p do row[j] = root * rows[i][j] end
    A[i], b[i] = row, root * y[i]
  end
  for k = 1, p do
    local whole, square = 0.0, 0.0 -- of the column, and of what is left of it
    for i = 1, n do
      whole = whole + A[i][k] ^ 2
      if i >= k then square = square + A[i][k] ^ 2 end
    end
    local norm = math.sqrt(square)
    if not (norm > 1e-12 * math.sqrt(whole)) then return nil end
    local alpha = A[k][k] > 0 and -norm or norm
    local v, vv = {}, 0.0
    for i = k, n do v[i] = A[i][k] end
    v[k] = v[k] - alpha
    for i = k, n do vv = vv + v[i] ^ 2 end
    for j = k, p do
      local dot = 0.0
      for i = k, n do dot = dot + v[i] * A[i][j] end
      local f = 2 * dot / vv
      for i = k, n do A[i][j] = A[i][j] - f * v[i] end
    end
    local dot = 0.0
    for i = k, n do dot = dot + v[i] * b[i] end
    local f = 2 * dot / vv
    for i = k, n do b[i] = b[i] - f * v[i] end
  end
  local beta, inverse = {}, {} -- R beta = b; the columns of R^-1
  for i = p, 1, -1 do
    local s = b[i]
    for j = i + 1, p do s = s - A[i][j] * beta[j] end
    beta[i] = s / A[i][i]
  end
  for i = 1, p do inverse[i] = {} end
  for c = 1, p do
    for i = p, 1, -1 do
      local s = i == c and 1.0 or 0.0
      for j = i + 1, p do s = s - A[i][j] * inverse[j][c] end
      inverse[i][c] = s / A[i][i]
    end
  end
  local covariance = {}
  for i = 1, p do
    covariance[i] = {}
    for j = 1, p do
      local s = 0.0
      for c = math.max(i, j), p do s = s + inverse[i][c] * inverse[j][c] end
      covariance[i][j] = s
    end
  end
  local rss = 0.0
  for i = p + 1, n do rss = rss + b[i] ^ 2 end
  return { beta = beta, covariance = covariance, rss = rss }
end

--- g' C g: the variance of a linear combination g of the coefficients, for unit variance.
function least_squares.variance(covariance, g)
  local s = 0.0
  for i = 1, #g do
    for j = 1, #g do s = s + g[i] * covariance[i][j] * g[j] end
  end
  return math.max(0.0, s)
end

return least_squares
