/* Sums over rows and columns of dense matrices, and the small vector loops between products. */
#include "base/simd.h"
#include "nn/kernels.h"

#define L ML_LANES
#define INLINE static inline __attribute__((always_inline))

static void fill(int64_t rows, int64_t n, double scale, const void *b_, void *y_) {
  const real *restrict b = b_;
  real *restrict y = y_;
  const real s = (real)scale;
  for (int64_t i = 0; i < rows; i++, y += n)
    for (int64_t j = 0; j < n; j++)
      y[j] = s * b[j];
}

/* One tile of nv vectors wide, over blocks of 64 rows, so that no f32 chain is longer. */
INLINE void column_tile(int64_t rows, int64_t n, const real *x, real *sums, bool add,
                        const int nv) {
  ml_vec total[8];
  for (int v = 0; v < nv; v++)
    total[v] = add ? ml_vget(sums + v * L) : (ml_vec){0};
  for (int64_t i0 = 0; i0 < rows; i0 += 64) {
    int64_t i1 = i0 + 64 < rows ? i0 + 64 : rows;
    ml_vec acc[8] = {{0}};
    for (int64_t i = i0; i < i1; i++)
#pragma GCC unroll 8
      for (int v = 0; v < nv; v++)
        acc[v] += ml_vget(x + i * n + v * L);
#pragma GCC unroll 8
    for (int v = 0; v < nv; v++)
      total[v] += acc[v];
  }
  for (int v = 0; v < nv; v++)
    ml_vput(sums + v * L, total[v]);
}

static void column_sums(int64_t rows, int64_t n, const void *x_, void *sums_, bool add) {
  const real *x = x_;
  real *sums = sums_;
  int64_t j = 0;
  for (; j + 8 * L <= n; j += 8 * L)
    column_tile(rows, n, x + j, sums + j, add, 8);
  for (; j + L <= n; j += L)
    column_tile(rows, n, x + j, sums + j, add, 1);
  for (; j < n; j++) {
    real total = add ? sums[j] : 0;
    for (int64_t i0 = 0; i0 < rows; i0 += 64) {
      int64_t i1 = i0 + 64 < rows ? i0 + 64 : rows;
      real acc = 0;
      for (int64_t i = i0; i < i1; i++)
        acc += x[i * n + j];
      total += acc;
    }
    sums[j] = total;
  }
}

static void combine(int64_t count, int64_t n, const void *parts_, void *y_, bool add) {
  const real *parts = parts_;
  real *y = y_;
  for (int64_t j0 = 0; j0 < n; j0 += 32) {
    int64_t m = n - j0 < 32 ? n - j0 : 32;
    double acc[32];
    for (int64_t j = 0; j < m; j++)
      acc[j] = add ? (double)y[j0 + j] : 0;
    for (int64_t p = 0; p < count; p++)
      for (int64_t j = 0; j < m; j++)
        acc[j] += (double)parts[p * n + j0 + j];
    for (int64_t j = 0; j < m; j++)
      y[j0 + j] = (real)acc[j];
  }
}

static void add(int64_t n, const void *x_, void *y_) {
  const real *restrict x = x_;
  real *restrict y = y_;
  for (int64_t i = 0; i < n; i++)
    y[i] += x[i];
}

static void sum_of(int64_t n, const void *a_, const void *b_, void *y_) {
  const real *restrict a = a_, *restrict b = b_;
  real *restrict y = y_;
  for (int64_t i = 0; i < n; i++)
    y[i] = a[i] + b[i];
}

static void scale(int64_t n, double alpha, const void *x_, void *y_, bool accumulate) {
  const real *x = x_;
  real *y = y_;
  const real s = (real)alpha;
  if (accumulate)
    for (int64_t i = 0; i < n; i++)
      y[i] += s * x[i];
  else
    for (int64_t i = 0; i < n; i++)
      y[i] = s * x[i];
}

const ml_nn_row_kernels ML_FN(nn_row) = {fill, column_sums, combine, add, sum_of, scale};
