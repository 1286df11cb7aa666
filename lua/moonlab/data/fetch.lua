--- Files of Debian packages: installed ones, or fetched into a cache of one's own with consent.
local lfs = require "lfs"
local core = require "moonlab.core"
local quote = require("moonlab.recipe.words").quote

local fetch = {}

local function is_file(path) return lfs.attributes(path, "mode") == "file" end

--- Where fetched packages lie.
function fetch.cache()
  local folder = os.getenv "MOONLAB_CACHE"
  if folder and folder ~= "" then return folder end
  local base = os.getenv "XDG_CACHE_HOME"
  if not base or base == "" then base = (os.getenv "HOME" or "/tmp") .. "/.cache" end
  return base .. "/moonlab"
end

local function consent(package, size, folder)
  if os.getenv "MOONLAB_YES" == "1" then return true end
  local terminal = os.execute "test -t 0 && test -t 2"
  if not terminal then return false end
  io.stderr:write(("moonlab: fetch Debian's package %s (%s) into %s? [y/N] "):format(package, size,
    folder))
  local answer = io.read "l"
  return answer ~= nil and answer:lower():find "^y" ~= nil
end

-- The package unpacked in `folder`, whole or not at all; or nil and why.
local function download(package, folder)
  local parent = folder:match "^(.*)/"
  local pipe = io.popen(("mkdir -p %s && mktemp -d %s 2>&1"):format(quote(parent),
    quote(folder .. ".XXXXXX")))
  local work = pipe:read "l"
  pipe:close()
  if not work or lfs.attributes(work, "mode") ~= "directory" then
    return nil, ("%s cannot be written to"):format(parent)
  end
  local command = ("cd %s && apt-get download %s 2>&1 && dpkg-deb -x %s_*.deb tree 2>&1"):format(
    quote(work), quote(package), package)
  pipe = io.popen(command .. "; echo status=$?")
  local said = pipe:read "a"
  pipe:close()
  local ok = said:match "status=(%d+)%s*$" == "0" and (os.rename(work .. "/tree", folder)
    or lfs.attributes(folder, "mode") == "directory")
  os.execute("rm -rf " .. quote(work))
  if ok then return folder end
  return nil, said:match "E: [^\n]*" or said:gsub("status=%d+%s*$", ""):match "([^\n]*)%s*$"
end

--- The path of a file of a package ("/usr/..."): installed, cached, or fetched now; or nil and a
--- message that says what to install and which file to supply.
function fetch.file(package, path, size)
  if is_file(path) then return path end
  local folder = fetch.cache() .. "/packages/" .. package
  if is_file(folder .. path) then return folder .. path end
  local why = "no network was tried: that needs --yes or an answer at a terminal"
  if consent(package, size, folder) then
    local got
    got, why = download(package, folder)
    if got and is_file(folder .. path) then return folder .. path end
    why = "fetching it failed: " .. (why or "it does not hold the file")
  end
  return nil, ("%s is missing. On Debian: apt-get install %s (%s). Or supply the file as %s%s. %s")
    :format(path, package, size, folder, path, why)
end

--- Bytes of a file, without their compression; nil and a message when there is none.
function fetch.bytes(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, why end
  local text = file:read "a"
  file:close()
  if not text then return nil, path .. ": cannot be read" end
  return core.text.expand(text, path)
end

return fetch
