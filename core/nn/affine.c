/* Affine maps by tiles over the pool, and the gradients of their factors. */
#include "affine.h"

ml_nn_tiles ml_nn_row_tiles(int64_t rows) {
  int64_t n = ml_nn_max(ml_nn_ceil_div(rows, 192), ml_nn_min(8, rows / 48));
  n = n > 1 ? n + n % 2 : 1;
  int64_t size = 12 * ml_nn_max(1, ml_nn_ceil_div(rows, 12 * n)); /* 12: whole register blocks */
  return (ml_nn_tiles){ml_nn_ceil_div(rows, size), size};
}

ml_nn_tiles ml_nn_column_tiles(int64_t columns, int64_t most) {
  int64_t n = ml_nn_max(1, ml_nn_ceil_div(columns, most));
  int64_t size = 64 * ml_nn_max(1, ml_nn_ceil_div(columns, 64 * n));
  return (ml_nn_tiles){ml_nn_ceil_div(columns, size), size};
}

ml_status ml_nn_panels(void **panels, ml_arena *arena, ml_dtype dtype, bool transposed, int64_t K,
                       int64_t N, const void *W, int64_t ldw, int64_t tiles, ml_error *err) {
  *panels = NULL;
  if (tiles < 2 || K <= 0 || N < 64)
    return ML_OK;
  ML_TRY(ml_nn_take(panels, arena, ml_gemm_panel_size(dtype, K, N), ml_dtype_size(dtype), err));
  ml_gemm_pack(dtype, *panels, transposed, K, N, W, ldw);
  return ML_OK;
}

typedef struct {
  const ml_nn_affine *t;
  ml_nn_tiles rows, columns;
  void *panels[3]; /* the weights copied once for all tiles, or NULL */
} affine_task;

static void affine_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const affine_task *task = ctx;
  const ml_nn_affine *t = task->t;
  int64_t tiles = task->rows.n * task->columns.n;
  int p = (int)(i / tiles);
  int64_t r0 = i % tiles / task->columns.n * task->rows.size;
  int64_t c0 = i % task->columns.n * task->columns.size;
  int64_t rows = ml_nn_min(task->rows.size, t->rows - r0);
  int64_t columns = ml_nn_min(task->columns.size, t->N - c0);
  ml_dtype dtype = t->dtype;
  void *pre = ml_nn_at(t->pre[p], dtype, r0 * t->N + c0);
  const void *W = ml_nn_at_const(t->W[p], dtype, t->transposed ? c0 * t->K : c0);
  const void *b = t->b[p] ? ml_nn_at_const(t->b[p], dtype, c0) : NULL;
  const void *x = ml_nn_at_const(t->x, dtype, r0 * t->K);
  if (task->panels[p])
    ml_gemm_by_panels_serial(dtype, false, rows, columns, t->K, 1, x, t->K,
                             ml_nn_at_const(task->panels[p], dtype, c0 * t->K), 0, pre, t->N);
  else
    ml_gemm_serial(dtype, false, t->transposed, rows, columns, t->K, 1, x, t->K, W,
                   t->transposed ? t->K : t->N, 0, pre, t->N);
  if (b || t->act != ML_ACT_IDENTITY)
    ml_nn_act(dtype)->bias_forward(t->act, rows, columns, pre, t->N, b,
                                   ml_nn_at(t->y[p], dtype, r0 * t->N + c0), t->N);
}

ml_status ml_nn_affine_run(const ml_nn_affine *t, ml_error *err) {
  affine_task task = {
      .t = t, .rows = ml_nn_row_tiles(t->rows), .columns = ml_nn_column_tiles(t->N, 1024)};
  ml_arena *arena;
  size_t mark;
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ml_status status = ML_OK;
  for (int p = 0; p < t->count && !status; p++)
    status = ml_nn_panels(&task.panels[p], arena, t->dtype, t->transposed, t->K, t->N, t->W[p],
                          t->transposed ? t->K : t->N, task.rows.n, err);
  double tile = (double)task.rows.size * (double)task.columns.size;
  if (!status)
    ml_parallel_for(t->count * task.rows.n * task.columns.n, tile * ((double)t->K / 4 + 2),
                    affine_body, &task);
  ml_arena_release(arena, mark);
  return status;
}

ml_status ml_nn_dense_grads(ml_vjp *c, int x_at, int W_at, const ml_tensor *x, const ml_tensor *W,
                            bool transposed, const void *d, int64_t N, ml_error *err) {
  ml_dtype dtype = x->dtype;
  int64_t rows = ml_nn_rows(x), K = ml_nn_last(x), ldw = transposed ? K : N;
  ml_tensor *dst;
  bool add;
  if (x_at >= 0 && c->wanted[x_at]) {
    ML_TRY(ml_vjp_target(c, x_at, &dst, &add, err));
    ml_gemm(dtype, false, !transposed, rows, K, N, 1, d, N, ml_data(W), ldw, add, ml_data(dst), K);
  }
  if (c->wanted[W_at]) {
    ML_TRY(ml_vjp_target(c, W_at, &dst, &add, err));
    if (transposed)
      ml_gemm(dtype, true, false, N, K, rows, 1, d, N, ml_data(x), K, add, ml_data(dst), K);
    else
      ml_gemm(dtype, true, false, K, N, rows, 1, ml_data(x), K, d, N, add, ml_data(dst), N);
  }
  return ML_OK;
}
