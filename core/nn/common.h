/* Private to the nn room: checks of inputs, row blocks, scratch, and the products that several ops
 * share. */
#ifndef MOONLAB_NN_COMMON_H
#define MOONLAB_NN_COMMON_H

#include "kernels.h"
#include "ops.h"

/* Tiles of products: rows near what the product copies at once (192), columns up to 1024; cut by
 * shape only, so that results do not depend on threads, and into an even number, at least 8 where
 * rows allow, so that a pool is busy. */
typedef struct {
  int64_t n, size; /* n tiles of `size`, the last one shorter */
} ml_nn_tiles;
ml_nn_tiles ml_nn_row_tiles(int64_t rows);
/* *panels = op(W) [K,N] copied once for the products of all tiles of rows, into arena; NULL where
 * the tiles should take W as it lies: few of them, or little to copy. Columns c.., 64 dividing c,
 * begin at element c * K. */
ml_status ml_nn_panels(void **panels, ml_arena *arena, ml_dtype dtype, bool transposed, int64_t K,
                       int64_t N, const void *W, int64_t ldw, int64_t tiles, ml_error *err);
ml_nn_tiles ml_nn_column_tiles(int64_t columns, int64_t most);

static inline int64_t ml_nn_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t ml_nn_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ml_nn_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t ml_nn_last(const ml_tensor *t) { return t->size[t->rank - 1]; }
static inline void *ml_nn_at(void *p, ml_dtype dtype, int64_t i) {
  return (char *)p + i * (int64_t)ml_dtype_size(dtype);
}
static inline const void *ml_nn_cat(const void *p, ml_dtype dtype, int64_t i) {
  return (const char *)p + i * (int64_t)ml_dtype_size(dtype);
}

/* Product of all sizes but the last. */
int64_t ml_nn_rows(const ml_tensor *t);
int64_t ml_nn_shape_rows(const ml_shape *shape);

/* x has a real dtype and at least min_rank axes. op names the operation, name the input. */
ml_status ml_nn_check_real(const char *op, const char *name, const ml_tensor *x, int min_rank,
                           int arg, ml_error *err) ML_MUST_CHECK;
/* w has x's dtype and, unless NULL, exactly these sizes; NULL w passes. */
ml_status ml_nn_check_like(const char *op, const char *name, const ml_tensor *w, const char *x_name,
                           const ml_tensor *x, const ml_shape *want, int arg,
                           ml_error *err) ML_MUST_CHECK;
/* ids is of dtype index; ids out of 0..n-1 are named in the 1-based form that users see. */
ml_status ml_nn_check_ids(const char *op, const char *name, const int64_t *ids, int64_t count,
                          int64_t n, int arg, ml_error *err) ML_MUST_CHECK;

ml_status ml_nn_check_act(const char *op, ml_act act, int arg, ml_error *err) ML_MUST_CHECK;

/* *p: count items from the arena, 64-byte aligned, not initialised. */
ml_status ml_nn_take(void **p, ml_arena *arena, int64_t count, size_t item,
                     ml_error *err) ML_MUST_CHECK;
/* The process's arena, with the mark to release afterwards. */
ml_status ml_nn_scratch(ml_arena **arena, size_t *mark, ml_error *err) ML_MUST_CHECK;

/* sums [n] (+)= column sums of x [rows,n], over the pool: fixed chunks of rows, combined in order. */
ml_status ml_nn_column_sums(ml_dtype dtype, int64_t rows, int64_t n, const void *x, void *sums,
                            bool add, ml_arena *arena, ml_error *err) ML_MUST_CHECK;
/* Rows of one chunk of a pass over [rows,n]: a multiple of 64. */
int64_t ml_nn_chunk_rows(int64_t rows, int64_t n);

/* y = act(x W + b) by tiles over the pool; count such products of the same x and shapes. pre, not
 * NULL, receives x W + b; y may equal pre. W[i] is [K,N], or [N,K] when transposed. */
typedef struct {
  ml_dtype dtype;
  bool transposed;
  ml_act act;
  int count;
  int64_t rows, K, N;
  const void *x, *W[3], *b[3];
  void *pre[3], *y[3];
} ml_nn_affine;
ml_status ml_nn_affine_run(const ml_nn_affine *t, ml_error *err);

/* dX (+)= d W^T and dW (+)= x^T d for the inputs x_at (none when negative) and W_at, where wanted.
 * d [rows,N]. */
ml_status ml_nn_dense_grads(ml_vjp *c, int x_at, int W_at, const ml_tensor *x, const ml_tensor *W,
                            bool transposed, const void *d, int64_t N, ml_error *err) ML_MUST_CHECK;

/* Fills input i of a gradient-check case with normal numbers; differentiable. std 0 gives an
 * uninitialised tensor. */
ml_status ml_nn_case_normal(ml_check_case *c, int i, ml_rng *g, double mean, double std,
                            ml_error *err, int rank, ...) ML_MUST_CHECK;
/* With ids of 0..n-1; constant. */
ml_status ml_nn_case_ids(ml_check_case *c, int i, ml_rng *g, int64_t n, ml_error *err, int rank,
                         ...) ML_MUST_CHECK;

#endif
