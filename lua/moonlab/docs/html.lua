--- The documentation as pages for a browser: guides, recipes with their figures, every public name.
local core = require "moonlab.core"
local assets = require "moonlab.page.assets"
local catalogue = require "moonlab.recipe.catalogue"
local help = require "moonlab.help"
local lfs = require "lfs"
local params = require "moonlab.recipe.params"
local sorted = require "moonlab.sorted"

local html = {}

local escape = assets.escape
local folder = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"

local style = [[
section.entry { border-top: 1px solid var(--line); padding: .75rem 0 }
dt { font-style: italic } dd { margin: 0 0 .2rem 1.5rem }
figure { margin: 1rem 0 } figure img { max-width: 100%; background: white }
input { font: inherit; width: 100%; padding: .3rem .6rem; color: var(--ink);
  background: var(--card); border: 1px solid var(--line); border-radius: 6px }
pre { max-height: none } pre code { border: 0 } li { margin: .2rem 0 } table { width: auto }
]]

local function page(title, body)
  return table.concat { "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
    "<title>", escape(title), " - moonlab</title><style>", assets.read "page.css", style,
    "</style></head><body>\n<header class=\"top\"><a class=\"name\" href=\"index.html\">moonlab ",
    escape(core.version().moonlab), "</a> <a href=\"recipes.html\">recipes</a> ",
    "<a href=\"api.html\">every name</a></header>\n<main>\n", body,
    "\n</main></body></html>\n" }
end

local function read_all(path)
  local file = io.open(path, "rb")
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

-- ---- guides ------------------------------------------------------------------------------------

