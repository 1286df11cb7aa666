/* Matrix products against a plain sum in f64, over shapes at the edges of tiles, and their
 * determinism. */
#include "check.h"
#include "tensor/gemm.h"
#if defined(__x86_64__)
#include "amx_emulated.h"
#endif

typedef struct {
  ml_dtype dtype;
  int64_t rows, cols, ld;
  char *data; /* behind guard elements */
} matrix;

enum { GUARD = 16 };

static double get(const matrix *m, int64_t i, int64_t j) {
  int64_t at = GUARD + i * m->ld + j;
  return m->dtype == ML_F32 ? (double)((const float *)(void *)m->data)[at]
                            : ((const double *)(void *)m->data)[at];
}

static void put(matrix *m, int64_t i, int64_t j, double x) {
  int64_t at = GUARD + i * m->ld + j;
  if (m->dtype == ML_F32)
    ((float *)(void *)m->data)[at] = (float)x;
  else
    ((double *)(void *)m->data)[at] = x;
}

static size_t bytes_of(const matrix *m) {
  return (size_t)(2 * GUARD + m->rows * m->ld) * ml_dtype_size(m->dtype);
}
static void *first(const matrix *m) { return m->data + GUARD * ml_dtype_size(m->dtype); }

static float bf16(float x) { /* to nearest, ties to even */
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  u += 0x7fff + (u >> 16 & 1);
  u &= 0xffff0000u;
  memcpy(&x, &u, sizeof u);
  return x;
}

static bool exact_factors; /* numbers that bf16 holds */

/* Every byte outside the matrix is NaN: reading there spoils a result, writing there shows. */
static matrix make(ml_dtype dtype, int64_t rows, int64_t cols, int64_t pad, ml_rng *g) {
  matrix m = {.dtype = dtype, .rows = rows, .cols = cols, .ld = cols + pad};
  m.data = malloc(bytes_of(&m));
  if (!m.data)
    abort();
  memset(m.data, 0xff, bytes_of(&m));
  double *x = malloc((size_t)(rows * cols + 1) * sizeof *x);
  if (!x)
    abort();
  ml_rng_normal_f64(g, x, rows * cols, 0, 1);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++)
      put(&m, i, j,
          exact_factors && dtype == ML_F32 ? (double)bf16((float)x[i * cols + j])
                                           : x[i * cols + j]);
  free(x);
  return m;
}

static matrix copy(const matrix *m) {
  matrix c = *m;
  c.data = malloc(bytes_of(m));
  if (!c.data)
    abort();
  memcpy(c.data, m->data, bytes_of(m));
  return c;
}

static void fill(matrix *m, double x) {
  for (int64_t i = 0; i < m->rows; i++)
    for (int64_t j = 0; j < m->cols; j++)
      put(m, i, j, x);
}

static void multiply(bool ta, bool tb, int64_t K, double alpha, const matrix *A, const matrix *B,
                     double beta, matrix *C) {
  ml_gemm(C->dtype, ta, tb, C->rows, C->cols, K, alpha, first(A), A->ld, first(B), B->ld, beta,
          first(C), C->ld);
}

/* Largest error over the bound of the sum of absolute products; 0 when exact. */
static double distance(bool ta, bool tb, int64_t K, double alpha, const matrix *A, const matrix *B,
                       double beta, const matrix *old, const matrix *C) {
  double worst = 0;
  for (int64_t i = 0; i < C->rows; i++)
    for (int64_t j = 0; j < C->cols; j++) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < K; k++) {
        double p = (ta ? get(A, k, i) : get(A, i, k)) * (tb ? get(B, j, k) : get(B, k, j));
        sum += p;
        size += fabs(p);
      }
      sum *= alpha;
      size = size * fabs(alpha) + 1e-300;
      if (beta != 0) {
        sum += beta * get(old, i, j);
        size += fabs(beta * get(old, i, j));
      }
      double e = fabs(get(C, i, j) - sum) / size;
      if (!(e <= worst))
        worst = e;
    }
  return worst;
}

