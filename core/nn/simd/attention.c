/* Hot loops of attention: blocks of keys against strips of a few queries, softmax online, both
 * directions.
 *
 * Every product here is a strip of up to STRIP rows: C[M,N] (+)= A[M,K] B[K,N] with B packed and
 * padded to whole vectors, each element one chain of multiply-adds in the order of k. A score is
 * computed by the same chain forward and backward, so the recomputed probabilities are those of the
 * forward pass. Nothing here depends on how queries are dealt to tasks. */
#include "../attention.h"
#include "../kernels.h"
#include "base/simd.h"

#include <math.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

enum { STRIP = 6, LANES = ML_LANES, QUERIES = 64 };

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

static const double log2_e = 1.4426950408889634074, ln_2 = 0.69314718055994530942;

INLINE ml_vec load(const real *p) { return *(const ml_vecu *)p; }
INLINE void store(real *p, ml_vec v) { *(ml_vecu *)p = v; }
INLINE ml_vec splat(real x) { return x - (ml_vec){0}; }

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
  x = vec_max(splat((real)-BIAS), x);
  ml_vec shifted = x + magic;
  ml_vec r = x - (shifted - magic);
  ml_vec p = splat(c[DEGREE - 1]);
#pragma GCC unroll 16
  for (int k = DEGREE - 2; k >= 0; k--)
    p = p * r + c[k];
  p = p * r + (real)1;
  vec_bits power = ((vec_bits)shifted << MANTISSA) + ((bits_t)BIAS << MANTISSA);
  return p * (ml_vec)power;
}

INLINE real max_of(ml_vec v) {
  real lane[LANES];
  store(lane, v);
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

/* ---- products
 * ----------------------------------------------------------------------------------------- */

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
        acc[m][v] = load(C + m * p->ldc + v * LANES) * factor;
    }
  }
  const real *A = p->A, *B = p->B + n;
  const int64_t row = p->row, column = p->column, ldb = p->ldb;
  for (int64_t k = 0; k < p->K; k++) {
    ml_vec b[2];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++)
      b[v] = load(B + v * LANES);
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      ml_vec a = splat(A[m * row]);
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
      store(C + m * p->ldc + v * LANES, acc[m][v]);
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
    STRIP_OF(4) STRIP_OF(5) STRIP_OF(6)
#undef STRIP_OF
        default : break;
  }
}

/* ---- packing
 * ------------------------------------------------------------------------------------------- */

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
      store(out + d, load(in + d));
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
    a[i] = load(in + i * ldi) * alpha;
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
    store(out + i * ldo, a[i]);
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

/* ---- masks
 * --------------------------------------------------------------------------------------------- */

typedef struct {
  int64_t low, high;
} range;

static range range_of(const int64_t *segments, int64_t n) {
  range r = {segments[0], segments[0]};
  for (int64_t i = 1; i < n; i++) {
    r.low = segments[i] < r.low ? segments[i] : r.low;
    r.high = segments[i] > r.high ? segments[i] : r.high;
  }
  return r;
}

typedef enum { NONE, SOME, ALL } pairs;

/* Which pairs of two sets of ids can be equal. */
static pairs pairs_of(range a, range b) {
  if (a.high < b.low || b.high < a.low)
    return NONE;
  return a.low == a.high && b.low == b.high ? ALL : SOME;
}

/* Columns of a strip of M queries from i0 against keys [j0, j0 + n) that some of its queries may
 * see. */
static int64_t visible(bool causal, int64_t i0, int64_t M, int64_t j0, int64_t n) {
  return causal ? least(n, i0 + M - j0) : n;
}

/* Sets masked scores, and those from n to the end of the vector, to -inf. */
static void mask_strip(const ml_attention_args *a, const int64_t *segments, bool by_segment,
                       real *S, int64_t lds, int64_t i0, int64_t M, int64_t j0, int64_t n) {
  int64_t end = padded(n);
  for (int64_t m = 0; m < M; m++, S += lds) {
    int64_t limit = a->causal ? least(n, i0 + m - j0 + 1) : n;
    for (int64_t c = limit > 0 ? limit : 0; c < end; c++)
      S[c] = -(real)INFINITY;
    if (!by_segment)
      continue;
    const int64_t id = segments[i0 + m], *key = segments + j0;
    for (int64_t c = 0; c < limit; c++)
      S[c] = key[c] == id ? S[c] : -(real)INFINITY;
  }
}

