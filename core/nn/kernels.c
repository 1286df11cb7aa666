/* Picks the hot loops of a dtype for the instruction set of this machine. */
#include "kernels.h"

#if defined(__x86_64__)
#define PICK(type, name)                                                                           \
  const type *ml_##name(ml_dtype dtype) {                                                          \
    static const type *const table[3][2] = {                                                       \
        [ML_ISA_PORTABLE] = {&ml_##name##_f64_portable, &ml_##name##_f32_portable},                \
        [ML_ISA_AVX2] = {&ml_##name##_f64_avx2, &ml_##name##_f32_avx2},                            \
        [ML_ISA_AVX512] = {&ml_##name##_f64_avx512, &ml_##name##_f32_avx512},                      \
    };                                                                                             \
    return table[ml_cpu_isa()][dtype == ML_F32];                                                   \
  }
#else
#define PICK(type, name)                                                                           \
  const type *ml_##name(ml_dtype dtype) {                                                          \
    return dtype == ML_F32 ? &ml_##name##_f32_portable : &ml_##name##_f64_portable;                \
  }
#endif
ML_NN_TABLES(PICK)
