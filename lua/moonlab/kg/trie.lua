--- A trie over answers: which tokens may follow, and the probability of any of them together.
local core = require "moonlab.core"
local codec = require "moonlab.kg.codec"
local options = require "moonlab.options"

local trie = {}

local Trie = {}
Trie.__index = Trie
Trie.__name = "ml.kg.trie"

function Trie:__tostring()
  return ("trie: %d answers, %d nodes"):format(self.answers, self.nodes)
end

--- ml.kg.trie(codec, objects)
--- The objects' ids, each with its end, by common beginnings.
--- @param codec codec
--- @param objects list of strings
--- @return trie { answers, nodes, root }
--- @source -
function trie.new(code, objects)
  options.argument("ml.kg.trie", 1, code, "table")
  options.argument("ml.kg.trie", 2, objects, "table")
  local self = setmetatable({ answers = 0, nodes = 1, root = {} }, Trie)
  for _, object in ipairs(objects) do
    local node, new = self.root, false
    for _, id in ipairs(code:answer(object)) do
      if not node[id] then
        node[id], self.nodes, new = {}, self.nodes + 1, true
      end
      node = node[id]
    end
    if new then self.answers = self.answers + 1 end
  end
  return self
end

--- trie:allowed(ids)
--- The ids that may follow a beginning.
--- @param ids list of ids, {} for the first
--- @return table list, ascending; empty after an end, nil where no answer begins so
--- @source -
function Trie:allowed(ids)
  options.argument("allowed", 1, ids, "table")
  local node = self.root
  for _, id in ipairs(ids) do
    node = node[id]
    if not node then return nil end
  end
  local list = {}
  for id in pairs(node) do list[#list + 1] = id end
  table.sort(list)
  return list
end

-- Rows to look at: each beginning of an answer, up to its last token, in rows of its own that share
-- what is common with nothing; the first row that passes a node serves it.
local function paths(node, prefix, out)
  local leaf = true
  local ids = {}
  for id in pairs(node) do ids[#ids + 1] = id end
  table.sort(ids)
  for _, id in ipairs(ids) do
    if next(node[id]) then
      leaf = false
      prefix[#prefix + 1] = id
      paths(node[id], prefix, out)
      prefix[#prefix] = nil
    end
  end
  if leaf then out[#out + 1] = { table.unpack(prefix) } end
end

-- The probability of the leaves below a node; `conditional(prefix)` gives id -> probability.
local function below(node, prefix, conditional)
  if not next(node) then return 1.0 end
  local p, total = conditional(prefix), 0.0
  local ids = {}
  for id in pairs(node) do ids[#ids + 1] = id end
  table.sort(ids)
  for _, id in ipairs(ids) do
    prefix[#prefix + 1] = id
    total = total + p[id] * below(node[id], prefix, conditional)
    prefix[#prefix] = nil
  end
  return total
end

local function log_probabilities(lm, rows, temperature, no_pad)
  local longest = 0
  for _, r in ipairs(rows) do longest = math.max(longest, #r) end
  for _, r in ipairs(rows) do
    for k = #r + 1, longest do r[k] = no_pad end
  end
  local logits = lm:logits(core.index(rows))
  return (temperature == 1 and logits or logits / temperature):log_softmax(-1)
end

--- ml.kg.probability(lm, codec, prompts, { temperature, answers })
--- The exact probability that a sample is a right answer, whichever: the sum over the trie of the
--- prompt's answers of the products of the model's probabilities. 1 minus their mean is the
--- hallucination rate without the noise of sampling.
--- @param lm decoder
--- @param codec codec
--- @param prompts list of prompts
--- @param opts.temperature number =1 > 0
--- @param opts.answers function(prompt) -> list of objects, =its right ones
--- @return table list over prompts of numbers
--- @source -
function trie.probability(lm, code, prompts, opts)
  local where = "ml.kg.probability"
  options.argument(where, 3, prompts, "table")
  options.check(where, opts, { "temperature", "answers" })
  opts = opts or {}
  local temperature = options.field(where, opts, "temperature", "number", 1)
  if not (temperature > 0) then
    options.bad(where, 0, "option 'temperature' is %.14g, wanted > 0", temperature)
  end
  local answers = options.field(where, opts, "answers", "function", function(prompt)
    return prompt.objects
  end)
  local out, first = {}, 1
  while first <= #prompts do
    -- prompts until there are some hundred rows
    local rows, jobs, last = {}, {}, first - 1
    while last < #prompts and #rows < 256 do
      last = last + 1
      local t, list = trie.new(code, answers(prompts[last])), {}
      paths(t.root, {}, list)
      local before = code:prompt(prompts[last])
      local job = { trie = t, before = #before, row = {} }
      for _, path in ipairs(list) do
        local row = { table.unpack(before) }
        for k = 0, #path do
          local key = table.concat(path, " ", 1, k)
          if not job.row[key] then job.row[key] = { #rows + 1, #before + k } end
          row[#before + k + 1] = path[k + 1]
        end
        rows[#rows + 1] = row
      end
      jobs[#jobs + 1] = job
    end
    core.scope(function()
      core.no_grad(function()
        local logp = log_probabilities(lm, rows, temperature, codec.PAD)
        local p = logp:exp():to("f64"):totable()
        for _, job in ipairs(jobs) do
          out[#out + 1] = below(job.trie.root, {}, function(prefix)
            local at = job.row[table.concat(prefix, " ")]
            return p[at[1]][at[2]]
          end)
        end
      end)
    end)
    first = last + 1
  end
  return out
end

--- ml.kg.constrained(lm, codec, prompts, { objects })
--- Greedy answers that the trie allows: at each place the most likely token among those with which
--- an object of the predicate goes on.
--- @param lm decoder
--- @param codec codec
--- @param prompts list of prompts
--- @param opts.objects function(prompt) -> list of objects; those of one list are put into a trie
--- once
--- @return table list over prompts of objects
--- @source -
function trie.constrained(lm, code, prompts, opts)
  local where = "ml.kg.constrained"
  options.argument(where, 3, prompts, "table")
  options.required(where, opts, { "objects" })
  local objects = options.field(where, opts, "objects", "function")
  local tries, out = {}, {}
  for first = 1, #prompts, 256 do
    local open = {}
    for i = first, math.min(#prompts, first + 255) do
      local list = objects(prompts[i])
      tries[list] = tries[list] or trie.new(code, list)
      open[#open + 1] = { i = i, trie = tries[list], ids = code:prompt(prompts[i]), new = {} }
    end
    while #open > 0 do
      local rows = {}
      for k, row in ipairs(open) do rows[k] = { table.unpack(row.ids) } end
      local best = core.scope(function()
        return core.no_grad(function()
          return log_probabilities(lm, rows, 1, codec.PAD):totable()
        end)
      end)
      local still = {}
      for k, row in ipairs(open) do
        local logp, chosen = best[k][#row.ids], nil
        for _, id in ipairs(row.trie:allowed(row.new)) do
          if not chosen or logp[id] > logp[chosen] then chosen = id end
        end
        row.ids[#row.ids + 1], row.new[#row.new + 1] = chosen, chosen
        if chosen == codec.stop then
          out[row.i] = code:decode(row.new)
        else
          still[#still + 1] = row
        end
      end
      open = still
    end
  end
  return out
end

trie.methods = Trie
return trie
