/* Private to the nn room: what cross-entropy of given logits and of a linear map share: counted
 * rows, sums, info. */
#ifndef MOONLAB_NN_CE_H
#define MOONLAB_NN_CE_H

#include "common.h"

/* Rows that count, with their targets and weights; lives in the arena. */
typedef struct {
  int64_t rows, count;    /* all rows; those with weight != 0 */
  const int64_t *targets; /* [rows] */
  const int64_t *row;     /* [count] positions of counted rows, or NULL: all count */
  const double *weight;   /* [rows], or NULL: all one */
} ml_nn_ce_rows;

/* Sums over some rows, each weighted. */
typedef struct {
  double loss, ce, logz, logz2, logits; /* logits: unweighted */
} ml_nn_ce_sums;

/* Shapes and dtypes: targets is index and has x's shape without its last axis, mask (may be NULL)
 * the same shape in x's dtype. Statuses as nn.h has them. */
ml_status ml_nn_ce_check(const char *op, const ml_tensor *x, const ml_tensor *targets,
                         const ml_tensor *mask, double z_loss, ml_error *err) ML_MUST_CHECK;
/* Fills r from contiguous targets and mask; a target of a counted row outside 0..V-1 is ML_EARG. */
ml_status ml_nn_ce_count(ml_nn_ce_rows *r, const char *op, const ml_tensor *targets,
                         const ml_tensor *mask, int64_t V, ml_arena *arena,
                         ml_error *err) ML_MUST_CHECK;
static inline int64_t ml_nn_ce_position(const ml_nn_ce_rows *r, int64_t i) {
  return r->row ? r->row[i] : i;
}
static inline double ml_nn_ce_weight(const ml_nn_ce_rows *r, int64_t position) {
  return r->weight ? r->weight[position] : 1;
}

void ml_nn_ce_add(ml_nn_ce_sums *sum, double weight, double ce, double z_loss,
                  const ml_nn_ce_row *row);
void ml_nn_ce_merge(ml_nn_ce_sums *sum, const ml_nn_ce_sums *part);
/* Divides by the count: the loss into 0-d out of dtype, the rest into info (may be NULL). */
ml_status ml_nn_ce_finish(ml_tensor *out, ml_dtype dtype, ml_ce_info *info,
                          const ml_nn_ce_sums *sum, int64_t count, int64_t V,
                          ml_error *err) ML_MUST_CHECK;

static inline double ml_nn_get(const void *p, ml_dtype dtype, int64_t i) {
  return dtype == ML_F32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}
static inline void ml_nn_subtract(void *p, ml_dtype dtype, int64_t i, double x) {
  if (dtype == ML_F32)
    ((float *)p)[i] -= (float)x;
  else
    ((double *)p)[i] -= x;
}

/* Rows of one task of a pass over logits. */
static inline int64_t ml_nn_ce_chunk(int64_t V) { return ml_nn_max(1, 16384 / ml_nn_max(V, 1)); }

/* d/dw_r of the loss = factor value_r, for the mask at input i. value f64 [rows]. */
ml_status ml_nn_ce_mask_grad(ml_vjp *c, int i, const ml_tensor *value, double factor,
                             ml_error *err) ML_MUST_CHECK;

/* A mask with negative and, where asked for, zero weights, for check cases. */
ml_status ml_nn_ce_case_mask(ml_check_case *c, int i, bool zeros, ml_rng *g,
                             ml_error *err) ML_MUST_CHECK;

#endif
