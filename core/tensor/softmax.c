/* Softmax and log-softmax along one axis, and their adjoints. */
#include "kernels.h"
#include "loop.h"

typedef struct {
  const ml_tensor_kernels *kernels;
  char *out;
  const char *a, *b; /* b: the adjoint's dy, or NULL */
  int64_t item, outer, n, inner, tiles, group;
  bool log;
  bool stream; /* rows: the result is written past the caches */
} softmax_job;

static void rows(void *ctx, int64_t i, int worker) {
  const softmax_job *job = ctx;
  (void)worker;
  int64_t row = i * job->group, m = job->outer - row < job->group ? job->outer - row : job->group;
  int64_t at = row * job->n * job->item;
  if (job->b)
    job->kernels->softmax_grad_rows(job->out + at, job->a + at, job->b + at, m, job->n, job->log,
                                    job->stream);
  else
    job->kernels->softmax_rows(job->out + at, job->a + at, m, job->n, job->log, job->stream);
}

static void columns(void *ctx, int64_t i, int worker) {
  const softmax_job *job = ctx;
  (void)worker;
  int64_t c0 = i % job->tiles * ML_COLUMN_TILE;
  int64_t m = job->inner - c0 < ML_COLUMN_TILE ? job->inner - c0 : ML_COLUMN_TILE;
  int64_t at = (i / job->tiles * job->n * job->inner + c0) * job->item;
  if (job->b)
    job->kernels->softmax_grad_columns(job->out + at, job->a + at, job->b + at, job->inner, job->n,
                                       m, job->log);
  else
    job->kernels->softmax_columns(job->out + at, job->a + at, job->inner, job->n, m, job->log);
}

/* A result of more bytes would drive everything else out of L2, itself too. */
#define STREAM 4000000

/* a and b dense, of out's shape. */
static ml_status run(ml_tensor *out, const ml_tensor *a, const ml_tensor *b, int axis, bool log,
                     ml_error *err) {
  softmax_job job = {.kernels = ml_kernels(a->dtype),
                     .out = ml_data(out),
                     .a = ml_data(a),
                     .b = b ? ml_data(b) : NULL,
                     .item = (int64_t)ml_dtype_size(a->dtype),
                     .outer = 1,
                     .n = a->size[axis],
                     .inner = 1,
                     .log = log};
  for (int k = 0; k < axis; k++)
    job.outer *= a->size[k];
  for (int k = axis + 1; k < a->rank; k++)
    job.inner *= a->size[k];
  if (ml_numel(a) == 0)
    return ML_OK;
  if (job.inner == 1) {
    job.stream = job.outer * job.n * job.item > STREAM;
    job.group = job.n < ML_LOOP_CHUNK / 2 ? ML_LOOP_CHUNK / 2 / job.n : 1;
    return ml_parallel_poll((job.outer + job.group - 1) / job.group,
                            10.0 * (double)(job.group * job.n), rows, &job, err);
  } else {
    job.tiles = (job.inner + ML_COLUMN_TILE - 1) / ML_COLUMN_TILE;
    int64_t width = job.inner < ML_COLUMN_TILE ? job.inner : ML_COLUMN_TILE;
    return ml_parallel_poll(job.outer * job.tiles, 10.0 * (double)(width * job.n), columns, &job,
                            err);
  }
}

static ml_status check(const ml_tensor *t, int axis, ml_error *err) {
  char text[ML_DESCRIBE];
  if (!ml_is_real(t->dtype))
    return ml_fail(err, ML_EDTYPE, 1, "softmax wants f64 or f32, got %s", ml_describe(text, t));
  if (axis < 0 || axis >= t->rank)
    return ml_fail(err, ML_EARG, 2, "softmax: axis %d out of range for %s", axis + 1,
                   ml_describe(text, t));
  return ML_OK;
}

ml_status ml_tensor_softmax(ml_tensor *out, const ml_tensor *t, int axis, bool log, ml_error *err) {
  ML_TRY(check(t, axis, err));
  ml_shape shape = ml_shape_of(t);
  ml_tensor x = {0}, result = {0};
  ML_TRY(ml_tensor_contiguous(&x, t, err));
  ml_status status = ml_tensor_init(&result, t->dtype, &shape, err);
  if (!status)
    status = run(&result, &x, NULL, axis, log, err);
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  ml_tensor_clear(&x);
  return status;
}

ml_status ml_tensor_softmax_grad(ml_tensor *dx, const ml_tensor *y, const ml_tensor *dy, int axis,
                                 bool log, ml_error *err) {
  char ty[ML_DESCRIBE], tg[ML_DESCRIBE];
  ML_TRY(check(y, axis, err));
  ml_shape shape = ml_shape_of(y), from = ml_shape_of(dy);
  if (dy->dtype != y->dtype)
    return ml_fail(err, ML_EDTYPE, 2, "softmax: dtypes disagree: %s and %s", ml_describe(ty, y),
                   ml_describe(tg, dy));
  if (!ml_shape_equal(&shape, &from))
    return ml_fail(err, ML_ESHAPE, 2, "softmax: shapes disagree: %s and %s", ml_describe(ty, y),
                   ml_describe(tg, dy));
  ml_tensor a = {0}, b = {0}, result = {0};
  ml_status status = ml_tensor_contiguous(&a, y, err);
  if (!status)
    status = ml_tensor_contiguous(&b, dy, err);
  if (!status)
    status = ml_tensor_init(&result, y->dtype, &shape, err);
  if (!status)
    status = run(&result, &a, &b, axis, log, err);
  if (status)
    ml_tensor_clear(&result);
  else
    *dx = result;
  ml_tensor_clear(&a);
  ml_tensor_clear(&b);
  return status;
}
