/* Decoding's elementwise work on rows: norms, activations, embedding, rotation and the append to
 * the cache. */
#include "base/simd_math.h"
#include "nn/nn.h"
#include "transformer/kernels.h"

#define L ML_LANES
#define INLINE static inline __attribute__((always_inline))

INLINE real total(ml_vec v) {
  real s = 0;
#pragma GCC unroll 16
  for (int l = 0; l < L; l++)
    s += v[l];
  return s;
}

/* ---- norms ----------------------------------------------------------------------------------- */

INLINE real sum(int64_t n, const real *x) {
  ml_vec a = {0}, b = {0};
  int64_t i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    a += ml_vget(x + i);
    b += ml_vget(x + i + L);
  }
  for (; i + L <= n; i += L)
    a += ml_vget(x + i);
  real s = total(a + b);
  for (; i < n; i++)
    s += x[i];
  return s;
}

INLINE real sum_squares(int64_t n, const real *x, real mean) {
  ml_vec a = {0}, b = {0}, m = ml_vsplat(mean);
  int64_t i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    ml_vec u = ml_vget(x + i) - m, v = ml_vget(x + i + L) - m;
    a += u * u;
    b += v * v;
  }
  for (; i + L <= n; i += L) {
    ml_vec u = ml_vget(x + i) - m;
    a += u * u;
  }
  real s = total(a + b);
  for (; i < n; i++)
    s += (x[i] - mean) * (x[i] - mean);
  return s;
}

INLINE void norm_row(int64_t n, const real *x, const real *gain, const real *shift, real eps,
                     bool rms, real *y) {
  real mean = rms ? 0 : sum(n, x) / (real)n;
  real r = ML_R(1) / (real)__builtin_sqrt((double)(sum_squares(n, x, mean) / (real)n + eps));
  if (shift)
    for (int64_t i = 0; i < n; i++)
      y[i] = (x[i] - mean) * r * gain[i] + shift[i];
  else
    for (int64_t i = 0; i < n; i++)
      y[i] = (x[i] - mean) * r * gain[i];
}

void ML_FN(decode_norm)(int64_t rows, int64_t n, const void *x, int64_t ldx, const void *gain,
                        const void *shift, double eps, bool rms, void *y, int64_t ldy) {
  for (int64_t i = 0; i < rows; i++)
    norm_row(n, (const real *)x + i * ldx, gain, shift, (real)eps, rms, (real *)y + i * ldy);
}

/* ---- activations ----------------------------------------------------------------------------- */

INLINE real relu(real x) { return x < 0 ? ML_R(0) : x; } /* NaN passes */

#define APPLY(f)                                                                                   \
  for (int64_t i = 0; i < n; i++)                                                                  \
    x[i] = f(x[i]);                                                                                \
  return

void ML_FN(decode_activate)(int64_t n, void *values, int act) {
  real *restrict x = values;
  switch ((ml_act)act) {
  case ML_ACT_GELU_TANH:
    APPLY(ml_gelu_tanh);
  case ML_ACT_GELU_ERF:
    APPLY(ml_gelu_erf);
  case ML_ACT_RELU:
    APPLY(relu);
  case ML_ACT_RELU2:
    for (int64_t i = 0; i < n; i++)
      x[i] = relu(x[i]) * relu(x[i]);
    return;
  case ML_ACT_SILU:
    APPLY(ml_silu);
  case ML_ACT_SOFTPLUS:
    APPLY(ml_softplus);
  case ML_ACT_TANH:
    APPLY(ml_tanh);
  case ML_ACT_SIGMOID:
    APPLY(ml_sigmoid);
  case ML_ACT_SIN:
    for (int64_t i = 0; i < n; i++)
      x[i] = (real)__builtin_sin((double)x[i]);
    return;
  case ML_ACT_ERF:
    APPLY(ml_erf);
  case ML_ACT_IDENTITY:
  case ML_ACT_COUNT:
    return;
  }
}

/* ---- embedding ------------------------------------------------------------------------------- */

