-- The terminal back end: never wider than asked, whatever is shown; names stand where they belong.
local ml = require "moonlab"
local check = require "check"
local figures = require "figures"
local T = {}

function T.test_no_line_is_wider_than_the_terminal() -- property
  for name, fig in ml.sorted(figures()) do
    for _, columns in ipairs { 18, 30, 60, 72, 80, 120, 200 } do
      local plain = fig:text(columns, 14)
      for line in plain:gmatch "[^\n]*" do
        if utf8.len(line) > columns then
          check.fail(("%s in %d columns: %d in %q"):format(name, columns, utf8.len(line), line))
        end
      end
      check.is_nil(plain:find "\27")
      local colored = fig:text(columns, 14, { color = true }):gsub("\27%[[%d;]*m", "")
      check.is_nil(colored:find "\27")
      for line in colored:gmatch "[^\n]*" do check.is_true(utf8.len(line) <= columns) end
    end
  end
end

function T.test_names_stand_at_the_ends_from_the_top()
  local text = ml.plot.lines { series = { { y = { 1, 1 }, label = "low" },
    { y = { 1, 3 }, label = "high" } }, references = { { y = 2, label = "middle" } } }:text(60, 12)
  local high, middle, low = text:find " high\n", text:find " middle\n", text:find " low\n"
  check.is_true(high < middle and middle < low)
end

function T.test_without_room_curves_are_listed_by_their_ends()
  local series = {}
  for k = 1, 3 do
    series[k] = { y = { 1, k }, label = ("a name that is far too long %d"):format(k) }
  end
  local text = ml.plot.lines { series = series }:text(60, 12):gsub("%s+", " ")
  check.is_true(text:find("ends, from the top: a name that is far too long 3, a name", 1, true)
    ~= nil)
end

function T.test_dots_follow_the_curve() -- analytic: a rising diagonal
  local rows = {}
  for line in ml.plot.lines({ x = { 0, 1 }, y = { 0, 1 }, ylim = { 0, 1 } }):text(40, 12)
    :gmatch "[^\n]+" do
    local inside = line:match "│(.*)$"
    if inside then rows[#rows + 1] = inside:find "[^ ]" end
  end
  for i = 2, #rows do check.is_true(rows[i] < rows[i - 1]) end
  check.is_true(#rows > 6 and rows[#rows] == 1)
end

function T.test_shades_of_a_map()
  local text = ml.plot.heatmap { z = { { 0, 1 } } }:text(40, 8)
  local left, right = text:match "│( +)([^ \n]+)\n"
  check.is_true(math.abs(#left - utf8.len(right)) <= 1)
  check.equal(right, ("█"):rep(utf8.len(right)))
  check.is_true(text:find("0 ░▒▓█ 1", 1, true) ~= nil)
end

function T.test_upright_reference_lines_are_named_at_the_line()
  local text = ml.plot.lines { y = { 1, 2, 3, 4 }, label = "curve", references = {
    { x = 2, label = "switch" }, { y = 2.5, label = "level" } } }:text(60, 12)
  check.is_true(text:find("⠃ switch", 1, true) ~= nil)
  check.is_true(text:find(" level\n", 1, true) ~= nil and text:find(" curve\n", 1, true) ~= nil)
end

function T.test_signs_are_explained()
  local text = ml.plot.lines { x = { 1, 2, 3, 4 }, y = { 3, 1, 2, 0 / 0 }, optimum = "min",
    diverged = true }:text(60, 12)
  check.is_true(text:find("△ diverged ◎ optimum", 1, true) ~= nil)
  check.is_nil(ml.plot.lines({ y = { 3, 1, 2 } }):text(60, 12):find "diverged")
end

function T.test_outlines_of_histograms_are_closed()
  local text = ml.plot.histogram { bins = { 0, 1, 2 }, series = { { x = { 0.5, 0.5, 0.5, 1.5 } },
    { x = { 1.5 } } } }:text(40, 14)
  local upright = 0 -- rows with the step between the two bins
  for line in text:gmatch "[^\n]+" do
    if line:find "⡇" or line:find "⢸" then upright = upright + 1 end
  end
  check.is_true(upright >= 4)
end

function T.test_bands_are_seen()
  local o = { y = { 5, 5, 5 }, ylim = { 0, 10 } }
  local plain = ml.plot.lines(o):text(40, 12)
  o.yerr = { 3, 3, 3 }
  local band = ml.plot.lines(o):text(40, 12)
  check.is_true(plain ~= band)
  local rows = 0
  for line in band:gmatch "[^\n]+" do
    if line:match "│.*[^ ]" and line:find "│" then
      rows = rows + (line:match("│(.*)$"):find "[^ ]" and 1 or 0)
    end
  end
  check.is_true(rows == 3)
end

function T.test_cut_names_stay_different()
  local text = ml.plot.heatmap { z = { { 1, 2 }, { 3, 4 } }, xnames = { "a b", "c d" }, ynames = {
    "one and the same beginning, first", "one and the same beginning, second" } }:text(60, 8)
  check.is_true(text:find(" first", 1, true) ~= nil and text:find("second", 1, true) ~= nil)
end

return T
