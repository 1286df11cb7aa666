--- Sketches: short vectors whose inner products are, in the mean, those of long ones; and features
--- of the kernels of infinitely wide networks made of them.
local features = require "moonlab.sketch.features"
local primitives = require "moonlab.sketch.primitives"
local quality = require "moonlab.sketch.quality"

local sketch = {
  count_sketch = primitives.count_sketch, osnap = primitives.osnap, srht = primitives.srht,
  tensor_srht = primitives.tensor_srht, poly_sketch = primitives.poly_sketch,
  hadamard = primitives.hadamard, sparse = primitives.sparse,
  features = features.new, quality = quality.measure,
}

sketch.methods = { sketch = primitives.Sketch, features = features.Map }
return sketch
