--- Eigenvalues of hierarchical networks' kernels on products of spheres: the indices of space and
--- frequency that order them, the values themselves, and the learning curves that follow.
---
--- A network is a tree: leaves are spheres of `leaf` dimensions and radius sqrt(leaf); a node of
--- level l averages over branching[l] nodes of the level below and applies the activation, whose
--- dual on unit variances is exp(gamma (t - 1)). The last level is the root. A mode is a product of
--- spherical harmonics, one a leaf; its type is what is left up to the tree's symmetries.
local krr = require "moonlab.theory.krr"
local options = require "moonlab.options"

local Tree = { __name = "ml.theory.eigenspace" }
Tree.__index = Tree

local TERMS = 40 -- of the exponential series of a node; gamma is at most 2

-- E exp(a V) P_r(V) for a cosine V on the sphere of p dimensions.
local function leaf_factor(a, r, p)
  local sum, term = 0, 1
  for i = 0, r - 1 do term = term * (a / 2) / (p / 2 + i) end
  for j = 0, 60 do
    sum = sum + term
    term = term * (a / 2) ^ 2 / ((j + 1) * (p / 2 + r + j))
    if term < sum * 1e-18 then break end
  end
  return sum
end

-- Tables over s = 0..TERMS of W(s gamma / fan_in), where W(a) = E exp(a K) prod P.
local function leaf_table(self, r)
  local fan_in, list = self.branching[1], {}
  for s = 0, TERMS do list[s] = leaf_factor(s * self.gamma / fan_in, r, self.leaf) end
  return list
end

-- Of a node of level l from the products of its children's tables.
local function node_table(self, l, products)
  local fan_in, list = self.branching[l + 1], {}
  for t = 0, TERMS do
    local a, sum, power = t * self.gamma / fan_in, 0, 1
    for s = 0, TERMS do
      sum = sum + power * math.exp(-s * self.gamma) * products[s]
      power = power * a / (s + 1)
    end
    list[t] = sum
  end
  return list
end

-- Children of a node: count times an empty one and those given, multiplied.
local function multiply(empty, count, tables)
  local products = {}
  for s = 0, TERMS do
    products[s] = empty[s] ^ count
    for _, t in ipairs(tables) do products[s] = products[s] * t[s] end
  end
  return products
end

-- Tables of nodes below which nothing is touched, level 0 the leaves.
local function empty_tables(self)
  local list = { [0] = leaf_table(self, 0) }
  for l = 1, #self.branching - 1 do
    list[l] = node_table(self, l, multiply(list[l - 1], self.branching[l], {}))
  end
  return list
end

--- ml.theory.eigenspace{ graph = { leaf =, branching = }, gamma = }
--- The eigenspaces of a hierarchical network's NNGP kernel on a product of spheres.
--- @param opts.graph table { leaf = dimensions of each input sphere, >= 2; branching = fan-ins from
--- the input to the root }, e.g. { leaf = 3, branching = { 27, 1 } } of a multilayer network with
--- two hidden layers, { 1, 3, 3, 3, 1 } of a hierarchical one
--- @param opts.gamma number =0.5 of the activation's dual exp(gamma (t - 1)), in (0, 2]: sqrt(2)
--- sin(sqrt(2) x + pi/4) behind weights of standard deviation sqrt(gamma / 2)
--- @return eigenspace with leaves, dim; methods index, eigenvalue, types, predict
--- @source Xiao 2022 (arXiv 2112.05611)
local function eigenspace(opts)
  local where = "ml.theory.eigenspace"
  options.required(where, opts, { "graph", "gamma" })
  local graph = options.field(where, opts, "graph", "table")
  options.check(where, graph, { "leaf", "branching" })
  local branching = options.field(where, graph, "branching", "table")
  local self = { leaf = options.range(where, "leaf",
    options.field(where, graph, "leaf", "integer"), 2), branching = {}, leaves = 1,
    gamma = options.field(where, opts, "gamma", "number", 0.5) }
  if not (self.gamma > 0 and self.gamma <= 2) then
    options.bad(where, 0, "option 'gamma' is %.14g, wanted a number in (0, 2]", self.gamma)
  end
  if #branching == 0 then options.bad(where, 0, "option 'branching' is empty") end
  for l, k in ipairs(branching) do
    if math.type(k) ~= "integer" or k < 1 then
      options.bad(where, 0, "fan-in %d is %s, wanted an integer >= 1", l, options.describe(k))
    end
    self.branching[l], self.leaves = k, self.leaves * k
  end
  self.dim = self.leaves * self.leaf
  self.empty = empty_tables(self)
  return setmetatable(self, Tree)
