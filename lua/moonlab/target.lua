--- Models that can be asked: decoders of this process, and models behind HTTP.
local http = require "moonlab.target.http"
local lab = require "moonlab.target.local"

require "moonlab.methods"("ml.target", lab.methods)
require "moonlab.methods"("ml.target.http", http.methods)

return { local_lm = lab.new, http = http.new, methods = { lab.methods, http.methods } }
