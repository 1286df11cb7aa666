/* The f32 product on matrix units (AMX-BF16): tiles of 16 x 16 sums, 16 lanes of pairs of bf16 at
 * once. Two precisions share the loops:
 *
 * - medium: a lane of either factor holds (k, k + 1) rounded to bf16, as in gemm_bf16.c;
 * - high: a lane of B holds b as (high, low) = (bf16(b), bf16(b - high)), and A comes twice, with
 *   lanes (high, high) and (low, low), so that all four products of the parts are summed; what is
 *   lost is 2^-16 of each factor, and an infinite one, which has no rest, can give NaN.
 *
 * Panels keep the places of f32 panels, [panel][K][columns] elements: all of them at high, the
 * first half at medium. The file also compiles without matrix units, with ML_AMX_EMULATED and the
 * four operations on tiles from who includes it. */
#include "tensor/gemm.h"

#if ML_ISA_LEVEL == 2 && defined(ML_REAL_f32)

#if !defined(ML_AMX_EMULATED)
#pragma GCC target("avx512bf16")
#endif
#include "base/simd.h"
#include "gemm_pairs.h"

#include <string.h>

#define BR 32        /* rows and columns of a block: 2 x 2 tiles */
#define TILE (L * L) /* pairs of a tile */
#define AREA 49152   /* pairs of A copied at once, at most: 192 KiB */

#if !defined(ML_AMX_EMULATED)
/* By the assembler: GCC's intrinsics do not say that a tile is read from memory, and stores before
 * it could be left out. */
#define TILE_ZERO(c) __asm__ volatile("tilezero %%tmm" #c ::)
#define TILE_LOAD(t, p, step)                                                                      \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(p), "r"((step) * (int64_t)sizeof(pair))   \
                   : "memory")
#define TILE_STORE(t, p, step)                                                                     \
  __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(p),                                   \
                   "r"((step) * (int64_t)sizeof(pair))                                             \
                   : "memory")
#define TILE_DOT(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c ::)
#define TILE_BEGIN __asm__ volatile("ldtilecfg %0" ::"m"(shape))
#define TILE_END __asm__ volatile("tilerelease" ::)

static const struct {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} shape = {
    .palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {L, L, L, L, L, L, L, L}};
#endif

/* ---- copies ---------------------------------------------------------------------------------- */

/* Numbers in two parts: low half of a lane what bf16 holds, high half what it holds of the rest. */
typedef struct {
  __m512i high, low; /* bf16 in the low half of each lane */
} parts;

INLINE parts in_parts(__m512 x) {
  const __m512i bits = (__m512i)x, exponent = _mm512_set1_epi32(0x7f800000);
  __m512i h = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
  __m512i back = _mm512_slli_epi32(h, 16);
  /* the largest numbers round to infinity: those are cut instead */
  const __mmask16 finite = _mm512_cmpneq_epi32_mask(_mm512_and_si512(bits, exponent), exponent);
  const __mmask16 over =
      _mm512_mask_cmpeq_epi32_mask(finite, _mm512_and_si512(back, exponent), exponent);
  h = _mm512_mask_srli_epi32(h, over, bits, 16);
  back = _mm512_slli_epi32(h, 16);
  const __m512 rest = _mm512_maskz_sub_ps(finite, x, (__m512)back);
  return (parts){h, _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(rest))};
}

INLINE __m512i lanes(__m512i low_half, __m512i high_half) {
  return _mm512_or_si512(low_half, _mm512_slli_epi32(high_half, 16));
}

INLINE __m512i both_parts(__m512 x) {
  const parts p = in_parts(x);
  return lanes(p.high, p.low);
}

/* Lanes along k of one row of A, or of one column of B. */
INLINE __m512i along(const float *p, int64_t n, const bool high) {
  return high ? (__m512i)_mm512_maskz_loadu_ps(mask(n), n > 0 ? p : NULL) : pairs_along(p, n);
}

