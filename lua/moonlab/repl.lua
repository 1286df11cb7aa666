--- The prompt: reads Lua, prints the values of expressions, survives errors and Ctrl-C.
local commands = require "moonlab.repl.commands"
local complete = require "moonlab.repl.complete"
local display = require "moonlab.progress.display"
local history = require "moonlab.repl.history"
local interrupt = require "moonlab.interrupt"
local lfs = require "lfs"
local results = require "moonlab.repl.results"
local show = require "moonlab.repl.show"

-- A session may lose any of these globals; the prompt goes on without them.
local io, load, os, pcall, print, rawget, table, tostring, type, xpcall =
  io, load, os, pcall, print, rawget, table, tostring, type, xpcall

local repl = {}

local host = package.loaded["moonlab.host"]
local library = debug.getinfo(1, "S").source:match "^@(.*/)repl%.lua$"

-- ---- what is said ------------------------------------------------------------------------------

-- Text on standard error, in a colour where that is a terminal.
local function say(text, color)
  if display.colors(2) then
    text = ("\27[%dm%s\27[0m"):format(color, text)
  end
  io.stdout:flush()
  io.stderr:write(text, "\n")
end

local function warn(text) say("moonlab: " .. text, 33) end
local function complain(text) say(text, 31) end

-- ---- reading -----------------------------------------------------------------------------------

-- A chunk that may be an expression: its values are returned.
local function compile(source)
  local f = load("return " .. source, "=stdin", "t")
  if f then return f end
  return load(source, "=stdin", "t")
end

local function incomplete(message) return message:sub(-5) == "<eof>" end

-- ?name and $ command, as functions.
local function special(source)
  local shell = source:match "^%s*%$%s*(.-)%s*$"
  if shell then
    return function()
      local ok, how, code = os.execute(shell)
      if not ok then print(("(%s %d)"):format(how == "exit" and "exit status" or how, code)) end
    end
  end
  local name = source:match "^%s*%?%s*([%w_.:]*)%s*$"
  if name then
    return function() commands.help(name ~= "" and repl.named(name) or nil) end
  end
end

--- What help is asked for: a public name stays a name, a global of the user's is looked up.
function repl.named(name)
  if require("moonlab.help").text(name) then return name end
  local value = _G
  for part in name:gmatch "[^.:]+" do
    if type(value) ~= "table" then return name end
    value = rawget(value, part)
  end
  return value ~= nil and value or name
end

-- A local of one line is gone with it.
local function warn_of_locals(source)
  local names = source:match "^%s*local%s+([%a_][%w_%s,<>]*)"
  if not names then return end
  names = names:gsub("^function%s+", ""):gsub("<%w+>", "")
  for name in names:gmatch "[%a_][%w_]*" do
    local uses = 0
    for word in source:gmatch "[%a_][%w_]*" do uses = uses + (word == name and 1 or 0) end
    if uses ~= 1 then return end
  end
  warn(("a local ends with its line; leave out 'local' to keep %s"):format(
    names:match "^%s*(.-)%s*$"))
end

-- A line from the terminal or a pipe; nil at the end of input.
local function ask(self, prompt)
  display.hide()
  io.stdout:flush()
  if self.editor then return host.edit(prompt) end
  if self.terminal then
    io.write(prompt)
    io.flush()
  end
  local line = io.read "L"
  return line and (line:gsub("\n$", ""))
end

-- One complete statement or expression, over as many lines as it needs: its text, a function or nil
-- and a message, and whether it is silent; nothing at the end of input.
local function read(self)
  local source = ask(self, "> ")
  if not source then return nil end
  local f = special(source)
  if f then return source, f, nil, true end
  while true do
    local text = source:gsub("%s*;%s*$", "")
    local message
    f, message = compile(text)
    if f or not incomplete(message) then return source, f, message, source:find ";%s*$" ~= nil end
    local more = ask(self, ">> ")
    if not more then return source, nil, message end
    source = source .. "\n" .. more
  end
end

-- ---- running -----------------------------------------------------------------------------------

