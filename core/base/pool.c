/* The thread pool and the cancel flag. The only place in core that opens a parallel region. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "private.h"

#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Waking a sleeping thread takes some microseconds; below this cost one thread is done sooner. */
#define PARALLEL_COST 1e5
enum { MAX_THREADS = 256 };

static int threads = 1;
static _Thread_local int this_worker = -1; /* >= 0 inside a region */
static atomic_int cancelled;               /* 1: set; -n: tests, set by the n-th poll */

static int env_threads(const char *name) {
  const char *text = getenv(name);
  if (!text)
    return 0;
  char *end;
  long n = strtol(text, &end, 10); /* OMP_NUM_THREADS may be a list; its first entry counts */
  if (end == text || (*end && *end != ',') || n < 1)
    return 0;
  return n > MAX_THREADS ? MAX_THREADS : (int)n;
}

static int affinity_threads(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set))
    return 1;
  int n = CPU_COUNT(&set);
  return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
}

/* The OpenMP default stays 1, so that OpenBLAS runs on the thread that calls it; our regions name
 * their size. */
__attribute__((constructor)) static void pool_init(void) {
  int n = env_threads("MOONLAB_THREADS");
  if (!n)
    n = env_threads("OMP_NUM_THREADS");
  threads = n ? n : affinity_threads();
  omp_set_dynamic(0);
  omp_set_num_threads(1);
}

int ml_threads(void) { return threads; }

ml_status ml_set_threads(int n, ml_error *err) {
  if (n < 1 || n > MAX_THREADS)
    return ml_fail(err, ML_EARG, 1, "%d threads, wanted 1..%d", n, MAX_THREADS);
  threads = n;
  return ML_OK;
}

bool ml_in_parallel(void) { return this_worker >= 0; }

void ml_parallel_for(int64_t n, double cost, ml_body body, void *ctx) {
  if (n <= 0)
    return;
  int worker = this_worker;
  if (worker >= 0 || threads == 1 || n == 1 || !((double)n * cost > PARALLEL_COST)) {
    for (int64_t i = 0; i < n; i++)
      body(ctx, i, worker < 0 ? 0 : worker);
    return;
  }
  int pool = threads;
#pragma omp parallel num_threads(pool)
  {
    int w = omp_get_thread_num();
    this_worker = w;
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t i = 0; i < n; i++)
      body(ctx, i, w);
    this_worker = -1;
  }
}

typedef struct {
  ml_body body;
  void *ctx;
} polled;

static void run_polled(void *ctx, int64_t i, int worker) {
  const polled *p = ctx;
  if (!ml_cancelled())
    p->body(p->ctx, i, worker);
}

ml_status ml_parallel_poll(int64_t n, double cost, ml_body body, void *ctx, ml_error *err) {
  if (n <= 1) {
    ml_parallel_for(n, cost, body, ctx);
    return ML_OK;
  }
  polled p = {body, ctx};
  ml_parallel_for(n, cost, run_polled, &p);
  ML_POLL(err);
  return ML_OK;
}

void ml_cancel(void) { atomic_store_explicit(&cancelled, 1, memory_order_relaxed); }
bool ml_cancelled(void) {
  int state = atomic_load_explicit(&cancelled, memory_order_relaxed);
  if (state >= 0)
    return state != 0;
  if (atomic_fetch_add(&cancelled, 1) != -1)
    return false;
  ml_cancel();
  return true;
}
int ml_cancel_after(int n) {
  int state = atomic_exchange(&cancelled, -n);
  return state < 0 ? -state : 0;
}
void ml_cancel_clear(void) { atomic_store_explicit(&cancelled, 0, memory_order_relaxed); }
