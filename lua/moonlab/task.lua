--- Tasks: generators of problems with verifiers of solutions.
local base = require "moonlab.task.base"

local task = { arithmetic = require "moonlab.task.arithmetic",
  equations = require "moonlab.task.equations", methods = base.Task }
require "moonlab.methods"("ml.task", base.Task)
return task