local function traceback(message)
  if type(message) ~= "string" then
    local ok, text = pcall(tostring, message)
    message = ok and text or "(error object is a " .. type(message) .. " value)"
  end
  if interrupt.is(message) then return "interrupted" end
  local trace = debug.traceback(message, 2):gsub("\n[^\n]*%[C%]: in function 'xpcall'.*$", "")
  if message:find(library, 1, true) then return trace end -- a fault of ours: all of it
  -- what was called wrongly is in the message; frames of our own files say nothing more
  local lines = {}
  for line in trace:gmatch "[^\n]+" do
    local ours = line:find(library, 1, true) or line:find "^%s+%[C%]:"
    if not ours and line ~= "\t(...tail calls...)" then lines[#lines + 1] = line end
  end
  local text = table.concat(lines, "\n"):gsub("\nstack traceback:$", "")
  return (text:gsub("\nstack traceback:\n\tstdin:1: in main chunk$", ""))
end

local function print_all(values)
  for i = 1, values.n do
    local ok, text = xpcall(show.text, traceback, values[i])
    print(ok and text or "(cannot be shown: " .. tostring(text) .. ")")
  end
end

local function run(source, f, silent)
  local values = table.pack(xpcall(f, traceback))
  display.reset()
  if not values[1] then
    complain(tostring(values[2]))
    return
  end
  values = table.pack(table.unpack(values, 2, values.n))
  if values.n > 0 then
    if not source:find "^%s*_[12]?%s*$" then results.push(values[1]) end
    if not silent then print_all(values) end
  else
    warn_of_locals(source)
  end
end

-- ---- the loop ----------------------------------------------------------------------------------

local function startup_path()
  local named = os.getenv "MOONLAB_INIT"
  if named then return named ~= "" and named or nil end
  local config, home = os.getenv "XDG_CONFIG_HOME", os.getenv "HOME"
  if not config or config == "" then config = home and home ~= "" and home .. "/.config" end
  return config and config .. "/moonlab/init.lua"
end

local function run_startup()
  local path = startup_path()
  if not path or lfs.attributes(path, "mode") ~= "file" then return end
  local f, message = loadfile(path)
  local ok = f ~= nil
  if f then ok, message = xpcall(f, traceback) end
  if not ok then complain(path .. " failed: " .. tostring(message)) end
end

local function start(self)
  _G.ml = rawget(_G, "ml") or require "moonlab"
  commands.install()
  results.install(warn)
  if not self.terminal then return end
  self.editor = host.editor(complete)
  self.history = history.path()
  if self.editor then
    for _, entry in ipairs(history.load(self.history)) do host.remember(entry) end
  end
  print(("moonlab %s  (ml is loaded; ? explains; Ctrl-D leaves)"):format(_G.ml.version().moonlab))
  run_startup()
end

local function remember(self, source)
  if not self.terminal or source:find "^%s" or source == "" or source == self.last then return end
  self.last = source
  if self.editor then host.remember(source) end
  history.add(self.history, source)
end

-- One round: false at the end of input.
local function round(self)
  host.reset_interrupt()
  local ok, source, f, message, silent = pcall(read, self)
  if not ok then -- Ctrl-C at the prompt
    if self.terminal then io.write "\n" end
    if not interrupt.is(source) then complain(tostring(source)) end
    return true
  end
  if source == nil then return false end
  remember(self, source)
  if f then run(source, f, silent) else complain(message) end
  return true
end

--- Reads and runs until the end of input; the result is the exit status.
function repl.run()
  local self = { terminal = host.isatty(0) }
  local ok, message = host.guard(start, self)
  if not ok then complain(interrupt.is(message) and "interrupted" or tostring(message)) end
  local more = true
  while more do
    ok, more = host.guard(round, self)
    if not ok then -- a second Ctrl-C comes through everything
      display.reset()
      complain(interrupt.is(more) and "interrupted" or tostring(more))
    end
  end
  if self.terminal then io.write "\n" end
  return 0
end

return repl
