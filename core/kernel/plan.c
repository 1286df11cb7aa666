/* A network checked against its input: sizes layer by layer, stages, places of variances. */
#include "net.h"

static const char *const names[ML_KERNEL_OP_COUNT] = {
    "dense",   "conv",       "act",      "avg_pool", "gap",
    "flatten", "layer_norm", "residual", "residual", "residual"};

/* What the check knows of the signal at a point of the network. */
typedef struct {
  int64_t size[2], stride[2]; /* stride: since the stage began */
  bool flat, gaussian;
} signal;

typedef struct {
  ml_kernel_plan *plan;
  const ml_kernel_op *ops;
  signal now, saved[16];
  int depth;
  ml_error *err;
} walk;

#define BAD(w, op, ...) bad((w)->err, (op), __VA_ARGS__)
static ml_status bad(ml_error *err, const ml_kernel_op *op, const char *why) {
  return ml_fail(err, ML_ESHAPE, 0, "layer %d (%s): %s", op->layer, names[op->kind], why);
}

static ml_status window_sizes(walk *w, const ml_kernel_op *op, ml_kernel_step *s) {
  for (int a = 0; a < 2; a++) {
    const int64_t n = w->now.size[a], f = op->window[a], stride = op->stride[a];
    if (f < 1 || stride < 1)
      return BAD(w, op, "windows and strides are >= 1");
    s->lead[a] = 0;
    if (op->padding == ML_KERNEL_VALID) {
      if (f > n)
        return ml_fail(w->err, ML_ESHAPE, 0, "layer %d (%s): a window of %lld over %lld pixels",
                       op->layer, names[op->kind], (long long)f, (long long)n);
      s->out[a] = (n - f) / stride + 1;
      continue;
    }
    if (op->padding == ML_KERNEL_CIRCULAR && n % stride)
      return ml_fail(w->err, ML_ESHAPE, 0,
                     "layer %d (%s): circular with stride %lld over %lld pixels, wanted a multiple",
                     op->layer, names[op->kind], (long long)stride, (long long)n);
    s->out[a] = (n + stride - 1) / stride;
    const int64_t total = (s->out[a] - 1) * stride + f - n;
    s->lead[a] = total > 0 ? total / 2 : 0;
  }
  return ML_OK;
}

static ml_kernel_stage *open_stage(walk *w, int first) {
  ml_kernel_stage *stage = &w->plan->stage[w->plan->stages++];
  *stage =
      (ml_kernel_stage){.first = first, .in = {w->now.size[0], w->now.size[1]}, .stride = {1, 1}};
  w->now.stride[0] = w->now.stride[1] = 1;
  return stage;
}

static void close_stage(walk *w, int end, bool mixes) {
  ml_kernel_stage *stage = &w->plan->stage[w->plan->stages - 1];
  stage->end = end;
  stage->mixes = mixes;
  for (int a = 0; a < 2; a++) {
    stage->out[a] = w->now.size[a];
    stage->stride[a] = w->now.stride[a];
  }
}

static ml_status visit_conv(walk *w, int i, ml_kernel_step *s) {
  const ml_kernel_op *op = &s->op;
  if (w->now.flat)
    return BAD(w, op, "there are no pixels any more");
  const bool circular = op->padding == ML_KERNEL_CIRCULAR;
  ml_kernel_stage *stage = &w->plan->stage[w->plan->stages - 1];
  if (stage->circular != circular) {
    bool convolved = false;
    for (int k = stage->first; k < i; k++)
      convolved = convolved || w->ops[k].kind == ML_KERNEL_CONV;
    if (convolved) {
      if (w->depth)
        return BAD(w, op, "circular and other padding do not mix within a residual sum");
      close_stage(w, i, false);
      stage = open_stage(w, i);
    }
    stage->circular = circular;
  }
  ML_TRY(window_sizes(w, op, s));
  for (int a = 0; a < 2; a++)
    w->now.stride[a] *= op->stride[a];
  w->now.gaussian = true;
  return ML_OK;
}

