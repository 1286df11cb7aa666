--- A model behind an OpenAI-compatible endpoint as a target: many requests at once, with back-off,
--- caps, and a cache from which a resumed run reads what it has paid for.
local core = require "moonlab.core"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"
local stats = require "moonlab.stats"

local http = {}

local Http = {}
Http.__index = Http
Http.__name = "ml.target.http"
http.methods = Http

local RETRY = { [408] = true, [409] = true, [425] = true, [429] = true, [500] = true, [502] = true,
  [503] = true, [504] = true }

-- ---- keys, which nothing keeps ------------------------------------------------------------------

local function key_of(self)
  if not self.key_env then return nil end
  local key = os.getenv(self.key_env)
  if not key or key == "" then
    options.bad("ml.target.http", 1, "the environment variable %s is not set", self.key_env)
  end
  if key:find "[%c%s]" then
    options.bad("ml.target.http", 1, "the environment variable %s holds a space or a control "
      .. "character", self.key_env)
  end
  return key
end

-- What a server says may repeat the key.
local function hide(self, text)
  local key = self.key_env and os.getenv(self.key_env)
  if not key or key == "" then return text end
  local at, parts = 1, {}
  while true do
    local first, last = text:find(key, at, true)
    if not first then break end
    parts[#parts + 1] = text:sub(at, first - 1) .. "[key]"
    at = last + 1
  end
  return table.concat(parts) .. text:sub(at)
end

local function short(text)
  text = text:gsub("%s+", " "):gsub("[^\32-\126]", "?")
  return #text > 160 and text:sub(1, 157) .. "..." or text
end

-- ---- the cache ----------------------------------------------------------------------------------

-- The same text for the same request: keys in order.
local function canonical(value)
  if type(value) ~= "table" then return core.json.encode(value) end
  local parts = {}
  if #value > 0 or next(value) == nil then
    for i, v in ipairs(value) do parts[i] = canonical(v) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for k, v in sorted(value) do parts[#parts + 1] = core.json.encode(k) .. ":" .. canonical(v) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function load_cache(path)
  local cache, whole = {}, 0
  local file = io.open(path, "rb")
  if not file then return cache end
  for line in file:lines "L" do
    if line:sub(-1) ~= "\n" then break end -- torn
    local ok, entry = pcall(core.json.decode, line)
    if not ok or type(entry) ~= "table" or type(entry.request) ~= "string" then break end
    cache[entry.request] = entry.answer
    whole = whole + #line
  end
  local size = file:seek "end"
  file:close()
  if size > whole then -- what follows the torn end would be lost with it
    local text = assert(io.open(path, "rb")):read(whole)
    core.write_file(path, text or "")
  end
  return cache
end

local function remember(self, request, answer)
  self.cache[request] = answer
  if not self.cache_path then return end
  if not self.cache_file then
    local file, why = io.open(self.cache_path, "ab")
    if not file then options.bad("ml.target.http", 1, "cannot write the cache: %s", why) end
    self.cache_file = file
  end
  self.cache_file:write(hide(self, core.json.encode { request = request, answer = answer }), "\n")
  self.cache_file:flush()
end

-- ---- requests -----------------------------------------------------------------------------------

local months = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9,
  Oct = 10, Nov = 11, Dec = 12 }

--- Seconds to wait that a Retry-After header asks for, or nil: a number, or a date.
--- @param text string
--- @param now number seconds since 1970 in UTC
function http.retry_after(text, now)
  local seconds = text:match "^%d+%.?%d*$"
  if seconds then return tonumber(seconds) end
  local day, month, year, h, m, s = text:match("^%a+, (%d%d) (%a%a%a) (%d%d%d%d) "
    .. "(%d%d):(%d%d):(%d%d) GMT$")
  if not day or not months[month] then return nil end
  -- days since 1970 by the civil calendar
  local y, mo, d = math.tointeger(tonumber(year)), months[month], math.tointeger(tonumber(day))
  if mo <= 2 then y = y - 1 end
  local era = y // 400
  local yoe = y - era * 400
  local doy = (153 * (mo + (mo > 2 and -3 or 9)) + 2) // 5 + d - 1
  local days = era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468
  return math.max(0, days * 86400 + tonumber(h) * 3600 + tonumber(m) * 60 + tonumber(s) - now)
end

local function check_caps(self)
  if self.max_requests and self.usage.requests >= self.max_requests then
    options.bad("ml.target.http", 0, "%d requests were sent, the cap of max_requests; what came "
      .. "back is in the cache", self.usage.requests)
  end
  local tokens = self.usage.tokens_in + self.usage.tokens_out
  if self.max_total_tokens and tokens >= self.max_total_tokens then
    options.bad("ml.target.http", 0, "%d tokens were used, the cap of max_total_tokens is %d; what "
      .. "came back is in the cache", tokens, self.max_total_tokens)
  end
end

-- What a body of a good status means; or nil and what is wrong with it.
local function read_answer(self, body)
  local ok, answer = pcall(core.json.decode, body)
  if not ok or type(answer) ~= "table" then
    return nil, ("not JSON: %s"):format(short(hide(self, body)))
  end
  if type(answer.choices) ~= "table" or #answer.choices == 0 then
    return nil, ("no choices in it: %s"):format(short(hide(self, body)))
  end
  for i, choice in ipairs(answer.choices) do
    local text = type(choice) == "table" and (choice.text
      or type(choice.message) == "table" and choice.message.content)
    if type(text) ~= "string" then return nil, ("choice %d has no text"):format(i) end
  end
  return answer
end

local function count(self, answer)
  local usage = type(answer.usage) == "table" and answer.usage or {}
  local function of(name)
    local n = usage[name]
    return math.type(n) == "integer" and n >= 0 and n or 0
  end
  self.usage.tokens_in = self.usage.tokens_in + of "prompt_tokens"
  self.usage.tokens_out = self.usage.tokens_out + of "completion_tokens"
end

local function send(self, job)
  check_caps(self)
  local headers = { "Content-Type: application/json", "Expect:" }
  local key = key_of(self)
  if key then headers[#headers + 1] = "Authorization: Bearer " .. key end
  self.usage.requests = self.usage.requests + 1
  return self.fetch:start { url = self.base_url .. job.path, body = job.body, headers = headers,
    connect_seconds = self.connect_seconds, total_seconds = self.total_seconds,
    idle_seconds = self.idle_seconds, most_bytes = self.most_bytes }
end

-- The answer of a request came: true when the job is done, false when it goes again, after
-- job.at; what cannot be mended raises.
local function settle(self, job, reply)
  local why, wait
  if reply.error then
    why = hide(self, reply.error)
  elseif reply.status >= 200 and reply.status < 300 then
    local answer, wrong = read_answer(self, reply.body)
    if answer then
      count(self, answer)
      remember(self, job.request, answer)
      job.answer = answer
      return true
    end
    why = "its answer is " .. wrong
  elseif reply.status >= 300 and reply.status < 400 then
    options.bad("ml.target.http", 0, "%s redirects (HTTP %d); give the address it redirects to",
      self.base_url .. job.path, reply.status)
  elseif RETRY[reply.status] then
    why = ("HTTP %d: %s"):format(reply.status, short(hide(self, reply.body)))
    wait = reply.retry_after and http.retry_after(reply.retry_after, os.time())
  else
    options.bad("ml.target.http", 0, "%s answers HTTP %d: %s", self.base_url .. job.path,
      reply.status, short(hide(self, reply.body)))
  end
  job.tries = job.tries + 1
  if job.tries > self.retries then
    options.bad("ml.target.http", 0, "%s, %d times: %s", self.base_url .. job.path, job.tries, why)
  end
  if wait and wait > self.longest_wait then
    options.bad("ml.target.http", 0, "%s asks to wait %d s, longer than longest_wait = %g",
      self.base_url .. job.path, math.ceil(wait), self.longest_wait)
  end
  local back = math.min(self.longest_wait, self.backoff * 2 ^ (job.tries - 1))
  job.at = core.now() + (wait or back * (0.5 + 0.5 * self.jitter:uniform { 1 }:item()))
  return false
end

-- Runs jobs { path, payload }: what the cache has is not asked again. Answers are kept as they
-- come, so that an error or Ctrl-C loses none.
local function run(self, jobs)
  local waiting, flying, first = {}, {}, {}
  for _, job in ipairs(jobs) do
    job.request = job.path .. " " .. canonical(job.payload)
    job.tries, job.at = 0, 0
    if self.cache[job.request] then
      job.answer = self.cache[job.request]
      self.usage.cached = self.usage.cached + 1
    elseif not first[job.request] then
      first[job.request] = job
      job.body = core.json.encode(job.payload)
      waiting[#waiting + 1] = job
    end
  end
  local active = 0
  local ok, why = pcall(function()
    while #waiting > 0 or active > 0 do
      local soonest = math.huge
      for i = 1, #waiting do
        if active >= self.concurrency then break end
        local job = waiting[i]
        if job.at <= core.now() then
          flying[send(self, job)] = job
          active = active + 1
          waiting[i] = false
        else
          soonest = math.min(soonest, job.at - core.now())
        end
      end
      for i = #waiting, 1, -1 do
        if not waiting[i] then table.remove(waiting, i) end
      end
      if active > 0 then
        local id, reply = self.fetch:next(math.min(1, math.max(0.01, soonest)))
        if id then
          local job = flying[id]
          flying[id], active = nil, active - 1
          if not settle(self, job, reply) then waiting[#waiting + 1] = job end
        end
      elseif soonest < math.huge then
        core.system.sleep(math.min(1, math.max(0.001, soonest)))
      end
    end
  end)
  if not ok then -- what is on its way is given up
    self.fetch:close()
    self.fetch = core.system.fetch()
    error(why, 0)
  end
  for _, job in ipairs(jobs) do job.answer = job.answer or first[job.request].answer end
end

-- ---- the target ---------------------------------------------------------------------------------

local function prompts_of(where, prompts)
  options.argument(where, 1, prompts, "table")
  for i, prompt in ipairs(prompts) do
    if type(prompt) ~= "string" then
      options.bad(where, 1, "prompt %d is %s, wanted a string", i, options.describe(prompt))
    end
    if not utf8.len(prompt) then options.bad(where, 1, "prompt %d is not UTF-8", i) end
  end
end

local function payload(self, prompt, o)
  local p = { model = self.model, max_tokens = o.max_tokens or 16,
    temperature = o.greedy and 0 or o.temperature or 1, top_p = o.top_p, n = o.n, seed = o.seed,
    stop = o.stop and #o.stop > 0 and o.stop or nil }
  if self.chat then
    p.messages = { { role = "user", content = prompt } }
    if self.system then table.insert(p.messages, 1, { role = "system", content = self.system }) end
    if o.logprobs then p.logprobs, p.top_logprobs = true, o.logprobs end
  else
    p.prompt = prompt
    p.logprobs = o.logprobs
  end
  return p
end

local function path_of(self) return self.chat and "/chat/completions" or "/completions" end

local function text_of(choice) return choice.text or choice.message.content end

--- endpoint:complete(prompts, { n, temperature, top_p, greedy, max_tokens, stop, seed })
--- Continuations, as of ml.target.local_lm; the log-probabilities are nil.
--- @param prompts list of strings
--- @param opts.n integer =1 of each prompt
--- @param opts.temperature number =1 >= 0
--- @param opts.top_p number =nil in (0, 1]
--- @param opts.greedy boolean =false temperature 0
--- @param opts.max_tokens integer =16 new ones
--- @param opts.stop list of strings =none
--- @param opts.seed integer =nil for servers that take one; part of the cache's key
--- @return table list, one for each prompt, of lists of { text, tokens (nil), finish }
--- @source OpenAI's completions and chat completions
function Http:complete(prompts, opts)
  local where = "complete"
  options.check(where, opts, { "n", "temperature", "top_p", "greedy", "max_tokens", "stop",
    "seed" })
  prompts_of(where, prompts)
  local o, jobs = opts or {}, {}
  for i, prompt in ipairs(prompts) do
    jobs[i] = { path = path_of(self), payload = payload(self, prompt, { n = o.n or 1,
      top_p = o.top_p, temperature = o.temperature, greedy = o.greedy,
      max_tokens = o.max_tokens, stop = o.stop,
      seed = o.seed }) }
  end
  self.usage.prompts = self.usage.prompts + #prompts
  run(self, jobs)
  local out = {}
  for i, job in ipairs(jobs) do
    out[i] = {}
    if #job.answer.choices < (o.n or 1) then
      options.bad(where, 0, "%d choices came for n = %d; the server ignores n", #job.answer.choices,
        o.n or 1)
    end
    for j, choice in ipairs(job.answer.choices) do
      out[i][j] = { text = text_of(choice), finish = choice.finish_reason }
    end
  end
  return out
end

-- { token -> log-probability } of the first token of an answer, or nil.
local function first_token(choice)
  local l = choice.logprobs
  if type(l) ~= "table" then return nil end
  local found = {}
  if type(l.top_logprobs) == "table" and type(l.top_logprobs[1]) == "table" then
    for token, p in pairs(l.top_logprobs[1]) do
      if type(p) == "number" then found[token] = p end
    end
  elseif type(l.content) == "table" and type(l.content[1]) == "table" then
    for _, t in ipairs(l.content[1].top_logprobs or {}) do
      if type(t) == "table" and type(t.logprob) == "number" then found[t.token] = t.logprob end
    end
  end
  return next(found) and found or nil
end

local function bare(text) return (text:gsub("^%s+", ""):gsub("%s+$", "")) end

--- endpoint:answer_dist(prompts, answers, { samples, seed, max_tokens })
--- How likely each answer is: by the first token's log-probabilities where the server tells them
--- (so that answers must be tokens of its), else by samples with Wilson's intervals at 95 %.
--- Answers are compared without surrounding space; what is none of them is `other`.
--- @param prompts list of strings
--- @param answers list of strings
--- @param opts.samples integer of each prompt where probabilities are not told =the target's
--- @param opts.seed integer =1 sent with the request
--- @param opts.max_tokens integer =8 of a sample
--- @return table as of ml.target.local_lm
--- @source Wilson 1927
function Http:answer_dist(prompts, answers, opts)
  local where = "answer_dist"
  options.check(where, opts, { "samples", "seed", "max_tokens" })
  prompts_of(where, prompts)
  options.argument(where, 2, answers, "table")
  if #answers == 0 then options.bad(where, 2, "no answers, wanted at least one") end
  local o = opts or {}
  local wanted = {}
  for _, a in ipairs(answers) do wanted[bare(a)] = a end
  if self.capabilities.logprobs == nil then self:probe() end
  self.usage.prompts = self.usage.prompts + #prompts
  local jobs, by_token = {}, self.capabilities.logprobs
  for i, prompt in ipairs(prompts) do
    jobs[i] = { path = path_of(self), payload = payload(self, prompt, by_token
      and { max_tokens = 1, greedy = true, logprobs = self.top_logprobs, n = 1 }
      or { n = o.samples or self.samples, max_tokens = o.max_tokens or 8, seed = o.seed or 1,
        stop = self.stop }) }
  end
  run(self, jobs)
  local out = {}
  for i, job in ipairs(jobs) do
    local p, other = {}, 1
    for _, a in ipairs(answers) do p[a] = 0 end
    if by_token then
      for token, logp in pairs(first_token(job.answer.choices[1]) or {}) do
        local a = wanted[bare(token)]
        if a then
          p[a] = p[a] + math.exp(logp)
          other = other - math.exp(logp)
        end
      end
      out[i] = { p = p, other = math.max(0, other), exact = false }
    else
      local n, low, high = #job.answer.choices, {}, {}
      for _, choice in ipairs(job.answer.choices) do
        local a = wanted[bare(text_of(choice))]
        if a then
          p[a] = p[a] + 1 / n
          other = other - 1 / n
        end
      end
      for _, a in ipairs(answers) do
        low[a], high[a] = stats.wilson(math.floor(p[a] * n + 0.5), n)
      end
      out[i] = { p = p, other = math.max(0, other), exact = false, n = n, low = low, high = high }
    end
  end
  return out
end

--- endpoint:probe()
--- Asks one question to find out what the server can do, and raises where it cannot be used at all:
--- whether it answers, takes n, and tells log-probabilities.
--- @return table { logprobs, chat, exact = false }
--- @source -
function Http:probe()
  local job = { path = path_of(self), payload = payload(self, "2 plus 2 is", { max_tokens = 1,
    greedy = true, logprobs = self.top_logprobs, n = 1 }) }
  run(self, { job })
  self.capabilities.logprobs = first_token(job.answer.choices[1]) ~= nil
  if not self.capabilities.logprobs then
    local many = { path = path_of(self), payload = payload(self, "2 plus 2 is", { max_tokens = 1,
      n = 2 }) }
    run(self, { many })
    if #many.answer.choices ~= 2 then
      options.bad("probe", 0, "%s tells no log-probabilities and ignores n: it cannot be measured",
        self.base_url)
    end
  end
  return self.capabilities
end

--- endpoint:close()
--- Ends what is on its way and closes the cache's file.
--- @return nil
--- @source -
function Http:close()
  self.fetch:close()
  if self.cache_file then self.cache_file:close() end
  self.cache_file = nil
end

function Http:__tostring() return ("target %s at %s"):format(self.name, self.base_url) end

--- ml.target.http{ base_url, model, key_env, chat, cache, concurrency, max_requests, ... }
--- A model behind an OpenAI-compatible endpoint.
--- @param opts.base_url string such as "http://127.0.0.1:8000/v1"
--- @param opts.model string its name there
--- @param opts.key_env string =nil name of the environment variable that holds the key, which is
--- written nowhere
--- @param opts.chat boolean =false chat completions
--- @param opts.system string =nil first message of a chat
--- @param opts.cache string =nil path of a file of JSON lines: what stands there is not asked again
--- @param opts.concurrency integer =4 requests at once
--- @param opts.max_requests integer =nil cap, beyond which it raises
--- @param opts.max_total_tokens integer =nil cap on the tokens that the server counts
--- @param opts.retries integer =6 of a request that failed in a way that may pass
--- @param opts.backoff number =1 seconds before the first of them, doubled each time, with jitter;
--- a Retry-After header is honoured instead
--- @param opts.longest_wait number =300 seconds
--- @param opts.connect_seconds number =10 longest
--- @param opts.total_seconds number =120 longest for a whole answer
--- @param opts.idle_seconds number =60 longest without a byte
--- @param opts.most_bytes integer =16777216 of an answer
--- @param opts.top_logprobs integer =20 asked for of the first token
--- @param opts.samples integer =8 answers of a prompt where log-probabilities are not told
--- @param opts.stop list of strings that end a sampled answer ={ "\n" }
--- @return target with answer_dist, complete, probe, close; usage, capabilities; or nil and a
--- message when libcurl is missing
--- @source OpenAI's completions and chat completions
function http.new(opts)
  local where = "ml.target.http"
  options.argument(where, 1, opts, "table")
  options.check(where, opts, { "base_url", "model", "key_env", "chat", "system", "cache",
    "concurrency", "max_requests", "max_total_tokens", "retries", "backoff", "longest_wait",
    "connect_seconds", "total_seconds", "idle_seconds", "most_bytes", "top_logprobs", "stop",
    "name", "samples" })
  local url = options.field(where, opts, "base_url", "string")
  if not url:find "^https?://[^%s/?#@]+[^%s?#@]*$" then
    options.bad(where, 1, "option 'base_url' is %s, wanted an address such as "
      .. "http://127.0.0.1:8000/v1, without a password", options.describe(url))
  end
  local function number(name, default, low)
    return options.range(where, name, options.field(where, opts, name, "number", default), low)
  end
  local function whole(name, default, low, high)
    local n = options.field(where, opts, name, "integer", default)
    return options.range(where, name, n, low, high)
  end
  local fetch, why = core.system.fetch()
  if not fetch then return nil, why end
  local self = setmetatable({ base_url = url:gsub("/+$", ""), fetch = fetch,
    model = options.field(where, opts, "model", "string"),
    key_env = options.optional(where, opts, "key_env", "string"),
    chat = options.field(where, opts, "chat", "boolean", false),
    system = options.optional(where, opts, "system", "string"),
    cache_path = options.optional(where, opts, "cache", "string"),
    concurrency = whole("concurrency", 4, 1, 256), retries = whole("retries", 6, 0, 100),
    most_bytes = whole("most_bytes", 1 << 24, 1, 1 << 30),
    top_logprobs = whole("top_logprobs", 20, 1, 100), samples = whole("samples", 8, 1, 1000),
    backoff = number("backoff", 1, 0),
    longest_wait = number("longest_wait", 300, 0),
    connect_seconds = number("connect_seconds", 10, 0.001),
    total_seconds = number("total_seconds", 120, 0.001),
    idle_seconds = number("idle_seconds", 60, 0.001),
    max_requests = opts.max_requests and whole("max_requests", nil, 0),
    max_total_tokens = opts.max_total_tokens and whole("max_total_tokens", nil, 0),
    stop = options.field(where, opts, "stop", "table", { "\n" }), jitter = core.rng(os.time()),
    usage = { requests = 0, prompts = 0, tokens_in = 0, tokens_out = 0, cached = 0 },
    capabilities = { exact = false, chat = opts.chat or false } }, Http)
  self.name = options.field(where, opts, "name", "string", self.model)
  self.cache = self.cache_path and load_cache(self.cache_path) or {}
  if self.key_env then key_of(self) end
  return self
end

return http
