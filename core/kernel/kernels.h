/* Private to the kernel room: the hot loops of simd/, one table per dtype and instruction set.
 *
 * Pointers are to the table's dtype. An array of lanes holds ML_LANE numbers a place, one for each
 * of as many images. All are [any thread]. */
#ifndef MOONLAB_KERNEL_KERNELS_H
#define MOONLAB_KERNEL_KERNELS_H

#include "kernel.h"

#define ML_LANE 16

typedef struct {
  /* kappa and kappa_dot of n entries, by kind; neither overlaps an input */
  void (*dual[ML_DUAL_COUNT])(const ml_dual *dual, int64_t n, const void *c, const void *a,
                              const void *b, void *kappa, void *kappa_dot);
  /* y[i] = sum over k < q of x[k] coefficients[k stride + i] rho[i]^k; x [q] */
  void (*series)(int64_t n, int64_t q, const void *x, const void *coefficients, int64_t stride,
                 const void *rho, void *y);
  void (*dense)(int64_t n, double w2, double b2, void *K,
                void *T); /* K = w2 K + b2, T = w2 T + K */
  void (*normalize)(int64_t n, const void *a, const void *b, void *K, void *T); /* by sqrt(ab) */
  void (*multiply)(int64_t n, const void *x, void *y);                          /* y *= x */
  void (*add)(int64_t n, const void *x, void *y);                               /* y += x */
  void (*scale)(int64_t n, double alpha, void *x);
  void (*fill)(int64_t n, double value, void *x);
  /* places of lanes: y[place][lane] = x[place * step] */
  void (*spread)(int64_t places, const void *x, int64_t step, void *y);
  /* y[place] = sum over channels of x[place][c] z[place][c] / C; both lanes */
  void (*dot)(int64_t places, int64_t C, const void *x, const void *z, void *y);
  /* Sums over windows along one axis: y[t] = sum over k < window of x[base + t stride + k], for t <
   * rows_out, over the places that exist among the rows_in of x, or modulo rows_in when wrap. A
   * place is `width` numbers, a multiple of ML_LANE, and stands ldx or ldy after the last. */
  void (*window)(int64_t rows_out, int64_t rows_in, int64_t window, int64_t stride, int64_t base,
                 bool wrap, int64_t width, const void *x, int64_t ldx, void *y, int64_t ldy);
  /* y[to[i]] += x[i] and y[i] = x[i skip], places of lanes */
  void (*scatter)(int64_t n, const int64_t *to, const void *x, void *y);
  void (*gather)(int64_t n, int64_t skip, const void *x, void *y);
  void (*lane_sum)(int64_t places, const void *x, void *y); /* y[lane] += sum of x[place][lane] */
  /* y[j,i] = x[i,j] */
  void (*mirror)(int64_t rows, int64_t columns, const void *x, int64_t ldx, void *y, int64_t ldy);
} ml_kernel_table;

#if defined(__x86_64__)
extern const ml_kernel_table ml_kernel_table_f32_portable, ml_kernel_table_f64_portable,
    ml_kernel_table_f32_avx2, ml_kernel_table_f64_avx2, ml_kernel_table_f32_avx512,
    ml_kernel_table_f64_avx512;
#else
extern const ml_kernel_table ml_kernel_table_f32_portable, ml_kernel_table_f64_portable;
#endif
const ml_kernel_table *ml_kernel_table_of(ml_dtype dtype); /* of this machine. [any thread] */

#endif
