--- Kinds that fill the plane: heat map, confusion matrix, phase diagram.
local options = require "moonlab.options"
local colour = require "moonlab.plot.colour"
local figure = require "moonlab.plot.figure"
local input = require "moonlab.plot.input"
local panel = require "moonlab.plot.panel"
local regions = require "moonlab.plot.regions"
local scale = require "moonlab.plot.scale"
local text = require "moonlab.plot.text"

local maps = {}

local most_cells = 250 -- along an axis; more are averaged in blocks

-- ---- heat map -----------------------------------------------------------------------------------

-- Edges between centres (n of them, ascending or descending), or the n + 1 edges themselves.
local function edges_of(where, name, given, n, base)
  local list, count = input.list(where, name, given)
  if count ~= n and count ~= n + 1 then
    options.bad(where, 0, "%s has %d entries for %d cells, wanted their %d centres or %d edges",
      name, count, n, n, n + 1)
  end
  for k = 1, count do
    local v, before = list[k], list[k - 1]
    local up = count > 1 and list[2] > list[1]
    local ordered = not before or (up and v > before) or (not up and v < before)
    if v - v ~= 0 or (base and v <= 0) or not ordered then
      options.bad(where, 0, "entry %d of %s is %.14g, wanted finite numbers in order%s", k, name, v,
        base and ", > 0" or "")
    end
  end
  if count == n + 1 then return list end
  local function to(v) return base and math.log(v) or v end
  local function from(v) return base and math.exp(v) or v end
  local edges = {}
  for k = 2, n do edges[k] = from((to(list[k - 1]) / 2 + to(list[k]) / 2)) end
  if n == 1 then
    edges[1], edges[2] = from(to(list[1]) - 0.5), from(to(list[1]) + 0.5)
  else
    edges[1] = from(2 * to(list[1]) - to(edges[2]))
    edges[n + 1] = from(2 * to(list[n]) - to(edges[n]))
  end
  return edges
end

-- Means of blocks, NaN left out, so that at most most_cells remain along each axis.
local function reduced(rows, height, width)
  local down, across = math.ceil(height / most_cells), math.ceil(width / most_cells)
  if down == 1 and across == 1 then return rows, 1, 1 end
  local out = {}
  for r = 1, math.ceil(height / down) do
    out[r] = {}
    for c = 1, math.ceil(width / across) do
      local sum, count = 0, 0
      for i = (r - 1) * down + 1, math.min(height, r * down) do
        for j = (c - 1) * across + 1, math.min(width, c * across) do
          local v = rows[i][j]
          if v == v then sum, count = sum + v, count + 1 end
        end
      end
      out[r][c] = count > 0 and sum / count or 0 / 0
    end
  end
  return out, down, across
end

