/* Spectrum of one problem, and when SGD on it is stable. */
#include "plrf.h"

#include <math.h>

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

double ml_plrf_kernel_norm(const double *lambda, const double *counts, int64_t d, double gamma,
                           double batch) {
  double sum = 0;
  for (int64_t k = 0; k < d; k++)
    sum += (counts ? counts[k] : 1) * gamma * lambda[k] / (2 - gamma * (batch + 1) * lambda[k]);
  return sum;
}

ml_status ml_plrf_stable(const double *lambda, const double *counts, int64_t d, double gamma,
                         double batch, ml_error *err) {
  double top = 0;
  for (int64_t k = 0; k < d; k++)
    top = fmax(top, lambda[k]);
  const double modes = gamma * (batch + 1) * top;
  if (!(modes < 2))
    return ml_fail(err, ML_ENUMERIC, 0,
                   "SGD diverges: gamma (B+1) lambda_max is %.6g, wanted < 2 (gamma %g, B %g)",
                   modes, gamma, batch);
  const double norm = ml_plrf_kernel_norm(lambda, counts, d, gamma, batch);
  if (!(norm < 1))
    return ml_fail(err, ML_ENUMERIC, 0,
                   "SGD diverges: the kernel norm is %.6g, wanted < 1 (gamma %g, B %g)", norm,
                   gamma, batch);
  return ML_OK;
}
