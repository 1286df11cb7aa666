/* Strips for attention: vectors with powers of two, products of a few rows held in registers, and
 * packing. Only simd/attention.c includes it.
 *
 * A product is C[M,N] (+)= A[M,K] B[K,N] for a strip of up to STRIP rows, with B packed and padded
 * to whole vectors; each element is one chain of multiply-adds in the order of k. */
#ifndef MOONLAB_NN_STRIP_H
#define MOONLAB_NN_STRIP_H

#include "base/simd.h"

#include <math.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

enum { STRIP = 6, LANES = ML_LANES };

#if ML_REAL_IS_F32
typedef int32_t bits_t;
#define LOG2 log2f
#define LOWEST (-3.40282346638528859812e38F)
#else
typedef int64_t bits_t;
#define LOG2 log2
#define LOWEST (-1.79769313486231570815e308)
#endif
typedef bits_t vec_bits __attribute__((vector_size(ML_VECTOR_BYTES)));
#define INLINE static inline __attribute__((always_inline))

/* a > b ? a : b per lane; b when either is NaN */
INLINE ml_vec vec_max(ml_vec a, ml_vec b) {
#if ML_ISA_LEVEL == 2
  return ML_REAL_IS_F32 ? (ml_vec)_mm512_max_ps((__m512)a, (__m512)b)
                        : (ml_vec)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif ML_ISA_LEVEL == 1
  return ML_REAL_IS_F32 ? (ml_vec)_mm256_max_ps((__m256)a, (__m256)b)
                        : (ml_vec)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(__SSE2__)
  return ML_REAL_IS_F32 ? (ml_vec)_mm_max_ps((__m128)a, (__m128)b)
                        : (ml_vec)_mm_max_pd((__m128d)a, (__m128d)b);
#else
  vec_bits larger = a > b;
  return (ml_vec)(((vec_bits)a & larger) | ((vec_bits)b & ~larger));
#endif
}

/* 2^x for x <= 0 or little above; 0 below the smallest normal number; NaN for NaN. Relative error
 * 3e-9 (f32, before rounding) and 2e-17 (f64): x = n + r with |r| <= 1/2, a minimax polynomial in r
 * that is 1 at 0, and n added to the exponent. */
INLINE ml_vec exp2_vec(ml_vec x) {
#if ML_REAL_IS_F32
  static const real c[] = {0.6931472149680279F,   0.2402265278288774F,   0.05550310551013797F,
                           0.009617692972993062F, 0.001340664390235176F, 0.0001559467816132662F};
  enum { DEGREE = 6, MANTISSA = 23, BIAS = 127 };
  const real magic =
      12582912.0F; /* 1.5 * 2^23: adding it rounds to an integer, left in the low bits */
#else
  static const real c[] = {
      0.69314718055994569675,   0.24022650695910098007,   0.055504108664790394552,
      0.0096181291076070023796, 0.0013333558153439964747, 0.0001540353044157213033,
      1.5252727385193868197e-5, 1.3215442675329822143e-6, 1.0180647659234138888e-7,
      7.0725704128144235096e-9, 4.078071929588336665e-10};
  enum { DEGREE = 11, MANTISSA = 52, BIAS = 1023 };
  const real magic = 6755399441055744.0; /* 1.5 * 2^52 */
#endif
  x = vec_max(ml_vsplat((real)-BIAS), x);
  ml_vec shifted = x + magic;
  ml_vec r = x - (shifted - magic);
  ml_vec p = ml_vsplat(c[DEGREE - 1]);
#pragma GCC unroll 16
  for (int k = DEGREE - 2; k >= 0; k--)
    p = p * r + c[k];
  p = p * r + (real)1;
  vec_bits power = ((vec_bits)shifted << MANTISSA) + ((bits_t)BIAS << MANTISSA);
  return p * (ml_vec)power;
}

INLINE real max_of(ml_vec v) {
  real lane[LANES];
  ml_vput(lane, v);
#pragma GCC unroll 8
  for (int half = LANES / 2; half > 0; half /= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < half; i++)
      lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];
  }
  return lane[0];
}

static real sum_of(const real *lane) {
  real s[LANES];
  memcpy(s, lane, sizeof s);
  for (int half = LANES / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++)
      s[i] += s[i + half];
  }
  return s[0];
}

static int64_t padded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- products -------------------------------------------------------------------------------- */

/* What a product does with the old C. */
enum { OVERWRITE, ADD, SCALE_ADD };

typedef struct {
  int64_t K;
  const real *A; /* A[m,k] = A[m * row + k * column] */
  int64_t row, column;
  const real *B;
  int64_t ldb;
  real *C;
  int64_t ldc;
  int start;
  const real *factor; /* SCALE_ADD: C[m,:] *= factor[m] first */
} product;

/* M rows by V vectors of C, in registers. M and V are constants after inlining. */
INLINE void tile(const product *p, int64_t n, const int M, const int V) {
  ml_vec acc[STRIP][2];
  real *C = p->C + n;
  if (p->start == OVERWRITE) {
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
#pragma GCC unroll 2
      for (int v = 0; v < V; v++)
        acc[m][v] = (ml_vec){0};
    }
  } else {
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      real factor = p->start == SCALE_ADD ? p->factor[m] : (real)1;
#pragma GCC unroll 2
      for (int v = 0; v < V; v++)
        acc[m][v] = ml_vget(C + m * p->ldc + v * LANES) * factor;
    }
  }
  const real *A = p->A, *B = p->B + n;
  const int64_t row = p->row, column = p->column, ldb = p->ldb;
  for (int64_t k = 0; k < p->K; k++) {
    ml_vec b[2];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++)
      b[v] = ml_vget(B + v * LANES);
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      ml_vec a = ml_vsplat(A[m * row]);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++)
        acc[m][v] += a * b[v];
    }
    A += column;
    B += ldb;
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; m++) {
#pragma GCC unroll 2
    for (int v = 0; v < V; v++)
      ml_vput(C + m * p->ldc + v * LANES, acc[m][v]);
  }
}

