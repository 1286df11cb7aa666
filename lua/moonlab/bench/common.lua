--- What the benchmarks share: sizes, clocks, and peers that run as programs of their own.
local ml = require "moonlab"
local quote = require("moonlab.recipe.words").quote

local common = {}

common.root = debug.getinfo(1, "S").source:match("^@(.*)/lua/moonlab/bench/[^/]*$") or "."
common.peers = common.root .. "/tests/bench/peers/"
common.presets = { -- depth, width, heads, context, batch, vocabulary
  a = { 3, 64, 4, 128, 16, 256 }, b = { 6, 192, 6, 256, 8, 512 }, c = { 6, 384, 6, 256, 8, 4096 },
}

function common.median(list)
  local sorted = { table.unpack(list) }
  table.sort(sorted)
  return sorted[#sorted // 2 + 1]
end

-- Seconds of fn(), median of `reps` after two unmeasured runs: CPU time with one thread, wall clock
-- with more.
function common.seconds(threads, reps, fn)
  local clock = threads == 1 and ml.cpu_time or ml.now
  fn()
  fn()
  local times = {}
  for i = 1, reps do
    local start = clock()
    fn()
    times[i] = clock() - start
  end
  return common.median(times)
end

-- Runs a peer and returns the JSON it prints; nil with the reason where it cannot run.
function common.ask(command, threads)
  local line = ("OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=%d OPENBLAS_NUM_THREADS=%d %s 2>/dev/null")
    :format(threads, threads, command)
  local pipe = io.popen(line)
  local text = pipe:read("a")
  pipe:close()
  local ok, value = pcall(ml.json.decode, text)
  if not ok or type(value) ~= "table" then return nil, "the peer did not run: " .. command end
  return value
end

function common.python(script, arguments, threads)
  return common.ask(("/usr/bin/python3 %s %s --threads %d --json"):format(
    quote(common.peers .. script), arguments, threads), threads)
end

local found = {} -- by threads

--- What this machine can do with so many threads: f32 multiply-adds in registers (GFLOP/s) and
--- reading from memory (GB/s); nil where no compiler is there to measure it.
function common.ceilings(threads)
  if found[threads] == nil then
    local binary = common.root .. "/build/machine_ceilings"
    local built = os.execute(("gcc -O3 -march=native -fopenmp -w %s -o %s 2>/dev/null"):format(
      quote(common.peers .. "machine_ceilings.c"), quote(binary)))
    found[threads] = built and common.ask(("%s %d"):format(quote(binary), threads), threads)
      or false
  end
  return found[threads] or nil
end

--- The share of a ceiling, "gflops" or "gb_s", that a rate is: one takes `each` times 10^9
--- operations or bytes.
function common.share(threads, ceiling, rate, each)
  local c = common.ceilings(threads)
  return c and rate * each / c[ceiling] or nil
end

return common
