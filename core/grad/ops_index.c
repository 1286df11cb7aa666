/* Differentiable sorting, gathering and scattering: values travel, ids have no gradient. */
#include "ops.h"

#include <string.h>

/* Zeros in the shape of input i with src at (or added to) the places that ids names along axis. */
static ml_status scatter_back(ml_vjp *c, int i, const ml_tensor *ids, const ml_tensor *src,
                              int axis, bool add, ml_error *err) {
  ml_tensor zeros = {0}, g = {0};
  ML_TRY(ml_grad_zeros(&zeros, src->dtype, &c->in_shape[i], err));
  ml_status status = ml_tensor_scatter(&g, &zeros, ids, src, axis, add, err);
  ml_tensor_clear(&zeros);
  ML_TRY(status);
  return ml_vjp_give(c, i, &g, err);
}

/* ---- sort, topk ------------------------------------------------------------------------------ */

static ml_status apply_order(ml_tensor *values, ml_tensor *indices, const ml_op *op,
                             const ml_tensor *t, const ml_grad_axis_attr *attr, ml_error *err) {
  ml_tensor out[2] = {{0}, {0}};
  ML_TRY(ml_apply(out, op, &t, 1, attr, err));
  *values = out[0];
  *indices = out[1];
  return ML_OK;
}

ml_status ml_sort(ml_tensor *values, ml_tensor *indices, const ml_tensor *t, int axis,
                  bool descending, ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_sort(values, indices, t, axis, descending, err);
  ml_grad_axis_attr attr = {.axis = axis, .flag = descending};
  return apply_order(values, indices, &ml_grad_op_sort, t, &attr, err);
}

ml_status ml_topk(ml_tensor *values, ml_tensor *indices, const ml_tensor *t, int64_t k, int axis,
                  ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_topk(values, indices, t, k, axis, err);
  ml_grad_axis_attr attr = {.axis = axis, .k = k};
  return apply_order(values, indices, &ml_grad_op_topk, t, &attr, err);
}

ml_status ml_grad_sort_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                               const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_axis_attr *attr = attr_;
  (void)n_in;
  ML_TRY(ml_tensor_sort(&out[0], &out[1], in[0], attr->axis, attr->flag, err));
  return ml_save_tensor(save, &out[1], err);
}

ml_status ml_grad_topk_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                               const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_axis_attr *attr = attr_;
  (void)n_in;
  ML_TRY(ml_tensor_topk(&out[0], &out[1], in[0], attr->k, attr->axis, err));
  return ml_save_tensor(save, &out[1], err);
}

ml_status ml_grad_sort_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_axis_attr *attr = c->attr;
  return scatter_back(c, 0, &c->saved[0], &c->gout[0], attr->axis, false, err);
}

ml_status ml_grad_topk_vjp(ml_vjp *c, ml_error *err) { return ml_grad_sort_vjp(c, err); }

static ml_status check_order(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                             ml_error *err) {
  const ml_shape shape = {3, {3, 4, 5}};
  ml_grad_axis_attr *attr = (ml_grad_axis_attr *)(void *)c->attr;
  *n_variants = 4;
  attr->axis = variant % 3;
  attr->flag = variant % 2 == 1;
  attr->k = 2;
  c->n_out = 2;
  ML_TRY(ml_case_spread(c, 0, &shape, g, err));
  return variant == 3 ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}

ml_status ml_grad_sort_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                             ml_error *err) {
  return check_order(c, variant, n_variants, g, err);
}

ml_status ml_grad_topk_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                             ml_error *err) {
  return check_order(c, variant, n_variants, g, err);
}

/* ---- gather ---------------------------------------------------------------------------------- */

ml_status ml_gather(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids, int axis,
                    ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_gather(out, t, ids, axis, err);
  const ml_tensor *in[2] = {t, ids};
  ml_grad_axis_attr attr = {.axis = axis};
  return ml_apply(out, &ml_grad_op_gather, in, 2, &attr, err);
}

ml_status ml_grad_gather_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                 const void *attr, ml_save *save, ml_error *err) {
  (void)n_in;
  ML_TRY(ml_tensor_gather(out, in[0], in[1], ((const ml_grad_axis_attr *)attr)->axis, err));
  return ml_save_tensor(save, in[1], err);
}

ml_status ml_grad_gather_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_axis_attr *attr = c->attr;
  return scatter_back(c, 0, &c->saved[0], &c->gout[0], attr->axis, true, err);
}

ml_status ml_grad_gather_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                               ml_error *err) {
  const ml_shape shape = {3, {3, 4, 5}};
  ml_shape ids = shape;
  ml_grad_axis_attr *attr = (ml_grad_axis_attr *)(void *)c->attr;
  *n_variants = 4;
  attr->axis = variant % 3;
  ids.size[attr->axis] = 6;
  c->n_out = 1;
  ML_TRY(ml_case_uniform(c, 0, &shape, -1, 1, g, err));
  ML_TRY(ml_case_ids(c, 1, &ids, shape.size[attr->axis], g, err));
  return variant == 3 ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}

/* ---- scatter --------------------------------------------------------------------------------- */

ml_status ml_scatter(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids, const ml_tensor *src,
                     int axis, bool add, ml_error *err) {
  if (!ml_taped2(t, src))
    return ml_tensor_scatter(out, t, ids, src, axis, add, err);
  const ml_tensor *in[3] = {t, ids, src};
  ml_grad_axis_attr attr = {.axis = axis, .flag = add};
  return ml_apply(out, &ml_grad_op_scatter, in, 3, &attr, err);
}

