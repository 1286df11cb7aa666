--- Where recipes are: by name beside moonlab and in the current folder, or by the path of a file.
local core = require "moonlab.core"
local display = require "moonlab.progress.display"
local interrupt = require "moonlab.interrupt"
local lfs = require "lfs"
local options = require "moonlab.options"
local params = require "moonlab.recipe.params"
local sorted = require "moonlab.sorted"

local catalogue = {}

local host = package.loaded["moonlab.host"]

local function is_file(path) return lfs.attributes(path, "mode") == "file" end

--- The folder of the recipes that come with moonlab.
function catalogue.folder()
  if host then return host.recipes end
  local here = debug.getinfo(1, "S").source
  return (here:match "^@(.*)/lua/moonlab/recipe/[^/]*$" or ".") .. "/recipes"
end

-- Folders that names are looked up in, without one that stands twice.
local function folders()
  local list, seen = {}, {}
  for _, dir in ipairs { catalogue.folder(), "recipes", "." } do
    local about = lfs.attributes(dir)
    local key = about and about.mode == "directory" and about.dev .. ":" .. about.ino
    if key and not seen[key] then
      seen[key] = true
      list[#list + 1] = dir
    end
  end
  return list
end

-- Whether the file of a name is meant by it: in the current folder any file may lie.
local function counts(dir, path) return dir ~= "." or catalogue.looks_like_one(path) end

--- Names of the recipes that come with moonlab, of those in ./recipes and in the current folder,
--- sorted.
function catalogue.names()
  local names, seen = {}, {}
  for _, dir in ipairs(folders()) do
    for file in lfs.dir(dir) do
      local name = file:match "^([%w_-]+)%.lua$" or file:match "^[%w_-]+$"
      local path = name and dir .. "/" .. file .. (name == file and "/init.lua" or "")
      if name and not seen[name] and is_file(path) and counts(dir, path) then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

--- The path of a recipe by name or by the path of its file, or nil.
function catalogue.find(name)
  if name:find "%.lua$" then return is_file(name) and name or nil end
  if not name:find "^[%w_-]+$" then return nil end
  for _, dir in ipairs(folders()) do
    for _, path in ipairs { dir .. "/" .. name .. ".lua", dir .. "/" .. name .. "/init.lua" } do
      if is_file(path) and counts(dir, path) then return path end
    end
  end
end

--- Whether a file says recipe.define, so that a bare name in the current folder means it.
function catalogue.looks_like_one(path)
  local file = io.open(path, "r")
  if not file then return false end
  local text = file:read "a"
  file:close()
  return text ~= nil and text:find("recipe%s*%.%s*define") ~= nil
end

-- A hash of a recipe's code: of its file, and of what else lies in the folder of an init.lua.
local function code_of(path)
  local paths, texts = { path }, {}
  local dir = path:match "^(.*)/init%.lua$"
  if dir then
    for file in lfs.dir(dir) do
      if file:find "%.lua$" and file ~= "init.lua" then paths[#paths + 1] = dir .. "/" .. file end
    end
    table.sort(paths)
  end
  for i, one in ipairs(paths) do
    local file = is_file(one) and io.open(one, "r")
    texts[i] = file and file:read "a" or ""
    if file then file:close() end
  end
  return core.system.hash(table.concat(texts, "\0")):sub(1, 16)
end

-- The first sentence of the --- block that a file begins with.
local function question_of(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local words = {}
  for line in file:lines() do
    words[#words + 1] = line:match "^%-%-%-%s*(.*)"
    if #words == 0 or not line:find "^%-%-%-" or line:find "[.?!]%f[%s\0]" then break end
  end
  file:close()
  local text = table.concat(words, " ")
  return text ~= "" and (text:match "^.-[.?!]%f[%s\0]" or text) or nil
end

--- The recipe of that name or path, or nil and why it cannot be had; "-" is standard input.
function catalogue.load(name)
  local path = name == "-" and "stdin" or catalogue.find(name)
  if not path then
    if name:find "%.lua$" then return nil, "there is no file " .. name end
    local near = options.nearest(name, catalogue.names())
    return nil, ("no recipe is called '%s'%s (./moonlab recipes lists them)"):format(name,
      near and ("; did you mean '" .. near .. "'?") or "")
  end
  local chunk, why
  if name == "-" then chunk, why = load(io.read "a", "=stdin") else chunk, why = loadfile(path) end
  if not chunk then return nil, why end
  local ok, result = pcall(chunk, path)
  if not ok then
    if interrupt.is(result) then error(result, 0) end
    local text = tostring(result)
    return nil, text:find(path, 1, true) and text or path .. ": " .. text
  end
  local meta = getmetatable(result)
  if type(meta) ~= "table" or meta.__name ~= "moonlab.recipe" then
    return nil, ("%s returns a %s, wanted recipe.define{...}"):format(path, type(result))
  end
  if name == "-" then return result end
  result.path = path:sub(1, 1) == "/" and path or lfs.currentdir() .. "/" .. path
  result.code = code_of(path)
  result.question = question_of(path) or result.summary
  return result
end

--- Prints the recipes, one a line.
function catalogue.list()
  local width = math.min(100, math.max(40, display.width() or 100))
  for _, name in ipairs(catalogue.names()) do
    local r, why = catalogue.load(name)
    local text = r and (r.question or "") or ("cannot be loaded: " .. why)
    local line = ("%-20s"):format(name)
    for word in text:gmatch "%S+" do
      if #line + 1 + #word > width then
        print(line)
        line = (" "):rep(20)
      end
      line = line .. " " .. word
    end
    print((line:gsub("%s+$", "")))
  end
  return 0
end

local function print_parameters(r)
  print "\nparameters (key=value):"
  for name, spec in sorted(r.params) do
    local limits = params.wanted(spec)
    print(("  %-14s %-16s %s"):format(name, params.show(spec.default), spec.meaning))
    print(("  %-31s %s"):format("", limits))
  end
end

local function print_sizes(r)
  for _, size in ipairs { "smoke", "full" } do
    if r[size] then
      local parts = {}
      for key, value in sorted(r[size]) do parts[#parts + 1] = key .. "=" .. params.show(value) end
      parts[#parts + 1] = "seeds=" .. params.show(r:seeds_of(size))
      print(("  --%-12s %s"):format(size, table.concat(parts, " ")))
    end
  end
end

--- Prints parameters, sizes and claims of a recipe.
function catalogue.help(name)
  local r, why = catalogue.load(name)
  if not r then
    io.stderr:write("moonlab: ", why, "\n")
    return 1
  end
  print(r.name .. ": " .. (r.question or ""))
  if r.source then print("source: " .. r.source) end
  print_parameters(r)
  print_sizes(r)
  if r.minimize or r.maximize then
    print(("\na sweep %s %s"):format(r.minimize and "minimizes" or "maximizes",
      r.minimize or r.maximize))
  end
  if #r.claims > 0 then
    print "\nclaims:"
    for _, claim in ipairs(r.claims) do
      print(("  %s (%s%s)"):format(claim.name, claim.kind,
        claim.source and "; " .. claim.source or ""))
    end
  end
  return 0
end

return catalogue
