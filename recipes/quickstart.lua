--- Does a small transformer learn English better than gzip does, in two minutes on a laptop?
local ml, recipe = require "moonlab", require "moonlab.recipe"

-- Bits that a compressor needs per byte of the text, by the system's own programs; nil where one is
-- missing.
local function compressed_bits_per_byte(command, path, bytes)
  local pipe = io.popen(("command -v %s >/dev/null 2>&1 && %s -9 -c '%s' | wc -c"):format(command,
    command, path:gsub("'", "'\\''")))
  local size = pipe and tonumber(pipe:read("a"))
  if pipe then pipe:close() end
  return size and 8 * size / bytes
end

-- The rate at which this machine multiplies f32 matrices, in flops per second, on all threads.
local function measured_peak()
  local a = ml.rng(1):normal({ 768, 768, dtype = "f32" })
  local best = 0
  for _ = 1, 6 do
    local start = ml.now()
    ml.scope(function() a:matmul(a) end)
    best = math.max(best, 2 * 768 ^ 3 / (ml.now() - start))
  end
  return best
end

-- Mean cross-entropy over the held-out text in bits per byte; rows of context bytes, at most
-- `limit` of them.
local function bits_per_byte(lm, held_out, limit)
  local sum, count = 0, 0
  for rows in held_out:cover(limit) do
    local n = rows:size(1)
    sum = sum + n * ml.scope(function() return lm:loss(rows):item() end)
    count = count + n
  end
  return sum / count / math.log(2)
end

return recipe.define {
  name = "quickstart",
  params = {
    text = { "wordnet", "what to learn: wordnet, or the path of a text file" },
    depth = { 4, "blocks" },
    width = { 128, "model width" },
    heads = { 4, "attention heads" },
    context = { 128, "bytes that the model sees" },
    batch = { 16, "rows of a batch" },
    steps = { 950, "updates" },
    lr = { 4e-3, "peak learning rate of AdamW" },
    warmup = { 100, "updates" },
    seed = { 1, "every stream derives from it" },
  },
  minimize = "bits_per_byte",
  smoke = { depth = 2, width = 32, heads = 2, context = 32, batch = 8, steps = 40, warmup = 5 },
  estimate = function(p)
    local weights = p.depth * 12 * p.width ^ 2 + 2 * 256 * p.width
    local rows = p.batch * p.context
    return {
      bytes = 120e6 + 16 * weights + 4 * rows * p.width * 30 * p.depth,
      seconds = 10 + p.steps * rows * (6 * weights + 6 * p.depth * p.context * p.width) / 60e9,
    }
  end,
  run = function(p, ctx)
    local text = assert(ml.data.text(p.text, { seed = p.seed }))
    local tokens = ml.tokenizer.bytes()
    print(text)
    local held_out_file = ctx.dir .. "/held-out.txt"
    ml.write_file(held_out_file, text.valid)
    local gzip = compressed_bits_per_byte("gzip", held_out_file, #text.valid)
    local bzip2 = compressed_bits_per_byte("bzip2", held_out_file, #text.valid)

    local lm = ml.transformer { vocab = tokens:size(), context = p.context, depth = p.depth,
      width = p.width, heads = p.heads, seed = p.seed }
    local train = text:batches(tokens, { batch = p.batch, context = p.context, seed = p.seed })
    local held_out = text:batches(tokens, { split = "valid", batch = 32, context = p.context })
    local weights = 0
    for _, w in pairs(lm:named_parameters()) do weights = weights + w:numel() end
    -- a token; attention below the diagonal only
    local flops = 6 * weights + 6 * p.depth * p.context * p.width
    local peak = measured_peak()
    print(("decoder with %d weights; %.0f Gflop/s in matrix products on %d threads"):format(weights,
      peak / 1e9, ml.threads()))

    local bar = ml.progress.bar(p.steps, "training")
    local began, began_at = ml.now(), 0
    local curve, held_curve = { x = {}, y = {} }, { x = {}, y = {} }
    local result = ml.train {
      model = lm, data = train, dir = ctx.dir .. "/training", steps = p.steps, clip = 1,
      opt = ml.optim.adamw(lm:named_parameters(),
        { lr = p.lr, betas = { 0.9, 0.95 }, weight_decay = 1e-4 }),
      schedule = function(t)
        return ml.schedule.warmup_cosine(t,
          { warmup = math.min(p.warmup, p.steps), total = p.steps, floor = 0.05 })
      end,
      loss = function(model, batch) return (model:loss(batch)) end,
      eval = function(model) return { bits_per_byte = bits_per_byte(model, held_out, 256) } end,
      eval_every = math.max(1, p.steps // 10),
      checkpoint = { every = math.max(1, p.steps // 10) },
      log = function(r)
        ctx:log(r)
        if r.kind == "eval" then
          bar.note = ("held out %.3f bits/byte"):format(r.bits_per_byte)
          return
        end
        if began_at == 0 then began, began_at = ml.now(), r.step end
        local rate = (r.step - began_at) * p.batch * p.context / (ml.now() - began)
        if rate > 0 then
          bar:update(r.step, ("%.3f bits/byte  %s tokens/s  %.0f%% of peak  %s"):format(
            r.loss / math.log(2), ml.progress.quantity(rate), 100 * rate * flops / peak,
            bar.note or ""))
        end
      end,
    }
    bar:finish()
    for _, r in ipairs(result.history) do
      local c = r.kind == "eval" and held_curve or curve
      c.x[#c.x + 1], c.y[#c.y + 1] = r.step, r.kind == "eval" and r.bits_per_byte
        or r.loss / math.log(2)
    end

    local final = bits_per_byte(lm, held_out)
    lm:save(ctx.dir .. "/model.safetensors")
    local yardsticks = {}
    if gzip then table.insert(yardsticks, { y = gzip, label = "gzip -9" }) end
    if bzip2 then table.insert(yardsticks, { y = bzip2, label = "bzip2 -9" }) end
    ctx:figure("loss", ml.plot.lines {
      title = "learning " .. p.text, xlabel = "update", ylabel = "bits per byte", series = {
        { x = curve.x, y = curve.y, label = "training", faint = true, thin = true },
        { x = held_curve.x, y = held_curve.y, label = "held out" },
      }, references = yardsticks,
    })

    print(("held-out text, %d bytes, in bits per byte:"):format(#text.valid))
    print(("  this model %.3f\n  gzip -9    %s\n  bzip2 -9   %s"):format(final,
      gzip and ("%.3f"):format(gzip) or "not here", bzip2 and ("%.3f"):format(bzip2) or "not here"))
    print "\nten definitions it makes up:"
    local newline = tokens:id("\n")
    local samples = lm:generate({ { newline } }, {
      n = 10, max_new = p.context - 1, temperature = 0.7, stop = { newline },
      rng = ml.rng(p.seed):fold("samples", 0),
    })
    for i, ids in ipairs(samples[1]) do
      print(("%3d. %s"):format(i, (tokens:decode(ids):gsub("%s*$", ""))))
    end
    print(("\nthe model: ml.transformer.load %q"):format(ctx.dir .. "/model.safetensors"))
    return { bits_per_byte = final, gzip = gzip, bzip2 = bzip2, state = result.state }
  end,
  claims = {
    { name = "beats gzip -9 on held-out text", kind = "exploratory",
      at_most = function(_, r) return r.gzip or 0 / 0 end,
      measure = function(r) return r.bits_per_byte end },
    { name = "beats bzip2 -9 on held-out text", kind = "exploratory",
      at_most = function(_, r) return r.bzip2 or 0 / 0 end,
      measure = function(r) return r.bits_per_byte end },
  },
}
