/* Differentiable reductions, running sums and softmax.
 *
 * Conventions: max and min share the gradient equally among the equal largest (nothing where the
 * result is NaN); norm and std have derivative 0 where they are 0; logsumexp of a row of -inf
 * passes nothing. any and all give u8 and leave the tape. */
#include "kernels.h"
#include "ops.h"

#include <math.h>

static const ml_op *const reduce_ops[ML_REDUCE_COUNT] = {
#define ML_GRAD_REDUCE(name, op) [op] = &ml_grad_op_##name,
#include "ops.def"
};

/* ---- axes ------------------------------------------------------------------------------------ */

static bool reduced(unsigned axes, int k) { return axes == 0 || (axes >> k & 1u); }

/* t, which was reduced from shape, spread over it again. */
static ml_status spread(ml_tensor *out, const ml_tensor *t, const ml_shape *shape, unsigned axes,
                        bool keepdims, ml_error *err) {
  if (keepdims)
    return ml_view_broadcast(out, t, shape, err);
  ml_tensor view = {0};
  ml_shape kept = *shape;
  for (int k = 0; k < shape->rank; k++)
    if (reduced(axes, k))
      kept.size[k] = 1;
  ML_TRY(ml_view_reshape(&view, t, &kept, err));
  ml_status status = ml_view_broadcast(out, &view, shape, err);
  ml_tensor_clear(&view);
  return status;
}

static double count_reduced(const ml_shape *shape, unsigned axes) {
  double n = 1;
  for (int k = 0; k < shape->rank; k++)
    if (reduced(axes, k))
      n *= (double)shape->size[k];
  return n;
}

/* ---- sums, extremes, norms ------------------------------------------------------------------- */

ml_status ml_reduce(ml_tensor *out, ml_reduce_op op, const ml_tensor *t, unsigned axes,
                    bool keepdims, ml_error *err) {
  if (!ml_taped1(t) || !reduce_ops[op])
    return ml_tensor_reduce(out, op, t, axes, keepdims, err);
  ml_grad_reduce_attr attr = {op, axes, keepdims};
  return ml_apply(out, reduce_ops[op], &t, 1, &attr, err);
}

ml_status ml_grad_reduce_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                 const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_reduce_attr *attr = attr_;
  (void)n_in;
  ML_TRY(ml_tensor_reduce(out, attr->op, in[0], attr->axes, attr->keepdims, err));
  if (attr->op == ML_SUM || attr->op == ML_MEAN)
    return ML_OK;
  ML_TRY(ml_save_tensor(save, in[0], err));
  if (attr->op == ML_PROD || attr->op == ML_SUMSQ)
    return ML_OK;
  return ml_save_tensor(save, out, err);
}

/* D / (number of equals) where x equals Y; Y and D are spread over x's shape. */
static ml_status extreme_grad(ml_tensor *dx, const ml_tensor *x, const ml_tensor *Y,
                              const ml_tensor *D, unsigned axes, ml_error *err) {
  ml_tensor equal = {0}, real = {0}, count = {0}, Count = {0}, zero = {0}, share = {0};
  ml_shape shape = ml_shape_of(x);
  ml_status status = ml_tensor_binary(&equal, ML_EQ, x, Y, err);
  if (!status)
    status = ml_tensor_cast(&real, &equal, x->dtype, err);
  if (!status)
    status = ml_tensor_reduce(&count, ML_SUM, &real, axes, true, err);
  if (!status)
    status = ml_view_broadcast(&Count, &count, &shape, err);
  if (!status)
    status = ml_tensor_binary(&share, ML_DIV, D, &Count, err);
  if (!status)
    status = ml_grad_scalar(&zero, x->dtype, 0, err);
  if (!status)
    status = ml_tensor_where(dx, &equal, &share, &zero, err);
  ml_tensor_clear(&equal);
  ml_tensor_clear(&real);
  ml_tensor_clear(&count);
  ml_tensor_clear(&Count);
  ml_tensor_clear(&zero);
  ml_tensor_clear(&share);
  return status;
}

/* D exp(x - y); a row whose y is -inf gets zeros. y and D are spread over x's shape by the caller's
 * axes. */
