-- Completion is a function of the line: what it finds, and that it runs nothing of the user's.
local check = require "check"
local ml = require "moonlab"
local program = require "program"
local show = require "moonlab.repl.show"
local T = {}

rawset(_G, "ml", ml) -- as at the prompt

local function has(line, word)
  for _, found in ipairs((ml.complete(line))) do
    if found == word then return end
  end
  check.fail(("%s: %s is not among %s"):format(line, word, table.concat(ml.complete(line), " ")))
end

local function with(name, value, f)
  rawset(_G, name, value)
  local ok, why = pcall(f)
  rawset(_G, name, nil)
  if not ok then error(why, 0) end
end

function T.test_what_a_word_can_become_and_where_it_begins()
  with("thing", { alpha = { beta = 1, ["two words"] = 2, bend = function() end }, [1] = { c = 1 },
    t = ml.zeros { 2 }, s = "text", net = ml.nn.Linear { 2, 3 } }, function()
    check.equal({ ml.complete "x = thing.al" }, { { "thing.alpha" }, 5 })
    check.equal({ ml.complete "f(thing.alpha.be" },
      { { "thing.alpha.bend", "thing.alpha.beta" }, 3 })
    check.equal({ ml.complete "thing.alpha:be" }, { { "thing.alpha:bend" }, 1 })
    check.equal({ ml.complete "thing['alpha'].bet" }, { { "thing['alpha'].beta" }, 1 })
    check.equal({ ml.complete "-thing[1]." }, { { "thing[1].c" }, 2 })
    check.equal({ ml.complete 'thing.alpha["two' }, { { 'two words"]' }, 14 })
    check.equal({ ml.complete "thing['al" }, { { "alpha']" }, 8 })
    check.equal({ ml.complete "thing.t:cums" }, { { "thing.t:cumsum" }, 1 })
    check.equal({ ml.complete "thing.s:rev" }, { { "thing.s:reverse" }, 1 })
    has("thing.net:nam", "thing.net:named_parameters")
    has("thi", "thing")
  end)
  check.equal({ ml.complete "ml.zer" }, { { "ml.zeros", "ml.zeros_like" }, 1 })
  has("ml.pl", "ml.plot")
  check.equal({ ml.complete "ml.stats.wil" }, { { "ml.stats.wilson" }, 1 })
  has("wh", "while")
  check.equal({ ml.complete "x = 1 -- ml.ze" }, { {}, 15 })
  check.equal({ ml.complete "nothing.of.that" }, { {}, 1 })
  check.equal({ ml.complete "12.3" }, { {}, 1 })
  check.equal(ml.complete "", ml.complete "x = ")
  check.raises("bad argument #1 to 'ml.complete'", ml.complete, 3)
end

function T.test_files_modules_and_parameters()
  check.in_folder(function(dir)
    os.execute(("mkdir '%s/a folder'"):format(dir))
    program.write(dir .. "/a file", "")
    check.equal((ml.complete(("ml.load('%s/a f"):format(dir))),
      { dir .. "/a file", dir .. "/a folder/" })
    check.equal((ml.complete("$ cat " .. dir .. "/a")), { dir .. "/a file", dir .. "/a folder/" })
    program.write(dir .. "/r.lua", [[error "is not run"
      return recipe.define { params = { -- a = 1
        width = { 8, "of what = 3" }, weight = { { x = 1 }, "kg" } }, run = 1 }]])
    check.equal((ml.complete(("ml.sweep { recipe = '%s/r.lua', grid = { w"):format(dir))),
      { "warn", "weight", "while", "width" })
  end)
  has("require 'moonlab.pl", "moonlab.plot")
  has('local m = require("moonlab.recipe.cat', "moonlab.recipe.catalogue")
  has('ml.sweep{ recipe = "proxy", grid = { ', "lr")
end

function T.test_it_runs_nothing_of_the_users()
  local function no() error "ran" end
  with("trap", setmetatable({ inner = 1 }, { __index = no, __pairs = no, __len = no, __eq = no,
    __tostring = no, __call = no, __name = "trap" }), function()
    check.equal((ml.complete "trap.in"), { "trap.inner" })
    check.equal((ml.complete "trap.missing.x"), {})
    check.equal((ml.complete "trap()."), {})
  end)
end

function T.test_values_as_they_are_shown()
  local itself = { 1 }
  itself[2] = itself
  for text, value in pairs {
    ["{}"] = {},
    ["{ 1, 2, a = \"x\\ny\", [\"b c\"] = true }"] = { 1, 2, a = "x\ny", ["b c"] = true },
    ["{ 1, { itself } }"] = itself, ["{ { { { ... } } } }"] = { { { { 1 } } } }, ["text"] = "text",
    ["{ f64 [3] ... }"] = { ml.zeros { 3 } }, ["nil"] = false } do
    check.equal(show.text(value or nil), text)
  end
  local long = {}
  for i = 1, 1000 do long[i] = i end
  local text = show.text(long)
  program.has(text, "... 960 more")
  check.is_true(#text < 400)
  program.has(show.text(setmetatable({}, { __tostring = function() error "no" end })),
    "whose __tostring failed")
  program.has(show.text { setmetatable({}, { __tostring = function() return "me" end }) }, "{ me }")
end

return T
