--- Statistics that studies share: intervals, resampling, pass@k, detection, rank correlation,
--- calibration.
local stats = {}

local parts = { "distributions", "summary", "counts", "resampling", "permutation", "detection",
  "calibration", "correlation" }
for _, part in ipairs(parts) do
  for name, f in pairs(require("moonlab.stats." .. part)) do
    if not name:find("^raw_") then stats[name] = f end
  end
end

return stats
