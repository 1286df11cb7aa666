-- Where the texts, rings and legends of an SVG document of ml.plot lie, and what a run has drawn.
local check = require "check"
local lfs = require "lfs"
local xml = require "xml"
local text = require "moonlab.plot.text"
local shapes = {}

local function number(e, key) return tonumber(e.attributes[key]) end

--- Lists of boxes { left, top, right, bottom, words = }: texts, rings of optima, legends.
function shapes.read(svg)
  local root = type(svg) == "string" and xml.parse(svg) or svg
  local texts, rings, legends = {}, {}, {}
  for _, e in ipairs(xml.all(root, "text")) do
    local words = e.text
    if e[1] then -- an exponent
      local raised = e[1].text
      words = { words:sub(1, #words - #raised), { raised = raised } }
    end
    local l, t, r, b = text.box(words, number(e, "x"), number(e, "y"), number(e, "font-size"),
      e.attributes["text-anchor"], e.attributes.transform ~= nil, e.attributes["font-weight"])
    texts[#texts + 1] = { l, t, r, b, words = e.text }
  end
  for _, e in ipairs(xml.all(root, "circle")) do
    if e.attributes.stroke and number(e, "r") > 5 then
      local x, y, r = number(e, "cx"), number(e, "cy"), number(e, "r")
      rings[#rings + 1] = { x - r, y - r, x + r, y + r }
    end
  end
  for _, e in ipairs(xml.all(root, "rect")) do
    local a = e.attributes
    if a.stroke and a.fill and a.fill ~= "none" then
      legends[#legends + 1] = { number(e, "x"), number(e, "y"), number(e, "x") + number(e, "width"),
        number(e, "y") + number(e, "height") }
    end
  end
  return texts, rings, legends
end

--- Fails unless a folder holds figures, each with something drawn and no label left out.
function shapes.check_folder(dir)
  local found = 0
  for name in lfs.dir(dir) do
    if name:find "%.svg$" then
      local file = assert(io.open(dir .. "/" .. name))
      local svg = file:read "a"
      file:close()
      local root = xml.parse(svg)
      local marks = 0
      for _, tag in ipairs { "polyline", "polygon", "circle", "rect" } do
        marks = marks + #xml.all(root, tag)
      end
      if svg:find("no finite point to draw", 1, true) or marks < 4 then
        check.fail(name .. " shows nothing")
      end
      local words = svg:match "%d+ labels left out[^<]*"
      if words then check.fail(name .. ": " .. words) end
      found = found + 1
    end
  end
  if found == 0 then check.fail "no figure was drawn" end
end

return shapes
