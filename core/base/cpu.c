/* The machine: instruction sets, clocks, memory that is available. */
#include "private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static struct {
  bool known;
  ml_isa best;
  bool fast_bf16, tiles, asked;
  char name[64];
  char features[256];
} cpu;

#if defined(__x86_64__)
static uint64_t xcr0(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

static void add_feature(const char *name, bool present) {
  if (!present)
    return;
  size_t used = strlen(cpu.features);
  snprintf(cpu.features + used, sizeof cpu.features - used, "%s%s", used ? " " : "", name);
}

static bool bit(uint32_t word, int k) { return word >> k & 1; }

static void look(void) {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  uint32_t c1 = 0, b7 = 0, c7 = 0, d7 = 0, a71 = 0;
  if (__get_cpuid(1, &a, &b, &c, &d))
    c1 = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    b7 = b, c7 = c, d7 = d;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
      a71 = a;
  }
  /* an instruction set counts only when the system saves its registers */
  uint64_t saved = bit(c1, 27) ? xcr0() : 0;
  bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6,
       tile = (saved & 0x60000) == 0x60000;
  bool avx2 = ymm && bit(c1, 28) && bit(b7, 5), fma = ymm && bit(c1, 12);
  bool f = zmm && bit(b7, 16), dq = zmm && bit(b7, 17), bw = zmm && bit(b7, 30),
       vl = zmm && bit(b7, 31);
  add_feature("sse4.2", bit(c1, 20));
  add_feature("avx", ymm && bit(c1, 28));
  add_feature("avx2", avx2);
  add_feature("fma", fma);
  add_feature("f16c", ymm && bit(c1, 29));
  add_feature("bmi2", bit(b7, 8));
  add_feature("avx512f", f);
  add_feature("avx512vl", vl);
  add_feature("avx512dq", dq);
  add_feature("avx512bw", bw);
  add_feature("avx512cd", zmm && bit(b7, 28));
  add_feature("avx512_vnni", zmm && bit(c7, 11));
  add_feature("avx512_bf16", zmm && bit(a71, 5));
  add_feature("avx512_fp16", zmm && bit(d7, 23));
  add_feature("avx_vnni", ymm && bit(a71, 4));
  add_feature("amx_tile", tile && bit(d7, 24));
  add_feature("amx_int8", tile && bit(d7, 25));
  add_feature("amx_bf16", tile && bit(d7, 22));
  if (avx2 && fma)
    cpu.best = ML_ISA_AVX2;
  if (cpu.best == ML_ISA_AVX2 && f && vl && dq && bw)
    cpu.best = ML_ISA_AVX512;

  /* the vendor's twelve letters lie in ebx, edx, ecx */
  const bool amd =
      __get_cpuid(0, &a, &b, &c, &d) && b == 0x68747541u && d == 0x69746e65u && c == 0x444d4163u;
  cpu.tiles = tile && bit(d7, 24) && bit(d7, 22) && bit(a71, 5) && cpu.best == ML_ISA_AVX512;
  cpu.fast_bf16 = amd && cpu.best == ML_ISA_AVX512 && bit(a71, 5);

  uint32_t text[13] = {0};
  if (__get_cpuid(0x80000004, &a, &b, &c, &d)) {
    for (uint32_t k = 0; k < 3; k++)
      __get_cpuid(0x80000002 + k, &text[4 * k], &text[4 * k + 1], &text[4 * k + 2],
                  &text[4 * k + 3]);
    const char *from = (const char *)text;
    while (*from == ' ')
      from++;
    snprintf(cpu.name, sizeof cpu.name, "%s", from);
    for (size_t n = strlen(cpu.name); n && cpu.name[n - 1] == ' ';)
      cpu.name[--n] = 0;
  }
}
#else
static void look(void) {}
#endif

static void know(void) {
  if (cpu.known)
    return;
  look();
  if (!cpu.name[0])
    snprintf(cpu.name, sizeof cpu.name, "unknown processor");
  const char *asked = getenv("MOONLAB_SIMD");
  for (int isa = ML_ISA_PORTABLE; asked && isa < (int)cpu.best; isa++)
    if (!strcmp(asked, ml_isa_name((ml_isa)isa)))
      cpu.best = (ml_isa)isa;
  cpu.known = true;
}

ml_isa ml_cpu_isa(void) {
  know();
  return cpu.best;
}

bool ml_cpu_fast_bf16(void) {
  know();
  return cpu.fast_bf16 && cpu.best == ML_ISA_AVX512;
}

