std = "lua54"
not_globals = { "math.random", "math.randomseed", "collectgarbage" }
ignore = { "581" } -- NaN-safe negations
max_line_length = 120
files["tests"] = { globals = { "collectgarbage" } }
files["lua/moonlab/repl.lua"] = { globals = { "_", "_G" } }
