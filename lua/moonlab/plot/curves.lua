--- Kinds made of series: lines, scatter, spectrum, histogram.
local core = require "moonlab.core"
local options = require "moonlab.options"
local colour = require "moonlab.plot.colour"
local figure = require "moonlab.plot.figure"
local fits = require "moonlab.plot.fits"
local input = require "moonlab.plot.input"
local marks = require "moonlab.plot.marks"
local panel = require "moonlab.plot.panel"

local curves = {}

local series_names = { "x", "y", "yerr", "low", "high", "label", "colour", "dash", "markers",
  "points", "faint", "thin", "fit", "optimum", "diverged", "value", "size" }

-- A label of a series, cleaned.
local function label_of(where, s)
  return input.text(where, s, "label")
end

local function band(where, s, i, y, n)
  local function vector(name)
    local v, m = input.vector(where, ("%s of series %d"):format(name, i), s[name])
    if m ~= n then options.bad(where, 0, "series %d has %d y and %d %s", i, n, m, name) end
    return v
  end
  if s.yerr ~= nil then
    if s.low ~= nil or s.high ~= nil then
      options.bad(where, 0, "series %d has both yerr and low or high, wanted one of them", i)
    end
    local e = vector "yerr"
    if core.is_tensor(y) or core.is_tensor(e) then
      y = core.is_tensor(y) and y:to("f64") or core.f64(y)
      e = core.is_tensor(e) and e:to("f64") or core.f64(e)
      return y - e, y + e
    end
    local low, high = {}, {}
    for k = 1, n do low[k], high[k] = y[k] - e[k], y[k] + e[k] end
    return low, high
  end
  if (s.low == nil) ~= (s.high == nil) then
    options.bad(where, 0, "series %d has %s alone, wanted low and high", i,
      s.low ~= nil and "low" or "high")
  end
  if s.low ~= nil then return vector "low", vector "high" end
end

local function remarks(p, name, s)
  if s.kept then
    panel.remark(p, name, "%d points, drawn as %d (%s)", s.n, s.kept, s.how)
  end
  if s.not_positive > 0 then
    panel.remark(p, name, "%d point%s not > 0 left out of the logarithmic axes", s.not_positive,
      s.not_positive == 1 and "" or "s")
  end
end

