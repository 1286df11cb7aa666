-- ml.system: leases, logs, SQLite, child processes, as Lua sees them.
local ml = require "moonlab"
local check = require "check"
local system = ml.system
local T = {}

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

-- property
function T.test_a_lease_has_one_holder()
  check.in_folder(function(dir)
    check.is_nil(system.lease_holder(dir))
    local lease = system.lease(dir)
    check.is_true(lease:held())
    local second, message, holder = system.lease(dir)
    check.is_nil(second)
    check.is_true(message:find("is being written by pid " .. system.process().pid, 1, true) ~= nil)
    check.equal(holder.host, system.process().host)
    check.is_true(system.lease_holder(dir).live)
    lease:release()
    lease:release()
    check.raises("the lease was released", lease.held, lease)
    check.is_false(system.lease_holder(dir).live)
    do
      local again <close> = system.lease(dir)
      check.is_true(again:held())
    end
    check.is_true(system.lease_holder(dir).released)
    system.lease(dir) -- dropped: the collector gives it back
    collectgarbage()
    collectgarbage()
    check.is_true(system.lease_holder(dir).released)
    check.raises("bad argument #1 to 'lease' (path expected, got table)", system.lease, {})
    check.raises("No such file", system.lease, dir .. "/none")
    check.raises("timeout is 0, wanted > 0", system.lease, dir, { timeout = 0 })
    check.raises("did you mean 'timeout'?", system.lease, dir, { timeuot = 3 })
  end)
end

-- property
function T.test_a_log_is_written_at_once()
  check.in_folder(function(dir)
    local path = dir .. "/log"
    local log = system.log(path, { lines = true })
    log:write "one\n":write "two\n"
    check.equal(read(path), "one\ntwo\n")
    log:write "torn"
    log:close()
    log:close()
    check.raises("the log was closed", log.write, log, "x")
    system.log(path, { lines = true }):write "three\n"
    check.equal(read(path), "one\ntwo\nthree\n")
    check.raises("string expected, got nil", function() system.log(path):write(nil) end)
    local full = io.open("/dev/full", "w")
    if full then full:close() end
    check.raises("cannot write", system.log, dir)
    local before = system.stamp(path)
    check.equal(system.stamp(path), before)
    system.log(path):write "x"
    check.is_true(system.stamp(path) ~= before)
    check.is_nil(system.stamp(dir .. "/none"))
  end)
end

