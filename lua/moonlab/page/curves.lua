--- The curves of a run as its metrics grow: read on from where one was, thinned as they come in.
---
--- A curve keeps at most `most` buckets of equally many points, each with its least and greatest
--- value and where they are, so that no spike is lost; when it is full, neighbours are joined.
--- `line` and `generation` let a reader ask for what is new: within a generation only the last
--- bucket changes and others are added; joining, and a file that was replaced, begin another one.
local core = require "moonlab.core"
local lfs = require "lfs"
local sorted = require "moonlab.sorted"

local curves = {}

local most = 600            -- buckets of a curve, even
local most_curves = 100     -- of a run
local most_marks = 40       -- places of a curve that are shown where it is not finite
local chunk = 2 ^ 18        -- bytes read at once; a longer line is left out

local exact = { nan = "exact" }

local Follower = {}
Follower.__index = Follower

local function reset(self)
  self.offset, self.line, self.damaged, self.left_out = 0, 0, 0, 0
  self.by_key, self.list, self.skipping = {}, {}, false
  self.generation = (self.generation or 0) + 1
end

--- A follower of the metrics in a run's folder; nothing is read yet. o: most buckets of a curve
--- (even) and most_curves, where fewer are wanted.
function curves.follow(dir, o)
  local self = setmetatable({ path = dir .. "/metrics.jsonl", size = 0,
    most = o and o.most or most, most_curves = o and o.most_curves or most_curves }, Follower)
  reset(self)
  return self
end

-- ---- one value --------------------------------------------------------------------------------