static bool margin_untouched(const matrix *m) {
  bool ok = true;
  size_t w = ml_dtype_size(m->dtype);
  for (int64_t at = 0; at < 2 * GUARD + m->rows * m->ld; at++) {
    int64_t in = at - GUARD;
    if (in >= 0 && in < m->rows * m->ld && in % m->ld < m->cols)
      continue;
    for (size_t b = 0; b < w; b++)
      ok = ok && (unsigned char)m->data[(size_t)at * w + b] == 0xff;
  }
  return ok;
}

static const double unit[ML_DTYPE_COUNT] = {0x1p-53, 0x1p-24, 0, 0};

static void one(ml_dtype dtype, int64_t M, int64_t N, int64_t K, int64_t pad, double alpha,
                double beta, ml_rng *g) {
  for (int form = 0; form < 4; form++) {
    bool ta = form & 1, tb = form & 2;
    matrix A = ta ? make(dtype, K, M, pad, g) : make(dtype, M, K, pad, g);
    matrix B = tb ? make(dtype, N, K, pad, g) : make(dtype, K, N, pad, g);
    matrix old = make(dtype, M, N, pad, g), C = copy(&old);
    if (beta == 0)
      fill(&C, NAN);
    multiply(ta, tb, K, alpha, &A, &B, beta, &C);
    /* blocked sums: a chain of 256, then one term per block, a few roundings at the end */
    double bound = (256 + (double)K / 256 + 4) * unit[dtype];
    double e = distance(ta, tb, K, alpha, &A, &B, beta, &old, &C);
    CHECK(e <= bound);
    if (!(e <= bound))
      fprintf(stderr, "  %s %c%c M=%lld N=%lld K=%lld pad %lld alpha %g beta %g: %g, wanted %g\n",
              ml_dtype_name(dtype), ta ? 'T' : 'N', tb ? 'T' : 'N', (long long)M, (long long)N,
              (long long)K, (long long)pad, alpha, beta, e, bound);
    CHECK(margin_untouched(&C));
    free(A.data), free(B.data), free(old.data), free(C.data);
  }
}

static void test_small_shapes_all(void) { /* analytic */
  ml_rng g = ml_rng_seed(1);
  static const int64_t sizes[] = {1, 2, 3, 5, 6, 7, 8, 12, 13, 17, 33};
  for (ml_dtype d = ML_F64; d <= ML_F32; d++)
    for (size_t m = 0; m < 11; m++)
      for (size_t n = 0; n < 11; n++)
        for (size_t k = 0; k < 11; k += 2)
          one(d, sizes[m], sizes[n], sizes[k], (int64_t)(m + n) % 3, 1, 0, &g);
}

static void test_shapes_at_block_edges(void) { /* analytic */
  ml_rng g = ml_rng_seed(2);
  static const int64_t shapes[][3] = {
      {1, 1, 5000},   {1, 300, 257},   {300, 1, 513}, {2, 130, 256},  {5, 65, 255},
      {64, 64, 1030}, {193, 97, 257},  {385, 40, 64}, {40, 1100, 20}, {97, 16, 300},
      {16, 97, 1500}, {200, 200, 100}, {7, 9, 2049},  {1, 129, 4097}};
  for (ml_dtype d = ML_F64; d <= ML_F32; d++)
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
      one(d, shapes[s][0], shapes[s][1], shapes[s][2], (int64_t)s % 4, 1, 0, &g);
}

static void test_alpha_and_beta(void) { /* analytic */
  ml_rng g = ml_rng_seed(3);
  static const double factors[][2] = {{1, 1}, {-0.5, 0}, {2, 1},   {0.3, -1.7},
                                      {0, 0}, {0, 2},    {1, 0.25}};
  static const int64_t shapes[][3] = {
      {3, 4, 5}, {1, 40, 300}, {40, 1, 300}, {50, 60, 600}, {30, 20, 1100}};
  for (ml_dtype d = ML_F64; d <= ML_F32; d++)
    for (size_t f = 0; f < 7; f++)
      for (size_t s = 0; s < 5; s++)
        one(d, shapes[s][0], shapes[s][1], shapes[s][2], 3, factors[f][0], factors[f][1], &g);
}

static void test_random_shapes(void) { /* analytic */
  ml_rng g = ml_rng_seed(4);
  for (int i = 0; i < 60; i++) {
    int64_t s[4];
    ml_rng_integers(&g, s, 4, 1, 150);
    one(i % 2 ? ML_F32 : ML_F64, s[0], s[1], s[2] * (i % 5 ? 1 : 9), s[3] % 5, 1, i % 3 ? 0 : 1,
        &g);
  }
}

