-- The launcher, in a tree of its own with a package manager and a build that only take notes: what
-- it installs and builds, when, and what it says where it may not.
local check = require "check"
local program = require "program"
local T = {}

local tools = {
  "sh", "dirname", "readlink", "sed", "grep", "find", "mkdir", "flock", "mktemp", "rm", "mv",
  "head", "tail", "env", "cat", "chmod", "touch", "sleep",
}

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function read(path)
  local file = io.open(path)
  if not file then return "" end
  local text = file:read("a")
  file:close()
  return text
end

-- Programs of the small machine; $notes is its state. apt-get install works only after an update.
local programs = {
  id = "echo $user",
  ["dpkg-query"] = "cat $notes/installed",
  ["apt-get"] = [[
echo apt-get "$*" >>$notes/log
[ ! -e $notes/offline ] || { echo "E: Unable to connect" >&2; exit 100; }
case "$*" in
  *update*) touch $notes/updated ;;
  *) [ -e $notes/updated ] || exit 100
    for word in "$@"; do echo "installed $word" >>$notes/installed; done ;;
esac]],
  cmake = [[
echo cmake "$*" >>$notes/log
cat >>$notes/stolen
if [ "$1" = --build ]; then
  [ ! -e $notes/broken ] || { echo "a.c:1: error: broken"; exit 1; }
  sleep 0.2
  mkdir -p "$2/bin"
  printf '#!/bin/sh\necho host "$@"\ncat\n' >"$2/bin/moonlab"
  chmod +x "$2/bin/moonlab"
fi]],
  ctest = [[echo ctest "$*" >>$notes/log]],
}

-- f(machine): machine.run(command, user) gives output and status; machine.log() what was called
-- since the last time.
local function with_machine(f)
  check.in_folder(function(dir)
    local bin, notes, tree = dir .. "/bin", dir .. "/notes", dir .. "/it's a tree"
    local quoted = program.quote(tree)
    assert(os.execute(("mkdir -p '%s' '%s' %s/core/base %s/bindings %s/cmake"):format(bin, notes,
      quoted, quoted, quoted)))
    for _, name in ipairs(tools) do
      assert(os.execute(("ln -s \"$(command -v %s)\" '%s/%s'"):format(name, bin, name)))
    end
    for name, text in pairs(programs) do
      write(bin .. "/" .. name, "#!/bin/sh\n" .. text .. "\n")
      assert(os.execute(("chmod +x '%s/%s'"):format(bin, name)))
    end
    assert(os.execute(("cp moonlab %s/moonlab"):format(quoted)))
    write(tree .. "/packages.txt", "# what it needs\ngcc  # the compiler\nlua-unit # tests\n")
    write(tree .. "/CMakeLists.txt", "")
    write(tree .. "/core/base/a.c", "")
    write(notes .. "/installed", "installed gcc\n")
    local machine = { tree = tree, notes = notes, bin = bin }
    function machine.run(command, user)
      local line = "cd %s && exec 2>&1; PATH='%s' user=%d notes='%s' %s; echo status=$?"
      local pipe = io.popen(line:format(quoted, bin, user or 0, notes, command))
      local body, status = pipe:read("a"):match("^(.*)status=(%d+)%s*$")
      pipe:close()
      return body, tonumber(status)
    end
    function machine.log()
      local text = read(notes .. "/log")
      os.remove(notes .. "/log")
      return text
    end
    f(machine)
  end)
end

local function count(text, word)
  return select(2, text:gsub(word, ""))
end

local function has(text, part)
  if not text:find(part, 1, true) then check.fail(("%q is not in\n%s"):format(part, text)) end
end

function T.test_root_is_not_asked_and_the_second_call_does_nothing()
  with_machine(function(machine)
    local out, status = machine.run("sh ./moonlab a 'b c' </dev/null")
    has(out, "moonlab: installing: lua-unit\n")
    has(out, "host a b c\n")
    check.equal(status, 0)
    local log = machine.log()
    has(log, "update\n")
    check.equal(count(log, "apt%-get"), 3) -- no lists at first
    check.equal(count(log, "cmake %-S"), 1)
    check.equal(machine.run("sh ./moonlab again </dev/null"), "host again\n")
    check.equal(machine.log(), "")
  end)
end

function T.test_who_may_not_install_is_told_the_command()
  with_machine(function(machine)
    local out, status = machine.run("sh ./moonlab --yes </dev/null", 1000)
    has(out, "as root, run: apt-get update && apt-get install lua-unit\n")
    check.equal(status, 1)
    write(machine.bin .. "/sudo", "#!/bin/sh\necho sudo >>$notes/log\nexec \"$@\"\n")
    assert(os.execute(("chmod +x '%s/sudo'"):format(machine.bin)))
    out, status = machine.run("sh ./moonlab </dev/null", 1000)
    has(out, "run with --yes to allow it, or run: sudo apt-get update && "
      .. "sudo apt-get install lua-unit\n")
    check.equal(status, 1)
    check.equal(machine.log(), "")
    out, status = machine.run("sh ./moonlab a --yes b </dev/null", 1000)
    has(out, "host a b\n")
    check.equal(status, 0)
    check.equal(count(machine.log(), "sudo"), 3)
  end)
