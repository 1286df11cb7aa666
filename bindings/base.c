/* The machine and the process: threads, memory, version, clocks, whole files, and what only tests
 * need. */
#include "state.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#ifndef MOONLAB_VERSION
#define MOONLAB_VERSION "0.1.0"
#endif

char *openblas_get_config(void);
char *openblas_get_corename(void);

static int l_threads(lua_State *L) {
  ml_error err;
  if (!lua_isnoneornil(L, 1)) {
    lua_Integer n = mll_check_integer(L, 1);
    if (n < 1 || n > 256)
      return mll_arg_error(L, 1, "threads is %lld, wanted 1..256", (long long)n);
    if (ml_set_threads((int)n, &err))
      return mll_raise(L, &err);
  }
  lua_pushinteger(L, ml_threads());
  return 1;
}

static int l_memory(lua_State *L) {
  static const char *const names[] = {"limit", "reset_peak", NULL};
  mll_check_opts(L, 1, names);
  if (mll_has_opt(L, 1, "limit")) {
    lua_Integer limit = mll_opt_integer(L, 1, "limit", 0);
    if (limit < 0)
      return mll_opt_error(L, 1, "limit", "is %lld, wanted >= 0", (long long)limit);
    ml_memory_set_limit((uint64_t)limit);
  }
  if (mll_opt_boolean(L, 1, "reset_peak", false))
    ml_memory_reset_peak();
  ml_memory_info info;
  ml_memory(&info);
  lua_createtable(L, 0, 5);
  const struct {
    const char *name;
    uint64_t value;
  } fields[] = {{"live", info.live},
                {"cached", info.cached},
                {"peak", info.peak},
                {"limit", info.limit},
                {"system_allocations", info.system_allocations}};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    lua_pushinteger(L, fields[i].value > INT64_MAX ? INT64_MAX : (lua_Integer)fields[i].value);
    lua_setfield(L, -2, fields[i].name);
  }
  return 1;
}

static int l_live_bytes(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)ml_live_bytes());
  return 1;
}

static int l_trim(lua_State *L) {
  (void)L;
  ml_cache_trim();
  return 0;
}

static int l_version(lua_State *L) {
  lua_createtable(L, 0, 8);
  lua_pushliteral(L, MOONLAB_VERSION);
  lua_setfield(L, -2, "moonlab");
  lua_pushliteral(L, LUA_RELEASE);
  lua_setfield(L, -2, "lua");
  lua_pushfstring(L, "%s, kernel %s", openblas_get_config(), openblas_get_corename());
  lua_setfield(L, -2, "blas");
  lua_pushstring(L, ml_isa_name(ml_cpu_isa()));
  lua_setfield(L, -2, "simd");
  lua_pushstring(L, ml_cpu_name());
  lua_setfield(L, -2, "cpu");
  lua_pushstring(L, ml_cpu_features());
  lua_setfield(L, -2, "cpu_features");
  lua_pushinteger(L, ml_threads());
  lua_setfield(L, -2, "threads");
  const char *policy = getenv("OMP_WAIT_POLICY");
  lua_pushfstring(L, "OpenMP, waiting %s",
                  policy ? policy : "as the OpenMP runtime was loaded (no policy set)");
  lua_setfield(L, -2, "thread_model");
  return 1;
}

static int l_now(lua_State *L) {
  lua_pushnumber(L, ml_now());
  return 1;
}

static int l_cpu_time(lua_State *L) {
  lua_pushnumber(L, ml_cpu_now());
  return 1;
}

static int l_peak_rss(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)ml_peak_rss());
  return 1;
}

static int l_write_file(lua_State *L) {
  size_t n;
  const char *path = mll_check_path(L, 1), *data = mll_check_string(L, 2, &n);
  ml_error err;
  return ml_write_file(path, data, n, &err) ? mll_raise(L, &err) : 0;
}

static int l_matmul_precision(lua_State *L) {
  static const char *const names[] = {"highest", "high", "medium", NULL};
  if (!lua_isnoneornil(L, 1)) {
    if (lua_type(L, 1) != LUA_TSTRING)
      return mll_type_error(L, 1, "\"highest\", \"high\" or \"medium\"");
    const char *word = lua_tostring(L, 1);
    int i = 0;
    while (names[i] && strcmp(names[i], word) != 0)
      i++;
    if (!names[i])
      return mll_arg_error(
          L, 1, "precision is \"%.60s\", wanted \"highest\", \"high\" or \"medium\"", word);
    ml_set_matmul_precision((ml_precision)i);
  }
  lua_pushstring(L, names[ml_matmul_precision()]);
  lua_pushstring(L, ml_matmul_factors());
  return 2;
}

/* ---- for tests ------------------------------------------------------------------------------- */

static int l_inject(lua_State *L) {
  lua_Integer n = mll_check_integer(L, 1);
  if (n < 0)
    return mll_arg_error(L, 1, "n is %lld, wanted >= 0", (long long)n);
  ml_inject_alloc_failure(n, lua_toboolean(L, 2));
  return 0;
}

static int l_inject_count(lua_State *L) {
  lua_pushinteger(L, ml_inject_count());
  return 1;
}

static int l_alloc_count(lua_State *L) {
  lua_pushinteger(L, ml_alloc_count());
  return 1;
}

/* Lua's own allocator, failing from the n-th growth on until it is switched off. */
static struct {
  lua_Alloc alloc;
  void *ud;
  lua_Integer left, seen;
  bool failing;
} lua_memory;

