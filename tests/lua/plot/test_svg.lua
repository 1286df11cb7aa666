-- What every figure must be, whatever it shows: well-formed, its texts apart from each other and
-- inside the picture, in every theme and size.
local ml = require "moonlab"
local check = require "check"
local xml = require "xml"
local figures = require "figures"
local shapes = require "shapes"
local T = {}

local function check_layout(name, root, width, height)
  local boxes = shapes.read(root)
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
