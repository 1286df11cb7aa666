/* Opens libmoonlab after setting how idle OpenMP threads wait and which kernels OpenBLAS takes:
 * both read that once, when they are loaded, which is before main() in a program that links them.
 * As moonlab/core.so this file is also Lua's way in. */
#include "loader.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lua.h>

#include <lauxlib.h>

/* OpenBLAS chooses its kernels by model number and takes plain SSE3 ones on processors younger than
 * itself (measured: 31 instead of 150 GFLOP/s). The instruction sets decide here, unless the user
 * has. */
static void choose_blas_kernels(void) {
#if defined(__x86_64__)
  const char *kernels = NULL;
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    kernels = "SkylakeX";
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    kernels = __builtin_cpu_is("amd") ? "Zen" : "Haswell";
  if (kernels)
    setenv("OPENBLAS_CORETYPE", kernels, 0);
#endif
}

void *moonlab_load(const char **why) {
  static char reason[1024];
  static void *handle;
  if (handle)
    return handle;
  /* Passive: libgomp's default spin costs several times the work when the other core is busy. A
   * short spin keeps the cost of a parallel region at a few microseconds. */
  setenv("OMP_WAIT_POLICY", "passive", 0);
  setenv("GOMP_SPINCOUNT", "2000", 0);
  setenv("OMP_MAX_ACTIVE_LEVELS", "1", 0);
  choose_blas_kernels();

  Dl_info self;
  char path[4096];
  static const char *const beside[] = {"../libmoonlab.so", "../lib/libmoonlab.so",
                                       "../lib/lua/5.4/libmoonlab.so"};
  void *here;
  void *(*address)(const char **) = moonlab_load;
  memcpy(&here, &address, sizeof here);
  if (!dladdr(here, &self) || !self.dli_fname) {
    *why = "cannot tell where this program lies";
    return NULL;
  }
  char real[4096];
  if (!realpath(self.dli_fname, real) && !realpath("/proc/self/exe", real))
    real[0] = '\0';
  char *slash = strrchr(real, '/');
  if (slash)
    *slash = '\0';
  snprintf(reason, sizeof reason, "libmoonlab.so not found near %.900s", real);
  for (size_t i = 0; i < sizeof beside / sizeof *beside && !handle; i++) {
    int n = snprintf(path, sizeof path, "%s/%s", real, beside[i]);
    char resolved[4096];
    if (n < 0 || (size_t)n >= sizeof path || !realpath(path, resolved))
      continue;
    handle = dlopen(resolved, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
      snprintf(reason, sizeof reason, "%.1000s", dlerror());
  }
  *why = reason;
  return handle;
}

#ifndef MOONLAB_HOST
__attribute__((visibility("default"))) int luaopen_moonlab_core(lua_State *L);

int luaopen_moonlab_core(lua_State *L) {
  const char *why = NULL;
  void *library = moonlab_load(&why);
  if (!library)
    return luaL_error(L, "moonlab: %s", why);
  int (*open)(lua_State *);
  void *symbol = dlsym(library, "mll_open_core");
  if (!symbol)
    return luaL_error(L, "moonlab: libmoonlab.so has no mll_open_core: another version?");
  memcpy(&open, &symbol, sizeof open);
  return open(L);
}
#endif
