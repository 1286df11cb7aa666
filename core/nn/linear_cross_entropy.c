/* Linear map and cross-entropy by blocks of rows: logits are never stored whole, and the gradients
 * are made as they pass. */
#include "affine.h"
#include "ce.h"

#include <math.h>
#include <string.h>

enum { X, WEIGHTS, BIAS, TARGETS, MASK };
enum { SAVED_DX, SAVED_DW, SAVED_DB, SAVED_VALUE };

/* Everything about a call; pointers NULL where absent or not wanted. */
typedef struct {
  ml_dtype dtype;
  ml_nn_ce_rows rows;
  int64_t K, V, block, chunk;
  bool transposed, grads;
  double multiplier, z_loss;
  const void *x, *W, *b;
  void *panels, *panels_back; /* W and its transpose copied once for all blocks, or NULL */
  void *dx, *dW, *db;
  double *value; /* [rows] ce + z term over the count: the gradient of the mask */
  void *nll;     /* [rows] ce */
  /* of the block under way */
  int64_t first, n; /* counted rows first .. first + n - 1 */
  void *z;          /* [block,V] logits, then their gradients times the multiplier */
  ml_nn_ce_sums *parts;
} lce;

static void rows_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const lce *t = ctx;
  const ml_nn_ce_kernels *k = ml_nn_ce(t->dtype);
  ml_nn_ce_sums sum = {0};
  double over = 1 / (double)t->rows.count;
  for (int64_t j = i * t->chunk; j < ml_nn_min((i + 1) * t->chunk, t->n); j++) {
    int64_t p = ml_nn_ce_position(&t->rows, t->first + j), target = t->rows.targets[p];
    void *z = ml_nn_at(t->z, t->dtype, j * t->V);
    double w = ml_nn_ce_weight(&t->rows, p), zt = ml_nn_get(z, t->dtype, target), scale;
    ml_nn_ce_row row = k->row(t->V, z, t->grads ? z : NULL, &scale);
    double ce = row.logz - zt;
    ml_nn_ce_add(&sum, w, ce, t->z_loss, &row);
    if (t->value)
      t->value[p] = over * (ce + t->z_loss * row.logz * row.logz);
    if (t->nll && t->dtype == ML_F32)
      ((float *)t->nll)[p] = (float)ce;
    else if (t->nll)
      ((double *)t->nll)[p] = ce;
    if (t->grads) {
      w *= over * t->multiplier;
      ml_nn_row(t->dtype)->scale(t->V, w * (1 + 2 * t->z_loss * row.logz) * scale, z, z, false);
      ml_nn_subtract(z, t->dtype, target, w);
    }
  }
  t->parts[i] = sum;
}

/* Rows `first ..` of x, gathered into scratch where some rows do not count. */
static const void *block_x(const lce *t, void *scratch) {
  if (!t->rows.row)
    return ml_nn_at_const(t->x, t->dtype, t->first * t->K);
  size_t bytes = (size_t)t->K * ml_dtype_size(t->dtype);
  for (int64_t j = 0; j < t->n; j++)
    memcpy(ml_nn_at(scratch, t->dtype, j * t->K),
           ml_nn_at_const(t->x, t->dtype, ml_nn_ce_position(&t->rows, t->first + j) * t->K), bytes);
  return scratch;
}

static void block_dx(const lce *t, void *scratch, int64_t ldw) {
  bool scatter = t->rows.row != NULL;
  void *dx = scatter ? scratch : ml_nn_at(t->dx, t->dtype, t->first * t->K);
  if (t->panels_back)
    ml_gemm_by_panels(t->dtype, false, t->n, t->K, t->V, 1, t->z, t->V, t->panels_back, 0, dx,
                      t->K);
  else
    ml_gemm(t->dtype, false, !t->transposed, t->n, t->K, t->V, 1, t->z, t->V, t->W, ldw, 0, dx,
            t->K);
  size_t bytes = (size_t)t->K * ml_dtype_size(t->dtype);
  for (int64_t j = 0; scatter && j < t->n; j++)
    memcpy(ml_nn_at(t->dx, t->dtype, ml_nn_ce_position(&t->rows, t->first + j) * t->K),
           ml_nn_at(scratch, t->dtype, j * t->K), bytes);
}

/* Rows of a block: a multiple of the products' block of k, about 4 MB of logits in f32. */
static int64_t block_rows(int64_t V) {
  return 256 * ml_nn_max(1, ml_nn_min(((int64_t)1 << 20) / ml_nn_max(V, 1) / 256, 4));
}

