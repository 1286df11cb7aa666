-- ml.json: exact numbers, arrays and objects, refusals.
local ml = require "moonlab"
local check = require "check"
local json = ml.json
local T = {}

function T.test_numbers_are_exact()
  local t = json.decode('[1, -0, 1.0, 1e2, 9007199254740993, 9223372036854775807, '
    .. '-9223372036854775808, 0.1, 1.5e-300]')
  local kinds = {}
  for i, v in ipairs(t) do kinds[i] = math.type(v) end
  check.equal(kinds, { "integer", "integer", "float", "float", "integer", "integer", "integer",
    "float", "float" })
  check.equal(t[5], 9007199254740993)
  check.equal(t[6], math.maxinteger)
  check.equal(t[7], math.mininteger)
  for _, v in ipairs { 0.1, 1 / 3, 1e300, 5e-324, -0.0, 3.0, 2 ^ 53, math.pi } do
    local back = json.decode(json.encode(v))
    check.equal(math.type(back), "float")
    check.is_true(back == v and 1 / back == 1 / v)
  end
  check.equal(json.encode(0.1), "0.10000000000000001")
  check.equal(json.encode(3.0), "3.0")
  check.equal(json.encode(math.mininteger), "-9223372036854775808")
end

function T.test_structure()
  check.equal(json.encode { b = 1, a = { 1, 2 }, c = {} }, '{"a":[1,2],"b":1,"c":{}}')
  check.equal(json.encode({ a = { 1 } }, { indent = 1 }), '{\n "a": [\n  1\n ]\n}')
  check.equal(json.encode(json.array {}), "[]")
  check.equal(json.encode(json.decode "[]"), "[]")
  check.equal(json.encode(json.decode '{"a":{}}'), '{"a":{}}')
  check.equal(json.encode(nil), "null")
  check.equal(json.encode(json.null), "null")
  check.equal(json.encode { true, false, "x" }, '[true,false,"x"]')
end

function T.test_null_is_absent_in_objects_and_stands_in_arrays()
  local t = json.decode '{"a": null, "b": [1, null, 3]}'
  check.is_nil(t.a)
  check.is_nil(next(t, "b"))
  check.is_true(t.b[2] == json.null)
  check.equal(#t.b, 3)
  check.equal(json.encode(t), '{"b":[1,null,3]}')
  check.is_nil(json.decode "null")
end

function T.test_strings()
  local s = "a\"b\\c\n\t\0\1\u{e9}\u{1F600}/"
  check.equal(json.decode(json.encode(s)), s)
  check.equal(json.encode "\1\0", '"\\u0001\\u0000"')
  check.equal(json.decode '"\\ud83d\\ude00"', "\u{1F600}")
  check.raises("value is no valid UTF-8", json.encode, "\xff")
  check.raises("value.a is no valid UTF-8", json.encode, { a = "\xc3" })
  check.raises("no valid UTF-8", json.encode, "\xed\xa0\x80") -- a surrogate
  check.equal(json.encode("a\xffb", { invalid = "replace" }), '"a\u{FFFD}b"')
end

function T.test_what_json_cannot_hold()
  check.raises("value.loss[2] is nan, which JSON cannot hold", json.encode, { loss = { 1, 0 / 0 } })
  check.raises("value is inf", json.encode, math.huge)
  check.equal(json.encode({ 0 / 0, -math.huge }, { nan = "null" }), "[null,null]")
  check.equal(json.encode({ 0 / 0, -math.huge }, { nan = "string" }), '["nan","-inf"]')
  check.raises("value.f is function", json.encode, { f = print })
  check.raises("write its t:totable()", json.encode, { ml.ones { 2 } })
  check.raises("mixes positions and names", json.encode, { 1, a = 2 })
  check.raises("has the key number 3", json.encode, { [3] = 1 })
  check.raises("has the key boolean", json.encode, { [true] = 1 })
  local cyclic = {}
  cyclic.x = cyclic
  check.raises("it may hold itself", json.encode, cyclic)
  check.raises("unknown option 'indnet'; did you mean 'indent'?", json.encode, 1, { indnet = 2 })
end

function T.test_malformed_text_names_the_place()
  check.raises("line 2, column", json.decode, "{\n]")
  check.raises("bad argument #1 to 'decode'", json.decode, "")
  check.raises("end of file expected", json.decode, "1 2")
  check.raises("too big integer", json.decode, "9223372036854775808")
  check.raises("bad argument", json.decode, ("["):rep(100000))
  check.raises("string expected, got no value", json.decode)
end

function T.test_files()
  check.in_folder(function(dir)
    local path = dir .. "/a.json"
    local value, why = json.read(path)
    check.is_nil(value)
    check.equal(why, path .. ": no such file")
    json.write(path, { a = 1, b = { 0.5 } })
    check.equal(json.read(path), { a = 1, b = { 0.5 } })
    check.raises("value.x is nan", json.write, path, { x = 0 / 0 })
    check.equal(json.read(path).a, 1) -- the old file is whole
    ml.write_file(path, "{")
    check.raises(path .. ": line 1", json.read, path)
    ml.write_file(path, "")
    check.raises(path, json.read, path)
    check.raises("no/a.json", json.write, dir .. "/no/a.json", 1)
    check.raises(dir, json.read, dir)
    local names = {}
    for name in require("lfs").dir(dir) do
      if name:sub(1, 1) ~= "." or #name > 2 then names[#names + 1] = name end
    end
    check.equal(names, { "a.json" }) -- nothing half-written stays
  end)
end

function T.test_no_leak()
  local core = require "moonlab.core"
  collectgarbage()
  local before = core.testing.alloc_count()
  pcall(json.encode, { 1, { a = 0 / 0 } })
  collectgarbage()
  check.equal(core.testing.alloc_count(), before)
  for k = 1, 5 do
    core.testing.inject_alloc_failure(k)
    pcall(json.encode, { ("x"):rep(10000) })
    core.testing.inject_alloc_failure(0)
    collectgarbage()
    check.equal(core.testing.alloc_count(), before)
  end
end

-- property: with { nan = "exact" } every number and every text comes back, keys stay as they are
function T.test_exact_gives_back_every_value()
  local inf = math.huge
  local wanted = { "nan", "inf", "-inf", "'nan", "''-inf", "infinity", "-nan", "'", "", "NaN",
    inf, -inf, 1.0, 1, -0.0, true, { nan = "nan", inf = { -inf } } }
  local text = json.encode(wanted, { nan = "exact" })
  check.equal(json.decode(text, { nan = "exact" }), wanted)
  check.equal(json.encode({ 0 / 0, inf, -inf, "inf" }, { nan = "exact" }),
    [=[["nan","inf","-inf","'inf"]]=])
  local back = json.decode('{"nan":"nan"}', { nan = "exact" })
  check.is_true(back.nan ~= back.nan)
  check.equal(json.decode('["nan","\'inf"]'), { "nan", "'inf" }) -- only where it is asked for
  check.in_folder(function(dir)
    json.write(dir .. "/x.json", { a = -inf, b = "-inf" }, { nan = "exact" })
    check.equal(json.read(dir .. "/x.json", { nan = "exact" }), { a = -inf, b = "-inf" })
    check.equal(json.read(dir .. "/x.json"), { a = "-inf", b = "'-inf" })
  end)
  check.raises("unknown option 'nann'; did you mean 'nan'?", json.decode, "1", { nann = "exact" })
  check.raises("option 'nan'", json.read, "x", { nan = "exakt" })
end

return T
