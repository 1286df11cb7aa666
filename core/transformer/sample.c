/* Drawing a token: greedy, or by the inverse of the distribution function after temperature, top-k
 * and top-p. */
#include "decoding.h"

#include <math.h>

/* A temperature below this is as good as 0, and its reciprocal stays finite in f32. */
#define LEAST_TEMPERATURE 1e-30

bool ml_draw(const ml_decoding *d, const ml_generate_options *o, const void *logits, uint64_t key,
             uint64_t counter, ml_decode_scratch *s, int64_t *id, double *logprob) {
  const ml_decode_kernels *k = d->kernels;
  const int64_t V = d->V;
  int64_t first = -1;
  double max = k->max(V, logits, o->greedy ? &first : NULL);
  double total = k->exponentials(V, logits, max, 1, s->weights, s->sums);
  if (!isfinite(total) || !(total > 0) || !isfinite(max))
    return false;
  double log_total = log(total);
  if (o->greedy) {
    *id = first;
  } else {
    uint32_t w[4];
    ml_philox(w, key, counter, 0);
    double u = (double)(((uint64_t)w[1] << 32 | w[0]) >> 11) * 0x1p-53;
    double scale = o->temperature > LEAST_TEMPERATURE ? 1 / o->temperature : 1 / LEAST_TEMPERATURE;
    if (o->top_k > 0 || o->top_p < 1) {
      *id = k->pick_top(V, logits, max, scale, o->top_k, o->top_p, u, s->heap, s->tops);
    } else {
      if (o->temperature != 1)
        total = k->exponentials(V, logits, max, scale, s->weights, s->sums);
      *id = k->pick(V, s->weights, s->sums, total, u);
    }
  }
  *logprob = k->at(logits, *id) - max - log_total;
  return true;
}
