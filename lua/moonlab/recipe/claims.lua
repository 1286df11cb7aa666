--- Claims: declared before a run, measured after it, printed as shown, not shown or inconclusive.
local interrupt = require "moonlab.interrupt"
local options = require "moonlab.options"

local claims = {}

local kinds = { "exact", "theory", "paper", "calibrated", "exploratory" }
local fields = { "name", "source", "kind", "expected", "tolerance", "at_most", "at_least",
  "measure", "seeds", "when" }
local bounds = { "expected", "at_most", "at_least" }

local function bad(where, i, text, ...)
  options.bad(where, 0, "claim %s %s", i, text:format(...))
end

local function check_kind(where, i, claim)
  for _, kind in ipairs(kinds) do
    if claim.kind == kind then return end
  end
  bad(where, i, "has kind %s, wanted exact, theory, paper, calibrated or exploratory",
    options.describe(claim.kind))
end

local function check_bounds(where, i, claim)
  local given = {}
  for _, name in ipairs(bounds) do
    local value = claim[name]
    if value ~= nil then
      given[#given + 1] = name
      if type(value) ~= "number" and type(value) ~= "function" then
        bad(where, i, "has %s = %s, wanted a number or function(p, r)", name,
          options.describe(value))
      end
    end
  end
  if #given > 1 or (#given == 0 and claim.kind ~= "exploratory") then
    bad(where, i, "has %s, wanted one of expected, at_most and at_least",
      #given == 0 and "no bound" or table.concat(given, " and "))
  end
  local tolerance = claim.tolerance
  if tolerance ~= nil and not (type(tolerance) == "number" and tolerance >= 0) then
    bad(where, i, "has tolerance = %s, wanted a number >= 0", options.describe(tolerance))
  end
end

--- Raises on a list of claims that is not well formed.
function claims.check(where, list)
  if type(list) ~= "table" then
    options.bad(where, 0, "claims is %s, wanted a list", options.describe(list))
  end
  for i, claim in ipairs(list) do
    if type(claim) ~= "table" then bad(where, i, "is a %s, wanted a table", type(claim)) end
    options.check(where, claim, fields)
    if type(claim.name) ~= "string" then bad(where, i, "has no name") end
    check_kind(where, i, claim)
    check_bounds(where, i, claim)
    if type(claim.measure) ~= "function" then
      bad(where, i, "has measure = %s, wanted function(r, p)", options.describe(claim.measure))
    end
    if claim.when ~= nil and type(claim.when) ~= "function" then
      bad(where, i, "has when = %s, wanted function(p)", options.describe(claim.when))
    end
    if claim.seeds ~= nil and not (math.type(claim.seeds) == "integer" and claim.seeds >= 1) then
      bad(where, i, "has seeds = %s, wanted an integer >= 1", options.describe(claim.seeds))
    end
  end
end

-- ---- measuring --------------------------------------------------------------------------------

local function number_of(value)
  if type(value) == "userdata" then value = value:item() end
  return type(value) == "number" and value + 0.0 or nil
end

-- Mean and standard error over seeds. The error is that of the spread of the seeds; the seeds' own
-- errors stand in for it where there is one seed, and bound it from below where there are few.
local function average(values, deviations)
  local n, mean, known, within = #values, 0, 0, 0
  for _, v in ipairs(values) do mean = mean + v / n end
  for i = 1, n do
    if deviations[i] then known, within = known + 1, within + deviations[i] ^ 2 end
  end
  local stderr = known == n and math.sqrt(within) / n or nil
  if n > 1 then
    local sum = 0
    for _, v in ipairs(values) do sum = sum + (v - mean) ^ 2 end
    stderr = math.max(math.sqrt(sum / (n - 1) / n), stderr or 0)
  end
  if stderr ~= stderr then stderr = nil end
  return mean, stderr
end

local function measure(claim, results, ps)
  local values, deviations, limit = {}, {}, 0
  local relation = claim.at_most ~= nil and "at_most" or claim.at_least ~= nil and "at_least"
    or "expected"
  for i, r in ipairs(results) do
    local value, stderr = claim.measure(r, ps[i])
    values[i], deviations[i] = number_of(value) or 0 / 0, number_of(stderr) or false
    local bound = claim[relation]
    if type(bound) == "function" then bound = bound(ps[i], r) end
    limit = limit + (number_of(bound) or 0 / 0) / #results
  end
  local mean, stderr = average(values, deviations)
  return mean, stderr, limit, relation
end

-- Inside what is allowed: shown, unless the standard error is larger than the tolerance (or, for a
-- bound, two of it reach over the bound). Outside: not shown, unless two standard errors reach
-- back.
local function verdict_of(claim, mean, stderr, limit, relation, seeds)
  local tolerance = claim.tolerance or 0
  local outside
  if relation == "at_most" then outside = mean - limit - tolerance
  elseif relation == "at_least" then outside = limit - tolerance - mean
  else outside = mean == limit and -tolerance or math.abs(mean - limit) - tolerance end
  if outside ~= outside then return "inconclusive" end
  if claim.kind == "calibrated" and seeds < (claim.seeds or 3) then return "inconclusive" end
  local reach = stderr and 2 * stderr or 0
  if outside > 0 then return outside > reach and "not shown" or "inconclusive" end
  if relation == "expected" then
    return (stderr or 0) <= tolerance and "shown" or "inconclusive"
  end
  return outside + reach <= 0 and "shown" or "inconclusive"
end

--- Measures one claim on the results of all seeds; ps holds each seed's parameters.
function claims.evaluate(claim, results, ps)
  local found = { name = claim.name, kind = claim.kind, source = claim.source,
    tolerance = claim.tolerance, seeds = #results }
  if claim.kind == "calibrated" then found.wanted_seeds = claim.seeds or 3 end
  local ok, mean, stderr, limit, relation = pcall(measure, claim, results, ps)
  if not ok then
    if interrupt.is(mean) then error(mean, 0) end
    found.message = "cannot be measured: " .. tostring(mean)
    found.verdict = "inconclusive"
    return found
  end
  found.value, found.stderr, found.relation = mean, stderr, relation
  if limit == limit then found.bound = limit end
  found.verdict = verdict_of(claim, mean, stderr, limit, relation, #results)
  return found
end

-- ---- printing ---------------------------------------------------------------------------------

local signs = { expected = "", at_most = "<= ", at_least = ">= " }

--- One line about a measured claim.
function claims.line(c)
  local about = { c.kind, c.seeds == 1 and "1 seed" or c.seeds .. " seeds" }
  if c.wanted_seeds and c.seeds < c.wanted_seeds then
    about[2] = ("%s of %d"):format(about[2], c.wanted_seeds)
  end
  if c.source then about[#about + 1] = c.source end
  local text = c.message
  if not text then
    text = ("%.4g"):format(c.value) .. (c.stderr and (" +- %.2g"):format(c.stderr) or "")
    if c.bound then
      text = text .. (", wanted %s%.4g"):format(signs[c.relation], c.bound)
        .. (c.tolerance and (" +- %.2g"):format(c.tolerance) or "")
    end
  end
  return ("  %-13s %s: %s (%s)"):format(c.verdict, c.name, text, table.concat(about, "; "))
end

--- The claims that speak about a run with these parameters, measured; and how many do not.
function claims.evaluate_all(list, results, ps)
  local found, others = {}, 0
  for _, claim in ipairs(list) do
    if not claim.when or claim.when(ps[1]) then
      found[#found + 1] = claims.evaluate(claim, results, ps)
    else
      others = others + 1
    end
  end
  return found, others
end

--- Prints all claims, and how many more there are that speak about other parameters.
function claims.print(list, others, name)
  if #list == 0 and (others or 0) == 0 then return end
  print "\nclaims"
  for _, c in ipairs(list) do print(claims.line(c)) end
  if (others or 0) > 0 then
    print(("  %d %sabout other parameters than these; ./moonlab help %s lists them"):format(others,
      #list > 0 and "more " or "", name))
  end
end

return claims
