--- What the functions that resample share: their options and their samples.
local options = require "moonlab.options"
local samples = require "moonlab.samples"

local draws = {}
local fail = samples.fail

--- Positions drawn at once; with n points 2^20 // n resamples. Part of what a seed means.
draws.block = 1 << 20

--- The option resamples, or its default.
function draws.resample_count(where, opts, default)
  local count = options.field(where, opts, "resamples", "integer", default)
  if not (count >= 1 and count <= 10000000) then
    fail(where, 0, "option 'resamples' is %d, wanted 1 to 10000000", count)
  end
  return count
end

--- Two samples of numbers, of at least `least` entries each.
function draws.read_pair(where, a, b, least)
  a, b = samples.tensor(where, 1, "a", a), samples.tensor(where, 2, "b", b)
  for position, t in ipairs { a, b } do
    if t:rank() ~= 1 then
      fail(where, position, "a tensor of %d axes, wanted a list of numbers or a tensor [n]",
        t:rank())
    end
    if t:size(1) < least then
      fail(where, position, "%d entries, wanted at least %d", t:size(1), least)
    end
  end
  return a, b
end

--- Raises unless the two have as many entries.
function draws.same_size(where, a, b)
  if a:size(1) ~= b:size(1) then
    fail(where, 0, "a and b disagree: %d entries and %d", a:size(1), b:size(1))
  end
end

return draws
