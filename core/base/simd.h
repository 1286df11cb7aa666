/* With simd_math.h the second public face of base, for the simd/ folders of all rooms: the type
 * `real` and the name macro of the variant being compiled, its vectors, and (simd_math.h) maths
 * that vectorises. */
#ifndef MOONLAB_SIMD_H
#define MOONLAB_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if ML_ISA_LEVEL >= 1
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(ML_REAL_f32)
typedef float real;
#define ML_REAL_IS_F32 1
#elif defined(ML_REAL_f64)
typedef double real;
#define ML_REAL_IS_F32 0
#else
#error "simd files are compiled per dtype; see cmake/moonlab.cmake"
#endif

#define ML_PASTE2(a, b, c) a##b##_##c
#define ML_PASTE(a, b, c) ML_PASTE2(a, b, c)
#define ML_FN(name) ML_PASTE(ml_, name, ML_SUFFIX)

/* Lanes of one vector register of the variant: the width of fixed-width reductions. */
#if ML_ISA_LEVEL == 2
#define ML_VECTOR_BYTES 64
#elif ML_ISA_LEVEL == 1
#define ML_VECTOR_BYTES 32
#else
#define ML_VECTOR_BYTES 16
#endif
#define ML_LANES ((int)(ML_VECTOR_BYTES / sizeof(real)))
/* A vector of the variant's width, by GCC's vector extension; unaligned loads through memcpy or
 * ml_vecu. */
typedef real ml_vec __attribute__((vector_size(ML_VECTOR_BYTES)));
typedef real ml_vecu
    __attribute__((vector_size(ML_VECTOR_BYTES), aligned(sizeof(real)), may_alias));

/* A whole vector at any place, and one of equal lanes. */
static inline __attribute__((always_inline)) ml_vec ml_vget(const real *p) {
  return *(const ml_vecu *)p;
}
static inline __attribute__((always_inline)) void ml_vput(real *p, ml_vec v) { *(ml_vecu *)p = v; }
static inline __attribute__((always_inline)) ml_vec ml_vsplat(real x) { return x - (ml_vec){0}; }

/* Past the caches, to an aligned place that is not read soon. */
static inline __attribute__((always_inline)) void ml_vstream(real *p, ml_vec v) {
#if ML_ISA_LEVEL == 2
  _mm512_stream_si512((void *)p, (__m512i)v);
#elif ML_ISA_LEVEL == 1
  _mm256_stream_si256((void *)p, (__m256i)v);
#elif defined(__SSE2__)
  _mm_stream_si128((void *)p, (__m128i)v);
#else
  ml_vput(p, v);
#endif
}

/* After the last of them, before another thread reads. */
static inline void ml_vstream_end(void) {
#if ML_ISA_LEVEL >= 1 || defined(__SSE2__)
  _mm_sfence();
#endif
}

#endif
