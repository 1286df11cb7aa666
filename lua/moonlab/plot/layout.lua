--- Where the parts of a panel go: margins from measured labels, as many ticks as fit, and what is
--- written at the ends of curves, in a legend inside, or below.
local text = require "moonlab.plot.text"

local layout = {}

-- ---- ticks --------------------------------------------------------------------------------------

-- Whether labels centred at their ticks along a length keep a distance.
local function apart(ticks, length, extent, gap)
  local last = -math.huge
  for _, t in ipairs(ticks) do
    local half = extent(t) / 2
    local middle = length * t.at
    if middle - half < last + gap then return false end
    last = middle + half
  end
  return true
end

local function ascending(ticks)
  table.sort(ticks, function(a, b) return a.at < b.at end)
  return ticks
end

-- Labels cut to what there is room for, in a category axis so that they stay different.
local function shorten_labels(ticks, size, room)
  local list = {}
  for i, t in ipairs(ticks) do list[i] = t.label end
  for i, label in ipairs(text.shorten_apart(list, size, room)) do ticks[i].label = label end
end

-- The largest number of ticks up to `most` whose labels keep a distance.
local function fitting(scale, most, length, extent, gap)
  local ticks, minors
  for count = math.max(2, most), 2, -1 do
    ticks, minors = scale:ticks(count)
    if apart(ascending(ticks), length, extent, gap) then
      for more = count + 1, #ticks < 2 and count + 6 or 0 do -- one label says too little
        local finer, finer_minors = scale:ticks(more)
        if #finer > 1 and apart(ascending(finer), length, extent, gap) then
          return finer, finer_minors
        end
      end
      return ticks, minors
    end
  end
  for stride = 2, #ticks do -- every second, every third, ... of the coarsest
    local fewer = {}
    for i = 1, #ticks, stride do fewer[#fewer + 1] = ticks[i] end
    if apart(fewer, length, extent, gap) then return fewer, minors end
  end
  return { ticks[1] }, minors
end

