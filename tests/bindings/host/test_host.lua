-- The host as a program: options, arg, exit status, tracebacks, the prompt on a pipe, Ctrl-C, and
-- stock Lua with the module.
local ml = require "moonlab"
local check = require "check"
local program = require "program"
local T = {}

local host, quote = program.word, program.quote
local build = program.path:match("^(.*)/bin/[^/]*$")

-- Before stock Lua: what a sanitized library needs.
local preload = os.getenv("MOONLAB_PRELOAD")
  and ("LD_PRELOAD=%s "):format(quote(os.getenv("MOONLAB_PRELOAD"))) or ""

-- Runs a shell command; returns its output (both streams) and its exit status.
local function run(command, input)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(input or "")
  file:close()
  local pipe = io.popen(("{ %s ; } <'%s' 2>&1; echo status=$?"):format(command, name))
  local text = pipe:read("a")
  pipe:close()
  os.remove(name)
  local body, status = text:match("^(.*)status=(%d+)%s*$")
  return body, tonumber(status)
end

local function with_script(text, f)
  check.in_folder(function(dir)
    local file = assert(io.open(dir .. "/script.lua", "w"))
    file:write(text)
    file:close()
    f(dir .. "/script.lua", dir)
  end)
end

function T.test_scripts_and_arg()
  with_script("print(#arg, arg[0] ~= nil, arg[-1], ...)", function(path)
    local out, status = run(("%s '%s' a b"):format(host, path))
    check.equal(out, ("2\ttrue\t%s\ta\tb\n"):format(program.path))
    check.equal(status, 0)
  end)
end

function T.test_e_l_and_standard_input()
  check.equal(run(("%s -e 'print(1)' -e 'print(2)'"):format(host)), "1\n2\n")
  check.equal(run(("%s -l lfs -e 'print(type(lfs.dir))'"):format(host)), "function\n")
  check.equal(run(("%s -l m=moonlab -e 'print(m.ones{2}:sum():item())'"):format(host)), "2.0\n")
  check.equal(run(("%s - x y"):format(host), "print(...)"), "x\ty\n")
  check.equal(run(("%s"):format(host), "print 'piped'"), "piped\n")
end

function T.test_exit_status()
  with_script("os.exit(7, true)",
    function(path) check.equal(select(2, run(("%s '%s'"):format(host, path))), 7) end)
  with_script("error 'no'", function(path)
    local out, status = run(("%s '%s'"):format(host, path))
    check.equal(status, 1)
    check.is_true(out:find("script.lua:1: no", 1, true) ~= nil)
    check.is_true(out:find("stack traceback", 1, true) ~= nil)
  end)
  local script = "error(setmetatable({}, { __tostring = function() return 'an object' end }))"
  with_script(script, function(path)
    local out = run(("%s '%s'"):format(host, path))
    check.is_true(out:find("an object", 1, true) ~= nil)
  end)
  local out, status = run(("%s -x"):format(host))
  check.equal(status, 1)
  check.is_true(out:find("unrecognized option '-x'", 1, true) ~= nil)
  out, status = run(("%s recipse"):format(host))
  check.equal(status, 2)
  check.is_true(out:find("did you mean 'recipes'", 1, true) ~= nil)
  out, status = run(("%s nothing.lua"):format(host))
  check.equal(status, 1)
  check.is_true(out:find("nothing.lua", 1, true) ~= nil)
end

-- property: also on processors that BLAS does not know
function T.test_blas_kernels_follow_the_instruction_set()
  local report = "-e \"local v = require 'moonlab'.version(); print(v.cpu_features, v.blas)\""
  local out = run(("env -u OPENBLAS_CORETYPE %s %s"):format(host, report))
  if out:find("avx2", 1, true) then check.is_true(out:find("kernel Prescott", 1, true) == nil) end
  out = run(("OPENBLAS_CORETYPE=Nehalem %s %s"):format(host, report)) -- the user's choice stands
  check.is_true(out:find("kernel Nehalem", 1, true) ~= nil)
end

function T.test_version_names_what_runs()
  local out = run(("%s --version"):format(host))
  for _, word in ipairs { "OpenBLAS", "SIMD", "threads", "moonlab" } do
    check.is_true(out:find(word, 1, true) ~= nil)
  end
end

function T.test_the_prompt_on_a_pipe_prints_values_and_survives_errors()
  local out, status = run(("%s -i"):format(host),
    "1 + 1\nx = ml.ones{2}\nx:sum():item();\nfor i = 1, 2 do\nprint(i)\nend\n"
      .. "error 'oops'\n#x\n_ + 1\n")
  check.equal(status, 0)
  check.is_true(out:find("^2\n") ~= nil)
  check.is_true(out:find("1\n2\n", 1, true) ~= nil)
  check.is_true(out:find("oops", 1, true) ~= nil)
  check.is_true(out:find("\n2\n3\n", 1, true) ~= nil)
end

