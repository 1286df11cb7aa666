/* Uniforms and normals from Philox4x32-10, many blocks at once.
 *
 * Built from exact integer steps and single IEEE operations, without contraction (see
 * core/CMakeLists.txt): every instruction set and every machine gives the same bytes. Each loop
 * runs over the blocks of a batch, so that the compiler puts one block into each lane. */
#include "base/random.h"
#include "base/simd.h"

#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

enum { BATCH = 64, SMALL_BATCH = 8, WORD_LANES = ML_VECTOR_BYTES / 8 };
typedef uint64_t words __attribute__((vector_size(ML_VECTOR_BYTES)));

/* The product of the lower halves of each lane. */
static inline words multiply(words a, words b) {
#if defined(__AVX512F__)
  return (words)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (words)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (words)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xffffffff) * (b & 0xffffffff);
#endif
}

/* One block a lane: first = w0 + 2^32 w1, second = w2 + 2^32 w3. The four words of the state sit in
 * the lower halves; what is in the upper ones is never looked at. */
static inline void batch_words(uint64_t *restrict first, uint64_t *restrict second, int n,
                               uint64_t key, uint64_t counter, uint64_t counter_high) {
  for (int i = 0; i < n; i += WORD_LANES) {
    words a, b, c = counter_high - (words){0}, d = counter_high - (words){0};
    for (int j = 0; j < WORD_LANES; j++)
      a[j] = counter + (uint64_t)(i + j);
    b = a >> 32;
    d = d >> 32;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
#pragma GCC unroll 10
    for (int r = 0; r < 10; r++) {
      words p = multiply(a, (uint64_t)0xD2511F53 - (words){0});
      words q = multiply(c, (uint64_t)0xCD9E8D57 - (words){0});
      a = (q >> 32) ^ b ^ (uint64_t)k0;
      c = (p >> 32) ^ d ^ (uint64_t)k1;
      b = q;
      d = p;
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    words x = (a & 0xffffffff) | b << 32, y = (c & 0xffffffff) | d << 32;
    memcpy(first + i, &x, sizeof x);
    memcpy(second + i, &y, sizeof y);
  }
}

#if ML_REAL_IS_F32

enum { PER_BLOCK = 4 };

static inline float square_root(float x) { return __builtin_sqrtf(x); }

/* 24 bits of a word, in [0, 1) */
static inline float unit(uint32_t w) { return (float)(int32_t)(w >> 8) * 0x1p-24f; }

static inline float bits_float(uint32_t b) {
  float x;
  memcpy(&x, &b, sizeof x);
  return x;
}

/* -2 log(1 - u), for u = k 2^-24 < 1: log = e log 2 + 2 atanh((m-1)/(m+1)), m in [sqrt(1/2), sqrt
 * 2) */
static inline float minus_two_log(float u) {
  float v = 1.0f - u;
  uint32_t b;
  memcpy(&b, &v, sizeof b);
  int32_t e = (int32_t)(b - 0x3f3504f3u) >> 23;
  float m = bits_float(b - ((uint32_t)e << 23)), t = (float)e;
  float s = (m - 1.0f) / (m + 1.0f), z = s * s;
  float p = 1.0f / 11;
  p = p * z + 1.0f / 9;
  p = p * z + 1.0f / 7;
  p = p * z + 1.0f / 5;
  p = p * z + 1.0f / 3;
  float log_m = 2 * (s + s * (z * p));
  return -2 * (t * 0x1.62e3p-1f + (log_m + t * 0x1.2fefa4p-17f));
}

/* cos and sin of 2 pi u: the quarter turn q nearest to 4u, then the rest f in [-1/2, 1/2] of a
 * quarter, exact */
static inline void turn(float u, float *cosine, float *sine) {
  int32_t q = (int32_t)(4 * u + 0.5f);
  float f = 4 * u - (float)q, z = f * f;
  float s = 0x1.507834p-13f; /* (pi/2)^k / k! with alternating signs */
  s = s * z + -0x1.32d2ccp-8f;
  s = s * z + 0x1.466bc6p-4f;
  s = s * z + -0x1.4abbcep-1f;
  s = f * (s * z + 0x1.921fb6p+0f);
  float c = -0x1.a6d1f2p-16f;
  c = c * z + 0x1.e1f506p-11f;
  c = c * z + -0x1.55d3c8p-6f;
  c = c * z + 0x1.03c1fp-2f;
  c = c * z + -0x1.3bd3ccp+0f;
  c = c * z + 1.0f;
  float x = q & 1 ? s : c, y = q & 1 ? c : s;
  *cosine = (q + 1) & 2 ? -x : x;
  *sine = q & 2 ? -y : y;
}

#else

enum { PER_BLOCK = 2 };

static inline double square_root(double x) { return __builtin_sqrt(x); }

static inline double bits_double(uint64_t b) {
  double x;
  memcpy(&x, &b, sizeof x);
  return x;
}

/* a 32-bit word as a double, through the bits of 2^52 + w */
static inline double word_double(uint64_t w) {
  return bits_double(w | UINT64_C(0x4330000000000000)) - 0x1p52;
}

/* the upper 53 bits, in [0, 1) */
static inline double unit(uint64_t w) {
  return word_double(w >> 32) * 0x1p-32 + word_double((w & 0xffffffff) >> 11) * 0x1p-53;
}

/* as in f32, for u = k 2^-53 < 1 */
static inline double minus_two_log(double u) {
  double v = 1.0 - u;
  uint64_t b;
  memcpy(&b, &v, sizeof b);
  uint64_t shifted = b + (UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd));
  uint64_t e = shifted >> 52; /* biased by 1023 */
  double t = word_double(e) - 1023;
  double m = bits_double(b - (e << 52) + UINT64_C(0x3ff0000000000000));
  double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 1.0 / 21;
  p = p * z + 1.0 / 19;
  p = p * z + 1.0 / 17;
  p = p * z + 1.0 / 15;
  p = p * z + 1.0 / 13;
  p = p * z + 1.0 / 11;
  p = p * z + 1.0 / 9;
  p = p * z + 1.0 / 7;
  p = p * z + 1.0 / 5;
  p = p * z + 1.0 / 3;
  double log_m = 2 * (s + s * (z * p));
  return -2 * (t * 0x1.62e42feep-1 + (log_m + t * 0x1.a39ef35793c76p-33));
}