/* Panel [lanes][NR] of op(B), zero beyond n columns; B points at its first element. */
INLINE void pack_panel_parts(pair *to, const float *B, int64_t ldb, bool transposed, int64_t kc,
                             int64_t n) {
  if (!transposed) {
    for (int64_t k = 0; k < kc; k++, to += NR, B += ldb) {
      const __mmask16 left = mask(n), right = mask(n - L);
      _mm512_storeu_si512(to, both_parts(_mm512_maskz_loadu_ps(left, B)));
      _mm512_storeu_si512(to + L, both_parts(_mm512_maskz_loadu_ps(right, right ? B + L : B)));
    }
    return;
  }
  for (int64_t j = 0; j < NR; j += L)
    for (int64_t k = 0; k < kc; k += L) {
      pairs r[L];
      const __mmask16 m = mask(kc - k);
#pragma GCC unroll 16
      for (int i = 0; i < L; i++)
        r[i] = j + i < n ? (pairs)_mm512_maskz_loadu_ps(m, B + (j + i) * ldb + k) : (pairs){0};
      transpose(r);
      const int64_t rows = least(L, kc - k);
#pragma GCC unroll 16
      for (int q = 0; q < L; q++)
        if (q < rows)
          _mm512_storeu_si512(to + (k + q) * NR + j, both_parts((__m512)r[q]));
    }
}

/* One row of a tile of A at place i of it: the lanes of r, at high in both its versions. */
INLINE void put_row(pair *to, int64_t i, __m512i r, const bool high) {
  if (high) {
    const parts p = in_parts((__m512)r);
    _mm512_storeu_si512(to + i * L, lanes(p.high, p.high));
    _mm512_storeu_si512(to + TILE + i * L, lanes(p.low, p.low));
  } else {
    _mm512_storeu_si512(to + i * L, r);
  }
}

/* [16 rows][steps][version] tiles of m rows of op(A), zero beyond them; A points at its first
 * element. */
INLINE void pack_rows(pair *to, const float *A, int64_t lda, bool transposed, int64_t kc, int64_t m,
                      const bool high) {
  const int64_t reach = high ? L : 2 * L, size = high ? 2 * TILE : TILE;
  for (int64_t i = 0; i < m; i += L)
    for (int64_t k = 0; k < kc; k += reach, to += size) {
      const int64_t rows = least(L, m - i);
      if (!transposed) {
        for (int64_t r = 0; r < L; r++)
          put_row(to, r,
                  r < rows ? along(A + (i + r) * lda + k, kc - k, high) : _mm512_setzero_si512(),
                  high);
        continue;
      }
      const __mmask16 w = mask(rows);
      pairs r[L];
#pragma GCC unroll 16
      for (int q = 0; q < L; q++) {
        const int64_t at = k + (high ? q : 2 * q);
        const __mmask16 here = at < kc ? w : 0, next = at + 1 < kc ? w : 0;
        const float *f = here ? A + at * lda + i : A;
        const __m512 x = _mm512_maskz_loadu_ps(here, f);
        r[q] = high ? (pairs)x
                    : (pairs)pairs_across(x, _mm512_maskz_loadu_ps(next, next ? f + lda : A));
      }
      transpose(r);
#pragma GCC unroll 16
      for (int q = 0; q < L; q++)
        put_row(to, q, (__m512i)r[q], high);
    }
}

/* ---- a block of 2 x 2 tiles ------------------------------------------------------------------ */

/* C[m, n] (+)= alpha A B (+ bias), m, n <= 32. */
typedef struct {
  const pair *a, *b, *tail; /* tail: the last lanes of b, zero up to 16, or NULL */
  const float *bias;
  float *c;
  int64_t steps, ldc, m, n;
  float alpha;
  bool add;
} block;

