--- Images with a symmetry, and transforms that keep or break it.
local core = require "moonlab.core"
local options = require "moonlab.options"
local solve = require "moonlab.solve"

local symmetry = {}

-- A rotation of n dimensions by Haar's measure: the Q of a Gaussian matrix, signs of R taken in.
local function rotation(key, n)
  local Q, R = solve.qr(key:normal { n, n })
  return Q * R:diagonal():sign()
end

local groups = { "identity", "channel", "pixel", "full", "permutation", "translation" }

--- ml.data.transform{ group =, height =, width =, channels =, seed = }
--- One element of a group that acts on images, drawn once and applied to all of them alike: channel
--- (one rotation of the channels, the same at every pixel), pixel (one for each pixel), full (of
--- the whole flattened image), permutation (of pixels), translation (circular), identity.
--- @param opts.group string the group
--- @param opts.height integer pixels
--- @param opts.width integer =height pixels
--- @param opts.channels integer =1 of a pixel
--- @param opts.seed integer =1 of the element
--- @return function X -> X of images [n,height,width,channels], f64 or f32
--- @source Xiao & Pennington 2022 (arXiv 2207.04612); Mezzadri 2007 (rotations)
function symmetry.transform(opts)
  local where = "ml.data.transform"
  options.required(where, opts, { "group", "height", "width", "channels", "seed" })
  local group = options.choice(where, opts, "group", groups)
  if not group then options.bad(where, 0, "option 'group' is missing") end
  local H = options.range(where, "height", options.field(where, opts, "height", "integer"), 1)
  local W = options.range(where, "width", options.field(where, opts, "width", "integer", H), 1)
  local C = options.range(where, "channels", options.field(where, opts, "channels", "integer", 1),
    1)
  local key = core.rng(options.field(where, opts, "seed", "integer", 1)):fold("transform " .. group)
  local P = H * W
  local apply
  if group == "identity" then
    apply = function(x) return x end
  elseif group == "channel" then
    local R = core.keep(rotation(key, C))
    apply = function(x) return x:reshape { x:size(1) * P, C }:matmul(R:to(x:dtype())) end
  elseif group == "pixel" then
    local list = {}
    for p = 1, P do list[p] = rotation(key:fold("pixel", p), C) end
    local R = core.keep(core.stack(list, 1))
    apply = function(x)
      return x:permute { 2, 1, 3 }:matmul(R:to(x:dtype())):permute { 2, 1, 3 }
    end
  elseif group == "full" then
    local R = core.keep(rotation(key, P * C))
    apply = function(x) return x:reshape { x:size(1), P * C }:matmul(R:to(x:dtype())) end
  else
    local ids
    if group == "permutation" then
      ids = core.keep(key:permutation(P))
    else
      local dy, dx, list = key:integers(0, H - 1), key:fold("x"):integers(0, W - 1), {}
      for y = 0, H - 1 do
        for x = 0, W - 1 do list[#list + 1] = (y + dy) % H * W + (x + dx) % W + 1 end
      end
      ids = core.keep(core.index(list))
    end
    apply = function(x) return x:index_select(ids, 2) end
  end
  return function(X)
    if not core.is_tensor(X) or #X:shape() ~= 4 or X:size(2) ~= H or X:size(3) ~= W
      or X:size(4) ~= C then
      options.bad("transform", 1, "%s, wanted images [n,%d,%d,%d]", options.describe(X), H, W, C)
    end
    return apply(X:reshape { X:size(1), P, C }):reshape { X:size(1), H, W, C }
  end
end

--- ml.data.motifs{ train =, test =, size =, channels =, copies =, amplitude =, noise =, seed = }
--- Images of two classes that differ in a local pattern wherever it stands: 2x2 motifs of each
--- class at random places of a torus, with random signs, in noise. No pixel by itself and no linear
--- function tells the class.
--- @param opts.train integer =1024 images
--- @param opts.test integer =1000 images
--- @param opts.size integer =6 pixels on a side
--- @param opts.channels integer =3 of a pixel
--- @param opts.copies integer =4 of the motif in an image
--- @param opts.amplitude number =2 of a motif, whose norm is 1
--- @param opts.noise number =0.5 standard deviation of each number
--- @param opts.seed integer =1 of motifs and images
--- @return set with train and test ({ images f64 [n,size,size,channels], labels index [n] }),
--- classes
--- @source Xiao & Pennington 2022 (arXiv 2207.04612), in spirit
function symmetry.motifs(opts)
  local where = "ml.data.motifs"
  options.check(where, opts, { "train", "test", "size", "channels", "copies", "amplitude", "noise",
    "seed" })
  local o = opts or {}
  local function count(name, default)
    return options.range(where, name, options.field(where, o, name, "integer", default), 1)
  end
  local size, C = options.range(where, "size", count("size", 6), 3), count("channels", 3)
  local copies = count("copies", 4)
  local amplitude = options.field(where, o, "amplitude", "number", 2)
  local noise = options.range(where, "noise", options.field(where, o, "noise", "number", 0.5), 0)
  local key = core.rng(options.field(where, o, "seed", "integer", 1))
  local motifs = {}
  for class = 1, 2 do
    local m = key:fold("motif", class):normal { 4, C }
    m = m - m:mean { 1, keepdims = true }
    motifs[class] = (m / m:norm()):totable()
  end
  local function images(name, n)
    local g = key:fold(name, 0)
    local labels = g:integers(1, 2, { n })
    local X = (g:normal { n, size, size, C } * noise):reshape { n * size * size * C }
    local ids, values, class = {}, {}, labels:totable()
    for copy = 1, copies do
      local h = g:fold("copy", copy)
      local ys = h:integers(0, size - 1, { n }):totable()
      local xs = h:integers(0, size - 1, { n }):totable()
      local signs = (h:uniform { n }):totable()
      for i = 1, n do
        local a = signs[i] < 0.5 and -amplitude or amplitude
        for q = 0, 3 do
          local y, x = (ys[i] - 1 + q // 2) % size, (xs[i] - 1 + q % 2) % size
          for c = 1, C do
            ids[#ids + 1] = (((i - 1) * size + y) * size + x) * C + c
            values[#values + 1] = a * motifs[class[i]][q + 1][c]
          end
        end
      end
    end
    X = X:scatter_add(core.index(ids), core.tensor(values, { dtype = "f64" }), 1)
    return { images = X:reshape { n, size, size, C }, labels = labels }
  end
  return core.scope(function()
    return { train = images("train", count("train", 1024)), test = images("test",
      count("test", 1000)), classes = { "first motif", "second motif" } }
  end)
end

return symmetry
