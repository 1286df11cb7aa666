-- Stores of runs for the tests of pages.
local ml = require "moonlab"
local stores = {}

stores.evil = [[</script><script>document.title="OWNED"</script><img src=x onerror=alert(1)>"'&]]

local evil_svg = [[<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" ]]
  .. [[onload="document.title='OWNED'"><script>document.title='OWNED'</script>]]
  .. [[<rect width="40" height="40" fill="red"/></svg>]]

--- A run whose every text wants to be markup.
function stores.hostile(store)
  local evil = stores.evil
  local run = ml.runs.create { store = store, id = "hostile", recipe = evil, params = {
    [evil] = evil, lr = 1e-3, nan = 0 / 0 }, seed = 1 }
  for i = 1, 20 do
    run:log { step = i, [evil] = 1 / i, loss = i == 7 and 0 / 0 or i, kind = evil }
  end
  run:write(evil .. "\n")
  ml.write_file(run.dir .. "/" .. (evil:gsub("/", "_")):sub(1, 80) .. ".svg", evil_svg)
  ml.write_file(run.dir .. "/plain.svg", evil_svg)
  run:note(evil)
  run:results { command = evil, seeds = { 1 }, results = { { [evil] = evil, list = { evil } } },
    claims = { { name = evil, verdict = "shown", kind = evil, seeds = 1, value = 1 },
      { name = 7, verdict = evil }, evil } }
  run:finish("failed", evil)
end

--- n runs, one of them without metrics, one empty folder that is no run.
function stores.make(store, n)
  for i = 1, n do
    local run = ml.runs.create { store = store, id = ("demo-%04d"):format(i), recipe = "demo",
      params = { lr = 10 ^ -(i % 4), width = 16 * (1 + i % 3) }, seed = i }
    if i ~= 2 then
      for s = 1, 30 do run:log { step = s, loss = 3 / s + 0.01 * i } end
    end
    run:results { seeds = { i }, results = { { final = i } },
      claims = { { name = "falls", verdict = i % 2 == 0 and "shown" or "not shown", kind = "exact",
        seeds = 1, value = 1, bound = 2, relation = "at_most" } } }
    run:finish "done"
  end
  ml.system.make_dirs(store .. "/nothing")
end

return stores