-- property
function T.test_values_come_back_from_sqlite()
  check.in_folder(function(dir)
    local db = system.sqlite(dir .. "/x.db")
    db:exec "CREATE TABLE t (k INTEGER PRIMARY KEY, v); CREATE TABLE u (a)"
    local put = db:prepare "INSERT INTO t VALUES (?, ?)"
    local values = { 1, math.mininteger, 0.5, -0.0, math.huge, -math.huge, 0 / 0, "", "a\0b", "nan",
      "'; DROP TABLE t; --" }
    for i, v in ipairs(values) do check.equal(put:run(i, v), 1) end
    put:run(100, nil)
    put:run(101, true)
    local rows = db:prepare "SELECT * FROM t WHERE k < ? ORDER BY k":rows(100)
    check.equal(#rows, #values)
    for i, v in ipairs(values) do
      local found = rows[i].v
      check.equal(math.type(found), math.type(v))
      if v ~= v then check.is_true(found ~= found) else check.equal(found, v) end
    end
    check.equal(1 / rows[4].v, -math.huge)
    rows = db:prepare "SELECT v FROM t WHERE k >= 100 ORDER BY k":rows()
    check.is_nil(rows[1].v)
    check.equal(rows[2].v, 1)
    check.equal(db:prepare "SELECT * FROM u":rows(), {})
    check.equal(db:prepare "UPDATE t SET v = 0 WHERE k <= ?":run(4), 4)
    check.raises("no such table: w", db.exec, db, "DELETE FROM w")
    check.raises("3 values for the 2 parameters", put.run, put, 1, 2, 3)
    check.raises("bad argument #2 to 'run' (number, string, boolean or nil expected, got table)",
      function() put:run(1, {}) end)
    check.raises("UNIQUE", put.run, put, 1, 1)
    check.raises("UNIQUE", put.rows, put, 1, 1)
    db:close()
    check.raises("the database was closed", db.exec, db, "SELECT 1")
    check.raises("the database was closed", db.prepare, db, "SELECT 1")
    put:close()
    check.raises("the statement was closed", put.run, put, 200, 1)
    check.raises("unable to open database file", system.sqlite, dir .. "/none/x.db")
  end)
end

-- error
function T.test_no_leak_when_lua_runs_out_of_memory_in_rows()
  local db = system.sqlite ":memory:"
  db:exec "CREATE TABLE t (a, b)"
  local put = db:prepare "INSERT INTO t VALUES (?, ?)"
  for i = 1, 20 do put:run(i, ("text %d"):format(i)) end
  local all = db:prepare "SELECT * FROM t"
  local testing = require("moonlab.core").testing
  testing.inject_lua_failure(0)
  all:rows()
  local count = testing.inject_lua_count()
  for k = 1, count do
    testing.inject_lua_failure(k)
    local ok = pcall(all.rows, all)
    testing.inject_lua_failure(0)
    check.is_true(not ok or k == count)
    check.equal(put:run(0, nil), 1) -- no transaction is left open
    db:exec "DELETE FROM t WHERE a = 0"
  end
  check.equal(#all:rows(), 20)
end

local function output(child)
  local streams = { stdout = "", stderr = "" }
  while true do
    local text, from = child:read(20)
    if not text then
      if from then check.fail "no output for 20 seconds" end
      return streams.stdout, streams.stderr, child:wait(20)
    end
    streams[from] = streams[from] .. text
  end
end

-- property
function T.test_children_end_and_say_how()
  local out, err, how, code = output(system.spawn { "sh", "-c", 'echo "$1|$A"; echo no >&2; exit 7',
    "sh", "a b", env = { A = "x=1" }, stdout = "pipe", stderr = "pipe" })
  check.equal({ out, err, how, code }, { "a b|x=1\n", "no\n", "exit", 7 })
  local child = system.spawn { "sh", "-c", "kill -9 $$" }
  check.equal({ child:wait() }, { "signal", 9 })
  check.equal({ child:wait() }, { "signal", 9 })
  child = system.spawn { "sleep", 100, group = true }
  check.equal({ child:wait(0.01) }, {})
  check.equal({ child:read() }, {}) -- it has no pipes
  child:kill()
  check.equal({ child:wait(20) }, { "signal", 15 })
  child:close()
  check.raises("the child was closed", child.wait, child)
  child = system.spawn { "cat", stdin = "pipe", stdout = "pipe" }
  child:write "hello"
  child:close_stdin()
  check.equal((output(child)), "hello")
  check.raises("stdin is no open pipe", child.write, child, "x")
end

-- property
function T.test_streams_go_where_they_are_sent()
  check.in_folder(function(dir)
    local place = dir .. "/out"
    system.spawn { "sh", "-c", "pwd; echo e >&2", dir = "/", stdout = ">" .. place,
      stderr = "stdout" }:wait()
    check.equal(read(place), "/\ne\n")
    system.spawn { "sh", "-c", "cat", stdin = "<" .. place, stdout = ">>" .. place .. "2" }:wait()
    system.spawn { "echo", "more", stdout = ">>" .. place .. "2" }:wait()
    check.equal(read(place .. "2"), "/\ne\nmore\n")
  end)
end

-- error
function T.test_what_cannot_be_spawned()
  local child, message = system.spawn { "no-such-program" }
  check.is_nil(child)
  check.is_true(message:find("cannot run 'no-such-program'", 1, true) ~= nil)
  check.raises("table expected, got string", system.spawn, "ls")
  check.raises("the list is empty", system.spawn, {})
  check.raises("word 2 is table, wanted a string", system.spawn, { "ls", {} })
  check.raises("zero byte", system.spawn, { "ls", "a\0b" })
  check.raises("did you mean 'stdout'?", system.spawn, { "ls", sdtout = "null" })
  check.raises("wanted \"inherit\", \"null\", \"pipe\"", system.spawn, { "ls", stdout = "nul" })
  check.raises("a key that is no name", system.spawn, { "ls", env = { ["A=B"] = "1" } })
  check.raises("has a table for A", system.spawn, { "ls", env = { A = {} } })
  check.raises("cannot enter", system.spawn, { "ls", dir = "/no/such/folder" })
  check.raises("signal is \"bang\"", function()
    local sleeper <close> = system.spawn { "true" }
    sleeper:kill "bang"
  end)
end

-- property
function T.test_the_first_to_end()
  local children = { system.spawn { "sleep", "100", group = true }, system.spawn { "true" } }
  check.equal(system.wait_any(children, 20), 2)
  check.is_nil(system.wait_any({ children[1] }, 0.01))
  check.is_nil(system.wait_any({}))
  children[1]:kill "kill"
  check.equal({ children[1]:wait(20) }, { "signal", 9 })
  check.raises("entry 1 is no child", system.wait_any, { 3 })
end

-- property
function T.test_small_things()
  check.equal(#system.hash "", 32)
  check.equal(system.hash "a", system.hash "a")
  check.is_true(system.hash "a" ~= system.hash "b")
  check.in_folder(function(dir)
    system.make_dirs(dir .. "/a/b")
    system.make_dirs(dir .. "/a/b")
    check.equal(require("lfs").attributes(dir .. "/a/b", "mode"), "directory")
    io.open(dir .. "/f", "w"):close()
    check.raises("Not a directory", system.make_dirs, dir .. "/f/g")
  end)
  check.raises("wanted >= 0", system.sleep, -1)
  system.sleep(0)
end

return T
