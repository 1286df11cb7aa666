/* Differentiable joining: concat and stack. More tensors than a node holds are joined in groups. */
#include "ops.h"

static bool any_taped(const ml_tensor *const *t, int n) {
  if (!ml_grad_on)
    return false;
  for (int i = 0; i < n; i++)
    if (t[i]->node)
      return true;
  return false;
}

/* Level by level: groups of ML_OP_MAX_IN are joined along axis until one node holds them. */
static ml_status join(ml_tensor *out, const ml_op *op, const ml_tensor *const *t, int n,
                      const ml_grad_axis_attr *attr, ml_error *err) {
  if (n <= ML_OP_MAX_IN)
    return ml_apply(out, op, t, n, attr, err);
  int groups = (n + ML_OP_MAX_IN - 1) / ML_OP_MAX_IN, made = 0;
  ml_tensor *part = ml_alloc((size_t)groups * sizeof *part);
  const ml_tensor **parts = ml_alloc((size_t)groups * sizeof *parts);
  ml_status status = ML_OK;
  if (!part || !parts)
    status = ml_fail(err, ML_ENOMEM, 0, "out of memory: no room to join %d tensors", n);
  for (; !status && made < groups; made++) {
    int first = made * ML_OP_MAX_IN, count = n - first < ML_OP_MAX_IN ? n - first : ML_OP_MAX_IN;
    status = ml_apply(&part[made], op, t + first, count, attr, err);
    parts[made] = &part[made];
  }
  if (!status)
    status = join(out, &ml_grad_op_concat, parts, groups, attr, err);
  if (part)
    for (int i = 0; i < groups; i++)
      ml_tensor_clear(&part[i]);
  ml_free(part);
  ml_free(parts);
  return status;
}

ml_status ml_concat(ml_tensor *out, const ml_tensor *const *t, int n, int axis, ml_error *err) {
  if (!any_taped(t, n))
    return ml_tensor_concat(out, t, n, axis, err);
  ml_grad_axis_attr attr = {.axis = axis};
  return join(out, &ml_grad_op_concat, t, n, &attr, err);
}

ml_status ml_stack(ml_tensor *out, const ml_tensor *const *t, int n, int axis, ml_error *err) {
  if (!any_taped(t, n))
    return ml_tensor_stack(out, t, n, axis, err);
  ml_grad_axis_attr attr = {.axis = axis};
  return join(out, &ml_grad_op_stack, t, n, &attr, err);
}

ml_status ml_grad_concat_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                 const void *attr, ml_save *save, ml_error *err) {
  (void)save;
  return ml_tensor_concat(out, in, n_in, ((const ml_grad_axis_attr *)attr)->axis, err);
}

ml_status ml_grad_stack_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                const void *attr, ml_save *save, ml_error *err) {
  (void)save;
  return ml_tensor_stack(out, in, n_in, ((const ml_grad_axis_attr *)attr)->axis, err);
}

ml_status ml_grad_concat_vjp(ml_vjp *c, ml_error *err) {
  int axis = ((const ml_grad_axis_attr *)c->attr)->axis;
  int64_t start = 0;
  for (int i = 0; i < c->n_in; i++) {
    int64_t count = c->in_shape[i].size[axis];
    if (c->wanted[i]) {
      ml_tensor g = {0};
      ML_TRY(ml_view_narrow(&g, &c->gout[0], axis, start, count, err));
      ML_TRY(ml_vjp_give(c, i, &g, err));
    }
    start += count;
  }
  return ML_OK;
}

ml_status ml_grad_stack_vjp(ml_vjp *c, ml_error *err) {
  int axis = ((const ml_grad_axis_attr *)c->attr)->axis;
  ml_slice slices[ML_MAX_RANK];
  for (int k = 0; k < axis; k++)
    slices[k] = (ml_slice){0, c->gout[0].size[k], 1, false};
  for (int i = 0; i < c->n_in; i++) {
    if (!c->wanted[i])
      continue;
    ml_tensor g = {0};
    slices[axis] = (ml_slice){i, 1, 1, true};
    ML_TRY(ml_view_slice(&g, &c->gout[0], slices, axis + 1, err));
    ML_TRY(ml_vjp_give(c, i, &g, err));
  }
  return ML_OK;
}

ml_status ml_grad_concat_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                               ml_error *err) {
  const int inputs[] = {3, 1, 2, 3, 16};
  int n = inputs[variant], axis = variant % 3;
  *n_variants = 5;
  ((ml_grad_axis_attr *)(void *)c->attr)->axis = axis;
  c->n_out = 1;
  for (int i = 0; i < n; i++) {
    ml_shape shape = {3, {2, 3, 2}};
    shape.size[axis] = i % 3; /* one of them empty */
    ML_TRY(ml_case_uniform(c, i, &shape, -1, 1, g, err));
  }
  return variant == 3 ? ml_case_reverse_layout(c, 2, err) : ML_OK;
}

ml_status ml_grad_stack_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                              ml_error *err) {
  const ml_shape shape = {2, {2, 3}};
  const int inputs[] = {3, 1, 2, 16};
  *n_variants = 4;
  ((ml_grad_axis_attr *)(void *)c->attr)->axis = variant % 3;
  c->n_out = 1;
  for (int i = 0; i < inputs[variant]; i++)
    ML_TRY(ml_case_uniform(c, i, &shape, -1, 1, g, err));
  return variant == 2 ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}
