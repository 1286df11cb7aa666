/* Tensor room: counted storage, views, and the operations on them that know nothing of gradients.
 *
 * Convention of every operation: `out` points to an empty tensor ({0}); on success it holds the
 * result, on failure it is still empty. Inputs may be any views (any strides, broadcast included).
 * Functions named `_into` write to a tensor that exists, and bump its storage's version.
 * In C axes and positions count from 0; the bindings translate.
 *
 * Statuses, of all alike: ML_ESHAPE for shapes that do not go together, ML_EDTYPE for a dtype that
 * the operation does not take or that differs from the other's, ML_EARG for an axis, position or
 * number out of its range, ML_ENOMEM, ML_ECANCELLED from long ones. What else there is stands at
 * the function. */
#ifndef MOONLAB_TENSOR_H
#define MOONLAB_TENSOR_H

#include "base/base.h"

#define ML_MAX_RANK 8

/* index is int64 */
typedef enum { ML_F64 = 0, ML_F32 = 1, ML_INDEX = 2, ML_U8 = 3, ML_DTYPE_COUNT } ml_dtype;

ML_API size_t ml_dtype_size(ml_dtype dtype);
ML_API const char *ml_dtype_name(ml_dtype dtype); /* "f64" "f32" "index" "u8" */
ML_API bool ml_dtype_parse(ml_dtype *dtype, const char *name);
static inline bool ml_is_real(ml_dtype dtype) { return dtype == ML_F64 || dtype == ML_F32; }

typedef struct {
  int rank; /* 0: a scalar */
  int64_t size[ML_MAX_RANK];
} ml_shape;

typedef struct {
  int64_t refs;
  uint64_t version; /* bumped by every change in place */
  void *data;       /* a block, or foreign memory */
  size_t bytes;
} ml_storage;

struct ml_node; /* grad's; opaque here */

/* A view on a storage. Lives with its owner (a userdata, a C frame); {0} is the empty (released)
 * tensor. */
typedef struct ml_tensor {
  ml_storage *storage;  /* counted */
  struct ml_node *node; /* counted through ml_node_hooks; NULL off the tape */
  int node_output;      /* which output of node */
  ml_dtype dtype;
  int rank;
  int64_t offset; /* elements */
  int64_t size[ML_MAX_RANK];
  int64_t stride[ML_MAX_RANK]; /* elements; 0 on broadcast axes */
} ml_tensor;

/* grad registers these once, so that copying and clearing a tensor counts its node. */
typedef struct {
  void (*retain)(struct ml_node *node);
  void (*release)(struct ml_node *node);
} ml_node_hooks;
ML_API void ml_tensor_set_node_hooks(const ml_node_hooks *hooks);

/* ---- life ------------------------------------------------------------------------------------ */

