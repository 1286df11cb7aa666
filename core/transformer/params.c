/* Parameters of the decoder: the named table, initial values from one random stream per tensor,
 * life of a model. */
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- table ----------------------------------------------------------------------------------- */

/* Appends a parameter to the table (counts only while model->params is NULL); returns its position.
 */
static int64_t add(ml_transformer *m, int64_t block, const char *name, ml_param_role role,
                   int64_t fan_in, bool residual) {
  int64_t i = m->n_params++;
  if (!m->params)
    return i;
  ml_transformer_param *p = &m->params[i];
  if (block >= 0)
    (void)snprintf(p->name, sizeof p->name, "blocks.%lld.%s", (long long)block + 1, name);
  else
    (void)snprintf(p->name, sizeof p->name, "%s", name);
  p->multiplier = 1;
  p->role = role;
  p->fan_in = fan_in;
  p->residual = residual;
  return i;
}

static int64_t add_if(bool present, ml_transformer *m, int64_t block, const char *name,
                      ml_param_role role) {
  return present ? add(m, block, name, role, 0, false) : -1;
}

static void add_block(ml_transformer *m, ml_block_index *b, int64_t l) {
  const ml_transformer_config *c = &m->config;
  int64_t d = c->width;
  bool shift = c->bias && c->norm == ML_NORM_LAYER, bias = c->bias;
  b->norm1_gain = add(m, l, "norm1.gain", ML_PARAM_GAIN, 0, false);
  b->norm1_shift = add_if(shift, m, l, "norm1.shift", ML_PARAM_BIAS);
  b->wq = add(m, l, "attn.wq", ML_PARAM_HIDDEN, d, false);
  b->wk = add(m, l, "attn.wk", ML_PARAM_HIDDEN, d, false);
  b->wv = add(m, l, "attn.wv", ML_PARAM_HIDDEN, d, false);
  b->wo = add(m, l, "attn.wo", ML_PARAM_HIDDEN, d, true);
  b->bq = add_if(bias, m, l, "attn.bq", ML_PARAM_BIAS);
  b->bk = add_if(bias, m, l, "attn.bk", ML_PARAM_BIAS);
  b->bv = add_if(bias, m, l, "attn.bv", ML_PARAM_BIAS);
  b->bo = add_if(bias, m, l, "attn.bo", ML_PARAM_BIAS);
  b->q_gain = add_if(c->qk_norm, m, l, "attn.q_norm.gain", ML_PARAM_GAIN);
  b->k_gain = add_if(c->qk_norm, m, l, "attn.k_norm.gain", ML_PARAM_GAIN);
  b->norm2_gain = add(m, l, "norm2.gain", ML_PARAM_GAIN, 0, false);
  b->norm2_shift = add_if(shift, m, l, "norm2.shift", ML_PARAM_BIAS);
  b->w1 = add(m, l, "mlp.w1", ML_PARAM_HIDDEN, d, false);
  b->b1 = add_if(bias, m, l, "mlp.b1", ML_PARAM_BIAS);
  b->w2 = add(m, l, "mlp.w2", ML_PARAM_HIDDEN, c->mlp_width, true);
  b->b2 = add_if(bias, m, l, "mlp.b2", ML_PARAM_BIAS);
}

static void add_all(ml_transformer *m) {
  const ml_transformer_config *c = &m->config;
  m->n_params = 0;
  m->tokens = add(m, -1, "tokens", ML_PARAM_EMBEDDING, c->width, false);
  m->positions = c->positions == ML_POSITIONS_LEARNED
                     ? add(m, -1, "positions", ML_PARAM_EMBEDDING, c->width, false)
                     : -1;
  for (int64_t l = 0; l < c->depth; l++)
    add_block(m, &m->blocks[l], l);
  m->norm_gain = add(m, -1, "norm.gain", ML_PARAM_GAIN, 0, false);
  m->norm_shift = add_if(c->bias && c->norm == ML_NORM_LAYER, m, -1, "norm.shift", ML_PARAM_BIAS);
  m->head = c->tied ? -1 : add(m, -1, "head", ML_PARAM_READOUT, c->width, false);
}

ml_status ml_transformer_layout(ml_transformer **model, const ml_transformer_config *config,
                                ml_error *err) {
  *model = NULL;
  ml_transformer_config checked = *config;
  ML_TRY(ml_transformer_config_check(&checked, err));
  ml_transformer *m = ml_alloc(sizeof *m);
  if (!m)
    return ml_fail(err, ML_ENOMEM, 0, "no memory for a decoder");
  m->config = checked;
  m->tied_multiplier = 1;
  m->training = true;
  m->blocks = ml_alloc(sizeof *m->blocks * (size_t)(checked.depth > 0 ? checked.depth : 1));
  if (!m->blocks) {
    ml_transformer_free(m);
    return ml_fail(err, ML_ENOMEM, 0, "no memory for %lld blocks", (long long)checked.depth);
  }
  add_all(m); /* counts */
  m->params = ml_alloc(sizeof *m->params * (size_t)m->n_params);
  if (!m->params) {
    m->n_params = 0;
    ml_transformer_free(m);
    return ml_fail(err, ML_ENOMEM, 0, "no memory for the parameter table of %lld blocks",
                   (long long)checked.depth);
  }
  add_all(m);
  *model = m;
  return ML_OK;
}

