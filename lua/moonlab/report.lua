--- ./moonlab report ID...: one HTML file with all that was found, to be opened anywhere.
local core = require "moonlab.core"
local assets = require "moonlab.page.assets"
local content = require "moonlab.page.content"
local curves = require "moonlab.page.curves"
local runs = require "moonlab.runs"

local report = {}

local most_runs = 2000
local most_long = 20 -- runs of which all is told; of more there is a table
local most_bytes = 48 * 2 ^ 20 -- of figures

local usage_text = [[
usage: ./moonlab report ID... [--out DIR] [--file NAME.html]
       writes one HTML file into this folder: claims, curves, figures, results, configuration,
       samples and how to reproduce; of several runs also what differs, and their curves together;
       of more than 20 a table to filter and to sort, and the curves of those that are ticked
       --out DIR reads another store than MOONLAB_RUNS or ./runs; the beginning of an ID will do]]

-- ---- the document -----------------------------------------------------------------------------

-- What the page knows about one run. The figures go in as images, in which no script runs.
local function about(run, budget)
  local follower = curves.follow(run.dir)
  follower:more()
  local detail = content.detail(run)
  local figures = {}
  for _, name in ipairs(detail.figures) do
    local text = content.figure(run.dir, name)
    if text and #text <= budget.left then
      budget.left = budget.left - #text
      figures[name] = "data:image/svg+xml;base64," .. assets.base64(text)
    end
  end
  local kept = {}
  for _, name in ipairs(detail.figures) do
    if figures[name] then kept[#kept + 1] = name end
  end
  if #kept < #detail.figures then
    detail.facts[#detail.facts + 1] = { "figures left out",
      tostring(#detail.figures - #kept) .. " (too large)" }
  end
  detail.figures = kept
  return { detail = detail, curves = follower:since(0, 0), figures = figures }
end

local head = [[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'nonce-NONCE'; ]]
  .. [[style-src 'nonce-NONCE'; img-src data:; base-uri 'none'; form-action 'none'">
<title>TITLE</title>
<style nonce="NONCE">
]]

-- What the page knows of many runs: a row and coarser curves of each.
local function about_many(list)
  local rows, coarse = {}, {}
  local most = math.max(40, 2 * (6000 // #list))
  for i, run in ipairs(list) do
    local follower = curves.follow(run.dir, { most = most, most_curves = 12 })
    follower:more()
    rows[i] = content.row_of(run, curves.tail(run.dir))
    coarse[i] = follower:since(0, 0)
  end
  return rows, coarse
end

--- The report of a list of runs (of ml.runs.open) as HTML; or nil and a message.
function report.html(list)
  local chart, why = assets.chart()
  if not chart then return nil, why end
  local data = { title = #list == 1 and list[1].id or #list .. " runs",
    written = ("written by moonlab %s on %s UTC"):format(core.version().moonlab,
      os.date "!%Y-%m-%d %H:%M") }
  local scripts = { "common.js", "report.js" }
  if #list > most_long then
    data.rows, data.curves = about_many(list)
    table.insert(scripts, 2, "runs.js")
  else
    local budget = { left = most_bytes }
    data.runs, data.difference = {}, content.difference(list)
    for i, run in ipairs(list) do data.runs[i] = about(run, budget) end
  end
  local nonce = assets.nonce()
  local function fill(text)
    return (text:gsub("NONCE", nonce):gsub("TITLE", function()
      return assets.escape(data.title)
    end))
  end
  local script = ('<script nonce="%s">\n'):format(nonce)
  local parts = { fill(head), assets.read "page.css", "</style>\n</head>\n<body>\n",
    '<main id="page"><noscript>This report needs JavaScript to draw itself.</noscript></main>\n',
    '<script type="application/json" id="data">', assets.json(data), "</script>\n",
    script, assets.inline(chart), "\n</script>\n" }
  for _, name in ipairs(scripts) do
    table.move({ script, assets.inline(assets.read(name)), "</script>\n" }, 1, 3, #parts + 1, parts)
  end
  parts[#parts + 1] = "</body>\n</html>\n"
  return table.concat(parts)
end

-- ---- the command ------------------------------------------------------------------------------

local function complain(status, ...)
  io.stderr:write("moonlab: ", string.format(...), "\n")
  return status
end

local function read_words(words)
  local o, i = { ids = {} }, 1
  while words[i] do
    local word = words[i]
    if word == "--out" or word == "--file" then
      i = i + 1
      if not words[i] or words[i] == "" then
        return nil, ("%s needs a %s"):format(word, word == "--out" and "folder" or "name")
      end
      o[word:sub(3)] = words[i]
    elseif word:sub(1, 1) == "-" and word ~= "--yes" then
      return nil, ("unknown word '%s'"):format(word)
    elseif word ~= "--yes" then
      o.ids[#o.ids + 1] = word
    end
    i = i + 1
  end
  return o
end

local function file_name(list)
  local name = list[1].id:gsub("[^%w._-]", "-")
  if #list == 1 then return ("report-%s.html"):format(name) end
  return ("report-%s-and-%d-more.html"):format(name, #list - 1)
end

--- ./moonlab report [words]: the result is the exit status.
function report.command(...)
  local words = { ... }
  if words[1] == "--help" or words[1] == "-h" then
    print(usage_text)
    return 0
  end
  local o, wrong = read_words(words)
  if not o then return complain(2, "%s\n%s", wrong, usage_text) end
  if #o.ids == 0 then return complain(2, "report of which run?\n%s", usage_text) end
  if #o.ids > most_runs then
    return complain(2, "%d runs are too many for one report, wanted at most %d", #o.ids, most_runs)
  end
  local list, seen = {}, {}
  for _, word in ipairs(o.ids) do
    local dir, id = runs.find(word, { store = o.out })
    if not dir then return complain(1, "%s", id) end
    if not seen[dir] then
      seen[dir] = true
      list[#list + 1] = runs.open(dir)
    end
  end
  local html, why = report.html(list)
  if not html then return complain(1, "%s", why) end
  local path = o.file or file_name(list)
  local ok, message = pcall(core.write_file, path, html)
  if not ok then
    if tostring(message):find("interrupted", 1, true) then error(message, 0) end
    return complain(1, "%s", (tostring(message):gsub("^.-%((.*)%)$", "%1")))
  end
  print(path)
  return 0
end

return report
