/* For files in simd/ folders: vectors of the variant's width, for loops whose speed rests on single
 * instructions that gcc 12 does not find by itself. */
#ifndef MOONLAB_SIMD_VECTOR_H
#define MOONLAB_SIMD_VECTOR_H

#include "simd_math.h"

typedef ml_sbits ml_veci __attribute__((vector_size(ML_VECTOR_BYTES)));

/* max(x, c) and min(x, c); NaN in x stays. */
#if ML_ISA_LEVEL == 2 && ML_REAL_IS_F32
#define ML_VMAX(x, c) _mm512_max_ps(_mm512_set1_ps(c), x)
#define ML_VMIN(x, c) _mm512_min_ps(_mm512_set1_ps(c), x)
#elif ML_ISA_LEVEL == 2
#define ML_VMAX(x, c) _mm512_max_pd(_mm512_set1_pd(c), x)
#define ML_VMIN(x, c) _mm512_min_pd(_mm512_set1_pd(c), x)
#elif ML_ISA_LEVEL == 1 && ML_REAL_IS_F32
#define ML_VMAX(x, c) _mm256_max_ps(_mm256_set1_ps(c), x)
#define ML_VMIN(x, c) _mm256_min_ps(_mm256_set1_ps(c), x)
#elif ML_ISA_LEVEL == 1
#define ML_VMAX(x, c) _mm256_max_pd(_mm256_set1_pd(c), x)
#define ML_VMIN(x, c) _mm256_min_pd(_mm256_set1_pd(c), x)
#elif defined(__SSE2__) && ML_REAL_IS_F32
#define ML_VMAX(x, c) _mm_max_ps(_mm_set1_ps(c), x)
#define ML_VMIN(x, c) _mm_min_ps(_mm_set1_ps(c), x)
#elif defined(__SSE2__)
#define ML_VMAX(x, c) _mm_max_pd(_mm_set1_pd(c), x)
#define ML_VMIN(x, c) _mm_min_pd(_mm_set1_pd(c), x)
#endif

static inline __attribute__((always_inline)) ml_vec ml_vmax(ml_vec x, real c) {
#ifdef ML_VMAX
  return (ml_vec)ML_VMAX(x, c);
#else
  for (int i = 0; i < ML_LANES; i++)
    x[i] = x[i] < c ? c : x[i];
  return x;
#endif
}

static inline __attribute__((always_inline)) ml_vec ml_vmin(ml_vec x, real c) {
#ifdef ML_VMIN
  return (ml_vec)ML_VMIN(x, c);
#else
  for (int i = 0; i < ML_LANES; i++)
    x[i] = x[i] > c ? c : x[i];
  return x;
#endif
}

/* e^x where it is a normal number: |x| <= 87.3 in f32, 708 in f64. NaN stays. */
static inline __attribute__((always_inline)) ml_vec ml_vexp(ml_vec x) {
  ml_vec t = x * ML_LOG2E + ML_ROUNDER;
  ml_vec k = t - ML_ROUNDER;
  ml_vec r = (x - k * ML_LN2_HI) - k * ML_LN2_LO;
  ml_vec p;
  ML_EXP_TAIL(p, r);
  p = p * (r * r) + r + ML_R(1);
  /* 2^k by its bits; a product, so that NaN stays whatever its bits */
  return p * (ml_vec)((((ml_veci)t) << ML_MANTISSA) + (ml_veci)ml_vsplat(1));
}

/* Part of a vector: m lanes, the others 0 or left alone. */
static inline __attribute__((always_inline)) ml_vec ml_vload(const real *p, int64_t m) {
  if (m == ML_LANES)
    return ml_vget(p);
  real lane[ML_LANES] = {0};
  for (int64_t i = 0; i < m; i++)
    lane[i] = p[i];
  return ml_vget(lane);
}

static inline __attribute__((always_inline)) void ml_vstore(real *p, ml_vec v, int64_t m) {
  if (m == ML_LANES) {
    ml_vput(p, v);
    return;
  }
  real lane[ML_LANES];
  ml_vput(lane, v);
  for (int64_t i = 0; i < m; i++)
    p[i] = lane[i];
}

#endif
