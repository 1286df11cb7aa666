--- What the prompt offers beside the language: help, apropos, timeit, who, describe, reload.
local core = require "moonlab.core"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local commands = {}

-- ---- help --------------------------------------------------------------------------------------

local function help_module() return require "moonlab.help" end

--- help(x)
--- Prints the help of a function, a name ("ml.zeros", "matmul") or a recipe.
--- @param x function, string or object =nil without it: what the prompt can do
--- @source -
function commands.help(x)
  if x == nil then
    print(commands.overview)
    return
  end
  local text
  if type(x) == "string" then
    text = help_module().text(x)
    if not text and require("moonlab.recipe.catalogue").find(x) then
      require("moonlab.recipe.catalogue").help(x)
      return
    end
  else
    text = help_module().of(x)
  end
  if text then
    print(help_module().wrapped(text, require("moonlab.progress.display").width()))
  elseif type(x) == "string" then
    local near = options.nearest(x, help_module().names())
    print(("nothing is called '%s'%s; apropos \"%s\" searches"):format(x,
      near and ("; did you mean '" .. near .. "'?") or "", x))
  else
    print(options.describe(x) .. " has no help")
  end
end

--- apropos(word)
--- Prints the public names whose name or help has a word in it, with what they do.
--- @param word string
--- @source -
function commands.apropos(word)
  options.argument("apropos", 1, word, "string")
  local wanted, by_name, by_text = word:lower(), {}, {}
  for _, entry in ipairs(help_module().all()) do
    local text = help_module().of(entry.value) or ""
    local line = ("%-28s %s"):format(entry.name, (text:match "\n([^\n@][^\n]*)" or ""))
    if entry.name:lower():find(wanted, 1, true) then
      by_name[#by_name + 1] = line
    elseif text:lower():find(wanted, 1, true) then
      by_text[#by_text + 1] = line
    end
  end
  for _, line in ipairs(by_name) do print(line) end
  for _, line in ipairs(by_text) do print(line) end
  if #by_name + #by_text == 0 then print("nothing has '" .. word .. "' in its name or help") end
end

-- ---- timeit ------------------------------------------------------------------------------------

local function seconds_text(s)
  for _, unit in ipairs { { 1, "s" }, { 1e-3, "ms" }, { 1e-6, "us" } } do
    if s >= unit[1] then return ("%.3g %s"):format(s / unit[1], unit[2]) end
  end
  return ("%.3g ns"):format(s * 1e9)
end

local Timing = {}
function Timing:__tostring()
  return ("%s a call (median of %d rounds of %d; quarters %s to %s)"):format(
    seconds_text(self.median), self.rounds, self.calls, seconds_text(self.low),
    seconds_text(self.high))
end

local function round_of(f, calls)
  local start = core.now()
  for _ = 1, calls do core.scope(f) end
  return core.now() - start
end

--- timeit(f)
--- How long a call takes: rounds of as many calls as fill 10 ms, nine of them or as many as fit
--- into two seconds, at least three. What a call makes is given back after it.
--- @param f function called without arguments
--- @return table { median, low, high (quartiles), in seconds a call; rounds, calls }; prints itself
--- @source -
function commands.timeit(f)
  options.argument("timeit", 1, f, "function")
  local calls = 1
  local took = round_of(f, calls)
  while took < 0.01 and calls < 1e7 do
    calls = math.ceil(calls * math.min(10, 0.012 / math.max(took, 1e-7)))
    took = round_of(f, calls)
  end
  local rounds = math.max(3, math.min(9, 2 // took))
  local times = {}
  for i = 1, rounds do times[i] = round_of(f, calls) / calls end
  table.sort(times)
  local n = #times
  return setmetatable({ median = (times[(n + 1) // 2] + times[n // 2 + 1]) / 2,
    low = times[1 + n // 4], high = times[n - n // 4], rounds = n, calls = calls }, Timing)
end

-- ---- describe and who --------------------------------------------------------------------------

local function bytes_text(n)
  for _, unit in ipairs { { 2 ^ 30, "GiB" }, { 2 ^ 20, "MiB" }, { 2 ^ 10, "KiB" } } do
    if n >= unit[1] then return ("%.1f %s"):format(n / unit[1], unit[2]) end
  end
  return n .. " B"
end

local widths = { f64 = 8, f32 = 4, index = 8, u8 = 1 }

local function kind_of(value)
  local meta = debug.getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  return type(name) == "string" and name or type(value)
end

local function is_tensor(value) return kind_of(value) == "ml.tensor" end

local function tensor_bytes(t) return t:numel() * (widths[t:dtype()] or 1) end

local function describe_tensor(t)
  if t:is_released() then return "released" end
  local head = ("%s [%s], %s"):format(t:dtype(), table.concat(t:shape(), "x"),
    bytes_text(tensor_bytes(t)))
  if t:numel() == 0 then return head .. ", no entries" end
  return core.no_grad(function()
    return core.scope(function()
      local dtype = t:dtype()
      local x = (dtype == "f64" or dtype == "f32") and t or t:to "f64"
      local nan = x:ne(x):to("f64"):sum():item()
      local infinite = x:abs():eq(math.huge):to("f64"):sum():item()
      local n = x:numel()
      local good = n - nan - infinite
      if good == 0 then
        return ("%s\nNaN %d, infinite %d, nothing else"):format(head, nan, infinite)
      end
      local finite = x:abs():lt(math.huge) -- false for NaN
      local zero = core.zeros(x:shape(), { dtype = x:dtype() })
      local kept = core.where(finite, x, zero):to "f64"
      local mean = kept:sum():item() / good
      local off = core.where(finite, kept - mean, zero:to "f64")
      local std = math.sqrt((off * off):sum():item() / good)
      local low = core.where(finite, x, zero + math.huge):min():item()
      local high = core.where(finite, x, zero - math.huge):max():item()
      return ("%s\nmean %.6g, std %.6g, min %.6g, max %.6g\nNaN %d, infinite %d, zero %d"):format(
        head, mean, std, low, high, nan, infinite, x:eq(0):to("f64"):sum():item())
    end)
  end)
end

--- describe(x)
--- Prints what is in a tensor: dtype, shape, bytes; mean, standard deviation (over all entries),
--- least and largest of the finite entries; how many are NaN, infinite, zero. Of a table, that of
--- each tensor in it.
--- @param x tensor of any shape, or table of tensors
--- @source -
function commands.describe(x)
  if is_tensor(x) then
    print(describe_tensor(x))
    return
  end
  options.argument("describe", 1, x, "table")
  local some = false
  for key, value in sorted(x) do
    if is_tensor(value) then
      print(("%s: %s"):format(tostring(key), (describe_tensor(value):gsub("\n", "\n  "))))
      some = true
    end
  end
  if not some then print "no tensors in it" end
end

local function about(value)
  if is_tensor(value) then
    if value:is_released() then return "released", 0 end
    return ("%s [%s]"):format(value:dtype(), table.concat(value:shape(), "x")), tensor_bytes(value)
  end
  if type(value) == "string" then return ("%d bytes"):format(#value), #value end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value), 0 end
  if type(value) == "table" or type(value) == "userdata" then
    local ok, parameters = pcall(function() return value:parameters() end)
    if ok and type(parameters) == "table" then
      local n, bytes = 0, 0
      for _, p in pairs(parameters) do
        if is_tensor(p) then n, bytes = n + p:numel(), bytes + tensor_bytes(p) end
      end
      if n > 0 then return ("%d parameters"):format(n), bytes end
    end
    if type(value) == "table" then
      local n = 0
      for _ in next, value do n = n + 1 end
      return n == 1 and "1 entry" or ("%d entries"):format(n), 0
    end
  end
  return "", 0
end

--- who()
--- Prints the globals that were made at the prompt, with shapes and bytes, the largest first.
--- @source -
function commands.who()
  local rows = {}
  for name, value in sorted(_G) do
    if type(name) == "string" and not commands.known[name] then
      local what, bytes = about(value)
      rows[#rows + 1] = { name = name, kind = kind_of(value), what = what, bytes = bytes }
    end
  end
  if #rows == 0 then
    print "no globals of yours yet"
    return
  end
  table.sort(rows, function(a, b)
    if a.bytes ~= b.bytes then return a.bytes > b.bytes end
    return a.name < b.name
  end)
  for _, row in ipairs(rows) do
    print((("%-16s %-16s %-24s %10s"):format(row.name, row.kind, row.what,
      row.bytes > 0 and bytes_text(row.bytes) or ""):gsub("%s+$", "")))
  end
end

-- ---- reload ------------------------------------------------------------------------------------

--- reload(name)
--- Loads a module anew. Who holds its table sees the new functions: it is filled again. When the
--- file does not load, the module stays as it was.
--- @param name string as for require
--- @return the module
--- @source -
function commands.reload(name)
  options.argument("reload", 1, name, "string")
  local before = package.loaded[name]
  package.loaded[name] = nil
  local ok, module = xpcall(require, function(message) return message end, name)
  if not ok then
    package.loaded[name] = before
    error(module, 0)
  end
  if type(before) == "table" and type(module) == "table" and before ~= module then
    for key in next, before do rawset(before, key, nil) end
    for key, value in next, module do rawset(before, key, value) end
    if debug.getmetatable(before) == nil then setmetatable(before, debug.getmetatable(module)) end
    package.loaded[name] = before
    return before
  end
  return module
end

commands.overview = [[
an expression prints its value; one that ends with ; does not
_ _1 _2               the last results; large ones only as long as something else holds them
?name  help(x)        what a function, method or recipe does;  apropos "word"  searches
Tab                   completes names, fields, methods, keys, files, modules, parameters of a recipe
describe(x)           mean, deviation, least, largest, NaN of a tensor
timeit(f)             median and spread of a call
who()                 your globals with shapes and bytes
reload "module"       loads a module anew
$ command             runs a shell command
Ctrl-C                stops what runs with an error; again, also what catches errors; Ctrl-D leaves
~/.config/moonlab/init.lua is run at the start; history is kept in ~/.local/state/moonlab/history]]

--- Puts them into _G, where nothing of that name is there yet; all that is there now is not the
--- user's.
function commands.install()
  for _, name in ipairs { "help", "apropos", "timeit", "describe", "who", "reload" } do
    if rawget(_G, name) == nil then rawset(_G, name, options.public(name, commands[name])) end
  end
  commands.known = {}
  for name in next, _G do commands.known[name] = true end
end

return commands
