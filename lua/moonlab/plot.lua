--- Figures: one description, drawn as SVG, as PNG, or with braille dots in the terminal. The folder
--- plot holds the parts: kinds (curves, maps), the description (panel), axes (scale), places
--- (layout), and the back ends (svg with draw, terminal).
local curves = require "moonlab.plot.curves"
local figure = require "moonlab.plot.figure"
local maps = require "moonlab.plot.maps"

return {
  lines = curves.lines,
  scatter = curves.scatter,
  spectrum = curves.spectrum,
  histogram = curves.histogram,
  heatmap = maps.heatmap,
  confusion = maps.confusion,
  phase = maps.phase,
  grid = figure.grid,
}
