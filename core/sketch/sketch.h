/* Sketch room: random linear maps that keep inner products in the mean, E <S x, S y> = <x, y>.
 *
 * Rows are points. All arrays are contiguous, of one dtype (f32 or f64). The randomness is an
 * argument: signs of +-1 in the dtype of the points, places as index (from 0, checked). H is
 * Sylvester's Hadamard matrix with entries +-1, of the least side 2^p that holds the input, which
 * is padded with zeros.
 *
 * Points are taken together in panels of 64 bytes: coordinate by coordinate, a lane for each point.
 * A lane's arithmetic knows nothing of the others, and all of it is sums and products in an order
 * fixed by the sizes: a point's sketch depends neither on its neighbours nor on the threads. */
#ifndef MOONLAB_SKETCH_H
#define MOONLAB_SKETCH_H

#include "tensor/tensor.h"

/* The least p with 2^p >= d, and its power. */
ML_API int ml_sketch_log2(int64_t d);
static inline int64_t ml_sketch_side(int64_t d) { return (int64_t)1 << ml_sketch_log2(d); }

/* Y [n,2^p] = X H. Cost n p 2^p additions. */
ML_API ml_status ml_sketch_hadamard(ml_tensor *Y, const ml_tensor *X, ml_error *err) ML_MUST_CHECK;

/* One signed Hadamard transform of which m places are kept. */
typedef struct {
  const ml_tensor *signs; /* [d] */
  const ml_tensor *rows;  /* index [m], below 2^p */
} ml_sketch_leg;

/* Y [n,m] = (X D H)[rows] / sqrt(m), D the signs: the subsampled randomized Hadamard transform.
 * Source: Ailon & Chazelle 2009; Tropp 2011. */
ML_API ml_status ml_sketch_srht(ml_tensor *Y, const ml_tensor *X, const ml_sketch_leg *leg,
                                ml_error *err) ML_MUST_CHECK;

/* Y [n,m] = (X D1 H)[rows1] * (Z D2 H)[rows2] / sqrt(m): a sketch of the tensor product of a row of
 * X and one of Z. Source: Ahle et al. 2020, Definition 15. */
ML_API ml_status ml_sketch_tensor_srht(ml_tensor *Y, const ml_tensor *X, const ml_tensor *Z,
                                       const ml_sketch_leg legs[2], ml_error *err) ML_MUST_CHECK;

/* Y [n,m]: coordinate i of a row goes with signs[j,i] to place hashes[j,i], for j < k, and all is
 * divided by sqrt(k). k = 1 is CountSketch, k > 1 with a block of places for each j is OSNAP.
 *   hashes  index [k,d], below m
 *   signs   [k,d]
 * Cost n d k. Source: Charikar, Chen & Farach-Colton 2002; Nelson & Nguyen 2013. */
ML_API ml_status ml_sketch_osnap(ml_tensor *Y, const ml_tensor *X, const ml_tensor *hashes,
                                 const ml_tensor *signs, int64_t m, ml_error *err) ML_MUST_CHECK;
/* The same of sparse rows: row r holds values[t] at columns[t] for offsets[r] <= t < offsets[r+1].
 *   offsets  index [n+1], ascending from 0 to the number of values
 *   columns  index like values, below d
 * Cost k for each value. */
ML_API ml_status ml_sketch_osnap_sparse(ml_tensor *Y, const ml_tensor *offsets,
                                        const ml_tensor *columns, const ml_tensor *values,
                                        const ml_tensor *hashes, const ml_tensor *signs, int64_t m,
                                        ml_error *err) ML_MUST_CHECK;

/* ---- windows of images ----------------------------------------------------------------------- */

typedef struct {
  int64_t window[2], stride[2], before[2], out[2]; /* rows, columns; zeros before, sizes after */
  bool circular;
  double scale;
} ml_sketch_window;

/* Y [N,out,out,m] = scale times the OSNAP of every window of X [N,H,W,C], its pixels one after the
 * other: hashes and signs are [k, window C]. Places outside the image hold zeros, or wrap around.
 * With hashes 0, 1, 2, ... and k = 1 it copies windows; with pixels that share places it sums them
 * (pooling). */
ML_API ml_status ml_sketch_windows(ml_tensor *Y, const ml_tensor *X, const ml_sketch_window *w,
                                   const ml_tensor *hashes, const ml_tensor *signs, int64_t m,
                                   ml_error *err) ML_MUST_CHECK;

/* ---- powers ---------------------------------------------------------------------------------- */

/* A binary tree of TensorSRHT nodes, which sketches x tensored with itself `leaves` times; with the
 * first leaves replaced by a constant the lower powers come out of the same transforms. Leg i of
 * the lowest level belongs to leaf i; the legs of the levels above follow each other from below,
 * two a node.
 *   low_signs [leaves,d], low_rows index [leaves,m]: the lowest level
 *   signs [leaves-2,m],   rows index [leaves-2,m]:   the others
 * Source: Ahle et al. 2020, Section 4; Zandieh et al. 2021 (arXiv 2106.07880), Algorithm 2. */
typedef struct {
  int64_t leaves; /* a power of two >= 2 */
  const ml_tensor *low_signs, *low_rows, *signs, *rows;
} ml_sketch_tree;

/* Y [n,count m]: the sketches of the powers degrees[i], 1..leaves, side by side. */
ML_API ml_status ml_sketch_powers(ml_tensor *Y, const ml_tensor *X, const ml_sketch_tree *tree,
                                  const int64_t *degrees, int count, ml_error *err) ML_MUST_CHECK;
/* Y [n,m]: the sketch of X[0] x X[1] x ... (count <= leaves of one shape). */
ML_API ml_status ml_sketch_product(ml_tensor *Y, const ml_tensor *const *X, int count,
                                   const ml_sketch_tree *tree, ml_error *err) ML_MUST_CHECK;

/* ---- an activation --------------------------------------------------------------------------- */

/* Features of a dual activation and of its derivative, from those before it. With u = x / |x| and
 * U_k the tree's sketch of its power k,
 *   Y   = SRHT of the blocks value[k] U_k          [n,m_y], its rows times |x| when `homogeneous`
 *   Psi = TensorSRHT of P and the blocks slope[k] U_k   [n,m_psi]
 * where U_0 = 1, and U_1 = u itself where that is no longer than m_y. Blocks of degrees that are
 * not used are left out. Rows of zeros have u = 0.
 *   value, slope  [n or 1, degree+1] weights, for each point or for all
 * Source: Zandieh et al. 2021, Algorithm 1; Han et al. 2022 (arXiv 2209.04121), Algorithm 1. */
typedef struct {
  ml_sketch_tree tree;
  const ml_tensor *value, *slope;
  const bool *use_value, *use_slope; /* [degree+1] */
  bool homogeneous;
  ml_sketch_leg down;    /* signs as long as the blocks of value together */
  ml_sketch_leg pair[2]; /* of P, and of the blocks of slope together */
} ml_sketch_layer;

/* Columns of the blocks that are used; m of the tree, my of Y. */
ML_API int64_t ml_sketch_columns(const bool *use, int64_t degree, int64_t d, int64_t m, int64_t my);
/* Psi and P may be NULL together: the first kernel only. */
ML_API ml_status ml_sketch_activation(ml_tensor *Y, ml_tensor *Psi, const ml_tensor *X,
                                      const ml_tensor *P, const ml_sketch_layer *layer,
                                      ml_error *err) ML_MUST_CHECK;

#endif
