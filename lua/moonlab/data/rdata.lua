--- R data files: what serialize() writes, as Lua tables; of a data frame its columns.
local core = require "moonlab.core"
local options = require "moonlab.options"

local rdata = {}

local NA = -2147483648 -- of integers on file

local Reader = {}
Reader.__index = Reader

function Reader:bad(message, ...)
  options.raise("%s: %s (at byte %d)", self.name, message:format(...), self.at)
end

-- n bytes are there, or raises.
function Reader:need(n)
  if n < 0 or self.at + n - 1 > #self.bytes then
    self:bad("%d bytes wanted, %d left: truncated?", n, #self.bytes - self.at + 1)
  end
end

function Reader:int()
  self:need(4)
  local x = string.unpack(">i4", self.bytes, self.at)
  self.at = self.at + 4
  return x
end

function Reader:length(size)
  local n = self:int()
  if n == -1 then n = self:int() * 2 ^ 32 // 1 | self:int() end
  if n < 0 or n > #self.bytes then self:bad("a vector of %d entries", n) end
  self:need(n * size)
  return n
end

-- n numbers of a format, many at a time
function Reader:numbers(n, format, size)
  local out, at = {}, self.at
  local many = (">" .. format:rep(128))
  local i = 0
  while n - i >= 128 do
    local block = { string.unpack(many, self.bytes, at) }
    table.move(block, 1, 128, i + 1, out)
    i, at = i + 128, at + 128 * size
  end
  while i < n do
    i = i + 1
    out[i] = string.unpack(">" .. format, self.bytes, at)
    at = at + size
  end
  self.at = at
  return out
end

local SYMBOL, PAIRS, CLOSURE, ENVIRONMENT, PROMISE, CALL = 1, 2, 3, 4, 5, 6
local SPECIAL, BUILTIN, CHARS, LOGICAL, INTEGER, REAL = 7, 8, 9, 10, 13, 14
local COMPLEX, STRINGS, DOTS, LIST, EXPRESSION, RAW, S4 = 15, 16, 17, 19, 20, 24, 25
local constants = { [254] = true, [253] = true, [252] = true, [251] = true, [242] = true,
  [241] = true }

local function vector(self, kind)
  local node = { type = kind }
  if kind == LOGICAL or kind == INTEGER then
    node.values = self:numbers(self:length(4), "i4", 4)
  elseif kind == REAL then
    node.values = self:numbers(self:length(8), "d", 8)
  elseif kind == COMPLEX then
    local n = self:length(16)
    node.values = self:numbers(2 * n, "d", 8)
  elseif kind == RAW then
    local n = self:length(1)
    node.values = { self.bytes:sub(self.at, self.at + n - 1) }
    self.at = self.at + n
  else -- of items
    local n = self:length(4)
    node.values = {}
    for i = 1, n do node.values[i] = self:item() or false end
  end
  return node
end

-- Attributes of a node from the pairs that follow it.
local function attributes(self, node, flags)
  if flags & 0x200 == 0 then return node end
  node.attributes = {}
  local pairs_node = self:item()
  for _, entry in ipairs(pairs_node and pairs_node.pairs or {}) do
    if entry.tag then node.attributes[entry.tag] = entry.value end
  end
  return node
end

-- A vector that R keeps in another form.
local function alternative(self)
  local info, state = self:item(), self:item()
  local attached = self:item()
  local kind = info and info.pairs and info.pairs[1] and info.pairs[1].value
  kind = kind and kind.symbol or "?"
  local node
  if (kind == "compact_intseq" or kind == "compact_realseq") and state and state.values then
    local n, first, step = table.unpack(state.values)
    if not (n and first and step and n >= 0 and n <= 2 ^ 31) then self:bad("a damaged sequence") end
    node = { type = kind == "compact_intseq" and INTEGER or REAL, values = {} }
    for i = 1, n // 1 | 0 do node.values[i] = first + (i - 1) * step end
  elseif kind:find "^wrap_" and state and (state.values or state.pairs) then
    node = state.values and state.values[1] or state.pairs[1].value
  elseif kind == "deferred_string" and state and state.pairs and state.pairs[1] then
    node = { type = STRINGS, values = {} }
    for i, x in ipairs(state.pairs[1].value.values or {}) do
      node.values[i] = { text = ("%.15g"):format(x) }
    end
  else
    self:bad("a vector of the kind '%s', which this reader does not know", kind)
  end
  if attached and attached.pairs and type(node) == "table" then
    node.attributes = {}
    for _, entry in ipairs(attached.pairs) do
      if entry.tag then node.attributes[entry.tag] = entry.value end
    end
  end
  return node
end

local function pair_list(self, flags)
  local node = { type = PAIRS, pairs = {} }
  while true do
    local entry = {}
    if flags & 0x200 ~= 0 then self:item() end
    if flags & 0x400 ~= 0 then
      local tag = self:item()
      entry.tag = tag and tag.symbol
    end
    entry.value = self:item() or false
    node.pairs[#node.pairs + 1] = entry
    flags = self:int()
    if flags & 0xff ~= PAIRS then break end
  end
  self:rest(flags)
  return node
end

function Reader:item() return self:rest(self:int()) end

-- The item whose flags were read.
function Reader:rest(flags)
  local kind = flags & 0xff
  if constants[kind] then return nil end
  self.depth = self.depth + 1
  if self.depth > 150 then self:bad("nested more than 150 deep") end
  local node
  if kind == 255 then
    local i = flags >> 8
    if i == 0 then i = self:int() end
    node = self.seen[i]
    if not node then self:bad("a reference to item %d of %d", i, #self.seen) end
  elseif kind == SYMBOL then
    local name = self:item()
    node = { type = SYMBOL, symbol = name and name.text or "NA" }
    self.seen[#self.seen + 1] = node
  elseif kind == 249 or kind == 250 or kind == 247 then -- a namespace, package or persistent name
    node = { type = ENVIRONMENT }
    self:int()
    node.values = vector(self, STRINGS).values
    self.seen[#self.seen + 1] = node
  elseif kind == ENVIRONMENT then
    self:int()
    node = { type = ENVIRONMENT }
    self.seen[#self.seen + 1] = node
    for _ = 1, 4 do self:item() end
  elseif kind == CHARS then
    local n = self:int()
    node = { type = CHARS }
    if n >= 0 then
      self:need(n)
      node.text = self.bytes:sub(self.at, self.at + n - 1)
      self.at = self.at + n
    elseif n ~= -1 then
      self:bad("a string of %d bytes", n)
    end
  elseif kind == PAIRS or kind == CALL or kind == CLOSURE or kind == PROMISE or kind == DOTS then
    node = pair_list(self, flags)
  elseif kind == SPECIAL or kind == BUILTIN then
    local n = self:length(1)
    self.at = self.at + n
    node = { type = kind }
  elseif kind == 238 then
    node = alternative(self)
  elseif kind == S4 then
    node = attributes(self, { type = S4 }, flags)
  elseif kind == LOGICAL or kind == INTEGER or kind == REAL or kind == COMPLEX or kind == STRINGS
    or kind == LIST or kind == EXPRESSION or kind == RAW then
    node = attributes(self, vector(self, kind), flags)
  else
    self:bad("an item of type %d, which this reader does not know", kind)
  end
  self.depth = self.depth - 1
  return node
end

-- The first item of serialized bytes, which start with "X\n".
local function unserialize(bytes, name)
  local reader = setmetatable({ bytes = bytes, name = name, at = 1, depth = 0, seen = {} }, Reader)
  if bytes:sub(1, 2) ~= "X\n" then
    reader:bad("serialized as %q, wanted R's binary form \"X\\n\"", bytes:sub(1, 2))
  end
  reader.at = 3
  local version = reader:int()
  if version ~= 2 and version ~= 3 then
    reader:bad("serialization version %d, wanted 2 or 3", version)
  end
  reader:int()
  reader:int()
  if version == 3 then
    local n = reader:int()
    reader:need(n)
    reader.at = reader.at + n
  end
  return reader:item()
end

--- The objects of an .rda file's bytes: name -> node; of an .rds file: "" -> node.
function rdata.parse(bytes, name)
  bytes = core.text.expand(bytes, name)
  local magic = bytes:sub(1, 5)
  if magic == "RDX2\n" or magic == "RDX3\n" then
    local root, out = unserialize(bytes:sub(6), name), {}
    for _, entry in ipairs(root and root.pairs or {}) do
      if entry.tag then out[entry.tag] = entry.value end
    end
    return out
  elseif bytes:sub(1, 2) == "X\n" then
    return { [""] = unserialize(bytes, name) }
  end
  options.raise("%s: starts with %q, wanted an R data file (RDX2, RDX3 or X)", name, magic)
end

--- The objects of a pair of files .rdx (index) and .rdb (data), as functions name -> () -> node.
function rdata.database(index, data, name)
  local root = rdata.parse(index, name)[""]
  local names = root and root.attributes and root.attributes.names
  local variables
  for i, entry in ipairs(names and names.values or {}) do
    if entry.text == "variables" then variables = root.values[i] end
  end
  local list = variables and variables.attributes and variables.attributes.names
  if not list then options.raise("%s: no index of variables", name) end
  local out = {}
  for i, entry in ipairs(list.values) do
    local place = variables.values[i]
    local from, n = table.unpack(place and place.values or {})
    if math.type(from) ~= "integer" or math.type(n) ~= "integer" or from < 0 or n < 5
      or from + n > #data then
      options.raise("%s: %s lies outside the data", name, entry.text or "NA")
    end
    out[entry.text or "NA"] = function()
      local chunk = data:sub(from + 5, from + n) -- after its expanded length
      if chunk:sub(1, 1) == "Z" then
        -- a bare LZMA stream has no header of its own
        options.raise("%s: %s is compressed as xz without a header", name, entry.text)
      end
      return unserialize(core.text.expand(chunk, name), name)
    end
  end
  return out
end

local function strings(node)
  local out = {}
  for i, entry in ipairs(node and node.values or {}) do out[i] = entry and entry.text or false end
  return out
end

-- Levels and 1-based codes of strings; what is missing is the level "NA".
local function coded(list)
  local levels, place, codes = {}, {}, {}
  local sorted = {}
  for _, text in ipairs(list) do sorted[text or "NA"] = true end
  for text in pairs(sorted) do levels[#levels + 1] = text end
  table.sort(levels)
  for i, text in ipairs(levels) do place[text] = i end
  for i, text in ipairs(list) do codes[i] = place[text or "NA"] end
  return codes, levels
end
rdata.coded = coded

--- A column: list of numbers (NaN where missing), or codes and levels; nil for what is neither.
function rdata.column(node)
  if type(node) ~= "table" or not node.values then return nil end
  if node.type == STRINGS then return coded(strings(node)) end
  if node.type ~= REAL and node.type ~= INTEGER and node.type ~= LOGICAL then return nil end
  local levels = node.attributes and node.attributes.levels
  local values = node.values
  if levels and node.type == INTEGER then
    local names, missing = strings(levels), nil
    local count, out = #names, {}
    for i, code in ipairs(values) do
      if code == NA then
        missing = true
        code = count + 1
      elseif code < 1 or code > count then
        return nil
      end
      out[i] = code
    end
    if missing then names[count + 1] = "NA" end
    return out, names
  end
  local out = {}
  for i, x in ipairs(values) do out[i] = node.type ~= REAL and x == NA and 0 / 0 or x + 0.0 end
  return out
end

--- Of a data frame: names and nodes; nil when it is none.
function rdata.frame(node)
  local names = type(node) == "table" and node.type == LIST and node.attributes
    and node.attributes.names
  if not names then return nil end
  return strings(names), node.values
end

return rdata
