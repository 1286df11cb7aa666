/* Private to the nn room: the hot loops of simd/, one table of functions per dtype and instruction
 * set.
 *
 * Pointers are to the table's dtype; matrices are row-major and dense unless a leading size is
 * named. All are [any thread]. */
#ifndef MOONLAB_NN_KERNELS_H
#define MOONLAB_NN_KERNELS_H

#include "attention.h"
#include "nn.h"

/* ---- activations (simd/activation.c) --------------------------------------------------------- */

typedef struct {
  void (*forward)(ml_act act, int64_t n, const void *x, void *y); /* y = act(x); may alias */
  /* dx = dy act'(x), or dx += when add; dx may alias dy */
  void (*grad)(ml_act act, int64_t n, const void *x, const void *dy, void *dx, bool add);
  /* a = act(x) and d *= act'(x), sharing what both need; [rows,n] with leading sizes */
  void (*both)(ml_act act, int64_t rows, int64_t n, const void *x, int64_t ldx, void *a,
               int64_t lda, void *d, int64_t ldd);
  /* x += b on each row when b is not NULL; then y = act(x). [rows,n] with leading sizes, y may be x
   */
  void (*bias_forward)(ml_act act, int64_t rows, int64_t n, void *x, int64_t ldx, const void *b,
                       void *y, int64_t ldy);
} ml_nn_act_kernels;

/* ---- rows (simd/rows.c) ---------------------------------------------------------------------- */

typedef struct {
  void (*fill)(int64_t rows, int64_t n, double scale, const void *b,
               void *y); /* every row of y = scale b */
  /* sums[n] (+)= column sums of x [rows,n], in blocks of 64 rows */
  void (*column_sums)(int64_t rows, int64_t n, const void *x, void *sums, bool add);
  /* y (+)= the count parts [n], added in order */
  void (*combine)(int64_t count, int64_t n, const void *parts, void *y, bool add);
  void (*add)(int64_t n, const void *x, void *y);                           /* y += x */
  void (*sum_of)(int64_t n, const void *a, const void *b, void *y);         /* y = a + b */
  void (*scale)(int64_t n, double alpha, const void *x, void *y, bool add); /* y (+)= alpha x */
} ml_nn_row_kernels;

/* How results are written. Streaming spares a large result the reading of its old lines into the
 * caches. */
typedef enum { ML_NN_STORE = 0, ML_NN_ADD, ML_NN_STREAM } ml_nn_write;

/* ---- norms (simd/norm.c) --------------------------------------------------------------------- */

typedef struct {
  /* gain, shift, mean, rstd may be NULL */
  void (*layer)(int64_t rows, int64_t n, const void *x, const void *gain, const void *shift,
                double eps, void *y, void *mean, void *rstd, ml_nn_write how);
  /* dx (+)=; dgain and dshift [n] are overwritten with the sums over these rows; each may be NULL
   */
  void (*layer_grad)(int64_t rows, int64_t n, const void *x, const void *dy, const void *gain,
                     const void *mean, const void *rstd, void *dx, ml_nn_write how, void *dgain,
                     void *dshift);
  void (*rms)(int64_t rows, int64_t n, const void *x, const void *gain, double eps, void *y,
              void *rstd, ml_nn_write how);
  void (*rms_grad)(int64_t rows, int64_t n, const void *x, const void *dy, const void *gain,
                   const void *rstd, void *dx, ml_nn_write how, void *dgain);
} ml_nn_norm_kernels;

/* ---- cross-entropy (simd/cross_entropy.c) ---------------------------------------------------- */

typedef struct {
  double logz, sum; /* log of the sum of exponentials; plain sum of the logits */
} ml_nn_ce_row;

typedef struct {
  /* Statistics of one row z[n]. e, when not NULL, receives exp(z - max) and scale the factor that
   * makes it exp(z - logz); e may be z. */
  ml_nn_ce_row (*row)(int64_t n, const void *z, void *e, double *scale);
  /* dz[j] (+)= alpha exp(z[j] - logz) */
  void (*softmax)(int64_t n, const void *z, double logz, double alpha, void *dz, bool add);
} ml_nn_ce_kernels;

/* ---- dropout (simd/dropout.c) ---------------------------------------------------------------- */

typedef struct {
  /* Elements [first, first + n) of the draw of stream (key, counter): word i % 4 of Philox block
   * counter + i / 4 for element i, dropped when below threshold; y = x scale or 0. first is a
   * multiple of 4. NaN times 0 is 0 here: dropped is gone. */
  void (*apply)(int64_t first, int64_t n, uint64_t key, uint64_t counter, uint64_t threshold,
                double scale, const void *x, void *y, bool add);
} ml_nn_dropout_kernels;

/* ---- rotary embedding (simd/rotary.c) -------------------------------------------------------- */

typedef struct {
  /* The H heads of one position: pairs turn by the angles whose cos and sin [D/2] are given, or
   * back when inverse. y (+)= */
  void (*turn)(int64_t H, int64_t D, const void *x, int64_t x_stride, const void *cos,
               const void *sin, bool inverse, bool interleaved, void *y, bool add);
} ml_nn_rotary_kernels;

#define ML_NN_TABLES(T)                                                                            \
  T(ml_nn_rotary_kernels, nn_rotary)                                                               \
  T(ml_nn_attention_kernels, nn_attention)                                                         \
  T(ml_nn_act_kernels, nn_act)                                                                     \
  T(ml_nn_row_kernels, nn_row)                                                                     \
  T(ml_nn_norm_kernels, nn_norm)                                                                   \
  T(ml_nn_ce_kernels, nn_ce)                                                                       \
  T(ml_nn_dropout_kernels, nn_dropout)

#if defined(__x86_64__)
#define ML_NN_DECLARE(type, name)                                                                  \
  extern const type ml_##name##_f32_portable, ml_##name##_f64_portable, ml_##name##_f32_avx2,      \
      ml_##name##_f64_avx2, ml_##name##_f32_avx512, ml_##name##_f64_avx512;                        \
  const type *ml_##name(ml_dtype dtype);
#else
#define ML_NN_DECLARE(type, name)                                                                  \
  extern const type ml_##name##_f32_portable, ml_##name##_f64_portable;                            \
  const type *ml_##name(ml_dtype dtype);
#endif
ML_NN_TABLES(ML_NN_DECLARE)

#endif
