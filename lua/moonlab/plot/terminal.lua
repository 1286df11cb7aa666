--- The terminal back end: curves in braille dots, maps in shades, labels where characters are free.
local characters = require "moonlab.plot.characters"
local colour = require "moonlab.plot.colour"
local layout = require "moonlab.plot.layout"
local panel = require "moonlab.plot.panel"
local text = require "moonlab.plot.text"

local terminal = {}

local cells, cells_of = characters.cells, characters.cells_of
local shorten, shorten_apart, wrap = characters.shorten, characters.shorten_apart, characters.wrap

local function tinted(s, paint)
  return paint and ("\27[38;5;%dm%s\27[0m"):format(colour.terminal(paint), s) or s
end

-- A colour that is seen on dark and on light terminals.
local function visible(paint)
  if not paint or paint == "#000000" or not colour.read(paint) then return nil end
  return colour.contrast(paint, "#000000") < 3 and colour.legible(paint, "#000000", 3.2) or paint
end

-- ---- canvas -------------------------------------------------------------------------------------

local dots = { { 0x01, 0x02, 0x04, 0x40 }, { 0x08, 0x10, 0x20, 0x80 } }

local Canvas = {}
Canvas.__index = Canvas

local function canvas(w, h)
  local c = setmetatable({ w = w, h = h, bits = {}, glyphs = {}, paints = {}, backs = {} }, Canvas)
  for r = 1, h do c.bits[r], c.glyphs[r], c.paints[r], c.backs[r] = {}, {}, {}, {} end
  return c
end

function Canvas:dot(px, py, paint)
  if px < 0 or py < 0 or px >= 2 * self.w or py >= 4 * self.h then return end
  local r, c = py // 4 + 1, px // 2 + 1
  self.bits[r][c] = (self.bits[r][c] or 0) | dots[px % 2 + 1][py % 4 + 1]
  self.paints[r][c] = paint
end

function Canvas:glyph(c, r, s, paint)
  if r < 1 or c < 1 or r > self.h or c > self.w then return end
  self.glyphs[r][c], self.paints[r][c] = s, paint
end

-- A line of dots between two positions; with `dash`, so many dots of every `period` (twice that)
-- are drawn, counted along the longer axis of the canvas so that pieces of a curve join.
function Canvas:line(x1, y1, x2, y2, paint, dash, period)
  local steps = math.max(math.abs(x2 - x1), math.abs(y2 - y1))
  if steps > 20 * (self.w * 2 + self.h * 4) then return end
  for k = 0, steps do
    local along = math.abs(x2 - x1) >= math.abs(y2 - y1) and x1 + k or y1 + k
    if not dash or along % (period or 2 * dash) < dash then
      local t = steps == 0 and 0 or k / steps
      self:dot(math.floor(x1 + (x2 - x1) * t + 0.5), math.floor(y1 + (y2 - y1) * t + 0.5), paint)
    end
  end
end

-- Writes a word from cell c on, where nothing but dots is; false where a glyph is in the way.
function Canvas:word(c, r, s, paint)
  local n = cells(s)
  if r < 1 or r > self.h or c < 1 or c + n - 1 > self.w then return false end
  for k = c - 1, c + n do
    if self.glyphs[r][k] then return false end
  end
  local at = c
  for _, code in utf8.codes(s) do
    self.glyphs[r][at], self.paints[r][at] = utf8.char(code), paint
    if cells_of(code) == 2 then self.glyphs[r][at + 1] = "" end
    at = at + cells_of(code)
  end
  return true
end

function Canvas:row(r, color)
  local parts = {}
  for c = 1, self.w do
    local bits = self.bits[r][c]
    local s = self.glyphs[r][c] or (bits and bits > 0 and utf8.char(0x2800 + bits)) or " "
    local paint, back = self.paints[r][c], self.backs[r][c]
    if color and back then
      parts[c] = ("\27[38;5;%d;48;5;%dm%s\27[0m"):format(colour.terminal(back[1]),
        colour.terminal(back[2]), s == " " and "▀" or s)
    else
      parts[c] = color and s ~= " " and tinted(s, visible(paint)) or s
    end
  end
  return table.concat(parts)
