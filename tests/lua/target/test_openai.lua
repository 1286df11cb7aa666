-- What `serve --openai` answers, without a server.
local ml = require "moonlab"
local check = require "check"
local openai = require "moonlab.openai"
local program = require "program"
local T = {}

local function model()
  local words = { "one", "two", "three", ".", "?" }
  local lm = ml.transformer { vocab = 5, context = 12, depth = 1, width = 8, heads = 2, seed = 4 }
  return { lm = lm, codec = ml.tokenizer.words(words), name = "toy", asked = 0 }
end

local function ask(m, body, path)
  local status, text = openai.answer(m, path or "/v1/completions", body and ml.json.encode(body))
  return status, ml.json.decode(text)
end

function T.test_completions() -- golden: the model itself
  local m = model()
  local ids = m.codec:encode "one two"
  local status, a = ask(m, { prompt = "one two", max_tokens = 4, temperature = 0, logprobs = 2,
    echo = true })
  check.equal(status, 200)
  local mine = m.lm:generate({ ids:totable() }, { max_new = 4, greedy = true })[1][1]
  local text = m.codec:decode(mine)
  check.equal(a.choices[1].text, "one two" .. text)
  local l = a.choices[1].logprobs
  check.equal(#l.tokens, 6)
  check.equal(l.tokens[1], "one")
  local logp = m.lm:logits(ids):log_softmax(2):totable()
  check.close(l.token_logprobs[2], logp[1][2], { rtol = 1e-6 })
  check.equal(a.usage, { prompt_tokens = 2, completion_tokens = 4, total_tokens = 6 })
  local best, count = -math.huge, 0
  for _, p in pairs(l.top_logprobs[3]) do best, count = math.max(best, p), count + 1 end
  check.equal(count, 2)
  check.close(best, l.token_logprobs[3], { rtol = 1e-6 })
end

function T.test_the_same_seed_gives_the_same_samples() -- property
  local m = model()
  local function texts(seed)
    local _, a = ask(m, { prompt = { "one", "two ." }, n = 3, max_tokens = 6, seed = seed })
    local list = {}
    for i, c in ipairs(a.choices) do
      check.equal(c.index, i - 1)
      list[i] = c.text
    end
    return list
  end
  check.equal(#texts(5), 6)
  check.equal(texts(5), texts(5))
  check.is_true(table.concat(texts(5), "|") ~= table.concat(texts(6), "|"))
end

function T.test_stops_and_chat()
  local m = model()
  local _, whole = ask(m, { prompt = "one", max_tokens = 8, temperature = 0 })
  local text = whole.choices[1].text
  local second = text:match "^%S+ (%S+)"
  local _, cut = ask(m, { prompt = "one", max_tokens = 8, temperature = 0, stop = { second } })
  check.equal(cut.choices[1].text, text:sub(1, text:find(second, 1, true) - 1))
  check.equal(cut.choices[1].finish_reason, "stop")
  local status, chat = ask(m, { messages = { { role = "system", content = "one" },
    { role = "user", content = "two" } }, max_tokens = 2, temperature = 0, logprobs = true,
    top_logprobs = 3 }, "/v1/chat/completions")
  check.equal(status, 200)
  local _, plain = ask(m, { prompt = "one\ntwo", max_tokens = 2, temperature = 0 })
  check.equal(chat.choices[1].message.content, plain.choices[1].text)
  check.equal(#chat.choices[1].logprobs.content[1].top_logprobs, 3)
  local _, models = ask(m, nil, "/v1/models")
  check.equal(models.data[1].id, "toy")
end

function T.test_bad_requests_are_errors_in_json()
  local m = model()
  for message, body in pairs {
    ["prompt is missing"] = {}, ["an empty prompt"] = { prompt = " " },
    ["not in the vocabulary"] = { prompt = "seven" }, ["n is 0"] = { prompt = "one", n = 0 },
    ["the prompt has 13 tokens, the model reads 12"] = { prompt = ("one "):rep(13) },
    ["temperature is -1"] = { prompt = "one", temperature = -1 },
    ["streams are not served"] = { prompt = "one", stream = true },
    ["top_p is 0"] = { prompt = "one", top_p = 0 }, ["wanted strings"] = { prompt = { 3 } },
    ["logprobs is 99"] = { prompt = "one", logprobs = 99 },
  } do
    local status, a = ask(m, body)
    check.equal(status, 400)
    program.has(a.error.message, message)
  end
  check.equal((openai.answer(m, "/v1/completions", "{")), 400)
  check.equal((openai.answer(m, "/v1/completions", "3")), 400)
  check.equal((openai.answer(m, "/v1/completions")), 405)
  check.equal((openai.answer(m, "/else", "{}")), 404)
end

function T.test_models_that_cannot_be_served()
  check.in_folder(function(dir)
    program.write(dir .. "/bad.safetensors", "hello")
    for name, message in pairs { bad = "not a safetensors file", none = "no such file" } do
      local text, status = program.run(dir, "serve --openai " .. name .. ".safetensors")
      check.equal(status, 1)
      program.has(text, message)
      check.is_true(not text:find "traceback")
    end
    model().lm:save(dir .. "/toy.safetensors")
    local text, status = program.run(dir, "serve --openai toy.safetensors")
    check.equal(status, 1)
    program.has(text, "toy.tokenizer.json")
  end)
end

return T