/* ---- forward
 * ------------------------------------------------------------------------------------------- */

static int64_t forward_keys(int64_t D) {
  int64_t bytes = D * (int64_t)sizeof(real);
  return bytes <= 128 ? 128 : bytes <= 512 ? 64 : 32;
}

typedef struct {
  real *O, *top, *sum; /* of each query: unnormalised output, largest score, lanes of the sum */
  real *Kt, *V, *S;
  real *copy, *expectation; /* probe only: scores before exponentiation; sum of p (score - top) */
} forward_scratch;

static size_t forward_layout(forward_scratch *s, real *base, int64_t rows, int64_t D, bool probe) {
  int64_t keys = forward_keys(D), Dp = padded(D), at = 0;
  real **const field[] = {&s->O, &s->Kt, &s->V, &s->S, &s->sum, &s->top, &s->copy, &s->expectation};
  const int64_t size[] = {rows * Dp,    D * keys, keys * Dp,        STRIP * keys,
                          rows * LANES, rows,     probe ? keys : 0, probe ? rows : 0};
  for (size_t i = 0; i < sizeof field / sizeof field[0]; i++) {
    if (base)
      *field[i] = base + at;
    at += (size[i] + 15) / 16 * 16;
  }
  return (size_t)at * sizeof(real);
}

static size_t forward_bytes(int64_t rows, int64_t D, bool probe) {
  return forward_layout(&(forward_scratch){0}, NULL, rows, D, probe);
}

/* S[n] = 2^(S - top), lanes of the sum added to sum */
INLINE void exponentiate(real *S, int64_t n, real top, real *sum, real factor) {
  ml_vec t = load(sum) * factor, u = {0};
  int64_t c = 0;
  for (; c + 2 * LANES <= n; c += 2 * LANES) {
    ml_vec x = exp2_vec(load(S + c) - top), y = exp2_vec(load(S + c + LANES) - top);
    t += x;
    u += y;
    store(S + c, x);
    store(S + c + LANES, y);
  }
  if (c < n) {
    ml_vec x = exp2_vec(load(S + c) - top);
    t += x;
    store(S + c, x);
  }
  store(sum, t + u);
}

static void probe_scores(ml_attention_part *part, const real *S, int64_t n) {
  double top = part->max_logit, size = part->max_abs_logit;
  for (int64_t c = 0; c < n; c++) {
    double x = (double)S[c];
    if (x == -(double)INFINITY)
      continue; /* masked */
    if (x > top || x != x)
      top = x;
    x = x < 0 ? -x : x;
    if (x > size || x != x)
      size = x;
  }
  part->max_logit = top;
  part->max_abs_logit = size;
}

/* Online softmax of a strip: S becomes 2^(S - top) with the new top; factor[m] carries the old sums
 * and outputs over to it. */
static void softmax_strip(forward_scratch *s, int64_t lds, int64_t r, int64_t M, int64_t n,
                          real factor[STRIP + LANES], ml_attention_part *part) {
  real top[STRIP + LANES];
  for (int64_t m = 0; m < M; m++) {
    const real *S = s->S + m * lds;
    ml_vec t = load(S);
    for (int64_t c = LANES; c < n; c += LANES)
      t = vec_max(load(S + c), t);
    real old = s->top[r + m], new = max_of(t);
    new = new > old ? new : old;
    factor[m] = old - new;
    top[m] = new;
  }
  for (int64_t m = M; m < STRIP + LANES; m++)
    factor[m] = 0;
  for (int64_t m = 0; m < M; m += LANES)
    store(factor + m, exp2_vec(load(factor + m)));
  for (int64_t m = 0; m < M; m++) {
    real *S = s->S + m * lds, *sum = s->sum + (r + m) * LANES;
    if (part) {
      memcpy(s->copy, S, (size_t)n * sizeof(real));
      probe_scores(part, S, n);
      real before = sum_of(sum), carry = before > 0 ? (s->top[r + m] - top[m]) * before : 0;
      s->expectation[r + m] = factor[m] * (s->expectation[r + m] + carry);
    }
    exponentiate(S, n, top[m], sum, factor[m]);
    if (part) {
      real e = 0;
      for (int64_t c = 0; c < n; c++)
        e += S[c] == 0 ? 0 : S[c] * (s->copy[c] - top[m]);
      s->expectation[r + m] += e;
    }
    s->top[r + m] = top[m];
  }
}

