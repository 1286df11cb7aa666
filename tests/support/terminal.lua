-- The host on a pseudo-terminal: what a user types, what the terminal shows.
local program = require "program"
local terminal = {}

local helper = program.path:gsub("/bin/[^/]*$", "/tests/on_terminal")

local function escaped(text)
  return (text:gsub("\\", "\\\\"):gsub("\r", "\\r"):gsub("\n", "\\n"):gsub("\t", "\\t")
    :gsub("%c", function(c) return ("\\x%02x"):format(c:byte()) end))
end

--- Runs the prompt in a folder and plays the steps: { "typed" } is typed with Enter,
--- { keys = text } without, a string is waited for. env: names with values. Returns what was shown,
--- without what moves the cursor, and the exit status.
function terminal.play(dir, steps, env)
  local lines = {}
  for _, step in ipairs(steps) do
    if type(step) == "string" then
      lines[#lines + 1] = "wait " .. escaped(step)
    else
      lines[#lines + 1] = "send " .. escaped(step.keys or step[1] .. "\r")
    end
  end
  program.write(dir .. "/keys", table.concat(lines, "\n") .. "\n")
  local words = {}
  local all = { HOME = dir, TERM = "xterm", MOONLAB_RUNS = dir .. "/runs", NO_COLOR = "1",
    XDG_STATE_HOME = "", XDG_CONFIG_HOME = "", INPUTRC = "/dev/null" }
  for name, value in pairs(env or {}) do all[name] = value end
  for name, value in pairs(all) do words[#words + 1] = name .. "=" .. program.quote(value) end
  local pipe = io.popen(("cd %s && env %s %s %s < keys 2>&1; echo status=$?"):format(
    program.quote(dir), table.concat(words, " "), program.quote(helper), program.word))
  local text, status = pipe:read("a"):match "^(.*)status=(%d+)%s*$"
  pipe:close()
  return text, tonumber(status)
end

return terminal
