/* Walks several strided operands over one shape: collapsed axes, chunks of fixed size over the
 * pool. */
#ifndef MOONLAB_TENSOR_LOOP_H
#define MOONLAB_TENSOR_LOOP_H

#include "tensor.h"

#define ML_LOOP_OPERANDS 4
/* Elements of one chunk: the unit of parallel work, whatever the number of threads. */
#define ML_LOOP_CHUNK 32768

typedef struct {
  int rank; /* after collapsing; at least 1, the last axis is the inner one */
  int operands;
  int64_t numel;
  int64_t size[ML_MAX_RANK];
  int64_t stride[ML_LOOP_OPERANDS][ML_MAX_RANK]; /* elements */
  size_t item[ML_LOOP_OPERANDS];                 /* bytes of an element */
  char *base[ML_LOOP_OPERANDS];                  /* first element */
  bool plain; /* the body reads no more than it is given: short rows may come from copies (set by
                 the caller before a run) */
} ml_loop;

/* n elements along the inner axis: pointers and element strides of each operand. [any thread] */
typedef void (*ml_loop_body)(void *ctx, char *const *p, const int64_t *stride, int64_t n);

/* Operands broadcast to shape; they must be broadcastable. */
void ml_loop_init(ml_loop *loop, const ml_shape *shape, int operands, const ml_tensor *const *t);
/* cost: rough ns of one element times 10. */
void ml_loop_run(const ml_loop *loop, double cost, ml_loop_body body, void *ctx);
/* On the calling thread, in index order. */
void ml_loop_run_serial(const ml_loop *loop, ml_loop_body body, void *ctx);
/* Both, stopping between chunks once cancelled: ML_ECANCELLED tells that the result is unfinished.
 * A single chunk always runs. */
ml_status ml_loop_poll(const ml_loop *loop, double cost, ml_loop_body body, void *ctx,
                       ml_error *err) ML_MUST_CHECK;
ml_status ml_loop_poll_serial(const ml_loop *loop, ml_loop_body body, void *ctx,
                              ml_error *err) ML_MUST_CHECK;

/* Different elements of one storage, sharing some memory: dst must not be written while src is
 * read. */
bool ml_overlaps(const ml_tensor *dst, const ml_tensor *src);
/* Same dtype, src broadcasts to dst, dst's elements are distinct. */
ml_status ml_check_into(const ml_tensor *dst, const ml_tensor *src, ml_error *err) ML_MUST_CHECK;

#endif
