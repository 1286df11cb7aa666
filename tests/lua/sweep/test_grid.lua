-- The points of a sweep against brute force, and how adaptive search moves.
local adaptive = require "moonlab.sweep.adaptive"
local check = require "check"
local grid = require "moonlab.sweep.grid"
local recipe = require "moonlab.recipe"
local T = {}

local r = recipe.define {
  name = "grid",
  params = { lr = { 1e-3, "rate", min = 0, max = 100 }, width = { 8, "width", min = 1 },
    sizes = { { 1, 2 }, "sizes" }, text = { "a", "text" } },
  smoke = { width = 4 },
  run = function() end,
}

local function points(entries, definition)
  definition = definition or {}
  local axes, why = grid.axes(r, entries)
  if not axes then error(why, 0) end
  definition.axes = axes
  local list, wrong = grid.points(r, definition.size or "default", definition)
  if not list then error(wrong, 0) end
  return list
end

local function keys(list)
  local t = {}
  for i, point in ipairs(list) do
    local p = point.params
    t[i] = ("%s %s %s %s %s"):format(p.lr, p.width, table.concat(p.sizes, "+"), p.text, p.seed)
  end
  return t
end

function T.test_every_combination_once() -- against brute force
  local found = keys(points { lr = { 1e-3, 3e-3 }, width = "32:128:x2", seed = "1..3",
    sizes = { { 64, 128 }, { 64, 256 } } })
  local wanted = {}
  for _, lr in ipairs { 1e-3, 3e-3 } do
    for _, sizes in ipairs { "64+128", "64+256" } do
      for _, width in ipairs { 32, 64, 128 } do
        for seed = 1, 3 do
          wanted[#wanted + 1] = ("%s %d %s a %d"):format(lr, width, sizes, seed)
        end
      end
    end
  end
  check.equal(found, wanted)
end

function T.test_a_point_that_stands_twice_is_one() -- property
  check.equal(#points { lr = { 1e-3, 1e-3, 2e-3 }, width = { 8, 8.0 } }, 2)
  check.equal(points({ width = { 8 } })[1].id, points({})[1].id) -- the default, said or not
  check.equal(points({ lr = { 1 } })[1].id, points({ lr = "1.0" })[1].id)
end

function T.test_the_id_is_a_hash_of_everything()
  local base = points({})[1].id
  check.is_true(base:find "^grid%-%x+$" ~= nil)
  local seen = { [base] = true }
  for _, entries in ipairs { { lr = 2 }, { width = 3 }, { sizes = { 1 } }, { text = { "b" } },
    { seed = 2 } } do
    local id = points(entries)[1].id
    check.is_nil(seen[id])
    seen[id] = true
  end
  check.is_nil(seen[points({ width = 8 }, { size = "smoke" })[1].id])
end

function T.test_random_draws_lie_in_their_range_and_repeat() -- property
  local entries = { lr = { low = 1e-4, high = 1 }, width = { low = 3, high = 5 },
    text = { "a", "b" } }
  local a = points(entries, { random = 200, random_seed = 1 })
  check.equal(keys(a), keys(points(entries, { random = 200, random_seed = 1 })))
  check.equal(keys(a)[7], keys(points(entries, { random = 20, random_seed = 1 }))[7])
  check.is_true(keys(a)[7] ~= keys(points(entries, { random = 20, random_seed = 2 }))[7])
  local low, widths, b = 0, {}, 0
  for _, point in ipairs(a) do
    local p = point.params
    check.is_true(p.lr >= 1e-4 and p.lr <= 1)
    if p.lr < 1e-2 then low = low + 1 end
    if p.text == "b" then b = b + 1 end
    widths[p.width] = (widths[p.width] or 0) + 1
  end
  -- even in the logarithm: half of them below the middle decade; five standard deviations of 200
  -- coins
  check.is_true(math.abs(low - 100) < 36 and math.abs(b - 100) < 36)
  check.is_true(widths[3] > 30 and widths[4] > 30 and widths[5] > 30 and widths[2] == nil)
  -- less than a factor of ten: even
  local sum = 0
  for _, p in ipairs(points({ lr = "1~9" }, { random = 400, random_seed = 1 })) do
    sum = sum + p.params.lr
  end
  check.is_true(math.abs(sum / 400 - 5) < 0.6) -- in the logarithm it were 3.6
end

function T.test_seeds_are_not_drawn_but_all_run()
  local list = points({ lr = "1e-4~1e-1", seed = "1..3" }, { random = 4, random_seed = 1 })
  check.equal(#list, 12)
  for i = 1, 12, 3 do
    check.equal(list[i].params.lr, list[i + 2].params.lr)
    check.equal({ list[i].params.seed, list[i + 2].params.seed }, { 1, 3 })
  end
end

function T.test_words_that_are_wrong()
  for message, entries in pairs {
    ["grid has no parameter 'widht'; did you mean 'width'?"] = { widht = { 1 } },
    ["width=0: wanted values a,b,c, each an integer >= 1"] = { width = "0" },
    ["width=a table: wanted an integer >= 1"] = { width = { 1, 0 } },
    ["say how many points (--random N)"] = { lr = "1e-3~1" },
    ["wanted at least one value"] = { lr = {} },
    ["lists in brackets"] = { sizes = "1,2" },
    ["more than 1000000"] = { width = "1..2000", seed = "1..2000" },
    ["low < high"] = { lr = { low = 1, high = 0.5 } },
  } do
    check.raises(message, points, entries)
  end
end

-- ---- adaptive -----------------------------------------------------------------------------------

-- Searches lr with a curve in place of runs; returns all values tried, sorted, and the summary.
local function search(start, curve, options)
  local d = { recipe = r, size = "default", axes = grid.axes(r, { lr = start, seed = { 1, 2 } }),
    adapt = "lr", extend = 8, objective = "loss" }
  for key, value in pairs(options or {}) do d[key] = value end
  local function outcome(point)
    local loss = curve(point.params.lr, point.params.seed)
    return loss and "done" or "diverged", loss
  end
  local all = grid.points(r, "default", d)
  for _ = 1, 50 do
    local new, ended = adaptive.propose(d, all, outcome)
    if ended then break end
    for _, point in ipairs(new) do all[#all + 1] = point end
  end
  local seen, values = {}, {}
  for _, point in ipairs(all) do
    if not seen[point.params.lr] then values[#values + 1] = point.params.lr end
    seen[point.params.lr] = true
  end
  table.sort(values)
  check.equal(#all, 2 * #values) -- every value with both seeds
  return values, adaptive.summary(d, all, outcome)[1]
end

local function bowl(at, limit)
  return function(lr) return lr < limit and (math.log(lr) - math.log(at)) ^ 2 or nil end
end

function T.test_search_goes_right_until_it_diverges_and_left_until_bracketed() -- analytic
  local values, found = search({ 1, 2 }, bowl(0.25, 10))
  check.close(values, { 0.125, 0.25, 0.5, 1, 2, 4, 8, 16 })
  check.is_true(found.bracketed)
  check.equal(found.best, 0.25)
  check.close(found.value, 0)
  values, found = search({ 1, 2 }, bowl(8, 10)) -- the best beside the cliff
  check.close(values, { 1, 2, 4, 8, 16 })
  check.is_true(found.bracketed)
  values = search({ 16, 32 }, bowl(2, 10)) -- starts where all diverge
  check.close(values, { 1, 2, 4, 8, 16, 32 })
end

function T.test_search_gives_up_with_a_reason()
  local values, found = search({ 1, 2 }, bowl(1e-9, 3), { extend = 3 })
  check.close(values, { 0.125, 0.25, 0.5, 1, 2, 4 })
  check.is_false(found.bracketed)
  check.equal(found.why, "the least value is the best")
  values, found = search({ 50, 100 }, function(lr) return -lr end) -- the range of lr ends at 100
  check.close(values, { 50, 100 })
  check.equal(found.why, "the largest value is the best")
  local _, none = search({ 1 }, function() end, { extend = 2 })
  check.equal(none.why, "no value gave a finite loss")
end

function T.test_search_can_maximize()
  local _, found = search({ 1, 2 }, function(lr) return lr < 10 and -(math.log(lr / 4)) ^ 2
    or nil end,
    { maximize = true })
  check.equal(found.best, 4.0)
  check.is_true(found.bracketed)
end

return T
