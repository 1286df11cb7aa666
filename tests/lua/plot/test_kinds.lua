-- Each kind: data land where the axes say, and what is computed is right.
local ml = require "moonlab"
local check = require "check"
local xml = require "xml"
local colour = require "moonlab.plot.colour"
local T = {}

local function list(n, f)
  local t = {}
  for i = 1, n do t[i] = f(i) end
  return t
end

local function parse(fig) return xml.parse(fig:svg()) end

local function shapes(root, tag, key, value)
  return xml.all(root, tag, function(e) return e.attributes[key] == value end)
end

-- Text elements -> { [words] = { x, y } }
local function words_of(root)
  local found = {}
  for _, e in ipairs(xml.all(root, "text")) do
    found[e.text] = { tonumber(e.attributes.x), tonumber(e.attributes.y) }
  end
  return found
end

local function points_of(e)
  local list_ = {}
  for a, b in e.attributes.points:gmatch "([%d.-]+),([%d.-]+)" do
    list_[#list_ + 1] = { tonumber(a), tonumber(b) }
  end
  return list_
end

function T.test_ticks_stand_where_their_values_are() -- analytic
  local root = parse(ml.plot.lines { x = { 5, 15 }, y = { 0, 4 } })
  local line = points_of(xml.all(root, "polyline")[1])
  local words = words_of(root)
  check.close(words["6"][1], line[1][1] + 0.1 * (line[2][1] - line[1][1]), { atol = 0.02 })
  check.close(words["14"][1], line[1][1] + 0.9 * (line[2][1] - line[1][1]), { atol = 0.02 })
  local grid = {}
  for _, e in ipairs(shapes(root, "line", "stroke", "#e6e6e6")) do
    if e.attributes.y1 == e.attributes.y2 then grid[#grid + 1] = tonumber(e.attributes.y1) end
  end
  table.sort(grid)
  check.close(grid[1], line[2][2], { atol = 0.02 }) -- y = 4 is the highest tick
  check.close(grid[#grid], line[1][2], { atol = 0.02 })
end

function T.test_the_fit_is_in_the_legend() -- analytic: y = 3 x^-0.5 times known noise
  local x, y = {}, {}
  for i = 1, 8 do
    x[i] = 2.0 ^ i
    y[i] = 3 * x[i] ^ -0.5 * (1 + 0.05 * (-1) ^ i)
  end
  local exponent, stderr = ml.fit.power_law(x, y)
  local fig = ml.plot.scatter { x = x, y = y, log = "xy", fit = true, label = "risk" }
  local want = ("risk, exponent −%.3f ± %.3f"):format(-exponent, stderr)
  check.is_true(words_of(parse(fig))[want] ~= nil, want)
  check.is_true(fig:text():find(want, 1, true) ~= nil)
  check.equal(require("moonlab.plot.fits").with_error(-0.49812, 0.0123), "−0.498 ± 0.012")
  check.equal(require("moonlab.plot.fits").with_error(12.345, 3.2), "12.3 ± 3.2")
  check.equal(require("moonlab.plot.fits").with_error(0.5, 0 / 0), "0.5")
  check.equal(ml.plot.scatter({ y = { 1, -2 }, log = "xy", fit = true }):remarks(), {
    "series 1: 1 point not > 0 left out of the logarithmic axes",
    "series 1: not fitted, fewer than two different x > 0" })
end

function T.test_optima() -- analytic: the vertex of a parabola in log2 x
  local x = list(9, function(i) return 2.0 ^ (i - 9) end)
  local y = list(9, function(i) return 1 + (i - 5.3) ^ 2 end)
  local fig = ml.plot.lines { x = x, y = y, log = "x", base = 2, optimum = "parabola" }
  local best = fig.panels[1].marks[1].optimum
  check.close(math.log(best.x, 2), 5.3 - 9, { rtol = 1e-9 })
  check.close(best.y, 1, { rtol = 1e-9 })
  local least = ml.plot.lines { x = x, y = y, optimum = "min" }.panels[1].marks[1].optimum
  check.equal(least.x, x[5])
  local lost = ml.plot.lines { y = { 3, 2, 1 }, optimum = "parabola", label = "a" }
  check.equal(lost:remarks(), { "a: optimum not bracketed" })
end

function T.test_diverged_points_stand_at_the_edge()
  local fig = ml.plot.lines { x = { 1, 2, 3 }, y = { 1, 0 / 0, 1 / 0 }, diverged = true }
  local root = parse(fig)
  local triangles = shapes(root, "polygon", "fill", "#ffffff")
  check.equal(#triangles, 2)
  local words = words_of(root)
  for i, e in ipairs(triangles) do -- the tip is above its x
    check.close(points_of(e)[1][1], words[("%d.0"):format(i + 1)][1], { atol = 0.02 })
  end
  check.is_true(words.diverged ~= nil)
  local _, count = fig:text():gsub("△", "")
  check.equal(count, 3) -- and its meaning below
end

function T.test_envelope() -- analytic: the lesser of two crossing lines
  local x = list(11, function(i) return i - 1 end)
  local fig = ml.plot.lines { envelope = "min", series = {
    { x = x, y = list(11, function(i) return i - 1 end) },
    { x = x, y = list(11, function(i) return 11 - i end) } } }
  local m = fig.panels[1].marks[3]
  for i = 1, #m.x do check.close(m.y[i], math.min(m.x[i], 10 - m.x[i]), { atol = 1e-12 }) end
  check.is_true(#m.x > 100)
end

function T.test_histogram_counts() -- analytic
  local fig = ml.plot.histogram { x = { 0, 0.5, 1, 1.5, 2, 0 / 0, 9 }, bins = { 0, 1, 2 } }
  check.equal(fig.panels[1].marks[1].counts, { 2.0, 3.0 })
  check.equal(fig:remarks(), { "series 1: 1 values that are not finite left out",
    "series 1: 1 values outside the bins" })
  local rects = shapes(parse(fig), "rect", "fill", colour.mix("#ffffff", "#0072B2", 0.75))
  check.equal(#rects, 2)
  check.close(tonumber(rects[1].attributes.height) / tonumber(rects[2].attributes.height), 2 / 3,
    { rtol = 1e-3 })
  local density = ml.plot.histogram { x = ml.rng(1):normal { 1000 }, density = true }
  local m, area = density.panels[1].marks[1], 0
  for k, c in ipairs(m.counts) do area = area + c * (m.edges[k + 1] - m.edges[k]) end
  check.close(area, 1, { rtol = 1e-9 })
  check.equal(ml.plot.histogram { x = { -1, 1, 10 }, log = "x", bins = 2 }:remarks(),
    { "series 1: 1 values not > 0 left out of the logarithmic axis" })
  for _, x in ipairs { {}, { 3 }, { 0 / 0 }, { 5, 5, 5 } } do
    parse(ml.plot.histogram { x = x })
  end
end

function T.test_cells_have_their_colours() -- analytic
  local fig = ml.plot.heatmap { z = { { 0, 1 }, { 2, 0 / 0 } }, x = { 10, 20 }, y = { 1, 2 } }
  local root = parse(fig)
  local function cell(paint)
    local found = xml.all(root, "rect", function(e)
      return e.attributes.fill == paint and tonumber(e.attributes.width) > 50
    end)
    check.equal(#found, 1)
    return tonumber(found[1].attributes.x), tonumber(found[1].attributes.y)
  end
  local x0, y0 = cell(colour.at("sequential", 0))
  local x1, y1 = cell(colour.at("sequential", 0.5))
  local x2, y2 = cell(colour.at("sequential", 1))
  local x3, y3 = cell("#e6e6e6")
  check.is_true(x0 == x2 and x1 == x3 and y0 == y1 and y2 == y3 and x1 > x0 and y2 < y0)
  check.equal(fig:remarks(), { "1 cell without a colour (not finite)" })
  local upper = parse(ml.plot.heatmap { z = { { 0 }, { 2 } }, origin = "upper" })
  local first = shapes(upper, "rect", "fill", colour.at("sequential", 0))
  check.is_true(tonumber(first[1].attributes.y) < 60)
  local big = ml.plot.heatmap { z = ml.ones { 600, 300 } }
  check.equal(big:remarks(), { "600 x 300 cells, drawn as means of blocks of 3 x 2" })
end

function T.test_confusion_is_read_by_rows()
  local fig = ml.plot.confusion { counts = { { 3, 1 }, { 0, 4 } }, names = { "cat", "dog" },
    normalize = true }
  local words = words_of(parse(fig))
  check.is_true(words["0.75"] ~= nil and words["0.25"] ~= nil)
  check.is_true(words["0.75"][2] < words["1.00"][2]) -- cat above dog
  check.is_true(words["0.75"][1] < words["0.25"][1]) -- predicted cat left of predicted dog
  check.is_true(fig:text():find("0.75", 1, true) ~= nil)
end

function T.test_phase_regions_meet_where_they_should() -- analytic: the border is x = 0.3
  local fig = ml.plot.phase { xlim = { 0, 1 }, ylim = { 0, 1 },
    region = function(x) return x < 0.3 and "left" or "right" end }
  local root = parse(fig)
  local frame = shapes(root, "rect", "stroke", "#777777")[1].attributes
  local left, width = tonumber(frame.x), tonumber(frame.width)
  local polygons = xml.all(root, "polygon")
  check.equal(#polygons, 2)
  for _, p in ipairs(points_of(polygons[1])) do
    check.is_true(math.abs(p[1] - left) < 0.1 or math.abs(p[1] - left - 0.3 * width) < 0.1)
  end
  local words = words_of(root)
  check.is_true(words.left[1] < left + 0.3 * width and words.right[1] > left + 0.3 * width)
  -- rows of names: the first row is the lowest
  local rows = words_of(parse(ml.plot.phase { x = { 0, 1 }, y = { 0, 1 },
    region = { { "low", "low" }, { "high", "high" } } }))
  check.is_true(rows.low[2] > rows.high[2])
end

function T.test_a_plane_without_a_region_at_its_edge() -- every polygon is there
  local fig = ml.plot.phase { xlim = { 0, 1 }, ylim = { 0, 1 },
    region = function(x, y)
      if x > 0 and y > 0 then return x < 0.5 and "left" or "right" end
    end }
  check.equal(#xml.all(parse(fig), "polygon"), 2)
end

function T.test_spectrum_sorts() -- analytic
  local fig = ml.plot.spectrum { values = { 1, 100, -3, 10, 0 }, slopes = { -1 } }
  local m = fig.panels[1].marks[1]
  check.equal(m.y, { 100.0, 10.0, 1.0, 0.0, -3.0 })
  check.equal(fig:remarks(), { "series 1: 2 points not > 0 left out of the logarithmic axes" })
  local slope = fig.panels[1].marks[2]
  check.close(math.log(slope.y[2] / slope.y[1]) / math.log(slope.x[2] / slope.x[1]), -1,
    { rtol = 1e-9 })
end

function T.test_shared_axes()
  local figs = { columns = 2, share = "xy" }
  for k = 1, 2 do figs[k] = ml.plot.lines { x = { 0, 10 * k }, y = { 0, k } } end
  local fig = ml.plot.grid(figs)
  local lines = xml.all(parse(fig), "polyline")
  local a, b = points_of(lines[1]), points_of(lines[2])
  check.close(a[2][1] - a[1][1], (b[2][1] - b[1][1]) / 2, { atol = 0.1 })
  check.close(a[2][2] - a[1][2], (b[2][2] - b[1][2]) / 2, { atol = 0.1 })
  check.raises("another kind of x axis", ml.plot.grid, { figs[1],
    ml.plot.lines { x = { 1, 2 }, y = { 1, 2 }, log = "x" }, share = "x" })
end

function T.test_ten_million_points() -- the spike stays, and the figure says what was done
  local n = 10000000
  local y = ml.zeros({ n }, { dtype = "f32" })
  y[1234567] = 5
  local fig = ml.plot.lines { y = y, label = "spike" }
  check.equal(#fig:remarks(), 1)
  check.is_true(fig:remarks()[1]:find("spike: 10000000 points, drawn as", 1, true) ~= nil)
  local svg = fig:svg()
  check.is_true(#svg < 400000)
  local highest = math.huge
  for _, e in ipairs(xml.all(xml.parse(svg), "polyline")) do
    for _, p in ipairs(points_of(e)) do highest = math.min(highest, p[2]) end
  end
  check.is_true(highest < 40)
  check.is_true(fig:text():find("10000000 points", 1, true) ~= nil)
  local cloud = ml.plot.scatter { x = ml.rng(1):normal { 100000 }, y = ml.rng(2):normal { 100000 } }
  check.is_true(cloud:remarks()[1]:find("one in each of 240 x 180 cells", 1, true) ~= nil)
  local back = ml.plot.lines { x = ml.rng(1):normal { 100000 }, y = ml.rng(2):normal { 100000 } }
  check.is_true(back:remarks()[1]:find("one in each of", 1, true) ~= nil)
end

function T.test_png_and_missing_program()
  local fig = ml.plot.lines { y = { 1, 2 } }
  check.in_folder(function(dir)
    if os.execute "command -v rsvg-convert >/dev/null 2>&1" then
      fig:save(dir .. "/a.png")
      fig:png(dir .. "/dark", { theme = "dark", scale = 1 })
      for _, name in ipairs { "/a.png", "/dark" } do
        local file = assert(io.open(dir .. name, "rb"))
        check.equal(file:read(8), "\137PNG\r\n\26\n")
        file:close()
      end
    end
    -- without the program it says what to install, and leaves nothing behind
    local program = require "program"
    program.write(dir .. "/b.lua", [[
      local ml = require "moonlab"
      print(pcall(function() ml.plot.lines{ y = {1, 2} }:png(arg[1]) end))
    ]])
    local pipe = io.popen(("PATH=/nonexistent %s %s/b.lua %s/b.png 2>&1"):format(program.word, dir,
      dir))
    program.has(pipe:read "a", "no program rsvg-convert")
    pipe:close()
    local left = 0
    for name in require("lfs").dir(dir) do
      if name:find "part" or name == "b.png" then left = left + 1 end
    end
    check.equal(left, 0)
  end)
end

function T.test_errors()
  local function raises(words, kind, o) check.raises(words, ml.plot[kind], o) end
  raises("option 'base' is 3, wanted 2, 10", "lines", { y = { 1 }, base = 3 })
  raises("option 'xlim' is { 2, 1 }", "lines", { y = { 1 }, xlim = { 2, 1 } })
  raises("option 'ylim' has the end -1, wanted a finite number > 0", "lines",
    { y = { 1 }, log = "y", ylim = { -1, 1 } })
  raises("reference 1 has neither x nor y", "lines", { y = { 1 }, references = { {} } })
  raises("reference 1 is at -1", "lines", { y = { 1 }, log = "y", references = { { y = -1 } } })
  raises("both series and y", "lines", { y = { 1 }, series = {} })
  raises("series 1 has 2 y and 1 yerr", "lines", { y = { 1, 2 }, yerr = { 1 } })
  raises("low alone", "lines", { y = { 1 }, low = { 1 } })
  raises("option 'colour' is \"red\"", "lines", { y = { 1 }, colour = "red" })
  raises("option 'optimum' is \"least\"", "lines", { y = { 1 }, optimum = "least" })
  raises("1 of 2 series have a value", "lines", { sequential = true,
    series = { { y = { 1 }, value = 1 }, { y = { 1 } } } })
  raises("f64 [2x2], wanted a list of numbers or a tensor [n]", "lines", { y = ml.ones { 2, 2 } })
  raises("y of series 1 is nil", "scatter", {})
  raises("values of series 1 is nil", "spectrum", {})
  raises("x of series 1 is nil", "histogram", {})
  raises("z is nil, wanted rows", "heatmap", {})
  raises("row 2 of z has 1 entries, row 1 has 2", "heatmap", { z = { { 1, 2 }, { 1 } } })
  raises("z[1][2] is \"a\"", "heatmap", { z = { { 1, "a" } } })
  raises("x has 3 entries for 1 cells", "heatmap", { z = { { 1 } }, x = { 1, 2, 3 } })
  raises("\"viridis\", wanted \"sequential\"", "heatmap", { z = { { 1 } }, cmap = "viridis" })
  raises("2 rows and 1 columns, wanted a square", "confusion", { counts = { { 1 }, { 2 } } })
  raises("counts[1][1] is -1", "confusion", { counts = { { -1 } } })
  raises("option 'xlim' is missing", "phase", { region = function() end })
  raises("option 'region' is nil", "phase", {})
  raises("more than 24 names", "phase", { xlim = { 0, 1 }, ylim = { 0, 1 },
    region = function(x) return x end })
  raises("value 1 is 3, wanted a figure", "grid", { 3 })
  raises("no figures", "grid", {})
  raises("edge 2 of bins", "histogram", { x = { 1 }, bins = { 1, 1 } })
  raises("unknown option 'titel'", "heatmap", { z = { { 1 } }, titel = "a" })
end

return T
