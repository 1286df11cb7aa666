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
    if not text or not text:find("[%({]") or not text:find("\n") then
      missing[#missing + 1] = entry.name
    end
  end
  if #missing > 0 then check.fail("without help: " .. table.concat(missing, ", ")) end
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
    for _, tag in ipairs(docs.parse(help.of(entry.value)).tags) do
      if tag[1] == "param" then
        local name, rest = tag[2]:match "^(%S+)%s*(.*)$"
        if rest == "" or (rest:find "^tensor" and not says_shape(rest)) then
          missing[#missing + 1] = ("%s: %s %s"):format(entry.name, name, rest)
        end
      end
    end
  end
  if #missing > 0 then check.fail("without a shape:\n" .. table.concat(missing, "\n")) end
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

return T
