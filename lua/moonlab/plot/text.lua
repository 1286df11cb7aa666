--- Text of figures: cleaned, measured, wrapped, shortened, escaped. A text is a string, taken as it
--- is, or a list of runs, strings and { raised = string } for exponents.
local metrics = require "moonlab.plot.metrics"

local text = {}

-- The first of these that a viewer has; the last named is the widest, and the one measured.
text.fonts = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"

-- Exponents: their size and how far they are lifted, in units of the font size.
text.raised_size, text.raised_by = 0.72, 0.36

-- From the baseline up and down, in units of the font size, for every glyph of a line.
text.ascent, text.descent = 0.78, 0.24

--- A string fit for every back end: valid UTF-8 without control characters; line breaks are blanks.
function text.clean(s)
  local out, i = {}, 1
  while i <= #s do
    local n = utf8.len(s, i, i)
    if n then
      local c = utf8.codepoint(s, i)
      local stop = utf8.offset(s, 2, i) or #s + 1
      local hidden = c < 32 or (c >= 0x7F and c < 0xA0) or (c >= 0x202A and c <= 0x202E)
        or (c >= 0x2066 and c <= 0x2069) or c == 0xFFFE or c == 0xFFFF
      out[#out + 1] = hidden and " " or s:sub(i, stop - 1)
      i = stop
    else
      out[#out + 1] = "\u{FFFD}"
      i = i + 1
    end
  end
  return table.concat(out)
end

local function width_of(code, ranges)
  for _, range in ipairs(ranges) do
    local width = code >= range.first and range[code - range.first + 1]
    if width then return width end
  end
  return 1000
end

local function string_width(s, ranges)
  local sum = 0
  for _, code in utf8.codes(s) do sum = sum + width_of(code, ranges) end
  return sum / 1000
end

--- Width of a text at a font size, in pixels; weight: "bold" or nil.
function text.width(t, size, weight)
  local ranges = metrics[weight or "regular"]
  if type(t) == "string" then return size * string_width(t, ranges) end
  local sum = 0
  for _, run in ipairs(t) do
    sum = sum + (run.raised and text.raised_size * string_width(run.raised, ranges)
      or string_width(run, ranges))
  end
  return size * sum
end

--- Height of a line of text, without leading.
function text.height(size) return size * (text.ascent + text.descent) end

--- The text, or its beginning and an ellipsis, at most `room` wide.
function text.shorten(t, size, room, weight)
  if text.width(t, size, weight) <= room then return t end
  t = text.plain(t)
  local ends = {}
  for at in utf8.codes(t) do ends[#ends + 1] = at - 1 end
  local low, high = 0, #ends -- characters kept
  while low < high do
    local middle = (low + high + 1) // 2
    local stop = ends[middle + 1] or #t
    if text.width(t:sub(1, stop) .. "…", size, weight) <= room then
      low = middle
    else
      high = middle - 1
    end
  end
  return (t:sub(1, low == #ends and #t or ends[low + 1]):gsub("%s+$", "")) .. "…"
end

-- The text without its middle, at most `room` wide.
local function without_middle(t, size, room)
  local at = {}
  for position in utf8.codes(t) do at[#at + 1] = position end
  at[#at + 1] = #t + 1
  local n = #at - 1
  for kept = n - 1, 2, -1 do
    local tail = (kept + 1) // 2 -- what tells names apart is at their ends more often
    local short = t:sub(1, at[kept - tail + 1] - 1) .. "…" .. t:sub(at[n - tail + 1])
    if text.width(short, size) <= room then return short end
  end
  return text.shorten(t, size, room)
end

--- Texts at most `room` wide each; those that only their ends tell apart lose their middle.
function text.shorten_apart(list, size, room)
  local short, owner, alike = {}, {}, false
  for i, t in ipairs(list) do
    short[i] = text.shorten(t, size, room)
    local whole, plain = text.plain(t), text.plain(short[i])
    alike = alike or (owner[plain] ~= nil and owner[plain] ~= whole)
    owner[plain] = whole
  end
  if not alike then return short end
  for i, t in ipairs(list) do
    if text.width(t, size) > room then short[i] = without_middle(text.plain(t), size, room) end
  end
  return short
end

--- Lines of at most `room`, broken at blanks, at most `most` of them, the last one shortened.
function text.wrap(t, size, room, most, weight)
  if type(t) ~= "string" then return { text.shorten(t, size, room, weight) } end
  local lines, line = {}, nil
  for word in t:gmatch "%S+" do
    local longer = line and line .. " " .. word or word
    if not line or #lines + 1 == most or text.width(longer, size, weight) <= room then
      line = longer
    else
      lines[#lines + 1], line = line, word
    end
  end
  lines[#lines + 1] = line
  for i, l in ipairs(lines) do lines[i] = text.shorten(l, size, room, weight) end
  return lines
end

local superscripts = { ["-"] = "⁻", ["0"] = "⁰", ["1"] = "¹", ["2"] = "²", ["3"] = "³",
  ["4"] = "⁴", ["5"] = "⁵", ["6"] = "⁶", ["7"] = "⁷", ["8"] = "⁸", ["9"] = "⁹" }

--- A text as one string: digits of exponents become superscript characters, where all of them can.
function text.plain(t)
  if type(t) == "string" then return t end
  local parts = {}
  for i, run in ipairs(t) do
    parts[i] = run
    if run.raised then
      local whole = run.raised:gsub("−", "-")
      parts[i] = whole:find "^[-%d]+$" and whole:gsub(".", superscripts) or "^" .. whole
    end
  end
  return table.concat(parts)
end

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;",
  ["'"] = "&#39;" }

--- A string as character data or an attribute of XML.
function text.escape(s) return (s:gsub("[&<>\"']", entities)) end

--- The inside of a <text> element.
function text.xml(t, size)
  if type(t) == "string" then return text.escape(t) end
  local parts, lifted = {}, false
  for i, run in ipairs(t) do
    local shift = ""
    if (run.raised ~= nil) ~= lifted then
      shift = (' dy="%.1f"'):format((run.raised and -1 or 1) * text.raised_by * size)
      lifted = run.raised ~= nil
    end
    local small = run.raised and (' font-size="%.1f"'):format(text.raised_size * size) or ""
    parts[i] = shift == "" and small == "" and text.escape(run)
      or ("<tspan%s%s>%s</tspan>"):format(shift, small, text.escape(run.raised or run))
  end
  return table.concat(parts)
end

--- The box around a text drawn at x, y (its baseline): left, top, right, bottom. anchor: "start",
--- "middle", "end"; rotated: a quarter turn to the left.
function text.box(t, x, y, size, anchor, rotated, weight)
  local w = text.width(t, size, weight)
  local before = anchor == "middle" and w / 2 or anchor == "end" and w or 0
  local up = text.ascent * size
  if type(t) ~= "string" then
    up = size * math.max(text.ascent, text.raised_by + text.raised_size * text.ascent)
  end
  local down = text.descent * size
  if rotated then return x - up, y - (w - before), x + down, y + before end
  return x - before, y - up, x - before + w, y + down
end

return text
