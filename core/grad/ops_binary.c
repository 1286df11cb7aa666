/* Differentiable functions of two tensors, or a tensor and a number, element by element with
 * broadcasting.
 *
 * Conventions where the derivative does not exist: maximum and minimum give each of two equals
 * half, and nothing where one is NaN; the base of a power gets 0 where the exponent is 0, the
 * exponent 0 where the base is 0 and the exponent not negative (so 0^0 makes no NaN); atan2 gets 0
 * at (0, 0). Comparisons and logic give u8 and leave the tape. */
#include "ops.h"

#include <math.h>

static const ml_op *const tensor_ops[ML_BINARY_COUNT] = {
#define ML_GRAD_BINARY(name, op) [op] = &ml_grad_op_##name,
#include "ops.def"
};
static const ml_op *const number_ops[ML_BINARY_COUNT] = {
#define ML_GRAD_BINARY(name, op) [op] = &ml_grad_op_##name##_number,
#include "ops.def"
};

ml_status ml_binary(ml_tensor *out, ml_binary_op op, const ml_tensor *a, const ml_tensor *b,
                    ml_error *err) {
  if (!ml_taped2(a, b) || !tensor_ops[op])
    return ml_tensor_binary(out, op, a, b, err);
  const ml_tensor *in[2] = {a, b};
  ml_grad_binary_attr attr = {op};
  return ml_apply(out, tensor_ops[op], in, 2, &attr, err);
}

ml_status ml_binary_number(ml_tensor *out, ml_binary_op op, const ml_tensor *t, double number,
                           bool reverse, ml_error *err) {
  if (!ml_taped1(t) || !number_ops[op])
    return ml_tensor_binary_number(out, op, t, number, reverse, err);
  ml_grad_number_attr attr = {op, reverse, number};
  return ml_apply(out, number_ops[op], &t, 1, &attr, err);
}

/* ---- forward --------------------------------------------------------------------------------- */

static const ml_tensor nothing;

/* Which of a, b and y the derivative by side (0: a, 1: b) is made of: bits 1, 2, 4. */
static unsigned needs(ml_binary_op op, int side) {
  switch ((int)op) {
  case ML_ADD:
  case ML_SUB:
    return 0;
  case ML_MUL:
    return side ? 1 : 2;
  case ML_DIV:
    return side ? 2 | 4 : 2;
  case ML_POW:
    return side ? 1 | 2 | 4 : 1 | 2;
  default:
    return 1 | 2;
  }
}

/* saved[0..2] are a, b, y, those that are not needed empty. */
ml_status ml_grad_binary_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                 const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_binary_attr *attr = attr_;
  (void)n_in;
  ML_TRY(ml_tensor_binary(out, attr->op, in[0], in[1], err));
  if (!save)
    return ML_OK;
  unsigned need = (in[0]->node ? needs(attr->op, 0) : 0) | (in[1]->node ? needs(attr->op, 1) : 0);
  if (!need)
    return ML_OK;
  ML_TRY(ml_save_tensor(save, need & 1 ? in[0] : &nothing, err));
  ML_TRY(ml_save_tensor(save, need & 2 ? in[1] : &nothing, err));
  return need & 4 ? ml_save_tensor(save, out, err) : ML_OK;
}

/* saved[0] is the tensor, saved[1] the result, as far as they are needed. */
ml_status ml_grad_number_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                 const void *attr_, ml_save *save, ml_error *err) {
  const ml_grad_number_attr *attr = attr_;
  (void)n_in;
  ML_TRY(ml_tensor_binary_number(out, attr->op, in[0], attr->number, attr->reverse, err));
  unsigned need = needs(attr->op, attr->reverse), self = attr->reverse ? 2 : 1;
  if (!(need & (self | 4)))
    return ML_OK;
  ML_TRY(ml_save_tensor(save, need & self ? in[0] : &nothing, err));
  return need & 4 ? ml_save_tensor(save, out, err) : ML_OK;
}

/* ---- derivatives ----------------------------------------------------------------------------- */

