--- The files of a run's folder, and what is noted about the code and the machine.
local core = require "moonlab.core"
local interrupt = require "moonlab.interrupt"
local lfs = require "lfs"

local files = {}

-- config.json     what the run is: parameters, seeds, recipe, code version, machine; written once
-- state.json      running, done, diverged, interrupted or failed, with times and sessions
-- metrics.jsonl   one JSON object a line, appended
-- log.txt         text, appended
-- results.json    results and claims
-- labels.json     tags and note; anybody may write it
-- checkpoints/ artifacts/   files of the recipe
-- lease.N         who writes here, see core/system/system.h
--
-- JSON has no NaN and no infinity: { nan = "exact" } writes them as "nan", "inf", "-inf", and a
-- text that reads like one of these with an apostrophe in front, and gives all of them back.

local exact = { nan = "exact" }
local exact_file = { nan = "exact", invalid = "replace", indent = 2 }
local exact_line = { nan = "exact", invalid = "replace" }

files.states = { "running", "done", "diverged", "interrupted", "failed" }
files.known_state = {}
for _, word in ipairs(files.states) do files.known_state[word] = true end

-- What makes two runs the same.
files.identity = { "recipe", "size", "params", "seed", "seeds", "config" }

function files.now() return os.date("!%Y-%m-%dT%H:%M:%SZ") end

--- The kind of what stands at a path: "file", "directory", ...; nil where nothing does.
function files.mode(path) return lfs.attributes(path, "mode") end
local mode = files.mode

--- A table kept as JSON in the folder, or nil: what others may have damaged stops no listing.
function files.read(dir, name)
  local path = dir .. "/" .. name
  if mode(path) ~= "file" then return nil end -- nor does a pipe that nobody writes
  local ok, value = interrupt.try(core.json.read, path, exact)
  return ok and type(value) == "table" and value or nil
end

--- Keeps a table as JSON in the folder.
function files.write(dir, name, value)
  local path = dir .. "/" .. name
  local kind = mode(path)
  if kind and kind ~= "file" then -- a pipe would wait for a reader
    error(("cannot write %s (a %s stands there)"):format(path, kind), 0)
  end
  core.json.write(path, value, exact_file)
end

--- A value as one line of JSON, and back.
function files.encode(value) return core.json.encode(value, exact_line) end
function files.decode(text) return core.json.decode(text, exact) end

--- The last name of a path, or nil.
function files.base_name(path) return (path:gsub("/+$", ""):match "[^/]+$") end

--- Whether there is a run in it.
function files.is_run(dir) return mode(dir .. "/config.json") == "file" end

--- The value as it comes back from a file.
function files.as_read(value) return files.decode(files.encode(value)) end

--- Equality of what JSON can hold; NaN equals NaN.
function files.same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b or (a ~= a and b ~= b) end
  for key, value in pairs(a) do
    if not files.same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- ---- code and machine ---------------------------------------------------------------------------

local code

-- The first line that git prints, "" when it prints none, nil when it fails.
local function git(root, ...)
  local words = { "git", "-C", root, ... }
  words.stdout, words.stderr = "pipe", "null"
  local child = core.system.spawn(words)
  if not child then return nil end
  local text = {}
  while true do
    local part = child:read(10)
    if not part then break end
    text[#text + 1] = part
  end
  local how, status = child:wait(10)
  child:close()
  return how == "exit" and status == 0 and (table.concat(text):match("^[^\n]*")) or nil
end

--- Version of moonlab; from a source tree also its revision, and whether files differ from it.
function files.code_version()
  if code then return code end
  code = { version = core.version().moonlab }
  local root = debug.getinfo(1, "S").source:match("^@(.*)/lua/moonlab/runs/[^/]*$")
  if root and mode(root .. "/.git") then
    code.revision = git(root, "rev-parse", "HEAD")
    local changed = code.revision and git(root, "status", "--porcelain", "--untracked-files=no")
    if changed then code.dirty = changed ~= "" end
  end
  return code
end

--- Host, process, threads, processor and what f32 products are computed in.
function files.machine()
  local v, process = core.version(), core.system.process()
  return { host = process.host, pid = process.pid, threads = v.threads, cpu = v.cpu,
    cpu_features = v.cpu_features, simd = v.simd, blas = v.blas,
    matmul_precision = core.matmul_precision() }
end

return files
