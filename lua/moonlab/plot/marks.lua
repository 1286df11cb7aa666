--- Marks of a panel as shapes in pixels: curves, bands, markers, bars, cells, reference lines.
local colour = require "moonlab.plot.colour"
local layout = require "moonlab.plot.layout"
local panel = require "moonlab.plot.panel"
local text = require "moonlab.plot.text"

local marks = {}

--- The paint of a mark, and of words in its colour.
function marks.ink(m) return { m.colour or "ink", 2.2 } end
function marks.words(m) return { m.colour or "ink", 4.5 } end
local ink = marks.ink

--- Stretches of points that the axes show: lists of { px, py, i }.
function marks.stretches(g, m)
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

local stretches = marks.stretches

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

--- A marker of a shape around a position.
function marks.marker(scene, shape, x, y, r, paint, opacity)
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

local marker = marks.marker

-- ---- series -------------------------------------------------------------------------------------

--- A band between low and high.
function marks.band(scene, g, m)
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

--- Error bars from low to high.
function marks.error_bars(scene, g, m)
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

--- Whether a series has a marker at each of its points.
function marks.marked(m)
  if m.markers ~= nil then return m.markers end
  return not m.line or (#m.x <= 12 and not m.counts)
end

--- A line, its markers, or a cloud of points.
function marks.curve(scene, g, m)
  local shown = 0
  for _, run in ipairs(stretches(g, m)) do shown = shown + #run end
  for _, run in ipairs(stretches(g, m)) do
    if m.line and #run > 1 then
      scene:add("path", { points = run, stroke = ink(m), width = m.thin and 0.9 or 1.8,
        dash = m.dash or nil, opacity = m.faint and 0.45 or nil })
    end
    if marks.marked(m) or #run == 1 then
      local many = shown > 400
      for _, p in ipairs(run) do
        marker(scene, m.shape, p[1], p[2], m.size or (many and 1.6 or m.line and 2.6 or 3), ink(m),
          many and 0.55 or m.faint and 0.5 or nil)
      end
    end
  end
end

--- Counts over intervals: filled when alone, else as steps over a tint.
function marks.steps(scene, g, m)
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

--- Triangles at the upper edge of the frame, stacked where they meet; returns the first position.
function marks.diverged(scene, g, list)
  local taken, first = {}, nil
  for _, m in ipairs(list) do
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

--- The cells of a heat map.
function marks.cells(scene, g, m)
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

--- Each cell's value, where all fit.
function marks.cell_values(scene, g, m)
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

-- ---- optima and reference lines -----------------------------------------------------------------

--- A ring around the optimum of a series; returns its position when it is inside the frame.
function marks.optimum(scene, g, m)
  local best = m.optimum
  if not (best and g.x:shows(best.x) and g.y:shows(best.y)) then return nil end
  local x, y = layout.place(g, best.x, best.y)
  if x < g.left - 1 or x > g.left + g.w + 1 or y < g.top - 1 or y > g.top + g.h + 1 then
    return nil
  end
  scene:add("circle", { x = x, y = y, r = 5.5, stroke = ink(m), fill = "paper", width = 1.8 })
  scene:add("circle", { x = x, y = y, r = 2, fill = ink(m) })
  scene:avoid(x - 6, y - 6, x + 6, y + 6)
  return x, y
end

--- A dashed line across the frame.
function marks.rule(scene, g, m)
  local shape = { stroke = { m.colour or "soft", 2.2 }, width = 1.3, dash = m.dash or { 4, 3 } }
  if m.y then
    local _, y = layout.place(g, g.x:value(0), m.y)
    shape.x1, shape.y1, shape.x2, shape.y2 = g.left, y, g.left + g.w, y
  else
    local x = layout.place(g, m.x, g.y:value(0))
    shape.x1, shape.y1, shape.x2, shape.y2 = x, g.top, x, g.top + g.h
  end
  scene:add("line", shape)
end

return marks
