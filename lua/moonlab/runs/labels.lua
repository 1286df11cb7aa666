--- Tags and the note of a run, which any process may change.
local core = require "moonlab.core"
local files = require "moonlab.runs.files"
local lfs = require "lfs"
local options = require "moonlab.options"

local labels_of = { methods = {} }
local Run = labels_of.methods

--- run:tags()
--- The words that the run was tagged with.
--- @return table list of tags, sorted
--- @source -
function Run:tags()
  local labels = files.read(self.dir, "labels.json") or {}
  local tags = {}
  for _, tag in ipairs(type(labels.tags) == "table" and labels.tags or {}) do
    if type(tag) == "string" then tags[#tags + 1] = tag end
  end
  table.sort(tags)
  return tags
end

-- Changes labels.json by change(labels); of two processes at once each sees the other's.
local function edit_labels(self, change)
  local guard, why
  for _ = 1, 500 do
    guard, why = io.open(self.dir .. "/config.json", "r+")
    if not guard then error(("cannot change the labels of %s (%s)"):format(self.id, why), 0) end
    if lfs.lock(guard, "w") then break end
    guard:close()
    guard = nil
    core.system.sleep(0.01)
  end
  if not guard then error(("the labels of %s stay locked"):format(self.id), 0) end
  local ok, message = pcall(function()
    local labels = files.read(self.dir, "labels.json") or {}
    labels.tags = self:tags()
    change(labels)
    if #labels.tags == 0 then labels.tags = nil end
    files.write(self.dir, "labels.json", labels)
  end)
  guard:close() -- the lock goes with it
  if not ok then error(message, 0) end
end

local function check_tag(method, tag)
  if type(tag) ~= "string" or tag == "" or #tag > 80 or tag:find("[%c,%s]") then
    options.bad("run:" .. method, 1, "%s, wanted a word without spaces and commas",
      options.describe(tag))
  end
end

--- run:tag(tag)
--- Adds a tag. Any process may, while the run is being written as well.
--- @param tag string a word
--- @source -
function Run:tag(tag)
  check_tag("tag", tag)
  edit_labels(self, function(labels)
    for _, known in ipairs(labels.tags) do
      if known == tag then return end
    end
    table.insert(labels.tags, tag)
    table.sort(labels.tags)
  end)
end

--- run:untag(tag)
--- Takes a tag away.
--- @param tag string
--- @return boolean whether it was there
--- @source -
function Run:untag(tag)
  check_tag("untag", tag)
  local found = false
  edit_labels(self, function(labels)
    for i = #labels.tags, 1, -1 do
      if labels.tags[i] == tag then
        table.remove(labels.tags, i)
        found = true
      end
    end
  end)
  return found
end

--- run:note(text)
--- Writes a note about the run, or reads it.
--- @param text string =nil absent: only reads; "" takes the note away
--- @return string the note, or nil
--- @source -
function Run:note(text)
  if text ~= nil then
    options.argument("run:note", 1, text, "string")
    edit_labels(self, function(labels) labels.note = text ~= "" and text or nil end)
  end
  local note = (files.read(self.dir, "labels.json") or {}).note
  return type(note) == "string" and note or nil
end

return labels_of
