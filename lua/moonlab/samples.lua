--- Reading of samples: lists of numbers or tensors, checked, with errors that point at the user's
--- line.
local core = require "moonlab.core"
local options = require "moonlab.options"

local samples = {}

--- Raises "bad argument #position to 'where' (text)"; position 0: an option or several arguments.
samples.fail = options.bad
local fail = samples.fail

local function shown(value)
  if value == nil then return "nothing" end
  if type(value) == "string" then return ("%q"):format(value) end
  if value ~= value then return "nan" end
  if type(value) == "number" then return ("%.14g"):format(value) end
  if core.is_tensor(value) then
    return ("a tensor of %d axes"):format(value:rank())
  end
  return "a " .. type(value)
end
samples.shown = shown

samples.nan = -(0 / 0) -- prints as nan, not -nan

local function is_finite(x) return x - x == 0 end
samples.is_finite = is_finite

-- finite: every entry; "infinite": NaN alone is refused; "any": nothing is.
local function check_entry(where, position, name, i, v, allow)
  if allow == "any" then return end
  if v ~= v or (allow ~= "infinite" and not is_finite(v)) then
    fail(where, position, "%s[%d] is %s, wanted %s", name, i, v ~= v and "nan" or shown(v),
      allow == "infinite" and "a number or an infinity" or "a finite number")
  end
end

--- A list of floats from a list of numbers (booleans count as 1 and 0) or a tensor [n]; the
--- argument is left alone.
--- allow: nil, finite numbers only; "infinite", infinities too; "any", NaN too.
function samples.list(where, position, name, value, allow)
  local source = value
  if core.is_tensor(value) then
    if value:rank() ~= 1 then
      fail(where, position, "%s is a tensor of %d axes, wanted a list of numbers or a tensor [n]",
        name, value:rank())
    end
    source = value:detach():totable()
  elseif type(value) ~= "table" or (#value == 0 and next(value) ~= nil) then
    fail(where, position, "%s is %s, wanted a list of numbers or a tensor [n]", name,
      type(value) == "table" and "a table without a first entry" or shown(value))
  end
  local out = {}
  for i = 1, #source do
    local v = source[i]
    if type(v) == "boolean" then v = v and 1 or 0 end
    if core.is_tensor(v) and v:rank() == 0 then v = v:item() end
    if type(v) ~= "number" then
      fail(where, position, "%s[%d] is %s, wanted a number", name, i, shown(v))
    end
    v = v + 0.0
    check_entry(where, position, name, i, v, allow)
    out[i] = v
  end
  return out
end

--- An f64 tensor [n, ...] off the tape, of finite numbers.
function samples.tensor(where, position, name, value)
  if core.is_tensor(value) then
    if value:rank() == 0 then
      fail(where, position, "%s is a tensor without axes, wanted [n] or [n, ...]", name)
    end
    local t = value:detach():to("f64")
    if t:isfinite():all():item() == 0 then
      if t:rank() == 1 then samples.list(where, position, name, t) end -- names the entry
      fail(where, position, "%s has entries that are not finite", name)
    end
    return t
  end
  return core.tensor(samples.list(where, position, name, value), { dtype = "f64" })
end

--- Raises when two lists differ in length.
function samples.same_length(where, name, x, other, y)
  if #x ~= #y then
    fail(where, 0, "%s and %s disagree: %d entries and %d", name, other, #x, #y)
  end
end

--- Labels as a list of booleans, from booleans, 0 and 1, or a tensor of them.
function samples.labels(where, position, name, value)
  local list = samples.list(where, position, name, value)
  for i, v in ipairs(list) do
    if v ~= 0 and v ~= 1 then
      fail(where, position, "%s[%d] is %.14g, wanted true, false, 0 or 1", name, i, v)
    end
    list[i] = v == 1
  end
  return list
end

--- Weights: nil, or a list of n finite numbers >= 0 that are not all 0.
function samples.weights(where, value, n)
  if value == nil then return nil end
  local list, total = samples.list(where, 0, "weights", value), 0
  if #list ~= n then fail(where, 0, "%d weights for %d points", #list, n) end
  for i, w in ipairs(list) do
    if w < 0 then fail(where, 0, "weights[%d] is %.14g, wanted >= 0", i, w) end
    total = total + w
  end
  if not (total > 0) then fail(where, 0, "every weight is 0") end
  return list
end

--- The option `level`, a probability strictly between 0 and 1.
function samples.level(where, value)
  if value == nil then return 0.95 end
  if type(value) ~= "number" or not (value > 0 and value < 1) then
    fail(where, 0, "the level is %s, wanted a number between 0 and 1", shown(value))
  end
  return value
end

--- The generator of a function that draws: opts.rng, or a fresh one from opts.seed (1).
function samples.rng(where, opts)
  if opts.rng ~= nil then
    if opts.seed ~= nil then fail(where, 0, "give seed or rng, not both") end
    local ok, state = pcall(function() return opts.rng:state() end)
    if not ok or type(state) ~= "table" then
      fail(where, 0, "option 'rng' is %s, wanted an ml.rng", shown(opts.rng))
    end
    return opts.rng
  end
  local seed = opts.seed == nil and 1 or opts.seed
  if math.type(seed) == nil or math.tointeger(seed) == nil then
    fail(where, 0, "option 'seed' is %s, wanted an integer", shown(seed))
  end
  return core.rng(math.tointeger(seed))
end

--- f at a number, at every entry of a list, or of a tensor [n]: results of the same kind, as many
--- as `count`.
function samples.map(where, x, count, f)
  if type(x) == "number" then return f(x + 0.0) end
  local list = samples.list(where, 1, "x", x)
  local out = {}
  for c = 1, count do out[c] = {} end
  for i, v in ipairs(list) do
    local a, b = f(v)
    out[1][i], out[count][i] = a, count == 2 and b or a
  end
  if core.is_tensor(x) then
    for c = 1, count do out[c] = core.tensor(out[c], { dtype = "f64" }) end
  end
  return table.unpack(out)
end

return samples
