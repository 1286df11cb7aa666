-- Image sets: files in the formats of their sources, made here; generated ones; splits; errors.
local ml = require "moonlab"
local check = require "check"
local lfs = require "lfs"
local T = {}

local host = arg and arg[-1] or "build/bin/moonlab"

local function idx(sizes, bytes)
  return string.pack(">I4", 0x800 + #sizes) .. string.pack(">" .. ("I4"):rep(#sizes),
    table.unpack(sizes)) .. bytes
end

function T.test_mnist_files_of_the_user()
  check.in_folder(function(dir)
    local set, why = ml.data.images("mnist", { path = dir })
    check.is_nil(set)
    check.is_true(why:find("train-images-idx3-ubyte is missing: supply MNIST's four files", 1, true)
      ~= nil)
    ml.write_file(dir .. "/train-images-idx3-ubyte", idx({ 3, 2, 2 }, "\0\51\102\153"
      .. ("\255"):rep(8)))
    ml.write_file(dir .. "/train-labels-idx1-ubyte", idx({ 3 }, "\0\9\4"))
    ml.write_file(dir .. "/t10k-images-idx3-ubyte", idx({ 1, 2, 2 }, "\0\0\0\0"))
    ml.write_file(dir .. "/t10k-labels-idx1-ubyte", idx({ 1 }, "\1"))
    set = ml.data.images("mnist", { path = dir })
    check.equal(set.train.images:shape(), { 3, 2, 2, 1 })
    check.close(set.train.images[1]:flatten(), { 0, 0.2, 0.4, 0.6 }, { rtol = 1e-6 })
    check.equal(set.train.labels, ml.index { 1, 10, 5 })
    check.equal(set.classes[10], "9")
    local less = ml.data.images("mnist", { path = dir, train = 2 })
    check.equal(less.train.images:size(1), 2)
    local scaled = ml.data.images("mnist", { path = dir, standardize = "global" })
    check.close(scaled.train.images:mean():item(), 0, { atol = 1e-6 })
    check.close(scaled.train.images:square():mean():item(), 1, { rtol = 1e-5 })
    check.raises("option 'train' is 4, wanted at most 3", ml.data.images, "mnist",
      { path = dir, train = 4 })
    ml.write_file(dir .. "/t10k-labels-idx1-ubyte", idx({ 2 }, "\1\1"))
    check.raises("wanted 1 labels", ml.data.images, "mnist", { path = dir })
  end)
end

function T.test_cifar_files_of_the_user()
  check.in_folder(function(dir)
    local planes = "\0\255" .. ("\0"):rep(1022) .. ("\51"):rep(1024) .. ("\255"):rep(1024)
    for i = 1, 5 do
      ml.write_file(("%s/data_batch_%d.bin"):format(dir, i), string.char(i) .. planes)
    end
    local _, why = ml.data.images("cifar10", { path = dir })
    check.is_true(why:find("test_batch.bin is missing: supply the six files", 1, true) ~= nil)
    ml.write_file(dir .. "/test_batch.bin", "\0" .. planes)
    local set = ml.data.images("cifar10", { path = dir })
    check.equal(set.train.images:shape(), { 5, 32, 32, 3 })
    check.equal(set.train.labels, ml.index { 2, 3, 4, 5, 6 })
    check.close(set.train.images[{ 5, 32, 1 }], { 0, 0.2, 1 }, { rtol = 1e-6 })
    check.close(set.train.images[{ 5, 1, 2 }], { 1, 0.2, 1 }, { rtol = 1e-6 }) -- row 1, column 2
    ml.write_file(dir .. "/test_batch.bin", planes)
    check.raises("wanted records of 3073", ml.data.images, "cifar10", { path = dir })
  end)
end

