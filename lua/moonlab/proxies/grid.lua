--- Grids of proxies: the runs of a study, worked off by several single-thread processes.
local core = require "moonlab.core"
local sweep = require "moonlab.sweep"

local grid = {}

--- Parameter of recipes that train proxies, and whether a run's text is the one that calibrated
--- claims speak about.
grid.text = { "synthetic", "the synthetic source, or wordnet, or the path of a text file" }
function grid.synthetic(p) return p.text == "synthetic" end

local Runs = {}
Runs.__index = Runs

local function matches(params, wanted)
  for name, value in pairs(wanted) do
    if params[name] ~= value then return false end
  end
  return true
end

--- The results of the runs with these parameters, in the order of the grid.
function Runs:where(wanted)
  local found = {}
  for _, r in ipairs(self) do
    if matches(r.params, wanted) then found[#found + 1] = r end
  end
  return found
end

--- Columns of the runs with these parameters: field(result, params) for each of them.
function Runs:column(wanted, field)
  local list = {}
  for i, r in ipairs(self:where(wanted)) do
    list[i] = type(field) == "function" and field(r.results, r.params) or r.results[field] or 0 / 0
  end
  return list
end

--- Learning rates and final losses, nan where a run diverged or failed.
function Runs:curve(wanted)
  local lr = {}
  for i, r in ipairs(self:where(wanted)) do lr[i] = r.params.lr end
  return lr, self:column(wanted, "final")
end

--- Runs the recipe proxy at every combination of values; the runs are kept in the folder of ctx, so
--- that a resumed study repeats none. A run that fails counts as diverged.
function grid.run(ctx, values)
  local all = {}
  for name, value in pairs(values) do all[name] = value end
  if all.seed == nil then all.seed = ctx.seed end
  local done = sweep { recipe = "proxy", grid = all, store = ctx.dir .. "/runs", threads = 1,
    workers = core.threads(), quiet = ctx.quiet }
  local runs = setmetatable({}, Runs)
  for i, r in ipairs(done.runs) do
    if r.state == "failed" then
      io.stderr:write(("proxy %s failed: %s\n"):format(r.id, tostring(r.message)))
    end
    local results = r.results and (r.results[1] or r.results) or {}
    runs[i] = { params = r.params, results = results, state = r.state }
  end
  return runs
end

return grid
