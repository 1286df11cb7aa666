/* The thread pool, the cancel flag, errors, and what the machine says of itself. */
#include "check.h"

#include <omp.h>

enum { N = 1000 };
typedef struct {
  int seen[N], worker[N];
  bool inside[N];
} record;

static void note(void *ctx, int64_t i, int worker) {
  record *r = ctx;
  r->seen[i]++;
  r->worker[i] = worker;
  r->inside[i] = ml_in_parallel();
}

static void nested(void *ctx, int64_t i, int worker) {
  (void)worker;
  if (i < 10)
    ml_parallel_for(100, 1e9, note, (record *)ctx + i);
}

static void test_every_index_once(void) {
  ml_error err;
  int threads = ml_threads();
  CHECK(threads >= 1);
  static const int counts[] = {1, 2, 5};
  for (size_t t = 0; t < 3; t++) {
    CHECK_OK(ml_set_threads(counts[t], &err), &err);
    CHECK_EQ(ml_threads(), counts[t]);
    for (int cheap = 0; cheap < 2; cheap++) {
      record r = {0};
      ml_parallel_for(N, cheap ? 1 : 1e6, note, &r);
      for (int i = 0; i < N; i++) {
        CHECK_EQ(r.seen[i], 1);
        CHECK(r.worker[i] >= 0 && r.worker[i] < counts[t]);
        CHECK_EQ(r.inside[i], counts[t] > 1 && !cheap);
      }
    }
  }
  record none = {0};
  ml_parallel_for(0, 1, note, &none);
  ml_parallel_for(-5, 1, note, &none);
  CHECK_EQ(none.seen[0], 0);
  record *r = calloc(10, sizeof *r);
  ml_parallel_for(12, 1e9, nested, r);
  for (int i = 0; i < 10; i++)
    for (int j = 0; j < 100; j++)
      CHECK(r[i].seen[j] == 1 && r[i].worker[j] == r[i].worker[0]);
  free(r);
  CHECK(!ml_in_parallel());
  CHECK_EQ(omp_get_max_threads(), 1); /* others who ask OpenMP, such as OpenBLAS, get one thread */
  CHECK_FAIL(ml_set_threads(0, &err), ML_EARG);
  CHECK_STRING(err.message, "0 threads, wanted 1..256");
  CHECK_FAIL(ml_set_threads(257, &err), ML_EARG);
  CHECK_OK(ml_set_threads(threads, &err), &err);
}

static void count_or_cancel(void *ctx, int64_t i, int worker) {
  int *count = ctx;
  (void)worker;
  ++*count;
  if (i == 3)
    ml_cancel();
}

static void test_cancelled_work_stops(void) {
  ml_error err;
  int count = 0;
  CHECK_OK(ml_parallel_poll(3, 1, count_or_cancel, &count, &err), &err);
  CHECK_EQ(count, 3);
  CHECK_FAIL(ml_parallel_poll(1000, 1, count_or_cancel, &count, &err), ML_ECANCELLED);
  CHECK_STRING(err.message, "interrupted");
  CHECK_EQ(count, 3 + 4);
  CHECK_FAIL(ml_parallel_poll(2, 1, count_or_cancel, &count, &err), ML_ECANCELLED);
  CHECK_EQ(count, 7);
  CHECK_OK(ml_parallel_poll(1, 1, count_or_cancel, &count, &err), &err);
  CHECK_EQ(count, 8);
  ml_cancel_clear();
  ml_cancel_after(2); /* the n-th poll */
  CHECK(!ml_cancelled() && ml_cancelled() && ml_cancelled());
  ml_cancel_clear();
  ml_cancel_after(5);
  CHECK(!ml_cancelled());
  CHECK_EQ(ml_cancel_after(0), 4);
  CHECK(!ml_cancelled());
}

static ml_status polled(ml_error *err) {
  ML_POLL(err);
  return ML_OK;
}

static void test_cancel(void) {
  ml_error err;
  CHECK(!ml_cancelled());
  CHECK_OK(polled(&err), &err);
  ml_cancel();
  CHECK_FAIL(polled(&err), ML_ECANCELLED);
  CHECK_STRING(err.message, "interrupted");
  ml_cancel_clear();
  CHECK_OK(polled(&err), &err);
}

static void test_error(void) {
  ml_error err;
  CHECK_EQ(ml_fail(&err, ML_ESHAPE, 2, "%d and %s", 3, "four"), ML_ESHAPE);
  CHECK_STRING(err.message, "3 and four");
  CHECK_EQ(err.arg, 2);
  CHECK_EQ(ml_fail(&err, ML_EIO, 1, "%0500d", 7), ML_EIO);
  CHECK_EQ(strlen(err.message), sizeof err.message - 1);
  ml_error_set(NULL, ML_EIO, 0, "nobody listens");
  for (int s = ML_OK; s <= ML_ECANCELLED; s++)
    CHECK(strcmp(ml_status_name((ml_status)s), "unknown status") != 0);
}

static void test_machine(void) {
  ml_isa isa = ml_cpu_isa();
  CHECK(isa <= ML_ISA_AVX512);
  const char *features = ml_cpu_features();
  if (isa >= ML_ISA_AVX2)
    CHECK(strstr(features, "avx2") && strstr(features, "fma"));
  if (isa == ML_ISA_AVX512)
    CHECK_HAS(features, "avx512f avx512vl avx512dq avx512bw");
  CHECK_STRING(ml_isa_name(ML_ISA_PORTABLE), "portable");
  CHECK(strlen(ml_cpu_name()) > 0);
  const char *asked = getenv("MOONLAB_SIMD");
  if (asked && !strcmp(asked, "portable"))
    CHECK_EQ(isa, ML_ISA_PORTABLE);
  double wall = ml_now(), cpu = ml_cpu_now();
  volatile double x = 0;
  for (int i = 0; i < 1000000; i++)
    x = x + 1;
  CHECK(ml_now() > wall && ml_cpu_now() > cpu);
  CHECK(ml_peak_rss() > 1 << 20);
}

static void test_hashes(void) { /* golden: Python's zlib.crc32, tests/golden/philox.py for hash64 */
  CHECK_EQ(ml_crc32(0, "123456789", 9), 0xcbf43926);
  CHECK_EQ(ml_crc32(ml_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
  CHECK(ml_hash64("a", 1, 0) == UINT64_C(0x2c0bdbf481420f8));
  CHECK(ml_hash64("", 0, 0) != ml_hash64("", 0, 1));
}

CHECK_MAIN(test_every_index_once, test_cancel, test_cancelled_work_stops, test_error, test_machine,
           test_hashes)
