-- Sweeps as processes: killed at random moments, crashing points, two at once, what users type.
local check = require "check"
local lfs = require "lfs"
local ml = require "moonlab"
local program = require "program"
local T = {}

-- Appends "x seed" to the file `count` at the end of each execution. From x = slow on, no execution
-- ends.
local trivial = [[
--- A question.
local ml, recipe = require "moonlab", require "moonlab.recipe"
return recipe.define {
  name = "trivial", minimize = "loss",
  params = { x = { 1, "x" }, wait = { 0.0, "seconds" }, slow = { 1000, "x" },
    count = { "", "file" } },
  run = function(p, ctx)
    ml.system.sleep(p.x < p.slow and p.wait or 1e6)
    ctx:log { step = 1, x = p.x }
    local file = io.open(p.count, "a")
    file:write(p.x, " ", p.seed, "\n")
    file:close()
    return { loss = (p.x - 3) ^ 2, list = ml.f64 { p.x, p.seed } }
  end,
}
]]

local function in_folder(text, f)
  check.in_folder(function(dir)
    program.write(dir .. "/r.lua", text)
    f(dir)
  end)
end

local function lines_of(path)
  local counts, total = {}, 0
  if not lfs.attributes(path, "mode") then return counts, total end
  for line in io.lines(path) do
    counts[line] = (counts[line] or 0) + 1
    total = total + 1
  end
  return counts, total
end