static void forward(const ml_attention_args *a, int64_t b, int64_t h, int64_t q0, int64_t q1,
                    void *scratch, ml_attention_part *part) {
  const int64_t T = a->T, D = a->D, Dp = padded(D), rows = q1 - q0, keys = forward_keys(D);
  const real *q = (const real *)a->q.data + b * a->q.b + h * a->q.h;
  const real *k = (const real *)a->k.data + b * a->k.b + h * a->k.h;
  const real *v = (const real *)a->v.data + b * a->v.b + h * a->v.h;
  const int64_t *segments = a->segments ? a->segments + b * T : NULL;
  const real alpha = (real)(a->scale * log2_e);
  forward_scratch s;
  forward_layout(&s, scratch, rows, D, part != NULL);
  memset(s.O, 0, (size_t)(rows * Dp) * sizeof(real));
  memset(s.sum, 0, (size_t)(rows * LANES) * sizeof(real));
  for (int64_t r = 0; r < rows; r++)
    s.top[r] = LOWEST;
  if (part) {
    *part = (ml_attention_part){.max_logit = -INFINITY, .max_abs_logit = 0, .entropy_sum = 0};
    memset(s.expectation, 0, (size_t)rows * sizeof(real));
  }
  range asked = {0, 0}, offered = {0, 0};
  if (segments)
    asked = range_of(segments + q0, rows);

  for (int64_t j0 = 0, end = a->causal ? q1 : T; j0 < end; j0 += keys) {
    int64_t nk = least(keys, end - j0);
    if (segments) {
      offered = range_of(segments + j0, nk);
      if (pairs_of(asked, offered) == NONE)
        continue;
    }
    pack_transposed(s.Kt, keys, k + j0 * a->k.t, a->k.t, nk, D, alpha);
    pack_rows(s.V, v + j0 * a->v.t, a->v.t, nk, D);
    for (int64_t r = 0; r < rows; r += STRIP) {
      int64_t M = least(STRIP, rows - r), i0 = q0 + r, n = visible(a->causal, i0, M, j0, nk);
      if (n <= 0)
        continue;
      pairs same = ALL;
      if (segments && (same = pairs_of(range_of(segments + i0, M), offered)) == NONE)
        continue;
      strip(M, padded(n),
            (product){.K = D,
                      .A = q + i0 * a->q.t,
                      .row = a->q.t,
                      .column = 1,
                      .B = s.Kt,
                      .ldb = keys,
                      .C = s.S,
                      .ldc = keys});
      if (n < padded(n) || same == SOME || (a->causal && i0 < j0 + n - 1))
        mask_strip(a, segments, same == SOME, s.S, keys, i0, M, j0, n);
      real factor[STRIP + LANES];
      softmax_strip(&s, keys, r, M, padded(n), factor, part);
      strip(M, Dp,
            (product){.K = n,
                      .A = s.S,
                      .row = keys,
                      .column = 1,
                      .B = s.V,
                      .ldb = Dp,
                      .C = s.O + r * Dp,
                      .ldc = Dp,
                      .start = SCALE_ADD,
                      .factor = factor});
    }
  }

  for (int64_t r = 0; r < rows; r++) {
    real sum = sum_of(s.sum + r * LANES), inverse = 1 / sum;
    real *y = (real *)a->y + ((b * T + q0 + r) * a->H + h) * D;
    for (int64_t d = 0; d < D; d++)
      y[d] = s.O[r * Dp + d] * inverse;
    if (a->lse)
      ((real *)a->lse)[(b * a->H + h) * T + q0 + r] = s.top[r] + LOG2(sum);
    if (part)
      part->entropy_sum += (log2((double)sum) - (double)s.expectation[r] / (double)sum) * ln_2;
  }
  if (part) {
    part->max_logit *= ln_2;
    part->max_abs_logit *= ln_2;
  }
}

