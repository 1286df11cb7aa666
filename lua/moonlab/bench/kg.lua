--- Benchmarks of training on the triplets of a graph.
local common = require "moonlab.bench.common"
local ml = require "moonlab"

local jobs = {}

-- An update takes 64 triplets of about eleven tokens: choosing them, loss, gradient, clipping and
-- AdamW.
function jobs.kg_train()
  local list = {}
  for _, size in ipairs { "S", "M" } do
    list[#list + 1] = {
      row = { job = "kg_train", preset = size, batch = 64, dtype = "f32", unit = "updates/s" },
      ours = function(threads)
        local graph = ml.kg.synthetic { subjects = 400, seed = 1 }
        local split, clock = graph:split { seed = 1 }, threads == 1 and ml.cpu_time or ml.now
        local times, last = {}, nil
        ml.kg.train(split, ml.kg.codec(graph), { size = size, steps = size == "S" and 200 or 60,
          log = function()
            local now = clock()
            if last then times[#times + 1] = now - last end
            last = now
          end })
        return 1 / common.median(times)
      end,
      peer = function(threads)
        local r, why = common.python("kg_train.py", "--size " .. size, threads)
        return r and (threads == 1 and r.updates_per_cpu_s or r.updates_per_s), why, r and r.peer
      end,
    }
  end
  return list
end

return jobs
