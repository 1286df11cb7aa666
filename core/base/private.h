/* What the files of the base room share and nobody else sees. */
#ifndef MOONLAB_BASE_PRIVATE_H
#define MOONLAB_BASE_PRIVATE_H

#include "base.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define ML_POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define ML_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define ML_POISON(p, n) ((void)(p), (void)(n))
#define ML_UNPOISON(p, n) ((void)(p), (void)(n))
#endif

/* Counts one allocation for the injector; true when it has to fail. */
struct ml_injector {
  bool on;
  bool persistent;
  int64_t seen;
  int64_t fail_at;
};
extern struct ml_injector ml_injector;

static inline bool ml_inject_fails(void) {
  int64_t n = ++ml_injector.seen;
  if (__builtin_expect(!ml_injector.on, 1))
    return false;
  return ml_injector.persistent ? n >= ml_injector.fail_at : n == ml_injector.fail_at;
}

/* Bytes that this process may still take: the machine's MemAvailable and every cgroup above us. */
uint64_t ml_available_memory(void);

#endif
