--- Tasks: generators of problems with verifiers of solutions.
local arithmetic = require "moonlab.task.arithmetic"
local programs = require "moonlab.task.programs"

local methods = require "moonlab.methods"
methods("ml.task.arithmetic", arithmetic.methods)
methods("ml.task.programs", programs.methods)
return { arithmetic = arithmetic.new, programs = programs.new,
  methods = { arithmetic.methods, programs.methods } }
