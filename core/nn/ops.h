/* Private to the nn room: attributes of its ops, functions and descriptors that ops.def names. */
#ifndef MOONLAB_NN_OPS_H
#define MOONLAB_NN_OPS_H

#include "nn.h"

typedef struct {
  ml_act act;
} ml_nn_activation_attr;

typedef struct {
  ml_act act;
  bool transposed; /* W is [N,K] */
} ml_nn_linear_attr;

typedef struct {
  double eps;
} ml_nn_norm_attr;

typedef struct {
  double z_loss;
  double multiplier; /* linear_cross_entropy: logits = multiplier (x W + b) */
  bool transposed;   /* linear_cross_entropy: W is [V,K] */
  ml_ce_info *info;  /* filled by forward when not NULL; never read afterwards */
} ml_nn_ce_attr;

typedef struct {
  double p;
  ml_rng stream; /* as it stood before the draw: backward draws the same mask again */
} ml_nn_dropout_attr;

typedef struct {
  double base;
  bool interleaved;
} ml_nn_rotary_attr;

typedef struct {
  double scale;
  bool causal;
  ml_attention_probe *probe; /* filled by forward when not NULL; never read afterwards */
} ml_nn_attention_attr;

typedef struct {
  int64_t kh, kw; /* read from W's shape by conv2d */
  ml_conv_options options;
} ml_nn_window_attr;

#define ML_NN_OP(name, n_in, n_out, attr_size)                                                     \
  extern const ml_op ml_nn_op_##name;                                                              \
  ml_status ml_nn_##name##_forward(ml_tensor *out, const ml_tensor *const *in, int n,              \
                                   const void *attr, ml_save *save, ml_error *err);                \
  ml_status ml_nn_##name##_vjp(ml_vjp *c, ml_error *err);                                          \
  ml_status ml_nn_##name##_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,        \
                                 ml_error *err);
#include "ops.def"
#undef ML_NN_OP

#endif
