/* Hot loops of attention: blocks of keys against strips of a few queries, softmax online, both
 * directions.
 *
 * A score is computed by the same chain of multiply-adds forward and backward, so the recomputed
 * probabilities are those of the forward pass. Nothing here depends on how queries are dealt to
 * tasks.
 *
 * A query and a key that are masked give each other nothing, not even 0 times a NaN or infinity:
 * the strips multiply masked pairs by 0, and where a block has both masked pairs and such a number,
 * its products go row by row over runs of pairs that see each other instead, in the same order. */
#include "nn/kernels.h"
#include "strip.h"

enum { QUERIES = 64 }; /* of a block of the backward pass */
static const double log2_e = 1.4426950408889634074, ln_2 = 0.69314718055994530942;

/* ---- masks ----------------------------------------------------------------------------------- */

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

/* The next run of ids equal to id in [*from, end), NULL being all alike: its length; 0 at the end.
 */
static int64_t next_run(const int64_t *ids, int64_t id, int64_t *from, int64_t end) {
  int64_t i = *from;
  if (!ids)
    return end > i ? end - i : 0;
  while (i < end && ids[i] != id)
    i++;
  *from = i;
  while (i < end && ids[i] == id)
    i++;
  return i - *from;
}

static bool all_finite(const real *x, int64_t n) {
  ml_vec zero = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    zero += ml_vget(x + i) * (real)0;
  real lane[LANES];
  ml_vput(lane, zero);
  for (; i < n; i++)
    lane[0] += x[i] * 0;
  return sum_of(lane) == 0;
}

/* ---- forward --------------------------------------------------------------------------------- */

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
  ml_vec t = ml_vget(sum) * factor, u = {0};
  int64_t c = 0;
  for (; c + 2 * LANES <= n; c += 2 * LANES) {
    ml_vec x = exp2_vec(ml_vget(S + c) - top), y = exp2_vec(ml_vget(S + c + LANES) - top);
    t += x;
    u += y;
    ml_vput(S + c, x);
    ml_vput(S + c + LANES, y);
  }
  if (c < n) {
    ml_vec x = exp2_vec(ml_vget(S + c) - top);
    t += x;
    ml_vput(S + c, x);
  }
  ml_vput(sum, t + u);
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
    ml_vec t = ml_vget(S);
    for (int64_t c = LANES; c < n; c += LANES)
      t = vec_max(ml_vget(S + c), t);
    real old = s->top[r + m], new = max_of(t);
    new = new > old ? new : old;
    factor[m] = old - new;
    top[m] = new;
  }
  for (int64_t m = M; m < STRIP + LANES; m++)
    factor[m] = 0;
  for (int64_t m = 0; m < M; m += LANES)
    ml_vput(factor + m, exp2_vec(ml_vget(factor + m)));
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

/* O = factor O + S V of a strip, over the keys that each query sees. */
static void weigh_visible(const ml_attention_args *a, const int64_t *segments,
                          const forward_scratch *s, int64_t lds, int64_t r, int64_t i0, int64_t M,
                          int64_t j0, int64_t n, const real *factor) {
  const int64_t Dp = padded(a->D);
  for (int64_t m = 0; m < M; m++) {
    const int64_t id = segments ? segments[i0 + m] : 0;
    product p = {.row = lds,
                 .column = 1,
                 .ldb = Dp,
                 .C = s->O + (r + m) * Dp,
                 .ldc = Dp,
                 .start = SCALE_ADD,
                 .factor = factor + m};
    strip(1, Dp, p); /* of no keys: the factor */
    p.start = ADD;
    int64_t limit = a->causal ? least(n, i0 + m - j0 + 1) : n;
    for (int64_t c = 0; (p.K = next_run(segments ? segments + j0 : NULL, id, &c, limit)) > 0;
         c += p.K) {
      p.A = s->S + m * lds + c;
      p.B = s->V + c * Dp;
      strip(1, Dp, p);
    }
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
    bool masks = segments || (a->causal && q0 < j0 + nk - 1);
    bool careful = masks && !all_finite(s.V, nk * Dp);
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
      bool some_masked = same == SOME || (a->causal && i0 < j0 + n - 1);
      if (n < padded(n) || some_masked)
        mask_strip(a, segments, same == SOME, s.S, keys, i0, M, j0, n);
      real factor[STRIP + LANES];
      softmax_strip(&s, keys, r, M, padded(n), factor, part);
      if (careful && some_masked) {
        weigh_visible(a, segments, &s, keys, r, i0, M, j0, n, factor);
        continue;
      }
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

/* ---- backward -------------------------------------------------------------------------------- */

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
      sum += ml_vget(dy + d) * ml_vget(y + d);
    real lane[LANES];
    ml_vput(lane, sum);
    for (; d < D; d++)
      lane[d % LANES] += dy[d] * y[d];
    delta[t] = sum_of(lane);
  }
}

