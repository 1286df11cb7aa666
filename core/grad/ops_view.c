/* Differentiable views: other shapes, orders and parts of the same elements; triangles and
 * diagonals. */
#include "ops.h"

#include <string.h>

/* ---- reshape, squeeze, unsqueeze ------------------------------------------------------------- */

ml_status ml_reshape(ml_tensor *out, const ml_tensor *t, const ml_shape *shape, ml_error *err) {
  if (!ml_taped1(t))
    return ml_view_reshape(out, t, shape, err);
  return ml_apply(out, &ml_grad_op_reshape, &t, 1, shape, err);
}

/* On the tape a view with the same elements in the same order is a reshape; view is cleared. */
static ml_status reshape_like(ml_tensor *out, const ml_tensor *t, ml_tensor *view, ml_error *err) {
  ml_shape shape = ml_shape_of(view);
  ml_tensor_clear(view);
  return ml_apply(out, &ml_grad_op_reshape, &t, 1, &shape, err);
}

ml_status ml_squeeze(ml_tensor *out, const ml_tensor *t, int axis, ml_error *err) {
  if (!ml_taped1(t))
    return ml_view_squeeze(out, t, axis, err);
  ml_tensor view = {0};
  ML_TRY(ml_view_squeeze(&view, t, axis, err));
  return reshape_like(out, t, &view, err);
}

ml_status ml_unsqueeze(ml_tensor *out, const ml_tensor *t, int axis, ml_error *err) {
  if (!ml_taped1(t))
    return ml_view_unsqueeze(out, t, axis, err);
  ml_tensor view = {0};
  ML_TRY(ml_view_unsqueeze(&view, t, axis, err));
  return reshape_like(out, t, &view, err);
}

ml_status ml_grad_reshape_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                  const void *attr, ml_save *save, ml_error *err) {
  (void)n_in;
  (void)save;
  return ml_view_reshape(out, in[0], attr, err);
}

ml_status ml_grad_reshape_vjp(ml_vjp *c, ml_error *err) {
  ml_tensor g = {0};
  ML_TRY(ml_view_reshape(&g, &c->gout[0], &c->in_shape[0], err));
  return ml_vjp_give(c, 0, &g, err);
}

ml_status ml_grad_reshape_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                ml_error *err) {
  const ml_shape from[] = {{2, {6, 4}}, {3, {2, 3, 4}}, {1, {1}}, {3, {2, 1, 3}}};
  const ml_shape to[] = {{3, {2, 3, 4}}, {2, {4, -1}}, {0, {0}}, {4, {1, 2, 3, 1}}};
  *n_variants = 5;
  int k = variant % 4;
  memcpy(c->attr, &to[k], sizeof to[k]);
  c->n_out = 1;
  ML_TRY(ml_case_uniform(c, 0, &from[k], -1, 1, g, err));
  return variant == 1 || variant == 4 ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}

/* ---- permute, transpose ---------------------------------------------------------------------- */

ml_status ml_permute(ml_tensor *out, const ml_tensor *t, const int *axes, ml_error *err) {
  if (!ml_taped1(t))
    return ml_view_permute(out, t, axes, err);
  ml_grad_permute_attr attr = {{0}};
  memcpy(attr.axis, axes, (size_t)t->rank * sizeof *axes);
  return ml_apply(out, &ml_grad_op_permute, &t, 1, &attr, err);
}

ml_status ml_transpose(ml_tensor *out, const ml_tensor *t, int a, int b, ml_error *err) {
  if (!ml_taped1(t) || a < 0 || b < 0 || a >= t->rank || b >= t->rank)
    return ml_view_transpose(out, t, a, b, err); /* it knows how to refuse an axis */
  ml_grad_permute_attr attr = {{0}};
  for (int k = 0; k < t->rank; k++)
    attr.axis[k] = k == a ? b : k == b ? a : k;
  return ml_apply(out, &ml_grad_op_permute, &t, 1, &attr, err);
}

ml_status ml_grad_permute_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                  const void *attr, ml_save *save, ml_error *err) {
  (void)n_in;
  (void)save;
  return ml_view_permute(out, in[0], ((const ml_grad_permute_attr *)attr)->axis, err);
}

