-- The nearest name to a word, as all messages find it.
local ml = require "moonlab"
local check = require "check"
local T = {}

function T.test_nearest()
  check.equal(ml.text.nearest("wdith", { "depth", "width" }), "width")
  check.equal(ml.text.nearest("WIDTH", { "depth", "width" }), "width")
  check.is_true(ml.text.nearest("momentum", { "depth", "width" }) == nil)
  check.is_true(ml.text.nearest("width", {}) == nil)
end

function T.test_errors()
  check.raises("bad argument #2 to 'nearest' (table of names expected", ml.text.nearest, "a", "b")
  check.raises("name 2 is a boolean, wanted a string", ml.text.nearest, "a", { "b", true })
end

return T