static void test_empty_sums_are_zero(void) { /* limit */
  ml_rng g = ml_rng_seed(5);
  for (ml_dtype d = ML_F64; d <= ML_F32; d++) {
    matrix A = make(d, 3, 1, 0, &g), B = make(d, 1, 4, 0, &g), C = make(d, 3, 4, 2, &g);
    fill(&C, NAN);
    multiply(false, false, 0, 1, &A, &B, 0, &C);
    for (int64_t i = 0; i < 12; i++)
      CHECK(get(&C, i / 4, i % 4) == 0);
    fill(&C, 3);
    multiply(false, false, 0, 1, &A, &B, 0.5, &C);
    CHECK(get(&C, 2, 3) == 1.5);
    CHECK(margin_untouched(&C));
    ml_gemm(d, false, false, 0, 4, 1, 1, first(&A), 1, first(&B), 4, 0, first(&C), 4);
    ml_gemm(d, false, false, 3, 0, 1, 1, first(&A), 1, first(&B), 4, 0, first(&C), 4);
    CHECK(get(&C, 0, 0) == 1.5);
    free(A.data), free(B.data), free(C.data);
  }
}

static void test_nan_and_infinity_reach_their_row_only(void) { /* property */
  ml_rng g = ml_rng_seed(6);
  for (ml_dtype d = ML_F64; d <= ML_F32; d++) {
    matrix A = make(d, 37, 300, 1, &g), B = make(d, 300, 21, 1, &g), C = make(d, 37, 21, 1, &g);
    put(&A, 30, 299, NAN);
    put(&A, 5, 7, INFINITY);
    multiply(false, false, 300, 1, &A, &B, 0, &C);
    for (int64_t i = 0; i < 37; i++)
      for (int64_t j = 0; j < 21; j++) {
        CHECK(isnan(get(&C, i, j)) == (i == 30));
        CHECK((isinf(get(&C, i, j)) != 0) == (i == 5));
      }
    free(A.data), free(B.data), free(C.data);
  }
}

static bool same(const matrix *a, const matrix *b) {
  return !memcmp(a->data, b->data, bytes_of(a));
}

static void test_bytes_do_not_depend_on_threads(void) { /* property */
  ml_rng g = ml_rng_seed(7);
  ml_error err;
  static const int64_t shapes[][3] = {{64, 64, 2048}, {64, 192, 2100}, {300, 130, 90},
                                      {513, 700, 64}, {30, 2000, 300}, {1, 3000, 400},
                                      {3000, 1, 400}, {1, 1, 100000},  {10, 10, 9000}};
  static const int threads[] = {2, 3, 8};
  const int before = ml_threads();
  for (ml_dtype d = ML_F64; d <= ML_F32; d++)
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
      for (int form = 0; form < 4; form++) {
        const int64_t M = shapes[s][0], N = shapes[s][1], K = shapes[s][2];
        bool ta = form & 1, tb = form & 2;
        double beta = s % 3 ? 0 : 0.7;
        matrix A = ta ? make(d, K, M, 0, &g) : make(d, M, K, 0, &g);
        matrix B = tb ? make(d, N, K, 0, &g) : make(d, K, N, 0, &g);
        matrix old = make(d, M, N, 0, &g), C = copy(&old);
        CHECK_OK(ml_set_threads(1, &err), &err);
        multiply(ta, tb, K, 0.9, &A, &B, beta, &C);
        for (int t = 0; t < 3; t++) {
          matrix D = copy(&old);
          CHECK_OK(ml_set_threads(threads[t], &err), &err);
          multiply(ta, tb, K, 0.9, &A, &B, beta, &D);
          CHECK(same(&C, &D));
          if (!same(&C, &D))
            fprintf(stderr, "  %s form %d M=%lld N=%lld K=%lld threads %d\n", ml_dtype_name(d),
                    form, (long long)M, (long long)N, (long long)K, threads[t]);
          memcpy(D.data, old.data, bytes_of(&D)); /* without scratch */
          ml_inject_alloc_failure(1, true);
          multiply(ta, tb, K, 0.9, &A, &B, beta, &D);
          ml_inject_alloc_failure(0, false);
          CHECK(same(&C, &D));
          free(D.data);
        }
        free(A.data), free(B.data), free(old.data), free(C.data);
      }
  CHECK_OK(ml_set_threads(before, &err), &err);
}

