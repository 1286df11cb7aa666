/* Cholesky factorization and triangular solves: blocked, the products over the pool, cancel polled
 * per block. */
#include "solve.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 64 };

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

static ml_status factor(double *A, int64_t n, double *panel, ml_error *err) {
  double inverse[BLOCK * BLOCK];
  for (int64_t k = 0; k < n; k += BLOCK) {
    ML_POLL(err);
    const int64_t b = n - k < BLOCK ? n - k : BLOCK, rest = n - k - b;
    double *D = A + k * n + k;
    for (int64_t j = 0; j < b; j++) {
      double pivot = D[j * n + j];
      for (int64_t p = 0; p < j; p++)
        pivot -= D[j * n + p] * D[j * n + p];
      if (!(pivot > 0) || !isfinite(pivot))
        return ml_fail(err, ML_ENUMERIC, 1,
                       "not positive definite: the leading minor of order %lld is not positive",
                       (long long)(k + j + 1));
      D[j * n + j] = sqrt(pivot);
      for (int64_t i = j + 1; i < b; i++) {
        double x = D[i * n + j];
        for (int64_t p = 0; p < j; p++)
          x -= D[i * n + p] * D[j * n + p];
        D[i * n + j] = x / D[j * n + j];
      }
    }
    if (!rest)
      break;
    double *below = A + (k + b) * n + k;
    invert_lower(inverse, D, b, n);
    for (int64_t i = 0; i < rest; i++)
      memcpy(panel + i * b, below + i * n, (size_t)b * sizeof *panel);
    ml_gemm(ML_F64, false, true, rest, b, b, 1, panel, b, inverse, b, 0, below, n);
    for (int64_t i = 0; i < rest; i += 256) { /* strips of the lower triangle */
      const int64_t rows = rest - i < 256 ? rest - i : 256;
      ml_gemm(ML_F64, false, true, rows, i + rows, b, -1, below + i * n, n, below, n, 1,
              A + (k + b + i) * n + k + b, n);
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
  double *panel = ml_block_new((size_t)(n * BLOCK) * sizeof *panel);
  if (!panel)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for %lld doubles", (long long)(n * BLOCK));
  ml_status status = factor(A, n, panel, err);
  ml_block_free(panel);
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