end

function T.test_without_a_network_it_says_what_to_do()
  with_machine(function(machine)
    write(machine.notes .. "/offline", "")
    local out, status = machine.run("sh ./moonlab x </dev/null")
    has(out, "E: Unable to connect\n")
    has(out, "or: apt-get update && apt-get install lua-unit\n")
    check.equal(status, 1)
    check.equal(count(machine.log(), "cmake"), 0)
    os.remove(machine.notes .. "/offline")
    has(machine.run("sh ./moonlab x </dev/null"), "host x\n")
  end)
end

function T.test_a_tree_that_nobody_may_write_runs_what_was_built()
  with_machine(function(machine)
    machine.run("sh ./moonlab x </dev/null")
    local quoted = program.quote(machine.tree)
    assert(os.execute(("chmod -R a-w %s"):format(quoted)))
    check.equal(machine.run("sh ./moonlab again </dev/null"), "host again\n")
    assert(os.execute(("chmod -R u+w %s && touch %s/core/base/a.c && chmod -R a-w %s"):format(
      quoted, quoted, quoted)))
    local free = os.execute(("test -w %s/build"):format(quoted)) -- root may always
    local out, status = machine.run("sh ./moonlab x </dev/null")
    if not free then
      has(out, "build is not writable\n")
      check.equal(status, 1)
    end
    assert(os.execute(("chmod -R u+w %s"):format(quoted)))
  end)
end

function T.test_standard_input_belongs_to_the_script()
  with_machine(function(machine)
    local out = machine.run([[sh -c 'echo "a line" | sh ./moonlab -']])
    has(out, "host -\na line\n")
    check.equal(read(machine.notes .. "/stolen"), "")
  end)
end

function T.test_through_links_from_elsewhere()
  with_machine(function(machine)
    assert(os.execute(("cd '%s' && ln -s \"../it's a tree/moonlab\" one && ln -s one two"):format(
      machine.bin)))
    local out, status = machine.run("sh -c 'cd / && exec two x </dev/null'")
    has(out, "host x\n")
    check.equal(status, 0)
    has(machine.log(), "cmake -S " .. machine.tree)
  end)
end

function T.test_two_first_calls_build_once()
  with_machine(function(machine)
    local out = machine.run(
      "sh -c 'sh ./moonlab one </dev/null & sh ./moonlab two </dev/null; wait'")
    has(out, "host one\n")
    has(out, "host two\n")
    local log = machine.log()
    check.equal(count(log, "cmake %-%-build"), 1)
    check.equal(count(log, "apt%-get"), 3)
  end)
end

function T.test_what_changed_is_built()
  with_machine(function(machine)
    machine.run("sh ./moonlab </dev/null")
    machine.log()
    for _, change in ipairs { "touch core/base/a.c", "rm core/base/a.c", "touch packages.txt" } do
      machine.run("sh -c 'sleep 0.02; " .. change .. "'")
      machine.run("sh ./moonlab </dev/null")
      check.equal(count(machine.log(), "cmake %-%-build"), 1)
    end
    -- a tree that moved starts anew: its host knows where its files were
    write(machine.tree .. "/build/CMakeCache.txt",
      "CMAKE_HOME_DIRECTORY:INTERNAL=" .. machine.tree .. "\n")
    local quoted = program.quote(machine.tree)
    assert(os.execute(("mv %s %s2 && mkdir %s"):format(quoted, quoted, quoted)))
    local out = machine.run("sh " .. quoted .. "2/moonlab x </dev/null")
    has(out, "host x\n")
    has(machine.log(), "cmake -S " .. machine.tree .. "2")
    check.equal(read(machine.tree .. "2/build/CMakeCache.txt"), "")
  end)
end

function T.test_a_failed_build_says_why_and_is_tried_again()
  with_machine(function(machine)
    write(machine.notes .. "/broken", "")
    local out, status = machine.run("sh ./moonlab x </dev/null")
    has(out, "a.c:1: error: broken\n")
    has(out, "the whole log is " .. machine.tree .. "/build/build.log\n")
    check.equal(status, 1)
    os.remove(machine.notes .. "/broken")
    has(machine.run("sh ./moonlab x </dev/null"), "host x\n")
  end)
end

function T.test_tests_are_built_first()
  with_machine(function(machine)
    machine.run("sh ./moonlab test -R core </dev/null")
    local log = machine.log()
    has(log, "--target all\n")
    has(log, "ctest --test-dir " .. machine.tree .. "/build --output-on-failure -R core\n")
  end)
end

return T