static ml_status lce_run(lce *t, ml_nn_ce_sums *sum, ml_arena *arena, ml_error *err) {
  ml_dtype dtype = t->dtype;
  size_t item = ml_dtype_size(dtype);
  int64_t K = t->K, V = t->V, ldw = t->transposed ? K : V;
  t->block = block_rows(V);
  t->chunk = ml_nn_ce_chunk(V);
  int64_t most = ml_nn_min(t->block, t->rows.count);
  void *gathered = NULL, *parts;
  ML_TRY(ml_nn_take(&t->z, arena, most * V, item, err));
  ML_TRY(ml_nn_take(&parts, arena, ml_nn_ceil_div(most, t->chunk), sizeof *t->parts, err));
  if (t->rows.row)
    ML_TRY(ml_nn_take(&gathered, arena, most * K, item, err));
  t->parts = parts;
  const int64_t blocks = ml_nn_ceil_div(t->rows.count, t->block);
  ML_TRY(ml_nn_panels(&t->panels, arena, dtype, t->transposed, K, V, t->W, ldw, blocks, err));
  if (t->dx)
    ML_TRY(
        ml_nn_panels(&t->panels_back, arena, dtype, !t->transposed, V, K, t->W, ldw, blocks, err));
  if (t->dx && t->rows.count < t->rows.rows)
    memset(t->dx, 0, (size_t)(t->rows.rows * K) * item);
  if (!t->rows.count) {
    if (t->dW)
      memset(t->dW, 0, (size_t)(K * V) * item);
    if (t->db)
      memset(t->db, 0, (size_t)V * item);
  }
  for (t->first = 0; t->first < t->rows.count; t->first += t->block) {
    t->n = ml_nn_min(t->block, t->rows.count - t->first);
    const void *x = block_x(t, gathered);
    double before = t->first > 0;
    if (t->b)
      ml_nn_row(dtype)->fill(t->n, V, t->multiplier, t->b, t->z);
    if (t->panels)
      ml_gemm_by_panels(dtype, false, t->n, V, K, t->multiplier, x, K, t->panels, t->b ? 1 : 0,
                        t->z, V);
    else
      ml_gemm(dtype, false, t->transposed, t->n, V, K, t->multiplier, x, K, t->W, ldw, t->b ? 1 : 0,
              t->z, V);
    int64_t chunks = ml_nn_ceil_div(t->n, t->chunk);
    ml_parallel_for(chunks, 10.0 * (double)(t->chunk * V), rows_body, t);
    for (int64_t i = 0; i < chunks; i++)
      ml_nn_ce_merge(sum, &t->parts[i]);
    if (t->dW && t->transposed)
      ml_gemm(dtype, true, false, V, K, t->n, 1, t->z, V, x, K, before, t->dW, K);
    else if (t->dW)
      ml_gemm(dtype, true, false, K, V, t->n, 1, x, K, t->z, V, before, t->dW, V);
    if (t->db)
      ML_TRY(ml_nn_column_sums(dtype, t->n, V, t->z, t->db, t->first > 0, arena, err));
    if (t->dx)
      block_dx(t, gathered, ldw);
    ML_POLL(err);
  }
  return ML_OK;
}

static ml_status lce_check(const char *op, const ml_tensor *const *in, const ml_nn_ce_attr *a,
                           ml_error *err) {
  char s[ML_DESCRIBE], u[ML_DESCRIBE];
  ML_TRY(ml_nn_check_real(op, "x", in[X], 1, 1, err));
  ML_TRY(ml_nn_check_real(op, "W", in[WEIGHTS], 0, 2, err));
  ML_TRY(ml_nn_check_like(op, "W", in[WEIGHTS], "x", in[X], NULL, 2, err));
  const ml_tensor *W = in[WEIGHTS];
  if (W->rank != 2 || W->size[a->transposed ? 1 : 0] != ml_nn_last(in[X]))
    return ml_fail(err, ML_ESHAPE, 2, "%s: x and W disagree: %s and %s, wanted W %s for x [...,K]",
                   op, ml_describe(s, in[X]), ml_describe(u, W), a->transposed ? "[V,K]" : "[K,V]");
  ml_shape want = ml_shape_make(1, W->size[a->transposed ? 0 : 1]);
  ML_TRY(ml_nn_check_like(op, "b", in[BIAS], "W", W, &want, 3, err));
  ML_TRY(ml_nn_ce_check(op, in[X], in[TARGETS], in[MASK], a->z_loss, err));
  if (!isfinite(a->multiplier))
    return ml_fail(err, ML_EARG, 3, "%s: the multiplier is %g, wanted a finite number", op,
                   a->multiplier);
  return ML_OK;
}