static inline void turn(double u, double *cosine, double *sine) {
  double a = 4 * u + 0.5;
  /* floor by the bits of 2^52 + a: a < 4.5, and rounding to even is undone where it went up */
  double q = (a + 0x1p52) - 0x1p52;
  q = q > a ? q - 1 : q;
  double f = 4 * u - q, z = f * f;
  double s = 0x1.aaec32af93359p-38;
  s = s * z + -0x1.6fadb9f155744p-31;
  s = s * z + 0x1.e8f434d018d63p-25;
  s = s * z + -0x1.e3074fde8871fp-19;
  s = s * z + 0x1.50783487ee782p-13;
  s = s * z + -0x1.32d2cce62bd86p-8;
  s = s * z + 0x1.466bc6775aae2p-4;
  s = s * z + -0x1.4abbce625be53p-1;
  s = f * (s * z + 0x1.921fb54442d18p+0);
  double c = -0x1.2a0c591af8314p-41;
  c = c * z + 0x1.20c62c2f2d7f5p-34;
  c = c * z + -0x1.b6e24f44b128fp-28;
  c = c * z + 0x1.f9d38a3763cc3p-22;
  c = c * z + -0x1.a6d1f2a204a8cp-16;
  c = c * z + 0x1.e1f506891babbp-11;
  c = c * z + -0x1.55d3c7e3cbffap-6;
  c = c * z + 0x1.03c1f081b5ac4p-2;
  c = c * z + -0x1.3bd3cc9be45dep+0;
  c = c * z + 1.0;
  double odd = q == 1 || q == 3 ? 1 : 0;
  double x = odd != 0 ? s : c, y = odd != 0 ? c : s;
  *cosine = q == 1 || q == 2 ? -x : x;
  *sine = q == 2 || q == 3 ? -y : y;
}

