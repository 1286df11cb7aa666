/* Cross-entropy of given logits, with z term and weighted mask, and what it shares with the fused
 * form. */
#include "ce.h"

#include <string.h>

/* ---- shared ---------------------------------------------------------------------------------- */

ml_status ml_nn_ce_check(const char *op, const ml_tensor *x, const ml_tensor *targets,
                         const ml_tensor *mask, double z_loss, ml_error *err) {
  char a[ML_DESCRIBE], b[ML_DESCRIBE], s[ML_DESCRIBE];
  if (!targets || ml_tensor_empty(targets))
    return ml_fail(err, ML_ESTATE, 2, "%s: targets is a released tensor", op);
  if (targets->dtype != ML_INDEX)
    return ml_fail(err, ML_EDTYPE, 2, "%s: targets is %s, wanted dtype index", op,
                   ml_describe(b, targets));
  ml_shape want = ml_shape_of(x), shape = ml_shape_of(targets);
  want.rank--;
  if (!ml_shape_equal(&shape, &want))
    return ml_fail(err, ML_ESHAPE, 2,
                   "%s: rows and targets disagree: %s and %s, wanted targets index %s", op,
                   ml_describe(a, x), ml_describe(b, targets), ml_describe_shape(s, &want));
  ML_TRY(ml_nn_check_like(op, "mask", mask, "rows", x, &want, 3, err));
  if (!(z_loss >= 0))
    return ml_fail(err, ML_EARG, 3, "%s: z_loss is %g, wanted >= 0", op, z_loss);
  return ML_OK;
}

ml_status ml_nn_ce_count(ml_nn_ce_rows *r, const char *op, const ml_tensor *targets,
                         const ml_tensor *mask, int64_t V, ml_arena *arena, ml_error *err) {
  r->rows = ml_numel(targets);
  r->targets = ML_DATA(int64_t, targets);
  r->row = NULL;
  r->weight = NULL;
  r->count = r->rows;
  if (!mask)
    return ml_nn_check_ids(op, "target", r->targets, r->rows, V, 2, err);
  void *weight, *row;
  ML_TRY(ml_nn_take(&weight, arena, r->rows, sizeof(double), err));
  ML_TRY(ml_nn_take(&row, arena, r->rows, sizeof(int64_t), err));
  r->weight = weight;
  r->count = 0;
  for (int64_t i = 0; i < r->rows; i++) {
    double w = ml_nn_get(ml_data(mask), mask->dtype, i);
    ((double *)weight)[i] = w;
    if (w == 0)
      continue;
    ML_TRY(ml_nn_check_ids(op, "target", r->targets + i, 1, V, 2, err));
    ((int64_t *)row)[r->count++] = i;
  }
  if (r->count < r->rows)
    r->row = row;
  return ML_OK;
}

void ml_nn_ce_add(ml_nn_ce_sums *sum, double weight, double ce, double z_loss,
                  const ml_nn_ce_row *row) {
  double z2 = row->logz * row->logz;
  sum->loss += weight * (z_loss > 0 ? ce + z_loss * z2 : ce);
  sum->ce += weight * ce;
  sum->logz += weight * row->logz;
  sum->logz2 += weight * z2;
  sum->logits += row->sum;
}

void ml_nn_ce_merge(ml_nn_ce_sums *sum, const ml_nn_ce_sums *part) {
  sum->loss += part->loss;
  sum->ce += part->ce;
  sum->logz += part->logz;
  sum->logz2 += part->logz2;
  sum->logits += part->logits;
}

ml_status ml_nn_ce_finish(ml_tensor *out, ml_dtype dtype, ml_ce_info *info,
                          const ml_nn_ce_sums *sum, int64_t count, int64_t V, ml_error *err) {
  double over = count ? 1 / (double)count : 0;
  if (info)
    *info = (ml_ce_info){sum->ce * over, sum->logz * over, sum->logz2 * over,
                         count && V ? sum->logits / ((double)count * (double)V) : 0, count};
  ml_shape scalar = ml_shape_make(0);
  ML_TRY(ml_tensor_init(out, dtype, &scalar, err));
  return ml_tensor_fill_into(out, sum->loss * over, err);
}

ml_status ml_nn_ce_case_mask(ml_check_case *c, int i, bool zeros, ml_rng *g, ml_error *err) {
  ML_TRY(ml_nn_case_normal(c, i, g, 0, 1, err, 2, 2, 3));
  double *w = ML_DATA(double, &c->in[i]);
  w[0] = -0.7;
  w[3] = 1.25;
  if (zeros) { /* the count jumps there: constants, not inputs to differentiate */
    w[1] = w[5] = 0;
    c->differentiable &= ~(1u << i);
  }
  return ML_OK;
}

/* ---- given logits ---------------------------------------------------------------------------- */

enum { LOGITS, TARGETS, MASK };
enum { SAVED_LOGITS, SAVED_TARGETS, SAVED_LOGZ, SAVED_WEIGHT, SAVED_VALUE };

