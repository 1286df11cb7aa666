/* Reading and writing at positions: gather, scatter, index_select, index_add, one_hot. */
#include "kernels.h"
#include "layout.h"
#include "loop.h"

#include <inttypes.h>
#include <string.h>

/* ---- checks ---------------------------------------------------------------------------------- */

typedef struct {
  int64_t n, found; /* found: an id out of range */
  bool bad;
} id_check;

static void check_segment(void *ctx, char *const *p, const int64_t *s, int64_t n) {
  id_check *c = ctx;
  const int64_t *ids = (const int64_t *)(const void *)p[0];
  bool bad = false;
  for (int64_t i = 0; i < n; i++)
    bad |= (uint64_t)ids[i * s[0]] >= (uint64_t)c->n;
  for (int64_t i = 0; bad && !c->bad && i < n; i++) {
    if ((uint64_t)ids[i * s[0]] < (uint64_t)c->n)
      continue;
    c->found = ids[i * s[0]];
    c->bad = true;
  }
}

static ml_status check_ids(const ml_tensor *ids, int64_t n, int arg, const char *what,
                           ml_error *err) {
  char text[ML_DESCRIBE];
  if (ids->dtype != ML_INDEX)
    return ml_fail(err, ML_EDTYPE, arg, "%s wants index ids, got %s", what, ml_describe(text, ids));
  id_check c = {.n = n};
  ml_shape shape = ml_shape_of(ids);
  ml_loop loop;
  ml_loop_init(&loop, &shape, 1, (const ml_tensor *const[]){ids});
  ml_loop_run_serial(&loop, check_segment, &c);
  if (c.bad)
    return ml_fail(err, ML_EARG, arg, "%s: id %" PRId64 " out of range, wanted 1 to %" PRId64, what,
                   c.found + 1, n);
  return ML_OK;
}

/* ids has t's rank and, off the axis, no larger sizes; in range along it. */
static ml_status check_gather(const ml_tensor *t, const ml_tensor *ids, int axis, int axis_arg,
                              const char *what, ml_error *err) {
  ML_TRY(ml_check_axis(t, axis, what, axis_arg, err));
  bool good = ids->rank == t->rank;
  for (int k = 0; good && k < t->rank; k++)
    good = k == axis || ids->size[k] <= t->size[k];
  if (!good) {
    char ta[ML_DESCRIBE], tb[ML_DESCRIBE];
    return ml_fail(err, ML_ESHAPE, 2, "%s: ids %s do not fit %s", what, ml_describe(ta, ids),
                   ml_describe(tb, t));
  }
  return check_ids(ids, t->size[axis], 2, what, err);
}

/* t over the shape of ids, standing still along the axis. */
static ml_tensor still_view(const ml_tensor *t, const ml_tensor *ids, int axis) {
  ml_tensor view = *t;
  for (int k = 0; k < t->rank; k++)
    view.size[k] = ids->size[k];
  view.stride[axis] = 0;
  return view;
}

/* ---- gather and scatter ---------------------------------------------------------------------- */

typedef struct {
  ml_dtype dtype;
  int64_t stride; /* of the axis */
  bool add;
} gather_job;

#define GATHER(T)                                                                                  \
  do {                                                                                             \
    T *out = (T *)(void *)p[0];                                                                    \
    const T *t = (const T *)(const void *)p[2];                                                    \
    for (int64_t i = 0; i < n; i++)                                                                \
      out[i * s[0]] = t[i * s[2] + ids[i * s[1]] * job->stride];                                   \
  } while (0)

static void gather_segment(void *ctx, char *const *p, const int64_t *s, int64_t n) {
  const gather_job *job = ctx;
  const int64_t *ids = (const int64_t *)(const void *)p[1];
  switch (ml_dtype_size(job->dtype)) {
  case 8:
    GATHER(uint64_t);
    break;
  case 4:
    GATHER(uint32_t);
    break;
  default:
    GATHER(uint8_t);
  }
}

