/* Random configurations of the decoder for the tests: every option takes every value now and then.
 */
#ifndef MOONLAB_TESTS_RANDOM_MODEL_H
#define MOONLAB_TESTS_RANDOM_MODEL_H

#include "check.h"
#include "transformer/transformer.h"

static inline int64_t draw(ml_rng *g, int64_t lo, int64_t hi) {
  int64_t x;
  ml_rng_integers(g, &x, 1, lo, hi);
  return x;
}

static inline ml_transformer_config random_config(ml_rng *g, ml_dtype dtype) {
  ml_transformer_config c;
  ml_transformer_config_default(&c);
  c.dtype = (int)dtype;
  c.depth = draw(g, 1, 3);
  c.heads = draw(g, 1, 3);
  c.width = c.heads * 2 * draw(g, 1, 5);
  c.mlp_width = draw(g, 1, 30);
  c.vocab = draw(g, 2, 40);
  c.context = draw(g, 4, 50);
  c.seed = draw(g, -100, 100);
  c.norm = (int)draw(g, 0, 1);
  c.activation = (int)draw(g, 0, ML_ACT_COUNT - 1);
  c.positions = (int)draw(g, 0, 2);
  c.scale_kind = (int)draw(g, 0, 2);
  c.attention_scale = 0.3;
  c.init = (int)draw(g, 0, 1);
  c.bias = draw(g, 0, 1);
  c.qk_norm = draw(g, 0, 1);
  c.tied = draw(g, 0, 1);
  c.rotary_interleaved = draw(g, 0, 1);
  c.qk_norm_after_rotary = draw(g, 0, 1);
  c.rotary_base = 100;
  return c;
}

/* A model with nothing at rest: gains near 1, biases and shifts not 0, multipliers not 1. */
static inline ml_transformer *random_model(ml_rng *g, const ml_transformer_config *c) {
  ml_error err;
  ml_transformer *m = NULL;
  CHECK_OK(ml_transformer_new(&m, c, &err), &err);
  if (!m)
    abort();
  for (int64_t i = 0; i < ml_transformer_param_count(m); i++) {
    ml_transformer_param *p = ml_transformer_param_at(m, i);
    int64_t n = ml_numel(&p->tensor);
    if (draw(g, 0, 2) == 0)
      p->multiplier = 0.5 + 0.25 * (double)draw(g, 0, 6);
    if (p->role != ML_PARAM_GAIN && p->role != ML_PARAM_BIAS)
      continue;
    double mean = p->role == ML_PARAM_GAIN ? 1 : 0;
    if (c->dtype == ML_F32)
      ml_rng_normal_f32(g, ml_data(&p->tensor), n, mean, 0.3);
    else
      ml_rng_normal_f64(g, ml_data(&p->tensor), n, mean, 0.3);
  }
  if (c->tied && draw(g, 0, 1))
    *ml_transformer_multiplier(m, "head") = 0.7;
  return m;
}

static inline void random_ids(ml_rng *g, int64_t *ids, int64_t n, int64_t vocab) {
  ml_rng_integers(g, ids, n, 0, vocab - 1);
}

/* index [B,T] */
static inline ml_tensor random_tokens(ml_rng *g, int64_t B, int64_t T, int64_t vocab) {
  ml_error err;
  ml_tensor t = {0};
  ml_shape shape = ml_shape_make(2, B, T);
  CHECK_OK(ml_tensor_init(&t, ML_INDEX, &shape, &err), &err);
  random_ids(g, ml_data(&t), B * T, vocab);
  return t;
}

static inline double element(const ml_tensor *t, int64_t i) {
  return t->dtype == ML_F32 ? (double)ML_DATA(float, t)[i] : ML_DATA(double, t)[i];
}

#endif
