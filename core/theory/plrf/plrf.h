/* Power-law random features: one-pass SGD, its exact expected loss, and the deterministic
 * equivalent.
 *
 * The model. x_j = j^-alpha z_j with z standard normal, j = 1..v; target sum_j j^-beta x_j;
 * features W^T x with W [v,d] Gaussian of variance 1/d. Loss P(theta) = E (features.theta -
 * target)^2. A step of SGD is theta -= gamma * sum over a batch of B of features (features.theta -
 * target). Letters: D = diag(j^-2alpha), A = D^1/2 W, u = D^1/2 b, H = A^T A with eigenvalues
 * lambda, y = A^T u, t = V^T y, rho = t^2/lambda, null = least loss. All arrays are contiguous f64
 * unless said. Source: Paquette, Paquette, Xiao & Pennington, "4+3 Phases of Compute-Optimal Neural
 * Scaling Laws", NeurIPS 2024. */
#ifndef MOONLAB_PLRF_H
#define MOONLAB_PLRF_H

#include "solve/solve.h"

/* Eigenvalues (ascending), t, rho and null from A [v,d] and u [v]; norm2 = u.u, the loss at theta =
 * 0. By way of H: d*d doubles and v d^2 + (4/3) d^3 flops. H holds digits of the smallest
 * eigenvalue and of null to about 1e-16 of the largest and of norm2 only, so that below 1e-10 and
 * 1e-8 of them null is the residual of least squares by QR, and lambda and rho come from the
 * singular values of A = QR: 2 v d + 6 d^2 doubles, about 4 v d^2 + 22 d^3 flops. Modes below
 * rounding (v 2^-52 of the largest singular value) have lambda = t = rho = 0 and count in null:
 * they do not learn. */
ML_API ml_status ml_plrf_spectrum(double *lambda, double *t, double *rho, double *null,
                                  double *norm2, const double *A, const double *u, int64_t v,
                                  int64_t d, ml_error *err) ML_MUST_CHECK;

/* Every mode contracts iff `modes` of the largest eigenvalue is below 2: gamma (B+1) lambda without
 * momentum. The loss stays bounded iff in addition the kernel norm, sum of gamma lambda/(2 - gamma
 * (B+1) lambda) without momentum, is below 1; it is infinite where a mode does not contract.
 * stable: else ML_ENUMERIC with the word "diverges". counts: multiplicity of each lambda, NULL
 * for 1. */
ML_API double ml_plrf_modes(double top, double gamma, double batch, double momentum);
ML_API double ml_plrf_kernel_norm(const double *lambda, const double *counts, int64_t d,
                                  double gamma, double batch, double momentum);
ML_API ml_status ml_plrf_stable(const double *lambda, const double *counts, int64_t d, double gamma,
                                double batch, double momentum, ml_error *err) ML_MUST_CHECK;

/* ---- SGD ------------------------------------------------------------------------------------- */

typedef struct {
  ml_dtype dtype;       /* of the direct mode; the eigenbasis mode is f64 */
  int64_t batch, runs;  /* >= 1 */
  const int64_t *steps; /* ascending, >= 0: where the loss is recorded */
  int64_t records;
  const double
      *gamma; /* one rate a step (gammas = steps[records-1]), or one for all (gammas = 1) */
  int64_t gammas;
  double momentum; /* u = momentum u + sum of gradients, theta -= gamma u */
  bool diverging;  /* a loss that runs away is a result */
  uint64_t key;    /* run r draws from the stream key folded with ("run", r) */
} ml_plrf_sgd_options;

/* risk [runs, records]. theta: final parameters [runs, d] f64, or NULL. ML_ENUMERIC with the word
 * "diverges" when a loss is not finite or the last one 1e6 times the loss at 0, unless `diverging`:
 * then inf and NaN are recorded. Runs go over the pool; the bytes do not depend on the number of
 * threads. */
ML_API ml_status ml_plrf_sgd_direct(double *risk, double *theta, const double *A, const double *u,
                                    int64_t v, int64_t d, const ml_plrf_sgd_options *o,
                                    ml_error *err) ML_MUST_CHECK;
/* The same law in the eigenbasis at O(d) a sample. */
ML_API ml_status ml_plrf_sgd_fast(double *risk, const double *lambda, const double *t, double null,
                                  int64_t d, const ml_plrf_sgd_options *o,
                                  ml_error *err) ML_MUST_CHECK;
