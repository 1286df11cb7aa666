/* Decoding: rows of tokens through the whole model in one pass per group, each reading its own part
 * of the cache. */
#include "decoding.h"

#include <string.h>

static int64_t over(int64_t n, int64_t size) { return (n + size - 1) / size; }

/* Two groups at least where there are rows for them, none so large that its activations leave L2.
 * Large ones read the weights, which have left L2 by then, less often; but no thread is to idle. */
int64_t ml_decode_group(int64_t rows, int threads) {
  if (rows <= 4)
    return rows;
  int64_t groups = over(rows, ML_DECODE_GROUP), most = over(rows, ML_DECODE_GROUP / 2);
  if (groups < threads)
    groups = threads < most ? threads : most;
  groups += groups % 2;
  return over(rows, groups);
}

/* ---- scratch --------------------------------------------------------------------------------- */

static size_t line(int64_t bytes) { return (size_t)((bytes + 63) / 64 * 64); }

/* Visits the parts in order; memory NULL: sizes only. */
static size_t lay_out(ml_decode_scratch *s, const ml_decoding *d, int64_t rows, int64_t wanted,
                      char *memory) {
  const int64_t e = d->esize, n = d->model->config.context + (int64_t)2 * ML_CACHE_BLOCK;
  const int64_t bytes[] = {
      rows * d->d * e, rows * d->d * e, rows * 3 * d->d * e, rows * d->m * e, wanted * d->V * e,
      n * e,           d->V * e,        (d->V + 64) * 8,     d->V * 8,        d->V * 8};
  char *part[sizeof bytes / sizeof bytes[0]];
  size_t used = 0;
  for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
    part[i] = memory ? memory + used : NULL;
    used += line(bytes[i]);
  }
  if (memory)
    *s = (ml_decode_scratch){.x = part[0],
                             .h = part[1],
                             .qkv = part[2],
                             .hidden = part[3],
                             .logits = part[4],
                             .scores = part[5],
                             .weights = part[6],
                             .sums = (double *)(void *)part[7],
                             .tops = (double *)(void *)part[8],
                             .heap = (int64_t *)(void *)part[9]};
  return used;
}

size_t ml_decode_scratch_bytes(const ml_decoding *d, int64_t rows, int64_t wanted) {
  return lay_out(NULL, d, rows, wanted, NULL);
}

void ml_decode_scratch_init(ml_decode_scratch *s, const ml_decoding *d, int64_t rows,
                            int64_t wanted, char *memory) {
  (void)lay_out(s, d, rows, wanted, memory);
}

/* ---- one pass -------------------------------------------------------------------------------- */

static void embed(const ml_decoding *d, const ml_decode_row *rows, int64_t n, char *x) {
  const int64_t width = d->d * d->esize;
  for (int64_t i = 0; i < n; i++)
    d->kernels->embed(d->d, d->tokens + rows[i].token * width, d->token_multiplier,
                      d->positions ? d->positions + rows[i].position * width : NULL,
                      d->position_multiplier, x + i * width);
}

/* Norms, rotates, appends. */
static void append(const ml_decoding *d, const ml_decoding_layer *y, int64_t l,
                   const ml_decode_row *rows, int64_t n, char *qkv) {
  const ml_transformer_config *c = &d->model->config;
  ml_head_plan plan = {.heads = d->heads,
                       .D = d->D,
                       .Dp = d->Dp,
                       .scale = ml_transformer_attention_scale(c),
                       .eps = c->norm_eps,
                       .rms = c->norm == ML_NORM_RMS,
                       .norm = c->qk_norm,
                       .norm_last = c->qk_norm_after_rotary,
                       .interleaved = c->rotary_interleaved,
                       .q_gain = y->q_gain,
                       .k_gain = y->k_gain};
  const int64_t ahead = 4, stride = ml_span_stride(d) * d->csize;
  for (int64_t i = -ahead; i < n; i++) {
    if (i + ahead < n) { /* the block that will be written, all heads: it is read next */
      const ml_decode_row *r = &rows[i + ahead];
      int last = r->seen[1] > 0;
      int64_t t = r->seen[last] - 1;
      const char *block = ml_span_layer(r->span[last], d, l) + t / ML_CACHE_BLOCK * stride;
      for (int64_t h = 0; h < d->heads; h++)
        d->kernels->fetch[d->half](d->D, d->Dp, 0, block + h * (stride / d->heads),
                                   t % ML_CACHE_BLOCK + 1);
    }
    if (i < 0)
      continue;
    const ml_decode_row *r = &rows[i];
    int last = r->seen[1] > 0;
    if (d->cosine) {
      plan.cosine = d->cosine + r->position * (d->D / 2) * d->esize;
      plan.sine = d->sine + r->position * (d->D / 2) * d->esize;
    }
    d->kernels->shape[d->half](&plan, qkv + i * 3 * d->d * d->esize,
                               ml_span_layer(r->span[last], d, l), r->seen[last] - 1);
  }
}

/* The head's part of span k of a row, NULL when the row does not see it. */
static const char *head_cache(const ml_decoding *d, const ml_decode_row *r, int k, int64_t l,
                              int64_t h) {
  if (r->seen[k] == 0)
    return NULL;
  return ml_span_layer(r->span[k], d, l) + h * ml_block_part(d->D, d->Dp) * d->csize;
}

static void attend_one(const ml_decoding *d, int64_t l, int64_t h, const ml_decode_row *rows,
                       int64_t i, ml_decode_scratch *s) {
  const ml_decode_row *r = &rows[i];
  d->kernels->attend[d->half](d->D, d->Dp, ml_span_stride(d),
                              s->qkv + (i * 3 * d->d + h * d->D) * d->esize,
                              head_cache(d, r, 0, l, h), r->seen[0], head_cache(d, r, 1, l, h),
                              r->seen[1], s->scores, s->h + (i * d->d + h * d->D) * d->esize);
}

