--- Sketches: short vectors whose inner products are, in the mean, those of long ones.
local primitives = require "moonlab.sketch.primitives"

local sketch = {
  count_sketch = primitives.count_sketch, osnap = primitives.osnap, srht = primitives.srht,
  tensor_srht = primitives.tensor_srht, poly_sketch = primitives.poly_sketch,
  hadamard = primitives.hadamard, sparse = primitives.sparse,
}

sketch.methods = { sketch = primitives.Sketch }
return sketch
