/* Dropout: the mask is drawn by Philox4x32-10 (Salmon et al. 2011) as it is applied, several
 * counters side by side. */
#include "base/simd.h"
#include "nn/kernels.h"

#if ML_ISA_LEVEL >= 1
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#define BLOCKS 16 /* Philox blocks side by side: 64 elements */

/* Words in the low halves of 64-bit lanes; the high halves may hold anything. */
#if ML_ISA_LEVEL == 2
typedef uint64_t wide __attribute__((vector_size(64)));
#define MULTIPLY(a, b) ((wide)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#elif ML_ISA_LEVEL == 1
typedef uint64_t wide __attribute__((vector_size(32)));
#define MULTIPLY(a, b) ((wide)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#elif defined(__SSE2__)
typedef uint64_t wide __attribute__((vector_size(16)));
#define MULTIPLY(a, b) ((wide)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#else
typedef uint64_t wide __attribute__((vector_size(16)));
#define MULTIPLY(a, b) (((a)&0xffffffffu) * ((b)&0xffffffffu))
#endif
#define W ((int)(sizeof(wide) / sizeof(uint64_t)))

static inline __attribute__((always_inline)) void some_words(uint32_t out[4 * W], uint64_t key,
                                                             uint64_t counter) {
  wide c0, c1, c2 = {0}, c3 = {0};
  for (int b = 0; b < W; b++) {
    c0[b] = counter + (uint64_t)b;
    c1[b] = c0[b] >> 32;
  }
  const wide m0 = (wide){0} + 0xD2511F53u, m1 = (wide){0} + 0xCD9E8D57u;
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; round++) {
    wide p0 = MULTIPLY(m0, c0), p1 = MULTIPLY(m1, c2);
    c0 = (p1 >> 32) ^ c1 ^ (uint64_t)k0;
    c1 = p1;
    c2 = (p0 >> 32) ^ c3 ^ (uint64_t)k1;
    c3 = p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int b = 0; b < W; b++) {
    out[4 * b] = (uint32_t)c0[b];
    out[4 * b + 1] = (uint32_t)c1[b];
    out[4 * b + 2] = (uint32_t)c2[b];
    out[4 * b + 3] = (uint32_t)c3[b];
  }
}

static void words(uint32_t out[4 * BLOCKS], uint64_t key, uint64_t counter) {
  for (int b = 0; b < BLOCKS; b += W)
    some_words(out + 4 * b, key, counter + (uint64_t)b);
}

static void apply(int64_t first, int64_t n, uint64_t key, uint64_t counter, uint64_t threshold,
                  double scale, const void *x_, void *y_, bool add) {
  const real *restrict x = x_;
  real *restrict y = y_;
  const real s = (real)scale;
  uint32_t word[4 * BLOCKS];
  if (threshold >> 32) { /* p = 1 */
    for (int64_t i = 0; !add && i < n; i++)
      y[i] = 0;
    return;
  }
  const uint32_t least = (uint32_t)threshold;
  for (int64_t i = 0; i < n; i += 4 * BLOCKS) {
    words(word, key, counter + (uint64_t)((first + i) / 4));
    int64_t m = n - i < 4 * BLOCKS ? n - i : 4 * BLOCKS;
    if (add)
      for (int64_t j = 0; j < m; j++)
        y[i + j] += word[j] < least ? 0 : s * x[i + j];
    else
      for (int64_t j = 0; j < m; j++)
        y[i + j] = word[j] < least ? 0 : s * x[i + j];
  }
}

const ml_nn_dropout_kernels ML_FN(nn_dropout) = {apply};
