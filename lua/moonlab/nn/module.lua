--- What every module has: its parameters by name, multipliers, files, and how it prints itself.
local core = require "moonlab.core"
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local Module = {}
Module.__index = Module
Module.__name = "ml.nn.Module"

local function is_module(x)
  local meta = getmetatable(x)
  return type(x) == "table" and type(meta) == "table" and meta.is_module == true
end

local function is_userdata(x, name)
  if type(x) ~= "userdata" then return false end
  local meta = getmetatable(x)
  return type(meta) == "table" and meta.__name == name
end
local function is_tensor(x) return is_userdata(x, "ml.tensor") end
-- A decoder has the methods of a module but no fields.
local function is_decoder(x) return is_userdata(x, "ml.transformer") end

-- Calls visit(kind, name, value, owner, key) for every parameter, buffer, generator and module
-- below `self`, in a fixed order.
local function walk(self, prefix, visit, seen)
  if seen[self] then return end
  seen[self] = true
  for key, value in sorted(self) do
    local name = prefix .. tostring(key)
    if is_tensor(value) then
      visit(value:is_param() and "parameter" or "buffer", name, value, self, key)
    elseif is_module(value) then
      visit("module", name, value, self, key)
      walk(value, name .. ".", visit, seen)
    elseif is_userdata(value, "ml.rng") then
      visit("rng", name, value, self, key)
    elseif is_decoder(value) then
      for inner, p in sorted(value:named_parameters()) do
        visit("parameter", name .. "." .. inner, p, value, inner)
      end
    elseif type(value) == "table" and key ~= "options" and getmetatable(value) == nil then
      walk(value, name .. ".", visit, seen)
    end
  end
end

local function collect(self, kind)
  local found, seen = {}, {}
  walk(self, "", function(what, name, value)
    if what == kind and not seen[value] then
      seen[value] = true
      found[name] = value
    end
  end, {})
  return found
end

--- net:named_parameters()
--- All parameters of a module and of the modules inside it; a shared one stands once, under its
--- first name.
--- @return table name ("1.weight") -> parameter
--- @source PyTorch's name
function Module:named_parameters() return collect(self, "parameter") end

--- net:named_buffers()
--- All tensors of a module that are not parameters.
--- @return table name -> tensor of any shape
--- @source PyTorch's name
function Module:named_buffers() return collect(self, "buffer") end