/* ---- backward
 * ------------------------------------------------------------------------------------------ */

static int64_t backward_keys(int64_t D) {
  int64_t bytes = D * (int64_t)sizeof(real);
  return bytes <= 128 ? 64 : 32;
}

static int64_t backward_blocks(int64_t T, int64_t D) {
  return (T + backward_keys(D) - 1) / backward_keys(D);
}

/* Up to this many elements the queries and dy of a head are packed once, beyond block by block. */
static const int64_t whole_head = (int64_t)1 << 17;

typedef struct {
  real *dQ, *delta;            /* of the whole head */
  real *Q, *dY;                /* of the whole head or of a block of queries */
  real *P, *dS;                /* of a block of queries */
  real *Kt, *Vt, *K, *dK, *dV; /* of a block of keys */
} backward_scratch;

static size_t backward_layout(backward_scratch *s, real *base, int64_t T, int64_t D) {
  int64_t keys = backward_keys(D), Dp = padded(D), at = 0;
  int64_t rows = T * Dp <= whole_head ? T : QUERIES;
  real **const field[] = {&s->dQ, &s->delta, &s->Q, &s->dY, &s->P, &s->dS,
                          &s->Kt, &s->Vt,    &s->K, &s->dK, &s->dV};
  const int64_t size[] = {T * Dp,   T,        rows * Dp, rows * Dp, QUERIES * keys, QUERIES * keys,
                          D * keys, D * keys, keys * Dp, keys * Dp, keys * Dp};
  for (size_t i = 0; i < sizeof field / sizeof field[0]; i++) {
    if (base)
      *field[i] = base + at;
    at += (size[i] + 15) / 16 * 16;
  }
  return (size_t)at * sizeof(real);
}

static size_t backward_bytes(int64_t T, int64_t D) {
  return backward_layout(&(backward_scratch){0}, NULL, T, D);
}

/* out[r, 0:D] (+)= alpha x[r, 0:D] */
static void give(real *out, int64_t stride, const real *x, int64_t ldx, int64_t rows, int64_t D,
                 real alpha, bool add) {
  for (int64_t r = 0; r < rows; r++, out += stride, x += ldx) {
    if (add) {
      for (int64_t d = 0; d < D; d++)
        out[d] += alpha * x[d];
    } else {
      for (int64_t d = 0; d < D; d++)
        out[d] = alpha * x[d];
    }
  }
}

/* delta[t] = sum_d dy[t,d] y[t,d] */
static void row_products(real *delta, const real *dy, int64_t dy_stride, const real *y,
                         int64_t y_stride, int64_t T, int64_t D) {
  for (int64_t t = 0; t < T; t++, dy += dy_stride, y += y_stride) {
    prefetch_row(y, y_stride, D, T - t);
    ml_vec sum = {0};
    int64_t d = 0;
    for (; d + LANES <= D; d += LANES)
      sum += load(dy + d) * load(y + d);
    real lane[LANES];
    store(lane, sum);
    for (; d < D; d++)
      lane[d % LANES] += dy[d] * y[d];
    delta[t] = sum_of(lane);
  }
}

/* P = 2^(P - lse) and dS = P (dS - delta), n a multiple of LANES */
INLINE void score_gradient(real *P, real *dS, int64_t n, real lse, real delta) {
  for (int64_t c = 0; c < n; c += LANES) {
    ml_vec p = exp2_vec(load(P + c) - lse);
    store(P + c, p);
    store(dS + c, p * (load(dS + c) - delta));
  }
}

