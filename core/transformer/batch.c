/* Checks of what a training forward is given: ids, targets, masks, segments and the positions that
 * follow from them. */
#include "internal.h"

#include <string.h>

/* [T] becomes [1,T]; a contiguous view or copy without node. */
static ml_status as_rank2(ml_tensor *out, const ml_tensor *t, const char *what, ml_dtype dtype,
                          int arg, ml_error *err) {
  char text[ML_DESCRIBE];
  if (ml_tensor_empty(t))
    return ml_fail(err, ML_ESTATE, arg, "%s is a released tensor", what);
  if (t->dtype != dtype || (t->rank != 1 && t->rank != 2))
    return ml_fail(err, t->dtype != dtype ? ML_EDTYPE : ML_ESHAPE, arg,
                   "%s is %s, wanted %s [B,T] or [T]", what, ml_describe(text, t),
                   ml_dtype_name(dtype));
  ml_tensor flat = {0};
  ML_TRY_INNER(ml_tensor_contiguous(&flat, t, err), err);
  ml_shape shape = ml_shape_make(2, t->rank == 2 ? t->size[0] : 1, t->size[t->rank - 1]);
  ml_status status = ml_view_reshape(out, &flat, &shape, err);
  if (status)
    err->arg = 0;
  ml_tensor_clear(&flat);
  return status;
}

static ml_status want_shape(const ml_tensor *t, const char *what, const ml_batch_view *v, int arg,
                            ml_error *err) {
  char text[ML_DESCRIBE];
  if (t->size[0] == v->B && t->size[1] == v->T)
    return ML_OK;
  return ml_fail(err, ML_ESHAPE, arg, "%s is %s, wanted [%lldx%lld] as the inputs", what,
                 ml_describe(text, t), (long long)v->B, (long long)v->T);
}

/* The message counts from 1, as the caller in Lua does. */
static ml_status check_ids(const ml_tensor *ids, int64_t vocab, const char *what, ml_error *err) {
  const int64_t *id = ML_DATA(const int64_t, ids);
  int64_t n = ml_numel(ids), T = ids->size[1];
  for (int64_t i = 0; i < n; i++)
    if (id[i] < 0 || id[i] >= vocab)
      return ml_fail(err, ML_EARG, 2, "%s [%lld,%lld] is id %lld, wanted 1..%lld", what,
                     (long long)(i / T + 1), (long long)(i % T + 1), (long long)(id[i] + 1),
                     (long long)vocab);
  return ML_OK;
}

/* Position of a token: how many tokens of its segment stand before it in its row. Segments are
 * nearly always runs; one that comes back after another goes on counting, as attention goes on
 * seeing it. */
static ml_status restart_positions(ml_tensor *out, const ml_tensor *segments, ml_error *err) {
  ml_shape shape = ml_shape_of(segments);
  ML_TRY_INNER(ml_tensor_init(out, ML_INDEX, &shape, err), err);
  const int64_t *segment = ML_DATA(const int64_t, segments);
  int64_t *position = ML_DATA(int64_t, out), T = shape.size[1];
  for (int64_t b = 0; b < shape.size[0]; b++, segment += T, position += T) {
    for (int64_t t = 0; t < T; t++) {
      int64_t before =
          t - 1; /* the last token of the same segment: the neighbour, or further back at a seam */
      while (before >= 0 && segment[before] != segment[t])
        before--;
      position[t] = before >= 0 ? position[before] + 1 : 0;
    }
  }
  return ML_OK;
}

static ml_status plain_positions(ml_tensor *out, int64_t B, int64_t T, ml_error *err) {
  ml_tensor row = {0};
  ML_TRY_INNER(ml_tensor_arange(&row, ML_INDEX, 0, 1, T, err), err);
  ml_shape shape = ml_shape_make(2, B, T);
  ml_status status = ml_view_broadcast(out, &row, &shape, err);
  if (status)
    err->arg = 0;
  ml_tensor_clear(&row);
  return status;
}

