/* The descriptors of the room's differentiable operations, made from ops.def and registered with
 * grad. */
#include "ops.h"

#define ML_NN_OP(name, n_in, n_out, attr_size)                                                     \
  const ml_op ml_nn_op_##name = {#name,                                                            \
                                 n_in,                                                             \
                                 n_out,                                                            \
                                 attr_size,                                                        \
                                 ml_nn_##name##_forward,                                           \
                                 ml_nn_##name##_vjp,                                               \
                                 ml_nn_##name##_check};
#include "ops.def"
#undef ML_NN_OP

static const ml_op *const nn_ops[] = {
#define ML_NN_OP(name, n_in, n_out, attr_size) &ml_nn_op_##name,
#include "ops.def"
#undef ML_NN_OP
};

/* At load, so that no caller can forget it: registering only stores pointers to constants. */
__attribute__((constructor)) static void register_nn_ops(void) {
  ml_register_ops(nn_ops, (int)(sizeof nn_ops / sizeof nn_ops[0]));
}
