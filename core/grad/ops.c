/* The descriptors of the differentiable tensor ops, made from ops.def and registered, and what
 * their vjps share. */
#include "ops.h"

#define ML_GRAD_UNARY(name, op, saved, lo, hi)                                                     \
  const ml_op ml_grad_op_##name = {#name,                                                          \
                                   1,                                                              \
                                   1,                                                              \
                                   sizeof(ml_grad_unary_attr),                                     \
                                   ml_grad_unary_forward,                                          \
                                   ml_grad_unary_vjp,                                              \
                                   ml_grad_##name##_check};
#define ML_GRAD_BINARY(name, op)                                                                   \
  const ml_op ml_grad_op_##name = {#name,                                                          \
                                   2,                                                              \
                                   1,                                                              \
                                   sizeof(ml_grad_binary_attr),                                    \
                                   ml_grad_binary_forward,                                         \
                                   ml_grad_binary_vjp,                                             \
                                   ml_grad_##name##_check};                                        \
  const ml_op ml_grad_op_##name##_number = {#name "_number",                                       \
                                            1,                                                     \
                                            1,                                                     \
                                            sizeof(ml_grad_number_attr),                           \
                                            ml_grad_number_forward,                                \
                                            ml_grad_number_vjp,                                    \
                                            ml_grad_##name##_number_check};
#define ML_GRAD_REDUCE(name, op)                                                                   \
  const ml_op ml_grad_op_##name = {#name,                                                          \
                                   1,                                                              \
                                   1,                                                              \
                                   sizeof(ml_grad_reduce_attr),                                    \
                                   ml_grad_reduce_forward,                                         \
                                   ml_grad_reduce_vjp,                                             \
                                   ml_grad_##name##_check};
#define ML_GRAD_OP(name, n_in, n_out, attr_size)                                                   \
  const ml_op ml_grad_op_##name = {#name,                                                          \
                                   n_in,                                                           \
                                   n_out,                                                          \
                                   attr_size,                                                      \
                                   ml_grad_##name##_forward,                                       \
                                   ml_grad_##name##_vjp,                                           \
                                   ml_grad_##name##_check};
#include "ops.def"

static const ml_op *const grad_ops[] = {
#define ML_GRAD_UNARY(name, op, saved, lo, hi) &ml_grad_op_##name,
#define ML_GRAD_BINARY(name, op) &ml_grad_op_##name, &ml_grad_op_##name##_number,
#define ML_GRAD_REDUCE(name, op) &ml_grad_op_##name,
#define ML_GRAD_OP(name, n_in, n_out, attr_size) &ml_grad_op_##name,
#include "ops.def"
};

/* At load, so that no caller can forget it: registering only stores pointers to constants. */
__attribute__((constructor)) static void register_grad_ops(void) {
  ml_register_ops(grad_ops, (int)(sizeof grad_ops / sizeof grad_ops[0]));
}

ml_status ml_grad_scalar(ml_tensor *out, ml_dtype dtype, double value, ml_error *err) {
  ml_shape shape = {.rank = 0};
  ML_TRY(ml_tensor_init(out, dtype, &shape, err));
  if (dtype == ML_F64)
    *ML_DATA(double, out) = value;
  else
    *ML_DATA(float, out) = (float)value;
  return ML_OK;
}

ml_status ml_grad_zeros(ml_tensor *out, ml_dtype dtype, const ml_shape *shape, ml_error *err) {
  ml_tensor zero = {0};
  ML_TRY(ml_grad_scalar(&zero, dtype, 0, err));
  ml_status status = ml_view_broadcast(out, &zero, shape, err);
  ml_tensor_clear(&zero);
  return status;
}

ml_status ml_grad_give_summed(ml_vjp *c, int i, ml_tensor *g, ml_error *err) {
  ml_shape shape = ml_shape_of(g);
  if (ml_shape_equal(&shape, &c->in_shape[i]))
    return ml_vjp_give(c, i, g, err);
  ml_tensor sum = {0};
  ml_status status = ml_tensor_sum_to(&sum, g, &c->in_shape[i], err);
  ml_tensor_clear(g);
  ML_TRY(status);
  return ml_vjp_give(c, i, &sum, err);
}

ml_status ml_grad_give_alias(ml_vjp *c, int i, const ml_tensor *g, ml_error *err) {
  ml_tensor alias;
  ml_tensor_detach(&alias, g);
  return ml_grad_give_summed(c, i, &alias, err);
}
