--- Draws a panel's marks, axes and labels into a scene of shapes.
local colour = require "moonlab.plot.colour"
local layout = require "moonlab.plot.layout"
local panel = require "moonlab.plot.panel"
local regions = require "moonlab.plot.regions"
local scale = require "moonlab.plot.scale"
local text = require "moonlab.plot.text"

local draw = {}

local function ink(m) return { m.colour or "ink", 2.2 } end
local function words(m) return { m.colour or "ink", 4.5 } end

-- Stretches of points that the axes show: lists of { px, py, i }.
local function stretches(g, m)
  local all, run = {}, {}
  for i = 1, #m.x do
    if g.x:shows(m.x[i]) and g.y:shows(m.y[i]) then
      local px, py = layout.place(g, m.x[i], m.y[i])
      run[#run + 1] = { px, py, i }
    elseif #run > 0 then
      all[#all + 1], run = run, {}
    end
  end
  if #run > 0 then all[#all + 1] = run end
  return all
end

-- ---- markers ------------------------------------------------------------------------------------

local outlines = {
  square = { { -0.9, -0.9 }, { 0.9, -0.9 }, { 0.9, 0.9 }, { -0.9, 0.9 } },
  triangle = { { 0, -1.2 }, { 1.1, 0.8 }, { -1.1, 0.8 } },
  down = { { 0, 1.2 }, { 1.1, -0.8 }, { -1.1, -0.8 } },
  diamond = { { 0, -1.3 }, { 1.1, 0 }, { 0, 1.3 }, { -1.1, 0 } },
}

local strokes = {
  plus = { { -1.2, 0, 1.2, 0 }, { 0, -1.2, 0, 1.2 } },
  cross = { { -1, -1, 1, 1 }, { -1, 1, 1, -1 } },
}

local function marker(scene, shape, x, y, r, paint, opacity)
  if strokes[shape] then
    for _, s in ipairs(strokes[shape]) do
      scene:add("line", { x1 = x + r * s[1], y1 = y + r * s[2], x2 = x + r * s[3],
        y2 = y + r * s[4], stroke = paint, width = 1.6, opacity = opacity })
    end
  elseif outlines[shape] then
    local points = {}
    for i, o in ipairs(outlines[shape]) do points[i] = { x + r * o[1], y + r * o[2] } end
    scene:add("path", { points = points, closed = true, fill = paint, opacity = opacity })
  else
    scene:add("circle", { x = x, y = y, r = r, fill = paint, opacity = opacity })
  end
end

-- ---- series -------------------------------------------------------------------------------------

local function band(scene, g, m)
  for _, run in ipairs(stretches(g, m)) do
    local points = {}
    local function edge(list, i)
      local v = list[i]
      if not (v - v == 0) then v = m.y[i] end
      if g.y.kind == "log" and not (v > 0) then v = g.y:value(0) end -- down to the frame
      local px, py = layout.place(g, m.x[i], v)
      points[#points + 1] = { px, math.max(g.top, math.min(g.top + g.h, py)) }
    end
    for k = 1, #run do edge(m.high, run[k][3]) end
    for k = #run, 1, -1 do edge(m.low, run[k][3]) end
    if #run > 1 then
      scene:add("path", { points = points, closed = true, fill = ink(m), opacity = 0.2 })
    end
  end
end

local function error_bars(scene, g, m)
  for _, run in ipairs(stretches(g, m)) do
    for _, p in ipairs(run) do
      local low, high = m.low[p[3]], m.high[p[3]]
      if low - low == 0 and high - high == 0 then
        local _, y1 = layout.place(g, m.x[p[3]], g.y:shows(low) and low or g.y:value(0))
        local _, y2 = layout.place(g, m.x[p[3]], high)
        scene:add("line", { x1 = p[1], y1 = y1, x2 = p[1], y2 = y2, stroke = ink(m), width = 1.2 })
        for _, y in ipairs { y1, y2 } do
          scene:add("line", { x1 = p[1] - 3, y1 = y, x2 = p[1] + 3, y2 = y, stroke = ink(m),
            width = 1.2 })
        end
      end
    end
  end
end

local function curve(scene, g, m)
  local shown = 0
  for _, run in ipairs(stretches(g, m)) do shown = shown + #run end
  for _, run in ipairs(stretches(g, m)) do
    if m.line and #run > 1 then
      scene:add("path", { points = run, stroke = ink(m), width = m.thin and 0.9 or 1.8,
        dash = m.dash or nil, opacity = m.faint and 0.45 or nil })
    end
    local markers = m.markers
    if markers == nil then markers = not m.line or shown <= 12 end
    if markers or #run == 1 then
      local many = shown > 400
      for _, p in ipairs(run) do
        marker(scene, m.shape, p[1], p[2], m.size or (many and 1.6 or m.line and 2.6 or 3), ink(m),
          many and 0.55 or m.faint and 0.5 or nil)
      end
    end
  end
end

-- Counts over intervals: filled when alone, else as steps over a tint.
local function steps(scene, g, m)
  local points, bottom = {}, g.top + g.h
  local count = #m.counts
  for k = 1, count do
    local c = m.counts[k]
    local x1 = layout.place(g, m.edges[k], 1)
    local x2 = layout.place(g, m.edges[k + 1], 1)
    local _, y = layout.place(g, m.edges[k], g.y:shows(c) and c or 1)
    if not g.y:shows(c) or c <= 0 then y = bottom end
    y = math.min(y, bottom)
    if m.alone then
      if y < bottom then
        local gap = x2 - x1 > 4 and 0.5 or 0
        scene:add("rect", { x = x1 + gap, y = y, w = x2 - x1 - 2 * gap, h = bottom - y,
          fill = { m.colour, share = 0.75 } })
      end
    else
      points[#points + 1], points[#points + 2] = { x1, y }, { x2, y }
    end
  end
  if m.alone or #points == 0 then return end
  table.insert(points, 1, { points[1][1], bottom })
  points[#points + 1] = { points[#points][1], bottom }
  scene:add("path", { points = points, closed = true, fill = ink(m), opacity = 0.16 })
  scene:add("path", { points = points, stroke = ink(m), width = 1.6, dash = m.dash or nil })
end

-- Triangles at the upper edge of the frame, stacked where they meet.
local function diverged(scene, g, marks)
  local taken, first = {}, nil
  for _, m in ipairs(marks) do
    for _, x in ipairs(m.kind == "series" and m.diverged or {}) do
      if g.x:shows(x) then
        local px = layout.place(g, x, 1)
        local slot = math.floor(px / 6)
        local depth = taken[slot] or 0
        taken[slot] = depth + 1
        local py = g.top + 7 + 9 * depth
        if px >= g.left - 1 and px <= g.left + g.w + 1 and py < g.top + g.h then
          scene:add("path", { closed = true, stroke = ink(m), fill = "paper", width = 1.4,
            points = { { px, py - 5 }, { px + 4.5, py + 3 }, { px - 4.5, py + 3 } } })
          scene:avoid(px - 6, py - 6, px + 6, py + 4)
          first = first or { px, py }
        end
      end
    end
  end
  return first
end

-- ---- cells --------------------------------------------------------------------------------------

-- Quarters of a pixel survive being written: neighbours share their edge.
local function snapped(v) return math.floor(4 * v + 0.5) / 4 end

local function cells(scene, g, m)
  for r, row in ipairs(m.z) do
    local _, y1 = layout.place(g, m.x[1], m.y[r])
    local _, y2 = layout.place(g, m.x[1], m.y[r + 1])
    local top, bottom = snapped(math.min(y1, y2)), snapped(math.max(y1, y2))
    local start, paint
    for c = 1, #row + 1 do
      local now = false
      if c <= #row then
        local t = panel.position(m, row[c])
        now = t and colour.at(m.map, t) or "grid"
      end
      if now ~= paint then
        if paint and start then
          local a = snapped((layout.place(g, m.x[start], m.y[r])))
          local b = snapped((layout.place(g, m.x[c], m.y[r])))
          scene:add("rect", { x = math.min(a, b), y = top, w = math.abs(b - a), h = bottom - top,
            fill = paint, crisp = true })
        end
        start, paint = c, now
      end
    end
  end
end

local function cell_values(scene, g, m)
  local size = g.small
  for r, row in ipairs(m.values) do
    local _, y1 = layout.place(g, m.x[1], m.y[r])
    local _, y2 = layout.place(g, m.x[1], m.y[r + 1])
    for c, word in ipairs(row) do
      local x1, x2 = layout.place(g, m.x[c], m.y[r]), layout.place(g, m.x[c + 1], m.y[r])
      while size >= 7 and (text.width(word, size) > math.abs(x2 - x1) - 4
        or text.height(size) > math.abs(y2 - y1) - 2) do
        size = size - 0.5
      end
    end
  end
  if size < 7 then return end
  for r, row in ipairs(m.values) do
    for c, word in ipairs(row) do
      local x1, y1 = layout.place(g, m.x[c], m.y[r])
      local x2, y2 = layout.place(g, m.x[c + 1], m.y[r + 1])
      local t = panel.position(m, m.z[r][c])
      scene:text(word, (x1 + x2) / 2, (y1 + y2) / 2 + 0.36 * size, { size = size,
        anchor = "middle", paint = t and colour.on(colour.at(m.map, t)) or "soft" })
    end
  end
end

-- ---- axes ---------------------------------------------------------------------------------------

local function grid_lines(scene, g)
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

local function frame(scene, g, p)
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
      scene:text(t.label, x + 0.3 * g.small, bottom + g.gap, { size = g.small, anchor = "end",
        rotated = true, paint = "soft" })
    else
      scene:text(t.label, x, bottom + g.gap + text.ascent * g.small, { size = g.small,
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
    scene:text(line, centred(line, g.size), bottom + g.gap + g.x_depth + 0.15 * g.size
      + (i - 1) * g.line + text.ascent * g.size, { size = g.size, anchor = "middle" })
  end
  for i, line in ipairs(g.ylabel) do
    local half = text.width(line, g.size) / 2
    local y = math.max(box.y + half, math.min(bottom - half, g.top + g.h / 2))
    scene:text(line, box.x + (i - 1) * g.line + text.ascent * g.size, y, { size = g.size,
      anchor = "middle", rotated = true })
  end
  if p.bar then draw.bar(scene, g, p.bar) end
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
function draw.bar_width(bar, height, font)
  local _, widest = bar_ticks(bar, height, font - 1)
  return font + bar_width + 0.5 * font + widest + (bar.label and 1.5 * font or 0)
end

function draw.bar(scene, g, bar)
  local x = g.left + g.w + g.size
  local n = 128
  for k = 0, n - 1 do
    local top = g.top + g.h * (1 - (k + 1) / n)
    local over = k < n - 1 and 1 or 0 -- the next one covers it: no seam
    scene:add("rect", { x = x, y = top - over, w = bar_width, h = g.h / n + over,
      fill = colour.at(bar.map, (k + 0.5) / n), crisp = true })
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

-- ---- labels -------------------------------------------------------------------------------------

local function legend_sample(scene, e, x, y, width, size)
  if e.region then
    scene:add("rect", { x = x, y = y - 0.4 * size, w = width, h = 0.8 * size,
      fill = { e.colour, share = 0.4 } })
  elseif e.counts then
    scene:add("rect", { x = x, y = y - 0.4 * size, w = width, h = 0.8 * size,
      fill = { e.colour, share = 0.6 } })
  elseif e.triangle then
    scene:add("path", { closed = true, stroke = "soft", fill = "paper", width = 1.4,
      points = { { x + width / 2, y - 5 }, { x + width / 2 + 4.5, y + 3 },
        { x + width / 2 - 4.5, y + 3 } } })
  else
    if e.kind == "rule" or e.line or e.fitted then
      scene:add("line", { x1 = x, y1 = y, x2 = x + width, y2 = y, stroke = ink(e),
        width = e.thin and 1 or 1.8, dash = e.kind == "rule" and { 4, 3 } or e.dash or nil,
        opacity = e.faint and 0.6 or nil })
    end
    if e.kind == "series" and (not e.line or e.markers) then
      marker(scene, e.shape, x + width / 2, y, 3, ink(e))
    end
  end
end

local function legend_inside(scene, g, entries, x, y, w, h)
  scene:add("rect", { x = x, y = y, w = w, h = h, fill = "paper", stroke = "grid", width = 1 })
  local size = g.small
  for i, e in ipairs(entries) do
    local line = y + 0.35 * size + (i - 0.5) * 1.3 * size
    legend_sample(scene, e, x + 0.5 * size, line, 2.2 * size, size)
    scene:text(e.label, x + 3.2 * size, line + 0.36 * size, { size = size })
  end
end

local function legend_below(scene, g, flow, y)
  local size = g.small
  local function at(i)
    local column, row = (i - 1) % flow.per_row, (i - 1) // flow.per_row
    return g.box.x + column * flow.cell, y + (row + 0.5) * flow.line
  end
  for i, e in ipairs(flow.entries) do
    local x, line = at(i)
    legend_sample(scene, e, x, line, flow.sample, size)
    scene:text(text.shorten(e.label, size, flow.cell - flow.sample - 1.0 * size),
      x + flow.sample + 0.5 * size, line + 0.36 * size, { size = size })
  end
  if flow.left_out > 0 then
    local x, line = at(#flow.entries + 1)
    scene:text(text.shorten(("and %d more"):format(flow.left_out), size, flow.cell), x,
      line + 0.36 * size, { size = size, paint = "soft" })
  end
end

local function labels_at_ends(scene, g, list)
  table.sort(list, function(a, b) return a.at > b.at end)
  local wanted, size = {}, g.small
  for i, e in ipairs(list) do wanted[i] = g.top + g.h * (1 - e.at) end
  local half = text.height(size) / 2
  local found = layout.spread(wanted, 1.15 * size, g.top - half + 0.5 * size,
    math.max(g.top + g.h, g.top + (#list - 1) * 1.15 * size))
  local x = g.left + g.w
  for i, e in ipairs(list) do
    local end_x = g.left + g.w * e.x
    if math.abs(found[i] - wanted[i]) > 3 or x - end_x > 3 then
      scene:add("path", { points = { { end_x + 2, wanted[i] }, { x + 4, wanted[i] },
        { x + 11, found[i] } }, stroke = { e.mark.colour or "soft", 2.2 }, width = 0.8,
        opacity = 0.7 })
      scene:text(e.text, x + 13, found[i] + 0.36 * size, { size = size, paint = words(e.mark) })
    else
      scene:text(e.text, x + 6, found[i] + 0.36 * size, { size = size, paint = words(e.mark) })
    end
  end
end

-- Draws a text at a point (distance 0), or near it, where it meets no other, inside the frame; false
-- when there is no such place.
local function near(scene, g, word, x, y, distance, paint)
  local size = g.small
  word = text.shorten(word, size, 0.7 * g.w)
  local up = text.ascent * size
  local strict = true
  local function try(px, py, anchor)
    local l, t, r, b = text.box(word, px, py, size, anchor)
    if l < g.left + 2 or r > g.left + g.w - 2 or t < g.top + 1 or b > g.top + g.h - 1
      or scene:collides(l - 1, t, r + 1, b, strict) then
      return false
    end
    scene:text(word, px, py, { size = size, anchor = anchor, paint = paint, halo = "paper" })
    return true
  end
  if distance == 0 and try(x, y + 0.36 * size, "middle") then return true end
  for turn = 0, 7 do
    local reach = turn % 4
    strict = turn < 4 -- first off the marks as well, then off texts only
    local d = math.max(distance, 0.6 * size) + reach * size
    local aside = math.max(distance, 0.6 * size)
    if try(x + aside, y - d, "start") or try(x - aside, y - d, "end")
      or try(x + aside, y + d + up * 0.7, "start") or try(x - aside, y + d + up * 0.7, "end")
      or try(x, y - d - 2, "middle") or try(x, y + d + up + 2, "middle")
      or (reach == 0 and (try(x + d + 2, y + 0.36 * size, "start")
        or try(x - d - 2, y + 0.36 * size, "end"))) then
      return true
    end
  end
  return false
end

-- ---- a panel ------------------------------------------------------------------------------------

local function trace_points(g, marks)
  local points = {}
  for _, m in ipairs(marks) do
    if m.kind == "series" and m.counts then
      for k, c in ipairs(m.counts) do
        if c > 0 then
          local x1, y = layout.place(g, m.edges[k], c)
          local x2 = layout.place(g, m.edges[k + 1], c)
          for x = x1, x2 + 1, math.max(1, (x2 - x1) / 4, 4) do
            for py = y, g.top + g.h, 8 do points[#points + 1] = { x, py } end
          end
        end
      end
    elseif m.kind == "series" then
      for _, run in ipairs(stretches(g, m)) do
        for i, p in ipairs(run) do
          points[#points + 1] = p
          local q = m.line and run[i + 1]
          if q then
            local n = math.min(200, math.max(math.abs(q[1] - p[1]), math.abs(q[2] - p[2])) // 6)
            for k = 1, n do
              points[#points + 1] = { p[1] + (q[1] - p[1]) * k / (n + 1),
                p[2] + (q[2] - p[2]) * k / (n + 1) }
            end
          end
        end
      end
      for _, x in ipairs(m.diverged or {}) do
        if g.x:shows(x) then points[#points + 1] = { layout.place(g, x, 1), g.top + 7 } end
      end
    elseif m.kind == "rule" then
      for k = 0, 40 do
        local px, py
        if m.y then
          px, py = g.left + g.w * k / 40, select(2, layout.place(g, g.x:value(0), m.y))
        else
          px, py = layout.place(g, m.x, g.y:value(0)), g.top + g.h * k / 40
        end
        points[#points + 1] = { px, py }
      end
    end
  end
  return points
end

local function has(marks, kind)
  for _, m in ipairs(marks) do
    if m.kind == kind then return m end
  end
end

local function labelled(p)
  local list = {}
  if p.hide_legend then return list end
  local any = false
  for _, m in ipairs(p.marks) do
    if m.label and (m.kind == "series" or m.kind == "rule") then list[#list + 1] = m end
    any = any or (m.kind == "series" and m.diverged and #m.diverged > 0)
  end
  return list, any
end

local function empty(scene, p, box, font)
  local word = text.shorten("no finite point to draw", font, box.w - 8)
  local top = box.y
  for i, line in ipairs(p.title and text.wrap(p.title, font + 1, box.w, 2, "bold") or {}) do
    scene:text(line, box.x + box.w / 2, box.y + (i - 1) * 1.25 * (font + 1)
      + text.ascent * (font + 1), { size = font + 1, anchor = "middle", weight = "bold" })
    top = box.y + i * 1.25 * (font + 1) + 4
  end
  scene:add("rect", { x = box.x + 0.5, y = top, w = box.w - 1, h = box.y + box.h - top,
    stroke = "grid", width = 1 })
  scene:text(word, box.x + box.w / 2, (top + box.y + box.h) / 2 + 0.36 * font, { size = font,
    anchor = "middle", paint = "soft" })
end

local function paint_rule(scene, g, m)
  local shape = { stroke = { m.colour or "soft", 2.2 }, width = 1.3, dash = { 4, 3 } }
  if m.y then
    local _, y = layout.place(g, g.x:value(0), m.y)
    shape.x1, shape.y1, shape.x2, shape.y2 = g.left, y, g.left + g.w, y
  else
    local x = layout.place(g, m.x, g.y:value(0))
    shape.x1, shape.y1, shape.x2, shape.y2 = x, g.top, x, g.top + g.h
  end
  scene:add("line", shape)
end

--- Draws panel p into the box { x, y, w, h } of a scene, with a font size.
function draw.panel(scene, p, box, font)
  local sx, sy = panel.scales(p)
  if not sx then return empty(scene, p, box, font) end
  local right, below = 0, 0
  if p.bar then right = draw.bar_width(p.bar, box.h, font) end
  local g = layout.geometry(p, box, sx, sy, font, right, 0)

  -- where names go: ends of curves, else inside where nothing is hidden, else below
  local entries, any_diverged = labelled(p)
  local ends, flow, inside
  local region_mark = has(p.marks, "regions")
  if region_mark and not p.hide_legend then
    for _, e in ipairs(regions.labels(g, region_mark)) do entries[#entries + 1] = e end
  end
  if #entries > 0 and (p.legend == nil or p.legend == "auto" or p.legend == "ends") and not p.bar
    and not region_mark then
    ends = layout.ends(g, entries, p.legend == "ends" and 0.6 or 0.3)
    if ends then
      for _, e in ipairs(ends) do right = math.max(right, text.width(e.text, g.small) + 18) end
      g = layout.geometry(p, box, sx, sy, font, right, 0)
      ends = layout.ends(g, entries, 0.6)
      if not ends then
        right = 0
        g = layout.geometry(p, box, sx, sy, font, right, 0)
      end
    end
  end
  local points
  if #entries > 0 and not ends then
    points = trace_points(g, p.marks)
    local w, h = layout.legend_size(g, entries)
    if p.legend ~= "outside" and not has(p.marks, "cells") and not region_mark then
      inside = { w = w, h = h }
      inside.x, inside.y = layout.free_place(g, w, h, points, scene)
    end
    if not (inside and inside.x) then
      inside = nil
      flow = layout.flow(g, entries, 0.34 * box.h)
      below = flow.height
      g = layout.geometry(p, box, sx, sy, font, right, below)
    end
  end

  if not has(p.marks, "cells") and not region_mark then grid_lines(scene, g) end
  local cut = p.x.low or p.x.high or p.y.low or p.y.high
  if cut then scene:add("clip", { x = g.left, y = g.top, w = g.w, h = g.h }) end
  for _, m in ipairs(p.marks) do
    if m.kind == "cells" then cells(scene, g, m) end
    if m.kind == "regions" then regions.draw(scene, g, m) end
    if m.kind == "series" and m.low and not m.bars then band(scene, g, m) end
  end
  for _, m in ipairs(p.marks) do
    if m.kind == "rule" then paint_rule(scene, g, m) end
    if m.kind == "series" and m.counts then
      steps(scene, g, m)
    elseif m.kind == "series" then
      if m.low and m.bars then error_bars(scene, g, m) end
      curve(scene, g, m)
    end
  end
  if cut then scene:add("unclip", {}) end
  local first = diverged(scene, g, p.marks)
  frame(scene, g, p)
  if inside then
    legend_inside(scene, g, entries, inside.x, inside.y, inside.w, inside.h)
    scene.boxes[#scene.boxes + 1] = { inside.x, inside.y, inside.x + inside.w,
      inside.y + inside.h }
  end
  if ends then labels_at_ends(scene, g, ends) end
  if flow then legend_below(scene, g, flow, box.y + box.h - below + 0.5 * g.small) end
  for _, m in ipairs(p.marks) do
    if m.kind == "cells" and m.values then cell_values(scene, g, m) end
    if m.kind == "regions" then regions.write(scene, g, m) end
  end
  for _, m in ipairs(p.marks) do
    local best = m.kind == "series" and m.optimum
    if best and g.x:shows(best.x) and g.y:shows(best.y) then
      local px, py = layout.place(g, best.x, best.y)
      if px >= g.left - 1 and px <= g.left + g.w + 1 and py >= g.top - 1 and py <= g.top + g.h + 1
      then
        scene:add("circle", { x = px, y = py, r = 5.5, stroke = ink(m), fill = "paper",
          width = 1.8 })
        scene:add("circle", { x = px, y = py, r = 2, fill = ink(m) })
        scene:avoid(px - 6, py - 6, px + 6, py + 6)
        if best.text then near(scene, g, best.text, px, py, 8, words(m)) end
      end
    end
  end
  for _, m in ipairs(p.marks) do
    if m.kind == "note" then
      local px, py = layout.place(g, m.x, m.y)
      if not near(scene, g, m.text, px, py, 0, "ink") then
        scene.left_out = scene.left_out + 1
      end
    end
  end
  if any_diverged and first then near(scene, g, "diverged", first[1], first[2], 7, "soft") end
end

return draw