/* A block of keys [j0, j0 + nk) against a block of queries [i0, i0 + nq), packed in Q and dY: P and
 * dS of the strips that see each other, and their share of dQ. Rows of the others become zero. */
static void scores_of_blocks(const ml_attention_args *a, const backward_scratch *s, const real *Q,
                             const real *dY, const int64_t *segments, range offered,
                             const real *lse, int64_t i0, int64_t nq, int64_t j0, int64_t nk) {
  const int64_t D = a->D, Dp = padded(D), keys = backward_keys(D);
  for (int64_t r = 0; r < nq; r += STRIP) {
    const int64_t M = least(STRIP, nq - r), first = i0 + r;
    const int64_t n = visible(a->causal, first, M, j0, nk), np = padded(n);
    real *P = s->P + r * keys, *dS = s->dS + r * keys;
    pairs same = ALL;
    if (n > 0 && segments)
      same = pairs_of(range_of(segments + first, M), offered);
    if (n <= 0 || same == NONE) {
      memset(P, 0, (size_t)(M * keys) * sizeof(real));
      memset(dS, 0, (size_t)(M * keys) * sizeof(real));
      continue;
    }
    product score = {.K = D,
                     .A = Q + r * Dp,
                     .row = Dp,
                     .column = 1,
                     .B = s->Kt,
                     .ldb = keys,
                     .C = P,
                     .ldc = keys};
    strip(M, np, score);
    if (n < np || same == SOME || (a->causal && first < j0 + n - 1))
      mask_strip(a, segments, same == SOME, P, keys, first, M, j0, n);
    product slope = {.K = D,
                     .A = dY + r * Dp,
                     .row = Dp,
                     .column = 1,
                     .B = s->Vt,
                     .ldb = keys,
                     .C = dS,
                     .ldc = keys};
    strip(M, np, slope);
    for (int64_t m = 0; m < M; m++) {
      score_gradient(P + m * keys, dS + m * keys, np, lse[first + m], s->delta[first + m]);
      for (int64_t c = np; c < least(keys, np + STRIP); c++)
        P[m * keys + c] = dS[m * keys + c] = 0;
    }
    if (a->dq) {
      product dq = {.K = n,
                    .A = dS,
                    .row = keys,
                    .column = 1,
                    .B = s->K,
                    .ldb = Dp,
                    .C = s->dQ + first * Dp,
                    .ldc = Dp,
                    .start = ADD};
      strip(M, Dp, dq);
    }
  }
}

/* dV += P^T dY and dK += dS^T Q of the same blocks. A key meets only the queries from its own
 * position on. */
static void keys_of_blocks(const ml_attention_args *a, const backward_scratch *s, const real *Q,
                           const real *dY, int64_t i0, int64_t nq, int64_t j0, int64_t nk) {
  const int64_t Dp = padded(a->D), keys = backward_keys(a->D);
  for (int64_t c = 0; c < nk; c += STRIP) {
    const int64_t M = least(STRIP, nk - c), from = a->causal && j0 + c > i0 ? j0 + c - i0 : 0;
    if (from >= nq)
      break;
    product p = {.K = nq - from, .row = 1, .column = keys, .ldb = Dp, .ldc = Dp, .start = ADD};
    if (a->dv) {
      p.A = s->P + from * keys + c, p.B = dY + from * Dp, p.C = s->dV + c * Dp;
      strip(M, Dp, p);
    }
    if (a->dk) {
      p.A = s->dS + from * keys + c, p.B = Q + from * Dp, p.C = s->dK + c * Dp;
      strip(M, Dp, p);
    }
  }
}

