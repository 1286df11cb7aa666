--- Tables: of R packages (data frames), of R data files, and of comma-separated files.
local lfs = require "lfs"
local core = require "moonlab.core"
local options = require "moonlab.options"
local fetch = require "moonlab.data.fetch"
local rdata = require "moonlab.data.rdata"

local Frame = {}
Frame.__index = Frame
Frame.__name = "ml.data.table"

function Frame:__tostring()
  local lines = { ("table %s: %d rows, %d columns"):format(self.name, self.rows, #self.names) }
  for i, name in ipairs(self.names) do
    if i > 30 then
      lines[#lines + 1] = ("  ... and %d more"):format(#self.names - 30)
      break
    end
    local levels = self.levels[name]
    lines[#lines + 1] = levels and ("  %s: %d levels (%s)"):format(name, #levels,
      table.concat(levels, ", ", 1, math.min(6, #levels)) .. (#levels > 6 and ", ..." or ""))
      or ("  %s: numbers"):format(name)
  end
  return table.concat(lines, "\n")
end

--- frame:matrix{ name, ..., dtype =, target = }
--- Columns as features: numbers as they are, a column of levels as one column of 0 and 1 for each.
--- @param opts list =all columns but the target names of columns
--- @param opts.target string a column to be left out
--- @param opts.dtype string ="f64" or "f32"
--- @return tensor [rows, features]
--- @return list names of the features
--- @source -
function Frame:matrix(opts)
  local where = "matrix"
  options.check(where, opts, { "dtype", "target" }, true)
  opts = opts or {}
  local dtype = options.choice(where, opts, "dtype", { "f64", "f32" }, "f64")
  local chosen = {}
  for _, name in ipairs(#opts > 0 and opts or self.names) do
    if type(name) ~= "string" or not self.columns[name] then
      local near = type(name) == "string" and options.nearest(name, self.names)
      options.bad(where, 1, "no column %s%s", options.describe(name),
        near and ("; did you mean '" .. near .. "'?") or "")
    end
    if name ~= opts.target then chosen[#chosen + 1] = name end
  end
  if #chosen == 0 then options.bad(where, 1, "no columns are left") end
  local features = {}
  local out = core.scope(function()
    local parts = {}
    for i, name in ipairs(chosen) do
      local column, levels = self.columns[name], self.levels[name]
      if levels then
        parts[i] = column:one_hot(#levels):to(dtype)
        for _, level in ipairs(levels) do features[#features + 1] = name .. "=" .. level end
      else
        parts[i] = column:to(dtype):reshape { self.rows, 1 }
        features[#features + 1] = name
      end
    end
    return core.concat(parts, 2)
  end)
  return out, features
end

-- A frame of names and (values, levels) by position.
local function build(name, names, column_of)
  local frame = { name = name, names = {}, columns = {}, levels = {} }
  for i, column in ipairs(names) do
    local values, levels = column_of(i)
    local key = column and column ~= "" and column or ("V%d"):format(i)
    if values and not frame.columns[key] then
      frame.rows = frame.rows or #values
      if #values ~= frame.rows then
        options.raise("%s: column %s has %d rows, the others %d", name, key, #values, frame.rows)
      end
      frame.names[#frame.names + 1] = key
      frame.levels[key] = levels
      frame.columns[key] = levels and core.index(values)
        or core.tensor(values, { dtype = "f64" })
    end
  end
  if not frame.rows then options.raise("%s: no columns of numbers, levels or strings", name) end
  return setmetatable(frame, Frame)
end

local function of_node(name, node)
  local names, nodes = rdata.frame(node)
  if names then return build(name, names, function(i) return rdata.column(nodes[i]) end) end
  local values, levels = rdata.column(node)
  if not values then return nil end
  local dim = node.attributes and node.attributes.dim
  local rows, cols = table.unpack(dim and dim.values or { #values, 1 })
  if not levels and rows * (cols or 1) == #values then -- a matrix, column after column
    local names_of = {}
    for i = 1, cols or 1 do names_of[i] = ("V%d"):format(i) end
    return build(name, names_of, function(i)
      return table.move(values, (i - 1) * rows + 1, i * rows, 1, {})
    end)
  end
  return build(name, { "value" }, function() return values, levels end)
end

-- ---- comma-separated ----------------------------------------------------------------------------

-- Fields of the text, quotes undone; an iterator over rows.
local function csv_rows(text, separator, name)
  local at, line = 1, 0
  return function()
    if at > #text then return nil end
    line = line + 1
    local row = {}
    while true do
      local field
      if text:sub(at, at) == '"' then
        local from, parts = at + 1, {}
        while true do
          local quote = text:find('"', from, true)
          if not quote then options.raise("%s: row %d has an open quote", name, line) end
          parts[#parts + 1] = text:sub(from, quote - 1)
          from = quote + 1
          if text:sub(from, from) ~= '"' then break end
          parts[#parts + 1] = '"'
          from = from + 1
        end
        field, at = table.concat(parts), from
      else
        local to = text:find("[" .. separator .. "\r\n]", at) or #text + 1
        field, at = text:sub(at, to - 1), to
      end
      row[#row + 1] = field
      local c = text:sub(at, at)
      at = at + 1
      if c == "\r" then
        if text:sub(at, at) == "\n" then at = at + 1 end
        return row
      elseif c == "\n" or c == "" then
        return row
      elseif c ~= separator then
        options.raise("%s: row %d has %q after a quote", name, line, c)
      end
    end
  end
end

local missing = { [""] = true, NA = true, NaN = true, ["?"] = true }

local function csv(name, text, header)
  if text:sub(1, 3) == "\xef\xbb\xbf" then text = text:sub(4) end
  local first = text:match "^[^\r\n]*" or ""
  local separator = first:find("\t", 1, true) and "\t"
    or (not first:find(",", 1, true) and first:find(";", 1, true)) and ";" or ","
  local rows = {}
  for row in csv_rows(text, separator, name) do
    if not (#row == 1 and row[1] == "") then
      rows[#rows + 1] = row
      if #row ~= #rows[1] then
        options.raise("%s: row %d has %d fields, the first %d", name, #rows, #row, #rows[1])
      end
    end
  end
  if #rows == 0 then options.raise("%s: no rows", name) end
  local names = {}
  if header == nil then -- a first row without numbers, when there are more
    header = #rows > 1
    for _, field in ipairs(rows[1]) do header = header and not tonumber(field) end
  end
  local from = header and 2 or 1
  for i, field in ipairs(rows[1]) do names[i] = header and field or ("V%d"):format(i) end
  if #rows < from then options.raise("%s: no rows below the header", name) end
  return build(name, names, function(i)
    local values, texts, numeric = {}, {}, true
    for k = from, #rows do
      local field = rows[k][i]
      texts[k - from + 1] = not missing[field] and field
      local x = tonumber(field)
      if not x and not missing[field] then numeric = false end
      values[k - from + 1] = x and x + 0.0 or 0 / 0
    end
    if numeric then return values end
    return rdata.coded(texts)
  end)
end

-- ---- names --------------------------------------------------------------------------------------

local library = "/usr/lib/R/site-library/"
local mlbench = { "BostonHousing", "BostonHousing2", "BreastCancer", "DNA", "Glass", "HouseVotes84",
  "Ionosphere", "LetterRecognition", "Ozone", "PimaIndiansDiabetes", "PimaIndiansDiabetes2",
  "Satellite", "Servo", "Shuttle", "Sonar", "Soybean", "Vehicle", "Vowel", "Zoo" }
local ggplot2 = { "diamonds", "economics", "economics_long", "faithfuld", "luv_colours", "midwest",
  "mpg", "msleep", "presidential", "seals", "txhousing" }

local function one_object(name, objects, object)
  local list = {}
  for key in pairs(objects) do list[#list + 1] = key end
  table.sort(list)
  local key = object or (#list == 1 and list[1])
  if not key or objects[key] == nil then
    options.raise("%s holds %s: name one with { object = }", name, table.concat(list, ", "))
  end
  local node = objects[key]
  if type(node) == "function" then node = node() end
  local frame = of_node(key == "" and name or key, node)
  if not frame then options.raise("%s: %s is no table", name, key) end
  return frame
end

local function database(base, object)
  local index, why = fetch.bytes(base .. ".rdx")
  if not index then return nil, why end
  local file
  file, why = io.open(base .. ".rdb", "rb")
  if not file then return nil, why end
  local data = file:read "a"
  file:close()
  return one_object(base .. ".rdb", rdata.database(index, data, base .. ".rdx"), object)
end

local tables = {}

--- ml.data.table(name, { header, object })
--- A table by name or from a file. Names: the data frames of R's mlbench (BostonHousing, Sonar ...)
--- and ggplot2 (diamonds, mpg, ...), from Debian's r-cran-mlbench and r-cran-ggplot2, no R needed;
--- where they are not installed they are fetched as by ml.data.images. Files: .csv (also ; and
--- tab), .rda, .RData, .rds, and a pair .rdb and .rdx.
--- @param name string a data frame, or the path of a file
--- @param opts.header boolean =when the first row has no numbers: it holds the names (csv)
--- @param opts.object string which object of an R file that holds several
--- @return table with names, rows, columns (name -> f64 [rows], NaN where missing, or index [rows]
--- for levels), levels (name -> list; what is missing there is the level "NA"), matrix(opts); or
--- nil and a message that says what to install or supply
--- @source Leisch & Dimitriadou 2021 (mlbench); R Core Team, R Internals 1.8
function tables.table(name, opts)
  local where = "data.table"
  options.path(where, 1, name)
  options.check(where, opts, { "header", "object" })
  opts = opts or {}
  local header = options.optional(where, opts, "header", "boolean")
  local object = options.optional(where, opts, "object", "string")
  for _, known in ipairs(mlbench) do
    if known == name then
      local path, why = fetch.file("r-cran-mlbench", library .. "mlbench/data/" .. name .. ".rda",
        "1.0 MB")
      if not path then return nil, why end
      local bytes
      bytes, why = fetch.bytes(path)
      if not bytes then return nil, why end
      return one_object(path, rdata.parse(bytes, path), name)
    end
  end
  for _, known in ipairs(ggplot2) do
    if known == name then
      local path, why = fetch.file("r-cran-ggplot2", library .. "ggplot2/data/Rdata.rdb", "3.3 MB")
      if not path then return nil, why end
      return database(path:gsub("%.rdb$", ""), name)
    end
  end
  local mode = lfs.attributes(name, "mode")
  if not mode then
    local all = table.move(ggplot2, 1, #ggplot2, #mlbench + 1, { table.unpack(mlbench) })
    local near = options.nearest(name, all)
    return nil, ("%s: no such file, and no table of that name%s"):format(name,
      near and ("; did you mean '" .. near .. "'?") or "")
  end
  if mode ~= "file" then
    options.bad(where, 1, "cannot read %s (%s, wanted a regular file)", name, mode)
  end
  local suffix = name:lower():match "%.(%w+)$"
  if suffix == "rdb" or suffix == "rdx" then return database(name:sub(1, -5), object) end
  local bytes, why = fetch.bytes(name)
  if not bytes then options.bad(where, 1, "cannot read %s", why) end
  local head = bytes:sub(1, 5)
  if head == "RDX2\n" or head == "RDX3\n" or bytes:sub(1, 2) == "X\n" then
    return one_object(name, rdata.parse(bytes, name), object)
  end
  if bytes:find("\0", 1, true) then
    options.bad(where, 1, "%s is binary and no R data file", name)
  end
  return csv(name, bytes, header)
end

tables.methods = Frame
return tables
