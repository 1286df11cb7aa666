-- ./moonlab serve: what its addresses answer, and what they refuse.
local ml = require "moonlab"
local check = require "check"
local program = require "program"
local serve = require "moonlab.serve"
local store_view = require "moonlab.page.store"
local stores = require "stores"
local T = {}

local function get(view, target)
  local status, body, headers = serve.answer(view, target)
  check.is_true(headers["Content-Security-Policy"]:find("default-src 'none'", 1, true) ~= nil)
  check.equal(headers["X-Content-Type-Options"], "nosniff")
  if headers["Content-Type"] == "application/json" then return status, ml.json.decode(body) end
  return status, body, headers
end

local function again(view) view.looked = -math.huge end

function T.test_rows_are_told_when_they_change() -- property
  check.in_folder(function(dir)
    stores.make(dir, 3)
    local view = store_view.new(dir)
    local _, a = get(view, "/api/runs?since=")
    check.is_true(a.full)
    check.equal(#a.rows, 3)
    again(view)
    local _, b = get(view, "/api/runs?since=" .. a.version)
    check.is_false(b.full)
    check.equal(#b.rows, 0)
    local run = ml.runs.create { store = dir, id = "live", recipe = "demo", params = {} }
    run:log { step = 4, loss = 0.5 }
    again(view)
    local _, c = get(view, "/api/runs?since=" .. a.version)
    check.equal(#c.rows, 1)
    check.equal(c.rows[1].state, "running")
    check.equal(c.rows[1].values, { loss = 0.5 })
    run:log { step = 5, loss = 0.25 }
    again(view)
    local _, d = get(view, "/api/runs?since=" .. c.version)
    check.equal(d.rows[1].step, 5)
    run:finish "done"
    ml.runs.delete("live", { store = dir })
    again(view)
    local _, e = get(view, "/api/runs?since=" .. d.version)
    check.equal(e.gone, { "live" })
    check.equal(get(view, "/api/run?id=live"), 404)
    check.equal(get(view, "/api/curves?id=live"), 404)
    local _, f = get(view, "/api/runs?since=0123.7") -- of another server
    check.is_true(f.full)
  end)
end

function T.test_a_run_its_curves_and_a_comparison() -- property
  check.in_folder(function(dir)
    stores.make(dir, 3)
    local view = store_view.new(dir)
    local _, run = get(view, "/api/run?id=demo-0001")
    check.equal(run.claims[1].name, "falls")
    local _, curves = get(view, "/api/curves?id=demo-0001&generation=0&line=0")
    check.equal(#curves.curves[1].buckets, 30)
    check.equal(get(view, "/api/curves?id=demo-0002"), 200) -- has no metrics
    local _, both = get(view, "/api/compare?ids=demo-0001,demo-0002,not-there")
    check.equal(both.names, { "demo-0001", "demo-0002" })
    check.equal(both.claims, { { "falls", "not shown", "shown" } })
  end)
end

function T.test_no_way_out_of_the_store() -- property
  check.in_folder(function(dir)
    stores.make(dir .. "/runs", 1)
    program.write(dir .. "/secret.svg", "secret")
    program.write(dir .. "/config.json", "{}")
    local view = store_view.new(dir .. "/runs")
    for _, target in ipairs { "/../secret.svg", "/%2e%2e/secret.svg", "//etc/passwd",
      "/page.css/..", "/live.html",
      "/figure?id=..&name=secret.svg", "/figure?id=demo-0001&name=../../secret.svg",
      "/figure?id=demo-0001&name=..%2f..%2fsecret.svg", "/figure?id=demo-0001&name=config.json",
      "/figure?id=demo-0001/..&name=secret.svg", "/figure?id=demo-0001&name=%00", "/figure",
      "/api/run?id=..", "/api/run?id=%2e%2e", "/api/run?id=", "/api/run", "/api/curves?id=../runs",
      "/api/run?id=nothing", "/api" } do
      local status, body = get(view, target)
      check.equal({ target, status }, { target, 404 })
      check.is_nil(body:find "secret")
    end
  end)
end

function T.test_a_hostile_run_is_data() -- property
  check.in_folder(function(dir)
    stores.hostile(dir)
    local view = store_view.new(dir)
    local _, all = get(view, "/api/runs")
    check.equal(all.rows[1].recipe, stores.evil)
    local _, run = get(view, "/api/run?id=hostile")
    check.equal(run.message, stores.evil)
    check.equal(#run.claims, 1) -- a verdict that is none of ours is no claim
    for _, name in ipairs(run.figures) do
      local status, _, headers = get(view, "/figure?id=hostile&name=" .. name:gsub("[^%w]",
        function(c) return ("%%%02X"):format(c:byte()) end))
      check.equal(status, 200)
      program.has(headers["Content-Security-Policy"], "sandbox")
    end
  end)
end

function T.test_sweeps_list_their_points() -- property
  check.in_folder(function(dir)
    stores.make(dir, 2)
    ml.system.make_dirs(dir .. "/sweeps/demo-1")
    program.write(dir .. "/sweeps/demo-1/sweep.json", '{"definition":{"objective":"final"}}')
    program.write(dir .. "/sweeps/demo-1/table.csv", "id,state\ndemo-0001,done\n")
    program.write(dir .. "/sweeps/demo-1/queue-1.jsonl", '{"recipe":"demo"}\n{"id":"demo-0002"}\n'
      .. '{"id":"../x"}\nnonsense\n')
    ml.system.make_dirs(dir .. "/sweeps/empty")
    local _, all = get(store_view.new(dir), "/api/runs")
    check.equal(#all.sweeps, 2)
    table.sort(all.sweeps[1].ids)
    check.equal(all.sweeps[1].ids, { "demo-0001", "demo-0002" })
    check.equal(all.sweeps[1].objective, "final")
  end)
end

-- The server as a program, asked over a socket.
function T.test_the_command() -- property
  check.in_folder(function(dir)
    stores.make(dir .. "/runs", 1)
    local child = assert(ml.system.spawn { program.path, "serve", "--out", "runs", dir = dir,
      stdout = "pipe", stderr = "stdout", group = true })
    local text = ""
    while not text:find "http://127.0.0.1:%d+\n" do
      local part = child:read(20)
      if not part then check.fail("serve says: " .. text) end
      text = text .. part
    end
    local port = text:match "http://127.0.0.1:(%d+)\n"
    local function ask(request)
      local pipe = io.popen(("bash -c 'exec 3<>/dev/tcp/127.0.0.1/%s; printf \"%s\" >&3; cat <&3'")
        :format(port, request:gsub("\r\n", "\\r\\n")))
      local answer = pipe:read "a"
      pipe:close()
      return answer
    end
    local own = "\r\nHost: 127.0.0.1:" .. port .. "\r\nConnection: close\r\n\r\n"
    program.has(ask("GET / HTTP/1.1" .. own), "<title>moonlab</title>")
    program.has(ask("GET /api/runs HTTP/1.1" .. own), "demo-0001")
    program.has(ask("GET /nothing HTTP/1.1" .. own), "HTTP/1.1 404")
    program.has(ask("POST / HTTP/1.1" .. own), "HTTP/1.1 405")
    program.has(ask("GET / HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n"), "HTTP/1.1 403")
    -- a second one on its port
    local other, status = program.run(dir, "serve --port " .. port)
    check.equal(status, 1)
    program.has(other, "in use")
    child:kill "int"
    local how, code = child:wait(20)
    check.equal({ how, code }, { "exit", 0 })
    child:close()
    for words, wanted in pairs { ["--port"] = "--port needs a number", ["--port x"] = "--port x",
      ["--port 70000"] = "0 to 65535", ["word"] = "unknown word 'word'" } do
      local said, result = program.run(dir, "serve " .. words)
      check.equal(result, 2)
      program.has(said, wanted)
    end
  end)
end

return T
