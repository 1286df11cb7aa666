/* QR and SVD by LAPACK, on one thread. A row-major matrix is the transpose of the column-major one.
 */
#include "lapack.h"
#include "solve.h"

#include <string.h>

static ml_status check_size(int64_t m, int64_t n, ml_error *err) {
  if (m > ML_SOLVE_MAX || n > ML_SOLVE_MAX)
    return ml_fail(err, ML_EARG, 1, "a matrix [%lldx%lld], wanted sides of at most %d",
                   (long long)m, (long long)n, ML_SOLVE_MAX);
  return ML_OK;
}

static void transpose(double *out, const double *in, int64_t rows, int64_t cols) {
  for (int64_t i0 = 0; i0 < rows; i0 += 16)
    for (int64_t j = 0; j < cols; j++)
      for (int64_t i = i0; i < rows && i < i0 + 16; i++)
        out[j * rows + i] = in[i * cols + j];
}

static bool all_finite(const double *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++)
    sum += x[i] * 0;
  return sum == 0;
}

ml_status ml_solve_qr(double *A, double *R, int64_t m, int64_t n, ml_error *err) {
  ML_TRY(check_size(m, n, err));
  if (m < n)
    return ml_fail(err, ML_EARG, 1, "a matrix [%lldx%lld], wanted at least as many rows as columns",
                   (long long)m, (long long)n);
  if (!all_finite(A, m * n))
    return ml_fail(err, ML_ENUMERIC, 1, "the matrix has entries that are not finite");
  if (n == 0)
    return ML_OK;
  const int M = (int)m, N = (int)n, lwork = 64 * N;
  int info = 0;
  double *block = ml_block_new((size_t)(m * n + n + lwork) * sizeof *block);
  if (!block)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for a matrix [%lldx%lld]", (long long)m,
                   (long long)n);
  double *T = block, *tau = block + m * n, *work = tau + n;
  transpose(T, A, m, n); /* column-major A */
  dgeqrf_(&M, &N, T, &M, tau, work, &lwork, &info);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++)
      R[i * n + j] = j >= i ? T[j * m + i] : 0;
  dorgqr_(&M, &N, &N, T, &M, tau, work, &lwork, &info);
  transpose(A, T, n, m);
  ml_block_free(block);
  return ML_OK;
}

ml_status ml_solve_svd(double *U, double *s, double *Vt, double *A, int64_t m, int64_t n,
                       ml_error *err) {
  ML_TRY(check_size(m, n, err));
  const int64_t k = m < n ? m : n;
  if (k > ML_SVD_MAX)
    return ml_fail(err, ML_EARG, 1, "a matrix [%lldx%lld], wanted a smaller side of at most %d",
                   (long long)m, (long long)n, ML_SVD_MAX);
  if (!all_finite(A, m * n))
    return ml_fail(err, ML_ENUMERIC, 1, "the matrix has entries that are not finite");
  if (k == 0)
    return ML_OK;
  /* of A^T = V diag(s) U^T, column-major as A lies: LAPACK's u is V and fills Vt, its vt is U^T and
   * fills U */
  const int M = (int)m, N = (int)n, Kk = (int)k;
  int info = 0, lwork = -1;
  double query = 0;
  int *iwork = ml_block_new((size_t)(8 * k) * sizeof *iwork);
  if (!iwork)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for %lld integers", (long long)(8 * k));
  dgesdd_("S", &N, &M, A, &N, s, Vt, &N, U, &Kk, &query, &lwork, iwork, &info, 1);
  lwork = (int)query;
  double *work = ml_block_new((size_t)lwork * sizeof *work);
  if (work)
    dgesdd_("S", &N, &M, A, &N, s, Vt, &N, U, &Kk, work, &lwork, iwork, &info, 1);
  ml_block_free(iwork);
  if (!work)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for %d doubles", lwork);
  ml_block_free(work);
  if (info)
    return ml_fail(err, ML_ENUMERIC, 1, "dgesdd did not converge (info %d)", info);
  return ML_OK;
}