local function x_ticks(scale, width, size, room)
  local function across(t) return text.width(t.label, size) end
  if scale.kind ~= "category" then
    local ticks, minors = fitting(scale, math.min(10, width // 45), width, across, 0.7 * size)
    return ticks, minors, text.height(size), false
  end
  local ticks = scale:ticks(0)
  local slot = width / math.max(1, #ticks)
  local widest = 0
  for _, t in ipairs(ticks) do widest = math.max(widest, across(t)) end
  if widest <= slot - 0.4 * size then return ticks, {}, text.height(size), false end
  local most = 0
  local function upright() return text.height(size) end
  local kept = fitting(scale, 2, width, upright, 0)
  shorten_labels(kept, size, room)
  for _, t in ipairs(kept) do most = math.max(most, across(t)) end
  return kept, {}, most, true
end

local function y_ticks(scale, height, size, room)
  local function upright() return text.height(size) end
  local ticks, minors = fitting(scale, math.min(9, height // 28), height, upright, 0.3 * size)
  local widest = 0
  shorten_labels(ticks, size, room)
  for _, t in ipairs(ticks) do widest = math.max(widest, text.width(t.label, size)) end
  return ticks, minors, widest
end

-- ---- geometry -----------------------------------------------------------------------------------

--- Margins and ticks of a panel in a box { x, y, w, h }, with `right` and `below` pixels reserved.
--- Returns { left, top, w, h, x, y (scales), x_ticks, y_ticks, x_minors, y_minors, title, xlabel,
--- ylabel (lines), x_depth, upright (x labels rotated), y_width, size, small, line }.
function layout.geometry(p, box, sx, sy, font, right, below)
  local g = { x = sx, y = sy, size = font, small = font - 1, line = 1.25 * font, box = box }
  g.ylabel = p.y.label and text.wrap(p.y.label, font, 0.8 * box.h, 2) or {}
  local side = #g.ylabel > 0 and #g.ylabel * g.line + 0.3 * font or 0.2 * font
  g.title = p.title and text.wrap(p.title, font + 1, box.w - side, 2, "bold") or {}
  g.xlabel = p.x.label and text.wrap(p.x.label, font, box.w - side, 2) or {}
  local head = #g.title > 0 and #g.title * 1.25 * (font + 1) + 0.5 * font or 0.6 * font
  local foot = #g.xlabel > 0 and #g.xlabel * g.line + 0.5 * font or 0.2 * font
  g.gap = 0.5 * font -- between ticks and their labels
  g.drop = 0.7 * font -- the same below, past half a label of the other axis
  local depth = text.height(g.small)
  local overhang = 0
  g.dropped = 0
  local function cramped() return box.h - head - foot - depth - g.drop - below < 24 end
  if cramped() and #g.xlabel > 0 then
    g.dropped, g.xlabel, foot = g.dropped + #g.xlabel, {}, 0.2 * font
  end
  if cramped() and #g.title > 0 then
    g.dropped, g.title, head = g.dropped + #g.title, {}, 0.6 * font
  end
  for _ = 1, 3 do -- labels change with the room they leave
    g.h = math.max(10, box.h - head - foot - depth - g.drop - below)
    g.ylabel = p.y.label and text.wrap(p.y.label, font, g.h + head, math.max(1, #g.ylabel)) or {}
    g.y_ticks, g.y_minors, g.y_width = y_ticks(sy, g.h, g.small, 0.3 * box.w)
    g.left = box.x + side + g.y_width + g.gap
    g.w = math.max(10, box.x + box.w - g.left - math.max(right, overhang, 0.8 * font))
    g.x_ticks, g.x_minors, depth, g.upright = x_ticks(sx, g.w, g.small, 0.3 * box.h)
    overhang = 0
    if not g.upright then
      for _, t in ipairs(g.x_ticks) do
        overhang = math.max(overhang, t.at * g.w + text.width(t.label, g.small) / 2 - g.w)
      end
    end
  end
  g.top, g.x_depth, g.side = box.y + head, depth, side
  g.h = math.max(10, box.h - head - foot - depth - g.drop - below)
  return g
end

--- Pixels of data coordinates; far outside is cut to what every viewer can read.
function layout.place(g, x, y)
  local function cut(v) return math.max(-1e4, math.min(1e4, v)) end
  return cut(g.left + g.w * g.x:at(x)), cut(g.top + g.h * (1 - g.y:at(y)))
end

-- ---- labels of marks ----------------------------------------------------------------------------

local function last_shown(g, m)
  if m.kind == "rule" then return { 1, g.y:at(m.y) } end
  for i = #m.x, 1, -1 do
    if g.x:shows(m.x[i]) and g.y:shows(m.y[i]) then return { g.x:at(m.x[i]), g.y:at(m.y[i]) } end
  end
end

--- Labels that can stand at the right ends of their curves: a list of { mark, at, text }, or nil.
function layout.ends(g, marks, widest_share)
  local list = {}
  for _, m in ipairs(marks) do
    if m.kind == "series" and not m.line then return nil end
    local last = last_shown(g, m)
    if not last or last[1] < 0.93 or last[1] > 1.001 or last[2] < -0.001 or last[2] > 1.001 then
      return nil
    end
    if text.width(m.label, g.small) > widest_share * g.box.w then return nil end
    local best = m.optimum -- its ring may reach over the frame
    list[#list + 1] = { mark = m, x = last[1], at = last[2], text = m.label,
      away = best and g.x:shows(best.x) and g.x:at(best.x) * g.w > g.w - 6 and 11 or 6 }
  end
  if #list * 1.15 * g.small > g.h then return nil end
  return list
end

--- Moves the wanted heights (pixels, ascending) apart by `gap`, within low..high, as little as
--- possible: groups that touch move together.
function layout.spread(wanted, gap, low, high)
  local groups = {}
  for i, y in ipairs(wanted) do
    groups[#groups + 1] = { first = i, count = 1, sum = y }
    while true do
      local b, a = groups[#groups], groups[#groups - 1]
      local function start(group)
        local s = group.sum / group.count - (group.count - 1) * gap / 2
        return math.max(low, math.min(high - (group.count - 1) * gap, s))
      end
      b.start = start(b)
      if not a or a.start + a.count * gap <= b.start + 1e-9 then break end
      a.sum, a.count = a.sum + b.sum, a.count + b.count
      groups[#groups] = nil
    end
  end
  local out = {}
  for _, group in ipairs(groups) do
    for k = 0, group.count - 1 do out[group.first + k] = group.start + k * gap end
  end
  return out
end

-- Whether a box keeps away from points and from other boxes.
local function vacant(box, points, boxes)
  for _, b in ipairs(boxes) do
    if box[1] < b[3] + 2 and b[1] < box[3] + 2 and box[2] < b[4] + 1 and b[2] < box[4] + 1 then
      return false
    end
  end
  for _, p in ipairs(points) do
    if p[1] > box[1] - 3 and p[1] < box[3] + 3 and p[2] > box[2] - 1 and p[2] < box[4] + 1 then
      return false
    end
  end
  return true
end

-- Places of a word along a reference line: { x, y, anchor, rotated }, the best first.
local function along(g, m)
  local list, off = {}, 0.36 * g.small
  if m.y then
    local _, line = layout.place(g, g.x:value(0), m.y)
    for _, y in ipairs { line - off, line + off + text.ascent * g.small } do
      list[#list + 1] = { g.left + g.w - 4, y, "end", false }
      list[#list + 1] = { g.left + 5, y, "start", false }
      list[#list + 1] = { g.left + g.w / 2, y, "middle", false }
    end
  else
    local line = layout.place(g, m.x, g.y:value(0))
    local high, low = g.top + 3 + text.ascent * g.small, g.top + g.h - 3 - text.descent * g.small
    for _, y in ipairs { high, low, g.top + g.h / 2 } do
      list[#list + 1] = { line + off + 1, y, "start", false }
      list[#list + 1] = { line - off - 1, y, "end", false }
    end
    for _, x in ipairs { line - off, line + off + text.ascent * g.small } do
      list[#list + 1] = { x, g.top + 4, "end", true }
      list[#list + 1] = { x, g.top + g.h - 4, "start", true }
      list[#list + 1] = { x, g.top + g.h / 2, "middle", true }
    end
  end
  return list
end

--- Names of reference lines at their lines, where they hide nothing: places { mark, x, y, anchor,
--- rotated, box }, and the marks that have none. points: pixels of what is drawn.
function layout.beside_rules(g, rules, points)
  local places, without, boxes = {}, {}, {}
  for _, m in ipairs(rules) do
    local found
    for _, p in ipairs(along(g, m)) do
      local box = { text.box(m.label, p[1], p[2], g.small, p[3], p[4]) }
      if box[1] > g.left + 2 and box[3] < g.left + g.w - 2 and box[2] > g.top + 1
        and box[4] < g.top + g.h - 1 and vacant(box, points, boxes) then
        found = { mark = m, x = p[1], y = p[2], anchor = p[3], rotated = p[4], box = box }
        break
      end
    end
    if found then
      places[#places + 1], boxes[#boxes + 1] = found, found.box
    else
      without[#without + 1] = m
    end
  end
  return places, without
end

-- ---- legend -------------------------------------------------------------------------------------

local sample = 2.2 -- width of a legend's sample, in units of the font size

--- Size of the legend as one column.
function layout.legend_size(g, entries)
  local widest = 0
  for _, e in ipairs(entries) do widest = math.max(widest, text.width(e.label, g.small)) end
  return widest + (sample + 1.5) * g.small, #entries * 1.3 * g.small + 0.7 * g.small
end

--- The entries in rows as wide as the panel: { rows, height, cell }, with those that do not fit
--- into `room` counted in `left_out`.
function layout.flow(g, entries, room)
  local widest = 0
  for _, e in ipairs(entries) do
    widest = math.max(widest, math.min(g.box.w, text.width(e.label, g.small)
      + (sample + 1.6) * g.small))
  end
  local per_row = math.max(1, math.min(#entries, math.floor(g.box.w / widest)))
  local line = 1.35 * g.small
  local rows = math.max(1, math.min(math.ceil(#entries / per_row), math.floor(room / line)))
  local flow = { per_row = per_row, cell = g.box.w / per_row, line = line, entries = {},
    left_out = 0, sample = sample * g.small }
  for i, e in ipairs(entries) do
    if i <= rows * per_row then flow.entries[i] = e else flow.left_out = flow.left_out + 1 end
  end
  if flow.left_out > 0 then -- the last place says how many more
    flow.entries[rows * per_row] = nil
    flow.left_out = flow.left_out + 1
  end
  flow.height = rows * line + 0.5 * g.small
  flow.cell = math.min(flow.cell, widest + g.small)
  return flow
end

--- A corner or side inside the frame where a box of w x h hides no data and none of the boxes, or
--- nil. points: pixels of what is drawn.
function layout.free_place(g, w, h, points, boxes)
  if w > 0.6 * g.w or h > 0.7 * g.h then return nil end
  local m = 0.5 * g.size
  local xs = { g.left + g.w - w - m, g.left + m, g.left + (g.w - w) / 2 }
  local ys = { g.top + m, g.top + g.h - h - m, g.top + (g.h - h) / 2 }
  for _, y in ipairs(ys) do
    for _, x in ipairs(xs) do
      local free = vacant({ x, y, x + w, y + h }, {}, boxes)
      for _, p in ipairs(free and points or {}) do
        if p[1] > x - 3 and p[1] < x + w + 3 and p[2] > y - 3 and p[2] < y + h + 3 then
          free = false
          break
        end
      end
      if free then return x, y end
    end
  end
end

return layout
