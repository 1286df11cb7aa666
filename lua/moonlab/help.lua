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

-- A signature goes on while its brackets are open.
local function open(signature)
  local _, opened = signature:gsub("[({]", "")
  local _, closed = signature:gsub("[)}]", "")
  return opened > closed
end

--- A help text taken apart: { signature, lines, tags = { { tag, text } } }.
function help.parse(text)
  local entry = { lines = {}, tags = {} }
  for line in (text .. "\n"):gmatch("(.-)\n") do
    local tag, rest = line:match("^@(%w+)%s*(.*)$")
    if tag then
      entry.tags[#entry.tags + 1] = { tag, rest }
    elseif #entry.tags > 0 and line:match("^%S") then
      entry.tags[#entry.tags][2] = entry.tags[#entry.tags][2] .. " " .. line
    elseif not entry.signature then
      entry.signature = line
    elseif open(entry.signature) then
      entry.signature = entry.signature .. " " .. line:match("^%s*(.*)$")
    else
      entry.lines[#entry.lines + 1] = line
    end
  end
  return entry
end

local of_object

--- The help text of a function, or of what can be called; the methods of an object; what is in a
--- table of ml; or nil.
function help.of(f)
  if type(f) ~= "function" then
    local meta = debug.getmetatable(f)
    local call = type(f) == "table" and type(meta) == "table" and rawget(meta, "__call")
    return call and help.of(call) or of_object(f, type(meta) == "table" and meta or {})
  end
  if core.help and core.help[f] then return core.help[f] end
  local info = debug.getinfo(options.original(f), "S")
  if info.what ~= "Lua" or info.source:sub(1, 1) ~= "@" then return nil end
  local lines = lines_of(info.source:sub(2))
  return lines and block_above(lines, info.linedefined) or nil
end

-- ---- names -------------------------------------------------------------------------------------

local classes = { tensor = "ml.tensor", rng = "ml.rng", optimizer = "ml.optimizer",
  transformer = "ml.transformer", run = "ml.run", sweep = "ml.sweep", bar = "ml.progress.bar",
  ctx = "ml.recipe.context", parameterization = "ml.parameterization",
  figure = "ml.plot.figure", gp = "ml.gp", kernel = "ml.kernel",
  activation = "ml.kernel.activation", eigenspace = "ml.theory.eigenspace",
  task = "ml.task", programs = "ml.task.programs", box = "ml.sandbox.box",
  graph = "ml.kg.graph", split = "ml.kg.split", codec = "ml.kg.codec", trie = "ml.kg.trie",
  detector = "ml.detect.detector",
  target = "ml.target", endpoint = "ml.target.http", corpus = "ml.attack.corpus" }

-- What the prompt puts into _G, as users see it.
local of_prompt
local function prompt_functions()
  if not of_prompt then
    of_prompt = {}
    for name, value in pairs(require "moonlab.repl.commands") do
      if type(value) == "function" and name ~= "install" then
        of_prompt[name] = options.public(name, value)
      end
    end
  end
  return of_prompt
end

--- Every public name with its value: "zeros", "nn.Linear", "tensor:matmul" ..., sorted. Those that
--- only the prompt has, as globals, are marked `prompt`.
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
  for name, value in pairs(prompt_functions()) do
    found[#found + 1] = { name = name, value = value, prompt = true }
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

-- ---- what a table or a class has in it ---------------------------------------------------------

local function first_sentence(text) return text:match "^(.-%.) %u" or text end

-- The first sentence of a help text, which may go on over lines.
local function sentence_of(text)
  return first_sentence(table.concat(help.parse(text).lines, " "))
end

-- What the file of a module says of it in its first lines.
local function purpose_of(name)
  local path = package.searchpath("moonlab." .. name, package.path)
  local lines, words = path and lines_of(path), {}
  for _, line in ipairs(lines or {}) do
    local text = line:match "^%-%-%-%s*(.*)$"
    if not text then break end
    words[#words + 1] = text
  end
  return #words > 0 and first_sentence(table.concat(words, " ")) or nil
end

-- The table or class that a name belongs to.
local function group_of(entry)
  return entry.name:match "^(.*)[.:][^.:]+$" or (entry.prompt and "prompt" or "ml")
end

--- All names by table and class, ml first: list of { name, purpose or nil, entries }.
function help.groups()
  local groups, list = {}, {}
  for _, entry in ipairs(help.all()) do
    local name = group_of(entry)
    if not groups[name] then
      groups[name] = { name = name, entries = {},
        purpose = name ~= "prompt" and purpose_of(name == "ml" and "init" or name) or nil }
      list[#list + 1] = groups[name]
    end
    table.insert(groups[name].entries, entry)
  end
  table.sort(list, function(a, b)
    if (a.name == "ml") ~= (b.name == "ml") then return a.name == "ml" end
    return a.name < b.name
  end)
  return list
end

-- A list of the names that begin with the group's, each with its sentence; nil when there are none.
local function listing(name)
  for _, group in ipairs(help.groups()) do
    if group.name == name then
      local width = 0
      for _, entry in ipairs(group.entries) do width = math.max(width, #entry.name) end
      local lines = { group.purpose }
      for _, entry in ipairs(group.entries) do
        lines[#lines + 1] = entry.name .. (" "):rep(width - #entry.name + 2)
          .. sentence_of(help.of(entry.value) or "")
      end
      return table.concat(lines, "\n")
    end
  end
end

-- The methods of an object, or what is in a table that ml has: ml.nn, ml.plot, ml itself.
function of_object(value, meta)
  for short, name in pairs(classes) do
    if rawget(meta, "__name") == name then return listing(short) end
  end
  if rawget(meta, "is_module") then return listing "module" end
  if type(value) ~= "table" then return nil end
  local ml = require "moonlab"
  if rawequal(value, ml) then return listing "ml" end
  for name, field in pairs(ml) do
    if rawequal(field, value) then return listing(name) end
  end
end

-- ---- by name -----------------------------------------------------------------------------------

--- The help of a name as a user types it ("ml.zeros", "zeros", "matmul", "tensor:sum"), or what is
--- in it ("nn", "ml.plot", "prompt"); or nil.
function help.text(name)
  local bare = name:gsub("^ml%.", "")
  local by_method
  for _, entry in ipairs(help.all()) do
    if entry.name == bare then return help.of(entry.value) end
    if entry.name:match("[:.]([^:.]+)$") == bare then by_method = by_method or entry end
  end
  return listing(bare) or by_method and help.of(by_method.value) or nil
end

--- A help text for a terminal of so many columns: words stay whole, and what a line goes on with
--- is indented. Without a width it stays as it is.
function help.wrapped(text, width)
  if not width then return text end
  local out = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local column = line:find "^%S+%s%s+%S" and #line:match "^%S+%s+" or #line:match "^%s*" + 2
    local indent = (" "):rep(column <= width // 2 and column or 4)
    local row
    for space, word in line:gmatch "(%s*)(%S+)" do
      if row and #row + #space + #word > width then
        out[#out + 1] = row
        row = indent .. word
      else
        row = (row or "") .. space .. word
      end
    end
    out[#out + 1] = row or ""
  end
  return table.concat(out, "\n")
end

return help