--- net:named_rngs()
--- The random generators inside a module (dropout's).
--- @return table name -> rng
--- @source -
function Module:named_rngs() return collect(self, "rng") end

--- net:parameters()
--- The parameters in the order of their names.
--- @return table list of parameters
--- @source PyTorch's name
function Module:parameters()
  local list = {}
  for _, p in sorted(self:named_parameters()) do list[#list + 1] = p end
  return list
end

--- net:training(on)
--- Switches a module and those inside it between training and evaluation (dropout is off in
--- evaluation).
--- @param on boolean absent: only asks
--- @return boolean whether it is in training
--- @source PyTorch's train() and eval()
function Module:training(on)
  if on ~= nil then
    if type(on) ~= "boolean" then
      options.bad("training", 1, "boolean expected, got %s", options.describe(on))
    end
    rawset(self, "is_training", on)
    walk(self, "", function(kind, _, module)
      if kind == "module" then rawset(module, "is_training", on) end
    end, {})
  end
  return self.is_training
end

--- net:zero_grad()
--- Fills the gradients of all parameters with zeros.
--- @source PyTorch's name
function Module:zero_grad()
  for _, p in ipairs(self:parameters()) do p:zero_grad() end
end

-- A parameter as the forward pass uses it.
local function effective(self, key)
  local multiplier = self.multipliers and self.multipliers[key]
  return multiplier and self[key] * multiplier or self[key]
end

--- net:multiplier(name, value)
--- The constant by which the forward pass multiplies a parameter of Linear, Embedding, LayerNorm or
--- RMSNorm, or of a decoder inside; kept by save.
--- @param name string as named_parameters() has it
--- @param value number absent: only asks
--- @return number
--- @source -
function Module:multiplier(name, value)
  local owner, key
  walk(self, "", function(kind, found, _, at, field)
    if kind == "parameter" and found == name then owner, key = at, field end
  end, {})
  if not owner then
    options.bad("multiplier", 1, "no parameter is called %s", options.describe(name))
  end
  if is_decoder(owner) then return owner:multiplier(key, value) end
  if value ~= nil then
    if type(value) ~= "number" or not (math.abs(value) < math.huge) then
      options.bad("multiplier", 2, "%s, wanted a finite number", options.describe(value))
    end
    if value ~= 1 and not owner.has_multipliers then
      options.bad("multiplier", 1, "'%s' belongs to %s, which has no multiplier", name,
        owner.kind or "a module of one's own")
    end
    owner.multipliers = owner.multipliers or {}
    owner.multipliers[key] = value ~= 1 and value or nil
  end
  return owner.multipliers and owner.multipliers[key] or 1
end

-- name -> multiplier of the parameters that have one.
local function multipliers_of(self)
  local found = {}
  walk(self, "", function(kind, name, _, owner, key)
    if kind ~= "parameter" then return end
    local value = is_decoder(owner) and owner:multiplier(key)
      or not is_decoder(owner) and owner.multipliers and owner.multipliers[key] or 1
    if value ~= 1 then found[name] = value end
  end, {})
  return found
end

local function read_multipliers(path, all, metadata)
  local text = metadata and metadata.multipliers
  if not text then return {} end
  local ok, found = pcall(core.json.decode, text)
  if not ok or type(found) ~= "table" then
    options.bad("load", 1, "%s: its multipliers cannot be read", path)
  end
  for name, value in sorted(found) do
    if not all[name] or type(value) ~= "number" then
      options.bad("load", 1, "%s: its multiplier of '%s' is of no use here", path, tostring(name))
    end
  end
  return found
end

--- net:save(path)
--- Writes parameters, multipliers and buffers to a safetensors file, whole or not at all.
--- @param path string
--- @source -
function Module:save(path)
  local all = self:named_parameters()
  for name, t in pairs(self:named_buffers()) do all[name] = t end
  local multipliers = multipliers_of(self)
  core.save(path, all, next(multipliers) and { metadata = {
    multipliers = core.json.encode(multipliers) } } or nil)
end

--- net:load(path)
--- Takes over parameters, multipliers and buffers from a file that save wrote; nothing changes
--- unless all of them fit.
--- @param path string
--- @return module itself, or nil and a message when there is no such file
--- @source -
function Module:load(path)
  local found, why = core.load(path) -- or the metadata
  if found == nil then return nil, why end
  if type(found) ~= "table" then
    options.bad("load", 1, "%s holds one tensor without a name", path)
  end
  local all = self:named_parameters()
  for name, t in pairs(self:named_buffers()) do all[name] = t end
  for name, t in sorted(all) do
    local f = found[name]
    if not f then
      options.bad("load", 1, "%s has no tensor '%s'", path, name)
    end
    if f:dtype() ~= t:dtype() or table.concat(f:shape(), "x") ~= table.concat(t:shape(), "x") then
      options.bad("load", 1, "%s: '%s' is %s, wanted %s", path, name, options.describe(f),
        options.describe(t))
    end
  end
  for name in sorted(found) do
    if not all[name] then
      local names = {}
      for n in pairs(all) do names[#names + 1] = n end
      local near = options.nearest(name, names)
      options.bad("load", 1, "%s has a tensor '%s' that the module lacks%s",
        path, name, near and ("; did you mean '" .. near .. "'?") or "")
    end
  end
  local multipliers = read_multipliers(path, all, why)
  for name in sorted(multipliers_of(self)) do
    if not multipliers[name] then self:multiplier(name, 1) end
  end
  for name, value in sorted(multipliers) do self:multiplier(name, value) end
  core.no_grad(function()
    for name, t in pairs(all) do t:copy_(found[name]) end
  end)
  return self
end

local function call(self, ...)
  local forward = self.forward
  if not forward then options.raise("this module has no forward function") end
  return forward(self, ...)
end

local being_described = {}

local function describe_parts(self)
  local inner = {}
  for key, value in sorted(self) do
    if is_module(value) then
      inner[#inner + 1] = ("  (%s): %s"):format(key, tostring(value):gsub("\n", "\n  "))
    end
  end
  local head = self.description and self:description() or self.kind or "Module"
  if #inner == 0 then return head end
  return head .. "{\n" .. table.concat(inner, "\n") .. "\n}"
end

-- A module that holds itself is named where it comes again.
local function describe(self)
  local kind = self.kind or "Module"
  if being_described[self] then return kind .. "{ itself }" end
  being_described[self] = true
  local ok, text = pcall(describe_parts, self)
  being_described[self] = nil
  return ok and text or kind
end

local function new_class(kind)
  local class = setmetatable({}, { __index = Module })
  local meta = { __index = class, __call = call, __tostring = describe, __name = "ml.nn." .. kind,
    is_module = true }
  class.kind = kind
  class.is_training = true
  return class, meta
end

-- Tensors in a module outlive the scope they were made in.
local function adopt(self)
  walk(self, "", function(kind, _, t) if kind == "buffer" then core.keep(t) end end, {})
  return self
end

return { methods = Module, new_class = new_class, adopt = adopt, effective = effective,
  is_module = is_module, is_userdata = is_userdata }