/* P = 2^(P - lse) and dS = P (dS - delta), n a multiple of LANES */
INLINE void score_gradient(real *P, real *dS, int64_t n, real lse, real delta) {
  for (int64_t c = 0; c < n; c += LANES) {
    ml_vec p = exp2_vec(ml_vget(P + c) - lse);
    ml_vput(P + c, p);
    ml_vput(dS + c, p * (ml_vget(dS + c) - delta));
  }
}

/* A block of keys [j0, j0 + nk) against a block of queries [i0, i0 + nq), packed in Q and dY: P and
 * dS of the strips that see each other, and their share of dQ. Rows of the others become zero. */
static void scores_of_blocks(const ml_attention_args *a, const backward_scratch *s, const real *Q,
                             const real *dY, const int64_t *segments, range offered,
                             const real *lse, int64_t i0, int64_t nq, int64_t j0, int64_t nk,
                             bool careful) {
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
    if (a->dq && careful) {
      for (int64_t m = 0; m < M; m++) {
        product dq = {.column = 1,
                      .row = keys,
                      .ldb = Dp,
                      .C = s->dQ + (first + m) * Dp,
                      .ldc = Dp,
                      .start = ADD};
        int64_t limit = a->causal ? least(n, first + m - j0 + 1) : n;
        for (int64_t c = 0; (dq.K = next_run(segments ? segments + j0 : NULL,
                                             segments ? segments[first + m] : 0, &c, limit)) > 0;
             c += dq.K) {
          dq.A = dS + m * keys + c;
          dq.B = s->K + c * Dp;
          strip(1, Dp, dq);
        }
      }
    } else if (a->dq) {
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

/* The same for each key alone, over the queries that see it. */
static void keys_of_visible(const ml_attention_args *a, const backward_scratch *s, const real *Q,
                            const real *dY, const int64_t *segments, int64_t i0, int64_t nq,
                            int64_t j0, int64_t nk) {
  const int64_t Dp = padded(a->D), keys = backward_keys(a->D);
  for (int64_t c = 0; c < nk; c++) {
    product p = {.row = 1, .column = keys, .ldb = Dp, .ldc = Dp, .start = ADD};
    for (int64_t i = a->causal && j0 + c > i0 ? j0 + c - i0 : 0;
         (p.K = next_run(segments ? segments + i0 : NULL, segments ? segments[j0 + c] : 0, &i,
                         nq)) > 0;
         i += p.K) {
      if (a->dv) {
        p.A = s->P + i * keys + c, p.B = dY + i * Dp, p.C = s->dV + c * Dp;
        strip(1, Dp, p);
      }
      if (a->dk) {
        p.A = s->dS + i * keys + c, p.B = Q + i * Dp, p.C = s->dK + c * Dp;
        strip(1, Dp, p);
      }
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
    const bool finite =
        !(a->causal || segments) || (all_finite(s.K, nk * Dp) && all_finite(s.dV, nk * Dp));
    memset(s.dK, 0, (size_t)(keys * Dp) * sizeof(real));
    memset(s.dV, 0, (size_t)(keys * Dp) * sizeof(real));
    range offered = {0, 0};
    if (segments)
      offered = range_of(segments + j0, nk);
    for (int64_t i0 = a->causal ? j0 / QUERIES * QUERIES : 0; i0 < T; i0 += QUERIES) {
      const int64_t nq = least(QUERIES, T - i0);
      const real *Q = s.Q, *dY = s.dY;
      bool masks = a->causal && i0 < j0 + nk - 1;
      if (segments) {
        pairs same = pairs_of(range_of(segments + i0, nq), offered);
        if (same == NONE)
          continue;
        masks = masks || same == SOME;
      }
      /* a query or its dy that is not finite makes its lse or delta so */
      bool careful =
          masks && (!finite || !all_finite(lse + i0, nq) || !all_finite(s.delta + i0, nq));
      if (whole) {
        Q += i0 * Dp;
        dY += i0 * Dp;
      } else {
        pack_rows(s.Q, q + i0 * a->q.t, a->q.t, nq, D);
        pack_rows(s.dY, dy + i0 * a->dy.t, a->dy.t, nq, D);
      }
      scores_of_blocks(a, &s, Q, dY, segments, offered, lse, i0, nq, j0, nk, careful);
      if (careful)
        keys_of_visible(a, &s, Q, dY, segments, i0, nq, j0, nk);
      else
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