ml_status ml_tensor_gather(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids, int axis,
                           ml_error *err) {
  ML_TRY(check_gather(t, ids, axis, 3, "gather", err));
  ml_shape shape = ml_shape_of(ids);
  ml_tensor result = {0}, view = still_view(t, ids, axis);
  ML_TRY(ml_tensor_init(&result, t->dtype, &shape, err));
  gather_job job = {t->dtype, t->stride[axis], false};
  ml_loop loop;
  ml_loop_init(&loop, &shape, 3, (const ml_tensor *const[]){&result, ids, &view});
  ml_status status = ml_loop_poll(&loop, 15, gather_segment, &job, err);
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}

#define SCATTER(T, op)                                                                             \
  do {                                                                                             \
    T *out = (T *)(void *)p[0];                                                                    \
    const T *src = (const T *)(const void *)p[2];                                                  \
    for (int64_t i = 0; i < n; i++)                                                                \
      out[i * s[0] + ids[i * s[1]] * job->stride] op src[i * s[2]];                                \
  } while (0)

static void scatter_segment(void *ctx, char *const *p, const int64_t *s, int64_t n) {
  const gather_job *job = ctx;
  const int64_t *ids = (const int64_t *)(const void *)p[1];
  if (job->add) {
    if (job->dtype == ML_F32)
      SCATTER(float, +=);
    else
      SCATTER(double, +=);
  } else if (ml_dtype_size(job->dtype) == 8) {
    SCATTER(uint64_t, =);
  } else if (ml_dtype_size(job->dtype) == 4) {
    SCATTER(uint32_t, =);
  } else {
    SCATTER(uint8_t, =);
  }
}

ml_status ml_tensor_scatter(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids,
                            const ml_tensor *src, int axis, bool add, ml_error *err) {
  const char *what = add ? "scatter_add" : "scatter";
  char ta[ML_DESCRIBE], tb[ML_DESCRIBE];
  ML_TRY(check_gather(t, ids, axis, 4, what, err));
  ml_shape shape = ml_shape_of(ids), from = ml_shape_of(src);
  if (src->dtype != t->dtype || (add && !ml_is_real(t->dtype)))
    return ml_fail(err, ML_EDTYPE, 3, "%s: dtypes disagree: %s takes no values of %s", what,
                   ml_describe(ta, t), ml_describe(tb, src));
  if (!ml_shape_equal(&shape, &from))
    return ml_fail(err, ML_ESHAPE, 3, "%s: ids and values disagree: %s and %s", what,
                   ml_describe(ta, ids), ml_describe(tb, src));
  ml_tensor result = {0};
  ML_TRY(ml_tensor_clone(&result, t, err));
  ml_tensor view = still_view(&result, ids, axis);
  gather_job job = {t->dtype, result.stride[axis], add};
  ml_loop loop;
  ml_loop_init(&loop, &shape, 3, (const ml_tensor *const[]){&view, ids, src});
  /* in index order: later writes win */
  ml_status status = ml_loop_poll_serial(&loop, scatter_segment, &job, err);
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}

/* ---- rows: index_select and its adjoint ------------------------------------------------------ */

/* [outer, n, inner] and ids [m]: bytes of a row, and rows of one unit of work. */
typedef struct {
  const ml_tensor_kernels *kernels;
  char *out;
  const char *from;
  const int64_t *ids;
  int64_t outer, n, inner, m, item, group, tiles;
} rows_job;

static void select_rows(void *ctx, int64_t i, int worker) {
  const rows_job *job = ctx;
  (void)worker;
  int64_t bytes = job->inner * job->item, total = job->outer * job->m;
  int64_t end = (i + 1) * job->group < total ? (i + 1) * job->group : total;
  for (int64_t r = i * job->group; r < end; r++) {
    int64_t o = r / job->m, id = job->ids[r % job->m];
    const char *from = job->from + (o * job->n + id) * bytes;
    char *to = job->out + r * bytes;
    if (bytes == 4)
      memcpy(to, from, 4);
    else if (bytes == 8)
      memcpy(to, from, 8);
    else
      memcpy(to, from, (size_t)bytes);
  }
}

