--- ./moonlab scale: sizes of a ladder with their parameterization, before anything is trained.
local core = require "moonlab.core"
local options = require "moonlab.options"
local parameterization = require "moonlab.parameterization"
local presets = require "moonlab.proxies.presets"
local run = require "moonlab.proxies.run"

local scale = {}

local usage = [[
usage: ./moonlab scale [SIZE ...] [name=mup] [align=full] [optimizer=adamw] [base_width=32]
  SIZE is S0 to S4, or depth x width like 2x64; all of S0 to S4 when none is given]]

local numbers = { base_width = true }

local function read(words)
  local sizes, o = {}, { name = "standard", optimizer = "adamw" }
  for _, word in ipairs(words) do
    local key, value = word:match "^([%w_]+)=(.+)$"
    if key then
      if key ~= "name" and key ~= "align" and key ~= "optimizer" and key ~= "base_width" then
        local near = options.nearest(key, { "name", "align", "optimizer", "base_width" })
        return nil, ("unknown option '%s'%s"):format(key,
          near and ("; did you mean '" .. near .. "'?") or "")
      end
      o[key] = numbers[key] and (math.tointeger(tonumber(value)) or value) or value
    else
      local depth, why = presets.size(word)
      if not depth then return nil, why end
      sizes[#sizes + 1] = word
    end
  end
  if #sizes == 0 then sizes = { "S0", "S1", "S2", "S3", "S4" } end
  return sizes, o
end

--- The command; the result is the exit status.
function scale.command(...)
  local sizes, o = read { ... }
  if not sizes then
    io.stderr:write("moonlab: ", o, "\n", usage, "\n")
    return 2
  end
  print(("%-6s %6s %6s %6s %12s %14s %10s"):format("size", "depth", "width", "heads",
    "parameters", "with embedding", "Adam, MB"))
  local tables = {}
  for i, size in ipairs(sizes) do
    local config = run.config({ size = size, head_width = 16, qk_norm = false, kappa = 0,
      scale = o.name == "muparam_full" and "1/d_head" or "1/sqrt(d_head)", seed = 1 }, 64, 32)
    local lm = core.transformer(config)
    local n, all = presets.count(lm:config())
    print(("%-6s %6d %6d %6d %12d %14d %10.2f"):format(size, config.depth, config.width,
      config.heads, n, all, all * 16 / 1e6))
    local base = o.base_width or config.width
    local ok, found = pcall(parameterization, lm, { name = o.name, align = o.align,
      optimizer = o.optimizer, base_width = base })
    if not ok then
      io.stderr:write("moonlab: ", size, ": ", tostring(found), "\n")
      return 2
    end
    tables[i] = tostring(found)
  end
  for i, size in ipairs(sizes) do print(("\n%s\n%s"):format(size, tables[i])) end
  return 0
end

return scale