-- Where y is not finite although x is: diverged points, at the edge of the frame.
local function diverged_of(where, s, i, m)
  if s.diverged == nil or s.diverged == false then return nil end
  if s.diverged == true then
    local list = {}
    for k, y in ipairs(m.y) do
      if y - y ~= 0 then list[#list + 1] = m.x[k] end
    end
    return list
  end
  if type(s.diverged) ~= "table" and not core.is_tensor(s.diverged) then
    options.bad(where, 0, "option 'diverged' is %s, wanted true or a list of x",
      options.describe(s.diverged))
  end
  return (input.list(where, ("diverged of series %d"):format(i), s.diverged))
end

local function read_series(where, s, i, p, cloud)
  if type(s) ~= "table" then
    options.bad(where, 0, "series %d is %s, wanted a table", i, options.describe(s))
  end
  options.check(where, s, series_names)
  for _, name in ipairs { "points", "faint", "thin", "markers", "dash" } do
    options.optional(where, s, name, "boolean")
  end
  local y, n = input.vector(where, ("y of series %d"):format(i), s.y)
  local x, nx
  if s.x ~= nil then
    x, nx = input.vector(where, ("x of series %d"):format(i), s.x)
    if nx ~= n then options.bad(where, 0, "series %d has %d x and %d y", i, nx, n) end
  end
  local low, high = band(where, s, i, y, n)
  local points = cloud
  if s.points ~= nil then points = s.points end
  local thinned = input.series { x = x, y = y, low = low, high = high, n = n,
    log_x = p.x.base ~= nil, log_y = p.y.base ~= nil, cloud = points }
  if thinned.cloud then points = true end
  local paint, dash, shape = panel.style(i)
  local m = { kind = "series", x = thinned.x, y = thinned.y, low = thinned.low,
    high = thinned.high, label = label_of(where, s), colour = input.colour(where, s, "colour")
      or paint, painted = s.colour ~= nil, line = not points,
    dash = s.dash and { 6, 3 } or s.dash == nil and dash or nil,
    markers = s.markers, faint = s.faint, thin = s.thin, shape = shape, bars = points,
    value = options.optional(where, s, "value", "number"), kept = thinned.kept,
    size = options.optional(where, s, "size", "number") }
  if m.size then options.range(where, "size", m.size, 0.5, 50) end
  m.diverged = diverged_of(where, s, i, m)
  remarks(p, m.label or ("series %d"):format(i), thinned)
  p.marks[#p.marks + 1] = m
  fits.optimum(where, s, i, m, p)
  fits.power_law(where, s, i, m, p)
  return m
end

-- Colours by a number of each series, and a bar instead of names.
local function sequence(where, o, p, list)
  if not options.field(where, o, "sequential", "boolean", false) then
    options.optional(where, o, "zlabel", "string")
    return
  end
  local low, high = math.huge, -math.huge
  local valued, all = 0, list
  list = {}
  for _, m in ipairs(all) do
    if m.value or not m.painted then list[#list + 1] = m end
    if m.value then
      valued = valued + 1
      low, high = math.min(low, m.value), math.max(high, m.value)
    end
  end
  if valued > 0 and valued < #list then
    options.bad(where, 0, "%d of %d series have a value, wanted all or none", valued, #list)
  end
  local logarithmic = valued > 0 and low > 0 and high > 20 * low
  if valued > 0 then
    p.bar = { map = "sequential", low = low, high = high, base = logarithmic and 10 or nil,
      label = input.text(where, o, "zlabel"), series = true }
  end
  for i, m in ipairs(list) do
    -- away from the lightest yellow, which is lost on white
    local t = valued > 0 and panel.position(p.bar, m.value) or #list > 1 and (i - 1) / (#list - 1)
      or 0
    m.colour, m.dash = colour.at("sequential", p.bar and t or 0.9 * t), nil
    if p.bar then m.label = nil end
  end
end

-- Names of the positions 1, 2, ... of an axis.
local function categories(where, o, p)
  for _, key in ipairs { "x", "y" } do
    local names = o[key .. "names"]
    if names ~= nil then
      if p[key].base or p[key].low or p[key].high then
        options.bad(where, 0, "%snames is given for an axis that is logarithmic or has limits", key)
      end
      names = input.names(where, key .. "names", names)
      p[key].names = names
      for i, m in ipairs(p.marks) do
        for _, v in ipairs(m[key] or {}) do
          if v - v == 0 and not (v > 0.5 and v < #names + 0.5) then
            options.bad(where, 0, "%s of series %d has %.6g, but %snames has %d names", key, i, v,
              key, #names)
          end
        end
      end
    end
  end
end

local function curve_panel(where, o, cloud, log)
  options.argument(where, 1, o, "table")
  options.check(where, o, panel.known("x", "y", "yerr", "low", "high", "label", "series", "fit",
    "optimum", "diverged", "sequential", "zlabel", "envelope", "markers", "size", "colour",
    "xnames", "ynames"))
  local p = panel.new(where, o, log)
  local series = options.field(where, o, "series", "table", { { x = o.x, y = o.y, yerr = o.yerr,
    low = o.low, high = o.high, label = o.label, fit = o.fit, optimum = o.optimum,
    diverged = o.diverged, markers = o.markers, size = o.size, colour = o.colour } })
  if o.series ~= nil and (o.x ~= nil or o.y ~= nil) then
    options.bad(where, 0, "both series and %s are given, wanted one of them",
      o.x ~= nil and "x" or "y")
  end
  local list = {}
  for i, s in ipairs(series) do
    if o.series ~= nil and type(s) == "table" then
      local copy = {}
      for key, v in pairs(s) do copy[key] = v end
      for _, name in ipairs { "fit", "optimum", "diverged", "markers", "size" } do
        if copy[name] == nil then copy[name] = o[name] end
      end
      s = copy
    end
    list[i] = read_series(where, s, i, p, cloud)
  end
  p.x.whole = #series > 0
  for _, s in ipairs(series) do p.x.whole = p.x.whole and s.x == nil end
  sequence(where, o, p, list)
  fits.recolour(p)
  fits.envelope(where, o, p, list)
  if cloud then p.x.pad = { 0.04, 0.04 } end
  categories(where, o, p)
  for _, m in ipairs(p.marks) do
    if not cloud and m.kind == "series" and marks.marked(m) then p.x.pad = { 0.02, 0.02 } end
  end
  return panel.finish(where, o, p)
end

--- ml.plot.lines{ x =, y =, yerr =, low =, high =, label =, series =, log =, base =, title =,
---   xlabel =, ylabel =, xlim =, ylim =, legend =, references =, notes =, fit =, optimum =,
---   diverged =, sequential =, zlabel =, envelope =, markers =, colour =, file =, width =,
---   height =, theme = }
--- Curves. Points that are not finite leave gaps; so do points that are not > 0 on a logarithmic
--- axis, and the figure says how many. More than 8192 points are thinned to the first, least,
--- greatest and last of each of 2000 columns, and the figure says so.
--- @param opts.x table list or tensor [n]; =1..n
--- @param opts.y table list or tensor [n]
--- @param opts.yerr table list or tensor [n]: a band from y - yerr to y + yerr
--- @param opts.low table list or tensor [n] =nil with high: a band
--- @param opts.high table list or tensor [n] =nil
--- @param opts.label string =nil written at the right end of the curve where there is room, else in
--- a legend
--- @param opts.series table list of { x, y, yerr, low, high, label, colour, dash = bool, markers =
--- bool, points = bool (no line), faint = bool, thin = bool, fit, optimum, diverged, value, size }
--- instead of one curve
--- @param opts.log string ="" logarithmic axes: "x", "y" or "xy"
--- @param opts.base integer =10 of logarithmic axes: 2, 10 or { x =, y = }
--- @param opts.xlim table { low, high } =nil of the axis; a missing end follows the data
--- @param opts.ylim table { low, high } =nil
--- @param opts.legend string ="auto" "ends" of the curves, "inside", "outside", or false
--- @param opts.references table list of { x = or y =, label, colour }: dashed lines across
--- @param opts.notes table list of { x, y, text }
--- @param opts.xnames table list of names =nil of x = 1, 2, ...: categories
--- @param opts.ynames table list of names =nil of y = 1, 2, ...
--- @param opts.fit boolean =false a power law through the points by ml.fit.power_law, its exponent
--- and standard error in the label; or { range = { low, high } } in x
--- @param opts.optimum string =nil marks the "min", "max" or vertex of a "parabola" through five
--- points (ml.fit.parabola on the axes of the plot); or { x, y, text }
--- @param opts.diverged boolean =false points whose y is not finite stand at the upper edge; or a
--- list of x
--- @param opts.sequential boolean =false colours by order, or by the value of each series with a
--- colour bar (logarithmic over more than a factor 20); a series without value whose colour is
--- given keeps it, and its label
--- @param opts.zlabel string =nil of that bar
--- @param opts.envelope string =nil the "min" or "max" of all curves, as in IsoFLOP plots
--- @param opts.markers boolean =nil a marker at each point; nil: up to 12 points
--- @param opts.colour string "#rrggbb" =nil
--- @param opts.file string path to save to, ending in .svg or .png
--- @param opts.width integer =640 pixels, 160 to 10000
--- @param opts.height integer =400 pixels, 120 to 10000
--- @param opts.theme string ="light" "dark", or "auto": as the viewer prefers
--- @return figure with svg(), text(columns, rows), png(path), save(path); prints itself in braille
--- @source colours: Okabe & Ito 2008; ticks: 1-2-5 steps
function curves.lines(o)
  local where = "ml.plot.lines"
  return figure.new(where, o, { curve_panel(where, o, false) })
end

--- ml.plot.scatter{ x =, y =, yerr =, label =, series =, fit =, log =, ... }
--- Points, with error bars where yerr (or low and high) is given. Takes the options of
--- ml.plot.lines. More than 8192 points are thinned to one in each of 240 x 180 cells, and the
--- figure says so.
--- @param opts.x table list or tensor [n]; =1..n
--- @param opts.y table list or tensor [n]
--- @param opts.fit boolean =false a power law through the points, its exponent and standard error
--- in the label; or { range } of ml.fit.power_law
--- @param opts.size number =3 radius of the markers in pixels, 0.5 to 50
--- @param opts.series table list as ml.plot.lines has it
--- @return figure
--- @source -
function curves.scatter(o)
  local where = "ml.plot.scatter"
  return figure.new(where, o, { curve_panel(where, o, true) })
end

-- ---- spectrum -----------------------------------------------------------------------------------

local function descending(where, i, values)
  local v, n = input.vector(where, ("values of series %d"):format(i), values)
  local t = core.is_tensor(v) and v:to("f64") or n > 0 and core.f64(v)
  return t and t:sort(1, { descending = true }) or core.zeros { 0 }, n
end

--- ml.plot.spectrum{ values =, series =, slopes =, fit =, log = "xy", ... }
--- Eigenvalues, or other sizes, in descending order over their rank. Values that are not > 0 are
--- left out of a logarithmic axis, and the figure says how many. Takes the options of
--- ml.plot.lines.
--- @param opts.values table list or tensor [n], any order
--- @param opts.series table list of { values =, label =, fit =, ... } instead of one
--- @param opts.slopes table list of exponents =nil: dashed reference lines, value ~ rank^slope,
--- through the first series near a third of its ranks
--- @param opts.fit boolean =false a power law, or { range = { 10, 100 } } in ranks
--- @param opts.log string ="xy"
--- @return figure
--- @source -
function curves.spectrum(o)
  local where = "ml.plot.spectrum"
  options.argument(where, 1, o, "table")
  options.check(where, o, panel.known("values", "series", "slopes", "fit", "label", "colour"))
  local p = panel.new(where, o, "xy")
  p.x.label, p.y.label = p.x.label or "rank", p.y.label or "value"
  local series = options.field(where, o, "series", "table",
    { { values = o.values, label = o.label, colour = o.colour } })
  local slopes = options.optional(where, o, "slopes", "table")
    and input.list(where, "slopes", o.slopes) or {}
  local first
  for i, s in ipairs(series) do
    if type(s) ~= "table" then
      options.bad(where, 0, "series %d is %s, wanted a table", i, options.describe(s))
    end
    local copy = { fit = o.fit }
    for key, v in pairs(s) do copy[key] = v end
    copy.values = nil
    if s.y ~= nil or s.x ~= nil then
      options.bad(where, 0, "series %d has %s, wanted values", i, s.y ~= nil and "y" or "x")
    end
    copy.y = descending(where, i, s.values)
    local m = read_series(where, copy, i, p, false)
    first = first or m
  end
  fits.recolour(p)
  fits.slopes(p, first, slopes)
  return figure.new(where, o, { panel.finish(where, o, p) })
end

-- ---- histogram ----------------------------------------------------------------------------------

local function finite_part(t)
  local ok = t:isfinite()
  local n = t:size(1)
  if n == 0 then return t, 0 end
  local kept = ok:to("f64"):sum():item()
  if kept == n then return t, 0 end
  if kept == 0 then return core.zeros { 0 }, n end
  local order = ok:to("f64"):argsort(1, { descending = true })
  return t:index_select(order[{ { 1, math.tointeger(kept) } }], 1), n - math.tointeger(kept)
end

-- Equal bins by the rule of Freedman & Diaconis, at least Sturges' number, at most 200.
local function automatic(t, low, high)
  local n = t:size(1)
  local sorted = t:sort(1)
  local function quantile(q) return sorted[math.floor(q * (n - 1)) + 1] end
  local width = 2 * (quantile(0.75) - quantile(0.25)) / n ^ (1 / 3)
  local sturges = math.ceil(math.log(n, 2)) + 1
  if not (width > 0) then return math.min(sturges, 200) end
  return math.tointeger(math.max(1, math.min(200, math.max(sturges,
    math.ceil((high / 2 - low / 2) / width * 2))))) or sturges
end

local function even_edges(low, high, count, logarithmic)
  local edges = {}
  for k = 0, count do
    local t = k / count
    edges[k + 1] = logarithmic and math.exp(math.log(low) + t * (math.log(high) - math.log(low)))
      or 2 * (low / 2 + t * (high / 2 - low / 2))
  end
  edges[1], edges[count + 1] = low, high
  return edges
end

local function bin_edges(where, o, p, samples)
  local bins = o.bins
  if type(bins) == "table" or core.is_tensor(bins) then
    local edges, n = input.list(where, "bins", bins)
    for k = 1, n do
      if edges[k] - edges[k] ~= 0 or (k > 1 and not (edges[k] > edges[k - 1]))
        or (p.x.base and edges[k] <= 0) then
        options.bad(where, 0, "edge %d of bins is %.14g, wanted finite edges in ascending order%s",
          k, edges[k], p.x.base and ", > 0" or "")
      end
    end
    if n < 2 then options.bad(where, 0, "bins has %d edges, wanted at least 2", n) end
    return edges
  end
  if bins ~= nil and bins ~= "auto" then
    options.range(where, "bins", options.field(where, o, "bins", "integer"), 1, 10000)
  end
  local low, high, best = math.huge, -math.huge, nil
  for _, t in ipairs(samples) do
    if t:size(1) > 0 then
      low, high = math.min(low, t:min():item()), math.max(high, t:max():item())
      if not best or t:size(1) > best:size(1) then best = t end
    end
  end
  if not best then return nil end
  if low == high then
    if p.x.base then
      low, high = low / 1.5, high * 1.5
    else
      local pad = low == 0 and 0.5 or math.abs(low) * 0.05
      low, high = low - pad, high + pad
    end
  end
  local count = (bins == nil or bins == "auto")
    and automatic(p.x.base and best:log() or best, p.x.base and math.log(low) or low,
      p.x.base and math.log(high) or high) or math.tointeger(bins)
  return even_edges(low, high, count, p.x.base)
end

--- ml.plot.histogram{ x =, series =, bins =, density =, log =, ... }
--- How often values fall into intervals; values that are not finite are left out, and the figure
--- says how many. Takes the options of ml.plot.lines that fit.
--- @param opts.x table list or tensor, any number of axes
--- @param opts.series table list of { x =, label =, colour = } instead of one; all share the bins
--- @param opts.bins integer ="auto" their number, or the list of edges; "auto": Freedman and
--- Diaconis' rule
--- @param opts.density boolean =false areas of 1 instead of counts
--- @param opts.log string ="" "x": bins of equal ratios; "y": counts on a logarithmic axis
--- @return figure
--- @source Freedman & Diaconis 1981, "On the histogram as a density estimator"
function curves.histogram(o)
  local where = "ml.plot.histogram"
  options.argument(where, 1, o, "table")
  options.check(where, o, panel.known("x", "series", "bins", "density", "label", "colour"))
  local p = panel.new(where, o)
  local density = options.field(where, o, "density", "boolean", false)
  p.y.label = p.y.label or (density and "density" or "count")
  local series = options.field(where, o, "series", "table",
    { { x = o.x, label = o.label, colour = o.colour } })
  local samples = {}
  for i, s in ipairs(series) do
    if type(s) ~= "table" then
      options.bad(where, 0, "series %d is %s, wanted a table", i, options.describe(s))
    end
    options.check(where, s, { "x", "label", "colour" })
    local v = s.x
    if core.is_tensor(v) and not v:is_released() then v = v:reshape { v:numel() } end
    local n
    v, n = input.vector(where, ("x of series %d"):format(i), v)
    local t = core.is_tensor(v) and v:to("f64") or n > 0 and core.f64(v) or core.zeros { 0 }
    local lost
    t, lost = finite_part(t)
    local name = input.text(where, s, "label") or ("series %d"):format(i)
    if lost > 0 then panel.remark(p, name, "%d values that are not finite left out", lost) end
    if p.x.base and t:size(1) > 0 then
      local positive
      positive, lost = finite_part(t:log() * 1) -- log of what is not > 0 is not finite
      if lost > 0 then
        panel.remark(p, name, "%d values not > 0 left out of the logarithmic axis", lost)
        t = positive:size(1) > 0 and positive:exp() or core.zeros { 0 }
      end
    end
    samples[i] = t
  end
  local edges = bin_edges(where, o, p, samples)
  for i, s in ipairs(series) do
    local paint, dash = panel.style(i)
    local counts = {}
    if edges and samples[i]:size(1) > 0 then
      counts = core.plot.bin_counts(samples[i], core.f64(edges)):totable()
      local inside = 0
      for _, c in ipairs(counts) do inside = inside + c end
      if inside < samples[i]:size(1) then
        panel.remark(p, input.text(where, s, "label") or ("series %d"):format(i),
          "%d values outside the bins", samples[i]:size(1) - math.tointeger(inside))
      end
      if density then
        for k = 1, #counts do counts[k] = counts[k] / inside / (edges[k + 1] - edges[k]) end
      end
    end
    local middles = {}
    for k = 1, #counts do middles[k] = (edges[k] + edges[k + 1]) / 2 end
    p.marks[#p.marks + 1] = { kind = "series", x = middles, y = counts, counts = counts,
      edges = #counts > 0 and edges or {}, label = input.text(where, s, "label"),
      colour = input.colour(where, s, "colour") or paint, dash = dash or nil, shape = "square",
      alone = #series == 1, line = false }
  end
  if not p.y.base and not p.y.low then p.y.floor = 0 end
  return figure.new(where, o, { panel.finish(where, o, p) })
end

return curves
