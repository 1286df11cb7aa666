-- Schedules at their corners.
local ml = require "moonlab"
local check = require "check"
local T = {}
local s = ml.schedule

function T.test_warmup_cosine() -- analytic
  local o = { warmup = 100, total = 1000, floor = 0.1 }
  check.close(s.warmup_cosine(1, o), 0.01)
  check.close(s.warmup_cosine(100, o), 1)
  check.close(s.warmup_cosine(550, o), 0.1 + 0.9 * 0.5)
  check.close(s.warmup_cosine(1000, o), 0.1)
  check.close(s.warmup_cosine(5000, o), 0.1)
end

-- analytic, Wortsman et al. 2023: lr = 1e-5 + (eta - 1e-5) (1 + cos) / 2
function T.test_an_absolute_floor()
  local eta, t = 3e-3, 370
  local x = (t - 50) / 950
  local wanted = (1e-5 + (eta - 1e-5) * 0.5 * (1 + math.cos(math.pi * x))) / eta
  check.close(s.warmup_cosine(t, { warmup = 50, total = 1000, floor_lr = 1e-5, peak_lr = eta }),
    wanted, { rtol = 1e-13 })
end

function T.test_the_others() -- analytic
  check.close(s.warmup_linear(6, { warmup = 2, total = 10 }), 0.5)
  check.close(s.warmup_constant(3, { warmup = 6 }), 0.5)
  check.close(s.warmup_constant(30, { warmup = 6 }), 1)
  check.close(s.inverse_sqrt(400, { warmup = 100 }), 0.5)
end

function T.test_errors()
  check.raises("total", s.warmup_cosine, 1, { warmup = 10 })
  check.raises("at least warmup", s.warmup_cosine, 1, { warmup = 10, total = 5 })
  check.raises("the step is 0", s.warmup_cosine, 0, { total = 5 })
  check.raises("did you mean 'warmup'", s.warmup_cosine, 1, { wramup = 10, total = 20 })
  check.raises("least multiplier -1, wanted 0..1", s.warmup_cosine, 1, { total = 2, floor = -1 })
  check.raises("option 'peak_lr' goes with floor_lr", s.warmup_linear, 1,
    { total = 2, peak_lr = 1 })
  check.raises("option 'warmup' is \"a\", wanted a number", s.inverse_sqrt, 1, { warmup = "a" })
  check.raises("not both", s.warmup_cosine, 1,
    { total = 20, floor = 0.1, floor_lr = 1, peak_lr = 2 })
  check.raises("least multiplier 2, wanted 0..1", s.warmup_cosine, 3, { total = 10, floor = 2 })
  check.raises("'floor_lr' makes the least multiplier 3", s.warmup_linear, 3,
    { total = 10, floor_lr = 3, peak_lr = 1 })
end

return T
