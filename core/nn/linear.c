/* Affine maps: linear with bias and activation, tied heads, and three maps of one input. */
#include "affine.h"

#include <string.h>

/* ---- linear ---------------------------------------------------------------------------------- */

/* x [...,K], W [K,N] or [N,K], b [N] or NULL. */
static ml_status linear_check(const char *op, const ml_tensor *x, const ml_tensor *W,
                              const ml_tensor *b, bool transposed, int64_t *N, ml_error *err) {
  char xs[ML_DESCRIBE], ws[ML_DESCRIBE];
  ML_TRY(ml_nn_check_real(op, "x", x, 1, 1, err));
  ML_TRY(ml_nn_check_real(op, "W", W, 0, 2, err));
  ML_TRY(ml_nn_check_like(op, "W", W, "x", x, NULL, 2, err));
  int64_t K = ml_nn_last(x);
  if (W->rank != 2 || W->size[transposed ? 1 : 0] != K)
    return ml_fail(err, ML_ESHAPE, 2, "%s: x and W disagree: %s and %s, wanted W %s", op,
                   ml_describe(xs, x), ml_describe(ws, W),
                   transposed ? "[N,K] for x [...,K]" : "[K,N] for x [...,K]");
  *N = W->size[transposed ? 0 : 1];
  ml_shape want = ml_shape_make(1, *N);
  return ml_nn_check_like(op, "b", b, "x W", W, &want, 3, err);
}

ml_status ml_nn_linear_forward(ml_tensor *out, const ml_tensor *const *in, int n, const void *attr,
                               ml_save *save, ml_error *err) {
  (void)n;
  const ml_nn_linear_attr *a = attr;
  int64_t N;
  ML_TRY(linear_check("linear", in[0], in[1], in[2], a->transposed, &N, err));
  ML_TRY(ml_nn_check_act("linear", a->act, 3, err));
  ml_shape shape = ml_shape_of(in[0]);
  shape.size[shape.rank - 1] = N;
  ml_tensor x = {0}, W = {0}, b = {0}, pre = {0};
  ml_status status = ml_tensor_contiguous(&x, in[0], err);
  if (!status)
    status = ml_tensor_contiguous(&W, in[1], err);
  if (!status && in[2])
    status = ml_tensor_contiguous(&b, in[2], err);
  if (!status)
    status = ml_tensor_init(&out[0], x.dtype, &shape, err);
  bool keep = save && a->act != ML_ACT_IDENTITY;
  if (!status && keep)
    status = ml_tensor_init(&pre, x.dtype, &shape, err);
  if (!status) {
    ml_nn_affine t = {.dtype = x.dtype, .transposed = a->transposed, .act = a->act, .count = 1};
    t.rows = ml_nn_rows(&x);
    t.K = ml_nn_last(&x);
    t.N = N;
    t.x = ml_data(&x);
    t.W[0] = ml_data(&W);
    t.b[0] = in[2] ? ml_data(&b) : NULL;
    t.y[0] = ml_data(&out[0]);
    t.pre[0] = keep ? ml_data(&pre) : t.y[0];
    status = ml_nn_affine_run(&t, err);
    if (!status)
      status = ml_save_tensor(save, &x, err);
    if (!status)
      status = ml_save_tensor(save, &W, err);
    if (!status && keep)
      status = ml_save_tensor(save, &pre, err);
  }
  ml_tensor_clear(&x);
  ml_tensor_clear(&W);
  ml_tensor_clear(&b);
  ml_tensor_clear(&pre);
  return status;
}

typedef struct {
  ml_dtype dtype;
  ml_act act;
  int64_t rows, N, chunk;
  const void *pre, *dy;
  void *d, *parts; /* parts NULL: no sums */
} act_rows_task;

/* d = dy act'(pre) for a chunk of rows, and its column sums while it is in cache. */
static void act_rows_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const act_rows_task *t = ctx;
  int64_t r0 = i * t->chunk, rows = ml_nn_min(t->chunk, t->rows - r0), at = r0 * t->N;
  void *d = ml_nn_at(t->d, t->dtype, at);
  ml_nn_act(t->dtype)->grad(t->act, rows * t->N, ml_nn_at_const(t->pre, t->dtype, at),
                            ml_nn_at_const(t->dy, t->dtype, at), d, false);
  if (t->parts)
    ml_nn_row(t->dtype)->column_sums(rows, t->N, d, ml_nn_at(t->parts, t->dtype, i * t->N), false);
}

