/* Attention of one query over its cache: scores as vectors over positions, softmax, weighted sum of
 * values. */
#include "base/simd_math.h"
#include "transformer/kernels.h"

#define L ML_LANES
#define BLOCK ML_CACHE_BLOCK
#define NV (BLOCK / L > 0 ? BLOCK / L : 1) /* vectors of a block */
#define INLINE static inline __attribute__((always_inline))

/* The cache holds `real`, or bf16 where `half` says so, which is read as f32. */
#if ML_REAL_IS_F32
typedef uint16_t halves __attribute__((vector_size(2 * L), aligned(2), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * L)));
#endif

INLINE ml_vec cell(const void *cache, int64_t i, const bool half) {
#if ML_REAL_IS_F32
  if (half) {
    const halves h = *(const halves *)(const void *)((const uint16_t *)cache + i);
    return (ml_vec)(__builtin_convertvector(h, words) << 16);
  }
#endif
  (void)half;
  return ml_vget((const real *)cache + i);
}

INLINE const void *cells(const void *cache, int64_t i, const bool half) {
  return (const char *)cache + i * (half ? 2 : (int64_t)sizeof(real));
}

_Static_assert(BLOCK % ML_LANES == 0, "a block is whole vectors");

/* Lane by lane; of b when a is NaN. */
INLINE ml_vec larger(ml_vec a, ml_vec b) {
  ml_vec r;
#pragma GCC unroll 16
  for (int l = 0; l < L; l++)
    r[l] = a[l] > b[l] ? a[l] : b[l];
  return r;
}

/* s[nb * 16] = q . K for nb blocks, `stride` apart */
INLINE void score(const int nb, const bool half, int64_t D, int64_t stride, const real *q,
                  const void *K, real *s) {
  ml_vec acc[8]; /* nb * NV <= 8 */
#pragma GCC unroll 8
  for (int i = 0; i < nb * NV; i++)
    acc[i] = (ml_vec){0};
  for (int64_t d = 0; d < D; d++) {
    ml_vec qd = ml_vsplat(q[d]);
#pragma GCC unroll 8
    for (int b = 0; b < nb; b++)
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++)
        acc[b * NV + v] += qd * cell(K, b * stride + d * BLOCK + v * L, half);
  }
#pragma GCC unroll 8
  for (int i = 0; i < nb * NV; i++)
    ml_vput(s + i * L, acc[i]);
}

INLINE void scores(const bool half, int64_t blocks, int64_t D, int64_t stride, const real *q,
                   const void *K, real *s) {
  enum { MOST = 8 / NV };
  int64_t b = 0;
  for (; b + MOST <= blocks; b += MOST)
    score(MOST, half, D, stride, q, cells(K, b * stride, half), s + b * BLOCK);
  const int64_t rest = blocks - b;
  K = cells(K, b * stride, half), s += b * BLOCK;
  if (MOST > 4 && rest >= 4) {
    score(MOST > 4 ? 4 : 1, half, D, stride, q, K, s);
    if (rest > 4)
      score(MOST > 4 ? 4 : 1, half, D, stride, q, cells(K, (rest - 4) * stride, half),
            s + (rest - 4) * BLOCK); /* some again */
  } else if (MOST > 2 && rest == 3) {
    score(MOST > 2 ? 3 : 1, half, D, stride, q, K, s);
  } else if (MOST > 1 && rest == 2) {
    score(MOST > 1 ? 2 : 1, half, D, stride, q, K, s);
  } else if (rest == 1) {
    score(1, half, D, stride, q, K, s);
  }
}

/* s = exp(s - max s) over n (a multiple of 16) scores; returns the sum. */
INLINE real exponentiate(int64_t n, real *restrict s) {
  ml_vec top[NV];
#pragma GCC unroll 8
  for (int v = 0; v < NV; v++)
    top[v] = ml_vget(s + v * L);
  for (int64_t t = BLOCK; t < n; t += BLOCK)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++)
      top[v] = larger(top[v], ml_vget(s + t + v * L));
#pragma GCC unroll 8
  for (int v = 1; v < NV; v++)
    top[0] = larger(top[0], top[v]);
  real max = top[0][0];
#pragma GCC unroll 16
  for (int l = 1; l < L; l++)
    max = top[0][l] > max ? top[0][l] : max;
  for (int64_t t = 0; t < n; t++)
    s[t] = ml_exp_nonpositive(s[t] - max);
  ml_vec acc[NV] = {0};
  for (int64_t t = 0; t < n; t += BLOCK)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++)
      acc[v] += ml_vget(s + t + v * L);
#pragma GCC unroll 8
  for (int v = 1; v < NV; v++)
    acc[0] += acc[v];
  real sum = 0;
#pragma GCC unroll 16
  for (int l = 0; l < L; l++)
    sum += acc[0][l];
  return sum;
}

/* acc += p V over n positions, nv vectors wide; u (a divisor of 16) positions at once, each with
 * accumulators of its own. */
INLINE void weigh(const int nv, const int u, const bool half, int64_t n, const real *p,
                  const void *V, int64_t Dp, int64_t stride, ml_vec acc[8]) {
  for (; n >= BLOCK; n -= BLOCK, p += BLOCK, V = cells(V, stride, half))
#pragma GCC unroll 1
    for (int t = 0; t < BLOCK; t += u)
#pragma GCC unroll 8
      for (int i = 0; i < u; i++) {
        ml_vec w = ml_vsplat(p[t + i]);
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++)
          acc[i * nv + v] += w * cell(V, (t + i) * Dp + v * L, half);
      }
  int t = 0;
