/* Dual activations: their parameters, and their evaluation on tensors. */
#include "kernels.h"

#include <math.h>

enum { SIDE = ML_DUAL_DEGREE + 1 };

/* J_n(angle) = P_n(cos) (pi - angle) + Q_n(cos) sin, by (-1)^n sin^(2n+1) (1/sin d/dangle)^n of
 * (pi - angle) / sin (Cho & Saul 2009, Eq. 4); kappa = (ab)^(n/2) J_n / (2 pi). */
static void cho_saul(double *P, double *Q, int n, double factor) {
  double p[SIDE + 2] = {1}, q[SIDE + 2] = {0};
  for (int m = 0; m < n; m++) {
    double dp[SIDE + 2] = {0}, dq[SIDE + 2] = {0};
    /* p <- -(1-x^2) p' - (2m+1) x p;  q <- -p - (1-x^2) q' - 2m x q;  then the sign (-1) */
    for (int k = 0; k <= m + 1; k++) {
      double up = (k + 1) * p[k + 1], uq = (k + 1) * q[k + 1];
      dp[k] += up;
      dq[k] += uq + p[k];
      if (k >= 1) {
        dp[k] += (2 * m + 1 - (k - 1)) * p[k - 1];
        dq[k] += (2 * m - (k - 1)) * q[k - 1];
      }
    }
    for (int k = 0; k <= m + 1; k++) {
      p[k] = dp[k];
      q[k] = dq[k];
    }
  }
  for (int k = 0; k <= n; k++) {
    P[k] = factor * p[k];
    Q[k] = factor * q[k];
  }
}

/* R_l(v) = sum over i of c_(2i+l) (2i+l)! / (2^i i! sqrt(l!)) v^i, one after the other. */
static void hermite_terms(double *table, int degree, const double *c) {
  double *out = table;
  for (int l = 0; l <= degree; l++) {
    double root = sqrt(tgamma(l + 1.0));
    for (int i = 0; 2 * i + l <= degree; i++)
      *out++ = c[2 * i + l] * tgamma(2 * i + l + 1.0) / (ldexp(1, i) * tgamma(i + 1.0)) / root;
  }
}

ml_status ml_dual_init(ml_dual *dual, ml_dual_kind kind, const double *parameters, int degree,
                       const double *coefficients, ml_error *err) {
  static const int wanted[ML_DUAL_COUNT] = {
      [ML_DUAL_ABRELU] = 2, [ML_DUAL_ERF] = 3,      [ML_DUAL_SIN] = 3,
      [ML_DUAL_EXP] = 3,    [ML_DUAL_GAUSSIAN] = 3, [ML_DUAL_NORMALIZED] = 1};
  *dual = (ml_dual){.kind = kind, .degree = degree};
  for (int i = 0; i < wanted[kind]; i++) {
    if (!isfinite(parameters[i]))
      return ml_fail(err, ML_EARG, 0, "parameter %d is %g, wanted a finite number", i + 1,
                     parameters[i]);
    dual->p[i] = parameters[i];
  }
  if (kind == ML_DUAL_GAUSSIAN && !(parameters[1] >= 0))
    return ml_fail(err, ML_EARG, 0, "b is %g, wanted >= 0: exp(-b x^2) must not grow",
                   parameters[1]);
  if (kind == ML_DUAL_NORMALIZED && !(parameters[0] >= 0))
    return ml_fail(err, ML_EARG, 0, "gamma is %g, wanted >= 0", parameters[0]);
  if (kind == ML_DUAL_SIN) {
    double rest = 2 * sin(parameters[2]) * sin(parameters[2]); /* 1 - cos 2C */
    dual->p[0] = parameters[0] * parameters[0] / 2;
    dual->p[1] = parameters[1] * parameters[1];
    dual->p[2] = fabs(1 - rest) < 1e-15 ? 0 : 1 - rest; /* C = pi/4: the RBF kernel, exactly */
    dual->p[3] = 1 - dual->p[2];
  }
  if (kind == ML_DUAL_RECTIFIED || kind == ML_DUAL_POLYNOMIAL) {
    if (degree < 0 || degree > ML_DUAL_DEGREE)
      return ml_fail(err, ML_EARG, 0, "degree is %d, wanted 0..%d", degree, ML_DUAL_DEGREE);
  }
  if (kind == ML_DUAL_RECTIFIED) {
    const double front = 0.5 / 3.14159265358979323846;
    cho_saul(dual->table, dual->table + SIDE, degree, front);
    if (degree > 0)
      cho_saul(dual->table + 2 * SIDE, dual->table + 3 * SIDE, degree - 1, front * degree * degree);
  }
  if (kind == ML_DUAL_POLYNOMIAL) {
    for (int k = 0; k <= degree; k++)
      if (!isfinite(coefficients[k]))
        return ml_fail(err, ML_EARG, 0, "coefficient %d is %g, wanted a finite number", k + 1,
                       coefficients[k]);
    hermite_terms(dual->table, degree, coefficients);
  }
  return ML_OK;
}

/* ---- evaluation ------------------------------------------------------------------------------ */

typedef struct {
  const ml_dual *dual;
  const ml_kernel_table *table;
  const char *c, *a, *b;
  char *kappa, *kappa_dot;
  int64_t n;
  size_t size;
} dual_job;

enum { CHUNK = 4096 };

static void dual_chunk(void *ctx, int64_t i, int worker) {
  (void)worker;
  const dual_job *j = ctx;
  const int64_t first = i * CHUNK, n = j->n - first < CHUNK ? j->n - first : CHUNK;
  const size_t at = (size_t)first * j->size;
  j->table->dual[j->dual->kind](j->dual, n, j->c + at, j->a + at, j->b + at, j->kappa + at,
                                j->kappa_dot + at);
}

