-- The pages of ./moonlab docs: all there, every link leads somewhere, nothing of a file's text is
-- taken for HTML.
local check = require "check"
local help = require "moonlab.help"
local lfs = require "lfs"
local program = require "program"
local T = {}

function T.test_pages_and_links()
  check.in_folder(function(dir)
    -- a recipe of one's own is among them, whatever its texts hold
    program.write(dir .. "/mine.lua", [[
--- Is <b>this</b> & "that" safe?
local recipe = require "moonlab.recipe"
return recipe.define { name = "mine", params = { x = { "<i>", "a <script>" } },
  run = function() return {} end,
  claims = { { name = "</li><script>", kind = "exploratory", at_most = 1,
    measure = function() return 0 end } } }
]])
    local out, status = program.run(dir, "docs --out site")
    check.equal(status, 0)
    program.has(out, "site/index.html")
    local pages = 0
    for file in lfs.dir(dir .. "/site") do
      if file:find "%.html$" then
        pages = pages + 1
        local text = program.read(dir .. "/site/" .. file)
        for target, anchor in text:gmatch 'href="([^"#]*)#?([^"]*)"' do
          if target == "" then target = file end
          local there = io.open(dir .. "/site/" .. target)
          if not there then check.fail(file .. " links to " .. target) end
          local linked = there:read "a"
          there:close()
          if anchor ~= "" then program.has(linked, 'id="' .. anchor .. '"') end
        end
        for tag in text:gsub("<!doctype html>", ""):gmatch "<(/?%a+)" do
          if tag:find "script" and file ~= "api.html" then check.fail(file .. " has a script") end
        end
      end
    end
    check.is_true(pages >= 8)
    program.has(program.read(dir .. "/site/recipes.html"), "a &lt;script&gt;")
    local api = program.read(dir .. "/site/api.html")
    check.equal(select(2, api:gsub('<section class="entry"', "")), #help.all())
    check.equal(select(2, api:gsub('<div class="group">', "")), #help.groups())
    program.has(api, '<a href="#group-nn">nn</a>')
  end)
end

function T.test_words_that_are_wrong()
  check.in_folder(function(dir)
    local said, failed = program.run(dir, "docs --out /dev/null/site")
    check.equal(failed, 1)
    check.is_true(said:find "^moonlab: cannot make folder '/dev/null/site': [%w ]+\n$" ~= nil)
    for _, words in ipairs { "docs here", "docs --out", "docs --out a b" } do
      local out, status = program.run(dir, words)
      check.equal(status, 2)
      program.has(out, "usage: ./moonlab docs [--out DIR]")
    end
    check.is_nil(lfs.attributes(dir .. "/moonlab-docs", "mode"))
  end)
end

return T
