--- What several runs differ in, and one metric of all of them.
local core = require "moonlab.core"
local files = require "moonlab.runs.files"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local comparing = {}

local function flatten(t, prefix, out)
  for key, value in pairs(t) do
    local name = prefix .. tostring(key)
    if type(value) == "table" and next(value) ~= nil and #value == 0 then
      flatten(value, name .. ".", out)
    else
      out[name] = value
    end
  end
  return out
end

local function check_runs(where, list)
  for i, run in ipairs(list) do
    if options.describe(run) ~= "ml.run" then
      options.bad(where, 1, "entry %d is %s, wanted a run of ml.runs.open", i,
        options.describe(run))
    end
  end
end

--- ml.runs.difference(list)
--- The parameters in which runs differ; recipe, size and seeds count as well.
--- @param list table two or more runs of ml.runs.open
--- @return table list of { name =, values = { one for each run, nil where it has none } }, by name
--- @source -
function comparing.difference(list)
  options.argument("ml.runs.difference", 1, list, "table")
  check_runs("ml.runs.difference", list)
  local all, names = {}, {}
  for i, run in ipairs(list) do
    local config = run:config()
    all[i] = flatten(run:params(), "", {})
    for _, key in ipairs { "recipe", "size", "seed", "seeds", "revision", "dirty" } do
      all[i]["(" .. key .. ")"] = config[key]
    end
    for name in pairs(all[i]) do names[name] = true end
  end
  local out = {}
  for name in sorted(names) do
    local values, differ = {}, false
    for i = 1, #all do
      values[i] = all[i][name]
      differ = differ or not files.same(values[i], values[1])
    end
    if differ then out[#out + 1] = { name = name, values = values } end
  end
  return out
end

--- ml.runs.align(list, name, where)
--- One metric of several runs on common steps.
--- @param list table runs of ml.runs.open
--- @param name string the metric
--- @param where table =nil only records with these values
--- @return tensor, tensor the steps [n] f64, rising; the values [runs, n], NaN where a run has none
--- @source -
function comparing.align(list, name, where)
  if type(list) ~= "table" or #list == 0 then
    options.bad("ml.runs.align", 1, "wanted a list of at least one run")
  end
  options.argument("ml.runs.align", 2, name, "string")
  check_runs("ml.runs.align", list)
  local steps, seen, values = {}, {}, {}
  for i, run in ipairs(list) do
    values[i] = {}
    for _, record in ipairs((run:records(where))) do
      local step, value = record.step, record[name]
      if type(step) == "number" and step == step and type(value) == "number" then
        values[i][step] = value
        if not seen[step] then
          seen[step] = true
          steps[#steps + 1] = step
        end
      end
    end
  end
  table.sort(steps)
  if #steps == 0 then return core.zeros { 0 }, core.zeros { #list, 0 } end
  local rows, nan = {}, -(0 / 0)
  for i = 1, #list do
    rows[i] = {}
    for k, step in ipairs(steps) do rows[i][k] = values[i][step] or nan end
  end
  return core.f64(steps), core.f64(rows)
end

return comparing
