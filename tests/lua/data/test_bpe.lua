-- Byte-pair encoding.
local ml = require "moonlab"
local check = require "check"
local T = {}

-- analytic: of "low lower lowest" the pairs (l, o) and (o, w) stand three times each; then " low"
function T.test_merges_by_hand()
  local tok = ml.tokenizer.bpe("low lower lowest\nlow", 13)
  -- characters: \n space e l o r s t w
  check.equal(tok:id "l", 4)
  check.equal(tok:id "lo", 10)
  check.equal(tok:id "low", 11)
  check.equal(tok:id " low", 12)
  check.equal(tok:id " lowe", 13)
  check.equal(tok:encode " lower":totable(), { 13, 6 })
  check.equal(tok:decode(tok:encode "lowest slow\n"), "lowest slow\n")
  check.equal(tok:size(), 13)
end

-- property: what is encoded comes back, in fewer tokens, whatever the text
function T.test_round_trip()
  local text = ("the cat sat_on the mat\u{e9}\u{1F600} and the bat\n"):rep(3) .. "\xff\xfe x"
  local tok = ml.tokenizer.bpe(text, 60)
  check.equal(tok:decode(tok:encode(text)), text)
  check.is_true(tok:encode(text):numel() < #text / 2)
  check.equal(tok:encode "":numel(), 0)
  check.equal(ml.tokenizer.bpe("ab", 100):size(), 2) -- no pair stands twice
  check.equal(ml.tokenizer.bpe(text, 60):encode(text), tok:encode(text))
end

function T.test_saved()
  local tok = ml.tokenizer.bpe(("na\u{ef}ve \xff naive nation\n"):rep(4), 30)
  check.in_folder(function(dir)
    tok:save(dir .. "/t.json")
    local back = ml.tokenizer.load(dir .. "/t.json")
    check.equal(back:size(), tok:size())
    check.equal(back:encode "naive \xff nation", tok:encode "naive \xff nation")
    local t = ml.json.read(dir .. "/t.json")
    for _, wrong in ipairs { 99, 0, "a" } do
      t.merges[2][2] = wrong
      ml.json.write(dir .. "/t.json", t)
      check.raises("merge 2 makes no new token", ml.tokenizer.load, dir .. "/t.json")
    end
  end)
end

function T.test_refusals()
  check.raises("the text has 3 characters", ml.tokenizer.bpe, "abc", 2)
  check.raises("an empty string", ml.tokenizer.bpe, "", 10)
  check.raises("'z'", function() ml.tokenizer.bpe("abab", 3):encode "z" end)
end

return T
