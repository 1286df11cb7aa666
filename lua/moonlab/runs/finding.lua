--- Where runs are, and which one a word means.
local files = require "moonlab.runs.files"
local index = require "moonlab.runs.index"
local lfs = require "lfs"
local options = require "moonlab.options"

local finding = { public = {} }
local public = finding.public

-- Raises unless argument 1 is a text that is not empty.
local function check_string(where, value, what)
  if type(value) ~= "string" or value == "" then
    local got = value == "" and "an empty string" or value == nil and "nothing"
      or options.describe(value)
    options.bad(where, 1, "%s expected, got %s", what, got)
  end
  return value
end

--- ml.runs.store()
--- The folder where runs are kept: MOONLAB_RUNS, or ./runs.
--- @return string path
--- @source -
function public.store()
  local path = os.getenv "MOONLAB_RUNS"
  return path and path ~= "" and path or "runs"
end

--- The store that options name, or the usual one.
function finding.store_of(where, o)
  options.check(where, o, { "store" })
  local store = o and o.store
  if store ~= nil and (type(store) ~= "string" or store == "") then
    options.bad(where, 0, "option 'store' is %s, wanted a path", options.describe(store))
  end
  return store or public.store()
end

--- ml.runs.valid_id(id)
--- Whether a text can be the id of a run: letters, digits, dot, dash and underscore, at most 120 of
--- them, the first a letter or digit.
--- @param id string
--- @return boolean
--- @source -
function public.valid_id(id) return index.valid_id(id) end

--- ml.runs.ids(store)
--- Ids of the runs in a store, sorted.
--- @param store string =ml.runs.store()
--- @return table list of strings
--- @source -
function public.ids(store)
  if store ~= nil then check_string("ml.runs.ids", store, "path") end
  store = store or public.store()
  local ids = {}
  if lfs.attributes(store, "mode") ~= "directory" then return ids end
  for entry in lfs.dir(store) do
    if index.valid_id(entry) and files.is_run(store .. "/" .. entry) then ids[#ids + 1] = entry end
  end
  table.sort(ids)
  return ids
end

--- ml.runs.find(run, { store = })
--- The folder of a run: a path, an id, or the beginning of an id that only one run has.
--- @param run string
--- @param opts.store string =ml.runs.store()
--- @return string, string the folder and the id; or nil and a message that names what is near
--- @source -
function public.find(word, o)
  check_string("ml.runs.find", word, "folder or id")
  local store = finding.store_of("ml.runs.find", o)
  local dir = store .. "/" .. word
  if index.valid_id(word) and files.is_run(dir) then return dir, word end
  if files.is_run(word) then
    local config = files.read(word, "config.json") or {}
    return word, index.valid_id(config.id) and config.id or files.base_name(word) or word
  end
  local ids, found = public.ids(store), {}
  for _, id in ipairs(ids) do
    if id:sub(1, #word) == word then found[#found + 1] = id end
  end
  if #found == 1 then return store .. "/" .. found[1], found[1] end
  if #found > 1 then
    local shown = table.concat(found, ", ", 1, math.min(5, #found))
    if #found > 5 then shown = shown .. ", ..." end
    return nil, ("%d runs begin with '%s': %s"):format(#found, word, shown)
  end
  local near = options.nearest(word, ids)
  return nil, ("no run is called '%s' in %s%s"):format(word, store,
    near and ("; did you mean '" .. near .. "'?") or "")
end

--- The folder and the id of the run that argument 1 of a function means, or raises.
function finding.locate(where, word, o)
  check_string(where, word, "folder or id")
  local dir, id = public.find(word, { store = finding.store_of(where, o) })
  if not dir then options.raise("%s: %s", where, id) end
  return dir, id
end

return finding