static rows_job rows_of(const ml_tensor *t, int axis, const ml_tensor *ids) {
  rows_job job = {.ids = ml_data(ids),
                  .outer = 1,
                  .n = t->size[axis],
                  .inner = 1,
                  .m = ml_numel(ids),
                  .item = (int64_t)ml_dtype_size(t->dtype)};
  for (int k = 0; k < axis; k++)
    job.outer *= t->size[k];
  for (int k = axis + 1; k < t->rank; k++)
    job.inner *= t->size[k];
  return job;
}

/* The shape of t with its axis replaced by the axes of ids. */
static ml_status selected_shape(ml_shape *shape, const ml_tensor *t, const ml_tensor *ids, int axis,
                                const char *what, ml_error *err) {
  if (t->rank - 1 + ids->rank > ML_MAX_RANK)
    return ml_fail(err, ML_ESHAPE, 2, "%s: rank %d, wanted at most %d", what,
                   t->rank - 1 + ids->rank, ML_MAX_RANK);
  shape->rank = 0;
  for (int k = 0; k < axis; k++)
    shape->size[shape->rank++] = t->size[k];
  for (int k = 0; k < ids->rank; k++)
    shape->size[shape->rank++] = ids->size[k];
  for (int k = axis + 1; k < t->rank; k++)
    shape->size[shape->rank++] = t->size[k];
  return ML_OK;
}

ml_status ml_tensor_index_select(ml_tensor *out, const ml_tensor *t, const ml_tensor *ids, int axis,
                                 ml_error *err) {
  ML_TRY(ml_check_axis(t, axis, "index_select", 3, err));
  ML_TRY(check_ids(ids, t->size[axis], 2, "index_select", err));
  ml_shape shape;
  ML_TRY(selected_shape(&shape, t, ids, axis, "index_select", err));
  ml_tensor x = {0}, at = {0}, result = {0};
  ml_status status = ml_tensor_contiguous(&x, t, err);
  if (!status)
    status = ml_tensor_contiguous(&at, ids, err);
  if (!status)
    status = ml_tensor_init(&result, t->dtype, &shape, err);
  if (!status && ml_numel(&result) > 0) {
    rows_job job = rows_of(&x, axis, &at);
    job.out = ml_data(&result);
    job.from = ml_data(&x);
    job.group = job.inner < ML_LOOP_CHUNK ? ML_LOOP_CHUNK / job.inner : 1;
    int64_t units = (job.outer * job.m + job.group - 1) / job.group;
    status = ml_parallel_poll(units, 3.0 * (double)(job.group * job.inner), select_rows, &job, err);
  }
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  ml_tensor_clear(&x);
  ml_tensor_clear(&at);
  return status;
}

/* Columns of one unit of work: within it the rows are added in the order of ids. */
#define ADD_TILE 64

static void add_rows(void *ctx, int64_t i, int worker) {
  const rows_job *job = ctx;
  (void)worker;
  int64_t o = i / job->tiles, c0 = i % job->tiles * ADD_TILE;
  int64_t width = job->inner - c0 < ADD_TILE ? job->inner - c0 : ADD_TILE;
  for (int64_t r = 0; r < job->m; r++) {
    if (r % ML_LOOP_CHUNK == ML_LOOP_CHUNK - 1 && ml_cancelled())
      return;
    char *to = job->out + ((o * job->n + job->ids[r]) * job->inner + c0) * job->item;
    const char *from = job->from + ((o * job->m + r) * job->inner + c0) * job->item;
    job->kernels->axpy(to, 1, 1, from, 1, width);
  }
}

