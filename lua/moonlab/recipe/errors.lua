--- Errors of recipes: how commands say them, and a traceback that shows the recipe's own lines.
local core = require "moonlab.core"
local interrupt = require "moonlab.interrupt"

local errors = {}

-- The traceback of where the error arose, which scopes keep when they raise it again.
local function traceback(message)
  local ok, kept = pcall(core.testing.traceback, message)
  return ok and type(kept) == "string" and kept or debug.traceback(nil, 3)
end

--- An error as a user of commands reads it: without the place in our files and the function's name.
function errors.plain(message)
  local text = tostring(message):gsub("^%S+:%d+: ", "")
  return text:match "^bad argument .-to '[%w.:]+' %((.*)%)$" or text:match "^ml%.[%w.]+: (.*)$"
    or text
end

--- A message handler for xpcall: turns an error into { message =, trace =, interrupt = }.
function errors.handler(message)
  if type(message) == "table" and message.trace then return message end
  local text = type(message) == "string" and message or tostring(message)
  local head = text:match "^(.-)\nstack traceback:" or text
  local trace = text:match "\n(stack traceback:.*)$" or traceback(message)
  return { message = head, trace = trace, interrupt = interrupt.is(text) }
end

local function short_name(path) return path:match "([^/]+)$" end

--- The lines of a traceback that lie in the file at `path`, as "file:12 in function 'fit'".
function errors.own_lines(trace, path)
  local lines = {}
  local name = path and short_name(path)
  local frames = (trace or ""):match "stack traceback:\n(.*)" or ""
  for line in frames:gmatch "[^\n]+" do
    local file, number, place = line:match "^%s*(%S+%.lua):(%d+): (.*)$"
    if file and name and short_name(file) == name then
      lines[#lines + 1] = ("%s:%s %s"):format(name, number, (place:gsub(" <.*>$", "")))
    end
  end
  return lines
end

--- What is printed about a failure: the message and where in the recipe it happened.
function errors.report(failure, path)
  local lines = { failure.message }
  for _, line in ipairs(errors.own_lines(failure.trace, path)) do
    lines[#lines + 1] = "  " .. line
  end
  return table.concat(lines, "\n")
end

return errors