typedef struct {
  ml_dtype dtype;
  const ml_nn_ce_rows *rows;
  int64_t V, chunk;
  double z_loss;
  const void *z;
  double *logz, *value; /* [rows] or NULL */
  ml_nn_ce_sums *parts; /* one per chunk */
} forward_task;

static void forward_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const forward_task *t = ctx;
  const ml_nn_ce_rows *r = t->rows;
  ml_nn_ce_sums sum = {0};
  for (int64_t k = i * t->chunk; k < ml_nn_min((i + 1) * t->chunk, r->count); k++) {
    int64_t p = ml_nn_ce_position(r, k);
    const void *z = ml_nn_at_const(t->z, t->dtype, p * t->V);
    ml_nn_ce_row row = ml_nn_ce(t->dtype)->row(t->V, z, NULL, NULL);
    double ce = row.logz - ml_nn_get(z, t->dtype, r->targets[p]);
    ml_nn_ce_add(&sum, ml_nn_ce_weight(r, p), ce, t->z_loss, &row);
    if (t->logz)
      t->logz[p] = row.logz;
    if (t->value)
      t->value[p] = ce + t->z_loss * row.logz * row.logz;
  }
  t->parts[i] = sum;
}

/* logz, weight / count and row values as f64 [rows]; the last two only where needed. */
static ml_status forward_run(ml_tensor *out, ml_tensor kept[3], const ml_tensor *z,
                             const ml_tensor *targets, const ml_tensor *mask, bool mask_taped,
                             const ml_nn_ce_attr *a, bool save, ml_arena *arena, ml_error *err) {
  ml_nn_ce_rows r;
  int64_t V = ml_nn_last(z);
  ML_TRY(ml_nn_ce_count(&r, "cross_entropy", targets, mask, V, arena, err));
  ml_shape per_row = ml_shape_make(1, r.rows);
  if (save)
    ML_TRY(ml_tensor_init_zeros(&kept[0], ML_F64, &per_row, err));
  if (save && mask)
    ML_TRY(ml_tensor_init(&kept[1], ML_F64, &per_row, err));
  if (save && mask_taped)
    ML_TRY(ml_tensor_init_zeros(&kept[2], ML_F64, &per_row, err));
  forward_task t = {
      .dtype = z->dtype, .rows = &r, .V = V, .chunk = ml_nn_ce_chunk(V), .z_loss = a->z_loss};
  t.z = ml_data(z);
  t.logz = save ? ML_DATA(double, &kept[0]) : NULL;
  t.value = save && mask_taped ? ML_DATA(double, &kept[2]) : NULL;
  int64_t chunks = ml_nn_ceil_div(r.count, t.chunk);
  void *parts;
  ML_TRY(ml_nn_take(&parts, arena, chunks, sizeof *t.parts, err));
  t.parts = parts;
  ml_parallel_for(chunks, 10.0 * (double)(t.chunk * V), forward_body, &t);
  ml_nn_ce_sums sum = {0};
  for (int64_t i = 0; i < chunks; i++)
    ml_nn_ce_merge(&sum, &t.parts[i]);
  if (save && mask)
    for (int64_t i = 0; i < r.rows; i++)
      ML_DATA(double, &kept[1])[i] = r.count ? r.weight[i] / (double)r.count : 0;
  return ml_nn_ce_finish(out, z->dtype, a->info, &sum, r.count, V, err);
}

ml_status ml_nn_cross_entropy_forward(ml_tensor *out, const ml_tensor *const *in, int n,
                                      const void *attr, ml_save *save, ml_error *err) {
  (void)n;
  const ml_nn_ce_attr *a = attr;
  ML_TRY(ml_nn_check_real("cross_entropy", "logits", in[LOGITS], 1, 1, err));
  ML_TRY(ml_nn_ce_check("cross_entropy", in[LOGITS], in[TARGETS], in[MASK], a->z_loss, err));
  ml_arena *arena;
  size_t mark;
  ML_TRY(ml_nn_scratch(&arena, &mark, err));
  ml_tensor flat[3] = {{0}}, kept[3] = {{0}};
  ml_status status = ML_OK;
  for (int i = 0; i < 3 && !status; i++)
    if (in[i])
      status = ml_tensor_contiguous(&flat[i], in[i], err);
  if (!status)
    status =
        forward_run(&out[0], kept, &flat[LOGITS], &flat[TARGETS], in[MASK] ? &flat[MASK] : NULL,
                    in[MASK] && ml_on_tape(in[MASK]), a, save != NULL, arena, err);
  const ml_tensor *all[5] = {&flat[LOGITS], &flat[TARGETS], &kept[0], &kept[1], &kept[2]};
  for (int i = 0; i < 5 && !status && save; i++)
    status = ml_save_tensor(save, all[i], err);
  for (int i = 0; i < 3; i++) {
    ml_tensor_clear(&flat[i]);
    ml_tensor_clear(&kept[i]);
  }
  ml_arena_release(arena, mark);
  return status;
}