INLINE void multiply_block(const block *t, const bool high) {
  _Alignas(64) float sums[BR * BR];
  const int versions = high ? 2 : 1;
  const int64_t below = t->steps * versions * TILE; /* to the next 16 rows of A */
  const bool tall = t->m > L, wide = t->n > L;
  TILE_ZERO(0);
  TILE_ZERO(1);
  TILE_ZERO(2);
  TILE_ZERO(3);
  const pair *a = t->a, *b = t->b;
  for (int64_t s = 0; s < t->steps; s++, b += L * NR) {
    if (s + 1 == t->steps && t->tail)
      b = t->tail;
    TILE_LOAD(6, b, NR);
    if (wide)
      TILE_LOAD(7, b + L, NR);
    for (int v = 0; v < versions; v++, a += TILE) {
      TILE_LOAD(4, a, L);
      TILE_DOT(0, 4, 6);
      if (wide)
        TILE_DOT(1, 4, 7);
      if (tall) {
        TILE_LOAD(5, a + below, L);
        TILE_DOT(2, 5, 6);
        if (wide)
          TILE_DOT(3, 5, 7);
      }
    }
  }
  if (t->m == BR && t->n == BR && !t->add && !t->bias && t->alpha == 1) {
    TILE_STORE(0, t->c, t->ldc);
    TILE_STORE(1, t->c + L, t->ldc);
    TILE_STORE(2, t->c + L * t->ldc, t->ldc);
    TILE_STORE(3, t->c + L * t->ldc + L, t->ldc);
    return;
  }
  TILE_STORE(0, sums, BR);
  TILE_STORE(1, sums + L, BR);
  TILE_STORE(2, sums + L * BR, BR);
  TILE_STORE(3, sums + L * BR + L, BR);
  const __m512 alpha = _mm512_set1_ps(t->alpha);
  for (int64_t v = 0; v < t->n; v += L) {
    const __mmask16 m = mask(t->n - v);
    const __m512 bias = t->bias ? _mm512_maskz_loadu_ps(m, t->bias + v) : _mm512_setzero_ps();
    for (int64_t i = 0; i < t->m; i++) {
      float *c = t->c + i * t->ldc + v;
      __m512 x = _mm512_mul_ps(_mm512_load_ps(sums + i * BR + v), alpha);
      __asm__("" : "+v"(x)); /* the product at its rounded value, as in gemm.c */
      if (t->add)
        x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(m, c));
      if (t->bias)
        x = _mm512_add_ps(x, bias);
      _mm512_mask_storeu_ps(c, m, x);
    }
  }
}

/* m copied rows by one panel of lanes x n; whole: whether 16 lanes can be read at its end. */
INLINE void panel_rows(block *r, const pair *a, const pair *b, float *c, int64_t lane_count,
                       int64_t m, const bool high) {
  _Alignas(64) pair tail[L * NR];
  const int64_t over = lane_count % L;
  r->steps = (lane_count + L - 1) / L;
  r->b = b;
  r->tail = NULL;
  if (over) {
    const pair *from = b + (lane_count - over) * NR;
    memset(tail, 0, sizeof tail);
    memcpy(tail, from, (size_t)(over * NR) * sizeof *tail);
    r->tail = tail;
  }
  r->a = a;
  r->c = c;
  for (int64_t i = 0; i < m; i += BR) {
    r->m = least(BR, m - i);
    multiply_block(r, high);
    r->a += 2 * r->steps * (high ? 2 : 1) * TILE;
    r->c += BR * r->ldc;
  }
}

/* ---- tiles ----------------------------------------------------------------------------------- */

enum { ROWS_MEDIUM = 192, ROWS_HIGH = AREA / (2 * KC) };

