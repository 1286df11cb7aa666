/* Dropout: the mask is drawn by Philox4x32-10 (Salmon et al. 2011) as it is applied, several
 * counters side by side. */
#include "base/simd.h"
#include "nn/kernels.h"

#define BLOCKS 16 /* Philox blocks side by side: 64 elements */

static void words(uint32_t out[4 * BLOCKS], uint64_t key, uint64_t counter) {
  uint32_t c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS];
  for (int b = 0; b < BLOCKS; b++) {
    uint64_t c = counter + (uint64_t)b;
    c0[b] = (uint32_t)c;
    c1[b] = (uint32_t)(c >> 32);
    c2[b] = c3[b] = 0;
  }
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  for (int round = 0; round < 10; round++) {
    for (int b = 0; b < BLOCKS; b++) {
      uint64_t p0 = (uint64_t)0xD2511F53u * c0[b], p1 = (uint64_t)0xCD9E8D57u * c2[b];
      c0[b] = (uint32_t)(p1 >> 32) ^ c1[b] ^ k0;
      c1[b] = (uint32_t)p1;
      c2[b] = (uint32_t)(p0 >> 32) ^ c3[b] ^ k1;
      c3[b] = (uint32_t)p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int b = 0; b < BLOCKS; b++) {
    out[4 * b] = c0[b];
    out[4 * b + 1] = c1[b];
    out[4 * b + 2] = c2[b];
    out[4 * b + 3] = c3[b];
  }
}

static void apply(int64_t first, int64_t n, uint64_t key, uint64_t counter, uint64_t threshold,
                  double scale, const void *x_, void *y_, bool add) {
  const real *restrict x = x_;
  real *restrict y = y_;
  const real s = (real)scale;
  uint32_t word[4 * BLOCKS];
  for (int64_t i = 0; i < n; i += 4 * BLOCKS) {
    words(word, key, counter + (uint64_t)((first + i) / 4));
    int64_t m = n - i < 4 * BLOCKS ? n - i : 4 * BLOCKS;
    if (add)
      for (int64_t j = 0; j < m; j++)
        y[i + j] += word[j] < threshold ? 0 : s * x[i + j];
    else
      for (int64_t j = 0; j < m; j++)
        y[i + j] = word[j] < threshold ? 0 : s * x[i + j];
  }
}

const ml_nn_dropout_kernels ML_FN(nn_dropout) = {apply};
