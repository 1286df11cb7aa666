/* The two-layer perceptron of a transformer block, by blocks of rows: the activations are never
 * stored. */
#include "affine.h"

#include <string.h>

enum { X, W1, B1, W2, B2 };

/* Hidden columns of one tile, at most: the activations of a tile stay in cache. */
#define TILE_HIDDEN 768

typedef struct {
  ml_dtype dtype;
  ml_act act;
  int64_t rows, K, M, N; /* x [rows,K], hidden [rows,M], y [rows,N] */
  const void *x, *W1, *b1, *W2, *b2;
  void *pre; /* [rows,M] or NULL */
  void *y;
  ml_nn_tiles tiles, hidden;
  void *panels1;  /* W1 copied once for all tiles, or NULL */
  void *panels2;  /* W2 likewise, the rows of each tile of hidden columns by themselves */
  int64_t padded; /* elements of panels2 per row of W2 */
  void *scratch;  /* per worker: a tile of activations, and of pre-activations where they are not
                     kept */
} forward_task;

static void forward_body(void *ctx, int64_t i, int worker) {
  const forward_task *t = ctx;
  ml_dtype dtype = t->dtype;
  int64_t r0 = i * t->tiles.size, rows = ml_nn_min(t->tiles.size, t->rows - r0);
  const void *x = ml_nn_at_const(t->x, dtype, r0 * t->K);
  void *y = ml_nn_at(t->y, dtype, r0 * t->N);
  void *tile = ml_nn_at(t->scratch, dtype, worker * t->tiles.size * t->hidden.size);
  for (int64_t h0 = 0; h0 < t->M; h0 += t->hidden.size) {
    int64_t m = ml_nn_min(t->hidden.size, t->M - h0);
    void *pre = t->pre ? ml_nn_at(t->pre, dtype, r0 * t->M + h0) : tile;
    int64_t ld = t->pre ? t->M : m;
    if (t->panels1)
      ml_gemm_by_panels_serial(dtype, false, rows, m, t->K, 1, x, t->K,
                               ml_nn_at_const(t->panels1, dtype, h0 * t->K), 0, pre, ld);
    else
      ml_gemm_serial(dtype, false, false, rows, m, t->K, 1, x, t->K,
                     ml_nn_at_const(t->W1, dtype, h0), t->M, 0, pre, ld);
    ml_nn_act(dtype)->bias_forward(t->act, rows, m, pre, ld,
                                   t->b1 ? ml_nn_at_const(t->b1, dtype, h0) : NULL, tile, m);
    if (t->panels2)
      ml_gemm_by_panels_serial(dtype, false, rows, t->N, m, 1, tile, m,
                               ml_nn_at_const(t->panels2, dtype, h0 * t->padded), h0 > 0, y, t->N);
    else
      ml_gemm_serial(dtype, false, false, rows, t->N, m, 1, tile, m,
                     ml_nn_at_const(t->W2, dtype, h0 * t->N), t->N, h0 > 0, y, t->N);
  }
  if (t->M == 0)
    ml_gemm_serial(dtype, false, false, rows, t->N, 0, 1, tile, 1, t->W2, t->N, 0, y, t->N);
  if (t->b2)
    ml_nn_act(dtype)->bias_forward(ML_ACT_IDENTITY, rows, t->N, y, t->N, t->b2, y, t->N);
}

static ml_status mlp_check(const ml_tensor *const *in, ml_act act, ml_error *err) {
  char a[ML_DESCRIBE], b[ML_DESCRIBE];
  ML_TRY(ml_nn_check_real("mlp", "x", in[X], 1, 1, err));
  ML_TRY(ml_nn_check_real("mlp", "W1", in[W1], 0, 2, err));
  ML_TRY(ml_nn_check_real("mlp", "W2", in[W2], 0, 3, err));
  ML_TRY(ml_nn_check_like("mlp", "W1", in[W1], "x", in[X], NULL, 2, err));
  ML_TRY(ml_nn_check_like("mlp", "W2", in[W2], "x", in[X], NULL, 3, err));
  if (in[W1]->rank != 2 || in[W1]->size[0] != ml_nn_last(in[X]))
    return ml_fail(err, ML_ESHAPE, 2,
                   "mlp: x and W1 disagree: %s and %s, wanted W1 [K,M] for x [...,K]",
                   ml_describe(a, in[X]), ml_describe(b, in[W1]));
  if (in[W2]->rank != 2 || in[W2]->size[0] != in[W1]->size[1])
    return ml_fail(err, ML_ESHAPE, 3,
                   "mlp: W1 and W2 disagree: %s and %s, wanted W2 [M,N] for W1 [K,M]",
                   ml_describe(a, in[W1]), ml_describe(b, in[W2]));
  ml_shape m = ml_shape_make(1, in[W1]->size[1]), n = ml_shape_make(1, in[W2]->size[1]);
  ML_TRY(ml_nn_check_like("mlp", "b1", in[B1], "W1", in[W1], &m, 3, err));
  ML_TRY(ml_nn_check_like("mlp", "b2", in[B2], "W2", in[W2], &n, 3, err));
  return ml_nn_check_act("mlp", act, 3, err);
}

