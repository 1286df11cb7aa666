/* Along one axis: positions of extremes, running sums. */
#include "kernels.h"
#include "layout.h"
#include "loop.h"

typedef struct {
  const ml_layout *p;
  const ml_tensor_kernels *kernels;
  bool max;
  const char *x;
  int64_t *out;
  int64_t tiles, group;
} arg_job;

static void arg_body(void *ctx, int64_t i, int worker) {
  const arg_job *job = ctx;
  const ml_layout *p = job->p;
  (void)worker;
  int64_t item = (int64_t)ml_dtype_size(p->t.dtype);
  if (p->inner == 1) {
    int64_t row = i * job->group, m = p->outer - row < job->group ? p->outer - row : job->group;
    job->kernels->arg_rows(job->max, job->out + row, job->x + row * p->outer_stride * item,
                           p->outer_stride, m, p->n);
  } else {
    int64_t c0 = i % job->tiles * ML_COLUMN_TILE, outer = i / job->tiles;
    int64_t m = p->inner - c0 < ML_COLUMN_TILE ? p->inner - c0 : ML_COLUMN_TILE;
    job->kernels->arg_columns(job->max, job->out + outer * p->inner + c0,
                              job->x + (outer * p->outer_stride + c0) * item, p->stride, p->n, m);
  }
}

#define INTEGER_ARG(T)                                                                             \
  do {                                                                                             \
    const T *x = ml_data(&p->t);                                                                   \
    for (int64_t i = 0; i < p->outer; i++) {                                                       \
      for (int64_t c = 0; c < p->inner; c++) {                                                     \
        const T *v = x + i * p->outer_stride + c;                                                  \
        int64_t best = 0;                                                                          \
        for (int64_t r = 1; r < p->n; r++) {                                                       \
          T a = v[r * p->stride], b = v[best * p->stride];                                         \
          if (max ? a > b : a < b)                                                                 \
            best = r;                                                                              \
        }                                                                                          \
        out[i * p->inner + c] = best;                                                              \
      }                                                                                            \
    }                                                                                              \
  } while (0)

static void arg_integer(int64_t *out, bool max, const ml_layout *p) {
  if (p->t.dtype == ML_INDEX)
    INTEGER_ARG(int64_t);
  else
    INTEGER_ARG(uint8_t);
}

ml_status ml_tensor_arg(ml_tensor *out, bool max, const ml_tensor *t, int axis, bool keepdims,
                        ml_error *err) {
  const char *name = max ? "argmax" : "argmin";
  ML_TRY(ml_check_axis(t, axis, name, 2, err));
  ml_shape shape = ml_reduced_shape(t, 1u << axis, keepdims);
  ml_tensor result = {0};
  ML_TRY(ml_tensor_init(&result, ML_INDEX, &shape, err));
  ml_status status = ML_OK;
  if (ml_numel(&result) > 0 && t->size[axis] == 0) {
    char text[ML_DESCRIBE];
    status = ml_fail(err, ML_EARG, 1, "%s of no elements: %s", name, ml_describe(text, t));
  } else if (ml_numel(&result) > 0) {
    ml_layout p = {0};
    status = ml_layout_init(&p, t, 1u << axis, err);
    if (!status && ml_is_real(t->dtype)) {
      arg_job job = {.p = &p,
                     .kernels = ml_kernels(t->dtype),
                     .max = max,
                     .x = ml_data(&p.t),
                     .out = ml_data(&result),
                     .tiles = (p.inner + ML_COLUMN_TILE - 1) / ML_COLUMN_TILE,
                     .group = p.n < ML_LOOP_CHUNK ? ML_LOOP_CHUNK / p.n : 1};
      int64_t n = p.inner == 1 ? (p.outer + job.group - 1) / job.group : p.outer * job.tiles;
      double each = p.inner == 1 ? (double)(job.group * p.n) : (double)(ML_COLUMN_TILE * p.n);
      status = ml_parallel_poll(n, 4 * each, arg_body, &job, err);
    } else if (!status) {
      arg_integer(ml_data(&result), max, &p);
    }
    ml_tensor_clear(&p.t);
  }
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}

typedef struct {
  const ml_tensor_kernels *kernels;
  char *out;
  const char *x;
  int64_t bytes, n, columns;
} cumsum_job;

static void cumsum_body(void *ctx, int64_t i, int worker) {
  const cumsum_job *job = ctx;
  (void)worker;
  job->kernels->cumsum(job->out + i * job->bytes, job->x + i * job->bytes, 1, job->n, job->columns);
}

ml_status ml_tensor_cumsum(ml_tensor *out, const ml_tensor *t, int axis, ml_error *err) {
  char text[ML_DESCRIBE];
  if (!ml_is_real(t->dtype))
    return ml_fail(err, ML_EDTYPE, 1, "cumsum wants f64 or f32, got %s", ml_describe(text, t));
  ML_TRY(ml_check_axis(t, axis, "cumsum", 2, err));
  ml_tensor x = {0}, result = {0};
  ML_TRY(ml_tensor_contiguous(&x, t, err));
  ml_shape shape = ml_shape_of(t);
  ml_status status = ml_tensor_init(&result, t->dtype, &shape, err);
  if (!status && ml_numel(t) > 0) {
    int64_t outer = 1, inner = 1;
    for (int k = 0; k < axis; k++)
      outer *= t->size[k];
    for (int k = axis + 1; k < t->rank; k++)
      inner *= t->size[k];
    cumsum_job job = {
        ml_kernels(t->dtype), ml_data(&result),
        ml_data(&x),          t->size[axis] * inner * (int64_t)ml_dtype_size(t->dtype),
        t->size[axis],        inner};
    status = ml_parallel_poll(outer, 10.0 * (double)(job.n * inner), cumsum_body, &job, err);
    if (!status && ml_cancelled()) /* a single body may have left off */
      status = ml_fail(err, ML_ECANCELLED, 0, "interrupted");
  }
  ml_tensor_clear(&x);
  if (status)
    ml_tensor_clear(&result);
  else
    *out = result;
  return status;
}
