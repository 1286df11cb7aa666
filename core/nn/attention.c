/* Causal and segmented softmax attention: checks, the cut into tasks, and the op of the tape. */
#include "attention.h"

#include "common.h"

#include <math.h>
#include <string.h>

/* Task sizes depend on the shape only. With many heads a task takes more queries, so that packed
 * keys serve longer. */
#define MANY_HEADS 8

static int64_t queries_of_task(int64_t heads) { return heads >= MANY_HEADS ? 256 : 64; }

/* ---- checks ---------------------------------------------------------------------------------- */

static ml_status check_inputs(const ml_tensor *const *in, const ml_nn_attention_attr *attr,
                              ml_error *err) {
  static const char *const names[] = {"q", "k", "v"};
  char a[ML_DESCRIBE], b[ML_DESCRIBE];
  for (int i = 0; i < 3; i++) {
    ML_TRY(ml_nn_check_real("attention", names[i], in[i], 4, i + 1, err));
    if (in[i]->rank != 4 || in[i]->size[3] < 1)
      return ml_fail(err, ML_ESHAPE, i + 1,
                     "attention: %s is %s, wanted [batch, time, heads, features]", names[i],
                     ml_describe(a, in[i]));
    if (i == 0)
      continue;
    ml_shape want = ml_shape_of(in[0]), shape = ml_shape_of(in[i]);
    if (in[i]->dtype != in[0]->dtype || !ml_shape_equal(&shape, &want))
      return ml_fail(err, in[i]->dtype != in[0]->dtype ? ML_EDTYPE : ML_ESHAPE, i + 1,
                     "attention: q and %s disagree: %s and %s", names[i], ml_describe(a, in[0]),
                     ml_describe(b, in[i]));
  }
  const ml_tensor *s = in[3];
  if (s) {
    if (ml_tensor_empty(s))
      return ml_fail(err, ML_ESTATE, 4, "attention: segments is a released tensor");
    if (s->dtype != ML_INDEX)
      return ml_fail(err, ML_EDTYPE, 4, "attention: segments is %s, wanted dtype index",
                     ml_describe(a, s));
    if (s->rank != 2 || s->size[0] != in[0]->size[0] || s->size[1] != in[0]->size[1])
      return ml_fail(err, ML_ESHAPE, 4,
                     "attention: q and segments disagree: %s and %s, wanted segments [%lldx%lld]",
                     ml_describe(a, in[0]), ml_describe(b, s), (long long)in[0]->size[0],
                     (long long)in[0]->size[1]);
  }
  if (!isfinite(attr->scale))
    return ml_fail(err, ML_EARG, 0, "attention: scale is %g, wanted a finite number", attr->scale);
  return ML_OK;
}

/* t itself when its last axis is dense, else a copy. */
static ml_status dense_rows(ml_tensor *out, const ml_tensor *t, ml_error *err) {
  if (t->stride[3] == 1 || t->size[3] == 1) {
    ml_tensor_detach(out, t);
    return ML_OK;
  }
  return ml_tensor_clone(out, t, err);
}

static ml_attention_view view_of(const ml_tensor *t) {
  return (ml_attention_view){ml_data(t), t->stride[0], t->stride[1], t->stride[2]};
}

static ml_attention_args args_of(const ml_tensor *qkv, const ml_tensor *segments,
                                 const ml_nn_attention_attr *attr) {
  return (ml_attention_args){
      .B = qkv->size[0],
      .T = qkv->size[1],
      .H = qkv->size[2],
      .D = qkv->size[3],
      .scale = attr->scale,
      .causal = attr->causal,
      .segments = ml_tensor_empty(segments) ? NULL : ML_DATA(const int64_t, segments),
      .q = view_of(&qkv[0]),
      .k = view_of(&qkv[1]),
      .v = view_of(&qkv[2]),
  };
}

/* ---- running over the pool ------------------------------------------------------------------- */

typedef struct {
  const ml_nn_attention_kernels *kernels;
  ml_attention_args a;
  int64_t rows, blocks; /* forward: queries per task, tasks per head */
  char *scratch;
  size_t bytes; /* of one worker */
  ml_attention_part *parts;
} run;

static void *scratch_of(const run *t, int worker) { return t->scratch + (size_t)worker * t->bytes; }

static ml_status take_scratch(run *t, ml_arena *arena, size_t bytes, ml_error *err) {
  t->bytes = (bytes + 63) / 64 * 64;
  void *scratch = NULL;
  ML_TRY(ml_nn_take(&scratch, arena, ml_threads(), t->bytes, err));
  t->scratch = scratch;
  return ML_OK;
}