/* g = g where keep, else 0 */
static ml_status keep_where(ml_tensor *g, const ml_tensor *keep, ml_error *err) {
  ml_tensor zero = {0}, kept = {0};
  ml_status status = ml_grad_scalar(&zero, g->dtype, 0, err);
  if (!status)
    status = ml_tensor_where(&kept, keep, g, &zero, err);
  ml_tensor_clear(&zero);
  ml_tensor_clear(g);
  *g = kept;
  return status;
}

static ml_status div_grad(ml_tensor *g, int side, const ml_tensor *b, const ml_tensor *y,
                          const ml_tensor *dy, ml_error *err) {
  ML_TRY(ml_tensor_binary(g, ML_DIV, dy, b, err));
  if (side == 0)
    return ML_OK;
  ML_TRY(ml_tensor_binary_into(g, ML_MUL, y, err));
  return ml_tensor_binary_number_into(g, ML_MUL, -1, err);
}

/* dy b a^(b-1), 0 where b is 0 */
static ml_status pow_base_grad(ml_tensor *g, const ml_tensor *a, const ml_tensor *b,
                               const ml_tensor *dy, ml_error *err) {
  ml_tensor less = {0}, keep = {0};
  ml_status status = ml_tensor_binary_number(&less, ML_SUB, b, 1, false, err);
  if (!status)
    status = ml_tensor_binary(g, ML_POW, a, &less, err);
  if (!status)
    status = ml_tensor_binary_into(g, ML_MUL, b, err);
  if (!status)
    status = ml_tensor_binary_into(g, ML_MUL, dy, err);
  if (!status)
    status = ml_tensor_binary_number(&keep, ML_NE, b, 0, false, err);
  if (!status)
    status = keep_where(g, &keep, err);
  ml_tensor_clear(&less);
  ml_tensor_clear(&keep);
  return status;
}

/* dy y log(a), 0 where a is 0 and b is not negative */
static ml_status pow_exponent_grad(ml_tensor *g, const ml_tensor *a, const ml_tensor *b,
                                   const ml_tensor *y, const ml_tensor *dy, ml_error *err) {
  ml_tensor log = {0}, some = {0}, below = {0}, keep = {0};
  ml_status status = ml_tensor_unary(&log, ML_LOG, a, err);
  if (!status)
    status = ml_tensor_binary(g, ML_MUL, dy, y, err);
  if (!status)
    status = ml_tensor_binary_into(g, ML_MUL, &log, err);
  if (!status)
    status = ml_tensor_binary_number(&some, ML_NE, a, 0, false, err);
  if (!status)
    status = ml_tensor_binary_number(&below, ML_LT, b, 0, false, err);
  if (!status)
    status = ml_tensor_binary(&keep, ML_OR, &some, &below, err);
  if (!status)
    status = keep_where(g, &keep, err);
  ml_tensor_clear(&log);
  ml_tensor_clear(&some);
  ml_tensor_clear(&below);
  ml_tensor_clear(&keep);
  return status;
}

/* dy where `mine` wins, half of it where both are equal */
static ml_status extremum_grad(ml_tensor *g, ml_binary_op wins, const ml_tensor *mine,
                               const ml_tensor *other, const ml_tensor *dy, ml_error *err) {
  ml_tensor won = {0}, even = {0}, half = {0};
  ml_status status = ml_tensor_binary_number(&half, ML_MUL, dy, 0.5, false, err);
  if (!status)
    status = ml_tensor_binary(&even, ML_EQ, mine, other, err);
  if (!status)
    status = keep_where(&half, &even, err);
  if (!status)
    status = ml_tensor_binary(&won, wins, mine, other, err);
  if (!status)
    status = ml_tensor_where(g, &won, dy, &half, err);
  ml_tensor_clear(&won);
  ml_tensor_clear(&even);
  ml_tensor_clear(&half);
  return status;
}