static ml_status logsumexp_grad(ml_tensor *dx, const ml_tensor *x, const ml_tensor *y,
                                const ml_tensor *D, unsigned axes, bool keepdims, ml_error *err) {
  ml_tensor empty = {0}, zero = {0}, safe = {0}, Y = {0}, less = {0};
  ml_shape shape = ml_shape_of(x);
  ml_status status = ml_tensor_binary_number(&empty, ML_EQ, y, -HUGE_VAL, false, err);
  if (!status)
    status = ml_grad_scalar(&zero, x->dtype, 0, err);
  if (!status)
    status = ml_tensor_where(&safe, &empty, &zero, y, err);
  if (!status)
    status = spread(&Y, &safe, &shape, axes, keepdims, err);
  if (!status)
    status = ml_tensor_binary(&less, ML_SUB, x, &Y, err);
  if (!status)
    status = ml_tensor_unary(dx, ML_EXP, &less, err);
  if (!status)
    status = ml_tensor_binary_into(dx, ML_MUL, D, err);
  ml_tensor_clear(&empty);
  ml_tensor_clear(&zero);
  ml_tensor_clear(&safe);
  ml_tensor_clear(&Y);
  ml_tensor_clear(&less);
  return status;
}

/* dy / y, 0 where y is 0 */
static ml_status ratio_or_zero(ml_tensor *out, const ml_tensor *dy, const ml_tensor *y,
                               ml_error *err) {
  ml_tensor some = {0}, zero = {0}, ratio = {0};
  ml_status status = ml_tensor_binary(&ratio, ML_DIV, dy, y, err);
  if (!status)
    status = ml_tensor_binary_number(&some, ML_NE, y, 0, false, err);
  if (!status)
    status = ml_grad_scalar(&zero, y->dtype, 0, err);
  if (!status)
    status = ml_tensor_where(out, &some, &ratio, &zero, err);
  ml_tensor_clear(&some);
  ml_tensor_clear(&zero);
  ml_tensor_clear(&ratio);
  return status;
}

/* x (dy / y), 0 where y is 0 */
static ml_status norm_grad(ml_tensor *dx, const ml_tensor *x, const ml_tensor *y,
                           const ml_tensor *dy, unsigned axes, bool keepdims, ml_error *err) {
  ml_tensor ratio = {0}, R = {0};
  ml_shape shape = ml_shape_of(x);
  ml_status status = ratio_or_zero(&ratio, dy, y, err);
  if (!status)
    status = spread(&R, &ratio, &shape, axes, keepdims, err);
  if (!status)
    status = ml_tensor_binary(dx, ML_MUL, x, &R, err);
  ml_tensor_clear(&ratio);
  ml_tensor_clear(&R);
  return status;
}

typedef struct {
  const ml_grad_kernels *kernels;
  size_t item;
  int64_t n; /* of a product */
  const char *x, *dy;
  char *dx;
} products;

static void product_body(void *ctx, int64_t i, int worker) {
  const products *p = ctx;
  (void)worker;
  size_t at = (size_t)i * (size_t)p->n * p->item;
  p->kernels->product_row(p->n, p->x + at, p->dy + (size_t)i * p->item, p->dx + at);
}

/* Rows are made contiguous: kept axes first, reduced ones last. */
static ml_status prod_grad(ml_tensor *dx, const ml_tensor *x, const ml_tensor *dy, unsigned axes,
                           ml_error *err) {
  int order[ML_MAX_RANK], back[ML_MAX_RANK], n = 0;
  for (int k = 0; k < x->rank; k++)
    if (!reduced(axes, k))
      order[n++] = k;
  for (int k = 0; k < x->rank; k++)
    if (reduced(axes, k))
      order[n++] = k;
  for (int k = 0; k < n; k++)
    back[order[k]] = k;
  ml_tensor moved = {0}, rows = {0}, d = {0}, made = {0};
  ml_status status = ml_view_permute(&moved, x, order, err);
  if (!status)
    status = ml_tensor_contiguous(&rows, &moved, err);
  if (!status)
    status = ml_tensor_contiguous(&d, dy, err);
  if (!status) {
    ml_shape shape = ml_shape_of(&rows);
    status = ml_tensor_init(&made, x->dtype, &shape, err);
  }
  if (!status && ml_numel(x) > 0) {
    int64_t n_rows = ml_numel(&d);
    products p = {ml_grad_kernels_of(x->dtype),
                  ml_dtype_size(x->dtype),
                  ml_numel(x) / n_rows,
                  ml_data(&rows),
                  ml_data(&d),
                  ml_data(&made)};
    ml_parallel_for(n_rows, 8 * (double)p.n, product_body, &p);
  }
  if (!status)
    status = ml_view_permute(dx, &made, back, err);
  ml_tensor_clear(&moved);
  ml_tensor_clear(&rows);
  ml_tensor_clear(&d);
  ml_tensor_clear(&made);
  return status;
}

