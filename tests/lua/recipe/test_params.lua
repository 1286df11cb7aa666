-- Typed parameters: what a declaration allows, and what words give.
local check = require "check"
local params = require "moonlab.recipe.params"
local values = require "moonlab.recipe.values"
local T = {}

local specs = params.define("test", {
  lr = { 1e-3, "rate", min = 1e-6, max = 1, unit = "per update" },
  width = { 64, "width", min = 1 },
  decay = { 2, "decay", above = 1, integer = false },
  sizes = { { 64, 128 }, "sizes", min = 1 },
  rates = { { 1, 2.5 }, "rates" },
  names = { {}, "names", of = "a" },
  optimizer = { "adam", "optimizer", choices = { "adam", "sgd" } },
  deep = { true, "flag" },
})

local function value(name, text) return (values.parse(specs[name], text)) end
local function wanted(name, text) return select(2, values.parse(specs[name], text)) end
local function points(name, text) return (values.points(specs[name], text)) end

function T.test_words_become_values_of_the_declared_type() -- analytic
  check.equal(value("lr", "1e-2"), 0.01)
  check.equal(math.type(value("lr", "1")), "float")
  check.equal(math.type(value("width", "1e2")), "integer")
  check.equal(value("decay", "3"), 3.0)
  check.equal(value("deep", "false"), false)
  check.equal(value("sizes", "1,2,3"), { 1, 2, 3 })
  check.equal(value("sizes", "[8..10,32:128:x2]"), { 8, 9, 10, 32, 64, 128 })
  check.equal(value("rates", "1,2"), { 1.0, 2.0 })
  check.equal(value("names", "a,b c"), { "a", "b c" })
  check.equal(value("names", "[]"), {})
end

function T.test_what_was_wanted_is_said()
  for text, words in pairs {
    ["lr=2"] = "a number of 1e-06 to 1 (per update)", ["lr=fast"] = "a number",
      ["lr=nan"] = "a number",
    ["width=0"] = "an integer >= 1", ["width=1.5"] = "an integer", ["width="] = "an integer",
    ["decay=1"] = "a number > 1", ["sizes=1,x"] = "a list of integers >= 1, like 64,128",
    ["optimizer=adm"] = "did you mean 'adam'?", ["deep=yes"] = "true or false",
    ["sizes=9..3"] = "ranges: 1..3",
  } do
    local name, given = text:match "^(%w+)=(.*)$"
    check.is_nil(value(name, given))
    local said = wanted(name, given)
    if not said:find(words, 1, true) then check.fail(text .. " says: " .. said) end
  end
end

function T.test_ranges_and_brackets_in_sweeps() -- analytic
  check.equal(points("lr", "1e-4:1e-1:x10"), { 1e-4, 1e-3, 1e-2, 1e-1 })
  check.equal(points("width", "32:256:x2"), { 32, 64, 128, 256 })
  check.equal(points("width", "1..3,7,10:20:5"), { 1, 2, 3, 7, 10, 15, 20 })
  check.equal(points("decay", "1.5:2.5:+0.25"), { 1.5, 1.75, 2.0, 2.25, 2.5 })
  check.equal(points("sizes", "[64,128],[64,256]"), { { 64, 128 }, { 64, 256 } })
  check.equal(points("sizes", "[1..3],[]"), { { 1, 2, 3 }, {} })
  check.equal(points("lr", "1e-4~1e-1"), { low = 1e-4, high = 1e-1 })
  for _, text in ipairs { "32:256:x1", "32:256", "256:32:x2", "1...3", "10:100:x1.5", "1..1e9",
    "~2", "a~b" } do
    check.is_nil(points("width", text))
  end
  check.is_nil(points("sizes", "64,128"))
  check.is_nil(points("lr", "1~0.5"))
end

function T.test_shown_values_read_back_as_they_were() -- property
  for _, x in ipairs { 0.1, 1 / 3, 1e-300, 123456789.125, 2 ^ 53, 1e22, 5.0 } do
    check.equal(tonumber(params.show(x)) + 0.0, x)
  end
end

function T.test_declarations_that_make_no_sense()
  for message, entry in pairs {
    ["wanted { default, \"meaning\" }"] = { 3 },
    ["unknown option 'mini'; did you mean 'min'?"] = { 3, "x", mini = 2 },
    ["the default is 3, wanted an integer >= 4"] = { 3, "x", min = 4 },
    ["an empty list needs of"] = { {}, "x" },
    ["the default is a function"] = { print, "x" },
    ["wanted a number, for a parameter that is one"] = { "a", "x", min = 4 },
    ["one of a, b"] = { "c", "x", choices = { "a", "b" } },
  } do
    check.raises(message, params.define, "test", { x = entry })
  end
  check.raises("the frame's own word", params.define, "test", { seeds = { 1, "x" } })
  check.equal(params.define("test", {}).seed.default, 1)
end

return T
