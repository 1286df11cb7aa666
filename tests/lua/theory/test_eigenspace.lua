-- Eigenvalues of hierarchical kernels: known numbers, sums over types, integrals, and bad input.
local ml = require "moonlab"
local check = require "check"
local patches = require "moonlab.theory.patches"
local T = {}

local function tree(name, p)
  return ml.theory.eigenspace { graph = { leaf = p, branching = patches.branching[name](p) } }
end

-- golden: eigenvalues of an independent calculation, six digits, and the printed indices
function T.test_eigenvalues_and_indices()
  local wanted = {
    [4] = { MLP = { 1.06734e-4, 2.06504e-7, 3.09755e-7, 7.48240e-10, 1.26228e-15, 3.09755e-7,
      3.40644e-12, 3.40644e-12 }, ["D-CNN"] = { 2.24945e-4, 4.81272e-6, 7.21635e-6, 1.58396e-7,
      1.36471e-11, 1.89550e-7, 5.46380e-9, 1.35609e-10 }, ["HR-CNN"] = { 5.43872e-5, 4.90484e-6,
      5.92093e-7, 5.38237e-8, 1.47422e-9, 9.30408e-9, 6.52607e-10, 6.44256e-11 } },
    [3] = { MLP = { 3.38297e-4, 1.86472e-6, 3.10769e-6, 2.14020e-8, 2.12158e-13, 3.10769e-6,
      3.08795e-10, 3.08795e-10 }, ["D-CNN"] = { 7.16965e-4, 2.50542e-5, 4.17000e-5, 1.52225e-6,
      2.89069e-10, 1.92190e-6, 9.97139e-8, 4.19336e-9 }, ["HR-CNN"] = { 1.73995e-4, 1.93907e-5,
      3.53561e-6, 3.99576e-7, 1.01086e-8, 9.51480e-8, 9.37516e-9, 1.21445e-9 } },
  }
  local indices = { MLP = { 1, 2, 2, 3, 5, 2, 4, 4 }, ["D-CNN"] = { 1, 1.5, 1.5, 2, 3, 2, 2.5, 3 },
    ["HR-CNN"] = { 1, 1.25, 1.5, 1.75, 2, 2, 2.25, 2.5 } }
  for p, nets in pairs(wanted) do
    for name, values in pairs(nets) do
      local e = tree(name, p)
      for i, mode in ipairs(patches.modes(p)) do
        check.close((e:eigenvalue(mode)), values[i], { rtol = 4e-6 })
        check.close((e:index(mode)), indices[name][i], { rtol = 1e-12 })
      end
    end
  end
end

-- analytic: one sphere is a dot-product kernel exp(exp((t - 1)/2)/2 - 1/2) of two layers
function T.test_one_sphere_is_a_dot_product_kernel()
  local e = ml.theory.eigenspace { graph = { leaf = 5, branching = { 1, 1 } } }
  local list = ml.theory.krr.gegenbauer { dim = 5, degrees = 6, kernel = function(t)
    return ((((t - 1) / 2):exp() - 1) / 2):exp()
  end }
  for k = 0, 6 do
    -- the error of the quadrature on the other side, relative to the largest value
    check.close((e:eigenvalue { [1] = k }), list[k + 1].value, { rtol = 1e-7, atol = 1e-13 })
  end
  local types = e:types { degree = 6 }
  check.equal(#types, 7)
  check.close(types.rest, list.rest, { rtol = 1e-6, atol = 1e-12 })
end

-- property: types are complete up to their degree: the trace is missing little, and their numbers
-- are those of harmonics of the product
function T.test_types()
  local counts = { MLP = 19, ["D-CNN"] = 51, ["HR-CNN"] = 118 }
  for name, count in pairs(counts) do
    local types = tree(name, 4):types()
    check.equal(#types, count)
    check.is_true(types.rest > 0 and types.rest < 2e-4)
    local of_degree = {}
    for _, t in ipairs(types) do
      of_degree[t.degree] = (of_degree[t.degree] or 0) + t.multiplicity
    end
    check.close({ of_degree[0], of_degree[1] }, { 1, 256 }, { rtol = 1e-13 })
    -- degree 2: one leaf, or two
    check.close(of_degree[2], 64 * 9 + 64 * 63 / 2 * 16, { rtol = 1e-12 })
  end
end

-- property: the kernels of ml.kernel are those of the tree: their mean over random points is the
-- constant's eigenvalue, and a mode's energy is the mean of its square
function T.test_kernels_are_those_of_the_tree()
  for name in pairs(patches.branching) do
    local X = patches.points(ml.rng(1), 400, 3)
    local K = patches.network(name, 3):nngp(patches.image(X))
    check.close(K:diagonal():max():item(), 1, { rtol = 1e-12 })
    local off = (K:sum():item() - 400) / (400 * 399)
    check.close(off, (tree(name, 3):eigenvalue {}), { rtol = 2e-3 })
  end
end

-- golden: half squared errors of an independent calculation at 1280 samples
function T.test_predictions()
  local wanted = { MLP = { .001, .445, .364, .626, .629, .364, .629, .629 },
    ["D-CNN"] = { .000, .074, .035, .550, .697, .519, .686, .696 },
    ["HR-CNN"] = { .000, .005, .077, .495, .754, .683, .755, .763 } }
  for name, values in pairs(wanted) do
    local errors, learned = tree(name, 3):predict { modes = patches.modes(3), samples = { 1280 } }
    for i = 1, 8 do
      check.close(errors[i][1] / 2, values[i], { rtol = 0, atol = 6e-4 })
      check.is_true(learned[i][1] > 0 and learned[i][1] < 1)
    end
  end
end

function T.test_bad_input()
  local function make(o) return ml.theory.eigenspace(o) end
  check.raises("option 'branching' is empty", make, { graph = { leaf = 3, branching = {} } })
  check.raises("fan-in 2 is 0", make, { graph = { leaf = 3, branching = { 3, 0 } } })
  check.raises("wanted a number in (0, 2]", make,
    { graph = { leaf = 3, branching = { 3 } }, gamma = 3 })
  local e = tree("MLP", 3)
  check.raises("leaf 28, wanted 1..27", e.eigenvalue, e, { [28] = 1 })
  check.raises("degree -1 at leaf 2", e.index, e, { [2] = -1 })
  check.raises("did you mean 'degree'", e.types, e, { degre = 3 })
end

return T
