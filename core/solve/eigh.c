/* Symmetric eigenproblems: with eigenvectors by LAPACK, and with one vector projected on them. */
#include "lapack.h"
#include "solve.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Implicit QL on the tridiagonal (d, e), e[i] beside d[i] and d[i+1]; every rotation goes to z too.
 */
static bool tridiagonal_ql(double *d, double *e, double *z, int64_t n) {
  for (int64_t l = 0; l < n; l++)
    for (int sweep = 0;; sweep++) {
      int64_t m = l;
      while (m < n - 1 && fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1])) * 0.5)
        m++;
      if (m == l)
        break;
      if (sweep == 60)
        return false;
      double g = (d[l + 1] - d[l]) / (2 * e[l]);
      double r = hypot(g, 1);
      g = d[m] - d[l] + e[l] / (g + copysign(r, g));
      double s = 1, c = 1, p = 0;
      int64_t i = m - 1;
      for (; i >= l; i--) {
        double f = s * e[i], b = c * e[i];
        r = hypot(f, g);
        e[i + 1] = r;
        if (r == 0) {
          d[i + 1] -= p;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        f = z[i + 1];
        z[i + 1] = s * z[i] + c * f;
        z[i] = c * z[i] - s * f;
      }
      if (r == 0 && i >= l)
        continue;
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
  return true;
}

/* Ascending d, z with it: heap sort, since QL leaves them nearly in any order. */
static void sift(double *d, double *z, int64_t i, int64_t n) {
  for (;;) {
    int64_t k = 2 * i + 1;
    if (k >= n)
      return;
    if (k + 1 < n && d[k + 1] > d[k])
      k++;
    if (!(d[k] > d[i]))
      return;
    double x = d[i], y = z[i];
    d[i] = d[k];
    z[i] = z[k];
    d[k] = x;
    z[k] = y;
    i = k;
  }
}

static void sort_pairs(double *d, double *z, int64_t n) {
  for (int64_t i = n / 2; i-- > 0;)
    sift(d, z, i, n);
  for (int64_t m = n - 1; m > 0; m--) {
    double x = d[0], y = z[0];
    d[0] = d[m];
    z[0] = z[m];
    d[m] = x;
    z[m] = y;
    sift(d, z, 0, m);
  }
}

static ml_status check_input(const double *H, int64_t n, int64_t most, ml_error *err) {
  if (n > most)
    return ml_fail(err, ML_EARG, 1, "%lld rows, wanted at most %lld", (long long)n,
                   (long long)most);
  double sum = 0; /* of the lower triangle, the one that is read */
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j <= i; j++)
      sum += H[i * n + j] * 0;
  if (!(sum == 0))
    return ml_fail(err, ML_ENUMERIC, 1, "the matrix has entries that are not finite");
  return ML_OK;
}

ml_status ml_solve_eigh_project(double *lambda, double *y, double *H, int64_t n, ml_error *err) {
  ML_TRY(check_input(H, n, ML_SOLVE_MAX, err));
  if (n == 0)
    return ML_OK;
  int N = (int)n, one = 1, lwork = 64 * N, info = 0;
  double *block = ml_block_new((size_t)(2 * n + 64 * n) * sizeof *block);
  if (!block)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for %lld doubles", (long long)(66 * n));
  double *e = block, *tau = block + n, *work = block + 2 * n;
  /* "U" of the column-major matrix is the lower triangle of the row-major one */
  dsytrd_("U", &N, H, &N, lambda, e, tau, work, &lwork, &info, 1);
  dormtr_("L", "U", "T", &N, &one, H, &N, tau, y, &N, work, &lwork, &info, 1, 1, 1);
  e[n - 1] = 0;
  bool ok = tridiagonal_ql(lambda, e, y, n);
  ml_block_free(block);
  if (!ok)
    return ml_fail(err, ML_ENUMERIC, 1, "the QL iteration did not converge");
  sort_pairs(lambda, y, n);
  return ML_OK;
}

ml_status ml_solve_eigh(double *lambda, double *H, int64_t n, ml_error *err) {
  ML_TRY(check_input(H, n, ML_EIGH_MAX, err));
  if (n == 0)
    return ML_OK;
  int N = (int)n, info = 0, lwork = -1, liwork = -1, iquery = 0;
  double query = 0;
  dsyevd_("V", "U", &N, H, &N, lambda, &query, &lwork, &iquery, &liwork, &info, 1, 1);
  int64_t doubles = (int64_t)query;
  lwork = (int)doubles;
  liwork = iquery;
  double *work = ml_block_new((size_t)doubles * sizeof *work);
  int *iwork = ml_block_new((size_t)liwork * sizeof *iwork);
  if (work && iwork)
    dsyevd_("V", "U", &N, H, &N, lambda, work, &lwork, iwork, &liwork, &info, 1, 1);
  bool memory = work && iwork;
  if (work)
    ml_block_free(work);
  if (iwork)
    ml_block_free(iwork);
  if (!memory)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for %lld doubles", (long long)doubles);
  if (info)
    return ml_fail(err, ML_ENUMERIC, 1, "dsyevd did not converge (info %d)", info);
  for (int64_t i = 0; i < n; i++) /* eigenvectors lie in the rows */
    for (int64_t j = 0; j < i; j++) {
      double x = H[i * n + j];
      H[i * n + j] = H[j * n + i];
      H[j * n + i] = x;
    }
  return ML_OK;
}
