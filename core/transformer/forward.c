/* The training forward: embedding, pre-normalised blocks, last norm and head, from the operations
 * of nn. */
#include "internal.h"

/* Runs call and leaves by `done` when it fails; inner calls know nothing of our argument positions.
 */
#define DO(call)                                                                                   \
  do {                                                                                             \
    status = (call);                                                                               \
    if (status) {                                                                                  \
      err->arg = 0;                                                                                \
      goto done;                                                                                   \
    }                                                                                              \
  } while (0)

static void clear_all(ml_tensor *t, int n) {
  for (int i = 0; i < n; i++)
    ml_tensor_clear(&t[i]);
}

static const ml_tensor *present(const ml_tensor *t) { return ml_tensor_empty(t) ? NULL : t; }

ml_status ml_transformer_effective(ml_tensor *out, const ml_transformer *m, int64_t i,
                                   ml_error *err) {
  if (i < 0)
    return ML_OK;
  const ml_transformer_param *p = &m->params[i];
  if (p->multiplier != 1)
    return ml_binary_number(out, ML_MUL, &p->tensor, p->multiplier, false, err);
  ml_tensor_alias(out, &p->tensor);
  return ML_OK;
}

/* The configuration's norm over the last axis. */
static ml_status norm(ml_tensor *y, const ml_tensor *x, const ml_transformer *m, int64_t gain,
                      int64_t shift, ml_error *err) {
  const ml_transformer_config *c = &m->config;
  ml_tensor w[2] = {{0}};
  ml_status status = ML_OK;
  DO(ml_transformer_effective(&w[0], m, gain, err));
  DO(ml_transformer_effective(&w[1], m, shift, err));
  if (c->norm == ML_NORM_LAYER)
    DO(ml_layer_norm(y, x, &w[0], present(&w[1]), c->norm_eps, err));
  else
    DO(ml_rms_norm(y, x, &w[0], c->norm_eps, err));
done:
  clear_all(w, 2);
  return status;
}

/* x <- x + y */
static ml_status add_residual(ml_tensor *x, const ml_tensor *y, ml_error *err) {
  ml_tensor sum = {0};
  ML_TRY(ml_binary(&sum, ML_ADD, x, y, err));
  ml_tensor_clear(x);
  ml_tensor_move(x, &sum);
  return ML_OK;
}

/* q or k [B,T,H,D]: norm and rotation in the configured order; t becomes the result. */
static ml_status shape_head(ml_tensor *t, const ml_transformer *m, const ml_batch_view *v,
                            int64_t gain, ml_error *err) {
  const ml_transformer_config *c = &m->config;
  for (int step = 0; step < 2; step++) {
    bool rotate = (step == 0) == c->qk_norm_after_rotary;
    ml_tensor y = {0};
    if (rotate && c->positions == ML_POSITIONS_ROTARY)
      ML_TRY(ml_rotary(&y, t, present(&v->positions), c->rotary_base, c->rotary_interleaved, err));
    else if (!rotate && c->qk_norm)
      ML_TRY(norm(&y, t, m, gain, -1, err));
    else
      continue;
    ml_tensor_clear(t);
    ml_tensor_move(t, &y);
  }
  return ML_OK;
}

static ml_status attention(ml_tensor *out, const ml_tensor *h, const ml_transformer *m,
                           const ml_batch_view *v, int64_t l, ml_transformer_probe *probe,
                           ml_error *err) {
  const ml_block_index *b = &m->blocks[l];
  const ml_transformer_config *c = &m->config;
  const int64_t weight[4] = {b->wq, b->wk, b->wv, b->wo}, bias[4] = {b->bq, b->bk, b->bv, b->bo};
  ml_tensor W[4] = {{0}}, bb[4] = {{0}}, qkv[3] = {{0}}, heads[3] = {{0}}, y = {0}, flat = {0};
  ml_status status = ML_OK;
  for (int i = 0; i < 4; i++) {
    DO(ml_transformer_effective(&W[i], m, weight[i], err));
    DO(ml_transformer_effective(&bb[i], m, bias[i], err));
  }
  const ml_tensor *const W3[3] = {&W[0], &W[1], &W[2]};
  const ml_tensor *const b3[3] = {present(&bb[0]), present(&bb[1]), present(&bb[2])};
  DO(ml_linear3(qkv, h, W3, b3, err));
  ml_shape split = ml_shape_make(4, v->B, v->T, c->heads, ml_transformer_head_width(c));
  for (int i = 0; i < 3; i++) {
    DO(ml_reshape(&heads[i], &qkv[i], &split, err));
    ml_tensor_clear(&qkv[i]);
  }
  DO(shape_head(&heads[0], m, v, b->q_gain, err));
  DO(shape_head(&heads[1], m, v, b->k_gain, err));
  if (probe) {
    DO(ml_probe_rms(&probe->q_rms[l], &heads[0], err));
    DO(ml_probe_rms(&probe->k_rms[l], &heads[1], err));
    DO(ml_probe_cosine(&probe->qk_cosine[l], &heads[0], &heads[1], present(&v->segments), err));
  }
  DO(ml_attention(&y, &heads[0], &heads[1], &heads[2], present(&v->segments),
                  ml_transformer_attention_scale(c), true, probe ? &probe->attention[l] : NULL,
                  err));
  ml_shape joined = ml_shape_make(3, v->B, v->T, c->width);
  DO(ml_reshape(&flat, &y, &joined, err));
  DO(ml_linear(out, &flat, &W[3], present(&bb[3]), ML_ACT_IDENTITY, err));
done:
  clear_all(W, 4);
  clear_all(bb, 4);
  clear_all(qkv, 3);
  clear_all(heads, 3);
  ml_tensor_clear(&y);
  ml_tensor_clear(&flat);
  return status;
}

