--- ./moonlab run NAME [key=value ...]
local core = require "moonlab.core"
local catalogue = require "moonlab.recipe.catalogue"
local claims = require "moonlab.recipe.claims"
local errors = require "moonlab.recipe.errors"
local execution = require "moonlab.recipe.execution"
local interrupt = require "moonlab.interrupt"
local lfs = require "lfs"
local params = require "moonlab.recipe.params"
local reading = require "moonlab.runs.reading"
local progress = require "moonlab.progress"
local sorted = require "moonlab.sorted"
local values = require "moonlab.recipe.values"
local words = require "moonlab.recipe.words"

local command = {}

local flags = { ["--smoke"] = true, ["--full"] = true, ["--resume"] = true, ["--dry-run"] = true,
  ["--yes"] = true, ["--out"] = "text", ["--seed"] = "integer" }

local usage_text = [[
usage: ./moonlab run NAME [key=value ...] [--smoke | --full] [--seed N] [--out DIR] [--resume]
       NAME        a recipe, the path of a .lua file, or - for one on standard input
       --smoke     seconds; --full hours, with several seeds (also seeds=1..3)
       --out DIR   keeps the run there, not in a new folder of MOONLAB_RUNS or ./runs
       --resume    continues the last unfinished run of these words, or the one in DIR
       --dry-run   shows what would run: parameters, memory, time
       ./moonlab help NAME lists the parameters of a recipe]]

local function complain(...)
  io.stderr:write("moonlab: ", table.concat { ... }, "\n")
  return 2
end

-- ---- what is to run ---------------------------------------------------------------------------

-- { recipe, size, params, seeds } from the words, or nil and a message; and the flags.
local function read(r, name, list)
  local overrides, seeds = {}, nil
  local given, why = words.read(list, flags, function(key, text)
    if key == "seeds" then
      seeds, text = words.seeds(r, text)
      return seeds, text
    end
    local spec = r.params[key]
    if not spec then
      return nil, ("%s (./moonlab help %s lists them)"):format(params.unknown(r.params, key,
        r.name), name)
    end
    local value, wanted = values.parse(spec, text)
    if value == nil then return nil, ("%s=%s: wanted %s"):format(key, text, wanted) end
    overrides[key] = value
    return true
  end)
  if not given then return nil, why end
  local size, no_size = words.size(r, given)
  if not size then return nil, no_size end
  if given.seed then
    local value, wanted = params.check(r.params.seed, given.seed)
    if not value then return nil, ("--seed %d: wanted %s"):format(given.seed, wanted) end
    overrides.seed = value
  end
  if overrides.seed and seeds then return nil, "seeds=... and one seed exclude each other" end
  seeds = seeds or overrides.seed and { overrides.seed } or r:seeds_of(size)
  local p = params.resolve(r.params, r[size], overrides)
  p.seed = seeds[1]
  return { recipe = r, size = size, params = p, seeds = seeds, overrides = overrides }, given
end

-- ---- memory and time --------------------------------------------------------------------------

local function bytes_text(bytes)
  if bytes >= 2 ^ 30 then return ("%.1f GiB"):format(bytes / 2 ^ 30) end
  return ("%.0f MiB"):format(bytes / 2 ^ 20)
end

--- The recipe's own estimate { bytes =, seconds = } of one seed; nil where it gives none.
function command.estimate(r, p)
  if not r.estimate then return nil end
  local ok, estimate = pcall(r.estimate, p)
  if not ok then
    if interrupt.is(estimate) then error(estimate, 0) end
    return nil, "its estimate failed: " .. tostring(estimate)
  end
  if type(estimate) ~= "table" then
    return nil, ("its estimate returned a %s, wanted { bytes =, seconds = }"):format(type(estimate))
  end
  local bytes, seconds = tonumber(estimate.bytes), tonumber(estimate.seconds)
  return { bytes = bytes, seconds = seconds }
end

