--- Solvable theory of kernel regression: what a spectrum says about learning.
local theory = { krr = require "moonlab.theory.krr" }

theory.methods = {}
return theory
