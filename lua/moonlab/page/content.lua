--- What a page says about a run, as plain tables of texts that JavaScript puts on the page: the
--- files of a run may hold anything.
local core = require "moonlab.core"
local claims = require "moonlab.recipe.claims"
local lfs = require "lfs"
local progress = require "moonlab.progress"
local runs = require "moonlab.runs"
local sorted = require "moonlab.sorted"

local content = {}

local most_figures = 60
local most_figure_bytes = 8 * 2 ^ 20
local most_text = 20000 -- bytes of a text that is shown, from its end

-- ---- values as text ---------------------------------------------------------------------------

local function number_text(x)
  if math.type(x) == "integer" then return tostring(x) end
  if x ~= x then return "nan" end
  local short = ("%.6g"):format(x)
  return tonumber(short) == x and short or ("%.8g"):format(x)
end

--- A value as a short text.
function content.show(value, depth)
  depth = depth or 1
  if value == nil or value == core.json.null then return "-" end
  if type(value) == "number" then return number_text(value) end
  if type(value) ~= "table" then return (tostring(value):sub(1, 2000)) end
  if depth > 6 then return "..." end
  local parts = {}
  if #value > 0 then
    for i, v in ipairs(value) do
      if i > 60 then
        parts[i] = ("... (%d)"):format(#value)
        break
      end
      parts[i] = type(v) == "table" and "[" .. content.show(v, depth + 1) .. "]"
        or content.show(v, depth + 1)
    end
  else
    for key, v in sorted(value) do
      parts[#parts + 1] = ("%s: %s"):format(tostring(key), content.show(v, depth + 1))
    end
  end
  return table.concat(parts, ", ")
end
local show = content.show

local function duration(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds == math.huge then return "-" end
  return seconds < 9.95 and ("%.1f s"):format(seconds) or progress.duration(seconds)
end

local function when(text)
  local day, time = tostring(text or ""):match "^(%d+%-%d+%-%d+)T(%d+:%d+)"
  return day and ("%s %s UTC"):format(day, time) or show(text)
end

local function is_table(value) return type(value) == "table" and value or {} end

-- ---- the parts of a run -----------------------------------------------------------------------

local function flat(t, prefix, out)
  for key, value in sorted(t) do
    local name = prefix .. tostring(key)
    if type(value) == "table" and next(value) ~= nil and #value == 0 and #prefix < 200 then
      flat(value, name .. ".", out)
    else
      out[#out + 1] = { name, show(value) }
    end
  end
  return out
end

local verdicts = { ["shown"] = true, ["not shown"] = true, ["inconclusive"] = true }

local function claims_of(kept)
  local list = {}
  for _, claim in ipairs(is_table(kept.claims)) do
    if type(claim) == "table" and verdicts[claim.verdict] then
      local ok, line = pcall(claims.line, claim)
      local text = ok and line:match "^%s*.-: (.*)$" or ""
      local name = show(claim.name)
      local start = ok and line:find(name .. ": ", 1, true)
      if start then text = line:sub(start + #name + 2) end
      list[#list + 1] = { verdict = claim.verdict, name = name, text = text }
    end
  end
  return list
end

-- A column per seed, a row per result; long texts and lists of texts are samples.
local function results_of(kept)
  local rows, names, samples = {}, {}, {}
  local list = is_table(kept.results)
  for i, r in ipairs(list) do
    for name, value in sorted(is_table(r)) do
      local first = type(value) == "table" and value[1]
      if (type(value) == "string" and #value > 80) or type(first) == "string" then
        local text = type(value) == "table" and value or { value }
        local lines = {}
        for k, item in ipairs(text) do lines[k] = tostring(item):sub(1, most_text) end
        samples[#samples + 1] = { title = tostring(name), text = table.concat(lines, "\n\n") }
      else
        if not names[name] then
          names[name] = { tostring(name) }
          rows[#rows + 1] = names[name]
          for k = 1, #list do names[name][k + 1] = "-" end
        end
        names[name][i + 1] = show(value)
      end
    end
  end
  local header = {}
  for i = 1, #list do
    header[i] = #list == 1 and "value" or "seed " .. show(is_table(kept.seeds)[i] or i)
  end
  return { header = header, rows = rows }, samples
end

--- The end of a text file, nil when there is none.
local function text_of(path)
  local file = lfs.attributes(path, "mode") == "file" and io.open(path, "rb")
  if not file then return nil end
  local size = file:seek "end"
  file:seek("set", math.max(0, size - most_text))
  local text = file:read "a" or ""
  file:close()
  if size > most_text then text = "...\n" .. (text:match "\n(.*)" or text) end
  return text:find "%S" and text or nil
end

local function figures_in(dir, prefix, list)
  if lfs.attributes(dir, "mode") ~= "directory" then return end
  local names = {}
  for entry in lfs.dir(dir) do
    if entry:match "^[^.].*%.svg$" and lfs.attributes(dir .. "/" .. entry, "mode") == "file" then
      names[#names + 1] = entry
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    if #list < most_figures then list[#list + 1] = prefix .. name end
  end
end

--- The figures of a run: paths of svg files relative to its folder.
function content.figures(dir)
  local list = {}
  figures_in(dir, "", list)
  figures_in(dir .. "/artifacts", "artifacts/", list)
  if lfs.attributes(dir, "mode") == "directory" then
    local seeds = {}
    for entry in lfs.dir(dir) do
      if entry:match "^seed%-%-?%d+$" then seeds[#seeds + 1] = entry end
    end
    table.sort(seeds)
    for _, entry in ipairs(seeds) do figures_in(dir .. "/" .. entry, entry .. "/", list) end
  end
  return list
end

--- The text of a figure that content.figures names; nil when it is gone or too large.
function content.figure(dir, name)
  for _, known in ipairs(content.figures(dir)) do
    if known == name then
      local path = dir .. "/" .. name
      local size = lfs.attributes(path, "size")
      if not size or size > most_figure_bytes then return nil end
      local file = io.open(path, "rb")
      if not file then return nil end
      local text = file:read "a"
      file:close()
      return text
    end
  end
end

local function quote(text)
  if text:match "^[%w_./=,:+%-%[%]]+$" then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- The command that was typed; else one that says the same.
local function command_of(run, config, kept)
  if type(kept.command) == "string" then return kept.command end
  if type(config.recipe) ~= "string" then return nil end
  local words = { "./moonlab run " .. quote(config.recipe) }
  if config.size == "smoke" or config.size == "full" then
    words[#words + 1] = "--" .. config.size
  end
  for name, value in sorted(run:params()) do
    if name ~= "seed" and (type(value) ~= "table" or #value > 0) then
      words[#words + 1] = quote(("%s=%s"):format(tostring(name),
        (show(value):gsub(", ", ","))))
    end
  end
  if type(config.seed) == "number" then
    words[#words + 1] = "--seed " .. show(config.seed)
  elseif type(config.seeds) == "table" then
    words[#words + 1] = "seeds=" .. (show(config.seeds):gsub(", ", ","))
  end
  return table.concat(words, " ")
end

local function question_of(name)
  if type(name) ~= "string" then return nil end
  local ok, recipe = pcall(function()
    local path = require("moonlab.recipe").find(name)
    local file = path and io.open(path, "r")
    if not file then return nil end
    local lines = {}
    for line in file:lines() do
      local text = line:match "^%-%-%-%s?(.*)$"
      if not text then break end
      lines[#lines + 1] = text
    end
    file:close()
    return #lines > 0 and table.concat(lines, " ") or nil
  end)
  return ok and recipe or nil
end

local function code_text(config)
  local text = "moonlab " .. show(config.version)
  if type(config.revision) == "string" then
    text = text .. ", revision " .. config.revision:sub(1, 12)
  end
  if config.dirty == true then text = text .. ", with files changed since" end
  return text
end

--- All that the page of a run says.
function content.detail(run)
  local config, kept = run:config(), run:results() or {}
  local state, message, status = run:state()
  local results, samples = results_of(kept)
  local log = text_of(run.dir .. "/log.txt")
  if log then samples[#samples + 1] = { title = "what it printed", text = log } end
  local facts = { { "recipe", show(config.recipe) }, { "size", show(config.size) },
    { "started", when(status.started or config.started) },
    { "took", duration(status.seconds) } }
  if status.ended then table.insert(facts, 4, { "ended", when(status.ended) }) end
  local tags = run:tags()
  if #tags > 0 then facts[#facts + 1] = { "tags", table.concat(tags, ", ") } end
  if run:note() then facts[#facts + 1] = { "note", run:note() } end
  local machine = {}
  for _, key in ipairs { "host", "cpu", "simd", "threads", "blas" } do
    if config[key] ~= nil then machine[#machine + 1] = { key, show(config[key]) } end
  end
  local seed = config.seed or config.seeds
  return {
    id = run.id, state = state, message = message and message:gsub("%s+$", "") or nil,
    question = question_of(config.recipe), facts = facts, params = flat(run:params(), "", {}),
    claims = claims_of(kept), results = results, samples = samples,
    figures = content.figures(run.dir),
    reproduce = { command = command_of(run, config, kept), code = code_text(config),
      seed = seed ~= nil and show(seed) or nil, machine = machine },
  }
end

--- The parameters in which runs differ: { names = ids, rows = { name, a text for each } }.
function content.difference(list)
  local names, rows = {}, {}
  for i, run in ipairs(list) do names[i] = run.id end
  for _, entry in ipairs(runs.difference(list)) do
    local row = { entry.name }
    for i = 1, #list do row[i + 1] = show(entry.values[i]) end
    rows[#rows + 1] = row
  end
  return { names = names, rows = rows }
end

--- The verdicts on each claim of several runs: rows { name, a verdict for each }.
function content.claims(list)
  local rows, at = {}, {}
  for i, run in ipairs(list) do
    for _, claim in ipairs(claims_of(run:results() or {})) do
      local row = at[claim.name]
      if not row then
        row = { claim.name }
        for k = 1, #list do row[k + 1] = "-" end
        at[claim.name], rows[#rows + 1] = row, row
      end
      row[i + 1] = claim.verdict
    end
  end
  return rows
end

local most_values = 24

-- Numbers of a table, at most most_values of them.
local function numbers(t, out)
  local count = 0
  for name, value in sorted(t) do
    if type(value) == "number" and type(name) == "string" and count < most_values then
      out[name], count = value, count + 1
    end
  end
  return out
end

--- The row of a run in a table; listed is an entry of ml.runs.list, values its last metrics.
function content.row(listed, values, step, kept)
  local row = { id = listed.id, state = listed.state, recipe = listed.recipe, size = listed.size,
    started = listed.started, seconds = listed.seconds, step = step, params = {}, values = {},
    tags = #listed.tags > 0 and table.concat(listed.tags, ", ") or nil }
  for name, value in sorted(listed.params) do
    row.params[tostring(name)] = type(value) == "number" and value or show(value):sub(1, 100)
  end
  if listed.seed ~= nil then
    row.params.seed = type(listed.seed) == "number" and listed.seed or show(listed.seed)
  end
  numbers(values, row.values)
  for _, r in ipairs(is_table(kept and kept.results)) do
    if #kept.results == 1 then numbers(is_table(r), row.values) end
  end
  local list = kept and claims_of(kept) or {}
  if #list > 0 then
    local shown = 0
    for _, claim in ipairs(list) do shown = shown + (claim.verdict == "shown" and 1 or 0) end
    row.claims = ("%d of %d shown"):format(shown, #list)
  end
  return row
end

--- The row of a run of ml.runs.open; values and step: its last metrics.
function content.row_of(run, values, step)
  local config, state, _, status = run:config(), run:state()
  local function text(v) return v ~= nil and show(v) or nil end
  return content.row({ id = run.id, state = state, recipe = text(config.recipe),
    size = text(config.size), started = text(status.started or config.started),
    seconds = type(status.seconds) == "number" and status.seconds or nil, tags = run:tags(),
    params = run:params(), seed = config.seed }, values, step, run:results())
end

return content
