--- The commands of ./moonlab: run, sweep, recipes, runs, report, serve, bench, help, docs, new.
local options = require "moonlab.options"
local sorted = require "moonlab.sorted"

local cli = { commands = {} }

--- What runs here: version, BLAS, instruction set, threads.
function cli.version()
  local ml = require "moonlab"
  local v = ml.version()
  print(("moonlab %s (%s)"):format(v.moonlab, v.lua or _VERSION))
  print(("  BLAS     %s"):format(v.blas))
  print(("  SIMD     %s on %s"):format(v.simd, v.cpu))
  print(("  threads  %d, %s"):format(v.threads, v.thread_model))
  return 0
end

local function usage(text)
  io.stderr:write("usage: ./moonlab ", text, "\n")
  return 2
end

local commands = cli.commands

function commands.run(...) return require("moonlab.recipe.command").run(...) end
function commands.sweep(...) return require("moonlab.sweep.command").main(...) end
function commands.new(...) return require("moonlab.recipe.template").command(...) end
function commands.recipes(...)
  if select("#", ...) > 0 then return usage "recipes" end
  return require("moonlab.recipe.catalogue").list()
end
function commands.scale(...) return require("moonlab.proxies.scale").command(...) end
function commands.bench(...) return require("moonlab.bench").command(...) end
function commands.runs(...) return require("moonlab.runs.command").main(...) end
function commands.report(...) return require("moonlab.report").command(...) end
function commands.serve(...) return require("moonlab.serve").command(...) end
function commands.version() return cli.version() end
function commands.docs(...)
  return require("moonlab.docs").command(...)
end

--- help NAME: a recipe's parameters and claims, or the entry of a function.
function commands.help(name, more)
  if name == nil then
    print [[
./moonlab run NAME [key=value ...]   runs a recipe; --smoke, --full, --out DIR, --seed N, --resume,
                                     --dry-run
./moonlab sweep NAME key=a,b ...     a grid or search over a recipe, in several processes;
                                     --workers N, --random N, --adapt key, --list, --slurm, --retry
./moonlab recipes                    lists the recipes
./moonlab new NAME                   writes a recipe that runs, to be changed into one's own
./moonlab help NAME                  what a recipe, ml.NAME or a table (nn, plot) does or holds
./moonlab runs [show ID | compare A B | tag ID WORD | untag | note ID TEXT | delete ID | reindex]
./moonlab scale [SIZE ...] [name=mup]  sizes of a ladder with their parameterization
./moonlab report ID...               writes one HTML file about a run, or several side by side
./moonlab serve [--port N]           shows the runs in the browser of this machine, as they go
./moonlab serve --openai MODEL       answers for a decoder as OpenAI's endpoints do, on this machine
./moonlab bench [NAME] [--peers] [--json]
./moonlab test                       set-up, build and every test
./moonlab docs [--out DIR]           writes guides, recipes and every name as pages for a browser
./moonlab                            the prompt
./moonlab script.lua a b             a Lua script; also -e, -i, -l, and - for standard input
./moonlab --version                  version, BLAS, instruction set, threads]]
    return 0
  end
  if more ~= nil then return usage "help [NAME]" end
  local recipe = require "moonlab.recipe"
  if recipe.find(name) then return require("moonlab.recipe.catalogue").help(name) end
  local help = require "moonlab.help"
  local text = help.text(name)
  if text then
    print(help.wrapped(text, require("moonlab.progress.display").width()))
    return 0
  end
  local names = help.names()
  for _, found in ipairs(recipe.names()) do names[#names + 1] = found end
  local near = options.nearest(name, names)
  io.stderr:write(("moonlab: nothing is called '%s'%s\n"):format(name,
    near and ("; did you mean '" .. near .. "'?") or ""))
  return 1
end

local function failure(message) return require("moonlab.recipe.errors").handler(message) end

--- Runs command `name` with the words after it; the result is the exit status.
function cli.main(name, ...)
  local command = commands[name]
  if not command then
    local names = {}
    for known in sorted(commands) do names[#names + 1] = known end
    local near = options.nearest(tostring(name), names)
    io.stderr:write(("moonlab: no command and no file is called '%s'%s\n"):format(tostring(name),
      near and ("; did you mean '" .. near .. "'?") or ("; commands: "
        .. table.concat(names, ", "))))
    return 2
  end
  local ok, result = xpcall(command, failure, ...)
  if ok then return result or 0 end
  require("moonlab.progress.display").reset()
  if result.interrupt then
    io.stderr:write "moonlab: interrupted\n"
    return 130
  end
  error(("%s\n%s"):format(result.message, result.trace), 0)
end

return cli
