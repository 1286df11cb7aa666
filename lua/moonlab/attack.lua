--- Adversarial arithmetic: models that learn sums and to take answers from context, attacks on
--- them, and defences.
local corpus = require "moonlab.attack.corpus"
local defence = require "moonlab.attack.defence"
local measures = require "moonlab.attack.measures"
local models = require "moonlab.attack.models"
local search = require "moonlab.attack.search"

require "moonlab.methods"("ml.attack.corpus", corpus.methods)

return {
  corpus = corpus.new, train = models.train, target = models.target, sizes = models.sizes,
  prompt = measures.prompt, problems = measures.problems, measure = measures.measure,
  heat = measures.heat, by_error_size = measures.by_error_size, families = measures.families,
  benign = measures.benign, pirs = search.pirs, gradient = search.gradient,
  confirm = search.confirm, mix = defence.mix, harden = defence.harden,
  revise = defence.revise, methods = { corpus.methods },
}