static ml_status pack_second(forward_task *t, ml_arena *arena, ml_error *err) {
  t->padded = ml_gemm_panel_size(t->dtype, 1, t->N);
  if (t->tiles.n < 2 || t->N < 64)
    return ML_OK;
  ML_TRY(ml_nn_take(&t->panels2, arena, t->M * t->padded, ml_dtype_size(t->dtype), err));
  for (int64_t h0 = 0; h0 < t->M; h0 += t->hidden.size)
    ml_gemm_pack(t->dtype, ml_nn_at(t->panels2, t->dtype, h0 * t->padded), false,
                 ml_nn_min(t->hidden.size, t->M - h0), t->N,
                 ml_nn_at_const(t->W2, t->dtype, h0 * t->N), t->N);
  return ML_OK;
}

static ml_status mlp_run(ml_tensor *y, ml_tensor *pre, const ml_tensor *in, ml_act act,
                         ml_arena *arena, ml_error *err) {
  forward_task t = {.dtype = in[X].dtype, .act = act};
  t.rows = ml_nn_rows(&in[X]);
  t.K = ml_nn_last(&in[X]);
  t.M = ml_nn_last(&in[W1]);
  t.N = ml_nn_last(&in[W2]);
  t.x = ml_data(&in[X]);
  t.W1 = ml_data(&in[W1]);
  t.b1 = ml_tensor_empty(&in[B1]) ? NULL : ml_data(&in[B1]);
  t.W2 = ml_data(&in[W2]);
  t.b2 = ml_tensor_empty(&in[B2]) ? NULL : ml_data(&in[B2]);
  t.pre = ml_tensor_empty(pre) ? NULL : ml_data(pre);
  t.y = ml_data(y);
  t.tiles = ml_nn_row_tiles(t.rows);
  t.hidden = ml_nn_column_tiles(t.M, TILE_HIDDEN);
  ML_TRY(ml_nn_take(&t.scratch, arena, ml_threads() * t.tiles.size * t.hidden.size,
                    ml_dtype_size(t.dtype), err));
  ML_TRY(ml_nn_panels(&t.panels1, arena, t.dtype, false, t.K, t.M, t.W1, t.M, t.tiles.n, err));
  ML_TRY(pack_second(&t, arena, err));
  double row = (double)t.M * ((double)(t.K + t.N) / 4 + 4);
  ml_parallel_for(t.tiles.n, row * (double)t.tiles.size, forward_body, &t);
  return ML_OK;
}

ml_status ml_nn_mlp_forward(ml_tensor *out, const ml_tensor *const *in, int n, const void *attr,
                            ml_save *save, ml_error *err) {
  const ml_nn_activation_attr *a = attr;
  ML_TRY(mlp_check(in, a->act, err));
  ml_arena *arena;
  size_t mark;
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ml_tensor flat[5] = {{0}}, pre = {0};
  ml_status status = ML_OK;
  for (int i = 0; i < n && !status; i++)
    if (in[i])
      status = ml_tensor_contiguous(&flat[i], in[i], err);
  ml_shape shape = ml_shape_of(in[X]);
  shape.size[shape.rank - 1] = in[W2]->size[1];
  if (!status)
    status = ml_tensor_init(&out[0], in[X]->dtype, &shape, err);
  shape.size[shape.rank - 1] = in[W1]->size[1];
  if (!status && save)
    status = ml_tensor_init(&pre, in[X]->dtype, &shape, err);
  if (!status)
    status = mlp_run(&out[0], &pre, flat, a->act, arena, err);
  const ml_tensor *kept[4] = {&flat[X], &flat[W1], &flat[W2], &pre};
  for (int i = 0; i < 4 && !status && save; i++)
    status = ml_save_tensor(save, kept[i], err);
  for (int i = 0; i < n; i++)
    ml_tensor_clear(&flat[i]);
  ml_tensor_clear(&pre);
  ml_arena_release(arena, mark);
  return status;
}

/* ---- backward -------------------------------------------------------------------------------- */

/* A block of rows at a time, so that activations and their gradients stay in cache and small: both
 * [block,M]. */
