/* Checks, scratch and shared products of the room. */
#include "common.h"

#include <stdarg.h>

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

/* ---- checks
 * ------------------------------------------------------------------------------------------ */

ml_status ml_nn_check_real(const char *op, const char *name, const ml_tensor *x, int min_rank,
                           int arg, ml_error *err) {
  char text[ML_DESCRIBE];
  if (!x || ml_tensor_empty(x))
    return ml_fail(err, ML_ESTATE, arg, "%s: %s is a released tensor", op, name);
  if (!ml_is_real(x->dtype))
    return ml_fail(err, ML_EDTYPE, arg, "%s: %s is %s, wanted f32 or f64", op, name,
                   ml_describe(text, x));
  if (x->rank < min_rank)
    return ml_fail(err, ML_ESHAPE, arg, "%s: %s is %s, wanted at least %d axes", op, name,
                   ml_describe(text, x), min_rank);
  return ML_OK;
}

ml_status ml_nn_check_like(const char *op, const char *name, const ml_tensor *w, const char *x_name,
                           const ml_tensor *x, const ml_shape *want, int arg, ml_error *err) {
  if (!w)
    return ML_OK;
  char a[ML_DESCRIBE], b[ML_DESCRIBE], s[ML_DESCRIBE];
  if (ml_tensor_empty(w))
    return ml_fail(err, ML_ESTATE, arg, "%s: %s is a released tensor", op, name);
  if (w->dtype != x->dtype)
    return ml_fail(err, ML_EDTYPE, arg, "%s: dtypes of %s and %s disagree: %s and %s", op, x_name,
                   name, ml_describe(a, x), ml_describe(b, w));
  ml_shape shape = ml_shape_of(w);
  if (want && !ml_shape_equal(&shape, want))
    return ml_fail(err, ML_ESHAPE, arg, "%s: %s and %s disagree: %s and %s, wanted %s %s", op,
                   x_name, name, ml_describe(a, x), ml_describe(b, w), name,
                   ml_describe_shape(s, want));
  return ML_OK;
}

ml_status ml_nn_check_ids(const char *op, const char *name, const int64_t *ids, int64_t count,
                          int64_t n, int arg, ml_error *err) {
  for (int64_t i = 0; i < count; i++)
    if (ids[i] < 0 || ids[i] >= n)
      return ml_fail(err, ML_EARG, arg, "%s: %s %lld is outside 1..%lld", op, name,
                     (long long)ids[i] + 1, (long long)n);
  return ML_OK;
}

/* ---- scratch
 * ------------------------------------------------------------------------------------------- */

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

/* ---- column sums
 * ------------------------------------------------------------------------------------------ */

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
  ml_nn_row(t->dtype)->column_sums(rows, t->n, ml_nn_cat(t->x, t->dtype, r0 * t->n),
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

/* ---- tiles ---------------------------------------------------------------------------------- */

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

/* ---- affine maps
 * ---------------------------------------------------------------------------------------------- */

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
  const void *W = ml_nn_cat(t->W[p], dtype, t->transposed ? c0 * t->K : c0);
  const void *b = t->b[p] ? ml_nn_cat(t->b[p], dtype, c0) : NULL;
  const void *x = ml_nn_cat(t->x, dtype, r0 * t->K);
  if (task->panels[p])
    ml_gemm_by_panels_serial(dtype, false, rows, columns, t->K, 1, x, t->K,
                             ml_nn_cat(task->panels[p], dtype, c0 * t->K), 0, pre, t->N);
  else
    ml_gemm_serial(dtype, false, t->transposed, rows, columns, t->K, 1, x, t->K, W,
                   t->transposed ? t->K : t->N, 0, pre, t->N);
  if (b || t->act != ML_ACT_IDENTITY)
    ml_nn_act(dtype)->bias_forward(t->act, rows, columns, pre, t->N, b,
                                   ml_nn_at(t->y[p], dtype, r0 * t->N + c0), t->N);
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

/* ---- gradient-check cases
 * -------------------------------------------------------------------------------------- */

static ml_shape shape_of_args(int rank, va_list args) {
  ml_shape shape = {.rank = rank};
  for (int k = 0; k < rank; k++)
    shape.size[k] = va_arg(args, int);
  return shape;
}

ml_status ml_nn_case_normal(ml_check_case *c, int i, ml_rng *g, double mean, double std,
                            ml_error *err, int rank, ...) {
  va_list args;
  va_start(args, rank);
  ml_shape shape = shape_of_args(rank, args);
  va_end(args);
  ML_TRY(ml_tensor_init(&c->in[i], ML_F64, &shape, err));
  if (std > 0)
    ml_rng_normal_f64(g, ML_DATA(double, &c->in[i]), ml_numel(&c->in[i]), mean, std);
  c->differentiable |= 1u << i;
  if (c->n_in <= i)
    c->n_in = i + 1;
  return ML_OK;
}

ml_status ml_nn_case_ids(ml_check_case *c, int i, ml_rng *g, int64_t n, ml_error *err, int rank,
                         ...) {
  va_list args;
  va_start(args, rank);
  ml_shape shape = shape_of_args(rank, args);
  va_end(args);
  ML_TRY(ml_tensor_init(&c->in[i], ML_INDEX, &shape, err));
  ml_rng_integers(g, ML_DATA(int64_t, &c->in[i]), ml_numel(&c->in[i]), 0, n - 1);
  if (c->n_in <= i)
    c->n_in = i + 1;
  return ML_OK;
}
