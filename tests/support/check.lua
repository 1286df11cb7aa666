-- Assertions that tests share. Every failure prints what was found.
local ml = require "moonlab"
local lu = require "luaunit"
local check = {}

local function is_tensor(x)
  return type(x) == "userdata" and getmetatable(x) and x.totable ~= nil
end

local function flatten(x, out)
  if is_tensor(x) then x = x:rank() == 0 and x:item() or x:totable() end
  if type(x) == "table" then
    for _, v in ipairs(x) do flatten(v, out) end
  else
    out[#out + 1] = x
  end
  return out
end

--- found and wanted (numbers, nested tables or tensors) agree entry by entry: |a - b| <= atol +
--- rtol |b|.
function check.close(found, wanted, options)
  options = options or {}
  local rtol, atol = options.rtol or 1e-12, options.atol or 0
  local a, b = flatten(found, {}), flatten(wanted, {})
  if #a ~= #b then lu.fail(("%d entries, wanted %d"):format(#a, #b), 2) end
  local worst, at = -1, nil
  for i = 1, #a do
    local excess
    if a[i] ~= a[i] or b[i] ~= b[i] then
      excess = (a[i] ~= a[i] and b[i] ~= b[i]) and 0 or math.huge
    elseif a[i] == b[i] then
      excess = 0
    else
      excess = math.abs(a[i] - b[i]) - (atol + rtol * math.abs(b[i]))
      if excess ~= excess then excess = math.huge end
    end
    if excess > worst then worst, at = excess, i end
  end
  if worst > 0 then
    lu.fail(("entry %d is %.17g, wanted %.17g (rtol %g, atol %g)"):format(at, a[at], b[at], rtol,
      atol), 2)
  end
end

--- Same type and value; tensors: same dtype, shape and entries.
function check.equal(found, wanted)
  if is_tensor(found) and is_tensor(wanted) then
    if not found:equal(wanted) then
      lu.fail("tensors differ:\n" .. tostring(found) .. "\nwanted\n" .. tostring(wanted), 2)
    end
    return
  end
  if is_tensor(found) then found = found:totable() end
  lu.assertEquals(found, wanted)
end

check.is_true = lu.assertTrue
check.is_false = lu.assertFalse
check.is_nil = lu.assertNil
check.fail = lu.fail

--- f(...) raises an error whose text has `pattern` in it (plain text, not a Lua pattern). Returns
--- the text.
function check.raises(pattern, f, ...)
  local ok, message = pcall(f, ...)
  if ok then lu.fail("no error raised, wanted one with: " .. pattern, 2) end
  message = tostring(message)
  if not message:find(pattern, 1, true) then
    lu.fail("the error says:\n  " .. message .. "\nwanted in it:\n  " .. pattern, 2)
  end
  return message
end

local function collect()
  collectgarbage()
  collectgarbage()
end

--- f() leaves no live bytes behind, also when its k-th allocation fails, for every k up to the
--- number it makes.
function check.no_leak(f, options)
  local limit = options and options.limit or 400
  f() -- caches and lazily built tables
  collect()
  local base = ml.live_bytes()
  f()
  collect()
  if ml.live_bytes() ~= base then lu.fail(("%d bytes leaked"):format(ml.live_bytes() - base), 2) end
  local testing = require("moonlab.core").testing
  testing.inject_alloc_failure(0)
  f()
  local count = testing.inject_count()
  local step = math.max(1, count // limit)
  for k = 1, count, step do
    collect()
    testing.inject_alloc_failure(k)
    pcall(f)
    testing.inject_alloc_failure(0)
    collect()
    if ml.live_bytes() ~= base then
      lu.fail(("%d bytes leaked after allocation %d failed"):format(ml.live_bytes() - base, k), 2)
    end
  end
end

--- A fresh folder that is removed after f(path).
function check.in_folder(f)
  local path = os.tmpname()
  os.remove(path)
  assert(require("lfs").mkdir(path))
  local ok, message = pcall(f, path)
  os.execute("rm -rf '" .. path .. "'")
  if not ok then error(message, 0) end
end

return check
