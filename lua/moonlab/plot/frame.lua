--- What surrounds the data of a panel: grid, frame, ticks, labels of the axes, title, colour bar.
local colour = require "moonlab.plot.colour"
local panel = require "moonlab.plot.panel"
local scale = require "moonlab.plot.scale"
local text = require "moonlab.plot.text"

local frame = {}

--- Lines behind the data at the ticks.
function frame.lines(scene, g)
  if g.x.kind ~= "category" then
    for _, t in ipairs(g.x_ticks) do
      local x = g.left + g.w * t.at
      scene:add("line", { x1 = x, y1 = g.top, x2 = x, y2 = g.top + g.h, stroke = "grid",
        width = 1 })
    end
  end
  if g.y.kind ~= "category" then
    for _, t in ipairs(g.y_ticks) do
      local y = g.top + g.h * (1 - t.at)
      scene:add("line", { x1 = g.left, y1 = y, x2 = g.left + g.w, y2 = y, stroke = "grid",
        width = 1 })
    end
  end
end

local function far_enough(minors, length)
  local closest, last = math.huge, nil
  for _, t in ipairs(minors) do
    if last then closest = math.min(closest, (t.at - last) * length) end
    last = t.at
  end
  return closest >= 2.5
end

--- The frame with its ticks, their labels, the labels of the axes, the title and the colour bar.
function frame.draw(scene, g, p)
  scene:add("rect", { x = g.left, y = g.top, w = g.w, h = g.h, stroke = "frame", width = 1 })
  local bottom = g.top + g.h
  local function x_mark(at, length)
    local x = g.left + g.w * at
    scene:add("line", { x1 = x, y1 = bottom, x2 = x, y2 = bottom + length, stroke = "frame",
      width = 1 })
  end
  local function y_mark(at, length)
    local y = g.top + g.h * (1 - at)
    scene:add("line", { x1 = g.left - length, y1 = y, x2 = g.left, y2 = y, stroke = "frame",
      width = 1 })
  end
  if far_enough(g.x_minors, g.w) then
    for _, t in ipairs(g.x_minors) do x_mark(t.at, 2.5) end
  end
  if far_enough(g.y_minors, g.h) then
    for _, t in ipairs(g.y_minors) do y_mark(t.at, 2.5) end
  end
  for _, t in ipairs(g.x_ticks) do
    local x = g.left + g.w * t.at
    x_mark(t.at, 4)
    if g.upright then
      scene:text(t.label, x + 0.3 * g.small, bottom + g.drop, { size = g.small, anchor = "end",
        rotated = true, paint = "soft" })
    else
      scene:text(t.label, x, bottom + g.drop + text.ascent * g.small, { size = g.small,
        anchor = "middle", paint = "soft" })
    end
  end
  for _, t in ipairs(g.y_ticks) do
    y_mark(t.at, 4)
    scene:text(t.label, g.left - g.gap, g.top + g.h * (1 - t.at) + 0.36 * g.small,
      { size = g.small, anchor = "end", paint = "soft" })
  end
  local box = g.box
  local function centred(line, size, weight)
    local half = text.width(line, size, weight) / 2
    return math.max(box.x + g.side + half, math.min(box.x + box.w - half, g.left + g.w / 2))
  end
  for i, line in ipairs(g.title) do
    local size = g.size + 1
    scene:text(line, centred(line, size, "bold"), box.y + (i - 1) * 1.25 * size
      + text.ascent * size, { size = size, anchor = "middle", weight = "bold" })
  end
  for i, line in ipairs(g.xlabel) do
    scene:text(line, centred(line, g.size), bottom + g.drop + g.x_depth + 0.35 * g.size
      + (i - 1) * g.line + text.ascent * g.size, { size = g.size, anchor = "middle" })
  end
  for i, line in ipairs(g.ylabel) do
    local half = text.width(line, g.size) / 2
    local y = math.max(box.y + half, math.min(bottom - half, g.top + g.h / 2))
    scene:text(line, box.x + (i - 1) * g.line + text.ascent * g.size, y, { size = g.size,
      anchor = "middle", rotated = true })
  end
  if p.bar then frame.bar(scene, g, p.bar) end
end

-- ---- colour bar ---------------------------------------------------------------------------------

local bar_width = 12

local function bar_ticks(bar, height, size)
  local axis = scale.new(bar.low, bar.high, bar.base)
  -- the colours end where the bar does, also when all values are one
  local ticks = {}
  local found = axis:ticks(math.max(2, math.min(8, height // 36)))
  local last
  for _, t in ipairs(found) do
    local at = panel.position(bar, t.value)
    if at and at >= -1e-9 and at <= 1 + 1e-9
      and (not last or math.abs(at - last) * height >= 1.15 * size) then
      ticks[#ticks + 1], last = { at = at, label = t.label }, at
    end
  end
  local widest = 0
  for _, t in ipairs(ticks) do widest = math.max(widest, text.width(t.label, size)) end
  return ticks, widest
end

--- Width that a colour bar takes at the right.
function frame.bar_width(bar, height, font)
  local _, widest = bar_ticks(bar, height, font - 1)
  return font + bar_width + 0.5 * font + widest + (bar.label and 1.5 * font or 0)
end

--- The colour bar at the right of the frame.
function frame.bar(scene, g, bar)
  local x = g.left + g.w + g.size
  local n = 128
  for k = 0, n - 1 do
    local top = g.top + g.h * (1 - (k + 1) / n)
    local over = k < n - 1 and 1 or 0 -- the next one covers it: no seam
    local color = colour.at(bar.map, (k + 0.5) / n)
    scene:add("rect", { x = x, y = top - over, w = bar_width, h = g.h / n + over,
      fill = bar.series and { color, 2.2 } or color, crisp = true }) -- as the curves are drawn
  end
  scene:add("rect", { x = x, y = g.top, w = bar_width, h = g.h, stroke = "frame", width = 1 })
  local ticks, widest = bar_ticks(bar, g.h, g.small)
  for _, t in ipairs(ticks) do
    local y = g.top + g.h * (1 - t.at)
    scene:add("line", { x1 = x + bar_width, y1 = y, x2 = x + bar_width + 3, y2 = y,
      stroke = "frame", width = 1 })
    scene:text(t.label, x + bar_width + 0.5 * g.size, y + 0.36 * g.small, { size = g.small,
      paint = "soft" })
  end
  if bar.label then
    local label = text.shorten(bar.label, g.size, g.h)
    scene:text(label, x + bar_width + 0.5 * g.size + widest + 0.4 * g.size
      + text.ascent * g.size, g.top + g.h / 2, { size = g.size, anchor = "middle",
      rotated = true })
  end
end

return frame
