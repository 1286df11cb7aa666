-- The first recipe at its smallest size, and the frame's answers to what users type.
local ml = require "moonlab"
local check = require "check"
local lfs = require "lfs"
local program = require "program"
local T = {}

local has = program.has

local function run(arguments) return program.run(".", arguments) end

function T.test_smoke_run_leaves_picture_checkpoint_and_record()
  check.in_folder(function(dir)
    local out, status = run(("run quickstart --smoke --out '%s/run'"):format(dir))
    check.equal(status, 0)
    for _, part in ipairs { "held-out text", "gzip -9", "bzip2 -9", "ten definitions", " 10. ",
      "claims", "tokens/s", "of peak" } do
      has(out, part)
    end
    for _, file in ipairs { "loss.svg", "model.safetensors", "config.json", "state.json",
      "training/checkpoint.safetensors", "training/metrics.jsonl" } do
      check.equal(lfs.attributes(dir .. "/run/" .. file, "mode"), "file")
    end
    local kept = ml.runs.open(dir .. "/run")
    local record = kept:results()
    check.equal((kept:state()), "done")
    check.equal(#kept:records { kind = "eval" }, 11)
    check.equal(kept:params().width, 32)
    check.is_true(record.results[1].bits_per_byte > 1 and record.results[1].bits_per_byte < 8)
    check.equal(#record.claims, 2)
    local lm = ml.transformer.load(dir .. "/run/model.safetensors")
    check.equal(#lm:generate({ { 11 } }, { max_new = 3, rng = ml.rng(1) })[1], 1)
    -- again into the same folder: refused, nothing lost; --resume finds it finished
    out, status = run(("run quickstart --smoke --out '%s/run'"):format(dir))
    check.equal(status, 2)
    has(out, "--resume continues it")
    out, status = run(("run quickstart --smoke --resume --out '%s/run'"):format(dir))
    check.equal(status, 0)
    has(out, "is finished (done)")
    has(out, ("bits_per_byte      %.6g"):format(record.results[1].bits_per_byte):sub(1, 22))
  end)
end

function T.test_same_seed_same_numbers() -- property
  check.in_folder(function(dir)
    ml.write_file(dir .. "/text.txt", ("a rose is a rose; "):rep(400) .. "\n")
    local found = {}
    for i = 1, 2 do
      local _, status = run(("run quickstart --smoke text='%s/text.txt' steps=5 --out '%s/%d'")
        :format(dir, dir, i))
      check.equal(status, 0)
      found[i] = ml.runs.open(("%s/%d"):format(dir, i)):results().results[1].bits_per_byte
    end
    check.is_true(type(found[1]) == "number")
    check.equal(found[1], found[2])
  end)
end

function T.test_dry_run_list_and_help()
  local out, status = run("run quickstart --dry-run width=64")
  check.equal(status, 0)
  has(out, "width          64")
  has(run("recipes"), "quickstart")
  has(run("help quickstart"), "peak learning rate")
  has(run("help ml.nn.Linear"), "fan_in")
end

function T.test_what_a_careless_user_types()
  for arguments, answer in pairs {
    ["run quickstrat"] = "did you mean 'quickstart'",
    ["run quickstart widht=3"] = "did you mean 'width'",
    ["run quickstart width=wide"] = "wanted an integer",
    ["run quickstart --smok"] = "did you mean '--smoke'",
    ["run quickstart --out"] = "--out needs a value",
    ["run"] = "usage",
    ["run quickstart text=/nonexistent --smoke --out /tmp/moonlab-test-nothing"] =
      "/nonexistent: no such file",
    ["bench matmull"] = "did you mean 'matmul'",
    ["help nothing_at_all_like_this"] = "nothing is called",
  } do
    local out, status = run(arguments)
    has(out, answer)
    check.is_true(status ~= 0)
  end
  os.execute("rm -rf /tmp/moonlab-test-nothing")
end

return T