-- The processor time of a child so far, in ticks; nil when it has ended.
local function ticks(child)
  local file = assert(io.open(("/proc/%d/stat"):format(child:pid())))
  local text = file:read("a")
  file:close()
  local state, user, system = text:match("%) (%a)" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  if state ~= "Z" then return user + system end
end

-- Runs a script and presses Ctrl-C `times` times: the first press comes when the script has said
-- "ready" and works, each further one when it has worked on since the one before. Nothing here
-- depends on how fast the machine is. Returns the output and the exit status.
local function interrupted(script, times)
  local out, how, code = "", nil, nil
  with_script(script, function(path)
    local child <close> = ml.system.spawn { program.path, path, stdout = "pipe", stderr = "stdout" }
    while not out:find("ready\n", 1, true) do
      local text = child:read()
      if not text then check.fail("it ended before it was ready:\n" .. out) end
      out = out .. text
    end
    for press = 1, times do
      local start = ticks(child)
      local now = start
      while now and now - start < 3 do
        ml.system.sleep(0.01)
        now = ticks(child)
      end
      if not now then check.fail(("it ended before press %d:\n%s"):format(press, out)) end
      child:kill "int"
    end
    for text in function() return (child:read()) end do out = out .. text end
    how, code = child:wait()
  end)
  check.equal(how, "exit")
  return out, code
end

local kernel = [[
  local ml = require "moonlab"
  local a = ml.rng(1):normal { 6000, 6000, dtype = "f32" }
  local b = a
  print "ready"
  io.flush()
  for _ = 1, 1000 do b = a:matmul(b) end
]]
local say_ready = "print 'ready' io.flush() "

function T.test_ctrl_c_in_a_long_kernel_is_an_error()
  local out, status = interrupted(kernel, 1)
  check.equal(status, 1)
  check.is_true(out:find("interrupted", 1, true) ~= nil)
end

function T.test_ctrl_c_can_be_caught_once()
  local out, status = interrupted("local ok, why = pcall(function() " .. kernel .. [[ end)
    print("caught", ok, (tostring(why):match("interrupted")))
    print(require("moonlab").ones { 3 }:sum():item())]], 1)
  check.equal(status, 0)
  check.is_true(out:find("caught\tfalse\tinterrupted\n3.0", 1, true) ~= nil)
end

function T.test_ctrl_c_in_a_lua_loop()
  local out, status = interrupted(say_ready .. "while true do end", 1)
  check.equal(status, 1)
  check.is_true(out:find("interrupted", 1, true) ~= nil)
end

function T.test_a_second_ctrl_c_gets_out_of_a_loop_that_catches()
  local out, status = interrupted(say_ready
    .. "while true do pcall(function() while true do end end) end", 2)
  check.equal(status, 1)
  check.is_true(out:find("interrupted", 1, true) ~= nil)
end

-- a pattern that backtracks for hours
function T.test_a_fourth_ctrl_c_ends_what_cannot_be_interrupted()
  local _, status = interrupted(say_ready
    .. "local s = ('a'):rep(60); s:find(('a-'):rep(30) .. 'b')", 4)
  check.equal(status, 130)
end

function T.test_a_disk_that_takes_no_more_is_an_error_and_leaves_the_old_file()
  check.in_folder(function(dir)
    ml.save(dir .. "/w.safetensors", { a = ml.ones { 3 } })
    local out, status = run(("ulimit -f 64; %s -e \"local ml = require 'moonlab' "
      .. "print(pcall(ml.save, '%s/w.safetensors', { a = ml.zeros { 100000 } }))\""):format(
      host, dir))
    check.equal(status, 0)
    check.is_true(out:find("^false") ~= nil)
    check.is_true(out:find("w.safetensors", 1, true) ~= nil)
    check.equal(ml.load(dir .. "/w.safetensors").a, ml.ones { 3 })
    local count = 0
    for _ in require("lfs").dir(dir) do count = count + 1 end
    check.equal(count, 3) -- nothing beside the file
  end)
end

function T.test_a_folder_that_is_not_there_is_an_error()
  check.raises("/nonexistent/w.safetensors", ml.save, "/nonexistent/w.safetensors",
    { a = ml.ones { 3 } })
end

function T.test_install_puts_both_where_lua_looks()
  check.in_folder(function(dir)
    local _, status = run(("cmake --install %s --prefix '%s' >/dev/null"):format(quote(build),
      dir))
    check.equal(status, 0)
    local out = run(("cd / && LUA_PATH='%s/share/lua/5.4/?.lua;%s/share/lua/5.4/?/init.lua;;' "
      .. "LUA_CPATH='%s/lib/lua/5.4/?.so;;' "
      .. "%slua5.4 -e 'print(require(\"moonlab\").ones{3}:sum():item())'"):format(
      dir, dir, dir, preload))
    check.equal(out, "3.0\n")
    out, status = run(("cd / && '%s/bin/moonlab' recipes"):format(dir))
    check.equal(status, 0)
    check.is_true(out:find("quickstart", 1, true) ~= nil)
  end)
end

function T.test_stock_lua_loads_the_module()
  local command = ("LUA_PATH='lua/?.lua;lua/?/init.lua;;' "
    .. "LUA_CPATH=%s %slua5.4 -e '%s'"):format(quote(build .. "/lib/?.so;;"), preload,
    'local ml = require "moonlab"; print(ml.ones{2, 2}:matmul(ml.ones{2, 2}):sum():item())')
  check.equal(run(command), "8.0\n")
end

return T
