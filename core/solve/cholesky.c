/* Cholesky factorization and triangular solves: blocked, the products over the pool, cancel polled
 * per block. */
#include "solve.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 64, PANEL = 256 };

/* The inverse of the lower triangle of D [b,b], stride n, into inverse [b,b]; zeros above. */
static void invert_lower(double *inverse, const double *D, int64_t b, int64_t n) {
  memset(inverse, 0, (size_t)(b * b) * sizeof *inverse);
  for (int64_t i = 0; i < b; i++) {
    for (int64_t p = 0; p < i; p++)
      for (int64_t j = 0; j <= p; j++)
        inverse[i * b + j] -= D[i * n + p] * inverse[p * b + j];
    inverse[i * b + i] = 1;
    for (int64_t j = 0; j <= i; j++)
      inverse[i * b + j] /= D[i * n + i];
  }
}

/* The Cholesky factor of D [b,b], stride n, in place; `before` leading minors went before. */
static ml_status factor_block(double *D, int64_t b, int64_t n, int64_t before, ml_error *err) {
  for (int64_t j = 0; j < b; j++) {
    double pivot = D[j * n + j];
    for (int64_t p = 0; p < j; p++)
      pivot -= D[j * n + p] * D[j * n + p];
    if (!(pivot > 0) || !isfinite(pivot))
      return ml_fail(err, ML_ENUMERIC, 1,
                     "not positive definite: the leading minor of order %lld is not positive",
                     (long long)(before + j + 1));
    D[j * n + j] = sqrt(pivot);
    for (int64_t i = j + 1; i < b; i++) {
      double x = D[i * n + j];
      for (int64_t p = 0; p < j; p++)
        x -= D[i * n + p] * D[j * n + p];
      D[i * n + j] = x / D[j * n + j];
    }
  }
  return ML_OK;
}

/* Panels of PANEL columns, made block by block from what lies left of a block within its panel;
 * then the triangle to the right of a panel is reduced by it, in strips of rows. */
static ml_status factor(double *A, int64_t n, double *copy, ml_error *err) {
  double inverse[BLOCK * BLOCK];
  for (int64_t k = 0; k < n; k += PANEL) {
    const int64_t width = n - k < PANEL ? n - k : PANEL;
    for (int64_t j = k; j < k + width; j += BLOCK) {
      ML_POLL(err);
      const int64_t b = k + width - j < BLOCK ? k + width - j : BLOCK, rest = n - j - b;
      double *D = A + j * n + j, *below = D + b * n;
      if (j > k) {
        ml_gemm(ML_F64, false, true, n - j, b, j - k, -1, A + j * n + k, n, A + j * n + k, n, 1, D,
                n);
        ML_POLL(err); /* a product that was cut short leaves no factor */
      }
      ML_TRY(factor_block(D, b, n, j, err));
      if (!rest)
        break;
      invert_lower(inverse, D, b, n);
      for (int64_t i = 0; i < rest; i++)
        memcpy(copy + i * b, below + i * n, (size_t)b * sizeof *copy);
      ml_gemm(ML_F64, false, true, rest, b, b, 1, copy, b, inverse, b, 0, below, n);
    }
    const int64_t from = k + width;
    for (int64_t i = from; i < n; i += 256) {
      ML_POLL(err);
      const int64_t rows = n - i < 256 ? n - i : 256;
      ml_gemm(ML_F64, false, true, rows, i + rows - from, width, -1, A + i * n + k, n,
              A + from * n + k, n, 1, A + i * n + from, n);
    }
  }
  ML_POLL(err);
  for (int64_t i = 0; i < n; i++)
    memset(A + i * n + i + 1, 0, (size_t)(n - i - 1) * sizeof *A);
  return ML_OK;
}

ml_status ml_solve_cholesky(double *A, int64_t n, ml_error *err) {
  if (n == 0)
    return ML_OK;
  double *copy = ml_block_new((size_t)(n * BLOCK) * sizeof *copy);
  if (!copy)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for %lld doubles", (long long)(n * BLOCK));
  ml_status status = factor(A, n, copy, err);
  ml_block_free(copy);
  return status;
}

ml_status ml_solve_triangular(double *B, const double *L, bool transposed, int64_t n, int64_t c,
                              ml_error *err) {
  const int64_t blocks = (n + BLOCK - 1) / BLOCK;
  for (int64_t q = 0; q < blocks; q++) {
    ML_POLL(err);
    const int64_t k = (transposed ? blocks - 1 - q : q) * BLOCK, b = n - k < BLOCK ? n - k : BLOCK;
    const double *D = L + k * n + k;
    for (int64_t s = 0; s < b; s++) {
      const int64_t i = transposed ? b - 1 - s : s;
      double *row = B + (k + i) * c;
      for (int64_t p = transposed ? i + 1 : 0; p < (transposed ? b : i); p++) {
        const double x = transposed ? D[p * n + i] : D[i * n + p];
        for (int64_t m = 0; m < c; m++)
          row[m] -= x * B[(k + p) * c + m];
      }
      for (int64_t m = 0; m < c; m++)
        row[m] /= D[i * n + i];
    }
    if (transposed && k > 0)
      ml_gemm(ML_F64, true, false, k, c, b, -1, L + k * n, n, B + k * c, c, 1, B, c);
    else if (!transposed && k + b < n)
      ml_gemm(ML_F64, false, false, n - k - b, c, b, -1, L + (k + b) * n + k, n, B + k * c, c, 1,
              B + (k + b) * c, c);
  }
  ML_POLL(err);
  return ML_OK;
}
