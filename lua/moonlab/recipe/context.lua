--- The context that run(p, ctx) gets: its folder, its log, its figures, what is computed once.
local core = require "moonlab.core"
local folder = require "moonlab.runs.folder"
local options = require "moonlab.options"
local display = require "moonlab.progress.display"
local results = require "moonlab.recipe.results"

local context = {}

local Context = {}
Context.__index = Context
Context.__name = "ml.recipe.context"

local function encode(record)
  return core.json.encode(record, { nan = "exact", invalid = "replace" })
end

-- Records that an earlier life of the run has logged already, by their text.
local function earlier_records(run, mark)
  local counts = {}
  for _, record in ipairs(run:records(mark)) do
    local text = encode(record)
    counts[text] = (counts[text] or 0) + 1
  end
  return counts
end

local function matches(record, mark)
  return not mark or record.seed == mark.seed
end

-- Takes back what an earlier life logged from a step on: at the end of the metrics the records
-- whose steps rise. Behind a step that is smaller lies what another part of the recipe logged.
local function cut_from(self, step)
  local records, dropped, last = self.run:records(), {}, math.huge
  for i = #records, 1, -1 do
    local record = records[i]
    if type(record.step) == "number" and matches(record, self.mark) then
      if record.step < step or record.step > last then break end
      last, dropped[i] = record.step, true
      local text = encode(record)
      self.earlier[text] = self.earlier[text] - 1
    end
  end
  if next(dropped) then folder.drop_records(self.run, records, dropped) end
end

-- Whether a record is there from an earlier life. The first that is not and has a step shows where
-- the recipe goes on, from its checkpoint.
local function is_repeated(self, line)
  local text = encode(line)
  local count = self.earlier[text] or 0
  if count > 0 then
    self.earlier[text] = count - 1
    return true
  end
  if type(line.step) == "number" and not self.goes_on then
    self.goes_on = true
    cut_from(self, line.step)
  end
  return false
end

--- The context of one seed: { run =, dir =, seed =, size =, quiet =, several = bool }.
function context.new(o)
  local ctx = setmetatable({ dir = o.dir, seed = o.seed, size = o.size, figures = {},
    quiet = o.quiet, run = o.run, mark = o.several and { seed = o.seed } or nil }, Context)
  if not o.run.fresh then ctx.earlier = earlier_records(o.run, ctx.mark) end
  return ctx
end

--- ctx:log{ step = 10, loss = 2.3 }
--- Keeps one line in the run's metrics. A resumed run that comes by again and logs the same record
--- as before leaves the line that is there; where it goes on from a checkpoint, the lines past that
--- step are cut.
--- @param record table name -> number, string, boolean or tensor
--- @source -
function Context:log(record)
  if type(record) ~= "table" then
    options.bad("ctx:log", 1, "table expected, got %s", options.describe(record))
  end
  local line = {}
  for key, value in pairs(record) do
    line[key] = type(value) == "userdata" and results.plain(value) or value
  end
  for key, value in pairs(self.mark or {}) do line[key] = value end
  if self.earlier and is_repeated(self, line) then return end
  self.run:log(line)
end

--- ctx:figure(name, fig)
--- Saves a figure as <name>.svg in the run's folder and shows it in the terminal.
--- @param name string
--- @param fig figure of ml.plot
--- @source -
function Context:figure(name, fig)
  if type(name) ~= "string" or name == "" or name:find "[/%z]" then
    options.bad("ctx:figure", 1, "%s, wanted the name of a file", options.describe(name))
  end
  local path = ("%s/%s.svg"):format(self.dir, name)
  fig:save(path)
  self.figures[#self.figures + 1] = path
  if not self.quiet then print(fig:text(nil, nil, { color = display.color })) end
end

--- ctx:once(key, fn)
--- The result of fn(), computed once in the life of the run: kept in its folder and read back on
--- resume.
--- @param key string
--- @param fn function -> a number, string, boolean, tensor or table of them
--- @return what fn returned
--- @source -
function Context:once(key, fn)
  if type(key) ~= "string" or key == "" then
    options.bad("ctx:once", 1, "%s, wanted a name", options.describe(key))
  end
  options.argument("ctx:once", 2, fn, "function")
  local file = "once-" .. key:gsub("[^%w ._-]", function(c) return ("%%%02X"):format(c:byte()) end)
  local kept = results.load(self.dir, file)
  if kept then return kept.value end
  local value = fn()
  local left = results.save(self.dir, file, { value = value })
  if #left > 0 then
    options.raise("ctx:once: the result of '%s' holds what cannot be kept: %s", key,
      table.concat(left, ", "))
  end
  return value
end

options.methods(Context, "ctx:")
require "moonlab.methods"("ml.recipe.context", Context)

return context