#endif

/* x[PER_BLOCK n] from n blocks */
static inline void uniform_batch(real *restrict x, int n, uint64_t key, uint64_t counter,
                                 uint64_t counter_high, real lo, real width) {
  uint64_t first[BATCH], second[BATCH];
  batch_words(first, second, n, key, counter, counter_high);
#if ML_REAL_IS_F32
  float a[BATCH], b[BATCH], c[BATCH], d[BATCH];
  for (int i = 0; i < n; i++) {
    a[i] = lo + width * unit((uint32_t)first[i]);
    b[i] = lo + width * unit((uint32_t)(first[i] >> 32));
    c[i] = lo + width * unit((uint32_t)second[i]);
    d[i] = lo + width * unit((uint32_t)(second[i] >> 32));
  }
  for (int i = 0; i < n; i++) {
    x[4 * i] = a[i];
    x[4 * i + 1] = b[i];
    x[4 * i + 2] = c[i];
    x[4 * i + 3] = d[i];
  }
#else
  for (int i = 0; i < n; i++) {
    x[2 * i] = lo + width * unit(first[i]);
    x[2 * i + 1] = lo + width * unit(second[i]);
  }
#endif
}

static inline void normal_batch(real *restrict x, int n, uint64_t key, uint64_t counter,
                                uint64_t counter_high, real mean, real std) {
  uint64_t w[2][BATCH];
  real z[PER_BLOCK][BATCH];
  batch_words(w[0], w[1], n, key, counter, counter_high);
  for (int j = 0; j < PER_BLOCK; j += 2)
    for (int i = 0; i < n; i++) {
#if ML_REAL_IS_F32
      real u = unit((uint32_t)w[j / 2][i]), v = unit((uint32_t)(w[j / 2][i] >> 32));
#else
      real u = unit(w[0][i]), v = unit(w[1][i]);
#endif
      real r = square_root(minus_two_log(u)), c, s;
      turn(v, &c, &s);
      z[j][i] = mean + std * (r * c);
      z[j + 1][i] = mean + std * (r * s);
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < PER_BLOCK; j++)
      x[PER_BLOCK * i + j] = z[j][i];
}

/* Whole batches, then small ones; the last goes through a buffer. */
#define FILL(batch, a, b)                                                                          \
  do {                                                                                             \
    int64_t i = 0;                                                                                 \
    for (; blocks - i >= BATCH; i += BATCH)                                                        \
      batch(x + PER_BLOCK * i, BATCH, key, counter + (uint64_t)i, counter_high, a, b);             \
    for (; i < blocks; i += SMALL_BATCH) {                                                         \
      real rest[PER_BLOCK * SMALL_BATCH];                                                          \
      int64_t left = blocks - i < SMALL_BATCH ? blocks - i : SMALL_BATCH;                          \
      batch(rest, SMALL_BATCH, key, counter + (uint64_t)i, counter_high, a, b);                    \
      memcpy(x + PER_BLOCK * i, rest, (size_t)(PER_BLOCK * left) * sizeof(real));                  \
    }                                                                                              \
  } while (0)

void ML_FN(random_uniform)(real *x, int64_t blocks, uint64_t key, uint64_t counter,
                           uint64_t counter_high, real lo, real width) {
  FILL(uniform_batch, lo, width);
}

void ML_FN(random_normal)(real *x, int64_t blocks, uint64_t key, uint64_t counter,
                          uint64_t counter_high, real mean, real std) {
  FILL(normal_batch, mean, std);
}