static ml_status visit_mixing(walk *w, int i, ml_kernel_step *s) {
  const ml_kernel_op *op = &s->op;
  if (w->now.flat)
    return BAD(w, op, "there are no pixels any more");
  if (w->depth)
    return BAD(w, op, "not within a residual sum");
  if (op->kind == ML_KERNEL_POOL) {
    if (op->padding == ML_KERNEL_CIRCULAR)
      return BAD(w, op, "padding is \"valid\" or \"same\"");
    ML_TRY(window_sizes(w, op, s));
  } else {
    s->out[0] = s->out[1] = 1;
  }
  close_stage(w, i, true);
  if (op->kind != ML_KERNEL_POOL) {
    w->now.flat = true;
    w->plan->first_flat = i + 1;
  }
  return ML_OK;
}

static ml_status visit(walk *w, int i) {
  ml_kernel_step *s = &w->plan->step[i];
  const ml_kernel_op *op = &s->op;
  signal *now = &w->now;
  s->slot = -1;
  for (int a = 0; a < 2; a++)
    s->in[a] = s->out[a] = now->size[a];
  switch (op->kind) {
  case ML_KERNEL_DENSE:
    if (!now->flat)
      return BAD(w, op, "its input has pixels; put flatten or gap before it, or use conv");
    now->gaussian = true;
    break;
  case ML_KERNEL_CONV:
    ML_TRY(visit_conv(w, i, s));
    break;
  case ML_KERNEL_ACT:
    if (op->dual.kind == ML_DUAL_IDENTITY)
      break;
    if (!now->gaussian)
      return BAD(w, op, "its input is not Gaussian; put dense or conv before it");
    now->gaussian = false;
    /* fall through */
  case ML_KERNEL_NORM:
    if (now->flat) {
      s->slot = w->plan->flat_slots++;
    } else {
      s->slot = w->plan->pixel_slots;
      w->plan->pixel_slots += now->size[0] * now->size[1];
    }
    break;
  case ML_KERNEL_POOL:
  case ML_KERNEL_GAP:
  case ML_KERNEL_FLATTEN:
    ML_TRY(visit_mixing(w, i, s));
    break;
  case ML_KERNEL_PUSH:
    if (w->depth == 16)
      return BAD(w, op, "more than 16 within each other");
    w->saved[w->depth++] = *now;
    if (w->depth > w->plan->depth)
      w->plan->depth = w->depth;
    break;
  case ML_KERNEL_SWAP: {
    signal other = w->saved[w->depth - 1];
    w->saved[w->depth - 1] = *now;
    *now = other;
    for (int a = 0; a < 2; a++)
      s->out[a] = now->size[a];
    break;
  }
  case ML_KERNEL_ADD: {
    const signal *other = &w->saved[--w->depth];
    for (int a = 0; a < 2; a++)
      if (other->size[a] != now->size[a] || other->stride[a] != now->stride[a])
        return BAD(w, op, "its branches end with different sizes or strides");
    now->gaussian = now->gaussian && other->gaussian;
    break;
  }
  default:
    break;
  }
  if (op->kind != ML_KERNEL_SWAP)
    for (int a = 0; a < 2; a++)
      now->size[a] = s->out[a];
  if (op->kind == ML_KERNEL_POOL)
    open_stage(w, i + 1);
  return ML_OK;
}

