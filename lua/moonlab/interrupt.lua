--- Ctrl-C raises an error like any other; who catches errors lets this one through.
local interrupt = {}

--- Whether an error is the one that Ctrl-C raises.
function interrupt.is(message)
  return type(message) == "string" and message:match("^[^\n]*"):find "interrupted$" ~= nil
end

local function checked(ok, ...)
  if not ok and interrupt.is((...)) then error((...), 0) end
  return ok, ...
end

--- As pcall, but Ctrl-C goes on its way.
function interrupt.try(f, ...) return checked(pcall(f, ...)) end

return interrupt
