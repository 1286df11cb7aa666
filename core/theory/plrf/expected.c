/* The exact expected loss of SGD given W: recursion, Volterra equation, the secular equation. */
#include "kernels.h"

#include <math.h>
#include <string.h>

/* q = 1 - 2 gamma B lambda + gamma^2 B (B+1) lambda^2, a = 1 - q, c = gamma^2 B lambda^2 count */
static void coefficients(double *q, double *a, double *c, const double *lambda,
                         const double *counts, int64_t d, double gamma, double B) {
  for (int64_t k = 0; k < d; k++) {
    const double x = gamma * lambda[k], decay = B * x * (2 - (B + 1) * x);
    if (q)
      q[k] = 1 - decay;
    if (a)
      a[k] = decay;
    c[k] = B * x * x * (counts ? counts[k] : 1);
  }
}

static double *take(int64_t n, ml_error *err) {
  double *block = ml_block_new((size_t)(n > 0 ? n : 1) * sizeof *block);
  if (!block)
    ml_error_set(err, ML_ENOMEM, 0, "out of memory for %lld doubles", (long long)n);
  return block;
}

/* With momentum m the second moments of a mode, a = lambda E x^2 (its energy), b = E x u and c = E
 * u^2 / lambda, are advanced; the gradient has the mean B lambda x and in the square lambda B P +
 * B (B+1) lambda^2 x^2. Returns the sum of a. [any thread] */
static double with_momentum(double *restrict a, double *restrict b, double *restrict c,
                            const double *restrict lambda, const double *restrict counts, int64_t d,
                            double gamma, double B, double m, double P) {
  double sum = 0;
  for (int64_t k = 0; k < d; k++) {
    const double y = gamma * lambda[k], mean = m * b[k] + B * a[k];
    const double square =
        m * (m * c[k] + 2 * B * b[k]) + B * ((B + 1) * a[k] + (counts ? counts[k] : 1) * P);
    a[k] += y * (y * square - 2 * mean);
    b[k] = mean - y * square;
    c[k] = square;
    sum += a[k];
  }
  return sum;
}

ml_status ml_plrf_recursion(double *P, const double *lambda, const double *rho,
                            const double *counts, double null, int64_t d, double batch,
                            const double *gamma, int64_t gammas, double momentum,
                            const int64_t *steps, int64_t records, ml_error *err) {
  double *work = take(3 * d, err);
  if (!work)
    return ML_ENOMEM;
  double *now = work, *q = work + d, *c = work + 2 * d, total = null;
  for (int64_t k = 0; k < d; k++)
    total += rho[k];
  memcpy(now, rho, (size_t)d * sizeof *now);
  const ml_plrf_kernels *kernels = ml_plrf_kernels_of(ML_F64);
  if (momentum != 0)
    memset(q, 0, (size_t)(2 * d) * sizeof *q);
  else
    coefficients(q, NULL, c, lambda, counts, d, gamma[0], batch);
  int64_t step = 0;
  bool cancelled = false;
  for (int64_t r = 0; r < records && !cancelled; r++) {
    for (; step < steps[r] && !cancelled; step++) {
      const double rate = gamma[gammas > 1 ? step : 0];
      if (momentum != 0) {
        total = null + with_momentum(now, q, c, lambda, counts, d, rate, batch, momentum, total);
      } else {
        if (gammas > 1 && step > 0)
          coefficients(q, NULL, c, lambda, counts, d, rate, batch);
        total = null + kernels->recur(now, q, c, total, d);
      }
      cancelled = step % 256 == 0 && ml_cancelled();
    }
    P[r] = total;
  }
  ml_block_free(work);
  return cancelled ? ml_fail(err, ML_ECANCELLED, 0, "interrupted") : ML_OK;
}

/* One implicit step: (1 + h a) rho' = rho + h c P', P' = null + sum rho', solved for P' first (a
 * matrix of rank one). Returns P', NaN where there is none. [any thread] */