void ML_FN(decode_embed)(int64_t n, const void *table_row, double m, const void *place_row,
                         double mp, void *out) {
  const real *a = table_row, *b = place_row;
  real *restrict x = out, ma = (real)m, mb = (real)mp;
  if (b)
    for (int64_t i = 0; i < n; i++)
      x[i] = ma * a[i] + mb * b[i];
  else
    for (int64_t i = 0; i < n; i++)
      x[i] = ma * a[i];
}

void ML_FN(decode_scale)(int64_t n, const void *x, double m, void *y) {
  const real *a = x;
  real *restrict b = y, s = (real)m;
  for (int64_t i = 0; i < n; i++)
    b[i] = s * a[i];
}

double ML_FN(decode_at)(const void *x, int64_t i) { return (double)((const real *)x)[i]; }

/* ---- heads ----------------------------------------------------------------------------------- */

INLINE void rotate(const ml_head_plan *p, real *x) {
  const real *c = p->cosine, *s = p->sine;
  const int64_t half = p->D / 2;
  if (p->interleaved)
    for (int64_t i = 0; i < half; i++) {
      real a = x[2 * i], b = x[2 * i + 1];
      x[2 * i] = a * c[i] - b * s[i];
      x[2 * i + 1] = b * c[i] + a * s[i];
    }
  else {
    real *restrict lo = x, *restrict hi = x + half;
    for (int64_t i = 0; i < half; i++) {
      real a = lo[i], b = hi[i];
      lo[i] = a * c[i] - b * s[i];
      hi[i] = b * c[i] + a * s[i];
    }
  }
}

INLINE void shape_head(const ml_head_plan *p, real *x, const void *gain) {
  if (p->norm && !p->norm_last)
    norm_row(p->D, x, gain, NULL, (real)p->eps, p->rms, x);
  if (p->cosine)
    rotate(p, x);
  if (p->norm && p->norm_last)
    norm_row(p->D, x, gain, NULL, (real)p->eps, p->rms, x);
}

/* A number into the cache, rounded to the nearest bf16 where `half` says so. */
INLINE void keep(void *cache, int64_t i, real x, const bool half) {
#if ML_REAL_IS_F32
  if (half) {
    uint32_t u;
    __builtin_memcpy(&u, &x, sizeof u);
    const bool nan = x != x;
    u = nan ? u | 0x400000u : u + 0x7fff + (u >> 16 & 1);
    ((uint16_t *)cache)[i] = (uint16_t)(u >> 16);
    return;
  }
#endif
  (void)half;
  ((real *)cache)[i] = x;
}

INLINE void shape_row(const ml_head_plan *p, void *qkv, void *layer, int64_t t, const bool half) {
  const int64_t D = p->D, Dp = p->Dp, d = p->heads * D, part = ml_block_part(D, Dp);
  const real scale = (real)p->scale;
  real *q = qkv, *k = q + d, *v = k + d;
  int64_t K = t / ML_CACHE_BLOCK * p->heads * part + t % ML_CACHE_BLOCK;
  int64_t V = t / ML_CACHE_BLOCK * p->heads * part + D * ML_CACHE_BLOCK + t % ML_CACHE_BLOCK * Dp;
  for (int64_t h = 0; h < p->heads; h++) {
    shape_head(p, q, p->q_gain);
    shape_head(p, k, p->k_gain);
    for (int64_t i = 0; i < D; i++)
      q[i] *= scale;
    for (int64_t i = 0; i < D; i++)
      keep(layer, K + i * ML_CACHE_BLOCK, k[i], half);
    for (int64_t i = 0; i < D; i++)
      keep(layer, V + i, v[i], half);
    for (int64_t i = D; i < Dp; i++)
      keep(layer, V + i, 0, half);
    q += D, k += D, v += D;
    K += part, V += part;
  }
}

void ML_FN(decode_shape)(const ml_head_plan *p, void *qkv, void *layer, int64_t t) {
  shape_row(p, qkv, layer, t, false);
}

void ML_FN(decode_shape_half)(const ml_head_plan *p, void *qkv, void *layer, int64_t t) {
  shape_row(p, qkv, layer, t, ML_REAL_IS_F32);
}
