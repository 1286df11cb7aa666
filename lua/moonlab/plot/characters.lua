--- Text in the cells of a terminal: how many it takes, cut, broken into lines.
local characters = {}

local wide = { { 0x1100, 0x115F }, { 0x2E80, 0xA4CF }, { 0xAC00, 0xD7A3 }, { 0xF900, 0xFAFF },
  { 0xFE30, 0xFE6F }, { 0xFF00, 0xFF60 }, { 0x1F300, 0x1FAFF } }

--- Cells of a code point: 0, 1 or 2.
function characters.cells_of(code)
  if code >= 0x300 and code <= 0x36F then return 0 end
  for _, range in ipairs(wide) do
    if code >= range[1] and code <= range[2] then return 2 end
  end
  return 1
end

--- Cells of a string.
function characters.cells(s)
  local n = 0
  for _, code in utf8.codes(s) do n = n + characters.cells_of(code) end
  return n
end

--- The string, or its beginning and an ellipsis, in at most `room` cells.
function characters.shorten(s, room)
  if characters.cells(s) <= room then return s end
  local kept, n = {}, 0
  for _, code in utf8.codes(s) do
    if n + characters.cells_of(code) > room - 1 then break end
    n = n + characters.cells_of(code)
    kept[#kept + 1] = utf8.char(code)
  end
  return room > 0 and table.concat(kept) .. "…" or ""
end

--- Names at most `room` wide; those that only their ends tell apart lose their middle.
function characters.shorten_apart(names, room)
  local short, owner, alike = {}, {}, false
  for i, name in ipairs(names) do
    short[i] = characters.shorten(name, room)
    alike = alike or (owner[short[i]] ~= nil and owner[short[i]] ~= name)
    owner[short[i]] = name
  end
  for i, name in ipairs(alike and names or {}) do
    if characters.cells(name) > room then
      local tail, n = #name + 1, 1 -- the last half
      while tail > 1 and n <= room // 2 do
        tail = utf8.offset(name, -1, tail)
        n = n + characters.cells_of(utf8.codepoint(name, tail))
      end
      local ending = name:sub(tail)
      short[i] = characters.shorten(name, room - characters.cells(ending)) .. ending
    end
  end
  return short
end

--- Lines of at most `room` cells, broken at blanks.
function characters.wrap(s, room)
  local lines, line = {}, nil
  for word in s:gmatch "%S+" do
    word = characters.shorten(word, room)
    local longer = line and line .. " " .. word or word
    if line and characters.cells(longer) > room then
      lines[#lines + 1], line = line, word
    else
      line = longer
    end
  end
  lines[#lines + 1] = line
  return lines
end

return characters
