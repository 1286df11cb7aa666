-- ml.transformer from Lua: options, positions from 1, batches as tables, results, errors, leaks.
local ml = require "moonlab"
local check = require "check"
local T = {}

local function small(more)
  local options = {
    vocab = 12, context = 20, depth = 2, width = 16, heads = 2, seed = 5, dtype = "f64",
  }
  for k, v in pairs(more or {}) do options[k] = v end
  return ml.transformer(options)
end

function T.test_defaults_and_config()
  local lm = ml.transformer {}
  local c = lm:config()
  check.equal({ c.vocab, c.context, c.depth, c.width, c.heads, c.mlp_width, c.dtype, c.seed },
    { 256, 256, 4, 128, 4, 512, "f32", 1 })
  check.equal({ c.norm, c.norm_eps, c.bias, c.activation, c.positions },
    { "layer", 1e-6, false, "gelu_tanh", "rotary" })
  check.equal({ c.rotary, c.rotary_base, c.qk_norm, c.qk_norm_order },
    { "half", 1e4, false, "before_rotary" })
  check.equal({ c.attention_scale, c.tied, c.init }, { "1/sqrt(d_head)", false, "paper" })
  check.equal(lm:config().heads, 4)
  check.is_true(tostring(lm):find("width 128", 1, true) ~= nil)
end

function T.test_tables_count_from_one()
  local lm = small()
  local a = lm:logits { 3, 1, 12 }
  local b = lm:logits(ml.index { 3, 1, 12 })
  check.equal(a:shape(), { 3, 12 })
  check.equal(a, b)
  check.equal(lm:logits({ { 3, 1 }, { 2, 2 } }):shape(), { 2, 2, 12 })
  local whole = lm:loss { { 3, 1, 12, 4 } }
  local parts = lm:loss { inputs = { { 3, 1, 12 } }, targets = { { 1, 12, 4 } } }
  check.equal(whole:item(), parts:item())
  check.equal(lm:loss({ 3, 1, 12, 4 }):item(), whole:item())
  check.equal(whole:shape(), {})
end

-- Cosines of the pairs that attend, written out; without positions nothing is rotated.
function T.test_cosines_of_queries_and_keys() -- analytic
  local tokens = ml.rng(1):integers(1, 12, { 3, 8 })
  local lm = ml.transformer { vocab = 12, context = 8, depth = 2, width = 16, heads = 2,
    positions = "none", dtype = "f64", seed = 4 }
  local h, w = lm:hidden(tokens[{ {}, { 1, -2 } }]), lm:named_parameters()
  local function heads(x, l)
    local z = ml.nn.layer_norm(h[l - 1], { gain = w[("blocks.%d.norm1.gain"):format(l)] })
    local y = z:reshape { 21, 16 }:matmul(w[("blocks.%d.attn.w%s"):format(l, x)])
      :reshape { 3, 7, 2, 8 }
    return y / (y * y):sum { 4, keepdims = true }:sqrt()
  end
  local one = { 1, 1, 1, 1, 1, 1, 1 }
  local function wanted(l, segments)
    local q, k, sum, count = heads("q", l), heads("k", l), 0, 0
    for b = 1, 3 do
      for i = 1, 7 do
        for j = 1, i do
          if segments[b][i] == segments[b][j] then
            sum, count = sum + (q[{ b, i }] * k[{ b, j }]):sum():item(), count + 2
          end
        end
      end
    end
    return sum / count
  end
  local _, info = lm:loss(tokens, { probes = true })
  for l = 1, 2 do
    check.close(info.qk_cosine[l], wanted(l, { one, one, one }), { rtol = 1e-11, atol = 1e-14 })
  end
  local segments = { { 1, 1, 2, 2, 2, 1, 3 }, one, { 1, 2, 3, 4, 5, 6, 7 } }
  local _, cut = lm:loss(tokens, { probes = true, segments = ml.index(segments) })
  -- the input of block 1 does not know segments
  check.close(cut.qk_cosine[1], wanted(1, segments), { rtol = 1e-11, atol = 1e-14 })
