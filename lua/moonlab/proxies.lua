--- Small-scale proxies: short trainings of small decoders whose measurements foretell the trouble
--- of large ones.
local analysis = require "moonlab.proxies.analysis"
local presets = require "moonlab.proxies.presets"
local run = require "moonlab.proxies.run"
local source = require "moonlab.proxies.source"

return {
  source = source.synthetic, train = run.train,
  preset = presets.preset, diff = presets.diff,
  lr_sensitivity = analysis.lr_sensitivity, right_branch = analysis.right_branch,
  optimal_lr = analysis.optimal_lr, predict_logit = analysis.predict_logit,
  gradient_rms = analysis.gradient_rms,
}
