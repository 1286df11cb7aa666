--- Writes the documentation from the help texts: pages for a browser, the API reference
--- (lua/moonlab/reference.md), and the LuaLS file (lua/moonlab/meta.lua).
local core = require "moonlab.core"
local help = require "moonlab.help"
local lfs = require "lfs"

local docs = {}

--- reference.md: every public name with its help.
function docs.reference()
  local out = {
    "# API reference", "",
    "Printed by `./moonlab docs` from the help texts beside the code; `./moonlab help NAME` shows "
      .. "one entry.", "",
  }
  for _, group in ipairs(help.groups()) do
    out[#out + 1] = "## " .. (group.name == "prompt" and "the prompt" or group.name)
    out[#out + 1] = ""
    for _, entry in ipairs(group.entries) do
      local text = help.of(entry.value)
      if text then
        local e = help.parse(text)
        out[#out + 1] = "### `" .. entry.name .. "`"
        out[#out + 1] = ""
        out[#out + 1] = "`" .. e.signature .. "`"
        out[#out + 1] = ""
        if #e.lines > 0 then
          out[#out + 1] = table.concat(e.lines, "\n")
          out[#out + 1] = ""
        end
        for _, tag in ipairs(e.tags) do
          if not (tag[1] == "source" and tag[2] == "-") then
            out[#out + 1] = ("- *%s* %s"):format(tag[1], tag[2])
          end
        end
        if #e.tags > 0 then out[#out + 1] = "" end
      end
    end
  end
  return table.concat(out, "\n") .. "\n"
end

-- Appends a line of help as comments of at most 100 columns.
local function wrap(out, line)
  local row = "---"
  for space, word in line:gmatch("(%s*)(%S+)") do
    if row ~= "---" and #row + #space + #word > 100 then
      out[#out + 1] = row
      row = "---" .. word
    else
      row = row .. space .. word
    end
  end
  out[#out + 1] = row
end

--- meta.lua: declarations for the Lua language server.
function docs.meta()
  local out = { "---@meta", "-- Printed by ./moonlab docs for the Lua language server; never run.",
    "", "local ml = {}" }
  local tables = { ml = true }
  for _, entry in ipairs(help.all()) do
    local text = help.of(entry.value)
    local class, method = entry.name:match("^(%w+):([%w_]+)$")
    local path = class and (class .. "_methods") or "ml"
    if class then
      if not tables[path] then
        tables[path] = true
        out[#out + 1] = ("\n---@class ml.%s\nlocal %s = {}"):format(class, path)
      end
    else
      for part in entry.name:gmatch("([%w_]+)%.") do
        path = path .. "." .. part
        if not tables[path] then
          tables[path] = true
          out[#out + 1] = ("%s = {}"):format(path)
        end
      end
    end
    if text then
      out[#out + 1] = ""
      for line in text:gmatch("[^\n]+") do
        local rest = line:match("^@source%s*(.*)$")
        wrap(out, rest and "source: " .. rest
          or line:gsub("^@param (opts%.)", "%1"):gsub("^@param (opts%[)", "%1"))
      end
      if entry.prompt then
        out[#out + 1] = ("function %s(...) end"):format(entry.name)
      elseif class then
        out[#out + 1] = ("function %s:%s(...) end"):format(path, method)
      else
        out[#out + 1] = ("ml.%s = function(...) end"):format(entry.name)
      end
    end
  end
  out[#out + 1] = "\nreturn ml"
  return table.concat(out, "\n") .. "\n"
end

-- In a source tree the files that are checked in are written as well.
local function write_reference()
  local folder = debug.getinfo(1, "S").source:match("^@(.*)/docs%.lua$")
  if lfs.attributes(folder .. "/../../CMakeLists.txt", "mode") ~= "file" then return end
  core.write_file(folder .. "/reference.md", docs.reference())
  core.write_file(folder .. "/meta.lua", docs.meta())
  print(folder .. "/reference.md\n" .. folder .. "/meta.lua")
end

--- ./moonlab docs [--out DIR]: pages into a folder; without one into moonlab-docs, and the files
--- that are checked in as well. The result is the exit status.
function docs.command(flag, dir, more)
  if more ~= nil or (flag ~= nil and (flag ~= "--out" or dir == nil or dir == "")) then
    io.stderr:write "usage: ./moonlab docs [--out DIR]\n"
    return 2
  end
  local ok, why = pcall(core.system.make_dirs, dir or "moonlab-docs")
  if not ok then
    io.stderr:write("moonlab: ", why:match "%((cannot .*)%)$" or why, "\n")
    return 1
  end
  local first, whole = require("moonlab.docs.html").write(dir or "moonlab-docs")
  print(first)
  if not whole then
    io.stderr:write "moonlab: the guides are shown as text; Debian's package cmark renders them\n"
  end
  if not dir then write_reference() end
  return 0
end

return docs
