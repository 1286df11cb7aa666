-- What every figure must be, whatever it shows: well-formed, its texts apart from each other and
-- inside the picture, in every theme and size.
local ml = require "moonlab"
local check = require "check"
local xml = require "xml"
local text = require "moonlab.plot.text"
local T = {}

local function list(n, f)
  local t = {}
  for i = 1, n do t[i] = f(i) end
  return t
end

local long = ("words & <b>\"quoted\" 'too' "):rep(9)

-- name -> figure: every kind, and inputs that are hard to lay out.
local function figures()
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

-- Boxes of the texts of a document, { left, top, right, bottom, words }.
local function boxes_of(root)
  local boxes = {}
  for _, e in ipairs(xml.all(root, "text")) do
    local a = e.attributes
    local size = tonumber(a["font-size"])
    local words = e.text
    if e[1] then -- an exponent
      local raised = e[1].text
      words = { words:sub(1, #words - #raised), { raised = raised } }
    end
    local l, t, r, b = text.box(words, tonumber(a.x), tonumber(a.y), size, a["text-anchor"],
      a.transform ~= nil, a["font-weight"])
    boxes[#boxes + 1] = { l, t, r, b, words = e.text }
  end
  return boxes
end

local function check_layout(name, root, width, height)
  local boxes = boxes_of(root)
  for i, a in ipairs(boxes) do
    if a[1] < -0.5 or a[2] < -0.5 or a[3] > width + 0.5 or a[4] > height + 0.5 then
      check.fail(("%s, %dx%d: '%s' leaves the picture: %.1f %.1f %.1f %.1f"):format(name, width,
        height, a.words, table.unpack(a, 1, 4)))
    end
    for k = i + 1, #boxes do
      local b = boxes[k]
      -- half a pixel: positions are written with two digits
      if a[1] + 0.5 < b[3] and b[1] + 0.5 < a[3] and a[2] + 0.5 < b[4] and b[2] + 0.5 < a[4] then
        check.fail(("%s, %dx%d: '%s' and '%s' overlap"):format(name, width, height, a.words,
          b.words))
      end
    end
  end
end

function T.test_texts_never_overlap() -- property
  for name, fig in ml.sorted(figures()) do
    for _, size in ipairs { { 640, 400 }, { 320, 220 }, { 160, 120 }, { 240, 400 }, { 900, 200 },
      { 1200, 800 } } do
      local root = xml.parse(fig:svg { width = size[1], height = size[2] })
      check.equal(root.tag, "svg")
      check_layout(name, root, size[1], size[2])
      -- and none had to be left out for it where a paper or a screen would show the figure
      if size[1] >= 640 and size[2] >= 400 then
        for _, e in ipairs(xml.all(root, "desc")) do
          check.is_nil(e.text:find "left out for want")
        end
      end
    end
  end
end

function T.test_the_test_sees_an_overlap()
  local svg = '<svg><text x="10" y="10" font-size="12">abc</text>'
    .. '<text x="12" y="12" font-size="12">def</text></svg>'
  check.raises("overlap", check_layout, "two", xml.parse(svg), 100, 100)
end

function T.test_themes()
  for name, fig in ml.sorted(figures()) do
    local light, dark = fig:svg { theme = "light" }, fig:svg { theme = "dark" }
    local auto = fig:svg { theme = "auto" }
    for _, svg in ipairs { light, dark, auto } do xml.parse(svg) end
    check.is_true(light:find('fill="#ffffff"', 1, true) ~= nil)
    check.is_true(dark:find('fill="#16181c"', 1, true) ~= nil)
    check.is_nil(light:find("<style>", 1, true))
    check.is_true(auto:find("prefers-color-scheme:dark", 1, true) ~= nil, name)
    -- auto without its style and classes is the light one
    check.equal((auto:gsub("<style>.-</style>\n", ""):gsub(' class="[^"]*"', "")), light)
  end
end

function T.test_nothing_from_outside()
  for _, fig in ml.sorted(figures()) do
    local svg = fig:svg { theme = "auto" }
    for _, word in ipairs { "href", "url(", "<script", "<image", " id=" } do
      check.is_nil(svg:find(word, 1, true))
    end
    check.is_nil(svg:gsub('xmlns="http://www.w3.org/2000/svg"', ""):find("http", 1, true))
  end
end

function T.test_hostile_words()
  local word = "</text><script>alert(1)</script>]]>&\"'\0\27[31m\u{202E}\xff"
  local fig = ml.plot.lines { title = word, xlabel = word, label = word, y = { 1, 2 },
    references = { { y = 1, label = word } }, notes = { { x = 1, y = 1.5, text = word } } }
  local root = xml.parse(fig:svg { theme = "auto" })
  check.equal(#xml.all(root, "script"), 0)
  check.is_nil(fig:text():find "[\0\27\xff]")
  xml.parse(ml.plot.heatmap { z = { { 1 } }, xnames = { word }, ynames = { word },
    zlabel = word }:svg())
  xml.parse(ml.plot.phase { x = { 1, 2 }, y = { 1 }, region = { { word, "b" } } }:svg())
end

function T.test_colours_can_be_seen() -- property: contrast of text at least 4.5, of lines 2 and 4
  local colour = require "moonlab.plot.colour"
  for _, name in ipairs(colour.series) do
    check.is_true(colour.contrast(colour.legible(name, "#ffffff", 4.5), "#ffffff") >= 4.5)
    check.is_true(colour.contrast(colour.legible(name, "#16181c", 4), "#16181c") >= 4)
  end
end

function T.test_the_colour_map_is_even() -- property: lightness rises in equal steps
  local colour = require "moonlab.plot.colour"
  local function lightness(hex) -- L of OKLab
    local function linear(v) return v <= 0.04045 and v / 12.92 or ((v + 0.055) / 1.055) ^ 2.4 end
    local r, g, b = colour.parse(hex)
    r, g, b = linear(r), linear(g), linear(b)
    local l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ^ (1 / 3)
    local m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ^ (1 / 3)
    local s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ^ (1 / 3)
    return 0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s
  end
  for k = 0, 20 do
    local t = k / 20
    -- 8 bits a channel, and the little that is cut off at the edge of sRGB
    check.close(lightness(colour.maps.sequential(t)), 0.27 + 0.65 * t, { atol = 0.01 })
    check.close(lightness(colour.maps.grey(t)), 0.97 - 0.72 * t, { atol = 0.01 })
  end
end

return T
