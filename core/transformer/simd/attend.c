/* Attention of one query over its cache: scores as vectors over positions, softmax, weighted sum of
 * values. */
#include "base/simd.h"
#include "base/simd_math.h"
#include "transformer/kernels.h"

#define L ML_LANES
#define BLOCK ML_CACHE_BLOCK
#define NV (BLOCK / L > 0 ? BLOCK / L : 1) /* vectors of a block */
#define INLINE static inline __attribute__((always_inline))

_Static_assert(BLOCK % ML_LANES == 0, "a block is whole vectors");

INLINE ml_vec load(const real *p) { return *(const ml_vecu *)p; }
INLINE void store(real *p, ml_vec v) { *(ml_vecu *)p = v; }
INLINE ml_vec splat(real x) { return x - (ml_vec){0}; }

/* s[nb * 16] = q . K for nb blocks that follow each other */
INLINE void score(const int nb, int64_t D, const real *q, const real *K, real *s) {
  ml_vec acc[8] = {0}; /* nb * NV <= 8 */
  const int64_t step = D * BLOCK;
  for (int64_t d = 0; d < D; d++) {
    ml_vec qd = splat(q[d]);
#pragma GCC unroll 8
    for (int b = 0; b < nb; b++)
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++)
        acc[b * NV + v] += qd * load(K + b * step + d * BLOCK + v * L);
  }
#pragma GCC unroll 8
  for (int i = 0; i < nb * NV; i++)
    store(s + i * L, acc[i]);
}

INLINE void scores(int64_t blocks, int64_t D, const real *q, const real *K, real *s) {
  const int64_t step = D * BLOCK;
  int64_t b = 0;
  if (NV <= 1)
    for (; b + 8 <= blocks; b += 8)
      score(8 / NV, D, q, K + b * step, s + b * BLOCK);
  if (NV <= 2)
    for (; b + 4 <= blocks; b += 4)
      score(NV <= 2 ? 4 : 1, D, q, K + b * step, s + b * BLOCK);
  if (NV <= 4)
    for (; b + 2 <= blocks; b += 2)
      score(NV <= 4 ? 2 : 1, D, q, K + b * step, s + b * BLOCK);
  for (; b < blocks; b++)
    score(1, D, q, K + b * step, s + b * BLOCK);
}

/* s = exp(s - max s) over n (a multiple of 16) scores; returns the sum. */
INLINE real exponentiate(int64_t n, real *restrict s) {
  real m[BLOCK];
  for (int j = 0; j < BLOCK; j++)
    m[j] = s[j];
  for (int64_t t = BLOCK; t < n; t += BLOCK)
#pragma GCC ivdep
    for (int j = 0; j < BLOCK; j++)
      m[j] = s[t + j] > m[j] ? s[t + j] : m[j];
  for (int w = BLOCK / 2; w > 0; w /= 2)
    for (int j = 0; j < w; j++)
      m[j] = m[j + w] > m[j] ? m[j + w] : m[j];
  const real max = m[0];
  for (int64_t t = 0; t < n; t++)
    s[t] = ml_exp_nonpositive(s[t] - max);
  ml_vec acc[NV] = {0};
  for (int64_t t = 0; t < n; t += BLOCK)
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++)
      acc[v] += load(s + t + v * L);
  real lane[BLOCK];
#pragma GCC unroll 8
  for (int v = 0; v < NV; v++)
    store(lane + v * L, acc[v]);
  for (int w = BLOCK / 2; w > 0; w /= 2)
    for (int j = 0; j < w; j++)
      lane[j] += lane[j + w];
  return lane[0];
}

/* acc += p V over n positions, nv vectors wide; u positions at once, each with accumulators of its
 * own. */
INLINE void weigh(const int nv, const int u, int64_t n, const real *p, const real *V, int64_t Dp,
                  ml_vec acc[8]) {
  int64_t t = 0;
  for (; t + u <= n; t += u)
#pragma GCC unroll 8
    for (int i = 0; i < u; i++) {
      ml_vec w = splat(p[t + i]);
#pragma GCC unroll 8
      for (int v = 0; v < nv; v++)
        acc[i * nv + v] += w * load(V + (t + i) * Dp + v * L);
    }
  for (; t < n; t++) {
    ml_vec w = splat(p[t]);
#pragma GCC unroll 8
    for (int v = 0; v < nv; v++)
      acc[v] += w * load(V + t * Dp + v * L);
  }
}

typedef struct {
  const real *p, *V0, *V1;
  int64_t n0, n1, D, Dp;
  real inverse;
} mix;

/* y[c0 .. c0 + nv L) of the weighted sum; n0 is a multiple of u where n1 > 0. */
INLINE void column(const int nv, const int u, const mix *m, int64_t c0, real *y) {
  ml_vec acc[8] = {0};
  weigh(nv, u, m->n0, m->p, m->V0 + c0, m->Dp, acc);
  if (m->n1 > 0)
    weigh(nv, u, m->n1, m->p + m->n0, m->V1 + c0, m->Dp, acc);
#pragma GCC unroll 4
  for (int w = u / 2; w > 0; w /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < w * nv; i++)
      acc[i] += acc[i + w * nv];
  const ml_vec inverse = splat(m->inverse);
#pragma GCC unroll 8
  for (int v = 0; v < nv; v++) {
    ml_vec r = acc[v] * inverse;
    int64_t c = c0 + v * L;
    if (c + L <= m->D)
      store(y + c, r);
    else
      for (int l = 0; l < L && c + l < m->D; l++)
        y[c + l] = r[l];
  }
}

void ML_FN(decode_attend)(int64_t D, int64_t Dp, const void *q, const void *K0, const void *V0,
                          int64_t n0, const void *K1, const void *V1, int64_t n1, void *scratch,
                          void *y) {
  real *s = scratch;
  const int64_t n = n0 + n1, b0 = (n0 + BLOCK - 1) / BLOCK, b1 = (n1 + BLOCK - 1) / BLOCK;
  scores(b0, D, q, K0, s);
  if (b1)
    scores(b1, D, q, K1, s + b0 * BLOCK);
  const int64_t padded = (b0 + b1) * BLOCK;
  for (int64_t t = n; t < padded; t++)
    s[t] = -ML_INF;
  mix m = {s, V0, V1, n0, n1, D, Dp, ML_R(1) / exponentiate(padded, s)};
  int64_t c = 0;
  for (; c + 8 * L <= Dp; c += 8 * L)
    column(8, 1, &m, c, y);
  for (; c + 4 * L <= Dp; c += 4 * L)
    column(4, 2, &m, c, y);
  for (; c + 2 * L <= Dp; c += 2 * L)
    column(2, 4, &m, c, y);
  for (; c < Dp; c += L)
    column(1, 8, &m, c, y);
}
