--- Random linear maps that keep inner products in the mean: CountSketch, OSNAP, subsampled Hadamard
--- transforms, and their tensor products.
local core = require "moonlab.core"
local options = require "moonlab.options"

local primitives = {}

local Sketch = { __name = "ml.sketch" }
Sketch.__index = Sketch
local Sparse = { __name = "ml.sketch.sparse" }
Sparse.__index = Sparse
primitives.Sketch, primitives.Sparse = Sketch, Sparse

function Sketch:__tostring()
  return ("%s, dim %d%s%s"):format(self.kind, self.dim,
    self.degree and (", degree %d"):format(self.degree) or "",
    self.seed and (", seed %d"):format(self.seed) or ", explicit")
end

function Sparse:__tostring()
  return ("sparse rows, %s [%dx%d], %d values"):format(self.values:dtype(), self.rows, self.dim,
    self.values:numel())
end

-- ---- arguments ----------------------------------------------------------------------------------

--- Points [n,d] of f32 or f64, contiguous and off the tape.
function primitives.points(where, i, X)
  if not core.is_tensor(X) or X:is_released() then
    options.bad(where, i, "%s, wanted points [n,d] of f32 or f64", options.describe(X))
  end
  local dtype = X:dtype()
  if (dtype ~= "f32" and dtype ~= "f64") or #X:shape() ~= 2 or X:size(2) < 1 then
    options.bad(where, i, "%s, wanted points [n,d] of f32 or f64", options.describe(X))
  end
  return X:detach():contiguous()
end
local points = primitives.points

-- Signs as an f64 tensor of one of the shapes, all +-1.
local function read_signs(where, value, name, rank)
  if type(value) == "table" then
    local ok, t = pcall(core.tensor, value, { dtype = "f64" })
    value = ok and t or value
  end
  if not core.is_tensor(value) or #value:shape() ~= rank or value:numel() == 0
    or (value:dtype() ~= "f64" and value:dtype() ~= "f32") then
    options.bad(where, 0, "%s are %s, wanted %s numbers +1 or -1", name, options.describe(value),
      rank == 1 and "[d]" or "[k,d]")
  end
  local t = core.keep(value:detach():to("f64"):clone())
  if core.scope(function() return t:abs():eq(1):all():item() end) == 0 then
    options.bad(where, 0, "%s hold a number that is neither +1 nor -1", name)
  end
  return t
end

local function read_places(where, value, name, rank)
  if type(value) == "table" then
    local ok, t = pcall(core.index, value)
    value = ok and t or value
  end
  if not core.is_tensor(value) or value:dtype() ~= "index" or #value:shape() ~= rank
    or value:numel() == 0 then
    options.bad(where, 0, "%s are %s, wanted positions %s from 1", name, options.describe(value),
      rank == 1 and "[m]" or "[k,d]")
  end
  return core.keep(value:clone())
end

local function as_list(where, value, name, count)
  if core.is_tensor(value) or type(value) ~= "table" or #value ~= count then
    options.bad(where, 0, "%s are %s, wanted a list of %d", name, core.is_tensor(value)
      and options.describe(value) or type(value) == "table" and #value .. " entries"
      or options.describe(value), count)
  end
  return value
end

local function whole(where, o, name, default)
  return options.range(where, name, options.field(where, o, name, "integer", default), 1, 2 ^ 31)
end

-- ---- randomness ---------------------------------------------------------------------------------

--- The side of the Hadamard matrix that holds d coordinates.
function primitives.side(d)
  local side = 1
  while side < d do side = 2 * side end
  return side
end
local side_of = primitives.side

--- n numbers +-1 of a stream.
function primitives.draw_signs(g, shape, dtype)
  return g:fold("signs"):integers(1, 2, shape):to(dtype) * 2 - 3
end