typedef struct {
  const matrix *A, *B;
  matrix *C;
} nested;

static void multiply_inside(void *ctx, int64_t i, int worker) {
  (void)worker;
  const nested *n = ctx;
  multiply(false, true, n->A->cols, 1, n->A, n->B, 0, &n->C[i]);
}

static void test_nested_in_a_region_gives_the_same_bytes(void) { /* property */
  ml_rng g = ml_rng_seed(8);
  ml_error err;
  const int before = ml_threads();
  CHECK_OK(ml_set_threads(3, &err), &err);
  matrix A = make(ML_F32, 100, 1100, 0, &g), B = make(ML_F32, 90, 1100, 0, &g), C[6], want;
  want = make(ML_F32, 100, 90, 0, &g);
  multiply(false, true, 1100, 1, &A, &B, 0, &want);
  for (int i = 0; i < 6; i++)
    C[i] = make(ML_F32, 100, 90, 0, &g);
  nested n = {&A, &B, C};
  ml_parallel_for(6, 1e7, multiply_inside, &n);
  for (int i = 0; i < 6; i++) {
    CHECK(same(&want, &C[i]));
    free(C[i].data);
  }
  ml_gemm_serial(ML_F32, false, true, 100, 90, 1100, 1, first(&A), A.ld, first(&B), B.ld, 0,
                 first(&want), want.ld);
  C[0] = make(ML_F32, 100, 90, 0, &g);
  multiply(false, true, 1100, 1, &A, &B, 0, &C[0]);
  CHECK(same(&want, &C[0]));
  free(A.data), free(B.data), free(C[0].data), free(want.data);
  CHECK_OK(ml_set_threads(before, &err), &err);
}

/* property: B copied once as panels, or by the call itself for many rows, gives the bytes of B as
 * it lies; columns from the middle on too */
static void test_panels_give_the_same_bytes(void) {
  ml_rng g = ml_rng_seed(12);
  static const int64_t shapes[][3] = {
      {1, 70, 40}, {13, 64, 300}, {400, 200, 520}, {1000, 130, 9}, {900, 96, 770}};
  for (ml_dtype d = ML_F64; d <= ML_F32; d++)
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
      for (int form = 0; form < 4; form++) {
        const int64_t M = shapes[s][0], N = shapes[s][1], K = shapes[s][2];
        const bool ta = form & 1, tb = form & 2;
        if (M == 1 && tb)
          continue; /* dot products */
        const size_t item = ml_dtype_size(d);
        matrix A = ta ? make(d, K, M, 3, &g) : make(d, M, K, 3, &g);
        matrix B = tb ? make(d, N, K, 2, &g) : make(d, K, N, 2, &g);
        matrix old = make(d, M, N, 1, &g), want = copy(&old), C = copy(&old);
        ml_gemm_serial(d, ta, tb, M, N, K, 0.9, first(&A), A.ld, first(&B), B.ld, 1, first(&want),
                       want.ld);
        multiply(ta, tb, K, 0.9, &A, &B, 1, &C);
        CHECK(same(&C, &want));
        void *panels = NULL;
        if (posix_memalign(&panels, 64, (size_t)ml_gemm_panel_size(d, K, N) * item))
          abort();
        ml_gemm_pack(d, panels, tb, K, N, first(&B), B.ld);
        for (int serial = 0; serial < 2; serial++) {
          memcpy(C.data, old.data, bytes_of(&C));
          (serial ? ml_gemm_by_panels_serial : ml_gemm_by_panels)(d, ta, M, N, K, 0.9, first(&A),
                                                                  A.ld, panels, 1, first(&C), C.ld);
          CHECK(same(&C, &want));
          CHECK(margin_untouched(&C));
        }
        memcpy(C.data, want.data, bytes_of(&C)); /* the columns from 64 on once more */
        for (int64_t i = 0; i < M && N > 64; i++)
          for (int64_t j = 64; j < N; j++)
            put(&C, i, j, get(&old, i, j));
        if (N > 64)
          ml_gemm_by_panels(d, ta, M, N - 64, K, 0.9, first(&A), A.ld,
                            (char *)panels + (size_t)(64 * K) * item, 1,
                            (char *)first(&C) + 64 * item, C.ld);
        CHECK(same(&C, &want));
        free(panels);
        free(A.data), free(B.data), free(old.data), free(want.data), free(C.data);
      }
}

