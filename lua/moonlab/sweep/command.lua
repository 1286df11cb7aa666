--- ./moonlab sweep NAME key=a,b,c ...
local core = require "moonlab.core"
local catalogue = require "moonlab.recipe.catalogue"
local crew = require "moonlab.sweep.crew"
local definition = require "moonlab.sweep.definition"
local errors = require "moonlab.recipe.errors"
local interrupt = require "moonlab.interrupt"
local lfs = require "lfs"
local params = require "moonlab.recipe.params"
local points = require "moonlab.sweep.points"
local progress = require "moonlab.progress"
local queue = require "moonlab.sweep.queue"
local recipe_command = require "moonlab.recipe.command"
local sorted = require "moonlab.sorted"
local values = require "moonlab.recipe.values"
local words = require "moonlab.recipe.words"

local command = {}

local flags = { ["--smoke"] = true, ["--full"] = true, ["--dry-run"] = true, ["--yes"] = true,
  ["--resume"] = true, ["--retry"] = true, ["--rerun-changed"] = true, ["--list"] = true,
  ["--slurm"] = true,
  ["--workers"] = "count", ["--threads"] = "count", ["--random"] = "count", ["--tries"] = "count",
  ["--random-seed"] = "integer", ["--seed"] = "integer", ["--adapt"] = "text",
  ["--extend"] = "integer", ["--minimize"] = "text", ["--maximize"] = "text", ["--out"] = "text" }

local work_flags = { ["--parent"] = "count", ["--memory"] = "count" }

local usage_text = [[
usage: ./moonlab sweep NAME key=values ... [--workers N] [--threads N] [--smoke | --full]
       values          1e-3,3e-3   seed=1..3   width=32:256:x2   noise=0:1:+0.25
                       n=[64,128],[64,256] where a value is a list; lr=1e-4~1e-1 to draw from
       --random N      N draws instead of every combination, --random-seed N
       --adapt key     to the right until it diverges, to the left until the optimum is bracketed,
                       at most --extend N values either way; --minimize NAME or --maximize NAME
       --workers N     processes, each with --threads N; --tries N crashes make a point fail
       --retry         failed points are run again
       --rerun-changed sets aside what other code of the recipe computed, and runs it anew
       --out DIR       keeps the runs there, not in MOONLAB_RUNS or ./runs
       --dry-run       shows the points, memory, time
       --list          prints a command for each point:
                         ... --list | parallel -j 2
                         ... --list | xargs -d '\n' -P 2 -I{} sh -c {}
       --slurm         writes an array job of N workers
       The same words continue a sweep that was stopped.]]

local function complain(...)
  io.stderr:write("moonlab: ", table.concat { ... }, "\n")
  return 2
end

-- The options of ml.sweep from the words, or nil and a message; and the flags.
local function read(name, r, list)
  local grid = {}
  local given, why = words.read(list, flags, function(key, text)
    if key == "seeds" then key = "seed" end
    if not r.params[key] then
      return nil, ("%s (./moonlab help %s lists them)"):format(params.unknown(r.params, key,
        r.name), name)
    end
    local axis, wanted = values.points(r.params[key], text)
    if not axis then return nil, ("%s=%s: wanted %s"):format(key, text, wanted) end
    grid[key] = axis
    return true
  end)
  if not given then return nil, why end
  local size, no_size = words.size(r, given)
  if not size then return nil, no_size end
  if given.seed then
    if grid.seed then return nil, "seed=... and --seed exclude each other" end
    grid.seed = { given.seed }
  end
  if given.extend and given.extend < 0 then
    return nil, ("--extend %d: wanted an integer >= 0"):format(given.extend)
  end
  return { recipe = name, size = size, grid = grid, workers = given.workers,
    threads = given.threads, random = given.random, random_seed = given.random_seed,
    adapt = given.adapt, extend = given.extend, minimize = given.minimize,
    maximize = given.maximize, tries = given.tries, retry = given.retry,
    rerun_changed = given.rerun_changed,
    store = given.out }, given
end

-- ---- --list -----------------------------------------------------------------------------------

