/* Softmax statistics of a row, and its gradient, while the row is in cache. */
#include "base/simd_math.h"
#include "nn/kernels.h"

#define L ML_LANES
#define LANES (4 * L) /* independent sums */
#define BLOCK 2048    /* elements summed in `real` before they join the double */

/* The sums of lanes, pairwise. */
static double lanes_total(const real *lane) {
  double s[LANES];
  for (int i = 0; i < LANES; i++)
    s[i] = (double)lane[i];
  for (int w = LANES / 2; w > 0; w /= 2)
    for (int i = 0; i < w; i++)
      s[i] += s[i + w];
  return s[0];
}

static real row_max_and_sum(int64_t n, const real *restrict z, double *sum) {
  real top[LANES];
  for (int i = 0; i < LANES; i++)
    top[i] = -ML_INF;
  double total = 0;
  for (int64_t b = 0; b < n; b += BLOCK) {
    int64_t m = n - b < BLOCK ? n - b : BLOCK, j = 0;
    real acc[LANES] = {0};
    for (; j + LANES <= m; j += LANES)
      for (int i = 0; i < LANES; i++) {
        real v = z[b + j + i];
        top[i] = top[i] > v ? top[i] : v;
        acc[i] += v;
      }
    for (int i = 0; j < m; j++, i++) {
      real v = z[b + j];
      top[i] = top[i] > v ? top[i] : v;
      acc[i] += v;
    }
    total += lanes_total(acc);
  }
  real most = top[0];
  for (int i = 1; i < LANES; i++)
    most = top[i] > most ? top[i] : most;
  *sum = total;
  return most;
}

/* Sum of exp(z - most); with keep it is stored in e. NaN anywhere gives NaN. */
static inline __attribute__((always_inline)) double
exponentials(int64_t n, const real *z, real most, real *e, const bool keep) {
  double total = 0;
  for (int64_t b = 0; b < n; b += BLOCK) {
    int64_t m = n - b < BLOCK ? n - b : BLOCK, j = 0;
    real acc[LANES] = {0};
    for (; j + LANES <= m; j += LANES)
      for (int i = 0; i < LANES; i++) {
        real v = ml_exp_nonpositive(z[b + j + i] - most);
        acc[i] += v;
        if (keep)
          e[b + j + i] = v;
      }
    for (int i = 0; j < m; j++, i++) {
      real v = ml_exp_nonpositive(z[b + j] - most);
      acc[i] += v;
      if (keep)
        e[b + j] = v;
    }
    total += lanes_total(acc);
  }
  return total;
}

static ml_nn_ce_row row(int64_t n, const void *z_, void *e_, double *scale) {
  const real *z = z_;
  ml_nn_ce_row r;
  real most = row_max_and_sum(n, z, &r.sum);
  double s = e_ ? exponentials(n, z, most, e_, true) : exponentials(n, z, most, NULL, false);
  r.logz = (double)most + log(s);
  if (scale)
    *scale = 1 / s;
  return r;
}

static void softmax(int64_t n, const void *z_, double logz, double alpha, void *dz_, bool add) {
  const real *restrict z = z_;
  real *restrict dz = dz_;
  /* logz rounded to `real` would cost its relative error times its size: the rest goes into the
   * factor */
  const real shift = (real)logz, a = (real)(alpha * exp((double)shift - logz));
  if (add)
    for (int64_t j = 0; j < n; j++)
      dz[j] += a * ml_exp_nonpositive(z[j] - shift);
  else
    for (int64_t j = 0; j < n; j++)
      dz[j] = a * ml_exp_nonpositive(z[j] - shift);
}

const ml_nn_ce_kernels ML_FN(nn_ce) = {row, softmax};
