--- ./moonlab serve: a page in the browser of this machine that follows the runs of a store.
local core = require "moonlab.core"
local assets = require "moonlab.page.assets"
local interrupt = require "moonlab.interrupt"
local store_view = require "moonlab.page.store"

local serve = {}

local usage_text = [[
usage: ./moonlab serve [--port N] [--out DIR] [--openai MODEL]
       shows the runs of a store in the browser of this machine, as they go: curves, table,
       comparisons, claims, figures; Ctrl-C ends it
       --port N listens there, else on a free port; --out DIR shows another store than MOONLAB_RUNS
       or ./runs
       --openai MODEL serves a decoder (a .safetensors file, its tokenizer beside it) to programs of
       this machine instead, at /v1/models, /v1/completions and /v1/chat/completions]]

local policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
  .. "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
-- a figure that is opened by itself must not run what stands in it
local figure_policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"

local icon = [[<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#1f5fa8" ]]
  .. [[d="M10.5 1.2A7 7 0 1 0 14.8 10 5.6 5.6 0 0 1 10.5 1.2z"/></svg>]]

local function headers(kind, csp)
  return { ["Content-Type"] = kind, ["Content-Security-Policy"] = csp or policy,
    ["X-Content-Type-Options"] = "nosniff", ["Referrer-Policy"] = "no-referrer",
    ["Cross-Origin-Resource-Policy"] = "same-origin", ["X-Frame-Options"] = "DENY",
    ["Cache-Control"] = "no-store" }
end

local function plain(status, text)
  return status, text .. "\n", headers "text/plain; charset=utf-8"
end

local function json(value)
  if value == nil then return plain(404, "not here") end
  local text = type(value) == "string" and value
    or core.json.encode(value, { nan = "string", invalid = "replace" })
  return 200, text, headers "application/json"
end

-- ---- addresses --------------------------------------------------------------------------------

local files = {
  ["/"] = { "live.html", "text/html; charset=utf-8" },
  ["/page.css"] = { "page.css", "text/css; charset=utf-8" },
  ["/common.js"] = { "common.js", "text/javascript; charset=utf-8" },
  ["/runs.js"] = { "runs.js", "text/javascript; charset=utf-8" },
  ["/live.js"] = { "live.js", "text/javascript; charset=utf-8" },
}

local places = {}

places["/api/runs"] = function(view, query) return json(view:runs(query.since)) end
places["/api/run"] = function(view, query) return json(view:run(query.id)) end
places["/api/compare"] = function(view, query) return json(view:compare(query.ids)) end
places["/api/curves"] = function(view, query)
  return json(view:curves(query.id, math.tointeger(tonumber(query.generation)),
    math.tointeger(tonumber(query.line))))
end
places["/figure"] = function(view, query)
  local text = view:figure(query.id, query.name)
  if not text then return plain(404, "not here") end
  return 200, text, headers("image/svg+xml", figure_policy)
end
places["/icon.svg"] = function() return 200, icon, headers("image/svg+xml", figure_policy) end

local function decode(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

-- The path, which is compared as it is, and the query by name.
local function parse(target)
  local path, rest = target:match "^([^?]*)%??(.*)$"
  local query = {}
  for name, value in rest:gmatch "([%w_]+)=([^&]*)" do query[name] = decode(value) end
  return path, query
end

--- The answer to a path with query: status, body, headers.
function serve.answer(view, target)
  local path, query = parse(target)
  if files[path] then
    return 200, assets.read(files[path][1]), headers(files[path][2])
  elseif path == "/chart.js" then
    return 200, assets.chart(), headers "text/javascript; charset=utf-8"
  elseif places[path] then
    return places[path](view, query)
  end
  return plain(404, "nothing is here")
end

-- ---- the command ------------------------------------------------------------------------------

local function complain(status, ...)
  io.stderr:write("moonlab: ", string.format(...), "\n")
  return status
end

local function read_words(words)
  local o, i = { port = 0 }, 1
  while words[i] do
    local word = words[i]
    if word == "--port" or word == "--out" or word == "--openai" then
      i = i + 1
      local value = words[i]
      if not value or value == "" then
        return nil, ("%s needs a %s"):format(word, word == "--port" and "number"
          or word == "--out" and "folder" or "model")
      end
      if word == "--out" then
        o.store = value
      elseif word == "--openai" then
        o.model = value
      else
        o.port = value:match "^%d+$" and math.tointeger(tonumber(value))
        if not o.port or o.port > 65535 then
          return nil, ("--port %s: wanted a number of 0 to 65535"):format(value)
        end
      end
    elseif word ~= "--yes" then
      return nil, ("unknown word '%s'"):format(word)
    end
    i = i + 1
  end
  return o
end

local api_headers = { ["Content-Type"] = "application/json", ["Cache-Control"] = "no-store",
  ["X-Content-Type-Options"] = "nosniff" }

-- The same for programs that ask a model.
local function model_turn(server, model)
  local openai = require "moonlab.openai"
  local target, body = server:next(1)
  if not target then return end
  local ok, message = pcall(function()
    local status, text = openai.answer(model, target:match "^[^?]*", body)
    server:answer(status, text, api_headers)
  end)
  if ok then return end
  if interrupt.is(message) then error(message, 0) end
  io.stderr:write(("moonlab: %s: %s\n"):format(target, tostring(message)))
  pcall(server.answer, server, 500, '{"error":{"message":"something went wrong","type":'
    .. '"server_error"}}', api_headers)
end

-- Answers one request, if one comes. What goes wrong in it is told and answered, and does not end
-- the server.
local function turn(server, view)
  local target = server:next(1)
  if not target then return end
  local function answer() server:answer(serve.answer(view, target)) end
  local ok, message = pcall(answer)
  if ok then return end
  if interrupt.is(message) then error(message, 0) end
  io.stderr:write(("moonlab: %s: %s\n"):format(target, tostring(message)))
  pcall(server.answer, server, plain(500, "something went wrong; the terminal says what"))
end

--- ./moonlab serve [words]: the result is the exit status.
function serve.command(...)
  local words = { ... }
  if words[1] == "--help" or words[1] == "-h" then
    print(usage_text)
    return 0
  end
  local o, wrong = read_words(words)
  if not o then return complain(2, "%s\n%s", wrong, usage_text) end
  local model, no_model
  if o.model then
    model, no_model = require("moonlab.openai").open(o.model)
    if not model then return complain(1, "%s", no_model) end
  end
  local chart, no_chart = assets.chart()
  if not chart and not model then return complain(1, "%s", no_chart) end
  local server, why = core.system.http { port = o.port, most_body = model and 1 << 22 or nil }
  if not server then return complain(1, "%s", why) end
  local view = not model and store_view.new(o.store or require("moonlab.runs").store())
  print(("http://127.0.0.1:%d"):format(server:port()))
  print(model and ("  answers for %s at /v1; Ctrl-C ends it"):format(model.name)
    or ("  shows %s; Ctrl-C ends it"):format(view.store))
  io.stdout:flush()
  while true do
    local ok, message = pcall(model and model_turn or turn, server, model or view)
    if not ok then
      server:close()
      if interrupt.is(message) then
        print ""
        return 0
      end
      error(message, 0)
    end
  end
end

return serve
