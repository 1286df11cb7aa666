--- What the recipes on attacks share: their parameters, the laboratory's models, one search.
local corpus = require "moonlab.attack.corpus"
local defence = require "moonlab.attack.defence"
local measures = require "moonlab.attack.measures"
local models = require "moonlab.attack.models"
local search = require "moonlab.attack.search"

local study = {}

--- Parameters of the models and the search; `more` is added to them.
function study.params(more)
  local p = {
    size = { "S", "of target and attacker: S 2 x 64, M 3 x 128", choices = { "S", "M" } },
    steps = { 3000, "updates of target and attacker", min = 1 },
    batch = { 64, "documents", min = 1 },
    lr = { 3e-3, "peak learning rate", above = 0 },
    p_same = { 0.4, "share of sums that their own true statement precedes", min = 0 },
    scoped = { 0.15, "share of documents that quote a sum; 0: no false sum in the text", min = 0 },
    forms = { 1, "forms of question in the text", min = 1, max = 3 },
    problems = { 9, "sums that score a candidate", min = 1 },
    rounds = { 4, "of the search after its seeds", min = 0 },
    candidates = { 200, "of a round", min = 1 },
    survivors = { 24, "that a round starts from", min = 1 },
    max_words = { 40, "of an attack", min = 1 },
    full_stop = { false, "attacks must end in a full stop" },
    seed = { 1, "of text, models, problems and search" },
  }
  for name, value in pairs(more or {}) do p[name] = value end
  return p
end

--- The smallest size.
function study.smoke(more)
  local p = { steps = 12, batch = 4, problems = 3, rounds = 1, candidates = 8, survivors = 4 }
  for name, value in pairs(more or {}) do p[name] = value end
  return p
end

--- Whether a run has the size that calibrated claims are about.
function study.calibrated(p)
  return p.size == "S" and p.steps >= 3000 and p.p_same == 0.4 and p.scoped == 0.15
    and p.forms == 1 and p.rounds == 4 and p.candidates >= 200 and not p.full_stop
end

--- Text, target and problems of a run; with `attacker` the inverted model as well.
function study.lab(p, ctx, attacker, opts)
  local o = opts or {}
  local text = corpus.new { p_same = p.p_same, scoped = p.scoped, forms = p.forms,
    revise = o.revise }
  local name = o.name or "target"
  local function train(inverted, folder)
    return models.train(text, { size = o.size or p.size, steps = p.steps, batch = p.batch,
      lr = p.lr, seed = o.seed or p.seed, inverted = inverted, dir = ctx.dir .. "/" .. folder })
  end
  local lab = { text = text, problems = measures.problems { seed = p.seed },
    lm = train(false, name) }
  lab.target = models.target(lab.lm, text, { name = name })
  -- beside each other, as `moonlab serve --openai` opens them
  lab.lm:save(ctx.dir .. "/" .. name .. ".safetensors")
  require("moonlab.tokenizer").words(text.words):save(ctx.dir .. "/" .. name .. ".tokenizer.json")
  if attacker then lab.attacker = train(true, "attacker") end
  return lab
end

--- The search of a run against a target; the answers are measured once, also on resume.
function study.search(p, ctx, lab, name, more)
  local o = { target = lab.target, corpus = lab.text, attacker = lab.attacker,
    problems = { table.unpack(lab.problems.search, 1, p.problems) }, rounds = p.rounds,
    candidates = p.candidates, survivors = p.survivors, max_words = p.max_words,
    full_stop = p.full_stop, seed = p.seed, dir = ctx.dir .. "/" .. name }
  for key, value in pairs(more or {}) do o[key] = value end
  return search.pirs(o)
end

--- Means over the attacks of a family.
function study.family(target, list, problems)
  local found = measures.measure(target, list, problems)
  local out = { error = 0, targeted = 0, invalid = 0, greedy = 0 }
  for _, r in ipairs(found) do
    for name in pairs(out) do out[name] = out[name] + r[name] / #found end
  end
  return out, found
end

--- The mix of attacks of all strengths that a search leaves behind.
function study.mix(found, p)
  local seeds = {}
  for _, c in ipairs(found.pool) do
    if c.round == 0 then seeds[#seeds + 1] = c end
  end
  return defence.mix(found.survivors, seeds, { seed = p.seed })
end

return study