static ml_status lce_flatten(ml_tensor flat[5], const ml_tensor *const *in, ml_error *err) {
  for (int i = 0; i < 5; i++)
    if (in[i])
      ML_TRY(ml_tensor_contiguous(&flat[i], in[i], err));
  return ML_OK;
}

static ml_status lce_init(lce *t, const char *op, const ml_tensor flat[5], const ml_nn_ce_attr *a,
                          ml_arena *arena, ml_error *err) {
  const ml_tensor *W = &flat[WEIGHTS];
  *t = (lce){.dtype = flat[X].dtype,
             .transposed = a->transposed,
             .multiplier = a->multiplier,
             .z_loss = a->z_loss};
  t->K = ml_nn_last(&flat[X]);
  t->V = W->size[a->transposed ? 0 : 1];
  t->x = ml_data(&flat[X]);
  t->W = ml_data(W);
  t->b = ml_tensor_empty(&flat[BIAS]) ? NULL : ml_data(&flat[BIAS]);
  return ml_nn_ce_count(&t->rows, op, &flat[TARGETS],
                        ml_tensor_empty(&flat[MASK]) ? NULL : &flat[MASK], t->V, arena, err);
}

static ml_status lce_forward(ml_tensor *out, ml_tensor kept[4], const ml_tensor flat[5],
                             const ml_tensor *const *in, const ml_nn_ce_attr *a, bool save,
                             ml_arena *arena, ml_error *err) {
  lce t;
  ML_TRY(lce_init(&t, "linear_cross_entropy", flat, a, arena, err));
  static const int taken[4] = {X, WEIGHTS, BIAS, MASK};
  for (int i = 0; i < 4 && save; i++) {
    const ml_tensor *input = in[taken[i]];
    if (!input || !ml_on_tape(input))
      continue;
    ml_shape shape = ml_shape_of(input);
    if (i == SAVED_VALUE)
      ML_TRY(ml_tensor_init_zeros(&kept[i], ML_F64, &shape, err));
    else
      ML_TRY(ml_tensor_init(&kept[i], t.dtype, &shape, err));
  }
  t.dx = ml_tensor_empty(&kept[SAVED_DX]) ? NULL : ml_data(&kept[SAVED_DX]);
  t.dW = ml_tensor_empty(&kept[SAVED_DW]) ? NULL : ml_data(&kept[SAVED_DW]);
  t.db = ml_tensor_empty(&kept[SAVED_DB]) ? NULL : ml_data(&kept[SAVED_DB]);
  t.value = ml_tensor_empty(&kept[SAVED_VALUE]) ? NULL : ml_data(&kept[SAVED_VALUE]);
  t.grads = t.dx || t.dW || t.db;
  ml_nn_ce_sums sum = {0};
  ML_TRY(lce_run(&t, &sum, arena, err));
  return ml_nn_ce_finish(out, t.dtype, a->info, &sum, t.rows.count, t.V, err);
}

ml_status ml_nn_linear_cross_entropy_forward(ml_tensor *out, const ml_tensor *const *in, int n,
                                             const void *attr, ml_save *save, ml_error *err) {
  (void)n;
  const ml_nn_ce_attr *a = attr;
  ML_TRY(lce_check("linear_cross_entropy", in, a, err));
  ml_arena *arena;
  size_t mark;
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ml_tensor flat[5] = {{0}}, kept[4] = {{0}};
  ml_status status = lce_flatten(flat, in, err);
  if (!status)
    status = lce_forward(&out[0], kept, flat, in, a, save != NULL, arena, err);
  for (int i = 0; i < 4 && !status && save; i++)
    status = ml_save_tensor(save, &kept[i], err);
  for (int i = 0; i < 5; i++)
    ml_tensor_clear(&flat[i]);
  for (int i = 0; i < 4; i++)
    ml_tensor_clear(&kept[i]);
  ml_arena_release(arena, mark);
  return status;
}

