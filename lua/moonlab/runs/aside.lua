--- Setting a run aside: it keeps its files under another id, so that its own is free again.
local core = require "moonlab.core"
local files = require "moonlab.runs.files"
local index = require "moonlab.runs.index"

local aside = {}

-- The first free id for it.
local function free_id(store, id)
  for k = 1, 10000 do
    local new = ("%s-old%d"):format(id, k)
    if not files.mode(store .. "/" .. new) then
      return index.valid_id(new) and new or nil
    end
  end
end

--- Moves the run of that id away if wanted(what its state.json says) and nobody writes it. Returns
--- its new id, or nil.
function aside.move(store, id, wanted)
  local dir = store .. "/" .. id
  if not wanted(files.read(dir, "state.json") or {}) then return nil end
  local lease, busy = core.system.lease(dir)
  if not lease then return nil, busy end
  local ok, new = pcall(function()
    if not wanted(files.read(dir, "state.json") or {}) then return nil end -- others were faster
    local id_after = free_id(store, id)
    if not id_after then error(("no free name for %s in %s"):format(id, store), 0) end
    local moved, why = os.rename(dir, store .. "/" .. id_after)
    if not moved then error(("cannot set %s aside (%s)"):format(dir, why), 0) end
    local config = files.read(store .. "/" .. id_after, "config.json")
    if config then
      config.id = id_after
      files.write(store .. "/" .. id_after, "config.json", config)
    end
    return id_after
  end)
  lease:release()
  if not ok then error(new, 0) end
  return new
end

return aside
