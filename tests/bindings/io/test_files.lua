-- ml.save and ml.load.
local ml = require "moonlab"
local check = require "check"
local T = {}

local function everything()
  return { a = ml.f64 { { 1, 2 }, { 3, 4 } }, b = ml.f32 { 0.5 }, ids = ml.index { 1, 5 },
    mask = ml.u8 { 0, 255 }, scalar = ml.tensor(3), empty = ml.zeros { 0, 2 },
    view = ml.arange(6):reshape({ 2, 3 }):transpose() }
end

local function check_same(found, wanted)
  for name, t in pairs(wanted) do check.equal(found[name], t:contiguous()) end
  for name in pairs(found) do check.is_true(wanted[name] ~= nil) end
end

function T.test_safetensors_round_trip()
  check.in_folder(function(dir)
    local path, t = dir .. "/w.safetensors", everything()
    ml.save(path, t, { metadata = { note = "hello", step = "3" } })
    local found, metadata = ml.load(path)
    check_same(found, t)
    check.equal(metadata, { note = "hello", step = "3" })
    ml.save(path, {})
    check.equal(ml.load(path), {})
  end)
end

function T.test_npz_and_npy_round_trip()
  check.in_folder(function(dir)
    local t = everything()
    ml.save(dir .. "/d.npz", t)
    check_same(ml.load(dir .. "/d.npz"), t)
    ml.save(dir .. "/d.npy", t.view)
    check.equal(ml.load(dir .. "/d.npy"), t.view:contiguous())
    check.equal(ml.load(dir .. "/d.npy", { as = "f32" }):dtype(), "f32")
    ml.save(dir .. "/i.npy", t.ids)
    check.equal(ml.load(dir .. "/i.npy"):totable(), { 1, 5 })
    check.equal(ml.load(dir .. "/i.npy", { as = "f64" }):totable(), { 0, 4 }) -- as stored: 0-based
  end)
end

function T.test_a_tensor_without_a_name_stays_in_its_table()
  check.in_folder(function(dir)
    for _, ending in ipairs { "safetensors", "npz" } do
      local path = dir .. "/t." .. ending
      ml.save(path, { [""] = ml.f64 { 1, 2 } })
      local found = ml.load(path)
      check.equal(type(found), "table")
      check.equal(found[""], ml.f64 { 1, 2 })
    end
  end)
end

function T.test_parameters_are_saved_as_values()
  check.in_folder(function(dir)
    local w = ml.param(ml.f64 { 1, 2 })
    ml.save(dir .. "/w.safetensors", { w = w, y = w * 2 })
    local found = ml.load(dir .. "/w.safetensors")
    check.is_false(found.w:on_tape())
    check.equal(found.y:totable(), { 2, 4 })
  end)
end

function T.test_refusals()
  check.in_folder(function(dir)
    local t = { a = ml.ones { 2 } }
    check.raises("ends in .safetensors, .npz or .npy", ml.save, dir .. "/w.bin", t)
    check.raises("entry 'b' is number 3, wanted a tensor", ml.save, dir .. "/w.safetensors",
      { b = 3 })
    check.raises("holds the key number 1", ml.save, dir .. "/w.safetensors", { ml.ones { 1 } })
    check.raises("tensor expected, got table", ml.save, dir .. "/w.npy", t)
    check.raises("only safetensors files hold it", ml.save, dir .. "/w.npz", t, { metadata = {} })
    check.raises("'k' is a number, wanted a string", ml.save, dir .. "/w.safetensors", t,
      { metadata = { k = 1 } })
    check.raises("no/w.safetensors", ml.save, dir .. "/no/w.safetensors", t)
    check.raises("did you mean 'metadata'?", ml.save, dir .. "/w.safetensors", t, { metdata = {} })
    local found, why = ml.load(dir .. "/none.npy")
    check.is_nil(found)
    check.is_true(why:find("no such file", 1, true) ~= nil)
    ml.write_file(dir .. "/bad.safetensors", "\255\255\255\255\255\255\255\127{}")
    check.raises("bad.safetensors", ml.load, dir .. "/bad.safetensors")
    ml.write_file(dir .. "/empty.npy", "")
    check.raises("empty.npy", ml.load, dir .. "/empty.npy")
    ml.save(dir .. "/w.safetensors", t)
    local f = assert(io.open(dir .. "/w.safetensors", "rb"))
    local bytes = f:read "a"
    f:close()
    for n = 0, #bytes - 1, 5 do
      ml.write_file(dir .. "/cut.safetensors", bytes:sub(1, n))
      check.raises("cut.safetensors", ml.load, dir .. "/cut.safetensors")
    end
    check.raises("unknown choice \"f16\"", ml.load, dir .. "/w.safetensors", { as = "f16" })
  end)
end

function T.test_no_leak()
  check.in_folder(function(dir)
    local t = everything()
    check.no_leak(function()
      ml.save(dir .. "/w.safetensors", t, { metadata = { a = "b" } })
      ml.load(dir .. "/w.safetensors")
      ml.save(dir .. "/w.npz", t)
      ml.load(dir .. "/w.npz")
    end)
  end)
end

return T
