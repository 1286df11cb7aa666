--- ./moonlab runs: list, show, compare, tag, untag, note, delete, reindex.
local common = require "moonlab.runs.command.common"
local core = require "moonlab.core"
local errors = require "moonlab.recipe.errors"
local interrupt = require "moonlab.interrupt"
local list_runs = require "moonlab.runs.command.list"
local runs = require "moonlab.runs"
local sorted = require "moonlab.sorted"

local command = { actions = {
  show = require "moonlab.runs.command.show",
  compare = require "moonlab.runs.command.compare",
} }

local usage_text = [[
usage: ./moonlab runs [recipe=NAME] [state=WORD] [tag=WORD] [size=WORD] [seed=N] [PARAMETER=VALUE]
       ./moonlab runs show ID
       ./moonlab runs compare ID ID... [metric=NAME,NAME]
       ./moonlab runs tag ID WORD...     untag ID WORD...     note ID [TEXT]
       ./moonlab runs delete ID... [--yes]     reindex
       --out DIR reads another store than MOONLAB_RUNS or ./runs; the beginning of an ID will do]]

-- ---- words --------------------------------------------------------------------------------------

local flags = { "--out", "--yes" }

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
      if not words[i] or words[i] == "" then common.quit(2, "--out needs a folder") end
      o.store = words[i]
    elseif word == "--yes" then
      o.yes = true
    elseif word:sub(1, 2) == "--" then
      common.quit(2, "unknown word '%s'%s", word, common.hint(word, flags))
    elseif key and not note then
      o.pairs[#o.pairs + 1] = { key, value }
    else
      o.words[#o.words + 1] = word
    end
    i = i + 1
  end
  return o
end

-- ---- labels -------------------------------------------------------------------------------------

local function each_tag(o, method)
  common.no_pairs(o)
  common.need(o, 2, 100, method .. " ID WORD...")
  local run = runs.open((common.find(o.words[1], o)))
  for i = 2, #o.words do
    local ok, result = interrupt.try(run[method], run, o.words[i])
    if not ok then common.quit(1, "%s", errors.plain(result)) end
    if method == "untag" and not result then
      common.quit(1, "%s has no tag '%s'%s", run.id, o.words[i],
        common.hint(o.words[i], run:tags()))
    end
  end
  print(("%s  %s"):format(run.id, table.concat(run:tags(), ",")))
  return 0
end

function command.actions.tag(o) return each_tag(o, "tag") end
function command.actions.untag(o) return each_tag(o, "untag") end

function command.actions.note(o)
  common.need(o, 1, 1000, "note ID [TEXT]")
  local run = runs.open((common.find(o.words[1], o)))
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
  common.no_pairs(o)
  common.need(o, 1, 100000, "delete ID... [--yes]")
  local dirs, ids = {}, {}
  for i, word in ipairs(o.words) do
    dirs[i], ids[i] = common.find(word, o)
    local holder = core.system.lease_holder(dirs[i])
    if holder and holder.live then
      common.quit(1, "%s is being written by pid %d on %s", ids[i], holder.pid, holder.host)
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
  common.no_pairs(o)
  common.need(o, 0, 0, "reindex")
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
    if #o.words > 0 then common.quit(2, "unknown word '%s'", o.words[1]) end
    return list_runs(o)
  end
  local action = command.actions[first]
  if not action then
    local names = { "list" }
    for name in sorted(command.actions) do names[#names + 1] = name end
    common.quit(2, "runs has no command '%s'%s\n%s", first, common.hint(first, names), usage_text)
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
  if interrupt.is(result) then error(result, 0) end
  io.stderr:write("moonlab: ", errors.plain(result), "\n")
  return 1
end

return command
