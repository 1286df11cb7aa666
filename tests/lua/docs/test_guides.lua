-- Every block of code in the guides runs: Lua as it would be typed, one line after another in one
-- session; commands of a shell in the same folder; C stands word for word in the file it names.
local check = require "check"
local lfs = require "lfs"
local program = require "program"
local T = {}

local folder = "lua/moonlab/docs"

-- Blocks of a guide: { kind, file, text, line }.
local function blocks_of(path)
  local blocks, block, number = {}, nil, 0
  for line in io.lines(path) do
    number = number + 1
    if block then
      if line == "```" then
        blocks[#blocks + 1], block = block, nil
      else
        block.text = block.text .. line .. "\n"
      end
    elseif line:find "^```" then
      local kind, more = line:match "^```(%w*)%s*(.*)$"
      block = { kind = kind, file = more:match "file=(%S+)", text = "", line = number }
    end
  end
  check.is_nil(block)
  return blocks
end

local function input_of(text) return text:gsub("([^\n])$", "%1\n") end

-- Plays Lua blocks and commands in their order, in a folder of its own.
local function play(path, blocks)
  check.in_folder(function(dir)
    os.execute(("printf '#!/bin/sh\\nexec %%s \"$@\"\\n' %s > '%s/moonlab'; chmod +x '%s/moonlab'")
      :format(program.quote(program.word), dir, dir))
    program.write(dir .. "/session.lua", "")
    for _, block in ipairs(blocks) do
      local where = ("%s:%d"):format(path, block.line)
      if block.kind == "lua" and block.file then
        program.write(dir .. "/" .. block.file, block.text)
      elseif block.kind == "sh" then
        for line in block.text:gmatch "[^\n]+" do
          local pipe = io.popen(("cd '%s' && MOONLAB_RUNS=runs %s 2>&1; echo status=$?"):format(dir,
            line))
          local out, status = pipe:read("a"):match "^(.*)status=(%d+)%s*$"
          pipe:close()
          if status ~= "0" then check.fail(("%s: %s\n%s"):format(where, line, out)) end
        end
      elseif block.kind == "lua" then
        -- all of the guide so far, so that each block finds what the ones before it made
        local before = program.read(dir .. "/session.lua")
        program.write(dir .. "/session.lua", before .. "print 'BLOCK'\n" .. input_of(block.text))
        local out = program.run(dir, "-i < session.lua")
        local own = out:match "^.*BLOCK\n(.*)$" or out
        local all = "\n" .. own
        if all:find "stack traceback" or all:find "\nmoonlab: " or all:find "stdin:%d" then
          check.fail(where .. "\n" .. own)
        end
      end
    end
  end)
end

local function guides()
  local list = {}
  for file in lfs.dir(folder) do
    if file:find "%.md$" then list[#list + 1] = folder .. "/" .. file end
  end
  table.sort(list)
  return list
end

for _, path in ipairs(guides()) do
  T["test_" .. path:match("([^/]*)%.md$"):gsub("%W", "_")] = function()
    local blocks = blocks_of(path)
    check.is_true(#blocks > 2)
    for _, block in ipairs(blocks) do
      local where = ("%s:%d"):format(path, block.line)
      if block.kind == "c" then
        if not program.read(block.file):find(block.text:gsub("%s+$", ""), 1, true) then
          check.fail(where .. ": this does not stand in " .. block.file)
        end
      elseif block.kind ~= "lua" and block.kind ~= "sh" then
        check.fail(where .. ": a block that is not lua, sh or c")
      end
    end
    play(path, blocks)
  end
end

function T.test_links_lead_somewhere()
  for _, path in ipairs(guides()) do
    for target in program.read(path):gmatch "%]%(([^)#]+)%)" do
      check.is_true(lfs.attributes(folder .. "/" .. target, "mode") == "file", path .. target)
    end
  end
  check.is_true(#guides() == 5)
end

return T
