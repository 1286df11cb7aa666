/* Spectrum of one problem, and when SGD on it is stable. */
#include "plrf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The spectrum by A = QR and R = U S V^T. The rows of A fall in size, so that Householder's QR
 * keeps the small ones, and with them the residual of u. */
static ml_status from_factors(double *lambda, double *t, double *rho, double *null, const double *A,
                              const double *u, int64_t v, int64_t d, ml_error *err) {
  double *work = ml_block_new((size_t)(v * d + 3 * d * d + v + 3 * d) * sizeof *work);
  if (!work)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for the factors of a matrix [%lldx%lld]",
                   (long long)v, (long long)d);
  double *Q = work, *R = Q + v * d, *U = R + d * d, *Vt = U + d * d, *rest = Vt + d * d,
         *s = rest + v, *part = s + d, *energy = part + d;
  memcpy(Q, A, (size_t)(v * d) * sizeof *Q);
  memcpy(rest, u, (size_t)v * sizeof *rest);
  memset(energy, 0, (size_t)d * sizeof *energy);
  ml_status status = ml_solve_qr(Q, R, v, d, err);
  for (int pass = 0; !status && pass < 2; pass++) { /* rest = u - Q Q^T u, energy = Q^T u */
    ml_gemm(ML_F64, true, false, d, 1, v, 1, Q, d, rest, 1, 0, part, 1);
    ml_gemm(ML_F64, false, false, v, 1, d, -1, Q, d, part, 1, 1, rest, 1);
    for (int64_t k = 0; k < d; k++)
      energy[k] += part[k];
  }
  if (!status)
    status = ml_solve_svd(U, s, Vt, R, d, d, err);
  if (!status) {
    ml_gemm(ML_F64, true, false, d, 1, d, 1, U, d, energy, 1, 0, part, 1);
    if (ml_cancelled()) /* products were cut short */
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    *null = 0;
    for (int64_t j = 0; j < v; j++)
      *null += rest[j] * rest[j];
    for (int64_t k = 0; k < d; k++) { /* s falls, lambda rises */
      const int64_t i = d - 1 - k;
      const bool there = s[k] > (double)v * 0x1p-52 * s[0];
      lambda[i] = there ? s[k] * s[k] : 0;
      t[i] = there ? s[k] * part[k] : 0;
      rho[i] = there ? part[k] * part[k] : 0;
      if (!there)
        *null += part[k] * part[k];
    }
  }
  ml_block_free(work);
  return status;
}

ml_status ml_plrf_spectrum(double *lambda, double *t, double *rho, double *null, double *norm2,
                           const double *A, const double *u, int64_t v, int64_t d, ml_error *err) {
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
  ML_TRY(status);
  if (!(lambda[0] > 1e-10 * lambda[d - 1]))
    return from_factors(lambda, t, rho, null, A, u, v, d, err);
  for (int64_t k = 0; k < d; k++) {
    rho[k] = t[k] * t[k] / lambda[k];
    sum -= rho[k];
  }
  *null = sum;
  return sum > 1e-8 * *norm2 ? ML_OK : from_factors(lambda, t, rho, null, A, u, v, d, err);
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
