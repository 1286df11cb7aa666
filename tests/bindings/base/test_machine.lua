-- Threads, memory, version, files, help.
local ml = require "moonlab"
local core = require "moonlab.core"
local check = require "check"
local T = {}

function T.test_threads()
  local before = ml.threads()
  check.equal(ml.threads(2), 2)
  check.equal(ml.threads(), 2)
  ml.threads(before)
  check.raises("threads is 0, wanted 1..256", ml.threads, 0)
  check.raises("integer expected", ml.threads, "x")
end

function T.test_memory()
  collectgarbage()
  local before = ml.memory()
  local t = ml.zeros { 1 << 17 }
  local after = ml.memory()
  check.is_true(after.live - before.live >= 1 << 20)
  check.equal(after.live, ml.live_bytes())
  check.is_true(after.peak >= after.live)
  t:release()
  check.equal(ml.live_bytes(), before.live)
  check.is_true(ml.memory().cached >= 1 << 20)
  ml.trim_cache()
  check.equal(ml.memory().cached, 0)
end

function T.test_a_limit_is_an_error_with_a_way_on()
  local limit = ml.memory().limit
  ml.memory { limit = ml.live_bytes() + (8 << 20) }
  check.raises("out of memory", ml.zeros, { 4 << 20 })
  local small = ml.zeros { 1000 }
  check.equal(small:sum():item(), 0.0)
  -- garbage is collected before giving up
  for _ = 1, 20 do local _ = ml.zeros { 1 << 18 } end
  ml.memory { limit = 0 }
  check.is_true(ml.memory().limit >= limit // 2)
end

function T.test_a_steady_loop_asks_the_system_for_nothing()
  local x = ml.ones { 100, 100 }
  local function step() return (x:matmul(x) + 1):sum() end
  for _ = 1, 3 do ml.scope(step) end
  local before = ml.memory().system_allocations
  for _ = 1, 50 do ml.scope(step) end
  check.equal(ml.memory().system_allocations, before)
end

function T.test_version()
  local v = ml.version()
  check.is_true(v.moonlab:find "^%d+%.%d+" ~= nil)
  check.is_true(v.blas:find "OpenBLAS" ~= nil)
  check.is_true(v.simd == "portable" or v.simd == "avx2" or v.simd == "avx512")
  check.equal(v.threads, ml.threads())
  check.is_true(type(v.cpu) == "string" and type(v.thread_model) == "string")
end

function T.test_clocks_run()
  local a = ml.now()
  check.is_true(ml.now() >= a)
  check.is_true(ml.cpu_time() > 0)
  check.is_true(ml.peak_rss() > 1 << 20)
end

function T.test_matmul_precision()
  check.equal(ml.matmul_precision(), "highest")
  check.equal({ ml.matmul_precision "high" }, { "high", "f32" })
  local x = ml.rng(1):normal({ 40, 30 }, { dtype = "f32" })
  local y = ml.rng(2):normal({ 30, 20 }, { dtype = "f32" })
  local exact = x:matmul(y)
  local setting, now = ml.matmul_precision "medium"
  local far = (x:matmul(y) - exact):abs():max():item()
  check.equal({ ml.matmul_precision "highest" }, { "highest", "f32" })
  check.equal(setting, "medium")
  if now == "bf16" then
    check.is_true(far > 1e-4 and far < 0.2)
  else
    check.equal({ now, far }, { "f32", 0.0 })
  end
  check.equal((x:matmul(y) - exact):abs():max():item(), 0.0)
  check.raises("precision is \"low\"", ml.matmul_precision, "low")
end

function T.test_write_file()
  check.in_folder(function(dir)
    ml.write_file(dir .. "/a", "x\0y")
    local f = assert(io.open(dir .. "/a", "rb"))
    check.equal(f:read "a", "x\0y")
    f:close()
    ml.write_file(dir .. "/a", "")
    check.raises(dir .. "/no/a", ml.write_file, dir .. "/no/a", "x")
  end)
end

function T.test_cancel_is_one_catchable_error()
  local a = ml.ones { 600, 600 }
  core.testing.cancel()
  local ok, message = pcall(function() for _ = 1, 1000 do a:matmul(a) end end)
  check.is_false(ok)
  check.is_true(message:find("interrupted", 1, true) ~= nil)
  check.is_false(core.testing.cancelled())
  check.equal(a:matmul(a)[1][1], 600.0)
end

function T.test_every_function_has_help()
  local function walk(t, prefix)
    for name, f in pairs(t) do
      if type(f) == "function" then
        local text = core.help[f]
        if not text then check.fail("no help for " .. prefix .. name) end
        check.is_true(text:find("\n", 1, true) ~= nil)
        check.is_true(text:find("@source", 1, true) ~= nil)
      elseif type(f) == "table" and name ~= "help" then
        walk(f, prefix .. name .. ".")
      end
    end
  end
  walk(core, "")
  local meta = debug.getregistry()["ml.tensor"]
  for _, name in ipairs(meta.__dir) do
    if not core.help[meta.__methods[name]] then check.fail("no help for tensor:" .. name) end
  end
  check.is_true(#meta.__dir > 90)
  local sorted = { table.unpack(meta.__dir) }
  table.sort(sorted)
  check.equal(meta.__dir, sorted)
end

-- property; 320 MiB at once, nothing between
function T.test_a_step_with_large_temporaries_asks_the_system_for_nothing()
  local seen = {}
  for i = 1, 3 do
    ml.scope(function()
      local held = {} -- luacheck: ignore 241
      for k = 1, 10 do held[k] = ml.zeros { 4, 1024, 1024 } end
    end)
    seen[i] = ml.memory().system_allocations
  end
  check.equal(seen[3], seen[1])
  ml.trim_cache()
end

return T