/* Decoding relies on it: a row's bytes are the same alone and in any batch. */
static void test_a_row_does_not_depend_on_the_others(void) { /* property */
  ml_rng g = ml_rng_seed(9);
  for (ml_dtype d = ML_F64; d <= ML_F32; d++)
    for (int form = 0; form < 2; form++) {
      const int64_t M = 57, N = 83, K = 700;
      bool tb = form;
      matrix A = make(d, M, K, 0, &g), B = tb ? make(d, N, K, 0, &g) : make(d, K, N, 0, &g),
             C = make(d, M, N, 0, &g);
      multiply(false, tb, K, 1, &A, &B, 0, &C);
      for (int64_t m = 2; m < 20; m++)
        for (int64_t at = 0; at + m <= M; at += 11) {
          matrix D = make(d, m, N, 0, &g);
          ml_gemm(d, false, tb, m, N, K, 1,
                  (char *)first(&A) + (size_t)(at * A.ld) * ml_dtype_size(d), A.ld, first(&B), B.ld,
                  0, first(&D), D.ld);
          CHECK(!memcmp(first(&D), (char *)first(&C) + (size_t)(at * C.ld) * ml_dtype_size(d),
                        (size_t)(m * N) * ml_dtype_size(d)));
          free(D.data);
        }
      free(A.data), free(B.data), free(C.data);
    }
}

static void test_cancel_stops_early(void) { /* limit */
  ml_rng g = ml_rng_seed(11);
  matrix A = make(ML_F64, 200, 200, 0, &g), C = make(ML_F64, 200, 200, 0, &g);
  fill(&C, 7);
  ml_cancel();
  multiply(false, false, 200, 1, &A, &A, 0, &C);
  ml_cancel_clear();
  CHECK(get(&C, 100, 100) == 7);
  free(A.data), free(C.data);
}

/* ---- precision ------------------------------------------------------------------------------- */

/* infinities: that they stay what they are; threads: many products, of which emulation takes
 * minutes */
static void all_of_it(bool infinities, bool threads) {
  test_small_shapes_all();
  test_shapes_at_block_edges();
  test_alpha_and_beta();
  test_random_shapes();
  test_empty_sums_are_zero();
  if (infinities)
    test_nan_and_infinity_reach_their_row_only();
  if (threads) {
    test_bytes_do_not_depend_on_threads();
    test_nested_in_a_region_gives_the_same_bytes();
  }
  test_a_row_does_not_depend_on_the_others();
  test_panels_give_the_same_bytes();
  test_cancel_stops_early();
}

/* property: with factors that bf16 holds, whose products f32 holds, rounding them changes nothing:
 * all that is said above stays true */
static void test_all_of_it_at_medium(void) {
  exact_factors = true;
  ml_set_matmul_precision(ML_PRECISION_MEDIUM);
  all_of_it(true, true);
  ml_set_matmul_precision(ML_PRECISION_HIGHEST);
  exact_factors = false;
}

/* golden: the kernels for matrix units, on tiles that are emulated; high is within the bounds of
 * f32 with any factors */
static void test_all_of_it_on_matrix_units(void) {
#if defined(__x86_64__)
  if (ml_cpu_isa() != ML_ISA_AVX512 || !strstr(ml_cpu_features(), "avx512_bf16"))
    return;
  exact_factors = true;
  ml_gemm_use(&amx_emulated_medium, "bf16");
  all_of_it(true, false);
  exact_factors = false;
  ml_gemm_use(&amx_emulated_high, "bf16x2");
  all_of_it(false, false);
  ml_gemm_use(NULL, NULL);
#endif
}

