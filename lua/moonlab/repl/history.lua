--- What was typed in earlier sessions: one JSON string a line, appended, so that two prompts at
--- once lose nothing and an entry of several lines stays whole.
local core = require "moonlab.core"
local interrupt = require "moonlab.interrupt"

-- A session may lose any of these globals; the prompt goes on without them.
local io, os, table, type = io, os, table, type

local history = {}

local most = 5000 -- entries that are brought back

--- The file: MOONLAB_HISTORY, else moonlab/history below XDG_STATE_HOME or ~/.local/state; nil
--- where none is wanted (MOONLAB_HISTORY empty) or there is no home.
function history.path()
  local named = os.getenv "MOONLAB_HISTORY"
  if named then return named ~= "" and named or nil end
  local state, home = os.getenv "XDG_STATE_HOME", os.getenv "HOME"
  if state and state ~= "" then return state .. "/moonlab/history" end
  return home and home ~= "" and home .. "/.local/state/moonlab/history" or nil
end

--- The entries of before, the oldest first.
function history.load(path)
  local list = {}
  local file = path and io.open(path, "r")
  if not file then return list end
  for line in file:lines() do
    local ok, entry = interrupt.try(core.json.decode, line)
    if ok and type(entry) == "string" then list[#list + 1] = entry end
  end
  file:close()
  return #list > most and table.move(list, #list - most + 1, #list, 1, {}) or list
end

--- Appends an entry. A file that cannot be written is no reason to stop.
function history.add(path, entry)
  if not path then return end
  local folder = path:match "^(.*)/[^/]*$"
  if folder then interrupt.try(core.system.make_dirs, folder) end
  local file = io.open(path, "a")
  if not file then return end
  file:write(core.json.encode(entry, { invalid = "replace" }), "\n")
  file:close()
end

return history