static double implicit(double *restrict rho, double *restrict shrink, double *restrict gain,
                       const double *restrict lambda, const double *restrict counts, double null,
                       int64_t d, double gamma, double B, double h) {
  double back = 0, kept = null;
  for (int64_t k = 0; k < d; k++) {
    const double x = gamma * lambda[k], decay = B * x * (2 - (B + 1) * x), a = -log1p(-decay);
    const double c = B * x * x * (counts ? counts[k] : 1) * (decay != 0 ? a / decay : 1);
    if (!(1 + h * a > 0))
      return NAN;
    shrink[k] = 1 / (1 + h * a);
    gain[k] = h * c;
    back += gain[k] * shrink[k];
    kept += rho[k] * shrink[k];
  }
  if (!(back < 1))
    return NAN;
  const double P = kept / (1 - back);
  for (int64_t k = 0; k < d; k++)
    rho[k] = (rho[k] + gain[k] * P) * shrink[k];
  return P;
}

ml_status ml_plrf_in_time(double *P, const double *lambda, const double *rho, const double *counts,
                          double null, int64_t d, double batch, const double *gamma,
                          const double *h, int64_t n, ml_error *err) {
  double *work = take(3 * d, err);
  if (!work)
    return ML_ENOMEM;
  double *now = work, *q = work + d, *c = work + 2 * d, total = null, last = NAN;
  for (int64_t k = 0; k < d; k++)
    total += rho[k];
  memcpy(now, rho, (size_t)d * sizeof *now);
  const ml_plrf_kernels *kernels = ml_plrf_kernels_of(ML_F64);
  ml_status status = ML_OK;
  for (int64_t i = 0; i < n && !status; i++) {
    if (h[i] > 0) {
      total = implicit(now, q, c, lambda, counts, null, d, gamma[i], batch, h[i]);
      last = NAN;
      if (!isfinite(total))
        status = ml_fail(err, ML_ENUMERIC, 0,
                         "SGD diverges: the loss has no bound over %g updates at gamma %g", h[i],
                         gamma[i]);
    } else {
      if (gamma[i] != last)
        coefficients(q, NULL, c, lambda, counts, d, gamma[i], batch);
      last = gamma[i];
      total = null + kernels->recur(now, q, c, total, d);
    }
    P[i] = total;
    if (i % 64 == 0 && ml_cancelled())
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
  }
  ml_block_free(work);
  return status;
}

ml_status ml_plrf_volterra(double *P, double *F, double *K, const double *lambda, const double *rho,
                           const double *counts, double null, int64_t d, double batch, double gamma,
                           int64_t n, ml_error *err) {
  double *work = take(4 * d, err);
  if (!work)
    return ML_ENOMEM;
  double *q = work, *c = work + d, *f = work + 2 * d, *g = work + 3 * d;
  coefficients(q, NULL, c, lambda, counts, d, gamma, batch);
  memcpy(f, rho, (size_t)d * sizeof *f);
  memcpy(g, c, (size_t)d * sizeof *g);
  bool cancelled = false;
  for (int64_t r = 0; r < n && !cancelled; r++) {
    double forcing = null, kernel = 0, sum = 0;
    for (int64_t k = 0; k < d; k++) {
      forcing += f[k];
      kernel += g[k];
      f[k] *= q[k];
      g[k] *= q[k];
    }
    F[r] = forcing;
    K[r] = kernel;
    for (int64_t s = 0; s < r; s++)
      sum += K[r - 1 - s] * P[s];
    P[r] = forcing + sum;
    cancelled = ml_cancelled();
  }
  ml_block_free(work);
  return cancelled ? ml_fail(err, ML_ECANCELLED, 0, "interrupted") : ML_OK;
}

/* ---- secular equation ------------------------------------------------------------------------ */

typedef struct {
  int64_t n;
  const double *a, *c, *delta;
  double *nu, *w;
  const double *steps;
  double *P, limit;
} secular;

/* Root number i of sum c/(a - nu) = 1, between pole i-1 (or 0) and pole i, as the distance t of nu
 * from pole i: the sum falls in t. Newton in 1/t, in which the nearest pole is linear, kept inside
 * a bracket that every third step halves. */
