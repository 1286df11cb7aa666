--- The index of a store: runs.db says what the folders said when last looked at, and is brought up
--- to date at each use by the stamps of their files. It can always be rebuilt.
local core = require "moonlab.core"
local lfs = require "lfs"
local files = require "moonlab.runs.files"
local folder = require "moonlab.runs.folder"
local interrupt = require "moonlab.interrupt"

local index = {}

local version = 1
local schema = ([[
CREATE TABLE IF NOT EXISTS runs (
  id TEXT PRIMARY KEY, stamp TEXT NOT NULL, recipe TEXT, size TEXT, state TEXT, message TEXT,
  seed, params TEXT, started TEXT, ended TEXT, seconds REAL, host TEXT, revision TEXT,
  tags TEXT, note TEXT
) WITHOUT ROWID;
PRAGMA user_version = %d;
]]):format(version)

local columns = { "id", "stamp", "recipe", "size", "state", "message", "seed", "params", "started",
  "ended", "seconds", "host", "revision", "tags", "note" }

--- Whether a text can be the id of a run.
function index.valid_id(id)
  return type(id) == "string" and #id <= 120 and id:match("^%w[%w._-]*$") ~= nil
end

-- ---- folders ------------------------------------------------------------------------------------

-- What changes when the run does; nil when there is none.
local function stamp_of(dir)
  local stamp = core.system.stamp
  local config = stamp(dir .. "/config.json")
  return config and ("%s %s %s"):format(config, stamp(dir .. "/state.json") or "-",
    stamp(dir .. "/labels.json") or "-")
end

local exact = { nan = "exact", invalid = "replace" }
local function text(value) return type(value) == "string" and value or nil end
local function scalar(value) return type(value) ~= "table" and value or nil end

-- The row of a run, made of whatever its files hold.
local function read_row(dir, id, stamp)
  local config = files.read(dir, "config.json") or {}
  local state = files.read(dir, "state.json") or {}
  local run = folder.run(dir, id)
  return { id = id, stamp = stamp, recipe = text(config.recipe), size = text(config.size),
    state = text(state.state), message = text(state.message), seed = scalar(config.seed),
    params = core.json.encode(type(config.params) == "table" and config.params or {}, exact),
    started = text(state.started) or text(config.started), ended = text(state.ended),
    seconds = type(state.seconds) == "number" and state.seconds or nil, host = text(config.host),
    revision = text(config.revision), tags = table.concat(run:tags(), ","), note = run:note() }
end

local function look(store)
  local stamps, count = {}, 0
  for entry in lfs.dir(store) do
    if index.valid_id(entry) then
      local stamp = stamp_of(store .. "/" .. entry)
      if stamp then stamps[entry], count = stamp, count + 1 end
    end
  end
  return stamps, count
end

-- ---- the database -------------------------------------------------------------------------------

-- The rows of one statement, which is closed: an open one would keep the file open.
local function query(db, sql)
  local statement <close> = db:prepare(sql)
  return statement:rows()
end

local function version_of(db) return query(db, "PRAGMA user_version")[1].user_version end

-- Makes the table unless another process is faster; all or nothing.
local function initialise(db)
  interrupt.try(db.exec, db, "PRAGMA journal_mode = WAL")
  db:exec "BEGIN IMMEDIATE"
  local ok, why = pcall(function()
    if version_of(db) == version then return end
    if query(db, "SELECT count(*) AS n FROM sqlite_master")[1].n > 0 then
      error("the database is damaged (made by another version)", 0)
    end
    db:exec(schema)
  end)
  db:exec(ok and "COMMIT" or "ROLLBACK")
  if not ok then error(why, 0) end
end

local function open(path, wait)
  local db = core.system.sqlite(path, { wait = wait })
  if version_of(db) ~= version then initialise(db) end
  db:exec "PRAGMA synchronous = OFF" -- what is lost can be rebuilt
  return db
end

