-- Where the texts, rings and legends of an SVG document of ml.plot lie.
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

return shapes
