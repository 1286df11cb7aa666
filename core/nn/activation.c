/* Activations by name, and as an operation of their own. */
#include "common.h"

#include <string.h>

static const char *const act_names[ML_ACT_COUNT] = {
    [ML_ACT_IDENTITY] = "identity", [ML_ACT_GELU_TANH] = "gelu_tanh",
    [ML_ACT_GELU_ERF] = "gelu_erf", [ML_ACT_RELU] = "relu",
    [ML_ACT_RELU2] = "relu2",       [ML_ACT_SILU] = "silu",
    [ML_ACT_SOFTPLUS] = "softplus", [ML_ACT_TANH] = "tanh",
    [ML_ACT_SIGMOID] = "sigmoid",   [ML_ACT_SIN] = "sin",
    [ML_ACT_ERF] = "erf",
};

const char *ml_act_name(ml_act act) {
  return act < ML_ACT_COUNT ? act_names[act] : "unknown activation";
}

bool ml_act_parse(ml_act *act, const char *name) {
  for (int i = 0; i < ML_ACT_COUNT; i++)
    if (!strcmp(name, act_names[i])) {
      *act = (ml_act)i;
      return true;
    }
  return false;
}

ml_status ml_nn_check_act(const char *op, ml_act act, int arg, ml_error *err) {
  if (act >= ML_ACT_COUNT)
    return ml_fail(err, ML_EARG, arg, "%s: unknown activation number %d", op, (int)act);
  return ML_OK;
}

#define CHUNK 16384 /* elements of one task */

typedef struct {
  ml_dtype dtype;
  ml_act act;
  int64_t n;
  const void *x, *dy; /* dy NULL: forward */
  void *out;
  bool add;
} act_task;

static void act_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const act_task *t = ctx;
  int64_t first = i * CHUNK, n = ml_nn_min(CHUNK, t->n - first);
  const void *x = ml_nn_at_const(t->x, t->dtype, first);
  void *out = ml_nn_at(t->out, t->dtype, first);
  if (t->dy)
    ml_nn_act(t->dtype)->grad(t->act, n, x, ml_nn_at_const(t->dy, t->dtype, first), out, t->add);
  else
    ml_nn_act(t->dtype)->forward(t->act, n, x, out);
}

static void act_run(act_task *t) {
  ml_parallel_for(ml_nn_ceil_div(t->n, CHUNK), 8.0 * CHUNK, act_body, t);
}

ml_status ml_nn_activation_forward(ml_tensor *out, const ml_tensor *const *in, int n,
                                   const void *attr, ml_save *save, ml_error *err) {
  (void)n;
  const ml_nn_activation_attr *a = attr;
  ML_TRY(ml_nn_check_real("activation", "x", in[0], 0, 1, err));
  ML_TRY(ml_nn_check_act("activation", a->act, 2, err));
  ml_tensor x = {0};
  ml_shape shape = ml_shape_of(in[0]);
  ML_TRY(ml_tensor_contiguous(&x, in[0], err));
  ml_status status = ml_tensor_init(&out[0], x.dtype, &shape, err);
  if (!status) {
    act_task t = {x.dtype, a->act, ml_numel(&x), ml_data(&x), NULL, ml_data(&out[0]), false};
    act_run(&t);
    status = ml_save_tensor(save, &x, err);
  }
  ml_tensor_clear(&x);
  return status;
}

ml_status ml_nn_activation_vjp(ml_vjp *c, ml_error *err) {
  const ml_nn_activation_attr *a = c->attr;
  const ml_tensor *x = &c->saved[0];
  ml_tensor dy = {0}, *dx;
  bool add;
  ML_TRY(ml_tensor_contiguous(&dy, &c->gout[0], err));
  ml_status status = ml_vjp_target(c, 0, &dx, &add, err);
  if (!status) {
    act_task t = {x->dtype, a->act, ml_numel(x), ml_data(x), ml_data(&dy), ml_data(dx), add};
    act_run(&t);
  }
  ml_tensor_clear(&dy);
  return status;
}

ml_status ml_nn_activation_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                 ml_error *err) {
  *n_variants = ML_ACT_COUNT;
  ml_nn_activation_attr a = {(ml_act)variant};
  memcpy(c->attr, &a, sizeof a);
  c->n_out = 1;
  return ml_nn_case_normal(c, 0, g, 0, 1.5, err, 2, 5, 7);
}

ml_status ml_activation(ml_tensor *out, const ml_tensor *x, ml_act act, ml_error *err) {
  ml_nn_activation_attr a = {act};
  return ml_apply(out, &ml_nn_op_activation, (const ml_tensor *[]){x}, 1, &a, err);
}
