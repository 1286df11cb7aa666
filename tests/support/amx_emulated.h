/* The kernels of core/tensor/simd/gemm_amx.c on processors without matrix units: the operations on
 * tiles written out as Intel's manual defines TDPBF16PS (vol. 2, 2023). For processors with
 * AVX512-BF16. */
#ifndef AMX_EMULATED_H
#define AMX_EMULATED_H

#include <string.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw,avx512bf16")

static _Thread_local uint32_t emulated_tiles[8][16][16];

static float emulated_half(uint32_t bits) {
  bits <<= 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static void emulated_load(int t, const void *from, int64_t step) {
  for (int r = 0; r < 16; r++)
    memcpy(emulated_tiles[t][r], (const uint32_t *)from + r * step, 64);
}

static void emulated_store(int t, void *to, int64_t step) {
  for (int r = 0; r < 16; r++)
    memcpy((uint32_t *)to + r * step, emulated_tiles[t][r], 64);
}

static void emulated_dot(int c, int a, int b) {
  for (int m = 0; m < 16; m++) {
    float even[16] = {0}, odd[16] = {0}, sum[16];
    for (int k = 0; k < 16; k++) {
      const uint32_t x = emulated_tiles[a][m][k];
      for (int n = 0; n < 16; n++) {
        const uint32_t y = emulated_tiles[b][k][n];
        even[n] = __builtin_fmaf(emulated_half(x), emulated_half(y), even[n]);
        odd[n] = __builtin_fmaf(emulated_half(x >> 16), emulated_half(y >> 16), odd[n]);
      }
    }
    memcpy(sum, emulated_tiles[c][m], sizeof sum);
    for (int n = 0; n < 16; n++)
      sum[n] += even[n] + odd[n];
    memcpy(emulated_tiles[c][m], sum, sizeof sum);
  }
}

#define ML_AMX_EMULATED
#define TILE_ZERO(c) memset(emulated_tiles[c], 0, sizeof emulated_tiles[c])
#define TILE_LOAD emulated_load
#define TILE_STORE emulated_store
#define TILE_DOT emulated_dot
#define TILE_BEGIN memset(emulated_tiles, 0xff, sizeof emulated_tiles)
#define TILE_END memset(emulated_tiles, 0xff, sizeof emulated_tiles)
#undef ML_ISA_LEVEL
#define ML_ISA_LEVEL 2
#define ML_REAL_f32
#define ML_SUFFIX f32_avx512
#define ml_gemm_kernels_amx_medium amx_emulated_medium
#define ml_gemm_kernels_amx_high amx_emulated_high
#include "tensor/simd/gemm_amx.c"
#undef ml_gemm_kernels_amx_medium
#undef ml_gemm_kernels_amx_high

#pragma GCC pop_options

#endif
