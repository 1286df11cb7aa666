/* Embedding: rows of a table by id, with an optional table of positions added. */
#include "common.h"

#include <string.h>

enum { TABLE, IDS, POSITIONS_TABLE, POSITIONS };
enum { SAVED_IDS, SAVED_POSITIONS };

typedef struct {
  ml_dtype dtype;
  int64_t rows, d, chunk, period; /* period: positions, where not given, are row % period */
  const void *table, *positions_table;
  const int64_t *ids, *positions;
  void *y;
} forward_task;

static void forward_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const forward_task *t = ctx;
  ml_dtype dtype = t->dtype;
  size_t bytes = (size_t)t->d * ml_dtype_size(dtype);
  for (int64_t r = i * t->chunk; r < ml_nn_min((i + 1) * t->chunk, t->rows); r++) {
    const void *row = ml_nn_at_const(t->table, dtype, t->ids[r] * t->d);
    void *y = ml_nn_at(t->y, dtype, r * t->d);
    if (!t->positions_table) {
      memcpy(y, row, bytes);
      continue;
    }
    int64_t p = t->positions ? t->positions[r] : r % t->period;
    ml_nn_row(dtype)->sum_of(t->d, row, ml_nn_at_const(t->positions_table, dtype, p * t->d), y);
  }
}

static ml_status embedding_check(const ml_tensor *const *in, ml_shape *shape, ml_error *err) {
  char a[ML_DESCRIBE], b[ML_DESCRIBE];
  const ml_tensor *table = in[TABLE], *ids = in[IDS], *pt = in[POSITIONS_TABLE],
                  *positions = in[POSITIONS];
  ML_TRY(ml_nn_check_real("embedding", "table", table, 0, 1, err));
  if (table->rank != 2)
    return ml_fail(err, ML_ESHAPE, 1, "embedding: table is %s, wanted [V,d]",
                   ml_describe(a, table));
  if (!ids || ml_tensor_empty(ids))
    return ml_fail(err, ML_ESTATE, 2, "embedding: ids is a released tensor");
  if (ids->dtype != ML_INDEX)
    return ml_fail(err, ML_EDTYPE, 2, "embedding: ids is %s, wanted dtype index",
                   ml_describe(a, ids));
  if (ids->rank == ML_MAX_RANK)
    return ml_fail(err, ML_ESHAPE, 2, "embedding: ids is %s, wanted at most %d axes",
                   ml_describe(a, ids), ML_MAX_RANK - 1);
  *shape = ml_shape_of(ids);
  shape->size[shape->rank++] = table->size[1];
  ML_TRY(ml_nn_check_like("embedding", "positions_table", pt, "table", table, NULL, 3, err));
  if (pt && (pt->rank != 2 || pt->size[1] != table->size[1]))
    return ml_fail(
        err, ML_ESHAPE, 3,
        "embedding: table and positions_table disagree: %s and %s, wanted [V,d] and [P,d]",
        ml_describe(a, table), ml_describe(b, pt));
  if (!positions)
    return ML_OK;
  if (!pt)
    return ml_fail(err, ML_EARG, 3, "embedding: positions without a positions_table");
  ml_shape have = ml_shape_of(positions), want = ml_shape_of(ids);
  if (ml_tensor_empty(positions) || positions->dtype != ML_INDEX || !ml_shape_equal(&have, &want))
    return ml_fail(err, positions->dtype != ML_INDEX ? ML_EDTYPE : ML_ESHAPE, 3,
                   "embedding: ids and positions disagree: %s and %s", ml_describe(a, ids),
                   ml_describe(b, positions));
  return ML_OK;
}

static ml_status embedding_run(ml_tensor *y, const ml_tensor flat[4], ml_error *err) {
  forward_task t = {.dtype = flat[TABLE].dtype, .d = flat[TABLE].size[1]};
  const ml_tensor *ids = &flat[IDS], *pt = &flat[POSITIONS_TABLE];
  t.rows = ml_numel(ids);
  t.table = ml_data(&flat[TABLE]);
  t.ids = ML_DATA(int64_t, ids);
  t.y = ml_data(y);
  ML_TRY(ml_nn_check_ids("embedding", "id", t.ids, t.rows, flat[TABLE].size[0], 2, err));
  if (!ml_tensor_empty(pt)) {
    t.positions_table = ml_data(pt);
    t.period = ids->rank ? ml_nn_last(ids) : 1;
    if (!ml_tensor_empty(&flat[POSITIONS])) {
      t.positions = ML_DATA(int64_t, &flat[POSITIONS]);
      ML_TRY(ml_nn_check_ids("embedding", "position", t.positions, t.rows, pt->size[0], 3, err));
    } else if (t.period > pt->size[0]) {
      return ml_fail(err, ML_EARG, 3, "embedding: position %lld is outside 1..%lld",
                     (long long)t.period, (long long)pt->size[0]);
    }
  }
  t.chunk = ml_nn_chunk_rows(t.rows, t.d);
  ml_parallel_for(ml_nn_ceil_div(t.rows, t.chunk), 2.0 * (double)(t.chunk * t.d), forward_body, &t);
  return ML_OK;
}

