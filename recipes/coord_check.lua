--- Do activations, their changes and gradients depend on the width as the parameterizations say?
local ml, recipe = require "moonlab", require "moonlab.recipe"

local arms = { { "global", "full" }, { "standard", "full" }, { "standard", "none" },
  { "ntk", "full" }, { "mup", "full" }, { "mean_field", "full" } }

local function arm(r, name, align)
  return r[name .. " " .. (align or "full")] or error("no arm " .. name)
end

-- The slope of an arm that lies farthest from what is expected, over rows with this beginning.
local function farthest(r, names, beginning)
  local most = 0
  for _, name in ipairs(names) do
    for _, row in ipairs(arm(r, name)) do
      if row.what:find(beginning) and row.expected then
        local off = math.abs(row.slope - row.expected)
        most = off == off and math.max(most, off) or math.huge
      end
    end
  end
  return most
end

local four = { "standard", "ntk", "mup", "mean_field" }

local function slope(r, name, align, what)
  for _, row in ipairs(arm(r, name, align)) do
    if row.what == what then return row.slope end
  end
  error("no slope of " .. what)
end

local function least_and_most(r, name, align)
  local a, b = slope(r, name, align, "change hidden 1"), slope(r, name, align, "change hidden 2")
  return math.min(a, b), math.max(a, b)
end

-- How far each layer's activations moved, over the width.
local function panel(p, name, align, rows)
  local series = {}
  for _, row in ipairs(rows) do
    local layer = row.what:match "^change (.*)"
    if layer then series[#series + 1] = { x = p.widths, y = row.values, label = layer } end
  end
  return ml.plot.lines { series = series, log = "xy", base = { x = 2, y = 10 }, legend = "outside",
    title = ("%s, %s alignment"):format(name:gsub("_", " "), align == "none" and "no" or align),
    xlabel = "width",
    ylabel = "RMS of the change" }
end

-- Log alignment ratios of a layer of the small network after training, at one width.
local function hand_made(width, seed)
  local g = ml.rng(seed):fold("hand made", width)
  local v, z = g:normal { 1, width }, g:normal { width, 1 }
  local one = ml.alignment { W = z:matmul(v), z = z:reshape { 1, width } }
  local other = ml.alignment { W = g:normal { width, width }, z = g:normal { 64, width } }
  return one.A, other.A
end

return recipe.define {
  name = "coord_check",
  source = "Everett et al. 2024, section 3; Yang et al. 2021, appendix D.1",
  params = {
    widths = { { 64, 128, 256, 512, 1024 }, "ascending multiples of the first", min = 16 },
    steps = { 4, "updates of Adam", min = 1 },
    lr = { 0.002, "learning rate at the first width", above = 0 },
    repeats = { 2, "networks that are averaged", min = 1 },
    model = { "mlp", "", choices = { "mlp", "decoder" } },
    seed = { 1, "every stream derives from it" },
  },
  smoke = { widths = { 64, 128 }, repeats = 1 },
  full = { seeds = { 1, 2, 3 } },
  run = function(p, ctx)
    local seeds, found, panels = {}, {}, {}
    for i = 1, p.repeats do seeds[i] = 1000 * p.seed + i end
    for _, a in ipairs(arms) do
      local check = ml.coord_check { name = a[1], align = a[2], model = p.model, widths = p.widths,
        steps = p.steps, lr = p.lr, seeds = seeds, optimizer = "adam" }
      if not ctx.quiet then print(tostring(check) .. "\n") end
      local rows = {}
      panels[#panels + 1] = panel(p, a[1], a[2], check.rows)
      for i, row in ipairs(check.rows) do
        rows[i] = { what = row.what, slope = row.slope, stderr = row.stderr,
          expected = row.expected }
        ctx:log { arm = a[1], align = a[2], what = row.what, slope = row.slope }
      end
      found[a[1] .. " " .. a[2]] = rows
    end
    panels.columns, panels.share, panels.width, panels.height = 3, "y", 1080, 640
    panels.title = ("activations after %d updates"):format(p.steps)
    ctx:figure("changes", ml.plot.grid(panels))
    found.rank_one, found.unrelated = hand_made(256, p.seed)
    return found
  end,
  claims = {
    { name = "gradient slopes, farthest from -g, four parameterizations", kind = "calibrated",
      seeds = 1, source = "Everett et al. 2024, Table 1", at_most = 0.1,
      measure = function(r) return farthest(r, four, "^gradient") end },
    { name = "initial logits, farthest from 0 or -1/2", kind = "calibrated", seeds = 1,
      source = "Everett et al. 2024, Table 1", at_most = 0.1,
      measure = function(r) return farthest(r, four, "^initial logits") end },
    { name = "hidden changes with full alignment, farthest from 0", kind = "calibrated", seeds = 1,
      source = "Everett et al. 2024, Table 1", at_most = 0.15,
      measure = function(r) return farthest(r, four, "^change hidden") end },
    { name = "hidden changes with one learning rate, least slope", kind = "calibrated", seeds = 1,
      source = "Everett et al. 2024, section 3", at_least = 0.6,
      measure = function(r) return (least_and_most(r, "global")) end },
    { name = "hidden changes with no alignment, least slope", kind = "calibrated", seeds = 1,
      source = "Everett et al. 2024, section 3", at_least = 0.2,
      measure = function(r) return (least_and_most(r, "standard", "none")) end },
    { name = "hidden changes with no alignment, largest slope", kind = "calibrated", seeds = 1,
      source = "Everett et al. 2024, section 3", at_most = 0.5,
      measure = function(r) return (select(2, least_and_most(r, "standard", "none"))) end },
    { name = "change of the logits, standard with full alignment", kind = "exploratory",
      measure = function(r) return slope(r, "standard", "full", "change logits") end },
    { name = "change of the logits, muP with full alignment", kind = "exploratory",
      measure = function(r) return slope(r, "mup", "full", "change logits") end },
    { name = "log alignment ratio of a rank-1 weight with its own input", kind = "exact",
      source = "Everett et al. 2024, section 3.3", expected = 1, tolerance = 1e-9,
      measure = function(r) return r.rank_one end },
    { name = "log alignment ratio of unrelated factors", kind = "theory",
      source = "Everett et al. 2024, section 3.3", expected = 0.5, tolerance = 0.03,
      measure = function(r) return r.unrelated end },
  },
}
