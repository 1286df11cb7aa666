--- Names of marks: legends, labels at the ends of curves, texts near points.
local layout = require "moonlab.plot.layout"
local marks = require "moonlab.plot.marks"
local text = require "moonlab.plot.text"

local labels = {}
local ink, words, marker = marks.ink, marks.words, marks.marker

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
        width = e.thin and 1 or 1.8, dash = e.dash or e.kind == "rule" and { 4, 3 } or nil,
        opacity = e.faint and 0.6 or nil })
    end
    if e.kind == "series" and marks.marked(e) then
      marker(scene, e.shape, x + width / 2, y, 3, ink(e))
    end
  end
end

--- A legend in a box over the data.
function labels.inside(scene, g, entries, x, y, w, h)
  scene:add("rect", { x = x, y = y, w = w, h = h, fill = "paper", stroke = "grid", width = 1 })
  local size = g.small
  for i, e in ipairs(entries) do
    local line = y + 0.35 * size + (i - 0.5) * 1.3 * size
    legend_sample(scene, e, x + 0.5 * size, line, 2.2 * size, size)
    scene:text(e.label, x + 3.2 * size, line + 0.36 * size, { size = size })
  end
end

--- A legend in rows below the panel.
function labels.below(scene, g, flow, y)
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

--- Names beside the ends of their curves, moved apart, with a leader to where they belong.
function labels.ends(scene, g, list)
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
      local away = e.away
      scene:add("path", { points = { { end_x + away - 4, wanted[i] }, { x + away - 2, wanted[i] },
        { x + 11, found[i] } }, stroke = { e.mark.colour or "soft", 2.2 }, width = 0.8,
        opacity = 0.7 })
      scene:text(e.text, x + 13, found[i] + 0.36 * size, { size = size, paint = words(e.mark) })
    else
      scene:text(e.text, x + e.away, found[i] + 0.36 * size, { size = size, paint = words(e.mark) })
    end
  end
end

--- Draws a text at a point (distance 0), or near it, where it meets no other, inside the frame;
--- false when there is no such place.
function labels.near(scene, g, word, x, y, distance, paint)
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

return labels