/* Gradient of the pre-activation into arena memory *d, with column sums into sums when not NULL. */
static ml_status act_rows(void **d, ml_dtype dtype, ml_act act, int64_t rows, int64_t N,
                          const void *pre, const void *dy, void *sums, bool add, ml_arena *arena,
                          ml_error *err) {
  act_rows_task t = {dtype, act, rows, N, ml_nn_chunk_rows(rows, N), pre, dy, NULL, NULL};
  int64_t chunks = ml_nn_ceil_div(rows, t.chunk);
  ML_TRY(ml_nn_take(d, arena, rows * N, ml_dtype_size(dtype), err));
  if (sums)
    ML_TRY(ml_nn_take(&t.parts, arena, chunks * N, ml_dtype_size(dtype), err));
  t.d = *d;
  ml_parallel_for(chunks, 16.0 * (double)(t.chunk * N), act_rows_body, &t);
  if (sums)
    ml_nn_row(dtype)->combine(chunks, N, t.parts, sums, add);
  return ML_OK;
}

static ml_status linear_vjp(ml_vjp *c, const ml_tensor *dy, ml_arena *arena, ml_error *err) {
  const ml_nn_linear_attr *a = c->attr;
  const ml_tensor *x = &c->saved[0], *W = &c->saved[1];
  int64_t rows = ml_nn_rows(x), N = ml_nn_last(dy);
  ml_dtype dtype = x->dtype;
  ml_tensor *db = NULL;
  bool add = false;
  if (c->wanted[2])
    ML_TRY(ml_vjp_target(c, 2, &db, &add, err));
  void *d = ml_data(dy);
  if (a->act != ML_ACT_IDENTITY)
    ML_TRY(act_rows(&d, dtype, a->act, rows, N, ml_data(&c->saved[2]), ml_data(dy),
                    db ? ml_data(db) : NULL, add, arena, err));
  else if (db)
    ML_TRY(ml_nn_column_sums(dtype, rows, N, d, ml_data(db), add, arena, err));
  return ml_nn_dense_grads(c, 0, 1, x, W, a->transposed, d, N, err);
}

ml_status ml_nn_linear_vjp(ml_vjp *c, ml_error *err) {
  ml_arena *arena;
  size_t mark;
  ml_tensor dy = {0};
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ML_TRY(ml_tensor_contiguous(&dy, &c->gout[0], err));
  ml_status status = linear_vjp(c, &dy, arena, err);
  ml_tensor_clear(&dy);
  ml_arena_release(arena, mark);
  return status;
}

ml_status ml_nn_linear_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                             ml_error *err) {
  /* each activation with a bias, then: no bias, transposed with and without, a vector x, no bias
   * but an activation */
  *n_variants = ML_ACT_COUNT + 5;
  int extra = variant - ML_ACT_COUNT;
  ml_nn_linear_attr a = {extra < 0    ? (ml_act)variant
                         : extra == 4 ? ML_ACT_TANH
                                      : ML_ACT_IDENTITY,
                         extra == 1 || extra == 2};
  memcpy(c->attr, &a, sizeof a);
  c->n_out = 1;
  if (extra == 3)
    ML_TRY(ml_nn_case_normal(c, 0, g, 0, 1, err, 1, 3));
  else
    ML_TRY(ml_nn_case_normal(c, 0, g, 0, 1, err, 3, 2, 3, 3));
  ML_TRY(a.transposed ? ml_nn_case_normal(c, 1, g, 0, 1, err, 2, 4, 3)
                      : ml_nn_case_normal(c, 1, g, 0, 1, err, 2, 3, 4));
  if (extra < 0 || extra == 2 || extra == 3)
    ML_TRY(ml_nn_case_normal(c, 2, g, 0, 1, err, 1, 4));
  c->n_in = 3;
  return ML_OK;
}

ml_status ml_linear(ml_tensor *y, const ml_tensor *x, const ml_tensor *W, const ml_tensor *b,
                    ml_act act, ml_error *err) {
  ml_nn_linear_attr a = {act, false};
  return ml_apply(y, &ml_nn_op_linear, (const ml_tensor *[]){x, W, b}, 3, &a, err);
}

ml_status ml_linear_t(ml_tensor *y, const ml_tensor *x, const ml_tensor *W, const ml_tensor *b,
                      ml_error *err) {
  ml_nn_linear_attr a = {ML_ACT_IDENTITY, true};
  return ml_apply(y, &ml_nn_op_linear, (const ml_tensor *[]){x, W, b}, 3, &a, err);
}

/* ---- three maps of one input ----------------------------------------------------------------- */

