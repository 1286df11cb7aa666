-- The pages in a real browser (Debian: chromium): curves are drawn, nothing is complained of, no
-- script of a run is run. Skipped, and said so, where there is no chromium.
local ml = require "moonlab"
local check = require "check"
local report = require "moonlab.report"
local serve = require "moonlab.serve"
local store_view = require "moonlab.page.store"
local stores = require "stores"

if not os.execute "command -v chromium >/dev/null 2>&1" then
  print "skipped: chromium is not installed"
  os.exit(77)
end

local T = {}

-- Tells in the title how many charts have pixels of a curve, once the page has settled: more than
-- the greys of its grid.
local probe = [[
setTimeout(() => {
  let drawn = 0;
  const charts = document.querySelectorAll(".chart .plot");
  for (const chart of charts) {
    let coloured = 0;
    for (const canvas of chart.querySelectorAll("canvas")) {
      const d = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      for (let i = 0; i < d.length; i += 4) {
        const [r, g, b, a] = d.slice(i, i + 4);
        if (a > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60) coloured++;
      }
    }
    if (coloured > 50) drawn++;
  }
  const root = document.documentElement, wide = root.scrollWidth - root.clientWidth;
  document.body.setAttribute("data-probe",
    `${drawn} of ${charts.length} drawn, ${wide} too wide, ` +
    (document.title === "OWNED" ? "owned" : "whole"));
}, 6000);
]]

-- What the page looks like after some seconds of its own time, and what the console said.
-- meanwhile() is called until the browser has ended.
local function browse(dir, url, width, meanwhile)
  local words = { "chromium", "--headless=new", "--disable-gpu", "--enable-logging=stderr",
    "--disable-extensions", "--no-first-run", "--disable-dev-shm-usage",
    "--user-data-dir=" .. dir .. "/profile", "--window-size=" .. width .. ",1200",
    "--virtual-time-budget=12000", "--dump-dom", url,
    stdout = ">" .. dir .. "/dom.html", stderr = ">" .. dir .. "/console.txt", group = true }
  if io.popen("id -u"):read "n" == 0 then table.insert(words, 2, "--no-sandbox") end
  local child = assert(ml.system.spawn(words))
  local until_when = ml.now() + 100
  while not child:wait(0) and ml.now() < until_when do meanwhile() end
  if not child:wait(0) then child:kill "kill" end
  child:wait(5)
  child:close()
  local function read(name)
    local file = assert(io.open(dir .. "/" .. name))
    local text = file:read "a"
    file:close()
    return text
  end
  local complaints = {}
  for line in read("console.txt"):gmatch "[^\n]*CONSOLE[^\n]*" do
    complaints[#complaints + 1] = line
  end
  return read "dom.html", table.concat(complaints, "\n")
end

local function check_page(dom, complaints, least)
  check.equal(complaints, "")
  local drawn, charts, wide, word =
    dom:match 'data%-probe="(%d+) of (%d+) drawn, (%-?%d+) too wide, (%a+)"'
  if not drawn then check.fail("the page did not come to its end:\n" .. dom:sub(1, 2000)) end
  check.equal(word, "whole")
  check.equal(wide, "0")
  check.is_true(tonumber(drawn) >= least)
  check.equal(drawn, charts)
end

local function check_report(dir, list, width, least)
  local html = assert(report.html(list))
  local nonce = html:match '<script nonce="([^"]+)"'
  html = html:gsub("</body>", function()
    return ('<script nonce="%s">%s</script></body>'):format(nonce, probe)
  end)
  ml.write_file(dir .. "/report.html", html)
  local dom, complaints = browse(dir, "file://" .. dir .. "/report.html", width,
    function() ml.system.sleep(0.05) end)
  check_page(dom, complaints, least)
  return dom
end

-- The live page of a store at an address, with the probe in it.
local function check_live(dir, store, hash, width, least, meanwhile)
  local server = assert(ml.system.http {})
  local view = store_view.new(store)
  local dom, complaints = browse(dir, ("http://127.0.0.1:%d/%s"):format(server:port(), hash), width,
    function()
      local target = server:next(0.1)
      if meanwhile then meanwhile() end
      if not target then return end
      local status, body, headers = serve.answer(view, target)
      if target == "/" then
        body = body:gsub("</head>", '<script src="/probe.js" defer></script></head>')
      elseif target == "/probe.js" then
        status, body = 200, probe
        headers["Content-Type"] = "text/javascript"
      end
      server:answer(status, body, headers)
    end)
  server:close()
  check_page(dom, complaints, least)
  return dom
end

local function has(dom, text)
  if not dom:find(text, 1, true) then check.fail(text .. " is not on the page") end
end

function T.test_reports() -- property
  check.in_folder(function(dir)
    stores.make(dir .. "/runs", 3)
    local list = {}
    for i = 1, 3 do list[i] = ml.runs.open(("demo-%04d"):format(i), { store = dir .. "/runs" }) end
    has(check_report(dir, { list[1] }, 1200, 1), "not shown")
    has(check_report(dir, list, 500, 1), "What differs")
    has(check_report(dir, { list[2] }, 1200, 0), "Claims") -- no metrics: no chart
    stores.make(dir .. "/more", 1000)
    stores.hostile(dir .. "/more")
    list[1] = ml.runs.open("hostile", { store = dir .. "/more" })
    for i = 1, 1000 do
      list[i + 1] = ml.runs.open(("demo-%04d"):format(i), { store = dir .. "/more" })
      if i == 19 then has(check_report(dir, list, 1200, 1), "20 runs") end
    end
    has(check_report(dir, list, 1200, 1), "1001 runs")
  end)
end

function T.test_hostile_runs_run_nothing() -- property
  check.in_folder(function(dir)
    stores.hostile(dir .. "/runs")
    local run = ml.runs.open("hostile", { store = dir .. "/runs" })
    check_report(dir, { run }, 1200, 2)
    check_live(dir, dir .. "/runs", "", 1200, 2)
    check_live(dir, dir .. "/runs", "#run=hostile", 500, 2)
  end)
end

function T.test_live_pages() -- property
  check.in_folder(function(dir)
    for _, n in ipairs { 1, 20, 1000 } do
      local store = ("%s/runs-%d"):format(dir, n)
      stores.make(store, n)
      local dom = check_live(dir, store, "", n == 20 and 500 or 1200, 1)
      has(dom, n == 1 and "1 run" or n .. " runs")
    end
    local store = dir .. "/runs-20"
    has(check_live(dir, store, "#run=demo-0003", 500, 1), "How to reproduce")
    has(check_live(dir, store, "#compare=demo-0001,demo-0003", 1200, 1), "comparing 2 runs")
    has(check_live(dir, store, "#run=not-there", 1200, 0), "not there any more")
  end)
end

function T.test_a_run_is_followed_until_it_is_deleted() -- property
  check.in_folder(function(dir)
    local store = dir .. "/runs"
    local run = ml.runs.create { store = store, id = "going", recipe = "demo", params = {} }
    local step = 0
    local dom = check_live(dir, store, "#run=going", 1200, 1, function()
      step = step + 1
      if step < 60 then run:log { step = step, loss = 1 / step } end
    end)
    has(dom, "running")
    run:finish "done"
    ml.runs.delete("going", { store = store })
    check_live(dir, store, "#run=going", 1200, 0)
  end)
end

return T
