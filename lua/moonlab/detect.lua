--- Detectors of what a model made up: examples with labels by look-up, scores without training,
--- trained detectors, and what they are worth.
local detector = require "moonlab.detect.detector"
local examples = require "moonlab.detect.examples"
local judging = require "moonlab.detect.judging"

require "moonlab.methods"("ml.detect.detector", detector.methods)

return { examples = examples.new, baselines = examples.baselines, train = detector.train,
  judge = judging.judge, methods = detector.methods }
