/* The f32 product with factors rounded to bf16 and sums in f32, by the AVX512-BF16 instructions:
 * one takes a pair of k at once, twice the products of an f32 instruction where it runs at the same
 * rate. The loops are those of gemm.c; an "element" of a copy is here a pair of bf16, k and k + 1,
 * in one 32-bit lane, and zero stands where K has no partner.
 *
 * Panels keep the places of f32 panels, [panel][K][columns] elements of which the first half is
 * used, so that whoever steps over panels need not know. */
#include "tensor/gemm.h"

#if ML_ISA_LEVEL == 2 && defined(ML_REAL_f32)

#pragma GCC target("avx512bf16")
#include "base/simd.h"
#include "gemm_pairs.h"

#define MR 12
#define PAIRS (KC / 2)
#define ROWS 192 /* of A copied at once: 96 KiB */

/* ---- copies ---------------------------------------------------------------------------------- */

/* Panels [half(kc)][MR] of m rows of op(A); A points at its first element. */
static void pack_rows(pair *to, const float *A, int64_t lda, bool transposed, int64_t kc,
                      int64_t m) {
  for (int64_t i = 0; i < m; i += MR, to += half(kc) * MR) {
    if (transposed)
      copy_across(to, MR, A + i, lda, kc, least(MR, m - i));
    else
      copy_along(to, MR, A + i * lda, lda, kc, least(MR, m - i), MR);
  }
}

/* ---- register block -------------------------------------------------------------------------- */

/* C[mr, n] (+)= alpha A B (+ bias), n <= nv * L. */
typedef struct {
  const pair *a, *b;
  const float *bias;
  float *c;
  int64_t steps, ldc, n;
  float alpha;
  bool add;
} block;

INLINE void multiply(const block *t, const int mr, const int nv) {
  __m512 acc[MR][2];
#pragma GCC unroll 12
  for (int i = 0; i < mr; i++)
#pragma GCC unroll 2
    for (int v = 0; v < nv; v++)
      acc[i][v] = _mm512_setzero_ps();
#pragma GCC unroll 12
  for (int i = 0; i < mr; i++)
    __builtin_prefetch(t->c + i * t->ldc, 1);
  const pair *restrict a = t->a, *restrict b = t->b;
  for (int64_t k = t->steps; k > 0; k--, a += MR, b += NR) {
    __m512bh bv[2];
#pragma GCC unroll 2
    for (int v = 0; v < nv; v++)
      bv[v] = (__m512bh)_mm512_loadu_si512(b + v * L);
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++) {
      const __m512bh av = (__m512bh)_mm512_set1_epi32((int)a[i]);
#pragma GCC unroll 2
      for (int v = 0; v < nv; v++)
        acc[i][v] = _mm512_dpbf16_ps(acc[i][v], av, bv[v]);
    }
  }
  const __m512 alpha = _mm512_set1_ps(t->alpha);
#pragma GCC unroll 2
  for (int v = 0; v < nv; v++) {
    const __mmask16 m = mask(t->n - v * L);
    const __m512 bias = t->bias ? _mm512_maskz_loadu_ps(m, t->bias + v * L) : _mm512_setzero_ps();
#pragma GCC unroll 12
    for (int i = 0; i < mr; i++) {
      float *c = t->c + i * t->ldc + v * L;
      __m512 x = _mm512_mul_ps(acc[i][v], alpha);
      __asm__("" : "+v"(x)); /* the product at its rounded value, as in gemm.c */
      if (t->add)
        x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(m, c));
      if (t->bias)
        x = _mm512_add_ps(x, bias);
      _mm512_mask_storeu_ps(c, m, x);
    }
  }
}

#define BLOCK(mr)                                                                                  \
  static void block_##mr##_1(const block *t) { multiply(t, mr, 1); }                               \
  static void block_##mr##_2(const block *t) { multiply(t, mr, 2); }
/* clang-format off */
BLOCK(1) BLOCK(2) BLOCK(3) BLOCK(4) BLOCK(5) BLOCK(6)
BLOCK(7) BLOCK(8) BLOCK(9) BLOCK(10) BLOCK(11) BLOCK(12)
#define PAIR(mr) {block_##mr##_1, block_##mr##_2}
static void (*const blocks[MR][2])(const block *t) = {
  PAIR(1), PAIR(2), PAIR(3), PAIR(4), PAIR(5), PAIR(6),
  PAIR(7), PAIR(8), PAIR(9), PAIR(10), PAIR(11), PAIR(12)};
