/* The update rules over one contiguous chunk. Sums run in 16 fixed lanes of double. */
#include "base/simd.h"
#include "optim/kernels.h"

#include <math.h>

#if ML_REAL_IS_F32
static inline real ml_root(real x) { return sqrtf(x); }
#else
static inline real ml_root(real x) { return sqrt(x); }
#endif

/* atan2(y, x) for x >= 0, branch-free in f32 (Cephes' reduction and polynomial, 2 ulp). 0 at 0/0.
 */
static inline real angle_of(real y, real x) {
#if ML_REAL_IS_F32
  float a = fabsf(y), hi = a > x ? a : x, lo = a > x ? x : a;
  float q = hi > 0 ? lo / hi : lo * hi; /* 0/0 gives 0, NaN stays */
  bool steep = q > 0.41421356f;
  float r = steep ? (q - 1) / (q + 1) : q, z = r * r;
  float p = (((8.05374449538e-2f * z - 1.38776856032e-1f) * z + 1.99777106478e-1f) * z -
             3.33329491539e-1f) *
                z * r +
            r;
  p = steep ? p + 0.78539816339744831f : p;
  p = a > x ? 1.57079632679489662f - p : p;
  return y != y || x != x ? y + x : copysignf(p, y);
#else
  return atan2(y, x);
#endif
}

static void sgd(void *w_, const void *g_, void *u_, int64_t n, const ml_optim_numbers *k) {
  real *w = w_;
  const real *g = g_;
  real *u = u_;
  real lr = (real)k->lr, keep = (real)(1 - k->shrink), mu = (real)k->momentum,
       co = (real)k->coupled;
  if (!u) {
    for (int64_t i = 0; i < n; i++)
      w[i] = w[i] * keep - lr * (g[i] + co * w[i]);
  } else if (k->first) {
    real look = k->nesterov ? 1 + mu : 1;
    for (int64_t i = 0; i < n; i++) {
      real gi = g[i] + co * w[i];
      u[i] = gi;
      w[i] = w[i] * keep - lr * (look * gi);
    }
  } else if (k->nesterov) {
    for (int64_t i = 0; i < n; i++) {
      real gi = g[i] + co * w[i], ui = mu * u[i] + gi;
      u[i] = ui;
      w[i] = w[i] * keep - lr * (gi + mu * ui);
    }
  } else {
    for (int64_t i = 0; i < n; i++) {
      real ui = mu * u[i] + (g[i] + co * w[i]);
      u[i] = ui;
      w[i] = w[i] * keep - lr * ui;
    }
  }
}

static void moments(const void *w_, const void *g_, void *m_, void *v_, int64_t n,
                    const ml_optim_numbers *k) {
  const real *w = w_;
  const real *g = g_;
  real *m = m_;
  real *v = v_;
  real b1 = (real)k->beta1, b2 = (real)k->beta2, d1 = (real)(1 - k->beta1),
       d2 = (real)(1 - k->beta2), co = (real)k->coupled;
  for (int64_t i = 0; i < n; i++) {
    real gi = g[i] + co * w[i];
    m[i] = b1 * m[i] + d1 * gi;
    v[i] = b2 * v[i] + d2 * gi * gi;
  }
}

static void adam(void *w_, const void *g_, void *m_, void *v_, int64_t n,
                 const ml_optim_numbers *k) {
  real *w = w_;
  const real *g = g_;
  real *m = m_;
  real *v = v_;
  real b1 = (real)k->beta1, b2 = (real)k->beta2, d1 = (real)(1 - k->beta1),
       d2 = (real)(1 - k->beta2);
  real lr = (real)(k->lr * k->c1), c2 = (real)k->c2, eps = (real)k->eps,
       keep = (real)(1 - k->shrink), co = (real)k->coupled;
  for (int64_t i = 0; i < n; i++) {
    real gi = g[i] + co * w[i];
    real mi = b1 * m[i] + d1 * gi, vi = b2 * v[i] + d2 * gi * gi;
    m[i] = mi;
    v[i] = vi;
    w[i] = w[i] * keep - lr * mi / (ml_root(vi * c2) + eps);
  }
}

static void adam_apply(void *w_, const void *m_, const void *v_, int64_t n,
                       const ml_optim_numbers *k) {
  real *w = w_;
  const real *m = m_;
  const real *v = v_;
  real lr = (real)(k->lr * k->c1), c2 = (real)k->c2, eps = (real)k->eps,
       keep = (real)(1 - k->shrink);
  for (int64_t i = 0; i < n; i++)
    w[i] = w[i] * keep - lr * m[i] / (ml_root(v[i] * c2) + eps);
}

static void adam_atan2(void *w_, const void *g_, void *m_, void *v_, int64_t n,
                       const ml_optim_numbers *k) {
  real *w = w_;
  const real *g = g_;
  real *m = m_;
  real *v = v_;
  real b1 = (real)k->beta1, b2 = (real)k->beta2, d1 = (real)(1 - k->beta1),
       d2 = (real)(1 - k->beta2);
  real lr = (real)(k->lr * k->a), keep = (real)(1 - k->shrink), co = (real)k->coupled;
  real c1 = (real)k->c1, c2 = (real)k->c2, b = (real)k->b;
  for (int64_t i = 0; i < n; i++) {
    real gi = g[i] + co * w[i];
    real mi = b1 * m[i] + d1 * gi, vi = b2 * v[i] + d2 * gi * gi;
    m[i] = mi;
    v[i] = vi;
    w[i] = w[i] * keep - lr * angle_of(mi * c1, b * ml_root(vi * c2));
  }
}

