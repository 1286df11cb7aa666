-- The host as a program: where it is, and running it with words.
local check = require "check"
local words = require "moonlab.recipe.words"
local program = { path = os.getenv "MOONLAB_HOST" or "build/bin/moonlab" }

do -- the program that runs this test
  local file = io.open("/proc/self/cmdline", "rb")
  if file then
    local first = file:read("a"):match "^[^%z]+"
    file:close()
    if first and first:find("moonlab", 1, true) then program.path = first end
  end
  if program.path:sub(1, 1) ~= "/" then
    program.path = require("lfs").currentdir() .. "/" .. program.path
  end
end

--- As a word of a shell.
program.quote = words.quote
program.word = words.quote(program.path)

--- Runs the host in a folder; returns both streams as one text, and the exit status.
function program.run(dir, arguments)
  local pipe = io.popen(("cd '%s' && MOONLAB_RUNS=runs MOONLAB_YES= %s %s 2>&1; echo status=$?")
    :format(dir, program.word, arguments))
  local text = pipe:read "a"
  pipe:close()
  local body, status = text:match "^(.*)status=(%d+)%s*$"
  return body, tonumber(status)
end

--- text holds part (plain text).
function program.has(text, part)
  if not text:find(part, 1, true) then
    check.fail("wanted in the output: " .. part .. "\n" .. text)
  end
end

function program.write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

function program.read(path)
  local file = assert(io.open(path, "r"))
  local text = file:read "a"
  file:close()
  return text
end

return program
