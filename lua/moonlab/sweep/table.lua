--- The table of a sweep: a row per point, columns of parameters and results, the best point.
local best_point = require "moonlab.sweep.best"
local columns = require "moonlab.sweep.columns"
local core = require "moonlab.core"
local adaptive = require "moonlab.sweep.adaptive"
local options = require "moonlab.options"
local params = require "moonlab.recipe.params"
local sorted = require "moonlab.sorted"

local Sweep = {}
Sweep.__index = Sweep
Sweep.__name = "ml.sweep"

local most_rows = 60

-- ---- columns ----------------------------------------------------------------------------------

--- sweep:column(name)
--- One column over all runs: a parameter, a result, "id", "state" or "seconds".
--- @param name string
--- @return tensor [runs] f64 when all values that are there are numbers, NaN where there is none;
--- else a list with false for what is missing
--- @source -
function Sweep:column(name)
  local list, numbers, some = {}, true, false
  for i, run in ipairs(self.runs) do
    local value = columns.cell(run, name)
    if value ~= nil then some = true end
    if value ~= nil and type(value) ~= "number" then numbers = false end
    list[i] = value == nil and false or value
  end
  if not some and #self.runs > 0 and name ~= "seconds" then
    options.bad("sweep:column", 1, "no run has %s", options.describe(name))
  end
  if not numbers then return list end
  for i, value in ipairs(list) do list[i] = value or 0 / 0 end
  return core.tensor(list, { dtype = "f64" })
end

-- ---- printing ---------------------------------------------------------------------------------

local function text_of(value)
  if value == nil then return "-" end
  if math.type(value) == "float" then return ("%.5g"):format(value) end
  return params.show(value)
end

