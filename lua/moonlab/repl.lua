--- The prompt: reads Lua line by line, prints the values of expressions, survives errors.
local repl = {}

local host = package.loaded["moonlab.host"]

-- A chunk that may be an expression: its values are returned.
local function compile(source)
  local f = load("return " .. source, "=stdin", "t")
  if f then return f end
  return load(source, "=stdin", "t")
end

local function incomplete(message) return message:sub(-5) == "<eof>" end

local function show(values)
  for i = 1, values.n do
    local ok, text = pcall(tostring, values[i])
    print(ok and text or "(tostring failed: " .. tostring(text) .. ")")
  end
end

local function traceback(message)
  if type(message) ~= "string" then
    local ok, text = pcall(tostring, message)
    message = ok and text or "(error object is a " .. type(message) .. " value)"
  end
  local trace = debug.traceback(message, 2)
  return (trace:gsub("\n[^\n]*%[C%]: in function 'xpcall'.*$", ""))
end

-- One complete statement or expression, over as many lines as it needs; nil at the end of input.
local function read(terminal)
  local function ask(prompt)
    if terminal then
      io.write(prompt)
      io.flush()
    end
    return io.read("L")
  end
  local source = ask("> ")
  if not source then return nil end
  while true do
    local text = source:gsub("%s*;%s*$", "")
    local f, message = compile(text)
    if f or not incomplete(message) then return text, f, message, source:find(";%s*$") ~= nil end
    local more = ask(">> ")
    if not more then return text, nil, message end
    source = source .. more
  end
end

--- Reads and runs until the end of input; the result is the exit status.
function repl.run()
  local terminal = host and host.isatty(0)
  _G.ml = _G.ml or require "moonlab"
  if terminal then
    print("moonlab " .. tostring(_G.ml.version().moonlab)
      .. "  (ml is loaded; ml.help(name) explains; Ctrl-D leaves)")
  end
  while true do
    if host then host.reset_interrupt() end
    local ok, source, f, message, silent = pcall(read, terminal)
    if not ok then -- Ctrl-C at the prompt
      io.write("\n")
    elseif source == nil then
      if terminal then io.write("\n") end
      return 0
    elseif not f then
      io.stderr:write(message, "\n")
    else
      local results = table.pack(xpcall(f, traceback))
      if results[1] then
        results = table.pack(table.unpack(results, 2, results.n))
        if results.n > 0 then
          _G._ = results[1]
          if not silent then show(results) end
        end
      else
        io.stderr:write(tostring(results[2]), "\n")
      end
    end
  end
end

return repl
