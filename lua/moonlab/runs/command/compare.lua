--- ./moonlab runs compare ID ID...: what runs differ in, their last values, their curves.
local common = require "moonlab.runs.command.common"
local display = require "moonlab.progress.display"
local plot = require "moonlab.plot"
local runs = require "moonlab.runs"
local sorted = require "moonlab.sorted"

local function wanted_metrics(o, all)
  local names
  for _, pair in ipairs(o.pairs) do
    if pair[1] ~= "metric" then
      common.quit(2, "unknown word '%s='%s", pair[1], common.hint(pair[1], { "metric" }))
    end
    names = names or {}
    for name in pair[2]:gmatch "[^,]+" do
      if not all[name] then
        local known = {}
        for found in sorted(all) do known[#known + 1] = found end
        common.quit(1, "no run has a metric '%s'%s", name, common.hint(name, known))
      end
      names[#names + 1] = name
    end
  end
  return names
end

-- The points of one run's metric: where it has a step, over steps, else over the count.
local function curve(run, name)
  local x, y = {}, {}
  for _, record in ipairs((run:records())) do
    if type(record[name]) == "number" then
      y[#y + 1] = record[name]
      x[#x + 1] = type(record.step) == "number" and record.step or #y
    end
  end
  return x, y
end

local function all_positive(series)
  local low, high = math.huge, 0
  for _, s in ipairs(series) do
    for _, v in ipairs(s.y) do
      if not (v > 0) and v == v then return false end
      if v == v and v < math.huge then low, high = math.min(low, v), math.max(high, v) end
    end
  end
  return high > 20 * low
end

local function draw(list, name)
  local series = {}
  for _, run in ipairs(list) do
    local x, y = curve(run, name)
    if #y > 1 then series[#series + 1] = { x = x, y = y, label = run.id } end
  end
  if #series == 0 then return end
  local logarithmic = all_positive(series) and "y" or ""
  local figure = plot.lines { series = series, log = logarithmic, title = name, xlabel = "step" }
  print(figure:text(72, 14, { color = display.color }))
end

--- ./moonlab runs compare ID ID...
return function(o)
  common.need(o, 2, 20, "compare ID ID...")
  local list, header = {}, { "" }
  for i, word in ipairs(o.words) do
    local dir, id = common.find(word, o)
    list[i] = runs.open(dir)
    header[i + 1] = id
  end
  local rows = { header, { "state" }, { "took" } }
  for _, run in ipairs(list) do
    local state, _, status = run:state()
    table.insert(rows[2], state)
    table.insert(rows[3], common.duration(status.seconds))
  end
  for _, entry in ipairs(runs.difference(list)) do
    local row = { entry.name }
    for i = 1, #list do row[i + 1] = common.show(entry.values[i]) end
    rows[#rows + 1] = row
  end
  common.print_table(rows)
  if #rows == 3 then print "the parameters are the same" end

  local all, last = {}, {}
  for i, run in ipairs(list) do
    last[i] = {}
    for _, record in ipairs((run:records())) do
      for key, value in pairs(record) do
        if type(value) == "number" and key ~= "step" then all[key], last[i][key] = true, value end
      end
    end
  end
  local names = wanted_metrics(o, all)
  rows = { header }
  for name in sorted(all) do
    local row = { name }
    for i = 1, #list do row[i + 1] = common.show(last[i][name]) end
    rows[#rows + 1] = row
  end
  if #rows == 1 then return 0 end
  print "\nlast values"
  common.print_table(rows)
  if not names then -- what all have, the loss first
    names = {}
    for name in sorted(all) do
      local shared = true
      for i = 1, #list do shared = shared and last[i][name] ~= nil end
      if shared then table.insert(names, name:find "loss" and 1 or #names + 1, name) end
    end
    for i = 4, #names do names[i] = nil end
  end
  for _, name in ipairs(names) do
    print()
    draw(list, name)
  end
  return 0
end