INLINE void any_tile(const ml_gemm_tile *t, const bool high) {
  _Alignas(64) pair A[AREA];
  _Alignas(64) pair panel[NR * KC];
  const int64_t rows = high ? ROWS_HIGH : ROWS_MEDIUM;
  if (t->beta != 0 && t->beta != 1)
    ml_gemm_kernels_f32_avx512.scale((float *)t->C + t->m0 * t->ldc + t->n0, t->ldc, t->m1 - t->m0,
                                     t->n1 - t->n0, t->beta);
  const float *B = t->B;
  block r = {.ldc = t->ldc, .alpha = (float)t->alpha};
  TILE_BEGIN;
  for (int64_t m0 = t->m0; m0 < t->m1; m0 += rows) {
    const int64_t m = least(rows, t->m1 - m0);
    float *C = (float *)t->C + m0 * t->ldc;
    for (int64_t k = t->k0; k < t->k1 && !ml_cancelled(); k += KC) {
      const int64_t kc = least(KC, t->k1 - k), lane_count = high ? kc : half(kc);
      pack_rows(A, (const float *)t->A + (t->ta ? k * t->lda + m0 : m0 * t->lda + k), t->lda, t->ta,
                kc, m, high);
      r.add = t->beta != 0 || k > t->k0;
      for (int64_t j = t->n0; j < t->n1; j += NR) {
        r.n = least(NR, t->n1 - j);
        const pair *b = panel;
        if (t->panels) {
          b = (const pair *)t->panels + j * t->ldb + (high ? k : k / 2) * NR;
        } else {
          const float *from = B + (t->tb ? j * t->ldb + k : k * t->ldb + j);
          if (high)
            pack_panel_parts(panel, from, t->ldb, t->tb, kc, r.n);
          else
            pack_panel(panel, from, t->ldb, t->tb, kc, r.n);
        }
        panel_rows(&r, A, b, C + j, lane_count, m, high);
      }
    }
  }
  TILE_END;
}

INLINE void any_pack(void *panels, const float *W, int64_t ldw, bool transposed, int64_t K,
                     int64_t N, const bool high) {
  for (int64_t j = 0; j < N; j += NR) {
    pair *to = (pair *)panels + j * K;
    const float *from = transposed ? W + j * ldw : W + j;
    if (high)
      pack_panel_parts(to, from, ldw, transposed, K, least(NR, N - j));
    else
      pack_panel(to, from, ldw, transposed, K, least(NR, N - j));
  }
}

INLINE void any_panels(const ml_gemm_panels *t, const bool high) {
  _Alignas(64) pair x[AREA];
  const int64_t n1 = least(t->N, t->p1 * NR), rows = high ? ROWS_HIGH : ROWS_MEDIUM;
  block r = {.ldc = t->ldy, .alpha = 1};
  TILE_BEGIN;
  for (int64_t m0 = t->m0; m0 < t->m1; m0 += rows) {
    const int64_t m = least(rows, t->m1 - m0);
    int64_t k = 0;
    do {
      const int64_t kc = least(KC, t->K - k);
      const bool last = k + kc == t->K;
      pack_rows(x, (const float *)t->x + m0 * t->ldx + k, t->ldx, false, kc, m, high);
      r.add = t->add || k > 0;
      for (int64_t j = t->p0 * NR; j < n1; j += NR) {
        r.n = least(NR, n1 - j);
        r.bias = last && t->bias ? (const float *)t->bias + j : NULL;
        panel_rows(&r, x, (const pair *)t->panels + j * t->K + (high ? k : k / 2) * NR,
                   (float *)t->y + m0 * t->ldy + j, high ? kc : half(kc), m, high);
      }
      k += KC;
    } while (k < t->K);
  }
  TILE_END;
}

#define PRECISION(name, high, tile_size)                                                           \
  static void tile_##name(const ml_gemm_tile *t) { any_tile(t, high); }                            \
  static void panels_##name(const ml_gemm_panels *t) { any_panels(t, high); }                      \
  static void pack_##name(void *panels, const void *W, int64_t ldw, bool transposed, int64_t K,    \
                          int64_t N) {                                                             \
    any_pack(panels, W, ldw, transposed, K, N, high);                                              \
  }                                                                                                \
  extern const ml_gemm_kernels ml_gemm_kernels_amx_##name;                                         \
  const ml_gemm_kernels ml_gemm_kernels_amx_##name = {.dtype = ML_F32,                             \
                                                      .rows = BR,                                  \
                                                      .columns = NR,                               \
                                                      .tile_rows = tile_size,                      \
                                                      .tile = tile_##name,                         \
                                                      .panels = panels_##name,                     \
                                                      .pack = pack_##name};

PRECISION(medium, false, ROWS_MEDIUM)
PRECISION(high, true, ROWS_HIGH)

#endif