local function thinned_edges(edges, stride)
  local out = {}
  for k = 1, #edges, stride do out[#out + 1] = edges[k] end
  if (#edges - 1) % stride ~= 0 then out[#out + 1] = edges[#edges] end
  return out
end

local function colour_range(where, o, rows, logarithmic, centre)
  local low, high, bad = math.huge, -math.huge, 0
  for _, row in ipairs(rows) do
    for _, v in ipairs(row) do
      if v - v == 0 and (not logarithmic or v > 0) then
        low, high = math.min(low, v), math.max(high, v)
      else
        bad = bad + 1
      end
    end
  end
  local given_low = options.optional(where, o, "vmin", "number")
  local given_high = options.optional(where, o, "vmax", "number")
  for _, name in ipairs { "vmin", "vmax" } do
    local v = o[name]
    if v and (v - v ~= 0 or (logarithmic and v <= 0)) then
      options.bad(where, 0, "option '%s' is %s, wanted a finite number%s", name,
        options.describe(v), logarithmic and " > 0" or "")
    end
  end
  if low > high then low, high = given_low or 1, given_high or 1 end
  if centre then
    local reach = math.max(math.abs(high - centre), math.abs(low - centre))
    low, high = centre - reach, centre + reach
  end
  low, high = given_low or low, given_high or high
  if low > high then
    options.bad(where, 0, "the colours go from %.14g to %.14g, wanted vmin < vmax", low, high)
  end
  return low, high, bad
end

local function value_text(v)
  if v ~= v then return "nan" end
  if v == math.floor(v) and math.abs(v) < 1e6 then return (("%d"):format(v):gsub("^%-", "−")) end
  local size = math.abs(v)
  local word = (size >= 999.5 and size < 1e6 and "%.0f" or "%.3g"):format(v)
  return (word:gsub("e%+?(%-?)0*", "e%1"):gsub("%-", "−"))
end

local function axis_cells(where, o, p, key, n)
  local names = o[key .. "names"]
  if names ~= nil then
    if o[key] ~= nil then
      options.bad(where, 0, "both %s and %snames are given, wanted one of them", key, key)
    end
    p[key].names = input.names(where, key .. "names", names, n)
    p[key].base = nil
  end
  p[key].pad = { 0, 0 }
  if o[key] ~= nil then return edges_of(where, key, o[key], n, p[key].base) end
  local edges = {}
  for k = 0, n do edges[k + 1] = k + 0.5 end
  p[key].whole = true
  return edges
end

local heat_names = { "z", "x", "y", "xnames", "ynames", "cmap", "vmin", "vmax", "center", "zlog",
  "zlabel", "values", "origin", "contour" }

local function heat_panel(where, o)
  options.argument(where, 1, o, "table")
  options.check(where, o, panel.known(table.unpack(heat_names)))
  local p = panel.new(where, o)
  local rows, height, width = input.matrix(where, "z", o.z)
  for i, row in ipairs(rows) do
    for j, v in ipairs(row) do
      if type(v) ~= "number" then
        options.bad(where, 0, "z[%d][%d] is %s, wanted a number", i, j, options.describe(v))
      end
    end
  end
  local zlog = options.field(where, o, "zlog", "boolean", false)
  local centre = options.optional(where, o, "center", "number")
  if centre and zlog then options.bad(where, 0, "option 'center' does not go with zlog") end
  local map = options.choice(where, o, "cmap", { "sequential", "diverging", "grey" },
    centre and "diverging" or "sequential")
  p.y.reversed = options.choice(where, o, "origin", { "lower", "upper" }, "lower") == "upper"
  local values = options.field(where, o, "values", "boolean", false)
  if height == 0 or width == 0 then return p end
  local x = axis_cells(where, o, p, "x", width)
  local y = axis_cells(where, o, p, "y", height)
  local low, high, bad = colour_range(where, o, rows, zlog, centre)
  local cells, down, across = reduced(rows, height, width)
  if down > 1 or across > 1 then
    panel.remark(p, nil, "%d x %d cells, drawn as means of blocks of %d x %d", height, width, down,
      across)
    x, y, values = thinned_edges(x, across), thinned_edges(y, down), false
  end
  if bad > 0 then
    panel.remark(p, nil, "%d cell%s without a colour (not finite%s)", bad, bad == 1 and "" or "s",
      zlog and ", or not > 0" or "")
  end
  local m = { kind = "cells", x = x, y = y, z = cells, map = map, low = low, high = high,
    base = zlog and 10 or nil }
  if values then
    m.values = {}
    for r, row in ipairs(cells) do
      m.values[r] = {}
      for c, v in ipairs(row) do m.values[r][c] = value_text(v) end
    end
  end
  p.marks[1] = m
  p.bar = { map = map, low = low, high = high, base = m.base,
    label = input.text(where, o, "zlabel") }
  return panel.finish(where, o, p)
end

--- ml.plot.heatmap{ z =, x =, y =, xnames =, ynames =, cmap =, vmin =, vmax =, center =, zlog =,
---   zlabel =, values =, origin =, log =, title =, ... }
--- A matrix in colours with a colour bar. Cells that are not finite (or not > 0 with zlog) are
--- grey, and the figure says how many. More than 250 cells along an axis are averaged in blocks,
--- and the figure says so. Takes title, xlabel, ylabel, base, notes, file, width, height, theme as
--- ml.plot.lines does.
--- @param opts.z table rows of numbers, or tensor [rows, columns]; row i belongs to y[i]
--- @param opts.x table list or tensor: centres [columns] or edges [columns+1] of the cells; =1..n
--- @param opts.y table list or tensor: centres [rows] or edges [rows+1]; =1..n
--- @param opts.xnames table list of names instead of x
--- @param opts.ynames table list of names instead of y
--- @param opts.log string ="" "x", "y", "xy": axes
--- @param opts.zlog boolean =false colours of equal ratios
--- @param opts.cmap string ="sequential", "diverging" or "grey"; each linear in the lightness of
--- OKLab
--- @param opts.vmin number =least value
--- @param opts.vmax number =greatest value
--- @param opts.center number =nil value in the middle of the diverging colours
--- @param opts.zlabel string =nil of the colour bar
--- @param opts.values boolean =false writes each cell's value where all fit
--- @param opts.origin string ="lower" where row 1 is; "upper" as a matrix is printed
--- @return figure
--- @source colours: linear in OKLab, Ottosson 2020
function maps.heatmap(o)
  local where = "ml.plot.heatmap"
  return figure.new(where, o, { heat_panel(where, o) })
end

--- ml.plot.confusion{ counts =, names =, normalize =, ... }
--- A confusion matrix: rows are the true classes, columns the predicted ones. Takes title, xlabel,
--- ylabel, file, width, height, theme as ml.plot.lines does.
--- @param opts.counts table rows of numbers, or tensor [classes, classes]
--- @param opts.names table list of class names =1..classes
--- @param opts.normalize boolean =false each row divided by its sum
--- @return figure
--- @source -
function maps.confusion(o)
  local where = "ml.plot.confusion"
  options.argument(where, 1, o, "table")
  options.check(where, o, { "counts", "names", "normalize", "title", "xlabel", "ylabel", "file",
    "width", "height", "theme" })
  local rows, height, width = input.matrix(where, "counts", o.counts)
  if height ~= width then
    options.bad(where, 0, "counts has %d rows and %d columns, wanted a square", height, width)
  end
  local names = o.names
  if names == nil then
    names = {}
    for i = 1, height do names[i] = ("%d"):format(i) end
  end
  local z = {}
  local normalize = options.field(where, o, "normalize", "boolean", false)
  for i, row in ipairs(rows) do
    local sum = 0
    for j, v in ipairs(row) do
      if type(v) ~= "number" or not (v >= 0 and v < math.huge) then
        options.bad(where, 0, "counts[%d][%d] is %s, wanted a finite number >= 0", i, j,
          options.describe(v))
      end
      sum = sum + v
    end
    z[i] = {}
    for j, v in ipairs(row) do z[i][j] = normalize and (sum > 0 and v / sum or 0 / 0) or v end
  end
  local p = heat_panel(where, { z = z, xnames = height > 0 and names or nil,
    ynames = height > 0 and names or nil, origin = "upper", values = true, vmin = 0,
    title = o.title, vmax = normalize and 1 or nil,
    zlabel = normalize and "share of the row" or "count",
    xlabel = o.xlabel or "predicted", ylabel = o.ylabel or "true" })
  if normalize and p.marks[1] and p.marks[1].values then
    for r, row in ipairs(z) do
      for c, v in ipairs(row) do
        p.marks[1].values[r][c] = v == v and ("%.2f"):format(v) or "–"
      end
    end
  end
  return figure.new(where, o, { p })
end

-- ---- phase diagram ------------------------------------------------------------------------------

-- The region at a position of the frame, as a number; names in order of their appearance.
local function region_of(where, o, p, axes)
  local names, numbers = {}, {}
  local function number(name, at)
    if name == nil or name == false then return nil end
    if type(name) ~= "string" and type(name) ~= "number" then
      options.bad(where, 0, "region is %s at %s, wanted a name or nil", options.describe(name), at)
    end
    name = type(name) == "number" and ("%.6g"):format(name) or name
    if not numbers[name] then
      names[#names + 1] = text.clean(name)
      numbers[name] = #names
      if #names > 24 then
        options.bad(where, 0, "region has more than 24 names, wanted regions, not values")
      end
    end
    return numbers[name]
  end
  if type(o.region) == "function" then
    return function(u, v)
      local x, y = axes.x:value(u), axes.y:value(v)
      return number(o.region(x, y), ("(%.6g, %.6g)"):format(x, y))
    end, names
  end
  local rows, height, width = input.matrix(where, "region", o.region)
  local x = edges_of(where, "x", o.x, width, p.x.base)
  local y = edges_of(where, "y", o.y, height, p.y.base)
  local function cell(edges, v)
    local low, high = 1, #edges
    local up = edges[2] > edges[1]
    while high - low > 1 do
      local middle = (low + high) // 2
      if (edges[middle] <= v) == up then low = middle else high = middle end
    end
    return low
  end
  for i, row in ipairs(rows) do
    for j, name in ipairs(row) do number(name, ("row %d, column %d"):format(i, j)) end
  end
  return function(u, v)
    local name = rows[cell(y, axes.y:value(v))][cell(x, axes.x:value(u))]
    if name == false then return nil end
    return numbers[type(name) == "number" and ("%.6g"):format(name) or name]
  end, names, x, y
end

local function read_boundaries(where, o, p)
  for i, b in ipairs(options.field(where, o, "boundaries", "table", {})) do
    if type(b) ~= "table" then
      options.bad(where, 0, "boundary %d is %s, wanted { x =, y =, label = }", i,
        options.describe(b))
    end
    options.check(where, b, { "x", "y", "label", "colour" })
    local x, n = input.list(where, ("x of boundary %d"):format(i), b.x)
    local y, m = input.list(where, ("y of boundary %d"):format(i), b.y)
    if n ~= m then options.bad(where, 0, "boundary %d has %d x and %d y", i, n, m) end
    p.marks[#p.marks + 1] = { kind = "series", x = x, y = y, label = input.text(where, b, "label"),
      colour = input.colour(where, b, "colour") or "ink", line = true, markers = false,
      shape = "circle" }
  end
end

local function read_points(where, o, p)
  local points = options.optional(where, o, "points", "table")
  if not points then return end
  options.check(where, points, { "x", "y", "label", "names" })
  local x, n = input.list(where, "x of points", points.x)
  local y, m = input.list(where, "y of points", points.y)
  if n ~= m then options.bad(where, 0, "points has %d x and %d y", n, m) end
  p.marks[#p.marks + 1] = { kind = "series", x = x, y = y, line = false, shape = "circle",
    colour = "ink", label = input.text(where, points, "label") }
end

--- ml.plot.phase{ region =, xlim =, ylim =, x =, y =, boundaries =, points =, log =, title =, ... }
--- A phase diagram: the plane in regions, each with its name written where it fits, else in a
--- legend. Takes xlabel, ylabel, base, notes, references, file, width, height, theme as
--- ml.plot.lines does.
--- @param opts.region function(x, y) -> the region's name, or nil for none; then xlim and ylim are
--- needed; or rows of names, row i at y[i], then x and y are; at most 24 names
--- @param opts.xlim table { low, high } of the frame
--- @param opts.ylim table { low, high }
--- @param opts.x table list or tensor: centres [columns] or edges [columns+1] of the cells
--- @param opts.y table list or tensor: centres [rows] or edges [rows+1]
--- @param opts.boundaries table list of { x, y, label, colour }: curves drawn on top
--- @param opts.points table { x, y, label }: points drawn on top
--- @param opts.log string ="" "x", "y", "xy"
--- @return figure
--- @source -
function maps.phase(o)
  local where = "ml.plot.phase"
  options.argument(where, 1, o, "table")
  options.check(where, o, panel.known("region", "x", "y", "boundaries", "points"))
  local p = panel.new(where, o)
  p.x.pad, p.y.pad = { 0, 0 }, { 0, 0 }
  local axes = {}
  if type(o.region) == "function" then
    for _, key in ipairs { "x", "y" } do
      if o[key] ~= nil then
        options.bad(where, 0, "%s goes with rows of names, wanted %slim beside a function", key,
          key)
      end
      if not (p[key].low and p[key].high) then
        options.bad(where, 0, "option '%slim' is missing, wanted { low, high }", key)
      end
      axes[key] = scale.new(p[key].low, p[key].high, p[key].base)
    end
  elseif type(o.region) ~= "table" then
    options.bad(where, 0, "option 'region' is %s, wanted a function(x, y) or rows of names",
      options.describe(o.region))
  end
  local id, names, x, y = region_of(where, o, p, axes)
  if x then
    for key, edges in pairs { x = x, y = y } do
      local first, last = edges[1], edges[#edges]
      p[key].low = p[key].low or math.min(first, last)
      p[key].high = p[key].high or math.max(first, last)
      axes[key] = scale.new(p[key].low, p[key].high, p[key].base)
    end
  end
  local mark = { kind = "regions", id = id, names = names, colours = {},
    polygons = regions.outline(id, 120, 240) }
  for i = 1, #names do
    mark.colours[i] = colour.regions[i] or colour.at("sequential", (i * 0.618034) % 1)
  end
  p.marks[1] = mark
  read_boundaries(where, o, p)
  read_points(where, o, p)
  return figure.new(where, o, { panel.finish(where, o, p) })
end

return maps