typedef struct {
  ml_dtype dtype;
  ml_act act;
  int64_t rows, M, N; /* rows of this block */
  const void *pre, *dy, *W2;
  void *panels; /* W2 transposed, copied once for all tiles, or NULL */
  void *a, *d;
  ml_nn_tiles tiles, hidden;
  void *parts; /* column sums of d, a row per tile; NULL: not wanted */
} hidden_task;

/* d = (dy W2^T) act'(pre) and a = act(pre) for a tile of rows. */
static void hidden_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const hidden_task *t = ctx;
  ml_dtype dtype = t->dtype;
  int64_t r0 = i * t->tiles.size, rows = ml_nn_min(t->tiles.size, t->rows - r0);
  const void *dy = ml_nn_at_const(t->dy, dtype, r0 * t->N);
  for (int64_t h0 = 0; h0 < t->M; h0 += t->hidden.size) {
    int64_t m = ml_nn_min(t->hidden.size, t->M - h0), at = r0 * t->M + h0;
    void *d = ml_nn_at(t->d, dtype, at);
    if (t->panels)
      ml_gemm_by_panels_serial(dtype, false, rows, m, t->N, 1, dy, t->N,
                               ml_nn_at_const(t->panels, dtype, h0 * t->N), 0, d, t->M);
    else
      ml_gemm_serial(dtype, false, true, rows, m, t->N, 1, dy, t->N,
                     ml_nn_at_const(t->W2, dtype, h0 * t->N), t->N, 0, d, t->M);
    ml_nn_act(dtype)->both(t->act, rows, m, ml_nn_at_const(t->pre, dtype, at), t->M,
                           ml_nn_at(t->a, dtype, at), t->M, d, t->M);
  }
  if (t->parts)
    ml_nn_row(dtype)->column_sums(rows, t->M, ml_nn_at_const(t->d, dtype, r0 * t->M),
                                  ml_nn_at(t->parts, dtype, i * t->M), false);
}

/* Rows of a block: a multiple of the products' block of k, so that a block's share of dW is whole
 * summands; about 3 MB of activations in f32, and blocks of nearly equal size. */
static int64_t block_rows(int64_t rows, int64_t M) {
  int64_t most = ml_nn_max(1, ml_nn_min(((int64_t)3 << 18) / ml_nn_max(M, 1) / ML_GEMM_KC, 8));
  int64_t units = ml_nn_max(1, ml_nn_ceil_div(rows, ML_GEMM_KC));
  return ML_GEMM_KC * ml_nn_ceil_div(units, ml_nn_ceil_div(units, most));
}

typedef struct {
  ml_tensor *t;
  bool add;
} target;

