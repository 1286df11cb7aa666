/* The KV cache: spans of positions, each one block of memory with the layout that decoding reads.
 */
#include "decoding.h"

#include <string.h>

int64_t ml_span_bytes(const ml_decoding *d, int64_t positions) {
  int64_t cap = (positions + ML_CACHE_BLOCK - 1) / ML_CACHE_BLOCK * ML_CACHE_BLOCK;
  return d->depth * d->heads * cap * (d->D + d->Dp) * d->csize;
}

ml_status ml_span_open(ml_span *span, const ml_decoding *d, int64_t positions, ml_error *err) {
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

void ml_span_copy(ml_span *to, const ml_span *from, int64_t t, const ml_decoding *d) {
  const int64_t block = ml_span_stride(d) * d->csize;
  for (int64_t l = 0; l < d->depth; l++)
    memcpy(ml_span_layer(to, d, l), ml_span_layer(from, d, l) + t / ML_CACHE_BLOCK * block,
           (size_t)block);
}