static void *counting_alloc(void *ud, void *p, size_t old, size_t size) {
  (void)ud;
  if (size > (p ? old : 0)) {
    lua_memory.seen++;
    if (lua_memory.failing && --lua_memory.left <= 0)
      return NULL;
  }
  return lua_memory.alloc(lua_memory.ud, p, old, size);
}

static int l_inject_lua(lua_State *L) {
  lua_Integer n = mll_check_integer(L, 1);
  if (n < 0)
    return mll_arg_error(L, 1, "n is %lld, wanted >= 0", (long long)n);
  if (!lua_memory.alloc) {
    lua_memory.alloc = lua_getallocf(L, &lua_memory.ud);
    lua_setallocf(L, counting_alloc, NULL);
  }
  lua_memory.failing = n > 0;
  lua_memory.left = n;
  lua_memory.seen = 0;
  return 0;
}

static int l_inject_lua_count(lua_State *L) {
  lua_pushinteger(L, lua_memory.seen);
  return 1;
}

static int l_cancel(lua_State *L) {
  (void)L;
  ml_cancel();
  return 0;
}

static int l_cancelled(lua_State *L) {
  lua_pushboolean(L, ml_cancelled());
  return 1;
}

static int push_traceback(lua_State *L) {
  if (lua_isnone(L, 1))
    return mll_type_error(L, 1, "value");
  mll_push_traceback(L, 1);
  return 1;
}

static const mll_fn testing[] = {
    {"inject_alloc_failure", l_inject,
     "inject_alloc_failure(n, persistent)\nLets the n-th allocation of core from now on fail (and "
     "all after it); 0 ends it.\n"
     "@param n integer how many, >= 0\n@param persistent boolean =false"},
    {"inject_count", l_inject_count,
     "inject_count()\nAllocations of core since the last inject_alloc_failure.\n@return integer"},
    {"inject_lua_failure", l_inject_lua,
     "inject_lua_failure(n)\nLets Lua's own allocations fail from the n-th growth on; 0 ends "
     "it.\n@param n integer how many, >= 0"},
    {"inject_lua_count", l_inject_lua_count,
     "inject_lua_count()\nGrowing allocations of Lua since the last inject_lua_failure.\n@return "
     "integer"},
    {"alloc_count", l_alloc_count, "alloc_count()\nLive small objects of core.\n@return integer"},
    {"cancel", l_cancel, "cancel()\nSets the flag that Ctrl-C sets."},
    {"cancelled", l_cancelled, "cancelled()\nWhether that flag is set.\n@return boolean"},
    {"traceback", push_traceback,
     "traceback(error)\nThe traceback kept for an error that a scope or no_grad raised "
     "again.\n@param error any\n@return string or nil"},
    {NULL, NULL, NULL}};

static const mll_fn functions[] = {
    {"threads", l_threads,
     "threads(n)\nSets the number of threads of the pool; results never depend on it.\n@param n "
     "integer =nil 1..256; absent: only "
     "asks\n@return integer the number in force"},
    {"memory", l_memory,
     "memory(opts)\nWhat the storages of tensors take.\n@param opts.limit integer bytes; 0: back "
     "to 90 % of what is available\n"
     "@param opts.reset_peak boolean =false\n"
     "@return table { live, cached, peak, limit in bytes, system_allocations: requests to the "
     "system so far }"},
    {"live_bytes", l_live_bytes,
     "live_bytes()\nBytes in blocks owned by tensors.\n@return integer"},
    {"trim_cache", l_trim, "trim_cache()\nGives cached blocks back to the system."},
    {"version", l_version,
     "version()\nWhat runs here.\n@return table { moonlab, lua, blas, simd, cpu, cpu_features, "
     "threads, thread_model }"},
    {"now", l_now, "now()\nA clock that never goes back.\n@return number seconds"},
    {"cpu_time", l_cpu_time,
     "cpu_time()\nProcessor time of the process, all threads.\n@return number seconds"},
    {"peak_rss", l_peak_rss,
     "peak_rss()\nThe largest resident size of the process so far.\n@return integer bytes"},
    {"write_file", l_write_file,
     "write_file(path, data)\nWrites a file that appears whole or not at all.\n@param path "
     "string\n@param data string"},
    {"matmul_precision", l_matmul_precision,
     "matmul_precision(precision)\nAllows f32 products to be computed in less than f32, with sums "
     "in f32, on processors where that\n"
     "is faster. At \"high\" factors are sums of two bf16 (relative error 2^-16 each), on the "
     "matrix "
     "units of\n"
     "AMX; at \"medium\" they are rounded to bf16 (2^-8), there or by AVX512-BF16 on AMD.\n"
     "@param precision string =nil \"highest\", \"high\" or \"medium\"; absent: only asks\n"
     "@return string the setting, at first \"highest\"\n"
     "@return string what the factors of f32 products are now, \"f32\", \"bf16x2\" or "
     "\"bf16\"\n@source "
     "torch.set_float32_matmul_precision"},
    {NULL, NULL, NULL}};

void mll_open_base(lua_State *L) {
  luaL_checkstack(L, 4, NULL);
  /* Each collection frees a few megabytes of handles, which the next second asks for again. Given
   * back to the system in between, their pages were a third of the time of small operations
   * (measured). */
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_TOP_PAD, 1 << 20);
  lua_pushcfunction(L, push_traceback); /* for the message handler of a host */
  lua_setfield(L, LUA_REGISTRYINDEX, "ml.traceback");
  mll_push_help(L);
  lua_setfield(L, -2, "help");
  mll_register(L, functions);
  mll_open_rng(L);
  lua_newtable(L);
  mll_register(L, testing);
  lua_setfield(L, -2, "testing");
}
