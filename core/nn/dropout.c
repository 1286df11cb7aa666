/* Dropout: the mask is never stored, backward draws it again from the stream. */
#include "common.h"

#include <string.h>

#define CHUNK 16384 /* elements of one task, a multiple of a Philox block */

typedef struct {
  ml_dtype dtype;
  int64_t n;
  ml_rng stream;
  uint64_t threshold;
  double scale;
  const void *x;
  void *y;
  bool add;
} dropout_task;

static void dropout_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const dropout_task *t = ctx;
  int64_t first = i * CHUNK;
  ml_nn_dropout(t->dtype)->apply(
      first, ml_nn_min(CHUNK, t->n - first), t->stream.key, t->stream.counter, t->threshold,
      t->scale, ml_nn_at_const(t->x, t->dtype, first), ml_nn_at(t->y, t->dtype, first), t->add);
}

static void dropout_run(const ml_nn_dropout_attr *a, const ml_tensor *x, ml_tensor *y, bool add) {
  dropout_task t = {.dtype = x->dtype, .n = ml_numel(x), .stream = a->stream, .add = add};
  t.threshold = (uint64_t)(a->p * 0x1p32);
  t.scale = a->p < 1 ? 1 / (1 - a->p) : 0;
  t.x = ml_data(x);
  t.y = ml_data(y);
  ml_parallel_for(ml_nn_ceil_div(t.n, CHUNK), 8.0 * CHUNK, dropout_body, &t);
}

ml_status ml_nn_dropout_forward(ml_tensor *out, const ml_tensor *const *in, int n, const void *attr,
                                ml_save *save, ml_error *err) {
  (void)n;
  (void)save;
  const ml_nn_dropout_attr *a = attr;
  ML_TRY(ml_nn_check_real("dropout", "x", in[0], 0, 1, err));
  if (!(a->p >= 0 && a->p <= 1))
    return ml_fail(err, ML_EARG, 2, "dropout: p is %g, wanted 0 <= p <= 1", a->p);
  ml_tensor x = {0};
  ml_shape shape = ml_shape_of(in[0]);
  ML_TRY(ml_tensor_contiguous(&x, in[0], err));
  ml_status status = ml_tensor_init(&out[0], x.dtype, &shape, err);
  if (!status)
    dropout_run(a, &x, &out[0], false);
  ml_tensor_clear(&x);
  return status;
}

ml_status ml_nn_dropout_vjp(ml_vjp *c, ml_error *err) {
  ml_tensor dy = {0}, *dx;
  bool add;
  ML_TRY(ml_tensor_contiguous(&dy, &c->gout[0], err));
  ml_status status = ml_vjp_target(c, 0, &dx, &add, err);
  if (!status)
    dropout_run(c->attr, &dy, dx, add);
  ml_tensor_clear(&dy);
  return status;
}

ml_status ml_nn_dropout_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                              ml_error *err) {
  *n_variants = 2;
  ml_nn_dropout_attr a = {variant ? 0.5 : 0, {42, 7}};
  memcpy(c->attr, &a, sizeof a);
  c->n_out = 1;
  return ml_nn_case_normal(c, 0, g, 0, 1, err, 2, 5, 7);
}

ml_status ml_dropout(ml_tensor *y, const ml_tensor *x, double p, ml_rng *g, ml_error *err) {
  ml_nn_dropout_attr a = {p, *g};
  ML_TRY(ml_apply(y, &ml_nn_op_dropout, &x, 1, &a, err));
  g->counter += (uint64_t)ml_nn_ceil_div(ml_numel(x), 4);
  return ML_OK;
}
