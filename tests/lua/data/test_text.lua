-- Text: WordNet, splits, batches by number, tokenizers, errors.
local ml = require "moonlab"
local check = require "check"
local T = {}

local function with_file(text, f)
  check.in_folder(function(dir)
    ml.write_file(dir .. "/text.txt", text)
    f(dir .. "/text.txt", dir)
  end)
end

function T.test_wordnet_has_its_117659_definitions() -- golden: the count that WordNet 3.0 states
  local text = ml.data.text("wordnet")
  check.equal(text.documents, 117659)
  local _, train = text.train:gsub("\n", "")
  local _, valid = text.valid:gsub("\n", "")
  check.equal(train + valid, 117659)
  check.equal(valid, 5883)
  check.is_true((text.train .. text.valid):find("\nentity: that which is perceived or known or "
    .. "inferred to have its own distinct existence", 1, true) ~= nil)
  for line in text.valid:gmatch("[^\n]+") do
    if not line:find("^.-: .") then check.fail("not a document: " .. line) end
  end
end

function T.test_the_split_depends_on_the_seed_alone() -- property
  local a, b, c = ml.data.text("wordnet"), ml.data.text("wordnet"),
    ml.data.text("wordnet", { seed = 2 })
  check.is_true(a.valid == b.valid)
  check.is_false(a.valid == c.valid)
end

