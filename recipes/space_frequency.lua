--- Which interactions do deep convolutional kernels and networks learn with few samples, and which
--- do fully connected ones?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local patches = require "moonlab.theory.patches"

local kinds = { "MLP", "D-CNN", "HR-CNN" }

-- Training and test points with eight targets, each of mean square 1 over the test points.
local function make(p, key, n, tests)
  local X = patches.points(key:fold("points", 0), n + tests, p.side)
  local Y = patches.targets(key, X, p.side)
  for i, y in ipairs(Y) do
    local square = (y[{ { n + 1, n + tests } }] ^ 2):mean():item()
    Y[i] = y / math.sqrt(square)
  end
  local all = ml.stack(Y, 2)
  return X[{ { 1, n } }], all[{ { 1, n } }], X[{ { n + 1, n + tests } }],
    all[{ { n + 1, n + tests } }]
end

-- Half the mean squared error of each target at each number of samples, averaged over draws.
local function regress(p, net)
  local most, sums = p.samples[#p.samples], {}
  for draw = 1, p.draws do
    ml.scope(function()
      local X, Y, X2, Y2 = make(p, ml.rng(p.seed):fold("draw", draw), most, p.test)
      local K = net:nngp(patches.image(X))
      local K2 = net:nngp(patches.image(X2), patches.image(X))
      for j, m in ipairs(p.samples) do
        local part = { { 1, m } }
        local alpha = ml.solve.krr(K[{ { 1, m }, { 1, m } }]:contiguous(), Y[part]:contiguous(),
          { ridge = p.ridge })
        local error = ((K2[{ {}, { 1, m } }]:matmul(alpha) - Y2) ^ 2):mean(1):totable()
        for i = 1, 8 do
          sums[i] = sums[i] or {}
          sums[i][j] = (sums[i][j] or 0) + error[i] / 2 / p.draws
        end
      end
    end)
  end
  return sums
end

-- Half the squared residual (1 - coefficient)^2 of each target at some steps of SGD.
local function train(p, name, net)
  local key = ml.rng(p.seed):fold("training", 0)
  local X, Y, X2, Y2 = make(p, key, p.points, p.test)
  local finite = net:finite { inputs = { 1, p.side * p.side * p.side * p.side, 1 }, dtype = "f32",
    width = name == "MLP" and 4 * p.channels or p.channels,
    dense_width = 4 * p.channels, seed = p.seed }
  local inputs, target = patches.image(X):to "f32", Y:sum(2):to "f32"
  local probe = patches.image(X2):to "f32"
  local opt = ml.optim.sgd(finite:parameters(), { lr = p.lr, momentum = 0.9 })
  local found, last = {}, p.steps[#p.steps]
  local function measure()
    local f = ml.no_grad(function() return finite(probe) end):reshape { p.test }:to "f64"
    local row = {}
    for i = 1, 8 do
      local y = Y2[{ {}, i }]
      local c = (f * y):sum():item() / (y * y):sum():item()
      row[i] = (1 - c) ^ 2 / 2
    end
    return row
  end
  local at = {}
  for k, step in ipairs(p.steps) do at[step] = k end
  ml.train { model = finite, opt = opt, steps = last,
    data = { batch = function(_, i)
      return key:fold("batch", i):integers(1, p.points, { math.min(p.batch, p.points) })
    end },
    loss = function(model, ids)
      local f = model(inputs:index_select(ids, 1)):reshape { ids:size(1) }
      return ((f - target:index_select(ids, 1)) ^ 2):mean() / 2
    end,
    log = function(record)
      local k = at[record.step]
      if k then found[k] = ml.scope(measure) end
    end }
  return found
end

local function line(title, list)
  local words = {}
  for i, value in ipairs(list) do words[i] = ("%6.3f"):format(value) end
  print(("%-22s %s"):format(title, table.concat(words, " ")))
end

-- Of one run at side 3 by an independent program: residuals at 54, 162 and 486 steps.
local known = {
  ["HR-CNN"] = { { .13, .41, .50, .50, .49, .49, .50, .50 }, { 0, 0, .21, .43, .43, .52, .48, .44 },
    { 0, 0, .04, .13, .33, .50, .41, .50 } },
  ["D-CNN"] = { { .02, .45, .41, .52, .49, .51, .51, .48 }, { 0, .08, .02, .47, .45, .46, .47,
    .50 }, { 0, .02, .01, .19, .40, .37, .45, .56 } },
  MLP = { { .07, .49, .48, .52, .48, .49, .50, .49 }, { .02, .44, .42, .55, .47, .42, .50, .49 },
    { 0, .15, .08, .56, .44, .09, .47, .46 } },
}

return recipe.define {
  name = "space_frequency",
  source = "Xiao 2022 (arXiv 2112.05611)",
  params = {
    side = { 3, "p: inputs are p^3 patches of p numbers", min = 3, max = 4 },
    samples = { { 81, 160, 320, 640, 1280 }, "of kernel regression, ascending", min = 2 },
    ridge = { 0.0, "in the unit of the kernel, which is 1 at equal points", min = 0 },
    draws = { 2, "of points and targets", min = 1 },
    test = { 1000, "points to test on", min = 20 },
    points = { 4096, "that networks are trained on", min = 16 },
    channels = { 64, "of convolutions; dense layers have four times as many units", min = 1 },
    steps = { { 18, 54, 162, 486 }, "of SGD where residuals are measured, ascending", min = 1 },
    batch = { 512, "points a step", min = 1 },
    lr = { 0.5, "of SGD with momentum 0.9", above = 0 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { samples = { 40, 80 }, draws = 1, test = 100, points = 64, channels = 4,
    steps = { 2, 4 }, batch = 16 },
  full = { samples = { 81, 160, 320, 640, 1280, 2560, 5120 }, draws = 5, channels = 256,
    steps = { 18, 54, 162, 486, 1458 }, seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local modes, result = patches.modes(p.side), { worst = 0, rms = 0, inversions = 0 }
    local panels, trained = {}, {}
    for _, name in ipairs(kinds) do
      local tree = ml.theory.eigenspace { graph = { leaf = p.side,
        branching = patches.branching[name](p.side) } }
      local theory = tree:predict { modes = modes, samples = p.samples, ridge = p.ridge }
      local net = patches.network(name, p.side)
      local found = ctx:once("kernel " .. name, function() return regress(p, net) end)
      local index, curves = {}, {}
      for i, mode in ipairs(modes) do index[i] = tree:index(mode) end
      print(("%s, learning indices"):format(name))
      line("", index)
      for j, m in ipairs(p.samples) do
        local promised, measured, square = {}, {}, 0
        for i = 1, 8 do
          promised[i], measured[i] = theory[i][j] / 2, found[i][j]
          local off = measured[i] - promised[i]
          square = square + off * off / 8
          result.worst = math.max(result.worst, math.abs(off))
        end
        result.rms = math.max(result.rms, math.sqrt(square))
        line(("  m = %d, theory"):format(m), promised)
        line(("  m = %d, simulated"):format(m), measured)
        ctx:log { net = name, step = m, theory = promised, simulated = measured }
      end
      for i = 1, 8 do
        local half = {}
        for j in ipairs(p.samples) do half[j] = theory[i][j] / 2 end
        curves[#curves + 1] = { x = p.samples, y = half, label = patches.names[i] }
        for k = 1, 8 do -- a larger eigenvalue never has the larger index
          if tree:eigenvalue(modes[i]) > tree:eigenvalue(modes[k]) * (1 + 1e-9)
            and index[i] > index[k] + 1e-9 then
            result.inversions = result.inversions + 1
          end
        end
      end
      panels[#panels + 1] = ml.plot.lines { series = curves, log = "x", title = name .. ", theory",
        xlabel = "samples", ylabel = "half squared error" }
      local points = {}
      for i = 1, 8 do
        points[i] = { x = p.samples, y = found[i], label = patches.names[i], markers = true }
      end
      panels[#panels + 1] = ml.plot.lines { series = points, log = "x",
        title = name .. ", simulated", xlabel = "samples", ylabel = "half squared error" }
      result[name] = { index = index, simulated = found }
      local rows = ctx:once("network " .. name, function() return train(p, name, net) end)
      for k, step in ipairs(p.steps) do
        line(("  SGD step %d"):format(step), rows[k])
        ctx:log { net = name, sgd_step = step, residual = rows[k] }
      end
      result[name].residual = rows
      local lines = {}
      for i = 1, 8 do
        lines[i] = { x = p.steps, y = {}, label = patches.names[i] }
        for k in ipairs(p.steps) do lines[i].y[k] = rows[k][i] end
      end
      trained[#trained + 1] = ml.plot.lines { series = lines, log = "x", title = name,
        xlabel = "steps of SGD", ylabel = "residual" }
    end
    ctx:figure("kernels", ml.plot.grid(panels))
    ctx:figure("networks", ml.plot.grid(trained))
    local place = {}
    for j, m in ipairs(p.samples) do place[m] = j end
    if place[320] then
      local function gap(name)
        local f = result[name].simulated
        return f[3][place[320]] - f[2][place[320]]
      end
      result.gap_hr, result.gap_d = gap "HR-CNN", gap "D-CNN"
    end
    local steps = {}
    for k, step in ipairs(p.steps) do steps[step] = k end
    if steps[54] and steps[162] and steps[486] then
      result.off = 0
      for name, rows in pairs(known) do
        for k, step in ipairs { 54, 162, 486 } do
          for i = 1, 8 do
            result.off = math.max(result.off,
              math.abs(result[name].residual[steps[step]][i] - rows[k][i]))
          end
        end
      end
      local last = steps[486]
      local mlp, hr = result.MLP.residual[last], result["HR-CNN"].residual[last]
      result.low_degree = math.max(mlp[1], mlp[2], mlp[3], mlp[6])
      result.high_degree = math.min(mlp[4], mlp[5], mlp[7], mlp[8])
      result.ordered = hr[2] <= hr[3] + 0.02 and hr[3] < hr[4] and hr[4] < hr[5] and 1 or 0
    end
    return result
  end,
  claims = {
    { name = "modes whose eigenvalue is out of the order of the learning index", kind = "theory",
      source = "Xiao 2022, Theorem 1", at_most = 0, measure = function(r) return r.inversions end },
    { name = "half squared error of kernels, simulated minus theory, largest", kind = "calibrated",
      source = "Xiao 2022, Theorem 2", at_most = 0.08, seeds = 3,
      when = function(p) return p.draws >= 2 and p.test >= 1000 end,
      measure = function(r) return r.worst end },
    { name = "the same, root mean square over the targets, largest", kind = "calibrated",
      source = "Xiao 2022, Theorem 2", at_most = 0.04, seeds = 3,
      when = function(p) return p.draws >= 2 and p.test >= 1000 end,
      measure = function(r) return r.rms end },
    { name = "HR-CNN at 320 samples: short range minus ultra-short range of one frequency",
      kind = "calibrated", source = "Xiao 2022, Figure 1", at_least = 0.3, seeds = 3,
      when = function(p) return p.side == 3 and p.draws >= 2 end,
      measure = function(r) return r.gap_hr or 0 / 0 end },
    { name = "D-CNN at 320 samples: the same, which it cannot tell apart", kind = "calibrated",
      source = "Xiao 2022, Figure 1", at_most = 0.15, seeds = 3,
      when = function(p) return p.side == 3 and p.draws >= 2 end,
      measure = function(r) return r.gap_d or 0 / 0 end },
    { name = "residuals of networks against one run of an independent program, largest difference",
      kind = "calibrated", source = "Xiao 2022, Figure 3", at_most = 0.12, seeds = 3,
      when = function(p) return p.side == 3 and p.channels == 64 end,
      measure = function(r) return r.off or 0 / 0 end },
    { name = "MLP after 486 steps: largest residual of the targets of degree 1 and 2",
      kind = "calibrated", source = "Xiao 2022, Figure 3", at_most = 0.25, seeds = 3,
      when = function(p) return p.side == 3 and p.channels == 64 end,
      measure = function(r) return r.low_degree or 0 / 0 end },
    { name = "MLP after 486 steps: least residual of those of higher degree", kind = "calibrated",
      source = "Xiao 2022, Figure 3", at_least = 0.35, seeds = 3,
      when = function(p) return p.side == 3 and p.channels == 64 end,
      measure = function(r) return r.high_degree or 0 / 0 end },
    { name = "HR-CNN after 486 steps: residuals in the order of the learning index (1 yes)",
      kind = "calibrated", source = "Xiao 2022, Figure 3", expected = 1, tolerance = 0, seeds = 3,
      when = function(p) return p.side == 3 and p.channels == 64 end,
      measure = function(r) return r.ordered or 0 / 0 end },
  },
}
