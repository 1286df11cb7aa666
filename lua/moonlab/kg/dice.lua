--- Uniform numbers one by one, drawn from a generator in blocks.

--- A function that returns the next uniform in [0, 1), or with n an integer 1..n.
return function(key)
  local list, at, block = {}, 0, 0
  return function(n)
    at = at + 1
    if at > #list then
      block = block + 1
      list, at = key:fold("block", block):uniform({ 4096 }):totable(), 1
    end
    local u = list[at]
    return n and math.floor(u * n) + 1 or u
  end
end
