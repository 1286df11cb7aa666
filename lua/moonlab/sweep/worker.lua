--- A worker of a sweep: claims one point after another, runs it, and leaves when nothing is left.
local core = require "moonlab.core"
local catalogue = require "moonlab.recipe.catalogue"
local errors = require "moonlab.recipe.errors"
local execution = require "moonlab.recipe.execution"
local folder = require "moonlab.runs.folder"
local lfs = require "lfs"
local params = require "moonlab.recipe.params"
local queue = require "moonlab.sweep.queue"
local reading = require "moonlab.runs.reading"
local runs = require "moonlab.runs"

local worker = {}

--- Waits; Ctrl-C raises.
function worker.sleep(seconds) core.system.wait_any({}, seconds) end

local function complain(text)
  io.stderr:write("moonlab: ", text, "\n")
  io.stderr:flush()
end

-- A worker whose parent has died finishes the point at hand and leaves: whoever starts the sweep
-- again starts workers of his own.
local function parent_lives(pid)
  return pid == nil or lfs.attributes("/proc/" .. pid, "mode") ~= nil
end

-- Whether a worker of the same sweep holds a point, or held it when it died and the sweep has not
-- counted that yet.
local function held_by_a_fellow(header, point)
  local dir = header.store .. "/" .. point.id
  if lfs.attributes(dir, "mode") ~= "directory" then return false end
  local holder = core.system.lease_holder(dir) -- no pcall: it would take a Ctrl-C for its own
  return holder and not holder.released
    and lfs.attributes(queue.mark(header.file, holder.pid), "mode") ~= nil
end

-- Whether a fellow died of the point between the look at it and the claim, and the sweep has not
-- counted that yet.
local function has_uncounted_death(header, run)
  local own = core.system.process().pid
  for _, session in ipairs(reading.open_sessions(run)) do
    if session.pid ~= own
      and lfs.attributes(queue.mark(header.file, session.pid), "mode") ~= nil then
      return true
    end
  end
  return false
end

-- Claims and runs a point: true when it was run; else false, and whether it is settled.
local function work_on(r, header, point)
  if held_by_a_fellow(header, point) then return false, false end
  local p, wrong = params.check_all(r.params, point.params, r.name)
  if not p then error(wrong, 0) end
  local seeds = { p.seed }
  local job = { recipe = r, size = header.size, params = p, seeds = seeds, quiet = true,
    command = header.command }
  local claim = execution.identity(r, header.size, p, seeds)
  claim.id, claim.store = point.id, header.store
  local run, word = runs.claim(claim)
  if not run then return false, word ~= "busy" end
  if has_uncounted_death(header, run) then
    run:finish("interrupted", "given back: what the process before died of is not recorded yet")
    return false, false
  end
  job.run = run
  local state, failure = execution.execute(job)
  if state == "interrupted" then error(failure.message, 0) end
  if failure then complain(("%s failed: %s"):format(point.id, failure.message)) end
  return true, true
end

-- Whether the process that was last at work on a point died of it, or with it.
local function is_dangerous(header, point)
  local run = folder.at(header.store .. "/" .. point.id, point.id)
  return run ~= nil and #reading.open_sessions(run) > 0
end

-- One pass over the points that are left. What a process died of waits until the others have had
-- their turn. Returns those left after it, and whether it is worth another pass at once.
local function pass(r, header, left, parent)
  local still, worked = {}, false
  for _, point in ipairs(left) do
    if not parent_lives(parent) then return {}, false, true end
    local ran, settled
    if not point.waited and is_dangerous(header, point) then
      point.waited, ran = true, true
    else
      ran, settled = work_on(r, header, point)
    end
    worked = worked or ran
    if not settled then still[#still + 1] = point end
  end
  return still, worked
end

local function drain(r, q, parent)
  local left, pause = {}, 0.02
  while true do
    for _, point in ipairs(q:more()) do left[#left + 1] = point end
    local worked, orphan
    left, worked, orphan = pass(r, q.header, left, parent)
    if orphan then return end
    if worked then
      pause = 0.02
    else
      if q.ended then return end -- what is left is in the hands of others
      worker.sleep(pause)
      pause = math.min(0.5, 2 * pause)
    end
  end
end

--- moonlab sweep --work QUEUE: works off a queue file. o: { parent = its process, memory = bytes
--- that it may take }. The result is the exit status.
function worker.command(path, o)
  local q, why = queue.open(path)
  if not q then
    complain(why)
    return 1
  end
  require("moonlab.progress.display").quiet = true
  if o.memory then core.memory { limit = o.memory } end
  q.header.file = path
  if o.parent then core.write_file(queue.mark(path, core.system.process().pid), "") end
  local r, wrong = catalogue.load(q.header.path)
  if not r then
    complain(wrong)
    return 1
  end
  local ok, message = xpcall(drain, errors.handler, r, q, o.parent)
  if ok then return 0 end
  if message.interrupt then return 130 end
  complain(message.message .. "\n" .. message.trace)
  return 1
end

return worker
