--- Tasks: generators of problems with verifiers of solutions.
local base = require "moonlab.task.base"
local methods = require "moonlab.methods"
local programs = require "moonlab.task.programs"

methods("ml.task", base.Task)
methods("ml.task.programs", programs.methods)
return { arithmetic = require "moonlab.task.arithmetic",
  equations = require "moonlab.task.equations", programs = programs.new,
  methods = { base.Task, programs.methods } }
