/* Private to the nn room: products with a weight matrix that several ops share, cut into tiles. */
#ifndef MOONLAB_NN_AFFINE_H
#define MOONLAB_NN_AFFINE_H

#include "common.h"

/* Tiles of products: rows near what the product copies at once (192), columns up to 1024; cut by
 * shape only, so that results do not depend on threads, and into an even number, at least 8 where
 * rows allow, so that a pool is busy. */
typedef struct {
  int64_t n, size; /* n tiles of `size`, the last one shorter */
} ml_nn_tiles;
ml_nn_tiles ml_nn_row_tiles(int64_t rows);
/* Equal tiles of at most `most` columns, each a multiple of 64. */
ml_nn_tiles ml_nn_column_tiles(int64_t columns, int64_t most);
/* *panels = op(W) [K,N] copied once for the products of all tiles of rows, into arena; NULL where
 * the tiles should take W as it lies: few of them, or little to copy. Columns c.., 64 dividing c,
 * begin at element c * K. */
ml_status ml_nn_panels(void **panels, ml_arena *arena, ml_dtype dtype, bool transposed, int64_t K,
                       int64_t N, const void *W, int64_t ldw, int64_t tiles,
                       ml_error *err) ML_MUST_CHECK;

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
ml_status ml_nn_affine_run(const ml_nn_affine *t, ml_error *err) ML_MUST_CHECK;

/* dX (+)= d W^T and dW (+)= x^T d for the inputs x_at (none when negative) and W_at, where wanted.
 * d [rows,N]. */
ml_status ml_nn_dense_grads(ml_vjp *c, int x_at, int W_at, const ml_tensor *x, const ml_tensor *W,
                            bool transposed, const void *d, int64_t N, ml_error *err) ML_MUST_CHECK;

#endif
