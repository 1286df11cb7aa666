-- Listings at a terminal of 80 columns: no line is longer, no word is broken.
local check = require "check"
local ml = require "moonlab"
local program = require "program"
local T = {}

-- What the host prints in a folder, at a terminal of 80 columns (script of util-linux).
local function at_terminal(dir, arguments)
  local inner = ("stty cols 80; %s %s"):format(program.word, arguments)
  local pipe = io.popen(("cd '%s' && TERM=xterm MOONLAB_RUNS=runs script -qec %s "
    .. "/dev/null </dev/null")
    :format(dir, program.quote(inner)))
  local lines = {}
  for line in pipe:lines() do
    line = line:gsub("\r", "")
    lines[#lines + 1] = line
    if utf8.len(line) > 80 then check.fail("longer than 80 columns: " .. line) end
  end
  pipe:close()
  check.is_true(#lines > 1)
  return table.concat(lines, "\n")
end

function T.test_parameters_that_do_not_fit_stand_below()
  check.in_folder(function(dir)
    ml.runs.create { store = dir .. "/runs", id = "question-0123456789abcdef", recipe = "question",
      params = { width = 256, learning_rate = 1e-3, batch = 32, momentum = 0.9, steps = 10000,
        warmup = 100, weight_decay = 1e-4 } }:finish "done"
    local out = at_terminal(dir, "runs")
    program.has(out, "\n    batch=32 learning_rate=0.001 momentum=0.9 steps=10000 warmup=100\n")
    program.has(out, "\n    weight_decay=0.0001 width=256")
    -- elsewhere a run is a line
    program.has(program.run(dir, "runs"), "  batch=32 learning_rate=0.001 momentum=0.9 steps=")
  end)
end

function T.test_recipes_break_at_the_terminals_width()
  check.in_folder(function(dir)
    program.has(at_terminal(dir, "recipes"), "\nquickstart ")
  end)
end

return T