static ml_status mlp(ml_tensor *out, const ml_tensor *h, const ml_transformer *m,
                     const ml_block_index *b, ml_error *err) {
  const int64_t part[4] = {b->w1, b->b1, b->w2, b->b2};
  ml_tensor w[4] = {{0}};
  ml_status status = ML_OK;
  for (int i = 0; i < 4; i++)
    DO(ml_transformer_effective(&w[i], m, part[i], err));
  DO(ml_mlp(out, h, &w[0], present(&w[1]), &w[2], present(&w[3]), (ml_act)m->config.activation,
            err));
done:
  clear_all(w, 4);
  return status;
}

/* x <- x + attention(norm1(x)); x <- x + mlp(norm2(x)) */
static ml_status block(ml_tensor *x, const ml_transformer *m, const ml_batch_view *v, int64_t l,
                       ml_transformer_probe *probe, ml_error *err) {
  const ml_block_index *b = &m->blocks[l];
  ml_tensor h = {0}, y = {0};
  ml_status status = ML_OK;
  DO(norm(&h, x, m, b->norm1_gain, b->norm1_shift, err));
  DO(attention(&y, &h, m, v, l, probe, err));
  DO(add_residual(x, &y, err));
  ml_tensor_clear(&h);
  ml_tensor_clear(&y);
  DO(norm(&h, x, m, b->norm2_gain, b->norm2_shift, err));
  DO(mlp(&y, &h, m, b, err));
  DO(add_residual(x, &y, err));
done:
  ml_tensor_clear(&h);
  ml_tensor_clear(&y);
  return status;
}

static ml_status embed(ml_tensor *x, const ml_transformer *m, const ml_batch_view *v,
                       ml_error *err) {
  ml_tensor table = {0}, places = {0}, rows = {0};
  ml_status status = ML_OK;
  DO(ml_transformer_effective(&places, m, m->positions, err));
  if (!v->embeddings) {
    DO(ml_transformer_effective(&table, m, m->tokens, err));
    bool learned = !ml_tensor_empty(&places);
    DO(ml_embedding(x, &table, &v->ids, present(&places), learned ? &v->positions : NULL, err));
  } else if (!ml_tensor_empty(&places)) {
    DO(ml_embedding(&rows, &places, &v->positions, NULL, NULL, err));
    DO(ml_binary(x, ML_ADD, v->embeddings, &rows, err));
  } else {
    ml_tensor_alias(x, v->embeddings);
  }
done:
  ml_tensor_clear(&table);
  ml_tensor_clear(&places);
  ml_tensor_clear(&rows);
  return status;
}

ml_status ml_transformer_trunk(ml_tensor *out, ml_transformer *m, const ml_batch_view *v,
                               ml_transformer_probe *probe, ml_tensor *const *keep, ml_error *err) {
  int64_t depth = m->config.depth, last = depth;
  while (!out && last > 0 && !(keep && keep[last]))
    last--;
  ml_tensor x = {0};
  ml_status status = ML_OK;
  DO(embed(&x, m, v, err));
  if (keep && keep[0])
    ml_tensor_alias(keep[0], &x);
  for (int64_t l = 0; l < last; l++) {
    DO(ml_cancelled() ? ml_fail(err, ML_ECANCELLED, 0, "interrupted") : ML_OK);
    DO(block(&x, m, v, l, probe, err));
    if (probe)
      DO(ml_probe_rms(&probe->block_rms[l], &x, err));
    if (keep && keep[l + 1])
      ml_tensor_alias(keep[l + 1], &x);
  }
  if (out)
    DO(norm(out, &x, m, m->norm_gain, m->norm_shift, err));
done:
  ml_tensor_clear(&x);
  if (status && keep)
    for (int64_t l = 0; l <= depth; l++)
      if (keep[l])
        ml_tensor_clear(keep[l]);
  return status;
}

