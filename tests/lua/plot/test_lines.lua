-- Curves: what the SVG holds, and inputs that have nothing to draw.
local ml = require "moonlab"
local check = require "check"
local T = {}

function T.test_categories_are_written_at_their_points()
  local text = ml.plot.scatter({ x = { 1, 5, 3 }, y = { 1, 2, 3 }, ynames = { "low", "middle",
    "high" } }):text(40, 12)
  local at = {}
  for line in text:gmatch "[^\n]+" do
    local name, dots = line:match "^%s*(%a+) │(.*)$"
    if name and at[name] == nil then at[name] = #dots:match "^%s*" end
  end
  check.is_true(at.low < at.high and at.high < at.middle)
  local svg = ml.plot.lines({ y = { 1, 2 }, xnames = { "one", "two" } }):svg()
  check.is_true(svg:find ">one<" ~= nil and svg:find ">two<" ~= nil)
end

function T.test_points_land_where_the_axes_say() -- analytic: a log-log power law is a straight line
  local x, y = {}, {}
  for i = 1, 20 do
    x[i] = 2 ^ i
    y[i] = x[i] ^ -1.5
  end
  local svg = ml.plot.lines({ x = x, y = y, log = "xy" }):svg()
  local px, py = {}, {}
  for a, b in svg:match('polyline points="([^"]*)"'):gmatch("([%d.]+),([%d.]+)") do
    px[#px + 1], py[#py + 1] = tonumber(a), tonumber(b)
  end
  check.equal(#px, 20)
  local slope = (py[20] - py[1]) / (px[20] - px[1])
  for i = 2, 20 do check.close(py[i] - py[1], slope * (px[i] - px[1]), { atol = 0.11 }) end
end

function T.test_labels_are_escaped()
  local svg = ml.plot.lines({ title = "<script>&\"'", x = { 1, 2 }, y = { 1, 2 } }):svg()
  check.is_true(svg:find("&lt;script&gt;&amp;&quot;&#39;", 1, true) ~= nil)
  check.is_true(svg:find("<script>", 1, true) == nil)
end

function T.test_nothing_to_draw()
  for _, y in ipairs { {}, { 0 / 0 }, { 1 / 0, -1 / 0 } } do
    local fig = ml.plot.lines { y = y }
    check.is_true(fig:svg():find("no finite point", 1, true) ~= nil)
    check.is_true(fig:text():find("no finite point", 1, true) ~= nil)
  end
  check.is_true(ml.plot.lines({ y = { 3 } }):svg():find("<circle", 1, true) ~= nil)
  check.is_true(ml.plot.lines({ y = { 5, 5, 5 } }):svg():find("<polyline", 1, true) ~= nil)
end

function T.test_a_gap_at_nan() -- property
  local _, count = ml.plot.lines({ y = { 1, 2, 0 / 0, 3, 4 } }):svg():gsub("<polyline", "")
  check.equal(count, 2)
end

function T.test_thinning_keeps_the_spike() -- property
  local y = {}
  for i = 1, 20000 do y[i] = math.sin(i / 1000) end
  y[12345] = 10
  local svg = ml.plot.lines({ y = y }):svg()
  local highest = math.huge
  for points in svg:gmatch('points="([^"]*)"') do
    for b in points:gmatch(",([%d.]+)") do highest = math.min(highest, tonumber(b)) end
  end
  local _, n = svg:gsub(",%d", "")
  check.is_true(n < 8000)
  check.is_true(highest < 40) -- near the top of the frame
end

function T.test_the_terminal_stays_in_its_columns()
  local fig = ml.plot.lines { y = { 1, 5, 2, 8 }, title = "t", xlabel = "x" }
  for line in fig:text(60, 12):gmatch("[^\n]+") do
    check.is_true(utf8.len(line) <= 60)
  end
end

function T.test_file_and_errors()
  check.in_folder(function(dir)
    ml.plot.lines { y = { 1, 2 }, file = dir .. "/a.svg" }
    local file = assert(io.open(dir .. "/a.svg"))
    check.is_true(file:read("a"):find("^<svg") ~= nil)
    file:close()
  end)
  check.raises("did you mean 'title'", ml.plot.lines, { y = { 1 }, titel = "x" })
  check.raises("3 x and 2 y", ml.plot.lines, { x = { 1, 2, 3 }, y = { 1, 2 } })
  check.raises("option 'title' is 3, wanted a string", ml.plot.lines, { y = { 1 }, title = 3 })
  check.raises("option 'log' is 3, wanted", ml.plot.lines, { y = { 1 }, log = 3 })
  check.raises("y of series 1 is nil", ml.plot.lines, {})
  check.raises("series 1 is 3, wanted a table", ml.plot.lines, { series = { 3 } })
  check.raises("unknown option 'lable'; did you mean 'label'?", ml.plot.lines,
    { series = { { y = { 1 }, lable = "a" } } })
  check.raises("0, wanted an integer in 1..1000", function()
    return ml.plot.lines({ y = { 1 } }):text(0)
  end)
  check.raises("entry 2 of y of series 1 is \"a\"", ml.plot.lines, { y = { 1, "a" } })
  check.raises(".svg or .png", ml.plot.lines, { y = { 1 }, file = "/tmp/a.pdf" })
  check.raises("3 names", ml.plot.scatter, { x = { 1, 2 }, y = { 1, 4 },
    ynames = { "a", "b", "c" } })
  check.raises("limits", ml.plot.lines, { y = { 1, 2 }, xlim = { 1, 2 }, xnames = { "a", "b" } })
  check.raises("wanted a list of 1 names", ml.plot.lines, { y = { 1 }, xnames = {} })
  check.raises('"xz"', ml.plot.lines, { y = { 1 }, log = "xz" })
end

return T