ml_status ml_nn_linear3_forward(ml_tensor *out, const ml_tensor *const *in, int n, const void *attr,
                                ml_save *save, ml_error *err) {
  (void)n;
  (void)attr;
  ml_tensor x = {0}, W[3] = {{0}}, b[3] = {{0}};
  int64_t N = 0, N0 = 0;
  char s0[ML_DESCRIBE], s1[ML_DESCRIBE];
  for (int p = 0; p < 3; p++) {
    ML_TRY(linear_check("linear3", in[0], in[1 + p], in[4 + p], false, &N, err));
    if (p == 0)
      N0 = N;
    else if (N != N0)
      return ml_fail(err, ML_ESHAPE, 2, "linear3: the weights disagree: %s and %s",
                     ml_describe(s0, in[1]), ml_describe(s1, in[1 + p]));
  }
  ml_shape shape = ml_shape_of(in[0]);
  shape.size[shape.rank - 1] = N;
  ml_nn_affine t = {.dtype = in[0]->dtype, .act = ML_ACT_IDENTITY, .count = 3, .N = N};
  ml_status status = ml_tensor_contiguous(&x, in[0], err);
  if (!status)
    status = ml_save_tensor(save, &x, err);
  for (int p = 0; p < 3 && !status; p++) {
    status = ml_tensor_contiguous(&W[p], in[1 + p], err);
    if (!status && in[4 + p])
      status = ml_tensor_contiguous(&b[p], in[4 + p], err);
    if (!status)
      status = ml_tensor_init(&out[p], x.dtype, &shape, err);
    if (!status)
      status = ml_save_tensor(save, &W[p], err);
    if (status)
      break;
    t.W[p] = ml_data(&W[p]);
    t.b[p] = in[4 + p] ? ml_data(&b[p]) : NULL;
    t.pre[p] = t.y[p] = ml_data(&out[p]);
  }
  if (!status) {
    t.rows = ml_nn_rows(&x);
    t.K = ml_nn_last(&x);
    t.x = ml_data(&x);
    status = ml_nn_affine_run(&t, err);
  }
  ml_tensor_clear(&x);
  for (int p = 0; p < 3; p++) {
    ml_tensor_clear(&W[p]);
    ml_tensor_clear(&b[p]);
  }
  return status;
}

static ml_status linear3_vjp(ml_vjp *c, ml_arena *arena, ml_error *err) {
  const ml_tensor *x = &c->saved[0];
  int64_t rows = ml_nn_rows(x), K = ml_nn_last(x);
  ml_tensor *dx = NULL, *db;
  bool dx_add = false, add;
  if (c->wanted[0])
    ML_TRY(ml_vjp_target(c, 0, &dx, &dx_add, err));
  for (int p = 0; p < 3; p++) {
    if (ml_tensor_empty(&c->gout[p]))
      continue;
    const ml_tensor *W = &c->saved[1 + p];
    int64_t N = ml_nn_last(W);
    ml_tensor dy = {0};
    ML_TRY(ml_tensor_contiguous(&dy, &c->gout[p], err));
    ml_status status = ML_OK;
    if (dx) {
      ml_gemm(x->dtype, false, true, rows, K, N, 1, ml_data(&dy), N, ml_data(W), N, dx_add,
              ml_data(dx), K);
      dx_add = true;
    }
    if (c->wanted[4 + p]) {
      status = ml_vjp_target(c, 4 + p, &db, &add, err);
      if (!status)
        status = ml_nn_column_sums(x->dtype, rows, N, ml_data(&dy), ml_data(db), add, arena, err);
    }
    if (!status)
      status = ml_nn_dense_grads(c, -1, 1 + p, x, W, false, ml_data(&dy), N, err);
    ml_tensor_clear(&dy);
    ML_TRY(status);
  }
  return ML_OK;
}

ml_status ml_nn_linear3_vjp(ml_vjp *c, ml_error *err) {
  ml_arena *arena;
  size_t mark;
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ml_status status = linear3_vjp(c, arena, err);
  ml_arena_release(arena, mark);
  return status;
}

ml_status ml_nn_linear3_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                              ml_error *err) {
  *n_variants = 3; /* without biases, with, with one */
  c->n_out = 3;
  ML_TRY(ml_nn_case_normal(c, 0, g, 0, 1, err, 3, 2, 3, 4));
  for (int p = 0; p < 3; p++) {
    ML_TRY(ml_nn_case_normal(c, 1 + p, g, 0, 1, err, 2, 4, 5));
    if (variant == 1 || (variant == 2 && p == 1))
      ML_TRY(ml_nn_case_normal(c, 4 + p, g, 0, 1, err, 1, 5));
  }
  c->n_in = 7;
  return ML_OK;
}

ml_status ml_linear3(ml_tensor qkv[3], const ml_tensor *x, const ml_tensor *const W[3],
                     const ml_tensor *const b[3], ml_error *err) {
  const ml_tensor *in[7] = {x, W[0], W[1], W[2], b ? b[0] : NULL, b ? b[1] : NULL, b ? b[2] : NULL};
  return ml_apply(qkv, &ml_nn_op_linear3, in, 7, NULL, err);
}
