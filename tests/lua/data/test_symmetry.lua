-- Transforms of images are elements of their groups, and motif images are what they are said to be.
local ml = require "moonlab"
local check = require "check"
local T = {}

local function transform(group, o)
  o = o or {}
  return ml.data.transform { group = group, height = o.height or 4, width = o.width,
    channels = o.channels or 3, seed = o.seed }
end

-- property: lengths and inner products stay; a pixel's own for those that act pixel by pixel
function T.test_transforms_are_isometries()
  local X = ml.rng(1):normal { 10, 4, 4, 3 }
  local flat = X:reshape { 10, 48 }
  local G = flat:matmul(flat:transpose())
  for _, group in ipairs { "identity", "channel", "pixel", "full", "permutation", "translation" } do
    local Y = transform(group)(X)
    check.equal(Y:shape(), { 10, 4, 4, 3 })
    local z = Y:reshape { 10, 48 }
    check.close(z:matmul(z:transpose()), G, { atol = 1e-12 })
    if group == "channel" or group == "pixel" then
      check.close((Y * Y):sum(4), (X * X):sum(4), { rtol = 1e-12 })
    end
    check.is_true(group == "identity" or (Y - X):abs():max():item() > 0.1)
    -- linear, the same for every image, and by the seed
    check.close(transform(group)(X * 2)[3], Y[3] * 2, { rtol = 1e-13 })
    check.equal(transform(group)(X), Y)
    if group ~= "identity" then
      check.is_true((transform(group, { seed = 2 })(X) - Y):abs():max():item() > 0.01)
    end
    check.equal(transform(group)(X:to "f32"):dtype(), "f32")
  end
  -- the same at every pixel: equal pixels stay equal
  local even = ml.rng(2):normal { 1, 1, 1, 3 }:broadcast_to { 1, 4, 4, 3 }
  local turned = transform "channel"(even)
  check.close(turned[{ 1, 2, 3 }], turned[{ 1, 4, 1 }], { rtol = 1e-13 })
  local apart = transform "pixel"(even)
  check.is_true((apart[{ 1, 2, 3 }] - apart[{ 1, 4, 1 }]):abs():max():item() > 0.01)
end

-- property: a translation wraps, a permutation keeps each pixel whole
function T.test_pixels_move_whole()
  local X = ml.arange(1, 12):reshape { 1, 3, 4, 1 }
  for _, group in ipairs { "permutation", "translation" } do
    local Y = transform(group, { height = 3, width = 4, channels = 1, seed = 7 })(X)
    check.equal(Y:reshape { 12 }:sort(1), X:reshape { 12 })
    if group == "translation" then -- columns keep their order around
      local row = Y[{ 1, 1, {}, 1 }]:totable()
      for i = 1, 4 do
        local step = (row[i % 4 + 1] - row[i]) % 4
        check.equal(step, 1.0)
      end
    end
  end
end

-- property: classes are even, no mean image tells them apart, and noise 0 leaves motifs alone
function T.test_motifs()
  local set = ml.data.motifs { train = 3000, test = 10, seed = 3 }
  check.equal(set.train.images:shape(), { 3000, 6, 6, 3 })
  check.equal(set.test.images:shape(), { 10, 6, 6, 3 })
  local first = set.train.labels:to("f64") * -1 + 2
  local share = first:mean():item()
  check.is_true(math.abs(share - 0.5) < 5 * 0.5 / math.sqrt(3000))
  local X = set.train.images:reshape { 3000, 108 }
  local w = first:reshape { 3000, 1 }
  local gap = (X * w):sum(1) / w:sum() - (X * (w * -1 + 1)):sum(1) / (w * -1 + 1):sum()
  local std = X:std():item() * math.sqrt(4 / 3000)
  check.is_true(gap:abs():max():item() < 5.5 * std)
  local bare = ml.data.motifs { train = 200, test = 5, noise = 0, copies = 1, amplitude = 3 }
  local energy = (bare.train.images ^ 2):sum { 2, 3, 4 }
  check.close(energy, ml.full({ 200 }, 9), { rtol = 1e-12 })
  -- the motif's channels have no mean
  check.close(bare.train.images:sum { 2, 3 }, ml.zeros { 200, 3 }, { atol = 1e-12 })
  check.equal(ml.data.motifs { train = 5, test = 5 }.train.images,
    ml.data.motifs { train = 5, test = 5 }.train.images)
end

function T.test_bad_input()
  check.raises("did you mean 'pixel'", transform, "pixl")
  check.raises("option 'group' is missing", ml.data.transform, { height = 3 })
  check.raises("wanted images [n,4,4,3]", transform "pixel", ml.zeros { 2, 4, 4, 1 })
  check.raises("option 'height' is missing", ml.data.transform, { group = "pixel" })
  check.raises("option 'size' is 2", ml.data.motifs, { size = 2 })
  check.raises("did you mean 'noise'", ml.data.motifs, { nois = 2 })
end

return T
