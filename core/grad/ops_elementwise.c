/* Differentiable selection, clamping, conversion and copies.
 *
 * Conventions: clamp passes the gradient inside [lo, hi], both ends included, and nothing outside
 * or at NaN; casts pass it between f64 and f32 only (casts to and from index and u8 leave the
 * tape). */
#include "ops.h"

/* g = dy where cond is what `when` says, else 0 */
static ml_status masked(ml_tensor *g, const ml_tensor *cond, bool when, const ml_tensor *dy,
                        ml_error *err) {
  ml_tensor zero = {0};
  ML_TRY(ml_grad_scalar(&zero, dy->dtype, 0, err));
  ml_status status = ml_tensor_where(g, cond, when ? dy : &zero, when ? &zero : dy, err);
  ml_tensor_clear(&zero);
  return status;
}

/* ---- where ----------------------------------------------------------------------------------- */

ml_status ml_where(ml_tensor *out, const ml_tensor *cond, const ml_tensor *a, const ml_tensor *b,
                   ml_error *err) {
  if (!ml_taped2(a, b))
    return ml_tensor_where(out, cond, a, b, err);
  const ml_tensor *in[3] = {cond, a, b};
  return ml_apply(out, &ml_grad_op_where, in, 3, NULL, err);
}

ml_status ml_grad_where_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                const void *attr, ml_save *save, ml_error *err) {
  (void)n_in;
  (void)attr;
  ML_TRY(ml_tensor_where(out, in[0], in[1], in[2], err));
  return ml_save_tensor(save, in[0], err);
}

ml_status ml_grad_where_vjp(ml_vjp *c, ml_error *err) {
  for (int i = 1; i < 3; i++) {
    if (!c->wanted[i])
      continue;
    ml_tensor g = {0};
    ML_TRY(masked(&g, &c->saved[0], i == 1, &c->gout[0], err));
    ML_TRY(ml_grad_give_summed(c, i, &g, err));
  }
  return ML_OK;
}

ml_status ml_grad_where_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                              ml_error *err) {
  const ml_shape shapes[][3] = {{{2, {3, 4}}, {2, {3, 4}}, {2, {3, 4}}},
                                {{2, {3, 1}}, {1, {4}}, {2, {3, 4}}},
                                {{2, {3, 4}}, {0, {0}}, {2, {1, 4}}},
                                {{0, {0}}, {2, {2, 3}}, {1, {3}}}};
  *n_variants = 4;
  ML_TRY(ml_case_uniform(c, 1, &shapes[variant][1], -1, 1, g, err));
  ML_TRY(ml_case_uniform(c, 2, &shapes[variant][2], -1, 1, g, err));
  ML_TRY(ml_tensor_init(&c->in[0], ML_U8, &shapes[variant][0], err));
  for (int64_t i = 0; i < ml_numel(&c->in[0]); i++)
    ML_DATA(unsigned char, &c->in[0])[i] = i % 3 != 1;
  c->n_out = 1;
  return ML_OK;
}

/* ---- clamp ----------------------------------------------------------------------------------- */

ml_status ml_clamp(ml_tensor *out, const ml_tensor *t, double lo, double hi, ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_clamp(out, t, lo, hi, err);
  ml_grad_clamp_attr attr = {lo, hi};
  return ml_apply(out, &ml_grad_op_clamp, &t, 1, &attr, err);
}

ml_status ml_grad_clamp_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_clamp_attr *attr = attr_;
  (void)n_in;
  ML_TRY(ml_tensor_clamp(out, in[0], attr->lo, attr->hi, err));
  return ml_save_tensor(save, in[0], err);
}

ml_status ml_grad_clamp_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_clamp_attr *attr = c->attr;
  ml_tensor above = {0}, below = {0}, inside = {0}, g = {0};
  ml_status status = ml_tensor_binary_number(&above, ML_GE, &c->saved[0], attr->lo, false, err);
  if (!status)
    status = ml_tensor_binary_number(&below, ML_LE, &c->saved[0], attr->hi, false, err);
  if (!status)
    status = ml_tensor_binary(&inside, ML_AND, &above, &below, err);
  if (!status)
    status = masked(&g, &inside, true, &c->gout[0], err);
  ml_tensor_clear(&above);
  ml_tensor_clear(&below);
  ml_tensor_clear(&inside);
  ML_TRY(status);
  return ml_vjp_give(c, 0, &g, err);
}

ml_status ml_grad_clamp_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                              ml_error *err) {
  const ml_shape shape = {2, {4, 5}};
  ml_grad_clamp_attr *attr = (ml_grad_clamp_attr *)(void *)c->attr;
  *n_variants = 2;
  attr->lo = -0.6; /* multiples of 0.15, where no value lies */
  attr->hi = 0.9;
  c->n_out = 1;
  ML_TRY(ml_case_spread(c, 0, &shape, g, err));
  return variant ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}

/* ---- cast ------------------------------------------------------------------------------------ */

ml_status ml_cast(ml_tensor *out, const ml_tensor *t, ml_dtype dtype, ml_error *err) {
  if (!ml_taped1(t) || !ml_is_real(dtype))
    return ml_tensor_cast(out, t, dtype, err);
  ml_grad_cast_attr attr = {dtype};
  return ml_apply(out, &ml_grad_op_cast, &t, 1, &attr, err);
}

ml_status ml_grad_cast_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                               const void *attr, ml_save *save, ml_error *err) {
  (void)n_in;
  (void)save;
  return ml_tensor_cast(out, in[0], ((const ml_grad_cast_attr *)attr)->dtype, err);
}

ml_status ml_grad_cast_vjp(ml_vjp *c, ml_error *err) {
  ml_tensor g = {0};
  ML_TRY(ml_tensor_cast(&g, &c->gout[0], c->in_dtype[0], err));
  return ml_vjp_give(c, 0, &g, err);
}

/* To f64 only: differences of f32 results are too coarse; test_tape.c checks the other way. */
ml_status ml_grad_cast_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                             ml_error *err) {
  const ml_shape shape = {2, {4, 5}};
  (void)variant;
  *n_variants = 1;
  ((ml_grad_cast_attr *)(void *)c->attr)->dtype = ML_F64;
  c->n_out = 1;
  return ml_case_uniform(c, 0, &shape, -1, 1, g, err);
}

/* ---- copies ---------------------------------------------------------------------------------- */

ml_status ml_clone(ml_tensor *out, const ml_tensor *t, ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_clone(out, t, err);
  return ml_apply(out, &ml_grad_op_clone, &t, 1, NULL, err);
}

ml_status ml_contiguous(ml_tensor *out, const ml_tensor *t, ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_contiguous(out, t, err);
  if (!ml_is_contiguous(t))
    return ml_apply(out, &ml_grad_op_clone, &t, 1, NULL, err);
  ml_tensor_alias(out, t);
  return ML_OK;
}

ml_status ml_grad_clone_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                const void *attr, ml_save *save, ml_error *err) {
  (void)n_in;
  (void)attr;
  (void)save;
  return ml_tensor_clone(out, in[0], err);
}

ml_status ml_grad_clone_vjp(ml_vjp *c, ml_error *err) {
  return ml_grad_give_alias(c, 0, &c->gout[0], err);
}

ml_status ml_grad_clone_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                              ml_error *err) {
  const ml_shape shape = {3, {2, 3, 2}};
  *n_variants = 2;
  c->n_out = 1;
  ML_TRY(ml_case_uniform(c, 0, &shape, -1, 1, g, err));
  return variant ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}
