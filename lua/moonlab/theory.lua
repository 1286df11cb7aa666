--- Solvable theory of kernel regression: what a spectrum says about learning.
return { krr = require "moonlab.theory.krr", eigenspace = require "moonlab.theory.eigenspace" }