-- Markdown as HTML, by cmark where it is installed; else as it is written.
local function rendered(path)
  local child = core.system.spawn { "cmark", path, stdout = "pipe", stderr = "null" }
  local text = {}
  if child then
    for part in function() return (child:read()) end do text[#text + 1] = part end
    local how, code = child:wait()
    child:close()
    if how == "exit" and code == 0 then
      return (table.concat(text):gsub("%.md\"", ".html\"")), true
    end
  end
  return "<pre>" .. escape(read_all(path) or "") .. "</pre>", false
end

local function guides()
  local list = {}
  for file in lfs.dir(folder) do
    local name = file:match "^(.*)%.md$"
    if name then
      local path = folder .. "/" .. file
      list[#list + 1] = { name = name, path = path,
        title = (read_all(path) or ""):match "^#%s*([^\n]*)" or name }
    end
  end
  table.sort(list, function(a, b) return a.title < b.title end)
  return list
end

-- ---- recipes -----------------------------------------------------------------------------------

-- Pictures of a recipe: those that come with it, else those of its newest finished run.
local function figures_of(name)
  local own = ("%s/figures/%s.svg"):format(catalogue.folder(), name)
  if lfs.attributes(own, "mode") == "file" then return { own } end
  local runs = require "moonlab.runs"
  local newest
  local there = lfs.attributes(runs.store(), "mode") == "directory"
  for _, row in ipairs(there and runs.list { recipe = name } or {}) do
    if row.state == "done" and (not newest or row.started > newest.started) then newest = row end
  end
  local list = {}
  local dir = newest and ("%s/%s"):format(runs.store(), newest.id)
  for _, place in ipairs(dir and { dir, dir .. "/artifacts" } or {}) do
    if lfs.attributes(place, "mode") == "directory" then
      for file in lfs.dir(place) do
        if file:find "%.svg$" then list[#list + 1] = place .. "/" .. file end
      end
    end
  end
  table.sort(list)
  return list
end

local function recipe_section(name)
  local r, why = catalogue.load(name)
  local out = { ("<section class=\"entry\" id=\"%s\"><h2>%s</h2>"):format(escape(name),
    escape(name)) }
  if not r then return out[1] .. "<p>" .. escape(why) .. "</p></section>" end
  out[#out + 1] = "<p>" .. escape(r.question or "") .. "</p>"
  if r.source then out[#out + 1] = "<p class=\"small\">" .. escape(r.source) .. "</p>" end
  for _, path in ipairs(figures_of(name)) do
    local data = assets.base64(read_all(path) or "")
    out[#out + 1] = ("<figure><img alt=\"%s\" src=\"data:image/svg+xml;base64,%s\"></figure>")
      :format(escape(path:match "[^/]*$"), data)
  end
  out[#out + 1] = "<details><summary>parameters and claims</summary><table>"
  for key, spec in sorted(r.params) do
    out[#out + 1] = ("<tr><td><code>%s</code></td><td>%s</td><td>%s</td></tr>"):format(escape(key),
      escape(params.show(spec.default)), escape(spec.meaning))
  end
  out[#out + 1] = "</table><ul>"
  for _, claim in ipairs(r.claims) do
    out[#out + 1] = ("<li>%s <span class=\"small\">(%s%s)</span></li>"):format(escape(claim.name),
      escape(claim.kind), claim.source and "; " .. escape(claim.source) or "")
  end
  out[#out + 1] = ("</ul></details><pre>./moonlab run %s</pre></section>"):format(escape(name))
  return table.concat(out, "\n")
end

-- ---- names -------------------------------------------------------------------------------------

local filter = [[
<input id="filter" placeholder="filter, e.g. softmax" autofocus>
<script>
document.getElementById('filter').addEventListener('input', function () {
  const word = this.value.toLowerCase();
  for (const entry of document.querySelectorAll('section.entry'))
    entry.hidden = !entry.textContent.toLowerCase().includes(word);
  for (const group of document.querySelectorAll('div.group'))
    group.hidden = !group.querySelector('section.entry:not([hidden])');
});
</script>]]

local function name_section(entry)
  local text = help.of(entry.value)
  if not text then return "" end
  local e = help.parse(text)
  local out = { ("<section class=\"entry\" id=\"%s\"><h3>%s</h3><pre>%s</pre>"):format(
    escape(entry.name), escape(entry.name), escape(e.signature)) }
  if #e.lines > 0 then
    out[#out + 1] = "<p>" .. escape(table.concat(e.lines, "\n")) .. "</p>"
  end
  out[#out + 1] = "<dl>"
  for _, tag in ipairs(e.tags) do
    if not (tag[1] == "source" and tag[2] == "-") then
      local name, rest = tag[1], tag[2]
      if name == "param" then name, rest = rest:match "^(%S+)%s*(.*)$" end
      out[#out + 1] = ("<dt>%s</dt><dd>%s</dd>"):format(escape(name or tag[1]), escape(rest or ""))
    end
  end
  out[#out + 1] = "</dl></section>"
  return table.concat(out, "\n")
end

-- All names, by table and class.
local function names_of_groups()
  local links, out = {}, {}
  for i, group in ipairs(help.groups()) do
    local title = escape(group.name == "prompt" and "the prompt" or group.name)
    links[i] = ("<a href=\"#group-%s\">%s</a>"):format(escape(group.name), title)
    out[#out + 1] = ("<div class=\"group\"><h2 id=\"group-%s\">%s</h2>"):format(
      escape(group.name), title)
    if group.purpose then out[#out + 1] = "<p>" .. escape(group.purpose) .. "</p>" end
    for _, entry in ipairs(group.entries) do out[#out + 1] = name_section(entry) end
    out[#out + 1] = "</div>"
  end
  return ("<h1>Every name</h1>\n<p>%s</p>\n%s\n%s"):format(table.concat(links, " "), filter,
    table.concat(out, "\n"))
end

-- ---- all of it ---------------------------------------------------------------------------------

--- Writes the pages into a folder that is there. Returns the path of the first page, and whether
--- the guides could be rendered.
function html.write(dir)
  local index, whole = { "<h1>moonlab</h1><p>A laboratory for the science of deep learning at "
    .. "small scale.</p><h2>Guides</h2><ul>" }, true
  for _, guide in ipairs(guides()) do
    local body, good = rendered(guide.path)
    whole = whole and good
    core.write_file(("%s/%s.html"):format(dir, guide.name), page(guide.title, body))
    index[#index + 1] = ("<li><a href=\"%s.html\">%s</a></li>"):format(escape(guide.name),
      escape(guide.title))
  end
  index[#index + 1] = "</ul><h2>Recipes</h2><ul>"
  local sections = { "<h1>Recipes</h1>" }
  for _, name in ipairs(catalogue.names()) do
    sections[#sections + 1] = recipe_section(name)
    local r = catalogue.load(name)
    index[#index + 1] = ("<li><a href=\"recipes.html#%s\">%s</a> %s</li>"):format(escape(name),
      escape(name), escape(r and r.question or ""))
  end
  core.write_file(dir .. "/recipes.html", page("recipes", table.concat(sections, "\n")))
  core.write_file(dir .. "/api.html", page("every name", names_of_groups()))
  index[#index + 1] = ("</ul><h2><a href=\"api.html\">Every name</a></h2><p>%d entries.</p>")
    :format(#help.all())
  core.write_file(dir .. "/index.html", page("documentation", table.concat(index, "\n")))
  return dir .. "/index.html", whole
end

return html
