-- The recipe frame as a user meets it: new, run, sizes, resume, what goes wrong.
local check = require "check"
local lfs = require "lfs"
local ml = require "moonlab"
local program = require "program"
local T = {}

local function in_folder(text, f)
  check.in_folder(function(dir)
    if text then program.write(dir .. "/r.lua", text) end
    f(dir)
  end)
end

local function body(lines, more)
  return ([[
--- A question.
local ml, recipe = require "moonlab", require "moonlab.recipe"
return recipe.define {
  name = "question", params = { x = { 1.0, "x", min = 0, max = 10, unit = "m" },
    n = { { 1, 2 }, "sizes" } },
  %s
  run = function(p, ctx)
    %s
  end,
}
]]):format(more or "", lines)
end

local function run_of(dir)
  local ids = ml.runs.ids(dir .. "/runs")
  return ml.runs.open(ids[#ids], { store = dir .. "/runs" })
end

function T.test_a_new_recipe_runs_as_it_is()
  check.in_folder(function(dir)
    local out, status = program.run(dir, "new my_question")
    check.equal(status, 0)
    program.has(out, "wrote my_question.lua")
    out, status = program.run(dir, "run my_question --smoke --out out")
    check.equal(status, 0)
    program.has(out, "the error is below half the target's variance")
    check.equal(lfs.attributes(dir .. "/out/loss.svg", "mode"), "file")
    program.has(program.run(dir, "help my_question"), "hidden width")
    program.has(program.run(dir, "recipes"), "my_question          Does a small network")
    program.has(program.run(dir, "run my_question --dry-run"), "memory about")
    -- nothing is overwritten, and names are names
    local before = program.read(dir .. "/my_question.lua")
    for words, answer in pairs {
      ["new my_question"] = "my_question.lua is there already",
        ["new quickstart"] = "is there already",
      ["new 3things"] = "'3things' is no name", ["new end"] = "'end' is no name", ["new"] = "usage",
      ["new a/b"] = "is no name", ["new nowhere/x.lua"] = "nowhere/x.lua",
    } do
      out, status = program.run(dir, words)
      program.has(out, answer)
      check.is_true(status ~= 0)
    end
    check.equal(program.read(dir .. "/my_question.lua"), before)
  end)
end

function T.test_sizes_overrides_and_seeds()
  in_folder(body([[return { x = p.x, n = p.n, seed = p.seed, size = ctx.size }]],
    "smoke = { x = 2 }, full = { x = 3 },"), function(dir)
    local function results(words)
      local _, status = program.run(dir, "run r.lua " .. words .. " --out out")
      check.equal(status, 0)
      local kept = ml.runs.open(dir .. "/out"):results()
      os.execute("rm -r '" .. dir .. "/out'")
      return kept
    end
    check.equal(results("").results, { { x = 1.0, n = { 1, 2 }, seed = 1, size = "default" } })
    check.equal(results("--smoke --seed 7").results, { { x = 2.0, n = { 1, 2 }, seed = 7,
      size = "smoke" } })
    check.equal(results("--smoke x=4 n=[5..7]").results[1].n, { 5, 6, 7 })
    local full = results("--full")
    check.equal(full.seeds, { 1, 2, 3 })
    check.equal({ full.results[1].seed, full.results[3].seed, full.results[3].x }, { 1, 3, 3.0 })
    check.equal(#results("seeds=4..9").results, 6)
    -- the table can be committed: how it was made, where, when
    check.equal(full.command, "./moonlab run r.lua --full --out out")
    check.equal({ full.version, full.machine.cpu }, { ml.version().moonlab, ml.version().cpu })
    check.is_true(full.date:find "^%d%d%d%d%-%d%d%-%d%d$" ~= nil)
    check.equal(full.params.x, 3.0)
  end)
end

function T.test_dry_run_shows_what_would_run()
  in_folder(body("", "smoke = { x = 2 },"), function(dir)
    local out, status = program.run(dir, "run r.lua --smoke n=3 --dry-run")
    check.equal(status, 0)
    program.has(out, "x              2                --smoke   x (m)")
    program.has(out, "n              3                set here")
    program.has(out, "gives no estimate of memory and time")
    check.is_nil(lfs.attributes(dir .. "/runs", "mode"))
  end)
  in_folder(body("", "estimate = function(p) return { bytes = p.x * 2 ^ 50, seconds = 90 } end,"),
    function(dir)
    local out = program.run(dir, "run r.lua --dry-run")
    program.has(out, "memory about 1048576.0 GiB, time about 1m30s for each seed")
    local refused, status = program.run(dir, "run r.lua")
    program.has(refused, "are available; choose smaller parameters")
    check.equal(status, 1)
    check.equal(select(2, program.run(dir, "run r.lua x=0")), 0)
  end)
end

local steps = [[
    local first = ctx:once("first/half", function()
      local file = io.open("count", "a")
      file:write("x")
      file:close()
      return { t = ml.f64 { 1 / 3, 0 / 0 }, [7] = "seven", inf = 1 / 0 }
    end)
    for i = 1, 6 do
      ctx:log { step = i, loss = 1 / i, nan = 0 / 0 }
      if i == 4 and not io.open "marker" then
        io.open("marker", "w"):close()
        STOP
      end
    end
    return { t = first.t, seven = first[7], inf = first.inf, one = ml.f64 { 5 }:sum() }]]

local stops = {
  killed = [[os.execute("kill -9 " .. ml.system.process().pid)]],
  interrupted = [[io.popen("kill -INT " .. ml.system.process().pid):close() for _ = 1, 1e9 do end]],
  failed = [[error "no"]],
}

function T.test_a_run_that_stopped_continues_with_resume()
  for how, stop in pairs(stops) do
    in_folder(body((steps:gsub("STOP", function() return stop end)),
      [[claims = { { name = "sum", kind = "exact", expected = 1 / 3,
        measure = function(r) return r.t[1] end } },]]), function(dir)
      local _, status = program.run(dir, "run r.lua")
      check.equal(status, ({ killed = 137, interrupted = 130, failed = 1 })[how])
      local run = run_of(dir)
      check.equal((run:state()), how == "failed" and "failed" or "interrupted")
      local out
      out, status = program.run(dir, "run r.lua --resume")
      check.equal(status, 0)
      program.has(out, "shown         sum: 0.3333, wanted 0.3333 (exact; 1 seed)")
      check.equal(#ml.runs.ids(dir .. "/runs"), 1)
      check.equal(program.read(dir .. "/count"), "x")
      local records = run:records()
      check.equal(#records, 6) -- none twice
      for i, record in ipairs(records) do
        check.equal({ record.step, record.loss }, { i, 1 / i })
      end
      local r = run:results().results[1]
      check.equal({ r.seven, r.inf, r.one, r.t[1] }, { "seven", 1 / 0, 5.0, 1 / 3 })
      check.equal((run:state()), "done")
      -- a finished one is not run again; another configuration is another run
      program.run(dir, "run r.lua --resume x=2")
      check.equal(#ml.runs.ids(dir .. "/runs"), 2)
    end)
  end
end

function T.test_seeds_that_are_finished_are_not_run_again()
  in_folder(body([[
    local file = io.open("count", "a")
    file:write(p.seed, " ")
    file:close()
    ctx:log { loss = p.seed }
    if p.seed == 2 and not io.open "marker" then
      io.open("marker", "w"):close()
      error "no"
    end
    return { seed = p.seed }]], "full = {},"), function(dir)
    check.equal(select(2, program.run(dir, "run r.lua --full --out out")), 1)
    local out, status = program.run(dir, "run r.lua --full --out out --resume")
    check.equal(status, 0)
    program.has(out, "out/results.json is the table to commit")
    check.equal(program.read(dir .. "/count"), "1 2 2 3 ")
    check.equal(#ml.runs.open(dir .. "/out"):records(), 3)
    out, status = program.run(dir, "run r.lua --full --out out --resume")
    check.equal(status, 0)
    program.has(out, "out is finished (done)")
    check.equal(program.read(dir .. "/count"), "1 2 2 3 ")
    out, status = program.run(dir, "run r.lua --full --out out")
    check.equal(status, 2)
    program.has(out, "--resume continues it")
    out, status = program.run(dir, "run r.lua --full x=3 --out out --resume")
    check.equal(status, 2)
    program.has(out, "holds a run with another params")
  end)
end

function T.test_a_run_without_anything_to_resume_starts_anew()
  in_folder(body "return { a = 1 }", function(dir)
    check.equal(select(2, program.run(dir, "run r.lua --resume")), 0)
    check.equal(select(2, program.run(dir, "run r.lua --resume")), 0) -- the first is finished
    check.equal(#ml.runs.ids(dir .. "/runs"), 2)
    check.equal(select(2, program.run(dir, "run r.lua --resume --out new")), 0)
  end)
end

function T.test_a_diverged_run_is_a_result()
  in_folder(body([[return { loss = 0 / 0, state = "diverged", reason = "loss nan at step 3" }]],
    [[claims = { { name = "low", kind = "theory", at_most = 1,
        measure = function(r) return r.loss end } },]]),
    function(dir)
      local out, status = program.run(dir, "run r.lua")
      check.equal(status, 0)
      program.has(out, "inconclusive  low")
      program.has(out, "the run diverged")
      local state, message = run_of(dir):state()
      check.equal({ state, message }, { "diverged", "loss nan at step 3" })
    end)
end

function T.test_what_goes_wrong_in_a_recipe()
  local function fails(text, answers, status_wanted)
    in_folder(text, function(dir)
      local out, status = program.run(dir, "run r.lua")
      check.equal(status, status_wanted or 1)
      for _, part in ipairs(answers) do program.has(out, part) end
      check.is_nil(out:find("lua/moonlab/", 1, true)) -- none of our own lines
      if lfs.attributes(dir .. "/runs", "mode") then
        check.equal((run_of(dir):state()), "failed")
      end
    end)
  end
  fails("return recipe.define {", { "r.lua:1:" })
  fails("error 'at once'", { "r.lua:1: at once" })
  fails("return 3", { "r.lua returns a number, wanted recipe.define{...}" })
  fails(body "local t\n    return t.x.y", { "question failed: r.lua:9:", "r.lua:9 in field 'run'",
    "log.txt" })
  fails(body "return ml.scope(function() return ml.zeros{2}:matmul(ml.zeros{3}) end)",
    { "question failed: r.lua:8", "f64 [2]" })
  fails(body "return 3", { "run returned 3, wanted a table of results" })
  fails(body "error { code = 3 }", { "question failed: table" })
  fails(body("", "smoke = { xx = 1 },"), { "smoke: the recipe has no parameter 'xx'" })
  fails(body("", "smoke = { x = 11 },"), { "smoke: x is 11, wanted a number of 0 to 10 (m)" })
  fails(body("", "full = { seeds = { 1, 1 } },"), { "full.seeds has 1, wanted distinct integers" })
  fails(body("", "clams = {},"), { "unknown option 'clams'; did you mean 'claims'?" })
end

function T.test_what_a_careless_user_types()
  in_folder(body "return {}", function(dir)
    for words, answer in pairs {
      ["run r.lua y=1"] = "question has no parameter 'y'",
        ["run r.lua x=11"] = "x=11: wanted a number of 0 to 10 (m)",
      ["run r.lua x=much"] = "x=much: wanted a number",
        ["run r.lua n=1,b"] = "n=1,b: wanted a list of integers",
      ["run r.lua --full"] = "question has no --full size",
        ["run r.lua --smoke --full"] = "exclude each other",
      ["run r.lua --sed 3"] = "did you mean '--seed'?",
        ["run r.lua --seed x"] = "--seed x: wanted an integer",
      ["run r.lua --seed 1 seeds=1,2"] = "exclude each other",
        ["run r.lua seeds=a"] = "seeds=a: wanted",
      ["run r.lua --out"] = "--out needs a value", ["run r.lua --out r.lua"] = "r.lua",
      ["run nothing.lua"] = "there is no file nothing.lua", ["run"] = "usage",
    } do
      local out, status = program.run(dir, words)
      program.has(out, answer)
      if status == 0 then check.fail(words .. " succeeded") end
    end
    check.is_nil(lfs.attributes(dir .. "/runs", "mode"))
  end)
end

function T.test_usage_is_an_answer_when_asked_for()
  check.in_folder(function(dir)
    for _, command in ipairs { "run", "sweep" } do
      local out, status = program.run(dir, command .. " --help 2>/dev/null")
      program.has(out, "usage: ./moonlab " .. command)
      check.equal(status, 0)
      out, status = program.run(dir, command)
      program.has(out, "usage: ./moonlab " .. command)
      check.equal(status, 2)
    end
  end)
end

function T.test_two_writers_on_one_run()
  in_folder(body [[
    while require("lfs").attributes("hold", "mode") do ml.system.sleep(0.01) end
    return {}]], function(dir)
    program.write(dir .. "/hold", "")
    local first = ml.system.spawn { program.path, "run", "r.lua", "--out", "out", dir = dir,
      stdout = "null",
      stderr = "null" }
    while not lfs.attributes(dir .. "/out/config.json", "mode") do
      if first:wait(0.02) then check.fail "the first one ended at once" end
    end
    local out, status = program.run(dir, "run r.lua --out out --resume")
    check.equal(status, 2)
    program.has(out, "is being written by pid " .. first:pid())
    first:kill "kill"
    check.equal({ first:wait() }, { "signal", 9 })
    os.remove(dir .. "/hold")
    check.equal(select(2, program.run(dir, "run r.lua --out out --resume")), 0)
  end)
end

function T.test_what_is_printed_is_kept_in_the_log()
  in_folder(body [[print("one", 2) io.write("three\n") return {}]], function(dir)
    program.has(program.run(dir, "run r.lua"), "one\t2\nthree\n")
    check.equal(program.read(run_of(dir).dir .. "/log.txt"), "one\t2\nthree\n")
  end)
end

function T.test_modules_draw_from_the_seed_of_the_run() -- property
  in_folder(body [[return { w = ml.nn.Linear { 2, 1, bias = false }:parameters()[1]:sum() }]],
    function(dir)
    local function w(words)
      program.run(dir, "run r.lua " .. words)
      local list = {}
      for i, r in ipairs(run_of(dir):results().results) do list[i] = r.w end
      os.execute("rm -r '" .. dir .. "/runs'")
      return list
    end
    local several = w "seeds=1,2"
    check.is_true(several[1] ~= several[2])
    check.equal(w("seeds=2,1"), { several[2], several[1] })
    check.equal(w("--seed 2"), { several[2] })
  end)
end

function T.test_a_recipe_on_standard_input()
  in_folder(body [[return { a = 1 }]], function(dir)
    local out, status = program.run(dir, "run - --out out < r.lua")
    check.equal(status, 0)
    program.has(out, "kept in out")
  end)
end

return T
