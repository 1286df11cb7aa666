-- Claims: mean and standard error over seeds, and the three verdicts.
local check = require "check"
local claims = require "moonlab.recipe.claims"
local T = {}

-- Evaluates a claim whose measure gives these values (and errors) for seeds 1, 2, ...
local function evaluate(fields, values, errors)
  local results, ps = {}, {}
  for i, v in ipairs(values) do
    results[i] = { value = v, stderr = errors and errors[i] }
    ps[i] = { seed = i }
  end
  local claim = { name = "c", kind = "theory", measure = function(r) return r.value, r.stderr end }
  for key, v in pairs(fields) do claim[key] = v end
  return claims.evaluate(claim, results, ps)
end

function T.test_what_does_not_speak_about_a_run_is_left_out() -- property
  local list = {}
  for i, limit in ipairs { 1, 3 } do
    list[i] = { name = "up to " .. limit, kind = "theory", at_most = 5,
      measure = function(r) return r end, when = function(p) return p.n <= limit end }
  end
  local found = claims.evaluate_all(list, { 4 }, { { n = 2 } })
  check.equal({ #found, found[1].name, found[1].verdict }, { 1, "up to 3", "shown" })
end

local function verdict(...) return evaluate(...).verdict end

function T.test_mean_and_standard_error_over_seeds() -- analytic
  local c = evaluate({ expected = 2, tolerance = 1 }, { 1, 2, 3 })
  check.close(c.value, 2)
  check.close(c.stderr, 1 / math.sqrt(3)) -- variance 1, three seeds
  check.close(evaluate({ expected = 2 }, { 1.5 }, { 0.25 }).stderr, 0.25)
  check.close(evaluate({ expected = 2 }, { 1, 1 }, { 0.3, 0.4 }).stderr,
    0.25) -- sqrt(.09 + .16) / 2
  check.is_nil(evaluate({ expected = 2 }, { 1.5 }).stderr)
end

function T.test_verdicts() -- analytic
  check.equal(verdict({ expected = 1, tolerance = 0.1 }, { 1.05 }), "shown")
  check.equal(verdict({ expected = 1, tolerance = 0.1 }, { 1.2 }), "not shown")
  check.equal(verdict({ expected = 1, tolerance = 0.1 }, { 1.2 }, { 0.06 }), "inconclusive")
  check.equal(verdict({ expected = 1, tolerance = 0.1 }, { 1.0 }, { 5 }), "inconclusive")
  check.equal(verdict({ expected = 1 }, { 1 }), "shown")
  check.equal(verdict({ at_most = 1 }, { 0.5 }, { 0.1 }), "shown")
  check.equal(verdict({ at_most = 1 }, { 0.9 }, { 0.1 }), "inconclusive")
  check.equal(verdict({ at_most = 1 }, { 1.5 }), "not shown")
  check.equal(verdict({ at_least = 1 }, { 1.5 }), "shown")
  check.equal(verdict({ at_least = 1 }, { 0.5, 0.5, 0.5 }), "not shown")
  check.equal(verdict({ expected = function(p, r) return p.seed + r.value end }, { 0 }),
    "not shown")
  check.equal(verdict({ kind = "exploratory" }, { 3 }), "inconclusive")
end

function T.test_a_calibrated_claim_needs_its_seeds()
  local claim = { kind = "calibrated", expected = 1, tolerance = 0.5 }
  check.equal(verdict(claim, { 1 }), "inconclusive")
  check.equal(verdict(claim, { 1, 1 }), "inconclusive")
  check.equal(verdict(claim, { 1, 1, 1 }), "shown")
  claim.seeds = 5
  check.equal(verdict(claim, { 1, 1, 1 }), "inconclusive")
  check.equal(verdict(claim, { 1, 1, 1, 1, 1 }), "shown")
  check.is_true(claims.line(evaluate(claim, { 1, 1 })):find("2 seeds of 5", 1, true) ~= nil)
end

function T.test_what_cannot_be_measured_is_inconclusive()
  check.equal(verdict({ expected = 1 }, { 0 / 0 }), "inconclusive")
  check.equal(verdict({ expected = 1 }, { 1 / 0 }), "not shown") -- diverged, and that is a result
  check.equal(verdict({ at_most = 1 }, { 1 / 0, 2 }), "not shown")
  local c = evaluate({ expected = 1, measure = function(r) return r.nothing.there end }, { 1 })
  check.equal(c.verdict, "inconclusive")
  check.is_true(claims.line(c):find("cannot be measured", 1, true) ~= nil)
  check.equal(verdict({ expected = 1, measure = function() end }, { 1 }), "inconclusive")
end

function T.test_claims_that_are_not_well_formed()
  local function raises(message, claim)
    claim.name = claim.name or "c"
    claim.measure = claim.measure or function() end
    check.raises(message, claims.check, "recipe.define", { claim })
  end
  raises("has kind \"theroy\"", { kind = "theroy", expected = 1 })
  raises("has no bound", { kind = "exact" })
  raises("expected and at_most", { kind = "exact", expected = 1, at_most = 2 })
  raises("tolerance = -1", { kind = "exact", expected = 1, tolerance = -1 })
  raises("unknown option 'expcted'; did you mean 'expected'?", { kind = "exact", expcted = 1 })
  raises("wanted function(r, p)", { kind = "exact", expected = 1, measure = 3 })
  raises("wanted function(p)", { kind = "exact", expected = 1, when = true })
end

return T
