/* Private to the grad room: attributes of the tensor ops, the functions and descriptors that
 * ops.def names, and what their vjps and check cases share. */
#ifndef MOONLAB_GRAD_OPS_H
#define MOONLAB_GRAD_OPS_H

#include "tape.h"

typedef struct {
  ml_unary_op op;
} ml_grad_unary_attr;

typedef struct {
  ml_binary_op op;
} ml_grad_binary_attr;

typedef struct {
  ml_binary_op op;
  bool reverse; /* number op t */
  double number;
} ml_grad_number_attr;

typedef struct {
  double lo, hi;
} ml_grad_clamp_attr;

typedef struct {
  ml_dtype dtype;
} ml_grad_cast_attr;

typedef struct {
  ml_reduce_op op;
  unsigned axes;
  bool keepdims;
} ml_grad_reduce_attr;

typedef struct {
  unsigned axes;
  bool keepdims;
  int ddof;
} ml_grad_var_attr;

typedef struct {
  int axis;
  bool flag; /* softmax: of the log; sort: descending; scatter: add */
  int64_t k; /* topk */
} ml_grad_axis_attr;

typedef struct {
  int axis[ML_MAX_RANK];
} ml_grad_permute_attr;

typedef struct {
  int64_t start[ML_MAX_RANK], count[ML_MAX_RANK], step[ML_MAX_RANK];
  int n;
  unsigned drop; /* bit per axis */
} ml_grad_slice_attr;

typedef struct {
  int64_t diagonal;
  bool upper;
} ml_grad_tri_attr;

typedef ml_status ml_grad_forward(ml_tensor *out, const ml_tensor *const *in, int n_in,
                                  const void *attr, ml_save *save, ml_error *err);
typedef ml_status ml_grad_vjp(ml_vjp *c, ml_error *err);
typedef ml_status ml_grad_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                ml_error *err);

ml_grad_forward ml_grad_unary_forward, ml_grad_binary_forward, ml_grad_number_forward,
    ml_grad_reduce_forward;
ml_grad_vjp ml_grad_unary_vjp, ml_grad_binary_vjp, ml_grad_number_vjp, ml_grad_reduce_vjp;

#define ML_GRAD_UNARY(name, op, saved, lo, hi)                                                     \
  extern const ml_op ml_grad_op_##name;                                                            \
  ml_grad_check ml_grad_##name##_check;
#define ML_GRAD_BINARY(name, op)                                                                   \
  extern const ml_op ml_grad_op_##name, ml_grad_op_##name##_number;                                \
  ml_grad_check ml_grad_##name##_check, ml_grad_##name##_number_check;
#define ML_GRAD_REDUCE(name, op)                                                                   \
  extern const ml_op ml_grad_op_##name;                                                            \
  ml_grad_check ml_grad_##name##_check;
#define ML_GRAD_OP(name, n_in, n_out, attr_size)                                                   \
  extern const ml_op ml_grad_op_##name;                                                            \
  ml_grad_forward ml_grad_##name##_forward;                                                        \
  ml_grad_vjp ml_grad_##name##_vjp;                                                                \
  ml_grad_check ml_grad_##name##_check;
#include "ops.def"

/* ---- for vjps -------------------------------------------------------------------------------- */

/* Zeros of any shape in one element. */
ml_status ml_grad_zeros(ml_tensor *out, ml_dtype dtype, const ml_shape *shape, ml_error *err);
/* A number as a tensor without axes. */
ml_status ml_grad_scalar(ml_tensor *out, ml_dtype dtype, double value, ml_error *err);
/* Hands over g summed down to the shape of input i; g becomes empty. */
ml_status ml_grad_give_summed(ml_vjp *c, int i, ml_tensor *g, ml_error *err);
/* The same view as g, handed over as the gradient of input i. */
ml_status ml_grad_give_alias(ml_vjp *c, int i, const ml_tensor *g, ml_error *err);

/* ---- for check cases ------------------------------------------------------------------------- */

/* Inputs of a case: f64, uniform in [lo, hi]; the gradient of input i is checked. */
ml_status ml_case_uniform(ml_check_case *c, int i, const ml_shape *shape, double lo, double hi,
                          ml_rng *g, ml_error *err);
/* Values at least 0.1 apart from each other in random order, with both signs. */
ml_status ml_case_spread(ml_check_case *c, int i, const ml_shape *shape, ml_rng *g, ml_error *err);
/* Ids in [0, n), a constant. */
ml_status ml_case_ids(ml_check_case *c, int i, const ml_shape *shape, int64_t n, ml_rng *g,
                      ml_error *err);
/* Makes input i a view with the same values whose axes lie in reverse order in memory. */
ml_status ml_case_reverse_layout(ml_check_case *c, int i, ml_error *err);

#endif
