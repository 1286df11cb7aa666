--- The list of points that workers read while it may still grow: JSON lines, appended.
local core = require "moonlab.core"
local interrupt = require "moonlab.interrupt"
local lfs = require "lfs"

local queue = {}

-- ---- writing ----------------------------------------------------------------------------------

local Writer = {}
Writer.__index = Writer

local function line(value) return core.json.encode(value) .. "\n" end

--- Starts a queue file for the points of a sweep.
function queue.create(path, d)
  local here = lfs.currentdir()
  local store = d.store:sub(1, 1) == "/" and d.store or here .. "/" .. d.store
  core.write_file(path, line { recipe = d.recipe.name, path = d.recipe.path, size = d.size,
    store = store, sweep = d.id, command = d.command or "ml.sweep" })
  return setmetatable({ path = path, file = core.system.log(path) }, Writer)
end

--- Appends points.
function Writer:add(points)
  local lines = {}
  for i, point in ipairs(points) do lines[i] = line { id = point.id, params = point.params } end
  if #lines > 0 then self.file:write(table.concat(lines)) end
end

--- Says that no more points come.
function Writer:finish() self.file:write(line { ["end"] = true }) end

--- Closes the file, and removes it unless it is to stay.
function Writer:close(stay)
  self.file:close()
  if not stay then os.remove(self.path) end
end

--- A file that stands beside the queue while a worker lives, and after it until its sweep has seen
--- what it died of: nobody takes over its point before.
function queue.mark(path, pid) return ("%s.%d"):format(path, pid) end

-- ---- reading ----------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

--- Opens a queue file; or nil and a message.
function queue.open(path)
  local file, why = io.open(path, "r")
  if not file then return nil, why end
  local self = setmetatable({ file = file, pending = "", ended = false }, Reader)
  local ok, header = interrupt.try(core.json.decode, file:read "l" or "")
  if not ok or type(header) ~= "table" or not header.recipe then
    file:close()
    return nil, path .. " is not a queue of a sweep"
  end
  self.header = header
  return self
end

--- The points that were added since the last call.
function Reader:more()
  local points = {}
  local text = self.pending .. (self.file:read "a" or "")
  local at = 1
  for one, after in text:gmatch "([^\n]*)\n()" do
    local value = core.json.decode(one)
    if value["end"] then self.ended = true else points[#points + 1] = value end
    at = after
  end
  self.pending = text:sub(at)
  return points
end

return queue