ml_shape ml_transformer_param_shape(const ml_transformer *m, int64_t i) {
  const ml_transformer_config *c = &m->config;
  int64_t d = c->width;
  if (i == m->tokens)
    return ml_shape_make(2, c->vocab, d);
  if (i == m->positions)
    return ml_shape_make(2, c->context, d);
  if (i == m->head)
    return ml_shape_make(2, d, c->vocab);
  const ml_transformer_param *p = &m->params[i];
  if (p->role == ML_PARAM_HIDDEN) {
    const char *leaf = strrchr(p->name, '.') + 1;
    if (strcmp(leaf, "w1") == 0)
      return ml_shape_make(2, d, c->mlp_width);
    if (strcmp(leaf, "w2") == 0)
      return ml_shape_make(2, c->mlp_width, d);
    return ml_shape_make(2, d, d);
  }
  if (strstr(p->name, "q_norm") || strstr(p->name, "k_norm"))
    return ml_shape_make(1, ml_transformer_head_width(c));
  if (strstr(p->name, "mlp.b1"))
    return ml_shape_make(1, c->mlp_width);
  return ml_shape_make(1, d);
}

/* ---- initial values -------------------------------------------------------------------------- */

ml_status ml_transformer_redraw(ml_transformer *m, ml_transformer_param *p, double scale,
                                ml_error *err) {
  const ml_transformer_config *c = &m->config;
  if (!isfinite(scale))
    return ml_fail(err, ML_EARG, 0, "scale is %g, wanted a finite number", scale);
  ml_tensor values;
  ml_tensor_detach(&values, &p->tensor);
  ml_status status = ML_OK;
  if (p->role == ML_PARAM_GAIN || p->role == ML_PARAM_BIAS ||
      (p->residual && c->init == ML_INIT_ZEROS_OUT)) {
    status = ml_tensor_fill_into(&values, p->role == ML_PARAM_GAIN ? scale : 0, err);
    ml_tensor_clear(&values);
    return status;
  }
  ml_rng seed = ml_rng_seed((uint64_t)c->seed);
  ml_rng g = ml_rng_fold(&seed, p->name, strlen(p->name), 0);
  int64_t n = ml_numel(&values);
  void *x = ml_data(&values);
  bool f32 = c->dtype == ML_F32;
  if (c->init == ML_INIT_NORMAL || p->role == ML_PARAM_EMBEDDING) {
    double std = c->init == ML_INIT_NORMAL ? 0.02 : 1 / sqrt((double)c->width);
    if (c->init == ML_INIT_NORMAL && p->residual)
      std /= sqrt(2 * (double)c->depth);
    if (f32)
      ml_rng_normal_f32(&g, x, n, 0, std * scale);
    else
      ml_rng_normal_f64(&g, x, n, 0, std * scale);
  } else {
    double std = 1 / sqrt((double)p->fan_in);
    if (f32)
      ml_rng_truncated_normal_f32(&g, x, n, std * scale);
    else
      ml_rng_truncated_normal_f64(&g, x, n, std * scale);
  }
  ml_touch(&values);
  ml_tensor_clear(&values);
  return ML_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

ml_status ml_transformer_new(ml_transformer **model, const ml_transformer_config *config,
                             ml_error *err) {
  ML_TRY(ml_transformer_layout(model, config, err));
  ml_transformer *m = *model;
  ml_status status = ML_OK;
  for (int64_t i = 0; i < m->n_params && !status; i++) {
    ml_shape shape = ml_transformer_param_shape(m, i);
    ml_tensor t = {0};
    status = ml_tensor_init(&t, (ml_dtype)m->config.dtype, &shape, err);
    if (!status)
      status = ml_param(&m->params[i].tensor, &t, err);
    ml_tensor_clear(&t);
    if (!status)
      status = ml_transformer_redraw(m, &m->params[i], 1, err);
    if (!status && ml_cancelled())
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
  }
  if (status) {
    err->arg = 0;
    ml_transformer_free(m);
    *model = NULL;
  }
  return status;
}

void ml_transformer_free(ml_transformer *m) {
  if (!m)
    return;
  for (int64_t i = 0; i < m->n_params; i++)
    ml_tensor_clear(&m->params[i].tensor);
  ml_block_free(m->rotary);
  ml_free(m->params);
  ml_free(m->blocks);
  ml_free(m);
}

const ml_transformer_config *ml_transformer_get_config(const ml_transformer *m) {
  return &m->config;
}
int64_t ml_transformer_param_count(const ml_transformer *m) { return m->n_params; }
ml_transformer_param *ml_transformer_param_at(ml_transformer *m, int64_t i) {
  return i >= 0 && i < m->n_params ? &m->params[i] : NULL;
}

ml_transformer_param *ml_transformer_param_find(ml_transformer *m, const char *name) {
  for (int64_t i = 0; i < m->n_params; i++)
    if (strcmp(m->params[i].name, name) == 0)
      return &m->params[i];
  return NULL;
}

double *ml_transformer_multiplier(ml_transformer *m, const char *name) {
  ml_transformer_param *p = ml_transformer_param_find(m, name);
  if (p)
    return &p->multiplier;
  return m->config.tied && strcmp(name, "head") == 0 ? &m->tied_multiplier : NULL;
}

bool ml_transformer_training(ml_transformer *m, bool on) {
  bool before = m->training;
  m->training = on;
  return before;
}
