--- One run of a small proxy: a decoder trained at one learning rate, with what is measured on it.
local core = require "moonlab.core"
local options = require "moonlab.options"
local parameterization = require "moonlab.parameterization"
local presets = require "moonlab.proxies.presets"
local schedule = require "moonlab.schedule"
local source = require "moonlab.proxies.source"
local train = require "moonlab.train"

local run = {}

--- The parameters of a run, in the form recipes have them.
run.params = {
  size = { "S1", "S0 to S4 (1x16, 2x32, 3x64, 4x128, 6x192), or depth x width" },
  head_width = { 16, "width of a head", min = 2 },
  text = { "synthetic", "the synthetic source, or wordnet, or the path of a text file" },
  steps = { 400, "updates", min = 1 },
  batch = { 8, "rows of 32 tokens (64 bytes of a text)", min = 1 },
  lr = { 1e-2, "peak learning rate", above = 0 },
  warmup = { 0.05, "part of the steps", min = 0, max = 1 },
  floor_lr = { 0.0, "learning rate at the end", min = 0 },
  optimizer = { "adamw", "update rule",
    choices = { "adamw", "adam_atan2", "adam_ps", "adafactor", "lion", "sgd" } },
  momentum = { 0.9, "of sgd", min = 0, below = 1 },
  beta2 = { 0.95, "of Adam", min = 0, below = 1 },
  atan2 = { "pi", "a and b of adam_atan2: unit 1 and 1, pi 4/pi and 1, wide 32/pi and 8",
    choices = { "unit", "pi", "wide" } },
  eps = { 1e-8, "of Adam", min = 0 },
  epsilon = { "constant", "what epsilon does with the width", choices = { "constant",
    "per_layer" } },
  decay = { 1e-4, "weight decay", min = 0 },
  decay_form = { "independent", "", choices = { "independent", "decoupled", "coupled" } },
  clip = { 1.0, "largest gradient norm; 0: none", min = 0 },
  update_clip = { false, "bound the RMS of Adam's update" },
  z_loss = { 1e-4, "weight of (log Z)^2", min = 0 },
  qk_norm = { false, "norm of queries and keys" },
  scale = { "1/sqrt(d_head)", "of attention", choices = { "1/sqrt(d_head)", "1/d_head" } },
  kappa = { 0.0, "scale of normalised queries and keys; 0: they are not normalised", min = 0 },
  parameterization = { "none", "none: as the decoder is made", choices = { "none", "standard",
    "ntk", "mup", "mean_field", "muparam_simple", "muparam_intermediate", "muparam_full" } },
  align = { "full", "", choices = { "full", "none" } },
  base_width = { 32, "where parameterizations agree", min = 1 },
  gamma_embedding = { 1.0, "factor of the learning rate", above = 0 },
  gamma_hidden = { 1.0, "factor of the learning rate", above = 0 },
  gamma_readout = { 1.0, "factor of the learning rate", above = 0 },
  every = { 50, "updates between measurements", min = 1 },
  seed = { 1, "every stream derives from it" },
}

--- The configuration of a run's decoder.
function run.config(p, vocab, context)
  local depth, width = presets.size(p.size)
  if not depth then options.raise("ml.proxies.train: %s", width) end
  if width % p.head_width ~= 0 then
    options.raise("ml.proxies.train: the width %d is not divided by head_width, %d", width,
      p.head_width)
  end
  return { vocab = vocab, context = context, depth = depth, width = width,
    heads = width // p.head_width, qk_norm = p.qk_norm or p.kappa > 0, attention_scale = p.scale,
    norm = p.kappa > 0 and "rms" or "layer", seed = p.seed }
end

--- Memory and time of a run.
function run.estimate(p)
  local depth, width = presets.size(p.size)
  if not depth then return {} end
  local n = 12 * depth * width ^ 2 + 2 * 64 * width
  local tokens = p.batch * 32
  return { bytes = 60e6 + 24 * n + 4 * tokens * width * 40 * depth,
    seconds = p.steps * (3e-4 * depth + 6 * n * tokens / 40e9) }
end

-- Queries and keys of RMS sqrt(kappa): gains of an RMS norm that are not trained.
local function fix_kappa(lm, kappa)
  core.no_grad(function()
    for name, w in pairs(lm:named_parameters()) do
      if name:find "_norm%.gain$" then w:copy_(w:detach() * 0 + math.sqrt(kappa)) end
    end
  end)
end

