-- Figures of every kind, and of inputs that are hard to lay out.
local ml = require "moonlab"

local function list(n, f)
  local t = {}
  for i = 1, n do t[i] = f(i) end
  return t
end

local long = ("words & <b>\"quoted\" 'too' "):rep(9)

--- A table name -> figure.
return function()
  local x = list(40, function(i) return i end)
  local g = ml.rng(1)
  local figs = {
    lines = ml.plot.lines { x = x, y = list(40, function(i) return 3 / i end), title = "loss",
      xlabel = "step", ylabel = "bits per byte", label = "held out",
      references = { { y = 1, label = "gzip -9" }, { y = 0.9, label = "bzip2 -9" },
        { x = 20, label = "switch" } }, notes = { { x = 10, y = 2, text = "here" } } },
    bands = ml.plot.lines { log = "xy", series = list(4, function(k)
      return { x = x, y = list(40, function(i) return k * i ^ -0.5 end), label = "model " .. k,
        yerr = list(40, function(i) return 0.3 * i ^ -0.5 end) }
    end) },
    fits = ml.plot.scatter { log = "xy", base = { x = 2, y = 10 }, fit = true, title = "risk",
      series = list(2, function(k)
        return { x = list(8, function(i) return 2 ^ i end), label = "decay " .. k,
          y = list(8, function(i) return (1 + 0.05 * (-1) ^ i) * 2 ^ (-k * i / 2) end) }
      end) },
    sweeps = ml.plot.lines { log = "x", base = 2, diverged = true, optimum = "parabola",
      markers = true, xlabel = "learning rate", ylabel = "loss", series = list(4, function(k)
        return { x = list(10, function(i) return 2.0 ^ (i - 12) end), label = "width " .. 64 * k,
          y = list(10, function(i)
            return i + k > 10 and 0 / 0 or 2 + 0.05 * (i + k / 2 - 6) ^ 2
          end) }
      end) },
    family = ml.plot.lines { log = "xy", sequential = true, zlabel = "compute", envelope = "min",
      series = list(6, function(k)
        return { x = x, y = list(40, function(i) return i / k + 30 * k / i end), value = 10.0 ^ k }
      end) },
    thirty = ml.plot.lines { title = "thirty runs", series = list(30, function(k)
      return { label = "run number " .. k, y = list(20, function(i)
        return math.sin(i / 5 + k)
      end) }
    end) },
    thirty_apart = ml.plot.lines { series = list(30, function(k)
      return { y = { 0, k }, label = "run " .. k }
    end) },
    histogram = ml.plot.histogram { x = g:normal { 500 }, title = "weights" },
    histograms = ml.plot.histogram { density = true, series = {
      { x = g:normal { 500 }, label = "layer 1" },
      { x = g:normal { 300 } + 2, label = "layer 2" } } },
    spectrum = ml.plot.spectrum { values = list(60, function(i) return i ^ -1.5 end),
      slopes = { -1, -2 }, fit = true, label = "kernel" },
    heat = ml.plot.heatmap { z = list(9, function(i)
      return list(7, function(j) return (i - 5) * j end)
    end), values = true, center = 0, zlabel = "value", xlabel = "key", ylabel = "query" },
    confusion = ml.plot.confusion { title = "CIFAR", names = list(10, function(i)
      return ("class with a long name %d"):format(i)
    end), counts = list(10, function(i)
      return list(10, function(j) return i == j and 900 or i * j end)
    end) },
    phase = ml.plot.phase { xlim = { 0, 1 }, ylim = { 0, 1 }, title = "phases", xlabel = "α",
      region = function(u, v)
        return u + v < 0.8 and "first" or u > 0.97 and "a narrow one" or v > 0.6 and "second"
          or "third"
      end, points = { x = { 0.5 }, y = { 0.5 }, label = "runs" } },
    long = ml.plot.lines { title = long, xlabel = long, ylabel = long,
      series = { { y = { 1, 2 }, label = long }, { y = { 2, 1 }, label = long } } },
    huge = ml.plot.lines { log = "xy", x = { 1e-300, 1, 1e300 }, y = { 1e300, 1, 1e-300 } },
    wide = ml.plot.lines { x = { -1.7e308, 1.7e308 }, y = { 1e-12, 1.1e-12 } },
    dropped = ml.plot.lines { y = { -1, 2, 0 / 0, 3, -4 }, log = "y", title = "some" },
    nothing = ml.plot.lines { y = {}, title = long },
    one = ml.plot.lines { y = { 7 }, label = "one" },
    constant = ml.plot.lines { y = { 5, 5, 5 }, label = "constant" },
  }
  figs.grid = ml.plot.grid { figs.lines, figs.fits, figs.heat, figs.phase, figs.histogram,
    title = "six of them", columns = 3, figs.nothing }
  return figs
end