/* ---- entry points ---------------------------------------------------------------------------- */

ml_status ml_transformer_loss(ml_tensor *loss, ml_transformer *m, const ml_transformer_batch *batch,
                              ml_ce_info *info, ml_error *err) {
  if (!(batch->z_loss >= 0 && batch->z_loss <= 1e30))
    return ml_fail(err, ML_EARG, 3, "z_loss is %g, wanted >= 0 and finite", batch->z_loss);
  ml_batch_view v;
  ML_TRY(ml_batch_open(&v, m, batch, true, err));
  ml_tensor x = {0};
  ml_status status = ML_OK;
  DO(ml_transformer_trunk(&x, m, &v, batch->probe, NULL, err));
  DO(ml_linear_cross_entropy(loss, &x, ml_transformer_head_weight(m), NULL, m->config.tied,
                             ml_transformer_logit_multiplier(m), &v.targets, present(&v.mask),
                             batch->z_loss, info, err));
done:
  ml_tensor_clear(&x);
  ml_batch_close(&v);
  return status;
}

ml_status ml_transformer_logits(ml_tensor *logits, ml_transformer *m,
                                const ml_transformer_batch *batch, ml_error *err) {
  ml_batch_view v;
  ML_TRY(ml_batch_open(&v, m, batch, false, err));
  ml_tensor x = {0}, y = {0}, scaled = {0};
  ml_status status = ML_OK;
  DO(ml_transformer_trunk(&x, m, &v, batch->probe, NULL, err));
  if (m->config.tied)
    DO(ml_linear_t(&y, &x, ml_transformer_head_weight(m), NULL, err));
  else
    DO(ml_linear(&y, &x, ml_transformer_head_weight(m), NULL, ML_ACT_IDENTITY, err));
  double multiplier = ml_transformer_logit_multiplier(m);
  if (multiplier != 1) {
    DO(ml_binary_number(&scaled, ML_MUL, &y, multiplier, false, err));
    ml_tensor_clear(&y);
    ml_tensor_move(&y, &scaled);
  }
  if (v.rank1) {
    ml_shape shape = ml_shape_make(2, v.T, m->config.vocab);
    DO(ml_reshape(logits, &y, &shape, err));
  } else {
    ml_tensor_move(logits, &y);
  }
done:
  ml_tensor_clear(&x);
  ml_tensor_clear(&y);
  ml_tensor_clear(&scaled);
  ml_batch_close(&v);
  return status;
}

ml_status ml_transformer_hidden(ml_tensor *out, ml_transformer *m,
                                const ml_transformer_batch *batch, const int64_t *layers, int n,
                                ml_error *err) {
  int64_t depth = m->config.depth;
  bool final = false;
  for (int i = 0; i < n; i++) {
    if (layers[i] != ML_LAYER_FINAL && (layers[i] < 0 || layers[i] > depth))
      return ml_fail(err, ML_EARG, 3, "layer %lld, wanted 0..%lld or \"final\"",
                     (long long)layers[i], (long long)depth);
    final = final || layers[i] == ML_LAYER_FINAL;
  }
  ml_batch_view v;
  ML_TRY(ml_batch_open(&v, m, batch, false, err));
  size_t slots = (size_t)depth + 1;
  ml_tensor last = {0};
  ml_tensor *kept = ml_alloc(slots * sizeof *kept), **keep = ml_alloc(slots * sizeof(void *));
  ml_status status = ML_OK;
  if (!kept || !keep)
    DO(ml_fail(err, ML_ENOMEM, 0, "no memory for %lld layers", (long long)depth));
  for (int i = 0; i < n; i++)
    if (layers[i] >= 0)
      keep[layers[i]] = &kept[layers[i]];
  DO(ml_transformer_trunk(final ? &last : NULL, m, &v, batch->probe, keep, err));
  for (int i = 0; i < n; i++) {
    const ml_tensor *from = layers[i] == ML_LAYER_FINAL ? &last : &kept[layers[i]];
    ml_shape shape = ml_shape_make(2, v.T, m->config.width);
    if (v.rank1)
      DO(ml_reshape(&out[i], from, &shape, err));
    else
      ml_tensor_alias(&out[i], from);
  }
done:
  if (kept)
    clear_all(kept, (int)slots);
  ml_free(kept);
  ml_free(keep);
  ml_tensor_clear(&last);
  if (status)
    clear_all(out, n);
  ml_batch_close(&v);
  return status;
}
