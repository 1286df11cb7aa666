/* Picks the hot loops of a dtype for the instruction set of this machine. */
#include "kernels.h"

#define ROW(isa)                                                                                   \
  { &ml_plrf_table_f64_##isa, &ml_plrf_table_f32_##isa }

const ml_plrf_kernels *ml_plrf_kernels_of(ml_dtype dtype) {
  static const ml_plrf_kernels *const table[][2] = {
    [ML_ISA_PORTABLE] = ROW(portable),
#if defined(__x86_64__)
    [ML_ISA_AVX2] = ROW(avx2),
    [ML_ISA_AVX512] = ROW(avx512),
#endif
  };
  return table[ml_cpu_isa()][dtype == ML_F32];
}
