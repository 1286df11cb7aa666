--- ./moonlab runs show ID: all that is known of one run.
local common = require "moonlab.runs.command.common"
local runs = require "moonlab.runs"
local sorted = require "moonlab.sorted"

local function tree(value, indent)
  for key, v in sorted(value) do
    if type(v) == "table" and next(v) ~= nil and (#v == 0 or type(v[1]) == "table") then
      print(("%s%s"):format(indent, tostring(key)))
      tree(v, indent .. "  ")
    else
      print(("%s%-14s %s"):format(indent, tostring(key), common.show(v)))
    end
  end
end

-- First, least, greatest and last of every metric.
local function print_metrics(run)
  local found = {}
  local records, damaged = run:records()
  for _, record in ipairs(records) do
    for name, v in pairs(record) do
      if type(v) == "number" and name ~= "step" then
        local m = found[name] or { first = v, least = math.huge, greatest = -math.huge, count = 0 }
        m.last, m.count = v, m.count + 1
        if v < m.least then m.least = v end
        if v > m.greatest then m.greatest = v end
        found[name] = m
      end
    end
  end
  local rows = { { "  metric", "values", "first", "least", "greatest", "last" } }
  for name, m in sorted(found) do
    if not (m.least <= m.greatest) then m.least, m.greatest = 0 / 0, 0 / 0 end -- all are NaN
    rows[#rows + 1] = { "  " .. name, tostring(m.count), common.show(m.first),
      common.show(m.least), common.show(m.greatest), common.show(m.last) }
  end
  if #rows > 1 then
    print(("\nmetrics (%d records)"):format(#records))
    common.print_table(rows)
  end
  if damaged > 0 then
    print(("  %d damaged line%s left out"):format(damaged, damaged == 1 and "" or "s"))
  end
end

--- ./moonlab runs show ID
return function(o)
  common.no_pairs(o)
  common.need(o, 1, 1, "show ID")
  local dir, id = common.find(o.words[1], o)
  local run = runs.open(dir)
  local config = run:config()
  local state, message, status = run:state()
  print(("%s  %s%s"):format(id, state, message and " (" .. message:gsub("%s+$", "") .. ")" or ""))
  print(("  folder         %s"):format(dir))
  for _, key in ipairs { "recipe", "size", "seed", "seeds" } do
    if config[key] ~= nil then print(("  %-14s %s"):format(key, common.show(config[key]))) end
  end
  print(("  started        %s"):format(common.show(status.started or config.started)))
  if status.ended then print(("  ended          %s"):format(common.show(status.ended))) end
  if status.seconds then print(("  took           %s"):format(common.duration(status.seconds))) end
  local revision = type(config.revision) == "string" and ", revision " .. config.revision:sub(1, 12)
  print(("  code           moonlab %s%s%s"):format(common.show(config.version), revision or "",
    config.dirty == true and ", files changed since" or ""))
  for _, key in ipairs { "host", "threads", "cpu", "simd", "blas" } do
    if config[key] ~= nil then print(("  %-14s %s"):format(key, common.show(config[key]))) end
  end
  local sessions = type(status.sessions) == "table" and #status.sessions or 0
  if sessions > 1 then print(("  sessions       %d"):format(sessions)) end
  local tags, note = run:tags(), run:note()
  if #tags > 0 then print(("  tags           %s"):format(table.concat(tags, ", "))) end
  if note then print(("  note           %s"):format((note:gsub("\n", "\n                 ")))) end
  if next(run:params()) then
    print "\nparameters"
    tree(run:params(), "  ")
  end
  print_metrics(run)
  local results = run:results()
  if results then
    print "\nresults"
    tree(results, "  ")
  end
  return 0
end