/* From given samples x [steps, batch, v] with the features of W [v,d], target weights b [v]; runs
 * is 1. */
ML_API ml_status ml_plrf_sgd_data(double *risk, double *theta, const double *x, const double *W,
                                  const double *b, const double *A, const double *u, int64_t v,
                                  int64_t d, const ml_plrf_sgd_options *o,
                                  ml_error *err) ML_MUST_CHECK;

/* ---- exact expected loss
 * --------------------------------------------------------------------------- */

/* P at steps[records], ascending, by the recursion: O(d) a step. gamma and momentum as in the
 * options. It is exact where SGD diverges too, up to inf. */
ML_API ml_status ml_plrf_recursion(double *P, const double *lambda, const double *rho,
                                   const double *counts, double null, int64_t d, double batch,
                                   const double *gamma, int64_t gammas, double momentum,
                                   const int64_t *steps, int64_t records,
                                   ml_error *err) ML_MUST_CHECK;
/* F, K and P at 0..n-1 by the Volterra equation: O(d n + n^2). */
ML_API ml_status ml_plrf_volterra(double *P, double *F, double *K, const double *lambda,
                                  const double *rho, const double *counts, double null, int64_t d,
                                  double batch, double gamma, int64_t n,
                                  ml_error *err) ML_MUST_CHECK;
/* P at any steps by the secular equation, without time stepping: O(d^2) once, O(d) a record. */
ML_API ml_status ml_plrf_secular(double *P, const double *lambda, const double *rho,
                                 const double *counts, double null, int64_t d, double batch,
                                 double gamma, const double *steps, int64_t records,
                                 ml_error *err) ML_MUST_CHECK;

/* P after each of n steps in time from rho, at the rates gamma [n]. h[i] = 0 is one update of the
 * recursion; h[i] > 0 that many updates at once, by implicit Euler of d rho/dt = -a rho + c P whose
 * coefficients give what the updates would (a = -log q, c in the same ratio): for rates that change
 * over more steps than can be taken. O(d) a step. ML_ENUMERIC with the word "diverges" where a step
 * has no solution. */
ML_API ml_status ml_plrf_in_time(double *P, const double *lambda, const double *rho,
                                 const double *counts, double null, int64_t d, double batch,
                                 const double *gamma, const double *h, int64_t n,
                                 ml_error *err) ML_MUST_CHECK;

/* ---- deterministic equivalent
 * ------------------------------------------------------------------------ */

/* The population in n atoms: a the eigenvalue, na multiplicity * a, e its energy (sum of a b^2),
 * count its multiplicity. [n] each. */
typedef struct {
  const double *a, *na, *e, *count;
  int64_t n;
  double d, modes; /* modes: the sum of count */
} ml_plrf_population;

/* m(z) = 1 / (1 + (1/d) sum a/(a m - z)), z outside the spectrum. ML_ENUMERIC when no solution is
 * found (z in the spectrum). */
ML_API ml_status ml_plrf_m(double m[2], const ml_plrf_population *p, double re, double im,
                           ml_error *err) ML_MUST_CHECK;
/* kappa: sum of na/(a + kappa) = d; 0 when there are no more than d modes. F0 = sum e kappa/(a +
 * kappa). */
ML_API void ml_plrf_floor(double *kappa, double *F0, const ml_plrf_population *p);
ML_API ml_status ml_plrf_deterministic_norm(double *norm, const ml_plrf_population *p, double gamma,
                                            double batch, ml_error *err) ML_MUST_CHECK;
/* P, F and K at steps (whole numbers up to 1e15) by inversion of the generating functions with
 * `nodes` nodes. Over the pool. ML_ENUMERIC with the word "diverges" when the kernel norm is not
 * below 1. */
ML_API ml_status ml_plrf_deterministic(double *P, double *F, double *K, const ml_plrf_population *p,
                                       double gamma, double batch, const double *steps,
                                       int64_t records, int nodes, ml_error *err) ML_MUST_CHECK;
/* Energy and number of eigenvalues above each x. */
ML_API ml_status ml_plrf_mass(double *mass, double *count, const ml_plrf_population *p,
                              const double *x, int64_t n, double top, ml_error *err) ML_MUST_CHECK;

#endif