local function estimate_text(job)
  local estimate, why = command.estimate(job.recipe, job.params)
  if not estimate then return why or "the recipe gives no estimate of memory and time" end
  local parts = {}
  if estimate.bytes then parts[#parts + 1] = "memory about " .. bytes_text(estimate.bytes) end
  if estimate.seconds then
    parts[#parts + 1] = "time about " .. progress.duration(estimate.seconds) .. " for each seed"
  end
  if #parts == 0 then return "the recipe's estimate says nothing" end
  return table.concat(parts, ", ")
end

-- A message when what the recipe says it needs is more than there is.
function command.too_large(r, p)
  local estimate = command.estimate(r, p)
  local limit = core.memory().limit
  if estimate and estimate.bytes and estimate.bytes > limit then
    return ("%s needs about %s and %s are available; choose smaller parameters"):format(r.name,
      bytes_text(estimate.bytes), bytes_text(limit))
  end
end

local function origin(job, name)
  if job.overrides[name] ~= nil then return "set here" end
  local size = job.recipe[job.size]
  if size and size[name] ~= nil then return "--" .. job.size end
  return "default"
end

local function dry_run(job)
  local r = job.recipe
  print(("%s, %s size"):format(r.name, job.size))
  for name, value in sorted(job.params) do
    if name ~= "seed" then
      local spec = r.params[name]
      print(("  %-14s %-16s %-9s %s%s"):format(name, params.show(value), origin(job, name),
        spec.meaning, spec.unit and " (" .. spec.unit .. ")" or ""))
    end
  end
  print(("  %-14s %s"):format("seeds", params.show(job.seeds)))
  print("  " .. estimate_text(job))
  local large = command.too_large(r, job.params)
  if large then print("  " .. large) end
  return 0
end

-- ---- where it runs ----------------------------------------------------------------------------

local function same(a, b)
  local function text(value)
    return core.json.encode(value, { nan = "exact", invalid = "replace" })
  end
  return text(a) == text(b)
end

-- Whether a run of the store has this identity and is neither finished nor written by anybody.
local function continues(run, identity)
  local config = run:config()
  for key, value in pairs(identity) do
    if key ~= "code" and (config[key] == nil or not same(config[key], value)) then
      return false
    end
  end
  local state = run:state()
  return state == "interrupted" or state == "failed"
end

-- The folder of the newest unfinished run with this identity.
local function unfinished(runs, identity)
  local newest, started
  for _, id in ipairs(runs.ids()) do
    if id:sub(1, #identity.recipe + 1) == identity.recipe .. "-" then
      local run = runs.open(id)
      local when = run:config().started or ""
      if continues(run, identity) and (not newest or when >= started) then
        newest, started = run.dir, when
      end
    end
  end
  return newest
end

-- The run to work in; or nil, a state word or "refused", and a message.
local function open_run(job, given)
  local runs = require "moonlab.runs"
  local identity = execution.identity(job.recipe, job.size, job.params, job.seeds)
  local dir = given.out or given.resume and unfinished(runs, identity)
  if not dir then return runs.create(identity) end
  if given.out and not given.resume and lfs.attributes(dir .. "/config.json", "mode") == "file" then
    return nil, "refused", dir .. " holds a run; --resume continues it, or choose another folder"
  end
  identity.dir, identity.retry = dir, given.resume
  local run, word, why = runs.claim(identity)
  if not run and word ~= "done" and word ~= "diverged" then return nil, "refused", why end
  return run, word, dir
end

-- ---- running ----------------------------------------------------------------------------------

local function show_finished(dir, state)
  local run = require("moonlab.runs").open(dir)
  print(("%s is finished (%s)"):format(dir, state))
  local kept = run:results() or {}
  for i, r in ipairs(kept.results or {}) do
    for name, value in sorted(r) do
      if type(value) ~= "table" then
        local seed = #kept.results > 1 and ("seed %d  "):format(kept.seeds[i]) or ""
        print(("  %s%-18s %s"):format(seed, name, params.show(value)))
      end
    end
  end
  claims.print(kept.claims or {})
  return 0
end

-- A run that goes on, or is finished, may have been computed with what the recipe was before.
local function tell_change(r, dir)
  local status = select(3, require("moonlab.runs").open(dir):state())
  if r.code and reading.has_other_code(status, r.code) then
    io.stderr:write(("moonlab: %s has changed since this run began; without --resume it is run "
      .. "anew\n"):format(r.name))
  end
end

local function tell_end(job, state, failure, figures)
  local dir = job.run.dir
  if state == "interrupted" then
    io.stderr:write(("\nmoonlab: interrupted; %s%s continues it\n"):format(job.command,
      job.command:find("--resume", 1, true) and "" or " --resume"))
    return 130
  elseif state == "failed" then
    io.stderr:write(("moonlab: %s failed: %s\n"):format(job.recipe.name,
      errors.report(failure, job.recipe.path)))
    io.stderr:write(("  kept in %s; log.txt there has the whole traceback\n"):format(dir))
    return 1
  end
  if state == "diverged" then print "\nthe run diverged: a result, and recorded as one" end
  print(("\nkept in %s"):format(dir))
  for _, path in ipairs(figures) do print("  " .. path) end
  if job.size == "full" then print(("  %s/results.json is the table to commit"):format(dir)) end
  return 0
end

local function command_text(name, list)
  local parts = { "./moonlab run", words.quote(name) }
  for _, word in ipairs(list) do parts[#parts + 1] = words.quote(word) end
  return table.concat(parts, " ")
end

--- ./moonlab run NAME [words]: the result is the exit status.
function command.run(name, ...)
  if name == nil or (name:find "^%-" and name ~= "-") then
    return words.usage(name, usage_text)
  end
  local r, why = catalogue.load(name)
  if not r then
    io.stderr:write("moonlab: ", why, "\n")
    return 1
  end
  local list = { ... }
  local job, given = read(r, name, list)
  if not job then return complain(given) end
  if given.dry_run then return dry_run(job) end
  local large = command.too_large(r, job.params)
  if large then
    io.stderr:write("moonlab: ", large, "\n")
    return 1
  end
  job.command = command_text(name, list)
  local ok, run, word, text = pcall(open_run, job, given)
  if not ok then
    if interrupt.is(run) then error(run, 0) end
    return complain(errors.plain(run))
  end
  if not run and word == "refused" then return complain(text) end
  if not run or not run.fresh then tell_change(r, run and run.dir or text) end
  if not run then return show_finished(text, word) end
  job.run = run
  return tell_end(job, execution.execute(job))
end

return command
