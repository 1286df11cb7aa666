--- Data sets: text with a deterministic split and batches that are pure functions of their number;
--- images and tables.
local lfs = require "lfs"
local core = require "moonlab.core"
local options = require "moonlab.options"
local wordnet = require "moonlab.data.wordnet"

local data = {}

-- ---- WordNet ------------------------------------------------------------------------------------

-- "00001740 03 n 01 entity 0 ... | that which is perceived ..." -> "entity: that which is perceived
-- ..."
local function wordnet_documents()
  local folder, why = wordnet.folder()
  if not folder then return nil, why end
  local documents = {}
  for _, part in ipairs(wordnet.parts) do
    for line in assert(io.lines(folder .. "/data." .. part)) do
      local word, gloss = line:match("^%d+ %d+ %a %x+ (%S+) .-|%s*(.-)%s*$")
      if word then
        word = word:gsub("%(%a+%)$", ""):gsub("_", " ")
        documents[#documents + 1] = word .. ": " .. gloss .. "\n"
      end
    end
  end
  return documents
end

-- ---- text ---------------------------------------------------------------------------------------

local Text = {}
Text.__index = Text
Text.__name = "ml.data.text"

function Text:__tostring()
  return ("text %s: %d bytes to train on, %d held out"):format(self.name, #self.train, #self.valid)
end

local Batches = {}
Batches.__index = Batches

--- batches:batch(i)
--- Batch number i: rows of context + 1 ids, at positions drawn from the seed and i alone.
--- @param i integer from 1
--- @return tensor index [batch, context + 1]
--- @source -
function Batches:batch(i)
  options.integer("batch", 1, i, 1)
  local starts = self.rng:fold("batch", i):integers(1, self.ids:numel() - self.context,
    { self.size })
  return core.text.windows(self.ids, starts, self.context + 1)
end

--- batches:count()
--- @return integer batches that read as many ids as there are
--- @source -
function Batches:count() return math.max(1, self.ids:numel() // (self.size * self.context)) end

--- batches:cover(limit)
--- All ids once, in order, as rows of context + 1 (each row predicts context of them); what is left
--- over at the end is dropped.
--- @param limit integer =all largest number of rows
--- @return function iterator over index [<= batch, context + 1]
--- @source -
function Batches:cover(limit)
  local rows = (self.ids:numel() - 1) // self.context
  if limit ~= nil then rows = math.min(rows, options.integer("cover", 1, limit, 0)) end
  local at = 0
  return function()
    if at >= rows then return nil end
    local n = math.min(self.size, rows - at)
    local starts = {}
    for k = 1, n do starts[k] = (at + k - 1) * self.context + 1 end
    at = at + n
    return core.text.windows(self.ids, core.index(starts), self.context + 1)
  end
end

--- text:batches(tokenizer, { split, batch, context, seed })
--- Batches of one part of the text.
--- @param tokenizer tokenizer
--- @param opts.split string ="train" or "valid"
--- @param opts.batch integer rows
--- @param opts.context integer ids that a model reads in a row
--- @param opts.seed integer =1 of every draw
--- @return batches with batch(i), a pure function of i, count() and cover(limit)
--- @source -
function Text:batches(tokenizer, opts)
  local where = "batches"
  if type(tokenizer) ~= "table" or type(tokenizer.encode) ~= "function" then
    options.bad(where, 1, "tokenizer expected, got %s", options.describe(tokenizer))
  end
  options.check(where, opts, { "split", "batch", "context", "seed" })
  opts = opts or {}
  local split = options.choice(where, opts, "split", { "train", "valid" }, "train")
  local size = options.range(where, "batch", options.field(where, opts, "batch", "integer"), 1)
  local context = options.range(where, "context", options.field(where, opts, "context", "integer"),
    1)
  local seed = options.field(where, opts, "seed", "integer", 1)
  local ids = core.keep(tokenizer:encode(self[split]))
  if ids:numel() <= context then
    options.bad("batches", 0, "context is %d, but the %s part has only %d ids",
      context, split, ids:numel())
  end
  return setmetatable({ ids = ids, size = size, context = context,
    rng = core.rng(seed):fold(split, 0) }, Batches)
end

-- The text of a file; nil and a message when there is none.
local function read_file(where, path)
  local mode = lfs.attributes(path, "mode")
  if mode and mode ~= "file" then
    options.bad(where, 1, "cannot read %s (%s, wanted a regular file)", path, mode)
  end
  local file, why, code = io.open(path, "rb")
  if not file and (code == 2 or code == 20) then return nil, path .. ": no such file" end
  if not file then options.bad(where, 1, "cannot read %s", why) end
  local text, failed = file:read("a")
  file:close()
  if not text then options.bad(where, 1, "cannot read %s: %s", path, tostring(failed)) end
  return text
end

--- ml.data.text(name_or_path, { valid, seed })
--- A text with a held-out part. "wordnet": the definitions of WordNet 3.0 (Debian's wordnet-base)
--- as documents "word: definition", of which a seeded permutation holds some out. A file: its last
--- part is held out, cut at the end of a line.
--- @param name_or_path string "wordnet" or the path of a file
--- @param opts.valid number =0.05 share held out, in (0, 1)
--- @param opts.seed integer =1 of the permutation
--- @return text with train and valid (strings), documents (count), batches(tokenizer, opts); or nil
--- and a message when there is no such file or WordNet is not installed
--- @source Fellbaum 1998 (WordNet)
function data.text(name, opts)
  local where = "ml.data.text"
  options.path(where, 1, name)
  options.check(where, opts, { "valid", "seed" })
  opts = opts or {}
  local seed = options.field(where, opts, "seed", "integer", 1)
  local share = options.field(where, opts, "valid", "number", 0.05)
  if not (share > 0 and share < 1) then
    options.bad(where, 0, "option 'valid' is %g, wanted 0 < valid < 1", share)
  end
  if name == "wordnet" then
    local documents, why = wordnet_documents()
    if not documents then return nil, why end
    local order = core.scope(function()
      return core.rng(seed):fold("split", 0):permutation(#documents):totable()
    end)
    local held = math.floor(share * #documents + 0.5)
    local train, valid = {}, {}
    for i, at in ipairs(order) do
      if i <= held then valid[i] = documents[at] else train[i - held] = documents[at] end
    end
    return setmetatable({ name = name, documents = #documents, train = table.concat(train),
      valid = table.concat(valid) }, Text)
  end
  local text, why = read_file(where, name)
  if not text then return nil, why end
  if #text < 2 then
    options.bad(where, 1, "%s has %d bytes: too short to hold a part out", name, #text)
  end
  local cut = math.max(1, math.min(#text - 1, math.floor((1 - share) * #text)))
  local line_end = text:find("\n", cut, true)
  if line_end and line_end < #text then cut = line_end end
  return setmetatable({ name = name, train = text:sub(1, cut), valid = text:sub(cut + 1) }, Text)
end

local images, tables = require "moonlab.data.images", require "moonlab.data.table"
data.images, data.teacher, data.table = images.images, images.teacher, tables.table
local symmetry = require "moonlab.data.symmetry"
data.transform, data.motifs = symmetry.transform, symmetry.motifs
data.methods = { text = Text, batches = Batches, images = images.methods, table = tables.methods }
return data
