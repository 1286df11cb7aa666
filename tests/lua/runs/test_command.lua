-- ./moonlab runs: list, show, compare, tag, note, delete, reindex, and what a careless user types.
local check = require "check"
local ml = require "moonlab"
local program = require "program"
local T = {}

local function in_store(f)
  check.in_folder(function(dir)
    for i, id in ipairs { "one", "two" } do
      local run = ml.runs.create { store = dir .. "/runs", id = id, recipe = "r", seed = i,
        size = "smoke", params = { lr = i / 100, name = "x y" } }
      for step = 1, 4 do
        run:log { step = step, loss = i / step, extra = i == 1 and step or nil }
      end
      run:results { results = { { loss = 0 / 0 } } }
      run:finish(i == 1 and "done" or "diverged", i == 2 and "loss nan" or nil)
    end
    f(dir)
  end)
end

local function says(dir, words, status, ...)
  local out, found = program.run(dir, words)
  for _, part in ipairs { ... } do program.has(out, part) end
  check.equal(found, status)
  return out
end

function T.test_list_and_its_filters()
  in_store(function(dir)
    local out = says(dir, "runs", 0, "one  done      r       smoke", "lr=0.02 name=x y")
    check.equal(out:match "^%S+", "id")
    check.equal(select(2, out:gsub("\n", "")), 3)
    for words, id in pairs { ["lr=0.02"] = "two", ["seed=1"] = "one", ["state=diverged"] = "two",
      ["recipe=r lr=0.01"] = "one" } do
      out = says(dir, "runs " .. words, 0)
      check.equal(out:match "\n(%S+)", id)
      check.equal(select(2, out:gsub("\n", "")), 2)
    end
    says(dir, "runs size=full", 0, "no runs in runs like these")
    says(dir, "runs --out nowhere", 0, "no runs in nowhere")
  end)
end

function T.test_show_and_compare()
  in_store(function(dir)
    says(dir, "runs show two", 0, "two  diverged (loss nan)", "recipe         r", "lr",
      "metrics (4 records)", "loss    4       2      0.5    2         0.5", "threads", "cpu")
    local out = says(dir, "runs compare one two", 0, "lr", "0.01  0.02", "(seed)  1", "loss   0.25",
      "     step", " two\n", " one\n")
    check.is_nil(out:find("name", 1, true)) -- what is the same is not shown
    says(dir, "runs compare one two metric=extra", 0, "extra")
    says(dir, "runs compare one two metric=los", 1, "no run has a metric 'los'", "mean 'loss'")
    says(dir, "runs compare one", 2, "wanted: ./moonlab runs compare ID ID...")
  end)
end

function T.test_labels_and_delete()
  in_store(function(dir)
    says(dir, "runs tag one good 2nd", 0, "one  2nd,good")
    says(dir, "runs untag one god", 1, "one has no tag 'god'; did you mean 'good'?")
    says(dir, "runs untag one 2nd", 0, "one  good")
    says(dir, "runs tag=good", 0, "one")
    says(dir, "runs note one lr=1 is best", 0, "lr=1 is best")
    says(dir, "runs note o", 0, "lr=1 is best")
    says(dir, "runs show one", 0, "tags           good", "note           lr=1 is best")
    says(dir, "runs delete one </dev/null", 1, "delete one?", "nothing deleted")
    says(dir, "runs delete one two --yes", 0, "deleted one\ndeleted two")
    says(dir, "runs", 0, "no runs in runs")
  end)
end

function T.test_what_a_careless_user_types()
  in_store(function(dir)
    for words, answer in pairs {
      ["runs shw one"] = "runs has no command 'shw'; did you mean 'show'?",
      ["runs show on1"] = "no run is called 'on1' in runs; did you mean 'one'?",
      ["runs show ../.."] = "no run is called '../..'",
      ["runs show"] = "wanted: ./moonlab runs show",
      ["runs state=dne"] = "did you mean 'done'?", ["runs seed=x"] = "wanted an integer",
      ["runs lrr=1"] = "no run has a parameter 'lrr'; did you mean 'lr'?",
      ["runs --ot x"] = "did you mean '--out'?", ["runs tag one a,b"] = "wanted a word without",
      ["runs delete ../../etc --yes"] = "no run is called", ["runs show ''"] = "expected, got",
    } do
      local out, status = program.run(dir, words)
      program.has(out, answer)
      check.is_true(status ~= 0)
      check.is_nil(out:find("traceback", 1, true))
    end
    says(dir, "runs --help", 0, "usage: ./moonlab runs")
    check.equal(#ml.runs.ids(dir .. "/runs"), 2)
  end)
end

return T
