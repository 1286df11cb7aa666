--- Solvable theory of kernel regression: what a spectrum says about learning.
local options = require "moonlab.options"

return { krr = options.expose("ml.theory.krr", require "moonlab.theory.krr"),
  eigenspace = require "moonlab.theory.eigenspace" }
