--- What the live page asks of a store: rows that have changed, one run, its curves, sweeps.
local core = require "moonlab.core"
local content = require "moonlab.page.content"
local curves = require "moonlab.page.curves"
local folder = require "moonlab.runs.folder"
local lfs = require "lfs"
local runs = require "moonlab.runs"

local store = {}

local look_every = 0.5     -- seconds between two looks at the folders
local row_budget = 0.25    -- seconds of one request for what rows take from files of runs
local curve_budget = 0.25  -- seconds of one request for reading on in metrics
local most_followed = 64   -- runs whose curves are kept
local most_compared = 20
local most_sweeps = 200

local View = {}
View.__index = View

--- A view of the store at a path.
function store.new(path)
  return setmetatable({ store = path, version = 0, rows = {}, gone = {}, extras = {}, followed = {},
    used = 0, looked = -math.huge, token = core.system.hash(("%s %.9f %s"):format(path, core.now(),
      tostring({}))):sub(1, 12), sweep_text = "" }, View)
end

local function encode(value)
  return core.json.encode(value, { nan = "string", invalid = "replace" })
end

-- ---- rows -------------------------------------------------------------------------------------

-- The last metrics and what is kept of the results, read when the files have changed.
local function extra_of(self, dir, id, deadline)
  local stamp = (core.system.stamp(dir .. "/metrics.jsonl") or "-") .. " "
    .. (core.system.stamp(dir .. "/results.json") or "-")
  local known = self.extras[id]
  if known and known.stamp == stamp then return known end
  if core.now() > deadline then
    self.unread = true
    return known or { values = {} }
  end
  local values, step = curves.tail(dir)
  known = { stamp = stamp, values = values, step = step, kept = folder.read(dir, "results.json") }
  self.extras[id] = known
  return known
end

