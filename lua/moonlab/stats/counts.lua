--- Rates from counts: intervals of a proportion, pass@k, majority votes.
local options = require "moonlab.options"
local samples = require "moonlab.samples"
local distributions = require "moonlab.stats.distributions"
local core = require "moonlab.core"

local counts = {}
local fail = samples.fail

local function whole(where, position, name, value, low, high, bound)
  local n = math.type(value) and math.tointeger(value) or nil
  if not n or n < low then
    fail(where, position, "%s is %s, wanted an integer >= %d", name, samples.shown(value), low)
  end
  if high and n > high then fail(where, position, "%s is %d, wanted at most %s", name, n, bound) end
  return n
end

--- ml.stats.wilson(k, n, { level })
--- The score interval of a proportion from k successes in n trials. Holds at the ends: 0 of n gives
--- low = 0.
--- @param k integer 0 to n
--- @param n integer >= 1
--- @param opts.level number =0.95 of the interval, in (0, 1)
--- @return number low
--- @return number high
--- @source Wilson 1927
function counts.wilson(k, n, opts)
  local where = "ml.stats.wilson"
  options.check(where, opts, { "level" })
  local level = samples.level(where, (opts or {}).level)
  n = whole(where, 2, "n", n, 1)
  k = whole(where, 1, "k", k, 0, n, "n, " .. n)
  local z = distributions.raw_normal_quantile(0.5 + level / 2)
  local p, zz = k / n, z * z
  local centre = (p + zz / (2 * n)) / (1 + zz / n)
  local reach = z / (1 + zz / n) * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
  return k == 0 and 0.0 or math.max(0, centre - reach),
    k == n and 1.0 or math.min(1, centre + reach)
end

--- ml.stats.clopper_pearson(k, n, { level })
--- The exact interval of a proportion from k successes in n trials: covers at least `level`, and is
--- wide.
--- @param k integer 0 to n
--- @param n integer >= 1
--- @param opts.level number =0.95 of the interval, in (0, 1)
--- @return number low
--- @return number high
--- @source Clopper & Pearson 1934
function counts.clopper_pearson(k, n, opts)
  local where = "ml.stats.clopper_pearson"
  options.check(where, opts, { "level" })
  local tail = (1 - samples.level(where, (opts or {}).level)) / 2
  n = whole(where, 2, "n", n, 1)
  k = whole(where, 1, "k", k, 0, n, "n, " .. n)
  local quantile = distributions.raw_beta_quantile
  return k == 0 and 0.0 or quantile(tail, k, n - k + 1),
    k == n and 1.0 or 1 - quantile(tail, n - k, k + 1)
end

-- ---- pass@k -------------------------------------------------------------------------------------

-- 1 - C(n - c, k) / C(n, k), by the shorter of two products.
local function pass(n, c, k)
  if n - c < k then return 1.0 end
  local miss = 1.0
  if c <= k then
    for i = n - c + 1, n do miss = miss * (1 - k / i) end
  else
    for j = 0, k - 1 do miss = miss * ((n - c - j) / (n - j)) end
  end
  return 1 - miss
end

-- A count, or a list of them.
local function count_list(where, position, name, value, low)
  if type(value) == "number" then return whole(where, position, name, value, low), nil end
  local list = samples.list(where, position, name, value)
  if #list == 0 then fail(where, position, "%s is empty, wanted a count per problem", name) end
  for i, v in ipairs(list) do
    list[i] = whole(where, position, ("%s[%d]"):format(name, i), v, low)
  end
  return nil, list
end