/* The last queries see most keys and start first. */
static void forward_body(void *ctx, int64_t i, int worker) {
  const run *t = ctx;
  if (ml_cancelled())
    return;
  int64_t heads = t->a.B * t->a.H, block = t->blocks - 1 - i / heads, head = i % heads,
          q0 = block * t->rows;
  t->kernels->forward(&t->a, head / t->a.H, head % t->a.H, q0, ml_nn_min(q0 + t->rows, t->a.T),
                      scratch_of(t, worker), t->parts ? t->parts + i : NULL);
}

static void sum_probe(ml_attention_probe *probe, const ml_attention_part *parts, int64_t n,
                      int64_t queries) {
  double top = -INFINITY, size = 0, entropy = 0;
  for (int64_t i = 0; i < n; i++) {
    double x = parts[i].max_logit, s = parts[i].max_abs_logit;
    if (x > top || isnan(x))
      top = x;
    if (s > size || isnan(s))
      size = s;
    entropy += parts[i].entropy_sum;
  }
  *probe = (ml_attention_probe){top, size, entropy / (double)queries};
}

static ml_status run_forward(const ml_attention_args *a, ml_dtype dtype, ml_attention_probe *probe,
                             ml_error *err) {
  int64_t heads = a->B * a->H;
  if (probe)
    *probe = (ml_attention_probe){NAN, NAN, NAN};
  if (heads * a->T == 0)
    return ML_OK;
  run t = {
      .kernels = ml_nn_attention(dtype), .a = *a, .rows = ml_nn_min(queries_of_task(heads), a->T)};
  t.blocks = ml_nn_ceil_div(a->T, t.rows);
  ml_arena *arena;
  size_t mark;
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ml_status status =
      take_scratch(&t, arena, t.kernels->forward_bytes(t.rows, a->D, probe != NULL), err);
  if (!status && probe) {
    void *parts;
    status = ml_nn_take(&parts, arena, heads * t.blocks, sizeof *t.parts, err);
    t.parts = parts;
  }
  if (!status) {
    ml_parallel_for(heads * t.blocks, (double)(t.rows * a->T) * (2 * (double)a->D + 8),
                    forward_body, &t);
    if (ml_cancelled())
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    else if (probe)
      sum_probe(probe, t.parts, heads * t.blocks, heads * a->T);
  }
  ml_arena_release(arena, mark);
  return status;
}

static void backward_body(void *ctx, int64_t i, int worker) {
  const run *t = ctx;
  if (ml_cancelled())
    return;
  int64_t head = i / t->a.groups;
  t->kernels->backward(&t->a, head / t->a.H, head % t->a.H, i % t->a.groups, scratch_of(t, worker));
}

static void combine_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const run *t = ctx;
  t->kernels->combine(&t->a, i / t->a.H, i % t->a.H);
}

/* One task per head; few heads are cut further, each task with its own sum of dq. */
static ml_status run_backward(ml_attention_args *a, ml_dtype dtype, ml_error *err) {
  int64_t heads = a->B * a->H;
  if (heads * a->T == 0)
    return ML_OK;
  run t = {.kernels = ml_nn_attention(dtype)};
  int64_t blocks = t.kernels->backward_blocks(a->T, a->D);
  a->groups =
      heads >= MANY_HEADS ? 1 : ml_nn_min(blocks, ml_nn_min(4, ml_nn_ceil_div(MANY_HEADS, heads)));
  ml_arena *arena;
  size_t mark;
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ml_status status = take_scratch(&t, arena, t.kernels->backward_bytes(a->T, a->D), err);
  if (!status && a->groups > 1 && a->dq)
    status =
        ml_nn_take(&a->parts, arena, heads * a->groups * a->T * a->D, ml_dtype_size(dtype), err);
  if (!status) {
    t.a = *a;
    double pairs = (double)a->T * (double)a->T / (double)a->groups;
    ml_parallel_for(heads * a->groups, pairs * (5 * (double)a->D + 8), backward_body, &t);
    if (a->groups > 1 && a->dq)
      ml_parallel_for(heads, (double)(a->groups * a->T * a->D), combine_body, &t);
    if (ml_cancelled())
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
  }
  ml_arena_release(arena, mark);
  return status;
}

/* ---- the op ---------------------------------------------------------------------------------- */

static void clear_all(ml_tensor *t, int n) {
  for (int i = 0; i < n; i++)
    ml_tensor_clear(&t[i]);
}