bool ml_cpu_matrix_units(void) {
  know();
  if (!cpu.asked) {
    cpu.asked = true;
    cpu.tiles = cpu.tiles && cpu.best == ML_ISA_AVX512;
#if defined(__x86_64__) && defined(__linux__)
    /* their registers are saved only for processes that asked: ARCH_REQ_XCOMP_PERM, XTILEDATA */
    cpu.tiles = cpu.tiles && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
    cpu.tiles = false;
#endif
  }
  return cpu.tiles;
}

const char *ml_isa_name(ml_isa isa) {
  static const char *const names[] = {"portable", "avx2", "avx512"};
  return names[isa];
}

const char *ml_cpu_name(void) {
  know();
  return cpu.name;
}

const char *ml_cpu_features(void) {
  know();
  return cpu.features;
}

static double clock_seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double ml_now(void) { return clock_seconds(CLOCK_MONOTONIC); }
double ml_cpu_now(void) { return clock_seconds(CLOCK_PROCESS_CPUTIME_ID); }

uint64_t ml_peak_rss(void) {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage))
    return 0;
  return (uint64_t)usage.ru_maxrss * 1024;
}

/* ---- memory available ------------------------------------------------------------------------ */

/* The number in a one-number file; UINT64_MAX when there is none ("max", no file). */
static uint64_t read_number(const char *path) {
  FILE *f = fopen(path, "re");
  if (!f)
    return UINT64_MAX;
  unsigned long long n;
  int got = fscanf(f, "%llu", &n);
  fclose(f);
  return got == 1 ? n : UINT64_MAX;
}

/* The number after a word that starts a line; 0 when the word is absent. */
static uint64_t read_entry(const char *path, const char *word) {
  FILE *f = fopen(path, "re");
  if (!f)
    return 0;
  char line[256];
  unsigned long long n = 0;
  size_t len = strlen(word);
  while (fgets(line, sizeof line, f))
    if (!strncmp(line, word, len) && sscanf(line + len, " %llu", &n) == 1)
      break;
  fclose(f);
  return n;
}

/* What one cgroup folder leaves: limit - usage + file pages that the kernel can drop. */
static uint64_t cgroup_left(const char *folder, bool v2) {
  char path[1200];
  snprintf(path, sizeof path, "%s/%s", folder, v2 ? "memory.max" : "memory.limit_in_bytes");
  uint64_t most = read_number(path);
  if (most >= (uint64_t)1 << 60)
    return UINT64_MAX;
  snprintf(path, sizeof path, "%s/%s", folder, v2 ? "memory.current" : "memory.usage_in_bytes");
  uint64_t used = read_number(path);
  if (used == UINT64_MAX)
    used = 0;
  snprintf(path, sizeof path, "%s/memory.stat", folder);
  uint64_t droppable = read_entry(path, v2 ? "inactive_file " : "total_inactive_file ");
  used = used > droppable ? used - droppable : 0;
  return most > used ? most - used : 0;
}

/* The folder of our group and all above it; inside a container the path may only be visible from
 * its root. */
static uint64_t cgroup_chain(const char *mount, const char *group, bool v2) {
  uint64_t least = UINT64_MAX;
  char folder[1100];
  snprintf(folder, sizeof folder, "%s%s", mount, group);
  size_t root = strlen(mount);
  for (;;) {
    uint64_t left = cgroup_left(folder, v2);
    least = left < least ? left : least;
    char *slash = strrchr(folder + root, '/');
    if (!slash)
      return least;
    *slash = 0;
  }
}

uint64_t ml_available_memory(void) {
  uint64_t least = 1024 * read_entry("/proc/meminfo", "MemAvailable:");
  if (!least)
    least = UINT64_MAX >> 1;
  FILE *f = fopen("/proc/self/cgroup", "re");
  if (!f)
    return least;
  char line[1100];
  while (fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    char *names = strchr(line, ':');
    char *group = names ? strchr(names + 1, ':') : NULL;
    if (!group || strlen(group) > 900)
      continue;
    *group++ = 0;
    names++;
    bool v2 = !*names, v1 = false;
    for (char *save = NULL, *word = strtok_r(names, ",", &save); word;
         word = strtok_r(NULL, ",", &save))
      v1 = v1 || !strcmp(word, "memory");
    uint64_t left = UINT64_MAX;
    if (v2) {
      left = cgroup_chain("/sys/fs/cgroup", group, true);
      uint64_t hybrid = cgroup_chain("/sys/fs/cgroup/unified", group, true);
      left = hybrid < left ? hybrid : left;
    } else if (v1) {
      left = cgroup_chain("/sys/fs/cgroup/memory", group, false);
    }
    least = left < least ? left : least;
  }
  fclose(f);
  return least;
}