#pragma GCC unroll 1
  for (; t + u <= (int)n; t += u)
#pragma GCC unroll 8
    for (int i = 0; i < u; i++) {
      ml_vec w = ml_vsplat(p[t + i]);
#pragma GCC unroll 8
      for (int v = 0; v < nv; v++)
        acc[i * nv + v] += w * cell(V, (t + i) * Dp + v * L, half);
    }
#pragma GCC unroll 1
  for (; t < (int)n; t++) {
    ml_vec w = ml_vsplat(p[t]);
#pragma GCC unroll 8
    for (int v = 0; v < nv; v++)
      acc[v] += w * cell(V, t * Dp + v * L, half);
  }
}

typedef struct {
  const real *p;
  const void *V0, *V1;
  int64_t n0, n1, D, Dp, stride;
  real inverse;
} mix;

/* y[c0 .. c0 + nv L) of the weighted sum */
INLINE void column(const int nv, const int u, const bool half, const mix *m, int64_t c0, real *y) {
  ml_vec acc[8];
#pragma GCC unroll 8
  for (int i = 0; i < nv * u; i++)
    acc[i] = (ml_vec){0};
  weigh(nv, u, half, m->n0, m->p, cells(m->V0, c0, half), m->Dp, m->stride, acc);
  if (m->n1 > 0)
    weigh(nv, u, half, m->n1, m->p + m->n0, cells(m->V1, c0, half), m->Dp, m->stride, acc);
#pragma GCC unroll 4
  for (int w = u / 2; w > 0; w /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < w * nv; i++)
      acc[i] += acc[i + w * nv];
  const ml_vec inverse = ml_vsplat(m->inverse);
#pragma GCC unroll 8
  for (int v = 0; v < nv; v++) {
    ml_vec r = acc[v] * inverse;
    int64_t c = c0 + v * L;
    if (c + L <= m->D)
      ml_vput(y + c, r);
    else
      for (int l = 0; l < L && c + l < m->D; l++)
        y[c + l] = r[l];
  }
}

INLINE void attend(const bool half, int64_t D, int64_t Dp, int64_t stride, const void *q,
                   const void *c0, int64_t n0, const void *c1, int64_t n1, void *scratch, void *y) {
  real *s = scratch;
  const int64_t n = n0 + n1, b0 = (n0 + BLOCK - 1) / BLOCK, b1 = (n1 + BLOCK - 1) / BLOCK;
  scores(half, b0, D, stride, q, c0, s);
  if (b1)
    scores(half, b1, D, stride, q, c1, s + b0 * BLOCK);
  const int64_t padded = (b0 + b1) * BLOCK;
  for (int64_t t = n; t < padded; t++)
    s[t] = -ML_INF;
  mix m = {.p = s,
           .V0 = cells(c0, D * BLOCK, half),
           .V1 = b1 ? cells(c1, D * BLOCK, half) : NULL,
           .n0 = n0,
           .n1 = n1,
           .D = D,
           .Dp = Dp,
           .stride = stride,
           .inverse = ML_R(1) / exponentiate(padded, s)};
  int64_t c = 0;
  for (; c + 8 * L <= Dp; c += 8 * L)
    column(8, 1, half, &m, c, y);
  for (; c + 4 * L <= Dp; c += 4 * L)
    column(4, 2, half, &m, c, y);
  for (; c + 2 * L <= Dp; c += 2 * L)
    column(2, 4, half, &m, c, y);
  for (; c < Dp; c += L)
    column(1, 8, half, &m, c, y);
}

INLINE void fetch(const bool half, int64_t D, int64_t Dp, int64_t stride, const void *c,
                  int64_t n) {
  const int64_t size = half ? 2 : (int64_t)sizeof(real);
  const char *block = c;
  for (; n > 0; n -= BLOCK, block += stride * size) {
    int64_t end = (D * BLOCK + (n < BLOCK ? n : BLOCK) * Dp) * size;
    for (int64_t i = 0; i < end; i += 64)
      __builtin_prefetch(block + i, 0, 2);
  }
}

void ML_FN(decode_attend)(int64_t D, int64_t Dp, int64_t stride, const void *q, const void *c0,
                          int64_t n0, const void *c1, int64_t n1, void *s, void *y) {
  attend(false, D, Dp, stride, q, c0, n0, c1, n1, s, y);
}

void ML_FN(decode_fetch)(int64_t D, int64_t Dp, int64_t stride, const void *c, int64_t n) {
  fetch(false, D, Dp, stride, c, n);
}

/* of a cache in bf16; there is none of f64 */
void ML_FN(decode_attend_half)(int64_t D, int64_t Dp, int64_t stride, const void *q, const void *c0,
                               int64_t n0, const void *c1, int64_t n1, void *s, void *y) {
  attend(ML_REAL_IS_F32, D, Dp, stride, q, c0, n0, c1, n1, s, y);
}

void ML_FN(decode_fetch_half)(int64_t D, int64_t Dp, int64_t stride, const void *c, int64_t n) {
  fetch(ML_REAL_IS_F32, D, Dp, stride, c, n);
}
