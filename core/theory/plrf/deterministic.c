/* The deterministic equivalent: m(z) by its explicit inverse map, curves by inversion of their
 * generating functions, and spectral masses by line integrals. */
#include "kernels.h"

#include <complex.h>
#include <math.h>

typedef double complex cplx;
#define CPLX(re, im) CMPLX((re), (im))

/* With w = z/m: m = 1 - s1/d, z = w m, dz/dw = m - (w/d) s2. */
typedef struct {
  cplx m, z, slope;
  cplx s1; /* sum of na/(a - w) = d (1 - m), which 1 - m would lose to rounding at large d */
  cplx energy, count; /* sum of e/(a - w), and the same of multiplicities */
} point;

static point at(const ml_plrf_population *p, cplx w) {
  double s[8];
  ml_plrf_kernels_of(ML_F64)->stieltjes(s, p->a, p->na, p->e, p->count, creal(w), cimag(w), p->n);
  point q;
  q.s1 = CPLX(s[0], s[1]);
  q.m = 1 - q.s1 / p->d;
  q.z = w * q.m;
  q.slope = q.m - w / p->d * CPLX(s[2], s[3]);
  q.energy = CPLX(s[4], s[5]);
  q.count = CPLX(s[6], s[7]);
  if (p->modes ==
      p->d) { /* the spectrum reaches 0, where 1 - s1/d = -(w/d) count loses its digits */
    q.m = -w / p->d * q.count;
    q.z = w * q.m;
    q.slope = -w / p->d * (q.count + CPLX(s[2], s[3]));
  }
  return q;
}

static bool accepted(cplx w, cplx z, cplx slope) {
  if (!isfinite(creal(w)) || !isfinite(cimag(w)))
    return false;
  /* a real z lies outside the spectrum where z(w) rises (Silverstein & Choi 1995), and only there
   */
  if (cimag(z) == 0)
    return creal(slope) > 0 && fabs(cimag(w)) <= 1e-9 * cabs(w);
  /* near z = 0 w is near -kappa, and its imaginary part may be rounding */
  return (cimag(w) > 0) == (cimag(z) > 0) || (creal(w) < 0 && fabs(cimag(w)) <= 1e-12 * cabs(w));
}

/* Newton from w; on success w is the solution and q its point, with m = z/w: near z = 0, where m
 * vanishes, 1 - s1/d has lost its digits while w has not. */
static bool newton(const ml_plrf_population *p, cplx z, cplx *w, point *q) {
  cplx x = *w;
  double before = INFINITY;
  for (int i = 0; i < 40; i++) {
    *q = at(p, x);
    const cplx step = (q->z - z) / q->slope;
    const double size = cabs(step) / cabs(x);
    if (!isfinite(size))
      return false;
    if (size <= 4e-16 || (size <= 1e-12 && size >= 0.5 * before)) {
      if (!accepted(x, z, q->slope))
        return false;
      *w = x;
      q->m = z / x;
      return true;
    }
    before = size;
    x -= step;
  }
  return false;
}

/* Solves z(w) = z. w holds a guess (used when warm) and gets the solution. The damped iteration s
 * <- 1/(-z + (1/d) sum a/(1 + a s)) with w = -1/s maps the half plane of z into itself and
 * converges there from any start. */
static bool solve(const ml_plrf_population *p, cplx z, bool warm, cplx *w, point *q) {
  cplx x = *w;
  if (warm && newton(p, z, &x, q)) {
    *w = x;
    return true;
  }
  cplx s = -1 / z;
  for (int rounds = 0, n = 0; rounds < 12; rounds++) {
    x = -1 / s;
    if (newton(p, z, &x, q)) {
      *w = x;
      return true;
    }
    for (int end = n + (10 << rounds); n < end; n++) {
      x = -1 / s;
      const cplx next = z + x * at(p, x).s1 / p->d;
      s = 0.5 * s - 0.5 / next;
    }
  }
  return false;
}

static ml_status inside(cplx z, ml_error *err) {
  return ml_fail(err, ML_ENUMERIC, 0, "no solution m(z) at z = %g%+gi: it lies in the spectrum",
                 creal(z), cimag(z));
}

ml_status ml_plrf_m(double m[2], const ml_plrf_population *p, double re, double im, ml_error *err) {
  cplx z = CPLX(re, im), w = z;
  point q;
  if (z == 0 || !solve(p, z, false, &w, &q))
    return inside(z, err);
  m[0] = creal(q.m);
  m[1] = cimag(q.m);
  return ML_OK;
}