-- The words of `run` that make a point.
local function point_words(d, point)
  local list = {}
  local base, asked = params.resolve(d.recipe.params, d.recipe[d.size]), {}
  for _, axis in ipairs(d.axes) do asked[axis.name] = true end -- these stand also at their default
  for name, value in sorted(point.params) do
    local text = params.show(value)
    if name ~= "seed" and (asked[name] or text ~= params.show(base[name])) then
      list[#list + 1] = words.quote(name .. "=" .. (type(value) == "table" and "[" .. text .. "]"
        or text))
    end
  end
  list[#list + 1] = "seed=" .. point.params.seed
  if d.size ~= "default" then list[#list + 1] = "--" .. d.size end
  return table.concat(list, " ")
end

local function absolute(path)
  return path:sub(1, 1) == "/" and path or lfs.currentdir() .. "/" .. path
end

local function list_points(d, program)
  for _, point in ipairs(d.points) do
    print(("%s run %s %s --resume --out %s"):format(words.quote(program),
      words.quote(d.recipe.path), point_words(d, point),
      words.quote(absolute(d.store) .. "/" .. point.id)))
  end
  return 0
end

-- ---- --slurm ----------------------------------------------------------------------------------

local script = [[
#!/bin/sh
# @POINTS@ points of @SWEEP@, worked off by an array of workers. A task that ends early (a time
# limit, a lost node) leaves its point at a checkpoint; submit the script again and it goes on.
#SBATCH --job-name=moonlab-@RECIPE@
#SBATCH --array=1-@WORKERS@
#SBATCH --cpus-per-task=@THREADS@
@MEMORY@#SBATCH --signal=B:INT@60
#SBATCH --output="@DIR@/slurm-%a.log"
#SBATCH --open-mode=append
MOONLAB_THREADS=${SLURM_CPUS_PER_TASK:-@THREADS@}
export MOONLAB_THREADS
exec @PROGRAM@ sweep --work @QUEUE@
]]

-- A path as it stands between the quotes of an option of sbatch.
local function slurm_path(path) return (path:gsub('"', '\\"'):gsub("%%", "%%%%")) end

-- The most that a point needs by the recipe's estimate, in bytes; 0 where it gives none.
local function most_bytes(d)
  local most = 0
  for _, point in ipairs(d.points) do
    local estimate = recipe_command.estimate(d.recipe, point.params)
    most = math.max(most, estimate and estimate.bytes or 0)
  end
  return most
end

-- What a task asks for: the estimate with a quarter more, and the program itself.
local function memory_line(d)
  local bytes = most_bytes(d)
  if not (bytes > 0 and bytes < 2 ^ 60) then
    return "# The recipe gives no estimate of its memory: add --mem=... where the default is too "
      .. "little.\n"
  end
  return ("#SBATCH --mem=%dM\n"):format(math.ceil(1.25 * bytes / 2 ^ 20) + 256)
end

local function write_slurm(d, program, given, text)
  if absolute(d.dir):find "[%c\\]" then -- Slurm takes its names apart at these
    return complain("a script for Slurm cannot name the folder ", absolute(d.dir))
  end
  d.command = text
  definition.save(d, text)
  if given.rerun_changed then points.set_changed_aside { d = d, points = d.points } end
  local path = d.dir .. "/queue.jsonl"
  local q = queue.create(path, d)
  q:add(d.points)
  q:finish()
  q:close(true)
  local workers = math.min(#d.points, given.workers or #d.points)
  local blanks = { POINTS = #d.points, SWEEP = d.id, RECIPE = d.recipe.name, WORKERS = workers,
    THREADS = given.threads or 1, MEMORY = memory_line(d),
    DIR = slurm_path(absolute(d.dir)), PROGRAM = words.quote(program),
    QUEUE = words.quote(absolute(path)) }
  local file = d.dir .. "/job.slurm"
  core.write_file(file, (script:gsub("@(%u+)@", function(name)
    return blanks[name] and tostring(blanks[name])
  end)))
  print("wrote " .. file .. "; submit it with\n  sbatch " .. words.quote(file))
  print "and see the table with the same words without --slurm"
  return 0
end

-- ---- --dry-run --------------------------------------------------------------------------------

local function dry_run(d, o)
  print(("%s, %s size: %d points%s"):format(d.recipe.name, d.size, #d.points,
    d.adapt and " to begin with, then a search over " .. d.adapt or ""))
  for i, point in ipairs(d.points) do
    if i > 20 then
      print(("  ... %d more"):format(#d.points - 20))
      break
    end
    print("  " .. point_words(d, point))
  end
  local seconds, bytes, known = 0, 0, true
  for _, point in ipairs(d.points) do
    local estimate = recipe_command.estimate(d.recipe, point.params)
    known = known and estimate ~= nil and estimate.seconds ~= nil
    seconds = seconds + (estimate and estimate.seconds or 0)
    bytes = math.max(bytes, estimate and estimate.bytes or 0)
  end
  local workers = math.min(#d.points, o.workers or core.threads())
  if not known then
    print "  the recipe gives no estimate of memory and time"
  else
    print(("  memory about %.0f MiB for each of %d workers, time about %s"):format(bytes / 2 ^ 20,
      workers, progress.duration(seconds / workers)))
  end
  return 0
end

-- ---- the command ------------------------------------------------------------------------------

local function command_text(name, list)
  local parts = { "./moonlab sweep", words.quote(name) }
  for _, word in ipairs(list) do parts[#parts + 1] = words.quote(word) end
  return table.concat(parts, " ")
end

local function special(o, given, text)
  local d, why = definition.new(o)
  if not d then return complain(why) end
  if given.dry_run then return dry_run(d, o) end
  local program, none = crew.program()
  if not program then return complain(none) end
  if d.adapt then
    return complain("--adapt decides its points while it runs; it excludes --list and --slurm")
  end
  if given.list then return list_points(d, program) end
  return write_slurm(d, program, given, text)
end

--- ./moonlab sweep NAME [words]: the result is the exit status.
function command.main(name, ...)
  local list = { ... }
  if name == "--work" then
    local given, why = words.read({ table.unpack(list, 2) }, work_flags, function(key)
      return nil, ("unknown word '%s='"):format(key)
    end)
    if not list[1] then return complain "usage: ./moonlab sweep --work QUEUE" end
    if not given then return complain(why) end
    return require("moonlab.sweep.worker").command(list[1], given)
  end
  if name == nil or name:find "^%-" then
    return words.usage(name, usage_text)
  end
  local r, why = catalogue.load(name)
  if not r then
    io.stderr:write("moonlab: ", why, "\n")
    return 1
  end
  local o, given = read(name, r, list)
  if not o then return complain(given) end
  o.command = command_text(name, list)
  if given.list or given.slurm or given.dry_run then return special(o, given, o.command) end
  local d, wrong = definition.new(o)
  if not d then return complain(wrong) end
  local ok, result = pcall(require "moonlab.sweep", o)
  if ok then
    print(result:text())
    print(("kept in %s"):format(result.dir))
    return 0
  end
  require("moonlab.progress.display").reset()
  if interrupt.is(result) then
    io.stderr:write(("\nmoonlab: interrupted; %s continues it\n"):format(o.command))
    return 130
  end
  complain(errors.plain(result))
  return 1
end

return command