static double root(const secular *s, int64_t i, const ml_plrf_kernels *k) {
  const double gap = i ? s->a[i] - s->a[i - 1] : s->a[i];
  double lo = 1e-40 * gap, hi = gap, t = fmin(s->c[i], 0.5 * gap);
  if (!(t > lo))
    t = sqrt(lo * hi);
  for (int n = 0; n < 200; n++) {
    double f[2];
    k->secular(f, s->a, s->c, s->a[i], t, s->n);
    const double excess = f[0] - 1;
    if (excess > 0)
      lo = t;
    else if (excess < 0)
      hi = t;
    else
      return t;
    if (hi - lo <= 2.3e-16 * lo)
      break;
    double next = t / (1 - excess / (f[1] * t)); /* f' = -f[1] */
    if (n % 3 == 2 || !(next > lo && next < hi))
      next = hi > 4 * lo ? sqrt(lo) * sqrt(hi) : 0.5 * (lo + hi);
    if (next == t)
      return t;
    t = next;
  }
  return t;
}

static void roots(void *ctx, int64_t block, int worker) {
  (void)worker;
  const secular *s = ctx;
  const ml_plrf_kernels *k = ml_plrf_kernels_of(ML_F64);
  for (int64_t i = block * 16; i < s->n && i < block * 16 + 16; i++) {
    const double t = root(s, i, k);
    double up[2], down[2];
    k->secular(up, s->a, s->delta, s->a[i], t, s->n);
    k->secular(down, s->a, s->c, s->a[i], t, s->n);
    s->nu[i] = s->a[i] - t;
    s->w[i] = up[0] / down[1];
  }
}

static void evaluate(void *ctx, int64_t r, int worker) {
  (void)worker;
  const secular *s = ctx;
  double sum = 0;
  for (int64_t i = s->n; i-- > 0;)
    sum += s->w[i] * exp(s->steps[r] * log1p(-s->nu[i]));
  s->P[r] = s->limit + sum;
}

/* Sorts a ascending, c and e with it. */
static void sort3(double *a, double *c, double *e, int64_t n) {
  for (int64_t gap = n / 2; gap > 0; gap /= 2)
    for (int64_t i = gap; i < n; i++) {
      const double x = a[i], y = c[i], z = e[i];
      int64_t j = i;
      for (; j >= gap && a[j - gap] > x; j -= gap) {
        a[j] = a[j - gap];
        c[j] = c[j - gap];
        e[j] = e[j - gap];
      }
      a[j] = x;
      c[j] = y;
      e[j] = z;
    }
}

ml_status ml_plrf_secular(double *P, const double *lambda, const double *rho, const double *counts,
                          double null, int64_t d, double batch, double gamma, const double *steps,
                          int64_t records, ml_error *err) {
  ML_TRY(ml_plrf_stable(lambda, counts, d, gamma, batch, 0, err));
  double *work = take(5 * d, err);
  if (!work)
    return ML_ENOMEM;
  double *a = work, *c = work + d, *delta = work + 2 * d;
  coefficients(NULL, a, c, lambda, counts, d, gamma, batch);
  memcpy(delta, rho, (size_t)d * sizeof *delta);
  sort3(a, c, delta, d);
  double fixed = null, norm = 0;
  int64_t n = 0; /* a mode that does not move keeps its energy; equal ones are one */
  for (int64_t k = 0; k < d; k++) {
    if (!(a[k] > 0)) {
      fixed += delta[k];
      continue;
    }
    norm += c[k] / a[k];
    if (n > 0 && a[k] - a[n - 1] <= 4e-16 * a[k]) {
      c[n - 1] += c[k];
      delta[n - 1] += delta[k];
    } else {
      a[n] = a[k];
      c[n] = c[k];
      delta[n++] = delta[k];
    }
  }
  const double limit = fixed / (1 - norm);
  for (int64_t k = 0; k < n; k++)
    delta[k] -= c[k] / a[k] * limit;
  secular s = {n, a, c, delta, work + 3 * d, work + 4 * d, steps, P, limit};
  ml_status status = ml_parallel_poll((n + 15) / 16, 16.0 * 60 * (double)n, roots, &s, err);
  if (!status)
    status = ml_parallel_poll(records, 40.0 * (double)n, evaluate, &s, err);
  ml_block_free(work);
  return status;
}
