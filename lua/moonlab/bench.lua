--- Benchmarks: what moonlab does per second, and with --peers what others do with the same work,
--- measured in turn in one run.
local common = require "moonlab.bench.common"
local ml = require "moonlab"
local options = require "moonlab.options"

local bench = {}

-- A job is { row = fields, ours = function(threads) -> figure,
-- peer = function(threads) -> figure | nil, why, share = function(threads, figure) -> part of the
-- machine's ceiling }; larger is better when unit ends in "/s", else smaller.
local jobs = {}
for _, name in ipairs { "language", "tensors", "kernels", "kg" } do
  local found = require("moonlab.bench." .. name)
  for job, make in pairs(found.jobs or found) do jobs[job] = make end
end
bench.jobs = jobs

-- ---- the command --------------------------------------------------------------------------------

local order = { "matmul", "elementwise", "train_gpt", "sample_gpt", "rollouts", "sweep_proxies",
  "plrf", "krr", "kernel_mlp", "kernel_cntk", "sketch", "cnn_train", "kg_train" }

local function format_figure(x, unit)
  if not x then return "-" end
  if unit == "bytes" then return ("%.1f MiB"):format(x / 2 ^ 20) end
  if unit == "tokens/s" then return ml.progress.quantity(x) .. " tok/s" end
  return ("%.3g %s"):format(x, unit)
end

-- The rows as Markdown and as JSON, with the machine and the day.
local function write_table(name, rows, rounds)
  local v, lines = ml.version(), {}
  local machine = ("%s, %s, %s; medians of %d rounds, %s"):format(v.cpu, v.simd,
    v.blas:match "^%S+ %S+", rounds, os.date "!%Y-%m-%d")
  lines[1] = machine .. ". One thread: processor time; more: wall clock. A ratio above 1 means "
    .. "that moonlab is better; ceiling: the share of the f32 multiply-adds that the machine can "
    .. "do.\n"
  lines[2] = "| job | preset | batch | threads | ours | peer | ratio | ceiling |"
  lines[3] = "| --- | --- | --- | --- | --- | --- | --- | --- |"
  for _, row in ipairs(rows) do
    local preset = row.preset .. (row.precision == "highest" and "" or " " .. row.precision)
      .. (row.measure == "memory" and " memory" or "")
    lines[#lines + 1] = ("| %s | %s | %d | %d | %s | %s | %s | %s |"):format(row.job, preset,
      row.batch, row.threads, format_figure(row.ours, row.unit), row.peer
      and format_figure(row.peer, row.unit) .. " (" .. row.against .. ")" or "-",
      row.ratio and ("%.2f"):format(row.ratio) or "-",
      row.ceiling and ("%.0f %%"):format(100 * row.ceiling) or "-")
  end
  ml.write_file(name .. ".md", table.concat(lines, "\n") .. "\n")
  ml.write_file(name .. ".json", ml.json.encode { machine = { cpu = v.cpu, simd = v.simd,
    blas = v.blas }, date = os.date "!%Y-%m-%d", rounds = rounds, rows = rows } .. "\n")
end

-- What a comma-separated option takes; else integers >= 1.
local words_of = {
  ["--preset"] = { a = true, b = true, c = true },
  ["--precision"] = { highest = true, high = true, medium = true },
}

--- ./moonlab bench [NAME ...] [--peers] [--json] [--preset a,b] [--batch 1,64] [--threads 1,2]
---   [--rounds N] [--precision highest,high,medium] [--out NAME: NAME.md and NAME.json as well]
function bench.command(...)
  local o = { presets = { "a", "b", "c" }, threads = { 1, 2 }, precisions = { "highest" },
    rounds = 3 }
  local names = {}
  local words = { ... }
  local function bad(...)
    io.stderr:write("moonlab: ", table.concat { ... }, "\n")
    return 2
  end
  local i = 1
  while words[i] do
    local w = words[i]
    if w == "--peers" then o.peers = true
    elseif w == "--out" then
      i = i + 1
      if not words[i] then return bad "--out needs a value" end
      o.out = words[i]
    elseif w == "--json" then o.json = true
    elseif w == "--preset" or w == "--batch" or w == "--threads" or w == "--rounds"
      or w == "--precision" then
      i = i + 1
      if not words[i] then return bad(w, " needs a value") end
      local list = {}
      for part in words[i]:gmatch("[^,]+") do
        local value = part
        if words_of[w] then
          if not words_of[w][part] then
            return bad(w, " ", words[i], w == "--preset" and ": wanted a, b or c"
              or ": wanted highest, high or medium")
          end
        else
          value = math.tointeger(tonumber(part))
          if not value or value < 1 then return bad(w, " ", words[i], ": wanted integers >= 1") end
        end
        list[#list + 1] = value
      end
      if #list == 0 then return bad(w, " needs a value") end
      if w == "--preset" then o.presets = list
      elseif w == "--precision" then o.precisions = list
      elseif w == "--batch" then o.batches = list
      elseif w == "--threads" then o.threads = list
      else o.rounds = list[1] end
    elseif w == "all" then
      for _, name in ipairs(order) do names[#names + 1] = name end
    elseif jobs[w] then names[#names + 1] = w
    else
      local near = options.nearest(w, { "matmul", "elementwise", "train_gpt", "sample_gpt",
        "rollouts", "sweep_proxies", "plrf", "krr", "kernel_mlp", "kernel_cntk", "sketch",
        "cnn_train", "kg_train", "all",
        "--peers", "--json", "--preset", "--batch", "--threads", "--rounds", "--precision",
        "--out" })
      return bad(("no benchmark is called '%s'%s; there are %s, all"):format(w,
        near and ("; did you mean '" .. near .. "'?") or "", table.concat(order, ", ")))
    end
    i = i + 1
  end
  if #names == 0 then names = order end
  if not o.json then
    local v = ml.version()
    print(("%s, %s, %s; medians of %d rounds%s"):format(v.cpu, v.simd, v.blas, o.rounds,
      o.peers and "; a ratio above 1 means that moonlab is better" or ""))
    print(("%-12s %-18s %6s %7s %-7s %14s %14s %7s %7s"):format("job", "preset", "batch",
      "threads", "measure", "ours", "peer", "ratio", "ceiling"))
  end
  local table_ = {}
  local before = ml.threads()
  local status = 0
  for _, name in ipairs(names) do
    for _, job in ipairs(jobs[name](o)) do
      for _, threads in ipairs(o.threads) do
        ml.threads(threads)
        local ours, theirs, ratios = {}, {}, {}
        local against, reason
        local larger = job.row.unit:find("/s$") ~= nil
        for round = 1, o.rounds do
          ours[round] = job.ours(threads)
          if o.peers then
            local figure, why, who = job.peer(threads, round)
            reason, against = why, who or against or "torch"
            theirs[#theirs + 1] = figure
            if figure then
              ratios[#ratios + 1] = larger and ours[round] / figure or figure / ours[round]
            end
          end
        end
        local row = {
          job = job.row.job, preset = job.row.preset, batch = job.row.batch, dtype = job.row.dtype,
          precision = job.row.precision or "highest",
          threads = threads, measure = job.row.measure or (threads == 1 and "cpu" or "wall"),
          unit = job.row.unit, ours = common.median(ours),
        }
        if #ratios > 0 then
          row.against, row.peer, row.ratio = against, common.median(theirs), common.median(ratios)
        end
        row.ceiling = job.share and job.share(threads, row.ours)
        table_[#table_ + 1] = row
        if o.json then
          print(ml.json.encode(row))
        else
          local preset = row.preset
            .. (row.precision == "highest" and "" or " " .. row.precision)
          print(("%-12s %-18s %6d %7d %-7s %14s %14s %7s %7s"):format(row.job, preset, row.batch,
            threads, row.measure, format_figure(row.ours, row.unit),
            format_figure(row.peer, row.unit), row.ratio and ("%.2fx"):format(row.ratio) or "-",
            row.ceiling and ("%.0f %%"):format(100 * row.ceiling) or "-"))
        end
        if o.peers and #ratios == 0 and reason and reason ~= "one thread only" then
          io.stderr:write("moonlab: ", reason, reason:find("apt%-get", 1) and "\n"
            or " (apt-get install python3-torch)\n")
          status = 1
        end
        io.stdout:flush()
      end
    end
  end
  ml.threads(before)
  if o.out then write_table(o.out, table_, o.rounds) end
  return status
end

return bench
