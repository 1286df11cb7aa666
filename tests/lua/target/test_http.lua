-- A model behind HTTP: against a lab model served by this program, and against a server that
-- behaves badly on purpose.
local ml = require "moonlab"
local check = require "check"
local program = require "program"
local http = require "moonlab.target.http"
local T = {}

-- Starts a program that prints an address first; calls f(address) and ends it.
local function with_server(words, f)
  words.stdout, words.stderr = "pipe", "stdout"
  local child, text = assert(ml.system.spawn(words)), ""
  local until_ = ml.now() + 30
  while not text:find "http://[%d.:]+\n" and ml.now() < until_ do
    text = text .. (child:read(0.1) or "")
  end
  local ok, why = pcall(f, text:match "(http://[%d.:]+)")
  child:kill "kill"
  child:wait(5)
  child:close()
  if not ok then error(why, 0) end
end

-- Answers by what the prompt says, and writes each request into a file.
local script = [[
local core = require "moonlab.core"
local log = io.open("asked.txt", "a")
local server = assert(core.system.http { most_body = 1 << 20 })
print(("http://127.0.0.1:%d"):format(server:port()))
io.stdout:flush()
local seen = {}
local function good(text, n, logprobs)
  local choices = {}
  for i = 1, n or 1 do choices[i] = { index = i - 1, text = text, finish_reason = "stop",
    logprobs = logprobs } end
  return core.json.encode { choices = choices,
    usage = { prompt_tokens = 3, completion_tokens = n or 1 } }
end
while true do
  local target, body = server:next(1)
  if target then
    local asked = core.json.decode(body)
    local p = asked.prompt or asked.messages[1].content
    seen[p] = (seen[p] or 0) + 1
    log:write(p, "\n")
    log:flush()
    if p:find "^busy" and seen[p] <= 2 then
      server:answer(seen[p] == 1 and 429 or 503, "later",
        seen[p] == 1 and { ["Retry-After"] = "0" } or nil)
    elseif p:find "^wait" then server:answer(429, "later", { ["Retry-After"] = "100000" })
    elseif p:find "^half" then server:answer(200, '{"choices":[{"te')
    elseif p:find "^lies" then server:answer(200, "<html>hello</html>")
    elseif p:find "^none" then server:answer(200, '{"choices":[]}')
    elseif p:find "^blank" then server:answer(200, '{"choices":[{"index":0}]}')
    elseif p:find "^moved" then server:answer(302, "", { Location = "http://127.0.0.1:1/" })
    elseif p:find "^key" then server:answer(401, "no such key: planted-key-123\n")
    elseif p:find "^large" then server:answer(200, ("x"):rep(100000))
    elseif p:find "^slow" then
      core.system.sleep(0.03)
      server:answer(200, good("seven"))
    elseif p:find "^plain" or p:find "^2 plus" then server:answer(200, good(" 7", asked.n))
    else server:answer(200, good("ok", asked.n)) end
  end
end
]]

local function in_bad_company(f)
  check.in_folder(function(dir)
    program.write(dir .. "/server.lua", script)
    with_server({ program.path, "server.lua", dir = dir }, function(address)
      f(address, dir, function(more)
        local o = { base_url = address .. "/v1", model = "m", backoff = 0.01, retries = 3 }
        for name, value in pairs(more or {}) do o[name] = value end
        return ml.target.http(o)
      end)
    end)
  end)
end