local function update(db, store)
  local stamps, count = look(store)
  local rows, stale, gone = {}, {}, {}
  for _, row in ipairs(query(db, "SELECT * FROM runs")) do
    if stamps[row.id] == row.stamp then
      rows[#rows + 1] = row
      stamps[row.id] = nil
    elseif not stamps[row.id] then
      gone[#gone + 1] = row.id
    end
  end
  for id, stamp in pairs(stamps) do
    local row = read_row(store .. "/" .. id, id, stamp)
    stale[#stale + 1] = row
    rows[#rows + 1] = row
  end
  if #stale > 0 or #gone > 0 then
    local marks = ("?,"):rep(#columns):sub(1, -2)
    db:exec "BEGIN IMMEDIATE"
    local ok, why = pcall(function()
      local put <close> = db:prepare(("INSERT OR REPLACE INTO runs (%s) VALUES (%s)"):format(
        table.concat(columns, ","), marks))
      local drop <close> = db:prepare "DELETE FROM runs WHERE id = ?"
      for _, row in ipairs(stale) do
        local values = {}
        for i, name in ipairs(columns) do values[i] = row[name] end
        put:run(table.unpack(values, 1, #columns))
      end
      for _, id in ipairs(gone) do drop:run(id) end
    end)
    db:exec(ok and "COMMIT" or "ROLLBACK")
    if not ok then error(why, 0) end
  end
  return rows, count
end

local function say(...) io.stderr:write("moonlab: ", string.format(...), "\n") end

-- Gives a damaged database another name, unless somebody else has done so meanwhile.
local function set_aside(path, inode)
  local now = core.system.stamp(path)
  if inode and now and now:match("^%x+") ~= inode then return end
  local aside = path .. ".damaged-" .. os.date("%Y%m%d-%H%M%S")
  local free, k = aside, 1
  while lfs.attributes(free, "mode") do
    k = k + 1
    free = ("%s-%d"):format(aside, k)
  end
  assert(os.rename(path, free))
  for _, tail in ipairs { "-wal", "-shm" } do os.remove(path .. tail) end
  return free
end

local function tell_rebuilt(aside, rows, store)
  say("%s/runs.db was damaged and is now %s; made anew from %d run%s", store,
    aside:match("[^/]*$"), #rows, #rows == 1 and "" or "s")
end

--- The rows of all runs in a store, up to date. A damaged database is set aside and made anew, with
--- a message; where none can be kept (a read-only store) the folders are read without.
function index.rows(store, wait)
  if lfs.attributes(store, "mode") ~= "directory" then return {} end
  local path = store .. "/runs.db"
  local aside
  for _ = 1, 3 do
    local before = core.system.stamp(path)
    local ok, rows = interrupt.try(function()
      local db <close> = open(path, wait or 30)
      return (update(db, store))
    end)
    if ok then
      if aside then tell_rebuilt(aside, rows, store) end
      return rows
    end
    local why = tostring(rows)
    if not why:find("the database is damaged", 1, true) then
      if why:find("locked", 1, true) then
        say("%s/runs.db stays locked; reading the folders", store)
      end
      break
    end
    local moved
    ok, moved = interrupt.try(set_aside, path, before and before:match("^%x+"))
    if not ok then break end
    aside = moved or aside
  end
  local db <close> = open(":memory:", 0)
  return (update(db, store))
end

--- Makes the database anew from the folders; the result is the number of runs.
function index.rebuild(store)
  if lfs.attributes(store, "mode") ~= "directory" then return 0 end
  local path = store .. "/runs.db"
  local ok, rows = pcall(function()
    local db <close> = open(path, 30)
    db:exec "DELETE FROM runs"
    return (update(db, store))
  end)
  if ok then return #rows end
  if not tostring(rows):find("the database is damaged", 1, true) then error(rows, 0) end
  local aside = set_aside(path)
  local db <close> = open(path, 30)
  rows = update(db, store)
  tell_rebuilt(aside, rows, store)
  return #rows
end

return index
