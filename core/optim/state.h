/* Private to the optim room: an optimizer's tensors with their state, cut into chunks. */
#ifndef MOONLAB_OPTIM_STATE_H
#define MOONLAB_OPTIM_STATE_H

#include "kernels.h"

/* Elements of a chunk; fixed, so that sums do not depend on the number of threads. */
#define ML_OPTIM_CHUNK 32768
#define ML_OPTIM_SLOTS 2

typedef struct {
  ml_tensor w;
  ml_tensor state[ML_OPTIM_SLOTS];
  double lr_scale, eps_scale, decay_scale;
  int64_t n, t;       /* elements; steps so far */
  int64_t rows, cols; /* of a factored matrix; rows 0: not factored */
  ml_optim_numbers numbers;
} ml_optim_entry;

typedef struct {
  int tensor;
  int64_t start, n;
} ml_optim_chunk;

struct ml_optim {
  ml_optim_options options;
  ml_optim_entry *entries;
  int count, capacity;
  ml_optim_chunk *chunks;
  double *sums; /* one per chunk */
  int64_t n_chunks, chunk_capacity;
};

/* Element `start` of a contiguous tensor; NULL for the empty one. */
static inline void *ml_optim_at(const ml_tensor *t, int64_t start) {
  return ml_tensor_empty(t) ? NULL : (char *)ml_data(t) + (size_t)start * ml_dtype_size(t->dtype);
}

ml_status ml_optim_nonnegative(double x, const char *name, ml_error *err) ML_MUST_CHECK;

/* Opens a step of one tensor with multiplier s: counts it and computes its numbers. */
void ml_optim_begin(const ml_optim_options *options, ml_optim_entry *e, double s);

/* A step of Adafactor over all tensors; grads contiguous, NULL entries skipped. Fails before it
 * changes anything. */
ml_status ml_optim_adafactor(ml_optim *optim, double s, const ml_tensor *const *grads,
                             ml_arena *arena, ml_error *err) ML_MUST_CHECK;

#endif