/* clang-format on */

/* m copied rows by one panel of n columns. */
INLINE void panel_rows(block *r, const pair *a, float *c, int64_t m) {
  const int wide = r->n > L;
  r->a = a;
  r->c = c;
  for (int64_t i = 0; i < m; i += MR) {
    blocks[least(MR, m - i) - 1][wide](r);
    r->a += r->steps * MR;
    r->c += MR * r->ldc;
  }
}

/* ---- tiles ----------------------------------------------------------------------------------- */

static void tile(const ml_gemm_tile *t) {
  _Alignas(64) pair A[ROWS * PAIRS], panel[NR * PAIRS];
  if (t->beta != 0 && t->beta != 1)
    ml_gemm_kernels_f32_avx512.scale((float *)t->C + t->m0 * t->ldc + t->n0, t->ldc, t->m1 - t->m0,
                                     t->n1 - t->n0, t->beta);
  const float *B = t->B;
  block r = {.ldc = t->ldc, .alpha = (float)t->alpha};
  for (int64_t m0 = t->m0; m0 < t->m1; m0 += ROWS) {
    const int64_t m = least(ROWS, t->m1 - m0);
    float *C = (float *)t->C + m0 * t->ldc;
    for (int64_t k = t->k0; k < t->k1 && !ml_cancelled(); k += KC) {
      const int64_t kc = least(KC, t->k1 - k);
      pack_rows(A, (const float *)t->A + (t->ta ? k * t->lda + m0 : m0 * t->lda + k), t->lda, t->ta,
                kc, m);
      r.steps = half(kc);
      r.add = t->beta != 0 || k > t->k0;
      for (int64_t j = t->n0; j < t->n1; j += NR) {
        r.n = least(NR, t->n1 - j);
        if (t->panels) {
          r.b = (const pair *)t->panels + j * t->ldb + k / 2 * NR;
        } else {
          pack_panel(panel, B + (t->tb ? j * t->ldb + k : k * t->ldb + j), t->ldb, t->tb, kc, r.n);
          r.b = panel;
        }
        panel_rows(&r, A, C + j, m);
      }
    }
  }
}

static void pack(void *panels, const void *W_, int64_t ldw, bool transposed, int64_t K, int64_t N) {
  const float *W = W_;
  for (int64_t j = 0; j < N; j += NR)
    pack_panel((pair *)panels + j * K, transposed ? W + j * ldw : W + j, ldw, transposed, K,
               least(NR, N - j));
}

static void panels(const ml_gemm_panels *t) {
  _Alignas(64) pair x[ROWS * PAIRS];
  const int64_t n1 = least(t->N, t->p1 * NR);
  block r = {.ldc = t->ldy, .alpha = 1};
  for (int64_t m0 = t->m0; m0 < t->m1; m0 += ROWS) {
    const int64_t m = least(ROWS, t->m1 - m0);
    int64_t k = 0;
    do {
      const int64_t kc = least(KC, t->K - k);
      const bool last = k + kc == t->K;
      pack_rows(x, (const float *)t->x + m0 * t->ldx + k, t->ldx, false, kc, m);
      r.steps = half(kc);
      r.add = t->add || k > 0;
      for (int64_t j = t->p0 * NR; j < n1; j += NR) {
        r.n = least(NR, n1 - j);
        r.bias = last && t->bias ? (const float *)t->bias + j : NULL;
        r.b = (const pair *)t->panels + j * t->K + k / 2 * NR;
        panel_rows(&r, x, (float *)t->y + m0 * t->ldy + j, m);
      }
      k += KC;
    } while (k < t->K);
  }
}

extern const ml_gemm_kernels ml_gemm_kernels_bf16;
const ml_gemm_kernels ml_gemm_kernels_bf16 = {.dtype = ML_F32,
                                              .rows = MR,
                                              .columns = NR,
                                              .tile_rows = ROWS,
                                              .tile = tile,
                                              .panels = panels,
                                              .pack = pack};

#endif
