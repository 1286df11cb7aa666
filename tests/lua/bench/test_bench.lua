-- The benchmark command on jobs of its own: ratios, medians, the table, bad words.
local ml = require "moonlab"
local bench = require "moonlab.bench"
local check = require "check"
local program = require "program"
local T = {}

-- Runs the command in this process and returns its status and what it printed.
local function run(...)
  local lines, say = {}, _G.print
  _G.print = function(line) lines[#lines + 1] = line end
  local ok, status = pcall(bench.command, ...)
  _G.print = say
  assert(ok, status)
  return status, table.concat(lines, "\n")
end

local function fake(unit, ours, theirs)
  local calls = 0
  return function()
    return { { row = { job = "fake", preset = "p", batch = 3, dtype = "f32", unit = unit },
      ours = function()
        calls = calls + 1
        return ours[calls]
      end,
      peer = function(_, round) return theirs[round], nil, "somebody" end,
      share = function(threads, figure) return figure / 100 * threads end } }
  end
end

function T.test_ratios_are_medians_and_larger_is_better()
  check.in_folder(function(dir)
    bench.jobs.fake = fake("GB/s", { 10, 50, 30 }, { 10, 10, 10 })
    local status, out = run("fake", "--peers", "--threads", "1", "--out", dir .. "/b")
    check.equal(status, 0)
    check.is_true(out:find "30 GB/s +10 GB/s +3.00x +30 %%" ~= nil)
    local rows = ml.json.read(dir .. "/b.json").rows
    check.equal({ #rows, rows[1].ratio, rows[1].against, rows[1].ceiling, rows[1].measure },
      { 1, 3.0, "somebody", 0.3, "cpu" })
    program.has(program.read(dir .. "/b.md"),
      "| fake | p | 3 | 1 | 30 GB/s | 10 GB/s (somebody) | 3.00 | 30 % |")
    bench.jobs.fake = fake("us", { 2, 4, 8 }, { 8, 8, 8 })
    local line = select(2, run("fake", "--peers", "--json", "--threads", "1"))
    check.equal(ml.json.decode(line).ratio, 2.0)
    bench.jobs.fake = nil
  end)
end

function T.test_every_job_can_be_made()
  local o = { presets = { "a" }, threads = { 1 }, precisions = { "highest", "medium" } }
  local count = 0
  for name, make in pairs(bench.jobs) do
    for _, job in ipairs(make(o)) do
      count = count + 1
      check.equal(job.row.job, name)
      check.is_true(type(job.ours) == "function" and type(job.peer) == "function"
        and type(job.row.unit) == "string")
    end
  end
  check.is_true(count > 40)
end

return T
