std = "lua54"
not_globals = { "math.random", "math.randomseed", "collectgarbage" }
ignore = { "581" } -- NaN-safe negations
max_line_length = 100
files["tests"] = { globals = { "collectgarbage" } }
files["tests/run.lua"] = { globals = { "arg" } }
files["lua/moonlab/meta.lua"] = { ignore = { "111", "212", "241" } } -- declarations without bodies
files["lua/moonlab/repl.lua"] = { globals = { "_", "_G" } }
