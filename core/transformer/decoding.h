/* Private to the transformer room: what decoding holds, packed weights, rows and the cache they
 * read.
 */
#ifndef MOONLAB_TRANSFORMER_DECODING_H
#define MOONLAB_TRANSFORMER_DECODING_H

#include "internal.h"
#include "kernels.h"

/* Vectors are copies with their multiplier inside, in one block. NULL: absent. */
typedef struct {
  ml_packed *qkv, *wo, *w1, *w2; /* qkv [d,3d] */
  const void *norm1_gain, *norm1_shift, *norm2_gain, *norm2_shift;
  const void *q_gain, *k_gain;
  const void *bqkv, *bo, *b1, *b2;
} ml_decoding_layer;

typedef struct {
  const ml_transformer *model;
  const ml_decode_kernels *kernels;
  ml_dtype dtype;
  int64_t esize; /* bytes of an element */
  int64_t csize; /* and of one in the cache */
  bool half;     /* the cache is bf16 */
  int64_t d, m, V, heads, D, Dp, depth;
  ml_decoding_layer *layer; /* [depth] */
  ml_packed *head;
  const void *norm_gain, *norm_shift;
  const char *tokens, *positions; /* the model's own tables; positions NULL unless learned */
  double token_multiplier, position_multiplier;
  char *cosine, *sine; /* [context, D/2], the model's; NULL unless rotary */
  char *block;         /* vectors */
} ml_decoding;

/* half: the cache in bf16, of an f32 model. sizes: no weights yet. */
void ml_decoding_sizes(ml_decoding *decoding, const ml_transformer *model, bool half);
ml_status ml_decoding_open(ml_decoding *decoding, ml_transformer *model, bool half,
                           ml_error *err) ML_MUST_CHECK;
void ml_decoding_close(ml_decoding *decoding); /* idempotent on a zeroed struct */

/* ---- cache (cache.c) ------------------------------------------------------------------------- */

int64_t ml_span_bytes(const ml_decoding *d, int64_t positions);
ml_status ml_span_open(ml_span *span, const ml_decoding *d, int64_t positions,
                       ml_error *err) ML_MUST_CHECK;
void ml_span_close(ml_span *span);
/* One layer's part. */
static inline char *ml_span_layer(const ml_span *s, const ml_decoding *d, int64_t l) {
  return s->data + l * d->heads * s->cap * (d->D + d->Dp) * d->csize;
}
/* Elements from a block of a layer to the next. */
static inline int64_t ml_span_stride(const ml_decoding *d) {
  return d->heads * ml_block_part(d->D, d->Dp);
}
/* Copies the last, unfinished block, the one of position t, to the start of another span. [any
 * thread] */
void ml_span_copy(ml_span *to, const ml_span *from, int64_t t, const ml_decoding *d);

/* ---- rows (decode.c) ------------------------------------------------------------------------- */

/* One token on its way: it stands at `position`, its key and value go to the last of the positions
 * seen. */
typedef struct {
  int64_t token, position;
  const ml_span *span[2]; /* seen in this order; span[1] NULL when there is one only */
  int64_t
      seen[2]; /* positions of each, this token's included; seen[0] % 16 == 0 when seen[1] > 0 */
  bool wanted; /* its logits are computed */
} ml_decode_row;

/* Scratch of one worker for at most `rows` rows. */
typedef struct {
  char *x, *h, *qkv, *hidden, *logits, *scores, *weights;
  double *sums, *tops;
  int64_t *heap;
} ml_decode_scratch;
size_t ml_decode_scratch_bytes(const ml_decoding *d, int64_t rows, int64_t wanted);
void ml_decode_scratch_init(ml_decode_scratch *s, const ml_decoding *d, int64_t rows,
                            int64_t wanted, char *memory);

/* Runs the rows through the model; logits of the wanted ones follow each other in s->logits. [any
 * thread] */
void ml_decode_rows(const ml_decoding *d, const ml_decode_row *rows, int64_t n,
                    ml_decode_scratch *s);

#define ML_DECODE_GROUP 128 /* rows in one pass, at most */
/* How many rows make a group. No row knows what group it is in: its results depend on neither. */
int64_t ml_decode_group(int64_t rows, int threads);

/* ---- drawing (sample.c) ---------------------------------------------------------------------- */

/* Draws an id from logits; counter-th block of the stream key. False: logits have no distribution
 * (NaN). [any thread] */
bool ml_draw(const ml_decoding *d, const ml_generate_options *o, const void *logits, uint64_t key,
             uint64_t counter, ml_decode_scratch *s, int64_t *id, double *logprob);

#endif
