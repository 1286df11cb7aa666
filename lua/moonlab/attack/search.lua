--- PIRS, prompt inversion rejection sampling, with every knob explicit, and searches of the same
--- budget that it is to be compared with.
local core = require "moonlab.core"
local corpus = require "moonlab.attack.corpus"
local dice = require "moonlab.kg.dice"
local lfs = require "lfs"
local measures = require "moonlab.attack.measures"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local search = {}

-- ---- templates ----------------------------------------------------------------------------------

--- Numbers of a text that are those of a problem, as slots; of equal ones z first.
local function lift(text, problem)
  return (text:gsub("%f[%w]%d+%f[%W]", function(number)
    local value = tonumber(number)
    return value == problem.z and "{z}" or value == problem.x and "{x}"
      or value == problem.y and "{y}" or nil
  end))
end
search.lift = lift

local function split(text)
  local list = {}
  for word in text:gmatch "%S+" do list[#list + 1] = word end
  return list
end

-- What a candidate says when small talk and order are left out: candidates of one cluster differ in
-- little.
local talk = {}
for _, text in ipairs(corpus.fillers) do
  for word in text:gmatch "%S+" do talk[word] = true end
end
for _, statement in ipairs(corpus.statements) do
  for word in statement:gmatch "%S+" do talk[word] = nil end
end
local function cluster(text)
  local seen, list = {}, {}
  for word in text:gmatch "%S+" do
    if not talk[word] and not seen[word] then
      seen[word] = true
      list[#list + 1] = word
    end
  end
  table.sort(list)
  return table.concat(list, " ")
end
search.cluster = cluster

-- ---- proposals ----------------------------------------------------------------------------------

local moves = {}

function moves.join(self, roll)
  return self:one(roll) .. " " .. self:one(roll)
end

function moves.delete(self, roll)
  local words = split(self:one(roll))
  if #words > 1 then table.remove(words, roll(#words)) end
  return table.concat(words, " ")
end

function moves.insert(self, roll)
  local words = split(self:one(roll))
  table.insert(words, roll(#words + 1), self.words[roll(#self.words)])
  return table.concat(words, " ")
end

function moves.replace(self, roll)
  local words = split(self:one(roll))
  words[roll(#words)] = self.words[roll(#self.words)]
  return table.concat(words, " ")
end

function moves.swap(self, roll) -- two sentences
  local sentences = {}
  for sentence in (self:one(roll) .. " "):gmatch "(.-%.) " do
    sentences[#sentences + 1] = sentence
  end
  if #sentences < 2 then return moves.insert(self, roll) end
  local i, k = roll(#sentences), roll(#sentences)
  sentences[i], sentences[k] = sentences[k], sentences[i]
  return table.concat(sentences, " ")
end

local function propose(self, roll)
  local u, sum = roll() * self.total, 0
  for _, move in ipairs(self.order) do
    sum = sum + self.moves[move]
    if u < sum then return moves[move](self, roll), move end
  end
  return moves.insert(self, roll), "insert"
end

-- ---- the pool -----------------------------------------------------------------------------------

-- The best candidates, at most `quota` of a cluster.
local function survivors(pool, o)
  local list, taken, out = {}, {}, {}
  for _, c in ipairs(pool) do list[#list + 1] = c end
  table.sort(list, function(a, b)
    return a.score > b.score or a.score == b.score and a.text < b.text
  end)
  for _, c in ipairs(list) do
    local key = cluster(c.text)
    if #out < o.survivors and (taken[key] or 0) < o.quota then
      taken[key] = (taken[key] or 0) + 1
      out[#out + 1] = c
    end
  end
  return out
end
search.survivors = survivors

-- The mean of the first n: of those with the best scores.
local function top(list, n, name)
  local sum = 0
  n = math.min(n, #list)
  for i = 1, n do sum = sum + list[i][name] end
  return n > 0 and sum / n or 0
end

local function summary(pool, alive)
  local above = 0
  for _, c in ipairs(pool) do above = above + (c.error > 0.5 and 1 or 0) end
  return { candidates = #pool, prevalence = #pool > 0 and above / #pool or 0,
    top_error = top(alive, 8, "error"), top_targeted = top(alive, 8, "targeted"),
    best_score = #alive > 0 and alive[1].score or nil }
end

-- Texts that are new, not too long, and end as they must.
local function admit(o, known, text)
  text = text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  local words = split(text)
  if #words == 0 or #words > o.max_words or known[text] then return nil end
  if o.full_stop and words[#words] ~= "." then return nil end
  return text
end

-- Scores candidates; returns the queries. Where answers are sampled, by successive halving: few
-- samples of all, more of the better half, and so on.
local function score(target, o, found)
  local can = target.capabilities
  local stages = can and not can.exact and can.logprobs == false and o.samples or { false }
  local some, queries = found, 0
  for _, samples in ipairs(stages) do
    local texts = {}
    for i, c in ipairs(some) do texts[i] = c.text end
    if #texts == 0 then break end
    for i, r in ipairs(measures.measure(target, texts, o.problems,
      { samples = samples or nil })) do
      local c = some[i]
      c.score, c.error, c.targeted = r.score, r.error, r.targeted
    end
    queries = queries + #texts * #o.problems
    local order = table.move(some, 1, #some, 1, {})
    table.sort(order, function(a, b)
      return a.score > b.score or a.score == b.score and a.text < b.text
    end)
    some = { table.unpack(order, 1, #order // 2) }
  end
  return queries
end

-- ---- seeds --------------------------------------------------------------------------------------

-- What the attacker thinks was said before the wrong answers of the problems.
local function inversions(o, key)
  local prompts, of = {}, {}
  for i, p in ipairs(o.problems) do
    prompts[i] = o.corpus:encode(("<inv> what is %d plus %d ? Alice : %d <ctx>"):format(p.x, p.y,
      p.z))
    of[i] = key:fold("seeds", i)
  end
  local each = math.ceil(o.candidates / #prompts)
  return core.scope(function()
    local found = o.attacker:generate(prompts, { n = each, max_new = o.max_words,
      temperature = o.temperature, stop = { o.corpus.id_of["<eos>"] }, keys = of })
    local list = {}
    for j = 1, each do
      for i, problem in ipairs(o.problems) do
        local ids = found[i][j]:totable()
        if ids[#ids] == o.corpus.id_of["<eos>"] then ids[#ids] = nil end
        local text = o.corpus:decode(ids)
        if not text:find "[<?]" and not text:find "Bob" and not text:find "Alice" then
          list[#list + 1] = lift(text, problem)
        end
      end
    end
    return list
  end)
end

local function random_contexts(o, key, n)
  local roll, list = dice(key), {}
  while #list < n do
    local doc = o.corpus:draw(roll)
    local problem = o.problems[roll(#o.problems)]
    local text = table.concat(doc.context, " ")
    -- the numbers of its question stand for those of a problem
    local x, y = doc.question:match "(%d+) %a+ (%d+)"
    list[#list + 1] = lift(text, { x = tonumber(x) or problem.x, y = tonumber(y) or problem.y,
      z = doc.answer })
  end
  return list
end

-- ---- checkpoints --------------------------------------------------------------------------------

local function state_path(dir) return dir .. "/pool.json" end

local function load_state(dir)
  if not dir or not lfs.attributes(state_path(dir), "mode") then return nil end
  return core.json.read(state_path(dir))
end

local function save_state(dir, state)
  if not dir then return end
  if not lfs.attributes(dir, "mode") then assert(lfs.mkdir(dir)) end
  core.write_file(state_path(dir), core.json.encode(state))
end

-- ---- the search ---------------------------------------------------------------------------------

local knobs = { "target", "attacker", "corpus", "problems", "rounds", "candidates", "survivors",
  "tau_logit", "max_words", "full_stop", "temperature", "quota", "moves", "seeds", "seed", "dir",
  "budget", "select", "samples", "after" }

local function read(where, opts)
  options.argument(where, 1, opts, "table")
  options.check(where, opts, knobs)
  local o = {}
  for name, value in pairs(opts) do o[name] = value end
  local function whole(name, default, low)
    o[name] = options.range(where, name, options.field(where, o, name, "integer", default), low)
  end
  whole("rounds", 4, 0)
  whole("candidates", 200, 1)
  whole("survivors", 24, 1)
  whole("max_words", 40, 1)
  whole("quota", 4, 1)
  whole("seed", 1, math.mininteger)
  o.tau_logit = options.field(where, o, "tau_logit", "number", -math.huge)
  o.temperature = options.field(where, o, "temperature", "number", 1.1)
  o.full_stop = options.field(where, o, "full_stop", "boolean", false)
  o.samples = options.field(where, o, "samples", "table", { 4, 8, 16 })
  o.select = options.field(where, o, "select", "boolean", true)
  o.seeds = options.choice(where, o, "seeds", { "inversion", "corpus", "given" }, o.attacker
    and "inversion" or "corpus")
  o.moves = options.field(where, o, "moves", "table", { join = 0.35, delete = 0.35, insert = 0.3 })
  if type(o.target) ~= "table" then
    options.bad(where, 1, "option 'target' is %s, wanted a target", options.describe(o.target))
  end
  if type(o.corpus) ~= "table" then
    options.bad(where, 1, "option 'corpus' is %s, wanted a corpus", options.describe(o.corpus))
  end
  if type(o.problems) ~= "table" or #o.problems == 0 then
    options.bad(where, 1, "no problems, wanted at least one { x, y, z, t }")
  end
  if o.seeds == "inversion" and not o.attacker then
    options.bad(where, 1, "seeds by inversion need an attacker")
  end
  o.order, o.total = {}, 0
  for name, weight in sorted(o.moves) do
    if not moves[name] or type(weight) ~= "number" or not (weight >= 0) then
      options.bad(where, 1, "move %s is %s, wanted join, delete, insert, replace or swap with a "
        .. "weight", name, options.describe(weight))
    end
    o.order[#o.order + 1], o.total = name, o.total + weight
  end
  o.words = { "{x}", "{y}", "{z}", "{z}" } -- what an insertion puts in
  for _, word in ipairs(o.corpus.words) do
    if not word:find "[<?]" and word ~= "Bob" and word ~= "Alice" and word ~= ":" then
      o.words[#o.words + 1] = word
    end
  end
  return o
end

--- ml.attack.pirs{ target, corpus, attacker, problems, rounds, candidates, survivors, ... }
--- Prompt inversion rejection sampling: seeds from an attacker that was trained to say what came
--- before an answer, a cheap score on few problems, rounds of recombination of the survivors. Each
--- candidate costs as many queries as there are problems.
--- @param opts.target target of ml.target
--- @param opts.corpus corpus of ml.attack.corpus
--- @param opts.attacker decoder =nil trained with inverted = true; nil: seeds are contexts of the
--- corpus
--- @param opts.problems list of { x, y, z, t } that score a candidate
--- @param opts.rounds integer =4 after the seeds
--- @param opts.candidates integer =200 of a round
--- @param opts.survivors integer =24 that a round starts from
--- @param opts.quota integer =4 survivors of one cluster
--- @param opts.tau_logit number =none least score of a survivor: mean of log P(z) - log P(t)
--- @param opts.max_words integer =40 of an attack
--- @param opts.full_stop boolean =false attacks must end in a full stop, so that the question is
--- not edited
--- @param opts.temperature number =1.1 of the attacker
--- @param opts.moves table ={ join = 0.35, delete = 0.35, insert = 0.3 } weights of proposals; also
--- replace, swap
--- @param opts.seeds string ="inversion" with an attacker, else "corpus"
--- @param opts.select boolean =true false: every round draws seeds anew and keeps all, the attacker
--- without selection
--- @param opts.samples list of integers ={ 4, 8, 16 } answers of a prompt, of all candidates, of
--- the better half, of its better half, where a target tells no probabilities
--- @param opts.budget integer =nil queries after which it stops
--- @param opts.seed integer =1 of what is drawn
--- @param opts.dir string =nil folder of a checkpoint: a second call goes on and repeats no query
--- @param opts.after function(round, info) =nil
--- @return table { survivors, pool (lists of { text, score, error, targeted, round, parents,
--- move }), rounds (list of { candidates, prevalence, top_error, top_targeted (of the eight best
--- scores), best_score, queries }), queries, first_success (queries until the first candidate with
--- error > 0.5, or nil), best (list of { queries, error }: best so far), area (mean of best so far
--- over the queries) }
--- @source after Freeman et al. 2023 (arXiv 2311.07587); the knobs are ours
function search.pirs(opts)
  local where = "ml.attack.pirs"
  local o = read(where, opts)
  local key = core.rng(o.seed):fold "attack.pirs"
  local state = load_state(o.dir) or { pool = {}, rounds = {}, queries = 0, best = {} }
  local known = {}
  for _, c in ipairs(state.pool) do known[c.text] = true end
  local alive = survivors(state.pool, o)
  local self = setmetatable({ one = function(_, roll) return alive[roll(#alive)].text end },
    { __index = o })
  for round = #state.rounds, o.rounds do
    if o.budget and state.queries >= o.budget then break end
    local found, fresh = {}, {}
    local room = o.candidates
    if o.budget then room = math.min(room, (o.budget - state.queries) // #o.problems) end
    local function take(text, parents, move)
      if #found >= room then return end
      text = admit(o, known, text)
      if not text or fresh[text] then return end
      fresh[text] = true
      found[#found + 1] = { text = text, round = round, parents = parents, move = move }
    end
    local branch = key:fold("round", round)
    if #alive == 0 or not o.select then
      local list = o.seeds == "inversion" and inversions(o, branch)
        or random_contexts(o, branch, 2 * o.candidates)
      for _, text in ipairs(list) do take(text, nil, o.seeds) end
    elseif #alive > 0 then
      local roll = dice(branch)
      for _ = 1, 20 * o.candidates do
        if #found >= room then break end
        local parents = {}
        function self.one(_, r)
          local c = alive[r(#alive)]
          parents[#parents + 1] = c.text
          return c.text
        end
        local text, move = propose(self, roll)
        take(text, parents, move)
      end
    end
    local before, asked = state.queries, score(o.target, o, found)
    local best = #state.best > 0 and state.best[#state.best].error or 0
    for _, c in ipairs(found) do
      known[c.text] = true
      state.queries = state.queries + #o.problems
      state.pool[#state.pool + 1] = c
      if c.error > best then
        best = c.error
        state.best[#state.best + 1] = { queries = state.queries, error = best }
      end
      if c.error > 0.5 then state.first_success = state.first_success or state.queries end
    end
    state.queries = before + asked -- with those of later halves
    alive = survivors(state.pool, o)
    for i = #alive, 1, -1 do
      if alive[i].score < o.tau_logit then table.remove(alive, i) end
    end
    local info = summary(found, alive)
    info.queries = state.queries
    state.rounds[#state.rounds + 1] = info
    save_state(o.dir, state)
    if o.after then o.after(round, info, alive) end
  end
  state.survivors = alive
  local area, from = 0, { queries = 0, error = 0 }
  for _, b in ipairs(state.best) do
    area = area + from.error * (b.queries - from.queries)
    from = b
  end
  area = area + from.error * (state.queries - from.queries)
  state.area = state.queries > 0 and area / state.queries or 0
  return state
end

--- ml.attack.gradient{ target, lm, corpus, problems, words, steps, candidates, seed }
--- Greedy coordinate gradient: the gradient of the loss of the wanted answers in the embeddings of
--- a string says which words to try at which place; the best of the tries is kept.
--- @param opts.target target that scores, as for ml.attack.pirs
--- @param opts.lm decoder whose gradient is taken
--- @param opts.corpus corpus
--- @param opts.problems list of { x, y, z, t }
--- @param opts.words integer =20 of the string
--- @param opts.top integer =16 replacements of each place that are tried
--- @param opts.candidates integer =64 tries of a step
--- @param opts.budget integer =9000 queries
--- @param opts.seed integer =1 of what is drawn
--- @return table as of ml.attack.pirs
--- @source Zou et al. 2023 (arXiv 2307.15043), Algorithm 1
function search.gradient(opts)
  local where = "ml.attack.gradient"
  options.argument(where, 1, opts, "table")
  options.check(where, opts, { "target", "lm", "corpus", "problems", "words", "top", "candidates",
    "budget", "seed" })
  local text, problems = opts.corpus, opts.problems
  local count, most = opts.words or 20, opts.top or 16
  local roll = dice(core.rng(opts.seed or 1):fold "attack.gradient")
  local allowed = {}
  for id, word in ipairs(text.words) do
    if not word:find "[<?]" and word ~= "Bob" and word ~= "Alice" and word ~= ":" then
      allowed[#allowed + 1] = id
    end
  end
  local slots, state = { "{x}", "{y}", "{z}" }, { pool = {}, queries = 0, best = {}, rounds = {} }
  local words = {}
  for i = 1, count do
    words[i] = roll(3) == 1 and slots[roll(3)] or text.words[allowed[roll(#allowed)]]
  end
  local table_ = opts.lm:named_parameters()["tokens"]
  local function gradient() -- of the loss, for each place and word
    local inputs, targets, mask, longest = {}, {}, {}, 0
    for i, p in ipairs(problems) do
      inputs[i] = text:encode((measures.prompt(table.concat(words, " "), p)))
      longest = math.max(longest, #inputs[i])
    end
    for i, p in ipairs(problems) do
      local n = #inputs[i]
      targets[i], mask[i] = {}, {}
      for t = 1, longest do
        inputs[i][t] = inputs[i][t] or 1
        targets[i][t] = t == n and text.id_of[measures.answers[p.z + 1]] or 1
        mask[i][t] = t == n and 1 or 0
      end
    end
    return core.scope(function()
      local ids = core.index(inputs)
      local e = core.param(table_:detach():index_select(ids:reshape { #inputs * longest }, 1)
        :reshape { #inputs, longest, table_:size(2) })
      opts.lm:loss({ inputs = ids, targets = core.index(targets) },
        { mask = core.tensor(mask, { dtype = "f32" }), embeddings = e }):backward()
      local g = e:grad():sum(1)[{ { 4, 3 + count } }] -- after <bos> Bob :
      return g:matmul(table_:detach():transpose()):totable()
    end)
  end
  local function try(list)
    local texts, seen = {}, {}
    for _, c in ipairs(list) do
      local s = table.concat(c, " ")
      if not seen[s] then texts[#texts + 1], seen[s] = s, true end
    end
    local best
    for i, r in ipairs(measures.measure(opts.target, texts, problems)) do
      local c = { text = texts[i], score = r.score, error = r.error, targeted = r.targeted }
      state.pool[#state.pool + 1], state.queries = c, state.queries + #problems
      if c.error > 0.5 then state.first_success = state.first_success or state.queries end
      local last = state.best[#state.best]
      if not last or c.error > last.error then
        state.best[#state.best + 1] = { queries = state.queries, error = c.error }
      end
      if not best or c.score > best.score then best = c end
    end
    return best
  end
  local now = try { words }
  local budget = opts.budget or 9000
  while state.queries + (opts.candidates or 64) * #problems <= budget do
    local g, list, sorted_at = gradient(), {}, {}
    for _ = 1, opts.candidates or 64 do
      local place = roll(count)
      local order = sorted_at[place]
      if not order then
        order = table.move(allowed, 1, #allowed, 1, {})
        table.sort(order, function(a, b) return g[place][a] < g[place][b] end)
        sorted_at[place] = order
      end
      local copy = { table.unpack(words) }
      local k = roll(most + #slots)
      copy[place] = k > most and slots[k - most] or text.words[order[k]]
      list[#list + 1] = copy
    end
    local best = try(list)
    if best.score > now.score then
      now, words = best, split(best.text)
    end
  end
  state.survivors = survivors(state.pool, { survivors = 24, quota = 24 })
  state.rounds[1] = summary(state.pool, state.survivors)
  return state
end

--- ml.attack.confirm(target, attacks, problems, { forms, tau })
--- Attacks on problems and forms of question that the search did not see; accepted where the lower
--- end of the 95 % interval of the error exceeds tau.
--- @param target target
--- @param attacks list of strings, or of candidates of ml.attack.pirs
--- @param problems list of { x, y, z, t }
--- @param opts.forms list ={ 1 }
--- @param opts.tau number =0.5 least error that is accepted
--- @return table { results (as of ml.attack.measure, with text and accepted), error, targeted
--- (means), best_targeted, accepted (count) }
--- @source -
function search.confirm(target, attacks, problems, opts)
  local where = "ml.attack.confirm"
  options.check(where, opts, { "forms", "tau" })
  local o, texts = opts or {}, {}
  for i, a in ipairs(attacks) do texts[i] = type(a) == "table" and a.text or a end
  local results = measures.measure(target, texts, problems, { forms = o.forms })
  local out = { results = results, error = 0, targeted = 0, best_targeted = 0, accepted = 0 }
  for i, r in ipairs(results) do
    r.text = texts[i]
    r.accepted = r.error - 1.96 * r.se > (o.tau or 0.5)
    out.error, out.targeted = out.error + r.error / #results, out.targeted + r.targeted / #results
    out.best_targeted = math.max(out.best_targeted, r.targeted)
    out.accepted = out.accepted + (r.accepted and 1 or 0)
  end
  return out
end

return search
