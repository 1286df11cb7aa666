-- A disk that fills up: clear words, nothing lost of what was finished, and it goes on with space.
-- The disk is a small one of our own, which needs a name space to mount it in.
local check = require "check"
local lu = require "luaunit"
local program = require "program"
local words = require "moonlab.recipe.words"
local T = {}

-- Runs the lines of a shell in dir, where the folder runs is a disk of 200 kB.
local function on_a_small_disk(dir, lines)
  program.write(dir .. "/go.sh", "cd " .. words.quote(dir) .. "\nmkdir runs\n"
    .. "mount -t tmpfs -o size=200k none runs || exit 77\n" .. lines)
  local pipe = io.popen("unshare -Urm sh " .. words.quote(dir .. "/go.sh") .. " 2>&1; echo $?")
  local out, status = pipe:read("a"):match "^(.*)%f[%d](%d+)%s*$"
  pipe:close()
  if status == "77" or status == "127" or out:find "unshare" then lu.skip "no disk of our own" end
  return out, tonumber(status)
end

local recipe_text = [[
local ml, recipe = require "moonlab", require "moonlab.recipe"
return recipe.define { name = "fat", minimize = "loss", params = { x = { 1, "x" } },
  run = function(p, ctx)
    for i = 1, 1500 do ctx:log { step = i, x = p.x } end
    return { loss = p.x }
  end }
]]

function T.test_a_sweep_stops_says_why_and_goes_on_with_more_space()
  check.in_folder(function(dir)
    program.write(dir .. "/r.lua", recipe_text)
    local out, status = on_a_small_disk(dir, ([[
HOST sweep r.lua x=1..8 --workers 2 && echo BAD
echo ==
HOST runs | grep -c ' done '
mount -o remount,size=5m runs
HOST sweep r.lua x=1..8 --workers 2
wc -l runs/fat-*/metrics.jsonl | grep -c ' 1500 '
]]):gsub("HOST", (program.word:gsub("%%", "%%%%"))))
    check.equal(status, 0)
    check.is_nil(out:find("BAD", 1, true))
    program.has(out, "moonlab: the workers die")
    local before = tonumber(out:match "==\n(%d+)\n")
    check.is_true(before > 0 and before < 8)
    program.has(out, "8 runs: 8 done")
    check.equal(out:match "(%d+)\n$", "8") -- every line once
  end)
end

function T.test_a_run_says_what_it_cannot_write()
  check.in_folder(function(dir)
    program.write(dir .. "/fill.lua", [[
local ml = require "moonlab"
local run = ml.runs.create { id = "a", recipe = "r", params = {} }
local n, ok, why = 0, true, nil
while ok do
  ok, why = pcall(run.log, run, { step = n + 1 })
  if ok then n = n + 1 end
end
print(why)
print(select(2, pcall(run.finish, run, "done")))
print(#run:records() == n, n > 1000, ml.runs.open("a"):state() == "running")
]])
    program.write(dir .. "/r.lua", recipe_text)
    local out, status = on_a_small_disk(dir, (([[
HOST fill.lua
HOST runs
HOST run r.lua && echo BAD
HOST sweep r.lua x=1..3 && echo BAD
rm runs/a/metrics.jsonl
HOST run r.lua
]]):gsub("HOST", (program.word:gsub("%%", "%%%%")))))
    check.equal(status, 0)
    check.is_nil(out:find("BAD", 1, true))
    program.has(out, "fill.lua:5: run:log: cannot write")
    program.has(out, "No space left on device")
    program.has(out, "true\ttrue\ttrue\n")
    program.has(out, "a   interrupted  r")
    program.has(out, "\nmoonlab: cannot write a lease in 'runs/fat-")
    program.has(out, "kept in runs/fat-")
  end)
end

return T