static ml_status open_ids(ml_batch_view *v, const ml_transformer *m,
                          const ml_transformer_batch *batch, bool targets, ml_error *err) {
  int64_t V = m->config.vocab;
  if (batch->tokens) { /* [B,T+1], shifted */
    ml_tensor tokens = {0};
    ML_TRY(as_rank2(&tokens, batch->tokens, "tokens", ML_INDEX, 2, err));
    v->rank1 = batch->tokens->rank == 1;
    v->B = tokens.size[0];
    v->T = tokens.size[1] - 1;
    ml_tensor part = {0};
    ml_status status = check_ids(&tokens, V, "tokens", err);
    if (!status && v->T < 1)
      status =
          ml_fail(err, ML_ESHAPE, 2,
                  "tokens has %lld positions a row, wanted at least 2 (they are shifted inside)",
                  (long long)tokens.size[1]);
    if (!status && !batch->embeddings) {
      status = ml_view_narrow(&part, &tokens, 1, 0, v->T, err);
      if (!status)
        status = ml_tensor_contiguous(&v->ids, &part, err);
      ml_tensor_clear(&part);
    }
    if (!status && targets) {
      status = ml_view_narrow(&part, &tokens, 1, 1, v->T, err);
      if (!status)
        status = ml_tensor_contiguous(&v->targets, &part, err);
      ml_tensor_clear(&part);
    }
    ml_tensor_clear(&tokens);
    return status;
  }
  if (batch->inputs) {
    ML_TRY(as_rank2(&v->ids, batch->inputs, "inputs", ML_INDEX, 2, err));
    ML_TRY(check_ids(&v->ids, V, "inputs", err));
    v->rank1 = batch->inputs->rank == 1;
    v->B = v->ids.size[0];
    v->T = v->ids.size[1];
  } else if (batch->embeddings && batch->embeddings->rank == 3) {
    v->B = batch->embeddings->size[0];
    v->T = batch->embeddings->size[1];
  } else if (!batch->embeddings) {
    return ml_fail(err, ML_EARG, 2, "no ids: wanted tokens, inputs or embeddings");
  }
  if (!targets)
    return ML_OK;
  if (!batch->targets)
    return ml_fail(err, ML_EARG, 2, "targets are missing: wanted tokens, or inputs and targets");
  ML_TRY(as_rank2(&v->targets, batch->targets, "targets", ML_INDEX, 2, err));
  return check_ids(&v->targets, V, "targets", err);
}

static ml_status open_parts(ml_batch_view *v, const ml_transformer *m,
                            const ml_transformer_batch *batch, bool targets, ml_error *err) {
  const ml_transformer_config *c = &m->config;
  char text[ML_DESCRIBE];
  ML_TRY(open_ids(v, m, batch, targets, err));
  if (batch->embeddings) {
    const ml_tensor *e = batch->embeddings;
    if (ml_tensor_empty(e))
      return ml_fail(err, ML_ESTATE, 3, "embeddings is a released tensor");
    if (e->dtype != (ml_dtype)c->dtype || e->rank != 3 || e->size[0] != v->B ||
        e->size[1] != v->T || e->size[2] != c->width)
      return ml_fail(err, e->dtype != (ml_dtype)c->dtype ? ML_EDTYPE : ML_ESHAPE, 3,
                     "embeddings is %s, wanted %s [%lldx%lldx%lld]", ml_describe(text, e),
                     ml_dtype_name((ml_dtype)c->dtype), (long long)v->B, (long long)v->T,
                     (long long)c->width);
    v->embeddings = e;
  }
  if (v->T > c->context)
    return ml_fail(err, ML_EARG, 2, "%lld positions, more than the context of %lld",
                   (long long)v->T, (long long)c->context);
  if (v->B < 1 || v->T < 1)
    return ml_fail(err, ML_ESHAPE, 2,
                   "the inputs are [%lldx%lld], wanted at least one row and position",
                   (long long)v->B, (long long)v->T);
  if (targets)
    ML_TRY(want_shape(&v->targets, "targets", v, 2, err));
  if (targets && batch->mask) {
    ML_TRY(as_rank2(&v->mask, batch->mask, "mask", (ml_dtype)c->dtype, 3, err));
    ML_TRY(want_shape(&v->mask, "mask", v, 3, err));
  }
  if (batch->segments) {
    ML_TRY(as_rank2(&v->segments, batch->segments, "segments", ML_INDEX, 3, err));
    ML_TRY(want_shape(&v->segments, "segments", v, 3, err));
    if (c->positions != ML_POSITIONS_NONE)
      ML_TRY(restart_positions(&v->positions, &v->segments, err));
  } else if (c->positions == ML_POSITIONS_LEARNED) {
    ML_TRY(plain_positions(&v->positions, v->B, v->T, err));
  }
  return ML_OK;
}

ml_status ml_batch_open(ml_batch_view *view, const ml_transformer *model,
                        const ml_transformer_batch *batch, bool targets, ml_error *err) {
  memset(view, 0, sizeof *view);
  ml_status status = open_parts(view, model, batch, targets, err);
  if (status)
    ml_batch_close(view);
  return status;
}

void ml_batch_close(ml_batch_view *v) {
  ml_tensor_clear(&v->ids);
  ml_tensor_clear(&v->targets);
  ml_tensor_clear(&v->mask);
  ml_tensor_clear(&v->segments);
  ml_tensor_clear(&v->positions);
}
