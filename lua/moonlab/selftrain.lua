--- Self-training with a verifier: sample, keep what is right, train on it from the base model.
local core = require "moonlab.core"
local lfs = require "lfs"
local options = require "moonlab.options"
local progress = require "moonlab.progress"
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
  for i, problem in ipairs(problems) do prompts[i] = task:prompt(problem) end
  return lm:generate(prompts, { n = o.samples, max_new = task.context - 32,
    temperature = o.temperature, top_k = o.top_k, greedy = o.greedy, stop = { task.stop },
    keys = not o.greedy and keys_of(key, first, #problems) or nil })
end

-- A sample as it is judged and kept: { problem, tokens, right, answer, honest }.
local function judge(task, problem, i, sample)
  local tokens = sample:totable()
  local right, info = task:verify(problem, tokens)
  return { problem = i, tokens = tokens, right = right, answer = info.answer,
    honest = info.honest or false, failed = right == nil or nil }
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

--- ml.selftrain.sample(lm, task, problems, { samples, temperature, top_k, greedy, rng, file })
--- Samples solutions and has them judged. A problem's samples depend on its place and the generator
--- only. With a file what is there is read and the rest is added, some problems a line.
--- @param lm decoder
--- @param task task of ml.task
--- @param problems list
--- @param opts.samples integer =32 of each problem
--- @param opts.temperature number =1 > 0
--- @param opts.top_k integer only the k most likely tokens
--- @param opts.greedy boolean =false one solution, the most likely token at each place
--- @param opts.rng ml.rng whose key, not its place, makes the samples
--- @param opts.file string path of a log that a second call goes on from
--- @return table list over problems of lists of { tokens, right, answer, honest, failed }
--- @source Singh et al. 2023 (arXiv 2312.06585), Section 3
function selftrain.sample(lm, task, problems, opts)
  local where = "ml.selftrain.sample"
  options.check(where, opts, { "samples", "temperature", "top_k", "greedy", "rng", "file" })
  local o = { greedy = options.field(where, opts or {}, "greedy", "boolean", false),
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
      chunk = core.scope(function()
        local some = { table.unpack(problems, first, math.min(#problems, first + CHUNK - 1)) }
        local found = generate(lm, task, some, first, o, key)
        local list = {}
        for i, problem in ipairs(some) do
          list[i] = {}
          for j, sample in ipairs(found[i]) do
            list[i][j] = judge(task, problem, first + i - 1, sample)
          end
        end
        return list
      end)
      if file then
        assert(file:write(core.json.encode(chunk), "\n"))
        assert(file:flush())
      end
    end
    for _, list in ipairs(chunk) do out[#out + 1] = list end
    bar:update(math.min(#problems, first + CHUNK - 1))
  end
  if file then file:close() end
  return out
end

-- ---- evaluation ---------------------------------------------------------------------------------

--- ml.selftrain.evaluate(lm, task, problems, { samples, temperature, k, rng })
--- The share of problems that one greedy solution gets right; with samples pass@k and the majority
--- vote as well. A failure of the verifier is counted, and counts neither way.
--- @param lm decoder
--- @param task task of ml.task
--- @param problems list
--- @param opts.samples integer =0 of each problem; 0: greedy only
--- @param opts.temperature number =1 of samples
--- @param opts.k table ={ 1, samples } of pass@k
--- @param opts.rng ml.rng of samples
--- @return table { greedy, stderr, right (list of booleans, greedy), parsed (share with an
--- answer), pass (by k), pass_stderr (by k), majority, solve (list over problems of the share that
--- is right), false_positives (share of right samples whose working is not), failed }
--- @source Chen et al. 2021 (pass@k); Wang et al. 2023 (majority)
function selftrain.evaluate(lm, task, problems, opts)
  local where = "ml.selftrain.evaluate"
  options.check(where, opts, { "samples", "temperature", "k", "rng" })
  local o = opts or {}
  local samples = options.range(where, "samples",
    options.field(where, o, "samples", "integer", 0), 0)
  local out = { right = {}, failed = 0, pass = {}, pass_stderr = {}, solve = {} }
  local parsed, good, judged = 0, 0, 0
  for i, list in ipairs(selftrain.sample(lm, task, problems, { greedy = true })) do
    local one = list[1]
    if one.failed then out.failed = out.failed + 1 else judged = judged + 1 end
    out.right[i] = one.right == true
    if one.right then good = good + 1 end
    if one.answer then parsed = parsed + 1 end
  end
  out.greedy, out.parsed = good / math.max(1, judged), parsed / math.max(1, judged)
  out.stderr = math.sqrt(out.greedy * (1 - out.greedy) / math.max(1, judged))
  if samples == 0 then return out end
  local counts, votes, lucky, hits = {}, 0, 0, 0
  local found = selftrain.sample(lm, task, problems, { samples = samples, rng = o.rng,
    temperature = o.temperature })
  for i, list in ipairs(found) do
    local right, answers = 0, {}
    for j, one in ipairs(list) do
      answers[j] = one.answer or false
      if one.failed then out.failed = out.failed + 1 end
      if one.right then
        right, hits = right + 1, hits + 1
        if not one.honest then lucky = lucky + 1 end
      end
    end
    counts[i], out.solve[i] = right, right / samples
    local winner = stats.majority_vote(answers)
    for _, one in ipairs(list) do
      if winner ~= nil and one.answer == winner then
        if one.right then votes = votes + 1 end
        break
      end
    end
  end
  local sizes = {}
  for i in ipairs(problems) do sizes[i] = samples end
  for _, k in ipairs(o.k or { 1, samples }) do
    out.pass[k], out.pass_stderr[k] = stats.pass_at_k(sizes, counts, { k = k })
  end
  out.majority = votes / #problems
  out.false_positives = hits > 0 and lucky / hits or 0
  return out
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

-- Right samples, at most `cap` a problem, chosen by the generator among all of them.
local function filter(found, o, key)
  local kept, info = {}, { solved = 0, right = 0, samples = 0, distinct = 0, lucky = 0, length = 0,
    failed = 0 }
  for i, list in ipairs(found) do
    local good, seen, distinct = {}, {}, 0
    for _, one in ipairs(list) do
      info.samples = info.samples + 1
      if one.failed then info.failed = info.failed + 1 end
      if one.right then
        info.right = info.right + 1
        local text = table.concat(one.tokens, " ")
        if not seen[text] then distinct = distinct + 1 end
        if not (o.dedupe and seen[text]) then good[#good + 1] = one end
        seen[text] = true
      end
    end
    if #good > 0 then info.solved = info.solved + 1 end
    local order = #good > 0 and key:fold("cap", i):permutation(#good):totable() or {}
    for k = 1, math.min(o.cap, #good) do
      local one = good[order[k]]
      kept[#kept + 1] = one
      info.length = info.length + #one.tokens
      if not one.honest then info.lucky = info.lucky + 1 end
    end
    info.distinct = info.distinct + distinct
  end
  info.kept, info.coverage = #kept, info.solved / #found
  info.solve_rate = info.right / info.samples
  info.false_positives = #kept > 0 and info.lucky / #kept or 0
  info.length = #kept > 0 and info.length / #kept or 0
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

--- ml.selftrain.rest_em{ model =, task =, iterations =, samples =, temperature =, top_k =, cap =,
---   restart =, dedupe =, lr =, epochs =, patience =, seed =, dir =, after = }
--- Expectation and maximization: in each iteration the last model solves the training problems,
--- what the verifier finds right is kept, and a copy of the base model learns it. One iteration is
--- rejection-sampling fine-tuning; restart = "continue" goes on from the last model instead.
--- @param opts.model decoder the base, left as it is
--- @param opts.task task of ml.task
--- @param opts.problems table =task.train
--- @param opts.iterations integer =3 >= 1
--- @param opts.samples integer =32 of each problem
--- @param opts.temperature number =0.7 of sampling, > 0
--- @param opts.top_k integer =40 the most likely tokens
--- @param opts.cap integer =10 solutions of one problem that are kept
--- @param opts.restart string ="base" or "continue"
--- @param opts.dedupe boolean =false equal solutions count once
--- @param opts.lr number =5e-4 learning rate of AdamW, >= 0
--- @param opts.epochs integer =8 of an improvement, at most
--- @param opts.patience integer =2 epochs without a better validation
--- @param opts.seed integer =1 of samples and orders
--- @param opts.dir string folder of the samples, from which a second call goes on
--- @param opts.after function(iteration, model, info) called after each iteration
--- @return decoder the last policy
--- @return table list over iterations of { solve_rate, coverage, kept, distinct, false_positives,
--- length, failed, epochs, valid }
--- @source Singh et al. 2023 (arXiv 2312.06585), Algorithm 1
function selftrain.rest_em(opts)
  local where = "ml.selftrain.rest_em"
  options.required(where, opts, { "model", "task", "problems", "iterations", "samples",
    "temperature", "top_k", "cap", "restart", "dedupe", "lr", "epochs", "patience", "seed", "dir",
    "after" })
  local base, task = opts.model, options.field(where, opts, "task", "table")
  local ok = pcall(function() return base:config() end)
  if not ok then options.bad(where, 0, "option 'model' is no decoder of ml.transformer") end
  local o = { dedupe = options.field(where, opts, "dedupe", "boolean", false),
    cap = options.range(where, "cap", options.field(where, opts, "cap", "integer", 10), 1) }
  local iterations = options.range(where, "iterations",
    options.field(where, opts, "iterations", "integer", 3), 1)
  local restart = options.choice(where, opts, "restart", { "base", "continue" }, "base")
  local seed = options.field(where, opts, "seed", "integer", 1)
  local dir = options.optional(where, opts, "dir", "string")
  if dir then lfs.mkdir(dir) end
  local problems = options.field(where, opts, "problems", "table", task.train)
  local policy, history = base, {}
  for i = 1, iterations do
    local key = core.rng(seed):fold("rest_em", i)
    local found = selftrain.sample(policy, task, problems, { samples = opts.samples,
      temperature = opts.temperature or 0.7, top_k = opts.top_k or 40, rng = key,
      file = dir and ("%s/iteration-%d.jsonl"):format(dir, i) })
    local kept, info = filter(found, o, key)
    local list = {}
    for k, one in ipairs(kept) do
      list[k] = { prompt = task:prompt(problems[one.problem]), solution = one.tokens }
    end
    local next_one = twin(restart == "base" and base or policy)
    local learned = selftrain.improve(next_one, task, list, { lr = opts.lr, epochs = opts.epochs,
      patience = opts.patience, seed = seed * 1000 + i })
    info.epochs, info.valid = learned.epochs, learned.valid
    history[i], policy = info, next_one
    if opts.after then opts.after(i, policy, info) end
  end
  return policy, history
end

return selftrain