function T.test_a_file_is_cut_at_a_line()
  local lines = {}
  for i = 1, 100 do lines[i] = ("line %d\n"):format(i) end
  with_file(table.concat(lines), function(path)
    local text = ml.data.text(path, { valid = 0.2 })
    check.equal(text.train .. text.valid, table.concat(lines))
    check.equal(text.train:sub(-1), "\n")
    check.close(#text.valid / #table.concat(lines), 0.2, { atol = 0.02 })
  end)
end

function T.test_batches_are_pure_functions_of_their_number() -- property
  with_file(("the quick brown fox\n"):rep(50), function(path)
    local text = ml.data.text(path)
    local function make(seed)
      return text:batches(ml.tokenizer.bytes(), { batch = 4, context = 16, seed = seed })
    end
    local a, b = make(3), make(3)
    local third = a:batch(3)
    a:batch(1)
    check.equal(third, b:batch(3))
    check.is_false(third:equal(b:batch(4)))
    check.is_false(third:equal(make(4):batch(3)))
    check.equal(third:shape(), { 4, 17 })
    local row = ml.tokenizer.bytes():decode(third[{ 2 }])
    check.is_true(text.train:find(row, 1, true) ~= nil)
  end)
end

function T.test_cover_reads_everything_once() -- property
  with_file(("abcdefghij"):rep(30) .. "\n", function(path)
    local text = ml.data.text(path, { valid = 0.5 })
    local batches = text:batches(ml.tokenizer.bytes(), { batch = 3, context = 10, split = "valid" })
    local seen = 0
    local joined = {}
    for rows in batches:cover() do
      for r = 1, rows:size(1) do
        joined[#joined + 1] = ml.tokenizer.bytes():decode(rows[{ r, { 2, 11 } }])
        seen = seen + 1
      end
    end
    check.equal(seen, (#text.valid - 1) // 10)
    check.equal(table.concat(joined), text.valid:sub(2, 1 + 10 * seen))
  end)
end

function T.test_byte_tokenizer_is_the_identity_on_bytes() -- property
  local tokens = ml.tokenizer.bytes()
  local all = {}
  for b = 0, 255 do all[b + 1] = string.char(b) end
  all = table.concat(all)
  check.equal(tokens:decode(tokens:encode(all)), all)
  check.equal(tokens:encode("A\0"):totable(), { 66, 1 })
  check.equal(tokens:id("A"), 66)
  check.equal(tokens:size(), 256)
  check.equal(tokens:encode(""):shape(), { 0 })
end

function T.test_character_tokenizer()
  check.in_folder(function(dir)
    local text = "héllo wörld \u{1F600}\n"
    local tokens = ml.tokenizer.chars(text)
    check.equal(tokens:decode(tokens:encode(text)), text)
    check.equal(tokens:encode(text):shape(), { utf8.len(text) })
    check.equal(tokens:id("\u{1F600}"), tokens:size())
    check.raises("character 'z' at byte 3 is not in the vocabulary", tokens.encode, tokens, "lwz")
    tokens:save(dir .. "/t.json")
    check.equal(ml.tokenizer.load(dir .. "/t.json"):encode("hö"):totable(),
      tokens:encode("hö"):totable())
    ml.tokenizer.bytes():save(dir .. "/b.json")
    check.equal(ml.tokenizer.load(dir .. "/b.json"):size(), 256)
    ml.write_file(dir .. "/bad.json", "[1]")
    check.raises("does not hold a tokenizer", ml.tokenizer.load, dir .. "/bad.json")
    local function load(characters)
      ml.json.write(dir .. "/bad.json", { kind = "chars", characters = characters })
      return ml.tokenizer.load(dir .. "/bad.json")
    end
    check.equal(load({ "a", "é" }):size(), 2)
    check.raises("tokens 1 and 3 are both \"a\"", load, { "a", "b", "a" })
    check.raises("token 2 is \"bc\", wanted one character", load, { "a", "bc" })
    check.raises("token 2 is \"\", wanted one character", load, { "a", "" })
    check.raises("token 1 is 3, wanted one character", load, { 3 })
    check.raises("id 6", tokens.decode, ml.tokenizer.chars("abc"), { 1, 6 })
    check.raises("index tensor or table of positions expected, got f64 [2]", tokens.decode, tokens,
      ml.ones { 2 })
    check.equal(ml.tokenizer.chars("abc"):decode(ml.index { { 1, 2 }, { 3, 1 } }), "abca")
  end)
end

function T.test_characters_that_are_stray_bytes_are_kept()
  check.in_folder(function(dir)
    local text = "a\u{e9}\xff\x80"
    local tokens = ml.tokenizer.chars(text)
    tokens:save(dir .. "/t.json")
    local kept = ml.tokenizer.load(dir .. "/t.json")
    check.equal(kept:encode(text), tokens:encode(text))
    check.equal(kept:decode(kept:encode(text)), text)
    -- half a surrogate pair, an overlong form, beyond U+10FFFF: bytes, not characters
    local odd = ml.tokenizer.chars("\xed\xa0\x80\xe0\x80\x80\xf4\x90\x80\x80")
    check.equal(odd:size(), 6)
    odd:save(dir .. "/odd.json")
    check.equal(ml.tokenizer.load(dir .. "/odd.json"):decode { 1, 4, 6 }, "\x80\xe0\xf4")
    ml.json.write(dir .. "/bad.json", { kind = "chars", characters = { 97 } })
    check.raises("token 1 is 97, wanted one character", ml.tokenizer.load, dir .. "/bad.json")
  end)
end

function T.test_errors()
  check.equal({ ml.data.text("/nonexistent/file.txt") },
    { nil, "/nonexistent/file.txt: no such file" })
  check.raises("cannot read / (directory, wanted a regular file)", ml.data.text, "/")
  check.raises("cannot read /dev/zero (char device", ml.data.text, "/dev/zero")
  check.raises("did you mean 'valid'", ml.data.text, "wordnet", { vaild = 0.1 })
  check.raises("option 'valid' is 2", ml.data.text, "wordnet", { valid = 2 })
  with_file("short text here\n", function(path)
    local text = ml.data.text(path, { valid = 0.5 })
    check.raises("context is 99", text.batches, text, ml.tokenizer.bytes(),
      { batch = 1, context = 99 })
    check.raises("tokenizer expected, got \"bytes\"", text.batches, text, "bytes", {})
    check.raises("option 'seed' is 0.5, wanted an integer", text.batches, text,
      ml.tokenizer.bytes(), { batch = 1, context = 2, seed = 0.5 })
    check.raises("option 'batch' is missing", text.batches, text, ml.tokenizer.bytes(),
      { context = 2 })
  end)
  check.raises("id 300 is outside 1..256", function() ml.tokenizer.bytes():decode({ 300 }) end)
end

return T
