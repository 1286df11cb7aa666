/* Getting a model ready to decode: weights packed once, vectors with their multipliers, rotary
 * tables. */
#include "decoding.h"

#include <math.h>
#include <string.h>

/* ---- packing --------------------------------------------------------------------------------- */

/* [K, N0 + N1 + ...] side by side, each times its multiplier. */
static ml_status pack(ml_packed **packed, const ml_decoding *d, const int64_t *params, int n,
                      ml_error *err) {
  const ml_transformer *m = d->model;
  const ml_tensor *first = &m->params[params[0]].tensor;
  int64_t K = first->size[0], N = 0;
  for (int i = 0; i < n; i++)
    N += m->params[params[i]].tensor.size[1];
  if (n == 1 && m->params[params[0]].multiplier == 1)
    return ml_packed_new(packed, d->dtype, false, K, N, ml_data(first), N, err);
  char *joined = ml_block_new((size_t)(K * N * d->esize));
  if (!joined)
    return ml_fail(err, ML_ENOMEM, 0, "no memory to pack weights of [%lldx%lld]", (long long)K,
                   (long long)N);
  int64_t column = 0;
  for (int i = 0; i < n; i++) {
    const ml_transformer_param *p = &m->params[params[i]];
    int64_t width = p->tensor.size[1];
    const char *from = ml_data(&p->tensor);
    for (int64_t k = 0; k < K; k++)
      d->kernels->scale(width, from + k * width * d->esize, p->multiplier,
                        joined + (k * N + column) * d->esize);
    column += width;
  }
  ml_status status = ml_packed_new(packed, d->dtype, false, K, N, joined, N, err);
  ml_block_free(joined);
  return status;
}

static ml_status pack_head(ml_decoding *d, ml_error *err) {
  const ml_transformer *m = d->model;
  const ml_tensor *W = ml_transformer_head_weight(m);
  double multiplier = ml_transformer_logit_multiplier(m);
  bool tied = m->config.tied;
  if (multiplier == 1)
    return ml_packed_new(&d->head, d->dtype, tied, d->d, d->V, ml_data(W), tied ? d->d : d->V, err);
  char *scaled = ml_block_new((size_t)(d->d * d->V * d->esize));
  if (!scaled)
    return ml_fail(err, ML_ENOMEM, 0, "no memory to pack the head of %lld ids", (long long)d->V);
  d->kernels->scale(d->d * d->V, ml_data(W), multiplier, scaled);
  ml_status status =
      ml_packed_new(&d->head, d->dtype, tied, d->d, d->V, scaled, tied ? d->d : d->V, err);
  ml_block_free(scaled);
  return status;
}

/* ---- vectors --------------------------------------------------------------------------------- */

/* A cursor over the decoding's block; with block NULL it counts only. */
typedef struct {
  ml_decoding *d;
  int64_t used; /* bytes */
} cursor;

static char *take(cursor *c, int64_t count) {
  char *p = c->d->block ? c->d->block + c->used : NULL;
  c->used += (count * c->d->esize + 63) / 64 * 64;
  return p;
}

/* The n parameters one after the other, scaled; NULL when the configuration has none. */
static const void *vector(cursor *c, const int64_t *params, int n) {
  const ml_decoding *d = c->d;
  if (params[0] < 0)
    return NULL;
  int64_t count = 0;
  for (int i = 0; i < n; i++)
    count += ml_numel(&d->model->params[params[i]].tensor);
  char *out = take(c, count), *to = out;
  for (int i = 0; out && i < n; i++) {
    const ml_transformer_param *p = &d->model->params[params[i]];
    d->kernels->scale(ml_numel(&p->tensor), ml_data(&p->tensor), p->multiplier, to);
    to += ml_numel(&p->tensor) * d->esize;
  }
  return out;
}

static void vectors(ml_decoding *d, cursor *c) {
  const ml_transformer *m = d->model;
  for (int64_t l = 0; l < d->depth; l++) {
    const ml_block_index *b = &m->blocks[l];
    ml_decoding_layer *y = &d->layer[l];
    y->norm1_gain = vector(c, &b->norm1_gain, 1);
    y->norm1_shift = vector(c, &b->norm1_shift, 1);
    y->norm2_gain = vector(c, &b->norm2_gain, 1);
    y->norm2_shift = vector(c, &b->norm2_shift, 1);
    y->q_gain = vector(c, &b->q_gain, 1);
    y->k_gain = vector(c, &b->k_gain, 1);
    y->bqkv = vector(c, (const int64_t[]){b->bq, b->bk, b->bv}, 3);
    y->bo = vector(c, &b->bo, 1);
    y->b1 = vector(c, &b->b1, 1);
    y->b2 = vector(c, &b->b2, 1);
  }
  d->norm_gain = vector(c, &m->norm_gain, 1);
  d->norm_shift = vector(c, &m->norm_shift, 1);
}

