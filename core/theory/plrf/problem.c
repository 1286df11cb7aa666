/* Spectrum of one problem, and when SGD on it is stable. */
#include "plrf.h"

#include <math.h>
#include <stdio.h>

ml_status ml_plrf_spectrum(double *lambda, double *t, double *norm2, const double *A,
                           const double *u, int64_t v, int64_t d, ml_error *err) {
  double *H = ml_block_new((size_t)(d * d) * sizeof *H);
  if (!H)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for a matrix [%lldx%lld]", (long long)d,
                   (long long)d);
  ml_gemm(ML_F64, true, false, d, d, v, 1, A, d, A, d, 0, H, d);
  ml_gemm(ML_F64, true, false, d, 1, v, 1, A, d, u, 1, 0, t, 1);
  double sum = 0;
  for (int64_t j = 0; j < v; j++)
    sum += u[j] * u[j];
  *norm2 = sum;
  ml_status status = ML_OK;
  if (ml_cancelled())
    status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
  else
    status = ml_solve_eigh_project(lambda, t, H, d, err);
  ml_block_free(H);
  return status;
}

/* With momentum m the second moments of one mode, E x^2, E x u and E u^2, and the noise that they
 * get from the loss have the fixed point gain = gamma lambda (1+m) / (2 (1-m^2) - gamma lambda
 * (B+1 + m (1-B))) in units of the loss. They shrink iff the denominator is positive: the map keeps
 * moment matrices positive, so its largest eigenvalue is real, and it is 1 only where the
 * denominator is 0. */
double ml_plrf_modes(double top, double gamma, double batch, double momentum) {
  return gamma * top * (batch + 1 + momentum * (1 - batch)) / (1 - momentum * momentum);
}

double ml_plrf_kernel_norm(const double *lambda, const double *counts, int64_t d, double gamma,
                           double batch, double momentum) {
  double sum = 0;
  for (int64_t k = 0; k < d; k++) {
    const double x = gamma * lambda[k] / (1 - momentum),
                 rest = 2 - ml_plrf_modes(lambda[k], gamma, batch, momentum);
    if (!(rest > 0))
      return INFINITY;
    sum += (counts ? counts[k] : 1) * x / rest;
  }
  return sum;
}

ml_status ml_plrf_stable(const double *lambda, const double *counts, int64_t d, double gamma,
                         double batch, double momentum, ml_error *err) {
  double top = 0;
  for (int64_t k = 0; k < d; k++)
    top = fmax(top, lambda[k]);
  char given[96];
  snprintf(given, sizeof given, momentum ? "(gamma %g, B %g, momentum %g)" : "(gamma %g, B %g)",
           gamma, batch, momentum);
  const double modes = ml_plrf_modes(top, gamma, batch, momentum);
  if (!(modes < 2))
    return ml_fail(err, ML_ENUMERIC, 0, "SGD diverges: %s is %.6g, wanted < 2 %s",
                   momentum ? "gamma (B+1 + m (1-B)) lambda_max / (1-m^2)"
                            : "gamma (B+1) lambda_max",
                   modes, given);
  const double norm = ml_plrf_kernel_norm(lambda, counts, d, gamma, batch, momentum);
  if (!(norm < 1))
    return ml_fail(err, ML_ENUMERIC, 0, "SGD diverges: the kernel norm is %.6g, wanted < 1 %s",
                   norm, given);
  return ML_OK;
}
