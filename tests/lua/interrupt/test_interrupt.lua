-- What catches errors lets Ctrl-C through.
local check = require "check"
local interrupt = require "moonlab.interrupt"
local T = {}

function T.test_try_is_pcall_but_for_ctrl_c()
  check.equal({ interrupt.try(function(...) return ... end, 1, nil, 3) }, { true, 1, nil, 3 })
  check.equal({ interrupt.try(error, "disk full", 0) }, { false, "disk full" })
  check.equal({ interrupt.try(error, { "a table" }) }, { false, { "a table" } })
  check.raises("x.lua:3: interrupted", interrupt.try, error, "x.lua:3: interrupted", 0)
end

function T.test_ctrl_c_is_told_by_the_end_of_the_first_line()
  check.is_true(interrupt.is "x.lua:3: interrupted\nstack traceback:")
  for _, message in ipairs { "interrupted by hand", "a run\ninterrupted", { "interrupted" }, 3 } do
    check.is_true(not interrupt.is(message))
  end
end

return T