--- Which m of the places to keep: all in random order before one is taken again, so that a multiple
--- of their number is an isometry.
function primitives.draw_rows(g, m, side)
  g = g:fold "indices"
  local parts = {}
  for i = 1, (m + side - 1) // side do parts[i] = g:permutation(side) end
  return core.concat(parts, 1)[{ { 1, m } }]:clone()
end

--- Signs and places of one subsampled Hadamard transform.
function primitives.draw_leg(g, d, m, dtype)
  return { primitives.draw_signs(g, { d }, dtype), primitives.draw_rows(g, m, side_of(d)) }
end

--- Hashes [k,d], each of the k in its own block of places, and signs.
function primitives.draw_hashes(g, d, m, k, dtype)
  local parts = {}
  for j = 1, k do
    local low, high = (j - 1) * m // k, j * m // k
    parts[j] = g:fold("hashes", j):integers(low + 1, high, { 1, d })
  end
  return { core.concat(parts, 1), primitives.draw_signs(g, { k, d }, dtype) }
end

--- The four tensors of a tree over d coordinates. Legs keep places with repetition, so that a
--- product of two has independent terms.
function primitives.draw_tree(g, leaves, d, m, dtype)
  local function rows(name, count, side)
    return g:fold(name):integers(1, side, { count, m })
  end
  return { primitives.draw_signs(g:fold "leaves", { leaves, d }, dtype),
    rows("leaves", leaves, side_of(d)),
    primitives.draw_signs(g:fold "nodes", { leaves - 2, m }, dtype),
    rows("nodes", leaves - 2, side_of(m)) }
end

-- What the points want: made once for each number of coordinates and dtype.
local function random_of(self, key, make)
  local found = self.made[key]
  if not found then
    found = core.scope(make)
    for _, t in ipairs(found) do core.keep(t) end
    self.made[key] = found
  end
  return found
end

local function new(kind, fields)
  fields.kind, fields.made = kind, {}
  return setmetatable(fields, Sketch)
end

local function seed_of(where, o, explicit)
  if explicit then
    if o.seed ~= nil then options.bad(where, 0, "both a seed and explicit randomness") end
    return nil
  end
  return options.field(where, o, "seed", "integer", 1)
end

local function stream(self) return core.rng(self.seed):fold(self.kind) end

-- ---- sparse rows --------------------------------------------------------------------------------