static ml_status check_triple(const ml_tensor *c, const ml_tensor *a, const ml_tensor *b,
                              ml_error *err) {
  const ml_tensor *all[3] = {c, a, b};
  char one[ML_DESCRIBE], two[ML_DESCRIBE];
  for (int i = 0; i < 3; i++) {
    if (!ml_is_real(all[i]->dtype) || all[i]->dtype != c->dtype)
      return ml_fail(err, ML_EDTYPE, 0, "c is %s and %s, wanted one real dtype",
                     ml_describe(one, c), ml_describe(two, all[i]));
    ml_shape s = ml_shape_of(c), t = ml_shape_of(all[i]);
    if (!ml_shape_equal(&s, &t))
      return ml_fail(err, ML_ESHAPE, 0, "c is %s and %s is %s, wanted one shape",
                     ml_describe(one, c), i == 1 ? "a" : "b", ml_describe(two, all[i]));
  }
  return ML_OK;
}

ml_status ml_dual_eval(ml_tensor *kappa, ml_tensor *kappa_dot, const ml_dual *dual,
                       const ml_tensor *c, const ml_tensor *a, const ml_tensor *b, ml_error *err) {
  ML_TRY(check_triple(c, a, b, err));
  ml_tensor cc = {0}, ca = {0}, cb = {0}, K = {0}, D = {0};
  const ml_shape shape = ml_shape_of(c);
  ml_status status = ml_tensor_contiguous(&cc, c, err);
  if (!status)
    status = ml_tensor_contiguous(&ca, a, err);
  if (!status)
    status = ml_tensor_contiguous(&cb, b, err);
  if (!status)
    status = ml_tensor_init(&K, c->dtype, &shape, err);
  if (!status)
    status = ml_tensor_init(&D, c->dtype, &shape, err);
  if (!status) {
    dual_job j = {dual,
                  ml_kernel_table_of(c->dtype),
                  ml_data(&cc),
                  ml_data(&ca),
                  ml_data(&cb),
                  ml_data(&K),
                  ml_data(&D),
                  ml_numel(c),
                  ml_dtype_size(c->dtype)};
    status = ml_parallel_poll((j.n + CHUNK - 1) / CHUNK, 40.0 * CHUNK, dual_chunk, &j, err);
  }
  if (!status) {
    ml_tensor_move(kappa, &K);
    ml_tensor_move(kappa_dot, &D);
  }
  ml_tensor_clear(&cc);
  ml_tensor_clear(&ca);
  ml_tensor_clear(&cb);
  ml_tensor_clear(&K);
  ml_tensor_clear(&D);
  return status;
}

/* ---- series ---------------------------------------------------------------------------------- */

typedef struct {
  const ml_kernel_table *table;
  const char *rho, *x, *y; /* y transposed: [q,m] */
  char *out;
  int64_t m, q;
  size_t size;
} series_job;

static void series_row(void *ctx, int64_t i, int worker) {
  (void)worker;
  const series_job *j = ctx;
  const size_t row = (size_t)(i * j->m) * j->size;
  j->table->series(j->m, j->q, j->x + (size_t)(i * j->q) * j->size, j->y, j->m, j->rho + row,
                   j->out + row);
}

ml_status ml_dual_series(ml_tensor *kappa, const ml_tensor *rho, const ml_tensor *x,
                         const ml_tensor *y, ml_error *err) {
  char r[ML_DESCRIBE], s[ML_DESCRIBE], t[ML_DESCRIBE];
  if (!ml_is_real(rho->dtype) || x->dtype != rho->dtype || y->dtype != rho->dtype)
    return ml_fail(err, ML_EDTYPE, 0, "rho, x and y are %s, %s and %s, wanted one real dtype",
                   ml_describe(r, rho), ml_describe(s, x), ml_describe(t, y));
  if (rho->rank != 2 || x->rank != 2 || y->rank != 2 || x->size[0] != rho->size[0] ||
      y->size[0] != rho->size[1] || x->size[1] != y->size[1])
    return ml_fail(err, ML_ESHAPE, 0, "rho, x and y are %s, %s and %s, wanted [n,m], [n,q], [m,q]",
                   ml_describe(r, rho), ml_describe(s, x), ml_describe(t, y));
  ml_tensor cr = {0}, cx = {0}, turned = {0}, cy = {0}, out = {0};
  const ml_shape shape = ml_shape_of(rho);
  ml_status status = ml_tensor_contiguous(&cr, rho, err);
  if (!status)
    status = ml_tensor_contiguous(&cx, x, err);
  if (!status)
    status = ml_view_transpose(&turned, y, 0, 1, err);
  if (!status)
    status = ml_tensor_contiguous(&cy, &turned, err);
  if (!status)
    status = ml_tensor_init(&out, rho->dtype, &shape, err);
  if (!status) {
    series_job j = {ml_kernel_table_of(rho->dtype),
                    ml_data(&cr),
                    ml_data(&cx),
                    ml_data(&cy),
                    ml_data(&out),
                    rho->size[1],
                    x->size[1],
                    ml_dtype_size(rho->dtype)};
    status = ml_parallel_poll(rho->size[0], 2.0 * (double)(j.m * j.q), series_row, &j, err);
  }
  if (!status)
    ml_tensor_move(kappa, &out);
  ml_tensor_clear(&cr);
  ml_tensor_clear(&cx);
  ml_tensor_clear(&turned);
  ml_tensor_clear(&cy);
  ml_tensor_clear(&out);
  return status;
}
