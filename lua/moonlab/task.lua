--- Tasks: generators of problems with verifiers of solutions.
local arithmetic = require "moonlab.task.arithmetic"

local task = { arithmetic = arithmetic.new, methods = arithmetic.methods }
require "moonlab.methods"("ml.task.arithmetic", arithmetic.methods)
return task
