--- Runs a recipe in a run of the store: seed after seed, its results and claims, and how it ended.
local core = require "moonlab.core"
local claims = require "moonlab.recipe.claims"
local context = require "moonlab.recipe.context"
local display = require "moonlab.progress.display"
local errors = require "moonlab.recipe.errors"
local interrupt = require "moonlab.interrupt"
local params = require "moonlab.recipe.params"
local results = require "moonlab.recipe.results"

local execution = {}

--- What makes two runs the same, as ml.runs.create and ml.runs.claim take it; and the code, which
--- they note.
function execution.identity(r, size, p, seeds)
  return { recipe = r.name, size = size, params = p, seeds = seeds,
    seed = #seeds == 1 and seeds[1] or nil, code = r.code }
end

-- ---- what is printed --------------------------------------------------------------------------

-- While f runs, what it prints goes to the run's log, and to the terminal unless quiet.
local function with_log(run, quiet, f)
  local print_before, write_before = print, io.write
  local function write(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    local text = table.concat(parts)
    if text ~= "" then run:write(text) end
    if not quiet then
      display.hide()
      write_before(text)
    end
    return io.stdout
  end
  io.write = write -- luacheck: ignore
  print = function(...) -- luacheck: ignore
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    write(table.concat(parts, "\t") .. "\n")
  end
  local outcome = table.pack(xpcall(f, errors.handler))
  print, io.write = print_before, write_before -- luacheck: ignore
  if not outcome[1] then error(outcome[2], 0) end
  return table.unpack(outcome, 2, outcome.n)
end

-- ---- one seed ---------------------------------------------------------------------------------

local function checked(result)
  if result == nil then return {} end
  if type(result) ~= "table" or getmetatable(result) ~= nil then
    local kind = type(result)
    local shown = (kind == "number" or kind == "string") and tostring(result) or "a " .. kind
    error(("run returned %s, wanted a table of results or nothing"):format(shown), 0)
  end
  return result
end

local function seed_file(seed) return ("seed-%d"):format(seed) end

-- The results of one seed, kept from before or computed now.
local function run_seed(job, seed)
  local run, file = job.run, seed_file(seed)
  local kept = results.load(run.dir, file)
  if kept then return kept end
  local dir = run.dir
  if #job.seeds > 1 then
    dir = ("%s/%s"):format(run.dir, file)
    core.system.make_dirs(dir)
  end
  local p = params.resolve(job.recipe.params, job.params)
  p.seed = seed
  -- what draws without saying from where does not depend on what ran before in this process
  require("moonlab.nn").seed(seed)
  math.randomseed(seed) -- luacheck: ignore
  local ctx = context.new { run = run, dir = dir, seed = seed, size = job.size, quiet = job.quiet,
    several = #job.seeds > 1 }
  local result = checked(job.recipe.run(p, ctx))
  local left = results.save(run.dir, file, result)
  if #left > 0 then print("not kept of the results: " .. table.concat(left, ", ")) end
  for _, path in ipairs(ctx.figures) do job.figures[#job.figures + 1] = path end
  return results.load(run.dir, file)
end

local function diverged(result) return result.state == "diverged" or result.diverged == true end

local function seed_params(job)
  local list = {}
  for i, seed in ipairs(job.seeds) do
    list[i] = params.resolve(job.recipe.params, job.params)
    list[i].seed = seed
  end
  return list
end

-- ---- the table of a run -----------------------------------------------------------------------

local function table_of(job, list, found)
  local v, config = core.version(), job.run:config()
  local plain = {}
  for i, r in ipairs(list) do plain[i] = results.plain(r) end
  return {
    recipe = job.recipe.name, size = job.size, params = job.params, seeds = job.seeds,
    results = plain, claims = found, command = job.command,
    version = v.moonlab, revision = config.revision, dirty = config.dirty,
    machine = { cpu = v.cpu, simd = v.simd, blas = v.blas, threads = v.threads },
    date = os.date "!%Y-%m-%d",
  }
end

local function run_all(job)
  local list, state = {}, "done"
  for i, seed in ipairs(job.seeds) do
    if #job.seeds > 1 then print(("seed %d (%d of %d)"):format(seed, i, #job.seeds)) end
    list[i] = run_seed(job, seed)
    if diverged(list[i]) then state = "diverged" end
  end
  local found, others = claims.evaluate_all(job.recipe.claims, list, seed_params(job))
  if not job.quiet then claims.print(found, others, job.recipe.name) end
  job.run:results(table_of(job, list, found))
  return state, list
end

-- A reason that the result gives for having diverged.
local function reason(list)
  for _, r in ipairs(list) do
    if diverged(r) and type(r.reason) == "string" then return r.reason end
  end
end

-- Ends the run, also when Ctrl-C comes in between.
local function finish(run, state, message)
  local ok, why
  for _ = 1, 3 do
    if not run.lease then return end
    ok, why = pcall(run.finish, run, state, message)
    if ok or not interrupt.is(why) then break end
  end
  if not ok then error(why, 0) end
end

--- Runs `job` { recipe =, size =, params =, seeds =, run =, command =, quiet = } to its end and
--- finishes its run. Returns the state ("done", "diverged", "failed", "interrupted"), the failure
--- { message, trace } where there is one, and the paths of the figures.
function execution.execute(job)
  job.figures = {}
  local ok, state, list = xpcall(with_log, errors.handler, job.run, job.quiet, function()
    return run_all(job)
  end)
  if ok then
    finish(job.run, state, reason(list))
    return state, nil, job.figures
  end
  local failure = state
  display.reset()
  if failure.interrupt then
    finish(job.run, "interrupted")
    return "interrupted", failure, job.figures
  end
  -- the whole traceback is for whoever looks into the log; a full disk must not hide the failure
  pcall(job.run.write, job.run, ("%s\n%s\n"):format(failure.message, failure.trace))
  finish(job.run, "failed", failure.message)
  return "failed", failure, job.figures
end

return execution
