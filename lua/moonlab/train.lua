--- The training loop: evaluation, accumulation, clipping, what happens at NaN, checkpoints and
--- resume, bit for bit.
local core = require "moonlab.core"
local display = require "moonlab.progress.display"
local lfs = require "lfs"
local options = require "moonlab.options"
local progress = require "moonlab.progress"
local sorted = require "moonlab.sorted"

local where = "ml.train"

-- ---- state on disk ------------------------------------------------------------------------------
-- dir/config.json     what the run is; written once
-- dir/metrics.jsonl   one line per step or evaluation, appended; lines past the checkpoint are cut
--     on resume
-- dir/checkpoint.safetensors   weights, optimizer state; step, random states and the run's state in
--     its metadata

local function path_of(dir, name) return dir .. "/" .. name end

local function exists(path) return lfs.attributes(path, "mode") ~= nil end

local function make_dir(dir)
  local built = dir:sub(1, 1) == "/" and "/" or ""
  for part in dir:gmatch("[^/]+") do
    built = built .. part .. "/"
    if not exists(built) then
      local ok, why = lfs.mkdir(built)
      if not ok and not exists(built:sub(1, -2)) then
        error(("%s: cannot make %s (%s)"):format(where, built, why), 0)
      end
    end
    if lfs.attributes(built, "mode") ~= "directory" then
      error(("%s: %s is not a folder"):format(where, built:sub(1, -2)), 0)
    end
  end
end

-- JSON has no NaN and no infinity: written and read as in the folders of ml.runs.
local exact = { nan = "exact" }

local function metric_line(record) return core.json.encode(record, exact) .. "\n" end

