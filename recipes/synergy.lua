--- Do data, model and training algorithm have to share their symmetries for learning to be fast?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local k = ml.kernel

-- ---- data: images [n,H,W,C] and their transforms ------------------------------------------------

-- [n,2h,2w,c] -> [n,h,w,4c]
local function to_depth(X)
  local n, H, W, C = table.unpack(X:shape())
  return X:reshape { n, H // 2, 2, W // 2, 2, C }:permute { 1, 2, 4, 3, 5, 6 }
    :reshape { n, H // 2, W // 2, 4 * C }
end

-- 8x8 digits on a canvas of 12x12 zeros, centred or at random places.
local function on_canvas(X, key)
  local n = X:size(1)
  local canvas = ml.zeros { n, 12, 12, 1 }
  if key then
    local dy = key:integers(1, 5, { n }):totable()
    local dx = key:fold("x"):integers(1, 5, { n }):totable()
    for i = 1, n do -- positions count from 1
      canvas[{ i, { dy[i], dy[i] + 7 }, { dx[i], dx[i] + 7 } }] = X[i]
    end
  else
    canvas[{ {}, { 3, 10 }, { 3, 10 } }] = X
  end
  return canvas
end

local function load(p, name)
  if name == "motifs" then
    local set = ml.data.motifs { train = math.max(p.wide[#p.wide], p.points), test = p.test,
      seed = p.seed }
    return { X = set.train.images, labels = set.train.labels, X_test = set.test.images,
      labels_test = set.test.labels, classes = 2 }
  end
  local fashion = name == "fashion"
  local set, why = ml.data.images(fashion and "fashion" or "digits", { seed = p.seed,
    train = math.min(p.wide[#p.wide], fashion and 60000 or 1200), test = math.min(p.test, 500) })
  if not set then error(why, 0) end
  local parts = {}
  for _, part in ipairs { "train", "test" } do
    local X = set[part].images:to "f64"
    if fashion then -- 28x28, averaged to 14x14
      X = ml.nn.avg_pool2d(X, { kernel = 2, stride = 2 })
    else
      X = on_canvas(X, name:find "shifted" and ml.rng(p.seed):fold("shift " .. part, 0) or nil)
    end
    parts[part] = to_depth(X)
  end
  local mean = parts.train:mean():item()
  return { X = parts.train - mean, labels = set.train.labels, X_test = parts.test - mean,
    labels_test = set.test.labels, classes = #set.classes }
end

local function transformed(d, group, seed)
  local _, H, W, C = table.unpack(d.X:shape())
  local f = ml.data.transform { group = group, height = H, width = W, channels = C, seed = seed }
  local out = {}
  for name, value in pairs(d) do out[name] = value end
  out.X, out.X_test = f(d.X), f(d.X_test)
  return out
end

-- ---- models: kernels and networks ---------------------------------------------------------------

local root2 = math.sqrt(2)
local function first()
  return k.conv { kernel = 3, padding = "circular", w_std = root2 }
end
local kernels = {
  FCN = k.serial { k.flatten(), k.dense { w_std = root2 }, k.act "relu", k.dense() },
  -- without pooling shared and unshared weights have the same kernel
  LCN = k.serial { first(), k.act "relu", k.flatten(), k.dense() },
  GAP = k.serial { first(), k.act "relu", k.gap(), k.dense() },
}

-- Test errors at the sizes in ms, of the first points of one training set.
local function kernel_curve(p, d, name, ms)
  return ml.scope(function()
    local n, found = ms[#ms], {}
    local X = d.X[{ { 1, n } }]
    local K, K2 = kernels[name]:ntk(X), kernels[name]:ntk(d.X_test, X)
    local y = d.labels:one_hot(d.classes) - 1 / d.classes
    for i, m in ipairs(ms) do
      local alpha = ml.solve.krr(K[{ { 1, m }, { 1, m } }]:contiguous(),
        y[{ { 1, m } }]:contiguous(), { ridge = p.ridge, relative = true, jitter = true })
      local right = K2[{ {}, { 1, m } }]:matmul(alpha):argmax(2):eq(d.labels_test)
      found[i] = 1 - right:to("f64"):mean():item()
    end
    return found
  end)
end

local function wrap(X) -- one pixel of the other side around the image
  local function ids(n)
    local list = { n }
    for i = 1, n do list[i + 1] = i end
    list[n + 2] = 1
    return ml.index(list)
  end
  return X:index_select(ids(X:size(2)), 2):index_select(ids(X:size(3)), 3)
end

-- One hidden relu layer: first weights N(0, 2/fan_in), readout 0.5/sqrt(fan_in), no biases.
local function network(name, width, H, C, seed, dtype)
  local nn, area = ml.nn, name == "FCN" and H * H * C or 9 * C
  local std, last = math.sqrt(2 / area), name == "FCN" and width or name == "GAP" and width
    or H * H * width
  local o = { bias = false, dtype = dtype or "f32", init = std, seed = seed }
  local layer
  if name == "FCN" then
    o[1], o[2] = H * H * C, width
    layer = nn.Linear(o)
  else
    o[1], o[2], o.kernel = C, width, 3
    if name == "LCN" then o.input = { H + 2, H + 2 } end
    layer = name == "LCN" and nn.LocallyConnected2d(o) or nn.Conv2d(o)
  end
  local readout = nn.Linear { last, 1, bias = false, dtype = dtype or "f32",
    init = 0.5 / math.sqrt(last), seed = seed + 1 }
  return nn.Module { layer = layer, readout = readout, forward = function(self, x)
    local z = self.layer(name == "FCN" and x:reshape { x:size(1), -1 } or x):relu()
    z = name == "GAP" and z:mean { 2, 3 } or z:reshape { z:size(1), -1 }
    return self.readout(z):reshape { x:size(1) }
  end }
end

-- name, width, learning rate of networks whose curves are known
local nets = { { "FCN", 32, 0.05 }, { "LCN", 8, 0.01 }, { "VEC", 8, 0.02 }, { "VEC", 32, 0.02 },
  { "GAP", 16, 0.2 } }

local function inputs(name, X) return (name == "FCN" and X or wrap(X)):to "f32" end

local function train(p, d, name, width, lr, optimizer)
  local n, key = p.points, ml.rng(p.seed):fold("batches", 0)
  local X, X2 = inputs(name, d.X[{ { 1, n } }]), inputs(name, d.X_test)
  local y = d.labels[{ { 1, n } }]:to "f32" - 1.5
  local net = network(name, width, d.X:size(2), d.X:size(4), p.seed)
  local rule = optimizer == "adam" and ml.optim.adam or ml.optim.sgd
  local opt = rule(net:parameters(), { lr = lr, momentum = optimizer ~= "adam" and 0.9 or nil })
  local out = ml.train { model = net, opt = opt, steps = p.steps,
    data = { batch = function(_, i) return key:fold("batch", i):integers(1, n, { p.batch }) end },
    loss = function(model, ids)
      local off = model(X:index_select(ids, 1)) - y:index_select(ids, 1)
      return (off * off):mean() / 2
    end }
  if out.state ~= "done" then return 0 / 0 end
  return ml.scope(function()
    local f = ml.no_grad(function() return net(X2) end)
    local class = f:gt(0):to "f32" + 1
    return 1 - class:eq(d.labels_test:to "f32"):to("f64"):mean():item()
  end)
end

-- ---- equivariance of training -------------------------------------------------------------------

-- The largest change of predictions, over their deviation, when data and first weights are turned
-- together.
local function equivariance(p, d, optimizer)
  local n, C = math.min(256, p.points), d.X:size(4)
  local flat = d.X:size(2) * d.X:size(3) * C
  local X = d.X[{ { 1, n } }]
  local y = d.labels[{ { 1, n } }]:to "f64" - 1.5
  local turn = ml.data.transform { group = "full", height = d.X:size(2), channels = C,
    seed = p.seed }
  local found = {}
  for turned = 0, 1 do
    local net = network("FCN", 32, d.X:size(2), C, p.seed, "f64")
    local Z, Z2 = X, d.X_test
    if turned == 1 then
      Z, Z2 = turn(X), turn(d.X_test)
      local W = net.layer.weight -- x W = (x R)(R^T W)
      ml.no_grad(function()
        local rows = W:detach():transpose():reshape { 32, d.X:size(2), d.X:size(3), C }
        W:copy_(turn(rows):reshape { 32, flat }:transpose())
      end)
    end
    local rule = optimizer == "adam" and ml.optim.adam or ml.optim.sgd
    local opt = rule(net:parameters(), { lr = optimizer == "adam" and 0.01 or 0.02,
      momentum = optimizer ~= "adam" and 0.9 or nil })
    local key = ml.rng(p.seed):fold("equivariance", 0)
    ml.train { model = net, opt = opt, steps = math.min(200, p.steps),
      data = { batch = function(_, i) return key:fold("batch", i):integers(1, n, { 32 }) end },
      loss = function(model, ids)
        return ((model(Z:index_select(ids, 1)) - y:index_select(ids, 1)) ^ 2):mean() / 2
      end }
    found[turned] = ml.no_grad(function() return net(Z2) end)
  end
  return ((found[1] - found[0]):abs():max() / found[0]:std()):item()
end

-- ---- what should change a kernel ----------------------------------------------------------------

local groups = { "channel", "pixel", "full", "permutation" }
local same = { FCN = { true, true, true, true }, LCN = { true, true, false, false },
  GAP = { true, false, false, false } }

local function kernel_changes(d, result)
  result.kept, result.broken = 0, math.huge
  local X, rows, names = d.X[{ { 1, math.min(40, d.X:size(1)) } }], {}, {}
  for name, kernel in ml.sorted(kernels) do
    names[#names + 1], rows[#rows + 1] = name, {}
    local K = kernel:ntk(X)
    for i, group in ipairs(groups) do
      local _, H, W, C = table.unpack(X:shape())
      local f = ml.data.transform { group = group, height = H, width = W, channels = C, seed = 5 }
      local change = ((kernel:ntk(f(X)) - K):norm() / K:norm()):item()
      rows[#rows][i] = change
      if same[name][i] then result.kept = math.max(result.kept, change)
      else result.broken = math.min(result.broken, change) end
    end
  end
  return rows, names
end

local transforms = { "identity", "pixel", "full" }

local function exponent(ms, errors)
  local x, y = {}, {}
  for i, e in ipairs(errors) do
    if e > 0 then x[#x + 1], y[#y + 1] = ms[i], e end
  end
  if #x < 3 then return 0 / 0 end
  return ml.fit.power_law(x, y)
end

local function at(ms, list, m)
  for i, n in ipairs(ms) do if n == m then return list[i] end end
  return 0 / 0
end

-- Samples that bring an error down to a level, between sizes in the logarithms; nan where none do.
local function samples_to(ms, errors, level)
  for i = 1, #ms do
    if errors[i] <= level then
      if i == 1 then return ms[1] end
      local t = math.log(errors[i - 1] / level)
        / math.log(errors[i - 1] / math.max(errors[i], 1e-4))
      return ms[i - 1] * (ms[i] / ms[i - 1]) ^ t
    end
  end
  return 0 / 0
end

local function standard(p) return p.data[1] == "motifs" and p.test >= 500 end
local function with_digits(p)
  for _, name in ipairs(p.data) do if name == "shifted digits" then return p.test >= 400 end end
  return false
end

return recipe.define {
  name = "synergy",
  source = "Xiao & Pennington 2022 (arXiv 2207.04612)",
  params = {
    data = { { "motifs", "shifted digits", "centred digits" }, "images", choices = { "motifs",
      "shifted digits", "centred digits", "fashion" } },
    wide = { { 32, 64, 128, 256, 512, 1024 }, "sizes of training sets without pooling, ascending",
      min = 8 },
    pooled = { { 32, 64, 96, 128, 256 }, "sizes with pooling, ascending", min = 8 },
    test = { 500, "images to test on", min = 20 },
    ridge = { 1e-6, "of kernels, times trace(K)/n", above = 0 },
    points = { 1024, "images that networks are trained on", min = 32 },
    steps = { 1500, "of SGD", min = 1 },
    batch = { 64, "images a step", min = 1 },
    seed = { 1, "of motifs, splits, transforms and networks", min = 0 },
  },
  smoke = { data = { "motifs" }, wide = { 16, 32, 64 }, pooled = { 16, 32 }, test = 60,
    points = 64, steps = 20, batch = 16 },
  full = { data = { "motifs", "shifted digits", "centred digits", "fashion" },
    wide = { 32, 64, 128, 256, 512, 1024, 2048 }, test = 1000, seeds = { 1, 2, 3 } },
  estimate = function(p)
    local m, g = p.wide[#p.wide], p.pooled[#p.pooled]
    local pairs_ = g * g / 2 + g * p.test
    return { bytes = 100e6 + 8 * (4 * m * m + 2 * m * p.test),
      seconds = 10 + #p.data * 3 * (pairs_ * 2e-5 + m * (m + p.test) * 3e-6)
        + p.steps * 0.015 * #nets * 2 }
  end,
  run = function(p, ctx)
    local result, panels = { curves = {} }, {}
    for _, name in ipairs(p.data) do
      local d = load(p, name)
      if name == p.data[1] then
        local rows, names = kernel_changes(d, result)
        ctx:figure("changes", ml.plot.heatmap { z = rows, xnames = groups, ynames = names,
          zlog = true, values = true, origin = "upper", title = "relative change of kernels",
          zlabel = "0 is grey" })
      end
      result.curves[name] = {}
      for _, group in ipairs(transforms) do
        local t = transformed(d, group, p.seed)
        local found, series = {}, {}
        for model in ml.sorted(kernels) do
          local limit = d.X:size(1)
          local ms = {}
          for _, m in ipairs(model == "GAP" and p.pooled or p.wide) do
            if m <= limit then ms[#ms + 1] = m end
          end
          local errors = ctx:once(("%s %s %s"):format(name, group, model), function()
            return kernel_curve(p, t, model, ms)
          end)
          local slope = exponent(ms, errors)
          found[model] = { m = ms, error = errors, exponent = slope }
          series[#series + 1] = { x = ms, y = errors, label = model }
          local words = {}
          for i, m in ipairs(ms) do words[i] = ("%d: %.3f"):format(m, errors[i]) end
          print(("%-14s %-8s %s kernel  %s%s"):format(name, group, model,
            table.concat(words, "  "), slope == slope and ("  (exponent %.2f)"):format(slope)
            or ""))
          ctx:log { data = name, transform = group, model = model, m = ms, error = errors }
        end
        result.curves[name][group] = found
        panels[#panels + 1] = ml.plot.lines { series = series, log = "xy", markers = true,
          title = ("%s, %s"):format(name, group == "identity" and "as they are"
            or group == "pixel" and "pixels turned" or "all turned"),
          xlabel = "samples", ylabel = "test error" }
      end
      if name == "motifs" then
        local turned = transformed(d, "pixel", p.seed)
        result.networks = {}
        for i, n in ipairs(nets) do
          local one = ctx:once("network " .. i, function()
            return { before = train(p, d, table.unpack(n)), after = train(p, turned,
              table.unpack(n)) }
          end)
          result.networks[i] = one
          print(("%-4s width %2d, SGD: %.3f, with pixels turned %.3f"):format(n[1], n[2],
            one.before, one.after))
          ctx:log { net = n[1], width = n[2], before = one.before, after = one.after }
        end
        result.sgd, result.adam = equivariance(p, d, "sgd"), equivariance(p, d, "adam")
        print(("turning data and first weights together changes predictions by %.1e (SGD), %.2f "
          .. "(Adam) of their deviation"):format(result.sgd, result.adam))
      end
    end
    ctx:figure("triplets", ml.plot.grid { columns = #transforms, share = "y",
      table.unpack(panels) })
    local motifs = result.curves.motifs
    if motifs then
      local function error_of(group, model, m)
        local c = motifs[group][model]
        return at(c.m, c.error, m)
      end
      result.locality = error_of("identity", "FCN", 256) - error_of("identity", "LCN", 256)
      result.gap96, result.gap96_turned = error_of("identity", "GAP", 96),
        error_of("pixel", "GAP", 96)
      result.lcn_turned = math.abs(error_of("full", "LCN", 256) - error_of("identity", "FCN", 256))
    end
    local shifted = result.curves["shifted digits"]
    if shifted then
      local level = 0.2
      local pooled, full = shifted.identity.GAP, shifted.identity.FCN
      result.saved = samples_to(full.m, full.error, level)
        / samples_to(pooled.m, pooled.error, level)
      local turned = shifted.pixel.GAP
      result.lost = at(turned.m, turned.error, 256) - at(pooled.m, pooled.error, 256)
    end
    return result
  end,
  claims = {
    { name = "kernels that a group leaves alone: largest relative change", kind = "exact",
      source = "Xiao & Pennington 2022, Section 2", at_most = 1e-10,
      measure = function(r) return r.kept end },
    { name = "kernels that it must change: least relative change", kind = "theory",
      source = "Xiao & Pennington 2022, Section 2", at_least = 1e-3,
      measure = function(r) return r.broken end },
    { name = "SGD: predictions when data and first weights are turned together", kind = "exact",
      source = "Xiao & Pennington 2022, Section 2", at_most = 1e-9,
      when = function(p) return p.data[1] == "motifs" end, measure = function(r) return r.sgd end },
    { name = "Adam: the same, which it must not keep", kind = "theory",
      source = "Xiao & Pennington 2022, Section 2", at_least = 0.05, when = function(p)
        return p.data[1] == "motifs" and p.steps >= 200
      end, measure = function(r) return r.adam end },
    { name = "motifs, 256 images: error of FCN minus that of LCN", kind = "calibrated",
      source = "Xiao & Pennington 2022", at_least = 0.05, seeds = 3, when = standard,
      measure = function(r) return r.locality end },
    { name = "motifs, 96 images: error of GAP", kind = "calibrated",
      source = "Xiao & Pennington 2022", at_most = 0.08, seeds = 3, when = standard,
      measure = function(r) return r.gap96 end },
    { name = "motifs with pixels turned, 96 images: error of GAP", kind = "calibrated",
      source = "Xiao & Pennington 2022", at_least = 0.33, seeds = 3, when = standard,
      measure = function(r) return r.gap96_turned end },
    { name = "all turned, 256 images: error of LCN and of FCN apart", kind = "calibrated",
      source = "Xiao & Pennington 2022", at_most = 0.06, seeds = 3, when = standard,
      measure = function(r) return r.lcn_turned end },
    { name = "VEC of width 8, SGD: error with pixels turned over that before", kind = "calibrated",
      source = "Xiao & Pennington 2022", at_least = 2, seeds = 3, when = standard,
      measure = function(r) return r.networks[3].after / r.networks[3].before end },
    { name = "FCN and LCN, SGD: error with pixels turned and before apart, larger one",
      kind = "calibrated", source = "Xiao & Pennington 2022", at_most = 0.05, seeds = 3,
      when = standard, measure = function(r)
        return math.max(math.abs(r.networks[1].after - r.networks[1].before),
          math.abs(r.networks[2].after - r.networks[2].before))
      end },
    { name = "GAP of width 16, SGD: error with pixels turned", kind = "calibrated",
      source = "Xiao & Pennington 2022", at_least = 0.25, seeds = 3, when = standard,
      measure = function(r) return r.networks[5].after end },
    { name = "shifted digits: samples of FCN over those of GAP for an error of 0.2",
      kind = "calibrated", source = "Xiao & Pennington 2022", at_least = 6, seeds = 3,
      when = with_digits, measure = function(r) return r.saved end },
    { name = "shifted digits with pixels turned, 256 images: error that GAP loses",
      kind = "calibrated", source = "Xiao & Pennington 2022", at_least = 0.25, seeds = 3,
      when = with_digits, measure = function(r) return r.lost end },
  },
}