typedef struct {
  ml_dtype dtype;
  int64_t rows, V, chunk;
  double seed, z_loss;
  const void *z;
  const int64_t *targets;
  const double *logz, *weight; /* weight already over the count; NULL: 1 / rows */
  void *dz;
  bool add;
} backward_task;

/* dL/dz_j = w (p_j (1 + 2 z_loss logz) - [j = target]) */
static void backward_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const backward_task *t = ctx;
  for (int64_t r = i * t->chunk; r < ml_nn_min((i + 1) * t->chunk, t->rows); r++) {
    double w = t->weight ? t->weight[r] : 1 / (double)t->rows;
    void *dz = ml_nn_at(t->dz, t->dtype, r * t->V);
    if (w == 0) {
      if (!t->add)
        memset(dz, 0, (size_t)t->V * ml_dtype_size(t->dtype));
      continue;
    }
    w *= t->seed;
    ml_nn_ce(t->dtype)->softmax(t->V, ml_nn_at_const(t->z, t->dtype, r * t->V), t->logz[r],
                                w * (1 + 2 * t->z_loss * t->logz[r]), dz, t->add);
    ml_nn_subtract(dz, t->dtype, t->targets[r], w);
  }
}

/* d/dw_r of the loss: the row's value over the count, 0 where the weight is 0. */
ml_status ml_nn_ce_mask_grad(ml_vjp *c, int i, const ml_tensor *value, double factor,
                             ml_error *err) {
  ml_tensor *dw;
  bool add;
  ML_TRY(ml_vjp_target(c, i, &dw, &add, err));
  for (int64_t r = 0; r < ml_numel(value); r++) {
    double g = factor * ML_DATA(double, value)[r];
    if (dw->dtype == ML_F32)
      ML_DATA(float, dw)[r] = (float)(add ? (double)ML_DATA(float, dw)[r] + g : g);
    else
      ML_DATA(double, dw)[r] = add ? ML_DATA(double, dw)[r] + g : g;
  }
  return ML_OK;
}

ml_status ml_nn_cross_entropy_vjp(ml_vjp *c, ml_error *err) {
  const ml_nn_ce_attr *a = c->attr;
  const ml_tensor *z = &c->saved[SAVED_LOGITS], *weight = &c->saved[SAVED_WEIGHT];
  backward_task t = {
      .dtype = z->dtype, .rows = ml_nn_rows(z), .V = ml_nn_last(z), .z_loss = a->z_loss};
  ML_TRY(ml_tensor_item(&t.seed, &c->gout[0], err));
  if (c->wanted[MASK]) {
    int64_t count = 0;
    for (int64_t i = 0; i < t.rows; i++)
      count += ML_DATA(double, weight)[i] != 0;
    ML_TRY(ml_nn_ce_mask_grad(c, MASK, &c->saved[SAVED_VALUE], count ? t.seed / (double)count : 0,
                              err));
  }
  if (!c->wanted[LOGITS])
    return ML_OK;
  ml_tensor *dz;
  ML_TRY(ml_vjp_target(c, LOGITS, &dz, &t.add, err));
  t.chunk = ml_nn_ce_chunk(t.V);
  t.z = ml_data(z);
  t.targets = ML_DATA(int64_t, &c->saved[SAVED_TARGETS]);
  t.logz = ML_DATA(double, &c->saved[SAVED_LOGZ]);
  t.weight = ml_tensor_empty(weight) ? NULL : ML_DATA(double, weight);
  t.dz = ml_data(dz);
  ml_parallel_for(ml_nn_ceil_div(t.rows, t.chunk), 10.0 * (double)(t.chunk * t.V), backward_body,
                  &t);
  return ML_OK;
}

ml_status ml_nn_cross_entropy_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                    ml_error *err) {
  *n_variants =
      5; /* plain, z term, mask with zeros, mask that is differentiated, z term and mask */
  ml_nn_ce_attr a = {.z_loss = variant == 1 || variant == 3 || variant == 4 ? 0.3 : 0,
                     .multiplier = 1};
  memcpy(c->attr, &a, sizeof a);
  c->n_out = 1;
  ML_TRY(ml_nn_case_normal(c, LOGITS, g, 0.5, 1.5, err, 3, 2, 3, 7));
  ML_TRY(ml_nn_case_ids(c, TARGETS, g, 7, err, 2, 2, 3));
  if (variant >= 2)
    ML_TRY(ml_nn_ce_case_mask(c, MASK, variant != 3, g, err));
  c->n_in = 3;
  return ML_OK;
}

ml_status ml_cross_entropy(ml_tensor *loss, const ml_tensor *logits, const ml_tensor *targets,
                           const ml_tensor *mask, double z_loss, ml_ce_info *info, ml_error *err) {
  ml_nn_ce_attr a = {.z_loss = z_loss, .multiplier = 1, .info = info};
  return ml_apply(loss, &ml_nn_op_cross_entropy, (const ml_tensor *[]){logits, targets, mask}, 3,
                  &a, err);
}