local function groups_of(p, lm, log)
  local parameters = lm:named_parameters()
  local groups = { { params = parameters } }
  if p.parameterization ~= "none" then
    local preset = p.parameterization:find "^muparam"
    local table_of = parameterization(lm, { name = p.parameterization, align = not preset
      and p.align or nil, optimizer = p.optimizer, base_width = p.base_width,
      epsilon = p.epsilon, gamma = { embedding = p.gamma_embedding, hidden = p.gamma_hidden,
        readout = p.gamma_readout } })
    if log then print(table_of) end
    groups = table_of:groups()
  elseif p.gamma_embedding ~= 1 or p.gamma_hidden ~= 1 or p.gamma_readout ~= 1 then
    options.raise("ml.proxies.train: gamma without a parameterization")
  end
  if p.kappa > 0 then
    for _, group in ipairs(groups) do
      local kept = {}
      for name, w in pairs(group.params) do
        if not name:find "attn%.[qk]_norm%.gain$" then kept[name] = w end
      end
      group.params = kept
    end
    fix_kappa(lm, p.kappa)
  end
  return groups
end

local atan2 = { unit = { 1, 1 }, pi = { 4 / math.pi, 1 }, wide = { 32 / math.pi, 8 } }

local function optimizer_of(p, groups)
  local o = { lr = p.lr, weight_decay = p.decay, decay = p.decay_form }
  local adam = p.optimizer == "adamw" or p.optimizer == "adam_ps"
  if adam then o.eps = p.eps end
  if adam or p.optimizer == "adam_atan2" then o.betas = { 0.9, p.beta2 } end
  if p.optimizer == "adamw" and p.update_clip then o.update_clip = true end
  if p.optimizer == "adam_atan2" then o.a, o.b = table.unpack(atan2[p.atan2]) end
  if p.optimizer == "sgd" then o.momentum = p.momentum end
  if p.optimizer == "lion" then o.decay = nil end
  return core.optim[p.optimizer](groups, o)
end

local function rms(t) return math.sqrt((t * t):mean():item()) end

-- The unscaled update mh / (sqrt(vh) + eps) of the last step, and the share of entries whose
-- sqrt(vh) is below 10 eps.
local function update_of(p, state, name, eps)
  local m, v = state[name .. ".m"], state[name .. ".v"]
  if not (m and v) or p.optimizer == "adafactor" then return 0 / 0, 0 / 0 end
  local t = state[name .. ".step"]:item()
  local root = (v / (1 - p.beta2 ^ t)):sqrt()
  local update = m / (1 - 0.9 ^ t) / (root + eps)
  return rms(update), root:lt(10 * eps):to(m:dtype()):mean():item()
end

local watched = "blocks.1.mlp.w1"

-- What one tensor and the last step of it are: RMS of gradient (before clipping), unscaled update
-- and value.
local function measure_tensor(p, opt, name, w, record, at)
  local norm = record.grad_norm or 0 / 0
  local clipped = p.clip > 0 and norm > p.clip and norm / p.clip or 1
  at.grad_rms = rms(w:grad()) * clipped
  local eps = p.eps
  for key, scales in pairs(opt:options().parameters) do
    if key == name then eps = p.eps * scales.eps_scale end
  end
  at.update_rms, at.below_eps = update_of(p, opt:state(), name, eps)
  at.param_rms = rms(w:detach())
end

-- The same of every tensor, with its mean, after the last step.
local function measure_all(p, opt, parameters, record)
  local found = {}
  for name, w in pairs(parameters) do
    if w:grad() then
      local at = { mean = w:detach():mean():item() }
      measure_tensor(p, opt, name, w, record, at)
      found[name] = at
    end
  end
  return found
end