ml_status ml_grad_permute_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_permute_attr *attr = c->attr;
  int back[ML_MAX_RANK];
  for (int k = 0; k < c->in_shape[0].rank; k++)
    back[attr->axis[k]] = k;
  ml_tensor g = {0};
  ML_TRY(ml_view_permute(&g, &c->gout[0], back, err));
  return ml_vjp_give(c, 0, &g, err);
}

ml_status ml_grad_permute_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                ml_error *err) {
  const ml_shape shape = {3, {2, 3, 4}};
  const int axes[][3] = {{2, 0, 1}, {1, 2, 0}, {0, 2, 1}};
  *n_variants = 3;
  memcpy(c->attr, axes[variant], sizeof axes[variant]);
  c->n_out = 1;
  return ml_case_uniform(c, 0, &shape, -1, 1, g, err);
}

/* ---- broadcast ------------------------------------------------------------------------------- */

ml_status ml_broadcast(ml_tensor *out, const ml_tensor *t, const ml_shape *shape, ml_error *err) {
  if (!ml_taped1(t))
    return ml_view_broadcast(out, t, shape, err);
  return ml_apply(out, &ml_grad_op_broadcast, &t, 1, shape, err);
}

ml_status ml_grad_broadcast_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                    const void *attr, ml_save *save, ml_error *err) {
  (void)n_in;
  (void)save;
  return ml_view_broadcast(out, in[0], attr, err);
}

ml_status ml_grad_broadcast_vjp(ml_vjp *c, ml_error *err) {
  return ml_grad_give_alias(c, 0, &c->gout[0], err);
}

ml_status ml_grad_broadcast_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                  ml_error *err) {
  const ml_shape from[] = {{1, {4}}, {2, {3, 1}}, {0, {0}}, {3, {1, 3, 1}}};
  const ml_shape to[] = {{2, {3, 4}}, {3, {2, 3, 4}}, {2, {2, 3}}, {3, {2, 3, 4}}};
  *n_variants = 4;
  memcpy(c->attr, &to[variant], sizeof to[variant]);
  c->n_out = 1;
  return ml_case_uniform(c, 0, &from[variant], -1, 1, g, err);
}

/* ---- slice, narrow --------------------------------------------------------------------------- */

ml_status ml_slice_view(ml_tensor *out, const ml_tensor *t, const ml_slice *slices, int n,
                        ml_error *err) {
  if (!ml_taped1(t) || n < 0 || n > t->rank)
    return ml_view_slice(out, t, slices, n, err); /* it knows how to refuse too many */
  ml_grad_slice_attr attr = {.n = n};
  for (int k = 0; k < n; k++) {
    attr.start[k] = slices[k].start;
    attr.count[k] = slices[k].count;
    attr.step[k] = slices[k].step;
    attr.drop |= (unsigned)slices[k].drop << k;
  }
  return ml_apply(out, &ml_grad_op_slice, &t, 1, &attr, err);
}

ml_status ml_narrow(ml_tensor *out, const ml_tensor *t, int axis, int64_t start, int64_t count,
                    ml_error *err) {
  if (!ml_taped1(t))
    return ml_view_narrow(out, t, axis, start, count, err);
  ml_tensor view = {0};
  ML_TRY(ml_view_narrow(&view, t, axis, start, count, err)); /* checks what came */
  ml_tensor_clear(&view);
  ml_grad_slice_attr attr = {.n = axis + 1};
  for (int k = 0; k <= axis; k++) {
    attr.start[k] = k == axis ? start : 0;
    attr.count[k] = k == axis ? count : t->size[k];
    attr.step[k] = 1;
  }
  return ml_apply(out, &ml_grad_op_slice, &t, 1, &attr, err);
}

/* The part of t that attr takes. */
static ml_status part_of(ml_tensor *out, const ml_tensor *t, const ml_grad_slice_attr *attr,
                         ml_error *err) {
  ml_slice slices[ML_MAX_RANK];
  for (int k = 0; k < attr->n; k++)
    slices[k] =
        (ml_slice){attr->start[k], attr->count[k], attr->step[k], (attr->drop >> k & 1u) != 0};
  return ml_view_slice(out, t, slices, attr->n, err);
}

ml_status ml_grad_slice_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                const void *attr, ml_save *save, ml_error *err) {
  (void)n_in;
  (void)save;
  return part_of(out, in[0], attr, err);
}

/* Adds dy to the part that it belongs to; the rest of the gradient is not touched a second time. */
static ml_status add_to_part(const ml_tensor *part, const ml_tensor *dy, bool accumulate,
                             ml_error *err) {
  ml_tensor p = *part;
  return accumulate ? ml_tensor_binary_into(&p, ML_ADD, dy, err) : ml_tensor_copy_into(&p, dy, err);
}