/* not filled */
ML_API ml_status ml_tensor_init(ml_tensor *out, ml_dtype dtype, const ml_shape *shape,
                                ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_init_zeros(ml_tensor *out, ml_dtype dtype, const ml_shape *shape,
                                      ml_error *err) ML_MUST_CHECK;
ML_API void ml_tensor_clear(ml_tensor *t); /* idempotent */
/* same storage and node, both counted */
ML_API void ml_tensor_alias(ml_tensor *out, const ml_tensor *t);
ML_API void ml_tensor_detach(ml_tensor *out, const ml_tensor *t); /* same storage, no node */
ML_API void ml_tensor_move(ml_tensor *out, ml_tensor *t);         /* t becomes empty */
static inline bool ml_tensor_empty(const ml_tensor *t) { return t->storage == NULL; }

ML_API int64_t ml_numel(const ml_tensor *t);
ML_API ml_shape ml_shape_of(const ml_tensor *t);
ML_API int64_t ml_shape_numel(const ml_shape *shape); /* -1 on overflow */
ML_API bool ml_shape_equal(const ml_shape *a, const ml_shape *b);
ML_API ml_shape ml_shape_make(int rank, ...); /* int64_t each */
ML_API bool ml_is_contiguous(const ml_tensor *t);
ML_API void *ml_data(const ml_tensor *t); /* first element */
#define ML_DATA(type, t) ((type *)ml_data(t))
static inline void ml_touch(ml_tensor *t) { t->storage->version++; } /* after a change in place */

/* "f64 [3x4]" into buf; returns buf. Short enough for ml_error. */
#define ML_DESCRIBE 96
ML_API const char *ml_describe(char buf[ML_DESCRIBE], const ml_tensor *t);
ML_API const char *ml_describe_shape(char buf[ML_DESCRIBE], const ml_shape *shape); /* "[3x4]" */

/* A contiguous tensor with t's values: t itself (aliased, node dropped) when it already is. */
ML_API ml_status ml_tensor_contiguous(ml_tensor *out, const ml_tensor *t,
                                      ml_error *err) ML_MUST_CHECK;
/* always a copy */
ML_API ml_status ml_tensor_clone(ml_tensor *out, const ml_tensor *t, ml_error *err) ML_MUST_CHECK;
/* An alias when the dtype is the same. To index: whole numbers >= 0 (stored values); to u8: 0 to
 * 255, fractions cut off; else ML_EARG. */
ML_API ml_status ml_tensor_cast(ml_tensor *out, const ml_tensor *t, ml_dtype dtype,
                                ml_error *err) ML_MUST_CHECK;
/* As cast, with index values crossing to and from numbers as Lua reads them: the stored position
 * + 1. */
ML_API ml_status ml_tensor_cast_one_based(ml_tensor *out, const ml_tensor *t, ml_dtype dtype,
                                          ml_error *err) ML_MUST_CHECK;
/* broadcasts src, same dtype */
ML_API ml_status ml_tensor_copy_into(ml_tensor *dst, const ml_tensor *src,
                                     ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_fill_into(ml_tensor *dst, double value, ml_error *err) ML_MUST_CHECK;
ML_API double ml_tensor_get(const ml_tensor *t, const int64_t *position); /* any dtype as double */
/* one element */
ML_API ml_status ml_tensor_item(double *value, const ml_tensor *t, ml_error *err) ML_MUST_CHECK;

/* ---- views (share storage; out has no node) -------------------------------------------------- */

/* one size may be -1; copies when strides demand it */
ML_API ml_status ml_view_reshape(ml_tensor *out, const ml_tensor *t, const ml_shape *shape,
                                 ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_view_permute(ml_tensor *out, const ml_tensor *t, const int *axes,
                                 ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_view_transpose(ml_tensor *out, const ml_tensor *t, int a, int b,
                                   ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_view_broadcast(ml_tensor *out, const ml_tensor *t, const ml_shape *shape,
                                   ml_error *err) ML_MUST_CHECK;
/* start, count, step per axis (step may be negative); drop removes the axis (count must be 1). */
typedef struct {
  int64_t start, count, step;
  bool drop;
} ml_slice;
ML_API ml_status ml_view_slice(ml_tensor *out, const ml_tensor *t, const ml_slice *slices, int n,
                               ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_view_narrow(ml_tensor *out, const ml_tensor *t, int axis, int64_t start,
                                int64_t count, ml_error *err) ML_MUST_CHECK;
/* axis -1: all of size 1 */
ML_API ml_status ml_view_squeeze(ml_tensor *out, const ml_tensor *t, int axis,
                                 ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_view_unsqueeze(ml_tensor *out, const ml_tensor *t, int axis,
                                   ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_broadcast_shape(ml_shape *out, const ml_shape *a, const ml_shape *b,
                                    ml_error *err) ML_MUST_CHECK;

/* ---- elementwise ----------------------------------------------------------------------------- */

/* clang-format off */
typedef enum {
  ML_ADD, ML_SUB, ML_MUL, ML_DIV, ML_POW, ML_MAXIMUM, ML_MINIMUM, ML_ATAN2,
  ML_LT, ML_LE, ML_GT, ML_GE, ML_EQ, ML_NE,       /* out is u8; index and u8 inputs too */
  ML_AND, ML_OR, ML_XOR,                          /* u8 */
  ML_BINARY_COUNT
} ml_binary_op;

typedef enum {
  ML_NEG, ML_ABS, ML_SIGN, ML_SQUARE, ML_SQRT, ML_RSQRT, ML_RECIPROCAL,
  ML_EXP, ML_EXPM1, ML_LOG, ML_LOG1P, ML_LOG2, ML_SIN, ML_COS, ML_TAN, ML_ASIN, ML_ACOS, ML_ATAN,
  ML_SINH, ML_COSH, ML_TANH, ML_ERF, ML_ERFC, ML_SIGMOID,
  ML_SOFTPLUS, ML_RELU, ML_RELU2, ML_SILU, ML_GELU_TANH, ML_GELU_ERF, ML_FLOOR, ML_CEIL, ML_ROUND,
  ML_ISNAN, ML_ISINF, ML_ISFINITE, ML_NOT,        /* out is u8 */
  ML_UNARY_COUNT
} ml_unary_op;
/* clang-format on */

ML_API const char *ml_binary_name(ml_binary_op op);
ML_API const char *ml_unary_name(ml_unary_op op);
/* Broadcast by NumPy's rule; dtypes must agree. */
ML_API ml_status ml_tensor_binary(ml_tensor *out, ml_binary_op op, const ml_tensor *a,
                                  const ml_tensor *b, ml_error *err) ML_MUST_CHECK;
/* A number takes the tensor's dtype. reverse: number op t. For index dtype and comparisons the
 * number is the stored (0-based) value. */
ML_API ml_status ml_tensor_binary_number(ml_tensor *out, ml_binary_op op, const ml_tensor *t,
                                         double number, bool reverse, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_unary(ml_tensor *out, ml_unary_op op, const ml_tensor *t,
                                 ml_error *err) ML_MUST_CHECK;
/* dx = dy * f'(x), in one pass; for the smooth ones of the list. NULL-safe on op: ML_EARG when f
 * has no derivative rule. */
ML_API ml_status ml_tensor_unary_grad(ml_tensor *dx, ml_unary_op op, const ml_tensor *x,
                                      const ml_tensor *dy, ml_error *err) ML_MUST_CHECK;
/* dst op= src, broadcast src to dst; ML_ADD, ML_SUB, ML_MUL, ML_DIV */
ML_API ml_status ml_tensor_binary_into(ml_tensor *dst, ml_binary_op op, const ml_tensor *src,
                                       ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_binary_number_into(ml_tensor *dst, ml_binary_op op, double number,
                                              ml_error *err) ML_MUST_CHECK;
/* dst += alpha * src, same shape */
ML_API ml_status ml_tensor_axpy_into(ml_tensor *dst, double alpha, const ml_tensor *src,
                                     ml_error *err) ML_MUST_CHECK;
/* cond u8 */
ML_API ml_status ml_tensor_where(ml_tensor *out, const ml_tensor *cond, const ml_tensor *a,
                                 const ml_tensor *b, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_clamp(ml_tensor *out, const ml_tensor *t, double lo, double hi,
                                 ml_error *err) ML_MUST_CHECK;

/* ---- reductions ------------------------------------------------------------------------------ */

/* Sums run in fixed chunks (determinism); f32 accumulates in wider or blocked sums. axes: bit mask,
 * 0 = all. */
/* clang-format off */
typedef enum {
  ML_SUM, ML_MEAN, ML_PROD, ML_MAX, ML_MIN, ML_LOGSUMEXP, ML_NORM, ML_SUMSQ, ML_ANY, ML_ALL,
  ML_REDUCE_COUNT
} ml_reduce_op;
/* clang-format on */
/* out has t's dtype, with these exceptions: ML_ANY and ML_ALL give u8, other reductions of u8 but
 * ML_MAX and ML_MIN give f64 (so that counts are exact). index takes ML_MAX and ML_MIN only
 * (ML_EDTYPE). NaN propagates. Of no elements: the identity (mean: NaN, logsumexp: -inf), ML_EARG
 * for ML_MAX and ML_MIN unless the result is empty too. */
ML_API ml_status ml_tensor_reduce(ml_tensor *out, ml_reduce_op op, const ml_tensor *t,
                                  unsigned axes, bool keepdims, ml_error *err) ML_MUST_CHECK;
/* NaN or inf, as NumPy has it, when ddof leaves no degrees of freedom. */
/* two passes */
ML_API ml_status ml_tensor_var(ml_tensor *out, const ml_tensor *t, unsigned axes, bool keepdims,
                               int ddof, ml_error *err) ML_MUST_CHECK;
/* index; the first of equals; NaN wins */
ML_API ml_status ml_tensor_arg(ml_tensor *out, bool max, const ml_tensor *t, int axis,
                               bool keepdims, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_cumsum(ml_tensor *out, const ml_tensor *t, int axis,
                                  ml_error *err) ML_MUST_CHECK;
/* sums t down to shape (undoes a broadcast) */
ML_API ml_status ml_tensor_sum_to(ml_tensor *out, const ml_tensor *t, const ml_shape *shape,
                                  ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_softmax(ml_tensor *out, const ml_tensor *t, int axis, bool log,
                                   ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_softmax_grad(ml_tensor *dx, const ml_tensor *y, const ml_tensor *dy,
                                        int axis, bool log, ml_error *err) ML_MUST_CHECK;

/* ---- order, gather, joining ------------------------------------------------------------------ */

/* values or indices may be NULL. NaN counts as the largest: last, or first with descending; topk
 * takes the first k of the descending order. */
/* stable */
ML_API ml_status ml_tensor_sort(ml_tensor *values, ml_tensor *indices, const ml_tensor *t, int axis,
                                bool descending, ml_error *err) ML_MUST_CHECK;
/* largest first; ties by position */
ML_API ml_status ml_tensor_topk(ml_tensor *values, ml_tensor *indices, const ml_tensor *t,
                                int64_t k, int axis, ml_error *err) ML_MUST_CHECK;
/* torch's gather: ids has t's rank, out[..i..] = t[..ids[..i..]..] along axis */
ML_API ml_status ml_tensor_gather(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids,
                                  int axis, ml_error *err) ML_MUST_CHECK;
/* out = t copied, then out[..ids..] = src (or += src when add); later writes win, in index order */
ML_API ml_status ml_tensor_scatter(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids,
                                   const ml_tensor *src, int axis, bool add,
                                   ml_error *err) ML_MUST_CHECK;
/* NumPy's take: axis is replaced by the axes of ids */
ML_API ml_status ml_tensor_index_select(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids,
                                        int axis, ml_error *err) ML_MUST_CHECK;
/* dst += src at rows ids along axis (the adjoint of index_select); deterministic */
ML_API ml_status ml_tensor_index_add_into(ml_tensor *dst, const ml_tensor *ids,
                                          const ml_tensor *src, int axis,
                                          ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_one_hot(ml_tensor *out, const ml_tensor *ids, int64_t classes,
                                   ml_dtype dtype, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_concat(ml_tensor *out, const ml_tensor *const *t, int n, int axis,
                                  ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_stack(ml_tensor *out, const ml_tensor *const *t, int n, int axis,
                                 ml_error *err) ML_MUST_CHECK;
/* the last two axes; keeps the triangle */
ML_API ml_status ml_tensor_tri(ml_tensor *out, const ml_tensor *t, int64_t diagonal, bool upper,
                               ml_error *err) ML_MUST_CHECK;
/* a copy, of the first min(rows, cols) for a matrix that is not square */
/* [n,n] -> [n] */
ML_API ml_status ml_tensor_diagonal(ml_tensor *out, const ml_tensor *t,
                                    ml_error *err) ML_MUST_CHECK;

/* ---- matrix products ------------------------------------------------------------------------- */

/* NumPy's matmul: vectors, matrices, batches with broadcasting. f64, f32. */
ML_API ml_status ml_tensor_matmul(ml_tensor *out, const ml_tensor *a, const ml_tensor *b,
                                  ml_error *err) ML_MUST_CHECK;

/* One invariant holds for all products below: an element of C is the sum over blocks of ML_GEMM_KC
 * consecutive k, each block one chain of multiply-adds from zero in the order of k, the blocks
 * added in order. So neither M, N, the position of an element, packing, tiling, nor the split of K
 * over tasks changes a bit. The exception is a matrix times a vector that runs along its rows (N =
 * 1 with A as it lies, M = 1 with B transposed): dot products over fixed lanes, chosen by shape.
 * ml_packed has no exception. */
#define ML_GEMM_KC 256

/* What f32 products may be computed in, in the words of torch.set_float32_matmul_precision: highest
 * f32; high factors as sums of two bf16 (relative error 2^-16 each; infinite ones can give NaN);
 * medium factors rounded to bf16 (relative error 2^-8 each, of numbers below 1e-38 zero); sums in
 * f32. Each only where that is faster than f32: high on matrix units, medium there and where bf16
 * instructions run at the rate of f32. ml_matmul_factors tells what it is here and now: "f32",
 * "bf16x2" or "bf16", and ml_matmul_rounds whether it is not f32. Products with a vector along the
 * rows stay f32; an ml_packed keeps what was set when it was packed. Set it between products
 * only. */
typedef enum { ML_PRECISION_HIGHEST, ML_PRECISION_HIGH, ML_PRECISION_MEDIUM } ml_precision;
ML_API void ml_set_matmul_precision(ml_precision precision);
ML_API ml_precision ml_matmul_precision(void);
ML_API const char *ml_matmul_factors(void);
ML_API bool ml_matmul_rounds(void);

/* C[M,N] = alpha op(A) op(B) + beta C, row-major, over the pool; tiles cut by shape and dtype only,
 * so the bytes of C do not depend on the number of threads. beta 0 never reads C. Polls for cancel
 * and then leaves C unfinished (the caller's next ML_POLL reports it). Inside a parallel region it
 * runs on the calling thread, with the same bytes. [any thread] */
ML_API void ml_gemm(ml_dtype dtype, bool ta, bool tb, int64_t M, int64_t N, int64_t K, double alpha,
                    const void *A, int64_t lda, const void *B, int64_t ldb, double beta, void *C,
                    int64_t ldc);

/* ml_gemm on the calling thread, with the same bytes. [any thread] */
ML_API void ml_gemm_serial(ml_dtype dtype, bool ta, bool tb, int64_t M, int64_t N, int64_t K,
                           double alpha, const void *A, int64_t lda, const void *B, int64_t ldb,
                           double beta, void *C, int64_t ldc);

/* op(B) [K,N] copied once for several products: ml_gemm_panel_size elements at panels, as
 * [panel][K][columns], zero beyond N; columns divides 64, so that the panels of columns c.. begin
 * at element c * K for every c that 64 divides. Over the pool. */
ML_API int64_t ml_gemm_panel_size(ml_dtype dtype, int64_t K, int64_t N);
ML_API void ml_gemm_pack(ml_dtype dtype, void *panels, bool transposed, int64_t K, int64_t N,
                         const void *B, int64_t ldb);
/* C = alpha op(A) B + beta C with B as panels, the bytes of ml_gemm (but for its dot products). */
ML_API void ml_gemm_by_panels(ml_dtype dtype, bool ta, int64_t M, int64_t N, int64_t K,
                              double alpha, const void *A, int64_t lda, const void *panels,
                              double beta, void *C, int64_t ldc);
/* The same on the calling thread. [any thread] */
ML_API void ml_gemm_by_panels_serial(ml_dtype dtype, bool ta, int64_t M, int64_t N, int64_t K,
                                     double alpha, const void *A, int64_t lda, const void *panels,
                                     double beta, void *C, int64_t ldc);

/* A row-independent product with a fixed order over K, for decoding: y[m,:] = x[m,:] W (+ bias),
 * where neither M, nor the thread count, nor the position of a row changes a bit of its result. W
 * is packed once. */
typedef struct ml_packed ml_packed;
/* transposed: W is [N,K] */
ML_API ml_status ml_packed_new(ml_packed **packed, ml_dtype dtype, bool transposed, int64_t K,
                               int64_t N, const void *W, int64_t ldw, ml_error *err) ML_MUST_CHECK;
ML_API void ml_packed_free(ml_packed *packed);
/* over the pool */
ML_API void ml_packed_matmul(const ml_packed *W, int64_t M, const void *x, int64_t ldx,
                             const void *bias, void *y, int64_t ldy, bool accumulate);

/* ---- creation -------------------------------------------------------------------------------- */

ML_API ml_status ml_tensor_arange(ml_tensor *out, ml_dtype dtype, double start, double step,
                                  int64_t n, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_linspace(ml_tensor *out, ml_dtype dtype, double start, double stop,
                                    int64_t n, ml_error *err) ML_MUST_CHECK;
ML_API ml_status ml_tensor_eye(ml_tensor *out, ml_dtype dtype, int64_t rows, int64_t cols,
                               ml_error *err) ML_MUST_CHECK;

/* Equality of values: same dtype, shape and bits-or-NaN-alike; and NumPy's allclose (|a-b| <= atol
 * + rtol |b|). */
ML_API bool ml_tensor_equal(const ml_tensor *a, const ml_tensor *b);
ML_API ml_status ml_tensor_allclose(bool *close, const ml_tensor *a, const ml_tensor *b,
                                    double rtol, double atol, bool equal_nan,
                                    ml_error *err) ML_MUST_CHECK;

/* ---- thinning for pictures ------------------------------------------------------------------- */

typedef struct {
  int64_t columns, rows; /* of a grid over the points that can be shown; rows 0: columns only */
  bool log_x, log_y;     /* such an axis shows what is > 0 */
} ml_thin_options;
typedef struct {
  int64_t used, not_finite, not_positive; /* they add up to all points */
} ml_thin_counts;
/* Positions, ascending, of the points that a picture of a long series needs; x, y f64 [n].
 * rows 0, a curve: of every stretch of neighbours in one column the first, least, greatest and
 * last, of every stretch that cannot be shown the first, so that the gap stays. rows > 0, a cloud:
 * the first point of every cell.
 *   out  index [kept], empty before */
ML_API ml_status ml_thin(ml_tensor *out, ml_thin_counts *counts, const ml_tensor *x,
                         const ml_tensor *y, const ml_thin_options *o, ml_error *err) ML_MUST_CHECK;
/* How many entries of x (f64 [n]) lie in [edges[k], edges[k+1]), the last interval closed; edges
 * f64 [bins+1], ascending.
 *   out  f64 [bins], empty before */
ML_API ml_status ml_bin_counts(ml_tensor *out, const ml_tensor *x, const ml_tensor *edges,
                               ml_error *err) ML_MUST_CHECK;

#endif
