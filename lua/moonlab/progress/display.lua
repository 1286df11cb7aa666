--- The one display of a process: the lines of all live bars, renewed in place on a terminal, or one
--- plain line now and then elsewhere. On standard error.
local core = require "moonlab.core"

local io, os = io, os -- the prompt reports through here whatever its session did

local host = package.loaded["moonlab.host"]

local display = {
  bars = {},                -- live ones, the outermost first
  drawn = 0,                -- lines on the terminal
  shown = -math.huge,       -- when something was last shown
  quiet = false,
  terminal = host ~= nil and host.isatty(2) and os.getenv "TERM" ~= "dumb",
  clock = core.now,
  write = function(text)
    io.stdout:flush() -- what was printed before stands before, where both go to one file
    io.stderr:write(text)
  end,
}

--- Whether a stream (1 standard output, 2 standard error) shows colours; https://no-color.org
function display.colors(stream)
  return host ~= nil and host.isatty(stream) and os.getenv "TERM" ~= "dumb"
    and (os.getenv "NO_COLOR" or "") == ""
end

display.color = display.colors(1)

local function erase()
  if display.drawn == 0 then return "" end
  local up = ("\27[1A\27[K"):rep(display.drawn - 1)
  display.drawn = 0
  return "\r\27[K" .. up -- line by line: some terminals keep a screen that is erased at once
end

--- Takes the lines off the terminal, so that something else can be printed; the next update brings
--- them back.
function display.hide()
  if display.drawn > 0 then display.write(erase()) end
  display.shown = -math.huge
end

-- Columns of the terminal, asked for once: a line that wraps could not be taken back.
local function columns()
  if not display.columns then
    local pipe = io.popen "stty size 2>/dev/null </dev/tty"
    local answer = pipe and pipe:read "a" or ""
    if pipe then pipe:close() end
    display.columns = math.max(20, math.tointeger(tonumber(answer:match " (%d+)")) or 80)
  end
  return display.columns
end

--- Columns of the terminal that standard output goes to; nil when it goes elsewhere.
function display.width() return host ~= nil and host.isatty(1) and columns() or nil end

local function lines()
  local list = {}
  for depth, bar in ipairs(display.bars) do
    local indent = ("  "):rep(depth - 1)
    if display.terminal then
      local width = columns() - 1
      list[depth] = (indent .. bar:line(width - #indent)):sub(1, width)
    else
      list[depth] = indent .. bar:line()
    end
  end
  return list
end

local function draw()
  local list = lines()
  local text = erase() .. table.concat(list, "\n")
  display.drawn = #list
  display.write(text)
end

-- How long one bar waits for its turn: a tenth of a second on a terminal.
local function interval()
  if display.terminal then return 0.1 end
  local shortest = math.huge
  for _, bar in ipairs(display.bars) do shortest = math.min(shortest, bar.every) end
  return shortest
end

--- Called by a bar that has changed.
function display.changed()
  if display.quiet then return end
  local now = display.clock()
  if now - display.shown < interval() then return end
  if display.terminal then
    display.shown = now
    draw()
  elseif display.shown == -math.huge then -- nothing to tell yet
    display.shown = now
  else
    display.shown = now
    display.write(table.concat(lines(), "  |  "):gsub("  |    +", "  |  ") .. "\n")
  end
end

function display.add(bar)
  if #display.bars == 0 then display.shown = -math.huge end
  display.bars[#display.bars + 1] = bar
end

--- Takes a bar and those inside it away; the last state of an outermost one stays as a line.
function display.remove(bar)
  local at
  for i, live in ipairs(display.bars) do
    if live == bar then at = i end
  end
  if not at then return end
  local last = not display.quiet and bar.touched and at == 1
    and bar:line(display.terminal and columns() - 1 or nil) .. "\n"
  for i = #display.bars, at, -1 do display.bars[i] = nil end
  if display.quiet then return end
  if display.terminal then
    display.write(erase() .. (last or ""))
    if #display.bars > 0 then draw() end
  elseif last then
    display.write(last)
  end
end

--- Forgets all bars: an error has ended what they showed.
function display.reset()
  display.hide()
  display.bars = {}
end

return display
