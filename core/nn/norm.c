/* Layer norm and RMS norm over the last axis. */
#include "common.h"

#include <string.h>

typedef struct {
  ml_dtype dtype;
  bool layer; /* else rms */
  int64_t rows, n, chunk;
  double eps;
  const void *x, *gain, *shift;
  void *y, *mean, *rstd; /* mean and rstd are read by backward */
  /* backward */
  const void *dy;
  void *dx, *dgain, *dshift; /* dgain, dshift: a row of sums per chunk */
  ml_nn_write how;           /* y or dx */
} norm_task;

/* What is too large to be found in a cache by its reader is streamed. */
static ml_nn_write write_mode(const norm_task *t) {
  double bytes = (double)t->rows * (double)t->n * (double)ml_dtype_size(t->dtype);
  return bytes > 4e6 ? ML_NN_STREAM : ML_NN_STORE;
}

static void forward_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const norm_task *t = ctx;
  int64_t r0 = i * t->chunk, rows = ml_nn_min(t->chunk, t->rows - r0), at = r0 * t->n;
  const void *x = ml_nn_at_const(t->x, t->dtype, at);
  void *y = ml_nn_at(t->y, t->dtype, at);
  void *mean = t->mean ? ml_nn_at(t->mean, t->dtype, r0) : NULL;
  void *rstd = t->rstd ? ml_nn_at(t->rstd, t->dtype, r0) : NULL;
  const ml_nn_norm_kernels *k = ml_nn_norm(t->dtype);
  if (t->layer)
    k->layer(rows, t->n, x, t->gain, t->shift, t->eps, y, mean, rstd, t->how);
  else
    k->rms(rows, t->n, x, t->gain, t->eps, y, rstd, t->how);
}

static void backward_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const norm_task *t = ctx;
  int64_t r0 = i * t->chunk, rows = ml_nn_min(t->chunk, t->rows - r0), at = r0 * t->n;
  const void *x = ml_nn_at_const(t->x, t->dtype, at), *dy = ml_nn_at_const(t->dy, t->dtype, at);
  const void *rstd = ml_nn_at_const(t->rstd, t->dtype, r0);
  void *dx = t->dx ? ml_nn_at(t->dx, t->dtype, at) : NULL;
  void *dgain = t->dgain ? ml_nn_at(t->dgain, t->dtype, i * t->n) : NULL;
  void *dshift = t->dshift ? ml_nn_at(t->dshift, t->dtype, i * t->n) : NULL;
  const ml_nn_norm_kernels *k = ml_nn_norm(t->dtype);
  if (t->layer)
    k->layer_grad(rows, t->n, x, dy, t->gain, ml_nn_at_const(t->mean, t->dtype, r0), rstd, dx,
                  t->how, dgain, dshift);
  else
    k->rms_grad(rows, t->n, x, dy, t->gain, rstd, dx, t->how, dgain);
}

/* x [...,D]; gain, shift [D] or NULL. Saves x, rstd, mean (layer), gain. */
static ml_status norm_forward(const char *op, bool layer, ml_tensor *out, const ml_tensor *in,
                              const ml_tensor *gain_in, const ml_tensor *shift_in, double eps,
                              ml_save *save, ml_error *err) {
  ML_TRY(ml_nn_check_real(op, "x", in, 1, 1, err));
  ml_shape want = ml_shape_make(1, ml_nn_last(in)), shape = ml_shape_of(in);
  ML_TRY(ml_nn_check_like(op, "gain", gain_in, "x", in, &want, 2, err));
  ML_TRY(ml_nn_check_like(op, "shift", shift_in, "x", in, &want, 3, err));
  if (!(eps >= 0))
    return ml_fail(err, ML_EARG, 3, "%s: eps is %g, wanted >= 0", op, eps);
  ml_tensor x = {0}, gain = {0}, shift = {0}, mean = {0}, rstd = {0};
  norm_task t = {
      .dtype = in->dtype, .layer = layer, .rows = ml_nn_rows(in), .n = ml_nn_last(in), .eps = eps};
  ml_shape per_row = ml_shape_make(1, t.rows);
  ml_status status = ml_tensor_contiguous(&x, in, err);
  if (!status && gain_in)
    status = ml_tensor_contiguous(&gain, gain_in, err);
  if (!status && shift_in)
    status = ml_tensor_contiguous(&shift, shift_in, err);
  if (!status)
    status = ml_tensor_init(out, t.dtype, &shape, err);
  if (!status && save)
    status = ml_tensor_init(&rstd, t.dtype, &per_row, err);
  if (!status && save && layer)
    status = ml_tensor_init(&mean, t.dtype, &per_row, err);
  if (!status) {
    t.x = ml_data(&x);
    t.gain = gain_in ? ml_data(&gain) : NULL;
    t.shift = shift_in ? ml_data(&shift) : NULL;
    t.y = ml_data(out);
    t.rstd = save ? ml_data(&rstd) : NULL;
    t.mean = save && layer ? ml_data(&mean) : NULL;
    t.chunk = ml_nn_chunk_rows(t.rows, t.n);
    t.how = write_mode(&t);
    ml_parallel_for(ml_nn_ceil_div(t.rows, t.chunk), 8.0 * (double)(t.chunk * t.n), forward_body,
                    &t);
  }
  const ml_tensor *kept[4] = {&x, &rstd, &mean, &gain};
  for (int i = 0; i < 4 && !status && save; i++)
    status = ml_save_tensor(save, kept[i], err);
  ml_tensor_clear(&x);
  ml_tensor_clear(&gain);
  ml_tensor_clear(&shift);
  ml_tensor_clear(&mean);
  ml_tensor_clear(&rstd);
  return status;
}

