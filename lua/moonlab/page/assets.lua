--- Files of the pages, and texts made safe for the places where they stand.
local core = require "moonlab.core"

local assets = {}

local folder = debug.getinfo(1, "S").source:match "^@(.*/)[^/]*$"

--- A file of this folder.
function assets.read(name)
  local file = assert(io.open(folder .. name, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

--- The chart library; or nil and what to install.
function assets.chart() return core.system.chart_library() end

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;",
  ["'"] = "&#39;" }

--- A text for HTML, in an attribute or between tags.
function assets.escape(text) return (text:gsub("[&<>\"']", entities)) end

--- JSON that may stand in a script element: nothing in it ends one or begins a comment.
function assets.json(value)
  local text = core.json.encode(value, { nan = "string", invalid = "replace" })
  return (text:gsub("[<>&]", { ["<"] = "\\u003c", [">"] = "\\u003e", ["&"] = "\\u0026" }))
end

--- Our own JavaScript or style for an element of HTML.
function assets.inline(text)
  return (text:gsub("</([sS][cC][rR][iI][pP][tT])", "<\\/%1"):gsub("<!%-%-", "<\\!--"))
end

local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local pairs_of = {} -- 12 bits -> two letters
for i = 0, 4095 do
  local a, b = (i >> 6) + 1, (i & 63) + 1
  pairs_of[i] = letters:sub(a, a) .. letters:sub(b, b)
end

--- Base64.
function assets.base64(text)
  local out = {}
  for at = 1, #text - 2, 3 do
    local a, b, c = text:byte(at, at + 2)
    local n = a << 16 | b << 8 | c
    out[#out + 1] = pairs_of[n >> 12]
    out[#out + 1] = pairs_of[n & 4095]
  end
  local left = #text % 3
  if left > 0 then
    local a, b = text:byte(#text - left + 1, #text)
    local n = a << 16 | (b or 0) << 8
    out[#out + 1] = pairs_of[n >> 12]
    out[#out + 1] = left == 2 and pairs_of[n & 4095]:sub(1, 1) .. "=" or "=="
  end
  return table.concat(out)
end

--- A word that nobody can guess.
function assets.nonce()
  local file = assert(io.open("/dev/urandom", "rb"))
  local bytes = file:read(18)
  file:close()
  return assets.base64(bytes)
end

return assets
