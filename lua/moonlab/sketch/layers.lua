--- What the layers of an infinitely wide network do to features of its two kernels: phi, with
--- phi . phi' = NNGP, and psi, with psi . psi' = NTK. Linear layers are exact or OSNAP, activations
--- are sketched polynomials or random features.
local activation = require "moonlab.kernel.activation"
local core = require "moonlab.core"
local fit = require "moonlab.sketch.fit"
local options = require "moonlab.options"
local primitives = require "moonlab.sketch.primitives"

local layers = {}

-- ---- the list of layers -------------------------------------------------------------------------

-- A network as operations on a stack of states; residual sums push, swap and add.
local function flatten_into(ops, part)
  if part.layers then
    for _, inner in ipairs(part.layers) do flatten_into(ops, inner) end
  elseif getmetatable(part) == activation.Act then
    ops[#ops + 1] = { kind = "act", act = part }
  elseif part.kind == "residual" then
    ops[#ops + 1] = { kind = "push" }
    flatten_into(ops, part.branches[1])
    ops[#ops + 1] = { kind = "swap" }
    if part.branches[2] then flatten_into(ops, part.branches[2]) end
    ops[#ops + 1] = { kind = "add" }
  elseif part.kind ~= "identity" then
    local op = {}
    for name, value in pairs(part) do op[name] = value end
    ops[#ops + 1] = op
  end
  return ops
end

--- The operations of a kernel of ml.kernel, numbered for their streams of random numbers.
function layers.operations(where, k)
  local ok, list = pcall(function() return k.layers end)
  if not ok or type(list) ~= "table" then
    options.bad(where, 1, "%s, wanted a network of ml.kernel.serial", options.describe(k))
  end
  local ops = flatten_into({}, k)
  for i, op in ipairs(ops) do op.number = i end
  return ops
end

-- ---- random things ------------------------------------------------------------------------------

-- What operation `op` draws under a name, made once.
local function drawn(run, op, name, key, make)
  key = ("%d %s %s"):format(op.number, name, key)
  local found = run.made[key]
  if not found then
    local g = run.g:fold("layer", op.number):fold(name)
    found = core.scope(function() return make(g) end)
    for _, t in ipairs(found) do core.keep(t) end
    run.made[key] = found
  end
  return found
end

--- X [n,d] to m columns by a subsampled Hadamard transform.
function layers.narrow(run, op, name, X, m)
  local d, dtype = X:size(2), X:dtype()
  local leg = drawn(run, op, name, ("%d %d %s"):format(d, m, dtype), function(g)
    return primitives.draw_leg(g, d, m, dtype)
  end)
  return core.sketch.srht(X:contiguous(), leg)
end

-- ---- linear layers ------------------------------------------------------------------------------

local function rows_of(s) -- [rows, columns] of what may be images
  return s.images and s.images[1] * s.images[2] * s.images[3] or s.n
end

local function as_images(s, x)
  return x:reshape { s.images[1], s.images[2], s.images[3], x:size(2) }
end

-- With a column of b_std, whose inner products are its square.
local function biased(x, b2)
  if b2 == 0 then return x end
  return core.concat({ x, core.full({ x:size(1), 1, dtype = x:dtype() }, math.sqrt(b2)) }, 2)
end

local function joined(psi, phi) return psi and core.concat({ psi, phi }, 2) or phi end

local apply = {}

function apply.dense(_, op, s)
  local w = math.sqrt(op.w2)
  s.phi = biased(s.phi * w, op.b2)
  s.psi = joined(s.psi and s.psi * w, s.phi)
  if s.v then s.v = s.v * op.w2 + op.b2 end
  s.layer = true
end

-- Sizes after a window, and zeros before, along one axis.
local function extent(size, window, stride, padding)
  if padding == "valid" then return (size - window) // stride + 1, 0 end
  local out = (size + stride - 1) // stride
  local pad = math.max(0, (out - 1) * stride + window - size)
  return out, padding == "same" and pad // 2 or (window - 1) // 2
end

local function need_images(s, op, what)
  if not s.images then
    options.raise("ml.sketch.features: layer %d, %s, wants images [n,H,W,C]", op.number, what)
  end
end

-- Windows of x through hashes; sizes [H,W] after it.
local function windows(op, s, x, random, dim, scale)
  local out, before = {}, {}
  for a = 1, 2 do
    out[a], before[a] = extent(s.images[a + 1], op.window[a], op.stride[a], op.padding)
    if out[a] < 1 then
      options.raise("ml.sketch.features: layer %d: a window of %dx%d is larger than %dx%d pixels",
        op.number, op.window[1], op.window[2], s.images[2], s.images[3])
    end
  end
  local y = core.sketch.windows(as_images(s, x):contiguous(), random, { dim = dim,
    window = op.window, stride = op.stride, top = before[1], left = before[2], out = out,
    circular = op.padding == "circular", scale = scale })
  local n = s.images[1]
  return y:reshape { n * out[1] * out[2], dim }, { n, out[1], out[2] }
end

-- The windows' pixels side by side, or an OSNAP of them where that is longer than the sketches.
local function convolved(run, op, s, x, name)
  local taps = op.window[1] * op.window[2]
  local d, dtype = taps * x:size(2), x:dtype()
  local exact = d <= run.inner
  local dim = exact and d or run.inner
  local random = drawn(run, op, name, ("%d %d %s"):format(d, dim, dtype), function(g)
    if exact then
      return { core.arange(1, d):to("index"):reshape { 1, d }, core.ones { 1, d, dtype = dtype } }
    end
    return primitives.draw_hashes(g, d, dim, math.min(4, dim), dtype)
  end)
  return windows(op, s, x, random, dim, math.sqrt(op.w2 / taps))
end

function apply.conv(run, op, s)
  need_images(s, op, "conv")
  local psi
  if s.psi then psi = convolved(run, op, s, s.psi, "psi") end
  local phi, images = convolved(run, op, s, s.phi, "phi")
  s.phi, s.images, s.v = biased(phi, op.b2), images, nil
  s.psi = joined(psi, s.phi)
  s.layer = true
end

function apply.avg_pool(run, op, s)
  need_images(s, op, "avg_pool")
  local taps = op.window[1] * op.window[2]
  local images
  local function pooled(x, name)
    local c, dtype = x:size(2), x:dtype()
    local random = drawn(run, op, name, ("%d %s"):format(c, dtype), function()
      local places = {}
      for i = 1, taps do places[i] = core.arange(1, c):to("index"):reshape { 1, c } end
      return { core.concat(places, 2), core.ones { 1, taps * c, dtype = dtype } }
    end)
    local y
    y, images = windows(op, s, x, random, c, 1 / taps)
    return y
  end
  local psi = s.psi and pooled(s.psi, "psi")
  s.phi, s.psi = pooled(s.phi, "phi"), psi
  s.images, s.v = images, nil
end

function apply.gap(_, op, s)
  need_images(s, op, "gap")
  local function mean(x) return as_images(s, x):mean { 2, 3 } end
  s.phi, s.psi = mean(s.phi), s.psi and mean(s.psi)
  s.images, s.v = nil, nil
end

function apply.flatten(run, op, s)
  if not s.images then return end
  local n, pixels = s.images[1], s.images[2] * s.images[3]
  local function flat(x, name)
    local y = x:reshape { n, pixels * x:size(2) } * (1 / math.sqrt(pixels))
    if y:size(2) <= run.inner then return y end
    return layers.narrow(run, op, name, y, run.inner)
  end
  s.phi, s.psi = flat(s.phi, "phi"), s.psi and flat(s.psi, "psi")
  s.images, s.v = nil, nil
end

-- The norm of every row as a column; zeros count as 1.
local function norms(x)
  local norm = x:square():sum { 2, keepdims = true }:sqrt()
  return core.where(norm:gt(0), norm, core.ones_like(norm)), norm
end

function apply.layer_norm(_, _, s)
  local norm = s.v and s.v:sqrt():to(s.phi:dtype()):reshape { s.v:size(1), 1 } or norms(s.phi)
  s.phi = s.phi / norm
  if s.psi then s.psi = s.psi / norm end
  if s.v then s.v = core.ones_like(s.v) end
end

-- ---- activations --------------------------------------------------------------------------------

-- Of kappa(v; v, v), entry by entry.
local function variance_after(op, v)
  local k = activation.entries(op.act, v, v, v)
  return k
end

-- Degrees whose weight is not zero.
local function used(list)
  local degrees = {}
  for k, c in ipairs(list) do
    if c > 0 then degrees[#degrees + 1] = k - 1 end
  end
  return degrees
end

local function every(degree)
  local degrees = {}
  for k = 0, degree do degrees[k + 1] = k end
  return degrees
end

local function roots(list)
  local out = {}
  for i, c in ipairs(list) do out[i] = math.sqrt(c) end
  return core.tensor({ out }, { dtype = "f64" })
end

-- What the polynomial of an activation is: once for a network.
local function polynomial_of(run, op)
  if op.polynomial then return op.polynomial end
  local p = fit.homogeneity(op.act)
  local out = { power = p }
  if p then
    local value, slope = fit.dual(run.where, op.act, run.degree, run.fit)
    out.value_degrees, out.slope_degrees = used(value), used(slope)
    out.value, out.slope = core.keep(roots(value)), core.keep(roots(slope))
    if #out.slope_degrees == 0 then out.slope_degrees = { 0 } end -- a step has none
    if #out.value_degrees == 0 then out.value_degrees = { 0 } end
  elseif not op.act.f then
    options.raise("%s: activation '%s' is neither homogeneous nor known as a function", run.where,
      op.act.name)
  else
    out.value_degrees, out.slope_degrees = every(run.degree), every(run.degree)
  end
  op.polynomial = out
  return out
end

--- Columns of the weighted blocks, as core counts them: of d coordinates, m of a tree, `out` of the
--- result.
function layers.columns(degrees, d, m, out)
  local sum = 0
  for _, k in ipairs(degrees) do sum = sum + (k == 0 and 1 or k == 1 and d <= out and d or m) end
  return sum
end

local function polysketch(run, op, s)
  local poly, m, dtype = polynomial_of(run, op), run.inner, s.phi:dtype()
  local d, top = s.phi:size(2), 1
  for _, list in ipairs { poly.value_degrees, poly.slope_degrees } do
    top = math.max(top, list[#list])
  end
  local value, slope, shared
  local function deviations()
    if s.v then return s.v:sqrt() end
    local _, norm = norms(s.phi)
    return norm:to("f64"):reshape { norm:size(1) }
  end
  if poly.power == 1 and not s.v then
    value, slope, shared = poly.value, poly.slope, true
  elseif poly.power then
    local nu = deviations()
    nu = nu:reshape { nu:size(1), 1 }
    local function scaled(weights, p)
      if p == 0 then return weights end
      local factor = p > 0 and nu ^ p
        or core.where(nu:gt(0), nu:maximum(1e-300) ^ p, core.zeros_like(nu))
      return factor * weights
    end
    value, slope = scaled(poly.value, poly.power), scaled(poly.slope, poly.power - 1)
  else
    value, slope = (s.v and fit.hermite or fit.hermite_near)(op.act, deviations(), run.degree)
  end
  local tree = drawn(run, op, "tree", ("%d %s"):format(d, dtype), function(g)
    return primitives.draw_tree(g, primitives.leaves_of(top), d, run.tree, dtype)
  end)
  local down = drawn(run, op, "down", ("%d %s"):format(d, dtype), function(g)
    return primitives.draw_leg(g, layers.columns(poly.value_degrees, d, run.tree, m), m, dtype)
  end)
  local random = { tree[1], tree[2], tree[3], tree[4], value:to(dtype):contiguous(), down[1],
    down[2] }
  if s.psi then
    local e = s.psi:size(2)
    local pair = drawn(run, op, "pair", ("%d %d %s"):format(d, e, dtype), function(g)
      local c = layers.columns(poly.slope_degrees, d, run.tree, m)
      local function rows(name, side) return g:fold(name):integers(1, side, { m }) end
      return { primitives.draw_signs(g:fold "left", { e }, dtype),
        rows("left", primitives.side(e)), primitives.draw_signs(g:fold "right", { c }, dtype),
        rows("right", primitives.side(c)) }
    end)
    random[8] = slope:to(dtype):contiguous()
    for i = 1, 4 do random[8 + i] = pair[i] end
  end
  return core.sketch.activation(s.phi:contiguous(), s.psi and s.psi:contiguous(), random,
    { value = poly.value_degrees, slope = poly.slope_degrees, homogeneous = shared or false })
end

-- The derivative of an activation, without the tape where it is known.
local function slope_at(act, z)
  if act.name == "relu" then return z:gt(0):to(z:dtype()) end
  return activation.slope(act, z)
end

local function random_features(run, op, s)
  if not op.act.f then
    options.raise("%s: activation '%s' is known by its dual only; random features want a function",
      run.where, op.act.name)
  end
  local d, m, dtype = s.phi:size(2), run.inner, s.phi:dtype()
  local sphere = run.directions == "sphere"
  if sphere and fit.homogeneity(op.act) ~= 1 then
    options.raise("%s: directions \"sphere\" want an activation of degree 1 like relu, not '%s'",
      run.where, op.act.name)
  end
  local function weights(name)
    return drawn(run, op, name, ("%d %s"):format(d, dtype), function(g)
      local W = g:normal { d, m, dtype = dtype }
      if not sphere then return { W } end
      -- of |w| only the mean square counts for a homogeneous activation, and it is d
      return { W * math.sqrt(d) / W:square():sum { 1, keepdims = true }:sqrt() }
    end)[1]
  end
  local scale = 1 / math.sqrt(m)
  local phi = activation.value(op.act, s.phi:matmul(weights "value")) * scale
  if not s.psi then return phi end
  local dot = slope_at(op.act, s.phi:matmul(weights "slope")) * scale
  local e = s.psi:size(2)
  local legs = drawn(run, op, "pair", ("%d %s"):format(e, dtype), function(g)
    local function rows(name, side) return g:fold(name):integers(1, side, { m }) end
    return { primitives.draw_signs(g:fold "left", { e }, dtype), rows("left", primitives.side(e)),
      primitives.draw_signs(g:fold "right", { m }, dtype), rows("right", primitives.side(m)) }
  end)
  return phi, core.sketch.tensor_srht(s.psi:contiguous(), dot, legs)
end

function apply.act(run, op, s)
  if not s.layer then
    options.raise("%s: layer %d is an activation without a dense or conv layer before it",
      run.where, op.number)
  end
  local v = s.v and variance_after(op, s.v)
  s.phi, s.psi = (run.method == "random" and random_features or polysketch)(run, op, s)
  s.v = v
end

-- ---- the network --------------------------------------------------------------------------------

--- phi, psi (nil where no layer has weights) of a block of points [n,d] or images [n,H,W,C].
function layers.run(run, X)
  local shape = X:shape()
  local images = #shape == 4 and { shape[1], shape[2], shape[3] } or nil
  local c = shape[#shape]
  local s = { n = shape[1], images = images }
  s.phi = X:reshape { rows_of(s), c } * (1 / math.sqrt(c))
  if not images then s.v = s.phi:to("f64"):square():sum(2) end
  local stack = {}
  local function copy(state)
    local out = {}
    for name, value in pairs(state) do out[name] = value end
    return out
  end
  for _, op in ipairs(run.ops) do
    if op.kind == "push" then
      stack[#stack + 1] = copy(s)
    elseif op.kind == "swap" then
      s, stack[#stack] = stack[#stack], s
    elseif op.kind == "add" then
      local other = table.remove(stack)
      if other.phi:size(1) ~= s.phi:size(1) then
        options.raise("%s: layer %d: branches give %d and %d pixels or points", run.where,
          op.number, other.phi:size(1), s.phi:size(1))
      end
      s.phi = joined(other.phi, s.phi)
      s.psi = not s.psi and other.psi or joined(other.psi, s.psi)
      s.v = s.v and other.v and s.v + other.v
      s.layer = s.layer or other.layer
    else
      apply[op.kind](run, op, s)
    end
  end
  if s.images then
    options.raise("%s: the network ends with images: a gap or flatten is missing", run.where)
  end
  return s.phi, s.psi
end

return layers
