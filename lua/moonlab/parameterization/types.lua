--- What the tensors of a model are to a parameterization: embedding, hidden or readout.
local options = require "moonlab.options"
local exponents = require "moonlab.parameterization.exponents"
local sorted = require "moonlab.sorted"

local types = {}

local function decoder_type(name)
  if name == "head" then return "readout" end
  if name:find "%.attn%.w[qkvo]$" or name:find "%.mlp%.w[12]$" then return "hidden" end
  return "embedding"
end

-- By shape: which sides grow with the width.
local function type_by_shape(where, name, t, width)
  local shape = t:shape()
  if #shape < 2 then return "embedding" end
  local rows, columns = shape[1], shape[#shape]
  for i = 2, #shape - 1 do rows = rows * shape[i] end
  local grows_in, grows_out = rows % width == 0, columns % width == 0
  if grows_in and grows_out then return "hidden" end
  if grows_out then return "embedding" end
  if grows_in then return "readout" end
  options.bad(where, 0, "the type of '%s' [%s] cannot be told at width %d: give types = { [\"%s\"] "
    .. "= \"hidden\" } (or embedding, readout)", name, table.concat(shape, "x"), width, name)
end

--- The value of the longest pattern in `overrides` that is found in `name`; plain text.
function types.override(overrides, name)
  local found, length
  for pattern, value in sorted(overrides) do
    if name:find(pattern, 1, true) and not (length and length >= #pattern) then
      found, length = value, #pattern
    end
  end
  return found
end

function types.check(where, given, names)
  for pattern, kind in sorted(given) do
    options.choice(where, { ["types." .. tostring(pattern)] = kind }, "types."
      .. tostring(pattern), exponents.types)
    local known = false
    for name in pairs(names) do known = known or name:find(pattern, 1, true) ~= nil end
    if not known then
      options.bad(where, 0, "option 'types': no parameter's name has %q in it", pattern)
    end
  end
end

--- name -> type of every parameter; `given` are the user's, by a part of the name.
function types.of(where, parameters, width, config, given)
  types.check(where, given, parameters)
  local found = {}
  for name, t in sorted(parameters) do
    local kind = types.override(given, name)
    if not kind and config and config.tied and name == "tokens" then
      options.bad(where, 0, "the head is tied to 'tokens', which is embedding and readout at once: "
        .. "say which learning rate and initial scale it gets, types = { tokens = \"embedding\" } "
        .. "or \"readout\"")
    end
    found[name] = kind or (config and decoder_type(name))
      or type_by_shape(where, name, t, width)
  end
  return found
end

return types
