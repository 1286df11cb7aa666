--- Solvers of dense linear algebra: the factorizations of core.solve, and what is composed of them.
local core = require "moonlab.core"
local options = require "moonlab.options"

local solve = {}
for name, value in pairs(core.solve) do solve[name] = value end
local direct = require "moonlab.solve.direct"
local large = require "moonlab.solve.large"
local iterative = require "moonlab.solve.iterative"
solve.krr, solve.krr_path = direct.krr, direct.krr_path
solve.ridge, solve.gradient_flow = direct.ridge, direct.gradient_flow
solve.model, solve.load_model = large.model, large.load_model
solve.falkon, solve.eigenpro = large.falkon, large.eigenpro
solve.cg, solve.nystrom = iterative.cg, iterative.nystrom

--- ml.solve.lstsq(A, b, { rcond })
--- The x of least norm among those that minimize |A x - b|, by the singular value decomposition.
--- @param A tensor [m,n] f64
--- @param b tensor [m] or [m,c] f64
--- @param opts.rcond number =eps max(m, n) singular values below rcond times the largest count as 0
--- @return tensor x, [n] or [n,c]
--- @return table info: rank, singular_values
--- @source Golub & Van Loan 2013, 5.5
function solve.lstsq(A, b, opts)
  options.check("solve.lstsq", opts, { "rcond" })
  local U, s, Vt = core.solve.svd(A)
  if b:size(1) ~= A:size(1) then
    options.bad("solve.lstsq", 2, "A is %s and b %s, wanted as many rows", options.describe(A),
      options.describe(b))
  end
  local values = s:totable()
  local rcond = opts and options.optional("solve.lstsq", opts, "rcond", "number")
    or 2 ^ -52 * math.max(A:size(1), A:size(2))
  local inverse, rank = {}, 0
  for i, value in ipairs(values) do
    local keep = value > rcond * values[1]
    inverse[i] = keep and 1 / value or 0
    rank = rank + (keep and 1 or 0)
  end
  local scale = core.tensor(inverse, { dtype = "f64" })
  if #b:shape() == 2 then scale = scale:reshape { #inverse, 1 } end
  local x = Vt:transpose():matmul(U:transpose():matmul(b) * scale)
  return x, { rank = rank, singular_values = s }
end

solve.methods = { path = direct.path, model = large.methods }
return solve
