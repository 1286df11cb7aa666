/* Hot loops of the grad room: one prototype per dtype and instruction set, and the table that picks
 * them. */
#ifndef MOONLAB_GRAD_KERNELS_H
#define MOONLAB_GRAD_KERNELS_H

#include "tensor/tensor.h"

/* [any thread] */
#define ML_GRAD_KERNELS(X, S)                                                                      \
  /* dx = dy f'(x) over n elements, f' written in terms of y = f(x) */                             \
  X(S, from_output, (ml_unary_op op, int64_t n, const void *y, const void *dy, void *dx))          \
  /* product over n elements: dx[i] = dy * product of the others */                                \
  X(S, product_row, (int64_t n, const void *x, const void *dy, void *dx))

#define ML_GRAD_PROTOTYPE(S, name, args) void ml_grad_k_##name##_##S args;
#define ML_GRAD_MEMBER(S, name, args) void(*name) args;
ML_GRAD_KERNELS(ML_GRAD_PROTOTYPE, f32_portable)
ML_GRAD_KERNELS(ML_GRAD_PROTOTYPE, f64_portable)
#if defined(__x86_64__)
ML_GRAD_KERNELS(ML_GRAD_PROTOTYPE, f32_avx2)
ML_GRAD_KERNELS(ML_GRAD_PROTOTYPE, f64_avx2)
ML_GRAD_KERNELS(ML_GRAD_PROTOTYPE, f32_avx512)
ML_GRAD_KERNELS(ML_GRAD_PROTOTYPE, f64_avx512)
#endif

typedef struct {
  ML_GRAD_KERNELS(ML_GRAD_MEMBER, )
} ml_grad_kernels;

/* For ML_F64 and ML_F32. */
const ml_grad_kernels *ml_grad_kernels_of(ml_dtype dtype);

#endif
