/* Philox and the draws built on it. */
#include "../../golden/philox.h"
#include "check.h"

static void test_known_answers(void) { /* golden: Random123's vectors for philox4x32, 10 rounds */
  static const struct {
    uint64_t key, low, high;
    uint32_t want[4];
  } kat[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {UINT64_C(0x299f31d0a4093822),
       UINT64_C(0x85a308d3243f6a88),
       UINT64_C(0x0370734413198a2e),
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t k = 0; k < sizeof kat / sizeof *kat; k++) {
    uint32_t out[4];
    ml_philox(out, kat[k].key, kat[k].low, kat[k].high);
    for (int i = 0; i < 4; i++)
      CHECK_EQ(out[i], kat[k].want[i]);
  }
}

static const ml_rng start = {GOLDEN_KEY, GOLDEN_COUNTER};

static void test_numpy_gives_the_same_numbers(void) { /* golden: tests/golden/philox.py */
  ml_error err;
  double d[GOLDEN_N];
  float f[GOLDEN_N];
  int64_t q[GOLDEN_N];
  ml_rng g = start;
  ml_rng_uniform_f64(&g, d, GOLDEN_N, -2.5, 3.25);
  CHECK_EQ(g.counter - start.counter, (GOLDEN_N + 1) / 2);
  for (int i = 0; i < GOLDEN_N; i++)
    CHECK(d[i] == golden_uniform_f64[i]);
  g = start;
  ml_rng_uniform_f32(&g, f, GOLDEN_N, -2.5, 3.25);
  CHECK_EQ(g.counter - start.counter, (GOLDEN_N + 3) / 4);
  for (int i = 0; i < GOLDEN_N; i++)
    CHECK(f[i] == golden_uniform_f32[i]);
  g = start; /* a few units in the last place between two libraries' log, cos and sin */
  ml_rng_normal_f64(&g, d, GOLDEN_N, 0.5, 2);
  for (int i = 0; i < GOLDEN_N; i++)
    CHECK_NEAR(d[i], golden_normal_f64[i], 1e-15, 2e-15);
  g = start;
  ml_rng_normal_f32(&g, f, GOLDEN_N, 0.5, 2);
  for (int i = 0; i < GOLDEN_N; i++)
    CHECK_NEAR(f[i], golden_normal_f32[i], 5e-7, 1e-6);
  g = start;
  ml_rng_truncated_normal_f64(&g, d, GOLDEN_N, 0.02);
  for (int i = 0; i < GOLDEN_N; i++)
    CHECK_NEAR(d[i], golden_truncated_f64[i], 2e-15, 1e-17);
  g = start;
  ml_rng_truncated_normal_f32(&g, f, GOLDEN_N, 0.02);
  for (int i = 0; i < GOLDEN_N; i++)
    CHECK_NEAR(f[i], golden_truncated_f32[i], 5e-7, 1e-8);
  g = start;
  ml_rng_integers(&g, q, GOLDEN_N, -10, 10);
  CHECK_EQ(g.counter - start.counter, (GOLDEN_N + 1) / 2);
  for (int i = 0; i < GOLDEN_N; i++)
    CHECK_EQ(q[i], golden_integers[i]);
  g = start; /* a range that rejects a quarter of the words */
  ml_rng_integers(&g, q, GOLDEN_N, -(INT64_C(1) << 62), (INT64_C(1) << 61) + (INT64_C(1) << 60));
  for (int i = 0; i < GOLDEN_N; i++)
    CHECK_EQ(q[i], golden_wide_integers[i]);
  g = start;
  CHECK_OK(ml_rng_permutation(&g, q, GOLDEN_N, &err), &err);
  CHECK_EQ(g.counter - start.counter, GOLDEN_N / 2);
  for (int i = 0; i < GOLDEN_N; i++)
    CHECK_EQ(q[i], golden_permutation[i]);
}

static void test_fold(void) { /* golden: tests/golden/philox.py */
  static const struct {
    const char *name;
    int64_t i;
  } folds[] = {{"", 0},   {"a", 0},     {"a", 1},
               {"a", -1}, {"layer", 7}, {"W\xc3\xb6rter", INT64_C(1) << 40}};
  for (size_t k = 0; k < sizeof folds / sizeof *folds; k++) {
    ml_rng h = ml_rng_fold(&start, folds[k].name, strlen(folds[k].name), folds[k].i);
    CHECK(h.key == golden_folds[k]);
    CHECK_EQ(h.counter, 0);
  }
  ml_rng later = start;
  later.counter += 1000; /* the counter plays no part */
  CHECK(ml_rng_fold(&later, "a", 1, 0).key == golden_folds[1]);
  CHECK(ml_rng_fold(&start, "a\0b", 3, 0).key != golden_folds[1]);
}

/* Element i of a draw depends on key, counter and i: not on n, the threads, or where a chunk ends.
 */
static void test_same_numbers_for_any_split_and_threads(void) { /* property */
  enum { N = 70001 };
  float *f = malloc(2 * N * sizeof *f);
  double *d = malloc(2 * N * sizeof *d);
  int64_t *q = malloc(2 * N * sizeof *q);
  ml_error err;
  int threads = ml_threads();
  for (int kind = 0; kind < 3; kind++) {
    for (int run = 0; run < 2; run++) {
      CHECK_OK(ml_set_threads(run ? 3 : 1, &err), &err);
      ml_rng a = start, b = start, c = start;
      float *x = f + run * N;
      double *y = d + run * N;
      if (kind == 0) {
        ml_rng_uniform_f32(&a, x, N, 0, 1);
        ml_rng_uniform_f64(&b, y, N, 0, 1);
      } else if (kind == 1) {
        ml_rng_normal_f32(&a, x, N, 0, 1);
        ml_rng_normal_f64(&b, y, N, 0, 1);
      } else {
        ml_rng_truncated_normal_f32(&a, x, N, 1);
        ml_rng_truncated_normal_f64(&b, y, N, 1);
      }
      ml_rng_integers(&c, q + run * N, N, 1, 6);
    }
    CHECK(!memcmp(f, f + N, N * sizeof *f));
    CHECK(!memcmp(d, d + N, N * sizeof *d));
    CHECK(!memcmp(q, q + N, N * sizeof *q));
    for (int n = 1; n < 300; n += n < 70 ? 1 : 57) { /* a shorter draw is a prefix */
      ml_rng a = start, b = start;
      if (kind == 0) {
        ml_rng_uniform_f32(&a, f + N, n, 0, 1);
        ml_rng_uniform_f64(&b, d + N, n, 0, 1);
      } else if (kind == 1) {
        ml_rng_normal_f32(&a, f + N, n, 0, 1);
        ml_rng_normal_f64(&b, d + N, n, 0, 1);
      } else {
        ml_rng_truncated_normal_f32(&a, f + N, n, 1);
        ml_rng_truncated_normal_f64(&b, d + N, n, 1);
      }
      CHECK(!memcmp(f, f + N, (size_t)n * sizeof *f));
      CHECK(!memcmp(d, d + N, (size_t)n * sizeof *d));
    }
  }
  CHECK_OK(ml_set_threads(threads, &err), &err);
  free(f);
  free(d);
  free(q);
}

static void test_moments(void) { /* property: within 5 standard errors */
  enum { N = 200000 };
  double *x = malloc(N * sizeof *x);
  float *f = malloc(N * sizeof *f);
  for (int kind = 0; kind < 4; kind++) {
    ml_rng g = ml_rng_seed(7);
    if (kind == 0)
      ml_rng_normal_f64(&g, x, N, 0, 1);
    else if (kind == 1)
      ml_rng_normal_f32(&g, f, N, 0, 1);
    else if (kind == 2)
      ml_rng_truncated_normal_f64(&g, x, N, 1);
    else
      ml_rng_truncated_normal_f32(&g, f, N, 1);
    double m1 = 0, m2 = 0, m4 = 0, most = 0;
    for (int i = 0; i < N; i++) {
      double v = kind % 2 ? (double)f[i] : x[i];
      m1 += v / N;
      m2 += v * v / N;
      m4 += v * v * v * v / N;
      most = fabs(v) > most ? fabs(v) : most;
    }
    CHECK_NEAR(m1, 0, 0, 5 / sqrt(N));
    CHECK_NEAR(m2, 1, 0, 5 * sqrt(2.0 / N));
    if (kind < 2)
      CHECK_NEAR(m4, 3, 0, 5 * sqrt(96.0 / N));
    else
      CHECK(most <= 2 / 0.87962566103423978 * (1 + 1e-7) && most > 2.2);
  }
  free(x);
  free(f);
}

static void test_integer_ranges(void) {
  enum { N = 60000 };
  int64_t *q = malloc(N * sizeof *q);
  int count[6] = {0};
  ml_rng g = ml_rng_seed(3);
  ml_rng_integers(&g, q, N, 1, 6);
  for (int i = 0; i < N; i++) {
    CHECK(q[i] >= 1 && q[i] <= 6);
    count[q[i] - 1]++;
  }
  for (int k = 0; k < 6; k++)
    CHECK_NEAR(count[k], N / 6.0, 0, 5 * sqrt(N / 6.0));
  ml_rng_integers(&g, q, 4, 5, 5);
  for (int i = 0; i < 4; i++)
    CHECK_EQ(q[i], 5);
  ml_rng_integers(&g, q, 1000, INT64_MIN, INT64_MAX);
  int negative = 0;
  for (int i = 0; i < 1000; i++)
    negative += q[i] < 0;
  CHECK(negative > 400 && negative < 600);
  free(q);
}

static void test_permutation_is_uniform(void) {
  ml_error err;
  int64_t x[4];
  int count[24] = {0};
  ml_rng g = ml_rng_seed(11);
  for (int run = 0; run < 24000; run++) {
    CHECK_OK(ml_rng_permutation(&g, x, 4, &err), &err);
    int rank = 0, seen = 0;
    for (int i = 0; i < 4; i++) {
      int smaller = 0;
      for (int j = i + 1; j < 4; j++)
        smaller += x[j] < x[i];
      rank = rank * (4 - i) + smaller;
      seen |= 1 << x[i];
    }
    CHECK_EQ(seen, 15);
    count[rank]++;
  }
  for (int k = 0; k < 24; k++)
    CHECK_NEAR(count[k], 1000, 0, 5 * sqrt(1000));
  uint64_t before = g.counter;
  CHECK_OK(ml_rng_permutation(&g, x, 1, &err), &err);
  CHECK_EQ(x[0], 0);
  CHECK_OK(ml_rng_permutation(&g, x, 0, &err), &err);
  CHECK_EQ(g.counter, before);
}

/* Every instruction set gives the same bytes: their hash, kept from the portable code. */
static void
test_bytes_are_the_same_everywhere(void) { /* golden: this program with MOONLAB_SIMD=portable */
  enum { N = 5003 };
  double d[N];
  float f[N];
  ml_rng g = ml_rng_seed(42);
  ml_rng_normal_f64(&g, d, N, 0, 1);
  uint64_t hash = ml_hash64(d, sizeof d, 0);
  ml_rng_normal_f32(&g, f, N, 0, 1);
  hash = ml_hash64(f, sizeof f, hash);
  ml_rng_truncated_normal_f64(&g, d, N, 1);
  hash = ml_hash64(d, sizeof d, hash);
  ml_rng_truncated_normal_f32(&g, f, N, 1);
  hash = ml_hash64(f, sizeof f, hash);
  ml_rng_uniform_f64(&g, d, N, -1, 3);
  hash = ml_hash64(d, sizeof d, hash);
  ml_rng_uniform_f32(&g, f, N, -1, 3);
  hash = ml_hash64(f, sizeof f, hash);
  if (!check_note(hash == UINT64_C(0xc0440ad0569e3ce0), __FILE__, __LINE__, "bytes of the draws"))
    CHECK_SAY(": hash %#llx\n", (unsigned long long)hash);
}

CHECK_MAIN(test_known_answers, test_numpy_gives_the_same_numbers, test_fold,
           test_same_numbers_for_any_split_and_threads, test_moments, test_integer_ranges,
           test_permutation_is_uniform, test_bytes_are_the_same_everywhere)