/* The stored gradients, times the seed unless that is 1. */
ml_status ml_nn_linear_cross_entropy_vjp(ml_vjp *c, ml_error *err) {
  static const int taken[3] = {X, WEIGHTS, BIAS};
  double seed;
  ML_TRY(ml_tensor_item(&seed, &c->gout[0], err));
  for (int i = 0; i < 3; i++) {
    if (!c->wanted[taken[i]])
      continue;
    const ml_tensor *g = &c->saved[i];
    if (seed == 1) {
      ml_tensor own;
      ml_tensor_detach(&own, g);
      ML_TRY(ml_vjp_give(c, taken[i], &own, err));
      continue;
    }
    ml_tensor *dst;
    bool add;
    ML_TRY(ml_vjp_target(c, taken[i], &dst, &add, err));
    ml_nn_row(g->dtype)->scale(ml_numel(g), seed, ml_data(g), ml_data(dst), add);
  }
  if (c->wanted[MASK])
    return ml_nn_ce_mask_grad(c, MASK, &c->saved[SAVED_VALUE], seed, err);
  return ML_OK;
}

ml_status ml_nn_linear_cross_entropy_check(ml_check_case *c, int variant, int *n_variants,
                                           ml_rng *g, ml_error *err) {
  /* plain; bias; tied; z term and multiplier; mask with zeros; differentiable mask; all at once,
   * tied; more rows than a block */
  *n_variants = 8;
  bool bias = variant == 1 || variant == 6, tied = variant == 2 || variant == 6;
  ml_nn_ce_attr a = {.z_loss = variant == 3 || variant >= 5 ? 0.2 : 0,
                     .multiplier = variant == 3 || variant >= 6 ? 0.7 : 1,
                     .transposed = tied};
  memcpy(c->attr, &a, sizeof a);
  c->n_out = 1;
  if (variant == 7) {
    int rows = (int)block_rows(2) + 5;
    ML_TRY(ml_nn_case_normal(c, X, g, 0, 1, err, 2, rows, 1));
    c->differentiable = 0; /* thousands of them */
    ML_TRY(ml_nn_case_normal(c, WEIGHTS, g, 0, 1, err, 2, 1, 2));
    ML_TRY(ml_nn_case_ids(c, TARGETS, g, 2, err, 1, rows));
    c->n_in = 5;
    return ML_OK;
  }
  ML_TRY(ml_nn_case_normal(c, X, g, 0, 1, err, 3, 2, 3, 4));
  ML_TRY(tied ? ml_nn_case_normal(c, WEIGHTS, g, 0, 1, err, 2, 6, 4)
              : ml_nn_case_normal(c, WEIGHTS, g, 0, 1, err, 2, 4, 6));
  if (bias)
    ML_TRY(ml_nn_case_normal(c, BIAS, g, 0, 1, err, 1, 6));
  ML_TRY(ml_nn_case_ids(c, TARGETS, g, 6, err, 2, 2, 3));
  if (variant >= 4)
    ML_TRY(ml_nn_ce_case_mask(c, MASK, variant != 5, g, err));
  c->n_in = 5;
  return ML_OK;
}

ml_status ml_linear_cross_entropy(ml_tensor *loss, const ml_tensor *x, const ml_tensor *W,
                                  const ml_tensor *b, bool transposed, double multiplier,
                                  const ml_tensor *targets, const ml_tensor *mask, double z_loss,
                                  ml_ce_info *info, ml_error *err) {
  ml_nn_ce_attr a = {z_loss, multiplier, transposed, info};
  return ml_apply(loss, &ml_nn_op_linear_cross_entropy,
                  (const ml_tensor *[]){x, W, b, targets, mask}, 5, &a, err);
}

ml_status ml_linear_nll(ml_tensor *nll, const ml_tensor *x, const ml_tensor *W, const ml_tensor *b,
                        bool transposed, double multiplier, const ml_tensor *targets,
                        ml_error *err) {
  ml_nn_ce_attr a = {.multiplier = multiplier, .transposed = transposed};
  const ml_tensor *in[5] = {x, W, b, targets, NULL};
  ML_TRY(lce_check("linear_nll", in, &a, err));
  ml_arena *arena;
  size_t mark;
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ml_tensor flat[5] = {{0}};
  lce t;
  ml_nn_ce_sums sum = {0};
  ml_status status = lce_flatten(flat, in, err);
  if (!status)
    status = lce_init(&t, "linear_nll", flat, &a, arena, err);
  if (!status) {
    ml_shape shape = ml_shape_make(1, t.rows.rows);
    status = ml_tensor_init(nll, t.dtype, &shape, err);
  }
  if (!status) {
    t.nll = ml_data(nll);
    status = lce_run(&t, &sum, arena, err);
  }
  if (status)
    ml_tensor_clear(nll);
  for (int i = 0; i < 5; i++)
    ml_tensor_clear(&flat[i]);
  ml_arena_release(arena, mark);
  return status;
}