/* Places of a plane and of the stores between stages, and the work of a pair. */
static void measure(ml_kernel_plan *plan, int64_t C) {
  plan->flops = 2.0 * (double)C;
  for (int i = 0; i < plan->stages; i++) {
    const ml_kernel_stage *stage = &plan->stage[i];
    const double in = (double)(stage->in[0] * stage->in[1]);
    const bool diagonal = plan->step[stage->end].op.kind == ML_KERNEL_FLATTEN && stage->mixes;
    plan->flops += (diagonal ? in : in * in) * (i ? 2.0 : 2.0 * (double)C);
    if (stage->in[0] * stage->in[1] > plan->plane)
      plan->plane = stage->in[0] * stage->in[1];
    for (int k = stage->first; k <= stage->end; k++) {
      const ml_kernel_step *s = &plan->step[k];
      const double places = (double)(s->in[0] * s->in[1]),
                   pairs = diagonal ? places : places * places;
      if (s->in[0] * s->in[1] > plan->plane)
        plan->plane = s->in[0] * s->in[1];
      if (s->op.kind == ML_KERNEL_CONV)
        plan->flops += pairs * 2.0 * (double)(s->op.window[0] + s->op.window[1]);
      else
        plan->flops += pairs * (s->op.kind == ML_KERNEL_ACT ? 60.0 : 2.0);
    }
    if (i + 1 < plan->stages) {
      const int64_t next = plan->stage[i + 1].in[0] * plan->stage[i + 1].in[1];
      if (next * next > plan->store[i % 2])
        plan->store[i % 2] = next * next;
    }
  }
  for (int k = plan->first_flat; k < plan->count; k++)
    plan->flops += plan->step[k].op.kind == ML_KERNEL_ACT ? 60.0 : 4.0;
}

ml_status ml_kernel_plan_new(ml_kernel_plan *plan, const ml_kernel_op *ops, int count,
                             const ml_tensor *X, ml_error *err) {
  char text[ML_DESCRIBE];
  *plan = (ml_kernel_plan){.count = count};
  if (X->rank != 2 && X->rank != 4)
    return ml_fail(err, ML_ESHAPE, 1, "%s, wanted points [n,d] or images [n,H,W,C]",
                   ml_describe(text, X));
  for (int a = 1; a < X->rank; a++)
    if (X->size[a] < 1)
      return ml_fail(err, ML_ESHAPE, 1, "%s has an empty axis", ml_describe(text, X));
  plan->step = ml_alloc((size_t)(count + 1) * sizeof *plan->step);
  plan->stage = ml_alloc((size_t)(count + 2) * sizeof *plan->stage);
  if (!plan->step || !plan->stage) {
    ml_kernel_plan_clear(plan);
    return ml_fail(err, ML_ENOMEM, 0, "out of memory");
  }
  walk w = {.plan = plan, .ops = ops, .err = err};
  const bool images = X->rank == 4;
  plan->C = X->size[X->rank - 1];
  w.now = (signal){.size = {images ? X->size[1] : 1, images ? X->size[2] : 1},
                   .stride = {1, 1},
                   .flat = !images};
  if (images)
    open_stage(&w, 0);
  ml_status status = ML_OK;
  for (int i = 0; i < count && !status; i++) {
    plan->step[i].op = ops[i];
    status = visit(&w, i);
  }
  if (!status && !w.now.flat)
    status = ml_fail(err, ML_ESHAPE, 0,
                     "the last layer leaves %lld x %lld pixels; end with flatten or gap",
                     (long long)w.now.size[0], (long long)w.now.size[1]);
  if (status) {
    ml_kernel_plan_clear(plan);
    return status;
  }
  measure(plan, plan->C);
  return ML_OK;
}

void ml_kernel_plan_clear(ml_kernel_plan *plan) {
  ml_free(plan->step);
  ml_free(plan->stage);
  *plan = (ml_kernel_plan){0};
}

ml_status ml_kernel_estimate(double *point_bytes, double *thread_bytes, double *flops,
                             const ml_kernel_op *ops, int count, const ml_tensor *X,
                             ml_error *err) {
  ml_kernel_plan plan;
  ML_TRY(ml_kernel_plan_new(&plan, ops, count, X, err));
  const double size = (double)ml_dtype_size(X->dtype), n = (double)X->size[0];
  double each = size * (double)(plan.flat_slots + plan.pixel_slots) + 2 * sizeof(double);
  for (int a = 1; a < X->rank && plan.stages; a++)
    each += a == 1 ? size * (double)(ml_numel(X) / (X->size[0] ? X->size[0] : 1)) : 0;
  *point_bytes = n * each;
  *thread_bytes = (double)(plan.stages ? ml_kernel_image_bytes(&plan, ml_dtype_size(X->dtype))
                                       : ml_kernel_flat_bytes(&plan, ml_dtype_size(X->dtype)));
  *flops = plan.flops;
  ml_kernel_plan_clear(&plan);
  return ML_OK;
}