ml_status ml_nn_attention_forward(ml_tensor *out, const ml_tensor *const *in, int n,
                                  const void *attr_, ml_save *save, ml_error *err) {
  (void)n;
  const ml_nn_attention_attr *attr = attr_;
  ML_TRY(check_inputs(in, attr, err));
  ml_tensor t[6] = {{0}}; /* q, k, v, segments, y, log-sum-exp */
  ml_dtype dtype = in[0]->dtype;
  ml_shape shape = ml_shape_of(in[0]),
           lse = ml_shape_make(3, shape.size[0], shape.size[2], shape.size[1]);
  ml_status status = ML_OK;
  for (int i = 0; i < 3 && !status; i++)
    status = dense_rows(&t[i], in[i], err);
  if (!status && in[3])
    status = ml_tensor_contiguous(&t[3], in[3], err);
  if (!status)
    status = ml_tensor_init(&t[4], dtype, &shape, err);
  if (!status && save)
    status = ml_tensor_init(&t[5], dtype, &lse, err);
  if (!status) {
    ml_attention_args a = args_of(t, &t[3], attr);
    a.y = ml_data(&t[4]);
    a.lse = save ? ml_data(&t[5]) : NULL;
    status = run_forward(&a, dtype, attr->probe, err);
  }
  if (save) { /* segments last: they may be absent */
    static const int order[] = {0, 1, 2, 4, 5, 3};
    for (int i = 0; i < (in[3] ? 6 : 5) && !status; i++)
      status = ml_save_tensor(save, &t[order[i]], err);
  }
  if (!status)
    ml_tensor_move(out, &t[4]);
  clear_all(t, 6);
  return status;
}

ml_status ml_nn_attention_vjp(ml_vjp *c, ml_error *err) {
  static const ml_tensor absent = {0};
  const ml_nn_attention_attr *attr = c->attr;
  ml_attention_args a = args_of(c->saved, c->n_saved > 5 ? &c->saved[5] : &absent, attr);
  void **const target[3] = {&a.dq, &a.dk, &a.dv};
  bool *const add[3] = {&a.add_q, &a.add_k, &a.add_v};
  for (int i = 0; i < 3; i++) {
    if (!c->wanted[i])
      continue;
    ml_tensor *dst;
    ML_TRY(ml_vjp_target(c, i, &dst, add[i], err));
    *target[i] = ml_data(dst);
  }
  ml_tensor dy = {0};
  ML_TRY(dense_rows(&dy, &c->gout[0], err));
  a.dy = view_of(&dy);
  a.y = ml_data(&c->saved[3]);
  a.lse = ml_data(&c->saved[4]);
  ml_status status = run_backward(&a, dy.dtype, err);
  ml_tensor_clear(&dy);
  return status;
}

ml_status ml_nn_attention_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                ml_error *err) {
  static const struct {
    int B, T, H, D;
    bool causal, segments;
  } cases[] = {
      {2, 5, 2, 3, true, false},   {1, 6, 3, 4, false, false}, {2, 7, 1, 2, true, true},
      {2, 4, 2, 5, false, true},   {1, 1, 1, 1, true, false},  {1, 70, 1, 2, true, true},
      {1, 67, 1, 1, false, false}, {4, 3, 2, 17, true, false},
  };
  *n_variants = (int)(sizeof cases / sizeof cases[0]);
  int B = cases[variant].B, T = cases[variant].T, H = cases[variant].H, D = cases[variant].D;
  for (int i = 0; i < 3; i++)
    ML_TRY(ml_nn_case_normal(c, i, g, 0, 1, err, 4, B, T, H, D));
  if (cases[variant].segments)
    ML_TRY(ml_nn_case_ids(c, 3, g, 3, err, 2, B, T));
  c->n_in = 4;
  c->n_out = 1;
  ml_nn_attention_attr attr = {.scale = 0.7, .causal = cases[variant].causal, .probe = NULL};
  memcpy(c->attr, &attr, sizeof attr);
  return ML_OK;
}

ml_status ml_attention(ml_tensor *y, const ml_tensor *q, const ml_tensor *k, const ml_tensor *v,
                       const ml_tensor *segments, double scale, bool causal,
                       ml_attention_probe *probe, ml_error *err) {
  ml_nn_attention_attr attr = {.scale = scale, .causal = causal, .probe = probe};
  const ml_tensor *in[] = {q, k, v, segments};
  return ml_apply(y, &ml_nn_op_attention, in, 4, &attr, err);
}