local function read_metrics(path, last)
  local records = {}
  local file = io.open(path, "r")
  if not file then return records end
  for line in file:lines() do
    local ok, record = pcall(core.json.decode, line, exact)
    if not ok or type(record) ~= "table" or record.step == nil then break end -- a torn last line
    if record.step > last then break end
    records[#records + 1] = record
  end
  file:close()
  return records
end

local function cut_metrics(path, records)
  local lines = {}
  for i, record in ipairs(records) do lines[i] = metric_line(record) end
  core.write_file(path, table.concat(lines))
end

-- What makes two runs the same: everything that changes results, as far as it can be told.
local function fingerprint(o, params)
  local shapes = {}
  for name, p in sorted(params) do
    shapes[#shapes + 1] = ("%s %s [%s]"):format(name, p:dtype(), table.concat(p:shape(), "x"))
  end
  return {
    steps = o.steps, accumulate = o.accumulate, clip = o.clip or false, on_nan = o.on_nan,
    eval_every = o.eval_every,
    parameters = shapes, optimizer = o.opt.options and o.opt:options() or tostring(o.opt),
    config = o.config or {},
  }
end

local function dump(value)
  if type(value) == "table" then
    local parts = {}
    for key, v in sorted(value) do parts[#parts + 1] = ("%s=%s"):format(tostring(key), dump(v)) end
    return "{" .. table.concat(parts, ",") .. "}"
  end
  if type(value) == "number" then return core.json.encode(value, exact) end
  return tostring(value)
end

local function first_difference(a, b, prefix)
  local keys = {}
  for key in pairs(a) do keys[key] = true end
  for key in pairs(b) do keys[key] = true end
  for key in sorted(keys) do
    if dump(a[key]) ~= dump(b[key]) then
      if type(a[key]) == "table" and type(b[key]) == "table" then
        return first_difference(a[key], b[key], prefix .. tostring(key) .. ".")
      end
      return prefix .. tostring(key), dump(a[key]), dump(b[key])
    end
  end
end

-- ---- random states ------------------------------------------------------------------------------

local function rng_states(rngs)
  local states = {}
  for name, g in pairs(rngs) do states[name] = g:state() end
  return states
end

local function restore_rngs(rngs, states)
  for name, g in pairs(rngs) do g:load_state(states[name]) end
end

-- ---- checkpoints --------------------------------------------------------------------------------

local function tensors_of(run)
  local tensors = {}
  for name, t in pairs(run.params) do tensors["model." .. name] = t end
  for name, t in pairs(run.buffers) do tensors["buffer." .. name] = t end
  for name, t in pairs(run.opt:state()) do tensors["optimizer." .. name] = t end
  return tensors
end

local function save_checkpoint(run, state)
  core.save(path_of(run.dir, "checkpoint.safetensors"), tensors_of(run), {
    metadata = {
      moonlab = core.json.encode {
        step = run.step, state = state, rngs = run.states, skipped = run.skipped,
        reason = run.reason,
      },
    },
  })
end

local function described(t) return ("%s [%s]"):format(t:dtype(), table.concat(t:shape(), "x")) end

-- What of a checkpoint belongs to the model: pairs { to, from }, all of them checked.
local function model_tensors(run, tensors)
  local path, pairs_of = path_of(run.dir, "checkpoint.safetensors"), {}
  for prefix, list in sorted { ["model."] = run.params, ["buffer."] = run.buffers } do
    for name, t in sorted(list) do
      local found = tensors[prefix .. name]
      if not found then
        error(("%s: %s has no tensor '%s'"):format(where, path, prefix .. name), 0)
      end
      if described(found) ~= described(t) then
        error(("%s: %s: '%s' is %s, wanted %s"):format(where, path, prefix .. name,
          described(found), described(t)), 0)
      end
      pairs_of[#pairs_of + 1] = { t, found }
    end
  end
  return pairs_of
end

-- Nothing of the run changes before all of the checkpoint has been found whole.
local function load_checkpoint(run)
  local tensors, metadata = core.load(path_of(run.dir, "checkpoint.safetensors"))
  if not tensors then error(("%s: %s"):format(where, metadata), 0) end
  local ok, saved = pcall(core.json.decode, metadata and metadata.moonlab or "")
  if not ok or type(saved) ~= "table" or math.type(saved.step) ~= "integer" then
    error(("%s: %s/checkpoint.safetensors is not a training checkpoint"):format(where, run.dir), 0)
  end
  local found = model_tensors(run, tensors)
  local state = {}
  for name, t in pairs(tensors) do
    local key = name:match("^optimizer%.(.*)$")
    if key then state[key] = t end
  end
  for name in sorted(run.rngs) do
    if not (saved.rngs and saved.rngs[name]) then
      error(("%s: the checkpoint has no state of the generator '%s'"):format(where, name), 0)
    end
  end
  run.opt:load_state(state)
  core.no_grad(function()
    for _, both in ipairs(found) do both[1]:copy_(both[2]) end
  end)
  restore_rngs(run.rngs, saved.rngs or {})
  run.states = rng_states(run.rngs)
  run.step, run.skipped, run.reason = saved.step, saved.skipped or 0, saved.reason
  return saved.state
end

local function open_dir(run, o)
  make_dir(run.dir)
  local config_path = path_of(run.dir, "config.json")
  local config = fingerprint(o, run.params)
  if not exists(config_path) then
    core.json.write(config_path, config, exact)
    core.write_file(path_of(run.dir, "metrics.jsonl"), "")
    return nil
  end
  -- compared as read back, so that both have been through JSON
  local before = core.json.read(config_path, exact)
  local now = core.json.decode(core.json.encode(config, exact), exact)
  local key, old, new = first_difference(before, now, "")
  if key then
    error(("%s: %s holds a run of another configuration (%s was %s, is %s); choose another dir")
      :format(where, run.dir, key,
      old, new), 0)
  end
  if not exists(path_of(run.dir, "checkpoint.safetensors")) then
    -- killed before its first checkpoint: anew
    core.write_file(path_of(run.dir, "metrics.jsonl"), "")
    return nil
  end
  local state = load_checkpoint(run)
  local metrics = path_of(run.dir, "metrics.jsonl")
  run.history = read_metrics(metrics, run.step)
  cut_metrics(metrics, run.history)
  for _, record in ipairs(run.history) do
    if record.kind == "eval" then run.evaluated = record.step end
  end
  return state
end

-- ---- the loop -----------------------------------------------------------------------------------

local function finite(x) return x == x and x ~= math.huge and x ~= -math.huge end

local function record_metric(run, record)
  run.history[#run.history + 1] = record
  if run.metrics then
    local ok, why = run.metrics:write(metric_line(record))
    if not ok then
      error(("%s: cannot write %s/metrics.jsonl (%s)"):format(where, run.dir, why), 0)
    end
  end
  if run.log then run.log(record) end
end

-- One micro-batch: its loss as a number, gradients accumulated.
local function micro_step(o, index)
  local batch = o.data:batch(index)
  local loss = o.loss(o.model, batch)
  if not core.is_tensor(loss) or loss:is_released() or loss:numel() ~= 1 then
    local shape = core.is_tensor(loss) and not loss:is_released() and loss:shape()
    error(("%s: loss returned %s, wanted a 0-d tensor"):format(where, shape
      and "a tensor of shape [" .. table.concat(shape, "x") .. "]" or options.describe(loss)), 0)
  end
  local value = loss:item()
  if finite(value) then
    if o.accumulate > 1 then loss = loss / o.accumulate end
    loss:backward()
  end
  return value
end

local function one_step(run, o)
  local t = run.step + 1
  run.opt:zero_grad()
  local total, ok = 0, true
  for k = 1, o.accumulate do
    local value = core.scope(micro_step, o, (t - 1) * o.accumulate + k)
    total = total + value / o.accumulate
    ok = ok and finite(value)
  end
  local record = { step = t, loss = total }
  if ok then -- a gradient may be NaN where the loss is not
    record.grad_norm = core.optim.clip_grad_norm(run.list, o.clip or math.huge)
    ok = finite(record.grad_norm)
  end
  local s = 1.0
  if o.schedule then
    s = o.schedule(t)
    if type(s) ~= "number" or s ~= s then
      error(("%s: schedule returned %s at step %d, wanted a number"):format(where,
        options.describe(s), t), 0)
    end
  end
  if o.schedule then record.lr_scale = s end
  run.torn = true -- until the step is counted and recorded
  if ok then
    run.opt:step(s)
  elseif o.on_nan == "stop" then
    run.state = "diverged"
    run.reason = ("loss %s%s at step %d"):format(total,
      record.grad_norm and (", gradient norm " .. record.grad_norm) or "", t)
  else
    run.skipped = run.skipped + 1
    record.skipped = 1
  end
  return record
end

local function evaluate(run, o)
  local was = o.model and type(o.model.training) == "function" and o.model:training()
  if was then o.model:training(false) end
  local ok, result = pcall(core.scope,
    function() return core.no_grad(function() return o.eval(o.model, run.step) end) end)
  if was then o.model:training(true) end
  if not ok then error(result, 0) end
  local values = type(result) == "table" and result or { eval = result }
  local record = { step = run.step, kind = "eval" }
  for key, value in pairs(values) do
    if core.is_tensor(value) and not value:is_released() and value:numel() == 1 then
      value = value:item()
    end
    if type(value) ~= "number" then
      error(("%s: eval gave %s as '%s', wanted a number"):format(where, options.describe(value),
        tostring(key)), 0)
    end
    record[key] = value
  end
  return record
end

-- Evaluations are due before the first step, every eval_every steps and after the last one.
local function evaluate_if_due(run, o)
  local due = run.step == 0 or run.step % o.eval_every == 0 or run.step == o.steps
  if not o.eval or not due or run.evaluated == run.step then return end
  local record = evaluate(run, o)
  run.torn = true
  record_metric(run, record)
  run.evaluated = run.step
  run.states = rng_states(run.rngs)
  run.torn = false
end

-- On a terminal, and unless somebody shows it already, a line that is renewed while it lasts.
local function show(run, o, record)
  if run.bar == nil then
    run.bar = display.terminal and not display.quiet and #display.bars == 0
      and progress.bar(o.steps, "training", { skipped = run.step - 1 })
  end
  if not run.bar then return end
  run.bar:update(run.step, record.loss and ("loss %.4g"):format(record.loss))
end

local function stop_showing(run)
  if not run.bar then return end
  run.bar.touched = false -- leaves no line
  run.bar:finish()
end

local function run_steps(run, o)
  evaluate_if_due(run, o)
  while run.step < o.steps do
    local record = one_step(run, o)
    run.step = run.step + 1
    record_metric(run, record)
    show(run, o, record)
    run.states = rng_states(run.rngs)
    run.torn = false
    if run.state ~= "running" then return end
    evaluate_if_due(run, o)
    if run.dir and run.step % o.checkpoint_every == 0 and run.step < o.steps then
      run.metrics:flush()
      save_checkpoint(run, "running")
    end
  end
end

local names = { "model", "data", "opt", "steps", "schedule", "loss", "eval", "eval_every", "clip",
  "dir", "checkpoint", "accumulate", "on_nan", "log", "config", "rngs" }

local function check(o)
  options.argument(where, 1, o, "table")
  options.check(where, o, names)
  local c = {}
  for key, value in pairs(o) do c[key] = value end
  c.steps = options.range(where, "steps", options.field(where, o, "steps", "integer"), 1)
  c.accumulate = options.range(where, "accumulate",
    options.field(where, o, "accumulate", "integer", 1), 1)
  c.eval_every = options.range(where, "eval_every",
    options.field(where, o, "eval_every", "integer", c.steps), 1)
  options.field(where, o, "loss", "function")
  c.on_nan = options.choice(where, o, "on_nan", { "stop", "skip" }, "stop")
  if o.clip ~= nil and not (type(o.clip) == "number" and o.clip > 0) then
    options.bad(where, 0, "option 'clip' is %s, wanted a number > 0", options.describe(o.clip))
  end
  for _, name in ipairs { "schedule", "eval", "log" } do
    options.optional(where, o, name, "function")
  end
  local function has(option, name)
    local object = o[option]
    if type(object) ~= "table" and type(object) ~= "userdata" then return false end
    local ok, method = pcall(function() return object[name] end)
    return ok and type(method) == "function"
  end
  if not has("data", "batch") then
    options.bad(where, 0, "option 'data' is %s, wanted a table with batch(self, i)",
      options.describe(o.data))
  end
  if not has("model", "named_parameters") then
    options.bad(where, 0, "option 'model' is %s, wanted a module or a decoder",
      options.describe(o.model))
  end
  for _, name in ipairs { "step", "zero_grad", "state", "load_state" } do
    if not has("opt", name) then
      options.bad(where, 0, "option 'opt' is %s, wanted an optimizer of ml.optim",
        options.describe(o.opt))
    end
  end
  for name, g in sorted(options.field(where, o, "rngs", "table", {})) do
    if options.describe(g) ~= "ml.rng" then
      options.bad(where, 0, "option 'rngs': '%s' is %s, wanted a generator (ml.rng)",
        tostring(name), options.describe(g))
    end
  end
  options.optional(where, o, "config", "table")
  local checkpoint = options.field(where, o, "checkpoint", "table", {})
  options.check(where, checkpoint, { "every" })
  c.checkpoint_every = options.range(where, "checkpoint.every",
    options.field(where, checkpoint, "every", "integer", math.max(1, c.steps // 10)), 1)
  if options.optional(where, o, "dir", "string") == "" then
    options.bad(where, 0, "option 'dir' is empty")
  end
  if o.checkpoint and not o.dir then
    options.bad(where, 0, "option 'checkpoint' without 'dir': there is no folder for it")
  end
  return c
end

--- ml.train{ model =, data =, opt =, steps =, loss =, schedule =, eval =, eval_every =, clip =,
---   dir =, checkpoint = { every = }, accumulate =, on_nan =, log =, config =, rngs = }
--- Trains a model. With dir the run is kept there and a second call continues an unfinished run of
--- the same configuration bit for bit; a finished one is loaded and returned; another configuration
--- raises. Ctrl-C saves a checkpoint first. On a terminal a line shows how far it is.
--- @param model module or decoder: anything with named_parameters()
--- @param data table with batch(self, i), a pure function of i = 1, 2, ...
--- @param opt optimizer over the model's parameters
--- @param steps integer updates in all
--- @param loss function(model, batch) -> 0-d tensor
--- @param schedule function(t) -> multiplier of the rate at update t, from 1
--- @param eval function(model, step) -> number or table of numbers; called without gradients at
--- step 0, every eval_every steps and at the end
--- @param clip number largest gradient norm
--- @param accumulate integer =1 batches per update, their gradients averaged
--- @param on_nan string ="stop" (state "diverged") or "skip" the update
--- @param checkpoint.every integer =steps/10 updates between checkpoints
--- @param log function(record) called with every metric record { step =, loss =, ... }
--- @param config table further settings that make this run what it is (compared on resume)
--- @param rngs table name -> rng that batch or loss draw from; kept in checkpoints (a module's own
--- are kept anyway)
--- @return table { state = "done"|"diverged", step =, history = records, skipped =, resumed_at =,
--- reason = }
--- @source -
local function train(arguments)
  local o = check(arguments)
  local model = o.model
  local run = {
    params = model:named_parameters(), opt = o.opt, dir = o.dir, step = 0, history = {},
    skipped = 0, state = "running", log = o.log, rngs = {}, buffers = {},
  }
  if type(model.named_buffers) == "function" then run.buffers = model:named_buffers() end
  if type(model.named_rngs) == "function" then
    for name, g in pairs(model:named_rngs()) do run.rngs["model." .. name] = g end
  end
  for name, g in pairs(o.rngs or {}) do run.rngs[name] = g end
  run.list = {}
  for _, p in sorted(run.params) do run.list[#run.list + 1] = p end
  run.states = rng_states(run.rngs)

  if run.dir then
    local state = open_dir(run, o)
    if state == "done" or state == "diverged" then
      return { state = state, step = run.step, history = run.history, skipped = run.skipped,
        resumed_at = run.step, reason = run.reason }
    end
    if run.step > 0 then run.resumed_at = run.step end
    local file, why = io.open(path_of(run.dir, "metrics.jsonl"), "a")
    if not file then
      error(("%s: cannot write %s (%s)"):format(where, path_of(run.dir, "metrics.jsonl"), why), 0)
    end
    run.metrics = file
  end

  local ok, why = xpcall(run_steps, function(message)
    if type(message) == "string" and not message:find("interrupted", 1, true)
      and message:sub(1, #where + 1) ~= where .. ":"
      and not message:find("stack traceback:", 1, true) then
      return debug.traceback(message, 2)
    end
    return message
  end, run, o)
  if run.metrics then run.metrics:close() end
  stop_showing(run)
  if not ok then
    -- in the middle of an update the last checkpoint stands
    if run.dir and tostring(why):find("interrupted", 1, true) and run.step > 0 and not run.torn then
      restore_rngs(run.rngs, run.states)
      save_checkpoint(run, "running")
      if display.terminal and not display.quiet then
        display.write(("moonlab: stopped after update %d of %d; the same call goes on from there\n")
          :format(run.step, o.steps))
      end
    end
    error(why, 0)
  end
  if run.state == "running" then run.state = "done" end
  if run.dir then save_checkpoint(run, run.state) end
  return { state = run.state, step = run.step, history = run.history, skipped = run.skipped,
    resumed_at = run.resumed_at, reason = run.reason }
end

return train
