-- A recipe that changes between two starts of a sweep: what the old code computed is told, and is
-- run anew on demand.
local check = require "check"
local ml = require "moonlab"
local program = require "program"
local T = {}

local function recipe_with(formula)
  return ([[
--- A question.
local ml, recipe = require "moonlab", require "moonlab.recipe"
return recipe.define { name = "changing", minimize = "loss",
  params = { x = { 1, "x" }, stop = { false, "whether" } },
  run = function(p, ctx)
    local loss = ctx:once("loss", function() return %s end)
    if p.stop then error "stopped" end
    return { loss = loss }
  end }
]]):format(formula)
end

local function in_folder(f)
  check.in_folder(function(dir)
    program.write(dir .. "/r.lua", recipe_with "p.x")
    f(dir)
  end)
end

function T.test_a_sweep_tells_what_other_code_computed()
  in_folder(function(dir)
    local out = program.run(dir, "sweep r.lua x=1..3 --workers 1")
    check.is_nil(out:find "has changed")
    program.write(dir .. "/r.lua", recipe_with "10 * p.x")
    out = program.run(dir, "sweep r.lua x=1..4 --workers 1")
    program.has(out, "changing has changed since 3 of them ran")
    program.has(out, "best: x=1, loss 1\n")
    -- anew: the old ones are kept under another id, what is of this code is not repeated
    local last = ml.runs.list { store = dir .. "/runs", params = { x = 4 } }[1]
    local out_anew, status = program.run(dir, "sweep r.lua x=1..4 --workers 2 --rerun-changed")
    check.equal(status, 0)
    check.is_nil(out_anew:find "has changed")
    program.has(out_anew, "best: x=1, loss 10\n")
    check.equal(ml.runs.list { store = dir .. "/runs", params = { x = 4 } }[1].started,
      last.started)
    local old = ml.runs.list { store = dir .. "/runs", params = { x = 2 } }
    check.equal(#old, 2)
    local losses = {}
    for _, row in ipairs(old) do
      local run = ml.runs.open(row.id, { store = dir .. "/runs" })
      check.equal(run:config().id, row.id)
      losses[row.id:find "%-old1$" and "old" or "new"] = run:results().results[1].loss
    end
    check.equal(losses, { old = 2, new = 20 })
  end)
end

function T.test_a_sweep_from_lua_says_which_and_runs_them_anew()
  in_folder(function(dir)
    local o = { recipe = dir .. "/r.lua", store = dir .. "/runs", quiet = true,
      grid = { x = { 1, 2 } } }
    check.is_true(not ml.sweep(o).runs[1].changed)
    program.write(dir .. "/r.lua", recipe_with "p.x + 1")
    o.grid.x[3] = 3
    local s = ml.sweep(o)
    check.equal({ s.runs[1].changed, s.runs[2].changed, s.runs[3].changed }, { true, true, false })
    o.rerun_changed = true
    check.equal(ml.sweep(o):column "loss", ml.f64 { 2, 3, 4 })
    o.rerun_changed = "yes"
    check.raises("rerun_changed", ml.sweep, o)
  end)
end

function T.test_resume_tells_that_the_code_is_another()
  in_folder(function(dir)
    program.run(dir, "run r.lua stop=true --out kept")
    check.is_nil(program.run(dir, "run r.lua stop=true --out kept --resume"):find "has changed")
    program.write(dir .. "/r.lua", recipe_with "10 * p.x")
    program.has(program.run(dir, "run r.lua stop=true --out kept --resume"),
      "changing has changed since this run began")
    -- the newest unfinished run of the same words is found although the code is another
    program.run(dir, "run r.lua stop=true x=2")
    program.write(dir .. "/r.lua", recipe_with "11 * p.x")
    program.has(program.run(dir, "run r.lua stop=true x=2 --resume"), "changing has changed since")
    check.equal(#ml.runs.ids(dir .. "/runs"), 1)
  end)
end

return T
