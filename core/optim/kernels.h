/* Private to the optim room: hot loops of the rules, one table per dtype and instruction set. */
#ifndef MOONLAB_OPTIM_KERNELS_H
#define MOONLAB_OPTIM_KERNELS_H

#include "optim.h"

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

/* Pointers are to n elements of the table's dtype unless said. [any thread] */
typedef struct {
  /* u may be NULL */
  void (*sgd)(void *w, const void *g, void *u, int64_t n, const ml_optim_numbers *k);
  void (*moments)(const void *w, const void *g, void *m, void *v, int64_t n,
                  const ml_optim_numbers *k);
  void (*adam)(void *w, const void *g, void *m, void *v, int64_t n, const ml_optim_numbers *k);
  /* adam is moments, then this */
  void (*adam_apply)(void *w, const void *m, const void *v, int64_t n, const ml_optim_numbers *k);
  void (*atan2)(void *w, const void *g, void *m, void *v, int64_t n, const ml_optim_numbers *k);
  void (*lion)(void *w, const void *g, void *m, int64_t n, const ml_optim_numbers *k);
  double (*sumsq)(const void *x, int64_t n); /* sum of x^2 */
  /* sum of g^2 / max(v c2, eps^2) */
  double (*clip_sumsq)(const void *w, const void *g, const void *v, int64_t n,
                       const ml_optim_numbers *k);
  /* w, g [rows,cols]: row[i] = mean over columns of g^2 + eps1, col[j] += the same summed over
   * these rows */
  void (*factor_sums)(const void *w, const void *g, int64_t rows, int64_t cols, double eps1,
                      double coupled, double *row, double *col);
  /* u = g / sqrt(r_i c_j), r already divided by mean(R); returns the sum of u^2 */
  double (*factored_u)(const void *w, const void *g, void *u, const double *r, const double *c,
                       int64_t rows, int64_t cols, double coupled);
  /* v = b2 v + (1 - b2) (g^2 + eps1), u = g / sqrt(v); returns the sum of u^2 */
  double (*unfactored_u)(const void *w, const void *g, void *u, void *v, int64_t n, double b2,
                         double eps1, double coupled);
  /* w = w (1 - shrink) - lr u */
  void (*apply)(void *w, const void *u, int64_t n, double lr, double shrink);
  void (*scale)(void *x, int64_t n, double factor);
} ml_optim_kernels;

const ml_optim_kernels *ml_optim_rules(ml_dtype dtype);

extern const ml_optim_kernels ml_optim_rules_f32_portable, ml_optim_rules_f64_portable;
#if defined(__x86_64__)
extern const ml_optim_kernels ml_optim_rules_f32_avx2, ml_optim_rules_f64_avx2,
    ml_optim_rules_f32_avx512, ml_optim_rules_f64_avx512;
#endif

#endif
