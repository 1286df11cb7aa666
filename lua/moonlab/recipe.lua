--- The frame of recipes: parameters with defaults, sizes, seeds, a folder for what a run leaves, and claims checked at the end.
local core = require "moonlab.core"
local lfs = require "lfs"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local recipe = {}

local Recipe = {}
Recipe.__index = Recipe
Recipe.__name = "moonlab.recipe"

local fields = { "name", "source", "params", "smoke", "full", "run", "claims", "estimate", "summary" }
local kinds = { exact = true, theory = true, paper = true, calibrated = true, exploratory = true }

--- recipe.define{ name =, source =, params = { name = { default, "meaning" } }, smoke =, full =, run = function(p, ctx), claims =, estimate = }
--- Checks and returns a recipe. Claims: { name =, source =, kind =, expected = number | function(p, r), tolerance =,
--- measure = function(r, p) -> value, stderr }; or at_most / at_least = number | function(p, r) instead of expected.
--- @param definition table
--- @return recipe
--- @source -
function recipe.define(definition)
  local where = "recipe.define"
  options.check(where, definition, fields)
  options.field(where, definition, "name", "string")
  options.field(where, definition, "run", "function")
  for name, p in sorted(definition.params or {}) do
    if type(p) ~= "table" or p[1] == nil or type(p[2]) ~= "string" then
      error(("bad argument to '%s' (parameter '%s': wanted { default, \"meaning\" })"):format(where, name), 2)
    end
  end
  for i, claim in ipairs(definition.claims or {}) do
    options.check(where, claim, { "name", "source", "kind", "expected", "tolerance", "at_most", "at_least", "measure", "seeds" })
    if not kinds[claim.kind] then
      error(("bad argument to '%s' (claim %d has kind %s, wanted exact, theory, paper, calibrated or exploratory)"):format(where,
        i, options.describe(claim.kind)), 2)
    end
    options.field(where, claim, "measure", "function")
  end
  local self = setmetatable({}, Recipe)
  for key, value in pairs(definition) do self[key] = value end
  self.params, self.claims = definition.params or {}, definition.claims or {}
  return self
end

-- ---- finding recipes ------------------------------------------------------------------------------------------------

local host = package.loaded["moonlab.host"]

local function folder()
  if host then return host.recipes end
  return (debug.getinfo(1, "S").source:match("^@(.*)/lua/moonlab/[^/]*$") or ".") .. "/recipes"
end

