--- Do attacks found on one model work on others, of another seed and another size?
local ml, recipe = require "moonlab", require "moonlab.recipe"
local study = require "moonlab.attack.study"
local attack = ml.attack

return recipe.define {
  name = "attack_transfer",
  source = "Freeman et al. 2023 (arXiv 2311.07587), at the scale of a laptop",
  params = study.params {},
  smoke = study.smoke {},
  full = { seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local specs = { { name = "seed " .. p.seed, size = p.size, seed = p.seed },
      { name = "seed " .. p.seed + 100, size = p.size, seed = p.seed + 100 },
      { name = "other size", size = p.size == "S" and "M" or "S", seed = p.seed } }
    local labs, found = {}, {}
    for i, spec in ipairs(specs) do
      labs[i] = study.lab(p, ctx, i == 1, { name = "model-" .. i, size = spec.size,
        seed = spec.seed })
      labs[i].attacker = labs[1].attacker
      found[i] = study.search(p, ctx, labs[i], "pirs-" .. i)
    end
    local error_, rank, names, held = {}, {}, {}, labs[1].problems.held_out
    for i, spec in ipairs(specs) do
      names[i], error_[i], rank[i] = spec.name, {}, {}
      local own
      for j in ipairs(specs) do
        local r = attack.confirm(labs[j].target, found[i].survivors, held)
        error_[i][j] = r.error
        local scores = {}
        for k, one in ipairs(r.results) do scores[k] = one.error end
        if j == 1 then own = own or {} end
        rank[i][j] = scores
      end
      local mine, list = rank[i][i], {}
      for j, other in ipairs(rank[i]) do
        list[j] = #mine > 2 and ml.stats.spearman(mine, other) or 0 / 0
        if list[j] ~= list[j] then list[j] = 0 end -- all attacks work equally well
      end
      rank[i] = list
      print(("attacks on %-12s error on %s: %.3f, on %s: %.3f, on %s: %.3f"):format(spec.name,
        specs[1].name, error_[i][1], specs[2].name, error_[i][2], specs[3].name, error_[i][3]))
    end
    ctx:figure("transfer", ml.plot.heatmap { z = error_, xnames = names, ynames = names,
      origin = "upper", values = true, vmin = 0, vmax = 1, xlabel = "attacked",
      ylabel = "attacks found on", zlabel = "error", title = "transfer of attacks" })
    return { error = error_, rank = rank, names = names }
  end,
  claims = {
    { name = "least error of attacks on the model they were found on", kind = "exploratory",
      at_least = 0.8, measure = function(r)
        return math.min(r.error[1][1], r.error[2][2], r.error[3][3])
      end },
    { name = "error on a model of another seed", kind = "exploratory", at_least = 0.1,
      measure = function(r) return (r.error[1][2] + r.error[2][1]) / 2 end },
    { name = "error on a model of another size", kind = "exploratory", at_least = 0.1,
      measure = function(r) return (r.error[1][3] + r.error[3][1]) / 2 end },
  },
}