/* dy b / (a^2 + b^2), and -dy a / (a^2 + b^2); 0 at the origin */
static ml_status atan2_grad(ml_tensor *g, int side, const ml_tensor *a, const ml_tensor *b,
                            const ml_tensor *dy, ml_error *err) {
  ml_tensor a2 = {0}, b2 = {0}, r = {0}, keep = {0};
  ml_status status = ml_tensor_unary(&a2, ML_SQUARE, a, err);
  if (!status)
    status = ml_tensor_unary(&b2, ML_SQUARE, b, err);
  if (!status)
    status = ml_tensor_binary(&r, ML_ADD, &a2, &b2, err);
  if (!status)
    status = ml_tensor_binary(g, ML_DIV, dy, &r, err);
  if (!status)
    status = ml_tensor_binary_into(g, ML_MUL, side ? a : b, err);
  if (!status && side)
    status = ml_tensor_binary_number_into(g, ML_MUL, -1, err);
  if (!status)
    status = ml_tensor_binary_number(&keep, ML_NE, &r, 0, false, err);
  if (!status)
    status = keep_where(g, &keep, err);
  ml_tensor_clear(&a2);
  ml_tensor_clear(&b2);
  ml_tensor_clear(&r);
  ml_tensor_clear(&keep);
  return status;
}

/* The gradient of one side, in the shape of the result. On failure g may hold something; the caller
 * clears it. */
static ml_status side_grad(ml_tensor *g, ml_binary_op op, int side, const ml_tensor *a,
                           const ml_tensor *b, const ml_tensor *y, const ml_tensor *dy,
                           ml_error *err) {
  switch ((int)op) {
  case ML_ADD:
    ml_tensor_detach(g, dy);
    return ML_OK;
  case ML_SUB:
    if (side)
      return ml_tensor_unary(g, ML_NEG, dy, err);
    ml_tensor_detach(g, dy);
    return ML_OK;
  case ML_MUL:
    return ml_tensor_binary(g, ML_MUL, dy, side ? a : b, err);
  case ML_DIV:
    return div_grad(g, side, b, y, dy, err);
  case ML_POW:
    return side ? pow_exponent_grad(g, a, b, y, dy, err) : pow_base_grad(g, a, b, dy, err);
  case ML_MAXIMUM:
    return extremum_grad(g, ML_GT, side ? b : a, side ? a : b, dy, err);
  case ML_MINIMUM:
    return extremum_grad(g, ML_LT, side ? b : a, side ? a : b, dy, err);
  default:
    return atan2_grad(g, side, a, b, dy, err);
  }
}

ml_status ml_grad_binary_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_binary_attr *attr = c->attr;
  for (int side = 0; side < 2; side++) {
    if (!c->wanted[side])
      continue;
    ml_tensor g = {0};
    ml_status status =
        side_grad(&g, attr->op, side, &c->saved[0], &c->saved[1], &c->saved[2], &c->gout[0], err);
    if (!status)
      status = ml_grad_give_summed(c, side, &g, err);
    ml_tensor_clear(&g);
    ML_TRY(status);
  }
  return ML_OK;
}

/* dy n t^(n-1) without the general rule's masks. */
static ml_status pow_number_grad(ml_tensor *g, const ml_tensor *t, double n, const ml_tensor *dy,
                                 ml_error *err) {
  ml_shape shape = ml_shape_of(dy);
  if (n == 0)
    return ml_grad_zeros(g, dy->dtype, &shape, err);
  if (n == 2) {
    ML_TRY(ml_tensor_binary(g, ML_MUL, dy, t, err));
  } else {
    ML_TRY(ml_tensor_binary_number(g, ML_POW, t, n - 1, false, err));
    ML_TRY(ml_tensor_binary_into(g, ML_MUL, dy, err));
  }
  return ml_tensor_binary_number_into(g, ML_MUL, n, err);
}

ml_status ml_grad_number_vjp(ml_vjp *c, ml_error *err) {
  const ml_grad_number_attr *attr = c->attr;
  const ml_tensor *dy = &c->gout[0], *t = &c->saved[0];
  int side = attr->reverse ? 1 : 0;
  ml_tensor g = {0}, number = {0};
  ml_status status;
  if (attr->op == ML_MUL) {
    status = ml_tensor_binary_number(&g, ML_MUL, dy, attr->number, false, err);
  } else if (attr->op == ML_DIV && !side) {
    status = ml_tensor_binary_number(&g, ML_DIV, dy, attr->number, false, err);
  } else if (attr->op == ML_POW && !side) {
    status = pow_number_grad(&g, t, attr->number, dy, err);
  } else {
    status = ml_grad_scalar(&number, dy->dtype, attr->number, err);
    if (!status)
      status = side_grad(&g, attr->op, side, side ? &number : t, side ? t : &number, &c->saved[1],
                         dy, err);
  }
  ml_tensor_clear(&number);
  if (!status)
    status = ml_vjp_give(c, 0, &g, err);
  ml_tensor_clear(&g);
  return status;
}

