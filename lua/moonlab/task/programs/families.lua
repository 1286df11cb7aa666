--- What the programs of ml.task.programs may be asked for. A family says in two styles of words
--- what a function does, how programs write it, and, apart from them, what it is.
---
--- takes: "ab" two integers, "t" a list of integers, "s" a string; J and K in words and programs
--- stand for the constants of a problem, which f finds in p. A program is what comes before its
--- `return` and what it returns. With `number` it yields an integer, on which more can follow.
local families = {}

local function family(takes, ranges, words, programs, f, more)
  local one = { takes = takes, J = ranges.J, K = ranges.K, words = words, programs = {}, f = f,
    number = not more or more.number ~= false, natural = more and more.natural }
  for i, text in ipairs(programs) do
    local before, value = text:match "^(.-)%s*return (.*)$"
    one.programs[i] = { before = before, value = value }
  end
  families[#families + 1] = one
end

local any, some, few = { 0, 9 }, { 1, 9 }, { 2, 9 }
local plain = { number = false }

-- ---- two integers -------------------------------------------------------------------------------

family("ab", {}, { "sum of a and b", "add a to b" },
  { "return a + b", "local n = a return n + b", "local n = b return a + n" },
  function(_, a, b) return a + b end)
family("ab", {}, { "a minus b", "take b from a" },
  { "return a - b", "local n = a - b return n" },
  function(_, a, b) return a - b end)
family("ab", {}, { "product of a and b", "multiply a by b" },
  { "return a * b", "return b * a", "local n = a * b return n" },
  function(_, a, b) return a * b end)
family("ab", {}, { "larger of a and b", "whichever of a and b is greater" },
  { "return math.max ( a , b )", "local n = a if b > n then n = b end return n" }, function(_, a, b)
    return a > b and a or b
  end)
family("ab", {}, { "smaller of a and b", "whichever of a and b is less" },
  { "return math.min ( a , b )", "local n = a if b < n then n = b end return n" }, function(_, a, b)
    return a < b and a or b
  end)
family("ab", {}, { "distance of a and b", "how far a is from b" },
  { "return math.abs ( a - b )", "local n = a - b if n < 0 then n = - n end return n" },
  function(_, a, b) return a > b and a - b or b - a end)
family("ab", { K = few }, { "K times a and b", "add b to a multiplied by K" },
  { "return K * a + b", "return b + a * K", "local n = a * K return n + b" },
  function(p, a, b) return p.K * a + b end)
family("ab", { K = few }, { "K times a without b", "take b from a multiplied by K" },
  { "return K * a - b", "local n = K * a return n - b" },
  function(p, a, b) return p.K * a - b end)
family("ab", { K = few }, { "a modulo K", "what is left of a by K" },
  { "return a % K", "local n = a return n % K" },
  function(p, a) return a - p.K * math.floor(a / p.K) end)
family("ab", { K = few }, { "a divided by K rounded down", "how often K is in a" },
  { "return a // K", "local n = a // K return n" }, function(p, a) return math.floor(a / p.K) end)
family("ab", { J = some, K = some }, { "a but at least J and at most J and K",
  "a kept from J up to J and K" },
  { "return math.max ( J , math.min ( J + K , a ) )",
    "local n = a if n < J then n = J end if n > J + K then n = J + K end return n" },
  function(p, a)
    if a < p.J then return p.J end
    return a > p.J + p.K and p.J + p.K or a
  end)
family("ab", {}, { "greatest common divisor of a and b", "the most that divides a and b" },
  { "while b ~= 0 do a , b = b , a % b end return a" },
  function(_, a, b)
    if a == 0 or b == 0 then return a + b end
    for d = math.min(a, b), 1, -1 do
      if a % d == 0 and b % d == 0 then return d end
    end
  end, { natural = true })
family("ab", { K = few }, { "square of a and K times b", "add b multiplied by K to a squared" },
  { "return a * a + K * b", "local n = a * a return n + b * K" },
  function(p, a, b) return a * a + p.K * b end)
family("ab", { J = any, K = some }, { "K if a exceeds b else J", "J unless a exceeds b then K" },
  { "local n = J if a > b then n = K end return n",
    "local n = K if a <= b then n = J end return n" },
  function(p, a, b) return a > b and p.K or p.J end)
family("ab", {}, { "sum of one up to a", "add all up to a" },
  { "local n = 0 for i = 1 , a do n = n + i end return n", "return a * ( a + 1 ) // 2" },
  function(_, a)
    local n = 0
    while a > 0 do n, a = n + a, a - 1 end
    return n
  end, { natural = true })
family("ab", {}, { "sum of digits of a", "add the digits of a" },
  { "local n = 0 while a > 0 do n = n + a % 10 a = a // 10 end return n" },
  function(_, a)
    local n = 0
    for digit in tostring(a):gmatch "%d" do n = n + tonumber(digit) end
    return n
  end, { natural = true })
family("ab", { K = any }, { "whether a exceeds b by more than K", "is a above b with K added" },
  { "return a > b + K", "return a - b > K", "return b + K < a" },
  function(p, a, b) return a - p.K > b end, plain)
family("ab", { K = few }, { "whether a is divisible by K", "is a a multiple of K" },
  { "return a % K == 0", "local n = a % K return n == 0" },
  function(p, a) return math.fmod(a, p.K) == 0 end, plain)
family("ab", { J = any, K = some }, { "whether a lies from J to J and K",
  "is a between J and J with K added" },
  { "return a >= J and a <= J + K", "return not ( a < J or a > J + K )" },
  function(p, a) return p.J <= a and a <= p.J + p.K end, plain)

-- ---- a list -------------------------------------------------------------------------------------

local each = "for i , v in ipairs ( t ) do "

local function select_family(condition, ranges, words, other, keep)
  local test = "if " .. condition .. " then "
  family("t", ranges, { "count of elements " .. words, "how many of t are " .. other },
    { "local n = 0 " .. each .. test .. "n = n + 1 end end return n" }, function(p, t)
      local n = 0
      for i = 1, #t do n = n + (keep(p, t[i]) and 1 or 0) end
      return n
    end)
  family("t", ranges, { "sum of elements " .. words, "add those of t that are " .. other },
    { "local n = 0 " .. each .. test .. "n = n + v end end return n" }, function(p, t)
      local n = 0
      for i = #t, 1, -1 do n = n + (keep(p, t[i]) and t[i] or 0) end
      return n
    end)
  family("t", ranges, { "list of elements " .. words, "those of t that are " .. other },
    { "local r = { } " .. each .. test .. "r [ # r + 1 ] = v end end return r" }, function(p, t)
      local r = {}
      for i = 1, #t do
        if keep(p, t[i]) then table.insert(r, t[i]) end
      end
      return r
    end, plain)
  family("t", ranges, { "whether any element is " .. words, "is one of t " .. other },
    { "local r = false " .. each .. test .. "r = true end end return r",
      each .. test .. "return true end end return false" }, function(p, t)
      for i = #t, 1, -1 do
        if keep(p, t[i]) then return true end
      end
      return false
    end, plain)
  family("t", ranges, { "place of the first element " .. words, "where t is first " .. other },
    { "local n = 0 " .. each .. test .. "if n == 0 then n = i end end end return n" },
    function(p, t)
      local n = 0
      for i = #t, 1, -1 do
        if keep(p, t[i]) then n = i end
      end
      return n
    end)
end

select_family("v > K", { K = any }, "above K", "greater than K",
  function(p, v) return v > p.K end)
select_family("v < K", { K = any }, "below K", "less than K", function(p, v) return v < p.K end)
select_family("v % K == 0", { K = few }, "divisible by K", "a multiple of K",
  function(p, v) return math.fmod(v, p.K) == 0 end)

family("t", {}, { "sum of all elements", "add all of t" },
  { "local n = 0 " .. each .. "n = n + v end return n",
    "local n = 0 for i = 1 , # t do n = n + t [ i ] end return n" }, function(_, t)
    local n = 0
    for i = #t, 1, -1 do n = n + t[i] end
    return n
  end)
family("t", {}, { "number of elements", "how long t is" },
  { "return # t", "local n = 0 " .. each .. "n = i end return n" },
  function(_, t) return select("#", table.unpack(t)) end)
family("t", { K = any }, { "largest of K and all elements", "the greatest of t and K" },
  { "local n = K " .. each .. "if v > n then n = v end end return n",
    "local n = K " .. each .. "n = math.max ( n , v ) end return n" },
  function(p, t) return math.max(p.K, table.unpack(t)) end)
family("t", { K = any }, { "smallest of K and all elements", "the least of t and K" },
  { "local n = K " .. each .. "if v < n then n = v end end return n",
    "local n = K " .. each .. "n = math.min ( n , v ) end return n" },
  function(p, t) return math.min(p.K, table.unpack(t)) end)
family("t", { J = any, K = { 1, 4 } }, { "element K or J if there is none",
  "what t has at K else J" },
  { "return t [ K ] or J", "local n = t [ K ] if not n then n = J end return n" },
  function(p, t) return #t >= p.K and t[p.K] or p.J end)
family("t", { J = any }, { "last element or J if there is none", "what t ends with else J" },
  { "return t [ # t ] or J", "local n = J " .. each .. "n = v end return n" },
  function(p, t) return #t > 0 and t[#t] or p.J end)
family("t", { K = some }, { "list of elements with K added", "add K to each of t" },
  { "local r = { } " .. each .. "r [ i ] = v + K end return r",
    "for i = 1 , # t do t [ i ] = t [ i ] + K end return t" }, function(p, t)
    local r = {}
    for i = 1, #t do r[i] = p.K + t[i] end
    return r
  end, plain)
family("t", { K = few }, { "list of elements times K", "multiply each of t by K" },
  { "local r = { } " .. each .. "r [ i ] = v * K end return r",
    "for i = 1 , # t do t [ i ] = t [ i ] * K end return t" }, function(p, t)
    local r = {}
    for i = 1, #t do r[i] = p.K * t[i] end
    return r
  end, plain)
family("t", { J = some, K = few }, { "list of elements times K with J added",
  "multiply each of t by K and add J" },
  { "local r = { } " .. each .. "r [ i ] = v * K + J end return r",
    "local r = { } " .. each .. "r [ # r + 1 ] = K * v + J end return r" }, function(p, t)
    local r = {}
    for i = 1, #t do r[i] = p.K * t[i] + p.J end
    return r
  end, plain)
family("t", { J = any, K = few }, { "list of J minus K times each element",
  "take each of t multiplied by K from J" },
  { "local r = { } " .. each .. "r [ i ] = J - K * v end return r",
    "local r = { } " .. each .. "r [ # r + 1 ] = J - v * K end return r" }, function(p, t)
    local r = {}
    for i = 1, #t do r[i] = p.J - p.K * t[i] end
    return r
  end, plain)
family("t", { K = any }, { "reversed list with K added", "turn t around and add K to each" },
  { "local r = { } for i = # t , 1 , - 1 do r [ # r + 1 ] = t [ i ] + K end return r",
    "local r = { } " .. each .. "r [ # t - i + 1 ] = v + K end return r" }, function(p, t)
    local r = {}
    for i = 1, #t do r[i] = t[#t + 1 - i] + p.K end
    return r
  end, plain)
family("t", { K = any }, { "list of sums so far from K", "add up t step by step from K" },
  { "local r = { } local n = K " .. each .. "n = n + v r [ i ] = n end return r" }, function(p, t)
    local r, n = {}, p.K
    for i = 1, #t do
      n = n + t[i]
      table.insert(r, n)
    end
    return r
  end, plain)
family("t", { J = some, K = any }, { "list of elements above K with J added",
  "add J to those of t that are greater than K" },
  { "local r = { } " .. each .. "if v > K then r [ # r + 1 ] = v + J end end return r" },
  function(p, t)
    local r = {}
    for i = 1, #t do
      if t[i] > p.K then table.insert(r, p.J + t[i]) end
    end
    return r
  end, plain)

-- ---- a string -----------------------------------------------------------------------------------

family("s", { K = { 1, 5 } }, { "s repeated K times", "K copies of s" },
  { "return s : rep ( K )", "local r = \"\" for i = 1 , K do r = r .. s end return r" },
  function(p, s)
    local r = {}
    for i = 1, p.K do r[i] = s end
    return table.concat(r)
  end, plain)
family("s", { K = { 1, 5 } }, { "s reversed and repeated K times", "K copies of s turned around" },
  { "return s : reverse ( ) : rep ( K )",
    "local r = \"\" for i = 1 , K do r = r .. s : reverse ( ) end return r" }, function(p, s)
    local r = ""
    for c in s:rep(p.K):gmatch "." do r = c .. r end
    return r
  end, plain)
family("s", {}, { "length of s", "how long s is" }, { "return # s", "return s : len ( )" },
  function(_, s) return (select(2, s:gsub(".", ""))) end)
family("s", { K = { 1, 4 } }, { "first K characters of s", "s up to K" },
  { "return s : sub ( 1 , K )" }, function(p, s)
    local r = ""
    for i = 1, math.min(p.K, #s) do r = r .. s:sub(i, i) end
    return r
  end, plain)
family("s", { K = { 1, 4 } }, { "s without its first K characters", "s from behind K" },
  { "return s : sub ( K + 1 )", "return s : sub ( 1 + K )" }, function(p, s)
    local r = ""
    for i = p.K + 1, #s do r = r .. s:sub(i, i) end
    return r
  end, plain)
family("s", { K = { 1, 4 } }, { "last K characters of s", "the end of s of length K" },
  { "return s : sub ( - K )" }, function(p, s)
    local r = ""
    for i = math.max(1, #s - p.K + 1), #s do r = r .. s:sub(i, i) end
    return r
  end, plain)
family("s", { K = { 1, 4 } }, { "s and - repeated K times", "K copies of s each ended by -" },
  { "return ( s .. \"-\" ) : rep ( K )",
    "local r = \"\" for i = 1 , K do r = r .. s .. \"-\" end return r" }, function(p, s)
    local r = {}
    for i = 1, p.K do r[i] = s .. "-" end
    return table.concat(r)
  end, plain)
family("s", { J = { 1, 3 }, K = { 1, 4 } }, { "J times the first K characters of s",
  "J copies of s up to K" },
  { "return s : sub ( 1 , K ) : rep ( J )", "local r = s : sub ( 1 , K ) return r : rep ( J )" },
  function(p, s)
    local r = ""
    for _ = 1, p.J do
      for i = 1, math.min(p.K, #s) do r = r .. s:sub(i, i) end
    end
    return r
  end, plain)

-- ---- what can follow on an integer --------------------------------------------------------------

--- What may be done to the integer of a family: words in two styles, a program's part (V is the
--- value), the range of its constant, and what it is.
families.followers = {
  { words = { "then plus C", "and add C" }, program = "V + C", range = { 1, 9 },
    f = function(v, c) return v + c end },
  { words = { "then minus C", "and take off C" }, program = "V - C", range = { 1, 9 },
    f = function(v, c) return v - c end },
  { words = { "then times C", "and multiply by C" }, program = "( V ) * C", range = { 2, 5 },
    f = function(v, c) return v * c end },
}

return families