-- Digits in the cache, as the package has them: values, labels, a split by a seeded permutation.
function T.test_digits_and_their_split()
  if lfs.attributes "/usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz" then
    local set = ml.data.images "digits"
    check.equal(set.train.images:size(1) + set.test.images:size(1), 1797)
    return
  end
  check.in_folder(function(dir)
    local data = dir .. "/packages/python3-sklearn/usr/lib/python3/dist-packages/sklearn/datasets"
      .. "/data"
    os.execute(("mkdir -p '%s'"):format(data))
    local lines = {}
    for i = 1, 20 do
      lines[i] = ("%d,"):format(i % 17):rep(64) .. ("%d"):format(i % 10)
    end
    ml.write_file(data .. "/digits.csv.gz", table.concat(lines, "\n") .. "\n")
    ml.write_file(dir .. "/s.lua", [[
      local ml = require "moonlab"
      local a, b = ml.data.images("digits", { seed = 2 }), ml.data.images("digits", { seed = 2 })
      local c = ml.data.images("digits", { seed = 3, train = 5, test = 15 })
      assert(a.train.images:equal(b.train.images) and not a.train.labels:equal(
        c.test.labels[{ { 1, 15 } }]))
      assert(a.train.images:size(1) == 16 and a.test.images:size(1) == 4)
      local seen = {}
      for _, part in ipairs { c.train, c.test } do
        for i = 1, part.labels:numel() do
          local value = math.floor(part.images[{ i, 1, 1, 1 }]:item() * 16 + 0.5)
          seen[value] = (seen[value] or 0) + 1
          assert(part.labels[i] == (value == 0 and 8 or value) % 10 + 1 or value <= 3)
        end
      end
      for i = 0, 16 do assert(seen[i] == ((i >= 1 and i <= 3) and 2 or 1), i) end
      print(a, pcall(ml.data.images, "digits", { train = 20, test = 1 }))]])
    local pipe = io.popen(("MOONLAB_CACHE='%s' '%s' '%s/s.lua' 2>&1"):format(dir, host, dir))
    local text = pipe:read "a"
    pipe:close()
    if not (text:find "^images digits: 16 to train on, 4 to test, 8x8x1, 10 classes"
      and text:find("wanted at least 1 and at most 20 in all", 1, true)) then
      check.fail(text)
    end
  end)
end

function T.test_generated_images_and_teacher() -- property
  local a = ml.data.images("procedural", { train = 400, test = 10, size = 12,
    standardize = "channel" })
  check.equal(a.train.images:shape(), { 400, 12, 12, 3 })
  check.close(a.train.images:mean { 1, 2, 3 }, { 0, 0, 0 }, { atol = 1e-5 })
  check.close(a.train.images:square():mean { 1, 2, 3 }, { 1, 1, 1 }, { rtol = 1e-4 })
  local b = ml.data.images("procedural", { train = 400, test = 20, size = 12 })
  check.equal(b.train.labels, a.train.labels)
  -- a grating of class 1 (0 degrees) varies along x more than along y; class 6 (90) the other way
  local function variation(class)
    local dx, dy = 0, 0
    for i = 1, 400 do
      if b.train.labels[i] == class then
        local image = b.train.images[i]:mean(3)
        dx = dx + image:mean(1):var(1):item()
        dy = dy + image:mean(2):var(1):item()
      end
    end
    return dx / dy
  end
  check.is_true(variation(1) > 1.5)
  check.is_true(variation(6) < 1 / 1.5)
  local t = ml.data.teacher { train = 4000, test = 10, dim = 20, noise = 0 }
  -- analytic: the variance of x_j is 1/j; y has mean 0 and no noise
  check.close(t.X:var(1), ml.arange(1, 20):reciprocal(), { rtol = 0.15 })
  check.equal(t.y_test:shape(), { 10 })
  local noisy = ml.data.teacher { train = 4000, test = 10, dim = 20, noise = 0.5 }
  check.equal(noisy.X, t.X)
  check.close((noisy.y - t.y):std(1):item(), 0.5, { rtol = 0.05 }) -- four standard errors
end

function T.test_errors()
  check.raises("did you mean 'digits'?", ml.data.images, "digit")
  check.raises("option 'standardize' is \"glob\"", ml.data.images, "procedural",
    { standardize = "glob" })
  check.raises("option 'train' is 0", ml.data.images, "procedural", { train = 0 })
  check.raises("option 'dim' is 0", ml.data.teacher, { dim = 0 })
  check.raises("unknown option 'tran'; did you mean 'train'?", ml.data.teacher, { tran = 3 })
end

function T.test_nothing_leaks_when_memory_runs_out()
  check.no_leak(function()
    return ml.data.images("procedural", { train = 3, test = 2, size = 4, standardize = "global" })
  end, { limit = 40 })
  check.no_leak(function() return ml.data.teacher { train = 5, test = 3 } end, { limit = 40 })
end

return T