local function ids_of(dir)
  local ids, seen = {}, {}
  local function add(id)
    if type(id) == "string" and runs.valid_id(id) and not seen[id] then
      seen[id], ids[#ids + 1] = true, id
    end
  end
  for entry in lfs.dir(dir) do
    local path = dir .. "/" .. entry
    local file = (entry == "table.csv" or entry:match "^queue%-%d+%.jsonl$")
      and lfs.attributes(path, "mode") == "file" and io.open(path, "r")
    if file then
      local header = file:read "l" -- of the table, or of the queue
      for line in header and file:lines() or function() end do
        if entry == "table.csv" then
          add(line:match '^"?([%w._-]+)')
        else
          local ok, point = pcall(core.json.decode, line)
          if ok and type(point) == "table" then add(point.id) end
        end
      end
      file:close()
    end
  end
  return ids
end

local function sweeps_of(self)
  local path, list = self.store .. "/sweeps", {}
  if lfs.attributes(path, "mode") ~= "directory" then return list end
  local names = {}
  for entry in lfs.dir(path) do
    if runs.valid_id(entry) and lfs.attributes(path .. "/" .. entry, "mode") == "directory" then
      names[#names + 1] = entry
    end
  end
  table.sort(names)
  for i = 1, math.min(#names, most_sweeps) do
    local dir = path .. "/" .. names[i]
    local about = folder.read(dir, "sweep.json") or {}
    local what = type(about.definition) == "table" and about.definition or {}
    list[#list + 1] = { id = names[i], ids = ids_of(dir),
      objective = type(what.objective) == "string" and what.objective or nil,
      command = type(about.command) == "string" and about.command or nil }
  end
  return list
end

local function look(self)
  if core.now() - self.looked < look_every then return end
  local deadline, seen = core.now() + row_budget, {}
  self.unread = false
  local version = self.version + 1
  local changed = false
  for _, listed in ipairs(runs.list { store = self.store }) do
    local extra = extra_of(self, listed.dir, listed.id, deadline)
    local text = encode(content.row(listed, extra.values, extra.step, extra.kept))
    local row = self.rows[listed.id]
    seen[listed.id] = true
    if not row or row.text ~= text then
      self.rows[listed.id] = { text = text, version = version }
      self.gone[listed.id] = nil
      changed = true
    end
  end
  for id in pairs(self.rows) do
    if not seen[id] then
      self.rows[id], self.extras[id], self.followed[id] = nil, nil, nil
      self.gone[id] = version
      changed = true
    end
  end
  local sweeps = encode(sweeps_of(self))
  if sweeps == "{}" then sweeps = "[]" end
  if sweeps ~= self.sweep_text then
    self.sweep_text, self.sweep_version, changed = sweeps, version, true
  end
  if changed then self.version = version end
  self.looked = self.unread and -math.huge or core.now()
end

--- JSON of what has changed since a version that an earlier answer told.
function View:runs(since)
  look(self)
  local token, number = (since or ""):match "^(%x+)%.(%d+)$"
  local full = token ~= self.token
  local after = full and 0 or tonumber(number)
  local rows, gone = {}, {}
  for _, row in pairs(self.rows) do
    if row.version > after then rows[#rows + 1] = row.text end
  end
  if not full then
    for id, version in pairs(self.gone) do
      if version > after then gone[#gone + 1] = encode(id) end
    end
  end
  local sweeps = (self.sweep_version or 0) > after and ',"sweeps":' .. self.sweep_text or ""
  return ('{"version":"%s.%d","full":%s,"store":%s,"rows":[%s],"gone":[%s]%s}'):format(self.token,
    self.version, tostring(full), encode(self.store), table.concat(rows, ","),
    table.concat(gone, ","), sweeps)
end

-- ---- one run ----------------------------------------------------------------------------------

-- The folder of a run of the store; nil when it is not there.
local function dir_of(self, id)
  if not id or not runs.valid_id(id) then return nil end
  local dir = self.store .. "/" .. id
  return folder.is_run(dir) and dir or nil
end

--- All about a run but its curves.
function View:run(id)
  local dir = dir_of(self, id)
  if not dir then return nil end
  local detail = content.detail(folder.run(dir, id))
  local stamps = {}
  for _, name in ipairs(detail.figures) do
    stamps[#stamps + 1] = core.system.stamp(dir .. "/" .. name) or "-"
  end
  detail.stamp = core.system.hash(table.concat(stamps, " ")):sub(1, 12)
  return detail
end

--- The text of a figure.
function View:figure(id, name)
  local dir = dir_of(self, id)
  return dir and name and content.figure(dir, name)
end

-- Forgets the curves that were asked for longest ago.
local function forget(self)
  local count, oldest = 0, nil
  for id, entry in pairs(self.followed) do
    count = count + 1
    if not oldest or entry.used < self.followed[oldest].used then oldest = id end
  end
  if count > most_followed then self.followed[oldest] = nil end
end

--- What is new in a run's curves after a line of a generation. Reads on for a moment only: ask
--- again while read < size.
function View:curves(id, generation, line)
  local dir = dir_of(self, id)
  if not dir then return nil end
  local entry = self.followed[id]
  if not entry then
    entry = { follower = curves.follow(dir) }
    self.followed[id] = entry
  end
  self.used = self.used + 1
  entry.used = self.used
  forget(self)
  local before = entry.follower.offset
  entry.follower:more(curve_budget)
  local answer = entry.follower:since(generation or 0, line or 0)
  answer.stalled = answer.read == before or nil -- what is left is a torn line
  return answer
end

--- What differs between runs, those of ids (with commas between) that are there.
function View:compare(ids)
  local list = {}
  for id in (ids or ""):gmatch "[^,]+" do
    local dir = #list < most_compared and dir_of(self, id)
    if dir then list[#list + 1] = folder.run(dir, id) end
  end
  if #list == 0 then return { names = {}, rows = {}, claims = {} } end
  local answer = content.difference(list)
  answer.claims = content.claims(list)
  return answer
end

return store
