--- Figures: one description, drawn as SVG or with braille dots in the terminal.
local core = require "moonlab.core"
local options = require "moonlab.options"

local plot = {}

-- Okabe & Ito 2008: told apart by colour-blind readers.
local colours = { "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000" }

local function finite(x) return x == x and x ~= math.huge and x ~= -math.huge end

local function numbers(x, what, series)
  local given = x
  if core.is_tensor(x) and not x:is_released() then x = x:totable() end
  if type(x) ~= "table" then
    options.bad("ml.plot.lines", 0, "%s of series %d is %s, wanted a list of numbers", what, series,
      options.describe(given))
  end
  local list = {}
  for i = 1, #x do
    if type(x[i]) ~= "number" then
      options.bad("ml.plot.lines", 0, "%s[%d] is %s in series %d, wanted a number", what, i,
        options.describe(x[i]), series)
    end
    list[i] = x[i]
  end
  return list
end

-- ---- axes ---------------------------------------------------------------------------------------

local function nice_step(span, count)
  local raw = span / count
  local power = 10 ^ math.floor(math.log(raw, 10))
  for _, m in ipairs { 1, 2, 2.5, 5, 10 } do
    if m * power >= raw * 0.999 then return m * power end
  end
  return 10 * power
end

local function label_of(v, step)
  if v == 0 then return "0" end
  local size = math.abs(v)
  if size >= 1e6 or size < 1e-4 then
    local text = ("%.3g"):format(v):gsub("e%+?(%-?)0*(%d)", "e%1%2")
    return text
  end
  local decimals = 0
  if step then decimals = math.max(0, math.min(6, math.ceil(-math.log(step, 10) + 1e-9))) end
  local scaled = step and step * 10 ^ decimals
  if step and decimals > 0 and math.abs(scaled - math.floor(scaled + 0.5)) > 1e-6 then
    decimals = decimals + 1
  end
  return step and ("%." .. decimals .. "f"):format(v) or ("%.4g"):format(v)
end

