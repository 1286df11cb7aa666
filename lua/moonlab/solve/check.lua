--- What the solvers share: checks of kernels, targets and ridges, and the diagonal of a matrix.
local core = require "moonlab.core"
local options = require "moonlab.options"

local check = {}

--- Raises unless t is a tensor f32 or f64 of one of the ranks.
function check.real(where, i, t, low, high)
  if not core.is_tensor(t) then
    options.bad(where, i, "tensor expected, got %s", options.describe(t))
  end
  local rank, dtype = #t:shape(), t:dtype()
  if (dtype ~= "f32" and dtype ~= "f64") or rank < low or rank > high then
    options.bad(where, i, "%s, wanted f32 or f64 of rank %s", options.describe(t),
      low == high and ("%d"):format(low) or ("%d or %d"):format(low, high))
  end
  return t
end

--- Raises when t holds NaN or an infinity, naming the first place.
function check.finite(where, i, t, name)
  local bad = core.scope(function()
    local total = t:detach():sum():item()
    if total - total == 0 then return 0 end
    local flags = t:isfinite():logical_not():flatten()
    return flags:any():item() ~= 0 and flags:to("f64"):argmax(1):item() or 0
  end)
  if bad == 0 then return end
  local place, rest, shape = {}, bad - 1, t:shape()
  for axis = #shape, 1, -1 do
    place[axis] = rest % shape[axis] + 1
    rest = rest // shape[axis]
  end
  options.bad(where, i, "%s is not finite at [%s]", name, table.concat(place, ", "))
end

--- Raises unless X [n,...] and y [n] or [n,c] are finite, f32 or f64, with as many rows, at least
--- one; i and j are their argument numbers.
function check.points(where, i, X, j, y)
  check.real(where, i, X, 2, 8)
  check.real(where, j, y, 1, 2)
  if X:size(1) ~= y:size(1) or X:size(1) == 0 then
    options.bad(where, j, "X is %s and y %s, wanted as many rows", options.describe(X),
      options.describe(y))
  end
  check.finite(where, i, X, "X")
  check.finite(where, j, y, "y")
end

--- K [n,n] and y [n] or [n,c], both f32 or f64: K and y as f64 matrices, and whether y was a
--- vector.
function check.system(where, K, y)
  check.real(where, 1, K, 2, 2)
  check.real(where, 2, y, 1, 2)
  local n = K:size(1)
  if K:size(2) ~= n then
    options.bad(where, 1, "K is %s, wanted a square matrix", options.describe(K))
  end
  if n == 0 then options.bad(where, 1, "K is %s, wanted points", options.describe(K)) end
  if y:size(1) ~= n or y:dtype() ~= K:dtype() then
    options.bad(where, 2, "K is %s and y %s, wanted the same dtype and as many rows",
      options.describe(K), options.describe(y))
  end
  check.finite(where, 1, K, "K")
  check.finite(where, 2, y, "y")
  local vector = #y:shape() == 1
  local right = y:detach():to("f64")
  return K:detach():to("f64"), vector and right:reshape { n, 1 } or right, vector
end

--- The ridges of options ridge or ridges in the unit of K.
function check.ridges(where, opts, list, scale)
  local relative = options.field(where, opts, "relative", "boolean", false)
  local out = {}
  for i, ridge in ipairs(list) do
    if math.type(ridge) == nil or not (ridge >= 0 and ridge < math.huge) then
      options.bad(where, 0, "ridge %s, wanted a finite number >= 0", options.describe(ridge))
    end
    out[i] = ridge * (relative and scale or 1)
  end
  return out
end

--- The list behind an option that is a list of numbers or a tensor of rank 1.
function check.list(where, opts, name)
  local value = opts[name]
  if core.is_tensor(value) and #value:shape() == 1 then value = value:totable() end
  if type(value) ~= "table" or #value == 0 then
    options.bad(where, 0, "option '%s' is %s, wanted a list of numbers", name,
      options.describe(value))
  end
  return value
end

--- The mean of the diagonal, trace(K)/n.
function check.mean_diagonal(K) return K:diagonal():mean():item() end

return check
