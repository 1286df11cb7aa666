--- Regions of a plane, as in a phase diagram: their outlines, and where each one's name fits.
local text = require "moonlab.plot.text"

local regions = {}

-- ---- outlines -----------------------------------------------------------------------------------

-- Runs of one region along a line: ids, and the ends between them, found by halving.
local function runs_along(at, count)
  local ids, ends = { at(0) }, {}
  local before, before_t = ids[1], 0
  for k = 1, count do
    local t = k / count
    local id = at(t)
    if id ~= before then
      local low, high = before_t, t
      for _ = 1, 12 do
        local middle = (low + high) / 2
        if at(middle) == before then low = middle else high = middle end
      end
      ids[#ids + 1], ends[#ends + 1] = id, (low + high) / 2
      before = id
    end
    before_t = t
  end
  return ids, ends
end

local function same(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do
    if a[i] ~= b[i] then return false end
  end
  return true
end

--- Polygons { id, points } in the unit square that cover it: id(u, v) is the region at a position.
--- Lines of `rows` heights are cut where the region changes; neighbouring lines that are cut alike
--- make one polygon.
function regions.outline(id, columns, rows)
  local polygons, group = {}, nil
  local function close(v)
    if not group then return end
    for k, name in ipairs(group.ids) do
      local points = {}
      for _, line in ipairs(group.lines) do
        points[#points + 1] = { line.ends[k - 1] or 0, line.v }
      end
      points[#points + 1] = { group.lines[#group.lines].ends[k - 1] or 0, v }
      points[#points + 1] = { group.lines[#group.lines].ends[k] or 1, v }
      for i = #group.lines, 1, -1 do
        points[#points + 1] = { group.lines[i].ends[k] or 1, group.lines[i].v }
      end
      points[#points + 1] = { group.lines[1].ends[k] or 1, group.v }
      points[#points + 1] = { group.lines[1].ends[k - 1] or 0, group.v }
      if name then polygons[#polygons + 1] = { id = name, points = points } end
    end
  end
  local last
  for j = 0, rows do
    local v = j / rows
    local ids, ends = runs_along(function(u) return id(u, v) or false end, columns)
    if not group or not same(ids, group.ids) then
      local middle = last and (last + v) / 2 or 0
      close(middle)
      group = { ids = ids, lines = {}, v = middle }
    end
    group.lines[#group.lines + 1] = { v = v, ends = ends }
    last = v
  end
  close(1)
  return polygons
end

local function paint(mark, id) return { mark.colours[id], share = 0.38 } end

--- Draws the outlines. Axes may be logarithmic: positions are in the frame.
function regions.draw(scene, g, mark)
  for _, polygon in ipairs(mark.polygons) do
    local points = {}
    for i, p in ipairs(polygon.points) do
      points[i] = { g.left + g.w * p[1], g.top + g.h * (1 - p[2]) }
    end
    scene:add("path", { points = points, closed = true, fill = paint(mark, polygon.id),
      stroke = paint(mark, polygon.id), width = 0.8 })
  end
end

-- ---- names --------------------------------------------------------------------------------------

local step = 4 -- pixels between the points that are looked at

-- counts[r][c]: points of the region above and left of r, c.
local function summed(grid, rows, columns, id)
  local counts = { [0] = {} }
  for c = 0, columns do counts[0][c] = 0 end
  for r = 1, rows do
    local row, sum = { [0] = 0 }, 0
    for c = 1, columns do
      if grid[r][c] == id then sum = sum + 1 end
      row[c] = counts[r - 1][c] + sum
    end
    counts[r] = row
  end
  return counts
end

-- The place where a box of w x h points lies inside the region, nearest to the region's middle.
local function place(counts, rows, columns, w, h, middle)
  local best, found = math.huge, nil
  for r = 0, rows - h do
    local above, under = counts[r], counts[r + h]
    for c = 0, columns - w do
      if under[c + w] - under[c] - above[c + w] + above[c] == w * h then
        local d = (r + h / 2 - middle[1]) ^ 2 + (c + w / 2 - middle[2]) ^ 2
        if d < best then best, found = d, { c + w / 2, r + h / 2 } end
      end
    end
  end
  return found
end

local function look(g, mark)
  local columns, rows = math.max(1, g.w // step), math.max(1, g.h // step)
  columns, rows = math.tointeger(columns), math.tointeger(rows)
  local grid, middles = {}, {}
  for r = 1, rows do
    grid[r] = {}
    for c = 1, columns do
      local id = mark.id((c - 0.5) / columns, 1 - (r - 0.5) / rows)
      grid[r][c] = id
      if id then
        local m = middles[id] or { 0, 0, 0 }
        m[1], m[2], m[3] = m[1] + r, m[2] + c, m[3] + 1
        middles[id] = m
      end
    end
  end
  return grid, rows, columns, middles
end

--- Finds a place for every region's name, mark.placed; returns entries for those without one.
function regions.labels(g, mark)
  local grid, rows, columns, middles = look(g, mark)
  local left = {}
  mark.placed = {}
  for id, name in ipairs(mark.names) do
    local m = middles[id]
    local at
    if m then
      local counts = summed(grid, rows, columns, id)
      local w = math.ceil((text.width(name, g.size) + 6) / step)
      local h = math.ceil((text.height(g.size) + 4) / step)
      for _, grown in ipairs { 3, 2, 1.5, 1.2, 1 } do
        at = at or place(counts, rows, columns, math.ceil(w * grown), math.ceil(h * grown),
          { m[1] / m[3], m[2] / m[3] })
      end
    end
    if at then
      mark.placed[#mark.placed + 1] = { name = name, id = id, u = at[1] / columns,
        v = at[2] / rows }
    else
      left[#left + 1] = { label = name, colour = mark.colours[id], region = true, id = id }
    end
  end
  return left
end

--- Writes the names inside their regions.
function regions.write(scene, g, mark)
  for _, e in ipairs(mark.placed) do
    local x, y = g.left + g.w * e.u, g.top + g.h * e.v + 0.36 * g.size
    local l, t, r, b = text.box(e.name, x, y, g.size, "middle")
    if not scene:collides(l, t, r, b) and l > g.left and r < g.left + g.w then
      scene:text(e.name, x, y, { size = g.size, anchor = "middle" })
    end
  end
end

return regions