local function curve_of(self, name, part)
  local key = name .. "\0" .. part
  local curve = self.by_key[key]
  if curve == nil then
    if #self.list >= self.most_curves then
      self.left_out = self.left_out + 1
      curve = false
    else
      curve = { name = name, part = part, width = 1, count = 0, buckets = {}, bad = 0, marks = {} }
      self.list[#self.list + 1] = curve
    end
    self.by_key[key] = curve
  end
  return curve
end

-- A bucket { line, points in it, x, low, x, high }; low is nil while nothing in it is finite.
local function join(a, b)
  a[1], a[2] = b[1], a[2] + b[2]
  if b[4] and (not a[4] or b[4] < a[4]) then a[3], a[4] = b[3], b[4] end
  if b[6] and (not a[6] or b[6] > a[6]) then a[5], a[6] = b[5], b[6] end
end

local function halve(self, curve)
  local old, new = curve.buckets, {}
  for i = 1, #old, 2 do
    if old[i + 1] then join(old[i], old[i + 1]) end
    new[#new + 1] = old[i]
  end
  curve.buckets, curve.width = new, 2 * curve.width
  self.generation = self.generation + 1
end

local function add(self, curve, x, y)
  curve.count = curve.count + 1
  local buckets = curve.buckets
  local last = buckets[#buckets]
  if not last or last[2] >= curve.width then
    if #buckets >= self.most then
      halve(self, curve)
      buckets = curve.buckets
      last = buckets[#buckets]
    end
    if not last or last[2] >= curve.width then
      last = { 0, 0, x }
      buckets[#buckets + 1] = last
    end
  end
  last[1], last[2] = self.line, last[2] + 1
  curve.last = y
  if y ~= y or y == math.huge or y == -math.huge then
    curve.bad = curve.bad + 1
    if #curve.marks < most_marks then curve.marks[#curve.marks + 1] = x end
    return
  end
  if not last[4] or y < last[4] then last[3], last[4] = x, y end
  if not last[6] or y > last[6] then last[5], last[6] = x, y end
end

-- What tells curves of one name apart: what kind of record it is, and the seed.
local function part_of(record)
  local kind, seed = record.kind or record.split, record.seed
  local part = type(kind) == "string" and kind:sub(1, 60) or ""
  if math.type(seed) == "integer" then
    part = part .. (part == "" and "" or ", ") .. "seed " .. seed
  end
  return part
end

local function take(self, text)
  self.line = self.line + 1
  local ok, record = pcall(core.json.decode, text, exact)
  if not ok or type(record) ~= "table" or #record > 0 then
    self.damaged = self.damaged + 1
    return
  end
  local step = record.step
  if type(step) ~= "number" or step ~= step or step == math.huge or step == -math.huge then
    step = nil
  end
  local part = part_of(record)
  for name, value in pairs(record) do
    if type(value) == "number" and name ~= "step" and name ~= "seed" then
      local curve = curve_of(self, name, part)
      if curve then add(self, curve, step or curve.count + 1, value) end
    end
  end
end

-- ---- reading on -------------------------------------------------------------------------------

-- The whole lines of one more piece of the file; false at its end.
local function read_piece(self, file)
  file:seek("set", self.offset)
  local text = file:read(chunk)
  if not text then return false end
  local last = text:match "^.*()\n"
  if not last then -- torn, or too long a line
    if #text < chunk then return false end
    self.skipping, self.offset = true, self.offset + #text
    return true
  end
  local at = 1
  if self.skipping then
    at = text:find("\n", 1, true) + 1
    self.line, self.damaged, self.skipping = self.line + 1, self.damaged + 1, false
  end
  while at <= last do
    local stop = text:find("\n", at, true)
    take(self, text:sub(at, stop - 1))
    at = stop + 1
  end
  self.offset = self.offset + last
  return true
end

--- Reads on for at most `seconds` (nil: to the end).
function Follower:more(seconds)
  if lfs.attributes(self.path, "mode") ~= "file" then return end
  local stamp = core.system.stamp(self.path)
  local inode = stamp and stamp:match "^%x+"
  local size = lfs.attributes(self.path, "size") or 0
  if (self.inode and inode ~= self.inode) or size < self.offset then reset(self) end
  self.inode, self.size = inode, size
  local file = io.open(self.path, "rb")
  if not file then return end
  local until_when = core.now() + (seconds or math.huge)
  while read_piece(self, file) and core.now() < until_when do end
  file:close()
end

local function point(bucket)
  if not bucket[4] then return { bucket[3], core.json.null } end
  local a, b = { bucket[3], bucket[4] }, { bucket[5], bucket[6] }
  if bucket[3] > bucket[5] then a, b = b, a end
  if a[1] == b[1] and a[2] == b[2] then return a end
  return { a[1], a[2], b[1], b[2] }
end

--- What is new after a line of a generation: { generation, line, read, size, damaged, curves =
--- list of { name, part, from = buckets before, buckets = { { x, y } or { x, y, x, y } }, count,
--- width, bad, last, marks } }.
function Follower:since(generation, line)
  local all = generation ~= self.generation
  local out = {}
  for i, curve in ipairs(self.list) do
    local buckets, from = curve.buckets, 0
    if not all then
      from = #buckets
      while from > 0 and buckets[from][1] > line do from = from - 1 end
    end
    if all or from < #buckets then
      local points = {}
      for k = from + 1, #buckets do points[#points + 1] = point(buckets[k]) end
      out[#out + 1] = { key = i, name = curve.name, part = curve.part, from = from,
        buckets = points, count = curve.count, width = curve.width, bad = curve.bad,
        last = curve.last, marks = curve.marks }
    end
  end
  return { generation = self.generation, line = self.line, read = self.offset, size = self.size,
    damaged = self.damaged, left_out = self.left_out, curves = out }
end

--- The last value of every name in the last few lines of a file, and the last step, without
--- reading the rest.
function curves.tail(dir)
  local path = dir .. "/metrics.jsonl"
  local values, step = {}, nil
  local file = lfs.attributes(path, "mode") == "file" and io.open(path, "rb")
  if not file then return values end
  local size = file:seek "end"
  file:seek("set", math.max(0, size - 4096))
  local text = file:read "a" or ""
  file:close()
  if size > 4096 then text = text:match "\n(.*)" or "" end
  for line in text:gmatch "([^\n]*)\n" do
    local ok, record = pcall(core.json.decode, line, exact)
    if ok and type(record) == "table" then
      for name, value in sorted(record) do
        if type(value) == "number" and type(name) == "string" then
          if name == "step" then step = value elseif name ~= "seed" then values[name] = value end
        end
      end
    end
  end
  return values, step
end

return curves
