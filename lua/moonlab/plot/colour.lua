--- Colours: a palette for series, maps for heat maps, the inks of light and dark themes.
local colour = {}

--- Series: told apart by colour-blind readers. Okabe & Ito 2008, Color Universal Design; without
--- the yellow, which vanishes on white.
colour.series = { "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000" }

--- Regions, drawn as tints: the same, with yellow and grey.
colour.regions = { "#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#D55E00",
  "#999999" }

--- What is not data: background, text, weaker text, frame, grid lines; and the least contrast of
--- data with the background.
colour.themes = {
  light = { paper = "#ffffff", ink = "#222222", soft = "#555555", frame = "#777777",
    grid = "#e6e6e6", contrast = 2 },
  dark = { paper = "#16181c", ink = "#e8e8e8", soft = "#a8adb5", frame = "#80868f",
    grid = "#2e3238", contrast = 4 },
}

local function parse(hex)
  return tonumber(hex:sub(2, 3), 16) / 255, tonumber(hex:sub(4, 5), 16) / 255,
    tonumber(hex:sub(6, 7), 16) / 255
end
colour.parse = parse

local function byte(v) return math.floor(255 * math.max(0, math.min(1, v)) + 0.5) end

local function hex(r, g, b) return ("#%02x%02x%02x"):format(byte(r), byte(g), byte(b)) end

--- "#abc" and "#aabbcc" as "#aabbcc", else nil.
function colour.read(word)
  if type(word) ~= "string" then return nil end
  local r, g, b = word:match "^#(%x)(%x)(%x)$"
  if r then return "#" .. r .. r .. g .. g .. b .. b end
  return word:match "^#%x%x%x%x%x%x$"
end

local function linear(v) return v <= 0.04045 and v / 12.92 or ((v + 0.055) / 1.055) ^ 2.4 end
local function companded(v) return v <= 0.0031308 and 12.92 * v or 1.055 * v ^ (1 / 2.4) - 0.055 end

local function luminance(name)
  local r, g, b = parse(name)
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
end

--- The contrast ratio of two colours, 1 to 21, by WCAG 2.1.
function colour.contrast(a, b)
  local la, lb = luminance(a), luminance(b)
  if la < lb then la, lb = lb, la end
  return (la + 0.05) / (lb + 0.05)
end

--- a with a share t of b.
function colour.mix(a, b, t)
  local ar, ag, ab = parse(a)
  local br, bg, bb = parse(b)
  return hex(ar + t * (br - ar), ag + t * (bg - ag), ab + t * (bb - ab))
end

--- The colour, moved towards black or white until it stands out from the paper by a contrast ratio.
function colour.legible(name, paper, ratio)
  local towards = luminance(paper) > 0.4 and "#000000" or "#ffffff"
  local found, t = name, 0
  while colour.contrast(found, paper) < ratio and t < 1 do
    t = t + 0.04
    found = colour.mix(name, towards, math.min(1, t))
  end
  return found
end

--- Black or white, whichever is read better on a colour.
function colour.on(name)
  return colour.contrast("#111111", name) >= colour.contrast("#ffffff", name) and "#111111"
    or "#ffffff"
end

-- ---- maps ---------------------------------------------------------------------------------------

-- Lightness, chroma and hue (degrees) of OKLab to linear sRGB; Ottosson 2020, "A perceptual color
-- space for image processing".
local function oklab(lightness, chroma, hue)
  local a, b = chroma * math.cos(math.rad(hue)), chroma * math.sin(math.rad(hue))
  local l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ^ 3
  local m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ^ 3
  local s = (lightness - 0.0894841775 * a - 1.2914855480 * b) ^ 3
  return 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s
end

local function inside(...)
  for _, v in ipairs { ... } do
    if not (v >= -1e-4 and v <= 1.0001) then return false end
  end
  return true
end

-- The colour of a lightness and hue, with the chroma or as much of it as sRGB has.
local function displayable(lightness, chroma, hue)
  while chroma > 0 and not inside(oklab(lightness, chroma, hue)) do chroma = chroma - 0.002 end
  local r, g, b = oklab(lightness, math.max(0, chroma), hue)
  return hex(companded(math.max(0, r)), companded(math.max(0, g)), companded(math.max(0, b)))
end

--- Maps from [0, 1]: equal steps look equal, since lightness in OKLab is linear in t.
--- sequential: violet over blue and green to yellow; diverging: blue, white, red; grey.
colour.maps = {
  sequential = function(t) return displayable(0.27 + 0.65 * t, 0.135 + 0.04 * t, 305 - 197 * t) end,
  diverging = function(t)
    local d = math.abs(2 * t - 1)
    return displayable(0.97 - 0.55 * d, 0.19 * d, t < 0.5 and 255 or 30)
  end,
  grey = function(t) return displayable(0.97 - 0.72 * t, 0, 0) end,
}

local cache = {}

--- The colour of t in [0, 1] on a map, in 256 steps.
function colour.at(map, t)
  local steps = cache[map]
  if not steps then
    steps = {}
    cache[map] = steps
  end
  local k = math.floor(255 * math.max(0, math.min(1, t)) + 0.5)
  if not steps[k] then steps[k] = colour.maps[map](k / 255) end
  return steps[k]
end

--- The nearest of the terminal's 256 colours: its 6 x 6 x 6 cube.
function colour.terminal(name)
  local r, g, b = parse(name)
  local function level(v) return math.floor(5 * v + 0.5) end
  return 16 + 36 * level(r) + 6 * level(g) + level(b)
end

return colour
