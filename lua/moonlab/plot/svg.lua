--- The SVG back end: a list of shapes in pixels, written in one theme or in both.
local colour = require "moonlab.plot.colour"
local text = require "moonlab.plot.text"

local svg = {}

local Scene = {}
Scene.__index = Scene

--- An empty scene.
function svg.scene(width, height)
  return setmetatable({ width = width, height = height, shapes = {}, boxes = {},
    obstacles = {}, left_out = 0 }, Scene)
end

--- Adds a shape: "line" x1 y1 x2 y2, "path" points [closed], "rect" x y w h, "circle" x y r,
--- "text".
--- Paints are names of theme inks, colours of data, { colour, ratio } for one that must stand out
--- from the paper, or { colour, share = } for a tint of it.
function Scene:add(kind, shape)
  shape.kind = kind
  self.shapes[#self.shapes + 1] = shape
  return shape
end

--- Adds a text and keeps its box. o: size, anchor, rotated, weight, paint, halo. A text that would
--- lie on another or leave the picture is left out and counted: that happens in tiny figures only.
function Scene:text(t, x, y, o)
  local box = { text.box(t, x, y, o.size, o.anchor, o.rotated, o.weight) }
  if box[1] < 0 or box[2] < 0 or box[3] > self.width or box[4] > self.height
    or self:collides(box[1] + 0.3, box[2] + 0.3, box[3] - 0.3, box[4] - 0.3) then
    self.left_out = self.left_out + 1
    return nil
  end
  self.boxes[#self.boxes + 1] = box
  return self:add("text", { text = t, x = x, y = y, size = o.size, anchor = o.anchor or "start",
    rotated = o.rotated, weight = o.weight, fill = o.paint or "ink", halo = o.halo })
end

local function touches(boxes, left, top, right, bottom)
  for _, b in ipairs(boxes) do
    if left < b[3] and b[1] < right and top < b[4] and b[2] < bottom then return true end
  end
  return false
end

--- A box that texts put near points keep away from where they can.
function Scene:avoid(left, top, right, bottom)
  self.obstacles[#self.obstacles + 1] = { left, top, right, bottom }
end

--- Whether a box touches a text that is there, or with `strict` what is to be avoided.
function Scene:collides(left, top, right, bottom, strict)
  return touches(self.boxes, left, top, right, bottom)
    or (strict and touches(self.obstacles, left, top, right, bottom)) or false
end

-- ---- paint --------------------------------------------------------------------------------------

local function resolve(paint, theme)
  if type(paint) == "table" then
    local base = theme[paint[1]] or paint[1]
    if paint.share then return colour.mix(theme.paper, base, paint.share) end
    return colour.legible(base, theme.paper, math.max(paint[2], theme.contrast))
  end
  return theme[paint] or paint
end

-- Attributes of a shape: in the light theme by attributes, in the dark one by classes, which win.
-- A class is named after its two colours, so that figures in one page agree about it.
local function painter(theme)
  local rules, classes = {}, {}
  local light = colour.themes[theme == "dark" and "dark" or "light"]
  local function paint(shape)
    local parts, names = {}, {}
    for _, key in ipairs { "fill", "stroke" } do
      local p = shape[key]
      if p then
        local a = resolve(p, light)
        parts[#parts + 1] = ('%s="%s"'):format(key, a)
        if theme == "auto" then
          local b = resolve(p, colour.themes.dark)
          if a ~= b then
            local name = ("ml-%s-%s-%s"):format(key, a:sub(2), b:sub(2))
            names[#names + 1] = name
            if not classes[name] then
              classes[name] = true
              rules[#rules + 1] = (".%s{%s:%s}"):format(name, key, b)
            end
          end
        end
      elseif key == "fill" and shape.kind == "path" then
        parts[#parts + 1] = 'fill="none"'
      end
    end
    if names[1] then parts[#parts + 1] = ('class="%s"'):format(table.concat(names, " ")) end
    return table.concat(parts, " ")
  end
  return paint, rules
end

local function number(v)
  local s = ("%.2f"):format(v):gsub("0+$", ""):gsub("%.$", "")
  return s == "-0" and "0" or s
end

local function strokes(shape)
  local parts = {}
  if shape.width then parts[1] = ('stroke-width="%s"'):format(number(shape.width)) end
  if shape.dash then
    local list = {}
    for i, v in ipairs(shape.dash) do list[i] = number(v) end
    parts[#parts + 1] = ('stroke-dasharray="%s"'):format(table.concat(list, " "))
  end
  if shape.opacity then parts[#parts + 1] = ('opacity="%s"'):format(number(shape.opacity)) end
  return #parts > 0 and " " .. table.concat(parts, " ") or ""
end

local writers = {}

function writers.line(s, paint)
  return ('<line x1="%s" y1="%s" x2="%s" y2="%s" %s%s/>'):format(number(s.x1), number(s.y1),
    number(s.x2), number(s.y2), paint, strokes(s))
end

function writers.path(s, paint)
  local points = {}
  for i, p in ipairs(s.points) do points[i] = number(p[1]) .. "," .. number(p[2]) end
  return ('<%s points="%s" %s stroke-linejoin="round"%s/>'):format(
    s.closed and "polygon" or "polyline", table.concat(points, " "), paint, strokes(s))
end

function writers.rect(s, paint)
  local fill = s.fill and "" or 'fill="none" '
  if s.crisp then paint = paint .. ' shape-rendering="crispEdges"' end
  return ('<rect x="%s" y="%s" width="%s" height="%s" %s%s%s/>'):format(number(s.x), number(s.y),
    number(s.w), number(s.h), fill, paint, strokes(s))
end

function writers.circle(s, paint)
  local fill = s.fill and "" or 'fill="none" '
  return ('<circle cx="%s" cy="%s" r="%s" %s%s%s/>'):format(number(s.x), number(s.y), number(s.r),
    fill, paint, strokes(s))
end

function writers.text(s, paint)
  local turn = s.rotated and (' transform="rotate(-90 %s %s)"'):format(number(s.x), number(s.y))
    or ""
  local anchor = s.anchor ~= "start" and (' text-anchor="%s"'):format(s.anchor) or ""
  local weight = s.weight and (' font-weight="%s"'):format(s.weight) or ""
  local halo = s.halo and ' stroke-width="3" stroke-linejoin="round" paint-order="stroke"' or ""
  return ('<text x="%s" y="%s" font-size="%s"%s%s%s %s%s>%s</text>'):format(number(s.x),
    number(s.y), number(s.size), anchor, weight, turn, paint, halo, text.xml(s.text, s.size))
end

-- What lies outside is cut off: a nested svg clips without a name that another figure could have.
function writers.clip(s)
  return ('<svg x="%s" y="%s" width="%s" height="%s" viewBox="%s %s %s %s" overflow="hidden">')
    :format(number(s.x), number(s.y), number(s.w), number(s.h), number(s.x), number(s.y),
      number(s.w), number(s.h))
end

function writers.unclip() return "</svg>" end

--- The scene as a document. o: theme "light", "dark" or "auto", title and description (strings).
function Scene:write(o)
  local paint, rules = painter(o.theme)
  local body = {}
  for i, s in ipairs(self.shapes) do
    if s.halo then s.stroke = s.halo end
    body[i] = writers[s.kind](s, paint(s))
  end
  local w, h = number(self.width), number(self.height)
  local head = {
    ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s" '
      .. 'role="img" font-family="%s">'):format(w, h, w, h, text.escape(text.fonts)),
  }
  if o.title then head[#head + 1] = "<title>" .. text.escape(o.title) .. "</title>" end
  if o.description then head[#head + 1] = "<desc>" .. text.escape(o.description) .. "</desc>" end
  if rules[1] then
    head[#head + 1] = "<style>@media (prefers-color-scheme:dark){" .. table.concat(rules)
      .. "}</style>"
  end
  return table.concat(head, "\n") .. "\n" .. table.concat(body, "\n") .. "\n</svg>\n"
end

return svg