static void lion(void *w_, const void *g_, void *m_, int64_t n, const ml_optim_numbers *k) {
  real *w = w_;
  const real *g = g_;
  real *m = m_;
  real b1 = (real)k->beta1, b2 = (real)k->beta2, d1 = (real)(1 - k->beta1),
       d2 = (real)(1 - k->beta2);
  real lr = (real)k->lr, keep = (real)(1 - k->shrink);
  for (int64_t i = 0; i < n; i++) {
    real c = b1 * m[i] + d1 * g[i];
    real sign = c > 0 ? (real)1 : c < 0 ? (real)-1 : c; /* 0 and NaN stay */
    m[i] = b2 * m[i] + d2 * g[i];
    w[i] = w[i] * keep - lr * sign;
  }
}

#define LANES 16
static inline double fold(double *s) {
  for (int width = LANES / 2; width; width /= 2)
    for (int j = 0; j < width; j++)
      s[j] += s[j + width];
  return s[0];
}

static double sumsq(const void *x_, int64_t n) {
  const real *x = x_;
  double s[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++)
      s[j] += (double)x[i + j] * (double)x[i + j];
  for (int j = 0; i < n; i++, j++)
    s[j] += (double)x[i] * (double)x[i];
  return fold(s);
}

static double clip_sumsq(const void *w_, const void *g_, const void *v_, int64_t n,
                         const ml_optim_numbers *k) {
  const real *w = w_;
  const real *g = g_;
  const real *v = v_;
  double s[LANES] = {0}, co = k->coupled, c2 = k->c2, least = k->eps * k->eps;
  for (int64_t i = 0; i < n; i += LANES) {
    int end = n - i < LANES ? (int)(n - i) : LANES;
    for (int j = 0; j < end; j++) {
      double gi = (double)g[i + j] + co * (double)w[i + j], vi = (double)v[i + j] * c2;
      double d = vi < least ? least : vi;
      s[j] += d == 0 && gi == 0 ? 0 : gi * gi / d;
    }
  }
  return fold(s);
}

static void factor_sums(const void *w_, const void *g_, int64_t rows, int64_t cols, double eps1,
                        double coupled, double *row, double *col) {
  const real *w = w_;
  const real *g = g_;
  for (int64_t i = 0; i < rows; i++) {
    double s[LANES] = {0};
    for (int64_t j = 0; j < cols; j += LANES) {
      int end = cols - j < LANES ? (int)(cols - j) : LANES;
      for (int l = 0; l < end; l++) {
        double x = (double)g[i * cols + j + l] + coupled * (double)w[i * cols + j + l];
        x = x * x + eps1;
        s[l] += x;
        col[j + l] += x;
      }
    }
    row[i] = fold(s) / (double)cols;
  }
}

static double factored_u(const void *w_, const void *g_, void *u_, const double *r, const double *c,
                         int64_t rows, int64_t cols, double coupled) {
  const real *w = w_;
  const real *g = g_;
  real *u = u_;
  double s[LANES] = {0};
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j += LANES) {
      int end = cols - j < LANES ? (int)(cols - j) : LANES;
      for (int l = 0; l < end; l++) {
        int64_t at = i * cols + j + l;
        double x = ((double)g[at] + coupled * (double)w[at]) / sqrt(r[i] * c[j + l]);
        u[at] = (real)x;
        s[l] += x * x;
      }
    }
  return fold(s);
}

static double unfactored_u(const void *w_, const void *g_, void *u_, void *v_, int64_t n, double b2,
                           double eps1, double coupled) {
  const real *w = w_;
  const real *g = g_;
  real *u = u_;
  real *v = v_;
  double s[LANES] = {0};
  for (int64_t i = 0; i < n; i += LANES) {
    int end = n - i < LANES ? (int)(n - i) : LANES;
    for (int j = 0; j < end; j++) {
      double gi = (double)g[i + j] + coupled * (double)w[i + j];
      double vi = b2 * (double)v[i + j] + (1 - b2) * (gi * gi + eps1);
      v[i + j] = (real)vi;
      double x = gi / sqrt(vi);
      u[i + j] = (real)x;
      s[j] += x * x;
    }
  }
  return fold(s);
}

static void apply(void *w_, const void *u_, int64_t n, double lr, double shrink) {
  real *w = w_;
  const real *u = u_;
  real step = (real)lr, keep = (real)(1 - shrink);
  for (int64_t i = 0; i < n; i++)
    w[i] = w[i] * keep - step * u[i];
}

static void scale(void *x_, int64_t n, double factor) {
  real *x = x_;
  real f = (real)factor;
  for (int64_t i = 0; i < n; i++)
    x[i] *= f;
}

const ml_optim_kernels ML_FN(optim_rules) = {
    sgd,        moments,     adam,       adam_apply,   adam_atan2, lion, sumsq,
    clip_sumsq, factor_sums, factored_u, unfactored_u, apply,      scale};
