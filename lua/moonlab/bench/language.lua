--- Benchmarks of language models: training, sampling, sweeps.
local common = require "moonlab.bench.common"
local ml = require "moonlab"
local quote = require("moonlab.recipe.words").quote

local presets, median = common.presets, common.median
local seconds, python = common.seconds, common.python

local jobs = {}

local function decoder(name)
  local depth, width, heads, context, _, vocab = table.unpack(presets[name])
  return ml.transformer { vocab = vocab, context = context, depth = depth, width = width,
    heads = heads, mlp_width = 4 * width,
    bias = true, positions = "learned", tied = true, norm_eps = 1e-5, seed = 1 }
end

local function train(name, threads, steps)
  local _, _, _, context, batch, vocab = table.unpack(presets[name])
  local lm = decoder(name)
  local tokens = ml.keep(ml.rng(1):integers(1, vocab, { batch, context + 1 }))
  local opt = ml.optim.adamw(lm:parameters(),
    { lr = 1e-3, betas = { 0.9, 0.999 }, weight_decay = 0.01, decay = "decoupled" })
  local function step()
    opt:zero_grad()
    ml.scope(function() lm:loss(tokens):backward() end)
    opt:step()
  end
  return batch * context / seconds(threads, steps, step)
end

function jobs.train_gpt(o)
  local list = {}
  for _, name in ipairs(o.presets) do
    for _, precision in ipairs(o.precisions) do
      local steps = name == "a" and 21 or name == "b" and 9 or 5
      list[#list + 1] = {
        row = { job = "train_gpt", preset = name, batch = presets[name][5], dtype = "f32",
          precision = precision, unit = "tokens/s" },
        ours = function(threads)
          ml.matmul_precision(precision)
          local rate = train(name, threads, steps)
          ml.matmul_precision "highest"
          return rate
        end,
        share = function(threads, rate)
          local depth, width, _, context, _, vocab = table.unpack(presets[name])
          return common.share(threads, "gflops", rate, 1e-9 * (6 * (12 * depth * width ^ 2
            + vocab * width) + 12 * depth * context * width))
        end,
        peer = function(threads) -- bf16 autocast at medium, f32 else
          local r, why = python("train_gpt.py", ("--preset %s --steps %d --mode %s"):format(name,
            steps, precision == "medium" and "bf16" or "eager"), threads)
          return r and (threads == 1 and r.tokens_per_cpu_s or r.tokens_per_s), why, r and r.peer
        end,
      }
    end
  end
  for _, name in ipairs(o.presets) do
    list[#list + 1] = {
      row = { job = "train_gpt", preset = name, batch = presets[name][5], dtype = "f32",
        unit = "bytes", measure = "memory" },
      ours = function(threads)
        local script = ([[local ml = require 'moonlab'; ml.threads(%d)
          local q = ml.param(ml.ones{8, 8}); q:matmul(q):sum():backward()
          local idle = ml.peak_rss(); require 'moonlab.bench.language'.gpt('%s', %d, 1)
          print(ml.peak_rss() - idle)]]):format(threads, name, threads):gsub("\n", " ")
        local pipe = io.popen(("%s -e \"%s\""):format(quote(common.root .. "/build/bin/moonlab"),
          script))
        local bytes = tonumber(pipe:read("a"))
        pipe:close()
        return bytes or 0 / 0
      end,
      peer = function(threads)
        local r, why = python("train_memory.py", "--preset " .. name, threads)
        return r and r.bytes, why, r and r.peer
      end,
    }
  end
  return list
end

-- One training of a proxy with all that is measured on it, a step of 8 rows of 32 tokens.
function jobs.sweep_proxies(o)
  local list = {}
  for _, size in ipairs(o.sizes or { "S1", "S2" }) do
    list[#list + 1] = {
      row = { job = "sweep_proxies", preset = size, batch = 8, dtype = "f32", unit = "steps/s" },
      ours = function(threads)
        local source = ml.proxies.source {}
        local clock = threads == 1 and ml.cpu_time or ml.now
        -- like the peer: the median step, from the draw of its rows to the update, without the
        -- making of the model and the two validations
        local times, last = {}, nil
        ml.proxies.train({ size = size, lr = 1e-2, steps = 300 }, { source = source,
          log = function()
            local now = clock()
            if last then times[#times + 1] = now - last end
            last = now
          end })
        return 1 / median(times)
      end,
      peer = function(threads)
        local r, why = python("sweep_proxies.py", "--size " .. size, threads)
        return r and (threads == 1 and r.steps_per_cpu_s or r.steps_per_s), why, r and r.peer
      end,
    }
  end
  return list
end

function jobs.sample_gpt(o)
  local list = {}
  local new, prompt = 64, 16
  for _, name in ipairs(o.presets) do
    for _, batch in ipairs(o.batches or { 1, 64, 256 }) do
      for _, precision in ipairs(o.precisions) do
        list[#list + 1] = {
          row = { job = "sample_gpt", preset = name, batch = batch, dtype = "f32",
            precision = precision, unit = "tokens/s" },
          ours = function(threads)
            local lm = decoder(name)
            local prompts = ml.scope(function()
              return ml.rng(2):integers(1, presets[name][6], { batch, prompt }):totable()
            end)
            local g = ml.rng(3)
            local rates = {}
            local clock = threads == 1 and ml.cpu_time or ml.now
            local function both(count) -- prompt and count tokens
              local start = clock()
              lm:generate(prompts, { max_new = count, rng = g })
              return clock() - start
            end
            ml.matmul_precision(precision)
            for i = 1, batch == 1 and 9 or 4 do
              -- the time of the prompt and the first token is taken off, as the peer does not count
              -- its prefill
              local whole, first = both(new + 1), both(1)
              if i > 1 then rates[#rates + 1] = batch * new / (whole - first) end
            end
            ml.matmul_precision "highest"
            return median(rates)
          end,
          peer = function(threads) -- f32 at any precision
            local r, why = python("sample_gpt.py",
              ("--preset %s --batch %d --new %d --prompt %d --reps %d"):format(name, batch, new,
              prompt, batch == 1 and 8 or 3), threads)
            return r and (threads == 1 and r.tokens_per_cpu_s or r.tokens_per_s), why,
              r and r.peer
          end,
        }
      end
    end
  end
  return list
end

-- 8 samples of 48 tokens for each of 2,000 prompts of 16, prefill counted.
function jobs.rollouts(o)
  local list = {}
  local count, samples, new, length = 2000, 8, 48, 16
  for _, name in ipairs(o.rollout_presets or { "a" }) do
    list[#list + 1] = {
      row = { job = "rollouts", preset = name, batch = samples, dtype = "f32", unit = "tokens/s" },
      ours = function(threads)
        local lm = decoder(name)
        local prompts = ml.scope(function()
          return ml.rng(2):integers(1, presets[name][6], { count, length }):totable()
        end)
        local clock = threads == 1 and ml.cpu_time or ml.now
        local function run(some)
          local start = clock()
          ml.scope(function()
            lm:generate(some, { n = samples, max_new = new, rng = ml.rng(3) })
          end)
          return clock() - start
        end
        run { table.unpack(prompts, 1, 64) }
        return count * samples * new / run(prompts)
      end,
      peer = function(threads)
        local r, why = python("rollouts.py", ("--preset %s --prompts %d --samples %d --new %d "
          .. "--prompt %d"):format(name, count, samples, new, length), threads)
        return r and (threads == 1 and r.tokens_per_cpu_s or r.tokens_per_s), why, r and r.peer
      end,
    }
  end
  return list
end

return { jobs = jobs, gpt = train }
