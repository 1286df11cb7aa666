-- What a run that goes on leaves in its metrics: each step once, also where records tell the time.
local check = require "check"
local ml = require "moonlab"
local program = require "program"
local T = {}

-- Parts of 12 steps; each life logs its number, and the first of each seed ends in the second part.
local parts = [[
--- A question.
local ml, recipe = require "moonlab", require "moonlab.recipe"
local function life()
  local file = io.open("lives", "a+")
  file:write "x"
  file:seek("set", 0)
  local n = #file:read "a"
  file:close()
  return n
end
return recipe.define {
  name = "parts", params = { stop = { 8, "step" } }, full = { seeds = { 1, 2 } },
  run = function(p, ctx)
    local this = life()
    local function part(name, from)
      for step = from, 12 do
        ctx:log { step = step, part = name, life = this }
        if step %% 4 == 0 then ctx:log { step = step, part = name, eval = this } end
        if step == p.stop and name == "second" and this == (p.seed == 1 and 1 or 3) then
          ctx:log { event = "stop" }
          os.execute("kill -9 " .. ml.system.process().pid)
        end
      end
    end
    %s
  end,
}
]]

-- Runs twice (with two seeds: four times); the records of a seed as texts "part step life".
local function records_of(how, words, lives)
  local texts, events = {}, 0
  check.in_folder(function(dir)
    program.write(dir .. "/r.lua", parts:format(how))
    for i = 1, lives do
      local _, status = program.run(dir, ("run r.lua %s --out out --resume"):format(words))
      check.equal(status, i < lives and 137 or 0)
    end
    for _, record in ipairs((ml.runs.open(dir .. "/out"):records())) do
      local key = record.seed or 1
      texts[key] = texts[key] or {}
      if record.event then events = events + 1 else
        table.insert(texts[key], ("%s %d %s"):format(record.part, record.step,
          record.life or "eval " .. record.eval))
      end
    end
  end)
  return texts, events
end

local function wanted(part, from, to, life)
  local list = {}
  for step = from, to do
    list[#list + 1] = ("%s %d %d"):format(part, step, life)
    if step % 4 == 0 then list[#list + 1] = ("%s %d eval %d"):format(part, step, life) end
  end
  return list
end

local function joined(...)
  local all = {}
  for _, list in ipairs { ... } do table.move(list, 1, #list, #all + 1, all) end
  return all
end

function T.test_what_is_past_the_checkpoint_is_cut() -- it goes on at step 6 of the second part
  local texts, events = records_of([[
    if this == 1 then part("first", 1) end
    part("second", this == 1 and 1 or 6)]], "", 2)
  check.equal(texts[1], joined(wanted("first", 1, 12, 1), wanted("second", 1, 5, 1),
    wanted("second", 6, 12, 2)))
  check.equal(events, 1) -- what has no step stays
end

function T.test_a_part_that_begins_again_leaves_the_finished_one()
  local texts = records_of([[
    if this == 1 then part("first", 1) end
    part("second", 1)]], "", 2)
  check.equal(texts[1], joined(wanted("first", 1, 12, 1), wanted("second", 1, 12, 2)))
end

function T.test_each_seed_has_its_own_steps()
  local texts = records_of([[part("second", (this == 1 or this == 3) and 1 or 6)]], "--full", 3)
  check.equal(texts[1], joined(wanted("second", 1, 5, 1), wanted("second", 6, 12, 2)))
  -- lives are counted over both seeds: the second begins in life 3 and stops there
  check.equal(texts[2], joined(wanted("second", 1, 5, 3), wanted("second", 6, 12, 4)))
end

function T.test_training_killed_between_checkpoints_logs_each_step_once()
  check.in_folder(function(dir)
    program.write(dir .. "/r.lua", [[
--- A question.
local ml, recipe = require "moonlab", require "moonlab.recipe"
return recipe.define { name = "training", params = { kill = { 0, "step" } },
  run = function(p, ctx)
    local x = ml.rng(p.seed):normal { 16, 4, dtype = "f32" }
    local net = ml.nn.Linear { 4, 1, seed = p.seed }
    local from
    local trained = ml.train { model = net, steps = 20, dir = ctx.dir .. "/training",
      checkpoint = { every = 5 }, data = { batch = function() return x end },
      opt = ml.optim.adamw(net:parameters(), { lr = 1e-2 }),
      loss = function(model, batch) return (model(batch) ^ 2):mean() end,
      log = function(record)
        from = from or record.step
        ctx:log { step = record.step, loss = record.loss, pid = ml.system.process().pid }
        if record.step == p.kill and from == 1 then
          os.execute("kill -9 " .. ml.system.process().pid)
        end
      end }
    return { from = from, loss = trained.history[20].loss }
  end }
]])
    check.equal(select(2, program.run(dir, "run r.lua kill=13 --out a")), 137)
    check.equal(select(2, program.run(dir, "run r.lua kill=13 --out a --resume")), 0)
    check.equal(select(2, program.run(dir, "run r.lua --out b")), 0)
    local a, b = ml.runs.open(dir .. "/a"), ml.runs.open(dir .. "/b")
    check.equal(a:results().results[1].from, 11)
    check.equal(a:results().results[1].loss, b:results().results[1].loss)
    check.equal(#a:records(), 20)
    check.equal(a:metrics("loss").step, ml.linspace(1, 20, { n = 20 }))
    check.equal(a:metrics("loss").loss, b:metrics("loss").loss)
  end)
end

return T