--- ml.proxies.train(p, { dir, log, source })
--- Trains one proxy and measures it. The parameters are those of the recipe proxy; absent ones have
--- its defaults.
--- @param p table
--- @param opts.dir string folder for checkpoints, of runs longer than 2000 steps
--- @param opts.log function called with each record of training
--- @param opts.source table data with vocab, length, valid and batch(i), in place of p.text
--- @return table { state, initial, final = validation losses (final nan when diverged), N and
--- N_all = parameters without and with embedding and head, steps, series = { step, loss, max_logit,
--- q_rms, k_rms and qk_cosine (block 1, training batch), grad_rms, update_rms, below_eps, param_rms
--- (blocks.1.mlp.w1, the gradient before clipping), logit_mean, mean_logz }, max_logit,
--- max_abs_logit, entropy, block_rms, q_rms, k_rms, qk_cosine (lists by block, validation batch at
--- the end; see lm:loss), grad_rms (mean of the last twentieth), tensors = name -> { mean,
--- param_rms, grad_rms, update_rms, below_eps } after the last step }
--- @source Wortsman et al. 2023, section 2
function run.train(p, opts)
  local where = "ml.proxies.train"
  options.argument(where, 1, p, "table")
  options.check(where, opts, { "dir", "log", "source", "print" })
  opts = opts or {}
  local given = {}
  for name, spec in pairs(run.params) do given[name] = spec[1] end
  local names = {}
  for name in pairs(run.params) do names[#names + 1] = name end
  options.check(where, p, names)
  for name, value in pairs(p) do given[name] = value end
  p = given
  local data = opts.source or (p.text == "synthetic"
    and source.synthetic { batch = p.batch, seed = p.seed }
    or source.text(p.text, { batch = p.batch, length = 64, valid = 64, seed = p.seed }))
  local config = run.config(p, data.vocab, data.length)
  local lm = core.transformer(config)
  local opt = optimizer_of(p, groups_of(p, lm, opts.print))
  local parameters = lm:named_parameters()
  local n, all = presets.count(lm:config())
  local function valid(probes)
    return core.scope(function()
      local _, info = lm:loss(data.valid, { probes = probes })
      return info
    end)
  end
  local out = { N = n, N_all = all, initial = valid().ce, steps = p.steps, lr = p.lr,
    series = { step = {}, loss = {}, max_logit = {}, grad_rms = {}, update_rms = {},
      below_eps = {}, param_rms = {}, logit_mean = {}, mean_logz = {}, q_rms = {}, k_rms = {},
      qk_cosine = {} } }
  local tail, tail_sum, tail_n, at = p.steps - math.max(1, p.steps // 20), 0, 0, {}
  local warmup = math.floor(p.warmup * p.steps + 0.5)
  local step = 0
  local result = train {
    model = lm, opt = opt, steps = p.steps, clip = p.clip > 0 and p.clip or nil,
    data = { batch = function(_, i)
      step = i
      return data:batch(i)
    end },
    dir = p.steps > 2000 and opts.dir or nil,
    schedule = function(t)
      return schedule.warmup_cosine(t, { warmup = warmup, total = p.steps,
        floor = math.min(1, p.floor_lr / p.lr) })
    end,
    loss = function(model, batch)
      local look = step % p.every == 0 or step == p.steps
      local loss, info = model:loss(batch, { z_loss = p.z_loss, probes = look })
      if look then
        at = { max_logit = info.max_logit[1] or 0 / 0, logit_mean = info.logit_mean,
          mean_logz = info.mean_logz, loss = info.ce, q_rms = info.q_rms[1] or 0 / 0,
          k_rms = info.k_rms[1] or 0 / 0, qk_cosine = info.qk_cosine[1] or 0 / 0 }
      end
      return loss
    end,
    log = function(record)
      local look = record.step % p.every == 0 or record.step == p.steps
      if record.grad_norm and parameters[watched] and (look or record.step > tail) then
        core.scope(measure_tensor, p, opt, watched, parameters[watched], record, at)
        if record.step > tail then tail_sum, tail_n = tail_sum + at.grad_rms, tail_n + 1 end
      end
      if look then
        local s = out.series
        s.step[#s.step + 1] = record.step
        for name, list in pairs(s) do
          if name ~= "step" then list[#list + 1] = at[name] or 0 / 0 end
        end
      end
      if record.step == p.steps and record.grad_norm then
        out.tensors = core.scope(measure_all, p, opt, parameters, record)
      end
      if opts.log then opts.log(record) end
    end,
  }
  local last = valid(true)
  out.state, out.reason = result.state, result.reason
  out.final = result.state == "diverged" and 0 / 0 or last.ce
  if not (out.final < math.huge) then out.state, out.final = "diverged", 0 / 0 end
  out.max_logit, out.max_abs_logit = last.max_logit, last.max_abs_logit
  out.entropy, out.block_rms = last.attn_entropy, last.block_rms
  out.q_rms, out.k_rms, out.qk_cosine = last.q_rms, last.k_rms, last.qk_cosine
  out.logit_mean, out.mean_logz = last.logit_mean, last.mean_logz
  out.grad_rms = tail_n > 0 and tail_sum / tail_n or 0 / 0
  out.update_rms, out.below_eps = at.update_rms, at.below_eps
  return out, lm
end

return run
