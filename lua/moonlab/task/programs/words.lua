--- The words of ml.task.programs: a token each, digits by themselves. Digits that follow one
--- another are one number.
local families = require "moonlab.task.programs.families"

local words = { list = { "<pad>", "<eos>", "<spec>", "</spec>", "<io>", "</io>" }, id = {} }

do
  local seen = {}
  for _, word in ipairs(words.list) do seen[word] = true end
  local function add(text)
    for word in text:gmatch "%S+" do
      if not seen[word] and word ~= "J" and word ~= "K" and word ~= "C" and word ~= "V" then
        seen[word] = true
        words.list[#words.list + 1] = word
      end
    end
  end
  add "0 1 2 3 4 5 6 7 8 9 f ( ) = ; , { } - \" x y z true false nil"
  add "return local if then else elseif end for while do in and or not a b t s n r i v + * / // %"
  add "== ~= < > <= >= # [ ] .. : math.max math.min math.abs ipairs"
  for _, one in ipairs(families) do
    for _, text in ipairs(one.words) do add(text) end
    for _, program in ipairs(one.programs) do add(program.before .. " " .. program.value) end
  end
  for _, one in ipairs(families.followers) do
    for _, text in ipairs(one.words) do add(text) end
  end
  for i, word in ipairs(words.list) do words.id[word] = i end
end

words.pad, words.eos = words.id["<pad>"], words.id["<eos>"]

--- Words as ids; every word must be there.
function words.ids(list)
  local out = {}
  for i, word in ipairs(list) do out[i] = words.id[word] end
  return out
end

--- A text's words with the constants in their place, as digits, appended to a list.
function words.append(list, text, constants)
  for word in text:gmatch "%S+" do
    local value = constants and constants[word]
    if math.type(value) == "integer" then
      for digit in tostring(value):gmatch "%d" do list[#list + 1] = digit end
    elseif value then
      words.append(list, value, constants)
    else
      list[#list + 1] = word
    end
  end
  return list
end

--- A value as words, appended to a list.
function words.value(list, value)
  if math.type(value) == "integer" then
    if value < 0 then list[#list + 1] = "-" end
    for digit in tostring(value):gmatch "%d" do list[#list + 1] = digit end
  elseif type(value) == "boolean" then
    list[#list + 1] = tostring(value)
  elseif type(value) == "string" then
    list[#list + 1] = '"'
    for letter in value:gmatch "." do list[#list + 1] = letter end
    list[#list + 1] = '"'
  else
    list[#list + 1] = "{"
    for i, entry in ipairs(value) do
      if i > 1 then list[#list + 1] = "," end
      words.value(list, entry)
    end
    list[#list + 1] = "}"
  end
  return list
end

--- The text of a program: words with spaces between them, but for the digits of a number.
function words.source(list)
  local parts, last = {}, false
  for _, word in ipairs(list) do
    local digit = word:find "^%d$" ~= nil
    if #parts > 0 and not (digit and last) then parts[#parts + 1] = " " end
    parts[#parts + 1] = word
    last = digit
  end
  return table.concat(parts)
end

return words
