/* Uniforms and normals from Philox4x32-10, many blocks at once.
 *
 * Built from exact integer steps and single IEEE operations, without contraction (see
 * core/CMakeLists.txt): every instruction set and every machine gives the same bytes. Each loop
 * runs over the blocks of a batch, so that the compiler puts one block into each lane. */
#include "base/random.h"
#include "base/simd.h"

#include <string.h>

enum { BATCH = 64 };

typedef struct {
  uint32_t w[4][BATCH];
} words;

static inline void batch_words(words *restrict out, uint64_t key, uint64_t counter,
                               uint64_t counter_high) {
  uint32_t c0[BATCH], c1[BATCH];
  for (int i = 0; i < BATCH; i++) {
    uint64_t c = counter + (uint64_t)i;
    c0[i] = (uint32_t)c;
    c1[i] = (uint32_t)(c >> 32);
  }
  const uint32_t h0 = (uint32_t)counter_high, h1 = (uint32_t)(counter_high >> 32);
  const uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int i = 0; i < BATCH; i++) {
    uint32_t a = c0[i], b = c1[i], c = h0, d = h1;
#define ROUND(r)                                                                                   \
  do {                                                                                             \
    uint64_t p = (uint64_t)0xD2511F53u * a, q = (uint64_t)0xCD9E8D57u * c;                         \
    a = (uint32_t)(q >> 32) ^ b ^ (k0 + (uint32_t)(r)*0x9E3779B9u);                                \
    c = (uint32_t)(p >> 32) ^ d ^ (k1 + (uint32_t)(r)*0xBB67AE85u);                                \
    b = (uint32_t)q;                                                                               \
    d = (uint32_t)p;                                                                               \
  } while (0)
    ROUND(0);
    ROUND(1);
    ROUND(2);
    ROUND(3);
    ROUND(4);
    ROUND(5);
    ROUND(6);
    ROUND(7);
    ROUND(8);
    ROUND(9);
#undef ROUND
    out->w[0][i] = a;
    out->w[1][i] = b;
    out->w[2][i] = c;
    out->w[3][i] = d;
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

/* the upper 53 bits of high:low, in [0, 1) */
static inline double unit(uint32_t low, uint32_t high) {
  return word_double(high) * 0x1p-32 + word_double(low >> 11) * 0x1p-53;
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

static inline void uniform_batch(real *restrict x, const words *restrict w, real lo, real width) {
#if ML_REAL_IS_F32
  for (int i = 0; i < BATCH; i++)
    for (int j = 0; j < 4; j++)
      x[4 * i + j] = lo + width * unit(w->w[j][i]);
#else
  for (int i = 0; i < BATCH; i++) {
    x[2 * i] = lo + width * unit(w->w[0][i], w->w[1][i]);
    x[2 * i + 1] = lo + width * unit(w->w[2][i], w->w[3][i]);
  }
#endif
}

static inline void normal_batch(real *restrict x, const words *restrict w, real mean, real std) {
  real z[PER_BLOCK][BATCH];
  for (int j = 0; j < PER_BLOCK; j += 2)
    for (int i = 0; i < BATCH; i++) {
#if ML_REAL_IS_F32
      real u = unit(w->w[j][i]), v = unit(w->w[j + 1][i]);
#else
      real u = unit(w->w[0][i], w->w[1][i]), v = unit(w->w[2][i], w->w[3][i]);
#endif
      real r = square_root(minus_two_log(u)), c, s;
      turn(v, &c, &s);
      z[j][i] = mean + std * (r * c);
      z[j + 1][i] = mean + std * (r * s);
    }
  for (int i = 0; i < BATCH; i++)
    for (int j = 0; j < PER_BLOCK; j++)
      x[PER_BLOCK * i + j] = z[j][i];
}

#define FILL(batch, a, b)                                                                          \
  do {                                                                                             \
    words w;                                                                                       \
    real rest[PER_BLOCK * BATCH];                                                                  \
    for (int64_t i = 0; i < blocks; i += BATCH) {                                                  \
      batch_words(&w, key, counter + (uint64_t)i, counter_high);                                   \
      if (blocks - i >= BATCH) {                                                                   \
        batch(x + PER_BLOCK * i, &w, a, b);                                                        \
      } else {                                                                                     \
        batch(rest, &w, a, b);                                                                     \
        memcpy(x + PER_BLOCK * i, rest, (size_t)(PER_BLOCK * (blocks - i)) * sizeof(real));        \
      }                                                                                            \
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
