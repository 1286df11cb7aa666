--- ./moonlab runs: list, show, compare, tag, untag, note, delete, reindex.
local core = require "moonlab.core"
local errors = require "moonlab.recipe.errors"
local display = require "moonlab.progress.display"
local options = require "moonlab.options"
local progress = require "moonlab.progress"
local runs = require "moonlab.runs"
local sorted = require "moonlab.sorted"

local command = { actions = {} }

local usage_text = [[
usage: ./moonlab runs [recipe=NAME] [state=WORD] [tag=WORD] [size=WORD] [seed=N] [PARAMETER=VALUE]
       ./moonlab runs show ID
       ./moonlab runs compare ID ID... [metric=NAME,NAME]
       ./moonlab runs tag ID WORD...     untag ID WORD...     note ID [TEXT]
       ./moonlab runs delete ID... [--yes]     reindex
       --out DIR reads another store than MOONLAB_RUNS or ./runs; the beginning of an ID will do]]

-- An error that is the user's: a message and the exit status, without a traceback.
local function quit(status, text, ...) error({ status = status, text = text:format(...) }, 0) end

local function hint(word, names)
  local near = options.nearest(word, names)
  return near and ("; did you mean '%s'?"):format(near) or ""
end

-- ---- words --------------------------------------------------------------------------------------

local flags = { "--out", "--yes" }
local plain_filters = { recipe = true, state = true, tag = true, size = true }