static ml_status mlp_vjp(ml_vjp *c, const ml_tensor *dy, ml_arena *arena, ml_error *err) {
  const ml_nn_activation_attr *attr = c->attr;
  const ml_tensor *x = &c->saved[0], *w1 = &c->saved[1], *w2 = &c->saved[2], *pre = &c->saved[3];
  ml_dtype dtype = x->dtype;
  size_t item = ml_dtype_size(dtype);
  int64_t rows = ml_nn_rows(x), K = ml_nn_last(x), M = ml_nn_last(w1), N = ml_nn_last(w2);
  target g[5] = {{0}};
  for (int i = 0; i < 5; i++)
    if (c->wanted[i])
      ML_TRY(ml_vjp_target(c, i, &g[i].t, &g[i].add, err));
  if (g[B2].t)
    ML_TRY(ml_nn_column_sums(dtype, rows, N, ml_data(dy), ml_data(g[B2].t), g[B2].add, arena, err));
  bool below = g[X].t || g[W1].t || g[B1].t; /* the gradient goes on below the activation */
  if (!below && !g[W2].t)
    return ML_OK;
  int64_t block = block_rows(rows, M), blocks = ml_nn_max(1, ml_nn_ceil_div(rows, block));
  hidden_task t = {.dtype = dtype, .act = attr->act, .M = M, .N = N, .W2 = ml_data(w2)};
  ML_TRY(ml_nn_take(&t.a, arena, ml_nn_min(block, rows) * M, item, err));
  ML_TRY(ml_nn_take(&t.d, arena, ml_nn_min(block, rows) * M, item, err));
  t.tiles = ml_nn_row_tiles(ml_nn_min(block, rows));
  t.hidden = ml_nn_column_tiles(M, TILE_HIDDEN);
  ML_TRY(ml_nn_panels(&t.panels, arena, dtype, true, N, M, t.W2, N, blocks * t.tiles.n, err));
  void *panels1 = NULL;
  if (g[X].t)
    ML_TRY(ml_nn_panels(&panels1, arena, dtype, true, M, K, ml_data(w1), M, ml_nn_row_tiles(rows).n,
                        err));
  void *parts = NULL;
  int64_t tiles = 0; /* done */
  if (g[B1].t)
    ML_TRY(ml_nn_take(&parts, arena, blocks * t.tiles.n * M, item, err));
  for (int64_t r0 = 0; r0 < rows || r0 == 0; r0 += block) {
    t.rows = ml_nn_min(block, rows - r0);
    t.pre = ml_nn_at_const(ml_data(pre), dtype, r0 * M);
    t.dy = ml_nn_at_const(ml_data(dy), dtype, r0 * N);
    if (parts)
      t.parts = ml_nn_at(parts, dtype, tiles * M);
    int64_t n = ml_nn_ceil_div(t.rows, t.tiles.size);
    tiles += n;
    ml_parallel_for(n, (double)(t.tiles.size * M) * ((double)N / 4 + 8), hidden_body, &t);
    const void *xb = ml_nn_at_const(ml_data(x), dtype, r0 * K);
    if (g[W2].t) {
      ml_gemm(dtype, true, false, M, N, t.rows, 1, t.a, M, t.dy, N, g[W2].add, ml_data(g[W2].t), N);
      g[W2].add = true;
    }
    if (g[W1].t) {
      ml_gemm(dtype, true, false, K, M, t.rows, 1, xb, K, t.d, M, g[W1].add, ml_data(g[W1].t), M);
      g[W1].add = true;
    }
    void *dx = g[X].t ? ml_nn_at(ml_data(g[X].t), dtype, r0 * K) : NULL;
    if (dx && panels1)
      ml_gemm_by_panels(dtype, false, t.rows, K, M, 1, t.d, M, panels1, g[X].add, dx, K);
    else if (dx)
      ml_gemm(dtype, false, true, t.rows, K, M, 1, t.d, M, ml_data(w1), M, g[X].add, dx, K);
    ML_POLL(err);
  }
  if (parts)
    ml_nn_row(dtype)->combine(tiles, M, parts, ml_data(g[B1].t), g[B1].add);
  return ML_OK;
}

ml_status ml_nn_mlp_vjp(ml_vjp *c, ml_error *err) {
  ml_arena *arena;
  size_t mark;
  ml_tensor dy = {0};
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ML_TRY(ml_tensor_contiguous(&dy, &c->gout[0], err));
  ml_status status = mlp_vjp(c, &dy, arena, err);
  ml_tensor_clear(&dy);
  ml_arena_release(arena, mark);
  return status;
}

ml_status ml_nn_mlp_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                          ml_error *err) {
  /* each activation with biases; without biases; one bias each; more rows and hidden units than a
   * tile holds */
  *n_variants = ML_ACT_COUNT + 4;
  int extra = variant - ML_ACT_COUNT;
  ml_nn_activation_attr a = {extra < 0 ? (ml_act)variant : ML_ACT_GELU_TANH};
  memcpy(c->attr, &a, sizeof a);
  c->n_out = 1;
  if (extra == 3) {
    ML_TRY(ml_nn_case_normal(c, X, g, 0, 1, err, 2, 2, 2));
    ML_TRY(ml_nn_case_normal(c, W1, g, 0, 1, err, 2, 2, TILE_HIDDEN + 3));
    ML_TRY(ml_nn_case_normal(c, W2, g, 0, 0.1, err, 2, TILE_HIDDEN + 3, 1));
    c->n_in = 5;
    return ML_OK;
  }
  ML_TRY(ml_nn_case_normal(c, X, g, 0, 1, err, 3, 2, 2, 3));
  ML_TRY(ml_nn_case_normal(c, W1, g, 0, 1, err, 2, 3, 5));
  ML_TRY(ml_nn_case_normal(c, W2, g, 0, 1, err, 2, 5, 4));
  if (extra < 0 || extra == 1)
    ML_TRY(ml_nn_case_normal(c, B1, g, 0, 1, err, 1, 5));
  if (extra < 0 || extra == 2)
    ML_TRY(ml_nn_case_normal(c, B2, g, 0, 1, err, 1, 4));
  c->n_in = 5;
  return ML_OK;
}

ml_status ml_mlp(ml_tensor *y, const ml_tensor *x, const ml_tensor *w1, const ml_tensor *b1,
                 const ml_tensor *w2, const ml_tensor *b2, ml_act act, ml_error *err) {
  ml_nn_activation_attr a = {act};
  return ml_apply(y, &ml_nn_op_mlp, (const ml_tensor *[]){x, w1, b1, w2, b2}, 5, &a, err);
}
