/* Hot loops of the update rules, one set per dtype and instruction set. */
#ifndef MOONLAB_OPTIM_KERNELS_H
#define MOONLAB_OPTIM_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

/* Numbers of one tensor's step, in double; kernels round them to their type once. */
typedef struct {
  double lr; /* with schedule, scales and (after a first pass) clipping or parameter RMS */
  double beta1, beta2, c1, c2; /* c1 = 1/(1 - b1^t), c2 = 1/(1 - b2^t) */
  double eps, a, b;
  double shrink;  /* decoupled and independent decay: w is multiplied by 1 - shrink first */
  double coupled; /* g += coupled * w */
  double momentum;
  bool nesterov, first;
} ml_optim_numbers;

#define ML_OPTIM_KERNELS(S, real)                                                                  \
  void ml_optim_sgd_##S(real *w, const real *g, real *u, int64_t n, const ml_optim_numbers *k);    \
  void ml_optim_moments_##S(const real *w, const real *g, real *m, real *v, int64_t n,             \
                            const ml_optim_numbers *k);                                            \
  void ml_optim_adam_##S(real *w, const real *g, real *m, real *v, int64_t n,                      \
                         const ml_optim_numbers *k);                                               \
  void ml_optim_adam_apply_##S(real *w, const real *m, const real *v, int64_t n,                   \
                               const ml_optim_numbers *k);                                         \
  void ml_optim_atan2_##S(real *w, const real *g, real *m, real *v, int64_t n,                     \
                          const ml_optim_numbers *k);                                              \
  void ml_optim_lion_##S(real *w, const real *g, real *m, int64_t n, const ml_optim_numbers *k);   \
  double ml_optim_sumsq_##S(const real *x, int64_t n);                                             \
  double ml_optim_clip_sumsq_##S(const real *w, const real *g, const real *v, int64_t n,           \
                                 const ml_optim_numbers *k);                                       \
  void ml_optim_factor_sums_##S(const real *w, const real *g, int64_t rows, int64_t cols,          \
                                double eps1, double coupled, double *row, double *col);            \
  double ml_optim_factored_u_##S(const real *w, const real *g, real *u, const double *r,           \
                                 const double *c, int64_t rows, int64_t cols, double coupled);     \
  double ml_optim_unfactored_u_##S(const real *w, const real *g, real *u, real *v, int64_t n,      \
                                   double b2, double eps1, double coupled);                        \
  void ml_optim_apply_##S(real *w, const real *u, int64_t n, double lr, double shrink);            \
  void ml_optim_scale_##S(real *x, int64_t n, double factor);

ML_OPTIM_KERNELS(f32_portable, float)
ML_OPTIM_KERNELS(f64_portable, double)
#if defined(__x86_64__)
ML_OPTIM_KERNELS(f32_avx2, float)
ML_OPTIM_KERNELS(f64_avx2, double)
ML_OPTIM_KERNELS(f32_avx512, float)
ML_OPTIM_KERNELS(f64_avx512, double)
#endif

#endif