/* All N columns (a multiple of LANES) of a strip of M <= STRIP rows. */
static void strip(int64_t M, int64_t N, product p) {
  int64_t n = 0;
  switch (M) {
#define STRIP_OF(m)                                                                                \
  case m:                                                                                          \
    for (; n + 2 * LANES <= N; n += 2 * LANES)                                                     \
      tile(&p, n, m, 2);                                                                           \
    if (n < N)                                                                                     \
      tile(&p, n, m, 1);                                                                           \
    break;
    STRIP_OF(1)
    STRIP_OF(2)
    STRIP_OF(3)
    STRIP_OF(4)
    STRIP_OF(5)
    STRIP_OF(6)
#undef STRIP_OF
  default:
    break;
  }
}

/* ---- packing --------------------------------------------------------------------------------- */

/* Rows of a head lie far apart, where the processor does not foresee them. */
INLINE void prefetch_row(const real *row, int64_t stride, int64_t D, int64_t rows_left) {
  enum { AHEAD = 8, LINE = 64 / (int)sizeof(real) };
  if (rows_left <= AHEAD)
    return;
  for (int64_t d = 0; d < D; d += LINE)
    __builtin_prefetch(row + AHEAD * stride + d);
}

/* out[r, 0:Dp] = in[r, 0:D], zeros beyond */
static void pack_rows(real *out, const real *in, int64_t stride, int64_t rows, int64_t D) {
  int64_t Dp = padded(D);
  for (int64_t r = 0; r < rows; r++, in += stride, out += Dp) {
    prefetch_row(in, stride, D, rows - r);
    int64_t d = 0;
    for (; d + LANES <= D; d += LANES)
      ml_vput(out + d, ml_vget(in + d));
    for (; d < D; d++)
      out[d] = in[d];
    for (; d < Dp; d++)
      out[d] = 0;
  }
}

#define REPEAT_8(f, o)                                                                             \
  f(o), f((o) + 1), f((o) + 2), f((o) + 3), f((o) + 4), f((o) + 5), f((o) + 6), f((o) + 7)
/* Lane i of the low and the high half of two vectors, interleaved. */
#define LOW(i) ((i) / 2 + ((i) % 2) * LANES)
#define HIGH(i) (LANES / 2 + (i) / 2 + ((i) % 2) * LANES)

/* LANES x LANES transpose: log2(LANES) perfect shuffles of the rows. */
INLINE void transpose_block(real *out, int64_t ldo, const real *in, int64_t ldi, real alpha) {
#if ML_VECTOR_BYTES == 16 && ML_REAL_IS_F32
  const vec_bits low = {LOW(0), LOW(1), LOW(2), LOW(3)},
                 high = {HIGH(0), HIGH(1), HIGH(2), HIGH(3)};
#elif ML_VECTOR_BYTES == 16
  const vec_bits low = {LOW(0), LOW(1)}, high = {HIGH(0), HIGH(1)};
#elif ML_VECTOR_BYTES == 32 && ML_REAL_IS_F32
  const vec_bits low = {REPEAT_8(LOW, 0)}, high = {REPEAT_8(HIGH, 0)};
#elif ML_VECTOR_BYTES == 32
  const vec_bits low = {LOW(0), LOW(1), LOW(2), LOW(3)},
                 high = {HIGH(0), HIGH(1), HIGH(2), HIGH(3)};
#elif ML_REAL_IS_F32
  const vec_bits low = {REPEAT_8(LOW, 0), REPEAT_8(LOW, 8)},
                 high = {REPEAT_8(HIGH, 0), REPEAT_8(HIGH, 8)};
#else
  const vec_bits low = {REPEAT_8(LOW, 0)}, high = {REPEAT_8(HIGH, 0)};
#endif
  ml_vec a[LANES], b[LANES];
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++)
    a[i] = ml_vget(in + i * ldi) * alpha;
#pragma GCC unroll 4
  for (int width = 1; width < LANES; width *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < LANES / 2; i++) {
      b[2 * i] = __builtin_shuffle(a[i], a[i + LANES / 2], low);
      b[2 * i + 1] = __builtin_shuffle(a[i], a[i + LANES / 2], high);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
      a[i] = b[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++)
    ml_vput(out + i * ldo, a[i]);
}

/* out[d, r] = alpha in[r, d] for d < D, zeros for r in [rows, padded(rows)) */
static void pack_transposed(real *out, int64_t ldo, const real *in, int64_t stride, int64_t rows,
                            int64_t D, real alpha) {
  int64_t r = 0, end = padded(rows);
  for (; r + LANES <= rows; r += LANES) {
    int64_t d = 0;
    for (; d + LANES <= D; d += LANES)
      transpose_block(out + d * ldo + r, ldo, in + r * stride + d, stride, alpha);
    for (; d < D; d++) {
      for (int64_t i = r; i < r + LANES; i++)
        out[d * ldo + i] = in[i * stride + d] * alpha;
    }
  }
  for (int64_t d = 0; d < D && r < end; d++) {
    for (int64_t i = r; i < rows; i++)
      out[d * ldo + i] = in[i * stride + d] * alpha;
    for (int64_t i = rows; i < end; i++)
      out[d * ldo + i] = 0;
  }
}

#endif
