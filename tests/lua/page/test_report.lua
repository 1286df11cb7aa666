-- ./moonlab report: whole, self-contained, and safe whatever the runs hold.
local ml = require "moonlab"
local check = require "check"
local program = require "program"
local stores = require "stores"
local T = {}

local function data_of(html)
  local text = html:match '<script type="application/json" id="data">(.-)</script>'
  check.is_true(text ~= nil)
  return ml.json.decode(text), text
end

local function count(text, part)
  local n, at = 0, 1
  while true do
    at = text:find(part, at, true)
    if not at then return n end
    n, at = n + 1, at + #part
  end
end

function T.test_a_report_holds_all_of_a_run() -- property
  check.in_folder(function(dir)
    stores.make(dir .. "/runs", 3)
    local text, status = program.run(dir, "report demo-0001")
    check.equal(status, 0)
    program.has(text, "report-demo-0001.html")
    local html = program.read(dir .. "/report-demo-0001.html")
    check.is_nil(html:find 'src="http')
    check.is_nil(html:find "@import")
    program.has(html, "default-src 'none'")
    local data = data_of(html)
    local run = data.runs[1]
    check.equal(run.detail.state, "done")
    check.equal(run.detail.claims[1].verdict, "not shown")
    check.equal(run.curves.curves[1].name, "loss")
    check.equal(#run.curves.curves[1].buckets, 30)
    check.equal(run.detail.reproduce.command, "./moonlab run demo lr=0.1 width=32 --seed 1")
    check.equal(run.detail.results.rows, { { "final", "1" } })
  end)
end

function T.test_several_runs_side_by_side() -- property
  check.in_folder(function(dir)
    stores.make(dir .. "/runs", 3)
    local _, status = program.run(dir, "report demo-0001 demo-0002 demo-0003 --file all.html")
    check.equal(status, 0)
    local data = data_of(program.read(dir .. "/all.html"))
    check.equal(#data.runs, 3)
    check.equal(data.difference.names, { "demo-0001", "demo-0002", "demo-0003" })
    check.equal(data.difference.rows[2], { "lr", "0.1", "0.01", "0.001" })
  end)
end

function T.test_many_runs_are_a_table() -- property
  check.in_folder(function(dir)
    stores.make(dir .. "/runs", 21)
    local words = {}
    for i = 1, 21 do words[i] = ("demo-%04d"):format(i) end
    local _, status = program.run(dir, "report --file many.html " .. table.concat(words, " "))
    check.equal(status, 0)
    local html = program.read(dir .. "/many.html")
    check.equal(count(html, "<script"), 5) -- the data, the chart library, three of ours
    local data = data_of(html)
    check.is_nil(data.runs)
    check.equal(#data.rows, 21)
    check.equal(data.rows[3].id, "demo-0003")
    check.equal(data.rows[3].params.width, 16)
    check.equal(data.rows[3].claims, "0 of 1 shown")
    check.equal(data.rows[3].values.final, 3)
    check.equal(data.curves[3].curves[1].name, "loss")
    check.equal(data.curves[3].curves[1].count, 30)
  end)
end

function T.test_a_hostile_run_stays_text() -- property
  check.in_folder(function(dir)
    stores.hostile(dir .. "/runs")
    local _, status = program.run(dir, "report hostile")
    check.equal(status, 0)
    local html = program.read(dir .. "/report-hostile.html")
    check.equal(count(html, "<script"), 4) -- the data, the chart library, two of ours
    check.equal(count(html, "OWNED"), count(html, [[document.title=\"OWNED\"]]))
    check.is_nil(html:find("onload=", 1, true)) -- figures are images in base64
    local data, text = data_of(html)
    check.is_nil(text:find "[<>&]")
    check.equal(data.runs[1].detail.message, stores.evil)
    check.equal(#data.runs[1].detail.figures, 2)
    for _, source in pairs(data.runs[1].figures) do
      check.equal(source:sub(1, 26), "data:image/svg+xml;base64,")
    end
  end)
end

function T.test_bad_input_is_told() -- property
  check.in_folder(function(dir)
    stores.make(dir .. "/runs", 2)
    for words, wanted in pairs { [""] = "report of which run?", ["nothing"] = "no run is called",
      ["demo"] = "2 runs begin with", ["--wrong"] = "unknown word '--wrong'",
      ["demo-0001 --file no/such/folder.html"] = "no/such" } do
      local text, status = program.run(dir, "report " .. words)
      check.is_true(status ~= 0)
      program.has(text, wanted)
      check.is_nil(text:find "traceback")
    end
    check.equal(select(2, program.run(dir, "report demo-0002")), 0) -- no metrics
  end)
end

function T.test_base64_is_that_of_the_standard() -- analytic: RFC 4648, section 10
  local base64 = require("moonlab.page.assets").base64
  for text, wanted in pairs { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==",
    fooba = "Zm9vYmE=", foobar = "Zm9vYmFy", ["\0\255\254"] = "AP/+" } do
    check.equal(base64(text), wanted)
  end
end

return T
