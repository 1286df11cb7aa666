-- Figures of all kinds drawn at random, at random sizes: their texts stay apart from each other,
-- off the rings of optima and inside the picture, and none is left out of a figure of common size.
local ml = require "moonlab"
local check = require "check"
local random_figures = require "random_figures"
local shapes = require "shapes"
local T = {}

local function overlap(a, b)
  -- half a pixel: positions are written with two digits
  return a[1] + 0.5 < b[3] and b[1] + 0.5 < a[3] and a[2] + 0.5 < b[4] and b[2] + 0.5 < a[4]
end

-- What is wrong with a document, or nil. tiny: texts may have to lie on rings.
local function defect(svg, width, height, tiny)
  local texts, rings, legends = shapes.read(svg)
  for i, a in ipairs(texts) do
    if a[1] < -0.5 or a[2] < -0.5 or a[3] > width + 0.5 or a[4] > height + 0.5 then
      return ("'%s' leaves the picture: %.1f %.1f %.1f %.1f"):format(a.words, table.unpack(a, 1, 4))
    end
    for k = i + 1, #texts do
      if overlap(a, texts[k]) then
        return ("'%s' and '%s' overlap"):format(a.words, texts[k].words)
      end
    end
    for _, ring in ipairs(tiny and {} or rings) do
      if overlap(a, ring) then
        return ("'%s' lies on the ring at %.1f, %.1f"):format(a.words, ring[1] + 5.5, ring[2] + 5.5)
      end
    end
    for _, l in ipairs(legends) do
      local inside = a[1] >= l[1] and a[2] >= l[2] and a[3] <= l[3] and a[4] <= l[4]
      if overlap(a, l) and not inside then
        return ("'%s' lies across the legend"):format(a.words)
      end
    end
  end
end

function T.test_the_test_sees_defects()
  local function drawn(inside) return "<svg>" .. inside .. "</svg>" end
  local word = '<text x="10" y="20" font-size="12">abc</text>'
  check.is_nil(defect(drawn(word), 100, 100))
  for wrong, inside in pairs {
    ["'abc' and 'def' overlap"] = '<text x="12" y="22" font-size="12">def</text>',
    ["'de' leaves the picture"] = '<text x="90" y="50" font-size="12">de</text>',
    ["'abc' lies on the ring"] = '<circle cx="12" cy="16" r="5.5" stroke="#000000"/>',
    ["'abc' lies across the legend"] = '<rect x="15" y="5" width="50" height="40" fill="#ffffff"'
      .. ' stroke="#eeeeee"/>',
  } do
    check.is_true((defect(drawn(word .. inside), 100, 100) or ""):find(wrong, 1, true) ~= nil)
  end
end