--- ml.stats.pass_at_k(n, c, { k })
--- The probability that at least one of k samples is right, estimated without bias from n samples
--- of which c are right: 1 - C(n - c, k) / C(n, k). With a list of c, one per problem, the mean
--- over problems.
--- @param n integer, or list or tensor [problems] of them: samples drawn, >= k
--- @param c integer, or list or tensor [problems] of them: right ones, 0 to n
--- @param opts.k integer =1 or a list of them, 1 to n; a list gives lists
--- @return number pass@k, or list of them as k is
--- @return number with several problems: the standard error over problems, std / sqrt(problems);
--- nil for a single count
--- @return table with several problems, info: problems (their number), values (list of pass@k per
--- problem; a list of such lists when k is one)
--- @source Chen et al. 2021, section 2.1
function counts.pass_at_k(n, c, opts)
  local where = "ml.stats.pass_at_k"
  options.check(where, opts, { "k" })
  local k = (opts or {}).k
  if k == nil then k = 1 end
  local one_n, list_n = count_list(where, 1, "n", n, 1)
  local one_c, list_c = count_list(where, 2, "c", c, 0)
  local problems = list_n and #list_n or list_c and #list_c or 1
  if list_n and list_c then samples.same_length(where, "n", list_n, "c", list_c) end
  local one_k, ks = count_list(where, 0, "k", k, 1)
  local means, stderrs, values = {}, {}, {}
  for j, kk in ipairs(ks or { one_k }) do
    local sum, each = 0.0, {}
    for i = 1, problems do
      local nn, cc = one_n or list_n[i], one_c or list_c[i]
      if cc > nn then fail(where, 2, "c is %d of n = %d samples (problem %d)", cc, nn, i) end
      if kk > nn then
        fail(where, 0, "k is %d with n = %d samples (problem %d), wanted k <= n", kk, nn, i)
      end
      each[i] = pass(nn, cc, kk)
      sum = sum + each[i]
    end
    local mean, square = sum / problems, 0.0
    for i = 1, problems do square = square + (each[i] - mean) ^ 2 end
    means[j], values[j] = mean, each
    stderrs[j] = problems > 1 and math.sqrt(square / (problems - 1) / problems) or samples.nan
  end
  local result = ks and means or means[1]
  if not (list_n or list_c) then return result end
  return result, ks and stderrs or stderrs[1],
    { problems = problems, values = ks and values or values[1] }
end

-- ---- votes --------------------------------------------------------------------------------------

--- ml.stats.majority_vote(answers, { normalize, n })
--- The most frequent answer; ties go to the one that came first. false does not vote (no parsable
--- answer).
--- @param answers list or tensor [n] of strings, numbers, true, or false for an abstention
--- @param opts.normalize function =nil answer -> answer that is counted; nil or false: abstains
--- @param opts.n integer =#answers reads answers[1..n], where nil abstains too
--- @return any the winner (as normalized), or nil with "no votes"
--- @return table info: count (votes of the winner), voters, n, share (count / n), tied (another
--- answer has as many), votes (table answer -> count)
--- @source Wang et al. 2023 (self-consistency)
function counts.majority_vote(answers, opts)
  local where = "ml.stats.majority_vote"
  options.check(where, opts, { "normalize", "n" })
  opts = opts or {}
  if core.is_tensor(answers) then answers = samples.list(where, 1, "answers", answers, "any") end
  if type(answers) ~= "table" then
    fail(where, 1, "answers is %s, wanted a list", samples.shown(answers))
  end
  local n = options.field(where, opts, "n", "integer", #answers)
  if n < 0 then fail(where, 0, "option 'n' is %d, wanted >= 0", n) end
  local normalize = opts.normalize
  if normalize ~= nil and type(normalize) ~= "function" then
    fail(where, 0, "option 'normalize' is %s, wanted a function", samples.shown(normalize))
  end
  local votes, order, voters = {}, {}, 0
  for i = 1, n do
    local answer = answers[i]
    if answer and normalize then answer = normalize(answer) end
    if answer then
      if answer ~= answer then
        fail(where, 1, "answers[%d] is nan; false stands for no answer", i)
      end
      if not votes[answer] then
        order[#order + 1] = answer
        votes[answer] = 0
      end
      votes[answer] = votes[answer] + 1
      voters = voters + 1
    end
  end
  if voters == 0 then return nil, "no votes" end
  local winner, tied = order[1], false
  for i = 2, #order do
    local count, most = votes[order[i]], votes[winner]
    if count > most then
      winner, tied = order[i], false
    elseif count == most then
      tied = true
    end
  end
  return winner, { count = votes[winner], voters = voters, n = n, share = votes[winner] / n,
    tied = tied, votes = votes }
end

return counts