ml_status ml_nn_embedding_forward(ml_tensor *out, const ml_tensor *const *in, int n,
                                  const void *attr, ml_save *save, ml_error *err) {
  (void)attr;
  ml_shape shape;
  ML_TRY(embedding_check(in, &shape, err));
  ml_tensor flat[4] = {{0}};
  ml_status status = ML_OK;
  for (int i = 0; i < n && !status; i++)
    if (in[i])
      status = ml_tensor_contiguous(&flat[i], in[i], err);
  if (!status)
    status = ml_tensor_init(&out[0], in[TABLE]->dtype, &shape, err);
  if (!status)
    status = embedding_run(&out[0], flat, err);
  if (!status)
    status = ml_save_tensor(save, &flat[IDS], err);
  if (!status)
    status = ml_save_tensor(save, &flat[POSITIONS], err);
  for (int i = 0; i < n; i++)
    ml_tensor_clear(&flat[i]);
  return status;
}

#define SHARDS                                                                                     \
  8 /* ranges of the table's rows: each is written by one task, in the order of the ids */

typedef struct {
  ml_dtype dtype;
  int64_t rows, d, n, period; /* n: rows of the table */
  const int64_t *ids;         /* NULL: row % period */
  const void *dy;
  void *dtable;
  bool add;
} backward_task;

static void backward_body(void *ctx, int64_t i, int worker) {
  (void)worker;
  const backward_task *t = ctx;
  ml_dtype dtype = t->dtype;
  const ml_nn_row_kernels *k = ml_nn_row(dtype);
  int64_t lo = t->n * i / SHARDS, hi = t->n * (i + 1) / SHARDS;
  if (!t->add)
    memset(ml_nn_at(t->dtable, dtype, lo * t->d), 0,
           (size_t)((hi - lo) * t->d) * ml_dtype_size(dtype));
  for (int64_t r = 0; r < t->rows; r++) {
    int64_t id = t->ids ? t->ids[r] : r % t->period;
    if (id >= lo && id < hi)
      k->add(t->d, ml_nn_at_const(t->dy, dtype, r * t->d), ml_nn_at(t->dtable, dtype, id * t->d));
  }
}

static ml_status table_grad(ml_vjp *c, int i, const ml_tensor *ids, int64_t period,
                            const ml_tensor *dy, ml_error *err) {
  ml_tensor *dtable;
  backward_task t = {
      .dtype = dy->dtype, .rows = ml_nn_rows(dy), .d = ml_nn_last(dy), .period = period};
  ML_TRY(ml_vjp_target(c, i, &dtable, &t.add, err));
  t.n = dtable->size[0];
  t.ids = ml_tensor_empty(ids) ? NULL : ML_DATA(int64_t, ids);
  t.dy = ml_data(dy);
  t.dtable = ml_data(dtable);
  ml_parallel_for(SHARDS, (double)(t.rows * (t.d + SHARDS)) / SHARDS, backward_body, &t);
  return ML_OK;
}

ml_status ml_nn_embedding_vjp(ml_vjp *c, ml_error *err) {
  const ml_tensor *ids = &c->saved[SAVED_IDS];
  ml_tensor dy = {0};
  ML_TRY(ml_tensor_contiguous(&dy, &c->gout[0], err));
  ml_status status = ML_OK;
  if (c->wanted[TABLE])
    status = table_grad(c, TABLE, ids, 1, &dy, err);
  if (!status && c->wanted[POSITIONS_TABLE])
    status = table_grad(c, POSITIONS_TABLE, &c->saved[SAVED_POSITIONS],
                        ids->rank ? ml_nn_last(ids) : 1, &dy, err);
  ml_tensor_clear(&dy);
  return status;
}

ml_status ml_nn_embedding_check(ml_check_case *c, int variant, int *n_variants, ml_rng *g,
                                ml_error *err) {
  *n_variants = 3; /* alone, with positions, with positions counted from the first */
  c->n_out = 1;
  ML_TRY(ml_nn_case_normal(c, TABLE, g, 0, 1, err, 2, 5, 3));
  ML_TRY(ml_nn_case_ids(c, IDS, g, 5, err, 2, 2, 4));
  if (variant)
    ML_TRY(ml_nn_case_normal(c, POSITIONS_TABLE, g, 0, 1, err, 2, 6, 3));
  if (variant == 1)
    ML_TRY(ml_nn_case_ids(c, POSITIONS, g, 6, err, 2, 2, 4));
  c->n_in = 4;
  return ML_OK;
}

ml_status ml_embedding(ml_tensor *y, const ml_tensor *table, const ml_tensor *ids,
                       const ml_tensor *positions_table, const ml_tensor *positions,
                       ml_error *err) {
  return ml_apply(y, &ml_nn_op_embedding,
                  (const ml_tensor *[]){table, ids, positions_table, positions}, 4, NULL, err);
}
