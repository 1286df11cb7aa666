-- Points worked off by others than ml.sweep: the lines of --list, the array script of --slurm; in a
-- folder of any name.
local check = require "check"
local lfs = require "lfs"
local ml = require "moonlab"
local program = require "program"
local words = require "moonlab.recipe.words"
local T = {}

-- Appends x to the file `count` each time it runs; the fourth kills whoever runs it.
local counting = [[
--- A question.
local ml, recipe = require "moonlab", require "moonlab.recipe"
return recipe.define {
  name = "counting", minimize = "loss", smoke = { text = "smoke" },
  params = { x = { 1, "x" }, n = { { 1, 2 }, "sizes" }, text = { "", "text" },
    count = { "", "file" }, deadly = { 0, "x" } },
  run = function(p)
    local file = io.open(p.count, "a")
    file:write(p.x, " ", table.concat(p.n, "+"), " ", p.text, "\n")
    file:close()
    if p.x == p.deadly then os.execute("kill -9 " .. ml.system.process().pid) end
    return { loss = p.x }
  end,
}
]]

local function in_odd_folder(f)
  check.in_folder(function(above)
    local dir = above .. "/it's 50%j \"x\" $HOME"
    lfs.mkdir(dir)
    program.write(dir .. "/r.lua", counting)
    f(dir)
  end)
end

-- As program.run, in a folder of any name.
local function run(dir, arguments)
  local pipe = io.popen(("cd %s && MOONLAB_RUNS=runs %s %s 2>&1; echo status=$?"):format(
    words.quote(dir), program.word, arguments))
  local body, status = pipe:read("a"):match "^(.*)status=(%d+)%s*$"
  pipe:close()
  return body, tonumber(status)
end

local function shell(dir, command)
  return os.execute(("cd %s && { %s; } >out 2>&1"):format(words.quote(dir), command))
end

local function lines_of(path)
  local list = {}
  for line in io.lines(path) do list[#list + 1] = line end
  table.sort(list)
  return list
end

local some = "n=[1,2],[3,4] x=1,2 'text=it'\\''s $HOME' count=count"
local wanted = { "1 1+2 it's $HOME", "1 3+4 it's $HOME", "2 1+2 it's $HOME", "2 3+4 it's $HOME" }

function T.test_list_gives_lines_that_xargs_runs()
  in_odd_folder(function(dir)
    local out, status = run(dir, "sweep r.lua " .. some .. " --smoke --list > lines; cat lines")
    check.equal(status, 0)
    check.equal(select(2, out:gsub("\n", "")), 4)
    check.is_true(shell(dir, "xargs -d '\\n' -P 2 -I{} sh -c {} < lines"))
    check.equal(lines_of(dir .. "/count"), wanted)
    -- they are the points of the sweep, and done
    program.has(run(dir, "sweep r.lua --smoke " .. some), "4 runs: 4 done")
    check.is_true(shell(dir, "sh lines"))
    check.equal(#lines_of(dir .. "/count"), 4)
    program.has(program.read(dir .. "/out"), "is finished (done)")
  end)
end

local function script_of(dir, arguments)
  local out, status = run(dir, "sweep r.lua " .. arguments .. " --slurm --workers 2")
  check.equal(status, 0)
  local path = out:match "sbatch (%S+)"
  return path, program.read(dir .. "/" .. path)
end

function T.test_slurm_script_works_off_the_queue()
  in_odd_folder(function(dir)
    local path, script = script_of(dir, some .. " --threads 3")
    program.has(script, "#SBATCH --array=1-2\n")
    program.has(script, "#SBATCH --cpus-per-task=3\n")
    -- sbatch takes quotes off, and puts numbers in for %
    program.has(script, "/it's 50%%j \\\"x\\\" $HOME/runs/sweeps/")
    program.has(script, "/slurm-%a.log\"\n")
    check.is_true(shell(dir, ("sh -n %s && sh %s && sh %s"):format(path, path, path)))
    check.equal(lines_of(dir .. "/count"), wanted)
    program.has(run(dir, "sweep r.lua " .. some), "4 runs: 4 done")
    check.equal(#lines_of(dir .. "/count"), 4)
  end)
end

function T.test_slurm_asks_for_the_memory_that_the_recipe_estimates()
  check.in_folder(function(dir)
    local function script(text)
      program.write(dir .. "/r.lua", text)
      local out = run(dir, "sweep r.lua x=1,3,2 --slurm")
      return program.read(dir .. "/" .. out:match "wrote (%S+job.slurm);")
    end
    local text = [[return require "moonlab.recipe".define { name = "big",
      params = { x = { 1, "x" } }, run = function() end,
      estimate = function(p) return { bytes = p.x * 2 ^ 30 } end }]]
    program.has(script(text), "\n#SBATCH --mem=4096M\n") -- 3 GiB, a quarter more, 256 MiB
    local without = script((text:gsub("estimate = .* end }", "}")))
    check.is_nil(without:find "#SBATCH %-%-mem")
    program.has(without, "gives no estimate of its memory: add --mem=")
  end)
end

function T.test_slurm_goes_on_past_a_point_that_kills()
  in_odd_folder(function(dir)
    local path = script_of(dir, "x=1..4 deadly=2 count=count")
    check.is_true(not shell(dir, "sh " .. path)) -- dies at the second
    check.equal(#lines_of(dir .. "/count"), 2)
    check.is_true(not shell(dir, "sh " .. path)) -- the others first
    check.equal(lines_of(dir .. "/count"), { "1 1+2 ", "2 1+2 ", "2 1+2 ", "3 1+2 ", "4 1+2 " })
    local states = {}
    for _, row in ipairs(ml.runs.list { store = dir .. "/runs" }) do
      states[row.params.x] = row.state
    end
    check.equal(states, { "done", "interrupted", "done", "done" })
  end)
end

function T.test_slurm_refuses_a_folder_that_it_cannot_name()
  check.in_folder(function(above)
    local dir = above .. "/back\\slash"
    lfs.mkdir(dir)
    program.write(dir .. "/r.lua", counting)
    local out, status = run(dir, "sweep r.lua x=1..4 count=count --slurm")
    check.equal(status, 2)
    program.has(out, "a script for Slurm cannot name the folder " .. dir)
    check.is_nil(lfs.attributes(dir .. "/runs", "mode"))
  end)
end

return T
