/* Small metadata on the C heap, counted for leak tests, and the failure injector. */
#include "private.h"

#include <stdlib.h>
#include <string.h>

struct ml_injector ml_injector;
static int64_t alloc_count;

void ml_inject_alloc_failure(int64_t n, bool persistent) {
  ml_injector = (struct ml_injector){n > 0, persistent, 0, n};
}

int64_t ml_inject_count(void) { return ml_injector.seen; }

void *ml_alloc(size_t bytes) {
  if (ml_inject_fails())
    return NULL;
  /* malloc and memset: glibc's calloc goes around the thread cache and takes several times longer
   */
  void *p = malloc(bytes ? bytes : 1);
  if (!p)
    return NULL;
  memset(p, 0, bytes);
  alloc_count++;
  return p;
}

void *ml_realloc(void *p, size_t bytes) {
  if (ml_inject_fails())
    return NULL;
  void *q = realloc(p, bytes ? bytes : 1);
  if (q && !p)
    alloc_count++;
  return q;
}

void ml_free(void *p) {
  if (!p)
    return;
  alloc_count--;
  free(p);
}

int64_t ml_alloc_count(void) { return alloc_count; }
