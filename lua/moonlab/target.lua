--- Models that can be asked: decoders of this process.
local lab = require "moonlab.target.local"

require "moonlab.methods"("ml.target", lab.methods)

return { local_lm = lab.new, methods = { lab.methods } }
