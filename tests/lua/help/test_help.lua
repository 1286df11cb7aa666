-- Every public name has help, and the generated reference is that of this tree.
local check = require "check"
local help = require "moonlab.help"
local docs = require "moonlab.docs"
local T = {}

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

function T.test_every_public_name_has_an_entry()
  local missing = {}
  local entries = help.all()
  check.is_true(#entries > 150)
  for _, entry in ipairs(entries) do
    local text = help.of(entry.value)
    local parsed = text and help.parse(text)
    if not parsed or not parsed.signature:find "[%({]" or not (parsed.lines[1] or ""):find "%w" then
      missing[#missing + 1] = entry.name
    end
  end
  if #missing > 0 then
    check.fail("without a signature and a sentence: " .. table.concat(missing, ", "))
  end
end

-- What a tensor is allowed to look like: [n,d], "any shape", "like x", a rank, a scalar.
local function says_shape(text)
  for _, part in ipairs { "%[", "shape", "like", "rank", "0%-d" } do
    if text:find(part) then return true end
  end
  return false
end

function T.test_every_tensor_has_a_shape_and_every_parameter_a_type()
  local missing = {}
  for _, entry in ipairs(help.all()) do
    for _, tag in ipairs(help.parse(help.of(entry.value)).tags) do
      local given = tag[1] == "return" and tag[2] or ""
      if (given:find "^tensor" or given:find "^%w+ of tensors" or given:find "%-> tensor")
        and not says_shape(given) then
        missing[#missing + 1] = ("%s: returns %s"):format(entry.name, given)
      elseif tag[1] == "param" then
        local name, rest = tag[2]:match "^(%S+)%s*(.*)$"
        if rest == "" or (rest:find "^tensor" and not says_shape(rest)) then
          missing[#missing + 1] = ("%s: %s %s"):format(entry.name, name, rest)
        end
      end
    end
  end
  if #missing > 0 then check.fail("without a shape:\n" .. table.concat(missing, "\n")) end
end

-- A number says more than its type and default: a unit, a range, or what it counts.
function T.test_every_number_says_what_it_is()
  local bare = {}
  for _, entry in ipairs(help.all()) do
    for _, tag in ipairs(help.parse(help.of(entry.value)).tags) do
      local name, kind, rest = tag[2]:gsub("\n", " "):match "^(%S+)%s+(%a+)%s*(.*)$"
      if tag[1] == "param" and (kind == "number" or kind == "integer") then
        local said = rest:gsub("^=%S+%s*", "")
        if not said:find "%w" and not said:find "[<>]" then
          bare[#bare + 1] = entry.name .. ": " .. name
        end
      end
    end
  end
  if #bare > 0 then check.fail("neither unit nor range:\n" .. table.concat(bare, "\n")) end
end

function T.test_the_reference_is_up_to_date()
  check.is_true(read("lua/moonlab/reference.md") == docs.reference(), "run ./moonlab docs")
  check.is_true(read("lua/moonlab/meta.lua") == docs.meta(), "run ./moonlab docs")
  check.is_true(load(docs.meta()) ~= nil)
end

function T.test_names_are_found_as_users_type_them()
  check.is_true(help.text("ml.zeros") ~= nil)
  check.is_true(help.text("matmul") ~= nil)
  check.is_true(help.text("ml.nn.Linear") ~= nil)
  check.is_true(help.text("optim.adamw"):find("Adam", 1, true) ~= nil)
  check.is_nil(help.text("nothing_of_that_name"))
end

local function has(text, part)
  if not text or not text:find(part, 1, true) then
    check.fail(("wanted '%s' in:\n%s"):format(part, tostring(text)))
  end
end

function T.test_tables_classes_objects_and_the_prompt_list_what_is_in_them()
  local ml = require "moonlab"
  for _, name in ipairs { "nn", "ml.nn" } do has(help.text(name), "\nnn.Linear ") end
  has(help.text "fit", "fit.power_law ") -- the table before a method of that name
  has(help.text "ml", "\nzeros ")
  has(help.text "module", "module:save ")
  has(help.text "prompt", "timeit ")
  has(help.text "who", "who()\nPrints the globals")
  has(help.text "nn", "nn.Conv2d                Convolution of images [N, H, W, C].\n")
  for _, case in ipairs { { ml.ones { 2 }, "tensor:sum " }, { ml.rng(1), "rng:normal " },
    { ml.nn.Linear { 2, 2 }, "module:save " }, { ml.nn, "nn.Linear " }, { ml, "zeros " } } do
    has(help.of(case[1]), case[2])
  end
  for _, value in ipairs { 3, "text", {}, print, true } do check.is_nil(help.of(value)) end
  check.is_nil(help.of(nil))
end

function T.test_lines_of_a_terminal_keep_words_whole()
  local text = "f(x)\n@param x integer one two three four\n"
    .. "name     says what it does and how\n\nend"
  check.equal(help.wrapped(text, 24), "f(x)\n@param x integer one two\n  three four\n"
    .. "name     says what it\n         does and how\n\nend")
  check.equal(help.wrapped(text, nil), text)
  for _, entry in ipairs(help.all()) do
    local whole = help.of(entry.value)
    local narrow = help.wrapped(whole, 80)
    check.equal((narrow:gsub("%s+", " ")), (whole:gsub("%s+", " ")))
    for line in narrow:gmatch "[^\n]+" do
      if #line > 80 and line:find "%S%s+%S" then
        check.is_true(#line:match "%S+$" > 70, line) -- a word that is longer than a line
      end
    end
  end
end

return T
