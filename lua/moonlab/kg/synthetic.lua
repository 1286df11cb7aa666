--- A synthetic graph whose ambiguity has dials: how many answers prompts have, how many subjects
--- share their names, how many triplets the text has wrong.
local core = require "moonlab.core"
local dice = require "moonlab.kg.dice"
local graph = require "moonlab.kg.graph"
local options = require "moonlab.options"

local synthetic = {}

local names = { "subjects", "predicates", "per_subject", "pool", "zipf", "fanout", "collide",
  "noise", "seed" }

-- 120 syllables: a consonant or two and a vowel.
local syllables = {}
for _, c in ipairs { "b", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w",
  "z", "sh", "ch", "tr", "kl", "st", "br", "gl" } do
  for v in ("aeiou"):gmatch "." do syllables[#syllables + 1] = c .. v end
end

-- Names of two or three syllables, none twice.
local function namer(roll)
  local taken = {}
  return function()
    while true do
      local list = {}
      for i = 1, 1 + roll(2) do list[i] = syllables[roll(#syllables)] end
      local name = table.concat(list, " ")
      if not taken[name] then
        taken[name] = true
        return name
      end
    end
  end
end

-- One of 1..n with the weights whose running sums these are.
local function pick(roll, sums)
  local u, low, high = roll() * sums[#sums], 1, #sums
  while low < high do
    local middle = (low + high) // 2
    if sums[middle] > u then high = middle else low = middle + 1 end
  end
  return low
end

local function running(weights)
  local sums, total = {}, 0.0
  for i, w in ipairs(weights) do
    total = total + w
    sums[i] = total
  end
  return sums
end

local function check_fanout(where, fanout)
  for i, w in ipairs(fanout) do
    if type(w) ~= "number" or not (w >= 0) then
      options.bad(where, 0, "option 'fanout' has %s at %d, wanted a weight >= 0",
        options.describe(w), i)
    end
  end
  if #fanout == 0 or not (running(fanout)[#fanout] > 0) then
    options.bad(where, 0, "option 'fanout' has no weight above 0")
  end
end

local function read(where, opts)
  options.check(where, opts, names)
  opts = opts or {}
  local function integer(name, default, low, high)
    return options.range(where, name, options.field(where, opts, name, "integer", default), low,
      high)
  end
  local function number(name, default, high)
    return options.range(where, name, options.field(where, opts, name, "number", default), 0, high)
  end
  local o = { subjects = integer("subjects", 200, 1, 400000),
    predicates = integer("predicates", 10, 1), pool = integer("pool", 200, 1, 400000),
    zipf = number("zipf", 0.8), collide = number("collide", 0, 0.5), noise = number("noise", 0, 1),
    fanout = options.field(where, opts, "fanout", "table", { 0.80, 0.12, 0.05, 0.03 }),
    seed = options.field(where, opts, "seed", "integer", 1) }
  o.per_subject = integer("per_subject", math.min(5, o.predicates), 1, o.predicates)
  check_fanout(where, o.fanout)
  if o.subjects + o.predicates * o.pool > 1000000 then
    options.bad(where, 0, "%d subjects and %d objects need more names than there are (1000000)",
      o.subjects, o.predicates * o.pool)
  end
  if #o.fanout > o.pool then
    options.bad(where, 0, "option 'fanout' goes to %d answers, the pool has %d", #o.fanout, o.pool)
  end
  return o
end

--- ml.kg.synthetic{ subjects =, predicates =, per_subject =, pool =, zipf =, fanout =, collide =,
---   noise =, seed = }
--- A graph of invented entities. Each predicate has a pool of objects of its own, drawn with Zipf
--- weights; names have two or three of 120 syllables, no two entities the same one.
--- @param opts.subjects integer =200 of them, 1 to 400000
--- @param opts.predicates integer =10 of them, >= 1
--- @param opts.per_subject integer =5 predicates of a subject, drawn at random
--- @param opts.pool integer =200 objects of a predicate
--- @param opts.zipf number =0.8 an object of rank r has weight r^-zipf
--- @param opts.fanout table ={ 0.80, 0.12, 0.05, 0.03 } weights of 1, 2, ... objects for a prompt
--- @param opts.collide number =0 share of subjects, up to 0.5, that have the name of another one
--- (their answers merge)
--- @param opts.noise number =0 share of triplets of which the training text has another object of
--- the pool
--- @param opts.seed integer =1 of all that is drawn
--- @return graph
--- @source after Hron et al. 2024 (arXiv 2408.07852), whose graph is not public
function synthetic.new(opts)
  local where = "ml.kg.synthetic"
  local o = read(where, opts)
  local key = core.rng(o.seed):fold("kg.synthetic")
  local name, roll, wrong = namer(dice(key:fold("names"))), dice(key:fold("triplets")),
    dice(key:fold("noise"))
  local subjects, pools, weights = {}, {}, {}
  for i = 1, o.subjects do subjects[i] = name() end
  local others = math.floor(o.collide * o.subjects + 0.5)
  for i = 1, others do subjects[i] = subjects[o.subjects + 1 - i] end
  for p = 1, o.predicates do
    pools[p] = {}
    for i = 1, o.pool do pools[p][i] = name() end
  end
  for r = 1, o.pool do weights[r] = r ^ -o.zipf end
  local zipf, fans, triplets = running(weights), running(o.fanout), {}
  for _, subject in ipairs(subjects) do
    local left = {}
    for p = 1, o.predicates do left[p] = p end
    for _ = 1, o.per_subject do
      local p = table.remove(left, roll(#left))
      local count, seen = pick(roll, fans), {}
      while count > 0 do
        local object = pick(roll, zipf)
        if not seen[object] then
          seen[object], count = true, count - 1
          local told = wrong() < o.noise and pools[p][wrong(o.pool)] or nil
          triplets[#triplets + 1] = { subject, "r" .. p, pools[p][object], told }
        end
      end
    end
  end
  return graph.new(triplets)
end

return synthetic