local function asked(dir)
  local list, counts = {}, {}
  for line in program.read(dir .. "/asked.txt"):gmatch "[^\n]+" do
    list[#list + 1] = line
    counts[line] = (counts[line] or 0) + 1
  end
  return list, counts
end

function T.test_a_lab_attacks_another_over_http() -- golden: the same model in this process
  if not ml.target.http { base_url = "http://127.0.0.1:1/v1", model = "m" } then return end
  check.in_folder(function(dir)
    local text = ml.attack.corpus {}
    local lm = ml.transformer { vocab = text.vocab, context = 88, depth = 1, width = 16, heads = 2,
      seed = 5 }
    lm:save(dir .. "/m.safetensors")
    ml.tokenizer.words(text.words):save(dir .. "/m.tokenizer.json")
    local here = ml.attack.target(lm, text)
    with_server({ program.path, "serve", "--openai", dir .. "/m.safetensors" }, function(address)
      for _, chat in ipairs { false, true } do
        local there = ml.target.http { base_url = address .. "/v1", model = "m", chat = chat,
          top_logprobs = 20 }
        local prompts = { "<bos> Bob : what is 3 plus 4 ? Alice :", "hello friend ." }
        check.is_true(there:probe().logprobs)
        local answers = {}
        for i = 0, 20 do answers[i + 1] = ("%d"):format(i) end
        local a, b = here:answer_dist(prompts, answers), there:answer_dist(prompts, answers)
        local told = 0
        for i in ipairs(prompts) do
          for _, answer in ipairs(answers) do -- only the likeliest twenty tokens are told
            if b[i].p[answer] > 0 then
              told = told + 1
              check.close(b[i].p[answer], a[i].p[answer], { atol = 1e-5 })
            end
          end
        end
        check.is_true(told > 0)
        local mine = here:complete(prompts, { greedy = true, max_tokens = 6, stop = {} })
        local theirs = there:complete(prompts, { greedy = true, max_tokens = 6 })
        for i in ipairs(prompts) do check.equal(theirs[i][1].text, mine[i][1].text) end
        check.raises("not in the vocabulary", there.complete, there, { "seventy" })
        there:close()
      end
      local r = ml.attack.measure(ml.target.http { base_url = address .. "/v1", model = "m" },
        { "{x} plus {y} is {z} ." }, ml.attack.problems().search)
      check.is_true(r[1].error > 0.5)
    end)
  end)
end

function T.test_bad_servers_give_clear_errors()
  if not ml.target.http { base_url = "http://127.0.0.1:1/v1", model = "m" } then return end
  in_bad_company(function(_, dir, new)
    local target = new()
    check.equal(target:complete({ "busy" })[1][1].text, "ok")
    local _, counts = asked(dir)
    check.equal(counts.busy, 3)
    for prompt, message in pairs { wait = "asks to wait 100000 s", half = "is not JSON",
      lies = "is not JSON: <html>", none = "no choices in it", blank = "choice 1 has no text",
      moved = "redirects %(HTTP 302%)" } do
      check.raises(message:gsub("%%", ""), target.complete, target, { prompt })
    end
    check.raises("more than 1000 bytes", function()
      new { most_bytes = 1000, retries = 0 }:complete { "large" }
    end)
    check.raises("2 times: Failed to connect", function()
      new { base_url = "http://127.0.0.1:1", retries = 1 }:complete { "a" }
    end)
    check.raises("the cap of max_requests", function()
      new { max_requests = 2, concurrency = 1 }:complete { "a", "b", "c" }
    end)
    check.raises("the cap of max_total_tokens is 5", function()
      new { max_total_tokens = 5, concurrency = 1 }:complete { "d", "e", "f" }
    end)
    check.raises("without a password", new, { base_url = "http://a:b@c/v1" })
    check.raises("not UTF-8", target.complete, target, { "\255" })
  end)
end

function T.test_without_logprobs_it_samples_and_says_how_sure_it_is() -- analytic
  if not ml.target.http { base_url = "http://127.0.0.1:1/v1", model = "m" } then return end
  in_bad_company(function(_, _, new)
    local d = new():answer_dist({ "plain" }, { "7", "8" }, { samples = 6 })[1]
    check.close(d.p["7"], 1, { rtol = 1e-12 })
    check.equal(d.n, 6)
    local low, high = ml.stats.wilson(6, 6)
    check.close(d.low["7"], low, { rtol = 1e-12 })
    check.close(d.high["7"], high, { rtol = 1e-12 })
  end)
end

function T.test_a_killed_run_pays_nothing_twice() -- property
  if not ml.target.http { base_url = "http://127.0.0.1:1/v1", model = "m" } then return end
  in_bad_company(function(address, dir)
    program.write(dir .. "/ask.lua", ([[
      local ml = require "moonlab"
      local t = ml.target.http { base_url = "%s/v1", model = "m", cache = "cache.jsonl",
        concurrency = 1 }
      local prompts = {}
      for i = 1, 40 do prompts[i] = "slow " .. i end
      local out = t:complete(prompts)
      assert(#out == 40 and out[40][1].text == "seven")
      io.write("done ", t.usage.cached)
    ]]):format(address))
    local child = assert(ml.system.spawn { program.path, "ask.lua", dir = dir, stdout = "null" })
    ml.system.sleep(0.6)
    child:kill "kill"
    child:wait(5)
    local first = asked(dir)
    check.is_true(#first > 2 and #first < 40)
    -- a torn end, as a power cut leaves it
    local file = io.open(dir .. "/cache.jsonl", "a")
    file:write '{"request":"/completions {'
    file:close()
    check.equal(program.run(dir, "ask.lua"):match "^done", "done")
    local all, counts = asked(dir)
    check.is_true(#all <= 41) -- what was on its way when it was killed
    for i = 1, 40 do check.is_true(counts["slow " .. i] >= 1) end
    check.equal((program.run(dir, "ask.lua")), "done 40")
    check.equal(#asked(dir), #all)
  end)
end

function T.test_the_key_is_nowhere()
  if not ml.target.http { base_url = "http://127.0.0.1:1/v1", model = "m" } then return end
  in_bad_company(function(address, dir)
    program.write(dir .. "/ask.lua", ([[
      local ml = require "moonlab"
      local t = ml.target.http { base_url = "%s/v1", model = "m", key_env = "PLANTED",
        cache = "cache.jsonl", retries = 0 }
      t:complete { "fine" }
      print(t, pcall(t.complete, t, { "key" }))
      for name, value in pairs(t) do print(name, value) end
      t:complete { "key" }
    ]]):format(address))
    local pipe = io.popen(("cd '%s' && PLANTED=planted-key-123 %s ask.lua 2>&1"):format(dir,
      program.word))
    local text = pipe:read "a"
    pipe:close()
    program.has(text, "HTTP 401")
    program.has(text, "[key]")
    check.is_true(not (text .. program.read(dir .. "/cache.jsonl")):find("planted-key", 1, true))
    check.raises("is not set", ml.target.http, { base_url = address, model = "m",
      key_env = "NOT_SET_ANYWHERE" })
  end)
end

function T.test_retry_after() -- golden: RFC 9110's example, by date -u
  check.equal(http.retry_after("120", 0), 120)
  check.equal(http.retry_after("Fri, 31 Dec 1999 23:59:59 GMT", 946684700), 99)
  check.equal(http.retry_after("Fri, 31 Dec 1999 23:59:59 GMT", 946684900), 0)
  check.is_true(http.retry_after("soon", 0) == nil)
end

return T
