--- What the solvers take for a kernel: a function (X, X2) -> K, or what ml.kernel makes.
local core = require "moonlab.core"
local options = require "moonlab.options"

local kernel = {}

--- (X, X2) -> [n,n2] f64, checked; `of` picks "nngp" or "ntk" of what ml.kernel makes.
function kernel.of(where, value, of)
  local evaluate = value
  if type(value) ~= "function" then
    local meta = getmetatable(value)
    local ok, method = pcall(function() return meta and value[of] end)
    if ok and type(method) == "function" then
      evaluate = function(A, B) return (method(value, A, B)) end
    elseif not (type(meta) == "table" and meta.__call) then
      options.bad(where, 0, "option 'kernel' is %s, wanted a function (X, X2) -> K or a kernel of "
        .. "ml.kernel", options.describe(value))
    end
  end
  return function(A, B)
    local K = evaluate(A, B)
    local n, m = A:size(1), (B or A):size(1)
    if not core.is_tensor(K) or #K:shape() ~= 2 or K:size(1) ~= n or K:size(2) ~= m
      or (K:dtype() ~= "f64" and K:dtype() ~= "f32") then
      options.bad(where, 0, "the kernel returned %s for %s and %s, wanted f32 or f64 [%dx%d]",
        options.describe(K), options.describe(A), options.describe(B or A), n, m)
    end
    return K:detach():to("f64")
  end
end

return kernel
