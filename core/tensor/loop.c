/* Collapsed loops over strided operands. */
#include "loop.h"

#include <string.h>

void ml_loop_init(ml_loop *loop, const ml_shape *shape, int operands, const ml_tensor *const *t) {
  loop->operands = operands;
  loop->plain = false;
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

/* Rows this short are taken many at a time. */
#define SHORT_ROW 32
#define BLOCK 512

typedef uint32_t bits32 __attribute__((may_alias));
typedef uint64_t bits64 __attribute__((may_alias));

#define COPY_ROWS(T)                                                                               \
  do {                                                                                             \
    T *to = out;                                                                                   \
    for (int64_t r = 0; r < rows; r++) {                                                           \
      const T *row = (const T *)(const void *)from + r * row_stride;                               \
      for (int64_t c = 0; c < width; c++)                                                          \
        *to++ = row[c * stride];                                                                   \
    }                                                                                              \
  } while (0)

static void copy_rows(void *out, const char *from, size_t item, int64_t rows, int64_t row_stride,
                      int64_t width, int64_t stride) {
  if (item == 4)
    COPY_ROWS(bits32);
  else if (item == 8)
    COPY_ROWS(bits64);
  else
    COPY_ROWS(char);
}

/* `rows` short rows from p on, along the last axis but one: operands that do not run through memory
 * are copied to blocks, so that the body sees long dense runs. Operand 0 is dense. */
static void run_short(const ml_loop *loop, char *const *p, int64_t rows, ml_loop_body body,
                      void *ctx) {
  _Alignas(64) char block[ML_LOOP_OPERANDS][BLOCK * sizeof(uint64_t)];
  int inner = loop->rank - 1;
  int64_t width = loop->size[inner], step = BLOCK / width;
  int64_t stride[ML_LOOP_OPERANDS];
  bool filled[ML_LOOP_OPERANDS] = {false};
  for (int64_t r = 0; r < rows; r += step) {
    int64_t m = rows - r < step ? rows - r : step;
    char *at[ML_LOOP_OPERANDS];
    for (int o = 0; o < loop->operands; o++) {
      int64_t row = loop->stride[o][inner - 1], s = loop->stride[o][inner];
      at[o] = p[o] + r * row * (int64_t)loop->item[o];
      stride[o] = s;
      if (row == s * width) /* one stride goes through all rows: dense, or the same element */
        continue;
      if (!filled[o])
        copy_rows(block[o], at[o], loop->item[o], m, row, width, s);
      filled[o] = row == 0; /* rows all alike need no second copy */
      at[o] = block[o];
      stride[o] = 1;
    }
    body(ctx, at, stride, m * width);
  }
}

/* To the next row. */
static void carry(const ml_loop *loop, char **p, int64_t *position) {
  for (int k = loop->rank - 2; k >= 0; k--) {
    for (int o = 0; o < loop->operands; o++)
      p[o] += loop->stride[o][k] * (int64_t)loop->item[o];
    if (++position[k] < loop->size[k])
      break;
    for (int o = 0; o < loop->operands; o++)
      p[o] -= loop->size[k] * loop->stride[o][k] * (int64_t)loop->item[o];
    position[k] = 0;
  }
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
  bool brief = loop->plain && inner > 0 && width <= SHORT_ROW && loop->stride[0][inner] == 1 &&
               loop->stride[0][inner - 1] == width;
  while (begin < end) {
    if (brief && position[inner] == 0 && end - begin >= width) {
      int64_t rows = loop->size[inner - 1] - position[inner - 1];
      if (rows > (end - begin) / width)
        rows = (end - begin) / width;
      run_short(loop, p, rows, body, ctx);
      begin += rows * width;
      if (begin >= end)
        return;
      /* to the last of these rows, from where the carry below goes on */
      for (int o = 0; o < operands; o++)
        p[o] += (rows - 1) * loop->stride[o][inner - 1] * (int64_t)loop->item[o];
      position[inner - 1] += rows - 1;
      carry(loop, p, position);
      continue;
    }
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
    carry(loop, p, position);
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

ml_status ml_loop_poll(const ml_loop *loop, double cost, ml_loop_body body, void *ctx,
                       ml_error *err) {
  if (loop->numel <= ML_LOOP_CHUNK) {
    ml_loop_run_serial(loop, body, ctx);
    return ML_OK;
  }
  job j = {loop, body, ctx};
  return ml_parallel_poll((loop->numel + ML_LOOP_CHUNK - 1) / ML_LOOP_CHUNK, cost * ML_LOOP_CHUNK,
                          run_chunk, &j, err);
}

ml_status ml_loop_poll_serial(const ml_loop *loop, ml_loop_body body, void *ctx, ml_error *err) {
  job j = {loop, body, ctx};
  for (int64_t i = 0; i * ML_LOOP_CHUNK < loop->numel; i++) {
    if (i > 0)
      ML_POLL(err);
    run_chunk(&j, i, 0);
  }
  return ML_OK;
}
