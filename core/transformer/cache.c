/* The KV cache: spans of positions, each one block of memory with the layout that decoding reads.
 */
#include "decoder.h"

#include <string.h>

int64_t ml_span_bytes(const ml_decoder *d, int64_t positions) {
  int64_t cap = (positions + ML_CACHE_BLOCK - 1) / ML_CACHE_BLOCK * ML_CACHE_BLOCK;
  return d->depth * d->heads * cap * (d->D + d->Dp) * d->esize;
}

ml_status ml_span_open(ml_span *span, const ml_decoder *d, int64_t positions, ml_error *err) {
  int64_t bytes = ml_span_bytes(d, positions);
  span->cap = (positions + ML_CACHE_BLOCK - 1) / ML_CACHE_BLOCK * ML_CACHE_BLOCK;
  span->data = ml_block_new((size_t)(bytes > 0 ? bytes : 1));
  if (!span->data)
    return ml_fail(err, ML_ENOMEM, 0, "no memory for a cache of %lld positions (%lld bytes)",
                   (long long)positions, (long long)bytes);
  return ML_OK;
}

void ml_span_close(ml_span *span) {
  ml_block_free(span->data);
  span->data = NULL;
}

void ml_span_copy(ml_span *to, const ml_span *from, int64_t t, int64_t n, const ml_decoder *d) {
  const int64_t e = d->esize, width = d->D + d->Dp, B = ML_CACHE_BLOCK;
  for (int64_t l = 0; l < d->depth; l++)
    for (int64_t h = 0; h < d->heads; h++) {
      char *K = ml_span_layer(to, d, l) + h * to->cap * width * e;
      const char *K0 = ml_span_layer(from, d, l) + h * from->cap * width * e;
      for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < d->D; k++)
          memcpy(K + (i / B * d->D * B + k * B + i % B) * e,
                 K0 + ((t + i) / B * d->D * B + k * B + (t + i) % B) * e, (size_t)e);
      memcpy(K + to->cap * d->D * e, K0 + (from->cap * d->D + t * d->Dp) * e,
             (size_t)(n * d->Dp * e));
    }
}