-- Words after the command: those without meaning of their own, key=value pairs (but not in a note),
-- flags.
local function read_words(words, note)
  local o = { words = {}, pairs = {}, yes = os.getenv "MOONLAB_YES" == "1" }
  local i = 1
  while words[i] do
    local word = words[i]
    local key, value = word:match "^([%a_][%w_.]*)=(.*)$"
    if word == "--out" then
      i = i + 1
      if not words[i] or words[i] == "" then quit(2, "--out needs a folder") end
      o.store = words[i]
    elseif word == "--yes" then
      o.yes = true
    elseif word:sub(1, 2) == "--" then
      quit(2, "unknown word '%s'%s", word, hint(word, flags))
    elseif key and not note then
      o.pairs[#o.pairs + 1] = { key, value }
    else
      o.words[#o.words + 1] = word
    end
    i = i + 1
  end
  return o
end

local function find(word, o)
  local dir, id = runs.find(word, { store = o.store })
  if not dir then quit(1, "%s", id) end
  return dir, id
end

local function need(o, least, most, what)
  if #o.words < least or #o.words > most then quit(2, "wanted: ./moonlab runs %s", what) end
end

local function no_pairs(o)
  if o.pairs[1] then quit(2, "unknown word '%s=%s'", o.pairs[1][1], o.pairs[1][2]) end
end

-- ---- values as text -----------------------------------------------------------------------------

local function number_text(x)
  if math.type(x) == "integer" then return tostring(x) end
  if x ~= x then return "nan" end
  local short = ("%.6g"):format(x)
  return tonumber(short) == x and short or ("%.10g"):format(x)
end

local function show(value)
  if value == nil then return "-" end
  if type(value) == "number" then return number_text(value) end
  if type(value) ~= "table" then return (tostring(value):gsub("%c", " ")) end
  local parts = {}
  if #value > 0 then
    for i, v in ipairs(value) do
      parts[i] = type(v) == "table" and "[" .. show(v) .. "]" or show(v)
    end
  else
    for key, v in sorted(value) do parts[#parts + 1] = ("%s:%s"):format(tostring(key), show(v)) end
  end
  return table.concat(parts, ",")
end

local function params_text(params)
  local parts = {}
  for key, value in sorted(params) do parts[#parts + 1] = key .. "=" .. show(value) end
  return table.concat(parts, " ")
end

local function day_and_time(text)
  local day, time = (text or ""):match "^(%d+%-%d+%-%d+)T(%d+:%d+)"
  return day and day .. " " .. time or "-"
end

local function duration(seconds)
  if type(seconds) ~= "number" then return "-" end
  return seconds < 9.95 and ("%.1fs"):format(seconds) or progress.duration(seconds)
end

-- Columns of equal width; the last is left as it is.
local function print_table(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, utf8.len(cell) or #cell) end
  end
  for _, row in ipairs(rows) do
    local parts = {}
    for i, cell in ipairs(row) do
      local pad = i < #row and (" "):rep(widths[i] - (utf8.len(cell) or #cell)) or ""
      parts[i] = cell .. pad
    end
    print((table.concat(parts, "  "):gsub("%s+$", "")))
  end
end

-- ---- list ---------------------------------------------------------------------------------------

-- Whether a parameter is what was typed: as a number when both are, else as text.
local function typed_equal(found, text)
  if found == nil then return false end
  local number = tonumber(text)
  if text == "nan" or text == "inf" or text == "-inf" then
    number = ({ nan = 0 / 0, inf = math.huge, ["-inf"] = -math.huge })[text]
  end
  if type(found) == "number" and number then
    return found == number or (found ~= found and number ~= number)
  end
  return show(found) == text
end

local function list_runs(o)
  local wanted, params = { store = o.store }, {}
  for _, pair in ipairs(o.pairs) do
    local key, value = pair[1], pair[2]
    if plain_filters[key] then
      wanted[key] = value
    elseif key == "seed" then
      wanted.seed = math.tointeger(tonumber(value))
      if not wanted.seed then quit(2, "seed=%s: wanted an integer", value) end
    else
      params[#params + 1] = pair
    end
  end
  local ok, found = pcall(runs.list, wanted)
  if not ok then
    quit(2, "%s", (tostring(found):gsub("^.-%(option '(%a+)' is ", "%1 is "):gsub("%)$", "")))
  end
  local rows = {
    { "id", "state", "recipe", "size", "started (UTC)", "took", "tags", "parameters" },
  }
  local names, parameters = {}, 0
  for _, row in ipairs(found) do
    local passes = true
    for _, pair in ipairs(params) do
      passes = passes and typed_equal(row.params[pair[1]], pair[2])
    end
    for name in pairs(row.params) do
      if not names[name] then names[name], parameters = true, parameters + 1 end
    end
    if passes then
      rows[#rows + 1] = { row.id, row.state, row.recipe or "-", row.size or "-",
        day_and_time(row.started), duration(row.seconds),
        #row.tags > 0 and table.concat(row.tags, ",") or "-", params_text(row.params) }
    end
  end
  for _, pair in ipairs(params) do
    if #found > 0 and not names[pair[1]] then
      local known = { "recipe", "state", "tag", "size", "seed" }
      for name in sorted(names) do known[#known + 1] = name end
      quit(2, "no run has a parameter '%s'%s", pair[1], hint(pair[1], known))
    end
  end
  if #rows == 1 then
    print(("no runs in %s%s"):format(o.store or runs.store(), #o.pairs > 0 and " like these" or ""))
    return 0
  end
  print_table(rows)
  return 0
end

-- ---- show ---------------------------------------------------------------------------------------

local function tree(value, indent)
  for key, v in sorted(value) do
    if type(v) == "table" and next(v) ~= nil and (#v == 0 or type(v[1]) == "table") then
      print(("%s%s"):format(indent, tostring(key)))
      tree(v, indent .. "  ")
    else
      print(("%s%-14s %s"):format(indent, tostring(key), show(v)))
    end
  end
end

-- First, least, greatest and last of every metric.
local function print_metrics(run)
  local found = {}
  local records, damaged = run:records()
  for _, record in ipairs(records) do
    for name, v in pairs(record) do
      if type(v) == "number" and name ~= "step" then
        local m = found[name] or { first = v, least = math.huge, greatest = -math.huge, count = 0 }
        m.last, m.count = v, m.count + 1
        if v < m.least then m.least = v end
        if v > m.greatest then m.greatest = v end
        found[name] = m
      end
    end
  end
  local rows = { { "  metric", "values", "first", "least", "greatest", "last" } }
  for name, m in sorted(found) do
    local ordered = m.least <= m.greatest -- else all are NaN
    rows[#rows + 1] = { "  " .. name, tostring(m.count), show(m.first),
      ordered and show(m.least) or "nan", ordered and show(m.greatest) or "nan", show(m.last) }
  end
  if #rows > 1 then
    print(("\nmetrics (%d records)"):format(#records))
    print_table(rows)
  end
  if damaged > 0 then
    print(("  %d damaged line%s left out"):format(damaged, damaged == 1 and "" or "s"))
  end
end

function command.actions.show(o)
  no_pairs(o)
  need(o, 1, 1, "show ID")
  local dir, id = find(o.words[1], o)
  local run = runs.open(dir)
  local config = run:config()
  local state, message, status = run:state()
  print(("%s  %s%s"):format(id, state, message and " (" .. message:gsub("%s+$", "") .. ")" or ""))
  print(("  folder         %s"):format(dir))
  for _, key in ipairs { "recipe", "size", "seed", "seeds" } do
    if config[key] ~= nil then print(("  %-14s %s"):format(key, show(config[key]))) end
  end
  print(("  started        %s"):format(show(status.started or config.started)))
  if status.ended then print(("  ended          %s"):format(show(status.ended))) end
  if status.seconds then print(("  took           %s"):format(duration(status.seconds))) end
  local revision = type(config.revision) == "string" and ", revision " .. config.revision:sub(1, 12)
  print(("  code           moonlab %s%s%s"):format(show(config.version), revision or "",
    config.dirty == true and ", files changed since" or ""))
  for _, key in ipairs { "host", "threads", "cpu", "simd", "blas" } do
    if config[key] ~= nil then print(("  %-14s %s"):format(key, show(config[key]))) end
  end
  local sessions = type(status.sessions) == "table" and #status.sessions or 0
  if sessions > 1 then print(("  sessions       %d"):format(sessions)) end
  local tags, note = run:tags(), run:note()
  if #tags > 0 then print(("  tags           %s"):format(table.concat(tags, ", "))) end
  if note then print(("  note           %s"):format((note:gsub("\n", "\n                 ")))) end
  if next(run:params()) then
    print "\nparameters"
    tree(run:params(), "  ")
  end
  print_metrics(run)
  local results = run:results()
  if results then
    print "\nresults"
    tree(results, "  ")
  end
  return 0
end

-- ---- compare ------------------------------------------------------------------------------------

local function wanted_metrics(o, all)
  local names
  for _, pair in ipairs(o.pairs) do
    if pair[1] ~= "metric" then
      quit(2, "unknown word '%s='%s", pair[1], hint(pair[1], { "metric" }))
    end
    names = names or {}
    for name in pair[2]:gmatch "[^,]+" do
      if not all[name] then
        local known = {}
        for found in sorted(all) do known[#known + 1] = found end
        quit(1, "no run has a metric '%s'%s", name, hint(name, known))
      end
      names[#names + 1] = name
    end
  end
  return names
end

-- The points of one run's metric: where it has a step, over steps, else over the count.
local function curve(run, name)
  local x, y = {}, {}
  for _, record in ipairs((run:records())) do
    if type(record[name]) == "number" then
      y[#y + 1] = record[name]
      x[#x + 1] = type(record.step) == "number" and record.step or #y
    end
  end
  return x, y
end

local function all_positive(series)
  local low, high = math.huge, 0
  for _, s in ipairs(series) do
    for _, v in ipairs(s.y) do
      if not (v > 0) and v == v then return false end
      if v == v and v < math.huge then low, high = math.min(low, v), math.max(high, v) end
    end
  end
  return high > 20 * low
end

local function draw(list, name)
  local series = {}
  for _, run in ipairs(list) do
    local x, y = curve(run, name)
    if #y > 1 then series[#series + 1] = { x = x, y = y, label = run.id } end
  end
  if #series == 0 then return end
  local plot = require "moonlab.plot"
  local logarithmic = all_positive(series) and "y" or ""
  local figure = plot.lines { series = series, log = logarithmic, title = name, xlabel = "step" }
  print(figure:text(72, 14, { color = display.color }))
end

function command.actions.compare(o)
  need(o, 2, 20, "compare ID ID...")
  local list, header = {}, { "" }
  for i, word in ipairs(o.words) do
    local dir, id = find(word, o)
    list[i] = runs.open(dir)
    header[i + 1] = id
  end
  local rows = { header, { "state" }, { "took" } }
  for _, run in ipairs(list) do
    local state, _, status = run:state()
    table.insert(rows[2], state)
    table.insert(rows[3], duration(status.seconds))
  end
  for _, entry in ipairs(runs.difference(list)) do
    local row = { entry.name }
    for i = 1, #list do row[i + 1] = show(entry.values[i]) end
    rows[#rows + 1] = row
  end
  print_table(rows)
  if #rows == 3 then print "the parameters are the same" end

  local all, last = {}, {}
  for i, run in ipairs(list) do
    last[i] = {}
    for _, record in ipairs((run:records())) do
      for key, value in pairs(record) do
        if type(value) == "number" and key ~= "step" then all[key], last[i][key] = true, value end
      end
    end
  end
  local names = wanted_metrics(o, all)
  rows = { header }
  for name in sorted(all) do
    local row = { name }
    for i = 1, #list do row[i + 1] = show(last[i][name]) end
    rows[#rows + 1] = row
  end
  if #rows == 1 then return 0 end
  print "\nlast values"
  print_table(rows)
  if not names then -- what all have, the loss first
    names = {}
    for name in sorted(all) do
      local shared = true
      for i = 1, #list do shared = shared and last[i][name] ~= nil end
      if shared then table.insert(names, name:find "loss" and 1 or #names + 1, name) end
    end
    for i = 4, #names do names[i] = nil end
  end
  for _, name in ipairs(names) do
    print()
    draw(list, name)
  end
  return 0
end

-- ---- labels -------------------------------------------------------------------------------------

local function each_tag(o, method)
  no_pairs(o)
  need(o, 2, 100, method .. " ID WORD...")
  local run = runs.open((find(o.words[1], o)))
  for i = 2, #o.words do
    local ok, result = pcall(run[method], run, o.words[i])
    if not ok then quit(1, "%s", errors.plain(result)) end
    if method == "untag" and not result then
      quit(1, "%s has no tag '%s'%s", run.id, o.words[i], hint(o.words[i], run:tags()))
    end
  end
  print(("%s  %s"):format(run.id, table.concat(run:tags(), ",")))
  return 0
end

function command.actions.tag(o) return each_tag(o, "tag") end
function command.actions.untag(o) return each_tag(o, "untag") end

function command.actions.note(o)
  need(o, 1, 1000, "note ID [TEXT]")
  local run = runs.open((find(o.words[1], o)))
  if #o.words > 1 then run:note(table.concat(o.words, " ", 2)) end
  print(run:note() or "no note")
  return 0
end

-- ---- delete, reindex ----------------------------------------------------------------------------

local function confirmed(o, ids)
  if o.yes then return true end
  io.stderr:write(("moonlab: delete %s? [y/N] "):format(table.concat(ids, ", ")))
  local answer = io.read "l"
  return answer ~= nil and answer:match "^%s*[yY]" ~= nil
end

function command.actions.delete(o)
  no_pairs(o)
  need(o, 1, 100000, "delete ID... [--yes]")
  local dirs, ids = {}, {}
  for i, word in ipairs(o.words) do
    dirs[i], ids[i] = find(word, o)
    local holder = core.system.lease_holder(dirs[i])
    if holder and holder.live then
      quit(1, "%s is being written by pid %d on %s", ids[i], holder.pid, holder.host)
    end
  end
  if not confirmed(o, ids) then
    io.stderr:write "moonlab: nothing deleted (--yes deletes without asking)\n"
    return 1
  end
  for i, dir in ipairs(dirs) do
    runs.delete(dir, { store = o.store })
    print(("deleted %s"):format(ids[i]))
  end
  return 0
end

function command.actions.reindex(o)
  no_pairs(o)
  need(o, 0, 0, "reindex")
  local n = runs.reindex { store = o.store }
  print(("%d run%s in %s"):format(n, n == 1 and "" or "s", o.store or runs.store()))
  return 0
end

-- ---- the command --------------------------------------------------------------------------------

local function dispatch(words)
  local first = words[1]
  if first == "help" or first == "--help" or first == "-h" then
    print(usage_text)
    return 0
  end
  if first == nil or first:find("=", 1, true) or first:sub(1, 2) == "--" then
    local o = read_words(words)
    if #o.words == 0 then return list_runs(o) end
    first = o.words[1] -- an action after the flags
    for i, word in ipairs(words) do
      if word == first then
        table.remove(words, i)
        break
      end
    end
  else
    table.remove(words, 1)
  end
  if first == "list" then
    local o = read_words(words)
    if #o.words > 0 then quit(2, "unknown word '%s'", o.words[1]) end
    return list_runs(o)
  end
  local action = command.actions[first]
  if not action then
    local names = { "list" }
    for name in sorted(command.actions) do names[#names + 1] = name end
    quit(2, "runs has no command '%s'%s\n%s", first, hint(first, names), usage_text)
  end
  return action(read_words(words, first == "note"))
end

--- ./moonlab runs [words]: the result is the exit status.
function command.main(...)
  local ok, result = pcall(dispatch, { ... })
  if ok then return result end
  if type(result) == "table" and result.status then
    io.stderr:write("moonlab: ", result.text, "\n")
    return result.status
  end
  if errors.is_interrupt(result) then error(result, 0) end
  io.stderr:write("moonlab: ", errors.plain(result), "\n")
  return 1
end

return command
