/* The table of hot loops: instruction set by dtype. */
#include "kernels.h"

#define ENTRY(S, name, args) .name = ml_tensor_k_##name##_##S,
#define ROW(isa)                                                                                   \
  {                                                                                                \
    {ML_TENSOR_KERNELS(ENTRY, f64_##isa)}, { ML_TENSOR_KERNELS(ENTRY, f32_##isa) }                 \
  }

static const ml_tensor_kernels table[][2] = {
    ROW(portable),
#if defined(__x86_64__)
    ROW(avx2),
    ROW(avx512),
#endif
};

const ml_tensor_kernels *ml_kernels(ml_dtype dtype) {
  return &table[ml_cpu_isa()][dtype == ML_F32];
}