end

-- Queries and keys are linear in the norm of the block's input, and rotation keeps their size.
function T.test_sizes_of_queries_and_keys() -- analytic
  local tokens = ml.rng(1):integers(1, 12, { 3, 8 })
  for _, positions in ipairs { "none", "rotary" } do
    local lm = ml.transformer { vocab = 12, context = 8, depth = 2, width = 16, heads = 2,
      positions = positions, dtype = "f64", seed = 4 }
    lm:multiplier("blocks.2.attn.wk", 3)
    local _, info = lm:loss(tokens, { probes = true })
    local h, w = lm:hidden(tokens[{ {}, { 1, -2 } }]), lm:named_parameters()
    for l = 1, 2 do
      local name = ("blocks.%d."):format(l)
      local z = ml.nn.layer_norm(h[l - 1], { gain = w[name .. "norm1.gain"] })
      for _, x in ipairs { "q", "k" } do
        local wanted = (z:reshape { 21, 16 }:matmul(w[name .. "attn.w" .. x]) ^ 2):mean():item()
        wanted = wanted ^ 0.5 * (l == 2 and x == "k" and 3 or 1)
        check.close(info[x .. "_rms"][l], wanted, { rtol = 1e-12 })
      end
    end
  end
  local lm = ml.transformer { vocab = 12, context = 8, depth = 2, width = 16, heads = 2,
    qk_norm = true, norm_eps = 0, dtype = "f64", seed = 4 }
  local _, info = lm:loss(tokens, { probes = true })
  for l = 1, 2 do
    check.close({ info.q_rms[l], info.k_rms[l] }, { 1, 1 }, { rtol = 1e-12 })
    check.is_true(info.max_logit[l] <= info.max_abs_logit[l])
  end
end

