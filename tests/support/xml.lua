-- A strict reader of the XML that figures and pages write: elements, attributes, text, the five
-- entities. Raises at whatever an XML parser would refuse.
local xml = {}

local entities = { amp = "&", lt = "<", gt = ">", quot = '"' }
entities["#39"] = "'"

local function decode(s)
  assert(not s:find "<", "a < in text: " .. s)
  local bare = s:gsub("&([^;&]*);", function(name)
    assert(entities[name], "entity &" .. name .. ";")
    return ""
  end)
  assert(not bare:find "&", "a bare & in: " .. s)
  assert(utf8.len(s), "not UTF-8: " .. s)
  assert(not s:find "[%z\1-\8\11\12\14-\31]", "a control character")
  return (s:gsub("&([^;]*);", entities))
end

local function attributes(s, tag)
  local found, at = {}, 1
  while true do
    at = s:find("%S", at)
    if not at then return found end
    local name, value, stop = s:match('^([%a_][%w_:-]*)="([^"]*)"()', at)
    assert(name, "attributes of " .. tag .. ": " .. s:sub(at))
    assert(found[name] == nil, "attribute " .. name .. " twice in " .. tag)
    assert(stop > #s or s:sub(stop, stop):find "%s", "no blank after " .. name)
    found[name], at = decode(value), stop
  end
end

--- The root element { tag, attributes, children..., text = all text inside }.
function xml.parse(s)
  local stack, root = {}, nil
  local at = 1
  while at <= #s do
    local open = s:find("<", at, true) or #s + 1
    local between = s:sub(at, open - 1)
    if #stack > 0 then
      local words = decode(between)
      for _, element in ipairs(stack) do element.text = element.text .. words end
    else
      assert(not between:find "%S", "text outside the root: " .. between)
    end
    if open > #s then break end
    local close = assert(s:find(">", open, true), "a tag without >")
    local inside = s:sub(open + 1, close - 1)
    local ending = inside:match "^/([%a][%w]*)$"
    if ending then
      local top = table.remove(stack)
      assert(top and top.tag == ending, "</" .. ending .. "> closes nothing")
    else
      local tag, rest, alone = inside:match "^([%a][%w]*)(.-)(/?)$"
      assert(tag, "tag <" .. inside .. ">")
      local element = { tag = tag, attributes = attributes(rest, tag), text = "" }
      if #stack > 0 then
        table.insert(stack[#stack], element)
      else
        assert(not root, "two roots")
        root = element
      end
      if alone == "" then stack[#stack + 1] = element end
    end
    at = close + 1
  end
  assert(#stack == 0, "an element is left open")
  return assert(root, "no root")
end

--- All elements with a tag, in document order; extra: test(element).
function xml.all(element, tag, test)
  local list = {}
  local function walk(e)
    if e.tag == tag and (not test or test(e)) then list[#list + 1] = e end
    for _, child in ipairs(e) do walk(child) end
  end
  walk(element)
  return list
end

return xml
