--- Help from one source: the doc strings of bindings, and the --- blocks above Lua functions.
local core = require "moonlab.core"
local options = require "moonlab.options"

local help = {}
local files = {}

local function lines_of(path)
  if files[path] == nil then
    local file = io.open(path, "r")
    local lines
    if file then
      lines = {}
      for line in file:lines() do lines[#lines + 1] = line end
      file:close()
    end
    files[path] = lines or false
  end
  return files[path]
end

-- The block of --- lines that ends right above line `at`; empty lines do not break it, code does.
local function block_above(lines, at)
  local block = {}
  local i = at - 1
  while i >= 1 and lines[i]:match("^%s*%-%-%-") do
    table.insert(block, 1, (lines[i]:gsub("^%s*%-%-%-%s?", "")))
    i = i - 1
  end
  if #block > 0 then return table.concat(block, "\n") end
end

--- The help text of a function, or nil.
function help.of(f)
  if type(f) == "table" then
    local meta = getmetatable(f)
    f = type(meta) == "table" and meta.__call or nil
  end
  if type(f) ~= "function" then return nil end
  if core.help and core.help[f] then return core.help[f] end
  local info = debug.getinfo(options.original(f), "S")
  if info.what ~= "Lua" or info.source:sub(1, 1) ~= "@" then return nil end
  local lines = lines_of(info.source:sub(2))
  return lines and block_above(lines, info.linedefined) or nil
end

local classes = { tensor = "ml.tensor", rng = "ml.rng", optimizer = "ml.optimizer",
  transformer = "ml.transformer", run = "ml.run", sweep = "ml.sweep", bar = "ml.progress.bar",
  ctx = "ml.recipe.context", parameterization = "ml.parameterization",
  figure = "ml.plot.figure", gp = "ml.gp" }

--- Every public name with its value: "zeros", "nn.Linear", "tensor:matmul" ..., sorted.
function help.all()
  local ml = require "moonlab"
  local found = {}
  local skip = { help = true, modules = true, testing = true }
  local function add(prefix, t, depth)
    for key, value in pairs(t) do
      if type(key) == "string" and not key:find("^_") and not (prefix == "" and skip[key]) then
        local meta = type(value) == "table" and getmetatable(value)
        local callable = type(value) == "function" or (type(meta) == "table" and meta.__call ~= nil)
        if callable then found[#found + 1] = { name = prefix .. key, value = value } end
        if type(value) == "table" and depth < 2 and (not meta or meta.__call) then
          add(prefix .. key .. ".", value, depth + 1)
        end
      end
    end
  end
  for name in pairs(ml.modules) do local _ = ml[name] end -- loads them
  add("", ml, 0)
  local registry = debug.getregistry()
  for short, name in pairs(classes) do
    local meta = registry[name]
    if meta then
      local methods = meta.__methods or (type(meta.__index) == "table" and meta.__index) or {}
      for _, key in ipairs(meta.__dir or {}) do
        if methods[key] then
          found[#found + 1] = { name = short .. ":" .. key, value = methods[key] }
        end
      end
    end
  end
  local methods = ml.nn.methods
  for key, value in pairs(methods) do
    if type(value) == "function" then
      found[#found + 1] = { name = "module:" .. key, value = value }
    end
  end
  local unique, seen = {}, {}
  table.sort(found, function(a, b) return a.name < b.name end)
  for _, entry in ipairs(found) do
    if not seen[entry.name] and entry.name:find("%.methods%.") == nil
      and entry.name:find("^nn%.activations") == nil then
      seen[entry.name] = true
      unique[#unique + 1] = entry
    end
  end
  return unique
end

--- All public names.
function help.names()
  local names = {}
  for i, entry in ipairs(help.all()) do names[i] = entry.name end
  return names
end

--- The help of a name as a user types it ("ml.zeros", "zeros", "matmul", "tensor:sum"), or nil.
function help.text(name)
  local bare = name:gsub("^ml%.", "")
  local by_method
  for _, entry in ipairs(help.all()) do
    if entry.name == bare then return help.of(entry.value) end
    if entry.name:match("[:.]([^:.]+)$") == bare then by_method = by_method or entry end
  end
  return by_method and help.of(by_method.value)
end

return help
