/* Private to the nn room: small helpers, checks of inputs (check.c), rows and scratch (rows.c),
 * inputs of gradient-check cases (cases.c). */
#ifndef MOONLAB_NN_COMMON_H
#define MOONLAB_NN_COMMON_H

#include "kernels.h"
#include "ops.h"

static inline int64_t ml_nn_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t ml_nn_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ml_nn_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t ml_nn_last(const ml_tensor *t) { return t->size[t->rank - 1]; }
static inline void *ml_nn_at(void *p, ml_dtype dtype, int64_t i) {
  return (char *)p + i * (int64_t)ml_dtype_size(dtype);
}
static inline const void *ml_nn_at_const(const void *p, ml_dtype dtype, int64_t i) {
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

/* sums [n] (+)= column sums of x [rows,n], over the pool: chunks of rows, combined in order. */
ml_status ml_nn_column_sums(ml_dtype dtype, int64_t rows, int64_t n, const void *x, void *sums,
                            bool add, ml_arena *arena, ml_error *err) ML_MUST_CHECK;
/* Rows of one chunk of a pass over [rows,n]: a multiple of 64. */
int64_t ml_nn_chunk_rows(int64_t rows, int64_t n);

/* Fills input i of a gradient-check case with normal numbers; differentiable. std 0 gives an
 * uninitialised tensor. */
ml_status ml_nn_case_normal(ml_check_case *c, int i, ml_rng *g, double mean, double std,
                            ml_error *err, int rank, ...) ML_MUST_CHECK;
/* With ids of 0..n-1; constant. */
ml_status ml_nn_case_ids(ml_check_case *c, int i, ml_rng *g, int64_t n, ml_error *err, int rank,
                         ...) ML_MUST_CHECK;

#endif
