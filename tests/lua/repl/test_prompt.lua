-- The prompt on a pseudo-terminal, with each library that edits lines and without one; and on a
-- pipe.
local check = require "check"
local ml = require "moonlab"
local program = require "program"
local terminal = require "terminal"
local T = {}

local leave = { keys = "\4" }

-- A session: prompt after prompt is waited for. Returns what was shown and the exit status.
local function session(dir, steps, env)
  local all = { "> " }
  for _, step in ipairs(steps) do
    all[#all + 1] = step
    if type(step) == "table" and step[1] and not step.open then all[#all + 1] = "\n> " end
  end
  all[#all + 1] = leave
  return terminal.play(dir, all, env)
end

local function editors()
  local list = { "none" }
  for _, name in ipairs { "readline", "libedit" } do
    check.in_folder(function(dir)
      local out = session(dir, { { "print(package.loaded['moonlab.host'].editor())" } },
        { MOONLAB_EDITOR = name })
      if out:find "GNU readline\n" or out:find "libedit\n" then list[#list + 1] = name end
    end)
  end
  return list
end

function T.test_values_errors_and_last_results_with_every_editor()
  for _, editor in ipairs(editors()) do
    check.in_folder(function(dir)
      local out, status = session(dir, { { "1 + 1" }, { "_ * 10" }, { "_1 + _" }, { "7;" },
        { "nil, 'text', { 3, b = { 1 } }" }, { "for i = 1, 2 do", open = true }, ">> ",
        { "print(i * 111)", open = true }, ">> ", { "end" }, { "error 'oops'" }, { "1 +* 2" },
        { "ml.zeros { 2, 3 }" }, { "local k = 3" }, { "nothing_here" } },
        { MOONLAB_EDITOR = editor })
      check.equal(status, 0)
      for _, part in ipairs { "moonlab " .. ml.version().moonlab, "\n2\n", "\n20\n", "\n22\n",
        "\nnil\ntext\n{ 3, b = { 1 } }\n", "\n111\n222\n", "stdin:1: oops", "unexpected symbol",
        "f64 [2x3]", "leave out 'local' to keep k", "no global is called 'nothing_here'" } do
        program.has(out, part)
      end
      check.is_nil(out:find("\n7\n", 1, true))
      check.is_nil(out:find("\27", 1, true)) -- NO_COLOR
    end)
  end
end

function T.test_it_goes_on_without_the_globals_of_lua()
  check.in_folder(function(dir)
    local out, status = session(dir, { { "print, tostring, io, os, load, xpcall, next = nil" },
      { "'4' .. 1" }, { "error 'oops'" }, { "1 +* 2" }, { "6 * 7" } })
    check.equal(status, 0)
    for _, part in ipairs { "\n41\n", "stdin:1: oops", "unexpected symbol", "\n42\n" } do
      program.has(out, part)
    end
  end)
end

function T.test_errors_show_the_frames_of_the_user_only()
  check.in_folder(function(dir)
    local out = session(dir, { { "timeit(3)" }, { "ml.ones 'x'" },
      { "function f() ml.kernel.act 'rellu' end" }, { "f()" } })
    program.has(out, "bad argument #1 to 'timeit' (function expected, got 3)\n> ")
    program.has(out, "did you mean 'relu'?)\nstack traceback:\n\tstdin:1: in function 'f'\n")
    check.is_nil(out:find("lua/moonlab", 1, true))
  end)
end

function T.test_completion_at_the_keyboard()
  for _, editor in ipairs(editors()) do
    if editor ~= "none" then
      check.in_folder(function(dir)
        program.write(dir .. "/some file", "1234567")
        local out = session(dir, { { "xyz = ml.ones { 2 }" }, { keys = "xyz:cumsu\t" }, "cumsum",
          { "():sum():item()" },
          { keys = "#io.open('some fi\t" }, "some file", { "'):read 'a' + 70" },
          { keys = "ml.stats.wils\t" }, "wilson", { "(0, 10)" } },
          { MOONLAB_EDITOR = editor })
        program.has(out, "\n3.0\n")
        program.has(out, "\n77\n")
        program.has(out, "\n0.0\n0.27")
      end)
    end
  end
end

function T.test_history_over_sessions_with_entries_of_several_lines()
  check.in_folder(function(dir)
    session(dir, { { "for i = 1, 2 do", open = true }, ">> ", { "print(i * 50)", open = true },
      ">> ", { "end" }, { "x = 5" } }, { MOONLAB_EDITOR = "none" })
    local kept = program.read(dir .. "/.local/state/moonlab/history")
    check.equal(kept, '"for i = 1, 2 do\\nprint(i * 50)\\nend"\n"x = 5"\n')
    local up = "\27[A"
    local out = session(dir, { { keys = up .. up }, "end", { keys = "\r" }, "\n50\n100\n", "> " })
    program.has(out, "print(i * 50)")
    -- a file that cannot be read or written is no reason to stop
    out = session(dir, { { "6 * 7" } }, { MOONLAB_HISTORY = "/dev/full/no" })
    program.has(out, "\n42\n")
    program.write(dir .. "/damaged", "{ no json\n\"ok\"\n")
    out = session(dir, { { keys = up }, "ok", { keys = "\3" }, "\n> " },
      { MOONLAB_HISTORY = dir .. "/damaged" })
    program.has(out, "ok")
  end)
end

function T.test_a_pasted_block_is_one_block()
  check.in_folder(function(dir)
    local paste = "\27[200~a = 20\nb = a + 3\n\27[201~"
    local out = session(dir, { { keys = paste }, "b = a + 3", { keys = "\r" }, "> ", { "a + b" } })
    if not out:find "^moonlab" then check.fail(out) end
    program.has(out, "\n43\n")
  end)
end

function T.test_ctrl_c_at_the_prompt_in_loops_in_pcall_in_coroutines_and_in_kernels()
  check.in_folder(function(dir)
    local busy = "print('rea' .. 'dy') "
    local out, status = session(dir, {
      { keys = "half a line" }, "half a line", { keys = "\3" }, "\n> ", { "1 + 1" },
      { busy .. "while true do end", open = true }, "\nready", { keys = "\3" }, "interrupted",
      "> ", { busy .. "coroutine.wrap(function() while true do end end)()", open = true },
      "\nready", { keys = "\3" }, "interrupted", "> ",
      { "print(coroutine.resume(coroutine.create(function() " .. busy
        .. "while true do end end)))", open = true }, "\nready", { keys = "\3" }, "interrupted",
      "> ", { "pcall(function() " .. busy .. "while true do end end) print('go' .. 'es on')",
        open = true }, "\nready", { keys = "\3" }, "goes on", "> ",
      { "while true do pcall(function() " .. busy .. "while true do end end) "
        .. "print('cau' .. 'ght') end", open = true },
      "\nready", { keys = "\3" }, "caught", { keys = "\3" }, "interrupted", "> ",
      { "local co = coroutine.wrap(function() while true do pcall(function() " .. busy
        .. "while true do end end) print('cau' .. 'ght') end end) co()",
        open = true },
      "\nready", { keys = "\3" }, "caught", { keys = "\3" }, "interrupted", "> ",
      { "a = ml.rng(1):normal { 4000, 4000 };" },
      { busy .. "for _ = 1, 1000 do a:matmul(a) end", open = true }, "\nready", { keys = "\3" },
      "interrupted", "> ", { "40 + 2" } })
    if status ~= 0 then check.fail(out) end
    program.has(out, "\n42\n")
    program.has(out, "false\t")
  end)
end

function T.test_ctrl_c_in_training_leaves_a_checkpoint_that_it_goes_on_from()
  check.in_folder(function(dir)
    program.write(dir .. "/net.lua", [[
local net = ml.nn.Sequential { ml.nn.Linear { 2, 4 }, ml.nn.Linear { 4, 1 } }
ran = {}
local x = ml.rng(1):normal { 16, 2, dtype = "f32" }
return function(steps)
  return ml.train { model = net, dir = "fit", steps = steps,
    opt = ml.optim.sgd(net:parameters(), { lr = 1e-3 }), data = { batch = function(_, i)
      if i == 1 or i == 60 or i == 29 or i == 30 then ran[#ran + 1] = i end
      if i == 30 and not resumed then print "ready" while true do end end
      return x
    end }, loss = function(m, b) return (m(b) ^ 2):mean() end, checkpoint = { every = 1000 } }
end
]])
    local out = session(dir, { { "fit = dofile 'net.lua'" }, { "fit(60)", open = true }, "ready",
      { keys = "\3" }, "stopped after update 29 of 60", "interrupted", "> ",
      { "resumed = true; table.remove(ran)" },
      { "fit(60);", open = true }, "left", "> ",
      { "print(table.concat(ran, ' '))" } })
    program.has(out, "print(table.concat(ran, ' '))\n1 29 30 60\n") -- 29 batches, then from 30 on
  end)
end

function T.test_the_startup_file_and_its_errors()
  check.in_folder(function(dir)
    os.execute("mkdir -p " .. dir .. "/.config/moonlab")
    program.write(dir .. "/.config/moonlab/init.lua", "mine = 123")
    program.has(session(dir, { { "mine + 1" } }), "\n124\n")
    program.write(dir .. "/.config/moonlab/init.lua", "error 'bad day'")
    local out = session(dir, { { "1 + 1" } })
    program.has(out, "init.lua:1: bad day")
    program.has(out, "\n2\n")
  end)
end

function T.test_on_a_pipe_there_is_no_banner_no_prompt_and_no_color()
  check.in_folder(function(dir)
    program.write(dir .. "/in", "1 + 1\nfor i = 5, 5 do\nprint(i)\nend\n$ echo from sh; exit 3\n"
      .. "?timeit\n_\nwho()\nz = ml.ones { 3 }\nwho()\n")
    local out, status = program.run(dir, "-i < in")
    check.equal(status, 0)
    check.equal(out:match "^2\n5\nfrom sh\n%(exit status 3%)\n" ~= nil, true)
    for _, part in ipairs { "timeit(f)", "\n2\n", "no globals of yours yet", "z   ", "f64 [3]" } do
      program.has(out, part)
    end
    check.is_nil(out:find("\27", 1, true))
    check.is_nil(out:find("> ", 1, true))
  end)
end

return T