/* analytic: numbers near the ends of f32 keep their parts */
static void test_ends_of_f32_on_matrix_units(void) {
#if defined(__x86_64__)
  if (ml_cpu_isa() != ML_ISA_AVX512 || !strstr(ml_cpu_features(), "avx512_bf16"))
    return;
  const float x[] = {0x1.fffffep127f, -0x1.fffffep127f, 0x1.01p-100f, 0x1.010101p0f, 0, -0.0f};
  const float one = 1;
  ml_gemm_use(&amx_emulated_high, "bf16x2");
  for (size_t i = 0; i < sizeof x / sizeof *x; i++)
    for (int side = 0; side < 2; side++) {
      float c = NAN;
      const float *a = side ? &one : x + i, *b = side ? x + i : &one;
      ml_gemm_serial(ML_F32, true, false, 1, 1, 1, 1, a, 1, b, 1, 0, &c, 1);
      CHECK(fabsf(c - x[i]) <= 0x1p-16f * fabsf(x[i]));
    }
  ml_gemm_use(NULL, NULL);
#endif
}

/* analytic: medium is the product of the rounded factors, and high that of the factors */
static void test_medium_rounds_the_factors(void) {
  ml_rng g = ml_rng_seed(13);
  CHECK(!ml_matmul_rounds() && ml_matmul_precision() == ML_PRECISION_HIGHEST);
  for (int form = 0; form < 4; form++) {
    const bool ta = form & 1, tb = form & 2;
    const int64_t M = 61, N = 75, K = 611;
    matrix A = ta ? make(ML_F32, K, M, 1, &g) : make(ML_F32, M, K, 1, &g);
    matrix B = tb ? make(ML_F32, N, K, 2, &g) : make(ML_F32, K, N, 2, &g);
    matrix C = make(ML_F32, M, N, 3, &g), highest = copy(&C), Ar = copy(&A), Br = copy(&B);
    multiply(ta, tb, K, 1, &A, &B, 0, &highest);
    ml_set_matmul_precision(ML_PRECISION_HIGH);
    multiply(ta, tb, K, 1, &A, &B, 0, &C);
    CHECK(ml_matmul_rounds() == ml_cpu_matrix_units());
    if (!ml_matmul_rounds())
      CHECK(same(&C, &highest));
    CHECK(distance(ta, tb, K, 1, &A, &B, 0, NULL, &C) <= 270 * unit[ML_F32]);
    ml_set_matmul_precision(ML_PRECISION_MEDIUM);
    CHECK(ml_matmul_rounds() == (ml_cpu_fast_bf16() || ml_cpu_matrix_units()));
    multiply(ta, tb, K, 1, &A, &B, 0, &C);
    if (!ml_matmul_rounds()) {
      CHECK(same(&C, &highest));
    } else {
      const double e = distance(ta, tb, K, 1, &A, &B, 0, NULL, &C);
      CHECK(e > 0x1p-16 && e < 0x1p-8);
      for (int64_t i = 0; i < A.rows; i++)
        for (int64_t j = 0; j < A.cols; j++)
          put(&Ar, i, j, (double)bf16((float)get(&A, i, j)));
      for (int64_t i = 0; i < B.rows; i++)
        for (int64_t j = 0; j < B.cols; j++)
          put(&Br, i, j, (double)bf16((float)get(&B, i, j)));
      CHECK(distance(ta, tb, K, 1, &Ar, &Br, 0, NULL, &C) <= 270 * unit[ML_F32]);
    }
    ml_set_matmul_precision(ML_PRECISION_HIGHEST);
    multiply(ta, tb, K, 1, &A, &B, 0, &C);
    CHECK(same(&C, &highest));
    free(A.data), free(B.data), free(C.data), free(highest.data), free(Ar.data), free(Br.data);
  }
}

CHECK_MAIN(test_small_shapes_all, test_shapes_at_block_edges, test_alpha_and_beta,
           test_random_shapes, test_empty_sums_are_zero, test_nan_and_infinity_reach_their_row_only,
           test_bytes_do_not_depend_on_threads, test_nested_in_a_region_gives_the_same_bytes,
           test_a_row_does_not_depend_on_the_others, test_panels_give_the_same_bytes,
           test_cancel_stops_early, test_all_of_it_at_medium, test_all_of_it_on_matrix_units,
           test_ends_of_f32_on_matrix_units, test_medium_rounds_the_factors)
