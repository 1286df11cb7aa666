/* Picks the hot loops of a dtype for the instruction set of this machine. */
#include "kernels.h"

const ml_sketch_table *ml_sketch_table_of(ml_dtype dtype) {
#if defined(__x86_64__)
  static const ml_sketch_table *const table[3][2] = {
      [ML_ISA_PORTABLE] = {&ml_sketch_table_f64_portable, &ml_sketch_table_f32_portable},
      [ML_ISA_AVX2] = {&ml_sketch_table_f64_avx2, &ml_sketch_table_f32_avx2},
      [ML_ISA_AVX512] = {&ml_sketch_table_f64_avx512, &ml_sketch_table_f32_avx512},
  };
  return table[ml_cpu_isa()][dtype == ML_F32];
#else
  return dtype == ML_F32 ? &ml_sketch_table_f32_portable : &ml_sketch_table_f64_portable;
#endif
}
