--- Progress of long work: one line that renews itself on a terminal, plain lines now and then elsewhere.
local core = require "moonlab.core"

local progress = {}

local host = package.loaded["moonlab.host"]
local function is_terminal() return host ~= nil and host.isatty(2) end

--- ml.progress.duration(seconds)
--- A duration in words: "42s", "3m05s", "2h10m".
--- @param seconds number
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

--- ml.progress.bar(total, label, { every, quiet })
--- A bar for `total` units: bar:update(done, "loss 2.31"), bar:finish(). On a terminal the line is redrawn at most ten times a second; elsewhere a line appears every `every` seconds.
--- @param total integer units
--- @param label string what is being done
--- @param opts.every number =20 seconds
--- @param opts.quiet boolean =false
--- @return bar
--- @source -
function progress.bar(total, label, options)
  local now = core.now()
  return setmetatable({
    total = total, label = label or "", start = now, shown = -math.huge, done = 0, first = nil, terminal = is_terminal(),
    every = options and options.every or 20, quiet = options and options.quiet or false,
    skipped = options and options.skipped or 0,
  }, Bar)
end

function Bar:line(text)
  local elapsed = core.now() - self.start
  local done = self.done - self.skipped
  local left = done > 0 and elapsed / done * (self.total - self.done) or math.huge
  local percent = self.total > 0 and 100 * self.done / self.total or 100
  local parts = { ("%s %3.0f%%"):format(self.label, percent) }
  if self.terminal then
    local width = 16
    local full = math.floor(width * self.done / math.max(1, self.total))
    parts[#parts + 1] = "[" .. ("#"):rep(full) .. ("."):rep(width - full) .. "]"
  end
  parts[#parts + 1] = ("%d/%d"):format(self.done, self.total)
  if text and text ~= "" then parts[#parts + 1] = text end
  parts[#parts + 1] = self.done >= self.total and progress.duration(elapsed) or progress.duration(left) .. " left"
  return table.concat(parts, "  ")
end

function Bar:update(done, text)
  self.done = done
  self.text = text
  if self.quiet then return end
  local now = core.now()
  local interval = self.terminal and 0.1 or self.every
  if now - self.shown < interval and done < self.total then return end
  if not self.terminal and self.shown == -math.huge and done < self.total then -- nothing to tell yet
    self.shown = now
    return
  end
  self.shown = now
  if self.terminal then
    io.stderr:write("\r\27[K", self:line(text))
  else
    io.stderr:write(self:line(text), "\n")
  end
end

--- Ends the line; text stays as it was last shown.
function Bar:finish()
  if self.quiet then return end
  if self.terminal and self.shown ~= -math.huge then io.stderr:write("\r\27[K", self:line(self.text), "\n") end
end

--- ml.progress(n, label)
--- Counts from 1 to n and shows how far it is, on standard error.
--- @param n integer
--- @param label string what is being done
--- @return function an iterator: for i in ml.progress(n, "training") do ... end
--- @source -
local function iterate(_, n, label)
  if math.type(n) ~= "integer" or n < 0 then
    error(("bad argument #1 to 'progress' (%s, wanted an integer >= 0)"):format(tostring(n)), 2)
  end
  local bar = progress.bar(n, label)
  local i = 0
  return function()
    if i > 0 then bar:update(i) end
    i = i + 1
    if i <= n then return i end
    bar:finish()
  end
end

return setmetatable(progress, { __call = iterate })