ml_status ml_grad_scatter_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                  const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_axis_attr *attr = attr_;
  (void)n_in;
  ML_TRY(ml_tensor_scatter(out, in[0], in[1], in[2], attr->axis, attr->flag, err));
  return ml_save_tensor(save, in[1], err);
}

/* won = 1 where an element of src is the last that was written to its place. */
static ml_status last_writers(ml_tensor *won, const ml_tensor *ids, const ml_shape *shape, int axis,
                              ml_error *err) {
  ml_tensor number = {0}, place = {0}, winner = {0}, none = {0};
  ml_shape like = ml_shape_of(ids);
  ml_status status = ml_tensor_init(&number, ML_INDEX, &like, err);
  if (!status)
    for (int64_t i = 0, n = ml_numel(ids); i < n; i++)
      ML_DATA(int64_t, &number)[i] = i;
  if (!status)
    status = ml_tensor_init_zeros(&none, ML_INDEX, shape, err);
  if (!status)
    status = ml_tensor_scatter(&place, &none, ids, &number, axis, false, err);
  if (!status)
    status = ml_tensor_gather(&winner, &place, ids, axis, err);
  if (!status)
    status = ml_tensor_binary(won, ML_EQ, &winner, &number, err);
  ml_tensor_clear(&number);
  ml_tensor_clear(&place);
  ml_tensor_clear(&winner);
  ml_tensor_clear(&none);
  return status;
}

/* t's gradient is dy, without the places that were overwritten; src's is dy at its places, for the
 * last writers. */
ml_status ml_grad_scatter_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_axis_attr *attr = c->attr;
  const ml_tensor *dy = &c->gout[0], *ids = &c->saved[0];
  ml_status status = ML_OK;
  if (c->wanted[0] && attr->flag) {
    status = ml_grad_give_alias(c, 0, dy, err);
  } else if (c->wanted[0]) {
    ml_tensor zeros = {0}, g = {0};
    status = ml_grad_zeros(&zeros, dy->dtype, &c->in_shape[2], err);
    if (!status)
      status = ml_tensor_scatter(&g, dy, ids, &zeros, attr->axis, false, err);
    ml_tensor_clear(&zeros);
    if (!status)
      status = ml_vjp_give(c, 0, &g, err);
  }
  if (status || !c->wanted[2])
    return status;
  ml_tensor g = {0}, won = {0}, zero = {0}, kept = {0};
  status = ml_tensor_gather(&g, dy, ids, attr->axis, err);
  if (!status && attr->flag)
    return ml_vjp_give(c, 2, &g, err);
  if (!status)
    status = last_writers(&won, ids, &c->in_shape[0], attr->axis, err);
  if (!status)
    status = ml_grad_scalar(&zero, dy->dtype, 0, err);
  if (!status)
    status = ml_tensor_where(&kept, &won, &g, &zero, err);
  ml_tensor_clear(&g);
  ml_tensor_clear(&won);
  ml_tensor_clear(&zero);
  ML_TRY(status);
  return ml_vjp_give(c, 2, &kept, err);
}

/* With ids that repeat, replacing and adding. */
ml_status ml_grad_scatter_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                ml_error *err) {
  const ml_shape shape = {2, {4, 5}};
  ml_shape ids = shape;
  ml_grad_axis_attr *attr = (ml_grad_axis_attr *)(void *)c->attr;
  *n_variants = 4;
  attr->axis = variant / 2;
  attr->flag = variant % 2 == 1;
  ids.size[attr->axis] = 3;
  c->n_out = 1;
  ML_TRY(ml_case_uniform(c, 0, &shape, -1, 1, g, err));
  ML_TRY(ml_case_ids(c, 1, &ids, shape.size[attr->axis], g, err));
  return ml_case_uniform(c, 2, &ids, -1, 1, g, err);
}

/* ---- index_select ---------------------------------------------------------------------------- */

ml_status ml_index_select(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids, int axis,
                          ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_index_select(out, t, ids, axis, err);
  const ml_tensor *in[2] = {t, ids};
  ml_grad_axis_attr attr = {.axis = axis};
  return ml_apply(out, &ml_grad_op_index_select, in, 2, &attr, err);
}

ml_status ml_grad_index_select_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                       const void *attr, ml_save *save, ml_error *err) {
  (void)n_in;
  ML_TRY(ml_tensor_index_select(out, in[0], in[1], ((const ml_grad_axis_attr *)attr)->axis, err));
  return ml_save_tensor(save, in[1], err);
}

ml_status ml_grad_index_select_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_axis_attr *attr = c->attr;
  ml_tensor *dst;
  bool accumulate;
  ML_TRY(ml_vjp_target(c, 0, &dst, &accumulate, err));
  if (!accumulate)
    memset(ml_data(dst), 0, (size_t)ml_numel(dst) * ml_dtype_size(dst->dtype));
  return ml_tensor_index_add_into(dst, &c->saved[0], &c->gout[0], attr->axis, err);
}

ml_status ml_grad_index_select_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                     ml_error *err) {
  const ml_shape shape = {3, {3, 4, 2}};
  const ml_shape ids[] = {{1, {5}}, {2, {2, 3}}, {0, {0}}, {1, {0}}};
  ml_grad_axis_attr *attr = (ml_grad_axis_attr *)(void *)c->attr;
  *n_variants = 5;
  attr->axis = variant % 3;
  c->n_out = 1;
  ML_TRY(ml_case_uniform(c, 0, &shape, -1, 1, g, err));
  ML_TRY(ml_case_ids(c, 1, &ids[variant % 4], shape.size[attr->axis], g, err));
  return variant == 1 ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}
