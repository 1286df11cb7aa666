--- Is it depth that lets a kernel learn more interactions, or hierarchy; what does pooling save?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local patches = require "moonlab.theory.patches"

local function tree(leaf, branching, gamma)
  return ml.theory.eigenspace { graph = { leaf = leaf, branching = branching }, gamma = gamma }
end

-- Half squared errors read off the paper's NNGP panels at p = 4, ridge 1e-3, targets in the order
-- of patches.names.
local published = {
  MLP = {
    { 400, .090, .678, .663, .677, .661, .629, .686, .653 },
    { 1600, .005, .580, .554, .587, .562, .541, .580, .548 },
    { 5120, 0, .492, .454, .554, .547, .437, .535, .537 },
    { 10240, 0, .437, .383, .573, .567, .368, .551, .548 },
    { 40960, 0, .194, .130, .680, .659, .125, .617, .607 },
    { 327680, 0, .003, .002, .526, .569, .002, .516, .511 } },
  ["D-CNN"] = {
    { 400, .080, .673, .627, .718, .696, .660, .719, .693 },
    { 1600, .003, .411, .329, .641, .632, .624, .623, .615 },
    { 5120, 0, .122, .075, .607, .638, .568, .577, .629 },
    { 10240, 0, .038, .020, .516, .619, .483, .562, .600 },
    { 40960, 0, .002, .001, .268, .626, .224, .555, .587 },
    { 327680, 0, 0, 0, .007, .624, .005, .350, .554 } },
  ["HR-CNN"] = {
    { 400, .080, .541, .698, .737, .723, .676, .758, .720 },
    { 1600, .003, .126, .511, .656, .667, .663, .681, .665 },
    { 5120, 0, .011, .207, .560, .637, .601, .584, .613 },
    { 10240, 0, .002, .077, .454, .608, .565, .561, .589 },
    { 40960, 0, 0, .005, .171, .558, .436, .519, .537 },
    { 327680, 0, 0, 0, .004, .349, .074, .390, .497 } },
}

-- Slopes of -log eigenvalue in log d for d = p^2: p patches of p numbers.
local families = {
  { "CNN, degree 1", function(p) return { 1, p, 1 } end, { { 1, 1 } }, 1 },
  { "CNN, degree 2, one patch", function(p) return { 1, p, 1 } end, { { 1, 2 } }, 1.5 },
  { "CNN, two patches", function(p) return { 1, p, 1 } end, { { 1, 1 }, { 2, 1 } }, 2 },
  { "CNN, degree 3, one patch", function(p) return { 1, p, 1 } end, { { 1, 3 } }, 2 },
  { "MLP, degree 1", function(p) return { p, 1, 1 } end, { { 1, 1 } }, 1 },
  { "MLP, degree 2, one patch", function(p) return { p, 1, 1 } end, { { 1, 2 } }, 2 },
  { "MLP, two patches", function(p) return { p, 1, 1 } end, { { 1, 1 }, { 2, 1 } }, 2 },
  { "MLP, degree 3, one patch", function(p) return { p, 1, 1 } end, { { 1, 3 } }, 3 },
}

