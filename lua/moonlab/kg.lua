--- Knowledge graphs: graphs, splits, training on their triplets, and how often a model that was
--- told a fact answers wrongly.
local asking = require "moonlab.kg.asking"
local codec = require "moonlab.kg.codec"
local evaluation = require "moonlab.kg.evaluation"
local graph = require "moonlab.kg.graph"
local reading = require "moonlab.kg.reading"
local split = require "moonlab.kg.split"
local synthetic = require "moonlab.kg.synthetic"
local training = require "moonlab.kg.training"
local trie = require "moonlab.kg.trie"

local methods = require "moonlab.methods"
methods("ml.kg.graph", graph.methods)
methods("ml.kg.split", split.methods)
methods("ml.kg.codec", codec.methods)
methods("ml.kg.trie", trie.methods)

return {
  graph = graph.new, synthetic = synthetic.new, tsv = reading.tsv,
  ntriples = reading.ntriples, wordnet = reading.wordnet, load_split = split.load,
  codec = codec.new, batches = training.batches, train = training.train, sizes = training.sizes,
  sample = evaluation.sample, judge = evaluation.judge, evaluate = evaluation.evaluate,
  curve = evaluation.curve, loss = evaluation.loss, controls = evaluation.controls,
  ask = asking.ask, tokenizer = asking.tokenizer,
  trie = trie.new, probability = trie.probability, constrained = trie.constrained,
  methods = { graph.methods, split.methods, codec.methods, trie.methods },
}
