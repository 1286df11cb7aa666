--- Data for small-scale proxies: a synthetic source whose best losses are known, and rows of real
--- text.
local core = require "moonlab.core"
local options = require "moonlab.options"

local source = {}

local Source = {}
Source.__index = Source
Source.__name = "ml.proxies.source"

-- Rows of length + 1 ids: 8 uniform ones, then with probability 0.4 the id 8 places back, else one
-- that depends on the id p before it: 5p + 3 (0.5), 11p + 7 (0.25), uniform (0.25), modulo vocab.
local function draw_rows(key, n, length, vocab)
  local columns = length + 1
  local choice = key:fold("choice", 1):uniform({ n, columns, 2 }):totable()
  local any = key:fold("any", 1):integers(1, vocab, { n, columns }):totable()
  local rows = {}
  for i = 1, n do
    local row, u, free = {}, choice[i], any[i]
    for t = 1, columns do
      if t <= 8 then
        row[t] = free[t]
      elseif u[t][1] < 0.4 then
        row[t] = row[t - 8]
      else
        local p, v = row[t - 1] - 1, u[t][2]
        row[t] = v < 0.5 and (5 * p + 3) % vocab + 1 or v < 0.75 and (11 * p + 7) % vocab + 1
          or free[t]
      end
    end
    rows[i] = row
  end
  return core.index(rows)
end

--- source:batch(i)
--- Training batch number i, a pure function of i: rows in a new order each epoch.
--- @param i integer from 1
--- @return tensor index [batch, length + 1]
--- @source -
function Source:batch(i)
  local first = (i - 1) * self.rows_per_batch
  local ids = {}
  for k = 0, self.rows_per_batch - 1 do
    local epoch, at = (first + k) // self.rows, (first + k) % self.rows
    if not (self.order and self.epoch == epoch) then
      self.order = core.keep(self.key:fold("epoch", epoch):permutation(self.rows))
      self.epoch = epoch
    end
    ids[k + 1] = self.order[at + 1]
  end
  return self.train:index_select(core.index(ids), 1)
end

options.methods(Source, "source:")
require "moonlab.methods"("ml.proxies.source", Source)

--- ml.proxies.source{ vocab =, length =, train =, valid =, batch =, seed = }
--- Synthetic sequences that bigrams learn halfway: 8 uniform ids, then with probability 0.4 the id
--- 8 places back, else one that depends on the id before. With the default sizes the best losses
--- in nats, averaged over 32 targets: uniform 4.16, bigram 3.40, the source itself 2.38.
--- @param opts.vocab integer =64 at least 2
--- @param opts.length integer =32 targets in a row, at least 8
--- @param opts.train integer =2048 rows to learn from
--- @param opts.valid integer =128 rows held out
--- @param opts.batch integer =8 rows of a batch
--- @param opts.seed integer =1 of every draw
--- @return source with train, valid (index [rows, length + 1]), vocab, length, batch(i)
--- @source -
function source.synthetic(opts)
  local where = "ml.proxies.source"
  options.check(where, opts, { "vocab", "length", "train", "valid", "batch", "seed" })
  opts = opts or {}
  local function integer(name, default, least)
    return options.range(where, name, options.field(where, opts, name, "integer", default), least)
  end
  local vocab, length = integer("vocab", 64, 2), integer("length", 32, 8)
  local key = core.rng(options.field(where, opts, "seed", "integer", 1)):fold("source", 0)
  local self = setmetatable({ vocab = vocab, length = length, key = key,
    rows = integer("train", 2048, 1), rows_per_batch = integer("batch", 8, 1) }, Source)
  self.train = core.keep(draw_rows(key:fold("train", 0), self.rows, length, vocab))
  self.valid = core.keep(draw_rows(key:fold("valid", 0), integer("valid", 128, 1), length, vocab))
  return self
end

-- Rows of bytes of a text, with the same methods.
function source.text(name, o)
  local text, why = require("moonlab.data").text(name, { seed = o.seed })
  if not text then options.raise("ml.proxies.train: %s", why) end
  local tokens = require("moonlab.tokenizer").bytes()
  local batches = text:batches(tokens, { batch = o.batch, context = o.length, seed = o.seed })
  local held_out = text:batches(tokens, { split = "valid", batch = o.valid, context = o.length })
  return { vocab = tokens:size(), length = o.length, valid = core.keep(held_out:batch(1)),
    batch = function(_, i) return batches:batch(i) end }
end

return source