function T.test_loss_options()
  local lm = small()
  local tokens = ml.rng(1):integers(1, 12, { 3, 8 })
  local _, info = lm:loss(tokens, { z_loss = 1e-3, probes = true })
  check.equal({ #info.max_logit, #info.max_abs_logit, #info.attn_entropy, #info.block_rms },
    { 2, 2, 2, 2 })
  check.equal(info.count, 21)
  check.is_true(info.mean_logz2 >= info.mean_logz ^ 2)
  local plain = lm:loss(tokens)
  check.close(
    plain:item() + 1e-3 * info.mean_logz2,
    lm:loss(tokens, { z_loss = 1e-3 }):item(), { rtol = 1e-12 })
  -- the mask as a table, weights of any sign
  local mask = { { 1, 0, 0, 0, 0, 0, 0 }, { 0, 0, 0, 0, 0, 0, 0 }, { 0, 0, 0, 0, 0, 0, -1 } }
  local masked = lm:loss(tokens, { mask = mask })
  local logits = lm:logits(tokens[{ {}, { 1, -2 } }])
  local function nll(b, t)
    return (logits[{ b, t }]:logsumexp(-1) - logits[{ b, t, tokens[{ b, t + 1 }]:item() }]):item()
  end
  check.close(masked:item(), (nll(1, 1) - nll(3, 7)) / 2, { rtol = 1e-11 })
  -- segments as a table: the second half starts afresh
  local row = tokens[{ { 1, 1 } }]
  local split = lm:logits(row, { segments = { { 1, 1, 1, 1, 2, 2, 2, 2 } } })
  check.close(
    split[{ 1, { 5, 8 } }]:detach(),
    lm:logits(row[{ 1, { 5, 8 } }]):detach(), { rtol = 1e-10, atol = 1e-12 })
  -- embeddings are differentiable
  local e = ml.param(ml.rng(2):normal({ 1, 8, 16 }))
  lm:loss(row, { embeddings = e[{ {}, { 1, 7 } }] }):backward()
  check.equal(e:grad():shape(), { 1, 8, 16 })
end

function T.test_hidden_is_keyed_as_asked()
  local lm = small()
  local h = lm:hidden({ { 1, 2, 3 } }, { layers = { 0, 2, "final" } })
  check.equal(h[0]:shape(), { 1, 3, 16 })
  check.is_nil(h[1])
  local head = lm:named_parameters().head
  check.close(
    h.final:matmul(head):detach(),
    lm:logits({ { 1, 2, 3 } }):detach(), { rtol = 1e-11, atol = 1e-13 })
  local all = lm:hidden { 4, 5 }
  check.equal(all[1]:shape(), { 2, 16 })
  check.equal(all.final:shape(), { 2, 16 })
  check.raises("layer 3, wanted 0..2", function() lm:hidden({ 1 }, { layers = { 3 } }) end)
  check.raises("entry 1 is not", function() lm:hidden({ 1 }, { layers = { "last" } }) end)
end

-- More rows than one pass takes, which groups they fall into depending on the threads.
function T.test_many_rows_do_not_know_each_other() -- property
  local lm = ml.transformer { vocab = 19, context = 24, depth = 2, width = 16, heads = 2, seed = 4 }
  local prompts, keys = { { 3, 1, 4 }, { 15 } }, { ml.rng(1), ml.rng(2) }
  local before, first = ml.threads(), nil
  for _, threads in ipairs { 1, 2, 5 } do
    ml.threads(threads)
    local out = lm:generate(prompts, { n = 150, max_new = 20, keys = keys })
    first = first or out
    for i = 1, 2 do
      for j = 1, 150 do check.equal(out[i][j], first[i][j]) end
    end
  end
  ml.threads(before)
  local few = lm:generate({ prompts[2] }, { n = 40, max_new = 20, keys = { keys[2] } })[1]
  for j = 1, 40 do check.equal(few[j], first[2][j]) end
end

function T.test_generate_rows_and_streams()
  local lm = small { dtype = "f32" }
  local long = { 5, 6, 7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }
  local prompts = { { 1, 2, 3 }, ml.index { 4 }, long }
  local out, info = lm:generate(prompts, { n = 2, max_new = 6, rng = ml.rng(9) })
  check.equal(#out, 3)
  check.equal(#out[1], 2)
  check.equal(out[1][1]:shape(), { 6 })
  check.equal(out[3][2]:shape(), { 3 }) -- 18 ids and 3 make context + 1
  check.is_false(info.finished[3][2])
  check.equal(info.new_tokens, 2 * (6 + 6 + 3))
  check.equal(info.logprobs[2][1]:shape(), { 6 })
  check.is_true(info.tokens_per_second > 0)
  -- the same generator state gives the same samples; it has moved by one draw
  local g = ml.rng(9)
  check.equal(lm:generate(prompts, { n = 2, max_new = 6, rng = g })[2][2], out[2][2])
  local other = lm:generate(prompts, { n = 2, max_new = 6, rng = g })
  local same = true
  for i = 1, 3 do for j = 1, 2 do same = same and other[i][j]:equal(out[i][j]) end end
  check.is_false(same)
  -- keys: a row depends on its key, prompt and number only
  local keys = { ml.rng(1), 2, ml.rng(3) }
  local a = lm:generate(prompts, { n = 3, max_new = 6, keys = keys })
  local b = lm:generate({ prompts[2] }, { n = 1, max_new = 6, keys = { ml.rng(2) } })
  check.equal(b[1][1], a[2][1])
  -- the logprobs are the model's
  local sequence = { 4 }
  for _, id in ipairs(out[2][1]:totable()) do sequence[#sequence + 1] = id end
  check.close(
    lm:logprob({ sequence }, { from = 2 })[1], info.logprobs[2][1], { rtol = 1e-4, atol = 1e-5 })
end

function T.test_rows_that_cannot_fit_are_refused_before_anything_is_taken()
  local lm = small()
  local limit, live = ml.memory().limit, ml.live_bytes()
  ml.memory { limit = live + 2 ^ 28 }
  local message = check.raises("1000000 rows of up to 1 new tokens need", lm.generate, lm,
    { { 1 } }, { n = 1000000, max_new = 1 })
  ml.memory { limit = limit }
  check.is_true(message:find("generate", 1, true) ~= nil)
  check.is_true(ml.memory().peak < live + 2 ^ 27)
end

function T.test_stop_is_returned_last()
  local lm = small()
  local all = {}
  for id = 1, 12 do all[id] = id end
  local out, info = lm:generate({ { 1 } }, { stop = all, rng = ml.rng(1) })
  check.equal(out[1][1]:shape(), { 1 })
  check.is_true(info.finished[1][1])
  local greedy = lm:generate({ { 1 } }, { greedy = true, max_new = 4 })[1][1]
  local best = lm:logits { 1 }
  check.equal(greedy[1], best[{ 1 }]:argmax(1):item())
  local stopped = lm:generate({ { 1 } }, { greedy = true, max_new = 4, stop = greedy[1] })[1][1]
  check.equal(stopped:totable(), { greedy[1] })
  local as_set = lm:generate({ { 1 } }, -- a set, the first id in it
    { greedy = true, max_new = 4, stop = { [1] = true, [greedy[1]] = true } })[1][1]
  check.equal(as_set:totable(), { greedy[1] })
end

function T.test_logprob_from_lists()
  local lm = small()
  local list = lm:logprob({ { 1, 2, 3, 4 }, ml.index { 5, 6 } }, { from = { 3, 2 } })
  check.equal(list[1]:shape(), { 2 })
  check.equal(list[2]:shape(), { 1 })
  local logits = lm:logits { 1, 2, 3 }
  check.close(
    list[1][2], logits[{ 3, 4 }]:item() - logits[{ 3 }]:logsumexp(1):item(), { rtol = 1e-11 })
  check.equal(lm:logprob({ { 1, 2, 3 } })[1]:shape(), { 2 })
  check.raises("from is 1, wanted >= 2", function() lm:logprob({ { 1, 2 } }, { from = 1 }) end)
  check.raises("wanted 1..21 (context + 1)",
    function() lm:logprob { ml.rng(1):integers(1, 12, { 22 }) } end)
end

function T.test_parameters_keep_their_identity()
  local lm = small()
  local named, list = lm:named_parameters(), lm:parameters()
  check.is_true(rawequal(named.tokens, list[1]))
  check.is_true(rawequal(lm:named_parameters().head, named.head))
  named.extra = 1
  check.is_nil(lm:named_parameters().extra)
  check.equal(named["blocks.2.mlp.w1"]:shape(), { 16, 64 })
  ml.scope(function() lm:loss({ 1, 2, 3 }):backward() end)
  check.is_true(named.tokens:grad() ~= nil)
  lm:zero_grad()
  check.equal(named.tokens:grad():sum():item(), 0.0)
  check.is_true(lm:training())
  check.is_false(lm:training(false))
  check.is_false(lm:training())
end

function T.test_multipliers_act_and_are_kept()
  local lm = small()
  local before = lm:logits({ 1, 2 }):detach()
  check.equal(lm:multiplier("head"), 1.0)
  lm:multiplier("head", 0.5)
  check.close(lm:logits({ 1, 2 }):detach(), before * 0.5, { rtol = 1e-13 })
  local path = os.tmpname()
  lm:save(path)
  local back = ml.transformer.load(path)
  os.remove(path)
  check.equal(back:multiplier("head"), 0.5)
  check.equal(back:logits({ 1, 2 }):detach(), lm:logits({ 1, 2 }):detach())
  check.equal(back:config(), lm:config())
  check.raises("no parameter", function() lm:multiplier("hed") end)
end

function T.test_a_step_lowers_the_loss()
  local lm = small { tied = true, positions = "learned", bias = true, qk_norm = true }
  local opt = ml.optim.adamw(lm:named_parameters(), { lr = 3e-3 })
  local tokens = ml.rng(4):integers(1, 12, { 4, 10 })
  local first = lm:loss(tokens):item()
  for _ = 1, 30 do
    ml.scope(function()
      opt:zero_grad()
      lm:loss(tokens):backward()
      opt:step()
    end)
  end
  check.is_true(lm:loss(tokens):item() < 0.6 * first)
end

function T.test_errors()
  check.raises("unknown option 'widht'; did you mean 'width'?", ml.transformer, { widht = 3 })
  check.raises("did you mean \"layer\"?", ml.transformer, { norm = "lyer" })
  check.raises("width is 128 and heads is 5", ml.transformer, { heads = 5 })
  check.raises("options have names", ml.transformer, { 3 })
  check.raises("is a table, wanted", ml.transformer, { width = {} })
  check.raises("ml.parameterization", ml.transformer, { parameterization = "mup" })
  local lm = small()
  check.raises("tokens [1,3] is id 13, wanted 1..12", function() lm:loss { { 1, 2, 13 } } end)
  check.raises("mask is f64 [1x1], wanted [1x2]",
    function() lm:loss({ { 1, 2, 3 } }, { mask = ml.ones { 1, 1 } }) end)
  check.raises("unknown option 'probe'; did you mean 'probes'?",
    function() lm:loss({ 1, 2 }, { probe = true }) end)
  check.raises("targets are missing", function() lm:loss { inputs = { { 1, 2 } } } end)
  check.raises("more than the context of 20",
    function() lm:logits(ml.rng(1):integers(1, 12, { 21 })) end)
  check.raises("prompt 1 is number 1, wanted a list of ids", function() lm:generate { 1, 2 } end)
  check.raises("prompt 2 is empty", function() lm:generate { { 1 }, {} } end)
  check.raises("prompt 1 has number 0 at 2", function() lm:generate { { 1, 0 } } end)
  check.raises("temperature is 0, wanted > 0",
    function() lm:generate({ { 1 } }, { temperature = 0 }) end)
  check.raises("top_k", function() lm:generate({ { 1 } }, { top_k = 0 }) end)
  check.raises("wanted a list of 1 generators",
    function() lm:generate({ { 1 } }, { keys = {} }) end)
  check.raises("prompt 1 has 21 ids, more than the context of 20",
    function() lm:generate { ml.rng(1):integers(1, 12, { 21 }) } end)
  check.raises("1000000000000 rows of up to 20 new tokens need",
    function() lm:generate({ { 1 } }, { n = 10 ^ 12 // 1 | 0 }) end)
  check.raises("/no/such/folder", function() lm:save("/no/such/folder/x") end)
  check.equal({ ml.transformer.load("/no/such/file") }, { nil, "/no/such/file: no such file" })
end

function T.test_help_for_every_name()
  local core = require "moonlab.core"
  local lm = small()
  for _, name in ipairs(getmetatable(lm).__dir) do
    check.is_true(type(core.help[lm[name]]) == "string", name)
  end
  check.is_true(type(core.help[ml.transformer.load]) == "string")
  check.is_true(type(core.help[getmetatable(ml.transformer).__call]) == "string")
end

function T.test_no_leak()
  local lm = small { depth = 1, width = 8 }
  local g = ml.rng(1)
  lm:generate({ { 1 } }, { max_new = 2, rng = g })
  check.no_leak(function()
    local loss = lm:loss({ 1, 2, 3 }, { probes = true })
    lm:hidden { 1, 2 }
    lm:logprob { { 1, 2, 3 } }
    lm:generate({ { 1, 2 } }, { max_new = 2, rng = g })
    return loss
  end)
end

return T