local function exponents(ctx)
  local sides, worst, series = { 8, 16, 32, 64, 128 }, 0, {}
  for _, family in ipairs(families) do
    local name, branching, leaves, limit = table.unpack(family)
    local value, slopes, at = {}, {}, {}
    for i, p in ipairs(sides) do
      local mode = {}
      for _, pair in ipairs(leaves) do mode[pair[1]] = pair[2] end
      value[i] = tree(p, branching(p)):eigenvalue(mode)
      if i > 1 then
        slopes[i - 1] = math.log(value[i - 1] / value[i]) / math.log(4)
        at[i - 1] = p * p
      end
    end
    local index = tree(128, branching(128)):index({ [1] = 1 })
    print(("%-26s slopes %s -> %g"):format(name, table.concat({ ("%.3f"):format(slopes[1]),
      ("%.3f"):format(slopes[2]), ("%.3f"):format(slopes[3]), ("%.3f"):format(slopes[4]) }, " "),
      limit))
    ctx:log { family = name, slopes = slopes, limit = limit, index_of_one = index }
    worst = math.max(worst, math.abs(slopes[4] - limit) / limit)
    series[#series + 1] = { x = at, y = slopes, label = name }
  end
  ctx:figure("exponents", ml.plot.lines { series = series, log = "x", xlabel = "dimension",
    ylabel = "exponent of 1/eigenvalue", title = "learning indices as exponents", width = 760 })
  return worst
end

-- Depth alone: multilayer networks of 1 to 5 hidden layers; hierarchy: patches of other sizes.
local function depths(p, ctx)
  local modes, series, moved, last = patches.modes(p.side), {}, 0, nil
  for depth = 1, 5 do
    local branching = { p.side * p.side * p.side }
    for _ = 2, depth do branching[#branching + 1] = 1 end
    local errors = tree(p.side, branching):predict { modes = modes, samples = p.samples }
    if depth == 5 then
      for i = 1, 8 do
        for j in ipairs(p.samples) do
          moved = math.max(moved, math.abs(errors[i][j] - last[i][j]) / 2)
        end
      end
    end
    last = errors
    series[#series + 1] = { x = p.samples, y = errors[2], label = ("Y2, MLP, %d hidden"):format(
      depth) }
  end
  local gained = 0
  for name, branching in ml.sorted { ["one convolution"] = { 1, p.side * p.side * p.side },
    hierarchical = { 1, p.side, p.side, p.side } } do
    local errors = tree(p.side, branching):predict { modes = modes, samples = p.samples }
    gained = math.max(gained, last[2][#p.samples] - errors[2][#p.samples])
    series[#series + 1] = { x = p.samples, y = errors[2], label = "Y2, " .. name, dash = true }
  end
  ctx:figure("depth", ml.plot.lines { series = series, log = "x", xlabel = "samples",
    ylabel = "squared error", title = "depth is not hierarchy" })
  return moved, gained / 2
end

-- The paper's last two targets hold squares of two patches: of their power 9/11 is in the mode that
-- is named, and 1/11 each in degrees (3, 1) and (1, 1) of two of its patches.
local function theory_of_paper(ctx)
  local modes, worst = patches.modes(4), 0
  local sibling, last, cousin = 2, 4, 5 -- leaves beside the first one and below the next node
  modes[9], modes[10] = { [1] = 3, [sibling] = 1 }, { [1] = 1, [sibling] = 1 }
  modes[11], modes[12] = { [last] = 3, [cousin] = 1 }, { [last] = 1, [cousin] = 1 }
  for name, rows in ml.sorted(published) do
    local samples = {}
    for j, row in ipairs(rows) do samples[j] = row[1] end
    local errors = tree(4, patches.branching[name](4)):predict { modes = modes, samples = samples,
      ridge = 1e-3, degree = 6 }
    local off = 0
    for j, row in ipairs(rows) do
      for i = 1, 8 do
        local error = errors[i][j]
        if i >= 7 then
          error = (9 * error + errors[2 * i - 5][j] + errors[2 * i - 4][j]) / 11
        end
        off = math.max(off, math.abs(error / 2 - row[i + 1]))
      end
    end
    print(("%-7s theory against the paper's curves: largest difference %.3f"):format(name, off))
    ctx:log { net = name, off = off }
    worst = math.max(worst, off)
  end
  return worst
end

-- Kernel regression with both readouts on shift-invariant targets.
local function readouts(p)
  local found = { GAP = {}, Flatten = {} }
  for how, samples in pairs { GAP = p.gap, Flatten = p.flatten } do
    local net, most = patches.readout(p.side, how), samples[#samples]
    for draw = 1, p.draws do
      ml.scope(function()
        local key = ml.rng(p.seed):fold("readout", draw)
        local X = patches.points(key, most + p.test, p.side)
        local Y = patches.targets(key, X, p.side, true)
        local train, test = { { 1, most } }, { { most + 1, most + p.test } }
        local Z, Z2 = patches.image(X[train]), patches.image(X[test])
        local K, K2 = net:nngp(Z), net:nngp(Z2, Z)
        for j, m in ipairs(samples) do
          found[how][j] = found[how][j] or { 0, 0, 0 }
          for i = 1, 3 do
            local scale = (Y[i][test] ^ 2):mean():sqrt():item()
            local y = Y[i] / scale
            local alpha = ml.solve.krr(K[{ { 1, m }, { 1, m } }]:contiguous(), y[{ { 1, m } }],
              { ridge = 1e-6 })
            local error = ((K2[{ {}, { 1, m } }]:matmul(alpha) - y[test]) ^ 2):mean():item() / 2
            found[how][j][i] = found[how][j][i] + error / p.draws
          end
        end
      end)
    end
  end
  return found
end

return recipe.define {
  name = "hierarchy",
  source = "Xiao 2022 (arXiv 2112.05611), Theorems 1 to 3, Figures 1, 4 and 6",
  params = {
    side = { 3, "p: inputs are p^3 patches of p numbers", min = 2, max = 4 },
    samples = { { 81, 160, 320, 640, 1280, 2560 }, "of the depth study, ascending", min = 2 },
    gap = { { 54, 108, 216 }, "samples with a pooled readout, ascending", min = 2 },
    flatten = { { 162, 324, 648 }, "as many with a flat one, p times more", min = 2 },
    draws = { 4, "of points", min = 1 },
    test = { 500, "points to test on", min = 20 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { samples = { 81, 320 }, gap = { 20 }, flatten = { 60 }, draws = 1, test = 60 },
  full = { draws = 20, test = 2000, seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local result = { published = theory_of_paper(ctx), exponents = exponents(ctx) }
    result.moved, result.gained = depths(p, ctx)
    print(("a fifth hidden layer moves the theory of an MLP by at most %.4f; a convolution gains "
      .. "%.3f on Y2"):format(result.moved, result.gained))
    local found = ctx:once("readouts", function() return readouts(p) end)
    result.readouts, result.apart = found, 0
    local series = {}
    for how, samples in ml.sorted { GAP = p.gap, Flatten = p.flatten } do
      for j, m in ipairs(samples) do
        local row = found[how][j]
        print(("%-7s m = %4d  Y1 %.3f  Y2 %.3f  Y3 %.3f"):format(how, m, row[1], row[2], row[3]))
        ctx:log { readout = how, step = m, error = row }
        for i = 1, 3 do
          result.apart = math.max(result.apart, math.abs(found.GAP[j][i] - found.Flatten[j][i]))
        end
      end
      for i = 1, 3 do
        local y = {}
        for j in ipairs(samples) do y[j] = found[how][j][i] end
        series[#series + 1] = { x = samples, y = y, label = ("%s, %s"):format(patches.names[i],
          how), dash = how == "GAP" }
      end
    end
    ctx:figure("readouts", ml.plot.lines { series = series, log = "x", xlabel = "samples",
      ylabel = "half squared error", title = "pooling saves samples" })
    return result
  end,
  claims = {
    { name = "theory at p = 4 against the paper's curves, largest difference", kind = "paper",
      source = "Xiao 2022, Figure 1", at_most = 0.06,
      measure = function(r) return r.published end },
    { name = "exponents of eigenvalues at p = 128 against learning indices, relative",
      kind = "theory", source = "Xiao 2022, Theorem 1", at_most = 0.04,
      measure = function(r) return r.exponents end },
    { name = "what a fifth hidden layer moves in an MLP's half squared error, largest",
      kind = "theory", source = "Xiao 2022, Section 5", at_most = 0.02,
      when = function(p) return p.side == 3 end, measure = function(r) return r.moved end },
    { name = "what convolutions gain on a target of ultra-short range", kind = "theory",
      source = "Xiao 2022, Theorem 2", at_least = 0.2, when = function(p)
        return p.side == 3 and p.samples[#p.samples] >= 640
      end, measure = function(r) return r.gained end },
    { name = "pooled readout with p times fewer samples, half squared errors apart, largest",
      kind = "calibrated", source = "Xiao 2022, Theorem 3", at_most = 0.1, seeds = 3,
      when = function(p) return p.side == 3 and p.draws >= 4 end,
      measure = function(r) return r.apart end },
  },
}
