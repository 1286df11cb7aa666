/* The table of hot loops: instruction set by dtype. */
#include "kernels.h"

#define ENTRY(S, name, args) .name = ml_grad_k_##name##_##S,
#define ROW(isa)                                                                                   \
  {                                                                                                \
    {ML_GRAD_KERNELS(ENTRY, f64_##isa)}, { ML_GRAD_KERNELS(ENTRY, f32_##isa) }                     \
  }

static const ml_grad_kernels table[][2] = {
    ROW(portable),
#if defined(__x86_64__)
    ROW(avx2),
    ROW(avx512),
#endif
};

const ml_grad_kernels *ml_grad_kernels_of(ml_dtype dtype) {
  return &table[ml_cpu_isa()][dtype == ML_F32];
}
