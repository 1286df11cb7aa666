/* Hot loops of the tensor room: one prototype per dtype and instruction set, and the table that
 * picks them. */
#ifndef MOONLAB_TENSOR_KERNELS_H
#define MOONLAB_TENSOR_KERNELS_H

#include "tensor.h"

/* Strides count elements; `p` arrays hold the operands, out first. [any thread] */
#define ML_TENSOR_KERNELS(X, S)                                                                    \
  /* dst[r*ldd + c] = src[c*lds + r]; elements of the width of real, of any type */                \
  X(S, transpose,                                                                                  \
    (void *dst, int64_t ldd, const void *src, int64_t lds, int64_t rows, int64_t cols))            \
  X(S, copy, (void *dst, int64_t ds, const void *src, int64_t ss, int64_t n))                      \
  /* f32 to f64 in the f64 variant, f64 to f32 in the f32 variant */                               \
  X(S, convert, (void *dst, int64_t ds, const void *src, int64_t ss, int64_t n))

#define ML_KERNEL_PROTOTYPE(S, name, args) void ml_tensor_k_##name##_##S args;
#define ML_KERNEL_MEMBER(S, name, args) void(*name) args;
ML_TENSOR_KERNELS(ML_KERNEL_PROTOTYPE, f32_portable)
ML_TENSOR_KERNELS(ML_KERNEL_PROTOTYPE, f64_portable)
#if defined(__x86_64__)
ML_TENSOR_KERNELS(ML_KERNEL_PROTOTYPE, f32_avx2)
ML_TENSOR_KERNELS(ML_KERNEL_PROTOTYPE, f64_avx2)
ML_TENSOR_KERNELS(ML_KERNEL_PROTOTYPE, f32_avx512)
ML_TENSOR_KERNELS(ML_KERNEL_PROTOTYPE, f64_avx512)
#endif

typedef struct {
  ML_TENSOR_KERNELS(ML_KERNEL_MEMBER, )
} ml_tensor_kernels;

/* For ML_F64 and ML_F32. */
const ml_tensor_kernels *ml_kernels(ml_dtype dtype);

#endif
