--- A decoder as an OpenAI-compatible endpoint: what `moonlab serve --openai` answers.
local core = require "moonlab.core"
local options = require "moonlab.options"
local tokenizer = require "moonlab.tokenizer"

local openai = {}

local MOST_PROMPTS, MOST_SAMPLES, MOST_TOP = 128, 128, 20

-- An error that the caller caused: raised as a table.
local function refuse(status, format, ...)
  error({ status = status, message = format:format(...) }, 0)
end

-- ---- opening ------------------------------------------------------------------------------------

--- A model with its tokenizer: NAME.safetensors beside NAME.tokenizer.json or tokenizer.json, else
--- bytes; or nil and a message.
function openai.open(path)
  local ok, lm, why = pcall(core.transformer.load, path)
  if not ok then return nil, tostring(lm):match "%((.*)%)$" or lm end
  if not lm then return nil, why end
  local stem, folder = path:gsub("%.safetensors$", ""), path:match "^(.*/)" or ""
  local tok = tokenizer.load(stem .. ".tokenizer.json")
    or tokenizer.load(folder .. "tokenizer.json") or tokenizer.bytes()
  if tok:size() > lm:config().vocab then
    return nil, ("%s has %d ids and its tokenizer %d; put its own beside it, as "
      .. "%s.tokenizer.json"):format(path, lm:config().vocab, tok:size(), stem)
  end
  local name = stem:match "([^/]+)$"
  return { lm = lm, codec = tok, name = name, asked = 0 }
end

-- ---- what was asked -----------------------------------------------------------------------------

local function number(body, name, default, low, high, whole)
  local v = body[name]
  if v == nil or v == core.json.null then return default end
  if type(v) ~= "number" or v ~= v or v < low or v > high
    or (whole and math.type(v) ~= "integer") then
    refuse(400, "%s is %s, wanted %s in %g..%g", name, options.describe(v), whole
      and "an integer" or "a number", low, high)
  end
  return v
end

local function strings(value, name, most)
  if value == nil or value == core.json.null then return {} end
  local list = type(value) == "table" and value or { value }
  if #list > most then refuse(400, "%s has %d entries, wanted at most %d", name, #list, most) end
  for _, s in ipairs(list) do
    if type(s) ~= "string" then
      refuse(400, "%s holds %s, wanted strings", name, options.describe(s))
    end
  end
  return list
end

