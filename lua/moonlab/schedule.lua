--- Learning-rate schedules: multipliers of an optimizer's rate as pure functions of the step,
--- counted from 1.
local options = require "moonlab.options"
local schedule = {}

local function multiplier_floor(where, o)
  local floor, name = options.field(where, o, "floor", "number", 0.0), "floor"
  if o.floor_lr ~= nil then
    if o.floor ~= nil then
      options.bad(where, 0, "give floor or floor_lr, not both")
    end
    local peak = options.field(where, o, "peak_lr", "number")
    if not (peak > 0) then
      options.bad(where, 0, "option 'peak_lr' is %g, wanted > 0", peak)
    end
    floor, name = options.field(where, o, "floor_lr", "number") / peak, "floor_lr"
  elseif o.peak_lr ~= nil then
    options.bad(where, 0, "option 'peak_lr' goes with floor_lr")
  end
  if not (floor >= 0 and floor <= 1) then
    options.bad(where, 0, "option '%s' makes the least multiplier %g, wanted 0..1", name, floor)
  end
  return floor
end

local function warmup_of(where, t, o, default)
  if not (type(t) == "number" and t >= 1) then
    options.bad(where, 1, "the step is %s, wanted a number >= 1", options.describe(t))
  end
  local warmup = options.range(where, "warmup",
    options.field(where, o, "warmup", "number", default or 0), 0)
  return warmup, t <= warmup and t / warmup or nil
end

local function progress_of(where, t, warmup, o)
  local total = options.field(where, o, "total", "number")
  if not (total >= warmup) then
    options.bad(where, 0, "total is %g, wanted at least warmup, %g", total, warmup)
  end
  if total == warmup then return 1 end
  return math.min(1, (t - warmup) / (total - warmup))
end

--- ml.schedule.warmup_cosine(t, { warmup, total, floor | floor_lr, peak_lr })
--- Linear from 0 to 1 over warmup steps, then half a cosine down to the floor at step total, and
--- constant after it.
--- @param t number step, from 1
--- @param opts.warmup number =0 steps; step warmup has multiplier 1
--- @param opts.total number steps in all, >= warmup
--- @param opts.floor number =0 least multiplier; or floor_lr with peak_lr: an absolute rate
--- @return number multiplier in [0, 1]
--- @source Loshchilov & Hutter 2017; absolute floor: Wortsman et al. 2023
function schedule.warmup_cosine(t, opts)
  local where = "ml.schedule.warmup_cosine"
  options.check(where, opts, { "warmup", "total", "floor", "floor_lr", "peak_lr" })
  opts = opts or {}
  local warmup, rising = warmup_of(where, t, opts)
  local floor = multiplier_floor(where, opts)
  local x = progress_of(where, t, warmup, opts)
  return rising or floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * x))
end

--- ml.schedule.warmup_linear(t, { warmup, total, floor | floor_lr, peak_lr })
--- Linear from 0 to 1 over warmup steps, then linear down to the floor at step total.
--- @param t number step, from 1
--- @param opts.warmup number =0 steps
--- @param opts.total number steps in all, >= warmup
--- @param opts.floor number =0 least multiplier; or floor_lr with peak_lr
--- @return number multiplier in [0, 1]
--- @source Devlin et al. 2019
function schedule.warmup_linear(t, opts)
  local where = "ml.schedule.warmup_linear"
  options.check(where, opts, { "warmup", "total", "floor", "floor_lr", "peak_lr" })
  opts = opts or {}
  local warmup, rising = warmup_of(where, t, opts)
  local floor = multiplier_floor(where, opts)
  local x = progress_of(where, t, warmup, opts)
  return rising or floor + (1 - floor) * (1 - x)
end

--- ml.schedule.warmup_constant(t, { warmup })
--- Linear from 0 to 1 over warmup steps, then 1.
--- @param t number step, from 1
--- @param opts.warmup number =0 steps
--- @return number multiplier in [0, 1]
--- @source Goyal et al. 2017
function schedule.warmup_constant(t, opts)
  local where = "ml.schedule.warmup_constant"
  options.check(where, opts, { "warmup" })
  local _, rising = warmup_of(where, t, opts or {})
  return rising or 1.0
end

--- ml.schedule.inverse_sqrt(t, { warmup })
--- Linear from 0 to 1 over warmup steps, then sqrt(warmup / t).
--- @param t number step, from 1
--- @param opts.warmup number =1 steps, >= 1
--- @return number multiplier in (0, 1]
--- @source Vaswani et al. 2017
function schedule.inverse_sqrt(t, opts)
  local where = "ml.schedule.inverse_sqrt"
  options.check(where, opts, { "warmup" })
  opts = opts or {}
  local warmup, rising = warmup_of(where, t, opts, 1)
  return rising or math.sqrt(math.max(1, warmup) / t)
end

return schedule
