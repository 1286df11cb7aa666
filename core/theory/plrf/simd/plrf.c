/* Updates of one-pass SGD, and the sums of the exact and deterministic curves. */
#include "base/simd.h"
#include "theory/plrf/kernels.h"

enum { LANES = ML_LANES, WIDE = 4 * ML_LANES };

static inline real total(ml_vec a, ml_vec b, ml_vec c, ml_vec d) {
  ml_vec s = (a + b) + (c + d);
  real sum = 0;
  for (int k = 0; k < LANES; k++)
    sum += s[k];
  return sum;
}

static inline real dot(const real *x, const real *y, int64_t n) {
  ml_vec a = {0}, b = {0}, c = {0}, d = {0};
  int64_t i = 0;
  for (; i + WIDE <= n; i += WIDE) {
    a += ml_vget(x + i) * ml_vget(y + i);
    b += ml_vget(x + i + LANES) * ml_vget(y + i + LANES);
    c += ml_vget(x + i + 2 * LANES) * ml_vget(y + i + 2 * LANES);
    d += ml_vget(x + i + 3 * LANES) * ml_vget(y + i + 3 * LANES);
  }
  for (; i + LANES <= n; i += LANES)
    a += ml_vget(x + i) * ml_vget(y + i);
  real sum = total(a, b, c, d);
  for (; i < n; i++)
    sum += x[i] * y[i];
  return sum;
}

static void sgd(void *x_, void *u_, void *g_, const void *F_, int64_t ld, int64_t steps,
                int64_t batch, int64_t d, const double *gamma, double momentum,
                const void *weight_) {
  real *restrict x = x_, *restrict u = u_, *restrict g = g_;
  const real *restrict F = F_, *restrict weight = weight_;
  for (int64_t s = 0; s < steps; s++) {
    const real rate = (real)gamma[s];
    if (batch == 1 && momentum == 0) {
      const real *restrict f = F + s * ld;
      const real e = rate * (dot(f, x, d) - f[d]);
      if (weight)
        for (int64_t k = 0; k < d; k++)
          x[k] -= e * weight[k] * f[k];
      else
        for (int64_t k = 0; k < d; k++)
          x[k] -= e * f[k];
      continue;
    }
    for (int64_t k = 0; k < d; k++)
      g[k] = 0;
    for (int64_t i = 0; i < batch; i++) {
      const real *restrict f = F + (s * batch + i) * ld;
      const real e = dot(f, x, d) - f[d];
      for (int64_t k = 0; k < d; k++)
        g[k] += e * f[k];
    }
    for (int64_t k = 0; k < d; k++) {
      u[k] = (real)momentum * u[k] + g[k];
      x[k] -= rate * (weight ? weight[k] : 1) * u[k];
    }
  }
}

static double sumsq(const void *x_, int64_t n) {
  const real *x = x_;
  double part[8] = {0}, sum = 0;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; k++)
      part[k] += (double)x[i + k] * (double)x[i + k];
  for (int k = 0; k < 8; k++)
    sum += part[k];
  for (; i < n; i++)
    sum += (double)x[i] * (double)x[i];
  return sum;
}

#if !ML_REAL_IS_F32
enum { SUMS = 8 };

static void secular(double sums[2], const double *restrict a, const double *restrict c,
                    double shift, double t, int64_t n) {
  double f[SUMS] = {0}, g[SUMS] = {0}, F = 0, G = 0;
  int64_t i = 0;
  for (; i + SUMS <= n; i += SUMS)
    for (int k = 0; k < SUMS; k++) {
      const double r = 1 / ((a[i + k] - shift) + t), q = c[i + k] * r;
      f[k] += q;
      g[k] += q * r;
    }
  for (int k = 0; k < SUMS; k++) {
    F += f[k];
    G += g[k];
  }
  for (; i < n; i++) {
    const double r = 1 / ((a[i] - shift) + t), q = c[i] * r;
    F += q;
    G += q * r;
  }
  sums[0] = F;
  sums[1] = G;
}

static double recur(double *restrict rho, const double *restrict q, const double *restrict c,
                    double P, int64_t n) {
  double part[SUMS] = {0}, sum = 0;
  int64_t i = 0;
  for (; i + SUMS <= n; i += SUMS)
    for (int k = 0; k < SUMS; k++) {
      rho[i + k] = q[i + k] * rho[i + k] + c[i + k] * P;
      part[k] += rho[i + k];
    }
  for (int k = 0; k < SUMS; k++)
    sum += part[k];
  for (; i < n; i++) {
    rho[i] = q[i] * rho[i] + c[i] * P;
    sum += rho[i];
  }
  return sum;
}

static void stieltjes(double sums[8], const double *restrict a, const double *restrict na,
                      const double *restrict e, const double *restrict count, double wr, double wi,
                      int64_t n) {
  double s[8][4] = {{0}};
  for (int64_t i = 0; i < n; i += 4) {
    const int lanes = n - i < 4 ? (int)(n - i) : 4;
    double A[4] = {0}, N[4] = {0}, E[4] = {0}, C[4] = {0};
    if (lanes == 4)
      for (int k = 0; k < 4; k++) {
        A[k] = a[i + k];
        N[k] = na[i + k];
        E[k] = e[i + k];
        C[k] = count[i + k];
      }
    else {
      for (int k = 0; k < 4; k++)
        A[k] = wr + 1; /* a harmless pole of weight 0 */
      for (int k = 0; k < lanes; k++) {
        A[k] = a[i + k];
        N[k] = na[i + k];
        E[k] = e[i + k];
        C[k] = count[i + k];
      }
    }
    for (int k = 0; k < 4; k++) {
      /* 1/D = (x + i wi) / (x^2 + wi^2) */
      const double x = A[k] - wr, q = 1 / (x * x + wi * wi), r = x * q, j = wi * q;
      s[0][k] += N[k] * r;
      s[1][k] += N[k] * j;
      s[2][k] += N[k] * (r * r - j * j);
      s[3][k] += N[k] * (2 * r * j);
      s[4][k] += E[k] * r;
      s[5][k] += E[k] * j;
      s[6][k] += C[k] * r;
      s[7][k] += C[k] * j;
    }
  }
  for (int m = 0; m < 8; m++)
    sums[m] = (s[m][0] + s[m][1]) + (s[m][2] + s[m][3]);
}
#endif

const ml_plrf_kernels ML_FN(plrf_table) = {
    .sgd = sgd,
    .sumsq = sumsq,
#if !ML_REAL_IS_F32
    .secular = secular,
    .recur = recur,
    .stieltjes = stieltjes,
#endif
};
