--- Draws a panel into a scene of shapes: what is where, in which order.
local frame = require "moonlab.plot.frame"
local labels = require "moonlab.plot.labels"
local layout = require "moonlab.plot.layout"
local marks = require "moonlab.plot.marks"
local panel = require "moonlab.plot.panel"
local regions = require "moonlab.plot.regions"
local text = require "moonlab.plot.text"

local draw = {}

local function trace_points(g, list)
  local points = {}
  for _, m in ipairs(list) do
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
      for _, run in ipairs(marks.stretches(g, m)) do
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
      local best = m.optimum
      if best and g.x:shows(best.x) and g.y:shows(best.y) then
        local x, y = layout.place(g, best.x, best.y)
        for k = 0, 8 do points[#points + 1] = { x + 6 * (k % 3 - 1), y + 6 * (k // 3 - 1) } end
      end
      for _, x in ipairs(m.diverged or {}) do
        if g.x:shows(x) then points[#points + 1] = { layout.place(g, x, 1), g.top + 7 } end
      end
    elseif m.kind == "note" then
      local x, y = layout.place(g, m.x, m.y)
      local half = text.width(m.text, g.small) / 2
      for k = -2, 2 do points[#points + 1] = { x + half * k / 2, y } end
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

local function has(list, kind)
  for _, m in ipairs(list) do
    if m.kind == kind then return m end
  end
end

-- Those of a list that pass a test, and the others.
local function split(list, test)
  local yes, no = {}, {}
  for _, e in ipairs(list) do table.insert(test(e) and yes or no, e) end
  return yes, no
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

-- Where names go: at the ends of curves, else inside where they hide nothing, else below. Returns
-- the geometry and { entries, rules, ends | inside | flow }.
local function arrange(p, box, sx, sy, font)
  local right = p.bar and frame.bar_width(p.bar, box.h, font) or 0
  local g = layout.geometry(p, box, sx, sy, font, right, 0)
  local area = has(p.marks, "regions") or has(p.marks, "cells")
  local plan = {}
  plan.entries, plan.any_diverged = labelled(p)
  if area and area.kind == "regions" and not p.hide_legend then
    for _, e in ipairs(regions.labels(g, area)) do table.insert(plan.entries, e) end
  end
  if #plan.entries == 0 then return g, plan end
  local way = p.legend or "auto"
  local all = plan.entries
  if (way == "auto" or way == "ends") and not p.bar and not area then
    local upright, others = split(all, function(e) return e.kind == "rule" and e.x ~= nil end)
    local ends = #others > 0 and layout.ends(g, others, way == "ends" and 0.6 or 0.3)
    local room = 0
    for _, e in ipairs(ends or {}) do room = math.max(room, text.width(e.text, g.small) + 18) end
    if ends then
      local narrower = layout.geometry(p, box, sx, sy, font, room, 0)
      local without
      plan.ends = layout.ends(narrower, others, 0.6)
      plan.rules, without = layout.beside_rules(narrower, upright, trace_points(narrower, p.marks))
      if plan.ends and #without == 0 then return narrower, plan end
      plan.ends = nil
    end
  end
  -- the names of reference lines stand at the lines, those that have no place there in the legend
  local rules, series = split(all, function(e) return e.kind == "rule" end)
  local points = trace_points(g, p.marks)
  local places, without = layout.beside_rules(g, rules, points)
  plan.rules = places
  plan.entries = table.move(without, 1, #without, #series + 1, { table.unpack(series) })
  if #plan.entries == 0 then return g, plan end
  if way ~= "outside" and not area then
    local w, h = layout.legend_size(g, plan.entries)
    local boxes = {}
    for i, e in ipairs(plan.rules) do boxes[i] = e.box end
    local x, y = layout.free_place(g, w, h, points, boxes)
    if x then
      plan.inside = { x = x, y = y, w = w, h = h }
      return g, plan
    end
  end
  local function below(entries)
    plan.entries, plan.flow = entries, layout.flow(g, entries, 0.34 * box.h)
    return layout.geometry(p, box, sx, sy, font, right, plan.flow.height)
  end
  local whole = g
  if #series > 0 then
    g = below(series)
    plan.rules, without = layout.beside_rules(g, rules, trace_points(g, p.marks))
  end
  if #without > 0 then
    g = whole
    g, plan.rules = below(all), {}
  end
  if g.h < 24 then -- no legend in a tiny figure
    g, plan.flow, plan.rules = whole, nil, {}
    g.dropped = g.dropped + #plan.entries
  end
  if area and area.kind == "regions" then regions.labels(g, area) end
  return g, plan
end

-- The marks from the back to the front.
local function paint(scene, p, g)
  local cut = p.x.low or p.x.high or p.y.low or p.y.high
  if cut then scene:add("clip", { x = g.left, y = g.top, w = g.w, h = g.h }) end
  for _, m in ipairs(p.marks) do
    if m.kind == "cells" then marks.cells(scene, g, m) end
    if m.kind == "regions" then regions.draw(scene, g, m) end
    if m.kind == "series" and m.low and not m.bars then marks.band(scene, g, m) end
  end
  for _, m in ipairs(p.marks) do
    if m.kind == "rule" then marks.rule(scene, g, m) end
    if m.kind == "series" and m.counts then
      marks.steps(scene, g, m)
    elseif m.kind == "series" then
      if m.low and m.bars then marks.error_bars(scene, g, m) end
      marks.curve(scene, g, m)
    end
  end
  if cut then scene:add("unclip", {}) end
end

-- Texts over the data, the more important first.
local function write(scene, p, g, plan, first_diverged)
  if plan.inside then
    local i = plan.inside
    labels.inside(scene, g, plan.entries, i.x, i.y, i.w, i.h)
    table.insert(scene.boxes, { i.x, i.y, i.x + i.w, i.y + i.h })
  end
  for _, e in ipairs(plan.rules or {}) do
    scene:text(e.mark.label, e.x, e.y, { size = g.small, anchor = e.anchor, rotated = e.rotated,
      paint = marks.words(e.mark), halo = "paper" })
  end
  if plan.ends then labels.ends(scene, g, plan.ends) end
  if plan.flow then
    labels.below(scene, g, plan.flow, g.box.y + g.box.h - plan.flow.height + 0.5 * g.small)
  end
  for _, m in ipairs(p.marks) do
    if m.kind == "cells" and m.values then marks.cell_values(scene, g, m) end
    if m.kind == "regions" then regions.write(scene, g, m) end
  end
  for _, m in ipairs(p.marks) do
    if m.kind == "series" then
      local x, y = marks.optimum(scene, g, m)
      if x and m.optimum.text then
        labels.near(scene, g, m.optimum.text, x, y, 8, marks.words(m))
      end
    end
  end
  for _, m in ipairs(p.marks) do
    if m.kind == "note" then
      local x, y = layout.place(g, m.x, m.y)
      if not labels.near(scene, g, m.text, x, y, 0, "ink") then
        scene.left_out = scene.left_out + 1
      end
    end
  end
  if plan.any_diverged and first_diverged then
    labels.near(scene, g, "diverged", first_diverged[1], first_diverged[2], 7, "soft")
  end
end

--- Draws panel p into the box { x, y, w, h } of a scene, with a font size.
function draw.panel(scene, p, box, font)
  local sx, sy = panel.scales(p)
  if not sx then return empty(scene, p, box, font) end
  local g, plan = arrange(p, box, sx, sy, font)
  if not has(p.marks, "cells") and not has(p.marks, "regions") then frame.lines(scene, g) end
  paint(scene, p, g)
  local first_diverged = marks.diverged(scene, g, p.marks)
  frame.draw(scene, g, p)
  write(scene, p, g, plan, first_diverged)
  scene.left_out = scene.left_out + g.dropped
end

return draw