--- Names of the recipes that come with moonlab, sorted.
function recipe.names()
  local names = {}
  local dir = folder()
  if lfs.attributes(dir, "mode") ~= "directory" then return names end
  for file in lfs.dir(dir) do
    local name = file:match("^([%w_]+)%.lua$")
    if name then names[#names + 1] = name end
    if lfs.attributes(dir .. "/" .. file .. "/init.lua", "mode") == "file" then names[#names + 1] = file end
  end
  table.sort(names)
  return names
end

--- The path of a recipe by name or path, or nil.
function recipe.find(name)
  if name:find("%.lua$") then return lfs.attributes(name, "mode") == "file" and name or nil end
  for _, path in ipairs { folder() .. "/" .. name .. ".lua", folder() .. "/" .. name .. "/init.lua" } do
    if lfs.attributes(path, "mode") == "file" then return path end
  end
end

local function load_recipe(name)
  local path = recipe.find(name)
  if not path then
    local near = options.nearest(name, recipe.names())
    return nil, ("no recipe is called '%s'%s (./moonlab recipes lists them)"):format(name, near and ("; did you mean '" .. near .. "'?") or "")
  end
  local chunk, why = loadfile(path)
  if not chunk then return nil, why end
  local ok, result = pcall(chunk, path)
  if not ok then return nil, tostring(result) end
  if getmetatable(result) ~= Recipe then return nil, path .. " does not return recipe.define{...}" end
  local file = io.open(path, "r")
  result.question = file:read("l"):match("^%-%-%-%s*(.*)")
  file:close()
  return result
end
recipe.load = load_recipe

local function show(value)
  if type(value) == "table" then
    local parts = {}
    for i, v in ipairs(value) do parts[i] = show(v) end
    return table.concat(parts, ",")
  end
  if type(value) == "number" then return math.type(value) == "integer" and tostring(value) or ("%.6g"):format(value) end
  return tostring(value)
end

--- Prints the recipes, one a line.
function recipe.list()
  for _, name in ipairs(recipe.names()) do
    local r, why = load_recipe(name)
    print(("%-20s %s"):format(name, r and (r.question or "") or ("cannot be loaded: " .. why)))
  end
  return 0
end

--- Prints parameters and claims of a recipe.
function recipe.help(name)
  local r, why = load_recipe(name)
  if not r then
    io.stderr:write("moonlab: ", why, "\n")
    return 1
  end
  print(r.name .. ": " .. (r.question or ""))
  if r.source then print("source: " .. r.source) end
  print "\nparameters (key=value):"
  for key, p in sorted(r.params) do print(("  %-14s %-16s %s"):format(key, show(p[1]), p[2])) end
  for _, size in ipairs { "smoke", "full" } do
    if r[size] then
      local parts = {}
      for key, value in sorted(r[size]) do parts[#parts + 1] = key .. "=" .. show(value) end
      print(("  --%-12s %s"):format(size, table.concat(parts, " ")))
    end
  end
  if #r.claims > 0 then
    print "\nclaims:"
    for _, claim in ipairs(r.claims) do print(("  %s (%s%s)"):format(claim.name, claim.kind, claim.source and "; " .. claim.source or "")) end
  end
  return 0
end

-- ---- parameters ---------------------------------------------------------------------------------------------------------

local function parse_scalar(text, like)
  if type(like) == "boolean" then
    if text == "true" then return true end
    if text == "false" then return false end
    return nil, "true or false"
  end
  if math.type(like) == "integer" then
    local n = math.tointeger(tonumber(text))
    if n then return n end
    return nil, "an integer"
  end
  if type(like) == "number" then
    local n = tonumber(text)
    if n then return n end
    return nil, "a number"
  end
  return text
end

local function parse(text, like)
  if type(like) ~= "table" then return parse_scalar(text, like) end
  local list = {}
  for part in text:gmatch("[^,]+") do
    local value, wanted = parse_scalar(part, like[1])
    if value == nil then return nil, "a list of values like " .. show(like) .. " (" .. wanted .. " each)" end
    list[#list + 1] = value
  end
  if #list == 0 then return nil, "a list" end
  return list
end

local function usage_error(...)
  io.stderr:write("moonlab: ", table.concat { ... }, "\n")
  return 2
end

local function read_arguments(r, words)
  local o = { overrides = {}, size = "default" }
  local i = 1
  local function value_of(flag)
    i = i + 1
    if not words[i] then return nil, flag .. " needs a value" end
    return words[i]
  end
  while words[i] do
    local word = words[i]
    local key, text = word:match("^([%w_]+)=(.*)$")
    if key then
      local p = r.params[key]
      if not p then
        local names = {}
        for name in pairs(r.params) do names[#names + 1] = name end
        local near = options.nearest(key, names)
        return nil, ("%s has no parameter '%s'%s (./moonlab help %s lists them)"):format(r.name, key,
          near and ("; did you mean '" .. near .. "'?") or "", r.name)
      end
      local value, wanted = parse(text, p[1])
      if value == nil then return nil, ("%s=%s: wanted %s"):format(key, text, wanted) end
      o.overrides[key] = value
    elseif word == "--smoke" or word == "--full" then
      o.size = word:sub(3)
    elseif word == "--resume" then
      o.resume = true
    elseif word == "--dry-run" then
      o.dry = true
    elseif word == "--out" or word == "--seed" then
      local value, why = value_of(word)
      if not value then return nil, why end
      if word == "--seed" then
        value = math.tointeger(tonumber(value))
        if not value then return nil, "--seed " .. words[i] .. ": wanted an integer" end
        o.seed = value
      else
        o.out = value
      end
    else
      local near = options.nearest(word, { "--smoke", "--full", "--resume", "--dry-run", "--out", "--seed" })
      return nil, ("unknown word '%s'%s; wanted key=value, --smoke, --full, --resume, --dry-run, --out DIR, --seed N"):format(word,
        near and ("; did you mean '" .. near .. "'?") or "")
    end
    i = i + 1
  end
  return o
end

-- Defaults, then the size's values, then what the user said.
local function resolve(r, o)
  local p = {}
  for key, entry in pairs(r.params) do p[key] = entry[1] end
  local size = r[o.size]
  if o.size ~= "default" and not size then return nil, ("%s has no --%s size"):format(r.name, o.size) end
  local seeds
  for key, value in pairs(size or {}) do
    if key == "seeds" then seeds = value else p[key] = value end
  end
  for key, value in pairs(o.overrides) do p[key] = value end
  if o.seed then seeds = { o.seed } end
  seeds = seeds or { p.seed or 1 }
  if o.overrides.seed then seeds = { o.overrides.seed } end
  return p, seeds
end

-- ---- folders ------------------------------------------------------------------------------------------------------------------

local function make_dirs(path)
  local built = path:sub(1, 1) == "/" and "/" or ""
  for part in path:gmatch("[^/]+") do
    built = built .. part .. "/"
    if lfs.attributes(built, "mode") ~= "directory" then
      local ok, why = lfs.mkdir(built)
      if not ok and lfs.attributes(built, "mode") ~= "directory" then return nil, ("cannot make %s (%s)"):format(built, why) end
    end
  end
  return true
end

local function store() return os.getenv("MOONLAB_RUNS") or "runs" end

local function new_folder(name)
  local ok, why = make_dirs(store())
  if not ok then return nil, why end
  local stamp = os.date("%Y%m%d-%H%M%S")
  for k = 1, 1000 do
    local dir = ("%s/%s-%s%s"):format(store(), name, stamp, k > 1 and "-" .. k or "")
    if lfs.mkdir(dir) then return dir end
    if lfs.attributes(dir, "mode") ~= "directory" then return nil, "cannot make " .. dir end
  end
  return nil, "cannot find a free name in " .. store()
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- The newest unfinished run of this recipe with these parameters.
local function unfinished(r, config)
  local found
  if lfs.attributes(store(), "mode") ~= "directory" then return nil end
  for entry in lfs.dir(store()) do
    local dir = store() .. "/" .. entry
    if entry:sub(1, #r.name + 1) == r.name .. "-" and lfs.attributes(dir .. "/run.json", "mode") == "file" then
      local ok, before = pcall(core.json.read, dir .. "/run.json")
      if ok and type(before) == "table" and before.state ~= "done" and same(before.config, config) and (not found or dir > found) then
        found = dir
      end
    end
  end
  return found
end

-- ---- the context of a run ----------------------------------------------------------------------------------------------------------

local Context = {}
Context.__index = Context

--- Keeps one line of JSON in the run's log.jsonl.
function Context:log(record)
  local file = assert(io.open(self.dir .. "/log.jsonl", "a"))
  file:write(core.json.encode(record), "\n")
  file:close()
end

--- Saves a figure as <name>.svg in the run's folder and shows it in the terminal.
function Context:figure(name, fig)
  fig:save(("%s/%s.svg"):format(self.dir, name))
  self.figures[#self.figures + 1] = ("%s/%s.svg"):format(self.dir, name)
  if not self.quiet then print(fig:text()) end
end

--- The result of fn(), computed once in the life of the run: kept as JSON and read back on resume.
function Context:once(key, fn)
  local path = ("%s/once-%s.json"):format(self.dir, key)
  if lfs.attributes(path, "mode") == "file" then
    return core.json.read(path).value
  end
  local value = fn()
  core.json.write(path, { value = value })
  return value
end

-- ---- claims ----------------------------------------------------------------------------------------------------------------------------

local function evaluate(claim, results, p)
  local values, errors = {}, {}
  local bound
  for i, r in ipairs(results) do
    local value, stderr = claim.measure(r, p)
    values[i], errors[i] = value or 0 / 0, stderr
    local limit = claim.expected
    if limit == nil then limit = claim.at_most end
    if limit == nil then limit = claim.at_least end
    if type(limit) == "function" then limit = limit(p, r) end
    bound = (bound or 0) + (limit or 0 / 0) / #results
  end
  local n, mean = #values, 0
  for _, v in ipairs(values) do mean = mean + v / n end
  local stderr
  if n > 1 then
    local sum = 0
    for _, v in ipairs(values) do sum = sum + (v - mean) ^ 2 end
    stderr = math.sqrt(sum / (n - 1) / n)
  else
    stderr = errors[1]
  end
  local distance -- beyond what is allowed; <= 0 is inside
  if claim.at_most then distance = mean - bound
  elseif claim.at_least then distance = bound - mean
  else distance = math.abs(mean - bound) - (claim.tolerance or 0) end
  local verdict
  if distance ~= distance then verdict = "inconclusive"
  elseif claim.kind == "calibrated" and n < (claim.seeds or 3) then verdict = "inconclusive"
  elseif distance <= 0 then verdict = "shown"
  elseif stderr and distance <= 2 * stderr then verdict = "inconclusive"
  else verdict = "not shown" end
  return { name = claim.name, kind = claim.kind, source = claim.source, value = mean, stderr = stderr, bound = bound,
    relation = claim.at_most and "<=" or claim.at_least and ">=" or "=", tolerance = claim.tolerance, seeds = n, verdict = verdict }
end

local function print_claims(claims)
  print "\nclaims"
  for _, c in ipairs(claims) do
    local measured = ("%.4g"):format(c.value) .. (c.stderr and (" +- %.2g"):format(c.stderr) or "")
    local wanted = ("%s %.4g"):format(c.relation, c.bound) .. (c.tolerance and (" +- %.2g"):format(c.tolerance) or "")
    print(("  %-13s %s: %s, wanted %s (%s, %d seed%s%s)"):format(c.verdict, c.name, measured, wanted, c.kind, c.seeds,
      c.seeds == 1 and "" or "s", c.source and "; " .. c.source or ""))
  end
end

-- Numbers of a result that JSON can hold.
local function plain(value)
  if type(value) == "table" then
    local copy = {}
    for key, v in pairs(value) do copy[key] = plain(v) end
    return copy
  end
  if type(value) == "number" and (value ~= value or value == math.huge or value == -math.huge) then return tostring(value) end
  if type(value) == "userdata" or type(value) == "function" then return tostring(value) end
  return value
end

-- ---- the command ----------------------------------------------------------------------------------------------------------------------------

--- ./moonlab run NAME [words]: the result is the exit status.
function recipe.command(name, ...)
  if not name then return usage_error("usage: ./moonlab run NAME [key=value ...] (./moonlab recipes lists them)") end
  local r, why = load_recipe(name)
  if not r then return usage_error(why) end
  local o, wrong = read_arguments(r, { ... })
  if not o then return usage_error(wrong) end
  local p, seeds = resolve(r, o)
  if not p then return usage_error(seeds) end
  local config = core.json.decode(core.json.encode { recipe = r.name, size = o.size, params = p, seeds = seeds })

  if o.dry then
    print(("%s, %s size"):format(r.name, o.size))
    for key, value in sorted(p) do print(("  %-14s %-16s %s"):format(key, show(value), r.params[key] and r.params[key][2] or "")) end
    print(("  %-14s %s"):format("seeds", show(seeds)))
    local estimate = r.estimate and r.estimate(p)
    if estimate then
      local progress = require "moonlab.progress"
      print(("  memory about %.0f MiB, time about %s for each seed"):format(estimate.bytes / 2 ^ 20, progress.duration(estimate.seconds)))
    end
    return 0
  end

  local dir
  if o.out then
    local before
    if lfs.attributes(o.out .. "/run.json", "mode") == "file" then before = core.json.read(o.out .. "/run.json") end
    if before and not o.resume then
      return usage_error(o.out, " holds a run; --resume continues it, or choose another folder")
    end
    if before and not same(before.config, config) then
      return usage_error(o.out, " holds a run with other parameters; choose another folder")
    end
    local ok, failed = make_dirs(o.out)
    if not ok then return usage_error(failed) end
    dir = o.out
  else
    dir = o.resume and unfinished(r, config)
    if not dir then
      local made, failed = new_folder(r.name)
      if not made then return usage_error(failed) end
      dir = made
    end
  end

  local v = core.version()
  local record = { config = config, state = "running", started = os.date("!%Y-%m-%dT%H:%M:%SZ"), version = v.moonlab,
    threads = v.threads, cpu = v.cpu, simd = v.simd, blas = v.blas }
  core.json.write(dir .. "/run.json", record)
  local results, figures = {}, {}
  for i, seed in ipairs(seeds) do
    local one = {}
    for key, value in pairs(p) do one[key] = value end
    if r.params.seed then one.seed = seed end
    local ctx = setmetatable({ dir = dir, seed = seed, size = o.size, figures = figures }, Context)
    if #seeds > 1 then
      ctx.dir = ("%s/seed-%d"):format(dir, seed)
      assert(make_dirs(ctx.dir))
      print(("seed %d (%d of %d)"):format(seed, i, #seeds))
    end
    local ok, result = xpcall(r.run, function(message)
      if type(message) == "string" and not message:find("interrupted", 1, true) and not message:find("stack traceback:", 1, true) then
      return debug.traceback(message, 2)
    end
      return message
    end, one, ctx)
    if not ok then
      local interrupted = tostring(result):find("interrupted", 1, true) ~= nil
      record.state = interrupted and "interrupted" or "failed"
      record.message = tostring(result)
      core.json.write(dir .. "/run.json", record)
      if interrupted then
        io.stderr:write(("\nmoonlab: interrupted; ./moonlab run %s ... --resume continues\n"):format(name))
        return 130
      end
      error(result, 0)
    end
    results[i] = result or {}
  end
  local claims = {}
  for i, claim in ipairs(r.claims) do claims[i] = evaluate(claim, results, p) end
  if #claims > 0 then print_claims(claims) end
  record.state, record.ended = "done", os.date("!%Y-%m-%dT%H:%M:%SZ")
  record.results, record.claims = plain(results), plain(claims)
  core.json.write(dir .. "/run.json", record)
  print(("\nkept in %s"):format(dir))
  for _, path in ipairs(figures) do print("  " .. path) end
  return 0
end

return recipe
