-- Figures of every kind drawn at random: names, numbers, axes and options as they come.
local ml = require "moonlab"

local function list(n, f)
  local t = {}
  for i = 1, n do t[i] = f(i) end
  return t
end

local syllables = { "loss", "lr", "width", "α", "of", "the", "<b>", "&", "1e-3", "quoted\"",
  "held-out", "perplexity", "W", "iii", "模型", "naïve", "learning" }

--- A maker of figures from one seed: make() is kind, figure.
return function(seed)
  local g = ml.rng(seed)
  local function real() return g:uniform({ 1 })[1] end
  local function int(low, high) return low + math.floor(real() * (high - low + 1)) end
  local function one(t) return t[int(1, #t)] end
  local function maybe(p, f) if real() < p then return f() end end
  local function name(most)
    return table.concat(list(int(1, most), function() return one(syllables) end), " ")
  end

  local function frame(o)
    o.title = maybe(0.6, function() return name(8) end)
    o.xlabel = maybe(0.6, function() return name(3) end)
    o.ylabel = maybe(0.6, function() return name(4) end)
    return o
  end

  local function over(o)
    local log_x, log_y = (o.log or ""):find "x", (o.log or ""):find "y"
    local function at(log) return log and 10 ^ (4 * real() - 1) or 20 * real() - 5 end
    o.references = maybe(0.5, function()
      return list(int(1, 4), function()
        local r = { label = maybe(0.8, function() return name(3) end) }
        if real() < 0.5 then r.x = at(log_x) else r.y = at(log_y) end
        return r
      end)
    end)
    o.notes = maybe(0.3, function()
      return list(int(1, 3), function() return { x = at(log_x), y = at(log_y), text = name(2) } end)
    end)
    return o
  end

  local function curves(cloud)
    local log = one { "", "x", "y", "xy" }
    local scale_y, slope = 10 ^ int(-3, 3), 2 * real() - 1
    local hole = real() < 0.3
    local o = frame { log = log, base = one { 2, 10 }, fit = cloud and real() < 0.5,
      diverged = hole, optimum = one { false, false, "min", "parabola" } or nil,
      series = list(int(1, 7), function(k)
        local n = one { 1, 2, 8, 12, 60 }
        local x = list(n, function(i) return 2.0 ^ (10 * i / n) + (cloud and real() or 0) end)
        return { x = x, label = maybe(0.9, function() return name(3) end),
          yerr = real() < 0.2 and list(n, function() return 0.1 * scale_y end) or nil,
          y = list(n, function(i)
            if hole and real() < 0.15 then return 0 / 0 end
            return scale_y * (k * x[i] ^ slope * (1 + 0.2 * real()) - (real() < 0.02 and 5 or 0))
          end) }
      end) }
    return ml.plot[cloud and "scatter" or "lines"](over(o))
  end

  local kinds = {
    function() return "lines", curves(false) end,
    function() return "scatter", curves(true) end,
    function()
      return "family", ml.plot.lines(frame { log = "xy", sequential = true, zlabel = name(2),
        envelope = one { "min", "max" }, series = list(int(2, 9), function(k)
          return { value = 10.0 ^ k, x = list(20, function(i) return i end),
            y = list(20, function(i) return i / k + 30 * k / i + real() end) }
        end) })
    end,
    function()
      return "histogram", ml.plot.histogram(frame { density = real() < 0.5,
        series = list(int(1, 4), function(k)
          return { x = g:normal { int(3, 200) } * real() + k * real(), label = name(2) }
        end) })
    end,
    function()
      return "spectrum", ml.plot.spectrum(frame { fit = real() < 0.5, slopes = { -1, -2 * real() },
        series = list(int(1, 3), function(k)
          return { label = name(2), values = list(int(2, 60), function(i)
            return k * i ^ -1.5 * (0.5 + real())
          end) }
        end) })
    end,
    function()
      local rows, columns = int(1, 12), int(1, 12)
      return "heatmap", ml.plot.heatmap(frame { values = real() < 0.5, zlabel = name(2),
        xnames = maybe(0.5, function() return list(columns, function() return name(4) end) end),
        ynames = maybe(0.5, function() return list(rows, function() return name(4) end) end),
        z = list(rows, function()
          return list(columns, function() return (real() - 0.3) * 10 ^ int(0, 4) end)
        end) })
    end,
    function()
      local n = int(2, 12)
      return "confusion", ml.plot.confusion(frame { names = list(n, function(i)
        return name(3) .. " " .. i
      end), counts = list(n, function() return list(n, function() return int(0, 999) end) end) })
    end,
    function()
      local a, b, names = real(), real(), list(4, function(i) return name(2) .. " " .. i end)
      return "phase", ml.plot.phase(frame { xlim = { 0, 1 }, ylim = { 0, 1 },
        points = maybe(0.5, function()
          return { x = { real(), real() }, y = { real(), real() }, label = name(2) }
        end), region = function(u, v)
          return u + v < a and names[1] or u > b and names[2] or v > a * b and names[3] or names[4]
        end })
    end,
  }

  return function()
    if real() < 0.12 then
      local figs = list(int(2, 6), function() return (select(2, kinds[int(1, #kinds)]())) end)
      figs.title, figs.columns = name(4), int(1, 3)
      return "grid", ml.plot.grid(figs)
    end
    return kinds[int(1, #kinds)]()
  end
end
