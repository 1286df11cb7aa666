-- Runs from Lua: what is recorded, one writer, states, metrics, labels, names that are hostile.
local check = require "check"
local lfs = require "lfs"
local ml = require "moonlab"
local program = require "program"
local T = {}

local nan, inf = 0 / 0, 1 / 0

-- f(store, create): create(id, more) makes a run of the store.
local function in_store(f)
  check.in_folder(function(dir)
    local store = dir .. "/runs"
    f(store, function(id, more)
      local o = { store = store, id = id, recipe = "r", params = {} }
      for key, value in pairs(more or {}) do o[key] = value end
      return ml.runs.create(o)
    end, dir)
  end)
end

function T.test_what_is_recorded()
  in_store(function(store, create)
    local run = create("a", { params = { lr = 1e-3, n = { 1, 2 } }, seed = 7, size = "smoke" })
    run:finish("diverged", "loss nan at step 3")
    local kept = ml.runs.open("a", { store = store })
    local config, v = kept:config(), ml.version()
    check.equal(kept:params(), { lr = 1e-3, n = { 1, 2 } })
    check.equal({ config.recipe, config.size, config.seed, config.id }, { "r", "smoke", 7, "a" })
    check.equal({ config.version, config.threads, config.cpu, config.cpu_features, config.simd,
      config.matmul_precision },
      { v.moonlab, v.threads, v.cpu, v.cpu_features, v.simd, "highest" })
    check.is_true(config.host ~= nil and #config.cpu_features > 0)
    if config.revision then check.is_true(config.revision:find "^%x+$" ~= nil) end
    local state, message, status = kept:state()
    check.equal({ state, message }, { "diverged", "loss nan at step 3" })
    local form = "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$"
    check.is_true(status.started:find(form) ~= nil and status.ended:find(form) ~= nil)
    check.is_true(status.seconds >= 0)
    check.equal(#status.sessions, 1)
  end)
end

function T.test_nan_and_infinity_survive() -- and texts that read like them
  in_store(function(store, create)
    local odd = { a = nan, b = inf, c = -inf, d = "nan", e = "'inf", f = { g = { nan, "-inf" } } }
    local run = create("a", { params = odd })
    local losses = { nan, inf, -inf, 0.1, 2 ^ 53 + 1 }
    for i, loss in ipairs(losses) do run:log { step = i, loss = loss } end
    run:log { step = 6, text = "nan" }
    run:results { results = { { loss = nan, best = -inf, word = "inf" } } }
    run:finish "done"
    local kept = ml.runs.open("a", { store = store })
    local p = kept:params()
    check.equal({ p.a ~= p.a, p.b, p.c, p.d, p.e, p.f.g[1] ~= p.f.g[1], p.f.g[2] },
      { true, inf, -inf, "nan", "'inf", true, "-inf" })
    check.equal(kept:metrics("loss").loss, ml.f64(losses))
    check.equal(kept:records()[6].text, "nan")
    local r = kept:results().results[1]
    check.equal({ r.loss ~= r.loss, r.best, r.word }, { true, -inf, "inf" })
    check.equal(#ml.runs.list { store = store, params = { a = nan, d = "nan" } }, 1)
    check.equal(#ml.runs.list { store = store, params = { a = "nan" } }, 0)
    local again, word = ml.runs.claim { store = store, id = "a", recipe = "r", params = odd }
    check.equal({ again, word }, { nil, "done" }) -- NaN is the same as NaN
  end)
end

function T.test_a_run_has_one_writer()
  in_store(function(store, create)
    local run = create "a"
    run:log { step = 1 }
    check.raises("a holds a run already", create, "a")
    check.raises("is being written by pid", ml.runs.resume, "a", { store = store })
    check.raises("is being written by pid", ml.runs.delete, "a", { store = store })
    local other, word, why = ml.runs.claim { store = store, id = "a", recipe = "r", params = {} }
    check.equal({ other, word }, { nil, "busy" })
    program.has(why, "is being written by pid")
    local reader = ml.runs.open("a", { store = store })
    check.raises("open for reading only", reader.log, reader, { step = 2 })
    check.equal((reader:state()), "running")
    run:close()
    check.equal((reader:state()), "interrupted")
    check.raises("open for reading only", run.log, run, { step = 2 })
    -- it goes on where it was, in a second session
    local resumed = ml.runs.resume("a", { store = store })
    resumed:log { step = 2 }
    resumed:finish "done"
    check.equal(#reader:records(), 2)
    check.equal(#select(3, reader:state()).sessions, 2)
    check.raises("a is finished (done)", ml.runs.resume, "a", { store = store })
    check.raises("holds a run with another params", ml.runs.claim,
      { store = store, id = "a", recipe = "r", params = { x = 1 } })
  end)
end

function T.test_of_processes_that_claim_one_run_one_gets_it()
  check.in_folder(function(dir)
    program.write(dir .. "/claim.lua", [[
local ml = require "moonlab"
local run, word = ml.runs.claim { id = "one", recipe = "r", params = { x = 1 } }
if not run then print(word) return end
local file = io.open("got", "a")
file:write "x"
file:close()
ml.system.sleep(0.3)
run:finish "done"]])
    local children = {}
    for i = 1, 6 do
      children[i] = ml.system.spawn { program.path, "claim.lua", dir = dir,
        stdout = ">>" .. dir .. "/out", stderr = "stdout" }
    end
    for _, child in ipairs(children) do check.equal({ child:wait() }, { "exit", 0 }) end
    check.equal(program.read(dir .. "/got"), "x")
    check.equal((ml.runs.open("one", { store = dir .. "/runs" }):state()), "done")
  end)
end

function T.test_a_killed_run_is_interrupted_and_loses_no_line()
  check.in_folder(function(dir)
    program.write(dir .. "/die.lua", [[
local ml = require "moonlab"
local run = ml.runs.create { id = "a", recipe = "r", params = {} }
for i = 1, 100 do run:log { step = i, loss = 1 / i } end
run:write "text\n"
os.execute("kill -9 " .. ml.system.process().pid)]])
    program.run(dir, "die.lua")
    local run = ml.runs.open("a", { store = dir .. "/runs" })
    local state, why = run:state()
    check.equal(state, "interrupted")
    program.has(why, "its process ended without a word")
    check.equal(#run:records(), 100)
    check.equal(program.read(run.dir .. "/log.txt"), "text\n")
    -- the last line was torn: it goes, and the next one starts a line
    local file = io.open(run.dir .. "/metrics.jsonl", "a")
    file:write '{"step":101,"lo'
    file:close()
    check.equal(#run:records(), 100)
    local resumed = ml.runs.resume("a", { store = dir .. "/runs" })
    check.equal(resumed:cut(60), 40)
    resumed:log { step = 61, loss = 0.5 }
    resumed:finish "done"
    local records, damaged = run:records()
    check.equal({ #records, damaged, records[61].loss }, { 61, 0, 0.5 })
  end)
end

function T.test_cut_takes_back_what_is_past_a_step()
  in_store(function(_, create)
    local run = create "a"
    for step = 1, 5 do
      for seed = 1, 2 do run:log { step = step, seed = seed } end
    end
    run:log { text = "no step" }
    check.equal(run:cut(3, { seed = 2 }), 2)
    check.equal(#run:records { seed = 1 }, 5)
    check.equal(#run:records { seed = 2 }, 3)
    check.equal(run:cut(-1), 8)
    check.equal(#run:records(), 1)
    run:log { step = 1 }
    check.equal(#run:records(), 2)
    check.raises("number expected", run.cut, run, "x")
    run:close()
  end)
end

function T.test_metrics_are_columns_by_step()
  in_store(function(_, create)
    local run = create "a"
    run:log { step = 1, loss = 3 }
    run:log { step = 1, eval = 5, kind = "eval" }
    run:log { step = 2, loss = 2 }
    run:log { step = 2, loss = 2.5 } -- logged twice: a row of its own
    run:log { word = "x" }
    local m, rows = run:metrics()
    check.equal(rows, 3)
    check.equal(m.step, ml.f64 { 1, 2, 2 })
    check.equal(m.loss, ml.f64 { 3, 2, 2.5 })
    check.equal(m.eval, ml.f64 { 5, nan, nan })
    check.equal(run:metrics("eval").step, ml.f64 { 1 })
    check.equal(run:metrics(nil, { kind = "eval" }).eval, ml.f64 { 5 })
    check.equal(run:metrics { "none" }, {})
    run:close()
  end)
end

function T.test_difference_and_common_steps()
  in_store(function(store, create)
    local a = create("a", { params = { lr = 1, deep = { x = 1, y = 2 }, same = nan }, seed = 1 })
    local b = create("b", { params = { lr = 2, deep = { x = 1 }, same = nan }, seed = 1 })
    for step = 1, 3 do a:log { step = step, loss = step } end
    for step = 2, 4 do b:log { step = step, loss = -step } end
    local found = ml.runs.difference { a, b }
    check.equal({ #found, found[1].name, found[2].name }, { 2, "deep.y", "lr" })
    check.equal({ found[1].values[1], found[1].values[2], found[2].values[2] }, { 2, nil, 2 })
    local steps, values = ml.runs.align({ a, b }, "loss")
    check.equal(steps, ml.f64 { 1, 2, 3, 4 })
    check.equal(values, ml.f64 { { 1, 2, 3, nan }, { nan, -2, -3, -4 } })
    check.raises("wanted a list of at least one run", ml.runs.align, {}, "loss")
    check.raises("entry 2 is 3, wanted a run", ml.runs.difference, { a, 3 })
    a:close()
    b:close()
    check.equal(#ml.runs.ids(store), 2)
  end)
end

function T.test_labels_may_change_while_it_is_written()
  in_store(function(store, create)
    local run = create("a", { tags = { "x" } })
    local other = ml.runs.open("a", { store = store })
    other:tag "good"
    other:tag "good"
    other:note "two\nlines"
    check.equal(run:tags(), { "good", "x" })
    check.equal(run:note(), "two\nlines")
    check.equal({ other:untag "x", other:untag "x" }, { true, false })
    check.equal(#ml.runs.list { store = store, tag = "good" }, 1)
    check.equal(#ml.runs.list { store = store, tag = "x" }, 0)
    other:note ""
    check.is_nil(run:note())
    for _, tag in ipairs { "", "a b", "a,b", "a\n", 3 } do
      check.raises("wanted a word without spaces and commas", other.tag, other, tag)
    end
    run:close()
  end)
end

function T.test_hostile_names_stay_in_the_store()
  in_store(function(store, create, dir)
    for _, id in ipairs { "../x", "/etc/x", "a/b", "", ".", "..", "-rf", "a b", "é", "a\0b",
      ("a"):rep(121) } do
      check.raises("wanted letters, digits, '.', '-' and '_'", create, id)
    end
    local run = ml.runs.create { store = store, recipe = "../../x y", params = {} }
    check.equal(run.dir, store .. "/" .. run.id)
    for _, name in ipairs { "../x", "a/b", "", ".hidden", "a\0b" } do
      check.raises("wanted the name of a file", run.artifact, run, name)
      check.raises("wanted the name of a file", run.checkpoint, run, name)
    end
    run:finish "done"
    for _, word in ipairs { "../..", "../runs/none", "/", "." } do
      check.raises("no run is called", ml.runs.delete, word, { store = store })
    end
    for _, file in ipairs { "config.json", "state.json" } do -- what others may have written
      program.write(run.dir .. "/" .. file, "[[[")
    end
    check.equal(#ml.runs.list { store = store }, 1)
    check.equal(ml.runs.open(run.id, { store = store }):params(), {})
    lfs.link(dir, store .. "/link", true) -- a link out of the store is not followed by delete
    program.write(dir .. "/config.json", "{}")
    check.raises("is a link to a folder elsewhere", ml.runs.delete, "link", { store = store })
    check.raises("params.f is function", create, "f", { params = { f = print } })
    check.is_nil(lfs.attributes(store .. "/f", "mode"))
  end)
end

function T.test_arguments_that_make_no_sense()
  in_store(function(store, create)
    local run = create "a"
    check.raises("bad argument #1 to 'run:log' (table expected, got 3)", run.log, run, 3)
    check.raises("a list, wanted names with values", run.log, run, { 1, 2 })
    check.raises("bad argument #1 to 'run:log'", run.log, run, { f = print })
    check.raises("wanted \"done\", \"diverged\"", run.finish, run, "dne")
    check.raises("unknown option 'recpe'; did you mean 'recipe'", ml.runs.create, { recpe = "x" })
    check.raises("option 'id' or 'dir' is missing", ml.runs.claim, { store = store })
    check.raises("did you mean 'done'", ml.runs.list, { store = store, state = "dne" })
    check.raises("did you mean 'a'", ml.runs.open, "A", { store = store })
    check.equal(#run:records(), 0)
    run:close()
  end)
end

return T