void ml_plrf_floor(double *kappa, double *F0, const ml_plrf_population *p) {
  double modes = 0, trace = 0;
  for (int64_t i = 0; i < p->n; i++) {
    modes += p->count[i];
    trace += p->na[i];
  }
  *kappa = *F0 = 0;
  if (modes <= p->d)
    return;
  double hi = log(trace / p->d), lo = hi - 700;
  for (int n = 0; n < 200 && hi - lo > 1e-16 * fabs(hi); n++) {
    const double mid = 0.5 * (lo + hi), k = exp(mid);
    double sum = 0;
    for (int64_t i = 0; i < p->n; i++)
      sum += p->na[i] / (p->a[i] + k);
    if (mid == lo || mid == hi)
      break;
    if (sum > p->d)
      lo = mid;
    else
      hi = mid;
  }
  *kappa = exp(0.5 * (lo + hi));
  for (int64_t i = 0; i < p->n; i++)
    *F0 += p->e[i] * *kappa / (p->a[i] + *kappa);
}

ml_status ml_plrf_deterministic_norm(double *norm, const ml_plrf_population *p, double gamma,
                                     double batch, ml_error *err) {
  const double z = 2 / (gamma * (batch + 1));
  cplx w = z;
  point q;
  double top = 0; /* w lies above it where z lies above the spectrum */
  for (int64_t i = 0; i < p->n; i++)
    top = fmax(top, p->a[i]);
  if (!solve(p, z, false, &w, &q) || !(creal(w) > top))
    return ml_fail(
        err, ML_ENUMERIC, 0,
        "SGD diverges: 2/(gamma (B+1)) = %.6g is not above the spectrum (gamma %g, B %g)", z, gamma,
        batch);
  *norm = -creal(q.s1) / (batch + 1);
  return ML_OK;
}

/* ---- curves
 * -------------------------------------------------------------------------------------- */

typedef struct {
  const ml_plrf_population *p;
  double gamma, B;
  const double *steps;
  int64_t records;
  int nodes;
  double *out[3]; /* P, F, K */
  bool *failed;
} curve;

typedef struct {
  cplx minus, plus;
  bool warm;
} path;

/* The generating functions at zeta = exp(-s). */
static bool generating(const curve *c, cplx s, cplx E, path *walk, cplx value[3]) {
  const double gB = c->gamma * c->B, G = c->gamma * gB * (c->B + 1);
  cplx root = csqrt(gB * gB - G * E);
  if (creal(root) < 0)
    root = -root;
  const cplx zm = E / (gB + root), zp = 2 / (c->gamma * (c->B + 1)) - zm;
  point m, p;
  if (!solve(c->p, zm, walk->warm, &walk->minus, &m))
    return false;
  if (!walk->warm)
    walk->plus = zp;
  if (!solve(c->p, zp, true, &walk->plus, &p))
    return false;
  walk->warm = true;
  const cplx below = cexp(-s) * G * (zp - zm);
  value[1] = (m.energy / m.m - p.energy / p.m) / below;
  value[2] = c->gamma * gB * (zm * m.s1 - zp * p.s1) / below;
  value[0] = value[1] / (1 - cexp(-s) * value[2]);
  return true;
}

static cplx expm1_of(cplx p) {
  const double x = creal(p), y = cimag(p), h = sin(0.5 * y);
  return CPLX(expm1(x) * cos(y) - 2 * h * h, exp(x) * sin(y));
}

/* Modified Talbot contour: all singularities lie on a real segment that ends at 0. */
static bool talbot(const curve *c, double r, double sum[3]) {
  const int N = c->nodes;
  path walk = {0};
  for (int k = 0; k < N / 2; k++) {
    const double theta = (2 * k + 1) * M_PI / N, sine = sin(0.6407 * theta),
                 cot = cos(0.6407 * theta) / sine;
    const cplx Z = N * CPLX(0.5017 * theta * cot - 0.6122, 0.2645 * theta);
    const cplx slope = N * CPLX(0.5017 * cot - 0.5017 * 0.6407 * theta / (sine * sine), 0.2645);
    const cplx s = Z / r;
    cplx value[3];
    if (!generating(c, s, -expm1_of(s), &walk, value))
      return false;
    const cplx weight = cexp(Z) * slope * (2 * M_PI / N) / CPLX(0, 2 * M_PI * r);
    for (int i = 0; i < 3; i++)
      sum[i] += 2 * creal(value[i] * weight);
  }
  return true;
}

/* Small r: the trapezoid rule on the circle |zeta| = 0.6. */
static bool circle(const curve *c, double r, double sum[3]) {
  enum { NODES = 128 };
  path walk = {0};
  for (int k = 0; k < NODES / 2; k++) {
    const double angle = (k + 0.5) * 2 * M_PI / NODES;
    const cplx s = CPLX(-log(0.6), -angle); /* zeta = exp(-s) */
    cplx value[3];
    if (!generating(c, s, -expm1_of(s), &walk, value))
      return false;
    const cplx weight = cexp(s * r);
    for (int i = 0; i < 3; i++)
      sum[i] += 2 * creal(value[i] * weight) / NODES;
  }
  return true;
}