ml_status ml_tensor_index_add_into(ml_tensor *dst, const ml_tensor *ids, const ml_tensor *src,
                                   int axis, ml_error *err) {
  char ta[ML_DESCRIBE], tb[ML_DESCRIBE];
  ML_TRY(ml_check_axis(dst, axis, "index_add", 4, err));
  ML_TRY(check_ids(ids, dst->size[axis], 2, "index_add", err));
  if (!ml_is_real(dst->dtype) || src->dtype != dst->dtype)
    return ml_fail(err, ML_EDTYPE, 3, "index_add: dtypes disagree: %s takes no values of %s",
                   ml_describe(ta, dst), ml_describe(tb, src));
  ml_shape shape, from = ml_shape_of(src);
  ML_TRY(selected_shape(&shape, dst, ids, axis, "index_add", err));
  if (!ml_shape_equal(&shape, &from))
    return ml_fail(err, ML_ESHAPE, 3, "index_add wants values %s, got %s",
                   ml_describe_shape(ta, &shape), ml_describe(tb, src));
  if (ml_numel(src) == 0)
    return ML_OK;
  ML_TRY(ml_check_into(dst, dst, err));
  ml_tensor sum = {0}, x = {0}, at = {0};
  bool copied = !ml_is_contiguous(dst);
  ml_status status = copied ? ml_tensor_clone(&sum, dst, err) : ML_OK;
  if (!copied)
    ml_tensor_detach(&sum, dst);
  if (!status)
    status = src->storage == dst->storage ? ml_tensor_clone(&x, src, err)
                                          : ml_tensor_contiguous(&x, src, err);
  if (!status)
    status = ml_tensor_contiguous(&at, ids, err);
  if (!status) {
    rows_job job = rows_of(&sum, axis, &at);
    job.kernels = ml_kernels(dst->dtype);
    job.out = ml_data(&sum);
    job.from = ml_data(&x);
    job.tiles = (job.inner + ADD_TILE - 1) / ADD_TILE;
    status = ml_parallel_poll(job.outer * job.tiles,
                              6.0 * (double)(job.m * (job.inner < ADD_TILE ? job.inner : ADD_TILE)),
                              add_rows, &job, err);
    if (!status && job.m >= ML_LOOP_CHUNK && ml_cancelled())
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
    if (status)
      ml_touch(dst);
    else if (copied)
      status = ml_tensor_copy_into(dst, &sum, err);
    else
      ml_touch(dst);
  }
  ml_tensor_clear(&sum);
  ml_tensor_clear(&x);
  ml_tensor_clear(&at);
  return status;
}

/* ---- one_hot --------------------------------------------------------------------------------- */

ml_status ml_tensor_one_hot(ml_tensor *out, const ml_tensor *ids, int64_t classes, ml_dtype dtype,
                            ml_error *err) {
  if (!(classes >= 0))
    return ml_fail(err, ML_EARG, 2, "one_hot: %" PRId64 " classes, wanted 0 or more", classes);
  if (dtype == ML_INDEX || (unsigned)dtype >= ML_DTYPE_COUNT)
    return ml_fail(err, ML_EDTYPE, 3, "one_hot has no dtype %s, wanted f64, f32 or u8",
                   ml_dtype_name(dtype));
  ML_TRY(check_ids(ids, classes, 1, "one_hot", err));
  ml_shape shape = ml_shape_of(ids);
  if (shape.rank == ML_MAX_RANK)
    return ml_fail(err, ML_ESHAPE, 1, "one_hot: rank %d, wanted at most %d", shape.rank + 1,
                   ML_MAX_RANK);
  shape.size[shape.rank++] = classes;
  ml_tensor at = {0}, result = {0};
  ML_TRY(ml_tensor_contiguous(&at, ids, err));
  ml_status status = ml_tensor_init_zeros(&result, dtype, &shape, err);
  if (!status) {
    const int64_t *id = ml_data(&at);
    int64_t n = ml_numel(ids);
    for (int64_t i = 0; i < n && !status; i++) {
      int64_t to = i * classes + id[i];
      if (i % ML_LOOP_CHUNK == ML_LOOP_CHUNK - 1 && ml_cancelled())
        status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
      if (dtype == ML_F64)
        ML_DATA(double, &result)[to] = 1;
      else if (dtype == ML_F32)
        ML_DATA(float, &result)[to] = 1;
      else
        ML_DATA(uint8_t, &result)[to] = 1;
    }
  }
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  ml_tensor_clear(&at);
  return status;
}
