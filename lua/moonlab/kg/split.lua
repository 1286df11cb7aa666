--- Which prompts a model is trained on, and which are held out: with a subject that it knows, and
--- with one that it has never seen.
local core = require "moonlab.core"
local dice = require "moonlab.kg.dice"
local graph = require "moonlab.kg.graph"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local split = {}

local Split = {}
Split.__index = Split
Split.__name = "ml.kg.split"

local sets = { "seen", "partial", "invisible" }

function Split:__tostring()
  return ("split: %d prompts seen (%d triplets), %d partly visible, %d invisible%s"):format(
    #self.seen, #self:triplets(), #self.partial, #self.invisible,
    #self.withheld > 0 and (", %d withheld"):format(#self.withheld) or "")
end

--- split:triplets()
--- What the training text consists of: { subject, predicate, object } as the text has them.
--- @return table list
--- @source -
function Split:triplets()
  local within, list = {}, {}
  for _, prompt in ipairs(self.seen) do within[prompt] = true end
  for _, t in ipairs(self.graph.triplets) do
    if within[self.graph:prompt(t[1], t[2])] then
      list[#list + 1] = { t[1], t[2], t[4] or t[3] }
    end
  end
  return list
end

local function refuse(where, self)
  local leaks, info = self:leaks()
  if #leaks == 0 then return end
  local l = leaks[1]
  options.raise("%s: %d of %d triplets are given away by others (%s of '%s' by '%s', %.1f %% of "
    .. "it); a split at random would train on the answers of held-out prompts. withhold = true "
    .. "takes what gives a held-out answer away out of training", where, info.triplets,
    #self.triplets, l.kind, l.predicate, l.other, 100 * l.share)
end

-- Prompts that give away an answer of a held-out one leave the training text.
local function withhold(self, of)
  local count = 0
  graph.each_leak(self, function(prompt, _, _, other)
    if of[prompt] ~= "seen" and of[prompt] ~= "withheld" and of[other] == "seen" then
      of[other], count = "withheld", count + 1
    end
  end)
  return count
end

-- A partly visible prompt needs its subject in the training text.
local function settle(self, of)
  local known = {}
  for _, prompt in ipairs(self.prompts) do
    if of[prompt] == "seen" then known[prompt.subject] = true end
  end
  for _, prompt in ipairs(self.prompts) do
    if of[prompt] == "partial" and not known[prompt.subject] then of[prompt] = "invisible" end
    if of[prompt] == "invisible" and known[prompt.subject] then of[prompt] = "partial" end
  end
end

local function collect(self, of, extra)
  local out = { graph = self, seen = {}, partial = {}, invisible = {}, withheld = {} }
  for _, prompt in ipairs(self.prompts) do
    local set = out[of[prompt]]
    if set then set[#set + 1] = prompt end
  end
  for name, value in pairs(extra) do out[name] = value end
  return setmetatable(out, Split)
end

local function check_sets(where, self, shares)
  for _, name in ipairs(sets) do
    if #self[name] == 0 and shares[name] > 0 then
      options.raise("%s: the %s set is empty: %d prompts of %d subjects are too few for a share of "
        .. "%g", where, name, #self.graph.prompts, self.graph.subjects, shares[name])
    end
  end
end

--- graph:split{ invisible =, partial =, seed =, withhold = }
--- Splits by prompt, so that all objects of one stay together: a share of the subjects with all
--- their prompts is invisible; of the others each prompt is partly visible with some probability
--- (its subject is seen in other prompts); the rest is seen, that is trained on. Refuses a graph of
--- which relations give each other away.
--- @param opts.invisible number =0.1 share of the subjects
--- @param opts.partial number =0.1 probability of a prompt of the others
--- @param opts.seed integer =1 of the choice
--- @param opts.withhold boolean =false prompts that give a held-out answer away, as an inverse or
--- under another relation, are neither trained on nor asked
--- @return split { seen, partial, invisible, withheld = lists of prompts, graph, seed }
--- @source after Hron et al. 2024 (arXiv 2408.07852)
function split.of(self, opts)
  local where = "split"
  options.check(where, opts, { "invisible", "partial", "seed", "withhold" })
  opts = opts or {}
  local function share(name)
    local value = options.field(where, opts, name, "number", 0.1)
    if not (value >= 0 and value < 1) then
      options.bad(where, 0, "option '%s' is %.14g, wanted 0 <= share < 1", name, value)
    end
    return value
  end
  local shares = { seen = 1, invisible = share "invisible", partial = share "partial" }
  local seed = options.field(where, opts, "seed", "integer", 1)
  local away = options.field(where, opts, "withhold", "boolean", false)
  if shares.partial > 0 and #self.predicates == 1 then
    options.raise("%s: the graph has one relation, '%s', so that no subject is seen in another "
      .. "prompt; partial = 0 does without the partly visible", where, self.predicates[1])
  end
  if not away then refuse(where, self) end
  local subjects, listed = {}, {}
  for _, prompt in ipairs(self.prompts) do
    if not listed[prompt.subject] then
      listed[prompt.subject], subjects[#subjects + 1] = true, prompt.subject
    end
  end
  local key = core.rng(seed):fold("kg.split")
  local order = key:fold("subjects"):permutation(#subjects):totable()
  local hidden, of = {}, {}
  for i = 1, math.floor(shares.invisible * #subjects + 0.5) do hidden[subjects[order[i]]] = true end
  local roll = dice(key:fold("prompts"))
  for _, prompt in ipairs(self.prompts) do
    local u = roll()
    of[prompt] = hidden[prompt.subject] and "invisible" or u < shares.partial and "partial"
      or "seen"
  end
  settle(self, of)
  while away and withhold(self, of) > 0 do settle(self, of) end
  local out = collect(self, of, { seed = seed })
  check_sets(where, out, shares)
  return out
end

--- split:fraction(share, { seed })
--- The same split with a share of the seen subjects; smaller shares are within larger ones. Partly
--- visible prompts of other subjects go, the invisible ones stay.
--- @param share number in (0, 1]
--- @param opts.seed integer =split.seed of the order of subjects
--- @return split
--- @source -
function Split:fraction(share, opts)
  options.argument("fraction", 1, share, "number")
  options.check("fraction", opts, { "seed" })
  if not (share > 0 and share <= 1) then
    options.bad("fraction", 1, "%.14g, wanted a share in (0, 1]", share)
  end
  local seed = options.field("fraction", opts or {}, "seed", "integer", self.seed)
  local subjects, listed, kept = {}, {}, {}
  for _, prompt in ipairs(self.seen) do
    if not listed[prompt.subject] then
      listed[prompt.subject], subjects[#subjects + 1] = true, prompt.subject
    end
  end
  local order = core.rng(seed):fold("kg.fraction"):permutation(#subjects):totable()
  for i = 1, math.max(1, math.floor(share * #subjects + 0.5)) do kept[subjects[order[i]]] = true end
  local of = {}
  for _, name in ipairs(sets) do
    for _, prompt in ipairs(self[name]) do
      of[prompt] = (name == "invisible" or kept[prompt.subject]) and name or nil
    end
  end
  return collect(self.graph, of, { seed = self.seed })
end

--- split:save(path)
--- Writes the split as JSON, which ml.kg.load_split reads with the same graph.
--- @param path string
--- @source -
function Split:save(path)
  options.path("save", 1, path)
  local out = { format = "moonlab kg split 1", seed = self.seed, triplets = #self.graph.triplets }
  for _, name in ipairs { "seen", "partial", "invisible", "withheld" } do
    out[name] = core.json.array {}
    for i, prompt in ipairs(self[name]) do out[name][i] = { prompt.subject, prompt.predicate } end
  end
  core.json.write(path, out)
end

--- ml.kg.load_split(graph, path)
--- A split that split:save(path) wrote.
--- @param graph graph that it was made of
--- @param path string
--- @return split, or nil and a message when there is no such file
--- @source -
function split.load(self, path)
  local where = "ml.kg.load_split"
  options.path(where, 2, path)
  local t, why = core.json.read(path)
  if t == nil then return nil, why end
  if type(t) ~= "table" or t.format ~= "moonlab kg split 1" or math.type(t.seed) ~= "integer" then
    options.bad(where, 2, "%s does not hold a split", path)
  end
  if t.triplets ~= #self.triplets then
    options.bad(where, 2, "%s is of a graph of %s triplets, this one has %d", path,
      tostring(t.triplets), #self.triplets)
  end
  local of = {}
  for _, name in ipairs { "seen", "partial", "invisible", "withheld" } do
    if type(t[name]) ~= "table" then options.bad(where, 2, "%s has no list '%s'", path, name) end
    for i, pair in sorted(t[name]) do
      local s, p = type(pair) == "table" and pair[1], type(pair) == "table" and pair[2]
      local prompt = type(s) == "string" and type(p) == "string" and self:prompt(s, p)
      if not prompt then
        options.bad(where, 2, "%s: entry %s of '%s' is no prompt of the graph", path, tostring(i),
          name)
      end
      of[prompt] = name
    end
  end
  return collect(self, of, { seed = t.seed })
end

graph.methods.split = split.of
split.methods = Split
return split
