--- The figure: one description, three back ends.
local core = require "moonlab.core"
local options = require "moonlab.options"
local draw = require "moonlab.plot.draw"
local input = require "moonlab.plot.input"
local panel = require "moonlab.plot.panel"
local svg = require "moonlab.plot.svg"
local terminal = require "moonlab.plot.terminal"
local text = require "moonlab.plot.text"

local figure = {}

local Figure = {}
Figure.__index = Figure
Figure.__name = "ml.plot.figure"
figure.methods = Figure

local themes = { "light", "dark", "auto" }
local font = 12

local function sizes(where, o, width, height)
  return options.range(where, "width", options.field(where, o, "width", "integer", width), 160,
    10000), options.range(where, "height", options.field(where, o, "height", "integer", height),
    120, 10000)
end

--- A figure of panels, saved when the options name a file. o: width, height, theme, file.
function figure.new(where, o, panels, layout)
  layout = layout or { columns = 1, width = 640, height = 400 }
  local fig = setmetatable({ panels = panels, columns = layout.columns, title = layout.title,
    theme = options.choice(where, o, "theme", themes, "light") }, Figure)
  fig.width, fig.height = sizes(where, o, layout.width, layout.height)
  local file = options.optional(where, o, "file", "string")
  if file then fig:save(file) end
  return fig
end

