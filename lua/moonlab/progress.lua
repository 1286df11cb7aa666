--- Progress of long work: rate and time left, in lines that renew themselves on a terminal, plain
--- lines now and then elsewhere.
local display = require "moonlab.progress.display"
local options = require "moonlab.options"

local progress = {}

--- ml.progress.duration(seconds)
--- A duration in words: "42s", "3m05s", "2h10m".
--- @param seconds number >= 0
--- @return string
--- @source -
function progress.duration(seconds)
  if seconds ~= seconds or seconds == math.huge or seconds < 0 then return "?" end
  local whole = math.floor(seconds + 0.5)
  if whole < 60 then return ("%ds"):format(whole) end
  if whole < 3600 then return ("%dm%02ds"):format(whole // 60, whole % 60) end
  return ("%dh%02dm"):format(whole // 3600, whole % 3600 // 60)
end

--- ml.progress.quantity(x)
--- A number in few characters: "870", "12k", "4.56M".
--- @param x number >= 0
--- @return string
--- @source -
function progress.quantity(x)
  if x >= 1e9 then return ("%.2fG"):format(x / 1e9) end
  if x >= 1e6 then return ("%.2fM"):format(x / 1e6) end
  if x >= 1e4 then return ("%.0fk"):format(x / 1e3) end
  if x >= 1e3 then return ("%.1fk"):format(x / 1e3) end
  return ("%.3g"):format(x)
end

local Bar = {}
Bar.__index = Bar
Bar.__name = "ml.progress.bar"
Bar.__close = function(bar) bar:finish() end

--- ml.progress.bar(total, label, { every, quiet, skipped })
--- A bar for `total` units: bar:update(done, "loss 2.31") or bar:step(), then bar:finish(). Bars
--- made while others live stand indented below them. On a terminal the lines are redrawn at most
--- ten times a second; elsewhere one line appears every `every` seconds and at the end.
--- @param total integer units; nil when it is not known: no share and no time left
--- @param label string what is being done
--- @param opts.every number =20 seconds between plain lines
--- @param opts.quiet boolean =false shows nothing
--- @param opts.skipped integer =0 units that were done before, which the rate leaves out
--- @return bar to be closed, too: local bar <close> = ml.progress.bar(...)
--- @source -
function progress.bar(total, label, opts)
  if total ~= nil and not (type(total) == "number" and total >= 0) then
    options.bad("ml.progress.bar", 1, "%s, wanted a number >= 0 or nil", options.describe(total))
  end
  options.check("ml.progress.bar", opts, { "every", "quiet", "skipped" })
  opts = opts or {}
  local now = display.clock()
  local bar = setmetatable({
    total = total, label = label or "", start = now, done = opts.skipped or 0,
    every = opts.every or 20, quiet = opts.quiet or false,
    samples = { { now, opts.skipped or 0 } }, touched = false,
  }, Bar)
  if not bar.quiet then display.add(bar) end
  return bar
end

--- bar:rate()
--- Units per second over the last half minute or so.
--- @return number or nil before anything was done
--- @source -
function Bar:rate()
  local first = self.samples[1]
  local seconds = display.clock() - first[1]
  if not (seconds > 0) or self.done <= first[2] then return nil end
  return (self.done - first[2]) / seconds
end

local function rate_text(rate)
  if rate >= 1 then return progress.quantity(rate) .. "/s" end
  return progress.duration(1 / rate) .. " each"
end

-- Leaves out of the parts { text, rank } those of the highest rank, the last first, until the line
-- is as short as wanted; rank 0 stays.
local function shorten(parts, width)
  local length = -2
  for _, part in ipairs(parts) do length = length + 2 + #part[1] end
  while length > width do
    local drop
    for i, part in ipairs(parts) do
      if part[2] > 0 and (not drop or part[2] >= parts[drop][2]) then drop = i end
    end
    if not drop then return end
    length = length - 2 - #parts[drop][1]
    table.remove(parts, drop)
  end
end

--- bar:line(width)
--- The text of the bar. What does not fit is left out: first the drawing, then the rate, then what
--- update's text says, from its end; its pieces stand two spaces apart. The time left stays.
--- @param width integer =nil columns
--- @return string
--- @source -
function Bar:line(width)
  local head = self.label
  local share = self.total and (self.total > 0 and math.min(1, self.done / self.total) or 1)
  if share then head = ("%s %3.0f%%"):format(self.label, math.floor(100 * share)) end
  local parts = { { head, 0 } }
  local function add(text, rank) parts[#parts + 1] = { text, rank } end
  if share and display.terminal then
    local full = math.floor(16 * share)
    add("[" .. ("#"):rep(full) .. ("."):rep(16 - full) .. "]", 3)
  end
  add(self.total and ("%s/%s"):format(self.done, self.total) or tostring(self.done), 0)
  for piece in ((self.text or "") .. "  "):gmatch "(.-)  +" do
    if piece ~= "" then add(piece, 1) end
  end
  local rate = self:rate()
  if self.total and self.done >= self.total then
    add(progress.duration(display.clock() - self.start), 0)
  else
    if rate then add(rate_text(rate), 2) end
    if self.total then
      add(progress.duration(rate and (self.total - self.done) / rate or 1 / 0) .. " left", 0)
    end
  end
  if width then shorten(parts, width) end
  for i, part in ipairs(parts) do parts[i] = part[1] end
  return table.concat(parts, "  ")
end

local function sample(bar, now)
  local samples = bar.samples
  local last = samples[#samples]
  if now - last[1] < 1 then return end
  samples[#samples + 1] = { now, bar.done }
  while #samples > 2 and now - samples[2][1] > 30 do table.remove(samples, 1) end
end

--- bar:update(done, text)
--- Sets how many units are done.
--- @param done number units
--- @param text string =nil shown with it
--- @source -
function Bar:update(done, text)
  self.done, self.text, self.touched = done, text, true
  if self.quiet then return end
  sample(self, display.clock())
  display.changed()
end

--- bar:step(n, text)
--- Counts more units.
--- @param n number =1 units
--- @param text string =nil shown with it
--- @source -
function Bar:step(n, text) self:update(self.done + (n or 1), text) end

--- bar:finish()
--- Ends the bar; an outermost one leaves its last state as a line.
--- @source -
function Bar:finish()
  if not self.quiet then display.remove(self) end
end

--- ml.progress(n, label)
--- Counts from 1 to n and shows how far it is, on standard error.
--- @param n integer how many, >= 0
--- @param label string what is being done
--- @return function an iterator: for i in ml.progress(n, "training") do ... end
--- @source -
local function iterate(_, n, label)
  n = options.integer("ml.progress", 1, n, 0)
  local bar = progress.bar(n, label)
  local i = 0
  local function following()
    if i > 0 then bar:update(i) end
    i = i + 1
    if i <= n then return i end
    bar:finish()
  end
  return following, nil, nil, bar -- closed by the loop, also when it is left early
end

options.methods(Bar, "bar:")
require "moonlab.methods"("ml.progress.bar", Bar)

return setmetatable(progress, { __call = iterate })