function T.test_random_figures() -- property
  local make = random_figures(11)
  local g = ml.rng(12)
  for i = 1, 150 do
    local kind, fig = make()
    local u = g:uniform { 2 }
    for _, size in ipairs { { 640, 400 }, { 320, 240 },
      { math.floor(160 + 1200 * u[1] ^ 2), math.floor(120 + 800 * u[2] ^ 2) } } do
      local svg = fig:svg { width = size[1], height = size[2] }
      local rows = math.ceil(#fig.panels / fig.columns)
      local wrong = defect(svg, size[1], size[2], size[2] / rows < 180)
      if not wrong and size[1] == 640 and kind ~= "grid" then
        wrong = svg:match "%d+ labels left"
      end
      if wrong then
        check.fail(("figure %d, %s, %dx%d: %s"):format(i, kind, size[1], size[2], wrong))
      end
    end
    for _, columns in ipairs { 30, 80, 120 } do
      for line in fig:text(columns, 14):gmatch "[^\n]*" do
        check.is_true(utf8.len(line) <= columns)
      end
    end
  end
end

local function words_of(fig, o)
  local texts = shapes.read(fig:svg(o))
  local list, where = {}, {}
  for i, t in ipairs(texts) do list[i], where[t.words] = t.words, t end
  return table.concat(list, "|"), where, texts
end

function T.test_names_of_reference_lines_stand_at_the_lines()
  local fig = ml.plot.lines { x = { 1, 2, 3 }, y = { 0, 1, 0 }, references = {
    { y = 0.2, label = "low" }, { y = 0.8, label = "high" }, { x = 2.5, label = "then" } } }
  local _, at = words_of(fig)
  check.is_true(at.high[2] < at.low[2] and at["then"][2] < at.high[2])
  check.is_nil(fig:svg():find 'fill="#ffffff" stroke="#e6e6e6"') -- no legend is needed
  local wave = {}
  for i = 1, 40 do wave[i] = math.sin(i) end
  -- the curve is everywhere: a legend, in which dashes tell the lines apart
  local crowded = ml.plot.lines { series = { { y = wave, label = "wave" }, { x = { 1, 20 },
    y = { 1, -1 }, label = "short" } }, references = { { y = 0.2, label = "low of them" },
    { y = 0.3, label = "high of them" } } }
  local _, seen = words_of(crowded)
  check.is_true(seen["low of them"] ~= nil and seen["high of them"] ~= nil)
  local dashes, count = {}, 0
  for dash in crowded:svg():gmatch 'stroke%-dasharray="([%d. ]+)"' do
    if not dashes[dash] then dashes[dash], count = true, count + 1 end
  end
  check.equal(count, 2)
end

function T.test_names_at_the_ends_keep_off_rings()
  local y = {}
  for i = 1, 40 do y[i] = 1 / i end
  local fig = ml.plot.lines { y = y, label = "down", optimum = "min" }
  local _, at = words_of(fig)
  local ring = select(2, shapes.read(fig:svg()))[1]
  check.is_true(at.down[1] > ring[3] + 2)
end

function T.test_a_family_may_have_one_of_another_colour()
  local fig = ml.plot.lines { sequential = true, zlabel = "size", series = {
    { y = { 1, 2 }, value = 1 }, { y = { 2, 3 }, value = 2 },
    { y = { 3, 4 }, colour = "#000000", label = "front" } } }
  local _, at = words_of(fig)
  check.is_true(at.front ~= nil and at.size ~= nil)
  check.raises("1 of 2 series have a value", ml.plot.lines, { sequential = true,
    series = { { y = { 1 }, value = 1 }, { y = { 1 } } } })
end

function T.test_cut_names_stay_different()
  local names, counts = {}, {}
  for i = 1, 10 do
    names[i], counts[i] = ("class with a long name %d"):format(i), {}
    for k = 1, 10 do counts[i][k] = k end
  end
  local _, _, texts = words_of(ml.plot.confusion { names = names, counts = counts },
    { width = 320, height = 240 })
  local seen = {}
  for _, t in ipairs(texts) do
    if t.words:find "…" then seen[t.words] = (seen[t.words] or 0) + 1 end
  end
  for _, n in pairs(seen) do check.is_true(n <= 2) end -- a row and a column
  check.is_true(next(seen) ~= nil)
end

function T.test_counted_axes_have_whole_ticks()
  for _, fig in ipairs { ml.plot.lines { y = { 5, 6 } }, ml.plot.heatmap { z = { { 1 }, { 2 } } },
    ml.plot.lines { y = { 3 } } } do
    local _, _, texts = words_of(fig)
    local axis = {}
    for _, t in ipairs(texts) do
      if t[2] > 370 then axis[#axis + 1] = t.words end -- below the frame
    end
    check.is_true(#axis >= 1)
    for _, word in ipairs(axis) do check.is_true(math.type(tonumber(word)) == "integer", word) end
  end
end

function T.test_numbers_as_one_would_write_them()
  local words = words_of(ml.plot.scatter { log = "xy", x = { 1, 2, 4, 8 }, y = { 8, 4, 2, 1 },
    fit = true })
  check.is_true(words:find "exponent −1 ± %de%-%d+" ~= nil or words:find "exponent −1$" ~= nil)
  words = words_of(ml.plot.heatmap { z = { { 1834.4, 0.06911 }, { 2.5e7, -12345 } },
    values = true })
  for _, word in ipairs { "1834", "0.0691", "2.5e7", "−12345" } do
    check.is_true(words:find(word, 1, true) ~= nil, word)
  end
end

return T
