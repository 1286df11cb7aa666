/* Private to the plrf room: its hot loops, one table per dtype and instruction set. Pointers are to
 * elements of the table's dtype. [any thread] */
#ifndef MOONLAB_PLRF_KERNELS_H
#define MOONLAB_PLRF_KERNELS_H

#include "plrf.h"

typedef struct {
  /* `steps` updates of x [d] from samples F [steps*batch, ld], whose entry d is the target:
   * e = f.x - target, g = sum of e f, u = momentum u + g, x -= gamma[i] weight u. gamma: one double
   * a step; weight [d] or NULL for 1; g and u [d] scratch and state, used when batch > 1 or
   * momentum is not 0. */
  void (*sgd)(void *x, void *u, void *g, const void *F, int64_t ld, int64_t steps, int64_t batch,
              int64_t d, const double *gamma, double momentum, const void *weight);
  /* sum of x^2, in double */
  double (*sumsq)(const void *x, int64_t n);
  /* f64 only: sum of c/(p + t) and of c/(p + t)^2, where p = a - shift */
  void (*secular)(double sums[2], const double *a, const double *c, double shift, double t,
                  int64_t n);
  /* f64 only: one step of the recursion; returns sum of rho after rho = q rho + c P */
  double (*recur)(double *rho, const double *q, const double *c, double P, int64_t n);
  /* f64 only: with D = a - w: sums of na/D, na/D^2, e/D, count/D, as real and imaginary parts */
  void (*stieltjes)(double sums[8], const double *a, const double *na, const double *e,
                    const double *count, double wr, double wi, int64_t n);
} ml_plrf_kernels;

const ml_plrf_kernels *ml_plrf_kernels_of(ml_dtype dtype);

extern const ml_plrf_kernels ml_plrf_table_f32_portable, ml_plrf_table_f64_portable;
#if defined(__x86_64__)
extern const ml_plrf_kernels ml_plrf_table_f32_avx2, ml_plrf_table_f64_avx2,
    ml_plrf_table_f32_avx512, ml_plrf_table_f64_avx512;
#endif

#endif
