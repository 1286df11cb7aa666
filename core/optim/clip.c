/* Gradient clipping by the norm of all gradients together. */
#include "state.h"

#include <math.h>

typedef struct {
  ml_tensor *const *grads;
  const ml_optim_chunk *chunks;
  double *sums;
  double factor;
} clip_call;

static double gradient_at(const ml_tensor *g, int64_t i) {
  return g->dtype == ML_F32 ? (double)ML_DATA(const float, g)[i] : ML_DATA(const double, g)[i];
}

/* The largest magnitude in a chunk; NaN counts for nothing, the sum of squares has told of it. */
static void clip_largest(void *context, int64_t at, int worker) {
  (void)worker;
  clip_call *c = context;
  ml_optim_chunk k = c->chunks[at];
  double largest = 0;
  for (int64_t i = k.start; i < k.start + k.n; i++)
    largest = fmax(largest, fabs(gradient_at(c->grads[k.tensor], i)));
  c->sums[at] = largest;
}

static void clip_scaled_sum(void *context, int64_t at, int worker) {
  (void)worker;
  clip_call *c = context;
  ml_optim_chunk k = c->chunks[at];
  double sum = 0;
  for (int64_t i = k.start; i < k.start + k.n; i++) {
    double g = gradient_at(c->grads[k.tensor], i) * c->factor;
    sum += g * g;
  }
  c->sums[at] = sum;
}

static void clip_sum(void *context, int64_t at, int worker) {
  (void)worker;
  clip_call *c = context;
  ml_optim_chunk k = c->chunks[at];
  const ml_tensor *g = c->grads[k.tensor];
  c->sums[at] = ml_optim_rules(g->dtype)->sumsq(ml_optim_at(g, k.start), k.n);
}

static void clip_scale(void *context, int64_t at, int worker) {
  (void)worker;
  clip_call *c = context;
  ml_optim_chunk k = c->chunks[at];
  const ml_tensor *g = c->grads[k.tensor];
  ml_optim_rules(g->dtype)->scale(ml_optim_at(g, k.start), k.n, c->factor);
}

ml_status ml_clip_grad_norm(double *norm, ml_tensor *const *grads, int n, double max_norm,
                            ml_error *err) {
  if (!(max_norm > 0))
    return ml_fail(err, ML_EARG, 2, "the largest norm is %g, wanted > 0", max_norm);
  int64_t total = 0;
  for (int i = 0; i < n; i++) {
    if (!grads[i] || ml_tensor_empty(grads[i]))
      continue;
    char text[ML_DESCRIBE];
    if (!ml_is_real(grads[i]->dtype) || !ml_is_contiguous(grads[i]))
      return ml_fail(err, ML_EARG, 1, "gradient %d is %s, wanted a contiguous f32 or f64 tensor",
                     i + 1, ml_describe(text, grads[i]));
    total += (ml_numel(grads[i]) + ML_OPTIM_CHUNK - 1) / ML_OPTIM_CHUNK;
  }
  ml_arena *arena = ml_scratch();
  if (!arena)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for clipping");
  size_t mark = ml_arena_mark(arena);
  ml_optim_chunk *chunks = ml_arena_take(arena, (size_t)(total + 1) * sizeof *chunks);
  double *sums = ml_arena_take(arena, (size_t)(total + 1) * sizeof *sums);
  if (!chunks || !sums) {
    ml_arena_release(arena, mark);
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for clipping");
  }
  int64_t count = 0;
  for (int i = 0; i < n; i++) {
    if (!grads[i] || ml_tensor_empty(grads[i]))
      continue;
    int64_t size = ml_numel(grads[i]);
    for (int64_t start = 0; start < size; start += ML_OPTIM_CHUNK)
      chunks[count++] =
          (ml_optim_chunk){i, start, size - start < ML_OPTIM_CHUNK ? size - start : ML_OPTIM_CHUNK};
  }
  clip_call c = {grads, chunks, sums, 1};
  ml_parallel_for(count, 2.0 * ML_OPTIM_CHUNK, clip_sum, &c);
  double sum = 0;
  for (int64_t k = 0; k < count; k++)
    sum += sums[k];
  int exponent = 0;                   /* sum is that of the squares of g 2^-exponent */
  if (isinf(sum) || sum < 0x1p-960) { /* squares may have left the range of double */
    ml_parallel_for(count, 2.0 * ML_OPTIM_CHUNK, clip_largest, &c);
    double largest = 0;
    for (int64_t k = 0; k < count; k++)
      largest = fmax(largest, sums[k]);
    if (largest > 0 && isfinite(largest)) {
      (void)frexp(largest, &exponent);
      exponent = exponent < -1000 ? -1000 : exponent; /* so that 2^-exponent is a double */
      c.factor = ldexp(1, -exponent);
      ml_parallel_for(count, 2.0 * ML_OPTIM_CHUNK, clip_scaled_sum, &c);
      sum = 0;
      for (int64_t k = 0; k < count; k++)
        sum += sums[k];
    }
  }
  double root = sqrt(sum);
  *norm = ldexp(root, exponent);
  if (isfinite(sum) && *norm > max_norm) {
    if (exponent) { /* in two steps, as their product may be no double */
      c.factor = ldexp(1, -exponent);
      ml_parallel_for(count, 2.0 * ML_OPTIM_CHUNK, clip_scale, &c);
    }
    c.factor = max_norm / root;
    ml_parallel_for(count, 2.0 * ML_OPTIM_CHUNK, clip_scale, &c);
    for (int i = 0; i < n; i++)
      if (grads[i] && !ml_tensor_empty(grads[i]))
        ml_touch(grads[i]);
  }
  ml_arena_release(arena, mark);
  return ML_OK;
}
