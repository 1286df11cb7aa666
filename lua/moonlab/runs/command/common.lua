--- What the actions of ./moonlab runs share: errors of the user's, runs by their words, tables.
local options = require "moonlab.options"
local progress = require "moonlab.progress"
local runs = require "moonlab.runs"
local sorted = require "moonlab.sorted"

local common = {}

--- An error that is the user's: a message and the exit status, without a traceback.
function common.quit(status, text, ...) error({ status = status, text = text:format(...) }, 0) end

--- "; did you mean ...?" for a word that is near one of the names.
function common.hint(word, names)
  local near = options.nearest(word, names)
  return near and ("; did you mean '%s'?"):format(near) or ""
end

--- The folder and the id of a run.
function common.find(word, o)
  local dir, id = runs.find(word, { store = o.store })
  if not dir then common.quit(1, "%s", id) end
  return dir, id
end

--- Quits unless as many words are there as the action takes.
function common.need(o, least, most, what)
  if #o.words < least or #o.words > most then common.quit(2, "wanted: ./moonlab runs %s", what) end
end

--- Quits on words key=value.
function common.no_pairs(o)
  if o.pairs[1] then common.quit(2, "unknown word '%s=%s'", o.pairs[1][1], o.pairs[1][2]) end
end

local function number_text(x)
  if math.type(x) == "integer" then return tostring(x) end
  if x ~= x then return "nan" end
  local short = ("%.6g"):format(x)
  return tonumber(short) == x and short or ("%.10g"):format(x)
end

--- A value as text.
function common.show(value)
  if value == nil then return "-" end
  if type(value) == "number" then return number_text(value) end
  if type(value) ~= "table" then return (tostring(value):gsub("%c", " ")) end
  local parts = {}
  if #value > 0 then
    for i, v in ipairs(value) do
      parts[i] = type(v) == "table" and "[" .. common.show(v) .. "]" or common.show(v)
    end
  else
    for key, v in sorted(value) do parts[#parts + 1] = tostring(key) .. ":" .. common.show(v) end
  end
  return table.concat(parts, ",")
end

--- A duration as text, "-" where there is none.
function common.duration(seconds)
  if type(seconds) ~= "number" then return "-" end
  return seconds < 9.95 and ("%.1fs"):format(seconds) or progress.duration(seconds)
end

-- Words in lines of at most so many columns, each behind four spaces.
local function print_below(text, columns)
  local line = "   "
  for word in text:gmatch "%S+" do
    if #line > 3 and utf8.len(line .. " " .. word) > columns then
      print(line)
      line = "   "
    end
    line = line .. " " .. word
  end
  print(line)
end

--- Columns of equal width; the last is left as it is, and stands below where it does not fit into
--- so many columns.
function common.print_table(rows, columns)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, utf8.len(cell) or #cell) end
  end
  for _, row in ipairs(rows) do
    local parts = {}
    for i, cell in ipairs(row) do
      local pad = i < #row and (" "):rep(widths[i] - (utf8.len(cell) or #cell)) or ""
      parts[i] = cell .. pad
    end
    local line = table.concat(parts, "  "):gsub("%s+$", "")
    if columns and (utf8.len(line) or 0) > columns then
      local last = table.remove(parts)
      print((table.concat(parts, "  "):gsub("%s+$", "")))
      print_below(last, columns)
    else
      print(line)
    end
  end
end

return common
