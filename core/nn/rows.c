/* Rows: how many a tensor has, sums over their columns, scratch. */
#include "common.h"

int64_t ml_nn_shape_rows(const ml_shape *shape) {
  int64_t rows = 1;
  for (int i = 0; i + 1 < shape->rank; i++)
    rows *= shape->size[i];
  return rows;
}

int64_t ml_nn_rows(const ml_tensor *t) {
  ml_shape shape = ml_shape_of(t);
  return ml_nn_shape_rows(&shape);
}

ml_status ml_nn_scratch(ml_arena **arena, size_t *mark, ml_error *err) {
  *arena = ml_scratch();
  if (!*arena)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for scratch");
  *mark = ml_arena_mark(*arena);
  return ML_OK;
}

ml_status ml_nn_take(void **p, ml_arena *arena, int64_t count, size_t item, ml_error *err) {
  size_t bytes = (size_t)count * item;
  *p = ml_arena_take(arena, bytes ? bytes : 1);
  if (!*p)
    return ml_fail(err, ML_ENOMEM, 0, "out of memory for %.1f MB of scratch", (double)bytes * 1e-6);
  return ML_OK;
}

int64_t ml_nn_chunk_rows(int64_t rows, int64_t n) {
  int64_t chunk = 16384 / ml_nn_max(n, 1);
  chunk = ml_nn_max(chunk, ml_nn_ceil_div(rows, 64)); /* at most 64 chunks */
  return 64 * ml_nn_max(ml_nn_ceil_div(chunk, 64), 1);
}

typedef struct {
  ml_dtype dtype;
  int64_t rows, n, chunk;
  const void *x;
  void *parts;
} sums_task;

static void sums_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const sums_task *t = ctx;
  int64_t r0 = i * t->chunk, rows = ml_nn_min(t->chunk, t->rows - r0);
  ml_nn_row(t->dtype)->column_sums(rows, t->n, ml_nn_at_const(t->x, t->dtype, r0 * t->n),
                                   ml_nn_at(t->parts, t->dtype, i * t->n), false);
}

ml_status ml_nn_column_sums(ml_dtype dtype, int64_t rows, int64_t n, const void *x, void *sums,
                            bool add, ml_arena *arena, ml_error *err) {
  sums_task t = {dtype, rows, n, ml_nn_chunk_rows(rows, n), x, NULL};
  int64_t chunks = ml_nn_ceil_div(rows, t.chunk);
  size_t mark = ml_arena_mark(arena);
  ML_TRY(ml_nn_take(&t.parts, arena, chunks * n, ml_dtype_size(dtype), err));
  ml_parallel_for(chunks, (double)(t.chunk * n), sums_body, &t);
  ml_nn_row(dtype)->combine(chunks, n, t.parts, sums, add);
  ml_arena_release(arena, mark);
  return ML_OK;
}