static ml_status norm_grads(ml_vjp *c, bool layer, const ml_tensor *dy, ml_arena *arena,
                            ml_error *err) {
  const ml_tensor *x = &c->saved[0], *gain = &c->saved[3];
  norm_task t = {.dtype = x->dtype, .layer = layer, .rows = ml_nn_rows(x), .n = ml_nn_last(x)};
  size_t item = ml_dtype_size(t.dtype);
  t.chunk = ml_nn_chunk_rows(t.rows, t.n);
  int64_t chunks = ml_nn_ceil_div(t.rows, t.chunk);
  ml_tensor *dx = NULL, *dgain = NULL, *dshift = NULL;
  bool dx_add = false, gain_add = false, shift_add = false;
  if (c->wanted[0])
    ML_TRY(ml_vjp_target(c, 0, &dx, &dx_add, err));
  if (c->wanted[1]) {
    ML_TRY(ml_vjp_target(c, 1, &dgain, &gain_add, err));
    ML_TRY(ml_nn_take(&t.dgain, arena, chunks * t.n, item, err));
  }
  if (layer && c->wanted[2]) {
    ML_TRY(ml_vjp_target(c, 2, &dshift, &shift_add, err));
    ML_TRY(ml_nn_take(&t.dshift, arena, chunks * t.n, item, err));
  }
  t.how = dx_add ? ML_NN_ADD : write_mode(&t);
  t.x = ml_data(x);
  t.dy = ml_data(dy);
  t.gain = ml_tensor_empty(gain) ? NULL : ml_data(gain);
  t.rstd = ml_data(&c->saved[1]);
  t.mean = layer ? ml_data(&c->saved[2]) : NULL;
  t.dx = dx ? ml_data(dx) : NULL;
  ml_parallel_for(chunks, 16.0 * (double)(t.chunk * t.n), backward_body, &t);
  if (dgain)
    ml_nn_row(t.dtype)->combine(chunks, t.n, t.dgain, ml_data(dgain), gain_add);
  if (dshift)
    ml_nn_row(t.dtype)->combine(chunks, t.n, t.dshift, ml_data(dshift), shift_add);
  return ML_OK;
}

static ml_status norm_vjp(ml_vjp *c, bool layer, ml_error *err) {
  ml_arena *arena;
  size_t mark;
  ml_tensor dy = {0};
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ML_TRY(ml_tensor_contiguous(&dy, &c->gout[0], err));
  ml_status status = norm_grads(c, layer, &dy, arena, err);
  ml_tensor_clear(&dy);
  ml_arena_release(arena, mark);
  return status;
}

/* ---- layer norm ------------------------------------------------------------------------------ */

ml_status ml_nn_layer_norm_forward(ml_tensor *out, const ml_tensor *const *in, int n,
                                   const void *attr, ml_save *save, ml_error *err) {
  (void)n;
  const ml_nn_norm_attr *a = attr;
  return norm_forward("layer_norm", true, &out[0], in[0], in[1], in[2], a->eps, save, err);
}

ml_status ml_nn_layer_norm_vjp(ml_vjp *c, ml_error *err) { return norm_vjp(c, true, err); }

ml_status ml_nn_layer_norm_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                 ml_error *err) {
  *n_variants = 5; /* bits: gain, shift; then a wide one */
  ml_nn_norm_attr a = {variant == 3 ? 0.1 : 1e-5};
  memcpy(c->attr, &a, sizeof a);
  c->n_out = 1;
  int D = variant == 4 ? 37 : 6;
  ML_TRY(ml_nn_case_normal(c, 0, g, 0.3, 1, err, 3, 2, 2, D));
  if (variant & 1 || variant == 4)
    ML_TRY(ml_nn_case_normal(c, 1, g, 1, 0.5, err, 1, D));
  if (variant & 2 || variant == 4)
    ML_TRY(ml_nn_case_normal(c, 2, g, 0, 1, err, 1, D));
  c->n_in = 3;
  return ML_OK;
}

ml_status ml_layer_norm(ml_tensor *y, const ml_tensor *x, const ml_tensor *gain,
                        const ml_tensor *shift, double eps, ml_error *err) {
  ml_nn_norm_attr a = {eps};
  return ml_apply(y, &ml_nn_op_layer_norm, (const ml_tensor *[]){x, gain, shift}, 3, &a, err);
}

/* ---- rms norm -------------------------------------------------------------------------------- */

ml_status ml_nn_rms_norm_forward(ml_tensor *out, const ml_tensor *const *in, int n,
                                 const void *attr, ml_save *save, ml_error *err) {
  (void)n;
  const ml_nn_norm_attr *a = attr;
  return norm_forward("rms_norm", false, &out[0], in[0], in[1], NULL, a->eps, save, err);
}

ml_status ml_nn_rms_norm_vjp(ml_vjp *c, ml_error *err) { return norm_vjp(c, false, err); }

ml_status ml_nn_rms_norm_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                               ml_error *err) {
  *n_variants = 3;
  ml_nn_norm_attr a = {1e-5};
  memcpy(c->attr, &a, sizeof a);
  c->n_out = 1;
  int D = variant == 2 ? 37 : 6;
  ML_TRY(ml_nn_case_normal(c, 0, g, 0.3, 1, err, 3, 2, 2, D));
  if (variant)
    ML_TRY(ml_nn_case_normal(c, 1, g, 1, 0.5, err, 1, D));
  c->n_in = 2;
  return ML_OK;
}

ml_status ml_rms_norm(ml_tensor *y, const ml_tensor *x, const ml_tensor *gain, double eps,
                      ml_error *err) {
  ml_nn_norm_attr a = {eps};
  return ml_apply(y, &ml_nn_op_rms_norm, (const ml_tensor *[]){x, gain}, 2, &a, err);
}
