/* Collapsed loops over strided operands. */
#include "loop.h"

void ml_loop_init(ml_loop *loop, const ml_shape *shape, int operands, const ml_tensor *const *t) {
  loop->operands = operands;
  loop->numel = ml_shape_numel(shape);
  int rank = 0;
  for (int o = 0; o < operands; o++) {
    loop->item[o] = ml_dtype_size(t[o]->dtype);
    loop->base[o] = ml_data(t[o]);
  }
  for (int k = 0; k < shape->rank; k++) {
    if (shape->size[k] == 1)
      continue;
    int64_t s[ML_LOOP_OPERANDS];
    bool merge = rank > 0;
    for (int o = 0; o < operands; o++) {
      int axis = k - (shape->rank - t[o]->rank);
      s[o] = axis < 0 || t[o]->size[axis] == 1 ? 0 : t[o]->stride[axis];
      /* the axis before runs on where this one ends */
      if (rank > 0 && loop->stride[o][rank - 1] != s[o] * shape->size[k])
        merge = false;
    }
    int to = merge ? rank - 1 : rank++;
    loop->size[to] = merge ? loop->size[to] * shape->size[k] : shape->size[k];
    for (int o = 0; o < operands; o++)
      loop->stride[o][to] = s[o];
  }
  if (rank == 0) {
    loop->size[0] = 1;
    for (int o = 0; o < operands; o++)
      loop->stride[o][0] = 1;
    rank = 1;
  }
  loop->rank = rank;
}

static void walk(const ml_loop *loop, int64_t begin, int64_t end, ml_loop_body body, void *ctx) {
  int inner = loop->rank - 1, operands = loop->operands;
  int64_t width = loop->size[inner], position[ML_MAX_RANK], stride[ML_LOOP_OPERANDS];
  char *p[ML_LOOP_OPERANDS];
  for (int o = 0; o < operands; o++) {
    p[o] = loop->base[o];
    stride[o] = loop->stride[o][inner];
  }
  int64_t rest = begin;
  for (int k = inner; k >= 0; k--) {
    position[k] = rest % loop->size[k];
    rest /= loop->size[k];
    for (int o = 0; o < operands; o++)
      p[o] += position[k] * loop->stride[o][k] * (int64_t)loop->item[o];
  }
  while (begin < end) {
    int64_t n = width - position[inner];
    if (n > end - begin)
      n = end - begin;
    body(ctx, p, stride, n);
    begin += n;
    if (begin >= end)
      return;
    /* the inner axis is at its end: back to its start, then carry */
    for (int o = 0; o < operands; o++)
      p[o] -= position[inner] * stride[o] * (int64_t)loop->item[o];
    position[inner] = 0;
    for (int k = inner - 1; k >= 0; k--) {
      for (int o = 0; o < operands; o++)
        p[o] += loop->stride[o][k] * (int64_t)loop->item[o];
      if (++position[k] < loop->size[k])
        break;
      for (int o = 0; o < operands; o++)
        p[o] -= loop->size[k] * loop->stride[o][k] * (int64_t)loop->item[o];
      position[k] = 0;
    }
  }
}

typedef struct {
  const ml_loop *loop;
  ml_loop_body body;
  void *ctx;
} job;

static void run_chunk(void *ctx, int64_t i, int worker) {
  const job *j = ctx;
  (void)worker;
  int64_t begin = i * ML_LOOP_CHUNK, end = begin + ML_LOOP_CHUNK;
  if (end > j->loop->numel)
    end = j->loop->numel;
  walk(j->loop, begin, end, j->body, j->ctx);
}

void ml_loop_run(const ml_loop *loop, double cost, ml_loop_body body, void *ctx) {
  if (loop->numel <= ML_LOOP_CHUNK) {
    ml_loop_run_serial(loop, body, ctx);
    return;
  }
  job j = {loop, body, ctx};
  ml_parallel_for((loop->numel + ML_LOOP_CHUNK - 1) / ML_LOOP_CHUNK, cost * ML_LOOP_CHUNK,
                  run_chunk, &j);
}

void ml_loop_run_serial(const ml_loop *loop, ml_loop_body body, void *ctx) {
  if (loop->numel > 0)
    walk(loop, 0, loop->numel, body, ctx);
}