local function children_of(pid)
  local file = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  local list = {}
  if file then
    for child in file:read("a"):gmatch "%d+" do list[#list + 1] = child end
    file:close()
  end
  return list
end

local function state_of(dir)
  local ok, state = pcall(ml.json.read, dir .. "/state.json")
  return ok and state and state.state
end

-- x of the runs that are done now.
local function done_now(store)
  local done = {}
  for _, id in ipairs(ml.runs.ids(store)) do
    if state_of(store .. "/" .. id) == "done" then
      local p = ml.json.read(store .. "/" .. id .. "/config.json").params
      done[("%d %d"):format(p.x, p.seed)] = true
    end
  end
  return done
end

local function start(dir, words)
  return ml.system.spawn { program.path, "sweep", "r.lua", "x=1..50", "seed=1..2", "wait=0.02",
    "count=" .. dir .. "/count", "--workers", "2", "--tries", "100", table.unpack(words or {}),
    dir = dir, stdout = ">>" .. dir .. "/out", stderr = "stdout", env = { MOONLAB_RUNS = "runs" } }
end

function T.test_killed_at_random_moments_it_loses_nothing_and_repeats_nothing()
  in_folder(trivial, function(dir)
    local g, kills, frozen = ml.rng(os.time()), 0, {}
    local function random() return g:uniform({ 1 })[1] end
    local function check_frozen(counts) -- what was finished at an earlier kill has not run again
      for key, count in pairs(frozen) do check.equal(counts[key], count) end
    end
    -- Lets it run for a random time, every other time after at least one execution, so that it gets
    -- on however slow the machine is. True when it has ended.
    local function goes_on(sweep, session)
      local _, before = lines_of(dir .. "/count")
      repeat
        if sweep:wait(0.3 * random()) then return true end
      until session % 2 == 1 or select(2, lines_of(dir .. "/count")) > before
    end
    for session = 1, 400 do
      local sweep = start(dir)
      local ended
      for _ = 1, 2 do
        ended = goes_on(sweep, session)
        if ended then break end
        for _, pid in ipairs(children_of(sweep:pid())) do -- one worker or both
          if random() < 0.5 then
            os.execute(("kill -9 %s 2>/dev/null"):format(pid))
            kills = kills + 1
          end
        end
      end
      if not ended then
        local workers = children_of(sweep:pid())
        sweep:kill "kill"
        sweep:wait()
        if session % 4 < 2 then -- the others go on to the end of their point by themselves
          for _, pid in ipairs(workers) do
            os.execute(("kill -9 %s 2>/dev/null"):format(pid))
            kills = kills + 1
          end
        end
        local done = done_now(dir .. "/runs")
        local counts = lines_of(dir .. "/count")
        check_frozen(counts)
        for key in pairs(done) do frozen[key] = frozen[key] or counts[key] end
      else
        if select(2, sweep:wait()) ~= 0 then check.fail(program.read(dir .. "/out")) end
        break
      end
      check.is_true(session < 400)
    end
    local counts, total = lines_of(dir .. "/count")
    check_frozen(counts)
    check.is_true(next(frozen) ~= nil)
    local n = 0
    for x = 1, 50 do
      for seed = 1, 2 do
        n = n + counts[("%d %d"):format(x, seed)]
      end
    end
    check.equal(n, total)
    -- a kill between the recipe's last line and its record costs one execution, no more
    if total > 100 + kills then check.fail(("%d executions with %d kills"):format(total, kills)) end
    local done = 0
    for _ in pairs(done_now(dir .. "/runs")) do done = done + 1 end
    check.equal(done, 100)
    for _, id in ipairs(ml.runs.ids(dir .. "/runs")) do
      local kept = ml.runs.open(id, { store = dir .. "/runs" })
      check.equal(kept:results().results[1].loss, (kept:params().x - 3.0) ^ 2)
      check.equal(#kept:records(), 1)
    end
    -- again: nothing is left to do
    local again = start(dir)
    check.equal({ again:wait() }, { "exit", 0 })
    check.equal(select(2, lines_of(dir .. "/count")), total)
    program.has(program.read(dir .. "/out"), "100 runs: 100 done")
    program.has(program.read(dir .. "/out"), "best: x=3, loss 0")
  end)
end

function T.test_two_sweeps_on_one_queue_share_the_work()
  in_folder(trivial, function(dir)
    local words = "sweep r.lua x=1..30 wait=0.02 count=count --workers 1"
    local a = ml.system.spawn { "/bin/sh", "-c", program.word .. " " .. words, dir = dir,
      stdout = ">" .. dir .. "/a", stderr = "stdout", env = { MOONLAB_RUNS = "runs" } }
    -- half of its points, and twenty of its own
    local out, status = program.run(dir, "sweep r.lua x=16..50 wait=0.02 count=count --workers 1")
    check.equal(status, 0)
    check.equal({ a:wait() }, { "exit", 0 })
    program.has(out, "35 runs: 35 done")
    program.has(program.read(dir .. "/a"), "30 runs: 30 done")
    local counts, total = lines_of(dir .. "/count")
    check.equal(total, 50)
    check.equal(counts["20 1"], 1)
  end)
end

local crashing = [[
--- A question.
local ml, recipe = require "moonlab", require "moonlab.recipe"
local function append(text)
  local file = io.open("count", "a")
  file:write(text, "\n")
  file:close()
end
return recipe.define {
  name = "crashing", minimize = "loss", params = { x = { 1, "x" } },
  run = function(p, ctx)
    local first = ctx:once("first half", function()
      append("first " .. p.x)
      return { p.x, 1 / 0 }
    end)
    local marker = "marker-" .. p.x
    local before = io.open(marker)
    if before then before:close() end
    append("second " .. p.x)
    if p.x == 3 or (p.x == 2 and not before) then
      io.open(marker, "w"):close()
      os.execute("kill -9 " .. ml.system.process().pid)
    end
    if p.x == 4 then error("four is bad") end
    if p.x == 5 then return { loss = 0 / 0, state = "diverged", reason = "loss nan at step 1" } end
    if p.x == 6 then os.exit(0, true) end
    return { loss = first[1], inf = first[2] }
  end,
}
]]

function T.test_what_crashes_fails_or_diverges_is_recorded_and_the_sweep_goes_on()
  in_folder(crashing, function(dir)
    local out, status = program.run(dir, "sweep r.lua x=1..8 --workers 2")
    check.equal(status, 0)
    for _, part in ipairs { "8 runs: 4 done, 1 diverged, 3 failed",
      "its worker died (signal 9), 3 times",
      "r.lua:23: four is bad", "its worker died (exit status 0), 3 times", "best: x=1, loss 1" } do
      program.has(out, part)
    end
    local counts = lines_of(dir .. "/count")
    check.equal(counts["first 2"], 1) -- continued from what it had computed
    check.equal(counts["second 2"], 2)
    check.equal(counts["first 3"], 1)
    check.equal(counts["second 3"], 3)
    check.equal(counts["second 4"], 1)
    for _, id in ipairs(ml.runs.ids(dir .. "/runs")) do
      local run = ml.runs.open(id, { store = dir .. "/runs" })
      local wanted = ({ [3] = "failed", [4] = "failed", [5] = "diverged",
        [6] = "failed" })[run:params().x]
      check.equal((run:state()), wanted or "done")
      if run:params().x == 2 then check.equal(run:results().results[1].inf, 1 / 0) end
      if run:params().x == 5 then check.equal(select(2, run:state()), "loss nan at step 1") end
    end
    -- again: failed ones stay; with --retry they are run again
    program.run(dir, "sweep r.lua x=1..8 --workers 2")
    check.equal(lines_of(dir .. "/count")["second 4"], 1)
    program.has(program.run(dir, "sweep r.lua x=1..8 --retry"), "4 done, 1 diverged, 3 failed")
    counts = lines_of(dir .. "/count")
    check.equal({ counts["second 4"], counts["second 3"], counts["first 3"] }, { 2, 6, 1 })
  end)
end

-- Between a worker's look at a point and its claim lies a while, in which another worker can claim
-- the point and die of it; and the sweep is slow to see that it died.
local hesitant = [[
local ml, recipe = require "moonlab", require "moonlab.recipe"
local runs = require "moonlab.runs"
if package.loaded["moonlab.sweep.worker"] then
  local claim, pid = runs.claim, ml.system.process().pid
  function runs.claim(o)
    ml.system.sleep(0.05 * (pid % 4))
    return claim(o)
  end
else
  local core = require "moonlab.core"
  local wait = core.system.wait_any
  function core.system.wait_any(...)
    ml.system.sleep(0.15)
    return wait(...)
  end
end
return recipe.define {
  name = "hesitant", params = { x = { 1, "x" } },
  run = function(p)
    local file = io.open("count", "a")
    file:write(p.x, "\n")
    file:close()
    if p.x % 2 == 1 then os.execute("kill -9 " .. ml.system.process().pid) end
    return { loss = p.x }
  end,
}
]]

function T.test_no_death_is_missed_when_another_worker_is_about_to_claim_the_point()
  in_folder(hesitant, function(dir)
    local out, status = program.run(dir, "sweep r.lua x=1..7 --workers 4")
    check.equal(status, 0)
    program.has(out, "7 runs: 3 done, 4 failed")
    local counts = lines_of(dir .. "/count")
    check.equal({ counts["1"], counts["3"], counts["5"], counts["7"] }, { 3, 3, 3, 3 })
    program.has(out, "its worker died (signal 9), 3 times")
  end)
end

function T.test_ctrl_c_stops_workers_and_the_same_words_continue()
  in_folder(trivial, function(dir)
    local sweep = start(dir, { "slow=3" })
    local workers
    repeat
      if sweep:wait(0.05) then check.fail(program.read(dir .. "/out")) end
      workers = children_of(sweep:pid())
    until #workers == 2 and next(done_now(dir .. "/runs"))
    sweep:kill "int"
    check.equal({ sweep:wait() }, { "exit", 130 })
    for _, pid in ipairs(workers) do check.is_nil(lfs.attributes("/proc/" .. pid, "mode")) end
    program.has(program.read(dir .. "/out"), "interrupted; ./moonlab sweep r.lua x=1..50")
    for _, id in ipairs(ml.runs.ids(dir .. "/runs")) do
      local state = ml.runs.open(id, { store = dir .. "/runs" }):state()
      check.is_true(state == "done" or state == "interrupted", state)
    end
    for file in lfs.dir(dir .. "/runs/sweeps/" .. (function()
      for entry in lfs.dir(dir .. "/runs/sweeps") do
        if entry:find "^trivial" then return entry end
      end
    end)()) do
      check.is_nil(file:find "^queue")
    end
  end)
end

function T.test_from_lua_with_columns()
  in_folder(trivial, function(dir)
    local s = ml.sweep { recipe = dir .. "/r.lua", store = dir .. "/runs", workers = 2,
      quiet = true,
      grid = { x = { 2, 4, 3 }, seed = { 1, 2 }, count = { dir .. "/count" } } }
    check.equal(#s.runs, 6)
    check.equal(s:column "x", ml.f64 { 2, 2, 4, 4, 3, 3 })
    check.equal(s:column "loss", ml.f64 { 1, 1, 1, 1, 0, 0 })
    check.equal(s:column("state")[6], "done")
    check.equal(s.best.params.x, 3)
    check.equal({ s.best.value, s.best.stderr, #s.best.runs }, { 0.0, 0.0, 2 })
    check.equal(s.runs[3].results.list, { 4.0, 1.0 })
    program.has(tostring(s), "6 runs: 6 done")
    check.raises("no run has \"lss\"", s.column, s, "lss")
    local csv = program.read(s.dir .. "/table.csv")
    check.equal(select(2, csv:gsub("\n", "")), 7)
    program.has(csv, "id,state,count,seed,slow,wait,x,loss,seconds")
  end)
end

function T.test_adaptive_on_the_command_line()
  in_folder([[
local recipe = require "moonlab.recipe"
return recipe.define { name = "bowl", minimize = "loss", params = { lr = { 1.0, "rate",
  above = 0 } },
  run = function(p)
    if p.lr > 10 then return { state = "diverged", loss = 1 / 0 } end
    return { loss = math.log(p.lr / 0.5) ^ 2 }
  end }
]], function(dir)
    local out, status = program.run(dir, "sweep r.lua lr=1,2 --adapt lr")
    check.equal(status, 0)
    program.has(out, "optimum bracketed, at lr=0.5")
    program.has(out, "7 runs: 6 done, 1 diverged") -- 0.25 0.5 1 2 4 8 16
  end)
end

function T.test_what_a_careless_user_types()
  in_folder(trivial, function(dir)
    for words, answer in pairs {
      ["sweep"] = "usage: ./moonlab sweep", ["sweep --smok"] = "-I{} sh -c {}",
      ["sweep r.lua y=1,2"] = "r.lua' lists them",
      ["sweep r.lua x=1,two"] = "x=1,two: wanted values a,b,c, each an integer",
      ["sweep r.lua x=1..3 --worker 2"] = "did you mean '--workers'?",
      ["sweep r.lua --workers none"] = "--workers none: wanted an integer >= 1",
      ["sweep r.lua x=1~9"] = "say how many points (--random N)",
      ["sweep r.lua x=1,2 --adapt count"] = "count cannot be searched",
      ["sweep r.lua x=1,2 --adapt x --random 3"] = "exclude each other",
      ["sweep r.lua x=1,2 --full"] = "trivial has no --full size",
      ["sweep r.lua x=1,2 --adapt x --list"] = "it excludes --list and --slurm",
      ["sweep r.luaa x=1"] = "no recipe is called", ["sweep --work nothing"] = "nothing",
    } do
      local out, status = program.run(dir, words)
      if words:find "y=1" then answer = "trivial has no parameter 'y'" end
      program.has(out, answer)
      check.is_true(status ~= 0)
    end
    program.write(dir .. "/broken.lua", "return recipe.define { ")
    local out, status = program.run(dir, "sweep broken.lua x=1")
    program.has(out, "broken.lua:1:")
    check.equal(status, 1)
    check.raises("unknown option 'worker'; did you mean 'workers'", ml.sweep,
      { recipe = "x", worker = 2 })
    check.raises("option 'recipe' is missing", ml.sweep, {})
    check.raises("option 'workers' is 0", ml.sweep, { recipe = "x", workers = 0 })
    check.is_nil(lfs.attributes(dir .. "/runs", "mode"))
  end)
end

return T
