/* Packed weights: values against a plain sum, and rows whose bytes depend on nothing but
 * themselves. */
#include "check.h"
#include "tensor/gemm.h"

static double at(ml_dtype d, const void *p, int64_t i) {
  return d == ML_F32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static void *normal(ml_dtype d, int64_t n, ml_rng *g) {
  void *p = calloc((size_t)n + 1, ml_dtype_size(d));
  if (!p)
    abort();
  if (d == ML_F32)
    ml_rng_normal_f32(g, p, n, 0, 1);
  else
    ml_rng_normal_f64(g, p, n, 0, 1);
  return p;
}

static void *shift(ml_dtype d, void *p, int64_t i) {
  return (char *)p + i * (int64_t)ml_dtype_size(d);
}

static void one(ml_dtype d, bool transposed, int64_t M, int64_t K, int64_t N, bool biased,
                bool accumulate, ml_rng *g) {
  const int64_t ldw = (transposed ? K : N) + 2, ldx = K + 1, ldy = N + 3;
  void *W = normal(d, (transposed ? N : K) * ldw, g), *x = normal(d, M * ldx, g),
       *bias = normal(d, N, g);
  void *y = normal(d, M * ldy, g), *old = malloc((size_t)(M * ldy + 1) * ml_dtype_size(d));
  if (!old)
    abort();
  memcpy(old, y, (size_t)(M * ldy) * ml_dtype_size(d));
  ml_error err;
  ml_packed *P;
  CHECK_OK(ml_packed_new(&P, d, transposed, K, N, W, ldw, &err), &err);
  ml_packed_matmul(P, M, x, ldx, biased ? bias : NULL, y, ldy, accumulate);
  /* a chain of 256, one term per block, bias and old value */
  const double bound = (262 + (double)K / 256) * (d == ML_F32 ? 0x1p-24 : 0x1p-53);
  bool ok = true;
  for (int64_t m = 0; m < M; m++) {
    for (int64_t n = 0; n < N; n++) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < K; k++) {
        double p = at(d, x, m * ldx + k) * at(d, W, transposed ? n * ldw + k : k * ldw + n);
        sum += p;
        size += fabs(p);
      }
      double more[2] = {biased ? at(d, bias, n) : 0, accumulate ? at(d, old, m * ldy + n) : 0};
      sum += more[0] + more[1];
      size += fabs(more[0]) + fabs(more[1]);
      ok = ok && fabs(at(d, y, m * ldy + n) - sum) <= bound * size;
    }
    for (int64_t n = N; n < ldy; n++)
      ok = ok && at(d, y, m * ldy + n) == at(d, old, m * ldy + n);
  }
  CHECK(ok);
  if (!ok)
    fprintf(stderr, "  %s transposed %d M=%lld K=%lld N=%lld bias %d accumulate %d\n",
            ml_dtype_name(d), transposed, (long long)M, (long long)K, (long long)N, biased,
            accumulate);
  ml_packed_free(P);
  free(W), free(x), free(bias), free(y), free(old);
}

static void test_values(void) { /* analytic */
  ml_rng g = ml_rng_seed(1);
  static const int64_t rows[] = {1, 2, 3, 4, 5, 6, 7, 13, 33},
                       sizes[][2] = {{1, 1},   {3, 5},     {64, 64},  {257, 16},
                                     {17, 33}, {300, 130}, {700, 77}, {5, 1000}};
  for (ml_dtype d = ML_F64; d <= ML_F32; d++)
    for (size_t m = 0; m < 9; m++)
      for (size_t s = 0; s < 8; s++)
        for (int flags = 0; flags < 8; flags++)
          one(d, flags & 1, rows[m], sizes[s][0], sizes[s][1], flags & 2, flags & 4, &g);
  one(ML_F32, false, 250, 300, 40, true, false, &g);
  one(ML_F64, true, 401, 60, 200, true, true, &g);
}

static void test_empty_sum_is_the_bias(void) { /* limit */
  ml_rng g = ml_rng_seed(2);
  for (int flags = 0; flags < 8; flags++)
    one(flags & 1 ? ML_F32 : ML_F64, false, 3, 0, 5, flags & 2, flags & 4, &g);
  one(ML_F32, false, 0, 4, 5, true, false, &g);
  one(ML_F32, false, 4, 5, 0, true, false, &g);
}

static void test_a_row_has_the_same_bytes_in_every_batch(void) { /* property */
  ml_rng g = ml_rng_seed(3);
  ml_error err;
  static const int64_t sizes[][2] = {{64, 256}, {192, 77}, {700, 1000}, {384, 4096}};
  const int before = ml_threads();
  for (ml_dtype d = ML_F64; d <= ML_F32; d++)
    for (size_t s = 0; s < 4; s++) {
      const int64_t K = sizes[s][0], N = sizes[s][1], M = s < 3 ? 257 : 65;
      void *W = normal(d, K * N, &g), *x = normal(d, M * K, &g), *bias = normal(d, N, &g),
           *y = normal(d, M * N, &g), *z = normal(d, M * N, &g);
      const size_t row = (size_t)N * ml_dtype_size(d);
      ml_packed *P;
      CHECK_OK(ml_packed_new(&P, d, false, K, N, W, N, &err), &err);
      CHECK_OK(ml_set_threads(1, &err), &err);
      ml_packed_matmul(P, M, x, K, bias, y, N, false);
      for (int threads = 1; threads <= 8; threads += threads < 3 ? 1 : 5) {
        CHECK_OK(ml_set_threads(threads, &err), &err);
        ml_packed_matmul(P, M, x, K, bias, z, N, false);
        CHECK(!memcmp(y, z, row * (size_t)M));
        for (int64_t m = 1; m < 16; m++)
          for (int64_t i = 0; i + m <= M; i += 23) {
            ml_packed_matmul(P, m, shift(d, x, i * K), K, bias, z, N, false);
            CHECK(!memcmp(shift(d, y, i * N), z, row * (size_t)m));
          }
      }
      /* and the general product agrees to the bit when there is no bias */
      ml_packed_matmul(P, M, x, K, NULL, y, N, false);
      ml_gemm(d, false, false, M, N, K, 1, x, K, W, N, 0, z, N);
      CHECK(!memcmp(y, z, row * (size_t)M));
      ml_packed_free(P);
      free(W), free(x), free(bias), free(y), free(z);
    }
  CHECK_OK(ml_set_threads(before, &err), &err);
}

static void test_bad_input(void) { /* error */
  ml_error err;
  ml_packed *P;
  double W[4] = {0};
  CHECK_FAIL(ml_packed_new(&P, ML_U8, false, 2, 2, W, 2, &err), ML_EDTYPE);
  CHECK_HAS(err.message, "u8");
  CHECK_FAIL(ml_packed_new(&P, ML_F64, false, INT64_C(1) << 40, INT64_C(1) << 40, W, 2, &err),
             ML_ENOMEM);
  CHECK_FAIL(ml_packed_new(&P, ML_F64, false, -1, 2, W, 2, &err), ML_ESHAPE);
  CHECK(P == NULL);
  ml_packed_free(NULL);
  CHECK_ALLOC_SWEEP(ml_packed_new(&P, ML_F64, false, 2, 2, W, 2, &err), ml_packed_free(P));
}

CHECK_MAIN(test_values, test_empty_sum_is_the_bias, test_a_row_has_the_same_bytes_in_every_batch,
           test_bad_input)
