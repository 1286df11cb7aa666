--- How often does one model that was trained on the facts of a graph answer wrongly? (What sweeps
--- are made of.)
local ml, recipe = require "moonlab", require "moonlab.recipe"
local study = require "moonlab.kg.study"

local function say(name, r)
  if not r.t1[name] then return end
  print(("%-10s %8.4f %8.4f %8.4f %10.4f %10.4f"):format(name, r.t1[name].rate,
    r.greedy[name].rate, r.exact[name], r.controls.mode[name], r.controls.draw[name]))
end

return recipe.define {
  name = "kg_model",
  source = "Hron et al. 2024 (arXiv 2408.07852)",
  params = study.params,
  smoke = { subjects = 40, pool = 20, epochs = 3, size = "XS", samples = 2 },
  full = { size = "M", seeds = { 1, 2, 3 } },
  estimate = study.estimate,
  run = function(p, ctx)
    local r = study.run(p, ctx)
    if not ctx.quiet then
      print(("%d triplets, %d tokens an epoch, %g epochs of %d parameters: %.3g flops in %.1f s; "
        .. "loss %.3f a token, %.3f held out"):format(r.triplets, r.tokens, r.epochs, r.N,
        r.compute, r.seconds, r.loss, r.held_out))
      print(("%-10s %8s %8s %8s %10s %10s"):format("set", "T = 1", "greedy", "exact", "most freq.",
        "frequency"))
      for _, name in ipairs { "seen", "partial", "invisible" } do say(name, r) end
      local kinds = {}
      for kind, share in ml.sorted(r.t1.seen.kinds) do
        kinds[#kinds + 1] = ("%s %.4f"):format(kind, share)
      end
      print("errors at T = 1, of all samples: " .. table.concat(kinds, ", "))
      ctx:figure("training", ml.plot.lines { x = r.series.step, y = r.series.loss,
        xlabel = "update", ylabel = "nats a token", title = "loss" })
    end
    return r
  end,
  claims = {
    { name = "sampled rate minus exact rate, seen, over its standard error", kind = "exploratory",
      source = "1 - P(any right answer), by a trie", measure = function(r)
        local e = r.t1.seen
        return e.stderr > 0 and (e.rate - r.exact.seen) / e.stderr or 0
      end },
  },
}
