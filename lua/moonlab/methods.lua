--- Classes written in Lua whose methods are public: help finds them as those of the bindings.
return function(name, class)
  class.__dir = {}
  for key, value in pairs(class) do
    if type(value) == "function" and not key:find "^_" then table.insert(class.__dir, key) end
  end
  table.sort(class.__dir)
  debug.getregistry()[name] = class
end
