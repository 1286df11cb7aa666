--- ./moonlab runs: the runs of a store, one a line.
local common = require "moonlab.runs.command.common"
local display = require "moonlab.progress.display"
local errors = require "moonlab.recipe.errors"
local interrupt = require "moonlab.interrupt"
local runs = require "moonlab.runs"
local sorted = require "moonlab.sorted"

local plain_filters = { recipe = true, state = true, tag = true, size = true }

local function params_text(params)
  local parts = {}
  for key, value in sorted(params) do parts[#parts + 1] = key .. "=" .. common.show(value) end
  return table.concat(parts, " ")
end

local function day_and_time(text)
  local day, time = (text or ""):match "^(%d+%-%d+%-%d+)T(%d+:%d+)"
  return day and day .. " " .. time or "-"
end

-- Whether a parameter is what was typed: as a number when both are, else as text.
local function typed_equal(found, text)
  if found == nil then return false end
  local number = tonumber(text)
  if text == "nan" or text == "inf" or text == "-inf" then
    number = ({ nan = 0 / 0, inf = math.huge, ["-inf"] = -math.huge })[text]
  end
  if type(found) == "number" and number then
    return found == number or (found ~= found and number ~= number)
  end
  return common.show(found) == text
end

--- ./moonlab runs [key=value ...]
return function(o)
  local wanted, params = { store = o.store }, {}
  for _, pair in ipairs(o.pairs) do
    local key, value = pair[1], pair[2]
    if plain_filters[key] then
      wanted[key] = value
    elseif key == "seed" then
      wanted.seed = math.tointeger(tonumber(value))
      if not wanted.seed then common.quit(2, "seed=%s: wanted an integer", value) end
    else
      params[#params + 1] = pair
    end
  end
  local ok, found = interrupt.try(runs.list, wanted)
  if not ok then common.quit(2, "%s", errors.plain(found)) end
  local rows = {
    { "id", "state", "recipe", "size", "started (UTC)", "took", "tags", "parameters" },
  }
  local names, parameters = {}, 0
  for _, row in ipairs(found) do
    local passes = true
    for _, pair in ipairs(params) do
      passes = passes and typed_equal(row.params[pair[1]], pair[2])
    end
    for name in pairs(row.params) do
      if not names[name] then names[name], parameters = true, parameters + 1 end
    end
    if passes then
      rows[#rows + 1] = { row.id, row.state, row.recipe or "-", row.size or "-",
        day_and_time(row.started), common.duration(row.seconds),
        #row.tags > 0 and table.concat(row.tags, ",") or "-", params_text(row.params) }
    end
  end
  for _, pair in ipairs(params) do
    if #found > 0 and not names[pair[1]] then
      local known = { "recipe", "state", "tag", "size", "seed" }
      for name in sorted(names) do known[#known + 1] = name end
      common.quit(2, "no run has a parameter '%s'%s", pair[1], common.hint(pair[1], known))
    end
  end
  if #rows == 1 then
    print(("no runs in %s%s"):format(o.store or runs.store(), #o.pairs > 0 and " like these" or ""))
    return 0
  end
  common.print_table(rows, display.width())
  return 0
end
