--- ./moonlab new NAME: writes a recipe that runs, to be changed into one's own.
local core = require "moonlab.core"
local lfs = require "lfs"
local catalogue = require "moonlab.recipe.catalogue"

local template = {}

local text = [==[
--- Does a small network learn a sine wave better when it is wider?
-- The line above is the question that `./moonlab recipes` shows. Change it, and everything below.
local ml, recipe = require "moonlab", require "moonlab.recipe"

-- The target with some noise: n points on [-pi, pi].
local function sample(key, n, noise)
  local x = key:uniform({ n, 1 }, { dtype = "f32" }) * (2 * math.pi) - math.pi
  return x, (x * 3):sin() + key:normal({ n, 1, dtype = "f32" }) * noise
end

local function mean_square(model, x, y) return ((model(x) - y) ^ 2):mean() end

return recipe.define {
  name = "@NAME@",
  source = nil, -- "Author & Author 2020, equation 3"
  -- name = { default, "meaning", unit =, min =, max =, above =, below =, choices = {...} }
  params = {
    width = { 32, "hidden width", unit = "neurons", min = 1 },
    points = { 256, "training points", min = 2 },
    noise = { 0.1, "standard deviation of the noise", min = 0 },
    lr = { 1e-2, "rate of Adam", above = 0 },
    steps = { 1000, "updates", min = 1 },
    seed = { 1, "every stream derives from it", min = 0 },
  },
  smoke = { width = 8, steps = 50 },                  -- seconds: --smoke
  full = { width = 64, steps = 5000, seeds = { 1, 2, 3 } }, -- several seeds: --full
  minimize = "error",                                 -- what a sweep compares points by

  -- Memory and time of one seed, for --dry-run: leave it out when nothing is known.
  estimate = function(p)
    return { bytes = 20e6 + 64 * p.points * p.width, seconds = 1 + p.steps * 4e-4 }
  end,

  -- Called once per seed. ctx.dir is a folder for files, ctx:once(key, fn) computes something once
  -- in the life of the run, ctx:log{...} keeps one line of numbers, ctx:figure(name, fig) saves a
  -- figure.
  run = function(p, ctx)
    local key = ml.rng(p.seed)
    local x, y = sample(key:fold("train", 1), p.points, p.noise)
    local held_x, held_y = sample(key:fold("held out", 1), 512, 0)
    local net = ml.nn.Sequential {
      ml.nn.Linear { 1, p.width, seed = p.seed }, ml.nn.Tanh(),
      ml.nn.Linear { p.width, 1, seed = p.seed + 1 },
    }
    local bar = ml.progress.bar(p.steps, "training")
    local curve = { x = {}, y = {} }
    local trained = ml.train { -- with dir it continues from its checkpoint after --resume
      model = net, steps = p.steps, dir = ctx.dir .. "/training",
      data = { batch = function() return { x = x, y = y } end },
      opt = ml.optim.adamw(net:parameters(), { lr = p.lr, weight_decay = 0 }),
      loss = function(model, batch) return mean_square(model, batch.x, batch.y) end,
      log = function(record)
        bar:update(record.step, ("loss %.4f"):format(record.loss))
        if record.step % 10 == 0 then ctx:log { step = record.step, loss = record.loss } end
      end,
    }
    bar:finish()
    for i, record in ipairs(trained.history) do
      curve.x[i], curve.y[i] = record.step, record.loss
    end
    ctx:figure("loss", ml.plot.lines {
      x = curve.x, y = curve.y, log = "y", title = "loss", xlabel = "update",
      ylabel = "mean square",
    })
    -- A table of numbers, texts and tensors. A diverged run is a result as well.
    return { error = mean_square(net, held_x, held_y):item(), state = trained.state }
  end,

  -- What is claimed, before anything ran. kind: exact, theory, paper, calibrated or exploratory;
  -- expected = value with a tolerance, or at_most, or at_least: a number or function(p, r).
  -- measure returns the value and, if it is known, its standard error, for one seed.
  claims = {
    { name = "the error is below half the target's variance", kind = "exploratory",
      at_most = 0.25, measure = function(r) return r.error end },
  },
}
]==]

local reserved = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch "%S+" do reserved[word] = true end

local function check_name(name)
  if name:find "^%a[%w_]*$" and not reserved[name] then return true end
  return nil, ("'%s' is no name for a recipe; wanted letters, digits and _, like my_question")
    :format(name)
end

-- In a checkout beside the other recipes, else in the current folder; a path says where itself.
local function place_of(word)
  local dir, name = word:match "^(.*/)([^/]*)%.lua$"
  if not dir then dir, name = "", word:match "^([^/]*)%.lua$" end
  if name then return dir .. name .. ".lua", name end
  local here, theirs = lfs.attributes "recipes", lfs.attributes(catalogue.folder())
  local beside = here and theirs and here.ino == theirs.ino and here.dev == theirs.dev
  return (beside and "recipes/" or "") .. word .. ".lua", word
end

--- Writes the template; the result is the exit status.
function template.command(word, more)
  if word == nil or more ~= nil or word:find "^%-" then
    io.stderr:write "usage: ./moonlab new NAME\n"
    return 2
  end
  local path, name = place_of(word)
  local ok, why = check_name(name)
  if not ok then
    io.stderr:write("moonlab: ", why, "\n")
    return 2
  end
  local there = lfs.symlinkattributes(path) and path or catalogue.find(name)
  if there then
    io.stderr:write(("moonlab: %s is there already; choose another name\n"):format(there))
    return 1
  end
  local written, failed = pcall(core.write_file, path, (text:gsub("@NAME@", name)))
  if not written then
    io.stderr:write("moonlab: ", tostring(failed), "\n")
    return 1
  end
  print(("wrote %s; try\n  ./moonlab run %s --smoke"):format(path,
    catalogue.find(name) and name or path))
  return 0
end

return template