--- ml.sketch.sparse(X) or ml.sketch.sparse{ offsets =, columns =, values =, dim = }
--- Rows of which only the values that are not zero are kept (compressed sparse rows). All sketches
--- take them: count_sketch and osnap, and a poly_sketch with one of these as its base, at a cost
--- that follows the number of values; the Hadamard transforms, which mix all coordinates, a block
--- of rows after the other at the cost of dense rows.
--- @param X tensor [n,d] f32 or f64, or a table of the fields below
--- @param opts.offsets tensor [n+1] index, where the values of each row start, the last one more
--- than their number
--- @param opts.columns tensor [nnz] index
--- @param opts.values tensor [nnz] f32 or f64
--- @param opts.dim integer coordinates of a row
--- @return sparse rows, to be given to a sketch
--- @source -
function primitives.sparse(X)
  local where = "ml.sketch.sparse"
  if core.is_tensor(X) then
    X = points(where, 1, X)
    local n, d = X:size(1), X:size(2)
    return core.scope(function()
      local list, columns, offsets = X:totable(), {}, { 1 }
      local values = {}
      for i, row in ipairs(list) do
        for j, x in ipairs(row) do
          if x ~= 0 then
            columns[#columns + 1] = j
            values[#values + 1] = x
          end
        end
        offsets[i + 1] = #values + 1
      end
      return setmetatable({ rows = n, dim = d, offsets = core.keep(core.index(offsets)),
        columns = core.keep(#columns > 0 and core.index(columns)
          or core.ones { 0, dtype = "index" }),
        values = core.keep(#values > 0 and core.tensor(values, { dtype = X:dtype() })
          or core.zeros { 0, dtype = X:dtype() }) }, Sparse)
    end)
  end
  options.required(where, X, { "offsets", "columns", "values", "dim" })
  local offsets = read_places(where, X.offsets, "offsets", 1)
  local columns = read_places(where, X.columns, "columns", 1)
  if not core.is_tensor(X.values) or #X.values:shape() ~= 1 then
    options.bad(where, 0, "values are %s, wanted a tensor [nnz] of f32 or f64",
      options.describe(X.values))
  end
  return setmetatable({ rows = offsets:size(1) - 1, dim = whole(where, X, "dim"), offsets = offsets,
    columns = columns, values = core.keep(X.values:detach():clone()) }, Sparse)
end

--- rows:dense(first, last)
--- The rows as they would be with their zeros.
--- @param first integer =1
--- @param last integer =the number of rows
--- @return tensor [last-first+1,dim]
--- @source -
function Sparse:dense(first, last)
  first, last = first or 1, last or self.rows
  if math.type(first) ~= "integer" or math.type(last) ~= "integer" or first < 1 or last < first
    or last > self.rows then
    options.bad("dense", 0, "rows %s to %s of %d", options.describe(first), options.describe(last),
      self.rows)
  end
  self.places = self.places or { core.keep(core.scope(function()
    return core.arange(1, self.dim):to "index":reshape { 1, self.dim }
  end)), core.keep(core.ones { 1, self.dim, dtype = self.values:dtype() }) }
  local starts, from = self.offsets[{ { first, last + 1 } }]:totable(), nil
  for i = 1, #starts do
    from = from or starts[1]
    starts[i] = starts[i] - from + 1
  end
  local held = { from, from + starts[#starts] - 2 }
  local columns, values = self.columns, self.values
  if held[2] < held[1] then
    columns, values = core.ones { 0, dtype = "index" }, core.zeros { 0, dtype = values:dtype() }
  else
    columns, values = columns[{ held }]:contiguous(), values[{ held }]:contiguous()
  end
  return core.sketch.osnap_sparse({ core.index(starts), columns, values }, self.places, self.dim)
end

-- f of points; of sparse rows, dense blocks of 32 MiB at most one after the other.
local function by_blocks(where, i, X, f)
  if getmetatable(X) ~= Sparse then return f(points(where, i, X)) end
  local step = math.max(1, (1 << 22) // X.dim)
  local parts = {}
  for first = 1, X.rows, step do
    parts[#parts + 1] = core.scope(function()
      return f(X:dense(first, math.min(first + step - 1, X.rows)))
    end)
  end
  return #parts == 1 and parts[1] or core.concat(parts, 1)
end

-- ---- scattering ---------------------------------------------------------------------------------

local scatter = {}

function scatter.call(self, where, X)
  local sparse = getmetatable(X) == Sparse
  if not sparse then X = points(where, 1, X) end
  local d, dtype = sparse and X.dim or X:size(2), sparse and X.values:dtype() or X:dtype()
  local random = random_of(self, d .. dtype, function()
    if not self.hashes then
      return primitives.draw_hashes(stream(self), d, self.dim, self.nonzeros, dtype)
    end
    if self.hashes:size(2) ~= d then
      options.bad(where, 1, "%d coordinates and %d hashes", d, self.hashes:size(2))
    end
    return { self.hashes, self.signs:to(dtype) }
  end)
  if sparse then
    return core.sketch.osnap_sparse({ X.offsets, X.columns, X.values }, random, self.dim)
  end
  return core.sketch.osnap(X, random, self.dim)
end

-- The hashes and signs of the options as [k,d].
local function read_hashes(where, o, rank)
  local hashes, signs = o.hashes, o.signs
  if (hashes == nil) ~= (signs == nil) then
    options.bad(where, 0, "option '%s' is missing: hashes and signs go together",
      hashes == nil and "hashes" or "signs")
  end
  if hashes == nil then return end
  hashes = read_places(where, hashes, "hashes", rank)
  signs = read_signs(where, signs, "signs", rank)
  if table.concat(hashes:shape(), "x") ~= table.concat(signs:shape(), "x") then
    options.bad(where, 0, "hashes are %s and signs %s, wanted one shape", options.describe(hashes),
      options.describe(signs))
  end
  if rank == 1 then
    local d = hashes:size(1)
    hashes, signs = core.keep(hashes:reshape { 1, d }), core.keep(signs:reshape { 1, d })
  end
  local most = core.scope(function() return hashes:flatten():max():item() end)
  if most > o.dim then
    options.bad(where, 0, "a hash is %d, wanted 1 to dim, %d", most, o.dim)
  end
  return hashes, signs
end

--- ml.sketch.count_sketch{ dim, seed } or { dim, hashes, signs }
--- CountSketch: every coordinate goes with its sign to one place of dim.
--- @param opts.dim integer places
--- @param opts.seed integer =1 of every draw
--- @param opts.hashes tensor [d] or list, the place of each coordinate, 1 to dim
--- @param opts.signs tensor [d] or list of +1 and -1
--- @return sketch to be called with points tensor [n,d] or with sparse rows; gives [n,dim]
--- @source Charikar, Chen & Farach-Colton 2002
function primitives.count_sketch(opts)
  local where = "ml.sketch.count_sketch"
  options.required(where, opts, { "dim", "seed", "hashes", "signs" })
  local dim = whole(where, opts, "dim")
  local hashes, signs = read_hashes(where, opts, 1)
  return new("count_sketch", { dim = dim, seed = seed_of(where, opts, hashes), nonzeros = 1,
    hashes = hashes, signs = signs, inner = scatter })
end

--- ml.sketch.osnap{ dim, nonzeros, seed } or { dim, hashes, signs }
--- OSNAP: every coordinate goes with signs to several places, one in each block of places, and all
--- is divided by the square root of their number.
--- @param opts.dim integer places
--- @param opts.nonzeros integer =4 places of a coordinate
--- @param opts.seed integer =1 of every draw
--- @param opts.hashes tensor [k,d] or lists, the places of each coordinate, 1 to dim
--- @param opts.signs tensor [k,d] or lists of +1 and -1
--- @return sketch to be called with points tensor [n,d] or with sparse rows; gives [n,dim]
--- @source Nelson & Nguyen 2013
function primitives.osnap(opts)
  local where = "ml.sketch.osnap"
  options.required(where, opts, { "dim", "nonzeros", "seed", "hashes", "signs" })
  local dim = whole(where, opts, "dim")
  local hashes, signs = read_hashes(where, opts, 2)
  local nonzeros = hashes and hashes:size(1) or whole(where, opts, "nonzeros", math.min(4, dim))
  if nonzeros > dim then
    options.bad(where, 0, "option 'nonzeros' is %d, wanted at most dim, %d", nonzeros, dim)
  end
  return new("osnap", { dim = dim, seed = seed_of(where, opts, hashes), nonzeros = nonzeros,
    hashes = hashes, signs = signs, inner = scatter })
end

-- ---- Hadamard -----------------------------------------------------------------------------------

--- ml.sketch.hadamard(X)
--- The fast Walsh-Hadamard transform of every row: X H with Sylvester's matrix H of entries +1 and
--- -1, not normed; rows are padded with zeros to the next power of two.
--- @param X tensor [n,d] f32 or f64, or sparse rows
--- @return tensor [n,2^p]
--- @source Fino & Algazi 1976
function primitives.hadamard(X)
  return by_blocks("ml.sketch.hadamard", 1, X, core.sketch.hadamard)
end

-- Explicit signs and indices of one leg, and how many.
local function read_leg(where, signs, rows, suffix)
  return { signs = read_signs(where, signs, "signs" .. suffix, 1),
    rows = read_places(where, rows, "indices" .. suffix, 1) }
end

local function leg_of(where, i, leg, d, dtype)
  if leg.signs:size(1) ~= d and leg.signs:size(1) ~= side_of(d) then
    options.bad(where, i, "%d coordinates and %d signs", d, leg.signs:size(1))
  end
  local most = leg.rows:max():item()
  if most > side_of(d) then
    options.bad(where, i, "an index is %d, wanted 1 to %d", most, side_of(d))
  end
  return leg.signs[{ { 1, d } }]:to(dtype):contiguous(), leg.rows
end

local function dim_of(where, o, count)
  if count == nil then return whole(where, o, "dim") end
  if o.dim ~= nil and o.dim ~= count then
    options.bad(where, 0, "option 'dim' is %s and there are %d indices", options.describe(o.dim),
      count)
  end
  return count
end

local srht = {}

local function srht_of(self, where, X)
  local d, dtype = X:size(2), X:dtype()
  local leg = random_of(self, d .. dtype, function()
    if self.leg then return { leg_of(where, 1, self.leg, d, dtype) } end
    return primitives.draw_leg(stream(self), d, self.dim, dtype)
  end)
  return core.sketch.srht(X, leg)
end

function srht.call(self, where, X)
  return by_blocks(where, 1, X, function(block) return srht_of(self, where, block) end)
end

--- ml.sketch.srht{ dim, seed } or { signs, indices }
--- The subsampled randomized Hadamard transform: signs, the Hadamard transform H of the row padded
--- with zeros, dim of its places, all over the square root of dim.
--- @param opts.dim integer columns of the result
--- @param opts.seed integer =1 of every draw
--- @param opts.signs tensor [d] or list of +1 and -1
--- @param opts.indices tensor [dim] or list of places, 1 to the power of two that holds d
--- @return sketch to be called with points tensor [n,d] or with sparse rows; gives [n,dim]
--- @source Ailon & Chazelle 2009; Tropp 2011
function primitives.srht(opts)
  local where = "ml.sketch.srht"
  options.required(where, opts, { "dim", "seed", "signs", "indices" })
  local leg
  if opts.signs ~= nil or opts.indices ~= nil then
    leg = read_leg(where, opts.signs, opts.indices, "")
  end
  return new("srht", { dim = dim_of(where, opts, leg and leg.rows:size(1)), leg = leg,
    seed = seed_of(where, opts, leg), inner = srht })
end

local tensor_srht = {}

-- Sparse factors become dense together: a call takes few of them.
local function dense_points(where, i, X)
  return points(where, i, getmetatable(X) == Sparse and X:dense() or X)
end

function tensor_srht.call(self, where, X, Z)
  if type(X) == "table" and getmetatable(X) ~= Sparse and Z == nil then X, Z = X[1], X[2] end
  X = dense_points(where, 1, X)
  Z = Z == nil and X or dense_points(where, 2, Z)
  if X:size(1) ~= Z:size(1) or X:dtype() ~= Z:dtype() then
    options.bad(where, 2, "%s and %s, wanted one dtype and as many points", options.describe(X),
      options.describe(Z))
  end
  local d, e, dtype = X:size(2), Z:size(2), X:dtype()
  local legs = random_of(self, ("%d %d %s"):format(d, e, dtype), function()
    if self.legs then
      local a, b = leg_of(where, 1, self.legs[1], d, dtype)
      return { a, b, leg_of(where, 2, self.legs[2], e, dtype) }
    end
    local g, out = stream(self), {}
    for i, size in ipairs { d, e } do
      local leg = g:fold("leg", i)
      out[2 * i - 1] = primitives.draw_signs(leg, { size }, dtype)
      out[2 * i] = leg:fold("indices"):integers(1, side_of(size), { self.dim })
    end
    return out
  end)
  return core.sketch.tensor_srht(X, Z, legs)
end

--- ml.sketch.tensor_srht{ dim, seed } or { signs = {s, s2}, indices = {i, i2} }
--- TensorSRHT of degree 2: a sketch of the tensor product of a row of X and one of Z, the product
--- place by place of two Hadamard transforms with signs of their own, over the square root of dim.
--- @param opts.dim integer columns of the result
--- @param opts.seed integer =1 of every draw
--- @param opts.signs list of two, each +1 and -1 for every coordinate
--- @param opts.indices list of two, each dim places
--- @return sketch to be called with tensors [n,d] and [n,e] or sparse rows, a pair of them in a
--- list, or one for both; gives [n,dim]
--- @source Ahle et al. 2020, Definition 15
function primitives.tensor_srht(opts)
  local where = "ml.sketch.tensor_srht"
  options.required(where, opts, { "dim", "seed", "signs", "indices" })
  local legs
  if opts.signs ~= nil or opts.indices ~= nil then
    local signs = as_list(where, opts.signs, "signs", 2)
    local rows = as_list(where, opts.indices, "indices", 2)
    legs = { read_leg(where, signs[1], rows[1], " of the first"),
      read_leg(where, signs[2], rows[2], " of the second") }
    if legs[1].rows:size(1) ~= legs[2].rows:size(1) then
      options.bad(where, 0, "%d and %d indices, wanted as many", legs[1].rows:size(1),
        legs[2].rows:size(1))
    end
  end
  return new("tensor_srht", { dim = dim_of(where, opts, legs and legs[1].rows:size(1)),
    legs = legs, seed = seed_of(where, opts, legs), inner = tensor_srht })
end

-- ---- powers -------------------------------------------------------------------------------------

local poly = {}

--- The least tree with that many leaves, at least two.
function primitives.leaves_of(degree)
  return math.max(2, side_of(degree))
end

-- Signs and indices of a tree given as lists of levels from below, each a list of legs.
local function read_tree(where, opts, degree)
  local leaves = primitives.leaves_of(degree)
  local levels = {}
  local count = leaves
  while count >= 2 do
    levels[#levels + 1] = count
    count = count // 2
  end
  local signs = as_list(where, opts.signs, "signs", #levels)
  local rows = as_list(where, opts.indices, "indices", #levels)
  local tree, m = { {}, {}, {}, {} }, nil
  for l, legs in ipairs(levels) do
    local s = as_list(where, signs[l], ("signs of level %d"):format(l), legs)
    local r = as_list(where, rows[l], ("indices of level %d"):format(l), legs)
    for i = 1, legs do
      local leg = read_leg(where, s[i], r[i], (" of level %d, leg %d"):format(l, i))
      m = m or leg.rows:size(1)
      if leg.rows:size(1) ~= m or (l > 1 and leg.signs:size(1) ~= m)
        or leg.signs:size(1) ~= (l > 1 and m or tree[1][1] and tree[1][1]:size(1)
        or leg.signs:size(1)) then
        options.bad(where, 0, "leg %d of level %d has %d signs and %d indices, which do not fit",
          i, l, leg.signs:size(1), leg.rows:size(1))
      end
      local at = l == 1 and 0 or 2
      table.insert(tree[at + 1], leg.signs)
      table.insert(tree[at + 2], leg.rows)
    end
  end
  for i = 1, 4 do
    tree[i] = core.keep(#tree[i] > 0 and core.stack(tree[i], 1)
      or core.ones { 0, m, dtype = i == 3 and "f64" or "index" })
  end
  return tree, m
end

local function tree_for(self, where, d, dtype)
  return random_of(self, d .. dtype, function()
    local tree = self.tree
    if not tree then
      return primitives.draw_tree(stream(self), primitives.leaves_of(self.degree), d, self.dim,
        dtype)
    end
    if tree[1]:size(2) ~= d then
      options.bad(where, 1, "%d coordinates and %d signs", d, tree[1]:size(2))
    end
    return { tree[1]:to(dtype), tree[2], tree[3]:to(dtype), tree[4] }
  end)
end

function poly.call(self, where, X)
  if self.base then
    if type(X) == "table" and getmetatable(X) ~= Sparse then
      options.bad(where, 1, "a list of factors goes without a base sketch")
    end
    X = self.base(X)
  end
  if type(X) == "table" and getmetatable(X) ~= Sparse then
    if #X ~= self.degree then
      options.bad(where, 1, "%d factors, wanted one point or as many as the degree, %d", #X,
        self.degree)
    end
    local list = {}
    for i, factor in ipairs(X) do list[i] = dense_points(where, 1, factor) end
    return core.sketch.product(list, tree_for(self, where, list[1]:size(2), list[1]:dtype()))
  end
  return by_blocks(where, 1, X, function(block)
    return core.sketch.powers(block, tree_for(self, where, block:size(2), block:dtype()),
      { self.degree })
  end)
end

--- sketch:powers(X)
--- Of a poly_sketch: the sketches of all powers 1 to degree, from the same transforms.
--- @param X tensor [n,d]
--- @return list of tensors [n,dim], one for each power
--- @source Zandieh et al. 2021 (arXiv 2106.07880), Algorithm 2
function Sketch:powers(X)
  local where = "powers"
  if self.kind ~= "poly_sketch" then options.bad(where, 0, "%s has no powers", self.kind) end
  if self.base then X = self.base(X) end
  local degrees, out = {}, {}
  for k = 1, self.degree do degrees[k] = k end
  local all = by_blocks(where, 1, X, function(block)
    return core.sketch.powers(block, tree_for(self, where, block:size(2), block:dtype()), degrees)
  end)
  for k = 1, self.degree do
    out[k] = all[{ {}, { (k - 1) * self.dim + 1, k * self.dim } }]
  end
  return out
end

--- ml.sketch.poly_sketch{ degree, dim, base, seed } or { degree, signs, indices }
--- PolySketch: a binary tree of TensorSRHT nodes that sketches the tensor power x^degree, so that
--- inner products are those of the polynomial kernel (x . y)^degree. A degree that is no power of
--- two takes the next larger tree with constant leaves.
--- @param opts.degree integer highest power, >= 1
--- @param opts.dim integer of every node and of the result
--- @param opts.base sketch that comes first, an osnap say, for long or sparse rows
--- @param opts.seed integer =1 of every draw
--- @param opts.signs list of levels from the leaves up, each a list of legs (two a node) with their
--- signs
--- @param opts.indices list of levels, each a list of legs with their dim places
--- @return sketch to be called with points tensor [n,d] or a list of degree factors; gives [n,dim];
--- its method powers gives all lower powers too
--- @source Ahle et al. 2020, Section 4
function primitives.poly_sketch(opts)
  local where = "ml.sketch.poly_sketch"
  options.required(where, opts, { "degree", "dim", "base", "seed", "signs", "indices" })
  local degree = options.range(where, "degree", options.field(where, opts, "degree", "integer"), 1,
    1024)
  if opts.base ~= nil and getmetatable(opts.base) ~= Sketch then
    options.bad(where, 0, "option 'base' is %s, wanted a sketch", options.describe(opts.base))
  end
  local tree, m
  if opts.signs ~= nil or opts.indices ~= nil then
    tree, m = read_tree(where, opts, degree)
  end
  return new("poly_sketch", { dim = dim_of(where, opts, m), degree = degree, base = opts.base,
    tree = tree, seed = seed_of(where, opts, tree), inner = poly })
end

function Sketch:__call(X, Z)
  local where = "ml.sketch." .. self.kind
  if Z ~= nil and self.kind ~= "tensor_srht" then
    options.bad(where, 2, "%s, wanted one argument", options.describe(Z))
  end
  return self.inner.call(self, where, X, Z)
end

return primitives