static void one_record(void *ctx, int64_t i, int worker) {
  (void)worker;
  const curve *c = ctx;
  double sum[3] = {0};
  const double r = c->steps[i];
  c->failed[i] = !(r < 12 ? circle(c, r, sum) : talbot(c, r, sum));
  for (int k = 0; k < 3; k++)
    c->out[k][i] = sum[k];
}

ml_status ml_plrf_deterministic(double *P, double *F, double *K, const ml_plrf_population *p,
                                double gamma, double batch, const double *steps, int64_t records,
                                int nodes, ml_error *err) {
  double norm;
  ML_TRY(ml_plrf_deterministic_norm(&norm, p, gamma, batch, err));
  if (!(norm < 1))
    return ml_fail(err, ML_ENUMERIC, 0,
                   "SGD diverges: the kernel norm is %.6g, wanted < 1 (gamma %g, B %g)", norm,
                   gamma, batch);
  bool *failed = ml_alloc((size_t)(records + 1) * sizeof *failed);
  if (!failed)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for %lld records", (long long)records);
  curve c = {p, gamma, batch, steps, records, nodes, {P, F, K}, failed};
  ml_status status = ml_parallel_poll(records, 200.0 * (double)p->n * 4, one_record, &c, err);
  for (int64_t i = 0; !status && i < records; i++)
    if (failed[i])
      status = ml_fail(err, ML_ENUMERIC, 0, "no solution m(z) on the contour of r = %g", steps[i]);
  ml_free(failed);
  return status;
}

/* ---- spectral masses
 * --------------------------------------------------------------------------------- */

enum { GAUSS = 160 };

static void gauss_legendre(double x[GAUSS], double w[GAUSS]) { /* on (0, pi) */
  for (int i = 0; i < GAUSS; i++) {
    double t = cos(M_PI * (i + 0.75) / (GAUSS + 0.5)), slope = 1;
    for (int n = 0; n < 50; n++) {
      double before = 1, now = t;
      for (int k = 2; k <= GAUSS; k++) {
        const double next = ((2 * k - 1) * t * now - (k - 1) * before) / k;
        before = now;
        now = next;
      }
      slope = GAUSS * (t * now - before) / (t * t - 1);
      const double change = now / slope;
      t -= change;
      if (fabs(change) < 1e-16)
        break;
    }
    x[i] = 0.5 * M_PI * (1 - t); /* ascending */
    w[i] = 0.5 * M_PI * 2 / ((1 - t * t) * slope * slope);
  }
}

typedef struct {
  const ml_plrf_population *p;
  const double *x, *node, *weight;
  double *mass, *count, top;
  bool *failed;
} masses;

/* (1/pi) Im of the integral from x to top through the upper half plane, on the arc log z = c + h
 * cos t + 1.5 i sin t. */
static void one_mass(void *ctx, int64_t i, int worker) {
  (void)worker;
  const masses *a = ctx;
  const double lx = log(a->x[i]), lt = log(a->top), c = 0.5 * (lt + lx), h = 0.5 * (lt - lx);
  double energy = 0, count = 0;
  cplx w = 0;
  bool warm = false;
  for (int k = 0; k < GAUSS; k++) { /* t from 0 (top) to pi (x): the integral runs backwards */
    const double t = a->node[k];
    const cplx z = cexp(CPLX(c + h * cos(t), 1.5 * sin(t)));
    const cplx dz = z * CPLX(-h * sin(t), 1.5 * cos(t));
    point q;
    if (!solve(a->p, z, warm, &w, &q)) {
      a->failed[i] = true;
      return;
    }
    warm = true;
    energy -= a->weight[k] * cimag(q.energy / q.m * dz) / M_PI;
    count -= a->weight[k] * cimag(q.count / q.m * dz) / M_PI;
  }
  a->mass[i] = energy;
  a->count[i] = count;
}

ml_status ml_plrf_mass(double *mass, double *count, const ml_plrf_population *p, const double *x,
                       int64_t n, double top, ml_error *err) {
  bool *failed = ml_alloc((size_t)(n + 1) * sizeof *failed);
  if (!failed)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for %lld places", (long long)n);
  double node[GAUSS], weight[GAUSS];
  gauss_legendre(node, weight);
  masses a = {p, x, node, weight, mass, count, top, failed};
  ml_status status = ml_parallel_poll(n, 2000.0 * (double)p->n, one_mass, &a, err);
  for (int64_t i = 0; !status && i < n; i++)
    if (failed[i])
      status = ml_fail(err, ML_ENUMERIC, 0, "no solution m(z) on the contour of x = %g", x[i]);
  ml_free(failed);
  return status;
}
