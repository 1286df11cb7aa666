/* What the matrix product's files share: the sizes of a register block, and copies of A and B laid
 * out as the block reads them. */
#ifndef MOONLAB_GEMM_PACK_H
#define MOONLAB_GEMM_PACK_H

#include "base/simd.h"

#include <string.h>

#define L ML_LANES
#define NR (2 * L) /* columns of a register block, and of a packed panel */
#if ML_ISA_LEVEL == 2
#define MR 12
#elif ML_ISA_LEVEL == 1
#define MR 6
#else
#define MR 4
#endif
#define KC ML_GEMM_KC

#define INLINE static inline __attribute__((always_inline))

INLINE ml_vec load(const real *p) { return *(const ml_vecu *)p; }
INLINE void store(real *p, ml_vec v) { *(ml_vecu *)p = v; }
INLINE ml_vec splat(real x) { return x - (ml_vec){0}; }

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

#if ML_REAL_IS_F32
typedef int32_t lane;
#else
typedef int64_t lane;
#endif
typedef lane lanes __attribute__((vector_size(ML_VECTOR_BYTES)));

/* One step of the transposition of an L x L block in registers: swaps its off-diagonal h x h
 * blocks. */
INLINE void swap_blocks(ml_vec r[16], const int h) {
#if ML_VECTOR_BYTES / (4 + 4 * !ML_REAL_IS_F32) == 2
  const lanes iota = {0, 1};
#elif ML_VECTOR_BYTES / (4 + 4 * !ML_REAL_IS_F32) == 4
  const lanes iota = {0, 1, 2, 3};
#elif ML_VECTOR_BYTES / (4 + 4 * !ML_REAL_IS_F32) == 8
  const lanes iota = {0, 1, 2, 3, 4, 5, 6, 7};
#else
  const lanes iota = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#endif
  const lanes low = (iota & ~h) + (iota & h) * (L / h), high = (iota | h) + (iota & h) * (L / h);
#pragma GCC unroll 16
  for (int i = 0; i < L; i++)
    if (!(i & h)) {
      ml_vec a = r[i], b = r[i + h];
      r[i] = __builtin_shuffle(a, b, low);
      r[i + h] = __builtin_shuffle(a, b, high);
    }
}

/* to[k * step + j] = from[j * ld + k] for k < L and j < n <= L; the lanes of j >= n are written
 * too, and are to be written again or unused. */
INLINE void transpose(real *to, int64_t step, const real *from, int64_t ld, const int n) {
  ml_vec r[16];
#pragma GCC unroll 16
  for (int j = 0; j < L; j++)
    r[j] = j < n ? load(from + j * ld) : (ml_vec){0};
  if (L > 8)
    swap_blocks(r, 8);
  if (L > 4)
    swap_blocks(r, 4);
  if (L > 2)
    swap_blocks(r, 2);
  swap_blocks(r, 1);
#pragma GCC unroll 16
  for (int k = 0; k < L; k++)
    store(to + k * step, r[k]);
}

/* A panel [kc][NR] of op(B), zero beyond n columns; B points at its first element. */
static void pack_panel(real *restrict to, const real *restrict B, int64_t ldb, bool transposed,
                       int64_t kc, int n) {
  if (n < NR)
    memset(to, 0, (size_t)(kc * NR) * sizeof(real));
  if (!transposed) {
    if (n == NR)
      for (int64_t k = 0; k < kc; k++) {
        store(to + k * NR, load(B + k * ldb));
        store(to + k * NR + L, load(B + k * ldb + L));
      }
    else
      for (int64_t k = 0; k < kc; k++)
        memcpy(to + k * NR, B + k * ldb, (size_t)n * sizeof(real));
    return;
  }
  int j = 0;
  for (; j + L <= n; j += L) {
    int64_t k = 0;
    for (; k + L <= kc; k += L)
      transpose(to + k * NR + j, NR, B + j * ldb + k, ldb, L);
    for (; k < kc; k++)
      for (int l = 0; l < L; l++)
        to[k * NR + j + l] = B[(j + l) * ldb + k];
  }
  for (; j < n; j++)
    for (int64_t k = 0; k < kc; k++)
      to[k * NR + j] = B[j * ldb + k];
}

/* Panels [kc][MR] of A^T: element (i, k) is A[k * lda + i]. Eight k at a time keep the lines of A
 * in L1. */
static void pack_rows(real *restrict to, const real *restrict A, int64_t lda, int64_t kc,
                      int64_t m) {
  for (int64_t k0 = 0; k0 < kc; k0 += 8) {
    int64_t k1 = k0 + 8 < kc ? k0 + 8 : kc, i = 0;
    for (; i + MR <= m; i += MR)
      for (int64_t k = k0; k < k1; k++)
        memcpy(to + i * kc + k * MR, A + k * lda + i, MR * sizeof(real));
    if (i < m)
      for (int64_t k = k0; k < k1; k++)
        memcpy(to + i * kc + k * MR, A + k * lda + i, (size_t)(m - i) * sizeof(real));
  }
}

/* The same panels of A as it lies: element (i, k) is A[i * lda + k]. Writes up to L elements beyond
 * the end. */
static void pack_lines(real *restrict to, const real *restrict A, int64_t lda, int64_t kc,
                       int64_t m) {
  for (int64_t i = 0; i < m; i += MR, to += kc * MR, A += MR * lda) {
    int64_t k = 0;
    if (i + MR <= m)
      for (; k + L <= kc; k += L) {
        if (MR < L) {
          transpose(to + k * MR, MR, A + k, lda, MR < L ? MR : L);
        } else if (MR % L == 0) {
#pragma GCC unroll 4
          for (int j = 0; j < MR; j += L)
            transpose(to + k * MR + j, MR, A + j * lda + k, lda, L);
        } else {
          real pair[2 * L * L];
          transpose(pair, 2 * L, A + k, lda, L);
          transpose(pair + L, 2 * L, A + L * lda + k, lda, MR > L ? MR - L : L);
#pragma GCC unroll 16
          for (int q = 0; q < L; q++) {
            store(to + (k + q) * MR, load(pair + q * 2 * L));
            store(to + (k + q) * MR + L, load(pair + q * 2 * L + L));
          }
        }
      }
    const int64_t n = least(MR, m - i);
    for (; k < kc; k++)
      for (int64_t j = 0; j < n; j++)
        to[k * MR + j] = A[j * lda + k];
  }
}

#endif