-- An axis over [low, high]: at(v) in [0, 1], its ticks { value, label }.
local function make_axis(low, high, logarithmic, count)
  local axis = { log = logarithmic }
  if logarithmic then
    local a, b = math.log(low, 10), math.log(high, 10)
    if b - a < 1e-9 then a, b = a - 0.5, b + 0.5 end
    axis.low, axis.high = a, b
    axis.at = function(v) return (math.log(v, 10) - a) / (b - a) end
    axis.ticks = {}
    local decades = math.ceil((b - a) / count)
    local marks = b - a < 1.2 and { 1, 2, 3, 5, 7 } or b - a < 2.5 and { 1, 2, 5 } or { 1 }
    for e = math.floor(a), math.ceil(b) do
      if (e - math.floor(a)) % math.max(1, decades) == 0 or #marks > 1 then
        for _, m in ipairs(marks) do
          local v = m * 10.0 ^ e
          local at = axis.at(v)
          if at >= -1e-9 and at <= 1 + 1e-9 then
            axis.ticks[#axis.ticks + 1] = { at = at, label = label_of(v) }
          end
        end
      end
    end
  else
    if high - low <= math.abs(high) * 1e-12 then
      local pad = high == 0 and 1 or math.abs(high) * 0.1
      low, high = low - pad, high + pad
    end
    local step = nice_step(high - low, count)
    axis.low, axis.high = low, high
    axis.at = function(v) return (v - low) / (high - low) end
    axis.ticks = {}
    for k = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) do
      axis.ticks[#axis.ticks + 1] = { at = axis.at(k * step), label = label_of(k * step, step) }
    end
  end
  return axis
end

local function extent(fig, key, logarithmic)
  local low, high = math.huge, -math.huge
  for _, s in ipairs(fig.series) do
    for _, v in ipairs(s[key]) do
      if finite(v) and (not logarithmic or v > 0) then
        low, high = math.min(low, v), math.max(high, v)
      end
    end
  end
  if low > high then return nil end
  return low, high
end

local function axes_of(fig, nx, ny)
  local lx, ly = fig.log:find("x") ~= nil, fig.log:find("y") ~= nil
  local x0, x1 = extent(fig, "x", lx)
  local y0, y1 = extent(fig, "y", ly)
  if not x0 or not y0 then return nil end
  if not ly then
    local pad = (y1 - y0) * 0.04
    y0, y1 = y0 - pad, y1 + pad
  end
  return make_axis(x0, x1, lx, nx), make_axis(y0, y1, ly, ny)
end

-- Points that the axes can show, as runs without gaps.
local function runs_of(fig, s, ax, ay)
  local runs, run = {}, {}
  for i = 1, #s.x do
    local x, y = s.x[i], s.y[i]
    local ok = finite(x) and finite(y) and (not ax.log or x > 0) and (not ay.log or y > 0)
    if ok then
      run[#run + 1] = { ax.at(x), ay.at(y) }
    elseif #run > 0 then
      runs[#runs + 1], run = run, {}
    end
  end
  if #run > 0 then runs[#runs + 1] = run end
  -- more points than pixels: keep the extremes of every column, so that no spike is lost
  local limit = fig.thin or 1500
  for k, r in ipairs(runs) do
    if #r > 4 * limit then
      local thin, column, lowest, highest, first, last = {}, nil, nil, nil, nil, nil
      local function flush()
        if not column then return end
        local seen = {}
        for _, p in ipairs { first, lowest, highest, last } do
          if not seen[p] then
            seen[p] = true
            thin[#thin + 1] = p
          end
        end
        table.sort(thin, function(a, b) return a[1] < b[1] end)
      end
      thin = {}
      local pieces = {}
      for _, p in ipairs(r) do
        local c = math.floor(p[1] * limit)
        if c ~= column then
          flush()
          for _, q in ipairs(thin) do pieces[#pieces + 1] = q end
          thin, column, lowest, highest, first = {}, c, p, p, p
        end
        if p[2] < lowest[2] then lowest = p end
        if p[2] > highest[2] then highest = p end
        last = p
      end
      flush()
      for _, q in ipairs(thin) do pieces[#pieces + 1] = q end
      runs[k] = pieces
    end
  end
  return runs
end

-- ---- SVG ----------------------------------------------------------------------------------------

local function escape(text)
  return (tostring(text):gsub("[&<>\"']", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
    ['"'] = "&quot;", ["'"] = "&#39;" }))
end

local Figure = {}
Figure.__index = Figure
Figure.__name = "ml.plot.figure"

--- fig:svg()
--- @return string the figure as an SVG document
--- @source -
function Figure:svg()
  local width, height = self.width, self.height
  local left, right, top, bottom = 66, 20, self.title and 36 or 16, 50
  local labelled = {}
  for _, s in ipairs(self.series) do
    if s.label then labelled[#labelled + 1] = s end
  end
  if #labelled > 0 then
    local longest = 0
    for _, s in ipairs(labelled) do longest = math.max(longest, utf8.len(s.label) or #s.label) end
    right = 34 + math.ceil(longest * 6.6)
  end
  local w, h = width - left - right, height - top - bottom
  local out = {}
  local function put(format, ...) out[#out + 1] = format:format(...) end
  put('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" '
    .. 'font-family="Helvetica, Arial, sans-serif" font-size="12">',
    width, height, width, height)
  put('<rect width="%d" height="%d" fill="#ffffff"/>', width, height)
  if self.title then
    put('<text x="%.1f" y="22" text-anchor="middle" font-size="14" font-weight="bold" '
      .. 'fill="#222222">%s</text>', left + w / 2, escape(self.title))
  end
  local ax, ay = axes_of(self, math.max(2, w // 90), math.max(2, h // 50))
  if not ax then
    put('<text x="%.1f" y="%.1f" text-anchor="middle" fill="#666666">no finite point to draw'
      .. '</text>', width / 2, height / 2)
    put("</svg>")
    return table.concat(out, "\n") .. "\n"
  end
  for _, tick in ipairs(ay.ticks) do
    local y = top + h * (1 - tick.at)
    put('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e4e4e4"/>', left, y, left + w, y)
    put('<text x="%d" y="%.1f" text-anchor="end" fill="#444444">%s</text>', left - 8, y + 4,
      escape(tick.label))
  end
  local last_end = -math.huge
  for _, tick in ipairs(ax.ticks) do
    local x = left + w * tick.at
    put('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#e4e4e4"/>', x, top, x, top + h)
    local half = #tick.label * 3.4 + 3
    if x - half > last_end then
      put('<text x="%.1f" y="%d" text-anchor="middle" fill="#444444">%s</text>', x, top + h + 18,
        escape(tick.label))
      last_end = x + half
    end
  end
  put('<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#888888"/>', left, top, w, h)
  put('<text x="%.1f" y="%d" text-anchor="middle" fill="#222222">%s</text>', left + w / 2,
    height - 12, escape(self.xlabel or ""))
  put('<text transform="translate(16 %.1f) rotate(-90)" text-anchor="middle" fill="#222222">%s'
    .. '</text>', top + h / 2, escape(self.ylabel or ""))

  local labels = {}
  for i, s in ipairs(self.series) do
    local colour = s.colour or colours[(i - 1) % #colours + 1]
    local last
    for _, run in ipairs(runs_of(self, s, ax, ay)) do
      local points = {}
      for k, p in ipairs(run) do
        points[k] = ("%.1f,%.1f"):format(left + w * p[1], top + h * (1 - p[2]))
      end
      if #run > 1 and not s.points then
        put('<polyline points="%s" fill="none" stroke="%s" stroke-width="%.1f" '
          .. 'stroke-linejoin="round"%s/>', table.concat(points, " "),
          colour, s.thin and 0.8 or 1.8, s.faint and ' opacity="0.45"' or "")
      end
      if #run == 1 or s.points or #run <= 12 then
        for _, p in ipairs(run) do
          put('<circle cx="%.1f" cy="%.1f" r="2.8" fill="%s"/>', left + w * p[1],
            top + h * (1 - p[2]), colour)
        end
      end
      last = run[#run]
    end
    if s.label and last then
      labels[#labels + 1] = { text = s.label, y = top + h * (1 - last[2]), colour = colour }
    end
  end
  -- labels beside the ends of their curves, pushed apart
  table.sort(labels, function(a, b) return a.y < b.y end)
  for k = 2, #labels do labels[k].y = math.max(labels[k].y, labels[k - 1].y + 15) end
  for k = #labels, 1, -1 do
    local highest = k == #labels and top + h or labels[k + 1].y - 15
    labels[k].y = math.min(labels[k].y, highest)
  end
  for _, label in ipairs(labels) do
    put('<text x="%d" y="%.1f" fill="%s">%s</text>', left + w + 8, label.y + 4, label.colour,
      escape(label.text))
  end
  put("</svg>")
  return table.concat(out, "\n") .. "\n"
end

-- ---- terminal -----------------------------------------------------------------------------------

local dots = { { 0x01, 0x02, 0x04, 0x40 }, { 0x08, 0x10, 0x20, 0x80 } }

--- fig:text(columns, rows)
--- The figure in braille dots.
--- @param columns integer =72 at least 18 are taken
--- @param rows integer =16 at least 7 are taken
--- @return string lines of text
--- @source -
function Figure:text(columns, rows)
  columns = columns == nil and 72 or options.integer("text", 1, columns, 1, 1000)
  rows = rows == nil and 16 or options.integer("text", 2, rows, 1, 1000)
  local margin = 9
  local w, h = math.max(8, columns - margin - 1), math.max(4, rows - 3)
  local ax, ay = axes_of(self, math.max(2, w // 14), math.max(2, h // 3))
  local lines = {}
  if self.title then lines[1] = (" "):rep(margin) .. self.title end
  if not ax then
    lines[#lines + 1] = "no finite point to draw"
    return table.concat(lines, "\n") .. "\n"
  end
  local cells = {}
  for r = 1, h do
    cells[r] = {}
    for c = 1, w do cells[r][c] = 0 end
  end
  local function dot(px, py)
    if px < 0 or py < 0 or px >= 2 * w or py >= 4 * h then return end
    local r, c = py // 4 + 1, px // 2 + 1
    cells[r][c] = cells[r][c] | dots[px % 2 + 1][py % 4 + 1]
  end
  for _, s in ipairs(self.series) do
    for _, run in ipairs(runs_of(self, s, ax, ay)) do
      local before
      for _, p in ipairs(run) do
        local x, y = math.floor(p[1] * (2 * w - 1) + 0.5),
          math.floor((1 - p[2]) * (4 * h - 1) + 0.5)
        if before and not s.points then
          local steps = math.max(math.abs(x - before[1]), math.abs(y - before[2]))
          for k = 1, steps - 1 do
            dot(math.floor(before[1] + (x - before[1]) * k / steps + 0.5),
              math.floor(before[2] + (y - before[2]) * k / steps + 0.5))
          end
        end
        dot(x, y)
        before = { x, y }
      end
    end
  end
  local at_row = {}
  for _, tick in ipairs(ay.ticks) do
    at_row[math.max(1, math.min(h, math.floor((1 - tick.at) * h + 0.5)))] = tick.label
  end
  for r = 1, h do
    local row = {}
    for c = 1, w do row[c] = cells[r][c] == 0 and " " or utf8.char(0x2800 + cells[r][c]) end
    lines[#lines + 1] = ("%" .. (margin - 2) .. "s │%s"):format(at_row[r] or "", table.concat(row))
  end
  lines[#lines + 1] = (" "):rep(margin - 1) .. "└" .. ("─"):rep(w)
  local ruler = {}
  local taken = 0
  for _, tick in ipairs(ax.ticks) do
    local column = math.floor(tick.at * (w - 1) + 0.5) - #tick.label // 2
    column = math.max(0, math.min(w - #tick.label, column))
    if column >= taken then
      ruler[#ruler + 1] = (" "):rep(column - taken) .. tick.label
      taken = column + #tick.label + 1
      ruler[#ruler] = ruler[#ruler] .. " "
    end
  end
  lines[#lines + 1] = (" "):rep(margin) .. table.concat(ruler)
  local foot = {}
  if self.ylabel then foot[#foot + 1] = self.ylabel end
  if self.xlabel then foot[#foot + 1] = "over " .. self.xlabel end
  if #foot > 0 then lines[#lines + 1] = (" "):rep(margin) .. table.concat(foot, " ") end
  return table.concat(lines, "\n") .. "\n"
end

function Figure:__tostring() return self:text() end

--- fig:save(path)
--- Writes the figure as SVG, whole or not at all.
--- @param path string ending in .svg
--- @source -
function Figure:save(path)
  options.path("save", 1, path)
  if not path:find("%.svg$") then
    options.bad("save", 1, "%q, wanted a path that ends in .svg", path)
  end
  core.write_file(path, self:svg())
  return self
end

local names = { "x", "y", "series", "log", "title", "xlabel", "ylabel", "file", "width", "height",
  "label" }

local series_names = { "x", "y", "label", "points", "faint", "thin", "colour" }

--- ml.plot.lines{ x =, y =, series =, log =, title =, xlabel =, ylabel =, file =, width =,
---   height = }
--- Curves. Points that are not finite (or not positive on a log axis) leave gaps.
--- @param opts.x table numbers or tensor [n]
--- @param opts.y table numbers or tensor [n]
--- @param opts.series table list of { x =, y =, label =, points = true for dots only, faint =,
--- thin = } instead of one curve
--- @param opts.log string ="" "x", "y" or "xy"
--- @param opts.file string path of an SVG to write
--- @param opts.width integer =640 pixels
--- @param opts.height integer =400 pixels
--- @return figure with svg(), text(columns, rows), save(path); prints itself in braille
--- @source -
function plot.lines(o)
  local where = "ml.plot.lines"
  options.argument(where, 1, o, "table")
  options.check(where, o, names)
  for _, name in ipairs { "title", "xlabel", "ylabel", "label", "file" } do
    options.optional(where, o, name, "string")
  end
  local series = options.field(where, o, "series", "table",
    { { x = o.x, y = o.y, label = o.label } })
  local fig = setmetatable({
    series = {}, log = options.choice(where, o, "log", { "", "x", "y", "xy", "yx" }, ""),
    title = o.title, xlabel = o.xlabel, ylabel = o.ylabel,
    width = options.range(where, "width",
      options.field(where, o, "width", "integer", 640), 160, 10000),
    height = options.range(where, "height",
      options.field(where, o, "height", "integer", 400), 120, 10000),
  }, Figure)
  for i, s in ipairs(series) do
    if type(s) ~= "table" then
      options.bad(where, 0, "series %d is %s, wanted a table", i, options.describe(s))
    end
    options.check(where, s, series_names)
    options.optional(where, s, "label", "string")
    options.optional(where, s, "colour", "string")
    for _, name in ipairs { "points", "faint", "thin" } do
      options.optional(where, s, name, "boolean")
    end
    local y = numbers(s.y, "y", i)
    local x
    if s.x ~= nil then
      x = numbers(s.x, "x", i)
    else
      x = {}
      for k = 1, #y do x[k] = k end
    end
    if #x ~= #y then
      options.bad(where, 0, "series %d has %d x and %d y", i, #x, #y)
    end
    fig.series[i] = { x = x, y = y, label = s.label, points = s.points, faint = s.faint,
      thin = s.thin, colour = s.colour }
  end
  if o.file then fig:save(o.file) end
  return fig
end

plot.methods = Figure
return plot