end

-- ---- marks --------------------------------------------------------------------------------------

local markers = { circle = "●", square = "■", triangle = "▲", diamond = "◆", down = "▼",
  plus = "+", cross = "×" }

-- Positions in dots; x to the right, y down.
local function place(v, x, y)
  local px = v.x:at(x) * (2 * v.canvas.w - 1)
  local py = (1 - v.y:at(y)) * (4 * v.canvas.h - 1)
  local function cut(p) return math.max(-1e5, math.min(1e5, p)) end
  return math.floor(cut(px) + 0.5), math.floor(cut(py) + 0.5)
end

-- Bars when alone, else the outline of them.
local function draw_counts(v, m)
  local bottom = 4 * v.canvas.h - 1
  local before = bottom
  for k, count in ipairs(m.counts) do
    local x1, x2, y = (place(v, m.edges[k], 1)), (place(v, m.edges[k + 1], 1)), bottom
    if v.y:shows(count) and count > 0 then y = math.min(bottom, select(2, place(v, 1, count))) end
    if m.alone then
      for px = x1, y < bottom and math.max(x1, x2 - 1) or x1 - 1 do
        for py = y, bottom do v.canvas:dot(px, py, m.colour) end
      end
    else
      v.canvas:line(x1, before, x1, y, m.colour)
      v.canvas:line(x1, y, x2, y, m.colour)
      before = y
    end
  end
  if not m.alone and #m.counts > 0 then
    local x = place(v, m.edges[#m.edges], 1)
    v.canvas:line(x, before, x, bottom, m.colour)
  end
end

-- The edges of a band, as sparse dots.
local function draw_band(v, m)
  for _, list in ipairs { m.low, m.high } do
    local before
    for i = 1, #m.x do
      if v.x:shows(m.x[i]) and v.y:shows(m.y[i]) and v.y:shows(list[i]) then
        local px, py = place(v, m.x[i], list[i])
        if m.line and before then
          v.canvas:line(before[1], before[2], px, py, m.colour, 1, 4)
        elseif not m.line then
          local _, middle = place(v, m.x[i], m.y[i])
          v.canvas:line(px, py, px, middle, m.colour)
        end
        before = { px, py }
      else
        before = nil
      end
    end
  end
end

local function draw_series(v, m)
  if m.counts then return draw_counts(v, m) end
  local before
  local shown = 0
  for i = 1, #m.x do
    if v.x:shows(m.x[i]) and v.y:shows(m.y[i]) then
      shown = shown + 1
      local px, py = place(v, m.x[i], m.y[i])
      if before and m.line then
        v.canvas:line(before[1], before[2], px, py, m.colour, m.dash and 2 or nil)
      else
        v.canvas:dot(px, py, m.colour)
      end
      before = { px, py }
    else
      before = nil
    end
  end
  if not m.line and shown <= 80 then
    for i = 1, #m.x do
      if v.x:shows(m.x[i]) and v.y:shows(m.y[i]) then
        local px, py = place(v, m.x[i], m.y[i])
        v.canvas:glyph(px // 2 + 1, py // 4 + 1, markers[m.shape], m.colour)
      end
    end
  end
end

local function value_at(m, x, y)
  local function cell(edges, value)
    local up = edges[2] > edges[1]
    local low, high = 1, #edges
    while high - low > 1 do
      local middle = (low + high) // 2
      if (edges[middle] <= value) == up then low = middle else high = middle end
    end
    return low
  end
  return m.z[cell(m.y, y)][cell(m.x, x)]
end

local shades = { " ", "░", "▒", "▓", "█" }

local function draw_cells(v, m, color)
  local w, h = v.canvas.w, v.canvas.h
  local fits = m.values ~= nil
  for _, row in ipairs(m.values or {}) do
    for _, word in ipairs(row) do fits = fits and cells(word) + 1 <= w // #row end
  end
  fits = fits and #(m.values or {}) <= h
  local function at(c, row_at)
    local t = panel.position(m, value_at(m, v.x:value((c - 0.5) / w), v.y:value(1 - row_at / h)))
    return t and math.max(0, math.min(1, t))
  end
  for r = 1, h do
    for c = 1, w do
      if color then
        local upper, lower = at(c, r - 0.75), at(c, r - 0.25)
        v.canvas.backs[r][c] = { upper and colour.at(m.map, upper) or "#808080",
          lower and colour.at(m.map, lower) or "#808080" }
      elseif not fits then
        local t = at(c, r - 0.5)
        v.canvas:glyph(c, r, t and shades[math.min(5, math.floor(5 * t) + 1)] or "?")
      end
    end
  end
  if not fits then return end
  for r, row in ipairs(m.values) do
    for c, word in ipairs(row) do
      local px, py = place(v, (m.x[c] + m.x[c + 1]) / 2, (m.y[r] + m.y[r + 1]) / 2)
      local at_c, at_r = px // 2 + 1 - cells(word) // 2, py // 4 + 1
      v.canvas:word(at_c, at_r, word)
      for k = at_c, at_c + cells(word) - 1 do
        local back = v.canvas.backs[at_r] and v.canvas.backs[at_r][k]
        if back then back[1], back[2] = colour.on(back[1]), back[1] end
      end
    end
  end
end

-- Borders in dots; names in the longest free stretch near the middle of each region.
local function draw_regions(v, m, color, legend)
  local w, h = v.canvas.w, v.canvas.h
  local dots_w, dots_h = 2 * w, 4 * h
  local grid = {}
  for py = 0, dots_h - 1 do
    grid[py] = {}
    for px = 0, dots_w - 1 do
      grid[py][px] = m.id((px + 0.5) / dots_w, 1 - (py + 0.5) / dots_h) or 0
    end
  end
  for py = 0, dots_h - 1 do
    for px = 0, dots_w - 1 do
      local id = grid[py][px]
      if (px + 1 < dots_w and grid[py][px + 1] ~= id)
        or (py + 1 < dots_h and grid[py + 1][px] ~= id) then
        v.canvas:dot(px, py)
      end
    end
  end
  local best = {}
  for r = 1, h do
    local start = 1
    for c = 1, w do
      local id = grid[4 * r - 2][2 * c - 1]
      local next_id = c < w and grid[4 * r - 2][2 * c + 1]
      if next_id ~= id then
        local length = c - start + 1
        local b = best[id]
        if not b then
          b = { sum = 0, count = 0, stretches = {} }
          best[id] = b
        end
        b.sum, b.count = b.sum + r * length, b.count + length
        table.insert(b.stretches, { r = r, c = start, length = length })
        start = c + 1
      end
    end
  end
  for id, name in ipairs(m.names) do
    local b, found = best[id], nil
    for _, s in ipairs(b and b.stretches or {}) do
      local badness = math.abs(s.r - b.sum / b.count) - 0.1 * s.length
      if s.length >= cells(name) + 2 and (not found or badness < found.badness) then
        found = { r = s.r, c = s.c + (s.length - cells(name)) // 2, badness = badness }
      end
    end
    local paint = color and m.colours[id] or nil
    if not (found and v.canvas:word(found.c, found.r, name, paint)) then
      local letter = ("%d"):format(id)
      local s = b and b.stretches[(#b.stretches + 1) // 2]
      if s then v.canvas:word(s.c + s.length // 2, s.r, letter, paint) end
      legend[#legend + 1] = letter .. " " .. name
    end
  end
end

-- ---- axes ---------------------------------------------------------------------------------------

-- Tick labels along the bottom: as many as fit, each under its tick.
local function ruler(scale, w)
  for count = math.max(2, math.min(10, w // 9)), 1, -1 do
    local ticks = scale:ticks(math.max(2, count))
    table.sort(ticks, function(a, b) return a.at < b.at end)
    local stride = count == 1 and 2 or 1
    if scale.kind == "category" then stride = math.max(1, math.ceil(#ticks * 3 / w)) end
    local parts, taken, fits, labels = {}, 0, true, {}
    for i, t in ipairs(ticks) do labels[i] = text.plain(t.label) end
    labels = shorten_apart(labels, scale.kind == "category"
      and math.max(2, w // #ticks * stride - 1) or w)
    for i = 1, #ticks, stride do
      local label = labels[i]
      local n = cells(label)
      local column = math.floor(ticks[i].at * (w - 1) + 0.5) - n // 2
      column = math.max(0, math.min(w - n, column))
      if column >= taken + (taken > 0 and 1 or 0) then
        parts[#parts + 1] = (" "):rep(column - taken) .. label
        taken = column + n
      else
        fits = false
      end
    end
    if fits or count == 1 or scale.kind == "category" then return table.concat(parts) end
  end
end

local function y_labels(scale, h)
  local ticks = scale:ticks(math.max(2, math.min(8, h // 2)))
  local at_row, widest, labels = {}, 0, {}
  for i, t in ipairs(ticks) do labels[i] = text.plain(t.label) end
  labels = shorten_apart(labels, 16)
  for i, t in ipairs(ticks) do
    local r = math.max(1, math.min(h, math.floor((1 - t.at) * (4 * h - 1) + 0.5) // 4 + 1))
    if not at_row[r] then
      at_row[r] = labels[i]
      widest = math.max(widest, cells(at_row[r]))
    end
  end
  return at_row, widest
end

-- Labels beside the rows where their curves end, or nil.
local function end_labels(v, marks, room)
  if #marks == 0 then return nil end
  local wanted, list = {}, {}
  for _, m in ipairs(marks) do
    local last
    if m.kind == "rule" then
      last = { 1, v.y:at(m.y) }
    elseif m.line then
      for i = #m.x, 1, -1 do
        if v.x:shows(m.x[i]) and v.y:shows(m.y[i]) then
          last = { v.x:at(m.x[i]), v.y:at(m.y[i]) }
          break
        end
      end
    end
    if not last or last[1] < 0.9 or last[2] < 0 or last[2] > 1 then return nil end
    if cells(text.plain(m.label)) > room then return nil end
    list[#list + 1] = { mark = m, at = last[2] }
  end
  if #list > v.h then return nil end
  table.sort(list, function(a, b) return a.at > b.at end)
  for i, e in ipairs(list) do wanted[i] = (1 - e.at) * (v.h - 1) + 1 end
  local found = layout.spread(wanted, 1, 1, v.h)
  local at_row, before = {}, 0
  for i, e in ipairs(list) do
    local r = math.max(before + 1, math.min(v.h - (#list - i), math.floor(found[i] + 0.5)))
    at_row[r], before = e.mark, r
  end
  return at_row
end

-- Marks with names, and upright reference lines, whose names stand at them.
local function labelled(p)
  local list, upright = {}, {}
  for _, m in ipairs(p.hide_legend and {} or p.marks) do
    if m.label and m.kind == "rule" and m.x then
      upright[#upright + 1] = m
    elseif m.label and (m.kind == "series" or m.kind == "rule") then
      list[#list + 1] = m
    end
  end
  return list, upright
end

-- Writes the names of upright lines beside them, near the top; adds those without room to a list.
local function name_upright(v, upright, list)
  for _, m in ipairs(upright) do
    local c = place(v, m.x, v.y:value(0)) // 2 + 1
    local n = cells(text.plain(m.label))
    local done = false
    for r = 1, math.min(v.h, 3) do
      done = done or v.canvas:word(c + 2, r, m.label) or v.canvas:word(c - n - 1, r, m.label)
    end
    if not done then list[#list + 1] = m end
  end
end

-- Names below: with markers or colours where those tell them apart, else by where they end.
local function legend_words(v, marks, color)
  local words, curves = {}, 0
  for _, m in ipairs(marks) do
    if m.kind == "series" and m.line then curves = curves + 1 end
  end
  if curves > 1 and not color then
    local ends = {}
    for i, m in ipairs(marks) do
      local y = m.kind == "rule" and m.y or nil
      for k = m.x and type(m.x) == "table" and #m.x or 0, 1, -1 do
        if not y and v.x:shows(m.x[k]) and v.y:shows(m.y[k]) then y = m.y[k] end
      end
      ends[i] = { y = y or -math.huge, label = text.plain(m.label), i = i }
    end
    table.sort(ends, function(a, b) return a.y > b.y or (a.y == b.y and a.i < b.i) end)
    for i, e in ipairs(ends) do words[i] = e.label .. (i < #ends and "," or "") end
    return "ends, from the top: " .. table.concat(words, " ")
  end
  for i, m in ipairs(marks) do
    local sample = m.counts and "▇" or m.kind == "series" and not m.line and markers[m.shape]
      or m.kind == "rule" and "╌" or "─"
    words[i] = sample .. " " .. text.plain(m.label)
  end
  return table.concat(words, "   ")
end

-- ---- a panel ------------------------------------------------------------------------------------

-- Lines of one panel, each { text, cells }, without trailing blanks.
local function panel_lines(p, columns, rows, color)
  local lines = {}
  local function put(s, n) lines[#lines + 1] = { s, n or cells(s) } end
  local title = p.title and shorten(p.title, columns)
  local sx, sy = panel.scales(p)
  if not sx then
    if title then put(title) end
    put(shorten("no finite point to draw", columns))
    return lines
  end
  local feet = {}
  if p.y.label then feet[1] = p.y.label end
  if p.x.label then feet[#feet + 1] = (p.y.label and "over " or "") .. p.x.label end
  local foot = #feet > 0 and table.concat(feet, " ")
  local h = math.max(4, rows - 2 - (title and 1 or 0) - (foot and 1 or 0))
  local at_row, margin = y_labels(sy, h)
  if margin > columns // 3 then
    margin = columns // 3
    local rows_of, names = {}, {}
    for r, label in pairs(at_row) do
      rows_of[#rows_of + 1], names[#names + 1] = r, label
    end
    for i, label in ipairs(shorten_apart(names, margin)) do at_row[rows_of[i]] = label end
  end
  local v = { x = sx, y = sy, h = h }
  local marks, upright = labelled(p)
  local widest = 0
  for _, m in ipairs(marks) do widest = math.max(widest, cells(text.plain(m.label))) end
  local ends = end_labels(v, marks, math.max(0, columns * 3 // 10))
  local w = math.max(6, columns - margin - 2 - (ends and widest + 1 or 0))
  v.canvas = canvas(w, h)
  local legend = {}
  for _, m in ipairs(p.marks) do
    if m.kind == "cells" then draw_cells(v, m, color) end
    if m.kind == "regions" then draw_regions(v, m, color, legend) end
  end
  for _, m in ipairs(p.marks) do
    if m.kind == "rule" then
      if m.y then
        local _, py = place(v, sx:value(0), m.y)
        v.canvas:line(0, py, 2 * w - 1, py, m.colour, 2)
      else
        local px = place(v, m.x, sy:value(0))
        v.canvas:line(px, 0, px, 4 * h - 1, m.colour, 2)
      end
    elseif m.kind == "series" then
      if m.low then draw_band(v, m) end
      draw_series(v, m)
    end
  end
  local unnamed, signs = {}, {}
  name_upright(v, upright, unnamed)
  for _, m in ipairs(p.marks) do
    if m.kind == "series" then
      for _, x in ipairs(m.diverged or {}) do
        if sx:shows(x) then
          v.canvas:glyph(place(v, x, sy:value(0)) // 2 + 1, 1, "△", m.colour)
          signs[1] = "△ diverged"
        end
      end
      if m.optimum and sx:shows(m.optimum.x) and sy:shows(m.optimum.y) then
        local px, py = place(v, m.optimum.x, m.optimum.y)
        v.canvas:glyph(px // 2 + 1, py // 4 + 1, "◎", m.colour)
        signs[2] = "◎ optimum"
      end
    elseif m.kind == "note" then
      local px, py = place(v, m.x, m.y)
      local word = shorten(m.text, w)
      local c = math.max(1, math.min(w - cells(word) + 1, px // 2 + 1 - cells(word) // 2))
      for _, r in ipairs { 0, -1, 1, -2, 2 } do
        if v.canvas:word(c, py // 4 + 1 + r, word) then break end
      end
    end
  end
  if title then
    local indent = math.max(0, math.min(margin + 2, columns - cells(title)))
    put((" "):rep(indent) .. title)
  end
  for r = 1, h do
    local label = at_row[r] or ""
    local row = (" "):rep(margin - cells(label)) .. label .. " │" .. v.canvas:row(r, color)
    local n = margin + 2 + w
    local m = ends and ends[r]
    if m then
      local word = text.plain(m.label)
      row = row .. " " .. (color and tinted(word, visible(m.colour)) or word)
      n = n + 1 + cells(word)
    end
    put(row, n)
  end
  put((" "):rep(margin + 1) .. "└" .. ("─"):rep(w))
  put((" "):rep(margin + 2) .. ruler(sx, w))
  if foot then put((" "):rep(math.max(0, math.min(margin + 2, columns - cells(foot))))
    .. shorten(foot, columns)) end
  if p.bar then
    local bar = p.bar
    local low, high = ("%.4g"):format(bar.low), ("%.4g"):format(bar.high)
    local scale = ("%s %s %s"):format(low, bar.series and "to" or table.concat(shades), high)
    for _, line in ipairs(wrap((bar.label and bar.label .. ": " or "") .. scale, columns)) do
      put(line)
    end
  end
  if ends then marks = unnamed else table.move(unnamed, 1, #unnamed, #marks + 1, marks) end
  local words = {}
  if #marks > 0 then words[1] = legend_words(v, marks, color) end
  for k = 1, 2 do words[#words + 1] = signs[k] end
  for _, line in ipairs(wrap(table.concat(words, "   "), columns)) do put(line) end
  if #legend > 0 then
    for _, line in ipairs(wrap(table.concat(legend, "   "), columns)) do put(line) end
  end
  return lines
end

-- ---- a figure -----------------------------------------------------------------------------------

--- The figure as lines of at most `columns` characters, `rows` for each row of panels and its
--- legend below.
function terminal.figure(fig, columns, rows, color, remarks)
  local out = {}
  if fig.title then out[1] = shorten(fig.title, columns) end
  local beside = math.max(1, math.min(fig.columns, columns // 34))
  local gap = 2
  local width = (columns - (beside - 1) * gap) // beside
  for first = 1, #fig.panels, beside do
    local blocks, tallest = {}, 0
    for i = first, math.min(#fig.panels, first + beside - 1) do
      blocks[#blocks + 1] = panel_lines(fig.panels[i], width, rows, color)
      tallest = math.max(tallest, #blocks[#blocks])
    end
    for r = 1, tallest do
      local parts = {}
      for b, block in ipairs(blocks) do
        local line = block[r] or { "", 0 }
        parts[b] = line[1] .. (b < #blocks and (" "):rep(width + gap - line[2]) or "")
      end
      out[#out + 1] = (table.concat(parts):gsub("%s+$", ""))
    end
  end
  for _, remark in ipairs(remarks) do
    for _, line in ipairs(wrap(remark, columns)) do out[#out + 1] = line end
  end
  return table.concat(out, "\n") .. "\n"
end

return terminal