local function encode(model, text)
  local ok, ids = pcall(function() return model.codec:encode(text):totable() end)
  if not ok then
    refuse(400, "%s", tostring(ids):gsub("^bad argument to '?encode'? ?", ""):match "^[^\n]*")
  end
  if #ids == 0 then refuse(400, "an empty prompt") end
  local context = model.lm:config().context
  if #ids > context then
    refuse(400, "the prompt has %d tokens, the model reads %d", #ids, context)
  end
  return ids
end

-- ---- log-probabilities --------------------------------------------------------------------------

-- For the tokens ids[from..]: their log-probability and the likeliest others.
local function logprobs(model, ids, from, top)
  local token, tops = {}, {}
  core.scope(function()
    local n = math.min(#ids, model.lm:config().context)
    local logp = core.no_grad(function()
      return model.lm:logits(core.index { { table.unpack(ids, 1, n) } })
    end):log_softmax(3):totable()[1]
    for t = from, #ids do
      local row = t > 1 and logp[t - 1]
      if not row then
        token[#token + 1], tops[#tops + 1] = false, false
      else
        token[#token + 1] = row[ids[t]]
        local order = {}
        for id = 1, #row do order[id] = id end
        table.sort(order, function(a, b) return row[a] > row[b] or row[a] == row[b] and a < b end)
        local best = {}
        for k = 1, math.min(top, #order) do
          if order[k] <= model.codec:size() then best[#best + 1] = { order[k], row[order[k]] } end
        end
        tops[#tops + 1] = best
      end
    end
  end)
  return token, tops
end

local function piece(model, id)
  local text = model.codec:decode { id }
  return utf8.len(text) and text or ("bytes:\\x%02x"):format(text:byte())
end

local null = core.json.null

local function legacy(model, ids, from, top)
  local token, tops = logprobs(model, ids, from, top)
  local out = { tokens = {}, token_logprobs = {}, top_logprobs = {} }
  for i, p in ipairs(token) do
    out.tokens[i] = piece(model, ids[from + i - 1])
    out.token_logprobs[i] = p or null
    local map = {}
    for _, pair in ipairs(tops[i] or {}) do map[piece(model, pair[1])] = pair[2] end
    out.top_logprobs[i] = tops[i] and map or null
  end
  return out
end

local function of_chat(model, ids, from, top)
  local token, tops = logprobs(model, ids, from, top)
  local content = {}
  for i, p in ipairs(token) do
    local list = {}
    for k, pair in ipairs(tops[i] or {}) do
      list[k] = { token = piece(model, pair[1]), logprob = pair[2] }
    end
    content[i] = { token = piece(model, ids[from + i - 1]), logprob = p or null,
      top_logprobs = list }
  end
  return { content = content }
end

-- ---- answering ----------------------------------------------------------------------------------

-- Text up to the first of the stops; whether one was there.
local function cut(text, stops)
  local at
  for _, stop in ipairs(stops) do
    local found = stop ~= "" and text:find(stop, 1, true)
    if found and (not at or found < at) then at = found end
  end
  return at and text:sub(1, at - 1) or text, at ~= nil
end

local function valid(text)
  local parts, at = {}, 1
  while at <= #text do
    local _, bad = utf8.len(text, at)
    if not bad then
      parts[#parts + 1] = text:sub(at)
      break
    end
    parts[#parts + 1] = text:sub(at, bad - 1) .. "\u{FFFD}"
    at = bad + 1
  end
  return table.concat(parts)
end

local function generate(model, prompts, body)
  local n = number(body, "n", 1, 1, MOST_SAMPLES, true)
  local most = number(body, "max_tokens", 16, 0, 1 << 20, true)
  local temperature = number(body, "temperature", 1, 0, 100)
  local top_p = number(body, "top_p", 1, 0, 1)
  if body.stream then refuse(400, "streams are not served") end
  if top_p == 0 then refuse(400, "top_p is 0, wanted a number in (0, 1]") end
  local seed = number(body, "seed", nil, math.mininteger, math.maxinteger, true)
  model.asked = model.asked + 1
  local greedy = temperature == 0
  local key = core.rng(seed or os.time() * 1000 + model.asked):fold "openai"
  local keys, found = {}, {}
  for i = 1, #prompts do keys[i] = key:fold("prompt", i) end
  core.scope(function()
    local tokens, info = model.lm:generate(prompts, { n = n, max_new = most, greedy = greedy,
      temperature = greedy and 1 or temperature, top_p = top_p, keys = not greedy and keys or nil })
    for i, samples in ipairs(tokens) do
      found[i] = {}
      for j, sample in ipairs(samples) do
        found[i][j] = { ids = sample:totable(), finished = info.finished[i][j] }
      end
    end
  end)
  return found
end

local function usage(prompts, found)
  local sent, new = 0, 0
  for i, ids in ipairs(prompts) do
    sent = sent + #ids
    for _, sample in ipairs(found[i]) do new = new + #sample.ids end
  end
  return { prompt_tokens = sent, completion_tokens = new, total_tokens = sent + new }
end

local function answer(model, kind, choices, used)
  return { id = ("moonlab-%d"):format(model.asked), object = kind, created = os.time(),
    model = model.name, choices = choices, usage = used }
end

local function decode(model, ids)
  local known = {}
  for _, id in ipairs(ids) do
    if id <= model.codec:size() then known[#known + 1] = id end
  end
  return valid(model.codec:decode(known))
end

local places = {}

places["/v1/completions"] = function(model, body)
  local given = body.prompt
  if type(given) == "table" and #given == 0 or given == nil then
    refuse(400, "prompt is missing")
  end
  local texts = strings(given, "prompt", MOST_PROMPTS)
  local stops = strings(body.stop, "stop", 16)
  local top = body.logprobs ~= nil and body.logprobs ~= false
    and number(body, "logprobs", nil, 0, MOST_TOP, true)
  local prompts = {}
  for i, text in ipairs(texts) do prompts[i] = encode(model, text) end
  local found, choices = generate(model, prompts, body), {}
  for i, samples in ipairs(found) do
    for _, sample in ipairs(samples) do
      local text, stopped = cut(decode(model, sample.ids), stops)
      local choice = { index = #choices, finish_reason = stopped and "stop" or "length",
        text = body.echo and texts[i] .. text or text }
      if top then
        local all = table.move(sample.ids, 1, #sample.ids, #prompts[i] + 1,
          { table.unpack(prompts[i]) })
        choice.logprobs = legacy(model, all, body.echo and 1 or #prompts[i] + 1, top)
      end
      choices[#choices + 1] = choice
    end
  end
  return answer(model, "text_completion", choices, usage(prompts, found))
end

-- Messages are joined by newlines, without their roles: a laboratory's model knows none.
places["/v1/chat/completions"] = function(model, body)
  if type(body.messages) ~= "table" or #body.messages == 0 then
    refuse(400, "messages are missing")
  end
  local parts = {}
  for i, m in ipairs(body.messages) do
    if type(m) ~= "table" or type(m.content) ~= "string" then
      refuse(400, "message %d has no content that is a string", i)
    end
    parts[i] = m.content
  end
  local prompts = { encode(model, table.concat(parts, "\n")) }
  local stops = strings(body.stop, "stop", 16)
  local top = body.logprobs == true and number(body, "top_logprobs", 0, 0, MOST_TOP, true)
  local found, choices = generate(model, prompts, body), {}
  for _, sample in ipairs(found[1]) do
    local text, stopped = cut(decode(model, sample.ids), stops)
    local choice = { index = #choices, finish_reason = stopped and "stop" or "length",
      message = { role = "assistant", content = text } }
    if top then
      local all = table.move(sample.ids, 1, #sample.ids, #prompts[1] + 1,
        { table.unpack(prompts[1]) })
      choice.logprobs = of_chat(model, all, #prompts[1] + 1, top)
    end
    choices[#choices + 1] = choice
  end
  return answer(model, "chat.completion", choices, usage(prompts, found))
end

local function problem(status, message, kind)
  return status, core.json.encode({ error = { message = message,
    type = kind or "invalid_request_error" } }, { invalid = "replace" })
end

--- The answer to a request: status and JSON. body: nil of a GET.
function openai.answer(model, path, body)
  if path == "/v1/models" and not body then
    return 200, core.json.encode { object = "list", data = { { id = model.name, object = "model",
      owned_by = "moonlab" } } }
  end
  local place = places[path]
  if not place then return problem(404, ("nothing is at %s"):format(path)) end
  if not body then return problem(405, "POST, please") end
  local ok, asked = pcall(core.json.decode, body)
  if not ok or type(asked) ~= "table" then return problem(400, "the body is not a JSON object") end
  local done, result = pcall(place, model, asked)
  if done then return 200, core.json.encode(result, { invalid = "replace" }) end
  if type(result) == "table" and result.status then
    return problem(result.status, result.message)
  end
  error(result, 0)
end

--- Serves a model of this machine to this program, in a process of its own: the address, and a
--- function that ends it.
function openai.serve(path)
  local child = assert(core.system.spawn { "/proc/self/exe", "serve", "--openai", path,
    stdout = "pipe", group = true })
  local text, until_ = "", core.now() + 30
  while not text:find "http://[%d.:]+\n" do
    if core.now() > until_ or child:wait(0) then
      child:kill "kill"
      child:close()
      options.raise("the server of %s did not start: %s", path, text)
    end
    text = text .. (child:read(0.2) or "")
  end
  return text:match "(http://[%d.:]+)" .. "/v1", function()
    child:kill "kill"
    child:wait(5)
    child:close()
  end
end

return openai