/* ---- check cases ----------------------------------------------------------------------------- */

static ml_status check(ml_check_case *c, int variant, int *n_variants, ml_binary_op op, ml_rng *g,
                       ml_error *err) {
  const ml_shape shapes[][2] = {
      {{2, {3, 4}}, {2, {3, 4}}}, {{2, {3, 4}}, {1, {4}}},       {{2, {3, 1}}, {2, {1, 4}}},
      {{0, {0}}, {3, {2, 1, 3}}}, {{3, {2, 3, 2}}, {2, {3, 1}}}, {{2, {4, 3}}, {2, {4, 3}}},
      {{2, {2, 5}}, {2, {2, 5}}},
  };
  *n_variants = op == ML_POW ? 7 : 6;
  const ml_shape *a = &shapes[variant][0], *b = &shapes[variant][1];
  ((ml_grad_binary_attr *)(void *)c->attr)->op = op;
  c->n_out = 1;
  if (op == ML_MAXIMUM || op == ML_MINIMUM) { /* values of b lie between those of a */
    ML_TRY(ml_case_spread(c, 0, a, g, err));
    ML_TRY(ml_case_spread(c, 1, b, g, err));
    ML_TRY(ml_tensor_binary_number_into(&c->in[1], ML_ADD, 0.075, err));
  } else if (variant == 6) { /* powers of negative numbers, the exponents constant */
    ML_TRY(ml_case_uniform(c, 0, a, -2, -0.5, g, err));
    ML_TRY(ml_case_uniform(c, 1, b, 0, 0, g, err));
    for (int64_t i = 0; i < 10; i++)
      ML_DATA(double, &c->in[1])[i] = (double)(i - 4);
    c->differentiable = 1;
  } else {
    bool positive = op == ML_POW;
    ML_TRY(ml_case_uniform(c, 0, a, positive ? 0.5 : -2, 2, g, err));
    ML_TRY(ml_case_uniform(c, 1, b, op == ML_DIV ? 0.5 : -2, 2, g, err));
  }
  if (variant == 5) {
    ML_TRY(ml_case_reverse_layout(c, 0, err));
  }
  return ML_OK;
}

/* Both orders, with several numbers. */
static ml_status check_number(ml_check_case *c, int variant, int *n_variants, ml_binary_op op,
                              ml_rng *g, ml_error *err) {
  const double numbers[] = {1.7, 2, 0, -1.3};
  const ml_shape shape = {2, {3, 4}};
  ml_grad_number_attr *attr = (ml_grad_number_attr *)(void *)c->attr;
  *n_variants = 8;
  attr->op = op;
  attr->reverse = variant >= 4;
  attr->number = numbers[variant % 4];
  if (attr->reverse && op == ML_POW && attr->number < 0)
    attr->number = 0.4;
  if (op == ML_DIV && attr->number == 0)
    attr->number = 5;
  c->n_out = 1;
  if (op == ML_MAXIMUM || op == ML_MINIMUM) {
    ML_TRY(ml_case_spread(c, 0, &shape, g, err));
    attr->number *= 0.3; /* within the values, at least 0.01 from the nearest */
    double nearest = 0.15 * round(attr->number / 0.15);
    attr->number = nearest + 0.12;
    return ML_OK;
  }
  return ml_case_uniform(c, 0, &shape, op == ML_POW || op == ML_DIV ? 0.5 : -2, 2, g, err);
}

#define ML_GRAD_BINARY(name, op)                                                                   \
  ml_status ml_grad_##name##_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,      \
                                   ml_error *err) {                                                \
    return check(c, variant, n_variants, op, g, err);                                              \
  }                                                                                                \
  ml_status ml_grad_##name##_number_check(ml_check_case *c, int variant, int *n_variants,          \
                                          ml_rng *g, ml_error *err) {                              \
    return check_number(c, variant, n_variants, op, g, err);                                       \
  }
#include "ops.def"