static void zero_unless(bool accumulate, ml_tensor *dst) {
  if (!accumulate)
    memset(ml_data(dst), 0, (size_t)ml_numel(dst) * ml_dtype_size(dst->dtype));
}

ml_status ml_grad_slice_vjp(ml_vjp *c, ml_error *err) {
  ml_tensor *dst, part = {0};
  bool accumulate;
  ML_TRY(ml_vjp_target(c, 0, &dst, &accumulate, err));
  zero_unless(accumulate, dst);
  ML_TRY(part_of(&part, dst, c->attr, err));
  ml_status status = add_to_part(&part, &c->gout[0], accumulate, err);
  ml_tensor_clear(&part);
  return status;
}

ml_status ml_grad_slice_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                              ml_error *err) {
  const ml_shape shape = {3, {3, 4, 5}};
  const ml_grad_slice_attr attrs[] = {
      {{1}, {2}, {1}, 1, 0},           {{2, 0, 4}, {1, 2, 3}, {1, 2, -2}, 3, 1},
      {{0, 3}, {3, 4}, {1, -1}, 2, 0}, {{1, 2, 3}, {1, 1, 1}, {1, 1, 1}, 3, 7},
      {{0, 1}, {3, 0}, {1, 1}, 2, 0},
  };
  *n_variants = 6;
  memcpy(c->attr, &attrs[variant % 5], sizeof attrs[0]);
  c->n_out = 1;
  ML_TRY(ml_case_uniform(c, 0, &shape, -1, 1, g, err));
  return variant == 1 ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}

/* ---- triangle and diagonal ------------------------------------------------------------------- */

ml_status ml_tri(ml_tensor *out, const ml_tensor *t, int64_t diagonal, bool upper, ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_tri(out, t, diagonal, upper, err);
  ml_grad_tri_attr attr = {diagonal, upper};
  return ml_apply(out, &ml_grad_op_tri, &t, 1, &attr, err);
}

ml_status ml_grad_tri_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                              const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_tri_attr *attr = attr_;
  (void)n_in;
  (void)save;
  return ml_tensor_tri(out, in[0], attr->diagonal, attr->upper, err);
}

ml_status ml_grad_tri_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_tri_attr *attr = c->attr;
  ml_tensor g = {0};
  ML_TRY(ml_tensor_tri(&g, &c->gout[0], attr->diagonal, attr->upper, err));
  return ml_vjp_give(c, 0, &g, err);
}

ml_status ml_grad_tri_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                            ml_error *err) {
  const ml_shape shape = {3, {2, 4, 3}};
  ml_grad_tri_attr *attr = (ml_grad_tri_attr *)(void *)c->attr;
  *n_variants = 4;
  attr->diagonal = variant - 1;
  attr->upper = variant % 2 == 1;
  c->n_out = 1;
  return ml_case_uniform(c, 0, &shape, -1, 1, g, err);
}

ml_status ml_diagonal(ml_tensor *out, const ml_tensor *t, ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_diagonal(out, t, err);
  return ml_apply(out, &ml_grad_op_diagonal, &t, 1, NULL, err);
}

ml_status ml_grad_diagonal_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                   const void *attr, ml_save *save, ml_error *err) {
  (void)n_in;
  (void)attr;
  (void)save;
  return ml_tensor_diagonal(out, in[0], err);
}

ml_status ml_grad_diagonal_vjp(ml_vjp *c, ml_error *err) {
  ml_tensor *dst;
  bool accumulate;
  ML_TRY(ml_vjp_target(c, 0, &dst, &accumulate, err));
  zero_unless(accumulate, dst);
  ml_tensor diagonal = *dst; /* a view that does not outlive the call */
  diagonal.rank = 1;
  diagonal.size[0] = c->gout[0].size[0];
  diagonal.stride[0] = dst->size[1] + 1;
  return add_to_part(&diagonal, &c->gout[0], accumulate, err);
}

ml_status ml_grad_diagonal_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                 ml_error *err) {
  const ml_shape shape = {2, {4, 4}};
  *n_variants = 2;
  c->n_out = 1;
  ML_TRY(ml_case_uniform(c, 0, &shape, -1, 1, g, err));
  return variant ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}
