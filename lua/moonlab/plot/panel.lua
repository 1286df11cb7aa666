--- The description of one panel: axes, and marks in data coordinates. Back ends only read it.
---
--- A panel holds title, x and y ({ base = nil, 2 or 10, low, high, label, names, reversed, pad,
--- whole = ticks at whole numbers only }), legend, bar (colour bar), and marks in drawing order:
---   kind "series": x, y, low, high (band), label, colour, dash, line, markers, bars (error bars),
---     thin, faint, shape, counts and edges (histogram), optimum { x, y, text }, diverged (xs)
---   kind "rule": x or y, label, colour
---   kind "cells": x, y (edges), z (rows), map, low, high, base, values (rows of texts)
---   kind "regions": id(u, v) in the unit square, names, colours, polygons
---   kind "note": x, y, text
local options = require "moonlab.options"
local input = require "moonlab.plot.input"
local scale = require "moonlab.plot.scale"
local colour = require "moonlab.plot.colour"

local panel = {}

--- Names of the options that every kind of one panel takes.
panel.names = { "title", "xlabel", "ylabel", "log", "base", "xlim", "ylim", "legend", "references",
  "notes", "file", "width", "height", "theme" }

--- All of them and those of the kind.
function panel.known(...)
  local list = table.move(panel.names, 1, #panel.names, 1, {})
  for _, name in ipairs { ... } do list[#list + 1] = name end
  return list
end

local function bases(where, o, log_x, log_y)
  local base = o.base
  if base == nil then base = 10 end
  local x, y = base, base
  if type(base) == "table" then
    options.check(where, base, { "x", "y" })
    x, y = base.x == nil and 10 or base.x, base.y == nil and 10 or base.y
  end
  for _, b in ipairs { x, y } do
    if b ~= 2 and b ~= 10 then
      options.bad(where, 0, "option 'base' is %s, wanted 2, 10 or { x =, y = } of them",
        options.describe(b))
    end
  end
  return log_x and math.tointeger(x) or nil, log_y and math.tointeger(y) or nil
end

local function read_references(where, o, p)
  local list = options.field(where, o, "references", "table", {})
  local dashes = { { 4, 3 }, { 1.5, 2.5 }, { 7, 3, 1.5, 3 }, { 10, 4 } }
  for i, r in ipairs(list) do
    if type(r) ~= "table" then
      options.bad(where, 0, "reference %d is %s, wanted a table", i, options.describe(r))
    end
    options.check(where, r, { "x", "y", "label", "colour" })
    if (r.x == nil) == (r.y == nil) then
      options.bad(where, 0, "reference %d has %s, wanted x or y", i,
        r.x == nil and "neither x nor y" or "both x and y")
    end
    local axis = r.x ~= nil and p.x or p.y
    local v = options.field(where, r, r.x ~= nil and "x" or "y", "number")
    if v - v ~= 0 or (axis.base and v <= 0) then
      options.bad(where, 0, "reference %d is at %s, wanted a finite number%s", i,
        options.describe(v), axis.base and " > 0" or "")
    end
    p.marks[#p.marks + 1] = { kind = "rule", x = r.x, y = r.y, label = input.text(where, r,
      "label"), colour = input.colour(where, r, "colour"), dash = dashes[(i - 1) % #dashes + 1] }
  end
end

local function read_notes(where, o, p)
  for i, n in ipairs(options.field(where, o, "notes", "table", {})) do
    if type(n) ~= "table" then
      options.bad(where, 0, "note %d is %s, wanted { x =, y =, text = }", i, options.describe(n))
    end
    options.check(where, n, { "x", "y", "text" })
    options.field(where, n, "text", "string")
    for _, key in ipairs { "x", "y" } do
      local v = options.field(where, n, key, "number")
      if v - v ~= 0 or (p[key].base and v <= 0) then
        options.bad(where, 0, "note %d has %s = %s, wanted a number the axis shows", i, key,
          options.describe(v))
      end
    end
    p.marks[#p.marks + 1] = { kind = "note", x = n.x, y = n.y, text = input.text(where, n, "text") }
  end
end

--- A panel from the options that every kind shares; log: the default of its option.
function panel.new(where, o, log)
  local word = options.choice(where, o, "log", { "", "x", "y", "xy", "yx" }, log or "")
  local base_x, base_y = bases(where, o, word:find "x" ~= nil, word:find "y" ~= nil)
  local p = { marks = {}, dropped = 0, remarks = {}, title = input.text(where, o, "title"),
    x = { base = base_x, label = input.text(where, o, "xlabel"), pad = { 0, 0 } },
    y = { base = base_y, label = input.text(where, o, "ylabel"), pad = { 0.05, 0.05 } } }
  if o.legend ~= nil and o.legend ~= false then
    p.legend = options.choice(where, o, "legend", { "auto", "ends", "inside", "outside" })
  end
  p.hide_legend = o.legend == false
  p.x.low, p.x.high = input.limits(where, o, "xlim", base_x)
  p.y.low, p.y.high = input.limits(where, o, "ylim", base_y)
  return p
end

--- The last step of every kind: what lies over the data.
function panel.finish(where, o, p)
  read_references(where, o, p)
  read_notes(where, o, p)
  return p
end

--- A remark that every back end shows or carries; series of which the same is to be said share it.
--- name: nil, or whose.
function panel.remark(p, name, format, ...)
  local words = format:format(...)
  for _, r in ipairs(p.remarks) do
    if name and r.words == words then
      r.names[#r.names + 1] = name
      return
    end
  end
  p.remarks[#p.remarks + 1] = { names = { name }, words = words }
end

--- The remarks of a panel as strings.
function panel.remarks(p)
  local list = {}
  for i, r in ipairs(p.remarks) do
    list[i] = (r.names[1] and table.concat(r.names, ", ") .. ": " or "") .. r.words
  end
  return list
end

--- The colour, and from the second round on the dashes, of series number i.
function panel.style(i)
  local n = #colour.series
  local dashes = { false, { 6, 3 }, { 1.5, 2.5 }, { 8, 3, 1.5, 3 }, { 12, 3 } }
  local shapes = { "circle", "square", "triangle", "diamond", "down", "plus", "cross" }
  return colour.series[(i - 1) % n + 1], dashes[(i - 1) // n % #dashes + 1],
    shapes[(i - 1 + (i - 1) // n) % #shapes + 1]
end

-- ---- scales -------------------------------------------------------------------------------------

local function reach(range, v, base)
  if v and v - v == 0 and (not base or v > 0) then
    range.low, range.high = math.min(range.low, v), math.max(range.high, v)
  end
end

local function reach_all(range, list, base)
  for _, v in ipairs(list or {}) do reach(range, v, base) end
end

local function ranges(p)
  local x = { low = math.huge, high = -math.huge }
  local y = { low = math.huge, high = -math.huge }
  local bx, by = p.x.base, p.y.base
  for _, m in ipairs(p.marks) do
    if m.kind == "series" then
      for i = 1, #m.x do
        local vx, vy = m.x[i], m.y[i]
        local inside = vx - vx == 0 and vy - vy == 0 and (not bx or vx > 0) and (not by or vy > 0)
        if inside then
          reach(x, vx, bx)
          reach(y, vy, by)
          if m.low then
            reach(y, m.low[i], by)
            reach(y, m.high[i], by)
          end
        end
      end
      reach_all(x, m.diverged, bx)
      reach_all(x, m.edges, bx)
    elseif m.kind == "rule" then
      reach(x, m.x, bx)
      reach(y, m.y, by)
    elseif m.kind == "cells" then
      reach_all(x, m.x, bx)
      reach_all(y, m.y, by)
    elseif m.kind == "note" then
      reach(x, m.x, bx)
      reach(y, m.y, by)
    end
  end
  return x, y
end

local function one_scale(axis, range)
  if axis.names then
    local s = scale.category(axis.names)
    s.reversed = axis.reversed
    return s
  end
  local low, high = range.low, range.high
  local below = axis.low and 0 or axis.pad[1]
  if axis.floor and low <= high and low >= axis.floor then -- bars stand on it
    low, below = axis.floor, 0
    if high == low then high = low + 1 end
  end
  if low > high then -- nothing, or limits alone
    if not (axis.low and axis.high) then return nil end
    low, high = axis.low, axis.high
  end
  low, high = scale.padded(low, high, axis.base, below, axis.high and 0 or axis.pad[2])
  low, high = axis.low or low, axis.high or high
  if low > high then low, high = axis.low or high, axis.high or low end
  if not (low <= high) then low, high = high, low end
  local s = scale.new(low, high, axis.base)
  s.whole = axis.whole
  s.reversed = axis.reversed
  return s
end

--- The scales of x and y, or nil when there is nothing to draw. shared: ranges of other panels.
function panel.scales(p)
  local x, y = ranges(p)
  for key, range in pairs { x = x, y = y } do
    local shared = p.shared and p.shared[key]
    if shared then
      range.low, range.high = math.min(range.low, shared.low), math.max(range.high, shared.high)
    end
  end
  local sx, sy = one_scale(p.x, x), one_scale(p.y, y)
  if not sx or not sy then return nil end
  return sx, sy
end

panel.ranges = ranges

--- The colour of a value on a bar or map { map, low, high, base }: a position in [0, 1], or nil.
function panel.position(m, v)
  if v ~= v then return nil end
  if m.base then
    if v <= 0 then return nil end
    if m.high == m.low then return 0.5 end
    if v == math.huge then return 1 end
    return (math.log(v) - math.log(m.low)) / (math.log(m.high) - math.log(m.low))
  end
  if m.high == m.low then return 0.5 end
  if v == math.huge or v == -math.huge then return v > 0 and 1 or 0 end
  return (v / 2 - m.low / 2) / (m.high / 2 - m.low / 2)
end

return panel