--- What is said about the data: thinning, points left out. A list of strings.
local function remarks_of(fig)
  local list = {}
  for i, p in ipairs(fig.panels) do
    for _, remark in ipairs(panel.remarks(p)) do
      list[#list + 1] = #fig.panels > 1 and ("panel %d: %s"):format(i, remark) or remark
    end
  end
  return list
end

-- ---- SVG ----------------------------------------------------------------------------------------

-- Remarks as a line under the figure: what the data lost is seen, not only stored.
local function footer(scene, remarks, room)
  local size = font - 2
  local lines = text.wrap(table.concat(remarks, "; "), size, room, 2)
  local height = #lines * 1.25 * size + 4
  for i, line in ipairs(lines) do
    scene:text(line, 10, scene.height - height + (i - 1) * 1.25 * size + text.ascent * size,
      { size = size, paint = "soft" })
  end
  return height + 4
end

local function render(fig, o)
  local scene = svg.scene(o.width, o.height)
  scene:add("rect", { x = 0, y = 0, w = o.width, h = o.height, fill = "paper" })
  local margin = 10
  local box = { x = margin, y = margin, w = o.width - 2 * margin, h = o.height - 2 * margin }
  local remarks = remarks_of(fig)
  if #remarks > 0 then box.h = box.h - footer(scene, remarks, box.w) end
  if fig.title then
    local size = font + 2
    for _, line in ipairs(text.wrap(fig.title, size, box.w, 2, "bold")) do
      scene:text(line, o.width / 2, box.y + text.ascent * size, { size = size, anchor = "middle",
        weight = "bold" })
      box.y, box.h = box.y + 1.35 * size, box.h - 1.35 * size
    end
    box.y, box.h = box.y + 0.5 * size, box.h - 0.5 * size
  end
  local columns = math.min(fig.columns, #fig.panels)
  local rows = math.ceil(#fig.panels / math.max(1, columns))
  local gap = 14
  local w, h = (box.w - (columns - 1) * gap) / columns, (box.h - (rows - 1) * gap) / rows
  local size = columns > 1 and math.max(8, math.min(font, w / 22)) or math.max(8,
    math.min(font, o.width / 26))
  for i, p in ipairs(fig.panels) do
    local c, r = (i - 1) % columns, (i - 1) // columns
    draw.panel(scene, p, { x = box.x + c * (w + gap), y = box.y + r * (h + gap), w = w, h = h },
      size)
  end
  if scene.left_out > 0 then
    remarks[#remarks + 1] = ("%d labels left out for want of room"):format(scene.left_out)
  end
  return scene:write { theme = o.theme, title = fig.title or fig.panels[1].title,
    description = #remarks > 0 and table.concat(remarks, "; ") or nil }
end

--- fig:svg{ theme =, width =, height = }
--- The figure as an SVG document that needs nothing else. Text is laid out by the widths of DejaVu
--- Sans, the widest of the fonts it names, so that none overlaps.
--- @param opts.theme string =that of the figure: "light", "dark", or "auto": light, and dark for
--- viewers that prefer it
--- @param opts.width integer =that of the figure, pixels
--- @param opts.height integer =that of the figure, pixels
--- @return string
--- @source -
function Figure:svg(opts)
  options.check("svg", opts, { "theme", "width", "height" })
  opts = opts or {}
  local width, height = sizes("svg", opts, self.width, self.height)
  return render(self, { theme = options.choice("svg", opts, "theme", themes, self.theme),
    width = width, height = height })
end

--- fig:text(columns, rows, { color = })
--- The figure in braille dots.
--- @param columns integer =72 at least 18 are taken
--- @param rows integer =16 of a panel, at least 7 are taken
--- @param opts.color boolean =false series in the terminal's 256 colours
--- @return string lines of text
--- @source -
function Figure:text(columns, rows, opts)
  columns = columns == nil and 72 or options.integer("text", 1, columns, 1, 1000)
  rows = rows == nil and 16 or options.integer("text", 2, rows, 1, 1000)
  options.check("text", opts, { "color" })
  return terminal.figure(self, math.max(18, columns), math.max(7, rows),
    options.field("text", opts or {}, "color", "boolean", false), remarks_of(self))
end

function Figure:__tostring() return self:text() end

--- fig:remarks()
--- What the figure says about its data: how many points were thinned, left out, or lie outside.
--- @return table list of strings
--- @source -
function Figure:remarks() return remarks_of(self) end

-- ---- files --------------------------------------------------------------------------------------

-- The program that turns SVG into PNG, run on temporary files beside the target.
local function rasterize(where, document, path, scale)
  local source, target = path .. ".svg.part", path .. ".part"
  core.write_file(source, document)
  local child, message = core.system.spawn { "rsvg-convert", "--zoom", ("%.4g"):format(scale),
    "--output", target, source, stdout = "null", stderr = "pipe" }
  if not child then
    os.remove(source)
    options.raise("%s: no program rsvg-convert (%s); install Debian's librsvg2-bin, or save an "
      .. ".svg", where, message)
  end
  local said = {}
  while true do
    local part = child:read()
    if not part then break end
    said[#said + 1] = part
  end
  local how, code = child:wait()
  os.remove(source)
  if how ~= "exit" or code ~= 0 then
    os.remove(target)
    options.raise("%s: rsvg-convert failed (%s %s): %s", where, how, code, table.concat(said))
  end
  local ok, why = os.rename(target, path)
  if not ok then
    os.remove(target)
    options.raise("%s: %s", where, why)
  end
end

--- fig:png(path, { scale =, theme = })
--- Writes the figure as PNG, whole or not at all, through the program rsvg-convert (Debian:
--- librsvg2-bin); raises and says so where that is not installed.
--- @param path string
--- @param opts.scale number =2 pixels of the picture per pixel of the figure, 0.1 to 20
--- @param opts.theme string =that of the figure ("auto" is drawn light)
--- @return figure
--- @source -
function Figure:png(path, opts)
  options.path("png", 1, path)
  options.check("png", opts, { "scale", "theme" })
  opts = opts or {}
  local scale = options.range("png", "scale", options.field("png", opts, "scale", "number", 2), 0.1,
    20)
  local theme = options.choice("png", opts, "theme", themes, self.theme)
  rasterize("png", self:svg { theme = theme == "auto" and "light" or theme }, path, scale)
  return self
end

--- fig:save(path)
--- Writes the figure as SVG or PNG, whole or not at all.
--- @param path string ending in .svg or .png
--- @return figure
--- @source -
function Figure:save(path)
  options.path("save", 1, path)
  if path:find "%.png$" then return self:png(path) end
  if not path:find "%.svg$" then
    options.bad("save", 1, "%q, wanted a path that ends in .svg or .png", path)
  end
  core.write_file(path, self:svg())
  return self
end

-- ---- small multiples ----------------------------------------------------------------------------

--- ml.plot.grid{ fig1, fig2, ..., columns =, share =, title =, file =, width =, height =, theme = }
--- Small multiples: the panels of several figures in one, row by row.
--- @param opts[1..n] figure of ml.plot
--- @param opts.columns integer =about as many as rows
--- @param opts.share string ="" "x", "y" or "xy": one range for all panels with such numbers
--- @param opts.title string =nil above all
--- @param opts.width integer =at most 320 a column
--- @param opts.height integer =240 a row
--- @return figure
--- @source Tufte 1990, Envisioning Information
function figure.grid(o)
  local where = "ml.plot.grid"
  options.argument(where, 1, o, "table")
  options.check(where, o, { "columns", "share", "title", "file", "width", "height", "theme" }, true)
  local panels = {}
  for i = 1, #o do
    if getmetatable(o[i]) ~= Figure then
      options.bad(where, 1, "value %d is %s, wanted a figure of ml.plot", i, options.describe(o[i]))
    end
    for _, p in ipairs(o[i].panels) do
      local copy = {}
      for key, v in pairs(p) do copy[key] = v end
      panels[#panels + 1] = copy
    end
  end
  if #panels == 0 then options.bad(where, 1, "no figures, wanted at least one") end
  local columns = options.range(where, "columns", options.field(where, o, "columns", "integer",
    math.ceil(math.sqrt(#panels))), 1, 100)
  columns = math.min(columns, #panels)
  local share = options.choice(where, o, "share", { "", "x", "y", "xy" }, "")
  for key in share:gmatch "." do
    local all = { low = math.huge, high = -math.huge }
    local base
    for i, p in ipairs(panels) do
      if i > 1 and p[key].base ~= base then
        options.bad(where, 0, "option 'share' is %q, but panel %d has another kind of %s axis",
          share, i, key)
      end
      base = p[key].base
      local x, y = panel.ranges(p)
      local range = key == "x" and x or y
      all.low, all.high = math.min(all.low, range.low), math.max(all.high, range.high)
    end
    for _, p in ipairs(panels) do
      if not p[key].names then
        p.shared = p.shared or {}
        p.shared[key] = all
      end
    end
  end
  local rows = math.ceil(#panels / columns)
  return figure.new(where, o, panels, { columns = columns, title = input.text(where, o, "title"),
    width = columns == 1 and 640 or math.min(10000, 320 * columns),
    height = math.min(10000, 240 * rows + (o.title and 30 or 0)) })
end

options.methods(Figure)
require "moonlab.methods"("ml.plot.figure", Figure)

return figure
