--- Sets of labelled images: of Debian packages, of files that the user has, and generated ones.
local lfs = require "lfs"
local core = require "moonlab.core"
local options = require "moonlab.options"
local fetch = require "moonlab.data.fetch"

local Set = {}
Set.__index = Set
Set.__name = "ml.data.images"

function Set:__tostring()
  local shape = self.train.images:shape()
  return ("images %s: %d to train on, %d to test, %dx%dx%d, %d classes"):format(self.name,
    shape[1], self.test.images:size(1), shape[2], shape[3], shape[4], #self.classes)
end

local function digits_0_to_9()
  local names = {}
  for i = 1, 10 do names[i] = tostring(i - 1) end
  return names
end

-- ---- sources: each returns { images f32 [n,h,w,c] in [0,1], labels } of all, or of train and test

local function digits()
  local path, why = fetch.file("python3-sklearn",
    "/usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz", "2.1 MB")
  if not path then return nil, why end
  local text
  text, why = fetch.bytes(path)
  if not text then return nil, why end
  local values, labels, rows = {}, {}, 0
  for line in text:gmatch "[^\n]+" do
    rows = rows + 1
    local count = 0
    for word in line:gmatch "[^,]+" do
      local x = tonumber(word)
      count = count + 1
      if not x or count > 65 or x < 0 or x > (count == 65 and 9 or 16) then
        options.raise("%s: line %d has %q in column %d", path, rows, word, count)
      end
      if count == 65 then labels[rows] = x // 1 | 0 else values[#values + 1] = x end
    end
    if count ~= 65 then options.raise("%s: line %d has %d columns", path, rows, count) end
  end
  for i, label in ipairs(labels) do labels[i] = label + 1 end
  return { classes = digits_0_to_9(), all = { labels = core.index(labels), images =
    core.tensor(values, { dtype = "f32" }):reshape { rows, 8, 8, 1 } / 16 } }
end

local function idx_pair(images_path, labels_path)
  local images, labels = core.load(images_path), core.load(labels_path)
  if not core.is_tensor(images) or #images:shape() ~= 3 or images:dtype() ~= "u8" then
    options.raise("%s: wanted bytes [n,h,w], got %s", images_path, options.describe(images))
  end
  if not core.is_tensor(labels) or labels:dtype() ~= "index"
    or labels:numel() ~= images:size(1) then
    options.raise("%s: wanted %d labels, got %s", labels_path, images:size(1),
      options.describe(labels))
  end
  local shape = images:shape()
  return { labels = labels,
    images = images:to("f32"):reshape { shape[1], shape[2], shape[3], 1 } / 255 }
end

local function fashion()
  local function part(prefix)
    local paths = {}
    for i, suffix in ipairs { "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz" } do
      local why
      paths[i], why = fetch.file("dataset-fashion-mnist",
        "/usr/share/datasets/fashion-mnist/" .. prefix .. "-" .. suffix, "31 MB")
      if not paths[i] then return nil, why end
    end
    return idx_pair(paths[1], paths[2])
  end
  local train, why = part "train"
  if not train then return nil, why end
  local test
  test, why = part "t10k"
  if not test then return nil, why end
  return { train = train, test = test, classes = { "T-shirt", "trouser", "pullover", "dress",
    "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot" } }
end

local function present(folder, name)
  for _, suffix in ipairs { "", ".gz" } do
    local path = folder .. "/" .. name .. suffix
    if lfs.attributes(path, "mode") == "file" then return path end
  end
end

local mnist_files = { "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
  "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" }

local function mnist(folder)
  local paths = {}
  for i, name in ipairs(mnist_files) do
    paths[i] = present(folder, name)
    if not paths[i] then
      return nil, ("%s/%s is missing: supply MNIST's four files (%s; plain or .gz) there, or give "
        .. "their folder as path"):format(folder, name, table.concat(mnist_files, ", "))
    end
  end
  return { train = idx_pair(paths[1], paths[2]), test = idx_pair(paths[3], paths[4]),
    classes = digits_0_to_9() }
end

-- Records of a label byte and 3072 bytes, planes of 32x32.
local function cifar_file(path)
  local text, why = fetch.bytes(path)
  if not text then options.raise("cannot read %s", why) end
  if #text == 0 or #text % 3073 ~= 0 then
    options.raise("%s: %d bytes, wanted records of 3073", path, #text)
  end
  local n = #text // 3073
  local rows = core.text.bytes(text):reshape { n, 3073 }
  local labels = rows[{ {}, 1 }]:clone()
  if labels:to("f32"):max():item() > 10 then options.raise("%s: a label beyond 9", path) end
  return { labels = labels, images = (rows[{ {}, { 2, 3073 } }]:to("f32") - 1)
    :reshape { n, 3, 32, 32 }:permute { 1, 3, 4, 2 }:contiguous() / 255 }
end

local function cifar(folder)
  if lfs.attributes(folder .. "/cifar-10-batches-bin", "mode") == "directory" then
    folder = folder .. "/cifar-10-batches-bin"
  end
  local names = { "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
    "data_batch_5.bin", "test_batch.bin" }
  local parts = {}
  for i, name in ipairs(names) do
    local path = present(folder, name)
    if not path then
      return nil, ("%s/%s is missing: supply the six files of CIFAR-10's binary version "
        .. "(data_batch_1.bin to 5, test_batch.bin) there, or give their folder as path"):format(
        folder, name)
    end
    parts[i] = core.scope(cifar_file, path)
  end
  local images, labels = {}, {}
  for i = 1, 5 do images[i], labels[i] = parts[i].images, parts[i].labels end
  return { train = { images = core.concat(images, 1), labels = core.concat(labels, 1) },
    test = parts[6], classes = { "airplane", "automobile", "bird", "cat", "deer", "dog", "frog",
      "horse", "ship", "truck" } }
end

-- Gratings of 10 orientations in a Gaussian window, a bump, noise.
local function procedural(n, size, rng)
  local labels = rng:fold("label", 0):integers(1, 10, { n })
  local function uniform(name, low, high, shape)
    return rng:fold(name, 0):uniform(shape or { n, 1, 1 }) * (high - low) + low
  end
  local x = ((core.arange(1, size) - 0.5) / size):reshape { 1, 1, size }
  local y = x:reshape { 1, size, 1 }
  local omega = ((labels:to("f64") - 1) * (math.pi / 10)
    + rng:fold("angle", 0):normal { n } * 0.1):reshape { n, 1, 1 }
  local cycles = core.where(uniform("cycles", 0, 1):lt(0.5), core.full({ n, 1, 1 }, 1.5),
    core.full({ n, 1, 1 }, 2.5))
  local wave = ((x * omega:cos() + y * omega:sin()) * cycles * (2 * math.pi)
    + uniform("phase", 0, 2 * math.pi)):sin()
  local function bump(name, sigma)
    local dx, dy = x - uniform(name .. " x", 0, 1), y - uniform(name .. " y", 0, 1)
    return ((dx:square() + dy:square()) * (-0.5 / sigma ^ 2)):exp()
  end
  local grey = wave * bump("window", 0.35) + bump("blob", 0.12) * 0.5
  local colour = uniform("colour", 0.5, 1, { n, 1, 1, 3 })
  local images = grey:reshape { n, size, size, 1 } * colour
    + rng:fold("noise", 0):normal { n, size, size, 3 } * 0.3
  return { images = images:to("f32"), labels = labels }
end

local names = { "digits", "fashion", "mnist", "cifar10", "procedural" }

-- `count` rows of a part in the order of a seeded permutation; all of them in their own order when
-- there is nothing to choose.
local function draw(where, part, name, count, rng)
  local n = part.images:size(1)
  if not count or count == n then return part end
  if count > n then
    options.bad(where, 0, "option '%s' is %d, wanted at most %d", name, count, n)
  end
  local ids = rng:fold(name, 0):permutation(n)[{ { 1, count } }]:clone()
  return { images = part.images:index_select(ids, 1), labels = part.labels:index_select(ids, 1) }
end

local images = {}

--- ml.data.images(name, { train, test, seed, standardize, path, size })
--- Labelled images with a part to train on and one to test.
--- "digits": 1797 of 8x8 (of scikit-learn; Debian's python3-sklearn, no Python needed).
--- "fashion": Fashion-MNIST, 60,000 and 10,000 of 28x28 (Debian's dataset-fashion-mnist).
--- "mnist" and "cifar10": files that you have, in the folder `path` or in the cache.
--- "procedural": generated gratings in ten orientations, size x size x 3.
--- Debian's files are taken where they are installed; else they are fetched with apt-get download
--- into $MOONLAB_CACHE (~/.cache/moonlab), after a question at a terminal, or with --yes.
--- @param name string
--- @param opts.train integer how many to train on, drawn by a seeded permutation; default: all (80
--- percent of the digits, 1000 procedural ones)
--- @param opts.test integer how many to test on; default: all, or the rest (500 procedural ones)
--- @param opts.seed integer =1 of every draw
--- @param opts.standardize string ="none": values in [0,1], procedural ones as they come; "global":
--- less the mean of all training pixels, over their standard deviation; "channel": for each channel
--- @param opts.path string folder of the files of mnist and cifar10
--- @param opts.size integer =16 pixels on a side of procedural images
--- @return set with train and test ({ images f32 [n,h,w,c], labels index [n] }), classes (names),
--- mean and deviation (numbers or lists over channels); or nil and a message that says what to
--- install or supply
--- @source Xiao, Rasul & Vollgraf 2017; Alpaydin & Kaynak 1998; LeCun et al. 1998; Krizhevsky 2009
function images.images(name, opts)
  local where = "data.images"
  options.argument(where, 1, name, "string")
  options.check(where, opts, { "train", "test", "seed", "standardize", "path", "size" })
  opts = opts or {}
  local known = false
  for _, each in ipairs(names) do known = known or each == name end
  if not known then
    local near = options.nearest(name, names)
    options.bad(where, 1, "%q, wanted \"%s\"%s", name, table.concat(names, "\", \""),
      near and ("; did you mean '" .. near .. "'?") or "")
  end
  local function count(key)
    local value = options.optional(where, opts, key, "integer")
    return value and options.range(where, key, value, 1)
  end
  local n_train, n_test = count "train", count "test"
  local rng = core.rng(options.field(where, opts, "seed", "integer", 1)):fold("images", 0)
  local style = options.choice(where, opts, "standardize", { "none", "global", "channel" }, "none")
  local size = options.range(where, "size", options.field(where, opts, "size", "integer", 16), 1,
    1024)
  local folder = options.optional(where, opts, "path", "string") or fetch.cache() .. "/" .. name
  local why
  local set = core.scope(function()
    local source
    if name == "procedural" then
      n_train, n_test = n_train or 1000, n_test or 500
      source = { classes = {}, train = procedural(n_train, size, rng:fold("train", 0)),
        test = procedural(n_test, size, rng:fold("test", 0)) }
      for k = 0, 9 do source.classes[k + 1] = ("%d degrees"):format(18 * k) end
    elseif name == "digits" then
      source, why = digits()
    elseif name == "fashion" then
      source, why = fashion()
    else
      source, why = (name == "mnist" and mnist or cifar)(folder)
    end
    if not source then return nil end
    if source.all then
      local n = source.all.images:size(1)
      n_train = n_train or (n_test and n - n_test) or math.floor(0.8 * n + 0.5)
      n_test = n_test or n - n_train
      if n_train < 1 or n_test < 1 or n_train + n_test > n then
        options.bad(where, 0, "%d to train on and %d to test, wanted at least 1 and at most %d in "
          .. "all", n_train, n_test, n)
      end
      local order = rng:fold("split", 0):permutation(n)
      local function part(from, to)
        local ids = order[{ { from, to } }]:clone()
        return { images = source.all.images:index_select(ids, 1),
          labels = source.all.labels:index_select(ids, 1) }
      end
      source.train, source.test = part(1, n_train), part(n_train + 1, n_train + n_test)
    end
    local out = { name = name, classes = source.classes,
      train = draw(where, source.train, "train", n_train, rng),
      test = draw(where, source.test, "test", n_test, rng), mean = 0, deviation = 1 }
    if style ~= "none" then
      local pixels = out.train.images:to("f64")
      local axes = style == "global" and { 1, 2, 3, 4 } or { 1, 2, 3 }
      local mean = pixels:mean(axes)
      local centred = pixels - mean
      local deviation = centred:square():mean(axes):sqrt()
      deviation = core.where(deviation:gt(0), deviation, core.ones_like(deviation))
      for _, part in ipairs { out.train, out.test } do
        part.images = ((part.images:to("f64") - mean) / deviation):to("f32")
      end
      out.mean, out.deviation = mean:totable(), deviation:totable()
    end
    return out
  end)
  if not set then return nil, why end
  return setmetatable(set, Set)
end

--- ml.data.teacher{ train =, test =, dim =, noise =, seed =, dtype = }
--- Regression data of a random network: x has covariance eigenvalues 1/j, y = sum over 64 units of
--- v erf(2 w.x / sqrt(dim)) / 8 plus noise.
--- @param opts.train integer =20000 points
--- @param opts.test integer =5000 points
--- @param opts.dim integer =30 of the inputs, >= 1
--- @param opts.noise number =0.1 standard deviation
--- @param opts.seed integer =1 of every draw
--- @param opts.dtype string ="f64" or "f32"
--- @return table X, y, X_test, y_test
--- @source -
function images.teacher(opts)
  local where = "data.teacher"
  options.required(where, opts or {}, { "train", "test", "dim", "noise", "seed", "dtype" })
  opts = opts or {}
  local function count(name, default)
    return options.range(where, name, options.field(where, opts, name, "integer", default), 1)
  end
  local n, m, d = count("train", 20000), count("test", 5000), count("dim", 30)
  local noise = options.range(where, "noise",
    options.field(where, opts, "noise", "number", 0.1), 0)
  local dtype = options.choice(where, opts, "dtype", { "f64", "f32" }, "f64")
  local rng = core.rng(options.field(where, opts, "seed", "integer", 1)):fold("teacher", 0)
  return core.scope(function()
    local w = rng:fold("w", 0):normal { d, 64 }
    local v = rng:fold("v", 0):normal { 64, 1 } / 8
    local scale = core.arange(1, d):rsqrt():reshape { 1, d }
    local function part(name, rows)
      local x = rng:fold(name, 0):normal { rows, d } * scale
      local y = (x:matmul(w) * (2 / math.sqrt(d))):erf():matmul(v):reshape { rows }
        + rng:fold(name .. " noise", 0):normal { rows } * noise
      return x:to(dtype), y:to(dtype)
    end
    local out = {}
    out.X, out.y = part("train", n)
    out.X_test, out.y_test = part("test", m)
    return out
  end)
end

images.methods = Set
return images
