--- Knowledge graphs: triplets (subject, predicate, object), the answer sets of their prompts, what
--- fan-out they have, and whether a split at random would give answers away.
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local graph = {}

local Graph = {}
Graph.__index = Graph
Graph.__name = "ml.kg.graph"

local function key_of(subject, predicate) return subject .. "\0" .. predicate end

function Graph:__tostring()
  local format = "knowledge graph: %d triplets, %d prompts, %d subjects, %d predicates, %d objects"
  return format:format(#self.triplets, #self.prompts, self.subjects, #self.predicates, self.objects)
end

-- ---- making -------------------------------------------------------------------------------------

local parts = { "subject", "predicate", "object" }

local function check_triplet(where, i, t)
  if type(t) ~= "table" then
    options.bad(where, 1, "triplet %d is a %s, wanted { subject, predicate, object }", i, type(t))
  end
  for k, name in ipairs(parts) do
    local value = t[k]
    if type(value) ~= "string" or value == "" then
      options.bad(where, 1, "the %s of triplet %d is %s, wanted a string that is not empty", name,
        i, options.describe(value))
    elseif value:find "[%c]" then
      options.bad(where, 1, "the %s of triplet %d holds a control character: %q", name, i, value)
    end
  end
end

-- Names in place of ids; two ids with one name are one entity afterwards, if that is wanted.
local function renamed(where, triplets, names, collide)
  local owner, list = {}, {}
  local function name_of(id)
    local name = names[id] or id
    if owner[name] and owner[name] ~= id and collide == "error" then
      local first, second = owner[name], id
      if second < first then first, second = second, first end
      options.raise("%s: %q and %q are both called %q; collide = \"merge\" makes them one", where,
        first, second, name)
    end
    owner[name] = owner[name] or id
    return name
  end
  for i, t in ipairs(triplets) do
    list[i] = { name_of(t[1]), names[t[2]] or t[2], name_of(t[3]), t[4] and name_of(t[4]) }
  end
  return list
end

--- ml.kg.graph(triplets, { names, collide })
--- A graph from triplets. A triplet that stands twice counts once; a fourth entry is the object
--- that the training text says in place of the true one.
--- @param triplets list of { subject, predicate, object }, strings
--- @param opts.names table =nil id -> the name that it goes by
--- @param opts.collide string ="error" when two ids have one name, or "merge"
--- @return graph { triplets, prompts = list of { subject, predicate, objects (list), is (object ->
--- true), told (object -> true of what the text says) }, predicates (sorted), pools (predicate ->
--- object -> triplets), entities (name -> true), subjects, objects (numbers of), duplicates }
--- @source -
function graph.new(triplets, opts)
  local where = "ml.kg.graph"
  options.argument(where, 1, triplets, "table")
  options.check(where, opts, { "names", "collide" })
  opts = opts or {}
  local collide = options.choice(where, opts, "collide", { "error", "merge" }, "error")
  local names = options.field(where, opts, "names", "table", {})
  for i, t in ipairs(triplets) do check_triplet(where, i, t) end
  if #triplets == 0 then options.bad(where, 1, "no triplets") end
  local self = setmetatable({ triplets = {}, prompts = {}, predicates = {}, pools = {},
    entities = {}, subjects = 0, objects = 0, duplicates = 0, at = {} }, Graph)
  local subjects, objects = {}, {}
  for _, t in ipairs(renamed(where, triplets, names, collide)) do
    local s, p, o = t[1], t[2], t[3]
    local key = key_of(s, p)
    local prompt = self.at[key]
    if not prompt then
      prompt = { subject = s, predicate = p, objects = {}, is = {}, told = {} }
      self.at[key], self.prompts[#self.prompts + 1] = prompt, prompt
    end
    if prompt.is[o] then
      self.duplicates = self.duplicates + 1
    else
      self.triplets[#self.triplets + 1] = t
      prompt.objects[#prompt.objects + 1], prompt.is[o] = o, true
      prompt.told[t[4] or o] = true
      local pool = self.pools[p]
      if not pool then
        pool = {}
        self.pools[p], self.predicates[#self.predicates + 1] = pool, p
      end
      pool[o] = (pool[o] or 0) + 1
      if not subjects[s] then subjects[s], self.subjects = true, self.subjects + 1 end
      if not objects[o] then objects[o], self.objects = true, self.objects + 1 end
      self.entities[s], self.entities[o] = true, true
      if t[4] then self.entities[t[4]] = true end
    end
  end
  table.sort(self.predicates)
  return self
end

--- graph:prompt(subject, predicate)
--- A prompt of the graph with its answers.
--- @param subject string
--- @param predicate string
--- @return table { subject, predicate, objects, is, told }, or nil
--- @source -
function Graph:prompt(subject, predicate)
  options.argument("prompt", 1, subject, "string")
  options.argument("prompt", 2, predicate, "string")
  return self.at[key_of(subject, predicate)]
end

-- ---- statistics ---------------------------------------------------------------------------------

--- graph:statistics()
--- How many answers prompts have, over all and by predicate.
--- @return table { triplets, prompts, subjects, predicates, objects, duplicates, mean_answers,
--- single (share of prompts with one answer), most (answers of a prompt), fanout (number of answers
--- -> prompts), characters (mean length of a triplet's three names), by_predicate = list of { name,
--- triplets, prompts, objects, mean_answers, entropy (bits of its objects) } }
--- @source -
function Graph:statistics()
  local out = { triplets = #self.triplets, prompts = #self.prompts, subjects = self.subjects,
    predicates = #self.predicates, objects = self.objects, duplicates = self.duplicates,
    mean_answers = #self.triplets / #self.prompts, fanout = {}, most = 0, by_predicate = {},
    characters = 0 }
  local prompts = {}
  for _, prompt in ipairs(self.prompts) do
    local n = #prompt.objects
    out.fanout[n] = (out.fanout[n] or 0) + 1
    out.most = math.max(out.most, n)
    prompts[prompt.predicate] = (prompts[prompt.predicate] or 0) + 1
  end
  out.single = (out.fanout[1] or 0) / #self.prompts
  for _, t in ipairs(self.triplets) do
    out.characters = out.characters + (#t[1] + #t[2] + #t[3]) / #self.triplets
  end
  for _, name in ipairs(self.predicates) do
    local total, kinds, entropy = 0, 0, 0.0
    for _, count in pairs(self.pools[name]) do total, kinds = total + count, kinds + 1 end
    for _, count in sorted(self.pools[name]) do
      entropy = entropy - count / total * math.log(count / total, 2)
    end
    out.by_predicate[#out.by_predicate + 1] = { name = name, triplets = total,
      prompts = prompts[name], objects = kinds, mean_answers = total / prompts[name],
      entropy = entropy }
  end
  return out
end

-- ---- leaks --------------------------------------------------------------------------------------

-- Calls fn(prompt, object, kind, other prompt) for each triplet that another one gives away: the
-- same pair the other way round ("inverse") or under another predicate ("duplicate").
local function each_leak(self, fn)
  for _, prompt in ipairs(self.prompts) do
    for _, o in ipairs(prompt.objects) do
      for _, q in ipairs(self.predicates) do
        local back = self.at[key_of(o, q)]
        if back and back.is[prompt.subject] and back ~= prompt then
          fn(prompt, o, "inverse", back)
        end
        local twin = q ~= prompt.predicate and self.at[key_of(prompt.subject, q)]
        if twin and twin.is[o] then fn(prompt, o, "duplicate", twin) end
      end
    end
  end
end
graph.each_leak = each_leak

--- graph:leaks({ share })
--- Relations that give others away: q is the inverse of p where (o, q, s) stands for (s, p, o),
--- symmetric when p = q, and a duplicate where (s, q, o) does. A split at random would put the
--- answers of held-out prompts into the training text.
--- @param opts.share number =0.05 of a relation's triplets from which on it counts as leaking
--- @return table list of { predicate, other, kind = "inverse" or "duplicate", triplets, share },
--- largest share first
--- @return table info: triplets (that another one gives away), share (of all)
--- @source Toutanova & Chen 2015 (inverse relations in FB15k); Dettmers et al. 2018
function Graph:leaks(opts)
  options.check("leaks", opts, { "share" })
  local least = options.range("leaks", "share",
    options.field("leaks", opts or {}, "share", "number", 0.05), 0, 1)
  local counts, leaking, given = {}, 0, {}
  each_leak(self, function(prompt, o, kind, other)
    local key = table.concat({ prompt.predicate, other.predicate, kind }, "\0")
    local row = counts[key]
    if not row then
      row = { predicate = prompt.predicate, other = other.predicate, kind = kind, triplets = 0 }
      counts[key] = row
    end
    row.triplets = row.triplets + 1
    local of = given[prompt] or {}
    given[prompt] = of
    if not of[o] then of[o], leaking = true, leaking + 1 end
  end)
  local totals, list = {}, {}
  for _, t in ipairs(self.triplets) do totals[t[2]] = (totals[t[2]] or 0) + 1 end
  for _, row in sorted(counts) do
    row.share = row.triplets / totals[row.predicate]
    if row.share >= least then list[#list + 1] = row end
  end
  table.sort(list, function(a, b)
    if a.share ~= b.share then return a.share > b.share end
    if a.predicate ~= b.predicate then return a.predicate < b.predicate end
    if a.other ~= b.other then return a.other < b.other end
    return a.kind < b.kind
  end)
  return list, { triplets = leaking, share = leaking / #self.triplets }
end

--- graph:subset{ triplets =, seed = }
--- The triplets of subjects chosen at random, until there are so many; a subject keeps all of its.
--- @param opts.triplets integer >= 1
--- @param opts.seed integer =1 of the choice
--- @return graph
--- @source -
function Graph:subset(opts)
  options.required("subset", opts, { "triplets", "seed" })
  local wanted = options.range("subset", "triplets",
    options.field("subset", opts, "triplets", "integer"), 1)
  local seed = options.field("subset", opts, "seed", "integer", 1)
  local of, list = {}, {}
  for _, t in ipairs(self.triplets) do
    if not of[t[1]] then
      of[t[1]] = {}
      list[#list + 1] = t[1]
    end
    table.insert(of[t[1]], t)
  end
  local core, chosen = require "moonlab.core", {}
  local order = core.rng(seed):fold("subset"):permutation(#list):totable()
  for _, i in ipairs(order) do
    if #chosen >= wanted then break end
    for _, t in ipairs(of[list[i]]) do chosen[#chosen + 1] = t end
  end
  return graph.new(chosen)
end

graph.methods = Graph
return graph
