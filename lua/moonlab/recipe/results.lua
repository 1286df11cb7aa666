--- What run(p, ctx) returned, kept in the run's folder and read back as it was: JSON, and its
--- tensors in a file of safetensors beside it.
local core = require "moonlab.core"
local lfs = require "lfs"
local sorted = require "moonlab.sorted"

local results = {}

local largest_list = 4096 -- entries of a tensor that a table for people spells out
local deepest = 50

local function is_tensor(value)
  local meta = type(value) == "userdata" and getmetatable(value)
  return type(meta) == "table" and meta.__name == "ml.tensor"
end

local function is_list(t)
  local count = 0
  for _ in pairs(t) do count = count + 1 end
  return count > 0 and count == #t
end

-- ---- keeping ----------------------------------------------------------------------------------

local keep

local function keep_table(value, kept, path, depth)
  if depth > deepest then error(path .. " nests too deeply", 0) end
  if is_list(value) then
    local list = {}
    for i, v in ipairs(value) do
      local item = keep(v, kept, path .. "." .. i, depth + 1)
      list[i] = item == nil and core.json.null or item
    end
    return list
  end
  local object, map = {}, {}
  for key, v in sorted(value) do
    local item = keep(v, kept, path .. "." .. tostring(key), depth + 1)
    if type(key) == "string" then object[key] = item else map[#map + 1] = { key, item } end
  end
  if #map == 0 then return object end
  for key, item in sorted(object) do map[#map + 1] = { key, item } end
  return { ["$map"] = map }
end

-- JSON of a value: tensors, and tables with keys that are no strings, are marked.
function keep(value, kept, path, depth)
  local kind = type(value)
  if kind == "number" or kind == "string" or kind == "boolean" or kind == "nil" then
    return value
  elseif is_tensor(value) then
    if value:rank() == 0 then return keep(value:item(), kept, path, depth) end
    local name = path:sub(2)
    kept.tensors[name] = value:detach()
    return { ["$tensor"] = name }
  elseif kind == "table" and getmetatable(value) == nil then
    return keep_table(value, kept, path, depth)
  end
  kept.left[#kept.left + 1] = ("%s (a %s)"):format(path:sub(2), kind)
end

--- Keeps a table in dir/name.json and dir/name.safetensors. Returns a list of what could not be
--- kept (functions, objects); nothing is written when the table itself is one of those.
function results.save(dir, name, r)
  local kept = { tensors = {}, left = {} }
  local value = keep(r, kept, "", 1)
  if next(kept.tensors) then core.save(("%s/%s.safetensors"):format(dir, name), kept.tensors) end
  core.json.write(("%s/%s.json"):format(dir, name), value, { nan = "exact", invalid = "replace" })
  return kept.left
end

-- ---- reading back -----------------------------------------------------------------------------

local function restore(value, tensors)
  if type(value) ~= "table" then
    if value == core.json.null then return nil end
    return value
  end
  if value["$tensor"] then return tensors[value["$tensor"]] end
  local copy = {}
  if value["$map"] then
    for _, pair in ipairs(value["$map"]) do copy[pair[1]] = restore(pair[2], tensors) end
  else
    for key, v in pairs(value) do copy[key] = restore(v, tensors) end
  end
  return copy
end

--- The table kept under that name, or nil where there is none.
function results.load(dir, name)
  local path = ("%s/%s"):format(dir, name)
  if lfs.attributes(path .. ".json", "mode") ~= "file" then return nil end
  local value = core.json.read(path .. ".json", { nan = "exact" })
  local tensors = {}
  if lfs.attributes(path .. ".safetensors", "mode") == "file" then
    tensors = core.load(path .. ".safetensors")
  end
  return restore(value, tensors)
end

-- ---- for people and for the index -------------------------------------------------------------

--- The results as plain tables, tensors as nested lists; large ones as their type and shape.
function results.plain(value, depth)
  depth = depth or 1
  if is_tensor(value) then
    if value:rank() == 0 then return value:item() end
    if value:numel() <= largest_list then return value:totable() end
    return ("%s [%s]"):format(value:dtype(), table.concat(value:shape(), "x"))
  end
  if type(value) ~= "table" then return value end
  if getmetatable(value) ~= nil or depth > deepest then return tostring(value) end
  local copy = {}
  local list = is_list(value)
  for key, v in pairs(value) do
    copy[list and key or tostring(key)] = results.plain(v, depth + 1)
  end
  return copy
end

--- The results that are single numbers, texts or booleans.
function results.scalars(r)
  local scalars = {}
  for key, value in pairs(r) do
    if is_tensor(value) and value:rank() == 0 then value = value:item() end
    local kind = type(value)
    if type(key) == "string" and (kind == "number" or kind == "string" or kind == "boolean") then
      scalars[key] = value
    end
  end
  return scalars
end

return results
