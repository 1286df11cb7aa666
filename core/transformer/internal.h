/* Private to the transformer room: the model's layout. */
#ifndef MOONLAB_TRANSFORMER_INTERNAL_H
#define MOONLAB_TRANSFORMER_INTERNAL_H

#include "transformer.h"

#include <jansson.h>

/* Positions of a block's parameters in the table; -1: the configuration has none. */
typedef struct {
  int64_t norm1_gain, norm1_shift;
  int64_t wq, wk, wv, wo, bq, bk, bv, bo;
  int64_t q_gain, k_gain;
  int64_t norm2_gain, norm2_shift;
  int64_t w1, b1, w2, b2;
} ml_block_index;

struct ml_transformer {
  ml_transformer_config config;
  int64_t n_params;
  ml_transformer_param *params;
  ml_block_index *blocks; /* [depth] */
  int64_t tokens, positions, norm_gain, norm_shift, head;
  double tied_multiplier; /* of the logits when tied */
  bool training;
  char *rotary; /* cosines and sines of all positions, made by the first decoding */
};

static inline int64_t ml_transformer_head_width(const ml_transformer_config *c) {
  return c->width / c->heads;
}
static inline double ml_transformer_attention_scale(const ml_transformer_config *c) {
  double d = (double)ml_transformer_head_width(c);
  if (c->scale_kind == ML_SCALE_NUMBER)
    return c->attention_scale;
  return c->scale_kind == ML_SCALE_INV ? 1 / d : 1 / __builtin_sqrt(d);
}
static inline double ml_transformer_logit_multiplier(const ml_transformer *m) {
  return m->config.tied ? m->tied_multiplier : m->params[m->head].multiplier;
}

/* The table with empty tensors; ml_transformer_new and _load fill it. */
ml_status ml_transformer_layout(ml_transformer **model, const ml_transformer_config *config,
                                ml_error *err) ML_MUST_CHECK;
/* Shape of parameter i, from the configuration. */
ml_shape ml_transformer_param_shape(const ml_transformer *model, int64_t i);

/* A batch whose parts are checked: contiguous index tensors of rank 2. */
typedef struct {
  int64_t B, T;
  bool rank1;          /* inputs came as [T] */
  ml_tensor ids;       /* index [B,T]; empty with embeddings */
  ml_tensor targets;   /* index [B,T]; empty when not wanted */
  ml_tensor mask;      /* real [B,T], or empty */
  ml_tensor segments;  /* index [B,T], or empty */
  ml_tensor positions; /* index [B,T]; empty when they are 0..T-1 and the operations take that as
                          default */
  const ml_tensor *embeddings;
} ml_batch_view;
ml_status ml_batch_open(ml_batch_view *view, const ml_transformer *model,
                        const ml_transformer_batch *batch, bool targets,
                        ml_error *err) ML_MUST_CHECK;
void ml_batch_close(ml_batch_view *view);

/* Residual stream of a batch through the blocks: *out after the last norm (NULL: stop at the last
 * layer kept). keep[l]: where the hidden state of layer l = 0..depth goes, NULL where it is not
 * wanted; keep itself may be NULL. */
ml_status ml_transformer_trunk(ml_tensor *out, ml_transformer *model, const ml_batch_view *view,
                               ml_transformer_probe *probe, ml_tensor *const *keep,
                               ml_error *err) ML_MUST_CHECK;
/* multiplier * parameter i: the parameter itself (same node) when the multiplier is 1. i < 0: out
 * stays empty. */
ml_status ml_transformer_effective(ml_tensor *out, const ml_transformer *model, int64_t i,
                                   ml_error *err) ML_MUST_CHECK;
/* The head's weight as stored: head [d,V], or tokens [V,d] when tied. */
static inline const ml_tensor *ml_transformer_head_weight(const ml_transformer *m) {
  return &m->params[m->config.tied ? m->tokens : m->head].tensor;
}

/* Root mean square of all entries, off the tape. */
ml_status ml_probe_rms(double *rms, const ml_tensor *x, ml_error *err) ML_MUST_CHECK;
/* Mean cosine of q_i and k_j [B,T,H,D] over batch, heads and pairs j <= i of one segment. */
ml_status ml_probe_cosine(double *cosine, const ml_tensor *q, const ml_tensor *k,
                          const ml_tensor *segments, ml_error *err) ML_MUST_CHECK;

/* One line with every digit and sorted keys, to be given to ml_free; takes the object. NULL: no
 * object, or out of memory. */
char *ml_transformer_json_text(json_t *object);

#endif