end

-- Degrees by leaf, checked, as a list of { leaf (from 0), degree }.
local function read_mode(self, where, mode)
  options.argument(where, 1, mode, "table")
  local list = {}
  for leaf, degree in pairs(mode) do
    if math.type(leaf) ~= "integer" or leaf < 1 or leaf > self.leaves then
      options.bad(where, 1, "leaf %s, wanted 1..%d", options.describe(leaf), self.leaves)
    end
    if math.type(degree) ~= "integer" or degree < 0 or degree > 40 then
      options.bad(where, 1, "degree %s at leaf %d, wanted an integer in 0..40",
        options.describe(degree), leaf)
    end
    if degree > 0 then list[#list + 1] = { leaf - 1, degree } end
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

-- Which nodes of each level have something touched below them: level -> set of numbers from 0.
local function touched(self, list)
  local levels = { [0] = {} }
  for _, pair in ipairs(list) do levels[0][pair[1]] = true end
  for l, k in ipairs(self.branching) do
    levels[l] = {}
    for node in pairs(levels[l - 1]) do levels[l][node // k] = true end
  end
  return levels
end

--- eigenspace:index(mode)
--- The learning index of a mode, whose eigenvalue falls as dim^-index: frequency counts degrees,
--- weighted by the size of the first layer's patches; space is the length of the smallest subtree
--- that joins the touched patches with the root.
--- @param mode table leaf (from 1) -> degree
--- @return number index = space + frequency, in powers of dim
--- @return number space
--- @return number frequency
--- @source Xiao 2022 (arXiv 2112.05611), Definition 1
function Tree:index(mode)
  local list = read_mode(self, "index", mode)
  local d = math.log(self.dim)
  local degree, space = 0, 0
  for _, pair in ipairs(list) do degree = degree + pair[2] end
  local levels = touched(self, list)
  for l = 2, #self.branching do
    local edges = 0
    for _ in pairs(levels[l - 1]) do edges = edges + 1 end
    space = space + edges * math.log(self.branching[l]) / d
  end
  local frequency = degree * math.log(self.branching[1] * self.leaf) / d
  return space + frequency, space, frequency
end

-- The eigenvalue from the tables of the root's children.
local function at_root(self, empty, count, tables)
  -- the root's own exponential: s = 1 of its children's tables
  local value = math.exp(-self.gamma) * empty[1] ^ count
  for _, t in ipairs(tables) do value = value * t[1] end
  return value
end

--- eigenspace:eigenvalue(mode)
--- The eigenvalue of the NNGP kernel that belongs to a mode, by an exact recursion over the tree.
--- @param mode table leaf (from 1) -> degree
--- @return number
--- @return number of modes that are like it: harmonics of these degrees at these leaves
--- @source Xiao 2022 (arXiv 2112.05611), Section 4
function Tree:eigenvalue(mode)
  local list = read_mode(self, "eigenvalue", mode)
  local below, count = {}, 1
  for _, pair in ipairs(list) do
    below[pair[1]] = leaf_table(self, pair[2])
    count = count * krr.multiplicity(self.leaf, pair[2])
  end
  for l = 1, #self.branching do
    local k, groups = self.branching[l], {}
    for node, t in pairs(below) do
      local parent = node // k
      groups[parent] = groups[parent] or {}
      table.insert(groups[parent], t)
    end
    if l == #self.branching then
      local tables = groups[0] or {}
      return at_root(self, self.empty[l - 1], k - #tables, tables), count
    end
    below = {}
    for parent, tables in pairs(groups) do
      below[parent] = node_table(self, l, multiply(self.empty[l - 1], k - #tables, tables))
    end
  end
end

-- ---- types --------------------------------------------------------------------------------------

-- All multisets of at most `room` of the types with total degree <= degree: visit(list of { type,
-- times }).
local function multisets(types, room, degree, visit)
  local chosen = {}
  local function from(i, left, rest)
    if i > #types then
      visit(chosen)
      return
    end
    for times = 0, math.min(left, rest // types[i].degree) do
      if times > 0 then chosen[#chosen + 1] = { types[i], times } end
      from(i + 1, left - times, rest - times * types[i].degree)
      if times > 0 then chosen[#chosen] = nil end
    end
  end
  from(1, room, degree)
end

-- One type of a node for a multiset of its children's types.
local function combine(self, l, chosen)
  local k = self.branching[l]
  local type_ = { degree = 0, count = 1, touched = {}, edges = 0 }
  local free, tables = k, {}
  for _, pair in ipairs(chosen) do
    local child, times = pair[1], pair[2]
    type_.degree = type_.degree + times * child.degree
    for i = 1, times do -- placements: binomials, one after the other
      type_.count = type_.count * (free - i + 1) / i * child.count
      tables[#tables + 1] = child.table
    end
    free = free - times
    type_.edges = type_.edges + times * (child.edges + (l > 1 and math.log(k) or 0))
  end
  if l == #self.branching then
    type_.value = at_root(self, self.empty[l - 1], free, tables)
  else
    type_.table = node_table(self, l, multiply(self.empty[l - 1], free, tables))
  end
  return type_
end

--- eigenspace:types{ degree }
--- Every type of mode up to a total degree, with what a learning curve wants of it.
--- @param opts.degree integer =5 largest total degree, 0 to 10
--- @return table list of { value, multiplicity, degree, index, space, frequency }, the constant
--- first, then by falling value; with rest = what is missing of the trace
--- @source Xiao 2022 (arXiv 2112.05611), Section 4
function Tree:types(opts)
  local where = "types"
  options.check(where, opts, { "degree" })
  local degree = options.range(where, "degree",
    options.field(where, opts or {}, "degree", "integer", 5), 0, 10)
  local types = {}
  for r = 1, degree do
    types[r] = { degree = r, count = krr.multiplicity(self.leaf, r), table = leaf_table(self, r),
      edges = 0 }
  end
  for l = 1, #self.branching do
    local made = {}
    multisets(types, self.branching[l], degree, function(chosen)
      if #chosen > 0 then made[#made + 1] = combine(self, l, chosen) end
    end)
    types = made
  end
  local d, patch = math.log(self.dim), self.branching[1] * self.leaf
  local list = {}
  for i, t in ipairs(types) do
    local space, frequency = t.edges / d, t.degree * math.log(patch) / d
    list[i] = { value = t.value, multiplicity = t.count, degree = t.degree, space = space,
      frequency = frequency, index = space + frequency }
  end
  table.sort(list, function(a, b) return a.value > b.value end)
  local constant = self:eigenvalue {}
  table.insert(list, 1, { value = constant, multiplicity = 1, degree = 0, space = 0, frequency = 0,
    index = 0 })
  list.rest = 1
  for _, t in ipairs(list) do list.rest = list.rest - t.value * t.multiplicity end
  return list
end

--- eigenspace:predict{ modes =, samples =, ridge =, degree = }
--- The learning curve of targets that lie in one eigenspace each and are learned one at a time:
--- the mean squared error of a target of power 1.
--- @param opts.modes table list of modes (leaf -> degree)
--- @param opts.samples table list of numbers of samples, > 0
--- @param opts.ridge number =0 in the unit of the kernel, which is 1 at equal points
--- @param opts.degree integer =5 largest total degree of types that are told apart; the rest of the
--- trace belongs to the ridge
--- @return table errors [mode][sample]
--- @return table learnability [mode][sample]
--- @source Xiao 2022 (arXiv 2112.05611), Theorem 2; Canatar, Bordelon & Pehlevan 2021
function Tree:predict(opts)
  local where = "predict"
  options.required(where, opts, { "modes", "samples", "ridge", "degree" })
  local modes = options.field(where, opts, "modes", "table")
  local samples = options.field(where, opts, "samples", "table")
  local ridge = options.range(where, "ridge", options.field(where, opts, "ridge", "number", 0), 0)
  local types = self:types { degree = options.field(where, opts, "degree", "integer", 5) }
  local values = {}
  for i, mode in ipairs(modes) do values[i] = self:eigenvalue(mode) end
  local found = krr.predict { spectrum = types, target = {}, samples = samples,
    ridge = ridge + math.max(0, types.rest) }
  local errors, learned = {}, {}
  for i in ipairs(modes) do errors[i], learned[i] = {}, {} end
  for j, m in ipairs(samples) do
    local used, kappa = 0, found.kappa[j]
    for k, t in ipairs(types) do used = used + t.multiplicity * found.learnability[j][k] ^ 2 end
    for i, value in ipairs(values) do
      local L = value / (value + kappa)
      learned[i][j], errors[i][j] = L, (1 - L) ^ 2 / (1 - used / m)
    end
  end
  return errors, learned
end

options.methods(Tree, "eigenspace:")
require "moonlab.methods"("ml.theory.eigenspace", Tree)

return eigenspace