/* Rows that share a prefix go head by head, so that they meet it in cache; others row by row, the
 * next one's cache on its way meanwhile. The order changes nothing. */
static void attend(const ml_decoding *d, int64_t l, const ml_decode_row *rows, int64_t n,
                   ml_decode_scratch *s) {
  for (int64_t i = 0, end; i < n; i = end) {
    for (end = i + 1; end < n && rows[end].span[0] == rows[i].span[0]; end++)
      ;
    const ml_decode_row *next = end < n ? &rows[end] : NULL;
    for (int64_t h = 0; h < d->heads; h++) {
      for (int k = 0; next && k < 2; k++)
        if (next->seen[k] > 0)
          d->kernels->fetch[d->half](d->D, d->Dp, ml_span_stride(d), head_cache(d, next, k, l, h),
                                     next->seen[k]);
      for (int64_t k = i; k < end; k++)
        attend_one(d, l, h, rows, k, s);
    }
  }
}

static void norm(const ml_decoding *d, int64_t n, const char *x, const void *gain,
                 const void *shift, char *y) {
  const ml_transformer_config *c = &d->model->config;
  d->kernels->norm(n, d->d, x, d->d, gain, shift, c->norm_eps, c->norm == ML_NORM_RMS, y, d->d);
}

void ml_decode_rows(const ml_decoding *d, const ml_decode_row *rows, int64_t n,
                    ml_decode_scratch *s) {
  const int64_t width = d->d, e = d->esize;
  embed(d, rows, n, s->x);
  for (int64_t l = 0; l < d->depth; l++) {
    const ml_decoding_layer *y = &d->layer[l];
    norm(d, n, s->x, y->norm1_gain, y->norm1_shift, s->h);
    ml_packed_matmul(y->qkv, n, s->h, width, y->bqkv, s->qkv, 3 * width, false);
    append(d, y, l, rows, n, s->qkv);
    attend(d, l, rows, n, s);
    ml_packed_matmul(y->wo, n, s->h, width, y->bo, s->x, width, true);
    norm(d, n, s->x, y->norm2_gain, y->norm2_shift, s->h);
    ml_packed_matmul(y->w1, n, s->h, width, y->b1, s->hidden, d->m, false);
    d->kernels->activate(n * d->m, s->hidden, d->model->config.activation);
    ml_packed_matmul(y->w2, n, s->hidden, d->m, y->b2, s->x, width, true);
  }
  int64_t wanted = 0;
  for (int64_t i = 0; i < n; i++)
    if (rows[i].wanted) {
      norm(d, 1, s->x + i * width * e, d->norm_gain, d->norm_shift, s->h + wanted * width * e);
      wanted++;
    }
  if (wanted)
    ml_packed_matmul(d->head, wanted, s->h, width, NULL, s->logits, d->V, false);
}

/* ---- logits, for checks ---------------------------------------------------------------------- */

static ml_status run_logits(ml_tensor *logits, const ml_decoding *d, const ml_span *span,
                            const int64_t *ids, int64_t length, int64_t prefill, char *memory,
                            ml_error *err) {
  enum { CHUNK = 32 };
  ml_decode_scratch s;
  ml_decode_scratch_init(&s, d, CHUNK, CHUNK, memory);
  for (int64_t t = 0; t < length;) {
    ML_POLL(err);
    int64_t n = t < prefill ? prefill - t : 1;
    n = n < CHUNK ? n : CHUNK;
    ml_decode_row rows[CHUNK];
    for (int64_t i = 0; i < n; i++)
      rows[i] = (ml_decode_row){.token = ids[t + i],
                                .position = t + i,
                                .span = {span},
                                .seen = {t + i + 1},
                                .wanted = true};
    ml_decode_rows(d, rows, n, &s);
    memcpy((char *)ml_data(logits) + t * d->V * d->esize, s.logits, (size_t)(n * d->V * d->esize));
    t += n;
  }
  return ML_OK;
}

ml_status ml_transformer_decode_logits(ml_tensor *logits, ml_transformer *m, const int64_t *ids,
                                       int64_t length, int64_t prefill, bool half, ml_error *err) {
  if (length < 1 || length > m->config.context)
    return ml_fail(err, ML_EARG, 2, "%lld ids, wanted 1..%lld", (long long)length,
                   (long long)m->config.context);
  for (int64_t i = 0; i < length; i++)
    if (ids[i] < 0 || ids[i] >= m->config.vocab)
      return ml_fail(err, ML_EARG, 2, "id %lld at %lld, wanted 1..%lld", (long long)(ids[i] + 1),
                     (long long)(i + 1), (long long)m->config.vocab);
  ml_decoding d;
  ML_TRY(ml_decoding_open(&d, m, half, err));
  ml_span span = {0};
  ml_shape shape = ml_shape_make(2, length, d.V);
  char *memory = ml_block_new(ml_decode_scratch_bytes(&d, 32, 32));
  ml_status status = ML_OK;
  if (!memory)
    status = ml_fail(err, ML_ENOMEM, 0, "no memory for scratch");
  if (!status)
    status = ml_span_open(&span, &d, length, err);
  if (!status)
    status = ml_tensor_init(logits, d.dtype, &shape, err);
  if (!status) {
    status = run_logits(logits, &d, &span, ids, length, prefill, memory, err);
    if (status)
      ml_tensor_clear(logits);
  }
  ml_span_close(&span);
  ml_block_free(memory);
  ml_decoding_close(&d);
  return status;
}
