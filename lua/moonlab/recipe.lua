--- The frame of recipes: parameters with defaults, sizes, seeds, a folder for what a run leaves,
--- and claims checked at the end.
local catalogue = require "moonlab.recipe.catalogue"
local claims = require "moonlab.recipe.claims"
require "moonlab.recipe.context" -- whose methods help knows
local options = require "moonlab.options"
local params = require "moonlab.recipe.params"

local recipe = {}

local Recipe = {}
Recipe.__index = Recipe
Recipe.__name = "moonlab.recipe"

local fields = { "name", "source", "params", "smoke", "full", "run", "claims", "estimate",
  "summary", "minimize", "maximize" }

local function bad(text, ...)
  options.bad("recipe.define", 0, text, ...)
end

local function check_seeds(size, seeds)
  local seen = {}
  if type(seeds) ~= "table" or #seeds == 0 then
    bad("%s.seeds is %s, wanted a list of integers", size, options.describe(seeds))
  end
  for _, seed in ipairs(seeds) do
    if math.type(seed) ~= "integer" or seen[seed] then
      bad("%s.seeds has %s, wanted distinct integers", size, options.describe(seed))
    end
    seen[seed] = true
  end
  if size == "smoke" and #seeds > 1 then bad("smoke.seeds has %d seeds, wanted one", #seeds) end
end

-- The values of one size, typed, without its seeds; and the seeds.
local function size_of(self, name, values)
  if values == nil then return nil end
  if type(values) ~= "table" then bad("%s is a %s, wanted a table", name, type(values)) end
  local rest, seeds = {}, nil
  for key, value in pairs(values) do
    if key == "seeds" then seeds = value else rest[key] = value end
  end
  if seeds ~= nil then check_seeds(name, seeds) end
  local checked, why = params.check_all(self.params, rest, "the recipe")
  if not checked then bad("%s: %s", name, why) end
  return checked, seeds
end

--- recipe.define{ name =, params =, run = function(p, ctx), claims =, smoke =, full =, estimate = }
--- Checks and returns a recipe; a recipe's file ends with `return recipe.define { ... }`.
--- The frame calls run(p, ctx) once per seed; p holds the parameters, p.seed among them. It returns
--- a table of results: numbers, texts, tensors, tables of them; state = "diverged" is a result too.
--- ctx.dir is the run's folder, ctx.seed and ctx.size tell what runs, ctx:log{...} keeps one line,
--- ctx:figure(name, fig) saves and shows a figure, ctx:once(key, fn) computes something once in the
--- life of the run.
--- @param definition.name string
--- @param definition.params table { name = { default, "meaning", unit =, min =, max =, above =,
--- below =, choices = {...}, integer = bool, of = example of an empty list's values } }
--- @param definition.run function (p, ctx) -> results
--- @param definition.smoke table values of parameters: seconds, one seed
--- @param definition.full table values of parameters: hours; seeds = {...}, {1, 2, 3} unless given
--- @param definition.estimate function (p) -> { bytes =, seconds = } of one seed
--- @param definition.claims table list of { name =, kind = "exact" | "theory" | "paper" |
--- "calibrated" | "exploratory", source =, tolerance =, measure = function(r, p) -> value, stderr }
--- with one of expected, at_most, at_least: a number or function(p, r); seeds = how many a
--- calibrated claim needs; when = function(p): whether the claim speaks about a run with these
--- parameters, else it is left out
--- @param definition.minimize string the result that a sweep compares points by; or maximize
--- @param definition.source string where the question comes from
--- @return recipe
--- @source -
function recipe.define(definition)
  options.required("recipe.define", definition, fields)
  local name = options.field("recipe.define", definition, "name", "string")
  if not name:find "^[%w_][%w_-]*$" then
    bad("name is %q, wanted letters, digits, _ and -", name)
  end
  options.field("recipe.define", definition, "run", "function")
  for field, kind in pairs { source = "string", summary = "string", params = "table",
    estimate = "function", minimize = "string", maximize = "string" } do
    if definition[field] ~= nil then options.field("recipe.define", definition, field, kind) end
  end
  if definition.minimize and definition.maximize then
    bad "minimize and maximize exclude each other"
  end
  local self = setmetatable({}, Recipe)
  for key, value in pairs(definition) do self[key] = value end
  self.params = params.define("recipe.define", definition.params or {})
  self.claims = definition.claims or {}
  claims.check("recipe.define", self.claims)
  self.size_seeds = {}
  self.smoke, self.size_seeds.smoke = size_of(self, "smoke", definition.smoke)
  self.full, self.size_seeds.full = size_of(self, "full", definition.full)
  return self
end

--- The seeds of a size: one, except at full size.
function Recipe:seeds_of(size)
  local seeds = self.size_seeds[size]
  if not seeds then
    local values = self[size] or {}
    local seed = values.seed or self.params.seed.default
    seeds = size == "full" and not values.seed and { 1, 2, 3 } or { seed }
  end
  return table.move(seeds, 1, #seeds, 1, {})
end

--- recipe.names()
--- Names of the recipes that come with moonlab, of those in ./recipes and in the current folder.
--- @return table list of strings, sorted
--- @source -
function recipe.names() return catalogue.names() end

--- recipe.find(name)
--- The path of a recipe's file.
--- @param name string a name, or the path of a .lua file
--- @return string or nil
--- @source -
function recipe.find(name) return catalogue.find(name) end

--- recipe.load(name)
--- Loads a recipe.
--- @param name string a name, or the path of a .lua file
--- @return recipe or nil and why it cannot be loaded
--- @source -
function recipe.load(name) return catalogue.load(name) end

return recipe
