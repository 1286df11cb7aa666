-- The recipes of small-scale proxies at their smallest size: they end, say what they claim, and
-- exact and theory claims hold.
local ml = require "moonlab"
local check = require "check"
local program = require "program"
local smoke = require "smoke"
local T = {}

for _, name in ipairs { "proxy", "lr_sensitivity", "logit_growth", "grad_norm", "output_logits",
  "warmup", "epsilon", "depth_vs_width", "kappa", "interventions", "coord_check", "alignment",
  "alignment model=decoder", "lr_transfer", "constants", "equivalence", "muparam",
  "epsilon_width" } do
  T["test_smoke_run_of_" .. name:gsub("%W", "_")] = smoke(name)
end

local function output(arguments)
  local pipe = io.popen(("%s %s 2>&1; echo status=$?"):format(program.word, arguments))
  local text = pipe:read("a")
  pipe:close()
  return text
end

function T.test_scale_prints_sizes_and_parameterization()
  local text = output "scale S1 2x64 name=mup base_width=32"
  for _, part in ipairs { "98624", "106816", "ratio 2", "blocks.*.mlp.w2", "status=0" } do
    if not text:find(part, 1, true) then check.fail(text) end
  end
  for arguments, part in pairs { ["scale S9"] = "S0 to S4", ["scale bas_width=3"] = "base_width",
    ["scale S1 base_width=12"] = "neither divides", ["scale name=mub"] = "mup" } do
    text = output(arguments)
    if not (text:find(part, 1, true) and text:find("status=2", 1, true)) then check.fail(text) end
  end
end

-- A made-up study: the grid 2^-4 to 2^-1, the first width's optimum between 2^-3 and 2^-2.
local function study(model, losses, first_best)
  local arms = {}
  for i, name in ipairs { "global full adam", "standard full adam", "mup full adam" } do
    local lr = { 2.0 ^ -4, 2.0 ^ -3, 2.0 ^ -2, 2.0 ^ -1 }
    arms[i] = { name = name, widths = {
      { width = 32, best = first_best or 2.0 ^ -2.5, value = 1, lr = lr, loss = { 2, 1, 1, 2 } },
      { width = 64, best = 2.0 ^ -3, value = 1, lr = lr, loss = losses } } }
  end
  return { model = model, arms = arms }
end

function T.test_the_cost_of_a_transfer() -- analytic
  local measure = {}
  for _, claim in ipairs(ml.recipe.load("lr_transfer").claims) do
    if claim.name:find("loss by transfer", 1, true) then measure[claim.name] = claim end
  end
  for model, prefix in pairs { mlp = "", transformer = "transformer: " } do
    local one = measure[prefix .. "loss by transfer with one learning rate"]
    check.equal(one.measure(study(model, { 9, 1, 1.25, 9 })), 0.25)
    check.equal(one.measure(study(model, { 9, 1, 0 / 0, 9 })), math.huge) -- diverged
    check.raises("not bracketed", one.measure, study(model, { 9, 1, 1.25, 9 }, 0 / 0))
    local both = measure[prefix .. "loss by transfer to the last width, larger of standard and muP"]
    check.equal(both.measure(study(model, { 9, 1, 1.5, 9 })), 0.5)
    if model == "transformer" then
      check.equal({ one.kind, both.kind }, { "exploratory", "exploratory" })
    end
  end
  local when = measure["transformer: loss by transfer with one learning rate"].when
  check.equal({ when { model = "mlp", arms = { "every", "global full adam" } },
    when { model = "transformer", arms = { "every", "global full adam" } },
    when { model = "transformer", arms = { "every" } } }, { false, true, false })
end

return T
