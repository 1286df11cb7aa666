-- Bars: what is shown, how often, nested, on a terminal and elsewhere.
local check = require "check"
local display = require "moonlab.progress.display"
local progress = require "moonlab.progress"
local T = {}

-- f(clock) with the display's own clock and output; returns what was written.
local function shown(terminal, f)
  local before = {}
  for _, key in ipairs { "terminal", "clock", "write", "quiet", "columns" } do
    before[key] = display[key]
  end
  local written, now = {}, { 0 }
  display.terminal, display.quiet, display.columns = terminal, false, 100
  display.clock = function() return now[1] end
  display.write = function(text) written[#written + 1] = text end
  local ok, why = pcall(f, now)
  display.reset()
  for key, value in pairs(before) do display[key] = value end
  if not ok then error(why, 0) end
  return table.concat(written), written
end

function T.test_plain_lines_now_and_then()
  local text = shown(false, function(now)
    local bar = progress.bar(100, "work", { every = 10 })
    for i = 1, 100 do
      now[1] = i
      bar:update(i, "loss 2")
    end
    bar:finish()
  end)
  local lines = {}
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
  check.equal(#lines, 10) -- at 11, 21, ... 91 seconds and at the end
  check.equal(lines[1], "work  11%  11/100  loss 2  1/s  1m29s left")
  check.equal(lines[10], "work 100%  100/100  loss 2  1m40s")
  check.is_nil(text:find("\27", 1, true))
end

function T.test_a_terminal_is_redrawn_ten_times_a_second_at_most()
  local _, written = shown(true, function(now)
    local bar = progress.bar(1000, "work")
    for i = 1, 1000 do
      now[1] = i / 1000
      bar:update(i)
    end
    bar:finish()
  end)
  check.is_true(#written >= 8 and #written <= 12)
  check.is_true(written[5]:find("%[#+%.+%]") ~= nil)
end

-- Eighty columns are what most terminals have: the time left must be among what is seen.
function T.test_a_narrow_terminal_sees_the_time_left()
  local _, written = shown(true, function(now)
    display.columns = 80
    local bar = progress.bar(950, "training")
    now[1] = 50
    bar:update(400, "2.500 bits/byte  17k tokens/s  66% of peak  held out 2.543 bits/byte")
    check.equal(bar:line(), "training  42%  [######..........]  400/950  2.500 bits/byte  "
      .. "17k tokens/s  66% of peak  held out 2.543 bits/byte  8/s  1m09s left")
    check.equal(bar:line(9), "training  42%  400/950  1m09s left")
    bar:finish()
  end)
  check.equal(written[1]:match "[^\r]+$",
    "training  42%  400/950  2.500 bits/byte  17k tokens/s  66% of peak  1m09s left")
  for _, text in ipairs(written) do
    for line in text:gsub("\27%[K", ""):gmatch "[^\r\n]+" do check.is_true(#line < 80) end
  end
end

function T.test_nested_bars_stand_below_each_other()
  local text, written = shown(true, function(now)
    local outer = progress.bar(2, "outer")
    outer:update(1)
    local inner = progress.bar(10, "inner")
    now[1] = 5
    inner:update(5)
    inner:finish()
    outer:finish()
  end)
  check.is_true(written[2]:find("outer  50%%.*\n  inner  50%%") ~= nil)
  check.equal(written[3]:sub(1, 11), "\r\27[K\27[1A\27[K") -- both lines are taken back
  check.is_true(text:find("inner.*outer[^\n]*\n$") ~= nil) -- the outer one stays
end

function T.test_rate_is_that_of_the_last_half_minute()
  shown(false, function(now)
    local bar = progress.bar(10000, "work", { skipped = 100 })
    for i = 1, 100 do -- slow at first: what was skipped does not count
      now[1] = i
      bar:update(100 + i)
    end
    check.close(bar:rate(), 1, { rtol = 0.05 })
    for i = 1, 60 do
      now[1] = 100 + i
      bar:update(200 + 10 * i)
    end
    check.close(bar:rate(), 10, { rtol = 0.05 })
  end)
end

function T.test_a_loop_that_is_left_early_ends_its_bar()
  shown(true, function()
    for i in progress(10, "loop") do
      if i == 3 then break end
    end
    check.equal(#display.bars, 0)
    pcall(function()
      for _ in progress(10, "loop") do error "out" end
    end)
    check.equal(#display.bars, 0)
    local count = 0
    for i in progress(0, "none") do count = count + i end
    check.equal(count, 0)
  end)
end

function T.test_quiet_shows_nothing()
  check.equal((shown(true, function(now)
    local bar = progress.bar(10, "work", { quiet = true })
    now[1] = 50
    bar:step()
    bar:finish()
  end)), "")
end

function T.test_bad_arguments()
  check.raises("wanted an integer >= 0", progress, -1)
  check.raises("bad argument #1 to 'ml.progress.bar'", progress.bar, "x")
  check.raises("did you mean 'every'", progress.bar, 3, "x", { evry = 3 })
end

return T
