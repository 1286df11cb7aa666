--- Which changes of scale leave training exactly as it was?
local ml, recipe = require "moonlab", require "moonlab.recipe"

local rules = {
  sgd = function(p) return ml.optim.sgd(p, { lr = 0.05, momentum = 0.9 }) end,
  adam = function(p)
    return ml.optim.adamw(p, { lr = 0.01, eps = 1e-8, weight_decay = 1e-3 })
  end,
  adam_atan2 = function(p) return ml.optim.adam_atan2(p, { lr = 0.01 }) end,
  adam_ps = function(p) return ml.optim.adam_ps(p, { lr = 0.05, eps = 1e-8, floor = 1e-9 }) end,
}

local layers = { "tokens", "attn.wq", "attn.wk", "attn.wv", "attn.wo", "mlp.w1", "mlp.w2", "norm",
  "head" }

-- Losses of a small f64 decoder.
local function losses(p, rule, width, o)
  local lm = ml.transformer { vocab = 16, context = 16, depth = 2, width = width,
    heads = width // 8, dtype = "f64", seed = p.seed }
  o.optimizer = rule
  local opt, found = rules[rule](ml.parameterization(lm, o):groups()), {}
  for i = 1, p.steps do
    local tokens = ml.rng(p.seed):fold("batch", i):integers(1, 16, { 4, 17 })
    opt:zero_grad()
    found[i] = ml.scope(function()
      local loss = lm:loss(tokens)
      loss:backward()
      return loss:item()
    end)
    opt:step()
  end
  return found
end

local function gap(a, b)
  local most = 0
  for i = 1, #a do most = math.max(most, math.abs(a[i] - b[i]) / math.abs(b[i])) end
  return most
end

-- Multiplier x rho, initial values / rho and what the rule asks for, on the layers named.
local function shift(names, rule, rho)
  local lr, overrides = ({ sgd = rho ^ -2, adam_ps = 1 })[rule] or 1 / rho, {}
  for _, name in ipairs(names) do
    overrides[name] = { multiplier = rho, std = 1 / rho, lr = lr, eps = rho }
  end
  return overrides
end

return recipe.define {
  name = "equivalence",
  source = "Everett et al. 2024, section 3 (equivalences)",
  params = {
    width = { 16, "of the decoder; multiples of 8", min = 16 },
    ratio = { 4, "width over base width, for whole parameterizations", min = 2 },
    steps = { 50, "updates", min = 1 },
    rho = { { 0.25, 3.0 }, "factors between multiplier and initial values", above = 0 },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { steps = 5, rho = { 3.0 } },
  full = { seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local result = { shift = 0, classes = 0, base = 0 }
    local names, columns, gaps = {}, {}, {}
    for i, name in ipairs(layers) do columns[i] = "shift " .. name end
    for _, name in ipairs { "shift all", "other form", "base width" } do
      columns[#columns + 1] = name
    end
    for rule in ml.sorted(rules) do
      local plain = losses(p, rule, p.width, { base_width = p.width })
      local row = {}
      for _, rho in ipairs(p.rho) do
        for i = 1, #layers + 1 do -- each one, then all
          local found = losses(p, rule, p.width, { base_width = p.width,
            overrides = shift(layers[i] and { layers[i] } or layers, rule, rho) })
          row[i] = math.max(row[i] or 0, gap(found, plain))
        end
      end
      local worst = math.max(table.unpack(row))
      local function whole(name, base)
        return losses(p, rule, p.width * p.ratio, { name = name, base_width = base })
      end
      local classes = math.max(gap(whole("ntk", p.width), whole("standard", p.width)),
        gap(whole("mean_field", p.width), whole("mup", p.width)))
      local base = 0
      for _, name in ipairs { "ntk", "mup", "mean_field" } do
        base = math.max(base, gap(whole(name, p.width * p.ratio),
          whole("standard", p.width * p.ratio)))
      end
      table.move({ classes, base }, 1, 2, #row + 1, row)
      names[#names + 1], gaps[#gaps + 1] = rule, row
      print(("%-11s shift %.1e, standard = ntk and mup = mean field %.1e, at the base width %.1e")
        :format(rule, worst, classes, base))
      ctx:log { rule = rule, shift = worst, classes = classes, base = base }
      result.shift = math.max(result.shift, worst)
      result.classes, result.base = math.max(result.classes, classes), math.max(result.base, base)
    end
    ctx:figure("gaps", ml.plot.heatmap { z = gaps, xnames = columns, ynames = names, zlog = true,
      values = true, origin = "upper", title = "largest relative gap of the losses", width = 900,
      zlabel = "gap; 0 is grey" })
    local wide = p.width * p.ratio
    local function constant(name)
      return losses(p, "adam", wide, { name = name, base_width = p.width, epsilon = "constant" })
    end
    result.constant_epsilon = gap(constant "mean_field", constant "mup")
    return result
  end,
  claims = {
    { name = "losses after a shift between multiplier and initial values, relative gap",
      kind = "exact", source = "Everett et al. 2024, section 3", at_most = 1e-9,
      measure = function(r) return r.shift end },
    { name = "standard = NTK and muP = mean field, relative gap", kind = "exact",
      source = "Everett et al. 2024, section 3", at_most = 1e-9,
      measure = function(r) return r.classes end },
    { name = "all parameterizations at the base width, relative gap", kind = "exact", at_most = 0,
      measure = function(r) return r.base end },
    { name = "muP and mean field part under one epsilon, relative gap", kind = "theory",
      source = "Everett et al. 2024, section 4", at_least = 1e-9,
      measure = function(r) return r.constant_epsilon end },
  },
}
