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
  X(S, convert, (void *dst, int64_t ds, const void *src, int64_t ss, int64_t n))                   \
  /* elements of the width of real, of any type; cond u8 */                                        \
  X(S, select,                                                                                     \
    (void *out, const uint8_t *cond, int64_t sc, const void *a, int64_t sa, const void *b,         \
     int64_t sb, int64_t n))                                                                       \
  /* ML_ADD .. ML_ATAN2; out may be a or b */                                                      \
  X(S, binary,                                                                                     \
    (ml_binary_op op, void *out, int64_t so, const void *a, int64_t sa, const void *b, int64_t sb, \
     int64_t n))                                                                                   \
  /* ML_LT .. ML_NE */                                                                             \
  X(S, compare,                                                                                    \
    (ml_binary_op op, uint8_t * out, const void *a, int64_t sa, const void *b, int64_t sb,         \
     int64_t n))                                                                                   \
  /* out dense; u8 for ML_ISNAN .. ML_ISFINITE */                                                  \
  X(S, unary, (ml_unary_op op, void *out, const void *x, int64_t sx, int64_t n))                   \
  X(S, unary_grad,                                                                                 \
    (ml_unary_op op, void *dx, const void *x, int64_t sx, const void *dy, int64_t sy, int64_t n))  \
  X(S, clamp, (void *out, const void *x, int64_t sx, double lo, double hi, int64_t n))             \
  X(S, axpy, (void *y, int64_t sy, double alpha, const void *x, int64_t sx, int64_t n))            \
  /* Dense rows: state[2*row], and for ML_LOGSUMEXP the sum of exp(x - state[2*row]) after it. Of  \
   * ML_SUM, ML_PROD, ML_MAX, ML_MIN, ML_SUMSQ of x - center[row] (NULL: of x), ML_LOGSUMEXP. */   \
  X(S, reduce_rows,                                                                                \
    (ml_reduce_op op, double *state, const void *x, int64_t row_stride, int64_t rows, int64_t n,   \
     const double *center))                                                                        \
  /* Down the rows of at most ML_COLUMN_TILE dense columns: state[2*col]. */                       \
  X(S, reduce_columns,                                                                             \
    (ml_reduce_op op, double *state, const void *x, int64_t row_stride, int64_t rows,              \
     int64_t columns, const double *center))                                                       \
  X(S, arg_rows,                                                                                   \
    (bool max, int64_t *out, const void *x, int64_t row_stride, int64_t rows, int64_t n))          \
  X(S, arg_columns,                                                                                \
    (bool max, int64_t *out, const void *x, int64_t row_stride, int64_t rows, int64_t columns))    \
  /* Dense [rows, n, columns], along n. */                                                         \
  X(S, cumsum, (void *out, const void *x, int64_t rows, int64_t n, int64_t columns))               \
  X(S, softmax_rows, (void *y, const void *x, int64_t rows, int64_t n, bool log, bool stream))     \
  X(S, softmax_grad_rows,                                                                          \
    (void *dx, const void *y, const void *dy, int64_t rows, int64_t n, bool log, bool stream))     \
  /* Down the n rows, `stride` apart, of at most ML_COLUMN_TILE columns. */                        \
  X(S, softmax_columns,                                                                            \
    (void *y, const void *x, int64_t stride, int64_t n, int64_t columns, bool log))                \
  X(S, softmax_grad_columns,                                                                       \
    (void *dx, const void *y, const void *dy, int64_t stride, int64_t n, int64_t columns,          \
     bool log))

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

/* Elements of a block on the stack into which hot loops copy strided input. */
#define ML_KERNEL_BLOCK 256
/* Columns that one pass down the rows takes. */
#define ML_COLUMN_TILE 512

/* For ML_F64 and ML_F32. */
const ml_tensor_kernels *ml_kernels(ml_dtype dtype);

#endif
