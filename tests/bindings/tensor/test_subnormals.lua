-- Numbers below the least normal one in products.
local ml = require "moonlab"
local check = require "check"
local lu = require "luaunit"
local T = {}

-- Every shape of product: few and many rows, long sums, transposed operands.
function T.test_f32_products_take_subnormals_as_zero() -- property
  if not ml.version().cpu_features:find "sse" then -- elsewhere they are what they are
    lu.skip "subnormals are taken as zero on x86 only"
  end
  for _, shape in ipairs { { 16, 64, 48 }, { 256, 128, 512 }, { 13, 4096, 17 } } do
    local m, k, n = table.unpack(shape)
    local a = ml.ones { m, k, dtype = "f32" } * 1e-40
    local b = ml.ones { k, n, dtype = "f32" }
    check.close(a:matmul(b):abs():max():item(), 0)
    check.close(b:transpose():matmul(a:transpose()):abs():max():item(), 0)
    check.close((a + 1):matmul(b):max():item(), k)
    check.close((ml.ones { 2 } * 1e-310):sum():item(), 2e-310) -- and nothing else changes
  end
end

function T.test_f64_products_keep_them() -- property
  local a = ml.ones { 64, 64 } * 1e-310
  check.close(a:matmul(ml.eye(64)), a, { rtol = 1e-12 })
end

return T
