--- Self-training with a verifier: sample, keep what is right, train on it from the base model.
local core = require "moonlab.core"
local lfs = require "lfs"
local options = require "moonlab.options"
local progress = require "moonlab.progress"
local schedule = require "moonlab.schedule"
local stats = require "moonlab.stats"
local train = require "moonlab.train"

local selftrain = {}

local CHUNK = 64 -- problems that are sampled, and kept on disk, at a time

-- ---- sampling -----------------------------------------------------------------------------------

local function keys_of(key, first, count)
  local list = {}
  for i = 1, count do list[i] = key:fold("problem", first + i - 1) end
  return list
end

local function generate(lm, task, problems, first, o, key)
  local prompts = {}
  for i, problem in ipairs(problems) do
    prompts[i] = task:prompt(problem, o.hint and { hint = true } or nil)
  end
  return lm:generate(prompts, { n = o.samples, max_new = task.context - 32,
    temperature = o.temperature, top_k = o.top_k, top_p = o.top_p, greedy = o.greedy,
    stop = { task.stop }, keys = not o.greedy and keys_of(key, first, #problems) or nil })
end

-- A sample as it is judged and kept. Its log-probability is that of the whole solution under the
-- model itself, at temperature 1.
local function judge(task, problem, i, sample, logprobs)
  local tokens, sum = sample:totable(), 0
  for _, x in ipairs(logprobs:totable()) do sum = sum + x end
  local right, info = task:verify(problem, tokens)
  return { problem = i, tokens = tokens, right = right, answer = info.answer,
    honest = info.honest or false, failed = right == nil or nil, logprob = sum,
    score = info.score or (right and 1 or 0) }
end

-- Some problems sampled and judged: what one line of a log holds.
local function sample_some(lm, task, problems, first, o, key)
  return core.scope(function()
    local found, info = generate(lm, task, problems, first, o, key)
    local list = {}
    for i, problem in ipairs(problems) do
      list[i] = {}
      for j, sample in ipairs(found[i]) do
        list[i][j] = judge(task, problem, first + i - 1, sample, info.logprobs[i][j])
      end
    end
    return list
  end)
end

-- The chunks of a log that are whole, and the log opened behind them: a torn end is cut off.
local function open_log(path)
  local file, chunks, bytes = io.open(path, "r"), {}, 0
  local text = file and file:read "a" or ""
  if file then file:close() end
  for line in text:gmatch "([^\n]*)\n" do
    local ok, chunk = pcall(core.json.decode, line)
    if not ok or type(chunk) ~= "table" then break end
    chunks[#chunks + 1], bytes = chunk, bytes + #line + 1
  end
  if bytes < #text then
    local part = assert(io.open(path .. ".part", "w"))
    assert(part:write(text:sub(1, bytes)))
    assert(part:close())
    assert(os.rename(path .. ".part", path))
  end
  return chunks, assert(io.open(path, "a"))
end

local function write_line(file, value)
  assert(file:write(core.json.encode(value), "\n"))
  assert(file:flush())
end

--- ml.selftrain.sample(lm, task, problems, { samples, temperature, top_k, top_p, greedy, hint, rng,
---   file })
--- Samples solutions and has them judged. A problem's samples depend on its place and the generator
--- only. With a file what is there is read and the rest is added, some problems a line.
--- @param lm decoder
--- @param task task of ml.task
--- @param problems list
--- @param opts.samples integer =32 of each problem
--- @param opts.temperature number =1 > 0
--- @param opts.top_k integer only the k most likely tokens
--- @param opts.top_p number in (0, 1]: the fewest most likely tokens that hold this share
--- @param opts.greedy boolean =false one solution, the most likely token at each place
--- @param opts.hint boolean =false prompts that hold the answer
--- @param opts.rng ml.rng whose key, not its place, makes the samples
--- @param opts.file string path of a log that a second call goes on from
--- @return table list over problems of lists of { problem (its place), tokens, right, score (what
--- the verifier's info says, else 1 or 0), answer, honest, logprob (nats), failed }
--- @source Singh et al. 2023 (arXiv 2312.06585), Section 3
function selftrain.sample(lm, task, problems, opts)
  local where = "ml.selftrain.sample"
  options.check(where, opts, { "samples", "temperature", "top_k", "top_p", "greedy", "hint", "rng",
    "file" })
  local o = { greedy = options.field(where, opts or {}, "greedy", "boolean", false),
    hint = options.field(where, opts or {}, "hint", "boolean", false),
    top_p = options.optional(where, opts or {}, "top_p", "number"),
    temperature = options.field(where, opts or {}, "temperature", "number", 1),
    top_k = options.optional(where, opts or {}, "top_k", "integer") }
  o.samples = o.greedy and 1 or options.range(where, "samples",
    options.field(where, opts or {}, "samples", "integer", 32), 1)
  options.argument(where, 3, problems, "table")
  local key = opts and opts.rng or core.rng(1)
  local path = opts and options.optional(where, opts, "file", "string")
  local chunks, file = {}, nil
  if path then chunks, file = open_log(path) end
  local bar <close> = progress.bar(#problems, "sampling",
    { quiet = #problems * o.samples < 20000 })
  local out = {}
  for first = 1, #problems, CHUNK do
    local number = (first - 1) // CHUNK + 1
    local chunk = chunks[number]
    if not chunk then
      local some = { table.unpack(problems, first, math.min(#problems, first + CHUNK - 1)) }
      chunk = sample_some(lm, task, some, first, o, key)
      if file then write_line(file, chunk) end
    end
    for _, list in ipairs(chunk) do out[#out + 1] = list end
    bar:update(math.min(#problems, first + CHUNK - 1))
  end
  if file then file:close() end
  return out
end

-- ---- evaluation ---------------------------------------------------------------------------------

--- ml.selftrain.evaluate(lm, task, problems, { samples, temperature, top_p, k, rng })
--- The share of problems that one greedy solution gets right; with samples pass@k and the majority
--- vote as well. A failure of the verifier is counted, and counts neither way.
--- @param lm decoder
--- @param task task of ml.task
--- @param problems list
--- @param opts.samples integer =0 of each problem; 0: greedy only
--- @param opts.temperature number =1 of samples
--- @param opts.top_p number =nil in (0, 1], of samples
--- @param opts.k table ={ 1, samples } of pass@k
--- @param opts.rng ml.rng of samples
--- @return table { greedy, stderr, right (list of booleans, greedy), parsed (share of greedy
--- solutions with an answer), right_of_parsed, pass (by k), pass_stderr (by k), chance (by k:
--- task:chance), majority, votes (list of 1 and 0), solve (list over problems of the share that is
--- right), histogram (counts of solve in ten equal bins), false_positives (share of right samples
--- whose working is not), sampled_parsed, failed }
--- @source Chen et al. 2021 (pass@k); Wang et al. 2023 (majority)
function selftrain.evaluate(lm, task, problems, opts)
  local where = "ml.selftrain.evaluate"
  options.check(where, opts, { "samples", "temperature", "top_p", "k", "rng" })
  local o = opts or {}
  local samples = options.range(where, "samples",
    options.field(where, o, "samples", "integer", 0), 0)
  local out = { right = {}, failed = 0, pass = {}, pass_stderr = {}, chance = {}, solve = {} }
  local parsed, good, judged = 0, 0, 0
  for i, list in ipairs(selftrain.sample(lm, task, problems, { greedy = true })) do
    local one = list[1]
    if one.failed then out.failed = out.failed + 1 else judged = judged + 1 end
    out.right[i] = one.right == true
    if one.right then good = good + 1 end
    if one.answer ~= nil then parsed = parsed + 1 end
  end
  out.greedy, out.parsed = good / math.max(1, judged), parsed / math.max(1, judged)
  out.right_of_parsed = good / math.max(1, parsed)
  out.stderr = math.sqrt(out.greedy * (1 - out.greedy) / math.max(1, judged))
  if samples == 0 then return out end
  local sizes, counts, lucky, hits, read = {}, {}, 0, 0, 0
  out.votes, out.histogram = {}, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
  local found = selftrain.sample(lm, task, problems, { samples = samples, rng = o.rng,
    temperature = o.temperature, top_p = o.top_p })
  local total = 0
  for i, list in ipairs(found) do
    local right, answers, n = 0, {}, 0
    for _, one in ipairs(list) do
      if one.failed then
        out.failed = out.failed + 1
      else
        n = n + 1
        answers[n] = one.answer == nil and false or one.answer
        if one.answer ~= nil then read = read + 1 end
        if one.right then
          right, hits = right + 1, hits + 1
          if not one.honest then lucky = lucky + 1 end
        end
      end
    end
    total = total + n
    sizes[i], counts[i], out.solve[i] = n, right, right / math.max(1, n)
    local bin = math.min(10, 1 + out.solve[i] * 10 // 1)
    out.histogram[math.tointeger(bin)] = out.histogram[math.tointeger(bin)] + 1
    local winner = n > 0 and stats.majority_vote(answers) or nil
    out.votes[i] = 0
    for _, one in ipairs(list) do
      if winner ~= nil and one.answer == winner and not one.failed then
        out.votes[i] = one.right and 1 or 0
        break
      end
    end
  end
  for _, k in ipairs(o.k or { 1, samples }) do
    local n, c = {}, {}
    for i, size in ipairs(sizes) do -- a problem that was judged less than k times tells nothing
      if size >= k then n[#n + 1], c[#c + 1] = size, counts[i] end
    end
    if #n > 0 then out.pass[k], out.pass_stderr[k] = stats.pass_at_k(n, c, { k = k }) end
    out.chance[k] = task.chance and task:chance(k)
  end
  local votes = 0
  for _, vote in ipairs(out.votes) do votes = votes + vote end
  out.majority = votes / #problems
  out.false_positives = hits > 0 and lucky / hits or 0
  out.sampled_parsed = read / math.max(1, total)
  return out
end

--- ml.selftrain.compare(a, b, { what, resamples, level, seed })
--- Two models on the same problems: the difference a - b with its interval by the paired bootstrap.
--- @param a table of ml.selftrain.evaluate
--- @param b table of the same problems
--- @param opts.what string ="solve" (pass@1 of samples), "right" (greedy) or "votes" (majority)
--- @param opts.resamples integer =10000 draws
--- @param opts.level number =0.95 of the interval
--- @param opts.seed integer =1 of the draws
--- @return table { difference, low, high, p }
--- @source Efron & Tibshirani 1993; Berg-Kirkpatrick, Burkett & Klein 2012
function selftrain.compare(a, b, opts)
  local where = "ml.selftrain.compare"
  options.check(where, opts, { "what", "resamples", "level", "seed" })
  local what = options.choice(where, opts or {}, "what", { "solve", "right", "votes" }, "solve")
  local function numbers(e, i)
    if type(e) ~= "table" or type(e[what]) ~= "table" or #e[what] == 0 then
      options.bad(where, i, "no evaluation with '%s'", what)
    end
    local list = {}
    for k, x in ipairs(e[what]) do list[k] = x == true and 1 or x or 0 end
    return list
  end
  local x, y = numbers(a, 1), numbers(b, 2)
  local low, high, info = stats.paired(x, y, { resamples = opts and opts.resamples,
    level = opts and opts.level, seed = opts and opts.seed })
  local sum = 0
  for k in ipairs(x) do sum = sum + x[k] - y[k] end
  return { difference = sum / #x, low = low, high = high, p = info.p }
end

-- ---- base models --------------------------------------------------------------------------------

--- ml.selftrain.pretrain(task, { depth, width, heads, steps, batch, lr, seed, dir })
--- A base model: a decoder trained on the task's corpus, with AdamW, a warm-up of a twentieth of
--- the steps and a cosine to a tenth of the rate.
--- @param task task of ml.task
--- @param opts.depth integer =3 blocks
--- @param opts.width integer =64 of the residual stream
--- @param opts.heads integer =4 divides width
--- @param opts.steps integer =2000 updates
--- @param opts.batch integer =64 rows
--- @param opts.lr number =3e-3 peak learning rate
--- @param opts.seed integer =1 of initial values and text
--- @param opts.dir string =nil folder of a checkpoint, from which a second call goes on
--- @return decoder
--- @source -
function selftrain.pretrain(task, opts)
  local where = "ml.selftrain.pretrain"
  options.check(where, opts, { "depth", "width", "heads", "steps", "batch", "lr", "seed", "dir" })
  local o = opts or {}
  local function whole(name, default)
    return options.range(where, name, options.field(where, o, name, "integer", default), 1)
  end
  local steps, batch, seed = whole("steps", 2000), whole("batch", 64),
    options.field(where, o, "seed", "integer", 1)
  local lm = core.transformer { vocab = task.vocab, context = task.context,
    depth = whole("depth", 3), width = whole("width", 64), heads = whole("heads", 4), seed = seed }
  train { model = lm, steps = steps, clip = 1, dir = options.optional(where, o, "dir", "string"),
    opt = core.optim.adamw(lm:parameters(),
      { lr = options.field(where, o, "lr", "number", 3e-3) }),
    config = { seed = seed },
    schedule = function(t)
      return schedule.warmup_cosine(t, { warmup = steps // 20, total = steps, floor = 0.1 })
    end,
    data = { batch = function(_, i) return task:corpus(i, { batch = batch, seed = seed }) end },
    loss = function(model, b)
      return model:loss({ inputs = b.inputs, targets = b.targets }, { mask = b.mask })
    end }
  return lm
end

--- ml.selftrain.text_loss(lm, task, { batches, seed, only })
--- The loss on text of the task's corpus that the base model has not seen: how far self-training
--- has drifted from it.
--- @param lm decoder
--- @param task task of ml.task
--- @param opts.batches integer =4 of 64 rows
--- @param opts.seed integer =1 of the base model; the text is that of this seed plus 10,000
--- @param opts.only string =nil one component of the corpus
--- @return number nats a token
--- @source Singh et al. 2023 (arXiv 2312.06585), Section 5.4
function selftrain.text_loss(lm, task, opts)
  local where = "ml.selftrain.text_loss"
  options.check(where, opts, { "batches", "seed", "only" })
  local o = opts or {}
  local n = options.range(where, "batches", options.field(where, o, "batches", "integer", 4), 1)
  local seed = options.field(where, o, "seed", "integer", 1)
  return core.scope(function()
    local total = 0
    for i = 1, n do
      local b = task:corpus(i, { batch = 64, seed = seed + 10000, only = o.only })
      local _, info = lm:loss({ inputs = b.inputs, targets = b.targets }, { mask = b.mask })
      total = total + info.ce / n
    end
    return total
  end)
end

-- ---- the loop -----------------------------------------------------------------------------------

local function copy_into(to, from)
  local values = from:named_parameters()
  core.no_grad(function()
    for name, p in pairs(to:named_parameters()) do p:copy_(values[name]) end
  end)
end

local function twin(lm)
  local other = core.transformer(lm:config())
  copy_into(other, lm)
  return other
end

-- Whether x is a better one to keep than y: its score, then how likely the model found it.
local function better(x, y)
  if x.score ~= y.score then return x.score > y.score end
  return x.logprob > y.logprob
end

local function best_of(list)
  local best
  for _, one in ipairs(list) do
    if not one.failed and (best == nil or better(one, best)) then best = one end
  end
  return best
end

-- What a filter passes of the samples of one problem, equal ones once with `dedupe`, and how many
-- are distinct.
local function pass(list, o)
  local good, seen, distinct = {}, {}, 0
  for _, one in ipairs(list) do
    local passes = not one.failed
    if o.filter == "threshold" then passes = passes and one.score >= o.threshold
    elseif o.filter ~= "best_of_n" then passes = passes and one.right end
    if passes then
      local text = table.concat(one.tokens, " ")
      if not seen[text] then distinct = distinct + 1 end
      if not (o.dedupe and seen[text]) then good[#good + 1] = one end
      seen[text] = true
    end
  end
  if o.filter == "top_1" or o.filter == "best_of_n" then good = { best_of(good) } end
  return good, distinct
end

-- What is learned of samples, at most `cap` a problem, chosen by the generator among all that pass.
-- With weights "problem" the solutions of one problem weigh together as one.
local function filter(found, o, key)
  local kept, info = {}, { solved = 0, right = 0, samples = 0, distinct = 0, lucky = 0, length = 0,
    length_of_all = 0, failed = 0, tokens = 0 }
  for i, list in ipairs(found) do
    for _, one in ipairs(list) do
      info.samples, info.tokens = info.samples + 1, info.tokens + #one.tokens
      if one.failed then info.failed = info.failed + 1 end
      if one.right then info.right = info.right + 1 end
    end
    local good, distinct = pass(list, o)
    if #good > 0 then info.solved = info.solved + 1 end
    local order = #good > 0 and key:fold("cap", i):permutation(#good):totable() or {}
    local take = math.min(o.cap, #good)
    for k = 1, take do
      local one = good[order[k]]
      one.weight = o.weights == "problem" and 1 / take or nil
      kept[#kept + 1] = one
      info.length = info.length + #one.tokens
      if not one.honest then info.lucky = info.lucky + 1 end
    end
    info.distinct = info.distinct + distinct
  end
  info.kept, info.coverage = #kept, info.solved / #found
  info.kept_share = #kept / math.max(1, info.samples)
  info.solve_rate = info.right / math.max(1, info.samples - info.failed)
  info.false_positives = #kept > 0 and info.lucky / #kept or 0
  info.length = #kept > 0 and info.length / #kept or 0
  info.length_of_all = info.tokens / math.max(1, info.samples)
  return kept, info
end

--- ml.selftrain.improve(lm, task, pairs, { lr, batch, epochs, patience, seed })
--- Trains on solutions, whose tokens alone count, until the greedy share of right validation
--- problems has not risen for `patience` epochs, and puts the best weights back.
--- @param lm decoder, changed
--- @param task task of ml.task
--- @param pairs list of { prompt = ids, solution = ids }
--- @param opts.lr number =5e-4 learning rate of AdamW, >= 0
--- @param opts.batch integer =64 solutions
--- @param opts.epochs integer =8 at most
--- @param opts.patience integer =2 epochs
--- @param opts.seed integer =1 of the order
--- @return table { epochs, valid (list, the first before training), best }
--- @source Singh et al. 2023 (arXiv 2312.06585), Section 3
function selftrain.improve(lm, task, list, opts)
  local where = "ml.selftrain.improve"
  options.check(where, opts, { "lr", "batch", "epochs", "patience", "seed" })
  local o = opts or {}
  local lr = options.range(where, "lr", options.field(where, o, "lr", "number", 5e-4), 0)
  local batch = options.range(where, "batch", options.field(where, o, "batch", "integer", 64), 1)
  local epochs = options.range(where, "epochs", options.field(where, o, "epochs", "integer", 8), 1)
  local patience = options.range(where, "patience",
    options.field(where, o, "patience", "integer", 2), 1)
  local seed = options.field(where, o, "seed", "integer", 1)
  options.argument(where, 3, list, "table")
  local function valid() return selftrain.evaluate(lm, task, task.valid).greedy end
  local out = { valid = { valid() }, epochs = 0 }
  if #list == 0 then
    out.best = out.valid[1]
    return out
  end
  local opt = core.optim.adamw(lm:parameters(), { lr = lr, weight_decay = 0 })
  local best, kept, since = -1, twin(lm), 0
  local per_epoch = (#list + batch - 1) // batch
  for epoch = 1, epochs do
    local order = core.rng(seed):fold("epoch", epoch):permutation(#list):totable()
    train { model = lm, opt = opt, steps = per_epoch, clip = 1,
      data = { batch = function(_, i)
        local some = {}
        for k = (i - 1) * batch + 1, math.min(#list, i * batch) do
          some[#some + 1] = list[order[k]]
        end
        return task:batch(some)
      end },
      loss = function(model, b)
        return model:loss({ inputs = b.inputs, targets = b.targets }, { mask = b.mask })
      end }
    local now = valid()
    out.valid[#out.valid + 1], out.epochs = now, epoch
    if now > best then
      best, since = now, 0
      copy_into(kept, lm)
    else
      since = since + 1
      if since >= patience then break end
    end
  end
  copy_into(lm, kept)
  out.best = best
  return out
end

-- Numbers of a model that a token is multiplied with, without the embedding.
local function weights_of(lm)
  local total = 0
  for _, p in pairs(lm:named_parameters()) do total = total + p:numel() end
  local c = lm:config()
  return total - c.vocab * c.width
end

local modes = {
  rest_em = {},
  rft = { iterations = 1 },
  star = { greedy = true, rationalize = true },
  iml = {},
  continual = { restart = "continue" },
}

local function pairs_of(task, problems, kept)
  local list = {}
  for k, one in ipairs(kept) do
    list[k] = { prompt = task:prompt(problems[one.problem]), solution = one.tokens,
      weight = one.weight }
  end
  return list
end

-- STaR's second try: what was not solved is asked once more with the answer in the prompt, and is
-- learned without it.
local function rationalize(policy, task, problems, found, key, path)
  local places, left = {}, {}
  for i, list in ipairs(found) do
    local solved = false
    for _, one in ipairs(list) do solved = solved or one.right end
    if not solved then
      places[#places + 1], left[#left + 1] = i, problems[i]
    end
  end
  local again = selftrain.sample(policy, task, left, { greedy = true, hint = true, rng = key,
    file = path })
  for k, list in ipairs(again) do
    for _, one in ipairs(list) do
      one.problem, one.hinted = places[k], true
      table.insert(found[places[k]], one)
    end
  end
  return #left
end

-- One pass of iterative maximum likelihood: a batch of problems is sampled from the model as it is
-- now, and what is right makes one update.
local function iml_pass(policy, task, problems, o, key, path, lr)
  local chunks, file = {}, nil
  if path then chunks, file = open_log(path) end
  local order = key:fold("order"):permutation(#problems):totable()
  local opt = core.optim.adamw(policy:parameters(), { lr = lr, weight_decay = 0 })
  local found, updates = {}, 0
  for first = 1, #problems, CHUNK do
    local number = (first - 1) // CHUNK + 1
    local some, places = {}, {}
    for k = first, math.min(#problems, first + CHUNK - 1) do
      places[#places + 1], some[#some + 1] = order[k], problems[order[k]]
    end
    local chunk = chunks[number]
    if not chunk then
      chunk = sample_some(policy, task, some, first, o, key)
      for i, list in ipairs(chunk) do
        for _, one in ipairs(list) do one.problem = places[i] end
      end
      if file then write_line(file, chunk) end
    end
    for i, list in ipairs(chunk) do found[places[i]] = list end
    local kept = filter(chunk, o, key:fold("batch", number))
    if #kept > 0 then
      updates = updates + 1
      train { model = policy, opt = opt, steps = 1, clip = 1,
        data = { batch = function() return task:batch(pairs_of(task, problems, kept)) end },
        loss = function(model, b)
          return model:loss({ inputs = b.inputs, targets = b.targets }, { mask = b.mask })
        end }
    end
  end
  if file then file:close() end
  return found, updates
end

-- An iteration that is whole on disk: its model and what was counted.
local function finished(dir, i)
  local path = dir and ("%s/iteration-%d"):format(dir, i)
  if not path or not lfs.attributes(path .. ".json", "mode") then return nil end
  return core.transformer.load(path .. ".safetensors"), core.json.read(path .. ".json")
end

--- ml.selftrain.rest_em{ model =, task =, mode =, iterations =, samples =, temperature =, top_k =,
---   cap =, restart =, dedupe =, filter =, threshold =, weights =, rationalize =, first =, lr =,
---   epochs =, patience =, seed =, dir =, after = }
--- Expectation and maximization: in each iteration the last model solves the training problems,
--- what the verifier finds right is kept, and a copy of the base model learns it. Other modes
--- change defaults: "rft" (rejection-sampling fine-tuning) is one iteration, "continual" goes on
--- from the last model, "star" takes one greedy solution and asks again with the answer as a hint,
--- and "iml" (iterative maximum likelihood) samples every batch of 64 problems from the model as it
--- is and makes one update of what is right, iteration after iteration without a restart.
--- @param opts.model decoder the base, left as it is
--- @param opts.task task of ml.task
--- @param opts.problems table =task.train
--- @param opts.mode string ="rest_em", "rft", "star", "iml" or "continual"
--- @param opts.iterations integer =3 >= 1
--- @param opts.samples integer =32 of each problem
--- @param opts.temperature number =0.7 of sampling, > 0
--- @param opts.top_k integer =40 the most likely tokens
--- @param opts.cap integer =10 solutions of one problem that are kept
--- @param opts.restart string ="base" or "continue"
--- @param opts.dedupe boolean =false equal solutions count once
--- @param opts.filter string ="binary" (all that are right), "top_1" (of those the best score, then
--- the most likely: RAFT), "best_of_n" (the same among all, right or not) or "threshold"
--- @param opts.threshold number =0.5 least score that the filter "threshold" passes
--- @param opts.weights string ="none", or "problem": the kept solutions of a problem weigh together
--- as much as those of another
--- @param opts.rationalize boolean =false ask again with a hint what was not solved
--- @param opts.first decoder =model that samples in the first iteration: a larger one distils
--- @param opts.lr number =5e-4 learning rate of AdamW, >= 0
--- @param opts.epochs integer =8 of an improvement, at most
--- @param opts.patience integer =2 epochs without a better validation
--- @param opts.seed integer =1 of samples and orders
--- @param opts.dir string folder of the samples (one JSON line for some problems) and the models,
--- from which a second call goes on: it samples nothing twice and repeats no finished iteration
--- @param opts.after function(iteration, model, info) called after each iteration
--- @return decoder the last policy
--- @return table list over iterations of { samples, tokens, seconds, flops (2 a weight and sampled
--- token, 6 a weight and learned token), solve_rate, coverage, kept, kept_share, distinct,
--- false_positives (share of what was kept), length, length_of_all (tokens), failed, hinted,
--- epochs, valid }
--- @source Singh et al. 2023 (arXiv 2312.06585), Algorithm 1; Yuan et al. 2023 (rft), Zelikman et
--- al. 2022 (star), Dong et al. 2023 (top_1)
function selftrain.rest_em(opts)
  local where = "ml.selftrain.rest_em"
  options.required(where, opts, { "model", "task", "problems", "mode", "iterations", "samples",
    "temperature", "top_k", "cap", "restart", "dedupe", "filter", "threshold", "weights",
    "rationalize", "first", "lr", "epochs", "patience", "seed", "dir", "after" })
  local base, task = opts.model, options.field(where, opts, "task", "table")
  local ok = pcall(function() return base:config() end)
  if not ok then options.bad(where, 0, "option 'model' is no decoder of ml.transformer") end
  local mode = options.choice(where, opts, "mode", { "rest_em", "rft", "star", "iml", "continual" },
    "rest_em")
  local default = modes[mode]
  local o = { dedupe = options.field(where, opts, "dedupe", "boolean", false),
    filter = options.choice(where, opts, "filter", { "binary", "top_1", "best_of_n", "threshold" },
      "binary"),
    threshold = options.field(where, opts, "threshold", "number", 0.5),
    weights = options.choice(where, opts, "weights", { "none", "problem" }, "none"),
    cap = options.range(where, "cap", options.field(where, opts, "cap", "integer", 10), 1),
    samples = options.range(where, "samples", options.field(where, opts, "samples", "integer", 32),
      1),
    temperature = options.field(where, opts, "temperature", "number", 0.7),
    top_k = options.field(where, opts, "top_k", "integer", 40), greedy = default.greedy }
  local again = options.field(where, opts, "rationalize", "boolean", default.rationalize or false)
  if again and not task.hints then
    options.bad(where, 0, "this task has no prompts with hints, which rationalization asks with")
  end
  local iterations = options.range(where, "iterations",
    options.field(where, opts, "iterations", "integer", default.iterations or 3), 1)
  local restart = options.choice(where, opts, "restart", { "base", "continue" },
    default.restart or "base")
  local seed = options.field(where, opts, "seed", "integer", 1)
  local lr = options.range(where, "lr", options.field(where, opts, "lr", "number", 5e-4), 0)
  local dir = options.optional(where, opts, "dir", "string")
  if dir then lfs.mkdir(dir) end
  local problems = options.field(where, opts, "problems", "table", task.train)
  local first = opts.first or base
  local weights, policy, history = weights_of(base), first, {}
  for i = 1, iterations do
    local next_one, info = finished(dir, i)
    if not next_one then
      local began, key = core.now(), core.rng(seed):fold("rest_em", i)
      local path = dir and ("%s/iteration-%d"):format(dir, i)
      local found
      if mode == "iml" then
        next_one = twin(policy)
        local updates
        found, updates = iml_pass(next_one, task, problems, o, key, path and path .. ".jsonl", lr)
        info = select(2, filter(found, o, key))
        info.epochs, info.updates = 1, updates
        info.valid = { selftrain.evaluate(next_one, task, task.valid).greedy }
      else
        found = selftrain.sample(policy, task, problems, { samples = o.samples,
          temperature = o.temperature, top_k = o.top_k, greedy = o.greedy, rng = key,
          file = path and path .. ".jsonl" })
        local hinted = again and rationalize(policy, task, problems, found, key:fold "hint",
          path and path .. "-hinted.jsonl") or 0
        local kept, counted = filter(found, o, key)
        info = counted
        info.hinted = hinted
        next_one = twin(restart == "base" and base or policy)
        local learned = selftrain.improve(next_one, task, pairs_of(task, problems, kept),
          { lr = lr, epochs = opts.epochs, patience = opts.patience, seed = seed * 1000 + i })
        info.epochs, info.valid = learned.epochs, learned.valid
      end
      info.seconds = core.now() - began
      info.flops = 2.0 * weights * (info.tokens + 3 * info.length * info.kept * info.epochs)
      if path then
        next_one:save(path .. ".safetensors")
        core.write_file(path .. ".json", core.json.encode(info))
      end
    end
    history[i], policy = info, next_one
    if opts.after then opts.after(i, policy, info) end
  end
  return policy, history
end

return selftrain