ml_status ml_grad_reduce_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_reduce_attr *attr = c->attr;
  const ml_tensor *dy = &c->gout[0], *x = &c->saved[0], *y = &c->saved[1];
  unsigned axes = attr->axes;
  ml_tensor dx = {0}, D = {0}, Y = {0}, scaled = {0};
  const ml_shape *shape = &c->in_shape[0];
  ml_status status = ML_OK;
  switch (attr->op) {
  case ML_SUM:
    status = spread(&dx, dy, shape, axes, attr->keepdims, err);
    break;
  case ML_MEAN:
    status = ml_tensor_binary_number(&scaled, ML_DIV, dy, count_reduced(shape, axes), false, err);
    if (!status)
      status = spread(&dx, &scaled, shape, axes, attr->keepdims, err);
    break;
  case ML_SUMSQ:
    status = ml_tensor_binary_number(&scaled, ML_MUL, dy, 2, false, err);
    if (!status)
      status = spread(&D, &scaled, shape, axes, attr->keepdims, err);
    if (!status)
      status = ml_tensor_binary(&dx, ML_MUL, x, &D, err);
    break;
  case ML_PROD:
    status = prod_grad(&dx, x, dy, axes, err);
    break;
  case ML_NORM:
    status = norm_grad(&dx, x, y, dy, axes, attr->keepdims, err);
    break;
  case ML_LOGSUMEXP:
    status = spread(&D, dy, shape, axes, attr->keepdims, err);
    if (!status)
      status = logsumexp_grad(&dx, x, y, &D, axes, attr->keepdims, err);
    break;
  default: /* max, min */
    status = spread(&D, dy, shape, axes, attr->keepdims, err);
    if (!status)
      status = spread(&Y, y, shape, axes, attr->keepdims, err);
    if (!status)
      status = extreme_grad(&dx, x, &Y, &D, axes, err);
    break;
  }
  ml_tensor_clear(&D);
  ml_tensor_clear(&Y);
  ml_tensor_clear(&scaled);
  if (!status)
    status = ml_vjp_give(c, 0, &dx, err);
  ml_tensor_clear(&dx);
  return status;
}

static ml_status check(ml_check_case *c, int variant, int *n_variants, ml_reduce_op op, ml_rng *g,
                       ml_error *err) {
  const ml_shape shape = {3, {3, 2, 4}};
  const unsigned axes[] = {0, 1, 2, 4, 1 | 4, 2 | 4, 7};
  const int64_t n = 24;
  *n_variants = 11;
  ml_grad_reduce_attr *attr = (ml_grad_reduce_attr *)(void *)c->attr;
  attr->op = op;
  attr->axes = axes[variant % 7];
  attr->keepdims = variant % 2 == 1;
  c->n_out = 1;
  if (op == ML_MAX || op == ML_MIN)
    ML_TRY(ml_case_spread(c, 0, &shape, g, err));
  else
    ML_TRY(ml_case_uniform(c, 0, &shape, -1.5, 1.5, g, err));
  if (op == ML_PROD && variant > 7) /* one zero, then two in one product */
    for (int64_t i = 0; i < variant - 7; i++)
      ML_DATA(double, &c->in[0])[(5 + 12 * i) % n] = 0;
  if (op == ML_LOGSUMEXP && variant > 7)
    ML_TRY(ml_tensor_binary_number_into(&c->in[0], ML_ADD, variant == 8 ? 700 : -700, err));
  return variant == 3 || variant == 9 ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}

