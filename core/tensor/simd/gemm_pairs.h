/* Copies of f32 factors as pairs of bf16, one 32-bit lane each, for the kernels that multiply bf16
 * (gemm_bf16.c, gemm_amx.c). Zero stands where K has no partner. */
#ifndef MOONLAB_GEMM_PAIRS_H
#define MOONLAB_GEMM_PAIRS_H

#include "tensor/gemm.h"

#define L 16
#define NR 32 /* columns of a panel */
#define KC ML_GEMM_KC
#define INLINE static inline __attribute__((always_inline))

typedef uint32_t pair;
typedef pair pairs __attribute__((vector_size(64), may_alias));

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t half(int64_t k) { return (k + 1) / 2; }

/* 32 consecutive numbers, of which n exist, as 16 pairs. */
INLINE __m512i pairs_along(const float *p, int64_t n) {
  __m512 low, high;
  if (n >= 32) {
    low = _mm512_loadu_ps(p), high = _mm512_loadu_ps(p + 16);
  } else {
    const __mmask32 m = n <= 0 ? 0 : (__mmask32)((1ull << n) - 1);
    low = _mm512_maskz_loadu_ps((__mmask16)m, p);
    high = _mm512_maskz_loadu_ps((__mmask16)(m >> 16), n > 16 ? p + 16 : p);
  }
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* Pairs (a[j], b[j]) of two rows. */
INLINE __m512i pairs_across(__m512 a, __m512 b) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

INLINE __mmask16 mask(int64_t n) {
  return (__mmask16)(n >= 16 ? 0xffff : n <= 0 ? 0 : (1u << n) - 1);
}

/* to[k/2 * step + j] = (from[k * ld + j], from[(k + 1) * ld + j]) for k < kc, j < n <= step; lanes
 * up to the next 16 columns are written as zero. */
INLINE void copy_across(pair *to, int64_t step, const float *from, int64_t ld, int64_t kc,
                        int64_t n) {
  for (int64_t j = 0; j < step; j += L) {
    const __mmask16 m = mask(n - j), room = mask(step - j);
    const float *f = m ? from + j : from;
    pair *t = to + j;
    int64_t k = 0;
    for (; k + 2 <= kc; k += 2, t += step)
      _mm512_mask_storeu_epi32(t, room,
                               pairs_across(_mm512_maskz_loadu_ps(m, f + k * ld),
                                            _mm512_maskz_loadu_ps(m, f + (k + 1) * ld)));
    if (k < kc)
      _mm512_mask_storeu_epi32(
          t, room, pairs_across(_mm512_maskz_loadu_ps(m, f + k * ld), _mm512_setzero_ps()));
  }
}

/* One step of the transposition of 16 x 16 pairs: swaps the off-diagonal h x h blocks. */
INLINE void swap_blocks(pairs r[16], const int h) {
  const pairs iota = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const pairs hh = iota & (pair)h;
  const pairs low = (iota & ~(pair)h) + hh * (pair)(L / h),
              high = (iota | (pair)h) + hh * (pair)(L / h);
#pragma GCC unroll 16
  for (int i = 0; i < L; i++)
    if (!(i & h)) {
      const pairs a = r[i], b = r[i + h];
      r[i] = __builtin_shuffle(a, b, low);
      r[i + h] = __builtin_shuffle(a, b, high);
    }
}

INLINE void transpose(pairs r[16]) {
  swap_blocks(r, 8);
  swap_blocks(r, 4);
  swap_blocks(r, 2);
  swap_blocks(r, 1);
}

/* to[k/2 * step + j] = (from[j * ld + k], from[j * ld + k + 1]) for k < kc, j < n <= 16; lanes of j
 * >= n up to room are written as zero. */
INLINE void copy_along(pair *to, int64_t step, const float *from, int64_t ld, int64_t kc, int64_t n,
                       int64_t room) {
  const __mmask16 m = mask(room);
  for (int64_t k = 0; k < kc; k += 2 * L) {
    pairs r[16];
#pragma GCC unroll 16
    for (int j = 0; j < L; j++)
      r[j] = j < n ? (pairs)pairs_along(from + j * ld + k, kc - k) : (pairs){0};
    transpose(r);
    const int64_t rows = least(L, half(kc - k));
#pragma GCC unroll 16
    for (int q = 0; q < L; q++)
      if (q < rows)
        _mm512_mask_storeu_epi32(to + (k / 2 + q) * step, m, (__m512i)r[q]);
  }
}

/* A panel [half(kc)][NR] of op(B), zero beyond n columns; B points at its first element. */
INLINE void pack_panel(pair *to, const float *B, int64_t ldb, bool transposed, int64_t kc,
                       int64_t n) {
  if (!transposed) {
    copy_across(to, NR, B, ldb, kc, n);
    return;
  }
  copy_along(to, NR, B, ldb, kc, least(L, n), L);
  copy_along(to + L, NR, n > L ? B + L * ldb : B, ldb, kc, n - L, L);
}

#endif