static void put(const ml_decoding *d, char *table, int64_t i, double value) {
  if (d->dtype == ML_F32)
    ((float *)(void *)table)[i] = (float)value;
  else
    ((double *)(void *)table)[i] = value;
}

/* The model keeps its table: many calls decode a few tokens only. */
static ml_status rotary_tables(ml_decoding *d, ml_transformer *m, ml_error *err) {
  const int64_t half = d->D / 2, n = m->config.context * half;
  if (m->config.positions != ML_POSITIONS_ROTARY)
    return ML_OK;
  bool fill = !m->rotary;
  if (fill)
    m->rotary = ml_block_new((size_t)(2 * n * d->esize));
  if (!m->rotary)
    return ml_fail(err, ML_ENOMEM, 0, "no memory for rotary tables of %lld positions",
                   (long long)m->config.context);
  d->cosine = m->rotary;
  d->sine = d->cosine + n * d->esize;
  for (int64_t i = 0; fill && i < half; i++) {
    double frequency = pow(m->config.rotary_base, -2.0 * (double)i / (double)d->D);
    for (int64_t t = 0; t < m->config.context; t++) {
      put(d, d->cosine, t * half + i, cos((double)t * frequency));
      put(d, d->sine, t * half + i, sin((double)t * frequency));
    }
  }
  return ML_OK;
}

/* ---- open and close -------------------------------------------------------------------------- */

static ml_status open_parts(ml_decoding *d, ml_transformer *m, ml_error *err) {
  d->layer = ml_alloc(sizeof *d->layer * (size_t)(d->depth > 0 ? d->depth : 1));
  if (!d->layer)
    return ml_fail(err, ML_ENOMEM, 0, "no memory for %lld layers", (long long)d->depth);
  cursor count = {d, 0}, fill = {d, 0};
  vectors(d, &count);
  d->block = ml_block_new((size_t)count.used);
  if (!d->block)
    return ml_fail(err, ML_ENOMEM, 0, "no memory for %lld bytes of vectors", (long long)count.used);
  vectors(d, &fill);
  ML_TRY(rotary_tables(d, m, err));
  for (int64_t l = 0; l < d->depth; l++) {
    const ml_block_index *b = &m->blocks[l];
    ML_TRY(pack(&d->layer[l].qkv, d, (const int64_t[]){b->wq, b->wk, b->wv}, 3, err));
    ML_TRY(pack(&d->layer[l].wo, d, &b->wo, 1, err));
    ML_TRY(pack(&d->layer[l].w1, d, &b->w1, 1, err));
    ML_TRY(pack(&d->layer[l].w2, d, &b->w2, 1, err));
  }
  ML_TRY(pack_head(d, err));
  d->tokens = ml_data(&m->params[m->tokens].tensor);
  d->token_multiplier = m->params[m->tokens].multiplier;
  if (m->positions >= 0) {
    d->positions = ml_data(&m->params[m->positions].tensor);
    d->position_multiplier = m->params[m->positions].multiplier;
  }
  return ML_OK;
}

void ml_decoding_sizes(ml_decoding *d, const ml_transformer *m, bool half) {
  const ml_transformer_config *c = &m->config;
  memset(d, 0, sizeof *d);
  d->model = m;
  d->dtype = (ml_dtype)c->dtype;
  d->esize = (int64_t)ml_dtype_size(d->dtype);
  d->half = half;
  d->csize = half ? 2 : d->esize;
  d->kernels = ml_decode_kernels_of(d->dtype);
  d->d = c->width;
  d->m = c->mlp_width;
  d->V = c->vocab;
  d->heads = c->heads;
  d->D = ml_transformer_head_width(c);
  int64_t lanes = 64 / d->esize;
  d->Dp = (d->D + lanes - 1) / lanes * lanes;
  d->depth = c->depth;
}

ml_status ml_decoding_open(ml_decoding *d, ml_transformer *m, bool half, ml_error *err) {
  if (half && m->config.dtype != ML_F32)
    return ml_fail(err, ML_EDTYPE, 0, "a cache in bf16 is for models in f32, this one is %s",
                   ml_dtype_name((ml_dtype)m->config.dtype));
  ml_decoding_sizes(d, m, half);
  ml_status status = open_parts(d, m, err);
  if (status)
    ml_decoding_close(d);
  return status;
}

void ml_decoding_close(ml_decoding *d) {
  for (int64_t l = 0; d->layer && l < d->depth; l++) {
    ml_packed_free(d->layer[l].qkv);
    ml_packed_free(d->layer[l].wo);
    ml_packed_free(d->layer[l].w1);
    ml_packed_free(d->layer[l].w2);
  }
  ml_packed_free(d->head);
  ml_free(d->layer);
  ml_block_free(d->block);
  memset(d, 0, sizeof *d);
}