#define ML_GRAD_REDUCE(name, op)                                                                   \
  ml_status ml_grad_##name##_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,      \
                                   ml_error *err) {                                                \
    return check(c, variant, n_variants, op, g, err);                                              \
  }
#include "ops.def"

/* ---- variance and standard deviation --------------------------------------------------------- */

ml_status ml_var(ml_tensor *out, const ml_tensor *t, unsigned axes, bool keepdims, int ddof,
                 ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_var(out, t, axes, keepdims, ddof, err);
  ml_grad_var_attr attr = {axes, keepdims, ddof};
  return ml_apply(out, &ml_grad_op_var, &t, 1, &attr, err);
}

ml_status ml_grad_var_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                              const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_var_attr *attr = attr_;
  (void)n_in;
  ML_TRY(ml_tensor_var(out, in[0], attr->axes, attr->keepdims, attr->ddof, err));
  return ml_save_tensor(save, in[0], err);
}

/* Gives factor (x - mean) dy / (n - ddof). */
static ml_status give_deviations(ml_vjp *c, const ml_tensor *dy, double factor, ml_error *err) {
  const ml_grad_var_attr *attr = c->attr;
  const ml_shape *shape = &c->in_shape[0];
  double n = count_reduced(shape, attr->axes);
  ml_tensor mean = {0}, scaled = {0}, D = {0}, dx = {0};
  ml_status status = ml_tensor_reduce(&mean, ML_MEAN, &c->saved[0], attr->axes, true, err);
  if (!status)
    status = ml_tensor_binary_number(&scaled, ML_MUL, dy, factor / (n - attr->ddof), false, err);
  if (!status)
    status = spread(&D, &scaled, shape, attr->axes, attr->keepdims, err);
  if (!status)
    status = ml_tensor_binary(&dx, ML_SUB, &c->saved[0], &mean, err);
  if (!status)
    status = ml_tensor_binary_into(&dx, ML_MUL, &D, err);
  ml_tensor_clear(&mean);
  ml_tensor_clear(&scaled);
  ml_tensor_clear(&D);
  if (!status)
    status = ml_vjp_give(c, 0, &dx, err);
  ml_tensor_clear(&dx);
  return status;
}

ml_status ml_grad_var_vjp(ml_vjp *c, ml_error *err) {
  return give_deviations(c, &c->gout[0], 2, err);
}

ml_status ml_grad_var_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                            ml_error *err) {
  const ml_shape shape = {3, {3, 2, 4}};
  const unsigned axes[] = {0, 1, 4, 2, 1 | 4};
  ml_grad_var_attr *attr = (ml_grad_var_attr *)(void *)c->attr;
  *n_variants = 5;
  attr->axes = axes[variant];
  attr->keepdims = variant % 2 == 1;
  attr->ddof = variant % 3 == 1;
  c->n_out = 1;
  ML_TRY(ml_case_uniform(c, 0, &shape, -1, 3, g, err));
  return variant == 2 ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}

static ml_status root_of_var(ml_tensor *out, const ml_tensor *t, unsigned axes, bool keepdims,
                             int ddof, ml_error *err) {
  ml_tensor square = {0};
  ML_TRY(ml_tensor_var(&square, t, axes, keepdims, ddof, err));
  ml_status status = ml_tensor_unary(out, ML_SQRT, &square, err);
  ml_tensor_clear(&square);
  return status;
}

ml_status ml_std(ml_tensor *out, const ml_tensor *t, unsigned axes, bool keepdims, int ddof,
                 ml_error *err) {
  if (!ml_taped1(t))
    return root_of_var(out, t, axes, keepdims, ddof, err);
  ml_grad_var_attr attr = {axes, keepdims, ddof};
  return ml_apply(out, &ml_grad_op_std, &t, 1, &attr, err);
}

ml_status ml_grad_std_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                              const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_var_attr *attr = attr_;
  (void)n_in;
  ML_TRY(root_of_var(out, in[0], attr->axes, attr->keepdims, attr->ddof, err));
  ML_TRY(ml_save_tensor(save, in[0], err));
  return ml_save_tensor(save, out, err);
}

