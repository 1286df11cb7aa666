-- Tables: R data files written by another program, comma-separated files, damage, errors.
local ml = require "moonlab"
local check = require "check"
local lfs = require "lfs"
local T = {}

local folder = "tests/golden/data/"
local host = arg and arg[-1] or "build/bin/moonlab"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function is_frame(t, count) -- golden: what make.py wrote
  check.equal(t.names, { "number", "count", "level", "text", "flag" })
  check.equal(t.rows, 3)
  check.equal(t.columns.number, ml.f64 { 1.5, -2.25, 1e300 })
  check.close(t.columns.count, count)
  check.equal(t.levels.level, { "low", "high", "NA" })
  check.equal(t.columns.level, ml.index { 2, 3, 1 })
  check.equal(t.levels.text, { "NA", "a é", "b" })
  check.equal(t.columns.text, ml.index { 3, 1, 2 })
  check.close(t.columns.flag, { 1, 0, 0 / 0 })
end

function T.test_r_files_of_both_versions()
  is_frame(ml.data.table(folder .. "frame2.rda"), { 7, 0 / 0, 9 })
  is_frame(ml.data.table(folder .. "frame.rds"), { 7, 0 / 0, 9 })
  is_frame(ml.data.table(folder .. "frame3.rda", { object = "frame" }), { 7, 8, 9 })
  is_frame(ml.data.table(folder .. "base.rdb", { object = "frame" }), { 7, 0 / 0, 9 })
  check.close(ml.data.table(folder .. "base.rdx", { object = "x" }).columns.V1, { 1, 2, 3, 4 })
  check.raises("holds frame, x: name one with { object = }", ml.data.table,
    folder .. "frame3.rda")
end

function T.test_damage_is_an_error_and_no_crash() -- every prefix, and every byte turned over
  local whole = ml.data.table(folder .. "frame.rds")
  check.equal(whole.rows, 3)
  local bytes = read(folder .. "frame.rds")
  check.in_folder(function(dir)
    local path = dir .. "/x.rds"
    for n = 2, #bytes - 1, 3 do
      ml.write_file(path, bytes:sub(1, n))
      check.raises("x.rds", ml.data.table, path)
    end
    for i = 1, #bytes, 2 do
      local byte = string.char(bytes:byte(i) ~ 0xff)
      ml.write_file(path, bytes:sub(1, i - 1) .. byte .. bytes:sub(i + 1))
      local ok, message = pcall(ml.data.table, path)
      if not ok and not tostring(message):find "x.rds" then check.fail(tostring(message)) end
    end
    ml.write_file(path, read(folder .. "frame2.rda"):sub(1, 90))
    check.raises("ends too early", ml.data.table, path)
    ml.write_file(path, read(folder .. "frame3.rda"):sub(1, 90))
    check.raises("xz data ends too early", ml.data.table, path)
    ml.write_file(path, "BZh91AY&SY")
    check.raises("bzip2 data, wanted gzip, zlib, xz or none", ml.data.table, path)
  end)
end

function T.test_comma_separated()
  check.in_folder(function(dir)
    local function csv(text, opts)
      ml.write_file(dir .. "/t.csv", text)
      return ml.data.table(dir .. "/t.csv", opts)
    end
    local t = csv('a,b,"c, d"\r\n1,x,"say ""no"""\r\n2.5,NA,\r\n,y,z\r\n')
    check.equal(t.names, { "a", "b", "c, d" })
    check.close(t.columns.a, { 1, 2.5, 0 / 0 })
    check.equal(t.levels.b, { "NA", "x", "y" })
    check.equal(t.levels["c, d"], { "NA", 'say "no"', "z" })
    check.equal(csv("1;2\n3;4\n").names, { "V1", "V2" })
    check.equal(csv("1\t2\n3\t4\n").columns.V2, ml.f64 { 2, 4 })
    check.equal(csv("x,y\nz,w\n", { header = false }).rows, 2)
    check.raises("row 2 has 1 fields, the first 2", csv, "a,b\n1\n")
    check.raises("row 2 has an open quote", csv, 'a,b\n"1,2\n')
    check.raises("no rows", csv, "")
    check.raises("no rows below the header", csv, "a,b\n", { header = true })
    check.raises("is binary", csv, "a\0b")
  end)
end

function T.test_columns_become_features()
  local t = ml.data.table(folder .. "frame2.rda")
  local X, names = t:matrix { "number", "level" }
  check.equal(X, ml.f64 { { 1.5, 0, 1, 0 }, { -2.25, 0, 0, 1 }, { 1e300, 1, 0, 0 } })
  check.equal(names, { "number", "level=low", "level=high", "level=NA" })
  check.equal(t:matrix { target = "text", dtype = "f32" }:shape(), { 3, 6 })
  check.raises("no column \"numbr\"; did you mean 'number'?", t.matrix, t, { "numbr" })
  check.is_true(tostring(t):find("3 rows, 5 columns", 1, true) ~= nil)
end

function T.test_names_that_are_none()
  local t, why = ml.data.table "BostonHousng"
  check.is_nil(t)
  check.is_true(why:find("did you mean 'BostonHousing'?", 1, true) ~= nil)
  check.raises("wanted a regular file", ml.data.table, "tests")
end

-- A name whose package is neither installed nor cached says what to do, and asks nobody here.
function T.test_a_missing_package_says_what_to_install()
  if lfs.attributes("/usr/lib/R/site-library/mlbench/data/Sonar.rda") then return end
  check.in_folder(function(dir)
    local pipe = io.popen(("MOONLAB_YES= MOONLAB_CACHE='%s' '%s' -e '%s' </dev/null 2>&1"):format(
      dir, host, 'print(require("moonlab").data.table "Sonar")'))
    local text = pipe:read "a"
    pipe:close()
    for _, wanted in ipairs { "apt-get install r-cran-mlbench (1.0 MB)", dir
      .. "/packages/r-cran-mlbench/usr/lib/R/site-library/mlbench/data/Sonar.rda", "--yes" } do
      if not text:find(wanted, 1, true) then check.fail(text) end
    end
  end)
end

function T.test_nothing_leaks_when_memory_runs_out()
  local bytes = read(folder .. "frame3.rda")
  check.no_leak(function() return ml.text.expand(bytes) end)
  check.no_leak(function() return ml.data.table(folder .. "frame2.rda"):matrix() end)
end

return T
