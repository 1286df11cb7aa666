-- The index of a store: it follows the folders, and is made anew when it is lost or damaged.
local check = require "check"
local lfs = require "lfs"
local ml = require "moonlab"
local program = require "program"
local T = {}

local function make(store, id, state)
  local run = ml.runs.create { store = store, id = id, recipe = "r", params = { name = id } }
  run:log { step = 1, loss = 1 }
  run:finish(state or "done")
end

local function in_store(f)
  check.in_folder(function(dir)
    local store = dir .. "/runs"
    for _, id in ipairs { "a", "b", "c" } do make(store, id) end
    f(store, dir)
  end)
end

local function ids(store) -- sorted here: the list goes by the second in which a run began
  local list = {}
  for i, row in ipairs(ml.runs.list { store = store }) do list[i] = row.id .. " " .. row.state end
  table.sort(list)
  return list
end

local function aside(store)
  local count = 0
  for file in lfs.dir(store) do
    if file:find "^runs%.db%.damaged" then count = count + 1 end
  end
  return count
end

function T.test_it_follows_the_folders()
  in_store(function(store)
    check.equal(ids(store), { "a done", "b done", "c done" })
    make(store, "d", "failed")
    ml.runs.delete("b", { store = store })
    check.equal(os.rename(store .. "/c", store .. "/e"), true) -- by hand
    ml.runs.open("a", { store = store }):tag "good"
    check.equal(ids(store), { "a done", "d failed", "e done" })
    check.equal(#ml.runs.list { store = store, tag = "good" }, 1)
    check.equal(ml.runs.reindex { store = store }, 3)
    os.remove(store .. "/runs.db")
    check.equal(ids(store), { "a done", "d failed", "e done" })
  end)
end

function T.test_a_damaged_database_is_set_aside_and_made_anew()
  in_store(function(store, dir)
    ids(store)
    local whole = program.read(store .. "/runs.db")
    local damaged = {
      ("x"):rep(5000), whole:sub(1, #whole // 2), whole:sub(1, 4096) .. ("\90"):rep(#whole - 4096),
      "SQLite format 3\0" .. ("\0"):rep(3000), whole:sub(17) }
    for i, bytes in ipairs(damaged) do
      for _, tail in ipairs { "-wal", "-shm" } do os.remove(store .. "/runs.db" .. tail) end
      program.write(store .. "/runs.db", bytes)
      local out, status = program.run(dir, i % 2 == 1 and "runs" or "runs reindex")
      check.equal(status, 0)
      program.has(out, "moonlab: runs/runs.db was damaged and is now runs.db.damaged-")
      program.has(out, "made anew from 3 runs")
      check.equal(aside(store), i) -- nothing is thrown away
      check.equal(ids(store), { "a done", "b done", "c done" })
      check.equal(program.run(dir, "runs reindex"), "3 runs in runs\n")
      check.equal(aside(store), i)
    end
  end)
end

function T.test_a_database_that_is_none_of_ours_is_set_aside()
  in_store(function(store, dir)
    os.remove(store .. "/runs.db")
    local db = ml.system.sqlite(store .. "/runs.db")
    db:exec "CREATE TABLE runs (id TEXT); PRAGMA user_version = 99;"
    db:close()
    program.has(program.run(dir, "runs"), "made anew from 3 runs")
    check.equal(ids(store), { "a done", "b done", "c done" })
    check.equal(aside(store), 1)
  end)
end

function T.test_where_no_database_can_be_kept_the_folders_are_read()
  in_store(function(store)
    os.remove(store .. "/runs.db")
    lfs.mkdir(store .. "/runs.db")
    check.equal(ids(store), { "a done", "b done", "c done" })
    check.equal(aside(store), 0)
  end)
end

function T.test_runs_come_and_go_while_others_list()
  check.in_folder(function(dir)
    program.write(dir .. "/churn.lua", [[
local ml = require "moonlab"
for i = 1, 40 do
  ml.runs.create { id = "c" .. i, recipe = "c", params = {} }:finish "done"
  if i > 4 then ml.runs.delete("c" .. i - 4) end
end]])
    lfs.mkdir(dir .. "/runs")
    make(dir .. "/runs", "stays")
    local churn = ml.system.spawn { program.path, "churn.lua", dir = dir }
    local lists = {}
    for i = 1, 2 do
      program.write(dir .. "/list.lua", [[
local ml = require "moonlab"
repeat
  local seen = false
  for _, row in ipairs(ml.runs.list()) do seen = seen or row.id == "stays" end
  assert(seen)
  if #arg > 0 then ml.runs.reindex() end
until ml.runs.find "c40"]])
      lists[i] = ml.system.spawn { program.path, "list.lua", i == 2 and "reindex" or nil, dir = dir,
        stdout = ">>" .. dir .. "/out", stderr = "stdout" }
    end
    check.equal({ churn:wait() }, { "exit", 0 })
    for _, list in ipairs(lists) do
      if select(2, list:wait()) ~= 0 then check.fail(program.read(dir .. "/out")) end
    end
    check.equal(program.read(dir .. "/out"), "") -- nothing to complain about
    local left = {}
    for _, row in ipairs(ml.runs.list { store = dir .. "/runs" }) do left[#left + 1] = row.id end
    table.sort(left)
    check.equal(left, { "c37", "c38", "c39", "c40", "stays" })
  end)
end

return T