local function columns_of(self)
  local names = { "state" }
  for _, name in ipairs(columns.varying(self.runs)) do names[#names + 1] = name end
  if self.objective then names[#names + 1] = self.objective end
  for _, name in ipairs(columns.result_names(self.runs)) do
    if name ~= self.objective and #names < 9 then names[#names + 1] = name end
  end
  names[#names + 1] = "seconds"
  return names
end

local function rows_text(self, names)
  local rows, width = { names }, {}
  for i, run in ipairs(self.runs) do
    if i > most_rows then break end
    local row = {}
    for k, name in ipairs(names) do row[k] = text_of(columns.cell(run, name)) end
    rows[#rows + 1] = row
  end
  for _, row in ipairs(rows) do
    for k, text in ipairs(row) do
      row[k] = #text > 24 and text:sub(1, 21) .. "..." or text
      width[k] = math.max(width[k] or 0, #row[k])
    end
  end
  local lines = {}
  for i, row in ipairs(rows) do
    local parts = {}
    for k, text in ipairs(row) do parts[k] = text .. (" "):rep(width[k] - #text) end
    lines[i] = (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  return lines
end

local function best_text(self)
  local b = self.best
  if not b then return nil end
  local shown = {}
  for _, name in ipairs(columns.varying(self.runs)) do
    if b.params[name] ~= nil then shown[#shown + 1] = name .. "=" .. params.show(b.params[name]) end
  end
  if #shown == 0 then shown[1] = b.runs[1].id end
  return ("best: %s, %s %.5g%s"):format(table.concat(shown, " "), self.objective, b.value,
    b.stderr and (" +- %.2g (%d seeds)"):format(b.stderr, #b.runs) or "")
end

local function counts_text(self)
  local parts = {}
  for _, state in ipairs { "done", "diverged", "failed", "interrupted", "running", "new" } do
    local n = self.counts[state]
    if n then parts[#parts + 1] = ("%d %s"):format(n, state) end
  end
  return ("%d runs: %s"):format(#self.runs, table.concat(parts, ", "))
end

-- Nothing that other code computed passes for what the recipe says now.
local function changed_text(self)
  local n = 0
  for _, run in ipairs(self.runs) do n = n + (run.changed and 1 or 0) end
  if n == 0 then return nil end
  return ("%s has changed since %d of them ran, which count as they are; --rerun-changed runs them "
    .. "anew"):format(self.recipe, n)
end

--- sweep:text()
--- The table as it is printed: a row per run, how many ended how, the best point.
--- @return string
--- @source -
function Sweep:text()
  local lines = rows_text(self, columns_of(self))
  if #self.runs > most_rows then
    lines[#lines + 1] = ("... %d more in %s/table.csv"):format(#self.runs - most_rows, self.dir)
  end
  for i, run in ipairs(self.runs) do
    if i > most_rows then break end
    if run.state == "failed" then
      lines[#lines + 1] = ("%s failed: %s"):format(run.id, (run.message or ""):match "^[^\n]*")
    end
  end
  lines[#lines + 1] = counts_text(self)
  lines[#lines + 1] = changed_text(self)
  lines[#lines + 1] = best_text(self)
  for _, found in ipairs(self.search or {}) do
    local name = {}
    for _, key in ipairs(columns.varying(self.runs)) do
      if key ~= "seed" and key ~= self.adapt then
        name[#name + 1] = key .. "=" .. params.show(found.params[key])
      end
    end
    local prefix = #name > 0 and table.concat(name, " ") .. ": " or ""
    lines[#lines + 1] = prefix .. (found.bracketed and ("optimum bracketed, at %s=%s"):format(
      self.adapt, params.show(found.best)) or ("not bracketed: %s"):format(found.why))
  end
  return table.concat(lines, "\n")
end

function Sweep:__tostring() return self:text() end

local function csv(value)
  if value == nil then return "" end
  local text = params.show(value)
  if text:find '[,"\n]' then text = '"' .. text:gsub('"', '""') .. '"' end
  return text
end

-- All points with all parameters and results, for other programs.
local function save_csv(self)
  local names, seen = { "id", "state" }, { id = true, state = true, seconds = true }
  local function add(name)
    if not seen[name] then names[#names + 1] = name end
    seen[name] = true
  end
  for _, run in ipairs(self.runs) do
    for name in sorted(run.params) do add(name) end
  end
  for _, name in ipairs(columns.result_names(self.runs)) do add(name) end
  names[#names + 1] = "seconds"
  local lines = { table.concat(names, ",") }
  for _, run in ipairs(self.runs) do
    local row = {}
    for k, name in ipairs(names) do row[k] = csv(columns.cell(run, name)) end
    lines[#lines + 1] = table.concat(row, ",")
  end
  core.write_file(self.dir .. "/table.csv", table.concat(lines, "\n") .. "\n")
end

-- A search finds its points in no order that reads well: sorted by parameters, the searched one
-- last.
local function sort_runs(self)
  local names = {}
  for _, name in ipairs(columns.varying(self.runs)) do
    if name ~= "seed" and name ~= self.adapt then names[#names + 1] = name end
  end
  names[#names + 1] = self.adapt
  names[#names + 1] = "seed"
  table.sort(self.runs, function(a, b)
    for _, name in ipairs(names) do
      local x, y = a.params[name], b.params[name]
      if type(x) ~= "number" or type(y) ~= "number" then x, y = params.show(x), params.show(y) end
      if x ~= y then return x < y end
    end
    return a.id < b.id
  end)
end

options.methods(Sweep, "sweep:")
require "moonlab.methods"("ml.sweep", Sweep)

local table_of = {}

--- The result of a sweep from its definition and the manager's points.
function table_of.new(d, points, outcome)
  local self = setmetatable({ id = d.id, dir = d.dir, recipe = d.recipe.name,
    objective = d.objective,
    maximize = d.maximize, adapt = d.adapt, runs = {}, counts = {} }, Sweep)
  for i, point in ipairs(points) do
    self.runs[i] = { id = point.id, dir = d.store .. "/" .. point.id, params = point.params,
      state = point.state, message = point.message, results = point.results,
      seconds = point.seconds, changed = point.changed }
    self.counts[point.state] = (self.counts[point.state] or 0) + 1
  end
  best_point.objective_of(self)
  self.best = best_point.find(self)
  if d.adapt then sort_runs(self) end
  if d.adapt then self.search = adaptive.summary(d, points, outcome) end
  save_csv(self)
  return self
end

return table_of