static void backward(const ml_attention_args *a, int64_t b, int64_t h, int64_t group,
                     void *scratch) {
  const int64_t T = a->T, D = a->D, Dp = padded(D), keys = backward_keys(D), y_stride = a->H * D;
  const real *q = (const real *)a->q.data + b * a->q.b + h * a->q.h;
  const real *k = (const real *)a->k.data + b * a->k.b + h * a->k.h;
  const real *v = (const real *)a->v.data + b * a->v.b + h * a->v.h;
  const real *dy = (const real *)a->dy.data + b * a->dy.b + h * a->dy.h;
  const real *lse = (const real *)a->lse + (b * a->H + h) * T;
  const int64_t head = (b * T * a->H + h) * D; /* offset in y, dq, dk, dv */
  const int64_t *segments = a->segments ? a->segments + b * T : NULL;
  const real alpha = (real)(a->scale * log2_e), scale = (real)a->scale;
  const bool whole = T * Dp <= whole_head;
  backward_scratch s;
  backward_layout(&s, scratch, T, D);
  memset(s.dQ, 0, (size_t)(T * Dp) * sizeof(real));
  if (whole) {
    pack_rows(s.Q, q, a->q.t, T, D);
    pack_rows(s.dY, dy, a->dy.t, T, D);
  }
  row_products(s.delta, whole ? s.dY : dy, whole ? Dp : a->dy.t, (const real *)a->y + head,
               y_stride, T, D);

  for (int64_t j0 = group * keys; j0 < T; j0 += a->groups * keys) {
    const int64_t nk = least(keys, T - j0);
    pack_rows(s.K, k + j0 * a->k.t, a->k.t, nk, D);
    pack_transposed(s.Kt, keys, s.K, Dp, nk, D, alpha);
    pack_rows(s.dV, v + j0 * a->v.t, a->v.t, nk, D); /* only on its way to Vt */
    pack_transposed(s.Vt, keys, s.dV, Dp, nk, D, 1);
    memset(s.dK, 0, (size_t)(keys * Dp) * sizeof(real));
    memset(s.dV, 0, (size_t)(keys * Dp) * sizeof(real));
    range offered = {0, 0};
    if (segments)
      offered = range_of(segments + j0, nk);
    for (int64_t i0 = a->causal ? j0 / QUERIES * QUERIES : 0; i0 < T; i0 += QUERIES) {
      const int64_t nq = least(QUERIES, T - i0);
      const real *Q = s.Q, *dY = s.dY;
      if (segments && pairs_of(range_of(segments + i0, nq), offered) == NONE)
        continue;
      if (whole) {
        Q += i0 * Dp;
        dY += i0 * Dp;
      } else {
        pack_rows(s.Q, q + i0 * a->q.t, a->q.t, nq, D);
        pack_rows(s.dY, dy + i0 * a->dy.t, a->dy.t, nq, D);
      }
      scores_of_blocks(a, &s, Q, dY, segments, offered, lse, i0, nq, j0, nk);
      keys_of_blocks(a, &s, Q, dY, i0, nq, j0, nk);
    }
    if (a->dk)
      give((real *)a->dk + head + j0 * y_stride, y_stride, s.dK, Dp, nk, D, scale, a->add_k);
    if (a->dv)
      give((real *)a->dv + head + j0 * y_stride, y_stride, s.dV, Dp, nk, D, 1, a->add_v);
  }
  if (!a->dq)
    return;
  if (a->groups == 1)
    give((real *)a->dq + head, y_stride, s.dQ, Dp, T, D, scale, a->add_q);
  else
    give((real *)a->parts + ((b * a->H + h) * a->groups + group) * T * D, D, s.dQ, Dp, T, D, 1,
         false);
}

static void combine(const ml_attention_args *a, int64_t b, int64_t h) {
  const int64_t T = a->T, D = a->D, y_stride = a->H * D;
  real *first = (real *)a->parts + (b * a->H + h) * a->groups * T * D;
  for (int64_t g = 1; g < a->groups; g++) {
    const real *part = first + g * T * D;
    for (int64_t i = 0; i < T * D; i++)
      first[i] += part[i];
  }
  give((real *)a->dq + (b * T * a->H + h) * D, y_stride, first, D, T, D, (real)a->scale, a->add_q);
}

const ml_nn_attention_kernels ML_FN(nn_attention) = {forward_bytes, backward_bytes,  forward,
                                                     backward,      backward_blocks, combine};