/* (x - mean) (dy / std) / (n - ddof), 0 where std is 0 */
ml_status ml_grad_std_vjp(ml_vjp *c, ml_error *err) {
  ml_tensor ratio = {0};
  ML_TRY(ratio_or_zero(&ratio, &c->gout[0], &c->saved[1], err));
  ml_status status = give_deviations(c, &ratio, 1, err);
  ml_tensor_clear(&ratio);
  return status;
}

ml_status ml_grad_std_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                            ml_error *err) {
  return ml_grad_var_check(c, variant, n_variants, g, err);
}

/* ---- running sum ----------------------------------------------------------------------------- */

ml_status ml_cumsum(ml_tensor *out, const ml_tensor *t, int axis, ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_cumsum(out, t, axis, err);
  ml_grad_axis_attr attr = {.axis = axis};
  return ml_apply(out, &ml_grad_op_cumsum, &t, 1, &attr, err);
}

ml_status ml_grad_cumsum_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                 const void *attr, ml_save *save, ml_error *err) {
  (void)n_in;
  (void)save;
  return ml_tensor_cumsum(out, in[0], ((const ml_grad_axis_attr *)attr)->axis, err);
}

static ml_status flip(ml_tensor *out, const ml_tensor *t, int axis, ml_error *err) {
  ml_slice slices[ML_MAX_RANK];
  for (int k = 0; k < t->rank; k++)
    slices[k] = (ml_slice){0, t->size[k], 1, false};
  if (t->size[axis] > 0)
    slices[axis] = (ml_slice){t->size[axis] - 1, t->size[axis], -1, false};
  return ml_view_slice(out, t, slices, t->rank, err);
}

/* the running sum from the other end */
ml_status ml_grad_cumsum_vjp(ml_vjp *c, ml_error *err) {
  int axis = ((const ml_grad_axis_attr *)c->attr)->axis;
  ml_tensor flipped = {0}, sum = {0}, dx = {0};
  ml_status status = flip(&flipped, &c->gout[0], axis, err);
  if (!status)
    status = ml_tensor_cumsum(&sum, &flipped, axis, err);
  if (!status)
    status = flip(&dx, &sum, axis, err);
  ml_tensor_clear(&flipped);
  ml_tensor_clear(&sum);
  ML_TRY(status);
  return ml_vjp_give(c, 0, &dx, err);
}

ml_status ml_grad_cumsum_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                               ml_error *err) {
  const ml_shape shape = {3, {3, 2, 4}};
  *n_variants = 4;
  ((ml_grad_axis_attr *)(void *)c->attr)->axis = variant % 3;
  c->n_out = 1;
  ML_TRY(ml_case_uniform(c, 0, &shape, -1, 1, g, err));
  return variant == 3 ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}

/* ---- softmax --------------------------------------------------------------------------------- */

ml_status ml_softmax(ml_tensor *out, const ml_tensor *t, int axis, bool log, ml_error *err) {
  if (!ml_taped1(t))
    return ml_tensor_softmax(out, t, axis, log, err);
  ml_grad_axis_attr attr = {.axis = axis, .flag = log};
  return ml_apply(out, &ml_grad_op_softmax, &t, 1, &attr, err);
}

ml_status ml_grad_softmax_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                  const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_axis_attr *attr = attr_;
  (void)n_in;
  ML_TRY(ml_tensor_softmax(out, in[0], attr->axis, attr->flag, err));
  return ml_save_tensor(save, out, err);
}

ml_status ml_grad_softmax_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_axis_attr *attr = c->attr;
  ml_tensor dx = {0};
  ML_TRY(ml_tensor_softmax_grad(&dx, &c->saved[0], &c->gout[0], attr->axis, attr->flag, err));
  return ml_vjp_give(c, 0, &dx, err);
}

ml_status ml_grad_softmax_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                ml_error *err) {
  const ml_shape shape = {3, {3, 2, 5}};
  ml_grad_axis_attr *attr = (ml_grad_axis_attr *)(void *)c->attr;
  *n_variants = 8;
  attr->axis = variant / 2 % 3;
  attr->flag = variant % 2 == 1;
  c->n_out = 1;
  ML_TRY(ml_case_uniform(c, 0, &shape, -2, 2, g, err));
  return variant >= 6 ? ml_case_reverse_layout(c, 0, err) : ML_OK;
}
